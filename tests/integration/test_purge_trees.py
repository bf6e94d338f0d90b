# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of rows to which others refer, with these: whatever the keys are like they go first, in batches."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from tests.archives import restore
from tests.runs import holding, only, perform, until
from tests.servers import Database
from tests.trees import LIVE, PARENTS, SLEEPING, count_transactions, ids, purge, steady


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
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 19, 1)
    assert "c_t_fkey" in found["reason"]
    assert ids(database) == [3, *LIVE]


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


# What is refused


CHILD = "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t);"
REFUSED = [
    ("CREATE TABLE c (id int)", ["c"], "refers to no rows that go"),
    ("CREATE VIEW c AS SELECT 1", ["c"], "is a view"),
    ("SELECT", ["t"], "keep_referenced"),
    (CHILD + "CREATE TABLE g (c int REFERENCES c)", ["g"], "name the tables between"),
    (CHILD, ["c", "public.c"], "names public.c twice"),
    ("CREATE TABLE c (t int REFERENCES t) PARTITION BY LIST (t); CREATE TABLE c1 PARTITION OF c DEFAULT", ["c1"],
     "of a partition, name the table that it is of"),
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
    assert "with: there is no table cc" in purge(database, children=["cc"])["msg"]


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


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_schema_has_a_table_for_each(database: Database, order: str, watched: bool) -> None:
    """Also where triggers of these tables have to be watched; a row that one of them refuses stays with what it hangs on."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, n % 25 + 1 FROM generate_series(1, 5000) AS n;"
        'CREATE TABLE "Odd" (id int, t int REFERENCES t); INSERT INTO "Odd" SELECT id, id FROM t;'
        "CREATE TABLE d (t int REFERENCES t ON DELETE SET NULL); INSERT INTO d SELECT id FROM t;"
        'CREATE SCHEMA "old one"; CREATE TABLE "old one".t (LIKE t); CREATE TABLE "old one".c (LIKE c, CHECK (id <> 7))'
    )
    if watched:
        database.sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER after AFTER INSERT "
            'ON "old one".c FOR EACH ROW EXECUTE FUNCTION f()'
        )
    names = ("t", "c", '"Odd"')
    before = [database.sql(f"SELECT * FROM {table} ORDER BY id") for table in names]
    options: dict[str, Any] = {"archive": {"schema": "old one"}, "children": ["c", "d", "Odd"], "order": order}
    missing = only(purge(database, **options))
    assert (missing["outcome"], missing["reason"].partition(":")[0]) == ("failed", "archive.schema"), missing
    database.sql(re.search("CREATE TABLE .*", missing["reason"])[0])  # type: ignore[index]
    found = only(purge(database, **options))
    # Row 7 of c refers to row 8.
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 19, 1), found
    assert found["numbers"]["archive"] == {"table": '"old one".t'}
    assert {one["table"] for one in found["numbers"]["archive_with"]} == {'"old one".c', '"old one"."Odd"'}
    assert ids(database) == [8, *LIVE]
    both = 'SELECT * FROM {0} UNION ALL SELECT * FROM "old one".{0} ORDER BY id'
    assert [database.sql(both.format(table)) for table in names] == before
    database.sql('ALTER TABLE "old one".c DROP CONSTRAINT c_id_check')
    assert only(purge(database, **options))["rows"] == 1
    assert [database.sql(both.format(table)) for table in names] == before


def test_tables_of_a_schema_that_cannot_keep_rows(database: Database) -> None:
    """One that loses rows itself, and one that rows of several tables would go to."""
    database.sql(PARENTS)
    database.sql(
        "CREATE SCHEMA app; CREATE SCHEMA old; CREATE TABLE app.c (id int PRIMARY KEY, t int REFERENCES t);"
        "CREATE TABLE app.t (id int PRIMARY KEY, at timestamptz, t int REFERENCES t);"
        "CREATE TABLE old.t (id int PRIMARY KEY, at timestamptz, t int)"
    )
    for schema, children, told in (
        ("old", ["app.t"], "rows of several tables of that name would go to old.t"),
        ("app", ["app.t", "app.c"], "archive.schema: is the table itself"),
        ("public", ["app.c"], "archive.schema: is the table itself"),
    ):
        found = only(purge(database, archive={"schema": schema}, children=children))
        assert (found["outcome"], told in found["reason"]) == ("failed", True), found


def test_all_that_goes_is_archived(database: Database, tmp_path: Path) -> None:
    """Also of one partition that alone refers, or that alone is named; and of a table that only loses its keys nothing is."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int) PARTITION BY RANGE (id); CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) "
        "TO (10); CREATE TABLE c2 PARTITION OF c DEFAULT; ALTER TABLE c1 ADD FOREIGN KEY (t) REFERENCES t;"
        "CREATE TABLE d (id int, t int REFERENCES t ON DELETE SET NULL); INSERT INTO c SELECT id, id FROM t;"
        "INSERT INTO d SELECT id, id FROM t"
    )
    before = database.sql("SELECT * FROM c ORDER BY id")
    for children in (["c1", "d"], ["d", "c"]):
        directory = tmp_path / children[0]
        directory.mkdir()
        found = only(purge(database, archive={"directory": str(directory)}, children=children))
        assert (found["outcome"], found["rows"]) == ("done", 20), found
        assert ids(database, "c") == list(range(10, 26))
        assert len(found["numbers"]["archive_with"]) == 1
        # The parents first.
        restore(database, directory / database.name / "public" / "t")
        restore(database, directory)
        assert database.sql("SELECT * FROM c ORDER BY id") == before


