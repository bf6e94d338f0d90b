# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody has locked a table of the history: the maintenance goes on, and says who it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history import History
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import LOCK_KEYS
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import SCHEMA, TABLES
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import walks
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import perform, until
from tests.servers import Database
from tests.tables import held

NAMES = [f"{SCHEMA}.{name}" for names in TABLES.values() for name in names]
# What a run cannot be recorded without; the others are written when it ends.
NEEDED = [f"{SCHEMA}.{name}" for name in TABLES[1]]
STEPS = [{"purge": {"table": name, "column": "at"}} for name in ("t", "u")] + [
    {"health_info": {"checks": ["freeze-age"], "fail_on": "never"}}
]
# Whoever deletes says whether the run lock is theirs, and from t does not go on while somebody has the advisory lock 77.
MAKE = f"""
CREATE TABLE seen (mine bool);
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    WHILE TG_RELNAME = 't' AND NOT pg_try_advisory_xact_lock_shared(77) LOOP
        PERFORM pg_sleep(0.005);
    END LOOP;
    INSERT INTO public.seen SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND pid = pg_backend_pid() AND classid = {LOCK_KEYS[0]} AND objid = {LOCK_KEYS[1]});
    RETURN OLD;
END$$;
CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);
CREATE TABLE u (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON u (at);
CREATE TRIGGER gate BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION gate();
CREATE TRIGGER gate BEFORE DELETE ON u FOR EACH ROW EXECUTE FUNCTION gate();
"""
FILL = "INSERT INTO t VALUES (1, '2000-01-01'); INSERT INTO u VALUES (1, '2000-01-01')"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
OPEN = """
SELECT (SELECT count(*) FROM maintenance.run WHERE finished_at IS NULL)
       + (SELECT count(*) FROM maintenance.action WHERE finished_at IS NULL)
"""
MOST = 3  # waits of a second for locks, in a run that goes on all the same


def run(database: Database, **options: Any) -> dict[str, Any]:
    return perform("run", database.dsn, plan="hourly", steps=STEPS, **options)


