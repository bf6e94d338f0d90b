# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What purge has to know about a table: its parts, its expiry column, indexes, rights, and what else goes with its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import quote
from ..._postgres.server import Server
from ..._postgres.session import Session
from . import clocks
from .options import Options

SMALL_TABLE = 1000  # pages (8 MB): reading all of it costs less than worrying about an index

# The table with its partitions or inheritance children, at any depth. oids stands for the parts in other queries.
PARTS = """
parts (oid) AS (
    SELECT oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT i.inhrelid FROM parts JOIN pg_inherits AS i ON i.inhparent = parts.oid
),
part AS MATERIALIZED (
    SELECT c.oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name, c.relam,
           -- The file is asked: what pg_class says is as old as the last VACUUM or ANALYZE, which may have found it empty.
           file.pages, CASE WHEN c.relkind = 'r' AND c.relpages > 0 THEN c.reltuples / c.relpages * file.pages END AS tuples
    FROM parts CROSS JOIN LATERAL (
        SELECT pg_relation_size(parts.oid) / current_setting('block_size')::int AS pages
    ) AS file JOIN pg_class AS c ON c.oid = parts.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
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
    SELECT k.oid, k.conname, k.conrelid, k.conkey, k.confrelid, k.confkey, k.confdeltype, n.nspname, r.relname
    FROM reached JOIN pg_constraint AS k ON k.confrelid = reached.oid AND k.contype = 'f'
    JOIN pg_class AS r ON r.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_constraint AS up WHERE up.oid = k.conparentid AND up.confrelid IN (SELECT oid FROM reached))
)"""

# Whether rows that refer by the key k have a time of their own in a column of that name. One that the key takes along from the
# row of the purged table is none.
OWN_TIME = """EXISTS (
    SELECT FROM pg_attribute AS x JOIN pg_type AS y ON y.oid = x.atttypid
    WHERE x.attrelid = k.conrelid AND x.attname = ANY ({times}) AND y.typcategory = 'D' AND NOT x.attisdropped AND NOT EXISTS (
        SELECT FROM unnest(k.conkey, k.confkey) AS u (r, p)
        JOIN pg_attribute AS z ON z.attrelid = k.confrelid AND z.attnum = u.p
        WHERE u.r = x.attnum AND z.attname = x.attname AND z.atttypid = x.atttypid
        AND k.confrelid IN (SELECT oid FROM part UNION SELECT up.relid FROM part, pg_partition_ancestors(part.oid) AS up)))"""

REFERRED_BY = """
SELECT jsonb_agg(jsonb_build_object(
    'constraint', k.conname, 'table', format('%I.%I', k.nspname, k.relname), 'oid', k.conrelid::bigint,
    'cascades', k.confdeltype IN ('c', 'n', 'd'), 'deletes', k.confdeltype = 'c', 'holds', k.confdeltype IN ('a', 'r'),
    'expires', {own_time},
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

# Of each column that says when a row has expired. indexed: a whole B-tree in the column's own order begins with it, in
# every part; indexed_by_bytes: one in the order of the bytes ("C" is 950). sorts_by_bytes: the collation is that of the bytes;
# datlocprovider came with version 15. parts: those of the table, with oid and kind.
COLUMNS = """
SELECT jsonb_object_agg(a.attname, jsonb_build_object(
    'name', a.attname, 'generated', a.attgenerated <> '', 'type_oid', a.atttypid::bigint,
    'type', (WITH RECURSIVE base (oid, kind) AS (  -- that of a domain
                 SELECT oid, typtype FROM pg_type WHERE oid = a.atttypid
                 UNION ALL SELECT y.oid, y.typtype FROM base JOIN pg_type AS d ON d.oid = base.oid AND base.kind = 'd'
                 JOIN pg_type AS y ON y.oid = d.typbasetype)
             SELECT format_type(oid, NULL) FROM base WHERE kind <> 'd'),
    'sorts_by_bytes', CASE
        WHEN a.attcollation = 0 THEN true
        WHEN a.attcollation = 100 THEN (
            SELECT CASE coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') WHEN 'b' THEN true
                   WHEN 'c' THEN d.datcollate IN ('C', 'POSIX') ELSE false END
            FROM pg_database AS d WHERE d.datname = current_database())
        ELSE (SELECT l.collprovider = 'b' OR l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX')
              FROM pg_collation AS l WHERE l.oid = a.attcollation) END,
    'indexed', x.own, 'indexed_by_bytes', x.bytes))
FROM pg_attribute AS a CROSS JOIN LATERAL (
    SELECT coalesce(bool_and(i.own), true) AS own, coalesce(bool_and(i.bytes), true) AS bytes
    FROM {parts} AS p CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(i.indcollation[0] = pa.attcollation), false) AS own,
               coalesce(bool_or(i.indcollation[0] = 950), false) AS bytes
        FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid JOIN pg_am AS am ON am.oid = ic.relam
        JOIN pg_opclass AS o ON o.oid = i.indclass[0]
        JOIN pg_attribute AS pa ON pa.attrelid = p.oid AND pa.attname = a.attname AND pa.attnum = i.indkey[0]
        WHERE i.indrelid = p.oid AND i.indisvalid AND i.indpred IS NULL AND am.amname = 'btree' AND o.opcdefault
    ) AS i WHERE p.kind = 'r') AS x
