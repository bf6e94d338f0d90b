# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Fly's Machines API, as far as secrets of an app and the machines that run with them are concerned."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._clean import clean
from .._errors import MaintenanceError, OptionError
from .http import Client, HttpError, join
from .http_answers import Answer
from .named_values import Rules

# Fly documents no limit of a value; its own client takes 64 KiB at most. Names are environment variables, and case matters.
RULES = Rules(value_bytes=64 * 1024, fold=False)
# What a macaroon begins with; anything else is an OAuth token, which goes as Bearer.
MACAROON = ("fm2_", "fm1r_", "fm1a_")
# Machines of these process groups live for one command and are not part of the running app.
SHORT_LIVED_GROUPS = ("fly_app_release_command", "fly_app_test_machine_command", "fly_app_console", "release_command")
GONE = ("destroyed", "destroying")
# States of machines that do not run and are not to be started.
STOPPED = ("stopped", "stopping", "suspended", "suspending", "created")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|[+-]00:?00)")


@dataclass(frozen=True)
class Stored:
    """What Fly tells of a secret: a digest of its value, and when it was written."""

    digest: str
    updated_at: str

    @property
    def stamp(self) -> str:
        """What changes when the value does; the time of writing where there is no digest."""
        return self.digest or self.updated_at


@dataclass(frozen=True)
class Written:
    """What came of a write: the version of the app's secrets, and what Fly has now."""

    version: int
    secrets: dict[str, Stored]


@dataclass(frozen=True, repr=False)
class Machine:
    """A machine. ``config`` is None when Fly does not know all of it. It may hold what nobody is to see: never shown."""

    id: str
    state: str
    version: str
    region: str = ""
    config: dict[str, Any] | None = None
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, Any]:
        found = (self.config or {}).get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def serves(self) -> bool:
        """Whether it is part of the running app."""
        group = self.metadata.get("fly_process_group") or self.metadata.get("process_group")
        return self.state not in GONE and group not in SHORT_LIVED_GROUPS

    @property
    def stopped(self) -> bool:
        return self.state in STOPPED

    @property
    def healthy(self) -> bool:
        """Whether it has started and all its checks pass."""
        return self.state == "started" and all(status == "passing" for status in self.checks.values())


def authorization(token: str) -> str:
    """The header for a token as Fly's tools print it: perhaps with its scheme, perhaps several. Raises OptionError."""
    parts = [re.sub(r"^(FlyV1|Bearer)(\s+|$)", "", part.strip(), flags=re.IGNORECASE) for part in token.split(",")]
    parts = [part for part in parts if part]
    macaroons = [part for part in parts if part.startswith(MACAROON)]
    if macaroons:
        return "FlyV1 " + ",".join(macaroons)
    if len(parts) != 1:
        raise OptionError(["token: it is empty, or several tokens of which none is a macaroon; give one deploy token"])
    return "Bearer " + parts[0]


