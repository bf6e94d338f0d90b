# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Indexes as they are and as they should be, in the form in which the two can be compared.

The server itself says what a wanted definition means: the index is created on an empty copy of its table, in a
transaction that is rolled back, and printed by the function that prints the existing one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..._errors import SqlError
from ..._postgres import catalog
from ..._postgres.capabilities import UPSERTS_BESIDE_REBUILDS
from ..._postgres.concurrently import HAZARD, HAZARDOUS
from ..._postgres.driver import sql
from ..._postgres.index_definition import Definition, Shape, shape, working_name
from ..._postgres.names import Name, display, quote
from ..._postgres.session import Session

# Where the table of a definition is, and what the present role may do there.
PLACE = """
WITH {targets}
SELECT t.*, t.oid::bigint AS table_oid,
       CASE WHEN t.kind = 'p' THEN pg_catalog.pg_get_partkeydef(t.oid) END AS partition_key,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owns,
       pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE') AS may_create,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP') AS may_temp,
       EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid) AS has_unique,
       pg_catalog.set_config('standard_conforming_strings', 'on', false)
FROM target AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
"""

# Everything outside pg_catalog is printed with its schema, and nothing in check mode's read-only session is written for
# good. LIKE copies neither defaults nor identity: no sequence is touched or made.
TRIAL = """
BEGIN READ WRITE;
SELECT pg_catalog.set_config('search_path', {path}, true);
CREATE TABLE {twin} (LIKE {table} INCLUDING GENERATED) {partition_by};
{as_rows}
CREATE {unique} INDEX {trial} ON {twin} {tail};
SET LOCAL search_path = pg_catalog, pg_temp;
"""

# For a function that takes rows of the table: rows of the copy become such.
AS_ROWS = """
CREATE FUNCTION {function}({twin}) RETURNS {table} LANGUAGE sql IMMUTABLE AS 'SELECT $1::text::{escaped}';
CREATE CAST ({twin} AS {table}) WITH FUNCTION {function}({twin}) AS IMPLICIT;
"""
EVENT_TRIGGERS = """
SELECT string_agg(quote_ident(evtname), ', ' ORDER BY evtname) AS names FROM pg_event_trigger WHERE evtenabled <> 'D'
"""
NO_SUCH_FUNCTION = "42883"
REFUSED = ("P0001", "42501")  # what functions raise to forbid something

