# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who waits for whom, up to those who wait for nobody. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Waiter(NamedTuple):
    """A session that waits for a lock: since when, in seconds, and for which processes; 0 is a prepared transaction."""

    pid: int
    seconds: float
    blockers: tuple[int, ...]


def behind(waiters: Sequence[Waiter]) -> dict[int, list[Waiter]]:
    """By each process that waits for nobody: everybody who waits for it, at first or at second hand.

    Of those who wait for each other in a ring, which the server will break, the one with the lowest number stands for all.
    """
    by_pid = {one.pid: one for one in waiters}
    found: dict[int, list[Waiter]] = {}
    for one in waiters:
        for root in sorted(_roots(one.pid, by_pid)):
            if root != one.pid:
                found.setdefault(root, []).append(one)
    return found


def _roots(pid: int, by_pid: Mapping[int, Waiter]) -> set[int]:
    seen = _reached(pid, by_pid)
    ends = {one for one in seen if not (one in by_pid and by_pid[one].blockers)}
    rings = [one for one in seen if one in _reached(one, by_pid)] if not ends else []
    return ends or set(sorted(rings)[:1])


def _reached(pid: int, by_pid: Mapping[int, Waiter]) -> set[int]:
    """All that a process waits for, at first or at second hand; itself where it waits in a ring."""
    seen: set[int] = set()
    left = [pid]
    while left:
        one = left.pop()
        new = set(by_pid[one].blockers if one in by_pid else ()) - seen
        seen |= new
        left += new
    return seen
