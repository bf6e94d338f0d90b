# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expired rows that wait, of what plans purge: counted by the clocks of the purge, and unknown where that would cost much."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from psycopg2 import sql

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import clocks
from tests.health import look, of
from tests.retention import HELPERS
from tests.runs import holding, only, perform
from tests.servers import Database

ONE: dict[str, Any] = {"checks": ["expired-rows"], "thresholds": {"expired-rows": {"warning": 1}}}


def waiting(database: Database, *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What is found of a plan with these steps purge."""
    return of(look(database, plans={"p": {"purge": list(steps)}}, **ONE), "expired-rows")


# Table with its rows and indexes; the step; and how many have expired, or why they are not counted.
CLOCKS: tuple[tuple[str, dict[str, Any], int | str], ...] = (
    ("at bigint; s(2), s(1), s(-1), 0, -5, NULL", {"epoch": "s"}, 2),
    ("at bigint; ms(3), ms(2), ms(-1), 0", {"epoch": "ms"}, 2),
    ("at bigint; ms(3), ms(2), ms(1)", {"epoch": "s"}, "as milliseconds it is"),
    ("at uuid; v7(2), v7(-1), gen_random_uuid()", {"format": "uuidv7"}, 1),
    ("at text COLLATE \"C\"; ago(1)::text, ago(-1)::text, '30 February', 'never'", {"format": "iso", "timezone": "UTC"}, 1),
    ("at timestamptz, ttl int; (ago(2), 90000), (ago(1), 3600), (ago(1), 0)", {"ttl_column": "ttl"}, 2),
    ("at timestamptz; NULL, ago(1), ago(-1)", {"null_means": "always"}, 2),
    ("at timestamptz, done bigint; (ago(1), 0), (ago(-1), ms(3)), (ago(-1), ms(1)), (NULL, NULL)",
     {"column": None, "conditions": [{"column": "at"}, {"column": "done", "epoch": "ms", "older_than": "2d"}]}, 2),
    ("at timestamptz; ago(1)", {"keep_referenced": True}, "rows to which others refer are to stay"),
    ("at timestamptz; ago(1)", {"partitions": "drop"}, "its partitions go as a whole"),
    ("at timestamptz; ago(1)", {"column": "att"}, "there is no column att"),
    ("at text; ago(1)::text", {}, "say what is in it with format"),
)  # fmt: skip


def test_expired_rows_by_every_clock(database: Database) -> None:
    """The same predicates as those of the step, and never a number that it would not come to; what is not counted is not well."""
    database.sql(HELPERS)
    for number, (made, _step, _expected) in enumerate(CLOCKS):
        columns, values = made.split("; ")
        rows = values if values.startswith("(") else ", ".join(f"({value})" for value in values.split(", "))
        database.sql(f"CREATE TABLE c{number} ({columns}); INSERT INTO c{number} VALUES {rows}; ANALYZE c{number}")
    steps = [{"table": f"c{number}", "column": "at", **step} for number, (_made, step, _expected) in enumerate(CLOCKS)]
    for step, (_made, _step, expected) in zip(steps, CLOCKS):
        (found,) = waiting(database, step)
        assert found["subject"] == f"public.{step['table']}"
        if isinstance(expected, str):
            assert (found["level"], found["value"]) == ("unknown", None)
            assert expected in found["message"]
            continue
        assert (found["level"], found["value"]) == ("warning", expected), step
        planned = only(perform("purge", database.dsn, check=True, history=False, **step))
        assert planned["numbers"]["rows"] == expected
    together = look(database, plans={"p": {"purge": [*steps, {"table": "c0", "column": "at", "premake": 3}]}}, **ONE)
    (unknown,) = [one for one in of(together, "expired-rows") if one["level"] == "unknown"]
    assert unknown["message"].endswith("so it is with 4 more")
    assert together["turns"] <= 5


def test_what_is_large_is_counted_by_an_index_only(database: Database) -> None:
    """Of each clock, the part of a table that is large, and text that sorts by another order than that of its column."""
    database.sql(HELPERS)
    database.sql("CREATE TABLE e (at bigint); CREATE TABLE x (at text, ttl int); CREATE TABLE child () INHERITS (e)")
    database.sql("INSERT INTO child VALUES (s(1)); INSERT INTO x VALUES (v7(1)::text, 1), (v7(-1)::text, 1); ANALYZE")
    steps = [
        {"table": "e", "column": "at", "epoch": "s"},
        {"table": "x", "column": "at", "format": "uuidv7"},
        {"table": "x", "column": "at", "format": "uuidv7", "ttl_column": "ttl"},
    ]
    says = []
    for index in ("e (at)", "child (at)", "x (at text_pattern_ops)", 'x (at COLLATE "C")'):
        database.sql(f"CREATE INDEX ON {index}; UPDATE pg_class SET relpages = 2000 WHERE relname IN ('child', 'x')")
        found = [waiting(database, step)[0] for step in steps]
        says.append([one["value"] for one in found])
    assert says == [[None, None, None], [1, None, None], [1, None, None], [1, 1, None]]
    assert found[2]["message"] == "no index can serve, with ttl_column, at: to count them would read the whole table"


def test_a_step_that_says_too_little_is_told_by_its_plan(database: Database) -> None:
    """It once ended the whole step."""
    database.sql("CREATE TABLE t (at timestamptz); INSERT INTO t VALUES (now())")
    bad: list[dict[str, Any]] = [
        {"column": "at"},
        {"table": "t"},
        {"table": "t", "conditions": [{"older_than": "1d"}]},
        {"table": None, "column": "at"},
    ]
    for step in bad:
        found = waiting(database, step, {"table": "t", "column": "at"})
        assert ("public.t", 1) in [(one["subject"], one["value"]) for one in found], step


def test_what_nobody_has_analyzed_is_as_large_as_its_file(database: Database) -> None:
    """A few rows, for which autovacuum never comes, are counted; many are not."""
    database.sql("CREATE TABLE few (at timestamptz); CREATE TABLE many (at timestamptz, pad char(7000))")
    database.sql(
        "CREATE TABLE child () INHERITS (few); INSERT INTO child VALUES (now()); ALTER TABLE many ALTER pad SET STORAGE PLAIN"
    )
    database.sql("INSERT INTO many SELECT now(), '' FROM generate_series(1, 1010)")
    found = [waiting(database, {"table": table, "column": "at"})[0] for table in ("few", "many")]
    assert [one["value"] for one in found] == [1, None]
    assert "no index serves" in found[1]["message"]
    with holding(database, "LOCK few"):
        (locked,) = waiting(database, {"table": "few", "column": "at"})
    assert locked["message"] == "somebody has locked it"


def test_names_with_every_mark_are_counted(database: Database) -> None:
    """A percent sign in a name was once doubled, and the table not found, which looked well."""
    name = '"50 %s 100% {} \'\\ ""t"'
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE {name} ("a %t {{0}}" timestamptz); INSERT INTO {name} VALUES (now()); ANALYZE')
    (found,) = waiting(database, {"table": name, "column": "a %t {0}"})
    assert (found["subject"], found["value"]) == (f"public.{name}", 1)


def test_one_that_cannot_be_counted_hides_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that does not exist, and values that cannot be looked at, are about one table."""
    database.sql(HELPERS)
    database.sql(
        'CREATE TABLE a (at timestamp); CREATE TABLE "b%s" (at timestamptz); CREATE TABLE c (at bigint, used bigint)'
    )
    database.sql(
        'INSERT INTO a VALUES (utc(1)); INSERT INTO c VALUES (ms(1), s(1)); INSERT INTO "b%s" VALUES (ago(1)); ANALYZE'
    )
    two = [{"column": "at", "epoch": "ms"}, {"column": "used", "epoch": "s"}]
    steps: list[dict[str, Any]] = [
        {"table": "a", "column": "at", "timezone": "Mars/Phobos"},
        {"table": '"b%s"', "column": "at"},
        {"table": "c", "conditions": two},
        {"table": "c", "column": "used", "epoch": "s"},
    ]
    said = {one["subject"]: one for one in waiting(database, *steps[:3])}
    assert {name: one["value"] for name, one in said.items()} == {"public.a": None, 'public."b%s"': 1, "public.c": 1}
    assert said["public.a"]["level"] == "unknown"
    assert "they cannot be counted" in said["public.a"]["message"]
    assert "Mars/Phobos" in said["public.a"]["message"]
    real = clocks.doubt
    monkeypatch.setattr(
        clocks, "doubt", lambda *given: sql.SQL("SELECT 1 / 0") if given[0].epoch == "ms" else real(*given)
    )
    found = waiting(database, *steps[1:])
    assert [one["value"] for one in found if one["subject"] == 'public."b%s"'] == [1]
    assert [one["message"] for one in found if one["value"] is None] == [
        "its values cannot be looked at: division by zero"
    ]
    assert [one["value"] for one in found if one["subject"] == "public.c" and one["value"] is not None] == [1]
