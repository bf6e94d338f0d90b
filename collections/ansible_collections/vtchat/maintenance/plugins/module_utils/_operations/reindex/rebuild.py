# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Does to one index what was decided: looks once more, rebuilds, drops or flushes it, and verifies what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres import restricted_path
from ..._postgres.bloat import Bloat
from ..._postgres.concurrently import Concurrently
from ..._postgres.driver import sql
from ..._postgres.names import qualified
from ..._postgres.policy import LIGHT
from ..._postgres.selection import Selection
from ..._postgres.session import Session
from ..._postgres.sqlstates import QUERY_CANCELED, UNDEFINED_OBJECT, UNDEFINED_TABLE, UNIQUE_VIOLATION
from ..._postgres.waits import EVERYBODY, RESERVE, Wait
from ..._result import CONTENDED, DEFERRED, DONE, FAILED, SKIPPED, UNCHANGED
from ..._units import size
from .. import Context, Outcome
from . import facts, leftovers, measure
from .decide import BLOATED, INVALID, Work
from .facts import Index
from .measure import Assessed
from .refusals import needs_quiet, seconds_quiet

GONE = (UNDEFINED_OBJECT, UNDEFINED_TABLE)

# What a session that rebuilds indexes tells others: the phase, and how much of it is done.
PROGRESS = """
SELECT p.phase, coalesce(100 * p.blocks_done / nullif(p.blocks_total, 0), 100 * p.tuples_done / nullif(p.tuples_total, 0),
                         100 * p.lockers_done / nullif(p.lockers_total, 0)) AS share
FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.pid = {pid}
"""


