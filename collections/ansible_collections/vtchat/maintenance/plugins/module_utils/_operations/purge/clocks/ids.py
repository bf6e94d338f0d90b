# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Identifiers with a time in them: UUIDs of version 7 (RFC 9562), and ULIDs, as uuid or as text.

Both begin with 48 bits of milliseconds since 1970-01-01 UTC, in the order of time. A millisecond has to be over before the
row goes, and what says a time before 1971 never goes. A UUID of another version or variant, and what is no ULID, never goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import Condition
from .model import MEANT, TEXTS, YEAR, Clock, Column, Reading, by_bytes, constant, microseconds, phrase, sample
from .moments import beginning, shown

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LAST_MILLISECOND = 2**48 - 1
_LIKELY_END = 4_102_444_800_000  # 2100-01-01: a random UUID that is taken for a ULID is nearly always later

# As PostgreSQL's regular expressions; both cases, for both are written.
_UUID7 = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
_ULID = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"

# Of a uuid: its bits 48 to 51 are the version, and its bits 64 and 65 the variant.
_VERSION_7 = """pg_catalog.get_byte(pg_catalog.uuid_send({column}), 6) / 16 = 7
    AND pg_catalog.get_byte(pg_catalog.uuid_send({column}), 8) / 64 = 2"""
# The first 13 characters of a UUID without the hyphen, as a number.
_HEXADECIMAL = """('x' || pg_catalog.translate(pg_catalog.substr({column}::pg_catalog.text, 1, 13), '-', '')
    )::pg_catalog.bit(48)::pg_catalog.int8"""


@dataclass(frozen=True)
class _Written:
    """How an identifier is written as text.

    pattern  what it has to match; length: characters of its part that is the time
    write    that part for a number of milliseconds, in upper case
    read     SQL: the milliseconds of a text that matches
    """

    pattern: str
    length: int
    write: Callable[[int], str]
    read: str


def _uuid_time(milliseconds: int) -> str:
    digits = f"{milliseconds:012X}"
    return f"{digits[:8]}-{digits[8:]}"


def _ulid_time(milliseconds: int) -> str:
    return "".join(CROCKFORD[milliseconds >> shift & 31] for shift in range(45, -1, -5))


def _ulid_value() -> str:
    """The ten digits to base 32, each by its place in the alphabet."""
    digit = (
        "((pg_catalog.strpos('{alphabet}', pg_catalog.substr({{text}}, {place}, 1)) - 1) * {weight}::pg_catalog.int8)"
    )
    return " + ".join(
        digit.format(alphabet=CROCKFORD, place=place + 1, weight=32 ** (9 - place)) for place in range(10)
    )


WRITTEN = {
    "uuidv7": _Written(_UUID7, 13, _uuid_time, _HEXADECIMAL.replace("{column}", "{text}")),
    "ulid": _Written(_ULID, 10, _ulid_time, _ulid_value()),
}


def fault(condition: Condition, column: Column) -> str:
    """Why this column cannot be read so, or nothing."""
    name = quote(column.name)
    if condition.epoch:
        return f"column {name} is of type {column.type}: epoch is for numbers, take epoch: {condition.epoch} out"
    if column.type not in ("uuid", *TEXTS):
        return f"column {name} is of type {column.type}: format: {condition.format} is for uuid and text"
    return ""


