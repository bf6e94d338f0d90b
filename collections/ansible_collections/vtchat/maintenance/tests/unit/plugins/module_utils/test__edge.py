# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: all faults at once, never the password, and one form of every result."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import history_info, plan_run, start
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan_run import RUN, SPEC
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import ConnectError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import OPERATIONS
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import dsn
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Result, entry

LOCAL = "host=/nowhere dbname=d user=u password=Pa55word"
PURGE = {"table": "t", "column": "c"}


def faults(module: str, **parameters: Any) -> list[str]:
    with pytest.raises(OptionError) as caught:
        _edge.validated(module, {"dsn": LOCAL, **parameters})
    assert "Pa55" not in str(caught.value)
    return caught.value.errors


@pytest.mark.parametrize("module", ["run", "history_info", *OPERATIONS])
def test_every_module_has_the_connection_options(module: str) -> None:
    options = _edge.spec(module).options
    assert set(_edge.CONNECTION.options) <= set(options)
    assert options["dsn"]["no_log"] is True
    assert (module == "history_info") != (set(RUN.options) <= set(options))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_options_of_operations_hide_none_of_the_run(operation: str) -> None:
    """A module has those of the run beside its own; what says when a plan is due stands outside of its steps."""
    others = {*_edge.CONNECTION.options, *SPEC.options} - {"every"}
    assert not set(OPERATIONS[operation].SPEC.options) & (others | set(RUN.options))


def test_defaults_and_types() -> None:
    request = _edge.validated("purge", {"dsn": LOCAL, **PURGE, "max_rows": "5", "budget": "1.5", "require_index": "no"})
    plan, [step] = request.wanted, request.wanted.steps
    assert (step.options.max_rows, plan.budget, step.options.require_index) == (5, 1.5, False)
    assert (step.options.conditions[0].older_than, step.options.batch_seconds, plan.history) == (0, 0.25, True)
    assert (request.connection.connect_deadline, request.connection.pooler) == (30.0, "refuse")
    assert (request.plan, step.given["older_than"]) == ("purge", "0")


def test_database_url_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", LOCAL)
    assert _edge.validated("history_info", {}).connection.dsn.host == "/nowhere"
    assert _edge.validated("history_info", {"dsn": "dbname=x"}).connection.dsn.host == ""


