# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions to come: intervals, gaps, names and bounds. No database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import bounds, naming
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.bounds import Key
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.calendar import (
    DAY,
    Step,
    micros_of,
    moment_of,
    read_interval,
    tell,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions.premake import (
    MOST,
    wanted,
)

INFINITE = float("inf")
STEPS = st.one_of(
    st.sampled_from([1, 2, 3, 6, 12, 24]).map(lambda months: Step(months=months)),
    st.sampled_from([1, 7, 10, 30]).map(lambda days: Step(days=days)),
    st.sampled_from([900, 3600, 6 * 3600, 12 * 3600]).map(lambda seconds: Step(micros=seconds * 1_000_000)),
)
DAYS = st.integers(0, 30_000).map(lambda days: days * DAY)  # 1970 to 2052
MOMENTS = st.integers(0, 30_000 * DAY)


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    return micros_of(datetime(year, month, day, hour))


def chain(step: Step, start: int, count: int) -> list[tuple[Any, Any]]:
    return [(step.after(start, number), step.after(start, number + 1)) for number in range(count)]


@given(step=STEPS, now=MOMENTS, count=st.integers(1, 20), data=st.data())
def test_whatever_is_there_in_the_end_it_is_complete(step: Step, now: int, count: int, data: st.DataObject) -> None:
    """Never an overlap; now and ``count`` whole intervals after it are covered; and a second run finds nothing to do."""
    near = step.after(step.floor(now), data.draw(st.integers(-8, 8)))
    kept: list[bool] = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))
    there = [one for one, keep in zip(chain(step, near, 12), kept) if keep]
    if there and kept[0]:
        there[0] = (-INFINITE, there[0][1])
    found = wanted(there, now, -INFINITE, step, count)
    assert not found.faults
    everything = sorted([*there, *found.spans])
    assert all(one[1] <= following[0] for one, following in zip(everything, everything[1:]))
    begin = next(position for position, one in enumerate(everything) if one[0] <= now < one[1])
    ahead = everything[begin:]
    assert len(ahead) > count
    assert all(one[1] == following[0] for one, following in zip(ahead[: count + 1], ahead[1 : count + 1]))
    assert wanted(everything, now, -INFINITE, step, count).spans == []


@given(step=STEPS, start=DAYS, now=MOMENTS, since=MOMENTS)
def test_what_has_expired_is_not_missed(step: Step, start: int, now: int, since: int) -> None:
    found = wanted([(step.after(start, -1), start)], now, since, step, 1)
    assert all(one[1] > since or one[1] > now for one in found.spans)
    assert len(found.spans) <= MOST


@given(step=STEPS, year=st.integers(1971, 2100), count=st.integers(1, 3))
def test_interval_of_a_chain(step: Step, year: int, count: int) -> None:
    """Told so that it goes on as it began, whatever it is called."""
    ranges = chain(step, at(year, 1, 1), count + 6)
    found = tell(ranges[:count])
    assert found is not None
    if count > 1 or not step.days:
        assert [found.after(ranges[0][0], number) for number in range(5)] == [one[0] for one in ranges[:5]]


