# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Telling by issues on GitHub: one for each condition, opened, edited, commented and closed by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import MaintenanceError, OptionError
from .._masking import Hidden
from .._services.github import HEADERS, MOST_PAGES, GitHub, Scope, scope
from .._services.http import Client, HttpError, Network
from .._services.http_answers import Answer
from .conditions import digest
from .decide import QUIET, RAISE, RECOVER, REMIND, Known, Record
from .markdown import Mark, body, comment, read_mark, title, words
from .notice import Notice, NotTold, Told

PAGE = 100
# So many closed issues are looked through for one that nobody remembers: the ones that changed last.
MOST_CLOSED = 300
LONGEST_LABEL = 50
# After these the next issue would fail as well. Not after 403: a single issue may be locked.
HOPELESS = (0, 401, 429)


@dataclass(frozen=True)
class Issue:
    """An issue that is ours, as it was listed."""

    number: int
    mark: Mark


class Issues:
    """The issues of one repository. Only those that have the first of the labels are ours, whatever stands in others."""

    edits = True

    def __init__(self, options: Mapping[str, Any], network: Network, hidden: Hidden) -> None:
        """Raises OptionError with every fault."""
        where = _checked(options)
        self._labels, self._assignees = options["labels"], options["assignees"] or []
        self._client = Client(
            options["api_url"],
            authorization=f"Bearer {options['token'].strip()}",
            hidden=hidden,
            headers=HEADERS,
            network=network,
            option="github.api_url",
        )
        self._api = GitHub(self._client, where)
        self._path = f"{where.home}/issues"
        self._open: dict[str, Issue] = {}
        self._closed: dict[str, Issue] | None = None
        # Older open issues that are about the same: two have told at once, without a memory that keeps them apart.
        self._twins: dict[str, list[int]] = {}
        self.name = f"github:{where}".lower()
        self.label = f"github {where}"

    def remembered(self) -> list[Known]:
        """What the open issues say. Raises MaintenanceError."""
        self._open = self._listed("open", PAGE * MOST_PAGES)
        return [self._own(issue) for issue in self._open.values()]

    def recall(self, key: str) -> Known | None:
        """What a closed issue says of a condition that has no open one. Raises MaintenanceError."""
        if digest(key) in self._open:
            return None
        if self._closed is None:
            self._closed = self._listed("closed", MOST_CLOSED)
        issue = self._closed.get(digest(key))
        return self._own(issue) if issue else None

    def outdated(self, notice: Notice) -> bool:
        """Whether an open issue says something else than it would now."""
        issue = self._open.get(digest(notice.known.key))
        return issue is not None and issue.mark.words != words(notice)

    def tell(self, notice: Notice, record: Record | None, remind: float) -> Told:
        """Open, edit, comment or close. Raises NotTold."""
        try:
            return self._tell(notice, record or Record(), remind)
        except HttpError as error:
            down = error.status in HOPELESS or error.status >= 500 or error.limited
            raise NotTold(str(self._explained(error)), down) from None
        except MaintenanceError as error:
            raise NotTold(str(error), down=False) from None

    def _tell(self, notice: Notice, record: Record, remind: float) -> Told:
        issue = self._open.get(digest(notice.known.key))
        number = issue.number if issue else record.ref
        if not number and notice.verb == RECOVER:
            return Told("there is no issue of it", sent=False)
        if not number or (notice.verb == RAISE and not issue and notice.now - record.told > remind):
            return self._create(notice)
        state = "open" if issue else self._state(number)
        if state == "gone":
            return Told(f"#{number} is gone", number, sent=False) if notice.verb == RECOVER else self._create(notice)
        if notice.verb in QUIET:
            return self._edited(notice, number, "edited") if state == "open" else _left(number)
        if state == "closed" and notice.verb == REMIND:
            return _left(number)
        if notice.verb == RECOVER:
            return self._recovered(notice, number, state)
        return self._told_again(notice, number, state)

    def _create(self, notice: Notice) -> Told:
        content = {"title": title(notice), "body": body(notice), "labels": self._labels}
        note = ""
        try:
            more = {"assignees": self._assignees} if self._assignees else {}
            made = self._client.request("POST", self._path, body={**content, **more}).body
        except HttpError as error:
            if error.status != 422 or not self._assignees:
                raise
            made = self._client.request("POST", self._path, body=content).body
            note = f"; without its assignees, as GitHub refuses {', '.join(self._assignees)}"
        number = _number(made)
        note += "" if self._labels[0].lower() in _labels(made) else (
            f"; the token may not set the label {self._labels[0]}, without which the issue is not found again")  # fmt: skip
        return Told(f"opened #{number}: {notice.title}{note}", number)

    def _told_again(self, notice: Notice, number: int, state: str) -> Told:
        """The comment first: if only one of both is done, it is told twice, and not never."""
        self._comment(notice, number)
        self._patch(notice, number, {} if state == "open" else {"state": "open", "state_reason": "reopened"})
        return Told(f"{'commented on' if state == 'open' else 'reopened'} #{number}: {notice.title}", number)

    def _recovered(self, notice: Notice, number: int, state: str) -> Told:
        if state == "closed":  # by hand; what it says of itself has to be true all the same
            self._patch(notice, number, {})
            return Told(f"#{number} was closed by hand: {notice.title}", number, sent=False)
        self._comment(notice, number)
        self._patch(notice, number, {"state": "closed", "state_reason": "completed"})
        for twin in self._twins.get(digest(notice.known.key), []):
            self._patch(notice, twin, {"state": "closed", "state_reason": "not_planned"})
        return Told(f"closed #{number}: {notice.title}", number)

    def _edited(self, notice: Notice, number: int, what: str) -> Told:
        self._patch(notice, number, {})
        return Told(f"{what} #{number}: {notice.title}", number)

    def _comment(self, notice: Notice, number: int) -> None:
        self._client.request("POST", f"{self._path}/{number}/comments", body={"body": comment(notice)})

    def _patch(self, notice: Notice, number: int, more: Mapping[str, Any]) -> None:
        content = {"title": title(notice), "body": body(notice), **more}
        self._client.request("PATCH", f"{self._path}/{number}", body=content, repeat=True)

    def _state(self, number: int) -> str:
        """ "open", "closed" or "gone": deleted, or moved to another repository."""
        answer = self._client.request("GET", f"{self._path}/{number}", expect=(301, 404, 410))
        if answer.status != 200:
            return "gone"
        return "open" if _member(answer.body, "state") == "open" else "closed"

    def _listed(self, state: str, most: int) -> dict[str, Issue]:
        """Our issues by what stands for their key: of two that are about the same, the newest."""
        query = {"state": state, "labels": self._labels[0], "sort": "updated", "per_page": PAGE}
        found: dict[str, Issue] = {}
        for page in range(1, most // PAGE + 1):
            answer = self._page({**query, "page": page})
            if not isinstance(answer.body, list):
                raise MaintenanceError(f"GET {self._path}: the answer is no list of issues; is this GitHub's API?")
            for one in answer.body:
                mark = read_mark(str(_member(one, "body"))) if _member(one, "pull_request") is None else None
                if mark is not None:
                    self._found(found, Issue(_number(one), mark), state)
            if 'rel="next"' not in answer.headers.get("link", ""):
                break
        return found

    def _found(self, found: dict[str, Issue], issue: Issue, state: str) -> None:
        """Keep the newest of those that are about the same."""
        key = digest(issue.mark.known.key)
        known = found.get(key)
        newest = issue if known is None or issue.number > known.number else known
        if known is not None and state == "open":
            self._twins.setdefault(key, []).append(known.number if newest is issue else issue.number)
        found[key] = newest

    def _page(self, query: Mapping[str, Any]) -> Answer:
        try:
            return self._client.request("GET", self._path, query=query)
        except HttpError as error:
            raise self._explained(error) from None

    def _explained(self, error: HttpError) -> MaintenanceError:
        """In words for people; GitHub is asked once more where that helps, and may fail again."""
        if error.status == 410:
            return MaintenanceError(f"{self._api.scope} has no issues: they are switched off in its settings")
        try:
            return self._api.explained(error)
        except MaintenanceError as explanation:
            return explanation

    def _own(self, issue: Issue) -> Known:
        """What an issue remembers, with its number. Of itself it says what it was when it was written."""
        known = issue.mark.known
        own = known.channels.get(self.name, Record(known.level, known.since))
        return replace(known, channels={**known.channels, self.name: replace(own, ref=issue.number)})


def _checked(options: Mapping[str, Any]) -> Scope:
    faults = []
    labels = options["labels"]
    if not labels or any(not label.strip() or "," in label or len(label) > LONGEST_LABEL for label in labels):
        faults.append(
            f"github.labels: there has to be one at least; each has 1 to {LONGEST_LABEL} characters, and no comma"
        )
    try:
        where = scope(options["repository"], None, None)
    except OptionError as error:
        raise OptionError([f"github.{fault}" for fault in error.errors] + faults) from None
    if faults:
        raise OptionError(faults)
    return where


def _left(number: int) -> Told:
    return Told(f"#{number} was closed by hand, and is left so", number, sent=False)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _labels(issue: Any) -> set[str]:
    found = _member(issue, "labels") or []
    return {str(_member(one, "name") if isinstance(one, Mapping) else one).lower() for one in found}


def _number(issue: Any) -> int:
    number = _member(issue, "number")
    if not isinstance(number, int) or isinstance(number, bool):
        raise MaintenanceError("GitHub's answer lacks the number of the issue; is this GitHub's API?")
    return number
