# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How to change a type that is in use, without losing what is stored in it: the statements, where there are some."""

from __future__ import annotations

from typing import Any


def keeping(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """Statements that make the old type the new one. name: as SQL needs it. old, new: from the query PARTS."""
    found: list[str] | None = None
    if old["type"] == new["type"] == "e":
        found = _enum(name, old["labels"] or [], new["labels"] or [])
    elif old["type"] == new["type"] == "d" and old["base"] == new["base"]:
        found = _domain(name, old, new)
    elif old["type"] == new["type"] == "c":
        found = _composite(name, old["attributes"] or [], new["attributes"] or [])
    if found:
        return "; ".join(found)
    return (
        f"create the new type beside {name}, give each column the new type with "
        "ALTER TABLE … ALTER COLUMN … TYPE … USING (its value as text, cast to the new type), drop the old type, "
        "rename the new one"
    )


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def _enum(name: str, old: list[str], new: list[str]) -> list[str] | None:
    """A value can be added anywhere and renamed, but never removed or moved."""
    if [label for label in new if label in old] == old:
        return [_added(name, label, new, n, old) for n, label in enumerate(new) if label not in old]
    if len(old) == len(new) and all(
        one == other or (one not in new and other not in old) for one, other in zip(old, new)
    ):
        return [
            f"ALTER TYPE {name} RENAME VALUE {_literal(one)} TO {_literal(other)}"
            for one, other in zip(old, new)
            if one != other
        ]
    return None


def _added(name: str, label: str, new: list[str], n: int, old: list[str]) -> str:
    """Values come in the order of the new type, so the one before is always there already."""
    place = ""
    if n:
        place = f" AFTER {_literal(new[n - 1])}"
    elif old:
        place = f" BEFORE {_literal(old[0])}"
    return f"ALTER TYPE {name} ADD VALUE {_literal(label)}{place}"


def _domain(name: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found, was, will = [], old["constraints"] or {}, new["constraints"] or {}
    if old["default"] != new["default"]:
        found.append("DROP DEFAULT" if new["default"] is None else f"SET DEFAULT {new['default']}")
    if old["not_null"] != new["not_null"]:
        found.append("SET NOT NULL" if new["not_null"] else "DROP NOT NULL")
    found += [f"ADD {text}" for text in will.values() if text not in was.values()]
    found += [f"DROP CONSTRAINT {key}" for key, text in was.items() if text not in will.values()]
    return [f"ALTER DOMAIN {name} {change}" for change in found]


def _composite(name: str, old: list[list[str]], new: list[list[str]]) -> list[str] | None:
    """New attributes come last."""
    was, will = {one[0]: one[1] for one in old}, {one[0]: one[1] for one in new}
    kept = [key for key in was if key in will]
    if [*kept, *(key for key in will if key not in was)] != list(will):
        return None
    found = [f"DROP ATTRIBUTE {key}" for key in was if key not in will]
    found += [f"ALTER ATTRIBUTE {key} TYPE {will[key]}" for key in kept if was[key] != will[key]]
    found += [f"ADD ATTRIBUTE {key} {text}" for key, text in will.items() if key not in was]
    return [f"ALTER TYPE {name} {change}" for change in found]
