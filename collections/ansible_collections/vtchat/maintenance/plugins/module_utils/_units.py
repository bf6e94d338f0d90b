# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Numbers as people read them: counts, rows, bytes, durations, rates. Pure, independent of the locale."""

from __future__ import annotations

import math
import re

# Narrow no-break space: the separator of ISO 80000-1. Neither a comma nor a point, which mean different things in
# different countries, and no line is ever broken inside a number.
THIN = "\u202f"

_AGE = re.compile(r"^(\d+)\s*([smhdw]?)$")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST_AGE = 1000 * 365 * 86400  # seconds; a moment before the year 1 is no date for Python


def count(number: int) -> str:
    """A whole number with thin separators between groups of three digits."""
    return f"{number:,}".replace(",", THIN)


def rows(number: int) -> str:
    """A number of rows with its noun."""
    return f"{count(number)} row" if number == 1 else f"{count(number)} rows"


def size(number: int, signed: bool = False) -> str:
    """Bytes in binary units, one decimal below 100. signed: a difference, always with its sign."""
    sign = "-" if number < 0 else "+" if signed and number > 0 else ""
    value = float(abs(number))
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        # 1023.5 and not 1024: what would be rounded to "1024 KiB" is "1.0 MiB".
        if value < 1023.5:
            break
        value, unit = value / 1024, larger
    digits = 0 if unit == "B" or value >= 99.95 else 1
    return f"{sign}{value:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as a duration of at most two units. Empty when the number is not finite."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 0:
        return "-" + duration(-seconds)
    if round(seconds * 10) < 100:
        return _short(seconds)
    # Rounded to the smaller unit before it is split: 119.7 s are "2 min", never "1 min 60 s".
    if round(seconds) < 3600:
        return _split(round(seconds), 60, "min", "s")
    if round(seconds / 60) < 24 * 60:
        return _split(round(seconds / 60), 60, "h", "min")
    return _split(round(seconds / 3600), 24, "d", "h")


def _short(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    if milliseconds >= 1000:
        return f"{seconds:.1f} s"
    return "<1 ms" if seconds > 0 and milliseconds == 0 else f"{milliseconds} ms"


def _split(number: int, ratio: int, large: str, small: str) -> str:
    whole, rest = divmod(number, ratio)
    parts = [f"{count(whole)} {large}"] if whole else []
    if rest:
        parts.append(f"{rest} {small}")
    return " ".join(parts)


def rate(number: int, seconds: float) -> str:
    """Rows per second. Empty while no time has passed: there is no honest number yet."""
    return f"{count(round(number / seconds))} rows/s" if seconds > 0 else ""


def read_age(option: str, text: str, faults: list[str]) -> int:
    """An age as people write it, such as ``30d``, in seconds. What is wrong with it is added to ``faults``."""
    age = _AGE.match(text.strip())
    seconds = int(age[1]) * _SECONDS[age[2]] if age else 0
    if not age:
        faults.append(f"{option}: {text!r} is not an age: write seconds, or a number with s, m, h, d or w, such as 30d")
    if seconds > LONGEST_AGE:
        faults.append(f"{option}: {text!r} is more than a thousand years")
    return seconds
