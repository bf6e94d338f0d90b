# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is stored, and whatever a session has set: no row goes before its time, and what has clearly expired goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import clocks
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Condition
from tests import clocks as model
from tests.clock_kinds import BASE, KINDS, ZONES, Kind
from tests.clocks import Instant
from tests.runs import perform
from tests.servers import Database, Server

# When clocks changed, and where.
CHANGES = [
    (datetime(2025, 11, 2, 6, tzinfo=timezone.utc), "America/New_York"),  # back
    (datetime(2026, 3, 8, 7, tzinfo=timezone.utc), "America/New_York"),  # forward
    (datetime(2011, 12, 30, 10, tzinfo=timezone.utc), "Pacific/Apia"),  # a day was left out
    (datetime(2006, 10, 29, 2, 31, tzinfo=timezone.utc), "America/St_Johns"),  # back over midnight
    (datetime(2024, 4, 6, 15, tzinfo=timezone.utc), "Australia/Lord_Howe"),  # back by half an hour
    (datetime(2024, 2, 29, 12, tzinfo=timezone.utc), "UTC"),
]
STEPS = [
    0,
    1,
    999,
    1000,
    999_999,
    10**6,
    900 * 10**6,
    3600 * 10**6,
    86_400 * 10**6,
    40 * 86_400 * 10**6,
    400 * 86_400 * 10**6,
]
YEARS = st.datetimes(datetime(1999, 1, 1), datetime(2036, 1, 1), timezones=st.just(timezone.utc))
# A cut-off, and the zone that has to do with it.
CUTOFFS = st.builds(
    lambda base, step: (base[0] + timedelta(microseconds=step), base[1]),
    st.sampled_from(CHANGES) | st.tuples(YEARS, st.sampled_from(ZONES)),
    st.sampled_from([0, 1, -1, 500_000, 1_800_000_000, -1_800_000_000, 30_000_000, -30_000_000]),
)
# Microseconds from the cut-off.
AROUND = st.builds(
    lambda step, sign, extra: sign * step + extra, st.sampled_from(STEPS), st.sampled_from([1, -1]), st.integers(-2, 2)
)
SETTINGS = st.fixed_dictionaries(
    {
        "TimeZone": st.sampled_from(ZONES),
        "DateStyle": st.sampled_from(["ISO, MDY", "SQL, DMY", "German", "Postgres, YMD"]),
        "IntervalStyle": st.sampled_from(["postgres", "sql_standard", "iso_8601"]),
        "search_path": st.sampled_from(["", "hostile, pg_catalog, public"]),
        "timezone_abbreviations": st.sampled_from(["Default", "Default", "India"]),
        "extra_float_digits": st.sampled_from(["0", "1"]),
        "bytea_output": st.sampled_from(["hex", "escape"]),
    }
)


@dataclass(frozen=True)
class Life:
    """A time to live as it is stored. span: what it is for the model."""

    text: str | None
    span: Any


def months(life: tuple[int, int, int]) -> Life:
    seconds, part = divmod(abs(life[2]), 10**6)
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{part:06}"
    return Life(f"{life[0]} months {life[1]} days {'-' if life[2] < 0 else '+'}{clock}", life)


NUMBERS = st.sampled_from(
    [None, "0", "-1", "1", "60", "3600", "86400", "0.5", "1e15", "99999999999999", "NaN", "1e131070"]
).map(lambda text: Life(text, text))
INTERVALS = st.one_of(
    st.just(Life(None, None)),
    st.builds(
        lambda *life: months(life),
        st.sampled_from([0, 0, 0, 1, -1, 13, 1200]),
        st.sampled_from([0, 0, 1, -1, 29, 30, 31, 400]),
        st.sampled_from([0, 1, -1, 3600 * 10**6, 7200 * 10**6, -86_400 * 10**6]),
    ),
    st.sampled_from(
        [(2147483647, 0, 0), (0, 2147483647, 0), (-2147483648, 2147483647, 0), (0, 0, 7 * 10**18), (0, -400_000, 0)]
    ).map(months),
)


@dataclass(frozen=True)
class Case:
    """A table, its rows, and what purge is told. lives: of each row, where there is a column for it."""

    kind: Kind
    life: str
    unit: str
    zone: str | None
    values: list[str | None]
    lives: list[Life]
    collation: str
    domain: bool
    null_means: str

    @property
    def condition(self) -> Condition:
        zone: dict[str, Any] = {"timezone": self.zone} if self.zone else {}
        given = {**self.kind.options, **zone, "null_means": self.null_means, "ttl_column": self.life and "life"}
        return Condition("at", ttl_unit=self.unit, **given)

    def end(self, number: int) -> Instant | None:
        """When a row expires, None where the model cannot tell."""
        value, life = self.values[number], self.lives[number]
        if value is None:
            return model.ALWAYS if self.null_means == "always" else model.NEVER
        start = self.kind.instant(value)
        if not self.life:
            return start
        if self.life == "interval":
            return model.after_interval(start, life.span, self.condition.timezone or "UTC")
        return model.after_number(start, life.span, self.unit)


