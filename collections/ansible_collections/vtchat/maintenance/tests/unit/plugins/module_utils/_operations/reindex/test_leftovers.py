# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By which names the leftovers of interrupted rebuilds are known, and to which index they belong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.facts import Index
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.leftovers import leftovers
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.copies import belongs, ending

LONG = "i" * 63
WIDE = "ü" * 31  # 62 bytes


def server_name(name: str, label: str) -> str:
    """What the server calls a copy: makeObjectName() cuts whole characters off until name and label fit into 63 bytes."""
    room = 63 - len(label) - 1
    return name.encode()[:room].decode(errors="ignore") + "_" + label


def index(name: str, oid: int = 1, valid: bool = False, **known: Any) -> Index:
    made = Index(oid, "public", name, heap=10, main=10, valid=valid, name_bytes=len(name.encode()), definition="d")
    return replace(made, **known)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a_ccnew", ("a", "_ccnew")),
        ("a_ccold", ("a", "_ccold")),
        ("a_ccnew1", ("a", "_ccnew1")),
        ("a_ccold23", ("a", "_ccold23")),
        ("a_ccnew_ccnew", ("a_ccnew", "_ccnew")),
        ("a_ccnew1_ccold", ("a_ccnew1", "_ccold")),
        ("_ccnew", ("", "")),
        ("a_ccnewer", ("", "")),
        ("a_ccnew_", ("", "")),
        ("a_CCNEW", ("", "")),
        ("accnew", ("", "")),
        ("a_ccnew\n", ("", "")),
        ("a_ccnew\u0661", ("", "")),  # a digit, but none of the server's
    ],
)
def test_endings(name: str, found: tuple[str, str]) -> None:
    assert ending(name) == found


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
        lambda one: len(one.encode()) <= 63
    ),
    st.sampled_from(["ccnew", "ccold", "ccnew1", "ccold12"]),
)
def test_each_copy_is_recognised(name: str, label: str) -> None:
    copy = server_name(name, label)
    if copy.startswith("_cc"):  # of a first character that does not fit: there is none
        return
    assert belongs(copy, len(copy.encode()), name, len(name.encode()))


@pytest.mark.parametrize(
    ("name", "of", "belonging"),
    [
        ("a_ccnew", "a", True),
        ("a_ccnew", "ab", False),
        ("a_ccnew", "b", False),
        (server_name(LONG, "ccnew"), LONG, True),
        (server_name(LONG, "ccnew")[1:], LONG, False),  # not cut where the server cuts
        (server_name(WIDE, "ccold1"), WIDE, True),
        (server_name(WIDE, "ccold1"), WIDE[:-1] + "x", True),  # nobody can tell these two apart
        ("iii_ccnew", LONG, False),
        (LONG, LONG, False),
    ],
)
def test_to_whom_it_belongs(name: str, of: str, belonging: bool) -> None:
    assert belongs(name, len(name.encode()), of, len(of.encode())) == belonging


@pytest.mark.parametrize(
    ("siblings", "found"),
    [
        ([index("a", 1, True), index("a_ccnew", 2)], {2: (1, True)}),
        ([index("a", 1, True), index("a_ccold1", 2)], {2: (1, False)}),
        ([index("a", 1, True), index("a_ccnew", 2, True)], {}),  # somebody's own
        ([index("a", 1, True), index("a_ccnew", 2, enforces=True)], {}),
        ([index("a", 1, True), index("a_ccnew", 2, part=True)], {}),
        ([index("a", 1, True), index("a_ccnew", 2, definition="other")], {}),
        ([index("a", 1, True), index("a_ccnew", 2, heap=11)], {}),
        ([index("a", 1, True), index("a_ccnew", 2, schema="other")], {}),
        ([index("b", 1, True), index("a_ccnew", 2)], {}),
        ([index("a_ccnew", 2)], {}),
        ([index("a", 1), index("a_ccnew", 2)], {2: (1, True)}),
        ([index("a", 1, True, chosen=False), index("a_ccnew", 2, chosen=False)], {}),
        ([index("a", 1, True), index("a_ccnew", 2, chosen=False)], {2: (1, True)}),
        (
            [index("a_ccnew", 1, True), index("a_ccnew_ccnew", 2), index("a_ccnew_ccold", 3)],
            {2: (1, True), 3: (1, False)},
        ),
        (
            [index(LONG, 1, True), index(server_name(LONG, "ccnew"), 2), index(server_name(LONG, "ccold"), 3)],
            {2: (1, True), 3: (1, False)},
        ),
    ],
)
def test_what_is_left_of_what(siblings: list[Index], found: dict[int, tuple[int, bool]]) -> None:
    for some in (siblings, siblings[::-1]):
        left = leftovers(some)
        assert {oid: (one.of.oid, one.is_new) for oid, one in left.items()} == found
