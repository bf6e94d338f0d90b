# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a step finds and decides, and what is told where it cannot be found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import Contended, MaintenanceError, SqlError
from .._operations import Context, Decision, Facts, Operation, Options, Verdict
from .._postgres import restricted_path
from .._postgres.policy import LIGHT
from .._postgres.session import Session
from .._postgres.sqlstates import INTERNAL_ERROR, QUERY_CANCELED
from .._postgres.watch import Watch
from .._result import CONTENDED, DEFERRED, FAILED, Finding
from .execute import NOBODY_WAITS, unexpected
from .plan import Step


@dataclass(frozen=True)
class Reader:
    """Reads the facts of steps over the first session of a run."""

    session: Session
    watch: Watch

    def decided(self, step: Step, context: Context) -> Sequence[Decision[Any] | Finding]:
        """What is to be done, or the one verdict that it cannot be found out."""
        try:
            with self.watch.work():
                facts = self._facts(step.does, step.options, context)
            return step.does.decide(facts, step.options, context)
        except Contended as error:
            return [Verdict(step.label, f"its catalog entries are locked: {error}", CONTENDED)]
        except MaintenanceError as error:
            return [Verdict(step.label, *self._unread(error))]
        except Exception as error:  # a fault of ours: this step fails, and with it the run; the others are done
            return [Verdict(step.label, unexpected(self.session, error), FAILED)]

    def _unread(self, error: MaintenanceError) -> tuple[str, str]:
        """Why the facts of a step could not be read, and what that makes of it."""
        if not isinstance(error, SqlError):
            return str(error), FAILED
        if self.watch.gone() and error.sqlstate == QUERY_CANCELED:
            return NOBODY_WAITS, DEFERRED
        return f"{error}{restricted_path.advice(error, self.session.server)}", FAILED

    def _facts(self, operation: Operation[Options, Facts, Any], options: Options, context: Context) -> Facts:
        """The facts; one more try behind somebody's lock, or where the server met with what was being dropped."""
        self.session.set(lock_timeout=LIGHT)
        try:
            return operation.facts(self.session, options, context)
        except (Contended, SqlError) as error:
            if isinstance(error, SqlError) and error.sqlstate != INTERNAL_ERROR:
                raise
            return operation.facts(self.session, options, context)
