# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of amcheck: which tables, how often, and how thoroughly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import OptionError
from ..._postgres.selection import SELECTION, Selection
from ..._postgres.selection import read as read_selection
from ..._schedule import Every, read_schedule
from ..._spec import Spec

EVERY = "30d"
HEAP, UNIQUE, PARENT = "heapallindexed", "checkunique", "parent"
DEPTHS = (HEAP, UNIQUE, PARENT)
SPEC = SELECTION + Spec({
    "every": {"type": "str", "default": EVERY},
    **{name: {"type": "bool", "default": False} for name in DEPTHS},
})  # fmt: skip


@dataclass(frozen=True)
class Options:
    """every: as it was written; seconds: the same. depth: those of DEPTHS that are wanted."""

    selection: Selection = field(default_factory=Selection)
    every: str = EVERY
    seconds: float = 30 * 86400.0
    depth: frozenset[str] = frozenset()


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError with all that is wrong."""
    faults: list[str] = []
    selection = read_selection(given, faults)
    schedule = read_schedule({"every": given.get("every") or EVERY}, faults)
    if faults or not isinstance(schedule, Every):
        raise OptionError(faults)
    depth = frozenset(name for name in DEPTHS if given.get(name))
    return Options(selection, schedule.text, schedule.interval.total_seconds(), depth)
