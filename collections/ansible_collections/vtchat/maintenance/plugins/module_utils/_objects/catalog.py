# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a script wrote in the catalogs, all of them, and how the objects are described that the rows belong to.

Nothing here is a list of commands. The server says which catalogs were written, which rows, and which object a row is a
part of (pg_get_catalog_foreign_keys()); what is not known here, such as a catalog of a later release, is refused.
All of it runs with our own search_path, so every name outside pg_catalog is printed with its schema.
"""

from __future__ import annotations

from collections.abc import Iterable

# Catalogs whose rows are parts of an object: the catalog of that object, and the column with its oid.
PART_OF = {
    "pg_attribute": ("pg_class", "attrelid"),
    "pg_attrdef": ("pg_class", "adrelid"),
    "pg_index": ("pg_class", "indexrelid"),
    "pg_inherits": ("pg_class", "inhrelid"),
    "pg_sequence": ("pg_class", "seqrelid"),
    "pg_partitioned_table": ("pg_class", "partrelid"),
    "pg_foreign_table": ("pg_class", "ftrelid"),
    "pg_aggregate": ("pg_proc", "aggfnoid"),
    "pg_enum": ("pg_type", "enumtypid"),
    "pg_range": ("pg_type", "rngtypid"),
    "pg_amop": ("pg_opfamily", "amopfamily"),
    "pg_amproc": ("pg_opfamily", "amprocfamily"),
    "pg_ts_config_map": ("pg_ts_config", "mapcfg"),
    "pg_publication_rel": ("pg_publication", "prpubid"),
    "pg_publication_namespace": ("pg_publication", "pnpubid"),
}
# Catalogs whose rows name the object that they are about.
ABOUT = {
    "pg_depend": ("classid", "objid"),
    "pg_description": ("classoid", "objoid"),
    "pg_shdescription": ("classoid", "objoid"),
    "pg_seclabel": ("classoid", "objoid"),
    "pg_shseclabel": ("classoid", "objoid"),
    "pg_init_privs": ("classoid", "objoid"),
}
# What follows from owners and privileges, and what ANALYZE writes besides pg_statistic (before 15 the definition, too).
DERIVED = ("pg_shdepend", "pg_statistic_ext_data")
MIGRATION = "use a migration"
SERVER = "that is for whoever runs the server"
# Catalogs of objects. None: they can be defined by a script. Otherwise only their owner, privileges, comments and security
# labels can be changed, and the text says where the rest belongs.
OBJECTS: dict[str, str | None] = {
    "pg_proc": None,
    "pg_class": None,  # by the kind of relation
    "pg_type": None,
    "pg_namespace": None,
    "pg_trigger": None,
    "pg_rewrite": None,
    "pg_operator": None,
    "pg_opclass": None,
    "pg_opfamily": None,
    "pg_cast": None,
    "pg_collation": None,
    "pg_conversion": None,
    "pg_ts_parser": None,
    "pg_ts_dict": None,
    "pg_ts_template": None,
    "pg_ts_config": None,
    "pg_language": None,
    "pg_transform": None,
    "pg_am": None,
    "pg_extension": None,
    "pg_event_trigger": None,
    "pg_statistic_ext": None,
    "pg_publication": None,
    "pg_default_acl": None,
    "pg_constraint": MIGRATION,
    "pg_policy": MIGRATION,
    "pg_foreign_data_wrapper": f"{MIGRATION}: its options may be secret",
    "pg_foreign_server": f"{MIGRATION}: its options may be secret",
    "pg_database": SERVER,
}
# What a relation that cannot be defined by a script is defined with, by pg_class.relkind.
RELATIONS = {
    "r": MIGRATION,
    "p": MIGRATION,
    "f": MIGRATION,
    "S": MIGRATION,
    "i": "indexes are what the module index is for",
    "I": "indexes are what the module index is for",
}
# Written by a script, these are refused whatever they contain, as is every catalog that is named nowhere here.
REFUSED = {
    "pg_authid": f"roles: {SERVER}; the module maintainer makes the role that does the maintenance",
    "pg_auth_members": f"memberships of roles: {SERVER}; the module maintainer makes the role that does the maintenance",
    "pg_db_role_setting": f"settings of a database or role: {SERVER}",
    "pg_parameter_acl": f"privileges on settings: {SERVER}",
    "pg_tablespace": f"tablespaces: {SERVER}",
    "pg_subscription": f"subscriptions: {SERVER}",
    "pg_replication_origin": f"replication origins: {SERVER}",
    "pg_user_mapping": f"user mappings: {MIGRATION}, for their options may be secret",
    "pg_largeobject": "large objects: scripts define objects, not contents",
    "pg_largeobject_metadata": "large objects: scripts define objects, not contents",
    "pg_statistic": "statistics for the planner: use the module analyze",
}


def _values(rows: dict[str, tuple[str, str]]) -> str:
    return ", ".join(f"('{key}', '{one}', '{other}')" for key, (one, other) in rows.items())


def listed(names: Iterable[str]) -> str:
    """Names as literals of SQL."""
    return ", ".join(f"'{name}'" for name in names)


# Where an expression that is stored as a tree belongs: its relation's column, for pg_get_expr().
_TREES = {
    "pg_policy": "polrelid",
    "pg_publication_rel": "prrelid",
    "pg_statistic_ext": "stxrelid",
    "pg_attrdef": "adrelid",
    "pg_partitioned_table": "partrelid",
    "pg_constraint": "conrelid",
    "pg_class": "oid",
    "pg_index": "indrelid",
}

# All catalogs: whether they may be read; scan: who was written there, with the transaction's number in <mark>; rows: what
# they say of the objects in "touched"; class: the catalog of these objects. Privileges on columns are not enough.
CATALOGS = f"""
SELECT jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'name', c.relname, 'readable', readable, 'refused', refused,
    'class', coalesce(to_regclass(p.class), c.oid)::oid::bigint,
    'scan', CASE WHEN readable THEN format('SELECT %s, %s, t.<mark> FROM pg_catalog.%I AS t',
        CASE WHEN a.class IS NOT NULL THEN format('t.%I', a.class)
             ELSE format('%s::oid', coalesce(to_regclass(p.class), c.oid)::oid::bigint) END,
        CASE WHEN a.class IS NOT NULL THEN format('t.%I', a.object) WHEN p.class IS NOT NULL THEN format('t.%I::oid', p.object)
             WHEN refused THEN '0::oid' ELSE 't.oid' END, c.relname) END,
    'rows', CASE WHEN readable AND NOT refused AND a.class IS NULL AND c.relname NOT IN ('pg_rewrite', 'pg_type', 'pg_proc',
                          'pg_trigger', 'pg_namespace', 'pg_enum') THEN
        format('SELECT %s::oid, t.%I::oid, %L, to_jsonb(t)%s FROM pg_catalog.%I AS t WHERE t.%I::oid IN '
               '(SELECT objid FROM touched WHERE classid = %s)%s', coalesce(to_regclass(p.class), c.oid)::oid::bigint,
               coalesce(p.object, 'oid'), c.relname, trees, c.relname, coalesce(p.object, 'oid'),
               coalesce(to_regclass(p.class), c.oid)::oid::bigint,
               CASE c.relname WHEN 'pg_attribute' THEN ' AND attnum > 0 AND NOT attisdropped' END) END))
