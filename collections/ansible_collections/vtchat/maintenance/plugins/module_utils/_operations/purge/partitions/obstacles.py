# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Why an expired partition cannot go: looked at before anything is touched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...._errors import Contended, SqlError
from ...._postgres.driver import sql
from ...._postgres.names import quote
from ...._postgres.policy import BLOCKING, LIGHT
from ...._postgres.session import Session
from ...._postgres.sqlstates import QUERY_CANCELED
from . import bounds, queries
from .bounds import Key
from .refusals import owner_fault
from .table import Partition


@dataclass(frozen=True)
class Obstacle:
    """Why a partition stays.

    passing  the next run may find it gone
    after    oids of partitions that go as well, and take it along: only when they have gone can this one go
    """

    reason: str
    passing: bool = False
    after: frozenset[int] = frozenset()


# As the server itself looks before a partition goes.
REFERS = "SELECT EXISTS (SELECT FROM {referred} AS p JOIN {table} AS r ON {equal}) AS refers"
# In which partitions those rows are; 0 stands for all other tables.
REFERRING = """
WITH RECURSIVE {part}
SELECT array_agg(DISTINCT coalesce(part.top, 0)::bigint) AS tops
FROM (SELECT DISTINCT r.tableoid AS oid FROM {referred} AS p JOIN {table} AS r ON {equal}) AS who LEFT JOIN part USING (oid)
"""
# Ids that have no time in them, among the first rows: they never expire, wherever their partition ends.
STRANGE = {
    bounds.UUID: "SELECT bool_or(get_byte(uuid_send(id::uuid), 6) / 16 <> 7) AS strange FROM ({ids}) AS x",
    bounds.ULID: "SELECT bool_or(id::text !~ '^[0-7][0-9A-HJKMNP-TV-Z]{{25}}$') AS strange FROM ({ids}) AS x",
}
IDS = "SELECT {column} AS id FROM {table} WHERE {column} IS NOT NULL LIMIT 1000"
EARLY = "SELECT EXISTS (SELECT FROM {table} WHERE {column} < {first}) AS early"
WORDS = {bounds.UUID: "no UUID of version 7", bounds.ULID: "no ULID"}
FOREIGN = """
WITH RECURSIVE {part}
SELECT DISTINCT part.top::bigint AS oid FROM part JOIN pg_class AS c ON c.oid = part.oid WHERE c.relkind = 'f'
"""
LOOKING = 20.0  # seconds that all of this may take


def sizes(session: Session, parts: Sequence[Partition]) -> dict[int, tuple[int, int | None]]:
    """By oid: bytes with indexes and TOAST, and rows as far as they were ever counted. Empty where one is locked."""
    if not parts:
        return {}
    try:
        rows = session.rows(_about(queries.SIZES, parts))
    except Contended:
        return {}
    return {row["oid"]: (row["bytes"], row["rows"]) for row in rows}


def _about(query: str, parts: Sequence[Partition], **more: sql.Composable) -> sql.Composed:
    """A query about these, and all that is below them."""
    part = sql.SQL(queries.PART).format(oids=sql.Literal([one.oid for one in parts]))
    return sql.SQL(query).format(part=part, **more)


def look(
    session: Session, parent: int, key: Key, parts: Sequence[Partition], drop: bool, seconds_left: Callable[[], float]
) -> dict[int, Obstacle]:
    """By oid, of those that cannot go, or cannot go first: why."""
    if not parts:
        return {}
    found = _rights(session, parts, drop)
    if drop:
        for oid, obstacle in _lost_with_it(session, parts):
            found.setdefault(oid, obstacle)
    end = time.monotonic() + min(LOOKING, seconds_left())
    for one in parts:
        if not _certain(found.get(one.oid)):
            timeless = _timeless(session, key, one, seconds_left)
            found.update({one.oid: timeless} if timeless else {})
    for row in session.rows(_about(queries.REFERRED, parts, parent=sql.Literal(parent))):
        known = found.get(row["oid"])
        if row["readable"] and not _certain(known):
            referred = _referred(session, row, parts if drop else (), end, seconds_left)
            found.update({row["oid"]: _both(known, referred)} if referred else {})
    return found


def _certain(known: Obstacle | None) -> bool:
    """Whether it keeps a partition whatever else goes."""
    return known is not None and not known.after


def _both(known: Obstacle | None, other: Obstacle) -> Obstacle:
    """What two obstacles come to."""
    if known is None or _certain(other):
        return other
    return replace(known, after=known.after | other.after)


def _rights(session: Session, parts: Sequence[Partition], drop: bool) -> dict[int, Obstacle]:
    what = "it can be detached" + (" and dropped" if drop else "")
    return {one.oid: Obstacle(owner_fault(session.server, one.owner, what)) for one in parts if not one.may_alter}


