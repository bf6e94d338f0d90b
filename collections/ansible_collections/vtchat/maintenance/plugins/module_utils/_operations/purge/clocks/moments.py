# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Instants as people read them, also those that Python's datetime cannot hold."""

from __future__ import annotations

from datetime import datetime, timedelta

from .model import UNIX_EPOCH, microseconds

_YEAR = 31_556_952_000_000  # microseconds, of the Gregorian calendar's mean year
_FIRST, _LAST = (microseconds(bound.replace(tzinfo=UNIX_EPOCH.tzinfo)) for bound in (datetime.min, datetime.max))


def shown(instant: int) -> str:
    """Microseconds since 1970-01-01 UTC as a time of the day, or as a year where that is far away."""
    if _FIRST <= instant <= _LAST:
        moment = UNIX_EPOCH + timedelta(microseconds=instant)
        return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"
    return f"the year {1970 + instant // _YEAR}"


def beginning(text: str, length: int = 8) -> str:
    """The first characters of a value: enough to see what it is, not enough to use it where it is somebody's session."""
    return repr(text if len(text) <= length else f"{text[:length]}...")
