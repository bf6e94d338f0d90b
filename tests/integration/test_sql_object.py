# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module sql_object against real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge, _policy, _sql_object
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import (
    Contended,
    MaintenanceError,
    OptionError,
    SqlError,
)
from tests.servers import Database

TABLE = """
CREATE TABLE item (id int PRIMARY KEY, name text, added timestamp);
INSERT INTO item SELECT n, 'n' || n FROM generate_series(1, 9) AS n
"""
FUNCTION = """
-- A comment of the file, with a 'quote' and a ; in it
CREATE OR REPLACE FUNCTION public.twice(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 2 $$;
COMMENT ON FUNCTION public.twice(int) IS 'Twice as much';
"""
VIEW = """CREATE MATERIALIZED VIEW public.items AS SELECT id, name FROM public.item;
COMMENT ON MATERIALIZED VIEW public.items IS 'All';
"""
INDEX = "CREATE UNIQUE INDEX items_id ON public.items (id)"

# Everything that an installation could leave behind.
CATALOG = """
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
    SELECT c.oid::text || c::text AS line FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT p.xmin || p::text FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
    UNION ALL SELECT r.xmin || r::text FROM pg_rewrite AS r
    UNION ALL SELECT d.xmin || d::text FROM pg_description AS d
    UNION ALL SELECT n.xmin || n::text FROM pg_namespace AS n
) AS lines
"""


