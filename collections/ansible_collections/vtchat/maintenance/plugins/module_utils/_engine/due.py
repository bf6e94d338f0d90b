# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether a plan is due. Pure.

Triggers come late, twice, or not at all. So a trigger only asks, and what counts is when the plan was last done: the start of its
latest run that succeeded, by the server's clock, which is the same for whoever asks. ``partial`` is success, and so is a run in
which nothing failed but steps that read: a database that is ill does not become well by vacuuming it each hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .._result import SKIPPED, Result
from .._schedule import At, Every, Schedule

ALWAYS = "always"
AUTO = "auto"
DUE = (ALWAYS, AUTO)
# Where nothing is remembered, a moment of the week is served by the triggers of so long after it: of hourly ones that is one.
UNREMEMBERED = timedelta(hours=1)


@dataclass(frozen=True)
class Due:
    """Whether it is due, and why or why not, as the end of a sentence. warning: what could not be looked at."""

    is_due: bool
    reason: str
    warning: str = ""


def message(due: Due) -> str:
    """The message of a run for which there is nothing to do yet."""
    return f"not due: {due.reason}; nothing was done"


def skipped(plan: str, check: bool, due: Due, warnings: list[str]) -> Result:
    """The result of a run that is not due, where nobody was connected to."""
    more = {"run_id": None, "budget": 0.0, "due": due.reason}
    return Result(plan, check, status=SKIPPED, message=message(due), warnings=warnings, more=more)


def decide(schedule: Schedule, last: datetime | None, now: datetime) -> Due:
    """By the history. last: when its latest run that succeeded began, None if there is none; now: by the same clock."""
    if last is None:
        return Due(True, f"no run of it has succeeded yet ({schedule})")
    began = f"the last run of it that succeeded began at {schedule.told(last)}"
    if isinstance(schedule, Every):
        again = last + schedule.interval - schedule.tolerance
        if now >= again:
            return Due(True, f"{began} ({schedule})")
        return Due(False, f"{began}; it is due again from {schedule.told(again)} on ({schedule})")
    planned = schedule.previous(now)
    if last < planned:
        return Due(True, f"{began}, before {schedule.told(planned)} ({schedule})")
    return Due(False, f"{began}; it is due again at {schedule.told(schedule.following(now))} ({schedule})")


def decide_without(schedule: Schedule, now: datetime, why: str) -> Due:
    """Where no run is remembered: always by an interval, and within an hour after a moment of the week."""
    unknown = f"it is not known when it last succeeded ({why}), so it counts as due"
    if not isinstance(schedule, At):
        return Due(True, f"when it last succeeded is not known ({schedule})", f"{unknown} each time")
    planned = schedule.previous(now)
    warning = f"{unknown} in the hour after each of its moments, and is not caught up"
    if now < planned + UNREMEMBERED:
        return Due(True, f"{schedule.told(planned)} has come less than an hour ago ({schedule})", warning)
    return Due(
        False,
        f"{schedule.told(planned)} came more than an hour ago; it is due again at "
        f"{schedule.told(schedule.following(now))} ({schedule})",
        warning,
    )
