# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display
from . import Asked, Check, Sample, Thresholds

# One that is being built is not valid either: whoever builds it holds a lock on its table. A partitioned index becomes valid with
# the last of its parts.
INVALID = """
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_relation_size(c.oid) AS bytes
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_locks AS l WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""


def _invalid(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    said = "it is not valid: it costs writes and serves nobody"
    return [Sample(display(row["schema"], row["name"]), 1, said, {"bytes": row["bytes"]}) for row in found]


CHECKS = (
    Check(
        "invalid-indexes",
        "indexes",
        "Indexes that are not valid",
        "indexes",
        Thresholds(1),
        "check_pgactivity, PgHero: each is one too many",
        "It costs every write as much as a valid one, and no query can use it. A unique one enforces nothing.",
        "the step reindex rebuilds it or removes it: it is what an interrupted CREATE INDEX or REINDEX has left",
        _invalid,
        query=INVALID,
    ),
)
