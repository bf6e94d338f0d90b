# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of tables that are not like others, in both orders, with an archive and without: the right rows go, and they go once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import walks
from tests.runs import only, perform
from tests.servers import Database

# Of each: how it is made, the rows that are left, and the number that is told as left. Rows 1 to 20 have expired, 21 to 25
# have not; several are alike.
ROWS = "INSERT INTO t (id, at) SELECT n, now() + (n - 20.5) * interval '1 day' FROM generate_series(1, 25) AS n;"
LIVE = [21, 22, 23, 24, 25]
FUNCTIONS = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 7 THEN RETURN NULL; END IF; RETURN OLD; END';
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE t SET note = ''gone'' WHERE ctid = OLD.ctid; RETURN NULL; END';
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO told VALUES (TG_OP); RETURN NULL; END';
CREATE TABLE told (what text);
"""
ODD: dict[str, tuple[str, list[int], int]] = {
    "no key, and rows that are alike": ("CREATE TABLE t (id int, at timestamptz);" + ROWS + ROWS, sorted(LIVE * 2), 0),
    "a trigger that keeps a row": (
        f"CREATE TABLE t (id int, at timestamptz); {ROWS}"
        "CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()",
        [7, *LIVE],
        1,
    ),
    "a trigger that keeps a row of a partition": (
        f"CREATE TABLE t (id int, at timestamptz) PARTITION BY LIST (id); CREATE TABLE p PARTITION OF t DEFAULT; {ROWS}"
        "CREATE TRIGGER x BEFORE DELETE ON p FOR EACH ROW EXECUTE FUNCTION keep()",
        [7, *LIVE],
        1,
    ),
    "a trigger that marks rows in place of deleting them": (
        f"CREATE TABLE t (id int, at timestamptz, note text); {ROWS}"
        "CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION mark()",
        list(range(1, 26)),
        20,
    ),
    "a statement trigger": (
        f"CREATE TABLE t (id int, at timestamptz); {ROWS} CREATE TRIGGER x AFTER DELETE ON t EXECUTE FUNCTION tell()",
        LIVE,
        0,
    ),
    "columns that are computed": (
        "CREATE TABLE t (id int, at timestamptz, twice int GENERATED ALWAYS AS (id * 2) STORED, "
        f"thrice int GENERATED ALWAYS AS (id * 3) VIRTUAL, n int GENERATED ALWAYS AS IDENTITY); {ROWS}",
        LIVE,
        0,
    ),
    "dropped columns, and an index that is not valid any more": (
        f"CREATE TABLE t (x int, id int, y text, at timestamptz); {ROWS} CREATE INDEX i ON t (at); ALTER TABLE t DROP x, DROP y;"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
        LIVE,
        0,
    ),
    "an unlogged table with an index on an expression": (
        f"CREATE UNLOGGED TABLE t (id int, at timestamptz); {ROWS} CREATE INDEX ON t ((at AT TIME ZONE 'UTC'))",
        LIVE,
        0,
    ),
    "names of ours": (
        "CREATE TABLE t (id int, at timestamptz, picked int, part oid, place text, gone int, value int, kept int);"
        + ROWS,
        LIVE,
        0,
    ),
}


def purge(database: Database, **options: Any) -> dict[str, Any]:
    return only(perform("purge", database.dsn, table="t", column="at", history=False, **options))


def ids(database: Database, table: str = "t") -> list[int]:
    return [number for (number,) in database.sql(f"SELECT id FROM {table} ORDER BY id")]


@pytest.mark.parametrize("archive", ["", "table", "directory"])
@pytest.mark.parametrize("order", ["index", "heap"])
def test_odd_tables(database: Database, tmp_path: Path, order: str, archive: str) -> None:
    virtual = database.value("SELECT current_setting('server_version_num')::int >= 180000")
    for name, (statements, left, told) in ODD.items():
        database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        database.sql(FUNCTIONS + (statements if virtual else statements.replace("VIRTUAL", "STORED")))
        before = ids(database)
        database.sql("CREATE TABLE kept (LIKE t); ALTER TABLE kept ADD archived_at timestamptz DEFAULT now()")
        options = (
            {"archive": {"table": "kept"} if archive == "table" else {"directory": str(tmp_path)}} if archive else {}
        )
        action = purge(database, order=order, **options)
        gone = len(before) - len(left)
        assert (action["outcome"], action["rows"]) == ("done", gone), (name, action)
        assert action["numbers"].get("left", 0) == told, (name, action)
        assert ids(database) == left, name
        if archive == "table":
            assert sorted(ids(database, "kept") + left) == before, name
        if "statement" in name:
            assert database.value("SELECT count(*) FROM told") >= 1


def test_what_a_trigger_sets_for_the_session_is_set_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else later batches would run as somebody else, pass foreign keys by, and the end of the run could not be written."""
    monkeypatch.setattr(walks, "FIRST_BATCH", 10)
    role = database.role()
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE TABLE child (id int REFERENCES t)")
    database.sql(
        "INSERT INTO t SELECT n, now() - interval '1 day' + n * interval '1 s' FROM generate_series(1, 100) AS n"
    )
    database.sql("INSERT INTO child VALUES (90)")
    database.sql(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM set_config(name, value, false) FROM (VALUES ('session_replication_role', 'replica'), "
        "('TimeZone', 'Asia/Tokyo'), ('IntervalStyle', 'sql_standard'), ('synchronous_commit', 'off'), "
        f"('role', '{role}')) AS s (name, value); RETURN NULL; END $$; "
        "CREATE TRIGGER g AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION f()"
    )
    result = perform("purge", database.dsn, table="t", column="at", order="index")
    assert "is still referenced from table" in only(result)["reason"]
    assert result["warnings"] == []
    assert database.value("SELECT count(*) FROM t WHERE id = 90") == 1
    assert only(result)["rows"] == 99


def test_what_stands_in_a_row_is_not_told(database: Database) -> None:
    """Where the server tells it of a row that it refuses: it may be somebody's session."""
    token = "tok-0123456789-abcdefghij"
    database.sql("CREATE TABLE t (id int, token text, at timestamptz)")
    database.sql("INSERT INTO t VALUES (1, %s, now() - interval '1 day')", [token])
    database.sql(
        "CREATE TABLE a (LIKE t, CHECK (id > 1)); CREATE TABLE b (LIKE t, UNIQUE (token)); INSERT INTO b SELECT * FROM t"
    )
    database.sql("CREATE TABLE c (LIKE t) PARTITION BY LIST (token)")
    for table, words in (("a", 'check constraint "a_id_check"'), ("b", "Key (token)=(tok-0123...) already exists"),
                         ("c", 'no partition of relation "c" found for row')):  # fmt: skip
        result = perform("purge", database.dsn, table="t", column="at", archive={"table": table})
        assert words in only(result)["reason"]
        assert token not in str(result)
    assert not database.value("SELECT count(*) FROM maintenance.action AS x WHERE x::text LIKE %s", [f"%{token}%"])
