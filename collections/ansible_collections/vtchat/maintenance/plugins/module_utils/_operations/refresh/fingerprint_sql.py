# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""The one statement that reads everything that a fingerprint of materialized views is made of.

Each catalog is asked by its index, once for each object: the subqueries are correlated and fenced (OFFSET 0), so that the
planner cannot choose to read a whole catalog for each view, whatever it believes about its size. Each stored query is
taken apart once, however many views stand on it. The counters are read after the look at the other sessions: what one of
them reports and then ends in between would be in neither. Hence the conditions on look.now, which is never null.

The relations below come from pg_depend, which has an index; it leaves out what PostgreSQL itself brings, so what the
stored queries name is compared with it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.server import Server
from . import sessions

BTREE, HASH = 403, 405  # pg_am.oid

# A stored query is a text like ({QUERY :commandType 1 ... :targetList ({TARGETENTRY :expr {VAR :varno 1 ...}}): nodes with a
# label, fields with a value. It is split before each field, which is cheap, so that each piece begins with a field and may
# end with the label of the node that comes next. Strings of users cannot look like either: blanks and braces are escaped.
LABEL = r"(?:^|[ (])\{([A-Z_]+)$"
FIELD = (
    r"^(opno|opnos|funcid|aggfnoid|winfnoid|eqop|sortop|startInRangeFunc|endInRangeFunc|cycle_mark_neop|relid|rtekind|varattno"
    r"|\w*[tT]ype(?:[iI]d)?|\w*[cC]oll\w*) (-?\d+|\(o [\d ]+\))(?![^\s})])"
)

# A conversion through text: the type of its argument where that is known to stand first, or the type of its result.
CONVERSION = (
    r"\{COERCEVIAIO :arg \{(?:VAR :varno \S+ :varattno \S+ :vartype|CONST :consttype|CASETESTEXPR :typeId"
    r"|OPEXPR :opno \d+ :opfuncid \d+ :opresulttype|FUNCEXPR :funcid \d+ :funcresulttype|AGGREF :aggfnoid \d+ :aggtype"
    r"|WINDOWFUNC :winfnoid \d+ :wintype|CASEEXPR :casetype|COALESCEEXPR :coalescetype) (\d+)"
    r"|:resulttype (\d+) :resultcollid \d+ :coerceformat"
)

# Which relation reads which. how: rule, or inheritance (partitions too). A materialized view below counts as a table.
EDGES = """
edge (parent, child, kind, how) AS (
    SELECT NULL::oid, oid, 'v', 'asked' FROM target WHERE kind = 'm'
    UNION
    SELECT edge.child, c.oid, c.relkind::text, below.how
    FROM edge CROSS JOIN LATERAL (
        SELECT d.refobjid AS oid, 'rule' AS how
        FROM pg_catalog.pg_rewrite AS r CROSS JOIN LATERAL (
            SELECT refobjid FROM pg_catalog.pg_depend
            WHERE classid = 'pg_catalog.pg_rewrite'::regclass AND objid = r.oid AND refclassid = 'pg_catalog.pg_class'::regclass
                AND refobjid <> edge.child OFFSET 0) AS d
        WHERE r.ev_class = edge.child AND r.ev_type = '1' AND edge.kind = 'v'
        UNION ALL
        SELECT inhrelid, CASE WHEN inhdetachpending THEN 'detaching' ELSE 'inheritance' END
        FROM pg_catalog.pg_inherits WHERE inhparent = edge.child
        OFFSET 0
    ) AS below CROSS JOIN LATERAL (
        SELECT oid, relkind FROM pg_catalog.pg_class WHERE pg_class.oid = below.oid OFFSET 0) AS c
),
member AS MATERIALIZED (SELECT child AS oid, bool_or(kind = 'v') AS unfolds FROM edge GROUP BY child)"""

