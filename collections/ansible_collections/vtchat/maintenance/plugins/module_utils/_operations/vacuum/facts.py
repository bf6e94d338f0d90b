# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Tables that may be vacuumed, and what is known about them: one round trip whatever their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..._postgres import catalog
from ..._postgres.capabilities import FLUSHED_STATISTICS, FROZEN_PAGES
from ..._postgres.driver import sql
from ..._postgres.horizon import NEXT_XID, OLDEST, Horizon, horizon
from ..._postgres.names import Name, parse_name, quote
from ..._postgres.selection import OWNS_DATABASE, LeftOut, Selection, left_out, stored, unmatched
from ..._postgres.server import Server
from ..._postgres.session import Session
from ..._result import FAILED, UNCHANGED
from .. import Context, Verdict
from .urgency import Heap, Settings

KINDS = "rm"
NAMED_KINDS = "rpm"  # a partitioned table means its partitions

MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"

# The fields of Heap, in its order, as expressions on pg_class AS {c}. What our own session has changed and not yet reported is in
# the xact counters; an update leaves a dead row as well as a delete.
HEAP = {
    "oid": "{c}.oid::bigint",
    "rows": "nullif({c}.reltuples, -1)::bigint",
    "pages": "{c}.relpages::bigint",
    "visible_pages": "{c}.relallvisible::bigint",
    "frozen_pages": "{frozen}",
    "dead": "pg_catalog.pg_stat_get_dead_tuples({c}.oid) + pg_catalog.pg_stat_get_xact_tuples_deleted({c}.oid)"
            " + pg_catalog.pg_stat_get_xact_tuples_updated({c}.oid)",
    "inserted": "pg_catalog.pg_stat_get_ins_since_vacuum({c}.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted({c}.oid)",
    "added": "pg_catalog.pg_stat_get_tuples_inserted({c}.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted({c}.oid)",
    "modified": "pg_catalog.pg_stat_get_mod_since_analyze({c}.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted({c}.oid)"
                " + pg_catalog.pg_stat_get_xact_tuples_updated({c}.oid) + pg_catalog.pg_stat_get_xact_tuples_deleted({c}.oid)",
    "last_vacuum": MICROSECONDS.format("pg_catalog.pg_stat_get_last_vacuum_time({c}.oid)"),
    "last_autovacuum": MICROSECONDS.format("pg_catalog.pg_stat_get_last_autovacuum_time({c}.oid)"),
    "last_analyze": MICROSECONDS.format("pg_catalog.pg_stat_get_last_analyze_time({c}.oid)"),
    "last_autoanalyze": MICROSECONDS.format("pg_catalog.pg_stat_get_last_autoanalyze_time({c}.oid)"),
    "age": "CASE WHEN {c}.relfrozenxid <> '0' THEN age({c}.relfrozenxid) END",
    "multixact_age": "CASE WHEN {c}.relminmxid <> '0' THEN pg_catalog.mxid_age({c}.relminmxid) END",
    "oldest_multixact": "{c}.relminmxid::text::bigint",
}  # fmt: skip

# What conflicts with the lock of VACUUM.
MODES = ("ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")

# Every conflicting lock counts, also one that is waited for: VACUUM (SKIP_LOCKED) stands back behind both, and passes over a
# locked TOAST table without a word. Of a worker of autovacuum an ordinary role sees no more than that it vacuums as nobody.
BUSY = """
relation AS MATERIALIZED (
    SELECT t.oid AS main, t.oid FROM target AS t WHERE t.oid IS NOT NULL
    UNION ALL
    SELECT t.oid, c.reltoastrelid FROM target AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.oid WHERE c.reltoastrelid <> 0
),
busy AS MATERIALIZED (
    SELECT DISTINCT ON (r.main) r.main, jsonb_build_object(
        'pid', l.pid, 'mode', l.mode, 'granted', l.granted, 'toast', r.oid <> r.main,
        'vacuums', l.pid IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum),
        'automatic', coalesce(a.backend_type = 'autovacuum worker', a.pid IS NOT NULL AND a.usesysid IS NULL),
        'wraparound', a.query LIKE '%(to prevent wraparound)') AS busy
    FROM pg_catalog.pg_locks AS l JOIN relation AS r ON r.oid = l.relation
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    AND l.database IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
    AND l.mode = ANY ({modes})
    ORDER BY r.main, l.granted DESC, r.oid <> r.main, l.pid
)"""

CHILD = "EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid)"

