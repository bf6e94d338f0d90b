# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Between Ansible and the engine: argument specs, their validation, and one way from parameters to a result.

The action plugin and the modules both come through here, so both do the same.
"""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.basic import env_fallback, missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.errors import UnsupportedError

from ._clean import clean
from ._engine import history, plan_check
from ._engine.plan import OPERATIONS, Plan, Step
from ._engine.run import Progress, run
from ._errors import MaintenanceError, OptionError
from ._module import Module, register
from ._postgres import dsn as _dsn
from ._postgres.connect import ConnectionOptions, _choose_host, open_session
from ._postgres.driver import IMPORT_ERROR
from ._postgres.names import MAX_NAME_BYTES, parse_name
from ._result import DONE, PLANNED

CONNECTION: dict[str, Any] = {
    "dsn": {"type": "str", "no_log": True, "fallback": (env_fallback, ["DATABASE_URL"])},
    "tls": {"type": "str", "choices": ["require", "verify-full", "private"], "default": "require"},
    "connect_deadline": {"type": "float", "default": 30.0},
    "role": {"type": "str"},
    "pooler": {"type": "str", "choices": ["refuse", "direct", "allow"], "default": "refuse"},
}
RUN: dict[str, Any] = {
    "budget": {"type": "float", "default": 600.0},
    "history": {"type": "bool", "default": True},
}
PLAN: dict[str, Any] = {
    "plan": {"type": "str", "required": True},
    "steps": {"type": "list", "elements": "dict", "required": True},
    "on_error": {"type": "str", "choices": ["continue", "stop"], "default": "continue"},
}
HISTORY_INFO: dict[str, Any] = {
    "plan": {"type": "str"},
    "target": {"type": "str"},
    "limit": {"type": "int", "default": 10},
}


def no_progress(target: str, rows: int, seconds: float) -> None:
    """For callers whose output nobody sees before the end."""


def argument_spec(name: str) -> dict[str, Any]:
    """Everything that AnsibleModule wants to know about the options of a module."""
    if name == "history_info":
        return {"argument_spec": {**CONNECTION, **HISTORY_INFO}}
    if name == "maintainer":
        from ._rights import (
            maintainer as _rights,  # in functions, because every run of a plan would have to wait for it
        )

        return {"argument_spec": {**CONNECTION, **_rights.ARGUMENT_SPEC}}
    if name == "run":
        return {"argument_spec": {**CONNECTION, **RUN, **PLAN}}
    if name == "sql_object":
        from ._objects import sql_object as _sql_object

        return {**_sql_object.SPEC, "argument_spec": {**CONNECTION, **_sql_object.SPEC["argument_spec"]}}
    operation = OPERATIONS[name]
    return {
        "argument_spec": {**CONNECTION, **RUN, **operation.ARGUMENT_SPEC},
        "mutually_exclusive": getattr(operation, "MUTUALLY_EXCLUSIVE", []),
        "required_one_of": getattr(operation, "REQUIRED_ONE_OF", []),
    }


def validated(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with types and defaults. Raises OptionError with every fault there is, those inside steps included."""
    result = ArgumentSpecValidator(**argument_spec(name)).validate(parameters)
    values: dict[str, Any] = result.validated_parameters
    faults = _messages(result)
    if not faults:
        faults = _faults(name, values)
    elif name in ("run", "maintainer") and isinstance(values.get("steps"), list):
        faults += _read_steps(values["steps"])[1]
    if faults:
        raise OptionError(_without_secrets(faults, values.get("dsn")))
    return values


def _without_secrets(faults: list[str], dsn: Any) -> list[str]:
    """The faults without the password; Ansible repeats a value that it cannot convert, and people mix options up."""
    text = dsn if isinstance(dsn, str) else ""
    if IMPORT_ERROR is not None:
        return [fault.replace(text, _dsn.MASK) if text else fault for fault in faults]
    try:
        return [_dsn.parse(text).scrub(fault) for fault in faults]
    except OptionError:
        return [fault.replace(text, _dsn.MASK) if text else fault for fault in faults]


def _messages(result: ValidationResult) -> list[str]:
    """The faults in words; Ansible's own text for an unknown option only makes sense behind its prefix."""
    unsupported = [error.msg for error in result.errors.errors if isinstance(error, UnsupportedError)]
    return [f"unsupported option {text}" if text in unsupported else str(text) for text in result.error_messages]


