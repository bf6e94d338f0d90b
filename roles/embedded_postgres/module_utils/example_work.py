# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of an invented past: its actions with their times, in the form in which the engine writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.closing import shortened
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import DEFERRED, UNCHANGED, Result

from .example_facts import PAGE, Demo, Plan, Relation
from .example_world import Event, World


@dataclass
class Memory:
    """What goes on from one run to the next, by the name of the target.

    expired   rows that wait for a purge
    modified  rows that have changed since the last ANALYZE
    dead      rows that wait for a VACUUM
    bloat     share of an index that is air
    fresh     when a view was last refreshed
    last      when the last run of a plan began
    """

    expired: dict[str, float] = field(default_factory=dict)
    modified: dict[str, float] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    bloat: dict[str, float] = field(default_factory=dict)
    fresh: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, datetime] = field(default_factory=dict)


@dataclass
class Done:
    """An action as the history has it. measured: None where nothing was executed; finished: None while it runs."""

    step: int
    operation: str
    target: str
    outcome: str | None
    reason: str
    numbers: dict[str, Any]
    started: datetime
    statements: Sequence[str] = ()
    measured: dict[str, Any] | None = None
    rows: int | None = None
    finished: datetime | None = None


SMALL = 1 << 17  # bytes: of what is smaller nobody sees that it grows
# What is kept of a target that nothing was executed for.
KEPT = ("step", "operation", "target", "outcome", "reason", "numbers")


@dataclass
class Work:
    """A run under way.

    now         its clock
    slowness    how much longer everything takes
    dead        its process has died
    actions     those that the history has one by one, in its order
    everything  all of them
    """

    world: World
    demo: Demo
    memory: Memory
    plan: Plan
    started: datetime
    event: Event | None = None
    actions: list[Done] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    retries: int = 0
    step: int = 0
    dead: bool = False

    def __post_init__(self) -> None:
        self.now = self.started + timedelta(seconds=0.03 * self.world.noise(0.3))
        self.slowness = self.world.slowness(self.started)
        self._noted: list[Done] = []
        self._relations: dict[str, Relation] = {}
        self.everything: list[Done] = []

    def named(self, name: str) -> str:
        """A name as SQL displays it, with its schema."""
        return name if name in self.demo.relations else f"public.{name}"

    def relation(self, name: str) -> Relation:
        """The table or view as it was then. Raises KeyError with the name of what is not there."""
        known = self.demo.relations[self.named(name)]
        if known.name not in self._relations:
            self._relations[known.name] = self._then(known)
        return self._relations[known.name]

    def _then(self, known: Relation) -> Relation:
        small = known.bytes + known.index_bytes < SMALL
        share = 1.0 if small else self.world.growth(self.started, known.name)
        size, indexes = (round(share * number / PAGE) * PAGE for number in (known.bytes, known.index_bytes))
        return Relation(known.name, known.kind, round(share * known.rows), size, indexes, known.freeze_age)

    def database_bytes(self) -> int:
        """Size of the whole database then. What no table accounts for, such as catalogs, has grown with it."""
        then = [self.relation(name) for name in self.demo.relations]
        size = sum(one.bytes + one.index_bytes for one in then)
        rest = self.demo.server.bytes - sum(one.bytes + one.index_bytes for one in self.demo.relations.values())
        return size + round(max(0, rest) * (0.8 + 0.2 * self.world.progress(self.started)))

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return (self.now - self.started).total_seconds()

    def execute(self, operation: str, target: str, seconds: float, numbers: Mapping[str, Any] | None = None) -> Done:
        """An action that was executed and took about so long; what became of it is still to be said."""
        began = self.now + timedelta(seconds=0.004 * self.world.noise(0.3))
        self.now = began + timedelta(seconds=seconds * self.slowness * self.world.noise(0.2))
        action = Done(self.step, operation, target, None, "", dict(numbers or {}), began, measured={})
        action.finished = self.now
        self.actions.append(action)
        return action

    def note(self, operation: str, target: str, outcome: str, reason: str, **numbers: Any) -> None:
        """A target for which nothing was executed; the history has it from the end of the run on."""
        self._noted.append(Done(self.step, operation, target, outcome, reason, numbers, self.now))

    def put_off(self, operation: str, target: str, seconds: float) -> None:
        """What does not fit into the rest of the budget."""
        left = max(0.0, self.plan.budget - self.spent)
        expected = f", it is expected to take {seconds:.0f} s" if left else ""
        reason = f"{left:.0f} s of the budget are left{expected}; it goes first next time"
        self.note(operation, target, DEFERRED, reason, **({"expected_seconds": round(seconds, 1)} if left else {}))

    def conclude(self) -> Result:
        """Status, message and totals, as the engine words them; the noted ones follow, at the moment of the end."""
        self.now += timedelta(seconds=0.006 * self.world.noise(0.3))
        self.everything = [*self.actions, *self._noted]
        in_order = sorted(self.everything, key=lambda one: (one.step, one.outcome == UNCHANGED))
        result = Result(self.plan.name, False, actions=[
            {"operation": one.operation, "target": one.target, "outcome": one.outcome, "reason": one.reason}
            for one in in_order
        ])  # fmt: skip
        result.conclude()
        noted = shortened([{key: getattr(one, key) for key in KEPT} for one in self._noted])
        self.actions += [Done(**one, started=self.now, finished=self.now) for one in noted]
        return result
