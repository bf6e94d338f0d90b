# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.parts import parts
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.scripts import Script

LIMITS = "/*limits*/"


def statements(text: str) -> list[tuple[int, str]]:
    """Line and text of each statement."""
    return [(one.line, one.text) for one in Script("s", text).statements]


def test_a_script_is_cut_before_each_definition() -> None:
    text = """SET search_path = app; -- where
COMMENT ON SCHEMA app IS 'a;b';
CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA; COMMENT ON MATERIALIZED VIEW v IS 'v';
SELECT set_config('role', 'x', false);
CREATE TYPE app.mood AS ENUM ('a');
GRANT USAGE ON TYPE app.mood TO y"""
    first, second, third = parts(Script("s", text), LIMITS)
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
    found = parts(Script("s", text), LIMITS)
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
    ("drop", "kept"),
    [
        ("DROP TYPE IF EXISTS t CASCADE", False),
        ("drop domain T restrict", False),
        ("DROP MATERIALIZED VIEW t", True),
        ("DROP TYPE s.t", True),
        ("DROP TYPE t, u", True),
        ("DROP TYPE", True),
    ],
)
def test_what_is_dropped_to_be_defined_anew_is_compared(drop: str, kept: bool) -> None:
    found = parts(Script("s", f"{drop}; CREATE TYPE t AS (a int)"), LIMITS)
    assert any(drop in part.text for part in found) is kept
