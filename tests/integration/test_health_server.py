# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that is set wrong, that is damaged, that has not been restarted: each is told by one check, until it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import releases
from tests.health import bad, levels, look, of
from tests.runs import perform, until
from tests.servers import Database, PrivateServer, Server, Servers

FLUSH = "SELECT pg_stat_force_next_flush()"


@pytest.fixture(scope="module")
def own(servers: Servers) -> Iterator[PrivateServer]:
    """A server that is kept through the file; each test leaves it as it was."""
    made = servers.private()
    yield made
    made.embedded.remove()


def subjects(result: dict[str, Any], check: str) -> list[str]:
    return [one["subject"] for one in of(result, check)]


def test_settings_that_lose_data_and_that_wait_for_a_restart(own: PrivateServer) -> None:
    """Nothing is set aside here: this is how the server of somebody may be."""
    own.restart(fsync="off", full_page_writes="off")
    database = own.create_database()
    checks: dict[str, Any] = {"checks": ["server", "sessions", "replication", "wraparound"], "fail_on": "never"}
    result = perform("health_info", database.dsn, **checks)
    assert bad(result) == {"durability-settings": "critical"}
    assert subjects(result, "durability-settings") == ["fsync", "full_page_writes"]
    few = perform("health_info", database.dsn_as(database.role()), **checks)
    assert bad(few) == {"durability-settings": "critical"}
    database.close_connection()
    own.restart(fsync="on", full_page_writes="on")
    assert bad(perform("health_info", database.dsn, **checks)) == {}

    database.sql("ALTER SYSTEM SET max_connections = 55")
    database.sql("SELECT pg_reload_conf()")
    until(lambda: database.value("SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'"))
    result = look(database)
    assert bad(result) == {"pending-restart": "warning"}
    (found,) = of(result, "pending-restart")
    assert (found["subject"], found["message"]) == (
        "max_connections",
        "the server goes on with 200 until it is restarted",
    )
    assert bad(look(database, database.dsn_as(database.role()))) == {"pending-restart": "warning"}
    database.sql("ALTER SYSTEM RESET max_connections")
    database.sql("SELECT pg_reload_conf()")
    until(lambda: bad(look(database)) == {})
    _what_a_file_has_wrong(own, database)
    database.close()


def _what_a_file_has_wrong(own: PrivateServer, database: Database) -> None:
    """The server goes on without it, until the restart that it then refuses. Only superusers see it."""
    file = own.embedded.data / "embedded.conf"
    before = file.read_text(encoding="utf-8")
    file.write_text(f"{before}work_mem = '100 %s'\n", encoding="utf-8")
    result = look(database)
    assert bad(result) == {"pending-restart": "warning"}
    (found,) = of(result, "pending-restart")
    assert found["subject"] == "work_mem"
    assert "setting could not be applied (line " in found["message"]
    assert bad(look(database, database.dsn_as(database.role()))) == {}
    file.write_text(before, encoding="utf-8")
    assert bad(look(database)) == {}


def test_a_page_that_does_not_fit_its_checksum(own: PrivateServer) -> None:
    database = own.create_database()
    database.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n")
    path = own.embedded.data / database.value("SELECT pg_relation_filepath('t')")
    database.close_connection()
    own.stop()
    with path.open("r+b") as file:
        file.seek(4000)
        file.write(b"damaged")
    own.start()
    assert bad(look(database)) == {}
    with pytest.raises(psycopg2.Error, match="invalid page"):
        database.sql("SELECT * FROM t")
    database.sql(FLUSH)
    until(lambda: bad(look(database)) == {"checksum-failures": "critical"})
    (found,) = of(look(database), "checksum-failures")
    assert (found["subject"], found["value"]) == (database.name, 1)
    assert found["message"] == "1 page did not fit its checksum"
    database.sql("DROP TABLE t; SELECT pg_stat_reset()")
    until(lambda: bad(look(database)) == {})
    database.close()


@pytest.mark.parametrize("setting", ["track_counts", "track_activities"])
def test_settings_that_blind_the_server(database: Database, setting: str) -> None:
    database.sql(f'ALTER DATABASE "{database.name}" SET {setting} = off')
    result = look(database)
    assert bad(result) == {"track-counts": "warning"}
    assert subjects(result, "track-counts") == [setting]
    unseen = database.connect()  # what it does is known to nobody
    assert levels(look(database))["idle-in-transaction"] == ("unknown" if setting == "track_activities" else "info")
    unseen.close()
    database.sql(f'ALTER DATABASE "{database.name}" RESET {setting}')
    assert bad(look(database)) == {}


