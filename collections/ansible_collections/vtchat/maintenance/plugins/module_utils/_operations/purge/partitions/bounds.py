# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The real bounds of partitions, as the catalog has them: never their names.

A bound is printed by the server (pg_get_expr) as a constant and compared as a value of the key's type; only keys whose order
is that of plain numbers (integers, the first 48 bits of a UUIDv7 or a ULID) are compared here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

from .calendar import DAY, SECOND, moment_of

# A place on the key's clock in microseconds; infinite where a range has no end, or ends at infinity.
Place = Union[int, float]

_CONSTANT = r"MINVALUE|MAXVALUE|'(?:[^']|'')*'|-?\d+"
_RANGE = re.compile(rf"FOR VALUES FROM \(({_CONSTANT})\) TO \(({_CONSTANT})\)", re.DOTALL)
_INTEGER = re.compile(r"-?\d+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

INSTANT, ZONELESS, DATE, INTEGER, UUID, ULID = "instant", "zoneless", "date", "integer", "uuid", "ulid"
UNITS = {"s": SECOND, "ms": 1000, "us": 1}
MILLISECOND = 1000
MODERN = 1_000_000_000 * SECOND  # 2001-09-09: before it was nobody's first partition, if all of them are
PLAUSIBLE = 365 * DAY  # 1971: a number that means an earlier time is most likely in another unit than the declared one
# In the alphabet of Crockford's base 32; ten of its characters are the 48 bits of time in a ULID (github.com/ulid/spec).
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARACTERS = 10
LEAST_V7 = "70008000000000000000"  # of what stands after the time of a UUIDv7
_TIME_DIGITS = 12  # hexadecimal ones, of a UUIDv7: RFC 9562, section 5.7


@dataclass(frozen=True)
class Range:
    """Bounds as constants, the upper one exclusive. None: MINVALUE or MAXVALUE."""

    lower: str | None
    upper: str | None


@dataclass(frozen=True)
class Key:
    """The one column by which a table is partitioned, and what its values tell of time.

    type  as format_type() writes it; domains unfolded
    kind  INSTANT, ZONELESS, DATE, INTEGER, UUID or ULID
    unit  microseconds of 1, for integers
    zone  in which zone-less times were written
    """

    column: str
    type: str
    kind: str
    unit: int = 1
    zone: str | None = None

    @property
    def timely(self) -> bool:
        """Whether its values are times for the server, which compares them."""
        return self.kind in (INSTANT, ZONELESS, DATE)

    @property
    def zoneless(self) -> bool:
        """Whether places are on the clock of a zone, and not on that of UTC."""
        return self.kind in (ZONELESS, DATE)


def read(text: str) -> Range | None:
    """The range that pg_get_expr() prints of relpartbound, None where it is none of one column."""
    found = _RANGE.fullmatch(text)
    if not found:
        return None
    lower, upper = (_constant(part) for part in found.groups())
    return Range(lower, upper)


def _constant(text: str) -> str | None:
    if text in ("MINVALUE", "MAXVALUE"):
        return None
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def place(key: Key, text: str | None, upper: bool) -> Place | None:
    """Where a bound of an integer, UUID or ULID is; None where it says nothing of time."""
    if text is None:
        return float("inf") if upper else float("-inf")
    if key.kind == INTEGER:
        return int(text) * key.unit if _INTEGER.fullmatch(text) else None
    if key.kind == UUID:
        return int(text.replace("-", "")[:_TIME_DIGITS], 16) * MILLISECOND if _UUID.fullmatch(text) else None
    # Shorter ones are less than all that begin with them, as if zeros followed.
    digits = text[:_TIME_CHARACTERS].ljust(_TIME_CHARACTERS, "0")
    if any(digit not in _ALPHABET for digit in digits) or digits[0] > "7":
        return None
    number = 0
    for digit in digits:
        number = number * 32 + _ALPHABET.index(digit)
    return number * MILLISECOND


def last(key: Key, text: str | None, end: Place) -> Place:
    """When the latest value before an upper bound is over, for a key that has been read by place(): an id before the bound may
    still be of its millisecond where more than the time stands in it."""
    rest = "" if text is None else text[_TIME_CHARACTERS:] if key.kind == ULID else text.replace("-", "")[_TIME_DIGITS:]
    least = LEAST_V7 if key.kind == UUID else "0" * len(rest)
    return end + MILLISECOND if key.kind in (UUID, ULID) and rest > least else end


def text_of(at: int) -> str:
    """A place in the years 1 to 9999 as a date and time in ISO format, without a zone."""
    return moment_of(at).isoformat(" ")


def constant(key: Key, at: int, like: str | None) -> str:
    """A place as a constant of the key's type, in the form of another bound. Raises OverflowError where there is none."""
    if key.kind == INTEGER:
        return str(at // key.unit)
    if key.timely:
        text = text_of(at)
        return text + "+00" if key.kind == INSTANT else text[:10] if key.kind == DATE else text
    number = at // MILLISECOND
    if not 0 <= number < 2**48:
        raise OverflowError("beyond the time that an id has room for")
    if key.kind == UUID:
        rest = (like or "").replace("-", "")[_TIME_DIGITS:] or "0" * (32 - _TIME_DIGITS)
        digits = f"{number:012x}{rest}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    digits = "".join(_ALPHABET[number >> shift & 31] for shift in range(45, -1, -5))
    return digits + (like or "")[_TIME_CHARACTERS:]
