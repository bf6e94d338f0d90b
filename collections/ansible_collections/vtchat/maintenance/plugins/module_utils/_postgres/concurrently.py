# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""CREATE, DROP and REINDEX INDEX CONCURRENTLY: waiting first, long limits then, removing what a failure has left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .._errors import Contended, SqlError
from .capabilities import RESTRICTED_PATH
from .driver import sql
from .names import qualified
from .policy import concurrent_lock_timeout
from .session import Session
from .waits import RESERVE, Wait

CLEANING = 5.0  # seconds beyond the budget that removing what a failed build has left may take

# VACUUM ignored concurrent builds there: rows could be missing from the index. Release notes of 14.4.
HAZARDOUS = range(140000, 140004)
HAZARD = "PostgreSQL 14.0 to 14.3 can build corrupt indexes with CONCURRENTLY: update the server"
# The first minor release of each major one in which a fault of REINDEX CONCURRENTLY is mended.
# Copies of indexes of DEFERRABLE constraints checked at once: transactions failed that are right at their end.
DEFERRABLE_MENDED = (140024, 150019, 160015, 170011, 180006)
# Others did not wait for the rebuild of partial indexes and indexes over expressions. Release notes of 17.1.
WAITS_MENDED = (140014, 150009, 160005, 170001)


def rebuild_fault(version_num: int, deferrable: bool, partial: bool) -> str:
    """The fault of this server because of which such an index is not rebuilt, "" if there is none."""
    if version_num in HAZARDOUS:
        return HAZARD
    for concerns, mended, what in (
        (
            deferrable,
            DEFERRABLE_MENDED,
            "checks a DEFERRABLE constraint too early while its index is rebuilt concurrently",
        ),
        (
            partial,
            WAITS_MENDED,
            "does not wait for concurrent rebuilds of partial indexes and of indexes over expressions",
        ),
    ):
        first = next((minor for minor in mended if minor // 10000 == version_num // 10000), 0)
        if concerns and version_num < first:
            return f"PostgreSQL before {first // 10000}.{first % 10000} {what}: update the server"
    return ""


@dataclass
class Concurrently:
    """Sends statements one after the other.

    waited   seconds spent waiting for older transactions before them; spent: likewise, those in vain included
    started  whether the present statement has been sent
    """

    session: Session
    seconds_left: Callable[[], float]
    sleep: Callable[[float], None] = time.sleep
    waited: float = 0.0
    spent: float = 0.0
    started: bool = False

    def run(self, query: sql.Composed, wait: Wait, patience: float = float("inf")) -> None:
        """Wait, for ``patience`` seconds at most, then send it. Raises Contended, SqlError."""
        self.started = False
        self.wait(wait, patience)
        left = max(RESERVE, self.seconds_left())
        # Below the limit of the statement, so that waiting ends as contended and not as cancelled.
        self.session.set(statement_timeout=left, lock_timeout=max(0.5, concurrent_lock_timeout(left) - RESERVE))
        self.started = True
        self.send(query)

    def wait(self, wait: Wait, patience: float = float("inf")) -> None:
        """Wait for those whom a statement would have to wait for. Raises Contended."""
        began = time.monotonic()
        end = began + patience
        try:
            self.waited += wait.over(
                self.session, lambda: min(self.seconds_left(), end - time.monotonic() + RESERVE), self.sleep
            )
        finally:
            self.spent += time.monotonic() - began

    def send(self, query: sql.Composed) -> None:
        """CONCURRENTLY. Before 17, functions that an index uses see the path of the session."""
        if self.session.server.has(RESTRICTED_PATH):
            self.session.execute(query, alone=True)
            return
        with self.session.users_path():
            self.session.execute(query, alone=True)

    def blocked_by(self, wait: Wait) -> str:
        """Who was in the way when a lock limit was reached, as a sentence goes on; "" where nothing was sent."""
        if not self.started:
            return ""
        self.session.set(statement_timeout=CLEANING, lock_timeout=RESERVE)
        blockers = wait.blockers(self.session)
        return f" (waiting for {next(iter(blockers.values()))})" if blockers else ""

    def drop(self, schema: str, name: str) -> bool:
        """Remove what a failure has left, if it is there and within a short time; whether it is gone."""
        self.session.set(statement_timeout=CLEANING, lock_timeout=CLEANING)
        try:
            self.session.execute(
                sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(qualified(schema, name)), alone=True
            )
        except (Contended, SqlError):
            return False
        return True
