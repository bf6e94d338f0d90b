# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The rows of a table that have expired: what is known of them, what is decided, and how they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..._errors import Contended, SqlError
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.policy import LIGHT
from ..._postgres.session import Session
from ..._result import DONE, FAILED, SKIPPED, UNCHANGED, WARNING, Finding
from .. import Action, Context, Decision, Effect, Outcome, Verdict
from . import clocks, doubts, locks, order, sweep, table
from .doubts import SEEN, Doubts
from .ended import kept_rows, walked
from .options import AUTO, Options
from .space import look
from .statements import Purge
from .table import SMALL_TABLE
from .walks import FIRST_BATCH
from .work import MOST_COUNTED, Work, difference

OID = "WITH {targets} SELECT oid FROM target"
OF_TEXTS = ("0A", "21", "22", "42")  # classes of errors that a wrong zone or condition leads to
if TYPE_CHECKING:
    from .beside import Beside

SHOWN_RANGE = 16  # pages, in the statement that stands for all


@dataclass(frozen=True)
class Facts:
    """What decide() needs.

    way           in which order rows go, and why
    cutoffs       of each condition: the instant before which rows have expired, by the server's clock
    found         some row is expired, None where nobody looked; rows: how many (check mode), up to max_rows
    referenced_by foreign keys that refer to the table, as in REFERRED_BY
    leaves        oids of the partitions or child tables that have rows
    triggers      what fires on DELETE: name and table
    beside        what else is to be done with rows
    kept          expired rows that stay because others refer to them, where that was looked for
    index         what to index so that one serves, "" where none can
    swept         when all expired rows went, less than a day ago, where that is known
    doubts        whether the values of its columns can be what is declared
    remembered    what the next run has to know where nothing is executed, None where that is nothing new
    """

    relation: catalog.Relation
    purge: Purge
    way: order.Way
    cutoffs: tuple[datetime, ...]
    statement: str
    found: bool | None
    rows: int | None
    estimate: int | None
    referenced_by: tuple[dict[str, Any], ...]
    leaves: tuple[int, ...]
    triggers: tuple[str, ...]
    beside: Beside | None = None
    kept: int | None = None
    index: str = ""
    swept: datetime | None = None
    doubts: Doubts = field(default_factory=Doubts)
    remembered: dict[str, Any] | None = None


def facts(session: Session, options: Options, context: Context) -> Facts | Verdict:
    """What the table is, whether anything in it has expired, and how much of it: two round trips where nothing has."""
    row = _read(session, options)
    if row["oid"] is None:
        raise catalog.not_found(session, options.table, "rp")
    relation = catalog.relation(row)
    now = row["now"].astimezone(timezone.utc)
    cutoffs = tuple(now - timedelta(seconds=condition.older_than) for condition in options.conditions)
    besides = _besides(session, relation, row, options, max(cutoffs).isoformat())
    try:
        if isinstance(besides, str):
            return Verdict(relation.display, besides, FAILED, _numbers(cutoffs))
        state = context.state.get(relation.display)
        seen = doubts.look(session, relation.identifier, row["times"], options, state)
        fault = seen.fault
        if not fault:
            found = _looked(session, row, cutoffs, options, context, besides)
            purge = replace(found.purge, seen=seen.seen)
            return replace(found, purge=purge, doubts=seen, remembered=seen.remembered(state))
    except SqlError as error:
        fault = _named(session, error, options)
        if not fault:
            raise
    return Verdict(relation.display, fault, FAILED, _numbers(cutoffs))


def _besides(
    session: Session, relation: catalog.Relation, row: dict[str, Any], options: Options, cutoff: str
) -> Beside | str | None:
    """What else is to be done with rows, None where nothing is; or why the purge cannot be."""
    if not (options.archive or options.children or options.keep_referenced or row["published"]):
        return table.fault(session.server, relation, row, options, ()) or None
    from . import beside  # most purges do without it

    return beside.read(session, relation, row, options, cutoff)


