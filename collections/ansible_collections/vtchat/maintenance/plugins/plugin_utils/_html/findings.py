# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Findings as a page shows them: one entry a check and level, the worst first, with the evidence. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import GROUPS
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.findings import number as in_unit

from . import reading
from .bounds import cut, most
from .verdict import CRITICAL, UNKNOWN, WARNING, WELL
from .words import NOT_KNOWN, count, duration, size

MOST_OTHERS = 10  # further subjects of a check, by name
MOST_NAMED = 150  # of all checks together, the worst first
MOST_CHECKS = 100  # that are not well, and as many that are
MOST_EVIDENCE = 12  # pieces of a check
LONGEST_VALUE = 300  # characters of a piece of evidence


@dataclass(frozen=True)
class Entry:
    """A check. All texts are as the database or the check has them: for templates to escape.

    limit     "critical from 95 %", "" where nothing was compared
    evidence  what else was seen: name and value
    others    subjects of the same check and level, with their messages
    more      how many besides
    """

    level: str
    check: str
    title: str
    group: str
    subject: str
    message: str
    limit: str = ""
    meaning: str = ""
    advice: str = ""
    evidence: list[tuple[str, str]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True)
class Health:
    """What is bad or cannot be seen, the worst first, and what is well, by group."""

    troubles: list[Entry]
    well: list[tuple[str, list[Entry]]]


def health(findings: Sequence[Mapping[str, Any]], room: float = 1.0) -> Health:
    """All findings of a report."""
    found = entries(findings, room)
    well = [one for one in found if one.level == WELL]
    known = list(dict.fromkeys([*GROUPS.values(), *(one.group for one in well)]))
    groups = [(group, [one for one in well if one.group == group]) for group in known]
    return Health([one for one in found if one.level != WELL], [(group, some) for group, some in groups if some])


def entries(findings: Sequence[Mapping[str, Any]], room: float = 1.0) -> list[Entry]:
    """One entry a check and level, the worst first, else in their order."""
    order = (CRITICAL, WARNING, UNKNOWN, WELL)
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in findings:
        level = reading.text(one, "level")
        level = level if level in order else UNKNOWN
        found.setdefault((reading.text(one, "check", "a check"), level), []).append(one)
    left = most(MOST_NAMED, room)
    told = []
    for check, level in sorted(found, key=lambda one: order.index(one[1]))[: most(MOST_CHECKS, room)]:
        told.append(_entry(check, level, found[check, level], min(MOST_OTHERS, left)))
        left -= len(told[-1].others)
    return told


def _entry(check: str, level: str, some: Sequence[Mapping[str, Any]], others: int) -> Entry:
    first, rest = some[0], some[1:]
    beyond = [_more(one) for one in rest]
    named = [one for one, more in zip(rest, beyond) if not more]
    known = BY_ID.get(check)
    group = reading.text(first, "group") or (known.group if known else "")
    title = known.title if known else _title(check)
    return Entry(
        level,
        check,
        title,
        GROUPS.get(group, group),
        reading.text(first, "subject"),
        _message(first, title),
        _limit(first, level),
        reading.text(first, "meaning"),
        reading.text(first, "advice"),
        [(str(key).replace("_", " "), value(str(key), found)) for key, found in _evidence(first)[:MOST_EVIDENCE]],
        [(reading.text(one, "subject"), reading.text(one, "message")) for one in named[:others]],
        sum(beyond) + len(named[others:]),
    )


def _title(check: str) -> str:
    """Of a check that only the index review knows: "redundant-index" is "Redundant index"."""
    return check.replace("-", " ").capitalize() if re.fullmatch("[a-z]+(-[a-z]+)*", check) else check


def _message(one: Mapping[str, Any], title: str) -> str:
    """Without the title, which stands beside it."""
    said = reading.text(one, "message", "nothing was said")
    return said.removeprefix(f"{title}: ")


def _more(one: Mapping[str, Any]) -> int:
    """How many subjects an entry stands for that only tells how many there are besides."""
    return reading.whole(reading.section(one, "evidence"), "more")


def _evidence(one: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Without what the message says already."""
    return [
        (key, found) for key, found in reading.section(one, "evidence").items()
        if key not in ("unit", "more") and found not in (None, "", [], {})
    ]  # fmt: skip


def _limit(one: Mapping[str, Any], level: str) -> str:
    measured, limit = reading.number(one, "value"), reading.number(one, "threshold")
    unit = reading.text(reading.section(one, "evidence"), "unit")
    if measured is None or limit is None or limit == 1 or not unit or level not in (CRITICAL, WARNING):
        return ""
    return f"{level} {'from' if measured >= limit else 'up to'} {in_unit(limit, unit)}"


def value(key: str, found: Any) -> str:
    """A piece of evidence in words; numbers with a unit where its name tells one."""
    number = reading.as_number(found)
    if number is not None:
        return _number(key, number)
    if isinstance(found, Mapping):
        said = "; ".join(f"{name}: {value(str(name), one)}" for name, one in found.items())
    elif isinstance(found, (list, tuple)):
        said = ", ".join(value(key, one) for one in found)
    elif isinstance(found, bool):
        said = "yes" if found else "no"
    else:
        said = NOT_KNOWN if found is None else str(found)
    return cut(said, LONGEST_VALUE)


def _number(key: str, number: float) -> str:
    last = key.rpartition("_")[2]
    if last in ("bytes", "size", "waste"):
        return size(number)
    if last in ("seconds", "age") and key != "freeze_age":
        return duration(number)
    return count(number) if float(number).is_integer() else f"{number:g}"