DETAIL = """
detail AS MATERIALIZED (
    SELECT t.*, c.relhassubclass AS parent, {child} AS child, {heap} AS heap, c.reloptions,
           CASE WHEN tc.oid IS NOT NULL THEN {toast} END AS toast, tc.reloptions AS toast_reloptions, b.busy
    FROM target AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
    LEFT JOIN pg_catalog.pg_class AS tc ON tc.oid = c.reltoastrelid AND c.reltoastrelid <> 0
    LEFT JOIN busy AS b ON b.main = t.oid
)"""

SETTINGS = (
    "autovacuum_vacuum_threshold", "autovacuum_vacuum_scale_factor", "autovacuum_vacuum_max_threshold",
    "autovacuum_vacuum_insert_threshold", "autovacuum_vacuum_insert_scale_factor", "autovacuum_freeze_max_age",
    "autovacuum_multixact_freeze_max_age", "vacuum_failsafe_age", "vacuum_multixact_failsafe_age", "vacuum_freeze_min_age",
    "vacuum_multixact_freeze_min_age", "autovacuum_vacuum_cost_delay", "autovacuum_vacuum_cost_limit", "vacuum_cost_delay",
    "vacuum_cost_limit", "max_parallel_maintenance_workers", "max_parallel_workers",
)  # fmt: skip

# When the counters of this database began: somebody has reset them, or the server has crashed and lost them, and with them those
# of the whole server.
COMMON = r"""
jsonb_build_object(
    'numbers', (SELECT jsonb_object_agg(name, setting) FROM pg_catalog.pg_settings WHERE name = ANY ({settings})),
    'reset', (SELECT to_char(greatest(pg_catalog.pg_stat_get_db_stat_reset_time(oid),
                                      pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) AT TIME ZONE 'UTC',
                             'YYYY-MM-DD HH24:MI "UTC"')
              FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
    'lost', (SELECT pg_catalog.pg_stat_get_bgwriter_stat_reset_time() > pg_catalog.pg_postmaster_start_time()
                    OR {resets} AND pg_catalog.pg_stat_get_db_stat_reset_time(oid) IS NOT NULL
             FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
    'english', current_setting('lc_messages') ~ '^(|C|POSIX|C\..*|en_.*|English.*)$',
    'now', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 'next_xid', {next_xid}, 'oldest', {oldest})
"""

# The first row has what is true of all; it is there also where nothing is chosen.
FACTS = """
WITH RECURSIVE {targets}, {busy}, {detail}
SELECT d.*, CASE WHEN pg_catalog.row_number() OVER (ORDER BY d.position, d.schema_name, d.name) = 1 THEN {common} END AS common
FROM (SELECT) AS one LEFT JOIN detail AS d ON true
ORDER BY d.position, d.schema_name, d.name
"""

# The same about one table, by its oid, before and after its VACUUM. Of small tables this is what takes the time, so who is in the
# way is asked for only where somebody is, and the size is reckoned from the pages that VACUUM has counted.
ONE = """
SELECT c.oid, n.nspname::text AS schema_name, c.relname::text AS name, c.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, {may_maintain} AS may_maintain,
       pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may_use_schema, c.relhassubclass AS parent, false AS child,
       {heap} AS heap, c.reloptions, CASE WHEN tc.oid IS NOT NULL THEN {toast} END AS toast, tc.reloptions AS toast_reloptions,
       (c.relpages + coalesce(tc.relpages, 0)) * current_setting('block_size')::bigint AS bytes, NULL::jsonb AS busy{more}
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class AS tc ON tc.oid = c.reltoastrelid AND c.reltoastrelid <> 0
WHERE c.oid = {oid}
"""

# Whether somebody is in the way; a column of ONE.
CONTENDED = """, EXISTS (
    SELECT FROM pg_catalog.pg_locks AS l
    WHERE l.relation IN (c.oid, tc.oid) AND l.mode = ANY ({modes}) AND l.locktype = 'relation'
    AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()) AS contended"""

WHO = """
WITH target AS MATERIALIZED (SELECT {oid}::oid AS oid), {busy} SELECT busy FROM busy
"""


