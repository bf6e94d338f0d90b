# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What an interrupted REINDEX CONCURRENTLY has left, recognised by its name. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..._postgres.copies import NEW, belongs, ending
from .facts import Index


@dataclass(frozen=True)
class Leftover:
    """Something that an interrupted rebuild has left. of: the index that was to be rebuilt; is_new: this was to replace it."""

    index: Index
    of: Index
    is_new: bool

    @property
    def reason(self) -> str:
        if self.is_new:
            return f"an interrupted rebuild of {self.of.target} has left it; that one is as it was"
        return f"a rebuild of {self.of.target} was finished but for removing the old index, which is this one"


def leftovers(indexes: Sequence[Index]) -> dict[int, Leftover]:
    """By oid. Only what is not valid, enforces no constraint and is a copy of an index of the same table."""
    found: dict[int, Leftover] = {}
    by_table: dict[int, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.heap, []).append(index)
    for index in indexes:
        if index.valid or index.enforces or index.part or not ending(index.name)[0]:
            continue
        base = _base(index, by_table[index.heap])
        if base is not None and (base.chosen or index.chosen):
            found[index.oid] = Leftover(index, base, ending(index.name)[1].startswith(NEW))
    return found


def _base(index: Index, siblings: Sequence[Index]) -> Index | None:
    """The index of which it is a copy: rather one that can be used, and one leftover of another only by its whole name."""
    copies = [one for one in siblings if one.oid != index.oid and _is_copy(index, one)]
    copies.sort(key=lambda one: (not one.valid, bool(ending(one.name)[0])))
    return next(
        (one for one in copies if one.valid or not ending(one.name)[0] or ending(index.name)[0] == one.name), None
    )


def _is_copy(index: Index, of: Index) -> bool:
    same = index.schema == of.schema and index.definition == of.definition
    return same and belongs(index.name, index.name_bytes, of.name, of.name_bytes)
