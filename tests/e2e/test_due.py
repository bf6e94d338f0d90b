# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook that a scheduler starts: all plans that are due, each on its own, and red at the end if one has failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.checkout import ROOT
from tests.runs import PROGRAM, settings
from tests.servers import Database

ANALYZE = {"analyze": {"tables": ["t"]}}
PLANS = {
    "broken": {"every": "1h", "steps": [{"analyze": {"tables": ["nothing"]}}]},
    "sundays": {"at": "Sun 02:00 UTC", "steps": [ANALYZE]},
    "by_hand": {"steps": [ANALYZE]},
    "daily": {"every": "1d", "steps": [ANALYZE]},
}


def due(directory: Path, dsn: str, *plans: Any) -> tuple[subprocess.CompletedProcess[str], list[tuple[str, str]]]:
    """What the playbook did on a host for each of these plans, and the plan and status of each run."""
    known = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "maintenance_dsn": dsn}
    hosts = {f"host{number}": {**known, "maintenance_plans": one} for number, one in enumerate(plans)}
    inventory = directory / "hosts.yml"
    inventory.write_text(json.dumps({"databases": {"hosts": hosts}, "embedded": {}}), encoding="utf-8")
    command, known = [PROGRAM, "-i", str(inventory), "playbooks/due.yml"], {**os.environ, **settings(directory)}
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=280, check=False)
    runs = json.loads((directory / "summary.json").read_text(encoding="utf-8"))["runs"]
    return done, [(run["plan"], run["status"]) for run in runs]


def test_all_plans_that_are_due_whatever_becomes_of_one(database: Database, tmp_path: Path) -> None:
    database.sql("CREATE TABLE t (id int)")
    done, runs = due(tmp_path, database.dsn, PLANS)
    assert (done.returncode, runs) == (2, [("broken", "failed"), ("sundays", "ok"), ("daily", "ok")]), done.stdout
    assert "TASK [" not in done.stdout, "what failed is told by the summary, once"
    plans = {name: plan for name, plan in PLANS.items() if name != "broken"}
    again, runs = due(tmp_path, database.dsn, plans)
    assert (again.returncode, runs) == (0, [("sundays", "skipped"), ("daily", "skipped")]), again.stdout
    assert "not due: the last run of it that succeeded began at 20" in again.stdout
    wrong, runs = due(tmp_path, database.dsn, {"by_hand": PLANS["by_hand"]}, [PLANS])
    assert (wrong.returncode, runs) == (2, [])
    said = " ".join(wrong.stdout.split())
    assert said.count("no plan of maintenance_plans says when it is due: give one every or at") == 2