def test_a_result_is_masked_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here as AnsibleModule does it there: a definition in the database may have the password in it."""
    request = _edge.validated("purge", {"dsn": LOCAL, **PURGE})
    made = Result("p", False, warnings=["Pa55word\n"], actions=[
        entry("index", "public.i", "done", "x", numbers={"after": "WHERE b = 'Pa55word'"}, statements=["UGE1NXdvcmQ="])
    ])  # fmt: skip
    monkeypatch.setattr(plan_run, "run", lambda *_arguments: made)
    result = _edge.perform(request, False)
    assert "Pa55" not in str(result)
    assert "UGE1NXdvcmQ" not in str(result)
    assert (result["warnings"], result["actions"][0]["target"]) == (["********\\n"], "public.i")


def test_null_is_not_given() -> None:
    steps = [{"refresh": {"view": None, "views": ["v"]}}, {"purge": {**PURGE, "where": None, "older_than": None}}]
    nested = {
        "table": "t",
        "conditions": [{"column": "a", "older_than": None, "ttl_unit": None, "where": None}],
        "with": None,
    }
    steps.append({"purge": {**nested, "archive": {"table": "x", "directory": None}}})
    wanted = _edge.validated("run", {"dsn": LOCAL, "plan": "p", "steps": steps, "budget": None}).wanted
    [refresh, purge, several] = wanted.steps
    assert refresh.options.views == ("v",)
    assert (purge.options.conditions[0].where, purge.options.conditions[0].older_than) == (None, 0)
    (condition,) = several.options.conditions
    assert (condition.where, condition.older_than, condition.ttl_unit) == (None, 0, "s")
    assert several.options.children == ()
    assert "missing required arguments: table" in faults("purge", table=None, column="c")[0]
    assert "missing required arguments" in faults("run", plan="p", steps=[{"purge": None}])[0]


def test_everything_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, int] = {}

    def counting(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            counted[name] = counted.get(name, 0) + 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    counting(dsn, "parse")
    counting(OPERATIONS["purge"], "read")
    options = {"plan": "p", "steps": [{"purge": PURGE}, {"purge": PURGE}], "connect_deadline": 0.1}  # nobody is there
    request = _edge.validated("run", {"dsn": LOCAL, **options})
    _edge.perform(request, True)
    assert counted == {"parse": 1, "read": 2}


@pytest.mark.parametrize(
    ("module", "parameters", "told"),
    [
        ("purge", {}, ["missing required arguments"]),
        ("purge", {**PURGE, "tabel": 1, "tls": "none", "max_rows": "many"}, ["tabel", "tls", "max_rows"]),
        (
            "purge",
            {**PURGE, "budget": 0, "connect_deadline": -1, "max_rows": 0},
            ["budget", "connect_deadline", "max_rows"],
        ),
        ("purge", {**PURGE, "table": "a.b.c", "older_than": "x"}, ["table: ", "older_than"]),
        ("purge", {**PURGE, "role": "x" * 64}, ["role"]),
        ("purge", {**PURGE, "dsn": "postgresql://u:Pa55%@h"}, ["dsn"]),
        ("purge", {**PURGE, "dsn": "postgresql://u:p@ep-1-pooler.neon.tech/d"}, ["ep-1.neon.tech"]),
        ("analyze", {"tables": ["a", "", "b.c.d"]}, ["'' is not", "'b.c.d'"]),
        ("analyze", {"tables": ["a"], "min_size": "10XB"}, ["min_size", ": write bytes, or with a unit, such as 10M"]),
        ("refresh", {"view": "a", "views": ["b"]}, ["mutually exclusive"]),
        ("history_info", {"limit": 0}, ["limit"]),
        ("run", {"plan": "p", "steps": []}, ["steps"]),
        ("run", {"plan": "p", "steps": [{}, {"purge": {}, "analyze": {}}]}, ["steps[1]", "steps[2]"]),
        ("run", {"plan": "p", "steps": [{"purgee": {}}]}, ["purgee"]),
        ("run", {"plan": "p", "steps": [{"purge": "t"}]}, ["mapping"]),
        ("run", {"plan": "p", "steps": [{"purge": None}]}, ["missing required arguments"]),
        ("run", {"plan": "p", "steps": [{"purge": {**PURGE, "budget": 5}}]}, ["budget"]),
        ("run", {"steps": [{"purge": {**PURGE, "max_rows": 0}}]}, ["plan", "steps[1].purge: max_rows"]),
        ("purge", {**PURGE, "max_rows": ["postgresql://u:Pa55word@h/d"]}, ["max_rows"]),
    ],
)
def test_faults(module: str, parameters: dict[str, Any], told: list[str]) -> None:
    found = faults(module, **parameters)
    for text in told:
        assert any(text in fault for fault in found), (text, found)


def test_missing_driver_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dsn,):
        monkeypatch.setattr(module, "psycopg2", None)
        monkeypatch.setattr(module, "extensions", None)
    monkeypatch.setattr(_edge, "IMPORT_ERROR", "Traceback: no psycopg2")
    result = _edge.perform(_edge.validated("purge", {"dsn": LOCAL, **PURGE}), False)
    assert result["failed"]
    assert "psycopg2" in result["msg"]
    assert "max_rows" in faults("purge", **PURGE, max_rows=0)[0]


@pytest.mark.parametrize("error", [ConnectError("no way"), OptionError(["no way"])])
@pytest.mark.parametrize("module", ["purge", "history_info"])
def test_a_run_that_did_not_begin_has_the_form_of_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception, module: str
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(start, "open_session", refuse)
    monkeypatch.setattr(history_info, "open_session", refuse)
    parameters = PURGE if module == "purge" else {}
    result = _edge.perform(_edge.validated(module, {"dsn": LOCAL, **parameters}), True)
    assert {
        "failed": True,
        "changed": False,
        "msg": "no way",
        "status": "failed",
        "actions": [],
    }.items() <= result.items()
    assert result.get("errors") == getattr(error, "errors", None)
