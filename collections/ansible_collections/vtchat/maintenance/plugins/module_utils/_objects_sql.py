# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The program that runs scripts on the server, and its queries.

It runs there in one statement, so that nothing it locks on the way stays locked while an answer travels: what is tried
out is undone by the same statement. The queries have positional parameters, and search_path is pg_catalog when they run,
so every name outside it is printed with its schema.
"""

from __future__ import annotations

# Objects of which a catalog row bears one of our transaction's numbers in {mark}: during a trial, rows that it wrote have
# one in xmin ($1: the least that counts); after it, rows as they were before have the same ones in xmax ($1: all of them).
# $2: further objects, [[classid, objid], ...].
DESCRIBE = """
WITH written (classid, objid, mark) AS (
    SELECT 'pg_proc'::regclass::oid, oid, {mark} FROM pg_proc
    UNION ALL SELECT 'pg_class'::regclass, oid, {mark} FROM pg_class
    UNION ALL SELECT 'pg_class'::regclass, ev_class, {mark} FROM pg_rewrite
    UNION ALL SELECT 'pg_class'::regclass, attrelid, {mark} FROM pg_attribute WHERE attnum > 0
    UNION ALL SELECT 'pg_namespace'::regclass, oid, {mark} FROM pg_namespace
    UNION ALL SELECT 'pg_trigger'::regclass, oid, {mark} FROM pg_trigger
    UNION ALL SELECT 'pg_policy'::regclass, oid, {mark} FROM pg_policy
    UNION ALL SELECT 'pg_type'::regclass, oid, {mark} FROM pg_type
    UNION ALL SELECT 'pg_type'::regclass, enumtypid, {mark} FROM pg_enum
    UNION ALL SELECT classoid, objoid, {mark} FROM pg_description
    UNION ALL SELECT classoid, objoid, {mark} FROM pg_seclabel
    UNION ALL SELECT classid, objid, {mark} FROM pg_depend
), numbered AS (
    SELECT classid, objid, pg_current_xact_id()::text::bigint - age(mark) AS number FROM written WHERE age(mark) < 0
), named AS (
    SELECT classid, objid FROM numbered WHERE {condition}
    UNION SELECT (pair->>0)::oid, (pair->>1)::oid FROM jsonb_array_elements($2) AS pair
), touched AS (  -- what belongs to a composite type, a domain or a type of arrays belongs to the type
    SELECT DISTINCT CASE WHEN k.contypid <> 0 OR c.relkind = 'c' THEN 'pg_type'::regclass::oid ELSE n.classid END AS classid,
           CASE WHEN k.contypid <> 0 THEN k.contypid WHEN c.relkind = 'c' THEN c.reltype
                ELSE coalesce(e.oid, n.objid) END AS objid
    FROM named AS n
    LEFT JOIN pg_constraint AS k ON n.classid = 'pg_constraint'::regclass AND k.oid = n.objid
    LEFT JOIN pg_class AS c ON n.classid = 'pg_class'::regclass AND c.oid = n.objid
    LEFT JOIN pg_type AS a ON n.classid = 'pg_type'::regclass AND a.oid = n.objid AND a.typcategory = 'A'
    LEFT JOIN pg_type AS e ON e.typarray = a.oid
), described AS (
    SELECT o.classid, o.objid, CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
           format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS object,
           p.oid::regprocedure::text AS address,
           CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS definition,
           p.proowner AS owner, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl
    FROM touched AS o JOIN pg_proc AS p ON p.oid = o.objid JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE o.classid = 'pg_proc'::regclass
    UNION ALL
    SELECT o.classid, o.objid,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                          WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'table' END,
           format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
           CASE WHEN c.relkind IN ('v', 'm') THEN
                    pg_get_viewdef(c.oid) || coalesce(E'\\nWITH (' || array_to_string(c.reloptions, ', ') || ')', '')
                    || coalesce(E'\\n' || (SELECT string_agg(pg_get_ruledef(r.oid), E'\\n' ORDER BY r.rulename)
                                           FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '')
                WHEN c.relkind IN ('r', 'p', 'f') THEN (
                    SELECT concat_ws(E'\\n', string_agg(concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
                        CASE WHEN attnotnull THEN 'NOT NULL' END), E'\\n' ORDER BY attnum),
                        c.reloptions::text, CASE WHEN c.relrowsecurity THEN 'row level security' END)
                    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
                WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid) END,
           c.relowner, CASE WHEN c.relkind NOT IN ('i', 'I') THEN coalesce(c.relacl, acldefault('r', c.relowner)) END
    FROM touched AS o JOIN pg_class AS c ON c.oid = o.objid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE o.classid = 'pg_class'::regclass AND c.relkind <> 't' AND n.nspname <> 'pg_toast'
    UNION ALL
    SELECT o.classid, o.objid, 'type', format('%I.%I', n.nspname, y.typname), format('%I.%I', n.nspname, y.typname),
           CASE y.typtype
                WHEN 'e' THEN (SELECT 'ENUM (' || string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) || ')'
                               FROM pg_enum WHERE enumtypid = y.oid)
                WHEN 'c' THEN (SELECT '(' || coalesce(string_agg(format('%I %s', attname, format_type(atttypid, atttypmod))
                                   || CASE WHEN attcollation <> t.typcollation THEN ' COLLATE ' || attcollation::regcollation
                                      ELSE '' END, ', ' ORDER BY attnum), '') || ')'
                               FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
                               WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped)
                WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(y.typbasetype, y.typtypmod),
                    'DEFAULT ' || y.typdefault, CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                    (SELECT string_agg(pg_get_constraintdef(oid), ' ' ORDER BY pg_get_constraintdef(oid))
                     FROM pg_constraint WHERE contypid = y.oid AND contype = 'c')) END,
           y.typowner, coalesce(y.typacl, acldefault('T', y.typowner))
    FROM touched AS o JOIN pg_type AS y ON y.oid = o.objid JOIN pg_namespace AS n ON n.oid = y.typnamespace
    LEFT JOIN pg_class AS r ON r.oid = y.typrelid
    WHERE o.classid = 'pg_type'::regclass AND coalesce(r.relkind, 'c') = 'c' AND y.typtype <> 'm'
    UNION ALL
    SELECT o.classid, o.objid, 'schema', quote_ident(n.nspname), quote_ident(n.nspname),
           'CREATE SCHEMA ' || quote_ident(n.nspname), n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
    FROM touched AS o JOIN pg_namespace AS n ON n.oid = o.objid WHERE o.classid = 'pg_namespace'::regclass
    UNION ALL
    SELECT o.classid, o.objid, 'trigger', format('%I on %I.%I', g.tgname, n.nspname, c.relname), NULL,
           format('%s -- %s', pg_get_triggerdef(g.oid), g.tgenabled), c.relowner, NULL
    FROM touched AS o JOIN pg_trigger AS g ON g.oid = o.objid JOIN pg_class AS c ON c.oid = g.tgrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE o.classid = 'pg_trigger'::regclass AND NOT g.tgisinternal
    UNION ALL
    SELECT o.classid, o.objid, 'other', pg_describe_object(o.classid, o.objid, 0), NULL, NULL, NULL, NULL
    FROM touched AS o
    WHERE pg_describe_object(o.classid, o.objid, 0) IS NOT NULL
    AND o.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass,
                                               'pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_type'::regclass)
    AND NOT EXISTS (SELECT FROM pg_constraint AS k
                    WHERE o.classid = 'pg_constraint'::regclass AND k.oid = o.objid AND k.contype = 't')
), shown AS (
    SELECT d.classid::bigint, d.objid::bigint, d.kind, d.object, d.address, d.definition, pg_get_userbyid(d.owner)::text AS owner,
       (SELECT jsonb_agg(concat(CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ' ',
                                a.privilege_type, ' (' || quote_ident(a.attname) || ')',
                                CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
                         ORDER BY a.attname NULLS FIRST, a.grantee = 0 DESC, pg_get_userbyid(a.grantee), a.privilege_type)
        FROM (SELECT NULL::name AS attname, e.* FROM aclexplode(d.acl) AS e
              UNION ALL SELECT t.attname, e.* FROM pg_attribute AS t, aclexplode(t.attacl) AS e
              WHERE d.classid = 'pg_class'::regclass AND t.attrelid = d.objid AND NOT t.attisdropped) AS a) AS privileges,
       (SELECT jsonb_agg(concat_ws(': ', quote_ident(t.attname), m.description) ORDER BY m.objsubid)
        FROM pg_description AS m LEFT JOIN pg_attribute AS t
            ON m.classoid = 'pg_class'::regclass AND t.attrelid = m.objoid AND t.attnum = m.objsubid AND m.objsubid > 0
        WHERE m.classoid = d.classid AND m.objoid = d.objid) AS comments,
       (SELECT jsonb_agg(concat_ws(': ', quote_ident(t.attname), l.provider || ' ' || l.label) ORDER BY l.objsubid, l.provider)
        FROM pg_seclabel AS l LEFT JOIN pg_attribute AS t
            ON l.classoid = 'pg_class'::regclass AND t.attrelid = l.objoid AND t.attnum = l.objsubid AND l.objsubid > 0
        WHERE l.classoid = d.classid AND l.objoid = d.objid) AS labels
    FROM described AS d
)
SELECT coalesce(jsonb_agg(to_jsonb(shown) ORDER BY kind, object), '[]'),
       (SELECT coalesce(array_agg(DISTINCT number), '{{}}') FROM numbered WHERE {condition})
FROM shown
"""
# In progress and yet visible is only what is ours.
AFTER = "CASE WHEN number >= $1[1] THEN pg_xact_status(number::text::xid8) = 'in progress' END"
BEFORE = "number = ANY ($1)"

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

# What an object bears besides its definition, as statements that give it to another one of the same name, in their order:
# $1 classid, $2 objid. column: the statement is for this column, and void if the other one has no such column. revoke: here
# everything is to be revoked from everybody, for a new object has the privileges that the owner gives to all new ones.
# special: not simply the server's own defaults.
BELONGINGS = """
WITH o AS (
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
), statements (rank, "column", revoke, statement) AS (
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
)
SELECT coalesce(jsonb_agg(jsonb_build_object('classid', $1::bigint, 'address', o.name, 'column', "column", 'revoke', revoke,
                                             'statement', statement) ORDER BY rank, statement), '[]')
FROM o, statements
"""

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

# Tables in which rows of ours have changed.
ROWS = """
SELECT string_agg(format('%I.%I', s.schemaname, s.relname), ', ' ORDER BY s.schemaname, s.relname)
FROM pg_stat_xact_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
WHERE c.relkind IN ('r', 'p') AND s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0
"""

# Materialized views that interrupted installations have left behind.
LEFTOVERS = """
SELECT coalesce(jsonb_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname), '[]') AS views
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relname ~ '^vtchat\\.maintenance new [0-9a-f]{8}$'
AND obj_description(c.oid, 'pg_class') LIKE 'vtchat.maintenance: %' AND pg_has_role(c.relowner, 'USAGE')
"""

QUERIES = {
    "after": DESCRIBE.format(mark="xmin", condition=AFTER),
    "before": DESCRIBE.format(mark="xmax", condition=BEFORE),
    "dependents": DEPENDENTS,
    "belongings": BELONGINGS,
    "revokes": REVOKES,
    "bare": BARE,
    "indexes": INDEXES,
    "oid": OBJECT,
    "own": OWN,
    "rows": ROWS,
    "leftovers": LEFTOVERS,
}

# Before and after the program. What is set for the session goes with it.
BEGIN = """
BEGIN;
SET LOCAL standard_conforming_strings = on;
SET LOCAL check_function_bodies = on;
SELECT pg_catalog.pg_current_xact_id(),
       pg_catalog.set_config('vtchat_maintenance.path', {path}, true),
       pg_catalog.set_config('vtchat_maintenance.input', {input}, true);
