# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of rows to which others refer: what hangs on them goes in batches, or holds them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from tests.integration.test_purge_archive import restore
from tests.runs import REPOSITORY, only, perform, until
from tests.servers import Database

# Parents 1 to 20 have expired, 21 to 25 have not.
PARENTS = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);
INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day' FROM generate_series(1, 25) AS n;
"""
LIVE = [21, 22, 23, 24, 25]
# How many rows each transaction has deleted or changed, in whatever table.
COUNTED = """
CREATE TABLE IF NOT EXISTS counted (transaction xid8, rows int);
CREATE OR REPLACE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
    INSERT INTO public.counted SELECT pg_current_xact_id(), count(*) FROM gone; RETURN NULL;
END$$;
"""


def purge(
    database: Database, check: bool = False, user: str = "postgres", children: Sequence[str] = (), **options: Any
) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, "with": list(children), **options}
    return perform("purge", database.dsn_as(user), check, **given)


def ids(database: Database, table: str = "t", column: str = "id") -> list[int]:
    return [number for (number,) in database.sql(f"SELECT {column} FROM {table} ORDER BY 1")]


def count_transactions(database: Database, *tables: str) -> None:
    database.sql(COUNTED)
    for table in tables:
        for event, name in (("DELETE", "d"), ("UPDATE", "u")):
            database.sql(
                f"CREATE TRIGGER counted_{name} AFTER {event} ON {table} REFERENCING OLD TABLE AS gone FOR EACH STATEMENT "
                "EXECUTE FUNCTION count_them()"
            )


def steady(database: Database) -> bool:
    """Whether transactions begin with 1 000 rows or so, and become larger at most twofold from one to the next."""
    sizes = [n for (n,) in database.sql("SELECT sum(rows)::int FROM counted GROUP BY transaction ORDER BY transaction")]
    return sizes[0] <= 1100 and all(size <= 2.2 * max(sizes[:n]) for n, size in enumerate(sizes) if n)


@contextmanager
def holding(database: Database, statement: str) -> Iterator[Any]:
    with closing(database.connect()) as connection:
        connection.autocommit = False
        connection.cursor().execute(statement)
        yield connection
        connection.rollback()


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize("action", ["CASCADE", "RESTRICT", "NO ACTION"])
def test_thousands_of_children_of_one_parent(database: Database, action: str, order: str) -> None:
    """No transaction takes more than a batch, which adapts from 1 000 rows on."""
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE {action}); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, CASE WHEN n <= 9000 THEN 7 ELSE n % 25 + 1 END FROM generate_series(1, 9500) AS n"
    )
    count_transactions(database, "t", "c")
    planned = only(purge(database, check=True, order=order, children=["c"]))
    assert planned["numbers"]["with"] == ["public.c"]
    action_ = only(purge(database, order=order, batch_ms=10, children=["c"]))
    assert (action_["outcome"], action_["rows"]) == ("done", 20), action_
    assert action_["numbers"]["with"] == {"public.c": 9400}
    assert ids(database) == [21, 22, 23, 24, 25]
    assert database.sql("SELECT count(*), min(t) FROM c") == [(100, 21)]
    assert steady(database), "a transaction took too much"
    assert database.value("SELECT count(DISTINCT transaction) FROM counted") >= 4


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
def test_children_that_stay_are_changed_in_batches(database: Database, action: str) -> None:
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, t int DEFAULT 25 REFERENCES t ON DELETE {action}); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, CASE WHEN n <= 5000 THEN 7 ELSE n % 25 + 1 END FROM generate_series(1, 5100) AS n"
    )
    count_transactions(database, "c")
    found = only(purge(database, batch_ms=10, children=["c"]))
    assert (found["outcome"], found["rows"]) == ("done", 20), found
    assert found["numbers"]["with"] == {"public.c": 5080}
    other = None if action == "SET NULL" else 25
    assert (
        database.value("SELECT count(*) FROM c WHERE t IS NOT DISTINCT FROM %s", [other])
        == 5080 + (other is not None) * 4
    )
    assert steady(database)


def test_a_default_that_expires_as_well_is_left_to_the_server(database: Database) -> None:
    """Setting the default would change nothing, for ever."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int DEFAULT 3 REFERENCES t ON DELETE SET DEFAULT);"
        "INSERT INTO c VALUES (1, 2), (2, 3)"
    )
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], found["rows"]) == ("failed", 0)
    assert "c_t_fkey" in found["reason"]
    assert len(ids(database)) == 25


