# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What purge has to know about a table: its parts, its expiry column, indexes, rights, and what else goes with its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import quote
from ..._postgres.server import Server
from ..._postgres.session import Session

SMALL_TABLE = 1000  # pages (8 MB): reading all of it costs less than worrying about an index
ZONELESS = ("timestamp without time zone", "date")

# The table with its partitions or inheritance children, at any depth. oids stands for the parts in other queries.
PARTS = """
parts (oid) AS (
    SELECT oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT i.inhrelid FROM parts JOIN pg_inherits AS i ON i.inhparent = parts.oid
),
part AS MATERIALIZED (
    SELECT c.oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name, a.attnum,
           -- pg_class knows no size before the first VACUUM or ANALYZE (reltuples -1): then the file is asked.
           CASE WHEN c.reltuples < 0 THEN pg_relation_size(c.oid) / current_setting('block_size')::int
                ELSE c.relpages END AS pages
    FROM parts JOIN pg_class AS c ON c.oid = parts.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped
)"""

# Whose rows a DELETE takes with it: the parts, and the tables that refer to these with ON DELETE CASCADE, and so on.
# A foreign key from or to a partitioned table stands in pg_constraint once more for each partition: a row's own table or
# part of a table is what its key is checked for, so every one of them leads on, and only the topmost is shown.
REACHED = """
reached (oid) AS (
    SELECT oid FROM parts
    UNION
    SELECT below.oid FROM reached CROSS JOIN LATERAL (
        SELECT k.conrelid AS oid FROM pg_constraint AS k
        WHERE k.confrelid = reached.oid AND k.contype = 'f' AND k.confdeltype = 'c'
        UNION ALL
        SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent
        WHERE i.inhparent = reached.oid AND p.relkind = 'p'
    ) AS below
),
referring AS (
    SELECT k.oid, k.conname, k.conrelid, k.conkey, k.confdeltype, n.nspname, r.relname
    FROM reached JOIN pg_constraint AS k ON k.confrelid = reached.oid AND k.contype = 'f'
    JOIN pg_class AS r ON r.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_constraint AS up WHERE up.oid = k.conparentid AND up.confrelid IN (SELECT oid FROM reached))
)"""

REFERRED_BY = """
SELECT jsonb_agg(jsonb_build_object(
    'constraint', k.conname, 'table', format('%I.%I', k.nspname, k.relname), 'oid', k.conrelid::bigint,
    'cascades', k.confdeltype IN ('c', 'n', 'd'), 'deletes', k.confdeltype = 'c',
    'expires', EXISTS (SELECT FROM pg_attribute AS x JOIN pg_type AS y ON y.oid = x.atttypid WHERE x.attrelid = k.conrelid
                       AND x.attname = {column} AND y.typcategory = 'D' AND NOT x.attisdropped),
    'pages', (SELECT sum(CASE WHEN p.reltuples < 0 THEN pg_relation_size(p.oid) / current_setting('block_size')::int
                              ELSE p.relpages END)
              FROM pg_class AS p
              WHERE p.oid = k.conrelid OR p.oid IN (SELECT relid FROM pg_partition_tree(k.conrelid))),
    'columns', (SELECT string_agg(format('%I', ra.attname), ', ' ORDER BY u.ord)
                FROM unnest(k.conkey) WITH ORDINALITY AS u (num, ord)
                JOIN pg_attribute AS ra ON ra.attrelid = k.conrelid AND ra.attnum = u.num),
    'indexed', EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                       AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)) ORDER BY k.oid)
FROM referring AS k
"""

