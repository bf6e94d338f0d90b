# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""purge: delete the rows whose time has come, in small batches, each a transaction of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..._errors import Contended, OptionError, SqlError
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import MAX_NAME_BYTES, quote
from ..._postgres.scripts import tokens
from ..._postgres.session import Session
from ..._result import CONTENDED, DEFERRED, FAILED, UNCHANGED
from .. import Action, Context, Outcome
from . import facts as _purge
from .batches import FIRST_BATCH, Progress, Purge, expired
from .facts import SMALL_TABLE

ARGUMENT_SPEC: dict[str, Any] = {
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
NAME_OPTIONS = ("table",)
DIVISIBLE = True

_AGE = re.compile(r"^(\d+)\s*([smhdw]?)$")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# UTC+7 is a POSIX zone for PostgreSQL, seven hours WEST of Greenwich. Nobody means that.
_POSIX_ZONE = re.compile(r"^[^/]*\d")
# Names of the time zone database that look like one (its files backward, northamerica and etcetera).
_NAMED_ZONES = ("EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT0", "GMT+0", "GMT-0")

LONGEST_AGE = 1000 * 365 * 86400  # seconds; a cut-off before the year 1 is no date for Python
PASSES = 3  # over the expired rows, for those that were updated while we looked

QUERY_CANCELED = "57014"
FOREIGN_KEY_VIOLATION = "23503"


@dataclass(frozen=True)
class Facts:
    """What decide() needs. found: some row is expired (real run); rows: how many (check mode), up to max_rows.

    leaves    oids of the partitions or child tables that have rows
    triggers  what fires on DELETE: name and table
    """

    relation: catalog.Relation
    fault: str
    cutoff: str
    served: bool = True
    found: bool = False
    rows: int | None = None
    referenced_by: tuple[dict[str, Any], ...] = ()
    leaves: tuple[int, ...] = ()
    triggers: tuple[str, ...] = ()
    statement: str = ""
    plan: Purge | None = None


def check(options: dict[str, Any]) -> list[str]:
    """Faults of the options that need no database to be seen."""
    faults = []
    age = _AGE.match(options["older_than"].strip())
    if age and age_seconds(options["older_than"]) > LONGEST_AGE:
        faults.append(f"older_than: {options['older_than']!r} is more than a thousand years")
    if not age:
        faults.append(
            f"older_than: {options['older_than']!r} is not an age: write seconds, or a number with s, m, h, d or w, such as 30d"
        )
    zone = options["timezone"] or ""
    if _POSIX_ZONE.match(zone) and zone.upper() not in _NAMED_ZONES:
        faults.append(
            f"timezone: PostgreSQL reads {options['timezone']!r} with its sign reversed: write a name such as Asia/Ho_Chi_Minh"
        )
    if len(options["column"].encode()) > MAX_NAME_BYTES:
        faults.append(f"column: {options['column']!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    if options["max_rows"] is not None and options["max_rows"] < 1:
        faults.append("max_rows: must be at least 1; leave it out for no limit")
    if not 10 <= options["batch_ms"] <= 60_000:
        faults.append("batch_ms: must be from 10 to 60000 milliseconds")
    if options["where"] is not None:
        faults += [f"where: {fault}" for fault in _where_faults(options["where"])]
    return faults


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
            if token.says("'") or token.says('"'):
                return ["a quotation mark is opened and not closed"]
    except OptionError as error:
        return error.errors
    return ["a bracket is opened and not closed"] if open_brackets else []


def age_seconds(text: str) -> int:
    """Seconds of ``90``, ``90s``, ``15m``, ``12h``, ``30d`` or ``4w``."""
    match = _AGE.match(text.strip())
    if match is None:
        raise OptionError([f"older_than: {text!r} is not an age"])
    return int(match[1]) * _SECONDS[match[2]]


def facts(session: Session, options: dict[str, Any], context: Context) -> Facts:
    """Two turns: what the table is, and whether anything in it has expired."""
    row = _purge.read(session, options, age_seconds(options["older_than"]))
    if row["oid"] is None:
        raise catalog.not_found(session, options["table"], "rp")
    relation = catalog.relation(row)
    cutoff = row["cutoff"].isoformat()
    fault = _purge.fault(session.server, relation, row, options)
    if fault:
        return Facts(relation, fault, cutoff)
    plan = _plan(relation, row, options)
    served = (
        row["indexed"]
        or row["pages"] < SMALL_TABLE
        or not options["require_index"]
        or _planner_uses_index(session, plan)
    )
    rows = found = None
    if served and context.check:
        rows = session.row(plan.count(options["max_rows"]), users_path=True)["rows"]
    elif served:
        found = session.row(plan.found(), users_path=True)["found"]
    return Facts(
        relation=relation,
        fault="",
        cutoff=cutoff,
        served=served,
        found=bool(found or rows),
        rows=rows,
        referenced_by=tuple(row["referenced_by"] or ()),
        leaves=tuple(row["leaves"] or ()),
        triggers=tuple(row["triggers"] or ()),
        statement=" ".join(session.text(plan.batch(FIRST_BATCH, plan.beyond(None, False))).split()),
        plan=plan,
    )


def _plan(relation: catalog.Relation, row: dict[str, Any], options: dict[str, Any]) -> Purge:
    column = sql.Identifier(row["column_name"])
    predicate = expired(column, row["column_type"], row["cutoff"], options["timezone"])
    if options["where"]:
        # The line break keeps a comment at the end of the predicate from swallowing the parenthesis.
        predicate = sql.SQL("{} AND ({}\n)").format(predicate, sql.SQL(options["where"]))
    return Purge(
        table=relation.identifier,
        divided=row["divided"],
        column=column,
        column_type=row["column_type"],
        expired=predicate,
        max_rows=options["max_rows"],
        batch_seconds=options["batch_ms"] / 1000,
    )


def _planner_uses_index(session: Session, plan: Purge) -> bool:
    """Whether the planner finds expired rows without reading all the table, for example through a partial index."""
    return not any("Seq Scan" in row["QUERY PLAN"] for row in session.rows(plan.plan(), users_path=True))


def decide(facts: Facts, options: dict[str, Any], context: Context) -> list[Action]:
    """One action: the table."""
    target = facts.relation.display

    def verdict(status: str, reason: str) -> list[Action]:
        return [Action("purge", target, reason, status, {"cutoff": facts.cutoff})]

    if facts.fault:
        return verdict(FAILED, facts.fault)
    column = quote(options["column"])
    if not facts.served:
        return verdict(FAILED, f"no index serves {column}, each batch would read the whole table: "
                       f"CREATE INDEX CONCURRENTLY ON {target} ({column}), or set require_index: false")  # fmt: skip
    slow = [key for key in facts.referenced_by if not key["indexed"] and key["pages"] >= SMALL_TABLE]
    if slow and options["require_index"]:
        key = slow[0]
        return verdict(
            FAILED,
            f"each deleted row would read all of {key['table']}, which refers to it ({key['constraint']}): CREATE INDEX "
            f"CONCURRENTLY ON {key['table']} ({key['columns']}), or set require_index: false",
        )
    if not facts.found:
        return verdict(UNCHANGED, f"no row of {column} is before the cut-off")
    numbers: dict[str, Any] = {"cutoff": facts.cutoff}
    cascades = [key["table"] for key in facts.referenced_by if key["cascades"]]
    if cascades:
        numbers["cascades_to"] = cascades
    if facts.triggers:
        numbers["triggers"] = list(facts.triggers)
    if facts.rows is not None:
        numbers["rows"] = facts.rows
    affects = {facts.relation.oid: -1 if facts.rows is None else facts.rows}
    affects.update(dict.fromkeys(facts.leaves, -1))
    affects.update({key["oid"]: -1 for key in facts.referenced_by if key["cascades"]})
    return [Action("purge", target, reason_for(column), None, numbers, (facts.statement,), affects, facts.plan)]


def reason_for(column: str) -> str:
    """Why rows are deleted: the same words before and after."""
    return f"{column} is before the cut-off"


def execute(session: Session, action: Action, context: Context) -> Outcome:
    """Delete batch by batch, each a transaction of its own. What is deleted stays deleted, whatever happens later."""
    work = Progress(session, action, context)
    try:
        for _pass in range(PASSES):
            before = work.rows
            if not work.one_pass():
                return work.outcome(DEFERRED, f"out of time after {work.rows} rows; the next run continues")
            if work.full:
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
        return work.outcome(
            reason=f"{action.reason}; {left}{'+' if left == 1000 else ''} rows left, locked by others or kept by a trigger"
        )
    return work.outcome()
