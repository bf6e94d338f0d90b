# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No form of a password gets out: not into what is printed, the history, the summary file or files left behind."""

from __future__ import annotations

import base64
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.doubles.monitor import KEY, Monitor
from tests.runs import REPOSITORY, playbook
from tests.servers import Database

SECRET = "%s@#7/Geh€im 'n\"\n\\x"


def forms(secret: str) -> set[str]:
    """Everything that a password could look like on its way through URLs, YAML, JSON, Python and a shell."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), keyword(secret)[1:-1]}
    found |= {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
    }
    found |= {"".join(f"%{byte:02x}" for byte in secret.encode()), base64.b64encode(secret.encode()).decode()}
    found |= {json.dumps(form)[1:-1] for form in found} | {form.replace("'", "''") for form in found}
    return found | {"Geh€im", "Geh%E2%82%ACim", "Geh\\u20acim", "Geh\\xe2\\x82\\xacim"}


def keyword(secret: str) -> str:
    """The password as a value in a keyword string."""
    return "'" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'"


def leaks(directory: Path, *texts: str) -> list[str]:
    """Where a form of the password is, given texts and all files below a directory but the one that brought it in."""
    places = {f"text {number}": text for number, text in enumerate(texts)}
    for path in directory.rglob("*"):
        if path.is_file() and path.name != "variables.json":
            places[str(path)] = path.read_bytes().decode("utf-8", "replace")
    return [f"{form!r} in {place}" for place, text in places.items() for form in forms(SECRET) if form in text]


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]


def task(module: str, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {f"vtchat.maintenance.{module}": options, "ignore_errors": True, **more}


MODULES = sorted(path.stem for path in (REPOSITORY / "collections").rglob("plugins/modules/*.py"))
AS_MODULE = {"environment": {"NOTHING_SPECIAL": "1"}}
PURGE = {"table": "t", "column": "at"}


@pytest.fixture
def login(database: Database) -> str:
    """A role with that password, which owns a table of expired rows."""
    role = database.role("login", password=SECRET)
    database.sql(f"CREATE TABLE t (at timestamptz); INSERT INTO t VALUES ('2000-01-01'); ALTER TABLE t OWNER TO {role}")
    database.sql(f"GRANT CREATE ON DATABASE {database.name} TO {role}")
    return role


def variables(database: Database, login: str) -> dict[str, Any]:
    """Connection strings that work and that do not, all with the password."""
    port, name, secret = database.server.port, database.name, quote(SECRET, safe="")
    good = f"postgresql://{login}:{secret}@127.0.0.1:{port}/{name}"
    return {
        "ansible_python_interpreter": sys.executable,
        "good": good,
        "keywords": f"host=127.0.0.1 port={port} dbname={name} user={login} password={keyword(SECRET)}",
        "wrong": good.replace(f"{login}:", "somebody:"),
        "nowhere": f"postgresql://u:{secret}@no-such-host.invalid/d",
        "closed": f"postgresql://u:{secret}@127.0.0.1:1/d",
        "unencoded": f"postgresql://u:{SECRET}@127.0.0.1/d",
        "unknown": f"{good}?{secret}={secret}",
        "other_scheme": f"mysql://u:{secret}@h/d",
        "unreadable": f"host=127.0.0.1 password={SECRET}",
        "as_list": [good],
        "not_https": f"http://hc.example/{secret}",
        "as_mapping": {"url": good},
        "pooled": f"postgresql://u:{secret}@ep-x-pooler.neon.tech/d",
        "dsns": {"one": good, "two": f"{good}?application_name=x"},
        "maintenance_plans": {"hourly": {"steps": [{"purge": PURGE}]}},
    }


def tasks() -> list[dict[str, Any]]:
    """Success and failure, with check and diff, here and as a module, in a loop, and with options of a wrong type."""
    short = {"connect_deadline": 0}
    steps = {"plan": "p", "steps": [{"purge": PURGE}, {"purge": {"table": "missing", "column": "x"}}]}
    made = [
        task("purge", {"dsn": "{{ good }}", **PURGE}, check_mode=True, diff=True),
        task("purge", {"dsn": "{{ keywords }}", **PURGE}, diff=True),
        task("run", {"dsn": "{{ keywords }}", "ping_url": "{{ ping }}/here", **steps}),
        task("run", {"dsn": "{{ good }}", "ping_url": "{{ ping }}/module", **steps}, **AS_MODULE),
        *(
            task("run", {"dsn": "{{ good }}", "ping_url": f"{{{{ {name} }}}}", **steps})
            for name in ("not_https", "as_list")
        ),
        task("history_info", {"dsn": "{{ good }}"}, register="history"),
        {"ansible.builtin.debug": {"var": "history"}},
        task("purge", {"dsn": "{{ dsns[item] }}", **PURGE}, loop="{{ dsns | list }}"),
        task("purge", {"dsn": "{{ wrong }}", **PURGE, **short}, **AS_MODULE),
        task("purge", {"dsn": "{{ unreadable }}", **PURGE, "budget": "{{ [1] }}"}, **AS_MODULE),
        task("purge", {"dsn": "{{ good }}", **PURGE}, **AS_MODULE, **{"async": 30, "poll": 1}),
    ]
    for name in (
        "wrong",
        "nowhere",
        "closed",
        "unencoded",
        "unknown",
        "other_scheme",
        "unreadable",
        "as_list",
        "as_mapping",
        "pooled",
    ):
        made.append(task("purge", {"dsn": f"{{{{ {name} }}}}", **PURGE, **short}))
    told = {
        "results": [{"failed": True, "msg": "{{ good }}"}, {"server": {"database": "d"}, "findings": []}],
        "channels": [{"webhook": {"url": "{{ ping }}", "headers": {"X-Key": "{{ unreadable }}"}}},
                     {"mail": {"host": "127.0.0.1", "port": 1, "to": ["a@b.c"], "from": "a@b.c", "username": "u",
                               "password": "{{ unreadable }}"}}],
        "patience": 0,
    }  # fmt: skip
    for name in ("good", "wrong"):
        made.append(task("alerts", {"dsn": f"{{{{ {name} }}}}", **told, **short}, diff=True))
        made.append(task("alerts", {"dsn": f"{{{{ {name} }}}}", **told, **short}, **AS_MODULE))
    made.append(task("alerts", {**told, "channels": [{"webhook": {"uri": "{{ good }}"}}]}, **AS_MODULE))
    made.append(task("alerts", {**told, "channels": "{{ unreadable }}"}, **AS_MODULE))
    made.append(task("history_info", {"dsn": "{{ wrong }}", "limit": "{{ as_list }}", **short}))
    for name in ("good", "wrong", "unencoded"):
        dsn = {"dsn": f"{{{{ {name} }}}}", **short}
        made.append(task("index", {**dsn, "definition": "CREATE INDEX by_id ON t (id)"}))
        made.append(
            task("sql_object", {**dsn, "sql": "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"})
        )
    # Options that no module has: their values are nobody's to show.
    for module in MODULES:
        mistyped = {"tokne": "{{ unreadable }}", "secret": {"NAME": ["{{ good }}"]}, "dns": "{{ good }}"}
        made.append(task(module, mistyped))
        # What their modules print is in test__module.
        if module in ("purge", "sql_object"):
            made.append(task(module, mistyped, **AS_MODULE))
    for name in ("good", "wrong", "as_mapping"):
        role = {"name": "maintenance"}
        more = {"maintenance_dsn": f"{{{{ {name} }}}}", "maintenance_connect_deadline": 0}
        made.append({"ansible.builtin.include_role": role, "vars": more, "ignore_errors": True})
    return made


def wait_for_ansible(directory: Path) -> None:
    """Ansible looks every five seconds whether a task with async has ended, and only then removes the files it sent."""
    end = time.monotonic() + 60
    while any(directory.rglob("AnsiballZ_*")) and time.monotonic() < end:
        time.sleep(0.2)


@pytest.mark.slow
def test_password_is_nowhere(database: Database, login: str, tmp_path: Path) -> None:
    with closing(Monitor()) as monitor:
        given = {**variables(database, login), "ping": f"{monitor.url}/{KEY}/{quote(SECRET, safe='')}"}
        process = playbook(
            tmp_path,
            play(*tasks()),
            given,
            "-vvvv",
            environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")},
        )
    heard = {sign.removeprefix(f"{quote(SECRET, safe='')}/") for sign in monitor.heard()}  # some twice, if we were slow
    assert heard == {"here/start", "here/fail", "module/start", "module/fail"}
    assert database.value("SELECT count(*) FROM maintenance.run") >= 5, process.stdout  # it did connect
    assert database.value("SELECT count(*) FROM t") == 0
    assert "password authentication failed" in process.stdout
    assert process.stdout.count("tokne") >= len(MODULES) + 2 > 10
    recorded = str(
        [database.sql(f"SELECT x::text FROM maintenance.{name} AS x") for name in ("run", "action", "state")]
    )
    assert (tmp_path / "summary.json").exists()
    wait_for_ansible(tmp_path)
    assert not leaks(tmp_path, process.stdout, process.stderr, recorded)


def test_a_leak_would_be_found(database: Database, login: str, tmp_path: Path) -> None:
    planted = [
        {"ansible.builtin.debug": {"msg": "{{ good }}"}},
        {"ansible.builtin.copy": {"content": "{{ keywords }}", "dest": str(tmp_path / "left behind"), "mode": "0600"}},
    ]
    process = playbook(tmp_path, play(*planted), variables(database, login))
    found = leaks(tmp_path, process.stdout, process.stderr)
    assert any("in text 0" in one for one in found)
    assert any("left behind" in one for one in found)
