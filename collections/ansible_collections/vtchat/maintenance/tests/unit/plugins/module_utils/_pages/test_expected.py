# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many runs were to come on each day."""

from __future__ import annotations

from datetime import date, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.expected import filled, missed
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import read_schedule

BERLIN = ZoneInfo("Europe/Berlin")


def days(
    given: dict[str, int], rule: dict[str, str], first: str, last: str, zone: tzinfo = timezone.utc
) -> list[dict[str, Any]]:
    ran = [{"day": day, "runs": runs, "statuses": {"ok": runs}} for day, runs in given.items()]
    schedule = read_schedule(rule, [])
    assert (schedule is None) == (not rule)
    return filled(ran, schedule, zone, date.fromisoformat(first), date.fromisoformat(last))


def told(found: list[dict[str, Any]]) -> list[tuple[str, int, int | None]]:
    return [(one["day"][8:], one["runs"], one["expected"]) for one in found]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"every": "1h"}, 24),
        ({"every": "1d"}, 1),
        ({"every": "5h"}, 4),
        ({"every": "5m"}, 288),
        ({"every": "2d"}, None),
        ({"every": "1w"}, None),
        ({"at": "02:00 UTC"}, 1),
        ({}, None),
    ],
)
def test_expected(rule: dict[str, str], expected: int | None) -> None:
    found = days({"2026-11-10": 3, "2026-11-12": 1}, rule, "2026-11-10", "2026-11-12")
    assert found[0]["expected"] == expected
    assert found[-1]["expected"] is None, "of today nobody knows what is still to come"
    assert ("2026-11-11" in [one["day"] for one in found]) == bool(expected), "a day on which nothing ran"


def test_a_weekly_plan_is_expected_on_its_day_only() -> None:
    found = days({"2026-11-01": 1, "2026-11-15": 1}, {"at": "Sun 02:00 UTC"}, "2026-11-01", "2026-11-20")
    assert told(found) == [("01", 1, 1), ("08", 0, 1), ("15", 1, 1)]
    assert missed(found) == (1, 3)


def test_a_run_that_began_after_midnight_was_not_missed() -> None:
    found = days({"2026-11-02": 1}, {"at": "Sun 23:58 UTC"}, "2026-11-01", "2026-11-20")
    assert told(found) == [("01", 0, 0), ("02", 1, 0), ("08", 0, 1), ("15", 0, 1)]
    assert missed(found) == (2, 2)


def test_days_are_those_of_the_page() -> None:
    found = days({"2026-11-02": 1}, {"at": "Sun 23:30 UTC"}, "2026-11-01", "2026-11-09", BERLIN)
    assert told(found) == [("02", 1, 1)], "in Berlin it is Monday then"


@pytest.mark.parametrize(("day", "expected"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_days_on_which_the_clock_is_changed(day: str, expected: int) -> None:
    last = str(date.fromordinal(date.fromisoformat(day).toordinal() + 1))
    assert told(days({day: 20}, {"every": "1h"}, day, last, BERLIN)) == [(day[8:], 20, expected)]


def test_more_runs_than_expected_make_nothing_up() -> None:
    found = days({"2026-11-10": 30, "2026-11-12": 20, "2026-11-14": 3}, {"every": "1h"}, "2026-11-10", "2026-11-13")
    assert missed(found) == (24 - 6 + 4, 24 + 18 + 24), "a day lends to those beside it, and to no other"


def test_runs_around_midnight() -> None:
    found = days(
        {"2026-11-10": 23, "2026-11-11": 25, "2026-11-12": 23, "2026-11-13": 24},
        {"every": "1h"},
        "2026-11-10",
        "2026-11-14",
    )
    assert told(found) == [("10", 23, 23), ("11", 25, 24), ("12", 23, 24), ("13", 24, 24)], "what was lent once is gone"
