# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is remembered of a table or index, and which errors mean that it is corrupt."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.amcheck.examine import _means_corruption
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.amcheck.facts import INDEX, Part
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.amcheck.memory import Memory
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.amcheck.options import DEPTHS

ALL = [frozenset(some) for number in range(len(DEPTHS) + 1) for some in combinations(DEPTHS, number)]
CHECKS = st.lists(st.sampled_from(ALL), max_size=12)


@given(CHECKS)
def test_a_check_counts_for_all_that_are_less_thorough_and_for_no_other(checks: list[frozenset[str]]) -> None:
    memory = Memory(1, 1)
    for when, depth in enumerate(checks, 1):
        memory = Memory.read(memory.well(depth, float(when)).state(), 1, 1)  # as it comes back from the history
    for wanted in ALL:
        times = [when for when, depth in enumerate(checks, 1) if wanted <= depth]
        assert memory.last(wanted) == (max(times) if times else None)
    assert len(memory.checked) <= len(ALL)


def test_what_is_remembered_is_about_one_object() -> None:
    state = Memory(1, 1).well(frozenset(), 5.0).ill("broken", 6.0).halfway(7, 6.0).state()
    same, rewritten, other = (Memory.read(state, *ids) for ids in ((1, 1), (1, 2), (2, 2)))
    assert (same.sick, same.block, same.last(frozenset())) == ("broken", 7, 5.0)
    assert (rewritten.sick, rewritten.block, rewritten.last(frozenset())) == ("broken", 0, 5.0)
    assert other == Memory(2, 2) == Memory.read(None, 2, 2) == Memory.read({"of a newer release": 1}, 2, 2)
    assert same.well(frozenset(), 8.0).sick == ""


PLAIN: dict[str, Any] = {
    "schema": "s",
    "name": "i",
    "table_schema": "s",
    "table": "t",
    "oid": 1,
    "file": 1,
    "method": "btree",
}


@pytest.mark.parametrize(
    ("sqlstate", "message", "plain", "expressions"),
    [
        ("XX001", "invalid page in block 3 of relation base/5/16384", True, True),
        ("XX002", "item order invariant violated", True, True),
        ("XX000", "invalid memory alloc request size 18446744073709551613", True, True),
        ("58030", 'could not read block 5 in file "base/5/16384": Input/output error', True, True),
        ("58P01", 'could not open file "base/5/16384": No such file or directory', True, True),
        ("58P01", 'could not open file "pg_tblspc/1/PG_18_1/5/2": No such file or directory', True, True),
        ("58P01", 'could not access status of transaction 3. Could not open file "pg_xact/0000"', True, True),
        ("58P01", 'could not access file "$libdir/of_somebody": No such file or directory', False, False),
        ("22021", "invalid byte sequence", True, False),
        ("22023", "ending block number must be between 0 and 7", False, False),
        ("42883", "function one() does not exist", False, False),
        ("42501", "permission denied for function f", False, False),
        ("53200", "out of memory", False, False),
        ("53100", "could not extend file: No space left on device", False, False),
        ("57P01", "terminating connection due to administrator command", False, False),
        ("P0001", "what a function says", False, False),
        ("", "server closed the connection unexpectedly", False, False),
    ],
)
def test_which_errors_mean_corruption(sqlstate: str, message: str, plain: bool, expressions: bool) -> None:
    error = SqlError(message, sqlstate)
    for expected, uses in ((plain, False), (expressions, True)):
        assert _means_corruption(error, Part(kind=INDEX, expressions=uses, **PLAIN)) == expected
