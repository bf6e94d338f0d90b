# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's database in any size, filled quickly, with nothing for the hourly maintenance to do."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any

import psycopg2
import yaml
from jinja2 import Template

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from tests.servers import REPOSITORY, Database, Server

SQL = REPOSITORY / "sql"

# Whoever is not expired lives for another day at least, so that nothing expires while it is measured. Two users in
# three have subscriptions, one of them two. Multiplying with a prime spreads rows without chance. The time at which a
# session expires follows its place in the table, give or take a day: one that is used gets a new time and a new place.
FILL = """
INSERT INTO users (id, name, email, normalized_email)
SELECT 'user_' || n, 'Nguyễn Văn ' || n, 'User.' || n || '@example.com', 'user' || n || '@example.com'
FROM generate_series(1, %(users)s) AS n;

INSERT INTO user_subscriptions (id, user_id, plan, status, creem_subscription_id, current_period_end, created_at)
SELECT 'sub_' || n || '_' || part, 'user_' || n, CASE WHEN n %% 2 = 0 THEN 'vt_plus' ELSE 'vt_base' END,
       CASE WHEN part = 1 THEN 'active' ELSE 'cancelled' END, 'creem_' || n || '_' || part,
       timezone('UTC', now()) + interval '1 day' * (n %% 30), timezone('UTC', now()) - interval '30 days' * part
FROM generate_series(1, %(users)s) AS n, generate_series(1, n %% 3) AS part;

INSERT INTO sessions (id, expires_at, ip_address, user_agent, token, user_id)
SELECT 'session_' || n,
       timezone('UTC', now()) + interval '1 second' * (n - %(expired)s + n::bigint * 104729 %% 86400)
           + CASE WHEN n <= %(expired)s THEN interval '-1 day' ELSE interval '1 day' END,
       '198.51.100.' || n %% 256, 'Mozilla/5.0 (' || n %% 40 || ')', md5('token ' || n),
       'user_' || 1 + n::bigint * 7919 %% %(users)s
FROM generate_series(1, %(sessions)s) AS n;
"""


def fill(database: Database, users: int, sessions: int, expired: int = 0) -> Database:
    """Schema, rows, indexes, statistics. The first ``expired`` sessions have expired."""
    began = time.monotonic()
    tables, _rows, indexes = (path.read_text(encoding="utf-8") for path in sorted((SQL / "schema").glob("*.sql")))
    # One transaction: with wal_level minimal, tables that are new in it need no WAL.
    with closing(psycopg2.connect(database.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(tables)
        cursor.execute(FILL, {"users": users, "sessions": sessions, "expired": expired})
        cursor.execute(indexes)
        connection.commit()
    install_view(database)
    database.sql("VACUUM (ANALYZE)")
    if sessions >= 1_000_000:
        took = time.monotonic() - began
        print(f"  ({users:,} users and {sessions:,} sessions loaded in {took:.0f} s)", file=sys.stderr, flush=True)
    return database


def new(server: Server, users: int, sessions: int, expired: int = 0) -> Database:
    """A new database with that many rows; close() drops it."""
    return fill(server.create_database(), users, sessions, expired)


def install_view(database: Database) -> None:
    """user_subscription_summary with its unique index."""
    view = (SQL / "views" / "user_subscription_summary.sql.j2").read_text(encoding="utf-8")
    database.sql(Template(view).render(vt_plus_slugs=["vt_plus", "vt-plus"]))
    database.sql((SQL / "indexes" / "user_subscription_summary_user_id.sql").read_text(encoding="utf-8"))


def hourly_steps() -> list[dict[str, Any]]:
    """The steps of the hourly plan, as the inventories have them."""
    plans = yaml.safe_load((REPOSITORY / "inventories" / "plans.yml").read_text(encoding="utf-8"))["maintenance_plans"]
    steps: list[dict[str, Any]] = plans["hourly"]["steps"]
    return steps


def run_hourly(dsn: str) -> dict[str, Any]:
    """The result of the hourly plan, run in this process. Raises RuntimeError unless it went well."""
    return perform("run", dsn, plan="hourly", steps=hourly_steps())


def perform(module: str, dsn: str, **options: Any) -> dict[str, Any]:
    """The result of one of the collection's modules, run in this process. Raises RuntimeError unless it went well."""
    result = _edge.perform(_edge.validated(module, {"dsn": dsn, **options}), check=False)
    if result["status"] != "ok":
        raise RuntimeError(result["msg"])
    return result


def settle(database: Database) -> None:
    """Let the hourly plan run until it finds nothing to do. Raises RuntimeError if it always does."""
    database.close_connection()  # a refresh would wait for what an idle session may not have reported yet
    for _attempt in range(3):
        if set(run_hourly(database.dsn)["totals"]) == {"unchanged"}:
            return
    raise RuntimeError("the hourly plan finds something to do every time")
