# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions to come: which ones, under which names, like what, and what is in their way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from tests.partitions import exists, month, monthly, named, outcomes, partition, parts, purge, told
from tests.servers import Database

pytestmark = pytest.mark.usefixtures("unhurried")
NEXT = f"public.{named(1)}"


def made(result: dict[str, Any], table: str = "public.t") -> list[str]:
    """The names of what was created, or would be."""
    return [
        target.removeprefix("public.")
        for target, outcome in outcomes(result, table).items()
        if outcome in ("done", "planned")
    ]


def test_so_many_after_the_one_for_now(database: Database) -> None:
    """A first run, what runs that did not come have left out, and a second run that does nothing."""
    monthly(database, -4, -2)
    planned = purge(database, True, premake=2)
    assert made(planned) == [named(number) for number in (-1, 0, 1, 2)]
    assert exists(database, named(-1)) is False
    assert made(purge(database, premake=2)) == made(planned)
    assert outcomes(purge(database, premake=2)) == {}
    assert made(purge(database, premake=3)) == [named(3)]
    assert f"TO ('{month(4):%Y-%m-%d} 00:00:00+00')" in parts(database)[named(3)]


def test_what_has_expired_is_not_created(database: Database) -> None:
    monthly(database, -12, -10)
    result = purge(database, partitions="drop", premake=1, older_than="1d")
    assert set(outcomes(result).values()) == {"done"}
    begun = datetime.now(timezone.utc).day == 1  # yesterday was another month
    assert list(parts(database)) == [named(number) for number in range(-1 if begun else 0, 2)]


def test_gaps(database: Database) -> None:
    """One for now or later is filled, an earlier one is told; where no whole interval fits, that is told as well."""
    monthly(database, -5, -5)
    for number in (-3, 3, 5):
        partition(database, named(number), month(number), month(number + 1))
    result = purge(database, premake=4)
    assert made(result) == [named(number) for number in (0, 1, 2, 4)]
    assert f"gap between the partitions public.{named(-5)} and public.{named(-3)}" in str(result["warnings"])
    assert f"public.{named(3)} and public.{named(5)}" not in str(result["warnings"])
    database.sql("DROP TABLE t")
    monthly(database, -1, 0)
    partition(database, "odd", month(1) + timedelta(days=9), month(2))
    result = purge(database, premake=1, interval="1 month")
    assert outcomes(result) == {}
    assert "less than 1 month" in told(result, "public.t")["reason"]
    assert told(result, "public.t")["outcome"] == "failed"


def test_no_partition_for_now(database: Database) -> None:
    """Told where nobody creates it, and not where DEFAULT takes its rows."""
    monthly(database, -3, -2)
    told_of = "no partition takes the rows of now"
    assert told_of in str(purge(database, partitions="drop", older_than="9999d")["warnings"])
    assert told_of not in str(purge(database, True, premake=1)["warnings"])
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    assert told_of not in str(purge(database, True, partitions="drop")["warnings"])


