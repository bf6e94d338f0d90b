# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets of a Fly app as they should be: read the options, read the facts, decide, write all in one request, deploy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import MaintenanceError, OptionError
from .._result import DONE, FAILED, PLANNED, UNCHANGED
from . import fly_deploy
from . import secrets as _secrets
from .fly import RULES, Fly, Stored, Written, authorization
from .http import Client
from .secrets import Change, FileRecords, Judge, Place, Record

SAME = "it was written, and Fly's digest of it is the same as before: the value was there already"


@dataclass(frozen=True, repr=False)
class Options:
    """The options, checked. With ``absent`` the values of ``secrets`` are empty."""

    app: str
    judge: Judge
    secrets: dict[str, str]
    absent: bool
    unset: list[str]
    deploy: bool
    wait_timeout: float
    file: str

    @property
    def records(self) -> FileRecords | None:
        return FileRecords(self.file, self.judge.place) if self.file else None


@dataclass(frozen=True)
class Facts:
    """What Fly and the file have."""

    stored: dict[str, Stored]
    records: dict[str, Record | None]


def read(parameters: Mapping[str, Any]) -> Options:
    """The options, or OptionError with every fault that can be seen without a call."""
    absent = parameters["state"] == "absent"
    if absent:
        names, faults = _secrets.checked_names("secrets", parameters["secrets"], RULES)
        values = dict.fromkeys(names, "")
    else:
        values, faults = _secrets.checked("secrets", parameters["secrets"], RULES)
    unset, found = _secrets.checked_names("unset", parameters["unset"], RULES)
    faults += found + [f"unset: {name} is among secrets as well" for name in unset if name in values]
    faults += _combination_faults(parameters)
    judge = None
    try:
        place = Place("fly", parameters["app"], "app")
        judge = _secrets.judge(parameters["basis"], parameters["fingerprint_key"], place)
        authorization(parameters["token"])
    except OptionError as error:
        faults += error.errors
    if faults or judge is None:
        raise OptionError(faults)
    return Options(
        app=parameters["app"],
        judge=judge,
        secrets=values,
        absent=absent,
        unset=unset,
        deploy=parameters["deploy"],
        wait_timeout=parameters["wait_timeout"],
        file=parameters["fingerprint_file"] or "",
    )


def hidden(parameters: Mapping[str, Any]) -> set[str]:
    """Every form of every secret in the options, whatever their shape."""
    token = parameters["token"] or ""
    texts = [token, *re.split(r"[,\s]+", token), parameters["fingerprint_key"]]
    texts += _secrets.misplaced(parameters["secrets"], RULES) + _secrets.misplaced(parameters["unset"], RULES)
    if parameters["state"] != "absent" or not isinstance(parameters["secrets"], list):
        texts += _texts(parameters["secrets"])
    texts = [text for text in texts if text and text not in ("FlyV1", "Bearer")]
    return set().union(*map(_secrets.forms, texts))


def masked(parameters: Mapping[str, Any], already: set[str]) -> set[str]:
    """What Ansible must mask. It takes a list of what is to be absent for secrets, and those are names that people must see."""
    absent = parameters["state"] == "absent"
    names, _faults = _secrets.checked_names("", parameters["secrets"], RULES) if absent else ([], [])
    return {text for text in already if text not in names} | hidden(parameters)


