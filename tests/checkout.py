# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh copy of the repository, for tests of what somebody sees who has just cloned it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Checkout:
    """A copy of what is tracked, without anything that was made on this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).exists() or (ROOT / name).is_symlink():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
        self.results = directory / "results.json"

    def command(self, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line as a user's shell would, with nothing of ours in its environment but what it says."""
        passed = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "TMPDIR") if name in os.environ}
        passed |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        passed |= {"VTCHAT_MAINTENANCE_JSON": str(self.results), **environment}
        self.results.unlink(missing_ok=True)
        return subprocess.run(  # noqa: S602 - the README's lines are for a shell
            line, shell=True, cwd=self.directory, env=passed, capture_output=True, text=True, check=False
        )

    def run(self, line: str, **environment: str) -> str:
        """The same, for a line that must succeed."""
        done = self.command(line, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[dict[str, Any]]:
        """What the last command said for machines."""
        found: list[dict[str, Any]] = json.loads(self.results.read_text(encoding="utf-8"))["runs"]
        return found

    def actions(self, plan: str = "hourly") -> list[dict[str, Any]]:
        """What a plan said for machines."""
        (run,) = [run for run in self.runs() if run["plan"] == plan]
        actions: list[dict[str, Any]] = run["actions"]
        return actions
