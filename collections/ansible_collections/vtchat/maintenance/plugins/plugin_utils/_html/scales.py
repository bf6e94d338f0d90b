# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Scales of charts: which numbers stand at an axis, and where a value is. Pure.

Ticks are 1, 2 or 5 times a power of ten of the unit of the axis (P. Heckbert, "Nice numbers for graph labels", Graphics Gems,
1990), so that a tick at 5 GiB is 5 times 2**30 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

BYTES, SECONDS = "bytes", "seconds"  # kinds of an axis; anything else is the noun of what is counted
MOST_TICKS = 5
LEAST = 1e-9  # of the unit of an axis; below that all values are one
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in no locale

# (what a unit is worth, its name, from which value on it is taken)
_BYTES = [
    (1024.0**power, name, 1024.0**power) for power, name in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"))
]
_SECONDS = [
    (0.001, "milliseconds", 0.0),
    (1.0, "seconds", 1.0),
    (60.0, "minutes", 120.0),
    (3600.0, "hours", 7200.0),
    (86400.0, "days", 172800.0),
]
_COUNTS = [
    (1.0, "", 0.0),
    (1e3, "thousand ", 1e4),
    (1e6, "million ", 1e6),
    (1e9, "billion ", 1e9),
    (1e12, "trillion ", 1e12),
]


class Tick(NamedTuple):
    """A number at an axis. at: in the unit of the data, or in points on the page once it is drawn."""

    at: float
    label: str


class Axis(NamedTuple):
    """From low to high in the unit of the data; ticks ascend. unit: of the labels."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    unit: str


def axis(values: Iterable[float], kind: str) -> Axis:
    """An axis that has all values and 0."""
    known = [one for one in values if math.isfinite(one)]
    least, most = min([0.0, *known]), max([0.0, *known])
    worth, unit = _unit(max(most, -least), kind)
    span = (most - least) / worth
    span = span if span > LEAST else 1.0
    step = _step(span / (MOST_TICKS - 1))
    if worth == 1.0 and kind != SECONDS:
        step = max(1.0, step)  # there is no half of a row
    first, last = math.floor(least / worth / step), math.ceil(most / worth / step)
    last = max(last, first + 1)
    ticks = tuple(Tick(number * step * worth, _label(number * step)) for number in range(first, last + 1))
    return Axis(ticks[0].at, ticks[-1].at, ticks, unit)


def _unit(most: float, kind: str) -> tuple[float, str]:
    known = {BYTES: _BYTES, SECONDS: _SECONDS}.get(kind, _COUNTS)
    fitting = [one for one in known if most >= one[2]] or known[:1]
    worth, name, _from = fitting[-1]
    return worth, name if kind in (BYTES, SECONDS) else f"{name}{kind}"


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... and of their tenths that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if factor * power >= least * (1 - 1e-9):
            return factor * power
    return 10 * power


def _label(number: float) -> str:
    return f"{number:.12g}" if abs(number) < 1e7 else f"{number:.3g}"


def place(value: float, low: float, high: float, start: float, end: float) -> float:
    """Where a value between low and high is between start and end, which it never leaves."""
    share = 0.5 if high <= low else (value - low) / (high - low)
    return start + min(1.0, max(0.0, share)) * (end - start)


def days(first: date, last: date, most: int = 6) -> list[Tick]:
    """Ticks of an axis of days, at their ordinals: days, Mondays, or the first of months."""
    length = (last - first).days + 1
    for step in (1, 2, 7, 14, 28):
        if length <= most * step:
            start = first if step < 7 else first + timedelta(days=-first.weekday() % 7)
            found = [start + timedelta(days=number * step) for number in range((last - start).days // step + 1)]
            return [Tick(one.toordinal(), day_label(one)) for one in found]
    return _months(first, last, most)


def _months(first: date, last: date, most: int) -> list[Tick]:
    span = 12 * (last.year - first.year) + last.month - first.month + 1
    step = next((one for one in (1, 2, 3, 6, 12, 24, 60, 120) if span <= most * one), 1200)
    ticks = []
    for number in range(12 * first.year, 12 * last.year + 12, step):
        one = date(number // 12, number % 12 + 1, 1)
        if first <= one <= last:
            ticks.append(Tick(one.toordinal(), f"{MONTHS[one.month - 1]} {one.year}"))
    return ticks


def day_label(one: date) -> str:
    """ "5 Oct", whatever the locale."""
    return f"{one.day} {MONTHS[one.month - 1]}"


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most about ``most`` points with the same ends, peaks and dips: of each of equal parts the least and the greatest."""
    if len(points) <= max(most, 4):
        return list(points)
    inner = points[1:-1]
    parts = max(1, (most - 2) // 2)
    kept = [points[0]]
    for number in range(parts):
        part = inner[number * len(inner) // parts : (number + 1) * len(inner) // parts]
        if part:
            kept += sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})
    return [*kept, points[-1]]
