# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Checking one table or index: what the server says of it, and what of that means that it is corrupt."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from ..._errors import SqlError
from ..._postgres.driver import sql
from ..._postgres.policy import LIGHT, next_batch_size
from ..._postgres.session import Session
from ..._postgres.sqlstates import (
    CORRUPT,
    DATA_EXCEPTION,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    QUERY_CANCELED,
    UNDEFINED_FILE,
    UNDEFINED_TABLE,
)
from ..._result import DEFERRED, FAILED, INFO, UNCHANGED, Finding
from ..._units import count
from .. import Action, Context, Outcome
from .decide import CORRUPTION, Work, sickness
from .facts import Part
from .functions import HEAPAM

GONE = "was dropped or rebuilt meanwhile"
CANCELLED = "somebody has cancelled its check; it goes first next time"
# A library that a function needs may be missing as well, which says nothing about the index.
_DATA_FILE = re.compile(r'"(?:base|global|pg_tblspc|pg_xact|pg_multixact)/')
MOST_TOLD = 10  # problems of one table, of which there may be millions

# Pages of a table that are checked by one statement: so many at first, then so many as take about that long.
FIRST_PAGES, FEWEST_PAGES, MOST_PAGES = 1024, 64, 1 << 20
SECONDS = 2.0

# A table whose file is lost has no pages either, which only the check itself notices.
PAGES = """
WITH size AS MATERIALIZED (
    SELECT pg_catalog.pg_relation_size({oid}::oid) / current_setting('block_size')::bigint AS pages
), found AS MATERIALIZED (
    SELECT v.blkno, v.offnum, v.attnum, v.msg FROM size, LATERAL {call} AS v WHERE size.pages > {first} OR {first} = 0
)
SELECT size.pages, (SELECT count(*) FROM found) AS problems,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(f.blkno, f.offnum, f.attnum, f.msg)
                                  ORDER BY f.blkno, f.offnum, f.attnum), '[]')
        FROM (SELECT * FROM found ORDER BY blkno, offnum, attnum LIMIT {most}) AS f) AS told
FROM size
"""

THERE = "SELECT count(*) AS there FROM pg_catalog.pg_class WHERE oid = {oid}"


@dataclass
class Walk:
    """How far the check of a table is. problems: how many there are; told: the first of them."""

    page: int
    pages: int = 0
    problems: int = 0
    told: list[str] = field(default_factory=list)


def check(session: Session, action: Action[Work], context: Context) -> Outcome:
    """Raises SqlError about anything that does not mean corruption, and Contended."""
    session.set(lock_timeout=LIGHT)
    return _index(session, action, context) if action.payload.part.is_index else _table(session, action, context)


def _index(session: Session, action: Action[Work], context: Context) -> Outcome:
    work = action.payload
    query = sql.SQL("SELECT {}").format(work.call(_relation(work.part)))
    try:
        # Whatever the path is, functions of the user, such as those of an expression, are called under pg_catalog, pg_temp.
        session.execute(query)
    except SqlError as error:
        return _judge(session, work, error, context, Walk(0))
    return _well(work, work.now)


