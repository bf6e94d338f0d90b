# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook report as people run it: one database, and a fleet with one that cannot be reached and one that nobody may ask."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.runs import PROGRAM, REPOSITORY, perform, settings
from tests.servers import Database

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
PLANS = {
    "hourly": {"every": "1h", "steps": [{"analyze": {"tables": ["users"]}}]},
    "health": {"steps": [{"health_info": {"checks": ["freeze-age", "maintenance"]}}]},
}
UNREACHABLE = "host=127.0.0.1 port=1 user=u password=hunter2 dbname=nowhere"


class Links(HTMLParser):
    """Where a page leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("href", "src") and not (value or "").startswith("#")
        ]


def report(
    directory: Path, hosts: dict[str, dict[str, object]], *arguments: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the playbook; its output and the folder of the pages."""
    inventory = directory / "hosts.json"
    databases = {name: {**LOCAL, **more} for name, more in hosts.items()}
    inventory.write_text(json.dumps({"databases": {"hosts": databases, "vars": {"maintenance_plans": PLANS}}}))
    pages = directory / "pages" / "deep"
    done = subprocess.run(
        [
            PROGRAM,
            "-i",
            str(inventory),
            "-e",
            f"report_dest={pages}",
            str(REPOSITORY / "playbooks/report.yml"),
            *arguments,
        ],
        env={**os.environ, **settings(directory)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done, pages


@pytest.fixture
def used(vtchat_database: Database) -> Database:
    """With a history."""
    assert perform("run", vtchat_database.dsn, plan="hourly", steps=PLANS["hourly"]["steps"])["status"] == "ok"  # type: ignore[index]
    return vtchat_database


def test_one_database_is_one_page(used: Database, tmp_path: Path) -> None:
    done, pages = report(tmp_path, {"only one": {"maintenance_dsn": used.dsn}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in pages.iterdir()] == ["index.html"]
    text = (pages / "index.html").read_text(encoding="utf-8")
    assert "only one" in text.partition("<title>")[2].partition("</title>")[0]
    assert Links(text).found == []
    assert stat.S_IMODE((pages / "index.html").stat().st_mode) == 0o644
    (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith("done")]
    assert "index.html" in line
    assert "1 run in 90 days" in done.stdout
    assert '"generated_at"' not in done.stdout, "a page is looked at, and not read in a log"


def test_a_fleet_has_an_overview(used: Database, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, object]] = {
        "first": {"maintenance_dsn": UNREACHABLE, "maintenance_connect_deadline": 1},
        "Ärger <b>": {"maintenance_dsn": used.dsn},
        "endpoint": {"maintenance_transport": "endpoint"},
        "empty": {"maintenance_dsn": ""},
        "unset": {"maintenance_dsn": "{{ undef(hint='set DATABASE_URL') }}"},
    }
    done, pages = report(tmp_path, hosts)
    assert done.returncode == 2, "one cannot be reached, and one is not set up"
    assert "hunter2" not in done.stdout + done.stderr
    assert "3 pages: " in done.stdout
    assert "2 hosts failed without a result" in done.stdout
    assert "dsn: set DATABASE_URL" in done.stdout
    assert "Finalization of" not in done.stdout + (pages / "index.html").read_text(encoding="utf-8")
    names = sorted(path.name for path in pages.iterdir())
    assert names[:2] == ["first.html", "index.html"], "of what could not be asked there is no page"
    assert len(names) == 3
    overview = (pages / "index.html").read_text(encoding="utf-8")
    assert "hunter2" not in overview
    assert "&lt;b&gt;" in overview
    assert set(Links(overview).found) == {names[2], "first.html"}
    assert "set DATABASE_URL" in overview
    assert "maintenance_dsn is empty" in overview
    assert "the report reads the database itself" in overview, "what is to be done about the endpoint"
    assert "2 of 5" not in overview, "what is not asked is not out of reach"
    assert Links((pages / names[2]).read_text(encoding="utf-8")).found == ["index.html"]
    assert "Connection refused" in (pages / "first.html").read_text(encoding="utf-8")


def test_check_mode_writes_nothing(used: Database, tmp_path: Path) -> None:
    done, pages = report(tmp_path, {"a": {"maintenance_dsn": used.dsn}, "b": {"maintenance_dsn": used.dsn}}, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not pages.exists()
    assert done.stdout.count("planned") >= 3


def test_hosts_share_a_title_and_a_limit_leaves_the_overview(used: Database, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, object]] = {name: {"maintenance_dsn": used.dsn} for name in ("a", "b")}
    done, pages = report(tmp_path, hosts, "-e", "report_title=production")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in pages.iterdir()) == ["a.html", "b.html", "index.html"]
    overview = (pages / "index.html").read_text(encoding="utf-8")
    assert set(Links(overview).found) == {"a.html", "b.html"}
    (pages / "a.html").unlink()
    (pages / "b.html").write_text("as it was", encoding="utf-8")
    done, pages = report(tmp_path, hosts, "--limit", "a")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (pages / "index.html").read_text(encoding="utf-8") == overview, "it knows of the others, too"
    assert "<h1" in (pages / "a.html").read_text(encoding="utf-8")
    assert (pages / "b.html").read_text(encoding="utf-8") == "as it was"


def test_no_folder_is_no_success(used: Database, tmp_path: Path) -> None:
    done, _pages = report(tmp_path, {"a": {"maintenance_dsn": used.dsn}}, "-e", "report_dest=")
    assert done.returncode == 2
    told = " ".join(done.stdout.split())
    assert "dest: it is empty: name a folder" in told
    assert "(report_dest)" in told, "what was typed"
