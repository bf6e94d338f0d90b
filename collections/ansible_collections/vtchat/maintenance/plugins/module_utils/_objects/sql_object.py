# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module sql_object: objects as scripts define them, then indexes, then the history's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from .._engine import history_alone
from .._engine.history_tables import SCHEMA, VERSION
from .._engine.plan import Step
from .._errors import Contended, MaintenanceError, OptionError
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.lexer import Unclosed
from .._postgres.policy import Budget
from .._postgres.session import Session
from .._postgres.watch import Watch
from .._result import CONTENDED, DEFERRED, DONE, PLANNED, UNCHANGED, Result, entry
from .._spec import Spec
from . import refusals
from .changes import CREATE, KEEP, Change
from .indexes import Indexes
from .install import Installed, install
from .scripts import Script
from .sources import given_scripts, with_files

__all__ = ["SPEC", "Request", "perform", "read", "with_files"]

# What was to be done to scripts that could not be compared.
INSTALL = "install"
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


@dataclass(frozen=True)
class Request:
    """The options, read. indexes: None where indexes are not looked at. budget: seconds."""

    scripts: tuple[Script, ...]
    recreate: bool
    indexes: tuple[Step, ...] | None
    history: bool
    budget: float


def read(parameters: Mapping[str, Any]) -> Request:
    """The options. Raises OptionError with all that can be seen to be wrong without a database."""
    faults = [] if parameters["budget"] > 0 else ["budget: must be more than 0 seconds"]
    scripts: list[Script] = []
    try:
        scripts = given_scripts(parameters)
    except OptionError as error:
        faults += error.errors
    for script in scripts:
        try:
            faults += [f"{script.name}:{line}: {message}" for line, message in refusals.faults(script)]
        except Unclosed as error:
            faults.append(f"{script.name}:{error.line}: {error.message}")
    indexes = []
    for number, definition in enumerate(parameters["indexes"] or (), 1):
        try:
            indexes.append(Step.read("index", {"definition": definition, "name": None, "state": "present"}))
        except OptionError as error:
            faults += [f"indexes[{number}]: {message}" for message in error.errors]
    if faults:
        raise OptionError(faults)
    wanted = None if parameters["indexes"] is None else tuple(indexes)
    recreate = parameters["on_conflict"] == "recreate"
    return Request(tuple(scripts), recreate, wanted, parameters["history"], parameters["budget"])


def perform(
    connection: ConnectionOptions, request: Request, check: bool, progress: Callable[[str, str, float], None]
) -> Result:
    """Install and say what changed. Raises MaintenanceError before anything is changed."""
    budget = Budget(request.budget)
    with closing(open_session(connection, "vtchat.maintenance sql_object")) as session:
        result = Result("sql_object", check, session.server.summary())
        # Building a view may take long: when nobody waits for it any more, it is cancelled as at the end of the budget.
        with Watch(budget.end, session.cancel) as watch:
            with watch.work():
                changes = _install(session, request, check, budget, result)
            if changes is not None:
                predicted = {change.script for change in changes if change.kind == "index"}
                Indexes(session, budget, watch, check, result).bring(request.indexes or (), predicted)
        if changes is not None and request.history and not result.failures:
            _provide_history(session, check, result)
        _report_late(result)
        result.seconds, result.turns = budget.spent(), session.round_trips
        return result


def _install(
    session: Session, request: Request, check: bool, budget: Budget, result: Result
) -> Sequence[Change] | None:
    """Install the scripts: the changes, None where somebody's lock was in the way. Raises OptionError, SqlError."""
    indexes = None if request.indexes is None else [step.options.definition for step in request.indexes]
    names = ", ".join(script.name for script in request.scripts)
    try:
        installed = install(session, request.scripts, check, request.recreate, indexes, budget)
    except Contended as error:
        installed = Installed([], contended=str(error))
        result.actions.append(entry(INSTALL, names, CONTENDED, str(error), kind="script", script=names, drift=[]))
    for change in installed.changes:
        _record(result, change, installed.contended)
    result.warnings += [
        f"{change.kind} {change.object} has what no script asks for: {'; '.join(change.drift)}"
        for change in installed.changes
        if change.drift
    ]
    result.warnings += installed.warnings
    return None if installed.contended else installed.changes


def _record(result: Result, change: Change, contended: str = "") -> None:
    """One entry for one object. contended: why nothing was installed."""
    outcome, reason = PLANNED if result.check else DONE, change.reason
    if change.operation == KEEP:
        outcome = UNCHANGED
    elif contended:
        outcome, reason = CONTENDED, f"{reason}; {contended}"
    changed = outcome in (DONE, PLANNED)
    result.actions.append(
        entry(change.operation, change.object, outcome, reason, kind=change.kind, changed=changed,
              script=change.script, drift=change.drift)
    )  # fmt: skip
    if changed:
        result.diff.append(change.difference)


def _report_late(result: Result) -> None:
    """What somebody's lock or the end of the budget has kept from being installed is no failure; whoever needs it must see it."""
    late = [one for one in result.actions if one["outcome"] in (CONTENDED, DEFERRED)]
    if late:
        # The reason why scripts could not be compared begins with the script's name.
        names = ", ".join(one["target"] for one in late if one["operation"] != INSTALL)
        text = f"Not installed: {names + ': ' if names else ''}{late[0]['reason']}. Run it again."
        result.warnings.append(text)
        result.conclude()
        result.message += f". {text}"


def _provide_history(session: Session, check: bool, result: Result) -> None:
    """The schema of the history. Another release's history is not touched; that it cannot be had is a warning."""
    name, after = SCHEMA, f"-- history, version {VERSION}\n"
    try:
        version, note = history_alone.provide(session, check)
    except Contended as error:
        result.actions.append(entry(CREATE, name, CONTENDED, str(error), kind="schema", script="history", drift=[]))
        return
    except MaintenanceError as error:
        version, note = 0, str(error)
    if note:
        result.warnings.append(f"No history: {note}")
        return
    before = f"-- history, version {version}\n" if version else None
    _record(result, Change("history", name, "schema", before, after, differences=("version",)))
