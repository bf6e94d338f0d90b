# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Text that says a time as ISO 8601 and RFC 3339 do: 2026-11-26T12:00:00.123Z, 2026-11-26 12:00+07:00, 2026-11-26.

A pattern decides what is such a time, so exactly that the cast after it never raises an error: pg_input_is_valid() exists only
from PostgreSQL 16 on, and would take today and epoch as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import Condition
from .model import MEANT, TEXTS, Clock, Column, Reading, by_bytes, constant, moment, phrase, sample
from .moments import beginning

_LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29"
_DAY = (
    "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
DATE = f"(?!0000)({_DAY}|{_LEAP})"
CLOCK = "(([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)([.,][0-9]{1,9})?)?|24:00(:00([.,]0{1,9})?)?)"
OFFSET = "[+-](0[0-9]|1[0-5])(:?[0-5][0-9]|:[0-5][0-9]:[0-5][0-9])?"
ZONE = f" ?([Zz]|UTC|GMT|{OFFSET})"

# The largest distance of a zone's clocks from UTC that PostgreSQL knows is less than 16 hours.
FARTHEST = timedelta(hours=16)
# What is written may have been cut off: its second has to be over.
SECOND = "pg_catalog.make_interval(secs => 1)"
# A date has passed when its whole day has.
_LOCAL = """pg_catalog.timezone({zone}, {point}::pg_catalog.timestamp
    + pg_catalog.make_interval(days => CASE WHEN pg_catalog.length({text}) = 10 THEN 1 ELSE 0 END))"""


def fault(condition: Condition, column: Column) -> str:
    """Why this column cannot be read so, or nothing."""
    name = quote(column.name)
    if condition.epoch:
        return f"column {name} is of type {column.type}: epoch is for numbers, take epoch: {condition.epoch} out"
    if column.type not in TEXTS:
        return f"column {name} is of type {column.type}: format: iso is for text"
    return ""


def pattern(zone: str | None) -> str:
    """What a text has to match. One that says no zone is a time only where the option does."""
    if zone:
        return f"^{DATE}([Tt ]{CLOCK}({ZONE})?)?$"
    return f"^{DATE}[Tt ]{CLOCK}{ZONE}$"


def reading(condition: Condition, column: Column, cutoff: datetime) -> Reading:
    """The comparisons. By bytes a text sorts by its own clock, so an index serves up to the latest date anywhere."""
    name, cast = sql.Identifier(column.name), f"pg_catalog.{'bpchar' if column.type == 'character' else 'text'}"
    text = phrase('{column}::pg_catalog.text COLLATE pg_catalog."C"', column=name)
    instant = _instant(text, condition.timezone)
    exact = phrase(
        "CASE WHEN {text} ~ {pattern} THEN {instant} <= {cutoff} ELSE false END",
        text=text, pattern=sql.Literal(pattern(condition.timezone)), instant=instant, cutoff=moment(cutoff),
    )  # fmt: skip
    latest = cutoff.astimezone(timezone.utc).replace(tzinfo=None)
    latest += min(FARTHEST, datetime.max - latest)
    span = phrase("{column} <= {end}", column=by_bytes(column), end=constant(f"{latest.date().isoformat()}~", cast))
    return Reading((span,), exact, instant, cast, bytes=True)


def _instant(text: sql.Composable, zone: str | None) -> sql.Composed:
    """The time that a text says, a second later. It has to match."""
    point = phrase("pg_catalog.translate({text}, ',', '.')", text=text)
    said = phrase("{point}::pg_catalog.timestamptz", point=point)
    if zone:
        local = phrase(_LOCAL, zone=sql.Literal(zone), point=point, text=text)
        zoned = sql.Literal(f"^.{{16}}.*{ZONE}$")
        said = phrase(
            "CASE WHEN {text} ~ {zoned} THEN {said} ELSE {local} END", text=text, zoned=zoned, said=said, local=local
        )
    return phrase("({said} + {second})", said=said, second=sql.SQL(SECOND))


def doubt(condition: Condition, column: Column, table: sql.Composable) -> sql.Composed:
    """How many values are times, how many would be in some zone, how many are none, and one of each of the latter."""
    query = """
SELECT pg_catalog.count(*) FILTER (WHERE good) AS good, pg_catalog.count(*) FILTER (WHERE NOT good AND zoneless) AS zoneless,
       pg_catalog.count(*) FILTER (WHERE NOT zoneless) AS other,
       (pg_catalog.array_agg(shown) FILTER (WHERE NOT good AND zoneless))[1] AS zoneless_example,
       (pg_catalog.array_agg(shown) FILTER (WHERE NOT zoneless))[1] AS example
FROM (SELECT value ~ {pattern} AS good, value ~ {any} AS zoneless, pg_catalog.left(value, 40) AS shown
      FROM ({values}) AS sampled WHERE {meant}) AS judged"""
    values = sample(column, table, '{column}::pg_catalog.text COLLATE pg_catalog."C"')
    said, anywhere = sql.Literal(pattern(condition.timezone)), sql.Literal(pattern("UTC"))
    return phrase(query, pattern=said, any=anywhere, values=values, meant=phrase(MEANT, text=phrase("value")))


def doubt_fault(condition: Condition, row: Mapping[str, Any]) -> str:
    """That no value is such a time, or that some have no zone and no option says one, or nothing."""
    name = quote(condition.column)
    if row["zoneless"]:
        example = beginning(row["zoneless_example"], 26)
        return (f"column {name} has values such as {example}, which say no zone: say in which one they were written with "
                "timezone, for example timezone: UTC")  # fmt: skip
    if row["other"] and not row["good"]:
        return (f"column {name} has values such as {beginning(row['example'])}, and none in the sample that is a time in ISO "
                "form, such as 2026-11-26T12:00:00Z: purge by another column, or say format: uuidv7 or ulid")  # fmt: skip
    return ""


ISO = Clock(fault, reading, doubt, doubt_fault)
