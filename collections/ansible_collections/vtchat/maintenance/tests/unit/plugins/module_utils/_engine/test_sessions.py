# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several sessions did together, those that were lost included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.sessions import Sessions


def test_what_a_lost_session_did_counts_all_the_same() -> None:
    made: list[Any] = []

    def session() -> Any:
        made.append(
            SimpleNamespace(alive=True, round_trips=1, retries=1, row=lambda _query: {"spare": 90}, close=lambda: None)
        )
        return made[-1]

    sessions = Sessions(session(), session)

    def work(used: Any, item: int) -> None:
        used.round_trips += 10
        used.alive = used is made[0]  # all others are lost with the first thing that they do

    for _step in range(3):
        assert sessions.each(range(8), 2, work) == []
    assert (sessions.round_trips, sessions.retries) == (len(made) + 3 * 8 * 10, len(made))
    assert len(made) >= 2
