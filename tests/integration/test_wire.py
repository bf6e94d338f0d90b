# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns on the wire: a number, not a time, so it is a test. An ocean away each turn costs a tenth of a second."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from tests.bench.application import install_view, run_hourly, settle
from tests.servers import Database, Server, Servers
from tests.wire import counted


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """Apart from the other tests: settings of roles and databases that they change would cost a refresh here."""
    return servers.shared("refresh")


@pytest.fixture
def idle_database(vtchat_database: Database) -> Database:
    """A database in which the hourly plan finds nothing to do."""
    install_view(vtchat_database)
    vtchat_database.sql("ANALYZE")
    settle(vtchat_database)
    return vtchat_database


def test_idle_hourly_run_takes_at_most_8_turns(idle_database: Database) -> None:
    with counted(idle_database.server) as wire:
        result = run_hourly(wire.dsn(idle_database.name, "postgres"))
    assert set(result["totals"]) == {"unchanged"}
    assert len(wire.turns) <= 8, wire.turns


def test_result_reports_the_turns_that_were_on_the_wire(idle_database: Database) -> None:
    idle_database.sql("UPDATE sessions SET expires_at = now() - interval '1 day' WHERE id = 'session_1'")
    idle_database.close_connection()
    with counted(idle_database.server) as wire:
        acting = run_hourly(wire.dsn(idle_database.name, "postgres"))
        turns = len(wire.turns)
        idle = run_hourly(wire.dsn(idle_database.name, "postgres"))
    assert acting["totals"]["done"] == 1
    assert acting["turns"] == turns
    assert idle["turns"] == len(wire.turns) - turns


def test_the_wire_counts_each_question_once_and_nothing_else(database: Database) -> None:
    with counted(database.server) as wire, closing(psycopg2.connect(wire.dsn(database.name, "postgres"))) as connection:
        assert wire.turns == []
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1; SELECT 2")
            cursor.execute("SELECT repeat('x', 1000000)")
            assert cursor.fetchone() == ("x" * 1_000_000,)
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("SELECT 1 / 0")
        connection.close()
        assert wire.turns == ["SELECT 1; SELECT 2", "SELECT repeat('x', 1000000)", "SELECT 1 / 0"]
