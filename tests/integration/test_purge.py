# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge against a real server: what has expired goes, nothing else does, and nobody has to wait for it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import reader, start
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import walks, work
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import session
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from tests.runs import holding, only, perform, until
from tests.servers import Database
from tests.tables import today

NEW_YORK_FALLS_BACK = datetime(2025, 11, 2, 6, 0, tzinfo=timezone.utc)
NEW_YORK_SPRINGS_FORWARD = datetime(2026, 3, 8, 7, 0, tzinfo=timezone.utc)


def purge(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, **options}
    return perform("purge", database.dsn_as(user), check, **given)


def table(database: Database, rows: str, more: str = "", name: str = "t") -> None:
    """Table (id, at timestamptz …) with the rows of a SELECT, and an index on at."""
    database.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, at timestamptz {more})")
    database.sql(f"INSERT INTO {name} {rows}")
    database.sql(f"CREATE INDEX ON {name} (at)")


def ids(database: Database, name: str = "t") -> list[int]:
    return [number for (number,) in database.sql(f"SELECT id FROM {name} ORDER BY 1")]


def expired(count: int, live: int = 0, extra: str = "") -> str:
    """Rows 1 to count are expired, the first the longest; ``live`` more are not."""
    return f"SELECT n, now() + (n - {count} - 0.5) * interval '1 minute' {extra} FROM generate_series(1, {count + live}) AS n"


def ago(instant: datetime) -> str:
    """older_than for a cut-off at that instant, a moment later."""
    return str(int((datetime.now(timezone.utc) - instant).total_seconds()))


# Time


@pytest.mark.parametrize("zone", ["Asia/Ho_Chi_Minh", "America/New_York"])
@pytest.mark.parametrize("where", ["database", "role"])
@pytest.mark.parametrize("written_in", ["UTC", "Asia/Ho_Chi_Minh", "Pacific/Auckland"])
def test_zone_of_the_session_means_nothing(database: Database, zone: str, where: str, written_in: str) -> None:
    role = database.role("purger")
    what = (
        SQL("DATABASE {}").format(Identifier(database.name))
        if where == "database"
        else SQL("ROLE {}").format(Identifier(role))
    )
    database.sql(SQL("ALTER {} SET TimeZone = {}").format(what, Literal(zone)))
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamp)")
    database.sql(
        "INSERT INTO t SELECT n, (now() + (n - 100.5) * interval '15 minutes') AT TIME ZONE %s FROM generate_series(1, 200) n",
        [written_in],
    )
    database.sql(SQL("GRANT ALL ON t TO {}").format(Identifier(role)))
    assert only(purge(database, user=role, timezone=written_in))["rows"] == 100
    assert ids(database) == list(range(101, 201))


@pytest.mark.parametrize("middle", [NEW_YORK_FALLS_BACK, NEW_YORK_SPRINGS_FORWARD])
@pytest.mark.parametrize("minutes", [-90, -30, -5, 5, 30, 90])
def test_clocks_that_change(database: Database, middle: datetime, minutes: int) -> None:
    """A wall-clock time that occurs twice is taken for the later one: no row goes early, and no other stays."""
    zone = "America/New_York"
    database.sql("CREATE TABLE t (id int, at timestamp, truth timestamptz)")
    database.sql(
        "INSERT INTO t SELECT n, i AT TIME ZONE %s, i FROM generate_series(-36, 36) AS n, "
        "LATERAL (SELECT %s + (n + 0.5) * interval '5 minutes' AS i) AS x",
        [zone, middle],
    )
    before = database.sql("SELECT id, truth, at AT TIME ZONE %s FROM t", [zone])
    result = only(
        purge(
            database,
            timezone=zone,
            older_than=ago(datetime.fromtimestamp(middle.timestamp() + 60 * minutes, timezone.utc)),
        )
    )
    cutoff = datetime.fromisoformat(result["numbers"]["cutoff"])
    assert 0 <= cutoff.timestamp() - middle.timestamp() - 60 * minutes < 120
    assert ids(database) == sorted(number for number, _truth, latest in before if latest > cutoff)
    assert all(truth <= latest for _number, truth, latest in before)
    assert result["rows"] > 0


def test_a_date_has_passed_when_its_day_has(database: Database) -> None:
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):  # 26 hours apart: the date differs whatever the time is
        database.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, at date)")
        database.sql("INSERT INTO t SELECT n, %s::date + n FROM generate_series(-3, 3) AS n", [today(database, zone)])
        assert only(purge(database, timezone=zone))["rows"] == 3
        assert ids(database) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("column_type", "zone"), [("timestamptz", None), ("timestamp", "UTC"), ("date", "UTC"), ("timestamptz(3)", None)]
)
def test_null_and_infinity_never_expire(database: Database, column_type: str, zone: str | None) -> None:
    database.sql(f"CREATE TABLE t (id int, at {column_type})")
    database.sql(
        "INSERT INTO t VALUES (1, NULL), (2, 'infinity'), (3, '-infinity'), (4, '2001-01-01'), (5, '3000-01-01')"
    )
    options: dict[str, Any] = {"timezone": zone} if zone else {}
    assert only(purge(database, check=True, **options))["rows"] == 2
    assert only(purge(database, **options))["rows"] == 2
    assert ids(database) == [1, 2, 5]


