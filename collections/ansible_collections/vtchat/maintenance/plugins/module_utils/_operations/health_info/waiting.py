# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How many rows have expired, of what the plans purge: counted with what is asked besides, by an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ..._errors import Contended, SqlError
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import display, qualified, quote
from ..._postgres.selection import LOCKED
from ..._postgres.session import Session
from ..purge import clocks
from ..purge.clocks import Column, Term
from ..purge.options import Condition
from ..purge.options import Options as Purge
from ..purge.table import COLUMNS, SMALL_TABLE

MOST_COUNTED = 100_000

# small: reading all of it costs next to nothing. Of a part that nobody has counted yet the file is asked, unless it is locked.
TABLES = """
WITH RECURSIVE {locked}, {targets}, part (position, oid, kind) AS (
    SELECT position, oid, kind FROM target WHERE oid IS NOT NULL
    UNION ALL SELECT p.position, c.oid, c.relkind::text
    FROM part AS p JOIN pg_inherits AS i ON i.inhparent = p.oid JOIN pg_class AS c ON c.oid = i.inhrelid
)
SELECT t.position, t.oid, t.schema_name, t.name, clock_timestamp() AS at, ({of_columns}) AS times,
       EXISTS (SELECT FROM part AS p LEFT JOIN pg_index AS i ON i.indrelid = p.oid
               JOIN locked AS l ON l.relation IN (p.oid, i.indexrelid) WHERE p.position = t.position) AS locked,
       EXISTS (SELECT FROM part AS p WHERE p.position = t.position AND p.kind = 'f') AS elsewhere,
       t.may_use_schema AND has_table_privilege(t.oid, 'SELECT') AS seen, row_security_active(t.oid) AS row_security,
       (SELECT sum(CASE WHEN c.reltuples >= 0 THEN c.relpages WHEN c.oid IN (SELECT relation FROM locked) THEN NULL
                        ELSE pg_relation_size(c.oid) / current_setting('block_size')::int END) <= {small}
        FROM part AS p JOIN pg_class AS c ON c.oid = p.oid WHERE p.position = t.position AND p.kind = 'r') AS small
FROM target AS t JOIN (VALUES {wanted}) AS w (position, columns) USING (position)
WHERE t.kind IN ('r', 'p')
"""
NOT_COUNTED = "SELECT {target}::text AS target, NULL::bigint AS waiting, {hidden}::text AS hidden"
COUNTED = """
SELECT {target}::text AS target, (SELECT count(*) FROM (SELECT FROM {table} WHERE {expired} LIMIT {most}) AS e) AS waiting,
       NULL::text AS hidden
"""


@dataclass
class Step:
    """A step purge and its table.

    columns  those that say when a row has expired
    at       now, by the server's clock
    hidden   why its rows are not counted, "" if they are
    """

    purge: Purge
    name: str
    table: sql.Identifier
    columns: Mapping[str, Column]
    at: datetime
    hidden: str = ""

    def terms(self) -> list[tuple[Condition, Term]]:
        """Why a row has expired: any of these."""
        return [
            (one, term)
            for one in self.purge.conditions
            for term in clocks.terms(one, self.columns, self.at - timedelta(seconds=one.older_than))
        ]


def waiting(
    session: Session, purges: Sequence[Purge], first: str, statement_timeout: float
) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """What ``first`` says, in the same round trip; and the tables, each with a SELECT of (target, waiting, hidden).

    From then on the session has this statement_timeout.
    """
    wanted = [
        sql.SQL("({}, {}::text[])").format(sql.Literal(number), sql.Literal(purge.columns))
        for number, purge in enumerate(purges)
    ]
    query = sql.SQL(TABLES).format(
        locked=sql.SQL(LOCKED),
        targets=catalog.targets(session.server, [purge.table for purge in purges]),
        of_columns=sql.SQL(COLUMNS).format(
            columns=sql.SQL("w.columns"), parts=sql.SQL("(SELECT * FROM part WHERE part.position = t.position)")
        ),
        small=sql.Literal(SMALL_TABLE),
        wanted=sql.SQL(", ").join(wanted),
    )
    both = sql.SQL("SELECT * FROM ({}) AS f LEFT JOIN ({}) AS t ON true").format(sql.SQL(first), query)
    rows = session.rows_and_set(both, statement_timeout)
    steps = [_step(session, purges[row["position"]], row) for row in rows if row["position"] is not None]
    _doubt(session, [step for step in steps if not step.hidden])
    return rows[0]["large"], tuple((step.name, session.text(_select(step))) for step in steps)


