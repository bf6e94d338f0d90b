# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vacuum where statistics are lost, off, restored or older than what they are about: it says so, and does not guess."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.runs import only, perform, until
from tests.servers import Database, PrivateServer
from tests.tables import flushed, held, make, run, told, write

THIN = "\u202f"
# One row a page.
WIDE = "CREATE TABLE w (id int, note text) WITH (fillfactor = 10)"
FILL = "INSERT INTO w SELECT i, repeat('x', 700) FROM generate_series(1, 1200) AS i"


@pytest.fixture(params=["server", "postgres15"])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = request.getfixturevalue(request.param).create_database()
    yield made
    made.close()


def test_lost_counters_are_said_once_and_not_guessed(either: Database) -> None:
    for name in ("t", "u"):
        make(either, name, dead=5000)
    make(either, "empty", rows=0)
    write(either, "VACUUM t, u")
    write(either, "DELETE FROM t WHERE id <= 8000", "DELETE FROM u WHERE id <= 8000")
    write(either, "SELECT pg_stat_reset()")
    result = run(either, "t", "u", "empty")
    assert (result["totals"], result["changed"]) == ({"unchanged": 3}, False)
    (warning,) = result["warnings"]
    assert warning.startswith("vacuum: 2 tables have rows from before the last reset of the statistics, of 20")
    unknown = f"0 dead rows counted since the statistics were reset, below the threshold of 1{THIN}000"
    assert told(result)[0] == ("public.t", "unchanged", unknown)
    write(either, "DELETE FROM t WHERE id <= 9500")
    due = run(either, "t")
    assert (only(due)["outcome"], only(due)["numbers"]["dead"]) == ("done", 1500), "what has died since is counted"
    again = run(either, "t")
    assert (told(again)[0][1], again["warnings"]) == ("unchanged", []), "a VACUUM makes the counters true again"


def test_tables_that_were_never_looked_at_and_lost_their_counters(either: Database) -> None:
    make(either, dead=5000)
    write(either, "SELECT pg_stat_reset()")
    result = run(either, "t")
    assert only(result)["outcome"] == "unchanged"
    version = either.value("SELECT current_setting('server_version_num')::int")
    assert len(result["warnings"]) == (version >= 150000)


def test_a_crash_loses_the_counters(private_server: PrivateServer) -> None:
    database = private_server.create_database()
    make(database, dead=5000)
    write(database, "ANALYZE t; CHECKPOINT")
    private_server.crash()
    private_server.start()
    database = Database(private_server, database.name)
    result = run(database, "t")
    assert (only(result)["outcome"], len(result["warnings"])) == ("unchanged", 1)
    assert "rows from before the last reset of the statistics, of 20" in result["warnings"][0]


def test_a_server_that_counts_nothing(database: Database) -> None:
    """Pages and ages decide; that it was done is known from what the server has not said."""
    make(database)
    write(database, "VACUUM t", "DELETE FROM t WHERE id <= 5000")
    database.sql(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    result = run(database, "t")
    reason = "its changes are not counted, and neither its pages nor its age give a reason"
    assert told(result) == [("public.t", "unchanged", reason)]
    assert result["warnings"] == [
        "vacuum: the server counts no changes (track_counts is off): only pages and ages decide"
    ]
    due = only(run(database, "t", freeze=True, overrides=[{"match": "*.t", "min_dead_rows": 0}]))
    assert (due["outcome"], due["numbers"]["frozen_share_after"]) == ("done", 1.0)
    database.sql("UPDATE t SET note = 'x'")
    write(database, "CREATE INDEX ON t (note); DROP INDEX t_note_idx")
    with held(database, "LOCK TABLE t IN SHARE MODE"):
        assert only(run(database, "t", freeze=True))["outcome"] in {"contended", "unchanged"}


def test_a_restored_database_has_nothing_to_do(database: Database) -> None:
    """Also where the dump has brought the statistics, which say how many pages were visible somewhere else."""
    make(database, dead=5000)
    write(
        database,
        WIDE,
        FILL,
        "VACUUM ANALYZE",
        "UPDATE w SET id = 0 WHERE id <= 800",
        "ANALYZE",
        "CREATE TABLE empty (id int)",
    )
    program = database.server.bin
    copy = database.server.create_database()
    try:
        dump = subprocess.run([str(program / "pg_dump"), "--statistics", database.dsn], capture_output=True, check=True)
        load = [str(program / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", copy.dsn]
        subprocess.run(load, input=dump.stdout, check=True, stdout=subprocess.DEVNULL)
        counted = "SELECT n_tup_ins >= 5000 FROM pg_stat_user_tables WHERE relname = 't'"
        until(lambda: copy.value(counted))
        assert copy.value("SELECT relallvisible < relpages / 2 AND relallvisible > 0 FROM pg_class WHERE relname = 'w'")
        result = perform("vacuum", copy.dsn, include=["*"])
        assert (result["totals"], result["warnings"]) == ({"unchanged": 3}, [])
    finally:
        copy.close()


def test_pages_that_are_no_longer_all_visible(database: Database) -> None:
    """An index-only scan has to look into them. Only where a VACUUM would make them visible again."""
    flushed(database)
    write(database, WIDE, FILL)
    assert only(run(database, "w", loaded=True))["numbers"]["visible_share_after"] == 1.0
    write(database, "UPDATE w SET id = id + 0 WHERE id <= 700")
    assert only(run(database, "w"))["outcome"] == "unchanged", "nobody has noticed it yet"
    write(database, "ANALYZE w")
    snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT txid_current_if_assigned()"
    planned = only(run(database, "w", check=True))
    assert planned["outcome"] == "planned"
    # How far a table grows at a time depends on who else extends it.
    assert re.fullmatch(r"4\d% of its pages are all-visible \(threshold 50%\)", planned["reason"])
    assert only(run(database, "w", check=True, visible_share=0.3))["outcome"] == "unchanged"
    done = only(run(database, "w"))
    assert (done["outcome"], done["numbers"]["visible_share_after"]) == ("done", 1.0)
    assert only(run(database, "w"))["outcome"] == "unchanged"
    with held(database, snapshot):
        write(database, "VACUUM w", "UPDATE w SET id = id + 0 WHERE id <= 700", "ANALYZE w")
        assert only(run(database, "w"))["outcome"] == "unchanged", "they could not become visible"
