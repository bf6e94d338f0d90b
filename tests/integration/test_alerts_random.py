# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any course of things: levels that change, a database and services that come and go. In the end everybody knows how it is."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, DEFERRED, INFO, WARNING
from tests.alerts import APP, CHECK, TOKEN, looked, refused, tell
from tests.doubles import contract
from tests.doubles.github import GitHub
from tests.doubles.service import CUT, CUT_AFTER, STATUS
from tests.doubles.webhook import Hooks
from tests.servers import Database

NUMBER = count(1)
STEP = st.tuples(
    st.sampled_from([INFO, WARNING, CRITICAL, "unknown", None, "away"]),  # None: not looked at; away: no database
    st.sampled_from(["", STATUS, CUT, CUT_AFTER]),  # what becomes of requests to GitHub
    st.sampled_from(["", STATUS, CUT]),  # and to the webhook
    st.integers(0, 2),  # how many of them
    st.booleans(),  # whether the history is used
)


def found(level: str | None) -> list[dict[str, Any]]:
    if level == "away":
        return [refused()]
    return [looked("another") if level is None else looked(CHECK, level)]


def tell_all(kept: Database, name: str, level: str, channels: list[dict[str, Any]]) -> None:
    """Tell everybody, and remember it. On a machine that stands still for seconds this may take more than once."""
    for _attempt in range(5):
        result = tell(kept.dsn, name, looked(CHECK, level), channels=channels)
        if DEFERRED not in result["totals"] and not result.get("warnings"):
            return
    raise AssertionError(result)


@given(st.lists(STEP, min_size=1, max_size=7), st.sampled_from([INFO, WARNING, CRITICAL]))
@settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_in_the_end_everybody_knows(kept: Database, course: list[tuple[Any, ...]], last: str) -> None:
    name = f"course {next(NUMBER)}"
    with closing(GitHub(contract.load(), TOKEN)) as github, closing(Hooks()) as hooks:
        channels = [
            {"github": {"repository": APP, "token": TOKEN, "api_url": github.url}},
            {"webhook": {"url": hooks.address("json")}},
        ]
        for level, by_github, by_hook, times, history in course:
            # Where both memories are away at once, nobody can know who was told: the guide says so.
            if by_github and history and level != "away":
                github.fail(503 if by_github == STATUS else 0, kind=by_github, times=times)
            # A closed issue is not looked through for what others are still owed.
            if by_hook and history:
                hooks.fail(503 if by_hook == STATUS else 0, kind=by_hook, times=times)
            tell(kept.dsn, name, *found(level), channels=channels, history=history)
            github._faults.clear()
            hooks._faults.clear()
        tell_all(kept, name, last, channels)
        result = tell(kept.dsn, name, looked(CHECK, last), channels=channels)
        assert set(result["totals"]) <= {"unchanged"}, result["actions"]
        issues = [one for one in github.issues.of.get(APP, []) if CHECK in one.title]
        states = [(one.state, one.title.partition(":")[0]) for one in issues]
        assert [state for state in states if state[0] == "open"] == ([] if last == INFO else [("open", last)]), states
        assert all(level == "well" for state, level in states if state == "closed"), states
        told = [one["level"] for one in hooks.got["json"] if one["check"] == CHECK]
        assert told[-1:] in ([], [INFO]) if last == INFO else told[-1] == last or CRITICAL in told, told
        unreachable = [one["level"] for one in hooks.got["json"] if one["check"] == "unreachable"]
        assert unreachable[-1:] in ([], [INFO]), unreachable
