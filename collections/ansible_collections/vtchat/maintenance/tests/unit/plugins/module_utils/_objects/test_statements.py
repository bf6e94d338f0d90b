# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.statements import (
    faults,
    lasting,
    parts,
    warns,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.scripts import statements

LIMITS = "/*limits*/"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("SELECT 1;\n\nCOPY t FROM stdin;\n1\n\\.", 3, "COPY … FROM stdin, with its data after it, is for psql"),
        ("COPY (SELECT 1) TO '/tmp/x'", 1, "COPY changes rows"),
        ("/* x */ insert into t values (1)", 1, "INSERT changes rows"),
        ("GRANT r TO u;\ncreate user mapping for u server s", 2, "CREATE USER MAPPING cannot be compared"),
        ("SELECT pg_catalog.SetVal('s', 1)", 1, "setval changes a sequence"),
        ("CREATE TABLE IF NOT EXISTS t (a int)", 1, "CREATE TABLE IF NOT EXISTS cannot be compared"),
        ("SELECT set_config('track_counts', 'off', true)", 1, "track_counts is what tells"),
        ("DO $$ BEGIN SET lock_timeout = 0; END $$", 1, "lock_timeout is set in a DO block"),
        ("SELECT 1;\nSELECT '\0'", 2, "NUL byte"),
    ],
)
def test_faults(text: str, line: int, reason: str) -> None:
    ((found, told),) = faults(text)
    assert found == line
    assert reason in told


@pytest.mark.parametrize(
    "text",
    [
        "CREATE SCHEMA IF NOT EXISTS s; CREATE EXTENSION IF NOT EXISTS x; CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1)' SET lock_timeout = 0",
        "CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); DELETE FROM t; END",
        "SET lock_timeout = 0; SELECT pg_catalog.set_config('search_path', '', false); RESET ALL",
        "CREATE VIEW v AS SELECT nextval('s')",
    ],
)
def test_what_is_not_refused_unseen(text: str) -> None:
    assert faults(text) == []


def test_a_script_is_cut_before_each_definition() -> None:
    text = """SET search_path = app; -- where
COMMENT ON SCHEMA app IS 'a;b';
CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA; COMMENT ON MATERIALIZED VIEW v IS 'v';
SELECT set_config('role', 'x', false);
CREATE TYPE app.mood AS ENUM ('a');
GRANT USAGE ON TYPE app.mood TO y"""
    first, second, third = parts(text, LIMITS)
    assert first.definition is None
    assert first.text.split() == [
        "SET",
        "search_path",
        "=",
        "app;" + LIMITS,
        "COMMENT",
        "ON",
        "SCHEMA",
        "app",
        "IS",
        "'a;b';",
    ]
    assert second.definition is not None
    assert second.before.split() == ["SET", "search_path", "=", "app;" + LIMITS]
    assert (second.definition.head, second.definition.body) == ("CREATE MATERIALIZED VIEW ", " AS SELECT 1 ")
    assert second.tail.split("\n")[0].strip() == "COMMENT ON MATERIALIZED VIEW v IS 'v';"
    assert third.prelude == "SET search_path = app; SELECT set_config('role', 'x', false)"
    assert third.before.count("set_config") == 1
    assert "GRANT USAGE" in third.text
    assert "COMMENT" not in third.text
    for part in (second, third):
        assert part.definition is not None
        whole = part.before + part.definition.head + "n" + part.definition.body + ";" + part.tail
        assert whole.count("\n") == part.text.count("\n") == text.count("\n")


SETTINGS = ["SET a = 1", "RESET a", "SELECT set_config('a', 'b', true)"]
DEFINITIONS = ["CREATE MATERIALIZED VIEW v AS\nSELECT ';'", "CREATE DOMAIN d AS int", "create type t as (a int)"]
OTHERS = [
    "GRANT a TO b",
    "CREATE FUNCTION f() RETURNS int AS $$ ;\n $$",
    "DO 'BEGIN; END'",
    "CREATE RULE r AS ON INSERT TO t DO (a; b)",
]
SPACE = st.sampled_from([" ", "\n", " -- ; x\n", "/* a ; /* b */\n */", "\t\n"])


@given(st.lists(st.tuples(SPACE, st.sampled_from([*SETTINGS, *DEFINITIONS, *OTHERS]), SPACE), max_size=8), SPACE)
def test_cutting_loses_nothing_and_moves_nothing_to_another_line(written: list[tuple[str, str, str]], end: str) -> None:
    text = "".join(f"{before}{statement}{after};" for before, statement, after in written) + end
    found = parts(text, LIMITS)
    seen = []
    for part in found:
        definition = part.definition
        if definition is not None:
            seen.append(part.before.count("\n"))
            whole = part.before + definition.head + "x" + definition.body + ";" + part.tail
            assert whole.count("\n") == text.count("\n")
        assert part.text.count("\n") == text.count("\n")
    kept = [(line, one) for line, one in statements(text) if one not in SETTINGS]
    assert [line - 1 for line, one in kept if one in DEFINITIONS] == seen
    others = [pair for part in found for pair in statements(part.text.replace(LIMITS, "")) if pair[1] not in SETTINGS]
    assert others == [pair for pair in kept if pair[1] not in DEFINITIONS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("SET a = 1; SELECT 2", False),
        ("CREATE TEMP TABLE t (a int)", False),
        ("SELECT 1; drop view v", True),
        ("CREATE OR REPLACE LOCAL TEMPORARY VIEW v AS SELECT 1", False),
        ("DO ''", True),
    ],
)
def test_lasting(text: str, expected: bool) -> None:
    assert lasting(text) is expected


def test_warns() -> None:
    assert warns("DO $$ BEGIN RAISE\n WARNING 'x'; END $$")
    assert not warns("-- raise warning\nSELECT raise, warning")
