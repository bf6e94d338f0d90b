# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways in, one result: in Ansible's own process, and as a module in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from tests.runs import REPOSITORY, playbook
from tests.servers import Database, Server, Servers

TABLES = """
CREATE TABLE sessions (id int PRIMARY KEY, user_id int, expires_at timestamp);
INSERT INTO sessions
SELECT n, n % 10, (now() + (n - 100.5) * interval '1 hour') AT TIME ZONE 'UTC' FROM generate_series(1, 200) AS n;
CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(0, 9);
CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS sessions FROM sessions GROUP BY user_id;
CREATE UNIQUE INDEX ON counts (user_id);
"""
PURGE = {"table": "sessions", "column": "expires_at", "timezone": "UTC"}
STEPS = [
    {"purge": {**PURGE, "older_than": "1h"}},
    {"refresh": {"view": "counts"}},
    {"analyze": {"tables": ["users", "sessions"]}},
]
TWO, FOUR = (True, False), (True, False, True, False)  # what is found unchanged, of these three as well, is in the plan
# module, options, check mode of each call
SCENARIO: list[tuple[str, dict[str, Any], tuple[bool, ...]]] = [
    ("history_info", {}, (True,)),
    ("purge", {**PURGE, "where": "id <= 60"}, TWO),
    ("refresh", {"view": "counts"}, TWO),
    ("analyze", {"tables": ["sessions", "users"]}, TWO),
    ("run", {"plan": "hourly", "steps": STEPS, "budget": 120}, FOUR),
    ("run", {"plan": "other", "steps": [{"purge": {**PURGE, "table": "session"}}, {"purge": PURGE}]}, (False,)),
    ("history_info", {"limit": 2}, (False,)),
    ("vacuum", {"tables": ["sessions", "users"], "min_dead_rows": 1, "threshold_factor": 0, "pace": "fast"}, FOUR),
]
# How many of these go through a playbook; the others are compared with the modules directly, which is quicker.
WITH_ANSIBLE = 2
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("purge", {"table": "a.b.c", "older_than": "soon", "batch_ms": 1, "colum": "x"}),
    ("purge", {"table": "a.b.c", "column": "x", "older_than": "soon", "batch_ms": 1, "budget": -1}),
    ("purge", {**PURGE, "batch_ms": "many", "tls": "none"}),
    ("refresh", {}),
    ("analyze", {"tables": ["x.y.z", ""]}),
    ("vacuum", {"tables": ["x.y.z"], "jobs": 0, "visible_share": 2, "buffer_usage_limit": "1"}),
    ("run", {"plan": "p", "steps": [{"purge": {"table": "t"}}, {"vacuums": {}}, {"analyze": {"tables": ["a.b.c"]}}]}),
    ("run", {"steps": []}),
    ("history_info", {"limit": 0}),
    ("purge", {**PURGE, "dsn": "postgresql://u:secret%zz@h/d", "connect_deadline": -1}),
]


def tasks(path: str, dsn: str) -> list[dict[str, Any]]:
    """The scenario; a task with an environment of its own cannot run in Ansible's process."""
    made = []
    for module, options, checks in SCENARIO:
        for check in checks:
            made.append({f"vtchat.maintenance.{module}": {"dsn": dsn, **options}, "check_mode": check})
    for module, options in FAULTS[:WITH_ANSIBLE]:
        made.append({f"vtchat.maintenance.{module}": {"dsn": dsn, **options}})
    for number, task in enumerate(made):
        task.update(name=f"{path} {number}", register=f"{path}_{number}", ignore_errors=True, diff=True)
        if path == "module":
            task["environment"] = {"NOTHING_SPECIAL": "1"}
    return made


def neutral(value: Any, database: Database) -> Any:
    """A result without what differs from run to run: times, process ids, the name of the database."""
    text = json.dumps(value, sort_keys=True).replace(database.name, "DATABASE")
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?", "TIME", text)
    return strip(json.loads(text))


def strip(value: Any) -> Any:
    if isinstance(value, list):
        return [strip(one) for one in value]
    if not isinstance(value, dict):
        return value
    # A refresh looks again at sessions that were busy a moment ago, so the turns depend on the time.
    different = {"seconds", "invocation", "estimate", "last_seconds", "turns", "retries", "verbose"}
    value = {**value, "numbers": measured(value["numbers"])} if "numbers" in value else value
    return {key: strip(one) for key, one in value.items() if key not in different}


def measured(numbers: dict[str, Any]) -> dict[str, Any]:
    """What is written in words, what only our own rows decide, and of all else which numbers there are.

    Ages, frozen pages, batches and pauses are those of the server and the moment, and others work on the server as well.
    """
    ours = {"rows", "dead", "inserted", "deleted", "modified", "pages"}
    there = {name: value for name, value in numbers.items() if not name.startswith("paused")}
    return {name: value if name in ours or isinstance(value, str) else "?" for name, value in there.items()}


