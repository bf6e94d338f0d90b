# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Indexes and tables of 10 MiB and more: what the step index_info says in detail. Loaded where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres import bloat as bloating
from .._postgres import index_columns
from .._postgres.names import display
from .._postgres.selection import LOCKED
from .._units import duration, size
from . import LARGE, Asked, Sample, Thresholds
from .review import queries
from .review.foreign import missing, supporting
from .review.model import Index, Parts, read_foreign_key, read_indexes
from .review.redundant import superfluous
from .review.unused import UNUSED_AFTER, Usage, unused_indexes

# In pages that the last VACUUM, ANALYZE or CREATE INDEX has counted.
PAGES = f"{LARGE} / current_setting('block_size')::int"
NEVER = Thresholds()

# The tables that are large with all their indexes, partitions together: whatever is large is of one of these.
CHOSEN = f"""
by_pattern AS MATERIALIZED (
    SELECT w.oid FROM (
        SELECT t.oid, sum(t.relpages + coalesce(x.pages, 0)) OVER (
            PARTITION BY CASE WHEN t.relispartition THEN pg_catalog.pg_partition_root(t.oid) ELSE t.oid END) AS pages
        FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
        LEFT JOIN (SELECT i.indrelid, sum(c.relpages) AS pages FROM pg_catalog.pg_index AS i
                   JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid GROUP BY i.indrelid) AS x ON x.indrelid = t.oid
        WHERE t.relkind IN ('r', 'm') AND t.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT (n.nspname = 'maintenance' AND t.relname IN ('run', 'action', 'state', 'finding'))
    ) AS w WHERE w.pages >= {PAGES}
)"""  # noqa: S608 - made of constants


def review(asked: Asked) -> str:
    """All that is known of these tables, in one row. How old an index is is known where there is a history."""
    old_age = "NULL::int" if asked.history else f"({queries.OLD_AGE.format(after=UNUSED_AFTER)})"
    return f"""
        WITH RECURSIVE {LOCKED}, {CHOSEN}, {queries.ABOUT}
        SELECT (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({queries.indexes(asked.server)}) AS x) AS indexes,
               (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({queries.FOREIGN_KEYS}) AS x) AS foreign_keys,
               (SELECT to_jsonb(x) FROM ({queries.BEGAN}) AS x) AS began,
               ({queries.STANDBYS}) AS standbys, {old_age} AS old_age, (SELECT count(*) FROM locked) AS locked
    """  # noqa: S608 - made of constants


# B-trees over columns as they are, with all that an estimate is made of. changed, counted: since the last ANALYZE.
BTREES = f"""
WITH {LOCKED}
SELECT n.nspname::text AS schema, x.relname::text AS name, tn.nspname::text AS table_schema, t.relname::text AS table_name,
       pg_catalog.pg_relation_size(x.oid) AS bytes, greatest(x.reltuples, t.reltuples)::float8 AS rows,
       coalesce(x.reloptions, '{{}}') AS settings, i.indisunique AS "unique",
       pg_catalog.pg_stat_get_mod_since_analyze(t.oid) AS changed,
       pg_catalog.pg_stat_get_last_analyze_time(t.oid) IS NOT NULL
           OR pg_catalog.pg_stat_get_last_autoanalyze_time(t.oid) IS NOT NULL AS counted,
       current_setting('block_size')::int AS page, (SELECT jsonb_agg(to_jsonb(c)) FROM ({
    index_columns.COLUMNS.format(oids="ARRAY[x.oid]", short=bloating.WIDEST_KEY // 4 + 4)
}) AS c) AS columns
FROM pg_catalog.pg_class AS x JOIN pg_catalog.pg_index AS i ON i.indexrelid = x.oid
JOIN pg_catalog.pg_am AS am ON am.oid = x.relam AND am.amname = 'btree'
JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid AND t.relkind IN ('r', 'm')
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE x.relkind = 'i' AND x.relpages >= {PAGES} AND x.relpersistence <> 't' AND n.nspname !~ '^pg_'
AND i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
AND x.oid NOT IN (SELECT relation FROM locked) AND t.oid NOT IN (SELECT relation FROM locked)
"""  # noqa: S608 - made of constants


