# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Constraints, sequences, keys and materialized views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display, quote
from .._postgres.selection import LOCKED
from .._units import count
from . import Asked, Check, Sample, Thresholds

# From 18 on a constraint may be NOT ENFORCED, and is never validated then.
CONSTRAINTS = """
SELECT n.nspname::text AS schema, c.relname::text AS name, k.conname::text AS constraint,
       CASE k.contype WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check' ELSE 'not null' END AS kind
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT k.convalidated AND k.conparentid = 0 AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
"""

# A sequence stays locked until the end of the transaction once it was asked, and locks are few: so many are asked, those last
# that count in bigint for a bigint, and those first whose tables have seen the most rows.
MOST_SEQUENCES = 500

# How far each sequence is, up to its own end and to that of the column that it is for, which may be the smaller one. Nobody is
# waited for; of a standby the server does not know the sequences that are not logged.
SEQUENCES = f"""
WITH {LOCKED}, owned AS MATERIALIZED (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
    AND d.deptype IN ('a', 'i') AND d.objid IN (SELECT seqrelid FROM pg_sequence)
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend AS d JOIN pg_attrdef AS f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid IN (SELECT seqrelid FROM pg_sequence)
), used AS MATERIALIZED (
    SELECT DISTINCT ON (o.sequence) o.sequence, a.atttypid::int AS type, a.attname::text AS column, t.oid,
           format('%%I.%%I', tn.nspname, t.relname) AS place,
           greatest(t.reltuples, pg_stat_get_tuples_inserted(t.oid)) AS rows
    FROM owned AS o JOIN pg_attribute AS a ON a.attrelid = o.relation AND a.attnum = o.number
    JOIN pg_class AS t ON t.oid = a.attrelid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
    ORDER BY o.sequence, a.attlen, t.oid, a.attnum
), chosen AS MATERIALIZED (
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid, q.seqincrement > 0 AS up, q.seqmax, q.seqmin,
           u.type, u.column, u.place, has_sequence_privilege(c.oid, 'SELECT, USAGE') AS seen, count(*) OVER () AS all
    FROM pg_sequence AS q JOIN pg_class AS c ON c.oid = q.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN used AS u ON u.sequence = c.oid
    WHERE NOT q.seqcycle AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
    AND c.oid NOT IN (SELECT relation FROM locked)
    ORDER BY q.seqmax = {2**63 - 1} AND coalesce(u.type, 20) = 20, u.rows DESC NULLS FIRST, c.oid LIMIT {MOST_SEQUENCES}
)
SELECT *, CASE WHEN seen THEN pg_sequence_last_value(oid) END AS last FROM chosen
"""  # noqa: S608 - made of constants

# The last value of the histogram, of primary keys that are integers and have no sequence: it is as old as the statistics.
KEYS = """
SELECT s.schemaname::text AS schema, s.tablename::text AS name, s.attname::text AS column, k.type,
       (s.histogram_bounds::text::numeric[])[array_upper(s.histogram_bounds::text::numeric[], 1)]::float8 AS last
FROM (
    SELECT n.nspname, c.relname, a.attname, a.atttypid::int AS type
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
    WHERE i.indisprimary AND i.indnkeyatts = 1 AND a.atttypid IN (21, 23) AND c.reltuples >= 10000 AND n.nspname !~ '^pg_'
    AND a.attidentity = '' AND NOT EXISTS (
        SELECT FROM pg_attrdef AS f WHERE f.adrelid = c.oid AND f.adnum = a.attnum)
) AS k JOIN pg_stats AS s ON s.schemaname = k.nspname AND s.tablename = k.relname AND s.attname = k.attname AND NOT s.inherited
WHERE s.histogram_bounds IS NOT NULL
"""

EMPTY_VIEWS = """
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated
"""

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
            f"ALTER TABLE {display(row['schema'], row['name'])} VALIDATE CONSTRAINT {quote(row['constraint'])};",
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
    last, end = row["last"], row["seqmax"] if row["up"] else row["seqmin"]
    type_name, largest = INTEGERS.get(row["type"], ("", 0))
    limit = largest if row["up"] else -largest - 1
    narrow = bool(type_name) and abs(limit) < abs(end)
    end = limit if narrow else end
    subject = f"{row['place']}.{quote(row['column'])}" if narrow else name
    said = f"it is at {count(last)} of {count(end)}"
    if narrow:
        said = f"the column is {type_name}, and {name} is at {count(last)} of {count(end)}"
    value = round(100 * max(0, last / end), 1) if end else 0.0
    return Sample(subject, value, said + more, {"last_value": last, "limit": end}, _wider(name, row))


def _wider(name: str, row: Mapping[str, Any]) -> str:
    """The statements that make room: for the sequence, and for the column that it is for."""
    ways = []
    if row["up"] and row["seqmax"] in {largest for _name, largest in INTEGERS.values()} - {INTEGERS[BIGINT][1]}:
        ways.append(f"ALTER SEQUENCE {name} AS bigint;")
    if row["type"] in INTEGERS and row["type"] != BIGINT:
        ways.append(f"ALTER TABLE {row['place']} ALTER COLUMN {quote(row['column'])} TYPE bigint; (rewrites the table)")
    return " ".join(ways)


def keys(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Percent of its positive numbers that are used."""
    samples = []
    for row in found:
        type_name, largest = INTEGERS[row["type"]]
        name = f"{display(row['schema'], row['name'])}.{quote(row['column'])}"
        samples.append(
            Sample(
                name,
                round(100 * max(0.0, row["last"]) / largest, 1),
                f"the largest {type_name} that the statistics know is {count(round(row['last']))} of {count(largest)}",
                {"last_value": row["last"], "limit": largest, "method": "statistics of the planner"},
            )
        )
    return samples


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
    ),
    Check(
        "integer-keys",
        "tables",
        "Integer keys without a sequence that run out of numbers",
        "percent",
        Thresholds(50, 75),
        "pgdoctor: 50 and 75 %, since the column has to be rewritten in time; tables under 10 000 rows are left out",
        "The number that comes after the last one does not fit into the column.",
        "ALTER TABLE ... ALTER COLUMN ... TYPE bigint (rewrites the table)",
        keys,
        query=KEYS,
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
