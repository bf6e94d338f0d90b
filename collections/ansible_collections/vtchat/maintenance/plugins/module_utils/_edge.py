# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Between Ansible and what does the work: options are read once, and there is one way from them to a result.

The action plugin and the modules both come through here, so both do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ansible.module_utils.basic import env_fallback, missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.errors import UnsupportedError

from . import _result
from ._clean import clean
from ._engine import plan_check
from ._engine.observer import Progress, nobody
from ._engine.plan import Step
from ._errors import MaintenanceError, OptionError
from ._masking import Hidden, hide
from ._module import Module, register
from ._operations import HOURLY, OPERATIONS
from ._postgres import dsn as _dsn
from ._postgres.connect import ConnectionOptions
from ._postgres.driver import IMPORT_ERROR
from ._result import Result
from ._spec import Spec

CONNECTION = Spec({
    "dsn": {"type": "str", "no_log": True, "fallback": (env_fallback, ["DATABASE_URL"])},
    "tls": {"type": "str", "choices": ["require", "verify-full", "private"], "default": "require"},
    "connect_deadline": {"type": "float", "default": 30.0},
    "role": {"type": "str"},
    "pooler": {"type": "str", "choices": ["refuse", "direct", "allow"], "default": "refuse"},
})  # fmt: skip

NO_SIZE = "cannot be converted to a Byte value"

Wanted = TypeVar("Wanted")
Bytes = Callable[[str], bytes]


class Performer(Protocol[Wanted]):
    """What a database module does: one file, or a step of a plan. The module, the action plugin and the tests ask for no more."""

    # The options beside those of the connection.
    SPEC: Spec

    def with_files(self, arguments: dict[str, Any], read: Bytes) -> dict[str, Any]:
        """The arguments with the content of files in the place of their names. Raises OptionError."""

    def read(self, parameters: Mapping[str, Any]) -> Wanted:
        """The options as they are used, from values of the right types; steps are Steps. Raises OptionError with all faults."""

    def perform(
        self, connection: ConnectionOptions, wanted: Wanted, check: bool, progress: Progress
    ) -> Result | dict[str, Any]:
        """Do it. Raises MaintenanceError where there is nothing to tell of but that."""


# Modules that are no operation, and the files that do what they say.
_FILES = {
    "alerts": "_alerts.alerts",
    "history_info": "_engine.history_info",
    "maintainer": "_rights.maintainer",
    "report": "_pages.report",
    "run": "_engine.plan_run",
    "sql_object": "_objects.sql_object",
}

if TYPE_CHECKING:
    # Ansible puts into a module's archive what is imported anywhere in the source. And each is held to the contract here.
    from ._alerts import alerts
    from ._engine import history_info, plan_run
    from ._engine.plan_run import OneStep
    from ._objects import sql_object
    from ._pages import report
    from ._rights import maintainer

    _CHECKED: tuple[Performer[Any], ...] = (
        alerts,
        history_info,
        maintainer,
        plan_run,
        report,
        sql_object,
        OneStep("purge"),
    )


class _Performers(Mapping[str, Performer[Any]]):
    """By the name of the module, each loaded when it is asked for: Ansible compiles our source anew in every run."""

    def __getitem__(self, name: str) -> Performer[Any]:
        if name in OPERATIONS:
            step: Performer[Any] = import_module("._engine.plan_run", __package__).OneStep(name)
            return step
        performer: Performer[Any] = import_module(f".{_FILES[name]}", __package__)
        return performer

    def __iter__(self) -> Iterator[str]:
        return iter([*_FILES, *OPERATIONS])

    def __len__(self) -> int:
        return len(_FILES) + len(OPERATIONS)


PERFORMERS = _Performers()


@dataclass(frozen=True)
class Request:
    """A module's options, read. It can be made by ``validated`` only, and nothing is performed without one.

    plan     the name that results have
    wanted   what the performer has read
    secrets  what Ansible itself is to mask
    """

    name: str
    plan: str
    connection: ConnectionOptions
    wanted: Any = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


def spec(name: str) -> Spec:
    """All options of a module."""
    return CONNECTION + PERFORMERS[name].SPEC


@cache
def _of_module(name: str) -> ArgumentSpecValidator:
    return ArgumentSpecValidator(**spec(name).arguments())


@cache
def _of_step(operation: str) -> ArgumentSpecValidator:
    return ArgumentSpecValidator(**OPERATIONS[operation].SPEC.arguments())


def prepared(name: str) -> tuple[Any, ...]:
    """Load what a module needs, the operations of steps included, so that a process that is forked later has it already.

    The others are much code, and are not in the plans of each hour: whoever has one of them as a step loads it.
    """
    steps = HOURLY if "steps" in PERFORMERS[name].SPEC.options else ()
    return _of_module(name), *map(_of_step, steps)