@pytest.mark.parametrize(
    ("older_than", "left"),
    [
        ("0", 0),
        ("45s", 1),
        ("300", 2),
        ("5m", 2),
        ("2 h", 3),
        ("2d", 4),
        ("3w", 5),
        ("100w", 6),
        ("5000w", 6),
        ("52000w", 6),
    ],
)
def test_older_than(database: Database, older_than: str, left: int) -> None:
    table(
        database,
        "SELECT i, now() - (ARRAY['1s', '1m', '1h', '1d', '2w', '1y']::interval[])[i] FROM generate_series(1, 6) AS i",
    )
    result = only(purge(database, older_than=older_than))
    assert result["outcome"] in ("done", "unchanged"), result
    assert ids(database) == list(range(1, left + 1))


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY"])
def test_date_style(database: Database, style: str) -> None:
    """Asia/Kolkata prints as IST in some styles, and IST is read as Israel's time."""
    database.sql(SQL("ALTER DATABASE {} SET DateStyle = {}").format(Identifier(database.name), Literal(style)))
    database.sql(SQL("ALTER DATABASE {} SET TimeZone = 'Asia/Kolkata'").format(Identifier(database.name)))
    table(database, expired(5000, 5))
    assert only(purge(database))["rows"] == 5000
    assert ids(database) == list(range(5001, 5006))


# Which rows


@pytest.mark.parametrize(
    ("where", "gone"),
    [
        ("id <= 3", [1, 2, 3]),
        ("id <= 3 -- the first ones", [1, 2, 3]),
        ("id = 1 OR true", [1, 2, 3, 4, 5]),
        ("word LIKE '%s%%'", [2]),
        ("id % 2 = 0", [2, 4]),
        ("id IN (SELECT id FROM t WHERE id < 3)", [1, 2]),
        ("id = 1 /* { } */ AND word <> '{0} {column}'", [1]),
    ],
)
def test_where(database: Database, where: str, gone: list[int]) -> None:
    table(database, expired(5, 5, ", CASE n WHEN 2 THEN '%s!%' ELSE '' END"), ", word text")
    assert only(purge(database, check=True, where=where))["rows"] == len(gone)
    assert only(purge(database, where=where))["rows"] == len(gone)
    assert ids(database) == [number for number in range(1, 11) if number not in gone]


def test_where_that_is_no_sql_is_a_failure_with_the_servers_words(database: Database) -> None:
    table(database, expired(5))
    result = purge(database, where="idd = 1")
    assert result["failed"]
    assert "idd" in only(result)["reason"]
    assert len(ids(database)) == 5


@pytest.mark.parametrize("maximum", [1, 999, 1000, 1001, 3000])
def test_max_rows_is_exact_and_takes_the_oldest(database: Database, maximum: int) -> None:
    table(database, expired(3200, 10))
    assert only(purge(database, check=True, max_rows=maximum))["rows"] == maximum
    result = only(purge(database, max_rows=maximum))
    assert result["rows"] == maximum
    assert ids(database) == list(range(maximum + 1, 3211))


def test_rows_with_the_same_time(database: Database) -> None:
    table(database, "SELECT n, '2020-01-01' FROM generate_series(1, 5000) AS n")
    assert only(purge(database))["rows"] == 5000


@pytest.mark.parametrize("name", ["part", "place", "value", "gone", "picked"])
def test_column_with_a_name_that_we_use(database: Database, name: str) -> None:
    """In ORDER BY a bare name means the column that is put out, not the one that is read."""
    database.sql(f"CREATE TABLE t (id int, {name} timestamptz)")
    database.sql("INSERT INTO t SELECT n * 7919 % 10007, now() FROM generate_series(1, 9000) AS n")
    database.sql(f"UPDATE t SET {name} = now() - id * interval '1 minute'; CREATE INDEX ON t ({name})")
    before = ids(database)
    assert only(purge(database, column=name, max_rows=1500))["rows"] == 1500
    assert ids(database) == before[:-1500]


def test_batches_grow(database: Database) -> None:
    table(database, expired(30_000, 1))
    numbers = only(purge(database, batch_ms=60_000, pace="full"))["numbers"]
    assert numbers["rows"] == 30_000
    assert numbers["batches"] <= 7  # 1 000, 2 000, 4 000, 8 000, 16 000 and the rest


