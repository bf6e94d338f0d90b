# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How much of a report a page takes, whatever a database says: texts are cut here, lists where they are shown. Pure.

``room`` is 1 as a rule. A page that becomes too large all the same is made again with less of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_BYTES = 290_000  # of a page
ROOMS = (1.0, 0.5, 0.25, 0.1, 0.04, 0.01)
LONGEST = 300  # characters of a text
SHORTEST = 20
# By key: names are seen in many places, what is to be done is read as a whole, and of scripts only statements are left out.
LENGTHS = {
    "name": 100, "plan": 100, "operation": 100, "title": 100, "database": 100, "timezone": 100, "check": 100, "group": 100,
    "advice": 1000, "meaning": 500, "unreachable": 2000, "not_asked": 2000, "drop": 0, "undo": 0,
}  # fmt: skip
SCRIPT = 20_000  # characters
LEFT_OUT = "-- {} more lines are left out here: the module index_info writes all of them.\n"


def bounded(value: Any, room: float = 1.0, key: str = "") -> Any:
    """The same with every text at most as long as it may be, names of keys, too."""
    if isinstance(value, Mapping):
        return {cut(str(name), round(100 * room)): bounded(one, room, str(name)) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [bounded(one, room, key) for one in value]
    if not isinstance(value, str):
        return value
    longest = LENGTHS.get(key, LONGEST)
    return cut(value, round(longest * room)) if longest else script(value, round(SCRIPT * room))


def cut(text: str, longest: int) -> str:
    """A text that says by its last character that there was more."""
    longest = max(SHORTEST, longest)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def script(text: str, longest: int) -> str:
    """A script without its last statements, where it is too long: half a statement must not be run."""
    if len(text) <= longest:
        return text
    kept = text[: text.rfind(";\n", 0, longest) + 1]
    rest = text[len(kept) :].strip("\n")
    return f"{kept}\n{LEFT_OUT.format(rest.count(chr(10)) + 1)}".lstrip("\n")


def most(number: int, room: float) -> int:
    """How many of a list have room, at least one."""
    return max(1, round(number * room))
