# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told what, as a table, and what holds for every course of things."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.conditions import RANK, Condition, Fact
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.decide import (
    BETTER,
    KEEP,
    QUIET,
    RAISE,
    RECOVER,
    REMIND,
    WORSE,
    Known,
    Record,
    after,
    decide,
    merged,
    now_known,
    read_known,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, INFO, WARNING

DAY = 86400.0
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("level", "told", "days", "seen", "verb"),
    [
        # how it is, what was told, how long ago, whether it was looked at now -> what is told
        (INFO, None, 0, True, KEEP),
        (INFO, INFO, 100, True, KEEP),
        (WARNING, None, 0, True, RAISE),
        (CRITICAL, None, 0, True, RAISE),
        (WARNING, INFO, 0, True, RAISE),
        (WARNING, WARNING, 6.99, True, KEEP),
        (WARNING, WARNING, 7, True, REMIND),
        (WARNING, WARNING, 7, False, KEEP),  # the check is gone: nobody is reminded for ever
        (CRITICAL, WARNING, 0, True, WORSE),
        (CRITICAL, WARNING, 30, True, WORSE),
        (WARNING, CRITICAL, 1, True, BETTER),
        (WARNING, CRITICAL, 8, True, REMIND),
        (INFO, WARNING, 0, True, RECOVER),
        (INFO, CRITICAL, 30, True, RECOVER),
        # The channel was down when it had to be told: it is told, whether or not it was looked at since.
        (CRITICAL, None, 0, False, RAISE),
        (CRITICAL, WARNING, 0, False, WORSE),
        (INFO, CRITICAL, 0, False, RECOVER),
    ],
)
def test_what_is_told(level: str, told: str | None, days: float, seen: bool, verb: str) -> None:
    record = None if told is None else Record(told, NOW - days * DAY, 7)
    assert decide(level, record, seen, NOW, 7 * DAY) == verb


@pytest.mark.parametrize(
    ("verb", "level", "record"),
    [
        (RAISE, WARNING, Record(WARNING, NOW, 9)),
        (WORSE, CRITICAL, Record(CRITICAL, NOW, 9)),
        (REMIND, WARNING, Record(WARNING, NOW, 9)),
        (RECOVER, INFO, Record(INFO, NOW, 9)),
        (BETTER, WARNING, Record(WARNING, 5.0, 9)),  # the reminder counts from the last message
        (KEEP, CRITICAL, Record(CRITICAL, 5.0, 7)),
    ],
)
def test_what_is_remembered_of_it(verb: str, level: str, record: Record) -> None:
    assert after(verb, Record(CRITICAL, 5.0, 7), level, NOW, 9) == record


def known(level: str, since: float = 10.0, **channels: Record) -> Known:
    return Known("db", "check", level, since, (Fact("t", level, "old"),) if level != INFO else (), channels=channels)


@pytest.mark.parametrize(
    ("before", "found", "sure", "level", "since"),
    [
        (None, WARNING, True, WARNING, NOW),
        (INFO, WARNING, True, WARNING, NOW),
        (WARNING, CRITICAL, True, CRITICAL, 10.0),
        (CRITICAL, WARNING, True, WARNING, 10.0),
        (WARNING, INFO, True, INFO, 10.0),  # so that the recovery says how long it was
        (None, INFO, True, INFO, 0.0),
        (CRITICAL, WARNING, False, CRITICAL, 10.0),  # a part of it was not seen: it may be as bad as before
        (CRITICAL, INFO, False, CRITICAL, 10.0),
        (WARNING, CRITICAL, False, CRITICAL, 10.0),  # and what was seen is bad enough
    ],
)
def test_how_it_is_now(before: str | None, found: str, sure: bool, level: str, since: float) -> None:
    condition = Condition("db", "check", found, sure, (Fact("t", found, "new"),) if found != INFO else ())
    now = now_known(None if before is None else known(before), condition, NOW)
    assert (now.level, now.since) == (level, since)
    kept = before is not None and not sure and RANK[found] < RANK[before]
    assert [fact.message for fact in now.facts] == ([] if level == INFO else ["old" if kept else "new"])


def test_of_two_memories_the_later_one_counts_channel_by_channel() -> None:
    ours = known(CRITICAL, a=Record(WARNING, 1.0), b=Record(CRITICAL, 5.0))
    theirs = known(WARNING, a=Record(CRITICAL, 2.0), b=Record(WARNING, 4.0), c=Record(WARNING, 3.0, 8))
    both = merged(ours, theirs)
    assert both.channels == {"a": Record(CRITICAL, 2.0), "b": Record(CRITICAL, 5.0), "c": Record(WARNING, 3.0, 8)}
    assert both.level == CRITICAL
    assert merged(None, theirs) == theirs


def test_what_is_remembered_comes_back_from_json() -> None:
    whole = known(WARNING, github=Record(CRITICAL, 3.5, 12))
    assert read_known(json.loads(json.dumps(whole.as_dict()))) == whole


@pytest.mark.parametrize("broken", [None, [], "x", {}, {"name": 1}, 7])
def test_what_is_none_of_ours_is_nothing(broken: Any) -> None:
    assert read_known(broken) is None


@pytest.mark.parametrize(
    "change",
    [
        {"level": "high"},
        {"since": "soon"},
        {"since": float("nan")},
        {"since": float("inf")},
        {"since": -1},
        {"since": 1e12},
        {"more": float("inf")},
        {"channels": {"a": {"level": "info", "told": "NaN", "ref": 1}}},
        {"channels": []},
        {"channels": {"a": {"level": "info"}}},
        {"channels": {"a": {"level": "awful", "told": 1, "ref": 1}}},
        {"channels": {"a": {"level": "info", "told": 1, "ref": "x"}}},
        {"facts": [{"subject": "t"}]},
        {"facts": [{"subject": "t", "level": "bad", "message": "m", "advice": ""}]},
        {"facts": 5},
        {"more": None},
    ],
)
def test_what_somebody_has_changed_is_nothing(change: dict[str, Any]) -> None:
    assert read_known({**known(WARNING, a=Record(WARNING, 1.0, 1)).as_dict(), **change}) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([INFO, WARNING, CRITICAL, None]),  # what was found; None: nothing has looked
            st.booleans(),  # whether the channel can be reached
            st.floats(0, 4 * DAY),  # how much later that was
        ),
        max_size=30,
    )
)
@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_a_channel_is_told_each_change_once(course: list[tuple[str | None, bool, float]]) -> None:
    now, state, record = NOW, None, None
    told: list[tuple[float, str, str]] = []  # (when, verb, level) of messages
    for found, reachable, later in course:
        now += later
        if found is not None:
            state = now_known(state, Condition("db", "check", found), now)
        if state is None:
            continue
        verb = decide(state.level, record, found is not None, now, 7 * DAY)
        if verb in (KEEP, *QUIET) or reachable:
            told += [(now, verb, state.level)] if verb not in (KEEP, *QUIET) else []
            record = after(verb, record, state.level, now, 1) if verb != KEEP or record else record
        # Once it can be reached, it knows how things are.
        assert not reachable or (record or Record()).level == state.level
    for (when, _verb, level), (then, verb, next_level) in zip(told, told[1:]):
        assert (level, verb) != (next_level, RAISE), "raised twice without a recovery in between"
        assert verb != REMIND or then - when >= 7 * DAY
        assert verb != RECOVER or level != INFO, "recovered twice"
    assert not told or told[0][1] == RAISE
