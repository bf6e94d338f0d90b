# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Does the maintenance itself do its work? From the history of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from .._schedule import Every, Schedule, read_schedule
from .._units import count, duration, rows
from . import Asked, Check, Sample, Thresholds

HOUR = 3600.0
DAY = 24 * HOUR
REFRESH = "refresh"
# A run that takes more than this share of the time from one to the next: five minutes of an hour.
LARGEST_SHARE = 12
# What is planned by the clock is late after this.
LATE = 6 * HOUR

# Whether the run r, which has ended, has done its work. A failed step that only reads says that the database is ill, and not that
# the maintenance is. ``reading``: the operations that only read.
GOOD = """(r.status <> 'abandoned' AND (r.status <> 'failed' OR EXISTS (
               SELECT FROM maintenance.action AS a WHERE a.run_id = r.id) AND NOT EXISTS (
               SELECT FROM maintenance.action AS a WHERE a.run_id = r.id AND a.outcome = 'failed'
               AND a.operation <> ALL (%(reading)s))))"""

# One row a plan. A run whose steps only read does no maintenance, but for amcheck, which is missed when it does not come by its
# schedule. to_jsonb: older histories have fewer columns.
RUNS = f"""
WITH ended AS (
    SELECT r.id, r.plan, r.started_at, {GOOD} AS good
    FROM maintenance.run AS r
    WHERE r.finished_at IS NOT NULL AND EXISTS (
        SELECT FROM pg_catalog.jsonb_array_elements(r.steps) AS step, pg_catalog.jsonb_object_keys(step) AS operation
        WHERE operation <> ALL (%(reading)s) OR operation = 'amcheck' AND jsonb_typeof(to_jsonb(r) -> 'schedule') = 'object')
), plan AS (
    SELECT plan, max(id) AS last_id, coalesce(max(id) FILTER (WHERE good), 0) AS good_id FROM ended GROUP BY plan
)
SELECT p.plan, extract(epoch FROM g.started_at)::float8 AS good, extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT count(*) FROM ended AS e WHERE e.plan = p.plan AND e.id > p.good_id) AS failures,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.id AS run_id, r.status, r.message,
       to_jsonb(r) -> 'schedule' AS schedule, coalesce((to_jsonb(r) ->> 'retries')::int, 0) AS retries
FROM plan AS p JOIN maintenance.run AS r ON r.id = p.last_id LEFT JOIN maintenance.run AS g ON g.id = p.good_id
ORDER BY p.plan
"""  # noqa: S608 - made of constants

# What the last run of each plan has not done, and since when it has been so.
UNDONE = """
WITH bad AS (
    SELECT a.operation, a.target, a.outcome, a.reason, a.started_at, a.run_id, r.plan, to_jsonb(r) -> 'schedule' AS schedule
    FROM maintenance.action AS a JOIN maintenance.run AS r ON r.id = a.run_id
    WHERE r.id IN (SELECT max(id) FROM maintenance.run WHERE finished_at IS NOT NULL GROUP BY plan)
    AND a.outcome IN ('contended', 'deferred', 'failed', 'abandoned') AND a.operation <> ALL (%(reading)s)
)
SELECT b.operation, b.target, b.outcome, b.reason, b.run_id, b.plan, b.schedule,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       extract(epoch FROM b.started_at - coalesce(g.good, g.first))::float8 AS seconds
FROM bad AS b JOIN (
    SELECT a.operation, a.target, min(a.started_at) AS first,
           max(a.finished_at) FILTER (WHERE a.outcome IN ('done', 'unchanged')) AS good
    FROM maintenance.action AS a JOIN (SELECT DISTINCT operation, target FROM bad) AS b USING (operation, target)
    GROUP BY a.operation, a.target
) AS g USING (operation, target)
"""

# What the last purges of each plan have left although it had expired. One that had no time left did not count it.
LEFT = """
WITH last AS (
    SELECT max(a.run_id) AS run_id FROM maintenance.action AS a JOIN maintenance.run AS r ON r.id = a.run_id
    WHERE a.operation = 'purge' AND a.outcome IS NOT NULL GROUP BY r.plan
)
SELECT DISTINCT ON (target) target, outcome, run_id, CASE WHEN outcome IN ('done', 'unchanged')
           THEN coalesce((measured ->> 'left')::bigint, 0) END AS left
FROM maintenance.action WHERE operation = 'purge' AND outcome IS NOT NULL AND run_id IN (SELECT run_id FROM last)
ORDER BY target, id DESC
"""


