# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions that have expired go as a whole: which ones, and what keeps them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from tests.partitions import ALL, exists, month, monthly, named, outcomes, partition, parts, purge, told
from tests.runs import only
from tests.servers import Database
from tests.tables import today

pytestmark = pytest.mark.usefixtures("unhurried")
FALLS_BACK = datetime(2025, 11, 2, 6, 0, tzinfo=timezone.utc)  # 02:00 in New York, from then on 01:00 once more
SPRINGS_FORWARD = datetime(2026, 3, 8, 7, 0, tzinfo=timezone.utc)  # 02:00 in New York, from then on 03:00
ULIDS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ago(instant: datetime) -> str:
    """older_than for a cut-off at that instant, or a moment later."""
    return str(int((datetime.now(timezone.utc) - instant).total_seconds()))


def test_what_has_expired_goes_and_all_else_stays(database: Database) -> None:
    monthly(database)
    database.sql("ANALYZE t")
    planned_oids = [
        f"{part} of {table}"
        for part, table in database.sql("SELECT %s::regclass::oid, 't'::regclass::oid", [named(-4)])
    ]
    planned = purge(database, True, partitions="drop")
    assert outcomes(planned) == {f"public.{named(number)}": "planned" for number in (-4, -3)}
    assert len(parts(database)) == 5
    result = purge(database, partitions="drop")
    assert outcomes(result) == {f"public.{named(number)}": "done" for number in (-4, -3)}
    assert list(parts(database)) == [named(number) for number in (-2, -1, 0)]
    assert not exists(database, named(-4))
    assert not exists(database, named(-3))
    gone = told(result, f"public.{named(-4)}")
    assert gone["numbers"]["estimated_rows"] == 1
    assert gone["numbers"]["won_bytes"] == gone["numbers"]["bytes"] > 0
    assert f"'{month(-4):%Y-%m-%d}" in gone["numbers"]["bounds"]
    assert gone["statements"] == told(planned, gone["target"])["statements"]
    (oid,) = planned_oids
    assert gone["statements"] == [
        f"COMMENT ON TABLE public.{named(-4)} IS '[vtchat.maintenance: to be dropped, was partition {oid}]' "
        "-- after what its comment says now",
        f"ALTER TABLE public.t DETACH PARTITION public.{named(-4)} CONCURRENTLY",
        f"DROP TABLE public.{named(-4)}",
    ]
    again = purge(database, partitions="drop")
    assert (outcomes(again), again["changed"]) == ({}, False)
    assert told(again, "public.t")["outcome"] == "unchanged"


def test_detached_ones_are_tables_of_their_own(database: Database) -> None:
    monthly(database)
    database.sql(f"CREATE VIEW last_year AS SELECT * FROM {named(-4)}")  # keeps nothing from being detached
    result = purge(database, partitions="detach")
    assert outcomes(result) == {f"public.{named(number)}": "done" for number in (-4, -3)}
    assert database.value("SELECT count(*) FROM last_year") == 1
    assert "won_bytes" not in told(result, f"public.{named(-4)}")["numbers"]
    # They look like partitions, and are nobody's any more.
    assert outcomes(purge(database, partitions="drop")) == {}
    assert exists(database, named(-4))
    assert exists(database, named(-3))


def test_bounds_decide_and_never_names(database: Database) -> None:
    """A wide first partition stays until its upper bound has passed, and so does one without an upper bound."""
    database.sql("CREATE TABLE t (at timestamptz) PARTITION BY RANGE (at)")
    partition(database, "t_2001_01", None, month(-1))
    partition(database, "t_2099_01", month(-1), month(0))
    partition(database, "t_1999_01", month(0), "infinity")
    assert outcomes(purge(database, partitions="drop")) == {}
    assert outcomes(purge(database, partitions="drop", older_than=ago(month(-1)))) == {"public.t_2001_01": "done"}
    assert outcomes(purge(database, partitions="drop", older_than=ALL)) == {"public.t_2099_01": "done"}
    partition(database, "t_end", "infinity", None)
    assert outcomes(purge(database, partitions="drop", older_than=ALL)) == {}
    assert list(parts(database)) == ["t_1999_01", "t_end"]


