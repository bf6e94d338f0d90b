# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What an archive has to know of a table, and of the table that its rows go to; and what forbids it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...._errors import OptionError, SqlError
from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.names import display, parse_name, quote
from ...._postgres.session import Session

# Columns of a relation, as the rest of this file wants them. base: the type under a domain.
COLUMNS = """
(SELECT jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'typid', a.atttypid::bigint, 'typmod', a.atttypmod,
    'domain', (SELECT y.typtype = 'd' FROM pg_type AS y WHERE y.oid = a.atttypid),
    'base', (WITH RECURSIVE base (oid, kind, typmod) AS (
                 SELECT y.oid, y.typtype, a.atttypmod FROM pg_type AS y WHERE y.oid = a.atttypid
                 UNION ALL SELECT y.oid, y.typtype, d.typtypmod
                 FROM base JOIN pg_type AS d ON d.oid = base.oid AND base.kind = 'd'
                 JOIN pg_type AS y ON y.oid = d.typbasetype)
             SELECT jsonb_build_array(format_type(oid, NULL), typmod) FROM base WHERE kind <> 'd'),
    'not_null', a.attnotnull, 'generated', a.attgenerated <> '', 'filled', a.atthasdef OR a.attidentity <> '',
    'may_insert', has_column_privilege(a.attrelid, a.attnum, 'INSERT')) ORDER BY a.attnum)
 FROM pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped)"""

# more: a child table, not a partition, with columns that its parent does not have. key: what ON CONFLICT goes by.
SOURCE = """
WITH RECURSIVE part (oid) AS (
    SELECT {oid}::oid UNION SELECT i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid
)
SELECT {columns} AS columns,
       (SELECT min(format('%I.%I', n.nspname, c.relname))
        FROM part JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT c.relispartition AND EXISTS (
            SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT EXISTS (
                SELECT FROM pg_attribute AS r
                WHERE r.attrelid = {oid} AND r.attname = a.attname AND NOT r.attisdropped))) AS more,
       (SELECT count(*) > 1 FROM part JOIN pg_class AS c USING (oid) WHERE NOT c.relispartition) AS inherited,
       EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indimmediate
               AND i.indpred IS NULL AND NOT EXISTS (
                   SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (num)
                   LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.num AND k.num <> 0 AND a.attnotnull
                   WHERE a.attnum IS NULL)) AS key,
       (SELECT jsonb_object_agg(s.name, current_setting(s.name)) FROM unnest({settings}::text[]) AS s (name)) AS settings,
       current_setting('server_encoding') AS encoding,
       EXISTS (SELECT FROM part JOIN pg_trigger AS g ON g.tgrelid = part.oid
               WHERE NOT g.tgisinternal AND g.tgtype::int & 10 = 10 AND g.tgenabled IN ('O', 'A')) AS watched
"""

# Which server gives numbers to transactions. Some providers refuse one or the other.
SERVER = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       substr(pg_walfile_name(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END), 1, 8)
           AS timeline
"""

# The table that rows go to. related: it is the table itself, a part of it, or one that it is a part of. foreign: a part
# whose rows are elsewhere. after: what could take rows out again.
TARGET = """
WITH RECURSIVE {targets},
above (oid) AS (
    SELECT {oid}::oid UNION SELECT i.inhparent FROM above JOIN pg_inherits AS i ON i.inhrelid = above.oid
),
below (oid) AS (
    SELECT {oid}::oid UNION SELECT i.inhrelid FROM below JOIN pg_inherits AS i ON i.inhparent = below.oid
),
own (oid) AS (
    SELECT oid FROM target WHERE oid IS NOT NULL
    UNION SELECT i.inhrelid FROM own JOIN pg_inherits AS i ON i.inhparent = own.oid
)
SELECT t.*, (SELECT c.relpersistence::text FROM pg_class AS c WHERE c.oid = t.oid) AS persistence,
       t.oid IN (SELECT oid FROM above UNION SELECT oid FROM below) AS related, t.oid = {oid} AS same,
       (SELECT min(format('%I.%I', n.nspname, c.relname)) FROM own JOIN pg_class AS c USING (oid)
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'f') AS foreign_part,
       (SELECT min(format('%I.%I', n.nspname, c.relname)) FROM own JOIN pg_class AS c USING (oid)
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relpersistence = 'u') AS unlogged,
       (SELECT min(w.rulename) FROM pg_rewrite AS w WHERE w.ev_class = t.oid AND w.ev_type = '3'
        AND w.ev_enabled IN ('O', 'A')) AS rule,
       t.oid IS NOT NULL AND row_security_active(t.oid) AS row_security,
       t.oid IS NOT NULL AND has_table_privilege(t.oid, 'SELECT') AS may_read,
       EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid IN (SELECT oid FROM own) AND NOT g.tgisinternal
               AND g.tgtype::int & 4 <> 0 AND g.tgtype::int & 2 = 0 AND g.tgenabled IN ('O', 'A')) AS after,
       CASE WHEN t.oid IS NOT NULL THEN {columns} END AS columns