@dataclass
class Rebuild:
    """One index that is to be rebuilt."""

    session: Session
    context: Context
    work: Work
    sleep: Callable[[float], None] = time.sleep
    numbers: dict[str, Any] = field(default_factory=dict)
    analyzed: bool = False

    def __post_init__(self) -> None:
        self.options = self.work.options
        self.assessed = self.work.assessed
        self.sender = Concurrently(self.session, self.context.seconds_left, self.sleep)

    @property
    def _wait(self) -> Wait:
        """Whom the rebuild waits for in one of its phases: in the end everybody who uses the table or has an older snapshot."""
        return Wait(self.assessed.index.heap, EVERYBODY, snapshots=True)

    def do(self) -> Outcome:
        """All of it."""
        outcome = self._look_again()
        if outcome is None:
            outcome = self._rebuild()
        outcome.changed = outcome.changed or self.analyzed
        outcome.numbers = {**self.numbers, **outcome.numbers, "seconds_waited": round(self.sender.waited, 3)}
        return outcome

    def _look_again(self) -> Outcome | None:
        """What has changed since it was decided, None where it is still due. Statistics are renewed where they decide."""
        try:
            self.sender.wait(self._wait, self.work.patience.next())
        except Contended as error:
            return Outcome(CONTENDED, str(error))
        finally:
            self.work.patience.spend(self.sender.spent)
        if self.work.confirm:
            self._analyze()
        now = self._now()
        if now is None:
            return Outcome(SKIPPED, "it was dropped meanwhile, or has another name")
        self.assessed = now
        if self.work.why == INVALID and now.index.valid:
            return Outcome(UNCHANGED, "somebody else has made it valid meanwhile")
        if needs_quiet(now, self.session.server) and not self.options.is_quiet(now.index.now):
            return Outcome(SKIPPED, "its window has closed meanwhile")
        if self.work.why != BLOATED:
            return None
        if now.bloat is not None and not now.due:
            said = (
                f"after ANALYZE it has {measure.told(now.bloat)}"
                if self.analyzed
                else f"it has {measure.told(now.bloat)} now"
            )
            return Outcome(UNCHANGED, f"{said}: not enough for a rebuild", state=now.news)
        if now.bloat is None:
            return Outcome(UNCHANGED, f"no number any more: {measure.no_number(now)}", state=now.news)
        return None

    def _analyze(self) -> None:
        """Renew what the decision rests on. It gives up before the server cancels an autovacuum for us (deadlock_timeout)."""
        self.session.set(statement_timeout=max(RESERVE, self.context.seconds_left()), lock_timeout=LIGHT / 2)
        index = self.assessed.index
        self.sender.send(sql.SQL("ANALYZE {}").format(qualified(index.table_schema, index.table)))
        self.analyzed = True

    def _now(self) -> Assessed | None:
        """The index as it is now, None where it is not what it was."""
        before = self.assessed.index
        self.session.set(lock_timeout=LIGHT)
        found = [one for one in facts.read(self.session, Selection(), [before.oid]) if one.oid == before.oid]
        if not found or found[0].target != before.target or found[0].heap != before.heap:
            return None
        state = {before.target: self.assessed.memory.state()}
        (now,) = measure.assess(
            self.session, self.options, state, found, self.context.seconds_left, just_counted=self.analyzed
        )
        return now

    def _rebuild(self) -> Outcome:
        index = self.assessed.index
        statement = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(index.identifier)
        began = time.monotonic()
        self.sender.seconds_left = self._seconds_left()
        try:
            with self.context.observe(index.target, self._look):
                self.sender.run(statement, self._wait, self.work.patience.next())
        except (Contended, SqlError) as error:
            if not self.session.alive:
                raise
            return self._failed(error)
        return self._verified(time.monotonic() - began)

    def _seconds_left(self) -> Callable[[], float]:
        """The budget, and for a unique index the time for which its window is open."""
        index, left = self.assessed.index, self.context.seconds_left
        if not needs_quiet(self.assessed, self.session.server) or self.options.quiet is None or index.now is None:
            return left
        end = time.monotonic() + seconds_quiet(self.options.quiet, index.now)
        return lambda: min(left(), end - time.monotonic())

    def _look(self, session: Session) -> str:
        """How far the server is, over another session."""
        rows = session.rows(sql.SQL(PROGRESS).format(pid=sql.Literal(self.session.server.backend_pid)))
        if not rows:
            return ""
        share = rows[0]["share"]
        return f"{rows[0]['phase']}, {share} %" if share is not None else str(rows[0]["phase"])

    def _failed(self, error: Contended | SqlError) -> Outcome:
        """What a failure means. What it has left is removed; a rebuild that only had to remove the old index is done."""
        began = self.sender.started
        blocked = self.sender.blocked_by(self._wait) if isinstance(error, Contended) else ""
        left, swapped = self._clean() if began else ("", False)
        if swapped:
            outcome = self._verified(None)
            outcome.reason = f"rebuilt; {error}{blocked}{left}"
            return outcome
        if isinstance(error, Contended):
            outcome = Outcome(CONTENDED, f"{error}{blocked}{left}")
        elif error.sqlstate in GONE and not self._exists():
            return Outcome(SKIPPED, "it was dropped meanwhile, or has another name")
        elif error.sqlstate == QUERY_CANCELED and self.context.seconds_left() < RESERVE:
            # How often that is tried again is for the engine to know.
            return Outcome(DEFERRED, f"the budget ended while it ran; it goes first next time{left}")
        elif error.sqlstate == QUERY_CANCELED and self.sender.seconds_left() < RESERVE:
            outcome = Outcome(DEFERRED, f"its window closed while it ran{left}")
        else:
            advice = "; remove the duplicates first" if error.sqlstate == UNIQUE_VIOLATION else ""
            advice = advice or restricted_path.advice(error, self.session.server)
            outcome = Outcome(FAILED, f"{str(error).rstrip('.')}{advice}{left}")
        memory = self.assessed.memory
        if began:
            memory = memory.after_failure(str(error))
            times = f" ({memory.failures} times in a row)" if memory.failures > 1 else ""
            outcome.reason += times
            outcome.state = memory.state()
        return outcome

    def _exists(self) -> bool:
        self.session.set(statement_timeout=RESERVE, lock_timeout=RESERVE)
        return self._now() is not None

    def _clean(self) -> tuple[str, bool]:
        """Remove what is left; what to add to the message where that is impossible now, and whether the index is the new one."""
        index = self.assessed.index
        self.session.set(statement_timeout=RESERVE * 5, lock_timeout=RESERVE)
        siblings = facts.read_table(self.session, index.heap)
        here = next((one for one in siblings if one.target == index.target), None)
        swapped = here is not None and here.oid != index.oid and here.valid
        left = [
            one.index for one in leftovers.leftovers(siblings).values() if here is not None and one.of.oid == here.oid
        ]
        said = "".join(self._drop(one) for one in left if not one.builder)
        return said, swapped

    def _drop(self, left: Index) -> str:
        if not left.may_drop:
            return f"; what was left of it, {left.target}, only {left.owner} may drop: DROP INDEX CONCURRENTLY {left.target}"
        if self.sender.drop(left.schema, left.name):
            return ""
        return f"; what was left of it, {left.target}, is still locked: the next run removes it"

    def _verified(self, seconds: float | None) -> Outcome:
        """Whether the server has done what it said, and what was won."""
        before, memory = self.assessed, self.assessed.memory
        self.session.set(statement_timeout=RESERVE * 5, lock_timeout=RESERVE)
        siblings = facts.read_table(self.session, before.index.heap)
        after = next((one for one in siblings if one.target == before.index.target), None)
        if after is None or not after.valid or after.oid == before.index.oid:
            return Outcome(FAILED, "the server reported success, but there is no new valid index of that name", changed=True,
                           state=memory.after_failure("the server reported success").state())  # fmt: skip
        old, new = before.index.bytes or 0, after.bytes or 0
        rate = old / seconds if seconds and old else None
        ratio = new / after.entries if after.entries > 0 and new >= (self.options.selection.min_size or 0) else None
        memory = memory.rebuilt(after.file, ratio, {name: now for name, _was, now in after.collations}, rate)
        reason = f"{size(old)} before, {size(new)} now"
        left = [one.index.target for one in leftovers.leftovers(siblings).values() if one.of.oid == after.oid]
        if before.bloat is not None:
            memory = memory.judged(before.bloat, new)
            reason += _against(before.bloat, new)
        reason += f"; {', '.join(left)} is left of an earlier try: the next run removes it" if left else ""
        numbers = {"bytes_after": new, "won_bytes": old - new, "rebuilt_seconds": seconds and round(seconds, 3)}
        return Outcome(DONE, reason, changed=True, numbers=numbers, state=memory.state())


