# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dead rows that somebody may still see, and no VACUUM in vain. Forced freezing, failsafe mode, autovacuum at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.raw import RawClient
from tests.runs import only, until
from tests.servers import Database, PrivateServer, Servers
from tests.tables import held, make, run, write

THIN = "\u202f"
DUE = f"2{THIN}000 dead rows (threshold 1{THIN}000)"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_if_assigned()"


@pytest.fixture(params=["server", "postgres15"])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = request.getfixturevalue(request.param).create_database()
    make(made)
    yield made
    made.close()


def test_a_transaction_that_stays_open(either: Database) -> None:
    """The first run cannot know and learns it; the next ones leave the table alone until the transaction has ended."""
    with held(either, SNAPSHOT) as pid:
        write(either, "DELETE FROM t WHERE id <= 2000")
        first = only(run(either, "t"))
        assert (first["outcome"], first["changed"], first["rows"]) == ("contended", True, 0)
        assert first["reason"].startswith(
            f"{DUE}; 2{THIN}000 dead rows cannot go: session {pid} (postgres, idle in transaction for "
        )
        assert first["reason"].endswith(") may still see them")
        for more in (0, 300):
            write(either, f"DELETE FROM t WHERE id <= 2000 + {more}")
            again = run(either, "t")
            assert (only(again)["outcome"], again["changed"], again["status"]) == ("contended", False, "partial")
            assert f"but none of them can go: session {pid} (" in only(again)["reason"]
    done = only(run(either, "t"))
    assert (done["outcome"], done["rows"], done["numbers"]["dead_after"]) == ("done", 2300, 0)
    assert only(run(either, "t"))["outcome"] == "unchanged"


def test_without_a_history_the_last_vacuum_tells(database: Database) -> None:
    """What has died since a VACUUM that came after the snapshot is newer than the snapshot."""
    make(database)
    with held(database, SNAPSHOT) as pid:
        with closing(database.connect()) as other:
            other.cursor().execute("VACUUM t")
        write(database, "DELETE FROM t WHERE id <= 2000")
        result = run(database, "t", history=False)
        assert (only(result)["outcome"], result["changed"], f"session {pid} (" in only(result)["reason"]) == (
            "contended",
            False,
            True,
        )
    assert only(run(database, "t", history=False))["outcome"] == "done"


def test_whoever_holds_nothing_back(servers: Servers) -> None:
    """A snapshot that is newer than the deletes, one in another database, one that ends in time.

    On a server of its own: a snapshot is as old as the oldest transaction that writes in any database.
    """
    alone = servers.private()
    database, elsewhere = alone.create_database(), alone.create_database()
    try:
        make(database)
        write(database, "DELETE FROM t WHERE id <= 2000")
        with held(elsewhere, SNAPSHOT), held(database, SNAPSHOT):
            done = only(run(database, "t"))
            assert (done["outcome"], done["rows"], done["reason"]) == ("done", 2000, DUE)
    finally:
        database.close_connection()
        alone.embedded.remove()


def test_an_ordinary_role_learns_who_it_is_as_far_as_it_may(database: Database) -> None:
    make(database)
    role = database.role("plain")
    database.sql(f"ALTER TABLE t OWNER TO {role}")
    with held(database, SNAPSHOT) as pid:
        write(database, "DELETE FROM t WHERE id <= 2000")
        reason = only(run(database, "t", user=role, history=False))["reason"]
        assert f"2{THIN}000 dead rows cannot go: session {pid} (postgres" in reason


@pytest.fixture(scope="module")
def special(servers: Servers) -> Iterator[PrivateServer]:
    """A server with prepared transactions and with ids that run out early."""
    made = servers.private()
    made.restart(
        max_prepared_transactions="2",
        autovacuum_freeze_max_age="100000",
        autovacuum_multixact_freeze_max_age="10000",
        vacuum_multixact_failsafe_age="0",
    )
    yield made
    made.embedded.remove()


@pytest.fixture
def place(special: PrivateServer) -> Iterator[Database]:
    made = special.create_database()
    yield made
    made.close()


def burn(database: Database, transactions: int) -> None:
    """Use up so many transaction ids."""
    each = "BEGIN FOR i IN 1 .. n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END"
    write(database, f"CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS '{each}'", f"CALL burn({transactions})")


def burn_multixacts(database: Database, table: str, number: int) -> None:
    """Use up so many multixact ids: each row is locked twice, by a transaction and by one within it."""
    write(database, f"""
        DO $$BEGIN FOR i IN 1 .. {number} LOOP
            PERFORM FROM {table} WHERE id = i FOR SHARE;
            BEGIN PERFORM FROM {table} WHERE id = i FOR UPDATE; EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP; END$$""")  # fmt: skip


def test_a_prepared_transaction(place: Database) -> None:
    make(place)
    with closing(place.connect()) as other:
        other.cursor().execute("BEGIN; CREATE TABLE held (id int); PREPARE TRANSACTION 'two phases'")
    try:
        write(place, "DELETE FROM t WHERE id <= 2000")
        assert 'the prepared transaction "two phases" of postgres, for ' in only(run(place, "t"))["reason"]
        assert only(run(place, "t"))["changed"] is False
    finally:
        place.sql("ROLLBACK PREPARED 'two phases'")
    assert only(run(place, "t"))["outcome"] == "done"


