# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How large the database is, how fast it grows, and how much of it is air."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display, quote
from .._units import duration, size
from . import NOTHING, Asked, Check, Sample, Thresholds
from .vacuum import TABLE

DAY = 86400.0
WEEK = 7 * DAY
LEAST_WASTE = 100 * 2**20  # bytes: below that nothing is worth a rewrite
LEAST_GROWTH = 2**30  # bytes a week: a small database may double as it likes
YOUNG = DAY  # seconds: from less the growth of a week cannot be told

# From the widths that the planner knows: 24 bytes of header and 4 of line pointer a row, which is aligned to 8, on pages with 24
# bytes of header, which have whole rows. Not where the statistics are older than much of the table, or hidden, or lack a column
# whose width can be any, as after SET STATISTICS 0. Generated columns that are virtual (18) are not stored.
BLOAT = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, e.bytes, e.needed, coalesce(w.hidden, false) AS hidden,
       row_security_active(c.oid) AS row_security
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT sum(coalesce(s.avg_width, a.attlen) * (1 - coalesce(s.null_frac, 0)))::float8 AS width,
           bool_or(s.avg_width IS NULL AND a.attlen < 0) AS blind,
           bool_or(NOT has_column_privilege(c.oid, a.attnum, 'SELECT')) AS hidden
    FROM pg_attribute AS a LEFT JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname
    AND s.attname = a.attname AND NOT s.inherited
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
) AS w
CROSS JOIN LATERAL (
    SELECT c.relpages * x.page::float8 AS bytes, x.page * ceil(c.reltuples / greatest(1, floor(
        (x.page - 24) * coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
                                  WHERE option_name = 'fillfactor'), 100) / 100.0
        / (28 + 8 * ceil(coalesce(w.width, 0) / 8.0))))) AS needed
    FROM (SELECT current_setting('block_size')::int AS page) AS x
) AS e
WHERE (w.hidden OR row_security_active(c.oid) OR w.blind IS NOT TRUE) AND {TABLE}
AND c.relpages::bigint * current_setting('block_size')::int >= {LEAST_WASTE} AND c.reltuples >= 0
AND pg_stat_get_mod_since_analyze(c.oid) <= 1000 + 0.2 * c.reltuples
"""  # noqa: S608 - made of constants

# Neon limits how large all databases of a server may be.
SIZE = """
SELECT d.datname::text AS database, CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END AS bytes,
       nullif(current_setting('neon.max_cluster_size', true), '') AS most, {earlier} AS earlier
FROM pg_database AS d WHERE d.datname = current_database()
"""

# What it was before: the oldest that is known of the last four weeks.
EARLIER = """
(SELECT jsonb_build_object('bytes', f.value, 'seconds', extract(epoch FROM clock_timestamp() - f.found_at))
 FROM maintenance.finding AS f WHERE f.name = 'database-size' AND f.value IS NOT NULL AND f.found_at > now() - interval '28 days'
 ORDER BY f.id LIMIT 1)
"""


def size_query(asked: Asked) -> str:
    """With what the history knows."""
    return SIZE.format(earlier=EARLIER if asked.earlier else "NULL")


def bloat(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Percent of the table that its rows would not need."""
    samples = []
    for row in found:
        name, waste = display(row["schema"], row["name"]), row["bytes"] - row["needed"]
        if row["hidden"]:
            samples.append(Sample(name, None, "how wide its rows are may not be seen"))
        elif row["row_security"]:
            why, advice = (
                "row-level security hides how wide its rows are",
                f"ALTER ROLE {quote(asked.server.user)} BYPASSRLS;",
            )
            samples.append(Sample(name, None, why, {}, advice))
        elif waste >= LEAST_WASTE:
            samples.append(
                Sample(
                    name,
                    round(100 * waste / row["bytes"], 1),
                    f"about {size(round(waste))} of {size(round(row['bytes']))} are air, as the statistics say",
                    {"bytes": row["bytes"], "needed": row["needed"], "method": "estimate", "confidence": "low"},
                )
            )
    return samples


def _limit(row: Mapping[str, Any], asked: Asked) -> int | None:
    """Bytes that the database may have, None where nobody has said it."""
    if asked.size_limit:
        return asked.size_limit
    return int(row["most"]) * 2**20 if str(row["most"] or "").isdigit() and int(row["most"]) > 0 else None


