# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How bloated indexes are: all by numbers that the catalog has, and only what seems due, or cannot be known, by measuring it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres import bloat, index_columns
from ..._postgres.bloat import BASELINE, ESTIMATE, EXACT, Bloat, Column
from ..._postgres.capabilities import PGSTATTUPLE
from ..._postgres.driver import sql
from ..._postgres.session import Session
from ..._units import count, rows, size
from . import queries
from .facts import BRIN, BTREE, GIN, Index
from .memory import MEASURED, REBUILT, Memory
from .options import AUTO, Limits, Options

CHUNK = 200  # indexes, and
CHUNK_BYTES = 1 << 30  # bytes that are measured in one statement
CHUNK_ID = Column(4.0, 4, True)  # of the two columns of the index of a TOAST table


@dataclass(frozen=True)
class Assessed:
    """An index with what is known about its size.

    bloat    None where there is no number; why: then, why there is none
    before   what a less certain method had said, where another one was asked because of that
    pending  bytes of the pending list, None where they are not known
    memory   what the history knows of it, with what was seen now; known: the same, before
    """

    index: Index
    limits: Limits
    bloat: Bloat | None = None
    why: str = ""
    before: Bloat | None = None
    pending: int | None = None
    memory: Memory = field(default_factory=Memory)
    known: Memory = field(default_factory=Memory)

    @property
    def due(self) -> bool:
        """Whether a rebuild would win enough."""
        return self.bloat is not None and is_due(self.bloat, self.limits)

    @property
    def news(self) -> dict[str, Any] | None:
        """What the history does not know yet."""
        return None if self.memory in (self.known, Memory(self.memory.file)) else self.memory.state()


def is_due(found: Bloat, limits: Limits) -> bool:
    """Whether a rebuild would win enough of it."""
    return found.share >= limits.bloat and found.gain >= limits.min_gain


def assess(
    session: Session,
    options: Options,
    state: dict[str, dict[str, Any]],
    indexes: Sequence[Index],
    seconds_left: Callable[[], float],
    *,
    refused: Callable[[Assessed], str] = lambda one: "",
    just_counted: bool = False,
) -> list[Assessed]:
    """All indexes, in their order. Raises SqlError, Contended.

    refused: why an index would not be rebuilt although it is due: then an estimate will do. just_counted: their tables were
    analyzed a moment ago.
    """
    known = [_known(index, options, state) for index in indexes]
    counted = [one for one in known if _looked_at(one, options)]
    plain = [one.index.oid for one in counted if _estimated(one) and not _rows_fault(one.index, just_counted)]
    columns = _columns(session, plain) if plain else {}
    found = {one.index.oid: _by_numbers(one, columns.get(one.index.oid, []), just_counted) for one in counted}
    exact = [one for one in found.values() if _is_measured(one, columns.get(one.index.oid, []), refused)]
    if exact:
        found.update(_measured(session, exact, seconds_left))
    pending = [
        one for one in found.values() if one.index.method == GIN and one.index.may_pending and one.index.pending_room
    ]
    if pending:
        found.update(_with_pending(session, pending))
    return [found.get(one.index.oid, one) for one in known]


def _known(index: Index, options: Options, state: dict[str, dict[str, Any]]) -> Assessed:
    value = state.get(index.target)
    memory = Memory.read(value, index.file)
    return Assessed(index, options.of(index.names), memory=memory, known=memory if value else Memory())


def _looked_at(one: Assessed, options: Options) -> bool:
    index = one.index
    usable = index.chosen and index.valid and index.bytes is not None and index.method != BRIN
    return usable and options.has_size(index)


def _estimated(one: Assessed) -> bool:
    """Whether the columns of an index are asked for."""
    index = one.index
    plain = index.method == BTREE and not (index.expressions or index.partial or index.toast)
    return plain and one.limits.method in (AUTO, ESTIMATE)


