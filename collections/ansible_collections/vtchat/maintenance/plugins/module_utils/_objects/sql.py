# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The queries of the program that runs scripts on the server.

They have positional parameters, and run with our own search_path, so every name outside pg_catalog is printed with its schema.
"""

from __future__ import annotations

from .catalog import CATALOGS, REFUSED, scan
from .describe import describe, kinds

# What stands in the way of dropping an object: $1 classid, $2 objid. views: those that can be made anew, the ones that
# others need first. others: everything else, as the server calls it.
DEPENDENTS = """
WITH RECURSIVE tree (oid, depth) AS (
    (SELECT $2, 0 WHERE $1 = 'pg_class'::regclass
     UNION
     SELECT r.ev_class, 1
     FROM pg_depend AS d JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
     WHERE $1 <> 'pg_class'::regclass AND d.refclassid = $1 AND d.refobjid = $2)
    UNION
    SELECT r.ev_class, t.depth + 1
    FROM tree AS t JOIN pg_class AS c ON c.oid = t.oid
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
                        OR d.refclassid = 'pg_type'::regclass AND d.refobjid = c.reltype
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_class <> t.oid
), views AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind, c.reloptions, max(t.depth) AS depth
    FROM tree AS t JOIN pg_class AS c ON c.oid = t.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.depth > 0 GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.reloptions
), gone (classid, objid) AS (
    SELECT $1, $2 UNION SELECT 'pg_class'::regclass, oid FROM views
    UNION SELECT 'pg_type'::regclass, c.reltype FROM pg_class AS c
    WHERE $1 = 'pg_class'::regclass AND c.oid = $2 OR c.oid IN (SELECT oid FROM views)
    UNION SELECT 'pg_type'::regclass, y.typarray FROM pg_type AS y WHERE $1 = 'pg_type'::regclass AND y.oid = $2
)
SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', oid::bigint, 'name', name, 'create',
                    format('CREATE VIEW %s%s AS %s', name, ' WITH (' || array_to_string(reloptions, ', ') || ')',
                           pg_get_viewdef(oid))) ORDER BY depth, name), '[]')
        FROM views WHERE relkind = 'v'),
       (SELECT coalesce(jsonb_agg(DISTINCT object), '[]') FROM (
            SELECT 'materialized view ' || name AS object FROM views WHERE relkind <> 'v'
            UNION ALL
            SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
            FROM gone AS g JOIN pg_depend AS d ON d.refclassid = g.classid AND d.refobjid = g.objid
            WHERE d.classid <> 'pg_rewrite'::regclass
            AND (d.deptype = 'n' OR d.deptype = 'a' AND d.classid = 'pg_statistic_ext'::regclass)
            AND NOT EXISTS (SELECT FROM pg_type AS y WHERE d.classid = 'pg_type'::regclass AND y.oid = d.objid
                            AND y.typelem <> 0 AND y.typcategory = 'A')
            AND NOT EXISTS (SELECT FROM gone AS also WHERE also.classid = d.classid AND also.objid = d.objid)) AS o)
