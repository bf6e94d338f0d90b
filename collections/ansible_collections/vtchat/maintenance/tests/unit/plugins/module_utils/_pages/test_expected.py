# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which runs did not come: by the times of those that did."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.expected import filled, missed, missed_moments
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import At, Every, read_schedule

BEGIN = datetime(2026, 9, 1, tzinfo=timezone.utc)
HOUR = 3600.0
EVERY = ("5m", "1h", "7h", "9h", "13h", "16h", "1d", "36h", "7d")
AT = (
    "02:00 UTC",
    "Sun 02:00 UTC",
    "Sun 23:58 UTC",
    "Mon,Tue 23:50 UTC",
    "Mon,Tue,Wed 23:50 UTC",
    "Mon,Thu 00:30 Pacific/Auckland",
    "Sat,Sun 02:30 Europe/Berlin",
)


def moments(rule: dict[str, str], days: int = 60) -> list[datetime]:
    """When a plan is due."""
    schedule = read_schedule(rule, [])
    end = BEGIN + timedelta(days=days)
    found = []
    if isinstance(schedule, Every):
        found = [BEGIN + number * schedule.interval for number in range(int((end - BEGIN) / schedule.interval))]
    elif isinstance(schedule, At):
        moment = schedule.following(BEGIN)
        while moment < end:
            found.append(moment)
            moment = schedule.following(moment)
    return found


def ran(at: Iterable[datetime], rule: Any) -> list[tuple[float, Any]]:
    """The runs, as the history tells of them."""
    return [(moment.timestamp(), rule if number == 0 else None) for number, moment in enumerate(at)]


def lost(runs: list[tuple[float, Any]], now: datetime) -> int:
    return len(list(missed_moments(runs, now.timestamp())))


