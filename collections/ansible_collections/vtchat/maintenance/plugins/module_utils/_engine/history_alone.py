# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The history without a run: for provisioning, for whoever asks what was done, and for what is remembered beside the runs."""

from __future__ import annotations

from typing import Any

from .._errors import Contended, MaintenanceError
from .._postgres.names import quote
from .._postgres.session import Session
from . import history_sql
from .history import NONE_YET, History
from .history_locks import explained
from .history_tables import SCHEMA, VERSION


def provide(session: Session, check: bool) -> tuple[int, str]:
    """Create or upgrade the history without a run: the version that there was before (0: none), and why it cannot be done.

    Keeps the run lock until the session ends. Raises Contended while a run is under way that has not created it, SqlError.
    """
    history = History(session, check)
    row = _found(session, lock=not check)
    version = history.version_of(row)
    if history.note or version == VERSION:
        return version, history.note
    if not check and not row["locked"]:
        raise Contended(f"the history in schema {SCHEMA} is not of version {VERSION} yet, and a run is under way")
    history.note = history.may_not_create(row, version)
    if version and not row["may_alter"]:
        owner = quote(row["owner"])
        history.note = (
            f"it is of version {version}, and {owner} has to bring it to version {VERSION}: set role: {owner}"
        )
    if not history.note and not check:
        history.create(row, version)
    return version, history.note


def recent(session: Session, plan: str | None, target: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest runs with their actions, newest first; empty without a history. Raises MaintenanceError."""
    history = History(session, check=True)
    row = _found(session)
    version = history.version_of(row)
    if history.note:
        raise MaintenanceError(f"no history: {history.note}")
    if not version:
        return []
    parameters = {"plan": plan, "target": target, "limit": limit}
    query = history_sql.recent(version, findings=version > 1 and bool(row["may_read_findings"]))
    try:
        return session.rows(query, parameters)
    except Contended as error:
        raise Contended(explained(session, error)) from None


def unusable(session: Session, writes: bool) -> str:
    """Why what is remembered beside the runs can be neither read nor written here; "" if it can. Raises MaintenanceError."""
    history = History(session, check=True)
    try:
        row = _found(session)
    except Contended as error:
        return str(error)
    version = history.version_of(row)
    if history.note:
        return history.note
    if not version:
        return f"{NONE_YET}: the next run of a plan, or provisioning, makes it"
    return "" if row["may_read"] and (row["may_write"] or not writes) else history.no_right()


def _found(session: Session, lock: bool = False) -> dict[str, Any]:
    """What there is of a history. Raises Contended, which says who has locked a table of it."""
    try:
        return session.row(history_sql.ENTER, {"lock": lock, **history_sql.KEYS})
    except Contended as error:
        raise Contended(f"the history in schema {SCHEMA} cannot be used: {explained(session, error)}") from None