def _looked(
    session: Session,
    row: dict[str, Any],
    cutoffs: tuple[datetime, ...],
    options: Options,
    context: Context,
    besides: Beside | None,
) -> Facts:
    """What is known after a look at the rows. row: that of the table."""
    relation = catalog.relation(row)
    # What hangs on a row must not go when others hold the row itself.
    free = besides.tree.free() if besides and (options.keep_referenced or options.children) else None
    purge, known = _purge(session, relation, row, cutoffs, options, free)
    rows = found = kept = None
    if known.served and context.check:
        foreseen = purge if besides and besides.tree.edges else _foreseen(session, purge, row)
        rows, kept = _counted(session, foreseen, options, besides)
        found = bool(rows)
    elif known.served:
        found = session.row(purge.found(), users_path=True)["found"]
        kept = _kept(session, purge) if not found and purge.held else None
    if found is not False and order.asks(known, options):
        known = replace(known, estimate=order.estimated(session, purge, known) if rows is None else rows)
    state = context.state.get(relation.display)
    way = order.choose(replace(known, begun=sweep.begun(state)), options)
    purge = replace(purge, heap=way.heap, beside=besides)
    if way.heap and not known.served and options.order == AUTO and options.require_index:
        purge = replace(purge, sweep=sweep.sweep(options, cutoffs, _way_out(relation.display, known.index)))
    return Facts(
        relation=relation,
        purge=purge,
        way=way,
        cutoffs=cutoffs,
        statement=_statement(session, purge),
        found=found,
        rows=rows,
        estimate=known.estimate,
        referenced_by=tuple(row["referenced_by"] or ()),
        leaves=tuple(row["leaves"] or ()),
        triggers=tuple(row["triggers"] or ()),
        beside=besides,
        kept=kept,
        index=known.index,
        swept=sweep.swept(state, options, cutoffs) if way.costly else None,
    )


def _named(session: Session, error: SqlError, options: Options) -> str:
    """What the server refuses, with the option that it is about; "" where that is none of them."""
    if not session.alive or error.sqlstate[:2] not in OF_TEXTS:
        return ""
    for zone in dict.fromkeys(condition.timezone for condition in options.conditions if condition.timezone):
        try:
            session.row("SELECT timezone(%s, now())", [zone])
        except SqlError as unknown:
            return f"timezone: {unknown}: write a name that pg_timezone_names has, such as Asia/Ho_Chi_Minh"
    if not any([options.where, *(condition.where for condition in options.conditions)]):
        return ""
    return f"where: {error}: write a condition that is true, false or null for every row of {options.table}"


def _read(session: Session, options: Options) -> dict[str, Any]:
    """What is known of the table. Raises Contended, which names who has locked it."""
    try:
        return table.read(session, options)
    except Contended as error:
        (row,) = session.rows(sql.SQL(OID).format(targets=catalog.targets(session.server, [options.table])))
        raise locks.explained(session, error, row["oid"]) from None


def _foreseen(session: Session, purge: Purge, row: dict[str, Any]) -> Purge:
    """The same without rows to which others refer that nobody has thought of, as far as the role may see them."""
    if not any(key["holds"] for key in row["referenced_by"] or ()):
        return purge
    from . import trees  # as above

    tree = trees.holding(session, purge.oid, purge.table)
    free = tree.free(itself=False) if tree else None
    return purge.sparing(free, holds=False) if free else purge


def _counted(session: Session, purge: Purge, options: Options, besides: Beside | None) -> tuple[int, int | None]:
    """How many rows can go, and how many stay because others refer to them, None where that is not known."""
    rows = int(session.row(purge.count(options.max_rows), users_path=True)["rows"])
    # Of rows that hold each other in one table some will have gone before the others: nobody has reckoned how many.
    unsure = rows and besides and besides.tree.holds_itself
    return rows, _kept(session, purge) if purge.held and not unsure else None


def _kept(session: Session, purge: Purge) -> int:
    return int(session.row(purge.count_held(MOST_COUNTED + 1), users_path=True)["rows"])


