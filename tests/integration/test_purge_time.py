# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a purge gets on with little time: rows that go slowly, the end of the budget, replicas that never catch up."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pace, replicas, rows
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from tests.integration.test_purge_pages import ids, wide
from tests.runs import Clock, only, perform, until
from tests.servers import Database, PrivateServer, Servers

TABLE = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz);
INSERT INTO t SELECT n, now() - interval '1 day' FROM generate_series(1, 2000) AS n;
CREATE INDEX ON t (at);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(TG_ARGV[0]::float8); RETURN OLD; END$$;
"""
ONE_CHILD = """
CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE);
INSERT INTO child SELECT id FROM t;
CREATE INDEX ON child (id);
"""
SLOW = {
    "a trigger": "CREATE TRIGGER slow BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION slow(0.005)",
    "rows that go with them": ONE_CHILD
    + "CREATE TRIGGER slow AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION slow(0.005)",
    "a condition": "CREATE FUNCTION old(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN true; END'",
}


def purge(database: Database, **options: Any) -> dict[str, Any]:
    return perform("purge", database.dsn, **{"table": "t", "column": "at", **options})


@pytest.mark.parametrize("what", SLOW)
def test_rows_that_go_slowly_get_on_in_a_small_budget(database: Database, what: str) -> None:
    """A batch of a thousand would take more than all of it, in every run."""
    database.sql(TABLE + SLOW[what])
    more = {"where": "old(id)"} if what == "a condition" else {}
    runs: list[dict[str, Any]] = []
    # A machine that stands still may have used up the budget of a run before it has begun, but not of each.
    while sum(one["rows"] >= 10 for one in runs) < 2 and len(runs) < 8:
        runs.append(only(purge(database, order="index", budget=3, **more)))
        runs[-1]["rows"] = runs[-1]["rows"] or 0
    assert {one["outcome"] for one in runs} == {"deferred"}, runs
    assert sum(one["rows"] >= 10 for one in runs) == 2, runs
    assert database.value("SELECT count(*) FROM t") == 2000 - sum(one["rows"] for one in runs)


@pytest.mark.parametrize("order", ["index", "heap"])
def test_no_statement_gets_more_than_what_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """One that begins late would have a whole budget once more. The last row notes the limit that it has, and outlasts it."""
    database.sql(TABLE)
    database.sql(
        "CREATE SEQUENCE milliseconds; CREATE FUNCTION last() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM setval('milliseconds', (extract(epoch FROM current_setting('statement_timeout')::interval) * 1000)::int);"
        "PERFORM pg_sleep(30); RETURN OLD; END$$;"
        "CREATE TRIGGER last BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id = 2000) EXECUTE FUNCTION last()"
    )
    told: list[str] = []
    clock = Clock()

    def late(target: str, said: str, seconds: float) -> None:
        if not told:
            clock.leave(4)
        told.append(said)

    monkeypatch.setattr(start, "Budget", clock.budget)
    given = _edge.validated(
        "purge",
        {"dsn": database.dsn, "table": "t", "column": "at", "order": order, "budget": 600, "history": False},
    )
    action = only(_edge.perform(given, False, late))
    assert action["outcome"] == "deferred", action
    assert 0 < action["rows"] < 2000
    assert database.value("SELECT last_value FROM milliseconds") <= 4000


def test_a_replica_that_never_catches_up(
    private_server: PrivateServer, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is delayed by an hour: to wait for it would take all the time of each run."""
    for where in (pace, replicas):
        monkeypatch.setattr(where, "LAG_LIMIT", 100_000)
    monkeypatch.setattr(replicas, "PATIENCE", 1.0)
    late = servers.standby(private_server, recovery_min_apply_delay="1h")
    with closing(private_server.create_database()) as database:
        database.sql(TABLE)
        streams = "SELECT replay_lsn IS NOT NULL FROM pg_stat_replication"
        until(lambda: private_server.sql(streams) == [(True,)])
        action = only(purge(database, order="heap", batch_ms=10, budget=120))
    late.embedded.remove()
    assert (action["outcome"], action["rows"]) == ("done", 2000), action
    assert " behind, and was not waited for any longer" in action["reason"]
    assert 1 <= action["numbers"]["paused_for"]["replicas"] < 60


