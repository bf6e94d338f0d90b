# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What one result tells monitoring systems, as samples of metrics. Pure.

Where postgres_exporter has a metric of exactly that meaning, it has its name and labels, so that dashboards know it; all others
begin with ``pg_maintenance_``. Each has the label ``inventory_host`` as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from math import isfinite
from typing import Any

from .._clean import visible
from .._result import (
    ABANDONED,
    CONTENDED,
    CRITICAL,
    DEFERRED,
    DONE,
    FAILED,
    INFO,
    LEVELS,
    SKIPPED,
    UNCHANGED,
    UNKNOWN,
    WARNING,
)
from .._schedule import Every, longest_pause, read_schedule
from . import model
from .exposition import Labels
from .model import RunResult

TIMESTAMP = "pg_maintenance_run_timestamp_seconds"
DUE = "pg_maintenance_run_due_timestamp_seconds"
STATUS = "pg_maintenance_check_status"
# What the file tells, in its order. Levels have the numbers that monitoring plugins exit with.
RUN = {
    TIMESTAMP: "When the latest run of the plan ended, in seconds since 1970.",
    "pg_maintenance_run_success": "Whether it did its work: 1, or 0 where it failed.",
    "pg_maintenance_run_duration_seconds": "How long it took.",
    DUE: "When the next run of the plan is due, by its schedule, in seconds since 1970.",
    "pg_maintenance_run_interval_seconds": "The longest time from one run of the plan to the next, by its schedule.",
}
COUNTED = {
    "pg_maintenance_action_total": "Targets since the history began, by operation and outcome.",
    "pg_maintenance_rows_total": "Rows that were purged since the history began, by operation.",
    "pg_maintenance_reclaimed_bytes_total": "Bytes that were won back since the history began, by operation.",
}
CHECKED = {
    STATUS: "The worst that a check has found: 0 well, 1 warning, 2 critical, 3 unknown.",
    "pg_maintenance_check_value": "What a check has measured of a subject, in its unit.",
}
# As postgres_exporter has them, by the checks that they come from.
EXPORTED = {
    "pg_database_size_bytes": "Disk space used by the database.",
    "pg_database_wraparound_age_datfrozenxid_seconds": "Age of the oldest transaction ID, as a number of transactions.",
    "pg_database_wraparound_age_datminmxid_seconds": "Age of the oldest multixact, as a number of multixacts.",
    "pg_stat_user_tables_n_dead_tup": "Estimated number of dead rows, of the tables that a check tells of.",
    "pg_stat_user_tables_n_live_tup": "Estimated number of live rows, of the tables that a check tells of.",
}
# By names that published alert rules expect from queries of one's own.
BLOAT = {
    "pg_bloat_btree_bloat_pct": "Estimated bloat of a B-tree in percent, of the indexes that a check tells of.",
    "pg_bloat_btree_real_size": "Bytes of these B-trees.",
    "pg_bloat_table_bloat_pct": "Estimated bloat of a table in percent, of the tables that a check tells of.",
    "pg_bloat_table_real_size": "Bytes of these tables.",
    "pg_general_index_info_pg_relation_size": "Bytes of an index that is not valid.",
}
CHECK_OF = {
    "pg_database_size_bytes": ("database-size",),
    "pg_database_wraparound_age_datfrozenxid_seconds": ("freeze-age",),
    "pg_database_wraparound_age_datminmxid_seconds": ("multixact-age",),
    "pg_stat_user_tables_n_dead_tup": ("dead-rows",),
    "pg_stat_user_tables_n_live_tup": ("dead-rows",),
    "pg_bloat_btree_bloat_pct": ("index-bloat",),
    "pg_bloat_btree_real_size": ("index-bloat",),
    "pg_bloat_table_bloat_pct": ("table-bloat",),
    "pg_bloat_table_real_size": ("table-bloat",),
    "pg_general_index_info_pg_relation_size": ("invalid-indexes", "index-leftovers"),
}
# Their datname is that of any database of the server, whichever was asked.
OF_SERVERS = ("pg_database_wraparound_age_datfrozenxid_seconds", "pg_database_wraparound_age_datminmxid_seconds")
# Checks whose subjects are tables or materialized views, and indexes.
OF_TABLES = (
    "autovacuum-behind",
    "autovacuum-off",
    "dead-rows",
    "expired-rows",
    "materialized-views-empty",
    "materialized-views-stale",
    "published-tables-without-identity",
    "statistics-freshness",
    "statistics-missing",
    "table-bloat",
)
OF_INDEXES = ("duplicate-indexes", "index-bloat", "index-leftovers", "invalid-indexes", "unused-indexes")
# What becomes of targets: told of each operation, also while there are none.
BEGUN = (DONE, UNCHANGED, SKIPPED, CONTENDED, DEFERRED, ABANDONED, FAILED)
LEVEL_NUMBERS = {INFO: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}
# Modules that are no maintenance and look at nothing that a check does: nobody expects them to run again.
SILENT = ("alerts", "history_info", "maintainer", "plan_info", "report", "report_overview", "sql_object")

