# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Machines of a Fly app and the secrets they run with: which of them lag behind, and bringing them up one by one.

Fly does not say which secrets a machine runs with. So a machine that is updated here gets a mark in its metadata, a hash over
names and digests of all secrets. A machine without one is judged by time: made or updated after the last secret was written.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._errors import MaintenanceError
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED
from .fly import RESTING, Fly, Machine, Stored, seconds, version_seconds
from .http import HttpError

MARK = "vtchat_maintenance_secrets"
BASIS = "mark"
PAUSES = (0.5, 0.5, 1.0, 1.0, 2.0)


def mark(stored: Mapping[str, Stored]) -> str:
    """Tells one set of secrets from another, and nothing that Fly does not tell whoever may see the machine."""
    lines = "".join(f"{name} {one.stamp}\n" for name, one in sorted(stored.items()))
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()[:32]


def decide(machines: list[Machine], stored: Mapping[str, Stored], changing: bool) -> list[tuple[Machine, str, str]]:
    """For each machine of the app (machine, verb, reason). Verbs: keep, update, and fail for one that nothing is known of.

    ``changing``: secrets are written in this run.
    """
    wanted = mark(stored)
    last = [seconds(one.updated_at) for one in stored.values()]
    found = []
    for machine in machines:
        if machine.config is None:
            found.append((machine, "fail", "its host does not answer, so its configuration is not known"))
        elif machine.lasting:
            behind = "secrets are written in this run" if changing else _behind(machine, wanted, last)
            found.append((machine, "update" if behind else "keep", behind or "it runs with the secrets as they are"))
    return found


def _behind(machine: Machine, wanted: str, last: list[int | None]) -> str:
    if MARK in machine.metadata:
        return "" if machine.metadata[MARK] == wanted else "the secrets have changed since it was last updated"
    made = version_seconds(machine.version)
    if made is None or None in last:
        return "whether it runs with the secrets as they are is not known"
    # Written in the same second counts as written after: an update too many does no harm, and leaves a mark.
    return "a secret was written after its last update" if any(made <= one for one in last if one is not None) else ""


def planned(verdicts: list[tuple[Machine, str, str]]) -> list[dict[str, Any]]:
    """What a run would do."""
    outcomes = {"keep": UNCHANGED, "update": PLANNED, "fail": FAILED}
    return [_told(machine, verb, outcomes[verb], reason, verb == "update") for machine, verb, reason in verdicts]


class Deployment:
    """Updates machines one after the other; one that does not get well is the last one touched."""

    def __init__(
        self,
        fly: Fly,
        stored: Mapping[str, Stored],
        version: int | None,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``version``: of the secrets, at least that is run with. ``patience``: seconds for one machine to get well."""
        self.fly, self.mark, self.version = fly, mark(stored), version
        self.patience, self.clock, self.sleep = patience, clock, sleep

    def go(self, verdicts: list[tuple[Machine, str, str]]) -> list[dict[str, Any]]:
        """Do it, and tell of each machine. What is up to date already must be well before the next one is touched."""
        actions = []
        busy = any(verb == "update" for _machine, verb, _reason in verdicts)
        stopped = False
        for machine, verb, reason in sorted(verdicts, key=lambda verdict: verdict[1] == "update"):
            if verb == "fail":
                actions.append(_told(machine, verb, FAILED, reason, False))
            elif verb == "keep":
                actions.append(self._keep(machine, reason, busy))
                stopped = stopped or actions[-1]["outcome"] == FAILED
            elif stopped:
                untouched = "not touched after the failure before it; it runs as before"
                actions.append(_told(machine, verb, SKIPPED, untouched, False))
            else:
                actions.append(self._bring(machine, reason))
                stopped = actions[-1]["outcome"] == FAILED
        return actions

    def _keep(self, machine: Machine, reason: str, busy: bool) -> dict[str, Any]:
        fault = ""
        if busy and machine.state not in RESTING:
            try:
                fault = self._wait(machine, "")
            except MaintenanceError as error:
                fault = str(error)
        if fault:
            return _told(machine, "keep", FAILED, f"{reason}, and {fault}", False)
        return _told(machine, "keep", UNCHANGED, reason, False)

    def _bring(self, machine: Machine, reason: str) -> dict[str, Any]:
        try:
            updated = self._update(machine)
        except MaintenanceError as error:
            return _told(machine, "update", FAILED, str(error), False)
        try:
            fault = "" if machine.state in RESTING else self._wait(updated, machine.version)
        except MaintenanceError as error:
            fault = str(error)
        if fault:
            return _told(machine, "update", FAILED, f"it was updated, and {fault}", True)
        rests = f"; it is {machine.state}, and gets them when it starts" if machine.state in RESTING else ""
        return _told(machine, "update", DONE, reason + rests, True)

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
        """Wait until the machine has started and all its checks pass; otherwise what it lacks. ``before``: its former version."""
        until = self.clock() + self.patience
        turn = 0
        while True:
            now = self.fly.machine(updated.id)
            if now.version not in (updated.version, before):
                return "then somebody else updated it: run again"
            if now.version == updated.version and now.well:
                return ""
            if now.state in ("failed", "destroyed") or self.clock() >= until:
                bad = [
                    f"check {name} is {status}" for name, status in sorted(now.checks.items()) if status != "passing"
                ]
                lacks = ", ".join(bad) if now.state == "started" else f"it is {now.state}"
                return f"has not got well in {self.patience:g} s: {lacks}"
            self.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
            turn += 1


def _told(machine: Machine, verb: str, outcome: str, reason: str, changed: bool) -> dict[str, Any]:
    where = f" ({machine.region})" if machine.region else ""
    return {
        "kind": "machine",
        "target": machine.id + where,
        "operation": "keep" if verb == "keep" else "update",
        "outcome": outcome,
        "reason": reason,
        "basis": BASIS,
        "changed": changed,
    }
