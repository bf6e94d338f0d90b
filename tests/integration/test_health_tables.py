# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases whose tables are made ill on purpose: one check says so, and only that one, until its advice has been followed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import registry, storage, tables
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import metrics
from tests.health import bad, levels, look, of
from tests.runs import perform, until
from tests.servers import Database, PrivateServer

FLUSH = "SELECT pg_stat_force_next_flush()"
ROWS = "CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, {}) AS n"
ANY = {"warning": 0, "critical": None}


class Case(NamedTuple):
    """making: what makes it ill. found: subject and value of each finding. mending: "" where the advice is the statement."""

    check: str
    making: list[str]
    found: list[tuple[str, Any]]
    said: str
    level: str = "warning"
    mending: str = ""
    options: dict[str, Any] = {}


CASES = [
    Case(
        "dead-rows",
        [ROWS.format(40_000), "ANALYZE t", "DELETE FROM t WHERE id <= 12000"],
        [("public.t", 30.0)],
        "12 000 dead and 28 000 rows alive",
        mending="VACUUM t",
    ),
    Case(
        "autovacuum-behind",
        [
            ROWS.format(100_000),
            "ALTER TABLE t SET (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 999)",
            "VACUUM ANALYZE t",
            "CREATE TABLE early AS TABLE t",
            "VACUUM ANALYZE early",
            "DELETE FROM t WHERE id <= 11000",
            "DELETE FROM early WHERE id <= 11000",
        ],
        [("public.t", 0.0)],
        "autovacuum comes from 10 999 rows on, there are 11 000, and the last vacuum was",
        mending="VACUUM t",
        options={"autovacuum-behind": ANY},
    ),
    Case(
        "autovacuum-off",
        [
            "CREATE TABLE small (id int) WITH (autovacuum_enabled = false)",
            'CREATE TABLE "o;ff" (id int) WITH (autovacuum_enabled = false, fillfactor = 90)',
            # Nobody has counted its pages.
            """ANALYZE "o;ff"; INSERT INTO "o;ff" SELECT generate_series(1, 270000)""",
        ],
        [('public."o;ff"', 1)],
        "autovacuum is off for it (10.",
    ),
    Case(
        "statistics-missing",
        [
            "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (99999)",
            "INSERT INTO p SELECT generate_series(1, 40000)",
            "ANALYZE p1",
        ],
        [("public.p", 1_449_984)],
        "it was never analyzed (1.4 MiB), and autovacuum does not analyze a partitioned table as a whole",
    ),
    Case(
        "statistics-freshness",
        [
            ROWS.format(40_000),
            "CREATE TABLE large AS SELECT n FROM generate_series(1, 100000) AS n",
            "ANALYZE",
            "INSERT INTO t SELECT n FROM generate_series(50001, 60000) AS n",
            "INSERT INTO large SELECT n FROM generate_series(1, 12000) AS n",
        ],
        [("public.t", 0.0)],
        "10 000 changes to 40 000 rows in",
        options={"statistics-freshness": ANY},
    ),
    Case(
        "constraints-not-validated",
        [
            "CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a); CREATE INDEX ON a (b)",
            'ALTER TABLE a ADD CONSTRAINT "a;b" CHECK (id > 0) NOT VALID',
            "ALTER TABLE a ADD CONSTRAINT again FOREIGN KEY (b) REFERENCES a NOT VALID",
        ],
        [('public.a."a;b"', 1), ("public.a.again", 1)],
        "this check constraint is NOT VALID",
    ),
    Case(
        "constraints-not-validated",
        [
            'CREATE DOMAIN "do" AS int; CREATE TABLE d (id "do"); INSERT INTO d VALUES (1)',
            'ALTER DOMAIN "do" ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID',
            "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)",
            "ALTER TABLE p ADD CONSTRAINT few CHECK (id < 5) NOT VALID",
            "CREATE TABLE a (id int); CREATE TABLE b () INHERITS (a)",
            "ALTER TABLE b ADD CONSTRAINT few CHECK (id < 5) NOT VALID",
        ],
        [('public."do".positive', 1), ("public.b.few", 1), ("public.p.few", 1)],
        "this check constraint is NOT VALID",
    ),
    Case(
        "sequence-health",
        [
            "CREATE SEQUENCE up AS int; SELECT setval('up', 1800000000)",
            "CREATE SEQUENCE down INCREMENT -1 MINVALUE -100; SELECT setval('down', -80)",
            "CREATE SEQUENCE round MAXVALUE 100 CYCLE; SELECT setval('round', 99)",
            "CREATE SEQUENCE never",
        ],
        [("public.up", 83.8), ("public.down", 80.0)],
        "it is at 1 800 000 000 of 2 147 483 647",
    ),
    Case(
        "sequence-health",
        [
            "CREATE SEQUENCE six_digits MINVALUE 900000 MAXVALUE 999999; SELECT nextval('six_digits')",
            "CREATE SEQUENCE halves AS int MINVALUE -2147483648; SELECT setval('halves', 1073741824)",
            "CREATE SEQUENCE below INCREMENT -1 MINVALUE -9999999999; SELECT setval('below', -2100000000)",
            "CREATE SEQUENCE old MAXVALUE 2147483647; SELECT setval('old', 2000000000)",
            "CREATE DOMAIN number AS int; CREATE DOMAIN key AS number",
            "CREATE TABLE t (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY); SELECT setval('t_id_seq', 1900000000)",
            "CREATE SEQUENCE lent; SELECT setval('lent', 1800000000)",
            # The narrowest of the columns that have its numbers as they are.
            "CREATE TABLE l (text text DEFAULT 'x' || nextval('lent'), id key DEFAULT nextval('lent'),"
            " part smallint DEFAULT nextval('lent') % 1000, far bigint DEFAULT nextval('lent'),"
            " down int DEFAULT nextval('below'))",
        ],
        [
            ("public.l.down", 97.8),
            ("public.old", 93.1),
            ("public.t_id_seq", 88.5),
            ("public.l.id", 83.8),
            ("public.halves", 75.0),
        ],
        "the column is integer, and public.below is at -2 100 000 000 of -2 147 483 648",
        level="critical",
    ),
    Case(
        "sequence-health",
        [
            "CREATE TABLE owned (id smallint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, many bigserial)",
            "ALTER SEQUENCE owned_id_seq AS bigint MAXVALUE 9223372036854775807; SELECT setval('owned_id_seq', 32000)",
            "CREATE SEQUENCE lent; CREATE TABLE lends (id int PRIMARY KEY DEFAULT nextval('lent'))",
            "SELECT setval('lent', 2100000000)",
        ],
        [("public.lends.id", 97.8), ("public.owned.id", 97.7)],
        "the column is integer, and public.lent is at 2 100 000 000 of 2 147 483 647",
        level="critical",
        mending="ALTER TABLE lends ALTER id TYPE bigint; ALTER TABLE owned ALTER id TYPE bigint",
    ),
    Case(
        "integer-keys",
        [
            "CREATE TABLE k (id int PRIMARY KEY); INSERT INTO k SELECT 1200000000 + n FROM generate_series(0, 10000) AS n",
            "ANALYZE k",
        ],
        [("public.k.id", 55.9)],
        "the largest integer that the statistics know is 1 200 010 000 of 2 147 483 647",
        mending="ALTER TABLE k ALTER id TYPE bigint; ANALYZE k",
    ),
    Case(
        "integer-keys",
        [
            "CREATE DOMAIN key AS int; CREATE TABLE k (id key PRIMARY KEY); INSERT INTO k SELECT generate_series(1, 10001)",
            "INSERT INTO k SELECT 1300000000 + n FROM generate_series(0, 10000) AS n",
            "CREATE TABLE c (tenant int, id int DEFAULT 0, PRIMARY KEY (tenant, id))",
            "INSERT INTO c SELECT n % 3, -1200000000 - n FROM generate_series(0, 10000) AS n",
            "CREATE TABLE hashed (id int PRIMARY KEY); INSERT INTO hashed SELECT hashint4(n) FROM generate_series(1, 10000) AS n",
            "CREATE TABLE r (k key REFERENCES k, n int, PRIMARY KEY (k, n)); INSERT INTO r SELECT id, 1 FROM k",
            "ANALYZE k; ANALYZE c; ANALYZE hashed; ANALYZE r",
        ],
        [("public.k.id", 60.5), ("public.c.id", 55.9)],
        "the largest integer that the statistics know is 1 300 010 000 of 2 147 483 647",
    ),
    Case(
        "materialized-views-empty",
        ["CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA"],
        [("public.empty", 1)],
        "it has no data, and whoever reads it gets an error",
    ),
    Case(
        "table-bloat",
        [
            ROWS.format(1000),
            "CREATE TABLE changed AS TABLE t",
            "ANALYZE",
            "INSERT INTO changed SELECT n FROM generate_series(1, 1500) AS n",
            "UPDATE pg_class SET relpages = 40000 WHERE relname IN ('t', 'changed')",
        ],
        [("public.t", 100.0)],
        "about 312 MiB of 312 MiB are air, as the statistics say",
        level="critical",
        mending="ANALYZE t",
    ),
    Case(
        "database-size",
        [],
        [("{database}", None)],
        "of 7.0 MiB",
        level="critical",
        mending="-",
        options={"size_limit": "7MB"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.check}" for number, case in enumerate(CASES)])
def test_one_check_says_so_until_it_is_mended(database: Database, case: Case) -> None:
    for statement in case.making:
        database.sql(statement)
        database.sql(FLUSH)  # or ANALYZE would count what comes before it a second time
    options = {key: value for key, value in case.options.items() if key == "size_limit"}
    options["thresholds"] = {key: value for key, value in case.options.items() if key != "size_limit"}
    result = look(database, **options)
    assert bad(result) == {case.check: case.level}, result["findings"][:3]
    told = [one for one in of(result, case.check) if one["level"] != "info"]
    assert [one["subject"] for one in told] == [
        subject.format(database=database.name) for subject, _value in case.found
    ]
    for one, (_subject, value) in zip(told, case.found):
        assert value is None or one["value"] == value
    assert case.said in told[0]["message"].replace("\u202f", " ")
    assert all(one["meaning"] and one["group"] and one["advice"] for one in told)
    if case.mending == "-":
        return
    for statement in case.mending.split(";") if case.mending else [one["advice"] for one in told]:
        database.sql(statement)
    database.sql(FLUSH)
    assert bad(look(database, **options)) == {}


def test_width_that_nobody_knows_is_no_air(database: Database) -> None:
    """A column without statistics, rows of which one fills more than half of a page, and row-level security."""
    database.sql(
        "CREATE TABLE blind (id bigint, doc text); ALTER TABLE blind ALTER doc SET STATISTICS 0, ALTER doc SET STORAGE PLAIN"
    )
    database.sql("INSERT INTO blind SELECT n, repeat('x', 7900) FROM generate_series(1, 100) AS n")
    database.sql("CREATE TABLE wide (id bigint, doc text); ALTER TABLE wide ALTER doc SET STORAGE PLAIN")
    database.sql("INSERT INTO wide SELECT n, repeat('x', 4050) FROM generate_series(1, 100) AS n")
    database.sql("CREATE TABLE few (LIKE wide INCLUDING ALL); INSERT INTO few SELECT * FROM wide")
    database.sql("DELETE FROM few WHERE id % 5 > 0")
    for table in ("blind", "wide", "few"):
        database.sql(f"VACUUM ANALYZE {table}")
    # As many pages as make it worth a word.
    large = "UPDATE pg_class SET relpages = relpages * 200, reltuples = reltuples * 200 WHERE relname IN ('blind', 'wide', 'few')"
    database.sql(large)
    found = look(database)
    assert bad(found) == {"table-bloat": "critical"}
    assert [(one["subject"], one["value"]) for one in of(found, "table-bloat")] == [("public.few", 80.0)]
    metric = f'pg_bloat_table_bloat_pct{{inventory_host="db1",datname="{database.name}",schemaname="public",relname="few"}} 80\n'
    assert metric in metrics.document([("db1", found)], [1.0], bloat=True)
    role = database.role()
    database.sql(f"GRANT pg_read_all_data TO {role}; ALTER TABLE wide ENABLE ROW LEVEL SECURITY; DROP TABLE few")
    (hidden,) = of(look(database, database.dsn_as(role)), "table-bloat")
    assert (hidden["level"], hidden["subject"], hidden["advice"]) == (
        "unknown",
        "public.wide",
        f"ALTER ROLE {role} BYPASSRLS;",
    )


def test_what_somebody_has_locked_is_not_waited_for(database: Database) -> None:
    database.sql("CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at); CREATE INDEX ON p (at)")
    database.sql(
        "CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE t (at timestamptz NOT NULL); CREATE INDEX ON t (at)"
    )
    database.sql("CREATE TABLE o (id serial PRIMARY KEY) WITH (autovacuum_enabled = false)")
    database.sql("CREATE SEQUENCE s; CREATE INDEX ON o ((id + 1)) WHERE id > 5; ALTER TABLE o ADD CHECK (id > 0)")
    database.sql("CREATE PUBLICATION " + database.name + " FOR TABLE p; ALTER TABLE p1 REPLICA IDENTITY FULL")
    plans = {"hourly": {"purge": [{"table": table, "column": "at"} for table in ("p", "t")]}}
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE p1, o; REINDEX INDEX t_at_idx; ALTER SEQUENCE s MAXVALUE 9")
        found = look(database, plans=plans)
        cursor.execute("ROLLBACK")
    assert not [one for one in found["findings"] if "lock timeout" in one["message"]]
    assert bad(found) == {}
    said = {(one["subject"], one["level"]): one["message"] for one in of(found, "expired-rows")}
    assert said == {("public.p", "unknown"): "somebody has locked it; so it is with 1 more"}


def test_what_a_role_may_not_see_is_not_well(database: Database) -> None:
    """Keys, and the size of a database that somebody else has connected to."""
    database.sql("CREATE TABLE k (id int PRIMARY KEY); INSERT INTO k SELECT generate_series(1, 10001); ANALYZE k")
    member, role = database.role(), database.role()
    database.sql(
        f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC; GRANT CONNECT ON DATABASE {database.name} TO {member}"
    )
    database.sql(f"GRANT {role} TO {member}")
    found = look(database, database.dsn_as(member), role=role, checks=["storage", "integer-keys"])
    advice = {one["check"]: one["advice"] for one in found["findings"] if one["level"] == "unknown"}
    connect = f"GRANT CONNECT ON DATABASE {database.name} TO {role};"
    assert advice == {
        "integer-keys": f"GRANT SELECT ON public.k TO {role};", "database-size": connect, "database-growth": connect
    }  # fmt: skip


def test_growth_by_what_earlier_runs_have_seen(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    perform("analyze", database.dsn, tables=["pg_catalog.pg_class"])  # makes a history
    first = look(database)
    assert (bad(first), of(first, "database-growth")[0]["message"]) == (
        {},
        "it is too early to tell: sizes are compared from a day on",
    )
    now = of(first, "database-size")[0]["value"]
    kept = "SELECT count(*), min(value::bigint) FROM maintenance.finding WHERE name = 'database-size'"
    assert database.sql(kept) == [(1, now)]
    database.sql(f"UPDATE maintenance.finding SET value = '{now // 2}', found_at = found_at - interval '2 days'")
    assert bad(look(database)) == {}, "what is small may double"
    monkeypatch.setattr(storage, "LEAST_GROWTH", 2**20)
    grown = look(database, size_limit=2 * now)
    assert bad(grown) == {"database-growth": "warning", "database-forecast": "critical"}
    (growth,) = of(grown, "database-growth")
    weekly = 7 * (now - now // 2) / 2
    assert growth["evidence"]["bytes_per_week"] == pytest.approx(weekly, rel=0.05)
    assert of(grown, "database-forecast")[0]["value"] == pytest.approx(4.0, abs=0.3)


def test_more_sequences_than_there_are_locks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is asked keeps a lock: so many are asked, and it is told that there are more."""
    few = replace(registry.BY_ID["sequence-health"], query=tables.SEQUENCES.replace("LIMIT 500", "LIMIT 2"))
    monkeypatch.setitem(registry.BY_ID, "sequence-health", few)
    database.sql("CREATE SEQUENCE a; CREATE SEQUENCE b; CREATE TABLE t (id serial PRIMARY KEY)")
    database.sql("SELECT setval('t_id_seq', 2000000000)")
    assert bad(look(database)) == {"sequence-health": "critical"}, "what runs out first is asked first"
    database.sql("SELECT setval('t_id_seq', 1)")
    said = "it is at 1 of 2 147 483 647 (1 others, which are less likely, are not looked at)"
    assert of(look(database), "sequence-health")[0]["message"].replace("\u202f", " ") == said


def test_autovacuum_as_it_is_set(private_server: PrivateServer) -> None:
    """All of its workers are busy; it is off; what it will not analyze by itself."""
    private_server.restart(
        autovacuum="on", autovacuum_naptime="1s", autovacuum_max_workers="1", autovacuum_vacuum_cost_delay="100ms",
        autovacuum_vacuum_cost_limit="1", autovacuum_worker_slots="1",
    )  # fmt: skip
    database = private_server.create_database()
    database.sql(ROWS.format(40_000))
    database.sql(FLUSH)
    database.sql("VACUUM ANALYZE t")
    database.sql(FLUSH)
    limits = {"autovacuum-workers": {"warning": 0.1, "critical": None}}
    until(lambda: bad(look(database, thresholds=limits)) == {})  # a worker that has nothing to do is there for a moment
    restored = look(database)
    assert set(levels(restored).values()) <= {"info", "unknown"}, "it was loaded a moment ago"
    database.sql("DELETE FROM t WHERE id % 2 = 0")
    database.sql(FLUSH)
    until(lambda: bad(look(database, thresholds=limits, checks=["autovacuum-workers"])), 120)
    (hidden,) = of(
        look(database, database.dsn_as(database.role("NOSUPERUSER")), thresholds=limits), "autovacuum-workers"
    )
    assert (hidden["level"], hidden["advice"][:16]) == ("unknown", "GRANT pg_monitor")
    # A crash takes the counters with it: autovacuum does not know that this one has never been analyzed.
    database.close_connection()
    private_server.restart(autovacuum_naptime="1h")
    database.sql("CREATE TABLE lost AS SELECT generate_series(1, 40000) AS id")
    database.sql("CHECKPOINT")
    database.close_connection()
    private_server.crash()
    private_server.start()
    found = look(database)
    assert bad(found) == {"statistics-missing": "warning"}
    assert of(found, "statistics-missing")[0]["subject"] == "public.lost"
    database.close_connection()
    private_server.restart(autovacuum="off")
    off = perform("health_info", database.dsn, checks=["autovacuum-off"])
    assert (bad(off), off["findings"][0]["subject"]) == ({"autovacuum-off": "critical"}, "server")


def test_what_was_loaded_a_moment_ago_is_well(vtchat_database: Database) -> None:
    """An application's schema with its rows, and some megabytes that nobody has analyzed yet: autovacuum will come to them."""
    assert bad(look(vtchat_database)) == {}
    vtchat_database.sql(ROWS.format(60_000))
    vtchat_database.sql("CREATE TABLE other (id bigserial PRIMARY KEY, t int REFERENCES t); CREATE INDEX ON t (text)")
    vtchat_database.sql("INSERT INTO other (t) SELECT n % 1000 + 1 FROM generate_series(1, 90000) AS n")
    vtchat_database.sql(FLUSH)
    result = look(vtchat_database)
    assert bad(result) == {}
    assert {one["message"] for one in result["findings"] if one["level"] == "unknown"} == {"there is no history yet"}
