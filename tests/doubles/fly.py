# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the part of Fly's Machines API that deals with secrets and with machines that already exist.

Paths, parameters and schemas are restated from Fly's OpenAPI document (superfly/docs, api/machines/openapi.json) and, where
that is silent (null unsets a secret, ``version`` beside ``min_version``, the FlyV1 scheme), from Fly's own client
(superfly/fly-go, flaps/ and tokens/). Every request and every answer is checked against them; another path is a violation.
What neither says is an assumption, marked below.
"""

from __future__ import annotations

import copy
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from jsonschema import Draft202012Validator

from tests.doubles.service import Reply, Request, Service

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_SECRET = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": _TEXT, "digest": _TEXT, "created_at": _TEXT, "updated_at": _TEXT, "value": _TEXT},
}
_CHECK = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"name": _TEXT, "status": _TEXT, "output": _TEXT, "updated_at": _TEXT},
}
_MACHINE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "state"],
    "properties": {
        "id": _TEXT,
        "name": _TEXT,
        "state": _TEXT,
        "region": _TEXT,
        "version": _TEXT,
        "instance_id": _TEXT,
        "private_ip": _TEXT,
        "created_at": _TEXT,
        "updated_at": _TEXT,
        "cordoned": {"type": "boolean"},
        "host_status": {"enum": ["ok", "unknown", "unreachable"]},
        "config": {"type": "object"},
        "incomplete_config": {"type": "object"},
        "events": {"type": "array", "items": {"type": "object"}},
        "checks": {"type": "array", "items": _CHECK},
    },
}
_ERROR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"error": _TEXT, "status": _TEXT, "details": {"type": "object"}, "message": _TEXT},
}
# "METHOD /path" -> (query parameters, schema of the body, answer's status, schema of the answer)
OPERATIONS: dict[str, tuple[set[str], dict[str, Any] | None, int, dict[str, Any]]] = {
    "GET /v1/apps/{app}/secrets": (
        {"min_version", "version", "show_secrets"},
        None,
        200,
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {"secrets": {"type": "array", "items": _SECRET}},
        },
    ),
    "POST /v1/apps/{app}/secrets": (
        set(),
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["values"],
            # The document says string; its prose and the client say null as well, to unset.
            "properties": {"values": {"type": "object", "additionalProperties": {"type": ["string", "null"]}}},
        },
        200,
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["version"],
            "properties": {"secrets": {"type": "array", "items": _SECRET}, "version": _NUMBER, "Version": _NUMBER},
        },
    ),
    "GET /v1/apps/{app}/machines": (
        {"include_deleted", "region", "state", "summary", "limit", "cursor"},
        None,
        200,
        {"type": "array", "items": _MACHINE},
    ),
    "GET /v1/apps/{app}/machines/{machine}": ({"version", "include_leases"}, None, 200, _MACHINE),
    "POST /v1/apps/{app}/machines/{machine}": (
        set(),
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["config"],
            "properties": {
                "config": {"type": "object"},
                "current_version": _TEXT,
                "lease_ttl": _NUMBER,
                "min_secrets_version": {"type": "integer", "minimum": 0},
                "name": _TEXT,
                "region": _TEXT,
                "skip_launch": {"type": "boolean"},
                "skip_secrets": {"type": "boolean"},
                "skip_service_registration": {"type": "boolean"},
            },
        },
        200,
        _MACHINE,
    ),
}
_PATHS = [
    (name.partition(" ")[0], re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", name.partition(" ")[2])), name)
    for name in OPERATIONS
]
# For the body and the answer of each operation.
_VALIDATORS = {
    name: (Draft202012Validator(body or {}), Draft202012Validator(answer))
    for name, (_query, body, _status, answer) in OPERATIONS.items()
}
_ERROR_VALIDATOR = Draft202012Validator(_ERROR)
_MACAROON = ("fm2_", "fm1r_", "fm1a_")
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass
class Secret:
    value: str
    digest: str
    created_at: str
    updated_at: str


@dataclass
class Machine:
    """A machine. ``runs``: the secrets that its process was started with.

    starting  how often it must be asked for until it has started after an update
    ends      the state that it then comes to
    checking  how often after that until its checks pass; -1: they never do
    """

    id: str
    state: str
    version: str
    config: dict[str, Any]
    runs: dict[str, str] = field(default_factory=dict)
    host_status: str = "ok"
    checks: dict[str, str] = field(default_factory=dict)
    starting: int = 1
    ends: str = "started"
    checking: int = 1
    updates: list[dict[str, Any]] = field(default_factory=list)
    waited: int = 0


@dataclass
class App:
    secrets: dict[str, Secret] = field(default_factory=dict)
    version: int = 0
    machines: dict[str, Machine] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, str]:
        return {name: secret.value for name, secret in self.secrets.items()}


class Fly(Service):
    """The API. ``salted``: digests that differ with each write, in case Fly's are so (what they are is not documented)."""

    def __init__(self, salted: bool = False) -> None:
        self.apps: dict[str, App] = {}
        self.tokens: dict[str, str] = {}  # token -> the app that it is for
        self.salted = salted
        self.now = datetime.now(timezone.utc).replace(microsecond=0)
        self._ids = 0
        super().__init__()

    # What tests do to the world

    def add_app(self, name: str, *tokens: str) -> App:
        """An app, and tokens that are for it alone."""
        self.apps[name] = App()
        self.tokens.update(dict.fromkeys(tokens, name))
        return self.apps[name]

    def add_machine(self, app: str, state: str = "started", **settings: Any) -> Machine:
        """A machine that runs with the secrets as they are now."""
        self._ids += 1
        config = {
            "image": "registry.fly.io/app:deployment-1",
            "env": {"PORT": "8080", "NOTE": "kept as it is"},
            "guest": {"cpus": 1, "cpu_kind": "shared", "memory_mb": 256},
            "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
            "an_option_of_next_year": {"nested": [1, 2]},
        }
        config["metadata"] = {**config["metadata"], **settings.pop("metadata", {})}  # type: ignore[dict-item]
        machine = Machine(f"e28{self._ids:011d}", state, self.ulid(), config, **settings)
        machine.runs = dict(self.apps[app].values)
        self.apps[app].machines[machine.id] = machine
        return machine

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def set_by_hand(self, app: str, name: str, value: str) -> None:
        """What `fly secrets set --stage` does."""
        self._set(self.apps[app], {name: value})

    def ulid(self) -> str:
        """A version: 48 bits of milliseconds and 80 of chance, in Crockford's base 32."""
        number = (int(self.now.timestamp() * 1000) << 80) | secrets.randbits(80)
        return "".join(_BASE32[(number >> shift) & 31] for shift in range(125, -1, -5))

    # The service

    def handle(self, request: Request) -> Reply:
        for method, pattern, operation in _PATHS:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                return self._checked(operation, request, found.groupdict())
        return self.violation(f"there is no {request.method} {request.path}", 404)

    def decorate(self, request: Request, reply: Reply) -> Reply:
        date = self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return Reply(
            reply.status,
            reply.body,
            {"fly-request-id": f"01REQUEST{len(self.requests):04d}-fra", "Date": date, **reply.headers},
        )

    def _checked(self, operation: str, request: Request, parts: dict[str, str]) -> Reply:
        parameters, body, status, _answer = OPERATIONS[operation]
        if set(request.query) - parameters:
            return self.violation(f"{operation}: unknown parameters {set(request.query) - parameters}")
        if body is not None and request.headers.get("content-type") != "application/json":
            return self.violation(f"{operation}: the body is not declared as JSON")
        if (body is None) != (not request.raw):
            return self.violation(f"{operation}: a body where there must be none, or none where there must be one")
        faults = (
            [] if body is None else [error.message for error in _VALIDATORS[operation][0].iter_errors(request.body)]
        )
        if faults:
            return self.violation(f"{operation}: {len(faults)} faults in the body", 422)
        refused = self._refusal(request, parts["app"])
        reply = refused or self._do(operation, request, parts)
        wanted = _VALIDATORS[operation][1] if reply.status == status else _ERROR_VALIDATOR
        broken = [error.message for error in wanted.iter_errors(reply.body)]
        if broken:
            self.violations.append(f"the double's own answer to {operation} breaks the schema: {broken}")
        return reply

    def _refusal(self, request: Request, app: str) -> Reply | None:
        """Bodies and statuses of refusals are an assumption: Fly documents 401 and 404, and no texts."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        tokens = credentials.split(",")
        macaroons = [token.startswith(_MACAROON) for token in tokens]
        if scheme == "FlyV1":
            if not all(macaroons) or any(token != token.strip() for token in tokens):
                return self.violation("FlyV1 takes macaroons only, separated by commas alone", 401)
        elif scheme != "Bearer" or len(tokens) != 1 or not credentials or " " in credentials:
            return self.violation(f"not a way to authenticate: {scheme!r} with {len(tokens)} tokens", 401)
        elif any(macaroons):
            return self.violation("a macaroon goes with FlyV1", 401)
        allowed = {self.tokens[token] for token in tokens if token in self.tokens}
        if not allowed:
            return Reply(401, {"error": "unauthorized"})
        if app not in self.apps:
            return Reply(404, {"error": "app not found"})
        return None if app in allowed else Reply(403, {"error": "forbidden"})

    def _do(self, operation: str, request: Request, parts: dict[str, str]) -> Reply:
        app = self.apps[parts["app"]]
        if operation.endswith("/secrets"):
            if request.method == "POST":
                self._set(app, request.body["values"])
                return Reply(200, {"secrets": self._listed(app), "version": app.version, "Version": app.version})
            return Reply(200, {"secrets": self._listed(app)})
        if "machine" not in parts:
            return Reply(200, [self._shown(machine) for machine in app.machines.values()])
        machine = app.machines.get(parts["machine"])
        if machine is None:
            return Reply(404, {"error": "machine not found"})
        if request.method == "POST":
            return self._update(app, machine, request.body)
        self._live(machine)
        return Reply(200, self._shown(machine))

    def _listed(self, app: App) -> list[dict[str, str]]:
        return [
            {"name": name, "digest": one.digest, "created_at": one.created_at, "updated_at": one.updated_at}
            for name, one in sorted(app.secrets.items())
        ]

    def _set(self, app: App, values: dict[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                app.secrets.pop(name, None)
                continue
            at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            salt = secrets.token_hex(8) if self.salted else ""
            # An assumption: what Fly's digest is made of is not documented.
            digest = hashlib.sha256((salt + "double" + value).encode()).hexdigest()[:16]
            created = app.secrets[name].created_at if name in app.secrets else at
            app.secrets[name] = Secret(value, digest, created, at)
        # Also when nothing was there to unset: Fly's own client counts on it.
        app.version += 1

    def _update(self, app: App, machine: Machine, body: dict[str, Any]) -> Reply:
        if body.get("current_version", machine.version) != machine.version:
            return Reply(409, {"error": "machine has been updated since"})
        if body.get("min_secrets_version", 0) > app.version:
            return Reply(412, {"error": "min_secrets_version is not available yet"})
        machine.updates.append(copy.deepcopy(body))
        machine.config = copy.deepcopy(body["config"])
        machine.version = self.ulid()
        if not body.get("skip_secrets"):
            machine.runs = dict(app.values)
        machine.waited = 0
        machine.checks = dict.fromkeys(machine.checks, "warning")
        machine.state = "stopped" if body.get("skip_launch") else "starting"
        return Reply(200, self._shown(machine))

    def _live(self, machine: Machine) -> None:
        """A machine that is watched gets on."""
        if machine.state == "starting":
            machine.waited += 1
            if machine.starting <= machine.waited:
                machine.state, machine.waited = machine.ends, 0
        elif machine.state == "started" and machine.updates:
            machine.waited += 1
            if 0 <= machine.checking <= machine.waited:
                machine.checks = dict.fromkeys(machine.checks, "passing")

    def _shown(self, machine: Machine) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": machine.id,
            "name": f"name-{machine.id[-3:]}",
            "state": machine.state,
            "region": "fra",
            "version": machine.version,
            "instance_id": machine.version,
            "host_status": machine.host_status,
            "checks": [
                {"name": name, "status": status, "output": "as the app answered"}
                for name, status in machine.checks.items()
            ],
        }
        shown["config" if machine.host_status == "ok" else "incomplete_config"] = copy.deepcopy(machine.config)
        return shown
