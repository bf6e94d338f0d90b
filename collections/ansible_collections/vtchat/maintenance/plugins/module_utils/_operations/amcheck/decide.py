# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is due, the longest unchecked first. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..._postgres.driver import sql
from ..._postgres.names import quote
from ..._result import CRITICAL, INFO, SKIPPED, UNCHANGED, Finding
from ..._units import count, duration
from .. import Action, Context, Decision, Verdict
from .facts import BTREE, GIN_METHOD, HEAP_METHOD, TABLE, TOAST, Facts, Part
from .functions import GIN, HEAPAM, Amcheck, Function, flags, of_btree
from .memory import Memory
from .options import HEAP, UNIQUE, Options

CORRUPTION = "corruption"  # the check, as findings call it
LOOKED = "at"  # what is remembered of the step itself: when it looked last

MEANING = "queries give wrong answers or fail, and what is backed up from now on is wrong as well"
LOOK_FIRST = (
    "copy its files before anything else, and look for the cause: the disk, the memory, collations that have changed, a release "
    "of PostgreSQL with a known fault. "
)


@dataclass(frozen=True)
class Work:
    """What execute() needs. now: the server's clock when the facts were read."""

    part: Part
    memory: Memory
    depth: frozenset[str]
    amcheck: Amcheck
    now: float

    @property
    def function(self) -> Function:
        """What is called."""
        if not self.part.is_index:
            return HEAPAM
        return GIN if self.part.method == GIN_METHOD else of_btree(self.depth)

    def call(self, relation: sql.Composable) -> sql.Composed:
        """The check of an index."""
        return self.amcheck.call(self.function, [relation, *map(sql.SQL, flags(self.function, self.depth))])

    @property
    def shown(self) -> str:
        """The check as one would write it."""
        if self.part.is_index:
            return f"SELECT {self.amcheck.shown(self.function, self.part.target, flags(self.function, self.depth))}"
        call = self.amcheck.shown(HEAPAM, self.part.target, ["check_toast => true"])
        return f"SELECT * FROM {call}"  # noqa: S608 - for people


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[Work] | Finding]:
    """What was found ill before, then what was never checked, then the longest ago; and one verdict about all the rest."""
    # The files of a standby are its own, and what was found in those of the primary says nothing about them.
    known = {} if facts.amcheck.server.in_recovery else context.state
    whole = f"database {quote(facts.amcheck.server.database)}"
    looked = known.get(whole, {}).get(LOOKED)
    # What would be too old by the time of the next run is due in this one.
    period = min(max(0.0, facts.now - looked), options.seconds / 2) if looked else 0.0
    decisions: list[Decision[Work] | Finding] = list(facts.verdicts)
    due: list[tuple[tuple[bool, float, int, str], Action[Work]]] = []
    ages: list[float] = []
    for part in facts.parts:
        refused = _refused(part, facts)
        if refused:
            decisions.append(Verdict(part.target, refused, SKIPPED))
        elif _checkable(part, facts):
            memory = Memory.read(known.get(part.target), part.oid, part.file)
            work = Work(part, memory, _depth(part, options), facts.amcheck, facts.now)
            last = memory.last(work.depth)
            reason = _due(work, last, options, period)
            if memory.sick:
                decisions.append(sickness(part, memory.sick, f"{duration(max(0.0, facts.now - memory.seen))} ago: "))
            if reason:
                due.append(((not memory.sick, last or 0.0, part.bytes, part.target), _action(work, reason)))
            else:
                ages.append(facts.now - (last or 0.0))
    if not facts.amcheck.server.in_recovery and not any(isinstance(one, Finding) for one in decisions):
        decisions.append(_nothing_known(facts.amcheck.server.database))
    due.sort(key=lambda one: one[0])
    return [*decisions, *(action for _order, action in due), _rest(whole, facts, options, ages, len(due))]


def _nothing_known(database: str) -> Finding:
    """Whoever was told of something corrupt that is no more is told by this that it is over."""
    known = "nothing was known to be corrupt when this run began"
    return Finding(CORRUPTION, database, INFO, known, 0, 1, {"unit": "problems"}, keep=False)


def _rest(target: str, facts: Facts, options: Options, ages: list[float], due: int) -> Verdict:
    """What is not due, in one line: of thousands nobody reads more."""
    whole = len(ages) + due
    within = f"checked within {options.every}, the longest ago {duration(max(ages))} ago" if ages else ""
    if due:
        reason = f"{count(due)} of {count(whole)} tables and indexes are due" + (
            f", the others {within}" if ages else ""
        )
    else:
        reason = f"{count(whole)} tables and indexes, all {within}" if whole else "there is nothing to check"
    state = {LOOKED: facts.now} if facts.parts else None
    return Verdict(target, reason, UNCHANGED, {"objects": whole, "due": due}, state)


def _refused(part: Part, facts: Facts) -> str:
    """Why something that one would expect to be checked is not."""
    if not part.valid:
        return "it is not valid, so that no query uses it: rebuild or drop it"
    if part.kind in (TABLE, TOAST) and part.method != HEAP_METHOD:
        return f"amcheck knows nothing of its access method {quote(part.method)}"
    return (
        "it is unlogged, and nothing of it is on a standby"
        if part.unlogged and facts.amcheck.server.in_recovery
        else ""
    )


def _checkable(part: Part, facts: Facts) -> bool:
    return not part.is_index or part.method == BTREE or (part.method == GIN_METHOD and facts.amcheck.has_gin)


def _depth(part: Part, options: Options) -> frozenset[str]:
    """How thoroughly; of what makes no difference to this one it takes no notice."""
    if part.method != BTREE:
        return frozenset()
    return options.depth if part.unique else options.depth - {UNIQUE}


def _due(work: Work, last: float | None, options: Options, period: float) -> str:
    """Why it is due, "" if it is not."""
    memory, so = work.memory, f" with {', '.join(sorted(work.depth))}" if work.depth else ""
    if memory.sick:
        return "it was corrupt when it was checked last"
    if memory.block:
        return f"its check goes on at page {count(memory.block)}"
    if last is None:
        return f"never checked{so}"
    age = work.now - last
    if age >= options.seconds:
        return f"checked{so} {duration(age)} ago (every: {options.every})"
    if age + period >= options.seconds:
        return f"checked{so} {duration(age)} ago, and the next run may come too late (every: {options.every})"
    return ""


def _action(work: Work, reason: str) -> Action[Work]:
    part = work.part
    size = part.bytes + (part.heap_bytes if HEAP in work.depth else 0)
    numbers = {"kind": part.kind, "bytes": part.bytes}
    return Action(part.target, reason, work, numbers, (work.shown,), size=size, divisible=not part.is_index)


def sickness(part: Part, what: str, before: str = "", problems: int = 1, more: tuple[str, ...] = ()) -> Finding:
    """The finding about something that is corrupt. before: when that was found, if not now; more: all that was said of it."""
    evidence = {"unit": "problems", "kind": part.kind, "table": part.table_target, "problems": list(more or (what,))}
    return Finding(
        CORRUPTION,
        part.target,
        CRITICAL,
        f"{before}{what}",
        problems,
        1,
        evidence,
        LOOK_FIRST + _mending(part),
        MEANING,
    )


def _mending(part: Part) -> str:
    table = part.table_target
    if not part.is_index:
        return (
            f"Then bring {table} back from a backup, or save what can still be read of it by COPY, in ranges of its key. "
            "Check its indexes with heapallindexed"
        )
    concurrently = "" if part.schema == "pg_catalog" else " CONCURRENTLY"
    return f"Check {table}, then REINDEX INDEX{concurrently} {part.target}"