@st.composite
def cases(draw: st.DrawFn, name: str, cutoff: int, zone: str) -> Case:
    zones = st.sampled_from([zone, zone, *ZONES])
    kind = KINDS[name](draw, zones)
    life = draw(st.sampled_from(["", "", "", "interval", "int", "numeric", "double precision", "real"]))
    known = AROUND.map(lambda step: kind.text(cutoff + step))
    values = draw(st.lists(st.one_of(known, known, st.sampled_from(kind.odd), st.none()), min_size=8, max_size=20))
    texts = kind.column.startswith(("text", "varchar", "char"))
    lived = {"": st.just(Life(None, None)), "interval": INTERVALS}.get(life, _numbers(life))
    return Case(
        kind=kind,
        life=life,
        unit=draw(st.sampled_from(["ms", "s", "m", "h", "d"])),
        zone=draw(zones) if life == "interval" and name not in ("zoneless", "dates", "iso") else None,
        values=values,
        lives=draw(st.lists(lived, min_size=len(values), max_size=len(values))),
        collation=draw(st.sampled_from(['"C"', "public.german", "public.alike"])) if texts else "",
        domain=draw(st.booleans()),
        null_means=draw(st.sampled_from(["never", "never", "always"])),
    )


def _numbers(life: str) -> st.SearchStrategy[Life]:
    """Those that a column of that type holds as they are."""
    if life == "int":
        return NUMBERS.filter(lambda one: one.text is None or (one.text.lstrip("-").isdigit() and len(one.text) < 10))
    beyond = {"real": ("99999999999999", "1e131070"), "double precision": ("1e131070",)}.get(life, ())
    return NUMBERS.filter(lambda one: one.text not in beyond)


# Operators and functions as the predicates would find them first, if they did not say which they mean.
HOSTILE = """
CREATE SCHEMA hostile;
DO $do$ DECLARE kind text; op text; BEGIN
    FOREACH kind IN ARRAY '{"timezone(text, timestamptz) RETURNS timestamp","timezone(text, timestamp) RETURNS timestamptz",
        "to_timestamp(float8) RETURNS timestamptz","substr(text, int, int) RETURNS text","length(text) RETURNS int",
        "upper(text) RETURNS text","translate(text, text, text) RETURNS text","strpos(text, text) RETURNS int",
        "uuid_send(uuid) RETURNS bytea","get_byte(bytea, int) RETURNS int","date_part(text, interval) RETURNS float8"}'::text[]
    LOOP
        EXECUTE format('CREATE FUNCTION hostile.%s LANGUAGE plpgsql AS $$ BEGIN RAISE ''hostile''; END $$', kind);
    END LOOP;
    FOREACH kind IN ARRAY '{timestamptz,timestamp,date,int4,int8,numeric,float8,uuid,text,bpchar,interval}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION hostile.fails(%1$s, %1$s) RETURNS bool LANGUAGE plpgsql AS
                       $$ BEGIN RAISE ''hostile''; END $$', kind);
        FOREACH op IN ARRAY '{<,<=,>,>=,=,<>,+,-,*,/,~,||}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR hostile.%1$s (FUNCTION = hostile.fails, LEFTARG = %2$s, RIGHTARG = %2$s)', op, kind);
        END LOOP;
    END LOOP;
END $do$;
"""
# Texts in an order of their own; some builds know none but libc's, and some hosts none but C.
LIBC = "CREATE COLLATION german (provider = libc, locale = 'C.UTF-8'); CREATE COLLATION alike FROM german"
ICU = """CREATE COLLATION german (provider = icu, locale = 'de');
CREATE COLLATION alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"""


@pytest.fixture(scope="module", params=["server", "postgres15"])
def place(request: pytest.FixtureRequest) -> Iterator[Database]:
    server: Server = request.getfixturevalue(request.param)
    made = server.create_database()
    made.sql(HOSTILE)
    # Of new sessions, such as that of a purge.
    made.sql(SQL("ALTER DATABASE {} SET search_path = hostile, pg_catalog, public").format(Identifier(made.name)))
    made.sql(ICU if made.value("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu')") else LIBC)
    yield made
    made.close()


def fill(place: Database, case: Case) -> None:
    """The table t (id, at, life) with its rows."""
    place.sql("RESET ALL; DROP TABLE IF EXISTS t; DROP DOMAIN IF EXISTS kept")
    column, collated = case.kind.column, f" COLLATE {case.collation}" if case.collation else ""
    if case.domain:
        place.sql(f"CREATE DOMAIN kept AS {column}{collated}")
        column, collated = "kept", ""
    place.sql(f"CREATE TABLE t (id int, at {column}{collated}, life {case.life or 'int'})")
    rows = [
        SQL("({}, {}, {})").format(Literal(number), Literal(value), Literal(life.text))
        for number, (value, life) in enumerate(zip(case.values, case.lives))
    ]
    place.sql(SQL("INSERT INTO t VALUES {}").format(SQL(", ").join(rows)))
    place.sql("CREATE INDEX ON t (at)")


