# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""refresh: bring materialized views up to date, unless a recomputation would give the same rows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..._errors import Contended, OptionError, SqlError
from ..._postgres import catalog, restricted_path
from ..._postgres.capabilities import RESTRICTED_PATH
from ..._postgres.driver import sql
from ..._postgres.names import name_faults, quote
from ..._postgres.policy import with_lock_retries
from ..._postgres.session import Session
from ..._postgres.sqlstates import CARDINALITY_VIOLATION, INSUFFICIENT_PRIVILEGE, UNIQUE_VIOLATION
from ..._result import DONE, FAILED, UNCHANGED
from ..._spec import Spec
from ..._units import duration
from .. import Action, Context, Decision, Effect, Need, Outcome, Verdict
from . import covered, fingerprint, sessions
from .fingerprint import View

SPEC = Spec(
    {
        "view": {"type": "str"},
        "views": {"type": "list", "elements": "str"},
        "concurrently": {"type": "str", "choices": ["auto", "require", "never"], "default": "auto"},
        "max_age": {"type": "int", "default": 86400},
        "force": {"type": "bool", "default": False},
    },
    mutually_exclusive=[("view", "views")],
    required_one_of=[("view", "views")],
)
FORCED = "force is set"
DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""

# Seconds after the first look at which the other sessions are looked at again: soon, because many are gone by then, and
# at last when those that were idle have been so for long enough. One turn of the wire each. The later ones are worth it
# only for views that take longer to refresh, and find sessions that are never idle for long.
LOOKS = (1.3, 3.0, 6.0, 9.0, sessions.IDLE_INTERVAL + 0.2)
LATE_LOOKS = (20.0, 35.0, 50.0, 63.0, 70.0, 80.0)
PAUSE = 0.3  # seconds between the last look and the counters: a commit releases its locks just before it reports

# What is remembered of a refresh; another release may have written another format, which says nothing to this one.
STATE_FORMAT = 2

VACUUM_DEAD_ROWS = 1000
VACUUM_DEAD_RATIO = 0.5

_ADVICE = {
    CARDINALITY_VIOLATION: "CONCURRENTLY cannot work with equal rows: make the rows of the definition distinct, or set "
    "concurrently: never",
    UNIQUE_VIOLATION: "correct the definition, or drop the unique index that its rows do not fit",
}

# Size in bytes with indexes and TOAST. live: exact after a plain refresh, an estimate otherwise.
MEASURE = """
SELECT c.relispopulated AS populated, pg_catalog.pg_total_relation_size(c.oid) AS bytes,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS live, pg_catalog.pg_stat_get_dead_tuples(c.oid) AS dead,
       pg_catalog.pg_stat_get_vacuum_count(c.oid) AS vacuums
FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}
"""

FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush()"

# In one message, which is one transaction: the lock of the refresh is still held when the rest is read, so it tells what
# this refresh has left and no other. What we have changed ourselves is not in the shared counters yet. Runs under the
# user's search_path before 17, hence neither operators nor unqualified names.
REFRESH = """
{refresh};
SELECT pg_catalog.pg_relation_filenode({oid})::pg_catalog.int8 AS filenode,
       pg_catalog.pg_stat_get_tuples_inserted({oid}) AS inserted, pg_catalog.pg_stat_get_xact_tuples_inserted({oid}) AS inserting,
       pg_catalog.pg_stat_get_tuples_deleted({oid}) AS deleted, pg_catalog.pg_stat_get_xact_tuples_deleted({oid}) AS deleting
"""


@dataclass(frozen=True)
class Facts:
    """unproven: why equal counters do not prove that nothing has changed; "" if they do."""

    views: list[View]
    unproven: str = ""


@dataclass(frozen=True)
class Refresh:
    """What execute() needs."""

    concurrently: bool


@dataclass(frozen=True)
class Options:
    """concurrently: auto, require or never. max_age: seconds, 0 for no limit."""

    views: tuple[str, ...]
    concurrently: str
    max_age: int
    force: bool


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults = name_faults("view", [given["view"]] if given["view"] is not None else [])
    faults += name_faults("views", given["views"] or [])
    if given["views"] is not None and not given["views"]:
        faults.append("views: is empty")
    if given["max_age"] < 0:
        faults.append("max_age: must be 0 (no limit) or a number of seconds")
    if faults:
        raise OptionError(faults)
    views = [given["view"]] if given["view"] is not None else given["views"]
    return Options(tuple(views), given["concurrently"], given["max_age"], given["force"])


