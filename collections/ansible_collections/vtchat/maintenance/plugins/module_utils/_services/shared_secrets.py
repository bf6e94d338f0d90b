# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets that GitHub and Fly must have the same: a new value is set on both sides in one run, or on neither.

The commit is a record beside the GitHub secret, with the times at which both sides were written. It says ``pending`` from
before the first write until after the last one: whatever happens between, the next run sees it and sets both again.
"""

from __future__ import annotations

import secrets as random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import MaintenanceError, OptionError
from .._result import DONE, FAILED, PLANNED, UNCHANGED
from . import fly_deploy
from . import secrets as _secrets
from .fly import RULES as FLY_RULES
from .fly import Fly, Stored, authorization
from .github import HEADERS, RULES, GitHub, Scope, Visibility, need_library, scope
from .github_secrets import PREFIX
from .http import Client, HttpError
from .secrets import FileRecords, Place, Record

PENDING = "pending"
NONE = "-"  # a part of a record that there is nothing for
RANDOM_BYTES = 48
FLY, GITHUB = "Fly", "GitHub"


@dataclass(frozen=True, repr=False)
class Options:
    """The options, checked. ``given``: values that somebody gave; ``made``: new ones for the other names, used if need be."""

    scope: Scope
    app: str
    names: list[str]
    given: dict[str, str]
    made: dict[str, str]
    key: str
    file: str
    rotate: bool
    deploy: bool
    wait_timeout: float

    @property
    def place(self) -> Place:
        github = self.scope.place
        return Place("github and fly", f"{github.target} {self.app}", github.scope)

    def value(self, name: str) -> str:
        return self.given.get(name) or self.made[name]

    def record(self, name: str, github: str, fly: Stored) -> Record:
        """What is kept when both sides have the value: when they were written, and, with a key, what the value and digest are."""
        if not self.key:
            return Record("", "", f"{github} {fly.updated_at or NONE} {NONE}")
        mac = _secrets.fingerprint(self.key, self.place, name, self.value(name))
        digest = _secrets.fingerprint(self.key, self.place, f"digest of {name}", fly.digest) if fly.digest else NONE
        return Record(_secrets.key_id(self.key), mac, f"{github} {fly.updated_at or NONE} {digest}")


@dataclass(frozen=True)
class Facts:
    """What both sides have, and what was recorded. ``records`` holds None for a record that cannot be read."""

    github: dict[str, str] = field(default_factory=dict)
    fly: dict[str, Stored] = field(default_factory=dict)
    records: dict[str, Record | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What is to be done about one name, on both sides alike."""

    name: str
    write: bool
    reason: str
    basis: str


def read(parameters: Mapping[str, Any], make: Callable[[int], str] = random.token_urlsafe) -> Options:
    """The options, or OptionError with every fault that can be seen without a call."""
    wanted = parameters["secrets"]
    wanted = dict(wanted) if isinstance(wanted, Mapping) else wanted
    left = [name for name, value in wanted.items() if value is None or value == ""] if isinstance(wanted, dict) else []
    names, faults = _secrets.checked_names("secrets", list(wanted) if isinstance(wanted, dict) else wanted, RULES)
    if not isinstance(wanted, dict) or not wanted:
        faults = ["secrets: it must be a mapping of names to values; an empty value has one made"]
    given, found = _given(wanted, left) if isinstance(wanted, dict) and not faults else ({}, [])
    faults += found + [f"secrets: {name} must be in upper case, as GitHub stores it" for name in _lower(wanted, names)]
    faults += _length_faults(given, parameters["minimum_length"])
    if parameters["rotate"] and given:
        faults.append(f"rotate: {', '.join(given)} has a value given; leave it out to have a new one made")
    where = None
    try:
        where = scope(parameters["repository"], None, parameters["environment"])
        _secrets.judge(None, parameters["fingerprint_key"], where.place)
    except OptionError as error:
        faults += error.errors
    faults += _fly_faults(parameters)
    if faults or where is None:
        raise OptionError(faults)
    return Options(
        scope=where,
        app=parameters["app"],
        names=names,
        given=given,
        made={name: make(RANDOM_BYTES) for name in left},
        key=parameters["fingerprint_key"] or "",
        file=parameters["fingerprint_file"] or "",
        rotate=parameters["rotate"],
        deploy=parameters["deploy"],
        wait_timeout=parameters["wait_timeout"],
    )