"""

# The object itself, and its columns.
_BEARER = """o AS (
    SELECT $1 AS classid, c.oid AS objid, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END AS kind, '' AS type,
           format('%I.%I', n.nspname, c.relname) AS name, c.relowner AS owner,
           coalesce(c.relacl, acldefault('r', c.relowner)) AS acl,
           c.relacl IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl) AS special
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE $1 = 'pg_class'::regclass AND c.oid = $2
    UNION ALL
    SELECT $1, p.oid, CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, 'ROUTINE ',
           p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)),
           p.proacl IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl)
    FROM pg_proc AS p WHERE $1 = 'pg_proc'::regclass AND p.oid = $2
    UNION ALL
    SELECT $1, y.oid, 'TYPE', 'TYPE ', format('%I.%I', n.nspname, y.typname), y.typowner,
           coalesce(y.typacl, acldefault('T', y.typowner)),
           y.typacl IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl)
    FROM pg_type AS y JOIN pg_namespace AS n ON n.oid = y.typnamespace WHERE $1 = 'pg_type'::regclass AND y.oid = $2
), columns AS (
    SELECT o.*, t.* FROM o JOIN pg_attribute AS t ON t.attrelid = o.objid
    WHERE o.classid = 'pg_class'::regclass AND t.attnum > 0 AND NOT t.attisdropped
)"""
_BELONGINGS = """statements (rank, "column", revoke, statement) AS (
    SELECT 1, NULL::text, false, format('ALTER %s %s OWNER TO %I', kind, name, pg_get_userbyid(owner)) FROM o
    UNION ALL SELECT 2, NULL, true, NULL FROM o WHERE special
    UNION ALL
    SELECT 3, NULL, false, format('GRANT %s ON %s%s TO %s%s', a.privilege_type, type, name,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
        CASE WHEN a.is_grantable AND a.grantee <> owner THEN ' WITH GRANT OPTION' END)
    FROM o, aclexplode(acl) AS a WHERE special
    UNION ALL
    SELECT 4, attname, false, format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, attname, name,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM columns, aclexplode(attacl) AS a
    UNION ALL
    SELECT 5, attname, false, CASE WHEN m.objsubid = 0 THEN format('COMMENT ON %s %s IS %L', kind, name, m.description)
        ELSE format('COMMENT ON COLUMN %s.%I IS %L', name, attname, m.description) END
    FROM o JOIN pg_description AS m ON m.classoid = o.classid AND m.objoid = o.objid
    LEFT JOIN pg_attribute AS t
        ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid AND t.attnum = m.objsubid AND m.objsubid > 0
    UNION ALL
    SELECT 6, attname, false,
        CASE WHEN l.objsubid = 0 THEN format('SECURITY LABEL FOR %I ON %s %s IS %L', provider, kind, name, label)
        ELSE format('SECURITY LABEL FOR %I ON COLUMN %s.%I IS %L', provider, name, attname, label) END
    FROM o JOIN pg_seclabel AS l ON l.classoid = o.classid AND l.objoid = o.objid
    LEFT JOIN pg_attribute AS t
        ON o.classid = 'pg_class'::regclass AND t.attrelid = o.objid AND t.attnum = l.objsubid AND l.objsubid > 0
    UNION ALL
    SELECT 7, attname, false, format('ALTER %s %s ALTER COLUMN %I SET STATISTICS %s', kind, name, attname, attstattarget)
    FROM columns WHERE attstattarget >= 0 AND kind = 'MATERIALIZED VIEW'
    UNION ALL
    SELECT 8, attname, false,
        format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', name, attname, pg_get_expr(e.adbin, e.adrelid))
    FROM columns JOIN pg_attrdef AS e ON e.adrelid = objid AND e.adnum = attnum
    UNION ALL
    SELECT 9, NULL, false, pg_get_ruledef(r.oid) FROM o JOIN pg_rewrite AS r ON r.ev_class = o.objid
    WHERE o.classid = 'pg_class'::regclass AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 9, NULL, false, pg_get_triggerdef(g.oid) FROM o JOIN pg_trigger AS g ON g.tgrelid = o.objid
    WHERE o.classid = 'pg_class'::regclass AND NOT g.tgisinternal
)"""
# What an object has besides its definition, as statements that give it to another one of the same name, in their order:
# $1 classid, $2 objid. column: the statement is for this column, and void if the other one has no such column. revoke: here
# everything is to be revoked from everybody, for a new object has the privileges that the owner gives to all new ones.
# special: not simply the server's own defaults.
BELONGINGS = f"""
WITH {_BEARER}, {_BELONGINGS}
SELECT coalesce(jsonb_agg(jsonb_build_object('classid', $1::bigint, 'address', o.name, 'column', "column", 'revoke', revoke,
                                             'statement', statement) ORDER BY rank, statement), '[]')
