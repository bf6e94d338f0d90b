# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge page by page: the same rows go as by an index, next to any other session; and the pace that it keeps."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pace, pages, walks, work
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from tests.runs import holding, only, perform, until
from tests.servers import Database
from tests.trees import QUEUED, SLEEPING

# Rows of 1 kB, seven a page: a few hundred are many pages.
WIDE = "(id int PRIMARY KEY, at timestamptz, word text, filler char(1000) DEFAULT '')"


def purge(database: Database, check: bool = False, **options: Any) -> dict[str, Any]:
    return perform("purge", database.dsn, check, **{"table": "t", "column": "at", "order": "heap", **options})


def wide(database: Database, expired: int, live: int, scattered: bool = True) -> None:
    """The first rows have expired; they lie anywhere between the others, or before them."""
    database.sql(f"CREATE TABLE t {WIDE}")
    place = "n * 7919 % 104729" if scattered else "n"
    database.sql(
        f"INSERT INTO t (id, at) SELECT n, now() + (n - {expired} - 0.5) * interval '1 minute' "
        f"FROM generate_series(1, {expired + live}) AS n ORDER BY {place}"
    )


def ids(database: Database, table: str = "t") -> list[int]:
    return [number for (number,) in database.sql(f"SELECT id FROM {table} ORDER BY 1")]


@pytest.mark.parametrize("scattered", [True, False])
def test_what_has_expired_goes_and_nothing_else(database: Database, scattered: bool) -> None:
    wide(database, 700, 300, scattered)
    planned, done, again = only(purge(database, check=True)), only(purge(database)), only(purge(database))
    assert planned["rows"] == done["rows"] == 700
    assert "ctid" in planned["statements"][0]
    assert "ctid" in done["statements"][0]
    assert done["numbers"]["order"] == "page by page: order is heap"
    assert ids(database) == list(range(701, 1001))
    assert (again["outcome"], again["changed"]) == ("unchanged", False)