def test_the_last_partition_stays(database: Database) -> None:
    monthly(database, -6, -5)
    result = purge(database, partitions="drop")
    assert outcomes(result) == {f"public.{named(-6)}": "done", f"public.{named(-5)}": "unchanged"}
    assert "last partition" in told(result, f"public.{named(-5)}")["reason"]
    result = purge(database, partitions="drop", premake=1)
    assert set(outcomes(result).values()) == {"done"}
    assert named(0) in parts(database)
    assert named(-5) not in parts(database)


def _ulid(instant: datetime) -> str:
    number = int(instant.timestamp() * 1000)
    return "".join(ULIDS[number >> shift & 31] for shift in range(45, -1, -5))


def _uuid(instant: datetime) -> str:
    return str(UUID(f"{int(instant.timestamp() * 1000):012x}70008000000000000000"))


KEYS: tuple[tuple[str, Callable[[datetime], Any], dict[str, Any]], ...] = (
    ("timestamptz(0)", lambda at: f"{at:%Y-%m-%d %H:%M:%S}+00", {}),
    ("timestamp", lambda at: at.replace(tzinfo=None), {"timezone": "UTC"}),
    ("date", lambda at: at.date(), {"timezone": "UTC"}),
    ("bigint", lambda at: int(at.timestamp()), {"epoch": "s"}),
    ("int", lambda at: int(at.timestamp()), {"epoch": "s"}),
    ("bigint", lambda at: int(at.timestamp() * 1000), {"epoch": "ms"}),
    ("bigint", lambda at: int(at.timestamp() * 1_000_000), {"epoch": "us"}),
    ("uuid", _uuid, {"format": "uuidv7"}),
    ('text COLLATE "C"', _ulid, {"format": "ulid"}),
)


def test_every_key(database: Database) -> None:
    """Four months, the first without a lower bound; created like them, dropped by their bounds, and a second run does nothing."""
    gone = [0, 1] if month(-1) <= datetime.now(timezone.utc) - timedelta(days=40) else [0]
    for number, (key, bound, options) in enumerate(KEYS):
        table = f"t{number}"
        database.sql(f"CREATE DOMAIN stamp{number} AS {key}")
        database.sql(f"CREATE TABLE {table} (id int, at stamp{number}) PARTITION BY RANGE (at)")
        for place in range(4):
            lower = None if place == 0 else bound(month(place - 3))
            partition(database, f"{table}_{place}", lower, bound(month(place - 2)), table)
        given = {"table": table, "partitions": "drop", "older_than": "40d", "premake": 2, **options}
        result = purge(database, **given)
        assert told(result, f"public.{table}")["outcome"] == "unchanged", result
        made = [f"{table}_p{month(one):%Y%m%d}" for one in (1, 2)]
        wanted = [*made, *(f"{table}_{one}" for one in gone)]
        assert outcomes(result, f"public.{table}") == dict.fromkeys([f"public.{name}" for name in wanted], "done")
        there = parts(database, table)
        assert list(there) == sorted({*made, *(f"{table}_{one}" for one in range(4) if one not in gone)})
        assert there[made[1]].count(str(bound(month(2)))) == 1
        assert outcomes(purge(database, **given), f"public.{table}") == {}


