# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who is connected, who keeps a transaction open, and who waits for whom. What others have asked the server is never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._postgres.names import quote
from .._units import count, duration
from . import MONITOR, SEES_ALL, Asked, Check, Sample, Thresholds
from .blocking import Waiter, behind

MINUTE, HOUR = 60.0, 3600.0

# What is kept for superusers and, from 16 on, for members of pg_use_reserved_connections is not for applications. What kind of
# process another role's is may be hidden: those of the server itself belong to nobody.
CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'
        OR backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL) AS used,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS available
"""

# Sessions of this database that are at work or in a transaction. VACUUM and the building of indexes take the time that they need.
SESSIONS = f"""
SELECT {SEES_ALL} AS sees, (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM (
    SELECT a.pid, a.usename::text AS "user", a.application_name AS application, a.state, a.wait_event_type, a.wait_event,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction,
           extract(epoch FROM clock_timestamp() - CASE a.state WHEN 'active' THEN a.query_start ELSE a.state_change END)::float8
               AS seconds
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend' AND a.state <> 'idle'
    AND a.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum)
    AND a.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_create_index)) AS s) AS sessions
"""  # noqa: S608 - made of constants

# Everybody in this database who waits for a lock, and for whom. Whoever is not at work is not asked for: pg_blocking_pids() stops
# all locking for a moment. The process 0 is a prepared transaction.
BLOCKED = """
WITH waiting AS MATERIALIZED (
    SELECT pid, coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8 AS waits
    FROM pg_catalog.pg_locks WHERE NOT granted AND pid <> pg_catalog.pg_backend_pid() GROUP BY pid
), blocked AS MATERIALIZED (
    SELECT w.pid, w.waits, pg_catalog.pg_blocking_pids(w.pid) AS blockers
    FROM waiting AS w JOIN pg_catalog.pg_stat_activity AS a ON a.pid = w.pid
    WHERE a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
), involved AS (
    SELECT pid FROM blocked UNION SELECT pg_catalog.unnest(blockers) FROM blocked
)
SELECT i.pid, b.waits, b.blockers, a.usename::text AS "user", a.application_name AS application, a.state, a.backend_type AS kind,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS seconds,
       CASE WHEN i.pid = 0 THEN (SELECT pg_catalog.array_agg(pg_catalog.quote_literal(gid) ORDER BY prepared)
                                 FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()) END AS prepared
FROM involved AS i LEFT JOIN blocked AS b ON b.pid = i.pid LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = i.pid
"""

PREPARED = """
SELECT gid, pg_catalog.quote_literal(gid) AS literal, owner::text AS "user",
       extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()