def test_many_expired_rows_of_a_large_table_are_chosen_by_themselves(database: Database) -> None:
    """With an index and without; few rows by the index, and without one they are refused."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, filler char(100))")
    database.sql(
        "INSERT INTO t SELECT n, now() + CASE WHEN n <= 70000 THEN interval '-1 day' ELSE interval '1 day' END, '' "
        "FROM generate_series(1, 100000) AS n"
    )
    database.sql("VACUUM (ANALYZE) t")
    for index in ("", "CREATE INDEX ON t (at)"):
        database.sql(index or "SELECT")
        planned = only(purge(database, check=True, order="auto", history=False))
        assert planned["outcome"] == "planned"
        assert planned["numbers"]["order"].startswith("page by page: about ")
        assert planned["rows"] == (70_000 if index else None)
    database.sql("DROP INDEX t_at_idx")
    aged: dict[str, Any] = {"order": "auto", "older_than": "12h"}
    done = only(purge(database, **aged))
    assert done["rows"] == 70_000
    assert "from tomorrow on that is a failure: CREATE INDEX CONCURRENTLY ON public.t (at), or set" in done["reason"]
    database.sql("UPDATE t SET at = now() - interval '1 day' WHERE id = 100000")
    database.sql("VACUUM (ANALYZE) t")
    for check in (True, False):
        again = only(purge(database, check, **aged))
        assert again["outcome"] == "skipped"
        (when,) = re.findall(r"expired went at ([-0-9]+ [0-9:]+) UTC", again["reason"])
        assert timedelta(0) <= datetime.now(timezone.utc) - datetime.fromisoformat(f"{when}+00:00") < timedelta(hours=1)
    for what, options in (
        ("other conditions", {"where": "true"}),
        ("no history", {"history": False}),
        ("a day later", {}),
    ):
        if not options:
            earlier = "to_jsonb((value ->> 'swept')::timestamptz - interval '1 day')"
            database.sql(f"UPDATE maintenance.state SET value = jsonb_set(value, '{{swept}}', {earlier})")
        for check in (True, False):
            refused = only(purge(database, check, **{**aged, **options}))
            assert refused["outcome"] == "failed", what
            assert "CREATE INDEX CONCURRENTLY ON public.t (at), or set require_index: false" in refused["reason"]
    assert only(purge(database, order="auto", require_index=False))["rows"] == 1
    assert only(purge(database, order="auto", require_index=False))["outcome"] == "unchanged"
    database.sql("CREATE INDEX ON t (at)")
    database.sql("UPDATE t SET at = now() - interval '1 day' WHERE id = 99999")
    found = only(purge(database, order="auto"))
    assert (found["rows"], found["numbers"]["order"]) == (1, "by an index: few rows have expired")


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["-3 days", "-1 hour", "1 hour", "infinity", None]), st.integers(0, 2)), max_size=60),
    kind=st.sampled_from(["plain", "list", "hash", "inherited"]),
    start=st.integers(0, 12),
    size=st.sampled_from([1, 3, 1000]),
)  # fmt: skip
def test_any_table(database: Database, rows: list[tuple[str | None, int]], kind: str, start: int, size: int) -> None:
    """In parts of any kind, from any page on, in ranges of any size: what an independent reckoning says, once each."""
    parts = {
        "plain": "CREATE TABLE t (id int, at timestamptz, part int, filler char(3000) DEFAULT '')",
        "list": "CREATE TABLE t (id int, at timestamptz, part int, filler char(3000) DEFAULT '') PARTITION BY LIST (part);"
        + "".join(f"CREATE TABLE p{n} PARTITION OF t FOR VALUES IN ({n});" for n in range(3)),
        "hash": "CREATE TABLE t (id int, at timestamptz, part int, filler char(3000) DEFAULT '') PARTITION BY HASH (part);"
        + "".join(f"CREATE TABLE p{n} PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER {n});" for n in range(3)),
        "inherited": "CREATE TABLE t (id int, at timestamptz, part int, filler char(3000) DEFAULT '');"
        "CREATE TABLE p1 () INHERITS (t); CREATE TABLE p2 () INHERITS (p1);",
    }
    database.sql("DROP TABLE IF EXISTS t, p0, p1, p2 CASCADE; DROP SCHEMA IF EXISTS maintenance CASCADE")
    database.sql(parts[kind])
    for number, (age, part) in enumerate(rows):
        into = f"p{part}" if kind == "inherited" and part else "t"
        time = "NULL" if age is None else "'infinity'" if age == "infinity" else f"now() + interval '{age}'"
        database.sql(f"INSERT INTO {into} (id, at, part) VALUES ({number}, {time}, {part})")
    left = [number for number, (age, _part) in enumerate(rows) if age is None or not age.startswith("-")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "FIRST_RANGE", size)
        patch.setattr(
            "ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.rows._start",
            lambda state: start,
        )
        result = only(purge(database))
    assert ids(database) == left
    assert (result["rows"] or 0) == len(rows) - len(left)


def test_locked_rows_stay_and_the_others_of_their_range_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FIRST_RANGE", 50)
    wide(database, 700, 3)
    with holding(database, "SELECT FROM t WHERE id IN (3, 500, 702) FOR UPDATE"):
        result = only(purge(database))
        assert (result["outcome"], result["rows"], result["numbers"]["left"]) == ("done", 698, 2)
        assert result["numbers"]["retries"] >= 1
        assert ids(database) == [3, 500, 701, 702, 703]
    assert only(purge(database))["rows"] == 2


def test_a_row_that_gets_a_new_time_while_we_wait_for_it_survives(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds it commits a later time (or only another word) while the batch waits for the row."""
    monkeypatch.setattr(pages, "HELD", 60.0)
    wide(database, 60, 3)
    with ThreadPoolExecutor(1) as thread, closing(database.connect()) as other:
        other.autocommit = False
        with other.cursor() as cursor:
            cursor.execute("UPDATE t SET at = now() + interval '1 hour' WHERE id = 2")
            cursor.execute("UPDATE t SET word = 'still expired' WHERE id = 4")
        running = thread.submit(purge, database, history=False)
        until(lambda: database.value(QUEUED))
        other.commit()
        result = only(running.result(60))
    assert ids(database) == [2, 61, 62, 63]
    assert result["rows"] == 59


