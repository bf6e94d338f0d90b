# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clocks that rows are kept by, as random schemas and values for tests of purge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests import clocks as model
from tests.clocks import Instant

ZONES = [
    "UTC",
    "Asia/Ho_Chi_Minh",
    "America/New_York",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Asia/Kathmandu",
]


@dataclass(frozen=True)
class Kind:
    """A clock as it is stored: of ``text`` a value that says about that instant, and what the model makes of it.

    late  microseconds for which an expired row may stay
    """

    column: str
    options: dict[str, Any]
    text: Callable[[int], str]
    odd: list[str]
    instant: Callable[[str], Instant]
    late: int = 0


def point(micros: int) -> datetime:
    return (model.EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None)


def local(micros: int, zone: str) -> datetime:
    return (model.EPOCH + timedelta(microseconds=micros)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


ODD_TIMES = [
    "infinity",
    "-infinity",
    "0001-01-01 00:00:00",
    "4713-01-01 00:00:00 BC",
    "294276-12-31 23:59:59.999999",
    "2024-02-29 00:00:00",
]
SENTINELS = ["0", "-1", "1", "9999999999", "2147483647", "-2147483648", "31535999", "31536000", "4102444800"]
BIG = [*SENTINELS, "9223372036854775807", "-9223372036854775808", "253402300799", "9999999999999", "-1764158400"]
BROKEN = ["NaN", "Infinity", "-Infinity", "0.5", "1e300", "-1e300", "1700000000.123456789"]
UUIDS = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "019a0000-0000-4000-8000-000000000000",
    "019a0000-0000-7000-0000-000000000000",
    "019a0000-0000-7000-c000-000000000000",
    "b4c8d3a0-7f1e-11ee-8c99-0242ac120002",
    "00000000-0001-7000-8000-000000000000",
    "00dc6a00-0000-4000-8000-000000000000",
    "00dc6a00-0000-7000-7000-000000000000",
    "00dc6a00-0000-7000-c000-000000000000",
    "0007577f-ffff-7000-8000-000000000000",
    "1ee7f1e0-b4c8-6d3a-8c99-0242ac120002",
]
GARBAGE = [
    "",
    " ",
    "x",
    "never",
    "today",
    "epoch",
    "now",
    "infinity",
    "2024",
    "1764158400",
    "\u0662\u0660\u0662\u0664-01-01",
    "'",
    "\\",
    "%s",
]
ISO_ODD = [
    *GARBAGE,
    "2023-02-29T00:00:00Z",
    "2024-02-30",
    "2024-04-31T00:00:00Z",
    "2024-13-01",
    "2024-00-10",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+15:59",
    "9999-12-31T23:59:60-15:59",
    "9999-12-31",
    "1900-02-29",
    "2000-02-29T23:59:60Z",
    "2024-02-29T24:00Z",
    "2024-02-29T24:00:00.000+05:30",
    "2024-02-29T24:00:01Z",
    "2024-02-29T23:60:00Z",
    "2024-02-29T23:59:61Z",
    "2024-02-29T10Z",
    "2024-02-29T10:00+16:00",
    "2024-02-29T10:00+7",
    "2024-02-29T10:00:00+070640",
    "2024-02-29T10:00:00+07:06:40",
    "2024-02-29T10:00:00+07:60",
    "2024-02-29T10:00:00 PST",
    "2024-02-29T10:00:00Z ",
    "2024-02-29T10:00:00Z[UTC]",
    "2024-02-29T10:00:00.1234567890Z",
    "2024-02-29T10:00:00.Z",
    "20240229T100000Z",
    "2024-W09-4",
    "2024-060",
    "2024-02-29\n",
    "2024-02-29T10:00:00Z\n",
    "-2024-02-29T10:00:00Z",
    "+12024-02-29T10:00:00Z",
    "02/29/2024",
    "Thu Feb 29 10:00:00 2024",
]


