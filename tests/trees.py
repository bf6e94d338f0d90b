# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables that refer to each other, for tests of purges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.runs import perform
from tests.servers import Database

# Parents 1 to 20 have expired, 21 to 25 have not.
PARENTS = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);
INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day' FROM generate_series(1, 25) AS n;
"""
LIVE = [21, 22, 23, 24, 25]
# Whether anybody in this database is in pg_sleep(), or waits for somebody else's transaction.
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
QUEUED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid' AND datname = current_database()"
# How many rows each transaction has deleted or changed, in whatever table.
COUNTED = """
CREATE TABLE IF NOT EXISTS counted (transaction xid8, rows int);
CREATE OR REPLACE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
    INSERT INTO public.counted SELECT pg_current_xact_id(), count(*) FROM gone; RETURN NULL;
END$$;
"""


def purge(
    database: Database, check: bool = False, user: str = "postgres", children: Sequence[str] = (), **options: Any
) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, "with": list(children), **options}
    return perform("purge", database.dsn_as(user), check, **given)


def ids(database: Database, table: str = "t", column: str = "id") -> list[int]:
    return [number for (number,) in database.sql(f"SELECT {column} FROM {table} ORDER BY 1")]


def count_transactions(database: Database, *tables: str) -> None:
    database.sql(COUNTED)
    for table in tables:
        for event, name in (("DELETE", "d"), ("UPDATE", "u")):
            database.sql(
                f"CREATE TRIGGER counted_{name} AFTER {event} ON {table} REFERENCING OLD TABLE AS gone FOR EACH STATEMENT "
                "EXECUTE FUNCTION count_them()"
            )


def steady(database: Database) -> bool:
    """Whether transactions begin with 1 000 rows or so, and become larger at most twofold from one to the next."""
    sizes = [n for (n,) in database.sql("SELECT sum(rows)::int FROM counted GROUP BY transaction ORDER BY transaction")]
    return sizes[0] <= 1100 and all(size <= 2.2 * max(sizes[:n]) for n, size in enumerate(sizes) if n)
