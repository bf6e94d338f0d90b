# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Maintenance by an application's own endpoint, for databases that only the application can reach.

The contract: POST with a bearer token; the answer is a JSON object with ``success``, and ``error`` or a ``health`` of
``healthy``, ``issues`` and ``stats``. The result has the form of a run.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._clean import clean
from .._errors import MaintenanceError, OptionError
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED
from .http import Client, HttpError
from .secrets import forms

# What an application calls itself when it is well; one that says nothing about it is believed to be.
WELL = ("healthy", "ok", "up", "pass", "passing")
HEALTH_SECONDS = 15.0
# More of an answer than this is not kept.
LARGEST_STATS = 20_000
MOST_ISSUES = 50


@dataclass(frozen=True, repr=False)
class Options:
    """The options, checked. ``health_url`` is empty when nobody is to be asked beforehand."""

    plan: str
    url: str
    health_url: str
    token: str
    budget: float
    repeat: bool
    ca_path: str | None


@dataclass(frozen=True)
class Answered:
    """One request and what became of it."""

    outcome: str
    reason: str
    changed: bool = False
    numbers: Mapping[str, Any] | None = None


def read(parameters: Mapping[str, Any]) -> Options:
    """The options, or OptionError with every fault; no connection is made."""
    options = Options(
        plan=parameters["plan"],
        url=parameters["url"],
        health_url=parameters["health_url"] or "",
        token=(parameters["token"] or "").strip(),
        budget=parameters["budget"],
        repeat=parameters["repeat"],
        ca_path=parameters["ca_path"],
    )
    faults = [] if options.token else ["token: it is empty; most often a variable is not set where it is read from"]
    faults += [] if options.budget > 0 else ["budget: must be more than 0 seconds"]
    for option, url in (("url", options.url), ("health_url", options.health_url)):
        try:
            if url:
                Client(url, authorization=f"Bearer {options.token or '-'}", option=option)
        except OptionError as error:
            faults += error.errors
        if not url.isascii() or not url.isprintable() or " " in url:
            faults.append(f"{option}: what is not an ASCII letter, digit or mark must be percent-encoded")
    if faults:
        raise OptionError(list(dict.fromkeys(faults)))
    return options


def hidden(parameters: Mapping[str, Any]) -> set[str]:
    """Every form of the token."""
    return forms(parameters["token"].strip()) if (parameters["token"] or "").strip() else set()