@dataclass(frozen=True)
class Table:
    """What is known about one table that may be vacuumed.

    names   ``schema.name`` of itself and of the partitioned tables that it belongs to
    parent  others inherit from it; child: it inherits or is a partition. analyze goes by the whole of those, and would
            not see any more what has changed in a part once that alone was analyzed
    bytes   with TOAST; None while somebody holds it as a whole
    busy    who holds a lock that VACUUM would have to wait for, for people
    """

    relation: catalog.Relation
    heap: Heap
    toast: Heap | None = None
    names: tuple[str, ...] = ()
    parent: bool = False
    child: bool = False
    bytes: int | None = None
    busy: str = ""

    @property
    def target(self) -> str:
        """Its name, as history knows it."""
        return self.relation.display


@dataclass(frozen=True)
class Facts:
    """All that decides. tables: in the order in which they were named; what cannot be vacuumed is a verdict already."""

    settings: Settings
    horizon: Horizon
    tables: list[Table | Verdict] = field(default_factory=list)
    database: str = ""


@dataclass(frozen=True)
class Found:
    """One table as it is now. fault: what forbids VACUUM, "" if nothing; row: what else was asked for."""

    table: Table
    fault: str
    row: Mapping[str, Any]


def read_facts(session: Session, selection: Selection, context: Context) -> Facts:
    """One round trip; one more for each name that nothing has. Warns of what the role may not vacuum, once."""
    server = session.server
    query = sql.SQL(FACTS).format(
        targets=stored(server, selection, KINDS),
        busy=_busy_cte(),
        detail=sql.SQL(DETAIL).format(child=sql.SQL(CHILD), heap=_values(server, "c"), toast=_values(server, "tc")),
        common=sql.SQL(COMMON).format(
            settings=sql.Literal(list(SETTINGS)),
            next_xid=sql.SQL(NEXT_XID),
            oldest=sql.SQL(OLDEST),
            resets=sql.Literal(
                server.has(FLUSHED_STATISTICS)
            ),  # before 15 a database has such a time from its beginning
        ),
    )
    rows = session.rows(query)
    common = rows[0]["common"]
    settings = Settings(
        version=server.version_num,
        numbers={name: float(value) for name, value in common["numbers"].items()},
        counts=server.track_counts,
        reset=common["reset"] or "",
        lost=bool(common["lost"]),
        english=bool(common["english"]),
        now=common["now"],
        next_xid=common["next_xid"],
    )
    found = [row for row in rows if row["oid"] is not None or row["text"] is not None]
    tables = _tables(session, found, selection, context)
    return Facts(settings, horizon(common["oldest"], settings.next_xid), tables, server.database)


def read_again(session: Session, oid: int, more: sql.Composable | None = None) -> Found | None:
    """What is known of one table now, None where it is gone. more: columns that are read with it, each after a comma."""
    server = session.server
    query = sql.SQL(ONE).format(
        may_maintain=sql.SQL("({}{})").format(sql.SQL(catalog.may_maintain(server)), sql.SQL(OWNS_DATABASE)),
        heap=_values(server, "c"),
        toast=_values(server, "tc"),
        more=more or sql.SQL(""),
        oid=sql.Literal(oid),
    )
    rows = session.rows(query)
    return Found(_table(rows[0]), _fault(server, catalog.relation(rows[0]), rows[0]), rows[0]) if rows else None


def contended() -> sql.Composed:
    """A column for ``more`` of read_again()."""
    return sql.SQL(CONTENDED).format(modes=sql.Literal(list(MODES)))


def in_the_way(session: Session, oid: int) -> str:
    """Who holds or waits for a lock on a table that VACUUM would have to wait for, for people; "" where nobody does any more."""
    rows = session.rows(sql.SQL(WHO).format(oid=sql.Literal(oid), busy=_busy_cte()))
    return _busy(rows[0]["busy"]) if rows else ""


def _busy_cte() -> sql.Composed:
    return sql.SQL(BUSY).format(modes=sql.Literal(list(MODES)))


def _values(server: Server, alias: str) -> sql.SQL:
    """The fields of Heap as one array."""
    frozen = f"{alias}.relallfrozen::bigint" if server.has(FROZEN_PAGES) else "NULL"
    values = ", ".join(text.format(c=alias, frozen=frozen) for text in HEAP.values())
    return sql.SQL(f"ARRAY[{values}]::bigint[]")


