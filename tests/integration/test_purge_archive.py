# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with an archive: what it must be, and that every row is in the table or in the archive."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.archives import EXPIRED, documented, folders, purge, restore, rows, shell
from tests.runs import only, perform
from tests.servers import Database


@pytest.mark.parametrize("order", ["index", "heap"])
def test_rows_go_to_a_table(database: Database, order: str) -> None:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    database.sql(f"INSERT INTO t {EXPIRED}; CREATE INDEX ON t (at); CREATE TABLE kept (LIKE t)")
    before = rows(database)
    assert only(purge(database, check=True, archive={"table": "kept"}))["numbers"]["archive"] == {
        "table": "public.kept"
    }
    action = only(purge(database, archive={"table": "kept"}, order=order))
    assert (action["outcome"], action["rows"]) == ("done", 2501), action
    assert sorted(rows(database) + rows(database, "kept")) == before


@pytest.mark.parametrize("order", ["index", "heap"])
def test_rows_go_to_files(database: Database, tmp_path: Path, order: str) -> None:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    database.sql(f"INSERT INTO t {EXPIRED}; CREATE INDEX ON t (at)")
    before = rows(database)
    archive = {"directory": str(tmp_path)}
    told = only(purge(database, check=True, archive=archive))["numbers"]["archive"]
    assert told == {"directory": str(tmp_path / database.name / "public" / "t")}
    assert list(tmp_path.iterdir()) == []
    action = only(purge(database, archive=archive, order=order))
    assert (action["outcome"], action["rows"]) == ("done", 2501), action
    (folder,) = folders(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == 2501
    assert len(rows(database)) == 4
    assert shell(database, folder, documented("sha256sum")).count(": OK") == len(manifest["files"])
    for _again in range(2):
        restore(database, tmp_path)
        assert rows(database) == before


# What an archive table must be


CASES = [
    ("", "missing", "CREATE TABLE missing (LIKE public.t)"),
    ("CREATE SCHEMA IF NOT EXISTS old", "old.t", "; to make it: CREATE TABLE old.t (LIKE public.t)"),
    ("CREATE TABLE kept (LIKE t)", "kept_", "did you mean public.kept? To make it: CREATE TABLE kept_ (LIKE public.t)"),
    ("", "t", "the table itself"),
    ("CREATE VIEW x AS SELECT * FROM t", "x", "a view"),
    ("CREATE MATERIALIZED VIEW x AS SELECT * FROM t", "x", "a materialized view"),
    ("CREATE SEQUENCE x", "x", "a sequence"),
    ("CREATE TABLE x (LIKE t); ALTER TABLE x INHERIT t", "x", "a part of public.t"),
    ("CREATE TABLE x (LIKE t); ALTER TABLE t INHERIT x", "x", "a part of public.t"),
    ("CREATE UNLOGGED TABLE x (LIKE t)", "x", "ALTER TABLE public.x SET LOGGED"),
    (
        "CREATE TABLE x (LIKE t); ALTER TABLE x DROP word",
        "x",
        "ALTER TABLE public.x ADD COLUMN word character varying(9)",
    ),
    (
        "CREATE TABLE x (LIKE t); ALTER TABLE x ALTER word TYPE varchar(8)",
        "x",
        "ALTER TABLE public.x ALTER COLUMN word TYPE character varying(9)",
    ),
    (
        "CREATE TABLE x (LIKE t); ALTER TABLE x ALTER id TYPE smallint",
        "x",
        "ALTER TABLE public.x ALTER COLUMN id TYPE integer",
    ),
    (
        "CREATE TABLE x (LIKE t); ALTER TABLE x ALTER at TYPE timestamptz(0)",
        "x",
        "ALTER TABLE public.x ALTER COLUMN at TYPE timestamp with time zone",
    ),
    (
        "CREATE TABLE x (id int, at timestamptz, word text GENERATED ALWAYS AS ('w') STORED)",
        "x",
        "ALTER TABLE public.x ALTER word DROP EXPRESSION",
    ),
    (
        'CREATE TABLE x (LIKE t, "By whom" text NOT NULL)',
        "x",
        'ALTER TABLE public.x ALTER COLUMN "By whom" DROP NOT NULL',
    ),
    (
        "CREATE TABLE x (LIKE t); CREATE RULE away AS ON INSERT TO x DO INSTEAD NOTHING",
        "x",
        "ALTER TABLE public.x DISABLE RULE away",
    ),
    (
        "CREATE EXTENSION IF NOT EXISTS file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw; "
        "CREATE FOREIGN TABLE x (id int) SERVER s OPTIONS (filename '/dev/null', format 'csv')",
        "x",
        "foreign table",
    ),
    (
        "CREATE EXTENSION IF NOT EXISTS file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw; "
        "CREATE TABLE x (LIKE t) PARTITION BY LIST (id); "
        "CREATE FOREIGN TABLE y PARTITION OF x DEFAULT SERVER s OPTIONS (filename '/dev/null', format 'csv')",
        "x",
        "its part public.y is a foreign table",
    ),
]


def test_tables_that_could_lose_rows_are_refused_before_anything_is_touched(database: Database) -> None:
    for statement, name, told in CASES:
        database.sql(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP EXTENSION IF EXISTS file_fdw CASCADE;"
            "CREATE TABLE t (id int, at timestamptz, word varchar(9)); INSERT INTO t VALUES (1, '2000-01-01', 'x')"
        )
        database.sql(statement or "SELECT")
        for check in (True, False):
            action = only(purge(database, check, archive={"table": name}))
            assert (action["outcome"], told in action["reason"]) == ("failed", True), (statement, action["reason"])
            assert action["reason"].startswith("archive.table: ")
        assert rows(database) == ['(1,"2000-01-01 00:00:00+00",x)']
        way = re.search(r"(CREATE TABLE|ALTER TABLE) .*?(?=, or |$)", action["reason"])
        if way and "part of" not in told:  # the way out is one
            database.sql(way[0])
            action = only(purge(database, archive={"table": name}))
            assert (action["outcome"], action["rows"]) == ("done", 1), (way[0], action["reason"])
            assert database.value(f"SELECT count(*) FROM {name}") == 1


@pytest.mark.parametrize("missing", ["USAGE ON SCHEMA app", "INSERT ON TABLE app.kept", "SELECT ON TABLE app.kept"])
def test_rights_on_the_archive(database: Database, missing: str) -> None:
    """It can be one that the role may only add to; only where a trigger might take rows out again it has to look."""
    role = database.role("purger")
    database.sql(
        "CREATE SCHEMA app; CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01');"
        f"CREATE TABLE app.kept (LIKE t); GRANT SELECT, UPDATE, DELETE ON t TO {role}; GRANT USAGE ON SCHEMA app TO {role};"
        f"GRANT INSERT ON app.kept TO {role}"
    )
    if missing.startswith("SELECT"):
        database.sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER after AFTER INSERT ON app.kept FOR EACH ROW EXECUTE FUNCTION f()"
        )
    else:
        database.sql(f"REVOKE {missing} FROM {role}")
    action = only(purge(database, user=role, archive={"table": "app.kept"}))
    assert action["outcome"] == "failed"
    assert f"GRANT {missing} TO {role}" in action["reason"]
    database.sql(f"GRANT {missing} TO {role}")
    assert only(purge(database, user=role, archive={"table": "app.kept"}))["rows"] == 1
    assert len(rows(database, "app.kept")) == 1


