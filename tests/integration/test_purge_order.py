# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What purge decides by, and what it tells: facts, whatever the statistics are and whatever the role may see."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from psycopg2.extras import RealDictCursor

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import space
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.pace import OTHERS_WORK, Pace
from tests.runs import only, perform
from tests.servers import Database, Server

# Rows of 1 kB, seven a page: 8 000 of them are more than 8 MB.
TABLE = "CREATE TABLE {name} (id int PRIMARY KEY, at timestamptz, filler char(1000) DEFAULT '')"
PARTS = [
    "CREATE TABLE {name} (id int, at timestamptz, filler char(1000) DEFAULT '') PARTITION BY HASH (id)",
    *(f"CREATE TABLE {{name}}_{n} PARTITION OF {{name}} FOR VALUES WITH (MODULUS 20, REMAINDER {n})" for n in range(20)),
]  # fmt: skip
ROWS = (
    "INSERT INTO {name} SELECT n, now() + CASE WHEN n % 100 < {share} THEN '-1 day' ELSE '1 day' END::interval "
    "FROM generate_series(1, 8000) AS n"
)
INDEX = "CREATE INDEX ON {name} (at)"
ANALYZE = "ANALYZE {name}"
LATER = "UPDATE {name} SET at = at + interval '3 days' WHERE id % 100 > 0"
# What was done to a table, and whether half of its rows have expired at the end, or one in a hundred.
HISTORIES = {
    "just loaded": ([TABLE, ROWS], 50),
    "just loaded, few": ([TABLE, ROWS], 1),
    "analyzed": ([TABLE, ROWS, ANALYZE], 50),
    "analyzed while it was empty": ([TABLE, ANALYZE, "VACUUM {name}", ROWS], 50),
    "analyzed while it was empty, few": ([TABLE, ANALYZE, "VACUUM {name}", ROWS], 1),
    "analyzed before the rows got new times": ([TABLE, ROWS, ANALYZE, LATER], 50),
    "many parts": ([*PARTS, ROWS], 50),
    "many parts, few": ([*PARTS, ROWS], 1),
}  # fmt: skip


def purge(database: Database, check: bool = False, dsn: str = "", **options: Any) -> dict[str, Any]:
    return perform("purge", dsn or database.dsn, check, **{"table": "t", "column": "at", "history": False, **options})


def expired(database: Database, name: str) -> int:
    return int(database.value(f"SELECT count(*) FROM {name} WHERE at < now()"))


def test_the_order_is_right_whatever_the_statistics_say(database: Database) -> None:
    """With an index and without; check mode says the same. Many rows go page by page, few by the index, or are refused."""
    for number, (history, (statements, share)) in enumerate(HISTORIES.items()):
        for index in ("", INDEX):
            name = f"t{number}{'i' if index else ''}"
            for statement in [*statements, *filter(None, [index])]:
                database.sql(statement.format(name=name, share=share))
            before = expired(database, name)
            many = before > 1000
            planned, done = only(purge(database, True, table=name)), only(purge(database, table=name))
            case = (history, index, planned, done)
            if not many and not index:
                assert [one["outcome"] for one in (planned, done)] == ["failed", "failed"], case
                assert "CREATE INDEX CONCURRENTLY" in done["reason"], case
                continue
            assert [one["outcome"] for one in (planned, done)] == ["planned", "done"], case
            assert done["rows"] == before, case
            assert expired(database, name) == 0, case
            way = "page by page: about " if many else "by an index: few rows have expired"
            assert all(one["numbers"]["order"].startswith(way) for one in (planned, done)), case
            if "estimated_rows" in done["numbers"]:
                assert 0.5 * before < done["numbers"]["estimated_rows"] < 2 * before or not many, case


def test_a_server_of_another_version_decides_the_same(postgres15: Server) -> None:
    database = postgres15.create_database()
    try:
        for name, share, outcome in (("many", 50, "done"), ("few", 1, "failed")):
            for statement in (TABLE, ROWS):
                database.sql(statement.format(name=name, share=share))
            assert only(purge(database, table=name))["outcome"] == outcome
    finally:
        database.close()


def test_what_is_told_of_the_order_is_true_of_tables_without_an_index(database: Database) -> None:
    for statement in (TABLE, ROWS):
        database.sql(statement.format(name="t", share=50))
    for options in ({"order": "index"}, {"max_rows": 5}):
        refused = only(purge(database, **options))
        assert refused["outcome"] == "failed"
        assert "no index serves at, each batch would read the whole table: CREATE INDEX CONC" in refused["reason"]
        assert "few rows" not in refused["reason"]
    database.sql("TRUNCATE t; INSERT INTO t VALUES (1, now())")
    for options in ({"order": "index"}, {}):
        assert only(purge(database, True, **options))["numbers"]["order"].startswith("the oldest first: ")