def _growth(row: Mapping[str, Any]) -> float | None:
    """Bytes a second, None where it is too early to tell."""
    before = row["earlier"]
    if not before or row["bytes"] is None or before["seconds"] < YOUNG:
        return None
    return float((row["bytes"] - before["bytes"]) / before["seconds"])


def sizes(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Bytes."""
    samples = []
    for row in found:
        if row["bytes"] is None:
            samples.append(_unseen(row, asked))
            continue
        limit = _limit(row, asked)
        said = size(row["bytes"]) + (f" of {size(limit)}" if limit else "")
        own = Thresholds(0.8 * limit, 0.95 * limit) if limit else None
        samples.append(Sample(row["database"], row["bytes"], said, {"limit": limit}, "", own))
    return samples


def _unseen(row: Mapping[str, Any], asked: Asked) -> Sample:
    advice = f"GRANT CONNECT ON DATABASE {quote(row['database'])} TO {quote(asked.server.user)};"
    return Sample(row["database"], None, "its size may not be seen", {}, advice)


def growth(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Percent a week; of what grows by little, 0."""
    samples = []
    for row in found:
        if row["bytes"] is None:
            samples.append(_unseen(row, asked))
            continue
        rate = _growth(row)
        if rate is None:
            samples.append(Sample(row["database"], 0, "it is too early to tell: sizes are compared from a day on"))
            continue
        weekly = rate * WEEK
        share = 100 * weekly / max(1, row["bytes"] - weekly) if weekly >= LEAST_GROWTH else 0.0
        said = f"{size(round(weekly), signed=True)} a week, by the last {duration(row['earlier']['seconds'])}"
        samples.append(Sample(row["database"], round(max(0.0, share), 1), said, {"bytes_per_week": round(weekly)}))
    return samples


def forecast(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Days until the limit is reached, where there is one and the database grows."""
    samples = []
    for row in found:
        limit, rate = _limit(row, asked), _growth(row)
        if limit and rate and rate > 0:
            days = max(0.0, limit - row["bytes"]) / rate / DAY
            said = f"at the present rate its limit of {size(limit)} is reached in {duration(days * DAY)}"
            samples.append(
                Sample(row["database"], round(days, 1), said, {"limit": limit, "bytes_per_week": round(rate * WEEK)})
            )
    return samples


CHECKS = (
    Check(
        "table-bloat",
        "storage",
        "Tables that are larger than their rows",
        "percent",
        Thresholds(50, 80),
        f"pgx_scripts: 50 %; awesome-prometheus-alerts: 80 %; under {size(LEAST_WASTE)} it is not told. It is an estimate",
        "Scans and backups read air, and the cache is filled with it. New rows use it again, but a table seldom gets smaller.",
        "measure it with pgstattuple_approx() first; then VACUUM FULL in a quiet hour (it locks the table), or pg_repack",
        bloat,
        query=lambda asked: BLOAT if asked.large else NOTHING,
        right="pg_read_all_data",
    ),
    Check(
        "database-size",
        "storage",
        "Size of the database",
        "bytes",
        Thresholds(),
        "80 and 95 % of size_limit or of what Neon allows, as check_postgres has it for disks; else none",
        "Where the disk or the quota is full, the server stops, or refuses to write.",
        "make room: expired rows, unused indexes, bloat; or get more",
        sizes,
        query=size_query,
        trend=True,
    ),
    Check(
        "database-growth",
        "storage",
        "Growth of the database",
        "percent a week",
        Thresholds(50),
        f"by half each week; below {size(LEAST_GROWTH)} a week it is not told",
        "Something is kept that was meant to go, or a load has begun that nobody has planned for.",
        "see which tables grow, and whether a purge is missing in the plans",
        growth,
        of="database-size",
    ),
    Check(
        "database-forecast",
        "storage",
        "Time until the database is full",
        "days",
        Thresholds(30, 7, below=True),
        "a month to do something about it, and a week in which it has to be done",
        "Where the disk or the quota is full, the server stops, or refuses to write.",
        "make room, or get more, before that day",
        forecast,
        of="database-size",
    ),
)
