# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the clocks have in common: the types, and writing predicates that mean the same under any search_path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ...._postgres.driver import sql
from ..options import Condition

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
YEAR = 31_536_000  # seconds: a number or an id of before 1971-01-01 is taken for no time at all
NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
TEXTS = ("text", "character varying", "character")

# Every operator in a phrase stands between spaces.
_OPERATOR = re.compile(r"(?<= )(<=|>=|<>|<|>|=|!~|~|\|\||\+|-|\*|/)(?= )")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    type            its base type (that of a domain), as format_type() writes it without modifiers
    type_oid        oid of the type itself, 0 where it is not known
    sorts_by_bytes  text: its collation is that of the bytes (C, POSIX, ucs_basic, C.UTF-8 of the builtin provider)
    generated       its values are computed from other columns
    indexed         whether a whole B-tree in its own order begins with it, in each part of the table
    indexed_by_bytes  text: the same in the order of the bytes
    """

    name: str
    type: str
    sorts_by_bytes: bool = True
    generated: bool = False
    indexed: bool = True
    indexed_by_bytes: bool = False
    type_oid: int = 0


@dataclass(frozen=True)
class Term:
    """One of the reasons for which a row has expired: it has when any of the terms of its condition holds.

    expired  the predicate. It never raises an error, whatever value is stored. It begins with a comparison of the bare
             column which a btree on it can serve, where there is one
    order    the column, in the order of an index that serves, where a walk can go on beyond the last value
    cast     the type for constants that are compared with ``order``
    served   a whole B-tree of the table finds the rows without reading the others
    index    what to index so that one serves, "" where none can
    """

    expired: sql.Composable
    order: sql.Composable | None
    cast: str
    served: bool
    index: str = ""


@dataclass(frozen=True)
class Reading:
    """What a column tells of time.

    spans    comparisons of the bare column, disjoint: in one of them is every row whose time is before the cut-off
    exact    what has to hold as well, None where the spans are exact
    instant  the time as timestamptz, never too early; to be computed only where a span and ``exact`` hold
    bytes    the spans are of a text by its bytes, whatever its collation is
    cast     as in Term
    """

    spans: tuple[sql.Composable, ...]
    exact: sql.Composable | None
    instant: sql.Composable
    cast: str
    bytes: bool = False


@dataclass(frozen=True)
class Clock:
    """A way to tell the time.

    fault        "" or why the column and the options do not go together
    doubt        a cheap query that shows whether the values can be what is declared, None where that is certain
    doubt_fault  what its one row shows, "" where it is plausible
    """

    fault: Callable[[Condition, Column], str]
    reading: Callable[[Condition, Column, datetime], Reading]
    doubt: Callable[[Condition, Column, sql.Composable], sql.Composed] | None = None
    doubt_fault: Callable[[Condition, Mapping[str, Any]], str] | None = None


def phrase(template: str, **parts: sql.Composable) -> sql.Composed:
    """A piece of SQL. Its operators, each between spaces, become those of pg_catalog.

    Written like that they all have the same precedence, from left to right: arithmetic needs brackets.
    """
    return sql.SQL(_OPERATOR.sub(r"OPERATOR(pg_catalog.\1)", template)).format(**parts)


def constant(value: str, type_name: str) -> sql.Composed:
    """A constant of that type of pg_catalog."""
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_name))


def moment(instant: datetime) -> sql.Composed:
    """An instant as a constant, in a form that every DateStyle reads alike."""
    return constant(instant.isoformat(), "pg_catalog.timestamptz")


def by_bytes(column: Column) -> sql.Composed:
    """The column of a text as it is compared by bytes, by itself where an index on it is of that order."""
    name = sql.Identifier(column.name)
    return (
        phrase("{column}", column=name)
        if column.sorts_by_bytes
        else phrase('{column} COLLATE pg_catalog."C"', column=name)
    )


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly."""
    since = instant - UNIX_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


# What often means never, or nobody, contradicts no declaration: short words, empty texts, the UUIDs of nothing and of all.
_NOBODY = "^(00000000-0000-0000-0000-000000000000|[fF]{{8}}-([fF]{{4}}-){{3}}[fF]{{12}})$"
MEANT = f"{{text}} ~ '[0-9]|.{{{{11}}}}' AND {{text}} !~ '{_NOBODY}'"


# Of the pages of all parts together as many as a sample reads, in percent; and where the last ones of the largest part begin.
# Nothing where the first pages are empty.
_PERCENT = """LEAST(100, {pages} * 100.0 / GREATEST(1, pg_catalog.sum(pg_catalog.pg_relation_size(c.oid))
    / pg_catalog.current_setting('block_size')::pg_catalog.numeric))::pg_catalog.float4"""
_LATEST = """pg_catalog.format('(%s,0)', GREATEST(0, (pg_catalog.max(pg_catalog.pg_relation_size(c.oid))
    / pg_catalog.current_setting('block_size')::pg_catalog.int8) - {latest}))::pg_catalog.tid"""
_OF_PARTS = """
SELECT {what} FROM pg_catalog.pg_class AS c,
    (SELECT tableoid AS oid FROM {table} WHERE ctid < '(1000,0)'::pg_catalog.tid LIMIT 1) AS seen
WHERE c.oid = seen.oid OR c.oid = ANY (
    SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(pg_catalog.pg_partition_root(seen.oid)))
"""
_PAGES, _LATEST_PAGES = 128, 16


def sample(column: Column, table: sql.Composable, value: str = "{column}") -> sql.Composed:
    """A query for values of a column: a thousand rows in the first 8 MB, 128 pages from everywhere, and the last 16.

    What is in front may be the oldest rows, written by an earlier version of the application, or empty, as a purge leaves it;
    what a new version writes may be at the end only. A range of TIDs reads no other pages (PostgreSQL 14).
    """
    query = """
SELECT {value} AS value FROM (
    (SELECT {column} FROM {table} WHERE ctid < '(1000,0)'::pg_catalog.tid LIMIT 1000)
    UNION ALL (SELECT {column} FROM {table} TABLESAMPLE pg_catalog.system (COALESCE(({percent}), 1)) REPEATABLE (0) LIMIT 20000)
    UNION ALL (SELECT {column} FROM {table} WHERE ctid >= ({latest}) LIMIT 20000)
) AS looked ({column}) WHERE {column} IS NOT NULL"""
    name = sql.Identifier(column.name)
    percent, latest = (
        phrase(_OF_PARTS, table=table, what=what)
        for what in (
            phrase(_PERCENT, pages=sql.Literal(_PAGES)),
            phrase(_LATEST, latest=sql.Literal(_LATEST_PAGES)),
        )
    )
    return phrase(query, column=name, table=table, value=phrase(value, column=name), percent=percent, latest=latest)
