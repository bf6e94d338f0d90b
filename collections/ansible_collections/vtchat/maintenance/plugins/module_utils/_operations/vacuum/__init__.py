# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""vacuum: remove dead rows, freeze, and mark pages as all-visible where that is due, worst first, beside a live application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union, cast

from ..._errors import OptionError
from ..._postgres.capabilities import BUFFER_USAGE_LIMIT, DATABASE_STATISTICS
from ..._postgres.names import quote
from ..._postgres.session import Session
from ..._result import CONTENDED, UNCHANGED
from ..._units import count
from .. import Action, Context, Decision, Effect, Need, Outcome, Verdict, chosen
from . import options as _options
from .facts import KINDS, NAMED_KINDS, Facts, Table, read_facts
from .judge import Case, Judgement, judge
from .options import Options
from .perform import database_statistics, vacuum
from .statement import ONLY_DATABASE_STATISTICS, DatabaseStatistics, Work, work

SPEC = _options.SPEC
DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""

MOST_TOLD = 100  # tables of a run, of which the server's own figures are kept (VERBOSE): a kilobyte each

Payload = Union[Work, DatabaseStatistics]


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    return _options.read(given)


def names(options: Options) -> Sequence[str]:
    """The tables; none where patterns choose."""
    return () if options.selection.include else options.selection.tables


def needs(options: Options) -> Sequence[Need]:
    """The owner's rights, or MAINTAIN."""
    named = [Need(name, "maintain", NAMED_KINDS) for name in options.selection.tables]
    return [*named, *chosen(options.selection, "maintain", KINDS)]


def jobs(options: Options) -> int:
    """As the option says."""
    return options.jobs


def facts(session: Session, options: Options, context: Context) -> Facts:
    """One round trip. Raises OptionError for what the server does not have."""
    if options.buffer_usage_limit is not None and not session.server.has(BUFFER_USAGE_LIMIT):
        raise OptionError([f"buffer_usage_limit: {BUFFER_USAGE_LIMIT.missing}; leave it out"])
    found = read_facts(session, options.selection, context)
    if session.shared:
        context.warn("vacuum: through a transaction pooler nothing can be set, so that pace is as the server is set")
    return found


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[Payload]]:
    """One decision per table: what is due, the nearest to a forced freeze first, then what has most to give back."""
    _warn(facts, context)
    due: list[tuple[Case, Judgement]] = []
    others: list[Decision[Payload]] = []
    seen: set[str] = set()
    for table in facts.tables:
        if table.target in seen:
            continue
        seen.add(table.target)
        if isinstance(table, Verdict):
            others.append(table)
            continue
        case = _case(table, facts, options, context)
        judgement = judge(case)
        verdict = _verdict(case, judgement)
        if verdict:
            others.append(verdict)
        else:
            due.append((case, judgement))
    at_once = min(options.jobs, max(1, len(due)))
    due.sort(key=lambda one: _urgency(one[0], one[1], at_once))
    few = len(due) <= MOST_TOLD
    return [*(_action(case, judgement, at_once, few) for case, judgement in due), *others, *_last(facts, due, at_once)]


def _case(table: Table, facts: Facts, options: Options, context: Context) -> Case:
    coming = context.forecast.get(table.relation.oid, Effect())
    return Case(table, facts.settings, facts.horizon, options, context.state.get(table.target, {}), coming)


def _verdict(case: Case, judgement: Judgement) -> Verdict | None:
    """What is final; None for a table that is to be vacuumed."""
    target = case.table.target
    if not judgement.due:
        return Verdict(target, judgement.reason, UNCHANGED, judgement.numbers)
    in_the_way = judgement.vain or case.table.busy
    return (
        Verdict(target, f"{judgement.reason}, but {in_the_way}", CONTENDED, judgement.numbers) if in_the_way else None
    )


def _urgency(case: Case, judgement: Judgement, at_once: int) -> tuple[float, ...]:
    """The key by which they are sorted. Several at once: within a class the biggest first, which keeps the tail short."""
    size = case.table.bytes or 0
    if at_once > 1:
        return (0 if judgement.freeze else 1, -int(judgement.nearness) if judgement.freeze else 0, -size)
    if judgement.freeze:
        return (0, -judgement.nearness, -size)
    return (1, -judgement.wasted * size, -size)


def _action(case: Case, judgement: Judgement, at_once: int, few: bool) -> Action[Payload]:
    job = work(case, judgement, at_once, few)
    return Action(
        case.table.target, judgement.reason, job, judgement.numbers, (f"{job.command} {case.table.target}",),
        effects={case.table.relation.oid: Effect(analyzed=job.analyze)},
        rows=case.heap.dead + (case.toast.dead if case.toast else 0), size=case.table.bytes,
    )  # fmt: skip


def _last(facts: Facts, due: Sequence[Any], at_once: int) -> list[Action[Payload]]:
    """What they leave out when several are vacuumed at once, for all of them."""
    if at_once == 1 or facts.settings.version < DATABASE_STATISTICS.since:
        return []
    reason = f"once for all of the {count(len(due))} tables"
    target, statements = f"database {quote(facts.database)}", (ONLY_DATABASE_STATISTICS,)
    return [Action(target, reason, DatabaseStatistics(), {}, statements, last=True)]


def _warn(facts: Facts, context: Context) -> None:
    """What is not known of all tables or of some is said once."""
    if not facts.settings.counts:
        context.warn("vacuum: the server counts no changes (track_counts is off): only pages and ages decide")
        return
    heaps = [table.heap for table in facts.tables if isinstance(table, Table)]
    number = sum(heap.uncounted or (heap.unknown and facts.settings.lost) for heap in heaps)
    if number:
        tables = "1 table has" if number == 1 else f"{count(number)} tables have"
        since = f", of {facts.settings.reset}" if facts.settings.reset else ""
        context.warn(
            f"vacuum: {tables} rows from before the last reset of the statistics{since}: what died before is not counted, so "
            "what has changed since decides, and pages and ages"
        )


def execute(session: Session, action: Action[Payload], context: Context) -> Outcome:
    """Vacuum one table, and look whether it was. Raises SqlError, Contended."""
    if isinstance(action.payload, DatabaseStatistics):
        return database_statistics(session)
    return vacuum(session, cast("Action[Work]", action), context)
