# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans of the wrong shape: told with the path and the near match, all at once, and never a traceback."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan_check

STEP = {"purge": {"table": "t", "column": "at"}}
WINDOW = {"not_before": "22:00", "not_after": "05:30", "timezone": "Europe/Berlin"}
HOURLY = {"steps": [STEP], "budget": 60, "window": WINDOW, "endpoint": {"path": "/x", "health": "/y", "repeat": True}}
PLANS = {"hourly": HOURLY, "weekly": {"steps": [STEP], "on_error": "stop", "window": {}}}


def told(plans: Any, name: str | None = "hourly", transport: str = "direct") -> list[str]:
    given = {"plans": plans, "name": name, "transport": transport, "label": "maintenance_plans"}
    result = plan_check.plan_info(given)
    errors: list[str] = result.get("errors", [])
    return errors


@pytest.mark.parametrize("name", ["hourly", "weekly", None])
def test_what_is_right_is_returned(name: str | None) -> None:
    result = plan_check.plan_info({"plans": PLANS, "name": name, "transport": "direct", "label": "plans"})
    assert result == {"changed": False, "plan": PLANS[name] if name else {}, "steps": [STEP, STEP]}
    assert told(PLANS, name) == []
    assert told({"hourly": {**HOURLY, "every": "1h"}, "weekly": {**HOURLY, "at": "Sun 02:00 UTC"}}, name) == []


def chosen(plans: dict[str, Any], name: str) -> dict[str, Any]:
    plan: dict[str, Any] = plan_check.plan_info(
        {"plans": plans, "name": name, "transport": "direct", "label": "plans"}
    )["plan"]
    return plan


def test_health_is_there_without_being_written() -> None:
    assert chosen({}, "health") == {"steps": [{"health_info": {}}]}
    assert chosen(PLANS, "health") == {"steps": [{"health_info": {}}]}, "no plan says when it is due"
    own = {"steps": [{"health_info": {"fail_on": "never"}}]}
    assert chosen({"health": own}, "health") == own
    assert "there is no plan hourly; there are weekly" in told({"weekly": HOURLY})[0]


@pytest.mark.parametrize("given", [None, {}, {"fail_on": "never"}])
def test_health_is_told_which_plans_are_to_run_and_what_they_purge(given: dict[str, str] | None) -> None:
    plans = {
        "hourly": {"steps": [STEP], "every": "1h"},
        "weekly": {"steps": [STEP, {"health_info": given}], "at": "Sun 02:00"},
    }
    purges = [STEP["purge"]]
    known = {"plans": {"hourly": {"every": "1h", "purge": purges}, "weekly": {"at": "Sun 02:00", "purge": purges}}}
    assert chosen(plans, "weekly")["steps"] == [STEP, {"health_info": {**known, **(given or {})}}]
    assert chosen(plans, "hourly")["steps"] == [STEP]
    assert chosen(plans, "health")["steps"] == [{"health_info": known}]
    own = {**plans, "health": {"steps": [{"health_info": {"plans": {}}}]}}
    assert chosen(own, "health")["steps"] == [{"health_info": {"plans": {}}}]
    # A step of the wrong shape is for whoever does it to complain about.
    odd = {"odd": {"steps": [{"health_info": ["x"]}], "every": "1h"}}
    assert chosen(odd, "odd")["steps"] == [{"health_info": ["x"]}]


