# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import Change, canonical, compare


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [row(definition=None)]),
        ([row(definition=None)], []),
        ([], [row(kind="table")]),
        ([row(kind="table")], []),
        ([], [row(kind="index")]),
        ([row(kind="foreign table")], [row(kind="foreign table", definition="e")]),
    ],
)
def test_compare_refuses(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match=r"f: (objects of this kind|indexes)"):
        compare("s", pairs(before, after))


def test_canonical_text() -> None:
    assert (
        canonical(row(definition="d\n", privileges=["p", "q"], comments=["c", "a: d"]))
        == "d\n-- owner: o\n-- privileges: p, q\n-- comment: c\n-- a: d\n"
    )


def test_a_change_of_nothing_is_none() -> None:
    assert Change("s", "o", "index", None, None).result == "unchanged"
