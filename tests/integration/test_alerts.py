# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts by issues against the double of GitHub, with the memory in a database: who is told what, when, and only once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import issues as alert_issues
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import memory, webhook
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, INFO, WARNING
from tests.alerts import HOSTILE, LABEL, TOKEN, later, looked, outcomes, reasons, refused, tell
from tests.doubles import contract
from tests.doubles.github import GitHub
from tests.doubles.issues import Issue
from tests.doubles.service import CUT, CUT_AFTER
from tests.doubles.webhook import Hooks
from tests.runs import perform
from tests.servers import Database, Server

APP = "example/app"
CHECK = "expired-rows"


@pytest.fixture(scope="module")
def kept(server: Server) -> Iterator[Database]:
    """A database with a history. Each test is about a name of its own."""
    made = server.create_database()
    made.sql("CREATE TABLE t (id int)")
    perform("analyze", made.dsn, tables=["t"])
    yield made
    made.close()


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    double = GitHub(contract.load(), TOKEN)
    yield double
    double.close()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    double = Hooks()
    yield double
    double.close()


def channel(github: GitHub, **options: Any) -> dict[str, Any]:
    return {"github": {"repository": APP, "token": TOKEN, "api_url": github.url, **options}}


def issues(github: GitHub) -> list[Issue]:
    return github.issues.of.get(APP, [])


def only_issue(github: GitHub) -> Issue:
    (issue,) = issues(github)
    return issue


def writes(github: GitHub) -> list[str]:
    """The requests that change something, since this was asked the last time."""
    found = [
        f"{one.method} {one.path.rpartition('/issues')[2]}".strip() for one in github.requests if one.method != "GET"
    ]
    github.requests.clear()
    return found


def test_an_issue_from_its_opening_to_its_end(github: GitHub, kept: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*results: dict[str, Any], **options: Any) -> dict[str, Any]:
        link = "https://github.example/run/1"
        return tell(kept.dsn, "life", *results, channels=[channel(github, assignees=["octocat"])], link=link, **options)

    assert outcomes(told(looked(CHECK))) == []
    assert writes(github) == []

    first = told(looked(CHECK, WARNING, "sessions", advice="run purge"))
    assert outcomes(first) == [(CHECK, "done")]
    assert "opened #1" in reasons(first)
    issue = only_issue(github)
    assert (issue.title, issue.labels, issue.assignees) == (f"warning: {CHECK} on life", [LABEL], ["octocat"])
    assert "warning: sessions: 12 are left" in issue.body
    assert "to do: run purge" in issue.body
    assert "(https://github.example/run/1)" in issue.body
    assert writes(github) == ["POST"]

    assert outcomes(told(looked(CHECK, WARNING, "sessions", advice="run purge"))) == [(CHECK, "unchanged")]
    assert writes(github) == []

    # Other words for the same: the issue says what is, and nobody gets a message.
    assert outcomes(told(looked(CHECK, WARNING, "sessions", message="13 are left"))) == [(CHECK, "done")]
    assert "13 are left" in issue.body
    assert (writes(github), issue.comments) == (["PATCH /1"], [])

    worse = told(looked(CHECK, CRITICAL, "sessions"))
    assert "commented on #1" in reasons(worse)
    assert issue.title.startswith("critical:")
    assert issue.comments[-1].startswith("**Now critical** since ")
    assert writes(github) == ["POST /1/comments", "PATCH /1"]

    assert outcomes(told(looked(CHECK, WARNING, "sessions"))) == [(CHECK, "done")]
    assert issue.title.startswith("warning:")
    assert writes(github) == ["PATCH /1"]

    later(monkeypatch, 7.1)
    assert "still warning" in reasons(told(looked(CHECK, WARNING, "sessions")))
    assert writes(github) == ["POST /1/comments", "PATCH /1"]

    well = told(looked(CHECK))
    assert "closed #1" in reasons(well)
    assert (issue.state, issue.state_reason) == ("closed", "completed")
    assert issue.comments[-1].startswith("**Well again** after 7 d")
    assert outcomes(told(looked(CHECK))) == []
    assert len(issues(github)) == 1


