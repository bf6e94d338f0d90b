# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets and variables of GitHub Actions as they should be: read the options, read the facts, decide, do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import MaintenanceError, OptionError
from . import secrets as _secrets
from .github import HEADERS, MOST, RULES, GitHub, Scope, Visibility, need_library, scope
from .http import Client, HttpError
from .secrets import Change, FileRecords, Judge, Record

# A secret's fingerprint is kept in a variable of this prefix and the secret's name.
PREFIX = "MAINTENANCE_FP_"
# An organization's fingerprints are of no use to any workflow.
NOBODY = Visibility("selected")
# After these answers there is no point in trying the next name.
HOPELESS = (0, 401, 403, 429)


@dataclass(frozen=True, repr=False)
class Options:
    """The options, checked. ``secrets`` and ``variables`` map names to values; with ``absent`` the values are empty."""

    scope: Scope
    judge: Judge
    secrets: dict[str, str]
    variables: dict[str, str]
    absent: bool
    purge: frozenset[str]
    create_environment: bool
    visibility: str
    selected: tuple[str, ...]
    file: str

    @property
    def records_in_variables(self) -> bool:
        return self.judge.basis == "fingerprint" and not self.file

    def about(self, collection: str) -> bool:
        """Whether secrets or variables are concerned at all."""
        return bool(self.secrets if collection == "secrets" else self.variables) or collection in self.purge


@dataclass(frozen=True, repr=False)
class Facts:
    """What GitHub and the file have. ``other``: for each collection, name -> reason to write it for its visibility's sake."""

    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record | None] = field(default_factory=dict)
    other: dict[str, dict[str, str]] = field(default_factory=lambda: {"secrets": {}, "variables": {}})
    visibility: Visibility = field(default_factory=Visibility)
    environment_missing: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do, or not to do. ``kind``: environment, secret, variable or fingerprint."""

    kind: str
    change: Change
    basis: str

    def told(self, outcome: str, reason: str = "", changed: bool = False) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "target": self.change.name,
            "operation": self.change.verb,
            "outcome": outcome,
            "reason": reason or self.change.reason,
            "basis": self.basis,
            "changed": changed,
        }


def read(parameters: Mapping[str, Any]) -> Options:
    """The options, or OptionError with every fault that can be seen without a call."""
    faults: list[str] = []
    absent = parameters["state"] == "absent"
    collections: dict[str, dict[str, str]] = {}
    for option in ("secrets", "variables"):
        if absent:
            names, found = _secrets.checked_names(option, parameters[option], RULES)
            collections[option] = dict.fromkeys(names, "")
        else:
            collections[option], found = _secrets.checked(option, parameters[option], RULES)
        faults += found + [
            f"{option}: {PREFIX} is kept for fingerprints" for n in collections[option] if n.startswith(PREFIX)
        ]
    faults += _combination_faults(parameters, absent)
    try:
        where = scope(parameters["repository"], parameters["organization"], parameters["environment"])
        faults += _visibility_faults(parameters, where)
        judge = _secrets.judge(parameters["basis"], parameters["fingerprint_key"], where.place)
    except OptionError as error:
        raise OptionError(faults + error.errors) from None
    faults += _count_faults(collections, where, {})
    if faults:
        raise OptionError(faults)
    return Options(
        scope=where,
        judge=judge,
        absent=absent,
        purge=frozenset(parameters["purge"]),
        create_environment=parameters["create_environment"],
        visibility=(parameters["visibility"] or "private") if where.kind == "organization" else "",
        selected=tuple(name.rpartition("/")[2] for name in parameters["selected_repositories"] or ()),
        file=parameters["fingerprint_file"] or "",
        **collections,
    )


def hidden(parameters: Mapping[str, Any]) -> set[str]:
    """Every form of every secret in the options, whatever their shape."""
    names_only = parameters["state"] == "absent" and isinstance(parameters["secrets"], list)
    texts = [] if names_only else _secrets.texts(parameters["secrets"])
    texts += _secrets.misplaced(parameters["secrets"], RULES)
    texts += _secrets.texts([parameters["token"], parameters["fingerprint_key"]])
    return set().union(*map(_secrets.forms, texts))


def masked(parameters: Mapping[str, Any], already: set[str]) -> set[str]:
    """What Ansible must mask. It took the names in a list of what is to be absent for secrets: people must see those."""
    names, _faults = (
        _secrets.checked_names("", parameters["secrets"], RULES) if parameters["state"] == "absent" else ([], [])
    )
    return {text for text in already if text.upper() not in names} | hidden(parameters)


def perform(parameters: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Do it, and return the module's result. Raises MaintenanceError before anything was changed."""
    options = read(parameters)
    api = GitHub(_client(parameters), options.scope)
    try:
        facts = gather(api, options)
    except HttpError as error:
        raise api.explained(error) from None
    steps = decide(facts, options)
    if any(step.kind == "secret" and step.change.verb in ("create", "update") for step in steps):
        need_library()
    actions = _planned(steps) if check else _done(api, options, facts, steps)
    return _result(api, options, facts, actions, check)


