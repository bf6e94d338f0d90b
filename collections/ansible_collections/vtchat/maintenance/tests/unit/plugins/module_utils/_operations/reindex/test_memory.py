# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is remembered of an index, and what follows from it in later runs."""

from __future__ import annotations

import json

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.memory import (
    DOUBT,
    MEASURED,
    MOST_SKIPPED,
    REBUILT,
    SEEN,
    Memory,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.bloat import Bloat

KNOWN = Memory(7, 20.0, REBUILT, {"estimate": 5}, {"x": "2.36"}, 3, "why", 4, 1e6)


def test_it_comes_back_from_the_history_as_it_was() -> None:
    assert Memory.read(json.loads(json.dumps(KNOWN.state())), 7) == KNOWN
    assert Memory.read(None, 7) == Memory.read({}, 7) == Memory(7)
    assert Memory.read({"something": "else", "file": 7}, 7) == Memory(7)


def test_what_somebody_else_has_rebuilt_is_compared_anew() -> None:
    other = Memory.read(KNOWN.state(), 8)
    assert (other.file, other.best, other.basis, other.doubted) == (8, None, SEEN, {})
    assert (other.collations, other.failures, other.skip) == ({"x": "2.36"}, 3, 4)


@pytest.mark.parametrize(
    ("before", "ratio", "best", "basis"),
    [
        (Memory(7), 30.0, 30.0, SEEN),
        (KNOWN, 30.0, 20.0, REBUILT),
        (KNOWN, 19.9, 20.0, REBUILT),  # not worth writing down
        (KNOWN, 10.0, 10.0, SEEN),
    ],
)
def test_the_best_that_was_ever_seen(before: Memory, ratio: float, best: float, basis: str) -> None:
    after = before.seen(ratio)
    assert (after.best, after.basis) == (best, basis)
    assert (after is before) == (best == before.best)
    assert before.seen(1.0, MEASURED).basis == MEASURED


def test_failures_back_off() -> None:
    memory = Memory(7)
    skips = []
    for _number in range(8):
        memory = memory.after_failure("no")
        skips.append(memory.skip)
        for left in range(memory.skip, 0, -1):
            assert memory.skip == left
            memory = memory.skipped()
        assert memory.skip == 0
    assert skips == [0, 2, 4, 8, 16, MOST_SKIPPED, MOST_SKIPPED, MOST_SKIPPED]
    assert memory.failed == "no"
    done = memory.rebuilt(8, 15.0, {"x": "2.37"}, 2e6)
    assert done == Memory(8, 15.0, REBUILT, {}, {"x": "2.37"}, rate=2e6)
    assert memory.rebuilt(8, None, {}, None).rate is None


@pytest.mark.parametrize(
    ("after", "wrong"), [(40, False), (60, False), (80, False), (81, True), (100, True), (120, True)]
)
def test_a_method_that_was_wrong_is_not_believed_for_some_runs(after: int, wrong: bool) -> None:
    predicted = Bloat(100, 60, "exact", "high")
    memory = Memory(7, doubted={"exact": 1, "estimate": 2}).judged(predicted, after)
    assert memory.doubted == ({"exact": DOUBT, "estimate": 2} if wrong else {"estimate": 2})
    assert memory.older().doubted == ({"exact": DOUBT - 1, "estimate": 1} if wrong else {"estimate": 1})
    for _run in range(DOUBT):
        memory = memory.older()
    assert memory.doubted == {}
