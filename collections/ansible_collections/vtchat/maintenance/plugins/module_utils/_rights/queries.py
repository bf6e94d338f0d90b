# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is asked about a role and about what it can have rights on. The oid 0 stands for a role that does not exist yet."""

from __future__ import annotations

ROLE = """
SELECT r.oid::bigint AS oid, r.rolcanlogin AS login, r.rolinherit AS inherit, r.rolsuper AS superuser, r.rolcreatedb AS createdb,
       r.rolcreaterole AS createrole, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
       r.rolconnlimit AS connection_limit, me.rolsuper AS admin_super, me.rolcreaterole AS admin_creates,
       me.rolbypassrls AS admin_bypassrls,
       coalesce(pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'), false) AS admin_of,
       coalesce(pg_catalog.pg_has_role(r.oid, {act_as}), false) AS admin_acts_as,
       coalesce(pg_catalog.pg_has_role(r.oid, me.oid, 'MEMBER'), false) AS member_of_admin,
       pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS sees_verifiers
FROM pg_catalog.pg_roles AS me LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = {role}
WHERE me.rolname = current_user
"""

STORED = "SELECT rolpassword AS stored FROM pg_catalog.pg_authid WHERE oid = {oid}"

ITERATIONS = "SELECT coalesce(current_setting('scram_iterations', true), '4096')::int AS iterations"

# One row per relation: those named, and the parts of partitioned tables. A role that does not exist yet has what PUBLIC has.
RELATIONS = """
WITH RECURSIVE {targets},
tree (position, oid) AS (
    SELECT position, oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT t.position, i.inhrelid FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind IN ('p', 'I')
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT w.position, w.oid IS NULL AS missing, c.oid IS NOT DISTINCT FROM w.oid AS root, c.oid::bigint AS oid,
       n.nspname::text AS schema_name, c.relname::text AS name, c.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, w.may_maintain, c.relrowsecurity AS row_security,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
       ARRAY(SELECT p FROM unnest({privileges}) AS p WHERE pg_catalog.has_table_privilege({oid}::oid, c.oid, p)) AS held,
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS a
             WHERE a.grantee IN (0, {oid})) AS direct,
       ARRAY(SELECT p FROM unnest({privileges}) AS p
             WHERE pg_catalog.has_table_privilege(c.oid, p || ' WITH GRANT OPTION')) AS grantable,
       pg_catalog.has_any_column_privilege({oid}::oid, c.oid, 'UPDATE') AS updates,
       EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) AS a
               WHERE a.grantee = {oid} AND a.privilege_type = 'UPDATE') AS updates_table,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a, LATERAL pg_catalog.aclexplode(a.attacl) AS e
             WHERE a.attrelid = c.oid AND e.grantee IN (0, {oid}) AND e.privilege_type = 'UPDATE') AS updates_columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM target AS w LEFT JOIN tree AS t ON t.position = w.position LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY w.position, root DESC, n.nspname, c.relname
"""

# What patterns choose now.
CHOSEN = """
WITH {by_pattern}
SELECT n.nspname::text AS schema_name, c.relname::text AS name FROM by_pattern AS x
JOIN pg_catalog.pg_class AS c ON c.oid = x.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace ORDER BY 1, 2
"""

# Tables whose rows hold rows of these tables and of those that go with them, by ON DELETE CASCADE, and the tables on the way.
HOLDERS = """
WITH RECURSIVE {targets},
part (oid) AS (
    SELECT oid FROM target WHERE oid IS NOT NULL
    UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent = part.oid
),
way (oid, passed) AS (
    SELECT oid, '{{}}'::oid[] FROM part
    UNION ALL
    SELECT k.conrelid, way.passed || k.conrelid FROM way JOIN pg_catalog.pg_constraint AS k ON k.confrelid = way.oid
    WHERE k.contype = 'f' AND k.confdeltype = 'c' AND k.conparentid = 0 AND k.conrelid <> ALL (way.passed)
)
SELECT DISTINCT n.nspname::text AS schema_name, c.relname::text AS name
FROM way JOIN pg_catalog.pg_constraint AS k ON k.confrelid = way.oid AND k.contype = 'f' AND k.confdeltype IN ('a', 'r')
CROSS JOIN LATERAL pg_catalog.unnest(way.passed || k.conrelid) AS x (oid)
JOIN pg_catalog.pg_class AS c ON c.oid = x.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT c.relispartition OR NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS up WHERE up.oid = k.conparentid)
ORDER BY 1, 2
"""

