# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets and variables of GitHub Actions by its REST API, in one scope: a repository, an environment or an organization."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urljoin, urlsplit

from .._errors import MaintenanceError, OptionError
from .http import Client, HttpError, join
from .http_answers import Answer
from .known_values import Place
from .named_values import Rules

RULES = Rules(value_bytes=48 * 1024, reserved=("GITHUB_",))
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
# The largest pages that are given.
PAGE = {"secrets": 100, "variables": 30, "repositories": 100}
MOST_PAGES = 1000
# How many there may be, for a repository, an environment and an organization.
MOST = {
    "secrets": {"repository": 100, "environment": 100, "organization": 1000},
    "variables": {"repository": 500, "environment": 100, "organization": 1000},
}


@dataclass(frozen=True)
class Scope:
    """One of: owner and repository; those with an environment; an owner (the organization) alone."""

    owner: str
    repository: str = ""
    environment: str = ""

    @property
    def kind(self) -> str:
        return "environment" if self.environment else "repository" if self.repository else "organization"

    @property
    def home(self) -> str:
        """Path of the repository or organization."""
        return join("repos", self.owner, self.repository) if self.repository else join("orgs", self.owner)

    @property
    def environment_path(self) -> str:
        return self.home + join("environments", self.environment)

    @property
    def base(self) -> str:
        return self.environment_path if self.environment else self.home + "/actions"

    @property
    def place(self) -> Place:
        """For fingerprints; GitHub does not tell upper from lower case in these names."""
        target = f"{self.owner}/{self.repository}" if self.repository else self.owner
        return Place(
            "github", target.lower(), f"environment {self.environment}".lower() if self.environment else self.kind
        )

    def __str__(self) -> str:
        name = f"{self.owner}/{self.repository}" if self.repository else self.owner
        return f"{name}, environment {self.environment}" if self.environment else name


@dataclass(frozen=True)
class Visibility:
    """Which repositories of an organization see it; "" where there is nothing to choose. ``ids``: those that are selected."""

    kind: str = ""
    ids: frozenset[int] = frozenset()

    def body(self) -> dict[str, Any]:
        if not self.kind:
            return {}
        chosen = {"selected_repository_ids": sorted(self.ids)} if self.kind == "selected" else {}
        return {"visibility": self.kind, **chosen}


