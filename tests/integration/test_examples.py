# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The invented quarter of the demo: of the same form as what real runs write, beside them, and in no other database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import KEYS
from roles.embedded_postgres.module_utils import example_facts
from roles.embedded_postgres.module_utils.embedded_load import COMMENT
from roles.embedded_postgres.module_utils.embedded_server import EmbeddedServer, Place
from roles.embedded_postgres.module_utils.example_history import ExampleError, fill
from roles.embedded_postgres.module_utils.example_rows import HOST
from roles.embedded_postgres.module_utils.example_runs import Run, runs
from roles.embedded_postgres.module_utils.example_world import World
from tests.runs import perform, playbook
from tests.servers import Database, Server
from tests.vtchat import plans, provision

PLANS = plans()
# The tests' database is small.
PLANS["weekly"]["steps"][0]["vacuum"]["min_dead_rows"] = 100
PLANS["weekly"]["steps"][1]["reindex"] |= {"min_size": "80K", "min_gain": "16K", "bloat": 0.3}
TABLES = ("run", "action", "finding", "sample", "state")
OURS = f"SELECT * FROM maintenance.run WHERE host = '{HOST}'"
# Of a real database: work for each operation of the plans, some of it twice, so that each of their outcomes is there.
CHANGES = (
    "UPDATE users SET name = name || '.' WHERE true",
    "UPDATE user_subscriptions SET status = status || '.' WHERE true",
    "INSERT INTO sessions (id, expires_at, user_id, token) "
    "SELECT 'more ' || n, now() - interval '1 hour', 'user_1', md5(n::text) FROM generate_series(1, 30000) AS n",
)


def run_plan(database: Database, name: str) -> dict[str, Any]:
    """A real run, as the demo's playbooks do it."""
    plan = {key: value for key, value in PLANS[name].items() if key != "endpoint"}
    database.sql("SELECT pg_stat_force_next_flush()")  # a session that is only closed may be counted too late
    database.close_connection()
    return perform("run", database.dsn, plan=name, **plan)


def marked(database: Database) -> Database:
    """As if the role embedded_postgres had loaded it."""
    database.sql(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(database.name), Literal(COMMENT + "test")))
    return database


@pytest.fixture(scope="module")
def demo(server: Server) -> Iterator[Database]:
    """A demo with some real runs, and an invented quarter before them."""
    made = marked(server.create_database(server.vtchat_template()))
    provision(made)
    for name in ("hourly", "hourly", "weekly"):
        assert run_plan(made, name)["status"] == "ok"
    for change in CHANGES:
        made.sql(change)
    run_plan(made, "hourly")
    done = [one["operation"] for one in run_plan(made, "weekly")["actions"] if one["outcome"] == "done"]
    assert {"vacuum", "reindex"} <= set(done)
    # Whatever zone the server tells the time in.
    made.sql(SQL("ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'").format(Identifier(made.name)))
    before = kept(made)
    found = fill(server.embedded, made.name, PLANS, check=False)
    assert found["runs"] > 2000
    assert found["replaced"] == 0
    assert kept(made) == before
    yield made
    made.close()


@pytest.fixture
def copy(demo: Database) -> Iterator[Database]:
    """One like it, for a test that changes what is real."""
    demo.close_connection()
    made = marked(demo.server.create_database(demo.name))
    yield made
    made.close()


def kept(database: Database) -> dict[str, Any]:
    """All that is real, in short."""
    own = {"run": "x.host IS DISTINCT FROM {}", "state": "true"}
    of_run = "x.run_id IN (SELECT id FROM maintenance.run WHERE host IS DISTINCT FROM {})"
    found = {}
    for table in TABLES:
        which = SQL(own.get(table, of_run)).format(Literal(HOST))
        query = SQL("SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM maintenance.{} AS x WHERE {}")
        found[table] = database.value(query.format(Identifier(table), which))
    return found


def rows(database: Database, table: str, generated: bool) -> list[dict[str, Any]]:
    """The rows of a table as objects."""
    key = "id" if table == "run" else "run_id"
    query = f"""SELECT to_jsonb(x) FROM maintenance.{table} AS x JOIN maintenance.run AS r ON r.id = x.{key}
                WHERE (r.host = '{HOST}') = %s ORDER BY x.id"""
    return [row for (row,) in database.sql(query, [generated])]


