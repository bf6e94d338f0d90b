# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner that the proof stands on, with small workflows: it must refuse, skip, mask and end what GitHub does."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import runs
from tests.servers import ended
from tests.workflows import hub, language
from tests.workflows.commands import Command, Files, commands
from tests.workflows.hub import COMMIT, Environment, Event, Repository
from tests.workflows.language import WorkflowError
from tests.workflows.records import Run, Step
from tests.workflows.runner import Actions, combinations
from tests.workflows.shell import Cancel, Pretended, Shell

PATH = ".github/workflows/first.yml"
CALLED = ".github/workflows/called.yml"
Start = Callable[..., Run]


def workflow(jobs: str, on: str = "[push, workflow_dispatch, pull_request]") -> str:
    body = textwrap.indent(textwrap.dedent(jobs), "  ")
    return f"name: First\non: {on}\npermissions: {{contents: read, issues: write}}\njobs:\n{body}"


@pytest.fixture
def github(tmp_path: Path) -> Actions:
    """A repository without workflows, whose runs execute."""
    return Actions(language.load(), Repository("octo/app", {}), tmp_path, performer=Shell(tmp_path))


def start(github: Actions, text: str, event: Event | None = None, **files: str) -> Run:
    github.repository.files = {
        PATH: text,
        **{f".github/workflows/{name}.yml": content for name, content in files.items()},
    }
    run = github.run(PATH, event or hub.push())
    assert run is not None
    return run


def script(text: str, **settings: Any) -> str:
    """A job of one step."""
    lines = [f"      {name.replace('_', '-')}: {value}" for name, value in settings.items()]
    body = textwrap.indent(textwrap.dedent(text).strip(), " " * 10)
    return "\n".join(
        ["one:", "  runs-on: ubuntu-24.04", "  steps:", "    - name: It", *lines, "      run: |", body, ""]
    )


# --- What a script meets


