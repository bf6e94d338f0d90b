# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is done with one partition, as execute() needs it, and the SQL that does it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Union

from ...._errors import Contended
from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.policy import with_lock_retries
from ...._postgres.session import Session
from ... import Context
from . import queries
from .coming import Coming
from .model import Script
from .table import Partition

# What is done: a partition is detached; a detach that was interrupted is finished; a table that was detached for it is
# dropped, or kept after all; one that is attached, and does not go, loses the mark of an earlier run.
DETACH, FINALIZE, DROP, KEEP, UNMARK = "detach", "finalize", "drop", "keep", "unmark"
PATIENCE = 30.0  # seconds that one step waits for the transactions of others, whatever is left of the budget


@dataclass
class Patience:
    """Seconds that the actions of one step may wait for the transactions of others, together."""

    left: float

    def briefly(
        self,
        session: Session,
        query: sql.Composable,
        context: Context,
        wait: float,
        *,
        limit: float = float("inf"),
        users_path: bool = True,
    ) -> None:
        """Send it under the blocking policy, unless others were in the way for too long already. Raises Contended.

        wait: seconds for each lock; limit: seconds for all of it, each time.
        """
        if self.left <= 0:
            raise Contended("others were in the way of what came before it for too long")

        def attempt() -> None:
            session.set(lock_timeout=wait, statement_timeout=max(0.001, min(limit, context.seconds_left())))
            session.execute(query, users_path=users_path)

        began = time.monotonic()
        end = began + self.left
        try:
            with_lock_retries(session, attempt, lambda: min(context.seconds_left(), end - time.monotonic()))
        except Contended:
            self.left -= time.monotonic() - began
            raise


@dataclass(frozen=True)
class Creation:
    """A partition that is to come.

    wait     seconds for each lock
    known    oids of the partitions that were there when it was decided
    default  one of them is the DEFAULT partition, which is read while another one is attached
    """

    parent: catalog.Relation
    coming: Coming
    script: Script
    patience: Patience
    wait: float
    known: tuple[int, ...] = ()
    default: bool = False


@dataclass(frozen=True)
class Removal:
    """A partition that is to go.

    kind          DETACH, FINALIZE, DROP, KEEP or UNMARK
    drop          it is dropped when it is detached
    unmark        it is no longer to be dropped
    concurrently  DETACH CONCURRENTLY
    wait          seconds for each lock that others would queue behind; less than BLOCKING where it locks other tables as well
    after         oids of partitions whose rows refer to it, and that go before it
    """

    kind: str
    parent: catalog.Relation
    part: Partition
    patience: Patience
    wait: float
    drop: bool = False
    unmark: bool = False
    concurrently: bool = False
    after: frozenset[int] = frozenset()

    @property
    def mark(self) -> str:
        """What an interrupted drop is known by, at the end of the comment."""
        return queries.MARK.format(parent=self.parent.oid) % self.part.oid

    def detach(self, ending: str = "") -> sql.Composed:
        """DETACH, with CONCURRENTLY or FINALIZE."""
        return sql.SQL("ALTER TABLE {} DETACH PARTITION {}{}").format(
            self.parent.identifier, self.part.identifier, sql.SQL(f" {ending}" if ending else "")
        )

    def drop_table(self) -> sql.Composed:
        """Without CASCADE: nothing that needs it goes with it."""
        return sql.SQL("DROP TABLE {}").format(self.part.identifier)

    def comment(self, text: str | None) -> sql.Composed:
        """COMMENT ON TABLE; None for none."""
        return sql.SQL("COMMENT ON TABLE {} IS {}").format(self.part.identifier, sql.Literal(text))

    def texts(self) -> tuple[str, ...]:
        """The statements that change something, for people and in their order."""
        parent, part = self.parent.display, self.part.display
        ending = {DETACH: " CONCURRENTLY" if self.concurrently else "", FINALIZE: " FINALIZE"}
        detach = [f"ALTER TABLE {parent} DETACH PARTITION {part}{ending[self.kind]}"] if self.kind in ending else []
        marks = self.drop and (self.kind == FINALIZE or self.concurrently)
        mark = [f"COMMENT ON TABLE {part} IS '{self.mark}' -- after what its comment says now"] if marks else []
        unmark = [f"COMMENT ON TABLE {part} IS '' -- what it says now without {self.mark}"] if self.unmark else []
        return (*unmark, *mark, *detach, *([f"DROP TABLE {part}"] if self.drop else []))


Todo = Union[Creation, Removal]
