# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of standbys, slots and the archive, where a server cannot be brought into that state soon."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import Sample
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.archive import archive
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.replication import delay, slots

from .asked import ASKED, JUDGE

GIB = 2**30
SEGMENT = 2**24


def level(check: str, sample: Sample) -> str:
    (found,) = JUDGE.findings(BY_ID[check], [sample])
    return found.level


def slot(**changes: Any) -> Sample:
    row = {
        "name": "s", "type": "physical", "database": None, "active": True, "pid": 7, "status": "reserved", "bytes": 0,
        "reason": None, "seconds": None, "keeps": None, **changes,
    }  # fmt: skip
    (found,) = slots([row], ASKED)
    return found


@pytest.mark.parametrize(
    ("changes", "value", "expected"),
    [
        ({}, 0, "info"),
        ({"bytes": 4 * GIB}, 40, "info"),  # without a limit, ten are too many
        ({"bytes": 5 * GIB}, 50, "warning"),
        ({"bytes": 9 * GIB, "active": False}, 90, "critical"),
        ({"bytes": 5 * GIB, "keeps": 100 * GIB}, 5, "info"),
        ({"bytes": 110 * GIB, "keeps": 100 * GIB, "status": "unreserved"}, 110, "critical"),
        ({"bytes": None, "status": "lost"}, 100, "critical"),
        ({"bytes": 0, "reason": "idle_timeout"}, 100, "critical"),
        ({"bytes": None, "status": None}, 0, "info"),  # a slot that has never been used
        ({"bytes": -5}, 0, "info"),  # of a standby: of what it has not replayed yet
        ({"bytes": 1, "keeps": 0}, 0, "info"),  # a limit of nothing is none
    ],
)
def test_slots(changes: dict[str, Any], value: int, expected: str) -> None:
    found = slot(**changes)
    assert (found.value, level("replication-slots", found)) == (value, expected)


def own_delay(**changes: Any) -> Sample:
    own = {"bytes": 0, "seconds": 5000.0, "connected": True, "streams": True, "paused": False, "wanted": 0, **changes}
    (found,) = delay([{"own": own, "state": None}], ASKED)
    return found


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 0),  # nothing has been written for so long
        ({"bytes": None}, 0),
        ({"bytes": 100}, 5000),
        ({"bytes": 100, "wanted": 3600}, 1400),  # recovery_min_apply_delay
        ({"bytes": 100, "wanted": 36000}, 0),
        ({"connected": False}, 5000),
        ({"connected": False, "streams": False, "bytes": None}, 0),  # it replays an archive
        ({"connected": False, "streams": None, "bytes": None}, None),  # who knows
    ],
)
def test_the_delay_of_a_standby(changes: dict[str, Any], value: float | None) -> None:
    assert own_delay(**changes).value == value


def test_how_far_standbys_are() -> None:
    row = {
        "own": None,
        "pid": 7,
        "name": "s",
        "client": None,
        "state": "streaming",
        "sync_state": "async",
        "seconds": None,
    }
    (well,) = delay([row], ASKED)
    (hidden, behind) = delay([{**row, "seconds": 301.0}, {**row, "state": None}], ASKED)
    assert (well.value, behind.value, hidden.value) == (0, 301, None)
    assert [one.value for one in delay([], ASKED)] == [0]


def archived(**changes: Any) -> Sample:
    row = {
        "archived": 9, "failed": 0, "last": "000000010000000A000000FE", "fails": False, "seconds": 60.0, "first": None,
        "current": "000000010000000A000000FF", "segment": SEGMENT, "redo": "000000010000000A000000FF", "set": True, **changes,
    }  # fmt: skip
    (found,) = archive([row], ASKED)
    return found


@pytest.mark.parametrize(
    ("changes", "value", "expected"),
    [
        ({}, 0, "info"),
        ({"current": "000000010000000B00000009"}, 10, "info"),
        ({"current": "000000020000000B00000040"}, 65, "warning"),  # after a promotion, too
        ({"current": "000000010000000C00000000"}, 257, "critical"),
        ({"fails": True, "first": "000000010000000A000000FF"}, 1, "warning"),
        ({"fails": True, "current": "000000010000000B00000010"}, 17, "critical"),
        ({"last": "000000010000000A000000FE.00000028.backup"}, 0, "info"),
        ({"last": "00000002.history", "redo": "000000010000000A000000FA"}, 5, "info"),
        ({"set": False}, 1, "warning"),
        ({"last": None, "seconds": None, "archived": 0}, 0, "info"),  # it has just been turned on
        (
            {"last": None, "seconds": None, "archived": 0, "redo": "000000010000000A000000FE"},
            1,
            "info",
        ),  # it is on its way
        ({"last": None, "seconds": None, "archived": 0, "redo": "000000010000000A000000FC"}, 3, "warning"),
        ({"last": None, "seconds": None, "archived": 0, "redo": None, "fails": True}, 1, "warning"),
        ({"segment": 2**30, "last": "000000010000000A00000003", "current": "000000010000000B00000001"}, 1, "info"),
    ],
)
def test_the_archive(changes: dict[str, Any], value: int, expected: str) -> None:
    found = archived(**changes)
    assert (found.value, level("archiver", found)) == (value, expected)
