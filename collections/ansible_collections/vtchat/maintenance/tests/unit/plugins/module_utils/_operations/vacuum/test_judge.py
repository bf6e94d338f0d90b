# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a table is due, when it is left alone, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Effect
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.facts import Table
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.judge import (
    Case,
    Judgement,
    judge,
    least_dead,
    least_inserted,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.options import Options, Thresholds
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.urgency import (
    Heap,
    Settings,
    failsafe,
    pace,
    waits,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.horizon import (
    Horizon,
    horizon,
    widened,
)

THIN = "\u202f"
K = f"{THIN}000"
M = K + K
DEFAULTS = {
    "autovacuum_vacuum_threshold": 50, "autovacuum_vacuum_scale_factor": 0.2, "autovacuum_vacuum_max_threshold": 100_000_000,
    "autovacuum_vacuum_insert_threshold": 1000, "autovacuum_vacuum_insert_scale_factor": 0.2,
    "autovacuum_freeze_max_age": 200_000_000, "autovacuum_multixact_freeze_max_age": 400_000_000,
    "vacuum_failsafe_age": 1_600_000_000, "vacuum_multixact_failsafe_age": 1_600_000_000,
    "vacuum_freeze_min_age": 50_000_000, "vacuum_multixact_freeze_min_age": 5_000_000, "autovacuum_vacuum_cost_delay": 2,
    "autovacuum_vacuum_cost_limit": -1, "vacuum_cost_delay": 0, "vacuum_cost_limit": 200,
    "max_parallel_maintenance_workers": 2, "max_parallel_workers": 8,
}  # fmt: skip
SETTINGS = Settings(180006, {name: float(value) for name, value in DEFAULTS.items()}, now=10_000_000, next_xid=1000)
OLD = replace(SETTINGS, version=170000)
FREE, PLAIN, NOTHING = Horizon(1000), Options(), Effect()
HELD = Horizon(500, "session 7 (idle in transaction for 3 h)", 150_000_000, settled=5_000_000)
VACUUMED: dict[str, Any] = {"rows": 10_000, "pages": 100, "visible_pages": 100, "last_vacuum": 1_000_000}


def table(toast: Heap | None = None, **known: Any) -> Table:
    heap = Heap(1, **known)
    return Table(Relation(1, "public", "t", "r", "owner", True), heap, toast, ("public.t",), bytes=8192 * heap.pages)


def judged(
    toast: Heap | None = None, settings: Settings = SETTINGS, held: Horizon = FREE, options: Options = PLAIN,
    memory: dict[str, Any] | None = None, coming: Effect = NOTHING, **known: Any,
) -> Judgement:  # fmt: skip
    return judge(Case(table(toast, **known), settings, held, options, memory or {}, coming))


@pytest.mark.parametrize(
    ("settings", "known", "dead", "inserted"),
    [
        (SETTINGS, {"rows": None}, 50, 1000),  # -1 counts as 0
        (SETTINGS, {"rows": 1000}, 250, 1200),
        (SETTINGS, {"rows": 1000, "pages": 100, "frozen_pages": 75}, 250, 1050),  # from 18 on frozen pages do not count
        (SETTINGS, {"rows": 1000, "pages": 100, "frozen_pages": 130}, 250, 1000),
        (OLD, {"rows": 1000, "pages": 100}, 250, 1200),
        (SETTINGS, {"rows": 2_000_000_000}, 100_000_000, 400_001_000),  # the cap, from 18 on
        (OLD, {"rows": 2_000_000_000}, 400_000_050, 400_001_000),
        (SETTINGS, {"rows": 2_000_000_000, "reloptions": {"autovacuum_vacuum_max_threshold": "-1"}}, 400_000_050, 400_001_000),
        (SETTINGS, {"rows": 1000, "reloptions": {"autovacuum_vacuum_max_threshold": "100"}}, 100, 1200),
        (SETTINGS, {"rows": 1000, "reloptions": {"autovacuum_vacuum_threshold": "0", "autovacuum_vacuum_scale_factor": "1e-2"}},
         10, 1200),
        (SETTINGS, {"rows": 1000, "reloptions": {"autovacuum_vacuum_insert_threshold": "-1"}}, 250, None),
        (SETTINGS, {"rows": 1000, "reloptions": {"autovacuum_vacuum_insert_scale_factor": "0.5"}}, 250, 1500),
    ],
)  # fmt: skip
def test_what_autovacuum_waits_for(
    settings: Settings, known: dict[str, Any], dead: float, inserted: float | None
) -> None:
    found = waits(Heap(1, **known), settings)
    assert found.dead == pytest.approx(dead)
    assert found.inserted == (None if inserted is None else pytest.approx(inserted))


@pytest.mark.parametrize(
    ("reloptions", "age", "multixact_age"),
    [
        ({}, 200_000_000, 400_000_000),
        ({"autovacuum_freeze_max_age": "1000000", "autovacuum_multixact_freeze_max_age": "20000"}, 1_000_000, 20_000),
        ({"autovacuum_freeze_max_age": "2000000000"}, 200_000_000, 400_000_000),  # a table can only lower it
    ],
)
def test_the_age_that_forces_a_freeze(reloptions: dict[str, str], age: float, multixact_age: float) -> None:
    found = waits(Heap(1, reloptions=reloptions), SETTINGS)
    assert (found.age, found.multixact_age) == (age, multixact_age)


@pytest.mark.parametrize(
    ("factor", "least", "rows", "dead", "inserted"),
    [
        (0.5, 1000, 100_000, 10_026, 10_501),  # half of 20 050 and 21 000, and more than that
        (0.5, 1000, 100, 1000, 1000),  # the floor
        (0.5, 0, 0, 26, 501),
        (1, 0, 1000, 251, 1201),
        (0, 1, 1000, 1, 1),
    ],
)
def test_our_share_of_it(factor: float, least: int, rows: int, dead: int, inserted: int) -> None:
    thresholds = Thresholds(threshold_factor=factor, min_dead_rows=least)
    heap = Heap(1, rows=rows)
    assert (least_dead(heap, SETTINGS, thresholds), least_inserted(heap, SETTINGS, thresholds)) == (dead, inserted)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, f"0 dead rows, below the threshold of 1{K}"),
        ({"rows": None, "inserted": 5000, "added": 5000}, f"only loaded so far: 5{K} rows inserted, and never vacuumed"),
        ({"rows": 5100, "inserted": 5000, "added": 5000, "visible_pages": 40, "pages": 50},
         f"only loaded so far: 5{K} rows inserted, and never vacuumed"),  # what a restore says of its pages
        ({**VACUUMED, "dead": 1025}, f"1{THIN}025 dead rows, below the threshold of 1{THIN}026"),
        ({**VACUUMED, "dead": 1}, f"1 dead row, below the threshold of 1{THIN}026"),
        ({**VACUUMED, "inserted": 1500}, f"1{THIN}500 rows inserted since the last vacuum, below the threshold of 1{THIN}501"),
        ({**VACUUMED, "pages": 5000, "visible_pages": 2500, "dead": 7}, f"7 dead rows, below the threshold of 1{THIN}026"),
        ({**VACUUMED, "pages": 999, "visible_pages": 0, "dead": 7, "last_analyze": 9**10},
         f"7 dead rows, below the threshold of 1{THIN}026"),
        # The share of visible pages that the last VACUUM itself has left, and one that nothing has happened to since.
        ({**VACUUMED, "pages": 5000, "visible_pages": 500, "dead": 7}, f"7 dead rows, below the threshold of 1{THIN}026"),
        ({**VACUUMED, "pages": 5000, "visible_pages": 500, "last_analyze": 9**10},
         f"0 dead rows, below the threshold of 1{THIN}026"),
        ({"rows": 5000, "dead": 900, "added": 10, "visible_pages": 9, "pages": 50},
         f"900 dead rows counted since the statistics were reset, below the threshold of 1{K}"),
        ({"age": 149_999_999, "multixact_age": 299_999_999}, f"0 dead rows, below the threshold of 1{K}"),
    ],
)  # fmt: skip
def test_what_is_left_alone(known: dict[str, Any], reason: str) -> None:
    found = judged(**known)
    assert (found.due, found.reason, found.vain) == (False, reason, "")


