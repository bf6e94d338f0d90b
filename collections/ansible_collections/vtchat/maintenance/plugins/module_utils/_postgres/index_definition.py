# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading CREATE INDEX statements: those that people write as far as needed, those that the server prints in full."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .._errors import OptionError
from .lexer import Cursor, Token, tokens
from .names import MAX_NAME_BYTES, Name, display, quote

_FORM = "write CREATE [UNIQUE] INDEX name ON table [USING method] (columns) and what else it needs"


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


@dataclass(frozen=True)
class _Head:
    """What stands before the columns. end: where the table's name ends; body: the tokens after it."""

    name: str
    table: Name
    unique: bool
    only: bool
    end: int
    body: Sequence[Token]


def read(text: str) -> Definition:
    """The one CREATE INDEX statement in a text. Raises OptionError."""
    try:
        found = tokens(text)
    except OptionError as error:
        raise _wrong(str(error)) from None
    while found and found[-1].says(";"):
        found.pop()
    if any(token.says(";") for token in found):
        raise _wrong("is more than one statement")
    head = _head(found)
    if head.only:
        raise _wrong("leave out ONLY; partitions get their part of the index")
    columns = 2 if head.body and head.body[0].says("using") else 0
    if len(head.body) <= columns or not head.body[columns].says("("):
        raise _wrong(_FORM)
    says_tablespace = any(token.says("tablespace") for token in _until_where(head.body))
    return Definition(head.name, head.table, head.unique, text[head.end : found[-1].end].strip(), says_tablespace)


def _wrong(message: str) -> OptionError:
    return OptionError([f"definition: {message}"])


def _head(found: Sequence[Token]) -> _Head:
    """Read up to the table's name. Raises OptionError."""
    cursor = Cursor(found)
    unique = cursor.take("create", "unique", "index")
    if not unique and not cursor.take("create", "index"):
        raise _wrong(_FORM)
    cursor.take("concurrently")
    cursor.take("if", "not", "exists")
    index = [] if cursor.next is not None and cursor.next.says("on") else cursor.name()
    if not index:
        raise _wrong(f"the index needs a name: {_FORM}")
    if len(index) > 1:
        raise _wrong("an index is always in the schema of its table; leave out the schema of its name")
    if not cursor.take("on"):
        raise _wrong(_FORM)
    only = cursor.take("only")
    table = cursor.name()
    if not 1 <= len(table) <= 2:
        raise _wrong(_FORM)
    for part in (*index, *table):
        if len(part.encode()) > MAX_NAME_BYTES:
            raise _wrong(f"{part!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    name = Name(table[0] if len(table) == 2 else None, table[-1])
    return _Head(index[0], name, unique, only, found[cursor.position - 1].end, cursor.rest)


def _until_where(body: Sequence[Token]) -> list[Token]:
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
    head = _head(tokens(printed))
    where = next((token for token in head.body if token.depth == 0 and token.says("where")), None)
    end = where.start if where is not None else len(printed)
    options: tuple[str, ...] = ()
    columns_end = end
    before = _until_where(head.body)
    for token, after in zip(before, before[1:]):
        if token.says("with") and after.says("("):
            columns_end, options = token.start, _options(printed, head.body, after)
            break
    return Shape(head.unique, printed[head.end : columns_end].strip(), options, printed[end:].strip())


def _options(printed: str, body: Sequence[Token], opening: Token) -> tuple[str, ...]:
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


def is_working_name(name: str, table: str) -> bool:
    """Whether working_name() has given that name to an index of that table. One that was cut is known by its form alone."""
    found = re.fullmatch(r"(.+)_[0-9a-f]{8}", name, re.DOTALL)
    if found is None:
        return False
    if len(name.encode()) > MAX_NAME_BYTES - 4:
        return True
    for part in ("", table):
        stem = found[1].removesuffix(f"_{part or 'new'}")
        if stem != found[1] and name in (working_name(stem, part, turn) for turn in (0, 1)):
            return True
    return False
