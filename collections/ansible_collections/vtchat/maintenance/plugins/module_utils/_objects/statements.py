# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the statements of a script are, before the server sees it: those that leave no trace by which the server could tell
what they did are refused, and a script is cut where something is created that cannot be replaced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._postgres.scripts import Definition, Token, read_definition, spans, tokens

ROWS = "changes rows: scripts define objects, and what they do to rows could not be repeated; use a migration"
PASSING = "has no lasting effect: leave it out"
LOCKS = "is not needed: all scripts are one transaction, and each statement takes the locks that it needs"
STATISTICS = "is what the module analyze is for"
INDEX = "is what the module index is for"
ROLES = "is for whoever runs the server; the module maintainer makes the role that does the maintenance"
SERVER = "is for whoever runs the server"
MIGRATION = "cannot be compared: use a migration"

# Statements that leave nothing to compare, or not always, by how they begin.
_REFUSED: dict[tuple[str, ...], str] = {
    ("insert",): ROWS,
    ("update",): ROWS,
    ("delete",): ROWS,
    ("merge",): ROWS,
    ("truncate",): ROWS,
    ("refresh",): "is what the module refresh is for",
    ("analyze",): STATISTICS,
    ("analyse",): STATISTICS,
    ("cluster",): "rewrites a table while everybody waits: do it by hand",
    ("reindex",): INDEX,
    ("create", "index"): INDEX,
    ("create", "unique", "index"): INDEX,
    ("lock",): LOCKS,
    ("notify",): "is sent in each run, whether something changes or not: leave it out",
    ("checkpoint",): SERVER,
    ("load",): SERVER,
    ("alter", "system"): SERVER,
    ("create", "role"): ROLES,
    ("create", "user"): ROLES,
    ("create", "group"): ROLES,
    ("alter", "role"): ROLES,
    ("alter", "user"): ROLES,
    ("alter", "group"): ROLES,
    ("drop", "role"): ROLES,
    ("drop", "user"): ROLES,
    ("drop", "group"): ROLES,
    ("create", "user", "mapping"): MIGRATION,
    ("alter", "user", "mapping"): MIGRATION,
    ("drop", "user", "mapping"): MIGRATION,
    ("create", "database"): SERVER,
    ("alter", "database"): SERVER,
    ("drop", "database"): SERVER,
    ("create", "tablespace"): SERVER,
    ("alter", "tablespace"): SERVER,
    ("drop", "tablespace"): SERVER,
    ("create", "subscription"): MIGRATION,
    ("alter", "subscription"): MIGRATION,
    ("drop", "subscription"): MIGRATION,
    ("import", "foreign", "schema"): MIGRATION,
    ("set", "transaction"): LOCKS,
    ("set", "constraints"): PASSING,
    ("set", "session", "characteristics"): PASSING,
}
_REFUSED.update(
    {
        (word,): PASSING
        for word in "close deallocate declare discard execute explain fetch listen move prepare show unlisten".split()
    }
)
# IF NOT EXISTS says nothing about an object that is there: whether it is what the script says cannot be told. A schema and an
# extension have nothing but a name, and a materialized view is compared.
_COMPARED = ("schema", "extension", "materialized")
# After these the limits are set again.
_MAY_SET = ("set", "reset", "select", "with", "values", "do", "call")
_DROPS = {
    ("drop", "materialized", "view"): "materialized view",
    ("drop", "type"): "type",
    ("drop", "domain"): "domain",
}
_SETS_LIMIT = re.compile(
    r"\b(re)?set\s+((local|session)\s+)?(lock_timeout|all)\b|set_config\s*\(\s*'+lock_timeout", re.IGNORECASE
)
_NUMBERS = ("nextval", "setval")


@dataclass(frozen=True)
class Part:
    """A part of a script that is tried out by itself: it begins with a definition, or has none.

    prelude  the settings that the script makes before it
    before   the script up to the definition, of which nothing is left but settings and line ends
    text     the script without the definition and what other parts consist of; what follows this definition comes last
    tail     the lines of text from the end of the definition on
    """

    definition: Definition | None
    prelude: str
    before: str
    text: str
    tail: str


def faults(text: str) -> list[tuple[int, str]]:
    """Statements of a script that are refused: the line of each, from 1, with the right place for it."""
    found = []
    if "\0" in text:
        return [(text.count("\n", 0, text.index("\0")) + 1, "there is a NUL byte, which SQL cannot have")]
    for start, end in spans(text):
        reason = _reason(list(tokens(text[start:end])))
        if reason:
            found.append((text.count("\n", 0, start) + 1, reason))
    return found


def _reason(statement: list[Token]) -> str:
    """Why a statement is refused, "" if it is not."""
    words = [token.text.lower() if token.kind == "word" else "" for token in statement]
    if words[0] == "copy":
        psql = "from" in words and words[words.index("from") + 1 :][:1] == ["stdin"]
        told = "COPY … FROM stdin, with its data after it, is for psql and not SQL, and " if psql else "COPY "
        return told + ROWS
    for length in (3, 2, 1):
        reason = _REFUSED.get(tuple(words[:length]))
        if reason:
            return f"{' '.join(words[:length]).upper()} {reason}"
    exists = [n for n, word in enumerate(words) if words[n : n + 3] == ["if", "not", "exists"]]
    if words[0] == "create" and exists and exists[0] < 5 and words[1] not in _COMPARED:
        return f"{' '.join(words[: exists[0]]).upper()} IF NOT EXISTS {MIGRATION}"
    if words[:2] == ["alter", "table"] and exists:
        return f"ALTER TABLE … IF NOT EXISTS {MIGRATION}"
    return _hidden(statement, words)


