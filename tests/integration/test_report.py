# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module report reads of a database: numbers against the tables of the history, and what it says of what is missing."""

from __future__ import annotations

import html
import json
import re
import statistics
from datetime import date
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import VERSION
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.observer import nobody
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages import report as report_of
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.past import a_week
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.queries import GENERATED, MOST_RUNS
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.report import Question
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import ConnectionOptions
from ansible_collections.vtchat.maintenance.plugins.module_utils._units import size as size_text
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance, page
from tests.integration.test_history_upgrade import restore
from tests.runs import perform
from tests.servers import Database

STEPS = [{"purge": {"table": "t", "column": "at"}}, {"analyze": {"tables": ["t"]}}]
PLANS = {"hourly": {"every": "1h", "budget": 600}, "weekly": {"at": "Sun 02:00 UTC"}}
FEW = [{"health_info": {"checks": ["freeze-age", "maintenance-overdue"]}}, {"index_info": {}}]
# What a run leaves that took so many seconds, so many hours ago.
RUN = """
INSERT INTO maintenance.run (plan, status, message, started_at, finished_at, backend_start, steps, totals, host, budget)
SELECT %(plan)s, %(status)s, 'told', now() - %(hours)s * interval '1 hour',
       now() - %(hours)s * interval '1 hour' + %(seconds)s * interval '1 second', now(), '[]', '{}', %(host)s, 300 RETURNING id
"""
# Of the day before the first run: whatever time it is, all of it is one day, and not that of this run.
HOURS_SINCE_NOON = """
SELECT extract(epoch FROM now() - (date_trunc('day', min(started_at) AT TIME ZONE 'UTC') - interval '12 hours')
                              AT TIME ZONE 'UTC') / 3600 FROM maintenance.run
"""
ACTION = """
INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, measured, row_count,
                                started_at, finished_at)
SELECT id, 1, %(operation)s, %(target)s, %(outcome)s, %(reason)s, '{}', '{}', %(measured)s, %(rows)s, started_at,
       started_at + interval '1 second' FROM maintenance.run WHERE id = %(run)s
"""


@pytest.fixture
def table(database: Database) -> Database:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    database.sql("INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1, 70) AS n")
    database.close_connection()
    return database


@pytest.fixture
def used(table: Database) -> Database:
    """With a history of one run."""
    assert perform("run", table.dsn, plan="hourly", every="1h", budget=300, steps=STEPS)["status"] == "ok"
    return table


def ran(
    database: Database, hours: float, plan: str = "hourly", status: str = "ok", seconds: float = 2, host: str = "m"
) -> int:
    how = {"plan": plan, "status": status, "hours": hours, "seconds": seconds, "host": host}
    return int(database.value(RUN, how))


def did(database: Database, run: int, operation: str, outcome: str, **more: Any) -> None:
    how = {"target": "t", "reason": "why", "rows": None, "measured": None, **more}
    how["measured"] = None if how["measured"] is None else json.dumps(how["measured"])
    database.sql(ACTION, {"run": run, "operation": operation, "outcome": outcome, **how})


def read(database: Database, dsn: str = "", **options: Any) -> dict[str, Any]:
    """The report; its page is made as well, since no report may keep it from that."""
    database.close_connection()
    result = perform("report", dsn or database.dsn, **{"plans": PLANS, "steps": FEW, "title": "db", **options})
    report: dict[str, Any] = result["report"]
    assert page(report).startswith("<!doctype html>")
    glance(report, "db.html")
    json.dumps(report)
    return report


def plan(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in report["plans"] if one["name"] == name]
    return dict(found)


