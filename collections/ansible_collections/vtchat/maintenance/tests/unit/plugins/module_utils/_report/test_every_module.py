# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of all kinds of modules, made as the modules make them: what is shown, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._report import github, model, text
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import (
    CRITICAL,
    DONE,
    FAILED,
    INFO,
    OUTCOMES,
    PLANNED,
    UNCHANGED,
    WARNING,
    Finding,
    Result,
    entry,
    failure,
)

DATABASE = {"host": "db.example.com", "database": "app", "version": "18.6", "provider": "postgresql"}
GITHUB = {"provider": "github", "host": "api.github.com", "target": "example/app, environment production"}
ENDPOINT = {"provider": "endpoint", "host": "app.example.com", "target": "/api/cron"}
HOSTILE = "x\n::error::y\x1b[31m"


def made(
    plan: str, *actions: dict[str, Any], server: dict[str, str] = DATABASE, check: bool = False, **more: Any
) -> dict[str, Any]:
    """What a module answers, and the callback keeps."""
    return {**Result(plan, check, server=server, seconds=0.5, actions=list(actions), **more).as_dict(), "module": plan}


OBJECTS = made(
    "sql_object",
    entry(
        "create", "public.f()", DONE, "does not exist", kind="function", changed=True, statements=["CREATE FUNCTION f"]
    ),
    entry("keep", "public.v", UNCHANGED, "is as it is to be", kind="materialized view"),
    entry("keep", "public.g()", UNCHANGED, "is as it is to be", kind="function"),
)
SECRETS = made(
    "github_secrets",
    entry("create", "TOKEN", DONE, "it is not there yet", kind="secret", changed=True, basis="fingerprint"),
    entry("keep", "URL", UNCHANGED, "by its record", kind="secret", basis="record"),
    entry("update", "MODE", FAILED, "refused", kind="variable", basis="value"),
    server=GITHUB,
    turns=7,
)
CALLED = made(
    "hourly",
    entry("health", "endpoint /api/health", UNCHANGED, "healthy"),
    entry("endpoint", "endpoint /api/cron", DONE, "200", changed=True),
    server=ENDPOINT,
)
RUN = made(
    "hourly",
    entry("purge", "public.t", DONE, "old", rows=1234, seconds=0.2, changed=True, counted_as="purged"),
    entry("refresh", "public.v", DONE, "new", rows=0),
)
CHECKED = made(
    "health",
    findings=[
        Finding("wraparound", "database app", WARNING, "age 300 000 000", advice="VACUUM FREEZE").as_dict(),
        Finding("bloat", "public.t", INFO, "10 %").as_dict(),
        Finding("standby", "replica", CRITICAL, "is gone").as_dict(),
    ],
)


def lines(result: dict[str, Any], verbose: bool = False) -> list[str]:
    return [line.text for line in text.run_lines("h", result, 120, verbose)]


def test_objects_by_name_and_those_that_stay_as_a_number() -> None:
    assert lines(OBJECTS) == [
        "sql_object on h: ok in 500 ms (app, PostgreSQL 18.6)",
        "  done       create function  public.f()  does not exist",
        "  unchanged  keep             2 objects",
    ]
    verbose = lines(OBJECTS, verbose=True)
    assert [line for line in verbose if "keep materialized view  public.v" in line]
    assert any("SQL: CREATE FUNCTION f" in line for line in verbose)


def test_secrets_by_name_with_their_basis() -> None:
    assert lines(SECRETS) == [
        "github_secrets on h: failed in 500 ms (github: example/app, environment production)",
        "  done       create secret    TOKEN  it is not there yet (basis: fingerprint)",
        "  unchanged  keep secret      URL    by its record (basis: record)",
        "  FAILED     update variable  MODE   refused",
    ]
    assert "with 7 requests" in lines(SECRETS, verbose=True)[0]


def test_an_endpoint_by_its_address() -> None:
    assert lines(CALLED)[0] == "hourly on h: ok in 500 ms (app.example.com/api/cron)"