FROM o, statements
"""  # noqa: S608 - made of constants

# REVOKE from everybody who has a privilege on an object: $1 classid, $2 objid. The owner's own go, too.
REVOKES = """
SELECT string_agg(DISTINCT format('REVOKE ALL ON %s FROM %s CASCADE', what,
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END), '; ')
FROM (
    SELECT format('TABLE %I.%I', n.nspname, c.relname) AS what, coalesce(c.relacl, acldefault('r', c.relowner)) AS acl
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE $1 = 'pg_class'::regclass AND c.oid = $2
    UNION ALL SELECT format('TABLE %I.%I', n.nspname, c.relname), t.attacl
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS t ON t.attrelid = c.oid
    WHERE $1 = 'pg_class'::regclass AND c.oid = $2 AND NOT t.attisdropped
    UNION ALL SELECT 'ROUTINE ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_proc AS p WHERE $1 = 'pg_proc'::regclass AND p.oid = $2
    UNION ALL SELECT 'TYPE ' || format_type(y.oid, NULL), coalesce(y.typacl, acldefault('T', y.typowner))
    FROM pg_type AS y WHERE $1 = 'pg_type'::regclass AND y.oid = $2
) AS o, aclexplode(acl) AS a
"""

# Statements that leave an object with nothing but what every new one has: $1 classid, $2 objid.
BARE = """
WITH o AS (
    SELECT c.oid AS objid, 'TABLE' AS type, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END AS kind,
           format('%I.%I', n.nspname, c.relname) AS name, c.relowner AS owner, c.relnamespace AS space, 'r'::"char" AS letter
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE $1 = 'pg_class'::regclass AND c.oid = $2
    UNION ALL
    SELECT p.oid, 'ROUTINE', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
           p.oid::regprocedure::text, p.proowner, p.pronamespace, 'f'
    FROM pg_proc AS p WHERE $1 = 'pg_proc'::regclass AND p.oid = $2
    UNION ALL
    SELECT y.oid, 'TYPE', 'TYPE', format_type(y.oid, NULL), y.typowner, y.typnamespace, 'T'
    FROM pg_type AS y WHERE $1 = 'pg_type'::regclass AND y.oid = $2
)
SELECT string_agg(statement, '; ' ORDER BY rank) FROM (
    SELECT 1 AS rank, format('COMMENT ON %s %s IS NULL', kind, name) AS statement FROM o
    UNION ALL
    SELECT 1, format('COMMENT ON COLUMN %s.%I IS NULL', name, attname) FROM o JOIN pg_attribute AS t ON t.attrelid = o.objid
    WHERE $1 = 'pg_class'::regclass AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NOT NULL
    UNION ALL
    SELECT 2, format('GRANT %s ON %s %s TO %s', a.privilege_type, type, name,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
    FROM o, LATERAL (
        SELECT * FROM aclexplode(coalesce((SELECT defaclacl FROM pg_default_acl WHERE defaclrole = owner AND defaclnamespace = 0
                                           AND defaclobjtype = letter), acldefault(letter, owner)))
        UNION SELECT e.* FROM pg_default_acl AS l, aclexplode(l.defaclacl) AS e
        WHERE defaclrole = owner AND defaclnamespace = space AND defaclobjtype = letter) AS a
) AS s
"""

# The indexes of a materialized view: $1 its oid.
INDEXES = """
SELECT coalesce(jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'name', c.relname, 'unique', i.indisunique,
           'comment', obj_description(c.oid, 'pg_class'), 'clustered', i.indisclustered,
           'tail', substr(pg_get_indexdef(c.oid), 1 + length(format('CREATE %sINDEX %I ON %I.%I ',
               CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname, n.nspname, t.relname))))
       ORDER BY c.oid), '[]')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE t.oid = $1
