# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The statements of the history: each run sends one when it enters, one when it leaves, and two for each action."""

from __future__ import annotations

from .._checks.maintenance import GOOD
from .history_samples import SAMPLES
from .history_tables import FOUND

# Two int4 keys of a session advisory lock: one run at a time in one database. "vtcm", and which lock of ours.
LOCK_KEYS = (0x7674636D, 1)
KEYS = {"key1": LOCK_KEYS[0], "key2": LOCK_KEYS[1]}

# The lock, and who has it. In check mode nothing is locked: a look must not keep a run away. No lock either behind a transaction
# pooler: it would stay with the pool's connection. A lock that we have already would have to be let go of twice.
LOCK = """
SELECT CASE WHEN NOT %(lock)s THEN NULL WHEN EXISTS (
           SELECT FROM pg_catalog.pg_locks AS l WHERE {which} AND l.pid = pg_catalog.pg_backend_pid()) THEN true
           ELSE pg_catalog.pg_try_advisory_lock(%(key1)s, %(key2)s) END AS locked,
       (SELECT jsonb_build_object('pid', l.pid, 'user', a.usename, 'client', a.client_addr, 'since',
               to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'application', a.application_name)
        FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
        WHERE {which} AND l.pid <> pg_catalog.pg_backend_pid() LIMIT 1) AS holder
""".format(
    which="l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %(key1)s AND l.objid = %(key2)s "
    "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
)

# The lock and what there is of a history, in one round trip. To print a default or the condition of an index the server opens
# the table, so that whoever has locked it is waited for.
ENTER = (
    LOCK
    + """,
       EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'maintenance') AS schema_exists,
       (SELECT pg_catalog.has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace
        WHERE nspname = 'maintenance') AS may_create_tables,
       ("""
    + FOUND
    + """) AS found,
       r.oid IS NOT NULL AS run_exists, pg_catalog.obj_description(r.oid, 'pg_class') AS comment,
       pg_catalog.pg_get_userbyid(r.relowner)::text AS owner, pg_catalog.pg_has_role(r.relowner, 'USAGE') AS may_alter,
       (SELECT count(*) = 3 AND bool_and(pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
               AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname IN ('run', 'action', 'state')) AS may_read,
       (SELECT bool_and(pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
               AND pg_catalog.has_table_privilege(c.oid, 'DELETE')) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname IN ('run', 'action', 'state')) AS may_write,
       (SELECT pg_catalog.has_table_privilege(c.oid, 'INSERT') FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname = 'finding') AS may_add_findings,
       (SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname = 'finding') AS may_read_findings,
       (SELECT count(*) = 2 AND bool_and(pg_catalog.has_table_privilege(c.oid, 'INSERT')
               AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE'))
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname IN ('sample', 'counter')) AS may_count
FROM (VALUES (0)) AS one LEFT JOIN (
    SELECT c.oid, c.relnamespace, c.relowner
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'maintenance' AND c.relname = 'run' AND c.relkind = 'r') AS r ON true
"""
)

# What each column of the table ``state`` is called in a Memory, by the version of the history that has it first.
_COLUMNS: dict[int, dict[str, str]] = {
    1: {"operation": "operation", "target": "target", "value": "value", "seconds": "seconds", "deferred": "deferred"},
    3: {"size": "size", "since": "deferred_since", "deferrals": "deferrals", "cut_off": "cut_off"},
}
# Runs say when their plan is due, and how often something was tried again, from this version on.
SCHEDULED = 4
# Runs say what their budget is and what they were executed by, and sizes and counters are kept, from this version on.
COUNTED = 5
# A target that nobody has asked about for so long waits for nothing.
FORGOTTEN = "90 days"


def _columns(version: int) -> dict[str, str]:
    return {name: column for since, added in _COLUMNS.items() if since <= version for name, column in added.items()}


