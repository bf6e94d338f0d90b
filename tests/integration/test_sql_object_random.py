# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Random scripts: what is promised of every script holds for those that nobody thought of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError
from tests.objects import TABLE, catalog, install, results
from tests.servers import Database, Server


def written(template: str, *choices: list[str]) -> st.SearchStrategy[str]:
    """A statement with one of each of the choices in its places; {n} is 1, 2 or 3."""
    return st.builds(template.format, *map(st.sampled_from, choices), n=st.integers(1, 3))


OBJECTS = ["TABLE public.item", "COLUMN public.item.name", "SCHEMA app", "VIEW app.v1", "MATERIALIZED VIEW app.m2"]
SWALLOWED = ["DROP VIEW app.v1", "COMMENT ON VIEW app.v2 IS 'do'", "ALTER FUNCTION app.f1(int) COST 7", "PERFORM 1 / 0"]
SETTINGS = ["search_path = app", "lock_timeout = 0", "work_mem = '1MB'", "LOCAL row_security = off"]
REFUSED = [
    "ALTER TABLE public.item FORCE ROW LEVEL SECURITY",
    "INSERT INTO public.item VALUES (77)",
    "ALTER TABLE public.item ALTER name SET STATISTICS 5",
    "DO $$ BEGIN TRUNCATE public.item; END $$",
    "DO $$ BEGIN DELETE FROM public.item WHERE id = 5; END $$",
    "SELECT 1 / 0",
    "DO $$ BEGIN CREATE INDEX ON public.item (name); END $$",
]
STATEMENTS = st.one_of(
    written("CREATE OR REPLACE FUNCTION app.f{n}(a int) RETURNS {} LANGUAGE sql {} AS 'SELECT {}'",
            ["int", "bigint"], ["", "STABLE", "SECURITY DEFINER"], ["1", "2"]),
    written("CREATE OR REPLACE VIEW app.v{n} AS SELECT {} FROM public.item", ["id", "id, name", "id, name, added"]),
    written("CREATE MATERIALIZED VIEW app.m{n} AS SELECT {} FROM public.item{}", ["id", "id, name"], ["", " WITH NO DATA"]),
    written("CREATE TYPE app.t{n} AS ENUM ({})", ["'a'", "'a', 'b'"]),
    written("GRANT {} ON app.v{n} TO PUBLIC", ["SELECT", "ALL", "SELECT (id)"]),
    written("REVOKE {} ON app.v{n} FROM PUBLIC", ["SELECT", "ALL"]),
    written("COMMENT ON {} IS {}", OBJECTS, ["'x'", "'y'", "NULL"]),
    written("DROP FUNCTION IF EXISTS app.f{n}(int)"),
    written("DROP VIEW IF EXISTS app.v{n} CASCADE"),
    written("DROP MATERIALIZED VIEW IF EXISTS app.m{n}"),
    written("CREATE OR REPLACE TRIGGER t{n} BEFORE {} ON public.item EXECUTE FUNCTION app.touch()", ["INSERT", "DELETE"]),
    written("CREATE OR REPLACE RULE r{n} AS ON {} TO public.item DO ALSO (SELECT 1; SELECT 2)", ["INSERT", "UPDATE"]),
    written("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT {} ON TABLES TO PUBLIC", ["SELECT", "ALL"]),
    written("ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE {} ON TABLES FROM PUBLIC", ["SELECT", "ALL"]),
    written("SET {}", SETTINGS),
    written("DO $$ BEGIN {}; EXCEPTION WHEN OTHERS THEN NULL; END $$", SWALLOWED),
    written("{}", ["CREATE TEMP TABLE scratch (a int)", "SELECT 1", "ALTER VIEW app.v3 ALTER id SET DEFAULT 7",
                   "ALTER MATERIALIZED VIEW app.m1 ALTER id SET STATISTICS 6"]),
)  # fmt: skip
SCRIPTS = st.lists(st.lists(STATEMENTS, min_size=1, max_size=3).map(";\n".join), min_size=1, max_size=3)
BEFORE = [
    "DROP SCHEMA IF EXISTS app CASCADE; DROP RULE IF EXISTS r1 ON item; DROP RULE IF EXISTS r2 ON item",
    "DROP RULE IF EXISTS r3 ON item; COMMENT ON TABLE item IS NULL; COMMENT ON COLUMN item.name IS NULL",
    "CREATE SCHEMA app; CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    *(
        f"CREATE VIEW app.v{n} AS SELECT id FROM item; CREATE MATERIALIZED VIEW app.m{n} AS SELECT id FROM item"
        for n in (1, 2, 3)
    ),
]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    """One database for all examples."""
    made = server.create_database()
    made.sql(TABLE)
    yield made
    made.close()


def outcome(database: Database, scripts: list[str], check: bool, recreate: bool) -> tuple[dict[str, Any] | None, str]:
    """The result, or the failure."""
    try:
        return install(database, *scripts, check=check, on_conflict="recreate" if recreate else "fail"), ""
    except MaintenanceError as error:
        return None, str(error)


@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    earlier=SCRIPTS,
    scripts=SCRIPTS,
    refused=st.one_of(st.just(""), st.just(""), st.sampled_from(REFUSED)),
    recreate=st.booleans(),
)
def test_any_scripts(database: Database, earlier: list[str], scripts: list[str], refused: str, recreate: bool) -> None:
    """Check mode says what the run does and changes nothing; a second run does nothing; a failure changes nothing."""
    for statement in BEFORE:
        database.sql(statement)
    outcome(database, earlier, False, True)
    scripts = [*scripts, refused] if refused else scripts
    rows, before = database.sql("SELECT * FROM item ORDER BY id"), catalog(database)
    predicted, fault = outcome(database, scripts, True, recreate)
    assert catalog(database) == before
    done, failure = outcome(database, scripts, False, recreate)
    assert failure == fault
    assert database.sql("SELECT * FROM item ORDER BY id") == rows
    if done is None or predicted is None:
        assert catalog(database) == before
        return
    assert not refused
    assert results(predicted) == results(done)
    assert predicted["diff"] == done["diff"]
    assert done["changed"] or catalog(database) == before
    after = catalog(database)
    again, failure = outcome(database, scripts, False, recreate)
    assert again is not None, failure
    assert not again["changed"], again["diff"]
    assert catalog(database) == after
    assert database.sql("SELECT * FROM item ORDER BY id") == rows