FROM pg_class AS c LEFT JOIN (VALUES {_values(PART_OF)}) AS p (catalog, class, object) ON p.catalog = c.relname
LEFT JOIN (VALUES {_values(ABOUT)}) AS a (catalog, class, object) ON a.catalog = c.relname,
LATERAL (SELECT has_table_privilege(c.oid, 'SELECT') AS readable,
                p.class IS NULL AND a.class IS NULL AND c.relname NOT IN ({listed([*OBJECTS, *DERIVED])}) AS refused) AS r,
LATERAL (SELECT coalesce(string_agg(format(' || jsonb_build_object(%L, pg_get_expr(t.%I, %s))', x.attname, x.attname,
                    coalesce('t.' || e.relation, '0')), '') , '')
                || CASE c.relname WHEN 'pg_attribute' THEN ' || (SELECT jsonb_build_object(''attstorage'', '
                   'nullif(t.attstorage, y.typstorage), ''attcollation'', nullif(t.attcollation, y.typcollation)) '
                   'FROM pg_catalog.pg_type AS y WHERE y.oid = t.atttypid)' ELSE '' END AS trees
         FROM pg_attribute AS x LEFT JOIN (VALUES {", ".join(f"('{k}', '{v}')" for k, v in _TREES.items())})
             AS e (catalog, relation) ON e.catalog = c.relname
         WHERE x.attrelid = c.oid AND x.atttypid = 'pg_node_tree'::regtype) AS n
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ({listed(DERIVED)})
"""  # noqa: S608 - made of constants

# Which objects were written: pairs [classid, objid]. $1: the lowest transaction id that counts.
# During a trial: a row that is visible although its transaction is in progress must be ours, and its xmin is the id of one of our
# subtransactions. After the trial: rows that we removed or replaced are back, and their xmax is the id of an aborted one. Others
# may have aborted a transaction, too, which does no harm: what they touched has not changed.
SCAN = """
WITH written (classid, objid, mark) AS (SELECT NULL::oid, NULL::oid, NULL::xid WHERE false<scan>
), numbered AS (
    SELECT classid, objid, pg_current_xact_id()::text::bigint - age(mark) AS number FROM written WHERE age(mark) < 0
), named AS (
    SELECT DISTINCT classid, objid FROM numbered
    WHERE CASE WHEN number >= $1 THEN pg_xact_status(number::text::xid8) = {status} END
), owned AS (  -- what belongs to a view, a composite type, a domain or a type of arrays is that
    SELECT CASE WHEN v.oid IS NOT NULL OR d.oid IS NOT NULL THEN 'pg_class'::regclass::oid
                WHEN k.contypid <> 0 OR c.relkind = 'c' THEN 'pg_type'::regclass ELSE n.classid END AS classid,
           CASE WHEN v.oid IS NOT NULL THEN v.oid WHEN d.oid IS NOT NULL THEN d.adrelid WHEN k.contypid <> 0 THEN k.contypid
                WHEN c.relkind = 'c' THEN c.reltype ELSE coalesce(e.oid, n.objid) END AS objid,
           CASE WHEN c.oid IS NOT NULL THEN coalesce(i.indrelid, c.oid)
                ELSE coalesce(r.ev_class, nullif(k.conrelid, 0), g.tgrelid, o.polrelid, d.adrelid) END AS relation
    FROM named AS n
    LEFT JOIN pg_rewrite AS r ON n.classid = 'pg_rewrite'::regclass AND r.oid = n.objid
    LEFT JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
    LEFT JOIN pg_constraint AS k ON n.classid = 'pg_constraint'::regclass AND k.oid = n.objid
    LEFT JOIN pg_trigger AS g ON n.classid = 'pg_trigger'::regclass AND g.oid = n.objid
    LEFT JOIN pg_policy AS o ON n.classid = 'pg_policy'::regclass AND o.oid = n.objid
    LEFT JOIN pg_attrdef AS d ON n.classid = 'pg_attrdef'::regclass AND d.oid = n.objid
    LEFT JOIN pg_class AS c ON n.classid = 'pg_class'::regclass AND c.oid = n.objid
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_type AS a ON n.classid = 'pg_type'::regclass AND a.oid = n.objid AND a.typcategory = 'A'
    LEFT JOIN pg_type AS e ON e.typarray = a.oid
    WHERE coalesce(k.contype, 'c') <> 't'
), extended AS (  -- all that a new extension consists of is the extension
    SELECT DISTINCT coalesce(x.refclassid, o.classid) AS classid, coalesce(x.refobjid, o.objid) AS objid, o.relation
    FROM owned AS o LEFT JOIN pg_depend AS x
        ON x.classid = CASE WHEN o.relation IS NULL THEN o.classid ELSE 'pg_class'::regclass END
        AND x.objid = coalesce(o.relation, o.objid) AND x.objsubid = 0 AND x.deptype = 'e'
        AND x.refobjid IN (SELECT objid FROM named WHERE classid = 'pg_extension'::regclass)
)
SELECT coalesce(jsonb_agg(jsonb_build_array(e.classid::bigint, e.objid::bigint)), '[]')
FROM (SELECT DISTINCT classid, objid FROM extended AS e LEFT JOIN pg_class AS c ON c.oid = e.relation
      LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
      -- Temporary objects are gone afterwards; what belongs to a TOAST table is no object of anybody's.
      WHERE n.nspname IS NULL AND (objid = 0 OR classid NOT IN (SELECT to_regclass(k) FROM unnest('{parts}'::text[]) AS k
                                                      WHERE to_regclass(k) IS NOT NULL)
                AND coalesce((pg_identify_object(classid, objid, 0)).schema, '') !~ '^pg_(toast|temp)'
                AND NOT EXISTS (SELECT FROM pg_namespace AS s WHERE classid = 'pg_namespace'::regclass AND s.oid = objid
                                AND s.nspname ~ '^pg_(toast|temp)'))
      OR n.nspname !~ '^pg_(toast|temp)') AS e
"""


def scan(status: str) -> str:
    """The query SCAN for a trial under way or undone."""
    parts = "{" + ",".join(name for name in PART_OF if name != "pg_attrdef") + "}"
    return SCAN.format(status=f"'{status}'", parts=parts)
