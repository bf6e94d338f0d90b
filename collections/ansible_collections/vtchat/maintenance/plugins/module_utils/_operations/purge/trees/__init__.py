# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Rows of other tables that refer to those that expire: those that go first, and those that hold them."""

from __future__ import annotations

from dataclasses import dataclass

from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.names import quote
from ...._postgres.session import Session
from ..options import Options
from .facts import HOLDS, SETS, Edge, layered, paths, read_edges, read_listed
from .statements import free

SMALL_TABLE = 1000  # pages, as for the table itself


@dataclass(frozen=True)
class Tree:
    """What hangs on the rows of a table.

    edges   all foreign keys that lead to it, directly or through rows that go
    ways    the paths to tables that ``with`` names, which are dealt with first
    listed  those tables
    """

    root: int
    table: sql.Composable
    edges: tuple[Edge, ...]
    ways: tuple[tuple[Edge, ...], ...] = ()
    listed: tuple[catalog.Relation, ...] = ()

    @property
    def parts(self) -> list[int]:
        """Oids of tables that ``with`` names, and of their partitions."""
        return [oid for edge in self.edges if edge.position is not None for oid in edge.facts["child_parts"]]

    @property
    def deletes(self) -> list[int]:
        """Oids of the tables, with their partitions, whose rows go, by themselves or because ``with`` names them."""
        return [oid for edge in self.edges if edge.goes for oid in edge.facts["child_parts"]]

    @property
    def updates(self) -> list[int]:
        """Oids of the tables, with their partitions, whose rows lose their keys."""
        return [oid for edge in self.edges if edge.action == SETS for oid in edge.facts["child_parts"]]

    @property
    def layers(self) -> list[int]:
        """Oids of the parts of the table whose rows the server would take with others of it, and that hold these instead."""
        return [oid for edge in self.edges if edge.layered for oid in edge.facts["child_parts"]]

    @property
    def unlisted(self) -> list[Edge]:
        """Keys by which rows go that ``with`` does not name."""
        return [edge for edge in self.edges if edge.goes and edge.position is None]

    @property
    def held(self) -> list[tuple[Edge, ...]]:
        """The paths to rows that hold others. A row that is held must not lose what hangs on it."""
        return [way for way in paths(self.edges, self.root) if way[-1].action == HOLDS and way[-1].position is None]

    @property
    def holds_itself(self) -> bool:
        """Whether rows of the table may be held by others of it, which may go before them."""
        return any(way[-1].child_root == self.root for way in self.held)

    def free(self, itself: bool = True) -> sql.Composable | None:
        """The predicate of a row that no other row holds, None where no key holds any. itself: rows of the table count."""
        each = [free(way) for way in self.held if itself or way[-1].child_root != self.root]
        return sql.SQL(" AND ").join(each) if each else None


def read(session: Session, relation: catalog.Relation, options: Options) -> Tree | str:
    """The tree, where options ask for it; or why it cannot be. Raises OptionError for a table that is not there."""
    if not options.children and not options.keep_referenced:
        return Tree(relation.oid, relation.identifier, ())
    listed = read_listed(session, options.children)
    edges = read_edges(session, relation.oid, options.children, [one.column for one in options.conditions])
    if options.keep_referenced and not options.cascade:
        edges = tuple(layered(edge, relation.oid) for edge in edges)
    ways = tuple(way for way in paths(edges, relation.oid) if way[-1].position is not None and not way[-1].itself)
    tree = Tree(relation.oid, relation.identifier, edges, ways, tuple(listed))
    return (
        _names_fault(tree, relation)
        or _cycle(tree)
        or _keeper(tree, options)
        or _early(tree, options)
        or _keys_fault(session, tree, options)
        or _held_fault(session, tree)
        or tree
    )


def holding(session: Session, oid: int, table: sql.Composable) -> Tree | None:
    """What holds rows of a table of which nothing was asked; None where nothing does, or the role may not see all of it."""
    tree = Tree(oid, table, read_edges(session, oid, (), ()))
    return None if not tree.held or _held_fault(session, tree) else tree


def _names_fault(tree: Tree, relation: catalog.Relation) -> str:
    """What is wrong with the tables that ``with`` names."""
    twice = [one for one in tree.listed if sum(other.oid == one.oid for other in tree.listed) > 1]
    if twice:
        return f"with: names {twice[0].display} twice: take one out"
    for position, table in enumerate(tree.listed):
        if table.kind not in "rp":
            return f"with: {catalog.wrong_kind(table, 'table')}"
        if table.oid == relation.oid:
            return (
                "with: names the table itself; for rows that refer to rows of the same table set keep_referenced: true"
            )
        if not any(way[-1].position == position for way in tree.ways):
            return (f"with: {table.display} refers to no rows that go, neither of {relation.display} nor of another table in "
                    "with: take it out, or name the tables between them as well; of a partition, name the table that it "
                    "is of")  # fmt: skip
    return ""


