# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ages, who keeps them from falling, and when they end: on servers whose transaction IDs are burnt on purpose."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from tests.health import bad, levels, look, of
from tests.runs import perform, until
from tests.servers import Database, PrivateServer

# What only reads makes no history.
STEPS: list[dict[str, Any]] = [{"analyze": {"include": ["*"]}}, {"health_info": {"fail_on": "never"}}]
# The server refuses to go on so many before the end.
LAST = 2**31 - 3_000_000
FORECAST = "wraparound-forecast"
# So that autovacuum, which nothing keeps from it then, does not freeze what shall be old.
LATE = {"autovacuum_freeze_max_age": "2000000000", "autovacuum_multixact_freeze_max_age": "2000000000"}
AGES = "SELECT max(age(datfrozenxid)), max(mxid_age(datminmxid)) FROM pg_database"
# Both begin a segment of what the server keeps of each of them, so that it need not have the one before.
BURNT_IDS, BURNT_MULTIXACTS = 600 * 2**20, 300 * 2**20


def watch(database: Database) -> dict[str, Any]:
    return perform("run", database.dsn, plan="watch", steps=STEPS)


def age_findings(database: Database, interval: str) -> None:
    database.sql("UPDATE maintenance.finding SET found_at = found_at - %s::interval", [interval])


def age_runs(database: Database, interval: str) -> None:
    database.sql(
        "UPDATE maintenance.run SET started_at = started_at - %(by)s::interval, finished_at = finished_at - %(by)s::interval",
        {"by": interval},
    )


def said(result: dict[str, Any], check: str = FORECAST) -> dict[str, str]:
    return {one["subject"]: one["message"] for one in of(result, check)}


def burn(server: PrivateServer) -> None:
    """As if so many had been used. A prepared transaction stays."""
    server.stop()
    data = ("-D", str(server.embedded.data))
    server.run("pg_resetwal", "-x", str(BURNT_IDS), "-m", f"{BURNT_MULTIXACTS},1", *data)
    server.start()


def test_days_left_on_a_server_that_burns_them(private_server: PrivateServer) -> None:
    private_server.restart(**LATE, max_prepared_transactions="4")
    database = private_server.create_database()
    database.sql("CREATE TABLE t (id int)")
    database.sql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'o''ne %s'")
    assert levels(look(database))[FORECAST] == "unknown", "there is no history"
    _prepared(database)
    watch(database)
    young = "the history is too young to say how fast they are used: an hour at least must lie between two runs"
    result = look(database)
    assert (bad(result), said(result)) == ({}, {database.name: young})
    began = database.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0]
    age_findings(database, "50 min")
    assert said(look(database)) == {database.name: young}
    age_runs(database, "6 h")
    (enough,) = said(look(database)).values()
    assert enough.startswith("they last for more than a hundred years: the oldest is ")
    database.close_connection()
    burn(private_server)

    result = look(database)
    assert bad(result) == {FORECAST: "warning", "horizon-holder": "critical"}
    ids, multixacts = database.sql(AGES)[0]
    expected = {
        "transaction IDs": (LAST - ids) / (BURNT_IDS - began) / 4,
        "multixacts": (LAST - multixacts) / BURNT_MULTIXACTS / 4,
    }
    found = {one["subject"]: one for one in of(result, FORECAST)}
    assert {name: one["value"] for name, one in found.items()} == pytest.approx(expected, rel=0.01)
    assert [round(days, 1) for days in expected.values()] == [0.6, 1.5]
    assert found["multixacts"]["evidence"]["per_day"] == pytest.approx(4 * BURNT_MULTIXACTS, rel=0.01)
    # Somebody whose transaction is as old as the last run keeps all of this from being frozen.
    (holder,) = of(result, "horizon-holder")
    assert holder["subject"] == "prepared transaction 'o''ne %s'"
    assert holder["value"] == pytest.approx(BURNT_IDS, rel=0.01)
    database.sql(holder["advice"].partition("; or ")[2])
    assert bad(look(database)) == {FORECAST: "warning"}

    _other_databases(database)
    age_runs(database, "6 days")
    assert bad(look(database)) == {}, "over a week that is a quarter of a day's use"
    _counters_of_another_time(database)
    database.close()


