# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of vacuum, the order of its decisions, and the statements it sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context, Verdict, vacuum
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.facts import Facts, Table
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.options import (
    THRESHOLDS,
    Options,
    Thresholds,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.urgency import Heap, Settings
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.horizon import Horizon
from ansible_collections.vtchat.maintenance.tests.unit.plugins.module_utils._operations.vacuum.test_judge import (
    SETTINGS,
)

GIB = 1024**3


def table(name: str, dead: int = 5000, size: int = 8192, busy: str = "", parent: bool = False, **known: Any) -> Table:
    heap = Heap(len(name), dead=dead, **known)
    relation = Relation(len(name), "public", name, "r", "owner", True)
    return Table(relation, heap, None, (f"public.{name}",), parent, bytes=size, busy=busy)


def decide(
    *tables: Table | Verdict, settings: Settings = SETTINGS, told: list[str] | None = None, **options: Any
) -> list[Any]:
    context = Context(check=False, warn=(told if told is not None else []).append)
    return vacuum.decide(Facts(settings, Horizon(1000), list(tables), "shop"), Options(**options), context)


def sent(*tables: Table, settings: Settings = SETTINGS, **options: Any) -> str:
    """The options of the first statement."""
    statement: str = decide(*tables, settings=settings, **options)[0].statements[0]
    return statement.removeprefix("VACUUM (SKIP_LOCKED, TRUNCATE ")


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"tables": []}, ["tables: is empty; name at least one"]),
        ({"tables": ["t"], "jobs": 0, "parallel": -1, "buffer_usage_limit": 5},
         ["jobs: must be from 1 to 64", "parallel: must be from 0, which is none, to 1024 workers",
          "buffer_usage_limit: must be from 128 KiB to 16.0 GiB, or 0 for no limit"]),
        ({"tables": ["t"], "threshold_factor": -0.1, "min_dead_rows": -1, "visible_share": 1.1, "freeze_age_factor": 0},
         ["threshold_factor: must be from 0 to 100", "min_dead_rows: must not be negative", "visible_share: must be from 0 to 1",
          "freeze_age_factor: must be from 0.01 to 1"]),
        ({"tables": ["t"], "threshold_factor": float("nan")}, ["threshold_factor: must be from 0 to 100"]),
        ({"include": ["*"], "overrides": [{"match": "a.*", "visible_share": 2.0}]},
         ["overrides (a.*): visible_share: must be from 0 to 1"]),
        ({"tables": ["t"], "jobs": 64, "parallel": 0, "buffer_usage_limit": 0, "visible_share": 0, "freeze_age_factor": 1}, []),
    ],
)  # fmt: skip
def test_faults_are_told_at_once(given: dict[str, Any], faults: list[str]) -> None:
    found: list[str] = []
    try:
        vacuum.read(given)
    except OptionError as error:
        found = error.errors
    assert found == faults


def test_defaults_and_overrides() -> None:
    rules = [
        {"match": "app.*", "threshold_factor": 0.1},
        {"match": "app.queue", "threshold_factor": 0.2, "visible_share": None},
    ]
    options = vacuum.read({"include": ["*"], "min_dead_rows": 5, "overrides": rules})
    defaults = {name: how["default"] for name, how in THRESHOLDS.items()}
    assert vacuum.read({"tables": ["t"]}) == vacuum.read({"tables": ["t"], **defaults})
    assert options.of(["other.t"]) == Thresholds(min_dead_rows=5)
    assert options.of(["app.queue"]) == Thresholds(threshold_factor=0.2, min_dead_rows=5)
    assert options.of(["app.part", "app.parts"]).threshold_factor == 0.1


def test_the_order() -> None:
    old: dict[str, Any] = {"age": 160_000_000}
    tables: list[Table | Verdict] = [
        table("idle", dead=0), table("half", dead=5000, rows=5000, size=GIB), table("tiny", size=8192),
        table("tenth", dead=5000, rows=45_000, size=2 * GIB), table("aged", dead=0, size=8192, **old),
        table("older", dead=0, size=80, age=190_000_000), table("forced", dead=0, size=9, age=210_000_000),
        table("locked", busy="session 7 holds a ShareLock on it"), Verdict("gone", "there is no table gone", "failed"),
    ]  # fmt: skip
    found = [(one.target, one.verdict) for one in decide(*tables)]
    assert [target for target, verdict in found if verdict is None] == [
        "public.forced", "public.older", "public.aged", "public.half", "public.tenth", "public.tiny"]  # fmt: skip
    assert found[6:] == [("public.idle", "unchanged"), ("public.locked", "contended"), ("gone", "failed")]
    together = [one.target for one in decide(*tables, jobs=2) if isinstance(one, Action)]
    assert together == [*(f"public.{name}" for name in "forced aged older tenth half tiny".split()), "database shop"]
    assert len(decide(tables[1], tables[1])) == 1, "each once"