DEEP = [
    # grandchildren, listed in any order
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); CREATE TABLE g (id int, c int REFERENCES c);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO g SELECT n, n FROM generate_series(1, 25) AS n",
     ["c", "g"]),
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); CREATE TABLE g (id int, c int REFERENCES c);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO g SELECT n, n FROM generate_series(1, 25) AS n",
     ["g", "c"]),
    # only the grandchildren: those between go by themselves
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE TABLE g (id int, c int REFERENCES c);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO g SELECT n, n FROM generate_series(1, 25) AS n",
     ["g"]),
    # by two ways
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); CREATE TABLE g (id int, c int REFERENCES c, t int REFERENCES t);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO g SELECT n, n, n FROM generate_series(1, 25) AS n",
     ["c", "g"]),
    # keys of several columns, one of which may be null, that can be deferred
    ("ALTER TABLE t ADD b text NOT NULL DEFAULT 'x', ADD UNIQUE (b, id);"
     "CREATE TABLE c (id int, x text, y int, FOREIGN KEY (y, x) "
     "REFERENCES t (id, b) DEFERRABLE INITIALLY DEFERRED);"
     "INSERT INTO c SELECT n, 'x', n FROM generate_series(1, 25) AS n; INSERT INTO c VALUES (26, NULL, 1)",
     ["c"]),
    # partitioned children, and a key of one of their partitions only
    ("CREATE TABLE c (id int, t int REFERENCES t, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
     "CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (10); CREATE TABLE c2 PARTITION OF c DEFAULT;"
     "CREATE TABLE g (id int, c int REFERENCES c1); CREATE TABLE h (id int, c int REFERENCES c ON DELETE SET NULL);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO g SELECT n, n FROM generate_series(1, 9) AS n;"
     "INSERT INTO h SELECT n, n FROM generate_series(1, 25) AS n",
     ["c", "g", "h"]),
    # rows that refer to each other in one table, many layers deep, and to themselves
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t, up int REFERENCES c);"
     "INSERT INTO c SELECT n, n, nullif(n - 1, 0) FROM generate_series(1, 20) AS n; INSERT INTO c SELECT n, n, n FROM "
     "generate_series(21, 25) AS n; UPDATE c SET up = id WHERE id = 1",
     ["c"]),
    # names that need quotes, in a schema that the path does not have
    ('CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."Ch""ild" ("order" int, "T t" int REFERENCES t);'
     'INSERT INTO "Odd"."Ch""ild" SELECT n, n FROM generate_series(1, 25) AS n',
     ['Odd."Ch""ild"']),
    # a table that inherits has no foreign key of its parent, and its rows stay
    ("CREATE TABLE c (id int, t int REFERENCES t); CREATE TABLE heir () INHERITS (c);"
     "INSERT INTO c SELECT n, n FROM generate_series(1, 25) AS n; INSERT INTO heir VALUES (99, 1)",
     ["c"]),
]  # fmt: skip


@pytest.mark.parametrize("order", ["index", "heap"])
def test_whatever_the_keys_are_like(database: Database, order: str) -> None:
    """Afterwards no row is left that would have gone with its parent, and all others are there."""
    for tables, children in DEEP:
        database.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS "Odd" CASCADE')
        database.sql(PARENTS + tables)
        found = only(purge(database, order=order, children=children))
        assert (found["outcome"], found["rows"]) == ("done", 20), (tables, found)
        assert ids(database) == [21, 22, 23, 24, 25]
        for child in children:
            name = '"Odd"."Ch""ild"' if "Odd" in child else child
            column = '"order"' if "Odd" in child else "id"
            left = ids(database, name, column)
            if child == "h":
                assert database.value("SELECT count(c) FROM h") == 5
            else:
                assert [n for n in left if n <= 25] == (
                    [] if child == "g" and "c1" in tables else [21, 22, 23, 24, 25]
                ), tables
        if "heir" in tables:
            assert ids(database, "heir") == [99]


