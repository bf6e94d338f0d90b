# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Results of modules as a report sees them: rows for a table, counts for a sentence. Pure.

Names and reasons come from databases, so every text passes ``clean`` before it is shown: nothing in a database can
add a line, move the cursor, or speak to the program that reads the log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import _units
from .._clean import clean
from .._result import (
    ABANDONED,
    CONTENDED,
    CRITICAL,
    DEFERRED,
    DONE,
    FAILED,
    LEVELS,
    OUTCOMES,
    PARTIAL,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    UNKNOWN,
    WARNING,
)
from . import findings

RunResult = Mapping[str, Any]
# (host, result) in the order in which the runs ended
Runs = Sequence[tuple[str, RunResult]]

# These three are counted even when they are zero.
ALWAYS = (DONE, UNCHANGED, FAILED)
# Capital letters: they must be seen in a log without colours as well.
# Levels of findings that are worth a line; the others are told with -v.
SHOWN = (UNKNOWN, WARNING, CRITICAL)
LOUD = (CONTENDED, DEFERRED, ABANDONED, FAILED, WARNING, CRITICAL)
WARN = (CONTENDED, DEFERRED)

# So many targets that nothing happened to for one reason are told one by one.
MOST_ALIKE = 5
_NUMBERS = re.compile(r"[0-9][0-9.,\u202f]*( ([KMGTP]i)?B\b| ms\b| s\b| min\b| h\b| d\b| rows?\b)?")

# What a module speaks to, where its result does not say: databases, but for these.
_SUBJECTS = {
    "endpoint": "application",
    "github_secrets": "service",
    "fly_secrets": "service",
    "shared_secrets": "service",
}


# Of these the targets are pages.
_PAGES = ("report", "report_overview")


class Row(NamedTuple):
    """One target or finding. All texts are clean."""

    outcome: str
    operation: str
    target: str
    amount: str = ""
    time: str = ""
    reason: str = ""
    statements: tuple[str, ...] = ()


def entries(result: RunResult, key: str = "actions") -> list[Mapping[str, Any]]:
    """The actions or findings of a result; whatever is not one is left out."""
    found = result.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, (list, tuple)) else []


def server(result: RunResult) -> Mapping[str, Any]:
    """What the module spoke to; empty where it did not come so far."""
    found = result.get("server")
    return found if isinstance(found, Mapping) else {}


def status(result: RunResult) -> str:
    """How the run ended."""
    return str(result.get("status") or "")


def message(result: RunResult) -> str:
    """The run's own message, where no row says it: skipped, or failed before any target did."""
    failed = any(action.get("outcome") == FAILED for action in entries(result))
    wanted = status(result) == SKIPPED or (status(result) == FAILED and not failed)
    return clean(result.get("msg") or "") if wanted else ""


def subject(result: RunResult) -> str:
    """What kind of thing the module spoke to: "database", "service" or "application"."""
    where = server(result)
    if where.get("provider") == "endpoint":
        return "application"
    if where.get("database"):
        return "database"
    return "service" if where.get("target") else _SUBJECTS.get(str(result.get("module")), "database")


def rows(result: RunResult, verbose: bool = False) -> list[Row]:
    """One row a target, then one for each check that has found something; with verbose all findings."""
    return [*targets(result, verbose), *map(of_finding, told(result, verbose))]


def told(result: RunResult, verbose: bool = False) -> list[findings.Told]:
    """What was found and is worth a line, by group; with verbose all of it, one by one."""
    return findings.told(entries(result, "findings"), LEVELS if verbose else SHOWN, verbose)


def targets(result: RunResult, verbose: bool = False) -> list[Row]:
    """One row a target.

    Unless verbose, what nothing happened to in a database is told together: all objects, and targets of one operation for which
    the reasons differ in their numbers only.
    """
    together = not verbose and subject(result) == "database"
    idle = [_idle(action) if together else None for action in entries(result)]
    counts = Counter(idle)
    shown: dict[_Idle | int, Row] = {}
    for number, (action, what) in enumerate(zip(entries(result), idle)):
        if what is None or (what.operation and counts[what] <= MOST_ALIKE):
            shown[number] = _row(action)
        elif what not in shown:
            shown[what] = _alike(what, counts[what], action)
    objects = shown.pop(OBJECTS, None)
    return [*shown.values(), *([objects] if objects else [])]


