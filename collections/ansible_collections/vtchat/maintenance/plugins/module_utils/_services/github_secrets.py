# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets and variables of GitHub Actions as they should be: read the options, read the facts, decide, do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._errors import MaintenanceError, OptionError
from .._masking import Hidden, hide
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED, Result, entry
from .._spec import Spec
from . import options
from .github import HEADERS, RULES, GitHub, Scope, Visibility, need_library, scope
from .github_decide import PREFIX, Decision, Facts, Request, count_faults, decide
from .http import REAL_TIME, Client, HttpError, Waiting
from .known_values import Record, judge, read_record
from .named_values import NamedValues, plain_names, read_names, read_values, secret_texts
from .record_file import FileRecords

SPEC = (
    Spec(
        {
            "repository": {"type": "str"},
            "organization": {"type": "str"},
            "environment": {"type": "str"},
            "create_environment": {"type": "bool", "default": False},
            "secrets": options.SECRETS,
            "variables": {"type": "raw", "no_log": False},
            "purge": {"type": "list", "elements": "str", "choices": ["secrets", "variables"], "default": []},
            "visibility": {"type": "str", "choices": ["all", "private", "selected"]},
            "selected_repositories": {"type": "list", "elements": "str"},
            "token": options.GITHUB_TOKEN,
            "api_url": options.GITHUB_API,
        }
    )
    + options.STATE
    + options.BASIS
    + options.FINGERPRINTS
    + options.NETWORK
)
# An organization's fingerprints are of no use to any workflow.
NOBODY = Visibility("selected")
# After these answers there is no point in trying the next name.
HOPELESS = (0, 401, 403, 429)


def hidden(parameters: Mapping[str, Any]) -> Hidden:
    """What must not be shown of the options, whatever their shape. Ansible takes names that are to be absent for secrets, too."""
    absent = parameters["state"] == "absent"
    texts = secret_texts(parameters["secrets"], RULES, absent)
    texts += [text for text in (parameters["token"], parameters["fingerprint_key"]) if text]
    return hide(texts, plain=plain_names(parameters["secrets"], RULES) if absent else ())


def read(parameters: Mapping[str, Any], hidden: Hidden) -> Request:
    """The request, or OptionError with every fault that can be seen without a call."""
    absent = parameters["state"] == "absent"
    collections = {name: _collection(name, parameters[name], absent) for name in ("secrets", "variables")}
    faults = [fault for collection in collections.values() for fault in collection.faults]
    faults += _combination_faults(parameters, absent)
    try:
        where = scope(parameters["repository"], parameters["organization"], parameters["environment"])
        faults += _visibility_faults(parameters, where)
        judged = judge(parameters["basis"], parameters["fingerprint_key"], where.place)
    except OptionError as error:
        raise OptionError(faults + error.errors) from None
    faults += count_faults({name: collection.values for name, collection in collections.items()}, where, {})
    if faults:
        raise OptionError(faults)
    return Request(
        scope=where,
        judge=judged,
        secrets=collections["secrets"].values,
        variables=collections["variables"].values,
        absent=absent,
        purge=frozenset(parameters["purge"]),
        create_environment=parameters["create_environment"],
        visibility=(parameters["visibility"] or "private") if where.kind == "organization" else "",
        selected=tuple(name.rpartition("/")[2] for name in parameters["selected_repositories"] or ()),
        file=parameters["fingerprint_file"] or "",
        token=parameters["token"].strip(),
        api_url=parameters["api_url"],
        network=options.network(parameters),
        hidden=hidden,
    )


