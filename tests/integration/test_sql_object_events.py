# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Databases in which event triggers log or forbid what scripts do."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from tests.objects import FUNCTION, VIEW, exact, install
from tests.runs import only, perform
from tests.servers import Database

# A log as people write it: through a function, into a table with a trigger and a sequence.
LOG = """
CREATE SCHEMA audit;
CREATE TABLE audit.ddl_log (id serial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), tag text, object text);
CREATE TABLE audit.summary (tag text PRIMARY KEY, n int);
CREATE FUNCTION audit.count() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit.summary VALUES (new.tag, 1) ON CONFLICT (tag) DO UPDATE SET n = summary.n + 1; RETURN new; END $$;
CREATE TRIGGER count AFTER INSERT ON audit.ddl_log FOR EACH ROW EXECUTE FUNCTION audit.count();
CREATE FUNCTION audit.write(tag text, object text) RETURNS void LANGUAGE sql AS
    'INSERT INTO audit.ddl_log (tag, object) VALUES ($1, $2)';
CREATE FUNCTION audit.log() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP PERFORM audit.write(r.command_tag, r.object_identity); END LOOP;
    RAISE WARNING 'logged %', tg_tag; END $$;
CREATE FUNCTION audit.log_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP PERFORM audit.write('drop', r.object_identity); END LOOP;
    END $$;
CREATE EVENT TRIGGER log ON ddl_command_end EXECUTE FUNCTION audit.log();
CREATE EVENT TRIGGER log_drop ON sql_drop EXECUTE FUNCTION audit.log_drop();
"""
FORBID = """
CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no tables here, says operations'; END $$;
CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forbid();
"""


def test_a_log_of_ddl_is_no_change_of_rows(items: Database) -> None:
    items.sql(LOG)
    view = "CREATE OR REPLACE VIEW public.v AS SELECT id FROM items"
    done = install(items, FUNCTION, VIEW, view)
    assert [one["operation"] for one in done["actions"]] == ["create"] * 3
    assert any("logged CREATE FUNCTION" in warning for warning in done["warnings"])
    logged = items.value("SELECT count(*) FROM audit.ddl_log")
    assert logged > 3
    assert items.value("SELECT sum(n) FROM audit.summary") == logged
    assert not install(items, FUNCTION, VIEW, view)["changed"]
    assert items.value("SELECT count(*) FROM audit.ddl_log") == logged, "what is tried out is not logged"
    for check in (True, False):
        with pytest.raises(OptionError, match=r"changes rows of public\.item.* event trigger does that: log, log_drop"):
            install(items, FUNCTION, "DO $$ BEGIN DELETE FROM public.item; END $$", check=check)
    wider = install(items, FUNCTION, VIEW.replace("id, name", "id, name, added"), view, on_conflict="recreate")
    assert [one["operation"] for one in wider["actions"]] == ["keep", "replace", "keep"]
    assert install(items, "DROP FUNCTION IF EXISTS public.twice(int)")["actions"][0]["operation"] == "drop"


def test_a_log_that_relies_on_the_search_path(items: Database) -> None:
    items.sql("CREATE TABLE ddl_log (tag text)")
    for event in ("ddl_command_end", "sql_drop"):
        items.sql(f"CREATE FUNCTION log_{event}() RETURNS event_trigger LANGUAGE plpgsql AS "
                  f"$$ BEGIN INSERT INTO ddl_log VALUES (tg_tag); END $$; CREATE EVENT TRIGGER {event} ON {event} "
                  f"EXECUTE FUNCTION log_{event}()")  # fmt: skip
    role = items.role()
    scripts = [FUNCTION, VIEW + f"; GRANT SELECT ON public.items TO {role}", "CREATE TYPE public.mood AS ENUM ('a')"]
    assert [one["operation"] for one in install(items, *scripts)["actions"]] == ["create"] * 3
    assert not install(items, *scripts)["changed"]
    scripts = [FUNCTION.replace("RETURNS int", "RETURNS bigint"), scripts[1].replace("id, name", "id"), scripts[2]]
    done = install(items, *scripts, on_conflict="recreate")
    assert [one["operation"] for one in done["actions"]] == ["replace", "replace", "keep"]
    assert not install(items, *scripts)["changed"]


def test_tables_are_forbidden(items: Database) -> None:
    items.sql(FORBID)
    exact(items, FUNCTION, VIEW, "CREATE TYPE public.mood AS ENUM ('a')")
    for check in (True, False):
        action = only(perform("index", items.dsn, check, definition="CREATE INDEX i ON item (name)"))
        assert action["outcome"] == "failed"
        assert "no tables here, says operations" in action["reason"]
        assert "an empty temporary copy of the table" in action["reason"]
        assert "forbid" in action["reason"]


def test_an_event_trigger_refuses_what_the_script_does(items: Database) -> None:
    items.sql(FORBID.replace("'CREATE TABLE'", "'CREATE VIEW'"))
    with pytest.raises(MaintenanceError, match=r"2\.sql:\d: no tables here, says operations"):
        install(items, FUNCTION, "\nCREATE OR REPLACE VIEW public.v AS SELECT 1 AS a")
