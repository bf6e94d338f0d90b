# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The command log: every run and action, written before it happens and completed after, and what the next run must know.

It lives in the maintained database, so that it survives the machine that ran the maintenance. Nothing depends on it:
without the right to create or write it everything else works, and a warning says what is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .._errors import ConnectError, Contended, MaintenanceError, SqlError
from .._operations import Action, Outcome
from .._postgres.names import quote
from .._postgres.session import Session
from .history_tables import FOUND, NEW_SCHEMA, SCHEMA, UPGRADES, VERSION, differences, strangers

KEEP_DAYS = 90
KEEP_ACTIONS = 100_000

# Two int4 keys of a session advisory lock: one run at a time in one database. "vtcm", and which lock of ours.
LOCK_KEYS = (0x7674636D, 1)
_KEYS = {"key1": LOCK_KEYS[0], "key2": LOCK_KEYS[1]}

_COMMENT = "vtchat.maintenance history, version "

# The lock and what there is of a history, in one turn. In check mode nothing is locked: a look must not keep a run away.
# Nor is it behind a transaction pooler: the lock would stay with the pool's connection.
ENTER = (
    """
SELECT CASE WHEN %(lock)s THEN pg_catalog.pg_try_advisory_lock(%(key1)s, %(key2)s) END AS locked,
       (SELECT jsonb_build_object('pid', l.pid, 'user', a.usename, 'client', a.client_addr, 'since',
               to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'application', a.application_name)
        FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND l.objsubid = 2
        AND l.classid = %(key1)s AND l.objid = %(key2)s
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) LIMIT 1) AS holder,
       EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'maintenance') AS schema_exists,
       (SELECT pg_catalog.has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace
        WHERE nspname = 'maintenance') AS may_create_tables,
       ("""
    + FOUND
    + """) AS found,
       r.oid IS NOT NULL AS run_exists, pg_catalog.obj_description(r.oid, 'pg_class') AS comment,
       (SELECT count(*) = 3 AND bool_and(pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
               AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname IN ('run', 'action', 'state')) AS may_read,
       (SELECT bool_and(pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
               AND pg_catalog.has_table_privilege(c.oid, 'DELETE')) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = r.relnamespace AND c.relname IN ('run', 'action', 'state')) AS may_write
FROM (VALUES (0)) AS one LEFT JOIN (
    SELECT c.oid, c.relnamespace FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'maintenance' AND c.relname = 'run' AND c.relkind = 'r') AS r ON true
"""
)

STATE = """
SELECT coalesce(jsonb_agg(jsonb_build_object('operation', operation, 'target', target, 'value', value,
       'seconds', seconds, 'deferred', deferred)), '[]') AS state FROM maintenance.state
"""

# Whoever holds the run lock knows that every other open run of this database is dead, unless a pooler was allowed,
# where locks do not hold: the backend's process id and start time tell for certain (the latter may be hidden from us).
OPEN = (
    """
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
    INSERT INTO maintenance.run (plan, backend_start, steps) VALUES (%(plan)s, %(backend_start)s, %(steps)s) RETURNING id
)
SELECT (SELECT id FROM opened) AS run_id,
       (SELECT jsonb_agg(jsonb_build_object('run_id', dead.id, 'plan', dead.plan, 'at', (
            SELECT string_agg(operation || ' ' || target, ', ') FROM dead_action WHERE run_id = dead.id),
            'started', to_char(dead.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))) FROM dead) AS abandoned,
       ("""
    + STATE
    + """) AS state
"""
)

BEGIN = """
INSERT INTO maintenance.action (run_id, step, operation, target, reason, statements, numbers)
VALUES (%(run_id)s, %(step)s, %(operation)s, %(target)s, %(reason)s, %(statements)s, %(numbers)s) RETURNING id
"""

_REMEMBER = """
INSERT INTO maintenance.state AS s (operation, target, value, seconds, deferred)
SELECT operation, target, coalesce(value, '{}'), seconds, deferred
FROM jsonb_to_recordset(%(state)s) AS x (operation text, target text, value jsonb, seconds float8, deferred bool)
ON CONFLICT (operation, target) DO UPDATE SET deferred = excluded.deferred, updated_at = clock_timestamp(),
    seconds = coalesce(excluded.seconds, s.seconds),
    value = CASE WHEN excluded.value = '{}' THEN s.value ELSE excluded.value END
"""

FINISH = (
    "WITH remembered AS ("
    + _REMEMBER
    + """)
UPDATE maintenance.action SET outcome = %(outcome)s, reason = %(reason)s, measured = %(measured)s, row_count = %(rows)s,
       finished_at = clock_timestamp()
WHERE id = %(id)s
"""
)

