# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs workflows: which jobs an event starts, in which order, with which secrets and rights; called workflows, too."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.workflows import hub
from tests.workflows.actions import Surroundings
from tests.workflows.hub import Environment, Event, Repository
from tests.workflows.jobs import Contexts, JobRunner, runner_context
from tests.workflows.language import Language, Workflow, WorkflowError, text
from tests.workflows.records import Job, Run, status_of
from tests.workflows.shell import Performer, Place, Pretended, Shell

LEVELS = ["none", "read", "write"]


@dataclass(frozen=True)
class Scope:
    """A workflow that runs: by itself, or called from a job of another."""

    workflow: Workflow
    repository: Repository
    inputs: Mapping[str, Any]
    secrets: Mapping[str, str]  # without those of environments
    rights: Mapping[str, str] | None  # what a caller leaves; None for the first
    references: frozenset[str] | None = None  # names that a caller passes on as they are; None for all
    prefix: str = ""
    called_as: str = ""


@dataclass
class Actions:
    """GitHub, as far as it runs workflows of the repository in which something happens."""

    language: Language
    repository: Repository
    directory: Path  # for the files of runners
    others: list[Repository] = field(default_factory=list)
    performer: Performer = field(default_factory=Pretended)
    api_url: str = "http://127.0.0.1:9"
    grant: Callable[[dict[str, str]], str] = lambda _rights: f"ghs_{uuid.uuid4().hex}"  # a token that may do this

    def files(self) -> dict[str, str]:
        """All files of workflows, those of other repositories with their name in front."""
        found = dict(self.repository.files)
        for other in [self.repository, *self.others]:
            found |= {f"{other.name}/{path}": content for path, content in other.files.items()}
        return found

    def run(self, path: str, event: Event) -> Run | None:
        """What the event makes of a workflow; None if it does not start it."""
        workflow = self.language.parse(path, self.files())
        if not hub.triggers(workflow, event):
            return None
        inputs = hub.checked_inputs(workflow, event.name, event.inputs) if event.name == "workflow_dispatch" else {}
        secrets = {} if event.fork else self.repository.secrets
        scope = Scope(workflow, self.repository, inputs, secrets, None)
        run = Run(path)
        running = _Running(self, event, run, uuid.uuid4().int % 10**10)
        run.concurrency = running.concurrency(workflow.tree.get("concurrency"), running.contexts(scope))
        run.title = text(running.contexts(scope).resolved(workflow.tree.get("run-name", "")))
        running.workflow(scope)
        return run


