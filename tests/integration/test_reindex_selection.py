# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which indexes reindex is about, and with which rights: names, patterns, partitions, TOAST tables, views, pending lists."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import psycopg2
import pytest

from tests.runs import perform
from tests.servers import Database

ALL: dict[str, Any] = {"min_size": 0, "min_gain": 0}
SCHEMA = """
CREATE SCHEMA app; CREATE SCHEMA "Odd.schema";
CREATE TABLE app.parts (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE app.part_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (v);
CREATE TABLE app.part_1a PARTITION OF app.part_1 FOR VALUES FROM (0) TO (100);
CREATE TABLE app.part_2 PARTITION OF app.parts FOR VALUES FROM (100) TO (200);
CREATE INDEX parts_v ON app.parts (v);
CREATE INDEX parts_only ON ONLY app.parts (id);
CREATE TABLE app.plain (id int PRIMARY KEY, v int, during int4range, EXCLUDE USING gist (during WITH &&));
CREATE INDEX plain_v ON app.plain (v);
CREATE TABLE "Odd.schema"."a*b" (v int); CREATE INDEX "I.""x" ON "Odd.schema"."a*b" (v);
CREATE VIEW app.view AS SELECT 1 AS one; CREATE MATERIALIZED VIEW app.made AS SELECT 1 AS one;
CREATE UNIQUE INDEX made_one ON app.made (one);
"""
BROKEN = (
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (SELECT oid FROM pg_class WHERE relname = ANY (%s))"
)


@pytest.fixture
def database(database: Database) -> Database:
    database.sql(SCHEMA)
    return database


def reindex(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    return perform("reindex", database.dsn_as(user), check=check, **{**ALL, **options})


def told(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["target"]: (one["outcome"], one["reason"]) for one in result["actions"]}


def broken(database: Database, *names: str) -> None:
    """Not valid, as after a build that failed: a reason to rebuild whatever the size."""
    database.sql(BROKEN, [list(names)])


PLAIN = {"app.plain_pkey", "app.plain_v", "app.plain_during_excl"}
PARTS = {"app.part_1a_v_idx", "app.part_2_v_idx"}


CHOSEN: list[tuple[dict[str, Any], set[str], int]] = [
    ({"tables": ["app.plain"]}, PLAIN, 0),
    ({"tables": ["app.parts"]}, PARTS, 0),
    ({"tables": ["app.part_1"]}, {"app.part_1a_v_idx"}, 0),
    ({"indexes": ["app.parts_v"]}, PARTS, 0),
    ({"indexes": ["app.part_2_v_idx", "app.plain_v"], "tables": ["app.plain"]}, {*PLAIN, "app.part_2_v_idx"}, 0),
    ({"indexes": ["app.parts_only"]}, set(), 0),
    ({"include": ["app.parts"]}, PARTS, 0),
    ({"include": ["app.part_1*"]}, {"app.part_1a_v_idx"}, 0),
    (
        {"include": ["app.*"], "exclude": ["app.parts", "app.*_pkey"]},
        PLAIN - {"app.plain_pkey"} | {"app.made_one"},
        0,
    ),
    ({"include": ["*.plain_v"]}, {"app.plain_v"}, 0),
    ({"include": ["app.plain"], "exclude": ["*.plain_v"]}, PLAIN - {"app.plain_v"}, 0),
    ({"include": ["Odd.schema.a[*]b"]}, {'"Odd.schema"."I.""x"'}, 0),
    ({"include": ['*.I."x', "nothing.*"]}, {'"Odd.schema"."I.""x"'}, 1),
    ({"tables": ['"Odd.schema"."a*b"'], "indexes": ['"Odd.schema"."I.""x"']}, {'"Odd.schema"."I.""x"'}, 0),
    ({"include": ["*"], "exclude": ["app.*", "Odd*"]}, set(), 1),
]


def test_what_is_chosen(database: Database) -> None:
    for given, targets, warnings in CHOSEN:
        result = reindex(database, check=True, **given)
        assert {one["target"] for one in result["actions"] if "pg_toast" not in one["target"]} == targets, given
        assert (result["status"], len(result["warnings"])) == ("ok", warnings), given


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (
        {"tables": ["app.plane"]},
        "app.plane",
        "there is no table plane in schema app of database .*; did you mean app.plain",
    ),
    (
        {"indexes": ["app.plane_v"]},
        "app.plane_v",
        "there is no index plane_v in schema app of database .* did you mean app.plain_v",
    ),
    ({"tables": ["app.view"]}, "app.view", "app.view is a view, not a table"),
    ({"tables": ["app.plain_v"]}, "app.plain_v", "app.plain_v is a index, not a table: name it in indexes"),
    ({"indexes": ["app.plain"]}, "app.plain", "app.plain is a table, not a index: name it in tables"),
    ({"tables": ["pg_catalog.pg_class"]}, "pg_catalog.pg_class", "it belongs to the server itself"),
    (
        {"indexes": ["pg_catalog.pg_class_oid_index"]},
        "pg_catalog.pg_class_oid_index",
        "it belongs to the server itself",
    ),
]


