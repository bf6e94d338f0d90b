# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows: what the clock on the wall reads, over midnight and while it is put back or forward."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._window import Window, read_window

MINUTE = timedelta(minutes=1)
# Moments (UTC) near which a clock is put back or forward: by an hour, by half an hour, at midnight, by a whole day.
CHANGES = {
    "Europe/Berlin": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "America/New_York": ("2026-03-08 07:00", "2026-11-01 06:00"),
    "Australia/Lord_Howe": ("2026-04-04 15:00", "2026-10-03 15:30"),
    "America/Santiago": ("2026-04-05 03:00", "2026-09-06 04:00"),
    "Pacific/Apia": ("2011-12-30 10:00",),
    "Asia/Kathmandu": ("2026-06-01 00:00",),
    "UTC": ("2026-06-01 00:00",),
}


def window(not_before: str, not_after: str, zone: str = "Europe/Berlin") -> Window:
    faults: list[str] = []
    read = read_window({"not_before": not_before, "not_after": not_after, "timezone": zone}, faults)
    assert read is not None, faults
    return read


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


def shown(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("times", "now", "is_open", "opens", "closes"),
    [
        # An ordinary day; Berlin is an hour ahead in winter, two in summer.
        (("02:00", "05:00"), "2026-11-29 00:59", False, "2026-11-29 01:00", "2026-11-29 00:59"),
        (("02:00", "05:00"), "2026-11-29 01:00", True, "2026-11-29 01:00", "2026-11-29 04:00"),
        (("02:00", "05:00"), "2026-11-29 04:00", False, "2026-11-30 01:00", "2026-11-29 04:00"),
        (("02:00", "05:00"), "2026-07-01 03:00", False, "2026-07-02 00:00", "2026-07-01 03:00"),
        # Over midnight.
        (("22:00", "01:30"), "2026-11-29 20:59", False, "2026-11-29 21:00", "2026-11-29 20:59"),
        (("22:00", "01:30"), "2026-11-29 23:00", True, "2026-11-29 23:00", "2026-11-30 00:30"),
        (("22:00", "00:00"), "2026-11-29 22:59", True, "2026-11-29 22:59", "2026-11-29 23:00"),
        (("00:00", "23:59"), "2026-11-29 22:59", False, "2026-11-29 23:00", "2026-11-29 22:59"),
        # 02:30 does not exist on 29 March 2026: at 01:00 UTC the clock goes from 02:00 to 03:00.
        (("02:30", "04:00"), "2026-03-29 00:59", False, "2026-03-29 01:00", "2026-03-29 00:59"),
        (("01:00", "02:30"), "2026-03-29 00:30", True, "2026-03-29 00:30", "2026-03-29 01:00"),
        (("02:10", "02:50"), "2026-03-29 00:30", False, "2026-03-30 00:10", "2026-03-29 00:30"),
        # 02:00 to 03:00 comes twice on 25 October 2026: at 01:00 UTC the clock goes from 03:00 to 02:00.
        (("02:30", "04:00"), "2026-10-25 00:40", True, "2026-10-25 00:40", "2026-10-25 01:00"),
        (("02:30", "04:00"), "2026-10-25 01:00", False, "2026-10-25 01:30", "2026-10-25 01:00"),
        (("02:30", "04:00"), "2026-10-25 01:30", True, "2026-10-25 01:30", "2026-10-25 03:00"),
        (("01:00", "02:30"), "2026-10-25 00:30", False, "2026-10-25 01:00", "2026-10-25 00:30"),
        (("02:10", "02:20"), "2026-10-25 00:20", False, "2026-10-25 01:10", "2026-10-25 00:20"),
        (("22:00", "06:00"), "2026-10-24 20:00", True, "2026-10-24 20:00", "2026-10-25 05:00"),
        (("22:00", "06:00"), "2026-03-28 21:00", True, "2026-03-28 21:00", "2026-03-29 04:00"),
    ],
)
def test_when(times: tuple[str, str], now: str, is_open: bool, opens: str, closes: str) -> None:
    one, moment = window(*times), utc(now)
    assert (one.is_open(moment), shown(one.opens(moment)), shown(one.closes(moment))) == (is_open, opens, closes)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_it_opens_and_closes_at_the_first_minute_that_the_clock_says(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(sorted(CHANGES)))
    near = utc(data.draw(st.sampled_from(CHANGES[zone])))
    minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
    not_before, not_after = data.draw(st.lists(minutes, min_size=2, max_size=2, unique=True))
    # Often quite near to the change, where the traps are.
    now = near + timedelta(seconds=data.draw(st.integers(-7200, 7200) | st.integers(-2 * 86400, 86400)))
    wall = zoneinfo.ZoneInfo(zone)

    def inside(moment: datetime) -> bool:
        clock = moment.astimezone(wall).strftime("%H:%M")
        return not_before <= clock < not_after if not_before < not_after else not not_after <= clock < not_before

    def first(wanted: bool) -> datetime:
        if inside(now) == wanted:
            return now
        following = (now.replace(second=0) + MINUTE * number for number in range(1, 4 * 24 * 60))
        return next(moment for moment in following if inside(moment) == wanted)

    one = window(not_before, not_after, zone)
    assert one.is_open(now) == inside(now)
    assert one.opens(now) == first(True)
    assert one.closes(now) == first(False)