def test_divided_by_time_once_more(database: Database) -> None:
    """What is below a partition has bounds that no other one can have."""
    database.sql("CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    partition(database, "above", month(-1), month(1), "t", "PARTITION BY RANGE (at)")
    partition(database, "below", month(-1), month(0), "above")
    result = purge(database, premake=1)
    assert outcomes(result) == {}
    assert told(result, "public.t")["reason"].endswith("are its own: create the next one by hand")
    assert made(purge(database, table="above", premake=1), "public.above")


def test_no_end(database: Database) -> None:
    monthly(database, -2, -1)
    partition(database, "rest", month(0), None)
    result = purge(database, partitions="drop", premake=2)
    assert "its last partition has no upper end" in told(result, "public.t")["reason"]


INTERVALS: tuple[tuple[str, list[str], list[str]], ...] = (
    ("days", ["d_{0:%Y%m%d}", "1 day"], ["1 day"]),
    ("weeks", ["w_{0:%G}w{0:%V}", "7 days"], ["1 week"]),
    ("hours", ["h_{0:%Y%m%d_%H}", "6 hours"], ["6 hours"]),
    ("quarters", ["q_{0:%Y}q{1}", "3 months"], ["3 months"]),
    ("years", ["y_{0:%Y}", "1 year"], ["1 year"]),
)


def test_intervals_and_names(database: Database) -> None:
    """Told by the bounds, and the names go on as they are."""
    for table, (name, interval), (words,) in INTERVALS:
        unit = {"days": "day", "weeks": "week", "hours": "day", "quarters": "quarter", "years": "year"}[table]
        database.sql(f"CREATE TABLE {table} (at timestamptz, id int) PARTITION BY RANGE (at)")
        edges = database.sql(
            "SELECT date_trunc(%s, now() AT TIME ZONE 'UTC') + n * %s::interval FROM generate_series(-2, 40) AS n",
            [unit, interval],
        )
        times = [edge for (edge,) in edges]
        names = [name.format(at, (at.month + 2) // 3) for at in times]
        for number in range(3):
            partition(database, names[number], f"{times[number]}+00", f"{times[number + 1]}+00", table)
        result = purge(database, table=table, premake=2)
        here = max(number for number, at in enumerate(times) if at <= datetime.now(timezone.utc).replace(tzinfo=None))
        assert made(result, f"public.{table}") == names[3 : here + 3]
        assert all(told(result, f"public.{one}")["numbers"]["interval"] == words for one in names[3 : here + 3])


def test_calendars_of_a_zone(database: Database) -> None:
    """Months of a timestamptz that begin at midnight somewhere else, also where clocks change: by timezone, or the sessions'."""
    zone = "Europe/Berlin"
    edges = [
        at
        for (at,) in database.sql(
            "SELECT (date_trunc('month', now() AT TIME ZONE %s) + n * interval '1 month') AT TIME ZONE %s "
            "FROM generate_series(-2, 9) AS n",
            [zone, zone],
        )
    ]
    for table in ("t", "u"):
        database.sql(f"CREATE TABLE {table} (at timestamptz) PARTITION BY RANGE (at)")
        for number in range(3):
            partition(database, f"{table}_{number}", edges[number], edges[number + 1], table)
    result = purge(database, premake=6, timezone=zone)
    assert len(made(result)) == 6
    assert told(result, made_last(result))["numbers"]["bounds"] == parts(database)[made(result)[-1]]
    database.sql("SET TimeZone = 'UTC'")
    last = database.value("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", [made(result)[-1]])
    assert f"{edges[9].astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}+00')" in last
    assert [name[-2:] for name in made(result)] == ["01"] * 6
    database.sql(SQL("ALTER DATABASE {} SET TimeZone = 'Europe/Berlin'").format(Identifier(database.name)))
    assert [name[1:] for name in made(purge(database, table="u", premake=6), "public.u")] == [
        name[1:] for name in made(result)
    ]


def test_a_day_without_midnight(database: Database) -> None:
    """Where clocks are put forward at midnight the day begins at one, and is a day all the same."""
    zone = "Africa/Cairo"
    database.sql("CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    edges = ["2025-04-24 00:00", "2025-04-25 01:00", "2025-04-26 00:00"]
    for number, (lower, upper) in enumerate(zip(edges, edges[1:])):
        partition(database, f"t_2025042{number + 4}", f"{lower} {zone}", f"{upper} {zone}")
    result = purge(database, partitions="detach", premake=1, timezone=zone)
    today = database.value("SELECT (now() AT TIME ZONE %s)::date", [zone])
    assert f"t_{today:%Y%m%d}" in parts(database)
    assert told(result, made_last(result))["outcome"] == "done"
    assert told(result, f"public.t_{today:%Y%m%d}")["numbers"]["interval"] == "1 day"


def made_last(result: dict[str, Any]) -> str:
    return f"public.{made(result)[-1]}"


@pytest.mark.parametrize("there", [["09-01", "10-01"], ["07-01", "08-01", "09-01"], ["01-01", "04-01"]])
def test_months_of_a_zone_that_nobody_names(database: Database, there: list[str]) -> None:
    """One month, two months of 31 days, a quarter: by the wrong calendar they are so many hours, which the next one has not."""
    database.sql("CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    for number, (lower, upper) in enumerate(zip(there, there[1:])):
        partition(database, f"t_{number}", *(f"2026-{day} 00:00 Asia/Ho_Chi_Minh" for day in (lower, upper)))
    assert "do not tell their interval" in told(purge(database, premake=1), "public.t")["reason"]
    result = purge(database, True, premake=1, timezone="Asia/Ho_Chi_Minh")
    step = "3 months" if there[0] == "01-01" else "1 month"
    assert {one["numbers"]["interval"] for one in result["actions"] if one["target"] != "public.t"} == {step}


def test_interval_that_cannot_be_told(database: Database) -> None:
    database.sql("CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    result = purge(database, premake=1)
    assert "there is no partition: say it with interval" in told(result, "public.t")["reason"]
    assert "set premake" not in str(result["warnings"])
    assert made(purge(database, premake=1, interval="1 month")) == [f"t_p{month(number):%Y%m%d}" for number in (0, 1)]
    database.sql("DROP TABLE t; CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    for number, (lower, upper) in enumerate([(-9, -6), (-6, -4), (-4, -3)]):
        partition(
            database, f"p{number}", month(lower), month(upper) + timedelta(days=number), "t"
        ) if number == 2 else (partition(database, f"p{number}", month(lower), month(upper)))
    result = purge(database, premake=1)
    assert "do not tell their interval: say it with interval" in told(result, "public.t")["reason"]
    with pytest.raises(OptionError, match="interval: 'sometimes' is no interval"):
        purge(database, premake=1, interval="sometimes")


def test_names_that_are_taken(database: Database) -> None:
    monthly(database, -1, 0)
    database.sql(f"CREATE TABLE {named(1)} (id int); CREATE TYPE {named(2)} AS (id int)")
    assert made(purge(database, premake=2)) == [f"{named(1)}_2", f"{named(2)}_2"]
    long = "x" * 55
    monthly(database, 0, 0, table="y")
    database.sql(f"ALTER TABLE {named(0, 'y')} RENAME TO odd; ALTER TABLE y RENAME TO {long}")
    assert made(purge(database, premake=1, table=long), f"public.{long}") == [f"{'x' * 53}_p{month(1):%Y%m%d}"]


ALIKE = """
SELECT replace(c.relname, %s, ''), relkind, relpersistence, relrowsecurity, relforcerowsecurity, reltablespace,
       (SELECT array_agg((polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid),
                          pg_get_expr(polwithcheck, polrelid))::text ORDER BY polname)
        FROM pg_policy WHERE polrelid = c.oid),
       reloptions, relacl::text, relreplident, pg_get_partkeydef(c.oid),
       (SELECT reloptions FROM pg_class AS x WHERE x.oid = c.reltoastrelid),
       (SELECT count(*) FROM pg_index WHERE indrelid = c.oid),
       (SELECT array_agg(pg_get_constraintdef(k.oid) ORDER BY pg_get_constraintdef(k.oid))
        FROM pg_constraint AS k WHERE k.conrelid = c.oid),
       (SELECT array_agg((attname, attacl::text, atthasdef, attidentity, attgenerated) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
FROM pg_class AS c WHERE c.relname LIKE %s || '%%' AND relkind IN ('r', 'p') ORDER BY 1
"""


def test_like_the_newest_one(database: Database) -> None:
    """Owner, grants, storage, partitions of its own, what the parent has: defaults, checks, indexes, keys, identity."""
    role = database.role("reader")
    database.sql("CREATE TABLE owner (id int PRIMARY KEY)")
    columns = (
        ", own int REFERENCES owner, n int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (id * 2) STORED, "
        "word text DEFAULT 'x' CHECK (word <> '') NOT NULL, PRIMARY KEY (at, id)"
    )
    database.sql(f"CREATE TABLE t (at timestamptz, id int{columns}) PARTITION BY RANGE (at)")
    partition(database, named(0), month(0), month(1), "t", "PARTITION BY HASH (id)")
    for rest in range(2):
        database.sql(
            f"CREATE TABLE {named(0)}_h{rest} PARTITION OF {named(0)} FOR VALUES WITH (MODULUS 2, REMAINDER {rest}) "
            "WITH (fillfactor = 60, toast.autovacuum_enabled = false)"
        )
    database.sql(
        SQL(
            "CREATE INDEX ON t (word); ALTER TABLE {0} REPLICA IDENTITY FULL; "
            "GRANT SELECT, INSERT ON {0} TO {1} WITH GRANT OPTION; GRANT UPDATE (word) ON {0} TO {1}; "
            "GRANT SELECT ON {2} TO PUBLIC; CREATE POLICY own ON {0} FOR SELECT TO {1}, PUBLIC USING (id > 5); "
            "CREATE POLICY write ON {0} AS RESTRICTIVE FOR INSERT TO {1} WITH CHECK (word <> 'y'); "
            "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        ).format(Identifier(f"{named(0)}_h0"), Identifier(role), Identifier(named(0)))
    )
    database.sql(SQL("ALTER DATABASE {} SET default_tablespace = pg_global").format(Identifier(database.name)))
    # Operators that are found before the server's own, where the role's path says so.
    database.sql(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.never(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false'; "
        "CREATE OPERATOR evil.> (FUNCTION = evil.never, LEFTARG = int, RIGHTARG = int)"
    )
    database.sql(SQL("ALTER DATABASE {} SET search_path = evil, pg_catalog, public").format(Identifier(database.name)))
    assert made(purge(database, premake=1)) == [named(1)]
    database.sql(SQL("ALTER DATABASE {} RESET ALL").format(Identifier(database.name)))
    assert database.sql(ALIKE, [named(1)] * 2) == database.sql(ALIKE, [named(0)] * 2)
    database.sql(
        "INSERT INTO owner VALUES (1); INSERT INTO t (at, id, own) SELECT %s, n, 1 FROM generate_series(1, 50) AS n",
        [month(1)],
    )
    database.sql(f"CREATE TABLE {named(2)}_h1 (id int)")
    assert made(purge(database, premake=2)) == [named(2)]
    assert f"{named(2)}_h1_2" in parts(database, named(2))
    assert database.value(f"SELECT count(*) FROM {named(1)}_h0 WHERE twice = 2 * id") > 0
    monthly(database, 0, 0, table="u")
    database.sql(f"ALTER TABLE {named(0, 'u')} SET UNLOGGED")
    assert made(purge(database, premake=1, table="u"), "public.u") == [named(1, "u")]
    assert database.value("SELECT relpersistence FROM pg_class WHERE relname = %s", [named(1, "u")]) == "u"


IDENTITY = """
SELECT c.relreplident::text, (
    SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true)) FROM pg_index AS i, generate_series(1, 2) AS n
    WHERE i.indrelid = c.oid AND i.indisreplident)
FROM pg_class AS c WHERE c.oid = %s::regclass
"""


@pytest.mark.parametrize("divided", [False, True])
def test_replica_identity(database: Database, divided: bool) -> None:
    """Without it the server refuses to change rows that are published, from the first moment of the new partition on."""
    database.sql(
        "SET client_min_messages = error;"
        'CREATE TABLE "T t" (at timestamptz NOT NULL, id int NOT NULL, n int) PARTITION BY RANGE (at);'
        'CREATE UNIQUE INDEX ON "T t" (at, n, id); CREATE UNIQUE INDEX key ON "T t" (id, at);'
        'CREATE PUBLICATION p FOR TABLE "T t"'
    )
    partition(database, named(0, "T t"), month(0), month(1), "T t", "PARTITION BY HASH (id)" if divided else "")
    leaf, next_one = (f"{named(number, 'T t')}{'_h' if divided else ''}" for number in (0, 1))
    if divided:
        database.sql(f'CREATE TABLE "{leaf}" PARTITION OF "{named(0, "T t")}" FOR VALUES WITH (MODULUS 1, REMAINDER 0)')
    database.sql(f'CREATE UNIQUE INDEX "only here" ON "{leaf}" (n, id); ALTER TABLE "{leaf}" ALTER n SET NOT NULL')
    index = database.value(
        "SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid "
        "WHERE indrelid = %s::regclass AND pg_get_indexdef(indexrelid) LIKE '%%(id, at)'", [f'"{leaf}"']
    )  # fmt: skip
    for how, becomes in (
        (f'USING INDEX "{index}"', ("i", ["id", "at"])),
        ('USING INDEX "only here"', ("f", None)),
        ("FULL", ("f", None)),
        ("NOTHING", ("n", None)),
        ("DEFAULT", ("d", None)),
    ):
        database.sql(f'ALTER TABLE "{leaf}" REPLICA IDENTITY {how}')
        assert made(purge(database, premake=1, table="T t"), 'public."T t"') == [f'"{named(1, "T t")}"'], how
        assert database.sql(IDENTITY, [f'"{next_one}"']) == [becomes], how
        if becomes[0] != "n" and becomes[0] != "d":
            database.sql('INSERT INTO "T t" VALUES (%s, 1, 1)', [month(1)])
            database.sql('UPDATE "T t" SET n = 2 WHERE id = 1')
        database.sql(f'DROP TABLE "{named(1, "T t")}"')


def test_rows_in_default_that_belong_into_it(database: Database) -> None:
    """Said with their number and the way out, which works; the others are created, and what has expired goes."""
    monthly(database, -4, 0, columns=", twice int GENERATED ALWAYS AS (2 * id) STORED, PRIMARY KEY (at, id)")
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    database.sql("INSERT INTO t SELECT %s, n FROM generate_series(1, 7) AS n", [month(1) + timedelta(days=3)])
    result = purge(database, partitions="drop", premake=2)
    assert outcomes(result) == {
        NEXT: "failed",
        f"public.{named(2)}": "done",
        f"public.{named(-4)}": "done",
        f"public.{named(-3)}": "done",
    }
    words = told(result, NEXT)["reason"]
    assert words.startswith("7 rows of the DEFAULT partition public.rest belong into it: BEGIN; ")
    assert told(result, NEXT)["numbers"]["rows_in_default"] == 7
    database.sql(words.partition(": ")[2])
    assert database.value(f"SELECT count(*) FROM {named(1)}") == 7
    assert database.value("SELECT count(*) FROM rest") == 0
    assert outcomes(purge(database, partitions="drop", premake=2)) == {}
