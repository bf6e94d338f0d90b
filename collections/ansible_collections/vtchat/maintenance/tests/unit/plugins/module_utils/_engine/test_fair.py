# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is expected of an action, whether it may begin, and what is remembered of it, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.fair import (
    LONGEST_PAUSE,
    Memory,
    Predictions,
    Took,
    chance,
    cut_off,
    pause_of,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Outcome

MIB = 1 << 20
WAITING = Memory({"kept": 1}, seconds=50.0, size=10 * MIB, deferred=True, since=7.0, deferrals=3, cut_off=1)


@pytest.mark.parametrize(
    ("memory", "size", "expected"),
    [
        (Memory(), None, None),
        (Memory(), 30 * MIB, 60.0),  # others took 2 s for a mebibyte in the median
        (Memory(), 0, 2.0),
        (Memory(seconds=5.0), None, 5.0),
        (Memory(seconds=5.0), 30 * MIB, 5.0),
        (Memory(seconds=5.0, size=10 * MIB), None, 5.0),
        (Memory(seconds=5.0, size=10 * MIB), 30 * MIB, 15.0),
        (Memory(seconds=5.0, size=10 * MIB), 5 * MIB, 2.5),
        (Memory(seconds=5.0, size=8192), MIB, 5.0),  # it was not the size that took the time
        (Memory(seconds=5.0, size=0), 2 * MIB, 10.0),
        (Memory(seconds=50.0, size=30 * MIB, cut_off=1), 30 * MIB, 60.0),
        (Memory(seconds=80.0, size=30 * MIB, cut_off=1), 30 * MIB, 88.0),
        (Memory(seconds=80.0, cut_off=1), None, 88.0),
    ],
)
def test_expected(memory: Memory, size: int | None, expected: float | None) -> None:
    known = {("vacuum", f"t{n}"): Memory(seconds=s, size=10 * MIB) for n, s in enumerate([10.0, 20.0, 500.0])}
    known["analyze", "t"] = Memory(seconds=1000.0, size=MIB)
    known["vacuum", "unknown"] = Memory(seconds=1.0)
    found = Predictions(known).expected("vacuum", memory, size)
    assert found == (None if expected is None else pytest.approx(expected))


def test_what_this_run_has_seen_counts() -> None:
    predictions = Predictions({})
    assert predictions.expected("vacuum", Memory(), 5 * MIB) is None
    predictions.learn("vacuum", 10.0, 10 * MIB)
    predictions.learn("vacuum", 10.0, None)
    assert predictions.expected("vacuum", Memory(), 5 * MIB) == pytest.approx(5)


def too_much(takes: str, needs: str, when: str) -> str:
    return (
        f"it is expected to take {takes} s, more than the whole budget of 100 s: give it one of {needs} s; it is tried with all "
        f"of the budget in {when}"
    )


@pytest.mark.parametrize(
    ("memory", "expected", "left", "reason"),
    [
        (Memory(), None, 1.0, ""),
        (Memory(), None, 0.0, "0 s of the budget are left; it goes first next time"),
        (Memory(), None, -3.0, "0 s of the budget are left; it goes first next time"),
        (Memory(), 20.0, 20.0, ""),
        (Memory(), 21.0, 20.0, "20 s of the budget are left, it is expected to take 21 s; it goes first next time"),
        (Memory(), 99.9, 99.5, too_much("100", "110", "the next run")),
        (Memory(deferrals=1), 99.9, 99.5, ""),
        (Memory(deferrals=5), 150.0, 90.0, too_much("150", "165", "the next run")),
        (Memory(deferrals=1), 1150.0, 100.0, too_much("1\u202f150", "1\u202f265", "10 runs")),
        (Memory(deferrals=11), 1150.0, 100.0, ""),
        (Memory(deferrals=3, cut_off=2), 110.0, 100.0, too_much("more than 110", "121", "the next run")),
        (Memory(deferrals=4, cut_off=2), 110.0, 100.0, ""),
    ],
)
def test_who_may_begin(memory: Memory, expected: float | None, left: float, reason: str) -> None:
    assert chance(memory, expected, left, 100.0).reason == reason


def test_nobody_is_put_off_for_longer_than_that() -> None:
    assert [pause_of(110.0, 100.0, times) for times in range(8)] == [1, 2, 4, 8, 16, 32, 32, 32]
    assert pause_of(1e9, 100.0, 10**6) == LONGEST_PAUSE


SERVED = replace(WAITING, deferred=False, since=None, deferrals=0)


@pytest.mark.parametrize(
    ("outcome", "took", "after"),
    [
        (Outcome(), Took(9.0, MIB, False), replace(SERVED, value={}, seconds=9.0, size=MIB, cut_off=0)),
        (Outcome("unchanged", state={"new": 2}), Took(9.0, None, False),
         replace(SERVED, value={"new": 2}, seconds=9.0, size=None, cut_off=0)),
        (Outcome("failed"), Took(9.0, MIB, False), replace(SERVED, value={})),
        (Outcome("contended"), Took(9.0, MIB, False), replace(SERVED, value={})),
        # It waits on in its place; what it took is known to be too little.
        (Outcome("deferred"), Took(70.0, 10 * MIB, False),
         replace(WAITING, value={}, seconds=70.0, deferrals=0, cut_off=2)),
        (Outcome("deferred"), Took(9.0, 20 * MIB, False),
         replace(WAITING, value={}, seconds=100.0, size=20 * MIB, deferrals=0, cut_off=2)),
        # It has had its share, and goes behind the others.
        (Outcome("deferred"), Took(9.0, MIB, True), replace(WAITING, value={}, since=99.0, deferrals=0)),
    ],
)  # fmt: skip
def test_what_is_remembered_of_an_execution(outcome: Outcome, took: Took, after: Memory) -> None:
    assert WAITING.after(outcome, took, 99.0) == after


def test_what_is_remembered_of_what_was_not_executed() -> None:
    assert WAITING.put_off(99.0) == replace(WAITING, value={}, deferrals=4)
    assert Memory({"kept": 1}).put_off(99.0) == Memory(deferred=True, since=99.0, deferrals=1)
    assert WAITING.abandoned(99.0) == replace(WAITING, value={}, since=99.0, deferrals=0)
    assert WAITING.decided("unchanged", None, 99.0) == replace(SERVED, value={})
    assert WAITING.decided("failed", {"new": 2}, 99.0) == replace(SERVED, value={"new": 2})
    assert WAITING.decided("contended", None, 99.0) == replace(WAITING, value={}), "others hold it: it waits on"
    assert WAITING.decided("deferred", {"new": 2}, 99.0) == replace(WAITING, value={"new": 2}, deferrals=4)


def test_what_the_budget_cut_off_says_when_all_of_it_was_not_enough() -> None:
    said = "the budget ended while it ran; it goes first next time; left INVALID"
    assert cut_off(said, Memory(seconds=60.0, cut_off=1), 100.0) == said
    assert cut_off(said, Memory(seconds=99.0, cut_off=3), 100.0) == (
        "the budget ended while it ran; 100 s are not enough: give it a budget of more than 109 s; it is tried again in 9 runs; "
        "left INVALID"
    )
