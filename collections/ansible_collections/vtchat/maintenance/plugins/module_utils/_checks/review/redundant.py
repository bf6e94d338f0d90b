# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which indexes can be done without because another one does all that they do. Pure.

Only what is certain: whoever says that two indexes are equal when they are not has people drop the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .model import BTREE, Index


def covers(by: Index, index: Index) -> bool:
    """Whether every use of an index, the enforcing of uniqueness included, is one that another one has as well.

    Of B-trees the columns may be the first of the other's. Of all other methods what a second column costs depends on the
    method, so the columns must be the same. A partial index is only covered by one with the same condition.
    """
    if by.oid == index.oid or by.table != index.table or by.method != index.method or by.predicate != index.predicate:
        return False
    if not (by.usable and index.usable) or index.exclusion or by.partitioned != index.partitioned:
        return False
    return _finds(by, index) and _stores(by, index) and _enforces(by, index)


def _finds(by: Index, index: Index) -> bool:
    """Whether all that can be found or sorted by the one can be by the other."""
    if len(by.columns) < len(index.columns) or (by.method != BTREE and len(by.columns) != len(index.columns)):
        return False
    return all(own.serves(other) for own, other in zip(by.columns, index.columns))


def _stores(by: Index, index: Index) -> bool:
    """Whether all that can be read from the one, without its table, can be from the other."""
    return frozenset(index.included) <= by.stored


def _enforces(by: Index, index: Index) -> bool:
    """Whether the other one forbids all that a unique one forbids, and as soon; INSERT ... ON CONFLICT goes by its columns."""
    if not index.unique:
        return True
    if not by.unique or len(by.columns) != len(index.columns):
        return False
    return by.nulls_not_distinct == index.nulls_not_distinct and (by.immediate or not index.immediate)


def alike(one: Index, other: Index) -> bool:
    """Whether two indexes, of which one covers the other, have the same columns."""
    return len(one.columns) == len(other.columns) and frozenset(one.included) == frozenset(other.included)


@dataclass(frozen=True)
class Superfluous:
    """An index that can be done without. by: what does all that it does, and stays; duplicate: that has the same columns."""

    index: Index
    by: Index

    @property
    def duplicate(self) -> bool:
        return alike(self.index, self.by)


@dataclass
class _Review:
    """removed: what can be done without, and the parts of it."""

    scans: Mapping[int, int]
    parts: dict[int, list[Index]] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    found: list[Index] = field(default_factory=list)

    def table(self, indexes: Sequence[Index]) -> None:
        """One table: what is worth least goes first, if one that stays covers it."""
        for index in sorted(indexes, key=self._worth):
            stays = (one for one in indexes if one.oid not in self.removed)
            if not index.kept and any(covers(one, index) for one in stays):
                self.found.append(index)
                self._remove(index)

    def _worth(self, index: Index) -> tuple[bool, bool, bool, int, int]:
        """Of equal ones rather a plain one goes than a unique one, rather one that is used less, rather a younger one."""
        return bool(index.kept), index.unique, index.clustered, self.scans.get(index.oid, 0), -index.oid

    def _remove(self, index: Index) -> None:
        self.removed.add(index.oid)
        for part in self.parts.get(index.oid, ()):
            self._remove(part)


def superfluous(indexes: Iterable[Index], scans: Mapping[int, int]) -> list[Superfluous]:
    """All that can be dropped at once, each with the narrowest index that covers it and stays. scans: uses, by oid."""
    tables: dict[int, list[Index]] = {}
    review = _Review(scans)
    for index in indexes:
        tables.setdefault(index.table, []).append(index)
        if index.parent:
            review.parts.setdefault(index.parent, []).append(index)
    # Partitioned tables before their partitions: with an index all its parts go.
    for of_table in sorted(tables.values(), key=lambda some: some[0].depth):
        review.table(of_table)
    return [Superfluous(index, _narrowest(index, tables[index.table], review.removed)) for index in review.found]


def _narrowest(index: Index, siblings: Sequence[Index], removed: set[int]) -> Index:
    stay = [one for one in siblings if one.oid not in removed and covers(one, index)]
    return min(stay, key=lambda one: (not alike(one, index), len(one.columns), one.bytes or 0, one.oid))


def same_constraint(indexes: Iterable[Index]) -> list[Superfluous]:
    """Constraints of one table that forbid the same: two indexes, neither of which can be dropped as such."""
    tables: dict[int, list[Index]] = {}
    for index in indexes:
        if index.constraint and not index.parent:
            tables.setdefault(index.table, []).append(index)
    found = []
    for of_table in tables.values():
        rest = sorted(of_table, key=lambda one: (one.primary, one.needed, one.identity, -one.oid))
        while rest:
            index = rest.pop(0)
            by = next((one for one in reversed(rest) if covers(one, index)), None)
            if by is not None and not (index.primary or index.needed or index.identity or index.extension):
                found.append(Superfluous(index, by))
    return found
