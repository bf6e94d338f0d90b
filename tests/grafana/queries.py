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
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.queries import _TARGETS as TARGETS

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

# Of what has such a moment alone: a clock may have been anywhere, and PostgreSQL before 17 does not reckon with infinity.
FINITE = "CASE WHEN isfinite({0}) THEN {0} END"
SECONDS = """CASE WHEN r.status <> 'abandoned' AND isfinite(r.finished_at) AND isfinite(r.started_at)
    THEN extract(epoch FROM r.finished_at - r.started_at)::float8 END"""

# The tables of the last time that tables were counted: those that there are, as far as anybody knows.
LATEST_TABLES = """
    SELECT DISTINCT ON (relation) *, bytes::float8 + coalesce(index_bytes, 0) AS whole
    FROM maintenance.sample WHERE relation <> ''
    AND run_id = (SELECT run_id FROM maintenance.sample WHERE relation <> '' ORDER BY id DESC LIMIT 1)
    ORDER BY relation, id DESC"""

# --- the variables

PLANS = """
SELECT plan AS __text, encode(convert_to(plan, 'UTF8'), 'hex') AS __value
FROM maintenance.run GROUP BY plan ORDER BY plan
"""
RELATIONS = f"""
SELECT relation AS __text, encode(convert_to(relation, 'UTF8'), 'hex') AS __value FROM ({LATEST_TABLES}) AS latest
ORDER BY whole DESC
"""

# --- how the maintenance goes

ABOUT = f"""
SELECT current_database() AS "Database", current_setting('server_version') AS "PostgreSQL",
       (SELECT collection FROM maintenance.run WHERE collection IS NOT NULL ORDER BY id DESC LIMIT 1) AS "Collection",
       count(*) AS "Runs in the history", min({FINITE.format("started_at")}) AS "Since",
       count(*) FILTER (WHERE host = 'generated example') AS "Generated as an example"
FROM maintenance.run
"""

_READING = f"ARRAY[{', '.join(repr(name) for name in sorted(READING))}]"
DONE_WELL = GOOD.replace("%(reading)s", _READING)
# Of at: "Mon,Thu 02:00 Europe/Berlin" the days (1 is Monday), the time and the zone.
_AT = r"^(?:([A-Za-z]+(?:, ?[A-Za-z]+)*) )?([0-9]{1,2}:[0-9]{2})(?: (\S+))?$"
# When the plan was due after the good run, by every: 1h, or by at. One that has never done its work was so when it ran first.
# A zone that the server does not know is no error, and neither is what no schedule is. In the hour in which the clock is put
# forward or back it may be an hour off.
DUE = f"""CASE
    WHEN good_at IS NULL THEN first_at
    WHEN schedule ->> 'every' ~ '^[0-9]{{1,6}}[mhdw]$' THEN good_at + pause
    WHEN schedule ->> 'at' ~ '{_AT}' THEN (
        SELECT min(moment) FROM (
            SELECT CASE WHEN known THEN (local::date + number + told[2]::time) AT TIME ZONE zone END AS moment,
                   extract(isodow FROM local::date + number)::int AS day
            FROM (SELECT told, zone, known, CASE WHEN known THEN good_at AT TIME ZONE zone END AS local
                  FROM (SELECT told, coalesce(told[3], 'UTC') AS zone, told[2] ~ '^([01]?[0-9]|2[0-3]):[0-5][0-9]$' AND (
                            coalesce(told[3], 'UTC') = 'UTC' OR told[3] IN (SELECT name FROM pg_timezone_names)) AS known
                        FROM regexp_match(schedule ->> 'at', '{_AT}') AS told) AS read) AS here, generate_series(0, 8) AS number
        ) AS moments
        WHERE moment > good_at AND (schedule ->> 'at' ~ '^[0-9]' OR day IN (
            SELECT array_position(ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], lower(trim(name)))
            FROM unnest(string_to_array(substring(schedule ->> 'at' FROM '^[A-Za-z, ]+'), ',')) AS name)))
END"""
PAUSE = """CASE
    WHEN schedule ->> 'every' ~ '^[0-9]{1,6}[mhdw]$' THEN make_interval(secs => left(schedule ->> 'every', -1)::float8
        * CASE right(schedule ->> 'every', 1) WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd' THEN 86400 ELSE 604800 END)
    WHEN schedule ->> 'at' ~ '^[A-Za-z0-9]' THEN interval '1 day'
END"""
# Runs of the future, which a clock that jumped has left, say nothing about the present.
PLANS_NOW = f"""
WITH latest AS (
    SELECT DISTINCT ON (r.plan) r.plan, r.status, r.started_at, r.schedule,
           coalesce('every ' || (r.schedule ->> 'every'), 'at ' || (r.schedule ->> 'at')) AS told
    FROM maintenance.run AS r WHERE {PLAN} ORDER BY r.plan, r.id DESC
), good AS (
    SELECT r.plan, min(r.started_at) AS first_at,
           max(r.started_at) FILTER (WHERE r.finished_at IS NOT NULL AND r.status <> 'skipped' AND {DONE_WELL}) AS good_at
    FROM maintenance.run AS r WHERE isfinite(r.started_at) AND r.started_at <= now() GROUP BY r.plan
), late AS (
    SELECT plan, status, started_at, told, good_at, pause, now() - {DUE} AS late
    FROM latest LEFT JOIN good USING (plan) CROSS JOIN LATERAL (SELECT {PAUSE} AS pause) AS p
)
SELECT plan AS "Plan", told AS "Schedule", coalesce(status, 'running') AS "Status", {FINITE.format("started_at")} AS "Last run",
       good_at AS "Last success", extract(epoch FROM now() - good_at)::float8 AS "Age of the success",
       CASE WHEN pause IS NULL THEN NULL WHEN late > least(pause, interval '6 hours') THEN extract(epoch FROM late)::float8
            WHEN late IS NOT NULL THEN 0 END AS "Overdue"
FROM late ORDER BY plan
"""

