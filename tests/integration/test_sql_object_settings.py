# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a script sets for itself: role, search_path, limits, temporary objects. Nothing of it reaches anything else."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.objects import FUNCTION, VIEW, Readers, catalog, contended, exact, install, results
from tests.servers import Database

# As pg_dump begins a file, and what people add.
DUMP = """SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = error;
SET row_security = off;
SET app.tenant = 'a';
"""
SEES = """CREATE OR REPLACE FUNCTION public.{0}() RETURNS text LANGUAGE sql AS '{1}';
DO $$ BEGIN EXECUTE format('COMMENT ON FUNCTION public.{0}() IS %L', concat_ws(' ', current_user, session_user,
    current_setting('search_path'), current_setting('lock_timeout') = '0', nullif(current_setting('app.tenant', true), ''),
    current_setting('work_mem'), to_regclass('pg_temp.scratch'))); END $$;
"""


def test_what_a_script_sets_does_not_reach_the_next(items: Database) -> None:
    role = items.role()
    items.sql(f"GRANT CREATE ON SCHEMA public TO {role}; CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO {role}")
    plain = SEES.format("last", "SELECT 1::text")
    install(items, plain)
    seen = items.value("SELECT obj_description('public.last()'::regprocedure)")
    items.sql("DROP FUNCTION last()")
    for setting in (
        DUMP, f"SET ROLE {role}", f"SET SESSION AUTHORIZATION {role}", f"SET LOCAL ROLE {role}", "SET search_path = app",
        "SELECT set_config('work_mem', '1MB', true)", "DO $$ BEGIN SET app.tenant = 'b'; SET work_mem = '2MB'; END $$",
        "CREATE TEMP TABLE scratch (a int)", "SET SESSION search_path = app; SET LOCAL search_path = public", "RESET ALL",
    ):  # fmt: skip
        first = f"{setting};\nCREATE OR REPLACE FUNCTION public.first() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        assert [result for _name, result in results(install(items, first, plain, VIEW))] == ["create"] * 3, setting
        assert not install(items, first, plain, VIEW)["changed"], setting
        assert items.value("SELECT obj_description('public.last()'::regprocedure)") == seen, setting
        items.sql("DROP FUNCTION first(), last(); DROP MATERIALIZED VIEW items")


def test_what_a_script_sets_holds_in_all_of_it(items: Database) -> None:
    """Also for views and types, which are tried out by themselves."""
    role = items.role()
    items.sql(f"CREATE SCHEMA app AUTHORIZATION {role}; GRANT SELECT ON item TO {role}")
    script = f"""SET search_path = app, public; SET ROLE {role};
    CREATE MATERIALIZED VIEW v AS SELECT id FROM item;
    CREATE TYPE mood AS ENUM ('a'); COMMENT ON TYPE mood IS 'x';
    CREATE OR REPLACE FUNCTION f() RETURNS mood LANGUAGE sql AS $$ SELECT 'a'::app.mood $$;
    CREATE MATERIALIZED VIEW w AS SELECT id AS n, f() AS m FROM v; COMMENT ON MATERIALIZED VIEW w IS 'y'"""
    assert {name for name, _result in exact(items, script)} == {"app.v", "app.mood", "app.f()", "app.w"}
    assert items.sql("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relkind = 'm'") == [(role,)]
    assert items.value("SELECT count(*) FROM app.w WHERE m = 'a'") == 9
    changed = script.replace("SELECT id FROM", "SELECT id, name FROM").replace("id AS n,", "id AS n, 1 AS o,")
    with pytest.raises(OptionError, match=r"app\.v .*materialized view app\.w"):
        install(items, changed)
    changed = script.replace("id AS n,", "id AS n, 1 AS o,")
    assert ("app.w", "replace") in exact(items, changed)
    assert items.value("SELECT relowner::regrole::text FROM pg_class WHERE oid = 'app.w'::regclass") == role


@pytest.mark.parametrize(
    "setting",
    ["SET lock_timeout = 0", "SET LOCAL lock_timeout TO DEFAULT", "RESET ALL", "SELECT set_config('lock_timeout', '0', false)",
     "SET SESSION lock_timeout = '1h'"],
)  # fmt: skip
def test_limits_are_ours_whatever_a_script_sets(items: Database, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "BLOCKING", 0.3)
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", ())
    view = "CREATE OR REPLACE VIEW public.v AS SELECT id FROM public.item"
    install(items, view)
    holder = items.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM v")
    with Readers(items, "SELECT count(*) FROM v", 1) as readers:
        for check in (True, False):
            script = f"{setting};\n" + view.replace("id FROM", "id, name FROM")
            assert contended(install(items, script, check=check, budget=60), r"1\.sql: .*lock timeout") == [
                ("1.sql", "install")
            ]
    holder.close()
    assert readers.errors == []
    assert readers.slowest < 15  # the limit is 0.3, and the budget much more


def test_a_do_block_that_would_wait_longer_is_refused(items: Database) -> None:
    with pytest.raises(OptionError, match=r"1\.sql:2: lock_timeout is set in a DO block"):
        install(items, "\nDO $$ BEGIN SET lock_timeout = 0; CREATE OR REPLACE VIEW v AS SELECT 1 AS a; END $$")


