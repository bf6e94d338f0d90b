# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the history of runs says about the maintenance itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import Asked
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID
from ansible_collections.vtchat.maintenance.tests.unit.plugins.module_utils._checks.asked import ASKED, JUDGE, SERVER

HOURLY, WEEKLY = {"every": "1h"}, {"at": "Sun 02:00 UTC"}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def row(**known: Any) -> dict[str, Any]:
    """What there is of a plan whose last run was good."""
    usual = {"plan": "hourly", "good": at("2026-11-25 12:00"), "now": at("2026-11-25 12:30"), "failures": 0, "seconds": 1.0,
             "run_id": 7, "status": "ok", "message": "hourly: 3 done", "schedule": HOURLY, "retries": 0}  # fmt: skip
    return {**usual, **known}


def levels(check: str, *rows: dict[str, Any], asked: Asked = ASKED) -> list[tuple[str, str]]:
    """(subject, level) of the findings."""
    samples = BY_ID[check].samples(rows, asked)
    return [(one.subject, one.level) for one in JUDGE.findings(BY_ID[check], samples)]


@pytest.mark.parametrize(
    ("schedule", "good", "now", "level"),
    [
        (HOURLY, "2026-11-25 12:00", "2026-11-25 12:59", "info"),
        (HOURLY, "2026-11-25 12:00", "2026-11-25 13:59", "info"),
        (HOURLY, "2026-11-25 12:00", "2026-11-25 14:00", "warning"),  # nothing for two hours
        (HOURLY, "2026-11-25 12:00", "2026-11-25 17:00", "critical"),
        ({"every": "1d"}, "2026-11-25 12:00", "2026-11-27 11:59", "info"),
        ({"every": "1d"}, "2026-11-25 12:00", "2026-11-27 12:00", "warning"),
        # Sunday the 22nd and the 29th
        (WEEKLY, "2026-11-22 02:10", "2026-11-29 01:59", "info"),
        (WEEKLY, "2026-11-22 02:10", "2026-11-29 07:59", "info"),
        (WEEKLY, "2026-11-22 02:10", "2026-11-29 08:00", "warning"),
        (WEEKLY, "2026-11-22 02:10", "2026-12-06 02:00", "critical"),  # a second time has passed
        (WEEKLY, "2026-11-22 01:50", "2026-11-22 08:10", "warning"),
    ],
)
def test_a_plan_is_late(schedule: dict[str, str], good: str, now: str, level: str) -> None:
    found = row(plan="p", schedule=schedule, good=at(good), now=at(now))
    assert levels("maintenance-overdue", found) == [("p", level)]


def test_a_plan_that_never_ran_is_not_known_to_be_well() -> None:
    assert levels("maintenance-overdue", row(good=None, failures=2)) == [("hourly", "unknown")]
    asked = Asked(SERVER, {"hourly": HOURLY, "nightly": {"at": "03:00"}})
    assert levels("maintenance-overdue", row(), asked=asked) == [("nightly", "unknown")]
    assert levels("maintenance-overdue", asked=asked) == [("hourly", "unknown")]


def test_the_plan_that_is_under_way_is_not_late() -> None:
    late = row(now=at("2026-11-25 19:00"))
    assert levels("maintenance-overdue", late) == [("hourly", "critical")]
    asked = replace(ASKED, running="hourly")
    assert levels("maintenance-overdue", late, asked=asked) == [("hourly", "info")]
    assert levels("maintenance-overdue", row(good=None), asked=asked) == [("hourly", "info")]


def test_plans_that_are_no_more_are_left_out_where_it_is_said_which_there_are() -> None:
    old = row(plan="old", good=at("2026-10-01 00:00"))
    assert levels("maintenance-overdue", old, row()) == [("old", "critical")]
    assert levels("maintenance-overdue", old, row(), asked=Asked(SERVER, {"hourly": HOURLY})) == [("hourly", "info")]
    assert levels("maintenance-failures", {**old, "failures": 9}, asked=Asked(SERVER, {})) == [("app", "info")]


def test_the_schedule_of_now_counts_and_not_that_of_the_last_run() -> None:
    late = row(now=at("2026-11-25 15:00"))
    assert levels("maintenance-overdue", late) == [("hourly", "warning")]
    assert levels("maintenance-overdue", late, asked=Asked(SERVER, {"hourly": {"every": "1d"}})) == [("hourly", "info")]


def test_a_schedule_that_is_not_understood_is_not_judged() -> None:
    assert levels("maintenance-overdue", row(schedule={"every": "fortnight"}), row(plan="q", schedule=None)) == [
        ("app", "info")
    ]


@pytest.mark.parametrize(
    ("check", "known", "level"),
    [
        ("maintenance-failures", {"failures": 2}, "info"),
        ("maintenance-failures", {"failures": 3}, "critical"),
        ("maintenance-slow", {"seconds": 299.9}, "info"),
        ("maintenance-slow", {"seconds": 300.0}, "warning"),  # five minutes of an hour
        ("maintenance-slow", {"seconds": 3000.0, "schedule": WEEKLY}, "info"),
        ("maintenance-slow", {"seconds": 300.0, "schedule": None}, "warning"),
        ("maintenance-retries", {"retries": 2}, "info"),
        ("maintenance-retries", {"retries": 3}, "warning"),
    ],
)
def test_thresholds(check: str, known: dict[str, Any], level: str) -> None:
    assert levels(check, row(**known)) == [("hourly", level)]


def test_rows_that_are_left() -> None:
    known = {"run_id": 1, "outcome": "done", "waiting": None, "hidden": None}
    left = [{"target": name, "left": number, **known} for name, number in (("a", 1000), ("b", 1001), ("c", 5000))]
    assert levels("expired-rows", *left) == [("c", "warning"), ("b", "warning")]
    assert levels("expired-rows", left[0], {"target": "d", **known, "outcome": "deferred", "left": None}) == [
        ("d", "unknown")
    ]
    # What is there now counts, and where it cannot be counted, what was left.
    assert levels("expired-rows", {**left[2], "waiting": 0}, {**left[0], "waiting": 1001}) == [("a", "warning")]
    assert levels("expired-rows", {**left[2], "hidden": "no index"}) == [("c", "warning")]
    now = {"target": "d", "run_id": None, "outcome": None, "left": None, "waiting": None, "hidden": "no index"}
    assert levels("expired-rows", now) == [("d", "unknown")]
