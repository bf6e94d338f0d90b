# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions while others work, and runs that end in the middle: nobody waits for long, and the next run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import partitions
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import (
    actions,
    create,
    detach,
    obstacles,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.partitions import before, ended, exists, month, monthly, named, outcomes, parts, purge, told
from tests.runs import holding, until
from tests.servers import Database

pytestmark = pytest.mark.usefixtures("unhurried")
OLD, OLDER = f"public.{named(-3)}", f"public.{named(-4)}"
facts = import_module(f"{partitions.__name__}.facts")
PENDING = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
DETACHING = """
SELECT pid FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%%DETACH%%' AND pid <> pg_backend_pid() AND datname = %s
"""


@contextmanager
def running(database: Database, **options: Any) -> Iterator[Future[dict[str, Any]]]:
    """A purge that runs beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(purge, database, **options)


def detaching(database: Database) -> list[int]:
    return [pid for (pid,) in database.sql(DETACHING, [database.name])]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's transaction is waited for, and a lock once and for a moment. What comes after that has time."""
    over = detach.Wait.over
    monkeypatch.setattr(detach.Wait, "over", lambda self, session, left, sleep: over(self, session, float, sleep))
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", ())
    monkeypatch.setattr(facts, "BLOCKING", 0.3)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every transaction of others came just after we looked for them."""
    monkeypatch.setattr(detach.Wait, "over", lambda self, *given: 0.0)


def test_a_transaction_that_stays_open(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for before anything is marked: nothing is begun, and nothing blocks; the next run does it."""
    monthly(database)
    with holding(database, "SELECT * FROM t"):
        with monkeypatch.context() as patch:
            patch.setattr(actions, "PATIENCE", 0.5)
            result = purge(database, partitions="drop", premake=1)
        assert told(result, OLDER)["numbers"]["seconds_waited"] > 0.2
        assert outcomes(result) == {f"public.{named(1)}": "done", OLDER: "contended", OLD: "contended"}
        assert result["status"] == "partial"
        assert "nothing was done" in told(result, OLD)["reason"]
        assert "it would have to wait for session" in told(result, OLD)["reason"]
        assert database.value(PENDING) == 0
        assert database.value("SELECT count(*) FROM t") == 5
    assert outcomes(purge(database, partitions="drop")) == {OLDER: "done", OLD: "done"}


@pytest.mark.usefixtures("impatient")
def test_default_partition_that_is_locked(database: Database) -> None:
    """What cannot be looked at there is told of it, and of what needs it, and of nothing else."""
    monthly(database, -2, 0)
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    with holding(database, "LOCK TABLE rest"):
        result = purge(database, partitions="drop", premake=1)
        assert outcomes(result) == {f"public.{named(1)}": "contended", "public.rest": "contended"}
        assert told(result, "public.t")["reason"] == "4 partitions stay"
    assert outcomes(purge(database, partitions="drop", premake=1)) == {f"public.{named(1)}": "done"}


@pytest.mark.usefixtures("impatient", "blind")
def test_a_transaction_that_came_just_then(database: Database) -> None:
    """Half detached: told, readers and writers go on, and the next run finishes it and drops it."""
    monthly(database)
    with holding(database, "SELECT * FROM t"):
        result = purge(database, partitions="drop")
        assert outcomes(result) == {OLDER: "contended", OLD: "contended"}
        assert "half detached" in told(result, OLDER)["reason"]
        assert f"{OLDER} is being detached, and only one can be at a time" in told(result, OLD)["reason"]
        assert database.value(PENDING) == 1
        assert database.value("SELECT count(*) FROM t") == 4
        database.sql("INSERT INTO t VALUES (now(), 9)")
        again = purge(database, partitions="drop")
        assert outcomes(again)[OLDER] == "contended"
    assert outcomes(purge(database, partitions="drop")) == {OLDER: "done", OLD: "done"}
    assert not exists(database, named(-4))
    assert database.value(PENDING) == 0


@pytest.mark.usefixtures("blind")
def test_nobody_waits_behind_a_detach(database: Database) -> None:
    """While it waits for an old transaction, others read and write the table, and detach in vain."""
    monthly(database)
    with holding(database, "SELECT * FROM t") as old, running(database, partitions="drop") as run:
        until(lambda: database.value(PENDING))
        database.sql("SET lock_timeout = '30s'")
        assert database.value("SELECT count(*) FROM t") == 4
        database.sql("INSERT INTO t VALUES (now(), 9); UPDATE t SET id = 10 WHERE id = 9; DELETE FROM t WHERE id = 10")
        database.sql("RESET lock_timeout")
        old.rollback()
        assert outcomes(run.result()) == {OLDER: "done", OLD: "done"}


def test_locks_of_other_tables_are_held_for_a_moment_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where foreign keys are, a detach gives up soon and waits again without any lock, and then finishes it."""
    over = detach.Wait.over
    monkeypatch.setattr(detach.Wait, "over", lambda self, *given: over(self, *given) if self.snapshots else 0.0)
    monkeypatch.setattr(detach, "BLOCKING", 0.5)
    monthly(database, columns=", PRIMARY KEY (at, id)")
    database.sql("CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t)")
    with (
        holding(database, "SELECT * FROM t") as old,
        running(database, partitions="drop", older_than=before(-3)) as run,
    ):
        until(lambda: database.value(PENDING) and not detaching(database))
        database.sql("SET lock_timeout = '30s'; INSERT INTO child SELECT at, id FROM t; RESET lock_timeout")
        old.rollback()
        assert outcomes(run.result()) == {OLDER: "done"}
        assert told(run.result(), OLDER)["numbers"]["seconds_waited"] > 0


def test_somebody_is_detaching_it_right_now(database: Database) -> None:
    """It is left to them, and told."""
    monthly(database)
    with (
        holding(database, "SELECT * FROM t") as old,
        closing(database.connect()) as theirs,
        ThreadPoolExecutor(1) as pool,
    ):
        detach_it = f"ALTER TABLE t DETACH PARTITION {named(-4)} CONCURRENTLY"
        run = pool.submit(theirs.cursor().execute, detach_it)
        until(lambda: database.value(PENDING))
        result = purge(database, partitions="drop", older_than=before(-3))
        assert outcomes(result) == {OLDER: "contended"}
        assert "may be detaching it right now" in told(result, OLDER)["reason"]
        old.rollback()
        run.result()
    assert outcomes(purge(database, partitions="drop", older_than=before(-3))) == {}
    assert exists(database, named(-4))


def test_plain_detach_gives_way(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for its lock for a moment at a time, and then lets others through."""
    monkeypatch.setattr(facts, "BLOCKING", 0.3)
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", (0.5,) * 50)
    monthly(database)
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    with holding(database, "SELECT * FROM t") as old, running(database, partitions="drop") as run:
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND database = %s"
        (oid,) = database.sql("SELECT oid FROM pg_database WHERE datname = current_database()")[0]
        until(lambda: database.value(waits, [oid]))
        assert database.value("SELECT count(*) FROM t") == 5  # and not before the detach has given up
        assert not run.done()
        old.rollback()
        assert outcomes(run.result()) == {OLDER: "done", OLD: "done"}


def test_nobody_is_ended_by_a_deadlock(database: Database) -> None:
    """Who writes to a table that refers to it, and then reads all of it, goes on while a partition waits to be attached."""
    monthly(database, 0, 0, columns=", PRIMARY KEY (at, id)")
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    database.sql("CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t)")
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'child'::regclass"
    with holding(database, "INSERT INTO child VALUES (NULL, 1)") as theirs, running(database, premake=1) as run:
        until(lambda: database.value(waits))
        theirs.cursor().execute("SET LOCAL lock_timeout = '60s'; SELECT * FROM t")
        theirs.commit()
        assert outcomes(run.result()) == {f"public.{named(1)}": "done"}
    assert database.value("SELECT count(*) FROM child") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("concurrently", ["auto", "never"])
@pytest.mark.parametrize("statement", ["SELECT * FROM {}", "LOCK TABLE {}"])
def test_somebody_who_uses_the_partition_itself(database: Database, statement: str, concurrently: str) -> None:
    """It waits, and the next one goes. Who is in the way is told."""
    monthly(database)
    with holding(database, statement.format(named(-4))) as they:
        result = purge(database, partitions="drop", concurrently=concurrently)
        assert told(result, OLDER)["outcome"] == "contended"
        assert outcomes(result)[OLD] == "done" or concurrently == "never"
        assert f"session {they.info.backend_pid}" in told(result, OLDER)["reason"]
        assert "nothing was done" in told(result, OLDER)["reason"]
    assert outcomes(purge(database, partitions="drop"))[OLDER] == "done"


# Runs that end in the middle

END = """
CREATE FUNCTION {name}() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN IF {condition} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; END $$;
CREATE EVENT TRIGGER {name} ON {event} WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.{name}();
"""
WHOLE = "current_query() LIKE '%%'"
# Where the session ends: event, tag and what more. Between any two statements of a removal.
STEPS = (
    ("ddl_command_start", "COMMENT", WHOLE),
    ("ddl_command_end", "COMMENT", WHOLE),
    ("ddl_command_start", "ALTER TABLE", "current_query() LIKE '%DETACH%'"),
    ("ddl_command_end", "ALTER TABLE", "current_query() LIKE '%DETACH%'"),
    ("ddl_command_start", "DROP TABLE", WHOLE),
    ("ddl_command_end", "DROP TABLE", WHOLE),
)


@pytest.mark.parametrize("default", [False, True])
def test_ended_between_any_two_steps(database: Database, default: bool) -> None:
    """Whatever was done by then, the next run goes on from there, and in the end all is as if nothing had happened."""
    for number, (event, tag, condition) in enumerate(STEPS):
        table = f"t{number}"
        monthly(database, table=table)
        database.sql(f"COMMENT ON TABLE {named(-4, table)} IS 'of the year'")
        if default:
            database.sql(f"CREATE TABLE rest{number} PARTITION OF {table} DEFAULT")
        database.sql(END.format(name="the_end", event=event, tag=tag, condition=condition))
        result = purge(database, partitions="drop", table=table)
        commented = tag == "COMMENT" and default  # a plain one needs no mark
        assert result["status"] == ("ok" if commented else "failed"), (event, tag)
        ended(database)
        database.sql("DROP EVENT TRIGGER the_end; DROP FUNCTION the_end")
        purge(database, partitions="drop", table=table)
        left = {named(month_, table) for month_ in (-2, -1, 0)} | ({f"rest{number}"} if default else set())
        assert set(parts(database, table)) == left
        assert not any(exists(database, named(month_, table)) for month_ in (-4, -3)), (event, tag)
        assert outcomes(purge(database, partitions="drop", table=table), f"public.{table}") == {}


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("mode", ["drop", "detach"])
def test_killed_while_half_detached(database: Database, mode: str) -> None:
    monthly(database)
    with holding(database, "SELECT * FROM t") as old, running(database, partitions=mode) as run:
        until(lambda: database.value(PENDING))
        database.sql("SELECT pg_terminate_backend(%s)", detaching(database))
        assert run.result()["status"] == "failed"
        old.rollback()
    ended(database)
    result = purge(database, partitions=mode)
    assert outcomes(result) == {OLDER: "done", OLD: "done"}
    assert "its detach was interrupted" in told(result, OLDER)["reason"]
    assert exists(database, named(-4)) == (mode == "detach")
    assert outcomes(purge(database, partitions="drop")) == {}


@pytest.mark.usefixtures("blind")
def test_half_detached_by_others(database: Database) -> None:
    """It is finished, for nobody can take it back; but it is not dropped, for they may want it, whatever its name and bounds."""
    monthly(database)
    with holding(database, "SELECT * FROM t"), closing(database.connect()) as theirs:
        theirs.cursor().execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            theirs.cursor().execute(f"ALTER TABLE t DETACH PARTITION {named(-4)} CONCURRENTLY")
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "done", OLD: "done"}
    assert "kept as a table of its own: others began it" in told(result, OLDER)["reason"]
    assert outcomes(purge(database, partitions="drop")) == {}
    assert exists(database, named(-4))


