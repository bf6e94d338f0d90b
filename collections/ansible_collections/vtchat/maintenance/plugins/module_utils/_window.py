# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Hours of the day in which something may happen, by the clock on the wall of a named time zone.

A window is open exactly while that clock reads a time from its beginning on and before its end; over midnight where the end
is the smaller of the two. So one that begins at a time which is left out when the clock is put forward opens when that has
been done, and one whose end comes twice in a night closes at the first, and opens again when the clock is put back.

Moments come back in UTC: Python counts between two times of one zone as if its clock were never changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from typing import Any

# The option of that form, in Ansible's own words.
OPTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        "not_before": {"type": "str", "required": True},
        "not_after": {"type": "str", "required": True},
        "timezone": {"type": "str", "default": "UTC"},
    },
}

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_MINUTE = timedelta(minutes=1)
# Every window opens and closes within a day, and the longest jump of a clock was a whole day (over the date line).
_FARTHEST = 3 * 24 * 60


@dataclass(frozen=True)
class Window:
    """A window of each day. not_before: the first minute in it; not_after: the first one behind it. They differ."""

    not_before: time
    not_after: time
    zone: tzinfo
    timezone: str

    def is_open(self, now: datetime) -> bool:
        """Whether it is open at a moment that has a zone of its own."""
        clock = now.astimezone(self.zone).time()
        if self.not_before < self.not_after:
            return self.not_before <= clock < self.not_after
        return clock >= self.not_before or clock < self.not_after

    def opens(self, now: datetime) -> datetime:
        """The first moment from ``now`` on at which it is open."""
        return self._first(now, is_open=True)

    def closes(self, now: datetime) -> datetime:
        """The first moment from ``now`` on at which it is not open."""
        return self._first(now, is_open=False)

    def _first(self, now: datetime, is_open: bool) -> datetime:
        """Clocks are put back and forward by whole minutes, at a whole minute: no other moment has to be looked at."""
        moment = now.astimezone(timezone.utc)
        if self.is_open(moment) == is_open:
            return moment
        moment = moment.replace(second=0, microsecond=0)
        for _minute in range(_FARTHEST):
            moment += _MINUTE
            if self.is_open(moment) == is_open:
                return moment
        raise AssertionError("every day has minutes inside of a window and outside of it")

    def told(self, moment: datetime) -> str:
        """A moment for people: ``2026-11-29 02:00 Europe/Berlin``."""
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M} {self.timezone}"

    def __str__(self) -> str:
        return f"{self.not_before:%H:%M} to {self.not_after:%H:%M} {self.timezone}"


def read_window(given: Mapping[str, Any] | None, faults: list[str], option: str = "window") -> Window | None:
    """The window that an option of the form OPTION means; None without one. What is wrong with it is added to ``faults``."""
    if not given:
        return None
    before = len(faults)
    not_before = read_time(given.get("not_before") or "", faults, f"{option}.not_before")
    not_after = read_time(given.get("not_after") or "", faults, f"{option}.not_after")
    name = given.get("timezone") or "UTC"
    zone = read_zone(name, faults, f"{option}.timezone")
    if not_before and not_before == not_after:
        faults.append(
            f"{option}: not_before and not_after are both {not_before:%H:%M}: leave {option} out if any time will do"
        )
    if len(faults) > before or not_before is None or not_after is None or zone is None:
        return None
    return Window(not_before, not_after, zone, name)


def read_time(text: str, faults: list[str], option: str) -> time | None:
    """A time of day. What is wrong with it is added to ``faults``."""
    found = _TIME.fullmatch(text)
    if found:
        return time(int(found[1]), int(found[2]))
    hint = ", as midnight is" if text == "24:00" else ""
    if text.isdigit():
        hint = '; YAML reads a time without quotes as a number, 22:00 as 1320: write "22:00"'
    faults.append(f"{option}: {text!r} is no time of day: write HH:MM from 00:00 to 23:59{hint}")
    return None


def read_zone(name: str, faults: list[str], option: str) -> tzinfo | None:
    """A zone by its name; what is wrong with it is added to ``faults``. UTC needs no data of the machine."""
    if name == "UTC":
        return timezone.utc
    import zoneinfo  # loaded for windows only

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(f"{option}: {_unknown(name, zoneinfo.available_timezones())}")
    return None


def _unknown(name: str, known: set[str]) -> str:
    """What to say of a zone that there is not."""
    if not known:
        return (
            f"where this runs, there are no time zones but UTC: install the operating system's package tzdata, or tzdata "
            f"with pip, to use {name}"
        )
    import difflib

    near = difflib.get_close_matches(name, known, 1, 0.6)
    meant = f", did you mean {near[0]}?" if near else ", such as Europe/Berlin"
    return f"there is no time zone {name!r}; it is a name of the IANA data base{meant}"
