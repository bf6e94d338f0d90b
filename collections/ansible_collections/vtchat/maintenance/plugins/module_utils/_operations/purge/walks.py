# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Going through a table in batches, each a transaction of its own, until nothing more can go."""

from __future__ import annotations

from itertools import count
from typing import Any

from ..._errors import Contended
from ..._postgres.driver import sql
from ..._postgres.policy import BATCH_TRIES, ROW
from .pages import by_pages
from .statements import Purge
from .work import Work

PASSES = 3  # over the expired rows, for those that were updated while we looked
FIRST_BATCH = 1000  # rows
SMALLER = 8  # times, where somebody is in the way of a batch
MOST_IN_THE_WAY = 5  # rows one after the other: then somebody is in the way of all of it
NEXT = "SELECT value::pg_catalog.text AS last FROM ({pick}) AS picked"


def walk(work: Work, start: int) -> int:
    """Delete what has expired; how many expired rows are left. start: the page at which to begin. Raises Late, Contended."""
    left = _walked(work, start)
    if work.in_the_way and not work.rows:
        raise work.in_the_way
    return left


def _walked(work: Work, start: int) -> int:
    left = 0
    for number in count():
        before = work.rows
        if work.purge.heap and (number == 0 or not work.purge.served):
            by_pages(work, start if number == 0 else 0)
            if not work.held and not work.purge.triggers and not work.purge.held:
                return 0  # nothing can have kept a row, and to count those that are left costs as much as they did
        else:
            for term in work.purge.terms:
                in_order(work, work.purge.of(term))
        left = work.left()
        if work.full or work.rows == before or work.in_the_way:
            break
        # Rows to which others of the same table refer can go when those have gone, layer by layer.
        if not work.purge.held and (not left or number + 1 == PASSES):
            break
    return left


def in_order(work: Work, purge: Purge) -> None:
    """Once through the rows of one term, the oldest first. Raises Late, Contended."""
    last, strictly, size, in_the_way = None, False, FIRST_BATCH, 0
    while not work.full:
        work.in_time()
        try:
            row, took, size, asked = _ordered_batch(work, purge, size, last, strictly)
        except Contended as error:
            # Somebody is in the way of what hangs on this row: it is left, and the others go.
            in_the_way, work.in_the_way = in_the_way + 1, error
            last = _behind(work, purge, last, strictly) if in_the_way < MOST_IN_THE_WAY else None
            if last is None:
                raise
            work.held += 1
            strictly, size = True, 1
            continue
        in_the_way = 0
        work.deleted(row["gone"], took)
        if row.get("again"):
            # Rows that others hang on by the thousand: the fewer are locked meanwhile the better.
            size = max(1, size // 2)
            continue
        if row["picked"] == asked:
            size = work.next_size(size, took, 10, 50_000)
        if not row["picked"] or (row["last"] is None and not row["gone"]):
            return
        # A batch of which nothing could be deleted must not be picked again.
        last, strictly = row["last"], row["gone"] == 0


def _ordered_batch(
    work: Work, purge: Purge, size: int, last: str | None, strictly: bool
) -> tuple[dict[str, Any], float, int, int]:
    """One batch: its row, what it took, the size that succeeded, and how many rows it could have had. Raises Contended."""
    for attempt in range(BATCH_TRIES):
        asked = size if work.allowed is None else min(size, work.allowed)
        work.limit(ROW)
        try:
            row, took = work.send(purge.in_order(asked, last, strictly))
        except Contended as error:
            work.again(error, attempt, BATCH_TRIES if asked > 1 else 1)
            size = max(1, asked // SMALLER)
        else:
            return row, took, size, asked
    raise AssertionError("the last try returns or raises")


def _behind(work: Work, purge: Purge, last: str | None, strictly: bool) -> str | None:
    """The value of the next row, None where there is none or it has no order. Raises Contended: the table itself is locked."""
    pick = purge.in_order(1, last, strictly).pick
    rows = work.session.rows(sql.SQL(NEXT).format(pick=pick), users_path=True) if pick else []
    return rows[0]["last"] if rows else None
