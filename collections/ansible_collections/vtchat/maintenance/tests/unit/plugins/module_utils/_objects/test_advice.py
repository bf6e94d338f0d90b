# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.advice import keeping


def enum(*labels: str) -> dict[str, Any]:
    return {"type": "e", "labels": list(labels)}


def domain(**more: Any) -> dict[str, Any]:
    return {"type": "d", "base": "integer", "default": None, "not_null": False, "constraints": None, **more}


def composite(*attributes: str) -> dict[str, Any]:
    return {"type": "c", "attributes": [one.split(" ", 1) for one in attributes]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (enum("a", "c"), enum("x", "a", "b's", "c", "d"),
         "ALTER TYPE t ADD VALUE 'x' BEFORE 'a'; ALTER TYPE t ADD VALUE 'b''s' AFTER 'a'; ALTER TYPE t ADD VALUE 'd' AFTER 'c'"),
        (enum(), enum("a", "b"), "ALTER TYPE t ADD VALUE 'a'; ALTER TYPE t ADD VALUE 'b' AFTER 'a'"),
        (enum("a", "b"), enum("a", "\\"), "ALTER TYPE t RENAME VALUE 'b' TO E'\\\\'"),
        (domain(constraints={"k": "CHECK (VALUE > 0)"}),
         domain(constraints={"z": "CHECK (VALUE > 1)"}, not_null=True, default="7"),
         "ALTER DOMAIN t SET DEFAULT 7; ALTER DOMAIN t SET NOT NULL; ALTER DOMAIN t ADD CHECK (VALUE > 1); "
         "ALTER DOMAIN t DROP CONSTRAINT k"),
        (domain(not_null=True, default="7"), domain(), "ALTER DOMAIN t DROP DEFAULT; ALTER DOMAIN t DROP NOT NULL"),
        (composite("a integer", "b text"), composite("a bigint", "c text[]"),
         "ALTER TYPE t DROP ATTRIBUTE b; ALTER TYPE t ALTER ATTRIBUTE a TYPE bigint; ALTER TYPE t ADD ATTRIBUTE c text[]"),
    ],
)  # fmt: skip
def test_statements_that_keep_the_data(old: dict[str, Any], new: dict[str, Any], expected: str) -> None:
    assert keeping("t", old, new) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (enum("a", "b"), enum("a")),
        (enum("a", "b"), enum("b", "a")),
        (domain(), domain(base="text")),
        (composite("a integer"), composite("b text", "a integer")),
        (enum("a"), domain()),
    ],
)
def test_a_way_where_there_is_no_statement(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert "beside t" in keeping("t", old, new)
    assert "DROP COLUMN" not in keeping("t", old, new)
