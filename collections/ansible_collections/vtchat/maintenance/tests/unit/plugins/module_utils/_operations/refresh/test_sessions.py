# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a session that may still hold counts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh.sessions import Before, Look, Watch

BEFORE = Before({"3/9"}, 500.0)


def someone(state: str | None = "idle", since: float = 900.0, **more: Any) -> dict[str, Any]:
    kind = "client backend" if state else None
    known = {
        "pid": 7,
        "type": kind,
        "state": state,
        "since": since,
        "asked": since - 0.1,
        "transaction": None,
        "sending": None,
    }
    return {**known, **more}


# The first look is at second 1000; transaction 3/9 has been open since before the last refresh, which was at second 500.
@pytest.mark.parametrize(
    ("session", "moment", "reported"),
    [
        (someone(since=989), 1000, True),
        (someone(since=989.1), 1000, False),  # the timer goes off after ten seconds, perhaps a little later
        (someone(since=999), 1009, False),
        (someone(since=999), 1010, True),
        (someone(since=1005), 1010, False),  # idle anew: a Sync does that
        (someone("active", transaction="3/8"), 1000, False),
        (someone("idle in transaction", transaction="3/10"), 2000, False),
        (someone("idle in transaction", transaction="3/9"), 1000, True),
        (someone("active"), 2000, False),  # COMMIT and Flush, and no Sync since
        (someone("idle in transaction (aborted)", transaction="3/11"), 2000, False),
        (someone("disabled"), 2000, False),
        (someone(None), 2000, False),  # whose state is hidden from us
        (someone(None, transaction="3/9"), 1000, True),
        (someone(type="logical replication apply worker"), 2000, False),
        (someone(type="some extension"), 2000, False),
        (someone("active", 400, type="walsender", sending="streaming"), 1000, True),
        (someone("active", 600, type="walsender", sending="streaming"), 1000, False),  # may have run statements before
        (someone("active", 400, type="walsender", sending="startup"), 1000, False),
        (someone(since=980, type="walsender"), 1000, True),
    ],
)
def test_who_may_still_hold_counts(session: dict[str, Any], moment: float, reported: bool) -> None:
    watch = Watch(Look([session], 1000.0), BEFORE)
    watch.see(Look([session], moment))
    assert watch.left == ([] if reported else [session])


def test_a_statement_a_minute_later_had_to_report() -> None:
    watch = Watch(Look([someone(since=999)], 1000.0), BEFORE)
    watch.see(Look([someone(since=1060.0, asked=1060.0)], 1061.5))
    assert watch.left
    watch.see(Look([someone(since=1070.0, asked=1040.0)], 1070.5))
    assert watch.left, "a Sync, and no statement, since"
    watch.see(Look([someone(since=1062.0, asked=1061.1)], 1063.0))
    assert not watch.left


def test_a_minute_counts_from_when_it_was_seen_idle() -> None:
    """What it committed without becoming idle has not been left over for a minute yet."""
    watch = Watch(Look([someone("active")], 1000.0), BEFORE)
    watch.see(Look([someone(since=1062.0, asked=1061.5)], 1063.0))
    assert watch.left


def test_who_came_later_or_has_gone_does_not_matter() -> None:
    busy = someone("active", transaction="3/10")
    watch = Watch(Look([], 1000.0), BEFORE)
    watch.see(Look([busy], 1001.0))
    assert not watch.left
    watch = Watch(Look([busy], 1000.0), BEFORE)
    watch.see(Look([], 1000.5))
    assert not watch.left


def test_when_it_can_be_known_at_the_earliest() -> None:
    assert Watch(Look([someone(since=995)], 1000.0), BEFORE).earliest() == pytest.approx(6)
    assert Watch(Look([someone("active"), someone(since=998)], 1000.0), BEFORE).earliest() == pytest.approx(9)
    assert Watch(Look([], 1000.0), BEFORE).earliest() < 0


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (someone(since=999), "session 7 was busy"),
        (someone("active", transaction="3/10"), "session 7 was in a transaction"),
        (someone(None), "session 7 does not show its state (GRANT pg_read_all_stats to our role)"),
        (someone(type="pg_cron"), "session 7 (pg_cron) reports its changes when it likes"),
    ],
)
def test_whom_we_waited_for(session: dict[str, Any], words: str) -> None:
    assert Watch(Look([session], 1000.0), BEFORE).why().startswith(words)


def test_open_transactions() -> None:
    assert Look([someone(), someone("active", transaction="3/10")], 1000.0).transactions == ["3/10"]