CLOSE = (
    "WITH remembered AS ("
    + _REMEMBER
    + """), noted AS (
    INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers,
                                    started_at, finished_at)
    SELECT %(run_id)s, step, operation, target, outcome, reason, '{}', numbers, statement_timestamp(), statement_timestamp()
    FROM jsonb_to_recordset(%(actions)s) AS x (step int, operation text, target text, outcome text, reason text, numbers jsonb)
), pruned AS (
    DELETE FROM maintenance.run WHERE id <> %(run_id)s AND (started_at < clock_timestamp() - make_interval(days => %(days)s)
        OR id <= (SELECT run_id FROM maintenance.action ORDER BY id DESC OFFSET %(actions_kept)s LIMIT 1))
)
UPDATE maintenance.run SET status = %(status)s, message = %(message)s, totals = %(totals)s, finished_at = clock_timestamp()
WHERE id = %(run_id)s RETURNING CASE WHEN %(unlock)s THEN pg_catalog.pg_advisory_unlock(%(key1)s, %(key2)s) END
"""
)

# The end of the session would do it too, but a moment later: the next task would find the lock taken.
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock(%(key1)s, %(key2)s)"

RECENT = """
SELECT r.id AS run_id, r.plan, coalesce(r.status, 'running') AS status, r.message, r.role,
       to_char(r.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.steps, r.totals,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('step', a.step, 'operation', a.operation, 'target', a.target,
            'outcome', coalesce(a.outcome, 'running'), 'reason', a.reason, 'numbers', a.numbers || coalesce(a.measured, '{}'),
            'rows', a.row_count, 'statements', a.statements, 'seconds', extract(epoch FROM a.finished_at - a.started_at))
            ORDER BY a.id), '[]') FROM maintenance.action AS a WHERE a.run_id = r.id) AS actions
FROM maintenance.run AS r
WHERE (%(plan)s::text IS NULL OR r.plan = %(plan)s)
AND (%(target)s::text IS NULL OR EXISTS (SELECT FROM maintenance.action WHERE run_id = r.id AND target = %(target)s))
ORDER BY r.id DESC LIMIT %(limit)s
"""


@dataclass
class Memory:
    """What is known about one target from earlier runs. seconds: how long the action took, None if never done."""

    value: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    deferred: bool = False