# Indexes by name, and those of all partitions of a table; the table and its partitions. Takes no lock on any table.
# inherited: the index of which it is a part. needed_by: constraints, its own or foreign keys that refer to its columns.
# builder: the view hides from other roles what is built, but neither who builds nor which tables they have locked. Whoever
# has a table locked like a reader builds on an empty copy of it, as we do ourselves.
INDEXES = """
WITH RECURSIVE tree (oid, parent) AS (
    SELECT {table}::oid, NULL::oid
    UNION ALL
    SELECT i.inhrelid, i.inhparent FROM tree AS t JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
),
builder AS (
    SELECT l.relation, min(l.pid) AS pid FROM pg_catalog.pg_locks AS l
    JOIN pg_catalog.pg_stat_progress_create_index AS p ON p.pid = l.pid
    WHERE l.locktype = 'relation' AND l.mode <> 'AccessShareLock' AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    GROUP BY l.relation
),
part AS (
    SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, tree.parent::bigint AS parent,
           (SELECT pid FROM builder WHERE relation = c.oid) AS builder
    FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
),
found AS (
    SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
           t.oid::bigint AS table_oid, tn.nspname AS table_schema, t.relname AS "table",
           coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS valid,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner, (pg_catalog.pg_has_role(c.relowner, 'USAGE')
               OR pg_catalog.pg_has_role(n.nspowner, 'USAGE')) AS may_drop,
           coalesce(i.indisreplident, false) AS replica_identity, coalesce(i.indisclustered, false) AS clustered,
           coalesce(pg_catalog.pg_get_indexdef(i.indexrelid), '') AS printed, s.spcname AS tablespace,
           EXISTS (SELECT FROM pg_catalog.pg_index AS o WHERE o.indrelid = i.indrelid AND o.indisunique AND o.indisvalid
                   AND o.indexrelid <> i.indexrelid) AS beside_unique,
           pg_catalog.obj_description(c.oid, 'pg_class') AS comment, h.inhparent::bigint AS inherited,
           quote_ident(hn.nspname) || '.' || quote_ident(hc.relname) AS inherited_from,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('name', k.conname, 'type', k.contype, 'table',
                format('%I.%I', kn.nspname, kt.relname)) ORDER BY k.contype = 'f', k.conname), '[]')
            FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS kt ON kt.oid = k.conrelid
            JOIN pg_catalog.pg_namespace AS kn ON kn.oid = kt.relnamespace WHERE k.conindid = c.oid) AS needed_by,
           (SELECT coalesce(jsonb_object_agg(a.attnum, a.attstattarget), '{{}}') FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attstattarget >= 0) AS statistics,
           (SELECT pid FROM builder WHERE relation = t.oid) AS builder
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
    LEFT JOIN pg_catalog.pg_tablespace AS s ON s.oid = c.reltablespace
    LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = c.oid AND c.relkind IN ('i', 'I')
    LEFT JOIN pg_catalog.pg_class AS hc ON hc.oid = h.inhparent
    LEFT JOIN pg_catalog.pg_namespace AS hn ON hn.oid = hc.relnamespace
    WHERE {which}
)
SELECT (SELECT coalesce(jsonb_agg(to_jsonb(part)), '[]') FROM part) AS parts,
       (SELECT coalesce(jsonb_agg(to_jsonb(found)), '[]') FROM found) AS indexes
"""


@dataclass(frozen=True)
class Index:
    """An index, or another relation that has the name of one: then ``printed`` is "".

    kind        i, I (of a partitioned table), or another letter of pg_class.relkind
    inherited   oid of the partitioned index of which it is a part
    needed_by   constraints: name, type (p, u, x, f), table
    statistics  column number -> statistics target that somebody has set
    beside_unique  whether its table has another unique index
    builder     process id of somebody who is building an index on its table right now
    """

    oid: int
    schema: str
    name: str
    kind: str
    table_oid: int | None
    table_schema: str | None
    table: str | None
    valid: bool
    owner: str = ""
    may_drop: bool = True
    replica_identity: bool = False
    clustered: bool = False
    printed: str = ""
    beside_unique: bool = False
    tablespace: str | None = None
    comment: str | None = None
    inherited: int | None = None
    inherited_from: str | None = None
    needed_by: list[dict[str, str]] = field(default_factory=list)
    statistics: dict[str, int] = field(default_factory=dict)
    builder: int | None = None

    @property
    def target(self) -> str:
        return display(self.schema, self.name)

    @property
    def shape(self) -> Shape:
        return shape(self.printed)


@dataclass(frozen=True)
class Table:
    """A table, or a partition of it. kind is pg_class.relkind; builder as in Index."""

    oid: int
    schema: str
    name: str
    kind: str
    parent: int | None = None
    builder: int | None = None

    @property
    def target(self) -> str:
        return display(self.schema, self.name)


