# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Runs and findings as a text that is OpenMetrics 1.0 and Prometheus' own format at once: gauges, and one ``# EOF``. Pure.

Where postgres_exporter has a metric of exactly that meaning, it has its name and labels, so that dashboards know it; all others
begin with ``pg_maintenance_``. Each has the label ``inventory_host`` as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from .._clean import visible
from .._result import ABANDONED, CRITICAL, FAILED, INFO, LEVELS, SKIPPED, UNKNOWN, WARNING
from . import model
from .model import RunResult, Runs

# What the file tells, in its order. Levels have the numbers that monitoring plugins exit with.
FAMILIES = {
    "pg_maintenance_run_timestamp_seconds": "When the latest run of the plan ended, in seconds since 1970.",
    "pg_maintenance_run_success": "Whether it did its work: 1, or 0 where it failed.",
    "pg_maintenance_run_duration_seconds": "How long it took.",
    "pg_maintenance_run_actions": "How many targets it had, by operation and outcome.",
    "pg_maintenance_run_rows": "Rows that it has changed, by operation.",
    "pg_maintenance_check_status": "The worst that a check has found: 0 well, 1 warning, 2 critical, 3 unknown.",
    "pg_maintenance_check_value": "What a check has measured of a subject, in its unit.",
    "pg_database_size_bytes": "Disk space used by the database.",
    "pg_database_wraparound_age_datfrozenxid_seconds": "Age of the oldest transaction ID, as a number of transactions.",
    "pg_database_wraparound_age_datminmxid_seconds": "Age of the oldest multixact, as a number of multixacts.",
    "pg_stat_user_tables_n_dead_tup": "Estimated number of dead rows, of the tables that a check tells of.",
    "pg_stat_user_tables_n_live_tup": "Estimated number of live rows, of the tables that a check tells of.",
}
# Check -> what its value is called by postgres_exporter, or what of its evidence.
OF_DATABASES = {
    "database-size": "pg_database_size_bytes",
    "freeze-age": "pg_database_wraparound_age_datfrozenxid_seconds",
    "multixact-age": "pg_database_wraparound_age_datminmxid_seconds",
}
OF_TABLES = {
    "dead-rows": (
        ("pg_stat_user_tables_n_dead_tup", "dead_rows"),
        ("pg_stat_user_tables_n_live_tup", "live_rows"),
    ),
}
STATUS = {INFO: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')


def document(runs: Runs, ended: Sequence[float]) -> str:
    """The text. ended: when each run did, in seconds since 1970. Of two runs of one plan on one host the later one counts.

    Of what was only checked beforehand (check mode) nothing is told but what checks have found, and of services nothing.
    """
    families: dict[str, dict[Labels, float]] = {name: {} for name in FAMILIES}
    for (host, result), when in zip(runs, ended):
        if model.subject(result) != "service":
            _forget(families, host, result)
            for name, labels, value in _samples(host, result, when):
                families[name][labels] = value
    return "".join(_family(name, samples) for name, samples in families.items() if samples) + "# EOF\n"


def _forget(families: Mapping[str, dict[Labels, float]], host: str, result: RunResult) -> None:
    """What an earlier run of the same plan has left, which may have had other targets."""
    mine = set(_of_plan(host, result))
    for name, samples in families.items():
        if name.startswith("pg_maintenance_run_"):
            for labels in [labels for labels in samples if mine <= set(labels)]:
                del samples[labels]


def _family(name: str, samples: Mapping[Labels, float]) -> str:
    lines = [f"# HELP {name} {FAMILIES[name]}", f"# TYPE {name} gauge"]
    for labels, value in samples.items():
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{told}}} {_number(value)}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _samples(host: str, result: RunResult, when: float) -> Iterator[Sample]:
    if not result.get("check_mode"):
        yield from _run(host, result, when)
    database = visible(model.server(result).get("database") or "")
    found = model.entries(result, "findings")
    yield from _statuses(host, database, found)
    for one in found:
        yield from _finding(host, database, one)


def _of_plan(host: str, result: RunResult) -> Labels:
    database = visible(model.server(result).get("database") or "")
    return ("inventory_host", visible(host)), ("datname", database), ("plan", visible(result.get("plan") or ""))


def _run(host: str, result: RunResult, when: float) -> Iterator[Sample]:
    """How a run went. One that was skipped did not take place, and says nothing about the plan."""
    labels, status = _of_plan(host, result), model.status(result)
    if status == SKIPPED:
        return
    yield "pg_maintenance_run_timestamp_seconds", labels, round(when, 3)
    yield "pg_maintenance_run_success", labels, float(status not in (FAILED, ABANDONED))
    if _is_number(result.get("seconds")):
        yield "pg_maintenance_run_duration_seconds", labels, result["seconds"]
    actions = model.entries(result)
    outcomes = Counter((visible(one.get("operation") or ""), visible(one.get("outcome") or "")) for one in actions)
    for (operation, outcome), number in sorted(outcomes.items()):
        yield "pg_maintenance_run_actions", (*labels, ("operation", operation), ("outcome", outcome)), float(number)
    rows: Counter[str] = Counter()
    for one in actions:
        if _is_number(one.get("rows")) and one.get("counted_as"):
            rows[visible(one.get("operation") or "")] += one["rows"]
    for operation, changed in sorted(rows.items()):
        yield "pg_maintenance_run_rows", (*labels, ("operation", operation)), float(changed)


def _statuses(host: str, database: str, found: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    worst: dict[str, str] = {}
    for one in found:
        check, level = visible(one.get("check") or ""), str(one.get("level"))
        if level in LEVELS:
            worst[check] = max(worst.get(check, INFO), level, key=LEVELS.index)
    for check, level in worst.items():
        labels = ("inventory_host", visible(host)), ("datname", database), ("check", check)
        yield "pg_maintenance_check_status", labels, float(STATUS[level])


def _finding(host: str, database: str, one: Mapping[str, Any]) -> Iterator[Sample]:
    check, subject = str(one.get("check") or ""), str(one.get("subject") or "")
    found = one.get("evidence")
    evidence: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    own: Labels = (("inventory_host", visible(host)), ("datname", database))
    if _is_number(one.get("value")):
        labels = (
            *own,
            ("check", visible(check)),
            ("subject", visible(subject)),
            ("unit", visible(evidence.get("unit") or "")),
        )
        yield "pg_maintenance_check_value", labels, one["value"]
        if check in OF_DATABASES:
            yield OF_DATABASES[check], (own[0], ("datname", visible(subject))), one["value"]
    for name, key in OF_TABLES.get(check, ()):
        parts = _parts(subject)
        if _is_number(evidence.get(key)) and len(parts) == 2:
            yield name, (*own, ("schemaname", visible(parts[0])), ("relname", visible(parts[1]))), evidence[key]


def _parts(subject: str) -> list[str]:
    """The schema and the name in a qualified name, without its quotes."""
    return [quoted.replace('""', '"') if quoted else plain for quoted, plain in _PART.findall(subject)]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isfinite(value) if isinstance(value, float) else abs(value) < 2**63
