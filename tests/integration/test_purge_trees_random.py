# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of random tables that refer to each other, compared with a model."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import walks
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.trees import batches
from tests.runs import only
from tests.servers import Database
from tests.trees import ids, purge

NAMES = ("t", "a", "b", "c", "d")
BOUNDS = ((0, 10), (10, 20), (20, 100))
LATE = {"NO ACTION": ("", "DEFERRABLE INITIALLY DEFERRED")}


@dataclass(frozen=True)
class Key:
    """A foreign key. values: what its column may have."""

    child: str
    column: str
    parent: str
    action: str
    declared: str
    values: list[int | None]


@dataclass
class Forest:
    """Tables of random shapes: partitioned or not, with keys to the whole or to one partition of tables before them."""

    database: Database
    chance: random.Random
    rows: dict[str, dict[int, dict[str, int | None]]] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    divided: dict[str, bool] = field(default_factory=dict)

    def grow(self) -> None:
        """All tables; two thirds of the rows of t have expired."""
        for place, name in enumerate(NAMES):
            above = [self.chance.choice(NAMES[:place]) for _ in range(self.chance.choice([1, 1, 2]))] if place else []
            self._table(name, [self._key(name, number, parent) for number, parent in enumerate(above)])
        self.database.sql(
            "ALTER TABLE t ADD at timestamptz; CREATE INDEX ON t (at); UPDATE t SET at = CASE WHEN id % 3 > 0 THEN '2000-01-01' "
            "ELSE '3000-01-01' END::timestamptz"
        )

    def _key(self, child: str, number: int, parent: str) -> Key:
        action = self.chance.choice(["CASCADE", "RESTRICT", "NO ACTION", "SET NULL"])
        part = self.divided[parent] and self.chance.random() < 0.35
        late = self.chance.choice(LATE.get(action, ("",)))
        values = [n for n in self.rows[parent] if not part or BOUNDS[1][0] <= n < BOUNDS[1][1]]
        declared = f"k{number} int REFERENCES {parent}{'_1' if part else ''} ON DELETE {action} {late}"
        return Key(child, f"k{number}", parent, action, declared, [None, *values])

    def _table(self, name: str, keys: list[Key]) -> None:
        self.divided[name] = self.chance.random() < 0.45
        columns = ", ".join(["id int PRIMARY KEY", *(key.declared for key in keys)])
        self.database.sql(f"CREATE TABLE {name} ({columns}){' PARTITION BY RANGE (id)' if self.divided[name] else ''}")
        for number, (low, high) in enumerate(BOUNDS if self.divided[name] else ()):
            self.database.sql(f"CREATE TABLE {name}_{number} PARTITION OF {name} FOR VALUES FROM ({low}) TO ({high})")
        self.rows[name] = {n: {key.column: self.chance.choice(key.values) for key in keys} for n in range(1, 31)}
        for n, row in self.rows[name].items():
            self.database.sql(f"INSERT INTO {name} VALUES (%s{', %s' * len(row)})", [n, *row.values()])
        self.keys += keys

    def going(self) -> dict[str, set[int]]:
        """The model: expired rows of t, and those that refer to them with a key that is not SET NULL, and so on."""
        found = {name: {n for n in self.rows[name] if name == "t" and n % 3 > 0} for name in NAMES}
        moved = True
        while moved:
            moved = False
            for key in self.keys:
                if key.action != "SET NULL":
                    more = {n for n, row in self.rows[key.child].items() if row[key.column] in found[key.parent]}
                    moved = moved or not more <= found[key.child]
                    found[key.child] |= more
        return found

    def reaches(self, name: str) -> bool:
        """Whether rows of the table can go with those of t."""
        if name == "t":
            return True
        return any(key.child == name and key.action != "SET NULL" and self.reaches(key.parent) for key in self.keys)


@pytest.mark.parametrize("seed", range(8))
def test_any_tree_of_tables_is_as_a_model_says(database: Database, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same cases each time
    monkeypatch.setattr(batches, "FIRST_ROOM", chance.choice([3, 1000]))
    batch = chance.choice([2, 7, 1000])
    for name in ("FIRST_BATCH", "CAREFUL_BATCH"):
        monkeypatch.setattr(walks, name, batch)
    forest = Forest(database, chance)
    forest.grow()
    going = forest.going()
    # A table whose rows can neither go nor be changed is not to be named.
    named = [name for name in NAMES[1:] if any(key.child == name and forest.reaches(key.parent) for key in forest.keys)]
    children = chance.sample(named, len(named))
    found = only(purge(database, order=chance.choice(["index", "heap"]), children=children))
    assert (found["outcome"], found["rows"]) == ("done", 20), (forest.keys, found)
    for name in NAMES:
        assert ids(database, name) == sorted(set(forest.rows[name]) - going[name]), (name, forest.keys)
    for key in forest.keys:
        for n, value in database.sql(f"SELECT id, {key.column} FROM {key.child}"):
            was = forest.rows[key.child][n][key.column]
            gone = was in going[key.parent] and key.action == "SET NULL"
            assert value == (None if gone else was), (n, key)
