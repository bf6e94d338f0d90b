# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The weekly maintenance: with nothing to do, and where all tables need it, against vacuumdb."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.application import perform
from tests.bench.hourly import Playbooks, small, told
from tests.bench.measure import Ratio, Report, Timing, interleaved, timed
from tests.bench.workshop import LOADING, Workshop
from tests.servers import REPOSITORY, Database
from tests.vtchat import plans

# Tables as applications have them: a key, references, times, texts, two more indexes.
TABLE = """
CREATE TABLE many.t{number} (
    id bigint PRIMARY KEY, owner int, kind smallint, amount int, made timestamptz, changed timestamptz, name text, note text
);
INSERT INTO many.t{number} SELECT n, n::bigint * 7919 % 1009, n % 7, n::bigint * 104729 % 100003, now() - n * interval '1 minute',
    now() - n % 500 * interval '1 hour', md5(n::text), repeat('note ', n % 10) FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON many.t{number} (owner);
CREATE INDEX ON many.t{number} (changed);
"""
# A fifth of the rows, by no index's column: what an application leaves behind.
DIRTY = """
DO $$ BEGIN
    FOR number IN 0..{last} LOOP
        EXECUTE format('UPDATE many.t%s SET amount = amount + 1 WHERE id %% 5 = 0', number);
    END LOOP;
END $$
"""
WEEKLY = Path("playbooks/weekly.yml")


def many(workshop: Workshop, tables: int, rows: int) -> Database:
    """A database of so many tables with so many rows each, vacuumed and analyzed."""
    database = workshop.server("quick", LOADING).create_database()
    database.sql("CREATE SCHEMA many")
    for number in range(tables):
        database.sql(TABLE.format(number=number, rows=rows))
    database.sql("VACUUM (ANALYZE)")
    database.close_connection()
    return database


def vacuumdb(database: Database) -> Timing:
    """What PostgreSQL itself has for it."""
    command = [database.server.bin / "vacuumdb", "--jobs=2", "--analyze", "--quiet", "--dbname", database.dsn]
    return timed(command, os.environ, REPOSITORY)


def weekly(workshop: Workshop, report: Report) -> None:
    """Idle weekly run, whole process, against an empty ansible-playbook."""
    database = small(workshop)
    playbooks = Playbooks(workshop.directory, database)
    run = partial(playbooks.run, WEEKLY, REPOSITORY / "ansible.cfg")
    steps = plans()["weekly"]["steps"]
    perform("run", database.dsn, plan="weekly", steps=steps)
    found = interleaved(workshop.rounds, weekly=run, empty=partial(playbooks.run, playbooks.write("empty", [])))
    _idle(perform("run", database.dsn, plan="weekly", steps=steps))
    _judge(report, "idle weekly run / empty ansible-playbook", found["weekly"], found["empty"], 1.6)


def tables(workshop: Workshop, report: Report) -> None:
    """Idle weekly run on 5 000 tables, whole process, against vacuumdb -j2 --analyze of the same."""
    number, rows = workshop.tables, 10_000
    database = many(workshop, number, rows)
    inventory = "inventories/example"
    playbooks = Playbooks(workshop.directory, database)
    run = partial(playbooks.run, WEEKLY, REPOSITORY / "ansible.cfg", inventory)
    steps = plans("example")["weekly"]["steps"]
    perform("run", database.dsn, plan="weekly", steps=steps)
    found = interleaved(max(3, workshop.rounds // 5), weekly=run, vacuumdb=partial(vacuumdb, database))
    _idle(perform("run", database.dsn, plan="weekly", steps=steps))
    _judge(
        report,
        f"idle weekly run / vacuumdb, {number:,} tables of {rows:,} rows",
        found["weekly"],
        found["vacuumdb"],
        0.1,
    )
    database.close()


def vacuum(workshop: Workshop, report: Report) -> None:
    """All tables need it: vacuum (jobs: 2, pace: fast), whole process, against vacuumdb -j2 --analyze."""
    number, rows = workshop.tables // 25, 50_000
    database = many(workshop, number, rows)
    playbooks = Playbooks(workshop.directory, database)
    options: dict[str, Any] = {"include": ["many.*"], "jobs": 2, "pace": "fast"}
    play = playbooks.write("vacuum", [{"name": "Vacuum", "vtchat.maintenance.vacuum": options}])
    dirty = DIRTY.format(last=number - 1)

    def made_dirty(run: Any) -> Timing:
        for statement in (dirty, "CHECKPOINT"):
            database.sql(statement)
        database.close_connection()
        timing: Timing = run()
        return timing

    ours = partial(made_dirty, partial(playbooks.run, play, REPOSITORY / "ansible.cfg"))
    found = interleaved(
        max(3, workshop.rounds // 3), ours=ours, vacuumdb=partial(made_dirty, partial(vacuumdb, database))
    )
    database.sql(dirty)
    database.close_connection()
    done = perform("vacuum", database.dsn, **options)["totals"]
    if done.get("done", 0) < number:
        raise RuntimeError(f"not all of them needed it: {done}")
    _judge(report, f"vacuum / vacuumdb, {number:,} tables of {rows:,} rows", found["ours"], found["vacuumdb"], 1.1)
    database.close()


def _idle(result: dict[str, Any]) -> None:
    if result["changed"]:
        raise RuntimeError(f"this run was not idle: {result['msg']}")


def _judge(report: Report, what: str, over: list[Timing], under: list[Timing], limit: float) -> None:
    walls = [timing.wall for timing in over], [timing.wall for timing in under]
    report.at_most(what, told(*walls), Ratio.of(*walls), limit)
