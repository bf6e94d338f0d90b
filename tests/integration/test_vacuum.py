# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vacuum against a real server: what is due, in which order, what it does, and that it does it once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.vacuum.options import THRESHOLDS
from tests.runs import REPOSITORY, only, perform
from tests.servers import Database, Server
from tests.tables import FRESH, decided, executed, make, opened, run, told, write

THIN = "\u202f"


@pytest.fixture(params=["server", "postgres15"])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database, on the newest server and on an older one."""
    made = request.getfixturevalue(request.param).create_database()
    yield made
    made.close()


def test_the_life_of_a_table(either: Database) -> None:
    """Loaded, nothing to do; dead rows in check mode, done, nothing to do; and again."""
    make(either)
    loaded = run(either, "t")
    assert told(loaded) == [
        ("public.t", "unchanged", f"only loaded so far: 10{THIN}000 rows inserted, and never vacuumed")
    ]
    assert (loaded["changed"], loaded["warnings"]) == (False, [])

    write(either, "DELETE FROM t WHERE id <= 999")
    assert only(run(either, "t"))["outcome"] == "unchanged"
    write(either, "DELETE FROM t WHERE id = 1000")
    for _again in range(2):  # check mode touches nothing
        planned = run(either, "t", check=True)
        assert told(planned) == [("public.t", "planned", f"1{THIN}000 dead rows (threshold 1{THIN}000)")]
    done = only(run(either, "t"))
    assert (done["outcome"], done["reason"], done["rows"]) == ("done", only(planned)["reason"], 1000)
    assert (
        done["statements"]
        == only(planned)["statements"]
        == ["VACUUM (SKIP_LOCKED, VERBOSE, TRUNCATE FALSE, ANALYZE) public.t"]
    )
    numbers = done["numbers"]
    assert (numbers["dead"], numbers["dead_after"], numbers["rows_after"]) == (1000, 0, 9000)
    assert numbers["visible_share_after"] > 0.9
    assert any("are dead but not yet removable" in line or "0 dead row versions" in line for line in numbers["verbose"])
    assert numbers["pages_after"] == numbers["bytes_after"] / 8192
    assert ("frozen_share_after" in numbers) == (only(planned)["statements"] != [] and new(either))
    again = run(either, "t")
    assert (again["changed"], told(again)) == (
        False,
        [("public.t", "unchanged", f"0 dead rows, below the threshold of 1{THIN}000")],
    )
    assert either.value("SELECT count(*) FROM pg_stats WHERE tablename = 't'") == 2

    write(
        either, "UPDATE t SET note = 'x' WHERE id <= 3000"
    )  # half of autovacuum's 50 + 0.2 * 9000 is 925: the floor is more
    assert only(run(either, "t"))["reason"] == f"2{THIN}000 dead rows (threshold 1{THIN}000)"
    assert (
        either.value("SELECT count(*) FROM maintenance.action WHERE outcome = 'done' AND measured ? 'dead_after'") == 2
    )


def new(database: Database) -> bool:
    return bool(database.value("SELECT current_setting('server_version_num')::int >= 180000"))


def test_what_autovacuum_waits_for_is_what_the_table_says(database: Database) -> None:
    make(database, "big", rows=60_000, dead=6_000)
    make(database, "strict", rows=60_000, dead=2_000, more="WITH (autovacuum_vacuum_scale_factor = 0.02)")
    make(database, "capped", rows=60_000, dead=1_500, more="WITH (autovacuum_vacuum_max_threshold = 1000)")
    make(database, "off", rows=60_000, dead=7_000, more="WITH (autovacuum_enabled = false)")
    write(database, "ANALYZE")
    planned = run(database, check=True, include=["*"])
    found = {one["target"]: (one["outcome"], one["numbers"]["dead_threshold"]) for one in planned["actions"]}
    assert found == {
        "public.big": ("planned", 5426),  # half of 50 + 0.2 * 54 000, and more than that
        "public.strict": ("planned", 1000),  # half of 50 + 0.02 * 58 000 is less than the floor
        "public.capped": ("planned", 1000),
        "public.off": ("planned", 5326),
    }
    wide = run(
        database,
        check=True,
        include=["*"],
        threshold_factor=1,
        overrides=[{"match": "public.c*", "min_dead_rows": 2000}],
    )
    assert wide["totals"] == {"planned": 1, "unchanged": 3}
    assert wide["actions"][0]["target"] == "public.strict"


def test_inserted_rows(database: Database) -> None:
    """Of rows that are only added nobody speaks until the table was vacuumed once; then what autovacuum waits for counts."""
    make(database, "log", rows=20_000)
    assert only(run(database, "log"))["outcome"] == "unchanged"
    forced = only(run(database, "log", loaded=True))
    assert (forced["outcome"], forced["reason"]) == (
        "done",
        f"20{THIN}000 rows inserted since the last vacuum (threshold 1{THIN}000)",
    )
    write(database, "INSERT INTO log SELECT i FROM generate_series(20001, 21100) AS i")
    frozen = database.value("SELECT relallfrozen::float / relpages FROM pg_class WHERE relname = 'log'")
    due = only(run(database, "log", threshold_factor=0.1))
    assert (due["outcome"], due["numbers"]["inserted"]) == ("done", 1100)
    assert due["numbers"]["inserted_threshold"] == max(1000, int(0.1 * (1000 + 0.2 * 20_000 * (1 - frozen))) + 1)
    assert only(run(database, "log", loaded=True))["outcome"] == "unchanged"


def test_the_most_urgent_first(database: Database) -> None:
    for name, rows, dead in (("a", 30_000, 4_000), ("b", 9_000, 6_000), ("c", 9_000, 0), ("d", 60_000, 30_000)):
        make(database, name, rows, dead)
    result = run(database, "c", "a", "b", "d", check=True)
    assert [one["target"] for one in result["actions"]] == ["public.d", "public.b", "public.a", "public.c"]
    together = run(database, "c", "a", "b", "d", check=True, jobs=2)
    assert [one["target"] for one in together["actions"][:3]] == ["public.d", "public.a", "public.b"], (
        "the biggest first"
    )


def test_toast_is_judged_with_its_table_and_by_its_own_options(database: Database) -> None:
    database.sql("CREATE TABLE wide (id int, note text) WITH (toast.autovacuum_vacuum_scale_factor = 0.01)")
    database.sql("ALTER TABLE wide ALTER note SET STORAGE EXTERNAL; CREATE UNLOGGED TABLE light (id int)")
    write(database, "INSERT INTO wide SELECT i, repeat('x', 8000) FROM generate_series(1, 4000) AS i")
    write(database, "INSERT INTO light SELECT generate_series(1, 5000)", "DELETE FROM light WHERE id < 3000")
    write(database, "DELETE FROM wide WHERE id <= 400")
    first = run(database, "wide", "light")
    assert told(first) == [
        ("public.wide", "done", f"its TOAST table has 2{THIN}000 dead rows (threshold 1{THIN}000)"),
        ("public.light", "done", f"2{THIN}999 dead rows (threshold 1{THIN}000)"),
    ]
    numbers = first["actions"][0]["numbers"]
    assert (numbers["toast_dead"], numbers["toast_dead_after"]) == (2000, 0)
    write(database, "DELETE FROM wide WHERE id <= 800")
    assert only(run(database, "wide", process_toast=False))["outcome"] == "unchanged"
    inherited = (
        "ALTER TABLE wide RESET (toast.autovacuum_vacuum_scale_factor), SET (autovacuum_vacuum_threshold = 100000)"
    )
    write(database, inherited)
    assert only(run(database, "wide"))["outcome"] == "unchanged", "without options of its own it has those of its table"


def test_partitions_children_and_views(either: Database) -> None:
    write(
        either,
        "CREATE TABLE p (id int, note text) PARTITION BY RANGE (id); CREATE TABLE q (id int) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (2000)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (2000) TO (4000) PARTITION BY RANGE (id)",
        "CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (2000) TO (4000)",
        "INSERT INTO p SELECT generate_series(0, 3999)",
        "DELETE FROM p",
        "CREATE TABLE base (id int); CREATE TABLE child () INHERITS (base)",
        "INSERT INTO base SELECT generate_series(1, 3000); INSERT INTO child SELECT generate_series(1, 3000)",
        "DELETE FROM base",
        "CREATE MATERIALIZED VIEW m AS SELECT generate_series(1, 3000) AS id; CREATE UNIQUE INDEX ON m (id)",
    )
    names = ["p", "public.p", "p1", "q", "base", "m"]
    result = run(either, *names)
    assert sorted(one[:2] for one in told(result)) == [
        ("public.base", "done"), ("public.m", "unchanged"), ("public.p1", "done"), ("public.p2a", "done"),
        ("public.q", "unchanged"),
    ]  # fmt: skip
    assert ("public.q", "unchanged", "has no partitions") in told(result)
    assert not any(
        "ANALYZE" in text for one in result["actions"] for text in one["statements"] if "public.p" in text
    ), "what has changed in a partition is for analyze to see, by the whole"
    (parent,) = [one["statements"][0] for one in result["actions"] if one["target"] == "public.base"]
    assert (") ONLY public.base" in parent) == new(either)
    assert either.value("SELECT last_vacuum IS NULL FROM pg_stat_all_tables WHERE relname = 'child'"), (
        "children are their own"
    )
    assert set(run(either, *names)["totals"]) == {"unchanged"}
    assert only(run(either, "child"))["outcome"] == "done"


def test_a_tree_of_500_partitions(database: Database) -> None:
    make_tree = """
        DO $$BEGIN FOR n IN 0 .. 499 LOOP
            EXECUTE format('CREATE TABLE leaf_%s PARTITION OF tree FOR VALUES FROM (%s) TO (%s)', n, n * 10, n * 10 + 10);
        END LOOP; END$$"""
    write(
        database, "CREATE TABLE tree (id int) PARTITION BY RANGE (id)", make_tree,
        "INSERT INTO tree SELECT generate_series(0, 4999)", "DELETE FROM tree WHERE id % 10 < 8",
    )  # fmt: skip
    result = run(database, "tree", min_dead_rows=5, threshold_factor=0)
    assert result["totals"] == {"done": 500}
    assert all(one["rows"] == 8 for one in result["actions"])
    assert run(database, "tree", min_dead_rows=5, threshold_factor=0)["totals"] == {"unchanged": 500}


@pytest.mark.parametrize(
    "name", ["Upper", "with space", 'quo"ted', "100%", "{braces}", "người_dùng", "'; DROP TABLE t; --"]
)
def test_every_name_works(database: Database, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.sql(f"CREATE SCHEMA {quoted}")
    make(database, f"{quoted}.{quoted}", rows=2000, dead=1500)
    option = f"{quoted}.{quoted}" if '"' in name else f"{name}.{name}"
    action = only(run(database, option))
    assert action["outcome"] == "done"
    assert only(run(database, action["target"]))["outcome"] == "unchanged"


def test_how_it_is_done(database: Database, postgres15: Server) -> None:
    """The options of the statement by version; what a server does not have is refused before anything is sent."""
    make(database, dead=5000)
    how: dict[str, Any] = {"freeze": True, "analyze": "never", "truncate": True, "index_cleanup": "on"}
    how.update({"process_toast": False, "parallel": 3, "buffer_usage_limit": 2 * 1024**2})
    done = only(run(database, "t", **how))
    assert (done["outcome"], done["statements"]) == ("done", [
        "VACUUM (SKIP_LOCKED, VERBOSE, TRUNCATE TRUE, FREEZE, INDEX_CLEANUP ON, PROCESS_TOAST FALSE, PARALLEL 3, "
        "BUFFER_USAGE_LIMIT 2048) public.t"])  # fmt: skip
    assert done["numbers"]["frozen_share_after"] == 1.0
    older = postgres15.create_database()
    try:
        make(older, dead=5000)
        refused = run(older, "t", **how)
        assert refused["status"] == "failed"
        assert (
            "buffer_usage_limit: PostgreSQL before 16 has no BUFFER_USAGE_LIMIT of VACUUM; leave it out"
            in refused["msg"]
        )
        how.pop("buffer_usage_limit")
        assert only(run(older, "t", **how))["outcome"] == "done"
        assert only(run(older, "t", **how))["outcome"] == "unchanged", "what was frozen stays frozen"
    finally:
        older.close()


def test_a_gentle_pace_is_autovacuums_and_ends_with_the_statement(database: Database) -> None:
    make(
        database,
        rows=3000,
        dead=2000,
        more="WITH (autovacuum_vacuum_cost_delay = 7, autovacuum_vacuum_cost_limit = 900)",
    )
    with opened(database) as session:
        (action,) = decided(session, "t", pace="gentle")
        assert action.payload.settings == {"vacuum_cost_delay": "7", "vacuum_cost_limit": "900"}
        assert executed(session, action).status == "done"
        shown = session.row(
            "SELECT current_setting('vacuum_cost_delay') AS d, current_setting('vacuum_cost_limit') AS l"
        )
        assert shown == {"d": "0", "l": "200"}
        session.execute(FRESH)


def test_freezing_on_demand(database: Database) -> None:
    """Also what was only loaded; and once."""
    make(database)
    frozen = "SELECT relfrozenxid::text FROM pg_class WHERE relname = 't'"
    before = database.value(frozen)
    assert told(run(database, "t", freeze=True))[0][1:] == ("done", "its rows are to be frozen")
    # Ids are the server's: how old they are is not ours to say.
    assert int(database.value(frozen)) > int(before)
    assert only(run(database, "t", freeze=True))["outcome"] == "unchanged"
    write(database, "INSERT INTO t SELECT i FROM generate_series(10001, 10500) AS i")
    assert only(run(database, "t", freeze=True))["outcome"] == "unchanged", "too few to be worth it"
    write(database, "CREATE TABLE empty (id int)")
    assert only(run(database, "empty", freeze=True))["outcome"] == "unchanged"


def test_the_thresholds_are_documented() -> None:
    """Default and unit of each, in a table of docs/operations.md."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Vacuum\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| (\w[\w ]*) \|", section, re.MULTILINE)
    assert {name: float(default) for name, default, _unit in table} == {
        name: how["default"] for name, how in THRESHOLDS.items()
    }


