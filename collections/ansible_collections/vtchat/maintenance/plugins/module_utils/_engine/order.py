# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""In which order the steps of a run are dealt with: those that have waited, the longest first, then the plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .._operations import Action, Context, Decision
from .._result import Finding
from .fair import Key, Memory
from .plan import Step


@dataclass
class Part:
    """What one step of a run has decided so far, and what of it has been dealt with.

    acted    how many of its actions have been executed
    others   how many of the other steps' actions had been executed when it was decided; None before that
    handled  targets that have been dealt with
    """

    number: int
    step: Step
    context: Context = field(default_factory=lambda: Context(check=True))
    decisions: list[Decision[Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    acted: int = 0
    others: int | None = None
    handled: set[str] = field(default_factory=set)

    def decide(self, decided: Sequence[Decision[Any] | Finding], context: Context, others: int) -> None:
        """Take over what was decided. What comes last is kept if an earlier decision had it and something was executed."""
        kept = [one for one in self.decisions if _last(one) and self.acted]
        self.context, self.others = context, others
        self.findings = [one for one in decided if isinstance(one, Finding)]
        decisions = [one for one in decided if not isinstance(one, Finding)]
        again = {one.target for one in decisions if _last(one)}
        self.decisions = sorted([*decisions, *(one for one in kept if one.target not in again)], key=_last)

    def choose(self, targets: Collection[str] | None) -> list[Decision[Any]]:
        """The decisions to deal with now: actions of these targets, in their order, or without them all that is left."""
        if targets is None:
            chosen = [one for one in self.decisions if one.target not in self.handled]
        else:
            place = {target: number for number, target in enumerate(targets)}
            chosen = [one for one in self.decisions if one.target in place and _may_wait(one)]
            chosen.sort(key=lambda one: place[one.target])
        self.handled.update(one.target for one in chosen)
        return chosen


def waits(step: Step, memory: Mapping[Key, Memory]) -> bool:
    """Whether something waits that the step may be about: partitions and indexes have other names than what it names."""
    return any(known.deferred and operation == step.operation for (operation, _target), known in memory.items())


def in_line(parts: Sequence[Part], recall: Callable[[str, str], Memory]) -> list[tuple[Part, list[str]]]:
    """The targets that wait, the longest first; neighbours of one step together."""
    line: list[tuple[float, int, Part, str]] = []
    seen: set[Key] = set()
    for part in parts:
        for decision in part.decisions:
            key = part.step.operation, decision.target
            known = recall(*key)
            if known.deferred and _may_wait(decision) and key not in seen:
                seen.add(key)
                line.append((known.since or 0.0, len(line), part, decision.target))
    line.sort(key=lambda one: one[:2])
    groups = groupby(line, lambda one: one[2].number)
    return [(parts[number - 1], [target for *_place, target in group]) for number, group in groups]


def _may_wait(decision: Decision[Any]) -> bool:
    return isinstance(decision, Action) and not decision.last


def _last(decision: Decision[Any]) -> bool:
    """Whether it comes after all others of its step."""
    return isinstance(decision, Action) and decision.last
