# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""refresh against real servers: nothing that changes a view's rows may slip past it, and what changes nothing is left alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2 import OperationalError, sql

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import (
    Action,
    Context,
    Effect,
    Outcome,
    refresh,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import names
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import until
from tests.servers import Database, PrivateServer, Server, Servers

Decided = tuple[str, str]  # outcome and reason

TABLE = """
CREATE TABLE item (id int PRIMARY KEY, grp int NOT NULL, label text);
INSERT INTO item SELECT i, i % 7, 'item ' || i FROM generate_series(1, 100) AS i;
"""
VIEW = """
CREATE MATERIALIZED VIEW per_group AS SELECT grp, count(*) AS items, max(label) AS latest FROM item GROUP BY grp;
CREATE UNIQUE INDEX ON per_group (grp);
"""


class Runner:
    """What the engine does around the operation, with the state kept here."""

    def __init__(self, database: Database, *views: str, dsn: str = "", **options: Any) -> None:
        self.database = database
        self.dsn = dsn or database.dsn
        self.options = {
            "view": None,
            "views": list(views),
            "concurrently": "auto",
            "max_age": 0,
            "force": False,
            **options,
        }
        self.state: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.seconds_left = 600.0
        self.sleep: Callable[[float], None] = time.sleep
        self.turns = 0

    def sql(self, *statements: str) -> list[Any]:
        """Commit statements in a session that is gone, its counters reported, when this returns; rows of the last one."""
        with contextlib.closing(self.database.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            pid = connection.info.backend_pid
        self.wait_until_gone(pid)
        return rows

    def wait_until_gone(self, pid: int) -> None:
        until(lambda: not self.database.server.sql("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]))

    def role(self) -> str:
        """A role without rights; the session that made it is gone."""
        name = self.database.role()
        self.database._connection.close()
        return name

    def session(self) -> contextlib.closing[Session]:
        return contextlib.closing(open_session(ConnectionOptions.read(self.dsn), "test"))

    def context(self, **more: Any) -> Context:
        return Context(check=False, state=self.state, seconds_left=lambda: self.seconds_left, **more)

    def decide(self, session: Session, **more: Any) -> list[Any]:
        context, options = self.context(**more), refresh.read(self.options)
        return list(refresh.decide(refresh.facts(session, options, context, self.sleep), options, context))

    def run(self) -> dict[str, Decided]:
        """Decide and execute; target -> outcome and reason, in the order of execution."""
        result = {}
        with self.session() as session:
            before = session.round_trips
            for action in self.decide(session):
                outcome = self.execute(session, action) if action.verdict is None else Outcome(action.verdict)
                result[action.target] = (outcome.status, outcome.reason or action.reason)
            self.turns = session.round_trips - before
            pid = session.server.backend_pid
        self.wait_until_gone(pid)
        for target, (status, _reason) in result.items():
            if status == "unchanged":
                assert_true(self.database, target)
        return result

    def execute(self, session: Session, action: Action[refresh.Refresh]) -> Outcome:
        outcome = refresh.execute(session, action, self.context())
        self.outcomes[action.target] = outcome
        if outcome.state is not None:
            self.state[action.target] = outcome.state
        return outcome

    def one(self) -> Decided:
        """The same for a single view."""
        [decided] = self.run().values()
        return decided


def assert_true(database: Database, target: str) -> None:
    """The view has exactly the rows of its definition."""
    name = names.parse_name(target)
    view = sql.Identifier(*filter(None, (name.schema, name.name)))
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT rtrim(pg_get_viewdef({}::regclass), ';')").format(sql.Literal(view.as_string(connection)))
        )
        definition = sql.SQL("({})").format(sql.SQL(cursor.fetchone()[0]))
        for query in ("SELECT * FROM {0} EXCEPT ALL {1}", "{1} EXCEPT ALL SELECT * FROM {0}"):
            cursor.execute(sql.SQL(query).format(view, definition))
            assert cursor.fetchall() == [], f"{target} is stale"


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """Apart from the other tests: settings of roles and databases that they change would cost a refresh here."""
    return servers.shared("refresh")


@pytest.fixture
def runner(database: Database) -> Runner:
    """A view that has just been refreshed."""
    return fresh(database)


def fresh(database: Database, setup: str = TABLE + VIEW, *views: str, **options: Any) -> Runner:
    made = Runner(database, *(views or ("per_group",)), **options)
    made.sql(setup)
    assert {outcome for outcome, _reason in made.run().values()} == {"done"}
    return made


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO item VALUES (101, 1, 'x')", "public.item has changed (1 row inserted) since the last refresh"),
        ("UPDATE item SET grp = 3 WHERE id <= 12", "public.item has changed (12 rows updated) since the last refresh"),
        ("DELETE FROM item WHERE id IN (1, 2)", "public.item has changed (2 rows deleted) since the last refresh"),
        ("COPY item FROM PROGRAM 'printf \"201\\t1\\tx\\n202\\t1\\t\\n\"'", "public.item has changed (2 rows inserted)"),
        ("TRUNCATE item", "public.item has been truncated or rewritten"),
        ("ALTER TABLE item ALTER id TYPE bigint", "public.item has been truncated or rewritten"),
        ("INSERT INTO item VALUES (101, 1); DELETE FROM item WHERE id < 3; TRUNCATE item", "public.item has been truncated"),
        ("MERGE INTO item USING (VALUES (1), (300)) v (id) ON v.id = item.id WHEN MATCHED THEN DELETE "
         "WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1)", "(1 row inserted, 1 deleted)"),
        ("DROP MATERIALIZED VIEW per_group;" + VIEW, "it has been created anew since the last refresh"),
        ("REFRESH MATERIALIZED VIEW per_group WITH NO DATA", "it is not populated"),
        ("REFRESH MATERIALIZED VIEW per_group", "it has been refreshed or rewritten by somebody else"),
        ("SELECT pg_stat_reset()", "the server's statistics began anew"),
        ("SELECT pg_stat_reset_single_table_counters('item'::regclass)", "the server's statistics began anew"),
        ("ALTER TABLE item ADD extra int", "public.item has got other columns"),
    ],
)  # fmt: skip
def test_a_change_is_seen(runner: Runner, statement: str, reason: str) -> None:
    assert runner.one() == ("unchanged", runner.run()["public.per_group"][1])
    runner.sql(statement)
    outcome, why = runner.one()
    assert (outcome, reason in why) == ("done", True), why
    assert_true(runner.database, "public.per_group")
    assert runner.one()[0] == "unchanged"


def test_what_changes_nothing_is_left_alone(runner: Runner) -> None:
    runner.sql("CREATE TABLE other (a int)", "INSERT INTO other VALUES (1)", "VACUUM ANALYZE item", "VACUUM per_group")
    runner.sql(
        "CREATE INDEX ON item (grp)", "BEGIN; ALTER TABLE item ADD nothing int; ROLLBACK", "SELECT * FROM per_group"
    )
    outcome, why = runner.one()
    assert outcome == "unchanged"
    assert why.startswith("nothing has changed since the refresh of 20")
    assert why.endswith(" UTC")
    assert runner.turns == 1


def test_a_change_that_was_rolled_back_costs_a_refresh_at_most(runner: Runner) -> None:
    runner.sql("BEGIN; DELETE FROM item; ROLLBACK")
    assert runner.one() == ("done", "public.item has changed (100 rows deleted) since the last refresh")
    assert not runner.outcomes["public.per_group"].changed
    assert runner.one()[0] == "unchanged"


def test_a_change_between_fingerprint_and_refresh_or_during_it(runner: Runner) -> None:
    runner.sql("INSERT INTO item VALUES (1001, 1, 'first')")
    open_change = runner.database.connect()
    with open_change.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO item VALUES (1002, 2, 'open while the view is refreshed')")
    with runner.session() as session:
        [action] = runner.decide(session)
        original = session.row

        def interfere(query: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
            if "REFRESH" in session.text(query):
                runner.sql("INSERT INTO item VALUES (1003, 3, 'after the fingerprint')")
            return original(query, *arguments, **keywords)

        session.row = interfere  # type: ignore[method-assign]
        assert runner.execute(session, action).status == "done"
    open_change.commit()
    with open_change.cursor() as cursor:
        cursor.execute("COMMIT")
    open_change.close()
    outcome, why = runner.one()
    assert outcome == "done"
    assert why.startswith("public.item has changed (")
    assert_true(runner.database, "public.per_group")


def test_views_and_materialized_views_below(database: Database) -> None:
    runner = fresh(database, TABLE + VIEW + """
        CREATE VIEW labelled AS SELECT id, grp FROM item WHERE label IS NOT NULL;
        CREATE VIEW twice AS SELECT * FROM labelled UNION ALL SELECT * FROM labelled;
        CREATE MATERIALIZED VIEW over_views AS SELECT grp, count(*) FROM twice GROUP BY grp;
        CREATE MATERIALIZED VIEW top AS SELECT sum(items) AS items FROM per_group;
        """, "top", "over_views", "per_group")  # fmt: skip
    assert {outcome for outcome, _ in runner.run().values()} == {"unchanged"}
    runner.sql("INSERT INTO item VALUES (500, 1, 'x')")
    result = runner.run()
    assert list(result).index("public.per_group") < list(result).index("public.top")
    assert result["public.top"] == (
        "done",
        "public.per_group is refreshed before it; plain, which blocks readers: no unique index on plain columns",
    )
    assert result["public.over_views"][1].startswith("public.item has changed")
    assert {outcome for outcome, _ in runner.run().values()} == {"unchanged"}
    runner.sql("CREATE OR REPLACE VIEW labelled AS SELECT id, grp FROM item WHERE label IS NULL")
    result = runner.run()
    assert result["public.over_views"][1].startswith("its definition has changed since the last refresh")
    assert [outcome for outcome, _ in result.values()].count("unchanged") == 2


def test_a_materialized_view_below_that_somebody_else_refreshes(database: Database) -> None:
    runner = fresh(
        database, TABLE + VIEW + "CREATE MATERIALIZED VIEW top AS SELECT sum(items) AS items FROM per_group", "top"
    )
    runner.sql("INSERT INTO item VALUES (500, 1, 'x')")
    assert runner.one()[0] == "unchanged"
    runner.sql("REFRESH MATERIALIZED VIEW CONCURRENTLY per_group")
    assert "public.per_group has changed (1 row inserted, 1 deleted)" in runner.one()[1]
    runner.sql("REFRESH MATERIALIZED VIEW per_group")
    assert "public.per_group has been truncated or rewritten" in runner.one()[1]


def test_partitions_and_inheritance(database: Database) -> None:
    runner = fresh(database, """
        CREATE TABLE part (id int, day int) PARTITION BY RANGE (day);
        CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (day);
        CREATE TABLE part_1_leaf PARTITION OF part_1 FOR VALUES FROM (0) TO (5);
        CREATE TABLE part_2 (id int, day int);
        INSERT INTO part_2 VALUES (1, 11);
        CREATE TABLE parent (id int);
        CREATE TABLE child () INHERITS (parent);
        CREATE MATERIALIZED VIEW over_parts AS SELECT count(*) FROM part;
        CREATE MATERIALIZED VIEW over_parent AS SELECT count(*) FROM parent;
        """, "over_parts", "over_parent")  # fmt: skip

    def due() -> list[str]:
        result = runner.run()
        for target in result:
            assert_true(database, target)
        return [target + ": " + why.split(";")[0] for target, (outcome, why) in result.items() if outcome == "done"]

    assert due() == []
    runner.sql("INSERT INTO part_1_leaf VALUES (2, 2)")
    assert due() == ["public.over_parts: public.part_1_leaf has changed (1 row inserted) since the last refresh"]
    runner.sql("INSERT INTO part VALUES (2, 3)")
    assert len(due()) == 1
    runner.sql("ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20)")
    assert due() == ["public.over_parts: it reads public.part_2 since the last refresh"]
    runner.sql("ALTER TABLE part DETACH PARTITION part_2")
    assert due() == ["public.over_parts: it no longer reads 1 of the tables it read"]
    runner.sql("INSERT INTO child VALUES (1)")
    assert due() == ["public.over_parent: public.child has changed (1 row inserted) since the last refresh"]
    runner.sql("ALTER TABLE child NO INHERIT parent")
    assert due() == ["public.over_parent: it no longer reads 1 of the tables it read"]


UNTRACKABLE = {
    "now": ("", "SELECT count(*) FROM item WHERE now() > '2020-01-01'", "calls now()"),
    "current_date": ("", "SELECT CURRENT_DATE AS d FROM item", "uses CURRENT_DATE"),
    "in a view below": ("CREATE VIEW below AS SELECT now() AS n", "SELECT * FROM below", "calls now()"),
    "in a subquery": ("", "SELECT (SELECT max(t) FROM (SELECT clock_timestamp() AS t) AS s)", "calls clock_timestamp()"),
    "volatile": ("", "SELECT random() AS r FROM item", "calls random()"),
    "stable operator": (
        "ALTER TABLE item ADD at timestamptz",
        "SELECT at + interval '1 day' AS t FROM item", "calls timestamptz_pl_interval()"),
    "user function": (
        "CREATE FUNCTION f(int) RETURNS bigint IMMUTABLE RETURN (SELECT count(*) FROM item)",
        "SELECT f(1)", "calls f()"),
    "user aggregate": (
        "CREATE FUNCTION add(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2';"
        "CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int)",
        "SELECT total(id) FROM item", "calls total()"),
    "user operator": (
        "CREATE FUNCTION same(int, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true';"
        "CREATE OPERATOR === (FUNCTION = same, LEFTARG = int, RIGHTARG = text)",
        "SELECT id === label AS b FROM item", "calls same()"),
    "foreign table": (
        "CREATE FOREIGN TABLE far (a text) SERVER files OPTIONS (filename '/dev/null')",
        "SELECT * FROM far", "reads the foreign table case_"),
    "foreign partition": (
        "CREATE TABLE p (a text) PARTITION BY LIST (a);"
        "CREATE FOREIGN TABLE far PARTITION OF p DEFAULT SERVER files OPTIONS (filename '/dev/null')",
        "SELECT * FROM p", "reads the foreign table case_"),
    "sequence": ("CREATE SEQUENCE s", "SELECT last_value FROM s", "reads the sequence case_"),
    "catalog": ("", "SELECT count(*) FROM pg_class", "reads the system catalog pg_catalog.pg_class"),
    "catalog view": ("", "SELECT count(*) FROM pg_stat_activity", "reads the system catalog"),
    "tablesample": ("", "SELECT * FROM item TABLESAMPLE system (50)", "uses TABLESAMPLE"),
    "row security": ("ALTER TABLE item ENABLE ROW LEVEL SECURITY", "SELECT * FROM item", "row-level security"),
    "text of a date": ("ALTER TABLE item ADD d date", "SELECT d::text FROM item", "converts to or from text"),
    "text of a row": ("", "SELECT ROW(id, label)::text FROM item", "converts to or from text"),
    "json": ("", "SELECT JSON_OBJECT('a': id) FROM item", "expression of kind JSON"),
}  # fmt: skip


def test_what_cannot_be_tracked_is_always_refreshed(database: Database) -> None:
    views = {case: f"case_{number}.v" for number, case in enumerate(UNTRACKABLE)}
    schemas = [
        f"CREATE SCHEMA case_{number}; SET search_path = case_{number}, public; {TABLE} {setup};"
        f"CREATE MATERIALIZED VIEW v AS {query};"
        for number, (setup, query, _reason) in enumerate(UNTRACKABLE.values())
    ]
    files = "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
    runner = fresh(database, files + "".join(schemas), *views.values())
    result = runner.run()
    assert list(result) == list(views.values())
    wrong = {
        case: result[view] for case, view in views.items() if not _refreshed_because(result[view], UNTRACKABLE[case][2])
    }
    assert not wrong


def _refreshed_because(decided: Decided, words: str) -> bool:
    outcome, why = decided
    return outcome == "done" and "its definition " in why and words in why


def test_ordinary_queries_are_tracked(database: Database) -> None:
    """What people write, subscriptions and the like, must not fall into the always-refresh class."""
    runner = fresh(database, TABLE + """
        CREATE TYPE state AS ENUM ('active', 'past');
        ALTER TABLE item ADD state state, ADD at timestamp, ADD data jsonb, ADD ref uuid, ADD flags int[];
        CREATE MATERIALIZED VIEW v AS
        WITH RECURSIVE up AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM up WHERE n < 3),
        latest AS (SELECT DISTINCT ON (grp) * FROM item ORDER BY grp, at DESC NULLS LAST, id)
        SELECT l.id, l.grp::text AS grp, l.ref::text AS ref, coalesce(l.label, 'none') AS label, l.state = 'active' AS active,
               CASE WHEN l.at > timestamp '2020-01-01' THEN 'new' ELSE 'old' END AS age, l.data ->> 'x' AS x, l.flags[1] AS flag,
               row_number() OVER (PARTITION BY l.grp ORDER BY l.id) AS place, greatest(l.id, 5) AS big,
               l.label LIKE 'item%' AS item,
               l.id IN (SELECT n FROM up) AS up, NULLIF(l.id, 3) AS n, array_agg(i.id ORDER BY i.id) AS ids,
               count(*) FILTER (WHERE i.label IS NOT NULL) AS labelled, upper(l.label) COLLATE "C" AS upper,
               EXISTS (SELECT FROM item AS e WHERE e.grp = l.grp) AS e, l.label IS DISTINCT FROM 'x' AS d
        FROM latest AS l LEFT JOIN item AS i ON i.grp = l.grp AND i.state IN ('active', 'past')
        GROUP BY l.id, l.grp, l.ref, l.label, l.state, l.at, l.data, l.flags
        """, "v")  # fmt: skip
    outcome, why = runner.one()
    assert outcome == "unchanged", why


def test_virtual_columns(database: Database) -> None:
    """Their expression can change without any row changing."""
    runner = fresh(database, """
        CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO t VALUES (1);
        CREATE MATERIALIZED VIEW v AS SELECT b FROM t
        """, "v")  # fmt: skip
    assert runner.one()[0] == "unchanged"
    runner.sql("ALTER TABLE t ALTER b SET EXPRESSION AS (a * 3)")
    assert runner.one()[0] == "done"
    assert_true(database, "public.v")


def test_counting_switched_off(runner: Runner) -> None:
    runner.dsn += " options='-c track_counts=off'"
    outcome, why = runner.one()
    assert outcome == "done"
    assert why.startswith("track_counts is off")


# Other sessions. They report what they changed late, which only a real server's timers can show.


@contextlib.contextmanager
def other_session(database: Database, user: str = "postgres") -> Iterator[Any]:
    with contextlib.closing(database.connect(user)) as connection, connection.cursor() as cursor:
        yield cursor


def commit_uncounted(runner: Runner, cursor: Any) -> None:
    """Update one row so that the counters do not show it yet.

    A session reports when it goes idle, but not twice within a second; to connect is the first time. On a machine so slow
    that this second is over, the change is counted, the view refreshed, and the next try comes within a second.
    """
    counter = "SELECT pg_stat_get_tuples_updated('item'::regclass)"
    for _attempt in range(10):
        before = runner.sql(counter)
        cursor.execute("UPDATE item SET label = label || 'x' WHERE id = 1")
        if runner.sql(counter) == before:
            return
        runner.one()
    pytest.fail("every change was counted at once: there is nothing to show")


def test_an_idle_session_whose_change_is_not_counted_yet(runner: Runner) -> None:
    with other_session(runner.database) as cursor:
        commit_uncounted(runner, cursor)
        assert runner.one() == ("done", "public.item has changed (1 row updated) since the last refresh")
        assert_true(runner.database, "public.per_group")
        assert runner.one()[0] == "unchanged"
        assert runner.turns == 1, "who has been idle that long has reported"


def test_a_session_that_is_never_idle_for_long(runner: Runner) -> None:
    """That it is idle anew proves nothing, so there is no use in waiting."""
    with other_session(runner.database) as cursor:
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            time.sleep(seconds)
            cursor.execute("SELECT 1")

        runner.sleep = sleep
        outcome, why = runner.one()
        assert outcome == "done"
        assert f"session {cursor.connection.info.backend_pid} was busy for the " in why
        assert sum(pauses) < 4


def test_a_session_that_stays_in_its_transaction(runner: Runner) -> None:
    with other_session(runner.database) as cursor:
        commit_uncounted(runner, cursor)
        cursor.execute("BEGIN; SELECT FROM item")
        pid = cursor.connection.info.backend_pid
        runner.seconds_left = 1.8  # enough for one more look
        outcome, why = runner.one()
        assert outcome == "done"
        assert re.match(
            f"session {pid} was in a transaction for the .* s that we waited, and may have changed rows", why
        )
        # Open since before the last refresh, and nothing was committed in it since: no reason to wait.
        assert runner.one()[0] == "unchanged"
        assert runner.turns == 1
        # The same with a role that may not see what others do.
        role = runner.role()
        runner.sql(f"GRANT MAINTAIN ON per_group TO {role}")
        runner.dsn = runner.database.dsn_as(role)
        assert runner.one()[0] == "unchanged"
        assert runner.turns == 1
        cursor.execute("COMMIT; BEGIN; SELECT FROM item")
        runner.seconds_left = 1
        assert f"session {pid} was in a transaction and there is no time to wait" in runner.one()[1]
        cursor.execute("COMMIT")
    outcome, why = runner.one()
    assert outcome == "done"
    assert why.startswith("public.item has changed (1 row updated)")


def test_two_refreshes_at_once(runner: Runner) -> None:
    runner.sql("INSERT INTO item VALUES (300, 1, 'x')")
    with other_session(runner.database) as cursor:
        cursor.execute("BEGIN; REFRESH MATERIALIZED VIEW CONCURRENTLY per_group")
        with runner.session() as session:
            [action] = runner.decide(session)
            runner.seconds_left = 2.4  # no second try
            with pytest.raises(Contended):
                runner.execute(session, action)
            runner.seconds_left = 600
            threading.Timer(0.5, cursor.execute, ["COMMIT"]).start()
            assert runner.execute(session, action).status == "done"
    # A commit gives back its locks just before it reports: what the other one did may have been counted after ours.
    outcome, why = runner.one()
    if outcome != "unchanged":
        assert why == "it has been refreshed or rewritten by somebody else"
        assert runner.one()[0] == "unchanged"


# Crash and restart


def statistics_reset_by_crash(private: PrivateServer, database: Database) -> None:
    private.crash()
    private.start()


def backend_killed(private: PrivateServer, database: Database) -> None:
    """All other backends restart, the postmaster does not."""
    with contextlib.suppress(OperationalError), other_session(database) as cursor:
        os.kill(cursor.connection.info.backend_pid, signal.SIGKILL)
        until(lambda: cursor.execute("SELECT 1"))
    until(lambda: accepts(database))


def restarted(private: PrivateServer, database: Database) -> None:
    private.restart()


def accepts(database: Database) -> bool:
    with contextlib.suppress(OperationalError):
        database.connect().close()
        return True
    return False


def test_crash_and_restart(private_server: PrivateServer) -> None:
    """The counters are the same before and after, or nothing again: that proves nothing."""
    database = private_server.create_database()
    runner = fresh(database, "CREATE TABLE item (id int, grp int, label text);" + VIEW)
    for happens in (statistics_reset_by_crash, backend_killed, restarted):
        assert runner.one()[0] == "unchanged"
        happens(private_server, database)
        outcome, why = runner.one()
        assert (outcome, why) == (
            "done",
            "the server's statistics began anew after the last refresh (restart, crash or reset)",
        ), happens


def test_crash_between_change_and_report(private_server: PrivateServer) -> None:
    database = private_server.create_database()
    runner = fresh(database)
    with other_session(database) as cursor:
        cursor.execute("INSERT INTO item VALUES (1000, 1, 'x')")
        private_server.crash()
    private_server.start()
    assert runner.one()[0] == "done"
    assert_true(database, "public.per_group")


# Options, rights, names


def test_how_it_is_refreshed(database: Database) -> None:
    runner = fresh(database, TABLE + """
        CREATE MATERIALIZED VIEW v AS SELECT id, grp, label FROM item WITH NO DATA;
        CREATE UNIQUE INDEX ON v ((id + 1)); CREATE UNIQUE INDEX ON v (id) WHERE grp > 0; CREATE INDEX ON v (id)
        """, "v", force=True, concurrently="require")  # fmt: skip
    assert runner.outcomes["public.v"].rows == 100
    assert runner.outcomes["public.v"].numbers["method"] == "plain"
    assert runner.one() == ("failed", "concurrently: require needs a unique index on plain columns: "
                            "CREATE UNIQUE INDEX ON public.v (columns that identify a row)")  # fmt: skip
    runner.options["concurrently"] = "auto"
    assert runner.one() == ("done", "force is set; plain, which blocks readers: no unique index on plain columns")
    runner.sql("CREATE UNIQUE INDEX ON v (id)")
    assert runner.one() == ("unchanged", "force is set: it was refreshed, and no row was different")
    assert runner.outcomes["public.v"].numbers["method"] == "concurrently"
    assert not runner.outcomes["public.v"].changed
    runner.options["concurrently"] = "never"
    assert runner.one() == ("done", "force is set")
    assert runner.outcomes["public.v"].numbers["method"] == "plain"
    assert runner.outcomes["public.v"].changed


def test_what_a_refresh_reports(runner: Runner) -> None:
    runner.sql("DELETE FROM item WHERE grp = 1", "UPDATE item SET label = 'zz' WHERE grp = 2")
    assert runner.one()[0] == "done"
    outcome = runner.outcomes["public.per_group"]
    assert outcome.changed
    assert outcome.rows == 1
    assert outcome.numbers["inserted"] == 1
    assert outcome.numbers["deleted"] == 2
    assert outcome.numbers["bytes_before"] > 0
    assert outcome.numbers["bytes_after"] > 0
    assert outcome.numbers["seconds"] > 0


def test_first_refresh_in_check_mode_forecast_and_no_history(runner: Runner) -> None:
    with runner.session() as session:
        oid = session.row("SELECT 'public.item'::regclass::oid::bigint AS oid")["oid"]
        [action] = runner.decide(session, forecast={oid: Effect(rows=None)})
        assert (action.verdict, action.reason) == (None, "public.item is about to change")
        assert action.statements[0] == "REFRESH MATERIALIZED VIEW CONCURRENTLY public.per_group"
        runner.state = {}
        [action] = runner.decide(session, history=False, history_note="no right to create the schema maintenance")
        assert action.reason == "no earlier refresh is known (no right to create the schema maintenance)"


def test_max_age(runner: Runner) -> None:
    runner.options["max_age"] = 3600
    assert runner.one()[0] == "unchanged"
    runner.state["public.per_group"]["read_at"] -= 2 * 3600
    assert runner.one() == ("done", "the last refresh is 2 h old (max_age: 1 h)")
    assert runner.one()[0] == "unchanged"


def test_dead_rows_are_vacuumed(database: Database) -> None:
    runner = fresh(database, """
        CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 3000) AS i;
        CREATE MATERIALIZED VIEW v AS SELECT * FROM t; CREATE UNIQUE INDEX ON v (id)
        """, "v")  # fmt: skip
    runner.sql("UPDATE t SET n = 1 WHERE id <= 1200")
    assert runner.one()[0] == "done"
    assert "vacuum" not in runner.outcomes["public.v"].numbers
    runner.sql("UPDATE t SET n = 2 WHERE id <= 1200")
    assert runner.one()[0] == "done"
    assert runner.outcomes["public.v"].numbers["vacuum"] == "done"
    assert runner.outcomes["public.v"].numbers["dead_rows"] == 2400
    assert runner.one()[0] == "unchanged"


@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        ("grp", "make the rows of the definition distinct, or set concurrently: never"),
        ("grp, label", "correct the definition, or drop the unique index that its rows do not fit"),
    ],
)
def test_rows_that_a_concurrent_refresh_cannot_take(database: Database, columns: str, advice: str) -> None:
    view = f"CREATE MATERIALIZED VIEW v AS SELECT {columns} FROM item WHERE id < 3; CREATE UNIQUE INDEX ON v (grp)"
    runner = fresh(database, TABLE + view, "v")
    runner.sql("UPDATE item SET grp = 1")
    for _run in range(2):
        outcome, why = runner.one()
        assert outcome == "failed"
        assert why.endswith(advice)


