# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which partitions are missing: from the one for now on, so many whole intervals. Pure; times as in calendar.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .bounds import Place
from .calendar import Step

MOST = 1000  # partitions of one run
NO_END = (
    "its last partition has no upper end, so that none can come after it: detach it, and attach it again with an end"
)

Span = tuple[int, int]


@dataclass
class Wanted:
    """Ranges to be created, in their order; and what stands in the way, for people."""

    spans: list[Span] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def wanted(ranges: Sequence[tuple[Place, Place]], now: int, since: Place, step: Step, count: int) -> Wanted:
    """What to create so that ``count`` whole intervals after the one that contains now exist.

    ranges: those that exist, in their order, which never overlap. since: what ends there or before is not missed.
    Raises OverflowError where the calendar ends.
    """
    holder = next((one for one in ranges if one[0] <= now < one[1]), None)
    if holder and holder[1] == float("inf"):
        return Wanted(faults=[NO_END])
    end = int(holder[1]) if holder else _end_of_now(ranges, now, step)
    goal = step.after(end, count)
    made = Wanted()
    if ranges and ranges[-1][1] == float("inf") and ranges[-1][0] < goal:
        made.faults.append(NO_END)
    for start, stop in _free(ranges, now, step):
        if stop is None:
            made.spans += _tail(start, goal, step, since)
        elif stop > now:
            inside = list(_inside(start, min(stop, goal), now, step))
            if inside and inside[-1][1] > stop:
                made.faults.append(
                    f"what is left of a gap is less than {step.text()}, and stays: create a partition for it"
                )
                inside.pop()
            made.spans += inside
    if len(made.spans) > MOST:
        made.faults.append(
            f"{len(made.spans)} partitions are missing; the first {MOST} are created, and the next run goes on"
        )
        del made.spans[MOST:]
    return made


def _end_of_now(ranges: Sequence[tuple[Place, Place]], now: int, step: Step) -> int:
    """The end of the interval that contains now, where no partition does: counted from the bound next to it."""
    before = [int(one[1]) for one in ranges if one[1] <= now]
    if before:
        return _last_before(max(before), now, step)[1]
    after = [int(one[0]) for one in ranges if one[0] > now]
    if after:
        return _first_after(min(after), now, step)[1]
    return step.after(step.floor(now))


def _last_before(anchor: int, now: int, step: Step) -> Span:
    """The cell that contains now, counted on from a bound before it."""
    number = _about(anchor, now, step)
    while step.after(anchor, number + 1) <= now:
        number += 1
    return step.after(anchor, number), step.after(anchor, number + 1)


def _first_after(anchor: int, now: int, step: Step) -> Span:
    """The cell that contains now, counted back from a bound after it."""
    number = 1
    if not step.months:
        number = -((now - anchor) // _size(step))
    while step.after(anchor, -number) > now:
        number += 1
    return step.after(anchor, -number), step.after(anchor, 1 - number)


def _about(anchor: int, moment: Place, step: Step) -> int:
    """So many steps lie between for certain; months are few enough to be counted."""
    if step.months or moment <= anchor or moment == float("inf"):
        return 0
    return int((moment - anchor) // _size(step))


def _size(step: Step) -> int:
    return step.after(0)


def _free(ranges: Sequence[tuple[Place, Place]], now: int, step: Step) -> Iterator[tuple[int, int | None]]:
    """Where no partition is, from the first to the last; None: it has no end."""
    if not ranges:
        yield step.floor(now), None
        return
    first, last = ranges[0], ranges[-1]
    if now < first[0]:
        yield _first_after(int(first[0]), now, step)[0], int(first[0])
    for one, following in zip(ranges, ranges[1:]):
        if one[1] < following[0]:
            yield int(one[1]), int(following[0])
    if last[1] != float("inf"):
        yield int(last[1]), None


def _tail(start: int, goal: int, step: Step, since: Place) -> Iterator[Span]:
    """From the last bound on."""
    number = _about(start, since, step)
    while step.after(start, number) < goal:
        span = step.after(start, number), step.after(start, number + 1)
        if span[1] > since:
            yield span
        number += 1
        if number > _about(start, since, step) + 20 * MOST:
            return


def _inside(start: int, stop: int, now: int, step: Step) -> Iterator[Span]:
    """Whole steps from a bound until ``stop``, and maybe beyond it, but for what has passed."""
    number = _about(start, now, step)
    while step.after(start, number) < stop:
        span = step.after(start, number), step.after(start, number + 1)
        if span[1] > now:
            yield span
        number += 1
