# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Indexes: what is not valid, and what the step index_info says in detail of those that are large enough to matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.copies import belongs
from .._postgres.index_definition import is_working_name
from .._postgres.names import display
from . import LARGE, NOTHING, Asked, Check, Sample, Thresholds

# One that is being built is not valid either: whoever builds it holds a lock on its table. A partitioned index becomes valid with
# the last of its parts. copies: the valid indexes of the same table that have all in common with it.
INVALID = """
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_relation_size(c.oid) AS bytes,
       t.relname::text AS "table", i.indisunique AS "unique", pg_catalog.octet_length(c.relname::text) AS name_bytes,
       (SELECT jsonb_agg(jsonb_build_array(o.relname, pg_catalog.octet_length(o.relname::text)))
        FROM pg_catalog.pg_index AS j JOIN pg_catalog.pg_class AS o ON o.oid = j.indexrelid
        WHERE j.indrelid = i.indrelid AND j.indisvalid AND o.relam = c.relam
        AND (j.indkey::text, j.indclass::text, j.indcollation::text, j.indoption::text, j.indisunique, j.indpred IS NULL)
          = (i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indisunique, i.indpred IS NULL)
       ) AS copies
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_locks AS l WHERE l.relation = i.indrelid AND l.granted
    AND l.mode IN ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""


def _invalid(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    return [
        Sample(
            display(row["schema"], row["name"]),
            1,
            "it is not valid: it costs writes and serves nobody" + (", and enforces nothing" if row["unique"] else ""),
            {"bytes": row["bytes"], "table": display(row["schema"], row["table"])},
            f"REINDEX INDEX CONCURRENTLY {display(row['schema'], row['name'])}, or the step reindex",
        )
        for row in found
        if not _left_by(row)
    ]


def _leftovers(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    samples = []
    for row in found:
        left = _left_by(row)
        if left:
            name = display(row["schema"], row["name"])
            by, step = left
            advice = f"DROP INDEX CONCURRENTLY {name}, or the step {step}"
            evidence = {"bytes": row["bytes"], "table": display(row["schema"], row["table"])}
            samples.append(Sample(name, 1, f"{by} has left it", evidence, advice))
    return samples


def _left_by(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """What has left an index that is not valid, and the step that removes it; None for one that somebody has made."""
    if is_working_name(row["name"], row["table"]):
        return "an interrupted step index", "index, which goes on with it"
    copies = row["copies"] or ()
    base = next((name for name, length in copies if belongs(row["name"], row["name_bytes"], name, length)), "")
    return (f"an interrupted rebuild of {display(row['schema'], base)}", "reindex") if base else None


# Where there is nothing large, which is told by a first look, nothing is asked and the analysis is not loaded.


def _review(asked: Asked) -> str:
    if not asked.large:
        return NOTHING
    from .large_indexes import review

    return review(asked)


def _btrees(asked: Asked) -> str:
    if not asked.large:
        return NOTHING
    from .large_indexes import BTREES

    return BTREES


def _duplicates(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    if not found:
        return []
    from .large_indexes import duplicates

    return duplicates(found, asked)


def _unused(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    if not found:
        return []
    from .large_indexes import unused

    return unused(found, asked)


def _foreign_keys(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    if not found:
        return []
    from .large_indexes import foreign_keys

    return foreign_keys(found, asked)


def _bloat(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    if not found:
        return []
    from .large_indexes import bloat

    return bloat(found, asked)


CHECKS = (
    Check(
        "invalid-indexes",
        "indexes",
        "Indexes that are not valid",
        "indexes",
        Thresholds(1),
        "check_pgactivity, PgHero: each is one too many",
        "It costs every write as much as a valid one, and no query can use it. A unique one enforces nothing.",
        "the step reindex rebuilds it: it is what an interrupted CREATE INDEX has left",
        _invalid,
        query=INVALID,
    ),
    Check(
        "index-leftovers",
        "indexes",
        "What interrupted rebuilds have left",
        "indexes",
        Thresholds(1),
        "pg_auto_reindexer removes each; rules for postgres_exporter warn of names with ccnew",
        "Every write pays for it, and each rebuild that is interrupted leaves one more.",
        "the step reindex removes it",
        _leftovers,
        of="invalid-indexes",
    ),
    Check(
        "duplicate-indexes",
        "indexes",
        "Indexes that another one includes",
        "bytes",
        Thresholds(LARGE),
        "PgHero tells each; 10 MiB is where it begins to matter, as with unused ones",
        "Every write, every VACUUM and every backup pays for it, and every query has the other one.",
        "the step index_info compares them, and writes scripts that drop them and undo that",
        _duplicates,
        query=_review,
    ),
    Check(
        "unused-indexes",
        "indexes",
        "Indexes that nobody uses",
        "bytes",
        Thresholds(LARGE),
        "10 MB as PgHero and pgdoctor; counters of 35 days as pganalyze, so that each month's reports have been made",
        "Every write, every VACUUM and every backup pays for it.",
        "the step index_info tells more, and writes scripts that drop them and undo that",
        _unused,
        of="duplicate-indexes",
        history=True,
    ),
    Check(
        "foreign-keys-without-index",
        "indexes",
        "Foreign keys without an index",
        "bytes",
        Thresholds(LARGE),
        "pgx_scripts: tables of more than 9 MB whose parents are written to",
        "For each row that is deleted from the other table, the whole table is read that may refer to it.",
        "the step index builds one beside the application",
        _foreign_keys,
        of="duplicate-indexes",
    ),
    Check(
        "index-bloat",
        "indexes",
        "Bloat of B-trees",
        "percent",
        Thresholds(50),
        "50 % as pgdoctor; only what would win 10 MiB, as in pgx_scripts",
        "It takes more memory and more reading than it needs.",
        "the step reindex measures it, and rebuilds it beside the application",
        _bloat,
        query=_btrees,
    ),
)
