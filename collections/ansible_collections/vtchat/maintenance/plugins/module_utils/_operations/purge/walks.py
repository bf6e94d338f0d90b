# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Going through a table in batches, each a transaction of its own, until nothing more can go."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from ..._errors import Contended
from ..._postgres.policy import BATCH_TRIES, ROW
from ..._postgres.sqlstates import SERIALIZATION_FAILURE
from .pages import by_pages
from .refused import SINGLED, Search, apart
from .statements import Batch, Purge, Refusal, Row, where_they_are
from .work import Work

PASSES = 3  # over the expired rows, for those that were updated while we looked
FIRST_BATCH = 1000  # rows
CAREFUL_BATCH = 10  # where each of them may be slow
LARGEST_BATCH = 50_000
SMALLER = 8  # times, where somebody is in the way of a batch
MOST_IN_THE_WAY = 5  # rows one after the other: then somebody is in the way of all of it
MOST_ASIDE = 5000  # rows of one time that cannot go, of which the places are remembered

_PLACE = re.compile(r"\(\d{1,10},\d{1,5}\)\Z")


def walk(work: Work, start: int) -> int:
    """Delete what has expired; how many expired rows are left. start: the page at which to begin.

    Raises Late, Contended, and Refusal when it has met with too many rows that cannot go.
    """
    left = _walked(work, start)
    if work.in_the_way and not work.rows:
        raise work.in_the_way
    return left


def _walked(work: Work, start: int) -> int:
    left = 0
    for number in count():
        before = work.rows
        if work.purge.heap and (number == 0 or not work.purge.served):
            by_pages(work, start if number == 0 else 0)
            if not (work.held or work.purge.triggers or work.purge.held or work.purge.moves):
                return 0  # nothing can have kept a row, and to count those that are left costs as much as they did
        else:
            _in_order(work, number == 0)
        left = work.left()
        if work.full or work.rows == before or work.in_the_way:
            break
        # Rows to which others of the same table refer can go when those have gone, layer by layer.
        if not work.purge.held and (not left or number + 1 == PASSES):
            break
    return left


def _in_order(work: Work, first: bool) -> None:
    """Once through the rows of each term. The first time, the last run may have stopped at rows of one that cannot go: these,
    and what is before them, come last, for they would stop this one as well.
    """
    begun = None
    for term in range(len(work.purge.terms)):
        walk_ = InOrder(work, term)
        if first and walk_.begin_behind(work.earlier):
            begun, work.state = term, work.earlier
        walk_.walk()
    if begun is not None:
        work.lay_aside([])
        InOrder(work, begun).walk()
        work.state = {"page": 0}


def _read_places(stay: object, value: str) -> list[Row]:
    """The rows of that value that are remembered; nothing of what is no place."""
    pairs = [pair for pair in stay if isinstance(pair, list) and len(pair) == 2] if isinstance(stay, list) else []
    return [Row(part, place, value) for part, place in pairs if isinstance(part, int) and _PLACE.match(str(place))]