def columns(case: Case) -> dict[str, clocks.Column]:
    """As the catalog says it."""
    types = {"at": case.kind.column.partition("(")[0], "life": case.life}
    return {
        name: clocks.Column(name, BASE.get(column, column), sorts_by_bytes=case.collation in ("", '"C"'))
        for name, column in types.items()
    }


SCANS = (
    "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_seqscan = on",
    "RESET enable_indexscan; SET enable_seqscan = off",
)


def expired(place: Database, terms: list[clocks.Term]) -> list[int]:
    """The rows of all terms: those that are found by reading all of them, and by the index, are the same."""
    seen: list[int] = []
    for term in terms:
        query = SQL("SELECT id FROM public.t WHERE {} ORDER BY id").format(term.expired)
        found = [[number for (number,) in place.sql(SQL("; ").join([SQL(scan), query]))] for scan in SCANS]
        assert found[0] == found[1]
        seen += found[0]
    return seen


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), when=CUTOFFS, session=SETTINGS)
def test_no_row_goes_early(
    place: Database, name: str, data: st.DataObject, when: tuple[datetime, str], session: dict[str, str]
) -> None:
    cutoff, zone = when
    moment = model.micros(cutoff)
    case = data.draw(cases(name, moment, zone))
    assert not clocks.fault(case.condition, columns(case))
    fill(place, case)
    each = [
        SQL("pg_catalog.set_config({}, {}, false)").format(Literal(name), Literal(to)) for name, to in session.items()
    ]
    place.sql(SQL("SELECT {}").format(SQL(", ").join(each)))
    gone = expired(place, clocks.terms(case.condition, columns(case), cutoff))
    assert len(gone) == len(set(gone)), "terms exclude each other"
    for number, value in enumerate(case.values):
        end, shown = case.end(number), (value, case.lives[number].text)
        if end is None:
            continue
        assert number not in gone or end <= moment + 1, (
            f"{shown} goes before its time"
        )  # 1: of a double, and of rounding
        assert number in gone or end + case.kind.late > moment, f"{shown} stays"
    doubted = clocks.doubt(case.condition, columns(case), Identifier("public", "t"))
    assert doubted is None or place.sql(doubted)


# Whole purges


@dataclass(frozen=True)
class Clock:
    """A column with its condition. older_than: seconds."""

    kind: Kind
    older_than: int
    null_means: str

    def condition(self, column: str) -> dict[str, Any]:
        return {
            "column": column,
            "older_than": str(self.older_than),
            "null_means": self.null_means,
            **self.kind.options,
        }

    def text(self, now: int) -> Callable[[int], str]:
        """Of microseconds from the cut-off: what is stored."""
        return lambda step: self.kind.text(now - self.older_than * 10**6 + step)

    def end(self, value: str | None) -> Instant:
        if value is None:
            return model.ALWAYS if self.null_means == "always" else model.NEVER
        return self.kind.instant(value) + self.older_than * 10**6


@st.composite
def schemas(draw: st.DrawFn, now: int) -> tuple[list[Clock], list[list[str | None]]]:
    """One to three clocks, and rows that are some minutes or more from expiring by each."""
    zones = st.sampled_from(ZONES)
    found = [
        Clock(
            KINDS[draw(st.sampled_from(sorted(KINDS)))](draw, zones),
            draw(st.sampled_from([0, 3600, 30 * 86_400])),
            draw(st.sampled_from(["never", "always"])),
        )
        for _number in range(draw(st.integers(1, 3)))
    ]
    steps = st.sampled_from([-400, -40, -3, 3, 40, 400]).map(lambda days: days * 86_400 * 10**6 + 3 * 3600 * 10**6)
    values = [st.one_of(steps.map(clock.text(now)), st.sampled_from(clock.kind.odd), st.none()) for clock in found]
    return found, draw(st.lists(st.tuples(*values).map(list), min_size=10, max_size=30))


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), order=st.sampled_from(["auto", "index", "heap"]), indexed=st.booleans())
def test_purges_of_random_tables(place: Database, data: st.DataObject, order: str, indexed: bool) -> None:
    now = model.micros(datetime.now(timezone.utc))
    found, rows = data.draw(schemas(now))
    place.sql("RESET ALL; DROP TABLE IF EXISTS public.t; SET search_path = public")
    columns = [f"c{number}" for number in range(len(found))]
    typed = ", ".join(f"{name} {clock.kind.column}" for name, clock in zip(columns, found))
    place.sql(f"CREATE TABLE t (id int, {typed})")
    for number, row in enumerate(rows):
        place.sql(f"INSERT INTO t VALUES (%s{', %s' * len(row)})", [number, *row])
    for name in columns if indexed else []:
        place.sql(f"CREATE INDEX ON t ({name})")
    conditions = [clock.condition(name) for name, clock in zip(columns, found)]
    result = perform("purge", place.dsn, table="t", conditions=conditions, order=order, history=False)
    left = {number for (number,) in place.sql("SELECT id FROM t")}
    if "has values such as" in str(result):  # most of them are odd ones
        assert len(left) == len(rows)
        return
    ends = {number: min(clock.end(value) for clock, value in zip(found, row)) for number, row in enumerate(rows)}
    assert left == {number for number, end in ends.items() if end > now}, result