def test_a_mark_means_one_table_only(database: Database) -> None:
    """What was detached for a drop is dropped later; a copy of it, and one that was kept on purpose, are not."""
    monthly(database)
    database.sql(f"COMMENT ON TABLE {named(-4)} IS 'of the year'")
    database.sql(END.format(name="the_end", event="ddl_command_start", tag="DROP TABLE", condition=WHOLE))
    purge(database, partitions="drop")
    ended(database)
    database.sql("DROP EVENT TRIGGER the_end")
    mark = database.value("SELECT obj_description(%s::regclass)", [named(-4)])
    assert mark.startswith("of the year\n[vtchat.maintenance: to be dropped, was partition ")
    database.sql("CREATE TABLE copy (at timestamptz, id int)")
    database.sql("COMMENT ON TABLE copy IS %s", [mark])
    planned = purge(database, True, partitions="drop")
    assert told(planned, OLDER)["statements"] == [f"DROP TABLE {OLDER}"]
    kept = purge(database, partitions="detach", older_than="9999d")
    assert outcomes(kept) == {OLDER: "done"}
    assert database.value("SELECT obj_description(%s::regclass)", [named(-4)]) == "of the year"
    assert outcomes(purge(database, partitions="drop")) == {OLD: "done"}
    assert exists(database, named(-4))
    assert exists(database, "copy")


