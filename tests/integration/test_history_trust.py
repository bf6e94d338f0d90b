# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history is used only where nobody else's code would run with the rights of the maintenance role."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import (
    UPGRADES,
    VERSION,
    differences,
    parts,
)
from tests.runs import only, perform
from tests.servers import Database, Server

MADE = "CREATE SCHEMA maintenance;" + "".join(UPGRADES)
# Writes into the server's log with whose rights it runs.
CALLED = """
CREATE FUNCTION public.called() RETURNS bool LANGUAGE plpgsql AS $$BEGIN
    RAISE LOG 'stranger called in % as %', current_database(), current_user; RETURN true; END$$;
CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.called(); RETURN NEW; END$$;
"""

# What somebody makes who may create schemas in the database, before the first run of the maintenance.
BEFOREHAND = {
    "everything": MADE,
    "trigger": MADE + "CREATE TRIGGER t BEFORE INSERT ON maintenance.run FOR EACH ROW EXECUTE FUNCTION public.fires()",
    "rule": MADE + "CREATE RULE r AS ON INSERT TO maintenance.run DO ALSO SELECT public.called()",
    "default": MADE + "ALTER TABLE maintenance.run ADD x bool DEFAULT public.called()",
    "generated": "CREATE FUNCTION public.always(bigint) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT public.called()';"
    + MADE
    + "ALTER TABLE maintenance.run ADD x bool GENERATED ALWAYS AS (public.always(id)) STORED",
    "check": MADE + "ALTER TABLE maintenance.action ADD CHECK (public.called())",
    "domain": "CREATE DOMAIN public.d AS text CHECK (public.called());"
    + MADE
    + "ALTER TABLE maintenance.state ALTER target TYPE public.d",
    "policy": MADE
    + "ALTER TABLE maintenance.state ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
    + "CREATE POLICY p ON maintenance.state USING (public.called()) WITH CHECK (public.called())",
    "view": MADE
    + "ALTER TABLE maintenance.state RENAME TO kept; "
    + "CREATE VIEW maintenance.state AS SELECT * FROM maintenance.kept WHERE public.called()",
    "index": "CREATE FUNCTION public.fixed(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT public.called()';"
    + MADE
    + "CREATE INDEX ON maintenance.action (public.fixed(target))",
    "child": MADE
    + "CREATE TABLE public.child () INHERITS (maintenance.run); "
    + "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON public.child FOR EACH ROW EXECUTE FUNCTION public.fires()",
    "empty schema": "CREATE SCHEMA maintenance",
}
# What somebody makes on tables of the maintenance role, who was given the right to it.
AFTERWARDS = {
    "trigger": "CREATE TRIGGER t BEFORE INSERT ON maintenance.run FOR EACH ROW EXECUTE FUNCTION public.fires()",
    "reference": "CREATE TABLE public.r (id bigint REFERENCES maintenance.run ON DELETE CASCADE)",
}
STEPS = [{"purge": {"table": "t", "column": "at"}}, {"analyze": {"tables": ["t"]}}]


@pytest.fixture
def place(database: Database) -> tuple[Database, str, str]:
    """A database with a maintenance role and a stranger; both may create schemas."""
    role, stranger = database.role("maintainer"), database.role("stranger")
    names = {"role": Identifier(role), "stranger": Identifier(stranger), "database": Identifier(database.name)}
    database.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01')")
    database.sql(
        SQL(
            "ALTER TABLE t OWNER TO {role}; GRANT CREATE ON DATABASE {database} TO {role}, {stranger}; "
            "GRANT ALL ON SCHEMA public TO {stranger}"
        ).format(**names)
    )
    database.sql(CALLED)
    return database, role, stranger


def log(server: Server) -> str:
    return server.embedded.log.read_text(encoding="utf-8", errors="replace")


def run(database: Database, user: str, check: bool = False) -> dict[str, Any]:
    return perform("run", database.dsn_as(user), check, plan="hourly", steps=STEPS)


