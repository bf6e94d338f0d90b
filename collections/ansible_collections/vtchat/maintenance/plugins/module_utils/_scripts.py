# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading SQL scripts, as far as the server cannot be asked.

The server parses and runs scripts. Here is read what a script begins with, because a materialized view or a type has no
OR REPLACE, which views it may replace, and in which line a statement stands that the server found fault with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ._errors import OptionError, SqlError
from ._sql import Name

# Begins every text that the server is given, and comes back in the context of its errors.
_MARK = re.compile(r"/\* vtchat\.maintenance (\d+) \*/")

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    |(?P<comment>/\*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Script:
    """SQL with a name for messages, usually that of the file."""

    name: str
    sql: str


@dataclass(frozen=True)
class Token:
    """A word, quoted name, string or sign of SQL, with its place."""

    kind: str
    text: str
    start: int
    end: int

    def says(self, word: str) -> bool:
        return self.kind in ("word", "other") and self.text.lower() == word


def tokens(text: str) -> Iterator[Token]:
    """The tokens of SQL without comments and white space: as much as it takes to find where a statement ends."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # cannot be: the last alternative takes any character
            return
        position = match.end()
        if match["comment"]:
            position = _end_of_comment(text, position)
        elif match["space"] is None:
            kind = "string" if match["string"] is not None else str(match.lastgroup)
            yield Token(kind, match[0], match.start(), match.end())


def _end_of_comment(text: str, position: int) -> int:
    """Comments nest. ``position`` is after the first opening."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def statements(text: str) -> list[tuple[int, str]]:
    """The line, from 1, and the text of each statement. Used to explain errors, never to run anything but that."""
    found = []
    start = first = None
    depth = 0
    before = ""
    for token in tokens(text):
        if start is None and not token.says(";"):
            start, first = token.start, token
        depth += _opens(token, before, depth)
        before = token.text.lower()
        if token.says(";") and depth == 0:
            if start is not None and first is not None:
                found.append((text.count("\n", 0, start) + 1, text[start : token.start]))
            start = first = None
    if start is not None:
        found.append((text.count("\n", 0, start) + 1, text[start:]))
    return found


def _opens(token: Token, before: str, depth: int) -> int:
    """How a token changes the depth of BEGIN ATOMIC … END, in which CASE … END may stand."""
    if token.says("atomic") and before == "begin":
        return 1
    if depth and token.says("case"):
        return 1
    return -1 if depth and token.says("end") else 0


@dataclass(frozen=True)
class Definition:
    """A script that begins with a CREATE without OR REPLACE, cut so that it can be run under other names.

    head and body are the script's text around the name, without a clause WITH [NO] DATA; rest follows the semicolon.
    populate: a materialized view is to be filled.
    """

    kind: str
    name: Name
    head: str
    body: str
    rest: str
    populate: bool = True


class _Reader:
    """Goes through tokens from the left."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.next = 0

    def take(self, *words: str) -> bool:
        """Go past these words if they come next."""
        ahead = self.tokens[self.next : self.next + len(words)]
        found = len(ahead) == len(words) and all(token.says(word) for token, word in zip(ahead, words))
        self.next += len(words) * found
        return found

    def name(self) -> tuple[Name, int, int] | None:
        """Go past ``name`` or ``schema.name``: the name and where it stands."""
        first, parts = self.next, []
        while self.next < len(self.tokens) and self.tokens[self.next].kind in ("word", "quoted"):
            parts.append(_literal(self.tokens[self.next]))
            self.next += 1
            if not self.take("."):
                break
        if not 1 <= len(parts) <= 2:
            return None
        name = Name(parts[0] if len(parts) == 2 else None, parts[-1])
        return name, self.tokens[first].start, self.tokens[self.next - 1].end


def _literal(token: Token) -> str:
    """The name that a token means: the server folds ASCII letters that are not quoted."""
    if token.kind == "quoted":
        return token.text[1:-1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in token.text)


def read_definition(text: str) -> Definition | None:
    """The materialized view or type that a script begins with, or None. Raises OptionError."""
    reader = _Reader(text)
    if reader.take("create", "materialized", "view"):
        kind = "materialized view"
        reader.take("if", "not", "exists")
    elif reader.take("create", "type") or reader.take("create", "domain"):
        kind = "type"
    else:
        return None
    named = reader.name()
    if named is None:
        raise OptionError([f"the {kind} needs a name"])
    return _cut(text, reader, kind, *named)


def _cut(text: str, reader: _Reader, kind: str, name: Name, start: int, end: int) -> Definition:
    following = [token for token in reader.tokens if token.start >= end]
    statement = following[: next((i for i, token in enumerate(following) if token.says(";")), len(following))]
    stop = following[len(statement)].start if len(statement) < len(following) else len(text)
    body, populate = text[end:stop], True
    if kind == "materialized view":
        words = [token.text.lower() for token in statement[-3:]]
        if words == ["with", "no", "data"] or words[-2:] == ["with", "data"]:
            populate = words[-2] != "no"
            body = text[end : statement[-2 if populate else -3].start]
        elif len(statement) and stop == len(text):
            body = text[end : statement[-1].end]  # not into a comment that no line end closes
    if kind == "type" and len(statement) and stop == len(text):
        body = text[end : statement[-1].end]
    return Definition(kind, name, text[:start], body, text[stop + 1 :], populate)


def replaced_views(text: str) -> list[Name]:
    """The views that a script may replace. What stands in strings and function bodies does not count."""
    reader, found = _Reader(text), []
    while reader.next < len(reader.tokens):
        if reader.take("create", "or", "replace", "view") or reader.take(
            "create", "or", "replace", "recursive", "view"
        ):
            named = reader.name()
            found += [named[0]] if named else []
        else:
            reader.next += 1
    return found


def wanted_schemas(text: str) -> list[str]:
    """The schemas that a script creates unless they exist, which leaves no trace where they do."""
    reader, found = _Reader(text), []
    while reader.next < len(reader.tokens):
        if reader.take("create", "schema", "if", "not", "exists"):
            named = reader.name()
            found += [named[0].name] if named else []
        else:
            reader.next += 1
    return found


def defines(text: str) -> bool:
    """Whether a script has a statement that may define something, though it need not have an effect."""
    words = ("create", "alter", "drop", "comment", "grant", "revoke", "security", "do")
    return any(next(tokens(statement)).text.lower() in words for _line, statement in statements(text))


def mark(number: int) -> str:
    """The comment that tells in errors which text is meant."""
    return f"/* vtchat.maintenance {number} */"


def marked(query: str, context: str) -> int | None:
    """The number in the mark of an error, None if it has none. The outermost text counts, which is named last."""
    numbers = _MARK.findall(query) + _MARK.findall(context)
    return int(numbers[-1]) if numbers else None


def line_of(text: str, error: SqlError) -> int:
    """The line of the script, from 1, that the server points at; 0 when it does not, or points elsewhere.

    SQL made from a script has its lines, though not always its characters; SQL that is a part of it is looked for.
    """
    if not error.position or not error.query:
        return 0
    lines = error.query.count("\n", 0, error.position - 1)
    if error.query.count("\n") == text.count("\n"):
        return lines + 1
    start = text.find(error.query)
    return text.count("\n", 0, start) + lines + 1 if start >= 0 else 0
