# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All runs of an invented quarter, the oldest first, with what the history samples after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._result import ABANDONED

from . import example_hourly, example_weekly
from .example_facts import Demo, Plan
from .example_work import Done, Memory, Work
from .example_world import HOUR, World

STEPS: dict[str, Callable[[Work, Mapping[str, Any]], None]] = {
    "purge": example_hourly.purge,
    "refresh": example_hourly.refresh,
    "analyze": example_hourly.analyze,
    "vacuum": example_weekly.vacuum,
    "reindex": example_weekly.reindex,
    "index_info": example_weekly.index_info,
    "health_info": example_weekly.health_info,
}
# The history samples the whole database once an hour at most, and its tables once a day.
OF_DATABASE, OF_TABLES = timedelta(minutes=50), timedelta(hours=20)


@dataclass
class Run:
    """A run with all that belongs to it.

    actions     those that the history has one by one; everything: all of them
    samples     relation, bytes, index_bytes, live_rows, dead_rows, freeze_age
    """

    plan: Plan
    status: str
    message: str | None
    totals: dict[str, int] | None
    started: datetime
    finished: datetime
    actions: list[Done]
    everything: list[Done]
    findings: list[dict[str, Any]]
    retries: int
    samples: list[tuple[Any, ...]] = field(default_factory=list)


def runs(demo: Demo, plans: Sequence[Plan], world: World) -> list[Run]:
    """Those that would have come beside the real ones: before the first of them and after the last."""
    memory = Memory()
    made: list[Run] = []
    sampled: dict[str, datetime] = {}
    for work in _works(demo, plans, world, memory):
        if made and made[-1].status == ABANDONED:
            _found_dead(made[-1], work.started)
        run = _run(work)
        if run.status != ABANDONED:
            run.samples = list(_samples(work, run, sampled))
        made.append(run)
    if made and made[-1].status == ABANDONED:
        made.pop()
    return [run for run in made if not _beside(run, demo)]


def _works(demo: Demo, plans: Sequence[Plan], world: World, memory: Memory) -> Iterator[Work]:
    """One after the other, for one at a time has the lock: who comes while another works is late."""
    free: datetime | None = None
    for moment, number in _due(plans, world):
        event = world.event(moment) if "every" in plans[number].schedule else None
        started = world.started(moment)
        started = max(started, free + timedelta(seconds=4)) if free else started
        work = Work(world, demo, memory, plans[number], started, event)
        if started < world.now - timedelta(minutes=2):
            yield work
            free = work.now


def _due(plans: Sequence[Plan], world: World) -> list[tuple[datetime, int]]:
    """When runs came, and the place of their plan. What runs each hour is left out with its trigger; the rest is made up for."""
    due = []
    for number, plan in enumerate(plans):
        for moment in plan.moments:
            come = moment
            while world.unreachable(come):
                come += HOUR
            if "every" not in plan.schedule or (come == moment and not world.missed(moment)):
                due.append((come, -number))  # the longer plan goes first
    return [(moment, -number) for moment, number in sorted(due)]


def _run(work: Work) -> Run:
    """Walk the steps of the plan."""
    for number, step in enumerate(work.plan.steps, 1):
        ((operation, given),) = step.items()
        work.step = number
        if operation in STEPS and not work.dead:
            STEPS[operation](work, given)
    work.memory.last[work.plan.name] = work.started
    if work.dead:  # nobody has written its end
        return Run(work.plan, ABANDONED, None, None, work.started, work.now, work.actions, work.actions, [], 0)
    result = work.conclude()
    return Run(
        work.plan, result.status, result.message, result.totals, work.started, work.now, work.actions, work.everything,
        work.findings, work.retries,
    )  # fmt: skip


def _found_dead(run: Run, moment: datetime) -> None:
    """The next run has found out, and ends it."""
    run.finished = moment
    for action in run.actions:
        action.finished = action.finished or moment


def _samples(work: Work, run: Run, sampled: dict[str, datetime]) -> Iterator[tuple[Any, ...]]:
    tables = [work.relation(name) for name in work.demo.relations]
    world, server = work.world, work.demo.server
    dead = {name: round(number) for name, number in work.memory.dead.items()}
    if run.finished - sampled.get("tables", run.started - OF_TABLES * 2) >= OF_TABLES:
        sampled["tables"] = run.finished
        for table in tables:
            age = world.used(run.finished, table.freeze_age)
            yield table.name, table.bytes, table.index_bytes, table.rows, dead.get(table.name, 0), age
    if run.finished - sampled.get("", run.started - OF_DATABASE * 2) >= OF_DATABASE:
        sampled[""] = run.finished
        indexes, live = sum(one.index_bytes for one in tables), sum(one.rows for one in tables)
        yield "", work.database_bytes(), indexes, live, sum(dead.values()), world.used(run.finished, server.freeze_age)


def _beside(run: Run, demo: Demo) -> bool:
    """Whether it would have come between the real runs."""
    return demo.real is not None and run.finished >= demo.real[0] and run.started <= demo.real[1]