def test_collations_whose_rules_have_changed(database: Database, server: Server) -> None:
    database.sql(
        'CREATE SCHEMA s; CREATE COLLATION s."o""dd %s" FROM "pg_c_utf8"; CREATE COLLATION s.unused FROM "pg_c_utf8"'
    )
    database.sql("UPDATE pg_collation SET collversion = '0' WHERE collnamespace = 's'::regnamespace")
    assert bad(look(database)) == {}, "nothing uses it"
    database.sql('CREATE TABLE t (name text COLLATE s."o""dd %s" PRIMARY KEY)')
    result = look(database)
    assert bad(result) == {"collation-version": "warning"}
    (found,) = of(result, "collation-version")
    assert (found["subject"], found["evidence"]["was"], found["evidence"]["now"]) == ('s."o""dd %s"', "0", "1")
    database.sql(found["advice"].partition("then ")[2])
    assert bad(look(database)) == {}

    name = f'{database.name} %s "of its own"'.replace('"', '""')
    database.sql(f"CREATE DATABASE \"{name}\" TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
    other = Database(server, name.replace('""', '"'))
    try:
        assert bad(look(other)) == {}
        other.sql("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
        result = look(other)
        assert (bad(result), subjects(result, "collation-version")) == ({"collation-version": "warning"}, [other.name])
        for statement in of(result, "collation-version")[0]["advice"].rstrip(";").split("; "):
            other.sql(statement)
        assert bad(look(other)) == {}
    finally:
        other.close()


def test_faults_of_the_release_that_are_about_what_the_database_has(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gin, always = (
        next(fault for fault in releases.FAULTS if "GIN" in fault.what),
        releases.Fault("it is new", {18: 999}, after="wait"),
    )
    fault = releases.Fault(gin.what, {18: 999}, gin.exposed, gin.after)
    older = releases.Fault("it is old", {17: 999, 18: 0})
    monkeypatch.setattr(releases, "FAULTS", (fault, older))
    checks: dict[str, Any] = {"checks": ["pg-version"], "fail_on": "never"}
    assert bad(perform("health_info", database.dsn, **checks)) == {}
    database.sql("CREATE TABLE t (tags int[]); CREATE INDEX ON t USING gin (tags)")
    result = perform("health_info", database.dsn_as(database.role()), **checks)
    assert bad(result) == {"pg-version": "warning"}
    (found,) = of(result, "pg-version")
    assert (found["value"], found["evidence"]["reasons"]) == (1, [gin.what])
    assert found["advice"] == f"update to the newest 18.x; then {gin.after}"
    monkeypatch.setattr(releases, "FAULTS", (fault, always))
    (found,) = of(perform("health_info", database.dsn, **checks), "pg-version")
    assert (found["value"], found["advice"]) == (2, f"update to the newest 18.x; then {gin.after}; then wait")
    monkeypatch.setattr(releases, "LAST_FIXES", {18: releases.date(2001, 1, 1)})
    (found,) = of(perform("health_info", database.dsn, **checks), "pg-version")
    assert found["value"] == 3
    assert found["message"].endswith("; there are no fixes since 2001-01-01")
    assert found["advice"].startswith("upgrade to a newer major release; until then update to the newest 18.x")


def test_whether_the_database_has_what_a_fault_is_about(database: Database) -> None:
    """Each condition is SQL that every database answers; an empty one has nothing of it, unless it is about all."""
    conditions = [fault.exposed for fault in releases.FAULTS if fault.exposed != releases.ALWAYS]
    asked = f"SELECT ARRAY[{', '.join(conditions)}]"
    assert database.value(asked) == [False] * len(conditions)
    database.sql(
        "CREATE TABLE t (tags int[], code char(3), price numeric, at timestamptz, lasts interval, place point);"
        "CREATE INDEX ON t USING gin (tags); CREATE INDEX ON t (code);"
        "CREATE INDEX ON t (price) WHERE price > 0; CREATE INDEX ON t USING gist (place);"
        "CREATE INDEX ON t USING brin (price numeric_minmax_multi_ops, at timestamptz_bloom_ops);"
        "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree) PARTITION BY RANGE (id)"
    )
    assert database.value(asked) == [True] * len(conditions)


def test_counters(database: Database) -> None:
    """What a database has used; from amounts on that say something, or as somebody asks for."""
    database.sql("SET work_mem = '64kB'; SELECT n FROM generate_series(1, 100000) AS n ORDER BY -n")
    database.sql(FLUSH)
    until(lambda: database.value("SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"))
    assert bad(look(database)) == {}
    for check, limits, said in (
        ("temporary-files", {"warning": 1}, " files in "),
        (
            "cache-hit",
            {"warning": 100},
            "accesses to blocks were served from shared buffers, which are too few to say much",
        ),
        ("statistics-age", {"warning": 7}, "and say little before a week is over"),
    ):
        result = look(database, thresholds={check: limits})
        assert bad(result) == {check: "warning"}
        assert said in of(result, check)[0]["message"]


def test_a_server_without_checksums(postgres15: Server) -> None:
    database = postgres15.create_database()
    result = look(database)
    assert bad(result) == {}
    assert of(result, "checksum-failures")[0]["message"] == "data checksums are off: damage of pages is not noticed"
    asked = {"checksums-off": {"warning": 1}}
    assert bad(look(database, thresholds=asked)) == {"checksums-off": "warning"}
    database.close()


def test_connections_are_counted_by_who_sees_nobody(own: PrivateServer) -> None:
    database = own.create_database()
    role = database.role()
    others = [database.connect() for _number in range(3)]
    for dsn in (database.dsn, database.dsn_as(role)):
        until(lambda dsn=dsn: used(database, dsn) == 1 + 1 + len(others))  # type: ignore[misc]
    assert levels(look(database, database.dsn_as(role)))["connections"] == "info"
    for connection in others:
        connection.close()
    database.close()


def used(database: Database, dsn: str) -> int:
    (found,) = of(look(database, dsn), "connections")
    number: int = found["evidence"]["used"]
    return number
