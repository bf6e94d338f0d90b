# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions that idle, that take long and that keep others waiting: each is told by one check, until its advice is followed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg2
import pytest

from tests.health import bad, levels, look, of
from tests.runs import until
from tests.servers import Database

SOON = {"warning": 0.001, "critical": None}
# What sessions may be called, and what of their statements must never be shown.
HOSTILE = '%s \'; DROP "x" <b>'
SECRET = "pa55-word"
STATE = "SELECT state || coalesce(wait_event_type, '') FROM pg_stat_activity WHERE pid = %s"


def soon(*checks: str) -> dict[str, Any]:
    return {"thresholds": dict.fromkeys(checks, SOON)}


@contextmanager
def busy(database: Database, work: Callable[[Any], None], *before: str) -> Iterator[int]:
    """The process of a session that has done what comes before, and then works until it is stopped or ended by others."""
    connection = database.connect(application_name=HOSTILE)
    pid = connection.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        try:
            with connection.cursor() as cursor:
                for statement in before:
                    cursor.execute(statement)
                future = pool.submit(work, cursor)
                yield pid
        finally:
            database.sql("SELECT pg_terminate_backend(%s)", [pid])
            assert isinstance(future.exception(60), (psycopg2.Error, type(None)))
            connection.close()


def mended(database: Database, found: dict[str, Any], *checks: str) -> bool:
    """Wait until the advice of a finding, a statement, has made an end of it."""
    database.sql(found["advice"])
    until(lambda: bad(look(database, **soon(*checks))) == {})
    return True


@pytest.mark.parametrize("aborted", [False, True])
def test_idle_in_a_transaction(database: Database, aborted: bool) -> None:
    role = database.role('o"dd')
    connection = database.connect(role, application_name="shop")
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; SELECT '{SECRET}'")
        if aborted:
            with pytest.raises(psycopg2.Error):
                cursor.execute("SELECT 1 / 0")
    assert bad(look(database)) == {}, "it has just begun"
    options = soon("idle-in-transaction")
    result = look(database, **options)
    assert bad(result) == {"idle-in-transaction": "warning"}
    (found,) = of(result, "idle-in-transaction")
    assert found["subject"] == f"pid {connection.info.backend_pid}"
    quoted = role.replace('"', '""')
    failed = " that has failed" if aborted else ""
    assert found["message"].startswith(f'"{quoted}", shop: idle in a transaction{failed} for ')
    assert (found["evidence"]["user"], found["evidence"]["application"]) == (role, "shop")
    assert found["value"] > 0
    assert aborted or found["value"] <= found["evidence"]["transaction_seconds"]
    assert SECRET not in json.dumps(result)
    # Whoever may not see others is told so, and still of what is its own.
    hidden = look(database, database.dsn_as(database.role()), **options)
    assert (bad(hidden), levels(hidden)["idle-in-transaction"]) == ({}, "unknown")
    own = look(database, database.dsn_as(role), **options)
    assert [one["level"] for one in of(own, "idle-in-transaction")] == ["warning", "unknown"]
    assert mended(database, found, "idle-in-transaction")


def test_a_statement_that_takes_long(database: Database) -> None:
    database.sql("CREATE TABLE t (id int)")
    checks = ("idle-in-transaction", "long-transactions", "long-queries")
    with busy(database, lambda cursor: cursor.execute(f"SELECT pg_sleep(600), '{SECRET}'"), "BEGIN") as pid:
        until(lambda: database.sql(STATE, [pid]) == [("activeTimeout",)])
        # At first the transaction is not older than its statement by much, which is what is told.
        until(lambda: bad(look(database, **soon(*checks))) == {"long-queries": "warning"})
        (found,) = of(look(database, **soon(*checks)), "long-queries")
        assert found["subject"] == f"pid {pid}"
        assert found["message"].startswith(f"postgres, {HOSTILE}: its statement has run for ")
        assert SECRET not in json.dumps(found)
        assert mended(database, found, *checks)


def test_vacuum_takes_the_time_that_it_needs(database: Database) -> None:
    database.sql("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 20000); DELETE FROM t")
    slowly = ("SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1")
    with busy(database, lambda cursor: cursor.execute("VACUUM t"), *slowly) as pid:
        until(lambda: database.value("SELECT count(*) FROM pg_stat_progress_vacuum WHERE pid = %s", [pid]))
        assert bad(look(database, **soon("long-queries", "long-transactions"))) == {}


def test_a_transaction_of_many_statements(database: Database) -> None:
    stop = Event()

    def work(cursor: Any) -> None:
        while not stop.is_set():
            cursor.execute("SELECT 1")

    checks = ("idle-in-transaction", "long-transactions", "long-queries")
    # While it runs, nothing else takes half of its time.
    with busy(database, work, "BEGIN") as pid:
        told: list[dict[str, Any]] = []

        def seen() -> bool:
            """Now and then one of the statements has taken more than half of the time: then it is told instead."""
            result = look(database, **soon("long-transactions"))
            told[:] = of(result, "long-transactions")
            return bad(result) == {"long-transactions": "warning"}

        until(seen)
        (found,) = told
        assert found["subject"] == f"pid {pid}"
        assert mended(database, found, *checks)
        stop.set()


def blockers(database: Database) -> list[str]:
    found = of(look(database, **soon("blocked-sessions")), "blocked-sessions")
    return [one["subject"] for one in found]


def test_who_keeps_whom_waiting(database: Database) -> None:
    database.sql("CREATE TABLE t (id int); CREATE TABLE u (id int)")
    holder = database.connect(application_name=HOSTILE)
    with holder.cursor() as cursor:
        cursor.execute(f"BEGIN; LOCK TABLE t; SELECT '{SECRET}'")
    first = busy(database, lambda cursor: cursor.execute(f"SELECT '{SECRET}' FROM t"), "BEGIN", "LOCK TABLE u")
    second = busy(database, lambda cursor: cursor.execute("SELECT FROM u"))
    with first as one, second as other:
        for pid in (one, other):
            until(lambda pid=pid: database.sql(STATE, [pid]) == [("activeLock",)])  # type: ignore[misc]
        assert bad(look(database)) == {}, "they have just begun to wait"
        result = look(database, **soon("blocked-sessions"))
        assert bad(result) == {"blocked-sessions": "warning"}
        (found,) = of(result, "blocked-sessions")
        assert found["subject"] == f"pid {holder.info.backend_pid}", "the others wait for somebody themselves"
        assert sorted(found["evidence"]["waiting"]) == sorted([one, other])
        assert f"postgres, {HOSTILE}, idle in transaction for " in found["message"]
        assert ": 2 sessions wait for it, the longest for " in found["message"]
        assert SECRET not in json.dumps(result)
        # Who waits is no secret of the server, as whom it does is.
        hidden = look(database, database.dsn_as(database.role()), **soon("blocked-sessions"))
        assert bad(hidden) == {"blocked-sessions": "warning"}
        database.sql(found["advice"])
        until(lambda: blockers(database) == [f"pid {one}"])  # it is idle now, and its transaction is still open
        (found,) = of(look(database, **soon("blocked-sessions")), "blocked-sessions")
        assert mended(database, found, "blocked-sessions")
