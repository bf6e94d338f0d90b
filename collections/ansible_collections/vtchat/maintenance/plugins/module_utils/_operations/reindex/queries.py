# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is asked about indexes. No query takes a lock on a table, and none waits for one that somebody else has on an index."""

from __future__ import annotations

# Indexes that options name; a partitioned index means its parts.
NAMED = """
WITH RECURSIVE {targets},
tree (position, oid) AS (
    SELECT position, oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT t.position, i.inhrelid FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind = 'I'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT t.*, ARRAY(SELECT tree.oid::bigint FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid
                  WHERE tree.position = t.position AND c.relkind = 'i' ORDER BY tree.oid) AS leaves,
       c.relpersistence::text AS persistence
FROM target AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
ORDER BY t.position
"""

# In the place of the tables that are chosen, where none are: to look at all tables takes time.
NO_TABLES = """
target (oid, position, names, kind, schema_name) AS (
    SELECT NULL::oid, NULL::int, NULL::text[], NULL::text, NULL::text WHERE false
)"""

# The chosen tables with their TOAST tables; the chosen indexes; and those of the same tables that are not valid, which may be
# what an interrupted rebuild has left.
CHOSEN = """
heap AS MATERIALIZED (
    SELECT x.heap, t.oid AS main, t.position IS NOT NULL AS named, t.names
    FROM target AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.oid,
         LATERAL (VALUES (c.oid), (c.reltoastrelid)) AS x (heap)
    WHERE x.heap <> 0 AND t.kind IN ('r', 'm') AND t.schema_name NOT IN ('pg_catalog', 'information_schema')
),
possible AS MATERIALIZED (
    SELECT i.indexrelid AS oid, i.indrelid AS heap, h.main, h.named,
           h.names || pg_catalog.concat(n.nspname, '.', c.relname) AS names
    FROM heap AS h JOIN pg_catalog.pg_index AS i ON i.indrelid = h.heap
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i'
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
),
selected AS MATERIALIZED (
    SELECT oid, heap, main, named, names FROM possible
    WHERE named OR (
        EXISTS (SELECT FROM pg_catalog.unnest(names) AS name WHERE name ~ ANY ({include}::text[]))
        AND NOT EXISTS (SELECT FROM pg_catalog.unnest(names) AS name WHERE name ~ ANY ({exclude}::text[])))
    UNION ALL
    SELECT i.indexrelid, i.indrelid, coalesce((SELECT m.oid FROM pg_catalog.pg_class AS m WHERE m.reltoastrelid = i.indrelid
               AND t.relkind = 't'), i.indrelid), true,
           ARRAY(SELECT pg_catalog.concat(an.nspname, '.', ac.relname) FROM pg_catalog.pg_class AS ac
                 JOIN pg_catalog.pg_namespace AS an ON an.oid = ac.relnamespace
                 WHERE ac.oid = i.indrelid OR ac.oid = i.indexrelid
                 OR t.relispartition AND ac.oid IN (SELECT relid FROM pg_catalog.pg_partition_ancestors(t.oid)))
    FROM pg_catalog.unnest({oids}::oid[]) AS x (oid) JOIN pg_catalog.pg_index AS i ON i.indexrelid = x.oid
    JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
    WHERE i.indexrelid NOT IN (SELECT oid FROM possible WHERE named)
),
about AS MATERIALIZED (
    SELECT oid, heap, main, bool_or(named) AS named, true AS chosen, min(names) AS names FROM selected GROUP BY oid, heap, main
    UNION ALL
    SELECT i.indexrelid, t.heap, t.main, false, false, '{{}}' FROM (SELECT DISTINCT heap, main FROM selected) AS t
    JOIN pg_catalog.pg_index AS i ON i.indrelid = t.heap AND NOT i.indisvalid
    WHERE i.indexrelid NOT IN (SELECT oid FROM selected)
)"""

# Whoever has a lock with which no rebuild can begin: VACUUM, ANALYZE, another build, changes of the table. And who is
# building an index: the view hides from other roles what is built, but neither who builds nor what they have locked.
BUSY = """
busy AS MATERIALIZED (
    SELECT l.relation, min(l.pid) AS pid,
           min(l.pid) FILTER (WHERE l.pid IN (SELECT pid FROM pg_catalog.pg_stat_progress_create_index)) AS builder,
           bool_or(a.backend_type = 'autovacuum worker') AS autovacuum
    FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid() AND l.granted
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    GROUP BY l.relation
)"""