def test_what_comes_again_soon_is_the_same_issue_and_later_a_new_one(
    github: GitHub, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(level: str) -> str:
        return reasons(tell(kept.dsn, "again", looked(CHECK, level), channels=[channel(github)]))

    told(WARNING), told(INFO)
    assert "reopened #1" in told(CRITICAL)
    issue = only_issue(github)
    assert (issue.state, issue.state_reason) == ("open", "reopened")
    told(INFO)
    later(monkeypatch, 8)
    assert "opened #2" in told(WARNING)
    assert [one.state for one in issues(github)] == ["closed", "open"]


def test_one_that_somebody_closed_stays_closed_until_it_is_worse_or_was_well(
    github: GitHub, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(level: str, message: str = "12 are left") -> dict[str, Any]:
        return tell(kept.dsn, "closed", looked(CHECK, level, message=message), channels=[channel(github)])

    told(WARNING)
    issue = only_issue(github)
    issue.state, issue.state_reason = "closed", "not_planned"
    writes(github)
    told(WARNING), told(WARNING, "other words")
    later(monkeypatch, 8)
    reminded = told(WARNING)
    assert outcomes(reminded) == [(CHECK, "unchanged")]
    assert "closed by hand" in reasons(reminded)
    assert (issue.state, issue.comments, writes(github)) == ("closed", [], [])

    assert "reopened #1" in reasons(told(CRITICAL))
    assert issue.state == "open"
    issue.state = "closed"
    told(INFO)
    assert (issue.state, issue.title.partition(":")[0]) == ("closed", "well")
    assert "reopened #1" in reasons(told(WARNING))


@pytest.mark.parametrize("gone", ["gone", "moved"])
def test_one_that_is_gone_is_opened_anew(github: GitHub, kept: Database, gone: str) -> None:
    def told(level: str) -> str:
        return reasons(tell(kept.dsn, f"gone {gone}", looked(CHECK, level), channels=[channel(github)]))

    told(WARNING)
    setattr(only_issue(github), gone, True)
    assert "opened #2" in told(CRITICAL)
    for issue in issues(github):
        issue.gone = True
    assert "is gone" in told(INFO)
    assert told(INFO) == ""


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


def test_an_issue_is_ours_by_label_and_mark_and_never_by_its_title(github: GitHub, kept: Database) -> None:
    tell(kept.dsn, "another", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    body_of_another = only_issue(github).body
    github.issues.of.clear()
    tell(kept.dsn, "marks", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    ours = only_issue(github)
    ours.gone = True
    digest, other = (body.partition("alert ")[2][:32] for body in (ours.body, body_of_another))
    forged = body_of_another.replace(other, digest)  # the key does not belong to its digest any more
    github.issues.add(APP, ours.title, "by a person, with the same title", LABEL)
    github.issues.add(APP, "a stranger's", ours.body)  # whoever may only open issues cannot set labels
    github.issues.add(APP, "changed", forged, LABEL)
    github.issues.add(APP, "a pull request", ours.body, LABEL, is_pull_request=True)
    for mark in ("e30=", "x", "====", "bnVsbA=="):  # {}, nonsense, nonsense, null
        github.issues.add(APP, "broken", f"<!-- vtchat.maintenance alert {digest} {mark} -->", LABEL)
    github.page = 2  # and more than a page of others
    assert "opened #10" in reasons(
        tell(kept.dsn, "marks", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    )
    opened = tell(kept.dsn, "another", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    assert "opened #11" in reasons(opened)
    issues(github).pop()
    copy = github.issues.add(APP, "renamed by somebody", issues(github)[-1].body, LABEL.upper(), "more")
    issues(github)[-2].gone = True
    well = tell(kept.dsn, "marks", looked(CHECK), channels=[channel(github)], history=False)
    assert f"closed #{copy.number}" in reasons(well)
    assert [one.number for one in issues(github) if one.state == "closed"] == [copy.number]


@pytest.mark.parametrize("value", [HOSTILE, "`" * 400, "🔥" * 400, "x" * 5000, "\0\ud800"])
def test_whatever_stands_in_a_database_is_text_in_an_issue(github: GitHub, kept: Database, value: str) -> None:
    found = [looked(value, WARNING, *(f"{number}{value}" for number in range(12)), message=value, advice=value)]
    tell(kept.dsn, f"hostile {value[:20]}".replace("\0", ""), *found, channels=[channel(github)], history=False)
    issue = only_issue(github)
    assert "and 2 more" in issue.body
    kinds = [token.type for token in MarkdownIt().parse(issue.body)]
    # The mark, the level, one block of code, the foot; nothing else came of it.
    paragraph = ["paragraph_open", "inline", "paragraph_close"]
    assert kinds == ["html_block", *paragraph, "fence", *paragraph]
    outside = [token.content for token in MarkdownIt().parse(issue.body) if token.type == "inline"]
    assert outside[0].startswith("**warning** since 20")
    assert outside[1].startswith("vtchat.maintenance keeps this issue")
    mark = issue.body.partition("\n")[0]
    assert mark.count("-->") == 1
    assert mark.isascii()
    tell(kept.dsn, f"hostile {value[:20]}".replace("\0", ""), looked(value), channels=[channel(github)], history=False)
    assert issue.state == "closed", "the mark was not found again"
    assert "evil" not in MarkdownIt().render(issue.comments[-1])


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


def test_an_answer_that_was_lost_makes_no_second_issue(github: GitHub, kept: Database) -> None:
    github.fail(kind=CUT_AFTER, method="POST")
    lost = tell(kept.dsn, "lost", looked(CHECK, WARNING), channels=[channel(github)])
    assert outcomes(lost) == [(CHECK, "deferred")]
    found = tell(kept.dsn, "lost", looked(CHECK, WARNING), channels=[channel(github)])
    assert outcomes(found) == [(CHECK, "unchanged")]
    assert len(issues(github)) == 1


def test_one_issue_that_is_refused_does_not_stop_the_others(github: GitHub, kept: Database) -> None:
    github.fail(422, {"message": "Validation Failed"}, method="POST")
    result = tell(kept.dsn, "one", looked("a", CRITICAL), looked("b", WARNING), channels=[channel(github)])
    assert outcomes(result) == [("a", "deferred"), ("b", "done")]
    assert "Validation Failed" in reasons(result)


def test_one_that_is_locked_does_not_stop_the_others(github: GitHub, kept: Database) -> None:
    tell(kept.dsn, "locked", looked("a", WARNING), channels=[channel(github)])
    only_issue(github).locked = True
    result = tell(kept.dsn, "locked", looked("a", CRITICAL), looked("b", WARNING), channels=[channel(github)])
    assert outcomes(result) == [("a", "deferred"), ("b", "done")]
    assert "locked" in reasons(result)


def test_assignees_that_do_not_exist_keep_nobody_from_being_told(github: GitHub, kept: Database) -> None:
    result = tell(kept.dsn, "who", looked(CHECK, WARNING), channels=[channel(github, assignees=["nobody"])])
    assert outcomes(result) == [(CHECK, "done")]
    assert "without its assignees, as GitHub refuses nobody" in reasons(result)


def test_two_issues_about_the_same_end_together(github: GitHub, kept: Database) -> None:
    tell(kept.dsn, "twins", looked(CHECK, WARNING), channels=[channel(github)], history=False)
    for _copy in range(2):
        github.issues.add(APP, "a copy", issues(github)[0].body, LABEL)
    tell(kept.dsn, "twins", looked(CHECK), channels=[channel(github)], history=False)
    assert [(one.state, len(one.comments)) for one in issues(github)] == [("closed", 0), ("closed", 0), ("closed", 1)]


def test_of_many_closed_issues_those_that_changed_last_are_looked_at(
    github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> dict[str, Any]:
        return tell("host=/nowhere", "many", looked(CHECK, WARNING), channels=[channel(github)], history=False)

    monkeypatch.setattr(alert_issues, "PAGE", 1)
    monkeypatch.setattr(alert_issues, "MOST_CLOSED", 2)
    told()
    for _other in range(3):
        github.issues.add(APP, "somebody's", "", LABEL, state="closed")
    issues(github)[0].state, issues(github)[0].updated_at = "closed", github.now()
    assert outcomes(told()) == [(CHECK, "unchanged")]
    assert len(issues(github)) == 4


def test_a_fault_of_ours_in_one_channel_does_not_stop_the_others(
    github: GitHub, hooks: Hooks, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_anything: Any) -> Any:
        raise ZeroDivisionError("with a password in it")

    monkeypatch.setattr(webhook.Webhook, "tell", broken)
    channels = [{"webhook": {"url": hooks.address("json")}}, channel(github)]
    result = tell(kept.dsn, "fault", looked("a", CRITICAL), looked("b", WARNING), channels=channels)
    assert result["totals"] == {"done": 2, "deferred": 2}
    assert "ZeroDivisionError in test_alerts.py" in reasons(result)
    assert "password" not in reasons(result)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rights": {"issues": "read"}}, "GitHub asks for the permission issues=write"),
        ({"token": "another"}, "does not accept the token"),
        ({"moved": {APP}}, "has been renamed or moved"),
        ({"places": {}}, "the name is mistyped"),
        ({"off": True}, "switched off in its settings"),
    ],
)
def test_what_is_wrong_with_the_place_is_said(
    github: GitHub, kept: Database, change: dict[str, Any], said: str
) -> None:
    for name, value in change.items():
        if name == "off":
            github.issues.switched_off = {APP}
        else:
            setattr(github, name, value)
    result = tell(kept.dsn, f"place {said}", looked(CHECK, WARNING), channels=[channel(github)])
    assert outcomes(result) == [(CHECK, "deferred")]
    assert said in reasons(result)


def test_a_label_that_may_not_be_set_is_said(github: GitHub, kept: Database) -> None:
    github.issues.may_label = False
    result = tell(kept.dsn, "label", looked(CHECK, WARNING), channels=[channel(github)])
    assert "may not set the label" in reasons(result)
    assert outcomes(tell(kept.dsn, "label", looked(CHECK, WARNING), channels=[channel(github)])) == [
        (CHECK, "unchanged")
    ]


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
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vtchat.maintenance alerts'"
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


def test_gh_sees_what_we_wrote(github: GitHub, kept: Database, tmp_path: Path) -> None:
    gh = shutil.which("gh")
    if gh is None:
        assert not os.environ.get("CI"), "gh is missing"
        pytest.skip("needs gh")
    tell(kept.dsn, "gh", looked(CHECK, WARNING, "sessions"), channels=[channel(github)])
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GH_CONFIG_DIR": str(tmp_path),
        "GH_TOKEN": TOKEN,
        "GH_HOST": "github.localhost",  # for this one gh speaks plain HTTP, here to a proxy that is the double
        "http_proxy": github.url,
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
    }

    def asked(*arguments: str) -> Any:
        command = [gh, "issue", *arguments, "-R", f"github.localhost/{APP}"]
        return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    (seen,) = asked("list", "--label", LABEL, "--json", "number,title,labels")
    assert (seen["title"], seen["labels"][0]["name"]) == (f"warning: {CHECK} on gh", LABEL)
    viewed = asked("view", str(seen["number"]), "--json", "body,state")
    assert viewed == {"body": only_issue(github).body, "state": "OPEN"}
    tell(kept.dsn, "gh", looked(CHECK), channels=[channel(github)])
    assert asked("list", "--label", LABEL, "--json", "number") == []
