# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Finding the rows that hang on others. The statements run under the search_path that the user has: all of ours is qualified."""

from __future__ import annotations

from collections.abc import Sequence

from ...._postgres.driver import sql
from .facts import SETS, Edge

# From the rows of the table that are locked in this transaction, along the keys, to the last table.
PICK = """SELECT {last}.tableoid AS part, {last}.ctid AS place, NULL::pg_catalog.text AS value
FROM {tables}
WHERE x0.ctid OPERATOR(pg_catalog.=) ANY ({places}::pg_catalog.tid[]){of_parts}{more}
LIMIT {room} FOR UPDATE OF {last} SKIP LOCKED"""
# A row to which another one refers goes after that: it may be locked, or kept by a trigger.
BARE = " AND NOT EXISTS (SELECT FROM {table} AS s WHERE {match})"
ANOTHER = "(s.ctid OPERATOR(pg_catalog.<>) {last}.ctid OR s.tableoid OPERATOR(pg_catalog.<>) {last}.tableoid)"
OF_PARTS = "{last}.tableoid OPERATOR(pg_catalog.=) ANY ({oids}::pg_catalog.oid[])"
# Of the rows that were locked those on which nothing hangs any more.
PICKED_BARE = """WITH picked (part, place) AS MATERIALIZED (
    SELECT x0.tableoid, x0.ctid FROM {table} AS x0
    WHERE x0.ctid OPERATOR(pg_catalog.=) ANY ({places}::pg_catalog.tid[]){of_parts}{more})
"""
# A place is unique only within one partition. IS TRUE keeps these lists from becoming joins: how many rows hang on one is
# guessed by their average, and a join that is planned for few of them takes hours for many.
FROM_PARTS = """ AND ((x0.tableoid, x0.ctid) OPERATOR(pg_catalog.=) ANY (SELECT p.part, p.place FROM ROWS FROM (
    pg_catalog.unnest({parts}::pg_catalog.oid[]), pg_catalog.unnest({places}::pg_catalog.tid[])) AS p (part, place))) IS TRUE"""
WHICH = "ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked))"
WHICH_PARTS = " AND ((tableoid, ctid) OPERATOR(pg_catalog.=) ANY (SELECT part, place FROM picked)) IS TRUE"
FREE = "NOT EXISTS (SELECT FROM (SELECT {columns} FROM {tables}) AS {alias} WHERE {match})"


def next_rows(
    path: Sequence[Edge], below: Sequence[Edge], parts: str, places: str, room: int
) -> tuple[sql.Composed, sql.Composed]:
    """Rows at the end of a path that are next, as the CTE ``picked``, and what is done with them: a DELETE or an UPDATE.

    below: keys that refer to the last table, of rows that go before; parts, places: arrays of the rows at the beginning, as text.
    """
    edge, last = path[-1], sql.Identifier(f"x{len(path)}")
    bare = [] if edge.action == SETS else [_bare(key, last) for key in below]
    more = sql.SQL("").join(bare + _not_yet_set(edge, last))
    pick = sql.SQL(PICK).format(
        last=last,
        tables=_joined(path),
        places=sql.Literal(places),
        of_parts=_from_parts(parts, places),
        more=more,
        room=sql.Literal(room),
    )
    if edge.action == SETS:
        values = [sql.SQL("{} = {}").format(sql.Identifier(name), _value(edge)) for name in edge.facts["set_columns"]]
        change = sql.SQL("UPDATE {} SET {}").format(edge.child_table, sql.SQL(", ").join(values))
    else:
        change = sql.SQL("DELETE FROM {}").format(edge.child_table)
    which = WHICH + WHICH_PARTS if edge.child_kind == "p" else WHICH
    return pick, sql.SQL("{} WHERE {}").format(change, sql.SQL(which))


def bare(table: sql.Composable, below: Sequence[Edge], parts: str, places: str) -> sql.Composed:
    """The CTE ``picked`` of those rows at the beginning on which nothing hangs any more."""
    more = sql.SQL("").join([_bare(key, sql.SQL("x0")) for key in below])
    return sql.SQL(PICKED_BARE).format(
        table=table, places=sql.Literal(places), of_parts=_from_parts(parts, places), more=more
    )


def _from_parts(parts: str, places: str) -> sql.Composed:
    """That a row at the beginning is of the right partition as well: another one has the same places."""
    return sql.SQL(FROM_PARTS).format(parts=sql.Literal(parts), places=sql.Literal(places))


