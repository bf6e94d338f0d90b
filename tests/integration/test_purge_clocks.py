# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""purge by every clock that people use: numbers, identifiers and text, with a time to live of each row, by several conditions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import clocks, walks, work
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Condition
from tests.clock_kinds import INDEXED, LARGE
from tests.clocks import micros, ulid
from tests.runs import only, perform
from tests.servers import Database, Server


def purge(database: Database, check: bool = False, **options: Any) -> dict[str, Any]:
    return perform("purge", database.dsn, check, **{"table": "t", "column": "at", "history": False, **options})


def ids(database: Database) -> list[int]:
    return [number for (number,) in database.sql("SELECT id FROM t ORDER BY 1")]


def made(database: Database, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """A table t (id, at, ...) with these rows, numbered from 1, and an index on at."""
    database.sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, {columns})")
    for number, row in enumerate(rows, 1):
        places = ", ".join(["%s"] * len(row))
        database.sql(f"INSERT INTO t VALUES ({number}, {places})", row)
    database.sql("CREATE INDEX ON t (at)")


def ago(**time: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**time)  # now, and not when this file was read: that may be long ago


def uuid7(at: datetime) -> str:
    digits = f"{micros(at) // 1000:012x}"
    return f"{digits[:8]}-{digits[8:]}-7abc-8def-0123456789ab"


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Database]:
    """A database for tests that make their table anew."""
    place = server.create_database()
    place.sql(
        "CREATE DOMAIN stamp AS bigint CHECK (value >= -1); CREATE DOMAIN key AS uuid; CREATE DOMAIN said AS varchar(40)"
    )
    yield place
    place.close()