def _state(version: int) -> str:
    columns = {
        **_columns(version),
        "deferred": f"deferred AND updated_at > clock_timestamp() - interval '{FORGOTTEN}'",
    }
    if "since" in columns:
        columns["since"] = "extract(epoch FROM deferred_since)::float8"
    pairs = ", ".join(f"'{name}', {column}" for name, column in columns.items())
    return (
        f"SELECT coalesce(jsonb_agg(jsonb_build_object({pairs})), '[]') FROM maintenance.state "
        "WHERE operation = ANY (%(operations)s)"
    )


# So many earlier runs of a plan are told with the present one.
LATEST = 10
# dead: an expression for whether a run has just been found dead.
_LATEST = """
SELECT coalesce(jsonb_agg(jsonb_build_object('run_id', id, 'started', started, 'status', status, 'seconds', seconds,
                                             'rows', rows) ORDER BY id DESC), '[]')
FROM (SELECT r.id, to_char(r.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started,
             CASE WHEN {dead} THEN 'abandoned' ELSE coalesce(r.status, 'running') END AS status,
             round(extract(epoch FROM r.finished_at - r.started_at), 3) AS seconds,
             (SELECT sum(row_count)::bigint FROM maintenance.action WHERE run_id = r.id) AS rows
      FROM maintenance.run AS r WHERE r.plan = %(plan)s ORDER BY r.id DESC LIMIT {number}) AS latest
"""


def state(version: int) -> str:
    """What the next run of these operations must know, as one list of objects, and the latest runs of its plan."""
    return f"SELECT ({_state(version)}) AS state, ({_LATEST.format(dead='false', number=LATEST)}) AS recent"


# The clock of the server, and when the latest run that succeeded began by it. What seems to come from the future was written
# while the clock was wrong.
CLOCK = "SELECT clock_timestamp() AS now, NULL::timestamptz AS last"
SUCCEEDED = f"""
SELECT clock_timestamp() AS now, (SELECT max(r.started_at) FROM maintenance.run AS r
    WHERE r.plan = %(plan)s AND r.finished_at IS NOT NULL AND {GOOD} AND r.started_at <= clock_timestamp()) AS last
"""


# Whoever holds the run lock knows that every other open run of this database is dead, unless a pooler was allowed,
# where locks do not hold: the backend's process id and start time tell for certain (the latter may be hidden from us).
_OPEN = """
WITH dead AS (
    UPDATE maintenance.run AS r SET status = 'abandoned', finished_at = clock_timestamp()
    WHERE r.finished_at IS NULL AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = r.backend_pid
        AND coalesce(a.backend_start, r.backend_start) = r.backend_start)
    RETURNING r.id, r.plan, r.started_at
), dead_action AS (
    UPDATE maintenance.action SET outcome = 'abandoned', finished_at = clock_timestamp()
    WHERE finished_at IS NULL AND run_id IN (SELECT id FROM dead) RETURNING run_id, operation, target
), opened AS (
    INSERT INTO maintenance.run (plan, backend_start, steps{column}) VALUES (%(plan)s, %(backend_start)s, %(steps)s{value})
    RETURNING id
)
SELECT (SELECT id FROM opened) AS run_id,
       (SELECT jsonb_agg(jsonb_build_object('run_id', dead.id, 'plan', dead.plan, 'at', (
            SELECT string_agg(operation || ' ' || target, ', ') FROM dead_action WHERE run_id = dead.id), 'actions', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(operation, target)), '[]') FROM dead_action WHERE run_id = dead.id),
            'started', to_char(dead.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))) FROM dead) AS abandoned,
       extract(epoch FROM clock_timestamp())::float8 AS now, ({state}) AS state, ({recent}) AS recent
"""


def opening(version: int) -> str:
    """The start of a run: what dead ones have left, its own row, the clock, what earlier runs know, and how they went."""
    columns = {"schedule": "%(schedule)s"} if version >= SCHEDULED else {}
    if version >= COUNTED:
        columns |= {"budget": "%(budget)s", "host": "%(host)s", "collection": "%(collection)s"}
        columns |= {"server_version": "split_part(current_setting('server_version'), ' ', 1)"}
    return _OPEN.format(
        column="".join(f", {name}" for name in columns),
        value="".join(f", {value}" for value in columns.values()),
        state=_state(version),
        recent=_LATEST.format(dead="r.id IN (SELECT id FROM dead)", number=LATEST),
    )


