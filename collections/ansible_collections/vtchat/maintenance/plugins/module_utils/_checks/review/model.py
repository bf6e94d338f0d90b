# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Indexes and foreign keys as the catalog has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._postgres.names import display, quote

BTREE, HASH = "btree", "hash"


@dataclass(frozen=True)
class Column:
    """A key column of an index.

    what        the number of the table's column, or the expression as the server prints it
    name        of the table's column; "" for an expression
    family      operator family of its class; type: what that is for. Classes with the same are alike (varchar_ops, text_ops)
    order       bits of pg_index.indoption: DESC, NULLS FIRST
    parameters  of the operator class
    statistics  the statistics target that somebody has set, None for the default
    """

    what: str
    name: str = ""
    family: int = 0
    type: int = 0
    collation: int = 0
    order: int = 0
    parameters: str = ""
    statistics: int | None = None

    @property
    def expression(self) -> bool:
        return not self.name

    def serves(self, other: Column) -> bool:
        """Whether an index with this column finds and sorts by it what one with the other does."""
        own = (self.what, self.family, self.type, self.collation, self.order, self.parameters)
        its = (other.what, other.family, other.type, other.collation, other.order, other.parameters)
        return own == its and other.statistics in (None, self.statistics)


@dataclass(frozen=True)
class Index:
    """An index, or that of a partitioned table, of which those of its partitions are parts.

    name_bytes  of its name, in the encoding of the server
    included    the numbers of the columns that it only stores
    predicate   the condition of a partial index, "" without one
    usable      valid, ready and live
    immediate   whether a unique index checks at once (not DEFERRABLE)
    constraint  name of the constraint that it is the index of, "" if there is none
    needed      whether something depends on it, such as a foreign key on a unique index
    extension   whether it, or its table, belongs to an extension
    parent      oid of the partitioned index that it is attached to, 0 if there is none
    depth       of its table in a tree of partitions, 0 on top
    bytes       with those of its parts; None while somebody has locked its table as a whole
    """

    oid: int
    schema: str
    name: str
    table: int
    name_bytes: int = 0
    table_schema: str = "public"
    table_name: str = ""
    table_kind: str = "r"
    partitioned: bool = False
    method: str = BTREE
    columns: Sequence[Column] = ()
    included: Sequence[str] = ()
    predicate: str = ""
    unique: bool = False
    nulls_not_distinct: bool = False
    immediate: bool = True
    primary: bool = False
    exclusion: bool = False
    usable: bool = True
    constraint: str = ""
    identity: bool = False
    clustered: bool = False
    needed: bool = False
    extension: bool = False
    parent: int = 0
    depth: int = 0
    bytes: int | None = 0

    @property
    def target(self) -> str:
        return display(self.schema, self.name)

    @property
    def table_target(self) -> str:
        return display(self.table_schema, self.table_name)

    @property
    def stored(self) -> frozenset[str]:
        """The columns of the table that can be read from it."""
        return frozenset(self.included) | {column.what for column in self.columns if not column.expression}

    @property
    def expressions(self) -> bool:
        return any(column.expression for column in self.columns)

    @property
    def kept(self) -> str:
        """Why it must not be dropped whatever it is used for; "" if nothing forbids it."""
        if self.constraint or self.primary or self.exclusion:
            return f"it is the index of the constraint {quote(self.constraint or self.name)}"
        if self.parent:
            return "it is a part of the index of a partitioned table"
        if self.identity:
            return "it is the replica identity of its table"
        if self.needed:
            return "something depends on it, such as a foreign key"
        return "it belongs to an extension" if self.extension else ""

    @property
    def drop(self) -> str:
        """The statement, for people. The server cannot drop that of a partitioned table concurrently."""
        return f"DROP INDEX {'' if self.partitioned else 'CONCURRENTLY '}{self.target}"


def read_index(row: Mapping[str, Any]) -> Index:
    """From a row of queries.INDEXES."""
    keys = row["keys"]
    columns = [
        Column(str(number) if number else printed, name if number else "", family or 0, kind or 0, collation or 0, order or 0,
               " ".join(parameters or ()), target if target is not None and target >= 0 else None)
        for number, printed, name, family, kind, collation, order, parameters, target in row["columns"][:keys]
    ]  # fmt: skip
    included = [str(column[0]) for column in row["columns"][keys:]]
    plain = {
        name: row[name] for name in Index.__dataclass_fields__ if name in row and name not in ("columns", "included")
    }
    return Index(**plain, columns=columns, included=included)


class Parts:
    """The rows of queries.INDEXES that have entries: for a partitioned index those of its parts."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._below: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            self._below.setdefault(row["parent"], []).append(row)

    def of(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The row itself, or those of its parts."""
        if not row["partitioned"]:
            return [row]
        return [one for part in self._below.get(row["oid"], ()) for one in self.of(part)]


def read_indexes(rows: Sequence[Mapping[str, Any]]) -> list[Index]:
    """All, a partitioned one with the bytes of its parts."""
    parts = Parts(rows)
    return [replace(read_index(row), bytes=sum(part["bytes"] for part in parts.of(row))) for row in rows]


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of a table, or of a partition.

    root        oid of the constraint that people have made: of a partitioned table, where this is that of a partition
    columns     numbers of the referencing columns; names: theirs
    references  the table that it refers to
    deleted     rows that were deleted there since the counters began
    bytes       of the referencing table, None while somebody has locked it as a whole
    """

    root: int
    name: str
    table: int
    schema: str
    table_name: str
    columns: Sequence[str]
    names: Sequence[str]
    references: str
    deleted: int = 0
    bytes: int | None = 0
    root_schema: str = ""
    root_table: str = ""

    @property
    def target(self) -> str:
        """The table whose foreign key it is, for people, with the key's name."""
        return f"{display(self.root_schema or self.schema, self.root_table or self.table_name)} {quote(self.name)}"


def read_foreign_key(row: Mapping[str, Any]) -> ForeignKey:
    """From a row of queries.FOREIGN_KEYS."""
    plain = {name: row[name] for name in ForeignKey.__dataclass_fields__ if name in row}
    return ForeignKey(**{**plain, "columns": [str(number) for number in row["columns"]],
                         "references": display(row["references_schema"], row["references_table"])})  # fmt: skip
