# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans that run when they are due, by the history and the clock of the server; the record of rules, tries and earlier runs."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.runs import perform, until
from tests.servers import Database
from tests.wire import counted

STEPS = [{"analyze": {"tables": ["t"]}}]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@pytest.fixture
def table(database: Database) -> Database:
    database.sql("CREATE TABLE t (id int)")
    return database


def ask(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    """Run the plan if it is due."""
    given = {"plan": "hourly", "steps": STEPS, "every": "1h", "due": "auto", **options}
    return perform(
        "run", database.dsn_as(user), check, **{name: value for name, value in given.items() if value is not None}
    )


def weekly(database: Database, minutes_ago: float, **options: Any) -> dict[str, Any]:
    """The same with a moment of the week that came so many minutes ago by the clock of the server."""
    moment = database.value("SELECT now()").astimezone(timezone.utc) - timedelta(minutes=minutes_ago)
    return ask(database, every=None, at=f"{DAYS[moment.weekday()]} {moment:%H:%M} UTC", **options)


def age(database: Database, minutes: float) -> None:
    """Let all runs have begun so long before."""
    database.sql(f"UPDATE maintenance.run SET started_at = started_at - interval '{minutes} minutes'")
    database.close_connection()


def runs(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM maintenance.run"))


def test_it_runs_when_it_is_due_and_nothing_twice(table: Database) -> None:
    # In check mode the same, before there is a history and after.
    assert ask(table, check=True)["status"] == "ok"
    first = ask(table)
    assert (first["status"], first["due"]) == ("ok", "no run of it has succeeded yet (every: 1h)")
    assert (first["schedule"], first["recent"], first["retries"]) == ({"every": "1h"}, [], 0)
    age(table, 48)
    for check in (False, True):
        again = ask(table, check)
        assert (again["status"], again["changed"], again["actions"], again["run_id"]) == ("skipped", False, [], None)
        assert not again.get("failed")
        assert again["msg"].startswith("not due: the last run of it that succeeded began at 20")
        assert again["msg"].endswith(" on (every: 1h); nothing was done")
        assert again["warnings"] == []
    assert runs(table) == 1
    # A trigger by hand runs whatever the rule says, and counts from then on.
    assert ask(table, due=None)["recent"][0]["status"] == "ok"
    assert ask(table)["status"] == "skipped"
    age(table, 51)
    assert ask(table, check=True)["status"] == "ok"
    due = ask(table)
    assert (due["status"], due["due"][:44]) == ("ok", "the last run of it that succeeded began at 2")
    # Other plans do not count, nor do runs that failed or died.
    assert ask(table, plan="another")["status"] == "ok"
    age(table, 51)
    table.sql("CREATE TABLE u (id int)")
    assert ask(table, steps=[{"analyze": {"tables": ["nothing"]}}])["status"] == "failed"
    assert ask(table)["status"] == "ok"
    table.sql("UPDATE maintenance.run SET status = 'abandoned' WHERE id = (SELECT max(id) FROM maintenance.run)")
    table.close_connection()
    again = ask(table)
    assert [run["status"] for run in again["recent"]] == ["abandoned", "failed", "ok", "ok", "ok"]
    table.sql("UPDATE maintenance.run SET status = 'partial'")
    table.close_connection()
    assert ask(table)["status"] == "skipped"


def test_a_missed_moment_is_caught_up_once(table: Database) -> None:
    assert weekly(table, 3000)["status"] == "ok", "a history that is not there yet has no success in it"
    assert weekly(table, 3000)["status"] == "skipped"
    age(table, 4 * 1440)
    late = weekly(table, 3000)
    assert (late["status"], list(late["schedule"])) == ("ok", ["at"])
    again = weekly(table, 3000, check=True)
    assert again["status"] == "skipped"
    assert "; it is due again at 20" in again["msg"]


def test_the_clock_of_the_server_decides(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for year in (1999, 2099):  # that of the runner is wrong
        monkeypatch.setattr(start, "_now", lambda year=year: datetime(year, 1, 1, tzinfo=timezone.utc))
        monkeypatch.setattr(time, "time", lambda year=year: (year - 1970) * 31_557_600.0)
        assert ask(table, plan=f"{year}")["status"] == "ok"
        assert ask(table, plan=f"{year}")["status"] == "skipped"
        age(table, 51)
        assert ask(table, plan=f"{year}")["status"] == "ok"
    # A run of the future was recorded while the server's clock was wrong: it keeps nothing from running.
    age(table, -100_000)
    assert ask(table, plan="2099")["status"] == "ok"
    assert ask(table, plan="2099")["status"] == "skipped"


def test_without_a_history_it_is_always_due_and_a_moment_for_an_hour(table: Database) -> None:
    role = table.role("maintainer")
    table.sql(f"ALTER TABLE t OWNER TO {role}")
    for given, why in (({"history": False}, "history: false"), ({"user": role}, "may not create the history")):
        for check in (False, True):
            hourly = ask(table, check, **given)
            assert (hourly["status"], hourly["run_id"]) == ("ok", None)
            [warning] = [text for text in hourly["warnings"] if text.startswith("hourly: it is not known when")]
            assert why in warning
            assert warning.endswith("so it counts as due each time.")
            assert weekly(table, 30, check=check, **given)["status"] == "ok"
            missed = weekly(table, 90, check=check, **given)
            assert (missed["status"], missed["run_id"]) == ("skipped", None)
            assert "came more than an hour ago" in missed["msg"]
            assert "is not caught up" in missed["warnings"][0]
    assert table.value("SELECT to_regnamespace('maintenance') IS NULL")


def test_two_at_once_and_the_turns_that_it_takes(table: Database) -> None:
    """Nothing is recorded of who comes second; whoever comes right after the first finds that it is done, and no lock."""
    with closing(table.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, 1)", (0x7674636D,))
        kept_away = ask(table)
        assert (kept_away["status"], "another run has held the lock" in kept_away["msg"]) == ("skipped", True)
        cursor.execute("SELECT pg_advisory_unlock_all()")  # a session that is only closed keeps it for a moment
    with counted(table.server) as wire:
        dsn = wire.dsn(table.name, "postgres")
        turns = []
        for due in ("auto", "always", "auto"):
            before = len(wire.turns)
            result = perform("run", dsn, plan="hourly", steps=STEPS, every="1h", due=due)
            turns.append(len(wire.turns) - before)
            assert result["turns"] == turns[-1]
        assert (result["status"], turns[2]) == ("skipped", 4)
        # Read with the same turn that opens the run; only the question whether it is due is one more.
        assert turns[1] < turns[0]
        assert "FROM maintenance.run AS r WHERE r.plan" in "".join(wire.turns)


def test_what_was_tried_again_is_counted(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that the server refused, and a lock that was waited for in vain: in the result, and in the history."""
    monkeypatch.setattr(policy, "BLOCKING", 0.2)
    role, full = table.role("maintainer"), "too many connections for database"
    table.sql(f"GRANT CREATE ON DATABASE {table.name} TO {role}; CREATE MATERIALIZED VIEW v AS SELECT 1 AS one")
    table.sql(f"ALTER MATERIALIZED VIEW v OWNER TO {role}; ALTER DATABASE {table.name} CONNECTION LIMIT 0")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'v'::regclass"
    log = table.server.embedded.log

    def let_in(cursor: Any) -> None:
        until(lambda: log.read_text(encoding="utf-8", errors="replace").count(f'{full} "{table.name}"') >= 2)
        table.sql(f"ALTER DATABASE {table.name} CONNECTION LIMIT 100")
        until(lambda: table.value(waiting))
        until(lambda: not table.value(waiting))
        cursor.execute("COMMIT")

    with closing(table.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM v")
        letting = threading.Thread(target=let_in, args=(cursor,))
        letting.start()
        result = ask(table, user=role, steps=[{"refresh": {"view": "v"}}], connect_deadline=120)
        letting.join()
    assert (result["status"], result["totals"]) == ("ok", {"done": 1}), result
    assert result["retries"] >= 2 + 1
    [run] = perform("history_info", table.dsn_as(role))["runs"]
    assert (run["retries"], run["schedule"]) == (result["retries"], {"every": "1h"})


def test_what_earlier_runs_did_is_told_newest_first(table: Database) -> None:
    table.sql("CREATE TABLE s (id int, at timestamptz); CREATE INDEX ON s (at)")
    steps = [{"purge": {"table": "s", "column": "at"}}, *STEPS]
    for number in range(1, 13):
        table.sql("INSERT INTO s SELECT n, now() - interval '1 day' FROM generate_series(1, %s) AS n", (number,))
        table.close_connection()
        result = ask(table, steps=steps, due="always")
    recent = result["recent"]
    assert [(run["run_id"], run["rows"], run["status"]) for run in recent] == [
        (number, number, "ok") for number in range(11, 1, -1)
    ]
    assert all(0 < run["seconds"] < 600 for run in recent)
    for run in recent:
        datetime.strptime(run["started"], "%Y-%m-%dT%H:%M:%SZ")
    assert [run["run_id"] for run in ask(table, check=True, due="always")["recent"]] == list(range(12, 2, -1))


def test_a_plan_that_only_reads_is_due_by_the_same_rule(table: Database) -> None:
    """It creates no history, so that without one it is due each time."""
    health: dict[str, Any] = {"plan": "health", "steps": [{"health_info": {"fail_on": "never"}}]}
    for _time in range(2):
        alone = ask(table, **health)
        assert (alone["status"], "there is no history yet" in alone["warnings"][0]) == ("ok", True)
    ask(table)
    assert ask(table, **health)["status"] == "ok"
    assert ask(table, **health)["status"] == "skipped"


def test_the_latest_success_outlives_the_pruning_of_many_actions(
    table: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weekly run would be due each hour if the hourly ones had pushed it out of the history."""
    assert weekly(table, 30, plan="weekly")["status"] == "ok"
    monkeypatch.setattr("ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history.KEEP_ACTIONS", 2)
    for _hour in range(5):
        ask(table, due="always")
    assert table.sql("SELECT plan, count(*)::int FROM maintenance.run GROUP BY plan ORDER BY plan") == [
        ("hourly", 3),
        ("weekly", 1),
    ]
    assert weekly(table, 30, plan="weekly")["status"] == "skipped"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"every": "60"}, "every: '60' is no interval"),
        ({"at": "Sunday 02:00"}, "at: there is no day Sunday"),
        ({"every": "1h", "at": "02:00"}, "only one of both"),
        ({"due": "maybe"}, "due must be one of: always, auto"),
    ],
)
def test_what_is_wrong_is_told_with_all_other_faults(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as refused:
        _edge.validated("run", {"plan": "p", "steps": STEPS, "budget": -1, "dsn": "", **wrong})
    assert any(said in error for error in refused.value.errors)


def test_a_database_that_is_ill_is_not_made_well_by_doing_it_again(table: Database) -> None:
    ill = {"health_info": {"thresholds": {"connections": {"critical": 0}}}}
    assert ask(table, steps=[*STEPS, ill])["status"] == "failed"
    assert ask(table, steps=[*STEPS, ill])["status"] == "skipped"
    assert weekly(table, 5, plan="weekly", steps=[ill])["status"] == "failed"
    assert weekly(table, 5, plan="weekly", steps=[ill])["status"] == "skipped"
    # What was to be done has failed: that is tried again.
    age(table, 60)
    assert ask(table, steps=[{"analyze": {"tables": ["gone"]}}, ill])["status"] == "failed"
    assert ask(table, steps=[*STEPS, ill])["status"] == "failed"
