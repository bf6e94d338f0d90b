# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""analyze against a real server: it acts when it must, once, and never claims what it did not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import Any

import psycopg2
import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context, Outcome, analyze
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import REPOSITORY, until
from tests.servers import Database, PrivateServer

THIN = "\u202f"
FLUSH = "SELECT pg_stat_force_next_flush()"

NO_SUPERUSER = (
    "its owner postgres is a superuser, which nobody should become for that: ALTER TABLE public.t OWNER TO another role"
)


@pytest.fixture(params=["server", "postgres15"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database, on the newest server and on one without MAINTAIN."""
    made = request.getfixturevalue(request.param).create_database()
    yield made
    made.close()


@contextmanager
def opened(database: Database, user: str = "postgres") -> Iterator[Session]:
    with closing(open_session(ConnectionOptions.read(database.dsn_as(user)), "test")) as session:
        yield session


def decided(session: Session, *tables: str, **context: Any) -> list[Any]:
    options = analyze.read({"tables": list(tables)})
    lent = Context(check=False, **context)
    return list(analyze.decide(analyze.facts(session, options, lent), options, lent))


def executed(session: Session, action: Any) -> Outcome:
    assert isinstance(action, Action), action
    return analyze.execute(session, action, Context(check=False))


def decide(database: Database, *tables: str, user: str = "postgres") -> list[Any]:
    with opened(database, user) as session:
        return decided(session, *tables)


def run(database: Database, table: str, user: str = "postgres") -> Outcome:
    with opened(database, user) as session:
        (action,) = decided(session, table)
        return executed(session, action)


def write(database: Database, statement: str) -> None:
    """Change rows, and wait for nothing: the numbers are visible when this returns."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute(FLUSH)
        cursor.execute("SELECT 1")


def make(database: Database, name: str = "public.t", rows: int = 1000) -> None:
    write(database, f"CREATE TABLE {name} (id int PRIMARY KEY, note text)")
    write(database, f"INSERT INTO {name} SELECT i, 'note ' || i % 7 FROM generate_series(1, {rows}) AS i")


def test_a_table_is_analyzed_once_and_again_after_enough_changes(database: Database) -> None:
    make(database)
    (action,) = decide(database, "t")
    assert (action.target, action.verdict, action.reason) == ("public.t", None, "never analyzed")
    assert action.statements == ('ANALYZE (SKIP_LOCKED) "public"."t"',)

    outcome = run(database, "public.t")
    assert (outcome.status, outcome.changed, outcome.rows) == ("done", True, None)
    assert database.value("SELECT count(*) FROM pg_stats WHERE tablename = 't'") == 2

    (action,) = decide(database, "t")
    assert (action.verdict, action.reason) == ("unchanged", "0 rows changed, below the threshold of 150")
    assert action.numbers == {"rows": 1000, "modified": 0, "threshold": 150}

    write(database, "UPDATE t SET note = 'x' WHERE id <= 149")
    (action,) = decide(database, "t")
    assert (action.verdict, action.reason) == ("unchanged", "149 rows changed, below the threshold of 150")
    write(database, "DELETE FROM t WHERE id = 1000")
    (action,) = decide(database, "t")
    assert action.verdict is None
    assert action.reason == f"150 of 1{THIN}000 rows changed since the last analyze (threshold 150)"
    assert run(database, "t").status == "done"
    assert decide(database, "t")[0].verdict == "unchanged"


def test_changes_of_the_same_session_count_before_the_analyze_and_not_after_it(database: Database) -> None:
    """A purge goes before analyze, in one session, and its changes are reported a second later."""
    make(database)
    run(database, "t")
    with opened(database) as session:
        decided(session, "t")  # the report that this leads to keeps the session from the next one for a second
        session.execute("DELETE FROM public.t WHERE id <= 500")
        (action,) = decided(session, "t")
        assert action.numbers["modified"] == 500
        assert executed(session, action).status == "done"
    (action,) = decide(database, "t")  # the session has ended, and reported everything
    assert (action.verdict, action.numbers["modified"]) == ("unchanged", 0)


def test_all_tables_cost_one_round_trip(database: Database) -> None:
    for name in ("a", "b", "c"):
        make(database, name, rows=10)
    with opened(database) as session:
        before = session.round_trips
        assert [action.target for action in decided(session, "b", "public.a", "c", "b", "public.b")] == [
            "public.b",
            "public.a",
            "public.c",
        ]
        assert session.round_trips == before + 1


def test_an_empty_table_converges(database: Database) -> None:
    write(database, "CREATE TABLE t (id int)")
    assert run(database, "t").status == "done"
    assert decide(database, "t")[0].verdict == "unchanged"
    write(database, "INSERT INTO t VALUES (1)")
    (action,) = decide(database, "t")
    assert (action.verdict, action.numbers) == (None, {"rows": 0, "modified": 1, "threshold": 1})


def test_lost_counters_do_not_mean_that_statistics_are_missing(database: Database) -> None:
    make(database)
    run(database, "t")
    database.sql("SELECT pg_stat_reset()")
    (action,) = decide(database, "t")
    assert (action.verdict, action.numbers["modified"]) == ("unchanged", 0)


@pytest.mark.parametrize("mode", ["SHARE UPDATE EXCLUSIVE", "SHARE", "ACCESS EXCLUSIVE"])
def test_a_table_that_somebody_works_on_is_left_alone(database: Database, mode: str) -> None:
    make(database)
    with closing(database.connect()) as other, other.cursor() as cursor, opened(database) as session:
        (action,) = decided(session, "t")
        cursor.execute(f"BEGIN; LOCK TABLE t IN {mode} MODE")
        (contended,) = decided(session, "t")
        pid = other.info.backend_pid
        held = mode.title().replace(" ", "") + "Lock"
        assert contended.verdict == "contended"
        assert contended.reason == f"never analyzed, but session {pid} holds a {held} on it"
        # The lock may also come between the decision and the deed.
        outcome = executed(session, action)
        assert (outcome.status, outcome.changed) == ("contended", False)
        assert outcome.reason == f"skipped: session {pid} holds a {held} on it"
        cursor.execute("ROLLBACK")
        assert executed(session, action).status == "done"


def test_writers_are_not_in_the_way(database: Database) -> None:
    make(database)
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO t VALUES (0, '')")
        assert run(database, "t").status == "done"


def test_an_unprivileged_role_sees_who_is_in_the_way(database: Database) -> None:
    make(database)
    owner = database.role("owner")
    database.sql(f'ALTER TABLE t OWNER TO "{owner}"')
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
        (action,) = decide(database, "t", user=owner)
        assert (action.verdict, f"session {other.info.backend_pid} " in action.reason) == ("contended", True)


def test_a_running_vacuum_is_left_alone(database: Database) -> None:
    make(database)
    write(database, "INSERT INTO t (id) SELECT g FROM generate_series(1000001, 1050000) AS g")
    write(database, "DELETE FROM t WHERE id > 1000000")
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")  # it takes until it is cancelled
        pid = other.info.backend_pid

        def vacuum() -> None:
            with suppress(psycopg2.errors.QueryCanceled):
                cursor.execute("VACUUM t")

        worker = Thread(target=vacuum)
        worker.start()
        until(lambda: database.value("SELECT count(*) FROM pg_stat_progress_vacuum WHERE pid = %s", [pid]) == 1)
        (action,) = decide(database, "t")
        database.sql("SELECT pg_cancel_backend(%s)", [pid])
        worker.join()
    assert action.verdict == "contended"
    assert action.reason.endswith(f"session {pid} holds a ShareUpdateExclusiveLock on it")


def test_the_thresholds_are_documented() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Many tables\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| \w", section, re.MULTILINE)
    assert {name: float(default) for name, default in table} == {
        name: how["default"] for name, how in analyze.THRESHOLDS.items()
    }


def test_without_the_right_it_fails_and_names_the_grant(database: Database) -> None:
    make(database)
    role = database.role("plain")
    database.sql(f'GRANT SELECT ON t TO "{role}"')
    (action,) = decide(database, "t", user=role)
    new = database.value("SELECT current_setting('server_version_num')::int") >= 170000
    grant = f"GRANT MAINTAIN ON TABLE public.t TO {role}" if new else NO_SUPERUSER
    assert action.verdict == "failed"
    assert action.reason == f"role {role} may not analyze this table: {grant}"
    # The very statement that the reason asks for is enough (ownership instead of the superuser's role before 17).
    database.sql(grant if new else f"ALTER TABLE t OWNER TO {role}")
    assert run(database, "t", user=role).status == "done"
    assert decide(database, "t", user=role)[0].verdict == "unchanged"


def test_a_right_that_is_lost_meanwhile_is_not_a_success(database: Database) -> None:
    make(database)
    role = database.role("plain")
    database.sql(f"ALTER TABLE t OWNER TO {role}")
    with opened(database, role) as session:
        (action,) = decided(session, "t")
        database.sql("ALTER TABLE t OWNER TO postgres")
        outcome = executed(session, action)
    assert (outcome.status, outcome.changed) == ("failed", False)
    assert "may not analyze" in outcome.reason


def test_the_owner_of_the_database_may_analyze(database: Database) -> None:
    make(database)
    role = database.role("owner")
    database.sql(f'ALTER DATABASE "{database.name}" OWNER TO {role}')
    assert run(database, "t", user=role).status == "done"
    assert decide(database, "pg_catalog.pg_authid", user=role)[0].verdict == "failed"


def test_a_role_that_sees_no_statistics_analyzes_once(database: Database) -> None:
    make(database)
    role = database.role("blind")
    database.sql(f'ALTER DATABASE "{database.name}" OWNER TO {role}')
    run(database, "t")
    database.sql("SELECT pg_stat_reset()")
    assert run(database, "t", user=role).status == "done"
    assert decide(database, "t", user=role)[0].verdict == "unchanged"


def test_what_cannot_be_analyzed_does_not_stop_the_others(database: Database) -> None:
    make(database, "users")
    database.sql("CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s")
    actions = decide(database, "usres", "v", "s", "users_pkey", "users")
    assert [(action.target, action.verdict) for action in actions] == [
        ("usres", "failed"),
        ("public.v", "failed"),
        ("public.s", "failed"),
        ("public.users_pkey", "failed"),
        ("public.users", None),
    ]
    assert "did you mean public.users" in actions[0].reason
    assert actions[1].reason == "public.v is a view, not a table, foreign table or materialized view"


def test_a_table_that_is_dropped_meanwhile_fails(database: Database) -> None:
    make(database)
    with opened(database) as session:
        (action,) = decided(session, "t")
        database.sql("DROP TABLE t")
        with pytest.raises(SqlError):
            executed(session, action)


NAMES = ["Upper", "with space", "dot.ted", 'quo"ted', "100%", "{braces}", "người_dùng", "n" * 63, "'; DROP TABLE t; --"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_works(database: Database, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.sql(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} AS SELECT 1 AS i")
    option = f"{quoted}.{quoted}" if set(name) & set('."') else f"{name}.{name}"
    assert run(database, option).status == "done"
    (action,) = decide(database, option)
    assert action.verdict == "unchanged"
    assert decide(database, action.target)[0].target == action.target


def test_an_inheritance_parent_counts_with_its_children(database: Database) -> None:
    """Autovacuum renews what is known of the whole only when the parent itself changes."""
    make(database, "base", rows=10)
    write(database, "CREATE TABLE child () INHERITS (base); CREATE TABLE grandchild () INHERITS (child)")
    write(database, "INSERT INTO grandchild SELECT i FROM generate_series(1, 1000) AS i")
    assert decide(database, "base")[0].numbers["modified"] == 1010
    assert run(database, "base").status == "done"
    assert database.value("SELECT count(*) FROM pg_stats WHERE tablename = 'base' AND inherited") == 2
    (action,) = decide(database, "base")
    assert (action.verdict, action.numbers["rows"], action.numbers["modified"]) == ("unchanged", 1010, 0)
    write(database, "UPDATE grandchild SET note = 'new' WHERE id <= 200")
    (action,) = decide(database, "base")
    assert (action.verdict, action.numbers["modified"]) == (None, 200)
    assert run(database, "base").status == "done"
    assert decide(database, "base")[0].verdict == "unchanged"


def test_a_foreign_table(database: Database) -> None:
    """Nobody else analyzes it, and nobody counts what changes in it."""
    database.sql("CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw")
    database.sql(
        "CREATE FOREIGN TABLE f (i text) SERVER s OPTIONS (filename '/proc/self/maps', format 'text', delimiter E'\\x01')"
    )
    (action,) = decide(database, "f")
    assert (action.verdict, action.reason) == (None, "never analyzed")
    assert run(database, "f").status == "done"
    assert database.value("SELECT count(*) FROM pg_stats WHERE tablename = 'f'") == 1
    (action,) = decide(database, "f")
    assert (action.verdict, "a foreign table, analyzed" in action.reason) == ("unchanged", True)


def test_a_materialized_view(database: Database) -> None:
    make(database)
    write(database, "CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX ON m (id)")
    assert run(database, "m").status == "done"
    assert decide(database, "m")[0].verdict == "unchanged"
    write(database, "REFRESH MATERIALIZED VIEW m")
    (action,) = decide(database, "m")
    assert (action.verdict, action.numbers["modified"]) == (None, 1000)
    assert run(database, "m").status == "done"
    assert decide(database, "m")[0].verdict == "unchanged"


def make_partitions(database: Database) -> None:
    write(database, """
        CREATE TABLE p (id int, d date) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (3000) PARTITION BY RANGE (id);
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (1000) TO (2000);
        CREATE TABLE p2b PARTITION OF p2 FOR VALUES FROM (2000) TO (3000)""")  # fmt: skip
    write(database, "INSERT INTO p SELECT i FROM generate_series(0, 2499) AS i")


def test_a_partitioned_table(database: Database) -> None:
    make_partitions(database)
    (action,) = decide(database, "p")
    assert (action.verdict, action.reason) == (None, "never analyzed")
    assert action.numbers == {"rows": None, "modified": 2500, "threshold": 1}
    outcome = run(database, "p")
    assert (outcome.status, outcome.changed) == ("done", True)
    for name in ("p", "p1", "p2", "p2a", "p2b"):
        assert decide(database, name)[0].verdict == "unchanged", name
    assert decide(database, "p")[0].numbers == {"rows": 2500, "modified": 0, "threshold": 300}

    write(database, "UPDATE p SET d = now() WHERE id BETWEEN 850 AND 1149")  # 150 in each of two partitions
    (action,) = decide(database, "p")
    assert action.reason == f"300 of 2{THIN}500 rows changed since the last analyze (threshold 300)"
    assert run(database, "p").status == "done"
    assert decide(database, "p")[0].verdict == "unchanged"


def test_a_partition_in_use(database: Database) -> None:
    make_partitions(database)
    with closing(database.connect()) as other, other.cursor() as cursor, opened(database) as session:
        (action,) = decided(session, "p")
        cursor.execute("BEGIN; LOCK TABLE p2b IN SHARE UPDATE EXCLUSIVE MODE")
        (contended,) = decided(session, "p")
        assert contended.verdict == "contended"
        assert contended.reason.endswith("holds a ShareUpdateExclusiveLock on public.p2b")
        outcome = executed(session, action)
        assert (outcome.status, outcome.changed) == ("contended", True)
        assert outcome.reason.startswith("analyzed, but 1 partition was skipped: session ")


def test_a_partition_locked_against_reading(database: Database) -> None:
    make_partitions(database)
    with closing(database.connect()) as other, other.cursor() as cursor, opened(database) as session:
        (action,) = decided(session, "p")
        cursor.execute("BEGIN; LOCK TABLE p2b IN ACCESS EXCLUSIVE MODE")
        assert decided(session, "p")[0].verdict == "contended"
        session.set(lock_timeout=float("inf"))
        outcome = executed(session, action)
        assert (outcome.status, outcome.changed) == ("contended", False)
        assert session.row("SHOW lock_timeout") == {"lock_timeout": "1s"}


def test_a_partition_of_another_owner(database: Database) -> None:
    make_partitions(database)
    role = database.role("plain")
    database.sql(f"ALTER TABLE p OWNER TO {role}")
    (action,) = decide(database, "p", user=role)
    assert action.verdict == "failed"
    assert "its partition public.p1: " in action.reason


def test_a_partitioned_table_without_partitions(database: Database) -> None:
    database.sql("CREATE TABLE p (id int) PARTITION BY RANGE (id)")
    (action,) = decide(database, "p")
    assert (action.verdict, action.reason) == ("unchanged", "has no partitions")


def test_a_foreign_partition(database: Database) -> None:
    make(database, "far")
    database.sql("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    with closing(database.connect()) as connection:
        host, port = connection.info.host, str(connection.info.port)
    database.sql(
        """
        CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %s, port %s, dbname %s);
        CREATE USER MAPPING FOR postgres SERVER loop OPTIONS (user 'postgres');
        CREATE TABLE p (id int, note text) PARTITION BY RANGE (id);
        CREATE FOREIGN TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9999) SERVER loop OPTIONS (table_name 'far')
        """,
        [host, port, database.name],
    )
    assert run(database, "p").status == "done"
    assert decide(database, "p")[0].verdict == "unchanged"


def test_a_parent_older_than_its_partitions(private_server: PrivateServer) -> None:
    """Autovacuum analyzes partitions and so resets their counters, but never the parent."""
    database = private_server.create_database()
    make_partitions(database)
    run(database, "p")
    write(database, "ALTER TABLE p1 SET (autovacuum_analyze_threshold = 0, autovacuum_analyze_scale_factor = 0)")
    write(database, "DELETE FROM p WHERE id < 100")
    assert decide(database, "p")[0].verdict == "unchanged"
    private_server.restart(autovacuum="on", autovacuum_naptime="1s")
    database = Database(private_server, database.name)
    seen = "SELECT last_autoanalyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'p1'"
    until(lambda: bool(database.value(seen)), 120)
    # It is counted before the worker lets the table go.
    locks = "SELECT count(*) FROM pg_locks WHERE relation = 'p1'::regclass AND mode = 'ShareUpdateExclusiveLock'"
    until(lambda: not database.value(locks))
    (action,) = decide(database, "p")
    assert (action.verdict, action.numbers["modified"]) == (None, 0)
    assert action.reason == "autovacuum analyzed a partition since, but never the parent"
    assert run(database, "p").status == "done"
    assert decide(database, "p")[0].verdict == "unchanged"
