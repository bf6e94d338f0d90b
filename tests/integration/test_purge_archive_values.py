# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with an archive in files: every value comes back as it was, as often as it was there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.archives import purge, restore, rows
from tests.runs import only
from tests.servers import Database, Server, unique

# Values


VALUES = r"""
CREATE TYPE mood AS ENUM ('fine', 'so, so'); CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE SCHEMA app; CREATE TABLE app.thing (id int);
CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, s text, v varchar, c char(5), b bytea, f float8, r real,
    n numeric, i interval, d date, ts timestamp, tt timetz, j json, jb jsonb, u uuid, a text[], e mood, p pair, k code,
    g tstzrange, x bit(5), ip inet, o regclass, m money, pt point, l oid, "Odd ""name\\" int,
    double int GENERATED ALWAYS AS (21 * 2) STORED);
INSERT INTO t (at, s, v, c, b, f, r, n, i, d, ts, tt, j, jb, u, a, e, p, k, g, x, ip, o, m, pt, l, "Odd ""name\\") VALUES
('2000-01-01', E'a\tb\nc\\d\r\x01 \\N \\.', '', 'ab', '\x00ff5c0a', 0.1 + 0.2, 1e-7, 'NaN', '1 mon -2 days 03:00:00.000001',
 '4713-01-01 BC', '-infinity', '10:00+05:30', '{"a":  1, "a": 2}', '{"a": "\u00e9"}', gen_random_uuid(),

 ARRAY['', NULL, 'NULL', 'a"b', E'\n'], 'so, so', '(1,"x,""y")', 'k', '[2000-01-01,)', '10101', '::1/64', 'app.thing', '$12.34',
 '(1,2)', 4294967295, 1),
('0044-03-15 12:00 BC', NULL, NULL, NULL, NULL, 'Infinity', 'NaN', '1e100', '-1 year', 'infinity', '294276-12-31', '00:00-15:59',
 'null',
 'null', NULL, '{}', NULL, NULL, NULL, 'empty', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
('2000-01-01', '\N', '\\.', '', '', -0.0, '1e38', '0.10', '0', '2000-02-29', '2000-01-01', '24:00+00', '[]', '[]', NULL,
 '{{a},{b}}', NULL,
 NULL, NULL, NULL, NULL, NULL, 'pg_class', NULL, NULL, NULL, NULL);
"""


BYTES = "SELECT at, textsend(s)::text FROM t"


@pytest.mark.parametrize("key", ["", "ALTER TABLE t ADD PRIMARY KEY (id)"])
def test_every_value_comes_back(database: Database, tmp_path: Path, key: str) -> None:
    """Under whatever settings it was written; with a name of an object that means something under the path of then."""
    for setting in (
        "search_path = app, public",
        "IntervalStyle = sql_standard",
        "DateStyle = German",
        "bytea_output = escape",
    ):
        database.sql(f"ALTER DATABASE {database.name} SET {setting}")
    database.sql(f"ALTER DATABASE {database.name} SET extra_float_digits = -15; SET extra_float_digits = 1")
    database.sql(VALUES)
    database.sql(key or "SELECT")
    before = rows(database)
    assert only(purge(database, table="public.t", archive={"directory": str(tmp_path)}))["rows"] == 3
    database.sql(f"ALTER DATABASE {database.name} SET search_path = public")
    for _again in range(2):
        restore(database, tmp_path)
        assert rows(database) == before


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "WIN1252"])
def test_bytes_that_mean_nothing_in_another_encoding(server: Server, tmp_path: Path, encoding: str) -> None:
    """Neither is UTF-8, and what WIN1252 has no character for cannot be converted into it."""
    name = unique("bytes")
    server.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    with closing(Database(server, name)) as database:
        column = "ascii" if encoding == "SQL_ASCII" else "größe"
        database.sql(f"CREATE TABLE t (at timestamptz, s text, {column} int)")
        with closing(database.connect()) as connection:
            connection.set_client_encoding(encoding)
            connection.cursor().execute(b"INSERT INTO t VALUES ('2000-01-01', E'\x81\xff\n\xe4', 1)")
        before = database.sql(BYTES)
        assert only(purge(database, archive={"directory": str(tmp_path)}))["rows"] == 1
        for _again in range(2):
            restore(database, tmp_path)
            assert database.sql(BYTES) == before


@pytest.mark.parametrize("local", ["true", "false"])
def test_a_trigger_that_changes_how_values_are_written(database: Database, tmp_path: Path, local: str) -> None:
    """In the middle of the rows: they would come back as others, or not at all."""
    database.sql("CREATE TABLE t (id int, at timestamptz, d date)")
    database.sql("INSERT INTO t SELECT n, '2000-01-01', '2000-02-03' FROM generate_series(1, 20) AS n")
    function = "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql {} AS $$ BEGIN {} RETURN OLD; END $$"
    change = f"PERFORM set_config('DateStyle', 'SQL, DMY', {local});"
    database.sql(function.format("", change))
    database.sql("CREATE TRIGGER g BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION f()")
    before = rows(database)
    refused = only(purge(database, archive={"directory": str(tmp_path)}))
    assert "a trigger changes DateStyle, by which rows are written, so none was deleted" in refused["reason"]
    assert (refused["outcome"], rows(database)) == ("failed", before)
    assert not list(tmp_path.rglob("*.gz*"))
    database.sql(function.format("SET DateStyle = 'ISO'", change.replace("false", "true")))
    assert only(purge(database, archive={"directory": str(tmp_path)}))["rows"] == 20
    restore(database, tmp_path)
    assert rows(database) == before


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), min_size=1, max_size=30
    )
)
@settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_text_comes_back_as_often_as_it_was_there(database: Database, tmp_path: Path, texts: list[str]) -> None:
    """Without a key: each row is put back as often as it is missing, and never more often."""
    directory = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    directory.mkdir()
    database.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (s text, at timestamptz)")
    database.sql("INSERT INTO t SELECT s, '2000-01-01' FROM unnest(%s::text[]) AS s", [texts + texts[:3]])
    before = rows(database)
    assert only(purge(database, archive={"directory": str(directory)}))["rows"] == len(before)
    for _again in range(2):
        restore(database, directory)
        assert rows(database) == before
    database.sql("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)")
    restore(database, directory)
    assert rows(database) == before