class _Idle(NamedTuple):
    """Targets of an operation that nothing happened to for the same reason but for its numbers; without one, all objects."""

    operation: str
    reason: str = ""


OBJECTS = _Idle("")


def _idle(action: Mapping[str, Any]) -> _Idle | None:
    """What an entry may be told together with, if nothing happened to its target."""
    if action.get("outcome") != UNCHANGED:
        return None
    if action.get("kind"):
        return OBJECTS
    return _Idle(clean(action.get("operation") or "?"), _NUMBERS.sub("#", clean(action.get("reason") or "")))


def _alike(what: _Idle, number: int, first: Mapping[str, Any]) -> Row:
    if what == OBJECTS:
        return Row(UNCHANGED, "keep", count_of(number, "object"))
    row = _row(first)
    return Row(UNCHANGED, row.operation, count_of(number, "target"), reason=f"such as {row.target}: {row.reason}")


def _row(action: Mapping[str, Any]) -> Row:
    found = action.get("statements")
    statements = found if isinstance(found, (list, tuple)) else []
    reason = clean(action.get("reason") or "")
    basis = clean(action.get("basis") or "")
    if basis and action.get("outcome") in (DONE, UNCHANGED, PLANNED):
        reason = f"{reason} (basis: {basis})".strip()
    return Row(
        outcome=clean(action.get("outcome") or "?"),
        operation=clean(" ".join(str(action[key]) for key in ("operation", "kind") if action.get(key))),
        target=clean(action.get("target") or ""),
        amount=amount(action),
        time=time(action.get("seconds")),
        reason=reason,
        statements=tuple(clean(" ".join(str(text).split())) for text in statements),
    )


def of_finding(one: findings.Told) -> Row:
    """The row of a check."""
    others = f"likewise {one.others}" if one.others else ""
    return Row(
        one.level, one.check, one.subject, reason="; ".join(text for text in (one.message, others, one.do) if text)
    )


def amount(action: Mapping[str, Any]) -> str:
    """Rows, or bytes where there are no rows: ``bytes_after`` less ``bytes_before``, or ``bytes``, of the numbers.

    Nothing for what was left as it is: a size would look as if something had become of it.
    """
    if action.get("outcome") in (UNCHANGED, SKIPPED):
        return ""
    rows: Any = action.get("rows")
    if is_int(rows) and (rows or action.get("outcome") == DONE):
        return _units.rows(rows)
    numbers = action.get("numbers")
    numbers = numbers if isinstance(numbers, Mapping) else {}
    sizes: list[Any] = [numbers.get(key) for key in ("bytes_before", "bytes_after", "bytes")]
    before, after, plain = sizes
    if is_int(before) and is_int(after):
        return _units.size(after - before, signed=True) if after != before else ""
    return _units.size(plain) if is_int(plain) and plain else ""


def time(seconds: Any) -> str:
    """A duration for people; empty where it is not known."""
    known = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0
    return _units.duration(seconds) if known else ""


