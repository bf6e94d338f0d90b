# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A purge under way: what it has done, how large its batches are, how it makes way for others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..._errors import Contended, MaintenanceError, SqlError
from ..._jitter import jittered
from ..._postgres.policy import BATCH_TRIES, ROW, next_batch_size, statement_limit
from ..._postgres.session import Session
from ..._postgres.sqlstates import LOCK_NOT_AVAILABLE, REFERRED
from ..._units import rate, rows
from .. import Context, Difference, Outcome
from .pace import GENTLE_BATCH, REPLICAS, Pace
from .refused import MOST_IN_LINE, MOST_REFUSED, about_rows
from .replicas import Replicas
from .statements import Batch, Keep, Purge, Refusal, Row

MOST_COUNTED = 1000  # of the rows that are left; "more than 1 000" is enough to know
MOST_LEAST = 0.05  # seconds that a batch may take for nothing; what is more is slow rows


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
    earlier  what the last run has left to know
    state  what the next run has to know, None where nothing; behind: the first page after the range that is under way
    read_before  some pages were read by earlier runs alone
    in_the_way  what somebody has stopped, who was in the way of rows that hang on those
    rest   seconds to pause before the next batch
    least  seconds that the server takes for a batch, whatever its size: planning, for one
    lockers  numbers of transactions that have locked rows which are left, or had
    passed   rows of which somebody was in the way
    aside    rows that the last run could not delete, which come last
    refused  rows that cannot go; in_line: how many of them came one after the other; refusal: the first error
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
        self.replicas = Replicas(sleep, context.seconds_left)
        self.started = time.monotonic()
        self.trip = self.least = math.inf
        self.rest = 0.0
        self.rows = self.batches = self.retries = self.held = 0
        self.numbers: dict[str, Any] = {}
        self.earlier: dict[str, Any] = {}
        self.state: dict[str, Any] | None = None
        self.behind = 0
        self.read_before = False
        self.in_the_way: Contended | None = None
        self.lockers: list[str] = []
        self.refused: list[Row] = []
        self.passed: list[Row] = []
        self.aside: list[Row] = []
        self.refusal: Refusal | None = None
        self.in_line = 0
        self._looked = False

    @property
    def full(self) -> bool:
        """Whether max_rows are gone."""
        return self.purge.max_rows is not None and self.rows >= self.purge.max_rows

    @property
    def allowed(self) -> int | None:
        """How many rows max_rows still allows."""
        return None if self.purge.max_rows is None else self.purge.max_rows - self.rows

    def left(self) -> int:
        """Expired rows that are still there, up to one more than MOST_COUNTED; those that cannot go are not among them."""
        self.limit(ROW)  # it may read all of the table
        purge = self.purge.without(self.session, self.refused)  # those that were passed by are among them
        row = self.session.row(purge.count_left(MOST_COUNTED + 1), users_path=True)
        self.lockers = row["lockers"] or []
        return int(row["rows"])

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
            elif self.purge.itself:
                row = self._with_itself(batch, look)
            else:
                row = self.session.row(batch.statement(look), users_path=True)
        except SqlError as error:
            raise self.meaning(error, time.monotonic() - began) from None
        took = time.monotonic() - began
        if self.keep and row.get("again"):
            self.keep.room = self.next_size(self.keep.room, took, 10, 50_000)
        if looking:
            # One slow answer when the way was measured must not count as the way for ever: that would eat all pauses.
            if self.trip < math.inf:
                self.trip = min(self.trip, max(0.0, took - row["inside"]))
            self.pace.heed(row, took, time.monotonic(), self.session.round_trips)
        return row, self.at_server(took)

    def _with_itself(self, batch: Batch, look: str) -> dict[str, Any]:
        """A batch with which other rows of the table go, which no statement counts. Raises Contended, SqlError."""
        try:
            (before,) = self.session.begin(self.purge.counted(), users_path=True)
            row = self.session.row(batch.statement(look), users_path=True)
            after = self.session.row(self.purge.counted(), users_path=True)
            self.session.commit()
        except MaintenanceError:
            with suppress(SqlError):
                self.session.leave_transaction()
            raise
        row["gone"] = max(row["gone"], after["rows"] - before["rows"])  # without statistics (track_counts) it is 0
        return row

    def meaning(self, error: SqlError, took: float) -> MaintenanceError:
        """That somebody is in the way of a batch, or a row cannot go, or nothing can. took: seconds until it failed."""
        self._rest(took)
        if self.purge.held and error.sqlstate in REFERRED:  # somebody has just begun to refer to a row
            return Contended(str(error), error.context, error.sqlstate)
        return Refusal(str(error), error.sqlstate) if self.session.alive and about_rows(error.sqlstate) else error

    def final(self, error: Contended | Refusal) -> Refusal:
        """What cannot go, however often it is tried. Raises Contended where somebody is in the way."""
        if isinstance(error, Refusal):
            return error
        if error.sqlstate in REFERRED:  # and whatever refers to the row, the catalog does not know it
            return Refusal(str(error), error.sqlstate)
        raise error

    def spares(self, error: Refusal) -> bool:
        """Whether from now on rows stay, without being tried, to which others refer: an error has shown that there are some."""
        beside = self.purge.beside
        if self._looked or self.purge.held or error.sqlstate not in REFERRED or (beside and beside.tree.edges):
            return False
        from .trees import holding  # most purges do without it

        self._looked = True
        tree = holding(self.session, self.purge.oid, self.purge.table)
        free = tree.free() if tree else None
        if free:
            self.purge = self.purge.sparing(free, holds=False).written(self.session)
            self.refusal = self.refusal or error
        return free is not None

    def leave(self, row: Row, error: Refusal) -> None:
        """That row cannot go. Raises the error when that is enough."""
        self.refused.append(row)
        self.refusal = self.refusal or error
        self.in_line += 1
        self._spare_them()
        if self.in_line >= MOST_IN_LINE or len(self.refused) >= MOST_REFUSED:
            raise error

    def pass_by(self, row: Row) -> None:
        """Somebody is in the way of that row: it is not tried again."""
        self.held += 1
        self.passed.append(row)
        self._spare_them()

    def lay_aside(self, rows: list[Row]) -> None:
        """These rows are not tried from now on, and those of before are again."""
        self.aside = rows
        self._spare_them()

    def _spare_them(self) -> None:
        self.purge = self.purge.without(self.session, [*self.refused, *self.passed, *self.aside])

    def limit(self, lock_timeout: float) -> None:
        """Set how long to wait for locks, and for a statement, which is what is left of the budget.

        Where that is a statement of its own it shows how far the server is.
        """
        began, before = time.monotonic(), self.session.round_trips
        self.session.set(lock_timeout=lock_timeout, statement_timeout=statement_limit(self.context.seconds_left()))
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
        self.in_line = 0 if number else self.in_line
        self._tell(time.monotonic() - self.started)
        self._rest(took)
        if self.pace.behind:
            self._wait_for_replicas()

    def step(self, size: int) -> int:
        """Pages for the next range: fewer for one that looks around, which has to count its rows and is slow for that."""
        if not self.pace.due(time.monotonic()):
            return size
        return max(1, round(size * min(1.0, GENTLE_BATCH / self.pace.goal)))

    def next_size(self, size: int, took: float, smallest: int, largest: int) -> int:
        """Rows or pages for the next batch."""
        least = min(self.least, MOST_LEAST)
        # At least half of it is work: shorter ones would be nothing but planning and commits.
        goal = least + max(self.pace.goal, least)
        return next_batch_size(size, took, goal, smallest, largest)

    def again(self, error: Contended, attempt: int, tries: int = BATCH_TRIES) -> None:
        """Get ready to try a batch again that somebody else's transaction has spoiled. Raises Contended when that is enough.

        A row that another transaction has moved to another partition while we waited for it, or a deadlock: a moment later
        the same batch succeeds. Raises Refusal where it was a reference that does not go away.
        """
        if attempt >= tries - 1 or self.context.seconds_left() < ROW:
            raise self.final(error)
        self.retries += 1
        self.session.retries += 1
        if error.sqlstate != LOCK_NOT_AVAILABLE:  # a lock has been waited for already
            self.sleep(jittered(0.02 * 2**attempt))

    def _rest(self, took: float) -> None:
        """So long a batch was at the server: others come now."""
        self.rest = self.pace.pause(took) - (self.trip if self.trip < math.inf else 0.0)

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
        """Wait while a replica is far behind, and comes nearer."""
        self.limit(ROW)
        waited = self.replicas.wait(self.session)
        if waited >= 0.5:
            self.pace.waited(waited, REPLICAS)

    def go_round(self) -> None:
        """Have the next run begin behind what has failed, and come back to it last: it stands in the way of nothing else then."""
        if self.state is not None and "page" in self.state:
            self.state = {"page": self.behind}

    def outcome(self, status: str = "done", reason: str = "") -> Outcome:
        self.numbers.update(rows=self.rows, batches=self.batches, **self.pace.numbers())
        if self.retries:
            self.numbers["retries"] = self.retries
        if self.refused:
            self.numbers["refused"] = len(self.refused)
        shown = difference(self.rows, self.numbers.get("left", 0)) if self.rows else None
        reason += self.replicas.told()
        return Outcome(status, reason, self.rows > 0, self.rows, self.numbers, state=self.state, difference=shown)
