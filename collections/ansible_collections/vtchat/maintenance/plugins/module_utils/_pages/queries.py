# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

# ruff: noqa: S608 - all statements here are made of constants

"""What a page asks the history. Every answer is bounded, however many runs there were.

Moments and days come back as texts in the zone of the page: the server knows its clock and all zones. ``reading``: the operations
that only read; ``zone``: the zone; ``since``: from when on.
"""

from __future__ import annotations

from .._checks.maintenance import GOOD
from .._engine.history_sql import COUNTED, later_columns

MOMENT, DAY = "YYYY-MM-DD HH24:MI", "YYYY-MM-DD"
MOST_RUNS, MOST_ACTIONS, MOST_UNDONE, MOST_WHO, MOST_TABLES = 50, 30, 100, 20, 20
# Generated examples say so in the place of the machine.
GENERATED = "generated example"


def _moment(what: str) -> str:
    return f"to_char({what} AT TIME ZONE %(zone)s, '{MOMENT}')"


def _day(what: str) -> str:
    return f"to_char({what} AT TIME ZONE %(zone)s, '{DAY}')"


# What began in the days of the page. A run from the future was written while the clock was wrong, and one without an end that a
# calendar knows by somebody's hand: they are told of, and not reckoned with.
_SANE = "r.started_at <= now() AND (r.finished_at IS NULL OR isfinite(r.finished_at))"
_RUNS = f"(SELECT r.* FROM maintenance.run AS r WHERE r.started_at >= %(since)s AND {_SANE})"
_LARGEST = 2**63 - 1


def _sum(what: str, only: str = "true") -> str:
    """A sum that is a bigint, whatever was added."""
    return f"least(coalesce(sum({what}) FILTER (WHERE {only}), 0), {_LARGEST})::bigint"


# The days of the page: the last one is today.
CLOCK = f"""
SELECT {_moment("now()")} AS generated_at, {_day("now()")} AS last_day, extract(epoch FROM now())::float8 AS now,
       to_char(s.day, '{DAY}') AS first_day, s.day AT TIME ZONE %(zone)s AS since
FROM (SELECT date_trunc('day', now() AT TIME ZONE %(zone)s) - make_interval(days => %(days)s - 1) AS day) AS s
"""

# Of each plan: what its latest run says, and when the last good one began, however long ago; and what there is of it in these
# days. began: when each run did, from the last one before these days on, with its schedule where that is another one than before.
PLANS = """
WITH ended AS (
    SELECT r.id, r.plan, r.started_at, r.status, r.finished_at IS NOT NULL AND r.status <> 'skipped' AS ended,
           r.finished_at IS NOT NULL AND r.status <> 'skipped' AND {good} AS good, {columns}
    FROM maintenance.run AS r WHERE {sane}
), last AS (
    SELECT plan, max(id) AS id, max(started_at) FILTER (WHERE good) AS good_at,
           count(*) FILTER (WHERE good AND started_at >= %(since)s) AS good,
           count(*) FILTER (WHERE ended AND started_at >= %(since)s) AS ended,
           count(*) FILTER (WHERE started_at >= %(since)s) AS runs
    FROM ended GROUP BY plan
)
SELECT last.plan, last.good, last.ended, last.runs, {last} AS last, {last_good} AS last_good,
       extract(epoch FROM last.good_at)::float8 AS good_at, coalesce(r.status, 'running') AS last_status, r.schedule, r.budget,
       (SELECT jsonb_agg(jsonb_build_array(extract(epoch FROM e.started_at),
               CASE WHEN e.schedule IS DISTINCT FROM e.before THEN e.schedule END) ORDER BY e.started_at, e.id)
        FROM (SELECT x.id, x.started_at, x.schedule, lag(x.schedule) OVER (ORDER BY x.started_at, x.id) AS before FROM ended AS x
              WHERE x.plan = last.plan AND x.started_at >= coalesce((
                  SELECT max(y.started_at) FROM ended AS y WHERE y.plan = last.plan AND y.started_at < %(since)s), %(since)s)
             ) AS e) AS began
FROM last JOIN ended AS r ON r.id = last.id ORDER BY last.plan
"""