def test_rows_that_go_with_those_that_are_named(database: Database, tmp_path: Path) -> None:
    """By ON DELETE CASCADE from a table whose rows would not go by themselves."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO c SELECT id, id FROM t;"
        "CREATE TABLE g (id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE); INSERT INTO g SELECT id, id FROM c"
    )
    archive = {"directory": str(tmp_path)}
    found = only(purge(database, archive=archive, children=["c"]))
    assert (found["outcome"], "name public.g in with" in found["reason"]) == ("failed", True), found
    database.sql(
        "ALTER TABLE g REPLICA IDENTITY NOTHING; SET client_min_messages = error; CREATE PUBLICATION p FOR TABLE g"
    )
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], "ALTER TABLE public.g REPLICA IDENTITY" in found["reason"]) == ("failed", True), found
    database.sql("DROP PUBLICATION p")
    database.sql("ALTER TABLE g ADD at timestamptz DEFAULT '3000-01-01'")
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], "whether their own time" in found["reason"]) == ("failed", True), found
    database.sql(  # a time that it has from rows whose own time does not matter
        "ALTER TABLE c ADD at timestamptz DEFAULT '3000-01-01', ADD UNIQUE (id, at); ALTER TABLE g DROP CONSTRAINT g_c_fkey,"
        "ADD FOREIGN KEY (c, at) REFERENCES c (id, at) ON DELETE CASCADE"
    )
    found = only(purge(database, children=["c"]))
    assert (found["outcome"], "whether their own time" in found["reason"]) == ("failed", True), found
    assert only(purge(database, archive=archive, children=["c", "g"]))["rows"] == 20
    assert ids(database, "g") == LIVE
    for name in ("t", "c", "g"):
        restore(database, tmp_path / database.name / "public" / name)
    assert ids(database, "g") == list(range(1, 26))


# Rows of one table that go with others of it


ANSWERS = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz, up int REFERENCES t ON DELETE CASCADE);
CREATE INDEX ON t (at); CREATE INDEX ON t (up);
INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day',
    CASE n WHEN 1 THEN NULL WHEN 2 THEN NULL WHEN 5 THEN 5 WHEN 22 THEN NULL WHEN 24 THEN 9 ELSE n - 2 END
FROM generate_series(1, 25) AS n ORDER BY n DESC;
"""


