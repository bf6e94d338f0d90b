# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When rows expire, worked out in Python from what is stored as text, without a look at how purge asks the server.

An instant is a number of microseconds since 1970-01-01 UTC, exactly. ``NEVER`` and ``ALWAYS`` are later and earlier than all.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

NEVER, ALWAYS = float("inf"), float("-inf")
Instant = Fraction | int | float
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 1_000_000
PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}  # microseconds
LIFE = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
YEAR = 365 * 86_400 * SECOND  # 1971-01-01
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def micros(instant: datetime) -> int:
    """A datetime with a zone as microseconds."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def later(wall: datetime, zone: str) -> Instant:
    """The later of the instants at which a clock there shows, or would show, that."""
    where = ZoneInfo(zone)
    try:
        return max(micros(wall.replace(tzinfo=where, fold=fold).astimezone(timezone.utc)) for fold in (0, 1))
    except OverflowError:  # beyond the years 1 to 9999
        return NEVER if wall.year > 1 else ALWAYS


def days_later(wall: datetime, days: float) -> datetime:
    """So much later, or the end of all datetimes."""
    try:
        return wall + timedelta(days=days)
    except OverflowError:
        return datetime.max


def of_timestamptz(text: str) -> Instant:
    """timestamptz, as written for this model: infinity, or YYYY-MM-DD HH:MM:SS.ffffff+00 with an optional BC."""
    wall = _wall(text.replace("+00", ""))
    return micros(wall.replace(tzinfo=timezone.utc)) if isinstance(wall, datetime) else wall


def of_timestamp(text: str, zone: str) -> Instant:
    """timestamp without time zone."""
    wall = _wall(text)
    return later(wall, zone) if isinstance(wall, datetime) else wall


def of_date(text: str, zone: str) -> Instant:
    """A date: when its day has ended there."""
    wall = _wall(text)
    return later(days_later(wall, 1), zone) if isinstance(wall, datetime) else wall


def _wall(text: str) -> datetime | float:
    if text.endswith("BC") or text == "-infinity":
        return ALWAYS
    if text == "infinity" or re.match(r"\d{5}", text):
        return NEVER
    return datetime.fromisoformat(text)


def of_number(text: str, unit: str, whole: bool) -> Instant:
    """Unix time. A whole number stands for all of its unit."""
    if text.strip("+-").lower() in ("nan", "infinity"):
        return NEVER
    value = Fraction(text)
    if value * PER_UNIT[unit] < YEAR:
        return NEVER
    return (value + (1 if whole else 0)) * PER_UNIT[unit]


def of_uuid7(text: str) -> Instant:
    """A UUID of version 7, in upper or lower case."""
    if not re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text, re.IGNORECASE):
        return NEVER
    return _milliseconds(int(text.replace("-", "")[:12], 16))


def of_ulid(text: str) -> Instant:
    """A ULID as text."""
    if len(text) != 26 or text[0] not in "01234567" or not set(text.upper()) <= set(CROCKFORD) or not text.isascii():
        return NEVER
    value = 0
    for letter in text[:10].upper():
        value = value * 32 + CROCKFORD.index(letter)
    return _milliseconds(value)


def ulid(milliseconds: int, rest: str = "0" * 16) -> str:
    """A ULID of that time."""
    digits = [CROCKFORD[milliseconds // 32**place % 32] for place in range(9, -1, -1)]
    return "".join(digits) + rest


def _milliseconds(value: int) -> Instant:
    return NEVER if value * 1000 < YEAR else (value + 1) * 1000


ISO = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})(?:[Tt ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?P<zone> ?(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2}|:\d{2}:\d{2})?))?)?",
    re.ASCII,
)


def of_iso(text: str, zone: str | None) -> Instant:
    """ISO text, exactly; without a zone in the one given."""
    found = ISO.fullmatch(text)
    if not found or (not zone and not found["zone"]):
        return NEVER
    try:
        day = datetime.fromisoformat(found["date"])
    except ValueError:
        return NEVER
    if not found["hour"]:
        return later(days_later(day, 1), zone or "")
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    part = Fraction(int((found["part"] or "0").ljust(9, "0")), 1000)
    at_midnight = hour == 24 and not minute and not second and not part
    if minute > 59 or second > 60 or (hour > 23 and not at_midnight):
        return NEVER
    wall = days_later(day, 0 if hour < 24 else 1) + timedelta(hours=hour % 24, minutes=minute)
    part += second * SECOND
    if not found["zone"]:
        return later(wall, zone or "") + part
    offset = _offset(found["zone"].strip())
    return NEVER if offset is None else micros(wall.replace(tzinfo=timezone.utc)) + part - offset * SECOND


def _offset(text: str) -> int | None:
    """Seconds that a zone's clocks are ahead."""
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[place : place + 2]) for place in (0, 2, 4))
    if hours > 15 or minutes > 59 or seconds > 59:
        return None
    return (hours * 3600 + minutes * 60 + seconds) * (-1 if text[0] == "-" else 1)


def after_number(start: Instant, text: str | None, unit: str) -> Instant:
    """When a time to live that is a number is over."""
    if text is None or text.strip("+-").lower() in ("nan", "infinity"):
        return NEVER
    life = Fraction(text) * LIFE[unit]
    return _begun(start) + life if life > 0 and Fraction(text) <= 10**15 else NEVER


def _begun(start: Instant) -> Instant:
    """What is earlier than the year 1 counts as its third day where something is added to it: all zones are in it by then."""
    return max(start, (2 * 86_400 - 62_135_596_800) * SECOND)


CYCLE = 730_485 * 86_400 * SECOND  # five times 400 years, after which the calendar is the same again


def after_interval(start: Instant, life: tuple[int, int, int] | None, zone: str) -> Instant | None:
    """When months, days and microseconds are over, by the clocks there: the later one where two ways of counting differ.

    None where it is hard to say: parts of different signs, from before the years that Python knows.
    """
    if life is None or start == NEVER:
        return NEVER
    begin = Fraction(_begun(start))
    ancient = CYCLE if begin < -30_000_000_000 * SECOND else 0
    if ancient and min(life) < 0 < max(life):
        return None
    try:
        wall = (EPOCH + timedelta(microseconds=int(begin) + ancient)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        days = _months(wall, life[0]) + timedelta(days=life[1])
        end = max(later(days + timedelta(microseconds=life[2]), zone), later(days, zone) + life[2]) - ancient
    except (OverflowError, ValueError):  # beyond the years 1 to 9999
        return NEVER
    return end if end > begin else NEVER


def _months(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return wall.replace(year=year, month=month + 1, day=min(wall.day, calendar.monthrange(year, month + 1)[1]))
