# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The query that describes objects in the server's own words, so that two states of one can be compared."""

from __future__ import annotations

from .catalog import MIGRATION, OBJECTS, PART_OF, RELATIONS, listed

# Columns that are no part of what an object is: they say where it is stored, are counted by the server, or are told elsewhere.
_IGNORED = (
    """
oid relname relnamespace reltype relowner relfilenode relpages reltuples relallvisible relallfrozen reltoastrelid relhasindex
relnatts relchecks relhasrules relhastriggers relhassubclass relispopulated relrewrite relfrozenxid relminmxid relacl reloptions
relam reltablespace relkind relisshared
attname atttypid attnum attcacheoff attlen attbyval attalign attndims atttypmod attnotnull attisdropped attacl attmissingval
atthasmissing atthasdef adnum
indrelid indnatts indnkeyatts indkey indclass indcollation indoption indcheckxmin indexprs indpred
rngmultitypid partdefid partclass partcollation partattrs
extconfig extcondition datfrozenxid datminmxid datcollversion datlastsysoid
""".split()
    + [column for _catalog, column in PART_OF.values()]
)
# Values that say nothing, as most columns of most objects have them.
_PLAIN = """
 '0', '-1', 'false', '', '{}', 'relpersistence=p', 'relreplident=d', 'relreplident=n', 'attislocal=true',
 'indisvalid=true', 'indisready=true', 'indislive=true', 'indimmediate=true', 'indisunique=true', 'indisprimary=true'
"""
# $1: [[classid, objid], ...]. <rows>: for each catalog that these are in or have parts in, a SELECT (see CATALOGS).
_TOUCHED = """touched AS (
    SELECT DISTINCT (p->>0)::oid AS classid, (p->>1)::oid AS objid FROM jsonb_array_elements($1) AS p
), raw (classid, objid, catalog, entry) AS MATERIALIZED (
    SELECT NULL::oid, NULL::oid, NULL::name, NULL::jsonb WHERE false<rows>
)"""

# All columns of these rows, with the names of what they point at.
_LINES = """known AS MATERIALIZED (
    SELECT fktable, fkcols[1] AS key, pktable FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1 AND NOT is_array
), lines AS (
    SELECT r.classid, r.objid, r.catalog, concat(
        CASE WHEN r.catalog = 'pg_attribute' THEN format('column %I: ', r.entry->>'attname')
             WHEN r.catalog = 'pg_attrdef' THEN (SELECT format('column %I: ', attname) FROM pg_attribute
                 WHERE attrelid = r.objid AND attnum = (r.entry->>'adnum')::int) END,
        string_agg(concat(x.key, ' ', x.value), ', ' ORDER BY x.key)) AS line
    FROM raw AS r, LATERAL (
        SELECT e.key, CASE WHEN f.pktable IS NULL OR e.value !~ '^[0-9]+$' THEN e.value WHEN e.value = '0' THEN NULL
            WHEN f.pktable = 'pg_authid'::regclass THEN pg_get_userbyid(e.value::oid)::text
            ELSE (pg_identify_object(f.pktable, e.value::oid, 0)).identity END AS value
        FROM jsonb_each_text(r.entry) AS e LEFT JOIN known AS f ON f.fktable = to_regclass(r.catalog::text) AND f.key = e.key
        WHERE e.key NOT IN ({ignored}) AND e.key !~ '^(fdw|srv|ft|attfdw)options$|acl$|owner$') AS x
    WHERE x.value NOT IN ({plain}) AND x.key || '=' || x.value NOT IN ({plain})
    GROUP BY r.classid, r.objid, r.catalog, r.entry
)"""