def _by_numbers(one: Assessed, columns: list[dict[str, Any]], just_counted: bool) -> Assessed:
    """By statistics or by its own past. Bytes per row are remembered where the rows are known."""
    index, memory, method = one.index, one.memory, one.limits.method
    why = _rows_fault(index, just_counted)
    if why:
        return replace(one, why=why)
    occupied, past = index.bytes or 0, memory.best
    one = replace(one, memory=memory.older() if not index.entries else memory.seen(occupied / index.entries).older())
    estimated, why = _estimate(index, columns) if method in (AUTO, ESTIMATE) else (None, "")
    if estimated and ESTIMATE in memory.doubted:
        estimated, why = None, "the last rebuild did not win what statistics had promised, so they are not believed"
    compared = None
    if past is not None and index.entries and method in (AUTO, BASELINE):
        compared = bloat.baseline(occupied, index.entries, past, memory.basis in (REBUILT, MEASURED))
        if BASELINE in memory.doubted:
            compared, why = None, why or "the last rebuild did not win what its past had promised"
    if method == BASELINE and compared is None:
        why = why or "it was not seen before: its present size is what later ones will be compared with"
    chosen = estimated if estimated and (compared is None or compared.confidence == bloat.LOW) else compared
    return replace(one, bloat=chosen, why="" if chosen else why)


def _rows_fault(index: Index, just_counted: bool) -> str:
    """Why its number of rows means nothing, "" if it means something."""
    what = "vacuum" if index.toast else "analyze"
    if index.entries < 0:
        return f"there was no {what} yet, so nobody knows how many rows it has"
    if just_counted:
        return ""
    if not index.counted:
        return (
            f"nobody knows what has changed since the last {what}: there was none, or statistics were reset or restored"
        )
    if bloat.stale(index.table_rows, index.changed):
        return f"{rows(index.changed)} changed since the last {what}, which makes its numbers worthless"
    return ""


def _estimate(index: Index, found: list[dict[str, Any]]) -> tuple[Bloat | None, str]:
    """By statistics, or why they say nothing."""
    if not index.entries:
        return bloat.empty(index.bytes or 0, index.page), ""
    if index.method != BTREE:
        return None, f"statistics say nothing about the size of an index of type {index.method}"
    if index.expressions or index.partial:
        kind = "an index over expressions" if index.expressions else "a partial index"
        return None, f"statistics of its table say nothing about the size of {kind}"
    if index.toast:
        return bloat.estimate(index.bytes or 0, index.entries, [CHUNK_ID, CHUNK_ID], index.fillfactor, index.page), ""
    why = next((fault for fault in (index_columns.fault(index.table_target, row) for row in found) if fault), "")
    columns = [index_columns.column(row, index.entries) for row in found]
    if why or not columns:
        return None, why or "it was dropped a moment ago"
    if bloat.tuple_size(columns) > bloat.WIDEST_KEY:
        return None, "its keys are so wide that they may be compressed, and statistics do not say how much"
    if index_columns.may_post(found, index.is_on("deduplicate_items"), index.unique) and bloat.repeats(columns):
        return (
            None,
            "equal keys may be stored once (deduplication), and statistics do not say how many combinations there are",
        )
    return bloat.estimate(index.bytes or 0, index.entries, columns, index.fillfactor, index.page), ""


def _is_measured(one: Assessed, found: list[dict[str, Any]], refused: Callable[[Assessed], str]) -> bool:
    """Whether an index is read as a whole: it seems due; or nothing else says what it is, and it may be due."""
    index, limits = one.index, one.limits
    if (
        index.method != BTREE
        or limits.method not in (AUTO, EXACT)
        or not index.may_exact
        or EXACT in one.memory.doubted
    ):
        return False
    occupied = index.bytes or 0
    if occupied > limits.exact_limit:
        return False
    if limits.method == EXACT:
        return True
    if one.due:
        return not refused(one)
    known_best = one.known.best is not None and one.known.basis in (REBUILT, MEASURED)
    if one.bloat is not None and (known_best or one.bloat.method == ESTIMATE):
        return False
    widths = (
        []
        if any(index_columns.fault(index.table_target, row) for row in found)
        else [index_columns.column(row, index.entries) for row in found]
    )
    possible = bloat.most(occupied, index.entries, widths, index.fillfactor, index.page) if widths else 1.0
    return possible >= limits.bloat and occupied * possible >= limits.min_gain


