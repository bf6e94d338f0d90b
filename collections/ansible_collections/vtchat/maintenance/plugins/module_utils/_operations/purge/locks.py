# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who has locked what a purge needs, as far as it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres.driver import sql
from ..._postgres.names import display
from ..._postgres.session import Query, Session
from ..._postgres.sqlstates import LOCK_NOT_AVAILABLE
from ..._postgres.waits import who

# What a DELETE touches: the parts of a table, the tables whose rows go or change with its rows, and those that hold them, of
# which it locks rows at most. Who waits for such a lock is in the way as well, since everybody else queues behind him.
OF_TABLE = """
WITH RECURSIVE reached (oid) AS (
    SELECT {table}::oid
    UNION
    SELECT below.oid FROM reached CROSS JOIN LATERAL (
        SELECT k.conrelid AS oid FROM pg_constraint AS k
        WHERE k.confrelid = reached.oid AND k.contype = 'f' AND k.confdeltype = 'c'
        UNION ALL SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = reached.oid
    ) AS below
),
touched (oid, changes) AS (
    SELECT oid, true FROM reached
    UNION SELECT k.conrelid, k.confdeltype IN ('n', 'd') FROM reached
    JOIN pg_constraint AS k ON k.confrelid = reached.oid AND k.contype = 'f'
)
SELECT n.nspname::text AS schema, c.relname::text AS name, l.pid, l.mode, l.granted, a.usename::text AS "user", a.state,
       b.pid AS before_pid, b.usename::text AS before_user, b.state AS before_state
FROM touched JOIN pg_locks AS l ON l.relation = touched.oid AND l.locktype = 'relation'
JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_stat_activity AS b ON NOT l.granted AND b.pid = (pg_blocking_pids(l.pid))[1]
WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND l.pid IS DISTINCT FROM pg_backend_pid()
AND (l.mode IN ('ExclusiveLock', 'AccessExclusiveLock') OR touched.changes AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock'))
ORDER BY l.granted DESC, l.relation = {table} DESC, l.mode, l.pid LIMIT 1
"""
# A row's xmax is whoever locks it. Where several do it is the number of a list of them: lists have a numbering of their own, and
# which of both it is cannot be seen. So it is taken for either, and only those count who have locks on the table. What is
# outside of the numbers that are in use must not be asked for: the server would log an error that sounds like a disaster.
OF_ROWS = """
WITH RECURSIVE part (oid) AS (
    SELECT {table}::oid UNION SELECT i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid
),
given AS (SELECT x.number FROM unnest({transactions}::xid[]) AS x (number)),
member (number) AS (
    SELECT m.xid FROM given CROSS JOIN LATERAL pg_get_multixact_members(
        CASE WHEN mxid_age(number) BETWEEN 1 AND (SELECT max(mxid_age(datminmxid)) FROM pg_database) THEN number END) AS m
)
SELECT DISTINCT ON (l.pid) l.pid, a.usename::text AS "user", a.state
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
AND l.transactionid IN (SELECT number FROM given UNION SELECT number FROM member) AND EXISTS (
    SELECT FROM pg_locks AS r WHERE r.locktype = 'relation' AND r.virtualtransaction = l.virtualtransaction
    AND r.relation IN (SELECT oid FROM part) AND r.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY l.pid
"""
SHOWN = 3  # sessions


def explained(session: Session, error: Contended, table: int) -> Contended:
    """The same error with who was in the way of the table, where it is a lock that can still be seen."""
    rows = _seen(session, sql.SQL(OF_TABLE).format(table=sql.Literal(table))) if _waited(session, error) else []
    if not rows:
        return error
    return Contended(f"{error}: {_holder(rows[0])}", error.context, error.sqlstate)


def of_rows(session: Session, table: int, transactions: Sequence[str]) -> str:
    """Those of these transactions that are still open, for people; "" where there are none, or that cannot be seen.

    transactions: xmax of rows of the table, by its oid.
    """
    if not transactions:
        return ""
    rows = _seen(
        session, sql.SQL(OF_ROWS).format(table=sql.Literal(table), transactions=sql.Literal(list(transactions)))
    )
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return ", ".join(map(who, rows[:SHOWN])) + more


def _waited(session: Session, error: Contended) -> bool:
    return session.alive and error.sqlstate == LOCK_NOT_AVAILABLE


def _seen(session: Session, query: Query) -> list[dict[str, Any]]:
    """Nobody has to know who it is: what was in the way of the answer does not count."""
    try:
        return session.rows(query)
    except (Contended, SqlError):
        return []


def _holder(row: dict[str, Any]) -> str:
    does = "holds" if row["granted"] else "waits for"
    before = {name: row[f"before_{name}"] for name in ("pid", "user", "state")}
    behind = f", behind {who(before)}" if before["pid"] else ""
    return f"{who(row)} {does} {row['mode']} on {display(row['schema'], row['name'])}{behind}"