def names(options: Options) -> Sequence[str]:
    """The views."""
    return options.views


def needs(options: Options) -> Sequence[Need]:
    """The owner's rights, or MAINTAIN."""
    return [Need(name, "maintain", "m") for name in options.views]


def jobs(options: Options) -> int:
    """A view may read another one that is refreshed before it."""
    return 1


def facts(
    session: Session,
    options: Options,
    context: Context,
    sleep: Callable[[float], None] = time.sleep,
) -> Facts:
    """One turn. More, and up to eleven seconds, only when a view looks unchanged and other sessions were busy just now.

    Up to eighty where the last refreshes took that long. Behind a pool that hands over sessions it is one turn more.
    """
    names = options.views
    if session.inherited and session.server.version_num >= covered.FIRST_VERSION:
        session.row(FLUSH)  # what its last user has changed and not reported yet
    views, first = fingerprint.read(session, names)
    states = [context.state[view.target] for view in views if not view.fault and not why_due(view, options, context)]
    if not states:
        return Facts(views)
    open_in_all = set.intersection(*(set(state["open"]) for state in states))
    watch = sessions.Watch(first, sessions.Before(open_in_all, min(state["read_at"] for state in states)))
    if not watch.left:
        return Facts(views)
    cost = sum(state["seconds"] for state in states)
    moments = (*LOOKS, *(moment for moment in LATE_LOOKS if moment <= cost))
    for moment in moments:
        pause = moment - watch.seconds
        if not watch.left or context.seconds_left() < pause + PAUSE or watch.earliest() > moments[-1]:
            break
        sleep(max(0.0, pause))
        watch.see(sessions.look(session))
    if watch.left:
        return Facts(views, watch.why())
    sleep(PAUSE)
    return Facts(fingerprint.read(session, names)[0])


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[Refresh]]:
    """One decision per view, underlying views first: what they change makes those above them due."""
    due: set[int] = set()
    decisions = []
    for view in in_order(facts.views):
        above = [view.names[oid] for oid in view.names if oid in due]
        reason = f"{above[0]} is refreshed before it" if above else why_due(view, options, context) or facts.unproven
        decision = _decide(view, reason, options, context)
        if isinstance(decision, Action) and view.relation:
            due.add(view.relation.oid)
        decisions.append(decision)
    return decisions


def in_order(views: list[View]) -> list[View]:
    """Each view once, after those that it reads."""
    pending = {view.relation.oid if view.relation else -i: view for i, view in enumerate(views, 1)}
    ordered = []
    while pending:
        ready = next(
            (key for key, view in pending.items() if not view.names.keys() & pending.keys()), next(iter(pending))
        )
        ordered.append(pending.pop(ready))
    return ordered


def why_due(view: View, options: Options, context: Context) -> str:
    """Why the view has to be refreshed; "" if it looks unchanged."""
    if view.fault:
        return view.fault
    if not view.populated:
        return "it is not populated"
    if options.force:
        return FORCED
    if view.obstacle:
        return view.obstacle
    state = context.state.get(view.target, {})
    if state.get("format") != STATE_FORMAT:
        return "no earlier refresh is known" + (f" ({context.history_note})" if context.history_note else "")
    if state["doubt"]:
        return f"nothing could be proved at the last refresh ({state['doubt']})"
    return _why_changed(view, state, context) or _why_old(view, state, options.max_age)


def _why_changed(view: View, state: dict[str, Any], context: Context) -> str:
    """What is different from the last refresh, or will be when the steps before this one have run."""
    changing = [view.names[oid] for oid in view.names if oid in context.forecast]
    if changing:
        return f"{changing[0]} is about to change"
    reason = fingerprint.difference(state["fingerprint"], view.fingerprint, view.names)
    if not reason and state["contents"] != view.contents:
        return "it has been refreshed or rewritten by somebody else"
    return reason


