# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Going through a table in batches, each a transaction of its own: in the order of an index, or page by page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from ..._errors import Contended, SqlError
from ..._jitter import jittered
from ..._postgres.driver import sql
from ..._postgres.policy import BATCH_TRIES, LIGHT, ROW, next_batch_size
from ..._postgres.session import Session
from ..._postgres.sqlstates import FOREIGN_KEY_VIOLATION, LOCK_NOT_AVAILABLE
from ..._units import rate, rows
from .. import Context, Difference, Outcome
from .pace import GENTLE_BATCH, LAG_LIMIT, REPLICAS, Pace
from .statements import Batch, Keep, Purge

PASSES = 3  # over the expired rows, for those that were updated while we looked
FIRST_BATCH = 1000  # rows
FIRST_RANGE = 1  # page: what a trigger does for each row may be slow
LARGEST_RANGE = 131_072  # pages: 1 GB
LAST_PAGE = 2**32 - 1  # MaxBlockNumber + 1
MOST_COUNTED = 1000  # of the rows that are left; "more than 1 000" is enough to know
WORTH, MOST_LEAST = (
    3.0,
    0.05,
)  # a batch takes so many times what it would take for nothing, of which no more than so many seconds count
HELD = 0.1  # seconds to wait for a row that somebody has locked, before a range is done without such rows

PAGES = """
WITH RECURSIVE parts (oid) AS (
    SELECT {table}::pg_catalog.regclass::pg_catalog.oid
    UNION SELECT i.inhrelid FROM parts JOIN pg_catalog.pg_inherits AS i ON i.inhparent = parts.oid
)
SELECT coalesce(max(pg_catalog.pg_relation_size(oid)), 0) / pg_catalog.current_setting('block_size')::int AS pages FROM parts
"""
LAG = """
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint AS bytes
FROM pg_stat_replication WHERE replay_lsn IS NOT NULL
"""


def difference(number: int, left: int) -> Difference:
    """What --diff shows: ``number`` rows were deleted, or would be."""
    return Difference(f"{number} expired rows\n", f"{left} expired rows\n")


class Late(Exception):
    """The time is over; what is deleted stays deleted."""


