# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The partitioned table and its partitions, as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Union

from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.names import display, qualified
from ...._postgres.session import Session
from . import bounds, queries
from .bounds import Key, Place, Range
from .calendar import DAY

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Partition:
    """A partition of the first level; or a table that was one, and was detached in order to be dropped (bound: "").

    kind      pg_class.relkind
    bound     as pg_get_expr() prints it
    range     None for DEFAULT, and for what cannot be read
    lower, upper  places of the bounds on the key's clock, in microseconds; None where they say nothing of time
    expired   the upper bound is not after the cut-off
    pending   it is being detached, or a detach of it was interrupted
    marked    that was begun in order to drop it
    may_create  whether the role may create tables in its schema
    """

    oid: int
    schema: str
    name: str
    kind: str
    bound: str
    owner: str
    may_alter: bool
    range: Range | None = None
    lower: Place | None = None
    upper: Place | None = None
    expired: bool = False
    pending: bool = False
    marked: bool = False
    may_create: bool = False

    @property
    def display(self) -> str:
        return display(self.schema, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        return qualified(self.schema, self.name)

    @property
    def default(self) -> bool:
        return self.bound == "DEFAULT"

    @property
    def bounds(self) -> str:
        """For people: FROM ('…') TO ('…')."""
        return self.bound.removeprefix("FOR VALUES ")


@dataclass(frozen=True)
class Clock:
    """now and cutoff: places on the key's clock; cutoff_text: the instant, in ISO format."""

    now: int
    cutoff: int
    cutoff_text: str


def read_table(session: Session, table: str, column: str, older_than: int) -> dict[str, Any]:
    """The one row of TABLE; oid is null where there is no such table."""
    return session.row(
        sql.SQL(queries.TABLE).format(
            targets=catalog.targets(session.server, [table]),
            column=sql.Literal(column),
            older_than=sql.Literal(older_than),
        )
    )


def micros(instant: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (instant - EPOCH) // EPOCH.resolution


def clock(session: Session, key: Key, row: dict[str, Any]) -> Clock:
    """Now and the cut-off on the key's clock: that of its zone, or UTC."""
    now, cutoff = row["now"], row["cutoff"]
    if not key.zoneless:
        return Clock(micros(now), micros(cutoff), cutoff.isoformat())
    local = localized(session, key.zone or "UTC", [micros(now), micros(cutoff)])
    return Clock(local[0], local[1], cutoff.isoformat())


def localized(session: Session, zone: str, instants: Sequence[int]) -> list[int]:
    """Instants on the clock of a zone."""
    return _converted(session, zone, instants, "timestamptz", "+00")


def days_begin(session: Session, zone: str, places: Sequence[int]) -> list[int]:
    """The same for bounds: the first instant of a day is its midnight, also where clocks are put forward at midnight."""
    local = localized(session, zone, places)
    odd = sorted({place // DAY * DAY for place in local if place % DAY})
    first = dict(zip(instants(session, zone, odd), odd))
    return [first.get(place, at) for place, at in zip(places, local)]


def instants(session: Session, zone: str, local: Sequence[int]) -> list[int]:
    """The other way round."""
    return _converted(session, zone, local, "timestamp", "")


def _converted(session: Session, zone: str, places: Sequence[int], type_name: str, ending: str) -> list[int]:
    if not places:
        return []
    texts = [bounds.text_of(place) + ending for place in places]
    query = sql.SQL(
        "SELECT trunc(extract(epoch FROM timezone({zone}, t.at::{type})) * 1000000)::text AS place "
        "FROM unnest({texts}::text[]) WITH ORDINALITY AS t (at, number) ORDER BY t.number"
    ).format(zone=sql.Literal(zone), type=sql.SQL(type_name), texts=sql.Literal(texts))
    return [int(row["place"]) for row in session.rows(query)]


def mark(parent: int) -> sql.Literal:
    """The text by which an interrupted drop is known, for format() with the partition's oid."""
    return sql.Literal(queries.MARK.format(parent=parent))


def read_partitions(session: Session, parent: int, key: Key, now: Clock) -> list[Partition]:
    """All of the first level, in the order of their bounds; DEFAULT, and what cannot be read, last."""
    rows = session.rows(
        sql.SQL(queries.PARTITIONS).format(parent=sql.Literal(parent), mark=mark(parent)),
    )
    ranges = [bounds.read(row["bound"] or "") for row in rows]
    places = _compared(session, key, ranges, now) if key.timely else [_counted(key, one, now) for one in ranges]
    found = [
        Partition(
            **{
                name: row[name]
                for name in ("oid", "schema", "name", "kind", "owner", "may_alter", "may_create", "pending", "marked")
            },
            bound=row["bound"] or "",
            range=one,
            lower=place[0],
            upper=place[1],
            expired=place[2],
        )
        for row, one, place in zip(rows, ranges, places)
    ]
    return sorted(found, key=lambda one: (one.lower is None, one.lower or 0.0, one.oid))


def read_left(session: Session, parent: int) -> list[Partition]:
    """Tables that were detached from this one in order to be dropped."""
    rows = session.rows(sql.SQL(queries.LEFT).format(mark=mark(parent)))
    return [Partition(**row, bound="", marked=True) for row in rows]


# Lower bound, upper bound, and whether it has expired.
_Places = tuple[Union[Place, None], Union[Place, None], bool]


def _counted(key: Key, one: Range | None, now: Clock) -> _Places:
    """Of a key whose order is that of numbers."""
    if one is None:
        return None, None, False
    lower, upper = bounds.place(key, one.lower, False), bounds.place(key, one.upper, True)
    if lower is None or upper is None:
        return None, None, False
    # What is before 1971 in the declared unit is most likely of another one.
    return lower, upper, upper >= bounds.PLAUSIBLE and bounds.last(key, one.upper, upper) <= now.cutoff


def _compared(session: Session, key: Key, ranges: Sequence[Range | None], now: Clock) -> list[_Places]:
    """Of a key whose values are times: by the server."""
    known = {number: one for number, one in enumerate(ranges) if one is not None}
    if not known:
        return [(None, None, False)] * len(ranges)
    values = sql.SQL(", ").join(
        sql.SQL("({}, {}::text, {}::text)").format(*map(sql.Literal, (number, one.lower, one.upper)))
        for number, one in known.items()
    )
    expired = sql.SQL(queries.EXPIRED[key.kind]).format(zone=sql.Literal(key.zone), cutoff=sql.Literal(now.cutoff_text))
    query = sql.SQL(queries.TIMES).format(
        lower_place=sql.SQL(queries.LOWER_PLACE),
        upper_place=sql.SQL(queries.UPPER_PLACE),
        expired=expired,
        type=sql.SQL(key.type),
        values=values,
    )
    found = {row["number"]: row for row in session.rows(query)}
    return [
        (_place(found[number]["lower"]), _place(found[number]["upper"]), found[number]["expired"])
        if number in found
        else (None, None, False)
        for number in range(len(ranges))
    ]


def _place(text: str) -> Place:
    return float(text) if text.endswith("infinity") else int(text)
