# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""index against real servers: what is equal stays, what differs is replaced amid the traffic, and kills leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import index as operation
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import concurrently, policy, waits
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.index_definition import working_name
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import only, playbook, until
from tests.servers import REPOSITORY, Database

TABLE = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE item (id serial PRIMARY KEY, grp int, label text, made timestamp, data jsonb, place point, tags text[],
                   number int GENERATED ALWAYS AS IDENTITY, double int GENERATED ALWAYS AS (grp * 2) STORED);
INSERT INTO item (grp, label, made, data, place)
    SELECT i % 7, 'Item ' || i, '2026-01-01', jsonb_build_object('n', i), point(i, i) FROM generate_series(1, 300) AS i;
CREATE FUNCTION slug(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION whole(item) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.label';
"""
# A build over this expression stands still as long as somebody holds advisory lock 42.
GATE = """
CREATE FUNCTION gate(value int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(42);
    PERFORM pg_advisory_unlock_shared(42);
    RETURN value;
END $$
"""
GATED = "CREATE INDEX wanted ON item (gate(grp))"
BUILDING = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
PARTITIONED = """
CREATE TABLE event (id int, kind text, at date) PARTITION BY RANGE (id);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (100);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (100) TO (200) PARTITION BY LIST (kind);
CREATE TABLE event_2a PARTITION OF event_2 FOR VALUES IN ('a');
CREATE TABLE "Event 2 rest" (at date, gone int, kind text, id int);
ALTER TABLE "Event 2 rest" DROP COLUMN gone;
ALTER TABLE event_2 ATTACH PARTITION "Event 2 rest" DEFAULT;
INSERT INTO event SELECT i, CASE WHEN i % 3 = 0 THEN 'a' ELSE 'b' END, '2026-01-01' FROM generate_series(0, 199) AS i;
"""
DEFINITIONS = [
    "CREATE INDEX wanted ON item (grp)",
    "create index concurrently if not exists WANTED on only_one.Item (grp)",
    "CREATE INDEX wanted ON public.item USING hash (label);",
    "CREATE UNIQUE INDEX wanted ON item (id, grp DESC NULLS LAST) INCLUDE (label)",
    """CREATE INDEX wanted ON item (slug(item.label) COLLATE "C", ((data ->> 'n')::int)) WITH (fillfactor = 70) WHERE grp > 3""",
    "CREATE INDEX wanted ON item (label text_pattern_ops) WITH (deduplicate_items = off, fillfactor=60)",
    "CREATE INDEX wanted ON item USING gin (data jsonb_path_ops) WITH (fastupdate = off)",
    "CREATE INDEX wanted ON item USING gin (tags)",
    "CREATE INDEX wanted ON item USING gist (label gist_trgm_ops (siglen = 32))",
    "CREATE INDEX wanted ON item USING gist (place)",
    "CREATE INDEX wanted ON item USING spgist (place)",
    "CREATE INDEX wanted ON item USING brin (made) WITH (pages_per_range = 8, autosummarize = on)",
    "CREATE UNIQUE INDEX wanted ON only_one.item (grp) NULLS NOT DISTINCT",
    "CREATE INDEX wanted ON item (whole(item), grp) WHERE whole(item.*) > 'a'",
    "CREATE INDEX wanted ON item (double) TABLESPACE pg_default "
    "WHERE label <> ';' AND label <> $x$ WHERE WITH ( ; -- $x$ AND label NOT LIKE '%{tail}%s'",
    '/* a /* nested */ comment */ CREATE INDEX "Wanted; ""now""" '
    """ON "Odd Schema"."odd ""table" ("A b", where_) -- end;\n;""",
    "CREATE INDEX wanted ON totals (grp)",
]
OTHERS = """
CREATE SCHEMA only_one; CREATE TABLE only_one.item (grp int);
CREATE SCHEMA "Odd Schema"; CREATE TABLE "Odd Schema"."odd ""table" ("A b" int, where_ text);
CREATE MATERIALIZED VIEW totals AS SELECT grp, count(*) AS items FROM item GROUP BY grp;
"""


@pytest.fixture
def database(database: Database) -> Database:
    """A database with a table."""
    database.sql(TABLE)
    return database


@pytest.fixture(params=["server", "postgres15"])
def each(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same on the newest server and on an older one, for what the server prints and how it builds."""
    made = request.getfixturevalue(request.param).create_database()
    made.sql(TABLE)
    yield made
    made.close()


def result(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    """What the module returns."""
    parameters = _edge.validated("index", {"dsn": database.dsn_as(user), **options})
    return _edge.perform(parameters, check)


def act(database: Database, definition: str = "", check: bool = False, **options: Any) -> dict[str, Any]:
    """The one action of a run of the module."""
    if definition:
        options["definition"] = definition
    return only(result(database, check, **options))


def indexes(database: Database, table: str = "item") -> dict[str, tuple[bool, str]]:
    """name -> validity and definition, without the primary key."""
    query = """SELECT c.relname, i.indisvalid AND i.indisready AND i.indislive, pg_get_indexdef(i.indexrelid)
               FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
               WHERE i.indrelid = %s::regclass AND NOT i.indisprimary"""
    return {name: (valid, text) for name, valid, text in database.sql(query, [table])}


def everything(database: Database) -> list[tuple[Any, ...]]:
    """All that a look must not change."""
    rows = database.sql(
        "SELECT 'relation', oid::text, relname, relfilenode::text FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace"
    )
    rows += database.sql("SELECT 'schema', oid::text, nspname, '' FROM pg_namespace")
    rows += database.sql("SELECT 'sequence', schemaname, sequencename, last_value::text FROM pg_sequences")
    rows += database.sql("SELECT 'type', oid::text, typname, '' FROM pg_type")
    return sorted(rows)


@contextmanager
def transaction(database: Database, *statements: str) -> Iterator[Any]:
    """A transaction of somebody else, open until the end or its end; yields the connection."""
    with closing(psycopg2.connect(database.dsn)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield connection


@contextmanager
def gate_closed(database: Database) -> Iterator[Any]:
    """Builds over gate() stand still; yields the connection whose end lets them go on."""
    database.sql(GATE)
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
        yield connection


@contextmanager
def running(database: Database, definition: str, **options: Any) -> Iterator[list[dict[str, Any]]]:
    """The module in a thread; its action is in the list after the block."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(act(database, definition, **options)))
    thread.start()
    try:
        yield found
    finally:
        thread.join(200)
        assert not thread.is_alive()


def test_every_kind_is_predicted_made_and_recognised(each: Database) -> None:
    each.sql(OTHERS)
    for definition in DEFINITIONS:
        check_kind(each, definition)


def check_kind(database: Database, definition: str) -> None:
    """Check, do, do again, check again, and away with it."""
    before = everything(database)
    planned = act(database, definition, check=True)
    assert (planned["outcome"], planned["changed"]) == ("planned", True), definition
    assert everything(database) == before, definition
    done = act(database, definition)
    assert (done["outcome"], done["changed"]) == ("done", True), definition
    assert done["statements"] == planned["statements"], definition
    assert done["numbers"]["bytes"] > 0, definition
    made = everything(database)
    for check in (False, True):
        again = act(database, definition, check=check)
        assert (again["outcome"], again["changed"], again["statements"]) == ("unchanged", False, []), definition
    assert [row for row in everything(database) if row not in made and "maintenance" not in str(row)] == [], definition
    assert act(database, definition, state="absent")["outcome"] == "done", definition


def test_it_is_the_index_that_the_statement_makes(each: Database) -> None:
    definition = "CREATE UNIQUE INDEX {} ON item (slug(label), id DESC) INCLUDE (grp) WITH (fillfactor=70) WHERE id > 0"
    act(each, definition.format("wanted"))
    each.sql(definition.format("made_by_hand"))
    found = indexes(each)
    assert found["wanted"][1].replace("wanted", "made_by_hand") == found["made_by_hand"][1]
    assert found["wanted"][0]


SPELLINGS = [
    ("(label) WITH (fillfactor=60, deduplicate_items=off)", "(label) WITH (deduplicate_items=off, fillfactor='60')"),
    ("(grp) WHERE label = 'x'", "USING btree (grp ASC NULLS LAST) WHERE (label = 'x'::text)"),
    ("(slug(label))", "( (public.slug(item.label)) ) TABLESPACE pg_default"),
]


def test_another_spelling_is_no_difference(each: Database) -> None:
    for there, wanted in SPELLINGS:
        each.sql(f"DROP INDEX IF EXISTS wanted; CREATE INDEX wanted ON item {there}")
        assert act(each, f"CREATE INDEX wanted ON item {wanted}")["outcome"] == "unchanged", wanted


DIFFERENCES = [
    "INDEX wanted ON item (label)",
    "UNIQUE INDEX wanted ON item (label)",
    "INDEX wanted ON item (label DESC)",
    'INDEX wanted ON item (label COLLATE "C") WHERE grp > 0 AND id > 0',
    "INDEX wanted ON item (label text_pattern_ops) WHERE grp > 0",
    "INDEX wanted ON item (label) INCLUDE (id) WHERE grp > 0",
    "INDEX wanted ON item (label) WITH (fillfactor=50) WHERE grp > 0",
    "INDEX wanted ON item USING hash (label) WHERE grp > 0",
    "INDEX wanted ON item (lower(label)) WHERE grp > 0",
]


def test_every_difference_is_seen_and_shown(database: Database) -> None:
    for other in DIFFERENCES:
        database.sql(f"DROP INDEX IF EXISTS wanted; CREATE {other}")
        returned = result(database, definition="CREATE INDEX wanted ON item (label) WHERE grp > 0")
        assert only(returned)["reason"] == "its definition is different", other
        [diff] = returned["diff"]
        assert diff["before"] != diff["after"]
        assert diff["after"] == "CREATE INDEX wanted ON public.item USING btree (label) WHERE (grp > 0)\n"
        assert indexes(database) == {"wanted": (True, diff["after"].strip())}


def test_at_every_moment_of_a_replacement_there_is_an_index(database: Database) -> None:
    wanted = ["CREATE INDEX wanted ON item (label)", "CREATE INDEX wanted ON item (label, grp)"]
    act(database, wanted[0])
    database.sql("COMMENT ON INDEX wanted IS 'why''s it there'")
    gaps, looks, over = [], [], threading.Event()

    def look() -> None:
        # One that was there when the look began may be dropped before it is printed: NULL.
        query = """SELECT count(*) FROM pg_index WHERE indrelid = 'item'::regclass AND NOT indisprimary AND indisvalid
                   AND indisready AND indislive AND coalesce(pg_get_indexdef(indexrelid) ~ '[(]label(, grp)?[)]', true)"""
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            while not over.is_set():
                with suppress(psycopg2.errors.InternalError_):  # an index that is dropped while it is printed
                    cursor.execute(query)
                    looks.append(1)
                    if cursor.fetchone() == (0,):
                        gaps.append(len(looks))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        rounds = 0
        while rounds < 6 or (len(looks) <= rounds and watcher.is_alive()):
            rounds += 1
            assert act(database, wanted[rounds % 2])["outcome"] == "done"
    finally:
        over.set()
        watcher.join()
    assert gaps == []
    assert len(looks) > rounds  # however slow the machine is
    assert list(indexes(database)) == ["wanted"]
    assert database.value("SELECT obj_description('wanted'::regclass)") == "why's it there"


def test_upserts_are_warned_of_where_they_fail_meanwhile(database: Database) -> None:
    cases = [
        ("CREATE UNIQUE INDEX wanted ON item (label)", "present", True),  # beside the primary key
        ("CREATE UNIQUE INDEX wanted ON item (label) WITH (fillfactor = 70)", "present", True),
        ("CREATE UNIQUE INDEX wanted ON item (label) WITH (fillfactor = 70)", "present", False),  # it is there
        ("CREATE INDEX wanted ON item (label)", "present", True),  # the old one is dropped
        ("CREATE INDEX wanted ON item (grp)", "present", False),
        ("CREATE INDEX wanted ON item (grp)", "absent", False),
        ("CREATE UNIQUE INDEX wanted ON item (label)", "present", True),
        ("CREATE UNIQUE INDEX wanted ON item (label)", "absent", True),
    ]
    database.sql("CREATE TABLE lonely (id int)")
    cases.append(("CREATE UNIQUE INDEX only_one ON lonely (id)", "present", False))
    for definition, state, warned in cases:
        for check in (True, False):
            warnings = result(database, check, definition=definition, state=state)["warnings"]
            assert any("INSERT ... ON CONFLICT fails now and then" in text for text in warnings) == warned, definition


def test_what_was_said_about_the_old_index_is_kept(each: Database) -> None:
    each.sql("CREATE INDEX wanted ON item (lower(label)); CLUSTER item USING wanted")
    each.sql("ALTER INDEX wanted ALTER COLUMN 1 SET STATISTICS 500")
    assert act(each, "CREATE INDEX wanted ON item (lower(label)) WITH (fillfactor=80)")["outcome"] == "done"
    assert each.value("SELECT indisclustered FROM pg_index WHERE indexrelid = 'wanted'::regclass")
    assert each.value("SELECT attstattarget FROM pg_attribute WHERE attrelid = 'wanted'::regclass") == 500


def test_an_invalid_index_is_replaced(each: Database) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        each.sql("CREATE UNIQUE INDEX CONCURRENTLY wanted ON item (grp)")
    each.sql("DELETE FROM item WHERE id > 7")
    planned = act(each, "CREATE UNIQUE INDEX wanted ON item (grp)", check=True)
    assert planned["reason"] == "it is not valid"
    assert act(each, "CREATE UNIQUE INDEX wanted ON item (grp)")["outcome"] == "done"
    assert indexes(each)["wanted"][0]


def test_duplicates_fail_clearly_and_leave_the_old_index(database: Database) -> None:
    database.sql("CREATE INDEX wanted ON item (grp)")
    before = indexes(database)
    failed = act(database, "CREATE UNIQUE INDEX wanted ON item (grp)")
    assert failed["outcome"] == "failed"
    assert "duplicate" in failed["reason"]
    assert "remove the duplicates first" in failed["reason"]
    assert indexes(database) == before
    failed = act(database, "CREATE UNIQUE INDEX wanted ON item (grp)")
    assert failed["reason"].endswith("(2 times in a row)")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has to be waited for is so as if the budget was nearly over. One that is would do it on a quick machine only."""
    monkeypatch.setattr(waits, "RESERVE", float("inf"))


@pytest.fixture
def short_lock_limit(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A build waits for half a second, whatever the budget; what would have been left of that."""
    left: list[float] = []

    def limit(seconds_left: float) -> float:
        left.append(seconds_left)
        return 1.5

    monkeypatch.setattr(concurrently, "concurrent_lock_timeout", limit)
    return left


@pytest.mark.usefixtures("impatient")
def test_nothing_is_built_while_an_older_transaction_would_block_it(each: Database) -> None:
    each.sql("CREATE TABLE elsewhere ()")
    with transaction(each, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "TABLE elsewhere") as other:
        contended = act(each, "CREATE INDEX wanted ON item (label)")
        assert contended["outcome"] == "contended"
        assert f"session {other.info.backend_pid} (postgres, idle in transaction)" in contended["reason"]
        assert not contended["changed"]
        assert indexes(each) == {}


@pytest.mark.parametrize(
    "statement", ["UPDATE item SET grp = 0 WHERE id = 1", "LOCK TABLE item IN SHARE UPDATE EXCLUSIVE MODE"]
)
def test_it_goes_on_when_the_older_transaction_ends(database: Database, statement: str) -> None:
    database.sql("CREATE INDEX wanted ON item (grp)")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'vtchat.maintenance index' AND query ~ 'virtualxid'"
    )
    with running(database, "CREATE INDEX wanted ON item (label)") as found:
        pass
    assert found[0]["outcome"] == "done"
    with transaction(database, statement) as other, running(database, "CREATE INDEX wanted ON item (id)") as found:
        until(lambda: database.value(waiting))
        assert "(label)" in indexes(database)["wanted"][1]
        assert len(indexes(database)) == 1
        other.commit()
    assert found[0]["outcome"] == "done"
    assert found[0]["numbers"]["seconds_waited"] > 0


@pytest.mark.usefixtures("impatient")
def test_a_prepared_transaction_is_named(servers: Any) -> None:
    server = servers.private()
    try:
        server.restart(max_prepared_transactions="2")
        database = server.create_database()
        database.sql(TABLE)
        with transaction(database, "UPDATE item SET grp = 0", "PREPARE TRANSACTION 'forgotten'"):
            pass
        contended = act(database, "CREATE INDEX wanted ON item (label)")
        assert contended["outcome"] == "contended"
        assert "prepared transaction" in contended["reason"]
        database.sql("ROLLBACK PREPARED 'forgotten'")
        database.close()
    finally:
        server.embedded.remove()


def test_a_build_that_has_to_wait_too_long_leaves_nothing(database: Database, short_lock_limit: list[float]) -> None:
    database.sql("CREATE INDEX wanted ON item (grp)")
    before = indexes(database)
    with gate_closed(database):
        contended = act(database, GATED, budget=200)
    assert contended["outcome"] == "contended"
    assert 100 < short_lock_limit[0] <= 200
    assert indexes(database) == before


@pytest.mark.usefixtures("short_lock_limit")
def test_what_cannot_be_removed_now_is_removed_by_the_next_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, drop = database.connect(), concurrently.Concurrently.drop
    reader.autocommit = False

    def read_before(self: concurrently.Concurrently, schema: str, name: str) -> bool:
        reader.cursor().execute("SELECT FROM item LIMIT 1")
        return drop(self, schema, name)

    with gate_closed(database) as gate:
        with monkeypatch.context() as patch:
            patch.setattr(concurrently.Concurrently, "drop", read_before)
            patch.setattr(concurrently, "CLEANING", 1.0)
            contended = act(database, GATED)
        assert contended["outcome"] == "contended"
        assert f"what was left of it, {working_name('wanted')}, is still locked" in contended["reason"]
        assert not indexes(database)[working_name("wanted")][0]
        reader.rollback()
        gate.cursor().execute("SELECT pg_advisory_unlock_all()")
    done = act(database, GATED)
    assert done["reason"] == "an interrupted run has begun to build it"
    assert done["outcome"] == "done"
    assert list(indexes(database)) == ["wanted"]


def test_what_somebody_creates_meanwhile_is_not_removed(database: Database) -> None:
    options = operation.read({"definition": "CREATE INDEX wanted ON item (grp)", "name": None, "state": "present"})
    with closing(open_session(ConnectionOptions.read(database.dsn), "test")) as session:
        context = Context(check=False, seconds_left=lambda: 60.0)
        [action] = operation.decide(operation.facts(session, options, context), options, context)
        database.sql(f"CREATE INDEX {working_name('wanted')} ON item (label)")
        assert isinstance(action, Action)
        outcome = operation.execute(session, action, context)
        assert outcome.status == "failed"
        assert "already exists" in outcome.reason
    assert indexes(database)[working_name("wanted")][0]


def test_an_index_that_somebody_is_building_is_left_alone(each: Database) -> None:
    with gate_closed(each) as gate:
        connection = each.connect()
        theirs = threading.Thread(
            target=lambda: connection.cursor().execute(GATED.replace("INDEX", "INDEX CONCURRENTLY"))
        )
        theirs.start()
        until(lambda: each.sql(BUILDING))
        for check in (True, False):
            contended = act(each, GATED, check=check)
            assert contended["outcome"] == "contended"
            assert contended["reason"] == f"session {connection.info.backend_pid} is building it right now"
        assert act(each, name="wanted", state="absent")["outcome"] == "contended"
        gate.close()
        theirs.join()
        connection.close()
    assert act(each, GATED)["outcome"] == "unchanged"


def killed(database: Database, directory: Path) -> None:
    """A run in a process of its own, killed while it builds; the server has noticed when this returns."""
    program = """
import sys
from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
_edge.perform(_edge.validated("index", {"dsn": sys.argv[1], "definition": sys.argv[2]}), False)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")}
    command = [sys.executable, "-c", program, database.dsn, GATED]
    with subprocess.Popen(command, env=environment, cwd=directory) as process:
        [(backend,)] = until(lambda: database.sql(BUILDING))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    database.sql("SELECT pg_terminate_backend(%s)", [backend])
    until(lambda: not database.sql("SELECT FROM pg_stat_activity WHERE pid = %s", [backend]))


def test_after_a_kill_what_has_not_been_finished_is_removed(database: Database, tmp_path: Path) -> None:
    with gate_closed(database):
        killed(database, tmp_path)
    assert not indexes(database)[working_name("wanted")][0]
    done = act(database, GATED)
    assert done["outcome"] == "done"
    assert done["statements"][0] == f"DROP INDEX CONCURRENTLY public.{working_name('wanted')}"
    assert list(indexes(database)) == ["wanted"]


def test_what_has_been_finished_is_used(database: Database) -> None:
    interrupted(database, DEFINITIONS[0], 1, False)
    oid = database.value("SELECT %s::regclass::oid", [working_name("wanted")])
    done = act(database, DEFINITIONS[0])
    assert done["statements"] == [f"ALTER INDEX public.{working_name('wanted')} RENAME TO wanted"]
    assert database.value("SELECT 'wanted'::regclass::oid") == oid


def interrupted(database: Database, definition: str, after: int, spoil: bool) -> bool:
    """Carry out that many statements as a run would; whether there were so many. spoil: the last build did not end well."""
    options = operation.read({"definition": definition, "name": None, "state": "present"})
    with closing(open_session(ConnectionOptions.read(database.dsn), "test")) as session:
        context = Context(check=False)
        [action] = operation.decide(operation.facts(session, options, context), options, context)
        assert isinstance(action, Action)
        if after > len(action.payload):
            return False
        for step in action.payload[:after]:
            session.execute(step.query())
        if spoil and step.kind == "build":
            index = SQL("{}.{}").format(Identifier(step.names["table"][0]), Identifier(step.names["index"][-1]))
            name = Literal(index.as_string(session._connection))
            session.execute(SQL("UPDATE pg_index SET indisvalid = false WHERE indexrelid = {}::regclass").format(name))
    return True


@pytest.mark.parametrize("spoil", [False, True])
@pytest.mark.parametrize("table", ["item", "event"])
def test_a_run_goes_on_from_wherever_the_last_one_was_interrupted(database: Database, table: str, spoil: bool) -> None:
    database.sql(PARTITIONED)
    first, second = f"CREATE INDEX wanted ON {table} (id)", f"CREATE INDEX wanted ON {table} (id DESC)"
    for after in range(1, 20):
        act(database, name="wanted", state="absent")
        if not interrupted(database, first, after, spoil):
            break
        assert act(database, first)["outcome"] in ("done", "unchanged")
        assert leaves(database, table) == whole(table, "(id)")
        interrupted(database, second, after, spoil)
        assert act(database, second)["outcome"] in ("done", "unchanged")
        assert leaves(database, table) == whole(table, "(id DESC)")
        assert act(database, second)["outcome"] == "unchanged"
    assert after > 2
    interrupted(database, first, 3, spoil)
    assert act(database, second)["outcome"] in ("done", "unchanged")
    assert leaves(database, table) == whole(table, "(id DESC)")
    act(database, name="wanted", state="absent")
    assert leaves(database, table) == []


def leaves(database: Database, table: str) -> list[tuple[str, bool, str]]:
    """Table, validity and columns of all indexes of a table and its partitions."""
    query = """
WITH RECURSIVE tree (oid) AS (SELECT %s::regclass::oid UNION ALL SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = oid)
SELECT c.relname, indisvalid, substring(pg_get_indexdef(indexrelid) from '[(].*')
FROM tree JOIN pg_index ON indrelid = oid AND NOT indisprimary JOIN pg_class AS c ON c.oid = indrelid
ORDER BY 1
"""
    return database.sql(query, [table])


def whole(table: str, columns: str) -> list[tuple[str, bool, str]]:
    tables = ["item"] if table == "item" else ["Event 2 rest", "event", "event_1", "event_2", "event_2a"]
    return [(name, True, columns) for name in tables]


def test_indexes_of_partitions_that_fit_become_parts(each: Database) -> None:
    each.sql(PARTITIONED)
    each.sql('CREATE INDEX mine ON event_1 (kind); CREATE INDEX "Mine too" ON "Event 2 rest" (kind)')
    planned = act(each, "CREATE INDEX wanted ON event (kind)", check=True)
    assert act(each, "CREATE INDEX wanted ON event (kind)")["statements"] == planned["statements"]
    assert leaves(each, "event") == whole("event", "(kind)")
    assert each.value("SELECT count(*) FROM pg_class WHERE relname IN ('mine', 'Mine too') AND relispartition") == 2


def test_a_leftover_is_not_dropped_with_what_is_not_ours(database: Database) -> None:
    database.sql(PARTITIONED)
    database.sql("CREATE INDEX mine ON event_1 (kind)")
    interrupted(database, "CREATE INDEX wanted ON event (kind)", 2, False)
    failed = act(database, "CREATE INDEX wanted ON event (kind DESC)")
    assert failed["outcome"] == "failed"
    assert "public.mine attached" in failed["reason"]
    assert indexes(database, "event_1")["mine"][0]


def test_the_swap_of_a_partitioned_index_keeps_nobody_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits behind it does so for no longer than it may wait itself."""
    database.sql(PARTITIONED)
    act(database, "CREATE INDEX wanted ON event (kind)")
    limits: list[int] = []
    execute = Session.execute

    def seen(self: Session, query: Any, *how: Any, **more: Any) -> int:
        if "RENAME TO" in self.text(query):
            limits.append(self.row("SELECT setting::int AS ms FROM pg_settings WHERE name = 'lock_timeout'")["ms"])
        return execute(self, query, *how, **more)

    with transaction(database, "SELECT FROM event LIMIT 1"), monkeypatch.context() as patch:
        patch.setattr(Session, "execute", seen)
        patch.setattr(policy, "BLOCKING_PAUSES", (0.1,))
        contended = act(database, "CREATE INDEX wanted ON event (kind, at)")
    assert (contended["outcome"], contended["changed"]) == ("contended", True)
    assert "canceling statement due to lock timeout" in contended["reason"]
    assert limits == [2000, 2000]
    done = act(database, "CREATE INDEX wanted ON event (kind, at)")
    assert done["outcome"] == "done"
    assert done["statements"] == [
        f"DROP INDEX public.wanted; ALTER INDEX public.{working_name('wanted')} RENAME TO wanted"
    ]


def test_a_unique_index_of_partitions_needs_their_key_also_in_check_mode(each: Database) -> None:
    each.sql(PARTITIONED)
    failed = act(each, "CREATE UNIQUE INDEX wanted ON event (at)", check=True)
    assert failed["outcome"] == "failed"
    assert "partition" in failed["reason"]


def test_a_new_partition_changes_nothing(database: Database) -> None:
    database.sql(PARTITIONED)
    act(database, "CREATE INDEX wanted ON event (kind)")
    database.sql("CREATE TABLE event_3 PARTITION OF event FOR VALUES FROM (200) TO (300)")
    assert act(database, "CREATE INDEX wanted ON event (kind)")["outcome"] == "unchanged"


def test_a_foreign_partition_is_refused(each: Database) -> None:
    each.sql("CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;" + PARTITIONED)
    each.sql("CREATE FOREIGN TABLE event_far PARTITION OF event FOR VALUES FROM (500) TO (600) SERVER far")
    failed = act(each, "CREATE INDEX wanted ON event (kind)", check=True)
    assert failed["outcome"] == "failed"
    assert "public.event_far is a foreign table" in failed["reason"]


def test_absent(each: Database) -> None:
    act(each, DEFINITIONS[0])
    planned = act(each, name="wanted", state="absent", check=True)
    assert planned["statements"] == ["DROP INDEX CONCURRENTLY public.wanted"]
    assert planned["outcome"] == "planned"
    returned = result(each, name="public.wanted", state="absent")
    assert only(returned)["outcome"] == "done"
    assert returned["diff"][0]["after"] == ""
    assert indexes(each) == {}
    for name in ("wanted", "nowhere.wanted"):
        assert act(each, name=name, state="absent")["outcome"] == "unchanged"
    assert act(each, DEFINITIONS[0], state="absent")["outcome"] == "unchanged"


NEEDED = [
    ("", "item_pkey", "it enforces the primary key item_pkey of public.item"),
    ("ALTER TABLE item ADD CONSTRAINT one UNIQUE (id, grp)", "one", "it enforces the unique constraint one"),
    ("ALTER TABLE item ADD CONSTRAINT ex EXCLUDE USING gist (place WITH ~=)", "ex", "the exclusion constraint ex"),
    (
        'CREATE UNIQUE INDEX by_number ON item (number); CREATE TABLE child (n int CONSTRAINT "Fk" REFERENCES item (number))',
        "by_number",
        'the foreign key "Fk" of public.child refers to its columns',
    ),
    (
        "CREATE UNIQUE INDEX by_id ON item (id); ALTER TABLE item REPLICA IDENTITY USING INDEX by_id",
        "by_id",
        "it is the replica identity of public.item",
    ),
    (PARTITIONED + "CREATE INDEX ev ON event (kind)", "event_1_kind_idx", "it is part of the partitioned index public.ev"),
    ("", "item", "public.item is not an index"),
]  # fmt: skip


def test_what_others_need_is_neither_removed_nor_replaced(database: Database) -> None:
    for statements, name, reason in NEEDED:
        if statements:
            database.sql(statements)
        before = everything(database)
        for check in (True, False):
            refused = act(database, name=name, state="absent", check=check)
            assert refused["outcome"] == "failed", name
            assert reason in refused["reason"]
        table = "event_1" if name.startswith("event") else "item"
        column = "id, kind" if name.startswith("event") else "id, made"
        refused = act(database, f'CREATE INDEX "{name}" ON {table} ({column})')
        assert refused["outcome"] == "failed", name
        assert reason in refused["reason"]
        now = everything(database)
        assert [row for row in before if row not in now and "maintenance" not in str(row)] == [], name


def test_an_index_that_enforces_what_is_wanted_is_all_right(database: Database) -> None:
    assert act(database, "CREATE UNIQUE INDEX item_pkey ON item (id)")["outcome"] == "unchanged"


def test_the_name_of_another_tables_index_is_refused(database: Database) -> None:
    database.sql("CREATE TABLE another (grp int); CREATE INDEX wanted ON another (grp)")
    refused = act(database, DEFINITIONS[0])
    assert refused["outcome"] == "failed"
    assert refused["reason"] == "the index public.wanted belongs to another table: public.another"
    refused = act(database, DEFINITIONS[0], state="absent")
    assert refused["reason"] == "the index public.wanted belongs to another table: public.another"


FAULTS = [
    ("CREATE INDEX wanted ON itm (grp)", "did you mean public.item?"),
    ("CREATE INDEX wanted ON item (grop)", 'column "grop" does not exist'),
    ("CREATE INDEX wanted ON item (random())", "IMMUTABLE"),
    ("CREATE INDEX wanted ON a_view (grp)", "public.a_view is a view, not a table"),
]


def test_faults_are_told_in_check_mode_too(each: Database) -> None:
    each.sql("CREATE VIEW a_view AS TABLE item")
    for definition, reason in FAULTS:
        for check in (True, False):
            failed = act(each, definition, check=check)
            assert failed["outcome"] == "failed", definition
            assert reason in failed["reason"]
            assert failed["target"] in ("wanted", "public.wanted")


def test_functions_of_rows_of_views_and_odd_names(each: Database) -> None:
    each.sql(
        "CREATE TABLE \"An 'item'\" (id int, kind text); CREATE MATERIALIZED VIEW v AS SELECT id, kind FROM \"An 'item'\""
    )
    for name, table in (("a", "v"), ("b", "\"An 'item'\"")):
        each.sql(f"CREATE FUNCTION f(r {table}) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT r.kind'")
        text = f"CREATE INDEX {name} ON {table} (f({table}))"
        found = [act(each, text, check=check)["outcome"] for check in (True, False, True, False)]
        assert found == ["planned", "done", "unchanged", "unchanged"]
    assert act(each, "CREATE INDEX c ON v (nix(v))")["reason"].startswith("function nix(")
    assert each.value("SELECT count(*) FROM pg_cast WHERE castmethod = 'f' AND castfunc > 16384") == 0


def test_an_owner_without_the_right_to_temporary_tables(each: Database) -> None:
    owner, other = each.role("owner"), each.role("other")
    each.sql(f"REVOKE TEMP ON DATABASE {each.name} FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    each.sql(f"ALTER TABLE item OWNER TO {owner}")
    refused = act(each, DEFINITIONS[0], user=owner, check=True)
    assert f"GRANT CREATE ON SCHEMA public TO {owner}" in refused["reason"]
    each.sql(f"GRANT CREATE ON SCHEMA public TO {owner}")
    before = everything(each)
    assert act(each, DEFINITIONS[0], user=owner, check=True)["outcome"] == "planned"
    assert everything(each) == before
    assert act(each, DEFINITIONS[0], user=owner)["outcome"] == "done"
    assert act(each, DEFINITIONS[0], user=owner)["outcome"] == "unchanged"
    for options in ({"definition": DEFINITIONS[1].replace("only_one.", "")}, {"name": "wanted", "state": "absent"}):
        refused = act(each, user=other, check=True, **options)
        assert refused["outcome"] == "failed"
        assert f"GRANT {owner} TO" in refused["reason"]


def test_a_locked_table_is_contended_soon(database: Database) -> None:
    with transaction(database, "LOCK TABLE item IN ACCESS EXCLUSIVE MODE"):
        contended = act(database, DEFINITIONS[0], check=True)
    assert contended["outcome"] == "contended"
    assert contended["target"] == "wanted"


def test_where_it_is_stored(servers: Any) -> None:
    server = servers.private()
    try:
        database = server.create_database()
        database.sql(TABLE)
        with closing(psycopg2.connect(server.dsn())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SET allow_in_place_tablespaces = on")
            cursor.execute("CREATE TABLESPACE \"Other space\" LOCATION ''")
        inside = 'CREATE INDEX wanted ON item (grp) TABLESPACE "Other space" WHERE id > 0'
        assert act(database, inside)["outcome"] == "done"
        assert act(database, inside)["outcome"] == "unchanged"
        silent = "CREATE INDEX wanted ON item (grp) WHERE id > 0"
        assert act(database, silent)["outcome"] == "unchanged"
        assert act(database, silent.replace("> 0", "> 1"))["outcome"] == "done"
        assert act(database, inside.replace("> 0", "> 1"))["outcome"] == "unchanged"
        back = silent.replace("WHERE", "TABLESPACE pg_default WHERE").replace("> 0", "> 1")
        assert act(database, back)["outcome"] == "done"
        assert act(database, back)["outcome"] == "unchanged"
        database.close()
    finally:
        server.embedded.remove()


def test_steps_of_a_plan(database: Database) -> None:
    steps = [{"index": {"definition": DEFINITIONS[0]}}, {"index": {"name": "gone", "state": "absent"}}]
    parameters = _edge.validated("run", {"dsn": database.dsn, "plan": "provision", "steps": steps})
    first, second = (_edge.perform(parameters, False) for _time in range(2))
    assert [action["outcome"] for action in first["actions"]] == ["done", "unchanged"]
    assert [action["outcome"] for action in second["actions"]] == ["unchanged", "unchanged"]


def test_as_a_task(database: Database, tmp_path: Path) -> None:
    """By an interpreter that is named, and by one that is found; check mode with its diff, then twice for good."""
    tasks: list[dict[str, Any]] = []
    for number, interpreter in enumerate(("{{ ansible_playbook_python }}", "auto"), 1):
        definition = DEFINITIONS[4].replace("wanted", f"wanted_{number}")
        for what, more in (("planned", {"check_mode": True, "diff": True}), ("done", {}), ("again", {})):
            given = {"vtchat.maintenance.index": {"dsn": database.dsn, "definition": definition}}
            variables = {"ansible_python_interpreter": interpreter}
            tasks.append({**given, **more, "register": f"{what}_{number}", "vars": variables})
    results = "{{ [planned_1, done_1, again_1, planned_2, done_2, again_2] | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": results, "dest": str(tmp_path / "results.json")}})
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    ran = playbook(tmp_path, [play], {"ansible_python_interpreter": sys.executable})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    expected = [(True, "planned"), (True, "done"), (False, "unchanged")]
    assert [(one["changed"], one["actions"][0]["outcome"]) for one in found] == expected * 2
    assert [ran.stdout.count(f"+CREATE INDEX wanted_{number} ON public.item") for number in (1, 2)] == [1, 1]
