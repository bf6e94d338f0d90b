# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What objects have that no script gives them, and what was changed by hand."""

from __future__ import annotations

import pytest

from tests.objects import FUNCTION, INDEX, VIEW, catalog, exact, install
from tests.servers import Database


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
    assert [name for name, result in found if result != "keep"] == [changed]
    assert items.value("SELECT public.twice(21)") == 42
    assert items.value("SELECT count(*) FROM items") == 9


def test_drift_is_found_and_shown(items: Database) -> None:
    role = items.role()
    view = "CREATE OR REPLACE VIEW public.names AS SELECT name FROM public.item; GRANT SELECT ON public.names TO PUBLIC"
    install(items, FUNCTION, VIEW, view, indexes=[INDEX])
    assert [one["drift"] for one in install(items, FUNCTION, VIEW, view, indexes=[INDEX])["actions"]] == [[]] * 4

    items.sql(
        f"GRANT EXECUTE ON FUNCTION twice(int) TO {role}; GRANT SELECT (id) ON items TO {role}; GRANT UPDATE ON names TO {role}"
    )
    items.sql(
        "COMMENT ON COLUMN items.id IS 'by hand'; COMMENT ON VIEW names IS 'x'; CREATE INDEX by_hand ON items (name)"
    )
    before = catalog(items)
    for check in (True, False):
        found = install(items, FUNCTION, VIEW, view, check=check, indexes=[INDEX])
        assert not found["changed"]
        assert {one["target"]: one["drift"] for one in found["actions"] if one["drift"]} == {
            "public.twice(n integer)": [f"privilege {role} EXECUTE"],
            "public.items": [f"privilege {role} SELECT (id)", "comment id: by hand", "index by_hand"],
            "public.names": [f"privilege {role} UPDATE", "comment x"],
        }
        assert len(found["warnings"]) == 3
    assert catalog(items) == before
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
    assert [one["drift"] for one in install(items, FUNCTION, VIEW)["actions"]] == [[], []]
    items.sql(f"REVOKE SELECT ON items FROM {role}")
    wider = VIEW.replace("id, name", "id, name, added")
    exact(items, wider)
    assert not items.value("SELECT has_table_privilege(%s, 'items', 'SELECT')", [role]), (
        "what was revoked does not come back"
    )
