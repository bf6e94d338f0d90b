# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Facts about the server and about this connection, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .capabilities import Extension, Feature

# The search_path of everything that is ours. Temporary objects are searched last: where pg_temp is not named they come first.
OURS = "pg_catalog, pg_temp"

# The first of every session. Whoever may create something in a schema of the search_path could have made functions and
# operators that fit our statements better than those of the server. So this one calls nothing by an unqualified name, and
# has no operator and no type in it; whatever comes after it in the same message is parsed under our own path. The role may
# have a statement_timeout that nothing fits into, or (from 17 on) a transaction_timeout.
ENTER = """
SET LOCAL statement_timeout = 0;
SELECT pg_catalog.set_config('vtchat_maintenance.path', pg_catalog.current_setting('search_path'), true),
       pg_catalog.set_config('vtchat_maintenance.schemas',
                             pg_catalog.format('%%s', pg_catalog.array_to_json(pg_catalog.current_schemas(true))), true),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
"""

ENTER_17 = "SET LOCAL transaction_timeout = 0;" + ENTER

# Settings of a database or role that would change what our statements do or what the server prints are set aside.
# transaction_timeout exists from 17 on, and would end the connection.
SET_ASIDE = {
    "search_path": OURS,
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "on",
    "client_min_messages": "warning",
    "exit_on_error": "off",
    "extra_float_digits": "1",
    "jit": "off",
    "enable_tidscan": "on",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "transaction_timeout": "0",
}

# Settings that stay as they are, and that code of others may change for the session: who we are first, for the others may need
# the rights of that role; how values are written, and how safe a commit is.
AS_THEY_ARE = ["role", "TimeZone", "IntervalStyle", "lc_monetary", "xmloption", "bytea_output", "synchronous_commit"]

# Read and set in one statement: an ocean away each round trip counts. The set_config() calls come last, so that the
# settings shown are the database's own. They are left out in a backend that may not be ours alone: behind a transaction
# pooler they would stay with it, and the application's next transaction would be read-only or run into our limits.
FACTS = """
SELECT current_setting('server_version_num')::int AS version_num,
       current_setting('server_version') AS version,
       current_database()::text AS database,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid,
       current_user::text AS "user",
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       has_function_privilege('pg_catalog.pg_ls_dir(text,boolean,boolean)', 'EXECUTE') AS may_list_files,
       pg_is_in_recovery() AS in_recovery,
       pg_backend_pid() AS backend_pid,
       -- hidden from a role that another one is set to take on (ALTER ROLE ... SET role)
       coalesce((SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())), clock_timestamp()) AS backend_start,
       current_setting('vtchat_maintenance.path') AS path,
       current_setting('vtchat_maintenance.schemas')::json AS schemas,
       current_setting('default_transaction_read_only')::bool AS read_only,
       current_setting('session_replication_role') AS replication_role,
       (SELECT json_object_agg(name, current_setting(name)) FROM unnest(%(as_they_are)s) AS s (name)) AS as_they_are,
       current_setting('track_counts')::bool AS track_counts,
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolsuper) AS superusers,
       (SELECT jsonb_object_agg(e.extname, jsonb_build_array(n.nspname, e.extversion))
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace) AS extensions,
       (SELECT min(split_part(name, '.', 1)) FROM pg_settings
        WHERE split_part(name, '.', 1) IN ('neon', 'rds', 'azure', 'cloudsql', 'alloydb', 'supautils')) AS marker,
       CASE WHEN pg_backend_pid() = %(own_pid)s THEN
           (SELECT count(set_config(key, value, false)) FROM json_each_text(%(settings)s)
            WHERE key <> 'transaction_timeout' OR current_setting(key, true) IS NOT NULL)
       END
"""

# When this backend began is hidden from the role that we are about to take on.
ROLE = """
SELECT (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())) AS backend_start,
       CASE WHEN pg_backend_pid() = %(own_pid)s THEN set_config('role', %(role)s, false) END
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
    """What one connection knows about where it is.

    path              the search_path that the session would have had, as a setting; it may name "$user"
    schemas           the schemas that it meant when we connected, in its order, pg_catalog among them
    read_only         the database or the role is set to read-only transactions
    replication_role  session_replication_role: with replica, triggers and foreign keys are passed by
    extensions        name -> schema and version of those that have been created
    superusers        roles that nobody should be made a member of
    may_list_files    in the data directory, with pg_ls_dir()
    """

    host: str
    version_num: int
    version: str
    database: str
    database_oid: int
    user: str
    may_create_schema: bool
    in_recovery: bool
    backend_pid: int
    backend_start: datetime
    path: str
    schemas: list[str]
    read_only: bool
    replication_role: str
    track_counts: bool
    extensions: dict[str, tuple[str, str]]
    provider: str
    superusers: list[str] = field(default_factory=list)
    may_list_files: bool = False

    @classmethod
    def from_row(cls, row: dict[str, Any], host: str) -> Server:
        """The facts from the one row of FACTS."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        known["version"] = str(row["version"]).split(" ")[0]
        known["extensions"] = {name: tuple(place) for name, place in (row["extensions"] or {}).items()}
        provider = _PROVIDERS.get(row["marker"] or "", "postgresql")
        return cls(host=host, provider=provider, **known)

    def has(self, capability: Feature | Extension) -> bool:
        """Whether this server can do that."""
        if isinstance(capability, Extension):
            return capability.name in self.extensions
        return self.version_num >= capability.since

    def summary(self) -> dict[str, Any]:
        """What a result says about the server."""
        return {"host": self.host, "database": self.database, "version": self.version, "provider": self.provider}