ANALYZED = {"last_analyze": 1_000_000 + 601 * 1_000_000}


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"dead": 1000}, f"1{K} dead rows (threshold 1{K})"),
        ({**VACUUMED, "dead": 1026}, f"1{THIN}026 dead rows (threshold 1{THIN}026)"),
        ({**VACUUMED, "inserted": 1501}, f"1{THIN}501 rows inserted since the last vacuum (threshold 1{THIN}501)"),
        ({"rows": 9000, "added": 2000, "inserted": 2000, "visible_pages": 9, "pages": 10},  # vacuumed before its counters began
         f"2{K} rows inserted since the last vacuum (threshold 1{THIN}401)"),
        ({**VACUUMED, **ANALYZED, "pages": 5000, "visible_pages": 2499, "dead": 7},
         "49% of its pages are all-visible (threshold 50%)"),
        ({**VACUUMED, **ANALYZED, "pages": 5000, "visible_pages": 2400, "dead": 7, "memory": {"visible": 2400, "at": 7}},
         "48% of its pages are all-visible (threshold 50%)"),  # somebody else has vacuumed it since
        ({"rows": 9000, "added": 0, "pages": 5000, "visible_pages": 100}, "2% of its pages are all-visible (threshold 50%)"),
        ({"age": 150_000_000}, f"its oldest transaction id is 150{M} old (threshold 150{M})"),
        ({"multixact_age": 300_000_000}, f"its oldest multixact id is 300{M} old (threshold 300{M})"),
        ({"age": 900_000, "reloptions": {"autovacuum_freeze_max_age": "1000000"}},
         f"its oldest transaction id is 900{K} old (threshold 750{K})"),
        ({"toast": Heap(2, dead=2000)}, f"its TOAST table has 2{K} dead rows (threshold 1{K})"),
        ({"toast": Heap(2, age=180_000_000)}, f"its TOAST table: its oldest transaction id is 180{M} old (threshold 150{M})"),
        ({"dead": 5000, "age": 150_000_000}, f"its oldest transaction id is 150{M} old (threshold 150{M})"),  # first things first
        ({"memory": {"failsafe": True}}, "its last vacuum went into failsafe mode and left its indexes alone"),
        ({"options": Options(loaded=True), "rows": None, "inserted": 1000, "added": 1000},
         f"1{K} rows inserted since the last vacuum (threshold 1{K})"),
        ({"options": Options(freeze=True), "settings": OLD, "rows": 5, "added": 5}, "its rows are to be frozen"),
        ({"options": Options(freeze=True), **VACUUMED, "frozen_pages": 90}, "90% of its pages are frozen"),
        ({**VACUUMED, "coming": Effect(2000)}, f"2{K} dead rows (threshold 1{THIN}026)"),
    ],
)  # fmt: skip
def test_what_is_due(known: dict[str, Any], reason: str) -> None:
    found = judged(**known)
    assert (found.due, found.reason, found.vain) == (True, reason, "")


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"options": Options(freeze=True), **VACUUMED, "frozen_pages": 96}, "0 dead"),
        ({"options": Options(freeze=True), "settings": OLD, **VACUUMED, "memory": {"frozen": 1_000_000}}, "0 dead"),
        ({"options": Options(freeze=True), "rows": 0}, "0 dead"),
        ({"options": Options(process_toast=False), "toast": Heap(2, dead=2000, age=180_000_000)}, "0 dead"),
        ({"dead": 5000, "coming": Effect(gone=True)}, "an earlier step of this plan drops it"),
        ({"dead": 5000, "coming": Effect(None, rewritten=True)}, "0 dead"),
        ({**VACUUMED, **ANALYZED, "pages": 5000, "visible_pages": 2499, "dead": 7, "memory": {"visible": 2499, "at": 1_000_000}},
         "7 dead"),
        ({"memory": {"failsafe": True}, "options": Options(index_cleanup="off")}, "0 dead"),
        ({"dead": 5000, "inserted": 9000, "settings": replace(SETTINGS, counts=False)}, "its changes are not counted"),
    ],
)  # fmt: skip
def test_what_is_left_alone_for_a_reason(known: dict[str, Any], reason: str) -> None:
    found = judged(**known)
    assert (found.due, found.reason.startswith(reason)) == (False, True), found.reason