# Stored queries, and the expressions of virtual columns, which a query that reads them gets in their place.
NODES = """
tree AS MATERIALIZED (
    SELECT member.oid AS relid, r.ev_action::text AS nodes
    FROM member CROSS JOIN LATERAL (
        SELECT ev_action FROM pg_catalog.pg_rewrite WHERE ev_class = member.oid AND ev_type = '1' OFFSET 0) AS r
    WHERE member.unfolds
    UNION ALL
    SELECT member.oid, d.adbin::text
    FROM member CROSS JOIN LATERAL (
        SELECT adnum, adbin FROM pg_catalog.pg_attrdef WHERE adrelid = member.oid OFFSET 0) AS d
    WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = member.oid AND a.attnum = d.adnum AND a.attgenerated = 'v' OFFSET 0)
),
word AS MATERIALIZED (
    SELECT relid, word, count(*) AS times
    FROM tree CROSS JOIN LATERAL pg_catalog.string_to_table(nodes, ' :') AS word GROUP BY relid, word
),
meaning AS MATERIALIZED (
    SELECT (pg_catalog.regexp_match(word, '{label}'))[1] AS label, (pg_catalog.regexp_match(word, '{field}'))[1] AS field,
           (pg_catalog.regexp_match(word, '{field}'))[2] AS value, json_agg(json_build_array(relid::bigint, times)) AS trees
    FROM word GROUP BY word HAVING word ~ '{label}' OR word ~ '{field}'
),
piece AS MATERIALIZED (
    SELECT DISTINCT field, value, field ~ '[cC]oll' AS is_collation, field ~ '[tT]ype' AS is_type
    FROM meaning WHERE field IS NOT NULL
),
conversion AS MATERIALIZED (
    SELECT relid, found[1]::oid AS source, found[2]::oid AS result, count(*) AS times
    FROM tree CROSS JOIN LATERAL pg_catalog.regexp_matches(nodes, '{conversion}', 'g') AS found
    WHERE position('COERCEVIAIO' IN nodes) > 0 GROUP BY 1, 2, 3
)"""

# What the pieces name.
NAMED = """
owner AS MATERIALIZED (SELECT DISTINCT owner FROM target WHERE kind = 'm'),
used_operator AS MATERIALIZED (
    SELECT o.oid, o.oprcode::oid AS function
    FROM (SELECT DISTINCT found[1]::oid AS oid
          FROM piece CROSS JOIN LATERAL pg_catalog.regexp_matches(value, '\\d+', 'g') AS found
          WHERE field IN ('opno', 'opnos', 'eqop', 'sortop', 'cycle_mark_neop') OFFSET 0) AS used
        CROSS JOIN LATERAL (SELECT oid, oprcode FROM pg_catalog.pg_operator WHERE oid = used.oid OFFSET 0) AS o
),
used_function AS MATERIALIZED (
    SELECT value::oid AS oid FROM piece
    WHERE field IN ('funcid', 'aggfnoid', 'winfnoid', 'startInRangeFunc', 'endInRangeFunc') AND value <> '0'
    UNION SELECT function FROM used_operator
),
used_type (oid, part) AS (
    SELECT NULL::oid, value::oid FROM piece WHERE is_type AND value ~ '^\\d+$' AND value::bigint >= 16384
    UNION
    SELECT used_type.part, below.part
    FROM used_type CROSS JOIN LATERAL (
        SELECT unnest(ARRAY[typbasetype, typelem]) AS part FROM pg_catalog.pg_type WHERE oid = used_type.part
        UNION ALL
        SELECT a.atttypid
        FROM (SELECT typrelid FROM pg_catalog.pg_type WHERE oid = used_type.part OFFSET 0) AS t CROSS JOIN LATERAL (
            SELECT atttypid FROM pg_catalog.pg_attribute
            WHERE attrelid = t.typrelid AND t.typrelid <> 0 AND attnum > 0 AND NOT attisdropped OFFSET 0) AS a
        UNION ALL
        SELECT rngsubtype FROM pg_catalog.pg_range WHERE rngtypid = used_type.part
        UNION ALL
        SELECT rngtypid FROM pg_catalog.pg_range WHERE rngmultitypid = used_type.part
        OFFSET 0
    ) AS below
    WHERE below.part >= 16384
),
used_collation AS MATERIALIZED (
    SELECT DISTINCT found[1]::oid AS oid
    FROM (SELECT value FROM piece WHERE is_collation OFFSET 0) AS used
        CROSS JOIN LATERAL pg_catalog.regexp_matches(value, '\\d+', 'g') AS found
    WHERE found[1] <> '0'
)"""

