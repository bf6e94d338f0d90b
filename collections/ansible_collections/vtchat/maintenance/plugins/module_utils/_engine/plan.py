# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Plans: named lists of steps, each read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._masking import MASK
from .._operations import OPERATIONS, Need, Operation
from .._schedule import Schedule
from .._window import Window
from .due import ALWAYS


@dataclass(frozen=True)
class Step:
    """One operation with its options.

    given    as the user wrote them, for the history, without what must not be shown
    options  as the operation reads them
    """

    operation: str
    given: dict[str, Any]
    options: Any

    @classmethod
    def read(cls, operation: str, given: Mapping[str, Any]) -> Step:
        """A step from options of the right types. Raises OptionError with all that is wrong with them."""
        hidden = [
            name for name, how in OPERATIONS[operation].SPEC.options.items() if how.get("no_log") and given.get(name)
        ]
        shown = {**given, **dict.fromkeys(hidden, MASK)}
        return cls(operation, shown, OPERATIONS[operation].read(given))

    @property
    def does(self) -> Operation[Any, Any, Any]:
        """The operation itself."""
        return OPERATIONS[self.operation]

    @property
    def names(self) -> Sequence[str]:
        """The objects that the options name."""
        return self.does.names(self.options)

    @property
    def needs(self) -> Sequence[Need]:
        """The rights that it needs."""
        return self.does.needs(self.options)

    @property
    def label(self) -> str:
        """What the step is about, for errors that come before its targets are known."""
        return ", ".join(self.names)


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    budget    seconds for all of it
    on_error  continue | stop: what a failed step means for those after it
    history   whether the run is recorded
    window    the hours in which it may run, None for any
    schedule  when it is to run, None where nothing says so
    due       always: now, whatever the schedule says; auto: if it is due by that
    ping_url  who is told that it has begun, succeeded or failed; "" for nobody
    """

    name: str
    steps: list[Step] = field(default_factory=list)
    budget: float = 600.0
    on_error: str = "continue"
    history: bool = True
    window: Window | None = None
    schedule: Schedule | None = None
    due: str = ALWAYS
    ping_url: str = field(default="", repr=False)

    @property
    def rule(self) -> dict[str, str] | None:
        """The schedule as the user wrote it."""
        return self.schedule.as_dict() if self.schedule else None

    @property
    def read_only(self) -> bool:
        """Whether none of its steps writes anything."""
        return all(step.does.READ_ONLY for step in self.steps)
