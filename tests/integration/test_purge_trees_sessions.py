# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with rows that refer to those that expire, while others work on both, and when it dies."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.runs import REPOSITORY, holding, only, until
from tests.servers import Database
from tests.trees import LIVE, PARENTS, QUEUED, ids, purge


def test_a_parent_that_gets_a_new_time_keeps_what_is_left(database: Database) -> None:
    """Children of a parent go in several transactions; before the second one it is given another time."""
    database.sql(PARENTS)
    database.sql(
        "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON c (t);"
        "INSERT INTO c SELECT n, 7 FROM generate_series(1, 5000) AS n; DELETE FROM t WHERE id <> 7"
    )
    database.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS "  # it has to wait as long as we look
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
            until(lambda: database.value(QUEUED))
            gate.rollback()
            changing.result(60)
            other.commit()
        found = only(running.result(60))
    assert (found["outcome"], found["rows"], found["changed"]) == ("done", 0, True)
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
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS "  # it has to wait as long as we look
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
            [(pid,)] = until(lambda: database.sql(waiting) or process.poll() is not None)
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