def test_rows_of_other_parents_that_refer_to_rows_that_go(database: Database) -> None:
    """Within one table: where the key sets them to null they let go, and where it would take them with it they hold."""
    for action, kept in (("SET NULL", []), ("CASCADE", [7]), ("NO ACTION", [7])):
        database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        database.sql(PARENTS)
        database.sql(
            f"CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t, up int REFERENCES c ON DELETE {action});"
            "INSERT INTO c SELECT id, id FROM t; UPDATE c SET up = 7 WHERE id = 23; UPDATE c SET up = 9 WHERE id = 8"
        )
        found = only(purge(database, children=["c"]))
        assert (found["outcome"], found["numbers"].get("left", 0)) == ("done", len(kept)), (action, found)
        assert ids(database) == ids(database, "c") == [*kept, *range(21, 26)], action
        assert database.value("SELECT up FROM c WHERE id = 23") == (None if action == "SET NULL" else 7)


def test_a_partitioned_parent(database: Database) -> None:
    """Row n of both partitions is in the same place."""
    database.sql(
        "CREATE TABLE t (id int, p int, at timestamptz, PRIMARY KEY (id, p)) PARTITION BY LIST (p);"
        "CREATE TABLE t0 PARTITION OF t FOR VALUES IN (0); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);"
        "INSERT INTO t SELECT n, p, CASE WHEN (n + p) % 2 = 0 THEN '2000-01-01' ELSE '3000-01-01' END::timestamptz "
        "FROM generate_series(1, 50) AS n, generate_series(0, 1) AS p;"
        "CREATE TABLE c (t int, p int, FOREIGN KEY (t, p) REFERENCES t); INSERT INTO c SELECT id, p FROM t;"
        "CREATE TABLE d (t int, p int, FOREIGN KEY (t, p) REFERENCES t1); INSERT INTO d SELECT id, p FROM t1"
    )
    for order in ("heap", "index"):
        found = only(purge(database, order=order, children=["c", "d"]))
        assert found["outcome"] in ("done", "unchanged"), found
    assert database.value("SELECT count(*) FROM c JOIN t ON t.id = c.t AND t.p = c.p") == 50
    assert database.value("SELECT count(*) FROM c") == 50
    assert database.value("SELECT count(*) FROM d") == 25


def test_a_parent_from_which_a_table_inherits(database: Database) -> None:
    """Rows of the heir are in the same places, and no key refers to them."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE heir () INHERITS (t); INSERT INTO heir SELECT id, '2000-01-01' FROM t WHERE id > 20;"
        "UPDATE ONLY t SET at = '3000-01-01'; CREATE TABLE c (t int REFERENCES t ON DELETE CASCADE);"
        "INSERT INTO c SELECT id FROM ONLY t"
    )
    for order in ("heap", "index"):
        found = only(purge(database, order=order, children=["c"]))
        assert found["outcome"] in ("done", "unchanged"), found
    assert len(ids(database)) == 25
    assert database.value("SELECT count(*) FROM c") == 25


# Other sessions


def test_a_parent_that_gets_a_new_time_keeps_what_is_left(database: Database) -> None:
    """Children of a parent go in several transactions; before the second one it is given another time."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, 7 FROM generate_series(1, 5000) AS n; DELETE FROM t WHERE id <> 7"
    )
    database.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER wait AFTER DELETE ON c DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.id % 1000 = 0) "
        "EXECUTE FUNCTION wait()"
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with ThreadPoolExecutor(1) as thread, holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        running = thread.submit(purge, database, children=["c"])
        until(lambda: database.value(waiting))
        with closing(database.connect()) as other:
            other.autocommit = False
            changing = ThreadPoolExecutor(1).submit(
                other.cursor().execute, "UPDATE t SET at = now() + interval '1 day' WHERE id = 7"
            )
            until(
                lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            )
            gate.rollback()
            changing.result(60)
            other.commit()
        found = only(running.result(60))
    assert found["rows"] in (0, None)
    assert ids(database) == [7]
    assert 0 < database.value("SELECT count(*) FROM c") < 5000
    assert database.value("SELECT count(*) FROM c") == 5000 - found["numbers"]["with"]["public.c"]


