# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""endpoint against a small server with the application's contract: one call, a result that can be believed, no token astray."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import endpoint
from tests.doubles.app import HEALTH, HOURLY, PAGE, WEEKLY, Application
from tests.doubles.service import CUT, CUT_AFTER, SILENCE, SILENCE_AFTER, TRICKLE, Reply, Request, Service
from tests.leaks import leaks
from tests.runs import playbook
from tests.services import answer, impatient

TOKEN = "Zq7%40#p-'\"ß".encode().hex() + "%@#'\"end"


@pytest.fixture
def application() -> Iterator[Application]:
    double = Application(TOKEN)
    yield double
    double.close()


@pytest.fixture
def pauses(application: Application) -> list[float]:
    """The pauses that were made between attempts; none of them is waited for."""
    return application.pauses


def call(
    application: Application,
    path: str = HOURLY,
    check: bool = False,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> dict[str, Any]:
    given = {
        "url": application.url + path,
        "health_url": application.url + HEALTH,
        "token": TOKEN,
        "plan": "hourly",
        "budget": 300.0,
        **options,
    }
    return answer(endpoint, check, impatient(application.pauses, clock), **given)


def found(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(one["check"], one["subject"], one["level"], one["message"]) for one in result["findings"]]


def outcomes(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(action["operation"], action["outcome"]) for action in result["actions"]]


@pytest.mark.parametrize("path", [HOURLY, WEEKLY])
def test_a_success_has_the_form_of_a_run(application: Application, path: str) -> None:
    result = call(application, path)
    assert outcomes(result) == [("health", "unchanged"), ("endpoint", "done")]
    assert application.done[path] == 1
    assert (result["changed"], result["status"], result["plan"], result["turns"]) == (True, "ok", "hourly", 2)
    assert result["totals"] == {"unchanged": 1, "done": 1}
    assert result["actions"][1]["target"] == path
    assert result["actions"][1]["numbers"]["stats"] == {"dead_tuples": 12, "expired_sessions": 0}
    assert "failed" not in result


def test_check_mode_asks_and_does_not_tell(application: Application) -> None:
    result = call(application, check=True)
    assert outcomes(result) == [("health", "unchanged"), ("endpoint", "planned")]
    assert application.done[HOURLY] == 0
    assert not application.seen("POST")


def test_issues_of_the_database_are_told(application: Application) -> None:
    application.health = {"healthy": False, "issues": ["3 unused\nindexes"], "stats": None}
    result = call(application)
    assert result["status"] == "ok"
    assert result["actions"][1]["numbers"]["issues"] == ["3 unused indexes"]
    assert found(result) == [("application-health", HOURLY, "warning", "3 unused indexes")]
    application.health = {"healthy": False}
    assert [one[2] for one in found(call(application))] == ["critical"]
    application.health = {"healthy": True, "issues": []}
    assert {one[2] for one in found(call(application))} == {"info"}


def test_only_its_health_is_asked_without_the_token(application: Application) -> None:
    result = call(application, url=None, token=None, plan="health")
    assert outcomes(result) == [("health", "unchanged")]
    assert found(result) == [("application-health", HEALTH, "info", "the application is healthy")]
    assert (result["server"]["target"], application.seen("POST")) == (HEALTH, [])
    application.status = "degraded"
    ill = call(application, url=None, token=None, plan="health")
    assert ill["failed"]
    assert found(ill) == [("application-health", HEALTH, "critical", "the application says that it is degraded")]


def test_what_an_application_says_beside_the_status_503_is_told(application: Application, pauses: list[float]) -> None:
    body = {"status": "unhealthy", "issues": ["no database", "::error::disk\nfull"]}
    for said, fault in ((body, "that it is unhealthy"), ({"issues": body["issues"]}, "so with status 503")):
        application.fail(503, said, method="GET", times=100)
        result = call(application, url=None, token=None, plan="health")
        assert outcomes(result) == [("health", "failed")]
        assert found(result) == [
            ("application-health", HEALTH, "critical", f"the application says {fault}"),
            ("application-health", HEALTH, "warning", "no database"),
            ("application-health", HEALTH, "warning", "\\x3a:error::disk full"),
        ]
        application._faults.clear()
    assert pauses


def test_an_application_that_is_not_healthy_is_left_alone(application: Application) -> None:
    application.status = "degraded"
    result = call(application)
    assert outcomes(result) == [("health", "failed"), ("endpoint", "skipped")]
    assert "degraded" in result["msg"]
    assert application.done[HOURLY] == 0


def test_health_is_asked_again_while_the_application_starts(application: Application, pauses: list[float]) -> None:
    application.fail(503, {}, method="GET", times=2)
    result = call(application)
    assert outcomes(result) == [("health", "unchanged"), ("endpoint", "done")]
    assert len(pauses) == 2


def test_without_a_health_address_nobody_is_asked(application: Application) -> None:
    assert outcomes(call(application, health_url=None)) == [("endpoint", "done")]
    assert not application.seen("GET")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 401, "body": {"error": "Unauthorized"}}, "refuses the token"),
        ({"status": 403, "body": {"error": "no"}}, "does not let this caller in"),
        ({"status": 404, "body": PAGE, "headers": {"Content-Type": "text/html"}}, "no such endpoint"),
        ({"status": 200, "body": PAGE, "headers": {"Content-Type": "text/html"}}, "not JSON"),
        ({"status": 200, "body": [1]}, "does not say whether it was a success"),
        ({"status": 200, "body": {"success": "yes"}}, "does not say whether it was a success"),
        ({"status": 200, "body": {"success": False, "error": "view locked"}}, "failed: view locked"),
        ({"status": 500, "body": {"success": False, "error": "Maintenance failed"}}, "failed: Maintenance failed"),
        ({"status": 502, "body": PAGE}, "something before it, has a fault"),
        ({"kind": CUT}, "still be at it"),
        ({"kind": CUT_AFTER}, "still be at it"),
    ],
)
def test_each_failure_is_told_for_what_it_is(application: Application, fault: dict[str, Any], words: str) -> None:
    application.fail(method="POST", **fault)
    result = call(application)
    assert outcomes(result)[1] == ("endpoint", "failed")
    assert result.get("failed")
    assert words in result["msg"]
    assert len(application.seen("POST")) == 1
    assert not result["changed"]


