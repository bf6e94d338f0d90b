# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which foreign keys have no index that finds the rows that refer to one that is to be deleted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..._postgres.names import quote
from .model import BTREE, HASH, ForeignKey, Index


@dataclass(frozen=True)
class Missing:
    """A foreign key without an index.

    tables  how many tables lack it: one, or partitions
    bytes   of all of these
    partly  an index that has some of its columns first, None if there is none
    """

    key: ForeignKey
    tables: int
    bytes: int
    partly: Index | None

    @property
    def create(self) -> str:
        """What mends it. The server cannot build that of a partitioned table concurrently; the step index can."""
        key = self.key
        partitioned = bool(key.root_table) and (key.root_schema, key.root_table) != (key.schema, key.table_name)
        where = f"{quote(key.root_schema or key.schema)}.{quote(key.root_table or key.table_name)}"
        return f"CREATE INDEX {'' if partitioned else 'CONCURRENTLY '}ON {where} ({', '.join(map(quote, key.names))})"


def supports(index: Index, key: ForeignKey) -> bool:
    """Whether an index finds all rows of a foreign key: its first columns are those of the key, in any order.

    One that leaves out NULL does as well: the server looks for a value, which is none.
    """
    wanted = frozenset(key.columns)
    if index.table != key.table or not index.usable or not _admits(index.predicate, key.names):
        return False
    if index.method == HASH:
        return [column.what for column in index.columns] == list(key.columns)
    first = frozenset(column.what for column in index.columns[: len(wanted)])
    return index.method == BTREE and first == wanted


def supporting(keys: Iterable[ForeignKey], indexes: Iterable[Index]) -> frozenset[int]:
    """The oids of the indexes that foreign keys need; with a part, that of the partitioned table."""
    by_table: dict[int, list[Index]] = {}
    parents = {}
    for index in indexes:
        by_table.setdefault(index.table, []).append(index)
        parents[index.oid] = index.parent
    found: set[int] = set()
    for key in keys:
        for index in by_table.get(key.table, ()):
            oid = index.oid if supports(index, key) else 0
            while oid:
                found.add(oid)
                oid = parents.get(oid, 0)
    return frozenset(found)


def _admits(predicate: str, names: Iterable[str]) -> bool:
    """Whether a partial index has all rows in which these columns are not NULL."""
    rest = predicate
    for name in names:
        rest = rest.replace(f"({quote(name)} IS NOT NULL)", "")
    return re.fullmatch(r"[()\s]*(?:AND[()\s]*)*", rest) is not None


def missing(keys: Iterable[ForeignKey], indexes: Mapping[int, Sequence[Index]]) -> list[Missing]:
    """One for each foreign key that people have made. indexes: by table."""
    lacking: dict[tuple[int, int], ForeignKey] = {}
    for key in keys:
        if not any(supports(index, key) for index in indexes.get(key.table, ())):
            lacking[key.root, key.table] = key
    by_root: dict[int, list[ForeignKey]] = {}
    for (root, _table), key in lacking.items():
        by_root.setdefault(root, []).append(key)
    return [_missing(some, indexes) for some in by_root.values()]


def _missing(keys: Sequence[ForeignKey], indexes: Mapping[int, Sequence[Index]]) -> Missing:
    partly = next(
        (
            index
            for index in indexes.get(keys[0].table, ())
            if index.usable and index.method == BTREE and index.columns[0].what in keys[0].columns
            and _admits(index.predicate, keys[0].names)
        ),
        None,
    )  # fmt: skip
    return Missing(keys[0], len(keys), sum(key.bytes or 0 for key in keys), partly)
