# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vacuum over many tables: thousands are decided at once, several are done at once, and a killed run is gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from tests.runs import REPOSITORY, until
from tests.servers import PrivateServer, Server
from tests.tables import make, run

THIN = "\u202f"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"
RUN = """
import sys
from tests.tables import run
from tests.servers import Database
from tests.runs import perform
perform("vacuum", sys.argv[1], include=["public.*"], jobs=4, pace="gentle")
"""


def test_a_killed_run_is_gone_on_with(private_server: PrivateServer) -> None:
    """Four tables are being vacuumed when the process is killed. The server lets go of them, and the next run does them all.

    A transaction of another test's database would make the snapshots of our sessions old, and with them keep dead rows.
    """
    database = private_server.create_database()
    slow = "WITH (fillfactor = 10, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
    for number in range(6):
        make(database, f"t{number}", rows=5000, dead=2000, more=slow)
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'collections'}:{REPOSITORY}"}
    with subprocess.Popen([sys.executable, "-c", RUN, database.dsn], env=environment) as process:
        until(lambda: database.value("SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid >= 16384") == 4)
        process.send_signal(signal.SIGKILL)
        process.wait(120)
    until(lambda: database.value(OURS) == 0)
    assert database.value("SELECT count(*) FROM maintenance.action WHERE finished_at IS NULL") == 4
    result = run(database, include=["public.*"], jobs=4)
    assert result["totals"] == {"done": 7}
    assert "was abandoned in vacuum public.t" in result["warnings"][0]
    assert database.value("SELECT count(*) FROM maintenance.action WHERE outcome = 'abandoned'") == 4
    assert run(database, include=["public.*"], jobs=4)["totals"] == {"unchanged": 6}


def test_no_more_connections_than_the_server_can_spare(private_server: PrivateServer) -> None:
    private_server.restart(max_connections="12", superuser_reserved_connections="3")
    database = private_server.create_database()
    for number in range(6):
        make(database, f"t{number}", dead=2000)
    until(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL") <= 2)
    result = run(database, include=["public.*"], jobs=6)
    assert (result["status"], result["totals"]) == ("ok", {"done": 7})
    assert result["warnings"] == ["only 4 of 6 sessions (jobs): the server has 7 connections left"]


def test_several_at_once(private_server: PrivateServer, postgres15: Server) -> None:
    """What each would do for the database is done once, at the end; from 16 on.

    A transaction of another database makes the snapshots of all sessions old, also of ours, and with them keeps dead rows.
    """
    here, older = private_server.create_database(), postgres15.create_database()
    try:
        for database in (here, older):
            for number in range(1, 7):
                make(database, f"work_{number}", rows=3000 + 100 * number, dead=2000)
            how: dict[str, Any] = {"include": ["public.work_*"], "jobs": 3, "history": False}
            planned = run(database, check=True, **how)
            targets = [one["target"] for one in planned["actions"]]
            done = run(database, **how)
            assert [one["target"] for one in done["actions"]] == targets
            skips = [" SKIP_DATABASE_STATS" in one["statements"][0] for one in done["actions"]]
            if database is here:
                assert targets[-1] == f"database {here.name}"
                assert done["actions"][-1]["statements"] == ["VACUUM (ONLY_DATABASE_STATS)"]
                assert (skips, done["totals"]) == ([True] * 6 + [False], {"done": 7})
                assert run(database, **how)["totals"] == {"unchanged": 6}
            else:
                assert (skips, set(done["totals"]) <= {"done", "contended"}) == ([False] * 6, True)
    finally:
        older.close()
