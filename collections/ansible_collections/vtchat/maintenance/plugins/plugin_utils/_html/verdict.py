# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether it is well: one word, one sentence for whoever has no time, and what an overview knows of a database. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import reading
from .words import count, duration

# From the worst on. A database that cannot be reached may be anything: nobody knows.
CRITICAL, UNREACHABLE, WARNING, UNKNOWN, WELL = "critical", "unreachable", "warning", "unknown", "info"
NOT_ASKED = "not_asked"  # nobody expected an answer
ORDER = (CRITICAL, UNREACHABLE, WARNING, UNKNOWN, NOT_ASKED, WELL)
MOST_SIZES = 13  # of the growth in an overview


class Shown(NamedTuple):
    """A verdict. headline: a word or three; symbol, tone, css: as of words.Word."""

    headline: str
    symbol: str
    tone: str
    css: str


HEADLINES = {
    CRITICAL: Shown("Action needed now", "✕", "bad", "critical"),
    UNREACHABLE: Shown("Cannot be reached", "⊘", "bad", "abandoned"),
    WARNING: Shown("Needs attention", "▲", "warn", "warning"),
    UNKNOWN: Shown("Not known", "?", "dim", "unknown"),
    NOT_ASKED: Shown("Not asked", "○", "dim", "aside"),
    WELL: Shown("All is well", "✓", "good", "info"),
}


IN_WORDS = {
    CRITICAL: ("needs action now", "need action now"),
    UNREACHABLE: ("cannot be reached", "cannot be reached"),
    WARNING: ("needs attention", "need attention"),
    UNKNOWN: ("is not known", "are not known"),
    NOT_ASKED: ("was not asked", "were not asked"),
    WELL: ("is well", "are well"),
}


class Verdict(NamedTuple):
    """status: one of ORDER. sentence: what a manager reads."""

    status: str
    sentence: str

    @property
    def shown(self) -> Shown:
        """The word and its looks."""
        return HEADLINES[self.status]


def levels(report: Mapping[str, Any]) -> dict[str, int]:
    """How many checks have each level as their worst."""
    worst: dict[str, str] = {}
    order = (CRITICAL, WARNING, UNKNOWN, WELL)
    for number, finding in enumerate(reading.entries(reading.section(report, "health"), "findings")):
        level = reading.text(finding, "level")
        level = level if level in order else UNKNOWN
        check = reading.text(finding, "check", f"#{number}")
        if check not in worst or order.index(level) < order.index(worst[check]):
            worst[check] = level
    return {level: number for level in order if (number := list(worst.values()).count(level))}


