# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line for a monitoring system: its state, and a form that a parser of such lines agrees with, whatever the names are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._report import nagios

# Guidelines: 'label'=value[UOM];[warn];[crit];[min];[max], by spaces; a quote in a label is doubled, and there is no = in it.
ITEM = r"'((?:[^'=]|'')+)'=(-?[0-9]+(?:\.[0-9]+)?|U)(s|%|B|)"
LINE = re.compile(rf"MAINTENANCE (OK|WARNING|CRITICAL|UNKNOWN): [^|]+?(?: \|((?: {ITEM})+))?")
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def finding(level: str, check: str = "freeze-age", subject: str = "app", **more: Any) -> dict[str, Any]:
    known = {"message": "it is old", "value": 5, "evidence": {"unit": "transactions"}, "step": 1}
    return {"check": check, "subject": subject, "level": level, **known, **more}


def result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {
        "status": "ok",
        "plan": "health",
        "msg": "health: 1 unchanged",
        "server": {"database": "app"},
        "actions": [],
    }
    return {**known, "findings": list(findings), **more}


def line(*runs: tuple[str, dict[str, Any]], problems: Any = ()) -> tuple[int, str, dict[str, str]]:
    """The code, the text, and the performance data."""
    code, text = nagios.line(runs, problems)
    found = LINE.fullmatch(text)
    assert found, text
    assert WORDS.index(found[1]) == code
    assert "\n" not in text
    assert len(text) <= nagios.MOST
    return (
        code,
        text.partition(" | ")[0],
        {label: value + unit for label, value, unit in re.findall(ITEM, found[2] or "")},
    )


FAILED = {"step": 2, "operation": "purge", "target": "app.t", "outcome": "failed", "reason": "no right"}


@pytest.mark.parametrize(
    ("runs", "problems", "code", "told"),
    [
        ([], [], 3, "nothing was looked at"),
        ([result()], [], 0, "OK: health: 1 unchanged"),
        ([result(finding("info"), finding("info", "b"))], [], 0, "OK: 2 checks well"),
        ([result(finding("warning"), finding("info", "b"))], [], 1, "WARNING: 1 warning; freeze-age app: it is old"),
        ([result(finding("unknown"))], [], 3, "UNKNOWN: 1 unknown; freeze-age app"),
        ([result(finding("unknown"), finding("warning"))], [], 1, "WARNING: 1 warning, 1 unknown; freeze-age app"),
        ([result(finding("warning"), finding("critical"))], [], 2, "CRITICAL: 1 critical, 1 warning; "),
        # It failed because of its findings, as it was told to: those say how bad that is.
        (
            [result(finding("warning"), status="failed", actions=[{**FAILED, "step": 1}])],
            [],
            1,
            "WARNING: 1 warning; freeze",
        ),
        (
            [result(finding("info"), status="failed", actions=[FAILED])],
            [],
            2,
            "CRITICAL: 1 critical; purge app.t: no right",
        ),
        (
            [result(status="failed", msg="the connection was lost")],
            [],
            2,
            "CRITICAL: 1 critical; the connection was lost",
        ),
        ([result(status="failed", msg="cannot connect", server={})], [], 3, "UNKNOWN: 1 unknown; cannot connect"),
        ([result(status="partial"), result(status="skipped")], [], 0, "OK: "),
        ([result()], [("db2", "Gather: no route to host")], 3, "UNKNOWN: 1 unknown; db2 Gather: no route to host"),
    ],
)
def test_states(runs: list[dict[str, Any]], problems: Any, code: int, told: str) -> None:
    found, text, _data = line(*[("db1", run) for run in runs], problems=problems)
    assert found == code
    assert told in text


def test_performance_data() -> None:
    runs = [
        finding("info", "connections", value=12.5, evidence={"unit": "percent"}),
        finding("info", "database-size", value=4096, evidence={"unit": "bytes"}),
        finding("info", "long", "pid 7", value=0.25, evidence={"unit": "seconds"}),
        finding("info", "none", value=None),
        finding("info", "it's = | \n", value=1),
    ]
    assert line(("db1", result(*runs)))[2] == {
        "connections app": "12.5%",
        "database-size app": "4096B",
        "long pid 7": "0.25s",
        "it''s _ \u00a6 \\n app": "1",
    }
    both = line(("db1", result(runs[0])), ("db2", result(runs[0])))[2]
    assert both == {"db1 connections app": "12.5%", "db2 connections app": "12.5%"}


def test_many_are_cut_as_a_whole() -> None:
    found = [finding("critical", subject=f"app.{'x' * 50}{number}", message="y" * 99) for number in range(500)]
    code, text, data = line(("db1", result(*found)))
    assert (code, len(text)) == (2, nagios.MOST_TEXT)
    assert 10 < len(data) < 100


TEXTS = st.text(max_size=20) | st.sampled_from(["|", "'", "=", "\n", "a | 'b'=1", "é\x00\u202e", "\ud800"])


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, TEXTS, st.none() | st.floats() | st.integers() | TEXTS, st.sampled_from(["info", "critical", "x"]))
def test_any_names_and_values(host: str, check: str, subject: str, value: Any, level: str) -> None:
    runs = [(host, result(finding(level, check, subject, value=value, message=host))), ("other", result())]
    line(*runs, problems=[(subject, check)])


@pytest.mark.parametrize("broken", [{}, {"findings": "x"}, {"findings": [1, {}], "status": None}, {"status": "failed"}])
def test_results_of_any_form(broken: dict[str, Any]) -> None:
    line(("db1", broken))