"""

# The object of an entry: $1 {"classid", "address"}.
OBJECT = """
SELECT CASE ($1->>'classid')::oid WHEN 'pg_class'::regclass THEN to_regclass($1->>'address')::oid
       WHEN 'pg_proc'::regclass THEN to_regprocedure($1->>'address')::oid ELSE to_regtype($1->>'address')::oid END
"""

# Numbers of our transaction and of those of its subtransactions that are under way.
OWN = """
SELECT coalesce(array_agg(pg_current_xact_id()::text::bigint - age(transactionid)), '{}') FROM pg_locks
WHERE locktype = 'transactionid' AND pid = pg_backend_pid() AND mode = 'ExclusiveLock' AND granted
"""

# Tables in which rows of ours have changed: by the server's counters or, where it does not count, those that are locked as for
# that. $1: whether it counts.
ROWS = """
SELECT array_agg(oid) FROM pg_class WHERE relkind IN ('r', 'p', 'm', 'f') AND relnamespace <> 'pg_catalog'::regnamespace
AND CASE WHEN $1 THEN pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
                      + pg_stat_get_xact_tuples_deleted(oid) > 0
    ELSE relkind <> 'm' AND oid IN (SELECT relation FROM pg_locks WHERE locktype = 'relation' AND pid = pg_backend_pid()
                                    AND mode = 'RowExclusiveLock') END
"""
# Sequences that we have taken a number from, or set: that is the lock for it.
ADVANCED = """
SELECT array_agg(c.oid) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND c.relkind = 'S'
"""
# Which file relations are in that we have written to the catalog. $1: pairs [classid, oid].
FILES = """
SELECT coalesce(jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'file', pg_relation_filenode(c.oid)::bigint)), '[]')
FROM jsonb_array_elements($1) AS p JOIN pg_class AS c ON c.oid = (p->>1)::oid
WHERE (p->>0)::oid = 'pg_class'::regclass AND pg_relation_filenode(c.oid) IS NOT NULL
"""

# What event triggers write for themselves: the tables and sequences that their functions, or what these call, name. NULL
# without event triggers. warns: whether one of them raises warnings.
LOGGED = r"""
WITH RECURSIVE reached (oid, source) AS (
    SELECT p.oid, pg_get_functiondef(p.oid) FROM pg_event_trigger AS e JOIN pg_proc AS p ON p.oid = e.evtfoid
    WHERE e.evtenabled <> 'D'
    UNION
    SELECT p.oid, pg_get_functiondef(p.oid) FROM reached AS r JOIN pg_proc AS p ON p.prokind IN ('f', 'p')
        AND p.pronamespace <> 'pg_catalog'::regnamespace
        AND (p.proname ~ '^\w+$' AND r.source ~* ('\m' || p.proname || '\M') OR p.oid IN (
             SELECT g.tgfoid FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
             WHERE NOT g.tgisinternal AND strpos(lower(r.source), lower(c.relname)) > 0))
), named AS (
    SELECT DISTINCT c.oid FROM reached AS r JOIN pg_class AS c ON c.relkind IN ('r', 'p', 'f', 'S')
        AND c.relnamespace <> 'pg_catalog'::regnamespace AND strpos(lower(r.source), lower(c.relname)) > 0
)
SELECT jsonb_build_object('tables', (SELECT coalesce(jsonb_agg(oid::bigint), '[]') FROM (
           SELECT oid FROM named UNION SELECT i.inhrelid FROM named JOIN pg_inherits AS i ON i.inhparent = named.oid
           UNION SELECT d.objid FROM named JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = named.oid
               AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) AS n),
    'warns', EXISTS (SELECT FROM reached WHERE source ~* '\mraise\s+warning\M'),
    'names', (SELECT string_agg(quote_ident(evtname), ', ' ORDER BY evtname) FROM pg_event_trigger WHERE evtenabled <> 'D'))
