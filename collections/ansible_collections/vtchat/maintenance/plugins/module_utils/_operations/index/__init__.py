# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""index: bring an index to its definition, or remove it, while the application goes on reading and writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._errors import OptionError
from ..._postgres import index_definition
from ..._postgres.driver import sql
from ..._postgres.index_definition import Definition
from ..._postgres.names import Name, display, name_faults, parse_name, quote
from ..._postgres.session import Session
from ..._result import CONTENDED, DONE, FAILED, UNCHANGED
from ..._spec import Spec
from .. import Action, Context, Decision, Difference, Need, Outcome, Verdict
from . import facts as index_facts
from .build import Work
from .facts import Facts, Index
from .statements import BUILD, DROP, Statement, alike, left_behind, statements, strays

SPEC = Spec(
    {
        "definition": {"type": "str"},
        "name": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    mutually_exclusive=[("definition", "name")],
    required_one_of=[("definition", "name")],
)
DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""

CONSTRAINTS = {"p": "primary key", "u": "unique constraint", "x": "exclusion constraint", "f": "foreign key"}

# Bytes of an index, those of its parts included.
SIZE = """
WITH RECURSIVE tree (oid) AS (
    SELECT {oid}::oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
)
SELECT sum(pg_catalog.pg_relation_size(oid))::bigint AS bytes FROM tree
"""


@dataclass(frozen=True)
class Options:
    """An index that is to be present by its definition, or absent by either. name: as SQL has it."""

    name: str
    present: bool
    definition: Definition | None


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults = name_faults("name", [given["name"]] if given["name"] is not None else [])
    if given["state"] == "present" and given["definition"] is None:
        faults.append("state: present needs a definition; its name is taken from there")
    definition = None
    try:
        if given["definition"] is not None:
            definition = index_definition.read(given["definition"])
    except OptionError as error:
        faults += error.errors
    if faults:
        raise OptionError(faults)
    return Options(_name(definition) if definition else given["name"], given["state"] == "present", definition)


def _name(definition: Definition) -> str:
    schema = definition.table.schema
    return quote(definition.name) if schema is None else display(schema, definition.name)


def names(options: Options) -> Sequence[str]:
    """The index."""
    return [options.name]


def needs(options: Options) -> Sequence[Need]:
    """Ownership of the table, with the right to create in its schema; or of the index that is to go."""
    if options.definition is None:
        return [Need(options.name, "own", "iI")]
    table = options.definition.table
    text = quote(table.name) if table.schema is None else display(table.schema, table.name)
    return [Need(text, "own", "rp" if options.present else "rpi", creates=options.present)]


def jobs(options: Options) -> int:
    """One index."""
    return 1


def facts(session: Session, options: Options, context: Context) -> Facts:
    """The wanted index as the server prints it, and what exists. Raises OptionError, SqlError, Contended."""
    definition = options.definition
    if definition is None:
        return index_facts.read_existing(session, parse_name(options.name))
    if options.present:
        return index_facts.read_wanted(session, definition)
    existing = index_facts.read_existing(session, Name(definition.table.schema, definition.name))
    found = existing.found
    if found is not None and found.table is not None and found.table != definition.table.name:
        return replace(existing, fault=_of_another(found))
    return existing


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[tuple[Statement, ...]]]:
    """One decision: nothing to do, why nothing can be done, or the statements that lead to what is wanted."""
    decision = _decide(facts)
    if isinstance(decision, Action) and _disturbs(facts, decision.payload):
        context.warn(f"index {facts.target}: while a unique index is built or dropped concurrently, INSERT ... ON CONFLICT fails "
                     "now and then with a duplicate key before PostgreSQL 19: do it when nobody does that")  # fmt: skip
    return [decision]


def _disturbs(facts: Facts, todo: Sequence[Statement]) -> bool:
    """Whether INSERT ... ON CONFLICT may fail meanwhile."""
    kinds = {statement.kind for statement in todo}
    builds = facts.wanted is not None and facts.wanted.shape.unique and BUILD in kinds
    drops = facts.found is not None and bool(facts.found.printed) and facts.found.shape.unique and DROP in kinds
    return facts.upserts and (builds or drops)


def _decide(facts: Facts) -> Decision[tuple[Statement, ...]]:
    numbers = {"before": _before(facts), "after": _after(facts)}
    fault = facts.fault or _fault(facts)
    if fault:
        return Verdict(facts.target, fault, FAILED)
    try:
        todo = tuple(statements(facts))
    except OptionError as error:
        return Verdict(facts.target, str(error), FAILED, numbers)
    if not todo:
        reason = "there is no index of that name" if facts.wanted is None else "it is as it should be"
        return Verdict(facts.target, reason, UNCHANGED)
    if facts.hazard and any(statement.kind == BUILD for statement in todo):
        return Verdict(facts.target, facts.hazard, FAILED, numbers)
    builder = _builder(facts)
    if builder:
        return Verdict(facts.target, f"session {builder} is building it right now", CONTENDED, numbers)
    texts = [f"{text}\n" if text else "" for text in (numbers["before"], numbers["after"])]
    return Action(
        target=facts.target,
        reason=_reason(facts),
        payload=todo,
        numbers=numbers,
        statements=tuple(statement.text() for statement in todo),
        difference=Difference(*texts),
    )