def test_environment_of_a_script_is_that_of_a_runner(github: Actions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://of-this-machine")
    run = start(github, workflow(script("env; tty || true; cat")), hub.dispatch())
    shown = dict(line.split("=", 1) for line in run.job("one").output.splitlines() if "=" in line)
    assert shown["GITHUB_REPOSITORY"] == "octo/app"
    assert shown["GITHUB_EVENT_NAME"] == "workflow_dispatch"
    assert shown["GITHUB_REF_NAME"] == "main"
    assert shown["CI"] == shown["GITHUB_ACTIONS"] == "true"
    assert "not a tty" in run.job("one").output
    assert {"DATABASE_URL", "GITHUB_TOKEN", "VIRTUAL_ENV"}.isdisjoint(shown)
    others = {name for name in shown if not name.startswith(("GITHUB_", "RUNNER_"))}
    assert others <= {"CI", "HOME", "LANG", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}


def test_files_carry_outputs_environment_path_and_summary_to_where_github_shows_them(github: Actions) -> None:
    run = start(
        github,
        workflow(
            """
            one:
              runs-on: ubuntu-24.04
              outputs: {answer: "${{ steps.first.outputs.answer }}"}
              steps:
                - id: first
                  run: |
                    mkdir tools; printf '#!/bin/sh\\necho tool' > tools/tool; chmod +x tools/tool
                    echo "$PWD/tools" >> "$GITHUB_PATH"
                    echo 'answer=a=b' >> "$GITHUB_OUTPUT"
                    printf 'LATER<<END\\nline 1\\nline 2\\nEND\\n' >> "$GITHUB_ENV"
                    echo '# Summary' >> "$GITHUB_STEP_SUMMARY"
                - name: Second
                  env: {OWN: "${{ env.LATER }}!"}
                  run: tool; echo "$OWN"
                - if: env.OWN
                  run: exit 1
            two:
              needs: one
              runs-on: ubuntu-24.04
              env: {ANSWER: "${{ needs.one.outputs.answer }}"}
              steps: [{run: echo "$ANSWER $LATER"}]
            """
        ),
    )
    assert run.job("one").step("Second").output == "tool\nline 1\nline 2!\n"
    assert run.job("one").summary == "# Summary\n"
    assert run.job("two").output == "a=b \n"
    assert run.conclusion == "success"


@pytest.mark.parametrize(("shell", "code"), [("", 0), ("bash", 1)], ids=["unsaid: bash -e", "bash: with pipefail"])
def test_shell_is_as_strict_as_the_one_that_is_named(github: Actions, shell: str, code: int) -> None:
    settings = {"shell": shell} if shell else {}
    assert start(github, workflow(script("false | true", **settings))).job("one").step("It").exit_code == code


def test_failed_step_ends_the_job_but_for_what_wants_to_run(github: Actions) -> None:
    text = workflow(
        """
        one:
          runs-on: ubuntu-24.04
          steps:
            - {name: tolerated, run: exit 3, continue-on-error: true}
            - {name: failing, run: exit 4}
            - {name: usual, run: "true"}
            - {name: condition, if: "github.event_name == 'push'", run: "true"}
            - {name: on failure, if: failure(), run: "true"}
            - {name: not cancelled, if: "${{ !cancelled() }}", run: "true"}
            - {name: on cancellation, if: cancelled(), run: "true"}
        """
    )
    job = start(github, text).job("one")
    assert job.ran == ["tolerated", "failing", "on failure", "not cancelled"]
    assert job.result == "failure"
    assert job.step("failing").told("error") == ["Process completed with exit code 4."]
    assert (job.step("tolerated").outcome, job.step("tolerated").conclusion) == ("failure", "success")


@pytest.mark.parametrize(
    "text",
    [
        'echo "$SECRET"',
        'echo "pass: p%40ss word" >&2',
        'echo "x=$SECRET" >> "$GITHUB_OUTPUT"',
        'echo "p@ss word" >> "$GITHUB_STEP_SUMMARY"',
        'echo "::error::$SECRET"',
    ],
)
def test_secret_that_is_shown_is_a_failure(github: Actions, text: str) -> None:
    github.repository.secrets = {"SECRET": "postgresql://role:p%40ss word@host/db"}
    with pytest.raises(AssertionError, match="shows a secret"):
        start(github, workflow(script(text, env='{SECRET: "${{ secrets.SECRET }}"}')))


# --- What the runner reads


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("::error title=a%2Cb,file=x::text%0Amore", Command("error", "text\nmore", {"title": "a,b", "file": "x"})),
        ("  ::warning::%25 %3A", Command("warning", "% %3A", {})),
        ("before ##[error]text", Command("error", "text", {})),
        ("name\r::notice::hidden behind a carriage return", Command("notice", "hidden behind a carriage return", {})),
        ("before ::error::text", None),
        ("::unknown::text", None),
        ("::error", None),
        ("\u2028::error::text", Command("error", "text", {})),
    ],
)
def test_commands_are_read_as_the_runner_reads_them(line: str, expected: Command | None) -> None:
    assert next(commands(line), None) == expected


def test_stopped_commands_are_text() -> None:
    output = "::stop-commands::word\n::error::inside\n::word::\n::error::after\n"
    assert [command.data for command in commands(output)] == ["after"]


@pytest.mark.parametrize("line", ["no sign", "=value", "<<END\nx\nEND", "name<<END\nnever ended"])
def test_file_that_the_runner_does_not_understand_fails_the_step(tmp_path: Path, line: str) -> None:
    files = Files(tmp_path / "files")
    files.paths["GITHUB_OUTPUT"].write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=r"Invalid|delimiter"):
        files.pairs("GITHUB_OUTPUT")


def test_limits_of_the_platform(tmp_path: Path) -> None:
    step = Step("it", "It")
    for number in range(12):
        step.annotate("error", str(number))
        step.annotate("warning", str(number))
    assert len(step.told("error")) == len(step.told("warning")) == 10
    files = Files(tmp_path / "files")
    files.paths["GITHUB_STEP_SUMMARY"].write_bytes(b"x" * (1024 * 1024))
    assert len(files.summary(step)) == 1024 * 1024
    files.paths["GITHUB_STEP_SUMMARY"].write_bytes(b"x" * (1024 * 1024 + 1))
    assert files.summary(Step("it", "It")) == ""


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
          {A: "${{ secrets.A }}", B: "${{ secrets.B }}", C: "${{ secrets.C }}", OTHER: "${{ secrets.OTHER }}", CHECK: "${{ inputs.check }}"}
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
    other = Repository(
        "octo/other", {CALLED: CALLED_TEXT.replace("$CHECK", "$WHO").replace("inputs.check }", "job.workflow_sha }")}
    )
    other.files = {CALLED: other.files[CALLED].replace("CHECK:", "WHO:")}
    other.commits = {"1234abcd" * 5: {}}
    github.others = [other]
    github.repository.secrets = {"A": "secret of the repository"}
    github.repository.environments = {"production": Environment({"B": "secret one"})}
    text = workflow(
        CALLER.replace("$/.github", "octo/other/.github").replace("called.yml", f"called.yml@{'1234abcd' * 5}")
    )
    run = start(github, text)
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