FROM target AS t
"""

# Types that take every value of another one as it is.
WIDER = {
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric"),
    "bigint": ("numeric",),
    "real": ("double precision",),
    "character varying": ("text",),
    "text": ("character varying",),
}


@dataclass(frozen=True)
class Source:
    """What the archive of a table has to know of it.

    columns  names of those with rows' own values, in their order; types: as they are declared
    key      whether a row that is there already is known by a unique index
    facts    what the manifest says of the server and its settings
    watched  triggers run while its rows are written
    """

    oid: int
    schema: str
    name: str
    shown: str
    columns: tuple[dict[str, Any], ...]
    key: bool
    facts: dict[str, Any]
    watched: bool

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The columns that cannot be computed again."""
        return [column for column in self.columns if not column["generated"]]


@dataclass(frozen=True)
class Target:
    """The table that rows go to, and the columns that it gets. watched: a trigger might take rows out again."""

    oid: int
    shown: str
    table: sql.Composable
    columns: tuple[str, ...]
    watched: bool


def read_source(session: Session, relation: catalog.Relation, settings: tuple[str, ...]) -> Source | str:
    """The table; or why it cannot be archived."""
    oid = sql.Literal(relation.oid)
    columns = sql.SQL(COLUMNS).format(oid=oid)
    row = session.row(sql.SQL(SOURCE).format(oid=oid, columns=columns, settings=sql.Literal(list(settings))))
    if row["more"]:
        return (f"archive: rows of {row['more']}, which inherits from {relation.display}, have columns that would be lost: "
                f"ALTER TABLE {row['more']} NO INHERIT {relation.display}, and purge it in a step of its own")  # fmt: skip
    server = {
        "host": session.server.host,
        "database": session.server.database,
        "version": session.server.version,
        "encoding": row["encoding"],
    }
    facts = {"server": server, "settings": row["settings"], "search_path": session.server.schemas}
    return Source(
        oid=relation.oid,
        schema=relation.schema,
        name=relation.name,
        shown=relation.display,
        columns=tuple(row["columns"]),
        key=row["key"],
        facts=facts,
        watched=row["watched"],
    )


def identified(session: Session, source: Source) -> Source:
    """The same with what tells its server from others, None where that may not be asked."""
    try:
        known = session.row(SERVER)
    except SqlError:
        if not session.alive:
            raise
        known = dict.fromkeys(("system_identifier", "timeline"))
    return replace(source, facts={**source.facts, "server": {**source.facts["server"], **known}})


def read_target(session: Session, source: Source, name: str, option: str) -> Target | str:
    """The table that its rows go to; or why they cannot. option: the one that names it."""
    query = sql.SQL(TARGET).format(
        targets=catalog.targets(session.server, [name]),
        oid=sql.Literal(source.oid),
        columns=sql.SQL(COLUMNS).format(oid=sql.SQL("t.oid")),
    )
    row = session.row(query)
    if row["oid"] is None:
        error = catalog.not_found(session, name, "rp")
        wanted = parse_name(name)
        shown = display(wanted.schema, wanted.name) if wanted.schema else quote(wanted.name)
        # The table itself is near to its archive, and not meant.
        text = str(error).removesuffix(f"; did you mean {source.shown}?")
        link = " To" if text.endswith("?") else "; to"
        return f"{option}: {text}{link} make it: CREATE TABLE {shown} (LIKE {source.shown})"
    relation = catalog.relation(row)
    pairs = _pairs(source, row)
    fault = (
        _kind_fault(relation, row, source)
        or _right_fault(session, relation, row, pairs)
        or _column_fault(relation, row, source)
    )
    if fault:
        return f"{option}: {fault}"
    return Target(relation.oid, relation.display, relation.identifier, tuple(pairs), row["after"])


