# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The statements that find and delete expired rows.

They have the user's predicate in them, and fire the table's triggers, so they run under the search_path that the user has.
Everything of ours in them is therefore qualified, operators and types included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..._errors import MaintenanceError
from ..._postgres.driver import sql
from ..._postgres.session import Session
from .clocks import Term, constant

if TYPE_CHECKING:
    from .beside import Beside
    from .sweep import Sweep

# Rows are found by place because only a place is certain to exist; a place is unique only within one partition.
# The predicate stands in the DELETE again: between the two the row may have been given a new time.
BATCH = """
WITH picked AS MATERIALIZED ({pick}), gone AS ({delete} RETURNING 1)
SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone, {last}{look}
"""
# Not max(), which not every type has that can be sorted. As a text it is another column, by which nothing may be sorted.
LAST = """
(SELECT value::pg_catalog.text FROM (SELECT value FROM picked ORDER BY value DESC NULLS LAST LIMIT 1) AS latest) AS last"""
# ORDER BY names the table, for a bare name could be that of an output column.
PICK = "SELECT tableoid AS part, ctid AS place, {value} AS value FROM {table} WHERE {which}{order}{limit} FOR UPDATE SKIP LOCKED"
# A place is unique only within one partition or child table. Left out where there is only one: it costs a third of the time.
OF_PART = " AND (tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT part, place FROM picked)"
PICKED = "ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked)){of_part} AND {expired}"
# One range of pages of every part of the table at once: through the table itself, so that its rights, row security and
# triggers are those of a DELETE that anybody writes.
RANGE = "(ctid OPERATOR(pg_catalog.>=) {first}::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) {end}::pg_catalog.tid)"
LOOKED = "WITH gone AS ({delete} RETURNING 1) SELECT (SELECT pg_catalog.count(*) FROM gone) AS gone{look}"

# Rows by their places. IS TRUE keeps these lists from becoming joins.
PLACES = "ctid OPERATOR(pg_catalog.=) ANY ({places}::pg_catalog.tid[])"
PLACES_OF_PARTS = """ AND ((tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT p.part, p.place FROM ROWS FROM (
    pg_catalog.unnest({parts}::pg_catalog.oid[]), pg_catalog.unnest({places}::pg_catalog.tid[])) AS p (part, place))) IS TRUE"""
WHERE_THEY_ARE = """
SELECT part::pg_catalog.int8 AS part, place::pg_catalog.text AS place, value::pg_catalog.text AS value FROM ({pick}) AS picked
"""

COUNTED = """
SELECT pg_catalog.sum(pg_catalog.pg_stat_get_xact_tuples_deleted(oid))::pg_catalog.int8 AS rows
FROM pg_catalog.unnest({parts}::pg_catalog.oid[]) AS parts (oid)
"""
LEFT = """
SELECT pg_catalog.count(*) AS rows, pg_catalog.array_agg(DISTINCT xmax::pg_catalog.text) AS lockers
FROM (SELECT {column} FROM {table} WHERE {which} LIMIT {limit}) AS expired
"""

SAMPLE = 128  # pages: enough to tell many rows from few