WHERE a.attrelid = t.oid AND a.attname = ANY ({columns}) AND a.attnum > 0 AND NOT a.attisdropped
"""

FACTS = """
WITH RECURSIVE {targets},{parts},{reached}
SELECT t.*, clock_timestamp() AS now, ({of_columns}) AS times,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped) AS columns,
       (SELECT sum(pages) FROM part) AS pages, (SELECT sum(greatest(tuples, 0)) FROM part)::bigint AS tuples,
       (SELECT sum(pages) FROM part) * current_setting('block_size')::int AS bytes,
       (SELECT array_agg(ARRAY[schema, name]) FROM part) AS parts,
       (SELECT relhassubclass FROM pg_class WHERE oid = t.oid) AS divided,
       (SELECT array_agg(oid::bigint) FROM part WHERE kind = 'r' AND oid <> t.oid) AS leaves,
       NOT EXISTS (SELECT FROM part JOIN pg_am AS m ON m.oid = part.relam WHERE m.amname <> 'heap') AS heap,
       (SELECT format('%I.%I', schema, name) FROM part WHERE kind = 'f' LIMIT 1) AS foreign_part,
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
       EXISTS (SELECT FROM pg_publication WHERE pubdelete OR pubupdate) AS published,
       ARRAY(SELECT oid::bigint FROM reached) AS deletes,
       ARRAY(SELECT x.oid::bigint FROM referring AS k, LATERAL (
                 SELECT k.conrelid AS oid UNION SELECT relid FROM pg_partition_tree(k.conrelid)) AS x
             WHERE k.confdeltype IN ('n', 'd')) AS updates,
       ({referred_by}) AS referenced_by
FROM target AS t
"""


def own_time(columns: Sequence[str]) -> sql.Composed:
    """OWN_TIME for these columns."""
    return sql.SQL(OWN_TIME).format(times=sql.Literal(list(columns)))


def read(session: Session, options: Options) -> dict[str, Any]:
    """The one row of FACTS; oid is null where there is no such table. times: what the catalog says of the columns, by name."""
    query = sql.SQL(FACTS).format(
        targets=catalog.targets(session.server, [options.table]),
        parts=sql.SQL(PARTS),
        reached=sql.SQL(REACHED),
        of_columns=sql.SQL(COLUMNS).format(columns=sql.Literal(options.columns), parts=sql.SQL("part")),
        referred_by=sql.SQL(REFERRED_BY).format(own_time=own_time([one.column for one in options.conditions])),
    )
    row = session.row(query)
    row["times"] = {name: clocks.Column(**column) for name, column in (row["times"] or {}).items()}
    return row


def fault(
    server: Server, relation: catalog.Relation, row: dict[str, Any], options: Options, meant: Sequence[int] = ()
) -> str:
    """What forbids the purge, or nothing. meant: oids of the tables whose rows go whatever their own time is."""
    if relation.kind not in "rp":
        return str(catalog.wrong_kind(relation, "table"))
    for column in options.columns:
        if column not in row["times"]:
            names = ", ".join(quote(name) for name in row["columns"] or [])
            return f"there is no column {quote(column)}; the columns are {names}"
    found = (clocks.fault(condition, row["times"]) for condition in options.conditions)
    return next(filter(None, found), "") or _missing_right(server, relation, row) or _in_the_way(row, options, meant)


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


def _in_the_way(row: dict[str, Any], options: Options, meant: Sequence[int]) -> str:
    """What would make the DELETE do something else, or take rows whose time has not come; or nothing."""
    if row["foreign_part"]:
        return f"its part {row['foreign_part']} is a foreign table: purge that where its rows are"
    if row["rule"]:
        name, _on, table = row["rule"].partition(" on ")
        return f"the rule {row['rule']} rewrites DELETE: ALTER TABLE {table} DISABLE RULE {name}, or a trigger in its place"
    early = [key for key in row["referenced_by"] or [] if key["deletes"] and key["expires"] and key["oid"] not in meant]
    if early and not options.cascade:
        key = early[0]
        itself = key["oid"] == row["oid"] and not options.keep_referenced
        layers = "keep_referenced: true, so that each goes after those, or " if itself else ""
        return (f"with its rows go those of {key['table']} that refer to them ({key['constraint']}, ON DELETE CASCADE), whether "
                f"their own {times(options)} has come or not: set {layers}cascade: true if that is meant")  # fmt: skip
    return ""


def times(options: Options) -> str:
    """The columns that say when a row has expired, for people."""
    return " or ".join(quote(name) for name in dict.fromkeys(one.column for one in options.conditions))
