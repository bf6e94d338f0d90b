# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Constraints, sequences, keys and materialized views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display, quote
from .._units import count
from . import Asked, Check, Sample, Thresholds

# Of tables and of domains. Not those of partitions and children that the parent has as well: to validate that one does for all.
# From 18 on a constraint may be NOT ENFORCED, and is never validated then.
CONSTRAINTS = """
SELECT n.nspname::text AS schema, coalesce(c.relname, y.typname)::text AS name, k.conname::text AS constraint,
       CASE WHEN c.oid IS NULL THEN 'DOMAIN' ELSE 'TABLE' END AS of,
       CASE k.contype WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check' ELSE 'not null' END AS kind
FROM pg_constraint AS k LEFT JOIN pg_class AS c ON c.oid = k.conrelid LEFT JOIN pg_type AS y ON y.oid = k.contypid
JOIN pg_namespace AS n ON n.oid = coalesce(c.relnamespace, y.typnamespace)
WHERE NOT k.convalidated AND k.conparentid = 0 AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
AND coalesce(c.relpersistence, 'p') <> 't' AND NOT (k.coninhcount > 0 AND EXISTS (
    SELECT FROM pg_inherits AS i JOIN pg_constraint AS up ON up.conrelid = i.inhparent
    WHERE i.inhrelid = k.conrelid AND up.conname = k.conname AND NOT up.convalidated AND NOT up.connoinherit))
"""

# The type that a column's type comes to, where that is a domain.
BASE = """
CROSS JOIN LATERAL (
    WITH RECURSIVE base (oid, below) AS (
        SELECT y.oid, y.typbasetype FROM pg_type AS y WHERE y.oid = a.atttypid
        UNION ALL SELECT y.oid, y.typbasetype FROM base JOIN pg_type AS y ON y.oid = base.below)
    SELECT oid::int AS type FROM base WHERE below = 0
) AS b"""

# What a default stores is what nextval() (1574) gives, perhaps cast to integer (480), to smallint (714), or to a domain. To ask
# pg_get_expr() would lock the table.
NEXTVAL = ":funcid 1574 "
PLAIN = "^([{]COERCETODOMAIN :arg )?[{]FUNCEXPR :funcid (1574|(480|714) [^{]*[{]FUNCEXPR :funcid 1574) "

# A sequence stays locked until the end of the transaction once it was asked, and locks are few: so many are asked, those last
# that count in bigint for a bigint, and those first whose tables have seen the most rows.
MOST_SEQUENCES = 500

# How far each sequence is, up to its own end and to that of the column that it is for, which may be the smaller one. Nobody is
# waited for; of a standby the server does not know the sequences that are not logged.
SEQUENCES = f"""
WITH held AS MATERIALIZED (  -- ALTER SEQUENCE keeps those out who ask for its last value
    SELECT relation FROM pg_locks WHERE locktype = 'relation'
    AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), owned AS MATERIALIZED (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
    AND d.deptype IN ('a', 'i') AND d.objid IN (SELECT seqrelid FROM pg_sequence)
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend AS d JOIN pg_attrdef AS f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid IN (SELECT seqrelid FROM pg_sequence)
), used AS MATERIALIZED (
    SELECT DISTINCT ON (o.sequence) o.sequence, b.type, a.attname::text AS column, t.oid,
           format('%%I.%%I', tn.nspname, t.relname) AS place,
           greatest(t.reltuples, pg_stat_get_tuples_inserted(t.oid)) AS rows
    FROM owned AS o JOIN pg_attribute AS a ON a.attrelid = o.relation AND a.attnum = o.number
    JOIN pg_class AS t ON t.oid = a.attrelid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace {BASE}
    WHERE NOT EXISTS (
        SELECT FROM pg_attrdef AS f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum AND f.adbin::text !~ '{PLAIN}')
    ORDER BY o.sequence, array_position(ARRAY[21, 23, 20], b.type), t.oid, a.attnum
), chosen AS MATERIALIZED (
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid, q.seqincrement > 0 AS up, q.seqmax, q.seqmin,
           u.type, u.column, u.place, has_sequence_privilege(c.oid, 'SELECT, USAGE') AS seen, count(*) OVER () AS all
    FROM pg_sequence AS q JOIN pg_class AS c ON c.oid = q.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN used AS u ON u.sequence = c.oid
    WHERE NOT q.seqcycle AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
    AND c.oid NOT IN (SELECT relation FROM held)
    ORDER BY q.seqmax = {2**63 - 1} AND coalesce(u.type, 20) = 20, u.rows DESC NULLS FIRST, c.oid LIMIT {MOST_SEQUENCES}
)
SELECT *, CASE WHEN seen THEN pg_sequence_last_value(oid) END AS last FROM chosen
"""  # noqa: S608 - made of constants

