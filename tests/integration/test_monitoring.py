# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What monitoring systems get of a playbook: one line and an exit code, and a file of metrics about all its hosts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.runs import command
from tests.servers import Database, free_port

LINE = re.compile(r"MAINTENANCE (OK|WARNING|CRITICAL|UNKNOWN): [^|\n]+( \|( '[^'=]+'=[0-9.-]+(s|%|B|)[;0-9.]*)+)?\n")


def looked(
    directory: Path, options: dict[str, dict[str, Any]], tasks: list[dict[str, Any]] | None = None, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """A playbook with one task of health_info, its options by host, under the callback. What it prints is one line."""
    task = {"vtchat.maintenance.health_info": "{{ options[inventory_hostname] }}"}
    plays = [{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks or [task]}]
    known = {"ansible_python_interpreter": "{{ ansible_playbook_python }}", "options": options, **variables}
    program, environment = command(directory, plays, known, "-i", ",".join([*options, ""]))
    program[1:3] = []  # the inventory of others
    environment["ANSIBLE_STDOUT_CALLBACK"] = "vtchat.maintenance.nagios"
    # As a workflow sets them where nobody has given a value.
    environment |= {"VTCHAT_MAINTENANCE_METRICS_FILE": "", "VTCHAT_MAINTENANCE_JUNIT": ""}
    done = subprocess.run(
        program, env=environment, cwd=directory, capture_output=True, text=True, timeout=240, check=False
    )
    assert LINE.fullmatch(done.stdout), done.stdout + done.stderr
    assert not [path for path in directory.glob("**/ansible-local-*") if any(path.iterdir())], (
        "a temporary file is left"
    )
    return done


def test_critical_and_the_metrics_of_all_hosts(database: Database, vtchat_database: Database, tmp_path: Path) -> None:
    """One of them has an index that is not valid, which is told by the name that published rules wait for."""
    database.sql(
        r"""CREATE SCHEMA "A ""b"; CREATE TABLE "A ""b"."t\" AS SELECT 1 AS id; CREATE INDEX i_ccnew ON "A ""b"."t\" (id)"""
    )
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text LIKE '%i_ccnew'")
    limits = {"connections": {"warning": 0, "critical": 0}}
    checks = ["connections", "invalid-indexes", "index-leftovers"]
    options: dict[str, dict[str, Any]] = {
        "db1": {"dsn": database.dsn, "fail_on": "never", "thresholds": limits, "checks": checks},
        "db2": {"dsn": vtchat_database.dsn, "checks": ["database-size", "freeze-age"]},
    }
    file = "{{ playbook_dir }}/{{ 'maintenance' }}.prom"
    done = looked(tmp_path, options, maintenance_metrics_file=file, maintenance_metrics_bloat="{{ 'yes' }}")
    assert done.returncode == 2
    assert done.stdout.startswith("MAINTENANCE CRITICAL: 1 critical, 1 warning")
    assert f"; db1 connections {database.name}: " in done.stdout
    assert f" 'db2 database-size {vtchat_database.name}'=" in done.stdout
    text = (tmp_path / "maintenance.prom").read_text(encoding="utf-8")
    for parser in (openmetrics, prometheus):
        samples = [one for family in parser(text) for one in family.samples]
        by_name = {(one.name, one.labels["inventory_host"], one.labels.get("check")): one for one in samples}
        assert by_name["pg_maintenance_check_status", "db1", "connections"].value == 2
        assert by_name["pg_maintenance_check_status", "db2", "freeze-age"].value == 0
        assert by_name["pg_maintenance_run_success", "db1", None].value == 1
        size = by_name["pg_database_size_bytes", "db2", None]
        assert size.labels["datname"] == vtchat_database.name
        assert size.value == pytest.approx(
            vtchat_database.value("SELECT pg_database_size(current_database())"), rel=0.1
        )
        (left,) = [one for one in samples if one.name == "pg_general_index_info_pg_relation_size"]
        assert left.value == 16384
        assert left.labels == {
            "inventory_host": "db1",
            "datname": database.name,
            "schemaname": 'A "b',
            "relname": "t\\",
            "indexrelname": "i_ccnew",
        }
    assert os.stat(tmp_path / "maintenance.prom").st_mode & 0o777 == 0o644
    assert (tmp_path / "summary.json").exists(), "the other files are written as well"


def test_warning(database: Database, tmp_path: Path) -> None:
    """A run that fails for a warning, as it was told to, is a warning."""
    limits = {"connections": {"warning": 0, "critical": None}}
    done = looked(
        tmp_path, {"db1": {"dsn": database.dsn, "fail_on": "warning", "checks": ["connections"], "thresholds": limits}}
    )
    assert done.returncode == 1, done.stdout
    assert done.stdout.startswith(f"MAINTENANCE WARNING: 1 warning; connections {database.name}: ")


def test_well(database: Database, tmp_path: Path) -> None:
    """Failures that are ignored, and what other modules say, are not told."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.assert": {"that": "false"}, "ignore_errors": True, "loop": [1, 2]},
        {"ansible.builtin.debug": {"msg": "words"}},
        {"vtchat.maintenance.health_info": {"dsn": database.dsn, "checks": ["connections", "freeze-age"]}},
    ]
    done = looked(tmp_path, {"db1": {}}, tasks, maintenance_metrics_file=True)
    assert (done.returncode, done.stdout.partition(" | ")[0]) == (0, "MAINTENANCE OK: 2 checks well"), done.stderr
    told = " ".join(done.stderr.split())
    assert (
        "cannot write the metrics (metrics_file): maintenance_metrics_file is True, and has to be the path of" in told
    )
    assert told.count("cannot write") == 1, told
    assert not (tmp_path / "True").exists()


def test_unknown(tmp_path: Path) -> None:
    """Nobody answers; options are wrong."""
    nobody = f"host=127.0.0.1 port={free_port()} user=u password=Pa55word dbname=d"
    options: dict[str, dict[str, Any]] = {
        "db1": {"dsn": nobody, "tls": "private", "connect_deadline": 1},
        "db2": {"dsn": nobody, "checks": ["there-is-none"]},
    }
    done = looked(tmp_path, options)
    assert done.returncode == 3
    assert done.stdout.startswith("MAINTENANCE UNKNOWN: 2 unknown; db")
    assert "there-is-none" in done.stdout
    assert "Pa55word" not in done.stdout + done.stderr
