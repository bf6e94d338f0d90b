# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a job: its steps in their order, with the contexts, conditions and environments that GitHub gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workflows import actions
from tests.workflows.actions import Surroundings
from tests.workflows.language import Language, Workflow, text
from tests.workflows.records import Step
from tests.workflows.shell import Performer


@dataclass
class Contexts:
    """What the expressions of a job see, apart from what changes from step to step."""

    known: dict[str, Any]
    language: Language

    def resolved(self, value: Any, status: Mapping[str, bool] | None = None, **more: Any) -> Any:
        """A part of the workflow with its expressions replaced."""
        return self.language.evaluate(value, {**self.known, **more}, status)

    def texts(self, value: Mapping[str, Any] | None, **more: Any) -> dict[str, str]:
        """An environment or the inputs of an action."""
        return {name: text(one) for name, one in self.resolved(dict(value or {}), **more).items()}


class JobRunner:
    """One job on one runner."""

    def __init__(self, contexts: Contexts, workflow: Workflow, job_id: str, performer: Performer) -> None:
        self.contexts = contexts
        self.workflow = workflow
        self.job_id = job_id
        self.performer = performer
        self.settings: dict[str, Any] = workflow.jobs[job_id]
        self.result = "success"
        self.steps: dict[str, dict[str, Any]] = {}
        self.environment = contexts.texts(workflow.tree.get("env"))
        self.environment |= contexts.texts(self.settings.get("env"))

    def run(self, at: Surroundings) -> None:
        """Run the steps; the job has its result and its outputs then."""
        for number, settings in enumerate(self.settings["steps"]):
            step_id, condition = self.workflow.steps[self.job_id][number]
            step = self._step(step_id, condition, settings, at)
            at.job.steps.append(step)
            if step.conclusion == "failure" and self.result == "success":
                self.result = "failure"
            if at.place.cancelled:
                self.result = "cancelled"
            self.steps[step_id] = {"outputs": step.outputs, "outcome": step.outcome, "conclusion": step.conclusion}
        at.job.result = self.result
        outputs = self.settings.get("outputs")
        at.job.outputs = self.contexts.texts(outputs, steps=self.steps, env=self.environment)

    def _step(self, step_id: str, condition: str, settings: dict[str, Any], at: Surroundings) -> Step:
        known_job = {**self.contexts.known["job"], "status": self.result}
        now: dict[str, Any] = {"steps": self.steps, "env": {**self.environment, **at.place.exported}, "job": known_job}
        now["env"] = {**now["env"], **self.contexts.texts(settings.get("env"), **now)}
        name = settings.get("name", settings.get("run", settings.get("uses")))
        step = Step(step_id, text(self.contexts.resolved(name, **now)), environment=now["env"])
        step.uses = settings.get("uses", "")
        if not self.contexts.language.true(condition, {**self.contexts.known, **now}, self._status()):
            return step
        if step.uses:
            step.inputs = self.contexts.texts(settings.get("with"), **now)
            actions.check(step)
        if step.uses and self.performer.executes:
            actions.use(step, at)
        else:
            step.script = text(self.contexts.resolved(settings.get("run"), **now))
            defaults = (self.settings.get("defaults") or self.workflow.tree.get("defaults") or {}).get("run", {})
            self.performer.perform(at.job, step, at.place, {**defaults, **settings})
        tolerated = self.contexts.resolved(settings.get("continue-on-error", False), **now)
        step.conclusion = "success" if tolerated and step.outcome == "failure" else step.outcome
        return step

    def _status(self) -> dict[str, bool]:
        """The status functions of a step's condition."""
        return {
            "always": True,
            "cancelled": self.result == "cancelled",
            "failure": self.result == "failure",
            "success": self.result == "success",
        }


def runner_context(directory: Path) -> dict[str, str]:
    """What the machine says of itself."""
    return {"os": "Linux", "arch": "X64", "name": "test", "environment": "github-hosted", "temp": str(directory)}
