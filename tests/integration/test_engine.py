# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run protocol against a real server: one run at a time, recorded, bounded, and honest about how it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.execute import Executor
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history import KEEP_ACTIONS, KEEP_FINDINGS
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import LOCK_KEYS
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import VERSION
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import REPOSITORY, Clock, only, perform, until
from tests.servers import Database, PrivateServer, Server

# Holds up whoever deletes row 1500 until nobody has the advisory lock 77 any more. No lock_timeout applies to it.
GATE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    WHILE OLD.id = 1500 AND NOT pg_try_advisory_xact_lock_shared(77) LOOP
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN OLD;
END$$;
CREATE TRIGGER gate BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION gate();
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def table(database: Database, name: str = "t", expired: int = 5, live: int = 5) -> None:
    database.sql(
        f"CREATE TABLE {name} (id int PRIMARY KEY, at timestamptz); INSERT INTO {name} SELECT n, now() + "
        f"(n - {expired} - 0.5) * interval '1 minute' FROM generate_series(1, {expired + live}) AS n; CREATE INDEX ON {name} (at)"
    )


def purge(database: Database, user: str = "postgres", check: bool = False, **options: Any) -> dict[str, Any]:
    return perform("purge", database.dsn_as(user), check, **{"table": "t", "column": "at", **options})


