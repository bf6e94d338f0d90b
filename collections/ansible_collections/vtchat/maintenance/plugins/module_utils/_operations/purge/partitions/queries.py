# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the catalog tells of a partitioned table and of its partitions. Everything runs under our own search_path."""

from __future__ import annotations

# An interrupted drop is known by this, at the end of the comment of a table that is about to be detached: it names both oids,
# so that it means nothing on any other table, in a restored dump, or under another parent. A comment outlives whatever
# kills us; and the history may be off.
MARK = "[vtchat.maintenance: to be dropped, was partition %s of {parent}]"  # for format() of the server

# The partitioned table: what it is divided by, and by which clock it is judged.
TABLE = """
WITH {targets}
SELECT t.*, p.partstrat::text AS strategy, p.partnatts AS parts, a.attname::text AS key,
       (WITH RECURSIVE base (oid, kind) AS (  -- that of a domain
            SELECT oid, typtype FROM pg_type WHERE oid = a.atttypid
            UNION ALL SELECT y.oid, y.typtype FROM base JOIN pg_type AS d ON d.oid = base.oid AND base.kind = 'd'
            JOIN pg_type AS y ON y.oid = d.typbasetype)
        SELECT format_type(oid, NULL) FROM base WHERE kind <> 'd') AS key_type,
       EXISTS (SELECT FROM pg_opclass AS o JOIN pg_namespace AS n ON n.oid = o.opcnamespace
               WHERE o.oid = p.partclass[0] AND o.opcdefault AND n.nspname = 'pg_catalog') AS plain_order,
       -- The default collation is that of the database. Providers: d(efault), c (libc), b(uiltin, from 17 on), i(cu).
       coalesce((SELECT CASE c.collprovider WHEN 'c' THEN c.collcollate IN ('C', 'POSIX') WHEN 'b' THEN true WHEN 'd' THEN
                            CASE coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
                            WHEN 'c' THEN d.datcollate IN ('C', 'POSIX') WHEN 'b' THEN true END END
                 FROM pg_collation AS c, pg_database AS d
                 WHERE c.oid = p.partcollation[0] AND d.datname = current_database()), false) AS by_bytes,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.oid AND attname = {column} AND attnum > 0 AND NOT attisdropped)
           AS column_exists,
       pg_get_partkeydef(t.oid) AS divided_by,
       clock_timestamp() AS now, clock_timestamp() - make_interval(secs => {older_than}) AS cutoff,
       current_setting('TimeZone') AS session_zone,
       -- Foreign keys from or to it or a part of it: with it other tables are locked.
       EXISTS (SELECT FROM pg_constraint AS k WHERE k.contype = 'f' AND (
           t.oid IN (k.conrelid, k.confrelid)
           OR k.conrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = t.oid)
           OR k.confrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = t.oid))) AS keys,
       -- Those that refer to it, as far as they may be locked.
       (SELECT array_agg(DISTINCT format('%I.%I', n.nspname, r.relname)) FROM pg_constraint AS k
        JOIN pg_class AS r ON r.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
        WHERE k.contype = 'f' AND k.confrelid = t.oid AND k.conparentid = 0 AND k.conrelid <> t.oid
        AND has_table_privilege(r.oid, 'UPDATE, DELETE, TRUNCATE') AND has_schema_privilege(n.oid, 'USAGE')) AS referring,
       (SELECT setting::int / 1000.0 FROM pg_settings WHERE name = 'deadlock_timeout')::float AS deadlock_timeout,
       pg_has_role((SELECT relowner FROM pg_class WHERE oid = t.oid), 'USAGE') AS may_alter,
       has_schema_privilege((SELECT relnamespace FROM pg_class WHERE oid = t.oid), 'CREATE') AS may_create
FROM target AS t
LEFT JOIN pg_partitioned_table AS p ON p.partrelid = t.oid
LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = p.partattrs[0] AND p.partattrs[0] > 0
"""

# Its partitions of the first level. Those that are being detached keep their bounds until that is done.
PARTITIONS = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       pg_get_expr(c.relpartbound, 0) AS bound, i.inhdetachpending AS pending,
       pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'USAGE') AS may_alter,
       has_schema_privilege(n.oid, 'CREATE') AS may_create,
       coalesce(right(d.description, length(format({mark}, c.oid))) = format({mark}, c.oid), false) AS marked
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_description AS d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE i.inhparent = {parent} ORDER BY c.oid
"""

# What was detached in order to be dropped, and is still there.
LEFT = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'USAGE') AS may_alter
FROM pg_description AS d JOIN pg_class AS c ON c.oid = d.objoid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE d.classoid = 'pg_class'::regclass AND d.objsubid = 0 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND right(d.description, length(format({mark}, c.oid))) = format({mark}, c.oid)
ORDER BY c.oid
"""

