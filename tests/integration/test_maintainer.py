# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""maintainer: the role can do what its plans need and nothing else, on servers with and without MAINTAIN."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.server import Server as ServerFacts
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from ansible_collections.vtchat.maintenance.plugins.module_utils._rights import scram
from roles.embedded_postgres.module_utils.embedded_load import load
from tests.runs import playbook, until
from tests.servers import SCHEMA, Server, unique

PASSWORD = "correct horse battery"
# VTChat's schema with few rows: rights do not depend on how many there are.
TEMPLATE = "vtchat_template_of_few_rows"
TEMPLATE_ROWS = {"demo.users": "20", "demo.sessions": "90"}
STEPS: list[dict[str, Any]] = [
    {"purge": {"table": "sessions", "column": "expires_at", "timezone": "UTC"}},
    {"refresh": {"view": "user_subscription_summary"}},
    {"analyze": {"tables": ["users", "user_subscriptions", "sessions"]}},
]
# Everything about roles and rights that can be read back
SNAPSHOT = """
SELECT (SELECT jsonb_agg(to_jsonb(r) - 'rolpassword' ORDER BY oid) FROM pg_roles AS r WHERE rolname = ANY (%(ours)s))::text,
       (SELECT jsonb_agg(jsonb_build_array(rolname, rolpassword) ORDER BY oid) FROM pg_authid
        WHERE rolname = ANY (%(ours)s))::text,
       (SELECT jsonb_agg(to_jsonb(m) - 'oid' ORDER BY roleid, member, grantor) FROM pg_auth_members AS m
        WHERE member IN (SELECT oid FROM pg_roles WHERE rolname = ANY (%(ours)s)))::text,
       (SELECT jsonb_agg(jsonb_build_array(oid, relacl) ORDER BY oid) FROM pg_class)::text,
       (SELECT jsonb_agg(jsonb_build_array(attrelid, attnum, attacl) ORDER BY attrelid, attnum)
        FROM pg_attribute WHERE attacl IS NOT NULL)::text,
       (SELECT jsonb_agg(jsonb_build_array(nspname, nspacl) ORDER BY nspname) FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%%')::text,
       (SELECT datacl::text FROM pg_database WHERE datname = current_database())
"""


