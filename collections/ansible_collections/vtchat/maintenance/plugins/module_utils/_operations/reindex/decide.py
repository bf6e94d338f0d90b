# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is to be done with indexes, and in which order. Pure: no session, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, ClassVar

from ..._postgres import catalog
from ..._postgres.bloat import BASELINE, ESTIMATE
from ..._postgres.names import quote
from ..._postgres.server import Server
from ..._result import CONTENDED, FAILED, SKIPPED, UNCHANGED
from ..._units import duration, size
from .. import Action, Context, Decision, Effect, Verdict
from .facts import BRIN, Index
from .leftovers import Leftover
from .measure import Assessed, no_number, told
from .options import Options
from .refusals import drop_statement, needs_quiet, refusal, seconds_quiet

DROP, REBUILD, FLUSH = "drop", "rebuild", "flush"
# Why, the most urgent first.
LEFT, INVALID, COLLATION, PENDING, BLOATED = range(5)
FORGETFUL = ("without a history nobody would know that it was done, and each run would do it again: rebuild it by hand, and then "
             "ALTER COLLATION or ALTER DATABASE … REFRESH COLLATION VERSION")  # fmt: skip
# Bytes per second of a rebuild before there was one: a slow disk.
RATE = 20e6


@dataclass
class Patience:
    """Seconds that all rebuilds of a step together wait for transactions: one that stays open may be in the way of all."""

    most: ClassVar[float] = 60.0
    least: ClassVar[float] = 1.0  # for each of them
    left: float = field(default_factory=lambda: Patience.most)

    def next(self) -> float:
        """For the next one."""
        return max(self.least, self.left)

    def spend(self, seconds: float) -> None:
        """So long one has waited."""
        self.left -= seconds


@dataclass(frozen=True)
class Work:
    """What is to be done with an index. assessed: as it was when that was decided; confirm: ANALYZE first, and look again."""

    kind: str
    assessed: Assessed
    why: int
    options: Options
    patience: Patience
    confirm: bool = False


@dataclass(frozen=True)
class Facts:
    """What decide() needs. verdicts: about names that mean nothing; indexes: all, with what is known; left: what is left over."""

    server: Server
    verdicts: Sequence[Verdict] = ()
    indexes: Sequence[Assessed] = ()
    left: Mapping[int, Leftover] = field(default_factory=dict)


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[Work]]:
    """One decision for each index: what is done in its order, then what is left, then what needs nothing."""
    rates = [one.memory.rate for one in facts.indexes if one.memory.rate]
    deciding = _Deciding(facts, options, context, median(rates) if rates else RATE, Patience())
    made = [decision for one in facts.indexes for decision in deciding.one(one)]
    actions = [decision for decision in made if isinstance(decision, Action)]
    verdicts = [*facts.verdicts, *(decision for decision in made if isinstance(decision, Verdict))]
    for text in _refreshable(facts):
        context.warn(text)
    actions.sort(key=lambda one: (one.payload.why, -_won_per_second(one), one.target))
    verdicts.sort(key=lambda one: (one.verdict == UNCHANGED, -(one.numbers.get("gain_bytes") or 0)))
    return [*actions, *verdicts]


def _refreshable(facts: Facts) -> list[str]:
    """Which versions of collations the server can be told to take for right, since all chosen indexes were rebuilt."""
    done: dict[str, bool] = {}
    for one in facts.indexes:
        for name, _was, now in one.index.collations if one.index.chosen and one.index.method != BRIN else ():
            done[name] = done.get(name, True) and one.memory.collations.get(name) == now
    said = "reindex: all indexes that are chosen here go by the new version of their collation by now. If there are no others:"
    of_database = f"ALTER DATABASE {quote(facts.server.database)} REFRESH COLLATION VERSION"
    names = [name for name, all_of_them in done.items() if all_of_them]
    return [f"{said} {f'ALTER COLLATION {name} REFRESH VERSION' if name else of_database}" for name in names]


def _won_per_second(action: Action[Work]) -> float:
    return float(action.numbers.get("gain_bytes") or 0) / max(0.001, action.numbers.get("expected_seconds") or 0.001)


