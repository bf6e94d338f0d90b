# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""health_info on databases that are well, and on some that were made ill on purpose: one check, and only that one, says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import registry
from tests.health import bad, levels, look, of
from tests.runs import perform, until
from tests.servers import Database, PrivateServer, ended

PURGE = {"purge": {"table": "t", "column": "at"}}
HEALTH: dict[str, dict[str, Any]] = {"health_info": {}}
TABLE = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at);
INSERT INTO t SELECT n, now() + interval '1 day' FROM generate_series(1, 100) AS n
"""
OF_HISTORY = {check.id for check in registry.CHECKS if check.history}


def hourly(database: Database, **options: Any) -> dict[str, Any]:
    return perform("run", database.dsn, plan="hourly", steps=[PURGE], every="1h", **options)


def test_an_empty_database_is_well_and_nothing_is_known_of_its_maintenance(database: Database) -> None:
    result = look(database)
    assert (result["status"], result["changed"]) == ("ok", False)
    assert {check for check, level in levels(result).items() if level == "unknown"} == OF_HISTORY
    assert set(levels(result).values()) == {"info", "unknown"}
    assert re.fullmatch(rf"{len(OF_HISTORY)} unknown, \d+ well", result["actions"][0]["reason"])
    assert result["turns"] <= 6
    assert result["run_id"] is None


def test_a_maintained_database_is_well(database: Database) -> None:
    database.sql(TABLE)
    hourly(database)
    result = look(database)
    assert set(levels(result).values()) == {"info"}, result["findings"]
    assert [one["level"] for one in result["findings"] if one["advice"]] == []


def test_what_is_wrong_with_the_maintenance(database: Database) -> None:
    database.sql(TABLE)
    hourly(database)
    database.sql(
        "UPDATE maintenance.run SET started_at = started_at - interval '3 h', finished_at = finished_at - interval '3 h'"
    )
    late = look(database)
    assert bad(late) == {"maintenance-overdue": "warning"}
    assert late["findings"][0]["evidence"]["unit"] == "seconds"
    assert 7100 < late["findings"][0]["value"] < 7400
    # What only reads does not count as maintenance.
    assert bad(look(database)) == {"maintenance-overdue": "warning"}
    hourly(database)
    assert bad(look(database)) == {}
    database.sql("UPDATE maintenance.run SET finished_at = started_at + interval '301 s', retries = 3")
    assert bad(look(database)) == {"maintenance-slow": "warning", "maintenance-retries": "warning"}


def test_failures_in_a_row(database: Database) -> None:
    database.sql(TABLE)
    hourly(database)
    database.sql("ALTER TABLE t RENAME TO elsewhere")
    for expected in ({}, {}, {"maintenance-failures": "critical"}):
        assert hourly(database)["status"] == "failed"
        result = look(database)
        assert bad(result) == expected
    assert result["failed"]
    assert re.fullmatch(r"1 critical, 1 unknown, \d+ well \(fail_on: critical\)", result["actions"][0]["reason"])
    assert look(database, fail_on="never")["status"] == "ok"
    # The failures of health itself are none of the maintenance's: it is well as soon as the cause is gone.
    database.sql("ALTER TABLE elsewhere RENAME TO t")
    both = perform("run", database.dsn, plan="hourly", steps=[PURGE, HEALTH], every="1h")
    assert both["status"] == "failed", "the run before was the third that failed"
    assert bad(look(database)) == {}


def test_which_runs_count(database: Database) -> None:
    """Those that have ended and had something to do; abandoned ones have failed."""
    database.sql(TABLE)
    hourly(database)
    perform("run", database.dsn, plan="looks", steps=[HEALTH], every="1h")
    database.sql(
        "UPDATE maintenance.run SET retries = 9, started_at = started_at - interval '3 h' WHERE plan = 'looks'"
    )
    assert bad(look(database)) == {}, "what only reads is no maintenance"
    for _number in range(3):
        hourly(database)
    failing = (
        "UPDATE maintenance.run SET status = {} WHERE plan = 'hourly' AND id > (SELECT min(id) FROM maintenance.run)"
    )
    database.sql(failing.format("'abandoned'"))
    assert bad(look(database)) == {"maintenance-failures": "critical"}
    at_work = (
        "NULL, finished_at = NULL, backend_pid = a.pid, backend_start = a.backend_start FROM pg_stat_activity AS a"
    )
    database.sql(failing.format(at_work) + " AND a.pid = pg_backend_pid()")
    assert bad(look(database)) == {}, "they have not ended"
    database.sql("DELETE FROM maintenance.action WHERE run_id > (SELECT min(id) FROM maintenance.run)")
    database.sql(failing.format("'failed', finished_at = now()"))
    assert bad(look(database)) == {"maintenance-failures": "critical"}, "they came to nothing"


def test_rows_that_are_left_behind(database: Database) -> None:
    database.sql(TABLE)
    database.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1001, 3500) AS n")
    left = perform("purge", database.dsn, table="t", column="at", max_rows=1000)
    assert left["actions"][0]["numbers"]["left"] == 1001, "it is not counted any further"
    assert bad(look(database)) == {"expired-rows": "warning"}
    hourly(database)
    assert bad(look(database)) == {}, "what another plan did later counts"
    assert perform("purge", database.dsn, table="gone", column="at")["status"] == "failed"
    assert levels(look(database))["expired-rows"] == "unknown"
    perform("purge", database.dsn, table="t", column="at")
    assert levels(look(database))["expired-rows"] == "info", "nobody purges the other any more"


def test_an_index_that_is_not_valid(database: Database) -> None:
    database.sql(TABLE)
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_at_idx'::regclass")
    result = look(database)
    assert bad(result) == {"invalid-indexes": "warning"}
    assert result["findings"][0]["subject"] == "public.t_at_idx"
    with being_built(database):
        assert bad(look(database)) == {}, "whoever builds an index holds this lock on its table"


def test_a_partitioned_index_waits_for_its_parts(database: Database) -> None:
    database.sql(
        "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)"
    )
    database.sql("CREATE INDEX ON ONLY p (id)")
    assert database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1
    assert bad(look(database)) == {}


def test_numbers_of_a_server_of_its_own(private_server: PrivateServer) -> None:
    private_server.restart(max_connections="30", superuser_reserved_connections="4", reserved_connections="6")
    database = private_server.create_database()
    # Sessions of ours may still be about to end.
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    until(lambda: database.value(others) == 0)
    mine = database.value("SELECT pg_backend_pid()")
    database.close_connection()
    until(lambda: ended(mine))
    found = {one["check"]: one for one in look(database)["findings"]}
    # Processes of the server itself are more than that.
    assert found["connections"]["evidence"]["used"] == 1
    assert found["connections"]["evidence"]["available"] == 20
    ages = database.sql(
        "SELECT age(datfrozenxid), mxid_age(datminmxid) FROM pg_database WHERE datname = current_database()"
    )
    assert found["multixact-age"]["value"] == ages[0][1] < found["freeze-age"]["value"] <= ages[0][0]
    database.close()


@contextmanager
def being_built(database: Database) -> Iterator[None]:
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
        yield
        cursor.execute("ROLLBACK")


def test_thresholds_of_the_user(database: Database) -> None:
    result = look(database, thresholds={"connections": {"warning": 0, "critical": None}, "freeze-age": {"critical": 0}})
    assert bad(result) == {"connections": "warning", "freeze-age": "critical"}
    assert result["failed"]
    # Null is never, and not what is there by default; where the subject has thresholds of its own as well.
    database.sql(TABLE)
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_at_idx'::regclass")
    never = {name: {"warning": None, "critical": None} for name in ("invalid-indexes", "database-size")}
    assert bad(look(database, size_limit="1MB")) == {"invalid-indexes": "warning", "database-size": "critical"}
    assert bad(look(database, size_limit="1MB", thresholds=never)) == {}


def test_without_rights_nothing_is_taken_for_well_that_cannot_be_seen(database: Database) -> None:
    database.sql(TABLE)
    hourly(database)
    result = look(database, database.dsn_as(database.role("NOSUPERUSER")))
    unknown = [one for one in result["findings"] if one["level"] == "unknown"]
    hidden = {"idle-in-transaction", "long-transactions", "long-queries", "multixact-members"}
    assert {one["check"] for one in unknown} >= {*OF_HISTORY, *hidden, "sequence-health", "autovacuum-workers"}
    assert all("GRANT" in one["message"] + one["advice"] for one in unknown), unknown
    assert bad(result) == {}


def test_a_role_that_may_only_read_the_history_is_told_what_it_says(database: Database) -> None:
    """That is the right which docs/checks.md names. A monitoring agent need not be able to write."""
    database.sql(TABLE)
    role = database.role()
    none_yet = look(database, database.dsn_as(role))
    assert {one["message"] for one in none_yet["findings"] if one["check"] in OF_HISTORY} == {"there is no history yet"}
    hourly(database)
    hidden = look(database, database.dsn_as(role))
    grant = f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO {role}"
    assert {one["message"] for one in hidden["findings"] if one["check"] in OF_HISTORY} == {
        f"role {role} may not use the history: {grant}"
    }
    database.sql(
        f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO {role}"
    )
    result = look(database, database.dsn_as(role))
    found = levels(result)
    assert {found[check] for check in OF_HISTORY} == {"info"}
    assert (result["status"], result["run_id"]) == ("ok", None)
    assert any(f"this run is not recorded, since role {role} may only read" in one for one in result["warnings"])
    database.sql("UPDATE maintenance.run SET started_at = started_at - interval '3 h'")
    assert bad(look(database, database.dsn_as(role))) == {
        "maintenance-overdue": "warning",
        "maintenance-slow": "warning",
    }


@pytest.mark.parametrize("name", ["a; DROP TABLE t", 'q"uote', "<b>", "%s", "\u202edrow"])
def test_hostile_names(database: Database, name: str) -> None:
    quoted = name.replace('"', '""').replace("%", "%%")
    database.sql(TABLE)
    database.sql(f'ALTER INDEX t_at_idx RENAME TO "{quoted}"'.replace("%%", "%"))
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indrelid = 't'::regclass AND NOT indisprimary")
    assert bad(look(database)) == {"invalid-indexes": "warning"}


def test_it_reads_only(database: Database) -> None:
    """In check mode the server itself refuses to write, and whatever a check cannot do fails the step."""
    database.sql(TABLE)
    hourly(database)
    result = look(database, check=True)
    assert (result["status"], set(levels(result).values())) == ("ok", {"info"})


def test_one_query_that_fails_does_not_take_the_others_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider may forbid what every server allows, and one query may be slow: the others are asked each by itself."""
    slow = "SELECT {} IS NULL AS schema"
    shown = slow.format("('limited to ' || current_setting('statement_timeout'))::int")

    def broken(invalid: str) -> dict[str, str]:
        """What is said where one query fails, and this is another one."""
        queries = {"connections": "SELECT 1 / 0 AS used, 1 AS available", "invalid-indexes": invalid}
        known = {name: replace(registry.BY_ID[name], query=query) for name, query in queries.items()}
        monkeypatch.setattr(registry, "BY_ID", {**registry.BY_ID, **known})
        result = look(database)
        assert levels(result)["invalid-indexes"] == "unknown"
        return {one["check"]: one["message"] for one in result["findings"] if one["level"] == "unknown"}

    monkeypatch.setattr(registry, "ALONE", 59.0)  # which none of them reaches
    said = broken(shown)
    assert said["connections"] == "division by zero"
    assert '"limited to 59s"' in said["invalid-indexes"]
    asked = {one.id for one in registry.CHECKS if {one.id, one.of} & {"connections", "invalid-indexes"}}
    assert said.keys() == asked | OF_HISTORY
    # Each of the others may pass such a limit as well, where a machine stands still.
    monkeypatch.setattr(registry, "ALONE", 0.2)
    monkeypatch.setattr(registry, "TOGETHER", 0.2)
    assert "statement timeout" in broken(slow.format("pg_sleep(60)"))["invalid-indexes"]


