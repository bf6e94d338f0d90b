# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Going through a table page by page, in ranges, each a transaction of its own."""

from __future__ import annotations

import time
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres.driver import sql
from ..._postgres.policy import ROW
from ..._postgres.sqlstates import QUERY_CANCELED
from .refused import Search, apart
from .statements import Batch, Refusal, where_they_are
from .sweep import begun
from .work import Late, Work

FIRST_RANGE = 1  # page: what a trigger does for each row may be slow
LARGEST_RANGE = 131_072  # pages: 1 GB
LAST_PAGE = 2**32 - 1  # MaxBlockNumber + 1
HELD = 0.1  # seconds to wait for a row that somebody has locked, before a range is done without such rows
RANGE_TRIES = 3  # of one range; then a smaller one is tried
SMALLER = 16  # times
MOST_IN_THE_WAY = 3  # pages one after the other: then somebody is in the way of all of it

PAGES = """
WITH RECURSIVE parts (oid) AS (
    SELECT {table}::pg_catalog.regclass::pg_catalog.oid
    UNION SELECT i.inhrelid FROM parts JOIN pg_catalog.pg_inherits AS i ON i.inhparent = parts.oid
)
SELECT coalesce(max(pg_catalog.pg_relation_size(oid)), 0) / pg_catalog.current_setting('block_size')::int AS pages,
       array_agg(pg_catalog.pg_relation_filenode(oid) ORDER BY oid) AS files
FROM parts
"""


def by_pages(work: Work, start: int) -> None:
    """Once through all pages, from ``start`` to the end and from the first to there. Raises Late, Contended, Refusal.

    Where it stops stands in ``work.state``, so that the next run goes on there. Pages that earlier runs of the same round have
    read come last: when time runs out among them the round is over, for otherwise a table that takes longer to read than a run
    may last would never be done.
    """
    known = _known(work)
    pages = int(known["pages"])
    start = start if start < pages else 0
    first = _first(work, start, pages)
    for begin, end in ((start, pages), (0, first)) if first <= start else ((start, first),):
        _through(work, begin, end, pages, {"first": first, **_since(work)})
    work.read_before = first != start
    try:
        for begin, end in ((first, start),) if first <= start else ((first, pages), (0, start)):
            _through(work, begin, end, pages, {})
    except Late:
        work.state = {"page": 0}
        return
    except SqlError as error:
        if not (error.sqlstate == QUERY_CANCELED and work.context.seconds_left() < 1):
            raise
        work.state = {"page": 0}
        return
    work.state, work.read_before = {"page": 0}, False
    # What writes the table anew (VACUUM FULL, CLUSTER) between two ranges moves rows to pages that were read already.
    work.held += _known(work)["files"] != known["files"]


def _first(work: Work, start: int, pages: int) -> int:
    """The page at which the round began that the last run has not finished; ``start`` where it begins now."""
    first = work.earlier.get("first")
    goes_on = _goes_on(work) and start == work.earlier.get("page") and isinstance(first, int) and 0 <= first < pages
    return first if goes_on and isinstance(first, int) else start


def _since(work: Work) -> dict[str, str]:
    """When the round began, where that is asked for: what has expired since in its first pages may still be there."""
    sweep = work.purge.sweep
    if not sweep:
        return {}
    since = work.earlier.get("since") if _goes_on(work) else None
    return {"since": since if isinstance(since, str) else str(sweep.state["swept"]), "of": sweep.state["of"]}


def _goes_on(work: Work) -> bool:
    """Whether the last run has left a round of the same conditions: one of others says nothing about the pages it has read."""
    sweep = work.purge.sweep
    return begun(work.earlier) and (not sweep or work.earlier.get("of") == sweep.state["of"])


def _through(work: Work, begin: int, end: int, pages: int, more: dict[str, Any]) -> None:
    """From one page to before another. more: what else the next run has to know."""
    size, in_the_way, search = FIRST_RANGE, 0, Search()
    page = begin
    while page < end:
        work.state = {"page": page, **more}
        work.in_time()
        until = min(page + work.step(size), end)
        work.behind = until
        # What has come to the last page since belongs to it as well.
        last = LAST_PAGE if until == pages else until
        try:
            took, done, again = _range(work, page, last)
        except Refusal as error:
            if not work.spares(error):
                page, size = _refused(work, search, error, (page, until, last), size)
            continue
        except Contended as error:
            work.in_the_way = error
            in_the_way = in_the_way + 1 if until == page + 1 else 0
            if in_the_way == MOST_IN_THE_WAY:
                raise
            # Somebody is in the way of rows that hang on those: fewer are tried, and a page that is left is none.
            work.held += 1
            page, size = (until, size) if in_the_way else (page, max(1, (until - page) // SMALLER))
            continue
        in_the_way = 0
        work.deleted(done, took)
        if again:
            size = max(1, size // 2)
            continue
        if until == page + size:
            size = work.next_size(size, took, 1, LARGEST_RANGE)
        size = search.passed(until - page, size)
        page = until


def _known(work: Work) -> dict[str, Any]:
    """How many pages the largest part has, and in which files all of them are."""
    table = sql.Literal(work.session.text(work.purge.table))
    return work.session.row(sql.SQL(PAGES).format(table=table))


def _refused(work: Work, search: Search, error: Refusal, pages: tuple[int, int, int], size: int) -> tuple[int, int]:
    """One of the rows of these pages cannot go: where to go on, and with how many pages. pages: first, end, and end of all."""
    first, until, last = pages
    if until > first + 1:
        return first, search.failed(until - first)
    apart(work, where_they_are(work.session, work.purge.unlocked(first, last)), error)
    search.ended()
    return until, size


def _range(work: Work, first: int, end: int) -> tuple[float, int, bool]:
    """One range of pages: the seconds that the server took, the rows that are gone, and whether the same range goes on.

    First without locking rows before they are deleted, which is twice as fast; where somebody holds rows, without those.
    """
    purge, picks = work.purge, work.keep is not None and work.keep.picks
    for attempt in range(RANGE_TRIES):
        work.limit(ROW if attempt or picks else HELD)
        try:
            if not attempt and not picks:
                return (*_optimistic(work, first, end), False)
            work.held += picks or attempt == 1
            row, took = work.send(purge.unlocked(first, end))
        except Contended as error:
            work.again(error, attempt, RANGE_TRIES)
        else:
            return took, int(row["gone"]), bool(row.get("again"))
    raise AssertionError("the last try returns or raises")


def _optimistic(work: Work, first: int, end: int) -> tuple[float, int]:
    delete = work.purge.within(first, end)
    if work.keep or work.purge.held or work.purge.itself or work.pace.due(time.monotonic()):
        row, took = work.send(Batch(None, delete))
        return took, int(row["gone"])
    began = time.monotonic()
    try:
        gone = work.session.execute(delete, users_path=True)
    except SqlError as error:
        raise work.meaning(error, time.monotonic() - began) from None
    return work.at_server(time.monotonic() - began), gone