def _lost_with_it(session: Session, parts: Sequence[Partition]) -> Iterator[tuple[int, Obstacle]]:
    """What a DROP would take along, or be refused for."""
    foreign = {row["oid"] for row in session.rows(_about(FOREIGN, parts))}
    for oid in foreign:
        reason = "there is a foreign table in it: set partitions: detach, and drop it where its rows are"
        yield oid, Obstacle(reason)
    for row in session.rows(_about(queries.DEPENDENT, parts)):
        if not row["needed_by"]:
            yield row["oid"], Obstacle("foreign keys of other partitions refer to it", after=frozenset(row["after"]))
            continue
        needed = ", ".join(row["needed_by"])
        reason = f"other objects need it: {needed}: drop or redefine them first, or set partitions: detach"
        yield row["oid"], Obstacle(reason)


def _timeless(session: Session, key: Key, part: Partition, seconds_left: Callable[[], float]) -> Obstacle | None:
    """Whether rows have values that say nothing of time, and never expire."""
    if key.kind in STRANGE:
        return _strange(session, key, part)
    # Those of a table that is detached already were looked at before.
    if key.kind == bounds.INTEGER and part.lower is not None and part.lower < bounds.PLAUSIBLE:
        return _early(session, key, part, seconds_left)
    return None


def _early(session: Session, key: Key, part: Partition, seconds_left: Callable[[], float]) -> Obstacle | None:
    """Whether rows have numbers before 1971, which mean no time: a plain id, or never."""
    column = quote(key.column)
    query = sql.SQL(EARLY).format(
        table=part.identifier, column=sql.Identifier(key.column), first=sql.Literal(bounds.PLAUSIBLE // key.unit)
    )
    session.set(statement_timeout=BLOCKING)
    try:
        early = session.row(query)["early"]
    except SqlError as error:
        if error.sqlstate != QUERY_CANCELED:
            raise
        reason = (
            f"whether it has rows whose {column} is before 1971, which never expire, takes longer than {BLOCKING:g} s to find "
            f"out: CREATE INDEX CONCURRENTLY ON {part.display} ({column})"
        )
        return Obstacle(reason)
    except Contended:
        return Obstacle("it is locked", passing=True)
    finally:
        session.set(statement_timeout=max(0.001, seconds_left()))
    reason = f"it has rows whose {column} is before 1971, and never expires: delete them first, or move them elsewhere"
    return Obstacle(reason) if early else None


def _strange(session: Session, key: Key, part: Partition) -> Obstacle | None:
    """Whether rows have ids that say nothing of time: then bounds say nothing either."""
    ids = sql.SQL(IDS).format(column=sql.Identifier(key.column), table=part.identifier)
    try:
        strange = session.row(sql.SQL(STRANGE[key.kind]).format(ids=ids))["strange"]
    except Contended:
        return Obstacle("it is locked", passing=True)
    return (
        Obstacle(f"it has rows whose {quote(key.column)} is {WORDS[key.kind]}, and never expires") if strange else None
    )


def _referred(
    session: Session, row: dict[str, Any], going: Sequence[Partition], end: float, seconds_left: Callable[[], float]
) -> Obstacle | None:
    """Why a foreign key keeps a partition, None if no row refers to it. end: when looking must end, of a monotonic clock.

    going: what may go before it, with the rows that refer to it.

    The server looks once more while it detaches, and writes to the other table wait meanwhile: it must not take long.
    """
    name, table = quote(row["constraint"]), row["table"]
    if time.monotonic() >= end:
        return Obstacle(f"there was no time left to see whether rows of {table} refer to it ({name})", passing=True)
    join = {name: sql.SQL(row[name]) for name in ("referred", "table", "equal")}
    session.set(statement_timeout=BLOCKING, lock_timeout=LIGHT)
    after: frozenset[int] = frozenset()
    try:
        refers = session.row(sql.SQL(REFERS).format(**join))["refers"]
        if refers and row["among"] and going:
            after = _referring(session, row["oid"], going, join)
    except SqlError as error:
        if error.sqlstate != QUERY_CANCELED:
            raise
        reason = (
            f"whether rows of {table} refer to it ({name}) takes longer than {BLOCKING:g} s to find out, and writes there would "
            f"wait meanwhile: CREATE INDEX CONCURRENTLY ON {table} ({row['columns']}), or drop the constraint"
        )
        return Obstacle(reason)
    except Contended:
        return Obstacle(f"{table}, which refers to it ({name}), is locked", passing=True)
    finally:
        session.set(statement_timeout=max(0.001, seconds_left()))
    if not refers:
        return None
    reason = f"rows of {table} refer to it ({name}): purge those first, or drop the constraint"
    return Obstacle(reason, after=after)


def _referring(session: Session, oid: int, going: Sequence[Partition], join: dict[str, sql.SQL]) -> frozenset[int]:
    """Oids of the partitions that hold all rows that refer to this one; none where others do, or its own."""
    try:
        tops = session.row(_about(REFERRING, going, **join))["tops"] or ()
    except SqlError as error:
        if error.sqlstate != QUERY_CANCELED:
            raise
        return frozenset()  # it takes longer to see than to wait for the next run
    return frozenset() if {0, oid} & set(tops) else frozenset(tops)
