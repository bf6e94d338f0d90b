# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge against one DELETE of the same rows, and what the application notices of it."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.bench import application
from tests.bench.measure import Ratio, Report, interleaved
from tests.bench.pgbench import Beside, beside, percentile
from tests.bench.workshop import DURABLE, Workshop
from tests.servers import Database, Server

# The application looks a session up by its token and touches it, one that has not expired: those come last.
SCRIPT = """
\\set n random({sessions} / 2 + 1, {sessions})
SELECT id, user_id, expires_at FROM sessions WHERE token = md5('token ' || :n);
UPDATE sessions SET updated_at = now() WHERE id = 'session_' || :n;
"""
# A steady load, well under what the machine can do; with a rate pgbench counts the time a transaction had to wait.
LOAD = ("--client=4", "--jobs=1", "--rate=200")
QUIET, MOST = 10, 12  # seconds without the purge, and of it at most
BIN = 0.5  # seconds of the chart

# A table with three indexes whose rows lie in the order in which they expire, or in none.
LAYOUTS = {"in order of expiry": "n", "in random order": "n::bigint * 104729 % {rows}"}
TABLE = """
CREATE TABLE t (id bigint PRIMARY KEY, token text NOT NULL, at timestamptz NOT NULL, padding text NOT NULL);
INSERT INTO t SELECT n, md5(n::text), now() + interval '1 second' * (place - {expired})
    + CASE WHEN place < {expired} THEN interval '-1 day' ELSE interval '1 day' END, repeat('x', 60)
FROM (SELECT n, {place} AS place FROM generate_series(0, {rows} - 1) AS n) AS s ORDER BY n;
CREATE INDEX ON t (at);
CREATE INDEX ON t (token);
"""


def purge(workshop: Workshop, report: Report) -> None:
    """Half of the rows have expired: rows per second against one DELETE, WAL, and the application's latency meanwhile."""
    server = workshop.server("durable", DURABLE)
    rounds = max(3, workshop.rounds // 5)
    for name, place in LAYOUTS.items():
        origin = server.create_database()
        expired = workshop.rows // 2
        origin.sql(TABLE.format(rows=workshop.rows, expired=expired, place=place.format(rows=workshop.rows)))
        origin.sql("VACUUM (ANALYZE) t")
        origin.close_connection()
        _against_one(report, server, origin, name, rounds)
        origin.close()
    origin = application.new(server, workshop.rows // 10, workshop.rows, expired=workshop.rows // 2)
    # The history is there, as it is from the second run on.
    application.perform("analyze", origin.dsn, tables=["public.users"])
    origin.close_connection()
    # A few hundred transactions are beside each purge: the 99th percentile is one of a handful of them.
    _noticed(workshop, report, server, origin, max(3, workshop.rounds // 3))
    origin.close()


def _against_one(report: Report, server: Server, origin: Database, layout: str, rounds: int) -> None:
    """One DELETE and ours, each over a connection of its own on a fresh copy."""
    ours: Callable[[Database], None] = partial(_ours, table="t", column="at")
    found = interleaved(
        rounds,
        ours=partial(_cost, server, origin, ours),
        one=partial(_cost, server, origin, lambda database: database.sql("DELETE FROM t WHERE at <= now()")),
    )
    seconds = {name: [cost[0] for cost in costs] for name, costs in found.items()}
    wal = {name: [float(cost[1]) for cost in costs] for name, costs in found.items()}
    figures = f"{statistics.median(seconds['ours']):.2f} / {statistics.median(seconds['one']):.2f} s"
    report.at_least(f"one DELETE / purge, {layout}", figures, Ratio.of(seconds["one"], seconds["ours"]), 0.7)
    figures = f"{statistics.median(wal['ours']) / 1e6:.0f} / {statistics.median(wal['one']) / 1e6:.0f} MB"
    report.at_most(f"its WAL, {layout}", figures, Ratio.of(wal["ours"], wal["one"]), 1.05)


def _noticed(workshop: Workshop, report: Report, server: Server, origin: Database, rounds: int) -> None:
    """The application's latency while the purge runs, against before; and how much longer it takes for that."""
    script = SCRIPT.format(sessions=workshop.rows)
    found: dict[str, list[Beside]] = {"auto": [], "full": []}
    for _round in range(rounds):
        for pace, runs in found.items():
            copy = server.create_database(origin.name)
            server.sql("CHECKPOINT")
            os.sync()  # what making the copy has left to write is no load of the purge
            work = partial(_ours, copy, table="sessions", column="expires_at", timezone="UTC", pace=pace)
            runs.append(beside(copy, workshop.directory, script, *LOAD, seconds=(QUIET, MOST), work=work))
            copy.close()
    for pace, runs in found.items():
        quiet = [latency for run in runs for latency in run.before]
        busy = [latency for run in runs for latency in run.meanwhile]
        for percent, limit in ((50, None), (99, 1.3 if pace == "auto" else None)):
            figures = f"{percentile(busy, percent) * 1e3:.2f} / {percentile(quiet, percent) * 1e3:.2f} ms"
            ratio = Ratio.of([percentile(busy, percent)], [percentile(quiet, percent)])
            name = f"application's p{percent} during purge / quiet, pace {pace}"
            if limit:
                report.at_most(name, figures, ratio, limit)
            else:
                report.line(name, figures, ratio)
    seconds = {pace: [run.took for run in runs] for pace, runs in found.items()}
    figures = " / ".join(f"{statistics.median(took):.1f}" for took in seconds.values()) + " s"
    report.at_most("the purge beside it, pace auto / full", figures, Ratio.of(*seconds.values()), 3.0)
    for line in chart(found):
        report.note(line)


def chart(found: Mapping[str, Sequence[Beside]]) -> list[str]:
    """A chart for a page of Markdown: the application's 99th percentile, before, while and after a purge goes on."""
    longest = max(run.took for runs in found.values() for run in runs)
    bins = [number * BIN for number in range(-4, math.ceil(longest / BIN) + 4)]
    lines = ["xychart-beta", f'  x-axis "seconds since the purge began" {bins[0]} --> {bins[-1] + BIN}']
    lines.append('  y-axis "99th percentile, ms"')
    for pace, runs in found.items():
        values = []
        for begin in bins:
            inside = [one.latency for run in runs for one in run.transactions if begin <= one.ended < begin + BIN]
            values.append(f"{percentile(inside, 99) * 1e3:.1f}" if inside else "0")
        lines.append(f'  line "{pace}" [{", ".join(values)}]')
    return lines


def _cost(server: Server, origin: Database, work: Callable[[Database], object]) -> tuple[float, int]:
    """Seconds and bytes of WAL that it takes to rid a fresh copy of its expired rows."""
    copy = server.create_database(origin.name)
    server.sql("CHECKPOINT")
    ((before,),) = server.sql("SELECT pg_current_wal_lsn()")
    began = time.monotonic()
    work(copy)
    took = time.monotonic() - began
    ((wal,),) = server.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", [before])
    if copy.value("SELECT count(*) FROM t WHERE at <= now()"):
        raise RuntimeError("expired rows are left")
    copy.close()
    return took, int(wal)


def _ours(database: Database, **options: str) -> None:
    application.perform("purge", database.dsn, **options)