def _purge(
    session: Session,
    relation: catalog.Relation,
    row: dict[str, Any],
    cutoffs: Sequence[datetime],
    options: Options,
    free: sql.Composable | None,
) -> tuple[Purge, order.Known]:
    """What is to be deleted, and what decides in which order. free: the predicate of a row that no other one holds."""
    terms = []
    for condition, cutoff in zip(options.conditions, cutoffs):
        as_known = clocks.as_known(condition, row["times"], relation.identifier)
        for term in clocks.terms(condition, row["times"], cutoff):
            # The line break keeps a comment at the end of a predicate from swallowing the parenthesis.
            wheres = [sql.SQL("({}\n)").format(sql.SQL(text)) for text in (condition.where, options.where) if text]
            expired = sql.SQL(" AND ").join([term.expired, *wheres, as_known])
            terms.append(replace(term, expired=expired))
    purge = Purge(
        oid=relation.oid,
        table=relation.identifier,
        divided=row["divided"],
        terms=tuple(terms),
        max_rows=options.max_rows,
        batch_seconds=options.batch_seconds,
        pace=options.pace,
        triggers=bool(row["triggers"]),
        slow=_slow(row, options),
        tuples=int(row["tuples"] or 0),
        bytes=int(row["bytes"] or 0) if row["heap"] else 0,
        itself=_itself(relation, row),
        moves=any(key["cascades"] and not key["deletes"] for key in _own_keys(relation, row)),
    )
    small = row["pages"] < SMALL_TABLE
    found = (term for term in terms if not order.served(session, purge, term, row["parts"] or ()))
    lacking = None if small else next(found, None)
    served = lacking is None
    known = order.Known(
        served=served,
        small=small,
        pages=int(row["pages"]),
        heap=row["heap"],
        estimate=None,
        index=lacking.index if lacking else "",
    )
    purge = replace(purge, served=served)
    return purge.sparing(free, options.keep_referenced) if free else purge, known


def _slow(row: dict[str, Any], options: Options) -> bool:
    """Whether a thousand rows may take much longer than a batch should."""
    wheres = any([options.where, *(condition.where for condition in options.conditions)])
    return bool(row["triggers"]) or wheres or any(key["cascades"] for key in row["referenced_by"] or ())


def _itself(relation: catalog.Relation, row: dict[str, Any]) -> tuple[int, ...]:
    """The parts of a table of which rows go with other rows of it, empty where none do."""
    own = any(key["deletes"] for key in _own_keys(relation, row))
    return (relation.oid, *(row["leaves"] or ())) if own else ()


