# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program on the server, stopped at any moment: either everything is done, or nothing is left of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import program
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.program import PROGRAM
from tests.objects import INDEX, VIEW, catalog, install
from tests.servers import Database

CANCELED = "57014"
BEFORE = (
    VIEW,
    "CREATE OR REPLACE VIEW public.names AS SELECT id, name FROM public.items; COMMENT ON VIEW public.names IS 'n'",
    "CREATE TYPE public.mood AS ENUM ('good'); COMMENT ON TYPE public.mood IS 'm'",
    "CREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION public.f() IS 'f'",
)
AFTER = (
    "CREATE MATERIALIZED VIEW public.new AS SELECT id FROM public.item",
    VIEW.replace("id, name", "id, id AS more, name"),
    BEFORE[1].replace("SELECT id, name", "SELECT name, id"),
    BEFORE[2].replace("'good'", "'bad'"),
    BEFORE[3].replace("int", "bigint"),
)


@pytest.fixture
def installed(items: Database) -> Database:
    """Objects of which each has to make way for another one."""
    install(items, *BEFORE)
    items.sql(f"{INDEX}; GRANT SELECT ON items, names TO PUBLIC")
    return items


def stopped_at(place: int) -> str:
    """The program, cancelled before that one of the statements that it executes when it builds or applies."""
    stop = f"moment := moment + 1; IF moment = {place} AND mode <> 'compare' THEN RAISE query_canceled; END IF;"
    return PROGRAM.replace("EXECUTE ", f"{stop} EXECUTE ").replace("DECLARE", "DECLARE moment int := 0;", 1)


def attempt(database: Database, **options: Any) -> dict[str, Any] | str:
    """The result, or why there is none."""
    try:
        return install(database, *AFTER, on_conflict="recreate", **options)
    except (SqlError, Contended) as error:
        return getattr(error, "sqlstate", "contended")


def test_stopped_at_any_statement(installed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 17th one: each fragment is hit."""
    before, stops = catalog(installed), 0
    for place in range(1, 1000, 17):
        monkeypatch.setattr(program, "PROGRAM", stopped_at(place))
        result = attempt(installed)
        if not isinstance(result, str):
            break
        assert (result, catalog(installed)) == (CANCELED, before), place
        stops += 1
    assert stops > 8
    monkeypatch.undo()
    again = attempt(installed)
    assert not isinstance(again, str)
    assert not again["changed"]


def test_out_of_time_at_any_moment(installed: Database) -> None:
    """statement_timeout strikes wherever the server happens to be."""
    before, began = catalog(installed), time.monotonic()
    attempt(installed, check=True)
    whole = (time.monotonic() - began) * 2
    for part in range(1, 12, 2):
        if not isinstance(attempt(installed, budget=whole * part / 10), str):
            break
        assert catalog(installed) == before, part
    done = [attempt(installed), attempt(installed)]
    assert not isinstance(done[1], str)
    assert not done[1]["changed"]