def perform(name: str, parameters: dict[str, Any], check: bool, progress: Progress = no_progress) -> dict[str, Any]:
    """Do what a module does, from validated parameters to its result. Never raises a MaintenanceError."""
    if IMPORT_ERROR is not None:
        return {"failed": True, "msg": missing_required_lib("psycopg2"), "exception": IMPORT_ERROR}
    try:
        faults = _faults(name, parameters)
        if faults:
            raise OptionError(faults)
        dsn = _dsn.parse(parameters["dsn"] or "", parameters["tls"])
        password = str(parameters.get("password") or "")
        register(dsn.secrets | ({password} if password and not _dsn.is_word(password) else set()))
        result = _PERFORMERS.get(name, _run)(name, parameters, check, progress)
        # Warnings go to the terminal as they are, and names in them may come from anybody.
        if "warnings" in result:
            result["warnings"] = [clean(dsn.scrub(warning)) for warning in result["warnings"]]
        return result
    except OptionError as error:
        return {**failure(name, parameters, str(error)), "errors": error.errors}
    except MaintenanceError as error:
        return failure(name, parameters, str(error))


def failure(name: str, parameters: dict[str, Any], message: str) -> dict[str, Any]:
    """The result of a run that touched nothing, in the form of one that did."""
    return {
        "failed": True,
        "changed": False,
        "msg": message,
        "status": "failed",
        "plan": parameters.get("plan") or name,
        "actions": [],
    }


def main(name: str) -> None:
    """The whole of a module."""
    module = Module(supports_check_mode=True, **argument_spec(name))
    parameters = {option: module.params[option] for option in argument_spec(name)["argument_spec"]}
    module.finish(perform(name, parameters, module.check_mode))


def _connection(parameters: dict[str, Any]) -> ConnectionOptions:
    return ConnectionOptions(
        dsn=parameters["dsn"] or "",
        tls=parameters["tls"],
        connect_deadline=parameters["connect_deadline"],
        role=parameters["role"] or "",
        pooler=parameters["pooler"],
    )


