# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Partitions to come: which ones, with which bounds and names, and whether anything is in their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...._errors import Contended, SqlError
from ...._postgres.driver import sql
from ...._postgres.names import quote
from ...._postgres.session import Session
from ...._postgres.sqlstates import QUERY_CANCELED
from . import bounds, calendar, naming, premake
from .bounds import Key, Place
from .calendar import Step
from .table import Clock, Partition, days_begin, instants, localized

LOOKED_BACK = 3  # partitions whose bounds and names tell those of the next ones
UTC = "UTC"

TAKEN = """
SELECT array(SELECT c.relname::text FROM pg_class AS c WHERE c.relnamespace = {schema}::regnamespace
             UNION SELECT t.typname::text FROM pg_type AS t WHERE t.typnamespace = {schema}::regnamespace) AS names
"""
# Whether the DEFAULT partition has rows that may belong into the new ones, in one go; and what can be written there.
ANY_STRAY = """
SELECT EXISTS (SELECT FROM {default} AS d WHERE d.{column} >= {lower}::{type} AND d.{column} < {upper}::{type}) AS found,
       (SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND attgenerated = '') AS columns
"""
# How many belong into each; counted so far as it is worth it.
STRAY = """
SELECT v.number, (SELECT count(*) FROM (SELECT FROM {default} AS d WHERE d.{column} >= v.lower AND d.{column} < v.upper
                                        LIMIT {most}) AS x) AS rows
FROM (SELECT w.number, w.lower::{type} AS lower, w.upper::{type} AS upper FROM (VALUES {values}) AS w (number, lower, upper)) AS v
"""
MOST_STRAY = 1000
READING = 10.0  # seconds that the DEFAULT partition may be read


@dataclass(frozen=True)
class Coming:
    """A partition to be created.

    stray    rows of the DEFAULT partition that belong into it, MOST_STRAY for that many and more
    columns  what is to be moved of them, as SQL
    """

    schema: str
    name: str
    lower: str
    upper: str
    stray: int = 0
    columns: str = "*"


