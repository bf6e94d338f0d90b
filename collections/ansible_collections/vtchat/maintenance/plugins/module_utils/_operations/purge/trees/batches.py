# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Batches of rows with what hangs on them: no transaction deletes or changes more rows than a batch."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...._postgres.driver import sql
from ...._postgres.session import Session
from ..archive.sinks import NO_PICK, PICK, Store, picked_before, transaction
from ..statements import LAST, Batch
from . import statements
from .facts import SETS, Edge

if TYPE_CHECKING:
    from . import Tree

FIRST_ROOM = 1000  # rows of other tables in one transaction
CHANGED = """
WITH picked AS MATERIALIZED ({pick}), done AS ({change} RETURNING 1)
SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM done) AS gone
"""


class WithChildren:
    """Rows are locked, what hangs on them goes first, and they go in the transaction in which nothing is left of that.

    room    rows of other tables that one transaction may delete or change
    stores  where rows are kept, by the place of the table in with, None for the table itself; empty: nowhere
    gone    rows of other tables so far, by the name of the table
    """

    picks = True

    def __init__(self, tree: Tree, stores: Mapping[int | None, Store]) -> None:
        # The deepest first.
        self.ways = sorted(tree.ways, key=len, reverse=True)
        self.table, self.root, self.stores = tree.table, tree.root, stores
        # By what other rows hang on those of a table, and have to go first. SET DEFAULT may change nothing, and what a
        # table says of itself the server sets.
        self.below: dict[int, list[Edge]] = defaultdict(list)
        for edge in tree.edges:
            if edge.position is not None and edge.facts["action"] != "d" and not (edge.itself and edge.action == SETS):
                self.below[edge.parent_root].append(edge)
        self.room = FIRST_ROOM
        self.gone: Counter[str] = Counter()
        self._stuck = False

    def batch(self, session: Session, batch: Batch, look: str) -> dict[str, Any]:
        """One transaction. ``again``: rows that hang on the picked ones are left, so that these are still there."""
        began = time.monotonic()
        pick = sql.SQL(PICK).format(pick=batch.pick, last=sql.SQL(LAST)) if batch.pick else sql.SQL(NO_PICK)
        counts: Counter[str] = Counter()
        with transaction(session, list(self.stores.values()), pick) as row:
            row.update(gone=0, again=False, room=self.room)
            if row.get("picked"):
                row["again"] = self._children(session, row, counts)
                if not row["again"]:
                    picked = statements.bare(self.table, self.below[self.root], row["parts"], row["places"])
                    row["gone"] = self._delete(session, None, picked, batch.delete)
            if look:
                row.update(session.row(f"SELECT NULL AS looked{look}", users_path=True))
            row["inside"] = time.monotonic() - began
        self.gone += counts
        return row

    def close(self) -> dict[str, Any]:
        """What the result says of it."""
        told: dict[str, Any] = {"with": dict(self.gone)} if self.ways else {}
        for position, store in self.stores.items():
            kept = store.close()["archive"]
            if position is None:
                told["archive"] = kept
            else:
                told.setdefault("archive_with", []).append(kept)
        return told

    def _children(self, session: Session, row: dict[str, Any], counts: Counter[str]) -> bool:
        """Deal with what hangs on the picked rows, as far as there is room. Whether the rest needs another transaction."""
        room, moved, kept = self.room, 0, False
        for way in self.ways:
            edge = way[-1]
            while room > 0:
                below = self.below[edge.child_root]
                pick, change = statements.next_rows(way, below, row["parts"], row["places"], room)
                found, done = self._change(session, edge, pick, change)
                counts[edge.child_shown] += done
                moved, room = moved + done, room - found
                kept = kept or done < found
                # Of rows that refer to each other in one table the next layer can go now.
                if not found or not done or not any(key.itself for key in below):
                    break
            if room <= 0:
                self._stuck = False
                return moved > 0
        # A row that somebody has just changed, or that a trigger keeps: once more, then what it hangs on stays as well.
        again = kept and not self._stuck
        self._stuck = again
        return again or (moved > 0 and moved + row["picked"] > self.room)

    def _change(self, session: Session, edge: Edge, pick: sql.Composable, change: sql.Composable) -> tuple[int, int]:
        """How many rows were found, and how many are deleted or changed."""
        if edge.action == SETS or not self.stores:
            query = sql.SQL(CHANGED).format(pick=pick, change=change)
            row = session.row(query, users_path=True)
            return row["picked"], row["gone"]
        row = session.row(sql.SQL(PICK).format(pick=pick, last=sql.SQL(LAST)), users_path=True)
        gone = self._delete(session, edge.position, picked_before(row), change) if row["picked"] else 0
        return row["picked"], gone

    def _delete(self, session: Session, position: int | None, picked: sql.Composable, delete: sql.Composable) -> int:
        """Where some rows are kept all are."""
        if self.stores:
            return self.stores[position].delete(session, picked, delete)
        return session.execute(picked + delete, users_path=True)