# By object: the lines, a digest of options that may be secret, owner and privileges.
_GENERIC = """generic AS (
    SELECT t.classid, t.objid,
           (SELECT string_agg(line, E'\\n' ORDER BY l.catalog, line) FROM lines AS l
            WHERE l.classid = t.classid AND l.objid = t.objid) AS lines,
           (SELECT md5(string_agg(e.value, ' ' ORDER BY r.catalog, e.value)) FROM raw AS r, jsonb_each_text(r.entry) AS e
            WHERE r.classid = t.classid AND r.objid = t.objid AND e.key ~ '^(fdw|srv|ft|attfdw)options$') AS hidden,
           o.owner, o.acl
    FROM touched AS t LEFT JOIN LATERAL (
        SELECT max(CASE WHEN e.key ~ 'owner$' THEN e.value END)::oid AS owner, (SELECT array_agg(item::aclitem) FROM
                   jsonb_array_elements_text(nullif(max(CASE WHEN e.key ~ 'acl$' THEN e.value END), '')::jsonb) AS item) AS acl
        FROM raw AS r, jsonb_each_text(r.entry) AS e WHERE r.classid = t.classid AND r.objid = t.objid
        AND to_regclass(r.catalog::text) = r.classid) AS o ON true
)"""

# Of aggregates the server prints no definition.
_FUNCTIONS = """SELECT o.classid, o.objid,
       CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       p.oid::regprocedure::text,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE concat_ws(E'\\n',
           'RETURNS ' || pg_get_function_result(p.oid), 'parallel ' || p.proparallel::text, g.lines) END,
       NULL::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), NULL::text
FROM touched AS o JOIN pg_proc AS p ON p.oid = o.objid JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN generic AS g ON g.classid = o.classid AND g.objid = o.objid
WHERE o.classid = 'pg_proc'::regclass"""

# Tables and the like can only lose or gain owner, privileges and comments: their columns tell whether more has changed.
_RELATIONS_OF_ALL_KINDS = """SELECT o.classid, o.objid,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                      WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'table' END,
       format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       CASE WHEN c.relkind IN ('v', 'm') THEN
                pg_get_viewdef(c.oid) || coalesce(E'\\nWITH (' || array_to_string(c.reloptions, ', ') || ')', '')
                || coalesce(E'\\nUSING ' || nullif(m.amname, 'heap'), '') || coalesce(E'\\nTABLESPACE ' || s.spcname, '')
                || coalesce(E'\\n' || (
                    SELECT string_agg(concat(pg_get_ruledef(r.oid), ' -- ' || nullif(r.ev_enabled, 'O')::text), E'\\n'
                                      ORDER BY r.rulename)
                    FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '')
            WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid)
            WHEN c.relkind <> 'S' THEN (
                SELECT concat_ws(E'\\n', string_agg(concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
                    CASE WHEN attnotnull THEN 'NOT NULL' END), E'\\n' ORDER BY attnum),
                    c.reloptions::text, 'USING ' || nullif(m.amname, 'heap'), 'TABLESPACE ' || s.spcname)
                FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) END,
       g.lines, c.relowner, CASE WHEN c.relkind NOT IN ('i', 'I') THEN
           coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) END,
       CASE c.relkind {relations} END
FROM touched AS o JOIN pg_class AS c ON c.oid = o.objid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN generic AS g ON g.classid = o.classid AND g.objid = o.objid
LEFT JOIN pg_am AS m ON m.oid = c.relam AND m.amtype = 't' LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace
WHERE o.classid = 'pg_class'::regclass AND c.relkind <> 't' AND n.nspname <> 'pg_toast'"""

# Types that are no part of another object.
_TYPES = """SELECT o.classid, o.objid, 'type', format('%I.%I', n.nspname, y.typname), format('%I.%I', n.nspname, y.typname),
       CASE y.typtype
            WHEN 'e' THEN (SELECT 'ENUM (' || coalesce(string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder), '')
                           || ')' FROM pg_enum WHERE enumtypid = y.oid)
            WHEN 'c' THEN (SELECT '(' || coalesce(string_agg(format('%I %s', attname, format_type(atttypid, atttypmod))
                               || CASE WHEN attcollation <> t.typcollation THEN ' COLLATE ' || attcollation::regcollation
                                  ELSE '' END, ', ' ORDER BY attnum), '') || ')'
                           FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
                           WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped)
            WHEN 'r' THEN 'RANGE ' || g.lines
            WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(y.typbasetype, y.typtypmod),
                (SELECT 'COLLATE ' || y.typcollation::regcollation FROM pg_type AS t
                 WHERE t.oid = y.typbasetype AND t.typcollation <> y.typcollation),
                'DEFAULT ' || y.typdefault, CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                (SELECT string_agg(pg_get_constraintdef(oid), ' ' ORDER BY pg_get_constraintdef(oid))
                 FROM pg_constraint WHERE contypid = y.oid AND contype = 'c')) END,
       (SELECT string_agg(format('constraint %I: %s', conname, pg_get_constraintdef(oid)), E'\\n' ORDER BY conname)
        FROM pg_constraint WHERE contypid = y.oid AND contype = 'c'),
       y.typowner, coalesce(y.typacl, acldefault('T', y.typowner)),
       CASE WHEN y.typtype NOT IN ('e', 'c', 'r', 'd') THEN '{migration}' END
FROM touched AS o JOIN pg_type AS y ON y.oid = o.objid JOIN pg_namespace AS n ON n.oid = y.typnamespace
JOIN generic AS g ON g.classid = o.classid AND g.objid = o.objid
LEFT JOIN pg_class AS r ON r.oid = y.typrelid
WHERE o.classid = 'pg_type'::regclass AND coalesce(r.relkind, 'c') = 'c' AND y.typtype <> 'm'"""

