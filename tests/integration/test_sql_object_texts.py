# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Scripts as people have them: several definitions in a file, names of all kinds, encodings, marks; and extensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError, SqlError
from tests.objects import FUNCTION, TABLE, VIEW, catalog, exact, install
from tests.servers import Database, Server


def test_several_views_and_types_in_a_file_wherever_they_stand(items: Database) -> None:
    script = """-- all in one
    CREATE SCHEMA IF NOT EXISTS app;
    CREATE TYPE app.mood AS ENUM ('a', 'b');
    CREATE OR REPLACE FUNCTION app.f(n int) RETURNS app.mood LANGUAGE sql IMMUTABLE AS $$ SELECT 'a'::app.mood $$;
    CREATE MATERIALIZED VIEW app.one AS SELECT id, app.f(id) AS m FROM public.item; COMMENT ON MATERIALIZED VIEW app.one IS '1';
    CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
    CREATE MATERIALIZED VIEW app.two AS SELECT id::app.positive AS p FROM app.one;
    GRANT SELECT ON app.one, app.two TO PUBLIC;
    CREATE OR REPLACE VIEW app.three AS SELECT p FROM app.two"""
    assert {name for name, _result in exact(items, script)} == {
        "app", "app.mood", "app.f(n integer)", "app.one", "app.positive", "app.two", "app.three"}  # fmt: skip
    assert items.value("SELECT count(*) FROM app.three") == 9
    items.sql("COMMENT ON MATERIALIZED VIEW app.one IS NULL; REVOKE SELECT ON app.two FROM PUBLIC")
    changed = {name for name, result in exact(items, script) if result != "keep"}
    assert changed == {"app.one", "app.two"}
    for wrong, line in (
        ("SELECT p FROM app.two", 9),
        ("p FROM app.one", 7),
        ("m FROM public.item", 5),
        ("app.mood $$", 4),
    ):
        with pytest.raises(SqlError, match=rf"1\.sql:{line}: "):
            install(items, script.replace(wrong, "nix " + wrong))


def test_what_a_script_drops_and_makes_again_is_compared(items: Database) -> None:
    view = f"DROP MATERIALIZED VIEW IF EXISTS public.items CASCADE;\n{VIEW}"
    kind = "drop type if exists public.mood; CREATE TYPE public.mood AS ENUM ('a')"
    exact(items, view, kind)
    before = items.value("SELECT oid FROM pg_class WHERE relname = 'items'")
    exact(items, view, kind, FUNCTION)
    assert items.value("SELECT oid FROM pg_class WHERE relname = 'items'") == before
    elsewhere = ("DROP MATERIALIZED VIEW IF EXISTS public.items; DROP TYPE IF EXISTS public.mood", VIEW, kind)
    assert not install(items, *elsewhere)["changed"]


NAMES = ["☃", "a\u00a0b", "_x1$", "Öl", 'U&"d\\0061t\\+000061"', "U&\"d!0061\" UESCAPE '!'", '"sel""ect"', '"a.b"', '" "',
         "x" * 70, '"*/ /*"', '"%s {}"']  # fmt: skip


def test_names_that_the_server_accepts(items: Database) -> None:
    scripts = [
        f"CREATE MATERIALIZED VIEW {n} AS SELECT id FROM item; COMMENT ON MATERIALIZED VIEW {n} IS 'x'" for n in NAMES
    ]
    assert [result for _name, result in exact(items, *scripts)] == ["create"] * len(NAMES)
    scripts = [script.replace("id FROM", "id, added FROM") for script in scripts]
    assert [result for _name, result in exact(items, "; ".join(scripts))] == ["replace"] * len(NAMES)
    exact(items, f"CREATE MATERIALIZED VIEW {items.name}.public . third AS SELECT 1 AS a")
    for check in (True, False):
        with pytest.raises(OptionError, match=r"1\.sql: v is not in this database: leave elsewhere out"):
            install(items, "CREATE MATERIALIZED VIEW elsewhere.public.v AS SELECT 1 AS a", check=check)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_databases_in_other_encodings(server: Server, encoding: str) -> None:
    server.sql(f"CREATE DATABASE other_{encoding} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    database = Database(server, f"other_{encoding}".lower())
    try:
        database.sql(TABLE)
        text = "CREATE OR REPLACE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$ SELECT 'Zoë' $$"
        text += "; COMMENT ON FUNCTION f() IS 'ë'"
        exact(database, text, "CREATE MATERIALIZED VIEW öl AS SELECT name FROM item")
        assert database.value("SELECT length(public.f())") == (4 if encoding == "SQL_ASCII" else 3)
        assert "'Zoë'" in install(database, text.replace("Zoë", "Zoë!"), check=True)["diff"][0]["before"]
        if encoding == "LATIN1":
            with pytest.raises(SqlError, match=r"1\.sql:2: character .* has no equivalent"):
                install(database, "SELECT 1;\nCREATE OR REPLACE VIEW v AS SELECT '☃'::text AS a")
    finally:
        database.close()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xef\xbb\xbf" + FUNCTION.encode(), ""),
        (b"\xef\xbb\xbf" + VIEW.encode(), ""),
        (FUNCTION.replace("\n", "\r\n").encode(), ""),
        (b"-- x\n-- \xe9t\xe9\nSELECT 1", r"one\.sql:2: byte 0xE9 is not UTF-8"),
        (FUNCTION.encode("utf-16"), r"one\.sql is in UTF-16"),
        (b"SELECT 1;\nSELECT '\x00'", r"one\.sql:2: there is a NUL byte"),
        (b"SELECT 1;\n/* never closed", r"one\.sql:2: a comment is opened and not closed"),
    ],
)
def test_files(items: Database, tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "one.sql").write_bytes(content)

    def run() -> dict[str, Any]:
        return install(items, src=str(tmp_path / "one.sql"))

    if fault:
        with pytest.raises(OptionError, match=fault):
            run()
    else:
        assert run()["changed"]
        assert not run()["changed"]
        assert not install(items, sql="\ufeff" + content.decode("utf-8-sig"))["changed"]


