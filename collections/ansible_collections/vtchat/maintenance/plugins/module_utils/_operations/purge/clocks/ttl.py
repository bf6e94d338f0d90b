# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A time to live of each row: it has expired when that much time has passed since the time in its column.

One of zero or less, NULL, NaN, infinite or beyond all reason means never.
"""

from __future__ import annotations

from datetime import datetime

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import Condition
from .model import NUMBERS, Column, constant, microseconds, moment, phrase

# Seconds of each unit.
UNITS = {"ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}
MOST = 10**15  # of any unit; more overflows sooner or later

# Months, days and the time of an interval may have different signs. Within these bounds a time of the years 1 to 9999 can be
# added to it without leaving what a timestamp holds, in any order.
_REASONABLE = " AND ".join(
    f"pg_catalog.date_part('{part}', {{ttl}}) >= -{years * per_year} "
    f"AND pg_catalog.date_part('{part}', {{ttl}}) <= {10 * years * per_year}"
    for years, part, per_year in ((1000, "year", 1), (1000, "day", 366), (1000, "hour", 8784))
)
# Counted by the clock of the zone, and with the hours as real ones where that is later.
_OVER = """(SELECT finish <= {cutoff} AND finish > start FROM (
    SELECT start, GREATEST(pg_catalog.timezone({zone}, local + life),
                           pg_catalog.timezone({zone}, local + days) + (life - days)) AS finish
    FROM (SELECT start, life, pg_catalog.timezone({zone}, start) AS local, pg_catalog.make_interval(
              years => pg_catalog.date_part('year', life)::pg_catalog.int4,
              months => pg_catalog.date_part('month', life)::pg_catalog.int4,
              days => pg_catalog.date_part('day', life)::pg_catalog.int4) AS days
          FROM (SELECT {instant} AS start, {ttl} AS life) AS made) AS counted) AS lived)"""


def fault(condition: Condition, column: Column) -> str:
    """Why this column is no time to live, or nothing."""
    if column.type == "interval" or column.type in NUMBERS:
        return ""
    return f"ttl_column {quote(column.name)} is of type {column.type}; an interval or a number is needed (see ttl_unit)"


def passed(condition: Condition, column: Column, instant: sql.Composable, cutoff: datetime) -> sql.Composed:
    """Whether the time to live was over at the cut-off. instant: from when it counts, earlier than the cut-off."""
    name = sql.Identifier(column.name)
    if column.type == "interval":
        return _interval(name, instant, condition.timezone or "UTC", cutoff)
    number = "{ttl}::pg_catalog.float8::pg_catalog.numeric" if column.type == "real" else "{ttl}::pg_catalog.numeric"
    seconds = microseconds(cutoff)
    return phrase(
        "CASE WHEN {number} > 0::pg_catalog.numeric AND {number} <= {most} "
        "THEN pg_catalog.extract('epoch', {instant}) + ({number} * {unit}) <= {cutoff} ELSE false END",
        number=phrase(number, ttl=name), most=constant(str(MOST), "pg_catalog.numeric"), instant=instant,
        unit=constant(UNITS[condition.ttl_unit], "pg_catalog.numeric"),
        cutoff=constant(f"{seconds // 1_000_000}.{seconds % 1_000_000:06}", "pg_catalog.numeric"),
    )  # fmt: skip


def _interval(name: sql.Composable, instant: sql.Composable, zone: str, cutoff: datetime) -> sql.Composed:
    over = phrase(_OVER, zone=sql.Literal(zone), instant=instant, ttl=name, cutoff=moment(cutoff))
    return phrase("CASE WHEN " + _REASONABLE + " THEN {over} ELSE false END", ttl=name, over=over)
