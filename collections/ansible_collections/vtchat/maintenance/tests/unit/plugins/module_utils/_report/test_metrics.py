# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics: what both parsers of Prometheus read in them, whatever the names are and whatever stood in the file."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID
from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import visible
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import exposition, metric_samples, metrics

Key = tuple[str, frozenset[tuple[str, str]]]
HOUR, DAY = 3600.0, 86400.0
NOW = 1_000_000_000.5


def parsed(text: str) -> dict[Key, float]:
    """The samples, which both parsers find: gauges with a help, and counters, which have a type for OpenMetrics only."""
    assert text.endswith("# EOF\n")
    assert "\n\n" not in text
    found: list[dict[Key, float]] = []
    for parser in (openmetrics, prometheus):
        families = list(parser(text))
        declared = [family.name for family in families if family.type != "unknown"]
        assert len(set(declared)) == len(declared)
        for family in families:
            names = {sample.name for sample in family.samples}
            counter = any(name.endswith("_total") for name in names)
            kind = "gauge" if not counter and names else "counter" if parser is openmetrics or not names else "unknown"
            assert (family.type, bool(family.documentation)) == (kind, kind != "unknown")
        samples = [one for family in families for one in family.samples]
        found.append({(one.name, frozenset(one.labels.items())): one.value for one in samples})
        assert len(found[-1]) == len(samples)
    assert found[0] == found[1]
    return found[0]


def text_of(*runs: tuple[str, dict[str, Any]], earlier: str = "", at: float = NOW, bloat: bool = False) -> str:
    return metrics.document(runs, [at] * len(runs), earlier, bloat)


def read(*runs: tuple[str, dict[str, Any]], bloat: bool = False) -> dict[Key, float]:
    return parsed(text_of(*runs, bloat=bloat))


