# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The run protocol: one run at a time, every action logged before it happens, within a budget, all failures told at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

from .._errors import Contended, MaintenanceError, SqlError
from .._operations import (
    Action,
    Context,
    Decision,
    Effect,
    Facts,
    Operation,
    Options,
    Outcome,
    Payload,
    Verdict,
)
from .._postgres import restricted_path
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.policy import LIGHT, Budget
from .._postgres.session import Session
from .._postgres.sqlstates import INTERNAL_ERROR, QUERY_CANCELED
from .._postgres.watch import Watch
from .._result import (
    ABANDONED,
    CONTENDED,
    DEFERRED,
    DONE,
    FAILED,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    Finding,
    Result,
    entry,
)
from .execute import NOBODY_WAITS, Executor, unexpected
from .history import NONE_YET, NOT_WANTED, Closing, History, Memory
from .observer import Observer, Progress
from .plan import Plan, Step
from .sessions import Sessions

# A prediction that kept an action out loses a tenth each time, so that one slow day does not keep it out for ever.
FADING = 0.9
MOST_NOTED = 100  # targets of a step that nothing happened to, one by one in the history
LOOKING = 5.0  # seconds that a look at the progress of statements may take
STOPPED = "a step before it failed (on_error: stop)"
LOST = "the connection was lost"


def run(plan: Plan, connection: ConnectionOptions, check: bool, progress: Progress) -> Result:
    """Execute a plan, or in check mode only decide it. Raises OptionError and ConnectError before anything was touched."""
    budget = Budget(plan.budget)
    opening = partial(open_session, connection, f"vtchat.maintenance {plan.name}", read_only=check)
    with closing(opening(statement_timeout=plan.budget, writes=not plan.read_only, standby=plan.read_only)) as session:
        result = Result(plan.name, check, session.server.summary())
        result.more = {"run_id": None, "budget": plan.budget}
        sessions = Sessions(session, lambda: opening(statement_timeout=max(0.001, budget.left())))
        observer = Observer(lambda: opening(statement_timeout=LOOKING), progress)
        with closing(sessions), closing(observer):
            try:
                Run(sessions, plan, check, budget, observer, result).go()
            except MaintenanceError as error:
                if session.alive:
                    raise
                result.status, result.message = FAILED, f"{LOST}: {error}"
            result.seconds, result.turns = budget.spent(), sessions.round_trips
        return result


