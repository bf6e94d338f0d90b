# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run protocol with an operation, a session and a history that are made up: order, outcomes, status. No database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan as _plan
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import run as _engine
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.closing import (
    MOST_NOTED,
    MOST_TOLD,
    Closing,
    lighten,
    shortened,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.fair import Memory
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.observer import Observer, nobody
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import Plan, Step
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.sessions import Sessions
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended, OptionError, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Decision, Outcome, Verdict
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import FAILED, UNCHANGED, Finding, Result


class FakeHistory:
    """Remembers what it was told."""

    def __init__(self, memory: dict[tuple[str, str], Memory]) -> None:
        self.memory = memory
        self.closed = Closing("", "", {})
        self.finished: list[Any] = []
        self.kept: dict[tuple[str, str], Memory] = {}
        self.may_act, self.run_id, self.note, self.limited, self.opened = True, 7, "", "", 1000.0
        self.interrupted = ""
        self.abandoned: list[dict[str, Any]] = []
        self.holder: dict[str, Any] | None = None
        self.unusable = ""
        self.recent: list[dict[str, Any]] = []
        self.tells_findings = True
        self.counters: list[dict[str, Any]] | None = None

    def enter(self, *_arguments: Any) -> None: ...

    def open(self, *_arguments: Any) -> None: ...

    def recall(self, operation: str, target: str) -> Memory:
        return self.memory.get((operation, target)) or Memory()

    def begin(self, *_arguments: Any) -> int:
        return 1

    def finish(
        self, _session: Any, _row: int, name: str, action: Action[Any], outcome: Outcome, memory: Memory
    ) -> None:
        self.finished.append((action.target, outcome.status))
        self.kept[name, action.target] = memory

    def close(self, closing: Closing) -> None:
        self.closed = closing


class Stage:
    """A run whose targets do what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, memory: dict[tuple[str, str], Memory] | None = None) -> None:
        self.behaviour: dict[str, Any] = {}
        self.read_failures: dict[str, list[Exception]] = {}
        self.seconds: dict[str, float] = {}
        self.last = ""
        self.divisible = ""
        self.found: list[Finding] = []
        self.gone_when: dict[str, str] = {}
        self.now = 0.0
        self.executed: list[str] = []
        self.history = FakeHistory(memory or {})
        self.operation = operation = SimpleNamespace(
            DIVISIBLE=False,
            READ_ONLY=False,
            COUNTED_AS="",
            names=lambda options: options,
            jobs=lambda options: 1,
            facts=self._facts,
            decide=self._decide,
            execute=self._execute,
        )
        monkeypatch.setattr(_plan, "OPERATIONS", {"fake": operation})
        monkeypatch.setattr(_engine, "History", lambda *_arguments, **_options: self.history)

    def _facts(self, _session: Any, names: list[str], _context: Any) -> list[str]:
        for name in names:
            if self.read_failures.get(name):
                raise self.read_failures[name].pop(0)
        return names

    def _decide(self, names: list[str], _options: Any, _context: Any) -> list[Decision[None] | Finding]:
        decisions: list[Decision[None] | Finding] = [*self.found]
        for name in names:
            verdict = self.behaviour.get(name)
            if self.gone_when.get(name) in self.executed:
                continue
            if isinstance(verdict, str):
                decisions.append(Verdict(f"public.{name}", "reason", verdict))
            else:
                decisions.append(
                    Action(f"public.{name}", "reason", None, last=name == self.last, divisible=name == self.divisible)
                )
        return decisions

    def _execute(self, _session: Any, action: Action[None], _context: Any) -> Outcome:
        name = action.target.rpartition(".")[2]
        self.executed.append(name)
        self.now += self.seconds.get(name, 10.0)
        does = self.behaviour.get(name, Outcome(changed=True, rows=1))
        if isinstance(does, Exception):
            raise does
        assert isinstance(does, Outcome)
        return does

    def run(
        self, *steps: list[str], check: bool = False, budget: float = 600.0, on_error: str = "continue"
    ) -> dict[str, Any]:
        plan = Plan("p", [Step("fake", {"names": names}, names) for names in steps], budget, on_error)
        session: Any = SimpleNamespace(
            alive=True,
            set=lambda **_limits: None,
            execute=lambda *_query: 0,
            end_with_client=lambda: None,
            cancel=lambda: None,
            leave_transaction=lambda: None,
            scrub=lambda text: text.replace("Pa55word", "***"),
            listen=list,
            retries=0,
            server=SimpleNamespace(has=lambda _capability: True),
        )
        result = Result("p", check)
        clock = Budget(budget, clock=lambda: self.now)
        sessions = Sessions(session, lambda: session)
        _engine.Run(sessions, plan, check, clock, Observer(lambda: sessions.first, nobody), result).go()
        return result.as_dict()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def outcomes(result: dict[str, Any]) -> list[str]:
    return [f"{action['target'].rpartition('.')[2]} {action['outcome']}" for action in result["actions"]]


def test_ok(stage: Stage) -> None:
    stage.behaviour = {"b": UNCHANGED}
    result = stage.run(["a", "b"])
    assert (result["status"], result["changed"], result["totals"], result["run_id"]) == (
        "ok",
        True,
        {"done": 1, "unchanged": 1},
        7,
    )
    assert "failed" not in result
    assert (stage.history.finished, stage.history.closed.status) == ([("public.a", "done")], "ok")


@pytest.mark.parametrize("where", ["facts", "execute"])
def test_an_error_that_nobody_thought_of_fails_its_step_and_no_other(stage: Stage, where: str) -> None:
    error = TypeError("'NoneType' object with Pa55word is not subscriptable")
    if where == "facts":
        stage.read_failures = {"a": [error]}
    else:
        stage.behaviour = {"a": error}
    result = stage.run(["a"], ["b"])
    assert (outcomes(result), result["status"]) == (["a failed", "b done"], "failed")
    reason = result["actions"][0]["reason"]
    assert reason.startswith("unexpected TypeError at test_run.py:")
    assert reason.endswith("object with *** is not subscriptable")


def test_what_was_being_dropped_is_read_again(stage: Stage) -> None:
    gone = SqlError("cache lookup failed for relation 4711", "XX000")
    stage.read_failures = {"a": [gone], "b": [gone, gone]}
    assert outcomes(stage.run(["a"], ["b"])) == ["a done", "b failed"]


def test_check_executes_nothing(stage: Stage) -> None:
    result = stage.run(["a"], ["b"], check=True)
    assert (outcomes(result), stage.executed, result["changed"]) == (["a planned", "b planned"], [], True)


@pytest.mark.parametrize(
    ("does", "outcome", "status"),
    [
        (SqlError("no Pa55word", "42501"), "failed", "failed"),
        (Contended("held"), "contended", "partial"),
        (FAILED, "failed", "failed"),
        (Outcome("deferred"), "deferred", "partial"),
        (Outcome("failed", "broken", changed=True, rows=5), "failed", "failed"),
    ],
)
def test_one_target_does_not_stop_the_others(stage: Stage, does: Any, outcome: str, status: str) -> None:
    stage.behaviour = {"a": does}
    result = stage.run(["a", "b"], ["c"])
    assert outcomes(result) == [f"a {outcome}", "b done", "c done"]
    assert (result["status"], result["changed"], result.get("failed", False)) == (status, True, status == "failed")
    assert "Pa55word" not in str(result)


def test_stop(stage: Stage) -> None:
    stage.behaviour = {"a": SqlError("no")}
    result = stage.run(["a", "b"], ["c"], on_error="stop")
    assert outcomes(result) == ["a failed", "b skipped", "c skipped"]
    assert stage.executed == ["a"]


def test_contended_does_not_stop(stage: Stage) -> None:
    stage.behaviour = {"a": Contended("held")}
    assert outcomes(stage.run(["a"], ["b"], on_error="stop")) == ["a contended", "b done"]


def test_facts_are_read_again_once(stage: Stage) -> None:
    stage.read_failures = {
        "a": [Contended("held")],
        "b": [Contended("held"), Contended("held")],
        "c": [OptionError(["no c"])],
    }
    result = stage.run(["a"], ["b"], ["c"])
    assert outcomes(result) == ["a done", "b contended", "c failed"]
    assert "no c" in result["msg"]


def test_budget_that_ends(stage: Stage) -> None:
    result = stage.run(["a", "b", "c"], budget=15)
    assert outcomes(result) == ["a done", "b done", "c deferred"]
    assert result["status"] == "partial"
    assert stage.history.closed.memories == {("fake", "public.c"): Memory(deferred=True, since=1020.0, deferrals=1)}


def test_cancelled_by_the_end_of_the_budget(stage: Stage) -> None:
    stage.behaviour = {"a": SqlError("canceling statement", "57014"), "b": SqlError("canceling statement", "57014")}
    assert outcomes(stage.run(["a"], budget=10.5)) == ["a deferred"]
    assert outcomes(stage.run(["b"], budget=100)) == ["b failed"]  # somebody cancelled it


def test_what_will_not_fit_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, {("fake", "public.a"): Memory(seconds=10.0), ("fake", "public.b"): Memory(seconds=55.0)})
    result = stage.run(["a", "b", "c"], budget=60)
    assert outcomes(result) == ["a done", "b deferred", "c done"]
    deferred = result["actions"][1]
    assert deferred["reason"] == "50 s of the budget are left, it is expected to take 55 s; it goes first next time"
    assert deferred["numbers"] == {"expected_seconds": 55.0}
    assert stage.history.closed.memories == {
        ("fake", "public.b"): Memory(seconds=55.0, deferred=True, since=1010.0, deferrals=1)
    }


def test_the_longest_waiting_goes_first_whatever_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"c": 3.0, "d": 1.0, "e": 2.0}
    stage = Stage(
        monkeypatch,
        {("fake", f"public.{name}"): Memory(deferred=True, since=since) for name, since in waiting.items()},
    )
    result = stage.run(["a", "e"], ["b", "c"], ["d"])
    assert stage.executed == ["d", "e", "c", "a", "b"]
    assert [action["step"] for action in result["actions"]] == [3, 1, 2, 1, 2]
    assert stage.history.kept["fake", "public.d"] == Memory(seconds=10.0)


def test_within_a_step_too_the_longest_waiting_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"b": 2.0, "c": 3.0, "d": 1.0}
    memory = {("fake", f"public.{name}"): Memory(deferred=True, since=since) for name, since in waiting.items()}
    stage = Stage(monkeypatch, memory)
    stage.run(["a", "b", "c", "d"])
    assert stage.executed == ["d", "b", "c", "a"]


def test_what_had_a_part_of_its_work_done_goes_behind_what_got_nothing(stage: Stage) -> None:
    stage.operation.DIVISIBLE = True
    stage.behaviour = {"a": Outcome("deferred", "goes on", changed=True)}
    assert outcomes(stage.run(["a", "b"], budget=5)) == ["a deferred", "b deferred"]
    memories = stage.history.closed.memories
    assert sorted(memories, key=lambda key: memories[key].since or 0) == [("fake", "public.b"), ("fake", "public.a")]


def test_one_action_may_be_divisible_among_others_that_are_not(stage: Stage) -> None:
    """It needs no more time than there is, and getting a part of its work done does not count against it."""
    stage.divisible = "a"
    stage.behaviour = {name: Outcome("deferred", "goes on") for name in ("a", "b")}
    stage.run(["a", "b"])
    kept = {target: memory.cut_off for (_operation, target), memory in stage.history.kept.items()}
    assert kept == {"public.a": 0, "public.b": 1}


def test_what_an_action_has_found_takes_the_place_of_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is executed before the rest of its step is told of, because it has waited."""
    for waiting in (True, False):
        stage = Stage(monkeypatch, {("fake", "public.a"): Memory(deferred=waiting)})
        stage.found = [Finding("c", subject, "critical", "it was ill") for subject in ("a", "b")]
        stage.behaviour = {"a": Outcome(findings=(Finding("c", "a", "info", "it is well now"),))}
        result = stage.run(["a"])
        assert sorted((one["subject"], one["message"]) for one in result["findings"]) == [
            ("a", "it is well now"),
            ("b", "it was ill"),
        ]
        assert stage.history.closed.findings == result["findings"]


def test_a_step_is_read_again_when_others_have_worked_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(
        monkeypatch, {("fake", "public.b"): Memory(deferred=True), ("fake", "public.u"): Memory(deferred=True)}
    )
    stage.behaviour = {"u": UNCHANGED, "x": UNCHANGED}
    read: list[list[str]] = []
    facts = stage._facts

    def reading(session: Any, names: list[str], context: Any) -> list[str]:
        read.append(names)
        return facts(session, names, context)

    stage.operation.facts = reading
    result = stage.run(["a", "x"], ["b", "u"])
    assert read == [["a", "x"], ["b", "u"], ["a", "x"], ["b", "u"]]
    assert outcomes(result) == ["b done", "a done", "x unchanged", "u unchanged"]


def test_check_mode_foretells_what_will_be_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"a": 40.0, "b": 30.0, "c": 10.0, "d": 10.0}
    memory = {("fake", f"public.{name}"): Memory(seconds=seconds) for name, seconds in expected.items()}
    memory["fake", "public.d"] = Memory(seconds=10.0, deferred=True, since=1.0)
    told: list[list[str]] = []
    for check in (True, False):
        stage = Stage(monkeypatch, dict(memory))
        stage.seconds = expected
        told.append(
            [
                one.replace("planned", "done")
                for one in outcomes(stage.run(["a", "b"], ["c", "d"], check=check, budget=65))
            ]
        )
    assert told == [["d done", "a done", "b deferred", "c done"]] * 2