# Collations of the chosen indexes whose rules are of another version now than when they were made. From 15 on the database
# has a version of its own, which is that of the collation "default".
MISMATCH = """
used AS MATERIALIZED (
    SELECT DISTINCT x.oid FROM about AS a JOIN pg_catalog.pg_index AS i ON i.indexrelid = a.oid,
           LATERAL pg_catalog.unnest(i.indcollation::oid[]) AS x (oid) WHERE x.oid <> 0
    UNION
    SELECT d.refobjid FROM about AS a JOIN pg_catalog.pg_depend AS d ON d.objid = a.oid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_collation'::regclass
),
version AS (
    SELECT l.oid, pg_catalog.format('%I.%I', n.nspname, l.collname) AS name, l.collversion AS was,
           pg_catalog.pg_collation_actual_version(l.oid) AS now
    FROM used JOIN pg_catalog.pg_collation AS l ON l.oid = used.oid AND l.collversion IS NOT NULL
    JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace
    {of_database}
),
mismatch AS MATERIALIZED (
    SELECT v.oid, v.name, v.was, v.now, l.collisdeterministic AS deterministic
    FROM version AS v JOIN pg_catalog.pg_collation AS l ON l.oid = v.oid WHERE v.was <> v.now
)"""
OF_DATABASE = """
    UNION ALL
    SELECT l.oid, '', d.datcollversion, pg_catalog.pg_database_collation_actual_version(d.oid)
    FROM used JOIN pg_catalog.pg_collation AS l ON l.oid = used.oid AND l.collprovider = 'd', pg_catalog.pg_database AS d
    WHERE d.datname = pg_catalog.current_database() AND d.datcollversion IS NOT NULL
"""

# Of thousands that patterns choose, only those that may be of interest: by their size, or because something is the matter. With
# an index that is not valid all of the same table, for it may be a copy of one of them.
KEPT = """
broken AS MATERIALIZED (
    SELECT a.heap FROM about AS a JOIN pg_catalog.pg_index AS i ON i.indexrelid = a.oid WHERE NOT i.indisvalid
),
kept AS MATERIALIZED (
    SELECT a.* FROM (
        SELECT about.*, CASE WHEN about.oid NOT IN (SELECT relation FROM locked)
                             THEN pg_catalog.pg_relation_size(about.oid) END AS bytes FROM about
    ) AS a
    WHERE a.named OR a.bytes IS NULL OR a.bytes >= {least} OR a.heap IN (SELECT heap FROM broken)
    OR EXISTS (SELECT FROM mismatch)
)"""

# The patterns that nothing has.
UNMATCHED = """
ARRAY(SELECT p.pattern
      FROM ROWS FROM (pg_catalog.unnest({patterns}::text[]), pg_catalog.unnest({include}::text[])) AS p (pattern, regular)
      WHERE NOT EXISTS (SELECT FROM selected AS s, pg_catalog.unnest(s.names) AS name WHERE name ~ p.regular))
"""

