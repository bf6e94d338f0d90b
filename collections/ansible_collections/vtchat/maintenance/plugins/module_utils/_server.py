# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Facts about the server and about this connection, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Read and set in one statement: an ocean away each round trip counts. The set_config() calls come last, so that the
# settings shown are the database's own. They are left out in a backend that may not be ours alone: behind a transaction
# pooler they would stay with it, and the application's next transaction would be read-only or run into our limits.
FACTS = """
SELECT current_setting('server_version_num')::int AS version_num,
       current_setting('server_version') AS version,
       current_database()::text AS database,
       (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()) AS database_oid,
       current_user::text AS "user",
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS is_superuser,
       pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all_stats,
       pg_catalog.has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.pg_backend_pid() AS backend_pid,
       (SELECT backend_start FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) AS backend_start,
       pg_catalog.clock_timestamp() AS now,
       extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text AS postmaster_start,
       (SELECT extract(epoch FROM stats_reset)::text FROM pg_catalog.pg_stat_bgwriter) AS stats_reset,
       coalesce((SELECT extract(epoch FROM stats_reset)::text FROM pg_catalog.pg_stat_database
                 WHERE datname = current_database()), '') AS database_stats_reset,
       current_setting('TimeZone') AS timezone,
       current_setting('track_counts')::bool AS track_counts,
       (SELECT min(split_part(name, '.', 1)) FROM pg_catalog.pg_settings
        WHERE split_part(name, '.', 1) IN ('neon', 'rds', 'azure', 'cloudsql', 'alloydb', 'supautils')) AS marker,
       (SELECT jsonb_build_object('age', age, 'holder', holder) FROM (
            SELECT pg_catalog.age(backend_xmin) AS age, format('session %%s (%%s, %%s)', pid, usename, state) AS holder
            FROM pg_catalog.pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
            UNION ALL
            SELECT pg_catalog.age(transaction), format('prepared transaction %%s', gid) FROM pg_catalog.pg_prepared_xacts
            UNION ALL
            SELECT pg_catalog.age(xmin), format('replication slot %%s', slot_name)
            FROM pg_catalog.pg_replication_slots WHERE xmin IS NOT NULL
        ) AS holders ORDER BY age DESC LIMIT 1) AS horizon,
       CASE WHEN pg_catalog.pg_backend_pid() = %(own_pid)s THEN
           set_config('application_name', %(application)s, false)
           || set_config('statement_timeout', %(statement_timeout)s, false)
           || set_config('lock_timeout', %(lock_timeout)s, false)
           || set_config('idle_in_transaction_session_timeout', '60s', false)
           || set_config('default_transaction_read_only', %(read_only)s, false)
       END
"""

# When this backend began is hidden from the role that we are about to take on.
ROLE = """
SELECT (SELECT backend_start FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) AS backend_start,
       CASE WHEN pg_catalog.pg_backend_pid() = %(own_pid)s THEN set_config('role', %(role)s, false) END
"""

_PROVIDERS = {
    "azure": "azure",
    "alloydb": "alloydb",
    "cloudsql": "cloudsql",
    "neon": "neon",
    "rds": "rds",
    "supautils": "supabase",
}


@dataclass(frozen=True)
class Server:
    """What one connection knows about where it is. Epochs are seconds as text, exactly as the server printed them.

    horizon: {"age": transactions, "holder": text} of the oldest snapshot that keeps dead rows alive, or None.
    """

    host: str
    version_num: int
    version: str
    database: str
    database_oid: int
    user: str
    is_superuser: bool
    sees_all_stats: bool
    may_create_schema: bool
    in_recovery: bool
    backend_pid: int
    backend_start: datetime
    now: datetime
    postmaster_start: str
    stats_reset: str
    database_stats_reset: str
    timezone: str
    track_counts: bool
    provider: str
    horizon: dict[str, Any] | None

    @classmethod
    def from_row(cls, row: dict[str, Any], host: str) -> Server:
        """The facts from the one row of FACTS."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        known["version"] = str(row["version"]).split(" ")[0]
        provider = _PROVIDERS.get(row["marker"] or "", "postgresql")
        return cls(host=host, provider=provider, **known)

    def summary(self) -> dict[str, Any]:
        """What a result says about the server."""
        return {"host": self.host, "database": self.database, "version": self.version, "provider": self.provider}