@pytest.mark.parametrize(
    ("memory", "held", "known", "vain"),
    [
        ({}, HELD, {"dead": 5000}, False),  # nobody knows when they died
        ({"horizon": 500}, HELD, {"dead": 5000}, True),  # the last VACUUM was held back by the same
        ({"horizon": 499}, HELD, {"dead": 5000}, False),  # it has moved since
        ({"horizon": 900}, Horizon(900), {"dead": 5000}, False),  # nobody holds anything back
        ({}, HELD, {"dead": 5000, "last_autovacuum": 6_000_000}, True),  # all of them have died after the snapshot
        ({}, HELD, {"dead": 5000, "last_autovacuum": 4_000_000}, False),
        ({}, replace(HELD, settled=None), {"dead": 5000, "last_autovacuum": 6_000_000}, False),
        ({}, HELD, {"age": 155_000_000}, True),  # the holder is 150 million old: too little to win
        ({}, HELD, {"age": 165_000_000}, False),
        ({}, Horizon(1000), {"age": 155_000_000}, False),
        ({"horizon": 500}, HELD, {"dead": 5000, "age": 165_000_000}, False),  # one reason is enough
        ({"horizon": 500, "multixact": 7}, HELD, {"multixact_age": 300_000_000, "oldest_multixact": 7}, True),
        ({"horizon": 500, "multixact": 6}, HELD, {"multixact_age": 300_000_000, "oldest_multixact": 7}, False),
    ],
)
def test_what_would_be_in_vain(memory: dict[str, Any], held: Horizon, known: dict[str, Any], vain: bool) -> None:
    found = judged(memory=memory, held=held, **known)
    assert found.due
    assert bool(found.vain) == vain
    assert not vain or "session 7" in found.vain


