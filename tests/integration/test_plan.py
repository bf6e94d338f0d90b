# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module plan: options from the task or from variables, here or as a module of its own."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.runs import playbook, window
from tests.servers import Database

NAME = "vtchat.maintenance.plan"
ANALYZE = {"analyze": {"tables": ["visits"]}}
ENDPOINT = {"endpoint_url": "http://127.0.0.1:1", "endpoint_token": "0123456789abcdef0123456789abcdef"}
AS_MODULE = {"environment": {"NOTHING_SPECIAL": "1"}}


def test_options_come_from_the_task_else_from_variables(database: Database, tmp_path: Path) -> None:
    database.sql("CREATE TABLE visits (at timestamptz); ANALYZE visits")
    closed = window(2, 4)
    long_ago = f"{datetime.now(timezone.utc) - timedelta(days=3):%a %H:%M} UTC"
    auto = {"vars": {"maintenance_due": "auto"}}
    known: dict[str, Any] = {
        "maintenance_dsn": database.dsn,
        "maintenance_plans": {
            "hourly": {"steps": [ANALYZE], "budget": 60, "endpoint": {"path": "/x"}},
            "weekly": {"steps": [ANALYZE], "on_error": "stop"},
            "nightly": {"steps": [ANALYZE], "window": closed, "endpoint": {"path": "/x"}},
            "always": {"steps": [ANALYZE], "window": {}},
            "sundays": {"steps": [ANALYZE], "at": long_ago, "endpoint": {"path": "/x"}},
        },
        "maintenance_history": False,
        "ansible_python_interpreter": sys.executable,
    }
    asked = {"hourly": {"endpoint": {"path": "/x", "health": "/api/health"}}}
    relative = {"hourly": {"endpoint": {"path": "/x", "health": "api/health"}}}
    # What each task says, and what its result must have: plan, status, and words of its message.
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        ({NAME: None}, "hourly", "ok", "1 unchanged"),
        ({NAME: None, **AS_MODULE}, "hourly", "ok", "1 unchanged"),
        ({NAME: {"plan": "weekly"}}, "weekly", "ok", "1 unchanged"),
        ({NAME: {"plan": "mine", "plans": {"mine": {"steps": [ANALYZE]}}}}, "mine", "ok", "1 unchanged"),
        ({NAME: {"plan": "mine", "plans": {"mine": {"steps": [{"analyse": None}]}}}}, "mine", "failed", "plans.mine.steps[1]: "),
        ({NAME: None, "vars": {"maintenance_plan": "{{ 'week' }}ly"}}, "weekly", "ok", "1 unchanged"),
        ({NAME: {"dsn": ""}}, "hourly", "failed", "dsn is required for maintenance_transport=direct"),
        ({NAME: {"plan": "daily"}}, "daily", "failed", "maintenance_plans: there is no plan daily"),
        ({NAME: {"plan": "daily", "steps": []}}, "daily", "failed", "unsupported option steps; there are plan, plans"),
        ({NAME: {"connect_deadline": "soon"}}, "hourly", "failed", "(connect_deadline)"),
        ({NAME: None, "vars": {"maintenance_pooler": "maybe"}}, "hourly", "failed", "(maintenance_pooler)"),
        ({NAME: None, "vars": {"maintenance_window": closed}}, "hourly", "skipped", "it opens at "),
        ({NAME: None, "vars": {"maintenance_window": {}}}, "hourly", "ok", "1 unchanged"),
        ({NAME: {"window": {"not_before": "1", "not_after": "2"}}}, "hourly", "failed", "window.not_before: '1' is no time"),
        ({NAME: {"plan": "nightly"}}, "nightly", "skipped", "it opens at "),
        ({NAME: {"plan": "always", "window": closed}}, "always", "ok", "1 unchanged"),
        ({NAME: {"transport": "endpoint", **ENDPOINT}, "vars": {"maintenance_window": closed}}, "hourly", "skipped", "opens at "),
        ({NAME: {"transport": "endpoint", **ENDPOINT, "plan": "nightly"}}, "nightly", "skipped", "it opens at "),
        ({NAME: {"transport": "endpoint", **ENDPOINT, "plan": "health"}}, "health", "skipped", "has endpoint.health: nothing"),
        ({NAME: {"transport": "endpoint", "plan": "health", "plans": asked}}, "health", "failed", "endpoint_url is required"),
        ({NAME: {"transport": "endpoint", **ENDPOINT, "plan": "health", "plans": relative}}, "health", "failed", "begins with /"),
        ({NAME: {"transport": "endpoint", **ENDPOINT, "plan": "health", "plans": [1]}}, "health", "failed", "plans: it must be"),
        ({NAME: {"plan": "health"}}, "health", "ok", "health: 1 unchanged"),
        ({NAME: {"plan": "sundays"}}, "sundays", "ok", "1 unchanged"),
        ({NAME: {"plan": "sundays"}, **auto}, "sundays", "skipped", "not due: "),
        ({NAME: {"plan": "sundays", "transport": "endpoint", **ENDPOINT}, **auto}, "sundays", "skipped", "not due: "),
        ({NAME: {"plan": "sundays", "due": "always"}, **auto}, "sundays", "ok", "1 unchanged"),
        ({NAME: {"plan": "weekly"}, **auto}, "weekly", "ok", "1 unchanged"),
        ({NAME: {"due": "often"}}, "hourly", "failed", "due"),
        ({NAME: {"transport": "endpoint", **ENDPOINT, "due": "often"}}, "hourly", "failed", "due: it must be always or auto"),
        ({NAME: {"plans": {"hourly": {"steps": [ANALYZE], "every": 60}}}}, "hourly", "failed", "plans.hourly.every: '60' is no"),
    ]  # fmt: skip
    tasks = [{"name": "x", **task, "ignore_errors": True} for task, *_expected in cases]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": known, "tasks": tasks}]
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}
    done = playbook(tmp_path, play, {}, environment=nowhere)
    runs = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["runs"]
    assert [(run["plan"], run["status"]) for run in runs] == [(plan, status) for _task, plan, status, _said in cases], (
        done.stdout
    )
    for run, (_task, _plan, _status, said) in zip(runs, cases, strict=True):
        assert said in run["msg"]
    assert runs[0]["budget"] == 60
    assert database.value("SELECT to_regnamespace('maintenance') IS NULL")
