# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Tables that may be analyzed, and what is known about them: one round trip whatever their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..._postgres import catalog
from ..._postgres.capabilities import INHERITED_ANALYZE
from ..._postgres.driver import sql
from ..._postgres.names import display, parse_name, qualified, quote
from ..._postgres.selection import (
    BYTES,
    LOCKED,
    OWNS_DATABASE,
    LeftOut,
    Selection,
    left_out,
    selected,
    unmatched,
)
from ..._postgres.server import Server
from ..._postgres.session import Session
from ..._result import FAILED, UNCHANGED
from .. import Context, Verdict

KINDS = "rpmf"
SELECTED_KINDS = "rpm"  # by pattern: a foreign table is read from another server, which is for its user to want

# One row per name. It takes no lock on any table, so it never waits. pg_inherits and not pg_partition_tree(), because
# that locks every partition. Changes that our own session has made but not yet reported are in the xact counters.
# Every conflicting lock counts, also one that is waited for: ANALYZE (SKIP_LOCKED) stands back behind both.
FACTS = """
WITH RECURSIVE {targets}, {locked},
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
           {bytes} AS bytes, c.relkind IN ('r', 'm') AS stored, nullif(c.reltuples, -1)::bigint AS rows,
           pg_catalog.pg_stat_get_mod_since_analyze(c.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
               + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
               + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS modified,
           pg_catalog.pg_stat_get_last_analyze_time(c.oid) AS last_analyze,
           pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) AS last_autoanalyze
    FROM tree AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
),
total AS (
    SELECT position, (sum(rows) FILTER (WHERE stored))::bigint AS rows, sum(bytes)::bigint AS bytes,
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
SELECT t.*, s.rows, s.bytes, s.modified, s.stored_oids, s.leaves, s.behind, s.forbidden, s.last_autoanalyze AS parts_autoanalyze,
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


def read_named(session: Session, selection: Selection) -> list[Table | Verdict]:
    """The tables that are named, in their order."""
    if not selection.tables:
        return []
    found = read_rows(session, catalog.targets(session.server, selection.tables))
    return [_table(session, text, row, selection) for text, row in zip(selection.tables, found)]


def read_chosen(session: Session, selection: Selection, context: Context) -> list[Table | Verdict]:
    """What patterns choose. What the role may not analyze is told once for all, and what is not of the size is not meant."""
    if not selection.include:
        return []
    found = read_rows(session, selected(session.server, selection, SELECTED_KINDS))
    for pattern in unmatched(selection.include, [f"{row['schema_name']}.{row['name']}" for row in found]):
        context.warn(f"analyze: no table matches {pattern}, or all that do are excluded")
    meant = [row for row in found if not selection.out_of_size(row["bytes"])]
    forbidden = [row for row in meant if row["forbidden"] or not row["may_use_schema"]]
    lacking = [LeftOut(row["schema_name"], row["name"], row["owner"], row["may_use_schema"]) for row in forbidden]
    if lacking:
        context.warn(left_out(session.server, "analyze", lacking))
    out = {row["oid"] for row in forbidden}
    return [_table(session, row["name"], row, selection) for row in meant if row["oid"] not in out]


def read_rows(session: Session, targets: sql.Composed, since: str = "infinity") -> list[dict[str, Any]]:
    """The rows of FACTS. since: a time of the server; behind and analyzed_since say what was analyzed from then on."""
    return session.rows(
        sql.SQL(FACTS).format(
            targets=targets,
            locked=sql.SQL(LOCKED),
            bytes=sql.SQL(BYTES),
            may_analyze=sql.SQL("({}{})").format(sql.SQL(catalog.may_maintain(session.server)), sql.SQL(OWNS_DATABASE)),
            since=sql.Literal(since),
        )
    )


def _table(session: Session, text: str, row: dict[str, Any], selection: Selection) -> Table | Verdict:
    if row["oid"] is None:
        name = parse_name(text)
        target = ".".join(quote(part) for part in (name.schema, name.name) if part is not None)
        return Verdict(target, str(catalog.not_found(session, text, KINDS)), FAILED)
    relation = catalog.relation(row)
    wrong = fault(session.server, relation, row)
    if wrong:
        return Verdict(relation.display, wrong, FAILED)
    size = selection.out_of_size(row["bytes"])
    if size:
        return Verdict(relation.display, size, UNCHANGED)
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
        busy=busy(row),
        age=row["age"],
        statement=session.text(_statement(session.server, relation, row["tables"])),
    )


def fault(server: Server, relation: catalog.Relation, row: dict[str, Any]) -> str:
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


def busy(row: dict[str, Any]) -> str:
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
