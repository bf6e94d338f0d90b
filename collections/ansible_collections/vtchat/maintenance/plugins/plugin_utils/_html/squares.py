# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A calendar of runs: a square a day, weeks from left to right, with the worst that happened that day. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from .scales import MONTHS, Tick
from .words import STATUSES, listed

# The worst first: one failed run of many makes the day failed. The words of a status that nobody knows count as the last.
BADNESS = ("failed", "abandoned", "partial", "running", "ok", "skipped")
SQUARE = 19.0  # with the gap to the next
SIDE = 16.0
LEFT, TOP = 34.0, 18.0


class Square(NamedTuple):
    """A day. status: the worst; about: what happened, "" where the colour says all."""

    x: float
    y: float
    status: str
    about: str


@dataclass(frozen=True)
class Calendar:
    """Squares in the order of days; those without a run have the status ""."""

    title: str
    about: str
    width: float
    height: float
    months: list[Tick]
    squares: list[Square]


def worst(statuses: Mapping[str, int]) -> str:
    """The worst status of a day, "" without any."""
    return next((one for one in BADNESS if statuses.get(one, 0) > 0), next(iter(statuses), ""))


def calendar(title: str, first: date, last: date, days: Mapping[date, Mapping[str, int]]) -> Calendar:
    """The days from first to last; what lies outside of them is left out."""
    monday = first - timedelta(days=first.weekday())
    squares, months = [], []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        column, row = divmod((day - monday).days, 7)
        x, y = LEFT + column * SQUARE, TOP + row * SQUARE
        found = days.get(day, {})
        status = worst(found)
        # Runs that are as they should be are left to the table: the page would be twice as large.
        about = "" if status in ("", "ok") else f"{day}: {listed(dict(found))}"
        squares.append(Square(x, y, status, about))
        if day.day == 1 or (number == 0 and day.day < 15):
            months.append(Tick(x, MONTHS[day.month - 1]))
    width = squares[-1].x + SQUARE
    return Calendar(title, _about(squares), width, TOP + 7 * SQUARE, months, squares)


def _about(squares: list[Square]) -> str:
    """ "90 days: 80 ok, 2 failed, 8 without a run." """
    found: dict[str, int] = {}
    for one in squares:
        found[one.status] = found.get(one.status, 0) + 1
    empty = found.pop("", 0)
    known = {status: found[status] for status in (*STATUSES, *found) if status in found}
    parts = [listed(known)] if known else []
    parts += [f"{empty} without a run"] if empty else []
    return f"{len(squares)} days, each by its worst run: {', '.join(parts)}."
