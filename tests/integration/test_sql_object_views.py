# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Materialized views that sql_object builds beside the old ones, and who reads them meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import (
    MaintenanceError,
    OptionError,
    SqlError,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import install as _objects
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import sql_object
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.objects import FUNCTION, INDEX, VIEW, Readers, catalog, contended, exact, in_background, install, results
from tests.runs import Clock, perform, until
from tests.servers import REPOSITORY, Database


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
    assert exact(items, wider) == [("public.items", "replace")]

    assert items.sql(kept) == before
    assert items.value('SELECT count(*) FROM items WHERE "when" IS NULL') == 9
    assert items.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'vtchat%'") == 0


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for for 20 ms, without pauses."""
    monkeypatch.setattr(policy, "BLOCKING", 0.02)
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", (0.0, 0.0))


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
        assert contended(install(items, wider, check=check), "lock timeout") == [("1.sql", "install")]
    assert items.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'vtchat%'") == 0

    reader.rollback()  # a server notices some time later that a connection is closed
    reader.close()
    assert install(items, wider)["changed"]


@pytest.mark.usefixtures("impatient")
def test_a_reader_who_comes_between_comparing_and_installing(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """By then it is known what is to be done: that is told, and nothing of it is done or left."""
    install(items, VIEW)
    before, reader = catalog(items), items.connect()
    reader.autocommit = False
    original = _objects._Installation.apply

    def apply(self: Any, beside: list[int]) -> None:
        with reader.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM items")
        original(self, beside)

    monkeypatch.setattr(_objects._Installation, "apply", apply)
    result = install(items, FUNCTION, VIEW.replace("id, name", "id, name, added"), indexes=[INDEX], history=True)
    assert contended(result, "lock timeout") == [("public.twice(n integer)", "create"), ("public.items", "replace")]
    assert (result["totals"], result["diff"]) == ({"contended": 2}, [])
    assert catalog(items) == before
    reader.close()


SLOW = """CREATE MATERIALIZED VIEW public.items AS
SELECT id, name, public.gate(id) AS extra FROM public.item"""
# Whoever calls it waits as long as somebody holds advisory lock 42.
GATE = """CREATE FUNCTION gate(value int) RETURNS int LANGUAGE plpgsql STABLE SET lock_timeout = 0 AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN value; END $$"""
AT_THE_GATE = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


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
    assert results(found[0]) == [("public.items", "replace")]
    assert (readers.errors, readers.seen, writer.errors) == ([], {(9, 1)}, [])
    assert items.value("SELECT sum(extra) FROM items") == 45
    assert items.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'items_id'") == 1


def test_a_build_that_does_not_fit_into_the_budget(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    install(items, VIEW)
    items.sql(GATE)
    holder = items.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
    before, clock, build = catalog(items), Clock(), _objects._Installation.build

    def late(self: Any, at: int) -> None:
        clock.leave(1.5)
        build(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(sql_object, "Budget", clock.budget)
        patch.setattr(_objects._Installation, "build", late)
        with pytest.raises(MaintenanceError, match=r"1\.sql.*budget"):
            install(items, SLOW)
    holder.close()
    assert catalog(items) == before
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
    assert [one["operation"] for one in done["actions"]] == ["keep", "drop"]
    assert not install(items, VIEW)["changed"]


WIDER = VIEW.replace("id, name", "id, name, added")
BUILT = "SELECT count(*) FROM pg_class WHERE relkind = 'm' AND relname LIKE 'vtchat.maintenance new%'"


def elsewhere(database: Database, script: str) -> subprocess.Popen[bytes]:
    """Installing in a process that can be killed."""
    code = "import sys, types; from tests.objects import install; install(types.SimpleNamespace(dsn=sys.argv[1]), sys.argv[2])"
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'collections'}"}
    return subprocess.Popen(
        [sys.executable, "-c", code, database.dsn, script], env=environment, stderr=subprocess.DEVNULL
    )


def test_a_client_that_is_killed_after_building_blocks_nobody(items: Database) -> None:
    """Its view stays behind under a name of ours, since the swap waits for a reader."""
    install(items, VIEW)
    items.sql(INDEX)
    reader = items.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
    # The comparison has to get past the reader, the swap must not: so the building waits in between.
    with closing(items.connect()) as gate, gate.cursor() as cursor:
        items.sql(GATE)
        cursor.execute("SELECT pg_advisory_lock(42)")
        reader.rollback()
        killed = elsewhere(items, SLOW)
        until(lambda: items.value(AT_THE_GATE) == 1)
        with reader.cursor() as again:
            again.execute("SELECT count(*) FROM items")
    until(lambda: items.value(BUILT) == 1)
    killed.kill()
    killed.wait()
    # Not by the name of the application: the program resets all settings for a moment.
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)"
    )
    until(lambda: not items.value(others, [reader.info.backend_pid]))
    reader.close()
    predicted = install(items, WIDER, check=True)
    assert items.value(BUILT) == 1
    done = install(items, WIDER)
    assert results(predicted) == results(done)
    assert [result for _name, result in results(done)] == ["replace", "drop"]
    assert items.value(BUILT) == 0
    assert not install(items, WIDER)["changed"]


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_build_that_is_ended_in_the_middle_leaves_nothing(items: Database, end: str) -> None:
    install(items, VIEW)
    items.sql(GATE)
    before = catalog(items)
    gate = items.connect()
    with gate.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
    killed = elsewhere(items, SLOW)
    [(pid,)] = until(lambda: items.sql(AT_THE_GATE.replace("count(*)", "pid")))
    if end == "terminate":
        items.sql("SELECT pg_terminate_backend(%s)", [pid])
    else:
        killed.kill()
    killed.wait()
    until(lambda: not items.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]))
    gate.close()
    assert catalog(items) == before
    assert results(install(items, SLOW)) == [("public.items", "replace")]


def test_leftovers_and_names_of_others(items: Database) -> None:
    """Only what we gave a name and a comment, and what belongs to us, is removed; nobody can take a name that we need."""
    other, owner = items.role("other"), items.role("owner")
    items.sql(f"GRANT CREATE ON SCHEMA public TO {other}, {owner}; GRANT SELECT ON item TO {owner}")
    for name, comment in (("00000001", "vtchat.maintenance: built"), ("00000002", "mine")):
        view = f'"vtchat.maintenance new {name}"'
        items.sql(
            f"CREATE MATERIALIZED VIEW {view} AS SELECT 1 AS a; COMMENT ON MATERIALIZED VIEW {view} IS '{comment}'"
        )
        items.sql(f"ALTER MATERIALIZED VIEW {view} OWNER TO {other}")
    items.sql(
        f'CREATE TABLE "vtchat.maintenance: trial" (a int); ALTER TABLE "vtchat.maintenance: trial" OWNER TO {other}'
    )
    assert [result for _name, result in results(install(items, VIEW, role=owner))] == ["create"]
    for check in (True, False):
        done = install(items, WIDER, check=check, role=owner)
        assert [result for _name, result in results(done)] == ["replace"]
        assert done["warnings"] == [
            'materialized view public."vtchat.maintenance new 00000001" was left by an interrupted installation of role '
            f"{other}: drop it as that role"
        ]
    assert items.value(BUILT) == 2


def test_errors_of_a_build_and_of_the_swap_name_view_index_and_file(items: Database) -> None:
    install(items, VIEW)
    items.sql("CREATE UNIQUE INDEX by_name ON items (name)")
    twice = VIEW.replace("id, name FROM public.item", "id, 'same'::text AS name FROM public.item")
    before = catalog(items)
    with pytest.raises(SqlError, match=r"1\.sql: public\.items, index by_name: could not create unique index"):
        install(items, twice)
    assert catalog(items) == before
    with pytest.raises(SqlError, match=r"1\.sql: public\.items, index by_name: column \"name\" does not exist"):
        install(items, VIEW.replace("id, name", "id"))
    assert catalog(items) == before


def test_a_blocked_lock_does_not_hold_readers_up_for_longer_than_its_limit(
    items: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction reads the view; other readers would queue behind the request for the lock."""
    install(items, VIEW)
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", (0.0,))
    holder = items.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
    with Readers(items, "SELECT count(*) FROM items") as readers:
        assert contended(install(items, VIEW.replace("id, name", "id, name, added")), "lock timeout")
    holder.close()
    assert readers.errors == []
    assert policy.BLOCKING == 2
    assert 0.5 < readers.slowest < policy.BLOCKING + 10  # so much later a reader may come to the processor