class Refusal(MaintenanceError):
    """A batch was rolled back because of one of its rows: without that one it may succeed. sqlstate: as in SqlError."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Row(NamedTuple):
    """Where a row is, and the value that it has in the order in which it was found."""

    part: int
    place: str
    value: str | None


@dataclass(frozen=True)
class Batch:
    """A DELETE without RETURNING. pick: the SELECT of the CTE ``picked`` that it refers to, None where it does not."""

    pick: sql.Composable | None
    delete: sql.Composable

    def statement(self, look: str) -> sql.Composed:
        """It counts its rows, and looks around while it still holds their locks."""
        if self.pick is None:
            return sql.SQL(LOOKED).format(delete=self.delete, look=sql.SQL(look))
        return sql.SQL(BATCH).format(pick=self.pick, delete=self.delete, last=sql.SQL(LAST), look=sql.SQL(look))


class Keep(Protocol):
    """What keeps rows that are deleted, or deletes others before them.

    picks  it wants to know which rows they are beforehand
    room   rows of other tables that one transaction may delete
    """

    picks: bool
    room: int

    def batch(self, session: Session, batch: Batch, look: str) -> dict[str, Any]:
        """Keep the rows and delete them, in one transaction; ``picked``, ``gone``, ``last`` and what the look shows.

        ``again``: the rows are still there, and the same batch goes on with what is to be deleted before them.
        Raises MaintenanceError, and then nothing was deleted; Refusal where that is because of single rows.
        """

    def close(self) -> dict[str, Any]:
        """Nothing more comes; what the result says of it."""


@dataclass(frozen=True)
class Purge:
    """What is to be deleted.

    oid       of the table
    divided   whether the table has partitions or child tables
    terms     a row has expired when any of them holds
    heap      whether to go through the pages, in place of the indexes
    served    whether indexes serve all terms
    triggers  whether a trigger may keep rows
    slow      whether a row may be slow to find or to delete: by a trigger, what goes or changes with it, a condition of the user
    tuples    rows that it has, by its statistics; bytes: its size, indexes not counted, 0 where its rows cannot be sampled
    beside    what else is to be done with rows
    held      the predicate of rows that have expired and stay, because others refer to them
    holds     whether that is as it should be
    sweep     what to remember when all pages were gone through, None where an index serves or is not asked for
    itself    oids of its parts, where rows of it go with others of it by a foreign key; empty where none do
    moves     rows of it are changed when others of it go, by a foreign key, and stand elsewhere then
    others    the predicate of rows that were not found to be impossible to delete, None while none was
    seen      columns of which values were seen that are what is declared, for the next run
    """

    oid: int
    table: sql.Composable
    divided: bool
    terms: tuple[Term, ...]
    max_rows: int | None
    batch_seconds: float
    pace: float | None = None
    heap: bool = False
    served: bool = True
    triggers: bool = False
    slow: bool = False
    tuples: int = 0
    bytes: int = 0
    beside: Beside | None = None
    held: sql.Composable | None = None
    holds: bool = True
    sweep: Sweep | None = None
    itself: tuple[int, ...] = ()
    moves: bool = False
    others: sql.Composable | None = None
    seen: tuple[str, ...] = ()

    @property
    def expired(self) -> sql.Composable:
        """The predicate of an expired row that can go, as far as is known."""
        each = [term.expired for term in self.terms]
        if len(each) > 1:
            each = [sql.SQL("({})").format(sql.SQL(" OR ").join(sql.SQL("({})").format(one) for one in each))]
        return sql.SQL(" AND ").join([*each, self.others]) if self.others else each[0]

    def sparing(self, free: sql.Composable, holds: bool) -> Purge:
        """The same without rows that others hold. free: the predicate of a row that none does; holds: see there."""
        held = [sql.SQL("({} AND NOT ({}))").format(term.expired, free) for term in self.terms]
        terms = [replace(term, expired=sql.SQL("{} AND {}").format(term.expired, free)) for term in self.terms]
        return replace(self, terms=tuple(terms), held=sql.SQL(" OR ").join(held), holds=holds)

    def without(self, session: Session, rows: Sequence[Row]) -> Purge:
        """The same without these rows, of all that are to stay."""
        if not rows:
            return replace(self, others=None)
        return replace(self, others=sql.SQL(session.text(sql.SQL("NOT ({})").format(self._places(rows)))))

    def written(self, session: Session) -> Purge:
        """The same with its parts as text: they are the same in each batch."""
        terms = tuple(replace(term, expired=sql.SQL(session.text(term.expired))) for term in self.terms)
        return replace(self, table=sql.SQL(session.text(self.table)), terms=terms)

    def of(self, term: Term) -> Purge:
        """The same for one way to expire."""
        return replace(self, terms=(term,))

    def in_order(self, size: int, last: str | None, strictly: bool) -> Batch:
        """The next rows of the only term, by its column: not from the front again, past all that are dead by now."""
        (term,) = self.terms
        which = self.expired
        if term.order is not None and last is not None:
            operator = sql.SQL("OPERATOR(pg_catalog.>)" if strictly else "OPERATOR(pg_catalog.>=)")
            which = sql.SQL("{} AND {} {} {}").format(which, term.order, operator, constant(last, term.cast))
        order = sql.SQL("") if term.order is None else sql.SQL(" ORDER BY {}.{}").format(self.table, term.order)
        value = sql.SQL("NULL::pg_catalog.text") if term.order is None else term.order
        return self._picked(which, value, order, sql.SQL(" LIMIT {}").format(sql.Literal(size)))

    def unlocked(self, first: int, end: int) -> Batch:
        """The rows of a range of pages that nobody has locked."""
        which = sql.SQL("{} AND {}").format(_range(first, end), self.expired)
        return self._picked(which, sql.SQL("NULL::pg_catalog.text"), sql.SQL(""), sql.SQL(""))

    def those(self, rows: Sequence[Row]) -> Batch:
        """Of these rows those that have expired and that nobody has locked."""
        which = sql.SQL("{} AND {}").format(self._places(rows), self.expired)
        return self._picked(which, sql.SQL("NULL::pg_catalog.text"), sql.SQL(""), sql.SQL(""))

    def within(self, first: int, end: int) -> sql.Composed:
        """DELETE of all expired rows of a range of pages: waits for those that somebody has locked."""
        return self.delete(_range(first, end))

    def delete(self, which: sql.Composable) -> sql.Composed:
        """DELETE of the expired rows among those."""
        return sql.SQL("DELETE FROM {} WHERE {} AND {}").format(self.table, which, self.expired)

    def _picked(
        self, which: sql.Composable, value: sql.Composable, order: sql.Composable, limit: sql.Composable
    ) -> Batch:
        pick = sql.SQL(PICK).format(table=self.table, value=value, which=which, order=order, limit=limit)
        picked = sql.SQL(PICKED).format(of_part=sql.SQL(OF_PART if self.divided else ""), expired=self.expired)
        return Batch(pick, sql.SQL("DELETE FROM {} WHERE {}").format(self.table, picked))

    def _places(self, rows: Sequence[Row]) -> sql.Composed:
        """The predicate of rows in these places: one is unique only within a partition."""
        lists = {
            "parts": sql.Literal("{" + ",".join(str(row.part) for row in rows) + "}"),
            "places": sql.Literal("{" + ",".join(f'"{row.place}"' for row in rows) + "}"),
        }
        return sql.SQL(PLACES + (PLACES_OF_PARTS if self.divided else "")).format(**lists)

    def count(self, limit: int | None) -> sql.Composed:
        """How many rows have expired."""
        return sql.SQL("SELECT pg_catalog.count(*) AS rows FROM (SELECT FROM {} WHERE {} LIMIT {}) AS expired").format(
            self.table, self.expired, sql.Literal(limit)
        )

    def count_left(self, limit: int) -> sql.Composed:
        """The same, with the transactions that have locked or changed these rows, or tried to; of tables that are heaps."""
        column = sql.SQL("xmax" if self.bytes else "NULL::pg_catalog.xid AS xmax")
        return sql.SQL(LEFT).format(table=self.table, which=self.expired, limit=sql.Literal(limit), column=column)

    def counted(self) -> sql.Composed:
        """How many rows this session has deleted, as its statistics know; those of earlier transactions may be among them."""
        return sql.SQL(COUNTED).format(parts=sql.Literal(list(self.itself)))

    def count_held(self, limit: int) -> sql.Composed:
        """How many expired rows stay because others refer to them."""
        which = self.held or sql.SQL("false")
        return sql.SQL("SELECT pg_catalog.count(*) AS rows FROM (SELECT FROM {} WHERE {} LIMIT {}) AS held").format(
            self.table, which, sql.Literal(limit)
        )

    def found(self) -> sql.Composed:
        """Whether any row has."""
        each = [sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(self.table, term.expired) for term in self.terms]
        return sql.SQL("SELECT {} AS found").format(sql.SQL(" OR ").join(each))

    def plan(self, term: Term) -> sql.Composed:
        """EXPLAIN of looking for the first row of a term."""
        order = sql.SQL("") if term.order is None else sql.SQL(" ORDER BY {}").format(term.order)
        return sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) SELECT FROM {} WHERE {}{} LIMIT 1").format(
            self.table, term.expired, order
        )

    def sample(self, percent: float, every: bool = False) -> sql.Composed:
        """How many rows have expired in so many of the pages, from everywhere; every: how many there are."""
        query = "SELECT pg_catalog.count(*) AS rows FROM {} TABLESAMPLE pg_catalog.system ({}) WHERE {}"
        which = sql.SQL("true") if every else self.expired
        return sql.SQL(query).format(self.table, sql.Literal(percent), which)

    def estimate(self) -> sql.Composed:
        """EXPLAIN of reading all of them."""
        return sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} WHERE {}").format(self.table, self.expired)


def where_they_are(session: Session, batch: Batch) -> list[Row]:
    """The rows of a batch, in its order. Raises Contended."""
    found = session.rows(sql.SQL(WHERE_THEY_ARE).format(pick=batch.pick), users_path=True) if batch.pick else []
    return [Row(**row) for row in found]


def _range(first: int, end: int) -> sql.Composed:
    return sql.SQL(RANGE).format(first=sql.Literal(f"({first},0)"), end=sql.Literal(f"({end},0)"))