def of(samples: dict[Key, float], name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The samples of one name, without the labels that all have."""
    common = {("inventory_host", "db1"), ("datname", "vtchat"), ("plan", "health")}
    return {frozenset(labels - common): value for (own, labels), value in samples.items() if own == name}


def finding(check: str, level: str, subject: str = "vtchat", value: Any = None, **evidence: Any) -> dict[str, Any]:
    return {"check": check, "level": level, "subject": subject, "value": value, "evidence": {"unit": "u", **evidence}}


def counter(operation: str, outcome: str, actions: Any, rows: Any = 0, reclaimed: Any = 0) -> dict[str, Any]:
    told = {"operation": operation, "outcome": outcome, "actions": actions, "rows": rows}
    return {**told, "reclaimed_bytes": reclaimed}


def result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"status": "ok", "plan": "health", "server": {"database": "vtchat"}, "seconds": 1.25, "actions": []}
    return {**known, "findings": list(findings), **more}


def test_the_checks_that_are_told_apart_are_there() -> None:
    named = {*metric_samples.OF_TABLES, *metric_samples.OF_INDEXES, *itertools.chain(*metric_samples.CHECK_OF.values())}
    assert named <= set(BY_ID)
    assert metric_samples.CHECK_OF.keys() == metric_samples.EXPORTED.keys() | metric_samples.BLOAT.keys()


def test_a_run() -> None:
    samples = read(("db1", result(status="partial")))
    assert of(samples, "pg_maintenance_run_success") == {frozenset(): 1}
    assert of(samples, "pg_maintenance_run_timestamp_seconds") == {frozenset(): NOW}
    assert of(samples, "pg_maintenance_run_duration_seconds") == {frozenset(): 1.25}


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ({"every": "12h"}, 0.5),
        ({"at": "Sun 02:00 UTC"}, 7),
        ({"at": "Mon,Thu 02:00 UTC"}, 4),
        ({"at": "02:00 Europe/Berlin"}, 1),
        ({"at": "next week"}, None),
        ({"every": ["1h"]}, None),
        ("1h", None),
        (None, None),
    ],
)
def test_when_the_next_one_is_to_come(schedule: Any, days: float | None) -> None:
    found = of(read(("db1", result(schedule=schedule))), "pg_maintenance_run_interval_seconds")
    assert found == ({} if days is None else {frozenset(): days * DAY})


@pytest.mark.parametrize(
    ("schedule", "seconds", "due"),
    [
        ({"every": "12h"}, 0, "2001-09-09 13:46:40.500"),
        ({"every": "12h"}, 3600, "2001-09-09 12:46:40.500"),  # from the start of one run to that of the next
        ({"at": "Sun 02:00 UTC"}, 10, "2001-09-09 02:00:00.000"),  # it is Sunday, 01:46:40
        ({"at": "Sun 01:46 UTC"}, 10, "2001-09-16 01:46:00.000"),
        ({"at": "Mon,Sun 01:00 Europe/Berlin"}, 10, "2001-09-09 23:00:00.000"),
        ({"at": "Sun 01:40 UTC"}, 600, "2001-09-09 01:40:00.000"),  # by hand, before it was time
        ({"at": "Sun 02:00 UTC"}, 1e99, "1970-01-04 02:00:00.000"),
        ({"every": "?"}, 0, None),
    ],
)
def test_when_it_is_due(schedule: Any, seconds: float, due: str | None) -> None:
    found = of(read(("db1", result(schedule=schedule, seconds=seconds))), "pg_maintenance_run_due_timestamp_seconds")
    moment = datetime.fromisoformat(f"{due}+00:00").timestamp() if due else 0
    assert found == ({frozenset(): pytest.approx(moment, abs=0.01)} if due else {})


def test_counters_of_the_history() -> None:
    counters = [
        counter("purge", "done", 7, 1200),
        counter("purge", "failed", 1, 5),
        counter("reindex", "done", 2, 0, 2**40),
        counter("?", "done", -1, 1.5, None),
    ]
    samples = read(("db1", result(counters=counters)))
    actions = of(samples, "pg_maintenance_action_total")
    assert len(actions) == 3 * len(metric_samples.BEGUN), "what has not come yet is 0"
    assert {labels: value for labels, value in actions.items() if value} == {
        frozenset({("operation", "purge"), ("outcome", "done")}): 7,
        frozenset({("operation", "purge"), ("outcome", "failed")}): 1,
        frozenset({("operation", "reindex"), ("outcome", "done")}): 2,
    }
    operations = {name: frozenset({("operation", name)}) for name in ("purge", "reindex", "?")}
    assert of(samples, "pg_maintenance_rows_total") == dict(zip(operations.values(), (1205, 0, 1)))
    assert of(samples, "pg_maintenance_reclaimed_bytes_total") == dict(zip(operations.values(), (0, 2**40, 0)))


@pytest.mark.parametrize(
    ("status", "success"), [("ok", 1), ("partial", 1), ("failed", 0), ("abandoned", 0), ("skipped", None)]
)
def test_how_it_went(status: str, success: int | None) -> None:
    found = of(read(("db1", result(status=status))), "pg_maintenance_run_success")
    assert found == ({} if success is None else {frozenset(): success})


def test_what_tells_nothing_of_runs() -> None:
    """Check mode, services, and what is no maintenance, such as a report."""
    found = finding("freeze-age", "info", value=5)
    checked = read(("db1", result(found, check_mode=True, counters=[counter("purge", "done", 1)])))
    assert not of(checked, "pg_maintenance_run_success")
    assert not of(checked, "pg_maintenance_action_total")
    assert of(checked, "pg_maintenance_check_status")
    service = result(server={"target": "app"}, module="fly_secrets")
    others = [result(found, plan=name, module=name, counters=HOURLY) for name in ("report", "sql_object", "alerts")]
    for silent in (service, *others):
        assert text_of(("db1", silent)) == "# EOF\n"
    assert metrics.document([], []) == "# EOF\n"


def test_levels_of_checks_are_those_of_monitoring_plugins() -> None:
    levels = {"a": ["info"], "b": ["info", "warning"], "c": ["unknown", "critical"], "d": ["warning", "unknown"]}
    found = [finding(check, level, f"s{n}") for check, some in levels.items() for n, level in enumerate(some)]
    found.append(finding("e", "unknown"))
    status = of(read(("db1", result(*found))), "pg_maintenance_check_status")
    expected = {"a": 0, "b": 1, "c": 2, "d": 1, "e": 3}
    assert status == {frozenset({("check", check)}): value for check, value in expected.items()}


TABLE = {("schemaname", "app"), ("relname", 'My "t".x')}
INDEX = {("schemaname", "app"), ("relname", 't"')}
SHOWN = 'app."My ""t"".x"'


def test_what_postgres_exporter_calls_by_a_name_of_its_own() -> None:
    found = (
        finding("database-size", "info", value=4096),
        finding("freeze-age", "info", value=17),
        finding("multixact-age", "info", value=3),
        finding("dead-rows", "warning", SHOWN, 25.0, dead_rows=5, live_rows=15),
        finding("dead-rows", "warning", "3 more"),
    )
    samples = read(("db1", result(*found)))
    assert of(samples, "pg_database_size_bytes") == {frozenset(): 4096}
    assert of(samples, "pg_database_wraparound_age_datfrozenxid_seconds") == {frozenset(): 17}
    assert of(samples, "pg_database_wraparound_age_datminmxid_seconds") == {frozenset(): 3}
    assert of(samples, "pg_stat_user_tables_n_dead_tup") == {frozenset(TABLE): 5}
    assert of(samples, "pg_stat_user_tables_n_live_tup") == {frozenset(TABLE): 15}


@pytest.mark.parametrize(
    ("check", "subject", "table", "parts"),
    [
        ("dead-rows", SHOWN, None, TABLE),
        ("table-bloat", "app.t", None, {("schemaname", "app"), ("relname", "t")}),
        ("invalid-indexes", "app.i_ccnew", 'app."t"""', {*INDEX, ("indexrelname", "i_ccnew")}),
        ("index-bloat", "app.i", 'app."t"""', {*INDEX, ("indexrelname", "i")}),
        ("index-bloat", "app.i", None, set()),
        ("unused-indexes", "vtchat", None, set()),
        ("autovacuum-off", "server", None, set()),
        ("connections", "a.b", None, set()),
        ("constraints-not-validated", "app.t.c", None, set()),
    ],
)
def test_values_have_the_labels_of_tables_and_indexes(
    check: str, subject: str, table: str | None, parts: set[tuple[str, str]]
) -> None:
    one = finding(check, "warning", subject, 2.5, **({"table": table} if table else {}))
    (labels,) = of(read(("db1", result(one))), "pg_maintenance_check_value")
    assert labels == {("check", check), ("subject", subject), ("unit", "u"), *parts}


