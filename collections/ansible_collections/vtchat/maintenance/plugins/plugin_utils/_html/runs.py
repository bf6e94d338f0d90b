# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the sections about runs show: which days there are, what was done, and how the latest runs went. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from . import drawing, reading, scales
from .bounds import most
from .drawing import Chart, Segment, Timeline
from .words import OUTCOMES, count, duration, listed, size

Row = list[str]
# Of all runs together, newest first. Beyond it, so many of each run that are bad.
MOST_ACTIONS = 150
MOST_RUNS = 50
MOST_OPERATIONS = 50
MOST_OF_A_RUN = 30
MOST_BAD = 5
LATEST = 120  # days in a table; the charts have all
GOOD = ("done", "unchanged", "planned")


@dataclass(frozen=True)
class Span:
    """The days of a report."""

    first: date
    last: date


def span(report: Mapping[str, Any]) -> Span:
    """As the report says, or else as its data are."""
    said = [reading.day(report.get("first_day")), reading.day(report.get("last_day"))]
    work = [reading.day(one.get("day")) for one in reading.entries(report, "work")]
    growth = reading.entries(reading.section(report, "growth"), "database")
    plans = [one for plan in reading.entries(report, "plans") for one in reading.entries(plan, "days")]
    known = [
        *work,
        *(reading.day(one.get("day")) for one in [*growth, *plans]),
        reading.day(report.get("generated_at")),
    ]
    days = sorted(one for one in known if one) or [date(2000, 1, 1)]
    first, last = said[0] or days[0], said[1] or days[-1]
    first, last = min(first, last), max(first, last)
    # A calendar of more than ten years is no calendar: a clock was wrong.
    return Span(max(first, date.fromordinal(max(1, last.toordinal() - 3660))), last)


# Keys of ``work``: title of the chart, what is counted, and the series.
WORK: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Expired rows purged a day", "rows", {"purged": "purged"}),
    ("Materialized views a day", "views", {"refreshed": "refreshed", "kept": "rightly kept, as nothing had changed"}),
    ("Tables analyzed a day", "tables", {"analyzed": "analyzed"}),
    ("Tables vacuumed a day", "tables", {"vacuumed": "vacuumed"}),
    ("Indexes rebuilt a day", "indexes", {"reindexed": "rebuilt"}),
    ("Index bytes won back a day", scales.BYTES, {"reclaimed_bytes": "won back"}),
)


@dataclass(frozen=True)
class Operation:
    """What became of all targets of an operation."""

    name: str
    stack: list[Segment]
    outcomes: str
    rows: str
    reclaimed: str
    time: str


@dataclass(frozen=True)
class Work:
    """charts: those that show something. idle: titles of those that show nothing but zeros. totals: name and value."""

    charts: list[Chart]
    idle: list[str]
    totals: list[tuple[str, str]]
    table: list[Row]
    operations: list[Operation]


def work(report: Mapping[str, Any]) -> Work:
    """What maintenance did."""
    days = span(report)
    each = [(day, one) for one in reading.entries(report, "work") if (day := reading.day(one.get("day")))]
    found = [(day, one) for day, one in each if days.first <= day <= days.last]
    charts, idle = [], []
    for title, kind, keys in WORK:
        series = {name: [(day, reading.number(one, key)) for day, one in found] for key, name in keys.items()}
        values = [value for points in series.values() for _day, value in points if value]
        chart = drawing.bars(title, days.first, days.last, kind, series) if values else None
        if chart:
            charts.append(chart)
        else:
            idle.append(title)
    sums = {key: sum(reading.number(one, key) or 0 for _day, one in found) for key in _WORK_KEYS}
    totals = [
        ("rows purged", count(sums["purged"])),
        ("views refreshed", count(sums["refreshed"])),
        ("views rightly kept", count(sums["kept"])),
        ("tables analyzed", count(sums["analyzed"])),
        ("tables vacuumed", count(sums["vacuumed"])),
        ("indexes rebuilt", count(sums["reindexed"])),
        ("won back", size(sums["reclaimed_bytes"])),
    ]
    return Work(
        charts, idle, totals if found else [], [_work_row(day, one) for day, one in found[-LATEST:]],
        [_operation(one) for one in reading.entries(report, "operations")[:MOST_OPERATIONS]],
    )  # fmt: skip