@pytest.fixture(autouse=True)
def in_vain(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What sessions of ours have waited for in vain, in the present run."""
    waits: list[str] = []
    translate, enter = Session._translate, History.enter

    def translated(self: Session, error: Any) -> Any:
        found = translate(self, error)
        waits.extend([str(found)] if isinstance(found, Contended) else [])
        return found

    def entered(self: History, wanted: bool) -> None:
        waits.clear()
        enter(self, wanted)

    monkeypatch.setattr(Session, "_translate", translated)
    monkeypatch.setattr(History, "enter", entered)
    return waits


@pytest.fixture
def made(database: Database) -> Database:
    """With a history, and rows to purge."""
    database.sql(MAKE)
    assert run(database)["run_id"] == 1
    database.sql(FILL)
    return database


@contextmanager
def at_the_gate(database: Database) -> Iterator[tuple[Future[dict[str, Any]], Callable[[], None]]]:
    """A run that is in the middle of its first action, and what lets it go on, as the end of the block does."""
    with ThreadPoolExecutor(1) as thread, closing(database.connect()) as gate:
        gate.cursor().execute("SELECT pg_advisory_lock(77)")
        running = thread.submit(run, database)
        until(lambda: database.value(WAITING) or running.done())
        assert not running.done(), running.result()
        yield running, lambda: gate.cursor().execute("SELECT pg_advisory_unlock_all()")
        gate.close()


def worked(database: Database, in_vain: list[str], result: dict[str, Any], *told: str) -> None:
    """All was done under the run lock, after a few short waits, and the one warning tells all this."""
    assert (result["status"], result["totals"]["done"]) == ("ok", 2), result
    assert database.value("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u)") == 0
    assert database.sql("DELETE FROM seen RETURNING mine") == [(True,)] * 2
    assert 0 < len(in_vain) <= MOST, in_vain
    (warning,) = [one for one in result["warnings"] if "was abandoned" not in one]
    assert not [text for text in told if text not in warning], warning
    assert warning.count(told[0]) == 1
    database.sql(FILL)


def recovered(database: Database) -> dict[str, Any]:
    """The next run, which is recorded as ever, leaves nothing half done, and lets go of the lock."""
    result = run(database)
    assert (result["status"], database.value(OPEN)) == ("ok", 0)
    assert database.value("SELECT status FROM maintenance.run WHERE id = %s", [result["run_id"]]) == "ok"
    assert database.value("SELECT bool_and(mine) FROM seen")
    database.sql("TRUNCATE seen")
    database.sql(FILL)
    return result


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "EXCLUSIVE"])
def test_locked_from_the_beginning(made: Database, in_vain: list[str], mode: str) -> None:
    """The first keeps away whoever reads the catalog of a table, the second whoever writes into it."""
    for number, name in enumerate(NAMES):
        with held(made, f"LOCK TABLE {name} IN {mode} MODE") as pid:
            result = run(made, every="1h", due="auto") if mode == "ACCESS EXCLUSIVE" else run(made)
        way_out = f"session {pid} (postgres, idle in transaction) holds {mode.title().replace(' ', '')}Lock on {name}"
        if mode == "ACCESS EXCLUSIVE":
            assert "is not known" in result["due"]
            result["warnings"] = [one for one in result["warnings"] if not one.startswith("hourly: ")]
        worked(
            made,
            in_vain,
            result,
            f"{way_out}; SELECT pg_terminate_backend({pid}) ends it",
            "canceling statement due to lock timeout",
        )
        if name in NEEDED:
            assert result["warnings"][0].startswith("No history: ")
        latest = recovered(made)
        assert bool(latest["recent"]), number


def test_locked_while_an_action_is_at_work(made: Database, in_vain: list[str]) -> None:
    """Whatever is locked then: what comes after it is done. Without the tables of the end the run is closed all the same."""
    for name in NAMES:
        with at_the_gate(made) as (running, _go_on):
            other = made.connect()
            other.cursor().execute(f"BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        with closing(other):
            result = running.result()
            other.cursor().execute("ROLLBACK")
        worked(made, in_vain, result, f"holds AccessExclusiveLock on {name}")
        status = made.value("SELECT status FROM maintenance.run WHERE id = %s", [result["run_id"]])
        assert status == (None if name in NEEDED else "ok"), name
        recovered(made)
        made.sql("DELETE FROM maintenance.state")  # what was abandoned has to wait, and here is no time for that


def test_let_go_before_the_end(made: Database, in_vain: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written when it was done is written at the end."""
    monkeypatch.setattr(walks, "ROW", 60.0)
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    with closing(made.connect()) as other, closing(made.connect()) as row, at_the_gate(made) as (running, go_on):
        other.cursor().execute("BEGIN; LOCK TABLE maintenance.action IN ACCESS EXCLUSIVE MODE")
        row.cursor().execute("BEGIN; LOCK TABLE u IN SHARE ROW EXCLUSIVE MODE")
        go_on()
        # The end of the first action waits in vain; until then the second stands before its table.
        until(lambda: made.value(waits, ["u"]) or running.done())
        other.cursor().execute("ROLLBACK")
        row.cursor().execute("ROLLBACK")
        result = running.result()
    worked(
        made, in_vain, result, "recorded at the end of the run only", "holds AccessExclusiveLock on maintenance.action"
    )
    rows = made.sql("SELECT target, outcome FROM maintenance.action WHERE run_id = %s ORDER BY id", [result["run_id"]])
    assert rows[:2] == [("public.t", "done"), ("public.u", "done")]
    assert made.value("SELECT status FROM maintenance.run WHERE id = %s", [result["run_id"]]) == "ok"
    assert (
        made.value(
            "SELECT count(*) FROM maintenance.state WHERE seconds IS NOT NULL AND target IN ('public.t', 'public.u')"
        )
        == 2
    )
    recovered(made)


def test_rows_and_queues(made: Database, in_vain: list[str]) -> None:
    """Somebody who has changed a row, a lock that others wait for, and a transaction that nobody is at."""
    with held(made, "UPDATE maintenance.counter SET actions = actions") as pid:
        worked(
            made,
            in_vain,
            run(made),
            f"session {pid} (postgres, idle in transaction) has locked rows of maintenance.counter",
        )
    recovered(made)
    with (
        held(made, "SELECT FROM maintenance.state") as pid,
        closing(made.connect()) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        lock = thread.submit(other.cursor().execute, "BEGIN; LOCK TABLE maintenance.state")
        until(
            lambda: made.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s", [other.info.backend_pid])
        )
        result = run(made)
        other.cancel()
        assert "QueryCanceled" in type(lock.exception()).__name__
        worked(
            made,
            in_vain,
            result,
            f"session {other.info.backend_pid} (postgres, active) waits for AccessExclusiveLock on maintenance.state",
        )
    recovered(made)


def test_another_run_while_the_history_is_locked(made: Database) -> None:
    """Two runs at once are not for want of a history."""
    with held(
        made, "LOCK TABLE maintenance.run IN ACCESS EXCLUSIVE MODE", f"SELECT pg_advisory_lock({LOCK_KEYS[0]}, 1)"
    ) as pid:
        result = run(made)
        assert result["status"] == "skipped"
        assert f"session {pid} of postgres" in result["msg"]
        made.sql("SELECT pg_advisory_unlock_all()")
        asked = perform("run", made.dsn, True, plan="hourly", steps=STEPS)
        assert (asked["status"], asked["totals"]["planned"]) == ("ok", 2)
        assert f"session {pid} " in asked["warnings"][0]


def test_not_due_without_a_history(made: Database) -> None:
    """A moment of the week that is long past is not caught up, as is documented."""
    then = datetime.now(timezone.utc) - timedelta(days=2)
    with held(made, "LOCK TABLE maintenance.sample IN ACCESS EXCLUSIVE MODE"):
        result = run(made, at=f"{then:%a} {then:%H:%M}", due="auto")
    assert result["status"] == "skipped", result
    assert "holds AccessExclusiveLock on maintenance.sample" in result["warnings"][0]
    assert "is not caught up" in result["warnings"][0]


def test_whoever_asks_the_history(made: Database) -> None:
    """history_info and provisioning say who it is as well."""
    with held(made, "LOCK TABLE maintenance.finding IN ACCESS EXCLUSIVE MODE") as pid:
        told = f"session {pid} (postgres, idle in transaction) holds AccessExclusiveLock on maintenance.finding"
        asked = perform("history_info", made.dsn)
        assert (asked["failed"], told in asked["msg"]) == (True, True), asked
        result = perform("sql_object", made.dsn, scripts=[], history=True)
        assert told in str(result["actions"]), result