def app_faults(app: str) -> list[str]:
    """What is wrong with the name of an app. The one rule for all modules."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", app, re.ASCII):
        return []
    return ["app: the name of an app consists of letters, digits and hyphens, at most 63"]


def token_texts(token: str) -> list[str]:
    """The parts of a token that are secret: without schemes and commas."""
    return [part for part in re.split(r"[,\s]+", token) if part and part.lower() not in ("flyv1", "bearer")]


def seconds(text: str) -> int | None:
    """A time as the API writes it, in seconds since 1970; None if it is written in another way."""
    found = _TIME.fullmatch(text)
    return calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) if found else None


def version_seconds(version: str) -> int | None:
    """When a version of a machine was made: versions are ULIDs, whose first ten characters are milliseconds since 1970."""
    if not re.fullmatch(f"[{_CROCKFORD}]{{26}}", version):
        return None
    number = 0
    for character in version[:10]:
        number = number * 32 + _CROCKFORD.index(character)
    return number // 1000


class Fly:
    """The secrets and machines of one app. Every method raises MaintenanceError, with Fly's request id in its message."""

    def __init__(self, client: Client, app: str) -> None:
        self.client, self.app = client, app
        self._home = join("v1", "apps", app)

    def secrets(self, version: int | None = None) -> dict[str, Stored]:
        """What Fly has, not older than ``version``."""
        query = {} if version is None else {"min_version": version}
        return _secrets(self._request("GET", "/secrets", query=query).body)

    def write(self, values: Mapping[str, str | None]) -> Written:
        """Set and (None) unset secrets, all in one request. Doing that twice does no harm, so it is repeated if need be."""
        body = self._request("POST", "/secrets", body={"values": values}, repeat=True).body
        version = body.get("version", body.get("Version")) if isinstance(body, Mapping) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise MaintenanceError(
                "Fly has not told the version of the secrets; whether they were written is not known"
            )
        # Not all that the document allows was seen: the answer may list what was written only, or nothing.
        listed = _secrets(body) if body.get("secrets") else {}
        if not {name for name, value in values.items() if value is not None} <= set(listed):
            listed = self.secrets(version)
        return Written(version, listed)

    def machines(self) -> list[Machine]:
        """All machines, those that are gone left out."""
        body = self._request("GET", "/machines").body
        if not isinstance(body, list):
            raise MaintenanceError("Fly's list of machines is not a list")
        return [machine for machine in map(_machine, body) if machine.state not in GONE]

    def machine(self, machine_id: str) -> Machine:
        return _machine(self._request("GET", join("machines", machine_id)).body)

    def update(self, machine: Machine, metadata: Mapping[str, str], version: int | None) -> Machine:
        """Give a machine its configuration anew, with this metadata: it starts with the secrets as they are now.

        A stopped machine stays stopped. The update is refused if somebody else has updated the machine since it was read.
        """
        body: dict[str, Any] = {
            "config": {**(machine.config or {}), "metadata": {**machine.metadata, **metadata}},
            "current_version": machine.version,
        }
        body.update({} if version is None else {"min_secrets_version": version})
        body.update({"skip_launch": True} if machine.stopped else {})
        return _machine(self._request("POST", join("machines", machine.id), body=body).body)

    def _request(self, method: str, path: str, **more: Any) -> Answer:
        try:
            return self.client.request(method, self._home + path, **more)
        except HttpError as error:
            raise self._explained(error) from None

    def _explained(self, error: HttpError) -> HttpError:
        """The same error in words that say what to do, with the request id that Fly's support asks for."""
        meaning = {
            401: "Fly refuses the token: it is wrong, expired or revoked",
            403: f"the token may not do this: it needs to be a deploy token of the app {self.app}",
            404: f"there is no app {self.app}, or the token is not for it",
            409: "somebody else is at work on it, or has changed it meanwhile: run again",
            429: "too many requests",
        }.get(error.status)
        text = f"{meaning} ({error})" if meaning else str(error)
        request_id = error.headers.get("fly-request-id", "")
        text += f"; Fly's request id: {request_id[:80]}" if request_id else ""
        explained = HttpError(
            self.client.scrub(text), status=error.status, detail=error.detail, uncertain=error.uncertain
        )
        explained.headers, explained.body, explained.limited = error.headers, error.body, error.limited
        return explained


def _secrets(body: Any) -> dict[str, Stored]:
    entries = body.get("secrets") if isinstance(body, Mapping) else None
    if entries is None and isinstance(body, Mapping):
        return {}
    if not isinstance(entries, list) or not all(
        isinstance(one, Mapping) and RULES.is_name(one.get("name")) for one in entries
    ):
        raise MaintenanceError("Fly's list of secrets does not look like one")
    return {one["name"]: Stored(_word(one.get("digest")), _word(one.get("updated_at"))) for one in entries}


def _word(value: Any) -> str:
    """A text of an answer without spaces and what cannot be written; "" for anything else."""
    return "".join(value.encode("utf-8", "replace").decode("utf-8").split()) if isinstance(value, str) else ""


def _machine(body: Any) -> Machine:
    # The id becomes part of an address.
    if not isinstance(body, Mapping) or not re.fullmatch(r"[A-Za-z0-9_-]+", str(body.get("id") or ""), re.ASCII):
        raise MaintenanceError("Fly's description of a machine does not look like one")
    checks = body.get("checks")
    checks = [check for check in checks if isinstance(check, Mapping)] if isinstance(checks, list) else []
    known = body.get("host_status") in (None, "", "ok") and isinstance(body.get("config"), dict)
    return Machine(
        id=str(body["id"]),
        state=clean(body.get("state") or ""),
        version=str(body.get("version") or body.get("instance_id") or ""),
        region=clean(body.get("region") or ""),
        config=body["config"] if known else None,
        # Made up by Fly for old clients; they say nothing.
        checks={
            clean(check.get("name")): clean(check.get("status"))
            for check in checks
            if not str(check.get("name")).startswith("bg_deployments_compat")
        },
    )
