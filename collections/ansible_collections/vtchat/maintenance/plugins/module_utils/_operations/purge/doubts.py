# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether the values of a column can be what they are declared to be.

Where none is, nothing is deleted, and that is a failure: no row would ever expire, and nobody would be told. Where an earlier
run has seen values that are, these have gone, and those that never expire are left: that is worth a warning, but it is as it
should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._postgres.driver import sql
from ..._postgres.session import Session
from ..._result import WARNING, Finding
from . import clocks
from .clocks import Column
from .options import Condition, Options

SEEN = "seen"


@dataclass(frozen=True)
class Doubts:
    """What a look at the values has shown.

    fault  why they cannot be what is declared
    odd    the same of values beside which an earlier run has seen others
    seen   the columns, and how they are read, of which such values were seen, now or earlier, also by other steps
    """

    fault: str = ""
    odd: str = ""
    seen: tuple[str, ...] = ()

    def remembered(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the next run has to know, besides what it knows by now; None where that is nothing new."""
        known = state or {}
        return {**known, SEEN: list(self.seen)} if self.seen and known.get(SEEN) != list(self.seen) else None

    def findings(self, table: str) -> list[Finding]:
        """That rows are left which never expire."""
        meaning = "nothing ever deletes such rows; others are deleted when their time has come"
        return [Finding("purge-values", table, WARNING, self.odd, meaning=meaning, keep=False)] if self.odd else []


def look(
    session: Session,
    table: sql.Composable,
    columns: Mapping[str, Column],
    options: Options,
    state: dict[str, Any] | None,
) -> Doubts:
    """A look at some values of each column of which the type does not tell what is in it. state: from the last run."""
    known = (state or {}).get(SEEN)
    seen = [name for name in known if isinstance(name, str)] if isinstance(known, list) else []
    odd = ""
    for condition in options.conditions:
        query = clocks.doubt(condition, columns, table)
        if not query:
            continue
        row = session.row(query)
        fault = clocks.doubt_fault(condition, row)
        if fault and (_name(condition) not in seen or clocks.contradicted(condition, row)):
            return Doubts(fault)
        odd = odd or fault
        if clocks.confirmed(condition, row):
            seen.append(_name(condition))
    return Doubts("", odd, tuple(dict.fromkeys(seen)))


def _name(condition: Condition) -> str:
    return f"{condition.column} {condition.format or condition.epoch}"
