# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A history that an older release has left: upgraded in place, with nothing lost, or used as it is by who may not alter it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history import LACKING
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import VERSION
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from tests.runs import perform
from tests.servers import Database

DATA = Path(__file__).parent / "data"
STEPS = [{"purge": {"table": "t", "column": "at"}}, {"refresh": {"view": "v"}}, {"analyze": {"tables": ["t"]}}]
KEPT = (
    "SELECT to_jsonb(r) - '{schedule,retries,budget,host,collection,server_version}'::text[] FROM maintenance.run AS r "
    "WHERE id < 2",
    "SELECT md5(string_agg(a::text, ';' ORDER BY id)) FROM maintenance.action AS a WHERE run_id < 2",
)
NEWEST = str(VERSION)


def restore(database: Database, version: int) -> Database:
    """What a run of an older version has left, an hour ago."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    database.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t")
    database.sql((DATA / f"history_version_{version}.sql").read_text(encoding="utf-8"))
    database.sql("UPDATE maintenance.run SET started_at = now() - interval '1 hour'")
    database.sql("UPDATE maintenance.state SET updated_at = now() - interval '1 hour'")
    database.close_connection()  # a refresh would wait for a session that has just written
    return database


@pytest.fixture
def left(database: Database) -> Database:
    """What a run of version 1 has left."""
    return restore(database, 1)


@pytest.fixture(params=range(1, VERSION))
def older(database: Database, request: pytest.FixtureRequest) -> tuple[Database, int]:
    """What a run of each version but the present one has left."""
    return restore(database, request.param), request.param


def version(database: Database) -> str:
    return str(database.value("SELECT obj_description('maintenance.run'::regclass, 'pg_class')"))[-1]


def test_upgraded_in_place_with_nothing_lost(older: tuple[Database, int]) -> None:
    left, old = older
    reader, stranger = left.role("reader"), left.role("stranger")
    left.sql(f"GRANT USAGE ON SCHEMA maintenance TO {reader}")
    left.sql(f"GRANT SELECT, INSERT ON maintenance.action TO {reader}")
    before = [left.value(query) for query in KEPT]
    left.close_connection()
    checked = perform("run", left.dsn, plan="hourly", steps=STEPS, check=True)
    assert (version(left), checked["warnings"]) == (str(old), [])
    first = perform("run", left.dsn, plan="hourly", steps=STEPS)
    assert (version(left), first["status"], first["run_id"]) == (NEWEST, "ok", 3)
    assert "Run 2 (hourly" in first["warnings"][0], "the run that died is noticed as before"
    assert [left.value(query) for query in KEPT] == before
    assert left.value("SELECT count(*) FROM maintenance.state") == 3
    if old == 1:  # the table that the upgrade adds has the privileges of the others
        assert left.value(f"SELECT has_table_privilege('{reader}', 'maintenance.finding', 'INSERT')")
        assert not left.value(f"SELECT has_table_privilege('{reader}', 'maintenance.finding', 'DELETE')")
    assert not left.value(f"SELECT has_table_privilege('{stranger}', 'maintenance.finding', 'SELECT')")
    left.close_connection()
    again = perform("run", left.dsn, plan="hourly", steps=STEPS)
    assert (again["status"], again["warnings"]) == ("ok", [])
    assert [(run["run_id"], run["status"]) for run in again["recent"]] == [(3, "ok"), (2, "abandoned"), (1, "ok")]
    runs = perform("history_info", left.dsn, plan="hourly")["runs"]
    assert [(run["run_id"], run["status"]) for run in runs] == [(4, "ok"), (3, "ok"), (2, "abandoned"), (1, "ok")]


def test_history_info_reads_older_versions(older: tuple[Database, int]) -> None:
    left, old = older
    runs = perform("history_info", left.dsn)["runs"]
    actions = {1: (4, 3), 2: (2, 3), 3: (1, 3), 4: (1, 3)}[old]
    assert [(run["run_id"], run["status"], len(run["actions"])) for run in runs] == [
        (2, "running", actions[0]),
        (1, "ok", actions[1]),
    ]
    recorded = ({"every": "1h"}, 0) if old >= 4 else (None, None)
    assert [(run["schedule"], run["retries"]) for run in runs] == [recorded] * 2
    later = ("budget", "host", "collection", "server_version")
    assert {run[name] for run in runs for name in later} == {None}, "they did not record it"
    assert version(left) == str(old)


def test_health_reads_older_versions(older: tuple[Database, int]) -> None:
    left, old = older
    found = perform("health_info", left.dsn, checks=["maintenance", "wraparound", "database-size"])["findings"]
    unknown = {one["check"]: (one["message"], one["advice"]) for one in found if one["level"] == "unknown"}
    unknown.pop("expired-rows", None)
    none_kept = "the history is of an older version, which keeps no findings: the next run mends that"
    assert unknown == ({"wraparound-forecast": (none_kept, "")} if old == 1 else {})
    assert version(left) == str(old)


def test_who_may_not_alter_it_goes_on_with_the_older_version(
    older: tuple[Database, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, old = older
    role = left.role("maintainer")
    left.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT, UPDATE, DELETE ON t TO {role}")
    left.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA maintenance TO {role}")
    result = perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1])
    assert (result["status"], result["run_id"], version(left)) == ("ok", 3, str(old))
    assert [text for text in result["warnings"] if "abandoned" not in text] == []
    # Durations and what is put off are kept by every version; what only a newer one keeps is said once it matters.
    left.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1, 9) AS n")
    with monkeypatch.context() as patch:  # a budget that is over after the first look at it
        patch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=count(step=1000).__next__))
        late = perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1], budget=600)
    assert [action["outcome"] for action in late["actions"]] == ["deferred"]
    lacks = LACKING[old + 1]
    assert any(f"keeps no {lacks}" in text for text in late["warnings"])
    assert left.value("SELECT deferred FROM maintenance.state WHERE operation = 'purge'")
    assert perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1])["totals"] == {"done": 1}
    assert not left.value("SELECT deferred FROM maintenance.state WHERE operation = 'purge'")
    # What earlier runs did decides with every version; that the rule itself is not kept is said.
    soon = perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1], every="1h", due="auto")
    assert (soon["status"], soon["run_id"]) == ("skipped", None)
    left.sql("UPDATE maintenance.run SET started_at = started_at - interval '51 minutes'")
    left.close_connection()
    due = perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1], every="1h", due="auto")
    assert (due["status"], version(left)) == ("ok", str(old))
    assert [(run["run_id"], run["status"]) for run in due["recent"]] == [
        (5, "ok"),
        (4, "partial"),
        (3, "ok"),
        (2, "abandoned"),
        (1, "ok"),
    ]
    assert any("when plans are due" in text for text in due["warnings"]) == (old < 4)
    assert any("sizes and counters" in text for text in due["warnings"])
    assert "counters" not in due


def test_what_waited_before_the_upgrade_goes_first_after_it(database: Database) -> None:
    left = restore(database, 2)
    left.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1, 2000) AS n; ANALYZE t")
    left.sql("INSERT INTO t SELECT n, now() + interval '1 day' FROM generate_series(3001, 6000) AS n")
    left.sql("SELECT pg_stat_force_next_flush()")
    left.close_connection()
    result = perform("run", left.dsn, plan="hourly", steps=STEPS, budget=600)
    # It is expected to take 810 s, and has been put off before, so that it has its try now.
    assert [(action["operation"], action["outcome"]) for action in result["actions"]] == [
        ("analyze", "done"),
        ("refresh", "done"),
        ("purge", "done"),
    ]


def test_it_is_upgraded_for_its_owner(left: Database) -> None:
    owner, login = left.role("owner"), left.role("login")
    left.sql(f"GRANT {owner} TO {login}; ALTER SCHEMA maintenance OWNER TO {owner}")
    for name in ("run", "action", "state"):
        left.sql(f"ALTER TABLE maintenance.{name} OWNER TO {owner}")
    left.sql(f"GRANT SELECT, UPDATE, DELETE ON t TO {login}")
    assert perform("run", left.dsn_as(login), plan="hourly", steps=STEPS[:1])["status"] == "ok"
    assert version(left) == NEWEST
    assert (
        left.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'maintenance.finding'::regclass")
        == owner
    )


def test_provisioning_upgrades_it(left: Database) -> None:
    script = {"name": "f", "sql": "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"}
    for check, expected in ((True, "1"), (False, NEWEST), (False, NEWEST)):
        result = perform("sql_object", left.dsn, scripts=[script], history=True, check=check)
        assert not result.get("failed"), result
        assert version(left) == expected
    assert not result["changed"]


def test_a_table_of_the_new_name_that_somebody_else_made_is_not_taken(left: Database) -> None:
    left.sql("CREATE TABLE maintenance.finding (id int)")
    result = perform("run", left.dsn, plan="hourly", steps=STEPS[:1])
    assert (result["status"], result["run_id"], version(left)) == ("ok", None, "1")
    assert "table maintenance.finding is not as this collection made it" in result["warnings"][0]


def test_what_was_done_before_the_upgrade_counts(older: tuple[Database, int]) -> None:
    left, _old = older
    result = perform("run", left.dsn, plan="hourly", steps=STEPS[:1])
    found = left.value(
        "SELECT jsonb_agg(jsonb_build_object('operation', operation, 'outcome', outcome, 'actions', n, 'rows', rows, "
        "'reclaimed_bytes', 0) ORDER BY operation, outcome) FROM (SELECT operation, outcome, count(*) AS n, "
        "coalesce(sum(row_count) FILTER (WHERE operation = 'purge'), 0) AS rows FROM maintenance.action GROUP BY 1, 2) AS a"
    )
    assert result["counters"] == found, "those of runs before, of the run that died, and of this one"
    assert "done" in {one["outcome"] for one in found}


def test_whoever_reads_it_keeps_it_from_the_upgrade_and_not_from_use(older: tuple[Database, int]) -> None:
    left, _old = older
    other = left.connect()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM maintenance.run, maintenance.action, maintenance.state")
        result = perform("run", left.dsn, plan="hourly", steps=STEPS[:1], every="1h")
        cursor.execute("ROLLBACK")
    other.close()
    assert (result["status"], result["run_id"]) == ("ok", 3)
    assert any("somebody is using it, and it could not be brought to version" in text for text in result["warnings"])
    left.close_connection()
    assert perform("run", left.dsn, plan="hourly", steps=STEPS[:1])["status"] == "ok"
    assert version(left) == NEWEST, "the next run does it"


def test_sums_that_are_too_large_do_not_keep_it_from_the_upgrade(older: tuple[Database, int]) -> None:
    left, _old = older
    left.sql("UPDATE maintenance.action SET row_count = 9223372036854775807, operation = 'purge', outcome = 'done'")
    left.sql("INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, row_count) "
             "SELECT 1, 1, 'purge', 't', 'done', '', '{}', '{}', 9223372036854775807")  # fmt: skip
    left.close_connection()
    result = perform("run", left.dsn, plan="hourly", steps=STEPS[:1])
    assert (result["warnings"][:0], version(left)) == ([], NEWEST)
