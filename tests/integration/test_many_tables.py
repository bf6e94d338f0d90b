# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many tables: chosen by pattern, several at once over sessions of one run, under one budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import connect
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import perform, until
from tests.servers import Database

TABLES = 6


@pytest.fixture
def tables(database: Database) -> Database:
    database.sql('CREATE SCHEMA "Odd.schema"; CREATE SCHEMA app_1; CREATE SCHEMA app_2')
    for number in range(TABLES):
        database.sql(f"CREATE TABLE app_1.t{number} AS SELECT n FROM generate_series(1, {number + 1} * 100) AS n")
    database.sql(
        'CREATE TABLE "Odd.schema"."a*b" (id int); CREATE TABLE app_2.log_1 (id int); CREATE TABLE app_2.logs (id int)'
    )
    database.sql("CREATE TABLE app_2.parts (id int) PARTITION BY RANGE (id)")
    database.sql("CREATE TABLE app_2.part PARTITION OF app_2.parts FOR VALUES FROM (0) TO (9)")
    database.sql("CREATE MATERIALIZED VIEW app_2.view AS SELECT 1 AS one; CREATE VIEW app_2.plain AS SELECT 1 AS one")
    database.sql("SELECT pg_stat_force_next_flush()")  # what it has counted is there for others after this statement
    database.sql("SELECT 1")
    return database


def analyze(database: Database, check: bool = False, **options: Any) -> dict[str, Any]:
    return perform("analyze", database.dsn, check=check, history=False, **options)


@pytest.mark.parametrize(
    ("include", "exclude", "targets"),
    [
        (["app_2.*"], None, {"app_2.log_1", "app_2.logs", "app_2.parts", "app_2.view"}),
        (["app_2.*"], ["*.log?", "app_1.*", "app_2.v*"], {"app_2.log_1", "app_2.parts"}),
        (["app_?.*"], ["*.t*", "app_2.*"], set()),
        (["*.t[13]", "*.t[!0-4]"], None, {"app_1.t1", "app_1.t3", "app_1.t5"}),
        (["Odd.schema.*"], None, {'"Odd.schema"."a*b"'}),
        (["odd.schema.*"], None, set()),
        (["*"], ["app_*.*"], {'"Odd.schema"."a*b"'}),
        (["*.a[*]b"], None, {'"Odd.schema"."a*b"'}),
        (["app_1.t1", "*\\*", "*+*", "(*)", "[", "*]"], None, {"app_1.t1"}),
    ],
)
def test_patterns(tables: Database, include: list[str], exclude: list[str] | None, targets: set[str]) -> None:
    result = analyze(tables, check=True, include=include, exclude=exclude)
    assert {action["target"] for action in result["actions"]} == targets
    assert result["status"] == "ok"
    assert bool(result["warnings"]) == (len(include) > 2 or not targets), result["warnings"]


def test_names_and_patterns_and_each_table_once(tables: Database) -> None:
    result = analyze(tables, check=True, tables=["app_1.t0", "app_1.nothing"], include=["app_1.*", "none.*"])
    outcomes = {action["target"]: action["outcome"] for action in result["actions"]}
    assert (len(result["actions"]), outcomes["app_1.nothing"], outcomes["app_1.t0"]) == (
        TABLES + 1,
        "failed",
        "planned",
    )
    assert result["warnings"] == ["analyze: no table matches none.*, or all that do are excluded"]


def test_several_at_once_the_busiest_first(tables: Database) -> None:
    planned = analyze(tables, check=True, include=["app_1.*"], jobs=3)["actions"]
    assert [action["target"] for action in planned] == [f"app_1.t{number}" for number in reversed(range(TABLES))]
    result = analyze(tables, include=["app_1.*"], jobs=3)
    assert (result["status"], result["totals"], result["warnings"]) == ("ok", {"done": TABLES}, [])
    assert [action["target"] for action in result["actions"]] == [action["target"] for action in planned]
    again = analyze(tables, include=["app_1.*"], jobs=3)
    assert again["totals"] == {"unchanged": TABLES}