@pytest.mark.parametrize("archive", ["", "table", "schema", "directory"])
@pytest.mark.parametrize("order", ["index", "heap"])
def test_answers_go_before_what_they_answer(database: Database, tmp_path: Path, order: str, archive: str) -> None:
    """An answer that has not expired keeps what it refers to, and what that refers to; what goes is archived."""
    database.sql(ANSWERS + "CREATE SCHEMA old; CREATE TABLE old.t (LIKE t)")
    before = ids(database)
    keep = {"table": "old.t", "schema": "old", "directory": str(tmp_path)}
    options: dict[str, Any] = {"order": order, **({"archive": {archive: keep[archive]}} if archive else {})}
    refused = only(purge(database, **options))
    assert refused["outcome"] == "failed"
    assert "keep_referenced: true, so that each goes after those" in refused["reason"], refused
    options["keep_referenced"] = True
    assert only(purge(database, check=True, **options))["outcome"] == "planned"
    assert ids(database) == before
    found = only(purge(database, **options))
    # 25 hangs on 23, 21, 19 and so on down to 5; 24 on 9; 22 on none.
    stay = [n for n in before if n > 20 or (n % 2 and n > 4)]
    assert (found["outcome"], found["rows"], ids(database)) == ("done", 12, stay), found
    assert found["numbers"]["kept"] == 8
    database.sql("UPDATE t SET up = NULL WHERE id > 20")
    found = only(purge(database, **options))
    assert (found["outcome"], found["numbers"]["kept"], ids(database)) == ("done", 0, LIVE), found
    assert "cascades_to" not in found["numbers"]
    if archive == "directory":
        restore(database, tmp_path)
        assert ids(database) == before
    elif archive:
        assert ids(database, "old.t") == [n for n in before if n not in LIVE]


@pytest.mark.parametrize("archive", ["", "table", "directory"])
@pytest.mark.parametrize("order", ["index", "heap"])
def test_an_answer_that_comes_while_we_look(database: Database, tmp_path: Path, order: str, archive: str) -> None:
    """It is not seen when the row to which it refers is chosen, and would go with it."""
    database.sql(ANSWERS + "UPDATE t SET up = NULL; CREATE TABLE kept (LIKE t)")
    database.sql(
        "CREATE FUNCTION gate(id int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN "
        "WHILE id = 10 AND current_query() LIKE '%SKIP LOCKED%' AND NOT pg_try_advisory_xact_lock_shared(1) LOOP "
        "PERFORM pg_sleep(0.005); END LOOP; RETURN true; END$$"
    )
    keep = {"table": "kept", "directory": str(tmp_path)}
    options: dict[str, Any] = {"archive": {archive: keep[archive]}} if archive else {}
    with ThreadPoolExecutor(1) as thread, holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        running = thread.submit(purge, database, where="gate(id)", order=order, keep_referenced=True, **options)
        until(lambda: database.value(SLEEPING))
        database.sql("INSERT INTO t VALUES (100, now() + interval '1 day', 20)")
        gate.rollback()
        found = only(running.result(60))
    assert (found["outcome"], found["numbers"]["kept"]) == ("done", 1), found
    assert ids(database) == [20, *LIVE, 100]


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
def test_rows_that_move_when_others_go(database: Database, action: str) -> None:
    """Their new versions come to pages that were read already."""
    database.sql(
        f"CREATE TABLE t (id int PRIMARY KEY, at timestamptz, up int REFERENCES t ON DELETE {action}, pad text);"
        "CREATE INDEX ON t (up); INSERT INTO t SELECT n, 'infinity', NULL, repeat('x', 300) FROM generate_series(1, 400) AS n;"
        "INSERT INTO t SELECT n, '2000-01-01', CASE WHEN n > 800 THEN n - 400 END, repeat('x', 300) "
        "FROM generate_series(401, 1200) AS n; DELETE FROM t WHERE id < 400 AND id % 2 = 0"
    )
    database.sql("VACUUM t")
    found = only(purge(database, order="heap"))
    assert (found["outcome"], found["rows"], len(ids(database))) == ("done", 800, 201), found
    assert "left" not in found["reason"]
