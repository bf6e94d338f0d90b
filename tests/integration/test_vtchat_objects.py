# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VTChat's functions, view and index, called as the application calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import yaml
from psycopg2 import sql

from tests.health import look, of
from tests.runs import playbook
from tests.servers import REPOSITORY, Database, Server
from tests.vtchat import SLUGS, SQL, provision, rendered

ZONES = ("Asia/Ho_Chi_Minh", "America/New_York", "UTC")

APPLICATION_QUERIES = (
    "SELECT cleanup_expired_sessions() AS deleted_count",
    "SELECT refresh_subscription_summary()",
    "SELECT get_database_health_stats()",
    "SELECT user_id, is_vt_plus, subscription_status, current_period_end, user_plan_slug FROM user_subscription_summary "
    "WHERE user_id = 'user_1' LIMIT 1",
    "SELECT user_id, is_vt_plus, subscription_status, current_period_end, user_plan_slug FROM user_subscription_summary "
    "WHERE user_id = ANY (ARRAY['user_1', 'user_2'])",
    "SELECT user_id, email, current_period_end FROM user_subscription_summary WHERE is_vt_plus = true "
    "ORDER BY current_period_end",
    "SELECT count(*), count(*) FILTER (WHERE is_vt_plus), count(*) FILTER (WHERE subscription_status = 'active'), "
    "count(*) FILTER (WHERE subscription_status = 'expired') FROM user_subscription_summary",
)


@pytest.fixture(scope="module")
def provisioned(server: Server) -> Iterator[str]:
    """Name of a database that has everything: each test gets a copy."""
    made = server.create_database(server.vtchat_template())
    assert provision(made) == {"create", "keep"}
    made.close_connection()
    yield made.name
    made.close()


@pytest.fixture
def vtchat(server: Server, provisioned: str) -> Iterator[Database]:
    """VTChat's database with its objects, indexes and rows."""
    made = server.create_database(provisioned)
    yield made
    made.close()


def utc(**difference: float) -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(**difference)


def add_session(database: Database, name: str, expires_at: datetime) -> None:
    database.sql("INSERT INTO sessions (id, expires_at, user_id) VALUES (%s, %s, 'user_1')", [name, expires_at])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("where", ["database", "role", "session"])
def test_cleanup_deletes_what_has_expired_in_any_time_zone(vtchat: Database, zone: str, where: str) -> None:
    add_session(vtchat, "expired a second ago", utc(seconds=-1))
    add_session(vtchat, "expires in half an hour", utc(minutes=30))
    vtchat.sql("INSERT INTO sessions (id, expires_at, user_id) VALUES ('never', 'infinity', 'user_1')")
    kept = {row[0] for row in vtchat.sql("SELECT id FROM sessions WHERE expires_at > %s", [utc(minutes=10)])}
    expired = vtchat.value("SELECT count(*) FROM sessions") - len(kept)
    user = vtchat.role(attributes=["SUPERUSER"])
    setting = {"database": ("DATABASE", vtchat.name), "role": ("ROLE", user)}.get(where)
    if setting:
        kind, name = setting
        vtchat.sql(
            sql.SQL("ALTER {} {} SET timezone = {}").format(sql.SQL(kind), sql.Identifier(name), sql.Literal(zone))
        )
    connection = vtchat.connect(user, **({} if setting else {"options": f"-c timezone={zone}"}))

    with connection.cursor() as cursor:
        cursor.execute("SHOW timezone")
        assert cursor.fetchall() == [(zone,)]
        cursor.execute("SELECT cleanup_expired_sessions() AS deleted_count")
        assert cursor.description[0].name == "deleted_count"
        assert cursor.fetchall() == [(expired,)]

    connection.close()
    assert {row[0] for row in vtchat.sql("SELECT id FROM sessions")} == kept