def test_the_whole_table_is_read_only_where_that_freezes_something() -> None:
    found = judged(held=HELD, age=155_000_000, dead=5000)
    assert (found.vain, found.freeze, found.reason) == ("", False, f"5{K} dead rows (threshold 1{K})")
    assert judged(held=HELD, age=175_000_000, dead=5000).freeze


def test_statistics_are_due_as_analyze_would_say() -> None:
    assert [judged(**VACUUMED, dead=2000, modified=number).analyze for number in (1049, 1050)] == [False, True]


@pytest.mark.parametrize(
    ("age", "multixact_age", "expected"),
    [(1_600_000_000, 0, False), (1_600_000_001, 0, True), (0, 1_600_000_001, True), (None, None, False)],
)
def test_failsafe_mode(age: int | None, multixact_age: int | None, expected: bool) -> None:
    assert failsafe(Heap(1, age=age, multixact_age=multixact_age), SETTINGS) == expected


def test_it_is_never_below_the_limit_that_forces_a_freeze() -> None:
    early = replace(SETTINGS, numbers={**SETTINGS.numbers, "vacuum_failsafe_age": 0.0})
    assert [failsafe(Heap(1, age=age), early) for age in (210_000_000, 210_000_001)] == [False, True]


@pytest.mark.parametrize(
    ("reloptions", "jobs", "expected"),
    [
        ({}, 1, (2.0, 200)),
        ({}, 3, (2.0, 66)),
        ({}, 500, (2.0, 1)),
        ({"autovacuum_vacuum_cost_delay": "0"}, 1, (0.0, 200)),
        ({"autovacuum_vacuum_cost_delay": "-1", "autovacuum_vacuum_cost_limit": "1000"}, 2, (0.0, 500)),
    ],
)
def test_the_pace_of_autovacuum(reloptions: dict[str, str], jobs: int, expected: tuple[float, int]) -> None:
    assert pace(Heap(1, reloptions=reloptions), SETTINGS, jobs) == expected