class History:
    """The history of one database as one run sees it. ``note`` says why there is none, when there is none."""

    def __init__(self, session: Session, check: bool) -> None:
        self._session = session
        self._check = check
        self.holder: dict[str, Any] | None = None
        self.locked = False
        self.run_id: int | None = None
        self.note = ""
        self.abandoned: list[dict[str, Any]] = []
        self.memory: dict[tuple[str, str], Memory] = {}

    def enter(self, plan: str, steps: list[dict[str, Any]], wanted: bool) -> None:
        """Take the run lock and open the run. When somebody else has the lock, only ``holder`` is set."""
        lock = not self._check and not self._session.shared
        row = self._session.row(ENTER, {"lock": lock, **_KEYS})
        self.holder = row["holder"]
        self.locked = bool(row["locked"]) if lock else not self._check
        if not self._check and not self.locked:
            self.holder = self.holder or {}
            return
        if not wanted:
            self.note = "history: false"
            return
        version = self._version(row)
        try:
            if self._check:
                self._look(row, version)
            else:
                self._open(row, version, plan, steps)
        except (SqlError, Contended) as error:
            self.note = f"the history in schema {SCHEMA} cannot be used: {error}"

    def _version(self, row: dict[str, Any]) -> int:
        """The version of the history that exists, 0 without one. Raises ConnectError for a newer one than we know."""
        comment = row["comment"] or ""
        self.note = strangers(row["found"], self._session.server)
        if self.note or not row["run_exists"]:
            return 0
        if not comment.startswith(_COMMENT) or not comment[len(_COMMENT) :].isdigit():
            self.note = f"schema {SCHEMA} has a table run that is not ours"
            return 0
        version = int(comment[len(_COMMENT) :])
        if version > VERSION:
            raise ConnectError(f"the history in schema {SCHEMA} is of version {version}, written by a newer release of this "
                               f"collection, which knows {VERSION}: update it, or set history: false")  # fmt: skip
        self.note = differences(row["found"])
        return 0 if self.note else version

    def _look(self, row: dict[str, Any], version: int) -> None:
        """Check mode: read what there is, write nothing."""
        if version and row["may_read"]:
            self._remember(self._session.row(STATE)["state"])
        elif not self.note:
            self.note = "there is no history yet" if not version else self._no_right()

    def _open(self, row: dict[str, Any], version: int, plan: str, steps: list[dict[str, Any]]) -> None:
        if self.note:
            return
        self.note = self._may_not_create(row, version)
        if self.note:
            return
        self._create(row, version)
        if version and not (row["may_read"] and row["may_write"]):
            self.note = self._no_right()
            return
        parameters = {"plan": plan, "backend_start": self._session.server.backend_start, "steps": json.dumps(steps)}
        opened = self._session.row(OPEN, parameters)
        self.run_id = opened["run_id"]
        self.abandoned = opened["abandoned"] or []
        self._remember(opened["state"])

    def _may_not_create(self, row: dict[str, Any], version: int) -> str:
        """Why there cannot be a history, "" if there can."""
        may_create = row["may_create_tables"] if row["schema_exists"] else self._session.server.may_create_schema
        if version > 0 or may_create:
            return ""
        user, database = quote(self._session.server.user), quote(self._session.server.database)
        what = f"USAGE, CREATE ON SCHEMA {SCHEMA}" if row["schema_exists"] else f"CREATE ON DATABASE {database}"
        return f"role {user} may not create the history: GRANT {what} TO {user}"

    def _create(self, row: dict[str, Any], version: int) -> None:
        """Bring the history to the version that we know."""
        for number, upgrade in enumerate(UPGRADES[version:]):
            new = number == 0 and not row["schema_exists"]
            self._session.execute(NEW_SCHEMA + upgrade if new else upgrade)

    def _no_right(self) -> str:
        user = quote(self._session.server.user)
        return (f"role {user} may not use the history: GRANT USAGE ON SCHEMA {SCHEMA} TO {user}; GRANT SELECT, INSERT, UPDATE, "
                f"DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {user}")  # fmt: skip

    def _remember(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self.memory[row["operation"], row["target"]] = Memory(row["value"], row["seconds"], row["deferred"])

    def recall(self, operation: str, target: str) -> Memory:
        """What is known of a target; nothing, if nothing is."""
        return self.memory.get((operation, target)) or Memory()

    def begin(self, step: int, action: Action) -> int | None:
        """The row of an action that is about to be executed."""
        if self.run_id is None:
            return None
        parameters = {
            "run_id": self.run_id,
            "step": step,
            "operation": action.operation,
            "target": action.target,
            "reason": action.reason,
            "statements": list(action.statements),
            "numbers": json.dumps(action.numbers),
        }
        return self._write(BEGIN, parameters, returning=True)

    def finish(self, row_id: int | None, action: Action, outcome: Outcome, seconds: float) -> None:
        """Complete the row, and remember what the next run must know."""
        done = outcome.status == "done"
        memory = {
            "operation": action.operation,
            "target": action.target,
            "value": outcome.state,
            "seconds": seconds if done else None,
            "deferred": outcome.status == "deferred",
        }
        if self.run_id is not None and row_id is not None:
            parameters = {
                "id": row_id,
                "outcome": outcome.status,
                "reason": outcome.reason or action.reason,
                "measured": json.dumps(outcome.numbers),
                "rows": outcome.rows,
                "state": json.dumps([memory]),
            }
            self._write(FINISH, parameters)

    def close(
        self,
        status: str,
        message: str,
        totals: dict[str, int],
        noted: list[dict[str, Any]],
        deferred: list[dict[str, Any]],
    ) -> None:
        """Complete the run: what was decided but not executed, what was put off, the pruning and the lock, in one turn."""
        unlock = self.locked and not self._session.shared
        if self.run_id is None:
            if unlock:
                self._session.execute(UNLOCK, _KEYS)
            return
        parameters = {
            "run_id": self.run_id,
            "status": status,
            "message": message,
            "totals": json.dumps(totals),
            "actions": json.dumps(noted),
            "state": json.dumps(deferred),
            "unlock": unlock,
            **_KEYS,
            "days": KEEP_DAYS,
            "actions_kept": KEEP_ACTIONS,
        }
        self._write(CLOSE, parameters)

    def _write(self, query: str, parameters: dict[str, Any], returning: bool = False) -> int | None:
        """Write; when that is refused midway, the maintenance goes on without a history."""
        try:
            if returning:
                return int(self._session.row(query, parameters)["id"])
            self._session.execute(query, parameters)
        except (SqlError, Contended) as error:
            self.run_id = None
            self.note = f"the history in schema {SCHEMA} could not be written: {error}"
        return None


def provide(session: Session, check: bool) -> tuple[int, str]:
    """Create or upgrade the history without a run: the version that there was before (0: none), and why it cannot be done.

    Keeps the run lock until the session ends. Raises Contended while a run is under way that has not created it, SqlError.
    """
    history = History(session, check)
    row = session.row(ENTER, {"lock": not check, **_KEYS})
    version = history._version(row)
    if history.note or version == VERSION:
        return version, history.note
    if not check and not row["locked"]:
        raise Contended(f"the history in schema {SCHEMA} is not of version {VERSION} yet, and a run is under way")
    history.note = history._may_not_create(row, version)
    if not history.note and not check:
        history._create(row, version)
    return version, history.note


def recent(session: Session, plan: str | None, target: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest runs with their actions, newest first; empty without a history. Raises MaintenanceError."""
    history = History(session, check=True)
    row = session.row(ENTER, {"lock": False, **_KEYS})
    version = history._version(row)
    if history.note:
        raise MaintenanceError(f"no history: {history.note}")
    if not version:
        return []
    return session.rows(RECENT, {"plan": plan, "target": target, "limit": limit})
