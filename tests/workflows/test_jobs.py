# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner that the proof stands on, whole workflows: what starts, in which order, with which secrets and rights."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflows import hub
from tests.workflows.hub import Environment, Event, Repository
from tests.workflows.language import WorkflowError
from tests.workflows.runner import Actions, combinations
from tests.workflows.shell import Pretended
from tests.workflows.small import PATH, script, start, workflow

CALLED = ".github/workflows/called.yml"

# --- What starts, and with which rights and secrets


@pytest.mark.parametrize(
    ("on", "event", "starts"),
    [
        ("{push: {branches: [main]}}", hub.push(), True),
        ("{push: {branches: [main]}}", hub.push("refs/heads/topic/x"), False),
        ("{push: {branches: ['topic/**']}}", hub.push("refs/heads/topic/x/y"), True),
        ("{push: {branches: ['topic/*']}}", hub.push("refs/heads/topic/x/y"), False),
        ("{push: {branches: [main]}}", hub.push("refs/tags/v1.2.3"), False),
        ("{push: {tags: ['v[0-9]+.[0-9]+.[0-9]+']}}", hub.push("refs/tags/v1.2.10"), True),
        ("{push: {tags: ['v[0-9]+.[0-9]+.[0-9]+']}}", hub.push("refs/tags/v1x2.3"), False),
        ("{push: {paths: ['sql/**']}}", hub.push(changed=["sql/a/b.sql"]), True),
        ("{push: {paths: ['sql/**', '!sql/a/**']}}", hub.push(changed=["sql/a/b.sql"]), False),
        ("{pull_request: {branches: [main]}}", hub.pull_request(), True),
        ("{pull_request: {branches: [other]}}", hub.pull_request(), False),
        ("{schedule: [{cron: '0 * * * *'}]}", hub.schedule("0 * * * *"), True),
        ("{schedule: [{cron: '0 * * * *'}]}", hub.schedule("0 2 * * 0"), False),
        ("[workflow_dispatch]", hub.dispatch(), True),
        ("[workflow_dispatch]", hub.push(), False),
    ],
)
def test_filters_of_events(github: Actions, on: str, event: Event, starts: bool) -> None:
    github.repository.files = {PATH: workflow(script("true"), on)}
    github.performer = Pretended()
    assert (github.run(PATH, event) is not None) == starts


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, "hourly false boolean"),
        ({"kind": "weekly", "check": "true"}, "weekly true boolean"),
        ({"kind": "weekly", "check": True}, "weekly true boolean"),
        ({"kind": "monthly"}, "one of"),
        ({"check": "yes"}, "is a boolean"),
        ({"chekc": True}, "no input chekc"),
    ],
)
def test_inputs_are_checked_and_have_their_type(github: Actions, inputs: dict[str, Any], expected: str) -> None:
    kind = "{type: choice, options: [hourly, weekly]}"
    on = f"{{workflow_dispatch: {{inputs: {{kind: {kind}, check: {{type: boolean, default: false}}}}}}}}"
    env = """{SHOWN: "${{ inputs.kind }} ${{ inputs.check }} ${{ (inputs.check == true || !inputs.check) && 'boolean' }}"}"""
    text = workflow(script('echo "$SHOWN"', env=env), on)
    try:
        shown = start(github, text, hub.dispatch(**inputs)).job("one").output
    except WorkflowError as error:
        shown = str(error)
    assert expected in shown


