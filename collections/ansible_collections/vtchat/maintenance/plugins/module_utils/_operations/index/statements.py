# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The statements that turn the existing indexes into the wanted one. Pure: no session, no clock.

The name of an index always stands for something that can be used: it is built under a name of ours, and takes the other
one when it is finished. Whatever interrupts that, the next run goes on from what it finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..._errors import OptionError
from ..._postgres.driver import sql
from ..._postgres.index_definition import working_name
from ..._postgres.names import quote
from .facts import Facts, Index, Table, Wanted

BUILD = "build"  # CREATE INDEX CONCURRENTLY
DROP = "drop"  # DROP INDEX CONCURRENTLY
QUICK = "quick"  # short, but behind a lock that others may hold


@dataclass(frozen=True)
class Statement:
    """One statement.

    template  the statement with {places}
    names     what goes into the places: identifiers, by parts
    texts     likewise: SQL as it is
    literal   what goes into {literal}
    table     oid of the table that the index is on
    """

    kind: str
    template: str
    names: dict[str, tuple[str, ...]]
    texts: dict[str, str] = field(default_factory=dict)
    literal: str = ""
    table: int = 0

    def query(self) -> sql.Composed:
        """For the server."""
        names = {place: sql.Identifier(*parts) for place, parts in self.names.items()}
        texts = {place: sql.SQL(text) for place, text in self.texts.items()}
        return sql.SQL(self.template).format(**names, **texts, literal=sql.Literal(self.literal))

    def text(self) -> str:
        """For people."""
        names = {place: ".".join(map(quote, parts)) for place, parts in self.names.items()}
        literal = "'" + self.literal.replace("'", "''") + "'"
        return " ".join(self.template.format(**names, **self.texts, literal=literal).split())


def alike(wanted: Wanted, index: Index | None) -> bool:
    """Whether an index is what is wanted, valid or not."""
    return (
        index is not None
        and index.table is not None
        and index.shape == wanted.shape
        and wanted.tablespace in (None, index.tablespace or "")
    )


def left_behind(facts: Facts) -> Index | None:
    """What an interrupted run has built, or begun to build."""
    name = working_name(facts.name)
    return next((index for index in facts.others if (index.schema, index.name) == (facts.schema, name)), None)


def strays(facts: Facts) -> list[Index]:
    """Parts of the index that an interrupted run has built for partitions and not attached."""
    names = {
        (part.schema, working_name(facts.name, part.name, turn), part.oid) for part in facts.parts for turn in (0, 1)
    }
    return [
        index
        for index in facts.others
        if (index.schema, index.name, index.table_oid) in names and index.inherited is None and not index.needed_by
    ]


def statements(facts: Facts) -> list[Statement]:
    """What is to be done, in its order; nothing if all is well. Raises OptionError where a part is in the way."""
    if facts.wanted is None:
        return [drop(index) for index in (facts.found, left_behind(facts), *strays(facts)) if index is not None]
    if facts.found is not None and facts.found.valid and alike(facts.wanted, facts.found):
        return [drop(index) for index in (left_behind(facts), *strays(facts)) if index is not None]
    if facts.wanted.table.kind == "p":
        return _Tree(facts, facts.wanted).statements()
    return _plain(facts, facts.wanted)


def drop(index: Index) -> Statement:
    """Remove an index; the server cannot do that concurrently with a partitioned one."""
    names: dict[str, tuple[str, ...]] = {"index": (index.schema, index.name)}
    if index.kind == "I":
        return Statement(QUICK, "DROP INDEX {index}", names)
    return Statement(DROP, "DROP INDEX CONCURRENTLY {index}", names, table=index.table_oid or 0)


def _plain(facts: Facts, wanted: Wanted) -> list[Statement]:
    """An index of one table: build, remove the old one, rename."""
    new, left, found = (facts.schema, working_name(facts.name)), left_behind(facts), facts.found
    result: list[Statement] = []
    if left is not None and not (left.valid and alike(wanted, left)):
        result.append(drop(left))
        left = None
    if left is None:
        result.append(_build(wanted, found, wanted.table, new))
    if found is not None:
        result += [*_inherit(wanted, found, new), drop(found)]
    return [*result, _rename(new, facts.name)]


def _build(wanted: Wanted, old: Index | None, table: Table, name: tuple[str, str], only: bool = False) -> Statement:
    """CREATE INDEX, concurrently unless it is the part of it that has no rows. It stays in the tablespace of the old one."""
    shape = wanted.shape
    names: dict[str, tuple[str, ...]] = {"index": name[1:], "table": (table.schema, table.name)}
    texts = {"unique": "UNIQUE " if shape.unique else "", "body": shape.body, "where": shape.where}
    tablespace = wanted.tablespace
    if tablespace is None:
        tablespace = (old.tablespace if old else "") or ""
    where = "{body} {where}"
    if tablespace:
        where = "{body} TABLESPACE {tablespace} {where}"
        names["tablespace"] = (tablespace,)
    if only:
        return Statement(QUICK, "CREATE {unique}INDEX {index} ON ONLY {table} " + where, names, texts)
    return Statement(
        BUILD, "CREATE {unique}INDEX CONCURRENTLY {index} ON {table} " + where, names, texts, table=table.oid
    )


def _rename(new: tuple[str, str], name: str) -> Statement:
    return Statement(QUICK, "ALTER INDEX {new} RENAME TO {name}", {"new": new, "name": (name,)})


