# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No code of strangers is executed, whatever they have made in the schemas of the search_path, and whatever that is set to.

What our statements use is not listed by hand: the server prints each statement as it has parsed it. A stranger then makes
something of the same name for every function, operator, type and relation in there, and all is done once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg2
import pytest
import yaml
from jinja2 import Template
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import PERFORMERS
from tests.runs import REPOSITORY, perform
from tests.servers import Database, Servers

# The user's own texts are resolved under the user's path, as they always were: these leave nothing to it.
TABLES = """
CREATE SCHEMA app; CREATE EXTENSION amcheck SCHEMA app;
CREATE TABLE app.parent (id int PRIMARY KEY, at timestamptz NOT NULL, local timestamp, name text);
CREATE TABLE app.child (id int PRIMARY KEY, parent int REFERENCES app.parent ON DELETE CASCADE);
CREATE INDEX ON app.parent (at); CREATE INDEX ON app.parent (local); CREATE INDEX ON app.child (parent);
CREATE TABLE app.split (id int, day date) PARTITION BY RANGE (id);
CREATE TABLE app.part PARTITION OF app.split FOR VALUES FROM (0) TO (10000);
CREATE TABLE app.base (id int); CREATE TABLE app.heir () INHERITS (app.base);
CREATE VIEW app.names AS SELECT DISTINCT name FROM app.parent;
CREATE MATERIALIZED VIEW app.counts AS SELECT name, count(*) FROM app.names GROUP BY name;
CREATE UNIQUE INDEX ON app.counts (name);
CREATE MATERIALIZED VIEW app.plain AS SELECT c.name, p.id FROM app.counts AS c JOIN app.parent AS p USING (name);
CREATE FUNCTION app.leave() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN SET search_path = app, public, pg_catalog; SET statement_timeout = 0; RETURN OLD; END';
CREATE TRIGGER leave BEFORE DELETE ON app.split FOR EACH ROW EXECUTE FUNCTION app.leave();
CREATE SCHEMA broken; CREATE TABLE broken.t (id int); CREATE INDEX ON broken.t (id);
"""
ROWS = """
TRUNCATE app.parent, app.child, app.split, app.base;
INSERT INTO app.parent SELECT n, now() + (n - 1500) * interval '1 minute',
    now() AT TIME ZONE 'UTC' + (n - 1000) * interval '1 minute', 'name ' || n % 7 FROM generate_series(1, 3000) AS n;
INSERT INTO app.child SELECT n, n FROM generate_series(1, 3000, 10) AS n;
INSERT INTO app.split SELECT n, date '2020-01-01' + n FROM generate_series(1, 5000) AS n;
INSERT INTO app.heir SELECT generate_series(1, 100);
"""
WHERE = "id OPERATOR(pg_catalog.>) 0"
STEPS: list[dict[str, Any]] = [
    {"purge": {"table": "app.parent", "column": "local", "timezone": "UTC", "where": WHERE}},
    {"purge": {"table": "app.parent", "column": "at", "older_than": "1h"}},
    {"purge": {"table": "app.split", "column": "day", "timezone": "Asia/Ho_Chi_Minh", "older_than": "500d"}},
    {"purge": {"table": "app.nothing", "column": "at"}},
    {"refresh": {"views": ["app.plain", "app.counts"]}},
    {"analyze": {"tables": ["app.parent", "app.split", "app.base", "app.counts"]}},
    {"index": {"definition": "CREATE INDEX parent_name ON app.parent (name, id)"}},
    {"index": {"definition": "CREATE INDEX split_day ON app.split (day)"}},
    {"index": {"name": "gone", "state": "absent"}},
    {"vacuum": {"tables": ["app.parent", "app.split"], "min_dead_rows": 1, "threshold_factor": 0, "pace": "fast"}},
    {"reindex": {"tables": ["app.parent"]}},
    {"amcheck": {"include": ["app.*"], "every": "1m", "heapallindexed": True}},
]
FUNCTION = """
CREATE OR REPLACE FUNCTION app.double(n int) RETURNS int LANGUAGE sql IMMUTABLE
AS 'SELECT n OPERATOR(pg_catalog.*) 2';
COMMENT ON FUNCTION app.double(int) IS '{}'; GRANT EXECUTE ON FUNCTION app.double TO PUBLIC;
"""
VIEW = """
CREATE MATERIALIZED VIEW app.made AS SELECT id, name FROM app.parent WHERE id OPERATOR(pg_catalog.>) {};
COMMENT ON MATERIALIZED VIEW app.made IS 'made';
"""
INDEX = "CREATE UNIQUE INDEX made_id ON app.made (id)"


