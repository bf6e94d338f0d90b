# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Vacuuming one table, and proving that it was: VACUUM only warns where it may not, or does not get its lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres.capabilities import FLUSHED_STATISTICS, RESTRICTED_PATH
from ..._postgres.driver import sql
from ..._postgres.horizon import NEXT_XID, OLDEST, Horizon, horizon
from ..._postgres.policy import LIGHT
from ..._postgres.session import FIGURES, Session
from ..._postgres.sqlstates import INVALID_SCHEMA_NAME, UNDEFINED_TABLE
from ..._postgres.statistics import when_counted
from ..._result import CONTENDED, DONE, FAILED, UNCHANGED
from ..._units import count
from .. import Action, Context, Outcome
from .facts import Found, Table, contended, in_the_way, read_again
from .judge import AT, FAILSAFE, FROZEN, HORIZON, MULTIXACT, VISIBLE, measured
from .progress import look
from .statement import ONLY_DATABASE_STATISTICS, Work
from .urgency import Heap

GONE = (UNDEFINED_TABLE, INVALID_SCHEMA_NAME)
DROPPED = "was dropped meanwhile"
NAMES = 3  # tries, where somebody gives the table another name each time

# With the facts, right before the statement. What our own session has changed and not yet reported would count as changed after.
BEFORE = """, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS started, {flush} AS flushed, {settings} AS settings"""

HELD = "SELECT {next_xid} AS next_xid, {oldest} AS oldest"

DATABASE = """
SELECT datfrozenxid::text AS xid, datminmxid::text AS multixact
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
"""


@dataclass(frozen=True)
class Start:
    """What was right before the statement. started: the server's clock, in microseconds since 1970; busy: who is in the way."""

    table: Table
    started: int
    busy: str = ""


def vacuum(session: Session, action: Action[Work], context: Context) -> Outcome:
    """Vacuum one table."""
    job = action.payload
    session.set(lock_timeout=LIGHT)
    try:
        for _try in range(NAMES):
            found = _begin(session, job)
            if not isinstance(found, Start):
                return Outcome(FAILED, found)
            refused = _refused(action, found)
            if refused:
                return refused
            said, gone = _send(session, action, found.table, context)
            if not gone:
                warned = [text for text in said if not text.startswith(FIGURES)]
                outcome = _outcome(session, action, found, warned)
                outcome.numbers.update(_figures(said))
                return outcome
    finally:
        _reset(session, job)
    return Outcome(CONTENDED, "somebody gives it other names again and again")


def _figures(said: list[str]) -> dict[str, list[str]]:
    """What the server told of its work (VERBOSE), line by line, as it is."""
    lines = [line.strip() for text in said if text.startswith(FIGURES) for line in text[len(FIGURES) :].splitlines()]
    return {"verbose": lines} if lines else {}


def _begin(session: Session, job: Work) -> Start | str:
    """Look once more, and set what the statement is to run under; or why it cannot run."""
    flush = "pg_catalog.pg_stat_force_next_flush()" if session.server.has(FLUSHED_STATISTICS) else "NULL"
    more = sql.SQL(BEFORE).format(flush=sql.SQL(f"({flush})"), settings=_set(session, job.settings))
    found = read_again(session, job.table.relation.oid, contended() + more)
    if found is None:
        return DROPPED
    if found.fault:
        return found.fault
    busy = in_the_way(session, found.table.relation.oid) if found.row["contended"] else ""
    return Start(found.table, found.row["started"], busy)


def _set(session: Session, settings: Mapping[str, str]) -> sql.Composable:
    """They stay set until they are reset; through a transaction pooler nothing may stay set."""
    if session.shared or not settings:
        return sql.SQL("NULL")
    calls = [
        sql.SQL("pg_catalog.set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
        for name, value in settings.items()
    ]
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(calls))


def _reset(session: Session, job: Work) -> None:
    """What comes after it in this session runs as the database and the role are set."""
    if session.alive and not session.shared and job.settings:
        session.execute(sql.SQL("").join(sql.SQL("RESET {};").format(sql.Identifier(name)) for name in job.settings))


def _refused(action: Action[Work], start: Start) -> Outcome | None:
    """Somebody works on it, or has done the work."""
    job, heap = action.payload, start.table.heap
    if start.busy:
        return Outcome(CONTENDED, f"{action.reason}, but {start.busy}")
    if job.counts and (heap.vacuumed or 0) > job.decided and not job.reasons_stay:
        return Outcome(UNCHANGED, "somebody else has vacuumed it meanwhile")
    return None


def _send(session: Session, action: Action[Work], table: Table, context: Context) -> tuple[list[str], bool]:
    """VACUUM: what the server said, and whether there was nothing of that name. Before 17 ANALYZE calls functions of the user."""
    statement = sql.SQL("{} {}").format(sql.SQL(action.payload.command), table.relation.identifier)
    try:
        with context.observe(action.target, partial(look, pid=session.server.backend_pid)):
            if action.payload.analyze and not session.server.has(RESTRICTED_PATH):
                with session.users_path():
                    session.execute(statement, alone=True)
                    return session.notices, False
            session.execute(statement, alone=True)
            return session.notices, False
    except Contended as error:
        return [str(error)], False  # such as a lock on one of its indexes; whether anything was done is looked at
    except SqlError as error:
        if error.sqlstate not in GONE:
            raise
        return [], True


