# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Large tables in which no index serves: that all pages were gone through is remembered.

The next run would be refused, because it would read all of them for few rows: only those that have expired since.
For a day that is no failure; then an index is needed, or somebody has to say that reading all of it is fine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from .options import Options

PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Sweep:
    """What is remembered when all pages were gone through. state: for the next run; way_out: what to do until then."""

    state: dict[str, Any]
    way_out: str


def sweep(options: Options, cutoffs: Sequence[datetime], way_out: str) -> Sweep:
    """Of a run that is about to go through all pages."""
    return Sweep({"page": 0, "swept": max(cutoffs).isoformat(), "of": _conditions(options)}, way_out)


def swept(state: dict[str, Any] | None, options: Options, cutoffs: Sequence[datetime]) -> datetime | None:
    """When all expired rows went, less than a day ago, None where that is not known of these options."""
    if not isinstance(state, dict) or state.get("of") != _conditions(options):
        return None
    try:
        cutoff = datetime.fromisoformat(str(state.get("swept")))
        fresh = timedelta(0) <= max(cutoffs) - cutoff < PATIENCE
    except (TypeError, ValueError, OverflowError):
        return None
    return cutoff + timedelta(seconds=min(one.older_than for one in options.conditions)) if fresh else None


def begun(state: dict[str, Any] | None) -> bool:
    """Whether the last run stopped between two pages; before the first one, if that was not where it began."""
    if not isinstance(state, dict) or not isinstance(state.get("page"), int):
        return False
    first = state.get("first")
    return state["page"] > 0 or (isinstance(first, int) and first > 0)


def _conditions(options: Options) -> str:
    """What tells one set of conditions from another."""
    text = json.dumps([[asdict(one) for one in options.conditions], options.where], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
