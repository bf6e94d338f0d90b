# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What else a purge has to do with rows: keep them elsewhere, and deal first with those that refer to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._postgres import catalog
from ..._postgres.session import Session
from . import archive, replication, table, trees
from .archive import Plan
from .archive.sinks import Store
from .options import Options
from .statements import Keep
from .trees import Tree
from .trees.batches import WithChildren


@dataclass(frozen=True)
class Beside:
    """plan: where rows of the table go; children: those of other tables, by their place in with. None, or empty: nowhere."""

    tree: Tree
    plan: Plan | None = None
    children: dict[int, Plan] = field(default_factory=dict)

    @property
    def doubtful(self) -> bool:
        """Whether an earlier run has left something to find out."""
        return any(plan.doubtful for plan in self._plans())

    @property
    def numbers(self) -> dict[str, Any]:
        """What a result says of it beforehand."""
        names = [table.display for table in self.tree.listed]
        return {
            **({"archive": self.plan.numbers} if self.plan else {}),
            **({"with": names} if names else {}),
        }

    def start(self, session: Session) -> tuple[Keep | None, dict[str, int]]:
        """What does it; and how many files of earlier runs were told apart. Raises MaintenanceError."""
        settled: Counter[str] = Counter()
        stores: dict[int | None, Store] = {}
        own: Keep | None = None
        plans: list[tuple[int | None, Plan]] = [(None, self.plan)] if self.plan else []
        for position, plan in [*plans, *self.children.items()]:
            keep, told = archive.start(session, plan)
            settled.update(told)
            own = own or keep
            stores[position] = keep
        if self.tree.ways or self.tree.layers:
            return WithChildren(self.tree, stores), dict(settled)
        return own, dict(settled)

    def _plans(self) -> list[Plan]:
        return [plan for plan in (self.plan, *self.children.values()) if plan]


def read(
    session: Session, relation: catalog.Relation, row: dict[str, Any], options: Options, cutoff: str
) -> Beside | str:
    """What is to be done; or why the purge cannot be. row: what is known of the table."""
    tree = (
        trees.read(session, relation, options) if relation.kind in "rp" else Tree(relation.oid, relation.identifier, ())
    )
    if isinstance(tree, str):
        return tree
    meant = [*tree.parts, *tree.layers]
    fault = table.fault(session.server, relation, row, options, meant) or archive.not_archived(
        [
            (key["table"], key["constraint"])
            for key in row["referenced_by"] or ()
            if key["deletes"] and key["oid"] not in meant
        ]
        + [(edge.child_shown, edge.name) for edge in tree.unlisted],
        options,
        relation.display,
    )
    if not fault and row["published"]:
        fault = replication.fault(session, [*row["deletes"], *tree.deletes], [*row["updates"], *tree.updates])
    if fault or not options.archive:
        return fault or Beside(tree)
    plan = archive.read(session, relation, options, cutoff)
    if isinstance(plan, str):
        return plan
    children = {}
    going = {way[-1].position for way in tree.ways if way[-1].goes}  # of the others no row leaves its table
    for position, child in enumerate(tree.listed):
        if position not in going:
            continue
        found = archive.read(session, child, options, cutoff)
        if isinstance(found, str):
            return found
        children[position] = found
    plans = [plan, *children.values()]
    return _into_fault(plans, {*row["deletes"], *tree.deletes}, relation, options) or Beside(tree, plan, children)


def _into_fault(plans: Sequence[Plan], deletes: Collection[int], relation: catalog.Relation, options: Options) -> str:
    """Why rows would not stay in a table that they go to, or nothing. deletes: oids of tables that lose rows."""
    targets = [plan.target for plan in plans if plan.target]
    option = "archive.schema" if options.archive and options.archive.schema else "archive.table"
    for target in targets:
        if target.oid in deletes:
            return (
                f"{option}: rows of {target.shown} go with those of {relation.display}, by a foreign key: drop that key"
            )
        if sum(other.oid == target.oid for other in targets) > 1:
            return f"{option}: rows of several tables of that name would go to {target.shown}: name a directory"
    return ""
