# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.install import (
    Change,
    _refusal,
    canonical,
    compare,
    settled,
)


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
    ("before", "after", "result"),
    [
        ([], [row()], "created"),
        ([row()], [row()], "unchanged"),
        ([row()], [row(definition="e")], "replaced"),
        ([row()], [row(owner="p")], "replaced"),
        ([row()], [row(privileges=["PUBLIC EXECUTE"])], "replaced"),
        ([row(comments=["x"])], [row()], "replaced"),
        ([row()], [], "dropped"),
        ([row(kind="table")], [row(kind="table", comments=["x"])], "replaced"),
    ],
)
def test_compare(before: list[dict[str, Any]], after: list[dict[str, Any]], result: str) -> None:
    (change,) = compare("s", pairs(before, after))
    assert (change.script, change.object, change.result) == ("s", "f", result)


def change(before: str | None, after: str | None, name: str = "f") -> Change:
    return Change("s", name, "function", before, after)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("a", "b"), ("b", "a")], ["unchanged", "unchanged"]),
        ([("a", "b"), ("b", "c")], ["replaced", "replaced"]),
        ([(None, "a"), ("a", "b")], ["created", "replaced"]),
        ([("a", None), (None, "a")], ["unchanged", "unchanged"]),
        ([(None, "a"), ("a", None)], ["unchanged", "unchanged"]),
    ],
)
def test_what_several_scripts_change_in_turn(texts: list[tuple[str | None, str | None]], expected: list[str]) -> None:
    found = settled([*(change(*pair) for pair in texts), change("x", "y", "g")])
    assert [one.result for one in found] == [*expected, "replaced"]


def test_a_definition_that_has_no_place_in_a_script() -> None:
    before, after = row(kind="table", settings="x 1"), row(kind="table", settings="x 2")
    refusal = {"place": "use a migration", "kind": "table", "object": "public.t", "before": before, "after": after}
    assert _refusal(refusal) == "table public.t: objects of this kind cannot be defined here (x 2); use a migration"
    assert _refusal({**refusal, "before": None}).startswith(
        "table public.t: objects of this kind cannot be defined here; "
    )


def test_canonical_text() -> None:
    assert (
        canonical(row(definition="d\n", settings="s 1\nt 2", privileges=["p", "q"], comments=["c", "a: d"]))
        == "d\n-- s 1\n-- t 2\n-- owner: o\n-- privileges: p, q\n-- comment: c\n-- a: d\n"
    )


def test_a_change_of_nothing_is_none() -> None:
    assert Change("s", "o", "index", None, None).result == "unchanged"
