# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""analyze: renew the planner's statistics where enough has changed, without getting in autovacuum's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..._errors import Contended, OptionError
from ..._postgres import catalog
from ..._postgres.capabilities import FLUSHED_STATISTICS, RESTRICTED_PATH
from ..._postgres.policy import LIGHT
from ..._postgres.selection import SELECTION, Overrides, Selection, overrides_spec, read_overrides
from ..._postgres.selection import read as read_selection
from ..._postgres.session import Session
from ..._postgres.statistics import BASE, SCALE_FACTOR, analyze_threshold, when_counted
from ..._result import CONTENDED, FAILED, UNCHANGED
from ..._spec import Spec
from ..._units import count, duration, rows
from .. import Action, Context, Decision, Effect, Need, Outcome, Verdict, chosen
from .facts import KINDS, SELECTED_KINDS, Table, busy, fault, read_chosen, read_named, read_rows

# Changed rows that make statistics worth renewing: min(threshold + scale_factor * rows, sqrt(1000 * rows)), at least 1.
THRESHOLDS: dict[str, dict[str, Any]] = {
    "threshold": {"type": "int", "default": BASE},
    "scale_factor": {"type": "float", "default": SCALE_FACTOR},
}
SPEC = SELECTION + Spec({**THRESHOLDS, "jobs": {"type": "int", "default": 1}}) + overrides_spec(THRESHOLDS)
DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""

MOST_JOBS = 64
# Seconds after which a foreign table is due again: nobody counts its changes, and autovacuum never analyzes it.
FOREIGN_AGE = 7 * 86400

# Changes of our own session that are reported only after ANALYZE would count as made after it.
FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush(), pg_catalog.clock_timestamp() AS started"
FLUSH_14 = "SELECT pg_catalog.clock_timestamp() AS started"


@dataclass(frozen=True)
class Options:
    """Which tables; when one is due; how many at once."""

    selection: Selection = field(default_factory=Selection)
    threshold: int = BASE
    scale_factor: float = SCALE_FACTOR
    overrides: Overrides = field(default_factory=Overrides)
    jobs: int = 1

    def due(self, table: Table) -> int:
        """Changed rows from which on a table is due."""
        own = self.overrides.of([f"{table.relation.schema}.{table.relation.name}"])
        base, factor = own.get("threshold", self.threshold), own.get("scale_factor", self.scale_factor)
        return analyze_threshold(table.rows or 0, base, factor)


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults: list[str] = []
    selection, overrides = read_selection(given, faults), read_overrides(given, faults)
    values: dict[str, Any] = {"threshold": BASE, "scale_factor": SCALE_FACTOR, "jobs": 1}
    values.update({name: given[name] for name in values if given.get(name) is not None})
    if not 1 <= values["jobs"] <= MOST_JOBS:
        faults.append(f"jobs: must be from 1 to {MOST_JOBS}")
    for where, one in (("", values), *((f"overrides ({match}): ", own) for match, own in overrides.rules)):
        faults += [f"{where}{name}: must not be negative" for name in THRESHOLDS if not one.get(name, 0) >= 0]
    if faults:
        raise OptionError(faults)
    return Options(selection, overrides=overrides, **values)


def names(options: Options) -> Sequence[str]:
    """The tables; none where patterns choose."""
    return () if options.selection.include else options.selection.tables


def needs(options: Options) -> Sequence[Need]:
    """The owner's rights, or MAINTAIN."""
    named = [Need(name, "maintain", KINDS) for name in options.selection.tables]
    return [*named, *chosen(options.selection, "maintain", SELECTED_KINDS)]


def jobs(options: Options) -> int:
    """As the option says."""
    return options.jobs


def facts(session: Session, options: Options, context: Context) -> list[Table | Verdict]:
    """One round trip for all names, one for all patterns; one more for each name that does not exist."""
    named = read_named(session, options.selection)
    return [*named, *read_chosen(session, options.selection, context)]


def decide(facts: Sequence[Table | Verdict], options: Options, context: Context) -> list[Decision[Table]]:
    """One decision per table: as they were named, or where patterns choose those with the most changes first."""
    known: dict[str, Table | Verdict] = {}
    for table in facts:
        known.setdefault(table.target, table)
    tables = list(known.values())
    if options.selection.include:
        tables.sort(key=lambda table: -table.modified if isinstance(table, Table) else 0)
    return [_decide(table, options, context.forecast) if isinstance(table, Table) else table for table in tables]


