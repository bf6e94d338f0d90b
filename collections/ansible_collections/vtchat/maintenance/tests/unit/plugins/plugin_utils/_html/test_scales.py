# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scales: ticks are round and ascend, and hold all values between them."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import scales
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.scales import BYTES, SECONDS

KINDS = (BYTES, SECONDS, "rows")
WORTH = {
    "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50,
    "milliseconds": 0.001, "seconds": 1, "minutes": 60, "hours": 3600, "days": 86400,
    "rows": 1, "thousand rows": 1e3, "million rows": 1e6, "billion rows": 1e9, "trillion rows": 1e12,
}  # fmt: skip


@given(st.lists(st.floats(-1e19, 1e19)), st.sampled_from(KINDS))
def test_an_axis_holds_all_values_and_zero_between_round_ticks(values: list[float], kind: str) -> None:
    axis = scales.axis(values, kind)
    slack = 1e-9 * max(1.0, abs(axis.high), abs(axis.low))
    assert all(axis.low - slack <= value <= axis.high + slack for value in [0.0, *values])
    at = [tick.at for tick in axis.ticks]
    assert at == sorted(set(at))
    assert (at[0], at[-1]) == (axis.low, axis.high)
    assert 2 <= len(at) <= scales.MOST_TICKS + 2
    step = (at[1] - at[0]) / WORTH[axis.unit]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - one) for one in (1, 2, 5, 10)) < 1e-6
    assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)
    assert any(abs(one) < slack for one in at)


@pytest.mark.parametrize(
    ("values", "kind", "unit", "labels"),
    [
        ([], "rows", "rows", ["0", "1"]),
        ([0], BYTES, "bytes", ["0", "1"]),
        ([3], "runs", "runs", ["0", "1", "2", "3"]),
        ([2 * 2**30, 11 * 2**30], BYTES, "GiB", ["0", "5", "10", "15"]),
        ([0.25], SECONDS, "milliseconds", ["0", "100", "200", "300"]),
        ([90], SECONDS, "seconds", ["0", "50", "100"]),
        ([3 * 3600], SECONDS, "hours", ["0", "1", "2", "3"]),
        ([131_000], "rows", "thousand rows", ["0", "50", "100", "150"]),
        ([-2, 2], "rows", "rows", ["-2", "-1", "0", "1", "2"]),
        ([math.nan, math.inf, 4], "rows", "rows", ["0", "1", "2", "3", "4"]),
    ],
)
def test_axes(values: list[float], kind: str, unit: str, labels: list[str]) -> None:
    axis = scales.axis(values, kind)
    assert axis.unit == unit
    assert [tick.label for tick in axis.ticks] == labels


@given(st.dates(date(1, 1, 1), date(9999, 12, 31)), st.integers(0, 4000), st.integers(2, 8))
def test_days_at_an_axis_are_inside_and_not_too_many(first: date, length: int, most: int) -> None:
    last = first + timedelta(days=min(length, (date.max - first).days))
    ticks = scales.days(first, last, most)
    at = [tick.at for tick in ticks]
    assert at == sorted(set(at))
    assert len(ticks) <= most + 1
    assert all(first.toordinal() <= one <= last.toordinal() for one in at)
    assert all(tick.label for tick in ticks)


def test_days_are_named_in_english_whatever_the_locale_and_weeks_begin_on_mondays() -> None:
    assert [tick.label for tick in scales.days(date(2026, 8, 28), date(2026, 11, 25))] == [
        "31 Aug",
        "28 Sep",
        "26 Oct",
        "23 Nov",
    ]
    assert [tick.label for tick in scales.days(date(2026, 5, 1), date(2026, 5, 1))] == ["1 May"]
    assert [tick.label for tick in scales.days(date(2025, 12, 5), date(2026, 11, 25))][:2] == ["Jan 2026", "Mar 2026"]


@given(st.floats(-1e19, 1e19), st.floats(-1e19, 1e19), st.floats(-1e19, 1e19))
def test_nothing_is_placed_outside(value: float, low: float, high: float) -> None:
    assert 10 <= scales.place(value, low, high, 10, 20) <= 20


points = st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e6, 1e6)), unique_by=lambda one: one[0]).map(sorted)


@given(points, st.integers(4, 60))
def test_thinning_keeps_ends_peaks_and_dips(known: list[tuple[float, float]], most: int) -> None:
    kept = scales.thin(known, most)
    assert len(kept) <= max(most, 4)
    assert set(kept) <= set(known)
    assert kept == sorted(kept)
    if known:
        assert (kept[0], kept[-1]) == (known[0], known[-1])
        assert max(y for _x, y in kept) == max(y for _x, y in known)
        assert min(y for _x, y in kept) == min(y for _x, y in known)
