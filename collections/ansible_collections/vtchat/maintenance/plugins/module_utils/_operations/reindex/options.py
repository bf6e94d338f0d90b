# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of reindex, and what they are for one index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..._errors import OptionError
from ..._postgres.bloat import METHODS
from ..._postgres.names import name_faults
from ..._postgres.selection import SELECTION, Overrides, Selection, overrides_spec, read_overrides
from ..._postgres.selection import read as read_selection
from ..._spec import Spec
from ..._window import OPTION as WINDOW
from ..._window import Window, read_window
from .facts import Index

AUTO = "auto"
MIN_SIZE = 10 << 20
MIN_GAIN = 1 << 20
EXACT_LIMIT = 1 << 30
BLOAT = 0.4
PENDING_LIST = 0.5

# What may be another for some indexes. bloat: random inserts leave the pages of a B-tree about 69 % full (ln 2), a fresh one
# fills 90 %: up to 0.23 is normal.
THRESHOLDS: dict[str, dict[str, Any]] = {
    "bloat": {"type": "float", "default": BLOAT},
    "min_gain": {"type": "bytes", "default": "1M"},
    "method": {"type": "str", "choices": [AUTO, *METHODS], "default": AUTO},
    "exact_limit": {"type": "bytes", "default": "1G"},
    "unique": {"type": "bool", "default": False},
    "pending_list": {"type": "float", "default": PENDING_LIST},
}
SPEC = Spec(
    {
        **SELECTION.options,
        "min_size": {"type": "bytes", "default": "10M"},
        "indexes": {"type": "list", "elements": "str"},
        **THRESHOLDS,
        "quiet": WINDOW,
    },
    required_one_of=[("tables", "include", "indexes")],
) + overrides_spec(THRESHOLDS)


@dataclass(frozen=True)
class Limits:
    """When an index is rebuilt.

    bloat         share of its bytes that a rebuild must win
    min_gain      bytes that it must win
    method        AUTO, or the one method that counts
    exact_limit   bytes up to which an index is read as a whole to measure it
    unique        whether unique indexes are rebuilt at any time
    pending_list  share of gin_pending_list_limit from which on a pending list is flushed
    """

    bloat: float = BLOAT
    min_gain: int = MIN_GAIN
    method: str = AUTO
    exact_limit: int = EXACT_LIMIT
    unique: bool = False
    pending_list: float = PENDING_LIST


@dataclass(frozen=True)
class Options:
    """Which indexes, and when they are rebuilt. quiet: when unique ones may be rebuilt although unique is false."""

    selection: Selection = field(default_factory=lambda: Selection(min_size=MIN_SIZE))
    indexes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    overrides: Overrides = field(default_factory=Overrides)
    quiet: Window | None = None

    def of(self, names: Sequence[str]) -> Limits:
        """The limits for an index that has these names."""
        own = self.overrides.of(names)
        return replace(self.limits, **own) if own else self.limits

    def has_size(self, index: Index) -> bool:
        """Whether an index is large enough to matter, and not too large; so is one that is locked, for nobody knows."""
        least, most = self.selection.min_size or 0, self.selection.max_size
        return index.bytes is None or (index.bytes >= least and (most is None or index.bytes <= most))

    def is_quiet(self, now: datetime | None) -> bool:
        """Whether a window for unique indexes is open."""
        return self.quiet is not None and now is not None and self.quiet.is_open(now)


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError with all faults."""
    faults: list[str] = []
    selection, overrides = read_selection(given, faults), read_overrides(given, faults)
    indexes = given.get("indexes")
    faults += name_faults("indexes", indexes or [])
    if indexes is not None and not indexes:
        faults.append("indexes: is empty; name at least one index")
    limits = {name: given[name] for name in THRESHOLDS if given.get(name) is not None}
    faults += _faults("", limits)
    for number, (_match, own) in enumerate(overrides.rules, 1):
        faults += _faults(f"overrides[{number}].", own)
    quiet = read_window(given.get("quiet"), faults, "quiet")
    if faults:
        raise OptionError(faults)
    return Options(selection, tuple(indexes or ()), Limits(**limits), overrides, quiet)


def _faults(where: str, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with thresholds."""
    faults = []
    if not 0.1 <= values.get("bloat", BLOAT) < 1:
        faults.append(
            f"{where}bloat: must be from 0.1 to less than 1: the share of its bytes that a rebuild would win, such as 0.4"
        )
    if not values.get("pending_list", PENDING_LIST) > 0:
        faults.append(f"{where}pending_list: must be more than 0: a share of gin_pending_list_limit, such as 0.5")
    for name in ("min_gain", "exact_limit"):
        if values.get(name, 0) < 0:
            faults.append(f"{where}{name}: a size is not negative")
    return faults
