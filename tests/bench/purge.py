# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge against one DELETE of the same rows, and what the application notices of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from tests.bench import application
from tests.bench.measure import Ratio, Report, interleaved
from tests.bench.pgbench import latencies, percentile
from tests.bench.workshop import DURABLE, Workshop
from tests.servers import Database, Server

ONE_DELETE = "DELETE FROM sessions WHERE expires_at <= timezone('UTC', now())"
# The application looks a session up by its token and touches it, one that has not expired: those come last.
SCRIPT = """
\\set n random({sessions} / 2 + 1, {sessions})
SELECT id, user_id, expires_at FROM sessions WHERE token = md5('token ' || :n);
UPDATE sessions SET updated_at = now() WHERE id = 'session_' || :n;
"""
# A steady load, well under what the machine can do; with a rate pgbench counts the time a transaction had to wait.
LOAD = ("--client=4", "--jobs=1", "--rate=200")
QUIET = 20  # seconds


def purge(workshop: Workshop, report: Report) -> None:
    """Half of the sessions have expired: rows per second against one DELETE, and the application's latency meanwhile."""
    server = workshop.server("durable", DURABLE)
    origin = application.new(server, workshop.rows // 10, workshop.rows, expired=workshop.rows // 2)
    server.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [origin.name])
    rounds = max(3, workshop.rounds // 5)
    expired = workshop.rows // 2
    found = interleaved(
        rounds, ours=partial(_seconds, server, origin, _ours), one=partial(_seconds, server, origin, _one)
    )
    rates = [expired / seconds for seconds in found["ours"]], [expired / seconds for seconds in found["one"]]
    figures = " / ".join(f"{statistics.median(rate):,.0f}" for rate in rates) + " rows/s"
    report.at_least(f"purge / one DELETE of {expired:,} rows", figures, Ratio.of(*rates), 0.7)
    _noticed(workshop, report, server, origin, rounds)
    origin.close()


def _noticed(workshop: Workshop, report: Report, server: Server, origin: Database, rounds: int) -> None:
    """The application's latency while the purge runs, against before."""
    quiet: dict[float, list[float]] = {50: [], 99: []}
    busy: dict[float, list[float]] = {50: [], 99: []}
    script = SCRIPT.format(sessions=workshop.rows)
    for _round in range(rounds):
        copy = server.create_database(origin.name)
        server.sql("CHECKPOINT")
        latencies(copy, workshop.directory, script, *LOAD, "--time=5")
        before = latencies(copy, workshop.directory, script, *LOAD, f"--time={QUIET}")
        meanwhile = latencies(copy, workshop.directory, script, *LOAD, until=partial(_ours, copy))
        for percent in (50, 99):
            quiet[percent].append(percentile(before, percent))
            busy[percent].append(percentile(meanwhile, percent))
        copy.close()
    for percent, limit in ((50, None), (99, 1.5)):
        figures = f"{statistics.median(busy[percent]) * 1e3:.2f} / {statistics.median(quiet[percent]) * 1e3:.2f} ms"
        ratio = Ratio.of(busy[percent], quiet[percent])
        if limit:
            report.at_most(f"application's p{percent} during purge / quiet", figures, ratio, limit)
        else:
            report.line(f"application's p{percent} during purge / quiet", figures, ratio)


def _seconds(server: Server, origin: Database, work: Callable[[Database], None]) -> float:
    """How long it takes to rid a fresh copy of its expired rows."""
    copy = server.create_database(origin.name)
    copy.sql("SELECT count(updated_at) FROM sessions")
    server.sql("CHECKPOINT")
    began = time.monotonic()
    work(copy)
    took = time.monotonic() - began
    if copy.value("SELECT count(*) FROM sessions WHERE expires_at <= timezone('UTC', now())"):
        raise RuntimeError("expired sessions are left")
    copy.close()
    return took


def _ours(database: Database) -> None:
    application.perform("purge", database.dsn, table="sessions", column="expires_at", timezone="UTC")


def _one(database: Database) -> None:
    database.sql(ONE_DELETE)
