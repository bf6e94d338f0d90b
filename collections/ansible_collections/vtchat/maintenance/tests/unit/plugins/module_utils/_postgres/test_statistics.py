# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many changes make statistics worth renewing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import statistics
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.server import Server
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.statistics import analyze_threshold


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (0, 1),
        (1, 32),  # sqrt(1000) = 31.6
        (10, 51),
        (1000, 150),
        (1001, 151),  # 150.1
        (66680, 6718),
        (88_997, 8950),  # here the square root takes over
        (100_000, 10_000),
        (1_000_000, 31_623),
        (10_000_000, 100_000),
        (2_000_000_000, 1_414_214),
    ],
)
def test_the_threshold(rows: int, changes: int) -> None:
    assert analyze_threshold(rows) == changes


@pytest.mark.parametrize(("flushed", "reads", "found"), [(False, 3, 3), (False, 99, 8), (True, 3, 1)])
def test_what_was_counted_is_waited_for_where_a_collector_has_it(
    monkeypatch: pytest.MonkeyPatch, flushed: bool, reads: int, found: int
) -> None:
    class Place:
        def has(self, capability: Any) -> bool:
            return flushed

    looks: list[int] = []
    slept: list[float] = []
    monkeypatch.setattr(statistics.time, "sleep", slept.append)

    def read() -> int:
        looks.append(1)
        return len(looks)

    assert statistics.when_counted(cast(Server, Place()), read, lambda number: number >= reads) == found
    assert len(slept) == found - 1
