# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clocks of purge: what is computed here and not by the server. No database."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.clocks import epoch, ids, moments
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.clocks.model import (
    Column,
    microseconds,
    phrase,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Condition
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.driver import sql

TIMES = st.integers(31_536_000_000, 7_258_118_400_000)  # milliseconds: 1971 to 2200
FIRST = {name: how.write(31_536_000_000) for name, how in ids.WRITTEN.items()}


def spans_of(text: str, name: str, last: int) -> int:
    """In how many of the spans a text is, by bytes."""
    end = ids.WRITTEN[name].write(last)
    return sum(low.encode() <= text.encode() <= high.encode() for low, high in ids._spans(FIRST[name], end))


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(at=TIMES, last=TIMES, name=st.sampled_from(sorted(ids.WRITTEN)), upper=st.booleans())
def test_what_is_old_is_in_one_span_in_either_case(at: int, last: int, name: str, upper: bool) -> None:
    text = ids.WRITTEN[name].write(at) + ("ZZZZZZZZZZZZZZZZ" if name == "ulid" else "-7FFF-BFFF-FFFFFFFFFFFF")
    assert spans_of(text if upper else text.lower(), name, last) == 1 or at > last


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(last=TIMES, ahead=st.integers(400 * 86_400_000, 10**12), upper=st.booleans())
def test_what_is_much_younger_is_in_none(last: int, ahead: int, upper: bool) -> None:
    """Otherwise the index would find all of the table."""
    text = ids.WRITTEN["ulid"].write(last + ahead)
    assert spans_of(text if upper else text.lower(), "ulid", last) == 0


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(at=st.integers(-(2**55), 2**57), per_second=st.sampled_from([1, 1000, 1_000_000]))
def test_no_bound_is_later_than_the_cut_off(at: int, per_second: int) -> None:
    exact = Decimal(at) * per_second / 1_000_000
    for kind in ("integer", "bigint", "numeric", "double precision"):
        _first, last, _cast = epoch._bounds(Column("at", kind), at, per_second)
        later = 1 if kind in epoch.INTEGERS else 0
        bound = Decimal(float(last)) if kind == "double precision" else Decimal(last)
        assert bound + later <= exact
        assert exact - bound - later < max(Decimal(1), abs(exact) / 2**51)


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        (datetime(2026, 1, 31, 8, tzinfo=timezone.utc), "2026-01-31 08:00:00 UTC"),
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01 00:00:00 UTC"),
        (1_764_158_400_000 * 1_000_000, "the year 57873"),
        (-(2**60), "the year -34565"),
    ],
)
def test_instants_for_people(instant: datetime | int, words: str) -> None:
    assert moments.shown(instant if isinstance(instant, int) else microseconds(instant)) == words


def test_values_are_shown_in_part() -> None:
    assert moments.beginning("0123456789") == "'01234567...'"
    assert moments.beginning("01234567") == "'01234567'"


def test_operators_are_those_of_pg_catalog() -> None:
    assert phrase("a <= b AND (c || d) ~ e AND make(days => 3) > '-'::x").seq[0] == sql.SQL(
        "a OPERATOR(pg_catalog.<=) b AND (c OPERATOR(pg_catalog.||) d) OPERATOR(pg_catalog.~) e "
        "AND make(days => 3) OPERATOR(pg_catalog.>) '-'::x"
    )


def counted(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("s", "ms", "us", "ns", "declared", "none"), 0)
    row |= {f"{name}_example": None for name in ("s", "ms", "us", "ns", "declared", "none")}
    return {**row, **changes}


@pytest.mark.parametrize(
    ("declared", "row", "words"),
    [
        ("s", counted(), ""),
        ("s", counted(s=3, declared=3, ms=3, ms_example="1764158400000"), ""),
        ("s", counted(declared=1, ms=2, ms_example="1764158400000"),
         "as seconds that would be the year 57873, as milliseconds it is 2025-11-26 12:00:00 UTC: say epoch: ms"),
        ("ms", counted(s=1, s_example="1764158400"),
         "as milliseconds that would be 1970-01-21 10:02:38 UTC, as seconds it is 2025-11-26 12:00:00 UTC: say epoch: s"),
        ("us", counted(ns=1, ns_example="1764158400000000000"), "nanoseconds cannot be declared: purge by another column"),
        ("s", counted(none=9, none_example="1"), ""),
        ("s", counted(none=10, none_example="1", declared=1), ""),
        ("s", counted(none=10, none_example="1"), "of after 2001-09-09, in whatever unit: purge by another column"),
    ],
)  # fmt: skip
def test_units_that_the_values_contradict(declared: str, row: dict[str, Any], words: str) -> None:
    text = epoch.doubt_fault(Condition("at", epoch=declared), row)
    assert text.endswith(words) if words else not text