def _cycle(tree: Tree) -> str:
    """Tables that refer to each other in a circle have no first one."""
    listed = [edge for edge in tree.edges if edge.position is not None and edge.goes and not edge.itself]
    back = [edge for edge in tree.edges if (edge.goes or edge.child_root == tree.root) and not edge.itself]
    for edge in listed:
        passed, next_ones = {edge.parent_root}, [edge.parent_root]
        while next_ones:
            here = next_ones.pop()
            for other in back:
                if other.child_root != here or other.parent_root in passed:
                    continue
                passed.add(other.parent_root)
                next_ones.append(other.parent_root)
        if edge.child_root in passed:
            return (f"with: {edge.child_shown} and {edge.parent_shown} refer to each other ({edge.name}), so that neither can go "
                    f"first: take {edge.child_shown} out of with, or let one of the keys be ON DELETE SET NULL")  # fmt: skip
    return ""


def _early(tree: Tree, options: Options) -> str:
    """Rows that would go before their own time, with rows that ``with`` names."""
    early = [edge for edge in tree.unlisted if edge.facts["expires"]]
    if not early or options.cascade:
        return ""
    edge = early[0]
    return (f"with its rows go those of {edge.child_shown} that refer to them ({edge.name}, ON DELETE CASCADE), whether their "
            "own time has come or not: set cascade: true if that is meant, or name the table in with")  # fmt: skip


def _keeper(tree: Tree, options: Options) -> str:
    """A trigger that may keep a row after all that hangs on it."""
    keeper = next((edge.facts["keeper"] for way in tree.ways for edge in way if edge.facts["keeper"]), "")
    if not keeper or options.cascade:
        return ""
    return (f"with: the trigger {keeper} fires before rows are deleted and may keep some, when what hangs on them is gone: "
            "set cascade: true if it keeps none")  # fmt: skip


def _keys_fault(session: Session, tree: Tree, options: Options) -> str:
    """What would stop the work in the middle, or make it endless."""
    user = quote(session.server.user)
    for edge in dict.fromkeys(way[-1] for way in tree.ways):
        facts, table = edge.facts, edge.child_shown
        may = facts["may_update"] if edge.action == SETS else facts["may_delete"]
        slow = options.require_index and not facts["indexed"] and facts["pages"] >= SMALL_TABLE
        if facts["row_security"]:
            return f"with: row-level security hides rows of {table} from role {user}: use the owner or a role with BYPASSRLS"
        if not facts["may_use_schema"]:
            schema = quote(facts["child_schema"])
            return f"with: role {user} may not use schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {user}"
        if not may:
            rights = "SELECT, UPDATE" if edge.action == SETS else "SELECT, UPDATE, DELETE"
            return f"with: role {user} may not change {table}: GRANT {rights} ON TABLE {table} TO {user}"
        if facts["rule"]:
            name, _on, of = facts["rule"].partition(" on ")
            return f"with: the rule {facts['rule']} rewrites what is done: ALTER TABLE {of} DISABLE RULE {name}"
        if facts["period"]:
            return f"with: the key {edge.name} of {table} is about periods: take {table} out"
        if slow:
            columns = ", ".join(map(quote, edge.columns))
            return (f"with: each batch would read all of {table} ({edge.name}): CREATE INDEX CONCURRENTLY ON {table} "
                    f"({columns}), or set require_index: false")  # fmt: skip
    return ""


def _held_fault(session: Session, tree: Tree) -> str:
    """Tables whose rows hold others, and of which the role does not see all."""
    user = quote(session.server.user)
    for edge in dict.fromkeys(edge for way in tree.held for edge in way):
        table, schema = edge.child_shown, quote(edge.facts["child_schema"])
        if not edge.facts["may_use_schema"]:
            return f"keep_referenced: role {user} may not use schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {user}"
        if not edge.facts["may_read"]:
            return (
                f"keep_referenced: role {user} may not see who refers to a row: GRANT SELECT ON TABLE {table} TO {user}"
            )
        if edge.facts["row_security"]:
            return (
                f"keep_referenced: row-level security hides rows of {table} from role {user}: use a role with BYPASSRLS"
            )
    return ""