@pytest.mark.parametrize("attack", BEFOREHAND)
def test_schema_that_a_stranger_has_made(place: tuple[Database, str, str], attack: str) -> None:
    database, role, stranger = place
    with closing(database.connect(stranger)) as connection, connection.cursor() as cursor:
        cursor.execute(BEFOREHAND[attack] + f"; GRANT ALL ON SCHEMA maintenance TO {role}")
        if "TABLE" in BEFOREHAND[attack]:
            cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA maintenance TO {role}")
    before = len(log(database.server))
    for user in (role, "postgres"):
        for check in (True, False):
            result = run(database, user, check)
            assert result["status"] == "ok", result
            assert result["run_id"] is None
            [warning] = [text for text in result["warnings"] if "No history" in text]
            for told in (stranger, f"set role: {stranger}", f"OWNER TO {role if user == role else user}"):
                assert told in warning
        shown = perform("history_info", database.dsn_as(user))
        assert shown["failed"]
        assert stranger in shown["msg"]
    assert "stranger called" not in log(database.server)[before:]


@pytest.mark.parametrize("attack", AFTERWARDS)
def test_what_a_stranger_has_put_on_our_tables(place: tuple[Database, str, str], attack: str) -> None:
    database, role, stranger = place
    assert run(database, role)["run_id"]
    database.sql(
        f"GRANT USAGE ON SCHEMA maintenance TO {stranger}; "
        f"GRANT TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA maintenance TO {stranger}"
    )
    with closing(database.connect(stranger)) as connection, connection.cursor() as cursor:
        cursor.execute(AFTERWARDS[attack])
    before = len(log(database.server))
    result = run(database, role)
    assert (result["status"], result["run_id"]) == ("ok", None)
    [warning] = result["warnings"]
    assert "maintenance.run is not as this collection made it: it has the trigger" in warning
    assert "stranger called" not in log(database.server)[before:]


def test_history_of_a_role_that_we_are_a_member_of(place: tuple[Database, str, str]) -> None:
    database, role, _stranger = place
    member = database.role("member")
    assert run(database, role)["run_id"]
    database.sql(f"GRANT {role} TO {member}")
    assert run(database, member)["warnings"] == []


def test_history_of_a_superuser(place: tuple[Database, str, str]) -> None:
    database, role, _stranger = place
    assert run(database, "postgres")["run_id"]
    database.sql(
        f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA maintenance TO {role}"
    )
    assert run(database, role)["warnings"] == []


def test_history_of_a_role_is_read_as_that_role(place: tuple[Database, str, str]) -> None:
    database, role, _stranger = place
    run(database, role)
    assert perform("history_info", database.dsn)["failed"]
    assert len(perform("history_info", database.dsn, role=role)["runs"]) == 1


def test_every_part_counts(place: tuple[Database, str, str], postgres15: Server) -> None:
    """What this collection makes is what it recognises, on the oldest server too; a part more or less is seen."""
    database, role, _stranger = place
    old = postgres15.create_database()
    try:
        for one, user in ((database, role), (old, "postgres")):
            one.sql("CREATE TABLE IF NOT EXISTS t (id int, at timestamptz)")
            assert run(one, user)["run_id"]
            assert run(one, user)["warnings"] == []
    finally:
        old.close()
    made = [list(part) for part in sorted(parts(VERSION))]
    assert differences({"parts": made}, VERSION) == ""
    for number, part in enumerate(made):
        assert "lacks" in differences({"parts": made[:number] + made[number + 1 :]}, VERSION)
        assert "has" in differences({"parts": [*made, [part[0], part[1], part[2] + " "]]}, VERSION)


def test_ordinary_indexes_and_statistics_of_people_do_no_harm(place: tuple[Database, str, str]) -> None:
    database, role, _stranger = place
    run(database, role)
    database.sql(
        "CREATE INDEX ON maintenance.action (target, started_at); COMMENT ON TABLE maintenance.action IS 'ours'"
    )
    result = run(database, role)
    assert (result["warnings"], only({"actions": result["actions"][:1]})["outcome"]) == ([], "unchanged")
