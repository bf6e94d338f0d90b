# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The geometry of charts: everything in points of the drawing, ready for the macros in templates/charts.html.j2. Pure.

A drawing is as wide as a telephone, so that its letters keep their size; wider pages show several beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Optional

from . import scales
from .scales import Tick, place
from .words import count, duration, size

MOST_POINTS = 200  # of a line; more are thinned
SPARK_POINTS = 24


class Box(NamedTuple):
    """Where the data are drawn."""

    left: int
    top: int
    right: int
    bottom: int


CHART = Box(44, 24, 356, 142)  # of a drawing of 360 x 168
SPARK = Box(2, 3, 78, 19)  # of 80 x 22

FIRST, SECOND_LINE, SECOND_BARS = "#1f66c7", "#b8560b", "#8fb0d1"

Day = date
Points = Sequence[tuple[Day, Optional[float]]]


@dataclass(frozen=True)
class Drawn:
    """One series. path: its line or its bars. dots: its single points. tone: a class of the style."""

    name: str
    tone: str
    path: str
    dots: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart over days. limit: (height, text) of a line that the data are compared with; beyond: what does not fit in."""

    title: str
    about: str
    unit: str
    ticks: list[Tick]
    days: list[Tick]
    drawn: list[Drawn]
    bars: bool = False
    limit: tuple[float, str] | None = None
    beyond: str = ""
    box: Box = CHART

    def colour(self, one: Drawn) -> str:
        """That of a series where there is no style."""
        return FIRST if one.tone == "s1" else SECOND_BARS if self.bars else SECOND_LINE


@dataclass(frozen=True)
class Spark:
    """A line as high as a word. end: its last point."""

    title: str
    about: str
    path: str
    end: tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """A part of a bar of 0 to 100."""

    word: str
    start: float
    width: float


@dataclass(frozen=True)
class Lane:
    """The place of an action."""

    number: int
    top: int


@dataclass(frozen=True)
class Timeline:
    """A run from its start on. paths: of the bars, by outcome."""

    about: str
    height: int
    unit: str
    ticks: list[Tick]
    lanes: list[Lane]
    paths: list[tuple[str, str]]


def told(value: float | None, kind: str) -> str:
    """A value of an axis in words."""
    if kind == scales.BYTES:
        return size(value)
    return duration(value) if kind == scales.SECONDS else count(value, kind, kind)


def _known(points: Points, first: Day = Day.min, last: Day = Day.max) -> list[tuple[Day, float]]:
    """What is known of the days from first to last. What lies outside, by a clock that was wrong, is on no day that is drawn."""
    return sorted((day, value) for day, value in points if value is not None and first <= day <= last)


def _about(name: str, known: Sequence[tuple[Day, float]], kind: str) -> str:
    """ "median 1 s on 2026-08-28, 2 s on 2026-11-25, at most 3 s on 2026-10-01" """
    if not known:
        return f"{name}: nothing is known"
    first, last, most = known[0], known[-1], max(known, key=lambda one: one[1])
    if len(known) == 1:
        return f"{name} {told(first[1], kind)} on {first[0]}"
    return (
        f"{name} {told(first[1], kind)} on {first[0]}, {told(last[1], kind)} on {last[0]},"
        f" at most {told(most[1], kind)} on {most[0]}"
    )


def lines(
    title: str,
    first: Day,
    last: Day,
    kind: str,
    series: Mapping[str, Points],
    *,
    limit: float | None = None,
    limit_name: str = "",
) -> Chart | None:
    """Lines over days; None where no value is known. A limit that would press them flat is told instead of drawn."""
    known = {name: _known(points, first, last) for name, points in series.items()}
    values = [value for points in known.values() for _day, value in points]
    if not values:
        return None
    fits = limit is not None and limit <= 4 * max(values)
    scale = scales.axis([*values, *([limit] if fits and limit is not None else [])], kind)
    drawn = []
    for number, (name, points) in enumerate(known.items(), start=1):
        path, dots = _line([(_x(day, first, last), _y(value, scale)) for day, value in points])
        drawn.append(Drawn(name, f"s{number}", path, dots))
    about = "; ".join(_about(name, points, kind) for name, points in known.items())
    said = "" if limit is None else f"{limit_name} {told(limit, kind)}"
    return Chart(
        title,
        about + (f"; {said}" if said else "") + ".",
        scale.unit,
        _ticks(scale),
        _days(first, last),
        drawn,
        limit=(_y(limit, scale), said) if fits and limit is not None else None,
        beyond=said if said and not fits else "",
    )


def _x(day: Day, first: Day, last: Day) -> float:
    return round(place(day.toordinal(), first.toordinal(), last.toordinal(), CHART.left, CHART.right), 1)


def _y(value: float, scale: scales.Axis, box: Box = CHART) -> float:
    return round(place(value, scale.low, scale.high, box.bottom, box.top), 1)


def _ticks(scale: scales.Axis) -> list[Tick]:
    return [Tick(_y(tick.at, scale), tick.label) for tick in scale.ticks]


def _days(first: Day, last: Day) -> list[Tick]:
    return [
        Tick(round(place(tick.at, first.toordinal(), last.toordinal(), CHART.left, CHART.right), 1), tick.label)
        for tick in scales.days(first, last)
    ]


def _line(points: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """The path of a line, and that of its dots, which few points get so that one is seen as one."""
    kept = scales.thin(points, MOST_POINTS)
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in kept) if len(kept) > 1 else ""
    dots = "".join(f"M{x:g} {y:g}h0" for x, y in kept) if len(kept) <= 31 else ""
    return path, dots


def bars(title: str, first: Day, last: Day, kind: str, series: Mapping[str, Points]) -> Chart | None:
    """Bars over days, the series on top of each other; None where no value is known."""
    known = {name: _known(points, first, last) for name, points in series.items()}
    sums: dict[Day, float] = {}
    for points in known.values():
        for day, value in points:
            sums[day] = sums.get(day, 0.0) + max(0.0, value)
    if not sums:
        return None
    scale = scales.axis(sums.values(), kind)
    base: dict[Day, float] = {}
    drawn = []
    for number, (name, points) in enumerate(known.items(), start=1):
        path = "".join(_bar(day, value, base, first, last, scale) for day, value in points if value > 0)
        drawn.append(Drawn(name, f"s{number}", path))
    return Chart(title, _sums(known, kind) + ".", scale.unit, _ticks(scale), _bar_days(first, last), drawn, bars=True)


def _sums(known: Mapping[str, Sequence[tuple[Day, float]]], kind: str) -> str:
    said = []
    for name, points in known.items():
        total = told(sum(value for _day, value in points), kind)
        most = max(points, key=lambda one: one[1], default=None)
        peak = f", at most {told(most[1], kind)} on {most[0]}" if most and most[1] else ""
        said.append(f"{name}: {total} altogether{peak}")
    return "; ".join(said)


def _band(first: Day, last: Day) -> float:
    """How wide the place of a day is."""
    return (CHART.right - CHART.left) / max(1, (last - first).days + 1)


def _bar_days(first: Day, last: Day) -> list[Tick]:
    band = _band(first, last)
    begin, end = CHART.left + band / 2, CHART.right - band / 2
    return [
        Tick(round(place(tick.at, first.toordinal(), last.toordinal(), begin, end), 1), tick.label)
        for tick in scales.days(first, last)
    ]


def _bar(day: Day, value: float, base: dict[Day, float], first: Day, last: Day, scale: scales.Axis) -> str:
    """The rectangle of a day, at least a point high, on what stands there already."""
    band = _band(first, last)
    width = max(0.6, min(24.0, band * 0.8))
    left = CHART.left + (day - first).days * band + (band - width) / 2
    below = base.get(day, 0.0)
    base[day] = below + value
    bottom, top = _y(below, scale), _y(below + value, scale)
    top = max(CHART.top, min(top, bottom - 1))
    return f"M{left:.1f} {bottom:g}h{width:.1f}V{top:g}h-{width:.1f}z"


def spark(title: str, points: Points) -> Spark | None:
    """The shape of a growth; changes of less than a twentieth stay small. None where nothing is known."""
    known = _known(points)
    if not known:
        return None
    values = [value for _day, value in known]
    low, high = min(values), max(values)
    room = max(0.0, 0.05 * abs(high) - (high - low)) / 2
    first, last = known[0][0].toordinal(), known[-1][0].toordinal()
    drawn = [
        (
            round(place(day.toordinal(), first, last, SPARK.left, SPARK.right), 1),
            round(place(value, low - room, high + room, SPARK.bottom, SPARK.top), 1),
        )
        for day, value in known
    ]
    kept = scales.thin(drawn, SPARK_POINTS)
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in kept) + ("h0" if len(kept) == 1 else "")
    return Spark(title, _about("size", known, scales.BYTES) + ".", path, kept[-1])


def stack(found: Mapping[str, int], order: Iterable[str]) -> list[Segment]:
    """Shares of one bar of 0 to 100, in order. What occurs at all is seen."""
    known = {name: found[name] for name in [*order, *found] if found.get(name, 0) > 0}
    least = 2.0
    total = sum(known.values())
    widths = {name: max(least, 100 * times / total) for name, times in known.items()}
    excess = sum(widths.values()) - 100
    room = sum(width - least for width in widths.values())
    segments, start = [], 0.0
    for name, width in widths.items():
        wide = width - (width - least) * excess / room if room > 0 else 100 / len(widths)
        segments.append(Segment(name, round(start, 2), round(wide, 2)))
        start += wide
    return segments


LANES = Box(22, 4, 352, 0)  # of a drawing that is 360 wide
LANE = 12


# There is little room beside the last tick.
SHORT = {"milliseconds": "ms", "seconds": "s", "minutes": "min", "hours": "h", "days": "d"}


def timeline(actions: Sequence[tuple[str, float | None, float | None]], seconds: float | None) -> Timeline:
    """When the actions of a run took place. actions: outcome, seconds from the start of the run, seconds; in their order."""
    known = [(max(0.0, offset or 0.0), max(0.0, lasted or 0.0)) for _outcome, offset, lasted in actions]
    whole = max([seconds or 0.0, *(offset + lasted for offset, lasted in known)], default=0.0)
    scale = scales.axis([whole], scales.SECONDS)
    paths: dict[str, str] = {}
    for number, ((outcome, _offset, _lasted), (offset, lasted)) in enumerate(zip(actions, known)):
        start = min(place(offset, 0.0, scale.high, LANES.left, LANES.right), LANES.right - 2)
        width = max(2.0, place(offset + lasted, 0.0, scale.high, LANES.left, LANES.right) - start)
        bar = f"M{start:.1f} {LANES.top + number * LANE + 1:g}h{width:.1f}v8h-{width:.1f}z"
        paths[outcome] = paths.get(outcome, "") + bar
    lanes = [Lane(number + 1, LANES.top + number * LANE) for number in range(len(actions))]
    ticks = [Tick(round(place(tick.at, 0, scale.high, LANES.left, LANES.right), 1), tick.label) for tick in scale.ticks]
    about = f"{count(len(actions), 'action')} in {duration(seconds)}; the numbers are those of the table below."
    return Timeline(about, LANES.top + LANE * len(actions), SHORT[scale.unit], ticks, lanes, list(paths.items()))
