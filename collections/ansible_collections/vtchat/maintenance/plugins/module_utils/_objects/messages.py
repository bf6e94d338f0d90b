# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Why a script cannot be installed, in words: what the server's message does not say, and what the program refuses."""

from __future__ import annotations

import re
from typing import Any

from .._errors import SqlError
from .._postgres.sqlstates import (
    DUPLICATE_COLUMN,
    DUPLICATE_FUNCTION,
    DUPLICATE_OBJECT,
    DUPLICATE_SCHEMA,
    DUPLICATE_TABLE,
    SYNTAX_ERROR,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
)
from .advice import keeping
from .scripts import Script

NOTHING = "it defines no function, view, trigger, type, schema, comment or privilege that would stay: there is nothing to compare"
_IN_FUNCTION = re.compile(r'function "?(?!inline_code_block)\w')
_NOT_REPEATABLE = (DUPLICATE_FUNCTION, DUPLICATE_TABLE, DUPLICATE_OBJECT, DUPLICATE_COLUMN, DUPLICATE_SCHEMA)


def hint(error: SqlError) -> str:
    """What the server's message does not say."""
    text = str(error)
    if error.sqlstate == SYNTAX_ERROR and 'near "\\"' in text:
        return ". Commands of psql, which begin with a backslash, are not SQL"
    if "CONCURRENTLY" in text:
        return ". Everything here is one transaction; the module index creates and removes indexes concurrently"
    if error.sqlstate in _NOT_REPEATABLE:
        return ". A script has to be one that can be run again: CREATE OR REPLACE, IF NOT EXISTS"
    if error.sqlstate in (UNDEFINED_FUNCTION, UNDEFINED_TABLE, UNDEFINED_OBJECT) and _IN_FUNCTION.search(error.context):
        return (
            ". From PostgreSQL 17 on materialized views and indexes are built with search_path = pg_catalog, pg_temp: "
            "qualify the names in the function, or give it a SET search_path"
        )
    if "transaction commands" in text:
        return ". All scripts are one transaction, which begins and ends by itself"
    return ""


def dependent(error: SqlError, script: Script) -> str:
    """The view that cannot be made anew, if the error is in one of these."""
    created = re.search(r"\*/(CREATE VIEW .*?)\s+(?:WITH \(|AS )", error.query or error.context, re.DOTALL)
    if created is None or created[1] in script.sql:
        return ""
    return f". This is about a view that depends on what is to be replaced: {created[1]}"


def refused(refusal: dict[str, Any]) -> str:
    """Why a script cannot be installed."""
    if refusal.get("place"):
        return _undefinable(refusal)
    if not refusal.get("conflict"):
        return str(refusal["message"])
    dependents = [*refusal["others"], *refusal["views"]]
    text = f"{refusal['object']} cannot be replaced: {refusal['message']}"
    if dependents:
        text += f"; these depend on it: {', '.join(dependents)}"
    advice = keeping(refusal["object"], *refusal["parts"]) if refusal.get("parts") else ""
    if advice:
        return f"{text}. What keeps the data: {advice}"
    if refusal["others"]:
        first = ", ".join(refusal["others"])
        return f"{text}. Of these only views can be made anew: drop {first} first, and create them afterwards"
    return f"{text}. With on_conflict: recreate it is dropped and made anew, with the views that depend on it"


def _undefinable(refusal: dict[str, Any]) -> str:
    """What would change about an object that no script may define, and where that belongs."""
    lines = [
        set("\n".join((one or {}).get(key) or "" for key in ("definition", "settings")).split("\n"))
        for one in (refusal["before"], refusal["after"])
    ]
    what = "; ".join(sorted(lines[1] - lines[0]) or sorted(lines[0] - lines[1]))
    difference = f" ({what})" if refusal["before"] and refusal["after"] and what else ""
    kind = "" if refusal["kind"] in refusal["object"] else f"{refusal['kind']} "
    return f"{kind}{refusal['object']}: objects of this kind cannot be defined here{difference}; {refusal['place']}"