@dataclass(frozen=True)
class Wanted:
    """What a definition means.

    tablespace  where it wants the index ("" for the database's default), None where it says nothing
    """

    table: Table
    shape: Shape
    tablespace: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known about one index.

    target  its name, for people
    fault   why nothing can be done, "" otherwise
    hazard  why nothing can be built, "" otherwise
    upserts whether INSERT ... ON CONFLICT fails now and then while a unique index is built or dropped: before PostgreSQL 19,
            where the table has one by which it may go
    wanted  None if there is to be none
    found   what has the name
    parts   the table and, if it is partitioned, its partitions
    others  the indexes of the parts, and those that have names of ours
    """

    target: str
    schema: str
    name: str
    fault: str = ""
    hazard: str = ""
    upserts: bool = False
    wanted: Wanted | None = None
    found: Index | None = None
    parts: list[Table] = field(default_factory=list)
    others: list[Index] = field(default_factory=list)


def read_wanted(session: Session, definition: Definition) -> Facts:
    """What a definition means, and what there is instead. Raises OptionError (no such table), SqlError, Contended."""
    text = quote(definition.table.name)
    if definition.table.schema is not None:
        text = display(definition.table.schema, definition.table.name)
    targets = catalog.targets(session.server, [text])
    row = session.row(sql.SQL(PLACE).format(targets=targets))
    if row["oid"] is None:
        raise catalog.not_found(session, text, "rpm")
    relation = catalog.relation(row)
    target = display(relation.schema, definition.name)
    if relation.kind not in "rpm":
        return Facts(target, relation.schema, definition.name, str(catalog.wrong_kind(relation, "table")))
    fault = _no_right(session, row, relation)
    if fault:
        return Facts(target, relation.schema, definition.name, fault)
    found = _try_out(session, definition, row)
    parts, indexes = [Table(**part) for part in found["parts"]], [Index(**index) for index in found["indexes"]]
    (trial,) = [index for index in indexes if index.name == _trial_name(session)]
    place = (relation.schema, definition.name)
    return Facts(
        target=target,
        schema=relation.schema,
        name=definition.name,
        hazard=HAZARD if session.server.version_num in HAZARDOUS else "",
        upserts=row["has_unique"] and not session.server.has(UPSERTS_BESIDE_REBUILDS),
        wanted=Wanted(
            table=next(part for part in parts if part.oid == row["table_oid"]),
            shape=trial.shape,
            tablespace=(trial.tablespace or "") if definition.says_tablespace else None,
        ),
        found=next((index for index in indexes if (index.schema, index.name) == place), None),
        parts=parts,
        others=[index for index in indexes if index is not trial and (index.schema, index.name) != place],
    )


def _no_right(session: Session, row: dict[str, Any], relation: catalog.Relation) -> str:
    """Why the role cannot create an index there, "" if it can."""
    user = quote(session.server.user)
    if not row["owns"]:
        return f"role {user} may not create indexes on it: GRANT {quote(relation.owner)} TO {user}"
    if not row["may_create"]:
        schema = quote(relation.schema)
        return f"role {user} may not create anything in its schema: GRANT CREATE ON SCHEMA {schema} TO {user}"
    return ""


def _trial_name(session: Session) -> str:
    return f"vtchat.maintenance trial {session.server.backend_pid}"


def _try_out(session: Session, definition: Definition, row: dict[str, Any]) -> dict[str, Any]:
    """The row of INDEXES, with the wanted index on an empty copy of the table among them."""
    try:
        return _trial(session, definition, row, as_rows=False)
    except SqlError as error:
        if error.sqlstate == NO_SUCH_FUNCTION:
            with suppress(SqlError):  # the first error is the one that people understand
                return _trial(session, definition, row, as_rows=True)
        names = session.row(EVENT_TRIGGERS)["names"] if session.alive and error.sqlstate in REFUSED else None
        if names is None:
            raise
        raise SqlError(
            f"{error}. The definition is tried out on an empty temporary copy of the table, which is undone; "
            f"if that is what is refused: the event triggers are {names}",
            error.sqlstate,
        ) from None


def _trial(session: Session, definition: Definition, row: dict[str, Any], as_rows: bool) -> dict[str, Any]:
    trial, schema = _trial_name(session), row["schema_name"]
    # A temporary copy can have the table's own name, which expressions may use; without the right to one, whoever may
    # create the index may also create a table beside it.
    twin = sql.Identifier("pg_temp", row["name"]) if row["may_temp"] else sql.Identifier(schema, f"{trial} table")
    table = sql.Identifier(schema, row["name"])
    cast = sql.SQL(AS_ROWS).format(
        function=sql.Identifier("pg_temp" if row["may_temp"] else schema, trial),
        twin=twin,
        table=table,
        escaped=sql.SQL(session.text(table).replace("'", "''")),
    )
    query = sql.SQL(TRIAL).format(
        twin=twin,
        as_rows=cast if as_rows else sql.SQL(""),
        table=table,
        partition_by=sql.SQL(f"PARTITION BY {row['partition_key']}" if row["partition_key"] else ""),
        unique=sql.SQL("UNIQUE" if definition.unique else ""),
        trial=sql.Identifier(trial),
        tail=sql.SQL(definition.tail),
        path=sql.Literal(session.server.path),
    )
    which = sql.SQL("c.relname = {} AND i.indrelid = {}::regclass OR n.nspname = {} AND c.relname = ANY ({})").format(
        sql.Literal(trial),
        sql.Literal(session.text(twin)),
        sql.Literal(schema),
        sql.Literal([definition.name, working_name(definition.name)]),
    )
    if row["kind"] == "p":
        which += sql.SQL(" OR i.indrelid IN (SELECT oid FROM tree)")
    query += sql.SQL(INDEXES).format(table=sql.Literal(row["table_oid"]), which=which)
    try:
        found = session.row(query, alone=True)
        if as_rows:
            copied = (
                f"({quote(row['name'] if row['may_temp'] else f'{trial} table')}.*)::{display(schema, row['name'])}"
            )
            for one in found["indexes"]:
                if one["name"] == trial:
                    one["printed"] = one["printed"].replace(copied, f"{quote(row['name'])}.*")
        return found
    finally:
        if session.alive:
            session.execute("ROLLBACK", alone=True)


def read_existing(session: Session, name: Name) -> Facts:
    """What has the name, and what an interrupted run has left of it."""
    path = session.server.schemas
    place = sql.SQL("n.nspname = ANY ({})").format(sql.Literal(path if name.schema is None else [name.schema]))
    which = sql.SQL("c.relname = ANY ({}) AND ").format(sql.Literal([name.name, working_name(name.name)])) + place
    indexes = _read(session, which)[1]
    indexes.sort(key=lambda index: path.index(index.schema) if name.schema is None else 0)
    found = next((index for index in indexes if index.name == name.name), None)
    schema = found.schema if found else indexes[0].schema if indexes else name.schema or ""
    target = display(schema, name.name) if schema else quote(name.name)
    others = [index for index in indexes if index.schema == schema and index.name != name.name]
    parts: list[Table] = []
    partitioned = next((index for index in (found, *others) if index is not None and index.kind == "I"), None)
    if partitioned is not None:
        parts, below = _read(session, sql.SQL("i.indrelid IN (SELECT oid FROM tree)"), partitioned.table_oid)
        others += [index for index in below if index.oid not in {known.oid for known in indexes}]
    upserts = found is not None and found.beside_unique and not session.server.has(UPSERTS_BESIDE_REBUILDS)
    return Facts(target, schema, name.name, upserts=upserts, found=found, parts=parts, others=others)


def read_index(session: Session, schema: str, name: str) -> Index | None:
    """The index, or other relation, of that name."""
    which = sql.SQL("n.nspname = {} AND c.relname = {}").format(sql.Literal(schema), sql.Literal(name))
    return next(iter(_read(session, which)[1]), None)


def _read(session: Session, which: sql.Composable, table: int | None = None) -> tuple[list[Table], list[Index]]:
    """A table with its partitions, and the indexes for which an SQL condition holds."""
    row = session.row(sql.SQL(INDEXES).format(table=sql.Literal(table), which=which))
    return [Table(**part) for part in row["parts"]], [Index(**index) for index in row["indexes"]]