def duplicates(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    (row,) = found
    return [
        Sample(
            one.index.target,
            one.index.bytes or 0,
            f"{one.by.target} does all that it does",
            {"table": one.index.table_target, "covered_by": one.by.target},
            one.index.drop,
        )
        for one in superfluous(read_indexes(row["indexes"]), _scans(row))
    ]


def _scans(row: Mapping[str, Any]) -> dict[int, int]:
    parts = Parts(row["indexes"])
    return {one["oid"]: sum(part["scans"] for part in parts.of(one)) for one in row["indexes"]}


def unused(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    (row,) = found
    indexes, began, now = read_indexes(row["indexes"]), row["began"]["began"], row["began"]["now"]
    if not any((index.bytes or 0) >= LARGE for index in indexes):
        return []
    why = _blind(row, asked)
    if why:
        return [Sample(asked.database, None, why, advice="the step index_info asks the standbys as well: replicas")]
    if began is None or now - began < UNUSED_AFTER:
        age = "of unknown age" if began is None else f"{duration(now - began)} old"
        # Nobody can do anything about that but wait.
        return [Sample(asked.database, 0, f"the counters are {age}, which says little before {duration(UNUSED_AFTER)}")]
    return _unread(row, indexes)


def _blind(row: Mapping[str, Any], asked: Asked) -> str:
    """Why the counters of this server say nothing of others, "" if there are none."""
    if asked.server.in_recovery:
        return "this is a standby, and what is not used here may be used on the primary"
    return "what is not used here may be used on the standbys that read from here" if row["standbys"] else ""


def _unread(row: Mapping[str, Any], indexes: Sequence[Index]) -> list[Sample]:
    """Those of which it is certain that nobody has used them, and that they are old enough for that to mean something."""
    parts, scans, rows = Parts(row["indexes"]), _scans(row), {one["oid"]: one for one in row["indexes"]}
    usage = {}
    for index in indexes:
        last = [part["last"] for part in parts.of(rows[index.oid]) if part["last"] is not None]
        usage[index.oid] = [
            Usage(scans[index.oid], max(last, default=None), row["began"]["began"], row["began"]["now"])
        ]
    keys = supporting(map(read_foreign_key, row["foreign_keys"]), indexes)

    def old(index: Index) -> bool:
        whole = [rows[index.oid], *parts.of(rows[index.oid])]
        known = row["old_age"] is not None and all(part["age"] > row["old_age"] for part in whole)
        return (known or scans[index.oid] > 0) and not (index.partitioned and row["locked"])

    said = f"it was not used for more than {duration(UNUSED_AFTER)}"
    return [
        Sample(
            index.target,
            index.bytes or 0,
            said,
            {
                "table": index.table_target,
                "scans": scans[index.oid],
                "writes": sum(part["writes"] for part in parts.of(rows[index.oid])),
            },
            index.drop,
        )
        for index in unused_indexes(indexes, usage, keys, superfluous(indexes, scans), UNUSED_AFTER, old)
        if old(index)
    ]


def foreign_keys(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    (row,) = found
    by_table: dict[int, list[Index]] = {}
    for index in read_indexes(row["indexes"]):
        by_table.setdefault(index.table, []).append(index)
    samples = []
    for one in missing(map(read_foreign_key, row["foreign_keys"]), by_table):
        columns = ", ".join(one.key.names)
        said = f"no index begins with {columns}, and whoever deletes from {one.key.references} reads {size(one.bytes)} a row"
        matters = one.key.deleted > 0 and one.partly is None
        evidence = {"references": one.key.references, "deleted": one.key.deleted}
        advice = f"{one.create}, or the step index"
        samples.append(Sample(one.key.target, one.bytes, said, evidence, advice, None if matters else NEVER))
    return samples


def bloat(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    samples = []
    for row in found:
        hidden = next((one for one in row["columns"] if one["width"] is None and not one["visible"]), None)
        known = _estimate(row)
        target = display(row["schema"], row["name"])
        if hidden is not None:
            table = display(row["table_schema"], row["table_name"])
            samples.append(Sample(target, None, index_columns.fault(table, hidden)))
        elif known is not None:
            said = f"about {known.share * 100:.0f} % bloat by statistics ({known.confidence} confidence): {size(known.gain)}"
            evidence = {
                "table": display(row["table_schema"], row["table_name"]),
                "bytes": known.bytes,
                "fresh_bytes": known.fresh,
                "method": known.method,
                "confidence": known.confidence,
            }
            advice = f"REINDEX INDEX CONCURRENTLY {target}, or the step reindex, which measures first"
            limits = None if known.gain >= LARGE else NEVER
            samples.append(Sample(target, round(known.share * 100, 1), said, evidence, advice, limits))
    return samples


def _estimate(row: Mapping[str, Any]) -> bloating.Bloat | None:
    """The bloat of a B-tree, None where statistics say nothing about its size."""
    settings = dict(one.partition("=")[::2] for one in row["settings"])
    rows, columns = row["rows"], row["columns"]
    if rows <= 0 or not row["counted"] or bloating.stale(rows, row["changed"]):
        return None
    if any(index_columns.fault(row["table_name"], one) for one in columns):
        return None
    stored = [index_columns.column(one, rows) for one in columns]
    deduplicates = index_columns.may_post(
        columns, index_columns.is_on(settings.get("deduplicate_items", "on")), row["unique"]
    )
    if bloating.tuple_size(stored) > bloating.WIDEST_KEY or (deduplicates and bloating.repeats(stored)):
        return None
    return bloating.estimate(
        row["bytes"], rows, stored, int(settings.get("fillfactor", bloating.FILLFACTOR)), row["page"]
    )