@pytest.mark.parametrize("how", ["client", "server"])
def test_a_purge_that_dies_in_the_middle(database: Database, how: str) -> None:
    """What was committed stays so, nothing else has happened, and the next run goes on."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, n % 3 + 7 FROM generate_series(1, 6000) AS n;"
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN OLD; END';"
        "CREATE TRIGGER wait BEFORE DELETE ON c FOR EACH ROW WHEN (OLD.id = 6000) EXECUTE FUNCTION wait()"
    )
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    program = f"from tests.runs import perform; perform('purge', {database.dsn!r}, table='t', column='at', **{{'with': ['c']}})"
    path = f"{REPOSITORY}:{REPOSITORY / 'collections'}"
    with holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        with subprocess.Popen(
            [sys.executable, "-c", program], env={"PYTHONPATH": path}, stdout=subprocess.DEVNULL
        ) as process:
            until(lambda: database.sql(waiting) or process.poll() is not None)
            [(pid,)] = database.sql(waiting)
            if how == "client":
                process.kill()
            else:
                database.sql("SELECT pg_terminate_backend(%s)", [pid])
        if how == "client":  # the server ends the statement, and finds nobody to tell
            gate.rollback()
        until(lambda: not database.sql("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]))
    assert ids(database)[-5:] == LIVE
    assert {7, 8, 9} & set(ids(database)), "a parent went before its children"
    assert database.value("SELECT count(*) FROM c LEFT JOIN t ON t.id = c.t WHERE t.id IS NULL") == 0
    assert 0 < database.value("SELECT count(*) FROM c") < 6000
    assert only(purge(database, children=["c"]))["outcome"] == "done"
    assert ids(database) == LIVE
    assert database.value("SELECT count(*) FROM c") == 0


def elsewhere(database: Database) -> None:
    """Another tool that purges the children, in the way in which ours does: in one database ours is never there twice."""
    batch = (
        "DELETE FROM c WHERE ctid = ANY (ARRAY(SELECT ctid FROM c WHERE at < now() LIMIT 50 FOR UPDATE SKIP LOCKED))"
    )
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(batch)
        while cursor.rowcount:
            cursor.execute(batch)


def test_purges_of_parent_and_child_at_once(database: Database) -> None:
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);"
        "INSERT INTO t SELECT n, now() + (n - 500.5) * interval '1 day' FROM generate_series(1, 600) AS n;"
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t, at timestamptz); CREATE INDEX ON c (t); CREATE INDEX ON c (at);"
        "INSERT INTO c SELECT n, n % 600 + 1, now() + (n % 3 - 1.5) * interval '1 day' FROM generate_series(1, 12000) AS n"
    )
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(purge, database, batch_ms=10, children=["c"])
        threads.submit(elsewhere, database).result(120)
        found = only(running.result(120))
    assert found["outcome"] in ("done", "contended"), found
    for _again in range(2):
        purge(database, children=["c"])
        purge(database, table="c")
    assert ids(database) == list(range(501, 601))
    assert database.sql("SELECT count(*), count(*) FILTER (WHERE at < now() OR t <= 500) FROM c") == [(20 * 34, 0)]


def test_a_locked_child_stops_nothing_but_its_parent(database: Database) -> None:
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO c SELECT id, id FROM t"
    )
    with holding(database, "SELECT FROM c WHERE id = 7 FOR UPDATE"):
        found = only(purge(database, children=["c"]))
        assert ids(database) == [7, 21, 22, 23, 24, 25]
        assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 19, 1)
    assert only(purge(database, children=["c"]))["rows"] == 1


@pytest.mark.parametrize("action", ["CASCADE", "NO ACTION", "SET NULL"])
def test_a_child_that_a_trigger_keeps_keeps_its_parent(database: Database, action: str) -> None:
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE {action}); INSERT INTO c SELECT id, id FROM t;"
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 7 THEN RETURN NULL; END IF; "
        "IF TG_OP = ''UPDATE'' THEN RETURN NEW; END IF; RETURN OLD; END';"
        "CREATE TRIGGER keep BEFORE DELETE OR UPDATE ON c FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 19, 1), found
    assert ids(database) == [7, 21, 22, 23, 24, 25]
    assert database.value("SELECT t FROM c WHERE id = 7") == 7


def test_a_parent_that_a_trigger_keeps_would_lose_its_children(database: Database) -> None:
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO c SELECT id, id FROM t;"
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';"
        "CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], "keep on public.t" in found["reason"]) == ("failed", True), found
    assert only(purge(database, children=["c"], cascade=True))["rows"] == 20
    database.sql("DROP TRIGGER keep ON t; CREATE TRIGGER tell AFTER DELETE ON t EXECUTE FUNCTION keep()")
    assert only(purge(database, children=["c"]))["outcome"] == "unchanged"


# What is refused


CHILD = "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t);"
REFUSED = [
    ("CREATE TABLE c (id int)", ["c"], "refers to no rows that go"),
    ("CREATE VIEW c AS SELECT 1", ["c"], "is a view"),
    ("SELECT", ["t"], "keep_referenced"),
    (CHILD + "CREATE TABLE g (c int REFERENCES c)", ["g"], "name the tables between"),
    (CHILD + "ALTER TABLE t ADD c int REFERENCES c", ["c"], "refer to each other"),
    ("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); CREATE TABLE g (id int PRIMARY KEY, c int REFERENCES c);"
     "ALTER TABLE c ADD g int REFERENCES g", ["c", "g"], "refer to each other"),
    (CHILD + "CREATE RULE keep AS ON DELETE TO c DO INSTEAD NOTHING", ["c"],
     "DISABLE RULE keep"),
    (CHILD + "INSERT INTO c SELECT n FROM generate_series(1, 300000) AS n", ["c"],
     "CREATE INDEX CONCURRENTLY ON public.c (t)"),
]  # fmt: skip


def test_trees_that_cannot_be_are_refused_before_anything_is_touched(database: Database) -> None:
    for statement, children, told in REFUSED:
        database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        database.sql(PARENTS)
        database.sql(statement)
        for check in (True, False):
            found = only(purge(database, check, children=children))
            assert (found["outcome"], told in found["reason"]) == ("failed", True), (statement, found["reason"])
        assert len(ids(database)) == 25
    assert "there is no table cc" in purge(database, children=["cc"])["msg"]


@pytest.mark.parametrize(("action", "right"), [("CASCADE", "DELETE"), ("NO ACTION", "SELECT"), ("SET NULL", "UPDATE")])
def test_rights_on_children(database: Database, action: str, right: str) -> None:
    """They are named before anything is touched; the maintainer gets them."""
    role, other = database.role("purger"), database.role("purger")
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE {action}); INSERT INTO c SELECT id, id FROM t;"
        f"GRANT SELECT, UPDATE, DELETE ON t, c TO {role}; REVOKE {right} ON c FROM {role}"
    )
    found = only(purge(database, user=role, children=["c"]))
    assert found["outcome"] == "failed"
    grant = re.search(r"GRANT .* ON TABLE public.c TO \w+", found["reason"])
    assert grant, found["reason"]
    database.sql(grant[0])
    assert only(purge(database, user=role, max_rows=5, children=["c"]))["rows"] == 5
    step = {"table": "t", "column": "at", "with": ["c"]}
    perform("maintainer", database.dsn, name=other, steps=[{"purge": step}], history=False, read_all_stats=False)
    assert only(purge(database, user=other, children=["c"]))["rows"] == 15


# Rows that others hold


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize("action", ["RESTRICT", "NO ACTION", "NO ACTION DEFERRABLE INITIALLY DEFERRED"])
def test_rows_that_are_held_stay(database: Database, action: str, order: str) -> None:
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, at int, t int REFERENCES t ON DELETE {action});"
        "INSERT INTO c VALUES (3, 0, 7), (7, 0, 9)"
    )
    assert only(purge(database, order=order))["outcome"] == "failed" or order == "heap"
    database.sql("DELETE FROM c; DELETE FROM t; INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day' FROM "
                 "generate_series(1, 25) AS n; INSERT INTO c VALUES (3, 0, 7), (7, 0, 9)")  # fmt: skip
    assert only(purge(database, check=True, order=order, keep_referenced=True))["rows"] == 18
    found = only(purge(database, order=order, keep_referenced=True))
    assert (found["outcome"], found["rows"], found["numbers"]["kept"]) == ("done", 18, 2), found
    assert "2 rows stay" in found["reason"]
    assert ids(database) == [7, 9, 21, 22, 23, 24, 25]
    found = only(purge(database, order=order, keep_referenced=True))
    assert (found["outcome"], found["numbers"]["kept"]) == ("unchanged", 2)
    assert "2 rows stay" in found["reason"]


def test_rows_that_are_held_further_down(database: Database) -> None:
    """Children go with their parents, but one is held by a grandchild; and a key that is about one partition."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO c SELECT id, id FROM t;"
        "CREATE TABLE g (c int REFERENCES c); INSERT INTO g VALUES (4), (NULL)"
    )
    for children in ([], ["c"]):
        found = only(purge(database, keep_referenced=True, max_rows=10, children=children))
        assert (found["outcome"], found["rows"]) in (("done", 10), ("done", 9)), found
    assert ids(database) == [4, 21, 22, 23, 24, 25]