BEGIN = """
INSERT INTO maintenance.action (run_id, step, operation, target, reason, statements, numbers)
VALUES (%(run_id)s, %(step)s, %(operation)s, %(target)s, %(reason)s, %(statements)s, %(numbers)s) RETURNING id
"""

_TYPES = """operation text, target text, value jsonb, seconds float8, deferred bool, size bigint, since float8, deferrals int,
            cut_off int"""


def _remember(version: int) -> str:
    """Keep what the next run must know. A value that is empty leaves the one that is there."""
    columns = _columns(version)
    values = ["coalesce(value, '{}')" if name == "value" else "to_timestamp(since)" if name == "since" else name
              for name in columns]  # fmt: skip
    kept = ("operation", "target", "value")
    updates = "".join(f"{column} = excluded.{column}, " for column in columns.values() if column not in kept)
    return f"""
INSERT INTO maintenance.state AS s ({", ".join(columns.values())})
SELECT {", ".join(values)} FROM jsonb_to_recordset(%(state)s) AS x ({_TYPES})
ON CONFLICT (operation, target) DO UPDATE SET {updates}updated_at = clock_timestamp(),
    value = CASE WHEN excluded.value = '{{}}' THEN s.value ELSE excluded.value END
"""


_FINISH = """)
UPDATE maintenance.action SET outcome = %(outcome)s, reason = %(reason)s, measured = %(measured)s, row_count = %(rows)s,
       finished_at = clock_timestamp()
WHERE id = %(id)s RETURNING id
"""


def finish(version: int) -> str:
    """The end of an action, and what is to be remembered of it."""
    return f"WITH remembered AS ({_remember(version)}{_FINISH}"


FINDINGS = """, found AS (
    INSERT INTO maintenance.finding (run_id, step, name, subject, level, message, value, threshold, evidence, advice)
    SELECT %(run_id)s, step, "check", subject, level, message, value, threshold, evidence, advice
    FROM jsonb_to_recordset(%(findings)s) AS x (step int, "check" text, subject text, level text, message text, value jsonb,
                                                threshold jsonb, evidence jsonb, advice text)
), pruned_finding AS (
    DELETE FROM maintenance.finding
    WHERE id <= (SELECT id FROM maintenance.finding ORDER BY id DESC OFFSET %(findings_kept)s LIMIT 1)
)"""

LEAVE = """), noted AS (
    INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers,
                                    started_at, finished_at)
    SELECT %(run_id)s, step, operation, target, outcome, reason, '{}', numbers, statement_timestamp(), statement_timestamp()
    FROM jsonb_to_recordset(%(actions)s) AS x (step int, operation text, target text, outcome text, reason text, numbers jsonb)
)"""

PRUNE = """, too_many AS MATERIALIZED (
    SELECT run_id FROM maintenance.action ORDER BY id DESC OFFSET %(actions_kept)s LIMIT 1
), pruned AS (
    DELETE FROM maintenance.run WHERE id <> %(run_id)s AND (started_at < clock_timestamp() - make_interval(days => %(days)s)
        OR (id <= (SELECT run_id FROM too_many)
            -- without its latest success a plan would be due again
            AND id NOT IN (SELECT max(id) FROM maintenance.run WHERE status IN ('ok', 'partial') GROUP BY plan)))
), pruned_action AS (
    DELETE FROM maintenance.action WHERE run_id <> %(run_id)s AND run_id <= (SELECT run_id FROM too_many)
)"""

