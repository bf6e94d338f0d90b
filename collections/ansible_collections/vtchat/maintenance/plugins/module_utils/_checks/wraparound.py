# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How far transaction IDs and multixacts are from running out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .._units import count
from . import Asked, Check, Sample, Thresholds

# Half and three quarters of the 2^31 that there are, as pgMonitor has them.
HALF = Thresholds(2**30, 3 * 2**29)
MEANING = "When they run out, the server refuses every write until everything has been frozen."
SOURCE = "half and three quarters of 2^31, as pgMonitor warns"

AGES = """
SELECT datname::text AS database, age(datfrozenxid)::bigint AS transactions, mxid_age(datminmxid)::bigint AS multixacts
FROM pg_catalog.pg_database WHERE datname = current_database()
"""


def _ages(what: str, found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    return [Sample(row["database"], row[what], f"its oldest row is {count(row[what])} {what} old") for row in found]


CHECKS = (
    Check(
        "freeze-age",
        "wraparound",
        "Age of the oldest transaction ID",
        "transactions",
        HALF,
        SOURCE,
        MEANING,
        "have autovacuum or the plan weekly freeze the oldest tables, and end what holds old rows back",
        partial(_ages, "transactions"),
        query=AGES,
    ),
    Check(
        "multixact-age",
        "wraparound",
        "Age of the oldest multixact",
        "multixacts",
        HALF,
        SOURCE,
        MEANING,
        "have autovacuum or the plan weekly freeze the oldest tables, and end what holds old rows back",
        partial(_ages, "multixacts"),
        of="freeze-age",
    ),
)
