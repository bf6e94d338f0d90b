# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is to be done about secrets and variables on GitHub: facts and a request go in, decisions come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import OptionError
from .._masking import Hidden
from .github import MOST, Scope, Visibility
from .http import Network
from .known_values import Change, Judge, Record, decide_values, removals

# A secret's fingerprint is kept in a variable of this prefix and the secret's name.
PREFIX = "MAINTENANCE_FP_"


@dataclass(frozen=True, repr=False)
class Request:
    """The options, read and checked. ``secrets`` and ``variables`` map names to values; with ``absent`` the values are empty."""

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
    token: str
    api_url: str
    network: Network
    hidden: Hidden

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
class Decision:
    """One thing to do, or not to do. ``kind``: environment, secret, variable or fingerprint."""

    kind: str
    change: Change
    basis: str


def decide(facts: Facts, request: Request) -> list[Decision]:
    """Every name that was asked about, in that order, and then what is purged. Raises OptionError past GitHub's limits."""
    if request.absent:
        reason = "state is absent"
        secrets = removals(request.secrets, facts.secrets, reason)
        variables = removals(request.variables, facts.variables, reason)
    else:
        rewrite = facts.other.get("secrets", {})
        secrets = decide_values(request.secrets, facts.secrets, facts.records, request.judge, rewrite)
        variables = [_variable(name, value, facts) for name, value in request.variables.items()]
    secrets += _purged("secrets", facts.secrets, request.secrets, request)
    variables += _purged("variables", facts.variables, request.variables, request)
    before = {"secrets": facts.secrets, "variables": facts.variables}
    faults = count_faults(_after(facts, request, secrets, variables), request.scope, before)
    if faults:
        raise OptionError(faults)
    decisions = [
        Decision("environment", Change(request.scope.environment, "create", "it is not there yet"), "presence")
    ]
    decisions = decisions if facts.environment_missing else []
    for change in secrets:
        decisions.append(Decision("secret", change, "presence" if change.verb == "delete" else request.judge.basis))
    decisions += [Decision("variable", change, "value") for change in variables]
    return decisions + [Decision("fingerprint", change, "presence") for change in _orphans(facts, request)]


def count_faults(after: Mapping[str, Any], where: Scope, before: Mapping[str, Any]) -> list[str]:
    """What GitHub would refuse for its number. A place that has more than the limit already may keep them."""
    faults = []
    for collection, names in after.items():
        most = MOST[collection][where.kind]
        if len(names) > max(most, len(before.get(collection, ()))):
            faults.append(f"{collection}: there would be {len(names)}, and GitHub takes {most} in one {where.kind}")
    return faults


def _variable(name: str, value: str, facts: Facts) -> Change:
    if name not in facts.variables:
        return Change(name, "create", "it is not there yet")
    if facts.variables[name] != value:
        return Change(name, "update", "the value is another one")
    if name in facts.other.get("variables", {}):
        return Change(name, "update", facts.other["variables"][name])
    return Change(name, "keep", "the value is the wanted one")


def _purged(collection: str, there: Mapping[str, str], listed: Mapping[str, str], request: Request) -> list[Change]:
    """What is there and not listed. Variables that hold fingerprints are spared."""
    if collection not in request.purge:
        return []
    spared = collection == "variables"
    names = (name for name in there if name not in listed and not (spared and name.startswith(PREFIX)))
    return removals(names, there, "it is not listed, and purge was asked for")


def _orphans(facts: Facts, request: Request) -> list[Change]:
    """Fingerprints of secrets that are to be absent and already are."""
    if request.absent:
        names = [name for name in request.secrets if name in facts.records and name not in facts.secrets]
    else:
        names = [name for name in facts.records if name not in facts.secrets and name not in request.secrets]
        names = names if "secrets" in request.purge else []
    return [Change(name, "delete", "its secret is not there") for name in names]


def _after(facts: Facts, request: Request, secrets: list[Change], variables: list[Change]) -> dict[str, set[str]]:
    """The names that there will be before anything is purged."""
    written = [change.name for change in secrets if change.verb in ("create", "update")]
    companions = {PREFIX + name for name in written} if request.records_in_variables else set()
    new = {change.name for change in variables if change.verb == "create"}
    return {"secrets": {*facts.secrets, *written}, "variables": {*facts.variables, *new, *companions}}
