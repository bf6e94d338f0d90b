# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Days that are left, from two looks at the counters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.forecast import DAY, FOREVER, LAST, samples

from .asked import ASKED

READABLE = replace(ASKED, earlier=True)
LIMIT = 200_000_000


def days(age: int, used: int, seconds: float, limit: int = LIMIT) -> Any:
    then = {"seconds": seconds, "used_transactions": used, "used_multixacts": 0, "run_id": 7}
    row = {
        "transactions": age, "multixacts": 0, "transactions_limit": limit, "multixacts_limit": limit, "runs": 1, "others": 0,
        "of_transactions": then, "of_multixacts": then,
    }  # fmt: skip
    ids, multixacts = samples([row], READABLE)
    assert multixacts.value == FOREVER, "none of them were used"
    return ids


@pytest.mark.parametrize(
    ("age", "per_day", "value", "level"),
    [
        # Autovacuum freezes in time: what a busy server uses is no illness before there is no time left for a vacuum.
        (150_000_000, 500_000_000, 3.99, "info"),
        (150_000_000, 1_500_000_000, 1.33, "warning"),
        (150_000_000, 5_000_000_000, 0.4, "critical"),
        # It lags behind.
        (300_000_000, 50_000_000, 36.89, "info"),
        (300_000_000, 70_000_000, 26.35, "warning"),
        (1_800_000_000, 70_000_000, 4.92, "critical"),
        (2_147_000_000, 70_000_000, 0.0, "critical"),
        (300_000_000, 1, FOREVER, "info"),
    ],
)
def test_days(age: int, per_day: int, value: float, level: str) -> None:
    found = days(age, per_day, DAY)
    assert found.value == pytest.approx(value, abs=0.01)
    assert found.thresholds.level(found.value) == level


@given(st.integers(0, 2**31), st.integers(0, 2**33), st.floats(3600, 40 * DAY))
def test_it_is_a_number_whatever_was_used(age: int, used: int, seconds: float) -> None:
    found = days(age, used, seconds)
    assert 0 <= found.value <= FOREVER
    if used and age < LAST and found.value < FOREVER:
        assert found.value * used / seconds * DAY == pytest.approx(
            LAST - age, rel=0.01, abs=0.006 * used / seconds * DAY
        )