class GitHub:
    """The calls. ``collection`` is "secrets" or "variables". Raises HttpError, or MaintenanceError that explains one."""

    def __init__(self, client: Client, scope: Scope) -> None:
        self.client = client
        self.scope = scope
        self._key: tuple[str, str] | None = None

    def listed(self, collection: str) -> dict[str, dict[str, Any]]:
        """Name -> entry, all pages."""
        entries = self._pages(f"{self.scope.base}/{collection}", collection)
        return {entry["name"].upper(): entry for entry in entries}

    def environment_exists(self) -> bool:
        """Whether the environment is there. The repository must be."""
        answer = self.client.request("GET", self.scope.environment_path, expect=(404,))
        if answer.status == 404:
            self._need_home()
        return answer.status != 404

    def create_environment(self) -> None:
        answer = self.client.request("PUT", self.scope.environment_path, expect=(404,))
        if answer.status == 404:
            raise MaintenanceError(f"the token may not create environments{_permission(answer.headers)}")

    def put_secret(self, name: str, value: str, visibility: Visibility) -> bool:
        """Seal and write a secret; whether it is a new one."""
        path = f"{self.scope.base}/secrets" + join(name)
        try:
            return self._put(path, value, visibility).status == 201
        except HttpError as error:
            # GitHub may have changed its key since we asked for it.
            old, self._key = self._key, None
            if error.status != 422 or old is None or self._public_key()[0] == old[0]:
                raise
        return self._put(path, value, visibility).status == 201

    def stamp(self, name: str) -> str:
        """GitHub's time of the last change of a secret."""
        answer = self.client.request("GET", f"{self.scope.base}/secrets" + join(name))
        return _text(answer, "updated_at")

    def put_variable(self, name: str, value: str, visibility: Visibility, exists: bool) -> None:
        """Create or change a variable; which of the two is settled anew when somebody was faster or an answer was lost."""
        body = {"name": name, "value": value, **visibility.body()}
        if exists and self._patched(name, body):
            return
        for last in (False, True):
            try:
                self.client.request("POST", f"{self.scope.base}/variables", body=body)
                return
            except HttpError as error:
                if error.status != 409 and not error.uncertain:
                    raise
                if self._patched(name, body):
                    return
                if last:
                    raise

    def _patched(self, name: str, body: Mapping[str, Any]) -> bool:
        """Whether there was such a variable to change."""
        path = f"{self.scope.base}/variables" + join(name)
        return self.client.request("PATCH", path, body=body, expect=(404,), repeat=True).status != 404

    def delete(self, collection: str, name: str) -> bool:
        """Whether it was there. GitHub also answers 404 where the right to delete is missing: that is looked into."""
        path = f"{self.scope.base}/{collection}" + join(name)
        answer = self.client.request("DELETE", path, expect=(404,))
        if answer.status != 404:
            return True
        if self.client.request("GET", path, expect=(404,)).status == 404:
            return answer.attempts > 1
        raise MaintenanceError(f"it is there and the token may not delete it{_permission(answer.headers)}")

    def selected(self, collection: str, name: str) -> frozenset[int]:
        """Ids of the repositories for which an entry of an organization is meant."""
        path = f"{self.scope.base}/{collection}" + join(name) + "/repositories"
        return frozenset(entry["id"] for entry in self._pages(path, "repositories"))

    def repository_id(self, name: str) -> int:
        """The id of a repository of the organization. Raises MaintenanceError when the token sees none of that name."""
        answer = self.client.request("GET", join("repos", self.scope.owner, name), expect=(404,))
        if answer.status == 404:
            raise MaintenanceError(_unseen(f"the repository {self.scope.owner}/{name}"))
        return _id(answer.body)

    def explained(self, error: HttpError) -> MaintenanceError:
        """What an error means for the person who wrote the options; asks GitHub whether the place exists where that matters."""
        if error.status == 401:
            return MaintenanceError(
                f"GitHub does not accept the token, it is wrong, revoked or expired: {error.detail}"
            )
        if 300 <= error.status < 400:
            return MaintenanceError(self._redirected(error))
        if error.status not in (403, 404) or error.limited:
            return error
        if error.status == 404:
            self._need_home()
            if self.scope.environment and not self._found(self.scope.environment_path):
                return MaintenanceError(f"{self.scope.owner}/{self.scope.repository} has no environment of the name "
                                        f"{self.scope.environment}; create_environment: true would make it")  # fmt: skip
        return MaintenanceError(f"the token may not do this on {self.scope}: {error}{_permission(error.headers)}")

    def _redirected(self, error: HttpError) -> str:
        """GitHub tells the caller of an old name, in JSON, the new address by number; what else redirects is not GitHub."""
        base = urlsplit(self.client.base_url)
        to = urlsplit(urljoin(self.client.base_url, error.headers.get("location", "")))
        new = error.body.get("url") if isinstance(error.body, Mapping) else None
        numbered = re.escape(self.client.base_url) + r"/(repositories|organizations)/\d+(/.*)?"
        if isinstance(new, str) and re.fullmatch(numbered, new):
            return f"{self.scope} has been renamed or moved: write its new name ({error.detail})"
        where = f"to {to.netloc}" if to.netloc != base.netloc else "elsewhere"
        return (f"the answer sends us {where} ({error.status}), which GitHub's API does not do: a proxy or a page to log in "
                "stands before it, or api_url is not its address")  # fmt: skip

    def _need_home(self) -> None:
        if not self._found(self.scope.home):
            kind = "repository" if self.scope.repository else "organization"
            name = f"{self.scope.owner}/{self.scope.repository}" if self.scope.repository else self.scope.owner
            raise MaintenanceError(_unseen(f"the {kind} {name}"))

    def _found(self, path: str) -> bool:
        return self.client.request("GET", path, expect=(403, 404)).status != 404

    def _put(self, path: str, value: str, visibility: Visibility) -> Answer:
        key_id, key = self._public_key()
        sealed = seal(key, value)
        body = {"encrypted_value": sealed, "key_id": key_id, **visibility.body()}
        return self.client.request("PUT", path, body=body)

    def _public_key(self) -> tuple[str, str]:
        """Its id and the key in base64, asked for once."""
        if self._key is None:
            answer = self.client.request("GET", f"{self.scope.base}/secrets/public-key")
            self._key = (_text(answer, "key_id"), _text(answer, "key"))
        return self._key

    def _pages(self, path: str, member: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            answer = self.client.request("GET", path, query={"per_page": PAGE[member], "page": page})
            part = answer.body.get(member) if isinstance(answer.body, Mapping) else None
            if not isinstance(part, list):
                raise MaintenanceError(f"GET {path}: the answer has no list of {member}; is this GitHub's API?")
            if not all(_is_entry(entry, member, self.scope.kind) for entry in part):
                raise MaintenanceError(
                    f"GET {path}: an entry of the list of {member} lacks what GitHub gives; is this its API?"
                )
            entries += part
            # By relation and not by count: a service may give smaller pages than it was asked for.
            if not re.search(r'rel="?next"?', answer.headers.get("link", "")):
                return _complete(entries, answer.body, f"GET {path}")
        raise MaintenanceError(f"GET {path}: more than {MOST_PAGES} pages")


def need_library() -> None:
    """Raises MaintenanceError where values cannot be sealed."""
    try:
        import_module("nacl.public")  # found is not enough: its library may not load
    except ImportError:
        raise MaintenanceError(f"the Python library PyNaCl is missing ({sys.executable}): pip install PyNaCl") from None


def seal(key: str, value: str) -> str:
    """The value in a sealed box that only the owner of the public key can open; both in base64. Raises MaintenanceError."""
    from nacl.public import PublicKey, SealedBox

    try:
        box = SealedBox(PublicKey(base64.b64decode(key, validate=True)))
        return base64.b64encode(box.encrypt(value.encode("utf-8"))).decode("ascii")
    except (ValueError, TypeError, RuntimeError):
        raise MaintenanceError("GitHub gave a public key that is none") from None


def scope(repository: str | None, organization: str | None, environment: str | None) -> Scope:
    """The scope of these options. Raises OptionError."""
    faults = []
    if bool(repository) == bool(organization):
        faults.append("repository: exactly one of repository and organization is needed")
    if environment is not None and not (environment and repository):
        faults.append("environment: it needs a name, and a repository")
    word = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+"
    if repository and not re.fullmatch(f"{word}/{word}", repository):
        faults.append("repository: it must have the form owner/name")
    if organization and not re.fullmatch(word, organization):
        faults.append("organization: it must be a name, without a slash")
    if environment and (environment in (".", "..") or not environment.isprintable()):
        faults.append("environment: . and .. are no names, and neither is one with a line break")
    if faults:
        raise OptionError(faults)
    owner, _slash, name = (repository or organization or "").partition("/")
    return Scope(owner, name, environment or "")


def _is_entry(entry: Any, member: str, kind: str) -> bool:
    """Whether an entry of a list has what is read of it later."""
    if not isinstance(entry, Mapping):
        return False
    if member == "repositories":
        return _is_id(entry.get("id"))
    needed = {"secrets": ["updated_at"], "variables": ["value"]}[member] + (
        ["visibility"] if kind == "organization" else []
    )
    name = entry.get("name")
    return RULES.is_name(name) and all(isinstance(entry.get(one), str) for one in needed)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _id(body: Any) -> int:
    value = body.get("id") if isinstance(body, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise MaintenanceError("GitHub's answer lacks id; is this GitHub's API?")
    return value


def _complete(entries: list[dict[str, Any]], body: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """The entries. Raises MaintenanceError if there are more: what was not listed would be taken for missing, and overwritten."""
    total = body.get("total_count")
    if isinstance(total, int) and total > len(entries):
        raise MaintenanceError(f"{what}: {len(entries)} were listed and there are {total}; something on the way has lost pages, "
                               "or another is at work there: run again")  # fmt: skip
    return entries


def _text(answer: Answer, member: str) -> str:
    value = answer.body.get(member) if isinstance(answer.body, Mapping) else None
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise MaintenanceError(f"GitHub's answer lacks {member}; is this GitHub's API?")
    return str(value)


def _unseen(what: str) -> str:
    return f"GitHub does not show {what} to this token: the name is mistyped, or the token was not given access to it"


def _permission(headers: Mapping[str, str]) -> str:
    """The permission that GitHub names, in a form to append."""
    named = headers.get("x-accepted-github-permissions", "").strip()
    if named:
        return f"; GitHub asks for the permission {named}"
    scopes, has = headers.get("x-accepted-oauth-scopes", "").strip(), headers.get("x-oauth-scopes")
    return (
        f"; GitHub asks for the scope {scopes}, the token has {has.strip() or 'none'}"
        if scopes and has is not None
        else ""
    )