def _tables(
    session: Session, rows: list[dict[str, Any]], selection: Selection, context: Context
) -> list[Table | Verdict]:
    """One of each row; nothing of what patterns have chosen in vain."""
    found: list[Table | Verdict] = []
    lacking: list[LeftOut] = []
    seen = {row["position"] for row in rows}
    names = {name for row in rows for name in row["names"] or ()}
    for row in rows:
        if row["position"] is not None:
            found += _named(session, row, selection)
        elif row["may_maintain"] and row["may_use_schema"]:
            found.append(_table(row))
        else:
            lacking.append(LeftOut(row["schema_name"], row["name"], row["owner"], row["may_use_schema"]))
    found += _without_rows(session, [text for place, text in enumerate(selection.tables) if place not in seen], names)
    if lacking:
        context.warn(left_out(session.server, "vacuum", lacking))
    for pattern in unmatched(selection.include, sorted(names)):
        size = " or not of the size that is meant" if selection.min_size or selection.max_size is not None else ""
        context.warn(f"vacuum: no table matches {pattern}, or all that do are excluded{size}")
    return found


def _named(session: Session, row: dict[str, Any], selection: Selection) -> list[Table | Verdict]:
    """What was named, or a partition of it. A foreign table among the partitions is its own server's business."""
    name = parse_name(row["text"])
    if row["oid"] is None:
        return [Verdict(_target(name), str(catalog.not_found(session, row["text"], NAMED_KINDS)), FAILED)]
    relation = catalog.relation(row)
    if relation.kind == "f" and len(row["names"]) > 1:
        return []
    fault = _fault(session.server, relation, row)
    if fault:
        return [Verdict(relation.display, fault, FAILED)]
    size = selection.out_of_size(row["bytes"])
    return [Verdict(relation.display, size, UNCHANGED) if size else _table(row)]


def _without_rows(session: Session, texts: list[str], names: set[str]) -> list[Table | Verdict]:
    """Partitioned tables without partitions among what was named. The others are there under another of their names."""
    if not texts:
        return []
    query = sql.SQL("WITH {} SELECT * FROM target").format(catalog.targets(session.server, texts))
    empty = [row for row in session.rows(query) if f"{row['schema_name']}.{row['name']}" not in names]
    return [
        Verdict(catalog.relation(row).display, "has no partitions", UNCHANGED) for row in empty if row["kind"] == "p"
    ]


def _target(name: Name) -> str:
    return ".".join(quote(part) for part in (name.schema, name.name) if part is not None)


def _fault(server: Server, relation: catalog.Relation, row: dict[str, Any]) -> str:
    """What forbids VACUUM, or nothing. Without the right to it VACUUM itself only warns, and reports success."""
    if relation.kind not in KINDS:
        return str(catalog.wrong_kind(relation, "table or materialized view"))
    if relation.schema.startswith("pg_temp"):
        return "is a temporary table, which belongs to another session"
    if not row["may_use_schema"]:
        return catalog.schema_fault(server, relation)
    if not row["may_maintain"]:
        return f"role {quote(server.user)} may not vacuum this table: {catalog.maintain_grant(server, relation)}"
    return ""


def _table(row: dict[str, Any]) -> Table:
    own = _reloptions(row["reloptions"])
    toast = None
    if row["toast"] is not None:
        options = _reloptions(row["toast_reloptions"]) if row["toast_reloptions"] else own
        toast = _heap(row["toast"], options)
    return Table(
        catalog.relation(row),
        replace(_heap(row["heap"], own), bytes=row["bytes"]),
        toast,
        tuple(row.get("names") or ()),
        bool(row["parent"]),
        bool(row["child"]),
        row["bytes"],
        _busy(row["busy"]),
    )


def _heap(values: list[int | None], reloptions: dict[str, str]) -> Heap:
    known: dict[str, Any] = dict(zip(HEAP, values))
    for name in ("dead", "inserted", "added", "modified"):  # null before the first of them
        known[name] = known[name] or 0
    return Heap(**known, reloptions=reloptions)


def _reloptions(texts: list[str] | None) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts or ())


def _busy(found: dict[str, Any] | None) -> str:
    """Who is in the way, or nothing."""
    if found is None:
        return ""
    where = "its TOAST table" if found["toast"] else "it"
    automatic = found["automatic"] and found["vacuums"]
    who = "autovacuum, process" if automatic else "session"
    who = f"{who} {found['pid']}" if found["pid"] else "a prepared transaction"
    if found["vacuums"] and found["granted"] and found["mode"] == "ShareUpdateExclusiveLock":
        why = " to prevent wraparound" if found["wraparound"] else ""
        return f"{who} is vacuuming {where}{why}"
    return f"{who} {'holds' if found['granted'] else 'waits for'} a {found['mode']} on {where}"