"""

TERMINATE = "SELECT pg_catalog.pg_terminate_backend({});"
ENDED = "COMMIT PREPARED {0}; or ROLLBACK PREPARED {0};"
HIDDEN = "what sessions of other roles do is hidden from this role"


def _connections(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    return [
        Sample(
            asked.database,
            round(100 * row["used"] / max(1, row["available"])),
            f"{count(row['used'])} of {count(row['available'])} connections are in use",
            {"used": row["used"], "available": row["available"]},
        )
        for row in found
    ]


def who(row: Mapping[str, Any]) -> str:
    """A session for people: its user and its program, as far as they are known."""
    known = [quote(row["user"]) if row["user"] else "", row["application"] or ""]
    return ", ".join(text for text in known if text) or row.get("kind") or "nobody known"


def _sample(row: Mapping[str, Any], value: float, what: str) -> Sample:
    names = ("user", "application", "state", "wait_event_type", "wait_event")
    evidence = {name: row[name] for name in names if row.get(name)}
    if row["transaction"] is not None:
        evidence["transaction_seconds"] = round(row["transaction"], 3)
    return Sample(f"pid {row['pid']}", round(value, 3), f"{who(row)}: {what}", evidence, TERMINATE.format(row["pid"]))


def _sessions(
    judge: Callable[[Mapping[str, Any]], Sample | None], nobody: str
) -> Callable[[Sequence[Mapping[str, Any]], Asked], list[Sample]]:
    """What ``judge`` says of each session; that there is nobody; or that others may be hidden."""

    def samples(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
        (row,) = found
        told = [one for one in map(judge, row["sessions"]) if one is not None]
        if not row["sees"]:
            told.append(Sample(asked.database, None, HIDDEN))
        blind = sum(one["state"] == "disabled" for one in row["sessions"])
        if blind:
            said = f"what {count(blind)} session{'s' if blind > 1 else ''} do is not told by the server: track_activities is off"
            told.append(Sample(asked.database, None, said, advice="ALTER SYSTEM SET track_activities = on;"))
        return told or [Sample(asked.database, 0, nobody)]

    return samples


def _idles(row: Mapping[str, Any]) -> bool:
    return bool(row["state"].startswith("idle in transaction"))


def _idle(row: Mapping[str, Any]) -> Sample | None:
    if not _idles(row) or row["seconds"] is None:
        return None
    aborted = " that has failed" if "aborted" in row["state"] else ""
    return _sample(row, row["seconds"], f"idle in a transaction{aborted} for {duration(row['seconds'])}")


def _query(row: Mapping[str, Any]) -> Sample | None:
    if row["state"] != "active" or row["seconds"] is None:
        return None
    return _sample(row, row["seconds"], f"its statement has run for {duration(row['seconds'])}")


def _transaction(row: Mapping[str, Any]) -> Sample | None:
    """A transaction of many statements. Where one of them, or doing nothing, takes most of its time, that is told instead."""
    if row["transaction"] is None or (row["seconds"] or 0.0) > row["transaction"] / 2:
        return None
    return _sample(row, row["transaction"], f"in a transaction for {duration(row['transaction'])}")


def _blocked(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """One of each session that others wait for, and that waits for nobody itself."""
    rows = {row["pid"]: row for row in found}
    waiters = [Waiter(row["pid"], row["waits"], tuple(row["blockers"])) for row in found if row["blockers"] is not None]
    told = []
    for root, waiting in behind(waiters).items():
        longest = max(one.seconds for one in waiting)
        number = f"{count(len(waiting))} session{'s wait' if len(waiting) > 1 else ' waits'} for it"
        evidence = {"waiting": [one.pid for one in waiting], **_state(rows.get(root, {}))}
        said = f"{_blocker(rows.get(root, {}))}: {number}, the longest for {duration(longest)}"
        advice = TERMINATE.format(root) if root else ENDED.format((rows[0]["prepared"] or ["..."])[0])
        told.append(Sample(_subject(root), round(longest, 3), said, evidence, advice))
    return told or [Sample(asked.database, 0, "nobody waits for a lock")]


def _subject(root: int) -> str:
    return f"pid {root}" if root else "a prepared transaction"


def _state(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("user", "application", "state") if row.get(name)}


def _blocker(row: Mapping[str, Any]) -> str:
    if not row.get("pid"):
        known = row.get("prepared") or []
        return (
            f"{'one of these' if len(known) > 1 else 'this'}: {', '.join(known)}" if known else "its name is not known"
        )
    state = row["state"] or ""
    since = row["seconds"] if state.startswith("idle") else row["transaction"]
    told = f"{state} for {duration(since)}" if state and since is not None else state
    return ", ".join(text for text in (who(row), told) if text)


def _prepared(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    return [
        Sample(
            f"prepared transaction {row['literal']}",
            round(row["seconds"], 3),
            f"prepared by {quote(row['user'])} {duration(row['seconds'])} ago",
            {"owner": row["user"]},
            ENDED.format(row["literal"]),
        )
        for row in found
    ] or [Sample(asked.database, 0, "there is no prepared transaction")]


CHECKS = (
    Check(
        "connections",
        "sessions",
        "Connections in use",
        "percent",
        Thresholds(80, 95),
        "the mixin of postgres_exporter warns at 80 %",
        "When none is left, the application is refused, and so is whoever wants to look why.",
        "use a connection pooler, or raise max_connections",
        _connections,
        query=CONNECTIONS,
    ),
    Check(
        "idle-in-transaction",
        "sessions",
        "Sessions that are idle in a transaction",
        "seconds",
        Thresholds(5 * MINUTE, 15 * MINUTE),
        "as pgMonitor warns",
        "They keep their locks and keep VACUUM from removing dead rows, and nobody works.",
        "find out why the application does not commit; idle_in_transaction_session_timeout ends such sessions",
        _sessions(_idle, "no session is idle in a transaction"),
        query=SESSIONS,
        right=MONITOR,
    ),
    Check(
        "long-transactions",
        "sessions",
        "Transactions of many statements that take long",
        "seconds",
        Thresholds(HOUR, 12 * HOUR),
        "an hour is more than most dumps take; pgMonitor warns of twelve",
        "As long as it runs, dead rows of all tables are kept, and locks of what it has changed.",
        "commit more often, or end it",
        _sessions(_transaction, "no transaction of many statements is open"),
        of="idle-in-transaction",
        right=MONITOR,
    ),
    Check(
        "long-queries",
        "sessions",
        "Statements that take long",
        "seconds",
        Thresholds(HOUR, 12 * HOUR),
        "pgMonitor warns of twelve hours; an hour is more than an application waits",
        "As long as it runs, dead rows of all tables are kept, and it may be one that nobody waits for any more.",
        "look what it does; statement_timeout ends such statements",
        _sessions(_query, "no statement runs"),
        of="idle-in-transaction",
        right=MONITOR,
    ),
    Check(
        "blocked-sessions",
        "sessions",
        "Sessions that others wait for",
        "seconds",
        Thresholds(MINUTE, 5 * MINUTE),
        "check_postgres warns of a wait of one minute",
        "Whoever waits for a lock makes others wait that come later, until all connections wait.",
        "end the session that all wait for, and find out why it holds its lock so long",
        _blocked,
        query=BLOCKED,
    ),
    Check(
        "prepared-transactions",
        "sessions",
        "Transactions that are prepared and not ended",
        "seconds",
        Thresholds(5 * MINUTE, HOUR),
        "check_postgres warns after a second; a coordinator that is alive needs less than minutes",
        "They keep their locks and dead rows for ever, over restarts too, and no session shows them.",
        "ask whoever coordinates them, then commit them or roll them back",
        _prepared,
        query=PREPARED,
    ),
)