def facts(database: Database) -> list[Any]:
    """What became of the database."""
    return [
        database.sql("SELECT id FROM sessions ORDER BY 1"),
        database.sql("SELECT * FROM counts ORDER BY 1"),
        database.sql("SELECT operation, target, outcome, row_count FROM maintenance.action ORDER BY id"),
        database.sql("SELECT plan, status, message, totals FROM maintenance.run ORDER BY id"),
        database.sql("SELECT operation, target, deferred FROM maintenance.state ORDER BY 1, 2"),
    ]


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """Apart from the tests that change settings of roles and databases, which would cost a refresh here."""
    return servers.shared("quiet")


@pytest.fixture(scope="module")
def both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of the scenario both ways, and what became of the databases."""
    directory = tmp_path_factory.mktemp("paths")
    databases = {path: server.create_database() for path in ("here", "module")}
    plays = []
    for path, database in databases.items():
        database.sql(TABLES)
        database.sql("SELECT pg_stat_force_next_flush()")
        database.sql("SELECT")  # what was inserted is in the statistics now, and not in ten seconds
        work = tasks(path, database.dsn)
        results = "[" + ", ".join(task["register"] for task in work) + "]"
        save = {
            "ansible.builtin.copy": {
                "content": f"{{{{ {results} | to_json }}}}",
                "dest": str(directory / f"{path}.json"),
                "mode": "0600",
            }
        }
        plays.append(
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "strategy": "free",
                "tasks": [*work, save],
            }
        )
    process = playbook(directory, plays, {"ansible_python_interpreter": sys.executable}, "-vvv")
    assert process.returncode == 0, process.stdout + process.stderr
    # Each module is a process that -vvv shows, with the environment of its task; faults of options are found before.
    as_modules = sum(len(checks) for _name, _options, checks in SCENARIO)
    assert len(re.findall(r"EXEC .*NOTHING_SPECIAL=1", process.stdout)) == as_modules
    found = {path: json.loads((directory / f"{path}.json").read_text()) for path in databases}
    yield databases, found
    for database in databases.values():
        database.close()


def test_same_results(both: Any) -> None:
    databases, results = both
    names = [name for name, _options, checks in SCENARIO for _check in checks]
    names += [name for name, _options in FAULTS[:WITH_ANSIBLE]]
    assert len(names) == len(results["here"]) == len(results["module"])
    for name, here, module in zip(names, results["here"], results["module"]):
        assert neutral(here, databases["here"]) == neutral(module, databases["module"]), (name, here, module)


def test_same_effects(both: Any) -> None:
    databases, _results = both
    here, module = (neutral(facts(database), database) for database in databases.values())
    assert here == module
    assert len(here[0]) < 101


def test_the_scenario_is_what_it_says(both: Any) -> None:
    """Check, do, check again, do again: foretold, done, and nothing left to do."""
    _databases, results = both
    outcomes = [[action["outcome"] for action in one.get("actions", [])] for one in results["here"]]
    rows = [[action["rows"] for action in one.get("actions", [])] for one in results["here"]]
    assert outcomes[1:3] == [["planned"], ["done"]]
    assert rows[1:3] == [[60], [60]]
    assert outcomes[3:5] == [["planned"], ["done"]]
    assert outcomes[5:7] == [["planned"] * 2, ["done"] * 2]
    assert [one[0] for one in outcomes[7:11]] == ["planned", "done", "unchanged", "unchanged"]
    assert [set(one) for one in outcomes[9:11]] == [{"unchanged"}] * 2
    assert outcomes[11] == ["failed", "done"]
    assert [one["plan"] for one in results["here"][12]["runs"]] == ["other", "hourly"]
    assert [one[0] for one in outcomes[13:17]] == ["planned", "done", "unchanged", "unchanged"]
    assert [one["failed"] for one in results["here"][17:]] == [True] * WITH_ANSIBLE


def alone(module: str, options: dict[str, Any]) -> dict[str, Any]:
    """A module without its action plugin."""
    process = subprocess.run(
        [sys.executable, "-m", f"ansible_collections.vtchat.maintenance.plugins.modules.{module}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(process.stdout)
    return result


@pytest.mark.parametrize(("module", "options"), FAULTS)
def test_a_module_alone_finds_the_same_faults(database: Database, module: str, options: dict[str, Any]) -> None:
    parameters = {"dsn": database.dsn, **options}
    with pytest.raises(OptionError) as caught:
        _edge.validated(module, parameters)
    faults = caught.value.errors
    found = alone(module, parameters)
    assert found["failed"]
    # AnsibleModule stops at the first fault of names and types by itself; what comes after it is ours, and complete.
    if "errors" in found:
        assert found["errors"] == faults
    else:
        assert any(fault in found["msg"] or found["msg"] in fault for fault in faults), (found["msg"], faults)
    assert "secret" not in json.dumps(found)