def shape(value: Any) -> Any:
    """Types and keys, at any depth. A whole number is as good as another one; texts and lists are not looked into.

    A real purge makes pauses while other tests are at work, so those are left out.
    """
    if isinstance(value, dict):
        return tuple(sorted((key, shape(one)) for key, one in value.items() if not key.startswith("paused_")))
    if isinstance(value, bool) or value is None:
        return str(value)
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def shapes(found: list[dict[str, Any]], *kind: str, of: tuple[str, ...]) -> dict[tuple[Any, ...], set[Any]]:
    """What the rows of each kind look like."""
    seen: dict[tuple[Any, ...], set[Any]] = {}
    for row in found:
        seen.setdefault(tuple(row[key] for key in kind), set()).add(tuple(shape(row[key]) for key in of))
    return seen


def test_actions_and_findings_are_of_the_form_of_real_ones(demo: Database) -> None:
    columns = ("statements", "numbers", "measured", "row_count", "started_at", "finished_at")
    for table, kind, of in (
        ("action", ("operation", "outcome"), columns),
        ("finding", ("name", "level"), ("subject", "message", "value", "threshold", "evidence", "advice")),
        ("sample", (), ("relation", "bytes", "index_bytes", "live_rows", "dead_rows", "freeze_age", "sampled_at")),
    ):
        real = shapes(rows(demo, table, False), *kind, of=of)
        made = shapes(rows(demo, table, True), *kind, of=of)
        common = real.keys() & made.keys() - {
            ("health_info", "unchanged")
        }  # its numbers are of the levels that there are
        assert len(common) > (6 if kind else 0), (sorted(real), sorted(made))
        if table == "action":
            assert common >= {(name, "done") for name in ("purge", "refresh", "analyze", "vacuum", "reindex")}
        for key in common:
            assert made[key] <= real[key], (key, made[key] - real[key], real[key])


def test_runs_and_statements_are_those_of_real_ones(demo: Database) -> None:
    same = ("steps", "schedule", "budget", "role", "collection", "server_version")
    real, made = ({plan: [row for row in rows(demo, "run", generated) if row["plan"] == plan] for plan in PLANS}
                  for generated in (False, True))  # fmt: skip
    for plan in PLANS:
        assert {key: made[plan][0][key] for key in same} == {
            key: ({**real[plan][0], "steps": _informed(real[plan][0]["steps"])})[key] for key in same
        }
    texts = []
    for generated in (False, True):
        done = [row for row in rows(demo, "action", generated) if row["statements"]]
        texts.append({(row["operation"], row["target"], _timeless(row["statements"])) for row in done})
    assert len(texts[1]) >= 8
    assert texts[1] <= texts[0] | {one for one in texts[1] if one[0] == "reindex"}


