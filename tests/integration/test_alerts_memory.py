# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is remembered of alerts, where, and by whom it is told: without a database, without a history, twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import memory, webhook
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, INFO, WARNING
from tests.alerts import (
    APP,
    CHECK,
    channel,
    github_double,
    issues,
    looked,
    only_issue,
    outcomes,
    reasons,
    refused,
    tell,
    writes,
)
from tests.doubles.github import GitHub
from tests.doubles.service import CUT
from tests.doubles.webhook import Hooks
from tests.servers import Database, Server


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    yield from github_double(monkeypatch)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    double = Hooks()
    yield double
    double.close()


def test_without_a_memory_the_issues_are_one(github: GitHub) -> None:
    """The database cannot be reached, which is what is told. GitHub remembers until it can be, and for the other machines."""

    def told(*results: dict[str, Any], **options: Any) -> dict[str, Any]:
        dsn = "postgresql://u@127.0.0.1:9/app"
        return tell(dsn, "down", *results, channels=[channel(github)], connect_deadline=0, **options)

    first = told(refused())
    assert "opened #1" in reasons(first)
    (warning,) = first["warnings"]
    assert "not remembered" in warning
    assert "was not reached" in warning
    again = told(refused())
    assert (outcomes(again), len(issues(github))) == ([("unreachable", "unchanged")], 1)
    github.issues.of[APP][0].state = "closed"
    told(refused())
    assert (len(issues(github)), only_issue(github).state) == (1, "closed")
    github.issues.of[APP][0].state = "open"
    back = told(looked("age"))
    assert "closed #1" in reasons(back)
    assert "reopened #1" in reasons(told(refused(), history=False))


def test_what_other_channels_were_told_stands_in_the_issue(github: GitHub, hooks: Hooks, kept: Database) -> None:
    """So a webhook is told of the recovery though the database did not know of the failure."""
    channels = [channel(github), {"webhook": {"url": hooks.address("json")}}]
    nowhere = "postgresql://u@127.0.0.1:9/app"
    tell(nowhere, "copy", refused(), channels=channels)
    tell(nowhere, "copy", refused(), channels=channels)
    tell(kept.dsn, "copy", looked("age"), channels=channels)
    tell(kept.dsn, "copy", looked("age"), channels=channels)
    assert [one["event"] for one in hooks.got["json"]] == ["raised", "recovered"]
    assert only_issue(github).state == "closed"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 503}, "503"),
        ({"kind": CUT}, "lost"),
        ({"status": 403, "body": {"message": "Resource not accessible by integration"}}, "may not do this"),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, "429"),
        ({"status": 200, "body": {"not": "a list"}}, "is this GitHub's API"),
        ({"status": 200, "body": "<html>"}, "not JSON"),
    ],
)
def test_a_channel_that_is_down_is_told_next_time(
    github: GitHub, hooks: Hooks, kept: Database, fault: dict[str, Any], said: str
) -> None:
    name = f"down {said}"
    channels = [channel(github), {"webhook": {"url": hooks.address("slack"), "format": "slack"}}]
    github.fail(times=100, **fault)
    late = tell(kept.dsn, name, looked(CHECK, CRITICAL), looked("age", WARNING), channels=channels)
    assert (late["status"], late["totals"]) == ("partial", {"done": 2, "deferred": 2})
    assert said in reasons(late)
    assert len(github.requests) <= 2, "what is down for one is down for all"
    assert len(hooks.got["slack"]) == 2
    github._faults.clear()
    # Nothing has looked at one of them since: what is owed is told all the same.
    done = tell(kept.dsn, name, looked(CHECK, CRITICAL), channels=channels)
    assert done["totals"] == {"done": 2, "unchanged": 2}
    assert {one.title for one in issues(github)} == {f"critical: {CHECK} on {name}", f"warning: age on {name}"}
    assert len(hooks.got["slack"]) == 2
    github.fail(times=100, **fault)
    tell(kept.dsn, name, looked(CHECK), looked("age"), channels=channels)
    github._faults.clear()
    tell(kept.dsn, name, looked(CHECK), channels=channels)
    assert {one.state for one in issues(github)} == {"closed"}


