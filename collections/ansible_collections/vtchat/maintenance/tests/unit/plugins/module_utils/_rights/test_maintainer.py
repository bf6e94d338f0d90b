# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided about rights, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import Step
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Need
from ansible_collections.vtchat.maintenance.plugins.module_utils._rights import maintainer
from ansible_collections.vtchat.maintenance.plugins.module_utils._rights.model import (
    EXISTS,
    Extra,
    Facts,
    Key,
    Right,
    SetPassword,
    Statement,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._rights.provide import decide


def right(what: str = "SELECT", held: bool = False, direct: bool | None = None, **more: Any) -> Right:
    key = Key("TABLE", "public", "t", "", what)
    given = {"may": True, "giver": "o", **more}
    return Right(key, Statement(f"GRANT {what} ON t TO m"), held, held if direct is None else direct, **given)


def extra(may: bool = True) -> Extra:
    key = Key("TABLE", "public", "t", "", "UPDATE")
    return Extra(key, Statement("GRANT UPDATE …"), Statement("REVOKE UPDATE …"), may, "g")


def decided(*rights: Right, exclusive: bool = False, **facts: Any) -> list[tuple[str | None, tuple[str, ...], str]]:
    actions = decide(Facts("a", list(rights), **facts), exclusive)
    return [
        (action.verdict, tuple(statement.text() for statement in action.statements), action.reason)
        for action in actions
    ]


@pytest.mark.parametrize(
    ("rights", "exclusive", "expected"),
    [
        ([right(held=True)], False, ("unchanged", (), "has SELECT")),
        ([right()], False, (None, ("GRANT SELECT ON t TO m",), "has no SELECT")),
        ([right(held=True), right("DELETE")], False, (None, ("GRANT DELETE ON t TO m",), "has no DELETE")),
        # through another role: enough, unless that one is to go
        ([right(held=True, direct=False)], False, ("unchanged", (), "has SELECT")),
        ([right(held=True, direct=False)], True, (None, ("GRANT SELECT ON t TO m",), "has no SELECT")),
        (
            [right(EXISTS), right()],
            False,
            (None, (f"GRANT {EXISTS} ON t TO m", "GRANT SELECT ON t TO m"), "does not exist"),
        ),
        ([right(EXISTS, held=True)], False, ("unchanged", (), "exists")),
    ],
)
def test_one_target(rights: list[Right], exclusive: bool, expected: Any) -> None:
    assert decided(*rights, exclusive=exclusive) == [expected]


def test_who_may_is_named() -> None:
    [(verdict, statements, reason)] = decided(right(may=False))
    assert (verdict, statements) == ("failed", ("GRANT SELECT ON t TO m",))
    assert reason == "a may not do this: GRANT SELECT ON t TO m; o may"


def test_fault_of_a_right_that_is_held_does_not_matter() -> None:
    assert decided(right(held=True, fault="never", may=False))[0][0] == "unchanged"
    assert decided(right(fault="never"))[0][::2] == ("failed", "never")


def test_excess_is_no_action_unless_exclusive() -> None:
    assert decided(right(held=True), extras=[extra()])[0][0] == "unchanged"
    assert decided(right(held=True), extras=[extra()], exclusive=True) == [
        (None, ("REVOKE UPDATE …",), "1 right beyond the needs")
    ]
    [(verdict, _statements, reason)] = decided(right(held=True), extras=[extra(may=False)], exclusive=True)
    assert (verdict, reason) == ("failed", "a may not do this: REVOKE UPDATE …; g gave it")


def test_all_or_nothing() -> None:
    other = Right(Key("ROLE", "", "m", "", "LOGIN"), Statement("ALTER ROLE m LOGIN"), False, False, True)
    verdicts = [verdict for verdict, _statements, _reason in decided(other, right(may=False))]
    assert verdicts == ["skipped", "failed"]
    verdicts = [verdict for verdict, _statements, _reason in decided(other, faults=[("x", "there is no x")])]
    assert verdicts == ["failed", "skipped"]


def test_needs_of_steps() -> None:
    index = {"name": None, "definition": None, "state": "present"}
    steps = [
        Step.read("refresh", {"view": None, "views": ["v", "w"], "concurrently": "auto", "max_age": 0, "force": False}),
        Step.read("index", {**index, "definition": 'CREATE INDEX i ON "S"."T" (x)'}),
        Step.read("index", {**index, "name": "i", "state": "absent"}),
    ]
    wants, faults = maintainer.wants(steps, False)
    assert faults == []
    assert wants == [
        Need("v", "maintain", "m"),
        Need("w", "maintain", "m"),
        Need('"S"."T"', "own", "rp", creates=True),
        Need("i", "own", "iI"),
    ]
    names = ("run", "action", "state", "finding", "sample", "counter")
    assert [want.name for want in maintainer.wants([], True)[0]] == [f"maintenance.{name}" for name in names]


def test_what_patterns_choose_is_needed_too() -> None:
    wants, faults = maintainer.wants([Step.read("analyze", {"include": ["*"], "tables": ["t"]})], False)
    assert faults == []
    assert [(want.name, want.patterns is not None) for want in wants] == [("t", False), ("", True)]


def test_a_password_is_in_nothing_that_is_shown() -> None:
    statement = SetPassword("ALTER ROLE m PASSWORD '********'", "m", "s3cret")
    assert "s3cret" not in repr(statement) + statement.text()


@pytest.mark.parametrize(
    ("key", "target"),
    [
        (Key("TABLE", "public", "t", "", "SELECT"), "public.t"),
        (Key("COLUMN", "S", "t", "c", "UPDATE"), '"S".t'),
        (Key("SCHEMA", "", "Public", "", "USAGE"), 'schema "Public"'),
        (Key("ROLE", "", "m", "", "MEMBER"), "role m"),
    ],
)
def test_what_a_right_is_on(key: Key, target: str) -> None:
    assert key.target == target