_WORK_KEYS = ("purged", "refreshed", "kept", "analyzed", "vacuumed", "reindexed", "reclaimed_bytes")


def _work_row(day: date, one: Mapping[str, Any]) -> Row:
    numbers = [count(reading.number(one, key)) for key in _WORK_KEYS[:-1]]
    return [str(day), *numbers, size(reading.number(one, "reclaimed_bytes"))]


def _operation(one: Mapping[str, Any]) -> Operation:
    outcomes = reading.counts(one, "outcomes")
    return Operation(
        reading.text(one, "operation", "an operation"),
        drawing.stack(outcomes, OUTCOMES),
        listed(outcomes) or "nothing",
        count(reading.number(one, "rows")),
        size(reading.number(one, "reclaimed_bytes")),
        duration(reading.number(one, "seconds")),
    )


@dataclass(frozen=True)
class Action:
    """One action of a run."""

    number: int
    operation: str
    target: str
    outcome: str
    start: str
    time: str
    rows: str


@dataclass(frozen=True)
class Run:
    """A run. more: what its totals have beyond the actions that are shown."""

    ident: str
    plan: str
    status: str
    started: str
    time: str
    message: str
    facts: list[tuple[str, str]]
    actions: list[Action]
    more: str
    timeline: Timeline | None


def runs(report: Mapping[str, Any], room: float = 1.0) -> list[Run]:
    """The latest, newest first."""
    left = most(MOST_ACTIONS, room)
    found = []
    for one in reading.entries(report, "runs")[: most(MOST_RUNS, room)]:
        shown = _kept(reading.entries(one, "actions"), left)
        left -= len(shown)
        found.append(_run(one, shown))
    return found


def _kept(actions: Sequence[Mapping[str, Any]], left: int) -> list[Mapping[str, Any]]:
    """Bad ones in any case; of the others the longest, as many as there is room for. In their order."""
    bad = [one for one in actions if reading.text(one, "outcome") not in GOOD]
    bad = bad[: min(MOST_OF_A_RUN, max(MOST_BAD, left))]
    room = max(0, min(MOST_OF_A_RUN, left) - len(bad))
    good = [one for one in actions if reading.text(one, "outcome") in GOOD]
    longest = sorted(good, key=lambda one: -(reading.number(one, "seconds") or 0))[:room]
    chosen = {id(one) for one in [*bad, *longest]}
    return [one for one in actions if id(one) in chosen]


def _run(one: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> Run:
    seconds = reading.number(one, "seconds")
    timed = [
        (reading.text(action, "outcome"), reading.number(action, "offset"), reading.number(action, "seconds"))
        for action in shown
    ]
    drawn = (
        drawing.timeline(timed, seconds) if any(offset is not None for _outcome, offset, _seconds in timed) else None
    )
    plan = reading.text(one, "plan", "a plan")
    return Run(
        reading.text(one, "run_id"),
        plan,
        reading.text(one, "status"),
        reading.text(one, "started"),
        duration(seconds),
        reading.text(one, "message").removeprefix(f"{plan}: "),
        _run_facts(one),
        [_action(number, action) for number, action in enumerate(shown, start=1)],
        _more(one, shown),
        drawn,
    )


def _run_facts(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    budget = reading.number(one, "budget")
    known = {
        "Run": reading.text(one, "run_id"),
        "by": reading.text(one, "role"),
        "from": reading.text(one, "host"),
        "budget": duration(budget) if budget is not None else "",
        "collection": reading.text(one, "collection"),
        "PostgreSQL": reading.text(one, "server_version"),
    }
    return [(name, value) for name, value in known.items() if value]


def _more(one: Mapping[str, Any], shown: Iterable[Mapping[str, Any]]) -> str:
    """ "12 unchanged, 3 done" """
    left = dict(reading.counts(one, "totals"))
    for action in shown:
        outcome = reading.text(action, "outcome")
        left[outcome] = left.get(outcome, 0) - 1
    return listed({outcome: number for outcome, number in left.items() if number > 0})


def _action(number: int, one: Mapping[str, Any]) -> Action:
    rows = reading.number(one, "rows")
    return Action(
        number,
        reading.text(one, "operation"),
        reading.text(one, "target"),
        reading.text(one, "outcome"),
        duration(reading.number(one, "offset")),
        duration(reading.number(one, "seconds")),
        "" if rows is None else count(rows),
    )
