# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server with a standby, slots, an archive and publications, each made ill on purpose; and health as the standby sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.health import bad, levels, look, of
from tests.runs import perform, until
from tests.servers import Database, PrivateServer, Servers

MIB = 2**20
WRITE = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000))"
SETTINGS = {
    "wal_level": "logical",
    "max_slot_wal_keep_size": "64MB",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "wal_keep_size": "0",
}
# A standby that says at once how far it is, and what it needs.
FEEDBACK = {"cluster_name": "standby_2", "hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}


@pytest.fixture(scope="module")
def primary(servers: Servers) -> Iterator[PrivateServer]:
    """A server that is kept through the file; each test leaves it as it was."""
    made = servers.private()
    made.restart(**SETTINGS)
    yield made
    made.embedded.remove()


@pytest.fixture
def database(primary: PrivateServer) -> Iterator[Database]:
    made = primary.create_database()
    yield made
    made.close()


def next_file(database: Database) -> None:
    """Go on to the next file of WAL, which costs no time."""
    database.sql(f"{WRITE}; SELECT pg_switch_wal()")


def test_slots_that_keep_too_much(database: Database) -> None:
    next_file(database)
    database.sql("CHECKPOINT")  # a slot begins with the last one
    database.sql("SELECT pg_create_physical_replication_slot('standby_2', true)")
    assert bad(look(database)) == {}
    for _number in range(3):
        next_file(database)
    result = look(database)
    assert bad(result) == {"replication-slots": "warning"}
    (found,) = of(result, "replication-slots")
    assert found["subject"] == "slot standby_2"
    assert 70 <= found["value"] < 80
    assert found["message"].startswith("used by nobody for ")
    assert " of WAL (max_slot_wal_keep_size 64.0 MiB)" in found["message"]
    assert bad(look(database, database.dsn_as(database.role()))) == {"replication-slots": "warning"}
    for _number in range(3):
        next_file(database)
    assert bad(look(database)) == {"replication-slots": "critical"}
    database.sql("CHECKPOINT")
    (found,) = of(look(database), "replication-slots")
    assert (found["level"], found["value"]) == ("critical", 100)
    assert "WAL that it needs is gone" in found["message"]
    database.sql(found["advice"].partition(": ")[2])
    assert bad(look(database)) == {}


def test_an_archive_that_takes_nothing(primary: PrivateServer) -> None:
    primary.restart(archive_mode="on", archive_command="false")
    database = primary.create_database()
    try:
        next_file(database)
        until(lambda: database.value("SELECT failed_count > 0 FROM pg_stat_archiver"))
        result = look(database)
        assert bad(result) == {"archiver": "warning"}
        (found,) = of(result, "archiver")
        assert found["message"].startswith("archiving fails, for 0000")
        assert "; it last succeeded never, and " in found["message"]
        database.sql("ALTER SYSTEM SET archive_command = 'true'")
        database.sql("SELECT pg_reload_conf()")
        until(lambda: database.value("SELECT last_archived_time > last_failed_time FROM pg_stat_archiver"))
        until(lambda: bad(look(database)) == {})

        database.sql("ALTER SYSTEM SET archive_command = ''")
        database.sql("SELECT pg_reload_conf()")
        until(lambda: bad(look(database)) == {"archiver": "warning"})
        (found,) = of(look(database), "archiver")
        assert "neither archive_command nor archive_library is set" in found["message"]
    finally:
        database.sql("ALTER SYSTEM RESET archive_command")
        database.close()
        del primary.embedded.settings["archive_mode"], primary.embedded.settings["archive_command"]
        primary.restart()


def test_tables_whose_rows_cannot_be_found_again(database: Database) -> None:
    database.sql(
        'CREATE SCHEMA s; CREATE TABLE s."o""dd %s" (id int NOT NULL); CREATE TABLE keyed (id int PRIMARY KEY);'
        "CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;"
        "CREATE TABLE all_of_it (id int); ALTER TABLE all_of_it REPLICA IDENTITY FULL;"
        "CREATE TABLE other (id int NOT NULL UNIQUE); ALTER TABLE other REPLICA IDENTITY USING INDEX other_id_key;"
        "CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);"
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (9);"
        "CREATE TABLE known PARTITION OF parted (PRIMARY KEY (id)) FOR VALUES FROM (10) TO (19)"
    )
    database.sql("CREATE PUBLICATION inserts FOR ALL TABLES WITH (publish = 'insert, truncate')")
    assert bad(look(database)) == {}, "nothing that is published need find a row"
    database.sql("CREATE PUBLICATION \"p %s\" FOR ALL TABLES WITH (publish = 'update', publish_via_partition_root)")
    result = look(database)
    assert bad(result) == {"published-tables-without-identity": "warning"}
    found = of(result, "published-tables-without-identity")
    assert [one["subject"] for one in found] == ["public.late", "public.nothing", "public.part", 's."o""dd %s"']
    assert found[3]["message"] == 'it has no replica identity, and "p %s" publishes each UPDATE of it: they fail'
    assert found[1]["message"].startswith("its replica identity is NOTHING")
    for one in found:
        database.sql(one["advice"].partition("; or ")[2])
    assert bad(look(database)) == {}
    database.sql('UPDATE s."o""dd %s" SET id = 1; UPDATE part SET id = 1')


def test_health_of_a_standby_and_of_who_has_one(servers: Servers, primary: PrivateServer, database: Database) -> None:
    """It reads only, and without a history of its own; what its primary remembers is there."""
    steps: list[dict[str, Any]] = [{"analyze": {"include": ["*"]}}, {"health_info": {"fail_on": "never"}}]
    perform("run", database.dsn, plan="watch", steps=steps)
    database.sql("CREATE UNLOGGED TABLE here_only (id serial PRIMARY KEY)")  # and its sequence, which no standby has
    standby = servers.standby(primary, **FEEDBACK)
    try:
        there = Database(standby, database.name)
        until(lambda: primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == [(1,)])
        result = look(there)
        assert (result["status"], bad(result)) == ("ok", {})
        assert {check for check, level in levels(result).items() if level == "unknown"} == set()
        assert result["turns"] <= 6, "no check had to be asked by itself"
        # Whoever has few rights sees as much of a standby that is connected.
        role = database.role()
        until(lambda: standby.sql("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role]) == [(1,)])
        few = look(there, there.dsn_as(role))
        assert (bad(few), levels(few)["replication-lag"], levels(few)["replication-delay"]) == ({}, "info", "info")
        assert bad(look(database)) == {}
        _behind(primary, standby, database, there)
        _needs_old_rows(database, there)
        _cut_off(primary, there)
    finally:
        standby.embedded.remove()
        primary.embedded.start()


def _behind(primary: PrivateServer, standby: PrivateServer, database: Database, there: Database) -> None:
    """Both say so, as long as it lasts."""
    limits: dict[str, Any] = {
        "thresholds": {"replication-lag": {"warning": 1}, "replication-delay": {"warning": 0.001}}
    }
    standby.sql("SELECT pg_wal_replay_pause()")
    until(lambda: standby.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    database.sql(f"CREATE TABLE t (id int); {WRITE}")
    ((end,),) = primary.sql("SELECT pg_current_wal_lsn()::text")
    until(lambda: standby.sql("SELECT pg_last_wal_receive_lsn() >= %s", [end]) == [(True,)])
    until(lambda: bad(look(there, **limits)) == {"replication-lag": "warning", "replication-delay": "warning"})
    result = look(there, **limits)
    assert "received and not replayed, and replay is paused" in of(result, "replication-lag")[0]["message"]
    assert of(result, "replication-delay")[0]["message"].startswith(
        "replay is paused; the last transaction that this standby"
    )
    until(lambda: "replication-lag" in bad(look(database, **limits)))
    (found,) = of(look(database, **limits), "replication-lag")
    assert (found["subject"], found["value"] > 1000) == ("standby standby_2", True)
    assert found["message"].startswith("streaming: ")
    hidden = look(database, database.dsn_as(database.role()), **limits)
    assert bad(hidden) == {}
    assert {levels(hidden)[check] for check in limits["thresholds"]} == {"unknown"}
    assert all("GRANT pg_monitor TO" in one["advice"] for one in of(hidden, "replication-lag"))
    standby.sql("SELECT pg_wal_replay_resume()")
    until(lambda: bad(look(there, **limits)) == {})
    until(lambda: bad(look(database, thresholds={"replication-lag": {"warning": 1}})) == {})


def _needs_old_rows(database: Database, there: Database) -> None:
    """A query there keeps rows here: that is what the standby's feedback is for."""
    limits: dict[str, Any] = {"thresholds": {"horizon-holder": {"warning": 60}}}  # each look is remembered, too
    connection = there.connect()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    until(lambda: database.value("SELECT count(backend_xmin) FROM pg_stat_replication"))
    database.sql("DO $$ BEGIN FOR n IN 1..60 LOOP INSERT INTO t VALUES (n); COMMIT; END LOOP; END $$")
    result = look(database, **limits)
    assert bad(result) == {"horizon-holder": "warning"}
    (found,) = of(result, "horizon-holder")
    assert found["subject"] == "standby standby_2"
    assert found["message"].startswith("a query on the standby standby_2 (hot_standby_feedback, process ")
    connection.close()
    until(lambda: bad(look(database, **limits)) == {})


def _cut_off(primary: PrivateServer, there: Database) -> None:
    """Nothing comes any more, and nothing is behind: still it is not well."""
    primary.stop()
    limits = {"replication-delay": {"warning": 0.001}}
    until(lambda: bad(look(there, thresholds=limits)) == {"replication-delay": "warning"})
    (found,) = of(look(there, thresholds=limits), "replication-delay")
    assert found["message"].startswith(
        "it is not connected to its primary; the last transaction that this standby has replayed"
    )
    assert bad(look(there)) == {}, "it may be a restart"