def _step(session: Session, purge: Purge, row: Mapping[str, Any]) -> Step:
    columns = {name: Column(**column) for name, column in (row["times"] or {}).items()}
    name, table = display(row["schema_name"], row["name"]), qualified(row["schema_name"], row["name"])
    step = Step(purge, name, table, columns, row["at"].astimezone(timezone.utc))
    step.hidden = _unseen(session, name, row) or _unknown(purge) or _unclear(step) or _unserved(step, row)
    return step


def _unseen(session: Session, name: str, row: Mapping[str, Any]) -> str:
    """Why the rows cannot be read, or not at once."""
    user = quote(session.server.user)
    if not row["seen"]:
        return f"they may not be counted: GRANT SELECT ON {name} TO {user}"
    if row["row_security"]:
        return f"row-level security hides some of them: ALTER ROLE {user} BYPASSRLS"
    if row["locked"]:
        return "somebody has locked it"
    return "a part of it lies on another server" if row["elsewhere"] else ""


def _unknown(purge: Purge) -> str:
    """Why only the purge itself knows which rows are to go."""
    if purge.partitions:
        return "its partitions go as a whole, when all of their rows have expired"
    if purge.where or any(condition.where for condition in purge.conditions):
        return "its where is not looked at here, for it may take long, or do anything"
    return "rows to which others refer are to stay, and to look for those takes long" if purge.keep_referenced else ""


def _unclear(step: Step) -> str:
    """Why it cannot be told which rows have expired."""
    for condition in step.purge.conditions:
        missing = [name for name in condition.columns if name not in step.columns]
        fault = f"there is no column {quote(missing[0])}" if missing else clocks.fault(condition, step.columns)
        if fault:
            return fault
    return ""


def _unserved(step: Step, row: Mapping[str, Any]) -> str:
    """Why to count them would read all of the table."""
    lacking = () if row["small"] else (one for one in step.terms() if not one[1].served)
    for condition, term in lacking:
        why = "no index serves" if term.index else "no index can serve, with ttl_column,"
        return f"{why} {quote(condition.column)}: to count them would read the whole table"
    return ""


def _doubt(session: Session, steps: Sequence[Step]) -> None:
    """Whether the values can be what the steps say: what is declared wrongly never expires, and would look well.

    One round trip, and none where nothing can be wrong; one for each where that fails. Raises SqlError when the connection is
    lost.
    """
    asked = [
        (step, condition, sql.SQL("(SELECT to_jsonb(d) FROM ({}) AS d)").format(query))
        for step in steps
        for condition in step.purge.conditions
        if (query := clocks.doubt(condition, step.columns, step.table))
    ]
    if not asked:
        return
    try:
        found = _looked(session, [query for _step, _condition, query in asked])
    except (Contended, SqlError) as error:
        if not session.alive:
            raise
        if len(steps) == 1:
            steps[0].hidden = f"its values cannot be looked at: {error}"
            return
        for step in steps:
            _doubt(session, [step])
        return
    for (step, condition, _query), row in zip(asked, found):
        step.hidden = step.hidden or clocks.doubt_fault(condition, row)


def _looked(session: Session, queries: Sequence[sql.Composable]) -> list[dict[str, Any]]:
    """The row of each of them. Raises Contended, SqlError."""
    query = sql.SQL("SELECT jsonb_build_array({}) AS found").format(sql.SQL(", ").join(queries))
    found: list[dict[str, Any]] = session.row(query)["found"]
    return found


def _select(step: Step) -> sql.Composed:
    """One SELECT. hidden: why they are not counted; it is null where they are."""
    target = sql.Literal(step.name)
    if step.hidden:
        return sql.SQL(NOT_COUNTED).format(target=target, hidden=sql.Literal(step.hidden))
    each = [sql.SQL("({})").format(term.expired) for _condition, term in step.terms()]
    expired = sql.SQL(" OR ").join(each)
    return sql.SQL(COUNTED).format(target=target, table=step.table, expired=expired, most=sql.Literal(MOST_COUNTED))