def test_a_database_whose_name_looks_like_a_table() -> None:
    one = finding("autovacuum-off", "info", "app.t", 0)
    samples = read(("db1", result(one, server={"database": "app.t"})))
    assert "relname" not in {name for _name, labels in samples for name, _value in labels}


def test_names_that_published_rules_wait_for() -> None:
    found = (
        finding("index-bloat", "warning", "app.i", 61.5, table='app."t"""', bytes=2**28),
        finding("table-bloat", "warning", SHOWN, 81.0, bytes=2**30),
        finding("table-bloat", "info", "app.known", 90.0, bytes=2**30, ignored={"reason": "x"}),
        finding("index-leftovers", "warning", "app.i_ccnew", 1, table='app."t"""', bytes=8192),
        finding("invalid-indexes", "warning", "app.i", 1, table='app."t"""', bytes=4096),
    )
    assert not [name for name, _labels in read(("db1", result(*found))) if name in metric_samples.BLOAT]
    samples = read(("db1", result(*found)), bloat=True)
    assert of(samples, "pg_bloat_btree_bloat_pct") == {frozenset({*INDEX, ("idxname", "i")}): 61.5}
    assert of(samples, "pg_bloat_btree_real_size") == {frozenset({*INDEX, ("idxname", "i")}): 2**28}
    assert of(samples, "pg_bloat_table_bloat_pct") == {frozenset(TABLE): 81}
    assert of(samples, "pg_bloat_table_real_size") == {frozenset(TABLE): 2**30}
    assert of(samples, "pg_general_index_info_pg_relation_size") == {
        frozenset({*INDEX, ("indexrelname", "i_ccnew")}): 8192,
        frozenset({*INDEX, ("indexrelname", "i")}): 4096,
    }


# What is in the file already. Each case: what an earlier playbook has told, and what a later one tells.

OLD = finding("connections", "critical", value=97)
WELL = finding("connections", "info", value=3)
HOURLY = [counter("purge", "done", 9)]


def after(
    earlier: list[dict[str, Any]], *later: dict[str, Any], hosts: str = "db1", wait: float = HOUR
) -> dict[Key, float]:
    """The samples after two playbooks, the second one some time later."""
    text = text_of(*[("db1", one) for one in earlier])
    assert parsed(text_of(earlier=text)) == parsed(text), "a playbook without results changes nothing"
    return parsed(text_of(*[(hosts, one) for one in later], earlier=text, at=NOW + wait))