def _decide(table: Table, options: Options, forecast: Mapping[int, Effect]) -> Decision[Table]:
    if table.empty_parent:
        return Verdict(table.target, "has no partitions", UNCHANGED)
    if table.relation.kind == "f":
        return _decide_foreign(table)
    limit = options.due(table)
    coming = _coming(table.relation.oid, table.stored, forecast)
    if coming.gone:
        return Verdict(table.target, "an earlier step of this plan drops it", UNCHANGED)
    if coming.analyzed:
        return Verdict(table.target, "an earlier step of this plan analyzes it", UNCHANGED)
    modified = table.modified + (coming.rows or 0)
    numbers = {"rows": table.rows, "modified": modified, "threshold": limit}
    if table.never:
        reason = "never analyzed"
    elif modified >= limit:
        reason = f"{_share(modified, table.rows)} changed since the last analyze (threshold {count(limit)})"
    elif coming.rows is None:
        reason = "an earlier step of this plan changes rows here"
    elif table.stale:
        reason = "autovacuum analyzed a partition since, but never the parent"
    else:
        return Verdict(
            table.target, f"{rows(modified)} changed, below the threshold of {count(limit)}", UNCHANGED, numbers
        )
    if table.busy:
        return Verdict(table.target, f"{reason}, but {table.busy}", CONTENDED, numbers)
    return Action(table.target, reason, table, numbers, (table.statement,))


def _decide_foreign(table: Table) -> Decision[Table]:
    """Changes elsewhere are not counted here, so time decides."""
    numbers = {"age_seconds": table.age}
    if table.never:
        reason = "never analyzed"
    elif table.age is None:
        reason = "it is not known when it was analyzed"
    elif table.age > FOREIGN_AGE:
        reason = f"analyzed {duration(table.age)} ago, and changes of a foreign table are not counted"
    else:
        reason = f"a foreign table, analyzed {duration(table.age)} ago (due after {duration(FOREIGN_AGE)})"
        return Verdict(table.target, reason, UNCHANGED, numbers)
    return Action(table.target, reason, table, numbers, (table.statement,))


def _share(modified: int, of: int | None) -> str:
    """``5 of 100 rows``, where the second number is known and not the smaller one."""
    return rows(modified) if of is None or of < modified else f"{count(modified)} of {rows(of)}"


def _coming(oid: int, stored: list[int], forecast: Mapping[int, Effect]) -> Effect:
    """What earlier steps are about to do. A parent's number includes its partitions'; it stays when one of those goes."""
    if oid in forecast:
        return forecast[oid]
    parts = [forecast[part] for part in stored if part in forecast]
    return replace(sum(parts, Effect()), gone=False, analyzed=False)


def execute(session: Session, action: Action[Table], context: Context) -> Outcome:
    """Analyze one table, and look whether it was: without the lock or the right ANALYZE only warns."""
    session.set(lock_timeout=LIGHT)
    started = session.row(FLUSH if session.server.has(FLUSHED_STATISTICS) else FLUSH_14)["started"]
    why = "another session held a lock"
    relation = action.payload.relation
    try:
        _send(session, action.payload)
    except Contended as error:
        why = str(error)  # what was done before it, such as some partitions, stays done
    said = [text for text in session.notices if "cannot analyze this foreign table" in text]
    row = _read_after(session, relation, started.isoformat())
    if row["oid"] is None:
        return Outcome(FAILED, "was dropped meanwhile")
    wrong = fault(session.server, relation, row)
    if wrong:
        return Outcome(FAILED, wrong, changed=row["analyzed_since"])
    if said and relation.kind == "f":
        return Outcome(FAILED, "its foreign-data wrapper cannot analyze it: take it out of the tables")
    why = busy(row) or why
    if not row["analyzed_since"]:
        return Outcome(CONTENDED, f"skipped: {why}")
    if row["behind"]:
        parts = "1 partition was" if row["behind"] == 1 else f"{count(row['behind'])} partitions were"
        return Outcome(CONTENDED, f"analyzed, but {parts} skipped: {why}", changed=True)
    return Outcome(changed=True)


def _send(session: Session, table: Table) -> None:
    """ANALYZE. Before 17, functions that expressions of indexes and statistics use see the path of the session."""
    if session.server.has(RESTRICTED_PATH):
        session.execute(table.statement, alone=True)
        return
    with session.users_path():
        session.execute(table.statement, alone=True)


def _read_after(session: Session, relation: catalog.Relation, started: str) -> dict[str, Any]:
    """The facts after ANALYZE."""

    def read() -> dict[str, Any]:
        (row,) = read_rows(session, catalog.targets(session.server, [relation.display]), started)
        return row

    return when_counted(
        session.server, read, lambda row: row["oid"] is None or bool(row["analyzed_since"] and not row["behind"])
    )
