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
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from .. import _origin
from .._errors import ConnectError, Contended, MaintenanceError, SqlError
from .._operations import Action, Outcome, reading
from .._postgres.names import quote
from .._postgres.session import Session
from . import history_sql
from .closing import Closing
from .fair import LONGEST_PAUSE, Key, Memory
from .history_locks import explained, holders, with_holder
from .history_tables import NEW_SCHEMA, SCHEMA, TABLES, UPGRADES, VERSION, differences, strangers

KEEP_DAYS = 90
# Of small rows: some 15 MB of actions, and 10 MB of findings, whatever a plan does.
KEEP_ACTIONS = 50_000
KEEP_FINDINGS = 20_000

COMMENT = "vtchat.maintenance history, version "
# Earlier ones do not know how often a target was tried in vain: it is tried in every second run.
COUNTS_DEFERRALS = 3
# What only the versions from a number on keep.
LACKING = {
    2: "findings",
    3: "record of how long targets have waited",
    4: "record of when plans are due",
    5: "sizes and counters",
}
# Tables that a run cannot be closed without.
NEEDED = {f"{SCHEMA}.{table}" for table in TABLES[1]}
NOT_WANTED = "history: false"
NONE_YET = "there is no history yet"
STANDBY = "a standby records no runs"


class History:
    """The history of one database as one run sees it.

    note      why there is none, "" where there is one
    limited   what it cannot keep, "" where it keeps all
    may_act   the run lock is ours, or none is needed
    unusable  why this run is not recorded in it, or in check mode would not be; "" where it is
    opened    when the run was opened, in seconds since 1970 by the server's clock; 0.0 without a history
    recent    the latest runs of the plan, newest first
    tells_findings  those of earlier runs can be read
    interrupted  what it does not have of this run, since somebody had locked it meanwhile; "" if nothing
    counters  what all runs together have done, once this one is closed; None where it is not counted
    """

    def __init__(self, session: Session, check: bool, reads: bool = False) -> None:
        """reads: the run only reads, and takes no lock."""
        self._session = session
        self._check = check
        self._reads = reads
        self._locks = not check and not reads and not session.shared
        self._findings = False
        self._counts = False
        self.tells_findings = False
        self._row: dict[str, Any] = {}
        self._version_found = 0  # 0 without a history
        self._version_used = VERSION
        self.opened = 0.0
        self.holder: dict[str, Any] | None = None
        self.may_act = False
        self.run_id: int | None = None
        self.note = ""
        self.unusable = ""
        self.limited = ""
        self.interrupted = ""
        self._interrupted = ""  # why it could not be written, since when nothing is until the end of the run
        self._late: list[dict[str, Any]] = []  # ends of actions that are to be written then
        self._late_memories: dict[Key, Memory] = {}
        self.abandoned: list[dict[str, Any]] = []
        self.memory: dict[Key, Memory] = {}
        self.recent: list[dict[str, Any]] = []
        self.counters: list[dict[str, Any]] | None = None

    @property
    def version(self) -> int:
        """Of the history that is there; 0 without one."""
        return self._version_found

    @property
    def readable(self) -> bool:
        """Whether there is one whose runs can be read."""
        return bool(self._version_found and self._row.get("may_read") and not self.note)

    def enter(self, wanted: bool) -> None:
        """Take the run lock and look what there is. When somebody else has the lock, only ``holder`` is set."""
        row = self._entered(wanted)
        self.holder = row["holder"]
        self.may_act = not self._check and (not self._locks or bool(row["locked"]))
        if not self._check and not self.may_act:
            self.holder = self.holder or {}
            return
        if not wanted:
            self.note = NOT_WANTED
        elif not self.note:
            try:
                self._version_found = self.version_of(row)
            except ConnectError:
                # The end of the session would do it too, but a moment later.
                if self._locks:
                    self._session.execute(history_sql.UNLOCK, history_sql.KEYS)
                raise
        self.unusable = self._why_unusable()

    def _entered(self, wanted: bool) -> dict[str, Any]:
        """The lock and what there is; the lock alone where nobody wants more, or somebody has locked a table of the history."""
        parameters = {"lock": self._locks, **history_sql.KEYS}
        if wanted:
            try:
                self._row = self._session.row(history_sql.ENTER, parameters)
                return self._row
            except Contended as error:
                self._cannot(error)
        return self._session.row(history_sql.LOCK, parameters)

    def _cannot(self, error: MaintenanceError) -> None:
        """From now on it is not used in this run."""
        why = explained(self._session, error)
        self.note = self.unusable = f"the history in schema {SCHEMA} cannot be used: {why}"
        self._version_found = 0

    def succeeded(self, plan: str) -> tuple[datetime | None, datetime]:
        """When the latest run of a plan that succeeded began, None if there is none; and what time it is, by the same clock."""
        row: dict[str, Any] = {}
        if self._version_found and not self.unusable:
            try:
                row = self._session.row(history_sql.SUCCEEDED, {"plan": plan, "reading": reading()})
            except (SqlError, Contended) as error:
                self._cannot(error)
        row = row or self._session.row(history_sql.CLOCK)
        return row["last"], row["now"]

    def open(
        self, plan: str, steps: list[dict[str, Any]], schedule: Mapping[str, str] | None, budget: float | None = None
    ) -> None:
        """Open the run, or in check mode read what earlier ones have left. budget: seconds."""
        if self.note == NOT_WANTED:
            return
        parameters = {"plan": plan, "backend_start": self._session.server.backend_start, "steps": json.dumps(steps),
                      "schedule": json.dumps(schedule) if schedule else None, "budget": budget,
                      "host": _origin.host(), "collection": _origin.COLLECTION,
                      # Of others may be known thousands of targets.
                      "operations": sorted({operation for step in steps for operation in step})}  # fmt: skip
        try:
            only_reads = bool(self._reads and self._version_found and not self._row["may_write"])
            if self._check or self._session.server.in_recovery or only_reads:
                self._look(parameters)
                if only_reads and not self.note:
                    self.limited = (
                        f"this run is not recorded, since role {quote(self._session.server.user)} may only read"
                    )
            else:
                self._open(parameters)
        except (SqlError, Contended) as error:
            self._cannot(error)

    def version_of(self, row: dict[str, Any]) -> int:
        """The version of the history that exists, 0 without one. Raises ConnectError for a newer one than we know."""
        comment = row["comment"] or ""
        self.note = strangers(row["found"], self._session.server)
        if self.note or not row["run_exists"]:
            return 0
        if not comment.startswith(COMMENT) or not comment[len(COMMENT) :].isdigit():
            self.note = f"schema {SCHEMA} has a table run that is not ours"
            return 0
        version = int(comment[len(COMMENT) :])
        if version > VERSION:
            raise ConnectError(f"the history in schema {SCHEMA} is of version {version}, written by a newer release of this "
                               f"collection, which knows {VERSION}: update it, or set history: false")  # fmt: skip
        self.note = differences(row["found"], version)
        return 0 if self.note else version

    def _why_unusable(self) -> str:
        if self.note:
            return self.note
        if self._session.server.in_recovery:
            return STANDBY
        found = self._version_found
        if self._reads and not found:
            return NONE_YET  # whoever holds the lock may be creating it
        reason = self.may_not_create(self._row, found)
        if reason:
            return reason
        allowed = self._row["may_read"] and (self._row["may_write"] or self._reads)
        return self.no_right() if found and not allowed else ""

    def _look(self, parameters: dict[str, Any]) -> None:
        """Check mode, or a standby: read what there is, write nothing."""
        if self._version_found and self._row["may_read"]:
            self._version_used = self._version_found
            self.tells_findings = self._version_found > 1 and bool(self._row["may_read_findings"])
            self._remember(self._session.row(history_sql.state(self._version_found), parameters))
        elif not self.note:
            self.note = NONE_YET if not self._version_found else self.no_right()

    def _open(self, parameters: dict[str, Any]) -> None:
        self.note = self.unusable
        if self.note:
            return
        self._version_used = self._upgraded(self._row, self._version_found)
        opened = self._session.row(history_sql.opening(self._version_used), parameters)
        self.run_id, self.opened = opened["run_id"], opened["now"]
        self.tells_findings = self._version_found > 1 and bool(self._row["may_read_findings"])
        self.abandoned = opened["abandoned"] or []
        self._remember(opened)
        for operation, target in (action for run in self.abandoned for action in run["actions"]):
            self.memory[operation, target] = self.recall(operation, target).abandoned(self.opened)

    def may_not_create(self, row: dict[str, Any], version: int) -> str:
        """Why there cannot be a history, "" if there can."""
        may_create = row["may_create_tables"] if row["schema_exists"] else self._session.server.may_create_schema
        if version > 0 or may_create:
            return ""
        user, database = quote(self._session.server.user), quote(self._session.server.database)
        what = f"USAGE, CREATE ON SCHEMA {SCHEMA}" if row["schema_exists"] else f"CREATE ON DATABASE {database}"
        return f"role {user} may not create the history: GRANT {what} TO {user}"

    def _upgraded(self, row: dict[str, Any], version: int) -> int:
        """The version after it was brought to the one that we know. An older one that is not ours to alter stays in use."""
        if version == VERSION:
            self._look_what_to_keep(row)
        elif version and (self._reads or not row["may_alter"]):
            self._stay_at(
                version, row, f"the next run or provisioning as {quote(row['owner'])} brings it to version {VERSION}"
            )
        else:
            try:
                self.create(row, version)
            except Contended as error:
                if not version:
                    raise
                # Whoever reads it, such as pg_dump, keeps it from being altered, and not from being used.
                self._stay_at(
                    version, row, f"somebody is using it, and it could not be brought to version {VERSION} ({error})"
                )
                return version
            self._findings = self._counts = True
            return VERSION
        return version

    def _stay_at(self, version: int, row: dict[str, Any], why: str) -> None:
        """Use an older history as it is."""
        lacks = ", no ".join(what for since, what in LACKING.items() if since > version)
        self.limited = f"it is of version {version}, which keeps no {lacks}: {why}"
        if version > 1:
            self._look_what_to_keep(row)

    def _look_what_to_keep(self, row: dict[str, Any]) -> None:
        """What may be kept in the tables that there are for it."""
        self._findings = bool(row["may_add_findings"])
        self._counts = bool(row["may_count"])
        tables = [] if self._findings else [f"{SCHEMA}.finding"]
        tables += [] if self._counts else [f"{SCHEMA}.sample", f"{SCHEMA}.counter"]
        if tables and not self.limited:
            what = " nor ".join(
                [
                    name
                    for name, kept in (("findings", self._findings), ("sizes and counters", self._counts))
                    if not kept
                ]
            )
            user = quote(self._session.server.user)
            self.limited = f"{what} are not kept: GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(tables)} TO {user}"

    def create(self, row: dict[str, Any], version: int) -> None:
        """Bring the history to the version that we know."""
        for number, upgrade in enumerate(UPGRADES[version:]):
            new = number == 0 and not row["schema_exists"]
            self._session.execute(NEW_SCHEMA + upgrade if new else upgrade)

    def no_right(self) -> str:
        user, rights = quote(self._session.server.user), "SELECT" if self._reads else "SELECT, INSERT, UPDATE, DELETE"
        return (f"role {user} may not use the history: GRANT USAGE ON SCHEMA {SCHEMA} TO {user}; GRANT {rights} "
                f"ON ALL TABLES IN SCHEMA {SCHEMA} TO {user}")  # fmt: skip

    def _remember(self, found: dict[str, Any]) -> None:
        self.recent = found["recent"]
        for row in found["state"]:
            key = row.pop("operation"), row.pop("target")
            known = Memory(**row)
            if known.deferred and self._version_used < COUNTS_DEFERRALS:
                known = replace(known, deferrals=LONGEST_PAUSE)
            self.memory[key] = known

    def recall(self, operation: str, target: str) -> Memory:
        """What is known of a target; nothing, if nothing is."""
        return self.memory.get((operation, target)) or Memory()

    def begin(self, session: Session, step: int, operation: str, action: Action[Any]) -> int | None:
        """The row of an action that is about to be executed, over the session that will do it."""
        if self.run_id is None or self._interrupted:
            return None
        parameters = {
            "run_id": self.run_id,
            "step": step,
            "operation": operation,
            "target": action.target,
            "reason": action.reason,
            "statements": list(action.statements),
            "numbers": json.dumps(action.numbers),
        }
        rows = self._write(session, history_sql.BEGIN, parameters)
        return int(rows[0]["id"]) if rows else None

    def finish(
        self,
        session: Session,
        row_id: int | None,
        operation: str,
        action: Action[Any],
        outcome: Outcome,
        memory: Memory,
    ) -> None:
        """Complete the row, and keep what the next run must know."""
        if memory.cut_off and self._version_used < COUNTS_DEFERRALS:
            memory = replace(memory, deferred=False)
        if self.run_id is None:
            return
        if row_id is None:  # the run tells of it at its end
            self._late_memories[operation, action.target] = memory
            return
        parameters = {
            "id": row_id,
            "outcome": outcome.status,
            "reason": outcome.reason or action.reason,
            "measured": json.dumps(outcome.numbers),
            "rows": outcome.rows,
            "state": json.dumps([memory.as_row(operation, action.target)]),
        }
        if self._interrupted or not self._write(session, history_sql.finish(self._version_used), parameters):
            self._late.append(parameters)

    def close(self, closing: Closing) -> None:
        """Complete the run, in one round trip."""
        if self.run_id is None:
            if self._locks:
                self._session.execute(history_sql.UNLOCK, history_sql.KEYS)
            return
        memories = {**self._late_memories, **closing.memories}
        parameters = {
            "run_id": self.run_id,
            "status": closing.status,
            "message": closing.message,
            "totals": json.dumps(closing.totals),
            "actions": json.dumps(closing.noted),
            "state": json.dumps([memory.as_row(*key) for key, memory in memories.items()]),
            "findings": json.dumps(closing.findings),
            "retries": closing.retries,
            "unlock": self._locks,
            **history_sql.KEYS,
            "days": KEEP_DAYS,
            "actions_kept": KEEP_ACTIONS,
            "findings_kept": KEEP_FINDINGS,
            "counted": json.dumps(closing.counted),
        }
        try:
            for late in self._late:
                self._session.execute(history_sql.finish(self._version_used), late)
            self._leave(parameters)
        except (SqlError, Contended) as error:
            self.note = f"the history in schema {SCHEMA} could not be written: {explained(self._session, error)}"
            if self._locks and self._session.alive:
                self._session.execute(history_sql.UNLOCK, history_sql.KEYS)

    def _leave(self, parameters: dict[str, Any]) -> None:
        """Close the run; without what belongs to tables that somebody has locked, where they are those that it can do without."""
        try:
            query = history_sql.close(self._version_used, self._findings, self._counts)
            self.counters = self._session.row(query, parameters)["counters"]
        except Contended as error:
            found = holders(self._session, error)
            if any(one.table in NEEDED for one in found if one.strong or one is found[0]):
                raise
            query = history_sql.close(self._version_used, findings=False, counts=False, prunes=False)
            self._session.row(query, parameters)
            self._interrupted = with_holder(error, found)
            self.interrupted = f"findings, sizes and counters of this run are not kept: {self._interrupted}"
            return
        if self._interrupted:
            self.interrupted = f"what was done meanwhile was recorded at the end of the run only: {self._interrupted}"

    def _write(self, session: Session, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Write; the ids of the rows. Nothing where it was refused: until its end the run goes on without a history then."""
        try:
            return session.rows(query, parameters)
        except (SqlError, Contended) as error:
            self._interrupted = self._interrupted or explained(session, error)
            return []