# --- Actions


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ("uses: actions/checkout@x, with: {persist-credentials: false}", "success"),
        ("uses: actions/checkout@x, with: {persist-credentials: false, ref: main-of-somebody}", "failure"),
        ("uses: actions/checkout@x", "persist-credentials"),
        ("uses: actions/checkout@x, with: {persist-credentials: false, reff: main}", "no input"),
        ("uses: actions/setup-python@x, with: {python-version: '3.13'}", "success"),
        ("uses: actions/setup-python@x, with: {python-version: '3.1'}", "failure"),
        ("uses: actions/setup-python@x, with: {python-version-file: missing}", "failure"),
        (
            "uses: actions/setup-python@x, with: {python-version: '3.13', cache: pip, cache-dependency-path: gone}",
            "failure",
        ),
        ("uses: actions/upload-artifact@x, with: {path: missing}", "success"),
        ("uses: actions/upload-artifact@x, with: {path: missing, if-no-files-found: error}", "failure"),
        ("uses: actions/upload-artifact@x", "requires"),
        ("uses: actions/attest@x, with: {subject-path: '*'}", "failure"),
        ("uses: actions/cache@x", "KeyError"),
    ],
)
def test_actions_check_what_they_are_given(github: Actions, step: str, outcome: str) -> None:
    text = workflow(f"one: {{runs-on: ubuntu-24.04, steps: [{{name: It, {step}}}]}}")
    try:
        found = start(github, text).job("one").step("It").outcome
    except (AssertionError, KeyError) as error:
        found = f"{type(error).__name__}: {error}"
    assert outcome in found


def test_artifacts_go_from_job_to_job(github: Actions) -> None:
    text = workflow(
        """
        one:
          runs-on: ubuntu-24.04
          steps:
            - run: mkdir out; echo text > out/file
            - {uses: actions/upload-artifact@x, with: {name: mine, path: out}}
        two:
          needs: one
          runs-on: ubuntu-24.04
          steps:
            - {uses: actions/download-artifact@x, with: {name: mine, path: in}}
            - {name: Read, run: cat in/out/file || cat in/file}
        """
    )
    assert start(github, text).job("two").step("Read").output == "text\n"


# --- The end


def test_cancelled_step_is_ended_and_its_orphans_too(github: Actions, tmp_path: Path) -> None:
    """Signals go to the shell alone: what it has started lives on until the job has ended, and is killed then."""
    started = tmp_path / "started"
    text = workflow(
        script(f"sh -c 'echo $$ > {started}; exec sleep 60'; echo not reached")
        + "    - {name: Afterwards, if: always(), run: echo afterwards}\n    - {name: Else, run: echo else}\n"
    )
    github.performer = Shell(
        tmp_path, Cancel("It", lambda: started.exists() and bool(started.read_text()), (0.2, 0.2, 0.2))
    )
    run = start(github, text)
    job = run.job("one")
    assert job.step("It").outcome == "cancelled"
    assert "not reached" not in job.output
    assert job.ran == ["It", "Afterwards"]
    assert run.conclusion == "cancelled"
    runs.until(lambda: ended(int(started.read_text())))


def test_step_that_hangs_is_ended(github: Actions, tmp_path: Path) -> None:
    github.performer = Shell(tmp_path, seconds=0.3)
    with pytest.raises(Exception, match="timed out"):
        start(github, workflow(script(f"echo $$ > {tmp_path}/pid; sleep 60")))
    runs.until(lambda: ended(int((tmp_path / "pid").read_text())))


def test_parser_and_commit_are_what_they_are_taken_for() -> None:
    assert len(COMMIT) == 40
    assert os.path.basename(PATH) == "first.yml"
    with pytest.raises(WorkflowError, match="Unexpected value 'steeps'"):
        language.load().parse(PATH, {PATH: workflow("one: {runs-on: ubuntu-24.04, steeps: []}")})
    with pytest.raises(WorkflowError, match="Unrecognized named-value: 'secrets'"):
        language.load().parse(PATH, {PATH: workflow(script("true", **{"if": "secrets.A"}))})