def plans(samples: dict[Key, float], name: str = "pg_maintenance_run_timestamp_seconds") -> dict[str, float]:
    return {dict(labels)["plan"]: value for (own, labels), value in samples.items() if own == name}


def test_several_playbooks_write_one_file() -> None:
    """What is not due, as in `make due`, was told before and stays."""
    hourly = result(plan="hourly", counters=HOURLY)
    skipped = result(plan="weekly", status="skipped")
    again = result(plan="hourly", counters=[counter("purge", "done", 12)])
    samples = after([hourly, result(plan="weekly"), result(OLD)], again, skipped)
    assert plans(samples) == {"hourly": NOW + HOUR, "weekly": NOW, "health": NOW}
    assert [value for value in of(samples, "pg_maintenance_action_total").values() if value] == [12]
    assert list(of(samples, "pg_maintenance_check_status").values()) == [2]
    other_host = after([hourly, result(OLD)], result(WELL), hosts="db2")
    assert len(of(other_host, "pg_maintenance_check_status")) == 2


@pytest.mark.parametrize(
    ("later", "levels"),
    [
        (result(WELL), [0]),
        (result(WELL, plan="hourly"), [0]),  # another plan that has looked at the same
        (result(plan="hourly"), [2]),
        (result(), []),  # the plan does not look any more
        (result(finding("freeze-age", "warning", value=5)), [1]),
        (result(status="failed"), [2]),  # it did not come so far
        (result(status="skipped"), [2]),
        (result(WELL, check_mode=True), [0]),
        (result(WELL, plan="report", module="report"), [2]),
    ],
)
def test_a_check_stays_as_it_was_found_until_somebody_looks_again(later: dict[str, Any], levels: list[int]) -> None:
    samples = after([result(OLD)], later)
    assert list(of(samples, "pg_maintenance_check_status").values()) == levels
    assert len(of(samples, "pg_maintenance_check_value")) == len(levels)


def test_a_run_that_has_reached_no_database() -> None:
    """It stands beside the last one that did, whose time goes on passing, and is gone with the next one."""
    lost = result(plan="health", status="failed", server={})
    text = text_of(("db1", lost), earlier=text_of(("db1", result(OLD, counters=HOURLY))), at=NOW + HOUR)
    success = {dict(labels)["datname"]: value for (name, labels), value in parsed(text).items() if "success" in name}
    assert success == {"vtchat": 1, "": 0}
    samples = parsed(text_of(("db1", result(OLD)), earlier=text, at=NOW + DAY))
    assert list(of(samples, "pg_maintenance_run_success").values()) == [1]
    assert [value for value in of(samples, "pg_maintenance_action_total").values() if value] == [9]


@pytest.mark.parametrize("later", [{"plan": "hourly"}, {"plan": "weekly", "status": "skipped", "due": "it is not due"}])
def test_a_failure_to_connect_ends_with_whatever_reaches_the_database_again(later: dict[str, Any]) -> None:
    lost = text_of(("db1", result(plan="weekly", status="failed", server={})), at=NOW)
    assert [dict(labels)["datname"] for name, labels in parsed(lost) if "success" in name] == [""]
    samples = parsed(text_of(("db1", result(**later)), earlier=lost, at=NOW + HOUR))
    assert "" not in [dict(labels).get("datname") for name, labels in samples if "success" in name]


def test_one_of_several_databases_of_a_host_is_not_reached() -> None:
    """As in a loop over connections, in any order."""
    lost, good = result(status="failed", server={}), result()
    for runs in ((lost, good), (good, lost)):
        success = of(read(*[("db1", run) for run in runs]), "pg_maintenance_run_success")
        assert sorted(success.values()) == [0, 1]


def test_what_was_found_of_a_subject_goes_with_the_check() -> None:
    """The oldest database of a server is another one after it was frozen, and a table has no dead rows any more."""
    dead = finding("dead-rows", "warning", "app.t", 25.0, dead_rows=5, live_rows=15)
    earlier = [result(finding("freeze-age", "critical", "other", 2**31 - 9), dead)]
    later = result(finding("freeze-age", "info", value=7), finding("dead-rows", "info"))
    samples = after(earlier, later)
    assert of(samples, "pg_database_wraparound_age_datfrozenxid_seconds") == {frozenset(): 7}
    assert not of(samples, "pg_stat_user_tables_n_dead_tup")
    assert len(of(after(earlier, result(plan="hourly")), "pg_stat_user_tables_n_dead_tup")) == 1
    assert not of(after(earlier, result()), "pg_stat_user_tables_n_dead_tup")