def perform(request: Request, check: bool, waiting: Waiting = REAL_TIME) -> Result:
    """Do it. Raises MaintenanceError before anything was changed."""
    began = waiting.clock()
    client = Client(
        request.api_url,
        authorization=f"Bearer {request.token}",
        hidden=request.hidden,
        headers=HEADERS,
        network=request.network,
        waiting=waiting,
    )
    api = GitHub(client, request.scope)
    try:
        facts = gather(api, request)
    except HttpError as error:
        raise api.explained(error) from None
    decisions = decide(facts, request)
    if any(one.kind == "secret" and one.change.verb in ("create", "update") for one in decisions):
        need_library()
    actions = [_planned(one) for one in decisions] if check else _done(api, request, facts, decisions)
    return Result(
        "github_secrets",
        check,
        server={"provider": "github", "host": urlsplit(request.api_url).hostname or "", "target": str(request.scope)},
        seconds=waiting.clock() - began,
        turns=client.requests,
        actions=actions,
        warnings=client.warnings,
        diff=_diff(request, facts, actions),
        more={"basis": request.judge.basis, "unknown": _unknown(request, actions, check)},
    )


def gather(api: GitHub, request: Request) -> Facts:
    """All that the decision needs to know. Raises MaintenanceError."""
    visibility = Visibility(request.visibility)
    if request.visibility == "selected":
        visibility = Visibility("selected", frozenset(api.repository_id(name) for name in request.selected))
    records = FileRecords(request.file, request.scope.place).load() if request.file else {}
    if request.scope.environment and request.create_environment and not api.environment_exists():
        return Facts(records=records, visibility=visibility, environment_missing=True)
    secrets = api.listed("secrets") if request.about("secrets") else {}
    keeps_records = request.records_in_variables and request.about("secrets")
    variables = api.listed("variables") if request.about("variables") or keeps_records else {}
    if request.records_in_variables:
        records = {
            name[len(PREFIX):]: read_record(one["value"])
            for name, one in variables.items() if name.startswith(PREFIX)
        }  # fmt: skip
    other = {
        "secrets": _other_visibility(api, "secrets", secrets, request.secrets, visibility),
        "variables": _other_visibility(api, "variables", variables, request.variables, visibility),
    }
    return Facts(
        secrets={name: str(one["updated_at"]) for name, one in secrets.items()},
        variables={name: str(one["value"]) for name, one in variables.items()},
        records=records,
        other={} if request.absent else other,
        visibility=visibility,
    )


def _collection(option: str, given: Any, absent: bool) -> NamedValues:
    found = read_names(option, given, RULES) if absent else read_values(option, given, RULES)
    taken = [f"{option}: {PREFIX} is kept for fingerprints" for name in found.names if name.startswith(PREFIX)]
    return NamedValues(found.values, found.faults + taken)


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
    return faults + options.seconds_faults(parameters)


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


def _other_visibility(
    api: GitHub, collection: str, entries: Mapping[str, Any], wanted: Mapping[str, str], visibility: Visibility
) -> dict[str, str]:
    """Name -> reason, for entries of an organization that other repositories see than are meant to."""
    found = {}
    for name in wanted if visibility.kind else ():
        there = entries.get(name)
        if there is None:
            continue
        if there["visibility"] != visibility.kind:
            found[name] = f"its visibility is {there['visibility']}, not {visibility.kind}"
        elif visibility.kind == "selected" and api.selected(collection, name) != visibility.ids:
            found[name] = "other repositories are selected"
    return found


def _entry(decision: Decision, outcome: str, reason: str = "", changed: bool = False) -> dict[str, Any]:
    change = decision.change
    return entry(
        change.verb,
        change.name,
        outcome,
        reason or change.reason,
        kind=decision.kind,
        changed=changed,
        basis=decision.basis,
    )


def _planned(decision: Decision) -> dict[str, Any]:
    if decision.change.verb == "keep":
        return _entry(decision, UNCHANGED)
    return _entry(decision, PLANNED, changed=True)


