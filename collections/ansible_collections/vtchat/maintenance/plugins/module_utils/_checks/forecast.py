# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""In how many days transaction IDs and multixacts run out, if they are used as fast as lately and nothing is frozen any more.

Runs leave the counters of the server with what they find of ages (wraparound). The speed is what has been used since such a
run: the one that is nearest to a week ago, and at least an hour, by the server's clock. Counters of another server, and those
that were ahead of the present ones, as after a restore, are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres import horizon
from .._postgres.names import quote
from .._units import count, duration
from . import Asked, Sample, Thresholds

HOUR, DAY = 3600.0, 86400.0
WEEK = 7 * DAY
# The server refuses writes so many before they would be used twice (SetTransactionIdLimit, SetMultiXactIdLimit).
RESERVED = 3_000_000
LAST = 2**31 - RESERVED
FOREVER = 36500.0  # days: what is further away is not told

# Autovacuum freezes a table before it is so old; a fifth more, and it does not keep up.
LAG = 1.2
BEHIND = Thresholds(30, 7, below=True)
IN_TIME = Thresholds(2, 0.5, below=True)

# What the evidence of an age has of the counters.
NEXT_XID, NEXT_MULTIXACT, SYSTEM = "next_xid", "next_multixact", "system"

NOW = f"""
SELECT {horizon.NEXT_XID} AS next_xid, (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
       EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = 'maintenance' AND c.relname = 'finding') AS kept,
       (SELECT (datminmxid::text::bigint + mxid_age(datminmxid)) %% 4294967296 FROM pg_catalog.pg_database
        WHERE datname = current_database()) AS next_multixact,
       (SELECT max(age(datfrozenxid))::bigint FROM pg_catalog.pg_database) AS transactions,
       (SELECT max(mxid_age(datminmxid))::bigint FROM pg_catalog.pg_database) AS multixacts,
       current_setting('autovacuum_freeze_max_age')::bigint AS transactions_limit,
       current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixacts_limit
"""  # noqa: S608 - made of constants

# The counters that earlier runs have left, and how many seconds ago. A finding is written soon after it was measured.
EARLIER = """
SELECT extract(epoch FROM clock_timestamp() - least(f.found_at, r.finished_at))::float8 AS seconds,
       CASE WHEN f.evidence ->> 'next_xid' ~ '^[0-9]{1,18}$' THEN (f.evidence ->> 'next_xid')::bigint END AS next_xid,
       CASE WHEN f.evidence ->> 'next_multixact' ~ '^[0-9]{1,18}$' THEN (f.evidence ->> 'next_multixact')::bigint END
           AS next_multixact, f.evidence ->> 'system' AS system, f.run_id
FROM maintenance.finding AS f JOIN maintenance.run AS r ON r.id = f.run_id
WHERE f.name IN ('freeze-age', 'multixact-age') AND r.finished_at IS NOT NULL
"""

# Of each of both counters the best run to compare with.
WITH_EARLIER = f"""
WITH now AS MATERIALIZED ({NOW}), earlier AS MATERIALIZED (
    SELECT e.*, coalesce(e.system = n.system AND e.next_xid <= n.next_xid, false) AS ours,
           n.next_xid - e.next_xid AS used_transactions,
           (n.next_multixact - e.next_multixact + 4294967296) %% 4294967296 AS used_multixacts
    FROM ({EARLIER}) AS e, now AS n
)
SELECT n.*, (SELECT count(*) FROM earlier) AS runs, (SELECT count(*) FROM earlier WHERE NOT ours) AS others,
       (SELECT to_jsonb(e) FROM earlier AS e WHERE ours AND seconds >= {HOUR} ORDER BY abs(seconds - {WEEK}) LIMIT 1)
           AS of_transactions,
       (SELECT to_jsonb(e) FROM earlier AS e WHERE ours AND seconds >= {HOUR} AND used_multixacts < 2147483648
        ORDER BY abs(seconds - {WEEK}) LIMIT 1) AS of_multixacts
FROM now AS n
"""  # noqa: S608 - made of constants


def query(asked: Asked) -> str:
    """What is now and, where findings of earlier runs can be read, what was then."""
    return WITH_EARLIER if asked.earlier else NOW


def samples(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Days that are left of each of both."""
    if not asked.earlier and not all(row["kept"] for row in found):
        return [
            Sample(
                asked.database,
                None,
                "the history is of an older version, which keeps no findings: the next run mends that",
            )
        ]
    if not asked.earlier:
        hidden = "what earlier runs have found cannot be read"
        grant = f"GRANT SELECT ON maintenance.finding TO {quote(asked.server.user)};"
        return [Sample(asked.database, None, hidden, advice=grant)]
    (row,) = found
    if row["of_transactions"] is None and row["of_multixacts"] is None:
        return [Sample(asked.database, FOREVER, _too_young(row))]
    return [
        _sample(row, "transactions", "transaction IDs"),
        _sample(row, "multixacts", "multixacts"),
    ]


def _sample(row: Mapping[str, Any], what: str, name: str) -> Sample:
    then, age, limit = row[f"of_{what}"], row[what], row[f"{what}_limit"]
    thresholds = BEHIND if age > LAG * limit else IN_TIME
    if then is None:
        return Sample(name, FOREVER, _too_young(row), {"age": age}, "", thresholds)
    used, seconds = then[f"used_{what}"], then["seconds"]
    days = min(FOREVER, max(0, LAST - age) / (used / seconds) / DAY) if used else FOREVER
    end = f"they run out in {duration(days * DAY)}" if days < FOREVER else "they last for more than a hundred years"
    said = f"{end}: the oldest is {count(age)} old, and {count(used)} were used in {duration(seconds)}"
    evidence = {"age": age, "used": used, "seconds": round(seconds), "per_day": round(used / seconds * DAY)}
    return Sample(name, round(days, 2), said, {**evidence, "run_id": then["run_id"]}, "", thresholds)


def _too_young(row: Mapping[str, Any]) -> str:
    if row["others"] and row["others"] == row["runs"]:
        return "what earlier runs have found is of another server, or of a later time of this one"
    return "the history is too young to say how fast they are used: an hour at least must lie between two runs"
