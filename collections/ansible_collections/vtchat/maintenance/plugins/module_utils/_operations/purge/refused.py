# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Rows that cannot go, because a trigger or a constraint refuses it: each is found and left, and the others go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..._errors import Contended
from ..._postgres.policy import ROW
from .statements import Refusal, Row

if TYPE_CHECKING:
    from .work import Work

SINGLED = 256  # rows that are listed by their places, of which some cannot go
ONE_BY_ONE = 8  # that cannot go, one after the other: then halves are tried no more
# Of them, one after the other: then it is not about rows but about all of it. And in all: each costs a dozen tries.
MOST_IN_LINE = 100
MOST_REFUSED = 1000

# Classes of errors that are about everything. All others, those of users' own among them, may be about one row.
ABOUT_EVERYTHING = (
    "08",  # connection
    "0A",  # feature not supported
    "25",  # transaction state, such as read only
    "26",  # statement name
    "28",  # authorization
    "3D",  # database
    "3F",  # schema
    "40",  # rolled back
    "42",  # syntax, or rights
    "53",  # resources, such as the disk
    "55",  # prerequisites, such as a replica identity
    "57",  # an operator, or a limit of time
    "58",  # the system
    "72",  # snapshot
    "F0",  # configuration
    "HV",  # foreign data
    "XX",  # corruption, or a fault of the server
)


def about_rows(sqlstate: str) -> bool:
    """Whether an error may be about single rows. Without a code the connection is gone."""
    return bool(sqlstate) and not sqlstate.startswith(ABOUT_EVERYTHING)


@dataclass
class Search:
    """Where among the next rows or pages those that cannot go are. suspect: that many of the next ones have one of them."""

    suspect: int = 0

    def failed(self, size: int) -> int:
        """So many of them failed together: how many to try next."""
        self.suspect = size
        return max(1, size // 2)

    def passed(self, size: int, wanted: int) -> int:
        """So many of them are gone: how many to try next. wanted: without a suspicion."""
        self.suspect = max(0, self.suspect - size)
        return min(wanted, max(1, self.suspect // 2)) if self.suspect else wanted

    def ended(self) -> None:
        """It was found."""
        self.suspect = 0


def apart(work: Work, rows: Sequence[Row], error: Refusal) -> None:
    """Delete all of these rows that can go. error: what they have met with together.

    Raises Late, Contended, and Refusal where none of them is there, or when that is enough of them.
    """
    if not rows:  # it fails without rows as well
        raise error
    waiting = [list(rows[first : first + SINGLED]) for first in range(0, len(rows), SINGLED)][::-1]
    while waiting and not work.full:
        some = waiting.pop()
        if work.allowed is not None and len(some) > work.allowed:
            waiting.append(some[work.allowed :])
            some = some[: work.allowed]
        work.in_time()
        work.limit(ROW)
        try:
            row, took = work.send(work.purge.those(some))
        except (Contended, Refusal) as met:
            refusal = work.final(met)
            half = len(some) // 2
            if work.spares(refusal):
                waiting.append(some)
            elif half:
                size = 1 if work.in_line >= ONE_BY_ONE else half
                waiting += [some[first : first + size] for first in range(0, len(some), size)][::-1]
            else:
                work.leave(some[0], refusal)
            continue
        work.held += row["picked"] < len(some)
        work.deleted(row["gone"], took)
        if row.get("again"):
            waiting.append(some)
