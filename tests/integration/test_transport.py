# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role maintenance by either transport: directly, or by the application's own endpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.app import HEALTH, HOURLY, WEEKLY, Application
from tests.doubles.monitor import KEY, Monitor
from tests.leaks import leaks
from tests.runs import playbook
from tests.servers import Server
from tests.vtchat import plans

TOKEN = "TOKENzq7 %40@#'\"é" + "x" * 20
HEADER_TOKEN = "TOKENzq7-%40@#" + "x" * 20
PLAN = {
    "budget": 60,
    "steps": [{"analyze": {"tables": ["pg_catalog.pg_class"]}}],
    "endpoint": {"path": HOURLY, "health": HEALTH, "repeat": True},
}
WITHOUT_HEALTH = {"maintenance_plans": {"hourly": {"endpoint": {"path": HOURLY}}}}


@dataclass
class Case:
    """Variables of the role beside those of a run by endpoint (None: not set), and what came of it.

    keywords  of the role's task
    """

    variables: dict[str, Any] = field(default_factory=dict)
    keywords: dict[str, Any] = field(default_factory=dict)
    application: Application = field(default_factory=lambda: Application(HEADER_TOKEN))
    result: dict[str, Any] = field(default_factory=dict)
    monitor: Monitor | None = None

    def task(self) -> dict[str, Any]:
        """The role. A failure does not end the play."""
        known = {
            "maintenance_transport": "endpoint",
            "maintenance_endpoint_url": self.application.url + "/",
            "maintenance_endpoint_token": HEADER_TOKEN,
            "maintenance_plans": {"hourly": PLAN},
            **self.variables,
        }
        known = {name: value for name, value in known.items() if value is not None}
        role = {"name": "maintenance", **({"apply": self.keywords} if self.keywords else {})}
        return {
            "block": [{"ansible.builtin.include_role": role, "vars": known}],
            "rescue": [{"ansible.builtin.debug": {"msg": "it failed"}}],
        }


def run(directory: Path, cases: list[Case], *arguments: str) -> str:
    """All cases in one playbook. Each gets its result; the output is returned."""
    tasks = [case.task() for case in cases]
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    done = playbook(directory, plays, {"ansible_python_interpreter": sys.executable}, *arguments)
    runs = json.loads((directory / "summary.json").read_text(encoding="utf-8"))["runs"]
    assert len(runs) == len(cases), done.stdout
    for case, result in zip(cases, runs):
        case.result = result
        case.application.close()
    return " ".join((done.stdout + done.stderr).split())


MISSING: list[tuple[dict[str, Any], str]] = [
    ({"maintenance_transport": "direct", "maintenance_dsn": None}, "maintenance_dsn is required"),
    ({"maintenance_endpoint_url": None}, "maintenance_endpoint_url is required"),
    ({"maintenance_endpoint_token": None}, "maintenance_endpoint_token is required"),
    ({"maintenance_plans": {"hourly": {"steps": []}}}, "the plan hourly has no endpoint"),
    (
        {"maintenance_plans": {"hourly": {"step": []}}},
        "maintenance_plans.hourly: there is no step, did you mean steps?",
    ),
    (
        {"maintenance_plans": [1]},
        "maintenance_plans: it must be a mapping of names to plans, and it is a list",
    ),
    ({"maintenance_transport": "carrier pigeon"}, "maintenance_transport"),
]


@pytest.fixture(scope="module")
def played(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Case]]]:
    """The output, and the cases by name."""
    database = server.create_database()
    cases = {
        "endpoint": Case(),
        "direct": Case({"maintenance_transport": "direct", "maintenance_dsn": database.dsn}),
        "check": Case(keywords={"check_mode": True}),
        "no health": Case(WITHOUT_HEALTH),
        "no repetition": Case(WITHOUT_HEALTH),
        "weekly": Case({"maintenance_plan": "weekly", "maintenance_plans": plans()}),
        **{said: Case(variables) for variables, said in MISSING},
    }
    cases["no repetition"].application.fail(503, "<html>", method="POST")
    monitor = Monitor()
    for name, due in (("endpoint", "1h"), ("check", None), ("no repetition", None)):
        cases[name].monitor = monitor
        cases[name].variables = {
            "maintenance_ping_url": f"{monitor.url}/{KEY}/{name.replace(' ', '-')}-{{plan}}",
            **({"maintenance_due": "auto", "maintenance_plans": {"hourly": {**PLAN, "every": due}}} if due else {}),
            **cases[name].variables,
        }
    yield run(tmp_path_factory.mktemp("transport"), list(cases.values())), cases
    monitor.close()
    database.close()