def _done(api: GitHub, request: Request, facts: Facts, decisions: list[Decision]) -> list[dict[str, Any]]:
    """Carry the decisions out. One that fails does not stop the others, unless it shows that they would fail as well."""
    actions: list[dict[str, Any]] = []
    stopped = False
    for decision in decisions:
        if decision.change.verb == "keep":
            actions.append(_entry(decision, UNCHANGED))
        elif stopped:
            actions.append(_entry(decision, SKIPPED, "not tried after the failure before it"))
        else:
            try:
                actions.append(_do(api, request, facts, decision))
            except MaintenanceError as error:
                stopped = decision.kind == "environment" or _hopeless(error)
                actions.append(_entry(decision, FAILED, str(_explained(api, error))))
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


def _do(api: GitHub, request: Request, facts: Facts, decision: Decision) -> dict[str, Any]:
    name, verb = decision.change.name, decision.change.verb
    if decision.kind == "environment":
        api.create_environment()
    elif decision.kind == "variable" and verb != "delete":
        api.put_variable(name, request.variables[name], facts.visibility, name in facts.variables)
    elif decision.kind == "variable":
        api.delete("variables", name)
    elif decision.kind == "fingerprint":
        _keep(api, request, facts, name, None)
    elif verb == "delete":
        api.delete("secrets", name)
        return _recorded(api, request, facts, decision)
    else:
        api.put_secret(name, request.secrets[name], facts.visibility)
        return _recorded(api, request, facts, decision)
    return _entry(decision, DONE, changed=True)


def _recorded(api: GitHub, request: Request, facts: Facts, decision: Decision) -> dict[str, Any]:
    """The secret was written or deleted. If its fingerprint cannot follow, the next run sees that and does both again."""
    name, verb = decision.change.name, decision.change.verb
    try:
        if verb == "delete":
            if name in facts.records:
                _keep(api, request, facts, name, None)
        elif request.judge.basis == "fingerprint":
            _keep(api, request, facts, name, request.judge.record(name, request.secrets[name], api.stamp(name)))
    except MaintenanceError as error:
        was = "deleted" if verb == "delete" else "written"
        lost = f"the secret was {was} but its fingerprint was not; the next run repairs that: {_explained(api, error)}"
        return _entry(decision, FAILED, lost, changed=True)
    return _entry(decision, DONE, changed=True)


def _keep(api: GitHub, request: Request, facts: Facts, name: str, record: Record | None) -> None:
    if request.file:
        FileRecords(request.file, request.scope.place).save(name, record)
    elif record is None:
        api.delete("variables", PREFIX + name)
    else:
        seen_by = NOBODY if request.scope.kind == "organization" else Visibility()
        api.put_variable(PREFIX + name, record.text(), seen_by, PREFIX + name in facts.variables)


def _unknown(request: Request, actions: list[dict[str, Any]], check: bool) -> list[str]:
    """What nobody can say, in sentences."""
    secrets = [action for action in actions if action["kind"] == "secret"]
    unread = [one["target"] for one in secrets if one["basis"] == "presence" and one["operation"] == "keep"]
    blind = [one["target"] for one in secrets if one["basis"] == "always" and one["operation"] == "update"]
    sentences = []
    if unread and not request.absent:
        sentences.append(f"whether the value of {', '.join(unread)} is the wanted one")
    if blind:
        sentences.append(f"whether the value of {', '.join(blind)} is another one than before")
    if check and any(action["outcome"] == PLANNED for action in actions):
        sentences.append("whether the token may write: GitHub says so only when it is tried")
    return sentences


def _diff(request: Request, facts: Facts, actions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Names, and of variables the values. Of secrets only what can be said without their value."""
    before, after = [], []
    for action in actions:
        kind, name, operation = action["kind"], action["target"], action["operation"]
        if operation == "keep" or action["outcome"] not in (DONE, PLANNED):
            continue
        old, new = "(a value that cannot be read)", "(the value of this run)"
        if kind == "variable":
            old, new = facts.variables.get(name, ""), request.variables.get(name, "")
        if operation != "create":
            before.append(f"{kind} {name}: {old}\n")
        if operation != "delete":
            after.append(f"{kind} {name}: {new}\n")
    return options.difference(str(request.scope), before, after)
