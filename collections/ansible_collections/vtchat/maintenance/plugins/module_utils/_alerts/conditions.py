# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What results of modules say: one condition for each check of each database, well or bad. Pure.

Whatever it is made of comes from databases and servers, so every text is cleaned and cut here, before anything is made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._clean import clean
from .._masking import NOTHING, Hidden
from .._result import CRITICAL, INFO, UNKNOWN, WARNING

# How bad it is. A check that could not look (UNKNOWN) says nothing about that.
RANK = {level: number for number, level in enumerate((INFO, WARNING, CRITICAL))}
# The check of a database that could not be looked at.
UNREACHABLE = "unreachable"

# So many subjects are told one by one.
MOST_FACTS = 10
LONGEST_NAME = 120
LONGEST_TEXT = 500


@dataclass(frozen=True)
class Fact:
    """One subject that is not well. All texts are clean, one line each."""

    subject: str
    level: str
    message: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"subject": self.subject, "level": self.level, "message": self.message, "advice": self.advice}


@dataclass(frozen=True)
class Condition:
    """How one check of one database is.

    level  INFO where it is well, else the worst of its subjects
    sure   False where a part of it could not be looked at, so that it may be worse than that
    facts  the subjects that are not well, the worst first, MOST_FACTS at the most
    more   how many subjects there are beside these
    """

    name: str
    check: str
    level: str = INFO
    sure: bool = True
    facts: tuple[Fact, ...] = ()
    more: int = 0

    @property
    def key(self) -> str:
        """By this an alert is the same in all runs."""
        return f"{self.name}/{self.check}"

    @property
    def bad(self) -> bool:
        return self.level != INFO


def digest(text: str) -> str:
    """What stands for a text where the text itself had better not be."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def one_line(value: Any, longest: int, hidden: Hidden = NOTHING) -> str:
    """A text as it may be told: without secrets, on one line, not longer than so many characters."""
    text = clean(hidden.scrub(" ".join(str(value).split())))
    return text if len(text) <= longest else text[: longest - 2] + " …"


def conditions(
    results: Iterable[Mapping[str, Any]], name: str = "", fallback: str = "", hidden: Hidden = NOTHING
) -> list[Condition]:
    """The conditions, the worst first.

    name      what all of these results are about; empty: each says so itself
    fallback  what results are about that do not say it
    hidden    what must not be told
    """
    found: dict[tuple[str, str], list[Fact]] = {}
    reached: dict[str, Fact | None] = {}
    for result in _flat(results):
        about = one_line(name or _name(result) or fallback or "database", LONGEST_NAME, hidden)
        findings = _list(result, "findings")
        for one in findings:
            # Without a slash: the last one in a key is before the check, whatever stands in the name.
            check = one_line(one.get("check") or "?", LONGEST_NAME, hidden).replace("/", "-")
            found.setdefault((about, check), []).append(_fact(one, hidden))
        if _reached(result) or findings:
            reached[about] = None
        elif result.get("failed") or result.get("unreachable"):
            message = one_line(result.get("msg") or "it failed without a message", LONGEST_TEXT, hidden)
            reached[about] = Fact(about, CRITICAL, message)
    for about, fact in reached.items():
        found[about, UNREACHABLE] = [fact or Fact(about, INFO, "")]
    return sorted(
        (_condition(*key, facts) for key, facts in found.items()), key=lambda one: (-RANK[one.level], one.key)
    )


def _condition(name: str, check: str, facts: Sequence[Fact]) -> Condition:
    bad = sorted(
        (fact for fact in facts if RANK.get(fact.level, 0) > 0), key=lambda one: (-RANK[one.level], one.subject)
    )
    level = bad[0].level if bad else INFO
    sure = all(fact.level in RANK for fact in facts)
    return Condition(name, check, level, sure, tuple(bad[:MOST_FACTS]), max(0, len(bad) - MOST_FACTS))


def _fact(one: Mapping[str, Any], hidden: Hidden) -> Fact:
    level = one.get("level")
    subject, message, advice = (
        one_line(one.get(key) or "", longest, hidden)
        for key, longest in (("subject", LONGEST_NAME), ("message", LONGEST_TEXT), ("advice", LONGEST_TEXT))
    )
    return Fact(subject, level if isinstance(level, str) and level in RANK else UNKNOWN, message, advice)


def _flat(results: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The results; one of a loop has those of its items inside."""
    for result in results:
        if isinstance(result.get("results"), (list, tuple)) and "findings" not in result:
            yield from _list(result, "results")
        else:
            yield result


def _list(result: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = result.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, (list, tuple)) else []


def _server(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found = result.get("server")
    return found if isinstance(found, Mapping) else {}


def _reached(result: Mapping[str, Any]) -> bool:
    return bool(_server(result))


def _name(result: Mapping[str, Any]) -> str:
    """The host of the inventory, where the summary's file for programs says it, or the database."""
    return str(result.get("inventory_host") or _server(result).get("database") or "")