PLACES = """
SELECT 'SCHEMA' AS kind, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
       ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'CREATE']) AS p
             WHERE pg_catalog.has_schema_privilege({oid}::oid, n.oid, p)) AS held,
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
             WHERE a.grantee IN (0, {oid})) AS direct,
       ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'CREATE']) AS p
             WHERE pg_catalog.has_schema_privilege(n.oid, p || ' WITH GRANT OPTION')) AS grantable,
       ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY ({owners})
             AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')) AS creators
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ANY ({schemas})
UNION ALL
SELECT 'DATABASE', d.datname::text, pg_catalog.pg_get_userbyid(d.datdba)::text,
       ARRAY(SELECT p FROM unnest(ARRAY['CONNECT']) AS p WHERE pg_catalog.has_database_privilege({oid}::oid, d.oid, p)),
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
             WHERE a.grantee IN (0, {oid})),
       ARRAY(SELECT p FROM unnest(ARRAY['CONNECT']) AS p
             WHERE pg_catalog.has_database_privilege(d.oid, p || ' WITH GRANT OPTION')), '{{}}'
FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""

# Functions that belong to an extension. types: of their arguments, as GRANT wants them.
FUNCTIONS = """
SELECT n.nspname::text AS schema_name, p.proname::text AS name, pg_catalog.oidvectortypes(p.proargtypes) AS types,
       pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
       pg_catalog.has_function_privilege({oid}::oid, p.oid, 'EXECUTE') AS held,
       EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
               WHERE a.grantee IN (0, {oid}) AND a.privilege_type = 'EXECUTE') AS direct,
       pg_catalog.has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION') AS grantable
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE e.extname = {extension} AND p.proname = ANY ({names}) ORDER BY p.proname, p.pronargs
"""

MEMBERSHIPS = """
SELECT g.rolname::text AS name, g.rolsuper AS superuser,
       {oid} <> 0 AND pg_catalog.pg_has_role({oid}::oid, g.oid, 'USAGE') AS held,
       EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m WHERE m.roleid = g.oid AND m.member = {oid}
               AND coalesce((to_jsonb(m) ->> 'inherit_option')::bool, {inherit})) AS direct,
       {oid} <> 0 AND pg_catalog.pg_has_role({oid}::oid, g.oid, {act_as}) AS becomes,
       pg_catalog.pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION') AS admin_of,
       {oid} <> 0 AND NOT g.rolsuper AND pg_catalog.pg_has_role(g.oid, {oid}::oid, 'MEMBER') AS circular
FROM pg_catalog.pg_roles AS g WHERE g.rolname = ANY ({names})
"""

# Everything that was given to the role itself in this database, and the roles it is a member of. regular: whether
# a plain REVOKE by the owner takes it away, which is not so for what somebody with the grant option gave.
GIVEN = """
SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, n.nspname::text AS schema, c.relname::text AS name,
       '' AS part, a.privilege_type AS privilege, a.is_grantable AS option,
       pg_catalog.pg_get_userbyid(a.grantor)::text AS grantor,
       a.grantor = c.relowner AND pg_catalog.pg_has_role(c.relowner, 'USAGE') AS may
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
     LATERAL pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee = {oid} AND c.relowner <> {oid}
UNION ALL
SELECT 'COLUMN', n.nspname, c.relname, t.attname, a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = c.relowner AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_attribute AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
     LATERAL pg_catalog.aclexplode(t.attacl) AS a WHERE a.grantee = {oid} AND c.relowner <> {oid}
UNION ALL
SELECT 'SCHEMA', '', n.nspname, '', a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = n.nspowner AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
FROM pg_catalog.pg_namespace AS n, LATERAL pg_catalog.aclexplode(n.nspacl) AS a WHERE a.grantee = {oid} AND n.nspowner <> {oid}
UNION ALL
SELECT 'DATABASE', '', d.datname, '', a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = d.datdba AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
FROM pg_catalog.pg_database AS d, LATERAL pg_catalog.aclexplode(d.datacl) AS a
WHERE d.datname = pg_catalog.current_database() AND a.grantee = {oid} AND d.datdba <> {oid}
UNION ALL
SELECT 'ROUTINE', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes), a.privilege_type, a.is_grantable,
       pg_catalog.pg_get_userbyid(a.grantor), a.grantor = p.proowner AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace,
     LATERAL pg_catalog.aclexplode(p.proacl) AS a WHERE a.grantee = {oid} AND p.proowner <> {oid}
UNION ALL
SELECT 'ROLE', '', g.rolname, coalesce(to_jsonb(m) ->> 'set_option', ''), 'MEMBER', m.admin_option,
       pg_catalog.pg_get_userbyid(m.grantor), CASE WHEN current_setting('server_version_num')::int >= 160000
           THEN pg_catalog.pg_has_role(m.grantor, 'USAGE') ELSE pg_catalog.pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION')
               OR (NOT g.rolsuper AND (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user)) END
FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid WHERE m.member = {oid}
ORDER BY 1, 2, 3, 4, 5, 7
"""

# What it owns outside the history, and what it was given of kinds that nothing here needs.
OTHER = """
SELECT CASE d.deptype WHEN 'o' THEN 'owns ' WHEN 'r' THEN 'is named by ' ELSE 'has privileges on ' END
       || pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS what
FROM pg_catalog.pg_shdepend AS d
LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = {oid} AND d.deptype IN ('o', 'a', 'r')
AND (d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
     OR d.dbid = 0 AND d.deptype = 'o' AND d.classid = 'pg_catalog.pg_database'::regclass
     AND d.objid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
AND NOT (d.deptype = 'a' AND d.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_namespace'::regclass,
                                           'pg_catalog.pg_proc'::regclass))
AND c.relnamespace IS DISTINCT FROM (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {history})
AND NOT (d.classid = 'pg_catalog.pg_namespace'::regclass
         AND d.objid = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {history}))
ORDER BY 1
"""
