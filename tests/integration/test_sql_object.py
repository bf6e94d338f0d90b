# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module sql_object against real PostgreSQL."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge, _objects, _policy, _sql_object
from ansible_collections.vtchat.maintenance.plugins.module_utils._connect import ConnectionOptions, open_session
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import (
    Contended,
    MaintenanceError,
    OptionError,
    SqlError,
)
from tests.runs import perform, playbook, until
from tests.servers import Database, Server

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


def exact(database: Database, *scripts: str, **options: Any) -> list[tuple[str, str]]:
    """Check, do, check again, do again: the prediction must be exact and leave no trace, the second run must do nothing."""
    before = database.value(CATALOG)
    predicted = install(database, *scripts, check=True, **options)
    assert database.value(CATALOG) == before
    done = install(database, *scripts, **options)
    assert results(predicted) == results(done)
    assert predicted["diff"] == done["diff"]
    after = database.value(CATALOG)
    assert (after != before) is done["changed"]
    for check in (True, False):
        assert not install(database, *scripts, check=check, **options)["changed"]
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


class Readers:
    """Reads a view all the time; what it saw, and how long the slowest statement took."""

    def __init__(self, database: Database, query: str, number: int = 2) -> None:
        self.database, self.query = database, query
        self.stop = threading.Event()
        self.seen: set[Any] = set()
        self.errors: list[str] = []
        self.slowest = 0.0
        self.count = 0
        self.threads = [threading.Thread(target=self.read) for _number in range(number)]

    def read(self) -> None:
        connection = self.database.connect()
        with connection.cursor() as cursor:
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    cursor.execute(self.query)
                    self.seen.add(cursor.fetchall()[0] if cursor.description else ())
                except psycopg2.Error as error:
                    self.errors.append(str(error))
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.count += 1
        connection.close()

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        until(lambda: self.count > 5)
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


SLOW = """CREATE MATERIALIZED VIEW public.items AS
SELECT id, name, public.gate(id) AS extra FROM public.item"""
# Whoever calls it waits as long as somebody holds advisory lock 42.
GATE = """CREATE FUNCTION gate(value int) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN value; END $$"""
AT_THE_GATE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts it; its result, or its error, is in the list in the end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except MaintenanceError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_readers_see_the_old_rows_until_the_swap_and_writers_are_not_blocked(items: Database) -> None:
    install(items, VIEW)
    items.sql(INDEX)
    items.sql(GATE)
    holder = items.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
    writer = Readers(items, "UPDATE item SET added = now() WHERE id = 1", 1)
    with Readers(items, "SELECT count(*), min(id) FROM items") as readers, writer:
        thread, found = in_background(lambda: install(items, SLOW))
        until(lambda: items.value(AT_THE_GATE) == 1)
        before, written = readers.count, writer.count
        until(lambda: readers.count > before + 50 and writer.count > written + 50)
        assert items.value("SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute "
                           "WHERE attrelid = 'items'::regclass AND attnum > 0") == "id name"  # fmt: skip
        holder.close()
        thread.join()
        before = readers.count
        until(lambda: readers.count > before + 50)
    assert results(found[0]) == [("public.items", "replaced")]
    assert (readers.errors, readers.seen, writer.errors) == ([], {(9, 1)}, [])
    assert max(readers.slowest, writer.slowest) < 2
    assert items.value("SELECT sum(extra) FROM items") == 45
    assert items.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'items_id'") == 1


def test_a_build_that_does_not_fit_into_the_budget(items: Database) -> None:
    install(items, VIEW)
    items.sql(GATE)
    holder = items.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
    before = items.value(CATALOG)
    with pytest.raises(MaintenanceError, match=r"1\.sql.*budget"):
        install(items, SLOW, budget=1.5)
    holder.close()
    assert items.value(CATALOG) == before
    assert install(items, SLOW)["changed"]


def left_behind(items: Database) -> None:
    """A view that was built and not swapped, as after a kill."""
    install(items, VIEW)
    original = _objects._Installation.retried

    class Killed(BaseException):
        pass

    def killed(self: Any, mode: str) -> Any:
        if mode == "apply":
            self.session.close()
            raise Killed
        return original(self, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_objects._Installation, "retried", killed)
        with pytest.raises(Killed):
            install(items, VIEW.replace("id, name", "name, id"))


