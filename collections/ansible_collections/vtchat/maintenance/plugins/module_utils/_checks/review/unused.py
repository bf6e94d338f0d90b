# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which indexes nobody uses, and how certain that is. Pure.

Counters say nothing of the time before they began, of other servers, and of an index that is younger than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .model import Index
from .redundant import Superfluous

# A report at the end of each month has been made once; pganalyze waits as long.
UNUSED_AFTER = 35 * 86400.0

HIGH, LOW = "high", "low"


@dataclass(frozen=True)
class Usage:
    """How one server has used an index.

    scans   since its counters began
    last    when it was last used, in seconds since 1970; None where that is not known (before 16)
    began   when the counters began, likewise; None where nobody knows
    now     what time it is there
    """

    scans: int
    last: float | None
    began: float | None
    now: float

    def unused_for(self, after: float) -> bool:
        """Whether it has certainly not been used there for so many seconds."""
        if self.scans:
            return self.last is not None and self.now - self.last >= after > 0
        return after <= 0 or (self.began is not None and self.now - self.began >= after)


def has_other_uses(index: Index) -> bool:
    """Whether an index serves when it is not read: it forbids something, or the planner has statistics of its expressions."""
    return bool(index.kept) or index.unique or index.expressions or not index.usable


def unused_indexes(
    indexes: Iterable[Index],
    everywhere: Mapping[int, Sequence[Usage]],
    supporting: Container[int],
    superfluous: Iterable[Superfluous],
    after: float,
    certain: Callable[[Index], bool],
) -> list[Index]:
    """What no server has used for so many seconds, and is not there for another reason.

    everywhere: by oid, how each server has used it. supporting: those that foreign keys need. certain: whether an index is so
    old that this means something; those that are not are told as well. What stays in the place of a superfluous one is not
    unused, unless that one is certainly unused too.
    """
    found = {
        index.oid: index
        for index in indexes
        if index.oid not in supporting
        and not has_other_uses(index)
        and all(usage.unused_for(after) for usage in everywhere[index.oid])
    }
    stays = {one.by.oid for one in superfluous if one.index.oid not in found or not certain(one.index)}
    return [index for oid, index in found.items() if oid not in stays]