@pytest.mark.parametrize(
    ("divided", "index", "where", "outcome"),
    [
        (False, "USING brin (at)", "id IN (SELECT id FROM other)", "done"),
        (False, "(at) WHERE id > 0", "id > 0 AND EXISTS (SELECT FROM other WHERE other.id = t.id)", "done"),
        (True, "(at) WHERE id > 0", "id > 0 AND EXISTS (SELECT FROM other WHERE other.id = t.id)", "done"),
        (False, "USING hash (at)", "id > 0", "failed"),
        (True, "USING hash (at)", "id > 0", "failed"),
    ],
)
def test_an_index_serves_whatever_a_condition_reads_of_other_tables(
    database: Database, divided: bool, index: str, where: str, outcome: str
) -> None:
    for statement in [*(PARTS if divided else [TABLE]), ROWS.replace("n % 100 < {share}", "n <= 20")]:
        database.sql(statement.format(name="t", share=0))
    database.sql(
        f"CREATE TABLE other AS SELECT n AS id FROM generate_series(1, 10) AS n; CREATE INDEX ON t {index}; ANALYZE"
    )
    for check in (True, False):
        found = only(purge(database, check, where=where))
        assert found["outcome"] == ("planned" if check and outcome == "done" else outcome), found
    assert database.value("SELECT count(*) FROM t") == (7990 if outcome == "done" else 8000)


def test_the_space_that_a_purge_leaves(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the rows that there were, also where nobody has counted them before; nothing where it is little."""
    monkeypatch.setattr(space, "LARGE_BYTES", 1024 * 1024)
    for number, statistics in enumerate((None, "ANALYZE {name}")):
        for share in (100, 50, 10):
            name = f"t{number}{share}"
            for statement in filter(None, (TABLE, ROWS, statistics)):
                database.sql(statement.format(name=name, share=share))
            result = purge(database, table=name, order="heap")
            found = [finding for finding in result["findings"] if finding["check"] == "purged-space"]
            assert len(found) == (share > 20), (name, result)
            if found:
                assert found[0]["evidence"]["share"] == pytest.approx(share / 100, abs=0.15), found
                assert found[0]["value"] == pytest.approx(found[0]["evidence"]["table_bytes"] * share / 100, rel=0.3)


def test_a_role_that_may_not_see_what_others_do_makes_way_until_it_knows(database: Database) -> None:
    """It sees that somebody is there; whether they work it learns later, from how many transactions end."""
    role, somebody = database.role("maintainer"), database.role("somebody")
    with (
        closing(database.connect(somebody)),
        closing(database.connect(role, application_name="maintenance")) as connection,
        connection.cursor(cursor_factory=RealDictCursor) as cursor,
    ):
        pace = Pace(None, 0.25)
        cursor.execute(f"SELECT {pace.look(0.0)}")
        seen = cursor.fetchone()
        pace.heed(seen, 0.01, 0.01, 1)
    assert (seen["active"], seen["recent"]) == (0, 0)
    assert seen["hidden"] > 0
    assert pace.cause == OTHERS_WORK


def test_what_the_server_refuses_names_the_option_before_anything_is_touched(database: Database) -> None:
    database.sql("CREATE TABLE t (at timestamptz, zoneless timestamp, written text, life interval)")
    database.sql("INSERT INTO t SELECT '2000-01-01', '2000-01-01', '2000-01-01', '1 day' FROM generate_series(1, 3)")
    database.sql("CREATE TABLE other (x int)")
    role = database.role()
    database.sql(f"GRANT SELECT, UPDATE, DELETE ON t TO {role}")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("where: ", {"where": "1 / 0 = 1"}),
        ("where: ", {"where": "nothing = 1"}),
        ("where: ", {"where": "17"}),
        ("where: ", {"where": "at IN (SELECT x FROM other)"}),
        ("where: ", {"where": "at = ANY (SELECT at FROM nowhere)"}),
        ("where: ", {"where": "count(*) > 1"}),
        ("where: ", {"column": None, "conditions": [{"column": "at"}, {"column": "at", "where": "f(at)"}]}),
        ("where: permission denied for table other", {"where": "EXISTS (SELECT FROM other)"}),
        ("timezone: ", {"column": "zoneless", "timezone": "Mars/Phobos"}),
        ("timezone: ", {"column": "zoneless", "timezone": "Mars/Phobos", "where": "true"}),
        ("timezone: ", {"column": "written", "format": "iso", "timezone": "Mars/Phobos"}),
        ("timezone: ", {"column": "at", "ttl_column": "life", "timezone": "Mars/Phobos"}),
    ]
    for told, options in wrong:
        for check in (True, False):
            failed = only(purge(database, check, dsn=database.dsn_as(role), **options))
            assert (failed["outcome"], failed["target"]) == ("failed", "public.t"), (options, failed)
            assert failed["reason"].startswith(told), (options, failed)
    assert database.value("SELECT count(*) FROM t") == 3


def test_rows_that_are_left_are_told_with_their_reason(database: Database) -> None:
    """No trigger is blamed where there is none; more than a thousand are not counted, and no exact number is claimed."""
    for statement in (TABLE, ROWS, INDEX):
        database.sql(statement.format(name="t", share=50))
    stopped = only(purge(database, max_rows=10))
    assert stopped["reason"].endswith("; stopped at max_rows, 1000+ rows left")
    assert only(purge(database, max_rows=3000))["reason"].endswith("; stopped at max_rows, 990 rows left")
    assert only(purge(database, max_rows=990))["reason"].endswith("; stopped at max_rows")
    database.sql("UPDATE t SET at = '2000-01-01' WHERE id IN (60, 61)")
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM t WHERE id = 60 FOR UPDATE")
        reason = only(purge(database))["reason"]
        locker = f"session {holder.info.backend_pid} (postgres, idle in transaction)"
        assert reason.endswith(f"; 1 row left, locked by others ({locker})")
