# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""analyze: renew the planner's statistics where enough has changed, without getting in autovacuum's way."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import Contended, OptionError
from .._postgres import catalog
from .._postgres.capabilities import FLUSHED_STATISTICS, INHERITED_ANALYZE, RESTRICTED_PATH
from .._postgres.driver import sql
from .._postgres.names import display, parse_name, qualified, quote
from .._postgres.policy import LIGHT
from .._postgres.server import Server
from .._postgres.session import Session
from .._result import CONTENDED, FAILED, UNCHANGED
from .._spec import Spec
from .._units import count, duration, rows
from . import Action, Context, Decision, Effect, Need, Outcome, Verdict, name_faults

SPEC = Spec(
    {
        "tables": {"type": "list", "elements": "str"},
        "include": {"type": "list", "elements": "str"},
        "exclude": {"type": "list", "elements": "str"},
        "jobs": {"type": "int", "default": 1},
    },
    required_one_of=[("tables", "include")],
)
DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""

KINDS = "rpmf"
SELECTED_KINDS = "rpm"  # by pattern: a foreign table is read from another server, which is for its user to want
MOST_JOBS = 64
# Seconds after which a foreign table is due again: nobody counts its changes, and autovacuum never analyzes it.
FOREIGN_AGE = 7 * 86400

# The owner of the database may analyze everything in it but the shared catalogs.
OWNS_DATABASE = """
OR NOT c.relisshared AND (SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database
                          WHERE datname = pg_catalog.current_database())
"""

# One row per name. It takes no lock on any table, so it never waits. pg_inherits and not pg_partition_tree(), because
# that locks every partition. Changes that our own session has made but not yet reported are in the xact counters.
# Every conflicting lock counts, also one that is waited for: ANALYZE (SKIP_LOCKED) stands back behind both.
FACTS = """
WITH RECURSIVE {targets},
tree (position, oid) AS (
    SELECT position, oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT t.position, i.inhrelid FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind IN ('p', 'r') AND p.relhassubclass
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
),
part AS MATERIALIZED (
    SELECT t.position, c.oid, n.nspname::text AS schema_name, c.relname::text AS name, c.relkind::text AS kind,
           pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, {may_analyze} AS may_analyze,
           c.relkind IN ('r', 'm') AS stored, nullif(c.reltuples, -1)::bigint AS rows,
           pg_catalog.pg_stat_get_mod_since_analyze(c.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
               + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
               + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS modified,
           pg_catalog.pg_stat_get_last_analyze_time(c.oid) AS last_analyze,
           pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) AS last_autoanalyze
    FROM tree AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
),
total AS (
    SELECT position, (sum(rows) FILTER (WHERE stored))::bigint AS rows,
           (sum(modified) FILTER (WHERE stored))::bigint AS modified,
           array_agg(oid::bigint ORDER BY oid) FILTER (WHERE stored) AS stored_oids,
           max(last_autoanalyze) FILTER (WHERE stored) AS last_autoanalyze,
           count(*) FILTER (WHERE kind <> 'p') AS leaves,
           count(*) FILTER (WHERE stored AND coalesce(last_analyze, '-infinity') < {since}::timestamptz) AS behind,
           jsonb_agg(jsonb_build_array(schema_name, name) ORDER BY oid) FILTER (WHERE kind = 'r') AS tables,
           (array_agg(jsonb_build_object('oid', oid::bigint, 'schema_name', schema_name, 'name', name, 'kind', kind,
                                         'owner', owner, 'may_maintain', false) ORDER BY oid)
               FILTER (WHERE NOT may_analyze))[1] AS forbidden
    FROM part GROUP BY position
),
holder AS (
    SELECT DISTINCT ON (p.position) p.position, l.pid AS holder_pid, l.mode AS holder_mode, l.granted AS holder_granted,
           p.schema_name AS holder_schema, p.name AS holder_name,
           (SELECT backend_type FROM pg_catalog.pg_stat_activity WHERE pid = l.pid) AS holder_type
    FROM pg_catalog.pg_locks AS l JOIN part AS p ON p.oid = l.relation
    WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    AND l.database IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
    AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                   'AccessExclusiveLock')
    ORDER BY p.position, l.granted DESC, l.pid, p.oid
)
SELECT t.*, s.rows, s.modified, s.stored_oids, s.leaves, s.behind, s.forbidden, s.last_autoanalyze AS parts_autoanalyze,
       s.tables, p.last_analyze, p.last_autoanalyze, extract(epoch FROM clock_timestamp() - p.last_analyze)::float8 AS age,
       coalesce(p.last_analyze >= {since}::timestamptz, false) AS analyzed_since,
       CASE WHEN p.last_analyze IS NULL AND p.last_autoanalyze IS NULL THEN EXISTS (
           SELECT FROM pg_catalog.pg_stats AS st WHERE st.schemaname = t.schema_name AND st.tablename = t.name
       ) END AS has_statistics,
       h.holder_pid, h.holder_mode, h.holder_granted, h.holder_schema, h.holder_name, h.holder_type
FROM target AS t
LEFT JOIN part AS p ON p.position = t.position AND p.oid = t.oid
LEFT JOIN total AS s ON s.position = t.position
LEFT JOIN holder AS h ON h.position = t.position
ORDER BY t.position
"""

