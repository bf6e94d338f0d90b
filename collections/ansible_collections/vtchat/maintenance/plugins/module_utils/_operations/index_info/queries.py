# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is asked: one statement about all, and one about what scripts are to restore."""

from __future__ import annotations

# What statistics say of the first columns of indexes. nulls: the share of NULL; distinct: as pg_stats has it.
LEADING = """
SELECT DISTINCT i.indrelid::bigint AS "table", i.indkey[0]::text AS what, s.null_frac::float8 AS nulls,
       s.n_distinct::float8 AS "distinct"
FROM about AS b JOIN pg_catalog.pg_class AS t ON t.oid = b.oid AND t.relkind IN ('r', 'm')
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid AND i.indkey[0] <> 0
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
JOIN pg_catalog.pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname
    AND NOT s.inherited
"""

# Everything, as JSON. working: tables in which somebody builds an index now, or has locked it as whoever does.
EVERYTHING = """
WITH RECURSIVE {locked}, {by_pattern}, {about}
SELECT (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({indexes}) AS x) AS indexes,
       (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({foreign_keys}) AS x) AS foreign_keys,
       (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({leading}) AS x) AS leading,
       (SELECT to_jsonb(x) FROM ({began}) AS x) AS began,
       ({standbys}) AS standbys,
       ARRAY(SELECT relation::bigint FROM locked WHERE relation IN (SELECT oid FROM about)) AS locked,
       ARRAY(SELECT oid::bigint FROM by_pattern) AS asked,
       ARRAY(SELECT p.pattern
             FROM ROWS FROM (pg_catalog.unnest({patterns}::text[]), pg_catalog.unnest({include}::text[])) AS p (pattern, regular)
             WHERE NOT EXISTS (SELECT FROM by_pattern AS b, pg_catalog.unnest(b.names) AS name WHERE name ~ p.regular)
       ) AS unmatched,
       ARRAY(SELECT DISTINCT l.relation::bigint FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'relation' AND l.granted
             AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) AS working
"""

# Which server and database this is, for those that have the same indexes.
PLACE = """
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
       (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS database
"""

# What another server has counted: of these indexes, as JSON from oid to uses and last use.
COUNTED = """
SELECT (SELECT coalesce(jsonb_object_agg(x.oid, jsonb_build_array(pg_catalog.pg_stat_get_numscans(x.oid), {last_scan})), '{{}}')
        FROM pg_catalog.unnest({oids}::oid[]) AS x (oid)) AS counted,
       (SELECT to_jsonb(b) FROM ({began}) AS b) AS began
"""

# What it takes to make indexes again exactly as they are: each with its parts, parents first.
DEFINITIONS = """
WITH RECURSIVE tree (top, oid, parent, depth) AS (
    SELECT x.oid, x.oid, 0::oid, 0 FROM pg_catalog.unnest({oids}::oid[]) AS x (oid)
    UNION ALL
    SELECT tree.top, i.inhrelid, i.inhparent, tree.depth + 1 FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
)
SELECT tree.top::bigint AS top, n.nspname::text AS schema, x.relname::text AS name, tn.nspname::text AS table_schema,
       t.relname::text AS table_name, x.relkind = 'I' AS partitioned, pg_catalog.pg_get_indexdef(x.oid) AS definition,
       (SELECT spcname::text FROM pg_catalog.pg_tablespace WHERE oid = x.reltablespace) AS tablespace,
       pg_catalog.obj_description(x.oid, 'pg_class') AS comment, i.indisclustered AS clustered,
       (SELECT jsonb_agg(jsonb_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = x.oid AND a.attstattarget >= 0) AS statistics,
       ARRAY(SELECT e.extname::text FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = x.oid AND d.deptype = 'x' ORDER BY 1) AS extensions,
       i.indexprs IS NOT NULL AS expressions, pn.nspname::text AS parent_schema, px.relname::text AS parent_name
FROM tree JOIN pg_catalog.pg_class AS x ON x.oid = tree.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
JOIN pg_catalog.pg_index AS i ON i.indexrelid = x.oid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_class AS px ON px.oid = tree.parent LEFT JOIN pg_catalog.pg_namespace AS pn ON pn.oid = px.relnamespace
ORDER BY tree.top, tree.depth, n.nspname, x.relname
"""
