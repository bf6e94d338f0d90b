# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GitHub's own parser of workflows and evaluator of expressions: its packages on npm, at the versions of requirements/npm."""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "npm"
CACHE = ROOT / ".cache" / "workflows"
SERVICE = Path(__file__).with_name("language.mjs")


class WorkflowError(Exception):
    """GitHub would refuse the file or the run, before any job starts."""


@dataclass(frozen=True)
class Workflow:
    """A workflow as GitHub reads it.

    In the tree, expressions are ``{"$": text}``. Conditions have what GitHub adds where no status function is called.
    """

    path: str
    tree: dict[str, Any]
    job_conditions: dict[str, str]
    steps: dict[str, list[tuple[str, str]]]  # of each job: id and condition of each step
    schedule: list[dict[str, str]]

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs as they stand in the file."""
        found: dict[str, dict[str, Any]] = self.tree["jobs"]
        return found

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """What starts it, with the filters."""
        on = self.tree["on"]
        if isinstance(on, str):
            return {on: {}}
        return {name: {} for name in on} if isinstance(on, list) else {name: value or {} for name, value in on.items()}


class Language:
    """The parser and the evaluator, in a process of their own."""

    def __init__(self, modules: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(SERVICE)], cwd=modules, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def parse(self, path: str, files: Mapping[str, str]) -> Workflow:
        """Read one of the files; workflows that it calls are looked for in them, too."""
        answer = self._ask("parse", path=path, files=dict(files))
        if answer["errors"]:
            raise WorkflowError("; ".join(answer["errors"]))
        jobs = answer["jobs"]
        return Workflow(
            path,
            answer["tree"],
            {job["id"]: job["if"] for job in jobs},
            {job["id"]: [(step["id"], step["if"]) for step in job["steps"]] for job in jobs},
            answer["schedule"],
        )

    def diagnose(self, path: str, files: Mapping[str, str]) -> list[str]:
        """What GitHub's editor would underline: unknown members of contexts, too."""
        found: list[str] = self._ask("diagnose", path=path, files=dict(files))
        return found

    def evaluate(self, value: Any, contexts: Mapping[str, Any], status: Mapping[str, bool] | None = None) -> Any:
        """A part of the tree with all its expressions replaced by what they are worth."""
        return self._ask("evaluate", value=value, context=dict(contexts), status=dict(status or {}))

    def true(self, condition: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> bool:
        """Whether GitHub takes the value of a condition for true."""
        return self.evaluate({"$": condition}, contexts, status) not in (None, False, 0, "")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, operation: str, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise WorkflowError(answer["error"])
        return answer["value"]


@functools.cache
def load() -> Language:
    """The service, with the packages that it needs."""
    language = Language(installed())
    atexit.register(language.close)
    return language


def installed() -> Path:
    """The folder with the packages of npm that tests need, installed by whoever asks first; without npm the test is skipped, in
    continuous integration it fails."""
    wanted = hashlib.sha256((LOCK / "package-lock.json").read_bytes()).hexdigest()[:16]
    modules = CACHE / wanted
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not modules.exists():
            _install(modules)
    return modules


def _install(modules: Path) -> None:
    work = CACHE / "install"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(LOCK, work)
    try:
        version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
        if int(version.lstrip("v").partition(".")[0]) < 20:
            raise OSError(f"Node is {version.strip()}, and 20 is the oldest that has what they need")
        # With a cache of its own: npm fails where the home cannot be written.
        command = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(work / "npm")]
        subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=240)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs Node with npm and its registry, for the packages of requirements/npm: {error}")
    shutil.rmtree(work / "npm", ignore_errors=True)
    work.replace(modules)


def text(value: Any) -> str:
    """A value as GitHub writes it into an environment or an input."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}"
    assert isinstance(value, str | int), f"GitHub would write {type(value).__name__} here: use toJSON()"
    return str(value)
