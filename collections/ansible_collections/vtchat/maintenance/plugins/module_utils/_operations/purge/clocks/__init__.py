# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a column tells of time: which rows have expired, as predicates of SQL.

They run under the user's search_path and settings, so everything in them is qualified, and they mean the same whatever
DateStyle, IntervalStyle, TimeZone and collation are. They never raise an error for a value that is stored, and never hold for
a row that has not expired.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import ALWAYS, Condition
from .model import NUMBERS, TEXTS, Clock, Column, Reading, Term, by_bytes, constant, moment, phrase
from .timestamps import TIMESTAMPS, ZONED, ZONELESS

__all__ = [
    "Column",
    "Term",
    "as_known",
    "confirmed",
    "constant",
    "contradicted",
    "doubt",
    "doubt_fault",
    "fault",
    "terms",
]


def _clock(condition: Condition, column: Column) -> Clock | None:
    """By the type of the column where it says by itself what it is, or by the option format. Loaded when it is needed."""
    if column.type in (ZONED, *ZONELESS):
        return TIMESTAMPS
    if column.type in NUMBERS:
        return _by_option("epoch")
    return _by_option(condition.format or "")


def _by_option(name: str) -> Clock | None:
    """The clock of an option: epoch, or a value of format."""
    if name == "epoch":
        from .epoch import EPOCH

        return EPOCH
    if name == "iso":
        from .iso import ISO

        return ISO
    if name in ("uuidv7", "ulid"):
        from .ids import ULID, UUIDV7

        return ULID if name == "ulid" else UUIDV7
    return None


def fault(condition: Condition, columns: Mapping[str, Column]) -> str:
    """Why the condition cannot be, with the way out, or nothing."""
    missing = [name for name in (condition.column, condition.ttl_column) if name and name not in columns]
    if missing:
        return f"there is no column {quote(missing[0])}; the columns are {', '.join(map(quote, sorted(columns)))}"
    column, life = columns[condition.column], columns.get(condition.ttl_column or "")
    return _fault(condition, column) or _life_fault(condition, life) or _zone_fault(condition, column, life)


def _life_fault(condition: Condition, life: Column | None) -> str:
    if life is None:
        return ""
    from . import ttl

    return ttl.fault(condition, life)


def _fault(condition: Condition, column: Column) -> str:
    clock, name = _clock(condition, column), quote(column.name)
    if condition.epoch and condition.format:
        return f"epoch: {condition.epoch} and format: {condition.format} exclude each other: {name} can be only one of them"
    if clock:
        return clock.fault(condition, column)
    if condition.epoch and column.type in ("uuid", *TEXTS):
        return f"column {name} is of type {column.type}: epoch: {condition.epoch} is for numbers, take it out and say format"
    if column.type == "uuid":
        return (
            f"column {name} is of type uuid: say format: uuidv7 if it has the time in it (version 7), or format: ulid"
        )
    if column.type in TEXTS:
        return f"column {name} is of type {column.type}: say what is in it with format: iso, uuidv7 or ulid"
    return f"column {name} is of type {column.type}; a timestamp, a date, a number, a uuid or text is needed"


def _zone_fault(condition: Condition, column: Column, life: Column | None) -> str:
    """A zone that would mean nothing: it is a mistake about the column."""
    wanted = column.type in ZONELESS or condition.format == "iso" or (life and life.type == "interval")
    if wanted or not condition.timezone:
        return ""
    reason = "is unambiguous" if column.type == ZONED else "counts in UTC"
    return f"column {quote(column.name)} is of type {column.type}, which {reason}: take timezone out"


def terms(condition: Condition, columns: Mapping[str, Column], cutoff: datetime) -> list[Term]:
    """Why a row has expired: any of these. ``where`` of the condition is not in them. fault() must have found nothing."""
    column = columns[condition.column]
    clock = _clock(condition, column)
    if clock is None:
        raise AssertionError("fault() says what is wrong")
    reading, name = clock.reading(condition, column, cutoff), sql.Identifier(column.name)
    life = columns[condition.ttl_column] if condition.ttl_column else None
    over = _life_over(condition, life, reading, cutoff) if life else None
    order: sql.Composable | None = name
    index, served = quote(column.name), column.indexed and over is None
    if reading.bytes and not column.sorts_by_bytes:
        order, index, served = by_bytes(column), f'{index} COLLATE "C"', column.indexed_by_bytes and over is None
    if over:
        order, index = None, ""
    found = [
        Term(_expired(condition, reading, span, over, cutoff), order, reading.cast, served, index)
        for span in reading.spans
    ]
    if condition.null_means == ALWAYS:
        nothing = phrase("{column} IS NULL", column=name)
        found.append(Term(nothing, None, reading.cast, column.indexed, quote(column.name)))
    return found


def _life_over(condition: Condition, life: Column, reading: Reading, cutoff: datetime) -> sql.Composable:
    """That the row's own time to live has passed."""
    from . import ttl

    return ttl.passed(condition, life, reading.instant, cutoff)


def _expired(
    condition: Condition, reading: Reading, span: sql.Composable, over: sql.Composable | None, cutoff: datetime
) -> sql.Composable:
    """The predicate of one span. over: that the row's own time to live has passed as well, which no index can tell.

    A zone is mentioned once outside of all branches, so that one that does not exist is an error before the first row.
    """
    predicate = phrase("{span} AND {exact}", span=span, exact=reading.exact) if reading.exact else span
    if over:
        lived = "{span} AND CASE WHEN {predicate} THEN {over} ELSE false END"
        predicate = phrase(lived, span=span, predicate=predicate, over=over)
    if not condition.timezone:
        return predicate
    known = phrase(
        "pg_catalog.timezone({zone}, {cutoff}) IS NOT NULL", zone=sql.Literal(condition.timezone), cutoff=moment(cutoff)
    )
    return phrase("{predicate} AND {known}", predicate=predicate, known=known)


def as_known(condition: Condition, columns: Mapping[str, Column], table: sql.Composable) -> sql.Composed:
    """That the columns still have the types that they had: a time with a zone may have become one without it meanwhile.

    The same for all rows, so it costs nothing. Of a type that changes other comparisons would be made, in other zones.
    """
    query = "pg_catalog.pg_typeof((NULL::{table}).{column}) = {oid}::pg_catalog.regtype"
    each = [
        phrase(query, table=table, column=sql.Identifier(name), oid=sql.Literal(columns[name].type_oid))
        for name in condition.columns
    ]
    return sql.SQL(" AND ").join(each)


def doubt(condition: Condition, columns: Mapping[str, Column], table: sql.Composable) -> sql.Composed | None:
    """One cheap query of one row that shows whether the values can be what is declared, None where nothing can be wrong."""
    column = columns[condition.column]
    clock = _clock(condition, column)
    return clock.doubt(condition, column, table) if clock and clock.doubt else None


def doubt_fault(condition: Condition, row: Mapping[str, Any]) -> str:
    """What that row shows, with the way out; "" where it is plausible."""
    clock = _by_option("epoch" if condition.epoch else condition.format or "")
    return clock.doubt_fault(condition, row) if clock and clock.doubt_fault else ""


def confirmed(condition: Condition, row: Mapping[str, Any]) -> bool:
    """Whether that row shows values which are certainly what is declared. Of a number nobody can say so."""
    return bool(condition.format) and bool(row["good"]) and not doubt_fault(condition, row)


def contradicted(condition: Condition, row: Mapping[str, Any]) -> bool:
    """Whether it shows values that mean a time, and another one than is declared; not only such as mean none."""
    return not condition.format or bool(row["good"]) or bool(row.get("zoneless"))
