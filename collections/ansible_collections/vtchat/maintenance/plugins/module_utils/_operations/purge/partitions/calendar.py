# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Intervals of partitions: told from their bounds, counted on from there. Pure.

Times are microseconds since 1970-01-01 00:00 on a clock without a zone; whoever calls says which clock that is.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
SHORTEST_MONTH = 28 * DAY - HOUR  # where clocks are put forward in it
EPOCH = datetime(1970, 1, 1)
# Microseconds between which Python can do calendar arithmetic: the years 1 to 9999.
FIRST = (datetime(1, 1, 1) - EPOCH) // timedelta(microseconds=1)
LAST = (datetime(9999, 12, 31) - EPOCH) // timedelta(microseconds=1)

_INTERVAL = re.compile(r"^(\d+)\s*(hour|day|week|month|quarter|year)s?$")
_UNITS = {
    "hour": ("micros", HOUR),
    "day": ("days", 1),
    "week": ("days", 7),
    "month": ("months", 1),
    "quarter": ("months", 3),
    "year": ("months", 12),
}
LONGEST = 1200  # months, or the like: a partition of more than a century is a mistake


@dataclass(frozen=True)
class Step:
    """How long a partition is: so many months, or days, or microseconds."""

    months: int = 0
    days: int = 0
    micros: int = 0

    def after(self, start: int, count: int = 1) -> int:
        """``count`` steps after a time. A day that the month does not have becomes its last. Raises OverflowError."""
        if not self.months:
            reached = start + count * (self.days * DAY + self.micros)
            if not FIRST <= reached <= LAST:
                raise OverflowError("beyond the years 1 to 9999")
            return reached
        moment = moment_of(start)
        year, month = divmod(moment.year * 12 + moment.month - 1 + count * self.months, 12)
        if not 1 <= year < 9999:
            raise OverflowError("beyond the years 1 to 9999")
        day = min(moment.day, monthrange(year, month + 1)[1])
        return micros_of(moment.replace(year=year, month=month + 1, day=day))

    def floor(self, moment: int) -> int:
        """The last bound at or before a time, where no partition says where bounds are: months from January on, weeks from
        Monday on, shorter ones from midnight on."""
        if self.months:
            at = moment_of(moment)
            number = (at.year * 12 + at.month - 1) // self.months * self.months
            return micros_of(datetime(max(1, number // 12), number % 12 + 1, 1))
        monday = -3 * DAY  # 29 December 1969
        size = self.days * DAY + self.micros
        return moment - (moment - monday) % size

    def round(self) -> bool:
        """Whether anybody would choose it: no remainder of hours, or a part of one."""
        return self.micros % HOUR == 0 or HOUR % self.micros == 0

    def text(self) -> str:
        """For people."""
        if self.months:
            number, unit = (self.months // 12, "year") if self.months % 12 == 0 else (self.months, "month")
        elif self.days:
            number, unit = (self.days // 7, "week") if self.days % 7 == 0 else (self.days, "day")
        elif self.micros % HOUR == 0:
            number, unit = self.micros // HOUR, "hour"
        else:
            return f"{self.micros / SECOND:g} seconds"
        return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def read_interval(text: str) -> Step | None:
    """The option ``interval``, None where it is none."""
    found = _INTERVAL.match(text.strip().lower())
    if not found or not 1 <= int(found[1]) <= LONGEST:
        return None
    name, size = _UNITS[found[2]]
    return Step(**{name: int(found[1]) * size})


def moment_of(micros: int) -> datetime:
    """As a date and time without zone."""
    return EPOCH + timedelta(microseconds=micros)


def micros_of(moment: datetime) -> int:
    """The other way round."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def tell(ranges: Sequence[tuple[int, int]], whole: bool = True) -> Step | None:
    """The interval of the newest of these ranges, which come in their order; None where it cannot be told.

    The newest two must agree. One alone tells it as well, and so does one beside a wide first one, where its length is round;
    else it may be what is left of several that did not agree. whole: there are no others.
    """
    if not ranges:
        return None
    newest = ranges[-1]
    before = ranges[-2] if len(ranges) > 1 else None
    if before and whole and len(ranges) == 2 and before[1] - before[0] > 2 * (newest[1] - newest[0]):
        before = None
    for step in _candidates(newest):
        try:
            if step.round() if before is None else step.after(before[0]) == before[1]:
                return step
        except OverflowError:
            continue
    return None


def _candidates(one: tuple[int, int]) -> Iterator[Step]:
    """What this range may be, the most natural first."""
    lower, upper = moment_of(one[0]), moment_of(one[1])
    size = one[1] - one[0]
    midnight = one[0] % DAY == 0 and one[1] % DAY == 0
    months = (upper.year - lower.year) * 12 + upper.month - lower.month
    if midnight and months > 0 and lower.day == upper.day:
        yield Step(months=months)
    if midnight and size % DAY == 0:
        yield Step(days=size // DAY)
    if midnight or size < SHORTEST_MONTH or size % HOUR:
        yield Step(micros=size)  # else it may be months by the calendar of another zone, whose lengths differ