def test_what_was_not_looked_at_stays_as_it_was_written(github: GitHub, kept: Database) -> None:
    """An issue remembers the level, and not what it says."""
    tell(kept.dsn, "unseen", looked("a", WARNING), channels=[channel(github)], history=False)
    before = only_issue(github).body
    result = tell(kept.dsn, "unseen", looked("b"), channels=[channel(github)], history=False)
    assert outcomes(result) == [("a", "unchanged")]
    assert only_issue(github).body == before


def test_each_getting_worse_is_told_also_after_it_was_better(hooks: Hooks, kept: Database) -> None:
    channels = [{"webhook": {"url": hooks.address("json")}}]
    for level in (CRITICAL, WARNING, WARNING, CRITICAL, CRITICAL, INFO, INFO):
        tell(kept.dsn, "swings", looked(CHECK, level), channels=channels)
    told = [(one["event"], one["level"]) for one in hooks.got["json"]]
    assert told == [("raised", CRITICAL), ("worse", CRITICAL), ("recovered", INFO)]


def test_a_fault_of_ours_in_one_channel_does_not_stop_the_others(
    github: GitHub, hooks: Hooks, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_anything: Any) -> Any:
        raise ZeroDivisionError("with a password in it")

    monkeypatch.setattr(webhook.Webhook, "tell", broken)
    channels = [{"webhook": {"url": hooks.address("json")}}, channel(github)]
    result = tell(kept.dsn, "fault", looked("a", CRITICAL), looked("b", WARNING), channels=channels)
    assert result["totals"] == {"done": 2, "deferred": 2}
    assert "ZeroDivisionError in test_alerts_memory.py" in reasons(result)
    assert "password" not in reasons(result)


def test_check_mode_shows_and_changes_nothing(github: GitHub, hooks: Hooks, kept: Database) -> None:
    channels = [channel(github), {"webhook": {"url": hooks.address("discord"), "format": "discord"}}]
    before = kept.sql("SELECT * FROM maintenance.state ORDER BY target")
    planned = tell(kept.dsn, "check", looked(CHECK, WARNING, "sessions"), channels=channels, check=True)
    assert outcomes(planned) == [(CHECK, "planned")] * 2
    assert planned["changed"]
    assert [one["after"] for one in planned["diff"]] == [
        f"warning: {CHECK} on check\nwarning: sessions: 12 are left\n"
    ] * 2
    assert (writes(github), hooks.requests) == ([], [])
    assert kept.sql("SELECT * FROM maintenance.state ORDER BY target") == before
    tell(kept.dsn, "check", looked(CHECK, WARNING, "sessions"), channels=channels)
    known = tell(kept.dsn, "check", looked(CHECK, WARNING, "sessions"), channels=channels, check=True)
    assert outcomes(known) == [(CHECK, "unchanged")] * 2


def test_two_at_once_tell_once(github: GitHub, hooks: Hooks, kept: Database) -> None:
    channels = [channel(github), {"webhook": {"url": hooks.address("json")}}]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _n: tell(kept.dsn, "race", looked(CHECK, WARNING), channels=channels), range(4)))
    assert sorted(one["totals"].get("done", 0) for one in done) == [0, 0, 0, 2]
    assert (len(issues(github)), len(hooks.got["json"])) == (1, 1)


