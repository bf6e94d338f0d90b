# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, trying again and stopping, without a clock."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy


class FakeSession:
    """Remembers the limits that were set."""

    def __init__(self) -> None:
        self.limits: list[dict[str, float]] = []
        self.retries = 0

    def set(self, **limits: float) -> None:
        self.limits.append(limits)


def test_budget() -> None:
    now = [100.0]
    budget = policy.Budget(60, clock=lambda: now[0])
    now[0] = 145.0
    assert (budget.spent(), budget.left()) == (45.0, 15.0)
    now[0] = 145.7
    assert budget.limit() == 14.0, "a limit for statements is in whole seconds"
    now[0] = 150.4
    assert budget.limit() == pytest.approx(9.6), "but for the last ones"
    now[0] = 200.0
    assert budget.left() == -40.0


@pytest.mark.parametrize(
    ("size", "seconds", "goal", "wanted"),
    [
        (1000, 0.25, 0.25, 1000),
        (1000, 0.125, 0.25, 2000),
        (1000, 0.001, 0.25, 2000),
        (1000, 0.0, 0.25, 2000),
        (1000, 0.2, 0.25, 1250),
        (1000, 0.5, 0.25, 500),
        (1000, 60.0, 0.25, 500),
        (12, 60.0, 0.25, 10),
        (10, 60.0, 0.25, 10),
        (40_000, 0.01, 0.25, 50_000),
    ],
)
def test_next_batch_size(size: int, seconds: float, goal: float, wanted: int) -> None:
    assert policy.next_batch_size(size, seconds, goal) == wanted


def test_lock_for_concurrently_may_take_what_is_left() -> None:
    assert policy.concurrent_lock_timeout(300.0) == 300.0
    assert policy.concurrent_lock_timeout(-5.0) == 1.0


def contended_until(tries: int) -> Any:
    calls = []

    def attempt() -> int:
        calls.append(1)
        if len(calls) <= tries:
            raise Contended("locked")
        return len(calls)

    return attempt


def test_lock_retries_back_off() -> None:
    session = FakeSession()
    pauses: list[float] = []

    def left() -> float:
        return 100.0

    assert policy.with_lock_retries(session, contended_until(3), left, pauses.append) == 4
    assert all(limits == {"lock_timeout": policy.BLOCKING, "statement_timeout": 100.0} for limits in session.limits)
    for pause, middle in zip(pauses, (0.5, 1.0, 2.0)):
        assert 0.75 * middle <= pause <= 1.25 * middle
    assert len(pauses) == 3
    assert session.retries == 3


def test_lock_retries_end() -> None:
    pauses: list[float] = []
    with pytest.raises(Contended):
        policy.with_lock_retries(FakeSession(), contended_until(99), lambda: 100.0, pauses.append)
    assert len(pauses) == len(policy.BLOCKING_PAUSES)


def test_no_retry_when_the_budget_is_too_short_for_one() -> None:
    pauses: list[float] = []
    with pytest.raises(Contended):
        policy.with_lock_retries(FakeSession(), contended_until(1), lambda: 2.0, pauses.append)
    assert pauses == []


def test_other_errors_are_not_tried_again() -> None:
    def attempt() -> None:
        raise SqlError("no", "42501")

    pauses: list[float] = []
    with pytest.raises(SqlError):
        policy.with_lock_retries(FakeSession(), attempt, lambda: 100.0, pauses.append)
    assert pauses == []