def gather(api: GitHub, options: Options) -> Facts:
    """All that the decision needs to know. Raises MaintenanceError."""
    visibility = Visibility(options.visibility)
    if options.visibility == "selected":
        visibility = Visibility("selected", frozenset(api.repository_id(name) for name in options.selected))
    records = FileRecords(options.file, options.scope.place).load() if options.file else {}
    if options.scope.environment and options.create_environment and not api.environment_exists():
        return Facts(records=records, visibility=visibility, environment_missing=True)
    secrets = api.listed("secrets") if options.about("secrets") else {}
    keeps_records = options.records_in_variables and options.about("secrets")
    variables = api.listed("variables") if options.about("variables") or keeps_records else {}
    if options.records_in_variables:
        records = {
            name[len(PREFIX):]: _secrets.read_record(entry["value"])
            for name, entry in variables.items() if name.startswith(PREFIX)
        }  # fmt: skip
    other = {
        "secrets": _other_visibility(api, "secrets", secrets, options.secrets, visibility),
        "variables": _other_visibility(api, "variables", variables, options.variables, visibility),
    }
    return Facts(
        secrets={name: str(entry["updated_at"]) for name, entry in secrets.items()},
        variables={name: str(entry["value"]) for name, entry in variables.items()},
        records=records,
        other={} if options.absent else other,
        visibility=visibility,
    )


def decide(facts: Facts, options: Options) -> list[Step]:
    """Every name that was asked about, in that order, and then what is purged. Raises OptionError past GitHub's limits."""
    if options.absent:
        reason = "state is absent"
        secrets = _secrets.removals(options.secrets, facts.secrets, reason)
        variables = _secrets.removals(options.variables, facts.variables, reason)
    else:
        rewrite = facts.other.get("secrets", {})
        secrets = _secrets.decide(options.secrets, facts.secrets, facts.records, options.judge, rewrite)
        variables = [_variable(name, value, facts) for name, value in options.variables.items()]
    unlisted = "it is not listed, and purge was asked for"
    if "secrets" in options.purge:
        secrets += _secrets.removals(
            (name for name in facts.secrets if name not in options.secrets), facts.secrets, unlisted
        )
    if "variables" in options.purge:
        names = (name for name in facts.variables if name not in options.variables and not name.startswith(PREFIX))
        variables += _secrets.removals(names, facts.variables, unlisted)
    faults = _count_faults(
        _after(facts, options, secrets, variables),
        options.scope,
        {"secrets": facts.secrets, "variables": facts.variables},
    )
    if faults:
        raise OptionError(faults)
    steps = [Step("environment", Change(options.scope.environment, "create", "it is not there yet"), "presence")]
    steps = steps if facts.environment_missing else []
    steps += [
        Step("secret", change, "presence" if change.verb == "delete" else options.judge.basis) for change in secrets
    ]
    steps += [Step("variable", change, "value") for change in variables]
    return steps + [Step("fingerprint", change, "presence") for change in _orphans(facts, options)]


def _variable(name: str, value: str, facts: Facts) -> Change:
    if name not in facts.variables:
        return Change(name, "create", "it is not there yet")
    if facts.variables[name] != value:
        return Change(name, "update", "the value is another one")
    if name in facts.other.get("variables", {}):
        return Change(name, "update", facts.other["variables"][name])
    return Change(name, "keep", "the value is the wanted one")


def _orphans(facts: Facts, options: Options) -> list[Change]:
    """Fingerprints of secrets that are to be absent and already are."""
    if options.absent:
        names = [name for name in options.secrets if name in facts.records and name not in facts.secrets]
    else:
        names = [name for name in facts.records if name not in facts.secrets and name not in options.secrets]
        names = names if "secrets" in options.purge else []
    return [Change(name, "delete", "its secret is not there") for name in names]


