# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge: the faults of its options, each told by its name and with the way out; and what a large one leaves behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import purge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import CONDITION
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.space import left_behind

DEFAULTS = {name: how.get("default") for name, how in purge.SPEC.options.items()}
EMPTY = {name: how.get("default") for name, how in CONDITION.items()}


def faults(**given: Any) -> list[str]:
    try:
        purge.read({**DEFAULTS, "table": "t", "column": "at", **given})
    except OptionError as error:
        return error.errors
    return []


def several(*conditions: dict[str, Any], **beside: Any) -> list[str]:
    return faults(column=None, conditions=[{**EMPTY, **condition} for condition in conditions], **beside)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"pace": "fast"}, "pace"),
        ({"pace": "0"}, "pace"),
        ({"pace": "0%"}, "pace"),
        ({"pace": "101%"}, "pace"),
        ({"pace": "1.5"}, "pace"),
        ({"timezone": "UTC+7"}, "timezone"),
        ({"timezone": "bst"}, "timezone"),
        ({"timezone": "EDT"}, "timezone"),
        ({"epoch": "s", "format": "iso"}, "epoch"),
        ({"ttl_column": "at"}, "ttl_column"),
        ({"ttl_column": ""}, "ttl_column"),
        ({"column": ""}, "column"),
        ({"archive": {}}, "archive"),
        ({"archive": {"table": "a", "directory": "/a"}}, "archive"),
        ({"archive": {"table": "a.b.c.d", "directory": None}}, "archive.table"),
        ({"archive": {"table": None, "directory": "relative"}}, "archive.directory"),
        ({"archive": {"table": "a", "schema": "b"}}, "archive"),
        ({"archive": {"schema": "b" * 64}}, "archive.schema"),
        ({"archive": {"table": "a"}, "with": ["c"]}, "archive"),
        ({"premake": 0}, "premake"),
        ({"premake": 1001}, "premake"),
        ({"interval": "1 day"}, "interval"),
        ({"partitions": "drop", "where": "true"}, "where"),
        ({"partitions": "drop", "ttl_column": "ttl"}, "ttl_column"),
        ({"partitions": "detach", "null_means": "always"}, "null_means"),
        ({"partitions": "drop", "max_rows": 1}, "max_rows"),
        ({"partitions": "drop", "with": ["child"]}, "with"),
        ({"premake": 3, "archive": {"table": "a", "directory": None}}, "archive"),
        ({"order": "heap", "max_rows": 1}, "order"),
        ({"with": ["a.b.c.d"]}, "with"),
    ],
)
def test_fault(given: dict[str, Any], option: str) -> None:
    (fault,) = faults(**given)
    assert fault.startswith(f"{option}: ")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("auto", None),
        ("full", 1.0),
        ("FULL", 1.0),
        ("25%", 0.25),
        (" 5 % ", 0.05),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.0", 1.0),
    ],
)
def test_pace(text: str, share: float | None) -> None:
    assert purge.read({**DEFAULTS, "table": "t", "column": "at", "pace": text}).pace == share


def test_several_conditions() -> None:
    assert several({"column": "a", "older_than": "1d"}, {"column": "b"}, where="true") == []
    assert several({"column": "a"}, older_than="1d") == [
        "older_than: stands in each of the conditions, and not beside them"
    ]
    assert several({"column": "a"}, {"column": "b", "older_than": "soon", "where": "("})[0].startswith(
        "conditions[2].where: "
    )
    assert several() == ["conditions: is empty; name at least one, or set column"]
    assert several({"column": "a"}, {"column": "b"}, partitions="drop")[0].startswith("conditions: ")


@pytest.mark.parametrize(
    ("deleted", "tuples", "table_bytes", "told"),
    [
        (500_000, 1_000_000, 2**30, "about 512 MiB of 1.0 GiB"),
        (199_999, 1_000_000, 2**40, None),
        (500_000, 1_000_000, 2**26, None),
        (500_000, 0, 2**30, "about 1.0 GiB of 1.0 GiB"),
        (0, 0, 2**30, None),
    ],
)
def test_space(deleted: int, tuples: int, table_bytes: int, told: str | None) -> None:
    old: Any = SimpleNamespace(has=lambda feature: False)
    new: Any = SimpleNamespace(has=lambda feature: True)
    found = left_behind(old, "public.t", deleted, tuples, table_bytes)
    assert (found is None) == (told is None)
    if found and told:
        assert told in found.message
        assert "REPACK" not in found.advice
        assert "pg_repack --table=public.t" in found.advice
        again = left_behind(new, "public.t", deleted, tuples, table_bytes)
        assert again is not None
        assert "REPACK (CONCURRENTLY) public.t" in again.advice
