# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a plan is due: triggers that come late, early, twice or not at all, and clocks that are put back or forward."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.due import decide, decide_without
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import At, Every, Schedule, read_schedule

HOUR = timedelta(hours=1)


def rule(text: str) -> Schedule:
    """ "1h" is an interval, whatever has a colon a moment of the week."""
    faults: list[str] = []
    found = read_schedule({"at" if ":" in text else "every": text}, faults)
    assert found is not None, faults
    return found


def utc(text: str) -> datetime:
    """Of "26 10:00:00" the day is one of November 2026, of which the 22nd and the 29th are Sundays."""
    text = text if text.startswith("2026") else f"2026-11-{text}"
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "last", "now", "is_due", "said"),
    [
        # Hourly: a trigger may be late by any time, and early by ten minutes.
        ("1h", None, "26 10:00:00", True, "no run of it has succeeded yet (every: 1h)"),
        ("1h", "26 10:00:00", "26 10:49:59", False, "it is due again from 2026-11-26 10:50 UTC on (every: 1h)"),
        ("1h", "26 10:00:00", "26 10:50:00", True, "began at 2026-11-26 10:00 UTC (every: 1h)"),
        ("1h", "26 10:07:31", "26 11:00:02", True, "began at 2026-11-26 10:07 UTC"),
        ("1h", "26 10:59:00", "26 11:00:00", False, "due again from 2026-11-26 11:49 UTC"),
        ("1h", "20 10:00:00", "26 11:00:00", True, "began at 2026-11-20 10:00 UTC"),
        ("1h", "26 10:00:00", "26 10:00:00", False, "due again from"),
        # A sixth of a short interval.
        ("30m", "26 10:00:00", "26 10:24:59", False, "from 2026-11-26 10:25 UTC on"),
        ("30m", "26 10:00:00", "26 10:25:00", True, ""),
        ("7d", "19 10:00:00", "26 09:49:59", False, "from 2026-11-26 09:50 UTC on"),
        ("7d", "19 10:00:00", "26 09:50:00", True, ""),
        # Weekly: done since the last Sunday 02:00 or not; missed ones are caught up, once.
        ("Sun 02:00 UTC", None, "26 10:00:00", True, "no run of it has succeeded yet (at: Sun 02:00 UTC)"),
        ("Sun 02:00 UTC", "22 02:00:00", "29 01:59:59", False, "it is due again at 2026-11-29 02:00 UTC"),
        ("Sun 02:00 UTC", "22 02:04:11", "29 02:00:00", True, "began at 2026-11-22 02:04 UTC, before 2026-11-29 02:00 UTC"),
        ("Sun 02:00 UTC", "15 02:00:00", "26 10:00:00", True, "before 2026-11-22 02:00 UTC"),
        ("Sun 02:00 UTC", "26 10:00:00", "26 11:00:00", False, "it is due again at 2026-11-29 02:00 UTC"),
        ("Sun 02:00 UTC", "22 02:00:00", "22 02:00:00", False, "it is due again at 2026-11-29 02:00 UTC"),
        # One that began right before the moment, and was still running then, is not that of the moment.
        ("Sun 02:00 UTC", "29 01:55:00", "29 03:00:00", True, "began at 2026-11-29 01:55 UTC, before 2026-11-29 02:00 UTC"),
        # By hand on Saturday: Sunday's is due all the same.
        ("Sun 02:00 UTC", "28 12:00:00", "29 02:10:00", True, ""),
        ("02:00", "28 02:00:05", "28 23:00:00", False, "due again at 2026-11-29 02:00 UTC"),
        ("Mon,Thu 02:00 UTC", "23 02:00:00", "26 02:00:00", True, ""),
        # The clock in Berlin: 02:30 is left out on 29 March, and comes twice on 25 October.
        ("Sun 02:30 Europe/Berlin", "2026-03-22 02:00:00", "2026-03-29 00:59:59", False, "at 2026-03-29 03:00 Europe/Berlin"),
        ("Sun 02:30 Europe/Berlin", "2026-03-22 02:00:00", "2026-03-29 01:00:00", True, ""),
        ("Sun 02:30 Europe/Berlin", "2026-03-29 01:00:00", "2026-03-29 01:30:00", False, "at 2026-04-05 02:30 Europe/Berlin"),
        ("Sun 02:30 Europe/Berlin", "2026-10-18 01:00:00", "2026-10-25 00:30:00", True, ""),
        ("Sun 02:30 Europe/Berlin", "2026-10-25 00:30:00", "2026-10-25 01:30:00", False, "at 2026-11-01 02:30 Europe/Berlin"),
        ("1h", "2026-10-25 00:30:00", "2026-10-25 01:30:00", True, ""),
    ],
)  # fmt: skip
def test_by_the_history(text: str, last: str | None, now: str, is_due: bool, said: str) -> None:
    decided = decide(rule(text), utc(last) if last else None, utc(now))
    assert (decided.is_due, decided.warning) == (is_due, "")
    assert said in decided.reason


@pytest.mark.parametrize(
    ("text", "now", "is_due", "said"),
    [
        ("1h", "26 10:00:00", True, "when it last succeeded is not known (every: 1h)"),
        ("Sun 02:00 UTC", "29 01:59:59", False, "2026-11-22 02:00 UTC came more than an hour ago; it is due again at 2026-11-29"),
        ("Sun 02:00 UTC", "29 02:00:00", True, "2026-11-29 02:00 UTC has come less than an hour ago"),
        ("Sun 02:00 UTC", "29 02:59:59", True, ""),
        ("Sun 02:00 UTC", "29 03:00:00", False, "due again at 2026-12-06 02:00 UTC"),
        ("Sun 02:30 Europe/Berlin", "2026-10-25 01:30:00", False, "due again at 2026-11-01 02:30 Europe/Berlin"),
    ],
)  # fmt: skip
def test_where_nothing_is_remembered(text: str, now: str, is_due: bool, said: str) -> None:
    decided = decide_without(rule(text), utc(now), "history: false")
    assert decided.is_due == is_due
    assert said in decided.reason
    assert "it is not known when it last succeeded (history: false)" in decided.warning


RULES = [
    "1h",
    "30m",
    "1d",
    "Sun 02:00 UTC",
    "02:30 Europe/Berlin",
    "Mon,Thu 23:45 America/New_York",
    "00:30 Australia/Lord_Howe",
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(RULES),
    st.sampled_from(["2026-03-27 00:00:00", "2026-10-23 00:00:00", "2026-04-03 00:00:00", "2026-11-30 00:00:00"]),
    st.lists(st.integers(1, 5 * 3600), min_size=1, max_size=60),
)
def test_triggers_at_any_time_run_it_once_for_each_time_and_lose_none(text: str, begin: str, pauses: list[int]) -> None:
    """Triggers come now and then; each due one runs and succeeds at once."""
    schedule, now, last = rule(text), utc(begin), utc(begin)
    runs = [last]
    for pause in pauses:
        before, now = now, now + timedelta(seconds=pause)
        if decide(schedule, last, now).is_due:
            last = now
            runs.append(now)
        # Whatever was missed is caught up by the first trigger after it, and asking again at once finds nothing to do.
        assert not decide(schedule, last, now).is_due
        assert decide(schedule, last, now + timedelta(days=8)).is_due
        if isinstance(schedule, At):
            planned = schedule.previous(now)
            assert last >= planned or planned <= utc(begin)
            assert last == now or not before < planned <= now
    if isinstance(schedule, Every):
        gaps = [later - earlier for earlier, later in zip(runs, runs[1:])]
        assert all(gap >= schedule.interval - schedule.tolerance for gap in gaps)
