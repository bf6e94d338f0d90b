# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which runs of a plan did not come, by its schedule then: what did not run leaves no trace. Pure.

Each run is followed by the next one, and what should have come between them did not. So a run that came late, or on the other
side of midnight, was not missed, and one by hand serves nothing but the moment before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

from .._schedule import At, Schedule, read_schedule

# A run that is to come at a moment of the week may be so late before it is missed, where no other has come since.
LATE = timedelta(hours=6)
MOST = 100_000  # moments between two runs: a history that is full of holes is no reason to count for ever


def missed_moments(runs: Sequence[tuple[float, Any]], now: float) -> Iterator[datetime]:
    """When runs should have begun and did not.

    runs  when each began, in seconds since 1970, ascending, with its schedule where that is another one than before it
    """
    schedule: Schedule | None = None
    for number, (began, said) in enumerate(runs):
        given = read_schedule(said, []) if isinstance(said, Mapping) else None
        schedule = given or schedule  # a run by hand has none, and changes none
        last = number == len(runs) - 1
        after = now if last else runs[number + 1][0]
        if schedule is not None:
            yield from _between(schedule, _moment(began), _moment(after), last)


def _between(schedule: Schedule, began: datetime, after: datetime, last: bool) -> Iterator[datetime]:
    """What did not come between two runs; last: between the latest one and now."""
    if isinstance(schedule, At):
        moment, number = schedule.following(began), 0
        while number < MOST and moment < after:
            following = schedule.following(moment)
            # The second run serves the last moment before it.
            if following <= after or (last and moment + LATE < after):
                yield moment
            moment, number = following, number + 1
        return
    gaps = int((after - began) / schedule.interval + 0.5) - 1
    for number in range(1, min(gaps, MOST) + 1):
        yield began + number * schedule.interval


def known_since(runs: Sequence[tuple[float, Any]]) -> float | None:
    """From when on somebody knows when the plan is due."""
    return next((began for began, said in runs if isinstance(said, Mapping) and read_schedule(said, [])), None)


def filled(
    days: Sequence[Mapping[str, Any]], runs: Sequence[tuple[float, Any]], now: float, zone: tzinfo, first: date
) -> list[dict[str, Any]]:
    """The days of a plan, each with ``expected``: runs that came and those that did not, None where nobody knows.

    Days on which nothing ran although it should have are there too. first: the first day of the page.
    """
    since = known_since(runs)
    lacking = Counter(str(moment.astimezone(zone).date()) for moment in missed_moments(runs, now))
    known = {str(one["day"]): dict(one) for one in days}
    for day in lacking:
        if day >= str(first):
            empty = {"day": day, "statuses": {}, "runs": 0, "median": None, "p95": None, "longest": None}
            known.setdefault(day, empty)
    begin = str(_moment(since).astimezone(zone).date()) if since is not None else None
    for day, one in known.items():
        one["expected"] = one["runs"] + lacking[day] if begin is not None and day >= begin else None
    return [known[day] for day in sorted(known)]


def missed(days: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many runs did not come, and how many should have."""
    due = [(one["expected"], one["runs"]) for one in days if one["expected"] is not None]
    return sum(expected - runs for expected, runs in due), sum(expected for expected, _runs in due)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