SUCCESS = f"""
SELECT 100.0 * count(*) FILTER (WHERE {DONE_WELL}) / nullif(count(*), 0) AS "Success"
{RUNS} AND r.finished_at IS NOT NULL AND r.status <> 'skipped'
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
       percentile_cont(0.5) WITHIN GROUP (ORDER BY {SECONDS}) AS "median",
       percentile_cont(0.95) WITHIN GROUP (ORDER BY {SECONDS}) AS "95th percentile",
       max(r.budget) AS "budget"
{RUNS} AND {SECONDS} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""
LATEST = f"""
SELECT r.started_at AS "Started", r.plan AS "Plan", coalesce(r.status, 'running') AS "Status",
       {SECONDS} AS "Duration", r.budget AS "Budget",
       (SELECT string_agg(value || ' ' || key, ', ' ORDER BY key)
        FROM jsonb_each_text(CASE jsonb_typeof(r.totals) WHEN 'object' THEN r.totals END)) AS "Targets",
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
SELECT {GROUP_OR_0}, coalesce(a.outcome, 'running') AS metric, {TARGETS}::float8 AS value
{ACTIONS} GROUP BY 1, 2 ORDER BY 1, 2
"""
COUNTERS = """
SELECT operation AS "Operation", outcome AS "Outcome", actions AS "Targets", row_count AS "Rows purged",
       reclaimed_bytes AS "Won back"
FROM maintenance.counter ORDER BY operation, outcome
"""
UNDONE = f"""
SELECT r.plan AS "Plan", a.operation AS "Operation", a.target AS "Target", a.outcome AS "Outcome",
       (array_agg(a.reason ORDER BY a.id DESC))[1] AS "Latest reason",
       count(*) AS "Times", max({FINITE.format("a.started_at")}) AS "Latest"
{ACTIONS} AND a.outcome IN ('skipped', 'contended', 'deferred', 'failed', 'abandoned')
GROUP BY 1, 2, 3, 4 ORDER BY max(a.id) DESC LIMIT 100
"""

# --- how the database is

SIZE = """
SELECT s.sampled_at AS "time", s.bytes AS "database", s.index_bytes AS "indexes"
FROM maintenance.sample AS s WHERE $__timeFilter(s.sampled_at) AND s.relation = '' ORDER BY 1
"""
# Of all relations the ten largest: more lines than that nobody tells apart.
CHOSEN = f"""
WITH latest AS ({LATEST_TABLES}
), chosen AS (
    (SELECT relation FROM latest WHERE 'all' IN (${{relation:sqlstring}}) ORDER BY whole DESC LIMIT 10)
    UNION SELECT relation FROM latest WHERE encode(convert_to(relation, 'UTF8'), 'hex') IN (${{relation:sqlstring}})
)
"""
TABLES = f"""
{CHOSEN} SELECT s.sampled_at AS "time", s.relation AS metric, s.bytes::float8 + coalesce(s.index_bytes, 0) AS value
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
LARGEST = f"""
SELECT relation AS "Table", bytes AS "Size", index_bytes AS "Indexes", live_rows AS "Rows", dead_rows AS "Dead rows",
       100.0 * dead_rows / nullif(live_rows::numeric + dead_rows, 0) AS "Dead", freeze_age AS "Freeze age",
       {FINITE.format("sampled_at")} AS "Counted"
FROM ({LATEST_TABLES}) AS latest ORDER BY whole DESC LIMIT 50
"""
# Of each plan what its latest run has found that came so far; what several have found is told once, as it was found last.
FINDINGS_NOW = f"""
SELECT level AS "Level", name AS "Check", subject AS "Subject", message AS "What", advice AS "What to do", plan AS "Plan",
       {FINITE.format("found_at")} AS "Found"
FROM (SELECT DISTINCT ON (f.name, f.subject) f.*, r.plan
      FROM maintenance.finding AS f JOIN maintenance.run AS r ON r.id = f.run_id WHERE {PLAN} AND r.id IN (
          SELECT max(id) FROM maintenance.run AS r WHERE r.finished_at IS NOT NULL
          AND (r.status IN ('ok', 'partial') OR EXISTS (SELECT FROM maintenance.finding AS f WHERE f.run_id = r.id))
          GROUP BY r.plan)
      ORDER BY f.name, f.subject, f.id DESC) AS found
WHERE level <> 'info' ORDER BY array_position(ARRAY['critical', 'warning', 'unknown'], level), name, subject
"""
BAD_NOW = f'SELECT count(*) FILTER (WHERE "Level" <> \'unknown\') AS "Findings now" FROM ({FINDINGS_NOW}) AS f'
FINDINGS = f"""
SELECT {GROUP}, f.level AS metric, count(DISTINCT (f.name, f.subject)) AS value
FROM maintenance.finding AS f JOIN maintenance.run AS r ON r.id = f.run_id
WHERE $__timeFilter(r.started_at) AND {PLAN} AND f.level <> 'info' GROUP BY 1, 2 ORDER BY 1, 2
"""
