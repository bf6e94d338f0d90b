# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an example of a history is made from: the plans, and what there is in the embedded database now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan_check
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import At, Every, read_schedule

DAYS = 90  # the history keeps no more
PAGE = 8192
LOOKS = ("index_info", "health_info")

# Tables and materialized views of the application. Sizes by relpages, as the history samples them; TOAST belongs to the table.
RELATIONS = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
       coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), greatest(0, c.reltuples))::bigint AS rows,
       (c.relpages + coalesce(t.relpages, 0))::bigint * current_setting('block_size')::bigint AS bytes,
       (SELECT coalesce(sum(x.relpages::bigint), 0)::bigint FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
        WHERE i.indrelid IN (c.oid, c.reltoastrelid)) * current_setting('block_size')::bigint AS index_bytes,
       age(c.relfrozenxid)::bigint AS freeze_age
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'maintenance') ORDER BY 1
"""

INDEXES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, format('%I.%I', n.nspname, t.relname) AS "table",
       pg_relation_size(c.oid) AS bytes, greatest(0, c.reltuples)::bigint AS rows, a.amname::text AS method,
       i.indisprimary AS is_primary, i.indisunique AS is_unique
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_am AS a ON a.oid = c.relam
WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'maintenance') ORDER BY 1
"""

SERVER = """
SELECT clock_timestamp() AS now, current_database()::text AS database, current_user::text AS role,
       split_part(current_setting('server_version'), ' ', 1) AS version, pg_database_size(current_database()) AS bytes,
       age(d.datfrozenxid)::bigint AS freeze_age
FROM pg_database AS d WHERE d.datname = current_database()
"""

# What the real runs leave free: before the first of them, and after the last one.
REAL = """
SELECT min(started_at) AS first, max(coalesce(finished_at, started_at)) AS last
FROM maintenance.run WHERE host IS DISTINCT FROM %s
"""


@dataclass(frozen=True)
class Relation:
    """A table (kind r) or materialized view (m), with bytes of heap and TOAST, and of its indexes."""

    name: str
    kind: str
    rows: int
    bytes: int
    index_bytes: int
    freeze_age: int


@dataclass(frozen=True)
class Index:
    """An index, with its size in bytes and the method that made it."""

    name: str
    table: str
    bytes: int
    rows: int
    method: str
    is_primary: bool
    is_unique: bool


@dataclass(frozen=True)
class Server:
    """The database, and the time by its server's clock. freeze_age: of its oldest transaction ID."""

    now: datetime
    database: str
    role: str
    version: str
    bytes: int
    freeze_age: int


@dataclass(frozen=True)
class Demo:
    """All of it.

    real    from when until when there are runs that somebody has made, None where there are none
    looks   what the operations that only read say of it now, by their names
    """

    server: Server
    relations: Mapping[str, Relation]
    indexes: Sequence[Index]
    real: tuple[datetime, datetime] | None
    looks: Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """One plan: its steps with all options, its schedule as it was written, its budget in seconds, when it was to run."""

    name: str
    steps: list[dict[str, Any]]
    schedule: dict[str, str]
    budget: float
    moments: list[datetime]


def read(cursor: Any, host: str, dsn: str) -> Demo:
    """What there is. cursor: of dictionaries, to the database of dsn; host: that of generated runs."""
    cursor.execute(SERVER)
    row = cursor.fetchone()
    server = Server(**{**row, "now": row["now"].astimezone(timezone.utc)})
    cursor.execute(RELATIONS)
    relations = {row["name"]: Relation(**row) for row in cursor.fetchall()}
    cursor.execute(INDEXES)
    indexes = [Index(**row) for row in cursor.fetchall()]
    cursor.execute(REAL, [host])
    row = cursor.fetchone()
    looks = {name: _look(name, dsn) for name in LOOKS}
    return Demo(server, relations, indexes, (row["first"], row["last"]) if row["first"] else None, looks)


def _look(name: str, dsn: str) -> dict[str, Any]:
    """What a module that only reads says, recorded nowhere."""
    return _edge.perform(_edge.validated(name, {"dsn": dsn, "history": False}), check=False)


def plans(given: Mapping[str, Any], now: datetime) -> list[Plan]:
    """The plans that have a schedule, with what each of their options is. Raises OptionError.

    A plan is to run at the times that it says, from 90 days ago until now.
    """
    found = []
    for name in given:
        plan = plan_check.plan_info({"plans": given, "name": name, "transport": "direct", "label": "maintenance_plans"})
        own = {key: value for key, value in plan["plan"].items() if key != "endpoint"}
        wanted = _edge.validated("run", {"dsn": "host=/nowhere", "plan": name, **own}).wanted
        schedule = read_schedule(own, [])
        if schedule is not None:
            steps = [{step.operation: step.given} for step in wanted.steps]
            found.append(Plan(name, steps, schedule.as_dict(), wanted.budget, _moments(schedule, now)))
    return found


def _moments(schedule: Every | At, now: datetime) -> list[datetime]:
    """When a plan was to run. Triggers come on the hour and after it."""
    first = (now - timedelta(days=DAYS) + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    moments = []
    moment = first if isinstance(schedule, Every) else schedule.following(first)
    while moment < now - timedelta(minutes=10):
        moments.append(moment)
        moment = moment + schedule.interval if isinstance(schedule, Every) else schedule.following(moment)
    return moments