Sample = tuple[str, Labels, float]
_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')


def tells(result: RunResult) -> bool:
    """Whether there is anything to tell of it: services have no history and no checks."""
    return result.get("module") not in SILENT and model.subject(result) != "service"


def took_place(result: RunResult) -> bool:
    """Whether it was a run: one in check mode, or that was skipped, says nothing about the plan."""
    return not result.get("check_mode") and model.status(result) != SKIPPED


def succeeded(result: RunResult) -> bool:
    """Whether it did its work; what is contended or put off comes next time."""
    return model.status(result) not in (FAILED, ABANDONED)


def of_plan(host: str, result: RunResult) -> Labels:
    """The labels of a run."""
    return (*of_database(host, result), ("plan", visible(result.get("plan") or "")))


def of_database(host: str, result: RunResult) -> Labels:
    """The labels of the database that was spoken to; its name is empty where nobody has answered."""
    return ("inventory_host", visible(host)), ("datname", visible(model.server(result).get("database") or ""))


def checks(result: RunResult) -> set[str]:
    """What was looked at."""
    return {visible(one.get("check") or "") for one in model.entries(result, "findings")}


def of_run(host: str, result: RunResult, when: float) -> Iterator[Sample]:
    """How a run went."""
    labels = of_plan(host, result)
    yield TIMESTAMP, labels, round(when, 3)
    yield "pg_maintenance_run_success", labels, float(succeeded(result))
    if _is_number(result.get("seconds")):
        yield "pg_maintenance_run_duration_seconds", labels, result["seconds"]
    given = result.get("schedule")
    schedule = read_schedule(given, []) if isinstance(given, Mapping) else None
    if schedule:
        began = datetime.fromtimestamp(max(0.0, when - _count(result.get("seconds"))), timezone.utc)
        due = began + schedule.interval if isinstance(schedule, Every) else schedule.following(began)
        yield DUE, labels, round(due.timestamp(), 3)
        pause = longest_pause(schedule, began)
        yield "pg_maintenance_run_interval_seconds", labels, pause.total_seconds()


def of_counters(host: str, result: RunResult) -> Iterator[Sample]:
    """What all runs of the history have done together."""
    actions: Counter[tuple[str, str]] = Counter()
    sums: dict[str, Counter[str]] = {"rows": Counter(), "reclaimed_bytes": Counter()}
    for one in model.entries(result, "counters"):
        operation, outcome = visible(one.get("operation") or ""), visible(one.get("outcome") or "")
        actions[operation, outcome] += _count(one.get("actions"))
        for what, by_operation in sums.items():
            by_operation[operation] += _count(one.get(what))
    # A series that begins with its first event has not increased by it, to Prometheus.
    actions.update({(operation, outcome): 0 for operation, _outcome in list(actions) for outcome in BEGUN})
    own = of_database(host, result)
    for (operation, outcome), number in sorted(actions.items()):
        yield "pg_maintenance_action_total", (*own, ("operation", operation), ("outcome", outcome)), float(number)
    for what, by_operation in sums.items():
        for operation, number in sorted(by_operation.items()):
            yield f"pg_maintenance_{what}_total", (*own, ("operation", operation)), float(number)