def test_a_partition_is_not_taken_for_another(database: Database) -> None:
    database.sql("CREATE TABLE t (id int, at timestamptz, region int) PARTITION BY LIST (region)")
    database.sql("CREATE TABLE a PARTITION OF t FOR VALUES IN (0); CREATE TABLE b PARTITION OF t FOR VALUES IN (1)")
    # Row n of both partitions has the same ctid. Of each pair one is expired.
    database.sql(
        "INSERT INTO t SELECT n, now() + CASE WHEN (n + r) % 2 = 0 THEN -n ELSE 3000 END * interval '1 minute', r "
        "FROM generate_series(1, 2000) AS n, generate_series(0, 1) AS r ORDER BY n"
    )
    database.sql("CREATE INDEX ON t (at)")
    same = database.value("SELECT count(*) FROM a JOIN b ON a.ctid = b.ctid AND a.id = b.id")
    assert same == 2000
    assert only(purge(database, max_rows=500))["rows"] == 500
    assert database.value("SELECT count(*) FROM t") == 3500
    assert database.value("SELECT max(id) FROM t WHERE at < now()") == 1500
    assert only(purge(database))["rows"] == 1500
    assert database.sql("SELECT min(at) > now(), count(*) FROM t") == [(True, 2000)]


def test_inherited_rows(database: Database) -> None:
    table(database, expired(10, 10))
    database.sql("CREATE TABLE child () INHERITS (t); INSERT INTO child SELECT id + 100, at FROM t")
    assert only(purge(database))["rows"] == 20
    assert ids(database) == [*range(11, 21), *range(111, 121)]


# Other sessions


def test_locked_rows_are_skipped_and_counted(database: Database) -> None:
    table(database, expired(1500, 5))
    with holding(database, "SELECT FROM t WHERE id IN (3, 1200) FOR UPDATE"):
        result = only(purge(database))
        assert (result["outcome"], result["rows"], result["numbers"]["left"]) == ("done", 1498, 2)
        assert "2 rows left" in result["reason"]
        assert ids(database) == [3, 1200, *range(1501, 1506)]
    assert only(purge(database))["rows"] == 2
    assert only(purge(database))["outcome"] == "unchanged"


GATE = """
CREATE FUNCTION gate(id int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$BEGIN
    WHILE id = 1 AND current_query() LIKE '%SKIP LOCKED%' AND NOT pg_try_advisory_xact_lock_shared(1) LOOP
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN true;
END$$
"""


def test_a_row_that_gets_a_new_time_while_we_look_survives(database: Database) -> None:
    """Row 2 is updated after the batch's snapshot was taken and before the batch locks it."""
    table(database, expired(6, 1), ", word text")
    database.sql(GATE)
    with ThreadPoolExecutor(1) as thread, holding(database, "SELECT pg_advisory_xact_lock(1)") as gate:
        running = thread.submit(purge, database, where="gate(id)")
        until(
            lambda: database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%SKIP LOCKED%gate(id)%' AND wait_event = 'PgSleep' "
                "AND datname = current_database()"
            )
        )
        database.sql("UPDATE t SET at = now() + interval '1 hour' WHERE id = 2")
        database.sql("UPDATE t SET at = at - interval '1 hour' WHERE id = 3")
        database.sql("UPDATE t SET word = 'still expired' WHERE id = 4")
        gate.commit()
        result = only(running.result(200))
    assert ids(database) == [2, 7]
    assert result["rows"] == 5
    assert "left" not in result["numbers"]


def test_table_lock_of_somebody_else(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "ROW", 0.05)
    table(database, expired(1500, 5))
    blocker = database.connect()
    blocker.autocommit = False

    def lock(target: str, said: str, seconds: float) -> None:
        blocker.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")

    parameters = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "history": False})
    result = _edge.perform(parameters, False, lock)
    blocker.rollback()
    blocker.close()
    assert (result["status"], result.get("failed"), result["changed"]) == ("partial", None, True)
    assert (only(result)["outcome"], only(result)["rows"]) == ("contended", 1000)
    assert ids(database) == list(range(1001, 1506))
    assert only(purge(database))["rows"] == 500


