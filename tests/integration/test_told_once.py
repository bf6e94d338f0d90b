# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why something failed is said once, whatever it was; with -v everything that Ansible knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.runs import playbook
from tests.servers import Database

NOWHERE = "postgresql://u@127.0.0.1:1/d"
AS_MODULE = {"environment": {"NOTHING_SPECIAL": "1"}}
ROLE = {"name": "maintenance"}


def failures(dsn: str) -> dict[str, dict[str, Any]]:
    """By the words of its reason, a task that fails."""
    here, no_wait = {"dsn": dsn}, {"dsn": NOWHERE, "connect_deadline": 0}
    purge = {"table": "missing_1", "column": "at"}
    steps = [{"purge": {"table": "missing_3", "column": "at"}}]
    plans = {
        "maintenance_plans": {"hourly": {"steps": steps}},
        "maintenance_plan": "no_such_plan",
        "maintenance_dsn": dsn,
    }
    return {
        "no table missing_1": {"vtchat.maintenance.purge": {**here, **purge}},
        "no table missing_2": {"vtchat.maintenance.purge": {**here, **purge, "table": "missing_2"}, **AS_MODULE},
        "no table missing_3": {"vtchat.maintenance.run": {**here, "plan": "p", "steps": steps}},
        "port 1 failed": {"vtchat.maintenance.history_info": no_wait},
        "unsupported option tabel": {"vtchat.maintenance.purge": {**here, "tabel": "x", "table": "x", "column": "y"}},
        "missing_4": {"vtchat.maintenance.sql_object": {**here, "sql": "DROP VIEW missing_4"}},
        "no table loop_item_1": {
            "vtchat.maintenance.purge": {**here, "table": "{{ item }}", "column": "x"},
            "loop": ["loop_item_1"],
        },
        "the connection was refused": {
            "vtchat.maintenance.endpoint": {"url": "http://127.0.0.1:1/x", "token": "a-token-of-some-length", "budget": 2}
        },
        "it must have the form owner/name": {
            "vtchat.maintenance.github_secrets": {"repository": "x", "secrets": {"A": "b"}, "token": "a-token-of-some-length"}
        },
        "said by assert": {"ansible.builtin.assert": {"that": "false", "fail_msg": "said by assert"}},
        "said by undef": {"ansible.builtin.debug": {"msg": "{{ undef(hint='said by ' ~ 'undef') }}"}},
        "there is no plan no_such_plan": {"ansible.builtin.include_role": ROLE, "vars": plans},
    }  # fmt: skip


def test_a_failure_is_told_once(database: Database, tmp_path: Path) -> None:
    tasks = [{**task, "name": "x", "ignore_errors": True} for task in failures("{{ dsn }}").values()]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    known = {"dsn": database.dsn, "ansible_python_interpreter": sys.executable}
    done = playbook(tmp_path, play, known, environment={"PYTHONWARNINGS": "ignore"})
    output = " ".join((done.stdout + done.stderr).split())
    told = {reason: output.count(reason) for reason in failures("")}
    assert told == dict.fromkeys(told, 1), done.stdout
    assert "Origin:" not in output
    # One of each way to fail: here, as a module, in a loop, in a template, in a role.
    shown = ("missing_1", "missing_2", "loop_item_1", "refused", "said by undef", "no_such_plan")
    some = [reason for reason in told if any(word in reason for word in shown)]
    tasks = [{**failures("{{ dsn }}")[reason], "name": "x", "ignore_errors": True} for reason in some]
    verbose = " ".join(playbook(tmp_path, [{**play[0], "tasks": tasks}], known, "-v").stdout.split())
    assert len(some) == len(shown)
    assert all(verbose.count(reason) > 1 for reason in some)