def perform(parameters: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do it, and return the module's result. Raises MaintenanceError before anything was changed."""
    options = read(parameters)
    return _Run(options, Fly(_client(parameters), options.app), check).go()


class _Run:
    """One run: facts, decision, one write, machines."""

    def __init__(self, options: Options, fly: Fly, check: bool) -> None:
        self.options, self.fly, self.check = options, fly, check
        self.version: int | None = None

    def go(self) -> dict[str, Any]:
        records = self.options.records
        facts = Facts(self.fly.secrets(), records.load() if records else {})
        changes = decide(facts, self.options)
        stored = facts.stored
        if self.check:
            actions = [_told(one, self._basis(one), *_prediction(one)) for one in changes]
        else:
            actions, stored = self._write(facts, changes)
        failed = any(action["outcome"] == FAILED for action in actions)
        if self.options.deploy and not failed:
            actions += self._deploy(stored, any(action["changed"] for action in actions))
        return self._result(facts, actions)

    def _write(self, facts: Facts, changes: list[Change]) -> tuple[list[dict[str, Any]], dict[str, Stored]]:
        """Everything in one request; it happens as a whole or not at all."""
        values: dict[str, str | None] = {
            change.name: None if change.verb == "delete" else self.options.secrets[change.name]
            for change in changes
            if change.verb != "keep"
        }
        if not values:
            self._forget(facts, changes)
            return [_told(change, self._basis(change), UNCHANGED, "", False) for change in changes], facts.stored
        try:
            written = self.fly.write(values)
        except MaintenanceError as error:
            return [self._failed(change, str(error)) for change in changes], facts.stored
        self.version = written.version
        return [self._written(change, facts, written) for change in changes], written.secrets

    def _failed(self, change: Change, reason: str) -> dict[str, Any]:
        if change.verb == "keep":
            return _told(change, self._basis(change), UNCHANGED, "", False)
        return _told(change, self._basis(change), FAILED, reason, False)

    def _written(self, change: Change, facts: Facts, written: Written) -> dict[str, Any]:
        """What became of one name, with its fingerprint kept."""
        basis, before, now = self._basis(change), facts.stored.get(change.name), written.secrets.get(change.name)
        if change.verb == "keep":
            return _told(change, basis, UNCHANGED, "", False)
        if change.verb != "delete" and now is None:
            return _told(change, basis, FAILED, "Fly took it and does not list it", True)
        same = bool(before and now and before.digest and before.digest == now.digest)
        outcome, reason = (UNCHANGED, f"{change.reason}; {SAME}") if same else (DONE, "")
        try:
            self._keep(change, now)
        except MaintenanceError as error:
            lost = f"it was written, but not its fingerprint; the next run makes up for it: {error}"
            return _told(change, basis, FAILED, lost, not same)
        return _told(change, "digest" if same else basis, outcome, reason, not same)

    def _keep(self, change: Change, now: Stored | None) -> None:
        records = self.options.records
        if records is None:
            return
        if change.verb == "delete" or now is None:
            records.save(change.name, None)
        elif self.options.judge.basis == "fingerprint":
            value = self.options.secrets[change.name]
            records.save(change.name, self.options.judge.record(change.name, value, now.stamp))

    def _forget(self, facts: Facts, changes: list[Change]) -> None:
        """Fingerprints of secrets that are to be absent and already are."""
        records = self.options.records
        for change in changes if records else ():
            if records and change.name in facts.records and change.name not in facts.stored:
                records.save(change.name, None)

    def _deploy(self, stored: dict[str, Stored], changing: bool) -> list[dict[str, Any]]:
        try:
            verdicts = fly_deploy.decide(self.fly.machines(), stored, changing)
        except MaintenanceError as error:
            kept = "; the secrets are staged, the next run deploys them" if changing else ""
            return [_told(Change("(all)", "update", ""), fly_deploy.BASIS, FAILED, f"{error}{kept}", False, "machine")]
        if self.check:
            return fly_deploy.planned(verdicts)
        return fly_deploy.Deployment(self.fly, stored, self.version, self.options.wait_timeout).go(verdicts)

    def _basis(self, change: Change) -> str:
        """On what the verdict about a name rests: whether it is there can be read, its value cannot."""
        return (
            self.options.judge.basis if change.name in self.options.secrets and not self.options.absent else "presence"
        )

    def _result(self, facts: Facts, actions: list[dict[str, Any]]) -> dict[str, Any]:
        counts = Counter(action["outcome"] for action in actions)
        failures = list(dict.fromkeys(one["reason"] for one in actions if one["outcome"] == FAILED))
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing was asked for"
        changed = [one for one in actions if one["changed"] and one["kind"] == "secret"]
        staged = bool(changed) and not self.options.deploy
        return {
            "changed": any(action["changed"] for action in actions),
            "failed": bool(failures),
            "msg": "; ".join([f"{self.options.app}: {said}", *failures]),
            "target": self.options.app,
            "basis": self.options.judge.basis,
            "check_mode": self.check,
            "version": self.version,
            "staged": staged,
            "actions": actions,
            "totals": dict(counts),
            "unknown": self._unknown(actions),
            "calls": self.fly.client.calls,
            "warnings": list(self.fly.client.warnings),
            "diff": _diff(actions),
        }

    def _unknown(self, actions: list[dict[str, Any]]) -> list[str]:
        """What nobody can say, in sentences."""
        secrets = [action for action in actions if action["kind"] == "secret"]
        wanted = {} if self.options.absent else self.options.secrets
        unread = [
            one["target"]
            for one in secrets
            if one["target"] in wanted and one["basis"] == "presence" and one["operation"] == "keep"
        ]
        said = [f"whether the value of {', '.join(unread)} is the wanted one"] if unread else []
        if self.check and self.options.judge.basis == "always" and wanted:
            said.append("whether the values are other ones than before: Fly's digests tell so after they were written")
        if self.check and any(one["outcome"] == PLANNED for one in secrets):
            said.append("whether the token may write: Fly says so only when it is tried")
        return said


def decide(facts: Facts, options: Options) -> list[Change]:
    """Every name that was asked about, in that order."""
    known = {name: stored.stamp for name, stored in facts.stored.items()}
    if options.absent:
        changes = _secrets.removals(options.secrets, known, "state is absent")
    else:
        changes = _secrets.decide(options.secrets, known, facts.records, options.judge)
    return changes + _secrets.removals(options.unset, known, "it is to be unset")


def _prediction(change: Change) -> tuple[str, str, bool]:
    return (UNCHANGED, "", False) if change.verb == "keep" else (PLANNED, "", True)


def _told(change: Change, basis: str, outcome: str, reason: str, changed: bool, kind: str = "secret") -> dict[str, Any]:
    return {
        "kind": kind,
        "target": change.name,
        "operation": change.verb,
        "outcome": outcome,
        "reason": reason or change.reason,
        "basis": basis,
        "changed": changed,
    }


def _combination_faults(parameters: Mapping[str, Any]) -> list[str]:
    faults = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", parameters["app"], re.ASCII):
        faults.append("app: the name of an app consists of letters, digits and hyphens")
    if parameters["secrets"] is None and not parameters["unset"] and not parameters["deploy"]:
        faults.append("secrets: secrets, unset or deploy is needed")
    if parameters["fingerprint_file"] and not parameters["fingerprint_key"]:
        faults.append("fingerprint_file: it needs a fingerprint_key")
    asked = parameters["basis"] == "fingerprint" or (parameters["basis"] is None and parameters["fingerprint_key"])
    if asked and not parameters["fingerprint_file"]:
        faults.append(
            "fingerprint_file: the basis fingerprint needs one, since Fly has no place to keep fingerprints in"
        )
    if parameters["timeout"] <= 0 or parameters["patience"] < 0 or parameters["wait_timeout"] <= 0:
        faults.append("timeout: it and wait_timeout must be more than 0 seconds, and patience not less than 0")
    return faults


def _client(parameters: Mapping[str, Any]) -> Client:
    return Client(
        parameters["api_url"],
        authorization=authorization(parameters["token"]),
        secrets=hidden(parameters),
        timeout=parameters["timeout"],
        patience=parameters["patience"],
        ca_path=parameters["ca_path"],
    )


def _texts(given: Any) -> list[str]:
    if isinstance(given, Mapping):
        return [text for value in given.values() for text in _texts(value)]
    if isinstance(given, (list, tuple)):
        return [text for value in given for text in _texts(value)]
    return [] if given is None or isinstance(given, bool) else [str(given)]


def _diff(actions: list[dict[str, Any]]) -> dict[str, str]:
    """Names, and what can be said about values without telling them."""
    before, after = [], []
    for action in actions:
        if not action["changed"] or action["outcome"] not in (DONE, PLANNED):
            continue
        what, name = action["kind"], action["target"]
        if action["operation"] != "create":
            old = "(the secrets of before)" if what == "machine" else "(a value that cannot be read)"
            before.append(f"{what} {name}: {old}\n")
        if action["operation"] != "delete":
            new = "(the secrets as they are now)" if what == "machine" else "(the value of this run)"
            after.append(f"{what} {name}: {new}\n")
    return {"before": "".join(before), "after": "".join(after)}
