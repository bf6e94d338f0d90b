# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What CREATE OR REPLACE refuses, and what depends on it."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError, SqlError
from tests.objects import VIEW, catalog, exact, install
from tests.servers import Database


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

    assert exact(items, wider, on_conflict="recreate") == [("public.items", "replace")]
    assert items.value(DEPENDENTS) == before
    assert items.value("SELECT has_column_privilege(%s, 'top', 'id', 'SELECT')", [reader])

    known = catalog(items)
    with pytest.raises(SqlError, match=r'1\.sql: column "name" does not exist.*CREATE VIEW public\.top'):
        install(items, VIEW.replace("id, name", "id"), on_conflict="recreate")
    assert catalog(items) == known
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
    known = catalog(items)
    for check in (True, False):
        with pytest.raises(OptionError, match=r"1\.sql: public\.f.* cannot be replaced: .*on_conflict: recreate"):
            install(items, changed, check=check)
    assert catalog(items) == known
    if case != "column type":  # the view above has the type of its column
        assert [result for _name, result in exact(items, changed, on_conflict="recreate")] == ["replace"]
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
    assert exact(items, definition + grant) == [("public.mood", "create")]
    items.sql("COMMENT ON TYPE mood IS 'y'")
    assert exact(items, definition + grant) == [("public.mood", "replace")]
    with pytest.raises(OptionError, match="another definition"):
        install(items, other + grant)
    assert exact(items, other + grant, on_conflict="recreate") == [("public.mood", "replace")]
    items.sql("CREATE TABLE uses (m mood)")
    with pytest.raises(OptionError, match="column m of table"):
        install(items, definition, on_conflict="recreate")


def test_what_is_added_to_a_view_by_hand_is_taken_away(items: Database) -> None:
    plain = "CREATE OR REPLACE VIEW public.names AS SELECT name FROM public.item"
    install(items, plain, VIEW)
    items.sql("CREATE OR REPLACE VIEW names AS SELECT name, id FROM item")
    items.sql("DROP MATERIALIZED VIEW items; CREATE MATERIALIZED VIEW items AS SELECT id, name, added FROM item")
    with pytest.raises(OptionError, match=r"public\.names cannot be replaced"):
        install(items, plain, VIEW)
    assert exact(items, VIEW) == [("public.items", "replace")]
    found = exact(items, plain, on_conflict="recreate")
    assert found == [("public.names", "replace")]