class Work:
    """A purge under way: what all ways of walking share.

    held   ranges of pages in which somebody held rows
    keep   where deleted rows go
    trip   seconds to the server and back, with next to nothing to do there
    rest   seconds to pause before the next batch
    least  seconds that the server takes for a batch, whatever its size: planning, for one
    """

    def __init__(
        self,
        session: Session,
        target: str,
        purge: Purge,
        context: Context,
        keep: Keep | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.session, self.target, self.context, self.purge = session, target, context, purge
        self.keep, self.sleep = keep, sleep
        self.pace = Pace(purge.pace, purge.batch_seconds)
        self.started = time.monotonic()
        self.trip = self.least = math.inf
        self.rest = 0.0
        self.rows = self.batches = self.retries = self.held = 0
        self.numbers: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None

    @property
    def full(self) -> bool:
        """Whether max_rows are gone."""
        return self.purge.max_rows is not None and self.rows >= self.purge.max_rows

    @property
    def allowed(self) -> int | None:
        """How many rows max_rows still allows."""
        return None if self.purge.max_rows is None else self.purge.max_rows - self.rows

    def left(self) -> int:
        """Expired rows that are still there, up to one more than MOST_COUNTED."""
        return int(self.session.row(self.purge.count(MOST_COUNTED + 1), users_path=True)["rows"])

    def kept(self) -> int:
        """Expired rows that stay because others refer to them, up to one more than MOST_COUNTED."""
        return int(self.session.row(self.purge.count_held(MOST_COUNTED + 1), users_path=True)["rows"])

    def in_time(self) -> None:
        """Before a batch: leave the others their share of the time. Raises Late when the budget is spent."""
        self._pause()
        if self.context.seconds_left() <= 0:
            raise Late

    def send(self, batch: Batch) -> tuple[dict[str, Any], float]:
        """Send a batch, with a look around now and then; its row, and the seconds that the server took."""
        began = time.monotonic()
        looking = self.pace.due(began)
        look = f",{self.pace.look(began)}" if looking else ""
        try:
            if self.keep:
                row = self.keep.batch(self.session, batch, look)
            else:
                row = self.session.row(batch.statement(look), users_path=True)
        except SqlError as error:
            if self.purge.held and error.sqlstate == FOREIGN_KEY_VIOLATION:  # somebody has just begun to refer to a row
                raise Contended(str(error), error.context, error.sqlstate) from None
            raise
        took = time.monotonic() - began
        if self.keep and row.get("again"):
            self.keep.room = self.next_size(self.keep.room, took, 10, 50_000)
        if looking:
            self.pace.heed(row, took, time.monotonic(), self.session.round_trips)
        return row, self.at_server(took)

    def limit(self, lock_timeout: float) -> None:
        """Set how long to wait for locks; where that is a statement of its own it shows how far the server is."""
        began, before = time.monotonic(), self.session.round_trips
        self.session.set(lock_timeout=lock_timeout)
        if self.session.round_trips > before:
            self.trip = min(self.trip, time.monotonic() - began)

    def at_server(self, took: float) -> float:
        """The part of these seconds that a batch was at the server: what is on its way is in nobody's way."""
        there = max(took - self.trip, 0.0001) if self.trip < math.inf else took
        self.least = min(self.least, there)
        return there

    def deleted(self, number: int, took: float) -> None:
        """So many rows are gone: count them, and tell it."""
        self.rows += number
        self.batches += 1
        self._tell(time.monotonic() - self.started)
        self.rest = self.pace.pause(took) - (self.trip if self.trip < math.inf else 0.0)
        if self.pace.behind:
            self._wait_for_replicas()

    def step(self, size: int) -> int:
        """Pages for the next range: fewer for one that looks around, which has to count its rows and is slow for that."""
        if not self.pace.due(time.monotonic()):
            return size
        return max(1, round(size * min(1.0, GENTLE_BATCH / self.pace.goal)))

    def next_size(self, size: int, took: float, smallest: int, largest: int) -> int:
        """Rows or pages for the next batch."""
        goal = max(self.pace.goal, WORTH * min(self.least, MOST_LEAST))
        return next_batch_size(size, took, goal, smallest, largest)

    def again(self, error: Contended, attempt: int) -> None:
        """Get ready to try a batch again that somebody else's transaction has spoiled. Raises Contended when that is enough.

        A row that another transaction has moved to another partition while we waited for it, or a deadlock: a moment later
        the same batch succeeds.
        """
        if attempt == BATCH_TRIES - 1 or self.context.seconds_left() < ROW:
            raise error
        self.retries += 1
        self.session.retries += 1
        if error.sqlstate != LOCK_NOT_AVAILABLE:  # a lock has been waited for already
            self.sleep(jittered(0.02 * 2**attempt))

    def _tell(self, seconds: float) -> None:
        """How far it is."""
        said = [f"{rows(self.rows)} so far", rate(self.rows, seconds)]
        self.context.progress(self.target, ", ".join(text for text in said if text), seconds)

    def _pause(self) -> None:
        seconds, self.rest = min(self.rest, max(0.0, self.context.seconds_left())), 0.0
        if seconds >= 0.001:
            self.sleep(seconds)
            self.pace.waited(seconds)

    def _wait_for_replicas(self) -> None:
        """Wait while a replica is far behind: deleting is the kind of WAL that makes it fall behind."""
        # No statement may run past the end of the budget by more than the time between two looks.
        self.session.set(statement_timeout=max(0.001, self.context.seconds_left()))
        began = time.monotonic()
        while self.session.row(LAG)["bytes"] > LAG_LIMIT and self.context.seconds_left() > LIGHT:
            self.sleep(0.5)  # a replica catches up by itself and tells nobody
        waited = time.monotonic() - began
        if waited >= 0.5:
            self.pace.waited(waited, REPLICAS)

    def outcome(self, status: str = "done", reason: str = "") -> Outcome:
        self.numbers.update(rows=self.rows, batches=self.batches, **self.pace.numbers())
        if self.retries:
            self.numbers["retries"] = self.retries
        shown = difference(self.rows, self.numbers.get("left", 0)) if self.rows else None
        return Outcome(status, reason, self.rows > 0, self.rows, self.numbers, state=self.state, difference=shown)


def walk(work: Work, start: int) -> int:
    """Delete what has expired; how many expired rows are left. start: the page at which to begin. Raises Late, Contended."""
    left = 0
    for number in count():
        before = work.rows
        if work.purge.heap and (number == 0 or not work.purge.served):
            by_pages(work, start if number == 0 else 0)
            if not work.held and not work.purge.triggers and not work.purge.held:
                return 0  # nothing can have kept a row, and to count those that are left costs as much as they did
        else:
            for term in work.purge.terms:
                in_order(work, work.purge.of(term))
        left = work.left()
        if work.full or work.rows == before:
            break
        # Rows to which others of the same table refer can go when those have gone, layer by layer.
        if not work.purge.held and (not left or number + 1 == PASSES):
            break
    return left


def in_order(work: Work, purge: Purge) -> None:
    """Once through the rows of one term, the oldest first. Raises Late, Contended."""
    last, strictly, size = None, False, FIRST_BATCH
    while not work.full:
        work.in_time()
        row, took, size, asked = _ordered_batch(work, purge, size, last, strictly)
        work.deleted(row["gone"], took)
        if row.get("again"):
            size = max(
                1, size // 2
            )  # rows that others hang on by the thousand: the fewer are locked meanwhile the better
            continue
        if row["picked"] == asked:
            size = work.next_size(size, took, 10, 50_000)
        if not row["picked"] or (row["last"] is None and not row["gone"]):
            return
        # A batch of which nothing could be deleted must not be picked again.
        last, strictly = row["last"], row["gone"] == 0


def _ordered_batch(
    work: Work, purge: Purge, size: int, last: str | None, strictly: bool
) -> tuple[dict[str, Any], float, int, int]:
    """One batch: its row, what it took, the size that succeeded, and how many rows it could have had."""
    for attempt in range(BATCH_TRIES):
        asked = size if work.allowed is None else min(size, work.allowed)
        work.limit(ROW)
        try:
            row, took = work.send(purge.in_order(asked, last, strictly))
        except Contended as error:
            work.again(error, attempt)
            size = max(10, size // 2)
        else:
            return row, took, size, asked
    raise AssertionError("the last try returns or raises")


def by_pages(work: Work, start: int) -> None:
    """Once through all pages, from ``start`` to the end and from the first to there. Raises Late, Contended.

    Where it stops stands in ``work.state``, so that the next run goes on there.
    """
    table = sql.Literal(work.session.text(work.purge.table))
    pages = int(work.session.row(sql.SQL(PAGES).format(table=table))["pages"])
    start = start if start < pages else 0
    size = FIRST_RANGE
    for begin, end in ((start, pages), (0, start)):
        page = begin
        while page < end:
            work.state = {"page": page}
            work.in_time()
            until = min(page + work.step(size), end)
            # What has come to the last page since belongs to it as well.
            took, done, again = _range(work, page, LAST_PAGE if until == pages else until)
            if again:
                work.deleted(done, took)
                size = max(1, size // 2)
                continue
            if until == page + size:
                size = work.next_size(size, took, 1, LARGEST_RANGE)
            work.deleted(done, took)
            page = until
    work.state = {"page": 0}


def _range(work: Work, first: int, end: int) -> tuple[float, int, bool]:
    """One range of pages: the seconds that the server took, the rows that are gone, and whether the same range goes on.

    First without locking rows before they are deleted, which is twice as fast; where somebody holds rows, without those.
    """
    purge, picks = work.purge, work.keep is not None and work.keep.picks
    for attempt in range(BATCH_TRIES):
        work.limit(ROW if attempt or picks else HELD)
        try:
            if not attempt and not picks:
                return (*_optimistic(work, first, end), False)
            work.held += picks or attempt == 1
            row, took = work.send(purge.unlocked(first, end))
        except Contended as error:
            work.again(error, attempt)
        else:
            return took, int(row["gone"]), bool(row.get("again"))
    raise AssertionError("the last try returns or raises")


def _optimistic(work: Work, first: int, end: int) -> tuple[float, int]:
    delete = work.purge.within(first, end)
    if work.keep or work.purge.held or work.pace.due(time.monotonic()):
        row, took = work.send(Batch(None, delete))
        return took, int(row["gone"])
    began = time.monotonic()
    gone = work.session.execute(delete, users_path=True)
    return work.at_server(time.monotonic() - began), gone