def reading(condition: Condition, column: Column, cutoff: datetime) -> Reading:
    """The comparisons."""
    last = min(max(0, microseconds(cutoff) // 1000 - 1), _LAST_MILLISECOND)
    return (_uuid if column.type == "uuid" else _text)(condition, column, last)


def _uuid(condition: Condition, column: Column, last: int) -> Reading:
    name = sql.Identifier(column.name)
    first = constant(f"{_uuid_time(YEAR * 1000)}-0000-0000-000000000000", "pg_catalog.uuid")
    end = constant(f"{_uuid_time(last)}-ffff-ffff-ffffffffffff", "pg_catalog.uuid")
    span = phrase("{column} <= {end} AND {column} >= {first}", column=name, first=first, end=end)
    exact = phrase(_VERSION_7, column=name) if condition.format == "uuidv7" else None
    return Reading((span,), exact, _instant(phrase(_HEXADECIMAL, column=name)), "pg_catalog.uuid")


def _text(condition: Condition, column: Column, last: int) -> Reading:
    """In text both cases occur, and the whole alphabet in upper case sorts before that in lower case.

    A text that is part upper and part lower case may be outside of both spans, until its first characters are old.
    """
    written = WRITTEN[condition.format or ""]
    name, cast = sql.Identifier(column.name), f"pg_catalog.{'bpchar' if column.type == 'character' else 'text'}"
    text = phrase('{column}::pg_catalog.text COLLATE pg_catalog."C"', column=name)
    upper = phrase(
        "pg_catalog.upper(pg_catalog.substr({text}, 1, {length}))", text=text, length=sql.Literal(written.length)
    )
    first, end = written.write(YEAR * 1000), written.write(last)
    exact = phrase(
        "{text} ~ {pattern} AND {upper} <= {end} AND {upper} >= {first}",
        text=text, pattern=sql.Literal(written.pattern), upper=upper, end=sql.Literal(end), first=sql.Literal(first),
    )  # fmt: skip
    instant = _instant(phrase(written.read, text=phrase("pg_catalog.upper({text})", text=text)))
    span = "{column} <= {end} AND {column} >= {first}"
    spans = [
        phrase(span, column=by_bytes(column), first=constant(low, cast), end=constant(high, cast))
        for low, high in _spans(first, end)
    ]
    return Reading(tuple(spans), exact, instant, cast, bytes=True)


def _spans(first: str, end: str) -> list[tuple[str, str]]:
    """Where texts of a time up to ``end`` are by bytes: those in upper case, and those in lower case that are not there as well.

    The latter have the digits of ``end`` before its first letter, and then a small letter. A tilde is after all of them.
    """
    digits = len(end) - len(end.lstrip("0123456789-"))
    spans = [(first, f"{end}~")]
    if digits < len(end):
        spans.append((f"{end[:digits]}a", f"{end.lower()}~"))
    return spans


def _instant(milliseconds: sql.Composable) -> sql.Composed:
    """The end of that millisecond."""
    return phrase(
        "pg_catalog.to_timestamp(({value} + 1)::pg_catalog.float8 / 1000::pg_catalog.float8)", value=milliseconds
    )


def doubt(condition: Condition, column: Column, table: sql.Composable) -> sql.Composed:
    """How many values are what is declared, how many are not, and one of the latter.

    guessed: a uuid does not say whether it is a ULID, but a random one would hardly ever be of the years 1971 to 2099.
    """
    text = phrase('value::pg_catalog.text COLLATE pg_catalog."C"')
    pattern = sql.Literal(WRITTEN[condition.format or ""].pattern)
    good = phrase("{text} ~ {pattern}", text=text, pattern=pattern)
    guessed = column.type == "uuid" and condition.format == "ulid"
    if guessed:
        rest = "-0000-0000-000000000000"
        first, end = (constant(_uuid_time(time) + rest, "pg_catalog.uuid") for time in (YEAR * 1000, _LIKELY_END))
        good = phrase("value >= {first} AND value < {end}", first=first, end=end)
    query = """
SELECT pg_catalog.count(*) FILTER (WHERE good) AS good, pg_catalog.count(*) FILTER (WHERE NOT good) AS other,
       (pg_catalog.array_agg(shown) FILTER (WHERE NOT good))[1] AS example, {guessed} AS guessed
FROM (SELECT {good} AS good, pg_catalog.left({text}, 40) AS shown FROM ({values}) AS sampled
      WHERE {meant}) AS judged"""
    meant = phrase(MEANT, text=text)
    return phrase(query, good=good, text=text, values=sample(column, table), guessed=sql.Literal(guessed), meant=meant)


def doubt_fault(condition: Condition, row: Mapping[str, Any]) -> str:
    """That hardly any value is such an identifier, or nothing."""
    if not row["other"] or row["good"] >= (row["other"] if row["guessed"] else 1):
        return ""
    name, example = quote(condition.column), row["example"]
    return (f"column {name} has values such as {beginning(example)}: {_meaning(condition, example)}; say what it is with format: "
            "uuidv7, ulid or iso, or purge by a column that has a time in it")  # fmt: skip


def _meaning(condition: Condition, example: str) -> str:
    """What is wrong with a value."""
    digits = example.replace("-", "")
    if len(example) != 36 or len(digits) != 32:
        return f"that is no {'UUID' if condition.format == 'uuidv7' else 'ULID'}"
    if condition.format == "uuidv7":
        return f"that is a UUID of version {digits[12]}, which does not say when it was made"
    return f"as a ULID that would be of {shown(int(digits[:12], 16) * 1000)}"


UUIDV7 = ULID = Clock(fault, reading, doubt, doubt_fault)