@pytest.mark.parametrize(
    ("ranges", "interval"),
    [
        ([(at(2026, 2, 1), at(2026, 3, 1))], Step(months=1)),
        ([(at(2026, 1, 1), at(2026, 2, 1)), (at(2026, 2, 1), at(2026, 2, 21))], None),
        ([(at(2026, 1, 5), at(2026, 1, 12)), (at(2026, 1, 12), at(2026, 1, 19))], Step(days=7)),
        ([(at(2026, 1, 1), at(2026, 1, 31))], Step(days=30)),
        ([(at(2026, 1, 15), at(2026, 2, 15)), (at(2026, 2, 15), at(2026, 3, 15))], Step(months=1)),
        ([(at(2020, 1, 1), at(2026, 1, 1)), (at(2026, 1, 1), at(2026, 2, 1))], Step(months=1)),  # a wide first one
        ([(at(2026, 1, 1), at(2026, 2, 1)), (at(2026, 2, 1), at(2030, 1, 1))], None),  # and a wide last one
        ([(at(2025, 12, 31, 23), at(2026, 1, 31, 23))], None),  # a month of another zone
        ([(at(2026, 1, 1, 6), at(2026, 1, 1, 12))], Step(micros=DAY // 4)),
        ([(0x0191 << 42, 0x01A3 << 42)], None),  # of ids, by their digits: it may be what is left of several
        ([(0x0190 << 42, 0x01A2 << 42), (0x01A2 << 42, 0x01B4 << 42)], Step(micros=0x12 << 42)),
        ([], None),
    ],
)
def test_interval(ranges: list[tuple[int, int]], interval: Step | None) -> None:
    assert tell(ranges) == interval


def test_a_wide_one_is_not_the_first_of_many() -> None:
    assert tell([(at(2020, 1, 1), at(2026, 1, 1)), (at(2026, 1, 1), at(2026, 2, 1))], whole=False) is None


@pytest.mark.parametrize(
    ("text", "step", "shown"),
    [
        ("1 month", Step(months=1), "1 month"),
        ("2 Weeks", Step(days=14), "2 weeks"),
        ("1quarter", Step(months=3), "3 months"),
        ("24 months", Step(months=24), "2 years"),
        (" 6 hours ", Step(micros=DAY // 4), "6 hours"),
        ("10 days", Step(days=10), "10 days"),
        ("0 days", None, ""),
        ("month", None, ""),
        ("-1 day", None, ""),
        ("1 month; DROP TABLE t", None, ""),
        ("9999 years", None, ""),
    ],
)
def test_option_interval(text: str, step: Step | None, shown: str) -> None:
    assert read_interval(text) == step
    assert step is None or step.text() == shown


def test_ends_of_months() -> None:
    """The day of the month that it began with, or the last one where that is missing; never drifting."""
    months = [moment_of(Step(months=1).after(at(2024, 1, 31), number)) for number in range(5)]
    assert [(one.month, one.day) for one in months] == [(1, 31), (2, 29), (3, 31), (4, 30), (5, 31)]
    assert moment_of(Step(months=12).after(at(2024, 2, 29))) == datetime(2025, 2, 28)
    for step in (Step(months=12), Step(days=400), Step(micros=400 * DAY)):
        with pytest.raises(OverflowError):
            step.after(at(9998, 12, 31), 2)


def test_where_nothing_fits() -> None:
    month = Step(months=1)
    no_end = wanted([(at(2026, 1, 1), INFINITE)], at(2026, 2, 1), -INFINITE, month, 3)
    assert (no_end.spans, len(no_end.faults)) == ([], 1)
    rest = wanted([(at(2026, 1, 1), at(2026, 2, 1)), (at(2026, 3, 1), INFINITE)], at(2026, 1, 5), -INFINITE, month, 2)
    assert (rest.spans, len(rest.faults)) == ([(at(2026, 2, 1), at(2026, 3, 1))], 1)
    assert (
        wanted(
            [(at(2026, 1, 1), at(2026, 2, 1)), (at(2026, 4, 1), INFINITE)], at(2026, 1, 5), -INFINITE, month, 2
        ).faults
        == []
    )
    odd = wanted(
        [(at(2026, 1, 1), at(2026, 2, 1)), (at(2026, 3, 15), at(2026, 4, 1))], at(2026, 1, 5), -INFINITE, month, 3
    )
    assert odd.spans == [(at(2026, 2, 1), at(2026, 3, 1)), (at(2026, 4, 1), at(2026, 5, 1))]
    assert "less than 1 month" in odd.faults[0]
    many = wanted([(at(1990, 1, 1), at(1990, 1, 2))], at(2026, 1, 1), -INFINITE, Step(days=1), 1)
    assert len(many.spans) == MOST
    assert "the next run goes on" in many.faults[0]


NAMES = (
    ("t_2026_01", "t_2026_02", "t_2026_12"),
    ("t_p20260101", "t_p20260201", "t_p20261201"),
    ("t_p2026_01_01", "t_p2026_02_01", "t_p2026_12_01"),
    ("t_y2026m01", "t_y2026m02", "t_y2026m12"),
    ("log_2026_202601", "log_2026_202602", "log_2026_202612"),
    ("t_20260101_000000", "t_20260201_000000", "t_20261201_000000"),
    ("2026-01 rows", "2026-02 rows", "2026-12 rows"),
    ("t_1767225600", "t_1769904000", "t_1796083200"),
)


@pytest.mark.parametrize(("first", "second", "december"), NAMES)
def test_names_go_on(first: str, second: str, december: str) -> None:
    numbers = {month: str(at(2026, month, 1) // 1_000_000) for month in (1, 2, 12)}
    known = [(first, at(2026, 1, 1), numbers[1]), (second, at(2026, 2, 1), numbers[2])]
    scheme = naming.follow(known, Step(months=1))
    assert scheme is not None
    assert scheme.name(at(2026, 12, 1), numbers[12]) == december


@pytest.mark.parametrize(
    ("names", "step"),
    [
        (["old", "new"], Step(months=1)),
        (["t_1", "t_2"], Step(months=1)),
        (["t_2026_01", "t_2026_01b"], Step(days=1)),
        (["t_2026", "t_2026x"], Step(months=1)),
        (["t_x2026_01", "t_2026_02"], Step(months=1)),
    ],
)
def test_names_that_follow_nothing(names: list[str], step: Step) -> None:
    """Or that would call several partitions the same."""
    known = [(name, step.after(at(2026, 1, 1), number), "") for number, name in enumerate(names)]
    assert naming.follow(known, step) is None


@given(table=st.text(min_size=1, max_size=63), moment=MOMENTS, step=STEPS, tries=st.integers(1, 12))
def test_plain_names(table: str, moment: int, step: Step, tries: int) -> None:
    """Never longer than the server allows, and never one that is taken."""
    scheme = naming.plain(table, step)
    taken: set[str] = set()
    for _number in range(tries):
        name = naming.free(scheme.name(moment, ""), taken)
        assert len(name.encode()) <= 63
        assert name not in taken
        taken.add(name)
    assert len({scheme.name(step.after(moment, number), "") for number in range(5)}) == 5


KEYS = (
    Key("at", "timestamp with time zone", bounds.INSTANT),
    Key("at", "bigint", bounds.INTEGER, unit=1000),
    Key("at", "uuid", bounds.UUID),
    Key("at", "text", bounds.ULID),
)


@given(key=st.sampled_from(KEYS[1:]), one=MOMENTS, two=MOMENTS)
def test_places_and_constants(key: Key, one: int, two: int) -> None:
    """A constant means the place that it was made of, to the millisecond; and constants sort as places do."""
    texts = [bounds.constant(key, place, None) for place in (one, two)]
    places = [bounds.place(key, text, False) for text in texts]
    assert places == [one // 1000 * 1000, two // 1000 * 1000]
    if key.kind != bounds.INTEGER:
        assert (texts[0] < texts[1]) == (one // 1000 < two // 1000)


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_bounds_are_read_as_they_are_written(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert bounds.read(f"FOR VALUES FROM ({quoted}) TO (MAXVALUE)") == bounds.Range(text, None)
    assert bounds.read(f"FOR VALUES FROM (MINVALUE) TO ({quoted})") == bounds.Range(None, text)
    assert bounds.read(f"FOR VALUES FROM ({quoted}, 1) TO (MAXVALUE, MAXVALUE)") is None


@pytest.mark.parametrize(
    ("kind", "text", "upper", "place"),
    [
        (bounds.INTEGER, "-5", True, -5),
        (bounds.INTEGER, None, True, INFINITE),
        (bounds.INTEGER, None, False, -INFINITE),
        (bounds.INTEGER, "1.5", True, None),
        (bounds.UUID, "018cc251-f400-7000-8000-000000000000", True, at(2024, 1, 1)),
        (bounds.UUID, "018CC251-f400-7000-8000-000000000000", True, None),
        (bounds.ULID, "01HK153X00", True, at(2024, 1, 1)),
        (bounds.ULID, "01HK153X0000000000000000ZZ", True, at(2024, 1, 1)),
        (bounds.ULID, "01HK", True, 1587 * 32**6 * 1000),  # as if zeros followed
        (bounds.ULID, "8", True, None),
        (bounds.ULID, "01hk", True, None),
        (bounds.ULID, "2024-01-01", True, None),
        (bounds.ULID, "", True, 0),
    ],
)
def test_places(kind: str, text: str | None, upper: bool, place: float | None) -> None:
    assert bounds.place(Key("at", "", kind), text, upper) == place


@pytest.mark.parametrize(
    ("kind", "text", "later"),
    [
        (bounds.INTEGER, "1704067200", False),
        (bounds.UUID, "018cc251-f400-0000-0000-000000000000", False),
        (bounds.UUID, "018cc251-f400-7000-8000-000000000000", False),  # no UUIDv7 of that millisecond is before it
        (bounds.UUID, "018cc251-f400-7000-8000-000000000001", True),
        (bounds.UUID, "018cc251-f400-f000-0000-000000000000", True),
        (bounds.ULID, "01HK153X00", False),
        (bounds.ULID, "01HK", False),
        (bounds.ULID, "01HK153X000000000000000000", False),
        (bounds.ULID, "01HK153X000000000000000001", True),
        (bounds.UUID, None, False),
    ],
)
def test_values_before_a_bound(kind: str, text: str | None, later: bool) -> None:
    """An id before a bound can be of the bound's own millisecond, which must be over as well."""
    assert bounds.last(Key("at", "", kind), text, 5000) == (6000 if later else 5000)


def test_constants_in_the_form_of_others() -> None:
    day = at(2024, 1, 1) + timedelta(hours=6) // timedelta(microseconds=1)
    assert bounds.constant(KEYS[0], day, None) == "2024-01-01 06:00:00+00"
    assert bounds.constant(Key("at", "date", bounds.DATE), at(999, 1, 1), None) == "0999-01-01"
    like = "018cc251-f400-7abc-8000-000000000001"
    assert bounds.constant(KEYS[2], at(2024, 1, 1), like) == like
    assert bounds.constant(KEYS[3], at(2024, 1, 1), "01HK153X00" + "7" * 16) == "01HK153X00" + "7" * 16
    with pytest.raises(OverflowError):
        bounds.constant(KEYS[3], -1, None)
