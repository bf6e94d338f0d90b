# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which indexes a step is about, and what the catalog knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..._postgres import catalog
from ..._postgres.bloat import FILLFACTOR
from ..._postgres.capabilities import DATABASE_COLLATION_VERSION, PGSTATTUPLE
from ..._postgres.driver import sql
from ..._postgres.index_columns import is_on
from ..._postgres.names import display, parse_name, qualified, quote
from ..._postgres.selection import LOCKED, LeftOut, Selection, left_out, regular, stored
from ..._postgres.server import Server
from ..._postgres.session import Session
from ..._result import FAILED
from .. import Context, Verdict
from . import queries

BTREE, GIN, BRIN = "btree", "gin", "brin"
PENDING_LIMIT_KIB = 1024  # the unit of the setting gin_pending_list_limit


@dataclass(frozen=True)
class Index:
    """An index as the catalog has it.

    chosen        whether the step is about it; what is not stands on the same table and is not valid
    named         whether a name chose it, and not a pattern; asked: whether that was its own
    names         what patterns are compared with: its own and its tables' ``schema.name``
    heap, main    oid of the relation that it is on, and of the table that this belongs to: another one for TOAST
    table_kind    pg_class.relkind of that table
    method        access method
    file          pg_class.relfilenode: another one after each rebuild
    rows          entries, as VACUUM or ANALYZE has left it; -1 where neither ever ran; table_rows: likewise, of the table
    settings      storage parameters as ``name=value``
    bytes         None while somebody has locked it as a whole
    changed       rows that have changed since it was counted
    counted       whether it is known when that was: not after statistics were reset
    definition    what it has in common with a copy of it
    enforces      whether it is the index of a constraint; part: whether it is attached to a partitioned index
    collations    name, version when it was made, version now; of those that differ. "" is the database's own
    busy          process id of somebody who is working on its table; builder: likewise, on an index of that table
    pending_limit gin_pending_list_limit of the server, in bytes
    """

    oid: int
    schema: str
    name: str
    heap: int = 0
    main: int = 0
    table_schema: str = ""
    table: str = ""
    table_kind: str = "r"
    chosen: bool = True
    named: bool = False
    asked: bool = False
    names: Sequence[str] = ()
    name_bytes: int = 0
    persistence: str = "p"
    method: str = BTREE
    file: int = 0
    rows: float = -1.0
    table_rows: float = -1.0
    settings: Sequence[str] = ()
    bytes: int | None = None
    changed: int = 0
    counted: bool = True
    valid: bool = True
    live: bool = True
    unique: bool = False
    part: bool = False
    primary: bool = False
    exclusion: bool = False
    deferrable: bool = False
    expressions: bool = False
    partial: bool = False
    definition: str = ""
    enforces: bool = False
    owner: str = ""
    may_maintain: bool = True
    may_use_schema: bool = True
    may_drop: bool = True
    collations: Sequence[Sequence[str]] = ()
    busy: int | None = None
    builder: int | None = None
    autovacuum: bool = False
    page: int = 8192
    pending_limit: int = 4 << 20
    now: datetime | None = None
    may_exact: bool = False
    may_pending: bool = False

    @property
    def target(self) -> str:
        return display(self.schema, self.name)

    @property
    def table_target(self) -> str:
        return display(self.table_schema, self.table)

    @property
    def toast(self) -> bool:
        return self.heap != self.main

    @property
    def entries(self) -> float:
        """Rows that it has, -1 where nobody knows: at least those of its table, which may be counted more often."""
        return self.rows if self.partial else max(self.rows, self.table_rows)

    @property
    def identifier(self) -> sql.Identifier:
        return qualified(self.schema, self.name)

    def setting(self, name: str, default: str) -> str:
        """A storage parameter."""
        found = dict(one.partition("=")[::2] for one in self.settings)
        return found.get(name, default)

    def is_on(self, name: str) -> bool:
        """Whether a storage parameter that is on by default is; written as the user did (parse_bool() of the server)."""
        return is_on(self.setting(name, "on"))

    @property
    def fillfactor(self) -> int:
        """Of a B-tree."""
        return int(self.setting("fillfactor", str(FILLFACTOR)))

    @property
    def pending_room(self) -> int:
        """Bytes of a GIN index's pending list from which on whoever inserts flushes it; 0 where it has none."""
        if not self.is_on("fastupdate"):
            return 0
        own = self.setting("gin_pending_list_limit", "")
        return int(own) * PENDING_LIMIT_KIB if own else self.pending_limit

    @property
    def upserts(self) -> bool:
        """Whether INSERT ... ON CONFLICT may go by it: unique, and somebody inserts into its table."""
        return self.unique and self.table_kind != "m" and not self.toast


@dataclass(frozen=True)
class Chosen:
    """What a step is about. verdicts: about names that mean nothing, or something else."""

    indexes: Sequence[Index] = ()
    verdicts: Sequence[Verdict] = ()
    warnings: Sequence[str] = field(default=())


def choose(session: Session, selection: Selection, names: Sequence[str], context: Context) -> Chosen:
    """The indexes: one round trip, one more where there are names. Raises SqlError, Contended."""
    verdicts, oids = named_indexes(session, names) if names else ([], [])
    verdicts += named_tables(session, selection) if selection.tables else []
    found, unmatched = _read(session, selection, sql.Literal(oids))
    for pattern in unmatched:
        context.warn(f"reindex: no index, and no table with one, matches {pattern}, or all that do are excluded")
    closed = {
        one.oid for one in found if not (one.may_maintain and one.may_use_schema) and (one.toast or not one.named)
    }
    out = [one for one in found if one.oid in closed and one.chosen]
    tables = {
        one.main: LeftOut(one.table_schema, one.table, one.owner, one.may_use_schema) for one in out if not one.toast
    }
    said = left_out(session.server, "reindex", list(tables.values()))
    if said:
        context.warn(said)
    if any(one.toast and (one.bytes or 0) >= (selection.min_size or 0) for one in out):
        user = quote(session.server.user)
        context.warn(
            f"reindex: indexes of TOAST tables are left out: GRANT USAGE ON SCHEMA pg_toast TO {user}, and the owner's rights"
        )
    return Chosen([one for one in found if one.oid not in closed], verdicts)


