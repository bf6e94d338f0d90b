# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Tables, TOAST tables and indexes that may be checked, and what is known about them: one round trip whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import OptionError
from ..._postgres import catalog
from ..._postgres.driver import sql
from ..._postgres.names import display, parse_name, quote
from ..._postgres.selection import Selection, stored, unmatched
from ..._postgres.session import Session
from ..._result import FAILED
from .. import Context, Verdict
from .functions import FUNCTIONS, Amcheck, read_functions
from .options import PARENT, Options

TABLE, TOAST, INDEX = "table", "TOAST table", "index"
HEAP_METHOD, BTREE, GIN_METHOD = "heap", "btree", "gin"
TABLE_KINDS = "rm"

# Sizes as VACUUM and the like have left them: to ask the disk for each of many thousands takes longer than their checks.
FACTS = """
WITH RECURSIVE {stored},
heap AS MATERIALIZED (
    SELECT t.oid AS main, x.oid, t.names, t.schema_name, t.name
    FROM target AS t JOIN pg_catalog.pg_class AS m ON m.oid = t.oid, LATERAL (VALUES (m.oid), (m.reltoastrelid)) AS x (oid)
    WHERE x.oid <> 0 AND m.relkind IN ('r', 'm') AND m.relpersistence <> 't'
),
part AS MATERIALIZED (
    SELECT h.*, h.oid AS heap FROM heap AS h
    UNION ALL
    SELECT h.main, i.indexrelid, h.names, h.schema_name, h.name, h.oid FROM heap AS h
    JOIN pg_catalog.pg_index AS i ON i.indrelid = h.oid
)
SELECT p.schema_name AS table_schema, p.name AS "table", p.names, n.nspname::text AS schema, c.relname::text AS name,
       CASE WHEN c.oid = p.main THEN 'table' WHEN c.relkind = 't' THEN 'TOAST table' ELSE 'index' END AS kind,
       c.oid::bigint AS oid, c.relfilenode::bigint AS file, coalesce(am.amname::text, '') AS method,
       c.relpersistence = 'u' AS unlogged, coalesce(i.indisvalid AND i.indisready AND i.indislive, true) AS valid,
       coalesce(i.indisunique, false) AS "unique", i.indexprs IS NOT NULL OR i.indpred IS NOT NULL AS expressions,
       c.relpages * current_setting('block_size')::bigint AS bytes,
       h.relpages * current_setting('block_size')::bigint AS heap_bytes,
       extract(epoch FROM clock_timestamp())::float8 AS now
FROM part AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS h ON h.oid = p.heap
LEFT JOIN pg_catalog.pg_am AS am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
"""

# Names that nothing has, and what is no table, of those that were given.
NAMED = """
WITH RECURSIVE {stored}
SELECT t.text, t.oid::bigint AS oid, t.schema_name, t.name, t.kind, t.owner, t.may_maintain, t.names,
       c.relpersistence::text AS persistence
FROM target AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
WHERE t.position IS NOT NULL
ORDER BY t.position
"""


@dataclass(frozen=True)
class Part:
    """A table, a TOAST table or an index, which is checked as one.

    kind         TABLE, TOAST or INDEX; method: its access method
    file         pg_class.relfilenode: another one after each rewrite
    unlogged     it has nothing on a standby
    valid        whether queries may use the index
    expressions  whether its check calls functions of the user
    bytes        as it was counted last; heap_bytes: likewise, of the table that it is on
    names        ``schema.name`` of its table and of the partitioned tables that this belongs to
    """

    schema: str
    name: str
    table_schema: str
    table: str
    kind: str
    oid: int
    file: int
    method: str
    unlogged: bool = False
    valid: bool = True
    unique: bool = False
    expressions: bool = False
    bytes: int = 0
    heap_bytes: int = 0
    names: Sequence[str] = ()

    @property
    def target(self) -> str:
        """Its name, as history knows it."""
        return display(self.schema, self.name)

    @property
    def table_target(self) -> str:
        """The name of its table."""
        return display(self.table_schema, self.table)

    @property
    def is_index(self) -> bool:
        return self.kind == INDEX

    @property
    def told(self) -> str:
        """What it is, for people."""
        return {TOAST: f"TOAST table of {self.table_target}", INDEX: f"index of {self.table_target}"}.get(
            self.kind, TABLE
        )


@dataclass(frozen=True)
class Facts:
    """All that decides. now: seconds since 1970 by the server's clock."""

    amcheck: Amcheck
    now: float = 0.0
    parts: Sequence[Part] = ()
    verdicts: Sequence[Verdict] = field(default=())


def read_facts(session: Session, options: Options, context: Context) -> Facts:
    """Raises OptionError where nothing can be checked at all, SqlError, Contended."""
    amcheck = read_functions(session.server, session.rows(FUNCTIONS))
    if session.server.in_recovery and PARENT in options.depth:
        raise OptionError(
            ["parent: it takes a lock that there is none of on a standby: leave it out, or ask the primary"]
        )
    verdicts = _named(session, options.selection) if options.selection.tables else []
    rows = session.rows(sql.SQL(FACTS).format(stored=stored(session.server, options.selection, TABLE_KINDS)))
    now = max((row.pop("now") for row in rows), default=0.0)
    parts = [Part(**row) for row in rows]
    fault = amcheck.fault(options.depth, any(part.method == GIN_METHOD for part in parts))
    if fault:
        raise OptionError([fault])
    for pattern in unmatched(options.selection.include, sorted({name for part in parts for name in part.names})):
        context.warn(
            f"amcheck: no table matches {pattern}, or all that do are excluded or not of the size that is meant"
        )
    why = "a standby has no memory of its own" if session.server.in_recovery else context.history_note
    if session.server.in_recovery or not context.history:
        context.warn(f"amcheck: what was checked is not remembered, so that each run begins anew: {why}")
    return Facts(amcheck, now, parts, verdicts)


def _named(session: Session, selection: Selection) -> list[Verdict]:
    """What is wrong with tables that are named."""
    verdicts = []
    for row in session.rows(
        sql.SQL(NAMED).format(stored=stored(session.server, Selection(selection.tables), TABLE_KINDS))
    ):
        fault = _fault(session, row)
        if fault:
            verdicts.append(Verdict(_target(row), fault, FAILED))
    return verdicts


def _target(row: dict[str, Any]) -> str:
    if row["oid"] is not None:
        return display(row["schema_name"], row["name"])
    name = parse_name(row["text"])
    return ".".join(quote(part) for part in (name.schema, name.name) if part is not None)


def _fault(session: Session, row: dict[str, Any]) -> str:
    """Why a name cannot be meant, "" if it can. A foreign table among partitions is its own server's business."""
    if row["oid"] is None:
        return str(catalog.not_found(session, row["text"], TABLE_KINDS + "p"))
    if row["kind"] not in TABLE_KINDS:
        part = row["kind"] == "f" and len(row["names"]) > 1
        return "" if part else str(catalog.wrong_kind(catalog.relation(row), "table or materialized view"))
    return "it is temporary: nobody but its session can read it" if row["persistence"] == "t" else ""