# Storage and counters of a relation. Never null, but known only after the look.
COUNTERS = """
CASE WHEN look.now IS NOT NULL THEN json_build_array(pg_catalog.pg_relation_filenode({0})::bigint,
    pg_catalog.pg_stat_get_tuples_inserted({0}), pg_catalog.pg_stat_get_tuples_updated({0}),
    pg_catalog.pg_stat_get_tuples_deleted({0})) END"""

TARGET_FACTS = """
(SELECT json_agg(json_build_object(
    'oid', t.oid::bigint, 'schema_name', t.schema_name, 'name', t.name, 'kind', t.kind, 'owner', t.owner,
    'may_maintain', t.may_maintain, 'may_use_schema', t.may_use_schema, 'populated', c.relispopulated,
    'owner_uses_schema', pg_catalog.has_schema_privilege(c.relowner, c.relnamespace, 'USAGE'),
    'owner_makes_temporary', pg_catalog.has_database_privilege(c.relowner, {database}, 'TEMPORARY'),
    'unique_index', EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
            AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (SELECT relam FROM pg_catalog.pg_class WHERE oid = i.indexrelid) = {btree})) ORDER BY t.position)
 FROM target AS t LEFT JOIN LATERAL (
    SELECT relispopulated, relowner, relnamespace FROM pg_catalog.pg_class WHERE oid = t.oid OFFSET 0) AS c ON true)"""

EDGE_FACTS = """
(SELECT json_agg(json_build_array(edge.parent::bigint, edge.child::bigint, edge.how,
    edge.how <> 'rule' OR (SELECT pg_catalog.has_table_privilege(relowner, edge.child, 'SELECT')
        OR pg_catalog.has_any_column_privilege(relowner, edge.child, 'SELECT')
        OR 'security_invoker=true' = ANY (reloptions) FROM pg_catalog.pg_class WHERE oid = edge.parent)))
 FROM edge WHERE parent IS NOT NULL)"""

RELATION_FACTS = """
(SELECT json_agg(json_build_object(
    'oid', r.oid::bigint, 'schema', (SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = r.relnamespace),
    'name', r.relname, 'kind', r.relkind, 'heap', r.relam = 2, 'row_security', r.relrowsecurity,
    'owner', pg_catalog.pg_get_userbyid(r.relowner), 'version', r.xmin::text,
    'form', pg_catalog.hashtextextended(concat_ws(' ', r.relkind, r.relpersistence, r.relforcerowsecurity, (
        SELECT string_agg(concat_ws(' ', attnum, atttypid, attcollation, attisdropped, attgenerated), ',' ORDER BY attnum)
        FROM pg_catalog.pg_attribute WHERE attrelid = r.oid AND attnum > 0)), 0)::text,
    'counters', {counters}))
 FROM look CROSS JOIN member CROSS JOIN LATERAL (
    SELECT c.*, c.xmin FROM pg_catalog.pg_class AS c WHERE c.oid = member.oid OFFSET 0) AS r)"""

TREE_FACTS = """
(SELECT json_agg(json_build_array(relid::bigint, hash)) FROM (
    SELECT relid, pg_catalog.hashtextextended(string_agg(nodes, ' ' ORDER BY nodes COLLATE "C"), 0)::text AS hash
    FROM tree GROUP BY relid) AS t) AS trees,
(SELECT json_agg(json_build_array(label, field, value, trees)) FROM meaning) AS pieces,
(SELECT json_agg(json_build_array(relid::bigint, source::bigint, result::bigint, times)) FROM conversion) AS conversions"""

