# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the dashboard asks the history, in SQL with Grafana's macros.

No name of the database becomes part of a query: variables hold the hexadecimal digits of plans and relations. A macro in a name,
which Grafana would expand inside of quotes, is nothing but digits then.
"""

from __future__ import annotations

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.maintenance import GOOD
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import READING

# What the variables are while all plans or relations are meant: Grafana puts it into a query as it stands here. As a list of all
# of them it would be empty for an empty history, which is no SQL.
ALL = "'all'"

PLAN = "('all' IN (${plan:sqlstring}) OR encode(convert_to(r.plan, 'UTF8'), 'hex') IN (${plan:sqlstring}))"
RUNS = f"FROM maintenance.run AS r WHERE $__timeFilter(r.started_at) AND {PLAN}"
ACTIONS = f"""FROM maintenance.action AS a JOIN maintenance.run AS r ON r.id = a.run_id
WHERE $__timeFilter(r.started_at) AND {PLAN}"""
GROUP = "$__timeGroupAlias(r.started_at, $__interval)"
GROUP_OR_0 = "$__timeGroupAlias(r.started_at, $__interval, 0)"
DAY_OR_0 = "$__timeGroupAlias(r.started_at, '1d', 0)"

# --- the variables

PLANS = """
SELECT plan AS __text, encode(convert_to(plan, 'UTF8'), 'hex') AS __value
FROM maintenance.run GROUP BY plan ORDER BY plan
"""
RELATIONS = """
SELECT relation AS __text, encode(convert_to(relation, 'UTF8'), 'hex') AS __value
FROM (SELECT DISTINCT ON (relation) relation, bytes + coalesce(index_bytes, 0) AS bytes
      FROM maintenance.sample WHERE relation <> '' ORDER BY relation, id DESC) AS latest
ORDER BY bytes DESC
"""

# --- how the maintenance goes

ABOUT = """
SELECT current_database() AS "Database", current_setting('server_version') AS "PostgreSQL",
       (SELECT collection FROM maintenance.run WHERE collection IS NOT NULL ORDER BY id DESC LIMIT 1) AS "Collection",
       count(*) AS "Runs in the history", min(started_at) AS "Since",
       count(*) FILTER (WHERE host = 'generated example') AS "Generated as an example"
FROM maintenance.run
"""

# The longest pause between two runs by every: 1h, or by at: "Mon,Thu 02:00 Europe/Berlin".
PAUSE = """CASE
    WHEN schedule ->> 'every' ~ '^[0-9]{1,6}[mhdw]$' THEN make_interval(secs => left(schedule ->> 'every', -1)::float8
        * CASE right(schedule ->> 'every', 1) WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd' THEN 86400 ELSE 604800 END)
    WHEN schedule ->> 'at' ~ '^[0-9]' THEN interval '1 day'
    WHEN schedule ->> 'at' ~ '^[A-Za-z]' THEN interval '1 day' * (
        SELECT max(later - day) FROM (
            SELECT day, coalesce(lead(day) OVER (ORDER BY day), min(day) OVER () + 7) AS later FROM (
                SELECT DISTINCT array_position(ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], lower(trim(name))) AS day
                FROM unnest(string_to_array(substring(schedule ->> 'at' FROM '^[A-Za-z, ]+'), ',')) AS name) AS days
            WHERE day IS NOT NULL) AS pauses)
END"""

_READING = f"ARRAY[{', '.join(repr(name) for name in sorted(READING))}]"
PLANS_NOW = f"""
WITH latest AS (
    SELECT DISTINCT ON (r.plan) r.plan, r.status, r.started_at, r.schedule,
           coalesce('every ' || (r.schedule ->> 'every'), 'at ' || (r.schedule ->> 'at')) AS told
    FROM maintenance.run AS r WHERE {PLAN} ORDER BY r.plan, r.id DESC
), good AS (
    SELECT r.plan, max(r.started_at) AS started_at FROM maintenance.run AS r
    WHERE r.finished_at IS NOT NULL AND {GOOD.replace("%(reading)s", _READING)} GROUP BY r.plan
), late AS (
    SELECT l.*, g.started_at AS good_at, p.pause, now() - g.started_at - p.pause AS late
    FROM latest AS l LEFT JOIN good AS g USING (plan) CROSS JOIN LATERAL (SELECT {PAUSE} AS pause) AS p
)
SELECT plan AS "Plan", told AS "Schedule", coalesce(status, 'running') AS "Status", started_at AS "Last run",
       good_at AS "Last success", extract(epoch FROM now() - good_at)::float8 AS "Age of the success",
       CASE WHEN late > least(pause, interval '6 hours') THEN extract(epoch FROM late)::float8 WHEN pause IS NOT NULL THEN 0 END
           AS "Overdue"
