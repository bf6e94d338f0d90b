# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large an index would be if it were built now. The pages are what CREATE INDEX makes of these rows on a real server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import bloat
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.bloat import Bloat, Column

PAGE = 8192
ROWS = 200_000
INT, BIGINT, UUID = Column(4, 4, True), Column(8, 8, True), Column(16, 1, True)
MD5, MAIL = Column(33, 1, False), Column(23, 1, False)


@pytest.mark.parametrize(
    ("columns", "fillfactor", "pages"),
    [
        ([INT], 90, 551),
        ([INT], 70, 710),
        ([BIGINT], 90, 551),
        ([UUID], 90, 773),
        ([UUID], 70, 993),
        ([BIGINT, BIGINT], 90, 772),
        ([INT, MAIL], 90, 1211),
        ([MD5], 90, 1444),
        ([Column(196, 4, False)], 90, 6112),
    ],
)
def test_a_fresh_b_tree_has_the_size_that_the_server_gives_it(
    columns: list[Column], fillfactor: int, pages: int
) -> None:
    found = bloat.btree_pages(ROWS, bloat.tuple_size(columns), fillfactor, PAGE)
    assert abs(found / pages - 1) < 0.01
    fresh = bloat.estimate(pages * PAGE, ROWS, columns, fillfactor, PAGE)
    assert fresh.share < 0.01
    double = bloat.estimate(2 * pages * PAGE, ROWS, columns, fillfactor, PAGE)
    assert abs(double.share - 0.5) < 0.01
    assert double.gain == double.bytes - double.fresh


@pytest.mark.parametrize(
    ("columns", "size"),
    [
        ([INT], 16),
        ([INT, INT], 16),
        ([INT, BIGINT], 24),
        ([Column(4, 4, True, nulls=1.0)], 16),  # the bitmap alone
        ([Column(8, 8, True, nulls=0.5)], 16),
        ([BIGINT, Column(8, 8, True, nulls=0.5)], 24),
    ],
)
def test_the_size_of_an_entry(columns: list[Column], size: float) -> None:
    assert bloat.tuple_size(columns) == size


def test_values_of_variable_length_make_it_less_certain() -> None:
    assert bloat.estimate(PAGE, 1, [INT], 90, PAGE).confidence == bloat.MEDIUM
    assert bloat.estimate(PAGE, 1, [INT, MD5], 90, PAGE).confidence == bloat.LOW


@pytest.mark.parametrize(
    ("leaves", "inner", "density", "fillfactor", "share"),
    [
        (1000, 4, 90.0, 90, 0.0),
        (1000, 4, 70.0, 70, 0.0),
        (1000, 4, 45.0, 90, 0.5),
        (1000, 4, 63.0, 90, 0.3),
        (1000, 4, 100.0, 90, 0.0),
        (0, 0, 0.0, 90, 0.0),
    ],
)
def test_measured_pages_against_a_fresh_index_of_the_same_fillfactor(
    leaves: int, inner: int, density: float, fillfactor: int, share: float
) -> None:
    size = (1 + max(1, leaves) + inner) * PAGE
    found = bloat.exact(size, leaves, inner, density, fillfactor, PAGE)
    assert found.share == pytest.approx(share, abs=0.005)
    assert (found.method, found.confidence) == (bloat.EXACT, bloat.HIGH)


def test_deleted_pages_are_won() -> None:
    assert bloat.exact(2000 * PAGE, 500, 2, 90.0, 90, PAGE).share == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(("rebuilt", "confidence"), [(True, bloat.MEDIUM), (False, bloat.LOW)])
def test_bytes_per_row_against_the_best(rebuilt: bool, confidence: str) -> None:
    found = bloat.baseline(3_000_000, 100_000, 15.0, rebuilt)
    assert (found.share, found.gain, found.confidence) == (0.5, 1_500_000, confidence)
    assert bloat.baseline(1_000, 100_000, 15.0, rebuilt).share == 0.0


@pytest.mark.parametrize(
    ("distinct", "repeats"),
    [([1.0], False), ([0.95], False), ([0.5], True), ([0.0], True), ([0.0, 1.0], False), ([0.1, 0.2], True)],
)
def test_equal_keys(distinct: list[float], repeats: bool) -> None:
    assert bloat.repeats([Column(4, 4, True, distinct=one) for one in distinct]) == repeats


@pytest.mark.parametrize(
    ("rows", "changed", "stale"), [(0, 50, False), (0, 51, True), (1000, 150, False), (1000, 151, True), (-1, 51, True)]
)
def test_stale(rows: float, changed: int, stale: bool) -> None:
    assert bloat.stale(rows, changed) == stale


columns = st.lists(
    st.builds(
        Column,
        width=st.floats(0, 400),
        align=st.sampled_from([1, 2, 4, 8]),
        fixed=st.booleans(),
        nulls=st.floats(0, 1),
        distinct=st.floats(0, 1),
    ),
    min_size=1,
    max_size=5,
)


@given(columns, st.floats(0, 1e10), st.integers(10, 100), st.integers(1, 2**40), st.sampled_from([1024, 8192, 32768]))
def test_no_number_is_nonsense(some: list[Column], rows: float, fillfactor: int, size: int, page: int) -> None:
    found = bloat.estimate(size, rows, some, fillfactor, page)
    assert 0 <= found.share <= 1
    assert 0 <= found.fresh <= size
    assert 0 <= bloat.most(size, rows, some, fillfactor, page) <= 1


@given(columns, st.floats(1, 1e9), st.integers(10, 100))
def test_more_rows_and_emptier_pages_need_more(some: list[Column], rows: float, fillfactor: int) -> None:
    entry = bloat.tuple_size(some)
    pages = bloat.btree_pages(rows, entry, fillfactor, PAGE)
    assert pages <= bloat.btree_pages(2 * rows, entry, fillfactor, PAGE)
    assert pages >= bloat.btree_pages(rows, entry, 100, PAGE)


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.floats(0, 100), st.integers(10, 100))
def test_no_measurement_promises_more_than_there_is(leaves: int, inner: int, density: float, fillfactor: int) -> None:
    size = (1 + leaves + inner) * PAGE
    found = bloat.exact(size, leaves, inner, density, fillfactor, PAGE)
    assert 0 < found.fresh <= size
    assert found.gain == size - found.fresh


def test_nothing_of_nothing() -> None:
    assert Bloat(0, 0, bloat.EXACT, bloat.HIGH).share == 0.0