def test_names_that_mean_nothing(database: Database) -> None:
    for given, target, reason in WRONG:
        result = reindex(database, **given)
        (action,) = result["actions"]
        assert (result["status"], action["outcome"], action["target"]) == ("failed", "failed", target)
        assert re.match(reason, action["reason"]), action["reason"]


def test_partitions_one_by_one_and_never_what_is_to_be_completed_by_hand(database: Database) -> None:
    broken(database, "part_1a_v_idx", "part_2_v_idx", "plain_during_excl", "made_one")
    result = reindex(database, include=["*"])
    assert {target for target, (outcome, _why) in told(result).items() if outcome == "done"} == {*PARTS, "app.made_one"}
    assert "exclusion constraint" in told(result)["app.plain_during_excl"][1]
    invalid = database.sql("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")
    assert invalid == [("app.parts_only",), ("app.plain_during_excl",)]
    attached = database.value(
        "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('app.parts_v'::regclass, 'app.part_1_v_idx'::regclass)"
    )
    assert attached == 3


def test_temporary_tables(database: Database) -> None:
    with contextlib.closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE t (v int); CREATE INDEX temporary ON t (v); SELECT pg_my_temp_schema()::regnamespace::text"
        )
        ((schema,),) = cursor.fetchall()
        assert "temporary" not in str(told(reindex(database, include=["*"])))
        (action,) = reindex(database, indexes=[f"{schema}.temporary"])["actions"]
        assert (action["outcome"], action["reason"][:15]) == ("failed", "it is temporary")


def toast(database: Database) -> str:
    """A table with an index of its TOAST table that is bloated."""
    database.sql("CREATE TABLE app.large (id int, v text); ALTER TABLE app.large ALTER v SET STORAGE EXTERNAL")
    database.sql("INSERT INTO app.large SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 4000) AS i")
    for statement in (
        "DELETE FROM app.large WHERE id % 10 <> 0",
        "SELECT pg_stat_force_next_flush()",
        "VACUUM app.large",
    ):
        database.sql(statement)
    index = """SELECT i.indexrelid::regclass FROM pg_index AS i JOIN pg_class AS c ON c.reltoastrelid = i.indrelid
               WHERE c.oid = 'app.large'::regclass"""
    return str(database.value(index))


def test_indexes_of_toast_tables(database: Database) -> None:
    index = toast(database)
    size = "SELECT pg_relation_size(%s::regclass)"
    before = database.value(size, [index])
    result = reindex(database, tables=["app.large"])
    assert told(result)[index][0] == "done", "nobody inserts into it with ON CONFLICT, unique as it is"
    assert result["actions"][0]["numbers"]["method"] == "estimate"
    assert database.value(size, [index]) < before / 2
    assert reindex(database, tables=["app.large"])["changed"] is False
    role = database.role()
    database.sql(f"ALTER TABLE app.large OWNER TO {role}; GRANT USAGE ON SCHEMA app TO {role}")
    result = reindex(database, user=role, tables=["app.large"], history=False)
    assert (result["status"], told(result)) == ("ok", {})
    assert "GRANT USAGE ON SCHEMA pg_toast" in str(result["warnings"])


