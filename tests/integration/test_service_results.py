# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules of services return is what their documentation says, in the one form that all modules have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils import _module
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Result, entry
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import (
    endpoint,
    fly_secrets,
    github_secrets,
    shared_secrets,
)
from ansible_collections.vtchat.maintenance.plugins.modules import endpoint as endpoint_module
from ansible_collections.vtchat.maintenance.plugins.modules import fly_secrets as fly_module
from ansible_collections.vtchat.maintenance.plugins.modules import github_secrets as github_module
from ansible_collections.vtchat.maintenance.plugins.modules import shared_secrets as shared_module
from tests.doubles import contract
from tests.doubles.app import HEALTH, HOURLY, Application
from tests.doubles.fly import Fly
from tests.doubles.github import GitHub
from tests.services import Performer, answer

GITHUB_TOKEN, FLY_TOKEN, TOKEN = "github_pat_11TOKEN", "fm2_lJPECtoken", "t" * 40
# What Ansible documents for all modules.
COMMON = {"changed", "msg", "warnings", "diff"}


@dataclass
class Ask:
    """A module, options with which it succeeds, and what it should have spoken to."""

    service: Performer
    module: Any
    options: dict[str, Any]
    server: dict[str, str]


@pytest.fixture
def asks() -> Iterator[dict[str, Ask]]:
    github, fly, application = GitHub(contract.load(), GITHUB_TOKEN), Fly(), Application(TOKEN)
    fly.add_app("shop", FLY_TOKEN)
    fly.add_machine("shop")
    host = "127.0.0.1"
    by_github = {"repository": "example/app", "token": GITHUB_TOKEN, "api_url": github.url, "variables": {"V": "v"}}
    by_fly = {"app": "shop", "token": FLY_TOKEN, "api_url": fly.url, "deploy": True}
    both: dict[str, Any] = {"repository": "example/app", "app": "shop", "secrets": {"B": ""}, "deploy": True}
    both |= {"github_token": GITHUB_TOKEN, "github_api_url": github.url, "fly_token": FLY_TOKEN, "fly_api_url": fly.url}
    call = {"url": application.url + HOURLY, "health_url": application.url + HEALTH, "token": TOKEN, "plan": "hourly"}
    secrets = {"secrets": {"A": "value"}}
    yield {
        "github_secrets": Ask(
            github_secrets,
            github_module,
            {**by_github, **secrets},
            {"provider": "github", "host": host, "target": "example/app"},
        ),
        "fly_secrets": Ask(
            fly_secrets, fly_module, {**by_fly, **secrets}, {"provider": "fly", "host": host, "target": "shop"}
        ),
        "shared_secrets": Ask(
            shared_secrets,
            shared_module,
            both,
            {"provider": "github and fly", "host": f"{host} and {host}", "target": "example/app and shop"},
        ),
        "endpoint": Ask(endpoint, endpoint_module, call, {"provider": "endpoint", "host": host, "target": HOURLY}),
    }
    for double in (github, fly, application):
        double.close()


NAMES = ("github_secrets", "fly_secrets", "shared_secrets", "endpoint")


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_says_what_is_returned(asks: dict[str, Ask], name: str) -> None:
    ask = asks[name]
    documented = yaml.safe_load(ask.module.RETURN)
    planned, done = answer(ask.service, True, **ask.options), answer(ask.service, **ask.options)
    for result in (planned, done):
        assert set(result) - COMMON == set(documented) - {"errors"}
        for action in result["actions"]:
            assert set(action) == set(documented["actions"]["contains"])
        assert result["server"] == ask.server
        assert result["turns"] > 0
    assert (planned["check_mode"], done["check_mode"]) == (True, False)
    assert (done["status"], done["plan"]) == ("ok", "hourly" if name == "endpoint" else name)
    assert done["totals"] == {outcome: count for outcome, count in done["totals"].items() if count}
    assert sum(done["totals"].values()) == len(done["actions"])


@pytest.mark.parametrize("name", NAMES)
def test_the_form_is_the_one_of_all_modules(asks: dict[str, Ask], name: str) -> None:
    result = answer(asks[name].service, **asks[name].options)
    assert set(Result("plan", check=False).as_dict()) <= set(result)
    assert all(set(entry("create", "A", "done", "why")) <= set(action) for action in result["actions"])


@pytest.mark.parametrize("name", NAMES)
def test_so_is_a_failure_of_options(asks: dict[str, Ask], name: str) -> None:
    ask = asks[name]
    defaults = {option: spec.get("default") for option, spec in ask.service.SPEC.options.items()}
    wrong = {
        **defaults,
        **ask.options,
        "ca_path": "/nowhere",
        "app": "my_app",
        "repository": "x",
        "url": "http://h.invalid/",
    }
    result = _module.answer(name, ask.service, wrong, False, lambda _hidden: None)  # type: ignore[arg-type]
    assert (result["failed"], result["changed"], result["status"], result["actions"]) == (True, False, "failed", [])
    assert result["plan"] == ("hourly" if name == "endpoint" else name)
    assert result["errors"]


def test_one_reason_of_many_failures_is_told_once() -> None:
    result = Result("plan", check=False)
    result.actions = [entry("create", name, "failed", "refused") for name in "ABCDE"]
    result.actions += [entry("update", name, "failed", f"why {name}") for name in "FGHI"]
    message = result.as_dict()["msg"]
    assert message.startswith(
        "plan: 9 failed. create A, create B, create C, create D, create E: refused. update F: why F"
    )
    assert message.endswith(". 2 more failed")
