# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Machines of a Fly app and the secrets they run with: which of them lag behind, and their update, one after the other.

Fly does not say which secrets a machine runs with. So a machine that is updated here gets a mark in its metadata, a hash over
names and digests of all secrets. A machine without one is judged by time: made or updated after the last secret was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import MaintenanceError
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED, entry
from .fly import Fly, Machine, Stored, seconds, version_seconds
from .http import REAL_TIME, HttpError, Waiting

MARK = "vtchat_maintenance_secrets"
BASIS = "mark"
# Seconds between two looks at a machine that is starting; the last one again and again.
PAUSES = (0.5, 0.5, 1.0, 1.0, 2.0)


@dataclass(frozen=True, repr=False)
class Verdict:
    """What is to be done about a machine. ``verb``: keep, deploy, or fail for one that nothing is known of."""

    machine: Machine
    verb: str
    reason: str

    def entry(self, outcome: str, reason: str = "", changed: bool = False) -> dict[str, Any]:
        """The entry of the result about this machine."""
        where = f" ({self.machine.region})" if self.machine.region else ""
        verb = "keep" if self.verb == "keep" else "deploy"
        target = self.machine.id + where
        return entry(verb, target, outcome, reason or self.reason, kind="machine", changed=changed, basis=BASIS)


def mark(stored: Mapping[str, Stored]) -> str:
    """Tells one set of secrets from another, and nothing that Fly does not tell whoever may see the machine."""
    lines = "".join(f"{name} {one.stamp}\n" for name, one in sorted(stored.items()))
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()[:32]


def decide(machines: list[Machine], stored: Mapping[str, Stored], changing: bool) -> list[Verdict]:
    """The verdict on each machine of the app. ``changing``: secrets are written in this run."""
    wanted = mark(stored)
    last = [seconds(one.updated_at) for one in stored.values()]
    found = []
    for machine in machines:
        if machine.config is None:
            found.append(Verdict(machine, "fail", "its host does not answer, so its configuration is not known"))
        elif machine.serves:
            behind = "secrets are written in this run" if changing else _behind(machine, wanted, last)
            verb, reason = ("deploy", behind) if behind else ("keep", "it runs with the secrets as they are")
            found.append(Verdict(machine, verb, reason))
    return found


def _behind(machine: Machine, wanted: str, last: list[int | None]) -> str:
    """Why a machine may not run with the secrets as they are; "" if it does."""
    if MARK in machine.metadata:
        return "" if machine.metadata[MARK] == wanted else "the secrets have changed since it was last updated"
    made = version_seconds(machine.version)
    if made is None or None in last:
        return "whether it runs with the secrets as they are is not known"
    # Written in the same second counts as written after: an update too many does no harm, and leaves a mark.
    return "a secret was written after its last update" if any(made <= one for one in last if one is not None) else ""


def deployed(
    fly: Fly,
    stored: Mapping[str, Stored],
    version: int | None,
    *,
    changing: bool,
    check: bool,
    patience: float,
    waiting: Waiting,
) -> list[dict[str, Any]]:
    """Have all machines run with these secrets, and return one entry for each; in check mode what would become of them."""
    try:
        verdicts = decide(fly.machines(), stored, changing)
    except MaintenanceError as error:
        staged = "; the secrets are staged, the next run deploys them" if changing else ""
        return [entry("deploy", "(all)", FAILED, f"{error}{staged}", kind="machine", basis=BASIS)]
    if check:
        return planned(verdicts)
    return Deployment(fly, stored, version, patience, waiting).go(verdicts)


def planned(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """What a run would do."""
    outcomes = {"keep": UNCHANGED, "deploy": PLANNED, "fail": FAILED}
    return [verdict.entry(outcomes[verdict.verb], changed=verdict.verb == "deploy") for verdict in verdicts]


class Deployment:
    """Updates machines one after the other; one that does not become healthy is the last one touched."""

    def __init__(
        self,
        fly: Fly,
        stored: Mapping[str, Stored],
        version: int | None,
        patience: float,
        waiting: Waiting = REAL_TIME,
    ) -> None:
        """version   minimum version of the secrets that machines must run with; None: any
        patience  seconds for one machine to become healthy
        """
        self.fly, self.mark, self.version = fly, mark(stored), version
        self.patience, self.waiting = patience, waiting

    def go(self, verdicts: list[Verdict]) -> list[dict[str, Any]]:
        """Do it; one entry for each machine. What is up to date already must be healthy before the next one is touched."""
        actions = []
        busy = any(verdict.verb == "deploy" for verdict in verdicts)
        broken = False
        for verdict in sorted(verdicts, key=lambda verdict: verdict.verb == "deploy"):
            if verdict.verb == "fail":
                actions.append(verdict.entry(FAILED))
            elif verdict.verb == "keep":
                actions.append(self._keep(verdict, busy))
                broken = broken or actions[-1]["outcome"] == FAILED
            elif broken:
                actions.append(verdict.entry(SKIPPED, "not touched after the failure before it; it runs as before"))
            else:
                actions.append(self._deploy(verdict))
                broken = actions[-1]["outcome"] == FAILED
        return actions

    def _keep(self, verdict: Verdict, busy: bool) -> dict[str, Any]:
        fault = ""
        if busy and not verdict.machine.stopped:
            try:
                fault = self._wait(verdict.machine, "")
            except MaintenanceError as error:
                fault = str(error)
        return verdict.entry(FAILED, f"{verdict.reason}, and {fault}") if fault else verdict.entry(UNCHANGED)

    def _deploy(self, verdict: Verdict) -> dict[str, Any]:
        machine = verdict.machine
        try:
            updated = self._update(machine)
        except MaintenanceError as error:
            return verdict.entry(FAILED, str(error))
        try:
            fault = "" if machine.stopped else self._wait(updated, machine.version)
        except MaintenanceError as error:
            fault = str(error)
        if fault:
            return verdict.entry(FAILED, f"it was updated, and {fault}", changed=True)
        later = f"; it is {machine.state}, and gets them when it starts" if machine.stopped else ""
        return verdict.entry(DONE, verdict.reason + later, changed=True)

    def _update(self, machine: Machine) -> Machine:
        """The machine after the update. Not repeated blindly: where the answer was lost, the machine itself tells."""
        try:
            return self.fly.update(machine, {MARK: self.mark}, self.version)
        except HttpError as error:
            if not error.uncertain:
                raise
            now = self.fly.machine(machine.id)
            if now.version == machine.version or now.metadata.get(MARK) != self.mark:
                raise
            return now

    def _wait(self, updated: Machine, before: str) -> str:
        """Wait until the machine is healthy; otherwise what it lacks. ``before``: its former version."""
        until = self.waiting.clock() + self.patience
        looks = 0
        while True:
            now = self.fly.machine(updated.id)
            if now.version not in (updated.version, before):
                return "then somebody else updated it: run again"
            if now.version == updated.version and now.healthy:
                return ""
            if now.state in ("failed", "destroyed") or self.waiting.clock() >= until:
                bad = [
                    f"check {name} is {status}" for name, status in sorted(now.checks.items()) if status != "passing"
                ]
                lacks = ", ".join(bad) if now.state == "started" else f"it is {now.state}"
                return f"did not become healthy within {self.patience:g} s: {lacks}"
            self.waiting.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
            looks += 1