def _why_old(view: View, state: dict[str, Any], max_age: int) -> str:
    age = view.now - state["read_at"]
    return (
        f"the last refresh is {duration(age)} old (max_age: {duration(max_age)})" if max_age and age > max_age else ""
    )


def _decide(view: View, reason: str, options: Options, context: Context) -> Decision[Refresh]:
    """What is to be done about one view that is due for a reason, or unchanged if there is none."""
    target = view.target
    if view.fault or view.relation is None:
        return Verdict(target, view.fault, FAILED)
    possible = view.populated and view.unique_index
    concurrently = possible and options.concurrently != "never"
    if options.concurrently == "require" and view.populated and not view.unique_index:
        hint = f"CREATE UNIQUE INDEX ON {target} (columns that identify a row)"
        return Verdict(target, f"concurrently: require needs a unique index on plain columns: {hint}", FAILED)
    missing = (*view.missing, *(view.missing_concurrently if concurrently else ()))
    if reason and context.check and missing:
        return Verdict(target, _owner_lacks(view.relation, missing), FAILED)
    if not reason:
        when = datetime.fromtimestamp(context.state[target]["read_at"], timezone.utc)
        return Verdict(target, f"nothing has changed since the refresh of {when:%Y-%m-%d %H:%M} UTC", UNCHANGED)
    if not possible and options.concurrently != "never":
        cause = "no unique index on plain columns" if view.populated else "the first refresh cannot be concurrent"
        reason += f"; plain, which blocks readers: {cause}"
    return Action(
        target=target,
        reason=reason,
        payload=Refresh(concurrently),
        numbers={"method": "concurrently" if concurrently else "plain"},
        statements=_statements(target, concurrently),
        effects={view.relation.oid: Effect(rows=None, rewritten=not concurrently)},
    )


def _statements(target: str, concurrently: bool) -> tuple[str, ...]:
    if not concurrently:
        return (f"REFRESH MATERIALIZED VIEW {target}",)
    return (
        f"REFRESH MATERIALIZED VIEW CONCURRENTLY {target}",
        f"VACUUM (SKIP_LOCKED) {target} -- if more than half of it is dead then",
    )


def _owner_lacks(view: catalog.Relation, missing: tuple[str, ...]) -> str:
    """A refresh runs with the rights of the view's owner."""
    needs = "; ".join(missing) or "the right to all that its definition reads and calls"
    return f"the owner of the view, role {quote(view.owner)}, needs rights too: {needs}"


def execute(session: Session, action: Action[Refresh], context: Context) -> Outcome:
    """Refresh, read back what became of the view, and clean up after a concurrent refresh that left much behind."""
    # Read again, and before the refresh takes its snapshot: earlier actions of this run have changed what is below, and
    # whatever changes after this line makes the next run refresh again.
    [view], look = fingerprint.read(session, [action.target])
    if view.fault or view.relation is None:
        return Outcome(FAILED, view.fault)
    work = _Work(session, view.relation, action.payload.concurrently, context)
    try:
        before = with_lock_retries(session, work.refresh, context.seconds_left)
    except SqlError as error:
        advice = _advice(error, view, action.payload.concurrently, session)
        if not advice:
            raise
        return Outcome(FAILED, f"{error}; {advice}")
    after = work.measure(flush=True)
    if not after["populated"]:
        return Outcome(FAILED, "the server reported success, but the view is not populated")
    numbers = work.numbers(before, after)
    state = {
        "format": STATE_FORMAT,
        "fingerprint": view.fingerprint,
        "doubt": _doubt(session, view),
        "contents": work.contents,
        "open": look.transactions,
        "read_at": view.now,
        "seconds": round(work.seconds, 3),
    }
    changed = not work.concurrently or not work.counted or numbers["inserted"] + numbers["deleted"] > 0
    if not changed and action.reason == FORCED:
        return Outcome(UNCHANGED, f"{FORCED}: it was refreshed, and no row was different", numbers=numbers, state=state)
    return Outcome(DONE, changed=changed, rows=numbers.get("inserted"), numbers=numbers, state=state)


