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
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import issues as alert_issues
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, INFO, WARNING
from tests.alerts import (
    APP,
    CHECK,
    HOSTILE,
    LABEL,
    TOKEN,
    channel,
    github_double,
    issues,
    later,
    looked,
    only_issue,
    outcomes,
    reasons,
    tell,
    writes,
)
from tests.doubles.github import GitHub
from tests.doubles.service import CUT_AFTER
from tests.servers import Database


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    yield from github_double(monkeypatch)


def test_an_issue_is_opened_once(github: GitHub, kept: Database) -> None:
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


def test_an_issue_says_what_is_and_a_comment_what_has_changed(
    github: GitHub, kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*results: dict[str, Any]) -> dict[str, Any]:
        return tell(kept.dsn, "changes", *results, channels=[channel(github)])

    told(looked(CHECK, WARNING, "sessions"))
    issue = only_issue(github)
    writes(github)
    # Other words for the same: nobody gets a message.
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


def test_a_channel_that_would_fail_is_told_of_before_it_matters(github: GitHub, kept: Database) -> None:
    github.token = "another"  # that of the options has expired
    well = tell(kept.dsn, "expired", looked(CHECK), channels=[channel(github)])
    assert (well["status"], well["actions"]) == ("ok", [])
    assert well["warnings"] == [
        f"github {APP}: GitHub does not accept the token, it is wrong, revoked or expired: 401 Bad credentials"
    ]
    bad = tell(kept.dsn, "expired", looked(CHECK, WARNING), channels=[channel(github)])
    assert (outcomes(bad), bad["warnings"]) == ([(CHECK, "deferred")], [])


def test_a_label_that_may_not_be_set_is_said(github: GitHub, kept: Database) -> None:
    github.issues.may_label = False
    result = tell(kept.dsn, "label", looked(CHECK, WARNING), channels=[channel(github)])
    assert "may not set the label" in reasons(result)
    assert outcomes(tell(kept.dsn, "label", looked(CHECK, WARNING), channels=[channel(github)])) == [
        (CHECK, "unchanged")
    ]


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
