# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether vacuum and analyze keep up with what changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display
from .._postgres.selection import LOCKED
from .._units import count, duration, rows, size
from . import MONITOR, SEES_ALL, Asked, Check, Sample, Thresholds

DAY = 86400.0
LEAST_DEAD = 10_000  # rows: below that, autovacuum has no reason to come to a table of usual size
LEAST_BYTES = 2**20  # of a smaller table a plan without statistics is as good as any
LEAST_OFF = 10 * 2**20  # bytes: smaller tables without autovacuum are staging areas and the like

# A setting of the table, or else of the server.
SETTING = """
coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = '{0}'), current_setting('{0}'))::float8
"""

# Whether autovacuum may come to the table at all.
ENABLED = """
current_setting('autovacuum')::bool AND current_setting('track_counts')::bool AND coalesce((
    SELECT option_value::bool FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true)
"""

# Materialized views as well; the tables of other sessions are theirs.
TABLE = "c.relkind IN ('r', 'm') AND c.relpersistence <> 't'"

# As VACUUM has counted the pages.
BYTES = "c.relpages * current_setting('block_size')::bigint"

DEAD = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, s.dead, s.live, {BYTES} AS bytes,
       extract(epoch FROM now() - s.vacuumed)::float8 AS seconds, s.runs, {SETTING.format("autovacuum_vacuum_threshold")}
       + {SETTING.format("autovacuum_vacuum_scale_factor")} * greatest(c.reltuples, 0) AS allowed
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_live_tuples(c.oid) AS live,
    greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) AS vacuumed,
    pg_stat_get_autovacuum_count(c.oid) AS runs) AS s
WHERE {TABLE} AND NOT c.relisshared AND s.dead >= {LEAST_DEAD}
"""  # noqa: S608 - made of constants

# Nobody else has counted the pages of a table that autovacuum does not come to.
OFF = f"""
WITH {LOCKED}
SELECT n.nspname::text AS schema, c.relname::text AS name, b.bytes
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN c.reloptions IS NULL OR c.oid IN (SELECT relation FROM locked) THEN {BYTES}
    ELSE pg_relation_size(c.oid) END AS bytes) AS b
WHERE {TABLE} AND b.bytes >= {LEAST_OFF} AND c.reloptions IS NOT NULL AND EXISTS (
    SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled' AND NOT option_value::bool)
UNION ALL SELECT NULL, NULL, NULL WHERE NOT current_setting('autovacuum')::bool
"""  # noqa: S608 - made of constants

# How long no worker could have begun: as long as the youngest of them is at work, if there are as many as there may be.
WORKERS = f"""
SELECT {SEES_ALL} AS seen, count(*) AS busy, current_setting('autovacuum_max_workers')::int AS most,
       coalesce(extract(epoch FROM now() - max(backend_start)), 0)::float8 AS seconds
FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
"""  # noqa: S608 - made of constants

# Autovacuum goes by what it has counted: what was loaded before the counters were lost, as by a crash or by pg_upgrade, has no
# statistics until somebody makes them. It never looks at a partitioned table as a whole. To ask
# pg_partition_tree() would lock the parts.
MISSING = f"""
WITH {LOCKED}
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, b.bytes
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'p' THEN (
    WITH RECURSIVE part (oid) AS (
        SELECT c.oid UNION ALL SELECT i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid)
    SELECT sum(p.relpages::bigint * current_setting('block_size')::int)
    FROM part JOIN pg_class AS p USING (oid) WHERE p.relkind <> 'p')
    WHEN c.oid NOT IN (SELECT relation FROM locked) THEN pg_relation_size(c.oid) END AS bytes) AS b
WHERE c.reltuples = -1 AND c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND b.bytes >= {LEAST_BYTES}
AND (c.relkind = 'p' OR NOT ({ENABLED})
     OR pg_stat_get_mod_since_analyze(c.oid) <= {SETTING.format("autovacuum_analyze_threshold")})
AND coalesce(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) IS NULL
"""  # noqa: S608 - made of constants

STALE = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, s.changed, c.reltuples::bigint AS rows,
       extract(epoch FROM now() - s.analyzed)::float8 / {DAY} AS days
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_stat_get_mod_since_analyze(c.oid) AS changed,
    greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) AS analyzed) AS s
WHERE {TABLE} AND NOT c.relisshared AND s.changed >= {LEAST_DEAD} AND s.analyzed IS NOT NULL
AND s.changed >= 2 * ({SETTING.format("autovacuum_analyze_threshold")}
                      + {SETTING.format("autovacuum_analyze_scale_factor")} * greatest(c.reltuples, 0))
"""  # noqa: S608 - made of constants