# The ends of the histogram, of integers in primary keys that have no sequence: they are as old as the statistics. Not those that
# refer to another key: that one is told.
KEYS = f"""
SELECT k.nspname::text AS schema, k.relname::text AS name, k.attname::text AS column, k.type, k.seen,
       (h.bounds)[1]::float8 AS first, (h.bounds)[array_upper(h.bounds, 1)]::float8 AS last
FROM (
    SELECT n.nspname, c.relname, a.attname, b.type,
           has_column_privilege(c.oid, a.attnum, 'SELECT') AND NOT row_security_active(c.oid) AS seen
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) {BASE}
    WHERE i.indisprimary AND c.reltuples >= 10000 AND n.nspname !~ '^pg_' AND b.type IN (21, 23)
    AND a.attidentity = '' AND NOT EXISTS (
        SELECT FROM pg_attrdef AS f WHERE f.adrelid = c.oid AND f.adnum = a.attnum AND strpos(f.adbin::text, '{NEXTVAL}') > 0)
    AND (i.indnkeyatts = 1 OR NOT EXISTS (
        SELECT FROM pg_constraint AS r WHERE r.conrelid = c.oid AND r.contype = 'f' AND a.attnum = ANY (r.conkey)))
) AS k
LEFT JOIN pg_stats AS s ON s.schemaname = k.nspname AND s.tablename = k.relname AND s.attname = k.attname AND NOT s.inherited
CROSS JOIN LATERAL (SELECT s.histogram_bounds::text::numeric[] AS bounds) AS h
WHERE h.bounds IS NOT NULL OR NOT k.seen
"""  # noqa: S608 - made of constants

EMPTY_VIEWS = """
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated
"""

HASHED = 0.25
BIGINT = 20
# By pg_type.oid: what SQL calls it, and its largest value.
INTEGERS = {21: ("smallint", 2**15 - 1), 23: ("integer", 2**31 - 1), BIGINT: ("bigint", 2**63 - 1)}


