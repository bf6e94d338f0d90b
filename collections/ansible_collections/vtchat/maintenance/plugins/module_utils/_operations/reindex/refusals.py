# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Why an index is left as it is although a rebuild would be good for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ..._postgres.capabilities import UPSERTS_BESIDE_REBUILDS
from ..._postgres.concurrently import rebuild_fault
from ..._postgres.copies import ending
from ..._postgres.index_definition import is_working_name
from ..._postgres.names import quote
from ..._postgres.server import Server
from ..._window import Window
from .facts import Index
from .leftovers import Leftover
from .measure import Assessed
from .options import Options


def refusal(one: Assessed, server: Server, options: Options, left: Mapping[int, Leftover]) -> str:
    """The first of the reasons, with what would help; "" where there is none."""
    index = one.index
    return (
        _impossible(index)
        or options.selection.too_large(index.bytes)
        or rebuild_fault(server.version_num, index.deferrable and index.unique, index.partial or index.expressions)
        or _stuck(index, left)
        or _upserts(one, server, options)
    )


def drop_statement(index: Index) -> str:
    """How somebody removes it by hand."""
    return f"DROP INDEX CONCURRENTLY {index.target}"


def _impossible(index: Index) -> str:
    """What no REINDEX CONCURRENTLY would do, or would do wrong."""
    if index.exclusion:
        return "it enforces an exclusion constraint, and such an index cannot be rebuilt concurrently"
    if not index.live:
        return f"DROP INDEX CONCURRENTLY was interrupted: {drop_statement(index)} once more"
    if not index.valid and ending(index.name)[0]:
        return f"an interrupted rebuild seems to have left it, but of no index that there is: {drop_statement(index)}"
    if not index.valid and is_working_name(index.name, index.table):
        return "the operation index has begun to build it, and goes on with it when it runs the next time"
    return ""


def _stuck(index: Index, left: Mapping[int, Leftover]) -> str:
    """What an earlier try has left and nobody here may drop: each further try would leave one more."""
    for leftover in left.values():
        if leftover.of.oid == index.oid and not (leftover.index.may_drop and leftover.index.may_use_schema):
            what = drop_statement(leftover.index)
            return f"what an earlier try has left has to go first: {what} as {quote(index.owner)}"
    return ""


def needs_quiet(one: Assessed, server: Server) -> bool:
    """Whether INSERT ... ON CONFLICT would fail beside its rebuild, and nobody has said that this may be."""
    return one.index.upserts and not one.limits.unique and not server.has(UPSERTS_BESIDE_REBUILDS)


def seconds_quiet(window: Window, now: datetime) -> float:
    """For how long a window stays open; 0 where it is not."""
    return (window.closes(now) - now).total_seconds()


def _upserts(one: Assessed, server: Server, options: Options) -> str:
    """Why a unique index is left as it is now."""
    index = one.index
    if not needs_quiet(one, server) or options.is_quiet(index.now):
        return ""
    when = f", or wait for the window from {options.quiet}" if options.quiet else ", or give a quiet window"
    kind = "the primary key" if index.primary else "a unique index"
    return (f"while {kind} is rebuilt concurrently, INSERT ... ON CONFLICT fails now and then with a duplicate key before "
            f"PostgreSQL 19: set unique: true where nothing does that{when}")  # fmt: skip