MARKED = """
COMMENT ON TABLE {0} IS E'of the year\n[vtchat.maintenance: to be dropped, was partition {1} of {2}]'
"""


def marked(database: Database, number: int) -> str:
    """A partition that a run was about to detach when it was killed."""
    oids = database.sql("SELECT %s::regclass::oid, 't'::regclass::oid", [named(number)])[0]
    database.sql(MARKED.format(named(number), *oids))
    return f"public.{named(number)}"


def test_a_mark_does_not_outlive_its_reason(database: Database) -> None:
    """What does not go any more is no longer marked: who detaches it one day may keep it."""
    monthly(database)
    young, old = marked(database, -1), marked(database, -4)
    planned = purge(database, True, partitions="drop")
    assert told(planned, young)["outcome"] == "planned"
    assert told(planned, "public.t")["numbers"]["kept"] == 3
    result = purge(database, partitions="drop", older_than="9999d")
    assert outcomes(result) == {old: "done", young: "done"}
    assert "its upper bound is after the cut-off: the mark is taken off" in told(result, young)["reason"]
    assert set(parts(database)) == {named(number) for number in range(-4, 1)}
    assert outcomes(purge(database, partitions="drop", older_than="9999d")) == {}
    database.sql(f"ALTER TABLE t DETACH PARTITION {named(-1)}")
    assert outcomes(purge(database, partitions="drop")) == {
        f"public.{named(-4)}": "done",
        f"public.{named(-3)}": "done",
    }
    assert database.value("SELECT obj_description(%s::regclass)", [named(-1)]) == "of the year"