WHERE EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')
"""

# Why a script cannot be installed, besides what it does to definitions: $1 tables with changed rows, $2 sequences, $3 files as
# they were during the trial, $4 pairs that it wrote, $5 all catalogs, $6 what event triggers write, $7 whether the server counts.
EFFECTS = """
WITH relation AS (
    SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND coalesce(NOT $6->'tables' @> to_jsonb(c.oid::bigint), true)
), because (rank, message) AS (
    SELECT 1, format('it %s rows of %s: scripts define objects, and what they do to rows could not be repeated%s%s',
        CASE WHEN $7 THEN 'changes' ELSE 'may change' END, string_agg(name, ', ' ORDER BY name),
        CASE WHEN NOT $7 THEN '. The server does not count rows (track_counts), so that it cannot be told for certain' END,
        '. Or an event trigger does that: ' || ($6->>'names'))
    FROM relation WHERE oid = ANY ($1) AND relkind <> 'm' HAVING count(*) > 0
    UNION ALL
    SELECT 2, format('it refreshes %s: that is what the module refresh is for', string_agg(name, ', ' ORDER BY name))
    FROM relation WHERE relkind = 'm' AND (oid = ANY ($1) OR EXISTS (
        SELECT FROM jsonb_array_elements($3) AS f WHERE f->>'oid' = oid::text AND f->>'file' <> pg_relation_filenode(oid)::text))
    HAVING count(*) > 0
    UNION ALL
    SELECT CASE WHEN relkind = 'r' THEN 3 ELSE 4 END, format('it %s %s: %s', CASE WHEN relkind = 'i' THEN 'builds the index'
            WHEN relkind = 'r' THEN 'empties or rewrites' ELSE 'restarts' END, name,
        CASE WHEN relkind = 'i' THEN 'indexes are what the module index is for'
             ELSE 'scripts define objects, and what they do to rows could not be repeated; use a migration' END)
    FROM jsonb_array_elements($3) AS f JOIN relation ON oid = (f->>'oid')::oid
    WHERE relkind IN ('r', 'i', 'S') AND f->>'file' <> pg_relation_filenode(oid)::text
    UNION ALL
    SELECT 5, format('it takes a number from the sequence %s, or sets it, which is never undone: use a migration',
                     string_agg(name, ', ' ORDER BY name))
    FROM relation WHERE relkind = 'S' AND oid = ANY ($2) HAVING count(*) > 0
    UNION ALL
    SELECT 6, format('it changes %s, which cannot be compared here: %s', c->>'name',
                     coalesce(p.place, 'this release does not know what is in there'))
    FROM jsonb_array_elements($5) AS c LEFT JOIN (VALUES {refused}) AS p (name, place) ON p.name = c->>'name'
    WHERE (c->>'refused')::boolean AND (
        $4 @> jsonb_build_array(jsonb_build_array(c->'oid', 0)) OR
        pg_stat_get_xact_tuples_inserted((c->>'oid')::oid) + pg_stat_get_xact_tuples_updated((c->>'oid')::oid)
        + CASE WHEN c->>'name' LIKE 'pg_statistic%' THEN 0 ELSE pg_stat_get_xact_tuples_deleted((c->>'oid')::oid) END > 0)
)
SELECT message FROM because ORDER BY rank, message LIMIT 1
"""

# An object whose definition has no place in a script and would change: $1 objects before, $2 after.
UNDEFINABLE = """
SELECT jsonb_build_object('place', o->'place', 'kind', o->'kind', 'object', o->'object', 'before', b, 'after', a)
FROM jsonb_array_elements($2) AS x (a) FULL JOIN jsonb_array_elements($1) AS y (b)
    ON a->'kind' = b->'kind' AND a->'object' = b->'object',
LATERAL (SELECT coalesce(a, b) AS o) AS l
WHERE o->>'place' IS NOT NULL AND (a IS NULL OR b IS NULL OR a->'definition' IS DISTINCT FROM b->'definition'
    OR a->'settings' IS DISTINCT FROM b->'settings' OR a->'hidden' IS DISTINCT FROM b->'hidden')
