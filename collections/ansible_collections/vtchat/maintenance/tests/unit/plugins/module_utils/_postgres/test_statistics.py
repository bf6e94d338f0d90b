# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many changes make statistics worth renewing."""

from __future__ import annotations

import pytest

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
