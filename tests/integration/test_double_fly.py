# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double of Fly is as strict as its documents: a client that does something else cannot pass a test with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.doubles.fly import Fly

SECRETS = "/v1/apps/shop/secrets"
GOOD = {"Authorization": "FlyV1 fm2_good", "Content-Type": "application/json"}


@pytest.fixture
def fly() -> Iterator[Fly]:
    double = Fly()
    double.add_app("shop", "fm2_good")
    yield double
    double.violations.clear()  # they are what these tests are about
    double.close()


def send(fly: Fly, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(fly.url + path, data, headers or GOOD, method=method)) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", "/v1/apps/shop", None, GOOD),
        ("PUT", SECRETS, {"values": {}}, GOOD),
        ("POST", "/v1/apps/shop/secretkeys/A", {"values": {}}, GOOD),
        ("POST", "/v1/apps/shop/machines/m/restart", None, GOOD),
        ("GET", SECRETS + "?names=A", None, GOOD),
        ("POST", SECRETS, {"secrets": [{"key": "A", "value": "v"}]}, GOOD),
        ("POST", SECRETS, {"values": {"A": 1}}, GOOD),
        ("POST", SECRETS, {"values": {}, "stage": True}, GOOD),
        ("POST", SECRETS, {"values": {}}, {**GOOD, "Content-Type": "text/plain"}),
        ("POST", SECRETS, None, GOOD),
        ("GET", SECRETS, None, {"Authorization": "Bearer fm2_good"}),
        ("GET", SECRETS, None, {"Authorization": "FlyV1 fm2_good, fm2_other"}),
        ("GET", SECRETS, None, {"Authorization": "FlyV1 oauth"}),
        ("GET", SECRETS, None, {"Authorization": "Basic eDp5"}),
        ("GET", SECRETS, None, {"Accept": "application/json"}),
    ],
)
def test_what_is_not_documented_fails_the_test(
    fly: Fly, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    status, _body = send(fly, method, path, body, headers)
    assert status >= 400
    assert len(fly.violations) == 1
    with pytest.raises(AssertionError):
        fly.close()
    assert fly.apps["shop"].version == 0


def test_what_is_documented_passes(fly: Fly) -> None:
    status, body = send(fly, "POST", SECRETS, {"values": {"A": "v", "GONE": None}})
    assert (status, body["version"], [one["name"] for one in body["secrets"]]) == (200, 1, ["A"])
    assert "value" not in body["secrets"][0]
    for parameter in ("min_version", "version"):
        assert send(fly, "GET", f"{SECRETS}?{parameter}=1")[0] == 200
    machine = fly.add_machine("shop")
    path = f"/v1/apps/shop/machines/{machine.id}"
    assert send(fly, "GET", path)[1]["version"] == machine.version
    update = {"config": machine.config, "current_version": machine.version, "min_secrets_version": 1}
    assert send(fly, "POST", path, update)[0] == 200
    assert send(fly, "POST", path, update)[0] == 409
    assert send(fly, "POST", path, {"config": {}, "min_secrets_version": 2})[0] == 412
    assert fly.violations == []


def test_an_answer_that_breaks_the_schema_is_the_doubles_own_fault(fly: Fly) -> None:
    fly.add_machine("shop").state = None  # type: ignore[assignment]
    send(fly, "GET", "/v1/apps/shop/machines")
    assert "own answer" in fly.violations[0]


@pytest.mark.parametrize(
    ("token", "app", "status"), [("fm2_bad", "shop", 401), ("fm2_good", "other", 403), ("fm2_good", "none", 404)]
)
def test_refusals(fly: Fly, token: str, app: str, status: int) -> None:
    fly.add_app("other", "fm2_other")
    assert send(fly, "GET", f"/v1/apps/{app}/secrets", headers={"Authorization": f"FlyV1 {token}"})[0] == status
    assert fly.violations == []
