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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._clean import clean
from .._errors import OptionError
from .._masking import Hidden, hide
from .._result import (
    CRITICAL,
    DONE,
    FAILED,
    INFO,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    WARNING,
    Finding,
    Result,
    entry,
)
from .._spec import Spec
from .http import REAL_TIME, Client, HttpError, Network, Waiting

SPEC = Spec(
    {
        "url": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "plan": {"type": "str", "default": "endpoint"},
        "health_url": {"type": "str"},
        "budget": {"type": "float", "default": 600.0},
        "repeat": {"type": "bool", "default": False},
        "ca_path": {"type": "path"},
    },
    required_one_of=[("url", "health_url")],
)
# What an application calls itself when it is healthy; one that says nothing about it is believed to be.
HEALTHY = ("healthy", "ok", "up", "pass", "passing")
HEALTH_SECONDS = 15.0
# More of an answer than this is not kept.
LARGEST_STATS = 20_000
MOST_ISSUES = 50

CHECK = "application-health"
MEANING = "It is what the application itself sees of its database."
ADVICE = "ask the database itself with health_info where it can be reached; or see what the application says besides"


@dataclass(frozen=True, repr=False)
class Request:
    """The options, read and checked. ``health_url`` is empty when nobody is to be asked beforehand, ``url`` when that is all."""

    plan: str
    url: str
    health_url: str
    token: str
    budget: float
    repeat: bool
    ca_path: str
    hidden: Hidden


@dataclass(frozen=True)
class Answered:
    """One request and what became of it."""

    outcome: str
    reason: str
    changed: bool = False
    numbers: Mapping[str, Any] | None = None


def hidden(parameters: Mapping[str, Any]) -> Hidden:
    """What must not be shown of the options: the token."""
    return hide([parameters["token"] or ""])


def read(parameters: Mapping[str, Any], hidden: Hidden) -> Request:
    """The request, or OptionError with every fault; no connection is made."""
    request = Request(
        plan=parameters["plan"],
        url=parameters["url"] or "",
        health_url=parameters["health_url"] or "",
        token=(parameters["token"] or "").strip(),
        budget=parameters["budget"],
        repeat=parameters["repeat"],
        ca_path=parameters["ca_path"] or "",
        hidden=hidden,
    )
    faults = []
    if request.url and not request.token:
        faults.append("token: it is empty; most often a variable is not set where it is read from")
    faults += [] if request.budget > 0 else ["budget: must be more than 0 seconds"]
    for option, url in (("url", request.url), ("health_url", request.health_url)):
        try:
            if url:
                Client(url, authorization=f"Bearer {request.token or '-'}", option=option)
        except OptionError as error:
            faults += error.errors
        if not url.isascii() or not url.isprintable() or " " in url:
            faults.append(f"{option}: what is not an ASCII letter, digit or mark must be percent-encoded")
    if faults:
        raise OptionError(list(dict.fromkeys(faults)))
    return request


def perform(request: Request, check: bool, waiting: Waiting = REAL_TIME) -> Result:
    """Ask how the application is, and have it do its maintenance."""
    return _Run(request, check, waiting).go()


