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
from ..._postgres.concurrently import Concurrently
from ..._postgres.policy import with_lock_retries
from ..._postgres.session import Session
from ..._postgres.sqlstates import DUPLICATE_TABLE, QUERY_CANCELED, UNIQUE_VIOLATION
from ..._postgres.waits import EVERYBODY, RESERVE, WRITERS, Wait
from ..._result import CONTENDED, DEFERRED, FAILED
from .. import Context, Outcome
from .statements import BUILD, QUICK, Statement


@dataclass
class Work:
    """Runs statements."""

    session: Session
    context: Context
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._sender = Concurrently(self.session, self.context.seconds_left, self.sleep)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for older transactions before the statements."""
        return self._sender.waited

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
        if statement.kind == QUICK:
            self._sender.started = False
            with_lock_retries(
                self.session, lambda: self.session.execute(statement.query()), self.context.seconds_left, self.sleep
            )
            return
        self._sender.run(statement.query(), _wait(statement))

    def _ended(self, statement: Statement, error: Contended | SqlError) -> Outcome:
        """What a failure means; what it has left is removed."""
        if isinstance(error, Contended):
            return Outcome(CONTENDED, f"{error}{self._sender.blocked_by(_wait(statement))}{self._clean(statement)}")
        if error.sqlstate == QUERY_CANCELED and self.context.seconds_left() < RESERVE:
            return Outcome(DEFERRED, f"the budget ended while it ran; it goes first next time{self._clean(statement)}")
        if error.sqlstate == DUPLICATE_TABLE:
            return Outcome(FAILED, f"{error}: somebody has created it just now")
        advice = "; remove the duplicates first" if error.sqlstate == UNIQUE_VIOLATION else ""
        advice = advice or restricted_path.advice(error, self.session.server)
        return Outcome(FAILED, f"{str(error).rstrip('.')}{advice}{self._clean(statement)}")

    def _clean(self, statement: Statement) -> str:
        """Remove what a failed build has left; what to add to the message if that is impossible now."""
        if statement.kind != BUILD or not self._sender.started:
            return ""
        (name,) = statement.names["index"]
        if self._sender.drop(statement.names["table"][0], name):
            return ""
        return f"; what was left of it, {name}, is still locked: the next run removes it"


def _wait(statement: Statement) -> Wait:
    """Whom CREATE and DROP INDEX CONCURRENTLY wait for."""
    building = statement.kind == BUILD
    return Wait(statement.table, WRITERS if building else EVERYBODY, snapshots=building)
