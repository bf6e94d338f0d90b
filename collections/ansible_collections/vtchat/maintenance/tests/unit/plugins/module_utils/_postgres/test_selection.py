# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selections: what is wrong with options, patterns, sizes, thresholds of some, and one sentence about missing rights."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import selection
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.selection import LeftOut, Overrides
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.server import Server


@pytest.mark.parametrize(
    ("given_options", "faults"),
    [
        ({"tables": ["a.b"], "min_size": 10, "max_size": 10}, []),
        ({"include": ["*"], "exclude": ["a.*"]}, []),
        ({"tables": []}, ["tables: is empty; name at least one"]),
        ({"include": []}, ["include: give at least one pattern, such as '*' for all tables or 'app.*' for those of a schema"]),
        ({"tables": ["t"], "exclude": ["a"]}, ["exclude: it leaves out what include has, and there is no include"]),
        ({"include": ["*"], "exclude": [""]}, ["exclude: an empty pattern leaves nothing out"]),
        ({"tables": ["t"], "min_size": -1}, ["min_size: a size is not negative"]),
        ({"tables": ["t"], "min_size": 2048, "max_size": 1024},
         ["min_size: it is more than max_size (2.0 KiB and 1.0 KiB), which leaves nothing"]),
    ],
)  # fmt: skip
def test_faults(given_options: dict[str, Any], faults: list[str]) -> None:
    found: list[str] = []
    selection.read(given_options, found)
    assert found == faults


@given(st.text("ab*?[]!.\\", max_size=8), st.text("ab*?[]!.\\", max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_pattern_means_the_same_here_and_on_the_server(pattern: str, name: str) -> None:
    ranges = re.search(r"\[!?\]?[^\]]*-|\[!?\]", pattern)  # what the two languages say differently is nobody's pattern
    if not ranges:
        expression = selection.regular(pattern)
        assert bool(re.search(expression, name)) == fnmatchcase(name, pattern), expression


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (1023, "its 1023 B are less than min_size, 1.0 KiB"),
        (1024, ""),
        (2048, ""),
        (2049, "its 2.0 KiB are more than max_size, 2.0 KiB"),
        (None, ""),
    ],
)
def test_sizes(size: int | None, said: str) -> None:
    assert selection.Selection(min_size=1024, max_size=2048).out_of_size(size) == said
    assert selection.Selection().out_of_size(size) == ""


def test_later_overrides_come_before_earlier_ones() -> None:
    rules = Overrides((("*", {"a": 1, "b": 1}), ("app.*", {"a": 2}), ("other.*", {"b": 3})))
    assert rules.of(["app.t"]) == {"a": 2, "b": 1}
    assert rules.of(["part.t_1", "app.t"]) == {"a": 2, "b": 1}
    assert rules.of(["other.t"]) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("version", "found", "text"),
    [
        (170000, [LeftOut("a", "t", "o", True)],
         "vacuum: 1 table that role me may not maintain is left out, a.t: GRANT MAINTAIN ON TABLE a.t TO me"),
        (170000, [LeftOut("a", "t", "o", True), LeftOut("B", "u", "p", False)],
         'vacuum: 2 tables that role me may not maintain are left out, such as a.t: GRANT USAGE ON SCHEMA "B" TO me; '
         'GRANT MAINTAIN ON ALL TABLES IN SCHEMA "B", a TO me'),
        (170000, [LeftOut(f"s{n}", "t", "o", True) for n in range(4)],
         "vacuum: 4 tables that role me may not maintain are left out, such as s0.t: GRANT pg_maintain TO me"),
        (160000, [LeftOut("a", "t", f"o{n}", True) for n in range(4)],
         "vacuum: 4 tables that role me may not maintain are left out, such as a.t: GRANT o0, o1, o2 and 1 more TO me"),
        (160000, [LeftOut("a", "t", owner, True) for owner in ("root", "o")],
         "vacuum: 2 tables that role me may not maintain are left out, such as a.t: GRANT o TO me; what a superuser owns needs "
         "another owner: ALTER TABLE … OWNER TO …"),
        (160000, [], ""),
    ],
)  # fmt: skip
def test_missing_rights_are_one_sentence(version: int, found: list[LeftOut], text: str) -> None:
    class Old:
        user = "me"
        superusers = ("root",)

        def has(self, capability: Any) -> bool:
            return version >= int(capability.since)

    assert selection.left_out(cast(Server, Old()), "vacuum", found) == text
