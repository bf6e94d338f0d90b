# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a run leaves at its end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._result import ABANDONED, UNCHANGED
from .fair import Key, Memory

# Targets of a step that nothing happened to, one by one: with their numbers in the result, and at all in the history, which a
# plan of each hour fills with them for 90 days.
MOST_TOLD, MOST_NOTED = 100, 10
WON = "won_bytes"  # of the numbers of an entry: disk space that the server has given back


@dataclass
class Closing:
    """What a run leaves at its end.

    noted     entries of targets for which nothing was executed
    memories  what the next run must know of them
    findings  what was found, with the step
    retries   attempts after the first ones, over all sessions
    counted   what is to be added to the counters, made by ``counted``
    """

    status: str
    message: str
    totals: dict[str, int]
    noted: list[dict[str, Any]] = field(default_factory=list)
    memories: dict[Key, Memory] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    retries: int = 0
    counted: list[dict[str, Any]] = field(default_factory=list)


def lighten(actions: Sequence[dict[str, Any]]) -> None:
    """Take the numbers off those that nothing happened to and nobody will read one by one: Ansible copies results many times."""
    seen: Counter[int] = Counter()
    for one in actions:
        if one["outcome"] == UNCHANGED:
            seen[one["step"]] += 1
            if seen[one["step"]] > MOST_TOLD:
                one["numbers"] = {}


def shortened(noted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the history keeps of targets that nothing happened to: of thousands in each run nobody reads more than a number."""
    seen: Counter[tuple[int, str]] = Counter()
    kept: list[dict[str, Any]] = []
    for one in noted:
        key = (one["step"], one["operation"])
        idle = one["outcome"] == UNCHANGED
        seen[key] += idle
        if not idle or seen[key] <= MOST_NOTED:
            kept.append(one)
    for (step, operation), number in seen.items():
        if number > MOST_NOTED:
            target = f"{number - MOST_NOTED} more"
            kept.append({"step": step, "operation": operation, "target": target, "outcome": UNCHANGED,
                         "reason": "unchanged like those before them", "numbers": {}})  # fmt: skip
    return kept


def counted(actions: Sequence[Mapping[str, Any]], dead: Iterable[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """What a run adds to the counters: by operation and outcome, how many targets, rows and bytes.

    actions  all entries of the run
    dead     (operation, target) of the actions of runs that were found dead
    """
    sums: dict[tuple[str, str], list[int]] = {}
    for one in actions:
        rows = one["rows"] if one.get("counted_as") else None
        _add(sums, (one["operation"], one["outcome"]), rows, one["numbers"].get(WON))
    for operation, _target in dead:
        _add(sums, (operation, ABANDONED), None, None)
    return [
        {"operation": operation, "outcome": outcome, "actions": number, "rows": rows, "reclaimed_bytes": won}
        for (operation, outcome), (number, rows, won) in sorted(sums.items())
    ]


def _add(sums: dict[tuple[str, str], list[int]], key: tuple[str, str], rows: int | None, won: int | None) -> None:
    known = sums.setdefault(key, [0, 0, 0])
    for place, more in enumerate((1, rows or 0, won or 0)):
        known[place] += max(0, more)
