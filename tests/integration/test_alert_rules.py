# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules for Prometheus: they are about metrics that are written, and tell of what they are meant to tell, by promtool
(Debian's package prometheus; make packages)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ansible_collections.vtchat.maintenance.plugins.module_utils._report import metrics
from tests.servers import REPOSITORY

RULES = REPOSITORY / "docs" / "monitoring" / "alert-rules.yml"
KNOWN = {"inventory_host": "db1", "datname": "app"}
HOUR, DAY = 3600, 86400


def finding(check: str, level: str = "warning", value: float = 1, **evidence: Any) -> dict[str, Any]:
    subject = "public.i" if "table" in evidence else "app"
    return {"check": check, "level": level, "subject": subject, "value": value, "evidence": evidence}


def written(bloat: bool = False, **more: Any) -> str:
    """The text that a run leaves."""
    counters = [
        {"operation": "reindex", "outcome": outcome, "actions": 1, "rows": 1, "reclaimed_bytes": 1}
        for outcome in ("done", "deferred")
    ]
    result = {
        "status": "ok",
        "plan": "hourly",
        "server": {"database": "app"},
        "seconds": 1,
        "schedule": {"every": "1h"},
        "counters": counters,
        "findings": [
            finding("freeze-age", "info"),
            finding("index-bloat", table="public.t", bytes=1),
            finding("index-leftovers", table="public.t", bytes=1),
        ],
    }
    return metrics.document([("db1", {**result, **more})], [1.0], bloat=bloat)


def samples(text: str) -> dict[str, list[dict[str, str]]]:
    """The labels of all samples, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def test_the_rules_are_about_what_is_written() -> None:
    """Every name, every label that is chosen by, grouped by or shown, and every value of an outcome or a check."""
    known = samples(written())
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    for rule in [rule for rule in rules() if "alert" in rule]:
        text = rule["expr"]
        for name, expression in recorded.items():
            text = text.replace(name, expression)
        text = re.sub(r'"[^"]*"', '""', text)
        names = set(re.findall(r"\b(?:pg|node)_[a-z_]+", text))
        assert names <= known.keys(), rule["alert"]
        there = {label for name in names for labels in known[name] for label in labels}
        grouped = re.findall(r"\b(?:by|on|without) \(([a-z_, ]+)\)", text)
        used = {label for one in grouped for label in re.split(", ?", one)} | set(re.findall(r"[{,]([a-z_]+)=", text))
        shown = {label for said in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", said)}
        assert used | shown <= there, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert {"summary", "description"} == rule["annotations"].keys()


def series(name: str, **labels: str) -> str:
    """A series of the text that a run leaves, with other values of some labels."""
    known = [one for one in samples(written(bloat=True))[name] if one.keys() >= labels.keys() - {"playbook"}]
    (found, *_more) = known
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in {**found, **labels}.items())}}}"


def runs(
    ended: str = "0x2500", success: str = "1x800", schedule: bool = True, plan: str = "hourly", playbook: str = ""
) -> dict[str, str]:
    """Of one plan, which was due after a week. What is written each hour is known from the next hour on."""
    labels = {"plan": plan, "playbook": playbook} if playbook else {"plan": plan}
    told = {series(ENDED, **labels): ended, series("pg_maintenance_run_success", **labels): success}
    week = f"{7 * DAY}x2500"
    due = {series(f"pg_maintenance_run_{name}_seconds", **labels): week for name in ("due_timestamp", "interval")}
    return {**told, **due} if schedule else told


ENDED = "pg_maintenance_run_timestamp_seconds"
STATUS = "pg_maintenance_check_status"
ACTIONS = "pg_maintenance_action_total"
RECLAIMED = "pg_maintenance_reclaimed_bytes_total"


NEVER = {series(STATUS, check="maintenance-overdue"): "3x800"}


def groups(older: str, newer: str) -> dict[str, str]:
    """What two playbooks have pushed as groups of their own: of one plan, and of one check, which two plans look at."""
    weekly, hourly = {"playbook": "weekly", "plan": "weekly"}, {"playbook": "hourly", "plan": "hourly"}
    checked = {series(STATUS, **weekly): older, series(STATUS, **hourly): newer}
    return {
        **runs(plan="weekly", playbook="weekly"),
        **runs("1800x800", playbook="hourly"),
        **runs("60x800", success="0x800" if older[0] != "0" else "1x800", playbook="due"),
        **checked,
    }


def pushed(values: dict[str, str]) -> dict[str, str]:
    """The same counters in the groups of two playbooks."""
    return {one.replace("{", f'{{playbook="{name}",'): told for name in ("a", "b") for one, told in values.items()}


@dataclass(frozen=True)
class Case:
    """Series by the hour, and which alerts fire after so many hours, with a label of one."""

    name: str
    values: dict[str, str]
    hours: int
    fires: set[str] = field(default_factory=set)


CALM = runs(f"0+{HOUR}x800", schedule=False)
PUT_OFF = {series(ACTIONS, outcome="deferred"): "1+1x800"}


def bloated(status: str) -> dict[str, str]:
    return {series(STATUS, check="index-bloat"): status}


LEFT = {series(RECLAIMED): "5x800", **bloated("1x800")}


def weekly(contended: str, done: str) -> dict[str, str]:
    """What became of the targets of one operation."""
    return {series(ACTIONS, outcome="contended"): contended, series(ACTIONS, outcome="done"): done}


CASES = (
    Case("nothing is read", {}, 0),
    Case("nothing is read for an hour", {}, 2, {"MaintenanceMetricsMissing"}),
    Case("in time", runs(), 7 * 24 + 5),
    Case("overdue", runs(), 7 * 24 + 7, {"MaintenanceRunOverdue"}),
    Case("no schedule", runs(schedule=False), 8 * 24 - 1),
    Case("by hand once, without a schedule", runs(schedule=False), 9 * 24),
    Case("by hand twice", runs("0x5 18000x800", schedule=False), 10 * 24),
    Case("no schedule, in time", runs(f"0+{HOUR}x800", schedule=False), 500),
    Case(
        "no schedule, and stopped",
        runs(f"0+{HOUR}x100 {100 * HOUR}x800", schedule=False),
        100 + 8 * 24 + 1,
        {"MaintenanceRunOverdueWithoutSchedule"},
    ),
    Case("stopped for ever", runs(), 24 * 24, {"MaintenanceRunOverdue"}),
    Case("failed", runs(success="1 0x800"), 1, {"MaintenanceRunFailed"}),
    Case("good again", runs(success="1 0 1x800"), 2),
    Case("well", {**runs(), series(STATUS): "0x9"}, 1),
    Case("warning", {**runs(), series(STATUS): "1x9"}, 1, {"MaintenanceCheckWarning"}),
    Case("critical", {**runs(), series(STATUS): "2x9"}, 1, {"MaintenanceCheckCritical"}),
    Case("never ran, young", {**runs(f"0+{HOUR}x800", schedule=False), **NEVER}, 14 * 24),
    Case("never ran", {**runs(f"0+{HOUR}x800", schedule=False), **NEVER}, 15 * 24 + 2, {"MaintenancePlanUnknown"}),
    Case("unknown", {**runs(), series(STATUS): "3x9"}, 1, {"MaintenanceCheckUnknown"}),
    Case("young", {**runs(), series("pg_database_wraparound_age_datfrozenxid_seconds"): "200000000x9"}, 1),
    Case(
        "old",
        {**runs(), series("pg_database_wraparound_age_datfrozenxid_seconds"): "400000001x9"},
        1,
        {"MaintenanceFreezeAge"},
    ),
    Case("an older group is bad", groups(older="2x800", newer="0x800"), 2),
    Case("the newest group is bad", groups(older="0x800", newer="2x800"), 2, {"MaintenanceCheckCritical"}),
    Case("won back", {**runs(), series(RECLAIMED): "0+1000x800", **bloated("0x800")}, 160),
    Case(
        "won back, bloated",
        {**CALM, series(RECLAIMED): "0+1000x800", **bloated("1x800")},
        400,
        {"MaintenanceCheckWarning"},
    ),
    *(
        Case(f"left bloated, new for {hours} h", {**CALM, **LEFT}, hours, {"MaintenanceCheckWarning"})
        for hours in (1, 330)
    ),
    Case(
        "bloated, and left so",
        {**CALM, **pushed(LEFT), **LEFT},
        340,
        {"MaintenanceCheckWarning", "MaintenanceWinsNothingBack"},
    ),
    Case("bloated since yesterday", {**CALM, **LEFT, **bloated("0x380 1x800")}, 400, {"MaintenanceCheckWarning"}),
    *(Case(f"put off, new for {hours} h", {**CALM, **PUT_OFF}, hours) for hours in (3, 160)),
    Case("put off", {**CALM, **PUT_OFF, **pushed(PUT_OFF)}, 180, {"MaintenancePutOff"}),
    *(
        Case(f"put off once of a weekly plan, {hours} h", {**CALM, **weekly("0x168 1x800", "1x335 2x800")}, hours)
        for hours in (169, 334, 345)
    ),
    Case("put off twice", {**CALM, **weekly("0x168 1x167 2x800", "1x800")}, 340, {"MaintenancePutOff"}),
    Case("put off twice, in between done", {**CALM, **weekly("0x168 1x167 2x800", "1x200 2x800")}, 340),
    Case(
        "put off now and then",
        {**CALM, **PUT_OFF, series(ACTIONS, outcome="unchanged"): "1+1x800"},
        340,
    ),
)


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        assert not os.environ.get("CI"), "promtool is missing"
        pytest.skip("needs promtool (Debian's package prometheus)")
    return found


def test_promtool_takes_the_rules(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_the_parser_of_textfile_collectors_takes_the_file(promtool: str) -> None:
    """What promtool has against it is only that counters have no help there: it is that of a family of another name."""
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=written(bloat=True), capture_output=True, text=True, check=False)
    assert "parsing error" not in done.stderr
    assert set(done.stderr.split("\n")) >= {
        f"{name}_total no help text" for name in ("pg_maintenance_action", "pg_maintenance_rows")
    }


# Of the form that published rules have.
OTHERS = {
    "table": "pg_bloat_table_bloat_pct > 80 and on (relname) (pg_bloat_table_real_size > 200000000)",
    "index": "pg_bloat_btree_bloat_pct > 80 and on (idxname) (pg_bloat_btree_real_size > 100000000)",
    "leftover": 'pg_general_index_info_pg_relation_size{indexrelname=~".*ccnew.*"}',
}


def test_rules_of_others_find_what_they_wait_for(promtool: str, tmp_path: Path) -> None:
    bloat = {
        "check": "table-bloat",
        "level": "critical",
        "subject": "public.t",
        "value": 85,
        "evidence": {"bytes": 2**28},
    }
    index = finding("index-bloat", value=85, table="public.t", bytes=2**28)
    left = {**finding("index-leftovers", table="public.t", bytes=4096), "subject": "public.i_ccnew"}
    text = written(bloat=True, findings=[bloat, index, left])
    values = {
        one: f"{line.rpartition(' ')[2]}x9"
        for line in text.splitlines()
        if (one := line.rpartition(" ")[0])[:3] == "pg_"
    }
    tests = {
        "interval": "1h",
        "input_series": [{"series": one, "values": told} for one, told in values.items()],
        "promql_expr_test": [
            {"expr": f"count({expression})", "eval_time": "1h", "exp_samples": [{"labels": "{}", "value": 1}]}
            for expression in OTHERS.values()
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"tests": [tests]}), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_tells_of_what_it_is_meant_for_and_of_nothing_else(promtool: str, tmp_path: Path) -> None:
    tests = [
        {
            "name": case.name,
            "interval": "1h",
            "input_series": [{"series": one, "values": values} for one, values in case.values.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{case.hours}h",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.fires)],
                }
            ],
        }
        for case in CASES
    ]
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set().union(*(case.fires for case in CASES))
    file = tmp_path / "test.yml"
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1h", "tests": tests}), encoding="utf-8"
    )
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