def constraints(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """1 for each."""
    return [
        Sample(
            f"{display(row['schema'], row['name'])}.{quote(row['constraint'])}",
            1,
            f"this {row['kind']} constraint is NOT VALID",
            {},
            f"ALTER {row['of']} {display(row['schema'], row['name'])} VALIDATE CONSTRAINT {quote(row['constraint'])};",
        )
        for row in found
    ]


def sequences(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Percent of its numbers that are used."""
    samples = []
    left = found[0]["all"] - len(found) if found else 0
    more = f" ({count(left)} others, which are less likely, are not looked at)" if left else ""
    for row in found:
        name = display(row["schema"], row["name"])
        if not row["seen"]:
            advice = f"GRANT SELECT ON SEQUENCE {name} TO {quote(asked.server.user)};"
            samples.append(Sample(name, None, "how far it is may not be seen", {}, advice))
        elif row["last"] is not None:
            samples.append(_sequence(name, row, more))
    return samples


def _sequence(name: str, row: Mapping[str, Any], more: str) -> Sample:
    last, up = row["last"], row["up"]
    begin, end = (row["seqmin"], row["seqmax"]) if up else (row["seqmax"], row["seqmin"])
    type_name, largest = INTEGERS.get(row["type"], ("", 0))
    limit = largest if up else -largest - 1
    narrow = bool(type_name) and (limit < end if up else limit > end)
    if type_name:
        begin = max(begin, -largest - 1) if up else min(begin, largest)
    end = limit if narrow else end
    subject = f"{row['place']}.{quote(row['column'])}" if narrow else name
    said = f"it is at {count(last)} of {count(end)}"
    if narrow:
        said = f"the column is {type_name}, and {name} is at {count(last)} of {count(end)}"
    used, numbers = (last - begin, end - begin) if up else (begin - last, begin - end)
    value = round(100 * max(0, used + 1) / max(1, numbers + 1), 1)
    return Sample(subject, value, said + more, {"last_value": last, "limit": end}, _wider(name, row))


def _wider(name: str, row: Mapping[str, Any]) -> str:
    """The statements that make room, for the sequence, and for the column that it is for; and what to know of them."""
    ways, notes = [], []
    largest = INTEGERS[BIGINT][1]
    end = row["seqmax"] if row["up"] else -row["seqmin"] - 1
    if end < largest:
        ways.append(f"ALTER SEQUENCE {name} AS bigint NO {'MAXVALUE' if row['up'] else 'MINVALUE'};")
    if end not in {most for _name, most in INTEGERS.values()}:
        notes.append("or let it CYCLE, where old numbers are gone")
    if row["type"] in INTEGERS and row["type"] != BIGINT:
        ways.append(f"ALTER TABLE {row['place']} ALTER COLUMN {quote(row['column'])} TYPE bigint;")
        notes.append("rewrites the table")
    return " ".join([*ways, *(["-- " + "; ".join(notes)] if ways and notes else [])])


def keys(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Percent of its positive numbers that are used, or of its negative ones where it counts down."""
    samples = []
    for row in found:
        table = display(row["schema"], row["name"])
        name = f"{table}.{quote(row['column'])}"
        if row["seen"]:
            wider = f"ALTER TABLE {table} ALTER COLUMN {quote(row['column'])} TYPE bigint; -- rewrites the table"
            samples += _key(name, row, wider)
        else:
            advice = f"GRANT SELECT ON {table} TO {quote(asked.server.user)};"
            samples.append(Sample(name, None, "how far it is may not be seen", {}, advice))
    return samples


def _key(name: str, row: Mapping[str, Any], wider: str) -> list[Sample]:
    """Nothing for one that is far in both directions: such numbers are made by hashing, and not by counting."""
    type_name, largest = INTEGERS[row["type"]]
    up, down = row["last"] / largest, row["first"] / (-largest - 1)
    if min(up, down) >= HASHED:
        return []
    last, limit, which = (row["last"], largest, "largest") if up >= down else (row["first"], -largest - 1, "smallest")
    return [
        Sample(
            name,
            round(100 * max(0.0, up, down), 1),
            f"the {which} {type_name} that the statistics know is {count(round(last))} of {count(limit)}",
            {"last_value": last, "limit": limit, "method": "statistics of the planner"},
            wider,
        )
    ]


def empty_views(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """1 for each."""
    return [
        Sample(
            display(row["schema"], row["name"]),
            1,
            "it has no data, and whoever reads it gets an error",
            {},
            f"REFRESH MATERIALIZED VIEW {display(row['schema'], row['name'])};",
        )
        for row in found
    ]


CHECKS = (
    Check(
        "constraints-not-validated",
        "tables",
        "Constraints that are NOT VALID",
        "constraints",
        Thresholds(1),
        "PgHero, pg-index-health: each is one too many",
        "Rows that were there before may break it, and the planner does not rely on it.",
        "ALTER TABLE ... VALIDATE CONSTRAINT: it blocks no writes",
        constraints,
        query=CONSTRAINTS,
    ),
    Check(
        "sequence-health",
        "tables",
        "Sequences and their columns that run out of numbers",
        "percent",
        Thresholds(75, 90),
        "pgdoctor: 75 and 90 %",
        "At its end each INSERT fails.",
        "ALTER SEQUENCE ... AS bigint; or let it CYCLE where old numbers are gone",
        sequences,
        query=SEQUENCES,
        right="pg_read_all_data",
    ),
    Check(
        "integer-keys",
        "tables",
        "Integer keys without a sequence that run out of numbers",
        "percent",
        Thresholds(50, 75),
        "pgdoctor: 50 and 75 %, since the column has to be rewritten in time; tables under 10 000 rows are left out",
        "The number that comes after the last one does not fit into the column.",
        "ALTER TABLE ... ALTER COLUMN ... TYPE bigint; -- rewrites the table",
        keys,
        query=KEYS,
        right="pg_read_all_data",
    ),
    Check(
        "materialized-views-empty",
        "tables",
        "Materialized views that were never refreshed",
        "materialized views",
        Thresholds(1),
        "each is one too many",
        "Whoever reads one gets an error. WITH NO DATA, or a restore that was not finished, leaves it so.",
        "REFRESH MATERIALIZED VIEW, or let a step refresh of the plan do it",
        empty_views,
        query=EMPTY_VIEWS,
    ),
)
