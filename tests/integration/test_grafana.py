# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard for Grafana: each of its queries, expanded as Grafana does it, executed by a role that only reads the history."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.maintenance import lateness
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import Every, read_schedule
from tests.documents import DOCS
from tests.grafana import queries
from tests.grafana.macros import Text, Variables, Window
from tests.runs import perform
from tests.servers import Database, Server

DOCUMENT: dict[str, Any] = json.loads((DOCS / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DOCUMENT["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DOCUMENT["templating"]["list"]}
EVERYTHING: Variables = {name: Text(VARIABLES[name]["allValue"]) for name in ("plan", "relation")}
ASKED = [pytest.param(panel, id=f"{panel['id']}-{panel['title'].replace(' ', '-')}") for panel in PANELS]
NOW = datetime.now(timezone.utc)
HOUR = timedelta(hours=1)
MONTH = Window(NOW - 30 * 24 * HOUR, NOW + 2 * HOUR, 12 * HOUR)
# Plans and tables whose names would like to be something else: SQL, a macro, a variable, markup, digits of another plan.
NAMES = [
    "it's; DROP SCHEMA maintenance CASCADE; --",
    "$__timeFilter(x)",
    "${plan:raw} [[plan]] $plan",
    "<img src=x onerror=alert(1)>",
    "\u202e\U0001f418 %s %(a)s {} \\",
    "61",
    "all",
    "\u00e9" * 31,  # 62 bytes
]
PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")

Answer = tuple[list[str], list[tuple[Any, ...]]]


class Reader:
    """Who asks: the role that Grafana connects as, made as it is documented."""

    def __init__(self, database: Database) -> None:
        role = database.role("reader")
        (documented,) = re.findall("```sql\n(.*?)```", PAGE, re.DOTALL)
        database.sql(f"DROP ROLE {role}; {documented.replace('grafana', role)}")
        self.connection = database.connect(role, options="-c TimeZone=Asia/Tokyo")

    def ask(self, sql: str, variables: Variables = EVERYTHING, window: Window = MONTH) -> Answer:
        """The columns and the rows of a query of the dashboard."""
        with self.connection.cursor() as cursor:
            cursor.execute(window.expanded(sql, variables))
            return [column.name for column in cursor.description], cursor.fetchall()

    def value(self, sql: str, **chosen: Sequence[str]) -> Any:
        """The one value."""
        _columns, [(value,)] = self.ask(sql, {**EVERYTHING, **chosen})
        return value


def sql_of(panel: dict[str, Any]) -> str:
    (target,) = panel["targets"]
    return str(target["rawSql"])


def copied(database: Database, days: int) -> None:
    """The history as if it had been so on each of so many days: runs, actions, findings and samples."""
    database.sql(
        f"""
        CREATE TEMPORARY TABLE taken AS SELECT r.id, d AS day FROM maintenance.run AS r, generate_series(1, {days}) AS d;
        CREATE TEMPORARY TABLE made (old bigint, day int, new bigint);
        DO $$
        DECLARE one record; made bigint; run maintenance.run;
        BEGIN
            FOR one IN SELECT * FROM taken ORDER BY day DESC, id LOOP
                SELECT * INTO run FROM maintenance.run WHERE id = one.id;
                INSERT INTO maintenance.run (plan, status, message, started_at, finished_at, backend_start, steps, totals,
                                             schedule, budget, host)
                VALUES (run.plan, run.status, run.message, run.started_at - one.day * interval '1 day',
                        run.finished_at - one.day * interval '1 day', run.backend_start, run.steps, run.totals, run.schedule,
                        run.budget, 'generated example') RETURNING id INTO made;
                INSERT INTO made VALUES (one.id, one.day, made);
            END LOOP;
        END $$;
        INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, measured,
                                        row_count)
        SELECT m.new, step, operation, target, outcome, reason, statements, numbers, measured, row_count
        FROM maintenance.action AS a JOIN made AS m ON m.old = a.run_id;
        INSERT INTO maintenance.finding (run_id, step, name, subject, level, message, value, evidence, advice)
        SELECT m.new, step, name, subject, level, message, value, evidence, advice
        FROM maintenance.finding AS f JOIN made AS m ON m.old = f.run_id;
        INSERT INTO maintenance.sample (run_id, relation, bytes, index_bytes, live_rows, dead_rows, freeze_age, sampled_at)
        SELECT m.new, relation, bytes, index_bytes, live_rows, dead_rows, freeze_age, sampled_at - m.day * interval '1 day'
        FROM maintenance.sample AS s JOIN made AS m ON m.old = s.run_id;
        """
    )


@pytest.fixture(scope="module")
def history(server: Server) -> Iterator[tuple[Database, Reader]]:
    """A month of runs that are as the maintenance has written them, then copied; one is under way."""
    database = server.create_database()
    tables = ['"' + name.replace('"', '""') + '"' for name in NAMES]
    for number, table in enumerate(tables):
        rows = f"SELECT now() - n * interval '1 h' AS at FROM generate_series(1, {9 + number}) AS n"
        database.sql(f"CREATE TABLE {table} AS {rows}; ANALYZE {table}")
    for name, table in zip(NAMES, tables):
        purge = {"table": table, "column": "at", "older_than": "8h", "require_index": False}
        steps = [{"purge": purge}, {"vacuum": {"tables": [table]}}]
        perform("run", database.dsn, plan=name, steps=steps, every="1h", budget=60)
    perform(
        "run", database.dsn, plan="ill", steps=[{"purge": {"table": "none", "column": "at"}}], at="Mon,Thu 02:00 UTC"
    )
    limits = {"connections": {"warning": 0, "critical": 0}}
    perform("run", database.dsn, plan="health", steps=[{"health_info": {"thresholds": limits, "fail_on": "never"}}])
    copied(database, 20)
    database.sql("""UPDATE maintenance.action SET measured = '{"won_bytes": 4096}' WHERE operation = 'vacuum'""")
    database.sql("UPDATE maintenance.run SET status = 'abandoned' WHERE id = (SELECT min(id) FROM maintenance.run)")
    database.sql("INSERT INTO maintenance.run (plan, backend_start, steps) VALUES ('health', now(), '[]')")
    yield database, Reader(database)
    database.close()


def test_the_document_is_one_that_grafana_imports() -> None:
    """It is unchanged by the models of that release; nothing in it is of one place, and no panel lies on another."""
    read = model.Dashboard.from_json(DOCUMENT)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == DOCUMENT
    assert (DOCUMENT["schemaVersion"], DOCUMENT["uid"], DOCUMENT.get("id")) == (41, "vtchat-maintenance", None)
    assert VARIABLES["datasource"]["query"] == "grafana-postgresql-datasource"
    ids = [panel["id"] for panel in DOCUMENT["panels"]]
    assert len(set(ids)) == len(ids)
    source = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
    asking = [*PANELS, *[panel["targets"][0] for panel in PANELS], VARIABLES["plan"], VARIABLES["relation"]]
    assert all(one["datasource"] == source for one in asking)
    taken: set[tuple[int, int]] = set()
    for panel in DOCUMENT["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in PANELS)


@pytest.mark.parametrize("panel", ASKED)
def test_each_query_says_what_its_panel_shows(history: tuple[Database, Reader], panel: dict[str, Any]) -> None:
    """With all plans, with one of them, in a time without runs."""
    _database, reader = history
    columns, rows = reader.ask(sql_of(panel))
    assert len(set(columns)) == len(columns)
    assert rows
    (target,) = panel["targets"]
    if target["format"] == "time_series":
        series(columns, rows)
    else:
        named = [
            one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"] if one["matcher"]["id"] == "byName"
        ]
        assert set(named) <= set(columns)
        assert panel["type"] != "stat" or (len(rows) == 1 and isinstance(rows[0][0], (int, float, Decimal)))
    some: Variables = {"plan": [NAMES[1].encode().hex()], "relation": [f'public."{NAMES[0]}"'.encode().hex()]}
    assert reader.ask(sql_of(panel), some)[0] == columns
    assert reader.ask(sql_of(panel), some, Window(NOW - 999 * 24 * HOUR, NOW - 900 * 24 * HOUR, HOUR))[0] == columns


def series(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """A time, then names of lines and numbers; Grafana makes lines of it only if it is in order."""
    assert columns[0] == "time"
    times = [row[0] for row in rows]
    assert times == sorted(times)
    assert all(isinstance(time, (datetime, Decimal, float)) for time in times)
    texts = [number for number, _name in enumerate(columns) if isinstance(rows[0][number], str)]
    assert [columns[number] for number in texts] in ([], ["metric"], ["plan"])
    values = [value for row in rows for number, value in enumerate(row) if number and number not in texts]
    assert all(value is None or isinstance(value, (int, float, Decimal)) for value in values)
    assert any(values)
    keys = [(row[0], *(row[number] for number in texts)) for row in rows]
    assert len(set(keys)) == len(keys), "two points of one line at one time"


def test_the_role_can_only_read(history: tuple[Database, Reader]) -> None:
    _database, reader = history
    for refused in ("DELETE FROM maintenance.run", "CREATE TEMPORARY TABLE t ()"):
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            reader.ask(refused)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.ask('SELECT * FROM "all"')


def test_numbers_are_those_of_the_history(history: tuple[Database, Reader]) -> None:
    database, reader = history
    runs = database.value("SELECT count(*) FROM maintenance.run")
    good = database.value("SELECT count(*) FROM maintenance.run WHERE status IN ('ok', 'partial')")
    assert reader.value(queries.COUNT) == runs
    assert (good, float(reader.value(queries.FAILED))) == (runs - 23, 22), "and one is under way"
    assert float(reader.value(queries.SUCCESS)) == pytest.approx(100 * good / (runs - 1))
    assert reader.value(queries.FAILED) == 22
    of = "FROM maintenance.action WHERE operation"
    assert reader.value(queries.PURGED_SUM) == database.value(f"SELECT sum(row_count) {of} = 'purge'")
    assert reader.value(queries.WON_SUM) == 4096 * database.value(f"SELECT count(*) {of} = 'vacuum'")
    assert reader.value(queries.BAD_NOW) == 1
    _columns, statuses = reader.ask(queries.STATUSES)
    assert sum(row[2] for row in statuses) == runs
    assert {row[1] for row in statuses} == {"ok", "failed", "abandoned", "running"}
    _columns, purged = reader.ask(queries.PURGED)
    assert {row[1] for row in purged} == {f'public."{name}"' for name in NAMES}
    columns, latest = reader.ask(queries.LATEST)
    assert (len(latest), latest[0][columns.index("Status")]) == (50, "running")


def test_one_plan_or_table_by_what_the_variables_offer(history: tuple[Database, Reader]) -> None:
    """Whatever their names are: what stands in a query is digits."""
    _database, reader = history
    columns, plans = reader.ask(VARIABLES["plan"]["query"])
    assert columns == ["__text", "__value"]
    assert {text for text, _value in plans} == {*NAMES, "ill", "health"}
    total = 0
    for text, value in plans:
        total += reader.value(queries.COUNT, plan=[value])
        columns, rows = reader.ask(queries.LATEST, {**EVERYTHING, "plan": [value]})
        assert {row[columns.index("Plan")] for row in rows} == {text}
    assert total == reader.value(queries.COUNT)
    both = [value for text, value in plans if text in NAMES[:2]]
    assert reader.value(queries.COUNT, plan=both) == 42
    assert reader.value(queries.COUNT, plan=[""]) == 0, "as before anything is chosen"
    _columns, relations = reader.ask(VARIABLES["relation"]["query"])
    assert {text for text, _value in relations} >= {f'public."{name}"' for name in NAMES}
    for text, value in relations:
        _columns, rows = reader.ask(queries.TABLES, {**EVERYTHING, "relation": [value]})
        assert {row[1] for row in rows} == {text}


SCHEDULES = [
    {"every": "30m"},
    {"every": "1h"},
    {"every": "1w"},
    {"at": "02:00"},
    {"at": "2:00 Europe/Berlin"},
    {"at": "Sun 02:00 UTC"},
    {"at": "Mon, thu 23:30 America/New_York"},
    {"at": "Mon,Tue,Wed,Thu,Fri 02:00 Asia/Kolkata"},
]
TODAY = datetime(2026, 11, 26, 10, 20, tzinfo=timezone.utc)  # a Thursday


def overdue(database: Database, now: datetime = TODAY) -> dict[str, float | None]:
    """Seconds, by plan."""
    sql = Window(NOW, NOW, HOUR).expanded(queries.PLANS_NOW, EVERYTHING).replace("now()", f"'{now}'::timestamptz")
    return {row[0]: row[6] for row in database.sql(sql.replace("%", "%%"), [])}


def begun(database: Database, plan: str, at: datetime | str, status: str = "ok", schedule: object = None) -> None:
    """Note a run."""
    database.sql(
        "INSERT INTO maintenance.run (plan, status, started_at, finished_at, backend_start, steps, schedule) "
        "VALUES (%s, %s, %s, %s, now(), '[]', %s)",
        [plan, status, at, at, json.dumps(schedule)],
    )


def test_a_plan_is_overdue_as_the_check_says_it(kept: Database) -> None:
    """From the moment on for which it was planned, whenever it ran last: a run by hand on Thursday is none of Sunday."""
    kept.sql("DELETE FROM maintenance.run")
    expected: dict[str, float] = {}
    for schedule in SCHEDULES:
        for hours in (0.1, 1.4, 2.5, 7, 23, 30, 31, 79, 4 * 24, 7 * 24 + 3, 7 * 24 + 9, 200, 999):
            plan, good = f"{schedule} {hours}", TODAY - hours * HOUR
            begun(kept, plan, good, schedule=schedule)
            read = read_schedule(schedule, [])
            assert read is not None
            late, _patience = lateness(read, good, TODAY)
            period = read.interval.total_seconds() if isinstance(read, Every) else 86400
            expected[plan] = late if late > min(period, 6 * 3600) else 0
    assert overdue(kept) == pytest.approx(expected)
    assert {0} < set(expected.values())


def test_a_plan_that_has_never_done_its_work_or_whose_schedule_nobody_understands(kept: Database) -> None:
    """Nor do runs of a clock that jumped say that a plan still runs."""
    kept.sql("DELETE FROM maintenance.run")
    for hours in (50, 26):
        begun(kept, "never", TODAY - hours * HOUR, "abandoned", {"every": "1d"})
    begun(kept, "young", TODAY - HOUR / 2, "abandoned", {"every": "1d"})
    begun(kept, "jumped", TODAY - 50 * HOUR, schedule={"every": "1h"})
    begun(kept, "jumped", TODAY + 999 * HOUR, schedule={"every": "1h"})
    begun(kept, "tomorrow", TODAY + 24 * HOUR, schedule={"every": "1h"})
    begun(kept, "infinite", "infinity", schedule={"every": "1h"})
    odd = [
        {"at": "of a newer release"},
        {"every": "fortnight"},
        {"at": "Sun 02:00 Nowhere/City"},
        {"at": "25:99"},
        None,
        "1h",
        [1],
    ]
    for number, schedule in enumerate(odd):
        begun(kept, f"odd {number}", TODAY - 999 * HOUR, schedule=schedule)
    found = overdue(kept)
    assert {plan: late and late / 3600 for plan, late in found.items()} == {
        "never": 50,
        "young": 0,
        "jumped": 49,
        **dict.fromkeys(("tomorrow", "infinite", *(f"odd {number}" for number in range(len(odd))))),
    }


def test_odd_values_stop_no_panel(kept: Database) -> None:
    """Of whoever may write to the history: JSON of other forms, moments without end, the largest numbers."""
    kept.sql("DELETE FROM maintenance.run")
    begun(kept, "p", NOW - HOUR, schedule="x")
    begun(kept, "p", "infinity")
    begun(kept, "p", "-infinity")
    largest = 2**63 - 1
    for totals in ("[1]", '"x"', "null", "7", '{"done": {"a": 1}}'):
        kept.sql(
            "INSERT INTO maintenance.run (plan, status, started_at, finished_at, backend_start, steps, totals, budget) "
            "VALUES ('q', 'ok', now() - interval '1 h', 'infinity', now(), '3', %s, 'infinity')",
            [totals],
        )
    kept.sql(
        "INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers, measured, "
        "row_count, started_at) SELECT id, 1, 'purge', 't', 'failed', '', '{}', '[]', %s, %s, 'infinity' FROM maintenance.run",
        ['["won_bytes"]', largest],
    )
    kept.sql(
        "INSERT INTO maintenance.finding (run_id, step, name, subject, level, message, evidence, advice, found_at) "
        "SELECT id, 1, 'c', 's', 'odd', '', '[]', '', '-infinity' FROM maintenance.run"
    )
    kept.sql(
        "INSERT INTO maintenance.sample (run_id, relation, bytes, index_bytes, live_rows, dead_rows, freeze_age, sampled_at) "
        "SELECT max(id), name, %s, %s, %s, %s, %s, moment FROM maintenance.run, "
        "(VALUES ('', now()), ('t', now()), ('u', 'infinity')) "
        "AS s (name, moment) GROUP BY name, moment",
        [largest] * 5,
    )
    with kept.connect().cursor() as cursor:
        for sql in [*map(sql_of, PANELS), VARIABLES["plan"]["query"], VARIABLES["relation"]["query"]]:
            cursor.execute(MONTH.expanded(sql, EVERYTHING))
            cursor.fetchall()


def test_what_is_counted_once(kept: Database) -> None:
    """What two plans have found, targets that are one row, durations of what died, tables that are no more, and what was
    found before a run that came to nothing."""
    kept.sql("DELETE FROM maintenance.run")
    for plan, hours in (("health", 5), ("hourly", 4)):
        begun(kept, plan, NOW - hours * HOUR)
    kept.sql(
        "INSERT INTO maintenance.finding (run_id, step, name, subject, level, message, evidence, advice) "
        "SELECT id, 1, 'connections', 'app', 'warning', plan, '{}', '' FROM maintenance.run ORDER BY id"
    )
    kept.sql(
        "INSERT INTO maintenance.action (run_id, step, operation, target, outcome, reason, statements, numbers) "
        "SELECT id, 1, 'analyze', t, 'unchanged', '', '{}', '{}' FROM maintenance.run, unnest(ARRAY['a', '90 more']) AS t"
    )
    for relation in ("gone", "there"):
        kept.sql(
            "INSERT INTO maintenance.sample (run_id, relation, bytes) "
            "SELECT id, %s, 5 FROM maintenance.run WHERE plan = 'health'",
            [relation],
        )
    kept.sql(
        "INSERT INTO maintenance.sample (run_id, relation, bytes) "
        "SELECT id, 'there', 6 FROM maintenance.run WHERE plan = 'hourly'"
    )
    begun(kept, "hourly", NOW - 3 * HOUR, "abandoned")
    kept.sql("UPDATE maintenance.run SET finished_at = started_at + interval '9 days' WHERE status = 'abandoned'")
    begun(kept, "health", NOW - 2 * HOUR, "failed")
    with kept.connect().cursor() as cursor:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(MONTH.expanded(sql, EVERYTHING))
            return list(cursor.fetchall())

        assert [row[3] for row in rows(queries.FINDINGS_NOW)] == ["hourly"]
        assert rows(queries.BAD_NOW) == [(1,)]
        told: Counter[str] = Counter()
        for _time, outcome, number in rows(queries.OUTCOMES):  # the two runs may be in one half of a day, or in two
            told[outcome] += number
        assert +told == {"unchanged": 182}
        assert max(row[2] for row in rows(queries.DURATIONS)) == 0
        assert [row[0] for row in rows(queries.LARGEST)] == ["there"]
        assert {row[1] for row in rows(queries.TABLES)} == {"there"}
        assert [row[0] for row in rows(VARIABLES["relation"]["query"])] == ["there"]


def test_a_history_without_rows_is_no_error(server: Server) -> None:
    """As right after provisioning; also while the variables have nothing to offer yet."""
    database = server.create_database()
    database.sql("CREATE TABLE t (id int)")
    perform("analyze", database.dsn, tables=["t"])
    database.sql("TRUNCATE maintenance.run, maintenance.state, maintenance.counter CASCADE")
    reader = Reader(database)
    nothing: Variables = {"plan": [""], "relation": [""]}
    for sql in [*map(sql_of, PANELS), VARIABLES["plan"]["query"], VARIABLES["relation"]["query"]]:
        for variables in (EVERYTHING, nothing):
            columns, rows = reader.ask(sql, variables)
            assert len(rows) == (1 if sql.strip() in [one.strip() for one in ALONE] else 0), columns
    reader.connection.close()
    database.close()


# These have one row, whatever there is.
ALONE = [
    queries.ABOUT,
    queries.SUCCESS,
    queries.COUNT,
    queries.FAILED,
    queries.PURGED_SUM,
    queries.WON_SUM,
    queries.BAD_NOW,
]
