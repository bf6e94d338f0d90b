# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lexer beside the server's own: both must see the same tokens in any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.lexer import Cursor, Unclosed, tokens
from tests.servers import Server

# Only METHOD may follow, so that whatever comes next is an error, and the server says which token it is. Nothing is executed.
ANYTHING_IS_WRONG = "CREATE ACCESS "
PARTS = st.one_of(
    st.sampled_from(
        [" ", "\n", "\t", "\r", "\f", "\v", "\u00a0", "\u2028", "\x85", "\u3000", "--", "/*", "*/", "/", "*", "-", "'", "''",
         '"', "\\", "\\'", "$", "$$", "$a$", "$1", "$é$", "e'", "E'", "x'", "b'", "n'", "U&'", 'u&"', "uescape", "_", "é", "☃",
         "İ", "a", "A", "b$", "0", "1", ".", "..", "1e", ";", ":", "::", ",", "(", ")", "[", "]", "{", "@", "=", "'\n'", "'--\n'"]
    ),
    st.sampled_from([" 'a' ", ' "a b" ', " a.b ", " /* x */ ", "-- y\n", " $$z$$ ", " 12.5 ", " e'\\'' ", "'p'\n 'q'"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def cursor(server: Server) -> Iterator[Any]:
    """One session for all texts."""
    with closing(psycopg2.connect(server.dsn())) as connection, connection.cursor() as made:
        connection.autocommit = True
        yield made


def server_tokens(cursor: Any, text: str) -> tuple[list[tuple[int, str]], str]:
    """Place and text of each token as the server sees it, and the message where it refuses to go on."""
    found: list[tuple[int, str]] = []
    position = 0
    while True:
        try:
            cursor.execute(ANYTHING_IS_WRONG + text[position:])
            raise AssertionError(f"the server accepts {text[position:]!r}")
        except psycopg2.Error as error:
            message, place = error.diag.message_primary or "", int(error.diag.statement_position or 0)
        if message == "syntax error at end of input":
            return found, ""
        near = re.fullmatch(r'syntax error at or near "(.*)"', message, re.DOTALL)
        if near is None:
            return found, message
        start = position + place - 1 - len(ANYTHING_IS_WRONG)
        found.append((start, near[1]))
        position = start + len(near[1])


def signs(start: int, text: str) -> list[tuple[int, str]]:
    """An operator is read sign by sign."""
    if re.fullmatch(r"[~!@#^&|`?+\-*/%<>=:.]+", text):
        return [(start + n, sign) for n, sign in enumerate(text)]
    return [(start, text)]


def seen(text: str) -> list[tuple[int, str]] | None:
    """Place and text of each token as the lexer sees it, None for what does not end."""
    try:
        return [sign for token in tokens(text) for sign in signs(token.start, token.text)]
    except Unclosed:
        return None


@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PARTS, max_size=8).map("".join))
@example("CREATE MATERIALIZED VIEW ☃ AS SELECT 1")
@example("a\u00a0b")
@example("E'a'\n'b\\'c;' d")
@example("'a' -- x\n -- y\n 'b;' 'c'")
@example("$a$ $$ $b$a$ $a$b$c")
@example("1..10 1.e5 $1$$;$$ +--;\n@/*;*/")
def test_tokens_are_those_of_the_server(cursor: Any, text: str) -> None:
    expected, refusal = server_tokens(cursor, text)
    found = seen(text)
    if found is None:
        assert refusal, text
        return
    assert not refusal.startswith("unterminated"), (text, refusal)
    wanted = [sign for token in expected for sign in signs(*token)]
    # Behind a bad escape, a name without letters or a number with letters the server sees nothing any more.
    assert (found[: len(wanted)] if refusal else found) == wanted


NAMES = [
    "A",
    "Äb",
    "ÄB$1",
    "☃",
    "a\u00a0b",
    '"A ""b;"',
    'U&"d\\0061t\\+000061\\\\"',
    "u&\"!2603\" UESCAPE '!'",
    'U&"\\D83D\\DE00"',
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_server(cursor: Any, name: str) -> None:
    cursor.execute(f"SELECT 1 AS {name}")
    assert Cursor(tokens(name)).name() == [cursor.description[0].name]
