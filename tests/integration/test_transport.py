# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role maintenance by either transport: directly, or by the application's own endpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.app import HEALTH, HOURLY, Application
from tests.runs import playbook
from tests.servers import Database

TOKEN = "TOKENzq7 %40@#'\"é" + "x" * 20
HEADER_TOKEN = "TOKENzq7-%40@#" + "x" * 20
PLAY = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["maintenance"]}]


@pytest.fixture
def application() -> Iterator[Application]:
    double = Application(HEADER_TOKEN)
    yield double
    double.close()


def run(directory: Path, *arguments: str, **variables: Any) -> tuple[str, list[dict[str, Any]]]:
    """The output, and what the run says for machines."""
    plan = {
        "budget": 60,
        "steps": [{"analyze": {"tables": ["pg_catalog.pg_class"]}}],
        "endpoint": {"path": HOURLY, "health": HEALTH, "repeat": True},
    }
    known = {"maintenance_plans": {"hourly": plan}, "ansible_python_interpreter": sys.executable, **variables}
    done = playbook(directory, PLAY, known, *arguments)
    runs = json.loads((directory / "summary.json").read_text(encoding="utf-8"))["runs"]
    return " ".join((done.stdout + done.stderr).split()), runs


def by_endpoint(application: Application) -> dict[str, Any]:
    return {
        "maintenance_transport": "endpoint",
        "maintenance_endpoint_url": application.url + "/",
        "maintenance_endpoint_token": HEADER_TOKEN,
    }


def test_endpoint_has_the_form_of_a_direct_run(application: Application, database: Database, tmp_path: Path) -> None:
    output, (far,) = run(tmp_path, **by_endpoint(application))
    assert application.done[HOURLY] == 1
    assert [action["outcome"] for action in far["actions"]] == ["unchanged", "done"]
    assert "done endpoint /api/cron/database-maintenance" in output
    output, (direct,) = run(tmp_path, maintenance_dsn=database.dsn)
    assert set(direct) - {"run_id", "warnings"} <= set(far) | {"run_id", "warnings"}
    assert set(direct["actions"][0]) <= set(far["actions"][0])
    assert (far["plan"], far["budget"]) == (direct["plan"], direct["budget"]) == ("hourly", 60)


def test_the_inventory_needs_only_what_the_transport_needs(application: Application, tmp_path: Path) -> None:
    inventory = str(Path(__file__).resolve().parents[2] / "inventories" / "production")
    play = [{**PLAY[0], "hosts": "vtchat_production"}]
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
    assert application.done[HOURLY] == 1


def test_check_mode_asks_only_for_the_health(application: Application, tmp_path: Path) -> None:
    _output, (far,) = run(tmp_path, "--check", **by_endpoint(application))
    assert application.done[HOURLY] == 0
    assert far["actions"][-1]["outcome"] == "planned"


def test_a_plan_may_ask_for_no_health(application: Application, tmp_path: Path) -> None:
    plans = {"hourly": {"endpoint": {"path": HOURLY}}}
    run(tmp_path, **by_endpoint(application), maintenance_plans=plans)
    assert [(one.method, one.path) for one in application.requests] == [("POST", HOURLY)]
    # Repeating is off unless the plan says otherwise.
    application.fail(503, "<html>", method="POST")
    _output, (far,) = run(tmp_path, **by_endpoint(application), maintenance_plans=plans)
    assert far["status"] == "failed"
    assert len(application.seen("POST")) == 2


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"maintenance_transport": "direct", "maintenance_dsn": None}, "maintenance_dsn is required"),
        ({"maintenance_endpoint_url": None}, "maintenance_endpoint_url is required"),
        ({"maintenance_endpoint_token": None}, "maintenance_endpoint_token is required"),
        ({"maintenance_plans": {"hourly": {"steps": []}}}, "the plan hourly has no endpoint"),
        (
            {"maintenance_plans": {"hourly": {"step": []}}},
            "maintenance_plans.hourly: there is no step, did you mean steps?",
        ),
        ({"maintenance_plans": [1]}, "maintenance_plans: it must be a mapping of names to plans, and it is a list"),
        ({"maintenance_transport": "carrier pigeon"}, "maintenance_transport"),
    ],
)
def test_what_is_missing_is_told(
    application: Application, tmp_path: Path, variables: dict[str, Any], said: str
) -> None:
    given = {**by_endpoint(application), **variables}
    output, runs = run(tmp_path, **{name: value for name, value in given.items() if value is not None})
    assert said in output
    assert [(one["status"], one["actions"]) for one in runs] == [("failed", [])]
    assert application.requests == []


def test_the_token_does_not_come_out(application: Application, tmp_path: Path) -> None:
    given = by_endpoint(application)
    outputs = [run(tmp_path, "-vvvv", "--diff", **given)[0]]
    application.fail_maintenance(times=9)
    outputs.append(run(tmp_path, "-vvvv", **given)[0])
    for token in (HEADER_TOKEN + "x", TOKEN):
        outputs.append(run(tmp_path, "-vvvv", **{**given, "maintenance_endpoint_token": token})[0])
    outputs.append(run(tmp_path, "-vvvv", **{**given, "maintenance_endpoint_token": [TOKEN]})[0])
    outputs.append(run(tmp_path, "-vvvv", **{**given, "maintenance_endpoint_url": "http://127.0.0.1:9"})[0])
    kept = [path.read_text("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    inputs = (tmp_path / "variables.json").read_text("utf-8")
    assert [text for text in [*outputs, *kept] if "zq7" in text and text != inputs] == []
    assert "zq7" in inputs
