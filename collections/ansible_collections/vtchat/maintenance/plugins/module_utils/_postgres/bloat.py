# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How large an index would be if it were built now: by measurement, by comparison with its own past, by statistics.

Bloat is the share of an index's bytes that a rebuild would win. It is reckoned against a freshly built index of the same
fillfactor and not against full pages, so a fresh one has none. Pure: no session, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EXACT = "exact"
BASELINE = "baseline"
ESTIMATE = "estimate"
# From the one that is believed most.
METHODS = (EXACT, BASELINE, ESTIMATE)

HIGH, MEDIUM, LOW = "high", "medium", "low"

# Page layout of a B-tree: src/include/storage/bufpage.h, itup.h, nbtree.h; how it is filled: nbtsort.c. Bytes.
PAGE_HEADER = 24
SPECIAL = 16
LINE_POINTER = 4
TUPLE_HEADER = 8
NULL_BITMAP = 8  # with its padding
ROW_ADDRESS = 6
ALIGNMENT = 8
ROUNDED_OFF = 0.5  # of an average width, on average
FILLFACTOR = 90  # percent of a page that a fresh B-tree fills; BTREE_DEFAULT_FILLFACTOR
INNER_FILLFACTOR = 70
META_PAGES = 1
EMPTY_PAGES = 10  # of an index without rows, of any type: a hash index has four buckets and their maps
# A posting list, which has one key and the addresses of all its rows, takes at most a tenth of a page when it is built.
POSTING_SHARE = 0.1
# Values longer than this have a header of four bytes, which is aligned. Longer keys may be compressed.
SHORT_VALUE = 126
WIDEST_KEY = 508

# Of rows that are estimated, the share that may have changed since without making the estimate worthless. It is
# autovacuum's own for ANALYZE (autovacuum_analyze_scale_factor), with its own base.
STALE_SHARE = 0.1
STALE_BASE = 50


@dataclass(frozen=True)
class Bloat:
    """What a rebuild would win, and how that is known.

    fresh       bytes that it would have if it were built now
    method      EXACT, BASELINE or ESTIMATE
    confidence  HIGH, MEDIUM or LOW
    """

    bytes: int
    fresh: int
    method: str
    confidence: str

    @property
    def gain(self) -> int:
        """Bytes that a rebuild would win."""
        return max(0, self.bytes - self.fresh)

    @property
    def share(self) -> float:
        """The same as a share of the index."""
        return self.gain / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class Column:
    """A column of an index, as it is stored there.

    width     average bytes of a value that is not NULL
    align     bytes that its beginning is a multiple of; 1 for short values of variable length
    fixed     whether all values have that width
    nulls     share of NULL among the rows, 0 to 1
    distinct  different values, as a share of the rows, 0 to 1
    """

    width: float
    align: int
    fixed: bool
    nulls: float = 0.0
    distinct: float = 1.0


def aligned(size: float, to: int) -> int:
    """The next multiple."""
    return math.ceil(size / to) * to


def tuple_size(columns: Sequence[Column]) -> float:
    """Average bytes of an entry without its line pointer.

    Statistics give average widths in whole bytes, rounded down. Values of variable length end anywhere, so the padding after
    them is half of the alignment on average, or what the average itself needs if that is more: rather too large a fresh index
    than one that cannot be reached.
    """
    whole = _one(columns, TUPLE_HEADER)
    complete = math.prod(1 - column.nulls for column in columns)
    if complete >= 1:
        return whole
    # With a NULL: a bitmap more, and of each column only the share of values that are there.
    present = [(1 - column.nulls) * column.width for column in columns]
    full = sum(column.width for column in columns)
    rest = (sum(present) - complete * full) / (1 - complete)
    with_null = aligned(TUPLE_HEADER + NULL_BITMAP + max(0.0, rest), ALIGNMENT)
    return complete * whole + (1 - complete) * with_null


def _one(columns: Sequence[Column], header: int) -> float:
    size = float(header)
    for column in columns:
        size = aligned(size, column.align) + column.width if column.align > 1 else size + column.width
    if all(column.fixed for column in columns):
        return aligned(size, ALIGNMENT)
    size += ROUNDED_OFF
    return max(aligned(size, ALIGNMENT), size + (ALIGNMENT - 1) / 2)


def btree_pages(rows: float, entry: float, fillfactor: int, page: int, posting: bool = False) -> int:
    """Pages of a B-tree that is built now over rows whose entries have so many bytes.

    posting: all keys are equal and stored once for as many rows as fit: the smallest that it can become.
    """
    usable = page - PAGE_HEADER - SPECIAL
    if posting:
        largest = page * POSTING_SHARE - LINE_POINTER
        rows /= max(1.0, (largest - entry) // ROW_ADDRESS)
        entry = largest
    leaves = _level(rows, entry, usable - page * (100 - fillfactor) // 100)
    pages, below = META_PAGES + leaves, leaves
    while below > 1:
        below = _level(below, entry, usable - page * (100 - INNER_FILLFACTOR) // 100)
        pages += below
    return pages


def _level(entries: float, entry: float, room: float) -> int:
    """Pages of one level; at least two entries fit onto a page of an inner one."""
    return max(1, math.ceil(entries / max(2, room // (entry + LINE_POINTER))))


def exact(size: int, leaves: int, inner: int, density: float, fillfactor: int, page: int) -> Bloat:
    """From what pgstatindex() counted: filled pages and how full they are on average, in percent.

    Empty and deleted pages are won; inner pages shrink with the leaves.
    """
    fresh_leaves = max(1, math.ceil(leaves * density / fillfactor)) if leaves else 1
    fresh_inner = math.ceil(inner * min(1.0, fresh_leaves / leaves)) if leaves else 0
    fresh = (META_PAGES + fresh_leaves + fresh_inner) * page
    return Bloat(size, min(size, fresh), EXACT, HIGH)


def baseline(size: int, rows: float, best: float, rebuilt: bool) -> Bloat:
    """From bytes per row against the fewest that it ever had. rebuilt: these are from just after a rebuild."""
    return Bloat(size, min(size, round(rows * best)), BASELINE, MEDIUM if rebuilt else LOW)


def estimate(size: int, rows: float, columns: Sequence[Column], fillfactor: int, page: int) -> Bloat:
    """From rows and average widths, for a B-tree that stores each entry by itself."""
    fresh = btree_pages(rows, tuple_size(columns), fillfactor, page) * page
    confidence = MEDIUM if all(column.fixed for column in columns) else LOW
    return Bloat(size, min(size, fresh), ESTIMATE, confidence)


def empty(size: int, page: int) -> Bloat:
    """Of an index without rows, whatever its type."""
    return Bloat(size, min(size, EMPTY_PAGES * page), ESTIMATE, MEDIUM)


def most(size: int, rows: float, columns: Sequence[Column], fillfactor: int, page: int) -> float:
    """The largest share that could be won by rebuilding a B-tree that may store equal keys once."""
    fresh = btree_pages(rows, tuple_size(columns), fillfactor, page, posting=True) * page
    return max(0.0, 1 - fresh / size) if size else 0.0


def repeats(columns: Sequence[Column]) -> bool:
    """Whether so many keys are equal that storing them once would make a difference.

    Of several columns no statistics say how many combinations there are: at least as many as values of the one that has most.
    NULL is a key like any other.
    """
    return max(column.distinct for column in columns) < 0.9


def stale(rows: float, changed: int) -> bool:
    """Whether so much has changed since the last ANALYZE that rows and widths say little."""
    return changed > STALE_BASE + STALE_SHARE * max(0.0, rows)
