# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Runs the statements that change an index: waits for older transactions first, and cleans up after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..._errors import Contended, SqlError
from ..._postgres import restricted_path
from ..._postgres.capabilities import RESTRICTED_PATH
from ..._postgres.policy import concurrent_lock_timeout, with_lock_retries
from ..._postgres.session import Session
from ..._postgres.sqlstates import DUPLICATE_TABLE, QUERY_CANCELED, UNIQUE_VIOLATION
from ..._postgres.waits import EVERYBODY, RESERVE, WRITERS, Wait
from ..._result import CONTENDED, DEFERRED, FAILED
from .. import Context, Outcome
from .statements import BUILD, DROP, QUICK, Statement

CLEANING = 5.0  # seconds beyond the budget that removing what a failed build has left may take


@dataclass
class Work:
    """Runs statements.

    waited   seconds spent waiting for older transactions before the statements
    started  whether the present statement has been sent
    """

    session: Session
    context: Context
    sleep: Callable[[float], None] = time.sleep
    waited: float = 0.0
    started: bool = False

    def do(self, statements: tuple[Statement, ...]) -> Outcome | None:
        """All of them in their order; what became of the one that ended it, None if none did. Raises SqlError (no connection)."""
        for done, statement in enumerate(statements):
            try:
                self._run(statement)
            except (Contended, SqlError) as error:
                if not self.session.alive:
                    raise
                outcome = self._ended(statement, error)
                outcome.changed = done > 0
                outcome.reason += "; what was done before stays, and the next run goes on from there" if done else ""
                return outcome
        return None

    def _run(self, statement: Statement) -> None:
        self.started = False
        if statement.kind == QUICK:
            with_lock_retries(
                self.session, lambda: self.session.execute(statement.query()), self.context.seconds_left, self.sleep
            )
            return
        self.waited += _wait(statement).over(self.session, self.context.seconds_left, self.sleep)
        left = max(RESERVE, self.context.seconds_left())
        # Below the limit of the statement, so that waiting ends as contended and not as cancelled.
        self.session.set(statement_timeout=left, lock_timeout=max(0.5, concurrent_lock_timeout(left) - RESERVE))
        self.started = True
        self._send(statement)

    def _send(self, statement: Statement) -> None:
        """CONCURRENTLY. Before 17, functions that an index uses see the path of the session."""
        if self.session.server.has(RESTRICTED_PATH):
            self.session.execute(statement.query(), alone=True)
            return
        with self.session.users_path():
            self.session.execute(statement.query(), alone=True)

    def _blocked_by(self, statement: Statement) -> str:
        """Who was in the way when a lock limit was reached."""
        if not self.started:
            return ""
        self.session.set(statement_timeout=CLEANING, lock_timeout=RESERVE)
        blockers = _wait(statement).blockers(self.session)
        return f" (waiting for {next(iter(blockers.values()))})" if blockers else ""

    def _ended(self, statement: Statement, error: Contended | SqlError) -> Outcome:
        """What a failure means; what it has left is removed."""
        if isinstance(error, Contended):
            return Outcome(CONTENDED, f"{error}{self._blocked_by(statement)}{self._clean(statement)}")
        if error.sqlstate == QUERY_CANCELED and self.context.seconds_left() < RESERVE:
            return Outcome(DEFERRED, f"the budget ended while it ran; it goes first next time{self._clean(statement)}")
        if error.sqlstate == DUPLICATE_TABLE:
            return Outcome(FAILED, f"{error}: somebody has created it just now")
        advice = "; remove the duplicates first" if error.sqlstate == UNIQUE_VIOLATION else ""
        advice = advice or restricted_path.advice(error, self.session.server)
        return Outcome(FAILED, f"{str(error).rstrip('.')}{advice}{self._clean(statement)}")

    def _clean(self, statement: Statement) -> str:
        """Remove what a failed build has left; what to add to the message if that is impossible now."""
        if statement.kind != BUILD or not self.started:
            return ""
        (name,) = statement.names["index"]
        schema = statement.names["table"][0]
        self.session.set(statement_timeout=CLEANING, lock_timeout=CLEANING)
        rest = Statement(DROP, "DROP INDEX CONCURRENTLY IF EXISTS {index}", {"index": (schema, name)})
        try:
            self.session.execute(rest.query(), alone=True)
        except (Contended, SqlError):
            return f"; what was left of it, {name}, is still locked: the next run removes it"
        return ""


def _wait(statement: Statement) -> Wait:
    """Whom CREATE and DROP INDEX CONCURRENTLY wait for."""
    building = statement.kind == BUILD
    return Wait(statement.table, WRITERS if building else EVERYBODY, snapshots=building)
