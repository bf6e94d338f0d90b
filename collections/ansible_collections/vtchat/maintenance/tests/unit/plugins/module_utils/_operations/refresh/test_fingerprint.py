# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fingerprint proves, and when."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh import covered, definition
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh import fingerprint as _fingerprint

NAMES = {20001: "public.users", 20002: "public.plans"}


def since(**changes: Any) -> dict[str, Any]:
    return {"began": ["1.0", "2.0", "", ""], "loaded": "1.0", "settings": ["16390 0 777", 3, 5, 2], **changes}


def fingerprint(**changes: Any) -> dict[str, Any]:
    whole = {
        "view": 20000,
        "definition": "-42",
        "database": 5,
        "since": since(),
        "relations": [[20001, "form", 30001, 1000, 20, 3], [20002, "form", 30002, 5, 0, 0]],
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
            fingerprint(since=since(began=["1.0", "2.0", "3.0", ""])),
            "the server's statistics began anew after the last refresh (restart, crash or reset)",
        ),
        (
            fingerprint(relations=[[20001, "form", 30001, 2200, 20, 4], [20002, "form", 30002, 5, 0, 0]]),
            "public.users has changed (1\u202f200 rows inserted, 1 deleted) since the last refresh",
        ),
        (
            fingerprint(relations=[[20001, "form", 30001, 1000, 21, 3], [20002, "form", 30002, 6, 0, 0]]),
            "public.users has changed (1 row updated) since the last refresh, and so have 1 more",
        ),
        (
            fingerprint(relations=[[20001, "form", 30009, 1000, 20, 3], [20002, "form", 30002, 5, 0, 0]]),
            "public.users has been truncated or rewritten since the last refresh",
        ),
        (
            fingerprint(relations=[[20001, "other", 30001, 1000, 20, 3], [20002, "form", 30002, 5, 0, 0]]),
            "public.users has got other columns or properties since the last refresh",
        ),
        (fingerprint(relations=[[20001, "form", 30001, 1000, 20, 3]]), "it no longer reads 1 of the tables it read"),
    ],
)
def test_difference(present: dict[str, Any], reason: str) -> None:
    assert _fingerprint.difference(fingerprint(), present, NAMES) == reason


def test_difference_names_what_is_new() -> None:
    stored = fingerprint(relations=[[20001, "form", 30001, 1000, 20, 3]])
    assert _fingerprint.difference(stored, fingerprint(), NAMES) == "it reads public.plans since the last refresh"


@pytest.mark.parametrize("stored", [{}, {"view": 20000}, fingerprint(relations=[])])
def test_what_another_release_stored_never_looks_equal(stored: dict[str, Any]) -> None:
    assert _fingerprint.difference(stored, fingerprint(), NAMES)


COUNTED = "settings of a role or database have changed since the last refresh, and track_counts may have been off"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        (
            {"loaded": "2.0"},
            "the server's configuration was loaded anew after the last refresh, and track_counts may have been off",
        ),
        ({"settings": ["16390 0 778", 3, 5, 2]}, COUNTED),  # written anew
        ({"settings": ["16390 0 777", 3, 6, 3]}, COUNTED),  # came and went
        ({"settings": ["16390 0 777", 3, 6, 2]}, COUNTED),  # came, and went uncounted
        ({"settings": ["16390 0 777", 4, 6, 2]}, ""),  # of another database
        ({"settings": ["16390 0 777", 2, 5, 3]}, ""),  # another database was dropped
    ],
)
def test_what_may_have_stopped_the_counting(changes: dict[str, Any], reason: str) -> None:
    assert _fingerprint.difference(fingerprint(), fingerprint(since=since(**changes)), NAMES) == reason


@pytest.mark.parametrize(
    ("version", "words"), [(140010, "PostgreSQL 14"), (150000, ""), (189999, ""), (190000, "PostgreSQL 19")]
)
def test_versions(version: int, words: str) -> None:
    found = covered.version_obstacle(version)
    assert words in found
    assert bool(found) == bool(words)


