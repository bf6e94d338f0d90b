# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of index_info."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._checks.review.unused import UNUSED_AFTER
from ..._errors import OptionError
from ..._postgres.connect import ConnectionOptions
from ..._postgres.selection import SELECTION, Selection
from ..._postgres.selection import read as read_selection
from ..._spec import Spec
from ..._units import read_age

EVERYTHING = "*"
DROP, UNDO = "drop", "undo"

SPEC = Spec({
    "include": {**SELECTION.options["include"], "default": [EVERYTHING]},
    "exclude": SELECTION.options["exclude"],
    "min_size": SELECTION.options["min_size"],
    "unused_after": {"type": "str", "default": "35d"},
    "replicas": {"type": "list", "elements": "str", "no_log": True},
    "drop_script": {"type": "str"},
    "undo_script": {"type": "str"},
})  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What is looked at.

    selection     of tables and indexes; its min_size is that of indexes
    unused_after  seconds
    replicas      how the standbys are reached; their texts, for tls: private
    drop, undo    paths of the scripts, "" for none
    """

    selection: Selection = field(default_factory=lambda: Selection(include=(EVERYTHING,)))
    unused_after: float = UNUSED_AFTER
    replicas: Sequence[str] = field(default=(), repr=False)
    drop: str = ""
    undo: str = ""


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError with all faults."""
    faults: list[str] = []
    selection = read_selection({"include": [EVERYTHING], **given}, faults)
    after = read_age("unused_after", given.get("unused_after") or "35d", faults)
    replicas = given.get("replicas") or []
    for number, text in enumerate(replicas, 1):
        try:
            connection(text, private=False, deadline=0)
        except OptionError as error:
            faults += [f"replicas[{number}]: {fault.removeprefix('dsn: ')}" for fault in error.errors]
    drop, undo = _scripts(given.get("drop_script"), given.get("undo_script"), faults)
    if faults:
        raise OptionError(faults)
    return Options(selection, after, tuple(replicas), drop, undo)


def connection(text: str, private: bool, deadline: float) -> ConnectionOptions:
    """How a standby is reached. Raises OptionError."""
    if not text.strip():
        raise OptionError(["dsn: it is empty"])
    return ConnectionOptions.read(text, "private" if private else "require", deadline)


def _scripts(drop: str | None, undo: str | None, faults: list[str]) -> tuple[str, str]:
    """The paths. The name of the undo script follows from that of the other one where this says what it is."""
    if drop is None:
        if undo is not None:
            faults.append("undo_script: it undoes what drop_script does, and there is no drop_script")
        return "", ""
    folder, name = os.path.split(drop)
    if not name:
        faults.append(f"drop_script: {drop!r} is no file")
    if undo is None and name:
        if DROP not in name:
            faults.append(
                f"undo_script: say where it is to be: drop is no part of the name {name!r}, so that it is not clear"
            )
        undo = os.path.join(folder, UNDO.join(name.rsplit(DROP, 1)))
    elif undo is not None and (not os.path.basename(undo) or os.path.normpath(undo) == os.path.normpath(drop)):
        faults.append(f"undo_script: {undo!r} is no file beside drop_script")
    return drop, undo or ""