def _doubt(session: Session, before: View) -> str:
    """Why the fingerprint that was read before a refresh proves nothing later; "" if it does.

    What was altered between the fingerprint and the refresh, and altered back after it, would look as if nothing had been.
    """
    if before.obstacle:
        return before.obstacle
    [after], _look = fingerprint.read(session, [before.target])
    if after.obstacle:
        return after.obstacle
    if after.fault or after.versions != before.versions:
        return "its definition or something that it reads was altered meanwhile"
    return ""


def _advice(error: SqlError, view: View, concurrently: bool, session: Session) -> str:
    """What would help against an error of the refresh, "" if we do not know."""
    if view.relation and error.sqlstate == INSUFFICIENT_PRIVILEGE:
        missing = (*view.missing, *(view.missing_concurrently if concurrently else ()))
        return _owner_lacks(view.relation, missing)
    if error.sqlstate in restricted_path.NOT_FOUND and session.server.has(RESTRICTED_PATH):
        named = re.findall(r'function "?([\w.]+)', error.context)
        calls = [call for call in view.paths if any(name in call for name in named)] or list(view.paths) or named[:1]
        alter = "; ".join(f"ALTER FUNCTION {call} SET search_path = {session.server.path}" for call in calls)
        return f"since PostgreSQL 17 a refresh runs with search_path = pg_catalog, pg_temp: {alter}" if alter else ""
    return _ADVICE.get(error.sqlstate, "")


class _Work:
    """The refresh of one view. contents: what this refresh has left, as in View; known when it has committed."""

    def __init__(self, session: Session, relation: catalog.Relation, concurrently: bool, context: Context) -> None:
        self.session, self.relation, self.concurrently, self.context = session, relation, concurrently, context
        self.counted = session.server.version_num >= covered.FIRST_VERSION and session.server.track_counts
        self.seconds = 0.0
        self.inserted = self.deleted = 0
        self.contents: list[int] = []

    def refresh(self) -> dict[str, Any]:
        """Refresh; what the view was like before."""
        before = self.measure()
        how = "REFRESH MATERIALIZED VIEW CONCURRENTLY {}" if self.concurrently else "REFRESH MATERIALIZED VIEW {}"
        query = sql.SQL(REFRESH).format(
            refresh=sql.SQL(how).format(self.relation.identifier), oid=sql.Literal(self.relation.oid)
        )
        began = time.monotonic()
        found = self.session.row(query, users_path=not self.session.server.has(RESTRICTED_PATH))
        self.seconds = time.monotonic() - began
        self.inserted, self.deleted = found["inserting"], found["deleting"]
        self.contents = [found["filenode"], found["inserted"] + self.inserted, found["deleted"] + self.deleted]
        return before

    def measure(self, flush: bool = False) -> dict[str, Any]:
        """Size and counters; flush: after this session has reported what it did itself."""
        if flush and self.counted:
            self.session.row(FLUSH)
        return self.session.row(sql.SQL(MEASURE).format(oid=sql.Literal(self.relation.oid)))

    def numbers(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        """What the result says; vacuums the view if more of it is dead than a refresh may leave behind."""
        numbers: dict[str, Any] = {
            "method": "concurrently" if self.concurrently else "plain",
            "seconds": round(self.seconds, 3),
        }
        if self.counted:
            numbers["inserted"] = self.inserted
        if self.counted and self.concurrently:
            numbers["deleted"] = self.deleted
        if self.concurrently and after["dead"] > max(VACUUM_DEAD_ROWS, VACUUM_DEAD_RATIO * after["live"]):
            numbers["dead_rows"] = after["dead"]
            numbers["vacuum"], after = self._vacuum(after)
        return {**numbers, "bytes_before": before["bytes"], "bytes_after": after["bytes"]}

    def _vacuum(self, before: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Frequent refreshes can keep autovacuum off the view. That this fails does not make the refresh a failure."""
        self.session.set(statement_timeout=max(0.001, self.context.seconds_left()))
        try:
            self.session.execute(sql.SQL("VACUUM (SKIP_LOCKED) {}").format(self.relation.identifier), alone=True)
            after = self.measure()
        except (Contended, SqlError) as error:
            return f"not done: {error}", before
        return "done" if after["vacuums"] > before["vacuums"] else "not done: others hold a lock", after
