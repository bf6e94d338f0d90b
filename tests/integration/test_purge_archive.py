# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with an archive: a row is in the table or in the archive, and comes back as it was."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs import REPOSITORY, only, perform, until
from tests.servers import Database

EXPIRED = "SELECT n, now() - n * interval '1 minute' FROM generate_series(-4, 2500) AS n"


def purge(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, **options}
    return perform("purge", database.dsn_as(user), check, **given)


def rows(database: Database, table: str = "t") -> list[Any]:
    return [text for (text,) in database.sql(f"SELECT x::text FROM {table} AS x ORDER BY 1")]


def documented(word: str) -> str:
    """The command with that word in it, as the documentation shows it."""
    page = (REPOSITORY / "docs" / "retention.md").read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if word in block]
    return str(found)


def shell(database: Database, folder: Path, command: str) -> str:
    environment = {"PATH": f"{database.server.bin}:/usr/bin:/bin", "DATABASE_URL": database.dsn}
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert not done.stderr, done.stderr
    return done.stdout


def restore(database: Database, directory: Path) -> None:
    """All that is there, by the documented command."""
    for folder in folders(directory):
        shell(database, folder, documented("restore.sql"))


def folders(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.rglob("manifest.json"))


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
    assert (action["outcome"], action["rows"]) == ("failed", 0)
    assert "only 49 of 50 rows arrived in public.kept" in action["reason"]
    assert (len(rows(database)), len(rows(database, "kept"))) == (50, 0)
    database.sql("DROP TRIGGER x ON kept")
    assert only(purge(database, archive={"table": "kept"}))["rows"] == 50


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


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), min_size=1, max_size=30
    )
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# Faults of directories, and of their disks


def test_directories_that_do_not_serve(database: Database, tmp_path: Path) -> None:
    """Seen before anything is touched; /proc only when it is tried, where a superuser of the system runs this."""
    (tmp_path / "file").write_text("")
    database.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01')")
    for directory, told in ((tmp_path / "missing", "does not exist"), (tmp_path / "file", "is a file")):
        for check in (True, False):
            action = only(purge(database, check, archive={"directory": str(directory)}))
            assert (action["outcome"], told in action["reason"]) == ("failed", True), action["reason"]
    action = only(purge(database, archive={"directory": "/proc"}))
    assert (action["outcome"], "archive.directory" in action["reason"]) == ("failed", True), action["reason"]
    assert len(rows(database)) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond that size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(database: Database, tmp_path: Path) -> None:
    """The first batch fits, the next one does not."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, s text)")
    database.sql(
        "INSERT INTO t SELECT n, now() - interval '1 year' + n * interval '1 minute', "
        "CASE WHEN n > 1000 THEN (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 200) AS m) END "
        "FROM generate_series(1, 1200) AS n"
    )
    before = rows(database)
    with full_disk(1 << 19):
        action = only(purge(database, order="index", archive={"directory": str(tmp_path)}))
    assert (action["outcome"], action["rows"]) == ("failed", 1000), action["reason"]
    assert "File too large" in action["reason"]
    assert database.value("SELECT min(id) FROM t") == 1001
    assert only(purge(database, archive={"directory": str(tmp_path)}))["rows"] == 200
    restore(database, tmp_path)
    assert rows(database) == before


# COMMIT whose answer nobody hears

# COMMIT waits for a lock that the test holds.
SLOW_COMMIT = """
CREATE TABLE t (id int, at timestamptz); CREATE INDEX ON t (at);
INSERT INTO t SELECT n / 2, '2000-01-01' FROM generate_series(1, 20) AS n;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
"""
COMMITTING = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'advisory'"


# A backend that is terminated in COMMIT rolls back.
@pytest.mark.parametrize(("dies", "becomes"), [("client", "committed"), ("client", "aborted"), ("server", "aborted")])
def test_an_answer_that_is_lost(database: Database, tmp_path: Path, dies: str, becomes: str) -> None:
    database.sql(SLOW_COMMIT)
    before = rows(database)
    archive = {"directory": str(tmp_path)}
    with closing(database.connect()) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        if dies == "client":
            options = f"table='t', column='at', archive={archive}"
            program = f"from tests.runs import perform; perform('purge', {database.dsn!r}, {options})"
            path = f"{REPOSITORY}:{REPOSITORY / 'collections'}"
            with subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": path}) as process:
                until(lambda: database.sql(COMMITTING) or process.poll() is not None)
                [(pid,)] = database.sql(COMMITTING)
                process.send_signal(signal.SIGKILL)
            if becomes == "aborted":
                database.sql("SELECT pg_terminate_backend(%s)", [pid])
        else:
            with ThreadPoolExecutor(1) as thread:
                running = thread.submit(purge, database, archive=archive)
                until(lambda: database.sql(COMMITTING) or running.done())
                [(pid,)] = database.sql(COMMITTING)
                database.sql("SELECT pg_terminate_backend(%s)", [pid])
                action = only(running.result(60))
            assert (action["outcome"], action["rows"]) == ("failed", 0)
            assert "in doubt" in action["reason"]
            assert action["numbers"]["archive"]["in_doubt"] in action["reason"]
    until(lambda: not database.sql("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]))
    (doubtful,) = tmp_path.rglob("*.in-doubt")
    # The documented way for somebody who cannot wait for the next run.
    transaction = json.loads((doubtful.parent / "manifest.json").read_text())["files"][0]["transaction"]
    until(lambda: database.value("SELECT pg_xact_status(%s::xid8)", [transaction]) == becomes)
    action = only(purge(database, archive=archive))
    assert action["numbers"]["archive"][f"files_{becomes}"] == 1, action
    assert action["rows"] == (0 if becomes == "committed" else 20)
    assert not list(tmp_path.rglob("*.in-doubt"))
    for _again in range(2):
        restore(database, tmp_path)
        assert rows(database) == before


def test_a_doubt_about_another_server_is_left(database: Database, tmp_path: Path) -> None:
    """Numbers of transactions begin anew there, so that they say nothing."""
    database.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01')")
    archive = {"directory": str(tmp_path)}
    assert only(purge(database, archive=archive))["rows"] == 1
    (folder,) = folders(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("system_identifier", "timeline"):
        other = {**manifest, "server": {**manifest["server"], name: "0"}}
        (folder / "manifest.json").write_text(json.dumps(other))
        for path in folder.glob("*.copy.gz"):
            path.rename(f"{path}.in-doubt")
        assert only(purge(database, archive=archive))["numbers"]["archive"]["files_in_doubt"] == 1
        assert len(list(folder.glob("*.in-doubt"))) == 1
