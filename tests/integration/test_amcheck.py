# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""amcheck: what is due, in which order, what is remembered, and what is said where something is in the way."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context, amcheck
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.amcheck import examine
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from tests.health import levels, look, of
from tests.runs import only, perform, until
from tests.servers import Database, Server

TABLES = """
CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools; CREATE SCHEMA app; CREATE SCHEMA "it's";
CREATE TABLE app.t (id int PRIMARY KEY, note text, tags int[]);
INSERT INTO app.t SELECT n, repeat(md5(n::text), 100), ARRAY[n % 7] FROM generate_series(1, 300) AS n;
CREATE INDEX t_tags ON app.t USING gin (tags); CREATE INDEX t_note ON app.t USING hash (note);
CREATE TABLE app.split (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE app.part PARTITION OF app.split FOR VALUES FROM (0) TO (100);
CREATE MATERIALIZED VIEW app.view AS SELECT id FROM app.t; CREATE UNLOGGED TABLE app.unlogged (id int);
CREATE TABLE "it's"."a ""%s"" .\\t" (id int); CREATE INDEX "100% '{}" ON "it's"."a ""%s"" .\\t" (id);
CREATE VIEW app.look AS SELECT 1 AS one;
"""
NAMES = {
    *('"it\'s"."a ""%s"" .\\t"', '"it\'s"."100% \'{}"'),
    *("app.part", "app.part_pkey", "app.t", "app.t_pkey", "app.unlogged", "app.view"),
}
AGED = """
UPDATE maintenance.state SET value = jsonb_set(value, '{checked}', (
    SELECT jsonb_object_agg(key, value::text::float8 - %(seconds)s) FROM jsonb_each(value -> 'checked')))
WHERE operation = 'amcheck' AND value ? 'checked' AND target LIKE %(like)s
"""
LOOKED = """
UPDATE maintenance.state SET value = jsonb_set(value, '{at}', to_jsonb((value ->> 'at')::float8 - %s)) WHERE value ? 'at'
"""


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    """Of tables and indexes, without TOAST tables, which are named by numbers."""
    told = {one["target"]: one["outcome"] for one in result["actions"]}
    return {target: told[target] for target in told if not target.startswith(("pg_toast.", "database "))}


def ill(result: dict[str, Any]) -> list[str]:
    """What is told to be corrupt. That nothing was known before is told, too, for whoever waits to hear that it is over."""
    assert {one["check"] for one in result["findings"]} <= {"corruption"}
    return [one["subject"] for one in result["findings"] if one["level"] != "info"]


def reasons(result: dict[str, Any]) -> dict[str, str]:
    return {one["target"]: one["reason"] for one in result["actions"]}


def remembering(database: Database, tables: str = TABLES) -> None:
    """A database with tables and a history."""
    database.sql(tables)
    perform("analyze", database.dsn, tables=["app.t"])