def read_table(session: Session, heap: int) -> list[Index]:
    """All indexes of a table or TOAST table."""
    oids = sql.SQL("ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = {})").format(sql.Literal(heap))
    return _read(session, Selection(), oids)[0]


def read(session: Session, selection: Selection, oids: Sequence[int] = ()) -> list[Index]:
    """The chosen indexes, by table, by pattern, by oid, and those on the same tables that are not valid."""
    return _read(session, selection, sql.Literal(list(oids)))[0]


def _read(session: Session, selection: Selection, oids: sql.Composable) -> tuple[list[Index], list[str]]:
    """The indexes, and the patterns that nothing has."""
    server = session.server
    include = sql.Literal([regular(text) for text in selection.include])
    chosen = sql.SQL(queries.CHOSEN).format(
        include=include,
        exclude=sql.Literal([regular(text) for text in selection.exclude]),
        oids=oids,
    )
    of_database = queries.OF_DATABASE if server.has(DATABASE_COLLATION_VERSION) else ""
    query = sql.SQL(queries.INDEXES).format(
        stored=_tables(server, selection),
        chosen=chosen,
        oids=oids,
        busy=sql.SQL(queries.BUSY),
        mismatch=sql.SQL(queries.MISMATCH).format(of_database=sql.SQL(of_database)),
        kept=sql.SQL(queries.KEPT).format(least=sql.Literal(selection.min_size or 0)),
        unmatched=sql.SQL(queries.UNMATCHED).format(patterns=sql.Literal(list(selection.include)), include=include),
        may_maintain=sql.SQL("({})").format(sql.SQL(catalog.may_maintain(server))),
        may_exact=_may_call(server, "pgstatindex"),
        may_pending=_may_call(server, "pgstatginindex"),
    )
    rows = session.rows(query)  # one at least
    unmatched: list[str] = rows[0]["unmatched"]
    return [_index(row) for row in rows if row["oid"] is not None], unmatched


def _tables(server: Server, selection: Selection) -> sql.Composable:
    """The tables whose indexes may be chosen: patterns may name an index, and sizes are those of the index."""
    if not selection.tables and not selection.include:
        return sql.SQL(f"{LOCKED}, {queries.NO_TABLES}")
    possible = Selection(selection.tables, ("*",) if selection.include else ())
    return stored(server, possible, database_owner=False)


def _may_call(server: Server, function: str) -> sql.Composed:
    """Whether a function of the extension that measures may be called, as an expression."""
    if not server.has(PGSTATTUPLE):
        return sql.SQL("{}").format(sql.SQL("false"))
    schema = server.extensions[PGSTATTUPLE.name][0]
    allowed = sql.SQL(queries.MAY_CALL).format(function=sql.Literal(function), schema=sql.Literal(schema))
    return sql.SQL("coalesce({}, false)").format(allowed)


def _index(row: dict[str, Any]) -> Index:
    del row["unmatched"]
    return Index(**{**row, "collations": row["collations"] or ()})


def named_indexes(session: Session, names: Sequence[str]) -> tuple[list[Verdict], list[int]]:
    """What is wrong with indexes that are named, and the oids of the others."""
    query = sql.SQL(queries.NAMED).format(targets=catalog.targets(session.server, names))
    verdicts: list[Verdict] = []
    oids: list[int] = []
    for text, row in zip(names, session.rows(query)):
        fault = _name_fault(session, text, row, "iI", "index")
        if fault:
            verdicts.append(Verdict(_target(text, row), fault, FAILED))
        oids += row["leaves"] if not fault else []
    return verdicts, oids


def named_tables(session: Session, selection: Selection) -> list[Verdict]:
    """What is wrong with tables that are named."""
    query = sql.SQL(queries.WRONG).format(
        stored=stored(session.server, Selection(selection.tables), database_owner=False)
    )
    verdicts = []
    for row in session.rows(query):
        fault = _name_fault(session, row["text"], row, "rm", "table")
        if fault:
            verdicts.append(Verdict(_target(row["text"], row), fault, FAILED))
    return verdicts


def _target(text: str, row: dict[str, Any]) -> str:
    if row["oid"] is not None:
        return display(row["schema_name"], row["name"])
    name = parse_name(text)
    return ".".join(quote(part) for part in (name.schema, name.name) if part is not None)


def _name_fault(session: Session, text: str, row: dict[str, Any], kinds: str, what: str) -> str:
    """Why a name cannot be meant, "" if it can."""
    if row["oid"] is None:
        return str(catalog.not_found(session, text, kinds + ("p" if kinds == "rm" else "")))
    if row["kind"] not in kinds:
        hint = {"i": ": name it in indexes", "I": ": name it in indexes", "r": ": name it in tables", "m": ": name it in tables",
                "p": ": name it in tables"}.get(row["kind"], "")  # fmt: skip
        return f"{catalog.wrong_kind(catalog.relation(row), what)}{hint}"
    if row["schema_name"] in ("pg_catalog", "information_schema"):
        return "it belongs to the server itself, which cannot rebuild its own indexes concurrently"
    if row["persistence"] == "t":
        return "it is temporary: nobody but its session can use it"
    return ""
