# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the sections about the database show: its size and that of its tables, and where that leads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID

from . import drawing, reading, scales
from .bounds import most
from .drawing import Chart, Spark
from .runs import LATEST, Row, span
from .words import count, percent, size

MOST_BLOAT = 50  # tables and indexes
MOST_TABLES = 20
MOST_FORECASTS = 20


@dataclass(frozen=True)
class Table:
    """One of the largest tables. dead: with its share of all rows."""

    relation: str
    size: str
    indexes: str
    live: str
    dead: str
    freeze_age: str
    week: str
    spark: Spark | None


@dataclass(frozen=True)
class Bloat:
    """Space that a table or index would not need."""

    level: str
    kind: str
    name: str
    percent: str
    waste: str
    size: str
    method: str


@dataclass(frozen=True)
class Forecast:
    """Where it leads. title: of the check."""

    level: str
    title: str
    subject: str
    text: str


@dataclass(frozen=True)
class Growth:
    """sizes: days and names of tables, and rows of sizes, for the table beside the small lines."""

    charts: list[Chart]
    table: list[Row]
    tables: list[Table]
    sizes: tuple[list[str], list[Row]]
    bloat: list[Bloat]
    forecast: list[Forecast]
    limit: str


def growth(report: Mapping[str, Any], room: float = 1.0) -> Growth:
    """All of it."""
    found = reading.section(report, "growth")
    daily = _daily(report)
    limit = reading.number(found, "limit")
    tables = reading.entries(found, "tables")[: most(MOST_TABLES, room)]
    leading = [one for one in reading.entries(found, "forecast") if _leads(one, limit)]
    return Growth(
        _charts(report, daily, limit),
        [_row(day, one) for day, one in daily[-LATEST:]],
        [_table(one) for one in tables],
        _sizes(tables),
        [_bloat(one) for one in reading.entries(found, "bloat")[: most(MOST_BLOAT, room)]],
        [_forecast(one) for one in leading[: most(MOST_FORECASTS, room)]],
        "" if limit is None else size(limit),
    )


def _daily(report: Mapping[str, Any]) -> list[tuple[date, Mapping[str, Any]]]:
    found = reading.entries(reading.section(report, "growth"), "database")
    days = span(report)
    known = [(day, one) for one in found if (day := reading.day(one.get("day")))]
    return sorted(((day, one) for day, one in known if days.first <= day <= days.last), key=lambda one: one[0])


def _charts(report: Mapping[str, Any], daily: list[tuple[date, Mapping[str, Any]]], limit: float | None) -> list[Chart]:
    days = span(report)

    def drawn(title: str, kind: str, keys: Mapping[str, str], most: float | None = None) -> Chart | None:
        series = {name: [(day, reading.number(one, key)) for day, one in daily] for key, name in keys.items()}
        known = {name: points for name, points in series.items() if any(value is not None for _day, value in points)}
        return (
            drawing.lines(title, days.first, days.last, kind, known, limit=most, limit_name="limit") if known else None
        )

    found = [
        drawn("Size of the database", scales.BYTES, {"bytes": "all", "index_bytes": "indexes"}, limit),
        drawn("Dead rows", "rows", {"dead_rows": "dead rows"}),
        drawn("Freeze age", "transactions", {"freeze_age": "oldest transaction ID"}),
    ]
    return [one for one in found if one]


def _row(day: date, one: Mapping[str, Any]) -> Row:
    sizes = [size(reading.number(one, key)) for key in ("bytes", "index_bytes")]
    return [str(day), *sizes, *(count(reading.number(one, key)) for key in ("live_rows", "dead_rows", "freeze_age"))]


def _table(one: Mapping[str, Any]) -> Table:
    table, indexes = reading.number(one, "bytes"), reading.number(one, "index_bytes")
    live, dead, week = (reading.number(one, key) for key in ("live_rows", "dead_rows", "week"))
    share = f" ({percent(dead / (live + dead))})" if live is not None and dead and live + dead > 0 else ""
    relation = reading.text(one, "relation", "a table")
    return Table(
        relation,
        size(None if table is None else table + (indexes or 0)),
        size(indexes),
        count(live),
        count(dead) + share,
        count(reading.number(one, "freeze_age")),
        "too early to tell" if week is None else "none" if not week else size(week, signed=True),
        drawing.spark(f"Size of {relation}", reading.pairs(one, "history")),
    )


def _sizes(tables: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Row]]:
    """Of all tables together, one day a week: every point of every line would be most of the page."""
    known = [dict(reading.pairs(one, "history")) for one in tables]
    days = sorted({day for one in known for day in one}, reverse=True)
    kept = days[::7] if len(days) > 14 else days
    rows = [[str(day), *("" if one.get(day) is None else size(one[day]) for one in known)] for day in kept]
    return [reading.text(one, "relation", "a table") for one in tables], rows


def _bloat(one: Mapping[str, Any]) -> Bloat:
    share = reading.number(one, "percent")
    return Bloat(
        reading.text(one, "level", "info"),
        reading.text(one, "kind"),
        reading.text(one, "name"),
        percent(None if share is None else share / 100),
        size(reading.number(one, "waste")),
        size(reading.number(one, "bytes")),
        reading.text(one, "method", "not said"),
    )


def _leads(one: Mapping[str, Any], limit: float | None) -> bool:
    """Whether there is anything to foretell: a database without a limit is never full."""
    return (
        reading.text(one, "what") != "database-forecast" or limit is not None or reading.number(one, "days") is not None
    )


def _forecast(one: Mapping[str, Any]) -> Forecast:
    days, what = reading.number(one, "days"), reading.text(one, "what")
    known = BY_ID.get(what)
    title = known.title if known else what
    said = reading.text(one, "text").removeprefix(f"{title}: ")
    text = said or ("" if days is None else f"in {count(max(0, days), 'day')}")
    return Forecast(reading.text(one, "level", "info"), title, reading.text(one, "subject"), text)


def grown(report: Mapping[str, Any]) -> tuple[float, date] | None:
    """By how many bytes the database differs from what it was a week before or a little earlier, and that day."""
    known = [(day, value) for day, one in _daily(report) if (value := reading.number(one, "bytes")) is not None]
    before = [(value, day) for day, value in known if 7 <= (known[-1][0] - day).days <= 10]
    return (known[-1][1] - before[-1][0], before[-1][1]) if before else None


def latest(report: Mapping[str, Any]) -> float | None:
    """Bytes of the database when it was last looked at."""
    known = [value for _day, one in _daily(report) if (value := reading.number(one, "bytes")) is not None]
    return known[-1] if known else None
