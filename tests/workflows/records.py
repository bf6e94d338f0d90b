# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of a workflow run: jobs, steps, and what the runner made of their output and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Of each kind and step; what is more is not shown.
ANNOTATIONS = 10


@dataclass(frozen=True)
class Annotation:
    """A message that GitHub shows beside a step."""

    level: str  # error, warning, notice
    message: str
    title: str = ""


@dataclass
class Step:
    """A step that was looked at. One that did not run has the outcome skipped."""

    id: str
    name: str
    script: str = ""
    uses: str = ""
    outcome: str = "skipped"
    conclusion: str = "skipped"
    environment: dict[str, str] = field(default_factory=dict)  # what the workflow gives, without the runner's own
    inputs: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    output: str = ""
    summary: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether it was started."""
        return self.outcome != "skipped"

    def annotate(self, level: str, message: str, title: str = "") -> None:
        """Add what GitHub would show, as long as it would."""
        if sum(one.level == level for one in self.annotations) < ANNOTATIONS:
            self.annotations.append(Annotation(level, message, title))

    def told(self, level: str) -> list[str]:
        """Messages of a level, with their titles."""
        return [
            f"{one.title}: {one.message}" if one.title else one.message
            for one in self.annotations
            if one.level == level
        ]


@dataclass
class Job:
    """A job, or one of its matrix. The name of one in a called workflow is "caller / called"."""

    id: str
    result: str = "skipped"
    name: str = ""
    environment: str = ""
    deployment: bool = True
    permissions: dict[str, str] = field(default_factory=dict)
    concurrency: dict[str, Any] = field(default_factory=dict)
    matrix: dict[str, Any] = field(default_factory=dict)
    minutes: float = 360
    runs_on: Any = ""
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)  # what was still running when the job had ended
    token: str = ""

    def step(self, name: str) -> Step:
        """The step with that name."""
        (found,) = [step for step in self.steps if step.name == name]
        return found

    @property
    def ran(self) -> list[str]:
        """Names of the steps that were started."""
        return [step.name for step in self.steps if step.ran]

    @property
    def summary(self) -> str:
        """The summaries of its steps, as its page shows them."""
        return "\n".join(step.summary for step in self.steps if step.summary)

    @property
    def output(self) -> str:
        """All that its steps printed."""
        return "".join(step.output for step in self.steps)

    def told(self, level: str) -> list[str]:
        """Annotations of all steps."""
        return [message for step in self.steps for message in step.told(level)]


@dataclass
class Artifact:
    """What upload-artifact has kept."""

    name: str
    files: dict[str, bytes]


@dataclass
class Run:
    """A workflow run."""

    workflow: str
    title: str = ""
    concurrency: dict[str, Any] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def job(self, job_id: str) -> Job:
        """The job with that id; for one of a called workflow "caller / called"."""
        (found,) = [job for job in self.jobs if job.id == job_id]
        return found

    @property
    def ran(self) -> list[str]:
        """Ids of the jobs that were started, in the order of their start."""
        return [job.id for job in self.jobs if job.result != "skipped"]

    @property
    def conclusion(self) -> str:
        """What the list of runs shows."""
        results = {job.result for job in self.jobs}
        for worst in ("waiting", "failure", "cancelled", "success"):
            if worst in results:
                return worst
        return "skipped"

    def steps(self) -> Iterator[tuple[Job, Step]]:
        """Each step with its job."""
        for job in self.jobs:
            for step in job.steps:
                yield job, step


def status_of(results: Mapping[str, str], cancelled: bool) -> dict[str, bool]:
    """The status functions of a job's condition, given the results of all jobs that it depends on."""
    return {
        "always": True,
        "cancelled": cancelled,
        "failure": "failure" in results.values(),
        "success": not cancelled and all(result == "success" for result in results.values()),
    }
