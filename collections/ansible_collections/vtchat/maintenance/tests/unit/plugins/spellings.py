# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How programs write a text that they were given. Written without a look at the code that masks it."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

ENCODERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "stripped": str.strip,
    "one line": lambda text: " ".join(text.split()),
    "URL": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
    "browser": lambda text: quote(text, safe="!'()*"),
    "all but letters and digits": lambda text: "".join(
        character
        if character.isascii() and character.isalnum()
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    ),
    "lower percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "upper percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON twice": lambda text: json.dumps(json.dumps(text))[3:-3],
    "JSON for HTML": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "repr": lambda text: repr(text)[1:-1],
    "ascii": lambda text: ascii(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "shell": lambda text: shlex.quote(text)[1:-1] if shlex.quote(text) != text else text,
    "SQL": lambda text: text.replace("'", "''"),
    "identifier": lambda text: text.replace('"', '""'),
    "connection string": lambda text: text.replace("\\", "\\\\").replace("'", "\\'"),
    "HTML": html.escape,
    "text of HTML": lambda text: html.escape(text, quote=False),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 for URLs without padding": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
}


def spellings(text: str, shortest: int = 4) -> set[str]:
    """The text in every spelling that is not shorter."""
    return {spelt for encode in ENCODERS.values() if len(spelt := encode(text)) >= shortest}
