# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes an invented past into the history of the embedded database, in the place of an earlier one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extras import execute_values

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.closing import counted
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import OPERATIONS
from ansible_collections.vtchat.maintenance.plugins.module_utils._origin import COLLECTION

from .example_facts import Demo
from .example_runs import Run

HOST = "generated example"  # of each generated run, and of no other

COLUMNS = {
    "run": "id, plan, status, message, role, started_at, finished_at, backend_pid, backend_start, steps, totals, schedule, "
    "retries, budget, host, collection, server_version",
    "action": "id, run_id, step, operation, target, outcome, reason, statements, numbers, measured, row_count, started_at, "
    "finished_at",
    "finding": "id, run_id, step, name, subject, level, message, value, threshold, evidence, advice, found_at",
    "sample": "id, run_id, relation, bytes, index_bytes, live_rows, dead_rows, freeze_age, sampled_at",
}
COUNT = """
INSERT INTO maintenance.counter AS c (operation, outcome, actions, row_count, reclaimed_bytes)
SELECT operation, outcome, greatest(0, actions), greatest(0, rows), greatest(0, reclaimed_bytes)
FROM jsonb_to_recordset(%s) AS x (operation text, outcome text, actions bigint, rows bigint, reclaimed_bytes bigint)
ON CONFLICT (operation, outcome) DO UPDATE SET actions = greatest(0, c.actions + %s * excluded.actions),
    row_count = greatest(0, c.row_count + %s * excluded.row_count),
    reclaimed_bytes = greatest(0, c.reclaimed_bytes + %s * excluded.reclaimed_bytes)
"""
# Of targets that nothing happened to the history has ten one by one, and the number of the others ("7 more").
WRITTEN = """
SELECT a.operation, a.outcome, a.row_count AS rows, a.numbers || coalesce(a.measured, '{}') AS numbers
FROM maintenance.action AS a CROSS JOIN LATERAL generate_series(1, CASE WHEN a.target ~ '^[0-9]{1,9} more$'
    THEN split_part(a.target, ' ', 1)::int ELSE 1 END) JOIN maintenance.run AS r ON r.id = a.run_id WHERE r.host = %s
"""


def there_are(cursor: Any) -> int:
    """How many runs were generated before."""
    cursor.execute("SELECT count(*) AS number FROM maintenance.run WHERE host = %s", [HOST])
    return int(cursor.fetchone()["number"])


def remove(cursor: Any) -> None:
    """Take out what was generated before."""
    cursor.execute(WRITTEN, [HOST])
    _count(cursor, cursor.fetchall(), -1)
    cursor.execute("DELETE FROM maintenance.run WHERE host = %s", [HOST])


def write(cursor: Any, demo: Demo, runs: Sequence[Run]) -> None:
    """Write the runs. The numbers of rows go up with time, as everybody who reads the history expects it."""
    earlier = [run for run in runs if demo.real is not None and run.started < demo.real[0]]
    later = runs[len(earlier) :]
    for some, early in ((earlier, True), (later, False)):
        numbers = _numbers(cursor, "run", len(some), early)
        numbered = list(zip(numbers, some, strict=True))
        _insert(cursor, "run", (_run(number, run, demo) for number, run in numbered))
        _some(cursor, "action", [row for number, run in numbered for row in _actions(number, run)], early)
        _some(cursor, "finding", [row for number, run in numbered for row in _findings(number, run)], early)
        cursor.execute("SELECT pg_database_size(current_database()) AS bytes")
        factor = cursor.fetchone()["bytes"] / demo.server.bytes  # the history itself is a part of it
        _some(cursor, "sample", [row for number, run in numbered for row in _samples(number, run, factor)], early)
    entries = [entry for run in runs for entry in _entries(run)]
    _count(cursor, entries, 1)


def _count(cursor: Any, entries: Iterable[Mapping[str, Any]], sign: int) -> None:
    """Add what was done to the counters, or take it off them."""
    known = [{**one, "counted_as": OPERATIONS[one["operation"]].COUNTED_AS} for one in entries if one["outcome"]]
    cursor.execute(COUNT, [json.dumps(counted(known)), sign, sign, sign])


def _entries(run: Run) -> list[dict[str, Any]]:
    return [
        {"operation": one.operation, "outcome": one.outcome, "rows": one.rows,
         "numbers": {**one.numbers, **(one.measured or {})}}
        for one in run.everything
    ]  # fmt: skip


def _numbers(cursor: Any, table: str, number: int, early: bool) -> list[int]:
    """So many free numbers: below all that there are, or above, where those that come later go on."""
    if early:
        cursor.execute(f"SELECT min(id) AS first FROM maintenance.{table}")  # noqa: S608 - one of COLUMNS
        first = cursor.fetchone()["first"]
        last = 1 if first is None else int(first)
        return list(range(last - number, last))
    # In an empty table they begin anew.
    cursor.execute(
        f"SELECT coalesce(max(id), 0) + 1 AS first, setval(pg_get_serial_sequence('maintenance.{table}', 'id'), "  # noqa: S608
        f"greatest(1, coalesce(max(id), 0) + %s)) FROM maintenance.{table}",
        [number],
    )
    first = int(cursor.fetchone()["first"])
    return list(range(first, first + number))


def _some(cursor: Any, table: str, rows: Sequence[tuple[Any, ...]], early: bool) -> None:
    numbers = _numbers(cursor, table, len(rows), early)
    _insert(cursor, table, ((number, *row) for number, row in zip(numbers, rows, strict=True)))


def _insert(cursor: Any, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    query = f"INSERT INTO maintenance.{table} ({COLUMNS[table]}) OVERRIDING SYSTEM VALUE VALUES %s"  # noqa: S608
    execute_values(cursor, query, rows, page_size=500)


def _run(number: int, run: Run, demo: Demo) -> tuple[Any, ...]:
    server = demo.server
    pid, connected = 20_000 + number * 7919 % 40_000, run.started - timedelta(milliseconds=15)
    totals = None if run.totals is None else json.dumps(run.totals)
    return (
        number, run.plan.name, run.status, run.message, server.role, run.started, run.finished, pid, connected,
        json.dumps(run.plan.steps), totals, json.dumps(run.plan.schedule), run.retries, run.plan.budget, HOST,
        COLLECTION, server.version,
    )  # fmt: skip


def _actions(number: int, run: Run) -> Iterable[tuple[Any, ...]]:
    for one in run.actions:
        measured = None if one.measured is None else json.dumps(one.measured)
        yield (number, one.step, one.operation, one.target, one.outcome, one.reason, list(one.statements),
               json.dumps(one.numbers), measured, one.rows, one.started, one.finished)  # fmt: skip


def _findings(number: int, run: Run) -> Iterable[tuple[Any, ...]]:
    for one in run.findings:
        value, threshold = (None if one[key] is None else json.dumps(one[key]) for key in ("value", "threshold"))
        yield (number, one["step"], one["check"], one["subject"], one["level"], one["message"], value, threshold,
               json.dumps(one["evidence"]), one["advice"], run.finished)  # fmt: skip


def _samples(number: int, run: Run, factor: float) -> Iterable[tuple[Any, ...]]:
    moment: datetime = run.finished
    for relation, size, *others in run.samples:
        yield number, relation, size if relation else round(size * factor), *others, moment
