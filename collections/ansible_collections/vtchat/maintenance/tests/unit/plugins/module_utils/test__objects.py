# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import (
    Change,
    canonical,
    compare,
    line_of,
    read_definition,
    tokens,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._sql import Name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- only; this\n/* and\n this; */", []),
        ("SELECT 'it''s; --', $$ ; $$", ["SELECT", "'it'", "'s; --'", ",", "$$ ; $$"]),
        ("$a$ $$ ; $b$ $a$;", ["$a$ $$ ; $b$ $a$", ";"]),
        ('E\'\\\';\' "a""; b".c', ["E'\\';'", '"a""; b"', ".", "c"]),
        ("a$b$c", ["a$b$c"]),
        ("Tên_bảng", ["Tên_bảng"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    found = list(tokens(text))
    assert [token.text for token in found] == expected
    assert [text[token.start : token.end] for token in found] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "SELECT 'CREATE INDEX'",
        "-- CREATE INDEX i ON t (a)\nCOMMENT ON TABLE t IS 'x'",
        "CREATE TABLE materialized (view int)",
    ],
)
def test_other_scripts_have_no_definition(text: str) -> None:
    assert read_definition(text) is None


@pytest.mark.parametrize(
    ("text", "name", "renamed", "empty", "rest"),
    [
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", Name(None, "v"), "CREATE MATERIALIZED VIEW T AS SELECT 1",
         "CREATE MATERIALIZED VIEW T AS SELECT 1 WITH NO DATA", ""),
        ('create/* x */materialized view S."V ;" (a) as select 1;\nrest;', Name("s", "V ;"),
         "create/* x */materialized view T (a) as select 1",
         "create/* x */materialized view T (a) as select 1 WITH NO DATA", "\nrest;"),
        ("-- head\nCREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT ';' -- tail ;\nWITH DATA;", Name(None, "v"),
         "-- head\nCREATE MATERIALIZED VIEW IF NOT EXISTS T AS SELECT ';' -- tail ;\n",
         "-- head\nCREATE MATERIALIZED VIEW IF NOT EXISTS T AS SELECT ';' -- tail ;\n WITH NO DATA", ""),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1 -- the end;", Name(None, "v"), "CREATE MATERIALIZED VIEW T AS SELECT 1",
         "CREATE MATERIALIZED VIEW T AS SELECT 1 WITH NO DATA", ""),
    ],
)  # fmt: skip
def test_materialized_view(text: str, name: Name, renamed: str, empty: str, rest: str) -> None:
    found = read_definition(text)
    assert found is not None
    assert (found.kind, found.name, found.rest) == ("materialized view", name, rest)
    assert found.text(name="T") == renamed
    assert found.text(name="T", populate=False) == empty


def test_a_materialized_view_without_data_stays_without() -> None:
    found = read_definition("CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA; COMMENT ON VIEW v IS 'WITH DATA'")
    assert found is not None
    assert found.text() == 'CREATE MATERIALIZED VIEW "v" AS SELECT 1  WITH NO DATA'


@pytest.mark.parametrize(
    ("text", "name", "table", "renamed"),
    [
        ("CREATE INDEX i ON t (a)", "i", "t", "CREATE INDEX I ON T (a)"),
        ('CREATE UNIQUE INDEX IF NOT EXISTS "I ON" ON ONLY "S".t USING btree (a DESC) WHERE a > 1;', "I ON", '"S".t',
         "CREATE UNIQUE INDEX IF NOT EXISTS I ON ONLY T USING btree (a DESC) WHERE a > 1"),
        ("create index Idx on T(lower(x))", "idx", "T", "create index I on T(lower(x))"),
    ],
)  # fmt: skip
def test_index(text: str, name: str, table: str, renamed: str) -> None:
    found = read_definition(text)
    assert found is not None
    assert (found.kind, found.name, found.table) == ("index", Name(None, name), table)
    assert found.text(name="I", table="T") == renamed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "CONCURRENTLY"),
        ("CREATE UNIQUE INDEX concurrently i ON t (a)", "CONCURRENTLY"),
        ("CREATE INDEX ON t (a)", "needs a name"),
        ("CREATE INDEX i USING t (a)", "is written"),
        ("CREATE INDEX i ON (a)", "is written"),
        ("CREATE MATERIALIZED VIEW 'v' AS SELECT 1", "needs a name"),
        ("CREATE MATERIALIZED VIEW a.b.c AS SELECT 1", "needs a name"),
    ],
)
def test_definitions_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_definition(text)


def test_what_follows_a_definition_stays_on_its_lines() -> None:
    text = "-- one\nCREATE MATERIALIZED VIEW v AS\nSELECT 1;\nCOMMENT"
    found = read_definition(text)
    assert found is not None
    assert found.rest_in_place.splitlines().index("COMMENT") == text.splitlines().index("COMMENT")


@pytest.mark.parametrize(
    ("position", "query", "line"),
    [
        (0, "a\nb\nc", 0),
        (1, "", 0),
        (1, "a\nb\nc", 1),
        (3, "a\nb\nc", 2),
        (5, "A\nB\nC", 3),
        (1, "c", 3),
        (1, "elsewhere", 0),
    ],
)
def test_line_of(position: int, query: str, line: int) -> None:
    assert line_of("a\nb\nc", SqlError("x", "42601", position, query)) == line


def row(name: str = "f", definition: str | None = "d", kind: str = "function", **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "object": name,
        "definition": definition,
        "owner": "o",
        "privileges": None,
        "comment": None,
        **more,
    }


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        ([], [row()], "created"),
        ([row()], [row()], "unchanged"),
        ([row()], [row(definition="e")], "replaced"),
        ([row()], [row(owner="p")], "replaced"),
        ([row()], [row(privileges="PUBLIC EXECUTE")], "replaced"),
        ([row(comment="x")], [row()], "replaced"),
        ([row()], [], "dropped"),
        ([row(kind="table")], [row(kind="table", comment="x")], "replaced"),
    ],
)
def test_compare(before: list[dict[str, Any]], after: list[dict[str, Any]], result: str) -> None:
    (change,) = compare("s", before, after)
    assert (change.script, change.object, change.result) == ("s", "f", result)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [row(definition=None)]),
        ([row(definition=None)], []),
        ([], [row(kind="table")]),
        ([row(kind="table")], []),
        ([row(kind="foreign table")], [row(kind="foreign table", definition="e")]),
    ],
)
def test_compare_refuses(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match="f: objects of this kind"):
        compare("s", before, after)


def test_canonical_text() -> None:
    assert (
        canonical(row(definition="d\n", privileges="p", comment="c"))
        == "d\n-- owner: o\n-- privileges: p\n-- comment: c\n"
    )


def test_a_change_of_nothing_is_none() -> None:
    assert Change("s", "o", "index", None, None).result == "unchanged"
