# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What statements create, as far as the program must know before the server sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._errors import OptionError
from .._postgres.lexer import Cursor
from .._postgres.names import Name
from .scripts import Statement

MATERIALIZED_VIEW, TYPE = "materialized view", "type"
# Kinds of which a definition is compared, by the words that name them in CREATE and DROP.
KINDS = {("materialized", "view"): MATERIALIZED_VIEW, ("type",): TYPE, ("domain",): TYPE}


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


def take_kind(cursor: Cursor, verb: str) -> str:
    """Go past CREATE or DROP and the kind; "" for another statement."""
    return next((kind for words, kind in KINDS.items() if cursor.take(verb, *words)), "")


def take_name(cursor: Cursor) -> tuple[Name, str] | None:
    """Go past a name: what it is in its database, and the database that it says. None if it has too many or too few parts."""
    parts = cursor.name()
    if not 1 <= len(parts) <= 3:
        return None
    return Name(parts[-2] if len(parts) > 1 else None, parts[-1]), parts[0] if len(parts) == 3 else ""


def read_definition(statement: Statement) -> Definition | None:
    """The materialized view or type that a statement creates, or None. Raises OptionError."""
    cursor = Cursor(statement.tokens)
    kind = take_kind(cursor, "create")
    if not kind:
        return None
    if kind == MATERIALIZED_VIEW:
        cursor.take("if", "not", "exists")
    first = cursor.next
    named = take_name(cursor)
    if first is None or named is None:
        raise OptionError([f"the {kind} needs a name"])
    if kind == TYPE and cursor.next is None:
        return None  # a shell type
    populate, end = True, statement.end
    if kind == MATERIALIZED_VIEW and statement.words[-2:] == ["with", "data"]:
        end = statement.tokens[-2].start
    elif kind == MATERIALIZED_VIEW and statement.words[-3:] == ["with", "no", "data"]:
        populate, end = False, statement.tokens[-3].start
    head = statement.text[: first.start - statement.start]
    body = statement.text[statement.tokens[cursor.position - 1].end - statement.start : end - statement.start]
    return Definition(kind, named[0], head, body, populate, named[1])


def _created(statements: Sequence[Statement], *beginnings: tuple[str, ...]) -> list[Name]:
    """The names after these words. What stands in strings and function bodies does not count."""
    found = []
    for statement in statements:
        cursor = Cursor(statement.tokens)
        while cursor.next is not None:
            if any(cursor.take(*beginning) for beginning in beginnings):
                named = take_name(cursor)
                found += [named[0]] if named else []
            else:
                cursor.position += 1
    return found


def replaced_views(statements: Sequence[Statement]) -> list[Name]:
    """The views that statements may replace."""
    replace = ("create", "or", "replace")
    return _created(statements, (*replace, "view"), (*replace, "recursive", "view"))


def unless_they_exist(statements: Sequence[Statement], kind: str) -> list[str]:
    """The schemas or extensions that are created unless they exist, which leaves no trace where they do."""
    return [name.name for name in _created(statements, ("create", kind, "if", "not", "exists"))]