RANDOM, NIL = "019a0000-0000-4000-8000-000000000000", "00000000-0000-0000-0000-000000000000"
# What each column says, in the order: expired for a day, for an hour; not expired for an hour, for a day; never.
CLOCKS: dict[str, tuple[str, dict[str, Any], Callable[[datetime], Any], list[Any]]] = {
    "s": ("int", {"epoch": "s"}, lambda at: micros(at) // 10**6, [0, -1, 2147483647]),
    "ms": ("stamp", {"epoch": "ms"}, lambda at: micros(at) // 10**3, [0, -1, 9999999999, 2**63 - 1]),
    "us": ("bigint", {"epoch": "us"}, micros, [0, -5, 9999999999999, 2**63 - 1]),
    "numeric": ("numeric(20, 6)", {"epoch": "s"}, lambda at: f"{micros(at)}e-6", ["NaN", 0]),
    "double": ("double precision", {"epoch": "s"}, lambda at: micros(at) / 10**6, ["NaN", "Infinity", "-Infinity", 0.5]),
    "uuidv7": ("key", {"format": "uuidv7"}, uuid7, [RANDOM, NIL]),
    "uuidv7 as text": ("text", {"format": "uuidv7"}, lambda at: uuid7(at).upper(), ["", RANDOM.upper()]),
    "ulid": ('char(26) COLLATE "C"', {"format": "ulid"}, lambda at: ulid(micros(at) // 1000).lower(), ["", "0" * 26]),
    "ulid as uuid": ("uuid", {"format": "ulid"}, lambda at: uuid7(at).replace("-7", "-3"), [NIL]),
    "iso": ("said", {"format": "iso"}, lambda at: at.isoformat(), ["never", "", "2001-02-30T00:00:00Z"]),
    "iso there": ('text COLLATE "C"', {"format": "iso", "timezone": "Asia/Ho_Chi_Minh"},
                  lambda at: f"{at + timedelta(hours=7):%Y-%m-%d %H:%M}", ["today", "2001-02-30"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOCKS)
def test_what_has_expired_goes_and_nothing_else(shared: Database, name: str) -> None:
    column, options, write, never = CLOCKS[name]
    times = [ago(days=1), ago(hours=1), ago(hours=-1), ago(days=-1)]
    made(shared, f"at {column}", [*((write(at),) for at in times), *((value,) for value in never), (None,)])
    rest = list(range(3, len(times) + len(never) + 2))
    assert only(purge(shared, True, older_than="2h", **options))["rows"] == 1
    assert only(purge(shared, older_than="2h", **options))["rows"] == 1
    assert ids(shared) == [2, *rest]
    assert only(purge(shared, order="heap", **options))["rows"] == 1
    assert ids(shared) == rest
    assert only(purge(shared, **options))["outcome"] == "unchanged"
    assert only(purge(shared, null_means="always", **options))["rows"] == 1
    assert ids(shared) == rest[:-1]


def test_parts_of_a_table(shared: Database) -> None:
    shared.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, at bigint) PARTITION BY RANGE (at)")
    shared.sql(
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (MINVALUE) TO (1700000000); CREATE TABLE t2 PARTITION OF t DEFAULT"
    )
    shared.sql("INSERT INTO t VALUES (1, 0), (2, 1600000000), (3, 1710000000), (4, 4000000000)")
    assert only(purge(shared, epoch="s"))["rows"] == 2
    assert ids(shared) == [1, 4]


@pytest.mark.parametrize(
    ("life", "unit", "values", "gone"),
    [
        (
            "interval",
            "s",
            ["1 hour", "1 day", "1 month", "-1 day", "0", None, "1 mon -29 days", "178000000 years"],
            [1],
        ),
        ("int", "s", [3600, 86400, 2147483647, -1, 0, None], [1]),
        ("bigint", "ms", [3600_000, 86_400_000, 2**63 - 1, -1, 0, None], [1]),
        ("smallint", "m", [60, 1440, 32767, -1, 0, None], [1]),
        ("numeric", "h", [1, "1.5", "24", "NaN", "-0.5", "1e131070", None], [1, 2]),
        ("double precision", "d", [0.04, 1, "Infinity", "NaN", -1, None], [1]),
    ],
)
def test_time_to_live_of_each_row(shared: Database, life: str, unit: str, values: list[Any], gone: list[int]) -> None:
    """Each row was made two hours ago; infinity and NULL in the time itself stay as well."""
    rows = [(ago(hours=2), value) for value in values]
    made(shared, f"at timestamptz, life {life}", [*rows, (None, values[0]), ("infinity", values[0])])
    every = set(ids(shared))
    assert only(purge(shared, ttl_column="life", ttl_unit=unit))["rows"] == len(gone)
    assert ids(shared) == sorted(every - set(gone))
    shared.sql("UPDATE t SET life = %s WHERE id = %s", [values[0], 3])
    assert only(purge(shared, ttl_column="life", ttl_unit=unit, older_than="70m"))["outcome"] == "unchanged"
    assert only(purge(shared, ttl_column="life", ttl_unit=unit, older_than="50m"))["rows"] == 1


def test_time_to_live_from_any_clock(shared: Database) -> None:
    for name in ("ms", "uuidv7", "ulid", "iso"):
        column, options, write, never = CLOCKS[name]
        old = write(ago(hours=2))
        made(shared, f"at {column}, life int", [(old, 3600), (old, 10_000), *((value, 1) for value in never)])
        assert only(purge(shared, ttl_column="life", **options))["rows"] == 1, name
        assert ids(shared) == list(range(2, 3 + len(never)))


@pytest.mark.parametrize("column", ["bigint", "numeric", "double precision"])
def test_batches_go_on_at_the_latest_of_the_one_before(
    shared: Database, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """And not at the one that is the last as a text."""
    made(shared, f"at {column}", [(1_000_000_000 + number,) for number in range(-9, 10)])
    monkeypatch.setattr(walks, "FIRST_BATCH", 11)
    seen: list[int] = []
    real = walks.InOrder._went

    def went(self: walks.InOrder, row: dict[str, Any], took: float, asked: int) -> bool:
        seen.append(int(float(row["last"])) if row["last"] else 0)
        return real(self, row, took, asked)

    monkeypatch.setattr(walks.InOrder, "_went", went)
    assert only(purge(shared, epoch="s", order="index"))["rows"] == 19
    assert seen[:2] == [1_000_000_001, 1_000_000_009]


def test_conditions_of_one_table(shared: Database) -> None:
    made(
        shared,
        "at timestamptz, seen bigint, revoked text, kept bool DEFAULT false",
        [
            (ago(days=1), micros(ago(days=-1)) // 1000, None, False),
            (ago(days=-1), micros(ago(days=40)) // 1000, None, False),
            (ago(days=-1), 0, ago(hours=1).isoformat(), False),
            (ago(days=-1), 0, ago(hours=1).isoformat(), True),
            (ago(days=-1), micros(ago(days=1)) // 1000, "no", False),
            (None, 0, None, False),
        ],
    )
    conditions = [
        {"column": "at"},
        {"column": "seen", "epoch": "ms", "older_than": "30d"},
        {"column": "revoked", "format": "iso"},
    ]
    assert only(purge(shared, column=None, conditions=conditions, where="NOT kept"))["rows"] == 3
    assert ids(shared) == [4, 5, 6]


@pytest.mark.parametrize(
    ("column", "options"), [("timestamp", {}), ("text", {"format": "iso"}), ("timestamptz", {"ttl_column": "life"})]
)
def test_a_zone_that_is_none_is_noticed_before_the_first_row(
    shared: Database, column: str, options: dict[str, Any]
) -> None:
    made(shared, f"at {column}, life interval", [("2001-01-01T00:00:00Z", "1 day"), ("2002-01-01T00:00:00Z", "1 day")])
    result = purge(shared, timezone="Mars/Phobos", **options)
    assert result["failed"]
    assert "Mars/Phobos" in str(result)
    assert ids(shared) == [1, 2]


ZONED, LOCAL = "at AT TIME ZONE 'Asia/Ho_Chi_Minh'", "at AT TIME ZONE 'UTC'"


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize(
    ("column", "becomes", "zone"),
    [
        ("timestamptz", f"timestamp USING {ZONED}", "Pacific/Kiritimati"),
        ("timestamptz", f"date USING {ZONED}", "Pacific/Kiritimati"),
        ("timestamp", f"timestamptz USING {LOCAL}", "Pacific/Pago_Pago"),
        ("timestamp", f"date USING {LOCAL}", "UTC"),
    ],
)
def test_a_column_that_gets_another_type_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch, order: str, column: str, becomes: str, zone: str
) -> None:
    """What was declared is about the type that it had; the next run says what to declare."""
    database.sql(f"ALTER DATABASE {database.name} SET timezone = '{zone}'")
    made(database, f"at {column}, pad text", [])
    database.sql("ALTER TABLE t ALTER pad SET STORAGE PLAIN")
    at = "now()" if column == "timestamptz" else "now() AT TIME ZONE 'UTC'"
    rows = "generate_series(-40, 20) AS n WHERE n <> 0"
    database.sql(f"INSERT INTO t SELECT n, {at} + n * interval '30 minutes', repeat('x', 5000) FROM {rows}")
    monkeypatch.setattr(walks, "FIRST_BATCH", 10)
    real = work.Work.deleted

    def deleted(self: work.Work, number: int, took: float) -> None:
        real(self, number, took)
        if self.rows == number:
            database.sql(f"ALTER TABLE t ALTER at TYPE {becomes}")

    monkeypatch.setattr(work.Work, "deleted", deleted)
    options: dict[str, Any] = {"timezone": "UTC"} if column == "timestamp" else {}
    went = only(purge(database, order=order, **options))["rows"]
    assert 0 < went < 40
    assert ids(database) == [*range(went - 40, 0), *range(1, 21)]


# What cannot be


def test_abbreviations_that_are_ahead_in_winter(shared: Database) -> None:
    """All that the server has whose distance from UTC is that of a summer, the whole year."""
    fixed = (
        "SELECT abbrev FROM pg_timezone_abbrevs WHERE is_dst AND timezone(abbrev, '2026-01-15 12:00+00'::timestamptz) + "
        "interval '181 days' = timezone(abbrev, '2026-07-15 12:00+00'::timestamptz)"
    )
    made(shared, "at timestamp", [("2001-01-01",)])
    for (name,) in [*shared.sql(fixed), ("IST",), ("bst",)]:
        with pytest.raises(OptionError) as error:
            purge(shared, timezone=name)
        assert error.value.errors[0].startswith(f"timezone: '{name}' is an abbreviation")
    assert ids(shared) == [1]
    for name in ("CET", "EST", "Eire", "JST", "utc"):
        assert only(purge(shared, True, timezone=name))["rows"] == 1


@pytest.mark.parametrize(
    ("column", "options", "words"),
    [
        ("bigint", {}, ["is of type bigint", "epoch: s, ms or us"]),
        ("int", {}, ["is of type integer", "epoch: s"]),
        ("int", {"epoch": "ms"}, ["January 1970", "epoch: s"]),
        ("smallint", {"epoch": "s"}, ["32767"]),
        ("real", {"epoch": "s"}, ["two minutes"]),
        ("bigint", {"format": "iso"}, ["format is for text", "epoch: s, ms or us"]),
        ("bigint", {"epoch": "s", "timezone": "UTC"}, ["take timezone out"]),
        ("timestamptz", {"epoch": "s"}, ["by itself", "take epoch: s out"]),
        ("date", {"timezone": "UTC", "format": "iso"}, ["take format: iso out"]),
        ("timestamptz", {"timezone": "UTC"}, ["unambiguous", "take timezone out"]),
        ("timestamptz", {"timezone": "UTC", "ttl_column": "id"}, ["take timezone out"]),
        ("timestamp", {}, ["timezone: UTC"]),
        ("uuid", {}, ["format: uuidv7"]),
        ("uuid", {"format": "iso"}, ["iso is for text"]),
        ("uuid", {"epoch": "s"}, ["epoch: s is for numbers", "say format"]),
        ("text", {}, ["format: iso, uuidv7 or ulid"]),
        ("text", {"epoch": "s"}, ["epoch"]),
        ("interval", {}, ["is of type interval", "a timestamp, a date"]),
        ("bytea", {"format": "ulid"}, ["is for uuid and text"]),
        ("timestamptz", {"ttl_column": "life"}, ["no column life"]),
        ("timestamptz", {"ttl_column": "word"}, ["word is of type text", "an interval or a number"]),
    ],
)  # fmt: skip
def test_refused_before_anything_is_touched(
    shared: Database, column: str, options: dict[str, Any], words: list[str]
) -> None:
    shared.sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id int, at {column}, word text)")
    for check in (True, False):
        result = purge(shared, check, **options)
        assert (result["failed"], only(result)["outcome"]) == (True, "failed")
        for word in words:
            assert word in only(result)["reason"]


DECLARED = [("s", 10**6), ("ms", 10**3), ("us", 1)]


@pytest.mark.parametrize("declared", ["s", "ms", "us"])
@pytest.mark.parametrize(("stored", "scale"), [*DECLARED, ("ns", None)])
def test_unit_that_the_values_contradict(shared: Database, declared: str, stored: str, scale: int | None) -> None:
    """Nothing goes; the message shows a value, what it would be, and which declaration fits. Sentinels say nothing."""
    first = ago(days=400)
    times = [micros(first), *(micros(ago(days=days)) for days in (30, 1, -1))]
    values = [at // scale if scale else at * 1000 for at in times]
    never = [0, -1, 9999999999, 2147483647, 9999999999999, 2**63 - 1]
    made(shared, "at bigint", [(value,) for value in [*values, *(never * 8)]])
    result = purge(shared, epoch=declared)
    if stored == declared:
        assert only(result)["rows"] == 3
        return
    reason = only(result)["reason"]
    assert (result["failed"], len(ids(shared))) == (True, 52)
    assert str(min(values)) in reason
    assert f"{first:%Y-%m-%d %H:%M}" in reason
    assert ("cannot be declared" if stored == "ns" else f"say epoch: {stored}") in reason
    assert re.search(r"would be (the year \d{5,}|1970-01-\d\d)", reason)


@pytest.mark.parametrize("declared", ["s", "ms", "us"])
def test_numbers_that_are_no_times(shared: Database, declared: str) -> None:
    """Ids: no row would ever expire, and nobody would be told."""
    made(shared, "at bigint", [(value,) for value in (*range(1, 30), 0, -1, 2**63 - 1, None)])
    for check in (True, False):
        refused = only(purge(shared, check, epoch=declared))
        assert refused["outcome"] == "failed"
        assert "column at has values such as 1, and none in the sample that is a Unix time" in refused["reason"]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"format": "uuidv7"}, [uuid7(ago(days=1)), *(digit * 8 + f"-{digit * 4}" * 3 + f"-{digit * 12}" for digit in "0fF")]),
        ({"format": "ulid"}, ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "system"]),
        ({"format": "iso", "timezone": "UTC"}, ["2020-01-01", "never", "infinity"]),
    ],
)  # fmt: skip
def test_what_never_expires_may_be_all_that_is_left(
    shared: Database, options: dict[str, Any], values: list[str]
) -> None:
    """A second run finds nothing, and takes it for no wrong declaration."""
    for column in ("text", "uuid") if options["format"] == "uuidv7" else ("text",):
        made(shared, f"at {column}", [(value,) for value in [values[0], *(values[1:] * 20)]])
        assert only(purge(shared, **options))["rows"] == 1
        assert only(purge(shared, **options))["outcome"] == "unchanged"


@pytest.mark.parametrize(
    ("column", "options", "good", "rest"),
    [
        ("uuid", {"format": "uuidv7"}, "018c0000-0000-7000-8000-000000000000", RANDOM),
        ("text", {"format": "ulid"}, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "token-of-before-1"),
        ("text", {"format": "iso"}, "2020-01-01T00:00:00Z", "1 Jan 2020 10:00"),
    ],
)
def test_what_is_left_of_before_is_no_failure_once_it_has_worked(
    database: Database, column: str, options: dict[str, Any], good: str, rest: str
) -> None:
    made(database, f"at {column}, used timestamptz", [(rest, "infinity"), (rest, "infinity")])
    given: dict[str, Any] = {"history": True, **options}
    assert only(purge(database, **given))["outcome"] == "failed"
    database.sql("INSERT INTO t VALUES (3, %s)", [good])
    assert only(purge(database, older_than="20000d", **given))["outcome"] == "unchanged"
    database.sql("DELETE FROM t WHERE id = 3")
    for check in (False, True, False):
        result = purge(database, check, **given)
        (found,) = result["findings"]
        assert (only(result)["outcome"], result["status"]) == ("unchanged", "ok")
        assert (found["check"], found["level"], found["subject"]) == ("purge-values", "warning", "public.t")
        assert "has values such as" in found["message"]
        assert only(purge(database, column="used", history=True))["outcome"] == "unchanged"
    database.sql("INSERT INTO t VALUES (3, %s, '2020-01-01')", [good])
    assert only(purge(database, **given))["rows"] == 1
    database.sql("INSERT INTO t VALUES (4, NULL, '2020-01-01')")
    assert only(purge(database, column="used", history=True))["rows"] == 1
    assert only(purge(database, **given))["outcome"] == "unchanged"
    if options["format"] == "iso":
        database.sql("INSERT INTO t VALUES (5, '2020-01-01 10:00')")
        assert only(purge(database, **given))["outcome"] == "failed"
    assert ids(database)[:2] == [1, 2]


@pytest.mark.parametrize("order", ["index", "heap"])
def test_what_the_first_run_has_deleted_was_seen(database: Database, order: str) -> None:
    """The next one finds only values of before, and none was remembered but by the run that has deleted the others."""
    made(database, "at uuid", [(RANDOM,), ("018c0000-0000-7000-8000-000000000000",)])
    given: dict[str, Any] = {"format": "uuidv7", "order": order, "history": True}
    assert only(purge(database, **given))["rows"] == 1
    result = purge(database, **given)
    assert (only(result)["outcome"], [one["check"] for one in result["findings"]]) == ("unchanged", ["purge-values"])


@pytest.mark.parametrize("more", ["", "PARTITION BY RANGE (n)"])
def test_keys_of_a_new_kind_at_the_end(shared: Database, more: str) -> None:
    """Those of before, which have no time in them, stay; they do not forbid to purge the others."""
    shared.sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t (n int, at uuid, pad text) {more}")
    for number in range(4 if more else 0):
        shared.sql(
            f"CREATE TABLE t{number} PARTITION OF t FOR VALUES FROM ({number * 10000}) TO ({number * 10000 + 10000})"
        )
    shared.sql("INSERT INTO t SELECT n, gen_random_uuid(), repeat('x', 100) FROM generate_series(1, 30000) AS n")
    shared.sql(
        "INSERT INTO t SELECT n, %s, repeat('x', 100) FROM generate_series(30001, 35000) AS n", [uuid7(ago(days=1))]
    )
    assert only(purge(shared, format="uuidv7"))["rows"] == 5000


def test_the_first_keys_of_a_new_kind(shared: Database) -> None:
    """So few of so many that no sample would find them elsewhere than at the end."""
    shared.sql(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (at uuid); INSERT INTO t SELECT gen_random_uuid() FROM generate_series(1, 300000)"
    )
    shared.sql("CREATE INDEX ON t (at); INSERT INTO t VALUES (%s)", [uuid7(ago(days=1))])
    assert only(purge(shared, format="uuidv7"))["rows"] == 1


@pytest.mark.parametrize(
    ("unit", "first"),
    [
        ("s", 50_000_000),  # ids
        ("s", 817_000_000),  # counted from 2001
        ("ms", 817_000_000_000),
        ("us", 638_000_000_000_000_000),  # tenths of a microsecond, from the year 1
    ],
)
def test_numbers_that_are_no_times_of_ours(shared: Database, unit: str, first: int) -> None:
    """As Unix time most of them would have expired long ago."""
    made(shared, "at bigint", [(first + number,) for number in range(12)])
    refused = only(purge(shared, epoch=unit))
    assert (refused["outcome"], len(ids(shared))) == ("failed", 12)
    assert f"column at has values such as {first}, and none in the sample that is a Unix time" in refused["reason"]


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("s", []),
        ("s", [4_900_000_000 + number for number in range(20)]),  # in more than a hundred years
        ("s", [0, -1, 9999999999]),
        ("s", [253402300799] * 5),
        ("s", [1, 2, 3, 4]),
        ("s", [1764158400, 1764158400000]),
        ("ms", [2147483647, 4294967295, 9999999999, 0]),
        ("us", [2147483647, 9999999999999, 2**63 - 1]),
    ],
)
def test_nothing_to_doubt(shared: Database, unit: str, values: list[int]) -> None:
    made(shared, "at bigint", [(value,) for value in values])
    assert only(purge(shared, epoch=unit))["outcome"] in ("done", "unchanged")


@pytest.mark.parametrize(
    ("column", "options", "value", "words"),
    [
        ("uuid", {"format": "uuidv7"}, RANDOM, ["'019a0000...'", "version 4", "does not say when"]),
        ("uuid", {"format": "ulid"}, "c19a0000-0000-4000-8000-000000000000", ["'c19a0000...'", "as a ULID", "8715-06-30"]),
        ("text", {"format": "ulid"}, "a-very-secret-token", ["'a-very-s...'", "no ULID"]),
        ("text", {"format": "iso"}, "1764158400", ["'17641584...'", "ISO"]),
        ("text", {"format": "iso"}, "2001-01-01 10:00:00", ["'2001-01-01 10:00:00'", "timezone: UTC"]),
    ],
)  # fmt: skip
def test_values_that_are_something_else(
    shared: Database, column: str, options: dict[str, Any], value: str, words: list[str]
) -> None:
    """What it shows of a value is too little to use it."""
    made(shared, f"at {column}", [(value,), (value,), (None,)])
    result = purge(shared, **options)
    assert (result["failed"], ids(shared)) == (True, [1, 2, 3])
    for word in words:
        assert word in only(result)["reason"]
    assert "secret" not in str(result)


# Large tables


@pytest.fixture(scope="module")
def large(server: Server) -> Iterator[Database]:
    """60 000 rows, one a minute, the last 5 000 of which have not expired; of each clock a column with an index."""
    place = server.create_database()
    place.sql(LARGE)
    place.sql("VACUUM (FULL, ANALYZE) large")
    for column in INDEXED:
        place.sql(f"CREATE INDEX ON large ({column})")
    yield place
    place.close()


def known(place: Database, column: str) -> dict[str, clocks.Column]:
    """As the catalog says it."""
    [(kind, collation)] = place.sql(
        "SELECT format_type(atttypid, NULL), attcollation::regcollation::text FROM pg_attribute "
        "WHERE attrelid = 'large'::regclass AND attname = %s", [column],
    )  # fmt: skip
    return {column: clocks.Column(column, kind, sorts_by_bytes=collation != '"default"')}


def explained(place: Database, query: Any) -> dict[str, Any]:
    plan: dict[str, Any] = place.value(SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}").format(query))[0]["Plan"]
    return plan


@pytest.mark.parametrize("column", INDEXED)
def test_an_index_serves_where_it_is_said_to(large: Database, column: str) -> None:
    """All terms together read little of the table, and find all rows of some day."""
    condition = Condition(column, **INDEXED[column])
    found = []
    for term in clocks.terms(condition, known(large, column), ago(days=36)):
        assert term.served
        assert term.order is not None
        query = SQL("SELECT FROM large WHERE {} ORDER BY {} LIMIT 5000").format(term.expired, term.order)
        plan = explained(large, query)
        assert "Seq Scan" not in str(plan), column
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1000, column
        found.append(plan["Actual Rows"])
    assert 1700 <= sum(found) <= 3200  # 2.2 days, of dates less


PLAIN = "ALTER TABLE t ALTER pad SET STORAGE PLAIN"


def padded(database: Database, column: str, value: str) -> None:
    """A table of more than 8 MB of which three rows have expired."""
    database.sql(
        f"DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, at {column}, life int, pad text); {PLAIN}"
    )
    database.sql(
        f"INSERT INTO t SELECT n, {value}, CASE WHEN n <= 3 THEN 60 ELSE 999999 END, repeat('x', 7000) "
        "FROM generate_series(1, 1100) AS n; ANALYZE t"
    )


def test_index_for_text_in_another_order(shared: Database) -> None:
    """One on the column as it is does not sort by time; the failure names one that does, and that is used."""
    shared.sql("CREATE COLLATION other (provider = libc, locale = 'C.UTF-8')")
    padded(
        shared,
        "varchar(40) COLLATE other",
        "CASE WHEN n <= 3 THEN '2001-01-01T00:00:00Z' ELSE '2999-01-01T00:00:00Z' END",
    )
    shared.sql("CREATE INDEX ON t (at)")
    reason = only(purge(shared, format="iso"))["reason"]
    advice = re.search(r'CREATE INDEX CONCURRENTLY ON public.t \(at COLLATE "C"\)', reason)
    assert advice, reason
    shared.sql(advice[0])
    assert only(purge(shared, format="iso", max_rows=2))["rows"] == 2
    assert only(purge(shared, format="iso"))["rows"] == 1
    assert len(ids(shared)) == 1097


def test_no_index_for_a_time_to_live(shared: Database) -> None:
    padded(shared, "timestamptz", "now() - interval '1 hour'")
    shared.sql("CREATE INDEX ON t (at)")
    reason = only(purge(shared, ttl_column="life"))["reason"]
    assert "none can, with ttl_column: set require_index: false" in reason
    assert only(purge(shared, ttl_column="life", require_index=False))["rows"] == 3


@pytest.mark.parametrize("column", [name for name, how in INDEXED.items() if "epoch" in how or "format" in how])
def test_doubting_reads_a_few_pages(large: Database, column: str) -> None:
    pages = large.value("SELECT pg_relation_size('large') / current_setting('block_size')::int")
    query = clocks.doubt(Condition(column, **INDEXED[column]), known(large, column), Identifier("large"))
    assert query is not None
    plan = explained(large, query)
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 400 < pages / 2
