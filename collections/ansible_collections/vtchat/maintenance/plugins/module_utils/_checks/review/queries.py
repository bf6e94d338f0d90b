# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is asked about indexes. Nothing waits for a lock: what somebody has locked as a whole is left out.

Plain SELECTs over CTEs that the caller defines: ``about`` (oid, depth) has tables, ``locked`` (relation) what is locked.
"""

from __future__ import annotations

from ..._postgres.server import Server

NULLS_NOT_DISTINCT = 150000  # server_version_num from which on unique indexes may take two NULLs for equal
LAST_SCAN = 160000  # and from which on it is known when an index was last used

# After ``WITH RECURSIVE``: the tables of ``by_pattern``, and the whole tree of partitions wherever one of it is chosen: an index
# of a partitioned table is used if any of its parts is.
ABOUT = """
top AS MATERIALIZED (
    SELECT DISTINCT pg_catalog.pg_partition_root(c.oid)::oid AS oid FROM by_pattern AS b
    JOIN pg_catalog.pg_class AS c ON c.oid = b.oid WHERE c.relispartition OR c.relkind = 'p'
),
tree (oid, depth) AS (
    SELECT oid, 0 FROM top
    UNION ALL
    SELECT i.inhrelid, tree.depth + 1 FROM tree JOIN pg_catalog.pg_class AS p ON p.oid = tree.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
),
about AS MATERIALIZED (
    SELECT oid, depth FROM tree
    UNION ALL
    SELECT oid, 0 FROM by_pattern WHERE oid NOT IN (SELECT oid FROM tree)
)"""

# One row an index of a table in ``about``. columns: number in the table, printed expression, name, operator family, type,
# collation, order, parameters of the operator class, statistics target.
INDEXES = """
SELECT i.indexrelid::bigint AS oid, n.nspname::text AS schema, x.relname::text AS name,
       pg_catalog.octet_length(x.relname::text) AS name_bytes, i.indrelid::bigint AS "table",
       tn.nspname::text AS table_schema, t.relname::text AS table_name, t.relkind::text AS table_kind,
       x.relkind = 'I' AS partitioned, am.amname::text AS method, i.indnkeyatts AS keys, k.columns,
       CASE WHEN i.indpred IS NULL THEN '' ELSE pg_catalog.pg_get_expr(i.indpred, i.indrelid) END AS predicate,
       i.indisunique AS "unique", {nulls_not_distinct} AS nulls_not_distinct, i.indimmediate AS immediate,
       i.indisprimary AS "primary", i.indisexclusion AS exclusion,
       i.indisvalid AND i.indisready AND i.indislive AS usable, coalesce(o.conname::text, '') AS "constraint",
       i.indisreplident AS identity, i.indisclustered AS clustered, EXISTS (
           SELECT FROM pg_catalog.pg_depend AS d WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
           AND d.refobjid = i.indexrelid AND d.deptype = 'n') AS needed, EXISTS (
           SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass
           AND d.objid IN (i.indexrelid, i.indrelid) AND d.deptype = 'e') AS extension,
       coalesce(p.inhparent, 0)::bigint AS parent, a.depth, pg_catalog.pg_relation_size(i.indexrelid) AS bytes,
       pg_catalog.pg_stat_get_numscans(i.indexrelid) AS scans, {last_scan} AS last,
       pg_catalog.pg_stat_get_tuples_inserted(t.oid) + pg_catalog.pg_stat_get_tuples_updated(t.oid)
           - pg_catalog.pg_stat_get_tuples_hot_updated(t.oid) AS writes,
       pg_catalog.age(i.xmin) AS age, t.reltuples::float8 AS rows
