# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module run: a plan of steps; and the modules of single operations, which are plans of one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import OptionError
from .._operations import OPERATIONS
from .._postgres.connect import ConnectionOptions
from .._result import Result
from .._schedule import read_schedule
from .._spec import Spec
from .._window import OPTION, Window, read_window
from .due import ALWAYS, DUE
from .listener import listener
from .observer import Progress
from .plan import Plan, Step
from .start import run

RUN = Spec({
    "budget": {"type": "float", "default": 600.0},
    "history": {"type": "bool", "default": True},
    "window": OPTION,
})  # fmt: skip
SPEC = RUN + Spec({
    "plan": {"type": "str", "required": True},
    "steps": {"type": "list", "elements": "dict", "required": True},
    "on_error": {"type": "str", "choices": ["continue", "stop"], "default": "continue"},
    "every": {"type": "str"},
    "at": {"type": "str"},
    "due": {"type": "str", "choices": list(DUE), "default": ALWAYS},
    "ping_url": {"type": "str", "no_log": True},
})  # fmt: skip


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


def read(parameters: Mapping[str, Any]) -> Plan:
    """The plan. Raises OptionError."""
    faults: list[str] = []
    window = _read_limits(parameters, faults)
    schedule = read_schedule(parameters, faults)
    try:
        listener(parameters["ping_url"] or "", parameters["plan"])
    except OptionError as error:
        faults += error.errors
    if faults:
        raise OptionError(faults)
    return Plan(
        parameters["plan"],
        parameters["steps"],
        parameters["budget"],
        parameters["on_error"],
        history=parameters["history"],
        window=window,
        schedule=schedule,
        due=parameters["due"],
        ping_url=parameters["ping_url"] or "",
    )


def perform(connection: ConnectionOptions, plan: Plan, check: bool, progress: Progress) -> Result:
    """Run it. Raises MaintenanceError."""
    return run(plan, connection, check, progress)


def _read_limits(parameters: Mapping[str, Any], faults: list[str]) -> Window | None:
    """The window. What is wrong with it or with the budget is added to ``faults``."""
    if not parameters["budget"] > 0:
        faults.append("budget: must be more than 0 seconds")
    return read_window(parameters["window"], faults)


@dataclass
class OneStep:
    """The module of one operation: a plan of one step, named like it."""

    name: str
    SPEC: Spec = field(init=False)

    def __post_init__(self) -> None:
        self.SPEC = RUN + OPERATIONS[self.name].SPEC

    def with_files(self, arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
        """It has no files."""
        return arguments

    def read(self, parameters: Mapping[str, Any]) -> Plan:
        """The plan. Raises OptionError."""
        faults: list[str] = []
        steps: list[Step] = []
        window = _read_limits(parameters, faults)
        try:
            given = {option: parameters[option] for option in OPERATIONS[self.name].SPEC.options}
            steps = [Step.read(self.name, given)]
        except OptionError as error:
            faults += error.errors
        if faults:
            raise OptionError(faults)
        return Plan(self.name, steps, parameters["budget"], history=parameters["history"], window=window)

    def perform(self, connection: ConnectionOptions, plan: Plan, check: bool, progress: Progress) -> Result:
        """Run it. Raises MaintenanceError."""
        return run(plan, connection, check, progress)