def test_no_right_to_refresh(runner: Runner) -> None:
    role = runner.role()
    runner.dsn = runner.database.dsn_as(role)
    grant = f"GRANT MAINTAIN ON TABLE public.per_group TO {role}"
    assert runner.one() == ("failed", f"role {role} may not refresh it: {grant}")
    runner.sql(grant, "INSERT INTO item VALUES (300, 1, 'x')")
    assert runner.one()[0] == "done"
    assert runner.one()[0] == "unchanged"


@pytest.mark.parametrize("name", ["Upper Case", 'quo"te', "a.dot", "đơn.giá", "select", "x" * 63, "100%"])
def test_names(database: Database, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    option = f"{quoted}.{quoted}"
    table = f'{quoted}."t{quoted[2:]}'  # the first letter replaced
    runner = fresh(database, f"""
        CREATE SCHEMA {quoted}; CREATE TABLE {table} (id int);
        CREATE MATERIALIZED VIEW {option} AS SELECT id FROM {table}; CREATE UNIQUE INDEX ON {option} (id)
        """, option)  # fmt: skip
    assert runner.one()[0] == "unchanged"
    runner.sql(f"INSERT INTO {table} VALUES (1)")
    assert runner.one() == (
        "done",
        f"{names.display(name, 't' + name[1:])} has changed (1 row inserted) since the last refresh",
    )
    assert runner.outcomes[names.display(name, name)].rows == 1


def test_one_bad_name_does_not_stop_the_others(runner: Runner) -> None:
    runner.options["views"] = ["per_grup", "item", "per_group", "public.per_group"]
    runner.state = {}
    result = runner.run()
    assert result["public.per_group"][0] == "done"
    assert result["per_grup"][0] == "failed"
    assert "did you mean public.per_group?" in result["per_grup"][1]
    assert result["public.item"] == ("failed", "public.item is a table, not a materialized view")
    assert len(result) == 3


def test_oldest_supported_statistics(postgres15: Server) -> None:
    database = postgres15.create_database()
    try:
        views = "CREATE VIEW w AS SELECT * FROM item; CREATE MATERIALIZED VIEW v AS SELECT id::text FROM w"
        runner = fresh(database, TABLE + VIEW + views, "v", "per_group")
        assert {outcome for outcome, _ in runner.run().values()} == {"unchanged"}
        runner.sql("INSERT INTO item VALUES (300, 1, 'x')")
        assert {outcome for outcome, _ in runner.run().values()} == {"done"}
        runner.sql("SELECT pg_stat_reset_single_table_counters('item'::regclass)")
        assert {outcome for outcome, _ in runner.run().values()} == {"done"}
    finally:
        database.close()