def facts(**changes: Any) -> Any:
    """A view 1 on a table 20001, by the columns of the statement; pieces are the view's."""
    table = {
        "oid": 20001,
        "schema": "public",
        "name": "users",
        "kind": "r",
        "heap": True,
        "row_security": False,
        "version": "1",
        "owner": "o",
        "form": "f",
        "counters": [1, 0, 0, 0],
        **changes.pop("table", {}),
    }
    view = {**table, "oid": 1, "name": "v", "kind": "m", "row_security": False, "heap": True}
    lower = {"oid": 870, "name": "lower", "plain": True, "version": "1", "barred": None, "call": "lower(text)"}
    pieces = [
        ["VAR", "varattno", "1"],
        ["RANGETBLENTRY", "rtekind", "0"],
        [None, "relid", "20001"],
        *changes.pop("pieces", []),
    ]
    row = {
        "now": 1.0,
        "since": since(),
        "locale": "c",
        "relations": [view, table],
        "functions": [lower, *changes.pop("functions", [])],
        "types": changes.pop("types", []),
        "operators": [[96, 65]],
        "collations": [],
        "catalogs": [[1259, "pg_catalog", "pg_class"]],
        "trees": [[1, "hash"]],
        "pieces": [[*piece, [[1, 1]]] for piece in pieces],
        "conversions": changes.pop("conversions", []),
        "edges": [[1, 20001, "rule", True], *changes.pop("edges", [])],
    }
    return definition.Facts(row, "")


def obstacle(**changes: Any) -> str:
    return definition.Below(facts(**changes), 1).obstacle()


CALL = ["FUNCEXPR", "funcid"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"pieces": [[*CALL, "870"]]}, ""),
        ({"pieces": [[*CALL, "870"]], "functions": [{"oid": 870, "name": "lower", "plain": False}]}, "calls lower()"),
        (
            {"pieces": [[*CALL, "1199"]], "functions": [{"oid": 1199, "name": "age", "plain": True}]},
            "calls age(), whose result can",
        ),
        (
            {"pieces": [[*CALL, "20500"]], "functions": [{"oid": 20500, "name": "Odd", "plain": True}]},
            'calls "Odd"(), whose result',
        ),
        ({"pieces": [[*CALL, "9998"]]}, "calls function 9998"),
        ({"pieces": [["OPEXPR", "opno", "97"]]}, "calls function 0"),  # an operator that is gone
        ({"pieces": [["FUNCEXPR", None, None]]}, "FUNCEXPR in a form that is not known"),
        ({"pieces": [["SQLVALUEFUNCTION", None, None]]}, "uses CURRENT_DATE, CURRENT_USER or the like"),
        ({"pieces": [["TABLESAMPLECLAUSE", None, None]]}, "uses TABLESAMPLE"),
        ({"pieces": [["SOMETHINGNEW", None, None]]}, "has an expression of kind SOMETHINGNEW"),
        ({"pieces": [["VAR", "varattno", "0"]]}, ""),
        ({"pieces": [["VAR", "varattno", "-6"]]}, ""),
        ({"pieces": [["VAR", "varattno", "-5"]]}, "reads a system column"),
        ({"pieces": [[None, "relid", "1259"]]}, "reads the system catalog pg_catalog.pg_class"),
        ({"pieces": [["COERCEVIAIO", None, None]]}, "converts to or from text"),
        ({"pieces": [["COERCEVIAIO", None, None]], "conversions": [[1, 23, None, 1], [1, None, 25, 1]]}, ""),
        (
            {"pieces": [["COERCEVIAIO", None, None]], "conversions": [[1, 1082, None, 1], [1, None, 25, 1]]},
            "converts to or from text",
        ),
        ({"table": {"kind": "f"}}, "reads the foreign table public.users"),
        ({"table": {"kind": "S"}}, "reads the sequence public.users"),
        ({"table": {"heap": False}}, "stored in another way"),
        ({"table": {"row_security": True}}, "row-level security"),
        (
            {
                "pieces": [["MINMAXEXPR", "minmaxtype", "20600"]],
                "types": [{"oid": 20600, "name": "citext", "own": True, "form": "f", "parts": None}],
            },
            "compares values of the type citext",
        ),
        (
            {
                "pieces": [[None, "vartype", "20600"]],
                "types": [{"oid": 20600, "name": "citext", "own": True, "form": "f", "parts": None}],
            },
            "",
        ),
    ],
)
def test_obstacles(changes: dict[str, Any], words: str) -> None:
    found = obstacle(**changes)
    assert words in found
    assert bool(found) == bool(words)


def test_covered_functions_that_compare_by_type_are_covered() -> None:
    assert covered.BY_TYPE <= covered.COVERED
    assert max(covered.COVERED) < 10000, "numbers above that differ from one server to the next"