class InOrder:
    """Once through the rows of one term, the oldest first.

    last        the value at which to go on, None for the first; strictly: behind it
    behind      the value at which it began, None for the first
    in_the_way  rows one after the other that somebody was in the way of
    """

    def __init__(self, work: Work, term: int) -> None:
        self.work, self.term, self.search = work, term, Search()
        self.last: str | None = None
        self.strictly = False
        self.behind: str | None = None
        self.size = CAREFUL_BATCH if work.purge.slow else FIRST_BATCH
        self.in_the_way = 0

    @property
    def purge(self) -> Purge:
        """What is to be deleted, as far as is known by now."""
        return self.work.purge.of(self.work.purge.terms[self.term])

    def begin_behind(self, state: dict[str, Any]) -> bool:
        """Begin at the value at which the last run has stopped, where this is the term that it was about."""
        value = state.get("value")
        if (state.get("term"), state.get("of")) != (self.term, self._order()) or not isinstance(value, str):
            return False
        self.behind = self.last = value
        self.work.lay_aside(_read_places(state.get("stay"), value))
        return True

    def _order(self) -> str:
        """What tells this order from that of another column or type."""
        term = self.work.purge.terms[self.term]
        return f"{self.work.session.text(term.order)}::{term.cast}" if term.order is not None else ""

    def _stopped(self) -> None:
        """Too many rows cannot go: the next run is to begin behind them, and not to stop there for ever."""
        value = self.work.refused[-1].value if self.work.refused else None
        if value is not None and (self.behind is not None or self.work.state is None):
            # Others may have the very same time: they are told apart by their places.
            stay = [row for row in [*self.work.aside, *self.work.refused] if row.value == value][-MOST_ASIDE:]
            places = [[row.part, row.place] for row in stay]
            self.work.state = {"term": self.term, "of": self._order(), "value": value, "stay": places}

    def walk(self) -> None:
        """To the end. Raises Late, Contended, Refusal."""
        more = True
        while more and not self.work.full:
            self.work.in_time()
            try:
                row, took, asked = self._batch()
            except Refusal as error:
                self._refused(error)
            except Contended as error:
                self._contended(error)
            else:
                more = self._went(row, took, asked)

    def _batch(self) -> tuple[dict[str, Any], float, int]:
        """One batch: its row, what it took, and how many rows it could have had. Raises Contended, Refusal."""
        size = self.size
        for attempt in range(BATCH_TRIES):
            asked = size if self.work.allowed is None else min(size, self.work.allowed)
            self.work.limit(ROW)
            try:
                row, took = self.work.send(self._next(asked))
            except Contended as error:
                passing = (
                    asked > 1 or error.sqlstate == SERIALIZATION_FAILURE
                )  # a row that has moved is there again at once
                self.work.again(error, attempt, BATCH_TRIES if passing else 1)
                size = max(1, asked // SMALLER)
            else:
                self.size = size
                return row, took, asked
        raise AssertionError("the last try returns or raises")

    def _refused(self, error: Refusal) -> None:
        """One of the rows cannot go: fewer at a time, then those among which it is."""
        if self.work.spares(error):
            return
        if self.size > SINGLED:
            self.size = self.search.failed(self.size)
            return
        try:
            apart(self.work, where_they_are(self.work.session, self._next(self.size)), error)
        except Refusal:
            self._stopped()
            raise
        self.search.ended()

    def _contended(self, error: Contended) -> None:
        """Somebody is in the way of what hangs on the next row: it is left, and the others go."""
        self.in_the_way, self.work.in_the_way = self.in_the_way + 1, error
        rows = where_they_are(self.work.session, self._next(1)) if self.in_the_way < MOST_IN_THE_WAY else []
        if not rows:
            raise error
        self.work.pass_by(rows[0])
        self.size = 1

    def _next(self, size: int) -> Batch:
        return self.purge.in_order(size, self.last, self.strictly)

    def _went(self, row: dict[str, Any], took: float, asked: int) -> bool:
        """A batch succeeded: where the next one begins, and how large it is. Whether there may be more."""
        self.in_the_way = 0
        self.work.deleted(row["gone"], took)
        if row.get("again"):
            # Rows that others hang on by the thousand: the fewer are locked meanwhile the better.
            self.size = max(1, self.size // 2)
            return True
        if not row["picked"]:
            return False
        full, kept = row["picked"] == asked, not row["gone"] and row["last"] == self.last
        if kept and full and asked == self.size < LARGEST_BATCH:
            # All that were picked stay, and there may be others of the same value: it takes more to see them.
            self.size = min(2 * asked, LARGEST_BATCH)
            return True
        if full:
            self.size = self.search.passed(asked, self.work.next_size(self.size, took, 10, LARGEST_BATCH))
        # A batch of which nothing could be deleted must not be picked again.
        self.last, self.strictly = row["last"], kept
        return row["last"] is not None or row["gone"] > 0
