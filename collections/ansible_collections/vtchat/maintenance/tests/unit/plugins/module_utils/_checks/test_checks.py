# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How samples become findings, whatever the check."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import (
    GROUPS,
    Check,
    Sample,
    Thresholds,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.judge import (
    MOST_FINDINGS,
    Ignored,
    Judge,
    Limits,
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
from ansible_collections.vtchat.maintenance.tests.unit.plugins.module_utils._checks.asked import ASKED, NOW

CHECK = Check(
    "size",
    "storage",
    "Sizes",
    "bytes",
    Thresholds(10, 100),
    "none",
    "it costs",
    "make it smaller",
    lambda rows, asked: [],
    right="pg_monitor",
)
values = st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=40)


def judge(limits: Limits | None = None, *ignored: Ignored) -> Judge:
    return Judge(ASKED, NOW, {CHECK.id: limits} if limits else {}, ignored)


@given(values, st.booleans())
def test_findings(given_values: list[int | None], below: bool) -> None:
    samples = [Sample(f"s{number}", value, "said") for number, value in enumerate(given_values)]
    limits = Thresholds(50, 10, below=True) if below else Thresholds(10, 100)
    found = judge().findings(replace(CHECK, thresholds=limits), samples)
    bad = [value for value in given_values if value is not None and (value <= 50 if below else value >= 10)]
    unknown = [one for one in found if one.level == "unknown"]
    assert found, "a check is never silent"
    assert len(unknown) == (None in given_values), "what cannot be seen is told beside what is bad"
    assert all(one.advice == "GRANT pg_monitor TO me;" for one in unknown)
    if not bad:
        (only,) = found
        assert (only.advice, only.meaning) == (unknown[0].advice if unknown else "", "")
        return
    told = [one for one in found if one.value is not None]
    assert [one.value for one in told] == sorted(bad, reverse=not below)[:MOST_FINDINGS]
    assert all((one.level == "critical") == (one.value <= 10 if below else one.value >= 100) for one in told)
    assert all((one.advice, one.meaning, one.group) == ("make it smaller", "it costs", "storage") for one in told)
    left = len(bad) - len(told)
    assert [one.subject for one in found if one.message == "likewise"] == ([f"{left} more"] if left else [])


def test_whose_threshold_counts() -> None:
    own = Sample("a", 50, "said", thresholds=Thresholds(60))
    assert [one.level for one in judge().findings(CHECK, [own])] == ["info"]
    assert [one.level for one in judge(Limits({"critical": 50})).findings(CHECK, [own])] == ["critical"]
    special = Limits({"warning": 1}, (("a*", {"warning": 70}), ("*", {"critical": 1})))
    both = judge(special).findings(CHECK, [own, replace(own, subject="b")])
    assert [(one.subject, one.level) for one in both] == [("b", "critical")]
    never = replace(own, thresholds=Thresholds())
    low = replace(CHECK, thresholds=Thresholds(10, below=True))
    assert [one.level for one in judge(Limits({"warning": 1})).findings(low, [never])] == ["info"], "50 is not below 1"
    # Who says when to warn does not take away what is critical for this subject.
    strict = replace(own, thresholds=Thresholds(20, 40))
    assert [one.level for one in judge(Limits({"warning": 30})).findings(CHECK, [strict])] == ["critical"]
    (found,) = judge().findings(replace(CHECK, thresholds=Thresholds()), [replace(own, thresholds=None)])
    assert (found.level, found.threshold) == ("info", None)


def test_what_is_ignored() -> None:
    bad = [Sample("a", 50, "said"), Sample("b", 200, "said")]

    def told(until: datetime) -> list[tuple[str, str, str]]:
        ignored = Ignored(CHECK.id, "b", "known", until)
        return [(one.subject, one.level, one.message) for one in judge(None, ignored).findings(CHECK, bad)]

    later, over = NOW + timedelta(days=1), NOW
    assert told(later) == [("a", "warning", "said"), ("b", "info", "said (ignored until 2026-11-27: known)")]
    assert told(over)[0] == ("b", "critical", "said (ignored until 2026-11-26, which is over: known)")
    other = Ignored("another", "*", "known", later)
    assert [one.level for one in judge(None, other).findings(CHECK, bad)] == ["critical", "warning"]


def test_what_cannot_be_seen_can_be_ignored_as_well() -> None:
    """A right that a provider does not give would be told for ever."""
    known = Ignored(CHECK.id, "a*", "the provider", NOW + timedelta(days=1))
    unseen = [Sample("a1", None, "hidden"), Sample("a2", None, "hidden"), Sample("b", None, "hidden")]
    told = judge(None, known).findings(CHECK, unseen)
    assert [(one.subject, one.level) for one in told] == [("b", "unknown"), ("a1", "info"), ("a2", "info")]
    assert told[0].message == "hidden"
    (all_known,) = judge(None, replace(known, object="*")).unknown(CHECK, "no such right")
    assert (all_known.level, all_known.message) == ("info", "no such right (ignored until 2026-11-27: the provider)")