class Site:
    """VTChat's database with an owner who is no superuser, and a name for the maintainer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.new = server.sql("SELECT current_setting('server_version_num')::int")[0][0] >= 170000
        load(server.dsn(), TEMPLATE, SCHEMA, TEMPLATE_ROWS)
        self.database = server.create_database(TEMPLATE)
        self.owner = self.database.role("owner", attributes=["CREATEROLE"])
        self.name = unique("maintainer")
        self.sql(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS user_subscription_summary AS SELECT id AS user_id FROM users;"
            "CREATE UNIQUE INDEX IF NOT EXISTS user_subscription_summary_user_id ON user_subscription_summary (user_id)"
        )
        for (statement,) in self.sql(
            "SELECT format('ALTER TABLE %%s OWNER TO %%I', oid::regclass, %s) FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm')",
            [self.owner],
        ):
            self.sql(statement)

    def close(self) -> None:
        self.database._roles.append(self.name)
        self.sql(
            SQL("DO $$ BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN END $$").format(Identifier(self.name))
        )
        self.database.close()

    def sql(self, statement: Any, params: Any = None) -> list[tuple[Any, ...]]:
        return self.database.sql(statement, params)

    def provide(self, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
        given = {"name": self.name, "steps": STEPS, "dsn": self.database.dsn_as(user), **options}
        return _edge.perform(_edge.validated("maintainer", given), check)

    def run(self, check: bool = False, user: str | None = None, steps: Any = None) -> dict[str, Any]:
        self.database.close_connection()  # a refresh would wait until it has been idle for long enough
        dsn = self.database.dsn_as(user or self.name)
        given = {"dsn": dsn, "plan": "hourly", "steps": STEPS if steps is None else steps}
        return _edge.perform(_edge.validated("run", given), check)

    def refused(self, statement: str) -> bool:
        """Whether the maintainer is refused for want of a right."""
        with closing(self.database.connect(self.name)) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except psycopg2.errors.InsufficientPrivilege:
                return True
        return False

    def snapshot(self) -> tuple[Any, ...]:
        """What the database and our roles are like; other tests make roles on the same server."""
        return self.sql(SNAPSHOT, {"ours": [self.name, self.owner]})[0]


@pytest.fixture(params=["server", "postgres15"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(request.getfixturevalue(request.param))
    yield made
    made.close()


@pytest.fixture
def new_site(server: Server) -> Iterator[Site]:
    """On a server with MAINTAIN, and where CREATEROLE alone gives nothing away."""
    made = Site(server)
    yield made
    made.close()


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {action["target"]: action["outcome"] for action in result["actions"]}


def reasons(result: dict[str, Any]) -> str:
    return "\n".join(f"{action['target']}: {action['reason']}" for action in result["actions"])


def grants(result: dict[str, Any]) -> list[str]:
    return [text for action in result["actions"] for text in action["statements"]]


# What it can do, and what it cannot


def test_runs_the_whole_plan(site: Site) -> None:
    assert site.provide(password=PASSWORD)["changed"]
    dsn = site.database.tcp_dsn(site.name, PASSWORD)
    given = {"dsn": dsn, "plan": "hourly", "steps": STEPS}
    first = _edge.perform(_edge.validated("run", given), False)
    assert (first["status"], first["warnings"]) == ("ok", []), first
    assert first["run_id"]
    assert set(outcomes(first).values()) == {"done"}
    assert site.run()["status"] == "ok"
    # Nothing of what was needed for the first run is superfluous, and nothing is missing.
    again = site.provide(password=PASSWORD, exclusive=True)
    assert (again["changed"], again["excess"], again["other"]) == (False, [], []), again
    assert site.run()["warnings"] == []


FORBIDDEN = (
    "SELECT FROM accounts",
    "SELECT FROM users",
    "DELETE FROM users",
    "UPDATE sessions SET user_id = 'someone'",
    "INSERT INTO sessions SELECT * FROM sessions LIMIT 1",
    "TRUNCATE sessions",
    "SELECT FROM user_subscription_summary",
    "CREATE TABLE public.mine ()",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER TABLE users ADD COLUMN mine int",
    "DROP TABLE sessions",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')",
)


def test_can_do_nothing_else(new_site: Site) -> None:
    new_site.provide()
    assert new_site.run()["status"] == "ok"
    assert [statement for statement in FORBIDDEN if not new_site.refused(statement)] == []
    assert not new_site.refused("DELETE FROM sessions WHERE false")


def test_can_do_nothing_else_without_maintain(postgres15: Server) -> None:
    site = Site(postgres15)
    try:
        # Without steps that need ownership
        result = site.provide(steps=STEPS[:1])
        assert result["warnings"] == []
        assert site.run(steps=STEPS[:1])["status"] == "ok"
        for statement in (
            "SELECT FROM accounts",
            "DELETE FROM users",
            "UPDATE sessions SET user_id = 'x'",
            "ANALYZE users",
        ):
            assert site.refused(statement) or statement == "ANALYZE users"
        # With them, it has the rights of that owner, but not of others, and the result says so.
        keeper = site.database.role("keeper")
        site.sql(SQL("ALTER TABLE accounts OWNER TO {}").format(Identifier(keeper)))
        result = site.provide()
        assert site.owner in result["warnings"][0]
        for statement in (
            "SELECT FROM accounts",
            "CREATE TABLE public.mine ()",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
        ):
            assert site.refused(statement), statement
    finally:
        site.close()


def test_history_that_others_made(site: Site) -> None:
    assert site.run(user="postgres")["run_id"]
    result = site.provide()
    assert outcomes(result)["maintenance.run"] == "done"
    assert 'GRANT CREATE ON SCHEMA "maintenance"' not in "".join(grants(result))
    assert site.run()["warnings"] == []
    assert not site.provide(exclusive=True)["changed"]


def test_history_made_by_an_owner_who_is_no_superuser(site: Site) -> None:
    """It belongs to the role, which would not use it otherwise, and the owner cannot act as the role afterwards."""
    site.sql(SQL("GRANT CREATE ON DATABASE {} TO {}").format(Identifier(site.database.name), Identifier(site.owner)))
    given: dict[str, Any] = {"user": site.owner, "steps": STEPS[:1], "read_all_stats": False}
    assert site.provide(check=True, **given)["changed"]
    assert site.provide(**given)["changed"]
    assert not site.provide(**given)["changed"]
    result = site.run(steps=STEPS[:1])
    assert (result["status"], result["warnings"], bool(result["run_id"])) == ("ok", [], True)
    owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'maintenance'"
    assert site.sql(owner) == [(site.name,)]
    with (
        closing(site.database.connect(site.owner)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(SQL("SET ROLE {}").format(Identifier(site.name)))


def test_schema_that_is_not_ours(new_site: Site) -> None:
    new_site.sql("CREATE SCHEMA maintenance; CREATE TABLE maintenance.run ()")
    before = new_site.snapshot()
    result = new_site.provide()
    assert result["failed"]
    assert "not ours: set history: false" in result["msg"]
    assert new_site.snapshot() == before
    assert new_site.provide(history=False)["changed"]
    assert new_site.refused("SELECT FROM maintenance.run")


# The same again, check mode and drift


def test_check_mode_is_exact_and_leaves_nothing(site: Site) -> None:
    before = site.snapshot()
    predicted = site.provide(check=True, password=PASSWORD, connection_limit=3)
    assert site.snapshot() == before
    done = site.provide(password=PASSWORD, connection_limit=3)
    assert predicted["changed"]
    assert done["diff"] == predicted["diff"]
    assert [{**a, "outcome": "done"} if a["outcome"] == "planned" else a for a in predicted["actions"]] == done[
        "actions"
    ]
    after = site.snapshot()
    assert after != before
    for check in (True, False):
        again = site.provide(check=check, password=PASSWORD, connection_limit=3)
        assert (again["changed"], again["diff"], again["password"]) == (False, [], "verifier")
        assert set(outcomes(again).values()) == {"unchanged"}
    assert site.snapshot() == after


DRIFT = [
    "ALTER ROLE {m} NOLOGIN",
    "ALTER ROLE {m} CONNECTION LIMIT 1",
    "ALTER ROLE {m} PASSWORD NULL",
    "ALTER ROLE {m} PASSWORD 'other'",
    "REVOKE SELECT ON sessions FROM {m}",
    "REVOKE DELETE ON sessions FROM {m}",
    "REVOKE UPDATE (expires_at) ON sessions FROM {m}",
    "REVOKE pg_read_all_stats FROM {m}",
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    "REVOKE CONNECT ON DATABASE {d} FROM PUBLIC",
    "REVOKE CREATE ON SCHEMA maintenance FROM {m}",
    "DROP SCHEMA maintenance",
]


@pytest.mark.parametrize("exclusive", [False, True])
def test_drift_is_repaired(site: Site, exclusive: bool) -> None:
    wanted: dict[str, Any] = {"password": PASSWORD, "connection_limit": 3, "exclusive": exclusive}
    site.provide(**wanted)
    for drift in DRIFT:
        check_drift(site, drift, wanted)


def check_drift(site: Site, drift: str, wanted: dict[str, Any]) -> None:
    """Something is taken away: found, repaired once, and the plan runs. In the end all is as before."""
    site.sql(SQL(drift).format(m=Identifier(site.name), d=Identifier(site.database.name)))
    for check in (True, False):
        result = site.provide(check=check, **wanted)
        changed = [action for action in result["actions"] if action["changed"]]
        # Without MAINTAIN it is a member of the owner, and has the right as long as that is so.
        through_owner = "sessions" in drift and not site.new and not wanted["exclusive"]
        assert len(changed) == (0 if through_owner else 1), (drift, result)
    assert site.run()["warnings"] == []
    site.sql("DROP SCHEMA maintenance CASCADE")
    site.provide(**wanted)
    assert not site.provide(**wanted)["changed"]


def test_maintain_or_ownership_is_repaired(site: Site) -> None:
    site.provide()
    lost = "REVOKE MAINTAIN ON user_subscription_summary FROM {m}" if site.new else "REVOKE {o} FROM {m}"
    site.sql(SQL(lost).format(m=Identifier(site.name), o=Identifier(site.owner)))
    assert "failed" in outcomes(site.run(check=True)).values()
    assert site.provide()["changed"]
    assert site.run()["status"] == "ok"


# What it has too much

EXTRA = [
    ("GRANT SELECT ON accounts TO {m}", "SELECT FROM accounts"),
    ("GRANT UPDATE ON sessions TO {m}", "UPDATE sessions SET user_id = '' WHERE false"),
    ("GRANT SELECT (id) ON users TO {m}", "SELECT id FROM users"),
    ("GRANT CREATE ON SCHEMA public TO {m}", "CREATE TABLE public.mine ()"),
    ("GRANT CREATE ON DATABASE {d} TO {m}", "CREATE SCHEMA mine"),
    ("GRANT pg_write_all_data TO {m}", "DELETE FROM accounts"),
    ("ALTER ROLE {m} CREATEROLE", "CREATE ROLE mine"),
    ("ALTER ROLE {m} SUPERUSER", "SELECT FROM accounts"),
    (
        'CREATE FUNCTION "F"(text, int[]) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; '
        'REVOKE EXECUTE ON FUNCTION "F" FROM PUBLIC; '
        'GRANT EXECUTE ON FUNCTION "F" TO {m}',
        "SELECT \"F\"('', '{}')",
    ),
]


def test_excess_is_reported_and_taken_away_on_request(site: Site) -> None:
    site.provide()
    keeper = site.database.role("keeper")
    site.sql(SQL("ALTER TABLE accounts OWNER TO {}").format(Identifier(keeper)))
    for extra, allows in EXTRA:
        check_excess(site, extra, allows)
    assert site.run()["status"] == "ok"


def check_excess(site: Site, extra: str, allows: str) -> None:
    """Something is given: found, told and, when asked to, taken away."""
    site.sql(SQL(extra).format(m=Identifier(site.name), d=Identifier(site.database.name)))
    if not site.new and allows in (EXTRA[1][1], EXTRA[2][1]):
        allows = ""  # the owner's rights on 15 include it
    assert not allows or not site.refused("BEGIN; " + allows + "; ROLLBACK")
    before = site.snapshot()
    found = site.provide()
    assert (found["changed"], len(found["excess"])) == (False, 1), found["excess"]
    assert found["excess"][0]["grant"] in found["warnings"][-1]
    assert site.snapshot() == before
    predicted = site.provide(check=True, exclusive=True)
    taken = site.provide(exclusive=True)
    assert (predicted["changed"], taken["changed"], taken["excess"]) == (True, True, []), extra
    assert predicted["diff"] == taken["diff"]
    assert not allows or site.refused("BEGIN; " + allows + "; ROLLBACK")
    assert not site.provide(exclusive=True)["changed"], extra


def test_passing_on_and_acting_as_somebody_else_are_excess(new_site: Site) -> None:
    site = new_site
    site.provide()
    names = {"m": Identifier(site.name)}
    site.sql(SQL("GRANT SELECT ON sessions TO {m} WITH GRANT OPTION").format(**names))
    site.sql(SQL("GRANT pg_read_all_stats TO {m} WITH SET TRUE, ADMIN TRUE").format(**names))
    found = site.provide()["excess"]
    assert sorted(re.findall(r"REVOKE (\w+) OPTION", " ".join(one["revoke"] for one in found))) == [
        "ADMIN",
        "GRANT",
        "SET",
    ]
    assert site.provide(exclusive=True)["changed"]
    again = site.provide(exclusive=True)
    assert (again["changed"], again["excess"]) == (False, [])
    assert site.run()["status"] == "ok"


def test_rights_that_came_with_excess_are_given_properly(new_site: Site) -> None:
    """What was had through a membership is given directly when the membership goes."""
    site = new_site
    site.sql(SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(Identifier(site.name), Identifier(site.owner)))
    assert not any("MAINTAIN" in text for text in grants(site.provide()))
    assert site.provide(exclusive=True)["changed"]
    assert site.refused("SELECT FROM users")
    assert site.run()["status"] == "ok"
    assert not site.provide(exclusive=True)["changed"]


def test_what_it_owns_is_reported(new_site: Site) -> None:
    new_site.provide()
    new_site.sql(SQL("CREATE TABLE mine (); ALTER TABLE mine OWNER TO {0}").format(Identifier(new_site.name)))
    new_site.sql(SQL("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {}").format(Identifier(new_site.name)))
    result = new_site.provide(exclusive=True)
    assert not result["changed"]
    assert "owns table public.mine" in result["other"]
    assert any("default privileges" in text for text in result["other"])


def test_right_that_somebody_else_gave(site: Site) -> None:
    site.provide()
    other = site.database.role("other")
    site.sql(SQL("GRANT SELECT ON accounts TO {} WITH GRANT OPTION").format(Identifier(other)))
    with closing(site.database.connect(other)) as connection, connection.cursor() as cursor:
        cursor.execute(SQL("GRANT SELECT ON accounts TO {}").format(Identifier(site.name)))
    before = site.snapshot()
    for check in (True, False):
        result = site.provide(check=check, exclusive=True)
        assert result["failed"]
        assert f"{other} gave it" in result["msg"]
    assert site.snapshot() == before


# Passwords

PASSWORDS = [
    "plain",
    "with space and 'quotes' %s \\ \"",
    "p\u00e4ssw\u00f6rd",
    "\u2168\u00aa",
    "I\u00adX",
    "x\u00a0y\u200bz",
    "e\u0301\ufb01",
    "\u0627\u0628",
    "\u0627\u0031",
    "\ufb01\ue000",
    "\ufb01\U0001f600",
    "\U0001f40e\u6b63\u78ba",
    "\u00ad",
    "tab\tand\u0085more",
    "x" * 2000,
]


@pytest.mark.parametrize("which", ["server", "postgres15"])
def test_server_makes_the_same_of_a_password(request: pytest.FixtureRequest, which: str) -> None:
    server: Server = request.getfixturevalue(which)
    role = unique("role")
    server.sql(SQL("CREATE ROLE {}").format(Identifier(role)))
    try:
        for password in PASSWORDS:
            server.sql(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(password)))
            [(stored,)] = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role])
            assert scram.matches(password, stored), ascii(password)
            assert not scram.matches(password + "x", stored), ascii(password)
    finally:
        server.sql(SQL("DROP ROLE {}").format(Identifier(role)))


def test_login_with_a_password_that_was_set_here(new_site: Site) -> None:
    kept: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": new_site.server.port,
        "dbname": new_site.database.name,
        "user": new_site.name,
    }
    for password in PASSWORDS[:-1]:
        assert new_site.provide(password=password)["changed"]
        assert not new_site.provide(password=password)["changed"]
        psycopg2.connect(**kept, password=password).close()
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(**kept, password=password + "x")


def test_iterations_are_those_of_the_server(new_site: Site) -> None:
    new_site.sql(SQL("ALTER DATABASE {} SET scram_iterations = 5000").format(Identifier(new_site.database.name)))
    new_site.provide(password=PASSWORD)
    stored = new_site.database.value("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [new_site.name])
    assert stored.startswith("SCRAM-SHA-256$5000:")


def test_no_password_leaves_it_alone(new_site: Site) -> None:
    new_site.provide(password=PASSWORD)
    before = new_site.snapshot()
    result = new_site.provide()
    assert (result["changed"], result["password"]) == (False, "none")
    assert new_site.snapshot() == before


def test_password_that_cannot_be_compared(site: Site) -> None:
    """As somebody who may not read pg_authid."""
    options: dict[str, Any] = {"user": site.owner, "password": PASSWORD, "history": False, "read_all_stats": False}
    assert site.provide(**options)["password"] == "created"
    assert site.refused("SELECT FROM pg_authid")
    kept = site.provide(**options, update_password="on_create")
    assert (kept["changed"], kept["password"]) == (False, "on_create")
    for check in (True, False):
        result = site.provide(check=check, **options)
        assert (result["changed"], result["password"]) == (True, "not_readable")
        assert grants(result) == [f"ALTER ROLE \"{site.name}\" PASSWORD '********'"]


def test_password_is_never_sent_or_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    run = Session._run

    def recorded(self: Session, query: Any, params: Any = None) -> Any:
        sent.append(str(query) + repr(params))
        return run(self, query, params)

    monkeypatch.setattr(Session, "_run", recorded)
    results = [
        site.provide(check=True, password=PASSWORD),
        site.provide(password=PASSWORD),
        site.provide(password="Pa55 word, the second"),
    ]
    assert sum("SCRAM-SHA-256$" in text for text in sent) == 2
    assert not any(PASSWORD in text or "Pa55 word, the second" in text for text in sent)
    shown = json.dumps(results)
    assert PASSWORD not in shown
    assert "SCRAM-SHA-256$" not in shown


def test_neon_takes_no_verifier(new_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neon's settings cannot be had here, so the provider is pretended."""
    site = new_site
    from_row = ServerFacts.from_row
    monkeypatch.setattr(ServerFacts, "from_row", lambda row, host: from_row({**row, "marker": "neon"}, host))
    before = site.snapshot()
    for check in (True, False):
        result = site.provide(check=check, password=PASSWORD)
        assert "Neon takes only passwords in plain text" in result["msg"]
    assert site.snapshot() == before
    assert site.provide()["changed"]


