# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first line of a page: what a manager is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance, verdict
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.verdict import (
    CRITICAL,
    NOT_ASKED,
    UNKNOWN,
    UNREACHABLE,
    WARNING,
    WELL,
)


def report(*levels: str, said: str = "info", **plan: Any) -> dict[str, Any]:
    findings = [{"check": f"check-{number}", "level": level} for number, level in enumerate(levels)]
    known = {"name": "hourly", "schedule": "every 1 h", "last": "2026-11-25 12:00", "last_status": "ok"}
    return {"health": {"status": said, "findings": findings}, "plans": [{**known, **plan}]}


RIGHT = "Maintenance ran when it should."


@pytest.mark.parametrize(
    ("told", "status", "sentence"),
    [
        (report("info", "info"), WELL, f"The database is well by all 2 checks. {RIGHT}"),
        (report("info", "unknown"), WELL, f"The database is well by 1 of 2 checks; 1 check could not see enough. {RIGHT}"),
        (report("info", "warning", said="warning"), WARNING, f"Of 2 checks, 1 needs attention before long. {RIGHT}"),
        (
            report("critical", "critical", "warning", "info", said="critical"), CRITICAL,
            f"Of 4 checks, 2 need action now and 1 needs attention before long. {RIGHT}",
        ),
        (report("info", last_status="failed"), WARNING,
         "The database is well by 1 of 1 check. Maintenance is not as it should be: \u201chourly\u201d failed when it last ran."),
        (report("info", "info", last_status="abandoned", overdue=7200.0), WARNING,
         "The database is well by all 2 checks. Maintenance is not as it should be: \u201chourly\u201d is overdue for 2 h, was "
         "abandoned when it last ran."),
        (report("info", "info", last=None, last_status=""), WARNING,
         "The database is well by all 2 checks. Maintenance is not as it should be: \u201chourly\u201d has not run yet."),
        (report("unknown", said="unknown"), UNKNOWN,
         f"The database is well by 0 of 1 check; 1 check could not see enough. {RIGHT}"),
        ({}, UNKNOWN, "Whether the database is well could not be asked. Nothing is known of any maintenance."),
        ({**report("info"), "plans": []}, WELL, "The database is well by 1 of 1 check. Nothing is known of any maintenance."),
        ({**report("info"), "unreachable": "no route"}, UNREACHABLE,
         "The database could not be asked, so nothing is known about it but what is said below."),
        ({"not_asked": "an endpoint does the work"}, NOT_ASKED,
         "The database was not asked, so this page has nothing about it but why."),
    ],
)  # fmt: skip
def test_one_sentence(told: dict[str, Any], status: str, sentence: str) -> None:
    found = verdict.verdict(told)
    assert (found.status, found.sentence) == (status, sentence)


def test_a_check_counts_once_by_its_worst_finding() -> None:
    told = {"health": {"findings": [{"check": "a", "level": "warning"}, {"check": "a", "level": "critical"},
                                    {"check": "b", "level": "info"}, {"check": "c", "level": "never heard of"}]}}  # fmt: skip
    assert verdict.levels(told) == {"critical": 1, "unknown": 1, "info": 1}


def test_the_worst_database_comes_first() -> None:
    known = {
        "e": report("info"), "d": report("unknown", said="unknown"), "c2": report("warning", said="warning"),
        "c1": report("warning", "warning", said="warning"), "b": {"unreachable": "no route"},
        "a": report("critical", said="critical"), "d2": {"not_asked": "an endpoint does the work"},
    }  # fmt: skip
    told = [glance({**one, "title": title}, f"{title}.html") for title, one in known.items()]
    assert [one["title"] for one in verdict.worst_first(told)] == ["a", "b", "c1", "c2", "d", "d2", "e"]
    assert verdict.summary(told) == (
        "1 needs action now, 1 cannot be reached, 2 need attention, 1 is not known, 1 was not asked, 1 is well"
    )
    assert verdict.of_fleet(told).headline == "1 of 7 needs action now"
    assert verdict.of_fleet(told[1:4]).headline == "2 of 3 need attention"
    assert verdict.of_fleet(told[:1]).headline == "All is well"
    assert verdict.of_fleet([]).headline == "No databases"


def test_a_glance_is_small_and_has_the_newest_size() -> None:
    sizes = [
        {"day": f"2026-{month:02}-{day:02}", "bytes": 100 * month + day}
        for month in range(1, 12)
        for day in range(1, 29)
    ]
    told = glance({**report("info"), "growth": {"database": sizes}}, "x.html")
    assert told["bytes"] == 1128
    assert told["sizes"][-1] == ["2026-11-28", 1128]
    assert len(told["sizes"]) <= verdict.MOST_SIZES


def test_what_the_review_of_indexes_found_is_said_though_all_is_well() -> None:
    findings = [
        {"check": "redundant-index", "level": "warning", "evidence": {"drop": "DROP INDEX i;"}},
        {"check": "missing-index", "level": "warning", "evidence": {}},
        {"check": "missing-index", "level": "info", "evidence": {}},
    ]
    told = {**report("info", "info"), "indexes": {"findings": findings[:1]}}
    assert verdict.verdict(told) == (
        WELL, f"The database is well by all 2 checks. The review of indexes found 1 that is not needed. {RIGHT}"
    )  # fmt: skip
    told["indexes"] = {"findings": findings}
    assert "The review of indexes found 1 that is not needed and 1 thing to look at." in verdict.verdict(told).sentence
    assert "review" not in verdict.verdict({**told, "indexes": {"findings": findings[2:]}}).sentence


def days(came: int, expected: int | None, number: int = 14) -> list[dict[str, Any]]:
    return [
        {"day": f"2026-11-{day:02}", "statuses": {"ok": came} if came else {}, "runs": came, "expected": expected}
        for day in range(1, number + 1)
    ]


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (days(24, 24), WELL, RIGHT),
        (days(23, 24), WELL, "Maintenance ran, but 9 of 336 runs that should have come did not."),
        (days(1, 24), WARNING, "Maintenance is not as it should be: \u201chourly\u201d missed 161 of 168 runs in 7 days;"
                               " 9 of 336 runs that should have come did not."),
        (days(1, 24, 7) + days(24, 24)[7:], WELL, "Maintenance ran, but 9 of 336 runs that should have come did not."),
        (days(0, None), WELL, RIGHT),
        (days(1, None), WELL, RIGHT),
    ],
)  # fmt: skip
def test_runs_that_did_not_come(found: list[dict[str, Any]], status: str, said: str) -> None:
    lost = 9 if "9 of 336" in said else 0
    told = report("info", "info", days=found, missed=lost, expected=336 if lost else None)
    assert verdict.verdict(told) == (status, f"The database is well by all 2 checks. {said}")


def test_a_glance_says_what_is_wrong_with_the_worst_plans() -> None:
    plans = [{"name": f"plan-{number}", "last": "2026-11-25 12:00"} for number in range(9)]
    plans.append({"name": "new", "schedule": "every 1 h"})
    told = glance({**report("info"), "plans": plans}, "x.html")
    assert told["status"] == WARNING
    assert [(one["name"], one["troubles"]) for one in told["plans"]][:2] == [
        ("new", ["has not run yet"]),
        ("plan-0", []),
    ]
    assert len(told["plans"]) + told["more_plans"] == 10
