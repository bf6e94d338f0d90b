# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets of a Fly app as they should be: read the options, read the facts, decide, write all in one request, deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._errors import MaintenanceError, OptionError
from .._masking import Hidden, hide
from .._result import DONE, FAILED, PLANNED, UNCHANGED, Result, entry
from .._spec import Spec
from . import options
from .fly import RULES, Fly, Stored, Written, app_faults, authorization, token_texts
from .fly_deploy import deployed
from .http import REAL_TIME, Client, Network, Waiting
from .known_values import Change, Judge, Place, Record, decide_values, judge, removals
from .named_values import plain_names, read_names, read_values, secret_texts
from .record_file import FileRecords

SPEC = (
    Spec(
        {
            "app": {"type": "str", "required": True},
            "secrets": options.SECRETS,
            "unset": {"type": "list", "elements": "str"},
            "token": options.FLY_TOKEN,
            "api_url": options.FLY_API,
        }
    )
    + options.STATE
    + options.DEPLOYMENT
    + options.BASIS
    + options.FINGERPRINTS
    + options.NETWORK
)
SAME = "it was written, and Fly's digest of it is the same as before: the value was there already"


@dataclass(frozen=True, repr=False)
class Request:
    """The options, read and checked. With ``absent`` the values of ``secrets`` are empty."""

    app: str
    judge: Judge
    secrets: dict[str, str]
    absent: bool
    unset: list[str]
    deploy: bool
    wait_timeout: float
    file: str
    authorization: str
    api_url: str
    network: Network
    hidden: Hidden

    @property
    def records(self) -> FileRecords | None:
        return FileRecords(self.file, self.judge.place) if self.file else None


@dataclass(frozen=True)
class Facts:
    """What Fly and the file have."""

    stored: dict[str, Stored]
    records: dict[str, Record | None]


def hidden(parameters: Mapping[str, Any]) -> Hidden:
    """What must not be shown of the options, whatever their shape. Ansible takes names that are to be absent for secrets, too."""
    absent = parameters["state"] == "absent"
    texts = secret_texts(parameters["secrets"], RULES, absent) + secret_texts(parameters["unset"], RULES, True)
    texts += [parameters["token"] or "", parameters["fingerprint_key"] or "", *token_texts(parameters["token"] or "")]
    return hide(texts, plain=plain_names(parameters["secrets"], RULES) if absent else ())


def read(parameters: Mapping[str, Any], hidden: Hidden) -> Request:
    """The request, or OptionError with every fault that can be seen without a call."""
    absent = parameters["state"] == "absent"
    secrets = (read_names if absent else read_values)("secrets", parameters["secrets"], RULES)
    unset = read_names("unset", parameters["unset"], RULES)
    faults = secrets.faults + unset.faults
    faults += [f"unset: {name} is among secrets as well" for name in unset.names if name in secrets.values]
    faults += _combination_faults(parameters)
    judged, header = None, ""
    try:
        judged = judge(parameters["basis"], parameters["fingerprint_key"], Place("fly", parameters["app"], "app"))
        header = authorization(parameters["token"])
    except OptionError as error:
        faults += error.errors
    if faults or judged is None:
        raise OptionError(faults)
    return Request(
        app=parameters["app"],
        judge=judged,
        secrets=secrets.values,
        absent=absent,
        unset=unset.names,
        deploy=parameters["deploy"],
        wait_timeout=parameters["wait_timeout"],
        file=parameters["fingerprint_file"] or "",
        authorization=header,
        api_url=parameters["api_url"],
        network=options.network(parameters),
        hidden=hidden,
    )


def perform(request: Request, check: bool, waiting: Waiting = REAL_TIME) -> Result:
    """Do it. Raises MaintenanceError before anything was changed."""
    client = Client(
        request.api_url,
        authorization=request.authorization,
        hidden=request.hidden,
        network=request.network,
        waiting=waiting,
    )
    return _Run(request, Fly(client, request.app), check, waiting).go()


