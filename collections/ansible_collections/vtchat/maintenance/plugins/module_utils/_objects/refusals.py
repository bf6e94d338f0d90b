# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Statements that are refused before the server sees them: they leave no trace by which it could tell what they did."""

from __future__ import annotations

import re

from .scripts import Script, Statement

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
MAY_SET = ("set", "reset", "select", "with", "values", "do", "call")
_SETS_LIMIT = re.compile(
    r"\b(re)?set\s+((local|session)\s+)?(lock_timeout|all)\b|set_config\s*\(\s*'+lock_timeout", re.IGNORECASE
)
_NUMBERS = ("nextval", "setval")


def faults(script: Script) -> list[tuple[int, str]]:
    """Statements of a script that are refused: the line of each, from 1, with the right place for it. Raises Unclosed."""
    if "\0" in script.sql:
        return [(script.line_at(script.sql.index("\0")), "there is a NUL byte, which SQL cannot have")]
    found = [(statement.line, _reason(statement)) for statement in script.statements]
    return [(line, reason) for line, reason in found if reason]


def _reason(statement: Statement) -> str:
    """Why a statement is refused, "" if it is not."""
    words = statement.words
    if statement.begins("copy"):
        psql = "from" in words and words[words.index("from") + 1 :][:1] == ["stdin"]
        what = "COPY … FROM stdin, with its data after it, is for psql and not SQL, and " if psql else "COPY "
        return what + ROWS
    for length in (3, 2, 1):
        reason = _REFUSED.get(tuple(words[:length]))
        if reason:
            return f"{' '.join(words[:length]).upper()} {reason}"
    exists = [n for n, word in enumerate(words) if words[n : n + 3] == ["if", "not", "exists"]]
    if statement.begins("create") and exists and exists[0] < 5 and words[1] not in _COMPARED:
        return f"{' '.join(words[: exists[0]]).upper()} IF NOT EXISTS {MIGRATION}"
    if statement.begins("alter", "table") and exists:
        return f"ALTER TABLE … IF NOT EXISTS {MIGRATION}"
    return _hidden(statement)


def _hidden(statement: Statement) -> str:
    """What would take effect without a trace, or take our limits away, within a statement."""
    strings = [token.text for token in statement.tokens if token.kind == "string"]
    names = [token.name() for token in statement.tokens if token.kind in ("word", "quoted")]
    if statement.words[0] in MAY_SET:
        numbers = next((name for name in names if name in _NUMBERS), "")
        if numbers:
            return f"{numbers} changes a sequence, which is never undone: use a migration"
    if "track_counts" in map(str.lower, names) or any("track_counts" in text.lower() for text in strings):
        return "track_counts is what tells which rows a script changes: leave it out"
    if statement.begins("do") and any(_SETS_LIMIT.search(text) for text in strings):
        return (
            "lock_timeout is set in a DO block: how long locks are waited for is not the script's to say; leave it out"
        )
    return ""


def lasting(script: Script) -> bool:
    """Whether a script has a statement that may define something, though it need not have an effect."""
    words = ("create", "alter", "drop", "comment", "grant", "revoke", "security", "reassign", "do")
    return any(
        statement.words[0] in words and not {"temp", "temporary"} & set(statement.words[:5])
        for statement in script.statements
    )


def warns(script: Script) -> bool:
    """Whether a script says of itself that it raises warnings."""
    strings = (token.text for token in script.tokens if token.kind == "string")
    return any(re.search(r"\braise\s+warning\b", string, re.IGNORECASE) for string in strings)
