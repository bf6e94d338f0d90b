# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge: in which order a table is gone through, by table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Condition, Options
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.order import Known, asks, choose

LARGE = Known(served=True, small=False, pages=10_000, heap=True, estimate=1000)
OPTIONS = Options("t", (Condition("at"),))


@pytest.mark.parametrize(
    ("known", "options", "heap", "told", "costly"),
    [
        ({}, {}, False, "few rows", False),
        ({"estimate": 19_999}, {}, False, "few rows", False),
        ({"estimate": 20_000}, {}, True, "in 10000 pages", False),
        ({"estimate": 20_000, "heap": False}, {}, False, "access method", False),
        ({"estimate": 20_000}, {"max_rows": 5}, False, "oldest first", False),
        ({"estimate": 20_000}, {"order": "index"}, False, "order is index", False),
        ({"small": True, "estimate": None}, {}, False, "small", False),
        ({"small": True, "estimate": None}, {"order": "heap"}, True, "order is heap", False),
        # Without an index it is refused unless many rows have expired.
        ({"served": False}, {}, True, "no index", True),
        ({"served": False, "estimate": 20_000}, {}, True, "in 10000 pages", False),
        ({"served": False}, {"order": "heap"}, True, "order is heap", False),
        ({"served": False}, {"order": "index"}, False, "order is index", True),
        ({"served": False}, {"max_rows": 5}, False, "oldest first", True),
        ({"served": False, "heap": False}, {}, False, "access method", True),
    ],
)
def test_choice(known: dict[str, Any], options: dict[str, Any], heap: bool, told: str, costly: bool) -> None:
    way = choose(replace(LARGE, **known), replace(OPTIONS, **options))
    assert (way.heap, bool(way.costly)) == (heap, costly)
    assert told in way.reason


@pytest.mark.parametrize(
    ("known", "options", "asked"),
    [
        ({}, {}, True),
        ({"served": False}, {}, True),
        ({"small": True}, {}, False),
        ({"heap": False}, {}, False),
        ({}, {"max_rows": 5}, False),
        ({}, {"order": "heap"}, False),
    ],
)
def test_how_many_rows_have_expired_is_asked_only_where_it_matters(
    known: dict[str, Any], options: dict[str, Any], asked: bool
) -> None:
    assert asks(replace(LARGE, **known), replace(OPTIONS, **options)) == asked
