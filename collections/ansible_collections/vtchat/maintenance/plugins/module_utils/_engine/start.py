# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A run from its window to its result: the session, the budget, and whoever listens for signs of life."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from functools import partial

from .._errors import MaintenanceError
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.policy import Budget
from .._postgres.session import Session
from .._result import FAILED, Result
from . import hours
from .listener import listener
from .observer import Observer, Progress
from .plan import Plan
from .run import LOST, Run
from .sessions import Sessions

LOOKING = 5.0  # seconds that a look at the progress of statements may take


def _now() -> datetime:
    return datetime.now(timezone.utc)


def run(plan: Plan, connection: ConnectionOptions, check: bool, progress: Progress) -> Result:
    """Execute a plan, or in check mode only decide it. Raises OptionError and ConnectError before anything was touched."""
    began = _now()
    if plan.window and not plan.window.is_open(began):
        return hours.skipped(plan.name, check, plan.window, began)
    budget = Budget(hours.seconds(plan.budget, plan.window, began))
    ping = listener("" if check else plan.ping_url, plan.name)
    try:
        result = _connected(plan, connection, check, progress, budget, ping.start)
    except MaintenanceError:
        ping.end(FAILED)
        raise
    ping.end(result.status)
    result.warnings += ping.warnings
    return result


def _connected(
    plan: Plan,
    connection: ConnectionOptions,
    check: bool,
    progress: Progress,
    budget: Budget,
    started: Callable[[], None],
) -> Result:
    """The same inside of its window. ``started`` is called when it is certain that there is something to do."""
    opening = partial(open_session, connection, f"vtchat.maintenance {plan.name}", read_only=check)
    with closing(
        opening(statement_timeout=max(1.0, budget.seconds), writes=not plan.read_only, standby=plan.read_only)
    ) as session:
        result = Result(plan.name, check, session.server.summary())
        result.more = {"run_id": None, "budget": budget.seconds, "schedule": plan.rule, "retries": 0, "recent": []}
        sessions = Sessions(session, lambda: opening(statement_timeout=max(0.001, budget.left())))
        observer = Observer(lambda: opening(statement_timeout=LOOKING), progress)
        with closing(sessions), closing(observer):
            _run(Run(sessions, plan, check, budget, observer, result, started=started), session)
            result.seconds, result.turns = budget.spent(), sessions.round_trips
            result.more["retries"] = sessions.retries
        return result


def _run(run: Run, session: Session) -> None:
    """All of it. Raises MaintenanceError unless that is the end of the connection."""
    try:
        run.go()
    except MaintenanceError as error:
        if session.alive:
            raise
        run.result.status, run.result.message = FAILED, f"{LOST}: {error}"
