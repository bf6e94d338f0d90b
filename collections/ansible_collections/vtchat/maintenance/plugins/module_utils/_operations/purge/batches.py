# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Deleting expired rows: the statements, and going through the table in batches.

These statements have the user's predicate in them, and fire the table's triggers, so they run under the search_path that the
user has. Everything of ours in them is therefore qualified, operators and types included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..._errors import Contended
from ..._jitter import jittered
from ..._postgres.driver import sql
from ..._postgres.policy import BATCH_TRIES, LIGHT, ROW, next_batch_size
from ..._postgres.session import Session
from ..._postgres.sqlstates import LOCK_NOT_AVAILABLE
from ..._units import rate, rows
from .. import Action, Context, Difference, Outcome

FIRST_BATCH = 1000  # rows
MOST_COUNTED = 1000  # of the rows that are left; "more than 1 000" is enough to know
LAG_LIMIT = 64 * 1024 * 1024  # bytes of WAL that a replica may be behind before a purge waits for it
LAG_LOOK = 2.0  # seconds between looks at the replicas

TYPES = {
    "timestamp with time zone": "pg_catalog.timestamptz",
    "timestamp without time zone": "pg_catalog.timestamp",
    "date": "pg_catalog.date",
}

# Rows are found by place because only a place is certain to exist; a place is unique only within one partition.
# The predicate stands in the DELETE again: between the two the row may have been given a new time. ORDER BY names the
# table, for a bare name could be that of an output column.
BATCH = """
WITH picked AS MATERIALIZED (
    SELECT tableoid AS part, ctid AS place, {column} AS value FROM {table}
    WHERE {expired} AND {beyond} ORDER BY {table}.{column} LIMIT {size} FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {table} WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked))
    {of_part} AND {expired} RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone,
       (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last
"""

# A place is unique only within one partition or child table. Left out where there is only one: it costs a third of the time.
OF_PART = "AND (tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT part, place FROM picked)"

LAG = """
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint AS bytes
FROM pg_stat_replication WHERE replay_lsn IS NOT NULL
"""


@dataclass(frozen=True)
class Purge:
    """What is to be deleted.

    column_type  the base type of the column, as format_type() writes it
    expired      the predicate of a row whose time has come
    """

    table: sql.Composable
    divided: bool
    column: sql.Composable
    column_type: str
    expired: sql.Composable
    max_rows: int | None
    batch_seconds: float

    def batch(self, size: int, beyond: sql.Composable) -> sql.Composed:
        return sql.SQL(BATCH).format(
            table=self.table,
            column=self.column,
            expired=self.expired,
            beyond=beyond,
            size=sql.Literal(size),
            of_part=sql.SQL(OF_PART if self.divided else ""),
        )

    def beyond(self, last: str | None, strictly: bool) -> sql.Composable:
        """Where the next batch starts: not at the front again, past all the rows that are dead by now."""
        if last is None:
            return sql.SQL("true")
        operator = sql.SQL("OPERATOR(pg_catalog.>)" if strictly else "OPERATOR(pg_catalog.>=)")
        return sql.SQL("{} {} {}").format(self.column, operator, constant(last, self.column_type))

    def count(self, limit: int | None) -> sql.Composed:
        return sql.SQL("SELECT pg_catalog.count(*) AS rows FROM (SELECT FROM {} WHERE {} LIMIT {}) AS expired").format(
            self.table, self.expired, sql.Literal(limit)
        )

    def found(self) -> sql.Composed:
        return sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {}) AS found").format(self.table, self.expired)

    def plan(self) -> sql.Composed:
        """EXPLAIN of looking for the first row."""
        query = "EXPLAIN SELECT FROM {} WHERE {} ORDER BY {} LIMIT 1"
        return sql.SQL(query).format(self.table, self.expired, self.column)


def constant(value: str, column_type: str) -> sql.Composed:
    """A time for comparison with the column."""
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(TYPES[column_type]))


def expired(column: sql.Composable, column_type: str, cutoff: datetime, timezone: str | None) -> sql.Composed:
    """The predicate of an expired row. NULL never expires; neither does infinity.

    A zone-less time is compared twice: as it is, which an index can serve, and converted, which is exact: where clocks
    are turned back PostgreSQL takes the later of two possible instants, so no row goes early. A date has passed when
    its whole day has.
    """
    instant = constant(cutoff.isoformat(), "timestamp with time zone")
    if column_type == "timestamp with time zone":
        return sql.SQL("{} OPERATOR(pg_catalog.<=) {}").format(column, instant)
    local = sql.SQL("pg_catalog.timezone({}, {})").format(sql.Literal(timezone), instant)
    if column_type == "date":
        return sql.SQL("{} OPERATOR(pg_catalog.<) {}::pg_catalog.date").format(column, local)
    return sql.SQL(
        "{column} OPERATOR(pg_catalog.<=) {local} AND "
        "pg_catalog.timezone({zone}, {column}::pg_catalog.timestamp) OPERATOR(pg_catalog.<=) {instant}"
    ).format(column=column, zone=sql.Literal(timezone), local=local, instant=instant)


