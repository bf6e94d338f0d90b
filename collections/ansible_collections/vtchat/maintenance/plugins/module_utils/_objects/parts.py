# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Cutting a script where something is created that cannot be replaced. Everything stays on its line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .._postgres.lexer import Cursor
from .definitions import Definition, read_definition, take_kind, take_name
from .refusals import MAY_SET
from .scripts import Script, Statement


@dataclass(frozen=True)
class Part:
    """A part of a script that is tried out by itself: it begins with a definition, or has none.

    prelude     the settings that the script makes before it
    before      the script up to the definition, of which nothing is left but settings and line ends
    text        the script without the definition and what other parts consist of; what follows this definition comes last
    tail        the lines of text from the end of the definition on
    statements  those in text
    """

    definition: Definition | None
    prelude: str
    before: str
    text: str
    tail: str
    statements: Sequence[Statement] = field(default=())


def parts(script: Script, limits: str) -> list[Part]:
    """A script, cut before each definition. ``limits`` comes after what may set something.

    Raises OptionError for a definition that cannot be read.
    """
    text, found = script.sql, script.statements
    definitions = [(n, read_definition(statement)) for n, statement in enumerate(found)]
    cuts = [(n, definition) for n, definition in definitions if definition is not None]
    idle = {n for n, statement in enumerate(found) if _drops(statement, [one for k, one in cuts if k > n])}
    settings = [n for n, statement in enumerate(found) if _is_setting(statement)]
    result = []
    first = cuts[0][0] if cuts else len(found)
    if first > 0 or not found:
        kept = [n for n in range(first) if n not in idle]
        if not cuts or any(n not in settings for n in kept):  # settings alone are the prelude of what follows
            statements = [found[n] for n in kept]
            result.append(Part(None, "", "", _kept(text, statements, limits), "", statements))
    for (n, definition), following in zip(cuts, [*(n for n, _definition in cuts[1:]), len(found)]):
        before = [found[k] for k in settings if k < n]
        statements = [*before, *(found[k] for k in range(n + 1, following) if k not in idle)]
        rest = _kept(text, statements, limits)
        result.append(
            Part(
                definition=definition,
                prelude="; ".join(statement.text for statement in before),
                before=_kept(text[: found[n].start], before, limits),
                text=rest,
                tail="\n".join(rest.split("\n")[script.line_at(found[n].end) - 1 :]),
                statements=statements,
            )
        )
    return result


def _is_setting(statement: Statement) -> bool:
    """Whether a statement does nothing but set something for the session."""
    sets = statement.begins("select", "set_config", "(") or statement.begins(
        "select", "pg_catalog", ".", "set_config", "("
    )
    return statement.words[0] in ("set", "reset") or (sets and statement.words.count("(") == 1)


def _drops(statement: Statement, later: list[Definition]) -> bool:
    """Whether a statement drops what is defined later in the same script: that is compared, and replaced where it differs."""
    cursor = Cursor(statement.tokens)
    kind = take_kind(cursor, "drop")
    if not kind:
        return False
    cursor.take("if", "exists")
    named = take_name(cursor)
    if not cursor.take("cascade"):
        cursor.take("restrict")
    if named is None or cursor.next is not None:  # several names are not one definition
        return False
    return any((kind, named[0]) == (one.kind, one.name) for one in later)


def _kept(text: str, kept: Sequence[Statement], limits: str) -> str:
    """A text with everything blank but these statements, each ended by a semicolon; lines stay."""
    pieces, position = [], 0
    for statement in kept:
        pieces.append(_blank(text[position : statement.start]))
        pieces.append(statement.text + ";")
        if statement.words[0] in MAY_SET:
            pieces.append(limits)
        position = statement.end
    return "".join(pieces) + _blank(text[position:])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