@pytest.mark.parametrize("behind", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("next_xid", [2**31, 2**32, 2**32 + 3, 5 * 2**32 + 7])
def test_transaction_ids_of_other_epochs(next_xid: int, behind: int) -> None:
    assert widened((next_xid - behind) % 2**32, next_xid) == next_xid - behind


HOLDER = {"kind": "session", "pid": 7, "user": "app", "name": "worker", "state": "idle in transaction", "xid": 990, "age": 10,
          "seconds": 10800.0, "settled": 5}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "who"),
    [
        ({}, "session 7 (app, worker, idle in transaction for 3 h)"),
        ({"state": "active"}, "session 7 (app, worker, in a transaction for 3 h)"),
        ({"user": None, "name": None, "state": None, "seconds": None}, "session 7"),
        ({"state": "active", "seconds": None, "name": ""}, "session 7 (app, active)"),
        ({"kind": "prepared", "name": "two phases"}, 'the prepared transaction "two phases" of app, for 3 h'),
        ({"kind": "slot", "name": "far"}, "the replication slot far, used by process 7"),
        ({"kind": "slot", "name": "far", "pid": None}, "the replication slot far, which nobody uses"),
        ({"kind": "standby", "name": "b"}, "a query on the standby b (hot_standby_feedback, process 7)"),
    ],
)
def test_who_holds_it_back(known: dict[str, Any], who: str) -> None:
    found = horizon({**HOLDER, **known}, 1000)
    assert (found.xid, found.holder, found.held) == (990, who, True)


def test_nobody_holds_it_back() -> None:
    assert (horizon(None, 1000), horizon(None, 1000).held) == (Horizon(1000), False)


NUMBERS = st.integers(0, 10**12)


@given(
    rows=st.none() | NUMBERS, pages=NUMBERS, toast=st.booleans(), factor=st.floats(0, 100), least=st.integers(0, 10**9),
    visible=st.floats(0, 1), freeze=st.floats(0.01, 1), version=st.sampled_from([140000, 170000, 180000]), analyzed=st.booleans(),
)  # fmt: skip
def test_what_a_vacuum_has_left_is_never_due(
    *,
    rows: int | None,
    pages: int,
    toast: bool,
    factor: float,
    least: int,
    visible: float,
    freeze: float,
    version: int,
    analyzed: bool,
) -> None:
    """Whatever the thresholds, but for those that are due with nothing in them."""
    options = Options(thresholds=Thresholds(factor, max(1, least), visible, freeze))
    settings = replace(SETTINGS, version=version)
    left = Heap(
        2, rows, pages, pages, pages, last_vacuum=9_000_000, last_analyze=9_000_001 if analyzed else None, age=0
    )
    case = Case(
        Table(Relation(1, "public", "t", "r", "owner", True), left, left if toast else None), settings, FREE, options
    )
    assert not judge(case).due


@given(dead=NUMBERS, more=NUMBERS, rows=NUMBERS, factor=st.floats(0, 100), version=st.sampled_from([140000, 180000]))
def test_more_dead_rows_never_make_it_less_due(dead: int, more: int, rows: int, factor: float, version: int) -> None:
    options, settings = Options(thresholds=Thresholds(factor)), replace(SETTINGS, version=version)
    less, most = (
        judged(settings=settings, options=options, rows=rows, dead=number).due for number in (dead, dead + more)
    )
    assert most or not less
    assert most == (dead + more >= 1000 and dead + more > factor * waits(Heap(1, rows), settings).dead)