def test_all_is_checked_once_and_again_when_it_is_due(database: Database) -> None:
    remembering(database)
    gin = {"app.t_tags"} if database.value("SELECT current_setting('server_version_num')::int >= 180000") else set()
    planned = perform("amcheck", database.dsn, True, include=["*"])
    assert outcomes(planned) == dict.fromkeys(NAMES | gin, "planned")
    first = perform("amcheck", database.dsn, include=["*"])
    assert outcomes(first) == dict.fromkeys(NAMES | gin, "done"), first
    assert (first["changed"], ill(first), first["warnings"]) == (False, [], [])
    # Of all these only app.t has a TOAST table, which is checked with its index.
    toast = [one["target"] for one in first["actions"] if one["target"].startswith("pg_toast.")]
    assert len(toast) == 2, toast
    for one in first["actions"]:
        for statement in one["statements"]:  # what is shown can be run
            database.sql(statement)
    second = perform("amcheck", database.dsn, include=["*"])
    assert outcomes(second) == {}
    assert only(second)["outcome"] == "unchanged"
    assert only(second)["reason"].startswith("11 tables and indexes, all checked within 30d" if gin else "10 tables")

    # The longest unchecked first, the never checked before them.
    database.sql(AGED, {"seconds": 40 * 86400, "like": "app.view"})
    database.sql(AGED, {"seconds": 31 * 86400, "like": "app.t"})
    database.sql("CREATE TABLE app.new (id int)")
    third = perform("amcheck", database.dsn, include=["*"])
    assert list(outcomes(third)) == ["app.new", "app.view", "app.t"]
    assert reasons(third)["app.view"] == "checked 40 d ago (every: 30d)"
    assert reasons(third)[f"database {database.name}"].startswith("3 of 1")

    # What would be too old by the next run is due in this one: runs are two days apart.
    database.sql(AGED, {"seconds": 29 * 86400, "like": "app.t"})
    assert outcomes(perform("amcheck", database.dsn, True, include=["*"])) == {}
    database.sql(LOOKED, [2 * 86400])
    spread = perform("amcheck", database.dsn, include=["*"])
    assert outcomes(spread) == {"app.t": "done"}
    assert "the next run may come too late" in reasons(spread)["app.t"]

    # What was checked superficially was not checked thoroughly, and the other way round it was. A new object is another one.
    deep = perform("amcheck", database.dsn, include=["app.*"], heapallindexed=True, parent=True)
    assert outcomes(deep) == {"app.part_pkey": "done", "app.t_pkey": "done"}
    assert reasons(deep)["app.t_pkey"] == "never checked with heapallindexed, parent"
    assert "bt_index_parent_check('app.t_pkey'::regclass, true, false)" in deep["actions"][-2]["statements"][0]
    assert outcomes(perform("amcheck", database.dsn, include=["app.*"], heapallindexed=True)) == {}
    database.sql("REINDEX INDEX CONCURRENTLY app.t_pkey")
    database.sql("DROP TABLE app.new; CREATE TABLE app.new (id int)")
    assert set(outcomes(perform("amcheck", database.dsn, include=["app.*"]))) == {"app.t_pkey", "app.new"}


def test_names_that_cannot_be_meant(database: Database) -> None:
    database.sql(TABLES)
    database.sql("CREATE INDEX broken ON app.t (note)")
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.broken'::regclass")
    result = perform(
        "amcheck", database.dsn, tables=["app.t", "app.look", "app.viev", "pg_catalog.pg_am"], history=False
    )
    told = reasons(result)
    assert result["status"] == "failed"
    assert told["app.look"] == "app.look is a view, not a table or materialized view"
    assert told["app.viev"].endswith("did you mean app.view?")
    assert told["app.broken"] == "it is not valid, so that no query uses it: rebuild or drop it"
    assert outcomes(result)["app.broken"] == "skipped"
    assert outcomes(result)["pg_catalog.pg_am"] == "done"
    assert ill(result) == []
    empty = perform("amcheck", database.dsn, include=["nowhere.*"], history=False)
    assert only(empty)["reason"] == "there is nothing to check"
    assert empty["warnings"][0].startswith("amcheck: no table matches nowhere.*")
    assert "each run begins anew: history: false" in empty["warnings"][1]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"every": "30"}, "every: '30' is no interval"),
        ({"every": "91d"}, "more than 90d"),
        ({"include": []}, "include: give at least one pattern"),
    ],
)
def test_wrong_options(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionError, match=fault):
        perform("amcheck", "dbname=nowhere", **{"include": ["*"], **options})


def test_what_is_missing_is_said_with_the_statement(database: Database) -> None:
    """The extension, the right to use its schema, and the right to call it; what is said is what helps."""
    database.sql('CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); CREATE SCHEMA "my tools"')
    role = database.role("Some One")
    options: dict[str, Any] = {"include": ["*"], "history": False, "parent": True, "checkunique": True}
    result = perform("amcheck", database.dsn_as(role), **options)
    assert only(result)["reason"].endswith("CREATE EXTENSION amcheck")
    database.sql('CREATE EXTENSION amcheck SCHEMA "my tools" VERSION "1.3"')
    new = database.value("SELECT current_setting('server_version_num')::int >= 170000")
    old = only(perform("amcheck", database.dsn, **options))["reason"]
    assert ("ALTER EXTENSION amcheck UPDATE" in old) == new, old
    database.sql("ALTER EXTENSION amcheck UPDATE")
    reason = only(perform("amcheck", database.dsn_as(role), **options))["reason"]
    assert "has no check of uniqueness" not in reason
    for statement in reason.partition(": ")[2].split("; "):
        database.sql(statement)
    assert outcomes(perform("amcheck", database.dsn_as(role), **options)) == {"app.t": "done", "app.t_pkey": "done"}
    # Nothing of the tables is needed, nor of their schema.
    assert not database.value("SELECT has_table_privilege(%s, 'app.t', 'SELECT')", [role])


