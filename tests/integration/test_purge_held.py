# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of rows that others hold: they stay with all that hangs on them, and the purge goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.runs import holding, only, perform, until
from tests.servers import Database
from tests.trees import PARENTS, ids, purge

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize("action", ["RESTRICT", "NO ACTION", "NO ACTION DEFERRABLE INITIALLY DEFERRED"])
def test_rows_that_are_held_stay(database: Database, action: str, order: str) -> None:
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (id int PRIMARY KEY, at int, t int REFERENCES t ON DELETE {action});"
        "INSERT INTO c VALUES (3, 0, 7), (7, 0, 9)"
    )
    refused = only(purge(database, order=order))
    assert (refused["outcome"], refused["rows"], refused["numbers"]["kept"]) == ("failed", 18, 2)
    assert '"c"; set keep_referenced: true, name the table in with' in refused["reason"]
    database.sql("DELETE FROM c; DELETE FROM t; INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day' FROM "
                 "generate_series(1, 25) AS n; INSERT INTO c VALUES (3, 0, 7), (7, 0, 9)")  # fmt: skip
    assert only(purge(database, check=True, order=order, keep_referenced=True))["rows"] == 18
    found = only(purge(database, order=order, keep_referenced=True))
    assert (found["outcome"], found["rows"], found["numbers"]["kept"]) == ("done", 18, 2), found
    assert "2 rows stay" in found["reason"]
    assert ids(database) == [7, 9, 21, 22, 23, 24, 25]
    found = only(purge(database, order=order, keep_referenced=True))
    assert (found["outcome"], found["numbers"]["kept"]) == ("unchanged", 2)
    assert "no row can go; 2 rows stay" in found["reason"]


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


@pytest.mark.parametrize(("order", "action"), [("index", "RESTRICT"), ("heap", "NO ACTION"), ("heap", "RESTRICT")])
def test_a_reference_that_comes_while_we_look(database: Database, order: str, action: str) -> None:
    """Row 1 makes the batch wait; by then it has not seen who refers to row 20."""
    database.sql(PARENTS)
    database.sql(
        f"CREATE TABLE c (t int REFERENCES t ON DELETE {action}); CREATE FUNCTION gate(id int) RETURNS bool "
        "LANGUAGE plpgsql AS $$BEGIN "
        "WHILE id = 1 AND current_query() LIKE '%DELETE FROM%' AND NOT pg_try_advisory_xact_lock_shared(1) LOOP "
        "PERFORM pg_sleep(0.005); END LOOP; RETURN true; END$$"
    )
    with ThreadPoolExecutor(1) as thread, holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        running = thread.submit(purge, database, where="gate(id)", order=order, keep_referenced=True)
        until(lambda: database.value(SLEEPING))
        database.sql("INSERT INTO c VALUES (20)")
        gate.rollback()
        found = only(running.result(60))
    assert (found["outcome"], found["rows"], found["numbers"]["kept"]) == ("done", 19, 1), found
    assert "; 1 row stays, to which others refer" in found["reason"]
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


def test_the_maintainer_sees_who_refers(database: Database) -> None:
    """Tables that hold rows, also of what goes with them, and those on the way; of others nothing."""
    database.sql(PARENTS)
    database.sql(
        "CREATE SCHEMA app; CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);"
        "INSERT INTO c SELECT id, id FROM t; CREATE TABLE alone (t int REFERENCES t ON DELETE CASCADE);"
        "CREATE TABLE app.g (c int REFERENCES c, k int) PARTITION BY LIST (k); CREATE TABLE g1 PARTITION OF app.g DEFAULT;"
        "INSERT INTO app.g VALUES (4); CREATE TABLE r (t int REFERENCES t); INSERT INTO r VALUES (5);"
        "CREATE TABLE self (id int PRIMARY KEY, up int REFERENCES self ON DELETE CASCADE, t int REFERENCES t ON DELETE CASCADE);"
        "CREATE TABLE n (t int REFERENCES t ON DELETE SET NULL)"
    )
    role = database.role("purger")
    step: dict[str, Any] = {"table": "t", "column": "at", "keep_referenced": True}
    for changed in (True, False):
        given = perform(
            "maintainer", database.dsn, name=role, steps=[{"purge": step}], history=False, read_all_stats=False
        )
        assert given["changed"] is changed, given
    found = perform("purge", database.dsn_as(role), history=False, **step)
    assert (only(found)["outcome"], only(found)["numbers"]["kept"]) == ("done", 2), found
    assert ids(database) == [4, 5, 21, 22, 23, 24, 25]
    granted = "SELECT table_name, string_agg(privilege_type, ' ') FROM information_schema.role_table_grants WHERE grantee = %s"
    assert database.sql(f"{granted} AND table_name <> 't' GROUP BY 1 ORDER BY 1", [role]) == [
        ("c", "SELECT"), ("g", "SELECT"), ("r", "SELECT"),
    ]  # fmt: skip