def of_findings(host: str, result: RunResult) -> Iterator[Sample]:
    """What checks have found."""
    own, plan = of_database(host, result), of_plan(host, result)
    found = [one for one in model.entries(result, "findings") if one.get("level") in LEVELS]
    yield from _statuses(plan, found)
    for one in found:
        if _is_number(one.get("value")):
            yield "pg_maintenance_check_value", (*plan, *_told(own, one)), one["value"]
        yield from _by_other_names(own, one)


def _statuses(plan: Labels, found: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    worst: dict[str, str] = {}
    for one in found:
        check = visible(one.get("check") or "")
        worst[check] = max(worst.get(check, INFO), str(one["level"]), key=LEVELS.index)
    for check, level in worst.items():
        yield STATUS, (*plan, ("check", check)), float(LEVEL_NUMBERS[level])


def _told(own: Labels, one: Mapping[str, Any]) -> Labels:
    """The check, its subject as it is shown, its unit; and the parts of the subject, where it is a table or an index."""
    check, subject = visible(one.get("check") or ""), visible(one.get("subject") or "")
    labels = (("check", check), ("subject", subject), ("unit", visible(_evidence(one).get("unit") or "")))
    if check in OF_TABLES:
        return (*labels, *_table(own, one))
    return (*labels, *_index(own, one, "indexrelname")) if check in OF_INDEXES else labels


def _by_other_names(own: Labels, one: Mapping[str, Any]) -> Iterator[Sample]:
    """By the names that postgres_exporter and published rules have. What is ignored is told to no rule."""
    evidence = _evidence(one)
    value, size, check = one.get("value"), evidence.get("bytes"), one.get("check")
    table, index, btree = _table(own, one), _index(own, one, "indexrelname"), _index(own, one, "idxname")
    database = (own[0], ("datname", visible(one.get("subject") or "")))
    dead, live = evidence.get("dead_rows"), evidence.get("live_rows")
    left = {"pg_general_index_info_pg_relation_size": (index, size)}
    known: dict[Any, dict[str, tuple[Labels, Any]]] = {
        "database-size": {"pg_database_size_bytes": (database, value)},
        "freeze-age": {"pg_database_wraparound_age_datfrozenxid_seconds": (database, value)},
        "multixact-age": {"pg_database_wraparound_age_datminmxid_seconds": (database, value)},
        "dead-rows": {"pg_stat_user_tables_n_dead_tup": (table, dead), "pg_stat_user_tables_n_live_tup": (table, live)},
        "index-bloat": {"pg_bloat_btree_bloat_pct": (btree, value), "pg_bloat_btree_real_size": (btree, size)},
        "table-bloat": {"pg_bloat_table_bloat_pct": (table, value), "pg_bloat_table_real_size": (table, size)},
        "invalid-indexes": left,
        "index-leftovers": left,
    }
    for name, (labels, number) in known.get(check, {}).items():
        if labels and _is_number(number) and not (name in BLOAT and "ignored" in evidence):
            yield name, labels if labels is database else (*own, *labels), number


def _table(own: Labels, one: Mapping[str, Any]) -> Labels:
    """Schema and name of a subject that is a table; none of another, such as the database."""
    parts = _parts(str(one.get("subject") or ""))
    if len(parts) != 2 or visible(one.get("subject")) == own[1][1]:
        return ()
    return ("schemaname", visible(parts[0])), ("relname", visible(parts[1]))


def _index(own: Labels, one: Mapping[str, Any], called: str) -> Labels:
    """Schema, table and name of a subject that is an index."""
    table, parts = _parts(str(_evidence(one).get("table") or "")), _parts(str(one.get("subject") or ""))
    if len(table) != 2 or len(parts) != 2:
        return ()
    return ("schemaname", visible(parts[0])), ("relname", visible(table[1])), (called, visible(parts[1]))


def _evidence(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found = one.get("evidence")
    return found if isinstance(found, Mapping) else {}


def _parts(subject: str) -> list[str]:
    """The schema and the name in a qualified name, without its quotes."""
    return [quoted.replace('""', '"') if quoted else plain for quoted, plain in _PART.findall(subject)]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isfinite(value) if isinstance(value, float) else abs(value) < 2**63


def _count(value: Any) -> int:
    """A count, which is never negative and has no fraction; 0 for what is none. At most the largest of the server's numbers."""
    return min(int(value), 2**63 - 1) if _is_number(value) and value > 0 else 0