def test_table_that_is_locked_from_the_start(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LIGHT", 0.05)
    table(database, expired(5))
    with holding(database, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        result = purge(database)
    assert (result["status"], only(result)["outcome"], result["changed"]) == ("partial", "contended", False)
    assert only(result)["target"] in ("t", "public.t")


# Foreign keys


def test_cascade_is_foretold(database: Database) -> None:
    table(database, expired(5, 5))
    database.sql(
        "CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE, at int); INSERT INTO child SELECT id FROM t"
    )
    database.sql("CREATE TABLE other (id int REFERENCES t ON DELETE NO ACTION)")
    database.sql(
        "CREATE TABLE loses (id int REFERENCES t ON DELETE SET NULL); "
        "ALTER TABLE child ADD also int REFERENCES t ON DELETE CASCADE"
    )
    assert only(purge(database, check=True))["numbers"]["cascades_to"] == ["public.child"]
    assert only(purge(database))["rows"] == 5
    assert ids(database, "child") == [6, 7, 8, 9, 10]


def test_a_row_to_which_another_refers_stays_alone(database: Database) -> None:
    table(database, expired(1500, 5))
    database.sql("CREATE TABLE child (id int REFERENCES t); INSERT INTO child VALUES (1200)")
    result = purge(database)
    assert (result["failed"], result["changed"], only(result)["outcome"], only(result)["rows"]) == (
        True,
        True,
        "failed",
        1499,
    )
    assert "child" in only(result)["reason"]
    assert "where" in only(result)["reason"]
    assert ids(database) == [1200, *range(1501, 1506)]
    assert only(purge(database, where="id NOT IN (SELECT id FROM child)"))["outcome"] == "unchanged"


PADDED = ", pad text STORAGE PLAIN"
PAD = ", repeat('x', 7000)"  # nearly a page


def padded(database: Database, rows: int = 1100) -> None:
    """A table of more than 8 MB without an index that serves."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, pad text STORAGE PLAIN)")
    database.sql(f"INSERT INTO t {expired(5, rows - 5, PAD)}")


def advice(reason: str, word: str) -> str:
    """The statement that a message recommends."""
    found = re.search(rf"{word} .*?(?=, or |$)", reason)
    assert found, reason
    return found[0]


@pytest.mark.parametrize("statistics", ["", "ANALYZE t"])
def test_large_table_without_an_index(database: Database, statistics: str) -> None:
    """Also before the first ANALYZE, when pg_class knows no size."""
    padded(database)
    if statistics:
        database.sql(statistics)
    for check in (True, False):
        result = purge(database, check)
        assert result["failed"]
        assert only(result)["outcome"] == "failed"
    assert len(ids(database)) == 1100
    assert only(purge(database, max_rows=2, require_index=False))["rows"] == 2
    database.sql(advice(only(result)["reason"], "CREATE INDEX CONCURRENTLY"))
    assert only(purge(database))["rows"] == 3


def test_partial_index_serves_where_it_applies(database: Database) -> None:
    padded(database)
    database.sql("CREATE INDEX ON t (at) WHERE id > 2; ANALYZE t")
    assert only(purge(database))["outcome"] == "failed"
    assert only(purge(database, where="id > 2"))["rows"] == 3


@pytest.mark.parametrize("statistics", ["", "ANALYZE child"])
def test_foreign_key_without_an_index(database: Database, statistics: str) -> None:
    table(database, expired(5, 5))
    database.sql('CREATE TABLE child (id int, "order" int REFERENCES t, pad text STORAGE PLAIN)')
    database.sql(f"INSERT INTO child SELECT n, NULL {PAD} FROM generate_series(1, 1100) AS n")
    if statistics:
        database.sql(statistics)
    result = only(purge(database))
    assert result["outcome"] == "failed", result
    assert "public.child" in result["reason"]
    assert len(ids(database)) == 10
    assert only(purge(database, require_index=False, max_rows=1))["rows"] == 1
    database.sql(advice(result["reason"], "CREATE INDEX CONCURRENTLY"))
    assert only(purge(database))["rows"] == 4


def test_foreign_keys_of_partitions(database: Database) -> None:
    """A key may refer to one partition, and the referring table may itself be partitioned."""
    database.sql("CREATE TABLE t (id int, at timestamptz, PRIMARY KEY (id)) PARTITION BY LIST (id)")
    database.sql("CREATE TABLE one PARTITION OF t FOR VALUES IN (1); CREATE TABLE two PARTITION OF t FOR VALUES IN (2)")
    database.sql("CREATE TABLE child (id int REFERENCES one ON DELETE CASCADE)")
    database.sql("CREATE TABLE big (id int REFERENCES t ON DELETE CASCADE) PARTITION BY LIST (id)")
    database.sql("CREATE TABLE big1 PARTITION OF big FOR VALUES IN (1)")
    database.sql(
        "INSERT INTO t VALUES (1, '2000-01-01'), (2, '2000-01-01'); INSERT INTO child VALUES (1); INSERT INTO big VALUES (1)"
    )
    assert only(purge(database, check=True))["numbers"]["cascades_to"] == ["public.child", "public.big"]
    assert only(purge(database, check=True, table="one"))["numbers"]["cascades_to"] == ["public.child", "public.big"]
    assert only(purge(database))["rows"] == 2
    assert ids(database, "child") == ids(database, "big") == []


# What is refused


def test_row_security_hides_rows(database: Database) -> None:
    table(database, expired(5))
    role = database.role("purger")
    database.sql(
        f"GRANT ALL ON t TO {role}; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 3)"
    )
    result = only(purge(database, user=role))
    assert result["outcome"] == "failed"
    assert "BYPASSRLS" in result["reason"]
    assert len(ids(database)) == 5
    assert only(purge(database))["rows"] == 5


@pytest.mark.parametrize(
    "granted", ["SELECT", "SELECT, DELETE", "DELETE, UPDATE", "SELECT, UPDATE", "SELECT (id, at), UPDATE, DELETE"]
)
def test_missing_privilege(database: Database, granted: str) -> None:
    database.sql("CREATE SCHEMA app")
    table(database, expired(5), name="app.t")
    role = database.role('Pur"ger')
    name = Identifier(role).as_string(database.connect())
    database.sql(f"GRANT USAGE ON SCHEMA app TO {name}; GRANT {granted} ON app.t TO {name}")
    result = only(purge(database, user=role, table="app.t"))
    assert result["outcome"] == "failed"
    database.sql(advice(result["reason"], "GRANT"))
    assert only(purge(database, user=role, table="app.t"))["rows"] == 5


def test_missing_privilege_on_the_schema(database: Database) -> None:
    database.sql("CREATE SCHEMA app")
    table(database, expired(5), name="app.t")
    role = database.role("purger")
    database.sql(f"GRANT ALL ON app.t TO {role}")
    result = only(purge(database, user=role, table="app.t"))
    assert result["outcome"] == "failed"
    database.sql(advice(result["reason"], "GRANT"))
    assert only(purge(database, user=role, table="app.t"))["rows"] == 5


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("CREATE VIEW x AS SELECT * FROM t", "view"),
        ("CREATE MATERIALIZED VIEW x AS SELECT * FROM t", "materialized view"),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
            "CREATE FOREIGN TABLE x (at timestamptz) SERVER s",
            "foreign table",
        ),
        ("CREATE SEQUENCE x", "sequence"),
    ],
)
def test_only_tables(database: Database, statement: str, kind: str) -> None:
    table(database, expired(5))
    database.sql(statement)
    result = only(purge(database, table="x"))
    assert result["outcome"] == "failed"
    assert f"is a {kind}, not a table" in result["reason"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table": "session"}, "public.sessions"),
        ({"table": "Sessions"}, "public.sessions"),
        ({"table": "app.sessions"}, "public.sessions"),
        ({"table": "quite_different"}, "quite_different"),
        ({"column": "expire_at"}, "expires_at"),
        ({"column": "Expires_At"}, "expires_at"),
        ({"column": "dropped"}, "expires_at"),
        ({"column": "ctid"}, "expires_at"),
        ({"column": "id"}, "integer"),
        ({"column": "zoneless"}, "timezone: UTC"),
        ({"timezone": "UTC"}, "timezone"),
        ({"column": "zoneless", "timezone": "Mars/Phobos"}, "Mars/Phobos"),
    ],
)
def test_what_is_wrong_is_told(database: Database, options: dict[str, Any], told: str) -> None:
    database.sql("CREATE TABLE sessions (id int, expires_at timestamptz, zoneless timestamp, dropped timestamptz)")
    database.sql("ALTER TABLE sessions DROP dropped; INSERT INTO sessions VALUES (1, '2000-01-01', '2000-01-01')")
    for check in (True, False):
        result = purge(database, check, **{"table": "sessions", "column": "expires_at", **options})
        assert result["failed"]
        assert only(result)["outcome"] == "failed"
        assert told in only(result)["reason"]
    assert ids(database, "sessions") == [1]


# How it ends


def test_trigger_that_keeps_rows(database: Database) -> None:
    table(database, expired(2500, 5))
    database.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS '"
        "BEGIN IF OLD.id % 500 = 0 OR OLD.id < 1500 THEN RETURN NULL; END IF; RETURN OLD; END'"
    )
    database.sql("CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()")
    result = only(purge(database))
    assert result["rows"] == 998
    assert "kept by a trigger" in result["reason"]
    assert result["numbers"]["left"] == 1001
    assert only(purge(database))["outcome"] == "done"


def test_budget_ends_and_the_next_run_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    table(database, expired(3500, 5))
    now = [0.0]

    def hour_later(target: str, said: str, seconds: float) -> None:
        now[0] += 3600

    monkeypatch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
    parameters = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "budget": 7000})
    result = _edge.perform(parameters, False, hour_later)
    action = only(result)
    assert (result["status"], action["outcome"], action["changed"]) == ("partial", "deferred", True)
    assert 1000 < action["rows"] < 3500
    assert len(ids(database)) == 3505 - action["rows"]
    monkeypatch.undo()
    assert only(purge(database))["rows"] == 3500 - action["rows"]


def test_budget_ends_in_the_middle_of_a_batch(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate stays shut for ever; the batch, and nothing before it, has a limit that is soon over."""
    table(database, expired(5, 5))
    database.sql(GATE)
    now, lefts = [0.0], []

    def limit(left: float) -> float:
        lefts.append(left)
        now[0] = 200.0
        return 1.0

    monkeypatch.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
    with holding(database, "SELECT pg_advisory_xact_lock(1)"), monkeypatch.context() as patch:
        patch.setattr(work, "statement_limit", limit)
        result = purge(database, where="gate(id)", budget=200)
    assert (result["status"], only(result)["outcome"], only(result)["rows"]) == ("partial", "deferred", 0)
    assert lefts == [200.0], "what is left of the budget is the limit of the one batch that was tried"
    assert only(purge(database, where="gate(id)"))["rows"] == 5


def test_check_mode_says_what_the_run_does(database: Database) -> None:
    table(database, expired(5, 5))
    planned, done, again, nothing = (only(purge(database, check)) for check in (True, False, True, False))
    assert (planned["outcome"], planned["rows"], planned["changed"]) == ("planned", 5, True)
    assert (done["outcome"], done["rows"], done["changed"]) == ("done", 5, True)
    assert planned["statements"][0].startswith("WITH picked")
    assert again["outcome"] == nothing["outcome"] == "unchanged"
    assert again["reason"] == nothing["reason"]


# What else goes with a row, and what is in the way


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, of int REFERENCES t ON DELETE CASCADE)", "cascade: true"),
        (
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); "
            "CREATE TABLE a (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); "
            "ALTER TABLE t ADD a int REFERENCES a ON DELETE CASCADE",
            "cascade: true",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); "
            "CREATE TABLE a (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE, at timestamptz)",
            "public.a",
        ),
        (
            "CREATE TABLE t (id int, at timestamptz, PRIMARY KEY (id, at)); "
            "CREATE TABLE a (t int, was timestamptz, at timestamptz, FOREIGN KEY (t, was) REFERENCES t ON DELETE CASCADE)",
            "public.a",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); "
            "CREATE RULE keep AS ON DELETE TO t DO INSTEAD NOTHING",
            "DISABLE RULE keep",
        ),
        (
            "CREATE TABLE t (id int, at timestamptz) PARTITION BY RANGE (at); CREATE TABLE p PARTITION OF t DEFAULT; "
            "CREATE RULE keep AS ON DELETE TO p DO ALSO NOTIFY gone",
            "public.p",
        ),
        (
            "CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw; CREATE TABLE t (id int, at timestamptz); "
            "CREATE FOREIGN TABLE f () INHERITS (t) SERVER s OPTIONS (filename '/dev/null', format 'csv')",
            "public.f",
        ),
    ],
)
def test_what_would_take_more_or_something_else_is_seen_before(database: Database, tables: str, told: str) -> None:
    database.sql(tables)
    database.sql("INSERT INTO t (id, at) VALUES (1, '2000-01-01')")
    for check in (True, False):
        action = only(purge(database, check=check))
        assert action["outcome"] == "failed"
        assert told in action["reason"]
    assert ids(database) == [1]