@pytest.mark.parametrize("concurrently", ["auto", "never"])
def test_what_is_only_detached_loses_its_mark(database: Database, concurrently: str) -> None:
    monthly(database)
    old = marked(database, -4)
    assert outcomes(purge(database, partitions="detach", concurrently=concurrently))[old] == "done"
    assert database.value("SELECT obj_description(%s::regclass)", [old]) == "of the year"
    assert outcomes(purge(database, partitions="drop")) == {}
    assert exists(database, old)


def test_settings_of_the_database_mean_nothing(database: Database) -> None:
    """Neither what it prints times and texts like, nor what it is asked to do with what is created."""
    monthly(database)
    comment = """it's "x" \\' \\"""
    database.sql(SQL("COMMENT ON TABLE {} IS {}").format(Identifier(named(-4)), Literal(comment)))
    for setting in ("DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Kolkata'", "standard_conforming_strings = off",
                    "quote_all_identifiers = on", "default_transaction_isolation = 'serializable'", "search_path = 'nowhere'",
                    "IntervalStyle = 'iso_8601'", "default_table_access_method = 'nothing'"):  # fmt: skip
        database.sql(SQL("ALTER DATABASE {} SET " + setting).format(Identifier(database.name)))
    database.sql(END.format(name="the_end", event="ddl_command_start", tag="DROP TABLE", condition=WHOLE))
    purge(database, table="public.t", partitions="drop", premake=1)
    ended(database)
    marked = database.value("SELECT obj_description(%s::regclass)", [named(-4)])
    assert marked.startswith(f"{comment}\n[vtchat.maintenance: ")
    database.sql("DROP EVENT TRIGGER the_end")
    result = purge(database, table="public.t", partitions="drop", premake=2)
    assert outcomes(result) == {f"public.{named(2)}": "done", OLDER: "done", OLD: "done"}
    assert list(parts(database)) == [named(number) for number in range(-2, 3)]