class _Run:
    """One run: at most two requests, not counting repetitions."""

    def __init__(self, request: Request, check: bool, waiting: Waiting) -> None:
        self.request, self.check, self.waiting = request, check, waiting
        self.began = waiting.clock()
        self.actions: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.findings: list[Finding] = []
        self.turns = self.retries = 0

    def go(self) -> Result:
        healthy = True
        if self.request.health_url:
            healthy = self._timed("health", self.request.health_url, self._health) != FAILED
        if not self.request.url:
            return self._result()
        if not healthy:
            self._note("endpoint", self.request.url, Answered(SKIPPED, "the application is not healthy"), 0.0)
        elif self.check:
            self._note("endpoint", self.request.url, Answered(PLANNED, "it would be called", changed=True), 0.0)
        else:
            self._timed("endpoint", self.request.url, self._maintenance)
        return self._result()

    def _timed(self, operation: str, url: str, request: Callable[[], Answered]) -> str:
        began = self.waiting.clock()
        try:
            answered = request()
        except HttpError as error:
            answered = Answered(FAILED, _explained(error), numbers={"status": error.status})
        self._note(operation, url, answered, self.waiting.clock() - began)
        return answered.outcome

    def _client(self, url: str, authorization: str, seconds: float) -> Client:
        """A client for the service of a URL. Answers are waited for until the time is over: maintenance may be long."""
        parts = urlsplit(url)
        left = max(min(seconds, self.request.budget - (self.waiting.clock() - self.began)), 0.001)
        return Client(
            f"{parts.scheme}://{parts.netloc}",
            authorization=authorization,
            hidden=self.request.hidden,
            network=Network(self.request.ca_path, timeout=left, patience=left, deadline=left),
            waiting=self.waiting,
        )

    def _health(self) -> Answered:
        """GET the health, without the token: whoever is asked how it is need not be trusted with it."""
        client = self._client(self.request.health_url, "", HEALTH_SECONDS)
        try:
            answer = client.request("GET", urlsplit(self.request.health_url).path)
        except HttpError as error:  # many say with 503 that they are ill, and in the answer why
            if isinstance(error.body, Mapping) and {"status", "healthy", "issues"} & set(error.body):
                fault = self._said(error.body) or f"the application says so with status {error.status}"
                self._find(self.request.health_url, self._issues(error.body), fault, "")
            raise
        finally:
            self._done_with(client)
        body = answer.body
        if not isinstance(body, Mapping):
            return Answered(FAILED, "the health endpoint answered with JSON that is not an object")
        fault = self._said(body)
        self._find(self.request.health_url, self._issues(body), fault, "the application is healthy")
        return Answered(FAILED, fault) if fault else self._is_healthy(answer.attempts)

    def _said(self, body: Mapping[str, Any]) -> str:
        """What is wrong with the application in its own words, "" for nothing."""
        status = body.get("status")
        if status is not None and (not isinstance(status, str) or status.lower() not in HEALTHY):
            return f"the application says that it is {self._text(status)}"
        if body.get("healthy", True) is not True:
            return f"the application says healthy: {self._json(body['healthy'])}"
        return ""

    def _is_healthy(self, attempts: int) -> Answered:
        return Answered(UNCHANGED, "the application is healthy", numbers={"attempts": attempts})

    def _issues(self, health: Mapping[str, Any]) -> list[str]:
        return [self._text(issue) for issue in _list(health.get("issues"))[:MOST_ISSUES]]

    def _find(self, url: str, issues: Sequence[str], fault: str, well: str) -> None:
        """What the application says of its health, in the form of what health_info says of a database."""
        path = self._text(urlsplit(url).path or "/")
        levels = [(CRITICAL, fault)] if fault else []
        levels += [(WARNING, issue) for issue in issues]
        self.findings = [one for one in self.findings if one.level != INFO] if levels else self.findings
        for level, message in levels or [(INFO, well)]:
            meaning, advice = (MEANING, ADVICE) if level != INFO else ("", "")
            self.findings.append(Finding(CHECK, path, level, message, None, None, {}, advice, meaning, "application"))

    def _maintenance(self) -> Answered:
        """POST. Where the application itself says that it failed, nothing is repeated: it is silence and proxies that pass."""
        client = self._client(self.request.url, f"Bearer {self.request.token}", self.request.budget)
        try:
            answer = client.request("POST", urlsplit(self.request.url).path, expect=(500,), repeat=self.request.repeat)
        finally:
            self._done_with(client)
        body = answer.body
        numbers: dict[str, Any] = {"status": answer.status, "attempts": answer.attempts}
        report = body if isinstance(body, Mapping) else {}
        if report.get("success") is False or answer.status == 500:
            why = self._text(report.get("error") or "it does not say why")
            reason = f"the application reports that the maintenance failed: {why}"
        elif report.get("success") is not True:
            reason = "the answer does not say whether it was a success; is this the endpoint?"
        else:
            return self._success(report, numbers)
        return Answered(FAILED, reason, numbers=numbers)

    def _success(self, body: Mapping[str, Any], numbers: dict[str, Any]) -> Answered:
        health = body.get("health")
        health = {} if health is None else health
        if not isinstance(health, Mapping) or not isinstance(health.get("healthy", True), bool):
            came = health.get("healthy") if isinstance(health, Mapping) else health
            where = "healthy" if isinstance(health, Mapping) else "health"
            odd = f"the application reports success, and then {where}: {self._json(came)}, which is neither true nor false"
            return Answered(FAILED, odd, True, numbers)
        issues = self._issues(health)
        stats = self._data(health.get("stats"))
        numbers.update({"healthy": health["healthy"]} if "healthy" in health else {})
        numbers.update({"issues": issues} if issues else {})
        numbers.update({"stats": stats} if stats is not None else {})
        ill = health.get("healthy", True) is False and not issues
        fault = "the application reports a database that is not healthy, and no issue" if ill else ""
        if "healthy" in health or issues:
            self._find(self.request.url, issues, fault, "the application reports a healthy database")
        reason = "the application reports success"
        if "healthy" in health:
            count = f"{len(issues)} issue{'' if len(issues) == 1 else 's'}"
            reason += (
                " and a healthy database" if health["healthy"] else f", and a database that is not healthy: {count}"
            )
        return Answered(DONE, reason, True, numbers)

    def _done_with(self, client: Client) -> None:
        self.turns += client.requests
        self.retries += max(0, client.requests - 1)
        self.warnings += client.warnings

    def _text(self, value: Any) -> str:
        """Text of the application on one line, without the token."""
        text = value if isinstance(value, str) else json.dumps(value)
        return clean(" ".join(self.request.hidden.scrub(text).split()))[:300]

    def _json(self, value: Any) -> str:
        """A value as it came, quotation marks and all."""
        return clean(self.request.hidden.scrub(json.dumps(value, ensure_ascii=False)))[:100]

    def _data(self, value: Any) -> Any:
        """JSON of the application without the token, if it is of a reasonable size."""
        try:
            text = json.dumps(self.request.hidden.scrub_data(value), ensure_ascii=False)
        except RecursionError:
            return None
        if len(text) > LARGEST_STATS:
            return None
        return json.loads(text.encode("utf-8", "replace").decode("utf-8"))

    def _note(self, operation: str, url: str, answered: Answered, seconds: float) -> None:
        self.actions.append(
            entry(
                operation,
                self._text(urlsplit(url).path or "/"),
                answered.outcome,
                answered.reason,
                changed=answered.changed,
                step=len(self.actions) + 1,
                seconds=seconds,
                numbers=answered.numbers,
            )
        )

    def _result(self) -> Result:
        asked = urlsplit(self.request.url or self.request.health_url)
        host, target = asked.hostname or "", self._text(asked.path or "/")
        return Result(
            self.request.plan,
            self.check,
            server={"provider": "endpoint", "host": host, "target": target},
            seconds=self.waiting.clock() - self.began,
            turns=self.turns,
            actions=self.actions,
            warnings=self.warnings,
            findings=[{"step": 1, **one.as_dict()} for one in self.findings],
            more={
                "run_id": None,
                "budget": self.request.budget,
                "schedule": None,
                "retries": self.retries,
                "recent": [],
            },
        )


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


def _list(value: Any) -> list[Any]:
    """What is one thing instead of a list is told all the same."""
    return value if isinstance(value, list) else [] if value is None else [value]