def _kind_fault(relation: catalog.Relation, row: dict[str, Any], source: Source) -> str:
    """Why no row should go there at all."""
    shown = relation.display
    if relation.kind not in "rp":
        return str(OptionError(catalog.wrong_kind(relation, "table").errors))
    if row["same"]:
        return "is the table itself: name another one"
    if row["related"]:
        return f"{shown} is a part of {source.shown}, or the other way round: rows would stay where they are; name another one"
    if row["foreign_part"]:
        return (
            f"its part {row['foreign_part']} is a foreign table, which our transaction does not cover: name another one"
        )
    if row["unlogged"]:
        return f"a crash empties {row['unlogged']}, which is unlogged: ALTER TABLE {row['unlogged']} SET LOGGED"
    if row["persistence"] == "t":
        return f"{shown} is a temporary table: name another one"
    if row["rule"]:
        return (f"the rule {quote(row['rule'])} on {shown} rewrites what is written there: ALTER TABLE {shown} DISABLE RULE "
                f"{quote(row['rule'])}, or a trigger in its place")  # fmt: skip
    return ""


def _right_fault(session: Session, relation: catalog.Relation, row: dict[str, Any], pairs: list[str]) -> str:
    """What the role may not do there, with the statement that gives it."""
    shown, user = relation.display, quote(session.server.user)
    if not row["may_use_schema"]:
        return catalog.schema_fault(session.server, relation)
    if row["row_security"]:
        return f"row-level security of {shown} is about role {user}: use its owner or a role with BYPASSRLS"
    may_insert = {column["name"]: column["may_insert"] for column in row["columns"]}
    if not all(may_insert[name] for name in pairs):
        return f"role {user} may not write there: GRANT INSERT ON TABLE {shown} TO {user}"
    if row["after"] and not row["may_read"]:
        return (f"{shown} has a trigger that could take rows out again, and role {user} may not look: GRANT SELECT ON TABLE "
                f"{shown} TO {user}")  # fmt: skip
    return ""


def _pairs(source: Source, row: dict[str, Any]) -> list[str]:
    """The columns that go from one to the other. What either of them computes is left out where it can be."""
    there = {column["name"]: column for column in row["columns"] or ()}
    return [
        column["name"]
        for column in source.columns
        if column["name"] in there and not there[column["name"]]["generated"]
    ]


def _column_fault(relation: catalog.Relation, row: dict[str, Any], source: Source) -> str:
    """Which column does not fit, with the statement that mends it."""
    shown = relation.display
    there = {column["name"]: column for column in row["columns"] or ()}
    for column in source.columns:
        name, other = quote(column["name"]), there.get(column["name"])
        if other is None and not column["generated"]:
            return f"{shown} has no column {name}: ALTER TABLE {shown} ADD COLUMN {name} {column['type']}"
        if other is None or (other["generated"] and column["generated"]):
            continue
        if other["generated"]:
            return (f"{shown} computes its column {name}, so that its value would be lost: ALTER TABLE {shown} ALTER {name} "
                    "DROP EXPRESSION")  # fmt: skip
        if not holds(column, other):
            return (f"column {name} of {shown} is of type {other['type']}, which does not hold every {column['type']}: "
                    f"ALTER TABLE {shown} ALTER COLUMN {name} TYPE {column['type']}")  # fmt: skip
    mine = {column["name"] for column in source.columns}
    for column in there.values():
        if column["name"] not in mine and column["not_null"] and not column["filled"] and not column["generated"]:
            name = quote(column["name"])
            return (f"column {name} of {shown} is NOT NULL without a default: ALTER TABLE {shown} ALTER COLUMN {name} DROP NOT "
                    "NULL, or give it a default")  # fmt: skip
    return ""


def holds(column: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a column takes every value of another one, and gives it back as it was."""
    if column["typid"] == other["typid"]:
        return bool(other["typmod"] in (-1, column["typmod"]))
    if other["domain"]:  # which may refuse values
        return False
    (mine, my_typmod), (its, its_typmod) = column["base"], other["base"]
    if mine == its:
        return its_typmod in (-1, my_typmod)
    return its in WIDER.get(mine, ()) and its_typmod == -1
