# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How many rows have expired, of what the plans purge: counted with what is asked besides, by an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._checks.tables import BASE
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import display, qualified, quote
from ..._postgres.selection import LOCKED
from ..._postgres.session import Session
from ..purge.clocks import Column, terms
from ..purge.options import Condition
from ..purge.options import Options as Purge
from ..purge.table import SMALL_TABLE

MOST_COUNTED = 100_000

# By pg_type.oid of the column's type, or of what a domain comes to.
TYPES = {1184: "timestamp with time zone", 1114: "timestamp without time zone", 1082: "date"}

TABLES = """
WITH RECURSIVE {locked}, {targets}, part (position, oid) AS (
    SELECT position, oid FROM target WHERE oid IS NOT NULL
    UNION ALL SELECT p.position, i.inhrelid FROM part AS p JOIN pg_inherits AS i ON i.inhparent = p.oid
)
SELECT t.position, t.oid, t.schema_name, t.name, b.type,
       EXISTS (SELECT FROM part AS p LEFT JOIN pg_index AS i ON i.indrelid = p.oid
               JOIN locked AS l ON l.relation IN (p.oid, i.indexrelid) WHERE p.position = t.position) AS locked,
       EXISTS (SELECT FROM part AS p JOIN pg_class AS f ON f.oid = p.oid
               WHERE p.position = t.position AND f.relkind = 'f') AS elsewhere,
       clock_timestamp() - make_interval(secs => w.older_than) AS cutoff,
       t.may_use_schema AND has_table_privilege(t.oid, 'SELECT') AS seen, row_security_active(t.oid) AS row_security,
       c.relpages BETWEEN 0 AND {small} AND c.relkind = 'r' AND c.reltuples >= 0 OR EXISTS (
           SELECT FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid JOIN pg_am AS am ON am.oid = ic.relam
           WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
           AND am.amname = 'btree') AS served
FROM target AS t JOIN (VALUES {wanted}) AS w (position, column_name, older_than) USING (position)
JOIN pg_class AS c ON c.oid = t.oid
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = w.column_name AND a.attnum > 0 AND NOT a.attisdropped
{base}
WHERE c.relkind IN ('r', 'p')
"""


def waiting(session: Session, purges: Sequence[Purge], first: str, statement_timeout: float) -> tuple[bool, str]:
    """What ``first`` says, in the same round trip; and a SELECT of (target, waiting, hidden) for the tables, "" without any.

    From then on the session has this statement_timeout. A step with ``where`` is not counted: its predicate is the user's.
    """
    plain = [(purge.table, condition) for purge in purges if (condition := _countable(purge))]
    if not plain:
        return session.rows_and_set(first, statement_timeout)[0]["large"], ""
    wanted = [
        sql.SQL("({}, {}, {})").format(
            sql.Literal(number), sql.Literal(condition.column), sql.Literal(condition.older_than)
        )
        for number, (_table, condition) in enumerate(plain)
    ]
    query = sql.SQL(TABLES).format(
        locked=sql.SQL(LOCKED),
        targets=catalog.targets(session.server, [table for table, _condition in plain]),
        base=sql.SQL(BASE),
        small=sql.Literal(SMALL_TABLE),
        wanted=sql.SQL(", ").join(wanted),
    )
    both = sql.SQL("SELECT * FROM ({}) AS f LEFT JOIN ({}) AS t ON true").format(sql.SQL(first), query)
    rows = session.rows_and_set(both, statement_timeout)
    counts = [_count(session, plain[row["position"]][1], row) for row in rows if row["position"] is not None]
    return rows[0]["large"], " UNION ALL ".join(session.text(one).replace("%", "%%") for one in counts)


def _countable(purge: Purge) -> Condition | None:
    """What says when rows have expired, where it is one plain column of time."""
    (condition, *others) = purge.conditions
    plain = Condition(condition.column, condition.older_than, timezone=condition.timezone)
    return condition if not others and condition == plain else None


def _count(session: Session, condition: Condition, row: dict[str, Any]) -> sql.Composed:
    """One SELECT. hidden: why it cannot be counted; it is null where it can."""
    name, type_name = display(row["schema_name"], row["name"]), TYPES.get(row["type"])
    zoneless = type_name != TYPES[1184]
    hidden = ""
    user = quote(session.server.user)
    if not row["seen"]:
        hidden = f"they may not be counted: GRANT SELECT ON {name} TO {user}"
    elif row["row_security"]:
        hidden = f"row-level security hides some of them: ALTER ROLE {user} BYPASSRLS"
    elif type_name is None or zoneless != bool(condition.timezone):
        hidden = "its time cannot be told: see what the step purge says"
    elif row["locked"]:
        hidden = "somebody has locked it"
    elif row["elsewhere"]:
        hidden = "a part of it lies on another server"
    elif not row["served"]:
        hidden = f"no index serves {quote(condition.column)}: to count them would read the whole table"
    if hidden:
        return sql.SQL("SELECT {}::text AS target, NULL::bigint AS waiting, {}::text AS hidden").format(
            sql.Literal(name), sql.Literal(hidden)
        )
    (term,) = terms(condition, {condition.column: Column(condition.column, type_name or "")}, row["cutoff"])
    return sql.SQL(
        "SELECT {}::text AS target, (SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT {}) AS e) AS waiting, "
        "NULL::text AS hidden"
    ).format(
        sql.Literal(name),
        qualified(row["schema_name"], row["name"]),
        term.expired,
        sql.Literal(MOST_COUNTED),
    )