def children(database: Database) -> None:
    """Of the expired rows that stand in the middle, and at the end."""
    database.sql("CREATE TABLE child (id int PRIMARY KEY, t int NOT NULL REFERENCES t ON DELETE CASCADE)")
    database.sql("INSERT INTO child SELECT n, n FROM unnest(ARRAY[300, 303, 690]) AS n")
    database.sql("CREATE INDEX ON child (t)")


@pytest.mark.parametrize(("order", "most"), [("heap", 7), ("index", 1)])
def test_rows_that_hang_on_those_and_are_held_stop_no_others(
    database: Database, monkeypatch: pytest.MonkeyPatch, order: str, most: int
) -> None:
    """Somebody holds a child: its parent stays, or the page of that, all others go, and the next run takes it."""
    for where in (pages, walks, work):
        monkeypatch.setattr(where, "ROW", 0.02)
    wide(database, 700, 3, scattered=False)
    children(database)
    with holding(database, "SELECT FROM child WHERE id = 303 FOR UPDATE"):
        result = only(purge(database, order=order, require_index=False, history=False))
        left = ids(database)
    assert result["outcome"] == "done"
    assert 303 in left
    assert len(left) <= 3 + most
    assert result["numbers"]["left"] == len(left) - 3
    assert only(purge(database))["rows"] == len(left) - 3
    assert ids(database, "child") == []


def test_what_fails_for_another_reason_fails_again_and_lets_the_others_go(database: Database) -> None:
    """It stops, as it may be about everything. The second run begins behind it."""
    wide(database, 700, 3, scattered=False)
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one' USING ERRCODE = '58030'; "
        "END$$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id = 350) EXECUTE FUNCTION refuse()"
    )
    results = [purge(database) for _run in range(2)]
    assert [only(result)["outcome"] for result in results] == ["failed", "failed"]
    assert "not this one" in only(results[0])["reason"]
    left = ids(database)
    assert 350 in left
    assert 700 not in left
    assert len(left) < 350


