# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether autovacuum keeps up, by what the server says of it."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.vacuum import off, workers
from ansible_collections.vtchat.maintenance.tests.unit.plugins.module_utils._checks.asked import ASKED


@pytest.mark.parametrize(
    ("busy", "most", "value"),
    [(0, 3, 0), (2, 3, 0), (3, 3, 5000), (4, 3, 5000), (0, 0, 0)],
)
def test_only_when_none_is_left_does_anybody_wait(busy: int, most: int, value: int) -> None:
    (sample,) = workers([{"seen": True, "busy": busy, "most": most, "seconds": 5000.0}], ASKED)
    assert sample.value == value
    (hidden,) = workers([{"seen": False, "busy": busy, "most": most, "seconds": 5000.0}], ASKED)
    assert hidden.value is None


def test_the_whole_server_is_worse_than_a_table() -> None:
    table = {"schema": "app", "name": "t", "bytes": 1 << 30}
    server = {"schema": None, "name": None, "bytes": None}
    found = off([table, server], ASKED)
    assert [(one.subject, one.thresholds is None) for one in found] == [("app.t", True), ("server", False)]
    assert [one.value for one in off([], ASKED)] == [0]