SET LOCAL search_path = pg_catalog;
DO {program};
COMMIT;
SELECT pg_catalog.current_setting('vtchat_maintenance.result')::pg_catalog.jsonb AS result
"""

# mode: compare (everything is undone in the end), build (one materialized view, beside the old one), apply.
# A script is tried out in a subtransaction; if it makes a difference, it is run once more, and that stays.
# The texts of scripts run with the session's search_path, everything else with pg_catalog.
PROGRAM = """
#variable_conflict use_variable
DECLARE
  input constant jsonb := convert_from(decode(current_setting('vtchat_maintenance.input'), 'base64'), 'UTF8');
  q constant jsonb := input->'queries';
  mode constant text := input->>'mode';
  path constant text := current_setting('vtchat_maintenance.path');
  limit_ms constant float := input->>'lock_ms';
  since timestamptz := clock_timestamp();
  step jsonb; item jsonb; entry jsonb; one text; number text;
  script text; final text; name text; space text; built text; trial text;
  old oid; class oid; object oid; is_new boolean; kind text; conflict text; message text; hint text;
  was jsonb; replacing jsonb; after jsonb; before jsonb; also jsonb; dependents jsonb; others jsonb; indexes jsonb;
  wanted jsonb; found jsonb; named jsonb; now_there jsonb;
  belongings jsonb; later jsonb; repeat_script boolean; lowest bigint; own bigint[]; numbers bigint[];
  changed_rows text; tries int;
  objects jsonb := '[]'; builds jsonb := '[]'; refusal jsonb; pairs jsonb; present jsonb := '[]'; asked jsonb := '[]';
  future jsonb := '[]';