def _bare(edge: Edge, last: sql.Composable) -> sql.Composed:
    """That no other row refers to this one by that key."""
    conditions = [
        _match(edge, last, sql.SQL("s")),
        sql.SQL(OF_PARTS).format(last=last, oids=sql.Literal(edge.facts["parent_parts"])),
    ]
    if edge.itself:
        conditions.append(sql.SQL(ANOTHER).format(last=last))
    return sql.SQL(BARE).format(table=edge.child_table, match=sql.SQL(" AND ").join(conditions))


def free(path: Sequence[Edge]) -> sql.Composed:
    """A predicate of the table at the beginning of a path, which names only its columns: no row at the end holds it.

    The columns inside have names that no table is likely to have, so that a bare name means a column outside.
    """
    first, alias = path[0], sql.Identifier("who refers")
    columns = [
        sql.SQL("x1.tableoid AS {}, x1.ctid AS {}").format(sql.Identifier("its part"), sql.Identifier("its place"))
    ]
    matches = []
    for number, (column, key, operator) in enumerate(zip(first.columns, first.keys, first.operators)):
        name = sql.Identifier(f"its key {number}")
        columns.append(sql.SQL("x1.{} AS {}").format(sql.Identifier(column), name))
        matches.append(sql.SQL("{} {} {}.{}").format(sql.Identifier(key), sql.SQL(operator), alias, name))
    if len(path) == 1 and first.itself:  # a row may hold itself
        matches.append(sql.SQL(
            '(ctid OPERATOR(pg_catalog.<>) {0}."its place" OR tableoid OPERATOR(pg_catalog.<>) {0}."its part")'
        ).format(alias))  # fmt: skip
    if first.parent != first.parent_root:
        oids = sql.Literal(first.facts["parent_parts"])
        matches.append(sql.SQL("tableoid OPERATOR(pg_catalog.=) ANY ({}::pg_catalog.oid[])").format(oids))
    return sql.SQL(FREE).format(
        columns=sql.SQL(", ").join(columns),
        tables=_joined(path, 1),
        alias=alias,
        match=sql.SQL(" AND ").join(matches),
    )


def _joined(path: Sequence[Edge], first: int = 0) -> sql.Composed:
    """The tables of a path, x0 that at its beginning, each joined by its key."""
    joined = sql.SQL("{} AS x0").format(path[0].parent_table) if not first else sql.Composed([])
    for number, edge in enumerate(path, 1):
        # Where a key is about one partition only, the rows of others do not count.
        following = path[number] if number < len(path) else None
        whole = following is None or edge.child != edge.child_root
        table = edge.child_table if whole or following is None else following.parent_table
        name = sql.Identifier(f"x{number}")
        if number == first:
            joined = sql.SQL("{} AS {}").format(table, name)
            continue
        match = _match(edge, sql.Identifier(f"x{number - 1}"), name)
        joined += sql.SQL(" JOIN {} AS {} ON {}").format(table, name, match)
    return joined


def _match(edge: Edge, parent: sql.Composable, child: sql.Composable) -> sql.Composed:
    """That a row refers to another one by a key."""
    each = [
        sql.SQL("{}.{} {} {}.{}").format(parent, sql.Identifier(key), sql.SQL(operator), child, sql.Identifier(column))
        for column, key, operator in zip(edge.columns, edge.keys, edge.operators)
    ]
    return sql.SQL(" AND ").join(each)


def _value(edge: Edge) -> sql.Composable:
    return sql.SQL("NULL" if edge.facts["action"] == "n" else "DEFAULT")


def _not_yet_set(edge: Edge, last: sql.Composable) -> list[sql.Composable]:
    """For SET DEFAULT: rows that have the default already cannot be dealt with so, and are left to the server."""
    if edge.facts["action"] != "d":
        return []
    defaults, operators = edge.facts["defaults"] or {}, dict(zip(edge.columns, edge.facts["own_operators"]))
    each = []
    for name in edge.facts["set_columns"]:
        column = sql.SQL("{}.{}").format(last, sql.Identifier(name))
        if defaults.get(name):
            same = sql.SQL("({} {} ({})) IS NOT TRUE").format(column, sql.SQL(operators[name]), sql.SQL(defaults[name]))
        else:
            same = sql.SQL("{} IS NOT NULL").format(column)
        each.append(same)
    return [sql.SQL(" AND ({})").format(sql.SQL(" OR ").join(each))]
