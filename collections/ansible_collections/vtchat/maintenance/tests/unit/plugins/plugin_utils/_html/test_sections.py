# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sections show of runs, findings and tables."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import findings, growth, plans, runs, words


def action(number: int, outcome: str, seconds: float = 1.0) -> dict[str, Any]:
    return {
        "operation": "vacuum",
        "target": f"public.t{number}",
        "outcome": outcome,
        "offset": float(number),
        "seconds": seconds,
    }


def run(*actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    totals: dict[str, int] = {}
    for one in actions:
        totals[one["outcome"]] = totals.get(one["outcome"], 0) + 1
    return {
        "run_id": 1,
        "plan": "weekly",
        "status": "ok",
        "seconds": 60.0,
        "totals": totals,
        "actions": list(actions),
        **more,
    }


def test_of_many_actions_the_bad_and_the_longest_are_shown_and_the_rest_is_counted() -> None:
    many = [action(number, "failed" if number == 17 else "done", seconds=number) for number in range(100)]
    (told,) = runs.runs({"runs": [run(*many)]})
    targets = [one.target for one in told.actions]
    assert len(targets) == runs.MOST_OF_A_RUN
    assert "public.t17" in targets
    assert targets == sorted(targets, key=lambda one: int(one.removeprefix("public.t")))
    assert "public.t99" in targets
    assert told.more == "70 done"


def test_what_failed_long_ago_is_shown_though_newer_runs_have_filled_the_room() -> None:
    usual = run(*[action(number, "unchanged") for number in range(10)])
    bad = run(action(1, "done"), action(2, "failed"), action(3, "deferred"))
    told = runs.runs({"runs": [*[usual] * 40, bad]})
    assert sum(len(one.actions) for one in told) == runs.MOST_ACTIONS + 2
    assert [one.outcome for one in told[-1].actions] == ["failed", "deferred"]
    assert told[-1].more == "1 done"
    assert (told[-2].actions, told[-2].more) == ([], "10 unchanged")
    all_bad = runs.runs({"runs": [run(*[action(number, "failed") for number in range(30)])] * 50})
    assert [len(one.actions) for one in all_bad] == [30] * 5 + [runs.MOST_BAD] * 45
    assert all_bad[-1].more == "25 failed"


def test_totals_beyond_what_the_history_has_are_told() -> None:
    (told,) = runs.runs({"runs": [run(action(1, "done"), totals={"done": 1, "unchanged": 400})]})
    assert told.more == "400 unchanged"


def test_plans_with_troubles_come_first_and_numbers_have_units() -> None:
    told = [
        {"name": "hourly", "last": "2026-11-25 12:00", "runs": 2160, "statuses": {"ok": 2159, "failed": 1},
         "success": 2159 / 2160, "good": 2159, "ended": 2160, "expected": 2163, "missed": 3,
         "median": 1.25, "p95": 3.5, "longest": 75.0, "budget": 300.0, "days": []},
        {"name": "weekly", "last": "2026-11-22 02:00", "overdue": 90000.0, "days": [], "statuses": {}},
    ]  # fmt: skip
    weekly, hourly = plans.plans({"first_day": "2026-08-28", "last_day": "2026-11-25", "plans": told}).full
    assert weekly.troubles == ["is overdue for 1 d 1 h"]
    assert dict(hourly.facts) == {
        "Last run": "2026-11-25 12:00", "Last that did its work": "none is known", "Runs": "2\u202f160 runs",
        "How they ended": "2\u202f159 ok, 1 failed", "Missed": "3 of 2\u202f163 runs",
        "Median duration": "1.2 s", "95th percentile": "3.5 s",
        "Longest": "1 min 15 s", "Budget": "5 min",
    }  # fmt: skip
    assert hourly.success == (
        "2\u202f159 of 2\u202f160 runs that ended did their work (>99.9\u00a0%)."
        " 3 of 2\u202f163 runs that should have come did not."
    )
    assert weekly.success == ""
    assert dict(weekly.facts)["Budget"] == "none is known"


@pytest.mark.parametrize(
    ("report", "first", "last"),
    [
        ({"first_day": "2026-08-28", "last_day": "2026-11-25"}, "2026-08-28", "2026-11-25"),
        ({"first_day": "2026-11-25", "last_day": "2026-08-28"}, "2026-08-28", "2026-11-25"),
        ({"generated_at": "2026-11-25 13:05"}, "2026-11-25", "2026-11-25"),
        ({"first_day": "0001-01-01", "last_day": "2026-11-25"}, "2016-11-17", "2026-11-25"),
        ({"work": [{"day": "2026-11-01"}, {"day": "nonsense"}], "last_day": "2026-11-25"}, "2026-11-01", "2026-11-25"),
        ({}, "2000-01-01", "2000-01-01"),
    ],
)
def test_the_days_of_a_report_whatever_the_clock_did(report: dict[str, Any], first: str, last: str) -> None:
    days = runs.span(report)
    assert (str(days.first), str(days.last)) == (first, last)


def test_a_plan_that_runs_once_a_day_has_one_line() -> None:
    once = [{"day": "2026-11-22", "statuses": {"ok": 1}, "median": 9.0, "p95": 9.0}]
    often = [{"day": "2026-11-22", "statuses": {"ok": 9}, "median": 9.0, "p95": 12.0}]
    both = [{"days": once}, {"days": often}]
    told = plans.plans({"first_day": "2026-11-01", "last_day": "2026-11-25", "plans": both})
    names = [[one.name for one in plan.chart.drawn] for plan in told.full if plan.chart]
    assert names == [["duration"], ["median", "95th percentile"]]


def test_runs_outside_of_the_days_are_left_to_the_notes() -> None:
    days = [{"day": "2031-01-01", "statuses": {"ok": 1}}, {"day": "2026-11-25", "statuses": {"failed": 2, "ok": 22}}]
    (told,) = plans.plans(
        {"first_day": "2026-11-24", "last_day": "2026-11-25", "plans": [{"name": "hourly", "days": days}]}
    ).full
    assert [one.status for one in told.calendar.squares] == ["", "failed"]
    assert told.table == [["2026-11-25", "22 ok, 2 failed", "not known", "not known", "not known"]]


def test_findings_of_a_check_are_one_entry_the_worst_first() -> None:
    found = [
        {"check": "table-bloat", "level": "warning", "subject": f"public.t{number}", "message": "half is empty", "value": 50.0,
         "threshold": 40.0, "evidence": {"unit": "percent", "waste_bytes": 2**30, "since": None, "scans": 12345}}
        for number in range(40)
    ]  # fmt: skip
    found += [
        {
            "check": "table-bloat",
            "level": "warning",
            "subject": "5 more",
            "message": "likewise",
            "evidence": {"more": 5},
        },
        {"check": "freeze-age", "level": "critical", "subject": "app", "message": "old"},
        {"check": "database-size", "level": "info", "subject": "app", "message": "Size of the database: 3 GiB"},
    ]
    told = findings.health(found)
    critical, bloat = told.troubles
    assert (critical.check, critical.title) == ("freeze-age", "Age of the oldest transaction ID")
    assert (bloat.subject, len(bloat.others), bloat.more) == ("public.t0", findings.MOST_OTHERS, 29 + 5)
    assert bloat.limit == "warning from 40 %"
    assert bloat.evidence == [("waste bytes", "1.0 GiB"), ("scans", "12\u202f345")]
    assert [(group, [one.message for one in some]) for group, some in told.well] == [("Size and bloat", ["3 GiB"])]


def test_names_are_bounded_for_all_checks_together_and_the_rest_is_counted() -> None:
    found = [
        {"check": f"check-{check}", "level": "warning" if check else "critical", "subject": f"public.t{number}", "message": "bad"}
        for check in reversed(range(40)) for number in range(21)
    ]  # fmt: skip
    told = findings.health(found).troubles
    assert told[0].level == "critical"
    assert sum(len(one.others) for one in told) == findings.MOST_NAMED
    assert all(1 + len(one.others) + one.more == 21 for one in told)


def test_what_ran_on_days_outside_of_the_page_is_in_no_sum() -> None:
    days = [{"day": day, "purged": 5} for day in ("2026-11-23", "2026-11-24", "2031-01-01")]
    told = runs.work({"first_day": "2026-11-24", "last_day": "2026-11-25", "work": days})
    assert ("rows purged", "5") in told.totals
    assert [row[0] for row in told.table] == ["2026-11-24"]


def test_of_many_plans_the_worst_are_in_full_with_their_latest_bad_days() -> None:
    days = [{"day": f"2026-11-{day:02}", "statuses": {"failed": 1} if day == 7 else {"ok": 24}} for day in range(1, 26)]
    some: list[dict[str, Any]] = [
        {"name": f"plan-{number}", "last": "2026-11-25 10:00", "days": days} for number in range(300)
    ]
    some[250]["overdue"] = 3600.0
    told = plans.plans({"first_day": "2026-11-01", "last_day": "2026-11-25", "plans": some})
    assert [one.name for one in told.full[:2]] == ["plan-250", "plan-0"]
    assert [len(one.table) for one in told.full] == [25] * 8 + [1] * (plans.MOST_PLANS - 8)
    assert [one.partly for one in told.full] == [False] * 8 + [True] * (plans.MOST_PLANS - 8)
    assert told.full[-1].table[0][:2] == ["2026-11-07", "1 failed"]
    assert (len(told.brief), told.more) == (plans.MOST_ROWS, 300 - plans.MOST_ROWS - plans.MOST_PLANS)
    assert (told.brief[0].name, told.brief[0].last) == (f"plan-{plans.MOST_PLANS - 1}", "2026-11-25 10:00")


def test_a_plan_that_failed_only_in_what_it_looks_at_did_its_work_and_says_so() -> None:
    plan = {"name": "weekly", "statuses": {"ok": 1, "failed": 5, "skipped": 5}, "good": 6, "ended": 6, "days": []}
    (told,) = plans.plans({"plans": [plan]}).full
    assert told.success == (
        "6 of 6 runs that ended did their work (100\u00a0%). 5 of them failed only in what they looked at."
    )


def test_growth_a_week_and_sizes_one_day_a_week() -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 26)]
    history = [[day, 1000 * number] for number, day in enumerate(days)]
    table = {
        "relation": "public.t",
        "bytes": 2**30,
        "index_bytes": 2**29,
        "live_rows": 75,
        "dead_rows": 25,
        "week": -(2**20),
        "history": history,
    }
    daily = [{"day": day, "bytes": 2**20 * number} for number, day in enumerate(days)]
    report = {"first_day": days[0], "last_day": days[-1], "growth": {"tables": [table], "database": daily}}
    told = growth.growth(report)
    (shown,) = told.tables
    assert (shown.size, shown.indexes, shown.dead, shown.week) == ("1.5 GiB", "512 MiB", "25 (25\u00a0%)", "-1.0 MiB")
    assert [row[0] for row in told.sizes[1]] == ["2026-11-25", "2026-11-18", "2026-11-11", "2026-11-04"]
    assert growth.grown(report) == (7 * 2**20, date(2026, 11, 18))
    assert growth.latest(report) == 24 * 2**20


def test_a_database_without_a_limit_is_never_full() -> None:
    told = [
        {"what": "database-forecast", "text": "Time until the database is full: nothing to look at", "days": None},
        {"what": "database-growth", "text": "+8.0 MiB a week", "days": None},
    ]
    assert [one.title for one in growth.growth({"growth": {"forecast": told}}).forecast] == ["Growth of the database"]
    found = growth.growth({"growth": {"forecast": told, "limit": 2**30}}).forecast
    assert [one.text for one in found] == ["nothing to look at", "+8.0 MiB a week"]


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.5, "50 %"),
        (0.9999, ">99.9 %"),
        (0.0001, "<0.1 %"),
        (0.125, "12.5 %"),
        (None, "not known"),
    ],
)
def test_shares(share: float | None, said: str) -> None:
    assert words.percent(share).replace("\u00a0", " ") == said
