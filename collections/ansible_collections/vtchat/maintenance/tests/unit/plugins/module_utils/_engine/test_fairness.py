# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A year of runs whose budget is too small: nobody starves. What runs is the engine itself; only time and targets are made up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan as _plan
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import run as _run
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.closing import Closing
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.fair import LONGEST_PAUSE, Memory
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.observer import Observer, nobody
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import Plan, Step
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Decision, Outcome
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.sqlstates import QUERY_CANCELED
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import DEFERRED, Result

YEAR = 52
WEEK = 7 * 86400.0
MIB = 1 << 20
# What is done again takes up to so much more or less than the last time.
NOISE = 0.1


def most_weeks(needed: float, budget: float, trials: int) -> int:
    """In how many weekly runs every target has its turn at least once, as docs/decisions/0014 says.

    needed: seconds of all targets that fit into a run, once each; trials: runs that were spent on what does not fit.
    """
    return 2 * math.ceil(needed / budget) + 1 + trials


def most_trials(runs: int) -> int:
    """How often one target that fits into no run is tried in so many runs: at once, at once again, then ever more rarely."""
    trials, pause, run = 0, 1, 0
    while run < runs:
        trials += 1
        run += 1 if trials == 1 else pause + 1
        pause = min(LONGEST_PAUSE, 2 * pause) if trials > 1 else 1
    return trials


@dataclass
class Target:
    """Something that is due every week. divisible: seconds of work that come with each week, done in parts."""

    name: str
    step: int
    size: float
    rate: float
    growth: float = 1.0
    sized: bool = True
    divisible: bool = False
    due: int | None = None
    longest: int = 0
    starts: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    backlog: float = 0.0

    @property
    def seconds(self) -> float:
        return self.size * self.rate


class Lanes:
    """Sessions whose threads are lanes of made-up time, one after the other."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.first: Any = SimpleNamespace(
            alive=True, set=lambda **_limits: None, execute=lambda *_query: 0, end_with_client=lambda: None,
            leave_transaction=lambda: None, scrub=lambda text: text, listen=list,
            server=SimpleNamespace(has=lambda _capability: False),
        )  # fmt: skip

    round_trips, retries, note = 0, 0, ""

    def cancel(self) -> None: ...

    def each(self, items: list[Any], jobs: int, work: Callable[[Any, Any], None]) -> list[Any]:
        lanes = [self.year.now] * jobs
        for item in items:
            lane = lanes.index(min(lanes))
            self.year.now = lanes[lane]
            work(self.first, item)
            lanes[lane] = self.year.now
        self.year.now = max(lanes)
        return []


class Remembered:
    """The history, kept between the runs."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.memory = dict(year.memory)
        self.may_act, self.run_id, self.note, self.limited, self.opened = True, 7, "", "", year.week * WEEK
        self.interrupted = ""
        self.tells_findings = True
        self.abandoned: list[dict[str, Any]] = []
        self.holder = None
        self.recent: list[dict[str, Any]] = []
        self.counters = None

    def enter(self, *_arguments: Any) -> None: ...

    def open(self, *_arguments: Any) -> None: ...

    def recall(self, operation: str, target: str) -> Memory:
        return self.memory.get((operation, target)) or Memory()

    def begin(self, *_arguments: Any) -> int:
        return 1

    def finish(
        self, _session: Any, _row: int, name: str, action: Action[Any], _outcome: Outcome, known: Memory
    ) -> None:
        self.year.memory[name, action.target] = known

    def close(self, closing: Closing) -> None:
        self.year.memory.update(closing.memories)


