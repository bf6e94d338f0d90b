# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Schedules: what people write, and the moments that it means while clocks are put back or forward."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import (
    DAYS,
    At,
    Every,
    Schedule,
    read_schedule,
)

MINUTE = timedelta(minutes=1)
# Moments (UTC) near which a clock is put back or forward: by an hour, by half an hour, at midnight, by a whole day.
CHANGES = {
    "Europe/Berlin": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "America/New_York": ("2026-03-08 07:00", "2026-11-01 06:00"),
    "Australia/Lord_Howe": ("2026-04-04 15:00", "2026-10-03 15:30"),
    "America/Santiago": ("2026-04-05 03:00", "2026-09-06 04:00"),
    "America/St_Johns": ("2010-11-07 02:31",),
    "Pacific/Apia": ("2011-12-30 10:00",),
    "Asia/Kathmandu": ("2026-06-01 00:00",),
    "UTC": ("2026-06-01 00:00",),
}


def read(**rule: Any) -> Schedule:
    faults: list[str] = []
    found = read_schedule(rule, faults)
    assert found is not None, faults
    return found


def at(text: str) -> At:
    found = read(at=text)
    assert isinstance(found, At)
    return found


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


def shown(moment: datetime) -> str:
    assert moment.utcoffset() == timedelta(0)
    return moment.strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("rule", "now", "previous", "following"),
    [
        # An ordinary week; 29 November 2026 is a Sunday.
        ("Sun 02:00 UTC", "2026-11-29 01:59", "2026-11-22 02:00", "2026-11-29 02:00"),
        ("Sun 02:00", "2026-11-29 02:00", "2026-11-29 02:00", "2026-12-06 02:00"),
        ("Sun 02:00 UTC", "2026-12-05 23:59", "2026-11-29 02:00", "2026-12-06 02:00"),
        ("02:00", "2026-11-29 01:00", "2026-11-28 02:00", "2026-11-29 02:00"),
        ("Mon,Thu 18:30 UTC", "2026-11-29 00:00", "2026-11-26 18:30", "2026-11-30 18:30"),
        ("Sun 23:30 America/New_York", "2026-11-30 04:29", "2026-11-23 04:30", "2026-11-30 04:30"),
        ("Mon 00:15 Asia/Kathmandu", "2026-11-29 18:30", "2026-11-29 18:30", "2026-12-06 18:30"),
        # Berlin is an hour ahead in winter, two in summer: the moment is that of the wall.
        ("Sun 02:00 Europe/Berlin", "2026-07-05 00:00", "2026-07-05 00:00", "2026-07-12 00:00"),
        ("Sun 12:00 Europe/Berlin", "2026-03-28 12:00", "2026-03-22 11:00", "2026-03-29 10:00"),
        # 02:30 does not exist on 29 March 2026: at 01:00 UTC the clock goes from 02:00 to 03:00.
        ("Sun 02:30 Europe/Berlin", "2026-03-29 00:59", "2026-03-22 01:30", "2026-03-29 01:00"),
        ("Sun 02:30 Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00", "2026-04-05 00:30"),
        ("Sun 02:00 Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00", "2026-04-05 00:00"),
        ("Sun 03:00 Europe/Berlin", "2026-03-29 00:59", "2026-03-22 02:00", "2026-03-29 01:00"),
        # 02:00 to 03:00 comes twice on 25 October 2026: at 01:00 UTC the clock goes from 03:00 to 02:00. The first one counts.
        ("Sun 02:30 Europe/Berlin", "2026-10-25 00:29", "2026-10-18 00:30", "2026-10-25 00:30"),
        ("Sun 02:30 Europe/Berlin", "2026-10-25 01:30", "2026-10-25 00:30", "2026-11-01 01:30"),
        ("Sun 02:00 Europe/Berlin", "2026-10-25 01:00", "2026-10-25 00:00", "2026-11-01 01:00"),
        ("Sun 03:00 Europe/Berlin", "2026-10-25 01:59", "2026-10-18 01:00", "2026-10-25 02:00"),
        # The day that Samoa left out was a Friday.
        ("Fri 12:00 Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2012-01-05 22:00"),
        # There the clock went back over midnight: Sunday had begun, and then it was Saturday again.
        ("Sun 00:00 America/St_Johns", "2010-11-07 02:40", "2010-11-07 02:30", "2010-11-14 03:30"),
    ],
)
def test_moments(rule: str, now: str, previous: str, following: str) -> None:
    moment = utc(now)
    assert (shown(at(rule).previous(moment)), shown(at(rule).following(moment))) == (previous, following)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_moments_are_the_first_at_which_the_wall_says_so(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(sorted(CHANGES)))
    near = utc(data.draw(st.sampled_from(CHANGES[zone])))
    days = data.draw(st.sets(st.sampled_from(DAYS), min_size=1))
    minute = data.draw(st.integers(0, 24 * 60 - 1))
    rule = at(f"{','.join(sorted(days))} {minute // 60:02}:{minute % 60:02} {zone}")
    # Often quite near to the change, where the traps are.
    now = near + timedelta(seconds=data.draw(st.integers(-7200, 7200) | st.integers(-8 * 86400, 8 * 86400)))
    previous, following = rule.previous(now), rule.following(now)
    assert previous <= now < following
    assert following - previous <= timedelta(days=8, hours=1)
    assert rule.previous(following) == following
    assert rule.previous(following - MINUTE / 60) == previous
    for moment in (previous, following):
        wall, before = (one.astimezone(rule.zone).replace(tzinfo=None) for one in (moment, moment - MINUTE))
        # The clock has come to the time of one of the days within this minute.
        dates = {wall.date(), wall.date() - timedelta(days=1)}
        wanted = [datetime.combine(day, rule.time) for day in dates if day.weekday() in rule.days]
        assert any(before < one <= wall for one in wanted)