def test_a_parent_that_is_held_keeps_its_children(database: Database) -> None:
    """Whoever else refers to it, directly or further down, and whether that was reckoned with or not."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO c SELECT id, id FROM t;"
        "CREATE TABLE g (c int REFERENCES c); INSERT INTO g VALUES (4);"
        "CREATE TABLE h (t int REFERENCES t); INSERT INTO h VALUES (9)"
    )
    for _again in range(2):
        found = only(purge(database, children=["c"]))
        assert (found["outcome"], found["numbers"]["kept"]) == ("failed", 2), found
        assert "keep_referenced: true" in found["reason"]
        assert ids(database) == ids(database, "c") == [4, 9, *range(21, 26)]
    assert only(purge(database, children=["c"], keep_referenced=True))["outcome"] == "unchanged"


@pytest.mark.parametrize("order", ["index", "heap"])
def test_a_reference_that_comes_while_we_look(database: Database, order: str) -> None:
    """Row 1 makes the batch wait; by then it has not seen who refers to row 20."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (t int REFERENCES t); CREATE FUNCTION gate(id int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN "
        "WHILE id = 1 AND current_query() LIKE '%DELETE FROM%' AND NOT pg_try_advisory_xact_lock_shared(1) LOOP "
        "PERFORM pg_sleep(0.005); END LOOP; RETURN true; END$$"
    )
    with ThreadPoolExecutor(1) as thread, holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        running = thread.submit(purge, database, where="gate(id)", order=order, keep_referenced=True)
        until(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        database.sql("INSERT INTO c VALUES (20)")
        gate.rollback()
        found = only(running.result(60))
    assert (found["outcome"], found["rows"], found["numbers"]["kept"]) == ("done", 19, 1), found
    assert ids(database) == list(range(20, 26))


def test_who_refers_must_be_seen(database: Database) -> None:
    role = database.role("purger")
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (t int REFERENCES t); INSERT INTO c VALUES (3); GRANT SELECT, UPDATE, DELETE ON t TO {role}"
    )
    found = only(purge(database, user=role, keep_referenced=True))
    assert (found["outcome"], f"GRANT SELECT ON TABLE public.c TO {role}" in found["reason"]) == ("failed", True), found
    database.sql(f"GRANT SELECT ON c TO {role}; ALTER TABLE c ENABLE ROW LEVEL SECURITY")
    assert "BYPASSRLS" in only(purge(database, user=role, keep_referenced=True))["reason"]
    database.sql("ALTER TABLE c DISABLE ROW LEVEL SECURITY")
    assert only(purge(database, user=role, keep_referenced=True))["rows"] == 19