def is_int(value: Any) -> bool:
    """A number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def count_of(number: int, noun: str) -> str:
    """ "1 database", "2 databases", "3 indexes"."""
    if number != 1:
        noun = f"{noun}es" if noun.endswith(("s", "x")) else f"{noun[:-1]}ies" if noun.endswith("cy") else f"{noun}s"
    return f"{_units.count(number)} {noun}"


# --- all runs of a playbook


def totals(runs: Runs) -> dict[str, int]:
    """How many targets had which outcome, over all runs; only outcomes that occurred."""
    return dict(Counter(str(one.get("outcome") or "?") for _host, result in runs for one in entries(result)))


class Totals(NamedTuple):
    """All runs of a playbook in one sentence. kind: outcome that gives it its colour."""

    text: str
    kind: str


def summed(runs: Runs, lost: int = 0) -> Totals:
    """What was spoken to, the outcomes of all targets, and what else is worth knowing. lost: hosts that failed without a run."""
    check = bool(runs) and all(result.get("check_mode") for _host, result in runs)
    parts: list[str] = []
    for noun in ("database", "service", "application", "page"):
        parts += _of_subject(noun, [(host, result) for host, result in runs if _counted(result) == noun], check)
    if check and parts:
        parts[0] = parts[0].replace(":", " in check mode:", 1)
    parts += _counted_rows(runs) + _counted_findings(runs)
    statuses = [status(result) for _host, result in runs]
    if SKIPPED in statuses:
        parts.append(f"{count_of(statuses.count(SKIPPED), 'run')} skipped")
    # Failed runs whose failure no target shows.
    broken = sum(1 for _host, result in runs if status(result) == FAILED and message(result))
    if broken:
        parts.append(f"{count_of(broken, 'run')} broke off")
    if lost:
        parts.append(f"{count_of(lost, 'host')} failed without a result")
    if check:
        parts.append("nothing was changed")
    found = totals(runs)
    return Totals(
        "; ".join(parts), FAILED if lost or FAILED in statuses or found.get(FAILED) else _worst(found, statuses)
    )


def _counted(result: RunResult) -> str:
    """What the targets of a run are counted as: of reports that is not what they are about."""
    return "page" if result.get("module") in _PAGES else subject(result)


def _of_subject(noun: str, runs: Runs, check: bool) -> list[str]:
    """ "1 database: 2 done, 0 unchanged, 0 failed" and, where there are any, its objects."""
    found = [one for _host, result in runs for one in entries(result)]
    if not runs or (noun == "page" and not found):
        return []
    plain = [one for one in found if not one.get("kind")]
    kinded = [one for one in found if one.get("kind")]
    counted = count_of(len(found) if noun == "page" else _different(runs), noun)
    if not kinded:
        return [f"{counted}: {_outcomes(plain, check)}"]
    things = "object"
    kinds = Counter(str(one["kind"]) for one in kinded)
    named = (
        count_of(len(kinded), things)
        if noun == "database"
        else ", ".join(count_of(kinds[kind], kind) for kind in kinds)
    )
    if not plain:
        counted = f"{counted}, " if noun == "database" else ""
        return [f"{counted}{clean(named)}: {_outcomes(kinded, check)}"]
    return [f"{counted}: {_outcomes(plain, check)}", f"{clean(named)}: {_outcomes(kinded, check, always=())}"]


def _outcomes(found: Iterable[Mapping[str, Any]], check: bool, always: Sequence[str] = ALWAYS) -> str:
    counts = Counter(str(one.get("outcome")) for one in found)
    shown = [name for name in OUTCOMES if counts[name] or (name in always and not (check and name == DONE))]
    return ", ".join(f"{_units.count(counts[name])} {name}" for name in shown)


def _different(runs: Runs) -> int:
    """How many databases, services or applications these runs were about."""
    named = {(host, _name(result)) for host, result in runs if _name(result)}
    # A run that never reached its server does not know the database's name.
    unnamed = {host for host, _result in runs} - {host for host, _named in named}
    return len(named) + len(unnamed)


def _name(result: RunResult) -> str:
    where = server(result)
    if where.get("database"):
        return str(where["database"])
    return " ".join(str(where[key]) for key in ("provider", "host", "target") if where.get(key))


def _counted_rows(runs: Runs) -> list[str]:
    """ "33 333 rows purged in 1.1 s" """
    parts = []
    counted = [
        one
        for _host, result in runs
        for one in entries(result)
        if one.get("counted_as") and one.get("outcome") not in (PLANNED, UNCHANGED, SKIPPED) and is_int(one.get("rows"))
    ]
    for became in dict.fromkeys(clean(one["counted_as"]) for one in counted):
        done = [one for one in counted if clean(one["counted_as"]) == became]
        number = sum(one["rows"] for one in done)
        if number:
            spent = time(sum(_seconds(one) for one in done))
            parts.append(f"{_units.rows(number)} {became}" + (f" in {spent}" if spent else ""))
    return parts


def _counted_findings(runs: Runs) -> list[str]:
    counts = Counter(str(one.get("level")) for _host, result in runs for one in entries(result, "findings"))
    nouns = ((CRITICAL, "critical finding"), (WARNING, "warning"))
    return [count_of(counts[level], noun) for level, noun in nouns if counts[level]]


def _worst(found: Mapping[str, int], statuses: Sequence[str]) -> str:
    if PARTIAL in statuses or any(found.get(name) for name in WARN):
        return DEFERRED
    return DONE if found.get(DONE) or found.get(PLANNED) else UNCHANGED


def _seconds(action: Mapping[str, Any]) -> float:
    seconds = action.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else 0.0
