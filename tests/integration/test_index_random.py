# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever index_info says can go: the server finds, sorts, reads and forbids all that it did before, and as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.indexes import review
from tests.runs import until
from tests.servers import Database, Server
from tests.tables import flushed

# A key of an index, and how a query says the same order.
KEYS = {
    "a": "a",
    "c": "c",
    "b": "b",
    'b COLLATE "C"': 'b COLLATE "C"',
    "b text_pattern_ops": "b USING ~<~",
    "lower(b)": "lower(b)",
    "(a + c)": "(a + c)",
}
FREE = (
    "SET enable_seqscan = off; SET enable_sort = off; SET enable_incremental_sort = off; SET enable_bitmapscan = off; "
)
FREE += "SET random_page_cost = 1"


@dataclass(frozen=True)
class Made:
    """An index as a test makes it. turned: DESC; first: NULLS FIRST, or for DESC last."""

    keys: tuple[tuple[str, bool, bool], ...]
    unique: bool
    distinct: bool
    included: str
    where: str

    def definition(self, name: str) -> str:
        unique, more = ("UNIQUE ", "" if self.distinct else " NULLS NOT DISTINCT") if self.unique else ("", "")
        keys = ", ".join(f"{key}{_order(turned, first)}" for key, turned, first in self.keys)
        include = f" INCLUDE ({self.included})" if self.included else ""
        where = f" WHERE {self.where}" if self.where else ""
        return f"CREATE {unique}INDEX {name} ON t ({keys}){include}{more}{where}"

    @property
    def query(self) -> str:
        """What this index is best for: all that it has, in its order."""
        plain = {key.split()[0] for key, _turned, _first in self.keys if key[0] in "abc"} | set(
            filter(None, [self.included])
        )
        order = []
        for key, turned, first in self.keys:
            said = KEYS[key]
            if "USING" in said:
                order.append((said.replace("~<~", "~>~") if turned else said) + _nulls(turned, first))
            else:
                order.append(said + _order(turned, first))
        where = f" WHERE {self.where}" if self.where else ""
        return f"SELECT {', '.join(sorted(plain)) or '1'} FROM t{where} ORDER BY {', '.join(order)}"


def _order(turned: bool, first: bool) -> str:
    return (" DESC" if turned else "") + _nulls(turned, first)


def _nulls(turned: bool, first: bool) -> str:
    return f" NULLS {'FIRST' if turned != first else 'LAST'}"


SINGLE = st.tuples(
    st.sampled_from([*KEYS, "a", "a"]), st.sampled_from([False, False, True]), st.sampled_from([False, False, True])
)
MADE = st.builds(
    Made,
    keys=st.lists(SINGLE, min_size=1, max_size=3, unique_by=lambda key: key[0]).map(tuple),
    unique=st.sampled_from([False, False, True]),
    distinct=st.booleans(),
    included=st.sampled_from(["", "", "c", "d"]),
    where=st.sampled_from(["", "", "", "a > 3"]),
)


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Database]:
    made = server.create_database()
    flushed(made)
    made.close_connection()
    made.sql(FREE)
    yield made
    made.close()


def plan(database: Database, query: str) -> set[str]:
    """The kinds of nodes of its plan."""

    def kinds(node: dict[str, Any]) -> set[str]:
        return {node["Node Type"]}.union(*map(kinds, node.get("Plans", [])))

    return kinds(database.value(f"EXPLAIN (FORMAT JSON) {query}")[0]["Plan"])


def forbids(database: Database, rows: str) -> bool:
    try:
        database.sql(f"BEGIN; INSERT INTO t VALUES {rows}; ROLLBACK")
    except psycopg2.errors.UniqueViolation:
        database.sql("ROLLBACK")
        return True
    return False


ROWS = [
    "(1, 'x', 1, 1), (1, 'x', 1, 2)",
    "(NULL, 'x', 1, 1), (NULL, 'x', 1, 1)",
    "(9, NULL, 1, 1), (9, NULL, 1, 1)",
    "(9, 'X', 1, 1), (9, 'x', 1, 1)",
    "(8, 'x', 2, 1), (9, 'y', 1, 1)",
]


def vacuumed(database: Database) -> bool:
    """Whether all pages are visible to all by now: one that somebody was just writing to disk is left out."""
    database.sql("VACUUM ANALYZE t")
    return bool(database.value("SELECT relallvisible = relpages FROM pg_class WHERE oid = 't'::regclass"))


def seen(database: Database, made: list[Made]) -> tuple[list[set[str]], list[bool]]:
    """How each index's own query is answered, and which rows are refused."""
    refused = [forbids(database, rows) for rows in ROWS]
    # With all pages visible, reading the index alone is cheaper wherever it is possible.
    until(lambda: vacuumed(database))
    return [plan(database, one.query) for one in made], refused


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MADE, min_size=2, max_size=6))
def test_nothing_is_lost_with_what_can_go(place: Database, made: list[Made]) -> None:
    place.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (a int, b text, c int, d int)")
    place.sql("INSERT INTO t SELECT n, 'x' || n, n, n FROM generate_series(10, 99) AS n")
    for number, one in enumerate(made):
        place.sql(one.definition(f"i{number}"))
    found = [one["evidence"] for one in review(place, include=["public.t"])["findings"]]
    before = seen(place, made)
    for evidence in found:
        if "drop" in evidence:
            place.sql(evidence["drop"].replace("CONCURRENTLY ", ""))
    assert seen(place, made) == before