def _own_keys(relation: catalog.Relation, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The foreign keys by which rows of the table refer to others of it."""
    parts = (relation.oid, *(row["leaves"] or ()))
    return [key for key in row["referenced_by"] or () if key["oid"] in parts]


def _statement(session: Session, purge: Purge) -> str:
    """One batch, as text for people."""
    first = purge.of(purge.terms[0])
    one = purge.within(0, SHOWN_RANGE) if purge.heap else first.in_order(FIRST_BATCH, None, False).statement("")
    return " ".join(session.text(one).split())


def _numbers(cutoffs: Sequence[datetime]) -> dict[str, Any]:
    told = [cutoff.isoformat() for cutoff in cutoffs]
    return {"cutoff": max(told)} if len(told) == 1 else {"cutoff": max(told), "cutoffs": told}


def decide(facts: Facts | Verdict, options: Options) -> Decision[Purge]:
    """What is to be done. Pure."""
    if isinstance(facts, Verdict):
        return facts
    refused = _refused(facts, options)
    return replace(refused, state=facts.remembered) if refused else _action(facts, options)


def _refused(facts: Facts, options: Options) -> Verdict | None:
    """Why nothing is to be deleted, None if something is."""
    target, columns, numbers = facts.relation.display, table.times(options), _numbers(facts.cutoffs)
    if facts.way.costly and options.require_index:
        way_out = _way_out(target, facts.index)
        if facts.swept:
            reason = (f"all rows that had expired went at {facts.swept:%Y-%m-%d %H:%M} UTC, and no index serves {columns}; "
                      f"a day after that this is a failure: {way_out}")  # fmt: skip
            return Verdict(target, reason, SKIPPED, numbers)
        return Verdict(target, f"no index serves {columns}, {facts.way.costly}: {way_out}", FAILED, numbers)
    slow = [key for key in facts.referenced_by if not key["indexed"] and key["pages"] >= SMALL_TABLE]
    if slow and options.require_index:
        key = slow[0]
        reason = (
            f"each deleted row would read all of {key['table']}, which refers to it ({key['constraint']}): CREATE INDEX "
            f"CONCURRENTLY ON {key['table']} ({key['columns']}), or set require_index: false"
        )
        return Verdict(target, reason, FAILED, numbers)
    if facts.found is False and not (facts.beside and facts.beside.doubtful):
        if facts.kept is not None:
            numbers["kept"] = facts.kept
        wrong = bool(facts.kept) and not options.keep_referenced
        reason = ("no row can go" if facts.kept else nothing(options)) + kept_rows(facts.kept, options.keep_referenced)
        return Verdict(target, reason, FAILED if wrong else UNCHANGED, numbers)
    return None


def _way_out(target: str, index: str) -> str:
    """What to do where no index serves. index: what to index, "" where that cannot be."""
    first = f"CREATE INDEX CONCURRENTLY ON {target} ({index}), or" if index else "none can, with ttl_column:"
    return f"{first} set require_index: false"


def _action(facts: Facts, options: Options) -> Action[Purge]:
    stay = facts.beside.tree.layers if facts.beside else ()
    going = (key["table"] for key in facts.referenced_by if key["deletes"] and key["oid"] not in stay)
    cascades = list(dict.fromkeys(going))
    numbers = {
        **_numbers(facts.cutoffs),
        "order": facts.way.reason,
        **(facts.beside.numbers if facts.beside else {}),
        **({"estimated_rows": facts.estimate} if facts.estimate is not None and facts.rows is None else {}),
        **({"cascades_to": cascades} if cascades else {}),
        **({"triggers": list(facts.triggers)} if facts.triggers else {}),
        **({"rows": facts.rows} if facts.rows is not None else {}),
        **({"kept": facts.kept} if facts.kept is not None else {}),
    }
    unknown = Effect(rows=None)
    effects = {facts.relation.oid: Effect(facts.rows)}
    effects.update(dict.fromkeys(facts.leaves, unknown))
    effects.update({key["oid"]: unknown for key in facts.referenced_by if key["cascades"]})
    effects.update(dict.fromkeys(facts.beside.tree.parts if facts.beside else (), unknown))
    return Action(
        target=facts.relation.display,
        reason=reason_for(table.times(options)) + kept_rows(facts.kept, options.keep_referenced),
        payload=facts.purge,
        numbers=numbers,
        statements=(facts.statement,),
        effects=effects,
        rows=facts.rows,
        difference=difference(facts.rows, 0) if facts.rows else None,
    )


def odd(facts: Facts | Verdict) -> list[Finding]:
    """That rows are left of which nobody can tell whether they have expired. Pure."""
    return [] if isinstance(facts, Verdict) else facts.doubts.findings(facts.relation.display)


def foretold(facts: Facts | Verdict, options: Options) -> list[Finding]:
    """That the run will fail at its end, where that is known before and other rows go. Pure."""
    if isinstance(facts, Verdict) or not facts.kept or not facts.rows or options.keep_referenced:
        return []
    stay, _, way_out = kept_rows(facts.kept, False).removeprefix("; ").partition(": ")
    return [
        Finding(
            "purge-referenced",
            facts.relation.display,
            WARNING,
            f"the purge will fail at its end: {stay}",
            facts.kept,
            advice=f"{way_out}.",
            meaning="what has expired and cannot go is there for ever, and every run fails",
            keep=False,
        )
    ]


def nothing(options: Options) -> str:
    """Why nothing is deleted."""
    return f"no row of {table.times(options)} is before the cut-off"


def reason_for(columns: str) -> str:
    """Why rows are deleted: the same words before and after."""
    return f"{columns} is before the cut-off"


def execute(session: Session, action: Action[Purge], context: Context) -> Outcome:
    """Delete batch by batch, each a transaction of its own. What is deleted stays deleted, whatever happens later."""
    keep, settled = action.payload.beside.start(session) if action.payload.beside else (None, {})
    work = Work(session, action.target, action.payload.written(session), context, keep)
    state = context.state.get(action.target)
    work.earlier = state if isinstance(state, dict) else {}
    try:
        outcome = walked(work, action, context, _start(state))
    finally:
        told = keep.close() if keep else {}
    space = look(session, action.target, action.payload, work.rows) if context.seconds_left() > LIGHT else None
    if space:
        outcome.findings = (space,)
        outcome.reason = f"{outcome.reason or action.reason}; {space.message.partition(':')[0]}"
    outcome.numbers.update(told)
    if any(told.get("with", {}).values()):  # what hung on a row may be gone although the row is still there
        outcome.changed = True
        outcome.status = DONE if outcome.status == UNCHANGED else outcome.status
    if settled:
        outcome.numbers["archive"].update(settled)
    if action.payload.seen:
        outcome.state = {**(state or {} if outcome.state is None else outcome.state), SEEN: list(action.payload.seen)}
    return outcome


def _start(state: dict[str, Any] | None) -> int:
    """The page at which the last run stopped."""
    page = (state or {}).get("page")
    return page if isinstance(page, int) and page >= 0 else 0