def perform(parameters: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Ask how the application is, tell it to do its maintenance, and return the result of a run. Raises OptionError."""
    return _Run(read(parameters), check).go()


class _Run:
    """One run: at most two requests, not counting repetitions."""

    def __init__(self, options: Options, check: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.options, self.check, self.clock = options, check, clock
        self.began = clock()
        self.actions: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.calls = 0
        self.secrets = forms(options.token)

    def go(self) -> dict[str, Any]:
        well = True
        if self.options.health_url:
            well = self._timed("health", self.options.health_url, self._ask) != FAILED
        if not well:
            self._note("endpoint", self.options.url, Answered(SKIPPED, "the application is not well"), 0.0)
        elif self.check:
            self._note("endpoint", self.options.url, Answered(PLANNED, "it would be called", changed=True), 0.0)
        else:
            self._timed("endpoint", self.options.url, self._tell)
        return self._result()

    def _timed(self, operation: str, url: str, request: Callable[[], Answered]) -> str:
        began = self.clock()
        try:
            answered = request()
        except HttpError as error:
            answered = Answered(FAILED, _explained(error), numbers={"status": error.status})
        self._note(operation, url, answered, self.clock() - began)
        return answered.outcome

    def _client(self, url: str, authorization: str, seconds: float) -> Client:
        """A client for the service of a URL. Answers are waited for until the time is over: maintenance may be long."""
        parts = urlsplit(url)
        left = min(seconds, self.options.budget - (self.clock() - self.began))
        return Client(
            f"{parts.scheme}://{parts.netloc}",
            authorization=authorization,
            secrets=self.secrets,
            timeout=max(left, 0.001),
            patience=max(left, 0.001),
            deadline=max(left, 0.001),
            ca_path=self.options.ca_path,
        )

    def _ask(self) -> Answered:
        """GET the health, without the token: whoever is asked how it is need not be trusted with it."""
        client = self._client(self.options.health_url, "", HEALTH_SECONDS)
        try:
            answer = client.request("GET", urlsplit(self.options.health_url).path)
        finally:
            self._done_with(client)
        if not isinstance(answer.body, Mapping):
            return Answered(FAILED, "the health endpoint answered with JSON that is not an object")
        status = answer.body.get("status")
        if status is not None and (not isinstance(status, str) or status.lower() not in WELL):
            return Answered(FAILED, f"the application says that it is {self._text(status)}")
        if answer.body.get("healthy", True) is not True:
            return Answered(FAILED, f"the application says healthy: {self._json(answer.body['healthy'])}")
        return Answered(UNCHANGED, "the application is well", numbers={"attempts": answer.attempts})

    def _tell(self) -> Answered:
        """POST. Where the application itself says that it failed, nothing is repeated: it is silence and proxies that pass."""
        client = self._client(self.options.url, f"Bearer {self.options.token}", self.options.budget)
        try:
            answer = client.request("POST", urlsplit(self.options.url).path, expect=(500,), repeat=self.options.repeat)
        finally:
            self._done_with(client)
        body = answer.body
        numbers: dict[str, Any] = {"status": answer.status, "attempts": answer.attempts}
        said = body if isinstance(body, Mapping) else {}
        if said.get("success") is False or answer.status == 500:
            why = self._text(said.get("error") or "it does not say why")
            reason = f"the application reports that the maintenance failed: {why}"
        elif said.get("success") is not True:
            reason = "the answer does not say whether it was a success; is this the endpoint?"
        else:
            return self._success(said, numbers)
        return Answered(FAILED, reason, numbers=numbers)

    def _success(self, body: Mapping[str, Any], numbers: dict[str, Any]) -> Answered:
        health = body.get("health")
        health = {} if health is None else health
        if not isinstance(health, Mapping) or not isinstance(health.get("healthy", True), bool):
            came = health.get("healthy") if isinstance(health, Mapping) else health
            where = "healthy" if isinstance(health, Mapping) else "health"
            said = f"the application reports success, and then {where}: {self._json(came)}, which is neither true nor false"
            return Answered(FAILED, said, True, numbers)
        issues = [self._text(issue) for issue in _list(health.get("issues"))[:MOST_ISSUES]]
        stats = self._data(health.get("stats"))
        numbers.update({"healthy": health["healthy"]} if "healthy" in health else {})
        numbers.update({"issues": issues} if issues else {})
        numbers.update({"stats": stats} if stats is not None else {})
        self.warnings += [f"the application reports: {issue}" for issue in issues]
        reason = "the application reports success"
        if "healthy" in health:
            count = f"{len(issues)} issue{'' if len(issues) == 1 else 's'}"
            reason += (
                " and a healthy database" if health["healthy"] else f", and a database that is not healthy: {count}"
            )
        return Answered(DONE, reason, True, numbers)

    def _done_with(self, client: Client) -> None:
        self.calls += client.calls
        self.warnings += client.warnings

    def _text(self, value: Any) -> str:
        """Text of the application on one line, without the token."""
        text = value if isinstance(value, str) else json.dumps(value)
        return clean(" ".join(_scrubbed(text, self.secrets).split()))[:300]

    def _json(self, value: Any) -> str:
        """A value as it came, quotation marks and all."""
        return clean(_scrubbed(json.dumps(value, ensure_ascii=False), self.secrets))[:100]

    def _data(self, value: Any) -> Any:
        """JSON of the application without the token, if it is of a reasonable size."""
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
        text = _scrubbed(text, self.secrets)
        try:
            return json.loads(text) if len(text) <= LARGEST_STATS else None
        except ValueError:
            return None

    def _note(self, operation: str, url: str, answered: Answered, seconds: float) -> None:
        self.actions.append(
            {
                "step": len(self.actions) + 1,
                "operation": operation,
                "target": self._text(urlsplit(url).path or "/"),
                "outcome": answered.outcome,
                "reason": answered.reason,
                "changed": answered.changed,
                "rows": None,
                "seconds": round(seconds, 3),
                "numbers": dict(answered.numbers or {}),
                "statements": [],
            }
        )

    def _result(self) -> dict[str, Any]:
        totals = dict(Counter(action["outcome"] for action in self.actions))
        failures = [action for action in self.actions if action["outcome"] == FAILED]
        message = f"{self.options.plan}: {', '.join(f'{count} {outcome}' for outcome, count in totals.items())}"
        message += "".join(f". {one['operation']} {one['target']}: {one['reason']}" for one in failures)
        result = {
            "changed": any(action["changed"] for action in self.actions),
            "msg": message,
            "status": "failed" if failures else "ok",
            "plan": self.options.plan,
            "check_mode": self.check,
            "run_id": None,
            "seconds": round(self.clock() - self.began, 3),
            "budget": self.options.budget,
            "server": {"host": urlsplit(self.options.url).hostname or "", "provider": "endpoint"},
            "actions": self.actions,
            "totals": totals,
            "turns": self.calls,
            "warnings": self.warnings,
        }
        return {**result, "failed": True} if failures else result


def failure(parameters: Mapping[str, Any], error: MaintenanceError) -> dict[str, Any]:
    """The result of a run that did not begin, in the form of one that did."""
    result = {
        "failed": True,
        "changed": False,
        "msg": str(error),
        "status": "failed",
        "plan": parameters["plan"],
        "actions": [],
    }
    return {**result, "errors": error.errors} if isinstance(error, OptionError) else result


def _explained(error: HttpError) -> str:
    """What an answer means, and what to do about it."""
    meaning = {
        401: "the application refuses the token: it must be the same on both sides, and the application may have to be "
        "restarted to see a new one",
        403: "the application, or something before it, does not let this caller in",
        404: "there is no such endpoint",
        405: "it does not take this method; is this the endpoint?",
        429: "too many requests",
    }.get(error.status)
    if meaning is None and error.status >= 500:
        meaning = "the application, or something before it, has a fault"
    text = f"{meaning} ({error.detail})" if meaning else error.detail
    return text + ("; it may have done its work all the same, or still be at it" if error.uncertain else "")


def _scrubbed(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def _list(value: Any) -> list[Any]:
    """What is one thing instead of a list is told all the same."""
    return value if isinstance(value, list) else [] if value is None else [value]
