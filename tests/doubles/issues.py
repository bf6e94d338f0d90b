# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The issues of the double of GitHub: its answers are those of the description's examples, with what was written in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.contract import Contract
from tests.doubles.service import Reply, Request

PATH = re.compile(r"/repos/([^/]+/[^/]+)/issues(?:/(\d+)(/comments)?)?")
LONGEST_TITLE, LONGEST_BODY = 256, 65536


@dataclass
class Issue:
    """An issue; ``comments`` are their texts, ``gone``: it was deleted, ``moved``: transferred."""

    number: int
    title: str
    body: str
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    state: str = "open"
    state_reason: str | None = None
    comments: list[str] = field(default_factory=list)
    updated_at: str = ""
    is_pull_request: bool = False
    gone: bool = False
    moved: bool = False
    locked: bool = False


class Issues:
    """Of all repositories. ``switched_off``: without issues; ``may_label``: the token sets labels; ``assignable``: people."""

    def __init__(self, contract: Contract, url: Callable[[], str], now: Callable[[], str]) -> None:
        self.contract = contract
        self.of: dict[str, list[Issue]] = {}
        self.switched_off: set[str] = set()
        self.may_label = True
        self.assignable = {"octocat"}
        self._url, self._now = url, now

    def add(self, repository: str, title: str, body: str, *labels: str, **more: Any) -> Issue:
        """Somebody writes one by hand."""
        issues = self.of.setdefault(repository, [])
        issues.append(Issue(len(issues) + 1, title, body, list(labels), updated_at=self._now(), **more))
        return issues[-1]

    def answer(self, request: Request, page: int) -> Reply:
        """The answer to a request that matches PATH. page: the largest page."""
        match = PATH.fullmatch(request.path)
        assert match is not None
        repository, number, comments = match[1].lower(), match[2], match[3]
        if repository in self.switched_off:
            return _error(410, "Issues are disabled for this repo")
        if number is None:
            return (
                self._create(repository, request.body)
                if request.method == "POST"
                else self._list(repository, request, page)
            )
        found = [one for one in self.of.get(repository, []) if one.number == int(number)]
        if not found:
            return _error(404, "Not Found")
        issue = found[0]
        if issue.moved:
            return Reply(301, {"message": "Moved Permanently", "url": f"{self._url()}/repositories/7/issues/1"})
        if issue.gone:
            return _error(410, "This issue was deleted")
        if comments:
            return self._comment(repository, issue, request.body)
        return (
            self._patch(repository, issue, request.body)
            if request.method == "PATCH"
            else self._shown(repository, issue)
        )

    def for_gh(self, body: Any) -> Reply | None:
        """What ``gh issue list`` and ``gh issue view`` ask; they do not use the REST API. None for other questions."""
        variables = body["variables"] if isinstance(body, dict) and "IssueSearch" in str(body.get("query")) else None
        if variables is not None:
            wanted = dict(word.split(":", 1) for word in variables["query"].split())
            found = [one for one in self.of.get(wanted["repo"], []) if one.state == wanted["state"]
                     and wanted.get("label", one.labels[:1] and one.labels[0]) in one.labels]  # fmt: skip
            search = {"issueCount": len(found), "nodes": [_for_gh(one) for one in found],
                      "pageInfo": {"hasNextPage": False, "endCursor": ""}}  # fmt: skip
            return Reply(200, {"data": {"repository": {"hasIssuesEnabled": True}, "search": search}})
        if not isinstance(body, dict) or "IssueByNumber" not in str(body.get("query")):
            return None
        variables = body["variables"]
        (issue,) = (
            one for one in self.of[f"{variables['owner']}/{variables['repo']}"] if one.number == variables["number"]
        )
        shown = {"__typename": "Issue", **_for_gh(issue)}
        return Reply(200, {"data": {"repository": {"hasIssuesEnabled": True, "issue": shown}}})

    def _list(self, repository: str, request: Request, page: int) -> Reply:
        query = request.query
        wanted = {label.lower() for label in query.get("labels", "").split(",") if label}
        state = query.get("state", "open")
        found = [one for one in self.of.get(repository, []) if state in ("all", one.state) and not one.gone and not one.moved
                 and wanted <= {label.lower() for label in one.labels}]  # fmt: skip
        found.sort(
            key=lambda one: one.updated_at if query.get("sort") == "updated" else f"{one.number:09}", reverse=True
        )
        size, number = min(page, int(query.get("per_page", 30))), int(query.get("page", 1))
        part = [self._as_data(repository, one) for one in found[(number - 1) * size : number * size]]
        more = number * size < len(found)
        link = {"Link": f'<{self._url()}{request.path}?per_page={size}&page={number + 1}>; rel="next"'} if more else {}
        return Reply(200, part, link)

    def _create(self, repository: str, body: dict[str, Any]) -> Reply:
        fault = _too_long(body)
        if fault:
            return fault
        if set(body.get("assignees", [])) - self.assignable:
            return _error(422, "Validation Failed")
        labels = [str(label) for label in body.get("labels", [])] if self.may_label else []
        issue = self.add(
            repository, body["title"], body.get("body") or "", *labels, assignees=body.get("assignees", [])
        )
        return self._shown(repository, issue, 201)

    def _patch(self, repository: str, issue: Issue, body: dict[str, Any]) -> Reply:
        fault = _too_long(body)
        if fault:
            return fault
        issue.title, issue.body = body.get("title", issue.title), body.get("body", issue.body)
        if body.get("state", issue.state) != issue.state:
            issue.state, issue.state_reason = body["state"], body.get("state_reason")
        issue.updated_at = self._now()
        return self._shown(repository, issue)

    def _comment(self, repository: str, issue: Issue, body: dict[str, Any]) -> Reply:
        if issue.locked:
            return _error(403, "Unable to create comment because issue is locked.")
        if len(body["body"]) > LONGEST_BODY:
            return _error(422, "body is too long (maximum is 65536 characters)")
        issue.comments.append(body["body"])
        issue.updated_at = self._now()
        made = {**self.contract.example("issue-comment"), "body": body["body"], "id": len(issue.comments)}
        return Reply(201, made)

    def _shown(self, repository: str, issue: Issue, status: int = 200) -> Reply:
        return Reply(status, self._as_data(repository, issue))

    def _as_data(self, repository: str, issue: Issue) -> dict[str, Any]:
        example = self.contract.example("issue")
        label = example["labels"][0]
        extra = {"pull_request": example["pull_request"]} if issue.is_pull_request else {}
        for unused in ("pull_request", "assignee", "milestone", "closed_by", "repository"):
            example.pop(unused, None)
        return {
            **example,
            **extra,
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "state": issue.state,
            "state_reason": issue.state_reason,
            "labels": [{**label, "name": name, "id": 1000 + at} for at, name in enumerate(issue.labels)],
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "comments": len(issue.comments),
            "closed_at": issue.updated_at if issue.state == "closed" else None,
            "updated_at": issue.updated_at,
            "html_url": f"{self._url()}/{repository}/issues/{issue.number}",
        }


def _for_gh(issue: Issue) -> dict[str, Any]:
    labels = [{"id": name, "name": name, "description": "", "color": "f29513"} for name in issue.labels]
    return {
        "id": f"I_{issue.number}",
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "state": issue.state.upper(),
        "labels": {"nodes": labels, "totalCount": len(labels)},
    }


def _too_long(body: dict[str, Any]) -> Reply | None:
    if len(body.get("title") or "") > LONGEST_TITLE:
        return _error(422, "Validation Failed: title is too long (maximum is 256 characters)")
    if len(body.get("body") or "") > LONGEST_BODY:
        return _error(422, "Validation Failed: body is too long (maximum is 65536 characters)")
    return None


def _error(status: int, message: str) -> Reply:
    body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return Reply(status, body)
