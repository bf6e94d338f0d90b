# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""sql_object between its options and _objects: what may be given, and what comes back."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from .._engine import history as _history
from .._errors import Contended, MaintenanceError, OptionError, SqlError
from .._operations import OPERATIONS, Action, Context, Outcome
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.index_definition import read as read_index
from .._postgres.lexer import Unclosed
from .._postgres.policy import LIGHT, Budget
from .._postgres.session import Session
from .._postgres.watch import Watch
from .._result import DONE, Finding
from .._spec import Spec
from . import refusals
from .install import UNCHANGED, Change, install
from .scripts import Script

BYTE_ORDER_MARK = "\ufeff"
SCRIPT: dict[str, Any] = {"name": {"type": "str"}, "sql": {"type": "str"}, "src": {"type": "path"}}
SPEC = Spec(
    {
        "sql": {"type": "str"},
        "src": {"type": "path"},
        "name": {"type": "str"},
        "scripts": {
            "type": "list",
            "elements": "dict",
            "options": SCRIPT,
            "mutually_exclusive": [("sql", "src")],
            "required_one_of": [("sql", "src")],
        },
        "on_conflict": {"type": "str", "choices": ["fail", "recreate"], "default": "fail"},
        "indexes": {"type": "list", "elements": "str"},
        "history": {"type": "bool", "default": False},
        "budget": {"type": "float", "default": 600.0},
    },
    mutually_exclusive=[("sql", "src", "scripts")],
    required_one_of=[("sql", "src", "scripts")],
)


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


def given_scripts(parameters: dict[str, Any]) -> list[Script]:
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


def faults(parameters: dict[str, Any]) -> list[str]:
    """What can be seen to be wrong without a database."""
    found = [] if parameters["budget"] > 0 else ["budget: must be more than 0 seconds"]
    try:
        scripts = given_scripts(parameters)
    except OptionError as error:
        return found + error.errors
    for script in scripts:
        try:
            found += [f"{script.name}:{line}: {message}" for line, message in refusals.faults(script)]
        except Unclosed as error:
            found.append(f"{script.name}:{error.line}: {error.message}")
    for number, definition in enumerate(parameters["indexes"] or [], 1):
        try:
            read_index(definition)
        except OptionError as error:
            found += [f"indexes[{number}]: {message}" for message in error.errors]
    return found


def read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The options. Raises OptionError."""
    found = faults(dict(parameters))
    if found:
        raise OptionError(found)
    return dict(parameters)


def perform(
    connection: ConnectionOptions,
    parameters: dict[str, Any],
    check: bool,
    progress: Callable[[str, int, float], None] = lambda target, rows, seconds: None,
) -> dict[str, Any]:
    """Install and say what changed. Raises MaintenanceError before anything is changed."""
    budget = Budget(parameters["budget"])
    definitions = parameters["indexes"]
    wanted = None if definitions is None else [read_index(definition) for definition in definitions]
    session = open_session(connection, "vtchat.maintenance sql_object")
    try:
        recreate = parameters["on_conflict"] == "recreate"
        # Building a view may take long: when nobody waits for it any more, it is cancelled as at the end of the budget.
        with Watch(budget.end, session.cancel) as watch, watch.work():
            changes, warnings = install(session, given_scripts(parameters), check, recreate, wanted, budget)
            indexes, faults = _indexes(session, definitions or [], changes, check, budget)
        history, notes = _provided(session, check) if parameters["history"] and not faults else ([], [])
        server = session.server.summary()
    finally:
        session.close()
    result = _result(changes + indexes + history)
    result["warnings"] += warnings + notes
    if faults:
        result.update(failed=True, msg="; ".join(faults))
    return {**result, "check_mode": check, "server": server, "turns": session.round_trips}


def _provided(session: Session, check: bool) -> tuple[list[Change], list[str]]:
    """The schema of the history, and why there is none. Another release's history is not touched."""
    try:
        version, note = _history.provide(session, check)
    except MaintenanceError as error:
        return [], [f"No history: {error}"]
    if note:
        return [], [f"No history: {note}"]
    before = f"-- history, version {version}\n" if version else None
    return [Change("history", _history.SCHEMA, "schema", before, f"-- history, version {_history.VERSION}\n")], []


def _result(changes: list[Change]) -> dict[str, Any]:
    changed = [change for change in changes if change.result != UNCHANGED]
    return {
        "changed": bool(changed),
        "objects": [
            {"script": c.script, "object": c.object, "kind": c.kind, "result": c.result, "drift": c.drift}
            for c in changes
        ],
        "diff": [difference(change) for change in changed],
        "warnings": [
            f"{c.kind} {c.object} has what no script asks for: {'; '.join(c.drift)}" for c in changes if c.drift
        ],
    }


def _indexes(
    session: Session, definitions: list[str], changes: list[Change], check: bool, budget: Budget
) -> tuple[list[Change], list[str]]:
    """Bring the indexes to their definitions, outside of any transaction, and what went wrong with that."""
    found, faults = [], []
    context = Context(check, seconds_left=budget.left, history=False)
    predicted = {change.script for change in changes if change.kind == "index"}
    for number, text in enumerate(definitions, 1):
        if f"indexes[{number}]" in predicted:  # there is no such table to look at
            continue
        options = OPERATIONS["index"].read({"definition": text, "name": None, "state": "present"})
        try:
            found += _index(session, options, context, f"indexes[{number}]")
        except (OptionError, Contended, SqlError) as error:
            faults.append(f"indexes[{number}]: {error}")
    return found, faults


def _index(session: Session, options: Any, context: Context, name: str) -> list[Change]:
    """One index, with the operation of the module index. Raises OptionError, Contended or SqlError."""
    index = OPERATIONS["index"]
    session.set(lock_timeout=LIGHT, statement_timeout=max(0.001, context.seconds_left()))
    changes = []
    for action in index.decide(index.facts(session, options, context), options, context):
        if isinstance(action, Finding):
            continue
        texts = [f"{text}\n" if text else None for text in (action.numbers.get(key) for key in ("before", "after"))]
        outcome = Outcome(action.verdict or DONE, action.reason)
        if isinstance(action, Action) and not context.check:
            session.end_with_client()
            outcome = index.execute(session, action, context)
        if outcome.status not in (DONE, UNCHANGED):
            raise SqlError(f"{action.target}: {outcome.status}: {outcome.reason or action.reason}")
        before, after = texts if action.verdict is None else ("", "")
        changes.append(Change(name, action.target, "index", before, after))
    return changes


def difference(change: Change) -> dict[str, str]:
    """One object for --diff."""
    header = f"{change.kind} {change.object}"
    return {
        "before_header": header,
        "after_header": f"{header} ({change.script})" if change.script else header,
        "before": change.before or "",
        "after": change.after or "",
    }