def run(database: Database, *tables: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """A plan that purges tables."""
    steps = [{"purge": {"table": name, "column": "at"}} for name in tables]
    return perform("run", database.dsn, check, plan="hourly", steps=steps, **options)


def history(database: Database, **options: Any) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = perform("history_info", database.dsn, **options)["runs"]
    return runs


@contextmanager
def held_up(database: Database) -> Iterator[Future[dict[str, Any]]]:
    """A purge of 2000 rows that has deleted some and stands before row 1500; it goes on when the block ends."""
    table(database, expired=2000)
    database.sql(GATE)
    with ThreadPoolExecutor(1) as thread, closing(database.connect()) as gate:
        gate.cursor().execute("SELECT pg_advisory_lock(77)")
        running = thread.submit(purge, database)
        until(lambda: database.value(WAITING) or running.done())
        assert not running.done(), running.result()
        yield running


def left(database: Database, name: str = "t") -> int:
    count: int = database.value(f"SELECT count(*) FROM {name}")
    return count


# Functions that rely on a search_path


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("LANGUAGE plpgsql AS 'BEGIN RETURN helper(n); END'", "public.needs(integer)"),
        ("LANGUAGE sql AS 'SELECT helper(n)'", "needs"),
    ],
)
def test_a_function_that_relies_on_the_path_is_named(database: Database, body: str, named: str) -> None:
    """From 17 on the server runs maintenance with a path of its own."""
    table(database)
    database.sql("CREATE FUNCTION helper(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
    database.sql(f"CREATE FUNCTION needs(n int) RETURNS int IMMUTABLE {body}")
    database.sql(
        "CREATE STATISTICS s ON (needs(id)), at FROM t; INSERT INTO t SELECT n, 'infinity' FROM generate_series(11, 99) AS n"
    )
    steps = [{"analyze": {"tables": ["t"]}}, {"index": {"definition": "CREATE INDEX i ON t (needs(id))"}}]
    result = perform("run", database.dsn, plan="p", steps=steps)
    assert [action["outcome"] for action in result["actions"]] == ["failed", "failed"], result
    for action in result["actions"]:
        assert f'ALTER FUNCTION {named} SET search_path = "$user", public' in action["reason"]
    database.sql("ALTER FUNCTION needs SET search_path = public")
    assert perform("run", database.dsn, plan="p", steps=steps)["totals"] == {"done": 2}


def test_before_17_a_function_sees_the_path_that_the_user_has(postgres15: Server) -> None:
    database = postgres15.create_database()
    try:
        database.sql("CREATE SCHEMA app; CREATE TABLE app.t (id int, at timestamptz); CREATE INDEX ON app.t (at)")
        database.sql("CREATE FUNCTION app.helper(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
        database.sql(
            "CREATE FUNCTION app.needs(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN helper(n); END'"
        )
        database.sql(
            "CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM needs(1); RETURN OLD; END'"
        )
        database.sql("CREATE TRIGGER fires BEFORE DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION app.fires()")
        database.sql(f"ALTER DATABASE {database.name} SET search_path = app")
        database.close_connection()
        database.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1, 99) AS n")
        database.sql(
            "CREATE STATISTICS s ON (needs(id)), at FROM t; CREATE MATERIALIZED VIEW m AS SELECT needs(id) FROM t"
        )
        steps = [
            {"index": {"definition": "CREATE INDEX i ON t (needs(id))"}},
            {"analyze": {"tables": ["t"]}},
            {"refresh": {"view": "m"}},
            {"purge": {"table": "t", "column": "at", "where": "needs(id) < 50"}},
        ]
        result = perform("run", database.dsn, plan="p", steps=steps)
        assert [(action["target"], action["outcome"], action["rows"]) for action in result["actions"]] == [
            ("app.i", "done", None),
            ("app.t", "done", None),
            ("app.m", "done", 99),
            ("app.t", "done", 49),
        ]
    finally:
        database.close()


# One at a time


def test_of_two_runs_one_acts(database: Database) -> None:
    with held_up(database) as first:
        second = purge(database)
        assert (second["status"], second["changed"], second["actions"]) == ("skipped", False, [])
        assert "failed" not in second
        pid = database.value(
            "SELECT pid FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
            "WHERE locktype = 'advisory' AND datname = current_database() AND objid = 1 AND classid = %s",
            [LOCK_KEYS[0]],
        )
        assert f"session {pid} of postgres" in second["msg"]
        standing = left(database)
        assert 505 < standing < 2005
        checked = purge(database, check=True)
        assert (only(checked)["outcome"], only(checked)["rows"]) == ("planned", standing - 5)
        assert str(pid) in checked["warnings"][0]
    assert only(first.result(200))["rows"] == 2000
    assert left(database) == 5


def test_databases_do_not_wait_for_each_other(database: Database, vtchat_database: Database) -> None:
    with held_up(database):
        result = perform("purge", vtchat_database.dsn, table="sessions", column="expires_at", timezone="UTC")
        assert 3000 <= only(result)["rows"] < 3100  # some expire an hour after they were loaded


def test_process_that_is_killed(database: Database) -> None:
    table(database, expired=2000)
    database.sql(GATE)
    code = "import sys; from tests.runs import perform; perform('purge', sys.argv[1], table='t', column='at')"
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "collections")])
    with closing(database.connect()) as gate:
        gate.cursor().execute("SELECT pg_advisory_lock(77)")
        with subprocess.Popen(
            [sys.executable, "-c", code, database.dsn], env={**os.environ, "PYTHONPATH": path}
        ) as process:
            until(lambda: database.value(WAITING) or process.poll() is not None)
            [(before,)] = database.sql("SELECT outcome FROM maintenance.action")
            assert before is None  # written before it happens
            assert history(database)[0]["status"] == history(database)[0]["actions"][0]["outcome"] == "running"
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        standing = left(database)
        assert 505 < standing < 2005
    # The server ends the statement that was under way, then notices that nobody listens.
    ours = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"
    )
    until(lambda: not database.value(ours))
    remaining = left(database)
    assert remaining <= standing
    result = purge(database)
    assert (result["status"], left(database)) == ("ok", 5)
    assert "abandoned in purge public.t" in result["warnings"][0]
    newest, dead = history(database)
    assert (newest["status"], dead["status"]) == ("ok", "abandoned")
    assert [action["outcome"] for action in dead["actions"]] == ["abandoned"]
    assert not purge(database)["warnings"]


# History


