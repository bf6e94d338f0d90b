# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The columns of a B-tree as they are stored there, by the statistics of its table: what an estimate of its size is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .bloat import SHORT_VALUE, Column
from .names import quote

ALIGNMENTS = {"c": 1, "s": 2, "i": 4, "d": 8}

# The columns of B-trees as they are stored there, with the statistics of the table's columns. same_bytes, includes: equal keys
# may be stored once, but not where equal does not mean the same bytes, and not with included columns. out_of_line: the table
# may have the value itself somewhere else, and then statistics have the width of what points there.
COLUMNS = """
SELECT i.indexrelid::bigint AS oid, ia.attnum::int AS number, ia.attlen::int AS length, ia.attalign::text AS align,
       ta.attlen::int AS own_length, ta.attname::text AS name, s.null_frac::float8 AS nulls, s.avg_width AS width,
       s.n_distinct::float8 AS "distinct",
       pg_catalog.has_column_privilege(i.indrelid, ta.attnum, 'SELECT') AND NOT pg_catalog.row_security_active(i.indrelid)
           AS visible,
       ia.attnum > i.indnkeyatts OR EXISTS (
           SELECT FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_amproc AS p ON p.amprocfamily = o.opcfamily
           AND p.amproclefttype = o.opcintype AND p.amprocnum = 4 WHERE o.oid = i.indclass[ia.attnum - 1]
       ) AND coalesce((SELECT collisdeterministic FROM pg_catalog.pg_collation WHERE oid = i.indcollation[ia.attnum - 1]), true)
           AS same_bytes,
       i.indnatts > i.indnkeyatts AS includes,
       ta.attlen = -1 AND ta.attstorage IN ('x', 'e')
           AND NOT (ta.atttypid IN ('pg_catalog.bpchar'::regtype, 'pg_catalog.varchar'::regtype)
                    AND ta.atttypmod BETWEEN 4 AND {short}) -- with the header, in characters of four bytes
           AND t.reltoastrelid <> 0 AND pg_catalog.pg_relation_size(t.reltoastrelid) > 0 AS out_of_line
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_attribute AS ia ON ia.attrelid = i.indexrelid
JOIN pg_catalog.pg_attribute AS ta ON ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum - 1]
LEFT JOIN pg_catalog.pg_stats AS s
    ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = ta.attname AND NOT s.inherited
WHERE i.indexrelid = ANY ({oids}::oid[])
ORDER BY 1, 2
"""


def is_on(value: str) -> bool:
    """Whether a storage parameter is on; written as the user did (parse_bool() of the server)."""
    value = value.lower()
    return not ("false".startswith(value) or "no".startswith(value) or value in ("of", "off", "0"))


def fault(table: str, row: Mapping[str, Any]) -> str:
    """Why nothing is known about a column, "" if all is. table: its name for people."""
    name = quote(row["name"])
    if row["length"] != row["own_length"]:
        return f"{name} is stored there in another form than in the table"
    if row["out_of_line"]:
        return f"values of {name} may be stored out of line (TOAST), and statistics have the width of the pointers"
    if row["width"] is None and not row["visible"]:
        return (
            f"this role does not see the statistics of {table}: GRANT SELECT ({name}) ON {table}, or row-level security "
            "hides them"
        )
    if row["width"] is None:
        return f"there are no statistics about {name}: ANALYZE {table}"
    return ""


def column(row: Mapping[str, Any], number: float) -> Column:
    """A column of an index with so many entries. n_distinct is negative where it is a share of the rows."""
    distinct = row["distinct"] or 0.0
    share = min(1.0, -distinct if distinct < 0 else distinct / max(1.0, number))
    fixed = row["length"] > 0
    width = float(row["length"] if fixed else row["width"] or 0)
    align = ALIGNMENTS[row["align"]] if fixed or width > SHORT_VALUE else 1
    return Column(width, align, fixed, row["nulls"] or 0.0, share)


def may_post(found: Sequence[Mapping[str, Any]], deduplicates: bool, unique: bool) -> bool:
    """Whether equal keys are stored once when it is built."""
    return deduplicates and not unique and all(row["same_bytes"] and not row["includes"] for row in found)