def zoned(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    return Kind(
        "timestamptz",
        {},
        lambda at: f"{point(at)}+00",
        [f"{odd[:-3]}+00 BC" if odd.endswith("BC") else odd if "inf" in odd else f"{odd}+00" for odd in ODD_TIMES],
        model.of_timestamptz,
    )


def zoneless(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    zone = draw(zones)
    return Kind(
        "timestamp",
        {"timezone": zone},
        lambda at: str(local(at, zone)),
        ODD_TIMES,
        partial(model.of_timestamp, zone=zone),
    )


def dates(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    zone = draw(zones)
    odd = ["infinity", "-infinity", "0001-01-01", "4713-01-01 BC", "294276-12-31", "5874897-12-31", "2024-02-29"]
    return Kind(
        "date", {"timezone": zone}, lambda at: str(local(at, zone).date()), odd, partial(model.of_date, zone=zone)
    )


def integers(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    column, unit = draw(st.sampled_from([("int", "s"), ("bigint", "s"), ("bigint", "ms"), ("bigint", "us")]))
    scale = model.PER_UNIT[unit]
    odd = SENTINELS if column == "int" else BIG
    odd = [text for text in odd if column == "bigint" or (abs(int(text)) <= 2147483648 and text != "2147483648")]
    return Kind(
        column,
        {"epoch": unit},
        lambda at: str(at // scale),
        odd,
        partial(model.of_number, unit=unit, whole=True),
        scale,
    )


def fractions(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    column, unit = draw(
        st.sampled_from(
            [("numeric", "s"), ("numeric(30,3)", "ms"), ("double precision", "s"), ("double precision", "ms")]
        )
    )
    scale = model.PER_UNIT[unit]
    odd = BIG + ([] if "(" in column else BROKEN)
    return Kind(
        column,
        {"epoch": unit},
        lambda at: str(at / scale) if "d" in column else f"{at / scale:.3f}",
        odd,
        partial(_number, column=column, unit=unit),
        1000,
    )


def _number(text: str, column: str, unit: str) -> Instant:
    """As the column keeps it."""
    if column == "double precision" and text not in BROKEN[:3]:
        text = repr(float(text))
    return model.of_number(text, unit, whole=False)


def uuids(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    column = draw(st.sampled_from(["uuid", "text", "varchar(36)", "char(36)"]))
    odd = UUIDS if column == "uuid" else [*UUIDS, *[text.upper() for text in UUIDS], *GARBAGE]
    case = draw(st.sampled_from([str.lower, str.upper]))
    return Kind(column, {"format": "uuidv7"}, lambda at: case(uuid7(at)), odd, model.of_uuid7, 1000)


def uuid7(at: int) -> str:
    digits = f"{max(0, at // 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7abc-8def-0123456789ab"


def ulids(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    column = draw(st.sampled_from(["text", "varchar(26)", "char(26)"]))
    case = draw(st.sampled_from([str.lower, str.upper]))
    odd = [
        *(text[:26] for text in GARBAGE),
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "8" * 26,
        "01" + "I" * 24,
        "01HU" + "0" * 22,
        "0" * 26,
        "01hZ" + "0" * 22,
    ]
    return Kind(column, {"format": "ulid"}, lambda at: case(model.ulid(max(0, at // 1000))), odd, model.of_ulid, 1000)


def iso(draw: st.DrawFn, zones: st.SearchStrategy[str]) -> Kind:
    zone = draw(st.none() | zones)
    column = draw(st.sampled_from(["text", "varchar", "char(40)"]))
    separator, offset = (
        draw(st.sampled_from("Tt ")),
        draw(st.sampled_from([0, 25_200, -43_200, 20_700, 57_540, 25_600])),
    )
    ends = draw(st.sampled_from(["zone", "basic", "none", "Z", " UTC", "day"]))
    digits = draw(st.integers(0, 9))

    def text(at: int) -> str:
        if ends == "day":
            return str(local(at, zone or "UTC").date())
        wall = (
            local(at, zone or "UTC")
            if ends == "none"
            else point(at + (offset * 10**6 if ends in ("zone", "basic") else 0))
        )
        part = f".{wall.microsecond:06}000"[: digits + 1] if digits else ""
        said = f"{wall:%Y-%m-%d}{separator}{wall:%H:%M:%S}{part}".replace(".", draw_comma)
        return said + {
            "zone": _shown(offset, ":"),
            "basic": _shown(offset - offset % 60, ""),
            "none": "",
            "day": "",
        }.get(ends, ends)

    draw_comma = draw(st.sampled_from(".,"))
    exact = partial(model.of_iso, zone=zone)
    return Kind(
        column,
        {"format": "iso", **({"timezone": zone} if zone else {})},
        text,
        ISO_ODD,
        lambda said: exact(said.rstrip(" ") if "char(" in column and "var" not in column else said),
        2 * 10**6,
    )


def _shown(offset: int, colon: str) -> str:
    hours, rest = divmod(abs(offset), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}{colon}{minutes:02}" + (
        f":{seconds:02}" if seconds and colon else ""
    )


KINDS: dict[str, Callable[[st.DrawFn, st.SearchStrategy[str]], Kind]] = {
    "zoned": zoned, "zoneless": zoneless, "dates": dates, "integers": integers, "fractions": fractions,
    "uuids": uuids, "ulids": ulids, "iso": iso,
}  # fmt: skip
# As format_type() says it.
BASE = {
    "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone", "int": "integer",
    "varchar": "character varying", "char": "character",
}  # fmt: skip

# A table of 60 000 rows, one a minute, whose columns say the same time in different ways; and the options for each.
LARGE = """
CREATE TABLE large AS SELECT n AS id, now() + (n - 55000) * interval '1 minute' AS zoned, repeat('x', 100) AS pad
FROM generate_series(1, 60000) AS n;
ALTER TABLE large ADD local timestamp, ADD day date, ADD s int, ADD ms bigint, ADD n numeric, ADD f float8, ADD u uuid,
    ADD ut text COLLATE "C", ADD lower char(26) COLLATE "C", ADD upper text COLLATE "C", ADD iso varchar COLLATE "C",
    ADD other text;
CREATE FUNCTION base32(ms bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', (ms >> (45 - 5 * d) & 31)::int + 1, 1), '' ORDER BY d)
    FROM generate_series(0, 9) AS d $$;
UPDATE large SET local = zoned AT TIME ZONE 'UTC', day = zoned, s = extract(epoch FROM zoned),
    ms = extract(epoch FROM zoned) * 1000, n = extract(epoch FROM zoned), f = extract(epoch FROM zoned);
UPDATE large SET iso = to_char(local, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), upper = base32(ms) || '0123456789ABCDEF',
    lower = lower(base32(ms)) || '0123456789abcdef', u = (lpad(to_hex(ms), 12, '0') || '70008000000000000000')::uuid;
UPDATE large SET ut = u::text, other = iso;
"""
INDEXED: dict[str, dict[str, Any]] = {
    "zoned": {}, "local": {"timezone": "UTC"}, "day": {"timezone": "UTC"}, "s": {"epoch": "s"}, "ms": {"epoch": "ms"},
    "n": {"epoch": "s"}, "f": {"epoch": "s"}, "u": {"format": "uuidv7"}, "ut": {"format": "uuidv7"}, "lower": {"format": "ulid"},
    "upper": {"format": "ulid"}, "iso": {"format": "iso"},
}  # fmt: skip
