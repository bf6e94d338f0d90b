# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers for people, with the roundings that go wrong easily."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _units


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 rows"),
        (1, "1 row"),
        (999, "999 rows"),
        (33320, "33\u202f320 rows"),
        (10**9, "1\u202f000\u202f000\u202f000 rows"),
    ],
)
def test_rows(number: int, text: str) -> None:
    assert _units.rows(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (1536 * 1024, "1.5 MiB"),
        (380 * 1024**2, "380 MiB"),
        (-5 * 1024**3, "-5.0 GiB"),
        (2 * 1024**5, "2.0 PiB"),
        (10 * 1024**6, "10240 PiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert _units.size(number) == text


@pytest.mark.parametrize(("number", "text"), [(2048, "+2.0 KiB"), (-2048, "-2.0 KiB"), (0, "0 B")])
def test_size_of_a_difference_has_a_sign(number: int, text: str) -> None:
    assert _units.size(number, signed=True) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0001, "<1 ms"),
        (0.0031, "3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.43, "1.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (119.7, "2 min"),
        (200, "3 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86399, "1 d"),
        (4 * 86400 + 7200, "4 d 2 h"),
        (-1.5, "-1.5 s"),
        (float("nan"), ""),
        (float("inf"), ""),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert _units.duration(seconds) == text


def test_no_rate_before_time_has_passed() -> None:
    assert _units.rate(5, 0) == ""
    assert _units.rate(120000, 12) == "10\u202f000 rows/s"
