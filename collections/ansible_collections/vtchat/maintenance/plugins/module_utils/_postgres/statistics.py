# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""When the planner's statistics of a table are worth renewing."""

from __future__ import annotations

import math

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