def _measured(session: Session, wanted: Sequence[Assessed], seconds_left: Callable[[], float]) -> dict[int, Assessed]:
    """Those whose size was measured, as long as more than half of the time is left."""
    schema = sql.Identifier(session.server.extensions[PGSTATTUPLE.name][0])
    enough = seconds_left() / 2
    found: dict[int, Assessed] = {}
    by_oid = {one.index.oid: one for one in wanted}
    for chunk in _chunks(wanted):
        if seconds_left() < enough:
            break
        for oid, row in _rows_of(session, queries.LEAVES, schema, chunk).items():
            found[oid] = _exact(by_oid[oid], row)
    left = {one.index.oid: _unmeasured(one) for one in wanted if one.index.oid not in found}
    return {**found, **left}


def _chunks(wanted: Sequence[Assessed]) -> Iterator[list[int]]:
    chunk: list[int] = []
    together = 0
    for one in wanted:
        if chunk and (len(chunk) >= CHUNK or together + (one.index.bytes or 0) > CHUNK_BYTES):
            yield chunk
            chunk, together = [], 0
        chunk.append(one.index.oid)
        together += one.index.bytes or 0
    if chunk:
        yield chunk


def _rows_of(session: Session, query: str, schema: sql.Identifier, oids: list[int]) -> dict[int, dict[str, Any]]:
    """By oid; where one of them is locked or gone, one after the other and without it."""
    try:
        found = session.rows(sql.SQL(query).format(schema=schema, oids=sql.Literal(oids)))
    except (Contended, SqlError):
        if not session.alive:
            raise
        if len(oids) == 1:
            return {}
        halves = (oids[: len(oids) // 2], oids[len(oids) // 2 :])
        return {oid: row for half in halves for oid, row in _rows_of(session, query, schema, half).items()}
    return {row["oid"]: row for row in found}


def _exact(one: Assessed, row: dict[str, Any]) -> Assessed:
    index = one.index
    found = bloat.exact(row["bytes"], row["leaves"], row["inner"], row["density"] or 0.0, index.fillfactor, index.page)
    memory = one.memory
    if (
        index.entries > 0
        and not _rows_fault(index, just_counted=False)
        and (memory.best is None or memory.basis not in (REBUILT,))
    ):
        memory = replace(memory, best=min(memory.best or float("inf"), found.fresh / index.entries), basis=MEASURED)
    return replace(one, bloat=found, why="", before=one.bloat, memory=memory)


def _unmeasured(one: Assessed) -> Assessed:
    if one.limits.method == EXACT:
        return replace(
            one, bloat=None, why="it could not be measured: it is locked or gone, or half of the budget is over"
        )
    return one


def _with_pending(session: Session, wanted: Sequence[Assessed]) -> dict[int, Assessed]:
    """GIN indexes with their pending lists."""
    schema = sql.Identifier(session.server.extensions[PGSTATTUPLE.name][0])
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(wanted), CHUNK):
        found.update(
            _rows_of(session, queries.PENDING, schema, [one.index.oid for one in wanted[start : start + CHUNK]])
        )
    return {
        one.index.oid: replace(one, pending=found[one.index.oid]["pages"] * one.index.page)
        for one in wanted
        if one.index.oid in found
    }


def _columns(session: Session, oids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The columns of indexes, with their statistics."""
    found: dict[int, list[dict[str, Any]]] = {}
    short = sql.Literal(bloat.WIDEST_KEY // 4 + 4)
    for row in session.rows(sql.SQL(index_columns.COLUMNS).format(oids=sql.Literal(list(oids)), short=short)):
        found.setdefault(row["oid"], []).append(row)
    return found


def no_number(one: Assessed) -> str:
    """Why there is no number, with what would help."""
    index, limits = one.index, one.limits
    unknown = one.why or "nothing is known about its size when it was new"
    if limits.method != EXACT:
        return unknown
    if index.method != BTREE:
        return f"only B-trees can be measured, and it is of type {index.method}"
    if not index.may_exact:
        return "it cannot be measured: CREATE EXTENSION pgstattuple, and GRANT pg_stat_scan_tables TO the role"
    if (index.bytes or 0) > limits.exact_limit:
        return f"its {size(index.bytes or 0)} are more than exact_limit, {size(limits.exact_limit)}"
    return one.why or "the last rebuild did not win what the measurement had promised"


def told(found: Bloat) -> str:
    """``41 % bloat (exact, high confidence)``."""
    return f"{count(round(found.share * 100))} % bloat ({found.method}, {found.confidence} confidence)"