# plain: a function that PostgreSQL itself brings, as it came. barred: owners of the views who may not execute it.
FUNCTION_FACTS = """
(SELECT json_agg(json_build_object(
    'oid', p.oid::bigint, 'name', p.proname, 'call', p.oid::regprocedure::text, 'version', p.xmin::text,
    'plain', p.provolatile = 'i' AND p.prolang IN (12, 14) AND p.proconfig IS NULL,
    'keeps_path', EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search\\_path=%'),
    'barred', (SELECT json_agg(owner) FROM owner WHERE NOT pg_catalog.has_function_privilege(owner, p.oid, 'EXECUTE'))))
 FROM used_function CROSS JOIN LATERAL (
    SELECT f.*, f.xmin FROM pg_catalog.pg_proc AS f WHERE f.oid = used_function.oid OFFSET 0) AS p)"""

# own: a base type of a user's, or a range with rules of its own, which brings functions of its own.
TYPE_FACTS = """
(SELECT json_agg(json_build_object(
    'oid', t.oid::bigint, 'name', t.oid::regtype::text, 'enum', t.typtype = 'e',
    'parts', (SELECT json_agg(part::bigint) FROM used_type AS below WHERE below.oid = t.oid),
    'own', t.typtype = 'b' AND t.typsubscript <> 'pg_catalog.array_subscript_handler'::regproc
        OR EXISTS (SELECT FROM pg_catalog.pg_range WHERE rngtypid = t.oid
                   AND (rngsubopc >= 16384 OR rngcanonical::oid >= 16384 OR rngcollation <> 0)),
    'form', pg_catalog.hashtextextended(concat_ws(' ', t.typtype, t.typbasetype, t.typelem, t.typrelid, (
        SELECT string_agg(concat_ws(' ', oid, enumlabel), ',' ORDER BY enumsortorder) FROM pg_catalog.pg_enum
        WHERE enumtypid = t.oid), (
        SELECT string_agg(concat_ws(' ', attnum, atttypid, attcollation, attisdropped), ',' ORDER BY attnum)
        FROM pg_catalog.pg_attribute WHERE attrelid = t.typrelid AND t.typrelid <> 0 AND attnum > 0)), 0)::text))
 FROM (SELECT DISTINCT part FROM used_type) AS used CROSS JOIN LATERAL (
    SELECT * FROM pg_catalog.pg_type WHERE pg_type.oid = used.part OFFSET 0) AS t)"""

COLLATION_FACTS = """
(SELECT json_agg(json_build_array(c.oid::bigint, concat_ws(' ', c.xmin, c.collname, c.collprovider, c.collversion,
    pg_catalog.pg_collation_actual_version(c.oid))))
 FROM used_collation CROSS JOIN LATERAL (
    SELECT l.*, l.xmin FROM pg_catalog.pg_collation AS l WHERE l.oid = used_collation.oid OFFSET 0) AS c)"""

# What the queries name and pg_depend leaves out.
CATALOG_FACTS = """
(SELECT json_agg(json_build_array(
    c.oid::bigint, (SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = c.relnamespace), c.relname))
 FROM (SELECT DISTINCT value::oid AS oid FROM piece WHERE field = 'relid' AND value::bigint BETWEEN 1 AND 16383 OFFSET 0) AS used
    CROSS JOIN LATERAL (
    SELECT oid, relname, relnamespace FROM pg_catalog.pg_class WHERE pg_class.oid = used.oid OFFSET 0) AS c)"""

# The default collation is the database's.
DATABASE_FACTS = """
(SELECT concat_ws(' ', xmin, datcollate, datctype, to_json(d) ->> 'datcollversion',
                  pg_catalog.pg_collation_actual_version('pg_catalog.default'::regcollation))
 FROM (SELECT d.*, d.xmin FROM pg_catalog.pg_database AS d WHERE d.oid = {database}) AS d)"""