GATED = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'vtchat%' AND wait_event = 'PgSleep'
"""


def gated(database: Database) -> Callable[[], list[int]]:
    """ANALYZE of these tables takes for ever as long as there is a row in a table; which of our sessions are at it."""
    database.sql("CREATE TABLE shut AS SELECT 1 AS one; CREATE FUNCTION gate(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
                 "'BEGIN IF EXISTS (SELECT FROM public.shut) THEN PERFORM pg_sleep(300); END IF; RETURN $1; END'")  # fmt: skip
    for number in range(TABLES):
        database.sql(f"CREATE STATISTICS app_1.s{number} ON (public.gate(n)), n FROM app_1.t{number}")
    return lambda: [pid for (pid,) in database.sql(GATED)]


def test_they_run_at_once_and_end_with_the_budget(tables: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends them: each has as a limit what is left of the budget, which is not over before all are at it."""
    now, limits = [0.0], []
    execute = Session.execute

    def seen(self: Session, query: Any, *how: Any, **more: Any) -> int:
        if self.text(query).startswith("ANALYZE"):
            limits.append(self.row("SELECT setting::int AS ms FROM pg_settings WHERE name = 'statement_timeout'")["ms"])
        return execute(self, query, *how, **more)

    monkeypatch.setattr(Session, "execute", seen)
    monkeypatch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
    waiting = gated(tables)
    results: list[dict[str, Any]] = []
    run = threading.Thread(target=lambda: results.append(analyze(tables, include=["app_1.*"], jobs=3, budget=240)))
    run.start()
    held = until(lambda: len(found := waiting()) == 3 and found)
    now[0] = 240.0
    tables.sql("SELECT pg_cancel_backend(pid) FROM unnest(%s) AS pid", [held])
    run.join()
    assert limits == [240_000] * 3
    (result,) = results
    assert (result["status"], result["totals"]) == ("partial", {"deferred": TABLES})
    assert waiting() == []
    tables.sql("DELETE FROM shut")
    assert analyze(tables, include=["app_1.*"], jobs=64)["totals"] == {"done": TABLES}


def test_fewer_sessions_than_wanted_do_the_work(tables: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried again; but the server may take its time to answer."""
    open_ = connect._open
    monkeypatch.setattr(connect, "_open", lambda dsn, timeout: open_(dsn, 60))
    role = tables.role("few", attributes=["CONNECTION LIMIT 2"])
    tables.sql(f"GRANT USAGE ON SCHEMA app_1 TO {role}")
    for number in range(TABLES):
        tables.sql(f"ALTER TABLE app_1.t{number} OWNER TO {role}")
    result = perform("analyze", tables.dsn_as(role), include=["app_1.*"], jobs=4, history=False, connect_deadline=0)
    assert (result["status"], result["totals"]) == ("ok", {"done": TABLES})
    assert "only 2 of 4 sessions (jobs) could be opened" in result["warnings"][0]


def test_one_that_fails_does_not_stop_the_others(tables: Database) -> None:
    tables.sql("CREATE FUNCTION fails(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
               "'BEGIN RAISE WARNING ''look at %'', $1 / 100; IF $1 > 0 THEN RAISE ''no''; END IF; RETURN 1; END'")  # fmt: skip
    tables.sql("CREATE STATISTICS app_1.s ON (public.fails(n)), n FROM app_1.t3")
    result = perform("run", tables.dsn, plan="p", steps=[{"analyze": {"include": ["app_1.*"], "jobs": 2}}])
    assert result["totals"] == {"done": TABLES - 1, "failed": 1}
    assert "analyze app_1.t3: no" in result["msg"]
    assert result["warnings"] == ["analyze app_1.t3: WARNING:  look at 0"], "what the server warns of is heard"
    logged = tables.sql("SELECT target, outcome FROM maintenance.action WHERE outcome = 'failed'")
    assert logged == [("app_1.t3", "failed")]
    done = "SELECT count(*) FROM maintenance.action WHERE outcome = 'done' AND finished_at IS NOT NULL"
    assert tables.value(done) == TABLES - 1