def test_somebody_who_tells_for_ever_is_not_waited_for(
    github: GitHub, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PATIENCE", 0.2)
    other = kept.connect()
    with other.cursor() as cursor:
        cursor.execute(memory.LOCK, memory.KEYS)
    waited = tell(kept.dsn, "waits", looked(CHECK, WARNING), channels=[channel(github)])
    other.close()
    assert (waited["actions"], issues(github)) == ([], [])
    assert "another is telling" in waited["warnings"][0]


@pytest.mark.parametrize("lacks", ["history", "rights"])
def test_without_a_history_or_rights_it_is_told_all_the_same(
    github: GitHub, kept: Database, server: Server, lacks: str
) -> None:
    if lacks == "history":
        fresh = server.create_database()
        result = tell(fresh.dsn, lacks, looked(CHECK, WARNING), channels=[channel(github)])
        fresh.close()
        assert "there is no history yet: the next run of a plan" in result["warnings"][0]
    else:
        kept.sql("CREATE ROLE teller NOLOGIN")
        result = tell(kept.dsn, lacks, looked(CHECK, WARNING), channels=[channel(github)], role="teller")
        kept.sql("DROP ROLE teller")
        assert "GRANT USAGE ON SCHEMA maintenance" in result["warnings"][0] or "belongs to" in result["warnings"][0]
    assert outcomes(result) == [(CHECK, "done")]


def test_a_database_that_goes_away_meanwhile_loses_no_message(
    hooks: Hooks, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = hooks.handle

    def gone(request: Any) -> Any:
        kept.sql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'vtchat.maintenance alerts'"
        )
        return handle(request)

    channels = [{"webhook": {"url": hooks.address("json")}}]
    monkeypatch.setattr(hooks, "handle", gone)
    result = tell(kept.dsn, "away", looked(CHECK, WARNING), channels=channels)
    assert outcomes(result) == [(CHECK, "done")]
    assert "could not be written" in result["warnings"][0]
    monkeypatch.setattr(hooks, "handle", handle)
    assert outcomes(tell(kept.dsn, "away", looked(CHECK, WARNING), channels=channels)) == [(CHECK, "done")]
    assert outcomes(tell(kept.dsn, "away", looked(CHECK, WARNING), channels=channels)) == [(CHECK, "unchanged")]


def test_what_somebody_has_written_into_the_memory_stops_nothing(hooks: Hooks, kept: Database) -> None:
    kept.sql("""INSERT INTO maintenance.state (operation, target, value) VALUES ('alerts', 'memory/a', '7'),
                ('alerts', 'memory/expired-rows', '{"level": "info", "since": "NaN", "name": 1}')""")
    channels = [{"webhook": {"url": hooks.address("json")}}]
    told = [outcomes(tell(kept.dsn, "memory", looked(CHECK, WARNING), channels=channels)) for _round in range(2)]
    assert told == [[(CHECK, "done")], [(CHECK, "unchanged")]]


def test_what_has_been_well_for_long_is_forgotten(hooks: Hooks, kept: Database) -> None:
    channels = [{"webhook": {"url": hooks.address("json")}}]
    for level in (WARNING, INFO):
        tell(kept.dsn, "old", looked(CHECK, level), looked("other", WARNING), channels=channels)
    kept.sql("UPDATE maintenance.state SET updated_at = now() - interval '91 days' WHERE target LIKE 'old/%'")
    tell(kept.dsn, "old", looked("third", WARNING), channels=channels)
    left = kept.sql("SELECT target FROM maintenance.state WHERE target LIKE 'old/%' ORDER BY target")
    assert left == [("old/other",), ("old/third",)]


@pytest.mark.parametrize(
    ("dsn", "environment", "key"),
    [
        ("postgresql://u@127.0.0.1:9/app", "other", "app/unreachable"),
        ("postgresql://u@127.0.0.1:9", "other", "other/unreachable"),
        ("postgresql://u@127.0.0.1:9", "", "u/unreachable"),
    ],
)
def test_the_name_of_a_database_that_is_away(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, dsn: str, environment: str, key: str
) -> None:
    """The one that the server would say: so that it is the same when it is back."""
    monkeypatch.setenv("PGDATABASE", environment)
    tell(dsn, "", refused(), channels=[{"webhook": {"url": hooks.address("json")}}])
    assert hooks.got["json"][0]["key"] == key


def test_results_of_several_databases_have_one_memory(hooks: Hooks, kept: Database) -> None:
    channels = [{"webhook": {"url": hooks.address("json")}}]
    results = [{**refused(), "inventory_host": "gone"}, {**looked(CHECK, WARNING), "inventory_host": "there"}]
    for outcome in ("done", "unchanged"):
        assert tell(kept.dsn, "", *results, channels=channels)["totals"] == {outcome: 2}
    assert [one["key"] for one in hooks.got["json"]] == ["gone/unreachable", f"there/{CHECK}"]


def test_alerts_of_other_databases_are_left_alone(github: GitHub, kept: Database) -> None:
    """Two databases have their issues in one repository."""
    tell(kept.dsn, "blue", looked(CHECK, CRITICAL), channels=[channel(github)])
    tell(kept.dsn, "green", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    result = tell(kept.dsn, "green", looked(CHECK), channels=[channel(github)], history=False)
    assert outcomes(result) == [(CHECK, "done")]
    assert {one.title: one.state for one in issues(github)} == {
        f"critical: {CHECK} on blue": "open", f"well: {CHECK} on green": "closed",
    }  # fmt: skip