def _informed(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the plugin plan tells the step health_info: of which plans there are."""
    known = {
        "hourly": {"every": "1h", "purge": [PLANS["hourly"]["steps"][0]["purge"]]},
        "weekly": {"at": "Sun 02:00 UTC"},
    }
    return [
        {"health_info": {**step["health_info"], "plans": known}} if "health_info" in step else step for step in steps
    ]


def _timeless(statements: list[str]) -> str:
    return re.sub(r"'20\d\d-[^']+'", "''", " ; ".join(statements))


def test_a_quarter_with_its_ups_and_downs(demo: Database) -> None:
    began = "to_char(started_at AT TIME ZONE 'UTC', 'Dy HH24')"
    weekly = dict(demo.sql(f"SELECT {began}, count(*) FROM ({OURS}) AS r WHERE plan = 'weekly' GROUP BY 1"))
    assert weekly.pop("Sun 02") > 10
    # Where today is a Monday, the night in which nobody could connect was that of a Sunday: it was made up for.
    assert weekly in ({}, {"Sun 04": 1})
    counted = {(row["plan"], row["status"]) for row in rows(demo, "run", True)}
    assert counted >= {("hourly", one) for one in ("ok", "partial", "failed", "abandoned")} | {("weekly", "ok")}
    outcomes = {row["outcome"] for row in rows(demo, "action", True)}
    assert outcomes >= {"done", "unchanged", "skipped", "contended", "deferred", "failed", "abandoned"}
    pairs = f"SELECT started_at, lead(started_at) OVER (ORDER BY started_at) AS next FROM ({OURS}) AS r WHERE plan = 'hourly'"
    gap = demo.value(f"SELECT max(next - started_at) FROM ({pairs}) AS pairs")
    assert timedelta(hours=5) < gap < timedelta(hours=9)
    warnings = demo.sql("SELECT name, count(*) FROM maintenance.finding WHERE level = 'warning' AND run_id IN (SELECT id "
                        f"FROM ({OURS}) AS r) AND name = 'dead-rows' GROUP BY 1")  # fmt: skip
    assert warnings == [("dead-rows", 2)]
    sizes = [row["bytes"] for row in rows(demo, "sample", True) if not row["relation"]]
    quarter = len(sizes) // 4
    first, last = (sizes[quarter] - sizes[0], sizes[-quarter // 10] - sizes[-quarter])
    assert 0 < first < last  # it bends
    assert max(abs(two / one - 1) for one, two in zip(sizes, sizes[1:], strict=False)) < 0.2


def test_numbers_go_up_with_time(demo: Database) -> None:
    wrong = "SELECT count(*) FROM maintenance.run AS a JOIN maintenance.run AS b ON a.id < b.id AND a.started_at > b.started_at"
    assert demo.value(wrong) == 0
    outside = """SELECT count(*) FROM maintenance.action AS a JOIN maintenance.run AS r ON r.id = a.run_id
                 WHERE a.started_at < r.started_at OR a.finished_at > r.finished_at + interval '1 millisecond'"""
    assert demo.value(outside) == 0
    overlap = """SELECT count(*) FROM (SELECT finished_at, lead(started_at) OVER (ORDER BY started_at) AS next
                 FROM maintenance.run) AS pairs WHERE next < finished_at"""
    assert demo.value(overlap) == 0


def counters(database: Database) -> None:
    """The counters agree with the actions."""
    summed = """
        SELECT operation, outcome, sum(CASE WHEN target ~ ' more$' THEN split_part(target, ' ', 1)::int ELSE 1 END)::bigint,
               coalesce(sum(row_count) FILTER (WHERE operation = 'purge'), 0)::bigint,
               coalesce(sum((measured ->> 'won_bytes')::bigint), 0)::bigint
        FROM maintenance.action WHERE outcome IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""
    assert database.sql("SELECT * FROM maintenance.counter WHERE actions > 0 ORDER BY 1, 2") == database.sql(summed)


def test_again_replaces_what_was_invented_and_nothing_else(demo: Database) -> None:
    counters(demo)
    before, number = kept(demo), len(rows(demo, "run", True))
    for check in (True, False):
        found = fill(demo.server.embedded, demo.name, PLANS, check)
        assert found["replaced"] == number
        assert abs(found["runs"] - number) <= 2  # an hour may have begun, on a Sunday with a weekly run
    assert kept(demo) == before
    assert len(rows(demo, "run", True)) == found["runs"]
    counters(demo)
    run_plan(demo, "hourly")  # numbers of its own, above all others
    test_numbers_go_up_with_time(demo)
    counters(demo)


def test_what_was_real_some_days_ago_stays_between_what_is_invented(copy: Database) -> None:
    """Before the first real run and after the last one; in the time between, a real run may have been meant not to come."""
    first = copy.value(f"SELECT min(id) FROM maintenance.run WHERE host <> '{HOST}'")
    back = f"interval '1 day' * CASE WHEN r.id = {first} THEN 3 ELSE 2 END"
    for table, key in (("run", "id"), ("action", "run_id")):
        copy.sql(f"""UPDATE maintenance.{table} AS x SET started_at = x.started_at - {back}, finished_at = x.finished_at - {back}
                     FROM maintenance.run AS r WHERE r.id = x.{key} AND r.host <> '{HOST}'""")
    before = kept(copy)
    fill(copy.server.embedded, copy.name, PLANS, check=False)
    assert kept(copy) == before
    test_numbers_go_up_with_time(copy)
    (first, last) = copy.sql(f"SELECT min(started_at), max(started_at) FROM maintenance.run WHERE host <> '{HOST}'")[0]
    early, late = copy.sql(
        f"SELECT count(*) FILTER (WHERE started_at < %s), count(*) FILTER (WHERE started_at > %s) FROM ({OURS}) AS r",
        [first, last],
    )[0]
    assert early > 1900
    assert 40 < late < 55
    assert early + late == len(rows(copy, "run", True))


def test_what_reads_the_history_finds_nothing_wrong_with_it(demo: Database) -> None:
    told = perform("history_info", demo.dsn, limit=5000)["runs"]
    assert len(told) == demo.value("SELECT count(*) FROM maintenance.run")
    json.dumps(told, default=str)
    run_plan(demo, "hourly")
    found = perform("health_info", demo.dsn, plans={name: {key: plan[key] for key in ("every", "at") if key in plan}
                                                    for name, plan in PLANS.items()})["findings"]  # fmt: skip
    ill = {one["check"]: one["message"] for one in found if one["level"] not in ("info",)}
    assert not {
        name: said for name, said in ill.items() if name.startswith(("maintenance", "database", "wraparound", "mat"))
    }


def test_the_same_database_at_the_same_time_has_the_same_past(demo: Database) -> None:
    with closing(psycopg2.connect(demo.dsn, cursor_factory=RealDictCursor)) as connection:
        known = example_facts.read(connection.cursor(), HOST, demo.dsn)
    wanted = example_facts.plans(PLANS, known.server.now)
    one, two = (runs(known, wanted, World(known.server.now)) for _time in range(2))
    assert one == two
    assert [run.plan.name for run in _since(one, 8)].count("weekly") in (1, 2)


def _since(made: list[Run], days: int) -> list[Run]:
    return [run for run in made if run.started > made[-1].started - timedelta(days=days)]


def test_only_the_database_of_the_demo(server: Server, vtchat_database: Database, tmp_path: Path) -> None:
    """A wrong server, a database of somebody else, none of this release, and one in which a run is under way."""

    def refused(words: str, embedded: EmbeddedServer = server.embedded) -> None:
        with pytest.raises(ExampleError, match=words):
            fill(embedded, vtchat_database.name, PLANS, check=False)

    class Elsewhere(EmbeddedServer):
        """A directory of ours whose address is that of another server."""

        version = "18"

        def dsn(self, database: str = "postgres", user: str = "postgres", **keywords: str) -> str:
            return server.dsn(database, user, **keywords)

    refused("was not loaded by embedded_postgres")
    refused("has its files in", Elsewhere(Place(tmp_path, Path("/nonexistent"))))
    refused("was not made by embedded_postgres", EmbeddedServer(Place(tmp_path, Path("/nonexistent"))))
    vtchat_database.sql(f"COMMENT ON DATABASE {vtchat_database.name} IS '{COMMENT}test'")
    refused("run `make hourly` first")
    run_plan(vtchat_database, "hourly")
    vtchat_database.sql("SELECT pg_advisory_lock(%(key1)s, %(key2)s)", KEYS)
    refused("A run is under way")
    vtchat_database.sql("SELECT pg_advisory_unlock(%(key1)s, %(key2)s)", KEYS)
    with pytest.raises(ExampleError, match=r"maintenance_plans.*older"):
        fill(
            server.embedded,
            vtchat_database.name,
            {"hourly": {"every": "1h", "steps": [{"purge": {"older": 1}}]}},
            False,
        )
    assert vtchat_database.value("SELECT count(*) FROM maintenance.run") == 1


def test_only_hosts_of_the_demo(tmp_path: Path) -> None:
    """Whatever somebody calls it with."""
    tasks = {"ansible.builtin.include_role": {"name": "embedded_postgres", "tasks_from": "history"}}
    plays = [{"name": "Somebody else's", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Invent", **tasks}]}]
    server = {"embedded_postgres_server": {"directory": str(tmp_path)}, "maintenance_plans": PLANS}
    done = playbook(tmp_path, plays, server)
    assert done.returncode == 2
    assert "only for hosts in the group embedded; localhost is not" in " ".join(done.stdout.split())
