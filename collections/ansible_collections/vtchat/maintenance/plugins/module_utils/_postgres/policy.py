# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Limits that the operations share: how long to wait for locks, how often to try, how long a run may take.

Which errors mean that somebody is in the way stands in sqlstates. What only one operation needs stands with it, such as
the pace of a purge.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Protocol, TypeVar

from .._errors import Contended
from .._jitter import jittered

Result = TypeVar("Result")

# lock_timeout in seconds by class of operation.
LIGHT = 1.0  # catalog reads
ROW = 2.0  # batches of row changes: row locks are skipped, this is for the table
BLOCKING = 2.0  # ACCESS EXCLUSIVE: while it waits, everybody behind it waits too
BLOCKING_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between tries
OTHERS_WORK = 30.0  # seconds that one installation waits for another, which may be building a view
LOOK_AGAIN = 0.2  # seconds between two looks whether somebody has finished
BOOKKEEPING = 5.0  # seconds to tell the history what a run has done when its budget is over
WHOLE_SECONDS = 10.0  # of a budget, above which its limit has no fractions
CLEANING = 30.0  # seconds to remove what a failure has left, whatever is left of the budget
COLLISION_TRIES = 3  # where the server refuses one of two that write the same row of the catalog
BATCH_TRIES = 8  # of one batch of rows, each half the size of the one before


@dataclass
class Budget:
    """The seconds that a run may take. clock is monotonic."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.started = self.clock()

    def spent(self) -> float:
        return self.clock() - self.started

    def left(self) -> float:
        return 0.0 if self.ended else self.seconds - self.spent()

    def limit(self) -> float:
        """What is left as a limit for statements: in whole seconds where it is long, so that it is sent once a second at most."""
        left = self.left()
        return float(int(left)) if left >= WHOLE_SECONDS else max(0.001, left)

    def end(self) -> None:
        """Nothing is left from now on, whatever was planned."""
        self.ended = True


def statement_limit(seconds_left: float) -> float:
    """statement_timeout for each of many short statements: never later than the budget, and sent once a second at most."""
    return max(0.001, seconds_left if seconds_left < 1 or seconds_left == float("inf") else float(int(seconds_left)))


def concurrent_lock_timeout(seconds_left: float) -> float:
    """lock_timeout for CONCURRENTLY: as long as the budget allows, for a short one only wastes the work done so far."""
    return max(1.0, seconds_left)


class Limited(Protocol):
    """What has limits, and counts what is tried again: a session."""

    retries: int

    def set(self, *, statement_timeout: float, lock_timeout: float) -> None:
        """Set both, in seconds."""


def with_lock_retries(
    session: Limited,
    attempt: Callable[[], Result],
    seconds_left: Callable[[], float],
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Run ``attempt`` under the blocking policy: short waits, back-off with jitter in between. Raises Contended."""
    for pause in (*BLOCKING_PAUSES, None):
        session.set(lock_timeout=BLOCKING, statement_timeout=max(0.001, seconds_left()))
        try:
            return attempt()
        except Contended:
            if pause is None or seconds_left() < pause + BLOCKING:
                raise
        session.retries += 1
        # Everybody who queued behind our request goes first.
        sleep(jittered(pause))
    raise AssertionError("the last try returns or raises")


def next_batch_size(size: int, seconds: float, goal: float, smallest: int = 10, largest: int = 50_000) -> int:
    """Rows for the next batch so that it takes about ``goal`` seconds; changes at most twofold from one to the next."""
    factor = goal / seconds if seconds > 0 else 2.0
    return max(smallest, min(largest, round(size * max(0.5, min(2.0, factor)))))
