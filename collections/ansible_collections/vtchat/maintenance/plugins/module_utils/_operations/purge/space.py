# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""After a large purge: the space that it leaves, and who can give it back. Nothing is ever rewritten unasked."""

from __future__ import annotations

from ..._errors import Contended, SqlError
from ..._postgres.capabilities import REPACK
from ..._postgres.server import Server
from ..._postgres.session import Session
from ..._result import INFO, Finding
from ..._units import size
from .statements import SAMPLE, Purge

LARGE_SHARE = 0.2  # of the rows: the next weeks fill what is less
LARGE_BYTES = 64 * 1024 * 1024
BLOCK = 8192  # bytes: where a block is larger or smaller, the sample has more or fewer pages

MEANING = "a purge makes room for new rows of the table; its file stays as large as it is"
VACUUM = (
    "VACUUM {table} makes it free for new rows (a step vacuum of a plan does it by itself), and gives back what is empty at the "
    "end of the file (truncate: true). To give back the rest the table is written anew: {repack}; VACUUM FULL locks it. "
    "Where as many rows come as go, leave it."
)


def look(session: Session, target: str, purge: Purge, deleted: int) -> Finding | None:
    """What left_behind() says, by the rows that are there now: statistics may be missing or old."""
    if left_behind(session.server, target, deleted, purge.tuples, purge.bytes) is None:
        return None
    percent = min(100.0, SAMPLE * 100 * BLOCK / purge.bytes)
    try:
        seen = session.row(purge.sample(percent, every=True), users_path=True)["rows"]
    except (Contended, SqlError):
        return None  # somebody has locked or dropped it
    return left_behind(session.server, target, deleted, deleted + round(seen * 100 / percent), purge.bytes)


def left_behind(server: Server, target: str, deleted: int, tuples: int, table_bytes: int) -> Finding | None:
    """The space that a purge leaves in a table, about, where it is much of it.

    deleted      rows that were deleted
    tuples       rows that it had before, 0 where that is not known
    table_bytes  its size before, indexes not counted
    """
    share = deleted / max(tuples, deleted, 1)
    free = round(share * table_bytes)
    if share < LARGE_SHARE or free < LARGE_BYTES:
        return None
    repack = f"pg_repack --table={target}"
    if server.has(REPACK):
        repack = f"REPACK (CONCURRENTLY) {target}, or {repack}"
    return Finding(
        "purged-space",
        target,
        INFO,
        f"about {size(free)} of {size(table_bytes)} will be free after the next VACUUM: {share:.0%} of its rows are gone",
        free,
        None,
        {"unit": "bytes", "table_bytes": table_bytes, "share": round(share, 2)},
        VACUUM.format(table=target, repack=repack),
        MEANING,
    )