def _given(wanted: Mapping[str, Any], left: list[str]) -> tuple[dict[str, str], list[str]]:
    """The values that were given, and what is wrong with them. GitHub's limits are the narrower ones."""
    values = {name: value for name, value in wanted.items() if name not in left}
    checked, faults = _secrets.checked("secrets", values, RULES)
    faults += [
        f"secrets: {name}: the value begins or ends with a space or line break, which no header can carry"
        for name, value in checked.items()
        if isinstance(value, str) and value != value.strip()
    ]
    return checked, faults


def _lower(wanted: Any, names: list[str]) -> list[str]:
    """Names, checked already, that the two sides would not store alike."""
    return [name for name in names if name not in wanted] if isinstance(wanted, dict) else []


def _length_faults(given: Mapping[str, Any], least: int) -> list[str]:
    return [
        f"secrets: {name}: the value has {len(value)} characters; at least {least} are needed (minimum_length)"
        for name, value in given.items()
        if isinstance(value, str) and value and len(value) < least
    ]


def _fly_faults(parameters: Mapping[str, Any]) -> list[str]:
    faults = []
    try:
        authorization(parameters["fly_token"])
    except OptionError as error:
        faults += [f"fly_{fault}" for fault in error.errors]
    if not _secrets.checked_names("", [parameters["app"].replace("-", "_")], APP_RULES)[0]:
        faults.append("app: the name of an app consists of letters, digits and hyphens")
    if parameters["timeout"] <= 0 or parameters["patience"] < 0 or parameters["wait_timeout"] <= 0:
        faults.append("timeout: it and wait_timeout must be more than 0 seconds, and patience not less than 0")
    return faults


APP_RULES = _secrets.Rules(value_bytes=0, pattern=r"[A-Za-z0-9][A-Za-z0-9_]{0,62}", fold=False)


def hidden(parameters: Mapping[str, Any]) -> set[str]:
    """Every form of every secret in the options, whatever their shape."""
    texts = _secrets.texts(parameters["secrets"]) + _secrets.misplaced(parameters["secrets"], FLY_RULES)
    token = parameters["fly_token"] or ""
    texts += _secrets.texts([parameters["github_token"], parameters["fingerprint_key"], token])
    texts += [part for part in token.replace(",", " ").split() if part not in ("FlyV1", "Bearer")]
    return set().union(*map(_secrets.forms, filter(None, texts)))


def masked(parameters: Mapping[str, Any], already: set[str]) -> set[str]:
    """What Ansible must mask."""
    return already | hidden(parameters)


