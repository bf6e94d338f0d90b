# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitioned tables for tests, and what a purge makes of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg2.sql import SQL, Identifier, Literal

from tests.runs import perform, until
from tests.servers import Database

ALL = "0"  # older_than: whatever ends before now


def purge(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    """What the module returns, without a history. What has ended before this month and the two before it has expired."""
    given = {"table": "t", "column": "at", "older_than": before(-2), "history": False, **options}
    return perform("purge", database.dsn_as(user), check, **given)


def outcomes(result: dict[str, Any], table: str = "public.t") -> dict[str, str]:
    """Target -> outcome, but for the table itself."""
    return {one["target"]: one["outcome"] for one in result["actions"] if one["target"] != table}


def told(result: dict[str, Any], target: str) -> dict[str, Any]:
    """The one entry of a target."""
    (found,) = [one for one in result["actions"] if one["target"] == target]
    return dict(found)


def month(number: int) -> datetime:
    """The first of a month, so many after this one, UTC."""
    now = datetime.now(timezone.utc)
    year, rest = divmod(now.year * 12 + now.month - 1 + number, 12)
    return datetime(year, rest + 1, 1, tzinfo=timezone.utc)


def before(number: int) -> str:
    """older_than for what has ended before a month, whatever day it is: the cut-off is in the middle of that month."""
    middle = month(number) + timedelta(days=14)
    return str(int((datetime.now(timezone.utc) - middle).total_seconds()))


def named(number: int, table: str = "t") -> str:
    """The name of the partition of a month."""
    return f"{table}_{month(number):%Y_%m}"


def partition(database: Database, name: str, lower: Any, upper: Any, table: str = "t", more: str = "") -> None:
    """A partition; None for MINVALUE and MAXVALUE."""
    bounds = [
        SQL(word) if value is None else Literal(str(value))
        for value, word in ((lower, "MINVALUE"), (upper, "MAXVALUE"))
    ]
    database.sql(
        SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({}) " + more).format(
            Identifier(*name.split(".")), Identifier(*table.split(".")), *bounds
        )
    )


def monthly(
    database: Database, first: int = -4, last: int = 0, table: str = "t", columns: str = "", more: str = ""
) -> None:
    """Table (at timestamptz, id int, …) by months, with a row in each."""
    database.sql(f"CREATE TABLE {table} (at timestamptz, id int{columns}) PARTITION BY RANGE (at)")
    for number in range(first, last + 1):
        partition(database, named(number, table), month(number), month(number + 1), table, more)
        database.sql(f"INSERT INTO {table} (at, id) VALUES (%s, %s)", [month(number) + timedelta(hours=1), number])


def parts(database: Database, table: str = "t") -> dict[str, str]:
    """The partitions that are attached, and their bounds."""
    database.sql("SET TimeZone = 'UTC'")
    rows = database.sql(
        "SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid) "
        "FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid WHERE inhparent = %s::regclass ORDER BY 1",
        [table],
    )
    return {name: bound.removeprefix("FOR VALUES ") for name, bound in rows}


def ended(database: Database) -> None:
    """Wait until sessions of ours that were ended are so: the client is told before locks are let go."""
    ours = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"
    )
    until(lambda: not database.value(ours))


def exists(database: Database, name: str) -> bool:
    return bool(database.value("SELECT to_regclass(%s) IS NOT NULL", [name]))