def test_rows_of_one_table_that_hold_each_other_go_layer_by_layer(database: Database) -> None:
    database.sql(PARENTS)
    database.sql(
        "ALTER TABLE t ADD up int REFERENCES t; UPDATE t SET up = id - 1 WHERE id > 1 AND id <> 12;"
        "UPDATE t SET up = 12 WHERE id = 12"
    )
    found = only(purge(database, keep_referenced=True))
    # 21 to 25 stay, and hold what is above them up to 12, which refers to itself.
    assert (found["outcome"], found["rows"], found["numbers"]["kept"]) == ("done", 11, 9), found
    assert ids(database) == list(range(12, 26))
    database.sql("UPDATE t SET up = NULL WHERE id = 21")
    found = only(purge(database, keep_referenced=True))
    assert (found["rows"], found["numbers"]["kept"]) == (9, 0)


# Archives of trees


def test_children_are_archived_as_well(database: Database, tmp_path: Path) -> None:
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, n % 25 + 1 FROM generate_series(1, 5000) AS n"
    )
    before = [database.sql(f"SELECT * FROM {table} ORDER BY id") for table in ("t", "c")]
    archive = {"directory": str(tmp_path)}
    assert only(purge(database, archive=archive))["outcome"] == "failed"
    found = only(purge(database, archive=archive, children=["c"]))
    assert (found["outcome"], found["rows"]) == ("done", 20), found
    assert (len(ids(database)), len(ids(database, "c"))) == (5, 1000)
    for table in ("t", "c"):
        restore(database, tmp_path / database.name / "public" / table)
    assert [database.sql(f"SELECT * FROM {table} ORDER BY id") for table in ("t", "c")] == before
    with pytest.raises(OptionError, match="directory"):
        purge(database, archive={"table": "x"}, children=["c"])


