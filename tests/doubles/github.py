# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for GitHub's secrets, variables, issues and workflows, with a memory.

Every request and every answer is checked against GitHub's own description (contract.py). What that does not contain is enforced
here: the token and what it may do, that a key id belongs to the key of this very place, that the box can be opened, names,
sizes, and pages. A path that GitHub does not have is a violation, which fails the test when the double is closed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from tests.doubles import issues, workflows
from tests.doubles.contract import Contract
from tests.doubles.service import Reply, Request, Service

EVERYTHING = {
    "secrets": "write",
    "variables": "write",
    "environments": "write",
    "actions": "write",
    "administration": "write",
    "organization_secrets": "write",
    "organization_variables": "write",
    "issues": "write",
}
_PLACE = re.compile(
    r"/(?:repos/([^/]+/[^/]+)|orgs/([^/]+))(?:/environments/([^/]+))?(?:/actions)?(?:/(secrets|variables)(/.+)?)?"
)
_NAME = re.compile(r"(?!GITHUB_)[A-Z_][A-Z0-9_]*")
_MOST_BYTES = 48 * 1024


@dataclass
class Entry:
    """A secret or variable. ``ids``: the selected repositories."""

    value: str
    created_at: str
    updated_at: str
    visibility: str = ""
    ids: set[int] = field(default_factory=set)


@dataclass
class Place:
    """A repository, environment or organization: its key, secrets and variables."""

    key_id: str
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    secrets: dict[str, Entry] = field(default_factory=dict)
    variables: dict[str, Entry] = field(default_factory=dict)

    def of(self, collection: str) -> dict[str, Entry]:
        return self.secrets if collection == "secrets" else self.variables

    def values(self, collection: str = "secrets") -> dict[str, str]:
        return {name: entry.value for name, entry in self.of(collection).items()}