def install(database: Database, *scripts: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns."""
    given = {"dsn": database.dsn, "connect_deadline": 10.0, **options}
    if not {"sql", "src", "scripts"} & set(options):
        given["scripts"] = [{"name": f"{number}.sql", "sql": text} for number, text in enumerate(scripts, 1)]
    parameters = _edge.validated("sql_object", given)
    return _sql_object.perform(_edge._connection(parameters), parameters, check)


def results(result: dict[str, Any]) -> list[tuple[str, str]]:
    assert result["changed"] == any(one["result"] != "unchanged" for one in result["objects"])
    assert len(result["diff"]) == sum(one["result"] != "unchanged" for one in result["objects"])
    return [(one["object"], one["result"]) for one in result["objects"]]


def exact(database: Database, *scripts: str) -> list[tuple[str, str]]:
    """Check, do, check again, do again: the prediction must be exact and leave no trace, the second run must do nothing."""
    before = database.value(CATALOG)
    predicted = install(database, *scripts, check=True)
    assert database.value(CATALOG) == before
    done = install(database, *scripts)
    assert results(predicted) == results(done)
    assert predicted["diff"] == done["diff"]
    after = database.value(CATALOG)
    assert (after != before) is done["changed"]
    for check in (True, False):
        assert not install(database, *scripts, check=check)["changed"]
        assert database.value(CATALOG) == after
    return results(done)


@pytest.fixture
def items(database: Database) -> Database:
    database.sql(TABLE)
    return database


def test_created_then_unchanged(items: Database) -> None:
    assert exact(items, FUNCTION, VIEW) == [
        ("public.twice(n integer)", "created"),
        ("public.items", "created"),
    ]
    assert items.value("SELECT public.twice(21)") == 42
    assert items.value("SELECT count(*) FROM items") == 9
    assert items.value("SELECT obj_description('items'::regclass)") == "All"


@pytest.mark.parametrize(
    ("drift", "changed"),
    [
        (
            "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3'",
            "public.twice(n integer)",
        ),
        ("ALTER FUNCTION twice(int) SECURITY DEFINER", "public.twice(n integer)"),
        ("COMMENT ON FUNCTION twice(int) IS 'x'", "public.twice(n integer)"),
        ("COMMENT ON FUNCTION twice(int) IS NULL", "public.twice(n integer)"),
        ("DROP FUNCTION twice(int)", "public.twice(n integer)"),
        ("COMMENT ON MATERIALIZED VIEW items IS NULL", "public.items"),
    ],
)
def test_drift_is_repaired(items: Database, drift: str, changed: str) -> None:
    install(items, FUNCTION, VIEW)
    items.sql(drift)
    found = exact(items, FUNCTION, VIEW)
    assert [name for name, result in found if result != "unchanged"] == [changed]
    assert items.value("SELECT public.twice(21)") == 42
    assert items.value("SELECT count(*) FROM items") == 9


def test_a_changed_view_keeps_what_hangs_on_it(items: Database) -> None:
    owner, reader = items.role("owner"), items.role("Reader 'x\"")
    install(items, VIEW)
    items.sql(INDEX)
    items.sql("CREATE INDEX \"by Name\" ON items (lower(name)) WHERE id > 1; COMMENT ON INDEX \"by Name\" IS 'it''s'")
    items.sql(f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}; GRANT SELECT ON item TO {owner}")
    items.sql(f"ALTER MATERIALIZED VIEW items OWNER TO {owner}")
    quoted = '"' + reader.replace('"', '""') + '"'
    items.sql(f"GRANT SELECT ON items TO {quoted} WITH GRANT OPTION")
    kept = """SELECT pg_get_userbyid(relowner), relacl::text, obj_description(oid),
        (SELECT array_agg(pg_get_indexdef(indexrelid) || obj_description(indexrelid) ORDER BY indexrelid)
         FROM pg_index WHERE indrelid = c.oid)
        FROM pg_class AS c WHERE oid = 'items'::regclass"""
    before = items.sql(kept)

    wider = VIEW.replace("id, name", 'id, name, added AS "when"')
    assert exact(items, wider) == [("public.items", "replaced")]

    assert items.sql(kept) == before
    assert items.value('SELECT count(*) FROM items WHERE "when" IS NULL') == 9
    assert items.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'vtchat%'") == 0


def test_a_view_that_others_depend_on_is_not_replaced(items: Database) -> None:
    install(items, VIEW)
    items.sql('CREATE VIEW "On top" AS SELECT id FROM items; CREATE MATERIALIZED VIEW more AS SELECT name FROM items')
    assert not install(items, VIEW)["changed"]
    for check in (True, False):
        with pytest.raises(
            OptionError, match=r'1\.sql: public\.items .* materialized view public\.more, view public\."On top"'
        ):
            install(items, VIEW.replace("id, name", "name"), check=check)
    assert items.value("SELECT count(*) FROM items WHERE id > 0") == 9


def test_an_index_whose_column_goes_is_named(items: Database) -> None:
    install(items, VIEW)
    items.sql(INDEX)
    with pytest.raises(SqlError, match='column "id" does not exist'):
        install(items, VIEW.replace("id, name", "name"))
    assert items.value("SELECT count(id) FROM items") == 9


def test_with_no_data_and_with_data(items: Database) -> None:
    empty = VIEW.replace("item;", "item\nWITH NO DATA -- later\n;")
    exact(items, empty)
    assert not items.value("SELECT relispopulated FROM pg_class WHERE oid = 'items'::regclass")
    items.sql("REFRESH MATERIALIZED VIEW items")
    assert not install(items, empty)["changed"]
    assert not install(items, VIEW)["changed"]
    assert not install(items, VIEW.replace("item;", "item WITH DATA;"))["changed"]


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
    assert [result for _name, result in found] == ["created"] * 3 + ["replaced"]
    items.sql(f'CREATE INDEX "Index (1) ON x" ON {where}.{view} ("A")')
    changed = scripts[1].replace('SELECT "A"', 'SELECT "A" + 1 AS "A"')
    assert [result for _name, result in exact(items, changed)] == ["replaced"]
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
    assert found["touch on public.item"] == found["app.nothing()"] == "created"
    assert found["public.item"] == "replaced"
    items.sql("ALTER TABLE item DISABLE TRIGGER touch")
    assert ("touch on public.item", "replaced") in results(install(items, *scripts))


def test_a_comment_alone(items: Database) -> None:
    assert exact(items, "COMMENT ON TABLE public.item IS 'x'") == [("public.item", "replaced")]
    assert exact(items, "COMMENT ON COLUMN public.item.id IS 'y'") == [("public.item", "replaced")]
    assert exact(items, "COMMENT ON TABLE public.item IS NULL; COMMENT ON COLUMN public.item.name IS 'z'")
    assert items.value("SELECT string_agg(description, ', ' ORDER BY objsubid) FROM pg_description "
                       "WHERE objoid = 'item'::regclass") == "y, z"  # fmt: skip


def test_what_a_script_drops_is_listed(items: Database) -> None:
    install(items, FUNCTION)
    drop = FUNCTION.replace("twice", "thrice") + "DROP FUNCTION IF EXISTS public.twice(int)"
    assert set(exact(items, drop)) == {("public.thrice(n integer)", "created"), ("public.twice(n integer)", "dropped")}
    install(items, FUNCTION)
    assert ("public.twice(n integer)", "dropped") in exact(items, drop)
    assert items.value("SELECT to_regprocedure('public.twice(int)')") is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE OR REPLACE FUNCTION f() RETURNS int\nLANGUAGE sql AS\n$$ SELECT 1;\nSELECT nix $$", r'2\.sql:4: column "nix"'),
        ("-- x\nCREATE OR REPLACE PROCEDURE f() LANGUAGE plpgsql AS $$\nBEGIN\n  foo bar;\nEND $$", r"2\.sql:4: syntax error"),
        (VIEW + "\n\nGRANT NONSENSE;", r"2\.sql:5: syntax error at or near"),
        ("\nCREATE MATERIALIZED VIEW v AS\nSELECT nix\nFROM item;\nCOMMENT ON COLUMN v.a IS 'x'", r'2\.sql:3: column "nix"'),
        ("CREATE INDEX i ON item (id)", r"2\.sql: public\.i: indexes are what the module index is for"),
        ("SELECT 1;\nSELECT 1 / 0", r"2\.sql:2: division by zero"),
        ("COMMIT", r"2\.sql:1: .*transaction commands.*begins and ends by itself"),
        ("BEGIN; CREATE OR REPLACE VIEW v AS SELECT 1; COMMIT", r"2\.sql:1: .*transaction commands"),
        ("DO $$ BEGIN COMMIT; END $$", r"2\.sql:1: invalid transaction termination"),
        ("CREATE INDEX CONCURRENTLY i ON item (id)", r"2\.sql:1: .*CONCURRENTLY cannot .*module index"),
        ("REINDEX TABLE CONCURRENTLY item", r"2\.sql:1: REINDEX CONCURRENTLY cannot"),
        ("VACUUM item", r"2\.sql:1: VACUUM cannot"),
        ("SELECT 1;\n\\i other.sql", r"2\.sql:2: syntax error .*Commands of psql"),
        ("COPY item FROM stdin;\n1\n\\.", r"2\.sql:\d: "),
        ("CREATE TABLE other (id int)", r"2\.sql: public\.other: objects of this kind"),
        ("DROP TABLE item CASCADE", r"2\.sql: public\.item"),
        ("ALTER TABLE item ADD COLUMN extra int", r"2\.sql: public\.item: objects of this kind"),
        ("ALTER TABLE item ADD CHECK (id > 0)", r"2\.sql: constraint item_id_check on table public.item: objects of this kind"),
        ("CREATE POLICY p ON item", r"2\.sql: policy p on table .*item: objects of this kind"),
        ("UPDATE item SET name = 'x'", r"2\.sql: it changes rows of public\.item"),
        ("SELECT 1", r"2\.sql: it defines no function"),
        ("CREATE MATERIALIZED VIEW item AS SELECT 1 AS a", r"2\.sql: there is another object .* public\.item"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [True, False])
def test_a_failure_points_at_its_place_and_leaves_nothing(
    items: Database, script: str, message: str, check: bool
) -> None:
    install(items, VIEW)
    before, rows = items.value(CATALOG), items.sql("SELECT * FROM item ORDER BY id")
    with pytest.raises((SqlError, OptionError), match=message):
        install(items, FUNCTION, script, check=check)
    assert items.value(CATALOG) == before
    assert items.sql("SELECT * FROM item ORDER BY id") == rows


def test_a_script_of_comments_only_is_nothing(items: Database) -> None:
    assert install(items, "-- nothing\n/* at all */\n") == {
        **install(items, ""),
        "changed": False,
        "objects": [],
        "diff": [],
    }


def test_one_script_by_name(items: Database) -> None:
    result = install(items, sql=FUNCTION, name="twice.sql")
    assert result["objects"] == [
        {
            "script": "twice.sql",
            "object": "public.twice(n integer)",
            "kind": "function",
            "result": "created",
            "drift": [],
        }
    ]
    assert result["diff"][0]["before"] == ""
    assert "RETURNS integer" in result["diff"][0]["after"]
    assert "-- comment: Twice as much" in result["diff"][0]["after"]


def test_changes_of_others_meanwhile_are_not_taken_for_ours(items: Database) -> None:
    """Another session creates and replaces functions all the time, committing and rolling back."""
    install(items, FUNCTION)
    stop = threading.Event()

    def disturb() -> None:
        connection = items.connect()
        connection.autocommit = False
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("CREATE OR REPLACE FUNCTION public.other() RETURNS int LANGUAGE sql AS 'SELECT 1'")
                connection.commit()
                cursor.execute("SAVEPOINT s; COMMENT ON TABLE item IS 'x'; ROLLBACK TO SAVEPOINT s")
                connection.commit()
        connection.close()

    other = threading.Thread(target=disturb)
    other.start()
    try:
        for _round in range(30):
            assert results(install(items, FUNCTION)) == [("public.twice(n integer)", "unchanged")]
    finally:
        stop.set()
        other.join()


def test_two_installations_at_once(items: Database) -> None:
    """One creates everything, the other waits and finds everything there."""
    found: list[set[str]] = []
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        found.append({one["result"] for one in install(items, FUNCTION, VIEW)["objects"]})

    threads = [threading.Thread(target=run) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [{"created"}, {"unchanged"}]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for for 20 ms, without pauses."""
    retry: Callable[..., Any] = _policy.with_lock_retries
    monkeypatch.setattr(_policy, "BLOCKING", 0.02)
    monkeypatch.setattr(
        "ansible_collections.vtchat.maintenance.plugins.module_utils._objects.with_lock_retries",
        lambda session, attempt, left: retry(session, attempt, left, sleep=lambda seconds: None),
    )


@pytest.mark.usefixtures("impatient")
def test_readers_are_not_disturbed_by_a_comparison_and_not_cut_off_by_a_change(items: Database) -> None:
    install(items, VIEW)
    reader = items.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
    wider = VIEW.replace("id, name", "id, name, added")

    assert not install(items, VIEW)["changed"]
    for check in (True, False):
        with pytest.raises(Contended, match="lock timeout"):
            install(items, wider, check=check)
    assert items.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'vtchat%'") == 0

    reader.close()
    assert install(items, wider)["changed"]


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
    assert exact(items, script) == [("public.one()", "created")]