def test_numbers_are_those_of_the_history(used: Database) -> None:
    durations = [2.0, 4.0, 6.0, 100.0]
    noon = float(used.value(HOURS_SINCE_NOON))
    for number, seconds in enumerate(durations):
        run = ran(used, noon + number / 60, seconds=seconds, status="partial" if seconds == 4 else "ok")
        did(used, run, "purge", "done", rows=10)
        did(used, run, "refresh", "unchanged")
        did(used, run, "reindex", "done", measured={"won_bytes": 1000})
        did(used, run, "analyze", "contended", target="u", reason=f"held {number}")
    failed = ran(used, noon + 5 / 60, status="failed", seconds=1)
    did(used, failed, "purge", "failed")
    report = read(used)
    hourly = plan(report, "hourly")
    assert hourly["runs"] == 6 == sum(hourly["statuses"].values())
    assert hourly["statuses"] == {"ok": 4, "partial": 1, "failed": 1}
    assert hourly["success"] == pytest.approx(5 / 6)
    assert (hourly["budget"], hourly["schedule"], hourly["last_status"]) == (600, "every: 1h", "failed")
    assert hourly["overdue"] is None
    yesterday = hourly["days"][0]
    assert yesterday["median"] == pytest.approx(statistics.median([1.0, *durations]))
    assert yesterday["longest"] == pytest.approx(100)
    assert 6 < yesterday["p95"] < 100
    assert sum(day["runs"] for day in hourly["days"]) == 6
    work = report["work"][0]
    assert (work["purged"], work["kept"], work["reindexed"], work["reclaimed_bytes"]) == (40, 4, 4, 4000)
    operations = {one["operation"]: one for one in report["operations"]}
    assert operations["purge"]["outcomes"] == {"done": 5, "failed": 1}
    assert (operations["purge"]["rows"], operations["reindex"]["reclaimed_bytes"]) == (110, 4000)
    undone = report["undone"]
    assert (undone["more"], len(undone["entries"])) == (0, 2)
    contended = next(one for one in undone["entries"] if one["outcome"] == "contended")
    assert (contended["times"], contended["reason"], contended["target"]) == (4, "held 3", "u"), "the latest reason"
    assert plan(report, "weekly")["runs"] == 0
    size = used.value("SELECT bytes FROM maintenance.sample WHERE relation = ''")
    assert [one["bytes"] for one in report["growth"]["database"]] == [size]
    assert {"public.t"} <= {one["relation"] for one in report["growth"]["tables"]}
    assert report["health"]["status"] == "info"
    assert [one["host"] for one in report["who"]][1] == "m"
    # What was counted in the database stands on the page.
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page(report))).split())
    assert "4 ok, 1 partial, 1 failed" in shown
    assert "5 done, 1 failed" in shown
    assert "110 rows purged" in shown
    assert size_text(size) in shown


def test_overdue_and_runs_of_long_ago(used: Database) -> None:
    used.sql(
        "UPDATE maintenance.run SET started_at = now() - interval '3 hours', finished_at = now() - interval '2 hours'"
    )
    ran(used, 24 * 8, plan="weekly")
    did(used, ran(used, 24 * 100, plan="forgotten"), "purge", "done", rows=7)
    report = read(used)
    assert plan(report, "hourly")["overdue"] == pytest.approx(2 * 3600, abs=60)
    assert plan(report, "weekly")["overdue"] > 0
    assert [one["name"] for one in report["plans"]] == ["hourly", "weekly"], "what is older than the page is not on it"
    assert sum(day["purged"] for day in report["work"]) == 70
    first, last = (date.fromisoformat(report[name]) for name in ("first_day", "last_day"))
    assert (last - first).days == 89
    longer = read(used, days=120)
    assert [one["name"] for one in longer["plans"]] == ["hourly", "weekly", "forgotten"]
    assert sum(day["purged"] for day in longer["work"]) == 77
    assert plan(read(used, plans={}), "hourly")["schedule"] == "every: 1h", "as the history has it"


