# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""health_info: whether the database is well, and whether its maintenance does its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._checks import Asked, Thresholds
from .._checks.registry import BY_ID, CHECKS, ask
from .._errors import OptionError
from .._postgres.session import Session
from .._result import CRITICAL, FAILED, INFO, LEVELS, UNCHANGED, UNKNOWN, WARNING, Finding
from .._schedule import read_schedule
from .._spec import Spec
from .._units import count
from . import Action, Context, Decision, Need, Outcome, Verdict, reading

NEVER = "never"
SPEC = Spec({
    "fail_on": {"type": "str", "choices": [NEVER, CRITICAL, WARNING], "default": CRITICAL},
    "thresholds": {"type": "dict"},
    "plans": {"type": "dict"},
})  # fmt: skip
DIVISIBLE = False
READ_ONLY = True
COUNTED_AS = ""


@dataclass(frozen=True)
class Options:
    """fail_on: the level that fails the run. thresholds: by check. plans: schedules by name, None for those of the history."""

    fail_on: str = CRITICAL
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    plans: Mapping[str, Mapping[str, str]] | None = None


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults: list[str] = []
    thresholds = _read_thresholds(given.get("thresholds") or {}, faults)
    plans = _read_plans(given.get("plans"), faults)
    if faults:
        raise OptionError(faults)
    return Options(given.get("fail_on") or CRITICAL, thresholds, plans)


def _read_thresholds(given: Mapping[str, Any], faults: list[str]) -> dict[str, Thresholds]:
    read = {}
    for name, limits in given.items():
        where = f"thresholds.{name}"
        if name not in BY_ID:
            faults.append(f"{where}: there is no such check; there are {', '.join(BY_ID)}")
        elif not isinstance(limits, Mapping) or set(limits) - {WARNING, CRITICAL}:
            faults.append(f"{where}: it must be a mapping of warning and critical, as {{warning: 5, critical: null}}")
        else:
            wrong = [level for level, value in limits.items() if isinstance(value, (bool, str, list, dict))]
            faults += [f"{where}.{level}: it must be a number, or null for never" for level in wrong]
            if not wrong:
                own = BY_ID[name].thresholds
                read[name] = Thresholds(limits.get(WARNING, own.warning), limits.get(CRITICAL, own.critical))
    return read


def _read_plans(given: Mapping[str, Any] | None, faults: list[str]) -> dict[str, Mapping[str, str]] | None:
    if given is None:
        return None
    for name, schedule in given.items():
        if isinstance(schedule, Mapping):
            read_schedule(schedule, faults, f"plans.{name}.")
        else:
            faults.append(f"plans.{name}: it must be a mapping with every or at")
    return dict(given)


def names(_options: Options) -> Sequence[str]:
    """None: it is about the whole database."""
    return ()


def needs(_options: Options) -> Sequence[Need]:
    """None: what the role may not see is unknown."""
    return ()


def jobs(_options: Options) -> int:
    """There is nothing to execute."""
    return 1


def facts(session: Session, options: Options, context: Context) -> list[Finding]:
    """All checks, in one round trip."""
    history = "" if context.history else context.history_note
    asked = Asked(session.server.database, options.plans)
    return ask(session, asked, options.thresholds, history, reading())


def decide(facts: Sequence[Finding], options: Options, context: Context) -> list[Decision[None] | Finding]:
    """What was found, the worst first, and what it comes to."""
    levels = Counter(_worst(facts).values())
    told = [f"{count(levels[level])} {name}" for level, name in _NAMES.items() if levels[level]]
    told = [f"{one}s" if one.endswith("warning") and levels[WARNING] > 1 else one for one in told]
    failing = {CRITICAL: (CRITICAL,), WARNING: (CRITICAL, WARNING), NEVER: ()}[options.fail_on]
    failed = any(levels[level] for level in failing)
    reason = ", ".join(told) + (f" (fail_on: {options.fail_on})" if failed else "")
    verdict = Verdict(f"{count(len(CHECKS))} checks", reason, FAILED if failed else UNCHANGED, dict(levels))
    return [*sorted(facts, key=lambda one: -LEVELS.index(one.level)), verdict]


_NAMES = {CRITICAL: "critical", WARNING: "warning", UNKNOWN: "unknown", INFO: "well"}


def _worst(found: Sequence[Finding]) -> dict[str, str]:
    """The level of each check."""
    worst: dict[str, str] = {}
    for one in found:
        worst[one.check] = max(worst.get(one.check, INFO), one.level, key=LEVELS.index)
    return worst


def execute(session: Session, action: Action[None], context: Context) -> Outcome:
    """Nothing is ever decided that could be executed."""
    raise AssertionError("it only reads")