def test_what_the_history_keeps() -> None:
    """What is well is kept only where the trend is wanted: forty rows each hour that say nothing would be most of it."""
    well, ill = Sample("a", 1, "said"), Sample("a", 50, "said")
    assert [judge().findings(CHECK, [one])[0].keep for one in (well, ill)] == [False, True]
    assert judge().findings(replace(CHECK, trend=True), [well])[0].keep
    assert "keep" not in judge().findings(CHECK, [well])[0].as_dict()


def test_a_server_that_is_too_old() -> None:
    (found,) = judge().absent(replace(CHECK, since=170000))
    assert (found.level, found.message) == ("info", "Sizes: PostgreSQL 17 is the first to have it")


def test_the_registry() -> None:
    assert len(BY_ID) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
        assert check.group in GROUPS
        assert all((check.title, check.unit, check.source, check.meaning, check.remedy))
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
            "thresholds.conections: there is no check conections, did you mean connections?",
        ),
        (
            {"thresholds": {"connections": 90}},
            "thresholds.connections: it must be a mapping of warning, critical and objects",
        ),
        (
            {"thresholds": {"connections": {"warn": 1}}},
            "thresholds.connections: it must be a mapping of warning, critical and objects",
        ),
        (
            {"thresholds": {"connections": {"warning": "90 %"}}},
            "thresholds.connections.warning: it must be a number, or null",
        ),
        *(
            (
                {"thresholds": {"connections": {"critical": wrong}}},
                "thresholds.connections.critical: it must be a number",
            )
            for wrong in (True, "", "nan", float("inf"), [90], 10**400)
        ),
        (
            {"thresholds": {"table-bloat": {"objects": {"public.queue": {"warning": 90}}}}},
            "public.queue: 90 is worse than 80, which is the default: say critical as well, or null for never",
        ),
        (
            {"thresholds": {"wraparound-forecast": {"warning": 5}}},
            "thresholds.wraparound-forecast: 5 is worse than 7, which is the default",
        ),
        *(
            (
                {"ignore": [{"check": "connections", "reason": "x", "until": wrong}]},
                "ignore[1].until: say until which day",
            )
            for wrong in (20270101, None, "2027-01-01 or later", "2027-W01-1", "2027-13-01", ["2027-01-01"], "")
        ),
        (
            {"thresholds": {"connections": {"warning": 90, "critical": 80}}},
            "thresholds.connections: 90 is worse than 80: as a warning it would never be told",
        ),
        (
            {"thresholds": {"connections": {"objects": {"app": {"warning": "many"}}}}},
            "thresholds.connections.objects.app.warning: it must be a number",
        ),
        ({"checks": ["sesions"]}, "checks: there is no check sesions, did you mean sessions?"),
        ({"ignore": [{"check": "connection", "reason": "x", "until": "2027-01-01"}]}, "ignore[1].check: there is no"),
        ({"ignore": [{"check": "connections", "until": "2027-01-01"}]}, "ignore[1].reason: say why"),
        ({"ignore": [{"check": "connections", "reason": "x"}]}, "ignore[1].until: say until which day"),
        ({"ignore": [{"chek": "connections"}]}, "ignore[1]: there is no chek; there are check,"),
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
    own = Thresholds(80, 95)
    assert read.limits["connections"].of("app", own) == Thresholds(60, 95)
    assert read.limits["freeze-age"].of("app", own) == Thresholds(80, None)
    objects = {"connections": {"critical": 99, "objects": {"app": {"warning": 60}}}}
    limits = health_info.read({"thresholds": objects}).limits["connections"]
    assert (limits.of("app", own), limits.of("other", own)) == (Thresholds(60, 99), Thresholds(80, 99))


@given(st.text(min_size=1))
def test_the_name_of_an_object_fits_itself(name: str) -> None:
    said = Limits({}, ((name, {"warning": 1}),))
    assert said.of(name, Thresholds()) == Thresholds(1)
    assert Ignored("size", name, "known", NOW).fits("size", name)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63))
def test_numbers_of_templates_are_text(number: float) -> None:
    limits = [{"connections": {"critical": critical}} for critical in (number, f" {number} ")]
    assert len({str(health_info.read({"thresholds": one}).limits["connections"].all) for one in limits}) == 1


def test_until_when_something_is_ignored() -> None:
    one = {"check": "connections", "reason": "a load test", "until": "2026-12-31"}
    (read,) = health_info.read({"ignore": [one]}).ignored
    assert (read.object, read.until) == ("*", datetime(2027, 1, 1, tzinfo=timezone.utc))
    for same in (date(2026, 12, 31), "2026-12-31T00:00:00", datetime(2026, 12, 31, 5), "2026-12-31 00:00:00+00:00"):
        assert health_info.read({"ignore": [{**one, "until": same}]}).ignored[0] == read
    (ever,) = health_info.read({"ignore": [{**one, "until": "9999-12-31"}]}).ignored
    assert ever.until.year == 9999
