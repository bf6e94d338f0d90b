# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""All that is known of the indexes of the chosen tables: in one round trip, and two more for bloat and for the scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._checks.review import queries as review
from ..._checks.review.foreign import Missing, missing, supporting
from ..._checks.review.model import ForeignKey, Index, Parts, read_foreign_key, read_indexes
from ..._checks.review.redundant import Superfluous, same_constraint, superfluous
from ..._checks.review.unused import Usage, unused_indexes
from ..._errors import Contended, SqlError
from ..._postgres.copies import belongs
from ..._postgres.driver import sql
from ..._postgres.selection import LOCKED, by_pattern, regular
from ..._postgres.session import Session
from .. import Context
from ..reindex import measure
from ..reindex.facts import read as read_sizes
from ..reindex.options import MIN_SIZE
from ..reindex.options import Options as BloatOptions
from . import queries
from .options import Options
from .replicas import elsewhere

KINDS = "rpm"


@dataclass(frozen=True)
class Numbers:
    """What was counted of an index. writes: entries that were made in it since; old: whether it is certainly old enough."""

    usage: Usage
    writes: int = 0
    rows: float = -1.0
    old: bool = False


@dataclass(frozen=True)
class Facts:
    """What decide() needs.

    indexes    of all tables that are looked at; asked: oids of the tables that patterns have chosen
    numbers    by oid of the index; of a partitioned one those of its parts together
    elsewhere  the usage of each standby, by oid
    blind      why nothing can be called unused, "" if that is possible
    working    oids of tables in which somebody builds an index now
    leading    what statistics say of a first column: by table and column, the share of NULL and the number of values
    undo       by oid, the statements that make an index again; analyzed: and then, those that bring back statistics
    """

    database: str
    version_num: int
    indexes: Sequence[Index] = ()
    asked: frozenset[int] = frozenset()
    numbers: Mapping[int, Numbers] = field(default_factory=dict)
    elsewhere: Sequence[Mapping[int, Usage]] = ()
    blind: str = ""
    began: float | None = None
    now: float = 0.0
    working: frozenset[int] = frozenset()
    leading: Mapping[tuple[int, str], tuple[float, float]] = field(default_factory=dict)
    superfluous: Sequence[Superfluous] = ()
    constraints: Sequence[Superfluous] = ()
    missing: Sequence[Missing] = ()
    supporting: frozenset[int] = frozenset()
    bloated: Sequence[measure.Assessed] = ()
    undo: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def everywhere(self, index: Index) -> list[Usage]:
        """How each server has used it."""
        return [self.numbers[index.oid].usage, *(usage[index.oid] for usage in self.elsewhere if index.oid in usage)]

    def unused(self, after: float) -> list[Index]:
        """What no server has used for so long; also what may be younger than that (is_old)."""
        everywhere = {index.oid: self.everywhere(index) for index in self.indexes}
        return unused_indexes(self.indexes, everywhere, self.supporting, self.superfluous, after, self.is_old)

    def last(self, index: Index) -> float | None:
        """When any server has last used it, None where that is not known."""
        return max((usage.last for usage in self.everywhere(index) if usage.last is not None), default=None)

    def is_old(self, index: Index) -> bool:
        """Whether an index that nobody uses is certainly so old: the history knows it, or it was used before that."""
        return self.numbers[index.oid].old or self.last(index) is not None

    def leftover_of(self, index: Index) -> Index | None:
        """The index of which one that is not valid is a copy, None if it is none."""
        if index.usable or index.constraint or index.parent:
            return None
        return next((one for one in self.indexes if self._left(index, one)), None)

    def _left(self, index: Index, of: Index) -> bool:
        """Whether the server would have called a copy of the other one like that, and it is one."""
        if of.table != index.table or of.oid == index.oid or not of.usable:
            return False
        return belongs(index.name, index.name_bytes, of.name, of.name_bytes) and _copied(of) == _copied(index)


def _copied(index: Index) -> tuple[Any, ...]:
    return (
        index.method,
        [replace(one, statistics=None) for one in index.columns],
        index.included,
        index.predicate,
        index.unique,
    )


def read_facts(session: Session, options: Options, context: Context) -> Facts:
    """Everything. Raises SqlError, Contended."""
    row = _read(session, options)
    for pattern in row["unmatched"]:
        context.warn(f"index_info: no table matches {pattern}, or all that do are excluded")
    if row["locked"]:
        context.warn(f"index_info: {len(row['locked'])} of the tables and indexes are locked as a whole, and left out")
    indexes = read_indexes(row["indexes"])
    keys = [read_foreign_key(one) for one in row["foreign_keys"]]
    facts = Facts(
        session.server.database,
        session.server.version_num,
        indexes,
        frozenset(row["asked"]),
        _numbers(row, Parts(row["indexes"]), _old_age(session, options, context)),
        began=row["began"]["began"],
        now=row["began"]["now"],
        working=frozenset(row["working"]),
        leading={(one["table"], one["what"]): (one["nulls"], one["distinct"]) for one in row["leading"]},
    )
    facts = _with_keys(_with_usage(session, options, context, facts, row["standbys"]), keys)
    scans = {oid: numbers.usage.scans for oid, numbers in facts.numbers.items()}
    facts = replace(facts, superfluous=superfluous(indexes, scans), constraints=same_constraint(indexes))
    return replace(facts, bloated=_bloated(session, options, context), undo=_undo(session, options, facts))