def _plans(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[dict[str, Any]]:
    """The plans that are to be looked at, with what the history knows of them and their schedules."""
    known = {row["plan"]: dict(row) for row in found}
    if asked.plans is None:
        return list(known.values())
    return [{**known.get(name, {"plan": name}), "schedule": schedule} for name, schedule in asked.plans.items()]


def _schedule(row: Mapping[str, Any]) -> Schedule | None:
    """None also for one that a newer release may have written, and that is not understood here."""
    found = row.get("schedule")
    return read_schedule(found if isinstance(found, Mapping) else {}, [])


def _times(schedule: Schedule, good: datetime) -> tuple[datetime, float]:
    """When a plan is due again after a good run, and how many seconds there are from one time to the next."""
    if isinstance(schedule, Every):
        return good + schedule.interval, schedule.interval.total_seconds()
    due = schedule.following(good)
    return due, (schedule.following(due) - due).total_seconds()


def lateness(schedule: Schedule, good: datetime, now: datetime) -> tuple[float, float]:
    """Seconds since a plan has been due after a good run, and from how many on that is worth a warning."""
    due, period = _times(schedule, good)
    return max(0.0, (now - due).total_seconds()), period if isinstance(schedule, Every) else LATE


def overdue(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Seconds since each plan has been due."""
    samples = []
    for row in _plans(found, asked):
        schedule = _schedule(row)
        if schedule is None:
            continue
        if row["plan"] == asked.running:
            samples.append(Sample(row["plan"], 0, f"it is under way ({schedule})"))
            continue
        if row.get("good") is None:
            samples.append(Sample(row["plan"], None, f"no good run of it is known ({schedule})"))
            continue
        now, good = _moment(row["now"]), _moment(row["good"])
        late, patience = lateness(schedule, good, now)
        period = _times(schedule, good)[1]
        behind = f", which is {duration(late)} late" if late else ""
        samples.append(
            Sample(
                row["plan"],
                round(late),
                f"the last good run began at {schedule.told(good)} ({schedule}){behind}",
                {"last_good": good.isoformat(), "schedule": str(schedule)},
                thresholds=Thresholds(patience, max(4 * patience, period)),
            )
        )
    return samples


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def failures(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Runs in a row, up to now, that have failed or were abandoned."""
    return [
        Sample(
            row["plan"],
            row["failures"],
            f"{count(row['failures'])} in a row failed, the last one: {row['message'] or row['status']}"
            if row["failures"]
            else "the last run was good",
            {"run_id": row["run_id"], "status": row["status"]},
        )
        for row in _plans(found, asked)
        if "failures" in row
    ]


def slow(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Seconds of the last run, against a share of the time until the next one."""
    samples = []
    for row in _plans(found, asked):
        schedule = _schedule(row)
        if row.get("seconds") is not None:
            period = _times(schedule, _moment(row["now"]))[1] if schedule else HOUR
            limits = Thresholds(period / LARGEST_SHARE)
            said = f"the last run took {duration(row['seconds'])}"
            samples.append(Sample(row["plan"], round(row["seconds"], 1), said, {"run_id": row["run_id"]}, "", limits))
    return samples


def retries(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Attempts beyond the first ones in the last run."""
    return [
        Sample(
            row["plan"], row["retries"], f"{count(row['retries'])} attempts more than needed", {"run_id": row["run_id"]}
        )
        for row in _plans(found, asked)
        if "retries" in row
    ]


def undone(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Days since a target was last done, or first tried."""
    return [_undone(row, row["seconds"] / DAY, None) for row in found if row["operation"] != REFRESH]


def stale_views(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Hours since a materialized view was last known to be up to date, against two periods of its plan."""
    samples = []
    for row in found:
        if row["operation"] == REFRESH:
            known = dict(asked.plans or {}).get(row["plan"]) or row["schedule"]
            schedule = _schedule({"schedule": known})
            period = _times(schedule, _moment(row["now"]))[1] if schedule else HOUR
            samples.append(_undone(row, row["seconds"] / HOUR, Thresholds(2 * period / HOUR)))
    return samples


def _undone(row: Mapping[str, Any], value: float, limits: Thresholds | None) -> Sample:
    said = f"{row['operation']} has not been done for {duration(row['seconds'])}: {row['outcome']}, {row['reason']}"
    evidence = {"run_id": row["run_id"], "plan": row["plan"], "operation": row["operation"]}
    return Sample(row["target"], round(value, 1), said, evidence, "", limits)


def left_query(asked: Asked) -> str:
    """What the last purges have left, beside what is waiting now."""
    alone, both = "FROM ({}) AS l", "FROM ({}) AS l FULL JOIN ({}) AS w USING (target)"
    # A percent sign in a name is doubled, for the statement has parameters.
    waiting = " UNION ALL ".join(select.replace("%", "%%") for _table, select in asked.waiting)
    if asked.history:
        return "SELECT l.*, NULL::text AS outcome, NULL::bigint AS run_id, NULL::bigint AS left " + alone.format(
            waiting
        )
    if not waiting:
        return "SELECT l.*, NULL::bigint AS waiting, NULL::text AS hidden " + alone.format(LEFT)
    return "SELECT * " + both.format(LEFT, waiting)


def expired(found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    """Rows that have expired and are there now; where they cannot be counted, those that the last purge has left."""
    return [Sample(row["target"], *_expired(row), {"run_id": row["run_id"]}) for row in found]


def _expired(row: Mapping[str, Any]) -> tuple[int | None, str]:
    if row["waiting"] is not None:
        return row["waiting"], f"{rows(row['waiting'])} have expired and are waiting for the next purge"
    if row["left"] is None:
        return None, row["hidden"] or f"the last purge ({row['outcome']}) has not counted what it left"
    return row["left"], f"{rows(row['left'])} left by the last purge"


CHECKS = (
    Check(
        "maintenance-overdue",
        "maintenance",
        "Plans that are late",
        "seconds",
        Thresholds(2 * HOUR),
        "two periods of a plan that runs every so often; six hours after the time of one that runs at a time",
        "What it keeps small grows meanwhile: nobody has told that it does not run any more.",
        "look whether the scheduler still runs it, and at its last run",
        overdue,
        query=RUNS,
        history=True,
    ),
    Check(
        "maintenance-failures",
        "maintenance",
        "Plans that fail again and again",
        "runs in a row",
        Thresholds(critical=3),
        "three in a row are no accident",
        "It will not mend itself.",
        "read the message of the last run: vtchat.maintenance.history_info shows it",
        failures,
        of="maintenance-overdue",
        history=True,
    ),
    Check(
        "maintenance-slow",
        "maintenance",
        "Plans that take long",
        "seconds",
        Thresholds(HOUR / LARGEST_SHARE),
        "a twelfth of the time from one run to the next: five minutes of an hour",
        "What grows without bound does not fit between two runs one day.",
        "see which target took so long: vtchat.maintenance.history_info shows it",
        slow,
        of="maintenance-overdue",
        history=True,
    ),
    Check(
        "maintenance-retries",
        "maintenance",
        "Attempts that were in vain",
        "attempts",
        Thresholds(3),
        "more than two: somebody is in the way in each run",
        "Each attempt waits, and the next ones may all be in vain.",
        "find out who holds locks, or why the server does not answer at once",
        retries,
        of="maintenance-overdue",
        history=True,
    ),
    Check(
        "maintenance-undone",
        "maintenance",
        "What the maintenance has put off for weeks",
        "days",
        Thresholds(14),
        "two weeks: each weekly run has met with the same obstacle",
        "It is due and nobody does it: there is no time for it, or somebody always holds a lock.",
        "read the reason; a longer budget, another hour, or an end of what holds the lock",
        undone,
        query=UNDONE,
        history=True,
    ),
    Check(
        "materialized-views-stale",
        "maintenance",
        "Materialized views that are out of date",
        "hours",
        Thresholds(2),
        "two periods of the plan that refreshes them",
        "Whoever reads it sees what has been true once.",
        "read the reason; or refresh it by hand in a quiet hour",
        stale_views,
        of="maintenance-undone",
        history=True,
    ),
    Check(
        "expired-rows",
        "maintenance",
        "Expired rows that are still there",
        "rows",
        Thresholds(1001),
        "more than a thousand: an hourly purge leaves none",
        "Queries read past them, and the table grows as long as more expires than is deleted.",
        "run the plan that purges them; if they are there after it as well, give it a larger budget, or run it more often",
        expired,
        query=left_query,
        history=True,
    ),
)