def _table(session: Session, action: Action[Work], context: Context) -> Outcome:
    """A part of its pages with each statement, so that the next run can go on where this one ends."""
    work = action.payload
    walk, size, began, shrunk = Walk(work.memory.block), FIRST_PAGES, time.monotonic(), False
    while True:
        started = time.monotonic()
        try:
            session.set(statement_timeout=max(1.0, context.seconds_left() // 1))
            if not _pages(session, work.part, walk, size, work):
                return Outcome(UNCHANGED, GONE)
        except SqlError as error:
            if error.sqlstate == INVALID_PARAMETER_VALUE and not shrunk:
                shrunk = True  # VACUUM has cut off its end since the statement looked
                continue
            return _judge(session, work, error, context, walk)
        if walk.page >= walk.pages:
            break
        took = time.monotonic() - started
        context.progress(action.target, f"page {count(walk.page)} of {count(walk.pages)}", time.monotonic() - began)
        if context.seconds_left() < took:
            return _ended(work, walk)
        size = next_batch_size(size, took, SECONDS, FEWEST_PAGES, MOST_PAGES)
    if walk.problems:
        return _ill(work, walk)
    outcome = _well(work, work.memory.began if work.memory.block else work.now)
    outcome.numbers["pages"] = walk.pages
    return outcome


def _pages(session: Session, part: Part, walk: Walk, size: int, work: Work) -> bool:
    """Check so many pages more; whether the table is still there."""
    last = sql.SQL("LEAST({}, size.pages) - 1").format(sql.Literal(walk.page + size))
    arguments = [_relation(part), sql.SQL("false"), sql.SQL("true"), sql.SQL("'none'::text"),
                 sql.SQL("{}::bigint").format(sql.Literal(walk.page)), sql.SQL("({})::bigint").format(last)]  # fmt: skip
    query = sql.SQL(PAGES).format(
        oid=sql.Literal(part.oid),
        call=work.amcheck.call(HEAPAM, arguments),
        first=sql.Literal(walk.page),
        most=sql.Literal(MOST_TOLD),
    )
    row = session.row(query)
    if row["pages"] is None:
        return False
    walk.page, walk.pages = min(walk.page + size, row["pages"]), row["pages"]
    walk.page = walk.pages if walk.page >= walk.pages else walk.page
    walk.problems += row["problems"]
    walk.told += [_told(*one) for one in row["told"]][: MOST_TOLD - len(walk.told)]
    return True


def _told(page: int, line: int | None, column: int | None, message: str) -> str:
    """One problem as one sentence."""
    where = [f"page {page}"]
    where += [f"line {line}"] if line is not None else []
    where += [f"column {column}"] if column is not None else []
    return f"{', '.join(where)}: {message}"


def _relation(part: Part) -> sql.Composed:
    """By its number: a name would have to be allowed to the role, and may be another one's by now."""
    return sql.SQL("{}::pg_catalog.oid::pg_catalog.regclass").format(sql.Literal(part.oid))


def _judge(session: Session, work: Work, error: SqlError, context: Context, walk: Walk) -> Outcome:
    """What an error means. Raises it again where it says nothing about the object."""
    state = error.sqlstate
    if state == QUERY_CANCELED:
        ended = not work.part.is_index and walk.page > work.memory.block
        if ended or walk.problems:
            return _ended(work, walk)
        if context.seconds_left() < 1:
            raise error
        return Outcome(DEFERRED, CANCELLED)
    if state in (INTERNAL_ERROR, UNDEFINED_TABLE, INVALID_PARAMETER_VALUE) and not _is_there(session, work.part):
        return Outcome(UNCHANGED, GONE)
    if not _means_corruption(error, work.part):
        raise error
    walk.problems += 1
    walk.told.append(str(error).rstrip("."))
    return _ill(work, walk)


def _means_corruption(error: SqlError, part: Part) -> bool:
    """Whether it says so itself, a file of the data is missing, or a comparison met with what is no value of its type."""
    if error.sqlstate in CORRUPT:
        return True
    if error.sqlstate == UNDEFINED_FILE:
        return bool(_DATA_FILE.search(str(error)))
    return (
        error.sqlstate.startswith(DATA_EXCEPTION) and not part.expressions and error.sqlstate != INVALID_PARAMETER_VALUE
    )


def _is_there(session: Session, part: Part) -> bool:
    return bool(session.row(sql.SQL(THERE).format(oid=sql.Literal(part.oid)))["there"])


def _well(work: Work, when: float) -> Outcome:
    """Nothing was found. What was ill before is told to be well."""
    outcome = Outcome(state=work.memory.well(work.depth, when).state())
    if work.memory.sick:
        outcome.reason = "it was corrupt when it was checked before, and is well now"
        found = Finding(CORRUPTION, work.part.target, INFO, outcome.reason, 0, 1, {"unit": "problems"})
        outcome.findings = (found,)
    return outcome


def _ill(work: Work, walk: Walk) -> Outcome:
    """It is corrupt: it fails, and with it the run."""
    first = walk.told[0]
    what = first if walk.problems == 1 else f"{count(walk.problems)} problems, the first on {first}"
    finding = sickness(work.part, what, "", walk.problems, tuple(walk.told))
    state = work.memory.ill(what, work.now).state()
    return Outcome(FAILED, f"{work.part.told} is corrupt: {what}", state=state, findings=(finding,),
                   numbers={"problems": walk.problems})  # fmt: skip


def _ended(work: Work, walk: Walk) -> Outcome:
    """The budget has ended. What was found until then counts all the same."""
    if walk.problems:
        return _ill(work, walk)
    began = work.memory.began if work.memory.block else work.now
    reason = f"{count(walk.page)} of {count(walk.pages)} pages are checked; the next run goes on there"
    numbers = {"page": walk.page, "pages": walk.pages}
    return Outcome(DEFERRED, reason, state=work.memory.halfway(walk.page, began).state(), numbers=numbers)
