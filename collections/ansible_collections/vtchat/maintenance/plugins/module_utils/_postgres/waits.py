# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whom a statement would wait for, and waiting for them before it is sent.

CONCURRENTLY waits for older transactions in the middle of its work: one that stays open would cost the whole of it and leave
something unfinished behind. Whoever comes later is waited for by the statement itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Contended
from .driver import sql
from .session import Session

RESERVE = 1.0  # seconds of the budget that waiting leaves

# Any lock on the table that conflicts counts, granted or not; where snapshots matter also those, in this database, of
# anything but VACUUM and index builds. Names and states of other roles' sessions may be hidden; transactions, locks and
# snapshots are not. A session that holds the lock of maintenance commands goes from transaction to transaction meanwhile.
BLOCKERS = """
WITH here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
SELECT DISTINCT ON (1) CASE WHEN l.mode = 'ShareUpdateExclusiveLock' THEN format('session %s', l.pid)
           ELSE l.virtualtransaction END AS id, l.pid, a.usename::text AS "user", a.state, a.backend_type
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND (
    l.locktype = 'relation' AND l.relation = {table} AND l.database = (SELECT oid FROM here) AND l.mode = ANY ({modes})
    OR {snapshots} AND l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction
    AND a.datid = (SELECT oid FROM here) AND a.backend_xmin IS NOT NULL
    AND l.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum UNION ALL
                      SELECT pid FROM pg_catalog.pg_stat_progress_create_index))
ORDER BY 1, 2
"""
WRITERS = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
EVERYBODY = ("AccessShareLock", "RowShareLock", "ShareLock", *WRITERS)


@dataclass(frozen=True)
class Wait:
    """What a statement would wait for: holders of these locks on a table and, with snapshots, of older snapshots."""

    table: int
    modes: Sequence[str]
    snapshots: bool = False

    def blockers(self, session: Session) -> dict[str, str]:
        """Who is in the way now: an id of the transaction, and who that is, for people."""
        query = sql.SQL(BLOCKERS).format(
            table=sql.Literal(self.table),
            modes=sql.Literal(list(self.modes)),
            snapshots=sql.Literal(self.snapshots),
        )
        return {row["id"]: who(row) for row in session.rows(query)}

    def over(self, session: Session, seconds_left: Callable[[], float], sleep: Callable[[float], None]) -> float:
        """Wait until nobody is left who was there at the beginning; the seconds that it took.

        Raises Contended, which names one of them, when less than RESERVE would be left.
        """
        began = time.monotonic()
        first = self.blockers(session)
        left, pause = first, 0.02
        while left:
            if seconds_left() < RESERVE + pause:
                raise Contended(f"it would have to wait for {next(iter(left.values()))}")
            sleep(pause)  # no statement waits for snapshots without taking locks that others then wait for
            pause = min(1.0, pause * 2)
            now = self.blockers(session)
            left = {key: who for key, who in now.items() if key in first}
        return time.monotonic() - began


def who(row: dict[str, Any]) -> str:
    """A session that is in the way, for people."""
    if row["pid"] is None:
        return "a prepared transaction that is neither committed nor rolled back"
    known = ", ".join(str(row[name]) for name in ("user", "state") if row[name])
    return f"session {row['pid']} ({known})" if known else f"session {row['pid']}"
