# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Plans: named lists of steps, and which operations there are to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ._operations import analyze, index, purge, refresh
from ._sql import display, parse_name, quote

OPERATIONS: dict[str, ModuleType] = {"purge": purge, "refresh": refresh, "analyze": analyze, "index": index}


@dataclass(frozen=True)
class Step:
    """One operation with its validated options."""

    operation: str
    options: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The objects that the options name, as the user wrote them."""
        operation = OPERATIONS[self.operation]
        if hasattr(operation, "names"):
            return list(operation.names(self.options))
        names: list[str] = []
        for option in operation.NAME_OPTIONS:
            value = self.options.get(option)
            names += [value] if isinstance(value, str) else value or []
        return names

    @property
    def label(self) -> str:
        """What the step is about, for errors that come before its targets are known."""
        return ", ".join(self.names)

    def is_about(self, target: str) -> bool:
        """Whether a target, as history knows it, is what this step names; a step without names is about everything."""
        for name in map(parse_name, self.names):
            shown = quote(name.name) if name.schema is None else display(name.schema, name.name)
            if target == shown or (name.schema is None and target.endswith(f".{shown}")):
                return True
        return not self.names


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    budget    seconds for all of it
    on_error  continue | stop: what a failed step means for those after it
    history   whether the run is recorded
    """

    name: str
    steps: list[Step] = field(default_factory=list)
    budget: float = 600.0
    on_error: str = "continue"
    history: bool = True
