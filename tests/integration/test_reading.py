# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps that only read: no run lock, standbys too, findings, and memory of what was not executed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _operations
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import LOCK_KEYS
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context, Need, Outcome, Verdict
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.capabilities import (
    AMCHECK,
    MAINTAIN,
    PGSTATTUPLE,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import UNCHANGED, WARNING, Finding
from ansible_collections.vtchat.maintenance.plugins.module_utils._spec import Spec
from tests.runs import perform
from tests.servers import Database, PrivateServer

STEPS = [{"sizes": {"most": 1}}]
PURGE = {"purge": {"table": "t", "column": "at"}}


class Sizes(ModuleType):
    """An operation that reads: the size of the database, how often it was asked before, and a finding when it is large."""

    SPEC = Spec({"most": {"type": "int", "default": 1}})
    DIVISIBLE = False
    READ_ONLY = True
    COUNTED_AS = ""

    @staticmethod
    def read(given: Mapping[str, Any]) -> int:
        return int(given["most"])

    @staticmethod
    def names(_options: int) -> Sequence[str]:
        return []

    @staticmethod
    def needs(_options: int) -> Sequence[Need]:
        return []

    @staticmethod
    def jobs(_options: int) -> int:
        return 1

    @staticmethod
    def facts(session: Session, _options: int, _context: Context) -> int:
        return int(session.row("SELECT pg_database_size(current_database()) AS bytes")["bytes"])

    @staticmethod
    def decide(size: int, most: int, context: Context) -> list[Verdict | Finding]:
        asked = context.state.get("size", {}).get("asked", 0) + 1
        found = Finding("size", "database", WARNING, "it is large", size, most, {"unit": "bytes"}, "DROP DATABASE")
        return [Verdict("size", f"asked {asked} times", UNCHANGED, {"bytes": size}, {"asked": asked}), found]

    @staticmethod
    def execute(_session: Session, _action: Any, _context: Context) -> Outcome:
        raise AssertionError("it only reads")


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_operations, "NAMES", (*_operations.NAMES, "sizes"))
    monkeypatch.setitem(sys.modules, f"{_operations.__name__}.sizes", Sizes("sizes"))


def look(dsn: str, check: bool = False, steps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return perform("run", dsn, plan="look", steps=steps or STEPS, check=check)


def table(database: Database) -> None:
    database.sql("CREATE TABLE t (id int, at timestamptz); CREATE INDEX ON t (at)")


@contextmanager
def run_under_way(database: Database) -> Iterator[None]:
    """Somebody else has the run lock."""
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", LOCK_KEYS)
        yield
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", LOCK_KEYS)


def test_findings_and_memory_are_kept(database: Database) -> None:
    table(database)
    first = look(database.dsn)
    assert first["run_id"] is None, "what only reads does not create a history"
    assert [finding["check"] for finding in first["findings"]] == ["size"]
    assert first["findings"][0] == {
        "step": 1, "check": "size", "subject": "database", "level": "warning", "message": "it is large",
        "value": first["actions"][0]["numbers"]["bytes"], "threshold": 1, "evidence": {"unit": "bytes"},
        "advice": "DROP DATABASE", "meaning": "", "group": ""}  # fmt: skip
    assert (first["status"], first["changed"], first["warnings"]) == ("ok", False, [])
    assert perform("run", database.dsn, plan="hourly", steps=[PURGE])["run_id"] == 1
    for number, expected in ((2, "asked 1 times"), (3, "asked 2 times")):
        result = look(database.dsn)
        assert (result["run_id"], result["actions"][0]["reason"]) == (number, expected)
    assert look(database.dsn, check=True)["actions"][0]["reason"] == "asked 3 times"
    (latest,) = perform("history_info", database.dsn, limit=1)["runs"]
    # What the registry of checks says of each is not kept again and again.
    kept = [{**finding, "meaning": "", "group": ""} for finding in latest["findings"]]
    assert kept == look(database.dsn)["findings"]
    # Together with steps that write it is one run as ever.
    both = look(database.dsn, steps=[PURGE, *STEPS])
    assert [action["outcome"] for action in both["actions"]] == ["unchanged", "unchanged"]
    assert both["actions"][1]["reason"] == "asked 4 times"
    assert len(both["findings"]) == 1


def test_no_lock_is_needed_or_taken(database: Database) -> None:
    table(database)
    perform("run", database.dsn, plan="hourly", steps=[PURGE])
    with run_under_way(database):
        assert look(database.dsn, steps=[PURGE, *STEPS])["status"] == "skipped"
        assert look(database.dsn)["status"] == "ok"
    locks = "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database WHERE locktype = 'advisory' AND datname = %s"
    assert database.value(locks, [database.name]) == 0


def test_who_may_not_write_findings_is_told(database: Database) -> None:
    table(database)
    perform("run", database.dsn, plan="hourly", steps=[PURGE])
    role = database.role("reader")
    database.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}")
    database.sql(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance.run, maintenance.action, maintenance.state TO {role}"
    )
    result = look(database.dsn_as(role))
    assert (result["status"], result["run_id"], len(result["findings"])) == ("ok", 2, 1)
    (warning,) = result["warnings"]
    assert (
        f"INSERT, UPDATE, DELETE ON maintenance.finding, maintenance.sample, maintenance.counter TO {role}" in warning
    )


