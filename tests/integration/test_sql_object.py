# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module sql_object against real PostgreSQL: objects of all kinds, ways in, results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import install as _objects
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from tests.objects import FUNCTION, INDEX, TABLE, VIEW, catalog, exact, install, results
from tests.runs import perform, playbook, until
from tests.servers import Database, Server


def test_created_then_unchanged(items: Database) -> None:
    assert exact(items, FUNCTION, VIEW) == [
        ("public.twice(n integer)", "create"),
        ("public.items", "create"),
    ]
    known = catalog(items)
    assert not install(items, FUNCTION, VIEW, check=True)["changed"]
    assert catalog(items) == known
    assert items.value("SELECT public.twice(21)") == 42
    assert items.value("SELECT count(*) FROM items") == 9
    assert items.value("SELECT obj_description('items'::regclass)") == "All"


RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'vtchat%'"


@pytest.mark.parametrize("schema", ["public", "Schéma \"with\".dots 'and' %s {0}"])
def test_names_that_need_quotes(items: Database, schema: str) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    where, table, view = (quoted(name) for name in (schema, "Tab; le", 'View; "x" -- y'))
    items.sql(f'CREATE SCHEMA IF NOT EXISTS {where}; CREATE TABLE {where}.{table} ("A" int)')
    scripts = (
        f'CREATE OR REPLACE FUNCTION {where}.{quoted("ü" * 31)}("An arg" int DEFAULT 1) RETURNS text LANGUAGE sql '
        "AS $$ SELECT '%s {0} \\' $$",
        f'CREATE MATERIALIZED VIEW {where}.{view} AS SELECT "A" FROM {where}.{table} /* ; */',
        f'CREATE OR REPLACE VIEW {where}."V" AS SELECT 1 AS "One"',
        f'GRANT SELECT ON {where}."V" TO PUBLIC',
    )
    found = exact(items, *scripts)
    assert [result for _name, result in found] == ["create"] * 3 + ["replace"]
    items.sql(f'CREATE INDEX "Index (1) ON x" ON {where}.{view} ("A")')
    changed = scripts[1].replace('SELECT "A"', 'SELECT "A" + 1 AS "A"')
    assert [result for _name, result in exact(items, changed)] == ["replace"]
    assert items.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'Index (1) ON x'") == 1


def test_names_without_quotes_are_folded(items: Database) -> None:
    exact(
        items,
        VIEW.replace("public.items", "Public.ITEMS").replace(
            "CREATE MATERIALIZED", "create/* a /* b */ c */ materialized"
        ),
    )
    assert not install(items, VIEW)["changed"]


def test_triggers_views_schemas_and_grants(items: Database) -> None:
    role = items.role()
    scripts = (
        "CREATE SCHEMA IF NOT EXISTS app; COMMENT ON SCHEMA app IS 'x'",
        "CREATE OR REPLACE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE OR REPLACE TRIGGER touch BEFORE INSERT ON public.item FOR EACH ROW EXECUTE FUNCTION app.touch()",
        "CREATE OR REPLACE PROCEDURE app.nothing() LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
        "CREATE OR REPLACE VIEW app.names WITH (security_barrier) AS SELECT name FROM public.item",
        f"GRANT SELECT ON app.names, public.item TO {role}; GRANT USAGE ON SCHEMA app TO {role}",
    )
    found = dict(exact(items, *scripts))
    assert found["touch on public.item"] == found["app.nothing()"] == "create"
    assert found["public.item"] == "replace"
    items.sql("ALTER TABLE item DISABLE TRIGGER touch")
    assert ("touch on public.item", "replace") in results(install(items, *scripts))


def test_a_comment_alone(items: Database) -> None:
    assert exact(items, "COMMENT ON TABLE public.item IS 'x'") == [("public.item", "replace")]
    assert exact(items, "COMMENT ON COLUMN public.item.id IS 'y'") == [("public.item", "replace")]
    assert exact(items, "COMMENT ON TABLE public.item IS NULL; COMMENT ON COLUMN public.item.name IS 'z'")
    assert items.value("SELECT string_agg(description, ', ' ORDER BY objsubid) FROM pg_description "
                       "WHERE objoid = 'item'::regclass") == "y, z"  # fmt: skip