def test_standbys_and_slots(place: Database) -> None:
    """A query on a standby without a slot is known by its walsender; one with a slot by the slot, which stays."""
    make(place)
    xmin, start = place.sql("SELECT txid_current()::int, pg_current_wal_flush_lsn()::text")[0]
    place.sql("SELECT pg_create_physical_replication_slot('far', true)")
    write(place, "DELETE FROM t WHERE id <= 2000")
    reasons = []
    for slot in ("", "far"):
        with closing(RawClient(place.server, place.name, replication=True)) as other:
            other.stand_by(start, xmin, slot)
            known = "SELECT xmin FROM pg_replication_slots" if slot else "SELECT backend_xmin FROM pg_stat_replication"
            until(lambda sent=known: place.sql(sent)[0] == (str(xmin),))  # type: ignore[misc]
            reasons.append((only(run(place, "t"))["reason"], other.pid))
        place.close_connection()
    (first, walsender), (second, sender) = reasons
    assert f"cannot go: a query on the standby (hot_standby_feedback, process {walsender}) may still see them" in first
    assert f"none of them can go: the replication slot far, used by process {sender} may still see them" in second
    until(lambda: place.sql("SELECT active_pid FROM pg_replication_slots") == [(None,)])
    result = run(place, "t")
    assert "the replication slot far, which nobody uses may still see them" in only(result)["reason"]
    place.sql("SELECT pg_drop_replication_slot('far')")
    assert (only(run(place, "t"))["outcome"], result["changed"]) == ("done", False)


def test_freezing_ahead_of_what_is_forced(place: Database) -> None:
    """All pages are read, and what is old is frozen, so that it is not due again; what somebody needs cannot be."""
    make(place)
    write(place, "VACUUM t")
    burn(place, 76_000)
    with held(place, "SELECT pg_current_xact_id()"):
        due = only(run(place, "t", check=True))
        assert due["reason"].startswith("its oldest transaction id is 76")
        assert due["reason"].endswith(f" old (threshold 75{THIN}000)")
    done = only(run(place, "t"))
    assert (done["outcome"], done["numbers"]["freeze_age"] > 75_000, done["numbers"]["freeze_age_after"] < 40_000) == (
        "done",
        True,
        True,
    )
    assert only(run(place, "t"))["outcome"] == "unchanged"
    make(place, "u")
    with held(place, "SELECT pg_current_xact_id()") as pid:
        write(place, "CALL burn(76000)")
        result = run(place, "u")
        assert (only(result)["outcome"], result["changed"]) == ("contended", False)
        assert (
            f"but it cannot be frozen further: session {pid} (postgres, idle in transaction for"
            in only(result)["reason"]
        )


def test_multixacts_and_failsafe_mode(place: Database) -> None:
    """At 7 500 it is due; above 10 500 the server leaves indexes alone, and the next run makes up for it."""
    make(place, rows=12_000)
    burn_multixacts(place, "t", 8000)
    due = only(run(place, "t"))
    assert due["reason"] == f"its oldest multixact id is 8{THIN}000 old (threshold 7{THIN}500)"
    assert (due["outcome"], due["numbers"]["multixact_age_after"]) == ("done", 0)
    assert only(run(place, "t"))["outcome"] == "unchanged"
    burn_multixacts(place, "t", 11_000)
    write(place, "DELETE FROM t WHERE id <= 2000")
    failsafe = run(place, "t")
    assert only(failsafe)["reason"].endswith("; it went into failsafe mode, a later run cleans up its indexes")
    assert "bypassing nonessential maintenance" in failsafe["warnings"][0]
    later = only(run(place, "t"))
    assert later["reason"] == "its last vacuum went into failsafe mode and left its indexes alone"
    assert (later["outcome"], "INDEX_CLEANUP ON" in later["statements"][0]) == ("done", True)
    assert only(run(place, "t"))["outcome"] == "unchanged"


WORKING = """
SELECT p.pid FROM pg_stat_progress_vacuum AS p JOIN pg_stat_activity AS a USING (pid)
WHERE a.backend_type = 'autovacuum worker' AND p.datname = current_database() AND p.relid = %s::regclass
"""


def test_autovacuum_at_work_is_not_disturbed(private_server: PrivateServer) -> None:
    """Neither an ordinary one, which a lock request would cancel, nor one that prevents wraparound."""
    private_server.restart(autovacuum="on", autovacuum_naptime="1s", autovacuum_multixact_freeze_max_age="10000")
    place = private_server.create_database()
    role = place.role("plain")
    slow = "WITH (fillfactor = 10, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"  # a minute at least
    for name, dead in (("busy", 5000), ("old", 0)):
        make(place, name, rows=11_000, dead=dead, more=slow.replace(")", ", autovacuum_vacuum_insert_threshold = -1)"))
        place.sql(f"ALTER TABLE {name} OWNER TO {role}")
        if name == "old":
            burn_multixacts(place, "old", 11_000)
        [(worker,)] = until(lambda table=name: place.sql(WORKING, [table]))  # type: ignore[misc]
        how: dict[str, Any] = {"min_dead_rows": 10, "freeze_age_factor": 0.5, "history": False}
        told_by_all = only(run(place, name, **how))["reason"]
        assert f"but autovacuum, process {worker} is vacuuming it" in told_by_all
        assert told_by_all.endswith(" to prevent wraparound") == (name == "old")
        plain = only(run(place, name, user=role, **how))
        assert (plain["outcome"], f"but autovacuum, process {worker} is vacuuming it" in plain["reason"]) == (
            "contended",
            True,
        )
        assert place.sql(WORKING, [name]) == [(worker,)], "it goes on"
