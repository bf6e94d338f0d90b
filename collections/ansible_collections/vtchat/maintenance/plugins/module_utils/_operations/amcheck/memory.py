# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is remembered of a table or index from one run to the next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Memory:
    """What the history keeps.

    oid, file  of what this is about: another oid is another object, another file the same one written anew
    checked    how thoroughly it was found well -> when, in seconds since 1970
    sick       what was wrong with it when it was checked last, "" if nothing was; seen: when that was
    block      page of a table at which the next run goes on; began: when the check began that is so far
    """

    oid: int = 0
    file: int = 0
    checked: dict[str, float] = field(default_factory=dict)
    sick: str = ""
    seen: float = 0.0
    block: int = 0
    began: float = 0.0

    @classmethod
    def read(cls, value: Mapping[str, Any] | None, oid: int, file: int) -> Memory:
        """From what the history has kept, for the object as it is now."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value} if value else {}
        memory = cls(**known)
        if memory.oid != oid:
            return cls(oid, file)
        return memory if memory.file == file else replace(memory, file=file, block=0)

    def last(self, depth: frozenset[str]) -> float | None:
        """When it was checked at least so thoroughly; None if never."""
        times = [when for how, when in self.checked.items() if depth <= _depth(how)]
        return max(times, default=None)

    def well(self, depth: frozenset[str], when: float) -> Memory:
        """After a check that has found nothing. What a deeper one says is kept only while it is the later one."""
        checked = {how: then for how, then in self.checked.items() if not _depth(how) <= depth}
        return replace(self, checked={**checked, "+".join(sorted(depth)): when}, sick="", block=0)

    def ill(self, what: str, when: float) -> Memory:
        """After a check that has found something."""
        return replace(self, sick=what, seen=when, block=0)

    def halfway(self, block: int, began: float) -> Memory:
        """After a check that goes on in the next run."""
        return replace(self, block=block, began=began)

    def state(self) -> dict[str, Any]:
        """For the history; never empty, which would mean that nothing is to be written."""
        return asdict(self)


def _depth(how: str) -> frozenset[str]:
    return frozenset(how.split("+") if how else ())
