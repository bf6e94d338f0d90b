# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of vacuum: which tables, when one is due, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._errors import OptionError
from ..._postgres.selection import SELECTION, Overrides, Selection, overrides_spec, read_overrides
from ..._postgres.selection import read as read_selection
from ..._spec import Spec
from ..._units import size

AUTO, ALWAYS, NEVER = "auto", "always", "never"
ON, OFF = "on", "off"
GENTLE, FAST = "gentle", "fast"

MOST_JOBS = 64
MOST_PARALLEL = 1024  # MAX_PARALLEL_WORKER_LIMIT
LEAST_BUFFERS, MOST_BUFFERS = 128 * 1024, 16 * 1024**3  # MIN_BAS_VAC_RING_SIZE_KB, MAX_BAS_VAC_RING_SIZE_KB


@dataclass(frozen=True)
class Thresholds:
    """When a table is due; see THRESHOLDS."""

    threshold_factor: float = 0.5
    min_dead_rows: int = 1000
    visible_share: float = 0.5
    freeze_age_factor: float = 0.75


# threshold_factor   share of what autovacuum waits for, by its own formula and the options of the table: work is done ahead of
#                    it, in a quiet hour
# min_dead_rows      rows, dead or inserted: what is less is not worth the pass, whatever share of a small table it is
# visible_share      share of pages that are all-visible: below it an index-only scan looks into the table more often than not
# freeze_age_factor  share of the age at which autovacuum is forced to freeze; VACUUM itself reads the whole table from about
#                    there on (vacuum_freeze_table_age is 150 million of 200)
THRESHOLDS: dict[str, dict[str, Any]] = {
    "threshold_factor": {"type": "float", "default": Thresholds.threshold_factor},
    "min_dead_rows": {"type": "int", "default": Thresholds.min_dead_rows},
    "visible_share": {"type": "float", "default": Thresholds.visible_share},
    "freeze_age_factor": {"type": "float", "default": Thresholds.freeze_age_factor},
}
# What each may be; the last two are shares, of which the one that forces the server must come first.
BOUNDS: dict[str, tuple[float, float]] = {
    "threshold_factor": (0, 100),
    "min_dead_rows": (0, 2**62),
    "visible_share": (0, 1),
    "freeze_age_factor": (0.01, 1),
}

HOW: dict[str, dict[str, Any]] = {
    "freeze": {"type": "bool", "default": False},
    "analyze": {"type": "str", "choices": [AUTO, ALWAYS, NEVER], "default": AUTO},
    "truncate": {"type": "bool", "default": False},
    "index_cleanup": {"type": "str", "choices": [AUTO, ON, OFF], "default": AUTO},
    "process_toast": {"type": "bool", "default": True},
    "parallel": {"type": "int"},
    "buffer_usage_limit": {"type": "bytes"},
    "pace": {"type": "str", "choices": [GENTLE, FAST], "default": GENTLE},
    "loaded": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 1},
}
SPEC = SELECTION + Spec({**THRESHOLDS, **HOW}) + overrides_spec(THRESHOLDS)


@dataclass(frozen=True)
class Options:
    """As in HOW. buffer_usage_limit in bytes; None for parallel and buffer_usage_limit: as the server is set."""

    selection: Selection = field(default_factory=Selection)
    thresholds: Thresholds = field(default_factory=Thresholds)
    overrides: Overrides = field(default_factory=Overrides)
    freeze: bool = False
    analyze: str = AUTO
    truncate: bool = False
    index_cleanup: str = AUTO
    process_toast: bool = True
    parallel: int | None = None
    buffer_usage_limit: int | None = None
    pace: str = GENTLE
    loaded: bool = False
    jobs: int = 1

    def of(self, names: Sequence[str]) -> Thresholds:
        """The thresholds of a table that has one of these names (``schema.name``)."""
        return replace(self.thresholds, **self.overrides.of(names)) if self.overrides.rules else self.thresholds


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError with all that is wrong."""
    faults: list[str] = []
    selection, overrides = read_selection(given, faults), read_overrides(given, faults)
    wanted = {name: given[name] for name in THRESHOLDS if given.get(name) is not None}
    for where, values in (("", wanted), *((f"overrides ({match}): ", own) for match, own in overrides.rules)):
        faults += [f"{where}{fault}" for fault in _out_of_bounds(values)]
    how = {name: given[name] for name in HOW if given.get(name) is not None}
    if not 1 <= how.get("jobs", 1) <= MOST_JOBS:
        faults.append(f"jobs: must be from 1 to {MOST_JOBS}")
    if not 0 <= how.get("parallel", 0) <= MOST_PARALLEL:
        faults.append(f"parallel: must be from 0, which is none, to {MOST_PARALLEL} workers")
    buffers = how.get("buffer_usage_limit", 0)
    if buffers and not LEAST_BUFFERS <= buffers <= MOST_BUFFERS:
        faults.append(
            f"buffer_usage_limit: must be from {size(LEAST_BUFFERS)} to {size(MOST_BUFFERS)}, or 0 for no limit"
        )
    if faults:
        raise OptionError(faults)
    return Options(selection, Thresholds(**wanted), overrides, **how)


def _out_of_bounds(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with thresholds. A number that is none (nan) is within no bounds."""
    faults = []
    for name, (least, most) in BOUNDS.items():
        if name in values and not least <= values[name] <= most:
            faults.append(
                f"{name}: must be from {least} to {most:g}" if most < 2**62 else f"{name}: must not be negative"
            )
    return faults
