# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge: how large its batches become, and how long it pauses, by what the server took. No server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pace
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.work import Work


def work(share: float | None = 1.0, trip: float = 0.0) -> Work:
    """One whose server is that many seconds away; what it sleeps stands in ``slept``."""
    purge: Any = SimpleNamespace(pace=share, batch_seconds=0.25, max_rows=None)
    session: Any = SimpleNamespace(round_trips=0)
    found = Work(session, "t", purge, Context(check=False), sleep=slept.append)
    slept.clear()
    found.trip = trip
    return found


slept: list[float] = []


def test_an_ocean_between_us_and_the_server_is_no_work() -> None:
    """A batch of 10 ms at the server, 100 ms away, may be larger."""
    far = work(trip=0.1)
    far.at_server(0.101)  # the first, which did next to nothing
    assert far.at_server(0.11) == pytest.approx(0.01)
    assert far.next_size(100, far.at_server(0.11), 1, 10_000) == 200
    near = work()
    near.at_server(0.001)
    assert near.next_size(100, near.at_server(0.5), 1, 10_000) == 50


def test_what_a_batch_costs_for_nothing_is_never_most_of_it() -> None:
    """20 ms of planning, and others who work: 40 ms, and not 3 of which nothing would be left."""
    found = work(share=None)
    found.pace.cause = pace.OTHERS_WORK
    found.at_server(0.02)
    assert found.next_size(100, 0.04, 1, 10_000) == 100
    slow = work(share=None)
    slow.pace.cause = pace.OTHERS_WORK
    slow.at_server(2.0)  # a trigger, which is slow for each row
    assert slow.next_size(100, 0.2, 1, 10_000) == 50


def test_the_way_there_and_back_counts_as_a_pause() -> None:
    found = work(share=0.5, trip=0.03)
    found.deleted(10, 0.1)
    assert slept == [], "nobody waits for what never comes"
    found.in_time()
    assert slept == [pytest.approx(0.07)]
    found.deleted(10, 0.02)
    found.in_time()
    assert len(slept) == 1
    assert found.rows == 20


def test_a_range_that_looks_around_is_small() -> None:
    found = work()
    assert found.step(1000) == round(1000 * pace.GENTLE_BATCH / 0.25)
    found.pace.heed({"lag": None, "transactions": 0, "inside": 0}, 0.1, float("inf"), 0)
    assert found.step(1000) == 1000
