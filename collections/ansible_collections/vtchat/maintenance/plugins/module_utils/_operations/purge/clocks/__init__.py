# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a column says of time: the predicates that say which rows have expired.

They run under the user's search_path, so that everything of ours in them is qualified, operators and types included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...._postgres.driver import sql
from ...._postgres.names import quote
from ..options import ALWAYS, Condition

TYPES = {
    "timestamp with time zone": "pg_catalog.timestamptz",
    "timestamp without time zone": "pg_catalog.timestamp",
    "date": "pg_catalog.date",
}
ZONELESS = ("timestamp without time zone", "date")


@dataclass(frozen=True)
class Column:
    """What the catalog says of a column.

    type           the base type, domains unfolded, as format_type() writes it
    sorts_by_bytes whether an index of its text sorts by bytes
    indexed        whether a whole B-tree in its own order begins with it, in each part of the table
    """

    name: str
    type: str
    sorts_by_bytes: bool = True
    generated: bool = False
    indexed: bool = True


@dataclass(frozen=True)
class Term:
    """One way in which a row expires.

    expired  the predicate, exact; it begins with what an index of the column can serve
    order    the column, where a walk by its index can go on behind the last value; None elsewhere
    cast     the type of values that are compared with ``order``
    served   whether a B-tree that begins with the column serves it
    """

    expired: sql.Composable
    order: sql.Composable | None
    cast: str
    served: bool


def fault(condition: Condition, columns: Mapping[str, Column]) -> str:
    """Why the condition cannot be, with the way out, or nothing."""
    column = columns[condition.column]
    name = quote(column.name)
    if column.type not in TYPES:
        return f"column {name} is of type {column.type}; a timestamp or a date is needed"
    if column.type in ZONELESS and not condition.timezone:
        return (f"column {name} is a {column.type}: say in which zone it was written with timezone, for example "
                "timezone: UTC")  # fmt: skip
    if column.type not in ZONELESS and condition.timezone:
        return f"column {name} is a timestamp with time zone, which is unambiguous: take timezone out"
    return ""


def doubt(condition: Condition, columns: Mapping[str, Column], table: sql.Composable) -> sql.Composed | None:
    """A cheap SELECT of one row that shows whether the values can be what they are declared to be; None without doubt."""
    return None


def doubt_fault(condition: Condition, row: Mapping[str, Any]) -> str:
    """What that row shows, or nothing."""
    return ""


def terms(condition: Condition, columns: Mapping[str, Column], cutoff: datetime) -> list[Term]:
    """When a row expires."""
    column = columns[condition.column]
    name = sql.Identifier(column.name)
    found = [Term(expired(name, column.type, cutoff, condition.timezone), name, TYPES[column.type], True)]
    if condition.null_means == ALWAYS:
        found.append(Term(sql.SQL("{} IS NULL").format(name), None, TYPES[column.type], True))
    return found


def expired(column: sql.Composable, column_type: str, cutoff: datetime, timezone: str | None) -> sql.Composed:
    """The predicate of an expired row. NULL never expires; neither does infinity.

    A zone-less time is compared twice: as it is, which an index can serve, and converted, which is exact: where clocks
    are turned back PostgreSQL takes the later of two possible instants, so no row goes early. A date has passed when
    its whole day has.
    """
    instant = constant(cutoff.isoformat(), TYPES["timestamp with time zone"])
    if column_type == "timestamp with time zone":
        return sql.SQL("{} OPERATOR(pg_catalog.<=) {}").format(column, instant)
    local = sql.SQL("pg_catalog.timezone({}, {})").format(sql.Literal(timezone), instant)
    if column_type == "date":
        return sql.SQL("{} OPERATOR(pg_catalog.<) {}::pg_catalog.date").format(column, local)
    return sql.SQL(
        "{column} OPERATOR(pg_catalog.<=) {local} AND "
        "pg_catalog.timezone({zone}, {column}::pg_catalog.timestamp) OPERATOR(pg_catalog.<=) {instant}"
    ).format(column=column, zone=sql.Literal(timezone), local=local, instant=instant)


def constant(value: str, cast: str) -> sql.Composed:
    """A value of a type, for comparison with a column."""
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(cast))