def test_what_a_script_drops_is_listed(items: Database) -> None:
    install(items, FUNCTION)
    drop = FUNCTION.replace("twice", "thrice") + "DROP FUNCTION IF EXISTS public.twice(int)"
    assert set(exact(items, drop)) == {("public.thrice(n integer)", "create"), ("public.twice(n integer)", "drop")}
    install(items, FUNCTION)
    assert ("public.twice(n integer)", "drop") in exact(items, drop)
    assert items.value("SELECT to_regprocedure('public.twice(int)')") is None


def test_a_script_of_comments_only_is_nothing(items: Database) -> None:
    without, comments = install(items, ""), install(items, "-- nothing\n/* at all */\n")
    # The lock of an installation that has just ended may have to be asked for again.
    assert {**comments, "turns": 0, "seconds": 0} == {
        **without,
        "turns": 0,
        "seconds": 0,
        "changed": False,
        "actions": [],
        "diff": [],
    }


def test_one_script_by_name(items: Database) -> None:
    result = install(items, sql=FUNCTION, name="twice.sql")
    assert result["actions"] == [
        {
            "step": 1,
            "operation": "create",
            "kind": "function",
            "target": "public.twice(n integer)",
            "outcome": "done",
            "reason": "there is no function of that name",
            "changed": True,
            "rows": None,
            "seconds": 0.0,
            "numbers": {},
            "statements": [],
            "script": "twice.sql",
            "drift": [],
        }
    ]
    assert (result["msg"], result["status"], result["totals"]) == ("sql_object: 1 done", "ok", {"done": 1})
    assert result["diff"][0]["before"] == ""
    assert "RETURNS integer" in result["diff"][0]["after"]
    assert "-- comment: Twice as much" in result["diff"][0]["after"]


def test_another_role_and_its_rights(items: Database) -> None:
    owner, nobody = items.role("owner"), items.role("nobody")
    items.sql(f"GRANT CREATE ON SCHEMA public TO {owner}")
    install(items, FUNCTION, role=owner)
    assert items.value("SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'twice'") == owner
    with pytest.raises(MaintenanceError, match=r"1\.sql:3: permission denied for schema public"):
        install(items, FUNCTION, role=nobody)


def test_function_with_an_exception_block_in_a_script(items: Database) -> None:
    """Savepoints of the script's own."""
    script = """
    DO $$ BEGIN CREATE OR REPLACE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    EXCEPTION WHEN duplicate_function THEN NULL; END $$;
    DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
    COMMENT ON FUNCTION public.one() IS 'one';
    """
    assert exact(items, script) == [("public.one()", "create")]


def test_the_same_on_15(postgres15: Server) -> None:
    database = postgres15.create_database()
    try:
        database.sql(TABLE)
        exact(database, FUNCTION, VIEW)
        database.sql(INDEX)
        database.sql("CREATE VIEW top AS SELECT id FROM items")
        exact(
            database,
            FUNCTION.replace("n * 2", "n + n"),
            VIEW.replace("id, name", "id, name, added"),
            on_conflict="recreate",
        )
        exact(database, FUNCTION.replace("RETURNS int", "RETURNS bigint"), on_conflict="recreate")
        exact(database, "CREATE TYPE public.mood AS ENUM ('a'); COMMENT ON TYPE public.mood IS 'x'")
    finally:
        database.close()


