# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Partitions of a table: those that have expired as a whole are detached and dropped, those to come are created."""

from __future__ import annotations

from dataclasses import replace

from ...._postgres.session import Session
from ... import Action, Context, Need, Outcome
from ..options import DROP, Options
from . import create, detach
from .actions import Creation, Removal, Todo
from .decide import decide
from .facts import Facts, facts

__all__ = ["Creation", "Facts", "Removal", "Todo", "decide", "execute", "facts", "needs", "rest"]


def rest(found: Facts, options: Options) -> Options | None:
    """What deletes the expired rows that are in no partition but DEFAULT; None where nothing does.

    Where partitions are kept as tables, such rows are kept as well.
    """
    if options.partitions != DROP or found.default is None:
        return None
    # The zone of a timestamptz is that of the calendar of its partitions.
    condition = options.conditions[0] if found.key.zoneless else replace(options.conditions[0], timezone=None)
    table = found.default.display
    return replace(options, table=table, conditions=(condition,), partitions=None, premake=None, interval=None)


def needs(options: Options) -> list[Need]:
    """Ownership; and the right to create beside it what is to come, and is to be the owner's."""
    creates = options.premake is not None
    return [Need(options.table, "own", "p", creates=creates, becomes=creates)]


def execute(session: Session, action: Action[Todo], context: Context) -> Outcome:
    """Create, or detach and drop, one partition."""
    if isinstance(action.payload, Creation):
        return create.execute(session, action.payload, context)
    return detach.execute(session, action.payload, context, action.numbers.get("bytes"))