def test_what_is_asked_alone_and_what_is_ignored(database: Database) -> None:
    database.sql(TABLE)
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_at_idx'::regclass")
    assert set(levels(look(database, checks=["indexes", "freeze-age"]))) >= {"invalid-indexes", "freeze-age"}
    assert set(levels(look(database, checks=["freeze-age"]))) == {"freeze-age"}
    known = {"check": "invalid-indexes", "object": "public.t_*", "reason": "rebuilt on Sunday", "until": "2999-12-31"}
    result = look(database, checks=["invalid-indexes"], ignore=[known], fail_on="warning")
    assert (result["status"], result["actions"][0]["reason"]) == ("ok", "1 well, 1 ignored")
    assert "rebuilt on Sunday" in result["findings"][0]["message"]
    over = {**known, "until": "2001-01-01"}
    assert bad(look(database, checks=["invalid-indexes"], ignore=[over])) == {"invalid-indexes": "warning"}


def test_expired_rows_that_wait_are_counted(database: Database) -> None:
    """Whatever the last run has left: those that a plan's steps would delete now. Where that cannot be told, it is not well."""
    database.sql("CREATE SCHEMA other; CREATE TABLE other.d (day date NOT NULL); CREATE INDEX ON other.d (day)")
    database.sql("CREATE TABLE z (at timestamp NOT NULL); CREATE INDEX ON z (at)")
    database.sql(
        "CREATE TABLE slow (at timestamptz NOT NULL); ANALYZE slow; UPDATE pg_class SET relpages = 2000 WHERE relname = 'slow'"
    )
    database.sql(TABLE)
    steps = [
        {"table": "t", "column": "at", "older_than": "30d"},
        {"table": "other.d", "column": "day", "timezone": "Asia/Ho_Chi_Minh"},
        {"table": "z", "column": "at", "timezone": "UTC"},
        {"table": "z", "column": "at", "timezone": "UTC", "where": "true"},
        {"table": "gone", "column": "at"},
    ]
    plans = {"hourly": {"every": "1h", "purge": steps}}
    hourly(database)
    assert bad(look(database, plans=plans)) == {}
    database.sql("INSERT INTO t SELECT n, now() - interval '29 d' FROM generate_series(1001, 3000) AS n")
    database.sql("INSERT INTO other.d SELECT now() - interval '3 d' FROM generate_series(1, 1001) AS n")
    database.sql("INSERT INTO z SELECT now() AT TIME ZONE 'UTC' - interval '1 s' FROM generate_series(1, 1500) AS n")
    result = look(database, plans=plans)
    assert bad(result) == {"expired-rows": "warning"}
    assert [(one["subject"], one["value"]) for one in of(result, "expired-rows")] == [
        ("public.z", 1500),
        ("other.d", 1001),
        ("public.z", None),
    ]
    assert (
        of(result, "expired-rows")[2]["message"]
        == "its where is not looked at here, for it may take long, or do anything"
    )
    assert result["turns"] <= 6
    slow = {"hourly": {"every": "1h", "purge": [{"table": "slow", "column": "at"}, *steps]}}
    told = {one["subject"]: one for one in of(look(database, plans=slow), "expired-rows")}
    assert told["public.slow"]["level"] == "unknown"
    assert "no index serves at" in told["public.slow"]["message"]
    nobody = look(database, database.dsn_as(database.role()), plans=plans, history=False)
    assert {one["subject"] for one in of(nobody, "expired-rows") if "GRANT SELECT ON" in one["message"]}
    role = database.role()
    database.sql(f"GRANT SELECT ON t TO {role}; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    only_t = {"hourly": {"every": "1h", "purge": steps[:1]}}
    (hidden,) = of(look(database, database.dsn_as(role), plans=only_t, history=False), "expired-rows")
    assert hidden["message"] == f"row-level security hides some of them: ALTER ROLE {role} BYPASSRLS"


def test_a_history_that_somebody_has_locked(database: Database) -> None:
    """Whoever moves it to another place, or brings it up to date, keeps nobody from seeing how the database is."""
    database.sql(TABLE)
    hourly(database)
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE maintenance.run, maintenance.finding")
        pid = other.info.backend_pid
        result = look(database)
        cursor.execute("ROLLBACK")
    assert (result["status"], bad(result)) == ("ok", {})
    unknown = {one["check"]: one["message"] for one in result["findings"] if one["level"] == "unknown"}
    assert set(unknown) == OF_HISTORY
    holder = (
        f"session {pid} (postgres, idle in transaction) holds AccessExclusiveLock on maintenance.finding; "
        f"SELECT pg_terminate_backend({pid}) ends it"
    )
    assert set(unknown.values()) == {
        f"the history in schema maintenance cannot be used: canceling statement due to lock timeout: {holder}"
    }


def test_expired_rows_of_domains(database: Database) -> None:
    """A step purge takes such a column, and so is it counted."""
    database.sql("CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN expiry AS moment")
    database.sql('CREATE TABLE "O.dd" ("A t" expiry NOT NULL); CREATE INDEX ON "O.dd" ("A t")')
    database.sql("""INSERT INTO "O.dd" SELECT '-infinity' FROM generate_series(1, 1500)""")
    plans = {"hourly": {"purge": [{"table": '"O.dd"', "column": "A t"}]}}
    (found,) = of(look(database, plans=plans), "expired-rows")
    assert (found["level"], found["subject"], found["value"]) == ("warning", 'public."O.dd"', 1500)
    # What lies on another server is not counted there: nobody knows how long that takes.
    database.sql("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w")
    database.sql("CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at); CREATE INDEX ON p (at)")
    database.sql("CREATE FOREIGN TABLE p1 PARTITION OF p DEFAULT SERVER far")
    plans["hourly"]["purge"].append({"table": "p", "column": "at"})
    found, far = of(look(database, plans=plans), "expired-rows")
    assert found["value"] == 1500
    assert (far["level"], far["subject"], far["message"]) == (
        "unknown",
        "public.p",
        "a part of it lies on another server",
    )


def test_what_is_put_off_again_and_again(database: Database) -> None:
    """Since when: since it was last done. A view that is out of date for longer than two periods of its plan is one."""
    database.sql(TABLE)
    database.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t; CREATE UNIQUE INDEX ON v (n)")
    steps = [{"refresh": {"view": "v"}}, {"analyze": {"tables": ["t"]}}]
    database.close_connection()  # a refresh waits for a session that has just written
    perform("run", database.dsn, plan="hourly", steps=steps, every="1h")
    perform("run", database.dsn, plan="hourly", steps=steps, every="1h")
    database.sql("UPDATE maintenance.action SET outcome = 'contended', reason = 'somebody locks it' WHERE run_id = 2")
    assert bad(look(database)) == {}
    back = "UPDATE maintenance.action SET finished_at = finished_at - interval '{0}', started_at = started_at - interval '{0}' "
    database.sql(back.format("3 h") + "WHERE run_id = 1")
    result = look(database)
    assert bad(result) == {"materialized-views-stale": "warning"}
    assert "refresh has not been done for 3 h" in of(result, "materialized-views-stale")[0]["message"]
    assert bad(look(database, plans={"hourly": {"every": "2h"}})) == {}
    database.sql(back.format("20 d") + "WHERE run_id = 1")
    result = look(database)
    assert bad(result) == {"materialized-views-stale": "warning", "maintenance-undone": "warning"}
    assert of(result, "maintenance-undone")[0]["subject"] == "public.t"
    database.close_connection()
    perform("run", database.dsn, plan="hourly", steps=steps, every="1h")
    assert bad(look(database)) == {}
