# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Text in columns of a terminal: widths, padding, wrapping. Pure."""

from __future__ import annotations

import re
import unicodedata


def width(text: str) -> int:
    """Columns that a terminal needs: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int, right: bool = False) -> str:
    """The text filled with spaces to so many columns; right: aligned to the right."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space


def wrap(text: str, columns: int, hanging: int = 0) -> list[str]:
    """Lines of at most so many columns, all but the first one ``hanging`` less. Broken at spaces where possible."""
    lines: list[str] = []
    line = ""
    for word in re.split(r"[ \u3000]+", text.strip()):
        room = columns - hanging if lines else columns
        if line and width(line) + 1 + width(word) <= room:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, columns - hanging)
        lines.extend(full)
    return [*lines, line] if line else lines


def _pieces(word: str, columns: int) -> list[str]:
    pieces = [""]
    used = 0
    for position, character in enumerate(word):
        needed = _columns(character)
        if used and used + needed > columns:
            # A line must not start with "::" (see clean): then the character before it starts the line.
            back = 1 if word[position : position + 2] == "::" and len(pieces[-1]) > 1 else 0
            carry = pieces[-1][len(pieces[-1]) - back :]
            pieces[-1] = pieces[-1][: len(pieces[-1]) - back]
            pieces.append(carry)
            used = width(carry)
        pieces[-1] += character
        used += needed
    return pieces