# Bounds as the server compares them. A place is in microseconds on the clock that the key is written by; zone-less ones are
# judged by the latest instant that any time before the bound can mean: where clocks are put forward, a time that was left out
# is taken for one that comes after the bound. Shifts of a clock have never been larger than a day, and are at whole minutes.
TIMES = """
SELECT v.number, {lower_place} AS lower, {upper_place} AS upper, {expired} AS expired
FROM (SELECT w.number, w.lower::{type} AS lower, w.upper::{type} AS upper
      FROM (VALUES {values}) AS w (number, lower, upper)) AS v
"""
PLACE = "CASE WHEN isfinite({bound}) THEN trunc(extract(epoch FROM {bound}) * 1000000)::text WHEN {bound} = '{end}' THEN '{end}'"
LOWER_PLACE = PLACE.format(bound="v.lower", end="infinity") + " ELSE '-infinity' END"
UPPER_PLACE = PLACE.format(bound="v.upper", end="-infinity") + " ELSE 'infinity' END"
EXPIRED = {
    "instant": "coalesce(v.upper <= {cutoff}::timestamptz, false)",
    "date": "coalesce(v.upper <= timezone({zone}, {cutoff}::timestamptz)::date, false)",
    "zoneless": """CASE
        WHEN v.upper IS NULL OR v.upper > timezone({zone}, {cutoff}::timestamptz) THEN false
        WHEN v.upper <= timezone({zone}, {cutoff}::timestamptz) - interval '3 days' THEN true
        ELSE (SELECT bool_and(timezone({zone}, v.upper - earlier * interval '1 minute') <= {cutoff}::timestamptz)
              FROM generate_series(0, 1500) AS earlier) END""",
}

# Tables with all that is below them. Not pg_partition_tree(), which waits for whoever has locked one of them.
PART = """
part (top, oid) AS (
    SELECT t.top, t.top FROM unnest({oids}::oid[]) AS t (top)
    UNION ALL SELECT part.top, i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid
)"""

# Sizes, as of now; rows as the last ANALYZE has counted them.
SIZES = """
WITH RECURSIVE {part}
SELECT part.top::bigint AS oid, sum(pg_total_relation_size(c.oid))::bigint AS bytes,
       CASE WHEN bool_and(c.reltuples >= 0) FILTER (WHERE c.relkind = 'r') THEN
           sum(c.reltuples) FILTER (WHERE c.relkind = 'r')::bigint END AS rows
FROM part JOIN pg_class AS c ON c.oid = part.oid
GROUP BY part.top
"""

# Foreign keys that refer to rows of a partition, be it through its parent; each once, from the topmost table that has it.
# among: of rows of the table itself, or of one of these partitions.
REFERRED = """
WITH RECURSIVE {part}
SELECT part.top::bigint AS oid,
       (WITH RECURSIVE up (name, parent) AS (  -- the name that people gave it
            SELECT k.conname, k.conparentid
            UNION ALL SELECT a.conname, a.conparentid FROM up JOIN pg_constraint AS a ON a.oid = up.parent)
        SELECT name::text FROM up WHERE parent = 0) AS constraint,
       format('%I.%I', n.nspname, r.relname) AS "table", format('%I.%I', pn.nspname, pc.relname) AS referred,
       r.oid = {parent} OR r.oid IN (SELECT oid FROM part) AS among,
       has_table_privilege(r.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
           AND has_table_privilege(pc.oid, 'SELECT') AND has_schema_privilege(pn.oid, 'USAGE') AS readable,
       (SELECT string_agg(format('p.%I OPERATOR(%I.%s) r.%I', pa.attname, opn.nspname, op.oprname, ra.attname), ' AND ')
        FROM unnest(k.conkey, k.confkey, k.conpfeqop) AS u (r, p, op)
        JOIN pg_attribute AS ra ON ra.attrelid = k.conrelid AND ra.attnum = u.r
        JOIN pg_attribute AS pa ON pa.attrelid = k.confrelid AND pa.attnum = u.p
        JOIN pg_operator AS op ON op.oid = u.op JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace) AS equal,
       (SELECT string_agg(format('%I', ra.attname), ', ' ORDER BY u.place)
        FROM unnest(k.conkey) WITH ORDINALITY AS u (r, place)
        JOIN pg_attribute AS ra ON ra.attrelid = k.conrelid AND ra.attnum = u.r) AS columns
FROM part JOIN pg_constraint AS k ON k.confrelid = part.oid AND k.contype = 'f'
JOIN pg_class AS r ON r.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
JOIN pg_class AS pc ON pc.oid = k.confrelid JOIN pg_namespace AS pn ON pn.oid = pc.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_constraint AS up JOIN part AS above ON above.oid = up.confrelid AND above.top = part.top
                  WHERE up.oid = k.conparentid)
ORDER BY part.top, k.oid
"""