@pytest.mark.parametrize(("zone", "offset"), [("UTC", 0), ("Asia/Kolkata", 330), ("Pacific/Kiritimati", 840)])
def test_the_time_zone_is_that_of_the_page(used: Database, zone: str, offset: int) -> None:
    used.sql("UPDATE maintenance.run SET started_at = '2026-01-31 23:30+00', finished_at = '2026-01-31 23:40+00'")
    days = used.value("SELECT (now()::date - '2026-01-30'::date) + 2")
    if days > 366:
        pytest.skip("no page goes back so far")
    report = read(used, timezone=zone, days=days)
    expected = used.value("SELECT to_char(timestamp '2026-01-31 23:30' + %(offset)s * interval '1 minute', 'YYYY-MM-DD HH24:MI')",
                          {"offset": offset})  # fmt: skip
    assert plan(report, "hourly")["last"] == expected
    assert plan(report, "hourly")["days"][0]["day"] == expected[:10]
    assert report["timezone"] == zone


def test_thousands_of_runs_are_a_short_answer(used: Database) -> None:
    used.sql(
        "INSERT INTO maintenance.run (plan, status, started_at, finished_at, backend_start, steps) "
        "SELECT 'hourly', 'ok', at, at + interval '3 s', now(), '[]' "
        "FROM generate_series(1, 5000) AS n, LATERAL (SELECT now() - n * interval '20 minutes' AS at) AS x"
    )
    used.sql(
        "INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, finished_at) "
        "SELECT id, 1, 'purge', 't' || n, 'skipped', '', '{}', '{}', clock_timestamp() FROM maintenance.run, "
        "generate_series(1, 130) AS n WHERE id < 100"
    )
    report = read(used)
    assert plan(report, "hourly")["runs"] == 5001
    days = used.value("SELECT count(DISTINCT (started_at AT TIME ZONE 'UTC')::date) FROM maintenance.run")
    assert (len(report["runs"]), len(plan(report, "hourly")["days"])) == (MOST_RUNS, days)
    assert (len(report["undone"]["entries"]), report["undone"]["more"]) == (100, 30)
    assert all(len(run["actions"]) <= 30 for run in report["runs"])
    assert len(page(report)) < 300_000


def test_targets_that_are_noted_together_are_counted_one_by_one(database: Database) -> None:
    for number in range(15):
        database.sql(f"CREATE TABLE t{number} (id int); CREATE MATERIALIZED VIEW v{number} AS SELECT * FROM t{number}")
    database.close_connection()
    steps = [{"refresh": {"view": f"v{number}"}} for number in range(3)] + [{"analyze": {"include": ["public.*"]}}]
    for _run in range(2):
        counters = perform("run", database.dsn, plan="hourly", steps=steps)["counters"]
    counted: dict[str, dict[str, int]] = {}
    for one in counters:
        counted.setdefault(one["operation"], {})[one["outcome"]] = one["actions"]
    assert database.value("SELECT count(*) FROM maintenance.action WHERE target ~ 'more'") >= 1
    assert {one["operation"]: one["outcomes"] for one in read(database)["operations"]} == counted


def test_without_a_history(table: Database) -> None:
    report = read(table)
    assert report["notes"] == ["No history: there is no history yet."]
    assert [one["name"] for one in report["plans"]] == []
    assert report["health"]["findings"]


def test_without_rights(used: Database) -> None:
    role = used.role("reader")
    report = read(used, used.dsn_as(role))
    assert len(report["notes"]) == 1
    assert "may not use the history: GRANT USAGE ON SCHEMA maintenance" in report["notes"][0]
    used.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}")
    used.sql(f"GRANT SELECT ON maintenance.run, maintenance.action, maintenance.state TO {role}")
    report = read(used, used.dsn_as(role))
    assert plan(report, "hourly")["runs"] == 1
    assert [note for note in report["notes"] if "sample" in note], "the rest of the page is there"


@pytest.mark.parametrize("version", range(1, VERSION))
def test_older_histories(database: Database, version: int) -> None:
    report = read(restore(database, version))
    assert [note for note in report["notes"] if "keeps no sizes yet" in note]
    assert plan(report, "hourly")["statuses"] == {"ok": 1, "running": 1}
    assert {run["host"] for run in report["runs"]} == {None}
    assert len(report["runs"][1]["actions"]) == 3