def _connection_faults(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the connection options, as far as it can be seen without connecting."""
    faults: list[str] = []
    if IMPORT_ERROR is not None:
        return faults  # perform() says so; without the driver the string cannot be read
    if len((parameters["role"] or "").encode()) > MAX_NAME_BYTES:
        faults.append(f"role: {parameters['role']!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    try:
        connection = _connection(parameters)
        _choose_host(_dsn.parse(connection.dsn, connection.tls), connection.pooler)
    except OptionError as error:
        faults += error.errors
    if parameters["connect_deadline"] < 0:
        faults.append("connect_deadline: must not be negative")
    return faults


def _step_faults(where: str, operation: str, options: dict[str, Any]) -> list[str]:
    """What is wrong with the options of one operation beyond their types."""
    module = OPERATIONS[operation]
    faults = list(module.check(options)) if hasattr(module, "check") else []
    for option in module.NAME_OPTIONS:
        value = options.get(option) or []
        for text in [value] if isinstance(value, str) else value:
            try:
                parse_name(text)
            except OptionError as error:
                faults += [f"{option}: {message}" for message in error.errors]
    return [where + fault for fault in faults]


def _read_step(number: int, raw: dict[str, Any]) -> tuple[Step | None, list[str]]:
    """One step of a plan, or what is wrong with it."""
    where = f"steps[{number}]"
    if len(raw) != 1:
        return None, [f"{where}: a step is one operation with its options, such as purge: {{table: …}}; this one has "
                      f"{', '.join(map(str, raw)) or 'nothing'}"]  # fmt: skip
    ((operation, given),) = raw.items()
    if operation not in OPERATIONS:
        near = plan_check.near(str(operation), OPERATIONS)
        return None, [f"{where}: there is no operation {operation}; there are {', '.join(sorted(OPERATIONS))}{near}"]
    if not isinstance(given or {}, dict):
        return None, [f"{where}.{operation}: its options must be a mapping"]
    if not all(isinstance(option, str) for option in given or ()):
        return None, [f"{where}.{operation}: the name of an option is text"]
    module = OPERATIONS[operation]
    result = ArgumentSpecValidator(
        module.ARGUMENT_SPEC,
        mutually_exclusive=getattr(module, "MUTUALLY_EXCLUSIVE", None),
        required_one_of=getattr(module, "REQUIRED_ONE_OF", None),
    ).validate(given or {})
    if result.error_messages:
        return None, [f"{where}.{operation}: {message}" for message in _messages(result)]
    options = {option: result.validated_parameters.get(option) for option in module.ARGUMENT_SPEC}
    return Step(operation, options), _step_faults(f"{where}.{operation}: ", operation, options)


def _read_steps(raw: list[dict[str, Any]]) -> tuple[list[Step], list[str]]:
    """The steps of a plan, and everything that is wrong with them."""
    steps, faults = [], []
    for number, one in enumerate(raw, 1):
        step, wrong = _read_step(number, one)
        faults += wrong
        if step is not None:
            steps.append(step)
    return steps, faults if raw else ["steps: there are none"]


def _faults(name: str, parameters: dict[str, Any]) -> list[str]:
    """What is wrong with parameters whose types are right."""
    faults = _connection_faults(parameters)
    if name == "history_info":
        return faults + (["limit: must be at least 1"] if parameters["limit"] < 1 else [])
    if name == "maintainer":
        return faults + _maintainer_wants(parameters)[1]
    if name == "sql_object":
        from ._objects import sql_object as _sql_object

        return faults + _sql_object.faults(parameters)
    if not parameters["budget"] > 0:
        faults.append("budget: must be more than 0 seconds")
    if name == "run":
        return faults + _read_steps(parameters["steps"])[1]
    return faults + _step_faults("", name, {option: parameters[option] for option in OPERATIONS[name].ARGUMENT_SPEC})


def _run(name: str, parameters: dict[str, Any], check: bool, progress: Progress) -> dict[str, Any]:
    """A plan; the module of one operation is a plan of one step, named like it."""
    if name == "run":
        plan_name, steps, on_error = parameters["plan"], _read_steps(parameters["steps"])[0], parameters["on_error"]
    else:
        options = {option: parameters[option] for option in OPERATIONS[name].ARGUMENT_SPEC}
        plan_name, steps, on_error = name, [Step(name, options)], "continue"
    plan = Plan(plan_name, steps, parameters["budget"], on_error, parameters["history"])
    result = run(plan, _connection(parameters), check, progress).as_dict()
    return {**result, "diff": _diff(result["actions"])}


def _diff(actions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What --diff shows: the rows that go, and the definitions that change."""
    definitions = [
        {
            "before_header": action["target"],
            "after_header": action["target"],
            "before": f"{action['numbers']['before']}\n" if action["numbers"]["before"] else "",
            "after": f"{action['numbers']['after']}\n" if action["numbers"]["after"] else "",
        }
        for action in actions
        if action["operation"] == "index" and action["outcome"] in (DONE, PLANNED)
    ]
    return definitions + [
        {
            "before_header": action["target"],
            "after_header": action["target"],
            "before": f"{action['rows']} expired rows\n",
            "after": f"{action['numbers'].get('left', 0)} expired rows\n",
        }
        for action in actions
        if action["operation"] == "purge" and action["rows"]
    ]


def _history_info(name: str, parameters: dict[str, Any], check: bool, progress: Progress) -> dict[str, Any]:
    session = open_session(
        _connection(parameters), "vtchat.maintenance history_info", statement_timeout=60.0, read_only=True, writes=False
    )
    try:
        runs = history.recent(session, parameters["plan"], parameters["target"], parameters["limit"])
        return {"changed": False, "runs": runs, "server": session.server.summary()}
    finally:
        session.close()


def _maintainer_wants(parameters: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """What the steps need, and what is wrong with them and with the other options."""
    from ._rights import maintainer as _rights

    steps, wrong = _read_steps(parameters["steps"])
    faults = _rights.check(parameters) + wrong
    if faults:
        return [], faults
    return _rights.wants([(step.operation, step.options, step.names) for step in steps], parameters["history"])


def _maintainer(name: str, parameters: dict[str, Any], check: bool, progress: Progress) -> dict[str, Any]:
    from ._rights import maintainer as _rights

    wants, _faults = _maintainer_wants(parameters)
    session = open_session(_connection(parameters), "vtchat.maintenance maintainer", read_only=check)
    try:
        result = _rights.provide(session, parameters, wants, check).as_dict(parameters["name"])
        return {**result, "check_mode": check, "server": session.server.summary(), "turns": session.turns}
    finally:
        session.close()


def _install(name: str, parameters: dict[str, Any], check: bool, progress: Progress) -> dict[str, Any]:
    from ._objects import sql_object as _sql_object

    return _sql_object.perform(_connection(parameters), parameters, check)


_PERFORMERS: dict[str, Callable[[str, dict[str, Any], bool, Progress], dict[str, Any]]] = {
    "history_info": _history_info,
    "maintainer": _maintainer,
    "sql_object": _install,
}
