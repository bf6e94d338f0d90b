# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The foreign keys by which rows of other tables hang on those of one, and what may be done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...._errors import OptionError
from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.names import display, qualified
from ...._postgres.session import Session
from ..table import own_time

DELETES, SETS, HOLDS = "deletes", "sets", "holds"
# pg_constraint.confdeltype of those whose rows go, are changed, or hold the row that they refer to.
ACTIONS = {"c": DELETES, "n": SETS, "d": SETS, "a": HOLDS, "r": HOLDS}

# From the table on: its parts, the tables that refer to these and whose rows go with them, and so on. Keys of partitions
# stand there once more for each: only the topmost that is reached counts. What version 14 does not have is asked for in JSON.
QUERY = """
WITH RECURSIVE {targets},
listed (oid, position) AS (
    SELECT oid, position FROM target WHERE oid IS NOT NULL
    UNION SELECT i.inhrelid, l.position FROM listed AS l JOIN pg_inherits AS i ON i.inhparent = l.oid
    JOIN pg_class AS p ON p.oid = l.oid AND p.relkind = 'p'
),
part (oid) AS (
    SELECT {oid}::oid UNION SELECT i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid
),
reached (oid) AS (
    SELECT oid FROM part
    UNION
    SELECT below.oid FROM reached CROSS JOIN LATERAL (
        SELECT k.conrelid AS oid FROM pg_constraint AS k WHERE k.confrelid = reached.oid AND k.contype = 'f'
        AND (k.confdeltype = 'c' OR k.confdeltype IN ('a', 'r') AND k.conrelid IN (SELECT oid FROM listed))
        UNION ALL
        SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent
        WHERE i.inhparent = reached.oid AND p.relkind = 'p'
    ) AS below
),
edge AS (
    SELECT k.*, to_jsonb(k) AS more FROM reached JOIN pg_constraint AS k ON k.confrelid = reached.oid AND k.contype = 'f'
    WHERE NOT EXISTS (SELECT FROM pg_constraint AS up WHERE up.oid = k.conparentid
                      AND up.confrelid IN (SELECT oid FROM reached))
)
SELECT k.conname::text AS name, k.confdeltype::text AS action, k.conrelid::bigint AS child, k.confrelid::bigint AS parent,
       cn.nspname::text AS child_schema, c.relname::text AS child_name, c.relkind::text AS child_kind,
       pn.nspname::text AS parent_schema, p.relname::text AS parent_name, p.relkind::text AS parent_kind,
       coalesce((SELECT relid::bigint FROM pg_partition_ancestors(k.conrelid) WITH ORDINALITY AS a (relid, n)
                 ORDER BY n DESC LIMIT 1), k.conrelid::bigint) AS child_root,
       CASE WHEN k.confrelid IN (SELECT oid FROM part) THEN {oid}::bigint
            ELSE coalesce((SELECT relid::bigint FROM pg_partition_ancestors(k.confrelid) WITH ORDINALITY AS a (relid, n)
                           ORDER BY n DESC LIMIT 1), k.confrelid::bigint) END AS parent_root,
       ARRAY(SELECT oid::bigint FROM (SELECT relid AS oid FROM pg_partition_tree(k.confrelid) UNION SELECT k.confrelid) AS x)
           AS parent_parts,
       ARRAY(SELECT oid::bigint FROM (SELECT relid AS oid FROM pg_partition_tree(k.conrelid) UNION SELECT k.conrelid) AS x)
           AS child_parts,
       (SELECT min(position) FROM listed WHERE listed.oid = k.conrelid) AS position,
       (SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u (num, n)
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.num) AS columns,
       (SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY AS u (num, n)
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.num) AS keys,
       (SELECT array_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY u.n)
        FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (op, n) JOIN pg_operator AS o ON o.oid = u.op
        JOIN pg_namespace AS n ON n.oid = o.oprnamespace) AS operators,
       (SELECT array_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY u.n)
        FROM unnest(k.conffeqop) WITH ORDINALITY AS u (op, n) JOIN pg_operator AS o ON o.oid = u.op
        JOIN pg_namespace AS n ON n.oid = o.oprnamespace) AS own_operators,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = k.conrelid
        AND CASE jsonb_typeof(k.more -> 'confdelsetcols') WHEN 'array' THEN k.more -> 'confdelsetcols' @> to_jsonb(a.attnum)
                 ELSE a.attnum = ANY (k.conkey) END) AS set_columns,
       (SELECT jsonb_object_agg(a.attname, pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute AS a
        JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
        WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)) AS defaults,
       coalesce((k.more ->> 'conperiod')::bool, false) AS period,
       coalesce((k.more ->> 'conenforced')::bool, true) AS enforced,
       (SELECT sum(CASE WHEN x.reltuples < 0 THEN pg_relation_size(x.oid) / current_setting('block_size')::int
                        ELSE x.relpages END)
        FROM pg_class AS x WHERE x.oid = k.conrelid OR x.oid IN (SELECT relid FROM pg_partition_tree(k.conrelid))) AS pages,
       EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
               AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) AS indexed,
       (SELECT min(format('%I on %I.%I', g.tgname, pn.nspname, p.relname)) FROM pg_trigger AS g
        WHERE g.tgrelid IN (SELECT k.confrelid UNION SELECT relid FROM pg_partition_tree(k.confrelid)) AND NOT g.tgisinternal
        AND g.tgtype::int & 11 = 11 AND g.tgenabled IN ('O', 'A')) AS keeper,  -- BEFORE DELETE FOR EACH ROW
       {own_time} AS expires,
       row_security_active(k.conrelid) AS row_security,
       has_schema_privilege(c.relnamespace, 'USAGE') AS may_use_schema,
       has_table_privilege(k.conrelid, 'SELECT') AS may_read,
       has_table_privilege(k.conrelid, 'SELECT') AND has_table_privilege(k.conrelid, 'DELETE')
           AND has_any_column_privilege(k.conrelid, 'UPDATE') AS may_delete,
       has_table_privilege(k.conrelid, 'SELECT') AND NOT EXISTS (
           SELECT FROM unnest(k.conkey) AS u (num) WHERE NOT has_column_privilege(k.conrelid, u.num, 'UPDATE')) AS may_update,
       (SELECT min(format('%I on %I.%I', w.rulename, wn.nspname, wc.relname))
        FROM pg_rewrite AS w JOIN pg_class AS wc ON wc.oid = w.ev_class JOIN pg_namespace AS wn ON wn.oid = wc.relnamespace
        WHERE w.ev_class = k.conrelid AND w.ev_enabled IN ('O', 'A')
        AND w.ev_type = CASE WHEN k.confdeltype IN ('n', 'd') THEN '2' ELSE '4' END) AS rule
FROM edge AS k
JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS cn ON cn.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = k.confrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
ORDER BY k.oid
"""
LISTED = "WITH {targets} SELECT * FROM target ORDER BY position"