# Who may give what


def test_owner_without_superuser(site: Site) -> None:
    """As on Neon: CREATEROLE, owner of the objects, and of predefined roles only pg_monitor to give away."""
    site.sql(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(site.database.name), Identifier(site.owner)))
    if site.new:
        site.sql(SQL("GRANT pg_monitor TO {} WITH ADMIN OPTION").format(Identifier(site.owner)))
    predicted = site.provide(check=True, user=site.owner, password=PASSWORD)
    result = site.provide(user=site.owner, password=PASSWORD)
    assert result["changed"], result
    assert predicted["diff"] == result["diff"]
    assert outcomes(result)["role pg_monitor" if site.new else "role pg_read_all_stats"] == "done"
    assert site.run()["warnings"] == []
    for exclusive in (False, True):
        again = site.provide(user=site.owner, exclusive=exclusive)
        assert (again["changed"], again["excess"]) == (False, []), again


def test_statistics_that_cannot_be_given(new_site: Site) -> None:
    before = new_site.snapshot()
    for check in (True, False):
        result = new_site.provide(check=check, user=new_site.owner, history=False)
        assert result["failed"]
        assert 'GRANT "pg_read_all_stats" TO' in result["msg"]
        assert "ADMIN OPTION on pg_read_all_stats may" in result["msg"]
        assert outcomes(result)["public.sessions"] == "skipped"
    assert new_site.snapshot() == before
    assert new_site.provide(user=new_site.owner, history=False, read_all_stats=False)["changed"]