@dataclass(frozen=True)
class Plan:
    """What ``premake`` asks for."""

    step: Step | None = None
    coming: tuple[Coming, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What is asked for. table: schema and name of the parent; zones: whose calendar it may be, the likeliest first."""

    count: int
    interval: Step | None
    retention: bool
    table: tuple[str, str]
    zones: tuple[str, ...]


def plan(session: Session, key: Key, parts: Sequence[Partition], now: Clock, wish: Wish) -> Plan:
    """What is to be created. parts: those that are attached."""
    unread = [one for one in parts if one.lower is None and not one.default]
    if unread:
        return Plan(faults=(f"the bounds of {unread[0].display} say nothing of time ({unread[0].bounds})",))
    ranged = [one for one in parts if not one.default]
    zone, step = _calendar(session, [one for one in ranged if _finite(one)], wish)
    if step is None:
        why = "the bounds of its newest partitions do not tell their interval" if ranged else "there is no partition"
        hint = "say it with interval, such as 1 month, and with timezone whose calendar that is"
        return Plan(faults=(f"{why}: {hint}",))
    try:
        return _Planner(session, key, ranged, now, wish, zone, step).plan()
    except OverflowError:
        return Plan(step, faults=("the bounds of its partitions are at the end of the calendar",))


def newest(parts: Sequence[Partition]) -> Partition | None:
    """The one that new partitions are made like."""
    ranged = [one for one in parts if one.upper is not None]
    return max(ranged, key=lambda one: (_finite(one), one.upper or 0.0), default=None)


def _finite(one: Partition) -> bool:
    return all(isinstance(place, int) and calendar.FIRST <= place <= calendar.LAST for place in (one.lower, one.upper))


def _calendar(session: Session, finite: Sequence[Partition], wish: Wish) -> tuple[str, Step | None]:
    """Whose calendar partitions have been made by, and their interval, None where it cannot be told."""
    last = finite[-LOOKED_BACK:]
    others: list[tuple[str, Step]] = []
    for zone in wish.zones:
        ranges = _local(session, zone, last)
        midnight = not ranges or ranges[-1][1] % calendar.DAY == 0
        step = wish.interval or calendar.tell(ranges, len(last) == len(finite))
        if step and midnight and (wish.interval or not step.micros):
            return zone, step
        # Months and days that do not begin at midnight are of another calendar than these.
        others += [(zone, step)] if step and step.micros else []
    return others[0] if others else (wish.zones[0], None)


def _local(session: Session, zone: str, parts: Sequence[Partition]) -> list[tuple[int, int]]:
    """Finite bounds on the clock of a zone."""
    places = [int(place) for one in parts for place in (one.lower, one.upper) if place is not None]
    local = places if zone == UTC else days_begin(session, zone, places)
    return list(zip(local[::2], local[1::2]))


@dataclass(frozen=True)
class _Planner:
    """Plans by one calendar. parts: attached ranges, in their order."""

    session: Session
    key: Key
    parts: Sequence[Partition]
    now: Clock
    wish: Wish
    zone: str
    step: Step

    def plan(self) -> Plan:
        """All of it. Raises OverflowError."""
        found = premake.wanted(*self._on_calendar(), self.step, self.wish.count)
        edges = [edge for span in found.spans for edge in span]
        places = edges if self.zone == UTC else instants(self.session, self.zone, edges)
        known = self._known()
        like = next((one.range.upper for one in reversed(self.parts) if one.range and one.range.upper), None)
        texts = [known.get(place) or bounds.constant(self.key, place, like) for place in places]
        made_like = newest(self.parts)
        schema = made_like.schema if made_like else self.wish.table[0]
        wanted = self._names(found.spans, texts, schema)
        coming = [Coming(schema, name, lower, upper) for name, lower, upper in zip(wanted, texts[::2], texts[1::2])]
        return Plan(self.step, tuple(coming), tuple(dict.fromkeys(found.faults)))

    def _known(self) -> dict[int, str]:
        """Bounds that are there, as they are written: a new partition begins exactly where one ends."""
        known = {}
        for one in self.parts:
            if one.range is not None:
                for place, text in ((one.lower, one.range.lower), (one.upper, one.range.upper)):
                    if text is not None and isinstance(place, int):
                        known[place] = text
        return known

    def _on_calendar(self) -> tuple[list[tuple[Place, Place]], int, Place]:
        """Ranges, now, and since when nothing may be missed, on the clock of the calendar."""
        ranges = [(one.lower or 0, one.upper or 0) for one in self.parts]
        moments = [self.now.now, self.now.cutoff]
        known: dict[Place, int] = {}
        if self.zone != UTC:
            finite = [int(place) for one in ranges for place in one if calendar.FIRST <= place <= calendar.LAST]
            known = dict(zip(moments, localized(self.session, self.zone, moments)))
            known.update(zip(finite, days_begin(self.session, self.zone, finite)))
        local = [(known.get(lower, lower), known.get(upper, upper)) for lower, upper in ranges]
        now, cutoff = (known.get(moment, moment) for moment in moments)
        return local, now, cutoff if self.wish.retention else float("-inf")

    def _names(self, spans: Sequence[tuple[int, int]], texts: Sequence[str], schema: str) -> list[str]:
        """As those that are there have them, each free."""
        if not spans:
            return []
        regular = [one for one in self.parts if _finite(one)][-LOOKED_BACK:]
        begins = [lower for lower, _upper in _local(self.session, self.zone, regular)]
        known = [(one.name, begin, one.range.lower or "") for one, begin in zip(regular, begins) if one.range]
        followed = naming.follow(known, self.step) or naming.follow(known[-2:], self.step)
        scheme = followed or naming.plain(self.wish.table[1], self.step)
        taken, made = names(self.session, schema), []
        for (lower, _upper), text in zip(spans, texts[::2]):
            made.append(naming.free(scheme.name(lower, text), taken))
            taken.add(made[-1])
        return made


def names(session: Session, schema: str) -> set[str]:
    """What no new table of that schema can be called."""
    return set(session.row(sql.SQL(TAKEN).format(schema=sql.Literal(quote(schema))))["names"])


def counted(
    session: Session, key: Key, default: Partition, coming: Sequence[Coming], seconds: float
) -> tuple[Coming, ...]:
    """The same, with the rows of the DEFAULT partition that belong into each. They come in the order of their bounds.

    Where it takes too long to find out, the server says it when they are attached. seconds: what is left of the budget.
    """
    session.set(statement_timeout=min(READING, max(0.001, seconds)))
    try:
        return _counted(session, key, default, coming)
    except Contended:
        return tuple(coming)
    except SqlError as error:
        if error.sqlstate != QUERY_CANCELED:
            raise
        return tuple(coming)
    finally:
        session.set(statement_timeout=max(0.001, seconds))


def _counted(session: Session, key: Key, default: Partition, coming: Sequence[Coming]) -> tuple[Coming, ...]:
    common = {"default": default.identifier, "column": sql.Identifier(key.column), "type": sql.SQL(key.type)}
    query = sql.SQL(ANY_STRAY).format(
        lower=sql.Literal(coming[0].lower), upper=sql.Literal(coming[-1].upper), oid=sql.Literal(default.oid), **common
    )
    row = session.row(query)
    if not row["found"]:
        return tuple(coming)
    numbers = _strays(session, coming, common)
    return tuple(replace(one, stray=number, columns=row["columns"]) for one, number in zip(coming, numbers))


def _strays(session: Session, coming: Sequence[Coming], common: dict[str, sql.Composable]) -> list[int]:
    values = sql.SQL(", ").join(
        sql.SQL("({}, {}::text, {}::text)").format(*map(sql.Literal, (number, one.lower, one.upper)))
        for number, one in enumerate(coming)
    )
    query = sql.SQL(STRAY).format(values=values, most=sql.Literal(MOST_STRAY), **common)
    found = {row["number"]: row["rows"] for row in session.rows(query)}
    return [found[number] for number in range(len(coming))]
