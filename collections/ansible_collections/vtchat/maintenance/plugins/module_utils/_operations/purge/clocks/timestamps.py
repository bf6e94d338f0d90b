# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Columns of the types timestamptz, timestamp and date."""

from __future__ import annotations

from datetime import datetime

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import Condition
from .model import Clock, Column, Reading, constant, moment, phrase

ZONED = "timestamp with time zone"
ZONELESS = ("timestamp without time zone", "date")

# No two clocks of one place are further apart than that, whatever their zone has been through: Samoa left out a day.
APART = "pg_catalog.make_interval(days => 3)"
# Arithmetic does not overflow from here on; what is earlier counts as this.
FIRST = "0001-01-01"


def fault(condition: Condition, column: Column) -> str:
    """Why this column cannot be read so, or nothing."""
    name = quote(column.name)
    if condition.epoch or condition.format:
        option = f"epoch: {condition.epoch}" if condition.epoch else f"format: {condition.format}"
        return f"column {name} is of type {column.type}, which says its time by itself: take {option} out"
    if column.type in ZONELESS and not condition.timezone:
        return (f"column {name} is of type {column.type}: say in which zone it was written with timezone, for example "
                "timezone: UTC")  # fmt: skip
    return ""


def reading(condition: Condition, column: Column, cutoff: datetime) -> Reading:
    """The comparisons.

    A time without a zone is compared twice: as it is, which an index can serve, and converted, which is exact: where clocks
    are turned back PostgreSQL takes the later of two possible instants, so no row goes early. Only times near the cut-off
    are converted, for the earliest and the latest ones have no instant.
    """
    name = sql.Identifier(column.name)
    if column.type == ZONED:
        span = phrase("{column} <= {cutoff}", column=name, cutoff=moment(cutoff))
        first = constant(f"{FIRST}T00:00:00+00:00", "pg_catalog.timestamptz")
        late = phrase("GREATEST({column}, {first})", column=name, first=first)
        return Reading((span,), None, late, "pg_catalog.timestamptz")
    zone = sql.Literal(condition.timezone)
    local = phrase("pg_catalog.timezone({zone}, {cutoff})", zone=zone, cutoff=moment(cutoff))
    cast = "pg_catalog.timestamp"
    span, ends = phrase("{column} <= {local}", column=name, local=local), "{column}::pg_catalog.timestamp"
    if column.type == "date":
        cast, local = "pg_catalog.date", phrase("{local}::pg_catalog.date", local=local)
        span, ends = phrase("{column} < {local}", column=name, local=local), "({column} + 1)::pg_catalog.timestamp"
    instant = phrase("pg_catalog.timezone({zone}, " + ends + ")", zone=zone, column=name)
    exact = phrase(
        "CASE WHEN {column} < ({local} - {apart}) THEN true WHEN {span} THEN {instant} <= {cutoff} ELSE false END",
        column=name, local=local, apart=sql.SQL(APART), span=span, instant=instant, cutoff=moment(cutoff),
    )  # fmt: skip
    late = phrase("GREATEST({column}, {first})", column=name, first=constant(FIRST, cast))
    return Reading((span,), exact, phrase("pg_catalog.timezone({zone}, " + ends + ")", zone=zone, column=late), cast)


TIMESTAMPS = Clock(fault, reading)
