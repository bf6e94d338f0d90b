# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which other sessions may have committed something that PostgreSQL has not counted yet.

A session adds what it changed to the shared counters when it becomes idle after a transaction, but not within a second of
the last time and not while somebody else has the lock of an entry; then it tries again when it becomes idle the next time,
and for certain ten seconds after it became idle, if it still is (PGSTAT_MIN_INTERVAL, PGSTAT_IDLE_INTERVAL and
pgstat_report_stat() of PostgreSQL 15 to 18). So these have reported whatever they committed before the first look:

- a session that has gone: the end of a session waits for the locks;
- one that has been idle for longer than the ten seconds. That it became idle a moment ago proves nothing, however long
  after the first look: a Sync without a statement makes a session idle anew, and a lock that is taken puts it off;
- one that had counts left over for more than a minute and then ended another statement (PGSTAT_MAX_INTERVAL): then it
  waits for the locks. The start of its last statement tells; a Sync does not change that.

One that is in the transaction in which it was when the fingerprint was stored has committed nothing since. A sender of
logical replication that has been streaming since then has run no statement.

All else proves nothing: a session outside a transaction that is not idle (COMMIT and Flush without Sync, an error before a
Sync), workers of extensions and of logical replication, which report when they like, and sessions whose state is hidden.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..._postgres.driver import sql
from ..._postgres.session import Session
from ..._units import duration

# Seconds: the constants of PostgreSQL with something added for timers that fire late.
IDLE_INTERVAL = 10.0 + 1.0
MAX_INTERVAL = 60.0 + 1.0

# Every transaction holds the lock on its own virtual id, which never comes again, and everybody may see that.
LOCK = """
lock AS MATERIALIZED (
    SELECT pid, virtualxid AS id FROM pg_catalog.pg_locks
    WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND granted
)"""

# Everybody else in this database who can change data; neither autovacuum nor a parallel worker can. Before pgstat counts a
# row the session is there, and it is there until it has reported. The clock is read before the rest: later would make
# sessions idle for longer than they have been.
LOOK = """
look AS MATERIALIZED (
    SELECT extract(epoch FROM statement_timestamp())::float8 AS now, coalesce(jsonb_agg(jsonb_build_object(
               'pid', a.pid, 'type', a.backend_type, 'state', a.state,
               'since', extract(epoch FROM a.state_change), 'asked', extract(epoch FROM a.query_start),
               'transaction', (SELECT min(lock.id) FROM lock WHERE lock.pid = a.pid),
               'sending', (SELECT s.state FROM pg_catalog.pg_stat_get_wal_senders() AS s WHERE s.pid = a.pid)
           ) ORDER BY a.pid), '[]') AS sessions
    FROM pg_catalog.pg_stat_get_activity(NULL) AS a
    WHERE a.datid = {database} AND a.pid <> pg_catalog.pg_backend_pid()
        AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
)"""

SENDING = ("catchup", "streaming")
HAS_TIMER = ("client backend", "walsender")


@dataclass(frozen=True)
class Look:
    """The other sessions of this database at one moment of the server's clock."""

    sessions: list[dict[str, Any]]
    now: float

    @property
    def transactions(self) -> list[str]:
        """Virtual ids of the transactions that are open."""
        return [session["transaction"] for session in self.sessions if session["transaction"]]


@dataclass(frozen=True)
class Before:
    """What is known of the moment at which the stored fingerprints were read.

    transactions  virtual ids of those that were open then
    read_at       seconds since the epoch
    """

    transactions: Collection[str]
    read_at: float


def ctes(database_oid: int) -> sql.Composed:
    """The CTEs ``lock`` and ``look``; the latter has one row with the columns now and sessions."""
    return sql.SQL(LOCK + "," + LOOK).format(database=sql.Literal(database_oid))


def look(session: Session) -> Look:
    """Who else is here now."""
    query = sql.SQL("WITH {} SELECT now, sessions FROM look").format(ctes(session.server.database_oid))
    row = session.row(query)
    return Look(row["sessions"], row["now"])


class Watch:
    """The sessions of a first look, and what later looks prove about them.

    left  those that may still hold counts of something committed before the first look
    """

    def __init__(self, first: Look, before: Before) -> None:
        self.first, self.now, self.before = first, first, before
        self._suspects = {session["pid"] for session in first.sessions}
        self._idle_at: dict[int, float] = {}
        self.left = self._examine(first)

    def see(self, now: Look) -> None:
        """Another look, later than those before."""
        self.now = now
        self.left = self._examine(now)

    @property
    def seconds(self) -> float:
        """Between the first and the latest look."""
        return self.now.now - self.first.now

    def earliest(self) -> float:
        """When the last of those that are left can be known to have reported; seconds after the first look."""
        moments = [self._earliest(session) for session in self.left]
        return max(moments, default=0.0) - self.first.now

    def _examine(self, now: Look) -> list[dict[str, Any]]:
        left = []
        for session in now.sessions:
            if session["pid"] not in self._suspects or self._reported(session, now):
                continue
            if _idle(session):
                self._idle_at.setdefault(session["pid"], now.now)
            left.append(session)
        return left

    def _reported(self, session: Mapping[str, Any], now: Look) -> bool:
        if session["transaction"] in self.before.transactions:
            return True
        if session["sending"] in SENDING:
            return bool(session["state"] == "active" and session["since"] < self.before.read_at)
        if not _idle(session):
            return False
        seen = self._idle_at.get(session["pid"])
        forced = seen is not None and session["asked"] is not None and session["asked"] - seen >= MAX_INTERVAL
        return bool(forced or now.now - session["since"] >= IDLE_INTERVAL)

    def _earliest(self, session: Mapping[str, Any]) -> float:
        """A session that is busy may go at any moment; one that is idle can only stay so, or go on for a minute."""
        if not _idle(session) or session["type"] not in HAS_TIMER:
            return self.now.now
        return float(session["since"]) + IDLE_INTERVAL

    def why(self) -> str:
        """Whom we waited for in vain, and what would help; "" if nobody is left."""
        if not self.left:
            return ""
        first = min(self.left, key=lambda session: session["type"] in HAS_TIMER)
        others = f" and {len(self.left) - 1} more" if len(self.left) > 1 else ""
        wait = f"for the {duration(self.seconds)} that we waited" if self.seconds else "and there is no time to wait"
        return (
            f"session {first['pid']}{others} {_doing(first)} {wait}, and may have changed rows that are not counted yet"
        )


def _idle(session: Mapping[str, Any]) -> bool:
    return session["state"] == "idle" and session["type"] in HAS_TIMER


def _doing(session: Mapping[str, Any]) -> str:
    if session["transaction"]:
        return "was in a transaction"
    if session["type"] is None:
        return "does not show its state (GRANT pg_read_all_stats to our role)"
    if session["type"] not in HAS_TIMER:
        return f"({session['type']}) reports its changes when it likes, and was there"
    return "was busy"