class _Running:
    """A run, while it is going on."""

    def __init__(self, actions: Actions, event: Event, run: Run, number: int) -> None:
        self.actions = actions
        self.event = event
        self.run = run
        self.number = number
        self.cancelled = False

    def workflow(self, scope: Scope) -> dict[str, dict[str, Any]]:
        """Run the jobs of a workflow, each when those that it needs are through; returns results and outputs."""
        done: dict[str, dict[str, Any]] = {}
        waiting = dict(scope.workflow.jobs)
        while waiting:
            ready = [job_id for job_id, job in waiting.items() if set(_needs(job)) <= set(done)]
            job_id = ready[0]
            done[job_id] = self._job(scope, job_id, waiting.pop(job_id), done)
        return done

    def contexts(self, scope: Scope, **more: Any) -> Contexts:
        """What expressions of that workflow see outside of steps."""
        known = {"github": self.github(scope), "inputs": dict(scope.inputs), "vars": self._variables(None), **more}
        return Contexts(known, self.actions.language)

    def concurrency(self, settings: Any, contexts: Contexts) -> dict[str, Any]:
        """Group and whether a running one is cancelled."""
        found = contexts.resolved(settings)
        return {"group": found} if isinstance(found, str) else dict(found or {})

    def _job(self, scope: Scope, job_id: str, settings: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
        needs = {name: done[name] for name in _needs(settings)}
        before = {name: done[name]["result"] for name in _ancestors(scope.workflow, job_id)}
        contexts = self.contexts(scope, needs=needs)
        status = status_of(before, self.cancelled)
        condition = scope.workflow.job_conditions[job_id]
        if not self.actions.language.true(condition, contexts.known, status):
            self.run.jobs.append(Job(scope.prefix + job_id))
            return {"result": "skipped", "outputs": {}}
        results: list[str] = []
        outputs: dict[str, str] = {}
        failed_fast = False
        for matrix, strategy in self._matrix(contexts, settings):
            each = self.contexts(scope, needs=needs, matrix=matrix, strategy=strategy)
            if failed_fast:
                self.run.jobs.append(Job(_named(scope.prefix + job_id, matrix), result="cancelled"))
                results.append("cancelled")
                continue
            called = "uses" in settings
            result, new = (self._call if called else self._run)(scope, job_id, settings, each)
            results.append(result)
            outputs |= {name: value for name, value in new.items() if value}
            failed_fast = result == "failure" and bool(strategy["fail-fast"])
        worst = [one for one in ("waiting", "failure", "cancelled", "success") if one in results]
        return {"result": worst[0] if worst else "skipped", "outputs": outputs}

    def _run(
        self, scope: Scope, job_id: str, settings: dict[str, Any], contexts: Contexts
    ) -> tuple[str, dict[str, str]]:
        job = Job(_named(scope.prefix + job_id, contexts.known["matrix"]))
        self.run.jobs.append(job)
        job.name = text(contexts.resolved(settings.get("name", job_id)))
        job.runs_on = contexts.resolved(settings["runs-on"])
        job.minutes = float(contexts.resolved(settings.get("timeout-minutes", 360)))
        job.concurrency = self.concurrency(settings.get("concurrency"), contexts)
        job.permissions = self._rights(scope, settings)
        environment = self._environment(job, settings, contexts)
        if environment is None:
            return job.result, {}
        job.token = self.actions.grant(job.permissions)
        secrets = self._secrets(scope, environment, job.token)
        more = {
            "github": {**self.github(scope), "token": job.token},
            "secrets": secrets,
            "vars": self._variables(environment),
            "job": self._job_context(scope),
            "runner": runner_context(self.actions.directory),
        }
        at = self._surroundings(scope, job, tuple(filter(None, secrets.values())))
        inside = Contexts({**contexts.known, **more}, contexts.language)
        JobRunner(inside, scope.workflow, job_id, self.actions.performer).run(at)
        if isinstance(self.actions.performer, Shell):
            job.orphans = self.actions.performer.end_orphans()
        self.cancelled = self.cancelled or at.place.cancelled
        return job.result, job.outputs

    def _surroundings(self, scope: Scope, job: Job, secrets: tuple[str, ...]) -> Surroundings:
        """A new machine."""
        return Surroundings(
            {one.name: one for one in [self.actions.repository, *self.actions.others]},
            self.actions.repository.name,
            self.event,
            self.run,
            job,
            Place(self._folder("workspace"), self._folder("home"), self._variables_of_runner(scope), secrets),
            self.actions.directory,
        )

    def _call(
        self, scope: Scope, job_id: str, settings: dict[str, Any], contexts: Contexts
    ) -> tuple[str, dict[str, str]]:
        repository, path = self._called(scope, settings["uses"])
        workflow = self.actions.language.parse(path, dict(repository.files))
        given = contexts.resolved(settings.get("with") or {})
        inputs = hub.checked_inputs(workflow, "workflow_call", given)
        passed = settings.get("secrets") or {}
        visible = {**scope.secrets, "GITHUB_TOKEN": ""}
        references = None
        if passed == "inherit":
            secrets = dict(scope.secrets)
            references = scope.references
        else:
            secrets = contexts.resolved(passed, secrets=visible)
            same = {
                name for name, value in passed.items() if isinstance(value, dict) and value["$"] == f"secrets.{name}"
            }
            references = frozenset(same if scope.references is None else same & scope.references)
        inner = Scope(
            workflow,
            repository,
            inputs,
            {name: text(value) for name, value in secrets.items()},
            self._rights(scope, settings),
            references,
            f"{scope.prefix}{_named(job_id, contexts.known['matrix'])} / ",
            settings["uses"],
        )
        done = self.workflow(inner)
        results = {one["result"] for one in done.values()}
        worst = [one for one in ("waiting", "failure", "cancelled", "success") if one in results]
        defined = workflow.events["workflow_call"].get("outputs") or {}
        outputs = self.contexts(inner, jobs=done).texts({name: one["value"] for name, one in defined.items()})
        return (worst[0] if worst else "skipped"), outputs

    def _called(self, scope: Scope, uses: str) -> tuple[Repository, str]:
        if uses.startswith(("./", "$/")):
            return scope.repository, uses[2:]
        where, _at, commit = uses.partition("@")
        owner, name, path = where.split("/", 2)
        for other in [self.actions.repository, *self.actions.others]:
            if other.name == f"{owner}/{name}" and commit in other.commits:
                return other, path
        raise WorkflowError(f"there is no {uses}")

    def _matrix(self, contexts: Contexts, settings: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        strategy = contexts.resolved(settings.get("strategy") or {})
        found = list(combinations(strategy.get("matrix") or {}))
        for index, one in enumerate(found):
            fast = strategy.get("fail-fast", True)
            yield one, {"fail-fast": fast, "job-index": index, "job-total": len(found)}

    def _rights(self, scope: Scope, settings: dict[str, Any]) -> dict[str, str]:
        """What the token of a job may do. A called workflow can only have less than its caller gives."""
        asked = settings.get("permissions", scope.workflow.tree.get("permissions"))
        if asked is None:
            asked = scope.rights if scope.rights is not None else {"contents": "read", "packages": "read"}
        assert isinstance(asked, Mapping), f"{scope.workflow.path}: permissions are named one by one"
        if scope.rights is not None:
            for name, level in asked.items():
                if LEVELS.index(level) > LEVELS.index(scope.rights.get(name, "none")):
                    raise WorkflowError(
                        f"{scope.called_as} asks for {name}: {level}, and its caller does not give that"
                    )
        # Of a fork's pull request, the token reads and does no more
        return {name: "read" if self.event.fork and level == "write" else level for name, level in asked.items()}

    def _environment(self, job: Job, settings: dict[str, Any], contexts: Contexts) -> Environment | None:
        """The environment of a job, None if it may not start in it."""
        asked = contexts.resolved(settings.get("environment"))
        if not asked:
            return Environment()
        asked = {"name": asked} if isinstance(asked, str) else asked
        job.environment = asked["name"]
        job.deployment = asked.get("deployment", True)
        found = self.actions.repository.environments.get(job.environment, Environment())
        branch = self.event.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        if found.branches and branch not in found.branches:
            job.result = "failure"
            return None
        if not found.approved:
            job.result = "waiting"
            return None
        return Environment() if self.event.fork else found

    def _secrets(self, scope: Scope, environment: Environment, token: str) -> dict[str, str]:
        """What the job sees. In a called workflow an environment only replaces what was passed under the same name."""
        replaced = {
            name: value
            for name, value in environment.secrets.items()
            if scope.references is None or name in scope.references
        }
        return {**scope.secrets, **replaced, "GITHUB_TOKEN": token}

    def _variables(self, environment: Environment | None) -> dict[str, str]:
        if self.event.fork:
            return {}
        return {**self.actions.repository.variables, **(environment.variables if environment else {})}

    def _folder(self, name: str) -> Path:
        directory = self.actions.directory / f"{name}-{uuid.uuid4().hex[:8]}"
        directory.mkdir(parents=True)
        return directory

    def github(self, scope: Scope) -> dict[str, Any]:
        """The context github: of the first workflow, whichever calls which."""
        name = self.actions.repository.name
        kind, _slash, short = self.event.ref.removeprefix("refs/").partition("/")
        return {
            "event_name": self.event.name,
            "event": {**self.event.payload, "repository": {"full_name": name, "default_branch": "main", "fork": False}},
            "repository": name,
            "repository_owner": name.partition("/")[0],
            "ref": self.event.ref,
            "ref_name": short,
            "ref_type": "tag" if kind == "tags" else "branch",
            "sha": self.event.commit,
            "head_ref": self.event.head,
            "base_ref": self.event.base,
            "actor": self.event.actor,
            "triggering_actor": self.event.actor,
            "run_id": str(self.number),
            "run_number": "12",
            "run_attempt": "1",
            "workflow": scope.workflow.tree.get("name", scope.workflow.path),
            "workflow_ref": f"{name}/{self.run.workflow}@{self.event.ref}",
            "workflow_sha": self.event.commit,
            "server_url": "https://github.com",
            "api_url": self.actions.api_url,
            "graphql_url": f"{self.actions.api_url}/graphql",
        }

    def _job_context(self, scope: Scope) -> dict[str, str]:
        commit = scope.called_as.partition("@")[2] or next(iter(scope.repository.commits))
        commit = self.event.commit if scope.repository is self.actions.repository else commit
        return {
            "workflow_repository": scope.repository.name,
            "workflow_sha": commit,
            "workflow_ref": f"{scope.repository.name}/{scope.workflow.path}@{commit}",
            "workflow_file_path": scope.workflow.path,
        }

    def _variables_of_runner(self, scope: Scope) -> dict[str, str]:
        """GITHUB_* and RUNNER_* as every step has them."""
        known = {
            f"GITHUB_{name.upper()}": value for name, value in self.github(scope).items() if isinstance(value, str)
        }
        runner = {f"RUNNER_{name.upper()}": value for name, value in runner_context(self.actions.directory).items()}
        path = self.actions.directory / f"event-{self.number}.json"
        path.write_text(json.dumps(self.github(scope)["event"]), encoding="utf-8")
        return {**known, **runner, "GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(path)}


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else needs


def _ancestors(workflow: Workflow, job_id: str) -> set[str]:
    """All jobs that a job depends on, directly or through others: what success() looks at."""
    found: set[str] = set()
    todo = [job_id]
    while todo:
        new = set(_needs(workflow.jobs[todo.pop()])) - found
        found |= new
        todo += new
    return found


def _named(job_id: str, matrix: Mapping[str, Any]) -> str:
    return f"{job_id} ({', '.join(text(value) for value in matrix.values())})" if matrix else job_id


def combinations(matrix: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The jobs of a matrix: the product of its axes without what is excluded, with what is included."""
    axes = {name: values for name, values in matrix.items() if name not in ("include", "exclude")}
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    kept = [one for one in product if not any(out.items() <= one.items() for out in matrix.get("exclude", []))]
    original = [dict(one) for one in kept]
    added = []
    for more in matrix.get("include", []):
        fitting = [
            one
            for one, before in zip(kept, original, strict=True)
            if all(before.get(k, v) == v for k, v in more.items())
        ]
        for one in fitting:
            one.update(more)
        if not fitting:
            added.append(dict(more))
    yield from [*kept, *added] or [{}]
