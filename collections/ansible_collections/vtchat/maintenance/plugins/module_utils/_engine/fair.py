# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A fair share of the budget: how long an action will take, whether it may begin, and what is remembered of it. Pure.

Why it is so, and how long a target waits at most: docs/decisions/0014-fair-budget.md of the repository.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._operations import Outcome
from .._result import CONTENDED, DEFERRED, DONE, UNCHANGED
from .._units import count

# Operation and target.
Key = tuple[str, str]

# Below so many bytes the size says nothing about the duration: what takes the time are locks, catalogs and the network.
SMALLEST = 1 << 20
# What the end of the budget cut off needs more than it got. How much more nobody knows; so much is assumed.
CUT_OFF = 1.1
# What does not fit into a whole run is tried all the same, after so many runs at the latest.
LONGEST_PAUSE = 32
# With so much of the budget left, an action has as good as all of it.
ALL_OF_IT = 0.98
FIRST = "it goes first next time"


@dataclass(frozen=True)
class Memory:
    """What is known about one target from earlier runs.

    value      what its operation keeps
    seconds    how long the action took, None if never done; where the budget ended first, how long it was at work
    size       bytes that it had then, None where they are not known
    deferred   it waits for its turn
    since      when it began to wait, in seconds since 1970 by the server's clock; None where that is not known
    deferrals  how many runs in a row have put it off before it began
    cut_off    how many times in a row the budget ended while it ran
    """

    value: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    deferred: bool = False
    size: int | None = None
    since: float | None = None
    deferrals: int = 0
    cut_off: int = 0

    def as_row(self, operation: str, target: str) -> dict[str, Any]:
        """For the table ``state``. An empty value leaves the stored one as it is."""
        return {"operation": operation, "target": target, **asdict(self)}

    def scaled(self, size: int | None) -> float | None:
        """Seconds of the last time, by the sizes then and now where both are known."""
        if self.seconds is None or self.size is None or size is None:
            return self.seconds
        return self.seconds * max(size, SMALLEST) / max(self.size, SMALLEST)

    def put_off(self, since: float) -> Memory:
        """After a run in which it did not begin."""
        return self._waiting(self.since if self.deferred and self.since is not None else since, self.deferrals + 1)

    def abandoned(self, since: float) -> Memory:
        """After a run that died with it: it goes behind those that waited meanwhile, so as not to be the end of each run."""
        return self._waiting(since, 0)

    def decided(self, verdict: str, state: dict[str, Any] | None, since: float) -> Memory:
        """After a run in which it was not to be executed. What others hold goes on waiting, if it did."""
        if verdict == DEFERRED:
            return replace(self.put_off(since), value=state or {})
        if verdict == CONTENDED:
            return replace(self, value=state or {})
        return replace(self._served(), value=state or {})

    def after(self, outcome: Outcome, took: Took, since: float) -> Memory:
        """After it was executed."""
        if outcome.status in (DONE, UNCHANGED):
            return replace(self._served(), seconds=took.seconds, size=took.size, cut_off=0, value=outcome.state or {})
        if outcome.status != DEFERRED:
            return replace(self._served(), value=outcome.state or {})
        if took.divisible:  # it got what there was, and goes behind those that got nothing
            return replace(self._waiting(since, 0), value=outcome.state or {})
        seconds = max(took.seconds, self.scaled(took.size) or 0.0)
        waiting = self._waiting(self.since if self.deferred and self.since is not None else since, 0)
        return replace(waiting, seconds=seconds, size=took.size, cut_off=self.cut_off + 1, value=outcome.state or {})

    def _waiting(self, since: float, deferrals: int) -> Memory:
        return replace(self, value={}, deferred=True, since=since, deferrals=deferrals)

    def _served(self) -> Memory:
        return replace(self, deferred=False, since=None, deferrals=0)


@dataclass(frozen=True)
class Took:
    """An execution. divisible: it can stop anywhere and go on."""

    seconds: float
    size: int | None
    divisible: bool


class Predictions:
    """How long actions take, judged by those that were executed before, in this run too."""

    def __init__(self, memory: Mapping[Key, Memory]) -> None:
        self._rates: dict[str, list[float]] = {}
        for (operation, _target), known in memory.items():
            self.learn(operation, known.seconds, known.size)

    def learn(self, operation: str, seconds: float | None, size: int | None) -> None:
        """That an action of that size took so long."""
        if seconds is not None and size is not None:
            insort(self._rates.setdefault(operation, []), seconds / max(size, SMALLEST))

    def expected(self, operation: str, memory: Memory, size: int | None) -> float | None:
        """Seconds: those of the last time, by the sizes then and now; else by what others of the operation took for a byte.

        None where nothing is known. What was cut off needs more than it got.
        """
        own = memory.scaled(size)
        if own is not None and not memory.cut_off:
            return own
        rates = self._rates.get(operation)
        others = rates[len(rates) // 2] * max(size, SMALLEST) if rates and size is not None else None
        return others if own is None else max(own * CUT_OFF, others or 0.0)


@dataclass(frozen=True)
class Chance:
    """Whether an action may begin. reason: why not; seconds: how long it is expected to take."""

    reason: str = ""
    seconds: float | None = None


def chance(memory: Memory, expected: float | None, left: float, whole: float) -> Chance:
    """What an action may do with ``left`` seconds of a run that had ``whole`` seconds when its first action could begin.

    What needs more than a whole run is tried now and then with all of it: it may be wrong what is expected. The rarer, the more
    it needs, and twice as rarely after each time in vain.
    """
    if left > 0 and (expected is None or expected <= left):
        return Chance(seconds=expected)
    more = "more than " if memory.cut_off else ""
    reason = f"{max(0.0, left):.0f} s of the budget are left"
    if expected is None or left <= 0:
        return Chance(f"{reason}; {FIRST}", expected)
    if expected <= whole * ALL_OF_IT:
        return Chance(f"{reason}, it is expected to take {more}{_seconds(expected)}; {FIRST}", expected)
    pause = pause_of(expected, whole, memory.cut_off)
    if left >= whole * ALL_OF_IT and memory.deferrals >= pause:
        return Chance(seconds=expected)
    runs = max(1, pause - memory.deferrals)
    when = "the next run" if runs == 1 else f"{runs} runs"
    return Chance(
        f"it is expected to take {more}{_seconds(expected)}, more than the whole budget of {_seconds(whole)}: give it one of "
        f"{_seconds(expected * CUT_OFF)}; it is tried with all of the budget in {when}",
        expected,
    )


def cut_off(reason: str, memory: Memory, whole: float) -> str:
    """The reason of what the end of the budget cut off; another where all of the budget was not enough. memory: after that."""
    expected = (memory.seconds or 0.0) * CUT_OFF
    if expected <= whole * ALL_OF_IT:
        return reason
    runs = pause_of(expected, whole, memory.cut_off) + 1
    needed = f"{_seconds(whole)} are not enough: give it a budget of more than {_seconds(expected)}"
    return reason.replace(FIRST, f"{needed}; it is tried again in {runs} runs")


def _seconds(seconds: float) -> str:
    return f"{count(math.ceil(round(seconds, 3)))} s"


def pause_of(expected: float, whole: float, cut_off: int) -> int:
    """How many runs put off what does not fit into any, before it is tried: once for each run more that it needs."""
    return int(min(LONGEST_PAUSE, max(1, math.ceil(expected / whole) - 1) * 2.0 ** min(cut_off, 10)))
