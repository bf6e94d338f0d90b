# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The run protocol: one run at a time, every action logged before it happens, within a budget, all failures told at the end."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

from .._errors import Contended, MaintenanceError, SqlError
from .._operations import Action, Context, Outcome
from .._postgres import restricted_path
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.policy import LIGHT, Budget
from .._postgres.session import Session
from .._postgres.watch import Watch
from .._result import CONTENDED, DEFERRED, DONE, FAILED, PLANNED, SKIPPED
from .history import History, Memory
from .plan import OPERATIONS, Plan, Step

Progress = Callable[[str, int, float], None]

QUERY_CANCELED = "57014"
INTERNAL_ERROR = "XX000"  # such as: cache lookup failed for relation, which was there a moment ago
NOBODY_WAITS = "abandoned by its controller: the process that waited for it is gone; the next run goes on"
# A prediction that kept an action out loses a tenth each time, so that one slow day does not keep it out for ever.
FADING = 0.9


@dataclass
class Result:
    """What a run did or, in check mode, would do; ``as_dict`` is what every database module returns."""

    plan: str
    check: bool
    budget: float
    status: str = "ok"
    message: str = ""
    run_id: int | None = None
    seconds: float = 0.0
    turns: int = 0
    server: dict[str, Any] = field(default_factory=dict)
    actions: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def totals(self) -> dict[str, int]:
        return dict(Counter(action["outcome"] for action in self.actions))

    def as_dict(self) -> dict[str, Any]:
        result = {
            "changed": any(action["changed"] for action in self.actions),
            "msg": self.message,
            "status": self.status,
            "plan": self.plan,
            "check_mode": self.check,
            "run_id": self.run_id,
            "seconds": round(self.seconds, 3),
            "budget": self.budget,
            "server": self.server,
            "actions": self.actions,
            "totals": self.totals,
            "turns": self.turns,
            "warnings": self.warnings,
        }
        if self.status == "failed":
            result["failed"] = True
        return result


def run(plan: Plan, connection: ConnectionOptions, check: bool, progress: Progress) -> Result:
    """Execute a plan, or in check mode only decide it. Raises OptionError and ConnectError before anything was touched."""
    budget = Budget(plan.budget)
    application = f"vtchat.maintenance {plan.name}"
    with closing(open_session(connection, application, statement_timeout=plan.budget, read_only=check)) as session:
        result = Result(plan.name, check, plan.budget, server=session.server.summary())
        try:
            _Run(session, plan, check, budget, progress, result).go()
        except MaintenanceError as error:
            if session.alive:
                raise
            result.status, result.message = "failed", f"the connection was lost: {error}"
        result.seconds, result.turns = budget.spent(), session.turns
        return result


