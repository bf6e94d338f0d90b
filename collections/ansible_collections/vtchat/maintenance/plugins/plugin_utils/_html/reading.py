# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What stands in a report, taken for granted by nobody: anything may be missing, None or of another kind. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

# Sizes and counters of PostgreSQL are 8 bytes; what is larger is no measurement.
LARGEST = 1e19


def section(value: Any, key: str) -> Mapping[str, Any]:
    """A part of a report; empty where there is none."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def entries(value: Any, key: str) -> list[Mapping[str, Any]]:
    """The entries of a list, without those that are none."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, (list, tuple)) else []


def text(value: Any, key: str, otherwise: str = "") -> str:
    """A text; a number as a text; otherwise for None and the empty text."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return otherwise if found is None or found == "" else str(found)


def number(value: Any, key: str) -> float | None:
    """A finite number; None where there is none."""
    return as_number(value.get(key) if isinstance(value, Mapping) else None)


def as_number(found: Any) -> float | None:
    """The same of a value that is at hand."""
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return found if math.isfinite(found) and abs(found) <= LARGEST else None


def whole(value: Any, key: str) -> int:
    """A whole number, 0 where there is none."""
    return round(number(value, key) or 0)


def texts(value: Any, key: str) -> list[str]:
    """The texts of a list, without those that are empty."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return [str(one) for one in found if one not in (None, "")] if isinstance(found, (list, tuple)) else []


def counts(value: Any, key: str) -> dict[str, int]:
    """How often each word occurs; words that do not occur are left out."""
    found = section(value, key)
    known = {str(word): round(as_number(times) or 0) for word, times in found.items()}
    return {word: times for word, times in known.items() if times > 0}


def pairs(value: Any, key: str) -> list[tuple[date, float | None]]:
    """Days and numbers, ascending, of a list of both."""
    found = value.get(key) if isinstance(value, Mapping) else None
    some = found if isinstance(found, (list, tuple)) else []
    both = [one for one in some if isinstance(one, (list, tuple)) and len(one) == 2]
    return sorted(((at, as_number(one[1])) for one in both if (at := day(one[0]))), key=lambda one: one[0])


def day(found: Any) -> date | None:
    """The day of "2026-11-25" or of a moment; None where it is neither."""
    try:
        return date.fromisoformat(str(found)[:10])
    except ValueError:
        return None
