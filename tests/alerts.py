# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts in tests: results as modules make them, and the module told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import memory
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import INFO, Finding, Result, failure
from tests.doubles import contract
from tests.doubles.github import GitHub
from tests.doubles.issues import Issue

TOKEN = "github_pat_11TOKENzq7-of-the-issues"
LABEL = "database-maintenance"
# Names and texts from somebody who wants to be somebody else.
HOSTILE = (
    "x` ``` ~~~ @everyone @octocat #1 <!channel> <@U1> <b>b</b> [l](http://evil.example) **b** _i_ | "
    "--> <!-- :: ##[error] \\ $(id)"
    "\r\nBcc: evil@example.com\r\n\r\nhttps://evil.example \x1b[31m \u202e"
)


APP = "example/app"
CHECK = "expired-rows"
NOWHERE = "postgresql://u@127.0.0.1:9/app"
GITHUB = {"repository": "example/app", "token": TOKEN}
WEBHOOK = {"url": "https://hooks.example.com/services/SECRETzq7"}
MAIL = {"host": "smtp.example.com", "to": ["a@example.com"], "from": "b@example.com"}


def github_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """The body of a fixture: GitHub, and nothing of it in the environment."""
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    double = GitHub(contract.load(), TOKEN)
    yield double
    double.close()


def channel(github: GitHub, **options: Any) -> dict[str, Any]:
    return {"github": {"repository": APP, "token": TOKEN, "api_url": github.url, **options}}


def issues(github: GitHub) -> list[Issue]:
    return github.issues.of.get(APP, [])


def only_issue(github: GitHub) -> Issue:
    (issue,) = issues(github)
    return issue


def writes(github: GitHub) -> list[str]:
    """The requests that change something, since this was asked the last time."""
    changing = [one for one in github.requests if one.method != "GET"]
    github.requests.clear()
    return [f"{one.method} {one.path.rpartition('/issues')[2]}".strip() for one in changing]


def looked(
    check: str, level: str = INFO, *subjects: str, message: str = "12 are left", advice: str = ""
) -> dict[str, Any]:
    """The result of a run that looked at one check."""
    found = [Finding(check, subject, level, message, advice=advice).as_dict() for subject in subjects or ("t",)]
    server = {"host": "db.example.com", "database": "app", "version": "18.6", "provider": "postgresql"}
    return Result("health", False, server=server, findings=found).as_dict()


def refused(message: str = "cannot connect: connection refused") -> dict[str, Any]:
    """The result of a run that did not reach its database."""
    return failure("health", message)


def tell(dsn: str, name: str, *results: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns; nothing of it may be a secret of these tests."""
    given = {"dsn": dsn, "name": name, "results": list(results), "patience": 0, "timeout": 60, **options}
    result = _edge.perform(_edge.validated("alerts", given), check)
    assert "zq7" not in json.dumps(result), result
    assert not result.get("failed"), result
    return result


def outcomes(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Key and outcome of each entry."""
    return [(one["target"].rpartition("/")[2], one["outcome"]) for one in result["actions"]]


def reasons(result: dict[str, Any]) -> str:
    return "\n".join(one["reason"] for one in result["actions"])


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """From now on the server's clock is so many days ahead, for alerts."""
    ahead = f"clock_timestamp() + interval '{days * 86400} s'"
    monkeypatch.setattr(memory, "READ", memory.READ.replace("clock_timestamp()", ahead, 1))
