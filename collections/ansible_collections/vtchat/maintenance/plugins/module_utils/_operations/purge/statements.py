# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The statements that find and delete expired rows.

They have the user's predicate in them, and fire the table's triggers, so they run under the search_path that the user has.
Everything of ours in them is therefore qualified, operators and types included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..._postgres.driver import sql
from .clocks import Term, constant

# Rows are found by place because only a place is certain to exist; a place is unique only within one partition.
# The predicate stands in the DELETE again: between the two the row may have been given a new time.
BATCH = """
WITH picked AS MATERIALIZED ({pick}), gone AS ({delete} RETURNING 1)
SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone,
       (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last{look}
"""
# ORDER BY names the table, for a bare name could be that of an output column.
PICK = "SELECT tableoid AS part, ctid AS place, {value} AS value FROM {table} WHERE {which}{order}{limit} FOR UPDATE SKIP LOCKED"
# A place is unique only within one partition or child table. Left out where there is only one: it costs a third of the time.
OF_PART = " AND (tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT part, place FROM picked)"
PICKED = "ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked))"
# One range of pages of every part of the table at once: through the table itself, so that its rights, row security and
# triggers are those of a DELETE that anybody writes.
RANGE = "(ctid OPERATOR(pg_catalog.>=) {first}::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) {end}::pg_catalog.tid)"
# Which rows they are, to be deleted by a statement of its own in the same transaction.
PLACES = """
WITH picked AS MATERIALIZED ({pick})
SELECT pg_catalog.count(*) AS picked, pg_catalog.max(value)::pg_catalog.text AS last,
       pg_catalog.array_agg(place::pg_catalog.text) AS places, pg_catalog.array_agg(part::pg_catalog.int8) AS parts FROM picked
"""
PLACED = "ctid OPERATOR(pg_catalog.=) ANY ({places}::pg_catalog.tid[])"
OF_PARTS = """ AND (tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT u.part::pg_catalog.oid, u.place
FROM ROWS FROM (pg_catalog.unnest({parts}::pg_catalog.int8[]),
    pg_catalog.unnest({places}::pg_catalog.tid[])) AS u (part, place))"""
LOOKED = "WITH gone AS ({delete} RETURNING 1) SELECT (SELECT pg_catalog.count(*) FROM gone) AS gone{look}"


@dataclass(frozen=True)
class Purge:
    """What is to be deleted.

    divided   whether the table has partitions or child tables
    terms     a row has expired when any of them holds
    heap      whether to go through the pages, in place of the indexes
    served    whether indexes serve all terms
    triggers  whether a trigger may keep rows
    """

    table: sql.Composable
    divided: bool
    terms: tuple[Term, ...]
    max_rows: int | None
    batch_seconds: float
    pace: float | None = None
    heap: bool = False
    served: bool = True
    triggers: bool = False

    @property
    def expired(self) -> sql.Composable:
        """The predicate of an expired row."""
        if len(self.terms) == 1:
            return self.terms[0].expired
        each = [sql.SQL("({})").format(term.expired) for term in self.terms]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(each))

    def of(self, term: Term) -> Purge:
        """The same for one way to expire."""
        return replace(self, terms=(term,))

    def in_order(self, size: int, last: str | None, strictly: bool, look: str) -> sql.Composed:
        """Delete the next rows of the only term."""
        return self._batch(self.pick_in_order(size, last, strictly), look)

    def unlocked(self, first: int, end: int, look: str) -> sql.Composed:
        """Delete the rows of a range of pages that nobody has locked."""
        return self._batch(self.pick_unlocked(first, end), look)

    def pick_in_order(self, size: int, last: str | None, strictly: bool) -> sql.Composed:
        """Lock the next rows of the only term, by its column: not from the front again, past all that are dead by now."""
        (term,) = self.terms
        which = self.expired
        if term.order is not None and last is not None:
            operator = sql.SQL("OPERATOR(pg_catalog.>)" if strictly else "OPERATOR(pg_catalog.>=)")
            which = sql.SQL("{} AND {} {} {}").format(which, term.order, operator, constant(last, term.cast))
        order = sql.SQL("") if term.order is None else sql.SQL(" ORDER BY {}.{}").format(self.table, term.order)
        value = sql.SQL("NULL::pg_catalog.text") if term.order is None else term.order
        return self._pick(which, value, order, sql.SQL(" LIMIT {}").format(sql.Literal(size)))

    def pick_unlocked(self, first: int, end: int) -> sql.Composed:
        """Lock the rows of a range of pages that nobody has locked."""
        which = sql.SQL("{} AND {}").format(_range(first, end), self.expired)
        return self._pick(which, sql.SQL("NULL::pg_catalog.text"), sql.SQL(""), sql.SQL(""))

    def places(self, pick: sql.Composable) -> sql.Composed:
        """Which rows have been locked."""
        return sql.SQL(PLACES).format(pick=pick)

    def placed(self, places: list[str], parts: list[int]) -> sql.Composed:
        """DELETE of these rows."""
        which = sql.SQL(PLACED).format(places=sql.Literal(places))
        if self.divided:
            which += sql.SQL(OF_PARTS).format(places=sql.Literal(places), parts=sql.Literal(parts))
        return self.delete(which)

    def within(self, first: int, end: int) -> sql.Composed:
        """DELETE of all expired rows of a range of pages: waits for those that somebody has locked."""
        return self.delete(_range(first, end))

    def delete(self, which: sql.Composable) -> sql.Composed:
        """DELETE of the expired rows among those."""
        return sql.SQL("DELETE FROM {} WHERE {} AND {}").format(self.table, which, self.expired)

    def looked(self, delete: sql.Composable, look: str) -> sql.Composed:
        """A DELETE that counts its rows, and looks around while it still holds their locks."""
        return sql.SQL(LOOKED).format(delete=delete, look=sql.SQL(look))

    def _pick(
        self, which: sql.Composable, value: sql.Composable, order: sql.Composable, limit: sql.Composable
    ) -> sql.Composed:
        return sql.SQL(PICK).format(table=self.table, value=value, which=which, order=order, limit=limit)

    def _batch(self, pick: sql.Composable, look: str) -> sql.Composed:
        delete = self.delete(sql.SQL(PICKED + OF_PART if self.divided else PICKED))
        return sql.SQL(BATCH).format(pick=pick, delete=delete, look=sql.SQL(look))

    def count(self, limit: int | None) -> sql.Composed:
        """How many rows have expired."""
        return sql.SQL("SELECT pg_catalog.count(*) AS rows FROM (SELECT FROM {} WHERE {} LIMIT {}) AS expired").format(
            self.table, self.expired, sql.Literal(limit)
        )

    def found(self) -> sql.Composed:
        """Whether any row has."""
        each = [sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(self.table, term.expired) for term in self.terms]
        return sql.SQL("SELECT {} AS found").format(sql.SQL(" OR ").join(each))

    def plan(self, term: Term) -> sql.Composed:
        """EXPLAIN of looking for the first row of a term."""
        order = sql.SQL("") if term.order is None else sql.SQL(" ORDER BY {}").format(term.order)
        return sql.SQL("EXPLAIN SELECT FROM {} WHERE {}{} LIMIT 1").format(self.table, term.expired, order)

    def estimate(self) -> sql.Composed:
        """EXPLAIN of reading all of them."""
        return sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} WHERE {}").format(self.table, self.expired)


def _range(first: int, end: int) -> sql.Composed:
    return sql.SQL(RANGE).format(first=sql.Literal(f"({first},0)"), end=sql.Literal(f"({end},0)"))
