# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which indexes are unused, and which serve foreign keys: what is not certain is not said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.foreign import missing, supports
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.model import Column, ForeignKey, Index
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.redundant import Superfluous
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.review.unused import Usage, unused_indexes

NOW = 1_000_000.0
INDEX = Index(1, "s", "i", 1, columns=(Column("1", "a"),))
USAGES = st.builds(
    Usage,
    scans=st.sampled_from([0, 0, 5]),
    last=st.none() | st.floats(0, NOW),
    began=st.none() | st.floats(0, NOW),
    now=st.just(NOW),
)


def certain(_index: Index) -> bool:
    return True


def called_unused(index: Index, usages: list[Usage], after: float, **more: frozenset[int]) -> bool:
    return unused_indexes([index], {index.oid: usages}, more.get("supporting", frozenset()), [], after, certain) == [
        index
    ]


@settings(deadline=None)
@given(st.lists(USAGES, min_size=1, max_size=3), st.floats(1, NOW))
def test_nobody_has_used_it_on_any_server_for_so_long(usages: list[Usage], after: float) -> None:
    said = called_unused(INDEX, usages, after)
    sure = True
    for usage in usages:
        since = usage.last if usage.scans else usage.began
        sure = sure and since is not None and NOW - since >= after
    assert said == sure


@settings(deadline=None)
@given(st.lists(USAGES, min_size=1, max_size=3))
def test_without_an_age_the_counters_are_taken_as_they_are(usages: list[Usage]) -> None:
    assert called_unused(INDEX, usages, 0) == all(usage.scans == 0 for usage in usages)


def test_what_serves_otherwise_is_not_unused() -> None:
    never = [Usage(0, None, 0.0, NOW)]
    assert called_unused(INDEX, never, 1)
    expression = Index(1, "s", "i", 1, columns=(Column("lower(a)"),))
    for index in (
        expression,
        Index(1, "s", "i", 1, columns=INDEX.columns, unique=True),
        Index(1, "s", "i", 1, columns=INDEX.columns, usable=False),
        Index(1, "s", "i", 1, columns=INDEX.columns, identity=True),
        Index(1, "s", "i", 1, columns=INDEX.columns, parent=9),
    ):
        assert not called_unused(index, never, 1)
    assert not called_unused(INDEX, never, 1, supporting=frozenset({1}))


def test_what_stays_for_another_is_needed_as_long_as_that_is_used() -> None:
    short, longer = INDEX, Index(2, "s", "j", 1, columns=(Column("1", "a"), Column("2", "b")))
    never, often = Usage(0, None, 0.0, NOW), Usage(9, None, 0.0, NOW)
    covered = [Superfluous(short, longer)]
    assert unused_indexes([short, longer], {1: [often], 2: [never]}, frozenset(), covered, 1, certain) == []
    both = {1: [never], 2: [never]}
    assert unused_indexes([short, longer], both, frozenset(), covered, 1, certain) == [short, longer]
    # The short one is young, and goes because the longer one is there: that one must not go with it.
    assert unused_indexes([short, longer], both, frozenset(), covered, 1, lambda index: index is longer) == [short]


KEY = ForeignKey(7, "k", 1, "s", "t", ("1", "2"), ("a", "B b"), "s.p")
A, B, C = Column("1", "a"), Column("2", "B b"), Column("3", "c")


@pytest.mark.parametrize(
    ("index", "does"),
    [
        (Index(1, "s", "i", 1, columns=(A, B)), True),
        (Index(1, "s", "i", 1, columns=(B, A, C)), True),
        (Index(1, "s", "i", 1, columns=(A, C, B)), False),
        (Index(1, "s", "i", 1, columns=(A,)), False),
        (Index(1, "s", "i", 2, columns=(A, B)), False),
        (Index(1, "s", "i", 1, columns=(A, B), usable=False), False),
        (Index(1, "s", "i", 1, columns=(A, B), method="brin"), False),
        (Index(1, "s", "i", 1, columns=(A, B), predicate="(a IS NOT NULL)"), True),
        (Index(1, "s", "i", 1, columns=(A, B), predicate='((a IS NOT NULL) AND ("B b" IS NOT NULL))'), True),
        (Index(1, "s", "i", 1, columns=(A, B), predicate="((a IS NOT NULL) OR (c IS NOT NULL))"), False),
        (Index(1, "s", "i", 1, columns=(A, B), predicate="(c IS NOT NULL)"), False),
        (Index(1, "s", "i", 1, columns=(A, B), predicate="(NOT (a IS NOT NULL))"), False),
    ],
)
def test_what_finds_the_rows_of_a_foreign_key(index: Index, does: bool) -> None:
    assert supports(index, KEY) == does
    assert (missing([KEY], {index.table: [index]}) == []) == does