class Run:
    """One run, from the lock to the last line of its history."""

    def __init__(
        self,
        sessions: Sessions,
        plan: Plan,
        check: bool,
        budget: Budget,
        observer: Observer,
        result: Result,
    ) -> None:
        self.sessions, self.session, self.plan, self.check, self.budget = sessions, sessions.first, plan, check, budget
        self.observer, self.result = observer, result
        self.watch = Watch(budget.end, sessions.cancel)
        self.executor = Executor(budget, self.watch)
        self.history = History(self.session, check, reads=plan.read_only)
        self.forecast: dict[int, Effect] = {}
        self.closing = Closing("", "", {})
        self.stopped = False
        self._recording = threading.Lock()

    def go(self) -> None:
        """All of it."""
        with self.watch:
            self._go()

    def _go(self) -> None:
        steps = [{step.operation: step.given} for step in self.plan.steps]
        self.history.enter(self.plan.name, steps, self.plan.history)
        if not self.check and not self.history.may_act:
            self._skip()
            return
        self.result.more["run_id"] = self.history.run_id
        for number, step in self._ordered():
            self._step(number, step)
        self._conclude()
        if self.session.alive:
            self.history.close(self.closing)
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
        self.result.status = SKIPPED
        self.result.message = f"another run has held the lock{since}: {who}{client}; nothing was done"

    def _warn(self) -> None:
        warn = self.result.warnings.append
        if self.history.note and self.history.note not in (NOT_WANTED, NONE_YET):
            warn(f"No history: {self.history.note}. Lost without it: skipping of refreshes that are not needed, predicted "
                 "durations, and the record of what was done.")  # fmt: skip
        if self.history.limited and self.result.findings:
            warn(f"History: {self.history.limited}.")
        if self.sessions.note:
            warn(self.session.scrub(self.sessions.note))
        for run in self.history.abandoned:
            at = f" in {run['at']}" if run["at"] else ""
            warn(f"Run {run['run_id']} ({run['plan']}, {run['started']}) was abandoned{at}: its process died.")
        if self.check and self.history.holder:
            warn(f"A run is under way (session {self.history.holder.get('pid')}): what is predicted here may change.")

    def _ordered(self) -> list[tuple[int, Step]]:
        """The steps with their numbers; one that was deferred last time goes first."""
        late = [key for key, memory in self.history.memory.items() if memory.deferred]

        def in_time(pair: tuple[int, Step]) -> bool:
            step = pair[1]
            return not any(operation == step.operation and step.is_about(target) for operation, target in late)

        return sorted(enumerate(self.plan.steps, 1), key=in_time)

    def _step(self, number: int, step: Step) -> None:
        """Read, decide, act."""
        if self.stopped or not self.session.alive:
            outcome, why = (SKIPPED, STOPPED) if self.stopped else (FAILED, LOST)
            self._note(number, step, Verdict(step.label, why, outcome))
            return
        if self.watch.gone():
            self._note(number, step, Verdict(step.label, NOBODY_WAITS, DEFERRED))
            return
        context = self._context(step)
        decisions: list[Decision[Any]] = []
        for decision in self._decided(step.does, step, context):
            if isinstance(decision, Finding):
                self._find(number, decision)
            else:
                decisions.append(decision)
        decisions.sort(key=lambda one: (_last(one), not self._memory(step, one).deferred))
        if step.does.jobs(step.options) > 1 and not self.check:
            self._together(number, step, decisions, context)
            return
        for decision in decisions:
            self._act(number, step, decision, context, self.session)

    def _decided(
        self, operation: Operation[Options, Facts, Payload], step: Step, context: Context
    ) -> Sequence[Decision[Payload] | Finding]:
        """What is to be done, or the one verdict that it cannot be found out."""
        try:
            with self.watch.work():
                facts = self._facts(operation, step.options, context)
            return operation.decide(facts, step.options, context)
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

    def _context(self, step: Step) -> Context:
        return Context(
            check=self.check,
            state={
                target: memory.value for (name, target), memory in self.history.memory.items() if name == step.operation
            },
            forecast=self.forecast,
            seconds_left=self.budget.left,
            progress=self.observer.progress,
            observe=self.observer.observe,
            warn=self.result.warnings.append,
            history=not self.history.note,
            history_note=self.history.note,
        )

    def _facts(self, operation: Operation[Options, Facts, Payload], options: Options, context: Context) -> Facts:
        """The facts; one more try behind somebody's lock, or where the server met with what was being dropped."""
        self.session.set(lock_timeout=LIGHT)
        try:
            return operation.facts(self.session, options, context)
        except (Contended, SqlError) as error:
            if isinstance(error, SqlError) and error.sqlstate != INTERNAL_ERROR:
                raise
            return operation.facts(self.session, options, context)

    def _memory(self, step: Step, decision: Decision[Any]) -> Memory:
        return self.history.recall(step.operation, decision.target)

    def _together(self, number: int, step: Step, decisions: list[Decision[Any]], context: Context) -> None:
        """Several actions at once; each over a session of its own. They are told in the order in which they were decided."""
        before = len(self.result.actions)

        def act(session: Session, decision: Decision[Any]) -> None:
            self._act(number, step, decision, context, session)

        for decision in decisions:
            if isinstance(decision, Verdict):
                act(self.session, decision)
        actions = [decision for decision in decisions if isinstance(decision, Action)]
        lost = self.sessions.each([one for one in actions if not one.last], step.does.jobs(step.options), act)
        lost += self.sessions.each([one for one in actions if one.last], 1, act)
        for left in lost:
            self._note(number, step, Verdict(left.target, LOST, FAILED))
        order = {decision.target: position for position, decision in enumerate(decisions)}
        self.result.actions[before:] = sorted(self.result.actions[before:], key=lambda one: order[one["target"]])

    def _act(self, number: int, step: Step, decision: Decision[Any], context: Context, session: Session) -> None:
        if isinstance(decision, Verdict):
            self._note(number, step, decision)
        elif self.check:
            for oid, effect in decision.effects.items():
                self.forecast[oid] = self.forecast.get(oid, Effect()) + effect
            self._record(number, step, decision, Outcome(PLANNED, changed=True, rows=decision.rows))
        elif self.stopped:
            self._record(number, step, decision, Outcome(SKIPPED, STOPPED))
        elif not self._fits(step.does, self._memory(step, decision)):
            self._put_off(number, step, decision)
        else:
            self._execute(number, step, decision, context, session)

    def _fits(self, operation: Operation[Any, Any, Any], memory: Memory) -> bool:
        """Whether the action will end in time; one that can stop anywhere (DIVISIBLE) only needs some time."""
        expected = 0.0 if operation.DIVISIBLE else memory.seconds or 0.0
        left = self.budget.left()
        return left > 0 and expected <= left

    def _put_off(self, number: int, step: Step, action: Action[Any]) -> None:
        expected = self._memory(step, action).seconds
        left = max(0.0, self.budget.left())
        reason = f"{left:.0f} s of the budget of {self.budget.seconds:g} s are left"
        if expected:
            reason += f", it is expected to take {expected:.0f} s"
        seconds = expected * FADING if expected and left > 0 else expected
        self._record(number, step, action, Outcome(DEFERRED, f"{reason}; it goes first next time"))
        self.closing.memories[step.operation, action.target] = Memory({}, seconds, deferred=True)

    def _execute(self, number: int, step: Step, action: Action[Any], context: Context, session: Session) -> None:
        row_id = self.history.begin(session, number, step.operation, action)
        began = time.monotonic()
        heard = session.listen()
        outcome = self.executor.execute(session, step.does, action, context)
        seconds = time.monotonic() - began
        if session.alive:
            self.history.finish(session, row_id, step.operation, action, outcome, seconds)
        self._record(number, step, action, outcome, seconds, logged=row_id is not None)
        self._hear(step, action, heard)

    def _hear(self, step: Step, action: Action[Any], heard: Sequence[str]) -> None:
        """What the server warned of while it worked."""
        for text in dict.fromkeys(heard):
            self.result.warnings.append(f"{step.operation} {action.target}: {text}")

    def _note(self, number: int, step: Step, verdict: Verdict) -> None:
        """A decision that is final, with what is to be remembered of it."""
        self._record(number, step, verdict, Outcome(verdict.verdict))
        if verdict.state is not None or self._memory(step, verdict).deferred:
            self.closing.memories[step.operation, verdict.target] = Memory(verdict.state or {})

    def _find(self, number: int, finding: Finding) -> None:
        found = {"step": number, **finding.as_dict()}
        self.result.findings.append(found)
        self.closing.findings.append(found)

    def _record(
        self,
        number: int,
        step: Step,
        decision: Decision[Any],
        outcome: Outcome,
        seconds: float = 0.0,
        logged: bool = False,
    ) -> None:
        made = entry(
            step.operation,
            decision.target,
            outcome.status,
            self.session.scrub(outcome.reason or decision.reason),
            step=number,
            changed=outcome.changed,
            rows=outcome.rows,
            seconds=seconds,
            numbers={**decision.numbers, **outcome.numbers},
            statements=decision.statements,
            **({"counted_as": step.does.COUNTED_AS} if step.does.COUNTED_AS else {}),
        )
        with self._recording:
            self.result.actions.append(made)
            self._show_difference(decision, outcome)
            if not logged:
                keys = ("step", "operation", "target", "outcome", "reason", "numbers")
                self.closing.noted.append({key: made[key] for key in keys})
            if outcome.status == FAILED and self.plan.on_error == "stop":
                self.stopped = True

    def _show_difference(self, decision: Decision[Any], outcome: Outcome) -> None:
        """For --diff: what is different, or in check mode will be."""
        expected = decision.difference if isinstance(decision, Action) else None
        shown = outcome.difference or (expected if outcome.status in (DONE, PLANNED) else None)
        if shown is not None:
            headers = {"before_header": decision.target, "after_header": decision.target}
            self.result.diff.append({**headers, "before": shown.before, "after": shown.after})

    def _conclude(self) -> None:
        """Status and message, for the result and for the history."""
        gone = self.watch.gone()
        self.result.status = ABANDONED if gone else ""
        self.result.conclude()
        if gone:
            self.result.message += "; abandoned by its controller"
        self.closing.status, self.closing.message = self.result.status, self.result.message
        self.closing.totals = self.result.totals
        self.closing.noted = _shortened(self.closing.noted)


def _shortened(noted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the history keeps of targets that nothing happened to: of thousands in each run nobody reads more than a number."""
    seen: Counter[tuple[int, str]] = Counter()
    kept: list[dict[str, Any]] = []
    for one in noted:
        key = (one["step"], one["operation"])
        idle = one["outcome"] == UNCHANGED
        seen[key] += idle
        if not idle or seen[key] <= MOST_NOTED:
            kept.append(one)
    for (step, operation), number in seen.items():
        if number > MOST_NOTED:
            target = f"{number - MOST_NOTED} more"
            kept.append({"step": step, "operation": operation, "target": target, "outcome": UNCHANGED,
                         "reason": "unchanged like those before them", "numbers": {}})  # fmt: skip
    return kept


def _last(decision: Decision[Any]) -> bool:
    """Whether it comes after all others of its step."""
    return isinstance(decision, Action) and decision.last