def test_check_mode_foretells_what_a_plan_does(database: Database) -> None:
    """What a purge before it leaves is dead by then; what it analyzes needs no analyze after it."""
    make(database)
    write(database, "ALTER TABLE t ADD at timestamptz DEFAULT '2000-01-01'; CREATE INDEX ON t (at)")
    write(database, "UPDATE t SET at = 'infinity' WHERE id > 3000")
    write(database, "VACUUM ANALYZE t")
    steps = [
        {"purge": {"table": "t", "column": "at"}}, {"vacuum": {"tables": ["t"], "pace": "fast"}}, {"analyze": {"tables": ["t"]}},
    ]  # fmt: skip
    planned, done = (perform("run", database.dsn, check=check, plan="weekly", steps=steps) for check in (True, False))
    told_twice = [
        [(one["operation"], one["reason"], one["rows"]) for one in result["actions"][:2]] for result in (planned, done)
    ]
    assert told_twice[0] == told_twice[1]
    assert told_twice[0][1] == ("vacuum", f"3{THIN}000 dead rows (threshold 1{THIN}026)", 3000)
    assert [one["outcome"] for one in planned["actions"]] == ["planned", "planned", "unchanged"]
    assert [one["outcome"] for one in done["actions"]] == ["done", "done", "unchanged"]
