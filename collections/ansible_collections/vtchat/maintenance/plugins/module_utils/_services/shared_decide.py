# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is to be done about secrets that GitHub and Fly must have the same: facts and a request go in, verdicts come out."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._masking import Hidden
from .fly import Stored
from .github import Scope
from .http import Network
from .known_values import Place, Record, fingerprint, key_id

PENDING = "pending"
NONE = "-"  # a part of a record that there is nothing for
FLY, GITHUB = "Fly", "GitHub"


@dataclass(frozen=True, repr=False)
class Request:
    """The options, read and checked.

    given  values that somebody gave
    made   new ones for the other names, used if need be
    """

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
    github_token: str
    github_api_url: str
    fly_authorization: str
    fly_api_url: str
    network: Network
    hidden: Hidden

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
        mac = fingerprint(self.key, self.place, name, self.value(name))
        digest = fingerprint(self.key, self.place, f"digest of {name}", fly.digest) if fly.digest else NONE
        return Record(key_id(self.key), mac, f"{github} {fly.updated_at or NONE} {digest}")


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


def decide(facts: Facts, request: Request) -> list[Verdict]:
    """What to do about each name, in the order of the options."""
    return [_verdict(name, facts, request) for name in request.names]


def _verdict(name: str, facts: Facts, request: Request) -> Verdict:
    missing = [side for side, there in ((GITHUB, facts.github), (FLY, facts.fly)) if name not in there]
    if missing:
        where = "on neither side" if len(missing) == 2 else f"missing on {missing[0]}"
        return Verdict(name, True, f"it is {where}", "presence")
    if request.rotate:
        return Verdict(name, True, "a new value was asked for", "always")
    if name in facts.records:
        fault = _stale(facts.records[name], facts.github[name], facts.fly[name], name, request)
        if fault:
            return Verdict(name, True, fault, "record")
    if name in request.given:
        return _compared(name, facts.records.get(name), request)
    if name not in facts.records:
        reason = "both sides have one; whether it is the same was not recorded"
        return Verdict(name, False, reason, "presence")
    return Verdict(name, False, "it was set on both sides in one run, and nobody has written since", "record")


def _stale(kept: Record | None, github: str, fly: Stored, name: str, request: Request) -> str:
    """Why a record does not show that both sides are as they were after the last run; "" if it does."""
    if kept is not None and kept.stamp == PENDING:
        return "a run that was to set it did not end"
    parts = kept.stamp.split(" ") if kept else []
    if kept is None or len(parts) != 3:
        return "what is recorded of it does not say that both sides have the same"
    now = request.record(name, github, fly)
    _github, time, digest = now.stamp.split(" ")
    # By digest where both records have one of the same key: the same value written again is no drift.
    by_digest = now.key_id == kept.key_id and NONE not in (digest, parts[2])
    same = digest == parts[2] if by_digest else time == parts[1]
    changed = [side for side, ok in ((GITHUB, github == parts[0]), (FLY, same)) if not ok]
    return f"drift: somebody else wrote it on {' and on '.join(changed)}" if changed else ""


def _compared(name: str, kept: Record | None, request: Request) -> Verdict:
    """The verdict on a value that was given, when both sides are as they were."""
    if not request.key:
        return Verdict(name, True, "no value can be read, and without a fingerprint_key none compared", "always")
    if kept is None:
        return Verdict(name, True, "no fingerprint of it is kept", "fingerprint")
    if kept.key_id != key_id(request.key):
        return Verdict(name, True, "its fingerprint was made with another key", "fingerprint")
    if kept.mac != fingerprint(request.key, request.place, name, request.value(name)):
        return Verdict(name, True, "the value is another one", "fingerprint")
    return Verdict(
        name,
        False,
        "the value is the one written last, and nobody has written since",
        "fingerprint",
    )