def perform(parameters: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do it, and return the module's result. Raises MaintenanceError before anything was changed."""
    options = read(parameters)
    secrets = hidden(parameters).union(*map(_secrets.forms, options.made.values()))
    common = {name: parameters[name] for name in ("timeout", "patience", "ca_path")}
    github = Client(
        parameters["github_api_url"],
        authorization=f"Bearer {parameters['github_token'].strip()}",
        secrets=secrets,
        headers=HEADERS,
        option="github_api_url",
        **common,
    )
    fly = Client(
        parameters["fly_api_url"],
        authorization=authorization(parameters["fly_token"]),
        secrets=secrets,
        option="fly_api_url",
        **common,
    )
    return _Run(options, GitHub(github, options.scope), Fly(fly, options.app), check).go()


def decide(facts: Facts, options: Options) -> list[Verdict]:
    """What to do about each name, in the order of the options."""
    return [_verdict(name, facts, options) for name in options.names]


def _verdict(name: str, facts: Facts, options: Options) -> Verdict:
    missing = [side for side, there in ((GITHUB, facts.github), (FLY, facts.fly)) if name not in there]
    if missing:
        where = "on neither side" if len(missing) == 2 else f"missing on {missing[0]}"
        return Verdict(name, True, f"it is {where}", "presence")
    if options.rotate:
        return Verdict(name, True, "a new value was asked for", "always")
    if name in facts.records:
        fault = _stale(facts.records[name], facts.github[name], facts.fly[name], name, options)
        if fault:
            return Verdict(name, True, fault, "record")
    if name in options.given:
        return _compared(name, facts.records.get(name), options)
    if name not in facts.records:
        reason = "both sides have one; whether it is the same was not recorded"
        return Verdict(name, False, reason, "presence")
    return Verdict(name, False, "it was set on both sides in one run, and nobody has written since", "record")


def _stale(kept: Record | None, github: str, fly: Stored, name: str, options: Options) -> str:
    """Why a record does not show that both sides are as they were after the last run; "" if it does."""
    if kept is not None and kept.stamp == PENDING:
        return "a run that was to set it did not end"
    parts = kept.stamp.split(" ") if kept else []
    if kept is None or len(parts) != 3:
        return "what is recorded of it does not say that both sides have the same"
    now = options.record(name, github, fly)
    _github, time, digest = now.stamp.split(" ")
    # By digest where it can be told: the same value written again is no drift.
    told = now.key_id == kept.key_id and NONE not in (digest, parts[2])
    same = digest == parts[2] if told else time == parts[1]
    changed = [side for side, ok in ((GITHUB, github == parts[0]), (FLY, same)) if not ok]
    return f"drift: somebody else wrote it on {' and on '.join(changed)}" if changed else ""


def _compared(name: str, kept: Record | None, options: Options) -> Verdict:
    """The verdict on a value that was given, when both sides are as they were."""
    if not options.key:
        return Verdict(name, True, "no value can be read, and without a fingerprint_key none compared", "always")
    if kept is None:
        return Verdict(name, True, "no fingerprint of it is kept", "fingerprint")
    if kept.key_id != _secrets.key_id(options.key):
        return Verdict(name, True, "its fingerprint was made with another key", "fingerprint")
    if kept.mac != _secrets.fingerprint(options.key, options.place, name, options.value(name)):
        return Verdict(name, True, "the value is another one", "fingerprint")
    return Verdict(name, False, "the value is the one written last, and nobody has written since", "fingerprint")


class _Records:
    """Where the records are: in a local file, or in variables beside the GitHub secrets."""

    def __init__(self, github: GitHub, options: Options) -> None:
        self._github = github
        self._file = FileRecords(options.file, options.place) if options.file else None
        self._there: set[str] = set()

    def load(self) -> dict[str, Record | None]:
        if self._file:
            return self._file.load()
        found = {
            name[len(PREFIX) :]: _secrets.read_record(str(entry["value"]))
            for name, entry in self._github.listed("variables").items()
            if name.startswith(PREFIX)
        }
        self._there = set(found)
        return found

    def save(self, name: str, record: Record | None) -> None:
        if self._file:
            self._file.save(name, record)
        elif record is None:
            self._github.delete("variables", PREFIX + name)
            self._there.discard(name)
        else:
            self._github.put_variable(PREFIX + name, record.text(), Visibility(), name in self._there)
            self._there.add(name)


class _Run:
    """One run: facts, decision, pending, Fly, GitHub, recorded, machines."""

    def __init__(self, options: Options, github: GitHub, fly: Fly, check: bool) -> None:
        self.options, self.github, self.fly, self.check = options, github, fly, check
        self.records = _Records(github, options)
        self.stored: dict[str, Stored] = {}
        self.version: int | None = None
        self.actions: list[dict[str, Any]] = []

    def go(self) -> dict[str, Any]:
        facts = self._facts()
        self.stored = facts.fly
        verdicts = decide(facts, self.options)
        writes = [verdict for verdict in verdicts if verdict.write]
        for verdict in verdicts:
            if not verdict.write:
                self._tell(verdict, facts, UNCHANGED)
        if self.check:
            for verdict in writes:
                self._tell(verdict, facts, PLANNED)
        elif writes:
            self._write(facts, writes)
        if self.options.deploy and not self._failed():
            self._deploy(bool(writes))
        return self._result(verdicts)

    def _facts(self) -> Facts:
        try:
            github, records = self.github.listed("secrets"), self.records.load()
        except HttpError as error:
            raise MaintenanceError(f"GitHub: {self._explained(error)}; nothing was changed") from None
        try:
            fly = self.fly.secrets()
        except HttpError as error:
            raise MaintenanceError(f"Fly: {error}; nothing was changed") from None
        return Facts({name: str(entry["updated_at"]) for name, entry in github.items()}, fly, records)

    def _write(self, facts: Facts, writes: list[Verdict]) -> None:
        """Both sides. Fly first: what is written there is staged, and running machines go on with what they have."""
        need_library()
        self._mark(facts, writes)
        try:
            written = self.fly.write({verdict.name: self.options.value(verdict.name) for verdict in writes})
        except MaintenanceError as error:
            self._fly_failed(facts, writes, error)
            return
        self.stored, self.version = written.secrets, written.version
        for number, verdict in enumerate(writes):
            try:
                self.github.put_secret(verdict.name, self.options.value(verdict.name), Visibility())
            except MaintenanceError as error:
                self._github_failed(facts, writes[number:], error)
                return
            self._recorded(facts, verdict)

    def _mark(self, facts: Facts, writes: list[Verdict]) -> None:
        """Say that a write has begun. Raises MaintenanceError; nothing but records was touched then."""
        marked: list[Verdict] = []
        try:
            for verdict in writes:
                marked.append(verdict)
                self.records.save(verdict.name, Record("", "", PENDING))
        except MaintenanceError as error:
            self._unmark(facts, marked[:-1])
            raise MaintenanceError(
                f"no secret was changed, because nothing can be recorded: {self._explained(error)}"
            ) from None

    def _unmark(self, facts: Facts, verdicts: list[Verdict]) -> str:
        """Put the records back. What stands in the way is returned; the next run then sets the secrets anew."""
        try:
            for verdict in verdicts:
                self.records.save(verdict.name, facts.records.get(verdict.name))
        except MaintenanceError:
            return "; the next run sets new ones on both"
        return ""

    def _fly_failed(self, facts: Facts, writes: list[Verdict], error: MaintenanceError) -> None:
        certain = isinstance(error, HttpError) and not error.uncertain and error.status > 0
        if certain:
            said = f"{error}; neither side was changed{self._unmark(facts, writes)}"
        else:
            said = f"{error}; whether Fly has it is not known, GitHub was not touched, the next run sets it on both"
        for verdict in writes:
            self._tell(verdict, facts, FAILED, {FLY: (said, not certain), GITHUB: (said, False)})

    def _github_failed(self, facts: Facts, rest: list[Verdict], error: MaintenanceError) -> None:
        """Fly is put back where that is possible: to having none. A value from before cannot be read, so not restored."""
        new = [verdict.name for verdict in rest if verdict.name not in facts.fly]
        try:
            if new:
                written = self.fly.write(dict.fromkeys(new))
                self.stored, self.version = written.secrets, written.version
            undone = True
        except MaintenanceError:
            undone = False
        explained = self._explained(error)
        unsure = isinstance(error, HttpError) and error.uncertain
        had = "whether GitHub has the new value is not known" if unsure else "GitHub has not got the new value"
        for verdict in rest:
            gone = verdict.name in new and undone
            fly = (
                "it was taken away again"
                if gone
                else "it has the new value, staged: running machines go on with theirs"
            )
            told = {
                FLY: (f"{fly}; the next run sets it on both", not gone),
                GITHUB: (f"{explained}; {had}; the next run sets it on both", unsure),
            }
            self._tell(verdict, facts, FAILED, told)

    def _recorded(self, facts: Facts, verdict: Verdict) -> None:
        name = verdict.name
        try:
            self.records.save(name, self.options.record(name, self.github.stamp(name), self.stored[name]))
        except (MaintenanceError, KeyError) as error:
            why = self._explained(error) if isinstance(error, MaintenanceError) else "Fly took it and does not list it"
            said = f"both sides have it, but that could not be recorded; the next run sets it once more: {why}"
            self._tell(verdict, facts, FAILED, {FLY: (said, True), GITHUB: (said, True)})
            return
        self._tell(verdict, facts, DONE)

    def _deploy(self, changing: bool) -> None:
        try:
            verdicts = fly_deploy.decide(self.fly.machines(), self.stored, changing)
        except MaintenanceError as error:
            failed = {"kind": "machine", "platform": FLY, "target": "(all)", "operation": "update", "outcome": FAILED}
            reason = f"{error}; the secrets are staged, the next run deploys them"
            self.actions.append({**failed, "reason": reason, "basis": fly_deploy.BASIS, "changed": False})
            return
        if self.check:
            told = fly_deploy.planned(verdicts)
        else:
            told = fly_deploy.Deployment(self.fly, self.stored, self.version, self.options.wait_timeout).go(verdicts)
        self.actions += [{"platform": FLY, **one} for one in told]

    def _tell(
        self, verdict: Verdict, facts: Facts, outcome: str, told: Mapping[str, tuple[str, bool]] | None = None
    ) -> None:
        """One action for each side. ``told``: its reason and whether it changed, where they differ from the rule."""
        for side, there in ((FLY, facts.fly), (GITHUB, facts.github)):
            reason, changed = (told or {}).get(side, (verdict.reason, outcome in (DONE, PLANNED)))
            self.actions.append(
                {
                    "kind": "secret",
                    "platform": side,
                    "target": verdict.name,
                    "operation": "keep" if not verdict.write else "update" if verdict.name in there else "create",
                    "outcome": outcome,
                    "reason": reason,
                    "basis": verdict.basis,
                    "changed": changed,
                }
            )

    def _explained(self, error: MaintenanceError) -> str:
        """In GitHub's case, what an error means."""
        if not isinstance(error, HttpError):
            return str(error)
        try:
            return str(self.github.explained(error))
        except MaintenanceError as explanation:
            return str(explanation)

    def _failed(self) -> list[dict[str, Any]]:
        return [action for action in self.actions if action["outcome"] == FAILED]

    def _result(self, verdicts: list[Verdict]) -> dict[str, Any]:
        counts = Counter(action["outcome"] for action in self.actions)
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        failures = [f"{one['target']} on {one['platform']}: {one['reason']}" for one in self._failed()]
        changed = any(one["changed"] for one in self.actions)
        unread = [one.name for one in verdicts if one.basis == "presence" and not one.write]
        unknown = [f"whether both sides have the same {', '.join(unread)}: rotate would make sure"] if unread else []
        if self.check and any(one["outcome"] == PLANNED for one in self.actions):
            unknown.append("whether the tokens may write: that is said only when it is tried")
        return {
            "changed": changed,
            "failed": bool(failures),
            "msg": "; ".join([f"{self.options.scope} and {self.options.app}: {said}", *failures]),
            "target": f"{self.options.scope} and {self.options.app}",
            "bases": {one.name: one.basis for one in verdicts},
            "check_mode": self.check,
            "version": self.version,
            "staged": any(one["changed"] for one in self.actions if one["platform"] == FLY) and not self.options.deploy,
            "actions": self.actions,
            "totals": dict(counts),
            "unknown": unknown,
            "calls": self.github.client.calls + self.fly.client.calls,
            "warnings": [*self.github.client.warnings, *self.fly.client.warnings],
            "diff": _diff(self.actions),
        }


def _diff(actions: list[dict[str, Any]]) -> dict[str, str]:
    """Names, and what can be said about values without telling them."""
    shown = [one for one in actions if one["changed"] and one["outcome"] in (DONE, PLANNED)]
    before = [f"{one['target']} on {one['platform']}: (as before)\n" for one in shown if one["operation"] == "update"]
    after = [f"{one['target']} on {one['platform']}: (as of this run)\n" for one in shown]
    return {"before": "".join(before), "after": "".join(after)}