class _Run:
    """One run: facts, decision, one write, machines."""

    def __init__(self, request: Request, fly: Fly, check: bool, waiting: Waiting) -> None:
        self.request, self.fly, self.check, self.waiting = request, fly, check, waiting
        self.began = waiting.clock()
        self.version: int | None = None

    def go(self) -> Result:
        records = self.request.records
        facts = Facts(self.fly.secrets(), records.load() if records else {})
        changes = decide(facts, self.request)
        stored = facts.stored
        if self.check:
            actions = [self._planned(change) for change in changes]
        else:
            actions, stored = self._write(facts, changes)
        failed = any(action["outcome"] == FAILED for action in actions)
        if self.request.deploy and not failed:
            actions += deployed(
                self.fly,
                stored,
                self.version,
                changing=any(action["changed"] for action in actions),
                check=self.check,
                patience=self.request.wait_timeout,
                waiting=self.waiting,
            )
        return self._result(actions)

    def _write(self, facts: Facts, changes: list[Change]) -> tuple[list[dict[str, Any]], dict[str, Stored]]:
        """Everything in one request; it happens as a whole or not at all."""
        values: dict[str, str | None] = {
            change.name: None if change.verb == "delete" else self.request.secrets[change.name]
            for change in changes
            if change.verb != "keep"
        }
        if not values:
            self._forget(facts, changes)
            return [self._entry(change, UNCHANGED) for change in changes], facts.stored
        try:
            written = self.fly.write(values)
        except MaintenanceError as error:
            return [self._failed(change, str(error)) for change in changes], facts.stored
        self.version = written.version
        return [self._written(change, facts, written) for change in changes], written.secrets

    def _failed(self, change: Change, reason: str) -> dict[str, Any]:
        return self._entry(change, UNCHANGED) if change.verb == "keep" else self._entry(change, FAILED, reason)

    def _planned(self, change: Change) -> dict[str, Any]:
        if change.verb == "keep":
            return self._entry(change, UNCHANGED)
        return self._entry(change, PLANNED, changed=True)

    def _written(self, change: Change, facts: Facts, written: Written) -> dict[str, Any]:
        """What became of one name, with its fingerprint kept."""
        before, now = facts.stored.get(change.name), written.secrets.get(change.name)
        if change.verb == "keep":
            return self._entry(change, UNCHANGED)
        if change.verb != "delete" and now is None:
            return self._entry(change, FAILED, "Fly took it and does not list it", changed=True)
        same = bool(before and now and before.digest and before.digest == now.digest)
        try:
            self._keep(change, now)
        except MaintenanceError as error:
            lost = f"it was written but its fingerprint was not; the next run repairs that: {error}"
            return self._entry(change, FAILED, lost, changed=not same)
        if same:
            return self._entry(change, UNCHANGED, f"{change.reason}; {SAME}", basis="digest")
        return self._entry(change, DONE, changed=True)

    def _keep(self, change: Change, now: Stored | None) -> None:
        records = self.request.records
        if records is None:
            return
        if change.verb == "delete" or now is None:
            records.save(change.name, None)
        elif self.request.judge.basis == "fingerprint":
            value = self.request.secrets[change.name]
            records.save(change.name, self.request.judge.record(change.name, value, now.stamp))

    def _forget(self, facts: Facts, changes: list[Change]) -> None:
        """Fingerprints of secrets that are to be absent and already are."""
        records = self.request.records
        for change in changes if records else ():
            if records and change.name in facts.records and change.name not in facts.stored:
                records.save(change.name, None)

    def _entry(
        self, change: Change, outcome: str, reason: str = "", changed: bool = False, basis: str = ""
    ) -> dict[str, Any]:
        """The entry of one name. Whether it is there can be read, its value cannot: on that rests the verdict."""
        wanted = change.name in self.request.secrets and not self.request.absent
        basis = basis or (self.request.judge.basis if wanted else "presence")
        reason = reason or change.reason
        return entry(change.verb, change.name, outcome, reason, kind="secret", changed=changed, basis=basis)

    def _result(self, actions: list[dict[str, Any]]) -> Result:
        client = self.fly.client
        staged = any(one["changed"] for one in actions if one["kind"] == "secret") and not self.request.deploy
        more = {
            "basis": self.request.judge.basis,
            "version": self.version,
            "staged": staged,
            "unknown": self._unknown(actions),
        }
        host = urlsplit(self.request.api_url).hostname or ""
        return Result(
            "fly_secrets",
            self.check,
            server={"provider": "fly", "host": host, "target": self.request.app},
            seconds=self.waiting.clock() - self.began,
            turns=client.requests,
            actions=actions,
            warnings=client.warnings,
            diff=_diff(self.request.app, actions),
            more=more,
        )

    def _unknown(self, actions: list[dict[str, Any]]) -> list[str]:
        """What nobody can say, in sentences."""
        secrets = [action for action in actions if action["kind"] == "secret"]
        wanted = {} if self.request.absent else self.request.secrets
        unread = [
            one["target"]
            for one in secrets
            if one["target"] in wanted and one["basis"] == "presence" and one["operation"] == "keep"
        ]
        sentences = [f"whether the value of {', '.join(unread)} is the wanted one"] if unread else []
        if self.check and self.request.judge.basis == "always" and wanted:
            sentences.append("whether the values are other ones than before: Fly's digests tell so after the write")
        if self.check and any(one["outcome"] == PLANNED for one in secrets):
            sentences.append("whether the token may write: Fly says so only when it is tried")
        return sentences


def decide(facts: Facts, request: Request) -> list[Change]:
    """Every name that was asked about, in that order."""
    known = {name: stored.stamp for name, stored in facts.stored.items()}
    if request.absent:
        changes = removals(request.secrets, known, "state is absent")
    else:
        changes = decide_values(request.secrets, known, facts.records, request.judge)
    return changes + removals(request.unset, known, "it is to be unset")


def _combination_faults(parameters: Mapping[str, Any]) -> list[str]:
    faults = app_faults(parameters["app"])
    if parameters["secrets"] is None and not parameters["unset"] and not parameters["deploy"]:
        faults.append("secrets: secrets, unset or deploy is needed")
    if parameters["fingerprint_file"] and not parameters["fingerprint_key"]:
        faults.append("fingerprint_file: it needs a fingerprint_key")
    asked = parameters["basis"] == "fingerprint" or (parameters["basis"] is None and parameters["fingerprint_key"])
    if asked and not parameters["fingerprint_file"]:
        faults.append(
            "fingerprint_file: the basis fingerprint needs one, since Fly has no place to keep fingerprints in"
        )
    return faults + options.seconds_faults(parameters)


def _diff(app: str, actions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Names, and what can be said about values without telling them."""
    before, after = [], []
    for action in actions:
        if not action["changed"] or action["outcome"] not in (DONE, PLANNED):
            continue
        kind, name = action["kind"], action["target"]
        if action["operation"] != "create":
            old = "(the secrets of before)" if kind == "machine" else "(a value that cannot be read)"
            before.append(f"{kind} {name}: {old}\n")
        if action["operation"] != "delete":
            new = "(the secrets as they are now)" if kind == "machine" else "(the value of this run)"
            after.append(f"{kind} {name}: {new}\n")
    return options.difference(app, before, after)