def test_needed_after_it_was_detached(database: Database) -> None:
    """A view that came between detach and drop keeps the table, and is named."""
    monthly(database)
    database.sql(END.format(name="the_end", event="ddl_command_start", tag="DROP TABLE", condition=WHOLE))
    purge(database, partitions="drop")
    ended(database)
    database.sql(f"DROP EVENT TRIGGER the_end; CREATE VIEW needs AS SELECT * FROM {named(-4)}")
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "failed", OLD: "done"}
    assert "view public.needs" in told(result, OLDER)["reason"]


def test_others_do_the_same(database: Database) -> None:
    """Created, detached, dropped or renamed by others between our look and our deed."""
    monthly(database)
    others = iter([
        f"CREATE TABLE theirs PARTITION OF t FOR VALUES FROM ('{month(1)}') TO ('{month(2)}')",
        f"ALTER TABLE t DETACH PARTITION {named(-4)}",
        f"DROP TABLE {named(-3)}",
    ])  # fmt: skip
    decided = partitions.decide

    def meanwhile(*given: Any) -> Any:
        made = decided(*given)
        for statement in others:
            database.sql(statement)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "decide", meanwhile)
        result = purge(database, partitions="drop", premake=1)
    assert outcomes(result) == {f"public.{named(1)}": "unchanged", OLDER: "unchanged", OLD: "unchanged"}
    assert "somebody has created it meanwhile" in told(result, f"public.{named(1)}")["reason"]
    assert "somebody has detached it meanwhile" in told(result, OLDER)["reason"]
    assert "gone already" in told(result, OLD)["reason"]
    assert exists(database, named(-4))


def test_refused_by_the_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that came to refer to it after we looked: nothing is done, and its comment is as it was."""
    monkeypatch.setattr(detach.Wait, "over", lambda self, *given: 0.0)
    monkeypatch.setattr(obstacles, "_referred", lambda *given: None)
    monthly(database, columns=", PRIMARY KEY (at, id)")
    database.sql("CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t)")
    database.sql("INSERT INTO child SELECT at, id FROM t")
    database.sql(f"COMMENT ON TABLE {named(-4)} IS 'of the year'")
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "failed", OLD: "failed"}
    assert 'violates foreign key constraint "child_at_id_fkey' in told(result, OLDER)["reason"]
    assert told(result, OLDER)["reason"].endswith("; nothing was done")
    assert database.value("SELECT obj_description(%s::regclass)", [named(-4)]) == "of the year"
    assert database.value("SELECT obj_description(%s::regclass)", [named(-3)]) is None
    assert len(parts(database)) == 5


def test_a_default_partition_that_takes_long_to_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads all of it while nobody else can: not longer than anybody may be blocked."""
    monkeypatch.setattr(create, "BLOCKING", 0.01)
    monthly(database, 0, 0)
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    database.sql("INSERT INTO t SELECT '1999-01-01', n FROM generate_series(1, 500000) AS n")
    result = purge(database, premake=1)
    assert outcomes(result) == {f"public.{named(1)}": "failed"}
    assert "give DEFAULT a CHECK constraint" in told(result, f"public.{named(1)}")["reason"]
    assert not exists(database, named(1))
    monkeypatch.undo()
    database.sql(f"ALTER TABLE rest ADD CHECK (at IS NOT NULL AND at < '{month(1)}')")
    assert outcomes(purge(database, premake=1)) == {f"public.{named(1)}": "done"}
