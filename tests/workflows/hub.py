# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is at GitHub before anything runs: repositories, environments, secrets, and the events that start workflows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.workflows.language import Workflow, WorkflowError

WORKFLOWS = ".github/workflows"
# Invented, but of the right length: pins are full commit ids.
COMMIT = "5ca1ab1e" * 5
PROPOSED = "f0c1d00d" * 5


@dataclass(frozen=True)
class Environment:
    """An environment in the settings of a repository."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    branches: tuple[str, ...] = ()  # that may use it; all if empty
    approved: bool = True  # whether its reviewers have said yes


@dataclass
class Repository:
    """A repository: its files, and what its settings say."""

    name: str
    files: Mapping[str, str]  # its workflows
    directory: Path | None = None  # what a checkout brings
    environments: Mapping[str, Environment] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    # Its commits, each with the files in which it differs from the directory
    commits: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {COMMIT: {}, PROPOSED: {}})

    def workflows(self) -> list[str]:
        """Paths of the workflows."""
        return [path for path in self.files if path.startswith(f"{WORKFLOWS}/")]


@dataclass(frozen=True)
class Event:
    """Something that happened, as GitHub tells it to workflows."""

    name: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    ref: str = "refs/heads/main"
    commit: str = COMMIT
    inputs: Mapping[str, Any] = field(default_factory=dict)
    fork: bool = False
    base: str = ""
    head: str = ""
    changed: tuple[str, ...] = ()
    actor: str = "octocat"


def schedule(cron: str) -> Event:
    """The hour that a schedule names has come."""
    return Event("schedule", {"schedule": cron}, actor="github-actions[bot]")


def dispatch(ref: str = "refs/heads/main", **inputs: Any) -> Event:
    """Somebody pressed the button, or said `gh workflow run`."""
    return Event("workflow_dispatch", {"inputs": inputs}, ref=ref, inputs=inputs)


def push(ref: str = "refs/heads/main", changed: Iterable[str] = ("README.md",)) -> Event:
    """A push to a branch, or of a tag."""
    return Event("push", {"ref": ref, "head_commit": {"message": "a change"}}, ref=ref, changed=tuple(changed))


def pull_request(
    changed: Iterable[str] = ("README.md",), fork: bool = False, title: str = "A change", head: str = "topic"
) -> Event:
    """A pull request was opened against main, from a branch of the repository or of a fork."""
    payload = {
        "action": "opened",
        "number": 7,
        "pull_request": {
            "number": 7,
            "title": title,
            "head": {"ref": head, "repo": {"fork": fork}},
            "base": {"ref": "main", "sha": COMMIT},
        },
    }
    return Event(
        "pull_request",
        payload,
        ref="refs/pull/7/merge",
        commit=PROPOSED,
        fork=fork,
        base="main",
        head=head,
        changed=tuple(changed),
        actor="stranger" if fork else "octocat",
    )


def triggers(workflow: Workflow, event: Event) -> bool:
    """Whether the event starts the workflow: its name, and the filters that the workflow puts on it."""
    if event.name not in workflow.events:
        return False
    if event.name == "schedule":
        return event.payload["schedule"] in [entry["cron"] for entry in workflow.schedule]
    filters = workflow.events[event.name]
    if event.payload.get("action", "opened") not in filters.get("types", ["opened", "synchronize", "reopened"]):
        return False
    kind, _slash, name = (event.ref if event.name == "push" else f"refs/heads/{event.base}")[len("refs/") :].partition(
        "/"
    )
    given = {"heads": "branches", "tags": "tags"}[kind]
    other = {"heads": "tags", "tags": "branches"}[kind]
    if event.name == "push" and other in filters and given not in filters:
        return False
    if given in filters and not _matches(name, filters[given]):
        return False
    return "paths" not in filters or any(_matches(path, filters["paths"]) for path in event.changed)


def _matches(name: str, patterns: str | list[str]) -> bool:
    """The last pattern that fits decides; one with ! in front excludes."""
    matched = False
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if _pattern(pattern.removeprefix("!")).fullmatch(name):
            matched = not pattern.startswith("!")
    return matched


def _pattern(glob: str) -> re.Pattern[str]:
    """GitHub's patterns: ** passes a slash and * does not, + ? and [] are as in regular expressions."""
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "+": "+", "?": "?"}
    parts = re.split(r"(\*\*/?|\*|\+|\?|\[[^]]+\])", glob)
    return re.compile("".join(part if part[:1] == "[" else known.get(part) or re.escape(part) for part in parts))


def checked_inputs(workflow: Workflow, event: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of workflow_dispatch or workflow_call with their defaults, refused as GitHub refuses them."""
    defined = workflow.events[event].get("inputs") or {}
    if unknown := set(given) - set(defined):
        raise WorkflowError(f"{workflow.path} has no input {', '.join(sorted(unknown))}")
    return {name: _checked(name, described, given.get(name), event) for name, described in defined.items()}


def _checked(name: str, described: Mapping[str, Any], value: Any, event: str) -> Any:
    kind = described.get("type", "string")
    if value is None:
        if described.get("required") and "default" not in described:
            raise WorkflowError(f"the input {name} is required")
        empty = {"boolean": False, "number": 0}.get(kind, "")
        options = described.get("options") or [empty]
        return described.get("default", options[0] if kind == "choice" else empty)
    if kind == "boolean" and event == "workflow_dispatch" and value in ("true", "false"):
        return value == "true"
    fits = {"boolean": type(value) is bool, "number": type(value) in (int, float)}.get(kind, isinstance(value, str))
    if not fits:
        raise WorkflowError(f"the input {name} is a {kind}, and {value!r} is none")
    if kind == "choice" and value not in described["options"]:
        raise WorkflowError(f"the input {name} is one of {described['options']}, and not {value!r}")
    return value