# One row per index (x, i) of a table or TOAST table (c), which belongs to a table (m). rows, changed and counted: as VACUUM and
# ANALYZE have left them; of a TOAST table, which is never analyzed, VACUUM alone. definition: what an index and a copy of it
# have in common. Hash indexes depend on the bytes alone where equal means the same bytes.
INDEXES = """
WITH RECURSIVE {stored}, {chosen}, {busy}, {mismatch}, {kept}
SELECT {unmatched} AS unmatched, r.* FROM (VALUES (0)) AS always LEFT JOIN (
SELECT a.chosen, x.oid = ANY ({oids}::oid[]) OR a.named AND c.oid = m.oid AS named,
       x.oid = ANY ({oids}::oid[]) AS asked, a.names, x.oid::bigint AS oid, n.nspname::text AS schema, x.relname::text AS name,
       pg_catalog.octet_length(x.relname::text) AS name_bytes, c.oid::bigint AS heap, m.oid::bigint AS main,
       mn.nspname::text AS table_schema, m.relname::text AS "table", m.relkind::text AS table_kind,
       x.relpersistence::text AS persistence, am.amname::text AS method, x.relfilenode::bigint AS file,
       x.reltuples::float8 AS rows, c.reltuples::float8 AS table_rows, coalesce(x.reloptions, '{{}}') AS settings,
       a.bytes,
       CASE WHEN c.relkind = 't'
           THEN pg_catalog.pg_stat_get_ins_since_vacuum(c.oid) + pg_catalog.pg_stat_get_dead_tuples(c.oid)
           ELSE pg_catalog.pg_stat_get_mod_since_analyze(c.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
               + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
       END AS changed,
       CASE WHEN c.relkind = 't' THEN pg_catalog.pg_stat_get_last_vacuum_time(c.oid) IS NOT NULL
                OR pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) IS NOT NULL
            ELSE pg_catalog.pg_stat_get_last_analyze_time(c.oid) IS NOT NULL
                OR pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) IS NOT NULL
       END AND pg_catalog.current_setting('track_counts')::bool AS counted,
       i.indisvalid AND i.indisready AND i.indislive AS valid, i.indislive AS live, i.indisunique AS "unique",
       x.relispartition AS part, i.indisprimary AS "primary", i.indisexclusion AS exclusion, NOT i.indimmediate AS deferrable,
       i.indexprs IS NOT NULL AS expressions, i.indpred IS NOT NULL AS partial,
       pg_catalog.concat_ws(' ', am.amname, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
                            i.indisunique, i.indpred IS NULL, i.indexprs IS NULL) AS definition,
       x.oid IN (SELECT conindid FROM pg_catalog.pg_constraint WHERE contype IN ('p', 'u', 'x')) AS enforces,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, {may_maintain} AS may_maintain,
       pg_catalog.has_schema_privilege(x.relnamespace, 'USAGE') AS may_use_schema,
       pg_catalog.pg_has_role(x.relowner, 'USAGE') AS may_drop,
       (SELECT pg_catalog.array_agg(ARRAY[w.name, w.was, w.now] ORDER BY w.name) FROM mismatch AS w
        WHERE (w.oid = ANY (i.indcollation::oid[]) OR w.oid IN (
            SELECT d.refobjid FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass
            AND d.objid = x.oid AND d.refclassid = 'pg_catalog.pg_collation'::regclass))
        AND NOT (am.amname = 'hash' AND w.deterministic)) AS collations,
       b.pid AS busy, b.builder, coalesce(b.autovacuum, false) AS autovacuum,
       pg_catalog.current_setting('block_size')::int AS page,
       (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'gin_pending_list_limit') * 1024 AS pending_limit,
       pg_catalog.clock_timestamp() AS now, {may_exact} AS may_exact, {may_pending} AS may_pending
FROM kept AS a JOIN pg_catalog.pg_index AS i ON i.indexrelid = a.oid
JOIN pg_catalog.pg_class AS x ON x.oid = a.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
JOIN pg_catalog.pg_am AS am ON am.oid = x.relam
JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_class AS m ON m.oid = a.main JOIN pg_catalog.pg_namespace AS mn ON mn.oid = m.relnamespace
LEFT JOIN busy AS b ON b.relation = c.oid
) AS r ON true
ORDER BY r.schema, r.name
"""

# Names that nothing has, and what is no table, of those that were given.
WRONG = """
WITH RECURSIVE {stored}
SELECT t.text, t.oid::bigint AS oid, t.schema_name, t.name, t.kind, t.owner, t.may_maintain, t.may_use_schema, t.position,
       c.relpersistence::text AS persistence
FROM target AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
WHERE t.position IS NOT NULL
ORDER BY t.position
"""

MAY_CALL = """
(SELECT bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND pg_catalog.has_schema_privilege(p.pronamespace, 'USAGE'))
 FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.proname = {function} AND n.nspname = {schema} AND p.pronargs = 1
 AND p.proargtypes[0] = 'pg_catalog.regclass'::regtype)
"""

# What is measured on the disk.
LEAVES = """
SELECT x.oid::bigint AS oid, s.index_size AS bytes, s.leaf_pages AS leaves, s.internal_pages AS inner,
       nullif(s.avg_leaf_density, 'NaN')::float8 AS density
FROM pg_catalog.unnest({oids}::oid[]) AS x (oid), LATERAL {schema}.pgstatindex(x.oid::pg_catalog.regclass) AS s
"""
PENDING = """
SELECT x.oid::bigint AS oid, s.pending_pages AS pages
FROM pg_catalog.unnest({oids}::oid[]) AS x (oid), LATERAL {schema}.pgstatginindex(x.oid::pg_catalog.regclass) AS s
"""
