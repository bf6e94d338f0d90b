# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Scripts as far as the server cannot be asked: which statements they consist of, and in which line one stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .._errors import SqlError
from .._postgres.lexer import Token, tokens

# Begins every text that the server is given, and comes back in the context of its errors.
_MARK = re.compile(r"/\* vtchat\.maintenance (\d+) \*/")


@dataclass(frozen=True)
class Statement:
    """One statement of a script, without its semicolon. Its place, and that of its tokens, is the one in the script."""

    text: str
    line: int
    tokens: Sequence[Token]

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    @cached_property
    def words(self) -> list[str]:
        """Keywords and names in lower case, signs as they are; "" for strings and quoted names."""
        return ["" if token.kind in ("string", "quoted") else token.text.lower() for token in self.tokens]

    def begins(self, *words: str) -> bool:
        return self.words[: len(words)] == list(words)


@dataclass(frozen=True)
class Script:
    """SQL with a name for messages, usually that of the file. It is tokenised once; that raises Unclosed."""

    name: str
    sql: str

    @cached_property
    def tokens(self) -> list[Token]:
        return tokens(self.sql)

    @cached_property
    def statements(self) -> list[Statement]:
        return [
            Statement(self.sql[found[0].start : found[-1].end], self.line_at(found[0].start), found)
            for found in _statements(self.tokens)
        ]

    def line_at(self, position: int) -> int:
        """The line of a character, from 1."""
        return self.sql.count("\n", 0, position) + 1

    def line_of(self, error: SqlError) -> int:
        """The line that the server points at, from 1; 0 when it does not, or points elsewhere.

        SQL made from the script has its lines, though not always its characters; SQL that is a part of it is looked for.
        """
        if not error.position or not error.query:
            return 0
        lines = error.query.count("\n", 0, error.position - 1)
        if error.query.count("\n") == self.sql.count("\n"):
            return lines + 1
        start = self.sql.find(error.query)
        return self.line_at(start) + lines if start >= 0 else 0


def _statements(found: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each statement. A semicolon in brackets or in BEGIN ATOMIC … END ends nothing."""
    statement: list[Token] = []
    atomic, before = 0, None
    for token in found:
        atomic += _opens(token, before, atomic)
        before = token
        if not (token.says(";") and token.depth == atomic == 0):
            statement.append(token)
        elif statement:
            yield statement
            statement = []
    if statement:
        yield statement


def _opens(token: Token, before: Token | None, depth: int) -> int:
    """How a token changes the depth of BEGIN ATOMIC … END, in which CASE … END may stand."""
    if token.says("atomic") and before is not None and before.says("begin"):
        return 1
    if depth and token.says("case"):
        return 1
    return -1 if depth and token.says("end") else 0


def mark(number: int) -> str:
    """A comment by which an error is traced to the text that it is in."""
    return f"/* vtchat.maintenance {number} */"


def marked(query: str, context: str) -> int | None:
    """The number in the mark of an error, None if it has none. The outermost text counts, which is named last."""
    numbers = _MARK.findall(query) + _MARK.findall(context)
    return int(numbers[-1]) if numbers else None
