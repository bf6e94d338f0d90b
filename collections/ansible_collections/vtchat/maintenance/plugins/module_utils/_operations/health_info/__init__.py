# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""health_info: whether the database is well, and whether its maintenance does its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..._postgres.session import Session
from ..._result import CRITICAL, FAILED, INFO, LEVELS, UNCHANGED, WARNING, Finding
from ..._units import count
from .. import Action, Context, Decision, Need, Outcome, Verdict, reading
from . import options as _options
from .options import NEVER, Options

SPEC = _options.SPEC
DIVISIBLE = False
READ_ONLY = True
COUNTED_AS = ""


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    return _options.read(given)


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
    """What the checks say, in one round trip."""
    # Loaded where they are asked: there are many, and whoever only reads the options does without.
    from ..._checks import IS_LARGE, Asked
    from ..._checks.judge import Judge
    from ..._checks.registry import TOGETHER, ask, judged

    history = "" if context.history else context.history_note
    checks = options.chosen()
    limit = max(0.001, min(TOGETHER, context.seconds_left()))
    expired: tuple[tuple[str, str], ...] = ()
    first = f"SELECT {IS_LARGE} AS large"
    if options.purges and any(check.id == "expired-rows" for check in checks):
        from .waiting import waiting

        large, expired = waiting(session, options.purges, first, limit)
    else:
        ((large,),) = (row.values() for row in session.rows_and_set(first, limit))
    asked = Asked(
        session.server, options.plans, history, context.earlier, options.size_limit, expired, context.plan, large
    )
    answers = ask(session, checks, asked, reading(), context.seconds_left)
    return judged(checks, asked, answers, Judge(asked, answers.now, dict(options.limits), options.ignored))


def decide(facts: Sequence[Finding], options: Options, context: Context) -> list[Decision[None] | Finding]:
    """What was found, the worst first, and what it comes to."""
    levels = Counter(_worst(facts).values())
    ignored = sum("ignored" in one.evidence for one in facts)
    told = [_named(levels[level], level) for level in reversed(LEVELS) if levels[level]]
    told += [f"{count(ignored)} ignored"] if ignored else []
    failing = {CRITICAL: (CRITICAL,), WARNING: (CRITICAL, WARNING), NEVER: ()}[options.fail_on]
    failed = any(levels[level] for level in failing)
    total = sum(levels.values())
    reason = "all well" if levels[INFO] == total and not ignored else ", ".join(told)
    reason += f" (fail_on: {options.fail_on})" if failed else ""
    verdict = Verdict(f"{count(total)} checks", reason, FAILED if failed else UNCHANGED, dict(levels))
    return [*sorted(facts, key=lambda one: -LEVELS.index(one.level)), verdict]


def _named(number: int, level: str) -> str:
    """ "2 critical", "3 warnings", "1 unknown", "35 well"."""
    name = {INFO: "well", WARNING: "warning" if number == 1 else "warnings"}.get(level, level)
    return f"{count(number)} {name}"


def _worst(found: Sequence[Finding]) -> dict[str, str]:
    """The level of each check."""
    worst: dict[str, str] = {}
    for one in found:
        worst[one.check] = max(worst.get(one.check, INFO), one.level, key=LEVELS.index)
    return worst


def execute(session: Session, action: Action[None], context: Context) -> Outcome:
    """Nothing is ever decided that could be executed."""
    raise AssertionError("it only reads")