FROM late ORDER BY plan
"""

SUCCESS = f"""
SELECT 100.0 * count(*) FILTER (WHERE r.status IN ('ok', 'partial')) / nullif(count(*), 0) AS "Success"
{RUNS} AND r.finished_at IS NOT NULL
"""
COUNT = f'SELECT count(*) AS "Runs" {RUNS}'
FAILED = f"""SELECT count(*) AS "Failed or abandoned" {RUNS} AND r.status IN ('failed', 'abandoned')"""
PURGED_SUM = f"""SELECT coalesce(sum(a.row_count), 0)::float8 AS "Rows purged" {ACTIONS} AND a.operation = 'purge'"""
WON = "CASE WHEN a.measured ->> 'won_bytes' ~ '^[0-9]{1,18}$' THEN (a.measured ->> 'won_bytes')::float8 END"
WON_SUM = f'SELECT coalesce(sum({WON}), 0) AS "Won back" {ACTIONS}'

STATUSES = f"""
SELECT {GROUP_OR_0}, coalesce(r.status, 'running') AS metric, count(*) AS value
{RUNS} GROUP BY 1, 2 ORDER BY 1, 2
"""
DURATIONS = f"""
SELECT {GROUP}, r.plan AS plan,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM r.finished_at - r.started_at)) AS "median",
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM r.finished_at - r.started_at)) AS "95th percentile",
       max(r.budget) AS "budget"
{RUNS} AND r.finished_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
LATEST = f"""
SELECT r.started_at AS "Started", r.plan AS "Plan", coalesce(r.status, 'running') AS "Status",
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS "Duration", r.budget AS "Budget",
       (SELECT string_agg(value || ' ' || key, ', ' ORDER BY key) FROM jsonb_each_text(r.totals)) AS "Targets",
       r.message AS "Message", r.role AS "Role", r.host AS "Executed by", r.server_version AS "PostgreSQL",
       r.retries AS "Retries", r.id AS "Run"
{RUNS} ORDER BY r.id DESC LIMIT 50
"""

# --- what it has done

PURGED = f"""
SELECT {DAY_OR_0}, a.target AS metric, sum(a.row_count)::float8 AS value
{ACTIONS} AND a.operation = 'purge' AND a.row_count IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
RECLAIMED = f"""
SELECT {DAY_OR_0}, a.operation AS metric, sum({WON}) AS value
{ACTIONS} AND a.measured ? 'won_bytes' GROUP BY 1, 2 ORDER BY 1, 2
"""
OUTCOMES = f"""
SELECT {GROUP_OR_0}, coalesce(a.outcome, 'running') AS metric, count(*) AS value
{ACTIONS} GROUP BY 1, 2 ORDER BY 1, 2
"""
COUNTERS = """
SELECT operation AS "Operation", outcome AS "Outcome", actions AS "Targets", row_count AS "Rows purged",
       reclaimed_bytes AS "Won back"
