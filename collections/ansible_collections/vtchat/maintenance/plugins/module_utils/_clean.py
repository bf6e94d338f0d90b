# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Text that may come from anywhere, made fit for a terminal or log."""

from __future__ import annotations

import re
import unicodedata
from typing import Any


def visible(value: Any) -> str:
    r"""The text on one line, control, format and separator characters made visible as \n, \x1b, \u202e."""
    return "".join(_visible(character) for character in str(value))


def clean(value: Any) -> str:
    r"""The same, fit for a log.

    The two marks of GitHub workflow commands are broken up as well: ``::`` at the start of a word (a wrapped line may
    begin there, and the runner trims lines before it looks) and ``##[``, which the runner takes anywhere.
    """
    text = visible(value)
    # Runs of three and more go altogether, so that _pieces can always step back over a pair.
    text = re.sub(r":{3,}", lambda run: "\\x3a" * len(run.group()), text)
    text = re.sub(r"(?<!\S)::", r"\\x3a:", text)
    return text.replace("##[", "#\\x23[")


def _visible(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"):
        return character
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if short:
        return short
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
