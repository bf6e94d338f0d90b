# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How many runs of a plan were to come on each day, by its schedule: what did not run leaves no trace. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any

from .._schedule import Every, Schedule

DAY = timedelta(days=1)


def filled(
    days: Sequence[Mapping[str, Any]], schedule: Schedule | None, zone: tzinfo, first: date, last: date
) -> list[dict[str, Any]]:
    """The days of a plan, each with ``expected``, and those without a run on which there should have been one.

    first  the first day that is known to be one of this schedule; last  today, of which nobody knows what is still to come
    """
    known = {str(one["day"]): {**one, "expected": None} for one in days}
    day = first
    while schedule is not None and day < last:
        due = _due(schedule, day, zone)
        if due is not None and (str(day) in known or due):
            known.setdefault(
                str(day), {"day": str(day), "statuses": {}, "runs": 0, "median": None, "p95": None, "longest": None}
            )
            known[str(day)]["expected"] = due
        day += DAY
    return _on_time([known[name] for name in sorted(known)])


def missed(days: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many runs did not come, and how many should have."""
    due = [(one["expected"], one["runs"]) for one in days if one["expected"] is not None]
    return sum(max(0, expected - runs) for expected, runs in due), sum(expected for expected, _runs in due)


def _due(schedule: Schedule, day: date, zone: tzinfo) -> int | None:
    """Runs that are to begin on a day of the page, None where that cannot be said of a day."""
    begin, end = (datetime.combine(one, time(), zone).astimezone(timezone.utc) for one in (day, day + DAY))
    if isinstance(schedule, Every):
        return int((end - begin) / schedule.interval) if schedule.interval <= DAY else None
    number, moment = 0, schedule.following(begin - timedelta(microseconds=1))
    while moment < end:
        number, moment = number + 1, schedule.following(moment)
    return number


def _on_time(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A run that came shortly before midnight instead of after it, or the other way round, was not missed."""
    surplus = {one["day"]: max(0, one["runs"] - one["expected"]) for one in days if one["expected"] is not None}
    for one in days:
        for other in (DAY, -DAY):
            beside = str(date.fromisoformat(one["day"]) + other)
            lent = min(max(0, (one["expected"] or 0) - one["runs"]), surplus.get(beside, 0))
            if lent:
                surplus[beside] -= lent
                one["expected"] -= lent
    return days