def test_every_action_is_recorded(database: Database) -> None:
    table(database)
    result = run(database, "t", "missing")
    [recorded] = history(database)
    assert (recorded["run_id"], recorded["plan"], recorded["status"]) == (result["run_id"], "hourly", "failed")
    assert (recorded["totals"], recorded["message"], recorded["role"]) == (result["totals"], result["msg"], "postgres")
    assert recorded["steps"][0]["purge"]["table"] == "t"
    keys = ("step", "operation", "target", "outcome", "reason", "rows", "numbers")
    assert [{key: action[key] for key in keys} for action in recorded["actions"]] == [
        {key: action[key] for key in keys} for action in result["actions"]
    ]
    assert recorded["actions"][0]["statements"] == result["actions"][0]["statements"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", recorded["started"])
    assert database.value("SELECT seconds > 0 AND NOT deferred FROM maintenance.state WHERE target = 'public.t'")


def test_history_info_filters(database: Database) -> None:
    assert history(database) == []
    table(database)
    table(database, "u")
    run(database, "u")
    purge(database)
    assert [one["plan"] for one in history(database)] == ["purge", "hourly"]
    assert [one["plan"] for one in history(database, limit=1)] == ["purge"]
    assert [one["plan"] for one in history(database, plan="hourly")] == ["hourly"]
    assert [one["plan"] for one in history(database, target="public.u")] == ["hourly"]
    assert history(database, plan="nothing") == []


def test_old_runs_go(database: Database) -> None:
    table(database)
    purge(database)
    database.sql(
        "INSERT INTO maintenance.run (plan, backend_start, steps, started_at, finished_at, status) "
        "SELECT d::text, now(), '[]', now() - d * interval '1 day', now(), 'ok' FROM unnest(ARRAY[91, 89]) AS d"
    )
    purge(database)
    assert sorted(one["plan"] for one in history(database)) == ["89", "purge", "purge"]


def test_old_actions_go(database: Database) -> None:
    assert KEEP_ACTIONS == 50_000
    table(database)
    purge(database)
    database.sql(
        "WITH r AS (INSERT INTO maintenance.run (plan, backend_start, steps, finished_at, status) "
        "SELECT n::text, now(), '[]', now(), 'ok' FROM generate_series(1, 3) AS n RETURNING id) "
        "INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, finished_at) "
        "SELECT id, 1, 'purge', 'x', 'unchanged', '', '{}', '{}', now() FROM r, generate_series(1, 20000) AS n ORDER BY id"
    )
    for _run in range(2):
        purge(database)
    assert 40_000 <= left(database, "maintenance.action") <= 50_000
    # The latest success of each plan stays, without its actions: whether the plan is due depends on it.
    kept = [(one["plan"], bool(one["actions"])) for one in history(database)]
    assert kept == [("purge", True), ("purge", True), ("3", True), ("2", True), ("1", False), ("purge", False)]


def test_old_findings_go(database: Database) -> None:
    table(database)
    purge(database)
    database.sql(
        "INSERT INTO maintenance.finding (run_id, step, name, subject, level, message, evidence, advice) "
        f"SELECT 1, 1, 'x', n::text, 'warning', '', '{{}}', '' FROM generate_series(1, {KEEP_FINDINGS + 50}) AS n"
    )
    purge(database)
    assert left(database, "maintenance.finding") == KEEP_FINDINGS
    assert database.value("SELECT max(subject::int) FROM maintenance.finding") == KEEP_FINDINGS + 50, (
        "the oldest have gone"
    )


def test_newer_version_is_refused_with_the_way_out(database: Database) -> None:
    table(database)
    database.sql("CREATE SCHEMA maintenance; CREATE TABLE maintenance.run (id int)")
    database.sql(f"COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version {VERSION + 1}'")
    for check in (True, False):
        result = purge(database, check=check)
        assert result["failed"]
        assert "history: false" in result["msg"]
        assert result["actions"] == []
    assert only(purge(database, history=False))["rows"] == 5


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE maintenance.run (id int)",
        "CREATE VIEW maintenance.run AS SELECT 1 AS id",
        "CREATE TABLE maintenance.state (id int)",
    ],
)
def test_schema_of_somebody_else(database: Database, statement: str) -> None:
    table(database)
    database.sql("CREATE SCHEMA maintenance")
    database.sql(statement)
    before = database.sql("SELECT oid FROM pg_class ORDER BY 1")
    result = purge(database)
    assert (only(result)["rows"], result["run_id"], len(result["warnings"])) == (5, None, 1)
    assert "maintenance" in result["warnings"][0]
    assert database.sql("SELECT oid FROM pg_class ORDER BY 1") == before