# Changes of our own session that are reported only after ANALYZE would count as made after it.
FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush(), pg_catalog.clock_timestamp() AS started"
FLUSH_14 = "SELECT pg_catalog.clock_timestamp() AS started"


@dataclass(frozen=True)
class Table:
    """What is known about one table that may be analyzed.

    rows      of the table or of all partitions, as estimated at the last VACUUM or ANALYZE; None before the first
    modified  rows inserted, updated or deleted since the last ANALYZE, likewise
    stored    oids of the relations that these are summed over
    busy      who holds a lock that ANALYZE would have to wait for
    stale     autovacuum has renewed the statistics of a partition or child, which it never does for the parent
    age       seconds since the last ANALYZE of a foreign table, None if that is not known
    """

    relation: catalog.Relation
    rows: int | None = None
    modified: int = 0
    stored: list[int] = field(default_factory=list)
    empty_parent: bool = False
    never: bool = False
    stale: bool = False
    busy: str = ""
    age: float | None = None
    statement: str = ""

    @property
    def target(self) -> str:
        return self.relation.display


@dataclass(frozen=True)
class Options:
    """Tables by name; and those whose ``schema.name`` a pattern of include has, and none of exclude."""

    tables: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    jobs: int = 1


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    tables, include, exclude = given.get("tables"), given.get("include"), given.get("exclude") or []
    jobs = given.get("jobs", 1)
    faults = name_faults("tables", tables or [])
    if tables is not None and not tables:
        faults.append("tables: is empty; name at least one table")
    if include is not None and not all(include or [""]):
        faults.append("include: give at least one pattern, such as '*' for all tables or 'app.*' for those of a schema")
    if exclude and not include:
        faults.append("exclude: it leaves out what include has, and there is no include")
    if not all(exclude):
        faults.append("exclude: an empty pattern leaves nothing out")
    if not 1 <= jobs <= MOST_JOBS:
        faults.append(f"jobs: must be from 1 to {MOST_JOBS}")
    if faults:
        raise OptionError(faults)
    return Options(tuple(tables or ()), tuple(include or ()), tuple(exclude), jobs)


def names(options: Options) -> Sequence[str]:
    """The tables; none where patterns choose."""
    return () if options.include else options.tables


def needs(options: Options) -> Sequence[Need]:
    """The owner's rights, or MAINTAIN."""
    return [Need(name, "maintain", KINDS) for name in options.tables]


def jobs(options: Options) -> int:
    """As the option says."""
    return options.jobs