FROM maintenance.counter ORDER BY operation, outcome
"""
UNDONE = f"""
SELECT r.plan AS "Plan", a.operation AS "Operation", a.target AS "Target", a.outcome AS "Outcome",
       (array_agg(a.reason ORDER BY a.id DESC))[1] AS "Latest reason", count(*) AS "Times", max(a.started_at) AS "Latest"
{ACTIONS} AND a.outcome IN ('skipped', 'contended', 'deferred', 'failed', 'abandoned')
GROUP BY 1, 2, 3, 4 ORDER BY max(a.id) DESC LIMIT 100
"""

# --- how the database is

SIZE = """
SELECT s.sampled_at AS "time", s.bytes AS "database", s.index_bytes AS "indexes"
FROM maintenance.sample AS s WHERE $__timeFilter(s.sampled_at) AND s.relation = '' ORDER BY 1
"""
# Of all relations the ten largest: more lines than that nobody tells apart.
CHOSEN = """
WITH latest AS (
    SELECT DISTINCT ON (relation) relation, bytes + coalesce(index_bytes, 0) AS bytes
    FROM maintenance.sample WHERE relation <> '' ORDER BY relation, id DESC
), chosen AS (
    (SELECT relation FROM latest WHERE 'all' IN (${relation:sqlstring}) ORDER BY bytes DESC LIMIT 10)
    UNION SELECT relation FROM latest WHERE encode(convert_to(relation, 'UTF8'), 'hex') IN (${relation:sqlstring})
)
"""
TABLES = f"""
{CHOSEN} SELECT s.sampled_at AS "time", s.relation AS metric, s.bytes + coalesce(s.index_bytes, 0) AS value
FROM maintenance.sample AS s JOIN chosen USING (relation) WHERE $__timeFilter(s.sampled_at) ORDER BY 1, 2
"""
DEAD = f"""
{CHOSEN} SELECT s.sampled_at AS "time", coalesce(nullif(s.relation, ''), 'all tables') AS metric, s.dead_rows AS value
FROM maintenance.sample AS s WHERE $__timeFilter(s.sampled_at) AND s.dead_rows IS NOT NULL
AND (s.relation = '' OR s.relation IN (SELECT relation FROM chosen)) ORDER BY 1, 2
"""
FREEZE = f"""
{CHOSEN} SELECT s.sampled_at AS "time", coalesce(nullif(s.relation, ''), 'database') AS metric, s.freeze_age AS value
FROM maintenance.sample AS s WHERE $__timeFilter(s.sampled_at) AND s.freeze_age IS NOT NULL
AND (s.relation = '' OR s.relation IN (SELECT relation FROM chosen)) ORDER BY 1, 2
"""
LARGEST = """
SELECT relation AS "Table", bytes AS "Size", index_bytes AS "Indexes", live_rows AS "Rows", dead_rows AS "Dead rows",
       100.0 * dead_rows / nullif(live_rows + dead_rows, 0) AS "Dead", freeze_age AS "Freeze age", sampled_at AS "Counted"
FROM (SELECT DISTINCT ON (relation) * FROM maintenance.sample WHERE relation <> '' ORDER BY relation, id DESC) AS latest
ORDER BY bytes + coalesce(index_bytes, 0) DESC LIMIT 50
"""
# Of each plan what its latest run has found.
FINDINGS_NOW = f"""
SELECT f.level AS "Level", f.name AS "Check", f.subject AS "Subject", f.message AS "What", f.advice AS "What to do",
       r.plan AS "Plan", f.found_at AS "Found"
FROM maintenance.finding AS f JOIN maintenance.run AS r ON r.id = f.run_id
WHERE f.level <> 'info' AND {PLAN} AND r.id IN (SELECT max(id) FROM maintenance.run WHERE finished_at IS NOT NULL GROUP BY plan)
ORDER BY array_position(ARRAY['critical', 'warning', 'unknown'], f.level), f.name, f.subject
"""
BAD_NOW = f'SELECT count(*) FILTER (WHERE "Level" <> \'unknown\') AS "Findings now" FROM ({FINDINGS_NOW}) AS f'
FINDINGS = f"""
SELECT {GROUP}, f.level AS metric, count(DISTINCT (f.name, f.subject)) AS value
FROM maintenance.finding AS f JOIN maintenance.run AS r ON r.id = f.run_id
WHERE $__timeFilter(r.started_at) AND {PLAN} AND f.level <> 'info' GROUP BY 1, 2 ORDER BY 1, 2
"""