def test_a_newer_history_is_not_read(used: Database) -> None:
    used.sql(f"COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version {VERSION + 1}'")
    report = read(used)
    assert f"is of version {VERSION + 1}, written by a newer release" in report["notes"][0]


def test_a_run_that_died_and_a_clock_that_jumped(used: Database) -> None:
    ran(used, -48, seconds=5)
    ran(used, 10, seconds=-3600)
    used.sql("INSERT INTO maintenance.sample (run_id, relation, bytes, sampled_at) SELECT 1, r, 7, now() + interval '3 days' "
             "FROM unnest(ARRAY['', 'x']) AS r")  # fmt: skip
    used.sql(
        "INSERT INTO maintenance.run (plan, started_at, backend_start, steps) "
        "VALUES ('hourly', now() - interval '30 hours', now() - interval '31 hours', '[]')"
    )
    ran(used, 31, status="abandoned", seconds=90000)
    report = read(used)
    hourly = plan(report, "hourly")
    assert hourly["statuses"] == {"ok": 2, "abandoned": 1, "running": 1}
    assert hourly["longest"] < 10, "neither the abandoned one nor one that ended before it began"
    assert min(day["median"] or 0 for day in hourly["days"]) >= 0
    assert 7 not in [one["bytes"] for one in report["growth"]["database"]]
    assert "x" not in [one["relation"] for one in report["growth"]["tables"]], "sizes of a day that is to come"
    assert any(note.startswith("1 run began after now, ") for note in report["notes"])
    assert any(note.startswith("1 run began and ended before that: ") for note in report["notes"])
    assert any(note.startswith("1 run began more than a day ago ") for note in report["notes"])


@pytest.mark.parametrize(
    ("history", "week"),
    [
        ([], None),
        ([(1, 5)], None),
        ([(1, 5), (1.9, 6)], None),
        ([(1, 5), (2, 6)], 7),
        ([(1, 0), (8, 70), (9, 77), (15, 100)], 30),
        ([(1, 0), (15, 100)], 50),
        ([(1, 100), (8, 30)], -70),
    ],
)
def test_growth_of_a_week(history: list[tuple[float, int]], week: int | None) -> None:
    assert a_week([[f"2026-11-{day:02.0f}", size, day * 86400] for day, size in history]) == week


def test_generated_examples_are_counted(used: Database) -> None:
    ran(used, 30, host=GENERATED)
    ran(used, 31, host="https://github.example/o/r/actions/runs/1")
    ran(used, 32, host="https://github.example/o/r/actions/runs/2")
    report = read(used)
    assert report["generated_runs"] == 1
    runs = {one["host"]: one["runs"] for one in report["who"]}
    assert (runs["https://github.example/o/r"], runs[GENERATED]) == (2, 1)


def test_hostile_names(database: Database) -> None:
    name = '"<script>alert(1)</script> "" \u202e\U0001f600"'
    database.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON {name} (at)")
    database.close_connection()
    steps = [{"purge": {"table": name, "column": "at"}}]
    assert perform("run", database.dsn, plan="<b>hourly</b>", steps=steps)["status"] == "ok"
    report = read(database)
    assert plan(report, "<b>hourly</b>")["runs"] == 1
    assert "<script" not in page(report)
    assert "<b>" not in page(report)


def test_index_review_and_scripts(used: Database) -> None:
    used.sql("CREATE INDEX one ON t (at, id); CREATE INDEX two ON t (at, id)")
    indexes = read(used)["indexes"]
    assert next(one["check"] for one in indexes["findings"] if one["level"] != "unknown") == "duplicate-index"
    assert "DROP INDEX CONCURRENTLY" in indexes["drop"]
    assert "CREATE INDEX CONCURRENTLY" in indexes["undo"]
    used.sql("DROP INDEX one; DROP INDEX two; DROP INDEX t_at_idx")
    assert (read(used)["indexes"]["drop"], read(used, steps=FEW[:1])["indexes"]["why"]) == ("", "it was not asked for")