@pytest.mark.parametrize("order", ["index", "heap"])
def test_cascade_that_is_meant(database: Database, order: str) -> None:
    """Rows that go with others of the table are counted, by whatever way they do and whatever batch they are in."""
    for divided in (False, True):
        database.sql("DROP TABLE IF EXISTS t, a CASCADE")
        database.sql(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, of int REFERENCES t ON DELETE CASCADE)"
            + (" PARTITION BY RANGE (id)" if divided else "")
        )
        if divided:
            database.sql(
                "CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (5); CREATE TABLE q PARTITION OF t DEFAULT"
            )
        database.sql(
            "CREATE TABLE a (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO t VALUES (1, '2000-01-01', "
            "NULL), (2, '3000-01-01', 1), (3, '3000-01-01', NULL), (4, '3000-01-01', 2), (6, '2001-01-01', NULL);"
            "ALTER TABLE t ADD a int REFERENCES a ON DELETE CASCADE; INSERT INTO a VALUES (1, 6); "
            "INSERT INTO t VALUES (7, '3000-01-01', NULL, 1), (8, '3000-01-01', 7, NULL), (9, '3000-01-01', NULL, NULL)"
        )
        found = only(purge(database, cascade=True, order=order))
        assert (found["outcome"], found["rows"], ids(database)) == ("done", 6, [3, 9]), found