def test_findings_stand_below_the_actions_and_information_only_when_verbose() -> None:
    assert lines(CHECKED) == [
        "health on h: ok in 500 ms (app, PostgreSQL 18.6)",
        "  CRITICAL   standby     replica       is gone",
        "  WARNING    wraparound  database app  age 300 000 000; VACUUM FREEZE",
    ]
    assert any("bloat" in line for line in lines(CHECKED, verbose=True))
    assert [level for level, _command in github.commands("h", CHECKED)] == ["error", "warning"]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([RUN], "1 database: 2 done, 0 unchanged, 0 failed; 1\u202f234 rows purged in 200 ms"),
        ([OBJECTS], "1 database, 3 objects: 1 done, 2 unchanged, 0 failed"),
        (
            [OBJECTS, RUN],
            "1 database: 2 done, 0 unchanged, 0 failed; 3 objects: 1 done, 2 unchanged; 1\u202f234 rows purged in 200 ms",
        ),
        ([SECRETS], "2 secrets, 1 variable: 1 done, 1 unchanged, 1 failed"),
        ([CALLED], "1 application: 1 done, 1 unchanged, 0 failed"),
        ([CHECKED], "1 database: 0 done, 0 unchanged, 0 failed; 1 critical finding; 1 warning"),
        (
            [{**failure("github_secrets", "no token"), "module": "github_secrets"}],
            "1 service: 0 done, 0 unchanged, 0 failed; 1 run broke off",
        ),
        (
            [{**failure("hourly", "no host"), "module": "plan"}],
            "1 database: 0 done, 0 unchanged, 0 failed; 1 run broke off",
        ),
        (
            [made("fly_secrets", entry("deploy", "abc", PLANNED, "old", kind="machine"), server=GITHUB, check=True)],
            "1 machine in check mode: 1 planned, 0 unchanged, 0 failed; nothing was changed",
        ),
        (
            [RUN, SECRETS, CALLED],
            "1 database: 2 done, 0 unchanged, 0 failed; 2 secrets, 1 variable: 1 done, 1 unchanged, 1 failed; "
            "1 application: 1 done, 1 unchanged, 0 failed; 1\u202f234 rows purged in 200 ms",
        ),
    ],
)
def test_totals_count_what_each_is_about(results: list[dict[str, Any]], said: str) -> None:
    assert model.summed([("h", result) for result in results]).text == said


@pytest.mark.parametrize("field", ["kind", "basis", "target", "operation", "reason"])
def test_nothing_in_an_entry_breaks_the_lines(field: str) -> None:
    spoilt = made(
        "p",
        {**entry("create", "t", DONE, "r", kind="secret", basis="record"), field: HOSTILE},
        server={**GITHUB, "target": HOSTILE},
    )
    texts = [line.text for line in [*text.run_lines("h", spoilt, 60), *text.totals_lines([("h", spoilt)], 60)]]
    markdown = github.markdown([("h", spoilt)])
    commands = [command for _level, command in github.commands("h", spoilt)]
    assert not [one for one in texts if one.strip().startswith("::") or "\n" in one]
    assert not [one for one in [*texts, markdown, *commands] if "\x1b" in one or "\n::error" in one]


def test_markdown_and_annotations_show_all_of_them() -> None:
    shown = github.markdown([("h", result) for result in (OBJECTS, SECRETS, CALLED, RUN, CHECKED)])
    for word in (
        "create function",
        "TOKEN",
        "basis: fingerprint",
        "app.example.com/api/cron",
        "1\u202f234 rows",
        "**critical**",
    ):
        assert word in shown, word
    assert [command for _level, command in github.commands("h", SECRETS)] == [
        "::error title=update variable failed%3A MODE on h::refused"
    ]


def test_outcomes_are_those_of_results() -> None:
    assert set(model.LOUD) <= {*OUTCOMES, WARNING, CRITICAL}
