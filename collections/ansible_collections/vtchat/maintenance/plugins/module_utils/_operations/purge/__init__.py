# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""purge: delete the rows whose time has come, in small batches, each a transaction of its own; or partitions as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._errors import Contended, SqlError
from ..._postgres.session import Session
from ..._result import CONTENDED, FAILED, UNCHANGED, Finding
from .. import Action, Context, Decision, Need, Outcome, Verdict
from . import rows
from .options import SPEC, Options, read
from .statements import Purge

if TYPE_CHECKING:
    from . import partitions

__all__ = [
    "COUNTED_AS",
    "DIVISIBLE",
    "READ_ONLY",
    "SPEC",
    "decide",
    "execute",
    "facts",
    "jobs",
    "names",
    "needs",
    "read",
]

DIVISIBLE = True
READ_ONLY = False
COUNTED_AS = "purged"


@dataclass(frozen=True)
class Parts:
    """What decide() needs of partitions. rest, found: of the rows that are in none of them but in DEFAULT."""

    parts: partitions.Facts
    rest: Options | None = None
    found: rows.Facts | Verdict | None = None


def names(options: Options) -> Sequence[str]:
    """The table."""
    return [options.table]


def needs(options: Options) -> Sequence[Need]:
    """SELECT, UPDATE and DELETE, also of rows that refer to them; INSERT where rows are kept; SELECT of what holds rows that
    may stay; of partitions, ownership.
    """
    if options.of_partitions:
        from . import partitions  # here and below: few purges need it

        return partitions.needs(options)
    archived = [options.table, *(options.children if options.archive and options.archive.schema else ())]
    into = [options.archive.target(name) for name in archived] if options.archive else []
    return [
        Need(options.table, "rows", "rp", options.columns[0]),
        *(Need(name, "insert", "rp") for name in into if name),
        *(Need(child, "referring", "rp") for child in options.children),
        *(Need(name, "holders", "rp") for name in (options.table, *options.children) if options.keep_referenced),
    ]


def jobs(options: Options) -> int:
    """One table, one after the other."""
    return 1


def facts(session: Session, options: Options, context: Context) -> rows.Facts | Parts | Verdict:
    """What the table is, whether anything in it has expired, and how much of it: two round trips where nothing has."""
    if not options.of_partitions:
        return rows.facts(session, options, context)
    from . import partitions

    found = partitions.facts(session, options, context)
    if isinstance(found, Verdict):
        return found
    rest = partitions.rest(found, options)
    return Parts(found, rest, _rest(session, rest, context) if rest else None)


def _rest(session: Session, options: Options, context: Context) -> rows.Facts | Verdict:
    """What is to be known of the rows in DEFAULT. What keeps that from being known keeps no partition from going or coming."""
    try:
        return rows.facts(session, options, context)
    except Contended as error:
        return Verdict(options.table, f"its expired rows cannot be looked for now: {error}", CONTENDED)
    except SqlError as error:
        if not session.alive:
            raise
        return Verdict(options.table, str(error), FAILED)


def decide(
    facts: rows.Facts | Parts | Verdict, options: Options, context: Context
) -> Sequence[Decision[Any] | Finding]:
    """One decision: the table, and what will go wrong with it. Of partitions, one for each that goes or comes."""
    if not isinstance(facts, Parts):
        decision = rows.decide(facts, options)
        foretold = rows.foretold(facts, options) if isinstance(decision, Action) else []
        return [decision, *rows.odd(facts), *foretold]
    from . import partitions

    *each, summary = partitions.decide(facts.parts, options, context)
    rest = [rows.decide(facts.found, facts.rest)] if facts.rest and facts.found else []
    return [*each, *(one for one in rest if one.verdict != UNCHANGED), summary]


def execute(session: Session, action: Action[Any], context: Context) -> Outcome:
    """Delete batch by batch, each a transaction of its own. What is deleted stays deleted, whatever happens later."""
    if isinstance(action.payload, Purge):
        return rows.execute(session, action, context)
    from . import partitions

    return partitions.execute(session, action, context)
