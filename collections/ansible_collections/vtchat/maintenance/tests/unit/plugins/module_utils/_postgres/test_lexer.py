# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.lexer import Cursor, Unclosed, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- only; this\n/* and\n this; */", []),
        ("SELECT 'it''s; --', $$ ; $$", ["SELECT", "'it''s; --'", ",", "$$ ; $$"]),
        ("$a$ $$ ; $b$ $a$;", ["$a$ $$ ; $b$ $a$", ";"]),
        ('E\'\\\';\' "a""; b".c', ["E'\\';'", '"a""; b"', ".", "c"]),
        ("a$b$c", ["a$b$c"]),
        ("Tên_bảng ☃ a\u00a0b", ["Tên_bảng", "☃", "a\u00a0b"]),
        ("x'1F' b'01''10' n'a' U&'a''' u&\"d\"", ["x'1F'", "b'01'", "'10'", "n", "'a'", "U&'a'''", 'u&"d"']),
        ("E'a' -- c\n 'b\\' ' 'c'", ["E'a' -- c\n 'b\\' '", "'c'"]),
        ("1..10 1.5e-3 $1 0x1F .5 a.b", ["1", "..", "10", "1.5e-3", "$1", "0x1F", ".5", "a", ".", "b"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    found = tokens(text)
    assert [token.text for token in found] == expected
    assert [text[token.start : token.end] for token in found] == expected


def test_depth_counts_brackets_of_both_kinds() -> None:
    assert [token.depth for token in tokens("a ( b [ ')' ] ) ) c")] == [0, 0, 1, 1, 2, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("SELECT 1;\n\n/* /* */ SELECT 2", 3, "a comment"),
        ("'a", 1, "a quotation mark"),
        ("\nE'a\\'", 2, "a quotation mark"),
        ("'a''", 1, "a quotation mark"),
        ("'a'\n'", 1, "a quotation mark"),
        ('"a""', 1, "a quotation mark"),
        ("b'0", 1, "a quotation mark"),
        ("\n\n$é$ $e$ $$", 3, "a dollar quote"),
    ],
)
def test_what_does_not_end(text: str, line: int, what: str) -> None:
    with pytest.raises(Unclosed, match="opened and not closed") as caught:
        tokens(text)
    assert caught.value.line == line
    assert caught.value.message.startswith(what)
    assert str(caught.value) == f"line {line}: {caught.value.message}"


@pytest.mark.parametrize(
    ("text", "parts", "after"),
    [
        ('A."B c"."d"".e" f', ["a", "B c", 'd".e'], "f"),
        ("Öl.ÄB(", ["Öl", "Äb"], "("),
        ("U&\"d!0061t!+000061!!\" UESCAPE '!' .x", ["data!", "x"], None),
        ('u&"\\D83D\\DE00"', ["😀"], None),
        ('u&"\\+FFFFFF"', ["\\+FFFFFF"], None),
        ("'a'", [], "'a'"),
        ("", [], None),
    ],
)
def test_names(text: str, parts: list[str], after: str | None) -> None:
    cursor = Cursor(tokens(text))
    assert cursor.name() == parts
    assert (cursor.next.text if cursor.next else None) == after


def test_words_are_taken_together_or_not_at_all() -> None:
    cursor = Cursor(tokens('If "not" exists'))
    assert not cursor.take("if", "not")
    assert cursor.take("if")
    assert not cursor.take("not")
    assert [token.text for token in cursor.rest] == ['"not"', "exists"]
