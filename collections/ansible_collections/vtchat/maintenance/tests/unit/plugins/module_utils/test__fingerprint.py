# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fingerprint proves, and when."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _fingerprint
from ansible_collections.vtchat.maintenance.plugins.module_utils._fingerprint import Look

NAMES = {20001: "public.users", 20002: "public.plans"}


def fingerprint(**changes: Any) -> dict[str, Any]:
    whole = {
        "view": 20000,
        "definition": "-42",
        "database": 5,
        "since": ["1.0", "2.0", ""],
        "relations": [[20001, 30001, 4, 1000, 20, 3], [20002, 30002, 2, 5, 0, 0]],
    }
    return {**whole, **changes}


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        (fingerprint(), ""),
        (fingerprint(view=1), "it has been created anew since the last refresh"),
        (fingerprint(database=6), "it has been created anew since the last refresh"),
        (
            fingerprint(definition="7"),
            "its definition has changed since the last refresh, or that of something it uses",
        ),
        (
            fingerprint(since=["1.0", "2.0", "3.0"]),
            "the server's statistics began anew after the last refresh (restart, crash or reset)",
        ),
        (
            fingerprint(relations=[[20001, 30001, 4, 2200, 20, 4], [20002, 30002, 2, 5, 0, 0]]),
            "public.users has changed (1\u202f200 rows inserted, 1 deleted) since the last refresh",
        ),
        (
            fingerprint(relations=[[20001, 30001, 4, 1000, 21, 3], [20002, 30002, 2, 6, 0, 0]]),
            "public.users has changed (1 row updated) since the last refresh, and so have 1 more",
        ),
        (
            fingerprint(relations=[[20001, 30009, 4, 1000, 20, 3], [20002, 30002, 2, 5, 0, 0]]),
            "public.users has been truncated or rewritten since the last refresh",
        ),
        (
            fingerprint(relations=[[20001, 30001, 5, 1000, 20, 3], [20002, 30002, 2, 5, 0, 0]]),
            "public.users has got other columns since the last refresh",
        ),
        (fingerprint(relations=[[20001, 30001, 4, 1000, 20, 3]]), "it no longer reads 1 of the tables it read"),
    ],
)
def test_difference(present: dict[str, Any], reason: str) -> None:
    assert _fingerprint.difference(fingerprint(), present, NAMES) == reason


def test_difference_names_what_is_new() -> None:
    stored = fingerprint(relations=[[20001, 30001, 4, 1000, 20, 3]])
    assert _fingerprint.difference(stored, fingerprint(), NAMES) == "it reads public.plans since the last refresh"


@pytest.mark.parametrize("stored", [{}, {"view": 20000}, fingerprint(relations=[])])
def test_what_another_release_stored_never_looks_equal(stored: dict[str, Any]) -> None:
    assert _fingerprint.difference(stored, fingerprint(), NAMES)


def facts_row(**changes: Any) -> dict[str, Any]:
    table = {"oid": 20001, "schema": "public", "name": "users", "kind": "r", "row_security": False}
    table.update(changes.pop("table", {}))
    return {"relations": [table], "functions": None, "nodes": None, "uncounted": False, **changes}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (facts_row(functions=["now"]), "calls now()"),
        (facts_row(functions=["Odd name"]), 'calls "Odd name"()'),
        (facts_row(nodes=["SQLVALUEFUNCTION"]), "uses CURRENT_DATE, CURRENT_USER or the like"),
        (facts_row(nodes=["TABLESAMPLECLAUSE"]), "uses TABLESAMPLE"),
        (facts_row(nodes=["SOMETHINGNEW"]), "has an expression of kind SOMETHINGNEW"),
        (facts_row(table={"kind": "f"}), "reads the foreign table public.users"),
        (facts_row(table={"kind": "S"}), "reads the sequence public.users"),
        (facts_row(table={"oid": 1259, "schema": "pg_catalog"}), "reads the system catalog pg_catalog.users"),
        (facts_row(table={"row_security": True}), "row-level security"),
        (facts_row(uncounted=True), "track_counts is off"),
    ],
)
def test_obstacles(row: dict[str, Any], words: str) -> None:
    assert words in _fingerprint.obstacle(row, 180000, True)


def test_obstacles_of_the_server() -> None:
    assert _fingerprint.obstacle(facts_row(), 150000, True) == ""
    assert "PostgreSQL 14" in _fingerprint.obstacle(facts_row(), 140010, True)
    assert "track_counts" in _fingerprint.obstacle(facts_row(), 180000, False)


def someone(idle_since: float | None = None, transaction: str | None = None) -> dict[str, Any]:
    return {"pid": 7, "idle_since": idle_since, "transaction": transaction}


# The first look is at second 1000; transaction 3/9 has been open since before the last refresh.
@pytest.mark.parametrize(
    ("session", "moment", "reported"),
    [
        (someone(idle_since=989), 1000, True),
        (someone(idle_since=989.1), 1000, False),  # the timer goes off after ten seconds, perhaps a little later
        (someone(idle_since=999), 1009, False),
        (someone(idle_since=999), 1010, True),
        (someone(idle_since=1000.9), 1002, False),  # its last report may be 0.95 s before that
        (someone(idle_since=1001.2), 1002, True),
        (someone(transaction="3/8"), 1000, False),
        (someone(transaction="3/10"), 1011.5, False),  # may have begun after nine idle seconds
        (someone(transaction="3/10"), 2000, False),
        (someone(transaction="3/9"), 1000, True),
        (someone(), 1000, False),  # who may not see states sees this
        (someone(), 1010.9, False),
        (someone(), 1011, True),
    ],
)
def test_who_may_still_hold_counters(session: dict[str, Any], moment: float, reported: bool) -> None:
    first = Look([session], 1000.0)
    assert _fingerprint.waiting(first, Look([session], moment), {"3/9"}) == ([] if reported else [session])


def test_who_came_later_or_has_gone_does_not_matter() -> None:
    busy = someone(transaction="3/10")
    assert _fingerprint.waiting(Look([], 1000.0), Look([busy], 1001.0), []) == []
    assert _fingerprint.waiting(Look([busy], 1000.0), Look([], 1000.5), []) == []


def test_open_transactions() -> None:
    assert Look([someone(), someone(transaction="3/10")], 1000.0).transactions == ["3/10"]