@dataclass(frozen=True)
class _Deciding:
    """rate: bytes per second of a rebuild where the index itself was never rebuilt."""

    facts: Facts
    options: Options
    context: Context
    rate: float
    patience: Patience

    def one(self, one: Assessed) -> list[Decision[Work]]:
        """No decision for what nobody has chosen, and for what is too small to be looked at."""
        index = one.index
        leftover = self.facts.left.get(index.oid)
        if leftover is not None:
            return [self._leftover(one, leftover)]
        if not index.chosen:
            return []
        fault = self._right(index)
        if fault:
            return [Verdict(index.target, fault, FAILED)]
        why, reason = self._reason(one)
        if reason:
            return [self._due(one, why, reason)]
        if not index.named and not self.options.has_size(index):
            return []
        return [self._nothing(one)]

    def _leftover(self, one: Assessed, leftover: Leftover) -> Decision[Work]:
        index, reason = one.index, leftover.reason
        numbers = {"bytes": index.bytes, "gain_bytes": index.bytes}
        if index.busy:
            why = "it is not valid" if index.builder else reason
            return Verdict(index.target, f"{why}; but {_busy(index)}", CONTENDED, numbers)
        if not index.may_drop or not index.may_use_schema:
            by_owner = f"{drop_statement(index)} as {quote(index.owner)}"
            return Verdict(index.target, f"{reason}, and only its owner may drop it: {by_owner}", SKIPPED, numbers)
        return Action(
            index.target, reason, Work(DROP, one, LEFT, self.options, self.patience), numbers, (drop_statement(index),)
        )

    def _right(self, index: Index) -> str:
        """What forbids it, "" if nothing does."""
        if not index.may_use_schema:
            return catalog.schema_fault(self.facts.server, _relation(index))
        if not index.may_maintain:
            user = quote(self.facts.server.user)
            return f"role {user} may not rebuild it: {catalog.maintain_grant(self.facts.server, _relation(index))}"
        return ""

    def _reason(self, one: Assessed) -> tuple[int, str]:
        """Why something is to be done, "" if nothing is."""
        index = one.index
        if not index.valid:
            return INVALID, "it is not valid: it is kept up, and no query uses it"
        old = [(name, was, now) for name, was, now in index.collations if one.memory.collations.get(name) != now]
        if old and index.method != BRIN:
            name, was, now = old[0]
            what = f"the collation {name}" if name else "the database's collation"
            return COLLATION, f"{what} has version {now}, and had {was}: rows may be in the wrong order"
        if one.pending is not None and one.pending >= one.limits.pending_list * index.pending_room:
            return PENDING, f"its pending list has {size(one.pending)}, of {size(index.pending_room)} that it may have"
        if one.due and one.bloat is not None:
            return BLOATED, f"{told(one.bloat)}, {size(one.bloat.gain)} to be won"
        return BLOATED, ""

    def _nothing(self, one: Assessed) -> Verdict:
        """Nothing is to be done."""
        index = one.index
        outside = self.options.selection.out_of_size(index.bytes)
        if index.method == BRIN:
            return Verdict(index.target, "BRIN indexes do not bloat", UNCHANGED)
        if outside:
            return Verdict(index.target, outside, UNCHANGED, {"bytes": index.bytes})
        if index.bytes is None:
            return Verdict(
                index.target, f"somebody has locked it as a whole{f': {_busy(index)}' if index.busy else ''}", CONTENDED
            )
        if one.bloat is None:
            return Verdict(index.target, f"no number: {no_number(one)}", UNCHANGED, _numbers(one), one.news)
        below = (
            f"below {one.limits.bloat * 100:g} %"
            if one.bloat.share < one.limits.bloat
            else "less than min_gain to be won"
        )
        before = f"; {one.before.method} had said {one.before.share * 100:.0f} %" if one.before else ""
        return Verdict(index.target, f"{told(one.bloat)}, {below}{before}", UNCHANGED, _numbers(one), one.news)

    def _due(self, one: Assessed, why: int, reason: str) -> Decision[Work]:
        index = one.index
        numbers = {**_numbers(one), **self._costs(one)}
        coming = self.context.forecast.get(index.main, Effect())
        if coming.gone or coming.rewritten:
            done = "drops its table" if coming.gone else "builds it anew"
            return Verdict(index.target, f"an earlier step of this plan {done}", UNCHANGED, numbers)
        if why == PENDING:
            return self._flush(one, reason, numbers)
        if index.builder and not index.valid:
            return Verdict(index.target, f"it is not valid; but {_busy(index)}", CONTENDED, numbers)
        refused = refusal(one, self.facts.server, self.options, self.facts.left)
        if not refused and why == COLLATION and not self._remembers():
            refused = FORGETFUL
        if refused:
            return Verdict(index.target, f"{reason}; {refused}", SKIPPED, numbers, one.news)
        late = self._too_late(one, numbers["expected_seconds"])
        if late:
            return Verdict(index.target, f"{reason}; {late}", SKIPPED, numbers, one.news)
        if one.memory.skip and not index.asked:
            memory = one.memory.skipped()
            text = f"{reason}; {one.memory.failures} rebuilds in a row have failed ({one.memory.failed}): it is left out of "
            text += f"{one.memory.skip} more runs" if one.memory.skip > 1 else "1 more run"
            return Verdict(index.target, f"{text}, unless it is named in indexes", SKIPPED, numbers, memory.state())
        if index.busy:
            return Verdict(index.target, f"{reason}; but {_busy(index)}", CONTENDED, numbers, one.news)
        statement = f"REINDEX INDEX CONCURRENTLY {index.target}"
        confirm = self._confirm(one, why)
        statements = ([f"ANALYZE {index.table_target}"] if confirm else []) + [statement]
        work = Work(REBUILD, one, why, self.options, self.patience, confirm)
        return Action(index.target, reason, work, numbers, tuple(statements), size=index.bytes)

    def _confirm(self, one: Assessed, why: int) -> bool:
        """Whether statistics decide, and may be out of date. TOAST tables are never analyzed."""
        by_rows = one.bloat is not None and one.bloat.method in (BASELINE, ESTIMATE)
        return why == BLOATED and by_rows and one.index.changed > 0 and not one.index.toast

    def _flush(self, one: Assessed, reason: str, numbers: dict[str, Any]) -> Decision[Work]:
        index = one.index
        if not index.may_drop:
            return Verdict(index.target, f"{reason}; only its owner may flush it: GRANT {quote(index.owner)} TO "
                           f"{quote(self.facts.server.user)}", SKIPPED, numbers, one.news)  # fmt: skip
        if index.busy:
            return Verdict(index.target, f"{reason}; but {_busy(index)}", CONTENDED, numbers, one.news)
        statement = f"SELECT gin_clean_pending_list('{index.target}')"
        return Action(
            index.target,
            reason,
            Work(FLUSH, one, PENDING, self.options, self.patience),
            numbers,
            (statement,),
            size=one.pending,
        )

    def _too_late(self, one: Assessed, seconds: float) -> str:
        """Whether its window would close before it is done, as a reason; "" if not, or if no window counts."""
        index, quiet = one.index, self.options.quiet
        if quiet is None or index.now is None or not needs_quiet(one, self.facts.server):
            return ""
        left = seconds_quiet(quiet, index.now)
        return (
            f"it is expected to take {duration(seconds)}, and its window closes in {duration(left)}"
            if seconds > left
            else ""
        )

    def _remembers(self) -> bool:
        """Whether there is a history, or the run that check mode stands for would make one."""
        return self.context.history or (self.context.check and "no history yet" in self.context.history_note)

    def _costs(self, one: Assessed) -> dict[str, Any]:
        """What a rebuild is expected to take: time, space on the disk beside the old one, WAL."""
        index = one.index
        fresh = one.bloat.fresh if one.bloat else index.bytes
        seconds = (index.bytes or 0) / (one.memory.rate or self.rate)
        wal = 0 if index.persistence == "u" else fresh
        return {"needs_bytes": fresh, "wal_bytes": wal, "expected_seconds": round(seconds, 3)}


def _numbers(one: Assessed) -> dict[str, Any]:
    """What decided."""
    index, limits = one.index, one.limits
    numbers: dict[str, Any] = {"bytes": index.bytes, "rows": int(index.entries) if index.entries >= 0 else None}
    if one.bloat is not None:
        numbers |= {"bloat": round(one.bloat.share, 3), "fresh_bytes": one.bloat.fresh, "gain_bytes": one.bloat.gain,
                    "method": one.bloat.method, "confidence": one.bloat.confidence,
                    "threshold": limits.bloat, "min_gain": limits.min_gain}  # fmt: skip
    if one.pending is not None:
        numbers |= {"pending_bytes": one.pending, "pending_limit": index.pending_room}
    return numbers


def _busy(index: Index) -> str:
    if index.builder:
        return f"session {index.builder} is building an index of its table right now"
    who = f"autovacuum, process {index.busy}," if index.autovacuum else f"session {index.busy}"
    return f"{who} is at work on its table"


def _relation(index: Index) -> catalog.Relation:
    """The table, for messages about rights."""
    return catalog.Relation(index.main, index.table_schema, index.table, index.table_kind, index.owner, False)