# Any keys at all, against a model


def closure(
    rows: dict[str, dict[int, dict[str, Any]]], keys: list[tuple[str, str, str, str]], first: set[int]
) -> dict[str, set[int]]:
    """Which rows go: those of t, and those that refer to them with a key that is not SET NULL, and so on."""
    going = {table: set[int]() for table in rows}
    going["t"] = set(first)
    moved = True
    while moved:
        moved = False
        for child, column, parent, action in keys:
            if action != "SET NULL":
                more = {n for n, row in rows[child].items() if row[column] in going[parent]} - going[child]
                going[child] |= more
                moved = moved or bool(more)
    return going


def goes(table: str, keys: list[tuple[str, str, str, str]]) -> bool:
    return any(c == table and a != "SET NULL" and (p == "t" or goes(p, keys)) for c, _k, p, a in keys)


@pytest.mark.parametrize("seed", range(6))
def test_any_tree_of_tables_is_as_a_model_says(database: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    names = ["t", "a", "b", "c", "d"]
    rows: dict[str, dict[int, dict[str, Any]]] = {"t": {n: {} for n in range(1, 31)}}
    keys: list[tuple[str, str, str, str]] = []
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at)")
    database.sql("INSERT INTO t SELECT n, CASE WHEN n % 3 > 0 THEN '2000-01-01' ELSE '3000-01-01' END::timestamptz "
                 "FROM generate_series(1, 30) AS n")  # fmt: skip
    for place, name in enumerate(names[1:], 1):
        above = chance.sample(names[:place], min(place, chance.choice([1, 1, 2])))
        columns = [
            (f"k{n}", parent, chance.choice(["CASCADE", "RESTRICT", "NO ACTION", "SET NULL"]))
            for n, parent in enumerate(above)
        ]
        late = {"NO ACTION": chance.choice(["", "DEFERRABLE INITIALLY DEFERRED"])}
        declared = ", ".join(f"{c} int REFERENCES {p} ON DELETE {a} {late.get(a, '')}" for c, p, a in columns)
        database.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, {declared})")
        rows[name] = {}
        for n in range(1, 41):
            rows[name][n] = {c: chance.choice([None, *rows[p]]) for c, p, _a in columns}
            database.sql(f"INSERT INTO {name} VALUES (%s{', %s' * len(columns)})", [n, *rows[name][n].values()])
        keys += [(name, c, p, a) for c, p, a in columns]
    first = {n for n in rows["t"] if n % 3 > 0}
    going = closure(rows, keys, first)
    # A table of which no row can go, because those that it refers to only lose their keys, is not to be named.
    named = [child for child in names[1:] if any(c == child and (p == "t" or goes(p, keys)) for c, _k, p, _a in keys)]
    found = only(purge(database, order=chance.choice(["index", "heap"]), children=chance.sample(named, len(named))))
    assert (found["outcome"], found["rows"]) == ("done", len(first)), (keys, found)
    for name in names:
        assert ids(database, name) == sorted(set(rows[name]) - going[name]), (name, keys)
    for child, column, parent, action in keys:
        for n, value in database.sql(f"SELECT id, {column} FROM {child}"):
            was = rows[child][n][column]
            assert value == (None if was in going[parent] and action == "SET NULL" else was), (child, n, keys)
