# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Scripts in the form in which the program on the server takes them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from .._errors import OptionError
from .._postgres.index_definition import Definition as IndexDefinition
from .._postgres.names import Name
from .definitions import replaced_views, unless_they_exist
from .parts import Part, parts
from .program import LIMITS
from .scripts import Script, mark

SCRIPT = "script"


def future_index(number: int, definition: IndexDefinition) -> dict[str, Any]:
    """An index for the program."""
    table, unique = _quoted(definition.table), "UNIQUE " if definition.unique else ""
    text = f"CREATE {unique}INDEX {_quoted(Name(None, definition.name))} ON {table} {definition.tail}"
    return {"number": number, "name": definition.name, "table": table, "sql": text}


def steps_of(number: int, script: Script) -> list[dict[str, Any]]:
    """A script for the program: one step for each definition in it, or one for all."""
    try:
        return [_step(number, part) for part in parts(script, LIMITS)]
    except OptionError as error:
        raise OptionError([f"{script.name}: {message}" for message in error.errors]) from None


def _step(number: int, part: Part) -> dict[str, Any]:
    marker, definition = mark(number), part.definition
    common = {
        "number": number,
        "views": [_quoted(name) for name in replaced_views(part.statements)],
        "schemas": unless_they_exist(part.statements, "schema"),
        "extensions": unless_they_exist(part.statements, "extension"),
        "prelude": part.prelude,
    }
    if definition is None:
        return {**common, "kind": SCRIPT, "text": marker + part.text}
    return {
        **common,
        "kind": definition.kind,
        "catalog": definition.catalog or None,
        "schema": definition.name.schema,
        "name": definition.name.name,
        # Nobody can have taken it, and the next installation knows it by its beginning.
        "built": f"vtchat.maintenance new {secrets.token_hex(4)}",
        "comment": f"vtchat.maintenance: built to take the place of {definition.name}; if it is still there, the next "
        "installation removes it",
        "head": marker + part.before + definition.head,
        "body": definition.body,
        "with": "" if definition.populate else " WITH NO DATA",
        "tail": part.tail,
        "rest": marker + part.text,
        "pad": "\n" * part.tail.count("\n"),
        "ready": False,
    }


def refuse_twice(scripts: Sequence[Script], steps: Sequence[dict[str, Any]]) -> None:
    """What has no OR REPLACE cannot be one thing and then another. Raises OptionError."""
    known: dict[tuple[str, ...], int] = {}
    for step in steps:
        if step["kind"] != SCRIPT:
            name = (step["kind"], step["schema"] or "", step["name"])
            if name in known:
                first, second = scripts[known[name]].name, scripts[step["number"]].name
                where = "twice" if first == second else f"in {first} too"
                raise OptionError([f"{second}: the {name[0]} {step['name']} is defined {where}"])
            known[name] = step["number"]


def _quoted(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (name.schema, name.name) if part is not None)