def test_a_wrong_token_is_not_a_fault_of_the_application(application: Application) -> None:
    result = call(application, token="something else altogether")
    assert "refuses the token" in result["msg"]
    assert "has a fault" not in result["msg"]


def test_an_answer_that_breaks_off_is_no_success(application: Application) -> None:
    body = '{"success": true, "timestamp": "2026-01-01T00:00:00Z"}'
    application.fail(200, body, method="POST", headers={"Content-Length": "500"})
    result = call(application)
    assert "broke off" in result["msg"]
    assert result.get("failed")


@pytest.mark.parametrize("kind", [CUT, CUT_AFTER])
def test_the_call_is_repeated_where_that_does_no_harm(application: Application, pauses: list[float], kind: str) -> None:
    application.fail(kind=kind, method="POST", times=3)
    result = call(application, repeat=True)
    assert outcomes(result)[1] == ("endpoint", "done")
    assert result["actions"][1]["numbers"]["attempts"] == 4
    assert [0.3 < pauses[0] < 0.7, 0.7 < pauses[1] < 1.3, 1.4 < pauses[2] < 2.6] == [True] * 3


def test_there_is_an_end_to_repetitions(application: Application, pauses: list[float]) -> None:
    application.fail(503, {}, method="POST", times=100)
    assert call(application, repeat=True).get("failed")
    assert len(application.seen("POST")) == 5


def test_what_the_application_itself_calls_a_failure_is_not_repeated(
    application: Application, pauses: list[float]
) -> None:
    application.fail_maintenance()
    assert call(application, repeat=True).get("failed")
    assert len(application.seen("POST")) == 1


def test_a_refusal_for_too_many_requests_did_nothing_and_is_repeated(
    application: Application, pauses: list[float]
) -> None:
    application.fail(429, {"error": "slow down"}, method="POST", headers={"Retry-After": "3"})
    result = call(application)
    assert outcomes(result)[1] == ("endpoint", "done")
    assert pauses == [3.0]
    assert application.done[HOURLY] == 1


