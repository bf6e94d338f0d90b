# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which indexes can go at once: whatever they did is done by one that stays, and nothing goes that must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.model import Column, Index
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.redundant import (
    covers,
    same_constraint,
    superfluous,
)

COLUMNS = st.builds(
    Column,
    what=st.sampled_from(["1", "2", "3"]),
    name=st.just("column"),
    family=st.sampled_from([1976, 1976, 1977]),
    type=st.just(23),
    collation=st.sampled_from([0, 0, 100]),
    order=st.sampled_from([0, 0, 3]),
    statistics=st.sampled_from([None, None, 500]),
)
INDEXES = st.builds(
    Index,
    oid=st.just(0),
    schema=st.just("s"),
    name=st.just("i"),
    table=st.just(1),
    method=st.sampled_from(["btree", "btree", "btree", "gin"]),
    columns=st.lists(COLUMNS, min_size=1, max_size=3).map(tuple),
    included=st.lists(st.sampled_from(["1", "2", "3"]), max_size=1).map(tuple),
    predicate=st.sampled_from(["", "", "(id > 0)"]),
    unique=st.booleans(),
    nulls_not_distinct=st.booleans(),
    immediate=st.sampled_from([True, True, False]),
    usable=st.sampled_from([True, True, True, False]),
    exclusion=st.sampled_from([False, False, False, True]),
    constraint=st.sampled_from(["", "", "c"]),
    identity=st.sampled_from([False, False, True]),
    clustered=st.booleans(),
    needed=st.sampled_from([False, False, True]),
)
TABLES = st.lists(INDEXES, max_size=7).map(
    lambda some: [replace(one, oid=number) for number, one in enumerate(some, 1)]
)
SCANS = st.dictionaries(st.integers(1, 7), st.integers(0, 3))


def does(index: Index) -> tuple[set[Any], set[str], set[Any]]:
    """What an index is good for, each use by itself: orders that it can give, columns that it can give, and what it forbids."""
    seen = [(one.what, one.family, one.type, one.collation, one.order, one.parameters) for one in index.columns]
    lengths = range(1, len(seen) + 1) if index.method == "btree" else [len(seen)]
    orders = {(index.method, index.predicate, tuple(seen[:length])) for length in lengths}
    statistics = {(tuple(seen[:place]), one.statistics) for place, one in enumerate(index.columns) if one.statistics}
    forbids = {
        (tuple(seen), index.predicate, index.nulls_not_distinct, at) for at in ((0, 1) if index.immediate else (1,))
    }
    return orders | statistics, set(index.stored), forbids if index.unique else set()


@settings(deadline=None)
@given(TABLES, SCANS)
def test_all_that_goes_is_done_by_one_that_stays(indexes: list[Index], scans: dict[int, int]) -> None:
    found = superfluous(indexes, scans)
    gone = {one.index.oid for one in found}
    assert len(gone) == len(found)
    for one in found:
        assert one.by.oid not in gone
        assert one.by.usable
        assert one.index.usable, "what is not valid is another matter"
        assert not one.index.kept
        assert not one.index.exclusion
        for mine, its in zip(does(one.index), does(one.by)):
            assert mine <= its
        assert one.index.method == one.by.method
    for index in indexes:  # and whatever stays does something that no other one does, or must not go
        others = [one for one in indexes if one.oid != index.oid and one.oid not in gone]
        if index.oid not in gone and not index.kept:
            assert not any(covers(one, index) for one in others)


@settings(deadline=None)
@given(TABLES, SCANS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_means_nothing(indexes: list[Index], scans: dict[int, int], chance: Any) -> None:
    turned = list(indexes)
    chance.shuffle(turned)
    one, other = superfluous(indexes, scans), superfluous(turned, scans)
    assert {(found.index.oid, found.by.oid) for found in one} == {(found.index.oid, found.by.oid) for found in other}


@settings(deadline=None)
@given(INDEXES, INDEXES, INDEXES)
def test_what_covers_what_covers(first: Index, second: Index, third: Index) -> None:
    one, other, last = (replace(index, oid=number) for number, index in enumerate((first, second, third), 1))
    assert not covers(one, one)
    if covers(one, other) and covers(other, last):
        assert covers(one, last)


PLAIN = Index(1, "s", "i", 1, columns=(Column("1", "a", 1976, 23), Column("2", "b", 1994, 25, 100)), included=("3",))
TWIN = replace(PLAIN, oid=2)
UNIQUE = replace(TWIN, unique=True)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TWIN, table=2),
        replace(TWIN, method="gist"),
        replace(TWIN, predicate="(a > 0)"),
        replace(TWIN, usable=False),
        replace(TWIN, partitioned=True),
        replace(TWIN, exclusion=True),
        replace(TWIN, unique=True),
        replace(TWIN, included=("4",)),
        replace(TWIN, columns=TWIN.columns[::-1]),
        replace(TWIN, columns=(*TWIN.columns, Column("4", "d", 1976, 23))),
        *(
            replace(TWIN, columns=(TWIN.columns[0], other))
            for other in (
                replace(TWIN.columns[1], what="5"),
                replace(TWIN.columns[1], family=2095),
                replace(TWIN.columns[1], type=1043),
                replace(TWIN.columns[1], collation=950),
                replace(TWIN.columns[1], order=2),
                replace(TWIN.columns[1], parameters="siglen=32"),
                replace(TWIN.columns[1], statistics=500),
            )
        ),
    ],
)  # fmt: skip
def test_whatever_is_different_makes_a_difference(changed: Index) -> None:
    assert covers(PLAIN, TWIN)
    assert not covers(PLAIN, changed)


