# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Batches whose rows are kept elsewhere before they are gone: each in a transaction of more than one statement."""

from __future__ import annotations

import time
from typing import Any, Protocol

from ..._postgres.driver import sql
from ..._postgres.session import Session
from .pace import Pace
from .statements import Purge


class Keep(Protocol):
    """Where rows are kept. Raises MaintenanceError where they cannot be; the transaction is rolled back then."""

    def delete(self, session: Session, deletion: sql.Composed) -> int:
        """Run a DELETE, which has no RETURNING yet, and keep what it deletes; how many rows. In a transaction."""

    def committed(self) -> None:
        """That transaction was committed."""

    def close(self) -> None:
        """No more rows come."""


def places(
    session: Session, keep: Keep, purge: Purge, pace: Pace, pick: sql.Composable
) -> tuple[dict[str, Any], float]:
    """Delete the rows that ``pick`` locks: a row as that of a batch, and the seconds that it took."""
    began = time.monotonic()
    session.execute("BEGIN", alone=True)
    try:
        row = session.row(purge.places(pick), users_path=True)
        row["gone"] = keep.delete(session, purge.placed(row["places"], row["parts"])) if row["picked"] else 0
        _commit(session, keep, pace)
    except BaseException:
        session.leave_transaction()
        raise
    return row, time.monotonic() - began


def whole(session: Session, keep: Keep, pace: Pace, deletion: sql.Composed) -> tuple[int, float]:
    """Run a DELETE: how many rows are gone, and the seconds that it took."""
    began = time.monotonic()
    session.execute("BEGIN", alone=True)
    try:
        gone = keep.delete(session, deletion)
        _commit(session, keep, pace)
    except BaseException:
        session.leave_transaction()
        raise
    return gone, time.monotonic() - began


def _commit(session: Session, keep: Keep, pace: Pace) -> None:
    """Commit, and look around before it where that is due: what waits for our locks is seen only while we hold them."""
    now = time.monotonic()
    look = {**session.row("SELECT" + pace.look(now)), "inside": 0.0} if pace.due(now) else None
    began = time.monotonic()
    session.execute("COMMIT", alone=True)
    if look:
        pace.heed(look, time.monotonic() - began, time.monotonic(), session.round_trips)
    keep.committed()