def test_the_zone_of_the_moment_that_is_asked_about_does_not_matter() -> None:
    one, moment = window("02:00", "05:00"), utc("2026-11-29 00:30")
    elsewhere = moment.astimezone(timezone(timedelta(hours=-9)))
    assert one.opens(elsewhere) == one.opens(moment)
    assert one.told(one.opens(elsewhere)) == "2026-11-29 02:00 Europe/Berlin"
    assert str(one) == "02:00 to 05:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"not_before": "25:00"}, "window.not_before: '25:00' is no time of day: write HH:MM from 00:00 to 23:59"),
        ({"not_after": "24:00"}, "window.not_after: '24:00' is no time of day: write HH:MM from 00:00 to 23:59, as midnight is"),
        ({"not_after": "1320"}, "YAML reads a time without quotes as a number, 22:00 as 1320"),
        ({"not_before": "2 am"}, "'2 am' is no time of day"),
        ({"not_before": "02:00\n"}, "is no time of day"),
        ({"not_before": "\u0660\u0662:\u0660\u0660"}, "is no time of day"),
        ({"not_before": ""}, "is no time of day"),
        ({"not_before": "05:00"}, "window: not_before and not_after are both 05:00: leave window out"),
        ({"not_before": "5:00"}, "window: not_before and not_after are both 05:00"),
        ({"timezone": "Europe/Berln"}, "window.timezone: there is no time zone 'Europe/Berln'; it is a name of the IANA data "
                                       "base, did you mean Europe/Berlin?"),
        ({"timezone": "Europe"}, "there is no time zone 'Europe'"),
        ({"timezone": "../../etc/passwd"}, "there is no time zone"),
        ({"timezone": "/etc/localtime"}, "there is no time zone"),
        ({"timezone": "a\0b"}, "there is no time zone"),
        ({"timezone": "x" * 300}, "there is no time zone"),
        ({"timezone": "UTC+2"}, "there is no time zone 'UTC+2'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_option(wrong: dict[str, Any], said: str) -> None:
    faults: list[str] = []
    assert read_window({"not_before": "02:00", "not_after": "05:00", "timezone": "UTC", **wrong}, faults) is None
    assert len(faults) == 1
    assert said in faults[0]


def test_all_faults_at_once_and_by_the_name_that_the_option_has() -> None:
    faults = ["another"]
    assert read_window({"not_before": "x", "not_after": "y", "timezone": "z"}, faults, "quiet") is None
    assert [fault.partition(":")[0] for fault in faults] == [
        "another", "quiet.not_before", "quiet.not_after", "quiet.timezone"
    ]  # fmt: skip
    assert read_window(None, faults) is None
    assert len(faults) == 4


def test_a_machine_without_zones_knows_utc_and_says_how_to_get_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    monkeypatch.setattr(zoneinfo, "ZoneInfo", lambda name: (_ for _ in ()).throw(zoneinfo.ZoneInfoNotFoundError(name)))
    faults: list[str] = []
    assert window("02:00", "05:00", "UTC").is_open(utc("2026-11-29 02:00"))
    assert read_window({"not_before": "02:00", "not_after": "05:00", "timezone": "Europe/Berlin"}, faults) is None
    assert "package tzdata, or tzdata with pip" in faults[0]