def test_without_the_right_to_create_it(database: Database) -> None:
    table(database)
    role = database.role("Operator")
    name = Identifier(role).as_string(database.connect())
    database.sql(f"ALTER TABLE t OWNER TO {name}")
    result = purge(database, user=role)
    assert (result["status"], only(result)["rows"], result["run_id"]) == ("ok", 5, None)
    [warning] = result["warnings"]
    statement = re.search(r"GRANT .*? TO \S+?(?=\.)", warning)
    assert statement, warning
    database.sql(statement[0])
    result = purge(database, user=role)
    assert (result["warnings"], history(database, role=role)[0]["role"]) == ([], role)


def test_without_the_right_to_use_it(database: Database) -> None:
    table(database)
    purge(database)
    role = database.role("Operator")
    name = Identifier(role).as_string(database.connect())
    database.sql(f"ALTER TABLE t OWNER TO {name}; GRANT CREATE ON DATABASE {database.name} TO {name}")
    result = purge(database, user=role)
    assert (result["status"], result["run_id"]) == ("ok", None)
    [warning] = result["warnings"]
    for statement in re.findall(r"GRANT .*? TO \S+?(?=[;.])", warning):
        database.sql(statement)
    result = purge(database, user=role)
    assert (result["warnings"], history(database)[0]["role"]) == ([], role)


def test_history_false(database: Database) -> None:
    table(database)
    result = purge(database, history=False)
    assert (only(result)["rows"], result["run_id"], result["warnings"]) == (5, None, [])
    assert not database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'maintenance'")


def contents(database: Database) -> list[Any]:
    """Everything in the database: catalog rows by transaction, table rows by place."""
    found: list[Any] = [
        database.sql("SELECT oid, xmin FROM pg_class ORDER BY 1"),
        database.sql("SELECT oid, xmin FROM pg_namespace ORDER BY 1"),
    ]
    for (name,) in database.sql(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace >= 16384 OR relname = 't' ORDER BY 1"
    ):
        found.append(database.sql(f"SELECT ctid, xmin, xmax FROM {name} ORDER BY 1"))
    return found


def test_check_mode_writes_nothing(database: Database) -> None:
    table(database)
    for _time in ("without a history", "with one"):
        before = contents(database)
        # The predicate runs inside the check: the transaction is read-only and nothing is locked for others.
        probe = (
            "current_setting('transaction_read_only') = 'on' AND NOT EXISTS (SELECT FROM pg_locks "
            "WHERE pid = pg_backend_pid() AND (locktype = 'advisory' OR mode NOT IN ('AccessShareLock', 'ExclusiveLock')))"
        )
        assert only(purge(database, check=True, where=probe))["rows"] == 5
        assert contents(database) == before
        purge(database, max_rows=1)
        database.sql("INSERT INTO t SELECT 0, '2000-01-01' ON CONFLICT DO NOTHING")


# Budget and order


def test_what_does_not_fit_is_put_off_once_and_then_tried_with_all_of_the_budget(database: Database) -> None:
    database.sql("CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 1000)")
    database.sql("CREATE TABLE b (id int); INSERT INTO b SELECT generate_series(1, 1000)")
    steps = [{"analyze": {"tables": ["a"]}}, {"analyze": {"tables": ["b"]}}]

    def go() -> dict[str, Any]:
        database.sql("INSERT INTO a SELECT generate_series(1, 1000); INSERT INTO b SELECT generate_series(1, 1000)")
        with closing(database.connect()) as writer:
            writer.cursor().execute("SELECT pg_stat_force_next_flush()")
        database.sql("SELECT pg_stat_force_next_flush()")
        return perform("run", database.dsn, plan="p", steps=steps, budget=600)

    assert [action["outcome"] for action in go()["actions"]] == ["done", "done"]
    database.sql("UPDATE maintenance.state SET seconds = 650 WHERE target = 'public.b'")
    result = go()
    assert result["status"] == "partial"
    assert [(action["target"], action["outcome"]) for action in result["actions"]] == [
        ("public.a", "done"),
        ("public.b", "deferred"),
    ]
    assert "650 s" in result["actions"][1]["reason"]
    known = "SELECT seconds, deferred, deferrals, now() - deferred_since < '10 minutes' FROM maintenance.state"
    assert database.sql(f"{known} WHERE target = 'public.b'") == [(650.0, True, 1, True)]
    result = go()
    assert (result["actions"][0]["target"], result["actions"][0]["outcome"]) == ("public.b", "done")
    known = "SELECT seconds < 600 AND NOT deferred AND deferrals = 0 AND deferred_since IS NULL FROM maintenance.state"
    assert database.value(f"{known} WHERE target = 'public.b'")