@pytest.mark.parametrize("order", ["index", "heap"])
def test_a_key_that_takes_the_time_along(database: Database, order: str) -> None:
    """Rows that have their time from the row that they refer to have none of their own."""
    database.sql(
        "CREATE TABLE t (id int, at timestamptz, up int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        "CREATE TABLE rest PARTITION OF t DEFAULT; ALTER TABLE t ADD FOREIGN KEY (up, at) REFERENCES t ON DELETE CASCADE;"
        "CREATE TABLE a (t int, at timestamptz, FOREIGN KEY (t, at) REFERENCES t ON DELETE CASCADE);"
        "INSERT INTO t VALUES (1, '2000-01-01', NULL), (2, '2000-01-01', 1), (3, '3000-01-01', NULL);"
        "INSERT INTO a SELECT id, at FROM t"
    )
    for name in ("rest", "t"):
        found = only(purge(database, check=True, table=name, order=order))
        assert found["rows"] == 2, found
    found = only(purge(database, order=order))
    assert (found["outcome"], found["rows"]) == ("done", 2)
    assert ids(database) == [3]
    assert database.value("SELECT count(*) FROM a") == 1


def test_foreign_keys_are_followed_to_the_end(database: Database) -> None:
    table(database, expired(5, 5))
    database.sql(
        "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON child (t)"
    )
    database.sql(
        "CREATE TABLE grandchild (child int REFERENCES child); INSERT INTO child SELECT n, n FROM generate_series(1, 5) n"
    )
    database.sql("INSERT INTO grandchild SELECT NULL FROM generate_series(1, 300000)")
    action = only(purge(database))
    assert action["outcome"] == "failed"
    assert "CREATE INDEX CONCURRENTLY ON public.grandchild (child)" in action["reason"]
    database.sql("CREATE INDEX ON grandchild (child)")
    assert only(purge(database))["rows"] == 5


