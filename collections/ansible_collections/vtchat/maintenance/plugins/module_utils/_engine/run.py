# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The run protocol: one run at a time, every action logged before it happens, within a budget, all failures told at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from .._operations import (
    Action,
    Context,
    Decision,
    Effect,
    Outcome,
    Verdict,
)
from .._postgres.policy import Budget
from .._postgres.session import Session
from .._postgres.watch import Watch
from .._result import (
    ABANDONED,
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
from .closing import Closing, counted, lighten, shortened
from .due import ALWAYS, decide, decide_without, message
from .execute import NOBODY_WAITS, Executor
from .fair import Chance, Key, Memory, Predictions, Took, chance, cut_off
from .history import History
from .notes import held, warnings
from .observer import Observer
from .order import Part, in_line, waits
from .plan import Plan, Step
from .reader import Reader
from .sessions import Sessions

STOPPED = "a step before it failed (on_error: stop)"
LOST = "the connection was lost"


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
        *,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        """started: called when it is certain that there is something to do."""
        self.sessions, self.session, self.plan, self.check, self.budget = sessions, sessions.first, plan, check, budget
        self.observer, self.result, self.started = observer, result, started
        self.watch = Watch(budget.end, sessions.cancel)
        self.executor = Executor(budget, self.watch)
        self.reader = Reader(self.session, self.watch)
        self.history = History(self.session, check, reads=plan.read_only)
        self.parts = [Part(number, step) for number, step in enumerate(plan.steps, 1)]
        self.forecast: dict[int, Effect] = {}
        self.closing = Closing("", "", {})
        self.stopped = False
        self.predictions = Predictions({})
        self.whole = 0.0
        self.foreseen = 0.0
        self._latest = 0.0
        self._behind: dict[Key, Memory] = {}
        self._found: set[tuple[int, str, str]] = set()  # what actions have found: step, check, subject
        self._recording = threading.Lock()

    def go(self) -> None:
        """All of it."""
        with self.watch:
            self._go()

    def _go(self) -> None:
        self.history.enter(self.plan.history)
        if not self.check and not self.history.may_act:
            self._skip(held(self.history))
            return
        if not self._is_due():
            self.history.close(self.closing)
            return
        steps = [{step.operation: step.given} for step in self.plan.steps]
        self.history.open(self.plan.name, steps, self.plan.rule, self.plan.budget)
        self.result.more.update(run_id=self.history.run_id, recent=self.history.recent)
        self.started()
        self.predictions = Predictions(self.history.memory)
        self._all_steps()
        self._conclude()
        if self.session.alive:
            self.history.close(self.closing)
        if self.history.counters is not None:
            self.result.more["counters"] = self.history.counters
        self._warn()

    def _skip(self, message: str) -> None:
        self.result.status, self.result.message = SKIPPED, message

    def _is_due(self) -> bool:
        """Whether there is something to do now, by the clock of the server."""
        schedule = self.plan.schedule
        if schedule is None or self.plan.due == ALWAYS:
            return True
        last, now = self.history.succeeded(self.plan.name)
        unknown = self.history.unusable
        due = decide_without(schedule, now, unknown) if unknown else decide(schedule, last, now)
        self.result.warnings += [f"{self.plan.name}: {due.warning}."] if due.warning else []
        self.result.more["due"] = due.reason
        if not due.is_due:
            self._skip(message(due))
        return due.is_due

    def _warn(self) -> None:
        self.result.warnings += warnings(self.history, self.plan, self.result, self.check)
        if self.sessions.note:
            self.result.warnings.append(self.session.scrub(self.sessions.note))

    def _all_steps(self) -> None:
        """What has waited goes first, the longest first, whatever step it is of; then all steps as the plan has them."""
        parts = self.parts
        for part in parts:
            if waits(part.step, self.history.memory) and not self._ended():
                self._read(part)
        for part, targets in in_line(parts, self.history.recall):
            if not self._ended():
                self._visit(part, targets)
        for part in parts:
            if self._ended():
                self._record(part.number, part.step, *self._why_ended(part.step))
            else:
                self._visit(part, None)

    def _ended(self) -> bool:
        return self.stopped or not self.session.alive or self.watch.gone()

    def _why_ended(self, step: Step) -> tuple[Verdict, Outcome]:
        """What to tell of a step that nothing more comes of."""
        outcome, why = DEFERRED, NOBODY_WAITS
        if self.stopped or not self.session.alive:
            outcome, why = (SKIPPED, STOPPED) if self.stopped else (FAILED, LOST)
        return Verdict(step.label, why, outcome), Outcome(outcome)

    def _read(self, part: Part) -> None:
        """Read and decide one step."""
        context = self._context(part.step)
        part.decide(self.reader.decided(part.step, context), context, self._others(part))

    def _others(self, part: Part) -> int:
        """How many actions of other steps have been executed."""
        return sum(other.acted for other in self.parts if other is not part)

    def _visit(self, part: Part, targets: Collection[str] | None) -> None:
        """Execute what a step has decided for some targets that have waited; without them, the rest of it, and tell of all."""
        if part.others != self._others(part):  # not decided yet, or what others did may have changed it
            self._read(part)
        for finding in part.findings if targets is None else ():
            self._find(part.number, finding)
        chosen = part.choose(targets)
        if part.step.does.jobs(part.step.options) > 1 and not self.check:
            self._together(part, chosen)
            return
        for decision in chosen:
            if self.session.alive or isinstance(decision, Verdict):
                self._act(part, decision, self.session)
            else:
                self._record(part.number, part.step, Verdict(decision.target, LOST, FAILED), Outcome(FAILED))

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
            warn=self._warn_once,
            write=self._write,
            history=not self.history.note,
            history_note=self.history.note,
            earlier=self.history.tells_findings,
            plan=self.plan.name,
        )

    def _warn_once(self, text: str) -> None:
        """A step that is decided twice says the same twice."""
        if text not in self.result.warnings:
            self.result.warnings.append(text)

    def _write(self, path: str, text: str) -> None:
        """A file that whoever asked for the run is to have; the action plugin writes it."""
        self.result.more.setdefault("files", {})[path] = text

    def _memory(self, step: Step, decision: Decision[Any]) -> Memory:
        return self.history.recall(step.operation, decision.target)

    def _together(self, part: Part, decisions: Sequence[Decision[Any]]) -> None:
        """Several actions at once; each over a session of its own. They are told in the order in which they were decided."""
        before = len(self.result.actions)

        def act(session: Session, decision: Decision[Any]) -> None:
            self._act(part, decision, session)

        for decision in decisions:
            if isinstance(decision, Verdict):
                act(self.session, decision)
        actions = [decision for decision in decisions if isinstance(decision, Action)]
        lost = self.sessions.each([one for one in actions if not one.last], part.step.does.jobs(part.step.options), act)
        lost += self.sessions.each([one for one in actions if one.last], 1, act)
        for left in lost:
            self._record(part.number, part.step, Verdict(left.target, LOST, FAILED), Outcome(FAILED))
        order = {decision.target: position for position, decision in enumerate(decisions)}
        self.result.actions[before:] = sorted(self.result.actions[before:], key=lambda one: order[one["target"]])

    def _act(self, part: Part, decision: Decision[Any], session: Session) -> None:
        if isinstance(decision, Verdict):
            self._note(part.number, part.step, decision)
        elif self.stopped and not self.check:
            self._record(part.number, part.step, decision, Outcome(SKIPPED, STOPPED))
        else:
            has = self._chance(part.step, decision)
            if has.reason:
                self._put_off(part, decision, has)
            elif self.check:
                self._foresee(part, decision, has)
            else:
                self._execute(part, decision, session)

    def _expected(self, step: Step, action: Action[Any]) -> float | None:
        """Seconds that the action is expected to take. One that can stop anywhere needs no more than there are."""
        if step.does.DIVISIBLE or action.divisible:
            return None
        return self.predictions.expected(step.operation, self._memory(step, action), action.size)

    def _chance(self, step: Step, action: Action[Any]) -> Chance:
        left = self.budget.left() - self.foreseen
        self.whole = self.whole or left
        return chance(self._memory(step, action), self._expected(step, action), left, self.whole)

    def _put_off(self, part: Part, action: Action[Any], has: Chance) -> None:
        numbers = {} if has.seconds is None else {"expected_seconds": round(has.seconds, 1)}
        self._record(part.number, part.step, action, Outcome(DEFERRED, has.reason, numbers=numbers))
        if not action.last:  # it belongs to the others of its step, and is decided with them
            memory = self._memory(part.step, action).put_off(self._since())
            self.closing.memories[part.step.operation, action.target] = memory

    def _foresee(self, part: Part, action: Action[Any], has: Chance) -> None:
        """Check mode: what the steps after this one, and the budget, are to reckon with."""
        for oid, effect in action.effects.items():
            self.forecast[oid] = self.forecast.get(oid, Effect()) + effect
        self.foreseen += (has.seconds or 0.0) / part.step.does.jobs(part.step.options)
        part.acted += 1
        self._record(part.number, part.step, action, Outcome(PLANNED, changed=True, rows=action.rows))

    def _execute(self, part: Part, action: Action[Any], session: Session) -> None:
        step, clock = part.step, self.budget.clock
        row_id = self.history.begin(session, part.number, step.operation, action)
        heard = session.listen()
        began = clock()
        outcome = self.executor.execute(session, step.does, action, part.context)
        took = Took(clock() - began, action.size, step.does.DIVISIBLE or action.divisible)
        memory = self._learn(part, action, outcome, took)
        if session.alive:
            self.history.finish(session, row_id, step.operation, action, outcome, memory)
        self._record(part.number, step, action, outcome, took.seconds, logged=row_id is not None)
        for finding in outcome.findings:
            self._find_now(part.number, finding)
        self._hear(step, action, heard)

    def _learn(self, part: Part, action: Action[Any], outcome: Outcome, took: Took) -> Memory:
        """What is to be remembered of an execution, and what it says about those that come."""
        since = self._since() if outcome.status == DEFERRED else 0.0
        memory = self._memory(part.step, action).after(outcome, took, since)
        if action.last:
            memory = replace(memory, deferred=False)
        if outcome.status == DEFERRED and not took.divisible:
            outcome.reason = cut_off(outcome.reason, memory, self.whole)
        with self._recording:
            part.acted += 1
            if outcome.status in (DONE, UNCHANGED) and not took.divisible:
                self.predictions.learn(part.step.operation, took.seconds, took.size)
            if outcome.status == DEFERRED and took.divisible:
                self._behind[part.step.operation, action.target] = memory
        return memory

    def _since(self) -> float:
        """Now, by the server's clock; later with each call, so that those that wait keep their order."""
        with self._recording:
            self._latest = max(self.history.opened + self.budget.spent(), self._latest + 2e-6)
            return self._latest

    def _hear(self, step: Step, action: Action[Any], heard: Sequence[str]) -> None:
        """What the server warned of while it worked."""
        for text in dict.fromkeys(heard):
            self.result.warnings.append(f"{step.operation} {action.target}: {text}")

    def _note(self, number: int, step: Step, verdict: Verdict) -> None:
        """A decision that is final, with what is to be remembered of it."""
        self._record(number, step, verdict, Outcome(verdict.verdict))
        memory = self._memory(step, verdict)
        if verdict.state is not None or memory.deferred:
            noted = memory.decided(verdict.verdict, verdict.state, self._since())
            self.closing.memories[step.operation, verdict.target] = noted

    def _find(self, number: int, finding: Finding) -> None:
        """What was decided, unless an action has found out more since."""
        if (number, finding.check, finding.subject) not in self._found:
            self._tell(number, finding)

    def _find_now(self, number: int, finding: Finding) -> None:
        """What an action has found, in the place of what was decided about the same subject."""
        key = (number, finding.check, finding.subject)
        with self._recording:
            self._found.add(key)
            for told in (self.result.findings, self.closing.findings):
                told[:] = [one for one in told if (one["step"], one["check"], one["subject"]) != key]
            self._tell(number, finding)

    def _tell(self, number: int, finding: Finding) -> None:
        found = {"step": number, **finding.as_dict()}
        self.result.findings.append(found)
        if finding.keep:
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
        self.closing.totals, self.closing.retries = self.result.totals, self.sessions.retries
        self.closing.noted = shortened(self.closing.noted)
        dead = [action for run in self.history.abandoned for action in run["actions"]]
        self.closing.counted = counted(self.result.actions, dead)
        lighten(self.result.actions)
        for key, memory in self._behind.items():
            self.closing.memories[key] = replace(memory, since=self._since())