def test_cleanup_takes_a_bounded_number_the_oldest_first(vtchat: Database) -> None:
    vtchat.sql("TRUNCATE sessions")
    vtchat.sql(
        "INSERT INTO sessions (id, expires_at, user_id) "
        "SELECT n::text, now() AT TIME ZONE 'UTC' - interval '1 second' * n, 'user_1' FROM generate_series(1, 50100) AS n"
    )

    assert vtchat.value("SELECT cleanup_expired_sessions()") == 50000
    assert vtchat.sql("SELECT min(id::int), max(id::int) FROM sessions") == [(1, 100)]
    assert vtchat.value("SELECT cleanup_expired_sessions()") == 100
    assert vtchat.value("SELECT cleanup_expired_sessions()") == 0


def test_cleanup_does_not_wait_for_rows_that_others_hold(vtchat: Database) -> None:
    vtchat.sql("TRUNCATE sessions")
    add_session(vtchat, "held", utc(days=-2))
    add_session(vtchat, "free", utc(days=-1))
    holder = vtchat.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("UPDATE sessions SET expires_at = %s WHERE id = 'held'", [utc(days=1)])
    vtchat.sql("SET lock_timeout = '5s'")

    assert vtchat.value("SELECT cleanup_expired_sessions()") == 1
    holder.commit()
    assert vtchat.value("SELECT cleanup_expired_sessions()") == 0, "it was prolonged"
    assert vtchat.sql("SELECT id FROM sessions") == [("held",)]


