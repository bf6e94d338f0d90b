# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the script of a step as the runner does: its shell, its environment, its files, its way to end it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.leaks import leaks
from tests.workflows.commands import Files, obey
from tests.workflows.records import Job, Step

# Where nothing is said, and where `shell: bash` is.
SHELLS = {"": "bash -e {0}", "bash": "bash --noprofile --norc -eo pipefail {0}"}
TRACKING = "RUNNER_TRACKING_ID"


@dataclass
class Place:
    """What the steps of a job share: the folder, what earlier steps have put into PATH and environment, what is secret."""

    workspace: Path
    home: Path  # empty at first, as the whole machine is new
    github: Mapping[str, str]  # the runner's own variables
    secrets: tuple[str, ...]
    exported: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    cancelled: bool = False


class Performer(Protocol):
    """What becomes of the script of a step."""

    executes: bool  # whether actions do anything, too

    def perform(self, job: Job, step: Step, place: Place, settings: Mapping[str, Any]) -> None:
        """Set outcome, output and all that comes of it; settings are the step as it stands in the file."""


class Pretended:
    """Runs nothing: every step succeeds but those that are named, and has the outputs that are given for it."""

    executes = False

    def __init__(self, *failing: str, outputs: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.failing = failing
        self.outputs = outputs or {}

    def perform(self, job: Job, step: Step, place: Place, settings: Mapping[str, Any]) -> None:
        """Say how it went."""
        step.outcome = "failure" if step.name in self.failing else "success"
        step.exit_code = int(step.outcome == "failure")
        step.outputs = dict(self.outputs.get(step.name, {}))


@dataclass(frozen=True)
class Cancel:
    """Somebody presses "Cancel workflow" while a step runs, as soon as the condition holds."""

    step: str
    when: Callable[[], bool]
    # After SIGINT, after SIGTERM, and for output that others still hold open: the runner waits 7.5, 2.5 and 5 seconds.
    waits: tuple[float, float, float] = (1.5, 0.5, 1.0)


class Shell:
    """Runs it with bash on this machine."""

    executes = True

    def __init__(
        self,
        directory: Path,
        cancel: Cancel | None = None,
        seconds: float = 280,
        first: tuple[Path, ...] = (),  # folders with programs that stand in for others
        pretended: tuple[str, ...] = (),  # steps that another test runs
    ) -> None:
        self.directory = directory
        self.cancel = cancel
        self.seconds = seconds
        self.first = first
        self.pretended = pretended
        self._left: list[subprocess.Popen[bytes]] = []

    def perform(self, job: Job, step: Step, place: Place, settings: Mapping[str, Any]) -> None:
        """Run it, then read what it wrote."""
        if step.name in self.pretended:
            return Pretended().perform(job, step, place, settings)
        here = Path(tempfile.mkdtemp(dir=self.directory, prefix="step-"))
        files = Files(here / "commands")
        script = here / "script.sh"
        script.write_text(step.script, encoding="utf-8")
        shell = SHELLS[settings.get("shell", "")].replace("{0}", shlex.quote(str(script)))
        cwd = place.workspace / settings.get("working-directory", "")
        environment = self._environment(job, step, place, files)
        process = subprocess.Popen(
            shlex.split(shell),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait(process, step, place)
        return self._read(step, place, files)

    def _environment(self, job: Job, step: Step, place: Place, files: Files) -> dict[str, str]:
        usual = [str(Path(sys.executable).resolve().parent), "/usr/local/bin", "/usr/bin", "/bin"]
        return {
            "CI": "true",
            "HOME": str(place.home),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([*map(str, self.first), *reversed(place.path), *usual]),
            **step.environment,
            **place.github,
            "GITHUB_JOB": job.id.rpartition(" / ")[2],
            "GITHUB_ACTION": step.id,
            "GITHUB_WORKSPACE": str(place.workspace),
            "RUNNER_TEMP": str(self.directory),
            TRACKING: f"github_{self.directory}",
            **{name: str(path) for name, path in files.paths.items()},
        }

    def _wait(self, process: subprocess.Popen[bytes], step: Step, place: Place) -> None:
        deadline = time.monotonic() + self.seconds
        cancel = self.cancel if self.cancel and self.cancel.step == step.name else None
        while True:
            try:
                output, _nothing = process.communicate(timeout=0.1 if cancel else self.seconds)
                break
            except subprocess.TimeoutExpired:
                if cancel and cancel.when():
                    place.cancelled = True
                    output = self._end(process, cancel)
                    break
                if time.monotonic() > deadline:
                    self._end(process, Cancel(step.name, lambda: True, (0, 0, 0)))
                    self.end_orphans()
                    raise
        step.output = output.decode("utf-8", "replace")
        step.exit_code = process.returncode

    def _end(self, process: subprocess.Popen[bytes], cancel: Cancel) -> bytes:
        """What the runner does: signals to the shell alone, which does not pass them on; then the tree that hangs on it.

        Whatever is left after that goes on until the job ends, with its output open.
        """
        for number, seconds in zip((signal.SIGINT, signal.SIGTERM), cancel.waits[:2], strict=True):
            process.send_signal(number)
            try:
                process.wait(timeout=seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            _kill_tree(process.pid)
        try:
            return process.communicate(timeout=cancel.waits[2])[0]
        except subprocess.TimeoutExpired as error:
            self._left.append(process)
            return error.output or b""

    def end_orphans(self) -> list[str]:
        """At the end of a job: kill what it has left behind, found by the variable that only its processes have."""
        needle = f"{TRACKING}=github_{self.directory}".encode()
        killed = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if needle in (entry / "environ").read_bytes().split(b"\0"):
                    killed.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue
        for process in self._left:
            process.communicate(timeout=60)
        self._left.clear()
        return killed

    def _read(self, step: Step, place: Place, files: Files) -> None:
        masks = obey(step)
        if step.exit_code:
            step.annotate("error", f"Process completed with exit code {step.exit_code}.")
        step.outcome = "cancelled" if place.cancelled else "failure" if step.exit_code else "success"
        step.summary = files.summary(step)
        try:
            step.outputs = files.pairs("GITHUB_OUTPUT")
            place.exported.update(files.pairs("GITHUB_ENV"))
        except ValueError as error:
            step.annotate("error", str(error))
            step.outcome = "failure"
        place.path += files.lines("GITHUB_PATH")
        shown = "\n".join(line for line in step.output.splitlines() if not line.startswith("::add-mask::"))
        hidden = {*place.secrets, *masks}
        found = leaks(files.paths["GITHUB_ENV"].parent, hidden | set().union(*map(_passwords, hidden)), shown)
        assert not found, f"{step.name} shows a secret: {found}"


def _passwords(secret: str) -> set[str]:
    """The password in a connection string, as it is written there and as it is meant; GitHub itself masks only the whole."""
    found = re.search(r"://[^:@/]*:([^@/]+)@|\bpassword=(\S+)", secret)
    written = (found[1] or found[2]) if found else ""
    return {written, urllib.parse.unquote(written)} - {""}


def _kill_tree(pid: int) -> None:
    """Kill a process and all that hang on it, children first."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in parentheses: the state, then the parent
            if int(entry.read_text(encoding="utf-8").rpartition(")")[2].split()[1]) == pid:
                _kill_tree(int(entry.parent.name))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
