# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vacuum beside others: their locks, their VACUUMs, their rights, and what they do to a table between decision and deed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Thread

import psycopg2
import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.progress import look
from tests.runs import only, until
from tests.servers import Database
from tests.tables import decided, executed, held, make, opened, run, told, vacuuming, write

THIN = "\u202f"
DUE = f"2{THIN}000 dead rows (threshold 1{THIN}000)"
MODES = ["SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]

NO_SUPERUSER = (
    "its owner postgres is a superuser, which nobody should become for that: ALTER TABLE public.t OWNER TO another role"
)


@pytest.fixture(params=["server", "postgres15"])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with a table that is due, on the newest server and on an older one."""
    made = request.getfixturevalue(request.param).create_database()
    make(made, dead=2000)
    yield made
    made.close()


def test_locks_of_each_strength(either: Database) -> None:
    """Seen when it is decided, seen before it is sent, and, where it comes in between, seen by what was not done."""
    for mode in MODES:
        name = mode.title().replace(" ", "") + "Lock"
        with opened(either) as session:
            (action,) = decided(session, "t")
            with held(either, f"LOCK TABLE t IN {mode} MODE") as pid:
                (contended,) = decided(session, "t")
                assert (contended.verdict, contended.reason) == (
                    "contended",
                    f"{DUE}, but session {pid} holds a {name} on it",
                )
                outcome = executed(session, action)
                assert (outcome.status, outcome.changed, outcome.reason) == ("contended", False, contended.reason)
    for mode in ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"):
        with held(either, f"LOCK TABLE t IN {mode} MODE"), opened(either) as session:
            assert decided(session, "t")[0].verdict is None
    assert only(run(either, "t"))["outcome"] == "done"


def test_a_lock_that_comes_right_before_it_is_sent(either: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(either) as session, held(either) as pid:
        (action,) = decided(session, "t")
        send, other = session.execute, either.connect()

        def late(query: object, *given: object, **how: bool) -> int:
            if how.get("alone"):
                other.cursor().execute("BEGIN; LOCK TABLE t IN SHARE MODE")
            return send(query, *given, **how)  # type: ignore[arg-type]

        monkeypatch.setattr(session, "execute", late)
        with closing(other):
            outcome = executed(session, action)
            reason = f"skipped: session {other.info.backend_pid} holds a ShareLock on it"
            assert (outcome.status, outcome.changed, outcome.reason) == ("contended", False, reason)
            assert pid
        assert outcome.state is None


def test_a_toast_table_that_is_passed_over_without_a_word(database: Database) -> None:
    make(database, dead=2000)
    toast = database.value("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 't'")
    with opened(database) as session:
        (action,) = decided(session, "t")
        with held(database, f"REINDEX TABLE {toast}") as pid:
            outcome = executed(session, action)
            assert outcome.reason == f"{DUE}, but session {pid} holds a ShareLock on its TOAST table"
        with closing(database.connect()) as other:
            send = session.execute
            session.execute = lambda query, *given, **how: (  # type: ignore[method-assign]
                how.get("alone") and other.cursor().execute(f"BEGIN; REINDEX TABLE {toast}"),
                send(query, *given, **how),
            )[1]
            outcome = executed(session, action)
            pid = other.info.backend_pid
            assert (outcome.status, outcome.changed) == ("contended", True)
            assert outcome.reason == (
                f"vacuumed, but its TOAST table was skipped: session {pid} holds a ShareLock on its TOAST table"
            )


def test_a_vacuum_that_is_under_way(either: Database) -> None:
    with closing(either.connect()) as other, other.cursor() as cursor:
        # It takes until it is cancelled: four times the delay for each page.
        cursor.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1; SET vacuum_cost_page_hit = 100; "
                       "SET vacuum_cost_page_miss = 100; SET vacuum_cost_page_dirty = 100")  # fmt: skip
        pid = other.info.backend_pid

        def vacuum() -> None:
            with suppress(psycopg2.errors.QueryCanceled):
                cursor.execute("VACUUM t")

        worker = Thread(target=vacuum)
        worker.start()
        vacuuming(either, pid)
        result = run(either, "t")
        with opened(either) as session:
            assert re.match(r"scanning heap, \d+% of 55 pages", look(session, pid))
            assert look(session, 0) == ""
        either.sql("SELECT pg_cancel_backend(%s)", [pid])
        worker.join()
    assert told(result) == [("public.t", "contended", f"{DUE}, but session {pid} is vacuuming it")]
    assert result["status"] == "partial"


def test_an_index_that_is_locked(database: Database) -> None:
    """It is waited for for a second; the table is not vacuumed, and the reason is the server's."""
    make(database, dead=2000)
    with opened(database) as session:
        (action,) = decided(session, "t")
        with held(database, "LOCK TABLE t IN ROW SHARE MODE", "REINDEX INDEX t_pkey") as pid:
            outcome = executed(session, action)
            assert (outcome.status, f"session {pid} holds a ShareLock on it" in outcome.reason) == ("contended", True)


def test_rights(either: Database) -> None:
    """What is named fails with the GRANT; what a pattern has is left out with one warning; the GRANT is enough."""
    make(either, "mine", dead=2000)
    make(either, "theirs", dead=2000)
    role = either.role("plain")
    either.sql(f"ALTER TABLE mine OWNER TO {role}")
    newer = either.value("SELECT current_setting('server_version_num')::int >= 170000")
    grant = f"GRANT MAINTAIN ON TABLE public.t TO {role}" if newer else NO_SUPERUSER
    named = run(either, "t", user=role)
    assert told(named) == [("public.t", "failed", f"role {role} may not vacuum this table: {grant}")]
    result = run(either, include=["public.*"], user=role, history=False)
    assert told(result) == [("public.mine", "done", DUE)]
    (warning,) = result["warnings"]
    assert warning.startswith(f"vacuum: 2 tables that role {role} may not maintain are left out, such as public.t: ")
    with opened(either, role) as session:
        either.sql(f"ALTER TABLE t OWNER TO {role}")
        (action,) = decided(session, "t")
        either.sql("ALTER TABLE t OWNER TO postgres")
        outcome = executed(session, action)
    assert (outcome.status, outcome.changed, "may not vacuum" in outcome.reason) == ("failed", False, True)
    either.sql(f'ALTER DATABASE "{either.name}" OWNER TO {role}')
    assert run(either, "t", "theirs", user=role)["totals"] == {"done": 2}, "the owner of the database may"


def test_a_right_that_is_lost_right_before_it_is_sent(database: Database) -> None:
    """The server only warns."""
    make(database, dead=2000)
    role = database.role("plain")
    database.sql(f"ALTER TABLE t OWNER TO {role}")
    with opened(database, role) as session:
        (action,) = decided(session, "t")
        send = session.execute

        def late(query: object, *given: object, **how: bool) -> int:
            if how.get("alone"):
                database.sql("ALTER TABLE t OWNER TO postgres")
            return send(query, *given, **how)  # type: ignore[arg-type]

        session.execute = late  # type: ignore[method-assign, assignment]
        outcome = executed(session, action)
    assert (outcome.status, outcome.changed) == ("failed", False)
    assert outcome.reason == f"role {role} may not vacuum this table: GRANT MAINTAIN ON TABLE public.t TO {role}"


def test_between_decision_and_deed(either: Database) -> None:
    """Dropped, renamed, dropped and made again, vacuumed by somebody else, grown."""
    for name in ("gone", "renamed", "again", "done", "grown"):
        make(either, name, dead=2000)
    with opened(either) as session:
        actions = {action.target: action for action in decided(session, "gone", "renamed", "again", "done", "grown")}
        write(
            either,
            "DROP TABLE gone; CREATE SCHEMA s; ALTER TABLE renamed RENAME TO other; ALTER TABLE other SET SCHEMA s",
            "DROP TABLE again; CREATE TABLE again (id int)",
            "DELETE FROM grown WHERE id <= 4000",
        )
        with closing(either.connect()) as other:
            other.cursor().execute("VACUUM done")
        until(lambda: either.value("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'done'"))
        outcomes = {name: executed(session, action) for name, action in actions.items()}
    assert {name: (one.status, one.reason, one.rows) for name, one in outcomes.items()} == {
        "public.gone": ("failed", "was dropped meanwhile", None),
        "public.renamed": ("done", f"{DUE}; it is s.other now", 2000),
        "public.again": ("failed", "was dropped meanwhile", None),
        "public.done": ("unchanged", "somebody else has vacuumed it meanwhile", None),
        "public.grown": ("done", "", 4000),
    }


def test_names_that_are_wrong_do_not_stop_the_others(database: Database) -> None:
    make(database, "users", dead=2000)
    database.sql("CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s; CREATE TEMP TABLE passing (id int)")
    schema = (
        "SELECT nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relname = 'passing'"
    )
    passing = f"{database.value(schema)}.passing"
    result = run(database, "usres", "v", "s", "users_pkey", "users", passing)
    assert told(result)[0][:2] == ("public.users", "done")
    failed = ["usres", "public.v", "public.s", "public.users_pkey", passing]
    assert [one[:2] for one in told(result)[1:]] == [(name, "failed") for name in failed]
    assert "did you mean public.users" in result["actions"][1]["reason"]
    assert result["actions"][2]["reason"] == "public.v is a view, not a table or materialized view"


def test_the_budget_ends_meanwhile(database: Database) -> None:
    """What has begun is cancelled and goes first the next time; the session is as before."""
    slow = "WITH (fillfactor = 10, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"  # a minute at least
    make(database, "a", dead=2000)
    make(database, "b", dead=2000, more=slow)
    late = run(database, "a", "b", pace="gentle", budget=1.0)
    assert {one["target"]: one["outcome"] for one in late["actions"]} == {
        "public.a": "deferred",
        "public.b": "deferred",
    }
    make(database, "c", rows=60_000, dead=50_000)
    done = told(run(database, "c", "a", "b"))
    assert ({one[0] for one in done[:2]}, done[2][0]) == ({"public.a", "public.b"}, "public.c")
    assert {one[1] for one in done} == {"done"}
