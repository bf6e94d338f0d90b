# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""playbooks/alerts.yml as a workflow runs it: a database that goes away and comes back, and channels from the environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import runs
from tests.alerts import TOKEN
from tests.doubles import contract
from tests.doubles.app import Application
from tests.doubles.github import GitHub
from tests.doubles.webhook import PATHS, Hooks
from tests.leaks import leaks
from tests.servers import Database

ROOT = Path(__file__).resolve().parents[2]
DOWN = "postgresql://u:PASSzq7word@127.0.0.1:9/app?connect_timeout=2"


@dataclass
class Job:
    """A job on GitHub: doubles of the services, and the playbook in an environment like that of a runner."""

    github: GitHub
    hooks: Hooks
    directory: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        known |= {
            "HOME": str(self.directory),
            **runs.settings(self.directory),
            "GITHUB_API_URL": self.github.url,
            "GITHUB_REPOSITORY": "example/app",
            "GITHUB_RUN_ID": "77",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_TOKEN": TOKEN,
            "ALERT_WEBHOOK_URL": self.hooks.address("slack"),
            "ALERT_WEBHOOK_FORMAT": "slack",
            **environment,
        }
        command = [runs.PROGRAM, "-i", "inventories/production", *arguments, "playbooks/alerts.yml"]
        return subprocess.run(
            command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=280, check=False
        )  # fmt: skip

    def result(self) -> dict[str, Any]:
        """What the module alerts said in the last run."""
        kept = json.loads((self.directory / "summary.json").read_text(encoding="utf-8"))["runs"]
        (found,) = [run for run in kept if run["module"] == "alerts"]
        return dict(found)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    made = Job(GitHub(contract.load(), TOKEN), Hooks(), tmp_path)
    yield made
    made.github.close()
    made.hooks.close()


def test_a_database_that_goes_away_and_comes_back(job: Job, vtchat_database: Database) -> None:
    runs.perform("analyze", vtchat_database.dsn, tables=["users"])
    down = job.run("-e", "maintenance_connect_deadline=0", "-vvv", DATABASE_URL=DOWN)
    assert down.returncode == 2, down.stdout + down.stderr
    (issue,) = job.github.issues.of["example/app"]
    assert issue.title == "critical: unreachable on vtchat_production"
    assert "cannot connect" in issue.body
    assert "(https://github.example/example/app/actions/runs/77)" in issue.body
    assert job.result()["totals"] == {"done": 2}
    secrets = [TOKEN, "PASSzq7word", job.hooks.address("slack"), PATHS["slack"]]
    assert leaks(job.directory, secrets, down.stdout, down.stderr) == []

    # A string that cannot be read is told as well: it is not used to remember that.
    malformed = job.run(DATABASE_URL="postgresql://u:pa@ss@host:1/x")
    assert malformed.returncode == 2, malformed.stdout
    assert "dsn: " in issue.body
    assert "pa@ss" not in issue.body

    back = job.run(DATABASE_URL=vtchat_database.dsn)
    assert issue.state == "closed", back.stdout + back.stderr
    told = [one["text"] for one in job.hooks.got["slack"]]
    assert told[0] == "🔴 critical: unreachable on vtchat_production"
    assert "🟢 well again: unreachable on vtchat_production" in told
    assert [text for text in told if "unreachable" in text] == [
        told[0],
        "🟢 well again: unreachable on vtchat_production",
    ]
    known = len(job.github.issues.of["example/app"]), len(told)
    again = job.run("--check", "--diff", DATABASE_URL=vtchat_database.dsn)
    assert (len(job.github.issues.of["example/app"]), len(job.hooks.got["slack"])) == known, again.stdout
    assert set(job.result()["totals"]) <= {"unchanged"}


def test_a_database_that_only_the_application_reaches_is_not_taken_for_one_that_is_away(job: Job) -> None:
    """Its connection string, which may be that of another network, is not looked at."""
    with closing(Application("x" * 32)) as application:
        known = {"DATABASE_URL": "elsewhere", "CRON_SECRET_TOKEN": "x" * 32, "FLY_APP_URL": application.url}
        done = job.run("-e", "maintenance_transport=endpoint", **known)
    assert done.returncode == 0, done.stdout
    assert "the application is healthy" in done.stdout
    assert job.result()["actions"] == []
    assert not any(job.hooks.got.values())
    assert job.github.issues.of == {}


def test_nobody_is_told_of_the_demo_and_it_is_said_that_nobody_is() -> None:
    """By its variables: the playbook itself is run for the demo elsewhere."""
    listed = subprocess.run(
        [runs.PROGRAM.replace("ansible-playbook", "ansible-inventory"), "-i", "inventories/demo", "--list"],
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip
    hosts = json.loads(listed.stdout)["_meta"]["hostvars"]
    assert hosts
    assert all(variables["alerts_channels"] == [] for variables in hosts.values())
