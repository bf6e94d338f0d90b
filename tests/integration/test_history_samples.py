# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run leaves for those who look at the history later: sizes, counters, and what executed it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_samples import MOST_TABLES
from ansible_collections.vtchat.maintenance.plugins.module_utils._origin import COLLECTION
from tests.runs import perform
from tests.servers import Database

STEPS = [{"purge": {"table": "t", "column": "at"}}]


@pytest.fixture
def filled(database: Database) -> Database:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    database.sql("INSERT INTO t SELECT n, now() + interval '1 day' FROM generate_series(1, 5000) AS n")
    database.sql("SELECT pg_stat_force_next_flush()")
    database.sql("VACUUM ANALYZE t")
    database.close_connection()
    return database


def run(database: Database, dsn: str = "", **options: Any) -> dict[str, Any]:
    return perform("run", dsn or database.dsn, **{"plan": "hourly", "steps": STEPS, **options})


def samples(database: Database) -> list[list[str]]:
    """What each run has sampled."""
    found = database.value(
        "SELECT jsonb_agg(names ORDER BY run_id) FROM (SELECT run_id, jsonb_agg(relation ORDER BY id) AS names "
        "FROM maintenance.sample GROUP BY run_id) AS s"
    )
    database.close_connection()
    return list(found or [])


def earlier(database: Database, interval: str) -> None:
    database.sql(f"UPDATE maintenance.sample SET sampled_at = sampled_at - interval '{interval}'")
    database.close_connection()


def test_sizes_are_sampled_once_an_hour_and_those_of_tables_once_a_day(filled: Database) -> None:
    run(filled)
    run(filled)
    assert [names[0] for names in samples(filled)] == [""], "the second run comes too soon"
    assert "public.t" in samples(filled)[0]
    assert not any("pg_catalog" in name for name in samples(filled)[0])
    earlier(filled, "50 minutes")
    run(filled)
    assert len(samples(filled)) == 1
    earlier(filled, "6 minutes")
    run(filled)
    assert samples(filled)[1:] == [[""]]
    earlier(filled, "18 hours")
    run(filled)
    assert samples(filled)[2:] == [[""]]
    earlier(filled, "2 hours")
    run(filled)
    assert "public.t" in samples(filled)[3]
    earlier(filled, "-3 days")
    run(filled)
    assert "public.t" in samples(filled)[4], "what seems to come from the future was sampled while the clock was wrong"


def test_the_numbers_are_those_of_the_server(filled: Database) -> None:
    filled.sql("CREATE TABLE wide (id int PRIMARY KEY, text text STORAGE EXTERNAL)")
    filled.sql("INSERT INTO wide SELECT n, repeat('x', 10000) FROM generate_series(1, 300) AS n")
    filled.sql("VACUUM ANALYZE wide")
    other = filled.connect()
    with other.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE passing (id int)")
        run(filled)
    other.close()
    assert not any("passing" in name for name in samples(filled)[0]), "a table of one session is nobody's growth"
    wide = filled.value("SELECT to_jsonb(s) FROM maintenance.sample AS s WHERE relation = 'public.wide'")
    assert wide["index_bytes"] == filled.value("SELECT pg_indexes_size('wide')")
    whole = filled.value("SELECT pg_table_size('wide')")
    assert 0.9 * whole <= wide["bytes"] <= whole, "but for maps, and an index of TOAST that VACUUM has not counted anew"
    of_table = filled.value("SELECT to_jsonb(s) FROM maintenance.sample AS s WHERE relation = 'public.t'")
    assert of_table["bytes"] == filled.value("SELECT pg_relation_size('t')")
    assert of_table["index_bytes"] == filled.value("SELECT pg_indexes_size('t')")
    assert (of_table["live_rows"], of_table["dead_rows"]) == (5000, 0)
    assert of_table["freeze_age"] >= 0
    whole = filled.value("SELECT to_jsonb(s) FROM maintenance.sample AS s WHERE relation = ''")
    assert abs(whole["bytes"] - filled.value("SELECT pg_database_size(current_database())")) < 2**20
    assert whole["index_bytes"] >= of_table["index_bytes"]
    assert whole["live_rows"] >= 5000


def test_whoever_locks_a_table_keeps_no_run_from_being_recorded(filled: Database) -> None:
    other = filled.connect()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("CREATE TABLE locked (id int)")
        cursor.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        result = run(filled, steps=[{"health_info": {"checks": ["freeze-age"], "fail_on": "never"}}], plan="health")
        cursor.execute("ROLLBACK")
    other.close()
    assert result["run_id"] is None, "it only reads, and there is no history yet"
    run(filled)
    earlier(filled, "1 day")
    other = filled.connect()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        result = run(filled, steps=[{"health_info": {"checks": ["freeze-age"], "fail_on": "never"}}], plan="health")
        cursor.execute("ROLLBACK")
    other.close()
    assert result["warnings"] == []
    assert "public.t" in samples(filled)[1]