class Answers:
    """A session of which each answer is that of the next second; the last one stays."""

    def __init__(self, *lags: dict[int, int]) -> None:
        self.lags, self.now = list(lags), 0.0

    def rows(self, _query: str) -> list[dict[str, Any]]:
        found = self.lags.pop(0) if len(self.lags) > 1 else self.lags[0]
        return [{"pid": pid, "name": f"r{pid}", "bytes": lag << 20} for pid, lag in found.items()]

    def sleep(self, _seconds: float) -> None:
        self.now += 1


def waited(answers: Answers, seconds: float = 1000.0) -> tuple[float, replicas.Replicas]:
    made = replicas.Replicas(answers.sleep, lambda: seconds - answers.now)
    return made.wait(answers, lambda: answers.now), made  # type: ignore[arg-type]


def test_who_catches_up_is_waited_for() -> None:
    seconds, made = waited(Answers(*({1: lag} for lag in range(400, 60, -2)), {1: 60}))
    assert (seconds, made.told()) == (168, "")  # 64 MiB are enough


def test_who_comes_no_nearer_is_left_behind_and_others_are_not() -> None:
    behind = [{1: 500, 2: lag} for lag in range(100, 62, -1)]
    seconds, made = waited(Answers(*behind))
    assert (seconds, list(made.left)) == (36, [1])
    assert made.told() == "; r1 stays 500 MiB behind, and was not waited for any longer"


def test_little_time_is_not_spent_in_waiting() -> None:
    assert waited(Answers({1: 500}), 8)[0] == 2
    assert waited(Answers({1: 500}), 0.5)[0] == 0


@pytest.mark.parametrize(("indexed", "changed"), [(True, False), (False, False), (False, True)])
def test_a_table_that_no_run_can_read_to_its_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, indexed: bool, changed: bool
) -> None:
    """Each run goes on where the last one has stopped; the round is over when all pages were read, whoever has read them.

    changed: by other conditions in the middle, of which the pages that were read say nothing.
    """
    monkeypatch.setattr(rows, "SMALL_TABLE", 5)
    wide(database, 700, 300, scattered=False)
    database.sql("CREATE INDEX ON t (at)" if indexed else "SELECT")
    now = [0.0]

    def hour_later(target: str, said: str, seconds: float) -> None:
        now[0] += 3600

    monkeypatch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
    order = {"order": "heap"} if indexed else {}
    options = {"dsn": database.dsn, "table": "t", "column": "at", "budget": 18_000, **order}
    given = _edge.validated("purge", options)
    outcomes: list[str] = []
    while outcomes.count("deferred") == len(outcomes) < 30:
        number = len(outcomes) + 2000
        if changed and len(outcomes) == 2:
            given = _edge.validated("purge", {**options, "where": "at > '1900-01-01'"})
        database.sql("INSERT INTO t (id, at) VALUES (%s, now() - interval '1 day')", [number])  # behind all others
        outcomes.append(only(_edge.perform(given, False, hour_later))["outcome"])
    # What has come behind all others after the last look at their end is for the next round.
    assert outcomes[-1] in ("done", "unchanged") if changed else outcomes[-1] == "done", database.sql(
        "SELECT value FROM maintenance.state"
    )
    assert outcomes.count("deferred") > 2
    assert [one for one in ids(database) if one < 2000 or not changed] == list(range(701, 1001))
    state = database.value("SELECT value FROM maintenance.state WHERE operation = 'purge'")
    before = 2 if changed else 0
    first = database.value(f"SELECT numbers ->> 'cutoff' FROM maintenance.action ORDER BY id LIMIT 1 OFFSET {before}")
    assert state["page"] == 0
    assert state.get("swept") == (
        None if indexed else first
    )  # what expires later where the first run has been may be there
