# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a step of a plan did in an invented run: reasons, numbers and statements as the operations write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.statistics import analyze_threshold
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import (
    ABANDONED,
    CONTENDED,
    DEFERRED,
    DONE,
    FAILED,
    UNCHANGED,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._units import count, rows

from .example_work import Done, Work
from .example_world import Event

HOURS_ALIVE = 120  # of a row that expires
BUSY_SESSION = 48211  # what the deploy was
# As the first batch of a purge is shown.
PURGE = (
    "WITH picked AS MATERIALIZED (SELECT tableoid AS part, ctid AS place, {column} AS value FROM {table} WHERE {expired} "
    "ORDER BY {table}.{column} LIMIT 1000 FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM {table} WHERE ctid "
    "OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked)) AND {expired} RETURNING 1) SELECT (SELECT pg_catalog.count(*) "
    "FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT value::pg_catalog.text FROM (SELECT value "
    "FROM picked ORDER BY value DESC NULLS LAST LIMIT 1) AS latest) AS last"
)
ORDER = "the oldest first: it is small"
LOCAL = "pg_catalog.timezone('{zone}', '{cutoff}'::pg_catalog.timestamptz)"
EXPIRED = (
    "{column} OPERATOR(pg_catalog.<=) {local} AND CASE WHEN {column} OPERATOR(pg_catalog.<) ({local} OPERATOR(pg_catalog.-) "
    "pg_catalog.make_interval(days => 3)) THEN true WHEN {column} OPERATOR(pg_catalog.<=) {local} THEN "
    "pg_catalog.timezone('{zone}', {column}::pg_catalog.timestamp) OPERATOR(pg_catalog.<=) '{cutoff}'::pg_catalog.timestamptz "
    "ELSE false END AND {local} IS NOT NULL AND pg_catalog.pg_typeof((NULL::{table}).{column}) OPERATOR(pg_catalog.=) "
    "1114::pg_catalog.regtype"
)


def purge(work: Work, given: Mapping[str, Any]) -> None:
    """Expired rows: as many as there was traffic since the last time."""
    table, memory = work.relation(given["table"]), work.memory
    expired = memory.expired.get(table.name, 0.0)
    last = memory.last.get(work.plan.name)
    hours = min(24.0, (work.started - last).total_seconds() / 3600) if last else 1.0
    expired += hours * table.rows / HOURS_ALIVE * work.world.traffic(work.started)
    number = round(expired)
    cutoff = work.now.astimezone(timezone.utc).isoformat()
    if work.event == Event.OUT_OF_TIME:
        number = round(expired * 0.6)
    if not number:
        memory.expired[table.name] = expired
        reason = f"no row of {given['column']} is before the cut-off"
        return work.note("purge", table.name, UNCHANGED, reason, cutoff=cutoff)
    action = work.execute("purge", table.name, 0.09 + 0.0011 * number, {"cutoff": cutoff, "order": ORDER})
    action.statements = [_purge_statement(table.name, given, cutoff)]
    _conclude(action, DONE, f"{given['column']} is before the cut-off", rows=number, batches=2 + number // 4000)
    action.rows = number
    memory.expired[table.name] = expired - number
    _changed(work, table.name, number, dead=True)
    if work.event == Event.OUT_OF_TIME:
        work.now = work.started + (work.now - work.started) * (work.plan.budget / work.spent)
        action.finished, action.outcome = work.now, DEFERRED
        action.reason = f"out of time after {number} rows; the next run continues"
    return None


def _purge_statement(name: str, given: Mapping[str, Any], cutoff: str) -> str:
    table = ".".join(f'"{part}"' for part in name.split("."))
    column = f'"{given["column"]}"'
    local = LOCAL.format(zone=given["timezone"], cutoff=cutoff)
    expired = EXPIRED.format(table=table, column=column, local=local, zone=given["timezone"], cutoff=cutoff)
    return PURGE.format(table=table, column=column, expired=expired)


def refresh(work: Work, given: Mapping[str, Any]) -> None:
    """Views: unless nobody has changed anything since."""
    for name in [given["view"]] if given["view"] else given["views"]:
        _refresh(work, work.named(name), bool(given["force"]))


def _refresh(work: Work, name: str, force: bool) -> None:
    view, memory = work.relation(name), work.memory
    fresh = memory.fresh.get(name)
    if work.spent >= work.plan.budget:
        return work.put_off("refresh", name, 0)
    if fresh and not force and not work.event and work.world.quiet(work.started):
        reason = f"nothing has changed since the refresh of {fresh:%Y-%m-%d %H:%M} UTC"
        return work.note("refresh", name, UNCHANGED, reason)
    action = work.execute("refresh", name, 0.9 * view.rows / 10_000, {"method": "concurrently"})
    action.statements = [f"REFRESH MATERIALIZED VIEW CONCURRENTLY {name}",
                         f"VACUUM (SKIP_LOCKED) {name} -- if more than half of it is dead then"]  # fmt: skip
    changed = round(view.rows * 0.0025 * work.world.traffic(work.started)) + 1
    reason = "force is set" if force else _changed_rows(work, changed) if fresh else "no earlier refresh is known"
    if _spoiled(work, action, reason):
        return None
    inserted, deleted = (0, 0) if force else (changed + round(changed * 0.3), changed)
    size = view.bytes + view.index_bytes
    took = (action.finished - action.started).total_seconds() if action.finished else 0.0
    _conclude(action, DONE, reason, method="concurrently", seconds=round(took * 0.97, 3), inserted=inserted,
              deleted=deleted, bytes_before=size, bytes_after=size)  # fmt: skip
    action.rows = inserted
    if force:
        action.outcome, action.rows = UNCHANGED, None
        action.reason = f"{reason}: it was refreshed, and no row was different"
    memory.fresh[name] = work.started
    return None


def _changed_rows(work: Work, number: int) -> str:
    tables = [name for name, one in work.demo.relations.items() if one.kind == "r" and name in work.memory.modified]
    name = tables[-1] if tables else next(iter(work.demo.relations))
    more = ", and so have 1 more" if len(tables) > 1 and number > 60 else ""
    told = f"{rows(number)} inserted, {count(number * 2)} updated"
    return f"{name} has changed ({told}) since the last refresh{more}"


def _spoiled(work: Work, action: Done, reason: str) -> bool:
    """Whether something came in between, and what the history says of it then."""
    if work.event == Event.LOCKED:
        who = "canceling statement due to lock timeout"
        _conclude(action, CONTENDED, f"{reason}; {who}")
        work.retries += 2
    elif work.event == Event.DISK_FULL:
        said = 'could not extend file "base/16384/24601": No space left on device. Check free disk space.'
        _conclude(action, FAILED, said)
    elif work.event == Event.KILLED:
        action.outcome, action.reason, action.measured, action.finished = ABANDONED, reason, None, None
        work.dead = True
    else:
        return False
    return True


def analyze(work: Work, given: Mapping[str, Any]) -> None:
    """Tables: those of which enough has changed."""
    for number, name in enumerate(given["tables"] or ()):
        table = work.relation(name)
        _changed(work, table.name, table.rows * 0.0013 * work.world.traffic(work.started))
        modified, limit = round(work.memory.modified[table.name]), analyze_threshold(table.rows)
        modified = max(modified, limit) if work.event == Event.LOCKED and not number else modified
        numbers = {"rows": table.rows, "modified": modified, "threshold": limit}
        if work.spent >= work.plan.budget:
            work.put_off("analyze", table.name, 0)
        elif modified < limit:
            reason = f"{rows(modified)} changed, below the threshold of {count(limit)}"
            work.note("analyze", table.name, UNCHANGED, reason, **numbers)
        else:
            _analyze(work, table.name, numbers)


def _analyze(work: Work, name: str, numbers: dict[str, Any]) -> None:
    number, known, limit = numbers["modified"], numbers["rows"], numbers["threshold"]
    changed = f"{count(number)} of {rows(known)}" if known >= number else rows(number)
    reason = f"{changed} changed since the last analyze (threshold {count(limit)})"
    if work.event == Event.LOCKED:
        why = f"session {BUSY_SESSION} holds a AccessExclusiveLock on it"
        return work.note("analyze", name, CONTENDED, f"{reason}, but {why}", **numbers)
    action = work.execute("analyze", name, 0.12 + known * 4e-6, numbers)
    action.statements = ["ANALYZE (SKIP_LOCKED) {}".format(".".join(f'"{part}"' for part in name.split(".")))]
    _conclude(action, DONE, reason)
    work.memory.modified[name] = 0.0
    return None


def _changed(work: Work, name: str, number: float, dead: bool = False) -> None:
    """Rows of a table have changed. Where nobody holds dead rows, autovacuum comes when a fifth of the table is dead."""
    work.memory.modified[name] = work.memory.modified.get(name, 0.0) + number
    left = work.memory.dead.get(name, 0.0) + number * (1.0 if dead else 0.55)
    due = left > 50 + 0.2 * work.relation(name).rows and not work.world.held(work.started)
    work.memory.dead[name] = number * 0.1 if due else left


def _conclude(action: Done, outcome: str, reason: str, **measured: Any) -> None:
    action.outcome, action.reason, action.measured = outcome, reason, measured