# Of each plan and day, and with the day NULL of each plan.
DAYS = f"""
SELECT plan, day, count(*) AS runs, count(*) FILTER (WHERE status = 'ok') AS ok,
       count(*) FILTER (WHERE status = 'partial') AS partial,
       count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'abandoned') AS abandoned,
       count(*) FILTER (WHERE status = 'skipped') AS skipped, count(*) FILTER (WHERE status = 'running') AS running,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95,
       max(seconds) AS longest
FROM (SELECT r.plan, {_day("r.started_at")} AS day, coalesce(r.status, 'running') AS status,
             -- until a dead run was found says nothing of how long it took, and a clock that was set back even less
             CASE WHEN r.status <> 'abandoned' AND r.finished_at >= r.started_at
                 THEN extract(epoch FROM r.finished_at - r.started_at)::float8 END AS seconds
      FROM {_RUNS} AS r) AS of_run
GROUP BY GROUPING SETS ((plan, day), (plan)) ORDER BY plan, day
"""

_WON = "CASE WHEN a.measured ->> 'won_bytes' ~ '^[0-9]{1,18}$' THEN (a.measured ->> 'won_bytes')::bigint END"
# Targets that nothing happened to are one by one only in part: "90 more" is a row of its own (closing.shortened).
_TARGETS = "sum(CASE WHEN a.target ~ '^[0-9]{1,9} more$' THEN split_part(a.target, ' ', 1)::bigint ELSE 1 END)"
WORK = f"""
SELECT {_day("r.started_at")} AS day,
       {_sum("a.row_count", "a.operation = 'purge'")} AS purged,
       count(*) FILTER (WHERE a.operation = 'refresh' AND a.outcome = 'done') AS refreshed,
       coalesce({_TARGETS} FILTER (WHERE a.operation = 'refresh' AND a.outcome = 'unchanged'), 0)::bigint AS kept,
       count(*) FILTER (WHERE a.operation = 'analyze' AND a.outcome = 'done') AS analyzed,
       count(*) FILTER (WHERE a.operation = 'vacuum' AND a.outcome = 'done') AS vacuumed,
       count(*) FILTER (WHERE a.operation = 'reindex' AND a.outcome = 'done') AS reindexed,
       {_sum(_WON)} AS reclaimed_bytes
FROM {_RUNS} AS r LEFT JOIN maintenance.action AS a ON a.run_id = r.id GROUP BY 1 ORDER BY 1
"""
OPERATIONS = f"""
SELECT operation, jsonb_object_agg(outcome, number) AS outcomes, {_sum("rows")} AS rows,
       {_sum("reclaimed_bytes")} AS reclaimed_bytes, sum(seconds)::float8 AS seconds
FROM (SELECT a.operation, coalesce(a.outcome, 'running') AS outcome, {_TARGETS} AS number,
             coalesce(sum(a.row_count) FILTER (WHERE a.operation = 'purge'), 0) AS rows,
             coalesce(sum({_WON}), 0) AS reclaimed_bytes,
             coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)) FILTER (
                 WHERE isfinite(a.finished_at) AND isfinite(a.started_at)), 0) AS seconds
      FROM maintenance.action AS a JOIN {_RUNS} AS r ON r.id = a.run_id GROUP BY 1, 2) AS of_outcome
GROUP BY operation ORDER BY operation
"""
UNDONE = f"""
SELECT r.plan, a.operation, a.target, a.outcome, (array_agg(a.reason ORDER BY a.id DESC))[1] AS reason, count(*) AS times,
       {_moment("min(a.started_at)")} AS first, {_moment("max(a.started_at)")} AS last, count(*) OVER () AS kinds
FROM maintenance.action AS a JOIN {_RUNS} AS r ON r.id = a.run_id
WHERE a.outcome IN ('skipped', 'contended', 'deferred', 'failed', 'abandoned')
GROUP BY r.plan, a.operation, a.target, a.outcome ORDER BY max(a.id) DESC LIMIT {MOST_UNDONE}
"""
RUNS = f"""
SELECT r.id AS run_id, r.plan, coalesce(r.status, 'running') AS status, {_moment("r.started_at")} AS started, r.role,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.message, r.totals, {{columns}},
       (SELECT coalesce(jsonb_agg(jsonb_build_object('operation', a.operation, 'target', a.target,
                   'outcome', coalesce(a.outcome, 'running'), 'rows', a.row_count,
                   'offset', extract(epoch FROM a.started_at - r.started_at)::float8,
                   'seconds', extract(epoch FROM a.finished_at - a.started_at)::float8) ORDER BY a.started_at, a.id), '[]')
        FROM (SELECT * FROM maintenance.action AS x WHERE x.run_id = r.id AND isfinite(x.started_at)
              AND (x.finished_at IS NULL OR isfinite(x.finished_at))
              ORDER BY x.outcome = 'unchanged', x.finished_at - x.started_at DESC NULLS FIRST, x.id
              LIMIT {MOST_ACTIONS}) AS a) AS actions
FROM {_RUNS} AS r ORDER BY r.id DESC LIMIT {MOST_RUNS}
"""
# Each run of a workflow has an address of its own: those of one repository are one.
WHO = f"""
SELECT role, host, collection, server_version, count(*) AS runs, {_moment("min(started_at)")} AS first,
       {_moment("max(started_at)")} AS last
FROM (SELECT r.role, r.started_at, regexp_replace(r.host, '/actions/runs/[0-9]+$', '') AS host, r.collection, r.server_version
      FROM (SELECT r.role, r.started_at, {{columns}} FROM {_RUNS} AS r) AS r) AS of_run
GROUP BY role, host, collection, server_version ORDER BY max(started_at) DESC LIMIT {MOST_WHO}
"""
# What the history itself has to explain.
ODD = f"""
SELECT count(*) FILTER (WHERE r.started_at > now()) AS coming,
       count(*) FILTER (WHERE NOT isfinite(r.finished_at)) AS endless,
       count(*) FILTER (WHERE r.finished_at < r.started_at) AS backwards,
       count(*) FILTER (WHERE r.finished_at IS NULL AND r.started_at < now() - interval '1 day') AS open,
       count(*) FILTER (WHERE r.host = '{GENERATED}' AND {_SANE}) AS generated, count(*) AS runs
FROM (SELECT r.started_at, r.finished_at, {{columns}} FROM maintenance.run AS r WHERE r.started_at >= %(since)s) AS r
"""
SIZES = f"""
SELECT DISTINCT ON (day) day, bytes, index_bytes, live_rows, dead_rows, freeze_age
FROM (SELECT s.*, {_day("s.sampled_at")} AS day FROM maintenance.sample AS s WHERE s.relation = '' AND s.sampled_at >= %(since)s
      AND s.sampled_at <= now()) AS s
ORDER BY day, sampled_at DESC
"""
TABLES = f"""
WITH s AS (
    SELECT s.*, {_day("s.sampled_at")} AS day FROM maintenance.sample AS s
    WHERE s.relation <> '' AND s.sampled_at >= %(since)s AND s.sampled_at <= now()
), latest AS (
    SELECT s.* FROM s WHERE s.run_id = (SELECT run_id FROM s ORDER BY sampled_at DESC, id DESC LIMIT 1)
    ORDER BY bytes + coalesce(index_bytes, 0) DESC, relation LIMIT {MOST_TABLES}
)
SELECT latest.relation, latest.bytes, latest.index_bytes, latest.live_rows, latest.dead_rows, latest.freeze_age,
       (SELECT jsonb_agg(jsonb_build_array(day, bytes, extract(epoch FROM sampled_at)) ORDER BY day) FROM (
            SELECT DISTINCT ON (day) day, bytes + coalesce(index_bytes, 0) AS bytes, sampled_at FROM s
            WHERE s.relation = latest.relation ORDER BY day, sampled_at DESC) AS of_day) AS history
FROM latest ORDER BY latest.bytes + coalesce(latest.index_bytes, 0) DESC, latest.relation
"""
# What anybody may have written there is looked at before it is a number.
ALERTS = f"""
SELECT value, {_moment("to_timestamp(since::float8)")} AS since
FROM (SELECT value, target, CASE WHEN jsonb_typeof(value -> 'since') = 'number' THEN (value ->> 'since')::numeric END AS since
      FROM maintenance.state WHERE operation = 'alerts' AND value ->> 'level' <> 'info') AS alert
WHERE since BETWEEN 0 AND 1e11 ORDER BY value ->> 'level', target LIMIT {MOST_UNDONE}
"""


def plans(version: int) -> str:
    """PLANS for a history of some version."""
    moments = {"last": "r.started_at", "last_good": "last.good_at"}
    texts = {name: _moment(what) for name, what in moments.items()}
    return PLANS.format(good=GOOD, columns=later_columns(version), sane=_SANE, **texts)


def with_columns(query: str, version: int) -> str:
    """A query about runs for a history of some version."""
    return query.replace("{columns}", later_columns(version))


def keeps_sizes(version: int) -> bool:
    """Whether a history of that version keeps them."""
    return version >= COUNTED
