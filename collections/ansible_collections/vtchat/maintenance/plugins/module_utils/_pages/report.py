# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module report: everything that a page about one database tells, as JSON. The action plugin makes the page of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from typing import Any

from .._engine.history import NONE_YET, History
from .._engine.observer import Progress
from .._engine.plan import Step
from .._errors import MaintenanceError, OptionError, SqlError
from .._operations import OPERATIONS
from .._origin import COLLECTION
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.session import Session
from .._postgres.sqlstates import INVALID_PARAMETER_VALUE
from .._report.model import count_of
from .._result import FAILED, Result
from .._schedule import read_schedule
from .._spec import Spec
from .._window import read_zone
from . import queries
from .past import Past
from .present import HEALTH, INDEXES, Present, growth

PLAN = "report"
FORMAT = 1
MOST_DAYS = 366
LONGEST_NAME = 200
UNREAD = "The history cannot be read"
KEYS = ("every", "at", "budget")
# Seconds for all statements together.
PATIENCE = 120.0

SPEC = Spec({
    "dest": {"type": "path"},
    "name": {"type": "str"},
    "overview": {"type": "bool", "default": False},
    "days": {"type": "int", "default": 90},
    "timezone": {"type": "str", "default": "UTC"},
    "title": {"type": "str"},
    "steps": {"type": "list", "elements": "dict"},
    "plans": {"type": "dict"},
    "transport": {"type": "str", "choices": ["direct", "endpoint"], "default": "direct"},
})  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What the page is about.

    title  of the page; "" for the name of the database
    days   how many, today included
    zone   the time zone of all moments
    steps  those that only read, by operation
    plans  when plans are to run, and their budgets, by name
    """

    title: str = ""
    days: int = 90
    zone: str = "UTC"
    zone_data: tzinfo = timezone.utc
    steps: Mapping[str, Step] = field(default_factory=dict)
    plans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


def read(parameters: Mapping[str, Any]) -> Question:
    """The question. Raises OptionError with all faults."""
    faults: list[str] = []
    if not 1 <= parameters["days"] <= MOST_DAYS:
        faults.append(f"days: it must be from 1 to {MOST_DAYS}")
    name = parameters.get("name") or ""
    if "/" in name or "\0" in name or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        faults.append(f"name: it must be the name of a file without folder and ending, of at most {LONGEST_NAME} bytes")
    zone = read_zone(parameters["timezone"], faults, "timezone") or timezone.utc
    steps = _read_steps(parameters.get("steps") or [_default(HEALTH), _default(INDEXES)], faults)
    plans = _read_plans(parameters.get("plans") or {}, faults)
    if faults:
        raise OptionError(faults)
    return Question(parameters.get("title") or "", parameters["days"], parameters["timezone"], zone, steps, plans)


def _default(operation: str) -> Step:
    """A step without options."""
    return Step.read(operation, {name: how.get("default") for name, how in OPERATIONS[operation].SPEC.options.items()})


def _read_steps(given: Sequence[Step], faults: list[str]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for number, step in enumerate(given, 1):
        if step.operation not in (HEALTH, INDEXES):
            faults.append(f"steps[{number}]: a report asks {HEALTH} and {INDEXES} only, and this is {step.operation}")
        elif step.operation in steps:
            faults.append(f"steps[{number}]: there is a step {step.operation} before")
        steps[step.operation] = step
    return steps


def _read_plans(given: Mapping[str, Any], faults: list[str]) -> dict[str, Mapping[str, Any]]:
    plans: dict[str, Mapping[str, Any]] = {}
    for name, plan in given.items():
        where = f"plans.{name}"
        if not isinstance(plan, Mapping):
            faults.append(f"{where}: it must be a mapping with every, at or budget")
            continue
        read_schedule(plan, faults, f"{where}.")
        budget = plan.get("budget")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, (int, float)) or not budget > 0):
            faults.append(f"{where}.budget: it must be a number of seconds above 0")
        plans[str(name)] = {key: plan[key] for key in KEYS if plan.get(key) is not None}
    return plans


def perform(connection: ConnectionOptions, question: Question, check: bool, progress: Progress) -> Result:
    """Everything that the page tells. Where the database cannot be asked, the result failed, and there is a page that says so."""
    began = time.monotonic()
    result = Result(PLAN, check)
    try:
        session = open_session(
            connection, "vtchat.maintenance report", PATIENCE, read_only=True, writes=False, standby=True
        )
    except MaintenanceError as error:
        result.status, result.message = FAILED, str(error)
        result.more["report"] = {**_frame(question), "unreachable": str(error)}
    else:
        with closing(session):
            result.server = session.server.summary()
            result.more["report"] = _report(session, question, began)
            result.turns = session.round_trips
            result.warnings += [note for note in result.more["report"]["notes"] if note.startswith(UNREAD)]
        result.message = f"{PLAN}: {count_of(question.days, 'day')}"
    result.seconds = time.monotonic() - began
    return result


def _frame(question: Question) -> dict[str, Any]:
    """A page with nothing in it, made now by the clock of this machine."""
    now = datetime.now(question.zone_data)
    return {
        "format": FORMAT, "title": question.title, "database": "", "timezone": question.zone,
        "generated_at": f"{now:%Y-%m-%d %H:%M}",
        "days": question.days, "first_day": "", "last_day": "", "collection": COLLECTION, "server": {}, "generated_runs": 0,
        "unreachable": "", "notes": [],
        "health": {"status": "", "why": "", "message": "", "findings": []},
        "plans": [], "operations": [], "work": [],
        "growth": {"database": [], "tables": [], "forecast": [], "limit": None, "bloat": []},
        "undone": {"entries": [], "more": 0}, "indexes": {"why": "", "message": "", "findings": [], "drop": "", "undo": ""},
        "alerts": [], "runs": [], "who": [],
    }  # fmt: skip


def _report(session: Session, question: Question, began: float) -> dict[str, Any]:
    report = _frame(question)
    clock = _clock(session, question)
    report |= {key: clock[key] for key in ("generated_at", "first_day", "last_day")}
    report |= {"database": session.server.database, "server": session.server.summary()}
    history, notes = _history(session, question)
    past = Past(session, history, clock, question.zone, question.zone_data, question.plans, notes)
    found = past.read()
    sizes = {"database": found.pop("database"), "tables": found.pop("tables")}
    present = Present(session, history, lambda: max(0.001, PATIENCE - (time.monotonic() - began)))
    report["health"] = present.health(question.steps.get(HEALTH))
    report["indexes"] = present.indexes(question.steps.get(INDEXES))
    report["growth"] = {**sizes, **growth(report["health"], report["indexes"])}
    return {**report, **found, "notes": notes}


def _clock(session: Session, question: Question) -> dict[str, Any]:
    """Now and the days of the page. Raises MaintenanceError, with the way out where the server does not know the zone."""
    try:
        return session.row(queries.CLOCK, {"zone": question.zone, "days": question.days})
    except SqlError as error:
        if error.sqlstate == INVALID_PARAMETER_VALUE:
            why = f"timezone: the server has no time zone {question.zone}: take a name that both know, such as Europe/Berlin"
            raise MaintenanceError(why) from None
        raise


def _history(session: Session, question: Question) -> tuple[History, list[str]]:
    """The history, and why it tells nothing."""
    history = History(session, check=True, reads=True)
    try:
        history.enter(wanted=True)
        history.open(PLAN, [{name: {} for name in question.steps}], None)
    except MaintenanceError as error:
        history.note = str(error)
    note = f"No history: {history.note}." if history.note == NONE_YET else f"{UNREAD}: {history.note}."
    return history, [note] if history.note else []