def test_a_pause_beyond_the_budget_is_not_begun(application: Application, pauses: list[float]) -> None:
    application.fail(429, {"error": "slow down"}, method="POST", headers={"Retry-After": "3600"})
    result = call(application)
    assert result.get("failed")
    assert pauses == []


@pytest.mark.parametrize("kind", [SILENCE, SILENCE_AFTER, TRICKLE])
def test_the_budget_ends_the_wait(application: Application, kind: str) -> None:
    application.fail(kind=kind, method="POST", times=9)
    began = time.monotonic()

    def clock() -> float:
        """It goes on when the application has been told, however long that took."""
        return time.monotonic() if application.seen("POST") else began

    result = call(application, clock=clock, health_url=None, budget=0.5, repeat=True)
    assert time.monotonic() - began < 120
    assert result.get("failed")
    assert "answer in time" in result["msg"]
    assert "still be at it" in result["msg"]


class Elsewhere(Service):
    """Where a redirect leads: whatever comes here is too much."""

    def handle(self, request: Request) -> Reply:
        return Reply(200, {"success": True})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_follows_no_redirect(application: Application, status: int, method: str) -> None:
    other = Elsewhere()
    application.fail(status, PAGE, method=method, headers={"Location": other.url + HOURLY})
    result = call(application)
    other.close()
    assert result.get("failed")
    assert "has moved" in result["msg"]
    assert other.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://app.example.com/x"}, "url: it must begin with https://"),
        ({"health_url": "http://app.example.com/x"}, "health_url: it must begin with https://"),
        ({"url": "https://user:pw@app.example.com/x"}, "url: it must have the form"),
        ({"url": "https://app.example.com/ä"}, "url: what is not an ASCII"),
        ({"token": " \n"}, "token: it is empty"),
        ({"token": "two\nlines"}, "token: it is empty or holds"),
        ({"budget": 0.0}, "budget: must be more than 0"),
    ],
)
def test_faulty_options_are_found_before_any_call(
    application: Application, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        call(application, **options)
    assert application.requests == []


def test_a_token_that_the_application_repeats_is_taken_out(application: Application) -> None:
    application.health = {
        "healthy": False,
        "issues": [f"I got {TOKEN}"],
        "stats": {"you": TOKEN, "hex": TOKEN.encode().hex()},
    }
    result = call(application)
    assert result["findings"][0]["message"] == "I got ********"
    assert result["actions"][1]["numbers"]["stats"] == {"you": "********", "hex": "********"}


def test_as_a_module_nothing_shows_the_token(application: Application, tmp_path: Path) -> None:
    other = Application("another")
    application.fail(200, PAGE + TOKEN, method="POST", path=WEEKLY)
    good = {"plan": "hourly", "token": "{{ token }}", "budget": 200, "health_url": application.url + HEALTH}
    good["url"] = application.url + HOURLY
    # By name: whether it passes, and how it differs from one that does.
    modes: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
        "success": (True, {}, {}),
        "check": (True, {}, {"check_mode": True}),
        "wrong token": (False, {"url": other.url + HOURLY, "health_url": other.url + HEALTH}, {}),
        "unreachable": (False, {"url": "http://127.0.0.1:9/"}, {}),
        "no JSON": (False, {"url": application.url + WEEKLY}, {}),
        "wrong type": (False, {"budget": "{{ token }}"}, {}),
    }
    tasks: list[dict[str, Any]] = []
    for name, (passes, changes, keywords) in modes.items():
        task = {"name": name, "vtchat.maintenance.endpoint": {**good, **changes}, **keywords}
        tasks += [{**task, "register": "done", "ignore_errors": True}, {"ansible.builtin.debug": {"var": "done"}}]
        tasks.append({"ansible.builtin.assert": {"that": f"done is {'not ' if passes else ''}failed"}})
    plays = [{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}]
    variables = {"token": TOKEN, "ansible_python_interpreter": sys.executable}
    run = playbook(tmp_path, plays, variables, "-vvvv", "--diff")
    other.close()
    assert run.returncode == 0, run.stdout
    assert leaks(tmp_path, [TOKEN], run.stdout, run.stderr) == []
    assert "hourly on localhost: ok" in run.stdout
    assert "the application reports success and a healthy database" in " ".join(run.stdout.split())
    assert application.done[HOURLY] == 1
