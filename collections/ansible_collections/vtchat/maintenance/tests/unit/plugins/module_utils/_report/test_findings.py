# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings of a health check as people read them: by group, one entry a check, the worst first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._report import findings, github, layout, text
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import LEVELS, Finding, entry

ALL = LEVELS


def finding(check: str, level: str, subject: str = "app", **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "message": "is ill",
        "advice": "mend it;",
        "meaning": "it hurts",
        "group": "tables",
        **more,
    }
    return Finding(check, subject, level, **known).as_dict()


def result(*found: dict[str, Any]) -> dict[str, Any]:
    return {"plan": "health", "status": "failed", "seconds": 0.5, "server": {"database": "app", "version": "18.6"},
            "actions": [entry("health_info", "9 checks", "failed", "2 critical")], "findings": list(found)}  # fmt: skip


def lines(*found: dict[str, Any], verbose: bool = False) -> list[str]:
    return [line.text for line in text.run_lines("h", result(*found), 100, verbose)]


def test_one_screen() -> None:
    percent = {"value": 30.0, "threshold": 20.0, "evidence": {"unit": "percent"}}
    assert lines(
        finding("dead-rows", "critical", "public.a", **{**percent, "threshold": 25.0}),
        finding("dead-rows", "critical", "public.b", **percent),
        finding("sizes", "warning", group="storage", value=3.0, threshold=30.0, evidence={"unit": "days"}),
        finding("dead-rows", "critical", "7 more", message="likewise", evidence={"more": 7}),
        finding("keys", "warning", "public.c"),
        finding("overdue", "unknown", message="no history", advice="", meaning="", group="maintenance"),
        finding("slow", "unknown", message="no history", advice="", meaning="", group="maintenance"),
        finding("connections", "info", advice="", meaning="", group="sessions"),
    ) == [
        "health on h: failed in 500 ms (app, PostgreSQL 18.6)",
        "  FAILED     health_info  9 checks  2 critical",
        "  tables",
        "    CRITICAL  dead-rows public.a: is ill (critical from 25 %)",
        "              also  public.b and 7 more",
        "              why   it hurts",
        "              do    mend it;",
        "    WARNING   keys public.c: is ill",
        "              why   it hurts",
        "              do    mend it;",
        "  storage",
        "    WARNING   sizes app: is ill (warning up to 30 d)",
        "              why   it hurts",
        "              do    mend it;",
        "  maintenance",
        "    unknown   overdue, slow app: no history",
    ]


def test_what_is_well_is_told_with_v_only() -> None:
    well = finding("connections", "info", group="sessions", message="12 of 97", advice="", meaning="")
    assert len(lines(well)) == 2
    assert lines(well, verbose=True)[-2:] == ["  sessions", "    info      connections app: 12 of 97"]
    many = [finding("keys", "warning", f"t{number}") for number in range(9)]
    assert sum("keys t" in line for line in lines(*many)) == 1
    assert "also  t1, t2, t3 and 5 more" in "\n".join(lines(*many))
    assert sum("keys t" in line for line in lines(*many, verbose=True)) == 9


hostile = st.text(max_size=60)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(LEVELS), st.sampled_from(["dead-rows", "sizes"]), hostile, st.sampled_from(["", "a", "b"])
        ),
        max_size=12,
    )
)
def test_whatever_stands_in_it(given_findings: list[tuple[str, str, str, str]]) -> None:
    found = [
        finding(check, level, subject, group=group, message=subject, advice=subject, meaning=subject)
        for level, check, subject, group in given_findings
    ]
    told = findings.told(found, ALL, False)
    worst = [max(LEVELS.index(one.level) for one in entries) for _group, entries in findings.groups(told)]
    assert worst == sorted(worst, reverse=True), "a group stands where its worst is"
    assert len(findings.groups(told)) == len({one.group for one in told}), "a group is told in one place"
    for line in lines(*found):
        assert "\n" not in line
        assert layout.width(line) <= 100
    github.markdown([("h", result(*found))])
    github.commands("h", result(*found))