GATED = """
one:
  runs-on: ubuntu-24.04
  permissions: {contents: read, issues: write}
  environment: {name: production, deployment: false}
  steps:
    - name: It
      env: {A: "${{ secrets.A }}", B: "${{ secrets.B }}", V: "${{ vars.V }}", TOKEN: "${{ secrets.GITHUB_TOKEN }}"}
      run: echo "${A:+has A} ${B:+has B} $V"
"""


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (hub.push(), "has A has B env\n"),
        (hub.pull_request(), "has A has B env\n"),
        (hub.pull_request(fork=True), "  \n"),
    ],
)
def test_secrets_of_repository_and_environment_and_none_for_a_fork(github: Actions, event: Event, shown: str) -> None:
    github.repository.secrets = {"A": "secret of the repository"}
    github.repository.variables = {"V": "repository"}
    github.repository.environments = {"production": Environment({"B": "secret of it"}, {"V": "env"})}
    job = start(github, workflow(GATED), event).job("one")
    assert job.output == shown
    assert (job.environment, job.deployment) == ("production", False)
    assert job.permissions == {"contents": "read", "issues": "read" if event.fork else "write"}
    assert job.step("It").environment["TOKEN"] == job.token


@pytest.mark.parametrize(
    ("environment", "result"),
    [
        (Environment(approved=False), "waiting"),
        (Environment(branches=("release",)), "failure"),
        (Environment(), "success"),
    ],
)
def test_environment_keeps_a_job_waiting_or_out(github: Actions, environment: Environment, result: str) -> None:
    github.repository.environments = {"production": environment}
    text = workflow(GATED + "two:\n  needs: one\n  runs-on: ubuntu-24.04\n  steps: [{run: echo}]\n")
    run = start(github, text)
    assert run.job("one").result == result == run.conclusion
    assert run.job("two").result == ("success" if result == "success" else "skipped")


CALLER = """
caller:
  permissions: {contents: read, issues: write}
  uses: $/.github/workflows/called.yml
  with: {target: production, check: "${{ github.event_name == 'push' }}"}
  secrets: {A: "${{ secrets.A }}", B: "${{ secrets.B }}", OTHER: "${{ secrets.C }}"}
"""
CALLED_TEXT = """
on:
  workflow_call:
    inputs: {target: {type: string, required: true}, check: {type: boolean, default: false}}
    secrets: {A: {required: false}, B: {required: false}, OTHER: {required: false}}
    outputs: {word: {value: "${{ jobs.inner.outputs.word }}"}}
permissions: {}
jobs:
  inner:
    runs-on: ubuntu-24.04
    permissions: {contents: read}
    environment: "${{ inputs.target }}"
    outputs: {word: "${{ steps.it.outputs.word }}"}
    steps:
      - id: it
        name: It
        env:
          A: ${{ secrets.A }}
          B: ${{ secrets.B }}
          C: ${{ secrets.C }}
          OTHER: ${{ secrets.OTHER }}
          CHECK: ${{ inputs.check }}
        run: |
          echo "${A:+A} ${B:+B} ${C:+C} ${OTHER:+OTHER} $CHECK"
          echo word=yes >> "$GITHUB_OUTPUT"
"""


def test_called_workflow_sees_the_secrets_that_are_passed_under_their_own_name(github: Actions) -> None:
    github.repository.secrets = {"A": "secret of the repository"}
    github.repository.environments = {"production": Environment({"B": "secret one", "C": "secret two"})}
    after = (
        'after:\n  needs: caller\n  runs-on: ubuntu-24.04\n  steps: [{run: "echo ${{ needs.caller.outputs.word }}"}]\n'
    )
    run = start(github, workflow(CALLER + after), called=CALLED_TEXT)
    assert run.job("caller / inner").output == "A B   true\n"
    assert run.job("caller / inner").environment == "production"
    assert run.job("after").output == "yes\n"


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("{contents: read, issues: write}", "{issues: write}", "contents: read"),
        ("target: production, ", "", "target"),
        ("target: production", "targed: production", "targed"),
        ("\"${{ github.event_name == 'push' }}\"", "'yes'", "check"),
        ("secrets: {A:", "secrets: {Z:", "Z"),
        ("called.yml", "missing.yml", "missing|find"),
    ],
)
def test_call_that_github_refuses(github: Actions, old: str, new: str, refused: str) -> None:
    assert old in CALLER
    with pytest.raises(WorkflowError, match=refused):
        start(github, workflow(CALLER.replace(old, new)), called=CALLED_TEXT)