def _after(facts: Facts, options: Options, secrets: list[Change], variables: list[Change]) -> dict[str, set[str]]:
    """The names that there will be before anything is purged."""
    written = [change.name for change in secrets if change.verb in ("create", "update")]
    companions = {PREFIX + name for name in written} if options.records_in_variables else set()
    new = {change.name for change in variables if change.verb == "create"}
    return {"secrets": {*facts.secrets, *written}, "variables": {*facts.variables, *new, *companions}}


def _count_faults(after: Mapping[str, Any], where: Scope, before: Mapping[str, Any]) -> list[str]:
    faults = []
    for collection, names in after.items():
        most = MOST[collection][where.kind]
        if len(names) > max(most, len(before.get(collection, ()))):
            faults.append(f"{collection}: there would be {len(names)}, and GitHub takes {most} in one {where.kind}")
    return faults


def _combination_faults(parameters: Mapping[str, Any], absent: bool) -> list[str]:
    faults = [
        f"purge: {name} are to be purged and none are listed; an empty mapping ({name}: {{}}) would say that all must go"
        for name in parameters["purge"]
        if parameters[name] is None
    ]
    if absent and parameters["purge"]:
        faults.append("purge: it does not go together with state: absent")
    if parameters["secrets"] is None and parameters["variables"] is None:
        faults.append("secrets: secrets or variables are needed")
    if parameters["fingerprint_file"] and not parameters["fingerprint_key"]:
        faults.append("fingerprint_file: it needs a fingerprint_key")
    if parameters["timeout"] <= 0 or parameters["patience"] < 0:
        faults.append("timeout: it must be more than 0 seconds, and patience not less than 0")
    return faults


def _visibility_faults(parameters: Mapping[str, Any], where: Scope) -> list[str]:
    chosen, selected = parameters["visibility"], parameters["selected_repositories"]
    if where.kind != "organization":
        return ["visibility: it and selected_repositories are for organizations"] if chosen or selected else []
    if (chosen == "selected") != (selected is not None):
        return ["selected_repositories: it and visibility: selected need each other"]
    if any(name.rpartition("/")[2] in ("", ".", "..") for name in selected or ()):
        return ["selected_repositories: . and .. are no names of repositories"]
    foreign = [name for name in selected or () if "/" in name and name.partition("/")[0].lower() != where.owner.lower()]
    return [f"selected_repositories: {name} does not belong to {where.owner}" for name in foreign]


def _client(parameters: Mapping[str, Any]) -> Client:
    token = parameters["token"].strip()
    return Client(
        parameters["api_url"],
        authorization=f"Bearer {token}",
        secrets=hidden(parameters),
        headers=HEADERS,
        timeout=parameters["timeout"],
        patience=parameters["patience"],
        ca_path=parameters["ca_path"],
    )


def _other_visibility(
    api: GitHub, collection: str, entries: Mapping[str, Any], wanted: Mapping[str, str], visibility: Visibility
) -> dict[str, str]:
    """Name -> reason, for entries of an organization that other repositories see than are meant to."""
    found = {}
    for name in wanted if visibility.kind else ():
        entry = entries.get(name)
        if entry is None:
            continue
        if entry["visibility"] != visibility.kind:
            found[name] = f"its visibility is {entry['visibility']}, not {visibility.kind}"
        elif visibility.kind == "selected" and api.selected(collection, name) != visibility.ids:
            found[name] = "other repositories are selected"
    return found


def _planned(steps: list[Step]) -> list[dict[str, Any]]:
    return [
        step.told("unchanged") if step.change.verb == "keep" else step.told("planned", changed=True) for step in steps
    ]


def _done(api: GitHub, options: Options, facts: Facts, steps: list[Step]) -> list[dict[str, Any]]:
    """Do the steps. One that fails does not stop the others, unless it shows that they would fail as well."""
    actions: list[dict[str, Any]] = []
    stopped = False
    for step in steps:
        if step.change.verb == "keep":
            actions.append(step.told("unchanged"))
        elif stopped:
            actions.append(step.told("skipped", "not tried after the failure before it"))
        else:
            try:
                actions.append(_do(api, options, facts, step))
            except MaintenanceError as error:
                stopped = step.kind == "environment" or _hopeless(error)
                actions.append(step.told("failed", str(_explained(api, error))))
    return actions


def _hopeless(error: MaintenanceError) -> bool:
    return isinstance(error, HttpError) and (error.status in HOPELESS or error.status >= 500)


