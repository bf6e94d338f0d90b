# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who is in the way where the history was waited for in vain, by the catalog, which no lock on a table keeps away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._errors import Contended, MaintenanceError, SqlError
from .._postgres.names import display
from .._postgres.session import Session
from .._postgres.waits import who

# What a run needs at most is ROW EXCLUSIVE. The first two kinds keep it away: locks that are held, and those that are waited for,
# since everybody else queues behind them. The third keeps it away from single rows only.
_HELD = """
SELECT n.nspname::text AS schema, c.relname::text AS name, l.pid, l.mode, l.granted, a.usename::text AS "user", a.state,
       l.mode NOT IN ('RowShareLock', 'RowExclusiveLock') AS strong
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND n.nspname = 'maintenance' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')
AND (l.granted OR l.mode NOT IN ('RowShareLock', 'RowExclusiveLock'))
ORDER BY strong DESC, l.granted DESC, l.mode, c.relname, l.pid
"""


@dataclass(frozen=True)
class Holder:
    """Who has locked a table of the history, or rows of it, or waits to lock it. pid: None for a prepared transaction."""

    table: str
    pid: int | None
    mode: str
    granted: bool
    strong: bool
    shown: str

    def __str__(self) -> str:
        if not self.strong:
            return f"{self.shown} has locked rows of {self.table} in a transaction that is still open"
        return f"{self.shown} {'holds' if self.granted else 'waits for'} {self.mode} on {self.table}"

    @property
    def way_out(self) -> str:
        """What makes them let go."""
        if self.pid is None:
            return "ROLLBACK PREPARED or COMMIT PREPARED ends it (pg_prepared_xacts)"
        return f"SELECT pg_terminate_backend({self.pid}) ends it"


def holders(session: Session, error: MaintenanceError) -> list[Holder]:
    """Whoever was in the way of a statement, the most likely first; nobody where it was no lock. Raises nothing."""
    if not isinstance(error, Contended) or not session.alive:
        return []
    try:
        found = [_holder(row) for row in session.rows(_HELD)]
    except (SqlError, Contended):
        return []
    # Where it was a row, the server says in which table.
    named = [one for one in found if f'"{one.table.rpartition(".")[2]}"' in error.context]
    return [*named, *(one for one in found if one not in named)]


def explained(session: Session, error: MaintenanceError) -> str:
    """What the server has said, and who is in the way, where that can be seen, with the way out."""
    return with_holder(error, holders(session, error))


def with_holder(error: MaintenanceError, found: list[Holder]) -> str:
    """The same of those that are known already."""
    return f"{error}: {found[0]}; {found[0].way_out}" if found else str(error)


def _holder(row: dict[str, Any]) -> Holder:
    return Holder(display(row["schema"], row["name"]), row["pid"], row["mode"], row["granted"], row["strong"], who(row))