def test_sequences_extensions_and_what_belongs_to_them(items: Database) -> None:
    role = items.role()
    items.sql('CREATE SEQUENCE counter; CREATE SCHEMA ext; CREATE TABLE "serial" (id serial)')
    grants = f"GRANT USAGE, SELECT ON SEQUENCE counter, serial_id_seq TO {role}; COMMENT ON SEQUENCE counter IS 'x'"
    assert {name for name, _result in exact(items, grants)} == {"public.counter", "public.serial_id_seq"}
    exact(items, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    extension = "CREATE EXTENSION IF NOT EXISTS citext SCHEMA ext"
    assert exact(items, extension) == [("citext", "create")]
    assert [one["operation"] for one in install(items, extension)["actions"]] == ["keep"]
    found = exact(items, f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ext TO {role}")
    assert any(name.startswith("ext.min(") for name, _result in found)
    exact(items, f"ALTER DEFAULT PRIVILEGES IN SCHEMA ext GRANT EXECUTE ON FUNCTIONS TO {role}")


def test_a_grant_that_only_warns_is_a_failure(items: Database) -> None:
    owner, other = items.role("owner"), items.role("other")
    items.sql(f"GRANT SELECT ON item TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}")
    for statement, warning in (
        (f"GRANT SELECT, UPDATE ON item TO {other}", "no privileges were granted"),
        (f"REVOKE SELECT ON item FROM {other}", "no privileges could be revoked"),
    ):
        before = catalog(items)
        for check in (True, False):
            with pytest.raises(MaintenanceError, match=rf"2\.sql:2: the server warns: WARNING:\s+{warning}"):
                install(items, FUNCTION, f"SELECT 1;\n{statement}; SELECT 2", role=owner, check=check)
        assert catalog(items) == before
    meant = "DO $$ BEGIN RAISE WARNING 'by itself'; RAISE INFO 'told'; END $$;" + FUNCTION
    assert install(items, meant)["warnings"] == ["WARNING:  by itself"]


def test_advice_keeps_the_data(items: Database) -> None:
    """The statements that are told lead to what the script says, with every row in its place."""
    for made, changed in (
        ("CREATE TYPE public.mood AS ENUM ('a', 'c')", "CREATE TYPE public.mood AS ENUM ('z', 'a', 'b', 'c', 'd')"),
        ("CREATE TYPE public.mood AS ENUM ('a', 'b')", "CREATE TYPE public.mood AS ENUM ('a', 'it''s')"),
        ("CREATE DOMAIN public.mood AS text DEFAULT 'q' CHECK (VALUE <> 'x')",
         "CREATE DOMAIN public.mood AS text NOT NULL CHECK (VALUE <> 'y') CHECK (VALUE <> 'z')"),
        ("CREATE TYPE public.mood AS (a int, b text)", "CREATE TYPE public.mood AS (a int, b text, \"C d\" text COLLATE \"C\")"),
        ("CREATE TYPE public.mood AS ENUM ('a', 'b')", "CREATE TYPE public.mood AS ENUM ('b', 'a')"),
    ):  # fmt: skip
        install(items, made)
        items.sql("CREATE TABLE uses (m mood); INSERT INTO uses VALUES (%s)", ["(1,x)" if "(a int" in made else "a"])
        before = catalog(items)
        with pytest.raises(OptionError) as caught:
            install(items, changed, on_conflict="recreate")
        assert catalog(items) == before
        message = str(caught.value)
        assert "column m of table public.uses" in message
        assert "drop column" not in message.lower()
        told = message.partition("What keeps the data: ")[2]
        if "beside public.mood" not in told:
            for statement in told.split("; "):
                items.sql(statement)
            assert items.value("SELECT count(*) FROM uses") == 1
            assert not install(items, changed)["changed"]
        items.sql("DROP TABLE uses; DROP TYPE mood")
