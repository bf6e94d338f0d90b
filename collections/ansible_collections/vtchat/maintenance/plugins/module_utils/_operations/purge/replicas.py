# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Waiting for replicas that are far behind, as long as that helps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..._postgres.policy import LIGHT
from ..._postgres.session import Session
from ..._units import size
from .pace import LAG_LIMIT

PATIENCE = 10.0  # seconds for a replica to show that it catches up; of less than four times as much time a quarter
CATCHES_UP = 8 * 1024 * 1024  # bytes in that time
LOOK_EVERY = 0.5  # seconds: a replica catches up by itself and tells nobody

LAG = """
SELECT pid, application_name::text AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS bytes
FROM pg_stat_replication WHERE replay_lsn IS NOT NULL
"""


@dataclass
class Replicas:
    """Deleting is the kind of WAL that makes replicas fall behind, and the way back is to wait.

    One that is delayed on purpose, paused or stuck would be waited for until the time is over, in every run, and would be as far
    behind then. So one that does not come nearer is left behind.

    sleep         as time.sleep
    seconds_left  of the budget
    left          what is told of those that were left behind, by process
    """

    sleep: Callable[[float], None]
    seconds_left: Callable[[], float]
    left: dict[int, str] = field(default_factory=dict)
    _looked: float = float("-inf")

    def wait(self, session: Session, clock: Callable[[], float] = time.monotonic) -> float:
        """Wait while one is far behind and comes nearer; the seconds that this took."""
        began = clock()
        if self.left and began - self._looked < PATIENCE:
            return 0.0
        patience = min(PATIENCE, self.seconds_left() / 4)
        since: dict[int, tuple[int, float]] = {}
        while self.seconds_left() > LIGHT:
            behind = self._behind(session)
            self._looked = now = clock()
            for pid, (name, lag) in behind.items():
                before, moment = since.setdefault(pid, (lag, now))
                if before - lag >= CATCHES_UP:
                    since[pid] = (lag, now)
                elif now - moment >= patience:
                    self.left[pid] = (
                        f"{name or 'a replica'} stays {size(lag)} behind, and was not waited for any longer"
                    )
            if not behind.keys() - self.left.keys():
                break
            self.sleep(LOOK_EVERY)
        return clock() - began

    def told(self) -> str:
        """The end of a sentence about those that were left behind, "" without any."""
        return "".join(f"; {text}" for text in self.left.values())

    def _behind(self, session: Session) -> dict[int, tuple[str, int]]:
        """Those that are too far behind: name and bytes, by process."""
        return {row["pid"]: (row["name"] or "", row["bytes"]) for row in session.rows(LAG) if row["bytes"] > LAG_LIMIT}
