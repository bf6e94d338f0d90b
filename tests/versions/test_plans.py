# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans on every supported major release, with all rights and with few: check mode foretells, a second run does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import READING
from tests.archives import restore
from tests.indexes import OBJECTS, dropped_and_made_again
from tests.partitions import before, month, named, partition, parts
from tests.runs import only, perform, until
from tests.servers import Database, Server
from tests.vtchat import plans, provision

OWNERS = """
SELECT format('ALTER TABLE %%s OWNER TO %%I', oid::regclass, %s) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')
"""
REINDEX = [{"reindex": {"include": ["*"], "min_size": "512k", "unique": True}}]
FEW_RIGHTS = ("NOSUPERUSER", "NOCREATEDB", "NOCREATEROLE")
# Each has two indexes that are almost empty when four fifths of the rows are gone.
TABLES = """
CREATE SCHEMA IF NOT EXISTS app;
CREATE TABLE app.{name} (id int PRIMARY KEY, k int, at timestamptz NOT NULL DEFAULT now());
INSERT INTO app.{name} (id, k) SELECT n, n * 7919 % 60013 FROM generate_series(1, 60000) AS n;
CREATE INDEX {name}_k ON app.{name} (k);
"""


def acted(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Operation and target of what was executed or, in check mode, would be, in order."""
    return [(one["operation"], one["target"]) for one in result["actions"] if one["statements"]]


def settled(database: Database, table: str) -> None:
    """Wait until the statistics have the dead rows of a table: 14 is told of them by messages. No session of ours stays open."""
    dead = f"SELECT coalesce(pg_stat_get_dead_tuples('{table}'::regclass), 0) > 0"
    database.close_connection()
    until(lambda: database.value(dead))
    database.close_connection()


def twice(dsn: str, name: str, plan: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a plan after check mode has foretold it, and once more."""
    options = {"plan": name, "steps": plan["steps"], "budget": plan["budget"]}
    checked = perform("run", dsn, True, **options)
    first = perform("run", dsn, **options)
    second = perform("run", dsn, **options)
    for result in (checked, first, second):
        assert (result["status"], result.get("failed")) == ("ok", None), result["msg"]
    assert acted(checked) == acted(first), (checked["actions"], first["actions"])
    # PostgreSQL 14 may report changes too late to rely on: there, views are refreshed each time.
    old = first["server"]["version"].startswith("14.")
    again = [
        one for one in second["actions"] if one["outcome"] == "done" and not (old and one["operation"] == "refresh")
    ]
    assert again == []
    assert all(one["reason"] for one in second["actions"])
    return first, second


def test_vtchat_is_provisioned_and_its_plans_run_with_the_rights_of_their_maintainer(server: Server) -> None:
    database = server.create_database(server.vtchat_template())
    try:
        assert provision(database) == {"create", "keep"}
        assert provision(database) == {"keep"}
        owner = database.role("owner", attributes=FEW_RIGHTS)
        for (statement,) in database.sql(OWNERS, [owner]):
            database.sql(statement)
        database.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
        thorough: dict[str, Any] = {"include": ["*"], "heapallindexed": True}
        steps = [step for plan in plans().values() for step in plan["steps"]] + [{"amcheck": thorough}]
        name = database.role("maintainer", attributes=FEW_RIGHTS)
        for changed in (True, False):
            given = perform("maintainer", database.dsn, name=name, steps=steps)
            assert (given["status"], given["changed"]) == ("ok", changed), given["msg"]
        for plan in ("hourly", "weekly"):
            database.close_connection()
            first, _second = twice(database.dsn_as(name), plan, plans()[plan])
            assert first["changed"]
            assert first["run_id"]
            if plan == "hourly":  # it has left dead rows
                settled(database, "public.sessions")
        first, _second = twice(database.dsn_as(name), "integrity", {"steps": [{"amcheck": thorough}], "budget": 600})
        assert {one["outcome"] for one in first["actions"] if one["statements"]} == {"done"}
        assert first["totals"]["done"] > 10
        runs = [run for run in perform("history_info", database.dsn_as(name))["runs"] if run["plan"] != "integrity"]
        assert [run["plan"] for run in runs] == ["weekly", "weekly", "hourly", "hourly"]
    finally:
        database.close()


def test_as_the_owner_of_some_tables_without_pgstattuple_or_pg_monitor(database: Database) -> None:
    """Less is known, which is said, and nothing fails that need not."""
    name = database.role("owner", attributes=FEW_RIGHTS)
    for table in ("own", "others"):
        database.sql(TABLES.format(name=table))
        database.sql(f"VACUUM ANALYZE app.{table}")
        database.sql(f"DELETE FROM app.{table} WHERE id % 5 > 0")
    database.sql(f"ALTER TABLE app.own OWNER TO {name}; GRANT USAGE ON SCHEMA app TO {name}")
    settled(database, "app.own")
    weekly, reindex = plans("example")["weekly"], {"steps": REINDEX, "budget": 600}
    # What is left alone makes the database ill, and it would say so.
    weekly["steps"] = [step for step in weekly["steps"] if not step.keys() & READING]
    first, second = twice(database.dsn_as(name), "weekly", weekly)
    assert acted(first) == [("vacuum", "app.own")]
    assert {one["target"] for one in second["actions"]} == {"app.own"}
    left_out = [text for text in first["warnings"] if "may not maintain is left out, app.others: " in text]
    assert {"vacuum", "analyze"} <= {text.partition(":")[0] for text in left_out}
    assert "No history: role" in first["warnings"][-1]
    assert len(first["warnings"]) == len(left_out) + 1

    first, _second = twice(database.dsn_as(name), "reindex", reindex)
    assert acted(first) == [("reindex", "app.own_k"), ("reindex", "app.own_pkey")]
    assert {one["numbers"]["method"] for one in first["actions"]} == {"estimate"}

    # With all rights the rest is done, and measured.
    database.sql("CREATE EXTENSION pgstattuple")
    database.close_connection()
    first, _second = twice(database.dsn, "weekly", weekly)
    assert (acted(first), first["warnings"]) == ([("vacuum", "app.others")], [])
    first, _second = twice(database.dsn, "reindex", reindex)
    assert acted(first) == [("reindex", "app.others_k"), ("reindex", "app.others_pkey")]
    assert {one["numbers"]["method"] for one in first["actions"]} == {"exact"}
    assert all(one["numbers"]["won_bytes"] > 1_000_000 for one in first["actions"])


def test_partitions_go_and_come(database: Database) -> None:
    """With the rights that the maintainer gets, beside a foreign key, divided once more, and with CONCURRENTLY."""
    database.sql("CREATE TABLE t (at timestamptz, id int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)")
    for number in range(-4, 1):
        partition(database, named(number), month(number), month(number + 1), more="PARTITION BY HASH (id)")
        database.sql(
            f"CREATE TABLE {named(number)}_0 PARTITION OF {named(number)} FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
        )
    database.sql("CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t)")
    owner = database.role("owner", attributes=FEW_RIGHTS)
    for (statement,) in database.sql(OWNERS, [owner]):
        database.sql(statement)
    database.sql(f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}; ANALYZE t")
    purge = {
        "table": "t",
        "column": "at",
        "older_than": before(-2),
        "partitions": "drop",
        "premake": 2,
        "concurrently": "require",
    }
    name = database.role("maintainer", attributes=FEW_RIGHTS)
    for changed in (True, False):
        given = perform("maintainer", database.dsn, name=name, steps=[{"purge": purge}], exclusive=True)
        assert (given["status"], given["changed"]) == ("ok", changed), given["msg"]
    database.close_connection()
    first, _second = twice(database.dsn_as(name), "hourly", {"steps": [{"purge": purge}], "budget": 600})
    assert acted(first) == [("purge", f"public.{named(number)}") for number in (1, 2, -4, -3)]
    assert list(parts(database)) == [named(number) for number in range(-2, 3)]
    assert list(parts(database, named(2))) == [f"{named(2)}_0"]
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert database.sql(owners) == [(owner,)]


def test_indexes_are_dropped_and_made_again(database: Database) -> None:
    database.sql(OBJECTS)
    dropped_and_made_again(database)


def test_rows_that_are_kept_and_what_hangs_on_them(database: Database, tmp_path: Path) -> None:
    """What is published is refused; children go first, both are archived, and come back by the documented command."""
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t, x numeric);"
        "INSERT INTO t SELECT n, now() + (n - 20.5) * interval '1 day' FROM generate_series(1, 25) AS n;"
        "INSERT INTO c SELECT n, n % 25 + 1, n / 3.0 FROM generate_series(1, 3000) AS n"
    )
    rows = [database.sql(f"SELECT * FROM {name} ORDER BY id") for name in ("t", "c")]
    archive = {"archive": {"directory": str(tmp_path)}}
    options: dict[str, Any] = {"table": "t", "column": "at", "with": ["c"], "history": False, **archive}
    database.sql(
        "ALTER TABLE c REPLICA IDENTITY NOTHING; SET client_min_messages = error; CREATE PUBLICATION p FOR TABLE c"
    )
    refused = only(perform("purge", database.dsn, **options))
    assert "ALTER TABLE public.c REPLICA IDENTITY USING INDEX c_pkey" in refused["reason"]
    database.sql("ALTER TABLE c REPLICA IDENTITY USING INDEX c_pkey")
    done = only(perform("purge", database.dsn, **options))
    assert (done["outcome"], done["rows"], done["numbers"]["with"]) == ("done", 20, {"public.c": 2400}), done
    for name in ("t", "c"):
        restore(database, tmp_path / database.name / "public" / name)
    assert [database.sql(f"SELECT * FROM {name} ORDER BY id") for name in ("t", "c")] == rows