def troubles(plan: Mapping[str, Any]) -> list[str]:
    """What is wrong with a plan: "is overdue for 3 h", "failed when it last ran"."""
    found = []
    overdue = reading.number(plan, "overdue")
    if overdue is not None and overdue > 0:
        found.append(f"is overdue for {duration(overdue)}")
    last = reading.text(plan, "last_status")
    if last in ("failed", "abandoned"):
        found.append(f"{'failed' if last == 'failed' else 'was abandoned'} when it last ran")
    if reading.text(plan, "schedule") and not reading.text(plan, "last"):
        found.append("has not run yet")
    return found


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Of one database."""
    if reading.text(report, "unreachable"):
        return Verdict(
            UNREACHABLE, "The database could not be asked, so nothing is known about it but what is said below."
        )
    if reading.text(report, "not_asked"):
        return Verdict(NOT_ASKED, "The database was not asked, so this page has nothing about it but why.")
    health = reading.section(report, "health")
    found = levels(report)
    plans = reading.entries(report, "plans")
    troubled = [plan for plan in plans if troubles(plan)]
    status = _status(reading.text(health, "status"), found, bool(troubled))
    return Verdict(status, f"{_of_health(health, found)} {_of_plans(plans, troubled)}")


def _status(said: str, found: Mapping[str, int], troubled: bool) -> str:
    """The worst of what health says, of its findings, and of the plans."""
    known = [one for one in (said, *found) if one in (CRITICAL, WARNING, WELL)]
    # What could not be seen is no trouble where something else could: it is told beside.
    states = known or [UNKNOWN]
    if said == UNKNOWN:
        states.append(UNKNOWN)
    if troubled:
        states.append(WARNING)
    return min(states, key=ORDER.index)


def _of_health(health: Mapping[str, Any], found: Mapping[str, int]) -> str:
    total = sum(found.values())
    if not total:
        return "Whether the database is well could not be asked."
    unseen = found.get(UNKNOWN, 0)
    blind = f"; {count(unseen, 'check')} could not see enough" if unseen else ""
    bad = [
        f"{count(found[level], singular, plural)}"
        for level, singular, plural in (
            (CRITICAL, "needs action now", "need action now"),
            (WARNING, "needs attention before long", "need attention before long"),
        )
        if level in found
    ]
    if not bad:
        return f"The database is well by {_all(found.get(WELL, 0), total)}{blind}."
    return f"Of {count(total, 'check')}, {' and '.join(bad)}{blind}."


def _all(number: int, total: int) -> str:
    return (
        f"all {count(total, 'check')}"
        if number == total and total > 1
        else f"{count(number)} of {count(total, 'check')}"
    )


def _of_plans(plans: Sequence[Mapping[str, Any]], troubled: Sequence[Mapping[str, Any]]) -> str:
    if not plans:
        return "Nothing is known of any maintenance."
    if not troubled:
        return "Maintenance ran when it should."
    said = [f"“{reading.text(plan, 'name', 'a plan')}” {', '.join(troubles(plan))}" for plan in troubled[:2]]
    more = f"; and {count(len(troubled) - 2, 'more plan')}" if len(troubled) > 2 else ""
    return f"Maintenance is not as it should be: {'; '.join(said)}{more}."


def glance(report: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What an overview needs of a report. file: where its page is, beside the overview; "" without one."""
    growth = reading.section(report, "growth")
    sizes = [
        (reading.text(one, "day"), (reading.number(one, "bytes") or 0))
        for one in reading.entries(growth, "database")
        if reading.number(one, "bytes") is not None
    ]
    step = max(1, -(-len(sizes) // MOST_SIZES))
    kept = sizes[::-1][::step][::-1]
    keys = ("name", "last", "last_status", "overdue", "success")
    return {
        "title": reading.text(report, "title"),
        "database": reading.text(report, "database"),
        "file": file,
        "status": verdict(report).status,
        "sentence": verdict(report).sentence,
        "levels": levels(report),
        "unreachable": reading.text(report, "unreachable"),
        "not_asked": reading.text(report, "not_asked"),
        "plans": [{key: plan.get(key) for key in keys} for plan in reading.entries(report, "plans")],
        "bytes": sizes[-1][1] if sizes else None,
        "sizes": [list(one) for one in kept],
        "generated_runs": reading.whole(report, "generated_runs"),
    }


def worst_first(databases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The order of an overview: by verdict, by how many findings are how bad, by name."""

    def badness(one: Mapping[str, Any]) -> tuple[int, int, int, str]:
        status = reading.text(one, "status")
        found = reading.counts(one, "levels")
        place = ORDER.index(status) if status in ORDER else ORDER.index(UNKNOWN)
        return place, -found.get(CRITICAL, 0), -found.get(WARNING, 0), reading.text(one, "title")

    return sorted(databases, key=badness)


def of_fleet(databases: Sequence[Mapping[str, Any]]) -> Shown:
    """What the worst of several databases is, and how many are so: "2 of 300 need attention"."""
    if not databases:
        return HEADLINES[UNKNOWN]._replace(headline="No databases")
    found = [reading.text(one, "status") for one in databases]
    worst = min((status if status in ORDER else UNKNOWN for status in found), key=ORDER.index)
    if worst == WELL:
        return HEADLINES[WELL]
    number = sum(1 for status in found if status == worst or (worst == UNKNOWN and status not in ORDER))
    what = IN_WORDS[worst][0 if number == 1 else 1]
    return HEADLINES[worst]._replace(headline=f"{count(number)} of {count(len(found))} {what}")


def summary(databases: Sequence[Mapping[str, Any]]) -> str:
    """ "1 needs action now, 2 need attention, 1 cannot be reached, 297 are well" """
    found = dict.fromkeys(ORDER, 0)
    for one in databases:
        status = reading.text(one, "status")
        found[status if status in found else UNKNOWN] += 1
    return ", ".join(count(number, *IN_WORDS[status]) for status, number in found.items() if number)