def threshold(table_rows: int) -> int:
    """Changed rows that make statistics worth renewing: min(50 + 0.1 * rows, sqrt(1000 * rows)), at least 1.

    The first term is autovacuum's own default, the second lets large tables be analyzed earlier (it is the smaller one
    above about 89 000 rows).
    """
    if table_rows <= 0:
        return 1
    return max(1, min(-(-(500 + table_rows) // 10), math.isqrt(1000 * table_rows - 1) + 1))


def facts(session: Session, options: Options, context: Context) -> list[Table | Verdict]:
    """One round trip for all names, one for all patterns; one more for each name that does not exist."""
    tables: list[Table | Verdict] = []
    if options.tables:
        found = _read(session, catalog.targets(session.server, options.tables), "infinity")
        tables += [_table(session, text, row) for text, row in zip(options.tables, found)]
    if options.include:
        found = _read(
            session, catalog.selected(session.server, options.include, options.exclude, SELECTED_KINDS), "infinity"
        )
        tables += [_table(session, row["name"], row) for row in found]
        for pattern in catalog.unmatched(options.include, [f"{row['schema_name']}.{row['name']}" for row in found]):
            context.warn(f"analyze: no table matches {pattern}, or all that do are excluded")
    return tables


def _read(session: Session, targets: sql.Composed, since: str) -> list[dict[str, Any]]:
    """The rows of FACTS. since: a time of the server; behind and analyzed_since say what was analyzed from then on."""
    return session.rows(
        sql.SQL(FACTS).format(
            targets=targets,
            may_analyze=sql.SQL("({}{})").format(sql.SQL(catalog.may_maintain(session.server)), sql.SQL(OWNS_DATABASE)),
            since=sql.Literal(since),
        )
    )


def _table(session: Session, text: str, row: dict[str, Any]) -> Table | Verdict:
    if row["oid"] is None:
        name = parse_name(text)
        target = ".".join(quote(part) for part in (name.schema, name.name) if part is not None)
        return Verdict(target, str(catalog.not_found(session, text, KINDS)), FAILED)
    relation = catalog.relation(row)
    fault = _fault(session.server, relation, row)
    if fault:
        return Verdict(relation.display, fault, FAILED)
    partitioned, divided = relation.kind == "p", row["leaves"] > (relation.kind != "p")
    newest = row["parts_autoanalyze"]
    known = [moment for moment in (row["last_analyze"], row["last_autoanalyze"]) if moment is not None]
    return Table(
        relation=relation,
        rows=row["rows"],
        modified=row["modified"] or 0,
        stored=row["stored_oids"] or [],
        empty_parent=partitioned and not row["leaves"],
        never=row["has_statistics"] is False,
        stale=bool(divided and newest and (not known or newest > max(known))),
        busy=_busy(row),
        age=row["age"],
        statement=session.text(_statement(session.server, relation, row["tables"])),
    )


def _fault(server: Server, relation: catalog.Relation, row: dict[str, Any]) -> str:
    """What forbids ANALYZE, or nothing. Without the right to it ANALYZE itself only warns, and reports success."""
    if relation.kind not in KINDS:
        return str(catalog.wrong_kind(relation, "table, foreign table or materialized view"))
    if not row["may_use_schema"]:
        return catalog.schema_fault(server, relation)
    if row["forbidden"]:
        part = catalog.relation(row["forbidden"])
        where = "this table" if part.oid == relation.oid else f"its partition {part.display}"
        return f"role {quote(server.user)} may not analyze {where}: {catalog.maintain_grant(server, part)}"
    if not server.track_counts:
        return "the server counts no changes: set track_counts to on"
    return ""


def _busy(row: dict[str, Any]) -> str:
    """Who is in the way, or nothing."""
    if row["holder_mode"] is None:
        return ""
    who = "autovacuum, process" if row["holder_type"] == "autovacuum worker" else "session"
    who = f"{who} {row['holder_pid']}" if row["holder_pid"] else "a prepared transaction"
    holds = "holds" if row["holder_granted"] else "waits for"
    part = catalog.display(row["holder_schema"], row["holder_name"])
    where = "it" if part == catalog.display(row["schema_name"], row["name"]) else part
    return f"{who} {holds} a {row['holder_mode']} on {where}"


def _statement(server: Server, relation: catalog.Relation, tables: list[list[str]] | None) -> sql.Composed:
    """From 18 on, children are analyzed with their parent, as partitions always were; before, they have to be named."""
    named = [relation.identifier]
    if relation.kind == "r" and not server.has(INHERITED_ANALYZE):
        named += [qualified(*name) for name in tables or [] if display(*name) != relation.display]
    return sql.SQL("ANALYZE (SKIP_LOCKED) {}").format(sql.SQL(", ").join(named))


def decide(facts: Sequence[Table | Verdict], options: Options, context: Context) -> list[Decision[Table]]:
    """One decision per table: as they were named, or where patterns choose those with the most changes first."""
    tables = list({table.target: table for table in facts}.values())
    if options.include:
        tables.sort(key=lambda table: -table.modified if isinstance(table, Table) else 0)
    return [_decide(table, context.forecast) if isinstance(table, Table) else table for table in tables]


def _decide(table: Table, forecast: Mapping[int, Effect]) -> Decision[Table]:
    if table.empty_parent:
        return Verdict(table.target, "has no partitions", UNCHANGED)
    if table.relation.kind == "f":
        return _decide_foreign(table)
    limit = threshold(table.rows or 0)
    coming = _coming(table.relation.oid, table.stored, forecast)
    if coming.gone:
        return Verdict(table.target, "an earlier step of this plan drops it", UNCHANGED)
    modified = table.modified + (coming.rows or 0)
    numbers = {"rows": table.rows, "modified": modified, "threshold": limit}
    if table.never:
        reason = "never analyzed"
    elif modified >= limit:
        reason = f"{_share(modified, table.rows)} changed since the last analyze (threshold {count(limit)})"
    elif coming.rows is None:
        reason = "an earlier step of this plan changes rows here"
    elif table.stale:
        reason = "autovacuum analyzed a partition since, but never the parent"
    else:
        return Verdict(
            table.target, f"{rows(modified)} changed, below the threshold of {count(limit)}", UNCHANGED, numbers
        )
    if table.busy:
        return Verdict(table.target, f"{reason}, but {table.busy}", CONTENDED, numbers)
    return Action(table.target, reason, table, numbers, (table.statement,))


def _decide_foreign(table: Table) -> Decision[Table]:
    """Changes elsewhere are not counted here, so time decides."""
    numbers = {"age_seconds": table.age}
    if table.never:
        reason = "never analyzed"
    elif table.age is None:
        reason = "it is not known when it was analyzed"
    elif table.age > FOREIGN_AGE:
        reason = f"analyzed {duration(table.age)} ago, and changes of a foreign table are not counted"
    else:
        reason = f"a foreign table, analyzed {duration(table.age)} ago (due after {duration(FOREIGN_AGE)})"
        return Verdict(table.target, reason, UNCHANGED, numbers)
    return Action(table.target, reason, table, numbers, (table.statement,))


def _share(modified: int, of: int | None) -> str:
    """``5 of 100 rows``, where the second number is known and not the smaller one."""
    return rows(modified) if of is None or of < modified else f"{count(modified)} of {rows(of)}"


def _coming(oid: int, stored: list[int], forecast: Mapping[int, Effect]) -> Effect:
    """What earlier steps are about to do. A parent's number includes its partitions'; it stays when one of those goes."""
    if oid in forecast:
        return forecast[oid]
    parts = [forecast[part] for part in stored if part in forecast]
    return replace(sum(parts, Effect()), gone=False)


def execute(session: Session, action: Action[Table], context: Context) -> Outcome:
    """Analyze one table, and look whether it was: without the lock or the right ANALYZE only warns."""
    session.set(lock_timeout=LIGHT)
    started = session.row(FLUSH if session.server.has(FLUSHED_STATISTICS) else FLUSH_14)["started"]
    why = "another session held a lock"
    relation = action.payload.relation
    try:
        _send(session, action.payload)
    except Contended as error:
        why = str(error)  # what was done before it, such as some partitions, stays done
    said = [text for text in session.notices if "cannot analyze this foreign table" in text]
    row = _read_after(session, relation, started.isoformat())
    if row["oid"] is None:
        return Outcome(FAILED, "was dropped meanwhile")
    fault = _fault(session.server, relation, row)
    if fault:
        return Outcome(FAILED, fault, changed=row["analyzed_since"])
    if said and relation.kind == "f":
        return Outcome(FAILED, "its foreign-data wrapper cannot analyze it: take it out of the tables")
    why = _busy(row) or why
    if not row["analyzed_since"]:
        return Outcome(CONTENDED, f"skipped: {why}")
    if row["behind"]:
        parts = "1 partition was" if row["behind"] == 1 else f"{count(row['behind'])} partitions were"
        return Outcome(CONTENDED, f"analyzed, but {parts} skipped: {why}", changed=True)
    return Outcome(changed=True)


def _send(session: Session, table: Table) -> None:
    """ANALYZE. Before 17, functions that expressions of indexes and statistics use see the path of the session."""
    if session.server.has(RESTRICTED_PATH):
        session.execute(table.statement, alone=True)
        return
    with session.users_path():
        session.execute(table.statement, alone=True)


def _read_after(session: Session, relation: catalog.Relation, started: str) -> dict[str, Any]:
    """The facts after ANALYZE. Before 15 they come from a collector, which may be half a second behind."""
    tries = 1 if session.server.has(FLUSHED_STATISTICS) else 8
    for left in reversed(range(tries)):
        (row,) = _read(session, catalog.targets(session.server, [relation.display]), started)
        if left == 0 or row["oid"] is None or (row["analyzed_since"] and not row["behind"]):
            return row
        time.sleep(0.25)  # nothing tells when the collector has written
    raise AssertionError("the last try returns")
