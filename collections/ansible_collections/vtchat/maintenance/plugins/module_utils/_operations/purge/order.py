# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""In which order a table is gone through: that of an index, or that of its pages."""

from __future__ import annotations

from dataclasses import dataclass

from ..._postgres.session import Session
from ..._units import rows
from .clocks import Term
from .options import AUTO, HEAP, INDEX, Options
from .statements import Purge

# Expired rows for each page of the table, from which on reading all pages once costs less than finding each row by an index:
# measured, an index touches a page for each row, and the rows of one page come one after the other only by chance.
MANY_ROWS = 2


@dataclass(frozen=True)
class Known:
    """What decides.

    served     whether indexes serve all terms, or the table is small
    small      whether it is small
    pages      of all parts
    analyzed   whether there are statistics of all of it; without them the estimate is a guess
    heap       whether all parts have the access method heap, whose pages can be gone through
    estimate   how many rows have expired, about; None where nobody asked
    index      what to index so that one serves, "" where none can
    """

    served: bool
    small: bool
    pages: int
    analyzed: bool
    heap: bool
    estimate: int | None
    index: str = ""


@dataclass(frozen=True)
class Way:
    """Page by page (heap) or by an index, and why. costly: each run would read the whole table for few rows."""

    heap: bool
    reason: str
    costly: bool = False


def served(session: Session, purge: Purge, term: Term, indexed: bool) -> bool:
    """Whether expired rows are found without reading all the table, for example through a partial index."""
    if term.served and indexed:
        return True
    return not any("Seq Scan" in row["QUERY PLAN"] for row in session.rows(purge.plan(term), users_path=True))


def asks(known: Known, options: Options) -> bool:
    """Whether it depends on how many rows have expired."""
    return options.order == AUTO and options.max_rows is None and known.heap and not (known.served and known.small)


def estimated(session: Session, purge: Purge) -> int:
    """How many rows have expired, as the planner sees it: by the statistics, and the ends of the indexes."""
    (row,) = session.rows(purge.estimate(), users_path=True)
    return int(row["QUERY PLAN"][0]["Plan"]["Plan Rows"])


def choose(known: Known, options: Options) -> Way:
    """The order, and why. Pure."""
    if options.order == HEAP:
        return Way(True, "page by page: order is heap")
    unserved = "no index serves" if not known.served else ""
    if options.order == INDEX:
        return Way(False, "by an index: order is index", costly=bool(unserved))
    if options.max_rows is not None:
        return Way(False, "the oldest first: max_rows is set", costly=bool(unserved))
    if not known.heap:
        return Way(False, "by an index: its access method is not heap", costly=bool(unserved))
    if known.estimate is not None and known.estimate >= MANY_ROWS * known.pages and (known.served or known.analyzed):
        return Way(True, f"page by page: about {rows(known.estimate)} in {known.pages} pages have expired")
    if unserved:
        return Way(True, "page by page: no index serves it", costly=not known.small)
    return Way(False, "by an index: it is small" if known.small else "by an index: few rows have expired")