def test_what_comes_last_is_last_also_where_something_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(
        monkeypatch, {("fake", "public.b"): Memory(deferred=True), ("fake", "public.z"): Memory(deferred=True)}
    )
    stage.last = "z"
    stage.run(["a", "z", "b"], ["c"])
    assert stage.executed == ["b", "a", "z", "c"]
    # The last of it goes when all others have gone, though nothing of the step is left to be decided by then.
    stage = Stage(
        monkeypatch, {("fake", "public.b"): Memory(deferred=True), ("fake", "public.c"): Memory(deferred=True)}
    )
    stage.last = "z"
    stage.gone_when = {"z": "b"}
    stage.run(["z", "b"], ["c"])
    assert stage.executed == ["b", "c", "z"]


def test_what_comes_last_waits_for_nothing_of_its_own(stage: Stage) -> None:
    stage.last = "z"
    stage.run(["a", "z"], budget=5)
    assert outcomes(stage.run(["a", "z"], budget=5)) == ["a done", "z deferred"]
    assert stage.history.closed.memories == {}


def test_deferred_is_forgotten_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, {("fake", "public.a"): Memory(deferred=True)})
    stage.behaviour = {"a": UNCHANGED}
    stage.run(["a"])
    assert stage.history.closed.memories == {("fake", "public.a"): Memory()}


