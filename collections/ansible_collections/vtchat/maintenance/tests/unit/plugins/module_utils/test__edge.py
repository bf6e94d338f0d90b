# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: all faults at once, never the password, and one form of every result."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import OPERATIONS, Step
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import ConnectError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import dsn

LOCAL = "host=/nowhere dbname=d user=u password=Pa55word"
PURGE = {"table": "t", "column": "c"}


def faults(module: str, **parameters: Any) -> list[str]:
    with pytest.raises(OptionError) as caught:
        _edge.validated(module, {"dsn": LOCAL, **parameters})
    assert "Pa55" not in str(caught.value)
    return caught.value.errors


@pytest.mark.parametrize("module", ["run", "history_info", *OPERATIONS])
def test_every_module_has_the_connection_options(module: str) -> None:
    spec = _edge.argument_spec(module)["argument_spec"]
    assert set(_edge.CONNECTION) <= set(spec)
    assert spec["dsn"]["no_log"] is True
    assert (module == "history_info") != (set(_edge.RUN) <= set(spec))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_options_of_operations_hide_none_of_the_run(operation: str) -> None:
    assert not set(OPERATIONS[operation].ARGUMENT_SPEC) & {*_edge.CONNECTION, *_edge.RUN, *_edge.PLAN}


def test_defaults_and_types() -> None:
    values = _edge.validated("purge", {"dsn": LOCAL, **PURGE, "max_rows": "5", "budget": "1.5", "require_index": "no"})
    assert (values["max_rows"], values["budget"], values["require_index"]) == (5, 1.5, False)
    assert (values["tls"], values["connect_deadline"], values["pooler"]) == ("require", 30.0, "refuse")
    assert (values["older_than"], values["batch_ms"], values["history"]) == ("0", 250, True)


def test_database_url_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", LOCAL)
    assert _edge.validated("history_info", {})["dsn"] == LOCAL
    assert _edge.validated("history_info", {"dsn": "dbname=x"})["dsn"] == "dbname=x"


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
    result = _edge.perform("purge", _edge.validated("purge", {"dsn": LOCAL, **PURGE}), False)
    assert result["failed"]
    assert "psycopg2" in result["msg"]
    assert "max_rows" in faults("purge", **PURGE, max_rows=0)[0]


@pytest.mark.parametrize("error", [ConnectError("no way"), OptionError(["no way"])])
@pytest.mark.parametrize("module", ["purge", "history_info"])
def test_a_run_that_did_not_begin_has_the_form_of_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception, module: str
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(_edge, "_run", refuse)
    monkeypatch.setitem(_edge._PERFORMERS, "history_info", refuse)
    monkeypatch.setitem(_edge._PERFORMERS, "purge", refuse)
    parameters = PURGE if module == "purge" else {}
    result = _edge.perform(module, _edge.validated(module, {"dsn": LOCAL, **parameters}), True)
    assert {
        "failed": True,
        "changed": False,
        "msg": "no way",
        "status": "failed",
        "actions": [],
    }.items() <= result.items()
    assert result.get("errors") == getattr(error, "errors", None)


@pytest.mark.parametrize(
    ("names", "target", "about"),
    [
        ("t", "public.t", True),
        ("t", "app.t", True),
        ("public.t", "public.t", True),
        ("app.t", "public.t", False),
        ("t", "public.tt", False),
        ("T", 'public."T"', True),
        ("T", "public.t", False),
        ('"a.t"', 'public."a.t"', True),
        ("t", 'public."a.t"', False),
        ("t", "t", True),
    ],
)
def test_step_knows_its_targets(names: str, target: str, about: bool) -> None:
    assert Step("analyze", {"tables": ["x", names]}).is_about(target) is about
