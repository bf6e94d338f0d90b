# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflows of the project itself: what CI starts on each trigger, and what a tag releases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import matrix
from tests.checkout import ROOT, Checkout
from tests.servers import scrub_environment
from tests.workflows import hub, language, real
from tests.workflows.records import Job, Step
from tests.workflows.runner import Actions
from tests.workflows.shell import Place, Shell

# Stands in for every program: what it is called, and how, goes into a file, and it succeeds.
RECORDER = """#!/bin/sh
case "${0##*/} $1" in
    "python -c" | "python3 -c") exec PYTHON "$@" ;;
    "sh requirements/setup.sh") exec /bin/sh "$@" ;;
esac
echo "${0##*/}${*:+ $*}" >> LOG
"""
PROGRAMS = ("python", "ruff", "mypy", "yamllint", "ansible-lint", "actionlint", "zizmor")
CALLS = {
    "lint": [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "yamllint --strict .",
        "ansible-lint --offline --strict",
        "actionlint -shellcheck= -pyflakes=",
        "zizmor --quiet --offline --persona pedantic .github",
    ],
    "test-python": ["python -m pytest -n 4 --dist loadfile --no-loadscope-reorder"],
    "sanity": ["sh tests/sanity.sh"],
    "galaxy": ["sh tests/galaxy.sh"],
    "molecule": ["sh tests/molecule.sh"],
}


class Recording(Shell):
    """Runs the scripts with stand-ins for all that they start, and knows which calls each job made."""

    def __init__(self, directory: Path, checkout: Path) -> None:
        self.log = directory / "log"
        self.checkout = checkout
        self.calls: dict[str, list[str]] = {}
        stand_ins = directory / "stand-ins"
        stand_ins.mkdir()
        text = RECORDER.replace("PYTHON", sys.executable).replace("LOG", str(self.log))
        for name in ("sh", *PROGRAMS):
            (stand_ins / name).write_text(text, encoding="utf-8")
            (stand_ins / name).chmod(0o755)
        real.link_tools(checkout, [stand_ins / name for name in PROGRAMS])
        # sh alone comes before the others: Python is the one that the workflow has set up
        first = directory / "first"
        first.mkdir()
        (first / "sh").symlink_to(stand_ins / "sh")
        super().__init__(directory, first=(first,))

    def perform(self, job: Job, step: Step, place: Place, settings: Mapping[str, Any]) -> None:
        """Run it, in a .venv in which everything is installed already."""
        self.log.write_text("", encoding="utf-8")
        real.stamp_tools(self.checkout, step.environment.get("CORE", ""))
        super().perform(job, step, place, settings)
        self.calls.setdefault(job.id, []).extend(self.log.read_text(encoding="utf-8").splitlines())


def test_ci_runs_every_stage_and_every_version_for_a_stranger_too(tmp_path: Path) -> None:
    event = hub.pull_request(fork=True)
    checkout = Checkout(tmp_path / "work").directory
    recording = Recording(tmp_path, checkout)
    run = Actions(language.load(), real.repository(checkout), tmp_path, performer=recording).run(real.CI, event)
    assert run is not None
    assert run.conclusion == "success", [step.output for _job, step in run.steps() if step.outcome == "failure"]
    assert run.concurrency == {"group": f"ci-{event.ref}", "cancel-in-progress": True}
    for stage, calls in CALLS.items():
        assert recording.calls.pop(f"stages ({stage})") == ["sh tests/packages.sh", *calls]
    assert recording.calls.pop("matrix") == []
    expected = {
        f"versions ({one['postgresql']}, {one['core']}, {one['python']})": [
            f"python -m pytest tests/versions -k {one['postgresql']}"
        ]
        for one in matrix.versions()
    }
    assert recording.calls == expected
    assert {job.result for job in run.jobs} == {"success"}


def test_a_version_selects_its_own_tests() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/versions"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tests = [line for line in listed.splitlines() if "::" in line]
    for version in {one["postgresql"] for one in matrix.versions()}:
        mine = [line for line in tests if version in line]
        assert mine
        assert all(re.search(rf"\[{version}\b", line) for line in mine)
    assert len(tests) == sum(version in line for version in map(str, range(14, 19)) for line in tests)