def _read(session: Session, options: Options) -> dict[str, Any]:
    """The one row of everything."""
    selection = options.selection
    return session.row(
        sql.SQL(queries.EVERYTHING).format(
            locked=sql.SQL(LOCKED),
            by_pattern=by_pattern(selection, KINDS, partitions=True),
            about=sql.SQL(review.ABOUT),
            indexes=sql.SQL(review.indexes(session.server)),
            foreign_keys=sql.SQL(review.FOREIGN_KEYS),
            leading=sql.SQL(queries.LEADING),
            began=sql.SQL(review.BEGAN),
            standbys=sql.SQL(review.STANDBYS),
            patterns=sql.Literal(list(selection.include)),
            include=sql.Literal([regular(text) for text in selection.include]),
        )
    )


def _numbers(row: Mapping[str, Any], parts: Parts, old_age: int | None) -> dict[int, Numbers]:
    """By oid. Of a partitioned index nothing is certain while a part of it is locked."""
    began, now = row["began"]["began"], row["began"]["now"]
    found = {}
    for one in row["indexes"]:
        own = parts.of(one)
        last = max((part["last"] for part in own if part["last"] is not None), default=None)
        usage = Usage(sum(part["scans"] for part in own), last, began, now)
        old = old_age is not None and all(part["age"] > old_age for part in [one, *own])
        old = old and not (one["partitioned"] and row["locked"])
        found[one["oid"]] = Numbers(usage, sum(part["writes"] for part in own), sum(part["rows"] for part in own), old)
    return found


def _old_age(session: Session, options: Options, context: Context) -> int | None:
    """So many transactions are behind whatever is old enough; None where that is not known."""
    if options.unused_after <= 0:
        return -1
    if not context.history:
        return None
    try:
        found = session.row(sql.SQL(review.OLD_AGE).format(after=sql.Literal(options.unused_after)))["age"]
    except (SqlError, Contended):
        if not session.alive:
            raise
        return None
    return None if found is None else int(found)


def _with_usage(session: Session, options: Options, context: Context, facts: Facts, standbys: int) -> Facts:
    """With what is known of other servers; or why nothing can be called unused."""
    leaves = [index.oid for index in facts.indexes if not index.partitioned]
    found, faults = elsewhere(session, options, leaves, context.seconds_left())
    for fault in faults:
        context.warn(f"index_info: nothing is called unused: {fault}")
    blind = "; ".join(faults)
    if not blind and standbys > len(options.replicas):
        blind = f"{standbys} standbys read from this server, and replicas names {len(options.replicas)} of them"
    return replace(facts, elsewhere=[_summed(usage, facts.indexes) for usage in found], blind=blind)


def _summed(usage: Mapping[int, Usage], indexes: Sequence[Index]) -> dict[int, Usage]:
    """With those of partitioned indexes."""
    children: dict[int, list[Index]] = {}
    for index in indexes:
        children.setdefault(index.parent, []).append(index)

    def of(index: Index) -> list[Usage]:
        if not index.partitioned:
            return [usage[index.oid]] if index.oid in usage else []
        return [one for part in children.get(index.oid, ()) for one in of(part)]

    found = {}
    for index in indexes:
        own = of(index)
        if own:
            last = max((one.last for one in own if one.last is not None), default=None)
            found[index.oid] = replace(own[0], scans=sum(one.scans for one in own), last=last)
    return found


def _with_keys(facts: Facts, keys: Sequence[ForeignKey]) -> Facts:
    """With the foreign keys that lack an index, and the indexes that others have."""
    by_table: dict[int, list[Index]] = {}
    for index in facts.indexes:
        by_table.setdefault(index.table, []).append(index)
    asked = [key for key in keys if key.table in facts.asked]
    return replace(facts, missing=missing(asked, by_table), supporting=supporting(keys, facts.indexes))


def _bloated(session: Session, options: Options, context: Context) -> list[measure.Assessed]:
    """What the step reindex would rebuild, by what the catalog knows; nothing is read as a whole for it."""
    selection = replace(options.selection, min_size=max(MIN_SIZE, options.selection.min_size or 0))
    wanted = BloatOptions(selection, limits=replace(BloatOptions().limits, exact_limit=0))
    found = measure.assess(session, wanted, {}, read_sizes(session, selection), context.seconds_left)
    return [one for one in found if one.due]


def _undo(session: Session, options: Options, facts: Facts) -> dict[int, list[dict[str, Any]]]:
    """What it takes to make again what may be dropped, by oid."""
    oids = {one.index.oid for one in facts.superfluous} | {index.oid for index in facts.unused(options.unused_after)}
    if not oids:
        return {}
    found: dict[int, list[dict[str, Any]]] = {}
    for row in session.rows(sql.SQL(queries.DEFINITIONS).format(oids=sql.Literal(sorted(oids)))):
        found.setdefault(row["top"], []).append(row)
    return found
