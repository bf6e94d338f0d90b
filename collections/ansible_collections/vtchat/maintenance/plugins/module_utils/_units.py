# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Numbers as people read them: counts, rows, bytes, durations, rates. Pure, independent of the locale."""

from __future__ import annotations

import math

# Narrow no-break space: the separator of ISO 80000-1. Neither a comma nor a point, which mean different things in
# different countries, and no line is ever broken inside a number.
THIN = "\u202f"


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
    if 0 < seconds < 0.0005:
        return "<1 ms"
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms"
    if round(seconds * 10) < 100:
        return f"{seconds:.1f} s"
    # Rounded to the smaller unit before it is split: 119.7 s are "2 min", never "1 min 60 s".
    for small, name_small, name_large, ratio, limit in (
        (1, "s", "min", 60, 60),
        (60, "min", "h", 60, 24),
        (3600, "h", "d", 24, None),
    ):
        large, rest = divmod(round(seconds / small), ratio)
        if limit is None or large < limit:
            break
    parts = [f"{count(large)} {name_large}"] if large else []
    if rest or not large:
        parts.append(f"{rest} {name_small}")
    return " ".join(parts)


def rate(number: int, seconds: float) -> str:
    """Rows per second. Empty while no time has passed: there is no honest number yet."""
    return f"{count(round(number / seconds))} rows/s" if seconds > 0 else ""
