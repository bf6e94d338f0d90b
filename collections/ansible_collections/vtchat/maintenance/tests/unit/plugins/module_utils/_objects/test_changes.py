# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.changes import (
    Change,
    canonical,
    compare,
    left_behind,
    settled,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.messages import refused


def row(name: str = "f", definition: str | None = "d", kind: str = "function", **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "object": name,
        "definition": definition,
        "owner": "o",
        "privileges": None,
        "comments": None,
        **more,
    }


def pairs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object as the program returns it."""
    return [{"before": next(iter(before), None), "after": next(iter(after), None)}]


@pytest.mark.parametrize(
    ("before", "after", "operation"),
    [
        ([], [row()], "create"),
        ([row()], [row()], "keep"),
        ([row()], [row(definition="e")], "replace"),
        ([row()], [row(owner="p")], "replace"),
        ([row()], [row(privileges=["PUBLIC EXECUTE"])], "replace"),
        ([row(comments=["x"])], [row()], "replace"),
        ([row()], [], "drop"),
        ([row(kind="table")], [row(kind="table", comments=["x"])], "replace"),
    ],
)
def test_compare(before: list[dict[str, Any]], after: list[dict[str, Any]], operation: str) -> None:
    (change,) = compare("s", pairs(before, after))
    assert (change.script, change.object, change.operation) == ("s", "f", operation)


def change(before: str | None, after: str | None, name: str = "f") -> Change:
    return Change("s", name, "function", before, after)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("a", "b"), ("b", "a")], ["keep", "keep"]),
        ([("a", "b"), ("b", "c")], ["replace", "replace"]),
        ([(None, "a"), ("a", "b")], ["create", "replace"]),
        ([("a", None), (None, "a")], ["keep", "keep"]),
        ([(None, "a"), ("a", None)], ["keep", "keep"]),
    ],
)
def test_what_several_scripts_change_in_turn(texts: list[tuple[str | None, str | None]], expected: list[str]) -> None:
    found = settled([*(change(*pair) for pair in texts), change("x", "y", "g")])
    assert [one.operation for one in found] == [*expected, "replace"]


def test_a_definition_that_has_no_place_in_a_script() -> None:
    before, after = row(kind="table", settings="x 1"), row(kind="table", settings="x 2")
    refusal = {"place": "use a migration", "kind": "table", "object": "public.t", "before": before, "after": after}
    assert refused(refusal) == "table public.t: objects of this kind cannot be defined here (x 2); use a migration"
    assert refused({**refusal, "before": None}).startswith(
        "table public.t: objects of this kind cannot be defined here; "
    )


def test_canonical_text() -> None:
    assert (
        canonical(row(definition="d\n", settings="s 1\nt 2", privileges=["p", "q"], comments=["c", "a: d"]))
        == "d\n-- s 1\n-- t 2\n-- owner: o\n-- privileges: p, q\n-- comment: c\n-- a: d\n"
    )


def test_a_change_of_nothing_is_none() -> None:
    assert Change("s", "o", "index", None, None).operation == "keep"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([], [row()], "there is no function of that name"),
        ([row()], [row()], "it is as it should be"),
        ([row()], [], "the script drops it"),
        ([row()], [row(definition="e")], "its definition is different"),
        ([row()], [row(owner="p", settings="x")], "its definition and owner are different"),
        ([row()], [row(privileges=["PUBLIC EXECUTE"])], "its privileges are different"),
        ([row()], [row(comments=["x"], labels=["y"])], "its comment and security label are different"),
    ],
)
def test_reasons(before: list[dict[str, Any]], after: list[dict[str, Any]], reason: str) -> None:
    (change,) = compare("s", pairs(before, after))
    assert change.reason == reason


def test_what_an_interrupted_installation_has_left_is_dropped() -> None:
    change = left_behind("public.v")
    assert (change.operation, change.reason) == ("drop", "an interrupted installation has left it behind")