@pytest.mark.parametrize(
    ("text", "days", "zone"),
    [
        ("Sun 02:00 UTC", {"Sun"}, "UTC"),
        ("sun 2:00", {"Sun"}, "UTC"),
        (" MON, wed,FRI 02:00 Europe/Berlin ", {"Mon", "Wed", "Fri"}, "Europe/Berlin"),
        ("02:00", set(DAYS), "UTC"),
        ("02:00 Asia/Kathmandu", set(DAYS), "Asia/Kathmandu"),
    ],
)
def test_moments_as_people_write_them(text: str, days: set[str], zone: str) -> None:
    rule = at(text)
    assert ({DAYS[number] for number in rule.days}, rule.timezone) == (days, zone)
    assert (str(rule), rule.as_dict()) == (f"at: {text.strip()}", {"at": text.strip()})


@pytest.mark.parametrize(
    ("text", "minutes", "tolerance"),
    [("1h", 60, 10), ("30m", 30, 5), ("2h", 120, 10), ("1d", 1440, 10), ("2w", 20160, 10), ("90d", 129600, 10), ("1m", 1, 1 / 6)],
)  # fmt: skip
def test_intervals(text: str, minutes: int, tolerance: float) -> None:
    rule = read(every=text)
    assert isinstance(rule, Every)
    assert (rule.interval, rule.tolerance) == (timedelta(minutes=minutes), timedelta(minutes=tolerance))
    assert (str(rule), rule.as_dict()) == (f"every: {text}", {"every": text})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"every": "60"}, "every: '60' is no interval: write a whole number and its unit, such as 30m, 1h, 7d or 2w. A number"),
        ({"every": 60}, "every: '60' is no interval"),
        ({"every": "1 hour"}, "every: '1 hour' is no interval"),
        ({"every": "0h"}, "every: '0h' is no interval"),
        ({"every": "1.5h"}, "every: '1.5h' is no interval"),
        ({"every": "-1h"}, "every: '-1h' is no interval"),
        ({"every": "1h30m"}, "every: '1h30m' is no interval"),
        ({"every": "\u0661h"}, "is no interval"),
        ({"every": ""}, "every: '' is no interval"),
        ({"every": True}, "every: 'True' is no interval"),
        ({"every": ["1h"]}, "is no interval"),
        ({"every": "91d"}, "every: 91d is more than 90d, for which the history keeps runs"),
        ({"every": "13w"}, "every: 13w is more than 90d"),
        ({"every": "999999999w"}, "every: 999999999w is more than 90d"),
        ({"at": "Sunday 02:00"}, "at: there is no day Sunday; there are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ({"at": "Sun,Son 02:00"}, "at: there is no day Son"),
        ({"at": "Sun 25:00"}, "at: '25:00' is no time of day: write HH:MM from 00:00 to 23:59"),
        ({"at": "Sun 24:00"}, "at: '24:00' is no time of day: write HH:MM from 00:00 to 23:59, as midnight is"),
        ({"at": "Sun 02:00 Mars/Olympus"}, "at: there is no time zone 'Mars/Olympus'"),
        ({"at": "Sun 02:00 Europe/Berln"}, "did you mean Europe/Berlin?"),
        ({"at": "Sun 02:00 ../../etc/passwd"}, "there is no time zone"),
        ({"at": "0 2 * * 0"}, "at: '0 2 * * 0' is no moment of the week: write \"Sun 02:00\""),
        ({"at": "Sun"}, "is no moment of the week"),
        ({"at": "Sun 2am"}, "is no moment of the week"),
        ({"at": "Sun 02:00\nUTC"}, "is no moment of the week"),
        ({"at": 120}, "at: '120' is no moment of the week"),
        ({"at": 120}, "YAML reads a time without quotes as a number"),
        ({"at": "120"}, "YAML reads a time without quotes as a number"),
        ({"at": None, "every": {}}, "every: '{}' is no interval"),
        ({"at": "02:00", "every": "1h"}, "every and at: only one of both says when the plan is due: leave one out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_option(wrong: dict[str, Any], said: str) -> None:
    faults: list[str] = []
    assert read_schedule(wrong, faults) is None
    assert len(faults) == 1
    assert said in faults[0]


def test_all_faults_at_once_and_with_the_place() -> None:
    faults = ["another"]
    assert read_schedule({"at": "Son,Mun 26:00 Mars"}, faults, "plans.weekly.") is None
    assert [fault.partition(":")[0] for fault in faults] == ["another", *["plans.weekly.at"] * 4]
    assert read_schedule({"at": None}, faults) is None
    assert read_schedule({}, faults) is None
    assert len(faults) == 5