def _prepared(database: Database) -> None:
    """It has no session, and keeps its locks."""
    soon = {"warning": 0.001, "critical": None}
    result = look(database, thresholds={"prepared-transactions": soon})
    assert bad(result) == {"prepared-transactions": "warning"}
    (found,) = of(result, "prepared-transactions")
    assert found["subject"] == "prepared transaction 'o''ne %s'"
    assert found["advice"] == "COMMIT PREPARED 'o''ne %s'; or ROLLBACK PREPARED 'o''ne %s';"
    waiter = database.connect()
    with ThreadPoolExecutor(1) as pool, waiter.cursor() as cursor:
        future = pool.submit(cursor.execute, "ALTER TABLE t ADD x int")
        until(lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        result = look(database, thresholds={"blocked-sessions": soon})
        assert bad(result) == {"blocked-sessions": "warning"}
        (blocker,) = of(result, "blocked-sessions")
        assert blocker["message"].startswith("this: 'o''ne %s': 1 session waits for it, the longest for ")
        assert (blocker["subject"], blocker["advice"]) == ("a prepared transaction", found["advice"])
        waiter.cancel()
        assert isinstance(future.exception(60), psycopg2.Error)
    waiter.close()


def _other_databases(database: Database) -> None:
    """What is oldest is told; the others stop this one, too."""
    database.sql("VACUUM (FREEZE)")
    ids = database.value("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    assert ids < 1000
    limits: dict[str, Any] = {"freeze-age": {"warning": 500_000_000}}
    result = look(database, thresholds=limits)
    assert bad(result) == {FORECAST: "warning", "freeze-age": "warning"}
    advice = {one["subject"]: one["advice"] for one in of(result, "freeze-age")}
    assert advice.keys() == {"postgres", "template0", "template1"}
    assert "connect to this other database" in advice["postgres"]
    assert advice["template0"].startswith("ALTER DATABASE template0 ALLOW_CONNECTIONS true")


def _counters_of_another_time(database: Database) -> None:
    """What a history cannot know better gives no nonsense: a restored one, one of another server."""
    wrong = (
        {"next_xid": "99999999999"}, {"system": '"7"'}, {"next_xid": '"x"'}, {"next_xid": "-1"}, {"next_xid": "null"},
    )  # fmt: skip
    database.sql("CREATE TABLE before AS SELECT id, evidence FROM maintenance.finding")
    for changes in wrong:
        for name, value in changes.items():
            database.sql(
                "UPDATE maintenance.finding SET evidence = evidence || jsonb_build_object(%s, %s::jsonb)", [name, value]
            )
        result = look(database)
        assert bad(result) == {}
        assert said(result) == {
            database.name: "what earlier runs have found is of another server, or of a later time of this one"
        }, changes
        database.sql("UPDATE maintenance.finding AS f SET evidence = b.evidence FROM before AS b WHERE b.id = f.id")


def test_which_tables_are_oldest(database: Database) -> None:
    database.sql('CREATE TABLE t (text text); CREATE TABLE "o""dd %s" (id int)')
    age = "UPDATE pg_class SET relfrozenxid = '{}' WHERE oid = {}"
    database.sql(age.format(3, """'"o""dd %s"'::regclass"""))
    database.sql(age.format(4, "(SELECT reltoastrelid FROM pg_class WHERE oid = 't'::regclass)"))
    ages = of(look(database, thresholds={"freeze-age": {"warning": 1}}), "freeze-age")
    (found,) = [one for one in ages if one["subject"] == database.name]
    assert list(found["evidence"]["tables"])[:2] == ['public."o""dd %s"', "public.t"]
    assert 'VACUUM (FREEZE) public."o""dd %s", public.t, ' in found["advice"]
    database.sql('VACUUM (FREEZE) t, "o""dd %s"')


def test_who_keeps_old_rows(private_server: PrivateServer) -> None:
    private_server.restart(wal_level="logical")
    database = private_server.create_database()
    database.sql("CREATE TABLE t (id int)")
    limits: dict[str, Any] = {"thresholds": {"horizon-holder": {"warning": 3}}}
    assert bad(look(database, **limits)) == {}
    connection = database.connect(application_name="report")
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    for number in range(4):
        database.sql("INSERT INTO t VALUES (%s)", [number])
    result = look(database, **limits)
    assert bad(result) == {"horizon-holder": "warning"}
    (found,) = of(result, "horizon-holder")
    assert (found["subject"], found["value"]) == (f"pid {connection.info.backend_pid}", 4)
    assert found["message"].startswith(
        f"session {connection.info.backend_pid} (postgres, report, idle in transaction for "
    )
    assert found["message"].endswith("needs rows as they were 4 transactions ago")
    assert bad(look(database, database.dsn_as(database.role()), **limits)) == {"horizon-holder": "warning"}
    database.sql(found["advice"])
    until(lambda: bad(look(database, **limits)) == {})  # a session ends some time after it was told to

    database.sql("SELECT pg_create_logical_replication_slot('shop', 'pgoutput')")
    for number in range(4):
        database.sql("INSERT INTO t VALUES (%s)", [number])
    result = look(database, **limits)
    assert bad(result) == {"horizon-holder": "warning"}
    (found,) = of(result, "horizon-holder")
    assert found["subject"] == "slot shop"
    assert "the replication slot shop (catalogs only), which nobody uses needs rows" in found["message"]
    database.sql(found["advice"].partition(": ")[2])
    assert bad(look(database, **limits)) == {}
    database.close()


def test_places_for_members_are_seen_by_who_may_see_files(database: Database) -> None:
    limits: dict[str, Any] = {"thresholds": {"multixact-members": {"warning": 1}}}
    result = look(database, **limits)
    assert bad(result) == {"multixact-members": "warning"}
    (found,) = of(result, "multixact-members")
    assert found["value"] % 52352 == 0
    role = database.role()
    (hidden,) = of(look(database, database.dsn_as(role)), "multixact-members")
    assert hidden["level"] == "unknown"
    database.sql(hidden["advice"])
    assert bad(look(database, database.dsn_as(role), **limits)) == {"multixact-members": "warning"}


def test_findings_of_others_must_be_readable(database: Database) -> None:
    watch(database)
    age_findings(database, "2 days")
    role = database.role()
    database.sql(
        f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA maintenance TO {role}"
    )
    database.sql(f"REVOKE SELECT ON maintenance.finding FROM {role}")
    (found,) = of(look(database, database.dsn_as(role)), FORECAST)
    assert (found["level"], found["advice"]) == ("unknown", f"GRANT SELECT ON maintenance.finding TO {role};")
    database.sql(found["advice"])
    assert levels(look(database, database.dsn_as(role)))[FORECAST] == "info"