def test_only_the_largest_tables(filled: Database) -> None:
    filled.sql(
        f"DO $$BEGIN FOR n IN 1..{MOST_TABLES + 5} LOOP EXECUTE format('CREATE TABLE small_%s (id int)', n); END LOOP; END$$"
    )
    filled.close_connection()
    run(filled)
    names = samples(filled)[0]
    assert len(names) == 1 + MOST_TABLES
    assert names[1] == "public.t"


def test_hostile_names(filled: Database) -> None:
    filled.sql("""CREATE TABLE "a.b ""c"" %s <b>'" (id int)""")
    filled.close_connection()
    run(filled)
    assert """public."a.b ""c"" %s <b>'\"""" in samples(filled)[0]


def test_who_may_not_keep_them_goes_on_without(filled: Database) -> None:
    run(filled)
    role = filled.role("maintainer")
    filled.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT, UPDATE, DELETE ON t TO {role}")
    filled.sql(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance.run, maintenance.action, maintenance.state TO {role}"
    )
    filled.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance.finding TO {role}")
    filled.close_connection()
    result = run(filled, filled.dsn_as(role), every="1h")
    assert (result["status"], "counters" in result) == ("ok", False)
    assert any(
        "sizes and counters are not kept: GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance.sample, maintenance.counter TO"
        in text
        for text in result["warnings"]
    )
    filled.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance.sample, maintenance.counter TO {role}")
    filled.close_connection()
    result = run(filled, filled.dsn_as(role), every="1h")
    assert (result["warnings"], bool(result["counters"])) == ([], True)


def test_a_role_that_was_taken_on_and_may_not_connect(filled: Database) -> None:
    run(filled)
    role = filled.role("owner")
    filled.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT, UPDATE, DELETE ON t TO {role}")
    filled.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA maintenance TO {role}")
    filled.sql("DO $$BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END$$")
    earlier(filled, "2 days")
    result = run(filled, role=role)
    assert (result["status"], result["warnings"]) == ("ok", [])
    assert samples(filled)[1][0] != "", "only tables"


def test_counters_grow_and_are_never_pruned(filled: Database) -> None:
    filled.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(6001, 6100) AS n")
    filled.close_connection()
    first = run(filled)["counters"]
    assert first == [{"operation": "purge", "outcome": "done", "actions": 1, "rows": 100, "reclaimed_bytes": 0}]
    second = run(filled)["counters"]
    assert second == [
        *first,
        {"operation": "purge", "outcome": "unchanged", "actions": 1, "rows": 0, "reclaimed_bytes": 0},
    ]
    filled.sql(
        "UPDATE maintenance.counter SET reclaimed_bytes = 5, row_count = 6, actions = 7 WHERE outcome = 'unchanged'"
    )
    filled.close_connection()
    third = run(filled)["counters"][1]
    assert (third["actions"], third["rows"], third["reclaimed_bytes"]) == (8, 6, 5)
    filled.sql("DELETE FROM maintenance.run")
    assert filled.value("SELECT count(*) FROM maintenance.sample") == 0, "sizes go with their run"
    filled.close_connection()
    assert [one["actions"] for one in run(filled)["counters"]] == [1, 9]
    assert "counters" not in run(filled, history=False)
    assert "counters" not in run(filled, check=True)


def test_a_table_that_was_cut_short_counts_as_won(filled: Database) -> None:
    filled.sql("DELETE FROM t WHERE id > 100; SELECT pg_stat_force_next_flush()")
    filled.close_connection()
    result = run(filled, steps=[{"vacuum": {"tables": ["t"], "truncate": True}}])
    (action,) = result["actions"]
    assert action["numbers"]["won_bytes"] == action["numbers"]["bytes_before"] - action["numbers"]["bytes_after"] > 0
    assert result["counters"][0]["reclaimed_bytes"] == action["numbers"]["won_bytes"]


def test_what_executed_it(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    run(filled, budget=300)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "octo/app")
    monkeypatch.setenv("GITHUB_RUN_ID", "17")
    run(filled)
    second, first = perform("history_info", filled.dsn)["runs"]
    assert (first["budget"], first["host"], first["collection"]) == (300, socket.gethostname(), COLLECTION)
    assert first["server_version"] == filled.value("SELECT split_part(current_setting('server_version'), ' ', 1)")
    assert second["host"] == "https://github.example/octo/app/actions/runs/17"