# Sorted, since a run that only reads may end at the same moment as another one. What an INSERT has changed is not seen by the
# rest of its statement.
COUNTING = """, counted AS (
    INSERT INTO maintenance.counter AS c (operation, outcome, actions, row_count, reclaimed_bytes)
    SELECT operation, outcome, actions, rows, reclaimed_bytes FROM jsonb_to_recordset(%(counted)s)
        AS x (operation text, outcome text, actions bigint, rows bigint, reclaimed_bytes bigint) ORDER BY operation, outcome
    ON CONFLICT (operation, outcome) DO UPDATE SET actions = c.actions + excluded.actions,
        row_count = c.row_count + excluded.row_count, reclaimed_bytes = c.reclaimed_bytes + excluded.reclaimed_bytes
    RETURNING c.*
)"""
COUNTERS = """(
    SELECT coalesce(jsonb_agg(jsonb_build_object('operation', operation, 'outcome', outcome, 'actions', actions,
                    'rows', row_count, 'reclaimed_bytes', reclaimed_bytes) ORDER BY operation, outcome), '[]')
    FROM (SELECT * FROM counted UNION ALL SELECT * FROM maintenance.counter AS c WHERE NOT EXISTS (
        SELECT FROM counted WHERE (operation, outcome) = (c.operation, c.outcome))) AS all_of_them)"""

CLOSE = """
UPDATE maintenance.run SET status = %(status)s, message = %(message)s, totals = %(totals)s, finished_at = clock_timestamp(){more}
WHERE id = %(run_id)s RETURNING CASE WHEN %(unlock)s THEN pg_catalog.pg_advisory_unlock(%(key1)s, %(key2)s) END AS unlocked,
    {counters} AS counters
"""


def close(version: int, findings: bool, counts: bool, prunes: bool = True) -> str:
    """The end of a run: what was decided but not executed, what is to be remembered, sizes, the pruning and the lock.

    Without all three it touches the tables run, action and state alone.
    """
    more = ", retries = %(retries)s" if version >= SCHEDULED else ""
    parts = [LEAVE, PRUNE if prunes else "", FINDINGS if findings else "", f"{SAMPLES}{COUNTING}" if counts else ""]
    end = CLOSE.format(more=more, counters=COUNTERS if counts else "NULL")
    return f"WITH remembered AS ({_remember(version)}{''.join(parts)}{end}"


# The end of the session would do it too, but a moment later: the next task would find the lock taken.
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock(%(key1)s, %(key2)s)"

_RECENT = """
SELECT r.id AS run_id, r.plan, coalesce(r.status, 'running') AS status, r.message, r.role,
       to_char(r.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.steps, r.totals,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('step', a.step, 'operation', a.operation, 'target', a.target,
            'outcome', coalesce(a.outcome, 'running'), 'reason', a.reason, 'numbers', a.numbers || coalesce(a.measured, '{}'),
            'rows', a.row_count, 'statements', a.statements, 'seconds', extract(epoch FROM a.finished_at - a.started_at))
            ORDER BY a.id), '[]') FROM maintenance.action AS a WHERE a.run_id = r.id) AS actions"""

# What later versions have added: in which one, the column, its type.
_LATER = (
    (SCHEDULED, "schedule", "jsonb"),
    (SCHEDULED, "retries", "integer"),
    (COUNTED, "budget", "float8"),
    (COUNTED, "host", "text"),
    (COUNTED, "collection", "text"),
    (COUNTED, "server_version", "text"),
)

_FOUND = """,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('step', f.step, 'check', f.name, 'subject', f.subject, 'level', f.level,
            'message', f.message, 'value', f.value, 'threshold', f.threshold, 'evidence', f.evidence, 'advice', f.advice)
            ORDER BY f.id), '[]') FROM maintenance.finding AS f WHERE f.run_id = r.id) AS findings
"""

_WHICH = """
FROM maintenance.run AS r
WHERE (%(plan)s::text IS NULL OR r.plan = %(plan)s)
AND (%(target)s::text IS NULL OR EXISTS (SELECT FROM maintenance.action WHERE run_id = r.id AND target = %(target)s))
ORDER BY r.id DESC LIMIT %(limit)s
"""


def recent(version: int, findings: bool) -> str:
    """The latest runs with their actions and, where there is a table for them, findings."""
    return f"{_RECENT}, {later_columns(version)}{_FOUND if findings else ''}{_WHICH}"


def later_columns(version: int) -> str:
    """What a run r says of itself in the newest version; NULL where it does not in this one."""
    return ", ".join(f"r.{name}" if version >= since else f"NULL::{kind} AS {name}" for since, name, kind in _LATER)
