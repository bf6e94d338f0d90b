# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How samples become findings, whatever the check."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import (
    MOST_FINDINGS,
    Check,
    Sample,
    Thresholds,
    findings,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID, CHECKS
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import (
    OPERATIONS,
    Context,
    Verdict,
    health_info,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Finding

CHECK = Check("size", "Sizes", "bytes", Thresholds(10, 100), "none", "make it smaller", lambda rows, asked: [])
values = st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=40)


@given(values)
def test_findings(given_values: list[int | None]) -> None:
    samples = [Sample(f"s{number}", value, "said") for number, value in enumerate(given_values)]
    found = findings(CHECK, samples, None, "app")
    bad = [value for value in given_values if value is not None and value >= 10]
    assert found, "a check is never silent"
    if not bad:
        (only,) = found
        assert (only.level == "unknown") == (None in given_values)
        assert only.advice == ""
        return
    told = [one for one in found if one.value is not None]
    assert [one.value for one in told] == sorted(bad, reverse=True)[:MOST_FINDINGS]
    assert all((one.level == "critical") == (one.value >= 100) for one in told)
    assert all(one.advice == "make it smaller" for one in told)
    left = len(bad) - len(told)
    assert [one.subject for one in found[len(told) :]] == ([f"{left} more"] if left else [])


def test_whose_threshold_counts() -> None:
    own = Sample("a", 50, "said", thresholds=Thresholds(60))
    assert [one.level for one in findings(CHECK, [own], None, "app")] == ["info"]
    assert [one.level for one in findings(CHECK, [own], Thresholds(critical=50), "app")] == ["critical"]
    (found,) = findings(replace(CHECK, thresholds=Thresholds()), [replace(own, thresholds=None)], None, "app")
    assert (found.level, found.threshold) == ("info", None)


def test_the_registry() -> None:
    assert len(BY_ID) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
        assert all((check.title, check.unit, check.source, check.remedy))
        assert bool(check.query) != bool(check.of)
        assert not check.of or BY_ID[check.of].query


def verdict(fail_on: str, *levels: str) -> Verdict:
    options = health_info.read({"fail_on": fail_on})
    facts = [Finding(f"check-{number}", "app", level, "said") for number, level in enumerate(levels)]
    *found, last = health_info.decide(facts, options, Context(check=False))
    assert isinstance(last, Verdict)
    order = ("critical", "warning", "unknown", "info")
    assert [one.level for one in found if isinstance(one, Finding)] == sorted(levels, key=order.index)
    return last


@pytest.mark.parametrize(
    ("fail_on", "levels", "outcome"),
    [
        ("critical", ["info", "unknown", "warning"], "unchanged"),
        ("critical", ["info", "critical"], "failed"),
        ("warning", ["info", "warning"], "failed"),
        ("warning", ["unknown"], "unchanged"),
        ("never", ["critical"], "unchanged"),
    ],
)
def test_what_fails_the_run(fail_on: str, levels: list[str], outcome: str) -> None:
    assert verdict(fail_on, *levels).verdict == outcome


def test_what_it_comes_to() -> None:
    assert verdict("never", "warning", "warning").reason == "2 warnings"
    assert (
        verdict("never", "info", "info", "warning", "critical", "unknown").reason
        == "1 critical, 1 warning, 1 unknown, 2 well"
    )


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"thresholds": {"conections": {"warning": 1}}},
            "thresholds.conections: there is no such check; there are maintenance-",
        ),
        ({"thresholds": {"connections": 90}}, "thresholds.connections: it must be a mapping of warning and critical"),
        (
            {"thresholds": {"connections": {"warn": 1}}},
            "thresholds.connections: it must be a mapping of warning and critical",
        ),
        (
            {"thresholds": {"connections": {"warning": "90"}}},
            "thresholds.connections.warning: it must be a number, or null",
        ),
        ({"plans": {"hourly": "1h"}}, "plans.hourly: it must be a mapping with every or at"),
        ({"plans": {"hourly": {"every": "soon"}}}, "plans.hourly.every: 'soon' is no interval"),
    ],
)
def test_wrong_options(options: dict[str, object], fault: str) -> None:
    with pytest.raises(OptionError) as caught:
        OPERATIONS["health_info"].read(options)
    assert any(fault in error for error in caught.value.errors), caught.value.errors


def test_a_threshold_that_is_left_out_keeps_its_default() -> None:
    read = health_info.read({"thresholds": {"connections": {"warning": 60}, "freeze-age": {"critical": None}}})
    assert read.thresholds["connections"] == Thresholds(60, 95)
    assert read.thresholds["freeze-age"] == Thresholds(2**30, None)