def test_a_standby_can_be_looked_at(private_server: PrivateServer) -> None:
    database = private_server.create_database()
    table(database)
    database.sql("CREATE EXTENSION amcheck; CREATE UNLOGGED TABLE unlogged (id int)")
    perform("run", database.dsn, plan="hourly", steps=[PURGE])
    look(database.dsn)
    perform("amcheck", database.dsn, include=["*"], heapallindexed=True)
    database.close_connection()
    embedded = private_server.embedded
    private_server.stop()
    (embedded.data / "standby.signal").touch()
    user = embedded.place.account.uid if embedded.place.account else None
    control = [str(private_server.bin / "pg_ctl"), "-D", str(embedded.data), "-w", "-s"]
    log = str(embedded.place.home / "standby.log")
    subprocess.run([*control, "-l", log, "start"], user=user, cwd=embedded.data, check=True, stdout=subprocess.DEVNULL)
    try:
        dsn = private_server.dsn(database.name)  # started like this, it listens elsewhere
        result = look(dsn)
        mixed = look(dsn, steps=[PURGE, *STEPS])
        info = perform("history_info", dsn)
        checked = perform("amcheck", dsn, include=["*"], heapallindexed=True)
        refused = perform("amcheck", dsn, include=["*"], parent=True)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], user=user, cwd=embedded.data, check=True)
    assert result["status"] == "ok", result
    assert (result["run_id"], len(result["findings"])) == (None, 1)
    assert result["actions"][0]["reason"] == "asked 2 times", "what the primary remembers is known"
    assert (mixed["failed"], "standby" in mixed["msg"]) == (True, True)
    assert len(info["runs"]) == 3, info
    assert {one["target"]: one["outcome"] for one in checked["actions"]} == {
        "public.t": "done", "public.t_at_idx": "done", "public.unlogged": "skipped",
        f"database {database.name}": "unchanged"}  # fmt: skip
    assert checked["warnings"] == [
        "amcheck: what was checked is not remembered, so that each run begins anew: a standby has no memory of its own"
    ]
    assert refused["actions"][0]["reason"].startswith("parent: it takes a lock that there is none of on a standby")


def test_what_a_server_can_do_is_known_from_the_first_round_trip(database: Database) -> None:
    database.sql("CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools")
    with closing(open_session(ConnectionOptions.read(database.dsn), "test", standby=True)) as session:
        assert (session.server.has(AMCHECK), session.server.has(PGSTATTUPLE)) == (True, False)
        assert session.server.has(MAINTAIN) == (session.server.version_num >= 170000)
        assert session.server.extensions["amcheck"][0] == "tools"
        assert session.round_trips == 1
    assert PGSTATTUPLE.missing.endswith("CREATE EXTENSION pgstattuple")
