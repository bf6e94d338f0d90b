# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The names that REINDEX CONCURRENTLY gives to copies of indexes. Pure.

The server builds the new index as ``name_ccnew`` and renames the old one to ``name_ccold`` when they are swapped; where such a
name is taken it appends digits. Names that would be longer than 63 bytes are cut before the ending, never inside of a
character. Source: index_concurrently_create_copy(), ReindexRelationConcurrently(), ChooseRelationName(), makeObjectName().
"""

from __future__ import annotations

import re

from .names import MAX_NAME_BYTES

NEW, OLD = "_ccnew", "_ccold"
_ENDING = re.compile(rf"({NEW}|{OLD})\d*", re.ASCII)
LONGEST_CHARACTER = 4  # bytes, in any encoding of a server


def ending(name: str) -> tuple[str, str]:
    """A name without the ending that the server gave it, and the ending; ("", "") where it has none."""
    found = re.search(rf"{_ENDING.pattern}\Z", name, re.ASCII)
    return (name[: found.start()], found[0]) if found and found.start() else ("", "")


def belongs(name: str, name_bytes: int, to: str, to_bytes: int) -> bool:
    """Whether the server would have given this name to a copy of the index ``to``. Bytes are those of the server's encoding."""
    stem, end = ending(name)
    if not stem:
        return False
    if stem == to:
        return True
    if to_bytes + len(end) <= MAX_NAME_BYTES or not to.startswith(stem):
        return False
    next_character = 1 if to[len(stem)].isascii() else LONGEST_CHARACTER
    return name_bytes + next_character > MAX_NAME_BYTES
