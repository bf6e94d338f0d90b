# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who waits for whom, in every shape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.blocking import Waiter, behind


def waiters(graph: dict[int, set[int]]) -> list[Waiter]:
    return [Waiter(pid, float(pid), tuple(sorted(blockers))) for pid, blockers in graph.items()]


def of_others(graph: dict[int, set[int]]) -> dict[int, set[int]]:
    """Nobody waits for itself."""
    return {pid: blockers - {pid} for pid, blockers in graph.items()}


def pids(graph: dict[int, set[int]]) -> dict[int, list[int]]:
    return {root: sorted(one.pid for one in found) for root, found in behind(waiters(graph)).items()}


def test_shapes() -> None:
    assert pids({}) == {}
    assert pids({2: {1}, 3: {2}, 4: {2, 1}}) == {1: [2, 3, 4]}
    assert pids({3: {1, 2}, 4: {3}}) == {1: [3, 4], 2: [3, 4]}
    assert pids({2: {0}}) == {0: [2]}
    assert pids({2: set()}) == {}, "it has just got its lock"
    assert pids({5: {6}, 6: {5}, 3: {6}, 9: {3}}) == {5: [3, 6, 9]}, "a ring, which the server breaks"


graphs = st.dictionaries(st.integers(1, 8), st.sets(st.integers(0, 8), max_size=3), max_size=8)


@given(graphs.map(of_others))
def test_everybody_who_waits_is_counted_and_nobody_else(graph: dict[int, set[int]]) -> None:
    found = pids(graph)
    blocked = {pid for pid, blockers in graph.items() if blockers}
    told = {pid for waiting in found.values() for pid in waiting}
    assert told <= blocked
    roots = set(found)
    assert all(pid in told or pid in roots for pid in blocked)
    for root in roots:
        waits = bool(graph.get(root))
        assert not waits or any(root in reach(graph, one) for one in graph[root]), "only of a ring one stands for all"


def reach(graph: dict[int, set[int]], start: int) -> set[int]:
    seen, left = {start}, [start]
    while left:
        new = graph.get(left.pop(), set()) - seen
        seen |= new
        left += new
    return seen
