# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module maintainer: a login role with exactly the rights that the steps of its plans need."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from .._engine.history_tables import SCHEMA as HISTORY
from .._engine.history_tables import VERSION, tables
from .._engine.plan import Step
from .._errors import Contended, OptionError
from .._operations import Need
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.names import MAX_NAME_BYTES, quote
from .._result import CONTENDED, DONE, PLANNED, Result, entry
from .._spec import Spec
from .model import Options
from .provide import Provided, provide

SPEC = Spec({
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
    "steps": {"type": "list", "elements": "dict", "required": True},
    "history": {"type": "bool", "default": True},
    "read_all_stats": {"type": "bool", "default": True},
    "connection_limit": {"type": "int"},
    "exclusive": {"type": "bool", "default": False},
})  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The options, and what the steps need."""

    options: Options
    needs: tuple[Need, ...]


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


def read(parameters: Mapping[str, Any]) -> Request:
    """The options. Raises OptionError."""
    needs, faults = wants(parameters["steps"], parameters["history"])
    options = Options(
        name=parameters["name"],
        password=parameters["password"],
        on_create=parameters["update_password"] == "on_create",  # noqa: S105 - that is a word of the option
        read_all_stats=parameters["read_all_stats"],
        connection_limit=parameters["connection_limit"],
        exclusive=parameters["exclusive"],
    )
    faults = check_options(options) + faults
    if faults:
        raise OptionError(faults)
    return Request(options, tuple(needs))


def check_options(options: Options) -> list[str]:
    """Faults of the options that need no database to be seen."""
    name, faults = options.name, []
    if not name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        faults.append(f"name: must have 1 to {MAX_NAME_BYTES} bytes")
    if name.startswith("pg_") or name in ("public", "none"):
        faults.append(f"name: {name} is reserved by PostgreSQL")
    if options.password is not None and (not options.password or "\0" in options.password):
        faults.append("password: is empty or has a zero byte in it; leave it out to leave the password alone")
    if options.connection_limit is not None and options.connection_limit < -1:
        faults.append("connection_limit: must be -1 (no limit) or more")
    return faults


def wants(steps: Sequence[Step], history: bool) -> tuple[list[Need], list[str]]:
    """What steps need, and of which steps that cannot be said beforehand."""
    found: list[Need] = []
    faults = []
    for number, step in enumerate(steps, 1):
        if not step.needs and not step.does.READ_ONLY:
            faults.append(
                f"steps[{number}].{step.operation}: name its objects; what it needs cannot be known beforehand"
            )
        found += step.needs
    if history:
        found += [Need(f"{HISTORY}.{table}", "history", "r") for table in tables(VERSION)]
    return found, faults


def perform(
    connection: ConnectionOptions, request: Request, check: bool, progress: Callable[[str, str, float], None]
) -> Result:
    """Give the rights. Raises MaintenanceError."""
    began, name = time.monotonic(), request.options.name
    with closing(open_session(connection, "vtchat.maintenance maintainer", read_only=check)) as session:
        result = Result("maintainer", check, session.server.summary())
        try:
            _report(result, name, provide(session, request.options, request.needs, check))
        except Contended as error:
            result.actions = [entry("maintainer", f"role {quote(name)}", CONTENDED, str(error), kind="role")]
            result.warnings = [f"No right of {quote(name)} was changed: {error}. Run it again."]
            result.message = f"maintainer: {result.warnings[0]}"
        result.seconds, result.turns = time.monotonic() - began, session.round_trips
        return result


def _report(result: Result, role: str, provided: Provided) -> None:
    """What became of it. Never has a password or a verifier in it."""
    result.actions = [
        entry(
            "maintainer",
            action.target,
            str(action.verdict),
            action.reason,
            kind=action.kind,
            changed=action.verdict in (DONE, PLANNED),
            statements=[statement.text() for statement in action.statements],
        )
        for action in provided.actions
    ]
    excess = [
        {"target": one.key.target, "grant": one.grant.text(), "revoke": one.revoke.text(), "grantor": one.grantor}
        for one in provided.excess
    ]
    result.more = {"password": provided.basis, "excess": excess, "other": provided.other}
    result.warnings = _warnings(quote(role), provided)
    if provided.before != provided.after:
        header = f"rights of {quote(role)}"
        texts = {"before": _lines(provided.before), "after": _lines(provided.after)}
        result.diff = [{"before_header": header, "after_header": header, **texts}]
    if result.failures:
        faults = "; ".join(f"{one['target']}: {one['reason']}" for one in result.failures)
        result.message = f"maintainer: nothing was changed; {faults}"


def _warnings(role: str, provided: Provided) -> list[str]:
    warnings = []
    if provided.owners:
        owners = ", ".join(map(quote, provided.owners))
        warnings.append(f"as a member of {owners}, {role} has all rights of {owners}; maintenance alone can be "
                        "given from PostgreSQL 17 on, except for building indexes")  # fmt: skip
    if provided.excess:
        warnings.append(f"{role} has rights that its plans do not need, which exclusive: true would take away: "
                        + "; ".join(one.grant.text() for one in provided.excess))  # fmt: skip
    if provided.other:
        warnings.append(f"{role} has what its plans do not need and what is not taken away here: it "
                        + ", ".join(provided.other))  # fmt: skip
    return warnings


def _lines(statements: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in statements)