def test_a_table_that_somebody_has_locked(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted stays deleted, and the next run goes on where this one has stopped."""
    monkeypatch.setattr(pages, "ROW", 0.05)
    monkeypatch.setattr(pages, "HELD", 0.05)
    monkeypatch.setattr(work, "ROW", 0.05)
    wide(database, 700, 3, scattered=False)
    blocker = database.connect()
    blocker.autocommit = False
    told: list[str] = []

    def lock(target: str, said: str, seconds: float) -> None:
        told.append(said)
        if len(told) == 4:
            blocker.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")

    parameters = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "order": "heap"})
    action = only(_edge.perform(parameters, False, lock))
    blocker.close()
    assert action["outcome"] == "contended"
    assert 0 < action["rows"] < 700
    page = database.value("SELECT value ->> 'page' FROM maintenance.state WHERE operation = 'purge'")
    assert int(page) > 0
    assert only(purge(database))["rows"] == 700 - action["rows"]
    assert database.value("SELECT value FROM maintenance.state WHERE operation = 'purge'") == {"page": 0}


def test_the_next_run_begins_where_time_ran_out_and_comes_round(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a table that takes longer to read than a run may last would never be read to its end."""
    wide(database, 700, 3, scattered=False)
    now, told = [0.0], [0]

    def hour_later(target: str, said: str, seconds: float) -> None:
        now[0] += 3600
        told[0] += 1

    monkeypatch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
    parameters = _edge.validated(
        "purge", {"dsn": database.dsn, "table": "t", "column": "at", "order": "heap", "budget": 10_000}
    )
    action = only(_edge.perform(parameters, False, hour_later))
    assert (action["outcome"], told[0]) == ("deferred", 3)
    monkeypatch.undo()
    database.sql("UPDATE t SET word = 'moved' WHERE id > 650")
    database.sql("INSERT INTO t (id, at) SELECT n, now() - interval '1 day' FROM generate_series(1001, 1005) AS n")
    assert only(purge(database))["rows"] == 700 - action["rows"] + 5
    assert ids(database) == [701, 702, 703]


@pytest.mark.parametrize("state", ['{"page": -1}', '{"page": "7"}', '{"page": 99999999}', '{"swept": 3}', "[]"])
def test_what_is_remembered_wrongly_does_no_harm(database: Database, state: str) -> None:
    wide(database, 70, 3)
    assert only(purge(database))["rows"] == 70
    database.sql("UPDATE maintenance.state SET value = %s::jsonb WHERE operation = 'purge'", [state])
    database.sql("UPDATE t SET at = now() - interval '1 day' WHERE id <> 71")
    assert only(purge(database))["rows"] == 2


def test_pages_that_come_meanwhile_belong_to_the_last_range(database: Database) -> None:
    wide(database, 70, 3)
    told: list[str] = []

    def more(target: str, said: str, seconds: float) -> None:
        told.append(said)
        if len(told) == 1:
            database.sql(
                "INSERT INTO t (id, at) SELECT n, now() - interval '1 day' FROM generate_series(1001, 1100) AS n"
            )

    parameters = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "order": "heap"})
    assert only(_edge.perform(parameters, False, more))["rows"] == 170
    assert ids(database) == [71, 72, 73]


def test_a_trigger_that_keeps_rows(database: Database) -> None:
    wide(database, 70, 3)
    database.sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$")
    database.sql("CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id < 6) EXECUTE FUNCTION keep()")
    result = only(purge(database))
    assert (result["rows"], result["numbers"]["left"]) == (65, 5)
    assert "kept by a trigger" in result["reason"]


def test_a_purge_beside_somebody_who_works_makes_way(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first look sees him, and from then on its batches are short."""
    seen: list[tuple[str, float]] = []
    heed = pace.Pace.heed

    def heeding(own: pace.Pace, *look: Any) -> None:
        heed(own, *look)
        seen.append((own.cause, own.goal))

    monkeypatch.setattr(pace.Pace, "heed", heeding)
    wide(database, 140, 3)

    def work_on(cursor: Any) -> None:
        with suppress(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT pg_sleep(600)")

    with closing(database.connect()) as other, ThreadPoolExecutor(1) as thread:
        busy = thread.submit(work_on, other.cursor())
        try:
            until(lambda: database.value(SLEEPING))
            for given in ("auto", "full"):
                assert only(purge(database, pace=given))["rows"] == 140
                database.sql("UPDATE t SET at = now() + interval '1 day'")
                database.sql(
                    "INSERT INTO t (id, at) SELECT n, now() - interval '1 day' FROM generate_series(1, 140) AS n"
                )
        finally:
            database.sql("SELECT pg_cancel_backend(%s)", [other.info.backend_pid])
        busy.result(60)
    assert seen[0] == (pace.OTHERS_WORK, pace.GENTLE_BATCH)
    assert seen[-1] == ("", 0.25)


@pytest.mark.parametrize("order", ["heap", "index"])
def test_a_share_of_the_time(database: Database, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """A tenth: it pauses between its batches, and the result says why."""
    monkeypatch.setattr(walks, "FIRST_BATCH", 200)
    wide(database, 700, 3)
    database.sql("CREATE INDEX ON t (at)")
    action = only(purge(database, pace="10%", order=order, batch_ms=10))
    assert action["rows"] == 700
    assert set(action["numbers"]["paused_for"]) == {"share"}