@pytest.mark.parametrize("change", [FALLS_BACK, SPRINGS_FORWARD])
def test_clocks_that_change(database: Database, change: datetime) -> None:
    """No partition goes while a time that is in it can mean an instant after the cut-off; and each goes a day later."""
    zone = "America/New_York"
    database.sql("CREATE TABLE t (at timestamp) PARTITION BY RANGE (at)")
    begin = datetime(change.year, change.month, change.day)
    edges = [begin + timedelta(minutes=30) * step for step in range(10)]
    for lower, upper in zip([None, *edges], edges):
        partition(database, f"t_{upper:%H%M}", lower, upper)
    partition(database, "t_rest", edges[-1], None)
    for minutes in range(-75, 76, 15):
        cutoff = change + timedelta(minutes=minutes)
        result = purge(database, True, partitions="drop", timezone=zone, older_than=ago(cutoff))
        told_cutoff = datetime.fromisoformat(told(result, "public.t")["numbers"]["cutoff"])
        gone = {target.removeprefix("public.") for target in outcomes(result)}
        for upper in edges:
            # The latest instant that a time before the bound can mean; the last one lies a moment before it.
            latest = database.value(
                "SELECT max((%s::timestamp - n * interval '1 minute' - interval '1 us') AT TIME ZONE %s) "
                "FROM generate_series(0, 180) AS n",
                [upper, zone],
            )
            if latest > told_cutoff:
                assert f"t_{upper:%H%M}" not in gone
    late = purge(database, True, partitions="drop", timezone=zone, older_than=ago(change + timedelta(days=1)))
    assert len(outcomes(late)) == len(edges)


def test_a_date_has_passed_when_its_day_has(database: Database) -> None:
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        database.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (at date) PARTITION BY RANGE (at)")
        now = today(database, zone)
        for number in range(-2, 2):
            partition(database, f"t_{number + 2}", now + timedelta(days=number), now + timedelta(days=number + 1))
        result = purge(database, partitions="drop", timezone=zone, older_than=ALL)
        assert outcomes(result) == {"public.t_0": "done", "public.t_1": "done"}


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("LIST (at)", {}, "partitioned by LIST"),
    ("HASH (at)", {}, "partitioned by HASH"),
    ("RANGE (at, id)", {}, "several columns"),
    ("RANGE (date_trunc('month', stamp))", {}, "expression"),
    ("RANGE (id)", {}, "partitioned by id and not by at"),
    ("RANGE (at)", {"column": "nothing"}, "there is no column"),
    ("RANGE (at)", {"timezone": "UTC"}, "take timezone out"),
    ("RANGE (at)", {"epoch": "s"}, "take epoch out"),
    ("RANGE (at)", {"format": "ulid"}, "take format out"),
    ("RANGE (stamp)", {"column": "stamp"}, "say in which zone"),
    ("RANGE (id)", {"column": "id"}, "epoch: s, ms or us"),
    ("RANGE (word)", {"column": "word", "format": "iso"}, "format: ulid"),
    ("RANGE (word)", {"column": "word", "format": "ulid"}, "does not sort by bytes"),
    ("RANGE (number)", {"column": "number"}, "is of type numeric"),
)


def test_refused(database: Database) -> None:
    """What says nothing of time, or not what is declared: each with the reason, and nothing is touched."""
    columns = "at timestamptz, id int, stamp timestamp, word text COLLATE unicode, number numeric"
    for number, (key, options, words) in enumerate(REFUSED):
        database.sql(f"CREATE TABLE t{number} ({columns}) PARTITION BY {key}")
        result = purge(database, partitions="drop", table=f"t{number}", **options)
        assert result["status"] == "failed", key
        assert words in told(result, f"public.t{number}")["reason"]


def test_a_table_that_is_not_partitioned(database: Database) -> None:
    database.sql("CREATE TABLE t (at timestamptz)")
    assert "is not partitioned: leave partitions out" in purge(database, partitions="drop")["msg"]


