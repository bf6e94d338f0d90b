# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Runs and findings as one line and a state, as the Monitoring Plugins Guidelines want them. Pure.

    MAINTENANCE CRITICAL: 1 critical, 1 warning: freeze-age app: … | 'freeze-age app'=1900000000;;

Source: monitoring-plugins.org, Development Guidelines, "Plugin Output for Nagios" and "Performance data".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._clean import visible
from .._result import ABANDONED, CRITICAL, FAILED, INFO, LEVELS, UNKNOWN, WARNING
from . import model
from .model import RunResult, Runs

STATES = {INFO: (0, "OK"), WARNING: (1, "WARNING"), CRITICAL: (2, "CRITICAL"), UNKNOWN: (3, "UNKNOWN")}
UNITS = {"seconds": "s", "percent": "%", "bytes": "B"}
# Characters: some agents cut what is longer than 4 KiB, and pages show the beginning of the text.
MOST_TEXT, MOST = 1000, 4000
MOST_TOLD = 10  # findings and failures, the worst first

Problem = tuple[str, str]  # host, and what failed there


class _Bad(NamedTuple):
    level: str
    host: str
    text: str


def line(runs: Runs, problems: Sequence[Problem]) -> tuple[int, str]:
    """The code to exit with, and the line. problems: hosts that cannot be reached, and tasks that are no runs and failed."""
    bad = [one for host, result in runs for one in _bad(host, result)]
    bad += [_Bad(UNKNOWN, host, text) for host, text in problems]
    if not runs and not problems:
        bad.append(_Bad(UNKNOWN, "", "nothing was looked at: no host, or no task of this collection"))
    bad.sort(key=lambda one: -LEVELS.index(one.level))
    code, word = STATES[bad[0].level if bad else INFO]
    several = len({host for host, _result in runs} | {host for host, _text in problems}) > 1
    told = _counted(bad) if bad else _well(runs)
    shown = [f"{one.host} {one.text}" if several and one.host else one.text for one in bad[:MOST_TOLD]]
    text = _short(_plain(f"MAINTENANCE {word}: {'; '.join([told, *shown])}"), MOST_TEXT)
    return code, _with_performance(text, list(_performance(runs, several)))


def _bad(host: str, result: RunResult) -> Iterator[_Bad]:
    """What is not well in one run."""
    found = model.entries(result, "findings")
    for one in found:
        level = str(one.get("level"))
        if level in STATES and level != INFO:
            yield _Bad(level, host, f"{one.get('check')} {one.get('subject')}: {one.get('message')}")
    if model.status(result) not in (FAILED, ABANDONED):
        return
    if not model.server(result):  # options are wrong, or there is no connection
        yield _Bad(UNKNOWN, host, str(result.get("msg") or FAILED))
        return
    # A step that has findings has failed because of those, as it was told to.
    explained = {one.get("step") for one in found if one.get("level") != INFO}
    failed = [one for one in model.entries(result) if one.get("outcome") == FAILED]
    for one in failed:
        if one.get("step") not in explained:
            yield _Bad(CRITICAL, host, f"{one.get('operation')} {one.get('target')}: {one.get('reason')}")
    if not failed:
        yield _Bad(CRITICAL, host, str(result.get("msg") or model.status(result)))


def _counted(bad: Sequence[_Bad]) -> str:
    counts = Counter(one.level for one in bad)
    names = {WARNING: "warning" if counts[WARNING] == 1 else "warnings"}
    return ", ".join(f"{counts[level]} {names.get(level, level)}" for level in reversed(LEVELS) if counts[level])


def _well(runs: Runs) -> str:
    """What was looked at, where all is well."""
    checks = {(host, one.get("check")) for host, result in runs for one in model.entries(result, "findings")}
    if checks:
        return f"{len(checks)} checks well" if len(checks) > 1 else "1 check well"
    return "; ".join(str(result.get("msg") or model.status(result) or "nothing to tell") for _host, result in runs)


def _plain(text: str) -> str:
    """On one line, and without the sign after which performance data begin."""
    return visible(text).replace("|", "\u00a6")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _with_performance(text: str, data: Sequence[str]) -> str:
    """As many of the data as there is room for, each as a whole."""
    made = text
    for number, one in enumerate(data):
        longer = f"{made} {one}" if number else f"{made} | {one}"
        if len(longer) > MOST:
            break
        made = longer
    return made


def _performance(runs: Runs, several: bool) -> Iterator[str]:
    """'label'=value[unit]. The thresholds are left out: of two the result has one."""
    seen = set()
    for host, result in runs:
        for one in model.entries(result, "findings"):
            value = one.get("value")
            label = " ".join(
                str(part) for part in (host if several else "", one.get("check"), one.get("subject")) if part
            )
            label = _plain(label).replace("=", "_").replace("'", "''") or "value"
            if isinstance(value, (int, float)) and not isinstance(value, bool) and label not in seen:
                seen.add(label)
                yield f"'{label}'={_number(value)}{_unit(one)}"


def _number(value: float) -> str:
    """Digits, a point and a minus are all that is allowed: U is a number that is not known."""
    text = str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")
    return text if text.lstrip("-").replace(".", "", 1).isdigit() else "U"


def _unit(one: Mapping[str, Any]) -> str:
    found = one.get("evidence")
    unit = found.get("unit") if isinstance(found, Mapping) else ""
    return UNITS.get(str(unit), "")
