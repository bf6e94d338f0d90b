# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner that the proof stands on, one job: it must read, mask, refuse and end what GitHub's does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import runs
from tests.servers import ended
from tests.workflows import hub, language
from tests.workflows.commands import Command, Files, commands
from tests.workflows.language import WorkflowError
from tests.workflows.records import Step
from tests.workflows.runner import Actions
from tests.workflows.shell import Cancel, Shell
from tests.workflows.small import PATH, script, start, workflow

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
        ("::ERROR::text", Command("error", "text", {})),
        ("before ##[Error]text", Command("error", "text", {})),
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
            - {name: Read, run: cat in/file}
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

    def asleep() -> bool:
        """Whether the shell in the shell has become what it was to execute."""
        return (
            started.exists()
            and bool(text := started.read_text())
            and Path(f"/proc/{int(text)}/cmdline").read_bytes().startswith(b"sleep")
        )

    github.performer = Shell(tmp_path, Cancel("It", asleep, (0.2, 60, 0.2)))
    run = start(github, text)
    job = run.job("one")
    assert job.step("It").outcome == "cancelled"
    assert "not reached" not in job.output
    assert job.ran == ["It", "Afterwards"]
    assert run.conclusion == "cancelled"
    assert job.orphans == ["sleep 60 "]
    runs.until(lambda: ended(int(started.read_text())))


def test_step_that_hangs_is_ended(github: Actions, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    for seconds in (0.3, 3, 30):  # in which it has to begin
        github.performer = Shell(tmp_path, seconds=seconds)
        with pytest.raises(Exception, match="timed out"):
            start(github, workflow(script(f"echo $$ > {pid}; sleep 60")))
        if pid.exists() and pid.read_text():
            break
    runs.until(lambda: ended(int(pid.read_text())))


def test_parser_refuses_what_github_refuses() -> None:
    with pytest.raises(WorkflowError, match="Unexpected value 'steeps'"):
        language.load().parse(PATH, {PATH: workflow("one: {runs-on: ubuntu-24.04, steeps: []}")})
    with pytest.raises(WorkflowError, match="Unrecognized named-value: 'secrets'"):
        language.load().parse(PATH, {PATH: workflow(script("true", **{"if": "secrets.A"}))})
