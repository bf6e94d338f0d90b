# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Numbers that count from 1970-01-01 UTC (Unix time)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import Condition
from .model import YEAR, Clock, Column, Reading, constant, microseconds, phrase, sample
from .moments import shown

INTEGERS = ("integer", "bigint")
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Seconds. What is at least MODERN and below LIMIT in one unit is far from any time in the other units: years before 1971
# or after 30000. What often means never must not look like a time in another unit: 2147483647, the limit of an integer, and
# 253402300799, the end of the year 9999. A time in the unit declared may be later.
MODERN, LIMIT, LATEST = 1_000_000_000, 2_147_483_647, 4_102_444_800  # 2001-09-09, 2038-01-19, 2100-01-01
FAR = 253_402_300_800  # the year 10000: what is before it, such as in a hundred years, may be meant
# So many different positive values of which none is a time in any unit are something else, such as ids or what counts from
# another year; fewer may all mean never.
SOMETHING_ELSE = 10


def fault(condition: Condition, column: Column) -> str:
    """Why this column cannot be read so, or nothing."""
    name = quote(column.name)
    if condition.format:
        return (
            f"column {name} is of type {column.type}: format is for text and uuid, say epoch: s, ms or us in its place"
        )
    if column.type in ("smallint", "real"):
        held = "up to 32767" if column.type == "smallint" else "with an error of about two minutes"
        return f"column {name} is of type {column.type}, which holds a Unix time only {held}: expired rows cannot be told by it"
    if not condition.epoch:
        which = "epoch: s" if column.type == "integer" else "epoch: s, ms or us"
        return (
            f"column {name} is of type {column.type}: if it counts from 1970-01-01 UTC, say in which unit with {which}"
        )
    if column.type == "integer" and condition.epoch != "s":
        return (f"column {name} is an integer, which ends in January 1970 if it counts {WORDS[condition.epoch]}: "
                "say epoch: s")  # fmt: skip
    return ""


def reading(condition: Condition, column: Column, cutoff: datetime) -> Reading:
    """The comparisons.

    A whole number may have been cut off: it stands for all of its second (ms, us), so the row goes when that has passed.
    Whatever is below 1971, among them 0 and negative numbers, and NaN never expire.
    """
    name, per_second = sql.Identifier(column.name), PER_SECOND[condition.epoch or "s"]
    first, last, cast = _bounds(column, microseconds(cutoff), per_second)
    span = phrase("{column} <= {last} AND {column} >= {first}", column=name,
                  last=constant(last, cast), first=constant(first, cast))  # fmt: skip
    ends = phrase("({column}::pg_catalog.int8 + 1)", column=name) if column.type in INTEGERS else name
    unit = constant(str(per_second), "pg_catalog.float8")
    instant = phrase("pg_catalog.to_timestamp({ends}::pg_catalog.float8 / {unit})", ends=ends, unit=unit)
    return Reading((span,), None, instant, cast)


def _bounds(column: Column, cutoff: int, per_second: int) -> tuple[str, str, str]:
    """The first and the last number that have expired, and their type. cutoff: microseconds."""
    per_unit, first = 1_000_000 // per_second, YEAR * per_second
    if column.type in INTEGERS:
        return str(first), str(cutoff // per_unit - 1), "pg_catalog.int8"
    exact = Decimal(cutoff) / per_unit
    if column.type == "numeric":
        return str(first), f"{exact:f}", "pg_catalog.numeric"
    nearest = float(exact)
    return (
        str(first),
        repr(nearest if Decimal(nearest) <= exact else math.nextafter(nearest, -math.inf)),
        "pg_catalog.float8",
    )


def doubt(condition: Condition, column: Column, table: sql.Composable) -> sql.Composed:
    """How many different values look like a time in each unit, with the first of them; ``declared``: in the unit declared.
    ``none``: how many do not look like one in that unit.

    Different ones: a value that means never (0, -1, 9999999999, 2147483647 ...) counts once however many rows have it.
    """
    units, scale = {**PER_SECOND, "ns": 10**9}, PER_SECOND[condition.epoch or "s"]
    columns = [_counted(unit, _within(MODERN * each, LIMIT * each)) for unit, each in units.items()]
    columns.append(_counted("declared", _within(MODERN * scale, LATEST * scale)))
    early, late = _within(1, MODERN * scale), phrase("value >= {far}", far=_number(FAR * scale))
    columns.append(_counted("none", sql.SQL("({} OR {})").format(early, late)))
    values = sample(column, table, "{column}::pg_catalog.numeric")
    return sql.SQL("SELECT {} FROM ({}) AS sampled").format(sql.SQL(", ").join(columns), values)


def _number(number: int) -> sql.Composed:
    return constant(str(number), "pg_catalog.numeric")


def _within(first: int, end: int) -> sql.Composed:
    return phrase("value >= {first} AND value < {end}", first=_number(first), end=_number(end))


def _counted(name: str, within: sql.Composed) -> sql.Composed:
    query = (
        "pg_catalog.count(DISTINCT value) FILTER (WHERE {within}) AS {name}, "
        "(pg_catalog.min(value) FILTER (WHERE {within}))::pg_catalog.text AS {example}"
    )
    example = sql.Identifier(f"{name}_example")
    return sql.SQL(query).format(within=within, name=sql.Identifier(name), example=example)


def doubt_fault(condition: Condition, row: Mapping[str, Any]) -> str:
    """That the values look like times in another unit than in the one declared, or nothing."""
    declared = condition.epoch or "s"
    counts = {unit: row[unit] for unit in (*PER_SECOND, "ns") if unit != declared}
    likely = max(counts, key=lambda unit: int(counts[unit]))
    if not row["declared"] and not counts[likely] and row["none"] >= SOMETHING_ELSE:
        return (f"column {quote(condition.column)} has values such as {row['none_example']}, and none in the sample that is a "
                "Unix time of after 2001-09-09, in whatever unit: purge by another column")  # fmt: skip
    if counts[likely] <= row["declared"]:
        return ""
    value = Decimal(row[f"{likely}_example"])
    scales = {**PER_SECOND, "ns": 10**9}
    wrong, right = (shown(int(value * 1_000_000 / scales[unit])) for unit in (declared, likely))
    text = (
        f"column {quote(condition.column)} has values such as {row[f'{likely}_example']}: as {WORDS[declared]} that would be "
        f"{wrong}, as {WORDS[likely]} it is {right}"
    )
    if likely == "ns":
        return f"{text}; nanoseconds cannot be declared: purge by another column"
    return f"{text}: say epoch: {likely}"


EPOCH = Clock(fault, reading, doubt, doubt_fault)
