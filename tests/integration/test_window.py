# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows of runs: nothing outside of them, not even a connection; inside, no longer than they are open."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan_run import OneStep
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import NAMES
from tests.runs import perform, window
from tests.servers import Database

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
ANALYZE = [{"analyze": {"tables": ["t"]}}]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("zone", ["UTC", "America/Phoenix", "Asia/Kathmandu"])
def test_outside_of_it_nobody_is_connected_to(zone: str, check: bool) -> None:
    for hours in (window(2, 4, zone), window(-4, -2, zone)):
        for name, options in (("run", {"plan": "p", "steps": ANALYZE}), ("analyze", {"tables": ["t"]})):
            result = perform(name, NOWHERE, check, window=hours, **options)
            assert (result["status"], result["changed"], result["actions"], result["turns"]) == (
                "skipped",
                False,
                [],
                0,
            )
            assert not result.get("failed")
            told = rf"nothing was done; it opens at 20\d\d-\d\d-\d\d {hours['not_before']} {re.escape(zone)}$"
            assert re.search(told, result["msg"])


def test_inside_of_it_the_budget_does_not_reach_beyond_its_end(database: Database) -> None:
    database.sql("CREATE TABLE t (id int)")
    for hours, budget, most in ((window(-1, 0.2), 86400, 0.2 * 3600), (window(-1, 8), 600, 600), (None, 50, 50)):
        given: dict[str, Any] = {"window": hours, "budget": budget}
        result = perform("run", database.dsn, plan="p", steps=ANALYZE, **given)
        assert (result["status"], result["totals"]) in [("ok", {"done": 1}), ("ok", {"unchanged": 1})]
        assert most - 120 < result["budget"] <= most


def test_every_module_with_a_budget_has_a_window() -> None:
    for name in ("run", *NAMES):
        assert "window" in _edge.spec(name).options
    assert OneStep("purge").SPEC.options["timezone"] == {"type": "str"}, "that of the column is another one"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"not_before": "22:00"}, "missing required arguments: not_after found in window"),
        ({"not_before": "22:00", "not_after": "22:00"}, "window: not_before and not_after are both 22:00"),
        ({"not_before": 1320, "not_after": "05:00"}, "window.not_before: '1320' is no time of day"),
        ({"not_before": "22:00", "not_after": "05:00", "zone": "UTC"}, "window.zone"),
        ({"not_before": "22:00", "not_after": "05:00", "timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
    ],
)
def test_what_is_wrong_is_told_with_all_other_faults(wrong: dict[str, Any], said: str) -> None:
    for name, options in (("run", {"plan": "p", "steps": ANALYZE}), ("analyze", {"tables": ["t"]})):
        with pytest.raises(OptionError) as refused:
            _edge.validated(name, {"dsn": NOWHERE, "window": wrong, "budget": "soon", **options})
        assert any("budget" in error for error in refused.value.errors)
        with pytest.raises(OptionError, match=re.escape(said)):
            _edge.validated(name, {"dsn": NOWHERE, "window": wrong, **options})