def test_statement_timeout_is_what_is_left_of_the_budget(database: Database) -> None:
    table(database)
    database.sql(
        "CREATE TABLE seen (milliseconds int); CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
        "INSERT INTO seen SELECT extract(epoch FROM current_setting(''statement_timeout'')::interval) * 1000; RETURN NULL; END'; "
        "CREATE TRIGGER look AFTER DELETE ON t EXECUTE FUNCTION look()"
    )
    purge(database, budget=123)
    assert 60_000 < database.value("SELECT max(milliseconds) FROM seen") <= 123_000


def test_what_was_done_is_told_to_the_history_when_the_budget_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousandth of a second would be left for it, and the run would count as abandoned."""
    table(database, expired=2500)
    clock, settle, seen = Clock(), Executor._settle, []

    def settled(self: Executor, session: Session) -> None:
        settle(self, session)
        seen.append(session.row("SELECT pg_catalog.current_setting('statement_timeout') AS limit")["limit"])

    monkeypatch.setattr(start, "Budget", clock.budget)
    monkeypatch.setattr(Executor, "_settle", settled)
    given = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "budget": 600})
    action = only(_edge.perform(given, False, lambda *_told: clock.leave(0)))
    assert (action["outcome"], seen) == ("deferred", ["5s"])
    assert 0 < action["rows"] < 2500
    assert database.sql("SELECT status FROM maintenance.run") == [("partial",)]


@pytest.mark.parametrize(("on_error", "outcomes"), [("continue", ["failed", "done"]), ("stop", ["failed", "skipped"])])
def test_on_error(database: Database, on_error: str, outcomes: list[str]) -> None:
    table(database)
    result = run(database, "missing", "t", on_error=on_error)
    assert (result["failed"], result["status"]) == (True, "failed")
    assert [action["outcome"] for action in result["actions"]] == outcomes
    assert result["changed"] == (on_error == "continue")
    assert "missing" in result["msg"]


def test_last_words_of_the_server(database: Database) -> None:
    """The driver hides them."""
    table(database)
    result = purge(database, where="pg_terminate_backend(pg_backend_pid())")
    assert result["failed"]
    assert "terminating connection due to administrator command; server closed the connection" in str(result)


def test_connection_that_is_killed(database: Database) -> None:
    table(database, expired=2500)
    table(database, "u")

    def kill(target: str, said: str, seconds: float) -> None:
        database.sql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'vtchat%'"
        )

    steps = [{"purge": {"table": name, "column": "at"}} for name in ("t", "u")]
    parameters = _edge.validated("run", {"dsn": database.dsn, "plan": "p", "steps": steps})
    result = _edge.perform(parameters, False, kill)
    assert (result["failed"], result["status"], result["changed"]) == (True, "failed", True)
    assert [(action["outcome"], action["rows"]) for action in result["actions"]] == [("failed", 1000), ("failed", None)]
    assert "connection" in result["msg"]
    assert result["warnings"] == []
    assert left(database) == 1505
    after = run(database, "t", "u")
    assert (after["status"], [action["rows"] for action in after["actions"]]) == ("ok", [1500, 5])
    assert "abandoned" in after["warnings"][0]


# Where a run may not be, and as whom


def test_standby_is_refused(private_server: PrivateServer) -> None:
    embedded = private_server.embedded
    private_server.stop()
    (embedded.data / "standby.signal").touch()
    user = embedded.place.account.uid if embedded.place.account else None
    control = [str(private_server.bin / "pg_ctl"), "-D", str(embedded.data), "-w", "-s"]
    log = embedded.place.home / "standby.log"
    subprocess.run(
        [*control, "-l", str(log), "start"], user=user, cwd=embedded.data, check=True, stdout=subprocess.DEVNULL
    )
    try:
        result = perform("purge", private_server.dsn(), table="t", column="at")
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], user=user, cwd=embedded.data, check=True)
    assert result["failed"]
    assert "standby" in result["msg"]
    assert "primary" in result["msg"]


def test_role(database: Database) -> None:
    table(database)
    owner, login = database.role("owner"), database.role("login", attributes=["NOINHERIT"])
    database.sql(
        f"ALTER TABLE t OWNER TO {owner}; GRANT {owner} TO {login}; GRANT CREATE ON DATABASE {database.name} TO {owner}"
    )
    assert purge(database, user=login)["failed"]
    result = purge(database, user=login, role=owner)
    assert only(result)["rows"] == 5
    assert history(database, role=owner)[0]["role"] == owner
    for role in ("nobody_has_this", "postgres"):
        result = purge(database, user=login, role=role)
        assert result["failed"]
        assert role in result["msg"]


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_texts_from_the_database_end_where_they_end(database: Database, conforming: str) -> None:
    """What a stranger's trigger says is written into the history, and is no SQL there, wherever it has backslashes."""
    table(database)
    said = """\\'; CREATE TABLE hacked (); UPDATE maintenance.action SET reason = ' "x" \\\\' E'\\' $$ %s \\"""
    database.sql(
        SQL(
            "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION USING MESSAGE = {}; END$f$; "
            "CREATE TRIGGER say BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION say(); "
            "ALTER DATABASE {} SET standard_conforming_strings = {}"
        ).format(Literal(said), Identifier(database.name), SQL(conforming))
    )
    result = purge(database)
    assert said in only(result)["reason"]
    assert result["warnings"] == []
    [recorded] = history(database)
    assert recorded["status"] == "failed"
    assert said in only(recorded)["reason"]
    assert database.value("SELECT to_regclass('hacked') IS NULL")