def test_role_that_may_create_no_roles(site: Site) -> None:
    plain = site.database.role("plain")
    before = site.snapshot()
    for check in (True, False):
        result = site.provide(check=check, user=plain)
        assert result["failed"]
        assert (
            f'{plain} may not do this: CREATE ROLE "{site.name}" LOGIN; a superuser, or a role with CREATEROLE may'
            in reasons(result)
        )
        assert f'GRANT SELECT ON TABLE "public"."sessions" TO "{site.name}"; {site.owner} may' in reasons(result)
        assert "CREATE SCHEMA" in reasons(result)
    assert site.snapshot() == before


def test_owner_that_is_a_superuser(postgres15: Server) -> None:
    site = Site(postgres15)
    try:
        site.sql("ALTER MATERIALIZED VIEW user_subscription_summary OWNER TO postgres")
        before = site.snapshot()
        result = site.provide()
        assert "membership in postgres would make it a superuser" in result["msg"]
        assert site.snapshot() == before
    finally:
        site.close()


def test_owner_that_is_a_member(new_site: Site) -> None:
    """From 16, who creates a role becomes its member, and cannot make it a member of himself."""
    site = new_site
    site.sql(SQL("GRANT pg_read_all_stats TO {} WITH ADMIN OPTION").format(Identifier(site.owner)))
    site.provide(user=site.owner, history=False)
    index = [{"index": {"definition": "CREATE INDEX by_token ON sessions USING hash (token)"}}]
    result = site.provide(steps=index)
    assert f"{site.owner} is itself a member of {site.name}" in result["msg"]


