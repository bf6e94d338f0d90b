# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double of GitHub refuses what GitHub refuses: what a test against it proves depends on that."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox

from tests.doubles import contract
from tests.doubles.github import GitHub

SECRETS = "/repos/example/app/actions/secrets"
VARIABLES = "/repos/example/app/actions/variables"


@pytest.fixture
def github() -> Iterator[GitHub]:
    double = GitHub(contract.load(), "right")
    yield double
    double.violations.clear()
    double.close()


def call(github: GitHub, method: str, path: str, body: Any = None, bearer: str = "right") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    request = Request(github.url + path, data=data, headers=headers, method=method)  # noqa: S310 - loopback
    try:
        with build_opener(ProxyHandler({})).open(request) as response:
            raw = response.read()
            return response.status, json.loads(raw) if raw else None
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def sealed(github: GitHub, key: PublicKey | None = None) -> dict[str, str]:
    _status, given = call(github, "GET", f"{SECRETS}/public-key")
    box = SealedBox(key or PublicKey(base64.b64decode(given["key"])))
    return {"key_id": given["key_id"], "encrypted_value": base64.b64encode(box.encrypt(b"value")).decode()}


def test_what_is_right_is_taken(github: GitHub) -> None:
    assert call(github, "PUT", f"{SECRETS}/X", sealed(github)) == (201, {})
    assert call(github, "PUT", f"{SECRETS}/x", sealed(github)) == (204, None)
    assert github.places["example/app"].values() == {"X": "value"}
    assert call(github, "POST", VARIABLES, {"name": "V", "value": "1"}) == (201, {})
    assert github.violations == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", f"{SECRETS}/X", {"key_id": "5000000", "encrypted_value": "AAAA"}, 422),
        ("PUT", f"{SECRETS}/GITHUB_X", None, 422),
        ("PUT", f"{SECRETS}/1X", None, 422),
        ("DELETE", f"{SECRETS}/NEVER_WAS", None, 404),
        ("PATCH", f"{VARIABLES}/NEVER_WAS", {"value": "1"}, 404),
        ("GET", "/repos/example/nowhere/actions/secrets", None, 404),
        ("GET", "/repos/example/app/environments/nowhere/secrets", None, 404),
    ],
)
def test_what_github_refuses(github: GitHub, method: str, path: str, body: Any, status: int) -> None:
    body = sealed(github) if method == "PUT" and body is None else body
    assert call(github, method, path, body)[0] == status
    assert github.violations == []
    assert github.places["example/app"].secrets == {}


def test_keys_are_those_of_the_place(github: GitHub) -> None:
    elsewhere = sealed(github)
    assert call(github, "PUT", "/repos/example/worker/actions/secrets/X", elsewhere)[0] == 422
    assert call(github, "PUT", f"{SECRETS}/X", sealed(github, PrivateKey.generate().public_key))[0] == 422


def test_a_token_is_needed_and_its_rights_count(github: GitHub) -> None:
    assert call(github, "GET", SECRETS, bearer="wrong")[0] == 401
    github.rights = {"secrets": "read"}
    assert call(github, "GET", SECRETS)[0] == 200
    assert call(github, "PUT", f"{SECRETS}/X", sealed(github))[0] == 403
    assert call(github, "GET", VARIABLES)[0] == 403
    github.hides = True
    assert call(github, "GET", VARIABLES)[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/repos/example/app/actions/secret", None),
        ("GET", "/user", None),
        ("PATCH", f"{SECRETS}/X", {"value": "1"}),
        ("PUT", f"{SECRETS}/X", {"encrypted_value": "AAAA"}),
        ("PUT", f"{SECRETS}/X", {"key_id": "5000000", "encrypted_value": "not base64!"}),
        ("PUT", f"{SECRETS}/X", {"key_id": 5000000, "encrypted_value": "AAAA"}),
        ("PUT", f"{SECRETS}/X", {"key_id": "5000000", "encrypted_value": "AAAA", "value": "plain"}),
        ("PUT", f"{SECRETS}/X", None),
        ("PUT", "/orgs/example/actions/secrets/X", {"key_id": "5000002", "encrypted_value": "AAAA"}),
        ("POST", VARIABLES, {"name": "V"}),
        ("POST", "/orgs/example/actions/variables", {"name": "V", "value": "1", "visibility": "some"}),
        ("GET", f"{SECRETS}?per_page=101", None),
        ("GET", f"{VARIABLES}?per_page=31", None),
        ("GET", f"{SECRETS}?cursor=1", None),
    ],
)
def test_what_no_client_may_send_fails_the_test(github: GitHub, method: str, path: str, body: Any) -> None:
    assert call(github, method, path, body)[0] >= 400
    with pytest.raises(AssertionError):
        github.close()


def test_an_answer_that_github_would_not_give_fails_the_test(github: GitHub) -> None:
    github.edit("example/app", "X", "value")
    github.places["example/app"].secrets["X"].updated_at = 5  # type: ignore[assignment]
    call(github, "GET", SECRETS)
    assert any("the answer 200" in violation for violation in github.violations)