@dataclass(frozen=True, eq=False)
class Edge:
    """A foreign key. Names are those of pg_constraint; root: the topmost partitioned table, or the table itself.

    action    DELETES, SETS or HOLDS
    position  of its table in the option ``with``, None where that does not name it
    facts     the rest of what QUERY knows
    """

    name: str
    action: str
    child: int
    child_root: int
    child_shown: str
    child_table: sql.Composable
    child_kind: str
    parent: int
    parent_root: int
    parent_shown: str
    parent_table: sql.Composable
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    operators: tuple[str, ...]
    position: int | None
    facts: dict[str, Any]

    @property
    def goes(self) -> bool:
        """Whether rows that refer go with those that they refer to: by themselves, or because they are listed."""
        return self.action == DELETES or (self.action == HOLDS and self.position is not None)

    @property
    def itself(self) -> bool:
        """Whether a table refers to itself."""
        return self.child_root == self.parent_root

    @property
    def layered(self) -> bool:
        """Whether the server would delete rows by it that are to hold the row that they refer to."""
        return self.action == HOLDS and self.facts["action"] == "c"


def read_edges(session: Session, oid: int, children: Sequence[str], times: Sequence[str]) -> tuple[Edge, ...]:
    """All keys by which rows go with those of the table, and those that hold them. times: columns that say when rows expire."""
    query = sql.SQL(QUERY).format(targets=_targets(session, children), oid=sql.Literal(oid), own_time=own_time(times))
    return tuple(_edge(row) for row in session.rows(query) if row["enforced"])


def read_listed(session: Session, children: Sequence[str]) -> list[catalog.Relation]:
    """The tables that ``with`` names. Raises OptionError for one that is not there."""
    if not children:
        return []
    found = session.rows(sql.SQL(LISTED).format(targets=_targets(session, children)))
    for name, row in zip(children, found):
        if row["oid"] is None:
            raise OptionError([f"with: {catalog.not_found(session, name, 'rp')}"])
    return [catalog.relation(row) for row in found]


def _targets(session: Session, children: Sequence[str]) -> sql.Composable:
    if children:
        return catalog.targets(session.server, children)
    return sql.SQL("target (oid, position) AS (SELECT NULL::oid, NULL::int)")


def _edge(row: dict[str, Any]) -> Edge:
    return Edge(
        name=row["name"],
        action=ACTIONS[row["action"]],
        child=row["child"],
        child_root=row["child_root"],
        child_shown=display(row["child_schema"], row["child_name"]),
        child_table=only(row["child_schema"], row["child_name"], row["child_kind"]),
        child_kind=row["child_kind"],
        parent=row["parent"],
        parent_root=row["parent_root"],
        parent_shown=display(row["parent_schema"], row["parent_name"]),
        parent_table=only(row["parent_schema"], row["parent_name"], row["parent_kind"]),
        columns=tuple(row["columns"]),
        keys=tuple(row["keys"]),
        operators=tuple(row["operators"]),
        position=row["position"],
        facts=row,
    )


def only(schema: str, name: str, kind: str) -> sql.Composable:
    """A table as foreign keys mean it: with its partitions, and without tables that inherit from it."""
    return sql.SQL("" if kind == "p" else "ONLY ") + qualified(schema, name)


def layered(edge: Edge, root: int) -> Edge:
    """The same, if rows of the table refer by it to others of it and go with them: as one of which rows hold each other."""
    return replace(edge, action=HOLDS) if edge.itself and edge.child_root == root and edge.action == DELETES else edge


def paths(edges: Sequence[Edge], root: int, way: tuple[Edge, ...] = ()) -> Iterator[tuple[Edge, ...]]:
    """Every way from a table along rows that go, to a key at its end; none passes a table twice."""
    passed = {root, *(edge.parent_root for edge in way)}
    for edge in edges:
        if edge.parent_root != root:
            continue
        yield (*way, edge)
        if edge.goes and edge.child_root not in passed:
            yield from paths(edges, edge.child_root, (*way, edge))