def test_a_failed_stage_is_red_and_does_not_hide_the_others(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "work").directory
    recording = Recording(tmp_path, checkout)
    (checkout / ".venv/bin/mypy").unlink()
    (checkout / ".venv/bin/mypy").symlink_to("/bin/false")
    run = Actions(language.load(), real.repository(checkout), tmp_path, performer=recording).run(real.CI, hub.push())
    assert run is not None
    assert run.conclusion == "failure"
    assert run.concurrency == {"group": "ci-refs/heads/main", "cancel-in-progress": False}
    assert [job.id for job in run.jobs if job.result != "success"] == ["stages (lint)"]


def test_tests_know_nothing_of_the_runner_that_they_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub, playbooks that fail on purpose would write into the summary of CI, and what they print would be another text."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_REPOSITORY", "RUNNER_TEMP", "FLY_APP"):
        monkeypatch.setenv(name, "x")
    scrub_environment()
    assert not [name for name in os.environ if name.startswith(("GITHUB_", "RUNNER_", "FLY_"))]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(
        r"^clean_env := .* -u GITHUB_ACTIONS -u GITHUB_STEP_SUMMARY -u GITHUB_OUTPUT$", makefile, re.MULTILINE
    )


# --- A release


VERSION = "7.8.9"


def release(tmp_path: Path, tag: str, released: bool = True) -> tuple[Any, Checkout]:
    """A run for a tag, where the collection has the version 7.8.9."""
    checkout = real.checkout(tmp_path / "work")
    collection = checkout.directory / matrix.COLLECTION.relative_to(ROOT)
    galaxy = (collection / "galaxy.yml").read_text(encoding="utf-8")
    (collection / "galaxy.yml").write_text(re.sub(r"(?m)^version: .*", f"version: {VERSION}", galaxy), encoding="utf-8")
    date = "2026-12-24" if released else "unreleased"
    (collection / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} ({date})\n\n- All.\n", encoding="utf-8")
    # What Galaxy says of the collection is a stage of the tests, and takes its time
    stand_ins = tmp_path / "stand-ins"
    stand_ins.mkdir()
    (stand_ins / "sh").write_text('#!/bin/sh\n[ "$1" = tests/galaxy.sh ] || exec /bin/sh "$@"\n', encoding="utf-8")
    (stand_ins / "sh").chmod(0o755)
    shell = Shell(tmp_path, first=(stand_ins,))
    github = Actions(language.load(), real.repository(checkout.directory), tmp_path, performer=shell)
    return github.run(real.RELEASE, hub.push(tag)), checkout


def test_a_tag_builds_what_it_names_and_attests_it(tmp_path: Path) -> None:
    run, _checkout = release(tmp_path, f"refs/tags/v{VERSION}")
    job = run.job("build")
    assert job.result == "success", job.output
    assert list(run.artifacts["collection"].files) == [f"vtchat-maintenance-{VERSION}.tar.gz"]
    assert job.permissions == {"contents": "read", "id-token": "write", "attestations": "write"}
    assert job.step("Attest where it was built").ran


@pytest.mark.parametrize(
    ("tag", "released", "said"),
    [("v7.8.10", True, "tag v7.8.9, or change galaxy.yml"), (f"v{VERSION}", False, "write the date of the release")],
)
def test_a_tag_that_does_not_agree_releases_nothing(tag: str, released: bool, said: str, tmp_path: Path) -> None:
    run, checkout = release(tmp_path, f"refs/tags/{tag}", released)
    job = run.job("build")
    assert job.result == "failure"
    assert said in job.output
    assert run.artifacts == {}
    assert not (checkout.directory / "dist").exists()


def test_only_versions_are_released(tmp_path: Path) -> None:
    github = Actions(language.load(), real.repository(), tmp_path)
    for ref in ("refs/heads/main", "refs/tags/v1", "refs/tags/1.2.3", "refs/tags/v1.2.3-rc1", "refs/heads/v1.2.3"):
        assert github.run(real.RELEASE, hub.push(ref)) is None


def test_what_the_matrix_says_is_what_github_reads() -> None:
    outputs = dict(line.split("=", 1) for line in matrix.lines())
    assert [json.loads(outputs[name]) for name in ("versions", "stages")] == [matrix.versions(), list(matrix.STAGES)]