def test_alerts_are_those_that_are_open(used: Database) -> None:
    known = {"name": "db", "check": "freeze-age", "level": "critical", "since": 1.7e9, "more": 0,
             "facts": [{"subject": "t", "level": "critical", "message": "old", "advice": ""}],
             "channels": {"mail": {"level": "critical", "told": 1.7e9, "ref": 0}}}  # fmt: skip
    insert = "INSERT INTO maintenance.state (operation, target, value) VALUES ('alerts', %(key)s, %(value)s)"
    used.sql(insert, {"key": "a", "value": json.dumps(known)})
    used.sql(insert, {"key": "b", "value": json.dumps({**known, "level": "info"})})
    used.sql(insert, {"key": "c", "value": json.dumps({"anything": True, "level": "critical", "since": 1})})
    (alert,) = read(used)["alerts"]
    assert alert == {
        "name": "freeze-age on db",
        "level": "critical",
        "since": "2023-11-14 22:13",
        "told": "mail",
        "text": "t: old",
    }


def test_a_database_that_cannot_be_reached(database: Database) -> None:
    dsn = database.dsn.replace(f"dbname='{database.name}'", "dbname='no_such_database' password='hunter2'")
    result = perform("report", dsn, connect_deadline=60.0)
    assert (result["failed"], result["status"]) == (True, "failed")
    assert "no_such_database" in result["report"]["unreachable"]
    assert "hunter2" not in json.dumps(result)
    assert "no_such_database" in page(result["report"])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"days": 0}, "days: it must be from 1 to 366"),
        ({"days": True}, "days: it must be a number, and is true"),
        ({"connect_deadline": False}, "connect_deadline: it must be a number, and is false"),
        ({"timezone": "Mars/Base"}, "timezone: there is no time zone 'Mars/Base'"),
        ({"name": "../x"}, "name: it must be the name of a file"),
        ({"name": "a/b"}, "name: it must be the name of a file"),
        ({"name": "x" * 201}, "of at most 200 bytes"),
        ({"steps": [{"health_info": {}}, {"health_info": {}}]}, "steps[2]: there is a step health_info before"),
        ({"plans": {"hourly": {"budget": 0}}}, "plans.hourly.budget: it must be a number of seconds above 0"),
        ({"plans": {"hourly": "often"}}, "plans.hourly: it must be a mapping"),
        (
            {"steps": [{"vacuum": {"tables": ["t"]}}]},
            "a report asks health_info and index_info only, and this is vacuum",
        ),
        ({"plans": {"hourly": {"every": "soon"}}}, "plans.hourly.every"),
        ({"plans": {"hourly": {"budget": "much"}}}, "plans.hourly.budget: it must be a number of seconds above 0"),
    ],
)
def test_bad_options(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionError) as error:
        _edge.validated("report", {"dsn": "postgresql://localhost/x", **options})
    assert fault in str(error.value)


def test_a_page_of_one_day_knows_what_ran_before(used: Database) -> None:
    used.sql("UPDATE maintenance.run SET plan = 'weekly', started_at = now() - interval '10 days', "
             "finished_at = now() - interval '10 days' + interval '1 s'")  # fmt: skip
    weekly = plan(read(used, days=1), "weekly")
    assert weekly["overdue"] > 86400
    assert (weekly["runs"], weekly["success"], weekly["last"] is not None, weekly["last_good"]) == (
        0,
        None,
        True,
        weekly["last"],
    )


def test_a_run_from_the_future_does_not_hide_that_a_plan_has_stopped(used: Database) -> None:
    used.sql(
        "UPDATE maintenance.run SET started_at = now() - interval '3 days', finished_at = now() - interval '3 days'"
    )
    did(used, ran(used, -24 * 200), "purge", "done", rows=1000)
    report = read(used)
    hourly = plan(report, "hourly")
    assert hourly["overdue"] == pytest.approx(71 * 3600, abs=60)
    assert (hourly["runs"], hourly["last"]) == (1, hourly["last_good"])
    assert (sum(day["purged"] for day in report["work"]), len(report["runs"])) == (70, 1)