class GitHub(Service):
    """The service. ``rights`` are those of the one token; ``hides``: a missing right is told as 404; ``page``: largest page."""

    def __init__(self, contract: Contract, token: str) -> None:
        self.contract = contract
        self.token = token
        self.rights = dict(EVERYTHING)
        self.hides = False
        self.page = 100
        self.repositories: dict[str, int] = {"example/app": 101, "example/worker": 102}
        self.moved: set[str] = set()
        self.places: dict[str, Place] = {}
        self.issues = issues.Issues(contract, lambda: self.url, self.now)
        self.workflows = workflows.Workflows(contract)
        self._seconds = 0
        for name in (*self.repositories, "example"):
            self.add_place(name)
        super().__init__()

    def add_place(self, name: str) -> Place:
        """``owner/repository``, ``owner/repository environment``, or the name of an organization."""
        self.places[name] = Place(key_id=str(5_000_000 + len(self.places)))
        return self.places[name]

    def now(self) -> str:
        """A clock that goes on by a second whenever it is looked at: no two writes have the same time."""
        self._seconds += 1
        moment = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=self._seconds)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def edit(self, place: str, name: str, value: str, collection: str = "secrets") -> None:
        """Somebody changes a value by hand."""
        now = self.now()
        self.places[place].of(collection)[name] = Entry(value, now, now)

    def handle(self, request: Request) -> Reply:
        about = self.issues.for_gh(request.body) if request.path == workflows.GRAPHQL else None
        if about is not None:
            return self._stranger(request) or about
        if request.path == workflows.GRAPHQL:
            return self._stranger(request) or self.workflows.branch(request.body["variables"])
        try:
            self.contract.check_request(request.method, request.path, request.query, request.body)
        except AssertionError as fault:
            self.violations.append(str(fault))
            return _error(422, str(fault))
        reply = self._stranger(request) or self._workflows(request) or self._answer_to(request)
        try:
            self.contract.check_answer(request.method, request.path, reply.status, reply.body)
        except AssertionError as fault:
            self.violations.append(f"the double: {fault}")
        return reply

    def decorate(self, request: Request, reply: Reply) -> Reply:
        limits = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4990", "X-RateLimit-Reset": "1767225600"}
        return Reply(reply.status, reply.body, {**limits, "X-GitHub-Request-Id": "A1B2:3C4D", **reply.headers})

    def _stranger(self, request: Request) -> Reply | None:
        if not request.headers.get("user-agent"):
            return _error(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            )
        if request.headers.get("authorization") not in (f"Bearer {self.token}", f"token {self.token}"):
            return _error(401, "Bad credentials")
        return None

    def _answer_to(self, request: Request) -> Reply:
        about = issues.PATH.fullmatch(request.path)
        if about is not None:
            return self._issues(request, unquote(about[1]).lower())
        match = _PLACE.fullmatch(request.path)
        assert match is not None, request.path
        repository, organization, environment, collection, rest = match.groups()
        home = unquote(repository or organization).lower()
        if home in self.moved:
            return self._moved()
        if home not in self.places:
            return _error(404, "Not Found")
        if collection is None and environment is None:
            return self._home(home, bool(repository))
        needed = self._needed(request.method, bool(repository), bool(environment), collection)
        refused = self._refused(needed)
        if refused:
            return refused
        name = f"{home} {unquote(environment).lower()}" if environment else home
        if environment and collection is None:
            return self._environment(request.method, name, unquote(environment))
        if name not in self.places:
            return _error(404, "Not Found")
        return self._collection(request, self.places[name], collection, unquote(rest or "")[1:], bool(organization))

    def _workflows(self, request: Request) -> Reply | None:
        if not workflows.PATH.fullmatch(request.path):
            return None
        needed = f"actions={'read' if request.method == 'GET' else 'write'}"
        return self._refused(needed) or self.workflows.answer(request)

    def _issues(self, request: Request, home: str) -> Reply:
        if home in self.moved:
            return self._moved()
        if home not in self.places:
            return _error(404, "Not Found")
        refused = self._refused(f"issues={'read' if request.method == 'GET' else 'write'}")
        return refused or self.issues.answer(request, self.page)

    def _moved(self) -> Reply:
        body = {"message": "Moved Permanently", "url": f"{self.url}/repositories/101"}
        return Reply(301, body, {"Location": "/elsewhere"})

    def _refused(self, needed: str) -> Reply | None:
        """The refusal where the token lacks this permission."""
        if self._may(needed):
            return None
        message = "Not Found" if self.hides else "Resource not accessible by personal access token"
        return _error(404 if self.hides else 403, message, {"X-Accepted-GitHub-Permissions": needed})

    def _needed(self, method: str, repository: bool, environment: bool, collection: str | None) -> str:
        """The permission of this call, as GitHub names it."""
        level = "read" if method == "GET" else "write"
        if environment:
            if collection is None:
                return "actions=read" if level == "read" else "administration=write"
            return f"environments={level}"
        return f"{'' if repository else 'organization_'}{collection}={level}"

    def _may(self, needed: str) -> bool:
        right, _equals, level = needed.partition("=")
        return self.rights.get(right) == "write" or self.rights.get(right) == level

    def _home(self, home: str, is_repository: bool) -> Reply:
        if is_repository:
            return Reply(200, self._repository("full-repository-default-response", home))
        return Reply(200, {**self.contract.example("organization-full"), "login": home, "archived_at": None})

    def _repository(self, example: str, name: str) -> dict[str, Any]:
        body = self.contract.example(example)
        body = body["repositories"][0] if "repositories" in body else body
        for fork_only in ("source", "parent", "template_repository"):
            body.pop(fork_only, None)
        return {
            **body,
            "language": None,
            "id": self.repositories[name],
            "full_name": name,
            "name": name.partition("/")[2],
        }

    def _environment(self, method: str, place: str, name: str) -> Reply:
        if method == "PUT" and place not in self.places:
            self.add_place(place)
        elif method == "DELETE":
            self.places.pop(place, None)
            return Reply(204)
        if place not in self.places:
            return _error(404, "Not Found")
        url = f"{self.url}/environments/{name}"
        body = {"id": 1, "node_id": "x", "name": name, "url": url, "html_url": url}
        return Reply(200, {**body, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})

    def _collection(self, request: Request, place: Place, collection: str, rest: str, shared: bool) -> Reply:
        if collection == "secrets" and rest == "public-key":
            key = base64.b64encode(bytes(place.key.public_key)).decode("ascii")
            return Reply(200, {"key_id": place.key_id, "key": key})
        entries = place.of(collection)
        if not rest and request.method == "GET":
            shown = [_shown(name, entry, collection, shared, self.url) for name, entry in sorted(entries.items())]
            return self._page(request, collection, shown)
        if not rest:
            return self._create(request, entries, shared)
        name, _slash, more = rest.partition("/")
        name = name.upper()
        if request.method == "PUT" and not more:
            return self._put(request, place, name)
        return self._entry(request, entries, name, more) or Reply(
            200, _shown(name, entries[name], collection, shared, self.url)
        )

    def _entry(self, request: Request, entries: dict[str, Entry], name: str, more: str) -> Reply | None:
        """None where the entry is to be shown."""
        if name not in entries:
            return _error(404, "Not Found")
        if more == "repositories":
            return self._selected(request, entries[name])
        if request.method == "GET":
            return None
        if request.method == "DELETE":
            del entries[name]
            return Reply(204)
        return self._patch(request, entries, name)

    def _put(self, request: Request, place: Place, name: str) -> Reply:
        body = request.body
        if not _NAME.fullmatch(name):
            return _error(422, "Secret names can only contain alphanumeric characters")
        if body["key_id"] != place.key_id:
            return _error(422, "Key ID is not that of the current public key")
        try:
            raw = SealedBox(place.key).decrypt(base64.b64decode(body["encrypted_value"], validate=True))
            value = raw.decode("utf-8")
        except (CryptoError, ValueError):
            return _error(422, "Could not decrypt")
        if len(raw) > _MOST_BYTES:
            return _error(422, "Secret is too large")
        now, old = self.now(), place.secrets.get(name)
        created = old.created_at if old else now
        ids = set(map(int, body.get("selected_repository_ids", ())))
        place.secrets[name] = Entry(value, created, now, body.get("visibility", ""), ids)
        return Reply(204) if old else Reply(201, {})

    def _create(self, request: Request, entries: dict[str, Entry], shared: bool) -> Reply:
        name, now = request.body["name"].upper(), self.now()
        if not _NAME.fullmatch(name) or len(request.body["value"].encode("utf-8")) > _MOST_BYTES:
            return _error(422, "Validation Failed")
        if name in entries:
            return _error(409, "Already exists - Variable already exists")
        ids = set(request.body.get("selected_repository_ids", ()))
        entries[name] = Entry(request.body["value"], now, now, request.body.get("visibility", ""), ids)
        return Reply(201, {})

    def _patch(self, request: Request, entries: dict[str, Entry], name: str) -> Reply:
        entry, body = entries[name], request.body
        entry.value = body.get("value", entry.value)
        entry.visibility = body.get("visibility", entry.visibility)
        entry.ids = set(body.get("selected_repository_ids", entry.ids))
        entry.updated_at = self.now()
        return Reply(204)

    def _selected(self, request: Request, entry: Entry) -> Reply:
        if request.method == "PUT":
            entry.ids = set(request.body["selected_repository_ids"])
            return Reply(204)
        names = [name for name, number in self.repositories.items() if number in entry.ids]
        shown = [self._repository("public-repository-paginated", name) for name in names]
        return self._page(request, "repositories", shown)

    def _page(self, request: Request, member: str, entries: list[dict[str, Any]]) -> Reply:
        size = min(self.page, int(request.query.get("per_page", 10 if member == "variables" else 30)))
        number = int(request.query.get("page", 1))
        part = entries[(number - 1) * size : number * size]
        more = number * size < len(entries)
        link = {"Link": f'<{self.url}{request.path}?per_page={size}&page={number + 1}>; rel="next"'} if more else {}
        return Reply(200, {"total_count": len(entries), member: part}, link)


def _shown(name: str, entry: Entry, collection: str, shared: bool, url: str) -> dict[str, Any]:
    shown = {"name": name, "created_at": entry.created_at, "updated_at": entry.updated_at}
    if collection == "variables":
        shown["value"] = entry.value
    if shared:
        shown["visibility"] = entry.visibility
        shown["selected_repositories_url"] = f"{url}/repositories"
    return shown


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return Reply(status, body, headers or {})
