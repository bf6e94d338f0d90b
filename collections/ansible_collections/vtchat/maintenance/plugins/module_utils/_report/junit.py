# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Findings as JUnit XML, which CI systems show as tests: one suite for each run, one case for each finding. Pure.

What is well passes, what could not be seen is skipped, a warning and what is critical fail. A run that failed before it found
anything is one case with an error. The form is that which Ant, Jenkins and pytest have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from .._clean import clean
from .._result import CRITICAL, FAILED, INFO, WARNING
from . import model
from .model import RunResult, Runs


def document(runs: Runs) -> str:
    """The document. Runs without findings are none of it unless they failed."""
    root = ElementTree.Element("testsuites")
    for host, result in runs:
        cases = list(_cases(host, result))
        if cases:
            root.append(_suite(host, result, cases))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _suite(host: str, result: RunResult, cases: list[ElementTree.Element]) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=f"{clean(result.get('plan') or '?')} on {clean(host)}")
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    for name, number in counts.items():
        suite.set(name, str(number))
    suite.set("time", _seconds(result.get("seconds")))
    suite.set("hostname", clean(host))
    suite.extend(cases)
    return suite


def _cases(host: str, result: RunResult) -> Iterator[ElementTree.Element]:
    found = model.entries(result, "findings")
    # By database, so that a check has the same name wherever it runs.
    name = ".".join(clean(text).replace(".", "_") for text in (model.server(result).get("database") or host,) if text)
    for one in found:
        yield _case(name, one)
    if model.status(result) == FAILED and not any(one.get("level") in (WARNING, CRITICAL) for one in found):
        case = ElementTree.Element("testcase", classname=name, name=clean(result.get("plan") or "?"), time="0")
        message = clean(result.get("msg") or FAILED)
        ElementTree.SubElement(case, "error", type=FAILED, message=message).text = message
        yield case


def _case(classname: str, one: Any) -> ElementTree.Element:
    check, subject, level, message, advice = (
        clean(one.get(key) or "") for key in ("check", "subject", "level", "message", "advice")
    )
    case = ElementTree.Element("testcase", classname=f"{classname}.{check}", name=f"{check}: {subject}", time="0")
    if level in (WARNING, CRITICAL):
        text = "\n".join(part for part in (message, advice) if part)
        ElementTree.SubElement(case, "failure", type=level, message=message).text = text
    elif level == INFO:
        ElementTree.SubElement(case, "system-out").text = message
    else:
        ElementTree.SubElement(case, "skipped", message="; ".join(part for part in (message, advice) if part))
    return case


def _seconds(value: Any) -> str:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return f"{value:.3f}" if known else "0"
