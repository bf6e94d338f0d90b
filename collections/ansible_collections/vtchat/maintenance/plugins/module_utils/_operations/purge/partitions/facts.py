# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is: the table, its partitions, what has expired, what is in the way, and what is to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...._postgres import catalog
from ...._postgres.capabilities import MEMBERSHIP_OPTIONS
from ...._postgres.policy import BLOCKING
from ...._postgres.session import Session
from ...._result import FAILED
from ... import Context, Verdict
from ..options import DROP, Options
from . import bounds, calendar, coming, model, obstacles, queries, refusals, table
from .bounds import Key
from .coming import Plan
from .model import Model, Script
from .table import Clock, Partition

SHORTEST = 0.05  # seconds
CENTURY = 100 * 366 * 86400 * 1_000_000  # microseconds


@dataclass(frozen=True)
class Facts:
    """What decide() needs.

    parts      all partitions, in the order of their bounds
    left       tables that were detached in order to be dropped, and are still there
    sizes      by oid: bytes and rows of what has expired or is left
    obstacles  by oid: why one of those cannot go
    wait       seconds to wait for each lock that others would queue behind
    detacher   a session that may be detaching a partition right now
    plan       the partitions to come; scripts: what creates each of them
    pooled     a pooler is in between, behind which CONCURRENTLY would wait without an end
    """

    relation: catalog.Relation
    key: Key
    clock: Clock
    parts: tuple[Partition, ...]
    left: tuple[Partition, ...] = ()
    sizes: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    obstacles: dict[int, obstacles.Obstacle] = field(default_factory=dict)
    wait: float = BLOCKING
    detacher: int | None = None
    plan: Plan = field(default_factory=Plan)
    scripts: tuple[Script, ...] = ()
    pooled: bool = False

    @property
    def default(self) -> Partition | None:
        return next((one for one in self.parts if one.default), None)


def facts(session: Session, options: Options, context: Context) -> Facts | Verdict:
    """Four round trips where nothing is to be done. Raises OptionError, SqlError, Contended."""
    condition = options.conditions[0]
    row = table.read_table(session, options.table, condition.column, condition.older_than)
    if row["oid"] is None:
        raise catalog.not_found(session, options.table, "p")
    relation = catalog.relation(row)
    fault = refusals.fault(session.server, relation, row, options)
    if fault:
        return Verdict(relation.display, fault, FAILED, {"cutoff": row["cutoff"].isoformat()})
    key = refusals.key(row, condition)
    clock = table.clock(session, key, row)
    parts = tuple(table.read_partitions(session, relation.oid, key, clock))
    fault = _implausible(key, clock, parts, condition.epoch)
    if fault:
        return Verdict(relation.display, fault, FAILED, {"cutoff": clock.cutoff_text})
    found = Facts(relation, key, clock, parts, wait=_wait(row), pooled=session.shared)
    if options.partitions:
        found = _expired(session, found, options, context)
    if options.premake is not None:
        found = _coming(session, found, row, options, context)
    return found


def _wait(row: dict[str, Any]) -> float:
    """How long to wait for a lock. Where foreign keys are, several tables are locked one after the other: then we give up long
    before anybody who waits for one of them and holds another would be ended by a deadlock."""
    return min(BLOCKING, max(SHORTEST, row["deadlock_timeout"] / 4)) if row["keys"] else BLOCKING


def _expired(session: Session, found: Facts, options: Options, context: Context) -> Facts:
    """What is to go, and what keeps it."""
    left = tuple(table.read_left(session, found.relation.oid))
    going = [one for one in found.parts if one.expired or one.pending]
    if not going and not left:
        return found
    pending = any(one.pending for one in found.parts)
    busy = session.rows(queries.DETACHERS) if pending else []
    return replace(
        found,
        left=left,
        sizes=obstacles.sizes(session, [*going, *left]),
        obstacles=obstacles.look(
            session, found.relation.oid, found.key, [*going, *left], options.partitions == DROP, context.seconds_left
        ),
        detacher=busy[0]["pid"] if busy else None,
    )


def _coming(session: Session, found: Facts, row: dict[str, Any], options: Options, context: Context) -> Facts:
    """What is to be created, and like what."""
    attached = [one for one in found.parts if not one.pending]
    plan = coming.plan(session, found.key, attached, found.clock, _wish(found, row, options))
    if not plan.coming:
        return replace(found, plan=plan)
    newest = coming.newest(attached)
    made = model.read(session, newest.oid if newest else None, found.key.column, found.relation.owner)
    faults = _creation_faults(session, found, row, newest, made)
    if faults:
        return replace(found, plan=replace(plan, coming=(), faults=(*plan.faults, *faults)))
    default = next((one for one in attached if one.default), None)
    if default is not None:
        told = coming.counted(session, found.key, default, plan.coming, context.seconds_left())
        plan = replace(plan, coming=told)
    parent = found.relation.identifier
    first = (row["referring"] or ()) if default is not None else ()
    scripts = tuple(model.script(session, made, parent, one, first) for one in plan.coming)
    return replace(found, plan=plan, scripts=scripts)


def _wish(found: Facts, row: dict[str, Any], options: Options) -> coming.Wish:
    """What the options ask for. Zone-less keys are written by a calendar already; others in UTC, or as their sessions see it."""
    declared = options.conditions[0].timezone
    zones = [coming.UTC] if found.key.zoneless else [declared] if declared else [coming.UTC, row["session_zone"]]
    return coming.Wish(
        count=options.premake or 0,
        interval=calendar.read_interval(options.interval) if options.interval else None,
        retention=bool(options.partitions),
        table=(found.relation.schema, found.relation.name),
        zones=tuple(dict.fromkeys(zones)),
    )


def _creation_faults(
    session: Session, found: Facts, row: dict[str, Any], newest: Partition | None, made: Model
) -> Sequence[str]:
    """Why no partition can be created."""
    if made.fault:
        return [made.fault]
    may = newest.may_create if newest else row["may_create"]
    schema, user = (newest.schema if newest else found.relation.schema), session.server.user
    if not may:
        return [f"role {user} may not create tables in schema {schema}: GRANT CREATE ON SCHEMA {schema} TO {user}"]
    others = {one["owner"] for one in made.rows if one["owner"] and not one["becomes"]}
    option = " WITH SET TRUE" if session.server.has(MEMBERSHIP_OPTIONS) else ""
    what = "partitions like the newest one can be created"
    return [refusals.owner_fault(session.server, owner, what) + option for owner in sorted(others)]


def _implausible(key: Key, clock: Clock, parts: Sequence[Partition], epoch: str | None) -> str:
    """Why numbers or ids cannot be what they are declared to be, "" if they can: no bound is near to our time."""
    if key.timely:
        return ""
    unread = [one for one in parts if not one.default and one.upper is None]
    if unread:
        return f"the bounds of {unread[0].display} cannot be read as the times of {key.column} ({unread[0].bounds})"
    ends = [place for one in parts for place in (one.lower, one.upper) if isinstance(place, int)]
    what = f"epoch: {epoch}" if epoch else "their format"
    if ends and max(ends) < bounds.MODERN:
        return (
            f"all bounds would be before 2001-09-09: {what} cannot be right ({parts[0].display} has {parts[0].bounds})"
        )
    if ends and min(ends) > clock.now + CENTURY:
        return f"all bounds would be more than a century ahead: {what} cannot be right ({parts[0].display} has {parts[0].bounds})"
    return ""