def difference(rows: int, left: int) -> Difference:
    """What --diff shows: ``rows`` were deleted, or would be."""
    return Difference(f"{rows} expired rows\n", f"{left} expired rows\n")


class Progress:
    """A purge under way."""

    def __init__(
        self, session: Session, action: Action[Purge], context: Context, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.session, self.target, self.context, self.purge = session, action.target, context, action.payload
        self.sleep = sleep
        self.started = self.looked = time.monotonic()
        self.rows = self.batches = self.retries = 0
        self.size = FIRST_BATCH
        self.paused = 0.0
        self.numbers: dict[str, Any] = {}

    @property
    def full(self) -> bool:
        return self.purge.max_rows is not None and self.rows >= self.purge.max_rows

    def one_pass(self) -> bool:
        """Go once through the expired rows, oldest first. False when time ran out."""
        last, strictly = None, False
        while not self.full:
            if self.context.seconds_left() <= 0:
                return False
            row = self._batch(self.purge.beyond(last, strictly))
            if not row["picked"]:
                return True
            # A batch of which nothing could be deleted must not be picked again.
            last, strictly = row["last"], row["gone"] == 0
            self._yield_to_replicas()
        return True

    def left(self) -> int:
        """Expired rows that are still there, up to one more than MOST_COUNTED."""
        return int(self.session.row(self.purge.count(MOST_COUNTED + 1), users_path=True)["rows"])

    def _batch(self, beyond: sql.Composable) -> dict[str, Any]:
        """One batch. What somebody else's transaction spoils is tried again with smaller ones, a few times."""
        for attempt in range(BATCH_TRIES):
            size = self.size if self.purge.max_rows is None else min(self.size, self.purge.max_rows - self.rows)
            self.session.set(lock_timeout=ROW)
            began = time.monotonic()
            try:
                row = self.session.row(self.purge.batch(size, beyond), users_path=True)
                break
            except Contended as error:
                self._try_again(error, attempt)
        if row["picked"] == size:
            self.size = next_batch_size(self.size, time.monotonic() - began, self.purge.batch_seconds)
        self.rows += row["gone"]
        self.batches += 1
        self._tell(time.monotonic() - self.started)
        return row

    def _tell(self, seconds: float) -> None:
        """How far it is."""
        said = [f"{rows(self.rows)} so far", rate(self.rows, seconds)]
        self.context.progress(self.target, ", ".join(text for text in said if text), seconds)

    def _try_again(self, error: Contended, attempt: int) -> None:
        """Make the batch smaller. Raises Contended when there is no sense in it.

        A row that another transaction has moved to another partition while we waited for it, or a deadlock: a moment later
        the same batch succeeds.
        """
        if attempt == BATCH_TRIES - 1 or self.context.seconds_left() < ROW:
            raise error
        self.retries += 1
        self.session.retries += 1
        self.size = max(10, self.size // 2)
        if error.sqlstate != LOCK_NOT_AVAILABLE:  # a lock has been waited for already
            self.sleep(jittered(0.02 * 2**attempt))

    def _yield_to_replicas(self) -> None:
        """Wait while a replica is far behind: deleting is the kind of WAL that makes it fall behind."""
        if time.monotonic() - self.looked < LAG_LOOK:
            return
        # No statement may run past the end of the budget by more than the time between two looks.
        self.session.set(statement_timeout=max(0.001, self.context.seconds_left()))
        began = self.looked = time.monotonic()
        while self.session.row(LAG)["bytes"] > LAG_LIMIT and self.context.seconds_left() > LIGHT:
            self.sleep(0.5)  # a replica catches up by itself and tells nobody
        self.looked = time.monotonic()
        if self.looked - began >= 0.5:
            self.paused += self.looked - began

    def outcome(self, status: str = "done", reason: str = "") -> Outcome:
        self.numbers.update(rows=self.rows, batches=self.batches)
        if self.paused:
            self.numbers["paused_seconds"] = round(self.paused, 1)
        if self.retries:
            self.numbers["retries"] = self.retries
        shown = difference(self.rows, self.numbers.get("left", 0)) if self.rows else None
        return Outcome(status, reason, self.rows > 0, self.rows, self.numbers, difference=shown)