@pytest.mark.parametrize(
    ("plans", "said"),
    [
        ({"hourly": {"step": [STEP]}}, "maintenance_plans.hourly: there is no step, did you mean steps?"),
        ({"hourly": {"steps": [STEP], "bugdet": 5}}, "there is no bugdet, did you mean budget?"),
        ({"hourly": [STEP]}, "maintenance_plans.hourly: it must be a mapping with steps, and it is a list"),
        ({"hourly": None}, "it must be a mapping with steps, and it is nothing"),
        ([HOURLY], "maintenance_plans: it must be a mapping of names to plans, and it is a list"),
        (None, "maintenance_plans: it must be a mapping of names to plans, and it is nothing"),
        ("hourly", "it must be a mapping of names to plans, and it is text"),
        ({"hourli": HOURLY}, "there is no plan hourly, did you mean hourli?"),
        ({"weekly": HOURLY}, "there are weekly"),
        ({}, "there is no plan hourly; there are none"),
        (
            {"hourly": {"steps": STEP}},
            "maintenance_plans.hourly.steps: it must be a list, with a hyphen before each step",
        ),
        ({"hourly": {"steps": ["purge"]}}, "maintenance_plans.hourly.steps[1]: it must be one operation"),
        ({"hourly": {"steps": [[STEP]]}}, "maintenance_plans.hourly.steps[1]: it must be one operation"),
        ({"hourly": {"steps": []}}, "the plan hourly has no steps"),
        ({"hourly": {"steps": [STEP], "budget": "much"}}, "maintenance_plans.hourly.budget: it must be a number"),
        ({"hourly": {"steps": [STEP], "on_error": "go"}}, "on_error: it must be continue or stop"),
        ({"hourly": {"steps": [STEP], "endpoint": "/x"}}, "endpoint: it must be a mapping with a path"),
        ({"hourly": {"steps": [STEP], "endpoint": {"paht": "/x"}}}, "there is no paht, did you mean path?"),
        (
            {"hourly": {"steps": [STEP], "endpoint": {"path": "x"}}},
            "endpoint.path: it must be a path that begins with /",
        ),
        ({"hourly": {"steps": [STEP], "endpoint": {"path": "/x", "repeat": "no"}}}, "repeat: it must be true or false"),
        ({"hourly": HOURLY, "weekly": {"step": []}}, "maintenance_plans.weekly: there is no step"),
        ({"hourly": {**HOURLY, "every": 60}}, "maintenance_plans.hourly.every: '60' is no interval"),
        ({"hourly": {**HOURLY, "every": ["1h"]}}, "maintenance_plans.hourly.every: \"['1h']\" is no interval"),
        ({"hourly": HOURLY, "weekly": {"at": 120}}, "maintenance_plans.weekly.at: '120' is no moment of the week"),
        (
            {"hourly": {**HOURLY, "at": "02:00", "every": "1h"}},
            "maintenance_plans.hourly.every and maintenance_plans.hourly.at: only one",
        ),
        ({"hourly": {**HOURLY, "evry": "1h"}}, "there is no evry, did you mean every?"),
        (
            {"hourly": {"window": "22:00"}},
            "hourly.window: it must be a mapping with not_before and not_after, and it is text",
        ),
        (
            {"hourly": {"window": {"not_befor": "22:00"}}},
            "hourly.window: there is no not_befor, did you mean not_before?",
        ),
        ({"hourly": {"window": {"not_after": "05:00"}}}, "hourly.window: not_before is missing"),
        (
            {"hourly": {"window": {"not_before": 1320, "not_after": "05:00"}}},
            "hourly.window.not_before: it must be text in quotes, and it is a number",
        ),
        (
            {"hourly": {"window": {"not_before": "22:00", "not_after": "5 am"}}},
            "maintenance_plans.hourly.window.not_after: '5 am' is no time of day",
        ),
        (
            {"hourly": {"window": {"not_before": "22:00", "not_after": "05:00", "timezone": "Berlin"}}},
            "maintenance_plans.hourly.window.timezone: there is no time zone 'Berlin'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(plans: Any, said: str) -> None:
    assert any(said in error for error in told(plans)), told(plans)


def test_a_transport_needs_its_part() -> None:
    assert "the plan weekly has no endpoint" in told(PLANS, "weekly", "endpoint")[0]
    assert "the plan hourly has no steps" in told({"hourly": {"endpoint": {"path": "/x"}}})[0]
    assert told({"hourly": {"endpoint": {"path": "/x"}}}, "hourly", "endpoint") == []


def test_all_faults_come_at_once() -> None:
    plans = {"hourly": {"step": [STEP]}, "weekly": {"steps": [{"purge": {"tabel": 1}}, 5], "budget": []}}
    assert len(told(plans, "daily")) >= 4


@pytest.mark.parametrize("odd", [None, [], {}, "x", 5, True, [None], {None: None}, {1: {2: 3}}, "\x1b[2J"])
def test_whatever_stands_anywhere_is_a_message(odd: Any) -> None:
    places: list[list[Any]] = [[], ["hourly"], ["hourly", "steps"], ["hourly", "steps", 0], ["hourly", "steps", 0, "purge"],
                               ["hourly", "steps", 0, "purge", "table"], ["hourly", "budget"], ["hourly", "endpoint"],
                               ["hourly", "endpoint", "path"], ["hourly", "endpoint", "repeat"], ["weekly"],
                               ["hourly", "window"], ["hourly", "window", "not_after"],
                               ["hourly", "window", "timezone"]]  # fmt: skip
    for path in places:
        plans: Any = copy.deepcopy(PLANS)
        place = plans
        for key in path[:-1]:
            place = place[key]
        if path:
            place[path[-1]] = odd
        assert isinstance(told(plans if path else odd), list)
