# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""When a plan is to run: so often (``every: 1h``), or at moments of the week (``at: "Sun 02:00 UTC"``). Pure.

A moment of the week is the first at which the clock on the wall of its zone has come to that time on that day. So a time that
is left out when the clock is put forward means the moment at which that is done, and one that comes twice means the first.

Moments come back in UTC: Python counts between two times of one zone as if its clock were never changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Union

from ._window import read_time, read_zone

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=90)  # the history keeps no run for longer
# A trigger comes now and then a little early, by the clock or by its own jitter. So much of the interval may be missing.
TOLERANCE, TOLERANCE_SHARE = timedelta(minutes=10), 6

_EVERY = re.compile(r"([1-9][0-9]{0,8})([mhdw])", re.ASCII)
_AT = re.compile(r"(?:([A-Za-z]+(?:, ?[A-Za-z]+)*) )?([0-9]{1,2}:[0-9]{2})(?: (\S+))?", re.ASCII)
_MINUTE, _WEEK = timedelta(minutes=1), timedelta(weeks=1)
_SHOWN = "%Y-%m-%d %H:%M"


@dataclass(frozen=True)
class Every:
    """So often. interval: from the start of one run to that of the next."""

    interval: timedelta
    text: str

    @property
    def tolerance(self) -> timedelta:
        """How much may be missing of the interval when the next run comes."""
        return min(TOLERANCE, self.interval / TOLERANCE_SHARE)

    def told(self, moment: datetime) -> str:
        """A moment for people: ``2026-11-29 02:00 UTC``."""
        return f"{moment.astimezone(timezone.utc):{_SHOWN}} UTC"

    def __str__(self) -> str:
        return f"every: {self.text}"

    def as_dict(self) -> dict[str, str]:
        """As the user wrote it."""
        return {"every": self.text}


@dataclass(frozen=True)
class At:
    """At a time of some days of the week (Monday is 0)."""

    days: frozenset[int]
    time: time
    zone: tzinfo
    timezone: str
    text: str

    def previous(self, now: datetime) -> datetime:
        """The last such moment that has come by ``now``."""
        return max(moment for moment in self._around(now) if moment <= now)

    def following(self, now: datetime) -> datetime:
        """The first such moment after ``now``."""
        return min(moment for moment in self._around(now) if moment > now)

    def told(self, moment: datetime) -> str:
        """A moment for people: ``2026-11-29 02:00 Europe/Berlin``."""
        return f"{moment.astimezone(self.zone):{_SHOWN}} {self.timezone}"

    def __str__(self) -> str:
        return f"at: {self.text}"

    def as_dict(self) -> dict[str, str]:
        """As the user wrote it."""
        return {"at": self.text}

    def _around(self, now: datetime) -> list[datetime]:
        """More than a week to both sides: a clock may be put forward over a whole day, or back over midnight."""
        today = now.astimezone(self.zone).date()
        days = (today + timedelta(days=number) for number in range(-9, 10))
        return [self._moment(day) for day in days if day.weekday() in self.days]

    def _moment(self, day: date) -> datetime:
        wanted = datetime.combine(day, self.time)
        moment = wanted.replace(tzinfo=self.zone).astimezone(timezone.utc)
        # A time that is left out has been taken for one after the clock was put forward.
        while (moment - _MINUTE).astimezone(self.zone).replace(tzinfo=None) >= wanted:
            moment -= _MINUTE
        return moment


Schedule = Union[Every, At]


def read_schedule(given: Mapping[str, Any], faults: list[str], where: str = "") -> Schedule | None:
    """What ``every`` or ``at`` of a plan says; None without either. What is wrong is added to ``faults``, after ``where``."""
    every, at = given.get("every"), given.get("at")
    if every is not None and at is not None:
        faults.append(f"{where}every and {where}at: only one of both says when the plan is due: leave one out")
        return None
    if every is not None:
        return _read_every(every, faults, f"{where}every")
    return None if at is None else _read_at(at, faults, f"{where}at")


def longest_pause(schedule: Schedule, now: datetime) -> timedelta:
    """The longest time from one run to the next within the next week."""
    if isinstance(schedule, Every):
        return schedule.interval
    moments = [schedule.following(now)]
    while moments[-1] <= now + _WEEK:
        moments.append(schedule.following(moments[-1]))
    return max(later - earlier for earlier, later in zip(moments, moments[1:]))


def _read_every(given: object, faults: list[str], option: str) -> Every | None:
    text = given.strip() if isinstance(given, str) else str(given)
    found = _EVERY.fullmatch(text)
    if not found:
        bare = ". A number alone has no unit" if text.isdigit() else ""
        faults.append(
            f"{option}: {text!r} is no interval: write a whole number and its unit, such as 30m, 1h, 7d or 2w{bare}"
        )
        return None
    interval = min(LONGEST + _MINUTE, int(found[1]) * UNITS[found[2]]) if len(found[1]) < 7 else LONGEST + _MINUTE
    if interval > LONGEST:
        faults.append(f"{option}: {text} is more than 90d, for which the history keeps runs: write 90d or less")
        return None
    return Every(interval, text)


def _read_at(given: object, faults: list[str], option: str) -> At | None:
    found = _AT.fullmatch(given.strip()) if isinstance(given, str) else None
    if not found:
        hint = (
            "; YAML reads a time without quotes as a number" if isinstance(given, int) or str(given).isdigit() else ""
        )
        faults.append(f'{option}: {str(given)!r} is no moment of the week: write "Sun 02:00", "Mon,Thu 02:00 Europe/Berlin", '
                      f'or "02:00" for each day{hint}')  # fmt: skip
        return None
    before = len(faults)
    days = _read_days(found[1], faults, option)
    at, name = read_time(found[2], faults, option), found[3] or "UTC"
    zone = read_zone(name, faults, option)
    if len(faults) > before or at is None or zone is None:
        return None
    return At(days, at, zone, name, found[0])


def _read_days(text: str | None, faults: list[str], option: str) -> frozenset[int]:
    """The days by their numbers; all of them where none is named."""
    if text is None:
        return frozenset(range(len(DAYS)))
    names = [name.strip() for name in text.split(",")]
    faults += [
        f"{option}: there is no day {name}; there are {', '.join(DAYS)}" for name in names if name.title() not in DAYS
    ]
    return frozenset(DAYS.index(name.title()) for name in names if name.title() in DAYS)
