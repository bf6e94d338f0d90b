# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When analyze acts, when it does not, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import (
    Context,
    Decision,
    Effect,
    Verdict,
    analyze,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.selection import Selection

THIN = "\u202f"
OID = 16400
UNKNOWN = Effect(rows=None)
GONE = Effect(gone=True)
ENOUGH = f"150 of 1{THIN}000 rows changed since the last analyze (threshold 150)"


def table(name: str = "t", kind: str = "r", **known: Any) -> analyze.Table:
    relation = Relation(OID, "public", name, kind, "owner", True)
    known.setdefault("stored", [OID])
    return analyze.Table(relation, statement=f"ANALYZE {name}", **known)


def decide(*tables: analyze.Table | Verdict, **context: Any) -> list[Decision[analyze.Table]]:
    return analyze.decide(list(tables), analyze.Options(), Context(check=bool(context), **context))


def read(**given: Any) -> list[str]:
    """What is wrong with the options."""
    try:
        analyze.read(given)
    except OptionError as error:
        return error.errors
    return []


@pytest.mark.parametrize(
    ("known", "verdict", "reason"),
    [
        ({"never": True}, None, "never analyzed"),
        ({}, None, "it is not known when it was analyzed"),
        ({"age": 8 * 86400.0}, None, "analyzed 8 d ago, and changes of a foreign table are not counted"),
        ({"age": 7 * 86400.0}, "unchanged", "a foreign table, analyzed 7 d ago (due after 7 d)"),
    ],
)
def test_a_foreign_table(known: dict[str, Any], verdict: str | None, reason: str) -> None:
    (action,) = decide(table(kind="f", **known))
    assert (action.verdict, action.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("known", "forecast", "verdict", "reason"),
    [
        ({"rows": 1000, "modified": 149}, {}, "unchanged", "149 rows changed, below the threshold of 150"),
        ({"rows": 1000, "modified": 1}, {}, "unchanged", "1 row changed, below the threshold of 150"),
        ({"rows": 1000, "modified": 150}, {}, None, ENOUGH),
        ({"rows": 0, "modified": 0}, {}, "unchanged", "0 rows changed, below the threshold of 1"),
        ({"rows": 0, "modified": 1}, {}, None, "1 row changed since the last analyze (threshold 1)"),
        ({"rows": None, "modified": 1}, {}, None, "1 row changed since the last analyze (threshold 1)"),
        ({"rows": 51, "modified": 56}, {}, None, "56 rows changed since the last analyze (threshold 56)"),
        ({"never": True}, {}, None, "never analyzed"),
        ({"rows": 1000, "modified": 100}, {OID: Effect(49)}, "unchanged", "149 rows changed, below the threshold of 150"),
        ({"rows": 1000, "modified": 100}, {OID: Effect(50)}, None, ENOUGH),
        ({"rows": 1000}, {OID: UNKNOWN}, None, "an earlier step of this plan changes rows here"),
        ({"rows": 1000}, {OID + 1: UNKNOWN}, "unchanged", "0 rows changed, below the threshold of 150"),
        ({"rows": 1000, "busy": "session 7 holds"}, {}, "unchanged", "0 rows changed, below the threshold of 150"),
        ({"never": True, "busy": "session 7 holds"}, {}, "contended", "never analyzed, but session 7 holds"),
        ({"never": True}, {OID: GONE}, "unchanged", "an earlier step of this plan drops it"),
        ({"rows": 1000}, {OID: Effect(rewritten=True)}, "unchanged", "0 rows changed, below the threshold of 150"),
    ],
)  # fmt: skip
def test_one_table(known: dict[str, Any], forecast: dict[int, Effect], verdict: str | None, reason: str) -> None:
    (action,) = decide(table(**known), forecast=forecast)
    assert (action.verdict, action.reason) == (verdict, reason)
    assert action.statements == (("ANALYZE t",) if verdict is None else ())


@pytest.mark.parametrize(
    ("known", "forecast", "verdict"),
    [
        ({}, {}, "unchanged"),
        ({"stale": True}, {}, None),
        ({"never": True}, {}, None),
        ({"empty_parent": True, "never": True}, {}, "unchanged"),
        ({"modified": 149}, {}, "unchanged"),
        ({"modified": 150}, {}, None),
        ({}, {1: Effect(100), 2: Effect(49)}, "unchanged"),  # the partitions' numbers are added up
        ({}, {1: Effect(100), 2: Effect(50)}, None),
        ({}, {1: Effect(100), 2: UNKNOWN}, None),
        (
            {},
            {OID: Effect(100), 1: UNKNOWN, 2: UNKNOWN},
            "unchanged",
        ),  # the parent's own number is exact and includes them
        ({}, {OID: Effect(150), 1: UNKNOWN, 2: UNKNOWN}, None),
        ({"stale": True, "busy": "autovacuum"}, {}, "contended"),
    ],
)
def test_a_partitioned_table(known: dict[str, Any], forecast: dict[int, Effect], verdict: str | None) -> None:
    (action,) = decide(table(kind="p", rows=1000, stored=[1, 2], **known), forecast=forecast)
    assert action.verdict == verdict


def test_the_numbers_that_decided() -> None:
    (action,) = decide(table(rows=1000, modified=100), forecast={OID: Effect(60)})
    assert action.numbers == {"rows": 1000, "modified": 160, "threshold": 150}


def test_every_table_once_and_in_order() -> None:
    missing = Verdict("nothing", "there is no table nothing", "failed")
    actions = decide(table("b"), missing, table("a"), table("b"))
    assert [(action.target, action.verdict) for action in actions] == [
        ("public.b", "unchanged"),
        ("nothing", "failed"),
        ("public.a", "unchanged"),
    ]


def test_no_tables_is_a_fault() -> None:
    assert read(tables=[]) == ["tables: is empty; name at least one"]
    assert read(tables=["t"], jobs=64) == []


def test_the_other_faults_are_told_at_once() -> None:
    assert len(read(include=["a", ""], exclude=[""], jobs=0)) == 3
    assert read(jobs=65, include=["*"], exclude=["*.log_*"]) == ["jobs: must be from 1 to 64"]
    assert read(tables=["t"], exclude=["a.*"]) == ["exclude: it leaves out what include has, and there is no include"]


def test_thresholds_and_those_of_some_tables() -> None:
    given = {"include": ["*"], "threshold": 10, "scale_factor": 0.0,
             "overrides": [{"match": "public.*", "threshold": 20}, {"match": "*.b", "scale_factor": 0.5}]}  # fmt: skip
    options = analyze.read(given)
    found = {name: options.due(table(name, rows=1000)) for name in ("a", "b")}
    assert found == {"a": 20, "b": 520}
    assert read(tables=["t"], scale_factor=-1.0, overrides=[{"match": "a", "threshold": -1}, {"match": "b"}]) == [
        "overrides[2]: it changes nothing; give a threshold beside match: b",
        "scale_factor: must not be negative",
        "overrides (a): threshold: must not be negative",
    ]


def test_where_patterns_choose_those_with_the_most_changes_come_first() -> None:
    tables = [table(name, rows=1000, modified=modified) for name, modified in (("a", 1), ("b", 900), ("c", 200))]
    found = analyze.decide(tables, analyze.Options(Selection(include=("*",))), Context(check=False))
    assert [decision.target for decision in found] == ["public.b", "public.c", "public.a"]