def _fault(facts: Facts) -> str:
    """Why nothing can be done, "" if something can."""
    found, wanted = facts.found, facts.wanted
    for index in (found, left_behind(facts)):
        if index is not None and index.table is None:
            return f"{index.target} is not an index, and has the name that is needed"
        if index is not None and wanted is not None and index.table_oid != wanted.table.oid:
            return _of_another(index)
    left = left_behind(facts)
    if left is not None and not left.may_drop:
        return f"{left.target} has the name under which this one is built, and belongs to {quote(left.owner)}: have it dropped"
    if found is None or (wanted is not None and found.valid and alike(wanted, found)):
        return ""
    reason = _needed(found)
    if reason:
        return reason if wanted is None else f"it would have to be replaced, but {reason}"
    if not found.may_drop:
        return f"only its owner may change it: GRANT {quote(found.owner)} TO the role that does the maintenance"
    return ""


def _of_another(index: Index) -> str:
    return f"the index {index.target} belongs to another table: {_table(index)}"


def _table(index: Index) -> str:
    return display(index.table_schema or "", index.table or "")


def _needed(index: Index) -> str:
    """Who depends on an index, and what to do about that; "" if nobody does."""
    if index.inherited is not None:
        return f"it is part of the partitioned index {index.inherited_from}, which has to be changed as a whole"
    for constraint in index.needed_by:
        kind, name, table = (
            CONSTRAINTS.get(constraint["type"], "constraint"),
            quote(constraint["name"]),
            constraint["table"],
        )
        remedy = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        if constraint["type"] == "f":
            return f"the {kind} {name} of {table} refers to its columns: {remedy} first"
        return f"it enforces the {kind} {name} of {table}: {remedy} removes both"
    if index.replica_identity:
        table = _table(index)
        return f"it is the replica identity of {table}: ALTER TABLE {table} REPLICA IDENTITY DEFAULT first"
    return ""


def _builder(facts: Facts) -> int | None:
    """Who is building what we would have to remove: an index that is not valid may only be unfinished."""
    unfinished = [facts.found, left_behind(facts), *strays(facts)]
    return next((index.builder for index in unfinished if index and not index.valid and index.builder), None)


def _reason(facts: Facts) -> str:
    found, left = facts.found, left_behind(facts)
    if facts.wanted is None:
        return "it is not wanted" if found else "an interrupted run has left a part of it"
    if found is None:
        return "an interrupted run has begun to build it" if left else "there is no index of that name"
    if not alike(facts.wanted, found):
        return "its definition is different"
    return "it is not valid" if not found.valid else "an interrupted run has left something behind"


def _before(facts: Facts) -> str | None:
    """The index as it is, for people."""
    found = facts.found
    if found is None or found.table is None:
        return None
    text = found.shape.text(found.table_schema or "", found.name, found.table)
    return text + ("" if found.valid else " -- not valid")


def _after(facts: Facts) -> str | None:
    wanted = facts.wanted
    return wanted.shape.text(wanted.table.schema, facts.name, wanted.table.name) if wanted else None


def execute(session: Session, action: Action[tuple[Statement, ...]], context: Context) -> Outcome:
    """Run the statements, and read back what became of it."""
    work = Work(session, context)
    outcome = work.do(action.payload) or _verified(session, action)
    outcome.numbers["seconds_waited"] = round(work.waited, 3)
    failures = 0 if outcome.status == DONE else context.state.get(action.target, {}).get("failures", 0) + 1
    if failures > 1:
        outcome.reason += f" ({failures} times in a row)"
    outcome.state = {"failures": failures}
    return outcome


def _verified(session: Session, action: Action[tuple[Statement, ...]]) -> Outcome:
    """Whether the server has done what it said."""
    name = parse_name(action.target)
    index = index_facts.read_index(session, name.schema or "", name.name)
    if action.numbers["after"] is None:
        if index is not None:
            return Outcome(FAILED, "the server reported success, but the index is still there", changed=True)
        return Outcome(DONE, changed=True)
    if index is None or not index.valid:
        return Outcome(FAILED, "the server reported success, but no valid index has the name", changed=True)
    return Outcome(DONE, changed=True, numbers=session.row(sql.SQL(SIZE).format(oid=sql.Literal(index.oid))))