def test_busy(stage: Stage) -> None:
    stage.history.may_act = False
    stage.history.holder = {"pid": 42, "user": "maint", "since": "2026-01-01 00:00:00 UTC", "client": "10.0.0.1"}
    result = stage.run(["a"])
    assert (result["status"], result["changed"], stage.executed, stage.history.closed.status) == (
        "skipped",
        False,
        [],
        "",
    )
    for told in ("42", "maint", "2026-01-01 00:00:00 UTC", "10.0.0.1"):
        assert told in result["msg"]


def test_no_history_is_a_warning(stage: Stage) -> None:
    stage.history.note = "no right"
    assert "no right" in stage.run(["a"])["warnings"][0]
    stage.history.note = "history: false"
    assert stage.run(["a"])["warnings"] == []


def test_of_thousands_that_stay_as_they_are_few_have_numbers() -> None:
    actions = [{"step": step, "outcome": outcome, "numbers": {"rows": 1}}
               for step in (1, 2) for outcome in ("unchanged", "done") for _number in range(MOST_TOLD + 5)]  # fmt: skip
    lighten(actions)
    with_numbers = [(one["step"], one["outcome"]) for one in actions if one["numbers"]]
    assert [with_numbers.count((step, "unchanged")) for step in (1, 2)] == [MOST_TOLD] * 2
    assert [with_numbers.count((step, "done")) for step in (1, 2)] == [MOST_TOLD + 5] * 2


def test_the_history_keeps_a_number_of_thousands_that_nothing_happened_to() -> None:
    noted = [
        {"step": 1, "operation": "vacuum", "target": f"t{number}", "outcome": "unchanged"} for number in range(5000)
    ]
    failed = {"step": 1, "operation": "vacuum", "target": "bad", "outcome": "failed"}
    other = {"step": 2, "operation": "reindex", "target": "i", "outcome": "unchanged"}
    kept = shortened([*noted, failed, other])
    assert len(kept) == MOST_NOTED + 3
    assert failed in kept
    assert other in kept
    assert kept[-1]["target"] == "4990 more"