def test_uniqueness_is_enforced_by_the_same_columns_alone() -> None:
    other = replace(UNIQUE, oid=3)
    assert covers(other, UNIQUE)
    assert covers(other, TWIN), "a unique one finds what a plain one does"
    assert not covers(TWIN, other)
    longer = replace(other, columns=(*other.columns, Column("4", "d", 1976, 23)))
    assert covers(longer, TWIN)
    assert not covers(longer, UNIQUE), "it forbids less"
    assert not covers(UNIQUE, longer), "it finds less"
    assert not covers(replace(other, nulls_not_distinct=True), UNIQUE)
    assert not covers(UNIQUE, replace(other, nulls_not_distinct=True))
    assert not covers(replace(other, immediate=False), UNIQUE)
    assert covers(UNIQUE, replace(other, immediate=False))


def test_included_columns_may_be_keys_of_the_other() -> None:
    keys = (*PLAIN.columns, Column("3", "c", 1976, 23))
    assert covers(replace(PLAIN, oid=3, columns=keys, included=()), PLAIN)
    assert not covers(PLAIN, replace(PLAIN, oid=3, columns=keys, included=()))
    expression = replace(PLAIN, oid=3, columns=(*PLAIN.columns, Column("3", "", 1976, 23)), included=())
    assert not covers(expression, PLAIN), "of an expression nobody reads the column"


@pytest.mark.parametrize("method", ["gin", "gist", "brin", "spgist", "hash"])
def test_only_the_columns_of_a_btree_may_be_the_first_of_another(method: str) -> None:
    one = replace(PLAIN, method=method, included=())
    assert covers(replace(one, oid=2), one)
    assert not covers(replace(one, oid=2, columns=(*one.columns, Column("4", "d", 1976, 23))), one)


def test_which_of_two_goes() -> None:
    def gone(*indexes: Index, scans: dict[int, int] | None = None) -> list[int]:
        return [one.index.oid for one in superfluous(indexes, scans or {})]

    assert gone(PLAIN, TWIN) == [2], "the younger"
    assert gone(PLAIN, TWIN, scans={2: 1}) == [1], "the one that is not used"
    assert gone(PLAIN, UNIQUE) == [1], "the one that enforces nothing"
    assert gone(PLAIN, replace(TWIN, clustered=True)) == [1]
    for must in (
        replace(TWIN, constraint="c"),
        replace(TWIN, needed=True),
        replace(TWIN, identity=True),
        replace(TWIN, extension=True),
    ):
        assert gone(PLAIN, must, scans={1: 9}) == [1]
        assert gone(replace(must, oid=1), must) == []


def test_with_a_partitioned_index_go_its_parts() -> None:
    """What only the part of one that goes covers is covered by the part of one that stays."""
    short = replace(PLAIN, columns=PLAIN.columns[:1], included=(), partitioned=True)
    longer = replace(PLAIN, oid=2, partitioned=True)
    parts = [replace(short, oid=3, table=2, depth=1, partitioned=False, parent=1),
             replace(longer, oid=4, table=2, depth=1, partitioned=False, parent=2)]  # fmt: skip
    own = replace(parts[0], oid=5, parent=0)
    found = superfluous([own, *parts, short, longer], {})
    assert {(one.index.oid, one.by.oid) for one in found} == {(1, 2), (5, 4)}


def test_two_constraints_that_forbid_the_same() -> None:
    key = replace(UNIQUE, oid=1, constraint="t_pkey", primary=True)
    also = replace(UNIQUE, oid=2, constraint="t_key")
    assert [(one.index.oid, one.by.oid) for one in same_constraint([key, also])] == [(2, 1)]
    assert same_constraint([key, replace(also, needed=True)]) == []
    assert same_constraint([key, replace(also, columns=also.columns[:1])]) == []
    assert superfluous([key, also], {}) == []
