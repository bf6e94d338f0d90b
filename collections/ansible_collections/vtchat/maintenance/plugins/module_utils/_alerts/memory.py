# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What was told of which condition, in the history of the database: the same for every machine that tells."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from .._engine import history_alone
from .._engine.history_sql import LOCK_KEYS
from .._errors import Contended, MaintenanceError
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.session import Session
from .decide import Known, read_known

OPERATION = "alerts"
# The second lock of ours: a run does not keep anybody from telling, and two do not tell the same.
LOCK = "SELECT pg_catalog.pg_advisory_lock(%(key1)s, %(key2)s)"
KEYS = {"key1": LOCK_KEYS[0], "key2": 2}
# Seconds that one waits for another who is telling.
PATIENCE = 60.0

READ = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT coalesce(jsonb_agg(value), '[]') FROM maintenance.state WHERE operation = %(operation)s) AS known
"""
# What has been well for so long that nobody would call it the same again is forgotten.
WRITE = """
WITH forgotten AS (
    DELETE FROM maintenance.state WHERE operation = %(operation)s AND value ->> 'level' = 'info'
    AND updated_at < clock_timestamp() - interval '90 days'
)
INSERT INTO maintenance.state AS s (operation, target, value)
SELECT %(operation)s, key, value FROM jsonb_each(%(known)s)
ON CONFLICT (operation, target) DO UPDATE SET value = excluded.value, updated_at = clock_timestamp()
"""


@dataclass
class Memory:
    """What is known, and where more may be kept.

    note    why nothing is remembered; "" where it is
    session over which it is kept; None where it is not
    server  what a result says of the server; empty where there is none
    now     seconds since 1970, by the server's clock where there is one
    """

    note: str = ""
    server: dict[str, Any] = field(default_factory=dict)
    now: float = field(default_factory=time.time)
    known: dict[str, Known] = field(default_factory=dict)
    turns: int = 0
    session: Session | None = None

    def keep(self, known: Iterable[Known]) -> None:
        """Remember, unless nothing is to change. What cannot be kept is told in ``note``."""
        rows = {one.key: one.as_dict() for one in known}
        if self.session is None or not rows:
            return
        try:
            self.session.execute(WRITE, {"operation": OPERATION, "known": json.dumps(rows)})
        except MaintenanceError as error:
            self.note = f"it could not be written: {error}"


@contextmanager
def remembering(connection: ConnectionOptions, without: str, check: bool) -> Iterator[Memory]:
    """The memory of this database, for as long as somebody tells. Raises Contended where another is telling for too long.

    without: why no database is to be asked; "" where it is.
    """
    if without:
        yield Memory(without)
        return
    try:
        session = open_session(
            connection, "vtchat.maintenance alerts", 60.0 + PATIENCE, read_only=check, writes=not check, standby=check
        )
    except MaintenanceError as error:
        yield Memory(str(error))
        return
    with closing(session):
        memory = _opened(session, check)
        yield memory
        memory.turns = session.round_trips


def _opened(session: Session, check: bool) -> Memory:
    memory = Memory(server=session.server.summary())
    try:
        memory.note = history_alone.unusable(session, writes=not check)
        if memory.note:
            return memory
        if not check and not session.shared:
            session.set(lock_timeout=PATIENCE)
            session.execute(LOCK, KEYS)
        row = session.row(READ, {"operation": OPERATION})
    except Contended as error:
        raise Contended(f"another is telling, and has not come to an end within {PATIENCE:.0f} s: {error}") from None
    except MaintenanceError as error:
        memory.note = str(error)
        return memory
    found = [one for one in map(read_known, row["known"]) if one is not None]
    memory.now, memory.known = row["now"], {one.key: one for one in found}
    memory.session = None if check else session
    return memory