class _Run:
    """One run, from the lock to the last line of its history."""

    def __init__(
        self, session: Session, plan: Plan, check: bool, budget: Budget, progress: Progress, result: Result
    ) -> None:
        self.session, self.plan, self.check, self.budget = session, plan, check, budget
        self.progress, self.result = progress, result
        self.watch = Watch(budget.end, session.cancel)
        self.history = History(session, check)
        self.forecast: dict[int, int] = {}
        self.noted: list[dict[str, Any]] = []
        self.put_off: list[dict[str, Any]] = []
        self.stopped = False

    def go(self) -> None:
        with self.watch:
            self._go()

    def _go(self) -> None:
        steps = [{step.operation: step.options} for step in self.plan.steps]
        self.history.enter(self.plan.name, steps, self.plan.history)
        if not self.check and not self.history.locked:
            self._skip()
            return
        self.result.run_id = self.history.run_id
        for number, step in self._ordered():
            self._step(number, step)
        self._conclude()
        if self.session.alive:
            self.history.close(self.result.status, self.result.message, self.result.totals, self.noted, self.put_off)
        self._warn()

    def _skip(self) -> None:
        holder = self.history.holder or {}
        who = (
            f"session {holder['pid']} of {holder.get('user') or 'another role'}"
            if "pid" in holder
            else "another session"
        )
        since = f" since {holder['since']}" if holder.get("since") else ""
        client = f", from {holder['client']}" if holder.get("client") else ""
        self.result.status = "skipped"
        self.result.message = f"another run has held the lock{since}: {who}{client}; nothing was done"

    def _warn(self) -> None:
        if self.history.note and self.history.note not in ("history: false", "there is no history yet"):
            self.result.warnings.append(f"No history: {self.history.note}. Lost without it: skipping of refreshes that are not "
                                        "needed, predicted durations, and the record of what was done.")  # fmt: skip
        for run in self.history.abandoned:
            at = f" in {run['at']}" if run["at"] else ""
            self.result.warnings.append(
                f"Run {run['run_id']} ({run['plan']}, {run['started']}) was abandoned{at}: its process died."
            )
        if self.check and self.history.holder:
            self.result.warnings.append(
                f"A run is under way (session {self.history.holder.get('pid')}): what is predicted here may change."
            )

    def _ordered(self) -> list[tuple[int, Step]]:
        """The steps with their numbers; one that was put off last time goes first."""
        late = [key for key, memory in self.history.memory.items() if memory.deferred]

        def in_time(pair: tuple[int, Step]) -> bool:
            step = pair[1]
            return not any(operation == step.operation and step.is_about(target) for operation, target in late)

        return sorted(enumerate(self.plan.steps, 1), key=in_time)

    def _step(self, number: int, step: Step) -> None:
        operation = OPERATIONS[step.operation]
        label = step.label
        if self.stopped or not self.session.alive:
            why = "a step before it failed (on_error: stop)" if self.stopped else "the connection was lost"
            self._record(number, Action(step.operation, label, why, SKIPPED if self.stopped else FAILED))
            return
        if self.watch.gone():
            self._record(number, Action(step.operation, label, NOBODY_WAITS, DEFERRED))
            return
        context = self._context(step)
        try:
            with self.watch.work():
                facts = self._read(operation, step, context)
            actions = operation.decide(facts, step.options, context)
        except Contended as error:
            actions = [Action(step.operation, label, f"its catalog entries are locked: {error}", CONTENDED)]
        except MaintenanceError as error:
            actions = [Action(step.operation, label, *self._unread(error))]
        except Exception as error:  # whatever is wrong with one step, the others are to be done
            actions = [Action(step.operation, label, self._unexpected(error), FAILED)]
        for action in sorted(actions, key=lambda action: not self._memory(action).deferred):
            self._act(number, operation, action, context)

    def _unread(self, error: MaintenanceError) -> tuple[str, str]:
        """Why the facts of a step could not be read, and what that makes of it."""
        if not isinstance(error, SqlError):
            return str(error), FAILED
        if self.watch.gone() and error.sqlstate == QUERY_CANCELED:
            return NOBODY_WAITS, DEFERRED
        return f"{error}{restricted_path.advice(error, self.session.server)}", FAILED

    def _context(self, step: Step) -> Context:
        return Context(
            check=self.check,
            state={
                target: memory.value for (name, target), memory in self.history.memory.items() if name == step.operation
            },
            forecast=self.forecast,
            seconds_left=self.budget.left,
            progress=self.progress,
            history=not self.history.note,
            history_note=self.history.note,
        )

    def _read(self, operation: ModuleType, step: Step, context: Context) -> Any:
        """The facts; one more try behind somebody's lock, or where the server met with what was being dropped."""
        self.session.set(lock_timeout=LIGHT)
        try:
            return operation.facts(self.session, step.options, context)
        except (Contended, SqlError) as error:
            if isinstance(error, SqlError) and error.sqlstate != INTERNAL_ERROR:
                raise
            return operation.facts(self.session, step.options, context)

    def _memory(self, action: Action) -> Memory:
        return self.history.recall(action.operation, action.target)

    def _act(self, number: int, operation: ModuleType, action: Action, context: Context) -> None:
        if action.verdict is not None:
            self._record(number, action)
        elif self.check:
            for oid, rows in action.affects.items():
                known = self.forecast.get(oid, 0)
                self.forecast[oid] = -1 if -1 in (rows, known) else known + rows
            rows_planned = action.numbers.get("rows") if operation.__name__.endswith("purge") else None
            self._record(number, action, Outcome(PLANNED, changed=True, rows=rows_planned))
        elif self.stopped:
            self._record(number, action, Outcome(SKIPPED, "a step before it failed (on_error: stop)"))
        elif not self._fits(operation, action):
            self._put_off(number, action)
        else:
            self._execute(number, operation, action, context)

    def _fits(self, operation: ModuleType, action: Action) -> bool:
        """Whether the action will end in time; one that can stop anywhere (DIVISIBLE) only needs some time."""
        expected = 0.0 if getattr(operation, "DIVISIBLE", False) else self._memory(action).seconds or 0.0
        left = self.budget.left()
        return left > 0 and expected <= left

    def _put_off(self, number: int, action: Action) -> None:
        expected = self._memory(action).seconds
        left = max(0.0, self.budget.left())
        reason = f"{left:.0f} s of the budget of {self.budget.seconds:g} s are left"
        if expected:
            reason += f", it is expected to take {expected:.0f} s"
        seconds = expected * FADING if expected and left > 0 else expected
        self.put_off.append(
            {"operation": action.operation, "target": action.target, "seconds": seconds, "deferred": True}
        )
        self._record(number, action, Outcome(DEFERRED, f"{reason}; it goes first next time"))

    def _execute(self, number: int, operation: ModuleType, action: Action, context: Context) -> None:
        row_id = self.history.begin(number, action)
        began = time.monotonic()
        try:
            self.session.end_with_client()
            self.session.set(statement_timeout=max(0.001, self.budget.left()))
            with self.watch.work():
                outcome = operation.execute(self.session, action, context)
        except Contended as error:
            outcome = Outcome(CONTENDED, f"{action.reason}; {error}")
        except SqlError as error:
            late = error.sqlstate == QUERY_CANCELED and self.budget.left() < 1
            outcome = (
                Outcome(DEFERRED, "the budget ended while it ran; it goes first next time")
                if late
                else Outcome(FAILED, f"{error}{restricted_path.advice(error, self.session.server)}")
            )
        except Exception as error:  # whatever is wrong with one step, the others are to be done
            outcome = Outcome(FAILED, self._unexpected(error))
        if self.watch.gone() and outcome.status == DEFERRED:
            outcome.reason = NOBODY_WAITS
        seconds = time.monotonic() - began
        if self.session.alive:
            with suppress(SqlError):  # whether the connection still lives is asked again by the next step
                self._settle()
            self.history.finish(row_id, action, outcome, seconds)
        self._record(number, action, outcome, seconds, logged=row_id is not None)

    def _unexpected(self, error: Exception) -> str:
        """What to say of an error that nobody thought of. A transaction that it left open is rolled back."""
        if not isinstance(error, MaintenanceError):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
        else:
            text = str(error)
        with suppress(SqlError):  # whether the connection still lives is asked again by the next step
            self.session.leave_transaction()
        return text

    def _settle(self) -> None:
        """Give back a limit for reads, and let later steps see in the statistics what this one has changed."""
        self.session.set(statement_timeout=max(1.0, self.budget.left()), lock_timeout=LIGHT)
        if self.session.server.version_num >= 150000:
            self.session.execute("SELECT pg_catalog.pg_stat_force_next_flush()")

    def _record(
        self, number: int, action: Action, outcome: Outcome | None = None, seconds: float = 0.0, logged: bool = False
    ) -> None:
        outcome = outcome or Outcome(action.verdict or DONE)
        entry = {
            "step": number,
            "operation": action.operation,
            "target": action.target,
            "outcome": outcome.status,
            "reason": self.session.scrub(outcome.reason or action.reason),
            "changed": outcome.changed,
            "rows": outcome.rows,
            "seconds": round(seconds, 3),
            "numbers": {**action.numbers, **outcome.numbers},
            "statements": list(action.statements),
        }
        self.result.actions.append(entry)
        if action.verdict is not None and self._memory(action).deferred:
            self.put_off.append({"operation": action.operation, "target": action.target, "deferred": False})
        if not logged:
            self.noted.append(
                {key: entry[key] for key in ("step", "operation", "target", "outcome", "reason", "numbers")}
            )
        if outcome.status == FAILED and self.plan.on_error == "stop":
            self.stopped = True

    def _conclude(self) -> None:
        totals = self.result.totals
        if self.watch.gone():
            self.result.status = "abandoned"
        elif totals.get(FAILED):
            self.result.status = "failed"
        elif totals.get(CONTENDED) or totals.get(DEFERRED):
            self.result.status = "partial"
        told = ", ".join(f"{count} {outcome}" for outcome, count in totals.items())
        self.result.message = f"{self.plan.name}: {told or 'nothing to do'}"
        if self.watch.gone():
            self.result.message += "; abandoned by its controller"
        failures = [action for action in self.result.actions if action["outcome"] == FAILED]
        if failures:
            first = failures[0]
            self.result.message += f". {first['operation']} {first['target']}: {first['reason']}"
