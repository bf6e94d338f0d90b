# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading SQL scripts, as far as the server cannot be asked.

The server parses and runs scripts. Here is read where materialized views and types are created, which have no OR REPLACE,
which views a script may replace, and in which line a statement stands that the server found fault with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .._errors import OptionError, SqlError
from .names import Name

# Begins every text that the server is given, and comes back in the context of its errors.
_MARK = re.compile(r"/\* vtchat\.maintenance (\d+) \*/")

# The server takes everything outside of ASCII for a letter, and nothing of it for white space.
_LETTER = "A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\n\r\f\v]+|--[^\n\r]*)
    |(?P<comment>/\*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|\$(?P<tag>(?:[{_LETTER}][{_LETTER}0-9]*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
    |(?P<word>[{_LETTER}][{_LETTER}0-9$]*)
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
    """The tokens of SQL without comments and white space: as much as it takes to find where a statement ends.

    Raises OptionError for a comment that does not end.
    """
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
    line = text.count("\n", 0, position) + 1
    raise OptionError([f"line {line}: a comment is opened and not closed"])


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each statement begins and ends, without its semicolon. One in brackets or in BEGIN ATOMIC … END ends nothing."""
    start, end, depth, brackets, before = -1, 0, 0, 0, ""
    for token in tokens(text):
        depth += _opens(token, before, depth)
        brackets = max(0, brackets + token.says("(") - token.says(")"))
        before = token.text.lower()
        if token.says(";") and depth == brackets == 0:
            if start >= 0:
                yield start, end
            start = -1
            continue
        if start < 0:
            start = token.start
        end = token.end
    if start >= 0:
        yield start, end


def statements(text: str) -> list[tuple[int, str]]:
    """The line, from 1, and the text of each statement."""
    return [(text.count("\n", 0, start) + 1, text[start:end]) for start, end in spans(text)]


def _opens(token: Token, before: str, depth: int) -> int:
    """How a token changes the depth of BEGIN ATOMIC … END, in which CASE … END may stand."""
    if token.says("atomic") and before == "begin":
        return 1
    if depth and token.says("case"):
        return 1
    return -1 if depth and token.says("end") else 0


@dataclass(frozen=True)
class Definition:
    """A CREATE statement without OR REPLACE, cut so that it can be run under other names.

    head and body are the statement's text around the name, without a clause WITH [NO] DATA. populate: a materialized view is
    to be filled. catalog: the database that the name says, "" without.
    """

    kind: str
    name: Name
    head: str
    body: str
    populate: bool = True
    catalog: str = ""


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

    def name(self) -> tuple[list[str], int, int] | None:
        """Go past ``name``, ``schema.name`` or ``database.schema.name``: the parts and where they stand."""
        first, parts = self.next, []
        while self.next < len(self.tokens) and self.tokens[self.next].kind in ("word", "quoted"):
            token, escape = self.tokens[self.next], "\\"
            self.next += 1
            if token.text[:2] in ("u&", "U&") and token.kind == "quoted" and self.take("uescape"):
                escape = self.tokens[self.next].text[1:2] if self.next < len(self.tokens) else escape
                self.next += 1
            parts.append(_literal(token, escape))
            if not self.take("."):
                break
        if not 1 <= len(parts) <= 3:
            return None
        return parts, self.tokens[first].start, self.tokens[self.next - 1].end


def _literal(token: Token, escape: str = "\\") -> str:
    """The name that a token means: the server folds ASCII letters that are not quoted."""
    if token.kind != "quoted":
        return "".join(letter.lower() if letter.isascii() else letter for letter in token.text)
    if token.text[0] == '"':
        return token.text[1:-1].replace('""', '"')
    mark = re.escape(escape)
    return re.sub(
        rf"{mark}(?:({mark})|\+([0-9A-Fa-f]{{6}})|([0-9A-Fa-f]{{4}}))",
        lambda found: found[1] or chr(int(found[2] or found[3], 16)),
        token.text[3:-1].replace('""', '"'),
    )


def read_definition(statement: str) -> Definition | None:
    """The materialized view or type that a statement creates, or None. Raises OptionError."""
    reader = _Reader(statement)
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
    parts, start, end = named
    if kind == "type" and reader.next == len(reader.tokens):
        return None  # a shell type
    name = Name(parts[-2] if len(parts) > 1 else None, parts[-1])
    body, populate = statement[end:], True
    words = [token.text.lower() for token in reader.tokens[-3:]]
    if kind == "materialized view" and (words == ["with", "no", "data"] or words[-2:] == ["with", "data"]):
        populate = words[-2] != "no"
        body = statement[end : reader.tokens[-2 if populate else -3].start]
    return Definition(kind, name, statement[:start], body, populate, parts[0] if len(parts) == 3 else "")


def _created(text: str, *words: tuple[str, ...]) -> list[list[str]]:
    """The names after these words. What stands in strings and function bodies does not count."""
    reader, found = _Reader(text), []
    while reader.next < len(reader.tokens):
        if any(reader.take(*beginning) for beginning in words):
            named = reader.name()
            found += [named[0]] if named else []
        else:
            reader.next += 1
    return found


def replaced_views(text: str) -> list[Name]:
    """The views that a script may replace."""
    replace = ("create", "or", "replace")
    found = _created(text, (*replace, "view"), (*replace, "recursive", "view"))
    return [Name(parts[-2] if len(parts) > 1 else None, parts[-1]) for parts in found]


def wanted(text: str, kind: str) -> list[str]:
    """The schemas or extensions that a script creates unless they exist, which leaves no trace where they do."""
    return [parts[-1] for parts in _created(text, ("create", kind, "if", "not", "exists"))]


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
