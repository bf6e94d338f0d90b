# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of each partition, and the faults of the options. No database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context, Effect, purge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Options
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import bounds, decide
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.actions import Removal
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.calendar import Step
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.coming import Coming, Plan
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.facts import Facts
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.model import Script
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.obstacles import Obstacle
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.table import (
    Clock,
    Partition,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation

TABLE = Relation(1, "public", "t", "p", "owner", True)
NOW = 50
OPTIONS: dict[str, Any] = {
    **{name: how.get("default") for name, how in purge.SPEC.options.items()},
    "table": "t",
    "column": "at",
}


def part(number: int, **more: Any) -> Partition:
    """From 10 times its number to 10 more; expired where that is not after the cut-off, which is 30."""
    lower, upper = 10 * number, 10 * number + 10
    known: dict[str, Any] = {
        "bound": f"FOR VALUES FROM ('{lower}') TO ('{upper}')",
        "range": bounds.Range(str(lower), str(upper)),
        "lower": lower,
        "upper": upper,
        "expired": upper <= 30,
    }
    return Partition(100 + number, "public", f"p{number}", "r", owner="owner", may_alter=True, **{**known, **more})


DEFAULT = Partition(200, "public", "rest", "r", "DEFAULT", "owner", True)
LEFT = Partition(300, "public", "leftover", "r", "", "owner", True, marked=True)
COMING = Coming("public", "p6", "60", "70")


def facts(*parts: Partition, **more: Any) -> Facts:
    key = bounds.Key("at", "timestamp with time zone", bounds.INSTANT)
    return Facts(TABLE, key, Clock(NOW, 30, "2026-01-01T00:00:00+00:00"), parts, **more)


def creating(*coming: Coming, faults: tuple[str, ...] = ()) -> dict[str, Any]:
    script: Any = Script(None, ("CREATE TABLE …", "ALTER TABLE …"))  # type: ignore[arg-type]
    return {"plan": Plan(Step(days=1), coming, faults), "scripts": (script,) * len(coming)}


def options(**given: Any) -> Options:
    return Options("t", purge.read({**OPTIONS, "partitions": "drop"}).conditions, **{"partitions": "drop", **given})


def told(found: Facts, chosen: Options, warnings: list[str] | None = None) -> dict[str, tuple[str, str]]:
    """Target -> what is decided and why."""
    context = Context(True, warn=(warnings if warnings is not None else []).append)
    decisions = decide(found, chosen, context)
    assert len({one.target for one in decisions}) == len(decisions)
    return {one.target: (one.verdict or "action", one.reason) for one in decisions}


OLD = (part(0), part(1), part(2), part(3), part(4), part(5))
GOES = "its upper bound is not after the cut-off"
MARK = (
    "COMMENT ON TABLE public.p0 IS '[vtchat.maintenance: to be dropped, was partition 100 of 1]' "
    "-- after what its comment says now"
)
UNMARK = "COMMENT ON TABLE public.{} IS '' -- what it says now without [vtchat.maintenance: to be dropped, was partition {} of 1]"


@pytest.mark.parametrize(
    ("found", "chosen", "expected"),
    [
        (facts(*OLD), {}, {"p0": "action", "p1": "action", "p2": "action"}),
        (facts(*OLD), {"partitions": None, "premake": 1}, {}),
        (facts(*OLD[:3]), {}, {"p0": "action", "p1": "action", "p2": "unchanged"}),
        (facts(*OLD[:3], DEFAULT), {}, {"p0": "action", "p1": "action", "p2": "unchanged"}),
        (facts(*OLD[:3], **creating(COMING)), {"premake": 1}, {"p6": "action", "p0": "action", "p1": "action", "p2": "action"}),
        (facts(*OLD[:2], obstacles={101: Obstacle("it is needed")}), {}, {"p0": "action", "p1": "failed"}),
        (facts(*OLD[:2], obstacles={100: Obstacle("it is needed")}), {}, {"p0": "failed", "p1": "action"}),
        (facts(*OLD, obstacles={100: Obstacle("it is locked", passing=True)}), {},
         {"p0": "contended", "p1": "action", "p2": "action"}),
        (facts(*OLD, DEFAULT), {"concurrently": "require"}, {"p0": "failed", "p1": "failed", "p2": "failed"}),
        (facts(*OLD, DEFAULT), {"concurrently": "auto"}, {"p0": "action", "p1": "action", "p2": "action"}),
        (facts(part(0, pending=True), *OLD[3:]), {}, {"p0": "action"}),
        (facts(part(0, pending=True), *OLD[3:], detacher=7), {}, {"p0": "contended"}),
        (facts(part(0, pending=True), *OLD[2:3]), {}, {"p0": "action", "p2": "unchanged"}),
        (facts(*OLD[3:], left=(LEFT,)), {}, {"leftover": "action"}),
        (facts(*OLD[3:], left=(LEFT,), obstacles={300: Obstacle("it is needed")}), {}, {"leftover": "failed"}),
        (facts(*OLD[3:], left=(LEFT,), obstacles={300: Obstacle("it is needed")}), {"partitions": "detach"},
         {"leftover": "action"}),
        (facts(*OLD, **creating(replace(COMING, stray=7))), {"premake": 1},
         {"p6": "action", "p0": "action", "p1": "action", "p2": "action"}),
        (facts(*OLD, DEFAULT, **creating(replace(COMING, stray=7), replace(COMING, name="p7"))), {"premake": 1},
         {"p6": "failed", "p7": "action", "p0": "action", "p1": "action", "p2": "action"}),
        (facts(), {}, {}),
    ],
)  # fmt: skip
def test_which(found: Facts, chosen: dict[str, Any], expected: dict[str, str]) -> None:
    """In their order: what is created, what others have left, what goes; and the table itself at the end."""
    decided = told(found, options(**chosen))
    assert list(decided)[-1] == "public.t"
    assert {
        target.removeprefix("public."): verdict for target, (verdict, _why) in list(decided.items())[:-1]
    } == expected
    assert [target.removeprefix("public.") for target in decided][:-1] == list(expected)


@pytest.mark.parametrize(
    ("found", "chosen", "statements", "reason"),
    [
        (part(0), {}, [MARK, "ALTER TABLE public.t DETACH PARTITION public.p0 CONCURRENTLY", "DROP TABLE public.p0"], GOES),
        (part(0), {"partitions": "detach"}, ["ALTER TABLE public.t DETACH PARTITION public.p0 CONCURRENTLY"], GOES),
        (part(0), {"concurrently": "never"}, ["ALTER TABLE public.t DETACH PARTITION public.p0", "DROP TABLE public.p0"], GOES),
        (part(0, pending=True, marked=True), {},
         [MARK, "ALTER TABLE public.t DETACH PARTITION public.p0 FINALIZE", "DROP TABLE public.p0"],
         "its detach was interrupted, and is finished"),
        (part(0, pending=True, marked=True), {"partitions": "detach"},
         [UNMARK.format("p0", 100), "ALTER TABLE public.t DETACH PARTITION public.p0 FINALIZE"],
         "its detach was interrupted, and is finished"),
        (part(0, pending=True), {}, ["ALTER TABLE public.t DETACH PARTITION public.p0 FINALIZE"],
         "its detach was interrupted, and is finished; it is kept as a table of its own: others began it"),
        (part(3, pending=True, marked=True), {},
         [UNMARK.format("p3", 103), "ALTER TABLE public.t DETACH PARTITION public.p3 FINALIZE"],
         "its detach was interrupted, and is finished; it is kept as a table of its own: its upper bound is after the cut-off"),
    ],
)  # fmt: skip
def test_how(found: Partition, chosen: dict[str, Any], statements: list[str], reason: str) -> None:
    """What is not ours, or has not expired, is never dropped."""
    action = decide(facts(found, part(4), sizes={found.oid: (8192, 5)}), options(**chosen), Context(True))[0]
    assert isinstance(action, Action)
    assert (list(action.statements), action.reason) == (statements, reason)
    assert isinstance(action.payload, Removal)
    assert action.payload.drop == ("DROP" in statements[-1])
    assert action.effects[1] == Effect(5)
    assert action.effects.get(found.oid) == (Effect(gone=True) if action.payload.drop else None)
    assert action.numbers["bytes"] == 8192
    assert action.numbers["bounds"] == found.bounds
    assert action.difference is not None
    assert action.difference.after == ("" if action.payload.drop else "a table of its own\n")


@pytest.mark.parametrize(
    ("obstacle", "verdict", "words"),
    [
        (Obstacle("it is needed"), "action", "; it cannot be dropped: it is needed"),
        (Obstacle("it is locked", passing=True), "contended", "its detach was interrupted; it is locked"),
    ],
)
def test_half_detached_and_needed(obstacle: Obstacle, verdict: str, words: str) -> None:
    """It is finished, and still to be dropped: the mark stays."""
    found = facts(part(0, pending=True, marked=True), part(4), obstacles={100: obstacle})
    decided = told(found, options())["public.p0"]
    assert decided[0] == verdict
    assert decided[1].endswith(words)
    for mode, unmark in (("drop", False), ("detach", True)):
        one = decide(found, options(partitions=mode), Context(True))[0]
        if isinstance(one, Action):
            assert isinstance(one.payload, Removal)
            assert (one.payload.drop, one.payload.unmark) == (False, unmark)


def test_default_is_named() -> None:
    decided = told(facts(*OLD, DEFAULT), options())
    assert decided["public.p0"][1] == f"{GOES}; not CONCURRENTLY, which the DEFAULT partition public.rest forbids"
    assert told(facts(*OLD, DEFAULT), options(concurrently="never"))["public.p0"][1] == GOES


def test_summary_and_warnings() -> None:
    warnings: list[str] = []
    decided = told(facts(*OLD, **creating(faults=("nothing fits",))), options(premake=1), warnings)
    assert decided["public.t"] == ("failed", "nothing fits")
    assert told(facts(*OLD), options(), warnings)["public.t"] == ("unchanged", "3 partitions stay")
    needed = facts(*OLD, obstacles={100: Obstacle("it is needed")})
    assert told(needed, options(), warnings)["public.t"] == ("unchanged", "4 partitions stay")
    assert warnings == []
    told(facts(part(0), part(2), part(3), part(6)), options(), warnings)
    assert warnings == [
        "public.t: there is a gap between the partitions public.p3 and public.p6",
        "public.t: no partition takes the rows of now, and there is no DEFAULT: set premake",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"partitions": "drop", "where": "id > 1"}, "where: cannot be set together with partitions"),
        ({"partitions": "drop", "ttl_column": "ttl"}, "ttl_column: cannot be set together"),
        ({"partitions": "drop", "archive": {"directory": "/x", "table": None}}, "partitions: detach keeps the rows"),
        ({"partitions": "drop", "archive": {"directory": None, "table": "x"}}, "archive: cannot be set together"),
        ({"premake": 2, "max_rows": 5}, "max_rows: cannot be set together"),
        ({"partitions": "detach", "with": ["child"]}, "with: cannot be set together"),
        ({"premake": 0}, "premake: must be from 1"),
        ({"premake": 1, "interval": "often"}, "interval: 'often' is no interval"),
        ({"interval": "1 month"}, "interval: is for premake"),
        ({"partitions": "drop", "interval": "1 month"}, "interval: is for premake"),
    ],
)
def test_faults_of_options(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        purge.read({**OPTIONS, **given})