def test_the_maintainer_is_given_what_a_step_needs(database: Database) -> None:
    database.sql("CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); CREATE SCHEMA tools")
    step: dict[str, dict[str, Any]] = {"amcheck": {"include": ["*"], "heapallindexed": True}}
    name = database.role("maintainer")
    missing = perform("maintainer", database.dsn, name=name, steps=[step], history=False)
    assert missing["msg"].endswith("CREATE EXTENSION amcheck"), missing["msg"]
    database.sql("CREATE EXTENSION amcheck SCHEMA tools")
    for changed in (True, False):
        given = perform("maintainer", database.dsn, name=name, steps=[step], history=False, exclusive=True)
        assert (given["status"], given["changed"]) == ("ok", changed), given
        assert given["excess"] == []
    calls = [one["target"] for one in given["actions"] if one["kind"] == "routine"]
    assert "tools.bt_index_check" in calls
    assert "tools.bt_index_parent_check" not in calls
    checked = perform("amcheck", database.dsn_as(name), **step["amcheck"], history=False)
    assert outcomes(checked) == {"app.t": "done", "app.t_pkey": "done"}
    taken = perform("maintainer", database.dsn, name=name, steps=[{"health_info": {}}], history=False, exclusive=True)
    assert 'REVOKE EXECUTE ON ROUTINE "tools"."verify_heapam"' in str(taken["actions"])


class Thread(threading.Thread):
    """Checks while the test does something else."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self.dsn = dsn
        self.result: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        self.result = perform("amcheck", self.dsn, include=["app.*"], heapallindexed=True)


SLOW = """
CREATE SCHEMA app; CREATE EXTENSION amcheck; CREATE SCHEMA maintenance;
CREATE FUNCTION app.waits(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF EXISTS (SELECT FROM app.stop) THEN PERFORM pg_advisory_lock(4711); PERFORM pg_advisory_unlock(4711); END IF;
    IF EXISTS (SELECT FROM app.refuse) THEN RAISE data_exception USING MESSAGE = 'what a function says'; END IF;
    RETURN id;
END $$;
CREATE TABLE app.stop (); CREATE TABLE app.refuse (); CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1);
CREATE INDEX waits ON app.t (app.waits(id));
"""
WAITING = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def test_nothing_but_corruption_is_critical(database: Database) -> None:
    """Somebody's lock, somebody who cancels it, a function that fails, an index that is dropped meanwhile."""
    remembering(database, SLOW)
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE app.t IN ACCESS EXCLUSIVE MODE")
        locked = perform("amcheck", database.dsn, include=["app.*"], heapallindexed=True)
        cursor.execute("ROLLBACK; INSERT INTO app.stop DEFAULT VALUES; SELECT pg_advisory_lock(4711)")
        assert (locked["status"], ill(locked)) == ("partial", [])
        assert [outcomes(locked)[name] for name in ("app.t", "app.waits", "app.stop")] == [
            "contended",
            "contended",
            "done",
        ]

        thread = Thread(database.dsn)
        until(lambda: database.sql(WAITING))
        database.sql(f"SELECT pg_cancel_backend(pid) FROM ({WAITING}) AS waits")
        thread.join()
        assert outcomes(thread.result) == {"app.t": "done", "app.waits": "deferred"}
        assert (thread.result["status"], ill(thread.result)) == ("partial", [])

    database.sql("DELETE FROM app.stop; INSERT INTO app.refuse DEFAULT VALUES")
    refused = perform("amcheck", database.dsn, include=["app.*"], heapallindexed=True)
    assert (outcomes(refused), ill(refused)) == ({"app.waits": "failed"}, [])
    assert "what a function says" in reasons(refused)["app.waits"]

    with closing(open_session(ConnectionOptions.read(database.dsn), "test")) as session:
        options = amcheck.read({"include": ["app.*"]})
        context = Context(check=False)
        decided = amcheck.decide(amcheck.facts(session, options, context), options, context)
        database.sql("DROP INDEX app.waits; DROP TABLE app.refuse")
        gone = {one.target: amcheck.execute(session, one, context) for one in decided
                if isinstance(one, Action) and one.target in ("app.waits", "app.refuse")}  # fmt: skip
    assert {target: (one.status, one.reason) for target, one in gone.items()} == dict.fromkeys(
        ("app.waits", "app.refuse"), ("unchanged", "was dropped or rebuilt meanwhile")
    )