def test_the_maintainer_gets_what_it_takes(database: Database) -> None:
    role = database.role("purger")
    database.sql(
        "CREATE SCHEMA app; CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01');"
        "CREATE TABLE app.kept (LIKE t)"
    )
    step = {"table": "t", "column": "at", "archive": {"table": "app.kept"}}
    perform("maintainer", database.dsn, name=role, steps=[{"purge": step}], history=False, read_all_stats=False)
    assert only(purge(database, user=role, archive={"table": "app.kept"}))["rows"] == 1
    assert database.sql(
        "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = %s AND table_name = 'kept'",
        [role],
    ) == [("INSERT",)]


@pytest.mark.parametrize(
    "trigger",
    [
        "TRIGGER x BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION swallow()",
        "TRIGGER x AFTER INSERT ON kept FOR EACH ROW EXECUTE FUNCTION remove()",
        "TRIGGER x AFTER INSERT ON kept FOR EACH STATEMENT EXECUTE FUNCTION remove()",
        "CONSTRAINT TRIGGER x AFTER INSERT ON kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION remove()",
    ],
)
def test_triggers_that_swallow_rows_lose_none(database: Database, trigger: str) -> None:
    database.sql(
        "CREATE TABLE t (id int, at timestamptz); INSERT INTO t SELECT n, '2000-01-01' FROM generate_series(1, 50) AS n;"
        "CREATE TABLE kept (LIKE t);"
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 7 THEN RETURN NULL; END IF; "
        "RETURN NEW; END'; CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM kept WHERE id = 7; "
        f"RETURN NULL; END'; CREATE {trigger}"
    )
    action = only(purge(database, archive={"table": "kept"}))
    assert (action["outcome"], action["rows"], action["numbers"]["refused"]) == ("failed", 49, 1)
    assert "only 0 of 1 rows arrived in public.kept" in action["reason"]
    assert database.value("SELECT id FROM t") == 7
    assert len(rows(database, "kept")) == 49
    database.sql("DROP TRIGGER x ON kept")
    assert only(purge(database, archive={"table": "kept"}))["rows"] == 1