def validated(name: str, parameters: Mapping[str, Any]) -> Request:
    """The options with types and defaults, read. Raises OptionError with every fault there is, those inside steps included."""
    given = _given(parameters)
    result = _of_module(name).validate(given)
    values: dict[str, Any] = result.validated_parameters
    faults = _messages(result) + _no_numbers(spec(name), given)
    if faults:
        steps = values.get("steps")
        faults += _read_steps(steps)[1] if isinstance(steps, list) else []
        raise OptionError(_without_secrets(name, faults, values))
    try:
        return _read(name, dict(values))
    except OptionError as error:
        raise OptionError(_without_secrets(name, error.errors, values)) from None


def _no_numbers(options: Spec, given: Mapping[str, Any]) -> list[str]:
    """What is to be a number and is true or false, which Ansible takes for 1 and 0."""
    numbers = ("int", "float")
    return [
        f"{name}: it must be a number, and is {str(given[name]).lower()}"
        for name, how in options.options.items() if how.get("type") in numbers and isinstance(given.get(name), bool)
    ]  # fmt: skip


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null: that is not given, be it by a template that found nothing, or by AnsibleModule, which has read it."""
    steps = parameters.get("steps")
    if isinstance(steps, list):  # an operation without options is one all the same
        empty = [{key: {} if value is None else value for key, value in step.items()} if isinstance(step, Mapping) else step
                 for step in steps]  # fmt: skip
        parameters = {**parameters, "steps": empty}
    given: dict[str, Any] = _without_nulls(parameters)
    return given


# Of a threshold null means never, and is not the same as one that is left out.
_NEVER = ("warning", "critical")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None or key in _NEVER}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _read(name: str, values: dict[str, Any]) -> Request:
    """A request from values of the right types. Raises OptionError with every fault."""
    faults: list[str] = []
    connection = ConnectionOptions()
    try:
        # Without the driver the string cannot be read; perform() says so.
        connection = _connection(values) if IMPORT_ERROR is None else connection
    except OptionError as error:
        faults += error.errors
    secrets = _secrets(name, values, connection)
    if values.get("steps") is not None:
        values["steps"], found = _read_steps(values["steps"])
        faults += found
    wanted = None
    try:
        wanted = PERFORMERS[name].read(values)
    except OptionError as error:
        faults += error.errors
    if faults:
        raise OptionError(faults)
    return Request(name, values.get("plan") or name, connection, wanted, secrets)


def _connection(values: Mapping[str, Any]) -> ConnectionOptions:
    return ConnectionOptions.read(
        values["dsn"] or "",
        values["tls"],
        values["connect_deadline"],
        values["role"] or "",
        values["pooler"],
    )


def _secrets(name: str, values: Mapping[str, Any], connection: ConnectionOptions) -> frozenset[str]:
    """The password and what else is not to be shown. A word that may be the name of anything is not masked everywhere."""
    return connection.dsn.secrets | _hidden(name, values).everywhere


def _hidden(name: str, values: Mapping[str, Any]) -> Hidden:
    """What options hide, those of steps included. A connection string among them has a password inside."""
    texts = _hidden_texts(PERFORMERS[name].SPEC.options, values) | _hidden_in_steps(values.get("steps"))
    return hide([text for text in texts if "=" in text or "://" in text], passwords=texts)


def _hidden_in_steps(steps: Any) -> set[str]:
    """What must not be shown of steps, whatever else is wrong with them."""
    found: set[str] = set()
    for step in steps if isinstance(steps, list) else ():
        for operation, given in step.items() if isinstance(step, Mapping) else ():
            if operation in OPERATIONS:
                found |= _hidden_texts(OPERATIONS[operation].SPEC.options, given)
    return found


def _hidden_texts(options: Mapping[str, Any], values: Any) -> set[str]:
    """What stands in options that are not to be shown, at any depth, whatever it is."""
    found: set[str] = set()
    for option, how in options.items() if isinstance(values, Mapping) else ():
        given = values.get(option)
        if how.get("no_log"):
            found |= set(_texts(given))
        elif "options" in how:
            for one in given if isinstance(given, list) else [given]:
                found |= _hidden_texts(how["options"], one)
    return found


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value; of a mapping the values, and not their names."""
    if isinstance(value, (Mapping, list)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)
    elif value:
        yield str(value)


def _without_secrets(name: str, faults: list[str], values: Mapping[str, Any]) -> list[str]:
    """The faults without the secrets; Ansible repeats a value that it cannot convert, and people mix options up."""
    others = _hidden(name, values)
    faults = [others.scrub(fault) for fault in faults]
    text = values["dsn"] if isinstance(values.get("dsn"), str) else ""
    if IMPORT_ERROR is not None:
        return [hide([text]).scrub(fault) for fault in faults]
    try:
        return [_dsn.parse(text).scrub(fault) for fault in faults]
    except OptionError:
        return [hide([text]).scrub(fault) for fault in faults]