def test_triggers_are_told_before(database: Database) -> None:
    table(database, expired(5, 5))
    database.sql("CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'")
    for name, when in (("log", "BEFORE DELETE"), ("other", "BEFORE UPDATE"), ("off", "AFTER DELETE")):
        database.sql(f"CREATE TRIGGER {name} {when} ON t FOR EACH ROW EXECUTE FUNCTION log()")
    database.sql("ALTER TABLE t DISABLE TRIGGER off")
    for check in (True, False):
        assert only(purge(database, check=check))["numbers"]["triggers"] == ["log on public.t"]


@pytest.mark.parametrize("column_type", ["timestamptz", "timestamp", "date"])
def test_column_of_a_domain(database: Database, column_type: str) -> None:
    database.sql(
        f"CREATE DOMAIN inner_type AS {column_type}; CREATE DOMAIN outer_type AS inner_type CHECK (VALUE > '1900-01-01')"
    )
    database.sql(
        "CREATE TABLE t (id int, at outer_type); INSERT INTO t VALUES (1, NULL), (2, '2001-01-01'), (3, '3000-01-01')"
    )
    database.sql("INSERT INTO t SELECT n, '2002-01-01' FROM generate_series(10, 2500) AS n")
    options: dict[str, Any] = {} if column_type == "timestamptz" else {"timezone": "UTC"}
    assert only(purge(database, check=True, **options))["rows"] == 2492
    assert only(purge(database, **options))["rows"] == 2492
    assert ids(database) == [1, 3]


def test_inheritance_children_are_parts(database: Database) -> None:
    """Their rows go, their indexes and foreign keys count."""
    table(database, expired(3, 3))
    database.sql("CREATE TABLE child (CHECK (true)) INHERITS (t); CREATE TABLE grandchild () INHERITS (child)")
    database.sql("INSERT INTO grandchild SELECT n + 100, at FROM t, generate_series(0, 0) AS n")
    database.sql("INSERT INTO grandchild SELECT 1000, 'infinity' FROM generate_series(1, 300000)")
    action = only(purge(database))
    assert (action["outcome"], "no index serves at" in action["reason"]) == ("failed", True)
    database.sql("CREATE INDEX ON grandchild (at); CREATE INDEX ON child (at)")
    assert only(purge(database))["rows"] == 6
    assert database.value("SELECT count(*) FROM t WHERE at < now()") == 0


