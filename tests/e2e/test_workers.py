# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible's workers import: nothing of ours, because the process that forks them has it all. And what a run does without."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import HOURLY, NAMES
from tests.runs import REPOSITORY, playbook
from tests.servers import Database

OURS = "ansible_collections.vtchat.maintenance.plugins."
RUNTIME = REPOSITORY / "collections/ansible_collections/vtchat/maintenance/meta/runtime.yml"
STEPS: list[dict[str, dict[str, Any]]] = [
    {"purge": {"table": "sessions", "column": "expires_at", "timezone": "UTC"}},
    {"refresh": {"view": "user_subscription_summary"}},
    {"analyze": {"tables": ["users"]}},
    {"vacuum": {"tables": ["users"]}},
    {"reindex": {"tables": ["users"]}},
    {"index": {"definition": "CREATE INDEX of_a_test ON users (name)"}},
    {"health_info": {"fail_on": "never"}},
    {"index_info": {}},
    {"amcheck": {"tables": ["users"]}},
]
FUNCTION = "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"
VIEW = "CREATE MATERIALIZED VIEW user_subscription_summary AS SELECT user_id FROM user_subscriptions"
MODULES: dict[str, dict[str, Any]] = {
    **{name: options for step in STEPS for name, options in step.items()},
    "run": {"plan": "all", "steps": STEPS},
    "plan": {"plan": "all", "plans": {"all": {"steps": STEPS}}},
    "alerts": {"results": [], "channels": [{"webhook": {"url": "http://127.0.0.1:9"}}]},
    "history_info": {},
    "report": {},
    "maintainer": {"name": "maintainer_of_a_test", "steps": STEPS[:3]},
    "sql_object": {"scripts": [{"name": "one", "sql": FUNCTION}], "history": False},
}

# Python runs this file at the start of every process. It writes down whose code of which file is run: an import does that
# once, whoever finds the file (Ansible has a finder of its own for collections, which comes before all others).
HOOK = """
import os, sys

started = os.getpid()

def heard(event, arguments):
    if event == "exec" and hasattr(arguments[0], "co_filename") and "IMPORTS" in os.environ:
        whose = "main" if os.getpid() == started else "worker"
        with open(os.environ["IMPORTS"], "a") as file:
            print(whose, arguments[0].co_filename, sep="\\t", file=file)

def forked():
    with open(os.environ["IMPORTS"], "a") as file:
        print("worker", "itself", sep="\\t", file=file)

sys.addaudithook(heard)
os.register_at_fork(after_in_child=forked)
"""


def imports(directory: Path, tasks: list[dict[str, Any]], **variables: Any) -> Counter[tuple[str, str]]:
    """How often what was imported, in the main process and in workers, with nothing of ours in ansible.cfg."""
    (directory / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    (directory / "ansible.cfg").touch()
    known = {"ansible_python_interpreter": sys.executable, **variables}
    environment = {
        "PYTHONPATH": str(directory),
        "IMPORTS": str(directory / "imports"),
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
        "ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"),
    }
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    done = playbook(directory, play, known, "--check", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (directory / "imports").read_text(encoding="utf-8").splitlines()
    return Counter((whose, dotted(file)) for whose, _tab, file in (line.partition("\t") for line in lines))


def dotted(file: str) -> str:
    """The name of a module by its file."""
    name = file.rpartition("/collections/")[2] or file
    name = name.rpartition("/site-packages/")[2].removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def of_ours_in_workers(found: Counter[tuple[str, str]]) -> set[str]:
    """What is not in the plans of each hour is loaded by the worker that has it as a step: every other run does without."""
    ours = {name for whose, name in found if whose == "worker" and name.startswith((OURS, "psycopg2"))}
    rare = [f"_operations.{name}" for name in NAMES if name not in HOURLY]
    loaded = {name.removeprefix(f"{OURS}module_utils.") for name in ours}
    needed = ("_checks", *rare, "_postgres.", "_window")  # and what those are made of
    return {name for name in loaded if not name.startswith(needed)}


def test_workers_import_nothing_of_ours(vtchat_database: Database, tmp_path: Path) -> None:
    """Every database module; a module that is added belongs into the list above."""
    vtchat_database.sql(VIEW)
    vtchat_database.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
    group = set(yaml.safe_load(RUNTIME.read_text(encoding="utf-8"))["action_groups"]["all"])
    assert set(MODULES) == group
    tasks = [
        {f"vtchat.maintenance.{name}": {"dsn": vtchat_database.dsn, **options}} for name, options in MODULES.items()
    ]
    found = imports(tmp_path, tasks)
    assert found["worker", "itself"] >= len(tasks)
    assert not of_ours_in_workers(found)
    assert all(found["main", f"{OURS}module_utils._operations.{name}"] for name in HOURLY)


def test_a_plan_loads_what_it_needs(vtchat_database: Database, tmp_path: Path) -> None:
    vtchat_database.sql(VIEW)
    variables = {"maintenance_plans": {"hourly": {"steps": STEPS[:3]}}, "maintenance_dsn": vtchat_database.dsn}
    found = imports(tmp_path, [{"ansible.builtin.import_role": {"name": "maintenance"}}], **variables)
    assert not of_ours_in_workers(found)
    loaded = {name.removeprefix(f"{OURS}module_utils.") for _whose, name in found if name.startswith(OURS)}
    assert "_operations.purge" in loaded
    assert not {name for name in loaded if name.startswith(("_objects.", "_rights.", "_services.", "_checks.review"))}
    assert {name.split(".")[1] for name in loaded if name.startswith("_operations.")} == set(HOURLY)
    assert ("main", "ansible.module_utils.urls") not in found
