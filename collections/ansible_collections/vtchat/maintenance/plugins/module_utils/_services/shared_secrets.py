# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets that GitHub and Fly must have the same: a new value is set on both sides in one run, or on neither.

The commit is a record beside the GitHub secret, with the times at which both sides were written. It says ``pending`` from
before the first write until after the last one: whatever happens between, the next run sees it and sets both again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .._errors import MaintenanceError, OptionError
from .._masking import Hidden, hide
from .._result import DONE, FAILED, PLANNED, UNCHANGED, Result, entry
from .._spec import Spec
from . import options
from .fly import RULES as FLY_RULES
from .fly import Fly, Stored, app_faults, authorization, token_texts
from .fly_deploy import deployed
from .github import HEADERS, RULES, GitHub, Visibility, need_library, scope
from .github_decide import PREFIX
from .http import REAL_TIME, Client, HttpError, Waiting
from .known_values import Record, judge, read_record
from .named_values import read_names, read_values, secret_texts
from .record_file import FileRecords
from .shared_decide import FLY, GITHUB, PENDING, Facts, Request, Verdict, decide

SPEC = (
    Spec(
        {
            "secrets": {**options.SECRETS, "required": True},
            "rotate": {"type": "bool", "default": False},
            "minimum_length": {"type": "int", "default": 32},
            "repository": {"type": "str", "required": True},
            "environment": {"type": "str"},
            "app": {"type": "str", "required": True},
            "github_token": options.GITHUB_TOKEN,
            "github_api_url": options.GITHUB_API,
            "fly_token": options.FLY_TOKEN,
            "fly_api_url": options.FLY_API,
        }
    )
    + options.DEPLOYMENT
    + options.FINGERPRINTS
    + options.NETWORK
)
RANDOM_BYTES = 48


def hidden(parameters: Mapping[str, Any]) -> Hidden:
    """What must not be shown of the options, whatever their shape."""
    texts = secret_texts(parameters["secrets"], FLY_RULES)
    texts += [parameters[name] or "" for name in ("github_token", "fly_token", "fingerprint_key")]
    return hide([*texts, *token_texts(parameters["fly_token"] or "")])


def read(parameters: Mapping[str, Any], hidden: Hidden, make: Callable[[int], str] = secrets.token_urlsafe) -> Request:
    """The request, or OptionError with every fault that can be seen without a call. ``make``: a value of so many random bytes."""
    given, made, faults = _values(parameters, make)
    where, header = None, ""
    try:
        where = scope(parameters["repository"], None, parameters["environment"])
        judge(None, parameters["fingerprint_key"], where.place)
    except OptionError as error:
        faults += error.errors
    try:
        header = authorization(parameters["fly_token"])
    except OptionError as error:
        faults += [f"fly_{fault}" for fault in error.errors]
    faults += app_faults(parameters["app"]) + options.seconds_faults(parameters)
    if faults or where is None:
        raise OptionError(faults)
    return Request(
        scope=where,
        app=parameters["app"],
        names=list(parameters["secrets"]),
        given=given,
        made=made,
        key=parameters["fingerprint_key"] or "",
        file=parameters["fingerprint_file"] or "",
        rotate=parameters["rotate"],
        deploy=parameters["deploy"],
        wait_timeout=parameters["wait_timeout"],
        github_token=parameters["github_token"].strip(),
        github_api_url=parameters["github_api_url"],
        fly_authorization=header,
        fly_api_url=parameters["fly_api_url"],
        network=options.network(parameters),
        # What is made here is as secret as what was given.
        hidden=hidden | hide(made.values()),
    )


