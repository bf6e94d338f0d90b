# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge: decisions from facts, and the faults of its options. No database."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context, Difference, Effect, purge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import rows
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.order import Way
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import FAILED, UNCHANGED, WARNING, Finding

OPTIONS: dict[str, Any] = {
    **{name: how.get("default") for name, how in purge.SPEC.options.items()},
    "table": "t",
    "column": "at",
}
UNKNOWN = Effect(rows=None)
COSTLY = Way(True, "page by page: no index serves it", "each run would read the whole table for few rows")
KEY = {
    "constraint": "fk",
    "table": "public.child",
    "oid": 20,
    "cascades": True,
    "deletes": True,
    "pages": 5000,
    "columns": "id",
    "indexed": True,
}


def facts(**changes: Any) -> rows.Facts:
    known: dict[str, Any] = {
        "relation": Relation(10, "public", "t", "r", "postgres", True),
        "purge": None,
        "way": Way(False, "by an index: few rows have expired"),
        "cutoffs": (datetime(2026, 1, 1, tzinfo=timezone.utc),),
        "found": True,
        "estimate": None,
        "index": "at",
        "rows": None,
        "referenced_by": (),
        "leaves": (),
        "triggers": (),
        "statement": "DELETE",
    }
    return rows.Facts(**{**known, **changes})


def faults(**changes: Any) -> list[str]:
    """What is wrong with the options."""
    try:
        purge.read({**OPTIONS, **changes})
    except OptionError as error:
        return error.errors
    return []


def decide(check: bool = False, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    decided = purge.decide(facts(**changes), purge.read({**OPTIONS, **(options or {})}), Context(check=check))
    (action,) = [one for one in decided if not isinstance(one, Finding)]
    assert action.target == "public.t"
    assert action.numbers["cutoff"] == "2026-01-01T00:00:00+00:00"
    return action


@pytest.mark.parametrize(
    ("changes", "options", "verdict", "told"),
    [
        ({}, {}, None, "at is before the cut-off"),
        ({"found": False}, {}, UNCHANGED, "no row of at"),
        ({"way": COSTLY}, {}, FAILED, "CREATE INDEX CONCURRENTLY ON public.t (at)"),
        ({"way": COSTLY, "found": None}, {}, FAILED, "CREATE INDEX"),
        ({"way": COSTLY, "index": '"order"'}, {}, FAILED, 'ON public.t ("order")'),
        ({"referenced_by": [KEY]}, {}, None, "cut-off"),
        ({"referenced_by": [{**KEY, "indexed": False}]}, {}, FAILED, "ON public.child (id)"),
        ({"referenced_by": [{**KEY, "indexed": False, "pages": 999}]}, {}, None, "cut-off"),
        ({"referenced_by": [{**KEY, "indexed": False}]}, {"require_index": False}, None, "cut-off"),
        ({"referenced_by": [KEY, {**KEY, "indexed": False, "table": "public.other"}]}, {}, FAILED, "public.other"),
    ],
)
def test_verdict(changes: dict[str, Any], options: dict[str, Any], verdict: str | None, told: str) -> None:
    action = decide(options=options, **changes)
    assert action.verdict == verdict
    assert told in action.reason


def test_what_a_check_foretells() -> None:
    keys = [KEY, {**KEY, "oid": 30, "table": "public.kept", "cascades": False, "deletes": False}]
    action = decide(check=True, rows=7, referenced_by=keys, leaves=(11, 12), triggers=("log on public.t",))
    assert action.numbers["rows"] == 7
    assert action.numbers["cascades_to"] == ["public.child"]
    assert action.numbers["triggers"] == ["log on public.t"]
    assert action.effects == {10: Effect(7), 11: UNKNOWN, 12: UNKNOWN, 20: UNKNOWN}
    assert (action.statements, action.rows) == (("DELETE",), 7)
    assert action.difference == Difference("7 expired rows\n", "0 expired rows\n")


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        ({"rows": 7, "kept": 2}, {}, ["the purge will fail at its end: 2 rows stay, to which others refer"]),
        ({"rows": 7, "kept": 1001}, {}, ["the purge will fail at its end: 1000+ rows stay, to which others refer"]),
        ({"rows": 7, "kept": 2}, {"keep_referenced": True}, []),
        ({"rows": 7, "kept": 0}, {}, []),
        ({"rows": 7}, {}, []),
        ({"rows": 0, "found": False, "kept": 2}, {}, []),  # it fails at once
        ({"rows": 7, "kept": 2, "referenced_by": [{**KEY, "indexed": False}]}, {}, []),
    ],
)
def test_rows_that_will_stay_are_a_finding(changes: dict[str, Any], options: dict[str, Any], told: list[str]) -> None:
    decided = purge.decide(facts(**changes), purge.read({**OPTIONS, **options}), Context(check=True))
    found = [one for one in decided if isinstance(one, Finding)]
    assert [one.message for one in found] == told
    assert all(one.level == WARNING and one.advice.startswith("set keep_referenced: true") for one in found)


def test_a_run_does_not_know_the_number_beforehand() -> None:
    assert decide().effects == {10: UNKNOWN}
    assert (decide().rows, decide().difference) == (None, None)
    assert "rows" not in decide().numbers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("12 h", 43200), ("30d", 2592000), (" 4w ", 2419200), ("007", 7)],
)
def test_age(text: str, seconds: int) -> None:
    assert purge.read({**OPTIONS, "older_than": text}).conditions[0].older_than == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5h", "1y", "d", "1d2h", "30 days", "1e3", "infinity"])
def test_no_age(text: str) -> None:
    assert len(faults(older_than=text)) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"timezone": "Asia/Ho_Chi_Minh"}, None),
        ({"timezone": "Etc/GMT-7"}, None),
        ({"timezone": "EST5EDT"}, None),
        ({"timezone": "pst8pdt"}, None),
        ({"timezone": "GMT0"}, None),
        ({"timezone": "EST5"}, "sign"),
        ({"timezone": "UTC+7"}, "sign"),
        ({"timezone": "+07:00"}, "sign"),
        ({"older_than": "soon"}, "older_than"),
        ({"older_than": "-1d"}, "older_than"),
        ({"older_than": "365000d"}, None),
        ({"older_than": "365001d"}, "older_than"),
        ({"max_rows": 1}, None),
        ({"max_rows": 0}, "max_rows"),
        ({"batch_ms": 10}, None),
        ({"batch_ms": 9}, "batch_ms"),
        ({"batch_ms": 60_000}, None),
        ({"batch_ms": 60_001}, "batch_ms"),
        ({"where": " "}, "where"),
        ({"where": "true"}, None),
        ({"where": "id = 1) OR (id = 2"}, "where: a bracket is closed"),
        ({"where": "(id = 1"}, "where: a bracket is opened"),
        ({"where": "id = 1;"}, "semicolon"),
        ({"where": "word = 'x"}, "where: line 1: a quotation mark"),
        ({"where": 'word" = 1'}, "where: line 1: a quotation mark"),
        ({"where": "id = 1 /* one"}, "where: line 1: a comment"),
        ({"where": "word IN (';)', $$)'$$, E'\\')') AND \")\" = 1 /* ) */ -- )"}, None),
        ({"column": "x" * 63}, None),
        ({"column": "x" * 64}, "column"),
    ],
)
def test_check(change: dict[str, Any], told: str | None) -> None:
    found = faults(**change)
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


def test_check_tells_everything_at_once() -> None:
    assert len(faults(older_than="x", timezone="UTC+7", max_rows=0, batch_ms=0, where="", table="a.b.c")) == 6
