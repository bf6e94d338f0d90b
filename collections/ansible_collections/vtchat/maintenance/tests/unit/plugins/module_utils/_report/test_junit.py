# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as JUnit XML: what readers of that format agree on, whatever the names are."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import clean
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import junit

# What Ant, Jenkins and pytest have in common: per element its attributes (those with ! must be there) and its children.
FORM: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"tests", "failures", "errors", "skipped"}, {"testsuite"}),
    "testsuite": ({"name!", "tests!", "failures!", "errors!", "skipped", "time", "hostname"}, {"testcase"}),
    "testcase": ({"name!", "classname!", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}
LEVELS = {"info": "system-out", "unknown": "skipped", "warning": "failure", "critical": "failure"}


def finding(level: str, subject: str = "vtchat", **more: Any) -> dict[str, Any]:
    return {
        "check": "freeze-age",
        "subject": subject,
        "level": level,
        "message": "it is old",
        "advice": "VACUUM",
        **more,
    }


def result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"status": "ok", "plan": "health", "server": {"database": "vtchat"}, "seconds": 1.25, "actions": []}
    return {**known, "findings": list(findings), **more}


def document(*runs: tuple[str, dict[str, Any]]) -> ElementTree.Element:
    """The document, of the right form and with the right numbers."""
    root = ElementTree.fromstring(junit.document(runs).encode())  # noqa: S314 - made here
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = FORM[element.tag]
        assert set(element.attrib) <= {name.rstrip("!") for name in attributes}
        assert {name.rstrip("!") for name in attributes if name.endswith("!")} <= set(element.attrib)
        assert {child.tag for child in element} <= children
        if element.tag == "testcase":
            assert len(element) == 1
        if element.tag in ("testsuite", "testsuites"):
            for name, tag in (
                ("tests", "testcase"),
                ("failures", "failure"),
                ("errors", "error"),
                ("skipped", "skipped"),
            ):
                assert int(element.get(name, "-1")) == len(list(element.iter(tag)))
    return root


def test_each_level() -> None:
    root = document(("db1", result(*map(finding, LEVELS), status="failed", msg="1 failed")))
    [suite] = root
    assert (suite.get("name"), suite.get("time"), suite.get("hostname")) == ("health on db1", "1.250", "db1")
    assert [case[0].tag for case in suite] == list(LEVELS.values())
    assert {(case.get("classname"), case.get("name")) for case in suite} == {
        ("vtchat.freeze-age", "freeze-age: vtchat")
    }
    failure = suite[3][0]
    assert (failure.get("type"), failure.get("message"), failure.text) == ("critical", "it is old", "it is old\nVACUUM")
    assert suite[1][0].get("message") == "it is old; VACUUM"


def test_a_run_that_found_nothing_is_an_error_only_if_it_failed() -> None:
    refused = {"failed": True, "status": "failed", "msg": "connection refused", "plan": "health", "actions": []}
    root = document(("db1", refused), ("db2", result()), ("db3", {"status": "ok", "plan": "hourly", "actions": []}))
    [[case]] = root
    assert (case.get("classname"), case.get("name"), case[0].get("message")) == ("db1", "health", "connection refused")
    # Also where all that was found is well.
    [suite] = document(("db1", result(finding("info"), status="failed", msg="the connection was lost")))
    assert [case[0].tag for case in suite] == ["system-out", "error"]
    assert len(document()) == 0


@pytest.mark.parametrize("odd", [None, 5, "x", [None], [{}], [{"level": 5, "check": None, "message": ["a"]}]])
def test_odd_values_do_not_break_it(odd: Any) -> None:
    document(("h", result(findings=odd)), ("h", {"findings": odd, "seconds": True, "server": odd, "plan": None}))


@settings(max_examples=100, deadline=None)
@given(st.text(), st.sampled_from([*LEVELS, "other"]))
def test_any_text_is_a_text(text: str, level: str) -> None:
    told = finding(level, text, check=text, message=text, advice=text)
    root = document((text, result(told, server={"database": text}, plan=text)))
    [case] = root.iter("testcase")
    assert case.get("name") == f"{clean(text)}: {clean(text)}"
    assert case[0].tag == LEVELS.get(level, "skipped")
