# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading CREATE INDEX statements: those that people write as far as needed, those that the server prints in full."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from .._errors import OptionError
from .names import MAX_NAME_BYTES, Name, display, quote

_LETTER = "A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""(?P<space>\s+|--[^\n\r]*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>(?:[{_LETTER}][{_LETTER}0-9]*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")+")
    |(?P<word>[{_LETTER}][{_LETTER}0-9$]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_FORM = "write CREATE [UNIQUE] INDEX name ON table [USING method] (columns) and what else it needs"


@dataclass(frozen=True)
class Token:
    """A word, quoted name, string or sign of SQL, with its place. depth: how many brackets are open before it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    def says(self, word: str) -> bool:
        return self.kind in ("word", "other") and self.text.lower() == word


def tokens(text: str) -> list[Token]:
    """The tokens of SQL without comments and white space, by the server's rules. Raises OptionError for an open end."""
    found: list[Token] = []
    position = depth = 0
    while position < len(text):
        if text.startswith("/*", position):
            position = _comment_end(text, position)
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            break
        kind = "string" if match["string"] is not None else str(match.lastgroup)
        if kind == "other" and match[0] in "'\"":
            raise OptionError([f"definition: a quote is opened and not closed: {text[position : position + 20]}"])
        depth -= match[0] in ")]" and kind == "other"
        if kind != "space":
            found.append(Token(kind, match[0], match.start(), match.end(), depth))
        depth += match[0] in "([" and kind == "other"
        position = match.end()
    return found


def _comment_end(text: str, start: int) -> int:
    """Where a comment ends; comments nest."""
    level = 0
    for match in _COMMENT_MARK.finditer(text, start):
        level += 1 if match[0] == "/*" else -1
        if level == 0:
            return match.end()
    raise OptionError(["definition: a comment is opened and not closed"])


@dataclass(frozen=True)
class Definition:
    """A CREATE INDEX statement, taken apart as far as needed.

    tail             everything after the table's name
    says_tablespace  whether it has an opinion about where the index is stored
    """

    name: str
    table: Name
    unique: bool
    tail: str
    says_tablespace: bool


def read(text: str) -> Definition:
    """The one CREATE INDEX statement in a text. Raises OptionError."""
    found = tokens(text)
    while found and found[-1].says(";"):
        found.pop()
    if any(token.says(";") for token in found):
        raise OptionError(["definition: is more than one statement"])
    head, body, table_end = _head(found)
    if head["only"]:
        raise OptionError(["definition: leave out ONLY; partitions get their part of the index"])
    rest = body[1:] if body and body[0].says("using") else body
    rest = rest[1:] if rest is not body else rest
    if not rest or not rest[0].says("("):
        raise OptionError([f"definition: {_FORM}"])
    before_where = _until_where(body)
    tail = text[table_end : found[-1].end].strip()
    return Definition(
        head["name"], head["table"], head["unique"], tail, any(t.says("tablespace") for t in before_where)
    )


def _head(found: list[Token]) -> tuple[dict[str, Any], list[Token], int]:
    """What stands before the columns: flags and names, the tokens after it, and where it ends in the text."""
    position = 0

    def take(*words: str) -> bool:
        nonlocal position
        ahead = found[position : position + len(words)]
        matches = len(ahead) == len(words) and all(token.says(word) for token, word in zip(ahead, words))
        position += len(words) if matches else 0
        return matches

    def name() -> list[str]:
        nonlocal position
        parts: list[str] = []
        while position < len(found) and found[position].kind in ("word", "quoted"):
            parts.append(_literal(found[position]))
            position += 1
            if not take("."):
                return parts
        return parts

    if not take("create"):
        raise OptionError([f"definition: {_FORM}"])
    unique = take("unique")
    if not take("index"):
        raise OptionError([f"definition: {_FORM}"])
    take("concurrently")
    take("if", "not", "exists")
    index = [] if position < len(found) and found[position].says("on") else name()
    if not index:
        raise OptionError([f"definition: the index needs a name: {_FORM}"])
    if len(index) > 1:
        raise OptionError(
            ["definition: an index is always in the schema of its table; leave out the schema of its name"]
        )
    if not take("on"):
        raise OptionError([f"definition: {_FORM}"])
    only = take("only")
    table = name()
    if not 1 <= len(table) <= 2:
        raise OptionError([f"definition: {_FORM}"])
    too_long = [part for part in (*index, *table) if len(part.encode()) > MAX_NAME_BYTES]
    if too_long:
        raise OptionError([f"definition: {too_long[0]!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit"])
    facts = {"name": index[0], "unique": unique, "only": only}
    facts["table"] = Name(table[0] if len(table) == 2 else None, table[-1])
    return facts, found[position:], found[position - 1].end


def _literal(token: Token) -> str:
    """The name that a token means: the server folds ASCII letters that are not quoted."""
    if token.kind == "quoted":
        return token.text[1:-1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in token.text)


def _until_where(body: list[Token]) -> list[Token]:
    """The tokens outside of brackets before the condition."""
    outside = [token for token in body if token.depth == 0]
    end = next((i for i, token in enumerate(outside) if token.says("where")), len(outside))
    return outside[:end]


@dataclass(frozen=True)
class Shape:
    """All of an index but its names, as the server prints it; two indexes are alike if their shapes are equal.

    columns    method, columns, included columns, NULLS NOT DISTINCT
    options    storage parameters, sorted: their order means nothing
    where      the condition with its WHERE, "" without
    """

    unique: bool
    columns: str
    options: tuple[str, ...] = ()
    where: str = ""

    @property
    def body(self) -> str:
        """What stands between the table's name and the tablespace."""
        return f"{self.columns} WITH ({', '.join(self.options)})" if self.options else self.columns

    def text(self, schema: str, name: str, table: str) -> str:
        """The statement, for people."""
        kind = "UNIQUE INDEX" if self.unique else "INDEX"
        return f"CREATE {kind} {quote(name)} ON {display(schema, table)} {self.body} {self.where}".rstrip()


def shape(printed: str) -> Shape:
    """The shape from what pg_get_indexdef() printed."""
    head, body, start = _head(tokens(printed))
    outside = [token for token in body if token.depth == 0]
    end = len(printed)
    where = next((token for token in outside if token.says("where")), None)
    if where is not None:
        end = where.start
    options: tuple[str, ...] = ()
    columns_end = end
    before = _until_where(body)
    for token, after in zip(before, before[1:]):
        if token.says("with") and after.says("("):
            columns_end, options = token.start, _options(printed, body, after)
            break
    return Shape(head["unique"], printed[start:columns_end].strip(), options, printed[end:].strip())


def _options(printed: str, body: list[Token], opening: Token) -> tuple[str, ...]:
    """The storage parameters that follow an opening bracket, sorted."""
    found: list[str] = []
    start = opening.end
    for token in body:
        if token.start > opening.start and ((token.depth == 1 and token.says(",")) or token.depth == 0):
            found.append(printed[start : token.start].strip())
            start = token.end
            if token.depth == 0:
                break
    return tuple(sorted(found))


def working_name(name: str, part: str = "", turn: int = 0) -> str:
    """The name under which an index is built before it takes the place of another, or that of a partition's part.

    It follows from the index's name, so that the next run knows what an interrupted one has left behind. ``part`` is
    the partition; ``turn`` 1 is for a partition where an index that is in use has the name of turn 0.
    """
    digest = hashlib.sha256("\0".join(("vtchat.maintenance", name, part, str(turn))).encode()).hexdigest()[:8]
    room = MAX_NAME_BYTES - len(digest) - 1
    stem = f"{name}_{part or 'new'}".encode()[:room].decode(errors="ignore")
    return f"{stem}_{digest}"
