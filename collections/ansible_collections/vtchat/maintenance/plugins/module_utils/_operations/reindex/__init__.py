# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""reindex: rebuild indexes that have become much larger than they need be, or that cannot be used, beside the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._errors import OptionError
from ..._postgres.concurrently import HAZARD, HAZARDOUS
from ..._postgres.session import Session
from .. import Action, Context, Need, Outcome, chosen
from . import measure, rebuild
from .decide import DROP, FLUSH, Facts, Work, decide
from .facts import choose
from .leftovers import leftovers
from .options import SPEC, Options, read
from .refusals import refusal

__all__ = ["COUNTED_AS", "DIVISIBLE", "READ_ONLY", "SPEC", "Options", "decide", "execute", "facts", "jobs", "names", "needs",
           "read"]  # fmt: skip

DIVISIBLE = False
READ_ONLY = False
COUNTED_AS = ""


def names(options: Options) -> Sequence[str]:
    """The tables and indexes; none where patterns choose."""
    return () if options.selection.include else (*options.selection.tables, *options.indexes)


def needs(options: Options) -> Sequence[Need]:
    """The owner's rights on the tables, or MAINTAIN; an index has no privileges of its own, so its table's owner."""
    named = [Need(name, "maintain", "rpm") for name in options.selection.tables]
    indexes = [Need(name, "own", "iI") for name in options.indexes]
    everything = replace(options.selection, min_size=None, max_size=None)
    return [*named, *indexes, *chosen(everything, "maintain", "rpm"), Need("", "measure", "")]


def jobs(options: Options) -> int:
    """One after the other: two rebuilds wait for each other's snapshots."""
    return 1


def facts(session: Session, options: Options, context: Context) -> Facts:
    """The indexes with what is known about their sizes. Raises OptionError, SqlError, Contended."""
    if session.server.version_num in HAZARDOUS:
        raise OptionError([HAZARD])
    found = choose(session, options.selection, options.indexes, context)
    left = leftovers(found.indexes)

    def refused(one: measure.Assessed) -> str:
        return refusal(one, session.server, options, left)

    assessed = measure.assess(session, options, context.state, found.indexes, context.seconds_left, refused=refused)
    return Facts(session.server, found.verdicts, assessed, left)


def execute(session: Session, action: Action[Work], context: Context) -> Outcome:
    """Do it, and verify that it was done. Raises SqlError, Contended."""
    work = action.payload
    if work.kind == DROP:
        return rebuild.drop(session, context, work)
    if work.kind == FLUSH:
        return rebuild.flush(session, context, work)
    return rebuild.Rebuild(session, context, work).do()
