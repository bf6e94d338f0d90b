# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""purge: delete the rows whose time has come, in small batches, each a transaction of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._errors import Contended, OptionError, SqlError
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.lexer import tokens
from ..._postgres.names import MAX_NAME_BYTES, name_faults, quote
from ..._postgres.session import Session
from ..._postgres.sqlstates import FOREIGN_KEY_VIOLATION, QUERY_CANCELED
from ..._result import CONTENDED, DEFERRED, FAILED, UNCHANGED
from ..._spec import Spec
from ..._units import read_age
from .. import Action, Context, Decision, Effect, Need, Outcome, Verdict
from . import facts as table_facts
from .batches import FIRST_BATCH, MOST_COUNTED, Progress, Purge, difference, expired
from .facts import SMALL_TABLE, Options

SPEC = Spec(
    {
        "table": {"type": "str", "required": True},
        "column": {"type": "str", "required": True},
        "older_than": {"type": "str", "default": "0"},
        "where": {"type": "str"},
        "timezone": {"type": "str"},
        "max_rows": {"type": "int"},
        "batch_ms": {"type": "int", "default": 250},
        "require_index": {"type": "bool", "default": True},
        "cascade": {"type": "bool", "default": False},
    }
)
DIVISIBLE = True
READ_ONLY = False
COUNTED_AS = "purged"

# UTC+7 is a POSIX zone for PostgreSQL, seven hours WEST of Greenwich. Nobody means that.
_POSIX_ZONE = re.compile(r"^[^/]*\d")
# Names of the time zone database that look like one (its files backward, northamerica and etcetera).
_NAMED_ZONES = ("EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT0", "GMT+0", "GMT-0")

PASSES = 3  # over the expired rows, for those that were updated while we looked