_SCHEMAS = """SELECT o.classid, o.objid, 'schema', quote_ident(n.nspname), quote_ident(n.nspname),
       'CREATE SCHEMA ' || quote_ident(n.nspname), NULL::text,
       n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)), NULL::text
FROM touched AS o JOIN pg_namespace AS n ON n.oid = o.objid WHERE o.classid = 'pg_namespace'::regclass"""

_TRIGGERS = """SELECT o.classid, o.objid, 'trigger', format('%I on %I.%I', g.tgname, n.nspname, c.relname), NULL::text,
       format('%s -- %s', pg_get_triggerdef(g.oid), g.tgenabled), NULL::text, c.relowner, NULL::aclitem[], NULL::text
FROM touched AS o JOIN pg_trigger AS g ON g.oid = o.objid JOIN pg_class AS c ON c.oid = g.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE o.classid = 'pg_trigger'::regclass AND NOT g.tgisinternal"""

# Rules of tables; those of views belong to the view.
_RULES = """SELECT o.classid, o.objid, 'rule', format('%I on %I.%I', w.rulename, n.nspname, c.relname), NULL::text,
       format('%s -- %s', pg_get_ruledef(w.oid), w.ev_enabled), NULL::text, c.relowner, NULL::aclitem[], NULL::text
FROM touched AS o JOIN pg_rewrite AS w ON w.oid = o.objid JOIN pg_class AS c ON c.oid = w.ev_class
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE o.classid = 'pg_rewrite'::regclass AND c.relkind NOT IN ('v', 'm')"""

# All other objects, by what their catalogs say.
_OTHERS = """SELECT o.classid, o.objid, i.type, i.identity, NULL::text, coalesce(g.lines, i.identity), NULL::text, g.owner,
       coalesce(g.acl, acldefault(l.letter, g.owner)), CASE o.classid {objects} ELSE '{migration}' END
FROM touched AS o JOIN generic AS g ON g.classid = o.classid AND g.objid = o.objid
LEFT JOIN (VALUES ('pg_language', 'l'::"char"), ('pg_foreign_data_wrapper', 'F'), ('pg_foreign_server', 'S'),
                  ('pg_database', 'd')) AS l (catalog, letter) ON to_regclass(l.catalog) = o.classid,
LATERAL pg_identify_object(o.classid, o.objid, 0) AS i
WHERE o.objid <> 0 AND i.identity IS NOT NULL AND o.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass,
    'pg_namespace'::regclass, 'pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_type'::regclass)"""

