# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The callback driven with results in the two forms that ansible-core passes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.callback import summary


class FakeDisplay:
    """Records what would be shown."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.columns = 79
        self.shown: list[tuple[str, Any]] = []
        self.warnings: list[str] = []

    def display(self, text: str, color: Any = None) -> None:
        self.shown.append((text, color))

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    @property
    def lines(self) -> list[str]:
        return [text for text, _color in self.shown]


class Callback(summary.CallbackModule):
    """The callback with its option set directly; loading it by name is the business of ansible-core."""

    def __init__(
        self, json_file: str | None = None, junit_file: str | None = None, metrics_file: str | None = None
    ) -> None:
        self.screen = FakeDisplay()
        super().__init__(display=self.screen)
        self.options = {
            "json_file": json_file,
            "junit_file": junit_file,
            "metrics_file": metrics_file,
            "metrics_bloat": None,
        }

    def get_option(self, k: str, hostvars: Any = None) -> Any:
        return self.options[k]


def run_result(*outcomes: str, **more: Any) -> dict[str, Any]:
    actions = [
        {
            "operation": "purge",
            "target": f"public.t{number}",
            "outcome": outcome,
            "reason": "because",
            "rows": 3,
            "counted_as": "purged",
        }
        for number, outcome in enumerate(outcomes)
    ]
    return {"actions": actions, "status": "ok", "plan": "hourly", "server": {"database": "vtchat"}, **more}


def event(
    result: Any, action: str = "vtchat.maintenance.run", old: bool = False, host: str = "db1", diff: bool = False
) -> Any:
    task = SimpleNamespace(action="run", resolved_action=action, diff=diff, get_name=lambda **_how: "Run it")
    prefix = "_" if old else ""
    return SimpleNamespace(
        **{f"{prefix}result": result, f"{prefix}task": task, f"{prefix}host": SimpleNamespace(get_name=lambda: host)}
    )


@pytest.fixture(autouse=True)
def _outside_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "method", ["v2_runner_on_ok", "v2_runner_on_failed", "v2_runner_item_on_ok", "v2_runner_item_on_failed"]
)
def test_shows_the_run_of_every_kind_of_event(method: str, old: bool) -> None:
    callback = Callback()
    getattr(callback, method)(event(run_result("done"), old=old))
    assert callback.screen.lines[0] == "hourly on db1: ok (vtchat)"
    callback.v2_playbook_on_stats(None)
    assert callback.screen.lines[-1] == "1 database: 1 done, 0 unchanged, 0 failed; 3 rows purged"


@pytest.mark.parametrize(
    ("result", "action"),
    [
        (run_result("done"), "community.postgresql.postgresql_query"),
        (run_result("done"), "vtchat.maintenances.run"),
        ({"actions": [], "status": "ok"}, "vtchat.maintenance.run"),
        ({"msg": "hello"}, "vtchat.maintenance.run"),
        ({**run_result("done"), "censored": "hidden"}, "vtchat.maintenance.run"),
        ({**run_result("done"), "_ansible_no_log": True}, "vtchat.maintenance.run"),
        ({"results": [run_result("done")]}, "vtchat.maintenance.run"),
        ("text", "vtchat.maintenance.run"),
    ],
)
def test_silent_about_everything_else(result: Any, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    callback = Callback()
    callback.v2_runner_on_ok(event(result, action))
    callback.v2_runner_on_failed(event(result, action))
    callback.v2_playbook_on_stats(None)
    assert callback.screen.shown == []


def test_does_not_ask_for_the_resolved_name_of_other_tasks() -> None:
    class Task:
        @property
        def resolved_action(self) -> str:
            raise AssertionError("ansible-core warns when a templated action is resolved here")

    other = event({"msg": "hello"})
    other.task = Task()
    Callback().v2_runner_on_ok(other)


def test_colours_are_named_and_never_written() -> None:
    callback = Callback()
    callback.v2_runner_on_ok(event(run_result("done", "unchanged", "contended", "failed")))
    assert all("\x1b" not in line for line in callback.screen.lines)
    colours = {text.split()[0]: colour for text, colour in callback.screen.shown}
    assert colours["CONTENDED"] != colours["unchanged"] != colours["FAILED"] != colours["CONTENDED"]
    assert None not in colours.values()


def test_verbosity_shows_round_trips() -> None:
    callback = Callback()
    callback.screen.verbosity = 1
    callback.v2_runner_on_ok(event(run_result("done", turns=9)))
    assert "with 9 round trips" in callback.screen.lines[0]


def test_annotations_only_under_github_and_at_most_ten_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Callback()
    quiet.v2_runner_on_ok(event(run_result("failed")))
    assert not [line for line in quiet.screen.lines if line.startswith("::")]

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    callback = Callback()
    for host in ("db1", "db2"):
        callback.v2_runner_on_failed(event(run_result(*["failed"] * 7, *["deferred"] * 8), host=host))
    callback.v2_playbook_on_stats(None)
    commands = [line for line in callback.screen.lines if line.startswith("::")]
    assert sum(line.startswith("::error title=") for line in commands) == 10
    assert sum(line.startswith("::warning title=") for line in commands) == 10
    assert len(commands) == 20
    assert commands[-2:] == [
        "::error title=5 more errors::they are in the summary and in the log of this job",
        "::warning title=7 more warnings::they are in the summary and in the log of this job",
    ]
    full = Callback()
    full.v2_runner_on_failed(event(run_result(*["failed"] * 10)))
    full.v2_playbook_on_stats(None)
    assert [line for line in full.screen.lines if "t9" in line and line.startswith("::error")]


def test_what_others_print_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between these lines GitHub's runner takes everything for text; only our own annotations are outside."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    callback, other = Callback(), Callback()
    for one in (callback, other):
        one.v2_playbook_on_start(None)
        one.v2_runner_on_failed(event(run_result("failed")))
        one.v2_playbook_on_stats(None)
    stop, *between, resume = callback.screen.lines
    token = stop.removeprefix("::stop-commands::")
    assert len(token) == 32
    assert token not in str(other.screen.lines)
    assert resume == f"::{token}::"
    first, second = between.index(resume), between.index(stop)
    assert first == second - 2
    assert between[first + 1].startswith("::error title=")
    assert not [line for line in between[:first] + between[second + 1 :] if line.startswith("::")]


def test_step_summary_is_appended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    callback = Callback()
    callback.v2_runner_on_ok(event(run_result("done")))
    callback.v2_playbook_on_stats(None)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n### PostgreSQL maintenance\n")
    assert "| done | purge | public.t0 |" in text


def test_step_summary_leaves_room_for_what_is_already_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("x" * (summary.github.SUMMARY_LIMIT - 2000), encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    callback = Callback()
    callback.v2_runner_on_ok(event(run_result(*["done"] * 500)))
    callback.v2_playbook_on_stats(None)
    assert summary.github.SUMMARY_LIMIT - 2000 < file.stat().st_size <= summary.github.SUMMARY_LIMIT
    assert "more targets did not fit" in file.read_text(encoding="utf-8")


def test_later_steps_are_told_which_plans_have_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("before=1\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    hostile = {"plan": "x\nplans=weekly"}
    runs = [run_result("done"), run_result("failed", plan="nightly"), run_result(plan="weekly", status="skipped"),
            run_result("done", plan="nightly"), run_result("done", **hostile)]  # fmt: skip
    for under_github, written in ((False, ""), (True, "plans=hourly nightly\n")):
        if under_github:
            monkeypatch.setenv("GITHUB_ACTIONS", "true")
        callback = Callback()
        for one in runs:
            callback.v2_runner_on_ok(event(one))
        callback.v2_playbook_on_stats(None)
        assert file.read_text(encoding="utf-8") == f"before=1\n{written}"


def test_json_file(tmp_path: Path) -> None:
    file = tmp_path / "last.json"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o644)
    callback = Callback(str(file))
    loop = {"ansible_loop_var": "db", "db": {"dsn": "s3cret"}, "item": "s3cret", "ansible_loop": {"allitems": "s3cret"}}
    callback.v2_runner_item_on_ok(event(run_result("done", invocation={"dsn": "s3cret"}, diff="s3cret", **loop)))
    callback.v2_playbook_on_stats(None)
    text = file.read_text(encoding="utf-8")
    document = json.loads(text)
    assert "s3cret" not in text
    assert document["totals"] == {"done": 1}
    assert document["runs"] == [{**run_result("done"), "inventory_host": "db1", "module": "run"}]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["last.json"]


def test_json_file_is_written_without_runs(tmp_path: Path) -> None:
    file = tmp_path / "last.json"
    callback = Callback(str(file))
    callback.v2_playbook_on_stats(None)
    assert json.loads(file.read_text(encoding="utf-8")) == {"format": 1, "runs": [], "totals": {}}
    assert callback.screen.shown == []


def test_a_report_that_cannot_be_written_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "missing" / "summary.md"))
    callback = Callback(str(tmp_path / "missing" / "last.json"))
    callback.v2_runner_on_ok(event(run_result("done")))
    callback.v2_playbook_on_stats(None)
    assert len(callback.screen.warnings) == 2
    job, results = callback.screen.warnings
    assert "cannot write the summary of the job" in job
    assert "No such file or directory" in job
    assert "cannot write the results (json_file)" in results
    assert f"{tmp_path / 'missing'} is not there: make it, or name another file" in results


def test_the_old_json_file_stays_when_writing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "last.json"
    file.write_text("old", encoding="utf-8")
    monkeypatch.setattr(summary.os, "replace", refuse)
    callback = Callback(str(file))
    callback.v2_playbook_on_stats(None)
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["last.json"]
    assert "No space left on device" in callback.screen.warnings[0]


def test_what_a_killed_run_left_beside_the_file_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    leftover = tmp_path / f".last.json.{gone.pid}.abcd1234.tmp"
    others = {
        tmp_path / f".last.json.{os.getpid()}.abcd1234.tmp",
        tmp_path / ".last.json.old",
        tmp_path / ".last.json.1.x.tmp",
    }
    for path in (leftover, *others):
        path.touch()
    Callback(str(tmp_path / "last.json")).v2_playbook_on_stats(None)
    assert set(tmp_path.iterdir()) == {tmp_path / "last.json", *others}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The summary of a job on GitHub."""
    for name, value in {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_RUN_ID": "17",
                        "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/n"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path / "summary.md"


DIFF = [{"before": "", "after": "new words"}]


def test_differences_are_in_the_summary_where_they_are_asked_for_and_in_no_other_report(
    page: Path, tmp_path: Path
) -> None:
    callback = Callback(str(tmp_path / "last.json"))
    callback.v2_runner_on_ok(event(run_result("done", diff=[{"before": "", "after": "not asked for"}])))
    callback.v2_runner_on_failed(event(run_result("failed", diff=DIFF), diff=True))
    callback.v2_playbook_on_stats(None)
    text = page.read_text(encoding="utf-8")
    assert "+new words" in text
    assert "not asked for" not in text
    assert "[PostgreSQL maintenance](https://github.com/o/n/actions/runs/17)" in text
    assert "new words" not in (tmp_path / "last.json").read_text(encoding="utf-8")


def test_tasks_that_fail_and_are_no_runs_are_told_on_github(page: Path) -> None:
    callback = Callback()
    shell, stats = "ansible.builtin.command", SimpleNamespace(failures={"db1": 1}, dark={"db2": 1})
    callback.v2_runner_on_failed(event({"failed": True, "msg": "set DATABASE_URL"}))
    callback.v2_runner_on_failed(event({"failed": True, "msg": "was ignored"}, shell), ignore_errors=True)
    callback.v2_runner_on_failed(event({"failed": True, "msg": "was rescued"}, shell, host="db3"))
    callback.v2_runner_on_failed(event({"failed": True, "censored": "x", "msg": "s3cret"}, shell))
    callback.v2_runner_on_unreachable(event({"unreachable": True, "msg": "no route"}, shell, host="db2"))
    wrong = {"failed": True, "msg": "no such plan"}
    items = [run_result("failed", failed=True), wrong, dict(wrong), {"msg": "fine"}]
    callback.v2_runner_on_failed(event({"failed": True, "msg": "One or more items failed", "results": items}))
    callback.v2_playbook_on_stats(stats)
    said = ["set DATABASE_URL", "its result is hidden (no_log)", "no route", "no such plan"]
    errors = [line for line in callback.screen.lines if line.startswith("::error title=Run it failed on db")]
    assert [line.rpartition("::")[2] for line in errors] == said
    text = page.read_text(encoding="utf-8").replace("\u200b", "")
    assert all(
        f"Run it on db{2 if words == 'no route' else 1}: {words}" in text.replace("&#95;", "_") for words in said
    )
    assert not [words for words in ("ignored", "rescued", "s3cret", "One or more") if words in text + "".join(errors)]


def test_nothing_of_that_elsewhere(tmp_path: Path) -> None:
    callback = Callback()
    callback.v2_runner_on_failed(event({"failed": True, "msg": "words"}))
    callback.v2_playbook_on_stats(SimpleNamespace(failures={"db1": 1}, dark={}))
    assert callback.screen.shown == []


def test_hosts_that_failed_before_there_was_a_result_are_counted() -> None:
    callback = Callback()
    callback.v2_runner_on_ok(event(run_result("done")))
    callback.v2_runner_on_failed(event(run_result("failed", failed=True, status="failed"), host="db2"))
    for host in ("db2", "db3", "db4", "db4", "db5"):  # db2 is counted by its run already, and db5 was rescued
        callback.v2_runner_on_failed(event({"failed": True, "msg": "set DATABASE_URL"}, host=host))
    callback.v2_runner_on_unreachable(event({"unreachable": True, "msg": "no route"}, host="db6"))
    callback.v2_playbook_on_stats(SimpleNamespace(failures={"db2": 1, "db3": 1, "db4": 1}, dark={"db6": 1}))
    line, colour = callback.screen.shown[-1]
    assert "1 failed;" in line
    assert line.endswith("; 3 hosts failed without a result"), line
    assert colour == "red"


def test_junit_file(tmp_path: Path) -> None:
    file = tmp_path / "health.xml"
    one = {"check": "freeze-age", "subject": "vtchat", "level": "critical", "message": "old", "advice": ""}
    for findings, expected in (([], "<testsuites"), ([one], '<failure type="critical" message="old">')):
        callback = Callback(junit_file=str(file))
        callback.v2_runner_on_ok(event(run_result(findings=findings)))
        callback.v2_playbook_on_stats(None)
        assert expected in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["health.xml"]


def written(file: Path, *hosts: str) -> None:
    callback = Callback(metrics_file=str(file))
    for host in hosts:
        callback.v2_runner_on_ok(event(run_result("done"), host=host))
    callback.v2_playbook_on_stats(None)
    assert callback.screen.warnings == []


def test_metrics_file(tmp_path: Path) -> None:
    """All hosts are in one file, those of other playbooks too, which a collector that runs as somebody else can read."""
    file = tmp_path / "maintenance.prom"
    file.touch()
    written(file, "db1", "db2")
    written(file, "db3")
    text = file.read_text(encoding="utf-8")
    assert [f'run_success{{inventory_host="db{number}",' in text for number in (1, 2, 3)] == [True] * 3
    assert text.endswith("# EOF\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["maintenance.prom"]


STRANGERS = [
    b"node_other_backup_age_seconds 5\n",
    b"# HELP backup_age Age.\n# EOF\n",
    b'pg_database_size_bytes{datname="app"} 5\n',
    b'pg_maintenance_run_success{inventory_host="db1",datname="app",plan="p"} yes\n',
    b'{"format": 1}',
    b"\n\n words",
    b"\xff",
]


@pytest.mark.parametrize("content", STRANGERS)
def test_metrics_of_somebody_else_are_not_replaced(tmp_path: Path, content: bytes) -> None:
    """Neither where ours are among them."""
    written(tmp_path / "ours.prom", "db1")
    for number, before in enumerate((content, (tmp_path / "ours.prom").read_bytes() + content)):
        file = tmp_path / f"{number}.prom"
        file.write_bytes(before)
        (told,) = refused(metrics_file=str(file))
        assert told.startswith(f"vtchat.maintenance: cannot write the metrics (metrics_file) to {file}: ")
        assert "name another file" in told
        assert "remove" in told
        assert file.read_bytes() == before


def refused(**options: str) -> list[str]:
    """The warnings of a playbook with one run."""
    callback = Callback(**options)
    callback.v2_runner_on_ok(event(run_result("done")))
    callback.v2_playbook_on_stats(None)
    return callback.screen.warnings


@pytest.mark.parametrize("option", ["metrics_file", "json_file", "junit_file"])
def test_only_a_file_is_replaced_by_a_file(tmp_path: Path, option: str) -> None:
    """No link, whatever it leads to, no pipe, no directory; nothing is left of the attempt, and the reason is told."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "file").touch()
    before = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    cases = {
        "pipe": "no file that can be replaced",
        "directory": "it is a directory",
        "link": f"name the file that is meant, {tmp_path}/file",
        "nowhere": f"name the file that is meant, {tmp_path}/missing",
        "file/below": "file is no directory",
        "none/below": "none is not there: make it, or name another file",
    }
    for name, reason in cases.items():
        (told,) = refused(**{option: str(tmp_path / name)})
        assert f"({option}) to {tmp_path / name}: " in told
        assert reason in told
        assert {path.name: path.lstat().st_mode for path in tmp_path.iterdir()} == before


def test_a_folder_that_may_not_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root may, so it is not asked of the file system."""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    (told,) = refused(metrics_file=str(tmp_path / "maintenance.prom"))
    assert f"may not write to {tmp_path}: let them, or name another file" in told


def test_playbooks_that_end_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "maintenance.prom"
    threads = [Thread(target=written, args=(file, f"db{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f'run_success{{inventory_host="db{number}",' in file.read_text(encoding="utf-8") for number in range(8))


def test_how_often_a_run_tried_again_is_part_of_its_result(tmp_path: Path) -> None:
    file = tmp_path / "last.json"
    callback = Callback(str(file))
    callback.v2_runner_on_ok(event(run_result("done", retries=3)))
    callback.v2_playbook_on_stats(None)
    assert json.loads(file.read_text(encoding="utf-8"))["runs"][0]["retries"] == 3