def test_what_a_trigger_sets_does_not_last(database: Database) -> None:
    table(database)
    table(database, "tä")
    database.sql(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET DateStyle = German; SET client_encoding = LATIN1; "
        "SET exit_on_error = on; RETURN OLD; END$$; "
        "CREATE TRIGGER f BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
    result = run(database, "t", "nothing", "tä")
    assert [action["outcome"] for action in result["actions"]] == ["done", "failed", "done"], result
    assert result["warnings"] == []
    assert left(database, '"tä"') == 5
    assert 'public."tä"' in [action["target"] for action in history(database)[0]["actions"]]


def test_role_that_another_is_set_to_take_on(database: Database) -> None:
    """From the role that it has become, a session does not see when it began."""
    table(database)
    owner, login = database.role("owner"), database.role("login")
    database.sql(
        f"ALTER TABLE t OWNER TO {owner}; GRANT {owner} TO {login}; GRANT CREATE ON DATABASE {database.name} TO {owner}; "
        f"ALTER ROLE {login} SET role = {owner}"
    )
    result = purge(database, user=login)
    assert (only(result)["rows"], result["warnings"]) == (5, [])
    assert history(database, role=owner)[0]["status"] == "ok"


@pytest.mark.parametrize("recorded", [True, False])
def test_the_lock_does_not_outlive_the_result(
    database: Database, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """The server notices the end of a session a moment late: the next task must not find the lock taken."""
    table(database)
    close, held = Session.close, []

    def look_and_close(session: Session) -> None:
        held.append(
            database.value(
                "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
        )
        close(session)

    monkeypatch.setattr(Session, "close", look_and_close)
    assert only(purge(database, history=recorded))["rows"] == 5
    assert held == [0]