RULES = [{"every": one} for one in EVERY] + [{"at": one} for one in AT]


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(data=st.data())
def test_what_was_lost_is_counted(rule: dict[str, str], data: st.DataObject) -> None:
    """Whichever runs are lost, and however late within their time the others came."""
    due = moments(rule, 5 if rule.get("every") == "5m" else 60)
    shortest = min(after - before for before, after in pairwise(due))
    late = data.draw(st.floats(0, 0.4)) * min(shortest, timedelta(hours=12))
    gone = data.draw(st.sets(st.integers(1, len(due) - 2), max_size=len(due) // 3))
    runs = [moment + late for number, moment in enumerate(due) if number not in gone]
    assert lost(ran(runs, rule), due[-1] + late + timedelta(minutes=1)) == len(gone)


@pytest.mark.parametrize("zone", [timezone.utc, ZoneInfo("Pacific/Auckland"), ZoneInfo("America/New_York")], ids=str)
def test_the_number_is_the_same_in_each_zone(zone: tzinfo) -> None:
    """Twice as many one day, and none the next."""
    twice = [BEGIN + timedelta(minutes=30 * number) for number in range(48)]
    runs = ran([*twice, BEGIN + timedelta(hours=48)], {"every": "1h"})
    days: dict[str, int] = {}
    for began, _rule in runs:
        day = str(datetime.fromtimestamp(began, zone).date())
        days[day] = days.get(day, 0) + 1
    found = filled([{"day": day, "runs": number} for day, number in days.items()], runs,
                   (BEGIN + timedelta(hours=48)).timestamp(), zone, date(2026, 1, 1))  # fmt: skip
    assert missed(found) == (24, 49 + 24)


def test_a_manual_run_serves_no_moment_that_comes_after_it() -> None:
    due = moments({"at": "Mon,Thu 00:30 UTC"})
    by_hand = [moment - timedelta(hours=12) for moment in due if moment.weekday() == 3]
    came = sorted([*(moment for moment in due if moment.weekday() == 0), *by_hand])
    thursdays = [moment for moment in due if moment.weekday() == 3 and moment > came[0]]
    expected = [moment for moment in thursdays if moment + timedelta(hours=6) < due[-1]]
    runs = [
        (moment.timestamp(), {"at": "Mon,Thu 00:30 UTC"} if number == 0 else None) for number, moment in enumerate(came)
    ]
    assert list(missed_moments(runs, due[-1].timestamp())) == expected


def test_a_schedule_that_was_another_one_for_a_while() -> None:
    hourly = [BEGIN + timedelta(hours=number) for number in range(100)]
    daily = [hourly[-1] + timedelta(days=number) for number in range(1, 30)]
    again = [daily[-1] + timedelta(hours=number) for number in range(1, 50)]
    runs = [*ran(hourly, {"every": "1h"}), *ran(daily, {"every": "1d"}), *ran(again, {"every": "1h"})]
    # The first day after the change is waited for by the old rule: nobody knows when it was changed.
    assert lost(runs, again[-1]) == 23


def test_a_run_without_a_schedule_changes_none() -> None:
    runs = [(BEGIN.timestamp() + number * 24 * HOUR, {"every": "1h"} if number == 0 else None) for number in range(10)]
    assert lost(runs, BEGIN + timedelta(days=9)) == 9 * 23
    assert lost([(began, None) for began, _rule in runs], BEGIN + timedelta(days=90)) == 0, (
        "nobody knows when it is due"
    )
    assert lost([(began, "often") for began, _rule in runs], BEGIN + timedelta(days=90)) == 0


def test_the_latest_moment_has_some_time_left() -> None:
    runs = ran([BEGIN], {"at": "02:00 UTC"})
    assert lost(runs, BEGIN + timedelta(hours=7)) == 0
    assert lost(runs, BEGIN + timedelta(hours=9)) == 1
    assert lost(ran([BEGIN], {"every": "1d"}), BEGIN + timedelta(hours=30)) == 0
    assert lost(ran([BEGIN], {"every": "1d"}), BEGIN + timedelta(hours=37)) == 1


def test_days_without_a_run() -> None:
    runs = ran([BEGIN, BEGIN + timedelta(days=3)], {"every": "1d"})
    days = [{"day": "2026-09-01", "runs": 1}, {"day": "2026-09-04", "runs": 1}]
    found = filled(days, runs, (BEGIN + timedelta(days=3)).timestamp(), timezone.utc, date(2026, 9, 3))
    assert [(one["day"], one["runs"], one["expected"]) for one in found] == [
        ("2026-09-01", 1, 1),
        ("2026-09-03", 0, 1),
        ("2026-09-04", 1, 1),
    ], "none before the first day of the page"
    assert [one["expected"] for one in filled(days, [], 0.0, timezone.utc, date(2026, 9, 3))] == [None, None]


def test_a_run_that_came_late_was_not_missed() -> None:
    """Later than what is waited for now, and before the next moment."""
    late = [moment + timedelta(hours=10) for moment in moments({"at": "02:00 UTC"}, 10)]
    assert lost(ran(late, {"at": "02:00 UTC"}), late[-1]) == 0


def test_days_before_the_schedule_was_known_are_not_judged() -> None:
    runs = [(BEGIN.timestamp(), None), ((BEGIN + timedelta(days=2)).timestamp(), {"every": "1d"})]
    days = [{"day": "2026-09-01", "runs": 1}, {"day": "2026-09-03", "runs": 1}]
    found = filled(days, runs, (BEGIN + timedelta(days=2)).timestamp(), timezone.utc, date(2026, 9, 1))
    assert [one["expected"] for one in found] == [None, 1]


def test_what_was_lost_belongs_to_a_day_of_the_page() -> None:
    """At 23:00 UTC it is the next day in Auckland."""
    rule, zone = {"at": "23:00 UTC"}, ZoneInfo("Pacific/Auckland")
    due = moments(rule, 4)
    found = filled([], ran([due[0], due[2]], rule), due[2].timestamp(), zone, date(2026, 9, 1))
    assert [one["day"] for one in found] == [str((due[1] + timedelta(days=1)).date())]
