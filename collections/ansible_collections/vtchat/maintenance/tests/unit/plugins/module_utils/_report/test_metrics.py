# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics: what both parsers of Prometheus read in them, whatever the names are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import visible
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import metrics

Key = tuple[str, frozenset[tuple[str, str]]]


def read(*runs: tuple[str, dict[str, Any]]) -> dict[Key, float]:
    """The samples, which both parsers find, as gauges with a help."""
    text = metrics.document(runs, [1000.5] * len(runs))
    assert text.endswith("# EOF\n")
    assert "\n\n" not in text
    found: list[dict[Key, float]] = []
    for parser in (openmetrics, prometheus):
        families = list(parser(text))
        assert len({family.name for family in families}) == len(families)
        assert all(family.type == "gauge" and family.documentation for family in families)
        samples = [one for family in families for one in family.samples]
        found.append({(one.name, frozenset(one.labels.items())): one.value for one in samples})
        assert len(found[-1]) == len(samples)
    assert found[0] == found[1]
    return found[0]


def of(samples: dict[Key, float], name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The samples of one name, without the labels that all have."""
    common = {("inventory_host", "db1"), ("datname", "vtchat"), ("plan", "health")}
    return {frozenset(labels - common): value for (own, labels), value in samples.items() if own == name}


def finding(check: str, level: str, subject: str = "vtchat", value: Any = None, **evidence: Any) -> dict[str, Any]:
    return {"check": check, "level": level, "subject": subject, "value": value, "evidence": {"unit": "u", **evidence}}


def result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"status": "ok", "plan": "health", "server": {"database": "vtchat"}, "seconds": 1.25, "actions": []}
    return {**known, "findings": list(findings), **more}


def test_a_run() -> None:
    actions = [
        {"operation": "purge", "outcome": "done", "rows": 7, "counted_as": "purged"},
        {"operation": "purge", "outcome": "done", "rows": 5, "counted_as": "purged"},
        {"operation": "refresh", "outcome": "failed", "rows": 3},
    ]
    samples = read(("db1", result(actions=actions, status="partial")))
    assert of(samples, "pg_maintenance_run_success") == {frozenset(): 1}
    assert of(samples, "pg_maintenance_run_timestamp_seconds") == {frozenset(): 1000.5}
    assert of(samples, "pg_maintenance_run_duration_seconds") == {frozenset(): 1.25}
    assert of(samples, "pg_maintenance_run_rows") == {frozenset({("operation", "purge")}): 12}
    assert of(samples, "pg_maintenance_run_actions") == {
        frozenset({("operation", "purge"), ("outcome", "done")}): 2,
        frozenset({("operation", "refresh"), ("outcome", "failed")}): 1,
    }


@pytest.mark.parametrize(
    ("status", "success"), [("ok", 1), ("partial", 1), ("failed", 0), ("abandoned", 0), ("skipped", None)]
)
def test_how_it_went(status: str, success: int | None) -> None:
    found = of(read(("db1", result(status=status))), "pg_maintenance_run_success")
    assert found == ({} if success is None else {frozenset(): success})


def test_check_mode_and_services_tell_nothing_of_runs() -> None:
    found = finding("freeze-age", "info", value=5)
    assert not of(read(("db1", result(found, check_mode=True))), "pg_maintenance_run_success")
    assert of(read(("db1", result(found, check_mode=True))), "pg_maintenance_check_status")
    assert metrics.document([("db1", result(server={"target": "app"}, module="fly_secrets"))], [1.0]) == "# EOF\n"
    assert metrics.document([], []) == "# EOF\n"


def test_a_later_run_of_the_same_plan_takes_the_place_of_the_earlier() -> None:
    runs = [result(actions=[{"operation": "purge", "outcome": outcome}]) for outcome in ("failed", "done")]
    samples = read(*[("db1", run) for run in runs], ("db2", runs[0]))
    assert len(of(samples, "pg_maintenance_run_actions")) == 2
    assert ("outcome", "failed") not in set().union(
        *(labels for _name, labels in samples if ("inventory_host", "db1") in labels)
    )


def test_levels_of_checks_are_those_of_monitoring_plugins() -> None:
    levels = {"a": ["info"], "b": ["info", "warning"], "c": ["unknown", "critical"], "d": ["warning", "unknown"]}
    found = [finding(check, level, f"s{n}") for check, some in levels.items() for n, level in enumerate(some)]
    status = of(read(("db1", result(*found))), "pg_maintenance_check_status")
    assert status == {frozenset({("check", check)}): value for check, value in (("a", 0), ("b", 1), ("c", 2), ("d", 1))}


def test_what_postgres_exporter_calls_by_a_name_of_its_own() -> None:
    samples = read(
        (
            "db1",
            result(
                finding("database-size", "info", value=4096),
                finding("freeze-age", "info", value=17),
                finding("multixact-age", "info", value=3),
                finding("dead-rows", "warning", 'app."My ""t"".x"', 25.0, dead_rows=5, live_rows=15),
                finding("dead-rows", "warning", "3 more"),
            ),
        )
    )
    table = frozenset({("schemaname", "app"), ("relname", 'My "t".x')})
    assert of(samples, "pg_database_size_bytes") == {frozenset(): 4096}
    assert of(samples, "pg_database_wraparound_age_datfrozenxid_seconds") == {frozenset(): 17}
    assert of(samples, "pg_database_wraparound_age_datminmxid_seconds") == {frozenset(): 3}
    assert of(samples, "pg_stat_user_tables_n_dead_tup") == {table: 5}
    assert of(samples, "pg_stat_user_tables_n_live_tup") == {table: 15}


TEXTS = st.text(max_size=12) | st.sampled_from(
    ['"', "\\", "\n", "\\n", '\\"', "# EOF", '"} 1\n# EOF\nx{a="', "é\u202e\x1b[31m", "\ud800"]
)
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS, st.sampled_from(["info", "critical", "?"]))
def test_any_names_and_values(host: str, plan: str, check: str, subject: str, value: Any, level: str) -> None:
    one = {"check": check, "level": level, "subject": subject, "value": value, "evidence": {"unit": plan}}
    dead = finding("dead-rows", level, f'"{subject}"."{check}"', value, dead_rows=value)
    samples = read((host, result(one, dead, plan=plan, server={"database": subject})))
    assert ("inventory_host", visible(host)) in next(iter(samples))[1]


@pytest.mark.parametrize(
    "broken", [{}, {"findings": "x"}, {"findings": [1, {}]}, {"actions": [None, {}], "status": None}]
)
def test_results_of_any_form(broken: dict[str, Any]) -> None:
    read(("db1", broken))
