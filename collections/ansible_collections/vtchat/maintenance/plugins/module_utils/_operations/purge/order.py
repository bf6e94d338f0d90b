# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""In which order a table is gone through: that of an index, or that of its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._postgres.session import Session
from ..._units import rows
from .clocks import Term
from .options import AUTO, HEAP, INDEX, Options
from .statements import SAMPLE, Purge

# Expired rows for each page of the table, from which on reading all pages once costs less than finding each row by an index:
# measured, an index touches a page for each row, and the rows of one page come one after the other only by chance.
MANY_ROWS = 2


@dataclass(frozen=True)
class Known:
    """What decides.

    served     whether indexes serve all terms, or the table is small
    small      whether it is small
    pages      of all parts
    heap       whether all parts have the access method heap, whose pages can be gone through
    estimate   how many rows have expired, about; None where nobody asked
    index      what to index so that one serves, "" where none can
    begun      the last run has stopped in the middle of the pages
    """

    served: bool
    small: bool
    pages: int
    heap: bool
    estimate: int | None
    index: str = ""
    begun: bool = False


@dataclass(frozen=True)
class Way:
    """Page by page (heap) or by an index, and why. costly: what reads the whole table for few rows, "" where nothing does."""

    heap: bool
    reason: str
    costly: str = ""


def served(session: Session, purge: Purge, term: Term, parts: Sequence[Sequence[str]]) -> bool:
    """Whether expired rows are found without reading all the table, for example through a partial index.

    parts: schema and name of its parts. What a condition reads of other tables does not count.
    """
    if term.served:
        return True
    (row,) = session.rows(purge.plan(term), users_path=True)
    return _read_wholly(row["QUERY PLAN"][0]["Plan"]).isdisjoint(tuple(part) for part in parts)


def _read_wholly(plan: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Schema and name of the tables that a plan reads from one end to the other."""
    found = {(plan["Schema"], plan["Relation Name"])} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(_read_wholly(below) for below in plan.get("Plans", ())))


def asks(known: Known, options: Options) -> bool:
    """Whether it depends on how many rows have expired."""
    return options.order == AUTO and options.max_rows is None and known.heap and not (known.served and known.small)


def estimated(session: Session, purge: Purge, known: Known) -> int:
    """How many rows have expired, about.

    That few have and an index serves is what the planner knows from the statistics and the ends of the indexes. What would
    lead to reading the whole table, or to refusing that, is looked up in some of its pages: statistics may be missing, or
    older than the last purge.
    """
    if known.served:
        (row,) = session.rows(purge.estimate(), users_path=True)
        planned = int(row["QUERY PLAN"][0]["Plan"]["Plan Rows"])
        if planned < MANY_ROWS * known.pages:
            return planned
    percent = min(100.0, SAMPLE * 100 / max(known.pages, 1))
    return round(int(session.row(purge.sample(percent), users_path=True)["rows"]) * 100 / percent)


def choose(known: Known, options: Options) -> Way:
    """The order, and why. Pure."""
    if options.order == HEAP:
        return Way(True, "page by page: order is heap")
    each_batch = "" if known.served else "each batch would read the whole table"
    if options.order == INDEX:
        return Way(False, "the oldest first: order is index", each_batch)
    if options.max_rows is not None:
        return Way(False, "the oldest first: max_rows is set", each_batch)
    if not known.heap:
        return Way(False, "the oldest first: its access method is not heap", each_batch)
    if known.estimate is not None and known.estimate >= MANY_ROWS * known.pages:
        return Way(True, f"page by page: about {rows(known.estimate)} in {known.pages} pages have expired")
    if not known.served and known.begun:
        return Way(True, "page by page: the last run has not come to the end")
    if not known.served:
        return Way(True, "page by page: no index serves it", "each run would read the whole table for few rows")
    return Way(False, "the oldest first: it is small" if known.small else "by an index: few rows have expired")