@pytest.mark.parametrize("drift", [
    "DROP INDEX items_id", "DROP INDEX items_id; CREATE INDEX items_id ON items (id)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_id'::regclass",
])  # fmt: skip
def test_indexes_are_repaired_after_the_objects(items: Database, drift: str) -> None:
    def run(check: bool = False) -> dict[str, Any]:
        return install(items, VIEW, check=check, indexes=[INDEX])

    first = run(check=True)
    assert results(first) == results(run()) == [("public.items", "create"), ("public.items_id", "create")]
    assert not run()["changed"]
    items.sql(drift)
    predicted = run(check=True)
    done = run()
    assert predicted["diff"] == done["diff"]
    assert results(predicted) == results(done)
    assert dict(results(done))["public.items_id"] in ("create", "replace")
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
    assert [result for _name, result in exact(items, *scripts)] == ["create", "create", "create", "replace"]
    assert install(items, scripts[0])["actions"][0]["operation"] == "keep"
    changed = [text.replace("'a'", "'b'").replace("AS label FROM", "AS label, id FROM") for text in scripts]
    exact(items, *changed)
    assert items.value("SELECT min(label) FROM app.labels") == "b1"
    view = "CREATE OR REPLACE VIEW public.v AS SELECT id, name FROM public.item"
    install(items, view)
    wider = view.replace("id, name", "id, name, added")
    for check in (True, False):
        with pytest.raises(OptionError, match=r"2\.sql: .*readers of public\.v would wait"):
            install(items, wider, VIEW.replace("public.item;", "public.v;"), check=check)
    assert [result for _name, result in exact(items, wider, VIEW)] == ["replace", "create"], (
        "these have nothing to do with each other"
    )


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
