# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker whose ansible-playbook is killed stops within two seconds, as at the end of its budget, and says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.watch import INTERVAL, Watch, _parent_of
from tests.runs import command, until
from tests.servers import Database, ended

# Each row takes a hundredth of a second, so that one batch takes longer than a test may wait.
TABLES = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at);
INSERT INTO t SELECT n, '2000-01-01' FROM generate_series(1, 100000) AS n;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END';
CREATE TRIGGER slow BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION slow();
"""
WORKING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGHUP ends what is started: nohup before the tests would have made all of it deaf to that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("path", ["here", "module"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_worker_without_its_controller(database: Database, tmp_path: Path, path: str, how: signal.Signals) -> None:
    database.sql(TABLES)
    steps = [{"purge": {"table": "t", "column": "at"}}, {"analyze": {"tables": ["t"]}}]
    task = {"vtchat.maintenance.run": {"dsn": database.dsn, "plan": "hourly", "steps": steps}}
    if path == "module":
        task["environment"] = {"NOTHING_SPECIAL": "1"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    arguments, environment = command(tmp_path, [play], {"ansible_python_interpreter": sys.executable})
    with subprocess.Popen(arguments, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        until(lambda: database.value(WORKING) or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(how)
        process.wait(120)
    until(lambda: not database.value(OPEN), 120)  # it would take a quarter of an hour
    [(status, message)] = database.sql("SELECT status, message FROM maintenance.run")
    assert (status, "abandoned by its controller" in message) == ("abandoned", True)
    actions = database.sql("SELECT operation, outcome, reason FROM maintenance.action ORDER BY id")
    assert [action[:2] for action in actions] == [("purge", "deferred"), ("analyze", "deferred")]
    assert all("abandoned by its controller" in reason for _operation, _outcome, reason in actions)
    assert database.value("SELECT count(*) FROM t") > 90_000


def test_installation_without_its_controller(database: Database, tmp_path: Path) -> None:
    """Building the view would take a quarter of an hour; what was built is removed."""
    script = "CREATE MATERIALIZED VIEW v AS SELECT n, pg_sleep(0.01) IS NULL FROM generate_series(1, 90000) AS n"
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"vtchat.maintenance.sql_object": {"dsn": database.dsn, "sql": script}}],
    }
    arguments, environment = command(tmp_path, [play], {"ansible_python_interpreter": sys.executable})
    with subprocess.Popen(arguments, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        until(lambda: database.value(WORKING) or process.poll() is not None)
        assert process.poll() is None
        process.kill()
    until(lambda: not database.value(OPEN), 120)
    assert database.value("SELECT count(*) FROM pg_class WHERE relkind = 'm'") == 0


def test_two_seconds_are_enough() -> None:
    assert INTERVAL <= 1


def test_watch_ends_without_a_trace() -> None:
    class Nobody:
        def gone(self) -> bool:
            return True

    calls: list[str] = []
    for working in (False, True):
        with Watch(lambda: calls.append("ended"), lambda: calls.append("cancelled"), Nobody()) as watch:  # type: ignore[arg-type]
            if working:
                with watch.work():
                    until(watch.gone)
            else:
                until(watch.gone)
        assert not watch._thread.is_alive()
    assert calls == ["ended", "ended", "cancelled"]


def test_parent_of_a_program_with_a_difficult_name(tmp_path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here")
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            assert _parent_of(process.pid) == os.getpid()
        finally:
            process.kill()
    assert ended(process.pid)
    assert _parent_of(process.pid) == 0
