# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""One action: executed within what is left of the budget, and whatever goes wrong with it turned into its outcome."""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import Contended, MaintenanceError, SqlError
from .._operations import Action, Context, Operation, Outcome
from .._postgres import restricted_path
from .._postgres.capabilities import FLUSHED_STATISTICS
from .._postgres.policy import BOOKKEEPING, LIGHT, Budget
from .._postgres.session import Session
from .._postgres.sqlstates import QUERY_CANCELED
from .._postgres.watch import Watch
from .._result import CONTENDED, DEFERRED, FAILED

NOBODY_WAITS = "abandoned by its controller: the process that waited for it is gone; the next run goes on"


@dataclass(frozen=True)
class Executor:
    """Executes actions. budget and watch are those of the run, and shared by all its sessions."""

    budget: Budget
    watch: Watch

    def execute(
        self, session: Session, operation: Operation[Any, Any, Any], action: Action[Any], context: Context
    ) -> Outcome:
        """What became of it. Never raises an exception that is about this action alone."""
        try:
            session.end_with_client()
            session.set(statement_timeout=self.budget.limit())
            with self.watch.work():
                outcome = operation.execute(session, action, context)
        except Contended as error:
            outcome = Outcome(CONTENDED, f"{action.reason}; {error}")
        except SqlError as error:
            outcome = self._refused(session, error)
        except Exception as error:  # a fault of ours: this action fails, and with it the run; the others are done
            outcome = Outcome(FAILED, unexpected(session, error))
        if self.watch.gone() and outcome.status == DEFERRED:
            outcome.reason = NOBODY_WAITS
        if session.alive:
            with suppress(SqlError):  # whether the connection still lives is asked again by the next one
                self._settle(session)
        return outcome

    def _refused(self, session: Session, error: SqlError) -> Outcome:
        if error.sqlstate == QUERY_CANCELED and self.budget.left() < 1:
            return Outcome(DEFERRED, "the budget ended while it ran; it goes first next time")
        return Outcome(FAILED, f"{error}{restricted_path.advice(error, session.server)}")

    def _settle(self, session: Session) -> None:
        """Give back a limit for reads, and let later steps see in the statistics what this one has changed."""
        session.set(statement_timeout=max(BOOKKEEPING, self.budget.limit()), lock_timeout=LIGHT)
        if session.server.has(FLUSHED_STATISTICS):
            session.execute("SELECT pg_catalog.pg_stat_force_next_flush()")


def unexpected(session: Session, error: Exception) -> str:
    """What to say of an error that nobody thought of. A transaction that it left open is rolled back."""
    if not isinstance(error, MaintenanceError):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
    else:
        text = str(error)
    with suppress(SqlError):  # whether the connection still lives is asked again by the next one
        session.leave_transaction()
    return text
