# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who holds the horizon back: dead rows that somebody's snapshot could still see are removed by no VACUUM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._units import duration
from .names import quote

# Everybody who still needs transactions of this database, or of all databases. VACUUM itself holds nothing back; a snapshot in
# another database does so for shared catalogs only; the horizon of a standby is that of its walsender, which belongs to no
# database, or of its slot. Ids and ages of other roles' sessions are visible to everybody; when and as whom they began may be
# hidden.
HOLDERS = """
    SELECT CASE WHEN a.datid IS NULL THEN 'standby' ELSE 'session' END AS kind, a.pid, a.usename::text AS "user",
           a.application_name AS name, a.state,
           CASE WHEN coalesce(age(a.backend_xid), -1) >= coalesce(age(a.backend_xmin), -1) THEN a.backend_xid
                ELSE a.backend_xmin END::text::bigint AS xid,
           greatest(age(a.backend_xid), age(a.backend_xmin)) AS age,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
           CASE WHEN a.state LIKE 'idle in transaction%'
                THEN (extract(epoch FROM a.state_change) * 1000000)::bigint END AS settled
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.pid <> pg_catalog.pg_backend_pid() AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
    AND (a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
         OR a.datid IS NULL AND coalesce(a.backend_type, 'walsender') = 'walsender')
    AND a.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum)
    UNION ALL
    SELECT 'prepared', NULL, owner::text, gid, NULL, transaction::text::bigint, age(transaction),
           extract(epoch FROM clock_timestamp() - prepared)::float8, (extract(epoch FROM prepared) * 1000000)::bigint
    FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()
    UNION ALL
    SELECT 'slot', active_pid, NULL, slot_name::text, NULL, xmin::text::bigint, age(xmin), NULL, NULL
    FROM pg_catalog.pg_replication_slots WHERE xmin IS NOT NULL
"""

# One object: the oldest transaction id that any of them needs.
OLDEST = f"""
(SELECT to_jsonb(h) FROM ({HOLDERS}) AS h ORDER BY h.age DESC, h.pid LIMIT 1)
"""  # noqa: S608 - made of constants

# Those who need rows of the catalogs only; a database is as old as its oldest table, catalogs included.
OF_CATALOGS = """
    SELECT 'catalogs', active_pid, NULL, slot_name::text, NULL, catalog_xmin::text::bigint, age(catalog_xmin), NULL, NULL
    FROM pg_catalog.pg_replication_slots WHERE catalog_xmin IS NOT NULL
"""

# The next transaction id in 64 bits; with it those of 32 bits can be told apart from their namesakes of other epochs.
NEXT_XID = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint"


@dataclass(frozen=True)
class Horizon:
    """Rows that were deleted by transactions from ``xid`` (64 bits) on cannot be removed.

    holder   who needs them, for people; "" where nobody does
    age      transactions that have begun since
    settled  a moment, in microseconds since 1970, by which the holder's snapshot was certainly taken; None if not known, as
             while a statement of it runs, which may have waited before it took one
    """

    xid: int
    holder: str = ""
    age: int = 0
    settled: int | None = None

    @property
    def held(self) -> bool:
        """Whether anybody holds it back at all."""
        return bool(self.holder)

    def older_than(self, moment: int | None) -> bool:
        """Whether all that has died since that moment is certainly kept."""
        return moment is not None and self.settled is not None and self.settled < moment


def horizon(oldest: Mapping[str, Any] | None, next_xid: int) -> Horizon:
    """From the object of OLDEST, and NEXT_XID."""
    if oldest is None:
        return Horizon(next_xid)
    return Horizon(widened(oldest["xid"], next_xid), holder(oldest), oldest["age"], oldest["settled"])


def widened(xid: int, next_xid: int) -> int:
    """A transaction id in 64 bits: the one with these lower bits that is nearest to the next id."""
    behind = (next_xid - xid) % 2**32
    return next_xid - (behind if behind < 2**31 else behind - 2**32)


def holder(oldest: Mapping[str, Any]) -> str:
    """The holder, for people; of what is hidden nothing is said."""
    since = duration(oldest["seconds"]) if oldest["seconds"] is not None else ""
    if oldest["kind"] == "prepared":
        return f"the prepared transaction {quote(oldest['name'])} of {quote(oldest['user'])}, for {since}"
    if oldest["kind"] in ("slot", "catalogs"):
        active = f", used by process {oldest['pid']}" if oldest["pid"] else ", which nobody uses"
        what = " (catalogs only)" if oldest["kind"] == "catalogs" else ""
        return f"the replication slot {quote(oldest['name'])}{what}{active}"
    if oldest["kind"] == "standby":
        name = f" {quote(oldest['name'])}" if oldest["name"] else ""
        return f"a query on the standby{name} (hot_standby_feedback, process {oldest['pid']})"
    known = [
        oldest["user"] and quote(oldest["user"]),
        oldest["name"],
        oldest["state"] and _state(oldest["state"], since),
    ]
    told = ", ".join(text for text in known if text)
    return f"session {oldest['pid']} ({told})" if told else f"session {oldest['pid']}"


def _state(state: str, since: str) -> str:
    if not since:
        return state
    return f"{state} for {since}" if state.startswith("idle in transaction") else f"in a transaction for {since}"