def test_temporary_objects_are_the_scripts_own(items: Database) -> None:
    first = """CREATE TEMP TABLE scratch AS SELECT 7 AS a; INSERT_ROWS
    CREATE OR REPLACE TEMP VIEW s AS SELECT a FROM scratch; CREATE FUNCTION pg_temp.f() RETURNS int RETURN 1;
    DO $$ BEGIN EXECUTE format('COMMENT ON TABLE public.item IS %L', (SELECT a + pg_temp.f() FROM s)); END $$"""
    first = first.replace("INSERT_ROWS", "DO $$ BEGIN UPDATE scratch SET a = 8; END $$;")
    second = "CREATE TEMP TABLE scratch (b int); COMMENT ON COLUMN public.item.id IS 'x'"
    assert [name for name, _result in exact(items, first, second)] == ["public.item", "public.item"]
    assert items.value("SELECT obj_description('item'::regclass)") == "9"
    with pytest.raises(OptionError, match=r"1\.sql: .*that would stay"):
        install(items, "CREATE TEMP TABLE scratch (a int); SET work_mem = '1MB'")


def test_a_strangers_functions_are_not_called_after_a_script_has_set_the_path(items: Database) -> None:
    """Functions and operators that fit our statements better than the server's, in a schema of the path."""
    items.sql("CREATE SCHEMA trap; CREATE TABLE trap.sprung (name text); GRANT ALL ON SCHEMA trap TO PUBLIC")
    for name, arguments, returns in (
        ("set_config", "text, text, boolean", "text"), ("coalesce_", "text", "text"), ("concat", "text, text", "text"),
        ("to_regclass", "text", "regclass"), ("current_schema", "", "name"), ("jsonb_agg", "jsonb", "jsonb"),
        ("jsonb_build_array", "bigint, bigint", "jsonb"), ("format", "text, text", "text"),
        ("to_regprocedure", "text", "regprocedure"),
    ):  # fmt: skip
        items.sql(f"CREATE FUNCTION trap.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS "
                  f"$$ BEGIN INSERT INTO trap.sprung VALUES ('{name}'); RAISE EXCEPTION 'trapped: {name}'; END $$")  # fmt: skip
    for left, right in (("jsonb", "text"), ("text", "text"), ("oid", "oid"), ("text", "unknown"), ("bigint", "bigint")):
        if right != "unknown":
            items.sql(f"CREATE FUNCTION trap.op(a {left}, b {right}) RETURNS boolean LANGUAGE plpgsql AS "
                      "$$ BEGIN RAISE EXCEPTION 'trapped: operator'; END $$")  # fmt: skip
            for sign in ("->>", "<>", "=", "||", ">"):
                items.sql(f"CREATE OPERATOR trap.{sign} (FUNCTION = trap.op, LEFTARG = {left}, RIGHTARG = {right})")
    path = "SET search_path = trap, pg_catalog, public;"
    scripts = (path + FUNCTION, path + VIEW.replace("public.items", "items"), path + "CREATE TYPE mood AS ENUM ('a')",
               path + "CREATE OR REPLACE VIEW public.v AS SELECT id, name FROM public.item")  # fmt: skip
    items.sql(f'ALTER DATABASE "{items.name}" SET search_path = trap, pg_catalog, public')
    install(items, *scripts)
    install(items, scripts[3].replace("id, name", "id"), on_conflict="recreate")
    install(items, scripts[0].replace("RETURNS int", "RETURNS bigint"), on_conflict="recreate")
    install(items, scripts[1].replace("id, name", "id"), indexes=["CREATE INDEX i ON items (id)"])
    install(
        items, "DROP MATERIALIZED VIEW trap.items", scripts[1], indexes=["CREATE INDEX i ON items (id)"], check=True
    )
    assert items.sql("SELECT * FROM trap.sprung") == []


def test_a_temporary_table_does_not_stand_in_for_a_catalog(items: Database) -> None:
    script = """CREATE TEMP TABLE pg_class (oid oid, relname name); CREATE TEMP TABLE pg_proc (oid oid);
    CREATE TEMP VIEW pg_namespace AS SELECT 1 AS oid;
    CREATE OR REPLACE FUNCTION public.f() RETURNS int RETURN 1"""
    assert exact(items, script) == [("public.f()", "create")]


def test_two_files_that_define_the_same_function(items: Database) -> None:
    other = FUNCTION.replace("n * 2", "n + n")
    assert [result for _name, result in exact(items, FUNCTION, other)] == ["create", "replace"]
    assert "n + n" in items.value("SELECT prosrc FROM pg_proc WHERE proname = 'twice'")
    before = catalog(items)
    for check in (True, False):
        again = install(items, FUNCTION, other, check=check)
        assert results(again) == [("public.twice(n integer)", "keep")] * 2
    assert catalog(items) == before
    assert not install(items, "DROP FUNCTION IF EXISTS public.twice(int)", other)["changed"]
    with pytest.raises(OptionError, match=r"2\.sql: the materialized view items is defined in 1\.sql too"):
        install(items, VIEW, VIEW.replace("id, name", "id"))


def test_a_script_cannot_end_the_trial_by_itself(items: Database) -> None:
    with pytest.raises(SqlError, match="mine"):
        install(items, "DO $$ BEGIN RAISE 'mine' USING ERRCODE = 'VM000'; END $$")


def test_the_session_goes_on_as_it_was(items: Database) -> None:
    """Indexes are made after the scripts, with our limits and path, not those that a script has set."""
    result = install(items, DUMP + VIEW, indexes=["CREATE INDEX by_name ON items (name)"], history=True)
    assert [one["operation"] for one in result["actions"]] == ["create", "create", "create"]