def test_a_row_that_the_archive_refuses_stays(database: Database) -> None:
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01');"
        "CREATE TABLE kept (LIKE t INCLUDING ALL); INSERT INTO kept VALUES (1, '1999-01-01')"
    )
    action = only(purge(database, archive={"table": "kept"}))
    assert (action["outcome"], action["rows"]) == ("failed", 0)
    assert "kept_pkey" in action["reason"]
    assert len(rows(database)) == len(rows(database, "kept")) == 1


WIDE = """
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, "Odd "" name" varchar(20), "order" positive,
    twice int GENERATED ALWAYS AS (7 * 2) STORED, half int GENERATED ALWAYS AS (7 / 2) STORED, gone int
);
ALTER TABLE t DROP gone;
INSERT INTO t (at, "Odd "" name", "order") SELECT '2000-01-01', 'x' || n, n FROM generate_series(1, 3) AS n;
"""


def test_columns_go_by_their_names(database: Database) -> None:
    """Their order, and what else is there, does not matter; what is computed goes as it is where it can."""
    database.sql(WIDE)
    database.sql(
        "CREATE TABLE kept (archived_at timestamptz NOT NULL DEFAULT now(), n bigint GENERATED ALWAYS AS IDENTITY, "
        '"order" bigint, '
        '"Odd "" name" text, note text, at timestamptz, twice int, half int GENERATED ALWAYS AS (1 + 2) STORED, '
        "id int GENERATED ALWAYS AS IDENTITY)"
    )
    assert only(purge(database, archive={"table": "kept"}))["rows"] == 3
    assert database.sql('SELECT id, "order", "Odd "" name", twice, half, n, note FROM kept ORDER BY id') == [
        (number, number, f"x{number}", 14, 3, number, None) for number in (1, 2, 3)
    ]


def test_parts_of_a_table(database: Database, tmp_path: Path) -> None:
    """Rows of partitions come back through the table; of a child table with more columns they would not come back as a whole."""
    database.sql(
        "CREATE TABLE t (id int, at timestamptz, PRIMARY KEY (id)) PARTITION BY LIST (id);"
        "CREATE TABLE other (at timestamptz, id int NOT NULL); ALTER TABLE t ATTACH PARTITION other FOR VALUES IN (1, 2);"
        "CREATE TABLE rest PARTITION OF t DEFAULT; INSERT INTO t SELECT n, '2000-01-01' FROM generate_series(1, 9) AS n"
    )
    for order in ("index", "heap"):
        before = rows(database)
        assert only(purge(database, order=order, archive={"directory": str(tmp_path)}))["rows"] == 9
        restore(database, tmp_path)
        assert rows(database) == before
    database.sql("CREATE TABLE p (id int, at timestamptz); CREATE TABLE c (more text) INHERITS (p)")
    database.sql("INSERT INTO c VALUES (1, '2000-01-01', 'x')")
    for archive in ({"directory": str(tmp_path)}, {"table": "kept"}):
        action = only(purge(database, table="p", archive=archive))
        assert action["outcome"] == "failed"
        assert "ALTER TABLE public.c NO INHERIT public.p" in action["reason"]
    assert len(rows(database, "c")) == 1


def test_rows_that_would_go_without_a_trace(database: Database, tmp_path: Path) -> None:
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE TABLE c (t int REFERENCES t ON DELETE CASCADE)"
    )
    database.sql("INSERT INTO t VALUES (1, '2000-01-01'); INSERT INTO c VALUES (1); CREATE TABLE kept (LIKE t)")
    for archive in ({"directory": str(tmp_path)}, {"table": "kept"}):
        action = only(purge(database, archive=archive))
        assert action["outcome"] == "failed"
        assert "public.c" in action["reason"]
        assert "cascade: true" in action["reason"]
    database.sql("CREATE TABLE x (LIKE t, FOREIGN KEY (id) REFERENCES t ON DELETE CASCADE)")
    action = only(purge(database, archive={"table": "x"}, cascade=True))
    assert (action["outcome"], "go with those of public.t" in action["reason"]) == ("failed", True)
    database.sql("DROP TABLE x")
    assert only(purge(database, archive={"table": "kept"}, cascade=True))["rows"] == 1
    assert (len(rows(database, "c")), len(rows(database, "kept"))) == (0, 1)