def _against(predicted: Bloat, after: int) -> str:
    """What was won against what was predicted."""
    won = predicted.bytes - after
    if predicted.gain <= 0:
        return ""
    return f": {size(won)} won, {size(predicted.gain)} predicted ({predicted.method})"


def drop(session: Session, context: Context, work: Work) -> Outcome:
    """Remove what an interrupted rebuild has left, if it still is that."""
    index = work.assessed.index
    sender = Concurrently(session, context.seconds_left)
    session.set(lock_timeout=LIGHT)
    siblings = facts.read_table(session, index.heap)
    left = leftovers.leftovers(siblings).get(index.oid)
    if left is None or left.index.target != index.target:
        return Outcome(SKIPPED, "it is gone, or not what it was")
    if left.index.builder:
        return Outcome(CONTENDED, f"session {left.index.builder} is building it right now")
    wait = Wait(index.heap, EVERYBODY)
    try:
        sender.run(sql.SQL("DROP INDEX CONCURRENTLY {}").format(index.identifier), wait, work.patience.next())
    except Contended as error:
        return Outcome(CONTENDED, f"{error}{sender.blocked_by(wait)}")
    finally:
        work.patience.spend(sender.spent)
    waited = {"seconds_waited": round(sender.waited, 3)}
    return Outcome(DONE, changed=True, numbers={**waited, "won_bytes": left.index.bytes})


def flush(session: Session, context: Context, work: Work) -> Outcome:
    """Move the entries of a pending list to where they belong."""
    index = work.assessed.index
    session.set(statement_timeout=max(RESERVE, context.seconds_left()), lock_timeout=LIGHT)
    query = sql.SQL("SELECT pg_catalog.gin_clean_pending_list({}::pg_catalog.oid::pg_catalog.regclass) AS pages")
    pages = session.row(query.format(sql.Literal(index.oid)))["pages"]
    if not pages:
        return Outcome(UNCHANGED, "somebody else has flushed its pending list meanwhile")
    return Outcome(DONE, changed=True, numbers={"flushed_bytes": pages * index.page},
                   reason=f"{size(pages * index.page)} flushed", state=work.assessed.news)  # fmt: skip
