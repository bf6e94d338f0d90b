# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether it is well: one word, one sentence for whoever has no time, and what an overview knows of a database. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from . import reading
from .bounds import bounded
from .words import count, duration

# From the worst on. A database that cannot be reached may be anything: nobody knows.
CRITICAL, UNREACHABLE, WARNING, UNKNOWN, WELL = "critical", "unreachable", "warning", "unknown", "info"
NOT_ASKED = "not_asked"  # nobody expected an answer
ORDER = (CRITICAL, UNREACHABLE, WARNING, UNKNOWN, NOT_ASKED, WELL)
MOST_SIZES = 13  # of the growth in an overview
MOST_GLANCED = 4  # plans of a database in an overview
WEEK = 7  # days: what was missed before is told, and no trouble any more


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
    """What is wrong with a plan now: "is overdue for 3 h", "failed when it last ran"."""
    found = []
    overdue = reading.number(plan, "overdue")
    if overdue is not None and overdue > 0:
        found.append(f"is overdue for {duration(overdue)}")
    last = reading.text(plan, "last_status")
    if last in ("failed", "abandoned"):
        found.append(f"{'failed' if last == 'failed' else 'was abandoned'} when it last ran")
    if reading.text(plan, "schedule") and not reading.text(plan, "last"):
        found.append("has not run yet")
    runs, expected = _of_a_week(plan)
    if expected > 2 * runs:
        found.append(f"missed {count(expected - runs)} of {count(expected, 'run')} in {WEEK} days")
    return found


def _of_a_week(plan: Mapping[str, Any]) -> tuple[int, int]:
    """How many runs there were and should have been in the last week for which somebody knows that."""
    known = [
        (day, one) for one in reading.entries(plan, "days")[-WEEK:]
        if (day := reading.day(one.get("day"))) and reading.number(one, "expected") is not None
    ]  # fmt: skip
    last = max((day for day, _one in known), default=date.max)
    week = [one for day, one in known if last - timedelta(days=WEEK) < day]
    runs = sum(max(reading.whole(one, "runs"), sum(reading.counts(one, "statuses").values())) for one in week)
    return runs, sum(reading.whole(one, "expected") for one in week)


def success(plan: Mapping[str, Any]) -> tuple[int, int]:
    """How many runs did their work, of how many that ended: the one definition for the whole page."""
    ended = max(0, reading.whole(plan, "ended"))
    return min(ended, max(0, reading.whole(plan, "good"))), ended


def worst_plans_first(plans: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those with troubles first, the longest overdue before all; else in their order."""
    return sorted(plans, key=lambda one: (not troubles(one), -(reading.number(one, "overdue") or 0)))


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
    said = (_of_health(health, found), _of_indexes(report), _of_plans(plans, troubled))
    return Verdict(status, " ".join(one for one in said if one))


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


def _of_indexes(report: Mapping[str, Any]) -> str:
    """What the review has found, which is no check of health: "The review of indexes found 1 that is not needed." """
    found = reading.entries(reading.section(report, "indexes"), "findings")
    drop = [one for one in found if "drop" in reading.section(one, "evidence")]
    bad = [one for one in found if one not in drop and reading.text(one, "level") in (CRITICAL, WARNING)]
    said = [
        count(len(some), *words)
        for some, words in (
            (drop, ("that is not needed", "that are not needed")),
            (bad, ("thing to look at", "things to look at")),
        )
        if some
    ]
    return f"The review of indexes found {' and '.join(said)}." if said else ""


def _of_plans(plans: Sequence[Mapping[str, Any]], troubled: Sequence[Mapping[str, Any]]) -> str:
    if not plans:
        return "Nothing is known of any maintenance."
    missed = sum(max(0, reading.whole(plan, "missed")) for plan in plans)
    expected = sum(max(0, reading.whole(plan, "expected")) for plan in plans)
    lost = f"{count(missed)} of {count(expected, 'run')} that should have come did not" if missed else ""
    if not troubled:
        return f"Maintenance ran, but {lost}." if lost else "Maintenance ran when it should."
    worst = worst_plans_first(troubled)[:2]
    said = [f"\u201c{reading.text(plan, 'name', 'a plan')}\u201d {', '.join(troubles(plan))}" for plan in worst]
    said += [lost] if lost else []
    more = f"; and {count(len(troubled) - 2, 'more plan')}" if len(troubled) > 2 else ""
    return f"Maintenance is not as it should be: {'; '.join(said)}{more}."


def glance(report: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What an overview needs of a report. file: where its page is, beside the overview; "" without one."""
    report = bounded(report)
    growth = reading.section(report, "growth")
    plans = worst_plans_first(reading.entries(report, "plans"))
    judged = verdict(report)
    sizes = [
        (reading.text(one, "day"), (reading.number(one, "bytes") or 0))
        for one in reading.entries(growth, "database")
        if reading.number(one, "bytes") is not None
    ]
    step = max(1, -(-len(sizes) // MOST_SIZES))
    kept = sizes[::-1][::step][::-1]
    return {
        "title": reading.text(report, "title"),
        "database": reading.text(report, "database"),
        "file": file,
        "status": judged.status,
        "sentence": judged.sentence,
        "levels": levels(report),
        "unreachable": reading.text(report, "unreachable"),
        "not_asked": reading.text(report, "not_asked"),
        "plans": [_glimpse(plan) for plan in plans[:MOST_GLANCED]],
        "more_plans": len(plans[MOST_GLANCED:]),
        "bytes": sizes[-1][1] if sizes else None,
        "sizes": [list(one) for one in kept],
        "generated_runs": reading.whole(report, "generated_runs"),
    }


def _glimpse(plan: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "last", "last_status", "overdue", "success")
    return {**{key: plan.get(key) for key in keys}, "troubles": troubles(plan)}


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