def newest(subscriptions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The subscription that counts, worked out apart from the view."""
    active = [one for one in subscriptions if one["status"] == "active"]
    low = datetime.min
    return max(
        active or subscriptions,
        key=lambda one: (one["created_at"] or low, one["current_period_end"] or low, one["id"]),
        default=None,
    )


def records(database: Database, query: str) -> list[dict[str, Any]]:
    return [row[0] for row in database.sql(f"SELECT to_jsonb(q) FROM ({query}) AS q")]


def with_times(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: datetime.fromisoformat(value) if value and key.endswith(("_at", "_end")) else value
        for key, value in row.items()
    }


def test_the_view_has_one_row_per_user_with_the_subscription_that_counts(vtchat: Database) -> None:
    vtchat.sql(
        "INSERT INTO user_subscriptions (id, user_id, plan, status, created_at, current_period_end) VALUES "
        # All cases that the generated rows do not have: equal times, no times, several active ones.
        "('tie_1', 'user_7', 'vt_base', 'expired', '2024-01-01', '2024-02-01'),"
        "('tie_2', 'user_7', 'vt_plus', 'expired', '2024-01-01', '2024-02-01'),"
        "('end_1', 'user_8', 'vt_plus', 'canceled', '2024-01-01', '2024-03-01'),"
        "('end_2', 'user_8', 'vt_base', 'canceled', '2024-01-01', NULL),"
        "('null_1', 'user_9', 'vt_plus', 'none', NULL, NULL),"
        "('null_2', 'user_9', 'vt_base', 'none', '1999-01-01', NULL),"
        "('two_1', 'user_10', 'vt-plus', 'active', '2024-05-01', NULL),"
        "('two_2', 'user_10', 'vt_base', 'active', '2024-06-01', NULL),"
        "('old_1', 'user_17', 'vt-plus', 'active', '2020-01-01', NULL),"
        "('old_2', 'user_17', 'vt_base', 'expired', '2024-01-01', '2099-01-01')"
    )
    vtchat.sql("SELECT refresh_subscription_summary()")
    subscriptions: dict[str, list[dict[str, Any]]] = {}
    for row in records(vtchat, "SELECT * FROM user_subscriptions"):
        subscriptions.setdefault(row["user_id"], []).append(with_times(row))
    users = records(vtchat, "SELECT id, email FROM users")
    sizes = {len(subscriptions.get(user["id"], [])) for user in users}
    assert sizes >= {0, 1, 2, 3}, "the rows must hold every case"

    rows = {row["user_id"]: with_times(row) for row in records(vtchat, "SELECT * FROM user_subscription_summary")}

    assert vtchat.value("SELECT count(*) FROM user_subscription_summary") == len(users) == len(rows)
    for user in users:
        one = newest(subscriptions.get(user["id"], [])) or {}
        assert rows[user["id"]] == {
            "user_id": user["id"],
            "email": user["email"],
            "user_plan_slug": one.get("plan"),
            "subscription_status": one.get("status"),
            "current_period_end": one.get("current_period_end"),
            "creem_subscription_id": one.get("creem_subscription_id"),
            "is_vt_plus": one.get("status") == "active" and one.get("plan") in SLUGS,
            "subscription_created_at": one.get("created_at"),
            "subscription_updated_at": one.get("updated_at"),
        }


def test_the_view_has_the_columns_that_the_application_knows(vtchat: Database) -> None:
    rows = vtchat.sql(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'user_subscription_summary'::regclass AND attnum > 0 "
        "ORDER BY attnum"
    )
    assert [name for (name,) in rows] == [
        "user_id", "email", "user_plan_slug", "subscription_status", "current_period_end", "creem_subscription_id",
        "is_vt_plus", "subscription_created_at", "subscription_updated_at",
    ]  # fmt: skip


def test_nothing_in_the_view_but_immutable_built_in_functions(vtchat: Database) -> None:
    definition = vtchat.value("SELECT pg_get_viewdef('user_subscription_summary'::regclass)").lower()
    assert "now()" not in definition
    assert "current_" not in definition.replace("current_period_end", "")


@pytest.mark.parametrize("slug", ["it's", 'say "x"', "back\\slash'", "%s {0}", "vt+ ✓"])
def test_any_plan_can_count_as_vt_plus(vtchat: Database, slug: str) -> None:
    vtchat.sql("DELETE FROM user_subscriptions")
    vtchat.sql(
        "INSERT INTO user_subscriptions (id, user_id, plan) VALUES ('a', 'user_1', %s), ('b', 'user_2', 'vt_plus')",
        [slug],
    )
    assert provision(vtchat, slugs=(slug, "another")) == {"replace", "keep"}
    assert vtchat.sql("SELECT user_id FROM user_subscription_summary WHERE is_vt_plus") == [("user_1",)]
    assert provision(vtchat, slugs=(slug, "another")) == {"keep"}


def test_the_applications_queries(vtchat: Database) -> None:
    for query in APPLICATION_QUERIES:
        assert vtchat.sql(query), query


def test_refresh_shows_what_has_changed_without_blocking_readers(vtchat: Database) -> None:
    reader = vtchat.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM user_subscription_summary")
    vtchat.sql("UPDATE users SET email = 'new@example.com' WHERE id = 'user_1'")

    vtchat.sql("SELECT refresh_subscription_summary()")

    assert vtchat.value("SELECT email FROM user_subscription_summary WHERE user_id = 'user_1'") == "new@example.com"
    reader.close()


@pytest.mark.parametrize(
    "damage",
    [
        "REFRESH MATERIALIZED VIEW user_subscription_summary WITH NO DATA",
        "DROP INDEX user_subscription_summary_user_id",
        "DROP INDEX user_subscription_summary_user_id; "
        "CREATE UNIQUE INDEX ON user_subscription_summary (user_id) WHERE is_vt_plus",
        "DROP INDEX user_subscription_summary_user_id; CREATE UNIQUE INDEX ON user_subscription_summary (lower(user_id))",
    ],
)
def test_refresh_when_it_cannot_be_concurrent(vtchat: Database, damage: str) -> None:
    vtchat.sql(damage)
    vtchat.sql("UPDATE users SET email = 'new@example.com' WHERE id = 'user_1'")
    vtchat.sql("SELECT refresh_subscription_summary()")
    assert vtchat.value("SELECT email FROM user_subscription_summary WHERE user_id = 'user_1'") == "new@example.com"


def test_a_second_refresh_gives_up_with_a_warning(vtchat: Database) -> None:
    assert (
        vtchat.value("SELECT proconfig FROM pg_proc WHERE proname = 'refresh_subscription_summary'")[1]
        == "lock_timeout=5s"
    )
    vtchat.sql("ALTER FUNCTION refresh_subscription_summary() SET lock_timeout = '20ms'")
    holder = vtchat.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY user_subscription_summary")
    caller = vtchat.connect()
    with caller.cursor() as cursor:
        cursor.execute("SELECT refresh_subscription_summary()")
        assert cursor.fetchall() == [("",)]
    assert "refreshed by somebody else" in caller.notices[-1]
    caller.close()
    holder.close()


def health(database: Database) -> dict[str, Any]:
    found = database.value("SELECT get_database_health_stats()")
    assert set(found) == {"healthy", "issues", "stats"}
    assert found["healthy"] is (found["issues"] == [])
    assert all(isinstance(issue, str) for issue in found["issues"])
    return dict(found)


def test_health_of_an_empty_database(database: Database) -> None:
    provision(database, ["functions/get_database_health_stats.sql"])
    found = health(database)
    assert found["healthy"]
    assert found["stats"]["tables"] == []
    assert found["stats"]["expired_sessions"] is None
    assert found["stats"]["database_size_bytes"] > 0


@pytest.mark.parametrize("zone", ZONES)
def test_health_counts_expired_sessions_in_any_time_zone(vtchat: Database, zone: str) -> None:
    vtchat.sql("DELETE FROM sessions WHERE expires_at <= %s", [utc(minutes=10)])
    vtchat.sql(sql.SQL("SET timezone = {}").format(sql.Literal(zone)))
    assert health(vtchat)["stats"]["expired_sessions"] == 0
    vtchat.sql("INSERT INTO sessions (id, expires_at, user_id) SELECT n::text, %s, 'user_1' FROM generate_series(1, 1000) AS n",
               [utc(seconds=-1)])  # fmt: skip
    assert health(vtchat)["healthy"]
    add_session(vtchat, "one more", utc(seconds=-1))
    assert health(vtchat)["issues"] == ["1001 expired sessions"]


def test_health_says_when_the_view_has_no_data(vtchat: Database) -> None:
    vtchat.sql("SELECT cleanup_expired_sessions()")
    assert health(vtchat)["healthy"]
    vtchat.sql("REFRESH MATERIALIZED VIEW user_subscription_summary WITH NO DATA")
    assert [issue for issue in health(vtchat)["issues"] if "user_subscription_summary has no data" in issue]


def test_health_of_tables_and_indexes(database: Database) -> None:
    """Dead rows only from a floor on; an index that enforces something, or is needed otherwise, is never unused."""
    text = rendered("functions/get_database_health_stats.sql")
    impatient = text.replace("interval '35 days'", "interval '0'").replace("10 * 1024 * 1024", "8192")
    assert impatient.count("interval '0'") == impatient.count(">= 8192") == 1
    database.sql('CREATE TABLE "Big one" AS SELECT n, n AS m FROM generate_series(1, 30000) AS n')
    database.sql('ALTER TABLE "Big one" ADD PRIMARY KEY (n); CREATE UNIQUE INDEX u ON "Big one" (n)')
    database.sql('CREATE INDEX "not used" ON "Big one" (m); CREATE INDEX broken ON "Big one" ((n + 2))')
    database.sql('ALTER TABLE "Big one" ADD FOREIGN KEY (n) REFERENCES "Big one"; CREATE INDEX needed ON "Big one" (n)')
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
    database.sql("CREATE TABLE small AS SELECT n FROM generate_series(1, 9000) AS n")
    # No index is used, and no row is looked for that refers to one of these: each refers to itself.
    database.sql("SET enable_indexscan = off; SET enable_bitmapscan = off; SET session_replication_role = replica")
    database.sql('DELETE FROM "Big one" WHERE n + 0 <= 12000')
    database.sql("DELETE FROM small; SELECT pg_stat_force_next_flush()")

    database.sql(text)
    assert health(database)["issues"] == [
        'public."Big one" has 40.0 % dead rows (12000)',
        "index public.broken is not valid",
    ]
    database.sql(impatient)
    issues = health(database)["issues"]
    assert [issue.split(" has not been used")[0] for issue in issues if "used" in issue] == ['index public."not used"']
    assert [index["index"] for index in health(database)["stats"]["unused_indexes"]] == ['public."not used"']


def test_health_agrees_with_the_checks_that_look_at_the_same(vtchat: Database) -> None:
    """Whichever of its databases is ill in one way, or in all: the function and health_info name the same objects."""
    vtchat.sql("REFRESH MATERIALIZED VIEW user_subscription_summary; DELETE FROM sessions WHERE expires_at <= now()")
    vtchat.sql("CREATE TABLE large AS SELECT n FROM generate_series(1, 50000) AS n; SELECT pg_stat_force_next_flush()")
    purge = {"table": "sessions", "column": "expires_at", "timezone": "UTC"}
    told = {
        "dead-rows": r"(\S+) has [\d.]+ % dead rows",
        "invalid-indexes": r"index (\S+) is not valid",
        "expired-rows": r"\d+ expired (sessions)",
        "materialized-views-empty": r"(user_subscription_summary) has no data",
        "unused-indexes": r"index (\S+) has not been used",
    }
    illnesses = [
        "SELECT",
        "DELETE FROM large WHERE n % 5 = 0; SELECT pg_stat_force_next_flush()",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_sessions_token_hash'::regclass",
        "INSERT INTO sessions (id, expires_at, user_id) SELECT n::text, now() AT TIME ZONE 'UTC' - interval '1 s', 'user_1'"
        " FROM generate_series(1, 1001) AS n",
        "REFRESH MATERIALIZED VIEW user_subscription_summary WITH NO DATA",
    ]
    for number, illness in enumerate(illnesses):
        vtchat.sql(illness)
        result = look(vtchat, checks=[*told], plans={"hourly": {"every": "1h", "purge": [purge]}}, history=False)
        by_check = {(check, one["subject"].removeprefix("public.")) for check in told for one in of(result, check)
                    if one["level"] in ("warning", "critical")}  # fmt: skip
        by_function = {
            (check, found[1].removeprefix("public."))
            for check, pattern in told.items()
            for issue in health(vtchat)["issues"]
            if (found := re.match(pattern, issue))
        }
        assert by_check == by_function
        assert len(by_check) == len(health(vtchat)["issues"]) == number


def test_health_for_a_role_without_rights(vtchat: Database) -> None:
    user = vtchat.role()
    connection = vtchat.connect(user)
    with connection.cursor() as cursor:
        cursor.execute("SELECT get_database_health_stats()")
        ((found,),) = cursor.fetchall()
    connection.close()
    assert found["stats"]["expired_sessions"] is None
    assert {table["table"] for table in found["stats"]["tables"]} >= {"public.users", "public.sessions"}


def test_only_the_applications_roles(vtchat: Database) -> None:
    app, other = vtchat.role('App "one" o\'clock'), vtchat.role()
    vtchat.sql(sql.SQL("GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(app)))
    vtchat.sql("REVOKE ALL ON user_subscription_summary FROM PUBLIC")
    assert provision(vtchat, roles=(app,)) == {"replace", "keep"}
    assert provision(vtchat, roles=(app,)) == {"keep"}

    connection = vtchat.connect(app)
    with connection.cursor() as cursor:
        for query in APPLICATION_QUERIES:
            cursor.execute(query)
    connection.close()
    connection = vtchat.connect(other)
    with connection.cursor() as cursor:
        for query in APPLICATION_QUERIES:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(query)
    connection.close()

    assert provision(vtchat) == {"replace", "keep"}, "PUBLIC gets its default back"
    assert vtchat.value("SELECT has_function_privilege(%s, 'cleanup_expired_sessions()', 'EXECUTE')", [other])


def test_functions_cannot_be_led_astray_by_the_search_path(vtchat: Database) -> None:
    vtchat.sql("SET search_path = pg_temp, public")
    vtchat.sql("CREATE TEMPORARY TABLE sessions (id text, expires_at timestamp)")
    vtchat.sql("CREATE TEMPORARY TABLE pg_class (oid oid)")
    vtchat.sql("CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$")
    vtchat.sql("SET search_path = pg_temp, public, pg_catalog")
    assert vtchat.value("SELECT public.cleanup_expired_sessions()") == 3000
    vtchat.sql("SELECT public.refresh_subscription_summary()")
    assert vtchat.value("SELECT public.get_database_health_stats()")["stats"]["expired_sessions"] == 0


BY_HAND = """
CREATE FUNCTION cleanup_expired_sessions() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION refresh_subscription_summary() RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION get_database_health_stats() RETURNS TABLE (table_name text, dead bigint) LANGUAGE sql AS $$ SELECT 'x', 0 $$;
CREATE MATERIALIZED VIEW user_subscription_summary AS
SELECT u.id AS user_id, u.email, us.plan AS user_plan_slug, us.status AS subscription_status, us.current_period_end,
    us.creem_subscription_id, CASE WHEN us.plan = 'vt-plus' AND us.status = 'active' THEN true ELSE false END AS is_vt_plus,
    us.created_at AS subscription_created_at, us.updated_at AS subscription_updated_at
FROM users u LEFT JOIN user_subscriptions us ON u.id = us.user_id WHERE u.id IS NOT NULL;
CREATE INDEX "made by hand" ON user_subscription_summary (email)
"""


# As the application's documentation has them.
EXISTENCE = {
    """SELECT routine_name FROM information_schema.routines
       WHERE specific_schema = 'public' AND routine_name LIKE '%_expired_sessions%'""": [("cleanup_expired_sessions",)],
    "SELECT schemaname, matviewname FROM pg_matviews WHERE matviewname = 'user_subscription_summary'": [
        ("public", "user_subscription_summary")
    ],
    """SELECT indexname, indexdef FROM pg_indexes WHERE indexname IN
       ('idx_sessions_token_hash', 'idx_user_subscriptions_plan_status', 'user_subscription_summary_user_id') ORDER BY 1""": [
        ("idx_sessions_token_hash", "CREATE INDEX idx_sessions_token_hash ON public.sessions USING hash (token)"),
        (
            "idx_user_subscriptions_plan_status",
            "CREATE INDEX idx_user_subscriptions_plan_status ON public.user_subscriptions USING btree (plan, status) "
            "WHERE (status = 'active'::text)",
        ),
        (
            "user_subscription_summary_user_id",
            "CREATE UNIQUE INDEX user_subscription_summary_user_id ON public.user_subscription_summary USING btree (user_id)",
        ),
    ],
}


def test_everything_exists(vtchat: Database) -> None:
    for query, expected in EXISTENCE.items():
        assert vtchat.sql(query) == expected
    for function in ("cleanup_expired_sessions", "refresh_subscription_summary", "get_database_health_stats"):
        assert vtchat.sql(f"SELECT {function}()")  # a name from the line above
    assert vtchat.value("SELECT count(*) FROM sessions WHERE expires_at <= now() AT TIME ZONE 'UTC'") == 0
    assert vtchat.value("SELECT count(*) FROM user_subscription_summary") == 2000


def test_the_same_on_15(postgres15: Server) -> None:
    database = postgres15.create_database(postgres15.vtchat_template())
    try:
        assert provision(database) == {"create", "keep"}
        assert provision(database) == {"keep"}
        assert database.sql("SELECT refresh_subscription_summary()")
        assert provision(database, slugs=("other",)) == {"replace", "keep"}
        assert provision(database, slugs=("other",)) == {"keep"}
        for query, expected in EXISTENCE.items():
            assert database.sql(query) == expected
    finally:
        database.close()


def test_takes_over_what_was_made_by_hand(vtchat_database: Database) -> None:
    vtchat_database.sql(BY_HAND)
    assert vtchat_database.value("SELECT count(*) - count(DISTINCT user_id) FROM user_subscription_summary") > 0

    assert provision(vtchat_database) == {"create", "replace", "keep"}

    assert vtchat_database.value("SELECT count(*) FROM user_subscription_summary") == 2000
    assert vtchat_database.value("SELECT to_regclass('\"made by hand\"') IS NOT NULL")
    for query in APPLICATION_QUERIES:
        assert vtchat_database.sql(query), query
    assert provision(vtchat_database) == {"keep"}


class TestPlaybook:
    """playbooks/provision.yml as a user runs it."""

    @staticmethod
    def run(tmp_path: Path, dsn: str, *arguments: str) -> dict[str, Any]:
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "maintenance_dsn": dsn,
        }
        inventory = tmp_path / "inventory"
        inventory.mkdir(exist_ok=True)
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"databases": {"hosts": {"test": host}}, "embedded": {}}))
        (inventory / "group_vars").mkdir(exist_ok=True)
        (inventory / "group_vars" / "all.yml").write_text((SQL / "objects.yml").read_text())
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(inventory),
            "playbooks/provision.yml",
        ]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "DATABASE_URL": "postgresql://wrong@127.0.0.1:1/wrong",
        }
        done = subprocess.run(
            [*command, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return {"code": done.returncode, "out": done.stdout + done.stderr}

    def test_check_then_do_then_nothing(self, tmp_path: Path, vtchat_database: Database) -> None:
        """With variables of the inventory and a password, as much as Ansible can say of them."""
        user = vtchat_database.role(password="s3cr3t'pässword", attributes=["SUPERUSER"])
        dsn = vtchat_database.tcp_dsn(user, "s3cr3t'pässword")
        variables = tmp_path / "variables.json"
        variables.write_text(json.dumps({"vtchat_vt_plus_slugs": ["vt'base"]}))
        vtchat_database.sql("UPDATE user_subscriptions SET plan = 'vt''base' WHERE plan = 'vt_base'")
        given = ("-e", f"@{variables}", "--diff")

        predicted = self.run(tmp_path, dsn, *given, "--check")
        assert predicted["code"] == 0, predicted["out"]
        assert "changed=1" in predicted["out"]
        assert vtchat_database.value("SELECT to_regclass('user_subscription_summary')") is None
        done = self.run(tmp_path, dsn, *given)
        assert [line for line in done["out"].splitlines() if line.startswith(("+", "-"))] == [
            line for line in predicted["out"].splitlines() if line.startswith(("+", "-"))
        ]
        assert vtchat_database.value("SELECT count(*) FROM user_subscription_summary") == 2000
        assert vtchat_database.value(
            "SELECT array_agg(DISTINCT user_plan_slug) FROM user_subscription_summary WHERE is_vt_plus"
        ) == ["vt'base"]
        again = self.run(tmp_path, dsn, *given, "-vvvv")
        assert again["code"] == 0
        assert "changed=0" in again["out"]
        assert "s3cr3t" not in predicted["out"] + done["out"] + again["out"]


def test_a_lock_in_the_way_fails_the_role_unless_the_next_run_will_do(vtchat: Database, tmp_path: Path) -> None:
    """Somebody reads the view that is to be replaced."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "database_objects_dsn": vtchat.dsn,
        "database_objects_path": str(SQL),
        "database_objects_files": ["views/user_subscription_summary.sql.j2"],
        "database_objects_variables": {"vt_plus_slugs": ["another"]},
        "database_objects_budget": 6,
    }
    play = {"hosts": "all", "gather_facts": False, "connection": "local", "roles": ["database_objects"]}
    after = {
        "post_tasks": [{"ansible.builtin.debug": {"msg": "the play goes on: {{ database_objects_result.status }}"}}]
    }
    reader = vtchat.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM user_subscription_summary")
    plays = [{**play, **after, "vars": {"database_objects_required": False}}, {**play, **after}]
    done = playbook(tmp_path, plays, variables)
    reader.close()
    assert done.returncode == 2, done.stdout
    assert done.stdout.count("the play goes on: partial") == 1
    assert "changed=0" in done.stdout
    assert "failed=1" in done.stdout
    assert done.stdout.count("CONTENDED  install script  views/user_subscription_summary.sql.j2") == 2
    shown = " ".join((done.stdout + done.stderr).split())
    assert "Not installed: views/user_subscription_summary.sql.j2: public.user_subscription_summary: cancel" in shown
    assert vtchat.value(
        "SELECT count(*) FROM user_subscription_summary WHERE user_plan_slug = 'vt_plus' AND is_vt_plus"
    )