def test_index_needs_ownership(site: Site) -> None:
    site.sql(SQL("GRANT CREATE ON SCHEMA public TO {}").format(Identifier(site.owner)))
    steps = [{"index": {"definition": "CREATE INDEX by_token ON sessions USING hash (token)"}}]
    assert site.provide(steps=steps)["changed"]
    result = site.run(steps=steps)
    assert (result["status"], list(outcomes(result).values())) == ("ok", ["done"])
    site.provide(steps=[{"index": {"name": "by_token", "state": "absent"}}])
    assert site.run(steps=[{"index": {"name": "by_token", "state": "absent"}}])["status"] == "ok"


def test_two_at_once(new_site: Site) -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: new_site.provide(password=PASSWORD), range(4)))
    assert not any("failed" in result for result in results), results
    assert sum(result["changed"] for result in results) == 1
    assert new_site.run()["status"] == "ok"


def test_one_waits_for_the_other(new_site: Site) -> None:
    key = "hashtextextended('vtchat.maintenance.maintainer', 0)"
    waiting = (
        "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with closing(new_site.database.connect()) as other, ThreadPoolExecutor(1) as thread:
        other.cursor().execute(f"SELECT pg_advisory_lock({key})")
        running = thread.submit(new_site.provide)
        until(lambda: new_site.database.value(waiting) or running.done())
        assert not running.done()
        assert not new_site.provide(check=True).get("failed")  # to look needs no lock
        other.cursor().execute(f"SELECT pg_advisory_unlock({key})")
        assert running.result(200)["changed"]


def test_a_lock_that_is_not_let_go(new_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contended, as everywhere else: not failed, and nothing was changed."""
    monkeypatch.setattr(policy, "BLOCKING", 0.02)
    monkeypatch.setattr(policy, "BLOCKING_PAUSES", (0.0,))
    with closing(new_site.database.connect()) as other:
        other.cursor().execute("SELECT pg_advisory_lock(hashtextextended('vtchat.maintenance.maintainer', 0))")
        before, result = new_site.snapshot(), new_site.provide()
    assert (result["status"], result["changed"], "failed" in result) == ("partial", False, False)
    assert outcomes(result) == {f"role {new_site.name}": "contended"}
    assert f"No right of {new_site.name} was changed: canceling statement due to lock timeout" in result["msg"]
    assert result["warnings"][0] in result["msg"]
    assert new_site.snapshot() == before


def test_what_the_server_did_not_do_is_noticed(new_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_site.snapshot()
    execute = Session.execute

    def forgetful(self: Session, query: Any, *how: Any, **more: Any) -> int:
        return 0 if "GRANT DELETE" in self.text(query) else execute(self, query, *how, **more)

    monkeypatch.setattr(Session, "execute", forgetful)
    result = new_site.provide(history=False, steps=STEPS[:1])
    assert (
        "nothing was changed, because the server did not do all of it: public.sessions: has no DELETE" in result["msg"]
    )
    assert new_site.snapshot() == before


def test_two_databases_at_once(server: Server) -> None:
    first, second = Site(server), Site(server)
    second.name = first.name
    try:
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(lambda site: site.provide(), [first, second]))
        assert not any("failed" in result for result in results), results
        assert first.run()["status"] == second.run()["status"] == "ok"
    finally:
        second.database.close()
        first.close()


# Names and objects


def test_names_that_need_quoting(new_site: Site) -> None:
    new_site.name = unique('M "x" %s ')
    new_site.sql('CREATE SCHEMA "S.1 %s"; CREATE TABLE "S.1 %s"."T ""q""" ("at %s" timestamptz)')
    new_site.sql(SQL('ALTER TABLE "S.1 %s"."T ""q""" OWNER TO {}').format(Identifier(new_site.owner)))
    name = '"S.1 %s"."T ""q"""'
    steps = [{"purge": {"table": name, "column": "at %s"}}, {"analyze": {"tables": [name]}}]
    assert new_site.provide(steps=steps, password=PASSWORD)["changed"]
    assert new_site.run(steps=steps)["status"] == "ok"
    assert not new_site.provide(steps=steps, password=PASSWORD, exclusive=True)["changed"]


def test_partitions(site: Site) -> None:
    site.sql(
        "CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at);"
        "CREATE TABLE e1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY RANGE (at);"
        "CREATE TABLE e11 PARTITION OF e1 DEFAULT; INSERT INTO events VALUES ('2020-05-05')"
    )
    for table in ("events", "e1", "e11"):
        site.sql(SQL("ALTER TABLE {} OWNER TO {}").format(Identifier(table), Identifier(site.owner)))
    steps = [{"purge": {"table": "events", "column": "at"}}, {"analyze": {"tables": ["events"]}}]
    site.provide(steps=steps)
    assert site.run(steps=steps)["status"] == "ok"
    assert site.refused("SELECT FROM e11") == site.new
    assert not site.provide(steps=steps, exclusive=True)["changed"]


def test_the_weekly_plan(site: Site) -> None:
    """What vacuum and reindex need: maintenance of the tables, and to read how full indexes are, where that can be given."""
    tables = ["users", "user_subscriptions", "sessions"]
    steps: list[dict[str, Any]] = [
        {"vacuum": {"tables": tables, "min_dead_rows": 1}},
        {"reindex": {"tables": tables, "min_size": 0, "min_gain": 0, "bloat": 0.1}},
    ]
    site.sql("CREATE EXTENSION pgstattuple")
    site.sql("DELETE FROM sessions")
    site.provide(steps=steps)
    result = site.run(steps=steps)
    assert result["status"] == "ok", result["msg"]
    assert outcomes(result)["public.sessions"] == "done", reasons(result)
    methods = {action["numbers"].get("method") for action in result["actions"] if action["operation"] == "reindex"}
    assert "exact" in methods
    assert not site.provide(steps=steps, exclusive=True)["changed"]
    measured = "role pg_stat_scan_tables"
    assert outcomes(site.provide(steps=steps))[measured] == "unchanged"
    site.sql(SQL("REVOKE pg_stat_scan_tables FROM {}").format(Identifier(site.name)))
    without = site.provide(user=site.owner, steps=steps, read_all_stats=False)
    # Before 16 whoever creates roles may give it.
    assert (without["status"], measured in outcomes(without)) == ("ok", not site.new), (
        "who may not give it does without"
    )


def test_what_patterns_choose(site: Site) -> None:
    """One by one; or, where everything is meant and can be given, everything that there will be."""
    site.sql(SQL("CREATE SCHEMA app AUTHORIZATION {0}; CREATE TABLE app.a (n int); ALTER TABLE app.a OWNER TO {0}").format(
        Identifier(site.owner)))  # fmt: skip
    some = [{"analyze": {"include": ["*.users", "app.*"]}}]
    site.provide(steps=some)
    assert outcomes(site.run(steps=some)) == {"app.a": "done", "public.users": "done"}
    assert site.refused("REINDEX TABLE sessions") == site.new
    assert not site.provide(steps=some, exclusive=True)["changed"]
    everything = [{"analyze": {"include": ["*"], "exclude": ["maintenance.*"]}}]
    site.provide(steps=everything)
    assert site.run(steps=everything)["warnings"] == []
    everything[0]["analyze"].pop("exclude")
    given = site.provide(steps=everything, history=False)
    assert ("role pg_maintain" in outcomes(given)) == site.new
    site.sql(SQL("CREATE TABLE app.b AS SELECT 1 AS n; ALTER TABLE app.b OWNER TO {}").format(Identifier(site.owner)))
    assert outcomes(site.run(steps=everything))["app.b"] == "done"
    assert not site.provide(steps=everything, history=False)["changed"]


def test_row_level_security(site: Site) -> None:
    site.sql("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY")
    refused = site.provide(user=site.owner, steps=STEPS[:1], history=False, read_all_stats=False)
    assert "because sessions has row-level security" in refused["msg"]
    assert site.provide(steps=STEPS[:1])["changed"]
    assert site.run(steps=STEPS[:1])["status"] == "ok"
    assert not site.provide(steps=STEPS[:1], exclusive=True)["changed"]


def test_objects_that_do_not_fit(new_site: Site) -> None:
    before = new_site.snapshot()
    steps = [
        {"purge": {"table": "session", "column": "expires_at"}},
        {"purge": {"table": "sessions", "column": "expires"}},
        {"refresh": {"view": "users"}},
    ]
    result = new_site.provide(steps=steps)
    assert "did you mean public.sessions" in result["msg"]
    assert "there is no column expires" in result["msg"]
    assert "public.users is a table, not a materialized view" in result["msg"]
    assert new_site.snapshot() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name: must have"),
        ({"name": "x" * 64}, "name: must have"),
        ({"name": "pg_mine"}, "is reserved"),
        ({"name": "public"}, "is reserved"),
        ({"password": ""}, "password: is empty"),
        ({"connection_limit": -2}, "connection_limit"),
        ({"steps": []}, "steps: there are none"),
        ({"steps": [{"purge": {"table": "t"}}]}, "one of the following is required: column, conditions"),
        ({"steps": [{"nonsense": {}}]}, "there is no operation nonsense"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], message: str) -> None:
    given = {
        "name": "m",
        "steps": STEPS,
        "dsn": "host=127.0.0.1 port=1 connect_timeout=1",
        "connect_deadline": 0,
        **options,
    }
    with pytest.raises(_edge.OptionError, match=re.escape(message)):
        _edge.validated("maintainer", given)


# What a run says to a role that lacks a right


@pytest.mark.parametrize("schema", ["public", "app"])
def test_preflight_names_what_is_missing(site: Site, schema: str) -> None:
    """Check mode as a plain role names a GRANT; when the owner has run it, check mode and the run pass."""
    if schema == "app":
        site.sql(SQL("CREATE SCHEMA app AUTHORIZATION {}").format(Identifier(site.owner)))
        for table in ("users", "user_subscriptions", "sessions"):
            site.sql(SQL("ALTER TABLE {} SET SCHEMA app").format(Identifier(table)))
        site.sql("ALTER MATERIALIZED VIEW user_subscription_summary SET SCHEMA app")
    text = json.dumps(STEPS)
    for name in ("user_subscription_summary", "user_subscriptions", "users", "sessions"):
        text = text.replace(f'"{name}"', f'"{schema}.{name}"')
    for step in json.loads(text):
        check_preflight(site, [step])


def check_preflight(site: Site, steps: list[dict[str, Any]]) -> None:
    """Grant what is told to be missing until nothing is."""
    plain = site.database.role("plain")
    for _round in range(9):
        result = site.run(check=True, user=plain, steps=steps)
        failed = [action for action in result["actions"] if action["outcome"] == "failed"]
        if not failed:
            break
        statement = re.search(r"GRANT [^;]*? TO \w+", failed[0]["reason"])
        assert statement, failed[0]["reason"]
        with closing(site.database.connect(site.owner)) as connection, connection.cursor() as cursor:
            cursor.execute(statement[0])
    assert _round > 0
    assert result["status"] == "ok", result
    assert site.run(user=plain, steps=steps)["status"] == "ok"


# The role


def test_role_with_check_mode_and_diff(new_site: Site, tmp_path: Path) -> None:
    """In Ansible's process and, with an environment, in one of its own; nothing secret is shown at any verbosity."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "database_roles_dsn": new_site.database.dsn,
        "database_roles_maintainer": new_site.name,
        "database_roles_password": PASSWORD,
        "database_roles_plans": {"hourly": {"steps": STEPS[:2]}, "weekly": {"steps": STEPS[2:]}},
    }
    here = {"hosts": "all", "gather_facts": False, "connection": "local", "roles": ["database_roles"]}
    module = {**here, "environment": {"ELSEWHERE": "1"}}
    results = [f"{{{{ database_roles_result.changed }}}}-{number}" for number in range(4)]
    plays = [
        {**play, "check_mode": check, "diff": True,
         "post_tasks": [{"ansible.builtin.debug": {"msg": f"changed-{result}"}}]}
        for play, check, result in zip((here, module, here, module), (True, True, False, False), results)
    ]  # fmt: skip
    done = playbook(tmp_path, plays, variables, "-vvv")
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert re.findall(r"changed-(True|False)-(\d)", done.stdout) == [
        ("True", "0"), ("True", "1"), ("True", "2"), ("False", "3")]  # fmt: skip
    assert done.stdout.count('+GRANT DELETE ON TABLE "public"."sessions"') == 3
    assert PASSWORD not in shown
    assert "SCRAM-SHA-256$" not in shown
    assert new_site.run()["status"] == "ok"
