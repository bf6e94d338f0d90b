# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""reindex beside others: locks, old transactions, upserts, and interruptions in each phase of a rebuild."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import reindex as operation
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.decide import Patience
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.concurrently import Concurrently
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._window import Window
from tests.runs import Clock, perform, until
from tests.servers import REPOSITORY, Database, Server, unique

# A rebuild of the index "gated" stands still as long as somebody holds advisory lock 42.
TABLE = """
CREATE FUNCTION gate(value int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    WHILE EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objid = 42 AND database = (
                      SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) LOOP
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    RETURN value;
END $$;
CREATE TABLE item (id int PRIMARY KEY, grp int);
INSERT INTO item SELECT i, i % 7 FROM generate_series(1, 200) AS i;
CREATE INDEX gated ON item (gate(grp));
CREATE INDEX plain ON item (grp);
CREATE TABLE elsewhere ();
"""
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"
BROKEN = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
ALL: dict[str, Any] = {"min_size": 0, "min_gain": 0}


@pytest.fixture
def database(database: Database) -> Database:
    database.sql(TABLE)
    return database


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "least", 0.2)
    monkeypatch.setattr(Patience, "most", 0.2)


def reindex(database: Database, **options: Any) -> dict[str, Any]:
    if not {"include", "indexes", "tables"} & set(options):
        options["tables"] = ["item"]
    # One of the sessions of the run before may still be at its last look, and nobody is waited for for long here.
    until(lambda: not database.value(OURS))
    return perform("reindex", database.dsn, **{**ALL, **options})


def broken(database: Database, *names: str) -> None:
    """Not valid, as after a build that failed: a reason to rebuild whatever the size."""
    for name in names:
        database.sql(BROKEN, [name])


def indexes(database: Database) -> dict[str, bool]:
    """Name -> whether it is valid."""
    query = """SELECT c.relname, i.indisvalid AND i.indisready AND i.indislive FROM pg_index AS i
               JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = 'item'::regclass"""
    return dict(database.sql(query))


WELL = {"item_pkey": True, "gated": True, "plain": True}


def files(database: Database) -> dict[str, int]:
    return dict(
        database.sql("SELECT relname, relfilenode FROM pg_class WHERE relname IN ('gated', 'plain', 'item_pkey')")
    )


