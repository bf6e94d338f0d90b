# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What results say, made as the modules make them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.conditions import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_FACTS,
    UNREACHABLE,
    Condition,
    conditions,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import hide
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import (
    CRITICAL,
    INFO,
    WARNING,
    Finding,
    Result,
    failure,
)

SERVER = {"host": "db.example.com", "database": "app", "version": "18.6", "provider": "postgresql"}


def looked(*findings: tuple[str, str, str], server: dict[str, str] = SERVER, **more: Any) -> dict[str, Any]:
    """A result with (check, subject, level)."""
    made = [
        Finding(check, subject, level, f"{subject} is {level}", advice="look").as_dict()
        for check, subject, level in findings
    ]
    return {**Result("health", False, server=server, findings=made).as_dict(), **more}


def levels(*results: dict[str, Any], **options: Any) -> dict[str, str]:
    return {one.key: one.level for one in conditions(results, **options)}


def test_findings_of_one_check_are_one_condition_of_the_worst_level() -> None:
    found = conditions(
        [looked(("bloat", "a", WARNING), ("bloat", "c", CRITICAL), ("bloat", "b", WARNING), ("age", "x", INFO))]
    )
    assert [(one.key, one.level, one.sure) for one in found] == [
        ("app/bloat", CRITICAL, True),
        ("app/age", INFO, True),
        ("app/unreachable", INFO, True),
    ]
    assert [fact.subject for fact in found[0].facts] == ["c", "a", "b"]
    assert found[1].facts == ()


def test_more_subjects_than_are_told_are_counted() -> None:
    found = conditions([looked(*(("bloat", f"t{number:03}", WARNING) for number in range(MOST_FACTS + 5)))])
    assert (len(found[0].facts), found[0].more) == (MOST_FACTS, 5)


@pytest.mark.parametrize(
    ("levels_found", "level", "sure"),
    [
        (("unknown",), INFO, False),
        ((INFO, "unknown"), INFO, False),
        ((WARNING, "unknown"), WARNING, False),
        (("nonsense",), INFO, False),
        ((INFO,), INFO, True),
    ],
)
def test_what_could_not_look_is_not_well(levels_found: tuple[str, ...], level: str, sure: bool) -> None:
    found = {one.check: one for one in conditions([looked(*(("bloat", "t", one) for one in levels_found))])}
    assert (found["bloat"].level, found["bloat"].sure) == (level, sure)


@pytest.mark.parametrize(
    ("result", "level"),
    [
        (failure("health", "cannot connect: connection refused"), CRITICAL),
        (failure("health", "dsn: is no URL", ["dsn: is no URL"]), CRITICAL),
        ({"failed": True, "msg": "Module failed", "module_stdout": "Traceback"}, CRITICAL),
        ({"unreachable": True, "msg": "no ssh"}, CRITICAL),
        ({"failed": True}, CRITICAL),
        (looked(), INFO),
        (looked(failed=True, status="failed"), INFO),  # the database was there
        ({"skipped": True, "changed": False}, None),
        (Result("health", False, status="skipped", message="outside of its window").as_dict(), None),
        ({}, None),
    ],
)
def test_a_database_that_was_not_reached(result: dict[str, Any], level: str | None) -> None:
    assert levels(result, name="db") == ({} if level is None else {"db/unreachable": level})


def test_the_last_result_says_whether_it_is_reached() -> None:
    refused = failure("hourly", "connection refused")
    assert levels(refused, looked(), name="db") == {"db/unreachable": INFO}
    assert levels(looked(), refused, name="db") == {"db/unreachable": CRITICAL}


def test_the_name_is_that_of_the_task_the_host_or_the_database() -> None:
    one = looked(("age", "x", WARNING))
    assert levels(one, name="production", fallback="f") == {"production/age": WARNING, "production/unreachable": INFO}
    assert set(levels({**one, "inventory_host": "host"})) == {"host/age", "host/unreachable"}
    assert set(levels(one)) == {"app/age", "app/unreachable"}
    assert set(levels(failure("health", "no"), fallback="f")) == {"f/unreachable"}
    assert set(levels(failure("health", "no"))) == {"database/unreachable"}
    # Two databases in one task stay two.
    assert set(levels(one, looked(("age", "x", INFO), server={**SERVER, "database": "b"}))) == {
        "app/age", "app/unreachable", "b/age", "b/unreachable",
    }  # fmt: skip


def test_keys_of_two_alerts_are_two() -> None:
    found = conditions([{**looked(("b/c", "x", WARNING)), "inventory_host": "a"},
                        {**looked(("c", "x", WARNING)), "inventory_host": "a/b"}])  # fmt: skip
    assert len({one.key for one in found}) == len(found) == 4


def test_results_of_a_loop_are_taken_one_by_one() -> None:
    loop = {
        "results": [looked(("age", "x", WARNING)), failure("health", "no")],
        "changed": False,
        "msg": "All items completed",
    }
    assert levels(loop, name="db") == {"db/age": WARNING, "db/unreachable": CRITICAL}


def test_texts_are_without_secrets_before_they_are_cut() -> None:
    secret = "s3cr3t-and-long-enough"
    text = "x" * (LONGEST_TEXT - 10) + secret
    found = conditions([failure("health", text)], name="db", hidden=hide([secret]))
    assert secret[:8] not in found[0].facts[0].message


JUNK = st.sampled_from(
    [None, True, 7, 1.5, "", "x", "a\nb", "\x1b[31m@all\u202e", "y" * 600, [], {}, ["x"], {"x": None}]
)
FINDING = st.fixed_dictionaries(
    {},
    optional={
        "check": JUNK,
        "subject": JUNK,
        "level": JUNK | st.sampled_from([INFO, WARNING, CRITICAL]),
        "message": JUNK,
    },
)
RESULT = st.fixed_dictionaries(
    {},
    optional={
        "findings": JUNK | st.lists(FINDING | JUNK, max_size=3),
        "server": JUNK | st.fixed_dictionaries({"database": JUNK}),
        "failed": JUNK,
        "msg": JUNK,
        "results": JUNK,
    },
)


@given(st.lists(RESULT, max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_somebody_registers_makes_clean_conditions(results: list[dict[str, Any]]) -> None:
    for one in conditions(results):
        assert isinstance(one, Condition)
        texts = [one.name, one.check, *(text for fact in one.facts for text in fact.as_dict().values())]
        assert all(text.isprintable() and "\n" not in text for text in texts)
        assert max(map(len, texts)) <= LONGEST_TEXT
        assert len(one.key) <= 2 * LONGEST_NAME + 1
        assert (one.level == INFO) == (one.facts == ())
        assert one.check != UNREACHABLE or one.level in (INFO, CRITICAL)