def test_workflow_of_another_repository_runs_with_its_own_commit_and_the_callers_secrets(github: Actions) -> None:
    commit = "1234abcd" * 5
    other = Repository("octo/other", {CALLED: CALLED_TEXT.replace("inputs.check", "job.workflow_sha")})
    other.commits = {commit: {}}
    github.others = [other]
    github.repository.secrets = {"A": "secret of the repository"}
    github.repository.environments = {"production": Environment({"B": "secret one"})}
    text = CALLER.replace("$/.github", "octo/other/.github").replace("called.yml", f"called.yml@{commit}")
    run = start(github, workflow(text))
    assert run.job("caller / inner").output == f"A B   {commit}\n"


# --- Which jobs run


@pytest.mark.parametrize(
    ("failing", "ran"),
    [
        ((), ["a", "b", "not cancelled", "always"]),
        (("a",), ["a", "not cancelled", "always", "on failure"]),
        (("b",), ["a", "b", "not cancelled", "always", "on failure"]),
    ],
)
def test_needs_and_conditions_of_jobs(github: Actions, failing: tuple[str, ...], ran: list[str]) -> None:
    job = "runs-on: ubuntu-24.04, steps: [{name: %s, run: echo}]"
    text = workflow(
        f"""
        a: {{{job % "a"}}}
        b: {{needs: a, {job % "b"}}}
        c: {{needs: b, if: "!cancelled()", name: not cancelled, {job % "c"}}}
        d: {{needs: [b], if: always(), {job % "d"}}}
        e: {{needs: [c], if: failure(), {job % "e"}}}
        f: {{needs: [d], if: "needs.d.result == 'skipped'", {job % "f"}}}
        """
    )
    github.performer = Pretended(*failing)
    names = {"c": "not cancelled", "d": "always", "e": "on failure"}
    assert [names.get(name, name) for name in start(github, text).ran] == ran


def test_matrix_from_an_output_and_what_fails_in_it(github: Actions) -> None:
    text = workflow(
        """
        first:
          runs-on: ubuntu-24.04
          outputs: {list: "${{ steps.it.outputs.list }}"}
          steps: [{id: it, run: 'echo ''list=[{"n": 1, "e": 0}, {"n": 2, "e": 1}, {"n": 3, "e": 0}]'' >> "$GITHUB_OUTPUT"'}]
        each:
          needs: first
          runs-on: ubuntu-24.04
          strategy: {fail-fast: FAST, matrix: {include: "${{ fromJSON(needs.first.outputs.list) }}"}}
          env: {E: "${{ matrix.e }}"}
          steps: [{run: exit "$E"}]
        """
    )
    run = start(github, text.replace("FAST", "false"))
    assert [job.result for job in run.jobs] == ["success", "success", "failure", "success"]
    assert [job.id for job in run.jobs][1:] == ["each (1, 0)", "each (2, 1)", "each (3, 0)"]
    run = start(github, text.replace("FAST", "true"))
    assert [job.result for job in run.jobs] == ["success", "success", "failure", "cancelled"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ({"a": [1, 2], "b": [3]}, [{"a": 1, "b": 3}, {"a": 2, "b": 3}]),
        ({"a": [1, 2], "exclude": [{"a": 1}]}, [{"a": 2}]),
        ({"a": [1, 2], "include": [{"a": 2, "c": 9}]}, [{"a": 1}, {"a": 2, "c": 9}]),
        ({"a": [1], "include": [{"c": 9}]}, [{"a": 1, "c": 9}]),
        ({"a": [1], "include": [{"a": 3}]}, [{"a": 1}, {"a": 3}]),
        ({"include": [{"a": 3}, {"a": 4}]}, [{"a": 3}, {"a": 4}]),
        ({}, [{}]),
    ],
)
def test_combinations_of_a_matrix(matrix: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert list(combinations(matrix)) == expected