def test_a_large_table_is_gone_on_with(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages are checked in parts, each run goes on where the one before has ended, and its start is remembered."""
    database.sql("CREATE EXTENSION amcheck; CREATE TABLE t (id int, note text)")
    database.sql("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 2000) AS n")
    monkeypatch.setattr(examine, "FIRST_PAGES", 100)
    monkeypatch.setattr(examine, "MOST_PAGES", 100)
    options, pages = amcheck.read({"tables": ["t"]}), []
    state: dict[str, dict[str, Any]] = {}
    with closing(open_session(ConnectionOptions.read(database.dsn), "test")) as session:
        for _run in range(3):
            context = Context(check=False, state=state, seconds_left=lambda: 0.0)
            decided = amcheck.decide(amcheck.facts(session, options, context), options, context)
            (action,) = [one for one in decided if isinstance(one, Action) and one.target == "public.t"]
            outcome = amcheck.execute(session, action, context)
            assert outcome.state is not None
            began = state.get("public.t", outcome.state)["began"]
            state["public.t"] = outcome.state
            pages.append((outcome.status, outcome.state["block"], action.reason))
    assert pages == [
        ("deferred", 100, "never checked"),
        ("deferred", 200, "its check goes on at page 100"),
        ("done", 0, "its check goes on at page 200"),
    ]
    assert state["public.t"]["checked"][""] == began, "the oldest of its pages was checked then"


def test_functions_of_the_user_see_no_path_of_the_user(database: Database, postgres15: Server) -> None:
    """Neither of who calls it nor of the database, whatever the release: what they need and do not find is no corruption."""
    older = postgres15.create_database()
    try:
        for one in (database, older):
            one.sql(
                "CREATE EXTENSION amcheck; CREATE SCHEMA app; CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1)"
            )
            one.sql("CREATE FUNCTION app.one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            body = "'BEGIN RETURN $1 + one(); END'"
            one.sql(f"CREATE FUNCTION app.same(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS {body}")
            one.sql("ALTER FUNCTION app.same SET search_path = app; CREATE INDEX same ON app.t (app.same(id))")
            one.sql(f"ALTER FUNCTION app.same RESET ALL; ALTER DATABASE {one.name} SET search_path = app, public")
            result = perform("amcheck", one.dsn, include=["*"], heapallindexed=True, history=False)
            assert (outcomes(result), ill(result)) == ({"app.t": "done", "app.same": "failed"}, [])
            assert "function one() does not exist" in reasons(result)["app.same"]
    finally:
        older.close()


def test_the_end_of_the_connection_fails_what_is_left_by_name(database: Database) -> None:
    """A check of what is corrupt can crash the server. What comes after it is told to have failed, one by one."""
    remembering(database, SLOW)
    database.sql("CREATE INDEX without_check ON app.t (id)")
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("INSERT INTO app.stop DEFAULT VALUES; SELECT pg_advisory_lock(4711)")
        thread = Thread(database.dsn)
        until(lambda: database.sql(WAITING))
        database.sql(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waits")
        thread.join()
    result = thread.result
    assert (result["status"], ill(result)) == ("failed", [])
    told = {one["target"]: (one["outcome"], one["reason"]) for one in result["actions"]}
    assert told["app.t"] == ("done", "never checked")
    assert told["app.waits"][0] == "failed"
    assert told["app.without_check"] == ("failed", "the connection was lost")
    assert told[f"database {database.name}"][0] == "unchanged"


def test_a_plan_that_only_checks_is_missed_when_it_does_not_come(database: Database) -> None:
    """And an ill database is no failure of the plan that says so."""
    remembering(database, SLOW)
    database.sql("INSERT INTO app.refuse DEFAULT VALUES")
    step = {"amcheck": {"include": ["app.*"], "heapallindexed": True}}
    ran = perform("run", database.dsn, plan="integrity", every="1h", steps=[step])
    assert ran["status"] == "failed"
    plans = {"integrity": {"every": "1h"}}
    found = look(database, plans=plans)
    assert levels(found)["maintenance-overdue"] == "info", of(found, "maintenance-overdue")
    assert levels(found)["maintenance-failures"] == "info"
    database.sql("UPDATE maintenance.run SET started_at = started_at - interval '3 hours', "
                 "finished_at = finished_at - interval '3 hours' WHERE plan = 'integrity'")  # fmt: skip
    (late,) = of(look(database, plans=plans), "maintenance-overdue")
    assert (late["subject"], late["level"]) == ("integrity", "warning")