def test_endpoint_has_the_form_of_a_direct_run(played: tuple[str, dict[str, Case]]) -> None:
    output, cases = played
    far, direct = cases["endpoint"].result, cases["direct"].result
    assert cases["endpoint"].application.done[HOURLY] == 1
    assert [action["outcome"] for action in far["actions"]] == ["unchanged", "done"]
    assert "done endpoint /api/cron/database-maintenance" in output
    # An application keeps no history for us.
    assert set(direct) - {"run_id", "warnings", "counters"} <= set(far) | {"run_id", "warnings"}
    assert set(direct["actions"][0]) <= set(far["actions"][0])
    assert (far["plan"], far["budget"]) == (direct["plan"], direct["budget"]) == ("hourly", 60)


def test_an_endpoint_has_no_history_and_is_watched_by_a_monitor_too(played: tuple[str, dict[str, Case]]) -> None:
    _output, cases = played
    far, monitor = cases["endpoint"].result, cases["endpoint"].monitor
    assert (far["schedule"], far["retries"], far["recent"]) == ({"every": "1h"}, 0, [])
    [warning] = far["warnings"]
    assert (
        "hourly: it is not known when it last succeeded (transport: endpoint), so it counts as due each time" in warning
    )
    assert monitor is not None
    assert monitor.heard() == [
        "endpoint-hourly/start",
        "endpoint-hourly",
        "no-repetition-hourly/start",
        "no-repetition-hourly/fail",
    ]
    assert KEY not in _output


def test_check_mode_asks_only_for_the_health(played: tuple[str, dict[str, Case]]) -> None:
    case = played[1]["check"]
    assert case.application.done[HOURLY] == 0
    assert case.result["actions"][-1]["outcome"] == "planned"


def test_a_plan_may_ask_for_no_health(played: tuple[str, dict[str, Case]]) -> None:
    _output, cases = played
    assert [(one.method, one.path) for one in cases["no health"].application.requests] == [("POST", HOURLY)]
    # Repeating is off unless the plan says otherwise.
    assert cases["no repetition"].result["status"] == "failed"
    assert len(cases["no repetition"].application.seen("POST")) == 1


def test_the_weekly_plan_of_vtchat_by_its_endpoint(played: tuple[str, dict[str, Case]]) -> None:
    case = played[1]["weekly"]
    assert (case.result["plan"], case.result["status"]) == ("weekly", "ok")
    assert (case.application.done[WEEKLY], case.application.done[HOURLY]) == (1, 0)


@pytest.mark.parametrize("said", [said for _variables, said in MISSING])
def test_what_is_missing_is_told(played: tuple[str, dict[str, Case]], said: str) -> None:
    output, cases = played
    assert said in output
    result = cases[said].result
    assert said in result["msg"]
    assert (result["status"], result["actions"]) == ("failed", [])
    assert cases[said].application.requests == []


def test_the_inventory_needs_only_what_the_transport_needs(tmp_path: Path) -> None:
    application = Application(HEADER_TOKEN)
    inventory = str(Path(__file__).resolve().parents[2] / "inventories" / "production")
    role = {"connection": "local", "gather_facts": False, "roles": ["maintenance"]}
    play = [{"hosts": "vtchat_production", **role}]
    empty = {"DATABASE_URL": "", "PRODUCTION_DATABASE_URL": "", "CRON_SECRET_TOKEN": ""}
    for environment, transport, outcome in (
        ({"CRON_SECRET_TOKEN": HEADER_TOKEN, "FLY_APP_URL": application.url}, "endpoint", "done"),
        ({}, "endpoint", "set CRON_SECRET_TOKEN to the token"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:9/x"}, "direct", "Connection refused"),
        ({}, "direct", "set PRODUCTION_DATABASE_URL"),
    ):
        variables = {"maintenance_transport": transport, "maintenance_connect_deadline": 0.1}
        done = playbook(tmp_path, play, variables, "-i", inventory, environment={**empty, **environment})
        assert outcome in " ".join(done.stdout.split()), done.stdout
    application.close()
    assert application.done[HOURLY] == 1


def test_the_token_does_not_come_out(tmp_path: Path) -> None:
    failing = Case()
    failing.application.fail_maintenance(times=9)
    tokens = [Case({"maintenance_endpoint_token": token}) for token in (HEADER_TOKEN + "x", TOKEN, [TOKEN])]
    nobody = Case({"maintenance_endpoint_url": "http://127.0.0.1:9"})
    cases = [Case(), failing, *tokens, nobody]
    output = run(tmp_path, cases, "-vvvv", "--diff")
    assert [case.result["status"] for case in cases] == ["ok", *["failed"] * 5]
    assert leaks(tmp_path, ["zq7", TOKEN, HEADER_TOKEN], output) == []
    assert "zq7" in (tmp_path / "play.yml").read_text("utf-8")
