# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the section about plans shows: when each of them ran, whether that was when it should, and how long it took. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from . import drawing, reading, scales, squares
from .bounds import most
from .drawing import Chart
from .runs import Row, Span, span
from .squares import Calendar, Day, Group
from .verdict import success, troubles, worst_plans_first
from .words import STATUSES, count, duration, listed, percent

MOST_PLANS = 12  # with a calendar; others are a row each
MOST_ROWS = 200
# Days of all plans together in tables; of further plans only the latest on which something was not ok.
MOST_DAYS = 200
MOST_TITLED = 200  # squares of all plans together that say what happened


@dataclass(frozen=True)
class Plan:
    """A plan. facts: name and value. success: a sentence, "" where no run has ended. troubles: what is wrong with it.

    table   days; partly: only those on which something was not ok
    """

    name: str
    schedule: str
    troubles: list[str]
    facts: list[tuple[str, str]]
    success: str
    last_status: str
    calendar: Calendar
    legend: list[tuple[str, Group]]
    chart: Chart | None
    table: list[Row]
    partly: bool


@dataclass(frozen=True)
class Brief:
    """A plan in a row."""

    name: str
    schedule: str
    troubles: list[str]
    last_status: str
    last: str
    last_good: str
    runs: str


@dataclass(frozen=True)
class Plans:
    """The worst in full, others in a row each. more: how many besides."""

    full: list[Plan]
    brief: list[Brief]
    more: int


def plans(report: Mapping[str, Any], room: float = 1.0) -> Plans:
    """Those with troubles first."""
    days = span(report)
    days_left, titles_left = most(MOST_DAYS, room), most(MOST_TITLED, room)
    ordered = worst_plans_first(reading.entries(report, "plans"))
    shown = most(MOST_PLANS, room)
    full = []
    for plan in ordered[:shown]:
        full.append(_plan(plan, days, days_left, titles_left))
        days_left = max(0, days_left - len(full[-1].table))
        titles_left -= sum(1 for one in full[-1].calendar.squares if one.about)
    others = ordered[shown:]
    rows = most(MOST_ROWS, room)
    return Plans(full, [_brief(plan) for plan in others[:rows]], len(others[rows:]))


def _plan(plan: Mapping[str, Any], days: Span, most_days: int, most_titled: int) -> Plan:
    name = reading.text(plan, "name", "a plan")
    each = {day: one for one in reading.entries(plan, "days") if (day := reading.day(one.get("day")))}
    inside = {day: one for day, one in sorted(each.items()) if days.first <= day <= days.last}
    found = {day: _day(one) for day, one in inside.items()}
    chart = drawing.lines(
        f"Duration of {name}",
        days.first,
        days.last,
        scales.SECONDS,
        _durations(inside),
        limit=reading.number(plan, "budget"),
        limit_name="budget",
    )
    bad = [day for day, one in found.items() if squares.worst(one.statuses) not in ("ok", "")]
    shown = [*inside] if len(inside) <= most_days else bad[-max(5, most_days) :]
    occurring = {squares.worst(one.statuses) for one in found.values()}
    return Plan(
        name,
        _schedule(plan),
        troubles(plan),
        _facts(plan),
        _success(plan),
        reading.text(plan, "last_status"),
        squares.calendar(f"Runs of {name} by day", days.first, days.last, found, most_titled),
        [(status, squares.legend(status)) for status in (*STATUSES, "") if status in occurring or not status],
        chart,
        [_row(day, inside[day], found[day]) for day in shown],
        len(shown) < len(inside),
    )


def _schedule(plan: Mapping[str, Any]) -> str:
    return re.sub(r"\b(every|at): ", r"\1 ", reading.text(plan, "schedule"))


def _day(one: Mapping[str, Any]) -> Day:
    """What ran, and what should have."""
    statuses = reading.counts(one, "statuses")
    runs = max(reading.whole(one, "runs"), sum(statuses.values()))
    expected = reading.number(one, "expected")
    missed = 0 if expected is None else max(0, round(expected) - runs)
    told = {**statuses, "missed": missed} if missed else statuses
    return Day(told, None if expected is None else round(expected))


def _success(plan: Mapping[str, Any]) -> str:
    """ "2 115 of 2 116 runs that ended did their work (>99.9 %). 12 of 2 128 runs did not come." """
    said = []
    good, ended = success(plan)
    if ended:
        said.append(f"{count(good)} of {count(ended, 'run')} that ended did their work ({percent(good / ended)}).")
        statuses = reading.counts(plan, "statuses")
        beside = good - statuses.get("ok", 0) - statuses.get("partial", 0)
        if 0 < beside <= statuses.get("failed", 0):
            said.append(f"{count(beside)} of them failed only in what they looked at.")
    missed, expected = reading.whole(plan, "missed"), reading.whole(plan, "expected")
    if missed > 0 and expected >= missed:
        said.append(f"{count(missed)} of {count(expected, 'run')} that should have come did not.")
    return " ".join(said)


def _durations(days: Mapping[date, Mapping[str, Any]]) -> dict[str, drawing.Points]:
    """Two lines, or one where they would be the same: of a plan that runs once a day."""
    median, p95 = ([(day, reading.number(one, key)) for day, one in days.items()] for key in ("median", "p95"))
    return {"duration": median} if median == p95 else {"median": median, "95th percentile": p95}


def _row(day: date, one: Mapping[str, Any], found: Day) -> Row:
    return [
        str(day),
        found.said or "none",
        *(duration(reading.number(one, key)) for key in ("median", "p95", "longest")),
    ]


def _facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    statuses = reading.counts(plan, "statuses")
    budget, expected = reading.number(plan, "budget"), reading.number(plan, "expected")
    missed = [] if not expected else [("Missed", f"{count(reading.whole(plan, 'missed'))} of {count(expected, 'run')}")]
    return [
        ("Last run", reading.text(plan, "last", "none is known")),
        ("Last that did its work", reading.text(plan, "last_good", "none is known")),
        ("Runs", _runs(plan)),
        ("How they ended", listed(statuses) or "nothing is known"),
        *missed,
        ("Median duration", duration(reading.number(plan, "median"))),
        ("95th percentile", duration(reading.number(plan, "p95"))),
        ("Longest", duration(reading.number(plan, "longest"))),
        ("Budget", duration(budget) if budget is not None else "none is known"),
    ]


def _runs(plan: Mapping[str, Any]) -> str:
    runs = reading.number(plan, "runs")
    return count(runs if runs is not None else sum(reading.counts(plan, "statuses").values()), "run")


def _brief(plan: Mapping[str, Any]) -> Brief:
    return Brief(
        reading.text(plan, "name", "a plan"),
        _schedule(plan),
        troubles(plan),
        reading.text(plan, "last_status"),
        reading.text(plan, "last", "never"),
        reading.text(plan, "last_good", "never"),
        _runs(plan),
    )