def test_what_is_in_the_way_is_told_with_the_reason() -> None:
    (one,) = decide(table("t", busy="session 7 holds a ShareLock on it"))
    assert one.reason == "5\u202f000 dead rows (threshold 1\u202f000), but session 7 holds a ShareLock on it"


@pytest.mark.parametrize(
    ("options", "version", "expected"),
    [
        ({}, 180000, "FALSE) public.t"),
        ({"truncate": True, "freeze": True, "analyze": "always"}, 140000, "TRUE, FREEZE, ANALYZE) public.t"),
        ({"index_cleanup": "off", "process_toast": False, "parallel": 0}, 150000,
         "FALSE, INDEX_CLEANUP OFF, PROCESS_TOAST FALSE, PARALLEL 0) public.t"),
        ({"parallel": 99, "buffer_usage_limit": GIB}, 160000, "FALSE, PARALLEL 8, BUFFER_USAGE_LIMIT 1048576) public.t"),
        ({"buffer_usage_limit": 0}, 180000, "FALSE, BUFFER_USAGE_LIMIT 0) public.t"),
        ({"jobs": 4}, 180000, "FALSE) public.t"),  # alone it is as with one
    ],
)  # fmt: skip
def test_the_statement(options: dict[str, Any], version: int, expected: str) -> None:
    assert sent(table("t"), settings=replace(SETTINGS, version=version), **options) == expected


@pytest.mark.parametrize(
    ("jobs", "parallel", "version", "expected"),
    [
        (2, None, 160000, "FALSE, SKIP_DATABASE_STATS)"),
        (2, None, 150000, "FALSE)"),
        (5, None, 160000, "FALSE, PARALLEL 1, SKIP_DATABASE_STATS)"),  # 5 times 2 are more than 8
        (3, 5, 160000, "FALSE, PARALLEL 2, SKIP_DATABASE_STATS)"),
    ],
)
def test_workers_of_all_together(jobs: int, parallel: int | None, version: int, expected: str) -> None:
    tables = [table("t" * number) for number in range(1, 7)]
    found = sent(*tables, settings=replace(SETTINGS, version=version), jobs=jobs, parallel=parallel)
    assert found.rpartition(" ")[0] == expected


def test_only_the_table_itself_where_others_inherit() -> None:
    assert sent(table("t", parent=True)) == "FALSE) ONLY public.t"
    assert sent(table("t", parent=True), settings=replace(SETTINGS, version=170000)) == "FALSE) public.t"


def test_the_settings_it_runs_under() -> None:
    own: dict[str, Any] = {"reloptions": {"autovacuum_freeze_max_age": "1000000"}}
    slow = replace(SETTINGS, numbers={**SETTINGS.numbers, "vacuum_cost_delay": 5.0, "vacuum_cost_limit": 100.0})
    assert decide(table("t"), pace="fast")[0].payload.settings == {}, "what is as it should be is not set"
    assert decide(table("t"), settings=slow, pace="fast")[0].payload.settings == {"vacuum_cost_delay": "0"}
    assert decide(table("t"))[0].payload.settings == {"vacuum_cost_delay": "2"}
    own_limit: dict[str, Any] = {"reloptions": {"autovacuum_vacuum_cost_limit": "300"}}
    assert decide(table("t", **own_limit), settings=slow)[0].payload.settings == {
        "vacuum_cost_delay": "2", "vacuum_cost_limit": "300"}  # fmt: skip
    assert decide(table("t", age=800_000, **own), pace="fast")[0].payload.settings == {
        "vacuum_freeze_table_age": "0",
        "vacuum_freeze_min_age": "375000",  # so that 750 000 is not reached again at once
        "vacuum_multixact_freeze_table_age": "0",
        "vacuum_multixact_freeze_min_age": "5000000",
    }


def test_what_is_not_known_is_said_once() -> None:
    told: list[str] = []
    lost = replace(SETTINGS, lost=True, reset="2026-11-26 00:00 UTC")
    tables = [table(name, dead=0, rows=50, added=3) for name in ("a", "bb")]
    decide(*tables, table("ccc", dead=0, rows=None, size=8192), settings=lost, told=told)
    assert told == ["vacuum: 2 tables have rows from before the last reset of the statistics, of 2026-11-26 00:00 UTC: what died "
                    "before is not counted, so what has changed since decides, and pages and ages"]  # fmt: skip
    told.clear()
    decide(*tables, settings=replace(lost, counts=False), told=told)
    assert told == ["vacuum: the server counts no changes (track_counts is off): only pages and ages decide"]