def test_nothing_of_check_mode_is_left(items: Database) -> None:
    items.sql("CREATE SEQUENCE counter")
    session_before = items.value("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")
    install(items, FUNCTION, VIEW, check=True, indexes=[INDEX])
    assert items.value("SELECT last_value FROM counter") == 1
    assert items.value("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == session_before
    assert items.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg_temp%'") == 0
    locks = (
        "SELECT count(*) FROM pg_locks WHERE database = (SELECT oid FROM pg_database "
        "WHERE datname = current_database()) AND pid <> pg_backend_pid()"
    )
    until(lambda: items.value(locks) == 0)  # a backend lives on for a moment after its client has gone


def test_a_transaction_pooler_is_refused(items: Database) -> None:
    session = open_session(ConnectionOptions.read(items.dsn), "test")
    session.shared = True
    with pytest.raises(OptionError, match="transaction pooler"):
        _objects.install(session, [], check=True)
    session.close()


def test_both_ways_in_and_files_of_the_controller(items: Database, tmp_path: Path) -> None:
    """In Ansible's process and as a module; src is found in files/ beside the playbook."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "twice.sql").write_text(FUNCTION)
    options = {"dsn": items.dsn, "scripts": [{"src": "twice.sql"}, {"name": "view", "sql": VIEW}]}
    tasks = [
        {"vtchat.maintenance.sql_object": options, "register": "here", "check_mode": True},
        {"vtchat.maintenance.sql_object": options, "register": "module", "check_mode": True, "environment": {"X": "1"}},
        {"vtchat.maintenance.sql_object": {"dsn": items.dsn, "src": "missing.sql"}, "register": "missing", "ignore_errors": True},
        {"vtchat.maintenance.sql_object": {**options, "sql": "x", "budget": -1}, "register": "wrong", "ignore_errors": True},
        {"ansible.builtin.copy": {"content": "{{ [here, module, missing, wrong] | to_json }}",
                                  "dest": str(tmp_path / "out.json")}},
    ]  # fmt: skip
    done = playbook(tmp_path, [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}],
                    {"ansible_python_interpreter": sys.executable})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    here, module, missing, wrong = json.loads((tmp_path / "out.json").read_text())
    assert here["actions"] == module["actions"]
    assert [(one["script"], one["operation"]) for one in here["actions"]] == [
        ("twice.sql", "create"),
        ("view", "create"),
    ]
    assert "src: cannot read missing.sql" in missing["msg"]
    assert "mutually exclusive" in wrong["msg"]


ZOO = (
    'CREATE SCHEMA IF NOT EXISTS "Zoo"; COMMENT ON SCHEMA "Zoo" IS \'animals\'',
    """CREATE OR REPLACE FUNCTION "Zoo".f(a int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + 1;
    CREATE OR REPLACE FUNCTION "Zoo".f(a text) RETURNS text LANGUAGE sql AS $body$ SELECT $$;$$ || a $body$;
    CREATE OR REPLACE FUNCTION "Zoo".f(a int, b int DEFAULT 2, OUT c int) LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
    AS $$ BEGIN c := a; END $$;
    CREATE OR REPLACE FUNCTION "Zoo".rows(n int) RETURNS TABLE (id int, name text) LANGUAGE sql ROWS 7
    BEGIN ATOMIC SELECT i.id, CASE WHEN i.id > 0 THEN i.name END FROM public.item AS i LIMIT n; END;
    COMMENT ON FUNCTION "Zoo".f(text) IS 'it''s; /* no comment */'; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA "Zoo" FROM PUBLIC""",
    'CREATE OR REPLACE VIEW "Zoo".v WITH (security_barrier) AS SELECT id, name FROM public.item WHERE id > 0 '
    'WITH LOCAL CHECK OPTION; COMMENT ON COLUMN "Zoo".v.id IS \'key\'; GRANT SELECT (id) ON "Zoo".v TO PUBLIC',
    'CREATE MATERIALIZED VIEW "Zoo".m (a, "B") WITH (fillfactor = 70, autovacuum_enabled = off) AS '
    "SELECT id, name FROM public.item",
)


def test_a_zoo_stays_as_it_is(items: Database) -> None:
    found = exact(items, *ZOO)
    assert [result for _name, result in found] == ["create"] * 7
    items.sql(
        "CREATE SCHEMA other; SET search_path = other, public; CREATE FUNCTION other.f(a int) RETURNS int RETURN 1"
    )
    assert not install(items, *ZOO)["changed"]
    items.sql('ALTER MATERIALIZED VIEW "Zoo".m SET (fillfactor = 80)')
    assert ('"Zoo".m', "replace") in exact(items, *ZOO)
    assert (
        items.value("SELECT reloptions::text FROM pg_class WHERE relname = 'm'")
        == "{fillfactor=70,autovacuum_enabled=off}"
    )


def test_the_number_of_turns_does_not_depend_on_the_scripts(items: Database) -> None:
    def turns(*scripts: str) -> int:
        # The lock of the installation before, which may not have ended quite, would have to be asked for again.
        until(lambda: not items.value(RUNNING))
        return int(install(items, *scripts)["turns"])

    scripts = [FUNCTION.replace("twice", f"twice{n}") for n in range(20)]
    assert turns(FUNCTION) == turns(*scripts) <= 6
    assert turns(*scripts) <= 4


@pytest.mark.parametrize("version", [18, 15])
def test_without_a_superuser(server: Server, postgres15: Server, version: int) -> None:
    """An owner like those that providers give; a schema of its own, objects of others out of reach."""
    database = (server if version == 18 else postgres15).create_database()
    try:
        owner, reader = database.role("owner"), database.role("reader")
        database.sql(f"CREATE SCHEMA app AUTHORIZATION {owner}; CREATE TABLE public.other (a int)")
        database.sql(
            f"SET ROLE {owner}; CREATE TABLE app.item (id int, name text); INSERT INTO app.item VALUES (1, 'a')"
        )
        scripts = [
            text.replace("public.", "app.")
            for text in (FUNCTION, VIEW, "CREATE OR REPLACE VIEW app.v AS SELECT id, name FROM app.items")
        ]
        given = {
            "on_conflict": "recreate",
            "indexes": ["CREATE INDEX i ON app.items (id)"],
        }

        def run(*texts: str, check: bool = False) -> dict[str, Any]:
            result = perform(
                "sql_object", database.dsn_as(owner), check, scripts=[{"sql": text} for text in texts], **given
            )
            assert not result.get("failed"), result
            return result

        predicted, done = run(*scripts, check=True), run(*scripts)
        assert predicted["diff"] == done["diff"]
        assert not run(*scripts)["changed"]
        database.sql(f"GRANT SELECT ON app.v TO {reader}; GRANT EXECUTE ON FUNCTION app.twice(int) TO {reader}")
        assert len(run(*scripts, check=True)["warnings"]) == 2
        changed = [
            scripts[0].replace("RETURNS int", "RETURNS bigint"),
            scripts[1].replace("id, name", "id, id + 1 AS more, name"),
        ]
        predicted, done = run(*changed, check=True), run(*changed)
        assert predicted["diff"] == done["diff"]
        assert [one["operation"] for one in done["actions"]] == ["replace", "replace", "keep"]
        assert database.value("SELECT has_table_privilege(%s, 'app.v', 'SELECT')", [reader])
        failed = perform(
            "sql_object", database.dsn_as(owner), False, sql="GRANT SELECT ON public.other TO PUBLIC", **given
        )
        assert "permission denied for table other" in failed["msg"]
    finally:
        database.close()


def test_the_history_is_created_with_the_objects(items: Database) -> None:
    def run(check: bool) -> tuple[str, Any]:
        result = install(items, FUNCTION, check=check, history=True)
        assert result["warnings"] == []
        return result["actions"][-1]["operation"], items.value("SELECT to_regclass('maintenance.run') IS NOT NULL")

    assert [run(check) for check in (True, False, True, False)] == [
        ("create", False), ("create", True), ("keep", True), ("keep", True)]  # fmt: skip
    owner = items.role()
    items.sql(f"GRANT CREATE ON SCHEMA public TO {owner}; DROP SCHEMA maintenance CASCADE; DROP FUNCTION twice(int)")
    for check in (True, False):
        result = install(items, FUNCTION, check=check, history=True, role=owner)
        assert "GRANT CREATE ON DATABASE" in result["warnings"][0]
