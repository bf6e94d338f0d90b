# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""How a run compares with those before it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .. import _units
from .._clean import clean
from .._result import OK, PARTIAL
from . import model
from .model import RunResult


def trend(result: RunResult) -> str:
    """ "ok 9 of the last 10 (1 failed); median 0.9 s, this one 1.2 s; median 33 rows"; "" without earlier runs."""
    recent = model.entries(result, "recent")
    if not recent:
        return ""
    counts = Counter(clean(run.get("status") or "?") for run in recent)
    others = ", ".join(f"{_units.count(number)} {name}" for name, number in counts.most_common() if name != OK)
    parts = [f"ok {counts[OK]} of the last {len(recent)}" + (f" ({others})" if others else "")]
    done = [run for run in recent if run.get("status") in (OK, PARTIAL)]
    seconds = _numbers(run.get("seconds") for run in done)
    if seconds:
        now = model.time(result.get("seconds")) if not result.get("check_mode") else ""
        parts.append(f"median {_units.duration(_median(seconds))}" + (f", this one {now}" if now else ""))
    rows = _numbers(run.get("rows") for run in done)
    if any(rows):
        parts.append(f"median {_units.rows(round(_median(rows)))}")
    return "; ".join(parts)


def _median(numbers: list[float]) -> float:
    """That of the standard library takes longer to load than all of a report."""
    ordered, middle = sorted(numbers), len(numbers) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _numbers(found: Iterable[Any]) -> list[float]:
    return [one for one in found if isinstance(one, (int, float)) and not isinstance(one, bool) and one >= 0]