# What is said of all kinds.
#   definition  what the server prints, and all columns of catalogs for which it has no function
#   settings    what one may say of an object besides its definition; line by line
#   hidden      a digest of options that may be secret
#   place       None: a script may define such an object; otherwise where its definition belongs
_SHOWN = """shown AS (
    SELECT d.classid::bigint, d.objid::bigint, d.kind, d.object, d.address, d.definition, d.place, g.hidden,
       pg_get_userbyid(d.owner)::text AS owner,
       nullif(concat_ws(E'\\n', d.settings, (
           SELECT string_agg(concat(CASE p.deptype WHEN 'e' THEN 'of ' WHEN 'x' THEN 'depends on ' ELSE 'owned by ' END,
                                    (pg_identify_object(p.refclassid, p.refobjid, p.refobjsubid)).identity), E'\\n'
                             ORDER BY p.deptype, p.refobjid, p.refobjsubid)
           FROM pg_depend AS p WHERE p.classid = d.classid AND p.objid = d.objid AND p.objsubid = 0
           AND (p.deptype IN ('e', 'x') OR d.kind = 'sequence' AND p.deptype IN ('a', 'i') AND p.refobjsubid > 0))), '')
       AS settings,
       (SELECT jsonb_agg(concat(CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ' ',
                                a.privilege_type, ' (' || quote_ident(a.attname) || ')',
                                CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
                         ORDER BY a.attname NULLS FIRST, a.grantee = 0 DESC, pg_get_userbyid(a.grantee), a.privilege_type)
        FROM (SELECT NULL::name AS attname, e.* FROM aclexplode(d.acl) AS e
              UNION ALL SELECT t.attname, e.* FROM pg_attribute AS t, aclexplode(t.attacl) AS e
              WHERE d.classid = 'pg_class'::regclass AND t.attrelid = d.objid AND NOT t.attisdropped) AS a) AS privileges,
       (SELECT jsonb_agg(concat_ws(': ', quote_ident(t.attname), m.description) ORDER BY m.objsubid)
        FROM (SELECT classoid, objoid, objsubid, description FROM pg_description
              UNION ALL SELECT classoid, objoid, 0, description FROM pg_shdescription) AS m LEFT JOIN pg_attribute AS t
            ON m.classoid = 'pg_class'::regclass AND t.attrelid = m.objoid AND t.attnum = m.objsubid AND m.objsubid > 0
        WHERE m.classoid = d.classid AND m.objoid = d.objid) AS comments,
       (SELECT jsonb_agg(concat_ws(': ', quote_ident(t.attname), l.provider || ' ' || l.label) ORDER BY l.objsubid, l.provider)
        FROM (SELECT classoid, objoid, objsubid, provider, label FROM pg_seclabel
              UNION ALL SELECT classoid, objoid, 0, provider, label FROM pg_shseclabel) AS l LEFT JOIN pg_attribute AS t
            ON l.classoid = 'pg_class'::regclass AND t.attrelid = l.objoid AND t.attnum = l.objsubid AND l.objsubid > 0
        WHERE l.classoid = d.classid AND l.objoid = d.objid) AS labels
    FROM described AS d JOIN generic AS g ON g.classid = d.classid AND g.objid = d.objid
)"""


# By catalog. What is in none of these is described by what its own catalog says.
_KINDS = {
    "pg_proc": _FUNCTIONS,
    "pg_class": _RELATIONS_OF_ALL_KINDS,
    "pg_type": _TYPES,
    "pg_namespace": _SCHEMAS,
    "pg_trigger": _TRIGGERS,
    "pg_rewrite": _RULES,
    "others": _OTHERS,
}


def kinds() -> dict[str, str]:
    """What stands in the place of <kinds>, by catalog; "others" for all that have no entry."""
    objects = "".join(
        f" WHEN '{name}'::regclass THEN " + (f"'{place}'" if place else "NULL") for name, place in OBJECTS.items()
    )
    relations = "".join(f" WHEN '{letter}' THEN '{place}'" for letter, place in RELATIONS.items())
    places = {"{objects}": objects, "{relations}": relations, "{migration}": MIGRATION}
    return {catalog: _filled(query, places) for catalog, query in _KINDS.items()}


def describe() -> str:
    """The query that describes objects; the program puts <rows> and <kinds> in, for only what is asked for should be planned."""
    query = f"""
WITH {_TOUCHED}, {_LINES}, {_GENERIC},
described (classid, objid, kind, object, address, definition, settings, owner, acl, place) AS (
<kinds>
), {_SHOWN}
SELECT coalesce(jsonb_agg(to_jsonb(shown) ORDER BY kind, object), '[]') FROM shown
"""  # noqa: S608 - made of constants
    return _filled(query, {"{ignored}": listed(_IGNORED), "{plain}": _PLAIN})


def _filled(query: str, places: dict[str, str]) -> str:
    for place, text in places.items():
        query = query.replace(place, text)
    return query
