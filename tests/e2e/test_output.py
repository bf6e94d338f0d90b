# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees: of our plays what the summary says and what fails, of everybody else's what Ansible says."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _live
from tests.runs import REPOSITORY, command
from tests.servers import Database

STEPS = [
    {"purge": {"table": "nowhere", "column": "at"}},
    {"analyze": {"tables": ["users", "sessions"]}},
]
PLAN = {"vtchat.maintenance.plan": {}, "name": "Run it", "register": "maintenance_result", "ignore_errors": True}
SILENT: list[dict[str, Any]] = [
    {"name": "A fact", "ansible.builtin.set_fact": {"fact": 1}},
    {"name": "A condition", "ansible.builtin.assert": {"that": "fact == 1"}},
    {"name": "Left out", "vtchat.maintenance.run": {"plan": "p", "steps": []}, "when": False},
]
DEBUG = {"name": "Say", "ansible.builtin.debug": {"msg": "words of somebody"}}
FAILING = {
    "name": "In vain",
    "ansible.builtin.assert": {"that": "false", "fail_msg": "the reason"},
    "ignore_errors": True,
}
BROKEN = {**PLAN, "name": "Not read", "vars": {"maintenance_plans": "{{ nowhere_defined }}"}}


def play(name: str, *tasks: dict[str, Any], hosts: str = "localhost") -> dict[str, Any]:
    known = {"maintenance_plans": {"hourly": {"steps": STEPS}}}
    return {
        "name": name,
        "hosts": hosts,
        "connection": "local",
        "gather_facts": False,
        "vars": known,
        "tasks": list(tasks),
    }


OURS = [
    play("Ours", PLAN, *SILENT),
    play("Nobody", PLAN, hosts="nobody"),
    play("Ours with words", *SILENT, DEBUG),
    play("Ours in vain", *SILENT, FAILING, BROKEN),
]
THEIRS = [play("Theirs", *SILENT, PLAN, DEBUG)]


def arranged(directory: Path, database: Database, *arguments: str, theirs: bool) -> tuple[list[str], dict[str, str]]:
    """ansible-playbook for our plays, as they are quiet in the repository, and for those of a stranger."""
    (directory / "quiet").mkdir()
    (directory / "quiet" / "ours.yml").write_text(json.dumps(OURS), encoding="utf-8")
    known = {"maintenance_dsn": database.dsn, "ansible_python_interpreter": sys.executable}
    imported = [{"ansible.builtin.import_playbook": str(directory / "quiet" / "ours.yml")}]
    given, environment = command(directory, [*imported, *(THEIRS if theirs else [])], known, *arguments)
    settings = (REPOSITORY / "ansible.cfg").read_text(encoding="utf-8").replace("= ./", f"= {REPOSITORY}/")
    assert "quiet_playbooks = playbooks" in settings
    settings = settings.replace("quiet_playbooks = playbooks", "quiet_playbooks = quiet")
    (directory / "ansible.cfg").write_text(settings, encoding="utf-8")
    return given, {**environment, "ANSIBLE_CONFIG": str(directory / "ansible.cfg"), "PYTHONWARNINGS": "ignore"}


def told(output: str) -> list[str]:
    """The lines, without what differs from run to run, what fills them, and empty ones."""
    text = re.sub(r"test_[0-9a-f]{12}", "database", re.sub(r" in \d[^(]* \(", " in 0 ms (", output))
    text = re.sub(r"msg: .*nowhere_defined.*", "msg: nowhere_defined", text)  # the words are Ansible's
    return [re.sub(r" \*+$|\s+$", "", line) for line in text.splitlines() if line.strip()]


TABLE = [
    "hourly on localhost: failed in 0 ms (database, PostgreSQL 18.6)",
    "  FAILED     purge    nowhere          there is no table nowhere in the search_path of database database",
    "  unchanged  analyze  public.users     0 rows changed, below the threshold of 250",
    "  unchanged  analyze  public.sessions  0 rows changed, below the threshold of 950",
]


def test_what_is_shown(vtchat_database: Database, tmp_path: Path) -> None:
    vtchat_database.sql("ANALYZE users, sessions")
    given, environment = arranged(tmp_path, vtchat_database, theirs=True)
    done = subprocess.run(
        given, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert told(done.stdout) == [
        *TABLE,
        "PLAY [Ours with words]",
        "TASK [Say]",
        "ok: [localhost] =>",
        "    msg: words of somebody",
        "PLAY [Ours in vain]",
        "TASK [In vain]",
        "fatal: [localhost]: FAILED! =>",
        "    msg: the reason",
        "...ignoring",
        "TASK [Not read]",
        "fatal: [localhost]: FAILED! =>",
        "    msg: nowhere_defined",
        "...ignoring",
        "PLAY [Theirs]",
        "TASK [A fact]",
        "ok: [localhost]",
        "TASK [A condition]",
        "ok: [localhost] =>",
        "    changed: false",
        "    msg: All assertions passed",
        "TASK [Left out]",
        "skipping: [localhost]",
        "TASK [Run it]",
        "fatal: [localhost]: FAILED! => told below",
        "...ignoring",
        *TABLE,
        "TASK [Say]",
        "ok: [localhost] =>",
        "    msg: words of somebody",
        "PLAY RECAP",
        "localhost                  : ok=14   changed=0    unreachable=0    failed=0    skipped=4    rescued=0    ignored=4",
        "1 database: 0 done, 4 unchanged, 2 failed",
    ], done.stdout


def screen(received: str) -> list[str]:
    """What a terminal shows in the end of what it was sent."""
    lines, column = [""], 0
    for piece in re.findall(r"\r|\n|\x1b\[K|\x1b\[[0-9;]*m|[^\r\n\x1b]+", received):
        if piece == "\n":
            lines.append("")
        elif piece == "\r":
            column = 0
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:column]
        elif not piece.startswith("\x1b"):
            lines[-1] = lines[-1][:column] + piece + lines[-1][column + len(piece) :]
            column += len(piece)
    return lines


def test_in_a_terminal_a_line_says_what_goes_on_and_leaves_nothing(vtchat_database: Database, tmp_path: Path) -> None:
    vtchat_database.sql("ANALYZE users, sessions")
    given, environment = arranged(tmp_path, vtchat_database, theirs=False)
    settings = {name: value for name, value in environment.items() if name not in ("CI", "NO_COLOR", "ANSIBLE_NOCOLOR")}
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        given,
        env={**settings, "TERM": "xterm"},
        cwd=tmp_path,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    received = b""
    while process.poll() is None or select.select([terminal], [], [], 0)[0]:
        try:
            received += os.read(terminal, 65536) if select.select([terminal], [], [], 0.1)[0] else b""
        except OSError:  # Linux says so when nobody writes there any more
            break
    os.close(terminal)
    assert process.wait() == 0
    text = received.decode()
    assert "Run it on localhost …" in text
    assert "…" not in "".join(screen(text))
    heading, *_, totals = [line for line in told("\n".join(screen(text))) if line]
    assert (heading, totals) == (TABLE[0], "1 database: 0 done, 2 unchanged, 1 failed")


@pytest.mark.parametrize(
    ("environment", "there"),
    [({}, True), ({"TERM": "dumb"}, False), ({"TERM": ""}, False), ({"NO_COLOR": "1"}, False), ({"CI": "true"}, False)],
)
def test_where_there_is_no_such_line(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], there: bool) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(_live.constants, "ANSIBLE_NOCOLOR", False)
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    assert _live.wanted() is there
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert not _live.wanted()
