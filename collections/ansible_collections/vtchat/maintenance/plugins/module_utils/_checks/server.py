# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The server: who is connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._units import count
from . import Asked, Check, Sample, Thresholds

# What is kept for superusers and, from 16 on, for members of pg_use_reserved_connections is not for applications.
CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') AS used,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS available
"""


def _connections(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    return [
        Sample(
            asked.database,
            round(100 * row["used"] / max(1, row["available"])),
            f"{count(row['used'])} of {count(row['available'])} connections are in use",
            {"used": row["used"], "available": row["available"]},
        )
        for row in found
    ]


CHECKS = (
    Check(
        "connections",
        "sessions",
        "Connections in use",
        "percent",
        Thresholds(80, 95),
        "the mixin of postgres_exporter warns at 80 %",
        "When none is left, the application is refused, and so is whoever wants to look why.",
        "use a connection pooler, or raise max_connections",
        _connections,
        query=CONNECTIONS,
    ),
)