def _inherit(wanted: Wanted, old: Index, new: tuple[str, str]) -> list[Statement]:
    """What people have said about the old index is true of the new one."""
    result = []
    if old.comment:
        result.append(Statement(QUICK, "COMMENT ON INDEX {new} IS {literal}", {"new": new}, literal=old.comment))
    if old.clustered and wanted.shape.columns.startswith("USING btree") and not wanted.shape.where:
        table = (wanted.table.schema, wanted.table.name)
        result.append(Statement(QUICK, "ALTER TABLE {table} CLUSTER ON {new}", {"table": table, "new": new[1:]}))
    if old.shape.columns == wanted.shape.columns:
        for column, target in old.statistics.items():
            texts = {"column": str(int(column)), "target": str(int(target))}
            statement = "ALTER INDEX {new} ALTER COLUMN {column} SET STATISTICS {target}"
            result.append(Statement(QUICK, statement, {"new": new}, texts))
    return result


class _Tree:
    """The index of a partitioned table: an empty one for the table, to which one for each partition is attached."""

    def __init__(self, facts: Facts, wanted: Wanted) -> None:
        self.facts, self.wanted = facts, wanted
        self.result: list[Statement] = []

    def statements(self) -> list[Statement]:
        facts, table = self.facts, self.wanted.table
        new, left = (facts.schema, working_name(facts.name)), left_behind(facts)
        if alike(self.wanted, facts.found):
            self._parts(table, facts.found, (facts.schema, facts.name))
            if not self.result:
                raise OptionError([f"{facts.target} is not valid although no part of it is missing: remove it with state: "
                                   "absent, and let it be built again"])  # fmt: skip
            return [*self.result, *([drop(left)] if left else [])]
        if left is not None and not alike(self.wanted, left):
            self._refuse_foreign_parts(left)
            self.result.append(drop(left))
            left = None
        if left is None:
            self.result.append(_build(self.wanted, facts.found, table, new, only=True))
        self._parts(table, left, new)
        if facts.found is None:
            return [*self.result, _rename(new, facts.name)]
        swap = "DROP INDEX {old}; ALTER INDEX {new} RENAME TO {name}"
        names = {"old": (facts.schema, facts.name), "new": new, "name": (facts.name,)}
        return [*self.result, *_inherit(self.wanted, facts.found, new), Statement(QUICK, swap, names)]

    def _refuse_foreign_parts(self, left: Index) -> None:
        """Dropping a partitioned index drops its parts, also those that were there before we attached them."""
        ours = {
            (part.schema, working_name(self.facts.name, part.name, turn))
            for part in self.facts.parts
            for turn in (0, 1)
        }
        for index in self._below(left):
            if (index.schema, index.name) not in ours:
                raise OptionError([f"{left.target}, left by an interrupted run, has {index.target} attached, which is not "
                                   "ours: drop it by hand"])  # fmt: skip

    def _below(self, parent: Index) -> list[Index]:
        children = [index for index in self.facts.others if index.inherited == parent.oid]
        return [*children, *(index for child in children for index in self._below(child))]

    def _parts(self, table: Table, index: Index | None, name: tuple[str, str]) -> None:
        """Build and attach what is missing below the index that has that name; ``index`` is None if it is to be created."""
        for part in self.facts.parts:
            if part.parent == table.oid:
                self._part(part, index, name)

    def _part(self, part: Table, parent: Index | None, parent_name: tuple[str, str]) -> None:
        if part.kind == "f":
            raise OptionError([f"the partition {part.target} is a foreign table, so the index cannot be built in parts: create "
                               "it without CONCURRENTLY, when nobody writes"])  # fmt: skip
        own = [index for index in self.facts.others if index.table_oid == part.oid]
        attached = next((index for index in own if parent is not None and index.inherited == parent.oid), None)
        if attached is not None:
            if part.kind == "p":
                self._parts(part, attached, (attached.schema, attached.name))
            elif not attached.valid:
                raise OptionError([f"{attached.target} is attached, but not valid: drop {parent.target if parent else ''} and "
                                   "let it be built again"])  # fmt: skip
            return
        usable = next((index for index in own if self._usable(part, index)), None)
        name = (usable.schema, usable.name) if usable else self._free_name(part, own)
        if usable is None:
            self.result.append(_build(self.wanted, self.facts.found, part, name, only=part.kind == "p"))
        if part.kind == "p":
            self._parts(part, usable, name)
        attach = "ALTER INDEX {parent} ATTACH PARTITION {index}"
        self.result.append(Statement(QUICK, attach, {"parent": parent_name, "index": name}))

    def _usable(self, part: Table, index: Index) -> bool:
        """Whether an index that is there already can become the part; the server does the same for CREATE INDEX."""
        free = index.inherited is None and not index.needed_by and (index.valid or part.kind == "p")
        return free and alike(self.wanted, index)

    def _free_name(self, part: Table, own: list[Index]) -> tuple[str, str]:
        """A name for the new part; what an interrupted run has left under it goes first."""
        for turn in (0, 1):
            name = working_name(self.facts.name, part.name, turn)
            holder = next((index for index in own if index.name == name), None)
            if holder is None:
                return (part.schema, name)
            if holder.inherited is None:
                self.result.append(drop(holder))
                return (part.schema, name)
        raise OptionError([f"two indexes of {part.target} already have names of ours: {self.facts.target} is replaced for the "
                           "second time while the first replacement is not complete"])  # fmt: skip
