# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Plans: named lists of steps, and which operations there are to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._postgres.names import display, parse_name, quote

if TYPE_CHECKING:
    # Ansible puts into a module's archive what is imported anywhere in the source.
    from .._operations import analyze, index, purge, refresh  # noqa: F401 - for the archive alone

NAMES = ("analyze", "index", "purge", "refresh")


class _Operations(Mapping[str, ModuleType]):
    """The operations by name, each loaded when it is asked for: Ansible compiles our source anew in every run."""

    def __getitem__(self, name: str) -> ModuleType:
        if name not in NAMES:
            raise KeyError(name)
        return import_module(f".._operations.{name}", __package__)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


OPERATIONS = _Operations()


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