def test_what_nobody_has_run_for_90_days_is_forgotten() -> None:
    other = result(plan="hourly", server={"database": "new"})
    for wait, kept in ((89 * DAY, True), (91 * DAY, False)):
        samples = after([result(OLD, counters=HOURLY)], other, wait=wait)
        names = {name for name, labels in samples if ("datname", "vtchat") in labels}
        assert bool(names) == kept, names


def test_when_a_plan_with_a_schedule_has_run_is_never_forgotten() -> None:
    """Else the alert would end by itself; what was found then is. Without the schedule any more, it is a run like others."""
    other = result(plan="hourly", server={"database": "new"})
    weekly = result(OLD, plan="weekly", counters=HOURLY, schedule={"every": "1w"})
    samples = after([weekly], other, wait=999 * DAY)
    told = {name for name, labels in samples if ("datname", "vtchat") in labels}
    assert told == metric_samples.RUN.keys()
    text = text_of(("db1", result(plan="weekly")), earlier=text_of(("db1", weekly)), at=NOW + DAY)
    assert "weekly" not in text_of(("db1", other), earlier=text, at=NOW + 999 * DAY)


def test_bloat_is_gone_from_the_file_with_the_option() -> None:
    one = ("db1", result(finding("table-bloat", "warning", "app.t", 81.0, bytes=2**30)))
    text = text_of(one, bloat=True)
    assert "pg_bloat_table_bloat_pct" in text_of(earlier=text, bloat=True)
    assert "pg_bloat_table_bloat_pct" not in text_of(earlier=text)


TEXTS = st.text(max_size=12) | st.sampled_from(
    ['"', "\\", "\n", "\\n", '\\"', "# EOF", '"} 1\n# EOF\nx{a="', "é\u202e\x1b[31m", "\ud800", "{,}", 'a",b="']
)
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
CHECKS = st.sampled_from(sorted({*metric_samples.OF_TABLES, *metric_samples.OF_INDEXES, "freeze-age", "other"}))


@settings(max_examples=200, deadline=None)
@given(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), NUMBERS, st.sampled_from(["info", "critical", "?"]), CHECKS)
@example(("", "", "", ""), 8.98846567431158e307, "info", "freeze-age")  # twice that is more than a float can be
def test_any_names_and_values(names: tuple[str, str, str, str], value: Any, level: str, known: str) -> None:
    """They are told as they are, and read again from the file as they were told."""
    host, plan, check, subject = names
    name = '"{}"."{}"'.format(*(text.replace('"', '""') for text in (subject, check)))
    found = [
        finding(check, level, subject, value, unit=plan),
        finding("dead-rows", level, name, value, dead_rows=value),
        finding(known, level, name, value, table=name, bytes=value),
    ]
    counters = [counter(check, subject, value, value, value), counter(plan, check, value)]
    one = (host, result(*found, plan=plan, server={"database": subject}, counters=counters))
    text = text_of(one, bloat=True)
    samples = parsed(text)
    assert ("inventory_host", visible(host)) in next(iter(samples))[1]
    assert text_of(earlier=text, bloat=True) == text
    assert text_of(one, earlier=text, bloat=True) == text
    assert exposition.read(text) == exposition.read(text_of(one, bloat=True))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.lists(st.sampled_from(list('abc{}=",\\ \n1.e_#'))).map("".join))
def test_whatever_the_file_was_before(earlier: str) -> None:
    """Also one that somebody else has made. What is told now is told."""
    one = ("db1", result(OLD))
    for text in (
        earlier,
        f"{metric_samples.TIMESTAMP}{{{earlier}}} 1",
        f'{metric_samples.STATUS}{{a="1",a="1"}} {earlier}',
    ):
        assert read(one).items() <= parsed(text_of(one, earlier=text)).items()


@pytest.mark.parametrize(
    "broken", [{}, {"findings": "x"}, {"findings": [1, {}]}, {"counters": [None, {}], "status": None}, {"counters": 3}]
)
def test_results_of_any_form(broken: dict[str, Any]) -> None:
    read(("db1", broken))
