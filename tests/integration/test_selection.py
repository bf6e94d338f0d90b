# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tables a selection means, on a real server: partitions, sizes, locks, rights."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import selection
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.driver import sql
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.selection import Selection
from tests.runs import perform
from tests.servers import Database

SIZES = {"app.small": 8192, "app.events_1": 8192, "app.events_2_a": 0, "other.m": 8192}


@pytest.fixture
def tables(database: Database) -> Database:
    database.sql(
        "CREATE SCHEMA app; CREATE SCHEMA other; CREATE TABLE app.small AS SELECT 1 AS n; "
        "CREATE TABLE app.large WITH (fillfactor = 10) AS SELECT n, repeat('x', 700) AS t FROM generate_series(1, 10) AS n; "
        "CREATE TABLE app.events (n int) PARTITION BY LIST (n); "
        "CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES IN (1); INSERT INTO app.events VALUES (1); "
        "CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES IN (2, 3) PARTITION BY LIST (n); "
        "CREATE TABLE app.events_2_a PARTITION OF app.events_2 FOR VALUES IN (2); CREATE VIEW app.v AS SELECT 1 AS one; "
        "CREATE MATERIALIZED VIEW other.m AS SELECT 1 AS one; CREATE TEMP TABLE passing (n int)"
    )
    return database


def rows(dsn: str, chosen: Selection, **how: Any) -> list[dict[str, Any]]:
    with closing(open_session(ConnectionOptions.read(dsn), "test", read_only=True)) as session:
        query = sql.SQL(
            "WITH RECURSIVE {} SELECT *, oid::bigint AS oid FROM target ORDER BY position, schema_name, name"
        )
        return session.rows(query.format(selection.stored(session.server, chosen, **how)))


def found(database: Database, **chosen: Any) -> dict[str | None, int | None]:
    faults: list[str] = []
    result = rows(database.dsn, selection.read(chosen, faults))
    assert not faults
    assert len({row["oid"] for row in result}) == len(result), "each once"
    return {row["oid"] and f"{row['schema_name']}.{row['name']}": row["bytes"] for row in result}


def test_all_that_have_rows(tables: Database) -> None:
    sizes = found(tables, include=["*"])
    assert (sizes.pop("app.large") or 0) >= 10 * 8192
    assert sizes == SIZES


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"include": ["app.events"]}, {"app.events_1", "app.events_2_a"}),
        ({"include": ["app.events_2"]}, {"app.events_2_a"}),
        ({"include": ["*"], "exclude": ["app.events"]}, {"app.small", "app.large", "other.m"}),
        ({"tables": ["app.events"]}, {"app.events_1", "app.events_2_a"}),
        ({"tables": ["app.events", "app.events_1"]}, {"app.events_1", "app.events_2_a"}),
        ({"tables": ["app.small"], "include": ["app.s*"], "exclude": ["app.small"]}, {"app.small"}),
        ({"tables": ["app.nothing", "app.v"]}, {None, "app.v"}),
        ({"include": ["*"], "min_size": 8193}, {"app.large"}),
        ({"include": ["*"], "max_size": 8192}, {"app.small", "app.events_1", "app.events_2_a", "other.m"}),
        ({"tables": ["app.large"], "max_size": 8192}, {"app.large"}),
    ],
)  # fmt: skip
def test_which(tables: Database, chosen: dict[str, Any], names: set[str | None]) -> None:
    assert set(found(tables, **chosen)) == names


def test_our_own_history_is_not_what_a_pattern_means(tables: Database) -> None:
    perform("analyze", tables.dsn, include=["*"])
    assert not {name for name in found(tables, include=["*"]) if name and name.startswith("maintenance.")}
    assert perform("analyze", tables.dsn, include=["*"])["changed"] is False
    assert set(found(tables, tables=["maintenance.run"])) == {"maintenance.run"}
    tables.sql("DROP SCHEMA maintenance CASCADE; CREATE SCHEMA maintenance; CREATE TABLE maintenance.run ()")
    assert set(found(tables, include=["m*"])) == {"maintenance.run"}, "this one is somebody's own"


def test_what_somebody_has_locked_as_a_whole_is_not_waited_for(tables: Database) -> None:
    with closing(tables.connect()) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE app.large IN ACCESS EXCLUSIVE MODE")
        assert found(tables, include=["*"], min_size=8193) == {"app.large": None}
        other.rollback()


def test_the_names_that_patterns_see_and_the_rights(tables: Database) -> None:
    role = tables.role("some")
    tables.sql(f"GRANT USAGE ON SCHEMA app TO {role}; ALTER TABLE app.small OWNER TO {role}")
    result = {row["name"]: row for row in rows(tables.dsn_as(role), Selection(include=("*",)))}
    assert sorted(result["events_2_a"]["names"]) == ["app.events", "app.events_2", "app.events_2_a"]
    assert {name for name, row in result.items() if row["may_maintain"]} == {"small"}
    assert {name for name, row in result.items() if not row["may_use_schema"]} == {"m"}
    tables.sql(f"ALTER DATABASE {tables.name} OWNER TO {role}")
    owner = rows(tables.dsn_as(role), Selection(include=("*",)))
    assert all(row["may_maintain"] for row in owner), "whoever owns the database may VACUUM all of it"
    others = rows(tables.dsn_as(role), Selection(include=("*",)), database_owner=False)
    assert {row["name"] for row in others if row["may_maintain"]} == {"small"}