FACTS = """
WITH RECURSIVE {targets},{parts},{reached}
SELECT t.*, clock_timestamp() - make_interval(secs => {older_than}) AS cutoff, a.attname::text AS column_name, a.attnum,
       (WITH RECURSIVE base (oid, kind) AS (  -- that of a domain
            SELECT oid, typtype FROM pg_type WHERE oid = a.atttypid
            UNION ALL SELECT y.oid, y.typtype FROM base JOIN pg_type AS d ON d.oid = base.oid AND base.kind = 'd'
            JOIN pg_type AS y ON y.oid = d.typbasetype)
        SELECT format_type(oid, NULL) FROM base WHERE kind <> 'd') AS column_type,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped) AS columns,
       (SELECT sum(pages) FROM part) AS pages,
       (SELECT relhassubclass FROM pg_class WHERE oid = t.oid) AS divided,
       (SELECT array_agg(oid::bigint) FROM part WHERE kind = 'r' AND oid <> t.oid) AS leaves,
       (SELECT format('%I.%I', schema, name) FROM part WHERE kind = 'f' LIMIT 1) AS foreign_part,
       NOT EXISTS (SELECT FROM part AS p WHERE p.kind = 'r' AND NOT EXISTS (
           SELECT FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid JOIN pg_am AS am ON am.oid = ic.relam
           WHERE i.indrelid = p.oid AND i.indkey[0] = p.attnum AND i.indisvalid AND i.indpred IS NULL
           AND am.amname = 'btree')) AS indexed,
       row_security_active(t.oid) AS row_security,
       has_table_privilege(t.oid, 'DELETE') AND has_any_column_privilege(t.oid, 'UPDATE')
           AND has_table_privilege(t.oid, 'SELECT') AS may_delete,
       (SELECT min(format('%I on %I.%I', w.rulename, n.nspname, c.relname))
        FROM pg_rewrite AS w JOIN pg_class AS c ON c.oid = w.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE w.ev_class IN (SELECT oid FROM reached) AND w.ev_type = '4' AND w.ev_enabled IN ('O', 'A')) AS rule,
       (SELECT array_agg(DISTINCT format('%I on %I.%I', g.tgname, n.nspname, c.relname))
        FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE g.tgrelid IN (SELECT oid FROM reached) AND NOT g.tgisinternal AND g.tgparentid = 0
        AND g.tgtype::int & 8 <> 0 AND g.tgenabled IN ('O', 'A')) AS triggers,
       ({referred_by}) AS referenced_by
FROM target AS t
LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True)
class Options:
    """The options of purge. older_than: seconds; batch_seconds: how long one batch should take."""

    table: str
    column: str
    older_than: int
    where: str | None
    timezone: str | None
    max_rows: int | None
    batch_seconds: float
    require_index: bool
    cascade: bool


def read(session: Session, options: Options) -> dict[str, Any]:
    """The one row of FACTS; oid is null where there is no such table."""
    column = sql.Literal(options.column)
    query = sql.SQL(FACTS).format(
        targets=catalog.targets(session.server, [options.table]),
        parts=sql.SQL(PARTS).format(column=column),
        reached=sql.SQL(REACHED),
        referred_by=sql.SQL(REFERRED_BY).format(column=column),
        column=column,
        older_than=sql.Literal(options.older_than),
    )
    return session.row(query)


def fault(server: Server, relation: catalog.Relation, row: dict[str, Any], options: Options) -> str:
    """What forbids the purge, or nothing."""
    column, column_type = quote(options.column), row["column_type"]
    if relation.kind not in "rp":
        return str(catalog.wrong_kind(relation, "table"))
    if row["column_name"] is None:
        names = ", ".join(quote(name) for name in row["columns"] or [])
        return f"there is no column {column}; the columns are {names}"
    if column_type != "timestamp with time zone" and column_type not in ZONELESS:
        return f"column {column} is of type {column_type}; a timestamp or a date is needed"
    if column_type in ZONELESS and not options.timezone:
        return (f"column {column} is a {column_type}: say in which zone it was written with timezone, for example "
                "timezone: UTC")  # fmt: skip
    if column_type not in ZONELESS and options.timezone:
        return f"column {column} is a timestamp with time zone, which is unambiguous: take timezone out"
    return _missing_right(server, relation, row) or _in_the_way(row, options)


def _missing_right(server: Server, relation: catalog.Relation, row: dict[str, Any]) -> str:
    """What the role may not do, with the way out, or nothing."""
    user = quote(server.user)
    if row["row_security"]:
        return f"row-level security hides rows from role {user}: use the owner or a role with BYPASSRLS"
    if not row["may_use_schema"]:
        return catalog.schema_fault(server, relation)
    if not row["may_delete"]:
        return f"role {user} may not delete here: GRANT SELECT, UPDATE, DELETE ON TABLE {relation.display} TO {user}"
    return ""


def _in_the_way(row: dict[str, Any], options: Options) -> str:
    """What would make the DELETE do something else, or take rows whose time has not come; or nothing."""
    if row["foreign_part"]:
        return f"its part {row['foreign_part']} is a foreign table: purge that where its rows are"
    if row["rule"]:
        name, _on, table = row["rule"].partition(" on ")
        return f"the rule {row['rule']} rewrites DELETE: ALTER TABLE {table} DISABLE RULE {name}, or a trigger in its place"
    early = [key for key in row["referenced_by"] or [] if key["deletes"] and key["expires"]]
    if early and not options.cascade:
        key = early[0]
        return (f"with its rows go those of {key['table']} that refer to them ({key['constraint']}, ON DELETE CASCADE), whether "
                f"their own {quote(options.column)} has come or not: set cascade: true if that is meant")  # fmt: skip
    return ""