class TestTwoEnvironments:
    """Both inventories of the repository at once."""

    @staticmethod
    def run(environment: dict[str, str], *arguments: str, both: bool = True) -> subprocess.CompletedProcess[str]:
        inventories = ["-i", "inventories/production", *(["-i", "inventories/development"] if both else [])]
        # The inventories ask for TLS, which a server on a socket neither has nor needs.
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *inventories,
            "playbooks/provision.yml",
            *arguments,
        ]
        known = {
            **os.environ,
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_NOCOLOR": "1",
        }
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**known, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def test_development_first_and_production_only_after_it(self, server: Server) -> None:
        """Each has a variable of its own: one never stands for two databases."""
        databases = [server.create_database(server.vtchat_template()) for _number in range(2)]
        development, production = databases
        dsns = {"DEVELOPMENT_DATABASE_URL": development.dsn, "PRODUCTION_DATABASE_URL": production.dsn}
        there = "SELECT to_regclass('user_subscription_summary') IS NOT NULL"
        try:
            failed = self.run({"DATABASE_URL": development.dsn})
            assert failed.returncode != 0
            assert "set DEVELOPMENT_DATABASE_URL" in failed.stdout + failed.stderr
            assert not development.value(there)

            development.sql("CREATE TABLE user_subscription_summary (a int)")
            failed = self.run(dsns)
            assert failed.returncode == 2
            assert "which is no materialized view" in failed.stdout
            assert not production.value(there)

            development.sql("DROP TABLE user_subscription_summary")
            failed = self.run({"DATABASE_URL": production.dsn, "DEVELOPMENT_DATABASE_URL": development.dsn})
            assert "set PRODUCTION_DATABASE_URL" in failed.stdout + failed.stderr
            assert development.value(there), "it was development's turn"
            assert not production.value(there)

            done = self.run(dsns)
            assert done.returncode == 0, done.stdout
            assert production.value(there)
            assert done.stdout.index("ok: [vtchat_development]") < done.stdout.index("changed: [vtchat_production]")
            assert done.stdout.count("changed=0") == 1, done.stdout
        finally:
            for database in databases:
                database.close()

    def test_tags_install_a_part(self, vtchat_database: Database) -> None:
        url = {"DATABASE_URL": vtchat_database.dsn}
        assert self.run(url, "--tags", "views,indexes", both=False).returncode == 0
        assert vtchat_database.value("SELECT to_regclass('user_subscription_summary_user_id') IS NOT NULL")
        assert vtchat_database.value("SELECT to_regproc('cleanup_expired_sessions') IS NULL")
        assert self.run(url, "--tags", "functions", both=False).returncode == 0, (
            "one variable is enough for one database"
        )
        assert vtchat_database.value("SELECT to_regproc('cleanup_expired_sessions') IS NOT NULL")