def _explained(api: GitHub, error: MaintenanceError) -> MaintenanceError:
    if not isinstance(error, HttpError):
        return error
    try:
        return api.explained(error)
    except MaintenanceError as explanation:
        return explanation


def _do(api: GitHub, options: Options, facts: Facts, step: Step) -> dict[str, Any]:
    name, verb = step.change.name, step.change.verb
    if step.kind == "environment":
        api.create_environment()
    elif step.kind == "variable" and verb != "delete":
        api.put_variable(name, options.variables[name], facts.visibility, name in facts.variables)
    elif step.kind == "variable":
        api.delete("variables", name)
    elif step.kind == "fingerprint":
        _keep(api, options, facts, name, None)
    elif verb == "delete":
        api.delete("secrets", name)
        return _recorded(api, options, facts, step)
    else:
        api.put_secret(name, options.secrets[name], facts.visibility)
        return _recorded(api, options, facts, step)
    return step.told("done", changed=True)


def _recorded(api: GitHub, options: Options, facts: Facts, step: Step) -> dict[str, Any]:
    """The secret was written or deleted. If its fingerprint cannot follow, the next run sees that and does both again."""
    name = step.change.name
    try:
        if step.change.verb == "delete":
            if name in facts.records:
                _keep(api, options, facts, name, None)
        elif options.judge.basis == "fingerprint":
            _keep(api, options, facts, name, options.judge.record(name, options.secrets[name], api.stamp(name)))
    except MaintenanceError as error:
        lost = f"the secret was dealt with, but not its fingerprint; the next run makes up for it: {_explained(api, error)}"
        return step.told("failed", lost, changed=True)
    return step.told("done", changed=True)


def _keep(api: GitHub, options: Options, facts: Facts, name: str, record: Record | None) -> None:
    if options.file:
        FileRecords(options.file, options.scope.place).save(name, record)
    elif record is None:
        api.delete("variables", PREFIX + name)
    else:
        seen_by = NOBODY if options.scope.kind == "organization" else Visibility()
        api.put_variable(PREFIX + name, record.text(), seen_by, PREFIX + name in facts.variables)


def _result(api: GitHub, options: Options, facts: Facts, actions: list[dict[str, Any]], check: bool) -> dict[str, Any]:
    failed = [action for action in actions if action["outcome"] == "failed"]
    counts = Counter(action["outcome"] for action in actions)
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing was asked for"
    return {
        "changed": any(action["changed"] for action in actions),
        "failed": bool(failed),
        "msg": f"{options.scope}: {said}"
        + "".join(f"; {one['kind']} {one['target']}: {one['reason']}" for one in failed),
        "target": str(options.scope),
        "basis": options.judge.basis,
        "check_mode": check,
        "actions": actions,
        "totals": dict(counts),
        "unknown": _unknown(options, actions, check),
        "calls": api.client.calls,
        "warnings": list(api.client.warnings),
        "diff": _diff(options, facts, actions),
    }


def _unknown(options: Options, actions: list[dict[str, Any]], check: bool) -> list[str]:
    """What nobody can say, in sentences."""
    secrets = [action for action in actions if action["kind"] == "secret"]
    unread = [one["target"] for one in secrets if one["basis"] == "presence" and one["operation"] == "keep"]
    blind = [one["target"] for one in secrets if one["basis"] == "always" and one["operation"] == "update"]
    said = []
    if unread and not options.absent:
        said.append(f"whether the value of {', '.join(unread)} is the wanted one")
    if blind:
        said.append(f"whether the value of {', '.join(blind)} is another one than before")
    if check and any(action["outcome"] == "planned" for action in actions):
        said.append("whether the token may write: GitHub says so only when it is tried")
    return said


def _diff(options: Options, facts: Facts, actions: list[dict[str, Any]]) -> dict[str, str]:
    """Names, and of variables the values. Of secrets only what can be said without their value."""
    before, after = [], []
    for action in actions:
        kind, name, operation = action["kind"], action["target"], action["operation"]
        if operation == "keep" or action["outcome"] not in ("done", "planned"):
            continue
        old, new = "(a value that cannot be read)", "(the value of this run)"
        if kind == "variable":
            old, new = facts.variables.get(name, ""), options.variables.get(name, "")
        if operation != "create":
            before.append(f"{kind} {name}: {old}\n")
        if operation != "delete":
            after.append(f"{kind} {name}: {new}\n")
    return {"before": "".join(before), "after": "".join(after)}