def test_rows_that_are_moved_to_another_partition_meanwhile(database: Database) -> None:
    """The application extends rows of a table that is partitioned by their expiry, and defaults are what they are."""
    database.sql("CREATE TABLE t (id int, at timestamptz) PARTITION BY RANGE (at)")
    database.sql("CREATE TABLE past PARTITION OF t FOR VALUES FROM (MINVALUE) TO ('2020-01-01')")
    database.sql(
        "CREATE TABLE future PARTITION OF t FOR VALUES FROM ('2020-01-01') TO (MAXVALUE); CREATE INDEX ON t (at)"
    )
    database.sql(
        "INSERT INTO t SELECT n, timestamptz '2001-01-01' + n * interval '1 minute' FROM generate_series(1, 6000) AS n"
    )
    database.sql(f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'")
    stop = False

    def extend() -> int:
        moved = 0
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_isolation = 'read committed'")
            for number in range(6000, 0, -40):
                if stop:
                    break
                cursor.execute("UPDATE t SET at = '3000-01-01' WHERE id BETWEEN %s AND %s", [number - 5, number])
                moved += cursor.rowcount
        return moved

    with ThreadPoolExecutor(1) as thread:
        moved = thread.submit(extend)
        try:
            action = only(purge(database, batch_ms=10))
        finally:
            stop = True
    assert action["outcome"] == "done", action
    assert action["rows"] + moved.result() == 6000
    assert database.value("SELECT count(*) FROM t WHERE at < now()") == 0


def test_a_moved_row_is_tried_again(database: Database) -> None:
    """Just that: the batch waits for a table lock behind which the row is moved away."""
    database.sql("CREATE TABLE t (id int, at timestamptz)")
    database.sql("INSERT INTO t SELECT n, '2001-01-01' FROM generate_series(1, 20) AS n")
    database.sql("CREATE SEQUENCE tries")
    database.sql(
        "CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF nextval('tries') < 3 THEN RAISE EXCEPTION "
        "'tuple to be locked was already moved to another partition due to concurrent update' USING ERRCODE = '40001'; "
        "END IF; RETURN OLD; END$$; CREATE TRIGGER moved BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION moved()"
    )
    result = purge(database)
    action = only(result)
    assert (action["outcome"], action["rows"], action["numbers"]["retries"]) == ("done", 20, 2)
    assert result["retries"] == 2


# Settings of the database or the role


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_what_is_set_to_read_only_is_not_written_to(database: Database, of: str) -> None:
    table(database, expired(5, 5))
    role = database.role("purger")
    database.sql(SQL("GRANT ALL ON t TO {}").format(Identifier(role)))
    name = Identifier(database.name if of == "DATABASE" else role)
    database.sql(SQL("ALTER " + of + " {} SET default_transaction_read_only = on").format(name))
    for check in (True, False):
        result = purge(database, check=check, user=role)
        assert result["failed"]
        assert "RESET default_transaction_read_only" in result["msg"]
    assert perform("history_info", database.dsn_as(role))["runs"] == []
    assert len(ids(database)) == 10


def test_settings_that_would_change_what_we_do_are_set_aside(database: Database) -> None:
    """Each of these broke something, or would."""
    table(database, expired(5, 5))
    settings = {
        "statement_timeout": "1s",
        "lock_timeout": "1s",
        "transaction_timeout": "1s",
        "exit_on_error": "on",
        "idle_session_timeout": "1s",
        "quote_all_identifiers": "on",
        "standard_conforming_strings": "off",
        "backslash_quote": "off",
        "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on",
        "transform_null_equals": "on",
        "row_security": "off",
        "client_min_messages": "error",
        "DateStyle": "German",
        "IntervalStyle": "iso_8601",
        "TimeZone": "Pacific/Kiritimati",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "jit_above_cost": "0",
        "enable_tidscan": "off",
        "search_path": "nowhere",
    }
    for setting, value in settings.items():
        database.sql(
            SQL("ALTER DATABASE {} SET {} = {}").format(Identifier(database.name), Identifier(setting), Literal(value))
        )
    # The limits hold until our first statement has set them aside, and a busy machine may need its time for that.
    where = "pg_sleep(0.25) IS NOT NULL AND id IN (SELECT id FROM public.t) AND current_setting('enable_tidscan')::bool"
    given: dict[str, Any] = {"table": "public.t", "column": "at", "where": where}
    assert only(perform("purge", database.dsn, True, **given))["rows"] == 5
    result = perform("purge", database.dsn, **given)
    assert (result["status"], only(result)["rows"], result["warnings"]) == ("ok", 5, [])
    wrong = {"purge": {**given, "where": "nonsense(id)"}}
    analyzed = perform("run", database.dsn, plan="p", steps=[wrong, {"analyze": {"tables": ["public.t"]}}])
    assert [action["outcome"] for action in analyzed["actions"]] == ["failed", "done"], analyzed


@pytest.mark.parametrize("setting", ["statement_timeout", "transaction_timeout"])
def test_a_limit_of_the_database_does_not_hold_for_our_first_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Which takes longer than that here."""
    database.sql(SQL("ALTER DATABASE {} SET {} = '1s'").format(Identifier(database.name), Identifier(setting)))
    monkeypatch.setattr(session, "FACTS", "SELECT pg_catalog.pg_sleep(1.5);" + session.FACTS)
    assert perform("history_info", database.dsn)["runs"] == []


def test_foreign_keys_that_would_be_passed_by(database: Database) -> None:
    table(database, expired(5, 5))
    database.sql(f"ALTER DATABASE {database.name} SET session_replication_role = replica")
    result = purge(database)
    assert result["failed"]
    assert "RESET session_replication_role" in result["msg"]
    assert len(ids(database)) == 10
