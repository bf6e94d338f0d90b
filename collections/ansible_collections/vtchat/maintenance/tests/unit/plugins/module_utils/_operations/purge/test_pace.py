# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge: how fast it goes, by what it saw. No clock of its own, no database."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pace
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.pace import Pace

ALONE: dict[str, Any] = {
    "active": 0,
    "recent": 0,
    "hidden": 0,
    "transactions": 100,
    "waiting": 0,
    "lag": None,
    "inside": 0.25,
}


def after(*looks: dict[str, Any], share: float | None = None, every: float = 1.0, took: float = 0.251) -> Pace:
    """What it decides after these looks, so many seconds apart."""
    found = Pace(share, 0.25)
    for number, look in enumerate(looks):
        found.heed({**ALONE, **look}, look.get("took", took), number * every, look.get("own", 0))
    return found


@pytest.mark.parametrize(
    ("look", "cause"),
    [
        ({}, ""),
        ({"active": 1}, pace.OTHERS_WORK),
        ({"recent": 1}, pace.OTHERS_WORK),
        ({"waiting": 1}, pace.WAITED_FOR),
        ({"waiting": 1, "active": 3}, pace.WAITED_FOR),
        ({"hidden": 1}, pace.OTHERS_WORK),  # until it is known what they do
        ({"transactions": None}, ""),
    ],
)
def test_the_first_look(look: dict[str, Any], cause: str) -> None:
    found = after(look)
    assert found.cause == cause
    assert (found.goal < 0.25) == bool(cause)
    assert (found.pause(1.0) > 0) == bool(cause)


def test_it_is_fast_again_when_they_are_gone() -> None:
    assert after({"active": 2}, {"active": 0, "recent": 0}).pause(1.0) == 0


@pytest.mark.parametrize(
    ("rate", "own", "cause"),
    [
        (0, 0, ""),
        (9, 0, ""),
        (10, 0, pace.OTHERS_WORK),
        (400, 0, pace.OTHERS_WORK),
        (50, 45, ""),
        (60, 45, pace.OTHERS_WORK),
    ],
)
def test_sessions_that_are_hidden_are_judged_by_transactions(rate: int, own: int, cause: str) -> None:
    """Of those our own do not count."""
    looks = [{"hidden": 3, "transactions": 1000 + rate * second, "own": own * second} for second in range(3)]
    assert after(*looks).cause == cause


def test_a_slow_commit_matters_only_where_somebody_is_there() -> None:
    fast, slow = {"took": 0.252}, {"took": 0.4}
    assert after(fast, slow).cause == ""
    assert after({**fast, "active": 1}, {**slow, "active": 1}).cause == pace.SLOW_COMMITS
    assert after({**slow, "active": 1}, {**slow, "active": 1}).cause == pace.OTHERS_WORK, "the disk is always like that"
    cautious, gentle = after({**fast, "active": 1}, {**slow, "active": 1}), after({"active": 1})
    assert cautious.pause(1.0) > gentle.pause(1.0)


@pytest.mark.parametrize(("share", "pause"), [(1.0, 0.0), (0.5, 1.0), (0.25, 3.0), (0.01, 99.0)])
def test_a_share_is_kept_whatever_others_do(share: float, pause: float) -> None:
    found = after({"active": 9, "waiting": 2}, share=share)
    assert found.pause(1.0) == pytest.approx(pause)
    assert found.goal == 0.25
    found.waited(pause)
    assert found.numbers() == ({"paused_seconds": pause, "paused_for": {"share": pause}} if pause else {})


def test_pauses_are_told_by_their_cause() -> None:
    found = after({"active": 1})
    found.waited(1.5)
    found.waited(0.004, pace.REPLICAS)
    assert found.numbers() == {"paused_seconds": 1.5, "paused_for": {"others": 1.5}}
    assert after().numbers() == {}


def test_it_looks_soon_at_first_and_then_once_a_second() -> None:
    found = Pace(None, 0.25)
    times = []
    for now in (eighth / 8 for eighth in range(30)):
        if found.due(now):
            times.append(now)
            found.heed(ALONE, 0.25, now, 0)
    assert times == [0.0, 0.125, 0.5, 1.5, 2.5, 3.5]


def test_a_look_asks_who_has_worked_since_the_one_before() -> None:
    found = Pace(None, 0.25)
    assert "secs => 0.05)" in found.look(7.0)
    found.heed(ALONE, 0.25, 7.0, 0)
    assert "secs => 0.4)" in found.look(7.4)
    assert "secs => 1.0)" in found.look(99.0)


@pytest.mark.parametrize(("lag", "behind"), [(None, False), (0, False), (2**26, False), (2**26 + 1, True)])
def test_replicas(lag: int | None, behind: bool) -> None:
    assert after({"lag": lag}).behind == behind
    assert after({"lag": lag}, share=1.0).behind == behind