def _outcome(session: Session, action: Action[Work], start: Start, said: list[str]) -> Outcome:
    """What has become of it, by what the server has counted; warnings are texts in any language."""
    job, found = action.payload, _after(session, action.payload, start)
    if found is None:
        return Outcome(FAILED, DROPPED)
    ran = _ran(found, job, start, said)
    if found.fault:
        return Outcome(FAILED, found.fault, changed=ran)
    if not ran:
        return Outcome(CONTENDED, f"skipped: {_why(session, found, said)}")
    outcome = _measured(session, action, start, found.table)
    if job.counts and _toast_behind(found, job, start):
        why = _why(session, found, said)
        outcome.status, outcome.reason = CONTENDED, f"vacuumed, but its TOAST table was skipped: {why}"
    elif job.counts and job.analyze and (found.table.heap.last_analyze or 0) < start.started:
        outcome.status, outcome.reason = CONTENDED, f"vacuumed, but not analyzed: {_why(session, found, said)}"
    elif job.failsafe and said:
        outcome.reason = f"{action.reason}; it went into failsafe mode, a later run cleans up its indexes"
        outcome.state = {**(outcome.state or {}), FAILSAFE: True}
    if found.table.target != action.target:
        outcome.reason = f"{outcome.reason or action.reason}; it is {found.table.target} now"
    return outcome


def _why(session: Session, found: Found, said: list[str]) -> str:
    """Who was in the way, or what the server has said."""
    return in_the_way(session, found.table.relation.oid) or next(iter(said), "another session held a lock")


def _after(session: Session, job: Work, start: Start) -> Found | None:
    """The facts after it."""

    def seen(found: Found | None) -> bool:
        if found is None or found.fault or not job.counts:
            return True
        behind = job.analyze and (found.table.heap.last_analyze or 0) < start.started
        return _ran(found, job, start, []) and not behind and not _toast_behind(found, job, start)

    return when_counted(session.server, lambda: read_again(session, job.table.relation.oid), seen)


def _ran(found: Found, job: Work, start: Start, said: list[str]) -> bool:
    """Whether it was vacuumed since. Where nothing is counted: the server said nothing, or it shows in what VACUUM writes."""
    if not job.counts:
        return not said or _written(found.table.heap) != _written(start.table.heap)
    return (found.table.heap.last_vacuum or 0) >= start.started


def _written(heap: Heap) -> tuple[int | None, ...]:
    """What VACUUM writes into pg_class."""
    return heap.rows, heap.pages, heap.visible_pages, heap.frozen_pages, heap.oldest_multixact


def _toast_behind(found: Found, job: Work, start: Start) -> bool:
    """Whether its TOAST table was passed over, which VACUUM does without a word where that is locked."""
    toast = found.table.toast
    return job.process_toast and toast is not None and (toast.last_vacuum or 0) < start.started


def _measured(session: Session, action: Action[Work], start: Start, after: Table) -> Outcome:
    """What it has gained, and what it has left and why."""
    job, heap, toast = action.payload, after.heap, after.toast
    before = start.table.heap.dead + (start.table.toast.dead if start.table.toast else 0)
    left = heap.dead + (toast.dead if toast else 0)
    numbers = {f"{name}_after": value for name, value in measured(heap, toast).items() if value is not None}
    numbers["bytes_before"], numbers["bytes_after"] = job.table.bytes, after.bytes
    if job.table.bytes is not None and after.bytes is not None:
        numbers["won_bytes"] = max(0, job.table.bytes - after.bytes)
    held = _held(session) if left or job.freeze else job.horizon
    state = {
        # It was this far at least when the facts were read. Who has come since was there when it began, as far as one can tell.
        HORIZON: held.xid if held.held and not job.horizon.held else job.horizon.xid,
        FAILSAFE: job.leftover,
        AT: heap.vacuumed,
        VISIBLE: heap.visible_pages,
        FROZEN: heap.last_vacuum if job.frozen else None,
        MULTIXACT: heap.oldest_multixact,
    }
    status, remark = _left(job, held, after, before, left)
    reason = f"{action.reason}; {remark}" if remark else ""
    return Outcome(status, reason, changed=True, rows=max(0, before - left), numbers=numbers, state=state)


def _held(session: Session) -> Horizon:
    """Who holds the horizon back now."""
    row = session.row(sql.SQL(HELD).format(next_xid=sql.SQL(NEXT_XID), oldest=sql.SQL(OLDEST)))
    return horizon(row["oldest"], row["next_xid"])


def _left(job: Work, held: Horizon, after: Table, before: int, left: int) -> tuple[str, str]:
    """Whether it is still due for the reason that somebody holds the horizon back, and what to say of that."""
    heap = after.heap
    if job.freeze and held.held:
        for name, age, most in zip(("transaction", "multixact"), (heap.age, heap.multixact_age), job.freeze_ages):
            if age is not None and age >= most:
                return CONTENDED, f"its oldest {name} id is still {count(age)} old: {held.holder} needs it"
    if not held.held or not left:
        return DONE, ""
    due = max(heap.dead, after.toast.dead if after.toast else 0) >= job.least_dead
    if due or left * 10 >= before:
        return CONTENDED if due else DONE, f"{count(left)} dead rows cannot go: {held.holder} may still see them"
    return DONE, ""


def database_statistics(session: Session) -> Outcome:
    """What the single VACUUMs have left out: how old the oldest ids of the database are."""
    before: dict[str, Any] = session.row(DATABASE)
    session.execute(ONLY_DATABASE_STATISTICS, alone=True)
    return Outcome(changed=session.row(DATABASE) != before)
