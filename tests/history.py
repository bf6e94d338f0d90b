# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large a history becomes: real runs, repeated by the server for every hour and week of a quarter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.runs import perform, until
from tests.servers import Database
from tests.vtchat import plans

TABLES = 100
QUARTER = 90  # days, after which the history forgets
YEAR = 365
MIB = 2**20
# The plans for any database: each hour statistics, each week everything; and health.
PLANS = plans("example")

MAKE = """
CREATE SCHEMA many;
DO $$BEGIN FOR n IN 1 .. 100 LOOP
    EXECUTE format('CREATE TABLE many.table_with_a_usual_name_%s (id bigint PRIMARY KEY, owner int, at date, note text)', n);
    EXECUTE format('INSERT INTO many.table_with_a_usual_name_%s SELECT i, i %% 100, current_date, repeat(''note '', i %% 10) '
                   'FROM generate_series(1, 3000) AS i', n);
    EXECUTE format('CREATE INDEX ON many.table_with_a_usual_name_%s (owner)', n);
END LOOP; END$$;
"""
# A tenth of the tables each time, as a busy application does: enough for ANALYZE, and enough dead rows for VACUUM.
CHANGE = """
DO $$BEGIN FOR n IN 1 .. 10 LOOP
    EXECUTE format('UPDATE many.table_with_a_usual_name_%s SET note = note || ''x''', n);
END LOOP; END$$;
"""
# Repeats a run, with all that belongs to it, at intervals back from when it was. With the samples of tables once a day.
REPEAT = """
DO $$
DECLARE
    number bigint; back interval;
BEGIN
    FOR turn IN 1 .. {times} LOOP
        back := turn * interval '{every}';
        INSERT INTO maintenance.run ({run}) SELECT {run_back} FROM maintenance.run WHERE id = {id} RETURNING id INTO number;
        INSERT INTO maintenance.action (run_id, {action}) SELECT number, {action_back} FROM maintenance.action
            WHERE run_id = {id} ORDER BY id;
        INSERT INTO maintenance.finding (run_id, {finding}) SELECT number, {finding_back} FROM maintenance.finding
            WHERE run_id = {id} ORDER BY id;
        INSERT INTO maintenance.sample (run_id, {sample}) SELECT number, {sample_back} FROM maintenance.sample
            WHERE run_id = {sampled} AND (relation = '' OR turn % 24 = 0) AND {samples} ORDER BY id;
    END LOOP;
END$$
"""
COLUMNS = """
SELECT attrelid::regclass::text, array_agg(quote_ident(attname) ORDER BY attnum),
       array_agg(quote_ident(attname) || CASE WHEN atttypid = 'timestamptz'::regtype THEN ' - back' ELSE '' END ORDER BY attnum)
FROM pg_attribute WHERE attrelid = ANY ('{maintenance.run,maintenance.action,maintenance.finding,maintenance.sample}'::regclass[])
AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('id', 'run_id') GROUP BY attrelid
"""
SIZES = """
SELECT c.relname::text, pg_total_relation_size(c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'maintenance' AND c.relkind = 'r'
"""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the tables of a history, indexes included, after a quarter: before it is pruned, and at rest after that."""

    written: Mapping[str, int]
    at_rest: Mapping[str, int]

    def a_year(self, *tables: str) -> float:
        """Bytes that are written in a year, in these tables or in all."""
        return sum(size for name, size in self.written.items() if not tables or name in tables) * YEAR / QUARTER

    @property
    def total(self) -> int:
        """All of it, at rest."""
        return sum(self.at_rest.values())


def run(database: Database, name: str) -> int:
    """A real run of a plan; its number."""
    database.close_connection()  # what it has changed is counted then
    steps = [{"health_info": {"fail_on": "never"}}] if name == "health" else PLANS[name]["steps"]
    result = perform("run", database.dsn, plan=name, steps=steps)
    assert result["status"] in ("ok", "partial"), result["msg"]
    return int(result["run_id"])


def repeated(database: Database, number: int, times: int, every: str, sampled: int = 0) -> None:
    """Write that run so many times more. sampled: the run whose samples come with it."""
    known: dict[str, Any] = {
        "id": number,
        "times": times,
        "every": every,
        "sampled": sampled or 0,
        "samples": bool(sampled),
    }
    for table, columns, back in database.sql(COLUMNS):
        name = table.rpartition(".")[2]
        known |= {name: ", ".join(columns), f"{name}_back": ", ".join(back)}
    database.sql(REPEAT.format(**known))


def quarter(database: Database) -> Sizes:
    """A quarter of hourly and weekly maintenance, and of health each hour, of 100 tables. database: one with nothing in it."""
    database.sql(MAKE)
    database.sql("VACUUM (ANALYZE)")
    first = run(database, "hourly")  # which has taken the samples
    database.sql(CHANGE)
    busy, idle = run(database, "hourly"), run(database, "hourly")
    database.sql(CHANGE)
    weekly, health = run(database, "weekly"), run(database, "health")
    half = QUARTER * 12
    repeated(database, busy, half, "2 hours", first)
    repeated(database, idle, half, "2 hours", first)
    repeated(database, weekly, QUARTER // 7, "7 days")
    repeated(database, health, QUARTER * 24, "1 hour")
    written = dict(database.sql(SIZES))
    # The next day, which takes out what is too old and too much. The copy in between leaves no room that is free for new rows.
    database.sql("UPDATE maintenance.run SET started_at = started_at - interval '1 day'")
    run(database, "hourly")
    # Whoever writes in any database of the server since before that would keep what is dead in the copy.
    end = database.value("SELECT pg_current_xact_id()::text::bigint")
    until(lambda: database.value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint") > end, 300)
    database.sql("VACUUM FULL maintenance.run, maintenance.action, maintenance.finding, maintenance.sample")
    return Sizes(written, dict(database.sql(SIZES)))