def _hidden(statement: list[Token], words: list[str]) -> str:
    """What would take effect without a trace, or take our limits away, within a statement."""
    if words[0] in _MAY_SET:
        numbers = next((word for word in words if word in _NUMBERS), "")
        if numbers:
            return f"{numbers} changes a sequence, which is never undone: use a migration"
    if any(token.says("track_counts") or (token.kind == "string" and "track_counts" in token.text.lower())
           for token in statement):  # fmt: skip
        return "track_counts is what tells which rows a script changes: leave it out"
    if words[0] == "do" and any(token.kind == "string" and _SETS_LIMIT.search(token.text) for token in statement):
        return (
            "lock_timeout is set in a DO block: how long locks are waited for is not the script's to say; leave it out"
        )
    return ""


def _is_setting(statement: str) -> bool:
    """Whether a statement does nothing but set something for the session."""
    words = [token.text.lower() for token in tokens(statement)]
    function = words[1:3] == ["set_config", "("] or words[1:5] == ["pg_catalog", ".", "set_config", "("]
    return words[0] in ("set", "reset") or (words[0] == "select" and function and words.count("(") == 1)


def parts(text: str, limits: str) -> list[Part]:
    """A script, cut before each definition. Everything stays on its line. ``limits`` comes after what may set something.

    Raises OptionError for a definition that cannot be read.
    """
    found = list(spans(text))
    definitions = [(n, read_definition(text[start:end])) for n, (start, end) in enumerate(found)]
    cuts = [(n, definition) for n, definition in definitions if definition is not None]
    idle = {n for n, (start, end) in enumerate(found) if _drops(text[start:end], [one for k, one in cuts if k > n])}
    settings = [n for n, (start, end) in enumerate(found) if _is_setting(text[start:end])]
    result = []
    first = cuts[0][0] if cuts else len(found)
    if first > 0 or not found:
        kept = [n for n in range(first) if n not in idle]
        if not cuts or any(n not in settings for n in kept):  # settings alone are the prelude of what follows
            result.append(Part(None, "", "", _kept(text, found, kept, limits), ""))
    for (n, definition), following in zip(cuts, [*(n for n, _definition in cuts[1:]), len(found)]):
        before = [k for k in settings if k < n]
        start, end = found[n]
        rest = _kept(text, found, [*before, *(k for k in range(n + 1, following) if k not in idle)], limits)
        result.append(
            Part(
                definition=definition,
                prelude="; ".join(text[slice(*found[k])] for k in before),
                before=_kept(text[:start], found, before, limits),
                text=rest,
                tail="\n".join(rest.split("\n")[text.count("\n", 0, end) :]),
            )
        )
    return result


def _drops(statement: str, later: list[Definition]) -> bool:
    """Whether a statement drops what is defined later in the same script: that is compared, and replaced where it differs."""
    found = list(tokens(statement))
    words = [token.text.lower() for token in found]
    kind, length = next(((kind, len(words_of)) for words_of, kind in _DROPS.items() if tuple(words[: len(words_of)]) == words_of),
                        ("", 0))  # fmt: skip
    found = found[length + 2 * (words[length : length + 2] == ["if", "exists"]) :]
    if found and found[-1].text.lower() in ("cascade", "restrict"):
        found.pop()
    if not kind or not found:
        return False
    dropped = read_definition(f"create {kind} {statement[found[0].start : found[-1].end]} as x")
    return dropped is not None and any((dropped.kind, dropped.name) == (one.kind, one.name) for one in later)


def _kept(text: str, found: list[tuple[int, int]], kept: list[int], limits: str) -> str:
    """The script with everything blank but these statements, each ended by a semicolon; lines stay."""
    pieces, position = [], 0
    for n in kept:
        start, end = found[n]
        pieces.append(_blank(text[position:start]))
        pieces.append(text[start:end] + ";")
        if next(tokens(text[start:end])).text.lower() in _MAY_SET:
            pieces.append(limits)
        position = end
    return "".join(pieces) + _blank(text[position:])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def lasting(text: str) -> bool:
    """Whether a script has a statement that may define something, though it need not have an effect."""
    words = ("create", "alter", "drop", "comment", "grant", "revoke", "security", "reassign", "do")
    for start, end in spans(text):
        statement = [token.text.lower() for token in tokens(text[start:end])]
        if statement[0] in words and not {"temp", "temporary"} & set(statement[:5]):
            return True
    return False


def warns(text: str) -> bool:
    """Whether a script says of itself that it raises warnings."""
    strings = (token.text for token in tokens(text) if token.kind == "string")
    return any(re.search(r"\braise\s+warning\b", string, re.IGNORECASE) for string in strings)
