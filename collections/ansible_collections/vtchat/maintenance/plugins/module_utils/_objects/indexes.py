# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The indexes of a call: the operation index, step by step, after the scripts and outside of any transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._engine.execute import Executor
from .._engine.plan import Step
from .._errors import Contended, MaintenanceError
from .._operations import Action, Context, Decision, Outcome, Verdict
from .._postgres.policy import LIGHT, Budget
from .._postgres.session import Session
from .._postgres.watch import Watch
from .._result import CONTENDED, FAILED, PLANNED, UNCHANGED, Result, entry
from .changes import CREATE, KEEP, REPLACE


@dataclass
class Indexes:
    """Where indexes are made, and the result that they are added to."""

    session: Session
    budget: Budget
    watch: Watch
    check: bool
    result: Result
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        self.context = Context(self.check, seconds_left=self.budget.left, history=False)

    def bring(self, steps: Sequence[Step], predicted: Collection[str]) -> None:
        """Make each index what it should be. predicted: those of views that check mode has not made, already in the result."""
        for number, step in enumerate(steps, 1):
            script = f"indexes[{number}]"
            if script not in predicted:
                for decision in self._decided(step):
                    self._act(step, decision, script)

    def _decided(self, step: Step) -> Sequence[Decision[Any]]:
        try:
            self.session.set(lock_timeout=LIGHT, statement_timeout=max(0.001, self.budget.left()))
            with self.watch.work():
                facts = step.does.facts(self.session, step.options, self.context)
        except Contended as error:
            return [Verdict(step.label, f"its catalog entries are locked: {error}", CONTENDED)]
        except MaintenanceError as error:
            return [Verdict(step.label, str(error), FAILED)]
        found = step.does.decide(facts, step.options, self.context)
        return [decision for decision in found if isinstance(decision, (Action, Verdict))]

    def _act(self, step: Step, decision: Decision[Any], script: str) -> None:
        began, outcome = time.monotonic(), Outcome(decision.verdict or PLANNED)
        if isinstance(decision, Action):
            outcome.changed = True
            if not self.check:
                executor = Executor(self.budget, self.watch)
                outcome = executor.execute(self.session, step.does, decision, self.context)
        operation = KEEP if outcome.status == UNCHANGED else REPLACE if decision.numbers.get("before") else CREATE
        self.result.actions.append(
            entry(
                operation,
                decision.target,
                outcome.status,
                self.session.scrub(outcome.reason or decision.reason),
                kind="index",
                changed=outcome.changed,
                seconds=time.monotonic() - began,
                numbers={**decision.numbers, **outcome.numbers},
                statements=decision.statements,
                script=script,
                drift=[],
            )
        )
        difference = decision.difference if isinstance(decision, Action) else None
        if difference is not None and outcome.changed and outcome.status != FAILED:
            headers = {
                "before_header": f"index {decision.target}",
                "after_header": f"index {decision.target} ({script})",
            }
            self.result.diff.append({**headers, "before": difference.before, "after": difference.after})