def test_what_a_killed_installation_has_built_is_removed(items: Database) -> None:
    left_behind(items)
    named = "SELECT count(*) FROM pg_class WHERE relname LIKE 'vtchat.maintenance new%'"
    items.sql(
        'CREATE MATERIALIZED VIEW "vtchat.maintenance new 01234567" AS SELECT 1 AS a'
    )  # not ours: it does not say so
    assert items.value(named) == 2
    predicted = install(items, VIEW, check=True)
    assert items.value(named) == 2
    done = install(items, VIEW)
    assert items.value(named) == 1
    assert results(predicted) == results(done)
    assert [one["result"] for one in done["objects"]] == ["unchanged", "dropped"]
    assert not install(items, VIEW)["changed"]


def test_a_blocked_lock_does_not_hold_readers_up_for_longer_than_its_limit(
    items: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction reads the view; other readers would queue behind the request for the lock."""
    install(items, VIEW)
    retry: Callable[..., Any] = _policy.with_lock_retries
    monkeypatch.setattr(
        "ansible_collections.vtchat.maintenance.plugins.module_utils._objects.with_lock_retries",
        lambda session, attempt, left: retry(session, attempt, left, sleep=lambda seconds: None),
    )
    monkeypatch.setattr(_policy, "BLOCKING_TRIES", 2)
    holder = items.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
    with Readers(items, "SELECT count(*) FROM items") as readers, pytest.raises(Contended):
        install(items, VIEW.replace("id, name", "id, name, added"))
    holder.close()
    assert readers.errors == []
    assert 1.0 < readers.slowest < 3.0  # the limit is 2


WHO_DEPENDS = """
CREATE VIEW top AS SELECT id, name FROM items WHERE id > 1 WITH CASCADED CHECK OPTION;
COMMENT ON VIEW top IS 'top'; COMMENT ON COLUMN top.id IS 'key';
CREATE VIEW "Top of top" WITH (security_barrier) AS SELECT id FROM top
"""
DEPENDENTS = """
SELECT string_agg(concat_ws(' ', c.relname, pg_get_viewdef(c.oid), c.reloptions, c.relacl, obj_description(c.oid, 'pg_class'),
                            col_description(c.oid, 1), pg_get_userbyid(relowner)), E'\\n' ORDER BY c.relname)
FROM pg_class AS c WHERE relname IN ('top', 'Top of top')
"""


def test_views_on_a_replaced_view_are_restored(items: Database) -> None:
    install(items, VIEW)
    reader, owner = items.role("reader"), items.role("owner")
    items.sql(WHO_DEPENDS.replace(" WITH CASCADED CHECK OPTION", ""))
    items.sql(f'GRANT SELECT ON "Top of top" TO {reader}; GRANT SELECT (id) ON top TO {reader}')
    items.sql(f"ALTER VIEW top OWNER TO {owner}; GRANT SELECT ON items TO {owner}")
    before = items.value(DEPENDENTS)
    wider = VIEW.replace("id, name", "id, name, added")
    with pytest.raises(OptionError, match=r'view public\.top, view public\."Top of top".*on_conflict: recreate'):
        install(items, wider)

    assert exact(items, wider, on_conflict="recreate") == [("public.items", "replaced")]
    assert items.value(DEPENDENTS) == before
    assert items.value("SELECT has_column_privilege(%s, 'top', 'id', 'SELECT')", [reader])

    catalog = items.value(CATALOG)
    with pytest.raises(SqlError, match=r'1\.sql: column "name" does not exist.*CREATE VIEW public\.top'):
        install(items, VIEW.replace("id, name", "id"), on_conflict="recreate")
    assert items.value(CATALOG) == catalog
    items.sql("CREATE MATERIALIZED VIEW more AS SELECT id FROM top")
    with pytest.raises(OptionError, match=r"drop materialized view public\.more first"):
        install(items, VIEW, on_conflict="recreate")


REFUSED = {
    "return type": ("CREATE OR REPLACE FUNCTION public.f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "RETURNS int",
                    "RETURNS bigint"),
    "table": ("CREATE OR REPLACE FUNCTION public.f(a int) RETURNS TABLE (n int, t text) LANGUAGE sql AS $$SELECT 1, 'x'$$",
              "n int, t", "n int, other"),
    "argument": ("CREATE OR REPLACE FUNCTION public.f(a int) RETURNS int LANGUAGE sql AS 'SELECT $1'", "a int", "b int"),
    "procedure": ("CREATE OR REPLACE PROCEDURE public.f(INOUT a int) LANGUAGE sql AS 'SELECT 1'", "INOUT a int", "INOUT b int"),
    "column": ("CREATE OR REPLACE VIEW public.f AS SELECT id, name FROM public.item", "id, name", "id"),
    "column name": ("CREATE OR REPLACE VIEW public.f AS SELECT id, name FROM public.item", "id, name", "id, name AS other"),
    "column type": ("CREATE OR REPLACE VIEW public.f AS SELECT id, name FROM public.item", "id, name", "id::bigint AS id, name"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_replaced_is_made_anew_only_if_asked_for(items: Database, case: str) -> None:
    script, old, new = REFUSED[case]
    install(items, script)
    reader = items.role("reader")
    kind = "VIEW" if "VIEW" in script else "ROUTINE"
    name = "public.f" if "VIEW" in script else "public.f(int)"
    if kind == "VIEW":
        items.sql(f"GRANT SELECT ON f TO {reader}; CREATE VIEW above AS SELECT id FROM f")
    else:
        items.sql(f"REVOKE ALL ON ROUTINE {name} FROM PUBLIC; GRANT EXECUTE ON ROUTINE {name} TO {reader}")
    items.sql(f"COMMENT ON {kind} {name} IS 'kept'")
    changed = script.replace(old, new)
    catalog = items.value(CATALOG)
    for check in (True, False):
        with pytest.raises(OptionError, match=r"1\.sql: public\.f.* cannot be replaced: .*on_conflict: recreate"):
            install(items, changed, check=check)
    assert items.value(CATALOG) == catalog
    if case != "column type":  # the view above has the type of its column
        assert [result for _name, result in exact(items, changed, on_conflict="recreate")] == ["replaced"]
    kept = "SELECT relacl::text, obj_description(oid) FROM pg_class WHERE relname = 'f'"
    if kind != "VIEW":
        kept = "SELECT proacl::text, obj_description(oid) FROM pg_proc WHERE proname = 'f'"
    [(acl, comment)] = items.sql(kept)
    assert (reader in acl, acl.startswith("{="), comment) == (True, False, "kept")


def test_the_script_has_the_last_word_on_what_is_made_anew(items: Database) -> None:
    script = REFUSED["return type"][0]
    install(items, script)
    changed = script.replace("RETURNS int", "RETURNS text").replace("SELECT 1", "SELECT 1::text")
    changed += "; REVOKE ALL ON FUNCTION public.f(int) FROM PUBLIC; COMMENT ON FUNCTION public.f(int) IS 'new'"
    items.sql("COMMENT ON FUNCTION f(int) IS 'old'")
    exact(items, changed, on_conflict="recreate")
    assert items.sql("SELECT obj_description(oid), has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc "
                     "WHERE proname = 'f'") == [("new", False)]  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "other"),
    [
        ("CREATE TYPE public.mood AS ENUM ('good', 'bad')", "CREATE TYPE public.mood AS ENUM ('good', 'better')"),
        ('CREATE TYPE public.mood AS (a int, "B c" text)', "CREATE TYPE public.mood AS (a int)"),
        ("CREATE DOMAIN public.mood AS int CHECK (VALUE > 0)", "CREATE DOMAIN public.mood AS int CHECK (VALUE > 1)"),
    ],
)
def test_types(items: Database, definition: str, other: str) -> None:
    grant = "; REVOKE USAGE ON TYPE public.mood FROM PUBLIC; COMMENT ON TYPE public.mood IS 'x'"
    assert exact(items, definition + grant) == [("public.mood", "created")]
    items.sql("COMMENT ON TYPE mood IS 'y'")
    assert exact(items, definition + grant) == [("public.mood", "replaced")]
    with pytest.raises(OptionError, match="another definition"):
        install(items, other + grant)
    assert exact(items, other + grant, on_conflict="recreate") == [("public.mood", "replaced")]
    items.sql("CREATE TABLE uses (m mood)")
    with pytest.raises(OptionError, match="column m of table"):
        install(items, definition, on_conflict="recreate")


def test_drift_is_found_and_shown(items: Database) -> None:
    role = items.role()
    view = "CREATE OR REPLACE VIEW public.names AS SELECT name FROM public.item; GRANT SELECT ON public.names TO PUBLIC"
    install(items, FUNCTION, VIEW, view, indexes=[INDEX])
    assert [one["drift"] for one in install(items, FUNCTION, VIEW, view, indexes=[INDEX])["objects"]] == [[]] * 4

    items.sql(
        f"GRANT EXECUTE ON FUNCTION twice(int) TO {role}; GRANT SELECT (id) ON items TO {role}; GRANT UPDATE ON names TO {role}"
    )
    items.sql(
        "COMMENT ON COLUMN items.id IS 'by hand'; COMMENT ON VIEW names IS 'x'; CREATE INDEX by_hand ON items (name)"
    )
    before = items.value(CATALOG)
    for check in (True, False):
        found = install(items, FUNCTION, VIEW, view, check=check, indexes=[INDEX])
        assert not found["changed"]
        assert {one["object"]: one["drift"] for one in found["objects"] if one["drift"]} == {
            "public.twice(n integer)": [f"privilege {role} EXECUTE"],
            "public.items": [f"privilege {role} SELECT (id)", "comment id: by hand", "index by_hand"],
            "public.names": [f"privilege {role} UPDATE", "comment x"],
        }
        assert len(found["warnings"]) == 3
    assert items.value(CATALOG) == before
    exact(
        items,
        FUNCTION,
        VIEW,
        view + f"; REVOKE UPDATE ON public.names FROM {role}; COMMENT ON VIEW public.names IS NULL",
    )


def test_what_the_owner_gives_to_everything_new_is_no_drift(items: Database) -> None:
    role = items.role()
    items.sql(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}")
    items.sql(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {role}")
    assert [one["drift"] for one in install(items, FUNCTION, VIEW)["objects"]] == [[], []]
    items.sql(f"REVOKE SELECT ON items FROM {role}")
    wider = VIEW.replace("id, name", "id, name, added")
    exact(items, wider)
    assert not items.value("SELECT has_table_privilege(%s, 'items', 'SELECT')", [role]), (
        "what was revoked does not come back"
    )


@pytest.mark.parametrize("drift", [
    "DROP INDEX items_id", "DROP INDEX items_id; CREATE INDEX items_id ON items (id)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_id'::regclass",
])  # fmt: skip
def test_indexes_are_repaired_after_the_objects(items: Database, drift: str) -> None:
    def run(check: bool = False) -> dict[str, Any]:
        return install(items, VIEW, check=check, indexes=[INDEX])

    first = run(check=True)
    assert results(first) == results(run()) == [("public.items", "created"), ("public.items_id", "created")]
    assert not run()["changed"]
    items.sql(drift)
    predicted = run(check=True)
    done = run()
    assert predicted["diff"] == done["diff"]
    assert results(predicted) == results(done)
    assert dict(results(done))["public.items_id"] in ("created", "replaced")
    assert not run()["changed"]


def test_an_index_that_fails_is_told_with_what_was_done(items: Database) -> None:
    items.sql("INSERT INTO item VALUES (10, 'n1')")
    result = perform("sql_object", items.dsn, sql=FUNCTION, indexes=["CREATE UNIQUE INDEX twice_name ON item (name)"])
    assert result["failed"]
    assert result["changed"]
    assert "public.twice_name" in result["msg"]
    assert items.value("SELECT public.twice(1)") == 2


def test_a_view_that_needs_what_changes_with_it_is_built_with_it(items: Database) -> None:
    scripts = (
        "CREATE SCHEMA IF NOT EXISTS app",
        "CREATE OR REPLACE FUNCTION app.label(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'a' || n$$",
        "CREATE MATERIALIZED VIEW app.labels AS SELECT app.label(id) AS label FROM public.item",
        "COMMENT ON COLUMN app.labels.label IS 'x'",
    )
    assert [result for _name, result in exact(items, *scripts)] == ["created", "created", "created", "replaced"]
    assert install(items, scripts[0])["objects"][0]["result"] == "unchanged"
    changed = [text.replace("'a'", "'b'").replace("AS label FROM", "AS label, id FROM") for text in scripts]
    exact(items, *changed)
    assert items.value("SELECT min(label) FROM app.labels") == "b1"
    view = "CREATE OR REPLACE VIEW public.v AS SELECT id FROM public.item"
    install(items, view)
    with pytest.raises(OptionError, match=r"2\.sql: .*readers of public\.v would wait"):
        install(items, view.replace("id", "id, name"), VIEW)


def test_a_script_that_changes_rows_is_refused_with_the_table(items: Database) -> None:
    for script in ("INSERT INTO item VALUES (77)", "DO $$ BEGIN DELETE FROM item WHERE id = 1; END $$"):
        with pytest.raises(OptionError, match=r"1\.sql: it changes rows of public\.item"):
            install(items, FUNCTION + script)
    assert items.value("SELECT count(*) FROM item") == 9


def test_ten_statements_of_which_the_seventh_fails(items: Database) -> None:
    good = [f"CREATE OR REPLACE FUNCTION public.f{n}() RETURNS int\nLANGUAGE sql AS 'SELECT {n}'" for n in range(10)]
    for bad in ("GRANT SELECT ON public.missing TO PUBLIC", "COMMENT ON FUNCTION public.missing() IS ';'",
                "DO $$ BEGIN RAISE 'no'; END $$"):  # fmt: skip
        script = ";\n".join([*good[:6], bad, *good[7:]])
        before = items.value(CATALOG)
        for check in (True, False):
            with pytest.raises(SqlError, match=r"2\.sql:13: "):
                install(items, FUNCTION, script, check=check)
        assert items.value(CATALOG) == before


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


def test_another_installation_is_waited_for_and_then_given_up(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_objects, "LOCK_WAIT", 0.3)
    holder = items.connect()
    with holder.cursor() as cursor:
        cursor.execute(_objects.LOCK)
    with pytest.raises(Contended, match="another installation"):
        install(items, FUNCTION)
    holder.close()
    assert install(items, FUNCTION)["changed"]


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
    end = time.monotonic() + 20  # a backend lives on for a moment after its client has gone
    while items.value(locks) and time.monotonic() < end:
        time.sleep(0.05)
    assert items.value(locks) == 0


def test_a_transaction_pooler_is_refused(items: Database) -> None:
    session = open_session(ConnectionOptions(dsn=items.dsn), "test")
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
    assert here["objects"] == module["objects"]
    assert [(one["script"], one["result"]) for one in here["objects"]] == [
        ("twice.sql", "created"),
        ("view", "created"),
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
    assert [result for _name, result in found] == ["created"] * 7
    items.sql(
        "CREATE SCHEMA other; SET search_path = other, public; CREATE FUNCTION other.f(a int) RETURNS int RETURN 1"
    )
    assert not install(items, *ZOO)["changed"]
    items.sql('ALTER MATERIALIZED VIEW "Zoo".m SET (fillfactor = 80)')
    assert ('"Zoo".m', "replaced") in exact(items, *ZOO)
    assert (
        items.value("SELECT reloptions::text FROM pg_class WHERE relname = 'm'")
        == "{fillfactor=70,autovacuum_enabled=off}"
    )


def test_what_is_added_to_a_view_by_hand_is_taken_away(items: Database) -> None:
    plain = "CREATE OR REPLACE VIEW public.names AS SELECT name FROM public.item"
    install(items, plain, VIEW)
    items.sql("CREATE OR REPLACE VIEW names AS SELECT name, id FROM item")
    items.sql("DROP MATERIALIZED VIEW items; CREATE MATERIALIZED VIEW items AS SELECT id, name, added FROM item")
    with pytest.raises(OptionError, match=r"public\.names cannot be replaced"):
        install(items, plain, VIEW)
    assert exact(items, VIEW) == [("public.items", "replaced")]
    found = exact(items, plain, on_conflict="recreate")
    assert found == [("public.names", "replaced")]


def test_what_hangs_on_columns_is_carried_over(items: Database) -> None:
    role = items.role()
    install(items, VIEW)
    items.sql(
        f"GRANT SELECT (id), SELECT (name) ON items TO {role}; ALTER MATERIALIZED VIEW items ALTER id SET STATISTICS 7"
    )
    items.sql("COMMENT ON COLUMN items.id IS 'key'; COMMENT ON COLUMN items.name IS 'goes'")
    items.sql("CREATE INDEX by_id ON items (id); ALTER MATERIALIZED VIEW items CLUSTER ON by_id")
    exact(items, VIEW.replace("id, name", "added, id"))
    assert items.sql("SELECT attname, attacl IS NOT NULL, attstattarget = 7, col_description(attrelid, attnum) FROM pg_attribute "
                     "WHERE attrelid = 'items'::regclass AND attnum > 0 ORDER BY attnum") == [
        ("added", False, None, None), ("id", True, True, "key")]  # fmt: skip
    assert items.value("SELECT indisclustered FROM pg_index WHERE indexrelid = 'by_id'::regclass")


def test_the_number_of_turns_does_not_depend_on_the_scripts(items: Database) -> None:
    few = install(items, FUNCTION)
    scripts = [FUNCTION.replace("twice", f"twice{n}") for n in range(20)]
    many = install(items, *scripts)
    assert few["turns"] == many["turns"] <= 6
    assert install(items, *scripts)["turns"] <= 4


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
        assert [one["result"] for one in done["objects"]] == ["replaced", "replaced", "unchanged"]
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
        return result["objects"][-1]["result"], items.value("SELECT to_regclass('maintenance.run') IS NOT NULL")

    assert [run(check) for check in (True, False, True, False)] == [
        ("created", False), ("created", True), ("unchanged", True), ("unchanged", True)]  # fmt: skip
    owner = items.role()
    items.sql(f"GRANT CREATE ON SCHEMA public TO {owner}; DROP SCHEMA maintenance CASCADE; DROP FUNCTION twice(int)")
    for check in (True, False):
        result = install(items, FUNCTION, check=check, history=True, role=owner)
        assert "GRANT CREATE ON DATABASE" in result["warnings"][0]
