# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How fast a purge goes: full speed when it is alone, short batches with pauses when others would feel it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Seconds between looks: at first soon, for a purge may be over in a second; a look sees who has worked since the one before it.
FIRST_LOOKS = (0.05, 0.1, 0.3)
LOOK_EVERY = 1.0
LAG_LIMIT = 64 * 1024 * 1024  # bytes of WAL that a replica may be behind before a purge waits for it

# Others are there when a session works or has worked since the last look; where the role may not see that, when so many of
# their transactions end in a second. Counters come late, by up to a second: only several looks together tell a rate.
TRANSACTIONS = 10.0
LOOKS, LEAST_SECONDS = 4, 1.5
GENTLE_BATCH = 0.0015  # seconds of work: whoever commits in between waits until its WAL is on the disk, about a MB
GENTLE_SHARE = 0.6  # of the time
CAUTIOUS_SHARE = 0.3  # the same when others wait for our locks, or for the disk that our commits keep busy
SLOW_COMMIT = 4.0  # times the fastest commit so far
SLOW_SECONDS = 0.02  # and so much more than that

# Asked in the statement that deletes, after it has deleted: what waits for its locks is seen only while it holds them. Each
# name is qualified, for it runs under the user's path. state_change is null where the role may not see it; pg_locks and the
# counters show everything to everybody. The statement's own time tells the time of its commit from outside.
LOOK = """
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE {others}
        AND a.state OPERATOR(pg_catalog.=) 'active'::pg_catalog.text) AS active,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE {others}
        AND a.state_change OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp()
            OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => {since}))) AS recent,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE {others} AND a.state IS NULL) AS hidden,
    (SELECT pg_catalog.sum(d.xact_commit OPERATOR(pg_catalog.+) d.xact_rollback) FROM pg_catalog.pg_stat_database AS d)
        AS transactions,
    (SELECT pg_catalog.count(DISTINCT l.pid) FROM pg_catalog.pg_locks AS l WHERE NOT l.granted
        AND pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) ANY (pg_catalog.pg_blocking_pids(l.pid))) AS waiting,
    (SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn))
        FROM pg_catalog.pg_stat_replication AS r) AS lag,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp())
        AS inside"""
# What a session is, is hidden as well: one of somebody in a database is a client, as far as can be told.
OTHERS = """(a.backend_type OPERATOR(pg_catalog.=) 'client backend'::pg_catalog.text
            OR a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL)
        AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
        AND (a.application_name IS NULL OR a.application_name
            OPERATOR(pg_catalog.<>) pg_catalog.current_setting('application_name'))"""

# Why it pauses, as the result says.
OTHERS_WORK, WAITED_FOR, SLOW_COMMITS, REPLICAS, ASKED = "others", "waiting", "commits", "replicas", "share"


@dataclass
class Pace:
    """Decides, from what was seen, how long a batch may take and how long to wait after it. Pure: the clock is given.

    share    of the time in which rows may be deleted, 1 for all of it; None: by what others do
    seconds  that a batch takes when nobody is there
    cause    why it is slow now, "" when it is not
    paused   seconds that were waited, by cause
    """

    share: float | None
    seconds: float
    cause: str = ""
    behind: bool = False
    paused: dict[str, float] = field(default_factory=dict)
    _looked: float = -math.inf
    _looks: int = 0
    _counted: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LOOKS))
    _commit: float = math.inf

    def __post_init__(self) -> None:
        if self.share is not None and self.share < 1:
            self.cause = ASKED

    def due(self, now: float) -> bool:
        """Whether to look around."""
        return now - self._looked >= self._every

    def look(self, now: float) -> str:
        """What a look asks, as columns of a SELECT."""
        since = min(now - self._looked, LOOK_EVERY) if self._looks else FIRST_LOOKS[0]
        return LOOK.format(others=OTHERS, since=round(since, 3))

    @property
    def _every(self) -> float:
        return FIRST_LOOKS[self._looks] if self._looks < len(FIRST_LOOKS) else LOOK_EVERY

    @property
    def goal(self) -> float:
        """Seconds for the next batch."""
        return self.seconds if self.cause in ("", ASKED) else min(self.seconds, GENTLE_BATCH)

    def pause(self, took: float) -> float:
        """Seconds to wait after a batch that took so long."""
        share = self.share
        if share is None:
            share = 1.0 if not self.cause else GENTLE_SHARE if self.cause == OTHERS_WORK else CAUTIOUS_SHARE
        return took * (1 / share - 1)

    def waited(self, seconds: float, cause: str = "") -> None:
        """So long it has waited."""
        cause = cause or self.cause
        self.paused[cause] = self.paused.get(cause, 0.0) + seconds

    def heed(self, seen: Mapping[str, Any], took: float, now: float, own: int) -> None:
        """What a look has shown.

        took  seconds of the statement, its commit and the way there and back included
        own   transactions of our own so far
        """
        self.behind = (seen["lag"] or 0) > LAG_LIMIT
        self._counted.append((now, float(seen["transactions"] or 0) - own))
        commit = max(0.0, took - seen["inside"])
        slow = commit > max(SLOW_COMMIT * self._commit, self._commit + SLOW_SECONDS)
        self._commit = min(self._commit, commit)
        self._looked, self._looks = now, self._looks + 1
        if self.share is not None:
            return
        there = seen["active"] > 0 or seen["recent"] > 0 or (seen["hidden"] > 0 and self._hidden_work())
        # Alone, a slow commit is a slow disk: there is nobody to spare.
        self.cause = WAITED_FOR if seen["waiting"] else SLOW_COMMITS if slow and there else OTHERS_WORK if there else ""

    def _hidden_work(self) -> bool:
        """Whether those work that the role may not see, as far as is known: until it is, they do."""
        (began, before), (now, after) = self._counted[0], self._counted[-1]
        return now - began < LEAST_SECONDS or (after - before) / (now - began) >= TRANSACTIONS

    def numbers(self) -> dict[str, Any]:
        """The pauses and their causes, for the result."""
        told = {cause: round(seconds, 2) for cause, seconds in self.paused.items() if seconds >= 0.005}
        return {"paused_seconds": round(sum(self.paused.values()), 2), "paused_for": told} if told else {}