# What DROP without CASCADE is refused for: it depends on the table, or on what goes with it, and does not go itself.
# Foreign keys that come from the parent are not among it: they end when the partition is detached. after: those of these
# partitions whose own foreign key it is, so that it goes with them.
DEPENDENT = """
WITH RECURSIVE {part},
gone (top, classid, objid) AS (
    SELECT top, 'pg_class'::regclass::oid, oid FROM part
    UNION
    SELECT g.top, d.classid, d.objid FROM gone AS g JOIN pg_depend AS d ON d.refclassid = g.classid AND d.refobjid = g.objid
    WHERE d.deptype IN ('a', 'i', 'P', 'S')
)
SELECT g.top::bigint AS oid, array_agg(DISTINCT other.top::bigint) FILTER (WHERE other.top IS NOT NULL) AS after,
       array_agg(DISTINCT CASE WHEN v.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
           ELSE format('%s %I.%I', CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, n.nspname, v.relname)
           END) FILTER (WHERE other.top IS NULL) AS needed_by
FROM gone AS g JOIN pg_depend AS d ON d.refclassid = g.classid AND d.refobjid = g.objid AND d.deptype = 'n'
LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
LEFT JOIN pg_class AS v ON v.oid = w.ev_class LEFT JOIN pg_namespace AS n ON n.oid = v.relnamespace
LEFT JOIN pg_constraint AS f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid AND f.contype = 'f'
LEFT JOIN part AS other ON other.oid = f.conrelid
WHERE NOT EXISTS (SELECT FROM gone AS x WHERE x.top = g.top AND x.classid = d.classid AND x.objid = d.objid)
      AND coalesce(f.conparentid, 0) = 0
GROUP BY g.top
"""

# Who may be detaching a partition right now. Between its two transactions such a session holds no lock on a table: it waits
# for transactions, as else only index builds do, which say so. Statements of other roles may be hidden.
DETACHERS = """
SELECT a.pid FROM pg_stat_activity AS a
WHERE a.pid <> pg_backend_pid() AND a.datname = current_database() AND (
    a.state = 'active' AND a.query ~* 'detach\\s+partition'
    OR EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND NOT l.granted)
       AND a.query NOT ILIKE '%index%' AND a.pid NOT IN (SELECT pid FROM pg_stat_progress_create_index))
ORDER BY a.pid LIMIT 1
"""

# What a partition is now, before it is touched. others: partitions that would be left, DEFAULT and pending ones not counted.
# before: one whose rows refer to it, and that was to go before it.
NOW = """
SELECT c.oid IS NOT NULL AS exists, c.relispartition AND i.inhparent = {parent} AS attached,
       pg_get_expr(c.relpartbound, 0) AS bound, coalesce(i.inhdetachpending, false) AS pending,
       obj_description(c.oid, 'pg_class') AS comment,
       (SELECT min(format('%I.%I', xn.nspname, x.relname)) FROM pg_inherits AS o JOIN pg_class AS x ON x.oid = o.inhrelid
        JOIN pg_namespace AS xn ON xn.oid = x.relnamespace
        WHERE o.inhparent = {parent} AND o.inhdetachpending AND o.inhrelid <> {oid}) AS other_pending,
       (SELECT min(format('%I.%I', xn.nspname, x.relname)) FROM pg_class AS x JOIN pg_namespace AS xn
        ON xn.oid = x.relnamespace WHERE x.oid = ANY ({after}::oid[])) AS before,
       (SELECT count(*) FROM pg_inherits AS o JOIN pg_class AS x ON x.oid = o.inhrelid
        WHERE o.inhparent = {parent} AND NOT o.inhdetachpending AND o.inhrelid <> {oid}
        AND pg_get_expr(x.relpartbound, 0) <> 'DEFAULT') AS others
FROM (SELECT {schema}::text AS schema, {name}::text AS name) AS w
LEFT JOIN pg_class AS c ON c.oid = {oid} AND c.relname = w.name AND c.relnamespace = to_regnamespace(quote_ident(w.schema))
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
"""
