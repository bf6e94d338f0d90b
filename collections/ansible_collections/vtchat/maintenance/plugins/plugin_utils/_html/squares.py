# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A calendar of runs: a square a day, weeks from left to right, with the worst that happened that day. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from typing import NamedTuple

from .scales import MONTHS, Tick
from .words import STATUSES, count, listed

# The worst first: one failed run of many makes the day failed. The words of a status that nobody knows count as the last.
BADNESS = ("failed", "abandoned", "missed", "partial", "running", "ok", "skipped")
SQUARE = 19.0  # with the gap to the next
SIDE = 16.0
LEFT, TOP = 34.0, 18.0


class Day(NamedTuple):
    """Runs of a day by status, "missed" for those that did not come. expected: how many should have come, None: nobody knows."""

    statuses: Mapping[str, int]
    expected: int | None = None

    @property
    def said(self) -> str:
        """ "21 ok, 3 of 24 missed" """
        came = {status: times for status, times in self.statuses.items() if status != "missed"}
        missed = self.statuses.get("missed", 0)
        lost = f"{count(missed)} of {count(max(missed, self.expected or 0))} missed" if missed else ""
        return ", ".join(part for part in (listed(came), lost) if part)


class Square(NamedTuple):
    """A day. status: the worst; about: what happened, "" where the colour says all. came: share of the runs that came."""

    x: float
    y: float
    status: str
    about: str
    came: float = 1.0


class Group(NamedTuple):
    """Squares of one status as paths: their faces, and what is drawn upon them. part: a class of the style."""

    status: str
    about: str
    face: str
    part: str
    upon: str


@dataclass(frozen=True)
class Calendar:
    """Squares in the order of days; those without a run have the status ""."""

    title: str
    about: str
    width: float
    height: float
    months: list[Tick]
    squares: list[Square]

    @property
    def groups(self) -> list[Group]:
        """The same as paths."""
        return groups(self.squares)


def worst(statuses: Mapping[str, int]) -> str:
    """The worst status of a day, "" without any."""
    return next((one for one in BADNESS if statuses.get(one, 0) > 0), next(iter(statuses), ""))


def calendar(title: str, first: date, last: date, days: Mapping[date, Day], most: int = 100) -> Calendar:
    """The days from first to last; what lies outside of them is left out. most: squares that say what happened, the latest."""
    monday = first - timedelta(days=first.weekday())
    bad = (day for day in sorted(days, reverse=True) if worst(days[day].statuses) not in ("", "ok"))
    told = set(islice(bad, max(0, most)))
    squares, months = [], []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        column, row = divmod((day - monday).days, 7)
        x, y = LEFT + column * SQUARE, TOP + row * SQUARE
        found = days.get(day, Day({}))
        missed, expected = found.statuses.get("missed", 0), found.expected or 0
        # Runs that are as they should be are left to the table: the page would be twice as large.
        about = f"{day}: {found.said}" if day in told else ""
        came = max(0.0, 1 - missed / max(missed, expected)) if missed else 1.0
        squares.append(Square(x, y, worst(found.statuses), about, came))
        if day.day == 1 or (number == 0 and day.day < 15):
            months.append(Tick(x, MONTHS[day.month - 1]))
    width = squares[-1].x + SQUARE
    return Calendar(title, _about(squares), width, TOP + 7 * SQUARE, months, squares)


# What is drawn upon a face: its class, and a path from the upper left corner on.
_PARTS = {
    "": ("", ""), "ok": ("", ""), "failed": ("mark", "m4 4l8 8m0 -8l-8 8"), "abandoned": ("mark", "m3 13l10 -10"),
    "partial": ("half", "v16h16z"), "running": ("mark", "m3 8h2m3 0h0m2 0h2"),
}  # fmt: skip
_OTHER = ("mark", "m4 8h8")


def groups(squares: Sequence[Square]) -> list[Group]:
    """Squares that say something by themselves, all others together by status."""
    alone = [[one] for one in squares if one.about]
    rest: dict[str, list[Square]] = {}
    for one in squares:
        if not one.about:
            rest.setdefault(one.status, []).append(one)
    return [_group(some) for some in [*rest.values(), *alone]]


def _group(some: Sequence[Square]) -> Group:
    status = some[0].status
    part, upon = ("came", "") if status == "missed" else _PARTS.get(status, _OTHER)
    corners = [f"M{one.x:g} {one.y:g}" for one in some]
    face = "".join(f"{corner}h16v16h-16z" for corner in corners)
    if status == "missed":
        upon = "".join(_came(one) for one in some)
    elif upon:
        upon = "".join(f"{corner}{upon}" for corner in corners)
    return Group(status, some[0].about, face, part, upon)


def _came(one: Square) -> str:
    """The lower part of a square, as high as the share of runs that came; seen where any came."""
    high = round(max(2.0, SIDE * one.came)) if one.came > 0 else 0
    return f"M{one.x:g} {one.y + SIDE - high:g}h16v{high}h-16z" if high else ""


def legend(status: str) -> Group:
    """A square that stands for its status."""
    return _group([Square(0, 0, status, "", 0.5)])


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