BEGIN
 BEGIN
  << steps >>
  FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
    number := step->>'number';
    script := step->>'text'; final := script; was := '[]'; later := '[]'; conflict := NULL; repeat_script := false; old := NULL;
    PERFORM set_config('lock_timeout',
      greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text, true);

    IF step->>'kind' <> 'script' THEN
      PERFORM set_config('search_path', path, true);
      space := coalesce(step->>'schema', current_schema());
      PERFORM set_config('search_path', 'pg_catalog', true);
      name := coalesce(quote_ident(space) || '.', '') || quote_ident(step->>'name');
      trial := coalesce(quote_ident(space) || '.', '') || quote_ident(input->>'trial');
      built := coalesce(quote_ident(space) || '.', '') || quote_ident(step->>'built');
    END IF;

    IF step->>'kind' = 'materialized view' THEN
      class := 'pg_class'::regclass;
      SELECT c.oid, c.relkind INTO old, kind FROM pg_class AS c WHERE c.oid = to_regclass(name);
      IF old IS NOT NULL AND kind <> 'm' THEN
        refusal := jsonb_build_object('number', number, 'message',
          format('there is another object with the name %s, which is no materialized view', name));
        EXIT steps;
      END IF;
      script := concat(step->>'head', name, step->>'body', ' WITH NO DATA;', step->>'tail');
      final := concat(step->>'head', name, step->>'body', step->>'with', ';', step->>'tail');
      IF mode = 'compare' THEN
        final := script;
      END IF;
      IF old IS NULL AND mode = 'build' THEN
        PERFORM set_config('search_path', path, true);
        EXECUTE concat(step->>'head', built, step->>'body', step->>'with', step->>'pad');
        EXECUTE format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment');
        PERFORM set_config('search_path', 'pg_catalog', true);
        CONTINUE steps;
      ELSIF old IS NULL THEN
        builds := builds || to_jsonb(number::int);
        IF mode = 'apply' AND (step->>'ready')::boolean THEN
          EXECUTE format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built);
          EXECUTE format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name');
          was := jsonb_build_array(jsonb_build_object('kind', 'materialized view', 'object', name, 'address', name,
            'classid', class::bigint, 'absent', true));
          script := step->>'rest'; final := script;
        END IF;
      ELSE
        BEGIN
          PERFORM set_config('search_path', path, true);
          EXECUTE concat(step->>'head', trial, step->>'body', ' WITH NO DATA', step->>'pad');
          PERFORM set_config('search_path', 'pg_catalog', true);
          EXECUTE q->>'after' INTO wanted, numbers USING ARRAY[9223372036854775807],
            jsonb_build_array(jsonb_build_array(class::bigint, to_regclass(trial)::oid::bigint));
          RAISE EXCEPTION USING ERRCODE = 'VM000';
        EXCEPTION WHEN SQLSTATE 'VM000' THEN
          NULL;
        END;
        also := jsonb_build_array(jsonb_build_array(class::bigint, old::bigint));
        EXECUTE q->>'after' INTO was, numbers USING ARRAY[9223372036854775807], also;
        script := step->>'rest'; final := script;
        IF was->0->>'definition' IS DISTINCT FROM wanted->0->>'definition' THEN
          IF mode = 'build' THEN
            PERFORM set_config('search_path', path, true);
            EXECUTE concat(step->>'head', built, step->>'body', CASE WHEN (SELECT relispopulated FROM pg_class
              WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad');
            PERFORM set_config('search_path', 'pg_catalog', true);
            EXECUTE q->>'indexes' INTO indexes USING old;
            FOR item IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
              EXECUTE format('CREATE %sINDEX %I ON %s %s', CASE WHEN (item->>'unique')::boolean THEN 'UNIQUE ' END,
                concat(step->>'built', ' ', item->>'oid'), built, item->>'tail');
            END LOOP;
            EXECUTE format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment');
            CONTINUE steps;
          END IF;
          builds := builds || to_jsonb(number::int);
          object := old;
          conflict := 'it has another definition';
        END IF;
      END IF;
    ELSIF step->>'kind' = 'type' THEN
      class := 'pg_type'::regclass;
      old := to_regtype(name);
      script := concat(step->>'head', name, step->>'body', ';', step->>'tail'); final := script;
      IF old IS NOT NULL THEN
        BEGIN
          PERFORM set_config('search_path', path, true);
          EXECUTE concat(step->>'head', trial, step->>'body', step->>'pad');
          PERFORM set_config('search_path', 'pg_catalog', true);
          EXECUTE q->>'after' INTO wanted, numbers USING ARRAY[9223372036854775807],
            jsonb_build_array(jsonb_build_array(class::bigint, to_regtype(trial)::oid::bigint));
          RAISE EXCEPTION USING ERRCODE = 'VM000';
        EXCEPTION WHEN SQLSTATE 'VM000' THEN
          NULL;
        END;
        also := jsonb_build_array(jsonb_build_array(class::bigint, old::bigint));
        EXECUTE q->>'after' INTO was, numbers USING ARRAY[9223372036854775807], also;
        IF was->0->>'definition' IS DISTINCT FROM wanted->0->>'definition' THEN
          object := old;
          conflict := 'it has another definition';
        ELSE
          script := step->>'rest'; final := script;
        END IF;
      END IF;
    END IF;

    PERFORM set_config('search_path', path, true);
    SELECT coalesce(jsonb_agg(jsonb_build_array('pg_namespace'::regclass::oid::bigint, n.oid::bigint)), '[]') INTO named
    FROM pg_namespace AS n WHERE n.nspname IN (SELECT jsonb_array_elements_text(step->'schemas'));
    PERFORM set_config('search_path', 'pg_catalog', true);
    also := named; tries := 0;
    << attempt >>
    LOOP
      tries := tries + 1;
      IF conflict IS NOT NULL THEN  -- the object has to go first
        EXECUTE q->>'dependents' INTO dependents, others USING class, object;
        also := jsonb_build_array(jsonb_build_array(class::bigint, object::bigint));
        EXECUTE q->>'after' INTO replacing, numbers USING ARRAY[9223372036854775807], also;
        is_new := coalesce(step->>'kind' = 'materialized view' AND object = old, false);
        IF jsonb_array_length(others) > 0 OR input->>'on_conflict' <> 'recreate'
         AND (NOT is_new OR jsonb_array_length(dependents) > 0) THEN
          refusal := jsonb_build_object('number', number, 'conflict', true, 'object', replacing->0->>'object',
            'message', conflict, 'others', others,
            'views', (SELECT coalesce(jsonb_agg('view ' || (e->>'name')), '[]') FROM jsonb_array_elements(dependents) AS e));
          EXIT steps;
        END IF;
        was := was || CASE WHEN is_new OR step->>'kind' = 'type' AND coalesce(object = old, false) THEN '[]' ELSE replacing END;
        FOR item IN SELECT e FROM jsonb_array_elements(dependents) AS e LOOP
          also := jsonb_build_array(jsonb_build_array('pg_class'::regclass::oid::bigint, (item->>'oid')::bigint));
          EXECUTE q->>'belongings' INTO belongings USING 'pg_class'::regclass::oid, (item->>'oid')::oid;
          later := later || jsonb_build_object('statement', item->>'create') || belongings;
        END LOOP;
        EXECUTE q->>'belongings' INTO belongings USING class, object;
        IF is_new THEN
          EXECUTE q->>'indexes' INTO indexes USING old;
          IF (step->>'ready')::boolean AND mode = 'apply' THEN
            EXECUTE q->>'indexes' INTO now_there USING to_regclass(built)::oid;
            IF (SELECT array_agg(concat(step->>'built', ' ', e->>'oid', e->>'tail') ORDER BY 1)
                FROM jsonb_array_elements(indexes) AS e)
             IS DISTINCT FROM
             (SELECT array_agg(concat(e->>'name', e->>'tail') ORDER BY 1) FROM jsonb_array_elements(now_there) AS e) THEN
              RAISE EXCEPTION USING ERRCODE = '55006',
                MESSAGE = format('the indexes of %s have changed while its replacement was being built; run it again', name);
            END IF;
          ELSE
            PERFORM set_config('search_path', path, true);
            EXECUTE concat(step->>'head', built, step->>'body', CASE WHEN mode = 'compare' THEN ' WITH NO DATA'
              WHEN (SELECT relispopulated FROM pg_class WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad');
            PERFORM set_config('search_path', 'pg_catalog', true);
            FOR item IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
              EXECUTE format('CREATE %sINDEX %I ON %s %s', CASE WHEN (item->>'unique')::boolean THEN 'UNIQUE ' END,
                concat(step->>'built', ' ', item->>'oid'), built, item->>'tail');
            END LOOP;
            since := clock_timestamp();
          END IF;
        END IF;
        PERFORM set_config('lock_timeout',
          greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text, true);
        FOR item IN SELECT e FROM jsonb_array_elements(dependents) WITH ORDINALITY AS a (e, n) ORDER BY n DESC LOOP
          EXECUTE format('DROP VIEW %s', item->>'name');
        END LOOP;
        IF is_new THEN
          EXECUTE format('DROP MATERIALIZED VIEW %s', name);
          EXECUTE format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built);
          EXECUTE format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name');
          FOR item IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
            one := quote_ident(space) || '.';
            EXECUTE format('ALTER INDEX %s%I RENAME TO %I', one, concat(step->>'built', ' ', item->>'oid'), item->>'name');
            IF item->>'comment' IS NOT NULL THEN
              EXECUTE format('COMMENT ON INDEX %s%I IS %L', one, item->>'name', item->>'comment');
            END IF;
            IF (item->>'clustered')::boolean THEN
              EXECUTE format('ALTER MATERIALIZED VIEW %s CLUSTER ON %I', name, item->>'name');
            END IF;
          END LOOP;
          later := belongings || later;
        ELSE
          EXECUTE format('DROP %s %s', CASE WHEN class = 'pg_proc'::regclass THEN 'ROUTINE'
            WHEN class = 'pg_type'::regclass THEN 'TYPE' ELSE 'VIEW' END, replacing->0->>'address');
          later := belongings || later;
          repeat_script := true;
        END IF;
        conflict := NULL; also := named;
        IF is_new THEN  -- before the rest of the script, which has the last word
          FOR entry IN SELECT e FROM jsonb_array_elements(later) AS e LOOP
            EXECUTE q->>'oid' INTO object USING entry;
            IF (entry->>'revoke')::boolean THEN
              EXECUTE q->>'revokes' INTO one USING (entry->>'classid')::oid, object;
            ELSIF entry->>'column' IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = object
                AND attname = entry->>'column' AND NOT attisdropped) THEN
              one := entry->>'statement';
            ELSE
              one := NULL;
            END IF;
            IF one IS NOT NULL THEN
              EXECUTE format('/* vtchat.maintenance %s */', number) || one;
            END IF;
          END LOOP;
          later := '[]';
        END IF;
      END IF;

      after := '[]'; before := '[]'; lowest := NULL; changed_rows := NULL;
      BEGIN
        EXECUTE q->>'own' INTO own;
        PERFORM set_config('search_path', path, true);
        EXECUTE script;
        PERFORM set_config('search_path', 'pg_catalog', true);
        EXECUTE q->>'rows' INTO changed_rows;
        EXECUTE q->>'own' INTO numbers;
        SELECT min(n) INTO lowest FROM unnest(numbers) AS n WHERE n <> ALL (own);
        IF lowest IS NOT NULL OR also <> '[]' THEN
          EXECUTE q->>'after' INTO after, numbers USING ARRAY[coalesce(lowest, 9223372036854775807)], also;
          numbers := array_remove(numbers || lowest, NULL);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'VM000';
      EXCEPTION
        WHEN SQLSTATE 'VM000' THEN
          NULL;
        WHEN invalid_function_definition OR invalid_table_definition THEN
          GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
          PERFORM set_config('search_path', path, true);
          IF SQLSTATE = '42P13' THEN
            class := 'pg_proc'::regclass;
            object := to_regprocedure(substring(hint FROM 'DROP (?:FUNCTION|PROCEDURE|AGGREGATE|ROUTINE) (.*\\))'));
          ELSE
            class := 'pg_class'::regclass;
            SELECT min(c.oid::bigint)::oid INTO object
            FROM jsonb_array_elements_text(step->'views') AS v JOIN pg_class AS c ON c.oid = to_regclass(v) AND c.relkind = 'v'
            HAVING count(*) = 1;
          END IF;
          PERFORM set_config('search_path', 'pg_catalog', true);
          IF object IS NULL OR tries > 9 THEN
            RAISE;
          END IF;
          conflict := message;
      END;
      CONTINUE attempt WHEN conflict IS NOT NULL;
      IF changed_rows IS NOT NULL AND mode = 'compare' THEN
        refusal := jsonb_build_object('number', number, 'message', format('it changes rows of %s: scripts define objects, '
          'and what they do to rows could not be repeated', changed_rows));
        EXIT steps;
      END IF;
      IF lowest IS NOT NULL OR also <> '[]' THEN
        pairs := also || (SELECT coalesce(jsonb_agg(jsonb_build_array(e->'classid', e->'objid')), '[]')
                 FROM jsonb_array_elements(after) AS e);
        EXECUTE q->>'before' INTO before, own USING numbers, pairs;
        -- What has only lost something, such as its comment, bears no new number: once more, with its name.
        SELECT coalesce(jsonb_agg(jsonb_build_array(e->'classid', e->'objid')), '[]') INTO pairs
        FROM jsonb_array_elements(before) AS e
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(after) AS a
                 WHERE a->'classid' = e->'classid' AND a->'objid' = e->'objid');
        IF pairs <> '[]' AND also = named THEN
          also := named || pairs;
          CONTINUE attempt;
        END IF;
      END IF;
      EXIT attempt;
    END LOOP;

    IF before IS DISTINCT FROM after THEN
      PERFORM set_config('search_path', path, true);
      EXECUTE final;
      PERFORM set_config('search_path', 'pg_catalog', true);
    END IF;
    FOR entry IN SELECT e FROM jsonb_array_elements(later) AS e LOOP
      EXECUTE q->>'oid' INTO object USING entry;
      IF (entry->>'revoke')::boolean THEN
        EXECUTE q->>'revokes' INTO one USING (entry->>'classid')::oid, object;
      ELSIF entry->>'column' IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = object
          AND attname = entry->>'column' AND NOT attisdropped) THEN
        one := entry->>'statement';
      ELSE
        one := NULL;
      END IF;
      IF one IS NOT NULL THEN
        EXECUTE format('/* vtchat.maintenance %s */', number) || one;
      END IF;
    END LOOP;
    IF repeat_script THEN  -- what the script says of privileges and comments has the last word
      script := CASE WHEN step->>'kind' = 'script' THEN script ELSE step->>'rest' END;
      PERFORM set_config('search_path', path, true);
      EXECUTE script;
      PERFORM set_config('search_path', 'pg_catalog', true);
    END IF;

    SELECT coalesce(jsonb_agg(x.pair), '[]') INTO found FROM (
      SELECT jsonb_build_object('number', number::int, 'before', b, 'after', a) AS pair
      FROM jsonb_array_elements(after) WITH ORDINALITY AS l (a, n)
      FULL JOIN jsonb_array_elements(before) WITH ORDINALITY AS r (b, m)
        ON a->'kind' = b->'kind' AND a->'object' = b->'object'
      WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(was) AS w
               WHERE w->'kind' = coalesce(a, b)->'kind' AND w->'address' = coalesce(a, b)->'address')
      ORDER BY n, m) AS x;
    FOR item IN SELECT e FROM jsonb_array_elements(was) AS e LOOP
      EXECUTE q->>'oid' INTO object USING item;
      also := jsonb_build_array(jsonb_build_array((item->>'classid')::bigint, object::bigint));
      EXECUTE q->>'after' INTO now_there, numbers USING ARRAY[9223372036854775807], also;
      found := jsonb_build_array(jsonb_build_object('number', number::int, 'before',
        CASE WHEN item ? 'absent' THEN 'null' ELSE item END, 'after', now_there->0)) || found;
    END LOOP;
    objects := objects || found;
  END LOOP;

  IF mode = 'compare' AND refusal IS NULL THEN
    -- What the indexes of views that do not exist yet will look like.
    FOR item IN SELECT e FROM jsonb_array_elements(input->'indexes') AS e LOOP
      PERFORM set_config('search_path', path, true);
      object := to_regclass(item->>'table');
      PERFORM set_config('search_path', 'pg_catalog', true);
      IF EXISTS (SELECT FROM jsonb_array_elements(objects) AS e WHERE e->>'before' IS NULL
             AND e->'after'->>'kind' = 'materialized view' AND to_regclass(e->'after'->>'address') = object) THEN
        PERFORM set_config('search_path', path, true);
        EXECUTE item->>'sql';
        PERFORM set_config('search_path', 'pg_catalog', true);
        SELECT future || jsonb_build_object('number', item->'number', 'object', format('%I.%I', n.nspname, c.relname),
          'definition', pg_get_indexdef(c.oid)) INTO future
        FROM pg_class AS t JOIN pg_class AS c ON c.relnamespace = t.relnamespace JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE t.oid = object AND c.relname = item->>'name';
      END IF;
    END LOOP;
  END IF;
  IF mode = 'compare' THEN
    IF refusal IS NULL AND NOT EXISTS (
          SELECT FROM jsonb_array_elements(objects) AS e, LATERAL (SELECT e->'after' AS a, e->'before' AS b) AS x
          WHERE a->'definition' IS DISTINCT FROM b->'definition'
          AND coalesce(a->>'kind', b->>'kind') ~ 'table$|^index$|^sequence$'
          OR coalesce(a->>'kind', b->>'kind') = 'other') THEN
      -- What the objects have that no script asks for: stripped of everything, what do the scripts give them?
      SELECT coalesce(jsonb_agg(DISTINCT p.pair), '[]') INTO pairs FROM (
        SELECT jsonb_build_array((a->>'classid')::bigint, CASE a->>'kind' WHEN 'type' THEN to_regtype(a->>'address')::oid
          WHEN 'view' THEN to_regclass(a->>'address')::oid WHEN 'materialized view' THEN to_regclass(a->>'address')::oid
          ELSE to_regprocedure(a->>'address')::oid END::bigint) AS pair
        FROM jsonb_array_elements(objects) AS e, LATERAL (SELECT e->'after' AS a) AS x
        WHERE a->>'kind' IN ('function', 'procedure', 'aggregate', 'view', 'materialized view', 'type')
        AND pg_has_role((a->>'owner')::name, 'USAGE')) AS p
      WHERE p.pair->>1 IS NOT NULL;
      EXECUTE q->>'after' INTO present, numbers USING ARRAY[9223372036854775807], pairs;
      BEGIN
        FOR item IN SELECT e FROM jsonb_array_elements(pairs) AS e LOOP
          EXECUTE q->>'revokes' INTO one USING (item->>0)::oid, (item->>1)::oid;
          IF one IS NOT NULL THEN
            EXECUTE one;
          END IF;
          EXECUTE q->>'bare' INTO one USING (item->>0)::oid, (item->>1)::oid;
          EXECUTE one;
        END LOOP;
        FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
          PERFORM set_config('search_path', path, true);
          script := CASE WHEN step->>'kind' = 'script' THEN step->>'text' ELSE step->>'rest' END;
          EXECUTE script;
          PERFORM set_config('search_path', 'pg_catalog', true);
        END LOOP;
        EXECUTE q->>'after' INTO asked, numbers USING ARRAY[9223372036854775807], pairs;
        RAISE EXCEPTION USING ERRCODE = 'VM000';
      EXCEPTION WHEN SQLSTATE 'VM000' THEN
        NULL;
      END;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'VM000';
  ELSIF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '55006',
      MESSAGE = format('the database has changed meanwhile (%s); run it again', refusal->>'message');
  END IF;
 EXCEPTION WHEN SQLSTATE 'VM000' THEN
  NULL;
 END;
 EXECUTE q->>'leftovers' INTO found;
 PERFORM set_config('vtchat_maintenance.result', jsonb_build_object('objects', objects, 'refusal', refusal, 'builds', builds,
   'present', present, 'asked', asked, 'future', future, 'leftovers', found)::text, false);
END
"""