# When counting began anew, and what may have stopped it since. The settings of roles and databases leave no trace when
# they are taken back but the counters of their own catalog.
SINCE = """
CASE WHEN look.now IS NOT NULL THEN json_build_object(
    'began', json_build_array(
        extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text,
        extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text,
        coalesce(extract(epoch FROM pg_catalog.pg_stat_get_db_stat_reset_time({database}))::text, ''),
        coalesce(extract(epoch FROM pg_catalog.pg_stat_get_db_stat_reset_time(0))::text, '')),
    'loaded', extract(epoch FROM pg_catalog.pg_conf_load_time())::text,
    'settings', json_build_array((
            SELECT coalesce(string_agg(concat_ws(' ', setrole, setdatabase, s.xmin), ',' ORDER BY setrole, setdatabase), '')
            FROM pg_catalog.pg_db_role_setting AS s WHERE setdatabase IN (0, {database})),
        (SELECT count(*) FROM pg_catalog.pg_db_role_setting),
        pg_catalog.pg_stat_get_tuples_inserted('pg_catalog.pg_db_role_setting'::regclass),
        pg_catalog.pg_stat_get_tuples_deleted('pg_catalog.pg_db_role_setting'::regclass))) END"""

# Who is told not to count; who made operators of PostgreSQL members of classes of his own, which the server may then use.
UNCOUNTED = """
(EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
         WHERE setdatabase IN (0, {database}) AND setting LIKE 'track\\_counts=%' AND setting <> 'track_counts=on')
 OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proconfig IS NOT NULL AND proconfig::text ~ 'track_counts='))"""

FOREIGN_CLASSES = """
(EXISTS (SELECT FROM pg_catalog.pg_amop WHERE amopfamily >= 16384 AND amopopr < 16384 AND amopmethod IN ({btree}, {hash}))
 OR EXISTS (SELECT FROM pg_catalog.pg_opclass
            WHERE oid >= 16384 AND opcdefault AND opcintype < 16384 AND opcmethod IN ({btree}, {hash})))"""

STATEMENT = """
WITH RECURSIVE {targets}, {sessions}, {edges}, {nodes}, {named}
SELECT look.now, look.sessions, {target_facts} AS targets, {edge_facts} AS edges, {relation_facts} AS relations,
       {tree_facts}, {function_facts} AS functions, {type_facts} AS types, {collation_facts} AS collations,
       (SELECT json_agg(json_build_array(oid::bigint, function::bigint)) FROM used_operator) AS operators,
       {catalog_facts} AS catalogs,
       {database_facts} AS locale, {since} AS since, {uncounted} AS uncounted, {foreign_classes} AS foreign_classes,
       current_setting('gin_fuzzy_search_limit') <> '0' AS fuzzy
FROM look
"""


def statement(server: Server, names: Sequence[str]) -> sql.Composed:
    """The statement for these views; one row, with the columns of STATEMENT."""
    database = sql.Literal(server.database_oid)
    parts = {
        "targets": catalog.targets(server, names),
        "sessions": sessions.ctes(server.database_oid),
        "edges": sql.SQL(EDGES),
        "nodes": sql.SQL(NODES.replace("{label}", LABEL).replace("{field}", FIELD).replace("{conversion}", CONVERSION)),
        "named": sql.SQL(NAMED),
        "target_facts": sql.SQL(TARGET_FACTS).format(database=database, btree=sql.Literal(BTREE)),
        "edge_facts": sql.SQL(EDGE_FACTS),
        "relation_facts": sql.SQL(RELATION_FACTS).format(counters=sql.SQL(COUNTERS).format(sql.SQL("r.oid"))),
        "tree_facts": sql.SQL(TREE_FACTS),
        "function_facts": sql.SQL(FUNCTION_FACTS),
        "type_facts": sql.SQL(TYPE_FACTS),
        "collation_facts": sql.SQL(COLLATION_FACTS),
        "catalog_facts": sql.SQL(CATALOG_FACTS),
        "database_facts": sql.SQL(DATABASE_FACTS).format(database=database),
        "since": sql.SQL(SINCE).format(database=database),
        "uncounted": sql.SQL(UNCOUNTED).format(database=database),
        "foreign_classes": sql.SQL(FOREIGN_CLASSES).format(btree=sql.Literal(BTREE), hash=sql.Literal(HASH)),
    }
    return sql.SQL(STATEMENT).format(**parts)