-- The indexes of a materialized view go with it.
AND NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid AND c.relkind = 'm'
                WHERE a IS NULL AND i.indexrelid = (b->>'objid')::oid AND o->>'kind' = 'index'
                AND $1 @> jsonb_build_array(jsonb_build_object('objid', c.oid::bigint))
                AND NOT $2 @> jsonb_build_array(jsonb_build_object('objid', c.oid::bigint)))
ORDER BY o->>'kind' LIKE '%table' DESC, o->>'kind' = 'sequence' DESC, o->>'kind', o->>'object' LIMIT 1
"""

# What types consist of, for advice on how to change one: $1, $2 their oids.
PARTS = """
SELECT jsonb_agg(jsonb_build_object('type', y.typtype,
    'labels', (SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid),
    'attributes', (SELECT jsonb_agg(jsonb_build_array(quote_ident(attname), concat(format_type(atttypid, atttypmod), ' COLLATE '
                       || CASE WHEN attcollation <> t.typcollation THEN attcollation::regcollation END)) ORDER BY attnum)
                   FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
                   WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped),
    'base', format_type(y.typbasetype, y.typtypmod), 'default', y.typdefault, 'not_null', y.typnotnull,
    'constraints', (SELECT jsonb_object_agg(quote_ident(conname), pg_get_constraintdef(oid))
                    FROM pg_constraint WHERE contypid = y.oid AND contype = 'c')) ORDER BY o.n)
FROM unnest(ARRAY[$1, $2]) WITH ORDINALITY AS o (oid, n) JOIN pg_type AS y ON y.oid = o.oid
"""

# Materialized views that interrupted installations have left behind: they have a name and a comment of ours and belong to us.
LEFTOVERS = """
SELECT jsonb_build_object('ours', coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE ours), '[]'), 'others', coalesce(
           jsonb_agg(jsonb_build_object('name', name, 'owner', owner) ORDER BY name) FILTER (WHERE NOT ours), '[]')) AS views
FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS name, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
           pg_has_role(c.relowner, 'USAGE') AS ours
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'm' AND c.relname ~ '^vtchat\\.maintenance new [0-9a-f]{8}$'
    AND obj_description(c.oid, 'pg_class') LIKE 'vtchat.maintenance: %') AS left_behind
"""

# What a view is made of, through views: the relations, and whether there are functions, which may read anything. $1: its oid.
USES = """
WITH RECURSIVE used (oid) AS (
    SELECT $1 UNION
    SELECT d.refobjid FROM used AS u JOIN pg_rewrite AS r ON r.ev_class = u.oid
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
)
SELECT jsonb_build_object('relations', (SELECT jsonb_agg(format('%I.%I', n.nspname, c.relname))
        FROM used JOIN pg_class AS c ON c.oid = used.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace),
    'functions', EXISTS (SELECT FROM used AS u JOIN pg_rewrite AS r ON r.ev_class = u.oid
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)))
"""

QUERIES: dict[str, str | dict[str, str]] = {
    "uses": USES,
    "catalogs": CATALOGS,
    "scan_during": scan("in progress"),
    "scan_undone": scan("aborted"),
    "describe": describe(),
    "kinds": kinds(),
    "logged": LOGGED,
    "rows": ROWS,
    "advanced": ADVANCED,
    "files": FILES,
    "effects": EFFECTS.replace("{refused}", ", ".join(f"('{name}', '{place}')" for name, place in REFUSED.items())),
    "undefinable": UNDEFINABLE,
    "parts": PARTS,
    "dependents": DEPENDENTS,
    "belongings": BELONGINGS,
    "revokes": REVOKES,
    "bare": BARE,
    "indexes": INDEXES,
    "oid": OBJECT,
    "own": OWN,
    "leftovers": LEFTOVERS,
}
