# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever a service answers with 200, at whichever call: a result or a message, never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import (
    endpoint,
    fly_secrets,
    github_secrets,
    shared_secrets,
)
from tests.doubles import contract
from tests.doubles.app import HEALTH, HOURLY, Application
from tests.doubles.fly import Fly
from tests.doubles.github import GitHub
from tests.doubles.service import Reply, Request, Service
from tests.services import Performer, answer

GITHUB_TOKEN, FLY_TOKEN, KEY = "github_pat_11TOKEN", "fm2_lJPECtoken", "k" * 32
ODD: tuple[Any, ...] = (None, [], {}, "x\x1b[2J", "\ud800", "..", 5, True, [None], [{"id": ".."}])
NOT_JSON = (b"\xff\xfe", b"[" * 200_000, b"<html>", b"9" * 10_000, b'{"a":')
Call = tuple[str, str]


def mutations(body: Any) -> Iterator[Any]:
    """The body with each of its parts, one at a time, replaced by something odd or taken away; the first of very many."""
    yield from ODD
    for path in islice(paths(body), 20):
        for odd in ODD:
            changed = copy.deepcopy(body)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = odd
            yield changed
        changed = copy.deepcopy(body)
        place = changed
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        yield changed


def paths(body: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The parts of a body; of a list the first entry stands for all."""
    keys = list(body) if isinstance(body, dict) else [0] if isinstance(body, list) and body else []
    for key in keys:
        yield (*above, key)
        yield from paths(body[key], (*above, key))


def answers(services: list[Service], monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> dict[Call, Any]:
    """What is answered to each request of a run with 2xx, by service, method and path."""
    found: dict[Call, Any] = {}
    for service in services:

        def decorate(request: Request, reply: Reply, own: Any = service.decorate, url: str = service.url) -> Reply:
            if reply.status // 100 == 2:
                found.setdefault((url, request.method + " " + request.path), copy.deepcopy(reply.body))
            answer: Reply = own(request, reply)
            return answer

        monkeypatch.setattr(service, "decorate", decorate)
    run()
    return found


def hold(services: list[Service], monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> int:
    """Run against every odd answer at every call."""
    found = dict(answers(services, monkeypatch, run))
    tried = 0
    for service in services:
        for (url, call), body in found.items():
            method, _space, path = call.partition(" ")
            for odd in (*mutations(body), *NOT_JSON) if url == service.url else ():
                service.fail(200, odd if isinstance(odd, bytes) else json.dumps(odd).encode(), method=method, path=path)
                try:
                    result = run()
                except MaintenanceError as error:
                    result = {"msg": str(error), "warnings": []}
                said = result["msg"] + "".join(result["warnings"])
                assert result["msg"], (call, odd)
                assert "\x1b" not in said, (call, odd)
                said.encode("utf-8")
                service._faults.clear()
                tried += 1
        # What a client of odd answers asks for may not exist.
        service.violations.clear()
    return tried


@pytest.fixture
def github() -> Iterator[GitHub]:
    double = GitHub(contract.load(), GITHUB_TOKEN)
    yield double
    double.close()


@pytest.fixture
def fly() -> Iterator[Fly]:
    double = Fly()
    double.add_app("shop", FLY_TOKEN)
    yield double
    double.close()


SHORT: dict[str, Any] = {"patience": 0, "timeout": 5}


def by_endpoint(application: Application, **more: Any) -> dict[str, Any]:
    """What the module endpoint returns."""
    given = {"url": application.url + HOURLY, "token": "a-token", "plan": "p", "budget": 120.0, **more}
    return answer(endpoint, **given)


@pytest.mark.parametrize("where", ["repository", "organization"])
def test_github(github: GitHub, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    place: dict[str, Any] = {"repository": "example/app", "environment": None}
    if where == "organization":
        place = {"organization": "example", "visibility": "selected", "selected_repositories": ["app"]}
    given = dict(
        **SHORT, **place, token=GITHUB_TOKEN, api_url=github.url, secrets={"A": "value"},
        variables={"V": "v"}, fingerprint_key=KEY, purge=["variables"],
    )  # fmt: skip
    assert hold([github], monkeypatch, lambda: answer(github_secrets, **given)) > 100


def test_fly(fly: Fly, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fly.add_machine("shop")
    given = dict(
        **SHORT, app="shop", token=FLY_TOKEN, api_url=fly.url, secrets={"A": "value"}, deploy=True,
        fingerprint_key=KEY, fingerprint_file=str(tmp_path / "kept"), wait_timeout=0.05,
    )  # fmt: skip
    assert hold([fly], monkeypatch, lambda: answer(fly_secrets, **given)) > 100


def test_both(github: GitHub, fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(
        **SHORT, secrets={"A": ""}, repository="example/app", app="shop", fingerprint_key=KEY,
        github_token=GITHUB_TOKEN, github_api_url=github.url, fly_token=FLY_TOKEN, fly_api_url=fly.url, rotate=True,
    )  # fmt: skip
    assert hold([github, fly], monkeypatch, lambda: answer(shared_secrets, **given)) > 100


def test_application(monkeypatch: pytest.MonkeyPatch) -> None:
    application = Application("a-token")
    application.health["issues"] = ["one"]
    assert hold([application], monkeypatch, lambda: by_endpoint(application, health_url=application.url + HEALTH)) > 100
    application.close()


def test_no_module_takes_a_null_byte(github: GitHub, fly: Fly) -> None:
    nul: dict[str, Any] = {"secrets": {"A": "x" * 40 + "\0"}, **SHORT}
    both = {"github_api_url": github.url, "github_token": GITHUB_TOKEN, "fly_api_url": fly.url, "fly_token": FLY_TOKEN}
    places: list[tuple[Performer, dict[str, Any]]] = [
        (github_secrets, {"repository": "a/b", "api_url": github.url, "token": "t"}),
        (fly_secrets, {"app": "shop", "api_url": fly.url, "token": "fm2_t"}),
        (shared_secrets, {"repository": "a/b", "app": "shop", **both}),
    ]
    for service, given in places:
        with pytest.raises(OptionError, match="null byte"):
            answer(service, **nul, **given)
    assert github.requests == fly.requests == []


@pytest.mark.parametrize("value", ["no", "yes", "true", 1, 0, None, [], {}, "\x1b[2J"])
def test_only_true_is_healthy(value: Any) -> None:
    application = Application("a-token")
    application.health = {"healthy": value}
    result = by_endpoint(application)
    assert (result["status"], result["changed"], application.done[HOURLY]) == ("failed", True, 1)
    assert f"healthy: {json.dumps(value)}".replace("\\u001b", "\\x1b") in result["msg"].replace("\\u001b", "\\x1b")
    # And asked beforehand: nothing is started.
    application.fail(200, {"status": "ok", "healthy": value}, method="GET")
    asked = by_endpoint(application, health_url=application.url + HEALTH)
    assert (asked["status"], application.done[HOURLY]) == ("failed", 1)
    application.close()


def test_what_an_application_reports_cannot_speak_to_a_terminal() -> None:
    application = Application("a-token")
    application.health = {"healthy": False, "issues": ["\x1b]0;title\x07\r\n::error::x \u202e", {"a": "\x9b"}]}
    result = by_endpoint(application)
    assert all(warning.isprintable() for warning in result["warnings"])
    application.fail(500, {"success": False, "error": "\x1b[2J"}, method="POST")
    assert by_endpoint(application)["msg"].isprintable()
    application.close()
