# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.definitions import (
    Definition,
    read_definition,
    replaced_views,
    unless_they_exist,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.scripts import Script, mark, marked
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.names import Name


def definition(text: str) -> Definition | None:
    """What the first statement of a text defines."""
    statements = Script("s", text).statements
    return read_definition(statements[0]) if statements else None


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
    assert definition(text) is None


@pytest.mark.parametrize(
    ("text", "name", "body"),
    [
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", Name(None, "v"), " AS SELECT 1"),
        ('create/* x */materialized view S."V ;" (a) as select 1', Name("s", "V ;"), " (a) as select 1"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT ';' -- tail ;\nWITH DATA", Name(None, "v"),
         " AS SELECT ';' -- tail ;\n"),
        ("CREATE MATERIALIZED VIEW ☃ AS SELECT 1", Name(None, "☃"), " AS SELECT 1"),
        ("CREATE MATERIALIZED VIEW a\u00a0b AS SELECT 1", Name(None, "a\u00a0b"), " AS SELECT 1"),
        ("CREATE MATERIALIZED VIEW Öl . ÄB AS SELECT 1", Name("Öl", "Äb"), " AS SELECT 1"),
        ('CREATE MATERIALIZED VIEW U&"d\\0061t\\+000061\\\\""" AS SELECT 1', Name(None, 'data\\"'), " AS SELECT 1"),
        ("CREATE MATERIALIZED VIEW u&\"s!2603\" UESCAPE '!' . v AS SELECT 1", Name("s☃", "v"), " AS SELECT 1"),
        ("CREATE MATERIALIZED VIEW db.s.v AS SELECT 1", Name("s", "v"), " AS SELECT 1"),
        ("CREATE TYPE app.mood AS ENUM ('good;', 'bad')", Name("app", "mood"), " AS ENUM ('good;', 'bad')"),
        ("create domain Positive int CHECK (value > 0)", Name(None, "positive"), " int CHECK (value > 0)"),
    ],
)  # fmt: skip
def test_definitions(text: str, name: Name, body: str) -> None:
    found = definition(text)
    assert found is not None
    assert (found.name, found.body, found.populate) == (name, body, True)
    assert text.startswith(found.head)
    assert found.catalog == ("db" if "db." in text else "")


def test_a_materialized_view_without_data_stays_without() -> None:
    found = definition("CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA")
    assert found is not None
    assert not found.populate
    assert found.body == " AS SELECT 1 "


@pytest.mark.parametrize("name", ["'v'", "a.b.c.d", "1"])
def test_definitions_that_cannot_be_read(name: str) -> None:
    with pytest.raises(OptionError, match="needs a name"):
        definition(f"CREATE MATERIALIZED VIEW {name} AS SELECT 1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; -- nothing", []),
        ("SELECT 1;\n\n-- c ; d\nSELECT ';' -- e", [(1, "SELECT 1"), (4, "SELECT ';'")]),
        ("/* a /* ; */ ; */ SELECT 1; SELECT $x$;$x$;", [(1, "SELECT 1"), (1, "SELECT $x$;$x$")]),
        (
            "CREATE PROCEDURE p()\nBEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;\nSELECT 3",
            [(1, "CREATE PROCEDURE p()\nBEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END"), (3, "SELECT 3")],
        ),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3", [
            (1, "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)"), (1, "SELECT 3")]),
        ("SELECT E'a'\n'b\\';' ; SELECT 2", [(1, "SELECT E'a'\n'b\\';'"), (2, "SELECT 2")]),
        ("DO $$ BEGIN ; END $$; SELECT CASE WHEN a THEN b END; SELECT 1", [
            (1, "DO $$ BEGIN ; END $$"), (1, "SELECT CASE WHEN a THEN b END"), (1, "SELECT 1")]),
    ],
)  # fmt: skip
def test_statements(text: str, expected: list[tuple[int, str]]) -> None:
    assert [(one.line, one.text) for one in Script("s", text).statements] == expected


def test_replaced_views() -> None:
    text = """CREATE OR REPLACE VIEW a AS SELECT 'CREATE OR REPLACE VIEW b AS'; create or replace recursive view "S".c (n) AS
    SELECT 1; /* CREATE OR REPLACE VIEW d */ CREATE VIEW e AS SELECT 1; DO $$ CREATE OR REPLACE VIEW f $$"""
    assert replaced_views(Script("s", text).statements) == [Name(None, "a"), Name("S", "c")]


def test_what_is_created_unless_it_exists() -> None:
    script = Script(
        "s", 'CREATE SCHEMA IF NOT EXISTS "A b"; create schema c; CREATE EXTENSION IF NOT EXISTS d SCHEMA e'
    )
    assert unless_they_exist(script.statements, "schema") == ["A b"]
    assert unless_they_exist(script.statements, "extension") == ["d"]


def test_the_mark_of_an_error() -> None:
    assert marked("", "") is None
    assert marked(mark(3) + "SELECT", "") == 3
    assert marked("SELECT 1", f'SQL statement "{mark(12)}SELECT"\nPL/pgSQL function inline_code_block line 3') == 12


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
    assert Script("s", "a\nb\nc").line_of(SqlError("x", "42601", position, query)) == line