class Year:
    """Weekly runs of one plan."""

    def __init__(self, targets: list[Target], budget: float, jobs: int = 1, seed: int = 0) -> None:
        self.targets, self.budget = {target.name: target for target in targets}, budget
        self.jobs = jobs
        self.memory: dict[tuple[str, str], Memory] = {}
        self.now, self.week, self.weeks = 0.0, 0, 0
        self.random = random.Random(seed)  # noqa: S311 - the same cases each time
        self.reasons: dict[str, str] = {}
        self.steps = sorted({target.step for target in targets})

    def _operation(self, step: int) -> Any:
        mine = [target for target in self.targets.values() if target.step == step]
        return SimpleNamespace(
            DIVISIBLE=any(target.divisible for target in mine), READ_ONLY=False, COUNTED_AS="", names=lambda _options: ["x"],
            jobs=lambda _options: self.jobs, facts=lambda *_arguments: [target for target in mine if target.due is not None],
            decide=self._decide, execute=self._execute,
        )  # fmt: skip

    def _decide(self, due: list[Target], _options: Any, _context: Any) -> list[Decision[None]]:
        return [Action(one.name, "due", None, size=int(one.size) if one.sized else None) for one in due]

    def _execute(self, _session: Any, action: Action[None], context: Any) -> Outcome:
        target = self.targets[action.target]
        target.starts.append(self.week)
        left = context.seconds_left()
        if target.divisible:
            worked = min(left, target.backlog)
            target.backlog -= worked
            self.now += worked
            self._served(target)
            return Outcome(DEFERRED if target.backlog > 0 else "done", "goes on", changed=True)
        needs = target.seconds * (1 + NOISE * self.random.uniform(-1, 1))
        self.now += min(needs, left)
        if needs > left:
            target.cut.append(self.week)
            raise SqlError("canceling statement due to statement timeout", QUERY_CANCELED)
        self._served(target)
        return Outcome(changed=True)

    def _served(self, target: Target) -> None:
        assert target.due is not None
        target.longest = max(target.longest, self.week - target.due + 1)
        target.due = None if not target.backlog else self.week + 1

    def run(self, monkeypatch: pytest.MonkeyPatch, weeks: int = YEAR) -> None:
        operations = {f"step{step}": self._operation(step) for step in self.steps}
        monkeypatch.setattr(_plan, "OPERATIONS", operations)
        plan = Plan("weekly", [Step(name, {}, None) for name in operations], self.budget)
        for week in range(self.weeks, self.weeks + weeks):
            self.week = week
            for target in self.targets.values():
                target.due = self.week if target.due is None else target.due
                target.size *= target.growth
                target.backlog += target.seconds if target.divisible else 0.0
            self._run(monkeypatch, plan)
        self.weeks += weeks

    def _run(self, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
        self.now = 0.0
        history = Remembered(self)
        monkeypatch.setattr(_run, "History", lambda *_arguments, **_options: history)
        lanes: Any = Lanes(self)
        result = Result("weekly", False)
        budget = Budget(self.budget, clock=lambda: self.now)
        _run.Run(lanes, plan, False, budget, Observer(lambda: lanes.first, nobody), result)._go()
        self.reasons |= {
            action["target"]: action["reason"] for action in result.actions if action["outcome"] == DEFERRED
        }
        assert not result.failures

    def waited(self, target: Target) -> int:
        """The most weekly runs from being due to having been served; what is due at the end counts as well."""
        return max(target.longest, self.weeks - target.due if target.due is not None else 0)


def mixes() -> st.SearchStrategy[list[Target]]:
    """Targets of one to three steps, of sizes of all orders of magnitude."""
    size = st.floats(0.0, 12.0).map(lambda exponent: MIB * 2.0**exponent)
    rate = st.sampled_from([0.5, 1.0, 4.0]).map(lambda seconds: seconds / MIB)
    target = st.builds(
        Target, name=st.just(""), step=st.integers(1, 3), size=size, rate=rate,
        growth=st.sampled_from([1.0, 1.0, 1.01, 1.02]), sized=st.booleans(),
    )  # fmt: skip
    return st.lists(target, min_size=2, max_size=25)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(mixes(), st.sampled_from([0.3, 0.5, 0.5, 0.5, 0.9]), st.sampled_from([1, 1, 3]), st.integers(0, 99))
@example([Target("", 1, MIB * 1.0, 1 / MIB) for _number in range(20)] + [Target("", 2, MIB * 8.0, 1 / MIB)], 0.5, 1, 0)
@example([Target("", 1 + number % 3, MIB * (1.0 + number), 1 / MIB, sized=False) for number in range(20)], 0.5, 3, 0)
def test_every_target_that_fits_has_its_turn(targets: list[Target], share: float, jobs: int, seed: int) -> None:
    targets = [replace(target, name=f"t{number}", starts=[], cut=[]) for number, target in enumerate(targets)]
    ending = [target.seconds * target.growth**YEAR * (1 + NOISE) for target in targets]
    budget = share * sum(ending)
    year = Year(targets, budget, jobs, seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        year.run(monkeypatch)
    # What an allowance for the unknown (a tenth more, for growth and noise) leaves inside of a run always fits.
    fit = [(target, seconds) for target, seconds in zip(targets, ending, strict=True) if seconds * 1.2 <= budget]
    giants = [target for target in targets if target not in [one for one, _seconds in fit]]
    within = most_weeks(sum(seconds for _target, seconds in fit), budget, 0)
    within += sum(most_trials(within) for _giant in giants)
    assert [
        (target.name, year.waited(target), within) for target, _seconds in fit if year.waited(target) > within
    ] == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_can_stop_anywhere_does_not_keep_others_out(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """A purge to which more comes each week than a run can do is the first step of the plan, and would take all of each run."""
    purge = Target("purge", 1, 150 * MIB, 1 / MIB, divisible=True)
    others = [Target(f"t{number}", 2, 30 * MIB, 1 / MIB) for number in range(4)]
    year = Year([purge, *others], 100, jobs)
    year.run(monkeypatch)
    assert purge.starts
    assert max(year.waited(target) for target in others) <= most_weeks(4 * 30 * (1 + NOISE) + 100, 100, 0)
    assert len(purge.starts) >= YEAR / 3


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("sized", [True, False])
def test_what_fits_into_no_run_is_tried_ever_more_rarely_and_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, jobs: int, sized: bool
) -> None:
    giant = Target("giant", 1, 500 * MIB, 1 / MIB, sized=sized)
    others = [Target(f"t{number}", 1 + (number > 0), 20 * MIB, 1 / MIB, sized=sized) for number in range(8)]
    year = Year([giant, *others], 100, jobs)
    year.run(monkeypatch)
    assert 2 <= len(giant.starts) <= most_trials(YEAR)
    assert year.memory["step1", "giant"].cut_off == len(giant.starts)
    within = most_weeks(8 * 20 * (1 + NOISE), 100, most_trials(6))
    assert max(year.waited(target) for target in others) <= within
    assert "more than the whole budget of 100 s: give it one of " in year.reasons["giant"]
    if sized:  # the others tell how long it takes, and with the budget that it asks for it is done at once
        year.budget = float(year.reasons["giant"].partition("give it one of ")[2].partition(" s")[0])
        year.run(monkeypatch, 1)
        assert giant.longest == YEAR + 1


def test_a_slow_day_does_not_keep_a_target_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Target("slow", 1, 50 * MIB, 1 / MIB)
    year = Year([slow, Target("other", 1, 40 * MIB, 1 / MIB)], 100)
    year.memory["step1", "slow"] = Memory(seconds=150.0, size=50 * MIB)
    year.run(monkeypatch, 4)
    assert slow.longest == 2
    assert year.memory["step1", "slow"].seconds == pytest.approx(50, rel=NOISE)


def test_where_there_is_time_for_all_everything_is_done_each_week_in_the_order_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = [Target(f"t{number}", 1 + number // 3, 10 * MIB, 1 / MIB) for number in range(6)]
    year = Year(targets, 70)
    year.run(monkeypatch)
    assert [(len(target.starts), target.longest) for target in targets] == [(YEAR, 1)] * 6
    assert year.reasons == {}