@contextmanager
def transaction(database: Database, *statements: str) -> Iterator[Any]:
    """A transaction of somebody else, open until the end or its end; yields the connection."""
    with closing(psycopg2.connect(database.dsn)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield connection
        connection.rollback()  # a server notices some time later that a connection is closed


@contextmanager
def gate_closed(database: Database) -> Iterator[Callable[[], None]]:
    """Rebuilds of "gated" stand still; yields what lets them go on."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
        yield lambda: cursor.execute("SELECT pg_advisory_unlock(42)")


# The tables of the history have indexes, too, which are built when they are made.
REBUILDS = "FROM pg_stat_progress_create_index WHERE datname = current_database() AND command = 'REINDEX CONCURRENTLY'"


def phase(database: Database) -> str:
    """Where the only rebuild is."""
    rows = database.sql(f"SELECT phase {REBUILDS}")
    return str(rows[0][0]) if rows else ""


# Who is in the way, and when he begins: before the rebuild, while it builds, or while it waits for older snapshots.
PHASES = {
    "waiting for writers before build": ("LOCK TABLE item IN ROW EXCLUSIVE MODE", "before"),
    "building index": ("", "building"),
    "waiting for writers before validation": ("LOCK TABLE item IN ROW EXCLUSIVE MODE", "building"),
    "waiting for old snapshots": ("BEGIN ISOLATION LEVEL REPEATABLE READ; TABLE elsewhere", "building"),
    "waiting for readers before marking dead": ("SELECT count(*) FROM item", "building"),
    "waiting for readers before dropping": ("SELECT count(*) FROM item", "building"),
}
SWAPPED = ("waiting for readers before marking dead", "waiting for readers before dropping")


@contextmanager
def rebuilding(database: Database, until_phase: str, start: Callable[[], None]) -> Iterator[None]:
    """A rebuild of "gated" that has been started and stands still in that phase while the block runs."""
    statement, when = PHASES[until_phase]
    with gate_closed(database) as open_gate, closing(psycopg2.connect(database.dsn)) as other, other.cursor() as cursor:
        if when == "before":
            cursor.execute(statement)
        start()
        if when == "building":
            until(lambda: phase(database).startswith("building index"))
            if statement:
                cursor.execute(statement)
                open_gate()
        if until_phase == SWAPPED[1]:  # another reader has come before the first one goes
            until(lambda: phase(database) == SWAPPED[0])
            with transaction(database, statement):
                other.commit()
                until(lambda: phase(database) == until_phase)
                yield
            return
        until(lambda: phase(database).startswith(until_phase))
        yield
        other.rollback()


def by_hand(database: Database) -> Callable[[], None]:
    """Starts a rebuild as somebody else would."""

    def run() -> None:
        with closing(database.connect()) as connection, suppress(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute("REINDEX INDEX CONCURRENTLY gated")

    thread = threading.Thread(target=run, daemon=True)
    return thread.start


def ended(database: Database) -> None:
    """Wait until nobody rebuilds, and nobody has a lock from it either."""
    locks = "SELECT count(*) FROM pg_locks WHERE relation = 'item'::regclass AND mode = 'ShareUpdateExclusiveLock'"
    until(lambda: not phase(database) and not database.value(locks))


KILL = f"SELECT pg_terminate_backend(pid) {REBUILDS}"
CANCEL = KILL.replace("terminate", "cancel")


def test_a_rebuild_that_is_killed_in_any_phase_leaves_nothing_after_the_next_run(database: Database) -> None:
    role = database.role()  # which does not see what others do
    database.sql(f"ALTER TABLE item OWNER TO {role}")
    for where in PHASES:
        with rebuilding(database, where, by_hand(database)):
            assert reindex(database)["totals"].get("contended"), f"{where}: it is at work"
            seen = perform("reindex", database.dsn_as(role), check=True, tables=["item"], history=False, **ALL)
            assert (seen["totals"].get("contended"), seen["changed"]) == (1, False), where
            assert len(indexes(database)) == 4
            database.sql(KILL)
            ended(database)
        assert indexes(database)["gated"], f"{where}: the index can always be used"
        left = {name for name, valid in indexes(database).items() if not valid}
        assert left == {"gated_ccold" if where in SWAPPED else "gated_ccnew"}
        result = reindex(database)
        assert [(one["target"].partition(".")[2], one["outcome"]) for one in result["actions"] if one["changed"]] == [
            (next(iter(left)), "done")
        ]
        assert indexes(database) == WELL, where
        assert reindex(database)["changed"] is False, where


def test_a_run_that_is_stopped_in_any_phase_cleans_up_itself(database: Database) -> None:
    found: list[dict[str, Any]] = []

    def start() -> None:
        threading.Thread(target=lambda: found.append(reindex(database, indexes=["gated"])), daemon=True).start()

    for where in PHASES:
        if where == "waiting for writers before build":  # those are waited for before anything is sent
            continue
        broken(database, "gated")
        before = files(database)
        with rebuilding(database, where, start):
            database.sql(CANCEL)
            until(lambda: not phase(database))
        until(lambda: found)
        (action,) = found.pop()["actions"]
        if where in SWAPPED:
            assert action["outcome"] == "done"
            assert action["reason"].startswith("rebuilt; canceling statement due to user request")
            assert files(database)["gated"] != before["gated"]
        else:
            said = (action["outcome"], action["reason"][:43])
            assert said == ("failed", "canceling statement due to user request"), where
        left = {name: valid for name, valid in indexes(database).items() if name not in WELL}
        assert left == {} or "is still locked: the next run removes it" in action["reason"], where
        reindex(database)
        assert set(indexes(database)) == set(WELL), where
        database.sql("DELETE FROM maintenance.state")


def test_kill_9_in_the_middle(database: Database, tmp_path: Path) -> None:
    broken(database, "gated")
    options = {"indexes": ["gated"], **ALL}
    code = (
        "import json, sys; from tests.runs import perform; perform('reindex', sys.argv[1], **json.loads(sys.argv[2]))"
    )
    with gate_closed(database):
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'collections'}:{REPOSITORY}", "HOME": str(tmp_path)}
        arguments = [sys.executable, "-c", code, database.dsn, json.dumps(options)]
        child = subprocess.Popen(arguments, env=environment)
        try:
            until(lambda: phase(database).startswith("building index"))
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        database.sql(KILL)  # the server would notice it by itself, some seconds later
        ended(database)
    result = reindex(database)
    assert {one["target"]: one["outcome"] for one in result["actions"] if one["changed"]} == {
        "public.gated_ccnew": "done",
        "public.gated": "done",
    }
    assert "was abandoned in reindex public.gated" in str(result["warnings"])
    assert indexes(database) == WELL


def leave(database: Database, name: str, blocker: str) -> None:
    """What a rebuild leaves that gives up behind somebody's lock: with a writer _ccnew, with a reader _ccold."""
    with transaction(database, blocker), closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute(SQL("REINDEX INDEX CONCURRENTLY {}").format(Identifier(name)))


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_leftovers_with_names_of_each_kind(server: Server, encoding: str) -> None:
    """Taken names have digits, long ones are cut before the ending, in bytes of the server's encoding."""
    name = unique("test")
    server.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    server.sql(f"ALTER DATABASE {name} SET client_encoding = 'UTF8'")
    database = Database(server, name)
    try:
        database.sql("CREATE TABLE item (id int, grp int); CREATE TABLE elsewhere ()")
        longest = "ü" * (31 if encoding == "UTF8" else 63)
        names = ["short", "i" * 63, longest, 'We%ird "x".y', "a_ccnew", "x" * 57 + "é"]
        for index in names:
            database.sql(SQL("CREATE INDEX {} ON item (grp)").format(Identifier(index)))
            for blocker in (
                "LOCK TABLE item IN ROW EXCLUSIVE MODE",
                "LOCK TABLE item IN ROW EXCLUSIVE MODE",
                "TABLE item",
            ):
                leave(database, index, blocker)
        assert len(indexes(database)) == 4 * len(names)
        result = reindex(database)
        assert (result["status"], result["totals"]["done"]) == ("ok", 3 * len(names)), result["msg"]
        assert indexes(database) == dict.fromkeys(names, True)
        assert reindex(database)["changed"] is False
    finally:
        database.close()


LOCKS = ["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"]
WORK = ["SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]


def test_locks_of_each_strength(database: Database) -> None:
    broken(database, "plain")
    before = files(database)
    for mode in LOCKS + WORK:
        with transaction(database, f"LOCK TABLE item IN {mode} MODE") as other:
            pid = other.info.backend_pid
            action = reindex(database, indexes=["plain"])["actions"][0]
            assert (action["outcome"], action["changed"]) == ("contended", False), mode
            said = (
                f"session {pid} (postgres, idle in transaction)"
                if mode in LOCKS
                else f"session {pid} is at work on its table"
            )
            assert said in action["reason"], mode
    with transaction(database, "BEGIN ISOLATION LEVEL REPEATABLE READ; TABLE elsewhere") as other:
        action = reindex(database, indexes=["plain"])["actions"][0]
        assert action["outcome"] == "contended"
        assert f"session {other.info.backend_pid}" in action["reason"]
    with transaction(database, "LOCK TABLE item IN ACCESS EXCLUSIVE MODE; REINDEX INDEX item_pkey"):
        assert {one["outcome"] for one in reindex(database)["actions"]} == {"contended", "unchanged"}
    assert files(database) == before
    assert indexes(database)["plain"] is False
    failures = database.value("SELECT coalesce(sum((value -> 'failures')::int), 0) FROM maintenance.state")
    assert failures == 0, "nothing was begun, so nothing has failed"
    assert reindex(database, indexes=["plain"])["totals"] == {"done": 1}


def test_what_others_do_between_decision_and_action(database: Database) -> None:
    options = operation.read({**ALL, "indexes": ["plain"]})
    cases = {
        "DROP INDEX plain": "skipped",
        "ALTER INDEX plain RENAME TO other": "skipped",
        "DROP INDEX plain; CREATE INDEX plain ON elsewhere ((1))": "skipped",
        "ALTER TABLE item RENAME TO items": "done",
        "REINDEX INDEX plain": "unchanged",
    }
    for statement, outcome in cases.items():
        broken(database, "plain")
        with closing(
            open_session(ConnectionOptions.read(database.dsn, "require", 60, "", "refuse"), "test", 60)
        ) as session:
            context = Context(check=False)
            (action,) = operation.decide(operation.facts(session, options, context), options, context)
            assert isinstance(action, Action)
            database.sql(statement)
            assert operation.execute(session, action, context).status == outcome, statement
        database.sql(
            "DROP INDEX IF EXISTS plain; DROP INDEX IF EXISTS other; ALTER TABLE IF EXISTS items RENAME TO item"
        )
        database.sql("CREATE INDEX plain ON item (grp)")
    assert indexes(database) == WELL


def test_the_budget_ends_in_the_middle(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(database, "gated")
    said: list[str] = []
    request = _edge.validated("reindex", {"dsn": database.dsn, "indexes": ["gated"], "budget": 60, **ALL})
    clock, run = Clock(), Concurrently.run

    def late(own: Concurrently, *given: Any) -> None:
        clock.leave(4)
        run(own, *given)

    with gate_closed(database), monkeypatch.context() as patch:
        patch.setattr(start, "Budget", clock.budget)
        patch.setattr(Concurrently, "run", late)
        (action,) = _edge.perform(request, False, lambda target, text, seconds: said.append(f"{target}: {text}"))[
            "actions"
        ]
    assert said[0].startswith("public.gated: building index"), "what people see meanwhile"
    assert (action["outcome"], action["reason"][:30]) == ("deferred", "the budget ended while it ran;")
    assert set(indexes(database)) == set(WELL)
    again = reindex(database)  # with more time than was not enough
    assert again["totals"].get("done") == 1, again
    assert indexes(database) == WELL


def test_the_quiet_window_closes_in_the_middle(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.sql("CREATE UNIQUE INDEX gated_unique ON item (gate(id))")
    broken(database, "gated_unique")
    quiet = {"not_before": "00:00", "not_after": "23:59"}
    monkeypatch.setattr(Window, "is_open", lambda window, now: True)  # whatever the time is
    monkeypatch.setattr(Window, "closes", lambda window, now: now + timedelta(seconds=2))
    with gate_closed(database):
        (action,) = reindex(database, indexes=["gated_unique"], quiet=quiet)["actions"]
    assert (action["outcome"], action["reason"]) == ("deferred", "its window closed while it ran")
    assert indexes(database) == {**WELL, "gated_unique": False}


UPSERT = "INSERT INTO item VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET grp = item.grp + 1"


@contextmanager
def upserts(database: Database) -> Iterator[list[str]]:
    """Two sessions that insert, update and delete the same few rows; the errors that they get."""
    errors: list[str] = []
    over = threading.Event()
    rounds = [0, 0]

    def go(number: int) -> None:
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            while not over.is_set():
                for key in (1001, 1002):
                    with suppress(psycopg2.errors.DeadlockDetected):
                        try:
                            cursor.execute(
                                "INSERT INTO item VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET grp = item.grp + 1",
                                [key],
                            )
                            cursor.execute("DELETE FROM item WHERE id = %s", [key])
                        except psycopg2.errors.UniqueViolation as error:
                            errors.append(str(error))
                rounds[number] += 1

    threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(rounds))
        yield errors
        last = list(rounds)
        until(lambda: all(now > before for now, before in zip(rounds, last)))
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_upserts_are_never_disturbed_unless_that_is_allowed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "least", 30.0)
    database.sql(
        "CREATE EXTENSION pgstattuple; DROP INDEX gated; INSERT INTO item SELECT i, i FROM generate_series(2000, 9999) AS i"
    )
    for statement in ("DELETE FROM item WHERE id >= 2000", "VACUUM ANALYZE item"):
        database.sql(statement)
    before = files(database)
    how: dict[str, Any] = {"history": False, "method": "exact"}
    with upserts(database) as errors:
        for _run in range(5):
            broken(database, "plain")
            result = reindex(database, **how)
            outcomes = {one["target"]: one["outcome"] for one in result["actions"] if "toast" not in one["target"]}
            assert outcomes == {"public.plain": "done", "public.item_pkey": "skipped"}
        assert errors == []
    assert files(database)["item_pkey"] == before["item_pkey"]
    (action,) = reindex(database, indexes=["item_pkey"], unique=True, **how)["actions"]
    assert (action["outcome"], files(database)["item_pkey"] != before["item_pkey"]) == ("done", True)
    broken(database, "item_pkey")
    assert reindex(database, indexes=["item_pkey"], **how)["actions"][0]["outcome"] == "skipped"
    overrides = [{"match": "*.item_pkey", "unique": True}]
    assert reindex(database, indexes=["item_pkey"], overrides=overrides, **how)["totals"] == {"done": 1}