def scripts(turn: int) -> list[dict[str, str]]:
    return [
        {"name": "function", "sql": FUNCTION.format(turn)},
        {"name": "view", "sql": "CREATE OR REPLACE VIEW app.small AS SELECT id FROM app.parent"},
        {"name": "type", "sql": "CREATE TYPE app.colour AS ENUM ('red', 'green')"},
        {"name": "materialized view", "sql": VIEW.format(turn)},
    ]


def shipped() -> list[dict[str, str]]:
    """The scripts of the application that this repository maintains, and how they are called."""
    objects = yaml.safe_load((REPOSITORY / "sql/objects.yml").read_text(encoding="utf-8"))["database_objects_files"]
    variables = {"vt_plus_slugs": ["vt_plus"], "app_roles": ["postgres"]}
    texts = {name: (REPOSITORY / "sql" / name).read_text(encoding="utf-8") for name in objects}
    return [{"name": name, "sql": Template(text).render(**variables)} for name, text in texts.items()]


FOUND = {"server": {"database": "x"}, "findings": [{"check": "c", "subject": "s", "level": "warning", "message": "m"}]}
FUNCTIONS = "cleanup_expired_sessions", "get_database_health_stats", "refresh_subscription_summary"


def scenario(dsn: str, turn: int, check: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every database module."""

    def did(module: str, **options: Any) -> tuple[str, dict[str, Any]]:
        return module, perform(module, dsn, check, **options)

    yield did("sql_object", scripts=[*shipped(), *scripts(turn)], indexes=[INDEX], history=True, on_conflict="recreate")
    yield did("run", plan="hourly", steps=STEPS)
    for step in (STEPS[0], STEPS[4], STEPS[5], STEPS[6], STEPS[9], STEPS[10], STEPS[11]):
        ((module, options),) = step.items()
        yield did(module, **options)
    yield did("maintainer", name="strangers_maintainer", steps=[*STEPS[:3], *STEPS[4:8], STEPS[11]], exclusive=True)
    yield did("history_info", limit=3)
    yield did("health_info", fail_on="never")
    yield did("index_info", unused_after="1s", drop_script="drop.sql", replicas=[dsn])
    yield did("report", title="strangers")
    # Told to nobody there; what it asks of the database is the same.
    nobody = {"webhook": {"url": "http://127.0.0.1:9"}}
    yield did("alerts", results=[FOUND], channels=[nobody], patience=0)


def everything(database: Database, turn: int, rounds: tuple[bool, ...] = (True, False, True, False)) -> list[Any]:
    """Check, do, check and do again; what came of it."""
    safely(database, ROWS)
    found: list[Any] = []
    modules = set()
    for check in rounds:
        for module, result in scenario(database.dsn, turn, check):
            modules.add(module)
            keys = ("operation", "target", "outcome", "rows")
            actions = [tuple(one[key] for key in keys) for one in result.get("actions", [])]
            failed = result["msg"] if result.get("failed") and module != "run" else ""
            found.append((module, check, failed, actions))
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for function in FUNCTIONS:
            cursor.execute(f"SELECT public.{function}()")
    assert modules == set(PERFORMERS)
    return found


def safely(database: Database, statement: str) -> None:
    """Run statements of the test's own as superuser, and leave no idle session for which a refresh would wait."""
    database.close_connection()
    with closing(database.connect(options="-c search_path=pg_catalog,pg_temp")) as connection:
        connection.cursor().execute(statement)


PARSED = {
    "functions": r":(?:funcid|opfuncid|aggfnoid|winfnoid|hashfuncid|negfuncid) (\d+)",
    "operators": r":(?:opno|eqop|sortop) (\d+)",
    "types": r":(?:consttype|vartype|resulttype|funcresulttype|opresulttype|aggtype|paramtype|array_typeid|element_typeid) (\d+)",
    "relations": r":relid (\d+)",
}


def used(database: Database) -> dict[str, list[int]]:
    """Oids of the server's own that the statements of a scenario use, from the server's log."""
    log = database.server.embedded.log
    before = log.stat().st_size
    database.sql(f"ALTER DATABASE {database.name} SET debug_print_parse = on")
    database.sql(f"ALTER DATABASE {database.name} SET debug_pretty_print = off")
    everything(database, turn=0, rounds=(True, False))
    database.sql(f"ALTER DATABASE {database.name} RESET ALL")
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(before)
        text = "".join(set(file))  # most statements are there several times
    found = {what: {int(oid) for oid in re.findall(pattern, text)} for what, pattern in PARSED.items()}
    return {what: sorted(oid for oid in oids if 0 < oid < 16384) for what, oids in found.items()}


CALLED = """
CREATE FUNCTION {schema}.called(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql IMMUTABLE AS $f$BEGIN
    RAISE LOG 'a stranger was called: % as %', what, current_user; RETURN true; END$f$;
"""
# Types for which there is a function or operator in place of one that takes several: an exact match is preferred.
COMMON = "{int4,int8,text,name,oid,jsonb,char,timestamptz,_text}"
SHADOWS = r"""
DO $do$
DECLARE
  space constant text := %(schema)s;
  common constant oid[] := ARRAY(SELECT oid FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
                                 AND typname = ANY (%(common)s::text[]));
  one record; arguments text; statement text; number int := 0;
BEGIN
  FOR one IN
    SELECT p.oid, p.proname, p.prokind, p.proargtypes::oid[] AS types FROM pg_proc AS p WHERE p.oid = ANY (%(functions)s)
    UNION  -- what takes anything, for the types that are common
    SELECT p.oid, p.proname, p.prokind, x.types
    FROM pg_proc AS p, LATERAL (SELECT ARRAY[a] AS types FROM unnest(common) AS a UNION ALL
                                SELECT ARRAY[a, b] FROM unnest(common) AS a, unnest(common) AS b UNION ALL
                                SELECT ARRAY['text'::regtype::oid, a, b] FROM unnest(common) AS a, unnest(common) AS b) AS x
    WHERE p.oid = ANY (%(functions)s)
    AND EXISTS (SELECT FROM unnest(p.proargtypes) AS t JOIN pg_type AS y ON y.oid = t WHERE y.typtype = 'p')
  LOOP
    arguments := (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(one.types) WITH ORDINALITY AS u (t, n));
    number := number + 1;
    IF one.prokind = 'a' THEN
      statement := format('CREATE AGGREGATE %%I.%%I(%%s) (sfunc = %%I.%%I, stype = int8)', space, one.proname,
        coalesce(arguments, '*'), space, 'state ' || number);
    ELSE
      statement := format('CREATE FUNCTION %%I.%%I(%%s) RETURNS text LANGUAGE plpgsql AS %%L', space, one.proname, arguments,
        format('BEGIN PERFORM %%I.called(%%L); RETURN NULL; END', space, 'function ' || one.proname));
    END IF;
    BEGIN
      IF one.prokind = 'a' THEN
        EXECUTE format('CREATE FUNCTION %%I.%%I(int8%%s) RETURNS int8 LANGUAGE plpgsql AS %%L', space,
          'state ' || number, ', ' || arguments,
          format('BEGIN PERFORM %%I.called(%%L); RETURN 0; END', space, 'aggregate ' || one.proname));
      END IF;
      EXECUTE statement;
    EXCEPTION WHEN invalid_function_definition OR duplicate_function OR undefined_function OR invalid_column_definition
      OR feature_not_supported OR syntax_error OR datatype_mismatch OR name_too_long OR wrong_object_type THEN
      number := number - 1;  -- of types that only the server may use
    END;
  END LOOP;
  FOR one IN
    SELECT o.oprname, o.oprleft, o.oprright FROM pg_operator AS o WHERE o.oid = ANY (%(operators)s)
    UNION
    SELECT DISTINCT o.oprname, l, r FROM pg_operator AS o, unnest(common) AS l, unnest(common) AS r
    WHERE o.oid = ANY (%(operators)s) AND o.oprleft <> 0
  LOOP
    BEGIN
      number := number + 1;
      arguments := concat_ws(', ', format_type(nullif(one.oprleft, 0), NULL), format_type(one.oprright, NULL));
      EXECUTE format('CREATE FUNCTION %%I.%%I(%%s) RETURNS bool LANGUAGE plpgsql AS %%L', space, 'operator ' || number, arguments,
        format('BEGIN PERFORM %%I.called(%%L); RETURN true; END', space, 'operator ' || one.oprname));
      EXECUTE format('CREATE OPERATOR %%I.%%s (function = %%I.%%I, %%s rightarg = %%s)', space, one.oprname, space,
        'operator ' || number, 'leftarg = ' || format_type(nullif(one.oprleft, 0), NULL) || ',', format_type(one.oprright, NULL));
    EXCEPTION WHEN invalid_function_definition OR duplicate_function OR undefined_function OR datatype_mismatch THEN
      number := number - 1;
    END;
  END LOOP;
  FOR one IN
    SELECT c.relname, (SELECT string_agg(format('%%I', attname), ', ' ORDER BY attnum) FROM pg_attribute AS a JOIN pg_type AS y
                       ON y.oid = a.atttypid WHERE attrelid = c.oid AND attnum > 0 AND y.typtype <> 'p') AS columns
    FROM pg_class AS c WHERE oid = ANY (%(relations)s) AND relkind IN ('r', 'v')
  LOOP
    EXECUTE format('CREATE VIEW %%I.%%I AS SELECT %%s FROM pg_catalog.%%I WHERE %%I.called(%%L)', space, one.relname, one.columns,
      one.relname, space, 'relation ' || one.relname);
    number := number + 1;
  END LOOP;
  FOR one IN SELECT typname, oid FROM pg_type WHERE oid = ANY (%(types)s) AND typtype = 'b' AND typname !~ '^_' LOOP
    EXECUTE format('CREATE DOMAIN %%I.%%I AS %%s CHECK (%%I.called(%%L))', space, one.typname, format_type(one.oid, NULL), space,
      'type ' || one.typname);
    number := number + 1;
  END LOOP;
  RAISE NOTICE '%% shadows', number;
END $do$;
"""


def shadow(database: Database, stranger: str, schema: str, common: str, what: dict[str, list[int]]) -> int:
    """Make something of the same name for everything, as the stranger; how many there are."""
    with closing(database.connect(stranger)) as connection, connection.cursor() as cursor:
        cursor.execute("SET search_path = pg_catalog, pg_temp")
        cursor.execute(SQL(CALLED).format(schema=Identifier(schema)))
        cursor.execute(SHADOWS, {"schema": schema, "common": common, **what})
        numbers = re.findall(r"(\d+) shadows", "".join(connection.notices))
        return int(numbers[-1])


def calls(database: Database, before: int) -> set[str]:
    with database.server.embedded.log.open(encoding="utf-8", errors="replace") as file:
        file.seek(before)
        return set(re.findall(r"a stranger was called: (.*)", file.read()))


Place = tuple[Database, list[Any], dict[str, list[int]], str]


@pytest.fixture(scope="module", params=["server", "postgres15"])
def place(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A database in which a stranger has made what our statements use, and what came of the scenario before that."""
    server = servers.private(request.getfixturevalue(request.param).bin)
    database = server.create_database(server.vtchat_template())
    stranger = database.role("stranger")
    database.sql(TABLES)
    database.sql(SQL("GRANT CREATE, USAGE ON SCHEMA public, app, broken TO {}").format(Identifier(stranger)))
    what = used(database)
    clean = everything(database, turn=1)
    assert shadow(database, stranger, "public", COMMON, what) > 1000
    assert shadow(database, stranger, "app", "{}", what) > 200
    yield database, clean, what, stranger
    server.embedded.remove()


def test_the_list_is_what_the_server_has_parsed(place: Place) -> None:
    database, _clean, what, _stranger = place
    names = {
        name
        for (name,) in database.sql(
            "SELECT proname FROM pg_proc WHERE oid = ANY (%s) UNION SELECT oprname FROM pg_operator WHERE oid = ANY (%s) "
            "UNION SELECT typname FROM pg_type WHERE oid = ANY (%s) UNION SELECT relname FROM pg_class WHERE oid = ANY (%s)",
            [what["functions"], what["operators"], what["types"], what["relations"]],
        )
    }
    for expected in (
        "format",
        "jsonb_build_object",
        "set_config",
        "count",
        "=",
        "||",
        "regclass",
        "pg_class",
        "unnest",
    ):
        assert expected in names


def test_a_shadow_is_called_by_whoever_trusts_the_path(place: Place) -> None:
    """Otherwise the next test would prove nothing."""
    database = place[0]
    before = database.server.embedded.log.stat().st_size
    for path, statement in (
        ("public, pg_catalog", "SELECT count(*) FROM pg_class"),
        ("public", "SELECT format('%s %s', 1, 'x'::name)"),
        ("public", "SELECT 1::oid = 1"),
        ("public, pg_catalog", "SELECT 'x'::text"),
    ):
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [path])
            with suppress(psycopg2.Error):  # the shadow may give another type than is needed
                cursor.execute(statement)
    found = calls(database, before)
    assert {one.split(" as ")[0].split(" ")[0] for one in found} >= {"function", "operator", "type", "relation"}, found


def test_casts_between_types_of_the_server_cannot_be_made(place: Place) -> None:
    database, _clean, what, stranger = place
    with closing(database.connect(stranger)) as connection, connection.cursor() as cursor:
        cursor.execute("SET search_path = pg_catalog, pg_temp")
        cursor.execute(
            "SELECT format_type(oid, NULL) FROM pg_type WHERE oid = ANY (%s) AND typtype = 'b'", [what["types"]]
        )
        names = [name for (name,) in cursor.fetchall()]
        refused = (
            psycopg2.errors.InsufficientPrivilege,
            psycopg2.errors.InvalidObjectDefinition,
            psycopg2.errors.UndefinedObject,
        )
        for name in names:
            with pytest.raises(refused):
                cursor.execute(f"CREATE CAST ({name} AS {names[0]}) WITH INOUT AS IMPLICIT")


PATHS = ["app, public, pg_catalog", "nowhere, app"]
# Here the server's own come first or the stranger has one schema: what is called then is called with the first of those, too.
USUAL = ['"$user", public', "public, pg_catalog"]


@pytest.mark.parametrize("path", PATHS)
def test_no_stranger_is_called(place: Place, path: str) -> None:
    no_stranger_is_called(place, path)


@pytest.mark.parametrize("path", USUAL)
@pytest.mark.parametrize("place", ["server"], indirect=True)
def test_nor_with_the_usual_paths(place: Place, path: str) -> None:
    """On one release."""
    no_stranger_is_called(place, path)


def no_stranger_is_called(place: Place, path: str) -> None:
    database, clean, _what, _stranger = place
    for number, of in enumerate((f"DATABASE {database.name}", "ROLE postgres")):
        safely(database, f"ALTER {of} SET search_path = {path if number else 'app, public'}")
    try:
        before = database.server.embedded.log.stat().st_size
        found = everything(database, turn=2 - [*PATHS, *USUAL].index(path) % 2)
        assert calls(database, before) == set()
        assert [one[:3] for one in found] == [one[:3] for one in clean]
    finally:
        for of in (f"DATABASE {database.name}", "ROLE postgres"):
            safely(database, f"ALTER {of} RESET search_path")
