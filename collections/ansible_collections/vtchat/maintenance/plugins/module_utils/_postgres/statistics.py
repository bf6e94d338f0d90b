# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""When the planner's statistics of a table are worth renewing, and when what was counted can be read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from .capabilities import FLUSHED_STATISTICS
from .server import Server

Found = TypeVar("Found")

BASE = 50  # rows: autovacuum_analyze_threshold of a server that nobody has configured
SCALE_FACTOR = 0.1  # likewise autovacuum_analyze_scale_factor


def analyze_threshold(table_rows: int, base: int = BASE, scale_factor: float = SCALE_FACTOR) -> int:
    """Changed rows that make it so: min(base + scale_factor * rows, sqrt(1000 * rows)), at least 1.

    The first term is autovacuum's own rule, the second lets large tables be analyzed earlier (with the defaults it is the
    smaller one above about 89 000 rows); Ola Hallengren's Maintenance Solution has both for SQL Server.
    """
    if table_rows <= 0:
        return 1
    own = math.ceil(round(base + scale_factor * table_rows, 6))
    return max(1, min(own, math.isqrt(1000 * table_rows - 1) + 1))


def when_counted(server: Server, read: Callable[[], Found], seen: Callable[[Found], bool]) -> Found:
    """What ``read`` gives when it shows what was done; at the latest after two seconds, what it gives then.

    Before 15 counters come from a collector, which may be half a second behind; from then on one look is enough.
    """
    for _again in range(0 if server.has(FLUSHED_STATISTICS) else 7):
        found = read()
        if seen(found):
            return found
        time.sleep(0.25)  # nothing tells when the collector has written
    return read()