def test_pending_lists_are_flushed(database: Database) -> None:
    database.sql("CREATE EXTENSION pgstattuple; CREATE TABLE app.doc (id int, tags int[])")
    database.sql("CREATE INDEX doc_tags ON app.doc USING gin (tags) WITH (gin_pending_list_limit = 256)")
    database.sql("CREATE INDEX doc_direct ON app.doc USING gin (tags) WITH (fastupdate = off)")
    pending = "SELECT pending_pages FROM pgstatginindex('app.doc_tags')"
    database.sql("INSERT INTO app.doc SELECT i, ARRAY[i, i + 1] FROM generate_series(1, 1000) AS i")
    assert database.value(pending) > 4
    few = reindex(database, tables=["app.doc"], pending_list=0.9)
    assert set(few["totals"]) == {"unchanged"}
    assert database.value(pending) > 4
    role = database.role()
    database.sql(
        f"GRANT MAINTAIN ON app.doc TO {role}; GRANT pg_monitor TO {role}; GRANT USAGE ON SCHEMA app TO {role}"
    )
    refused = told(reindex(database, user=role, tables=["app.doc"], pending_list=0.1, history=False))
    assert refused["app.doc_tags"][0] == "skipped"
    assert f"GRANT postgres TO {role}" in refused["app.doc_tags"][1]
    planned = reindex(database, check=True, tables=["app.doc"], pending_list=0.1)["actions"][0]
    assert planned["statements"] == ["SELECT gin_clean_pending_list('app.doc_tags')"]
    result = reindex(database, tables=["app.doc"], pending_list=0.1)
    assert told(result)["app.doc_tags"][0] == "done"
    assert result["actions"][0]["numbers"]["flushed_bytes"] > 4 * 8192
    assert database.value(pending) == 0
    assert reindex(database, tables=["app.doc"], pending_list=0.1)["changed"] is False


def test_rights(database: Database) -> None:
    broken(database, "plain_v", "made_one", "part_2_v_idx")
    role = database.role()
    (named,) = reindex(database, check=True, user=role, indexes=["app.plain_v"], history=False)["actions"]
    assert named["reason"] == f"role {role} may not use schema app: GRANT USAGE ON SCHEMA app TO {role}"
    database.sql(f"GRANT USAGE ON SCHEMA app TO {role}")
    (named,) = reindex(database, check=True, user=role, indexes=["app.plain_v"], history=False)["actions"]
    assert named["reason"] == f"role {role} may not rebuild it: GRANT MAINTAIN ON TABLE app.plain TO {role}"
    database.sql(f"GRANT MAINTAIN ON app.plain TO {role}")
    result = reindex(database, user=role, include=["app.*"], history=False)
    assert told(result)["app.plain_v"][0] == "done"
    assert result["status"] == "ok"
    warning, of_toast = result["warnings"]
    assert "GRANT USAGE ON SCHEMA pg_toast" in of_toast
    assert "3 tables that role" in warning
    assert f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA app TO {role}" in warning


def test_what_is_left_and_may_not_be_dropped_is_not_made_more(database: Database) -> None:
    with contextlib.closing(psycopg2.connect(database.dsn)) as writer, writer.cursor() as writing:
        writing.execute("INSERT INTO app.plain VALUES (1)")
        with contextlib.closing(database.connect()) as other, other.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute("REINDEX INDEX CONCURRENTLY app.plain_v")
        writer.rollback()  # a server notices some time later that a connection is closed
    broken(database, "plain_v")
    role = database.role()
    database.sql(f"GRANT USAGE ON SCHEMA app TO {role}; GRANT MAINTAIN ON app.plain TO {role}")
    result = reindex(database, user=role, tables=["app.plain"], history=False)
    assert (result["status"], result["changed"]) == ("ok", False)
    found = told(result)
    assert (
        "only its owner may drop it: DROP INDEX CONCURRENTLY app.plain_v_ccnew as postgres"
        in found["app.plain_v_ccnew"][1]
    )
    assert "has to go first: DROP INDEX CONCURRENTLY app.plain_v_ccnew as postgres" in found["app.plain_v"][1]
    result = reindex(database, tables=["app.plain"])
    assert [(one["target"], one["outcome"]) for one in result["actions"][:2]] == [
        ("app.plain_v_ccnew", "done"),
        ("app.plain_v", "done"),
    ]
    assert (
        database.value("SELECT count(*) FROM pg_index WHERE indrelid = 'app.plain'::regclass AND NOT indisvalid") == 0
    )