def test_another_unit_than_the_declared_one(database: Database) -> None:
    """Seconds declared as milliseconds are all in 1970: nothing goes. Milliseconds declared as seconds are far ahead."""
    for number, (epoch, factor) in enumerate([("ms", 1), ("us", 1), ("us", 1000), ("s", 1000), ("ms", 1_000_000)]):
        table = f"t{number}"
        database.sql(f"CREATE TABLE {table} (at bigint) PARTITION BY RANGE (at)")
        for place in range(-4, 1):
            lower, upper = (int(month(one).timestamp()) * factor for one in (place, place + 1))
            partition(database, f"{table}_{place + 4}", lower, upper, table)
        result = purge(database, table=table, partitions="drop", premake=1, epoch=epoch)
        assert result["status"] == "failed"
        assert "cannot be right" in told(result, f"public.{table}")["reason"]
        assert len(parts(database, table)) == 5


# Type, a tick before the upper bound, bounds around the cut-off, each after the last, and the options.
EDGES = "SELECT date_trunc('minute', now() - interval '60 days') + n * interval '7 minutes' FROM generate_series(-6, 6) AS n"
ROWS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("timestamptz", "upper - interval '1 us'", "at", {}),
    ("timestamp", "upper - interval '1 us'", "at AT TIME ZONE 'Asia/Ho_Chi_Minh'", {"timezone": "Asia/Ho_Chi_Minh"}),
    ("date", "upper - 1", "(at AT TIME ZONE 'UTC')::date + number", {"timezone": "UTC"}),
    ("bigint", "upper - 1", "extract(epoch FROM at)::bigint", {"epoch": "s"}),
    ("bigint", "upper - 1", "(extract(epoch FROM at) * 1000)::bigint", {"epoch": "ms"}),
)


def test_no_partition_goes_with_a_row_that_a_purge_by_rows_would_leave(database: Database) -> None:
    """The greatest value of each partition that goes has expired, and that of the first one that stays has not."""
    for number, (key, tick, bound, options) in enumerate(ROWS):
        table = f"t{number}"
        database.sql(f"CREATE TABLE {table} (at {key}) PARTITION BY RANGE (at)")
        edges = database.sql(
            f"SELECT {bound} FROM (SELECT at, row_number() OVER (ORDER BY at)::int - 7 AS number FROM ({EDGES}) AS e (at)) AS e"
        )
        for place, ((lower,), (upper,)) in enumerate(zip(edges, edges[1:])):
            partition(database, f"{table}_{place:02}", lower, upper, table)
            database.sql(f"INSERT INTO {table} SELECT {tick} FROM (SELECT %s::{key} AS upper) AS u", [upper])
        given = {"older_than": "60d", **options}
        gone = list(outcomes(purge(database, True, table=table, partitions="drop", **given), f"public.{table}"))
        last = len(gone)
        assert 1 < last < 11
        rows = [
            only(purge(database, True, table=f"{table}_{place:02}", **given))["rows"]
            for place in range(last - 2, last + 2)
        ]
        assert rows[:2] == [1, 1]
        assert not rows[3]  # a minute may pass between both


def test_below_another_partition(database: Database) -> None:
    """The table may be a partition itself, and the key may be called anything."""
    database.sql(
        'CREATE TABLE top (tenant int, "The Time" timestamptz, id int, PRIMARY KEY (tenant, "The Time", id)) '
        "PARTITION BY LIST (tenant)"
    )
    database.sql('CREATE TABLE t PARTITION OF top FOR VALUES IN (1) PARTITION BY RANGE ("The Time")')
    database.sql("CREATE TABLE others PARTITION OF top DEFAULT")
    for number in range(-4, 1):
        partition(database, named(number), month(number), month(number + 1))
    result = purge(database, column="The Time", partitions="drop", premake=1)
    assert outcomes(result) == {f"public.{named(number)}": "done" for number in (1, -4, -3)}
    assert told(result, f"public.{named(-3)}")["numbers"]["method"] == "concurrently"
    database.sql("INSERT INTO top VALUES (1, %s, 1)", [month(1)])
    assert database.value(f"SELECT count(*) FROM {named(1)}") == 1