def _values(
    parameters: Mapping[str, Any], make: Callable[[int], str]
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The values that were given, new ones for the other names, and what is wrong. GitHub's limits are the narrower ones."""
    wanted = parameters["secrets"]
    if not isinstance(wanted, Mapping) or not wanted:
        return {}, {}, ["secrets: it must be a mapping of names to values; an empty value has one made"]
    names = read_names("secrets", wanted, RULES)
    faults = names.faults + [
        f"secrets: {name} must be in upper case, as GitHub stores it" for name in names.names if name not in wanted
    ]
    left = [name for name, value in wanted.items() if value is None or value == ""]
    if names.faults:
        return {}, {}, faults
    given = read_values("secrets", {name: value for name, value in wanted.items() if name not in left}, RULES)
    faults += given.faults
    for name, value in given.values.items():
        faults += _token_faults(name, value, parameters["minimum_length"])
    if parameters["rotate"] and given.values:
        faults.append(f"rotate: {', '.join(given.names)} has a value given; leave it out to have a new one made")
    return given.values, {name: make(RANDOM_BYTES) for name in left}, faults


def _token_faults(name: str, value: Any, least: int) -> list[str]:
    """What keeps a value from being a token that a header carries and nobody guesses."""
    faults = []
    if isinstance(value, str) and value != value.strip():
        faults.append(
            f"secrets: {name}: the value begins or ends with a space or line break, which no header can carry"
        )
    if isinstance(value, str) and value and len(value) < least:
        short = f"the value has {len(value)} characters; at least {least} are needed (minimum_length)"
        faults.append(f"secrets: {name}: {short}")
    return faults


def perform(request: Request, check: bool, waiting: Waiting = REAL_TIME) -> Result:
    """Do it. Raises MaintenanceError before a secret was changed."""
    github = Client(
        request.github_api_url,
        authorization=f"Bearer {request.github_token}",
        headers=HEADERS,
        option="github_api_url",
        hidden=request.hidden,
        network=request.network,
        waiting=waiting,
    )
    fly = Client(
        request.fly_api_url,
        authorization=request.fly_authorization,
        option="fly_api_url",
        hidden=request.hidden,
        network=request.network,
        waiting=waiting,
    )
    return _Run(request, GitHub(github, request.scope), Fly(fly, request.app), check, waiting).go()


class _Records:
    """Where the records are: in a local file, or in variables beside the GitHub secrets."""

    def __init__(self, github: GitHub, request: Request) -> None:
        self._github = github
        self._file = FileRecords(request.file, request.place) if request.file else None
        self._there: set[str] = set()

    def load(self) -> dict[str, Record | None]:
        if self._file:
            return self._file.load()
        found = {
            name[len(PREFIX) :]: read_record(str(one["value"]))
            for name, one in self._github.listed("variables").items()
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

    def __init__(self, request: Request, github: GitHub, fly: Fly, check: bool, waiting: Waiting) -> None:
        self.request, self.github, self.fly = request, github, fly
        self.check, self.waiting, self.began = check, waiting, waiting.clock()
        self.records = _Records(github, request)
        self.stored: dict[str, Stored] = {}
        self.version: int | None = None
        self.actions: list[dict[str, Any]] = []

    def go(self) -> Result:
        facts = self._facts()
        self.stored = facts.fly
        verdicts = decide(facts, self.request)
        writes = [verdict for verdict in verdicts if verdict.write]
        for verdict in verdicts:
            if not verdict.write:
                self._report(verdict, facts, UNCHANGED)
        if self.check:
            for verdict in writes:
                self._report(verdict, facts, PLANNED)
        elif writes:
            self._write(facts, writes)
        if self.request.deploy and not any(action["outcome"] == FAILED for action in self.actions):
            entries = deployed(
                self.fly,
                self.stored,
                self.version,
                changing=bool(writes),
                check=self.check,
                patience=self.request.wait_timeout,
                waiting=self.waiting,
            )
            self.actions += [{**one, "platform": FLY} for one in entries]
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
        return Facts({name: str(one["updated_at"]) for name, one in github.items()}, fly, records)

    def _write(self, facts: Facts, writes: list[Verdict]) -> None:
        """Both sides. Fly first: what is written there is staged, and running machines go on with what they have."""
        need_library()
        self._mark(facts, writes)
        try:
            written = self.fly.write({verdict.name: self.request.value(verdict.name) for verdict in writes})
        except MaintenanceError as error:
            self._fly_failed(facts, writes, error)
            return
        self.stored, self.version = written.secrets, written.version
        for number, verdict in enumerate(writes):
            try:
                self.github.put_secret(verdict.name, self.request.value(verdict.name), Visibility())
            except MaintenanceError as error:
                self._github_failed(facts, writes[number:], error)
                return
            self._recorded(facts, verdict)

    def _mark(self, facts: Facts, writes: list[Verdict]) -> None:
        """Record that a write has begun. Raises MaintenanceError; nothing but records was touched then."""
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
            message = f"{error}; neither side was changed{self._unmark(facts, writes)}"
        else:
            message = f"{error}; whether Fly has it is not known, GitHub was not touched, the next run sets it on both"
        for verdict in writes:
            self._report(verdict, facts, FAILED, {FLY: (message, not certain), GITHUB: (message, False)})

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
        unsure = isinstance(error, HttpError) and error.uncertain
        has = "whether GitHub has the new value is not known" if unsure else "GitHub has not got the new value"
        on_github = f"{self._explained(error)}; {has}; the next run sets it on both"
        for verdict in rest:
            gone = verdict.name in new and undone
            fly = "it was taken away again"
            if not gone:
                fly = "it has the new value, staged: running machines go on with theirs"
            sides = {FLY: (f"{fly}; the next run sets it on both", not gone), GITHUB: (on_github, unsure)}
            self._report(verdict, facts, FAILED, sides)

    def _recorded(self, facts: Facts, verdict: Verdict) -> None:
        name = verdict.name
        try:
            self.records.save(name, self.request.record(name, self.github.stamp(name), self.stored[name]))
        except (MaintenanceError, KeyError) as error:
            why = self._explained(error) if isinstance(error, MaintenanceError) else "Fly took it and does not list it"
            message = f"both sides have it, but that could not be recorded; the next run sets it once more: {why}"
            self._report(verdict, facts, FAILED, {FLY: (message, True), GITHUB: (message, True)})
            return
        self._report(verdict, facts, DONE)

    def _report(
        self, verdict: Verdict, facts: Facts, outcome: str, sides: Mapping[str, tuple[str, bool]] | None = None
    ) -> None:
        """One entry for each side. ``sides``: its reason and whether it changed, where they differ from the rule."""
        for side, there in ((FLY, facts.fly), (GITHUB, facts.github)):
            reason, changed = (sides or {}).get(side, (verdict.reason, outcome in (DONE, PLANNED)))
            self.actions.append(
                entry(
                    "keep" if not verdict.write else "update" if verdict.name in there else "create",
                    f"{verdict.name} on {side}",
                    outcome,
                    reason,
                    kind="secret",
                    changed=changed,
                    basis=verdict.basis,
                    platform=side,
                )
            )

    def _explained(self, error: MaintenanceError) -> str:
        """In GitHub's case, what an error means."""
        if not isinstance(error, HttpError):
            return str(error)
        try:
            return str(self.github.explained(error))
        except MaintenanceError as explanation:
            return str(explanation)

    def _result(self, verdicts: list[Verdict]) -> Result:
        unread = [one.name for one in verdicts if one.basis == "presence" and not one.write]
        unknown = [f"whether both sides have the same {', '.join(unread)}: rotate would make sure"] if unread else []
        if self.check and any(one["outcome"] == PLANNED for one in self.actions):
            unknown.append("whether the tokens may write: that is known only when it is tried")
        staged = any(one["changed"] for one in self.actions if one["platform"] == FLY) and not self.request.deploy
        hosts = [urlsplit(url).hostname or "" for url in (self.request.github_api_url, self.request.fly_api_url)]
        target = f"{self.request.scope} and {self.request.app}"
        return Result(
            "shared_secrets",
            self.check,
            server={"provider": "github and fly", "host": " and ".join(hosts), "target": target},
            seconds=self.waiting.clock() - self.began,
            turns=self.github.client.requests + self.fly.client.requests,
            actions=self.actions,
            warnings=[*self.github.client.warnings, *self.fly.client.warnings],
            diff=_diff(target, self.actions),
            more={"version": self.version, "staged": staged, "unknown": unknown},
        )


def _diff(target: str, actions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Names, and what can be said about values without telling them."""
    shown = [one for one in actions if one["changed"] and one["outcome"] in (DONE, PLANNED)]
    before = [f"{one['target']}: (as before)\n" for one in shown if one["operation"] != "create"]
    after = [f"{one['target']}: (as of this run)\n" for one in shown]
    return options.difference(target, before, after)