FROM about AS a JOIN pg_catalog.pg_class AS t ON t.oid = a.oid JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
JOIN pg_catalog.pg_am AS am ON am.oid = x.relam
LEFT JOIN pg_catalog.pg_inherits AS p ON p.inhrelid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint AS o ON o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')
CROSS JOIN LATERAL (
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
               u.attnum, CASE WHEN u.attnum = 0 THEN pg_catalog.pg_get_indexdef(i.indexrelid, u.number::int, false) END,
               ta.attname, oc.opcfamily::bigint, oc.opcintype::bigint, i.indcollation[u.number - 1]::bigint,
               i.indoption[u.number - 1], ia.attoptions, ia.attstattarget) ORDER BY u.number) AS columns
    FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, number)
    JOIN pg_catalog.pg_attribute AS ia ON ia.attrelid = i.indexrelid AND ia.attnum = u.number
    LEFT JOIN pg_catalog.pg_attribute AS ta ON ta.attrelid = i.indrelid AND ta.attnum = u.attnum AND u.attnum <> 0
    LEFT JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[u.number - 1]
) AS k
WHERE t.oid NOT IN (SELECT relation FROM locked) AND i.indexrelid NOT IN (SELECT relation FROM locked)
"""

# One row a foreign key of a table with rows in ``about``. One that refers to a partitioned table has others for each of its
# partitions, which are the same for the table that refers to them.
FOREIGN_KEYS = """
SELECT DISTINCT ON (r.oid, f.conrelid) r.oid::bigint AS root, r.conname::text AS name, f.conrelid::bigint AS "table",
       n.nspname::text AS schema, t.relname::text AS table_name, f.conkey AS columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (number, position)
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.number ORDER BY k.position) AS names,
       hn.nspname::text AS references_schema, h.relname::text AS references_table,
       (WITH RECURSIVE below (oid) AS (
            SELECT h.oid UNION ALL SELECT i.inhrelid FROM below JOIN pg_catalog.pg_inherits AS i ON i.inhparent = below.oid
        ) SELECT sum(pg_catalog.pg_stat_get_tuples_deleted(oid))::bigint FROM below) AS deleted,
       pg_catalog.pg_relation_size(t.oid) AS bytes,
       rn.nspname::text AS root_schema, rt.relname::text AS root_table
FROM about AS b JOIN pg_catalog.pg_constraint AS f ON f.conrelid = b.oid AND f.contype = 'f'
JOIN pg_catalog.pg_class AS t ON t.oid = f.conrelid AND t.relkind = 'r'
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
JOIN LATERAL (
    WITH RECURSIVE up (oid, parent) AS (
        SELECT f.oid, f.conparentid
        UNION ALL SELECT c.oid, c.conparentid FROM up JOIN pg_catalog.pg_constraint AS c ON c.oid = up.parent
    ) SELECT oid FROM up WHERE parent = 0
) AS top ON true
JOIN pg_catalog.pg_constraint AS r ON r.oid = top.oid
JOIN pg_catalog.pg_class AS rt ON rt.oid = r.conrelid JOIN pg_catalog.pg_namespace AS rn ON rn.oid = rt.relnamespace
JOIN pg_catalog.pg_class AS h ON h.oid = r.confrelid JOIN pg_catalog.pg_namespace AS hn ON hn.oid = h.relnamespace
WHERE t.oid NOT IN (SELECT relation FROM locked)
ORDER BY r.oid, f.conrelid, f.oid
"""

# When the counters of this database began. A crash sets all of the server to zero, and only those of the whole server show it;
# each of them may have been set to zero by itself as well, so the earliest counts.
BEGAN = """
SELECT extract(epoch FROM greatest(
           (SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()),
           least((SELECT stats_reset FROM pg_catalog.pg_stat_archiver), (SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter),
                 (SELECT stats_reset FROM pg_catalog.pg_stat_wal))))::float8 AS began,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8 AS now
"""

# Standbys that read from here, and may use indexes that are not used here. What only receives WAL has no database either.
STANDBYS = """
SELECT count(*) FROM pg_catalog.pg_stat_replication AS r JOIN pg_catalog.pg_stat_activity AS a ON a.pid = r.pid
WHERE a.datid IS NULL AND coalesce(r.application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal', 'barman_receive_wal')
"""

# What has fewer transactions behind it than the newest of our runs that is old enough is younger than that run.
OLD_AGE = """
SELECT min(pg_catalog.age(xmin)) AS age FROM maintenance.run
WHERE finished_at <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => {after})
"""


def indexes(server: Server) -> str:
    """INDEXES for a version."""
    new = server.version_num >= NULLS_NOT_DISTINCT
    last = "extract(epoch FROM pg_catalog.pg_stat_get_lastscan(i.indexrelid))::float8"
    return INDEXES.format(
        nulls_not_distinct="i.indnullsnotdistinct" if new else "false",
        last_scan=last if server.version_num >= LAST_SCAN else "NULL::float8",
    )