def test_runs_that_did_not_come(used: Database) -> None:
    used.sql("DELETE FROM maintenance.run")
    for hours in (96, 95, 72, 48, 47, 0.1):
        ran(used, hours)
    before = plan(read(used), "hourly")
    assert (before["expected"], before["missed"]) == (0, 0), "by no run anybody knows when it is due"
    used.sql("""UPDATE maintenance.run SET schedule = '{"every": "1h"}'""")
    hourly = plan(read(used), "hourly")
    assert hourly["missed"] == 22 + 23 + 46
    assert hourly["expected"] == 6 + hourly["missed"]
    assert sum(day["expected"] for day in hourly["days"]) == hourly["expected"]
    later = plan(read(used, days=2), "hourly")
    assert 22 <= later["missed"] <= 46, "those of these days, from the run before them on"


@pytest.mark.parametrize(
    "garbage",
    [
        "UPDATE maintenance.run SET schedule = '\"often\"', totals = '[1]', steps = '7', budget = 'NaN'",
        "UPDATE maintenance.run SET finished_at = 'infinity'",
        "UPDATE maintenance.run SET started_at = '-infinity'",
        "UPDATE maintenance.action SET row_count = 9223372036854775807, measured = '[]', finished_at = 'infinity'",
        "INSERT INTO maintenance.action SELECT 777, run_id, step, operation, target, outcome, reason, statements, numbers, "
        "measured, 9223372036854775807, started_at FROM maintenance.action LIMIT 1",
        "INSERT INTO maintenance.state (operation, target, value) VALUES ('alerts', 'x', "
        '\'{"level": "critical", "since": 1e400}\'), (\'alerts\', \'y\', \'{"level": "critical", "since": "now"}\')',
        "UPDATE maintenance.sample SET bytes = 9223372036854775807, index_bytes = 0",
        "UPDATE maintenance.run SET status = 'what', plan = repeat('x', 10000), message = repeat('y', 20000)",
    ],
)
def test_whatever_somebody_has_written_there(used: Database, garbage: str) -> None:
    used.sql(garbage.replace("SELECT 777", "OVERRIDING SYSTEM VALUE SELECT 777"))
    report = read(used, plans={}, steps=[{"health_info": {}}, {"index_info": {}}])
    assert [note for note in report["notes"] if "cannot be read" in note or "unexpected" in note] == []
    assert len({one["check"] for one in report["health"]["findings"]}) > 10


def test_whatever_the_schedule_is_health_is_told(used: Database) -> None:
    used.sql("""UPDATE maintenance.run SET schedule = '"1h"', steps = '[{"purge": {}}, "x"]'""")
    used.close_connection()
    found = perform("health_info", used.dsn, fail_on="never")["findings"]
    assert len({one["check"] for one in found}) > 50


def test_a_history_that_is_locked_is_a_warning(used: Database) -> None:
    other = used.connect()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE maintenance.finding IN ACCESS EXCLUSIVE MODE")
        result = perform("report", used.dsn, steps=FEW[:1])
        cursor.execute("ROLLBACK")
    other.close()
    (warning,) = result["warnings"]
    assert warning.startswith("The history cannot be read: ")
    assert result["report"]["notes"][0] == warning


def test_a_zone_that_the_server_does_not_know(used: Database) -> None:
    question = Question(zone="Nowhere/Else")
    used.close_connection()
    with pytest.raises(MaintenanceError, match="timezone: the server has no time zone Nowhere/Else: take a name"):
        report_of.perform(ConnectionOptions.read(used.dsn, "require", 60.0), question, False, nobody)


def test_nothing_is_written(used: Database) -> None:
    before = used.value("SELECT md5(string_agg(r::text, ';')) FROM maintenance.run AS r")
    read(used)
    assert used.value("SELECT md5(string_agg(r::text, ';')) FROM maintenance.run AS r") == before