@dataclass(frozen=True)
class Facts:
    """What decide() needs.

    cutoff        the instant before which rows have expired, in ISO format, by the server's clock
    served        an index, or the size of the table, makes it cheap to find them
    found         some row is expired; rows: how many (check mode), up to max_rows
    referenced_by foreign keys that refer to the table, as in REFERRED_BY
    leaves        oids of the partitions or child tables that have rows
    triggers      what fires on DELETE: name and table
    """

    relation: catalog.Relation
    cutoff: str
    purge: Purge
    statement: str
    served: bool
    found: bool
    rows: int | None
    referenced_by: tuple[dict[str, Any], ...]
    leaves: tuple[int, ...]
    triggers: tuple[str, ...]


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults = name_faults("table", [given["table"]])
    seconds = read_age("older_than", given["older_than"], faults)
    zone = given["timezone"] or ""
    if _POSIX_ZONE.match(zone) and zone.upper() not in _NAMED_ZONES:
        faults.append(
            f"timezone: PostgreSQL reads {given['timezone']!r} with its sign reversed: write a name such as Asia/Ho_Chi_Minh"
        )
    if len(given["column"].encode()) > MAX_NAME_BYTES:
        faults.append(f"column: {given['column']!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    if given["max_rows"] is not None and given["max_rows"] < 1:
        faults.append("max_rows: must be at least 1; leave it out for no limit")
    if not 10 <= given["batch_ms"] <= 60_000:
        faults.append("batch_ms: must be from 10 to 60000 milliseconds")
    if given["where"] is not None:
        faults += [f"where: {fault}" for fault in _where_faults(given["where"])]
    if faults:
        raise OptionError(faults)
    kept = ("table", "column", "where", "timezone", "max_rows", "require_index", "cascade")
    return Options(older_than=seconds, batch_seconds=given["batch_ms"] / 1000, **{name: given[name] for name in kept})


def names(options: Options) -> Sequence[str]:
    """The table."""
    return [options.table]


def needs(options: Options) -> Sequence[Need]:
    """SELECT, UPDATE and DELETE."""
    return [Need(options.table, "rows", "rp", options.column)]


def jobs(options: Options) -> int:
    """One table, one after the other."""
    return 1


def _where_faults(text: str) -> list[str]:
    """What would make a predicate end earlier or later than its text, so that rows could go that have not expired."""
    if not text.strip():
        return ["is empty; leave it out to delete every row that has expired"]
    open_brackets = 0
    try:
        for token in tokens(text):
            open_brackets += token.says("(") - token.says(")")
            if open_brackets < 0:
                return ["a bracket is closed that was not opened"]
            if token.says(";"):
                return ["is a condition and not a statement: take the semicolon out"]
    except OptionError as error:
        return error.errors
    return ["a bracket is opened and not closed"] if open_brackets else []


def facts(session: Session, options: Options, context: Context) -> Facts | Verdict:
    """Two round trips: what the table is, and whether anything in it has expired."""
    row = table_facts.read(session, options)
    if row["oid"] is None:
        raise catalog.not_found(session, options.table, "rp")
    relation = catalog.relation(row)
    cutoff = row["cutoff"].isoformat()
    fault = table_facts.fault(session.server, relation, row, options)
    if fault:
        return Verdict(relation.display, fault, FAILED, {"cutoff": cutoff})
    purge = _purge(relation, row, options)
    served = (
        row["indexed"] or row["pages"] < SMALL_TABLE or not options.require_index or _planner_uses_index(session, purge)
    )
    rows = found = None
    if served and context.check:
        rows = session.row(purge.count(options.max_rows), users_path=True)["rows"]
    elif served:
        found = session.row(purge.found(), users_path=True)["found"]
    return Facts(
        relation=relation,
        cutoff=cutoff,
        purge=purge,
        statement=" ".join(session.text(purge.batch(FIRST_BATCH, purge.beyond(None, False))).split()),
        served=served,
        found=bool(found or rows),
        rows=rows,
        referenced_by=tuple(row["referenced_by"] or ()),
        leaves=tuple(row["leaves"] or ()),
        triggers=tuple(row["triggers"] or ()),
    )


def _purge(relation: catalog.Relation, row: dict[str, Any], options: Options) -> Purge:
    column = sql.Identifier(row["column_name"])
    predicate = expired(column, row["column_type"], row["cutoff"], options.timezone)
    if options.where:
        # The line break keeps a comment at the end of the predicate from swallowing the parenthesis.
        predicate = sql.SQL("{} AND ({}\n)").format(predicate, sql.SQL(options.where))
    return Purge(
        table=relation.identifier,
        divided=row["divided"],
        column=column,
        column_type=row["column_type"],
        expired=predicate,
        max_rows=options.max_rows,
        batch_seconds=options.batch_seconds,
    )


def _planner_uses_index(session: Session, purge: Purge) -> bool:
    """Whether the planner finds expired rows without reading all the table, for example through a partial index."""
    return not any("Seq Scan" in row["QUERY PLAN"] for row in session.rows(purge.plan(), users_path=True))


def decide(facts: Facts | Verdict, options: Options, context: Context) -> list[Decision[Purge]]:
    """One decision: the table."""
    return [facts if isinstance(facts, Verdict) else _refused(facts, options) or _action(facts, options)]


def _refused(facts: Facts, options: Options) -> Verdict | None:
    """Why nothing is to be deleted, None if something is."""
    target, column, numbers = facts.relation.display, quote(options.column), {"cutoff": facts.cutoff}
    if not facts.served:
        reason = (f"no index serves {column}, each batch would read the whole table: "
                  f"CREATE INDEX CONCURRENTLY ON {target} ({column}), or set require_index: false")  # fmt: skip
        return Verdict(target, reason, FAILED, numbers)
    slow = [key for key in facts.referenced_by if not key["indexed"] and key["pages"] >= SMALL_TABLE]
    if slow and options.require_index:
        key = slow[0]
        reason = (
            f"each deleted row would read all of {key['table']}, which refers to it ({key['constraint']}): CREATE INDEX "
            f"CONCURRENTLY ON {key['table']} ({key['columns']}), or set require_index: false"
        )
        return Verdict(target, reason, FAILED, numbers)
    if not facts.found:
        return Verdict(target, f"no row of {column} is before the cut-off", UNCHANGED, numbers)
    return None


def _action(facts: Facts, options: Options) -> Action[Purge]:
    cascades = [key["table"] for key in facts.referenced_by if key["cascades"]]
    numbers = {
        "cutoff": facts.cutoff,
        **({"cascades_to": cascades} if cascades else {}),
        **({"triggers": list(facts.triggers)} if facts.triggers else {}),
        **({"rows": facts.rows} if facts.rows is not None else {}),
    }
    unknown = Effect(rows=None)
    effects = {facts.relation.oid: Effect(facts.rows)}
    effects.update(dict.fromkeys(facts.leaves, unknown))
    effects.update({key["oid"]: unknown for key in facts.referenced_by if key["cascades"]})
    return Action(
        target=facts.relation.display,
        reason=reason_for(quote(options.column)),
        payload=facts.purge,
        numbers=numbers,
        statements=(facts.statement,),
        effects=effects,
        rows=facts.rows,
        difference=difference(facts.rows, 0) if facts.rows else None,
    )


def reason_for(column: str) -> str:
    """Why rows are deleted: the same words before and after."""
    return f"{column} is before the cut-off"


def execute(session: Session, action: Action[Purge], context: Context) -> Outcome:
    """Delete batch by batch, each a transaction of its own. What is deleted stays deleted, whatever happens later."""
    work = Progress(session, action, context)
    try:
        for _pass in range(PASSES):
            before = work.rows
            if not work.one_pass():
                return work.outcome(DEFERRED, f"out of time after {work.rows} rows; the next run continues")
            if work.full:
                work.numbers["left"] = work.left()
                return work.outcome(reason=f"{action.reason}; stopped at max_rows")
            left = work.left()
            if not left or work.rows == before:
                break
    except Contended as error:
        return work.outcome(CONTENDED, f"stopped after {work.rows} rows: {error}")
    except SqlError as error:
        if error.sqlstate == QUERY_CANCELED and context.seconds_left() < 1:
            return work.outcome(DEFERRED, f"out of time after {work.rows} rows; the next run continues")
        hint = "; exclude such rows with where" if error.sqlstate == FOREIGN_KEY_VIOLATION else ""
        return work.outcome(FAILED, f"stopped after {work.rows} rows: {error}{hint}")
    if left:
        work.numbers["left"] = left
        number = f"{MOST_COUNTED}+" if left > MOST_COUNTED else str(left)
        return work.outcome(reason=f"{action.reason}; {number} rows left, locked by others or kept by a trigger")
    return work.outcome()