def _messages(result: ValidationResult) -> list[str]:
    """The faults in words; Ansible's own text for an unknown option only makes sense behind its prefix, and lacks the way out."""
    unsupported = [error.msg for error in result.errors.errors if isinstance(error, UnsupportedError)]
    texts = [f"unsupported option {text}" if text in unsupported else str(text) for text in result.error_messages]
    return [f"{text}: write bytes, or with a unit, such as 10M" if text.endswith(NO_SIZE) else text for text in texts]


def _read_steps(raw: list[dict[str, Any]]) -> tuple[list[Step], list[str]]:
    """The steps of a plan, and everything that is wrong with them."""
    steps, faults = [], []
    for number, one in enumerate(raw, 1):
        where = f"steps[{number}]"
        try:
            steps.append(_read_step(one))
        except OptionError as error:
            faults += [f"{where}{fault}" for fault in error.errors]
    return steps, faults if raw else ["steps: there are none"]


def _read_step(raw: dict[str, Any]) -> Step:
    """One step. Raises OptionError, whose messages go on where ``steps[1]`` ends."""
    if len(raw) != 1:
        names = ", ".join(map(str, raw)) or "nothing"
        raise OptionError(
            [f": a step is one operation with its options, such as purge: {{table: …}}; this one has {names}"]
        )
    ((operation, given),) = raw.items()
    if operation not in OPERATIONS:
        near = plan_check.near(str(operation), OPERATIONS)
        raise OptionError([f": there is no operation {operation}; there are {', '.join(sorted(OPERATIONS))}{near}"])
    if not isinstance(given or {}, dict):
        raise OptionError([f".{operation}: its options must be a mapping"])
    if not all(isinstance(option, str) for option in given or ()):
        raise OptionError([f".{operation}: the name of an option is text"])
    known = OPERATIONS[operation].SPEC
    result = _of_step(operation).validate(given or {})
    faults = _messages(result) + _no_numbers(known, given or {})
    if faults:
        raise OptionError([f".{operation}: {fault}" for fault in faults])
    try:
        return Step.read(operation, {option: result.validated_parameters.get(option) for option in known.options})
    except OptionError as error:
        raise OptionError([f".{operation}: {fault}" for fault in error.errors]) from None


def perform(request: Request, check: bool, progress: Progress = nobody) -> dict[str, Any]:
    """Do what a module does, from its request to its result. Never raises a MaintenanceError."""
    if IMPORT_ERROR is not None:
        return {"failed": True, "msg": missing_required_lib("psycopg2"), "exception": IMPORT_ERROR}
    register(request.secrets)
    try:
        answer = PERFORMERS[request.name].perform(request.connection, request.wanted, check, progress)
        result = answer.as_dict() if isinstance(answer, Result) else answer
    except MaintenanceError as error:
        result = failure(request.plan, error)
    # As a whole, like AnsibleModule does it: what stands in a database may hold what stands in the connection string.
    hidden = request.connection.dsn.hidden | Hidden(request.secrets)
    withheld = _withheld(result, hidden)
    result = {key: hidden.scrub_data(value, names=False) for key, value in result.items()}
    result.setdefault("warnings", []).extend(withheld)
    # Warnings go to the terminal as they are, and names in them may come from anybody.
    if "warnings" in result:
        result["warnings"] = [clean(warning) for warning in result["warnings"]]
    return result


def _withheld(result: dict[str, Any], hidden: Hidden) -> list[str]:
    """Take out files in which something would have to be masked: what they do would be another thing. The warnings about it."""
    files = result.get("files") or {}
    if all(hidden.scrub(text) == text for text in files.values()):
        return []
    del result["files"]
    names = " and ".join(files)
    return [f"{names}: not written, because a name in the database is the same as a secret of the connection"]


def failure(plan: str, error: MaintenanceError) -> dict[str, Any]:
    """The result of what touched nothing, in the form of one that did."""
    return _result.failure(plan, str(error), error.errors if isinstance(error, OptionError) else ())


def main(name: str) -> None:
    """The whole of a module."""
    module = Module(supports_check_mode=True, **spec(name).arguments())
    # Ansible repeats all options with -vvv, and does not know which of those of a step must not be shown.
    module.no_log_values |= hide(_hidden_in_steps(module.params.get("steps"))).everywhere
    try:
        request = validated(name, {option: module.params[option] for option in spec(name).options})
    except OptionError as error:
        module.finish(failure(module.params.get("plan") or name, error))
    module.finish(perform(request, module.check_mode))
