# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where scripts come from: options and files."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from .._errors import OptionError
from .scripts import Script

BYTE_ORDER_MARK = "\ufeff"


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """The arguments as a user wrote them, with the text of files instead of their names. Raises OptionError."""

    def text(one: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(one, dict) or not isinstance(one.get("src"), str) or one.get("sql") is not None:
            return one
        rest = {key: value for key, value in one.items() if key != "src"}
        return {"name": one["src"], **rest, "sql": decoded(one["src"], read(one["src"]))}

    scripts = arguments.get("scripts")
    if isinstance(scripts, list):
        arguments = {**arguments, "scripts": [text(script) for script in scripts]}
    return text(arguments)


def given_scripts(parameters: Mapping[str, Any]) -> list[Script]:
    """The scripts, with a name each. A file that nobody has read yet lies on this machine. Raises OptionError."""
    scripts = parameters["scripts"]
    if scripts is None:
        scripts = [{key: parameters[key] for key in ("name", "sql", "src")}]
    found = []
    for number, one in enumerate(scripts, 1):
        read_in = with_files({key: value for key, value in one.items() if value is not None}, _read_here)
        name = read_in.get("name") or ("sql" if len(scripts) == 1 else f"scripts[{number}]")
        found.append(Script(name, read_in["sql"].lstrip(BYTE_ORDER_MARK)))
    return found


def _read_here(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OptionError([f"src: cannot read {path}: {error}"]) from None


def decoded(path: str, content: bytes) -> str:
    """The text of a file in UTF-8, with or without byte order mark. Raises OptionError that names the file and the line."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise OptionError([f"src: {path} is in UTF-16: save it in UTF-8"])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"{content[error.start]:02X}"
        raise OptionError([f"src: {path}:{line}: byte 0x{byte} is not UTF-8: save the file in UTF-8"]) from None
    return text.lstrip(BYTE_ORDER_MARK).replace("\r\n", "\n")
