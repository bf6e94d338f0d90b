# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Carrying out the steps that change an index: waiting for whom the server would wait for, and cleaning up after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres import restricted_path
from ..._postgres.driver import sql
from ..._postgres.policy import concurrent_lock_timeout, with_lock_retries
from ..._postgres.session import Session
from ..._result import CONTENDED, DEFERRED, FAILED
from .. import Context, Outcome
from .steps import BUILD, DROP, QUICK, Step

QUERY_CANCELED = "57014"
DEADLOCK = "40P01"
UNIQUE_VIOLATION = "23505"
DUPLICATE_NAME = "42P07"
CLEANING = 5.0  # seconds beyond the budget that removing what a failed build has left may take
RESERVE = 1.0  # seconds of the budget that waiting leaves

# Whom CREATE and DROP INDEX CONCURRENTLY wait for. Any lock on the table that conflicts counts, granted or not; when
# building also snapshots, in this database, of anything but VACUUM and other builds. Names and states of other roles'
# sessions may be hidden; transactions, locks and snapshots are not. A session that holds the lock of maintenance commands
# goes from transaction to transaction meanwhile.
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
WRITERS = [
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
]
EVERYBODY = ["AccessShareLock", "RowShareLock", "ShareLock", *WRITERS]


@dataclass
class Work:
    """Carries out steps.

    waited   seconds spent waiting for older transactions before the statements
    started  whether the statement of the present step has been sent
    """

    session: Session
    context: Context
    sleep: Callable[[float], None] = time.sleep
    waited: float = 0.0
    started: bool = False

    def do(self, steps: tuple[Step, ...]) -> Outcome | None:
        """All steps in their order; what became of the one that ended it, None if none did. Raises SqlError (no connection)."""
        for done, step in enumerate(steps):
            try:
                self._step(step)
            except (Contended, SqlError) as error:
                if not self.session.alive:
                    raise
                outcome = self._ended(step, error)
                outcome.changed = done > 0
                outcome.reason += "; what was done before stays, and the next run goes on from there" if done else ""
                return outcome
        return None

    def _step(self, step: Step) -> None:
        self.started = False
        if step.kind == QUICK:
            with_lock_retries(
                self.session, lambda: self.session.execute(step.query()), self.context.seconds_left, self.sleep
            )
            return
        self._wait(step)
        left = max(RESERVE, self.context.seconds_left())
        # Below the limit of the statement, so that waiting ends as contended and not as cancelled.
        self.session.set(statement_timeout=left, lock_timeout=max(0.5, concurrent_lock_timeout(left) - RESERVE))
        self.started = True
        self._send(step)

    def _send(self, step: Step) -> None:
        """CONCURRENTLY. Before 17, functions that an index uses see the path of the session."""
        if self.session.server.version_num >= 170000:
            self.session.execute(step.query(), alone=True)
            return
        with self.session.users_path():
            self.session.execute(step.query(), alone=True)

    def _blockers(self, step: Step) -> dict[str, dict[str, Any]]:
        query = sql.SQL(BLOCKERS).format(
            table=sql.Literal(step.table),
            modes=sql.Literal(WRITERS if step.kind == BUILD else EVERYBODY),
            snapshots=sql.Literal(step.kind == BUILD),
        )
        return {row["id"]: row for row in self.session.rows(query)}

    def _wait(self, step: Step) -> None:
        """Until nobody is left who was there at the beginning. Raises Contended when the budget ends before that.

        Whoever comes later is waited for by the statement itself; without this, a transaction that stays open would cost
        the whole work of building and leave an invalid index behind.
        """
        began = time.monotonic()
        first = self._blockers(step)
        left, pause = first, 0.02
        while left:
            if self.context.seconds_left() < RESERVE + pause:
                raise Contended(f"it would have to wait for {_who(next(iter(left.values())))}")
            self.sleep(pause)  # no statement waits for snapshots without taking locks that others then wait for
            pause = min(1.0, pause * 2)
            now = self._blockers(step)
            left = {key: row for key, row in now.items() if key in first}
        self.waited += time.monotonic() - began

    def _blocked_by(self, step: Step) -> str:
        """Who was in the way when a lock limit was reached."""
        if not self.started:
            return ""
        self.session.set(statement_timeout=CLEANING, lock_timeout=RESERVE)
        blockers = self._blockers(step)
        return f" (waiting for {_who(next(iter(blockers.values())))})" if blockers else ""

    def _ended(self, step: Step, error: Contended | SqlError) -> Outcome:
        """What a failure means; what it has left is removed."""
        if isinstance(error, Contended) or error.sqlstate == DEADLOCK:
            return Outcome(CONTENDED, f"{error}{self._blocked_by(step)}{self._clean(step)}")
        if error.sqlstate == QUERY_CANCELED and self.context.seconds_left() < RESERVE:
            return Outcome(DEFERRED, f"the budget ended while it ran; it goes first next time{self._clean(step)}")
        if error.sqlstate == DUPLICATE_NAME:
            return Outcome(FAILED, f"{error}: somebody has created it just now")
        advice = "; remove the duplicates first" if error.sqlstate == UNIQUE_VIOLATION else ""
        advice = advice or restricted_path.advice(error, self.session.server)
        return Outcome(FAILED, f"{str(error).rstrip('.')}{advice}{self._clean(step)}")

    def _clean(self, step: Step) -> str:
        """Remove what a failed build has left; what to add to the message if that is impossible now."""
        if step.kind != BUILD or not self.started:
            return ""
        (name,) = step.names["index"]
        schema = step.names["table"][0]
        self.session.set(statement_timeout=CLEANING, lock_timeout=CLEANING)
        rest = Step(DROP, "DROP INDEX CONCURRENTLY IF EXISTS {index}", {"index": (schema, name)})
        try:
            self.session.execute(rest.query(), alone=True)
        except (Contended, SqlError):
            return f"; what was left of it, {name}, is still locked: the next run removes it"
        return ""


def _who(row: dict[str, Any]) -> str:
    """A session that is in the way, for people."""
    if row["pid"] is None:
        return "a prepared transaction that is neither committed nor rolled back"
    known = ", ".join(str(row[name]) for name in ("user", "state") if row[name])
    return f"session {row['pid']} ({known})" if known else f"session {row['pid']}"
