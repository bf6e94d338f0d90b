# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where one step further a row would go too early: clocks that change, the ends of what a type holds, and of a millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from psycopg2.sql import SQL

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import clocks
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.options import Condition
from tests.servers import Database, Server

NEW_YORK, APIA, ST_JOHNS = (
    {"timezone": "America/New_York"},
    {"timezone": "Pacific/Apia"},
    {"timezone": "America/St_Johns"},
)
UUID = {"format": "uuidv7"}
TURNS = [
    "00000000-1111-7000-8000-",
    "018fffff-1111-4000-8000-",
    "018fffff-1111-7000-0000-",
    "018fffff-1111-7000-c000-",
    "018fffff-1111-7000-e000-",
]
# Column, time to live, options, the cut-off; a value that has just expired, and those that have not.
Edge = tuple[str, str, dict[str, Any], str, str, list[str]]
EDGES: list[Edge] = [
    # A time that comes twice, one that never comes, and a day that ends twice.
    ("timestamp", "", NEW_YORK, "2025-11-02T05:45", "2025-11-02 00:59:59", ["2025-11-02 01:00", "2025-11-02 01:30"]),
    ("timestamp", "", NEW_YORK, "2026-03-08T07:10", "2026-03-08 02:05", ["2026-03-08 02:30", "2026-03-08 03:11"]),
    ("timestamp", "", APIA, "2011-12-30T10:30", "2011-12-29 23:59", ["2011-12-30 12:00", "2011-12-31 00:31"]),
    ("date", "", ST_JOHNS, "2006-10-29T02:30:30", "2006-10-27", ["2006-10-28", "2006-10-29"]),
    ("date", "", ST_JOHNS, "2006-10-29T03:30", "2006-10-28", ["2006-10-29"]),
    # Times without an instant.
    ("timestamp", "", {"timezone": "Asia/Ho_Chi_Minh"}, "2026-01-01", "4713-01-01 BC", ["294276-12-31 23:59:59.999999"]),
    ("timestamp", "1 day", NEW_YORK, "2026-01-01", "4713-01-01 BC", ["294276-12-31 23:59:59.999999", "infinity"]),
    ("date", "", NEW_YORK, "2026-01-01", "4713-01-01 BC", ["5874897-12-31", "infinity"]),
    ("timestamptz", "1 mon -29 days", {}, "2026-01-01", "4713-01-01 BC", ["294276-12-31 23:59:59+00", "infinity"]),
    # A day of 25 hours, and one of 23.
    ("timestamp", "24:00", NEW_YORK, "2025-11-02T17:00", "2025-11-01 12:00", ["2025-11-01 12:00:01"]),
    ("timestamptz", "24:00", NEW_YORK, "2026-03-08T17:00", "2026-03-07T17:00Z", ["2026-03-07T17:00:01Z"]),
    ("timestamptz", "1 day", NEW_YORK, "2025-11-02T17:00", "2025-11-01T16:00Z", ["2025-11-01T16:00:01Z"]),
    ("timestamptz", "1 month", {}, "2024-02-29T12:00", "2024-01-31T12:00Z", ["2024-01-31T12:00:01Z"]),
    # Variants that are not RFC 9562's, a time before 1971, and the ends of a millisecond.
    ("uuid", "", UUID, "2026-01-01", "018fffff-1111-7000-8000-123456789abc", [f"{turn}123456789abc" for turn in TURNS]),
    ("uuid", "", UUID, "1999-12-31T23:59:59.999", f"00dc6acf-abfe-7fff-bfff-{'f' * 12}", [f"00dc6acf-abff-7000-8000-{'0' * 12}"]),
]  # fmt: skip


TYPES = {"timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone"}


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Database]:
    """A database for tests that make their table anew."""
    place = server.create_database()
    yield place
    place.close()


@pytest.mark.parametrize("edge", EDGES)
def test_edges(shared: Database, edge: Edge) -> None:
    column, life, options, cutoff, gone, kept = edge
    shared.sql(f"DROP TABLE IF EXISTS t; CREATE TABLE t (value text, at {column}, life interval)")
    for value in (gone, *kept):
        shared.sql("INSERT INTO t VALUES (%s, %s, %s)", [value, value, life or None])
    columns = {"at": clocks.Column("at", TYPES.get(column, column)), "life": clocks.Column("life", "interval")}
    condition = Condition("at", ttl_column="life" if life else None, **options)
    (term,) = clocks.terms(condition, columns, datetime.fromisoformat(cutoff).replace(tzinfo=timezone.utc))
    assert shared.sql(SQL("SELECT value FROM t WHERE {}").format(term.expired)) == [(gone,)]
