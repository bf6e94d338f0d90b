# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A history that an older release has left: upgraded in place, with nothing lost, or used as it is by who may not alter it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import perform
from tests.servers import Database

LEFT = Path(__file__).parent / "data/history_version_1.sql"
STEPS = [{"purge": {"table": "t", "column": "at"}}, {"refresh": {"view": "v"}}, {"analyze": {"tables": ["t"]}}]
KEPT = (
    "SELECT md5(string_agg(r::text, ';' ORDER BY id)) FROM maintenance.run AS r WHERE id < 2",
    "SELECT md5(string_agg(a::text, ';' ORDER BY id)) FROM maintenance.action AS a WHERE id <= 7",
)


@pytest.fixture
def left(database: Database) -> Database:
    """What a run of version 1 has left, an hour ago."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    database.sql("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t")
    database.sql(LEFT.read_text(encoding="utf-8"))
    database.sql("UPDATE maintenance.run SET started_at = now() - interval '1 hour'")
    return database


def version(database: Database) -> str:
    return str(database.value("SELECT obj_description('maintenance.run'::regclass, 'pg_class')"))[-1]


def test_upgraded_in_place_with_nothing_lost(left: Database) -> None:
    reader, stranger = left.role("reader"), left.role("stranger")
    left.sql(f"GRANT USAGE ON SCHEMA maintenance TO {reader}")
    left.sql(f"GRANT SELECT, INSERT ON maintenance.action TO {reader}")
    before = [left.value(query) for query in KEPT]
    checked = perform("run", left.dsn, plan="hourly", steps=STEPS, check=True)
    assert (version(left), checked["warnings"]) == ("1", [])
    first = perform("run", left.dsn, plan="hourly", steps=STEPS)
    assert (version(left), first["status"], first["run_id"]) == ("2", "ok", 3)
    assert "Run 2 (hourly" in first["warnings"][0], "the run that died is noticed as before"
    assert [left.value(query) for query in KEPT] == before
    assert left.value("SELECT count(*) FROM maintenance.state") == 3
    # The new table has the privileges of the others.
    assert left.value(f"SELECT has_table_privilege('{reader}', 'maintenance.finding', 'INSERT')")
    assert not left.value(f"SELECT has_table_privilege('{reader}', 'maintenance.finding', 'DELETE')")
    assert not left.value(f"SELECT has_table_privilege('{stranger}', 'maintenance.finding', 'SELECT')")
    again = perform("run", left.dsn, plan="hourly", steps=STEPS)
    assert (again["status"], again["warnings"]) == ("ok", [])
    runs = perform("history_info", left.dsn, plan="hourly")["runs"]
    assert [(run["run_id"], run["status"]) for run in runs] == [(4, "ok"), (3, "ok"), (2, "abandoned"), (1, "ok")]


def test_history_info_reads_version_1(left: Database) -> None:
    runs = perform("history_info", left.dsn)["runs"]
    assert [(run["run_id"], run["status"], len(run["actions"])) for run in runs] == [(2, "running", 4), (1, "ok", 3)]
    assert version(left) == "1"


def test_who_may_not_alter_it_goes_on_with_version_1(left: Database) -> None:
    role = left.role("maintainer")
    left.sql(f"GRANT USAGE ON SCHEMA maintenance TO {role}; GRANT SELECT, UPDATE, DELETE ON t TO {role}")
    left.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA maintenance TO {role}")
    result = perform("run", left.dsn_as(role), plan="hourly", steps=STEPS[:1])
    assert (result["status"], result["run_id"], version(left)) == ("ok", 3, "1")
    assert [text for text in result["warnings"] if "abandoned" not in text] == []


def test_it_is_upgraded_for_its_owner(left: Database) -> None:
    owner, login = left.role("owner"), left.role("login")
    left.sql(f"GRANT {owner} TO {login}; ALTER SCHEMA maintenance OWNER TO {owner}")
    for name in ("run", "action", "state"):
        left.sql(f"ALTER TABLE maintenance.{name} OWNER TO {owner}")
    left.sql(f"GRANT SELECT, UPDATE, DELETE ON t TO {login}")
    assert perform("run", left.dsn_as(login), plan="hourly", steps=STEPS[:1])["status"] == "ok"
    assert version(left) == "2"
    assert (
        left.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'maintenance.finding'::regclass")
        == owner
    )


def test_provisioning_upgrades_it(left: Database) -> None:
    script = {"name": "f", "sql": "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"}
    for check, expected in ((True, "1"), (False, "2"), (False, "2")):
        result = perform("sql_object", left.dsn, scripts=[script], history=True, check=check)
        assert not result.get("failed"), result
        assert version(left) == expected
    assert not result["changed"]


def test_a_table_of_the_new_name_that_somebody_else_made_is_not_taken(left: Database) -> None:
    left.sql("CREATE TABLE maintenance.finding (id int)")
    result = perform("run", left.dsn, plan="hourly", steps=STEPS[:1])
    assert (result["status"], result["run_id"], version(left)) == ("ok", None, "1")
    assert "table maintenance.finding is not as this collection made it" in result["warnings"][0]