def dead(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Percent of the rows of a table."""
    return [
        Sample(
            display(row["schema"], row["name"]),
            round(100 * row["dead"] / max(1, row["live"] + row["dead"]), 1),
            f"{count(row['dead'])} dead and {rows(row['live'])} alive",
            {"dead_rows": row["dead"], "live_rows": row["live"], "bytes": row["bytes"]},
            f"VACUUM {display(row['schema'], row['name'])}; if they stay, see the check horizon-holder",
        )
        for row in found
    ]


def behind(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Hours since the last vacuum of a table that has had more dead rows than autovacuum waits for."""
    return [
        Sample(
            display(row["schema"], row["name"]),
            round(row["seconds"] / 3600, 1),
            f"autovacuum comes from {rows(round(row['allowed']))} on, there are {count(row['dead'])}, and the last vacuum was "
            f"{duration(row['seconds'])} ago",
            {"dead_rows": row["dead"], "threshold": round(row["allowed"]), "autovacuums": row["runs"]},
        )
        for row in found
        if row["seconds"] is not None and row["dead"] > row["allowed"]
    ]


def off(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """1 for each table, and for the server as a whole."""
    samples = [
        Sample(
            display(row["schema"], row["name"]),
            1,
            f"autovacuum is off for it ({size(row['bytes'])})",
            {"bytes": row["bytes"]},
            f"ALTER TABLE {display(row['schema'], row['name'])} RESET (autovacuum_enabled);",
        )
        for row in found
        if row["name"] is not None
    ]
    if len(samples) < len(found):
        advice = "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();"
        samples.append(
            Sample("server", 1, "autovacuum is off for the whole server", {}, advice, Thresholds(critical=1))
        )
    return samples or [Sample(asked.database, 0, "autovacuum is on")]


def workers(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Seconds for which all workers have been busy."""
    samples = []
    for row in found:
        busy, most = row["busy"], row["most"]
        full = busy >= most > 0
        said = f"{count(busy)} of {count(most)} workers are at work"
        if not row["seen"]:
            samples.append(Sample("server", None, "which processes are workers of autovacuum is hidden"))
        else:
            value = round(row["seconds"]) if full else 0
            samples.append(
                Sample("server", value, said + (f", for {duration(value)} now" if full else ""), {"workers": busy})
            )
    return samples


def missing(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Bytes of tables that have never been analyzed, and that autovacuum will not analyze."""
    why = {"p": "autovacuum does not analyze a partitioned table as a whole"}
    return [
        Sample(
            display(row["schema"], row["name"]),
            row["bytes"],
            f"it was never analyzed ({size(row['bytes'])}), and "
            + why.get(row["kind"], "autovacuum has counted no changes, or is off"),
            {},
            f"ANALYZE {display(row['schema'], row['name'])};",
        )
        for row in found
    ]


def stale(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Days since the last analyze of tables of which much has changed since."""
    return [
        Sample(
            display(row["schema"], row["name"]),
            round(row["days"], 2),
            f"{count(row['changed'])} changes to {rows(max(row['rows'], 0))} in {duration(row['days'] * DAY)}",
            {"changed": row["changed"]},
            f"ANALYZE {display(row['schema'], row['name'])};",
        )
        for row in found
    ]


CHECKS = (
    Check(
        "dead-rows",
        "vacuum",
        "Dead rows",
        "percent",
        Thresholds(20),
        f"pgdoctor: 20 %, of {rows(LEAST_DEAD)} and more. Never critical by itself: a purge makes as many in a moment",
        "Each query reads past them, and the table grows instead of using their place again.",
        "VACUUM the table, or let the plan weekly do it",
        dead,
        query=DEAD,
    ),
    Check(
        "autovacuum-behind",
        "vacuum",
        "Tables that autovacuum does not get done",
        "hours",
        Thresholds(10),
        "the mixin of postgres_exporter warns after ten hours. Never critical: the rows may have died a moment ago",
        "Somebody who locks the table always cancels it, or its workers are busy elsewhere. Meanwhile the table grows.",
        "VACUUM the table; search the server's log for 'canceling autovacuum task'; raise autovacuum_vacuum_cost_limit",
        behind,
        of="dead-rows",
    ),
    Check(
        "autovacuum-off",
        "vacuum",
        "Autovacuum switched off",
        "tables",
        Thresholds(1),
        f"pgdoctor, PgHero: each is one too many; tables under {size(LEAST_OFF)} are left out",
        "Dead rows stay, statistics get old, and one day the server freezes the whole table to keep its transaction IDs apart.",
        "switch it on again",
        off,
        query=OFF,
    ),
    Check(
        "autovacuum-workers",
        "vacuum",
        "Workers of autovacuum that are all busy",
        "seconds",
        Thresholds(3600, 12 * 3600),
        "an hour: large tables are to be done by then, and all others wait",
        "Tables that are due wait until one of the large ones is done.",
        "raise autovacuum_vacuum_cost_limit, so that each is done sooner, and then autovacuum_max_workers",
        workers,
        query=WORKERS,
        right=MONITOR,
    ),
    Check(
        "statistics-missing",
        "vacuum",
        "Tables without statistics",
        "bytes",
        Thresholds(LEAST_BYTES),
        f"each of {size(LEAST_BYTES)} or more",
        "The planner guesses. This is what pg_upgrade, a crash and a restore leave behind.",
        "ANALYZE the table",
        missing,
        query=MISSING,
    ),
    Check(
        "statistics-freshness",
        "vacuum",
        "Statistics that are out of date",
        "days",
        Thresholds(7),
        f"pgdoctor warns of 7 days; twice what autovacuum waits for, and at least {count(LEAST_DEAD)} changes. Never critical: "
        "they may have been made a moment ago",
        "Plans are made for a table that it is no more.",
        "ANALYZE the table, or let a step analyze of the plan do it",
        stale,
        query=STALE,
    ),
)
