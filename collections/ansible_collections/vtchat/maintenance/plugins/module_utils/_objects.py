# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Installing database objects from SQL, idempotent by the server's own canonical form.

A script is tried out in a savepoint. The rows that it wrote in the system catalogs carry the number of our transaction
and tell which objects it touched; what the server prints for these, before and after, is compared. All scripts of a call
are one transaction: all or nothing.

Two kinds of object have no OR REPLACE: materialized views and indexes. Their wanted definition is read from a twin, an
empty one under another name; one that differs is built beside the old one, which it then replaces.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ._driver import sql
from ._errors import Contended, OptionError, SqlError
from ._policy import with_lock_retries
from ._session import Session
from ._sql import Name, display, quote

CREATED = "created"
REPLACED = "replaced"
DROPPED = "dropped"
UNCHANGED = "unchanged"

# Two installations at once would both find a change and then fail on each other's rows.
BEGIN = """
BEGIN;
SET LOCAL standard_conforming_strings = on;
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vtchat.maintenance.sql_object', 0));
SELECT pg_catalog.pg_current_xact_id();
SAVEPOINT trial
"""
# From here on, between any two steps, there is this savepoint, and what has really been installed lies before it.
# The number returned is greater than those of the trials that are over.
TRY = """
ROLLBACK TO SAVEPOINT trial;
SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint AS number
"""
BACK = "ROLLBACK TO SAVEPOINT trial;"
KEEP = "ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial; {}; SAVEPOINT trial"
# Names outside pg_catalog are printed with their schema then.
CANONICAL = "SET LOCAL search_path = pg_catalog;"

# A function cannot end the transaction it runs in: COMMIT and the like, and CONCURRENTLY, are refused by the server.
# The script is encoded because the server, when it finds an error in the body of a function, searches its position in
# the text of the outermost statement, and would report it as one in the script.
RUN = "DO $$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode({}, 'base64'), 'UTF8'); END $$"

# No name of another object is likely to be this.
TWIN = "sql_object: wanted"

VIEW_DEFINITION = """
pg_catalog.pg_get_viewdef(c.oid) || coalesce(E'\\nWITH (' || pg_catalog.array_to_string(c.reloptions, ', ') || ')', '')"""

INDEX_HEAD = """
format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname,
       CASE WHEN c.relkind = 'I' THEN 'ONLY ' END, tn.nspname, t.relname)"""
# What stands after the names: method, columns, options, predicate.
INDEX_TAIL = "substr(pg_catalog.pg_get_indexdef(c.oid), length({index_head}) + 1)"
INDEX_STATE = "CASE WHEN i.indisvalid THEN '' ELSE E'\\n-- not valid' END"
INDEX_FROM = """
pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace"""

# Objects of which a row bears a number later than our transaction's in {mark}, which is one of a savepoint of ours. During
# the trial, rows that it wrote have one in xmin that is in progress; after it, the rows as they were before have the same
# one, aborted, in xmax. {bound} leaves out those of earlier trials, and numbers that no transaction has had yet: these are
# multixacts, left by row locks.
DESCRIBE = """
WITH written (classid, objid, mark) AS (
    SELECT 'pg_proc'::regclass::oid, oid, {mark} FROM pg_proc
    UNION ALL SELECT 'pg_class'::regclass, oid, {mark} FROM pg_class
    UNION ALL SELECT 'pg_class'::regclass, ev_class, {mark} FROM pg_rewrite
    UNION ALL SELECT 'pg_class'::regclass, attrelid, {mark} FROM pg_attribute WHERE attnum > 0
    UNION ALL SELECT 'pg_namespace'::regclass, oid, {mark} FROM pg_namespace
    UNION ALL SELECT 'pg_trigger'::regclass, oid, {mark} FROM pg_trigger
    UNION ALL SELECT 'pg_policy'::regclass, oid, {mark} FROM pg_policy
    UNION ALL SELECT classoid, objoid, {mark} FROM pg_description
    UNION ALL SELECT classid, objid, {mark} FROM pg_depend
), numbered AS (
    SELECT classid, objid, pg_current_xact_id()::text::bigint - age(mark) AS number FROM written WHERE age(mark) < 0
), touched AS (
    SELECT classid, objid FROM numbered
    WHERE CASE WHEN {bound} THEN pg_xact_status(number::text::xid8) = {status} ELSE false END
    UNION SELECT * FROM (VALUES {also}) AS also (classid, objid)
), described AS (
    SELECT o.classid, o.objid, CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
           format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS object,
           CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS definition,
           p.proowner AS owner, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl
    FROM touched AS o JOIN pg_proc AS p ON p.oid = o.objid JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE o.classid = 'pg_proc'::regclass
    UNION ALL
    SELECT o.classid, o.objid,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                          WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type' ELSE 'table' END,
           format('%I.%I', n.nspname, c.relname),
           CASE WHEN c.relkind IN ('v', 'm') THEN {view_definition}
                WHEN c.relkind IN ('r', 'p', 'f') THEN (
                    SELECT concat_ws(E'\\n', string_agg(concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
                        CASE WHEN attnotnull THEN 'NOT NULL' END, attacl::text), E'\\n' ORDER BY attnum),
                        c.reloptions::text, CASE WHEN c.relrowsecurity THEN 'row level security' END)
                    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) END,
           c.relowner, coalesce(c.relacl, acldefault('r', c.relowner))
    FROM touched AS o JOIN pg_class AS c ON c.oid = o.objid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE o.classid = 'pg_class'::regclass AND c.relkind NOT IN ('i', 'I', 't') AND n.nspname <> 'pg_toast'
    UNION ALL
    SELECT o.classid, o.objid, 'index', format('%I.%I', tn.nspname, c.relname),
           {index_head} || {index_tail} || {index_state}, c.relowner, NULL
    FROM touched AS o JOIN ({index_from}) ON c.oid = o.objid
    WHERE o.classid = 'pg_class'::regclass AND tn.nspname <> 'pg_toast'
    UNION ALL
    SELECT o.classid, o.objid, 'schema', quote_ident(n.nspname), 'CREATE SCHEMA ' || quote_ident(n.nspname),
           n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
    FROM touched AS o JOIN pg_namespace AS n ON n.oid = o.objid WHERE o.classid = 'pg_namespace'::regclass
    UNION ALL
    SELECT o.classid, o.objid, 'trigger', format('%I on %I.%I', g.tgname, n.nspname, c.relname),
           format('%s -- %s', pg_get_triggerdef(g.oid), g.tgenabled), c.relowner, NULL
    FROM touched AS o JOIN pg_trigger AS g ON g.oid = o.objid JOIN pg_class AS c ON c.oid = g.tgrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE o.classid = 'pg_trigger'::regclass AND NOT g.tgisinternal
    UNION ALL
    SELECT o.classid, o.objid, 'other', pg_describe_object(o.classid, o.objid, 0), NULL, NULL, NULL
    FROM touched AS o
    WHERE o.classid <> 0 AND o.classid NOT IN
          ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_trigger'::regclass,
                            'pg_rewrite'::regclass)
    AND NOT EXISTS (SELECT FROM pg_type AS y LEFT JOIN pg_type AS e ON e.oid = y.typelem
                    WHERE o.classid = 'pg_type'::regclass AND y.oid = o.objid AND (y.typrelid <> 0 OR e.typrelid <> 0))
    AND NOT EXISTS (SELECT FROM pg_constraint AS k
                    WHERE o.classid = 'pg_constraint'::regclass AND k.oid = o.objid AND k.contype = 't')
)
SELECT d.classid::bigint, d.objid::bigint, d.kind, d.object, d.definition, pg_get_userbyid(d.owner)::text AS owner,
       (SELECT string_agg(format('%s %s%s',
                                 CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                                 a.privilege_type, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END),
                          ', ' ORDER BY a.grantee = 0 DESC, pg_get_userbyid(a.grantee), a.privilege_type)
        FROM aclexplode(d.acl) AS a) AS privileges,
       (SELECT string_agg(concat_ws(': ', quote_ident(t.attname), m.description), E'\\n' ORDER BY m.objsubid)
        FROM pg_description AS m LEFT JOIN pg_attribute AS t
            ON m.classoid = 'pg_class'::regclass AND t.attrelid = m.objoid AND t.attnum = m.objsubid AND m.objsubid > 0
        WHERE m.classoid = d.classid AND m.objoid = d.objid) AS comment
FROM described AS d ORDER BY d.kind, d.object
"""

VIEW_PLACE = """
SELECT w.schema_name, c.oid::bigint, c.relkind::text AS kind
FROM (SELECT coalesce({schema}, current_schema())::text AS schema_name) AS w
LEFT JOIN (pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace)
    ON n.nspname = w.schema_name AND c.relname = {name}
"""

INDEX_PLACE = """
SELECT n.nspname::text AS schema_name, t.relname::text AS table_name, t.relkind::text AS table_kind, c.oid::bigint,
       c.relkind::text AS kind, i.indrelid = t.oid AS same_table
FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = t.relnamespace AND c.relname = {name}
LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE t.oid = to_regclass({table})
"""

VIEW_TEXT = "SELECT {view_definition} AS definition FROM pg_catalog.pg_class AS c WHERE c.oid = {what}::regclass"
INDEX_TEXT = """
SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END AS uniqueness, {index_tail} || {index_state} AS definition
FROM {index_from} WHERE c.oid = {what}::regclass
"""

DEPENDENTS = """
SELECT DISTINCT pg_catalog.pg_describe_object(
    CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::regclass END, coalesce(r.ev_class, d.objid), 0) AS object
FROM pg_catalog.pg_depend AS d
LEFT JOIN pg_catalog.pg_rewrite AS r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = {oid} AND d.deptype = 'n'
  AND r.ev_class IS DISTINCT FROM {oid}
ORDER BY 1
"""

# What a materialized view that replaces another has to take over. build: before the old one goes; finish: after.
HERITAGE = """
SELECT format('CREATE %sINDEX %I ON %I.%I %s', CASE WHEN i.indisunique THEN 'UNIQUE ' END, {twin} || c.oid, tn.nspname, {twin},
              {index_tail}) AS build,
       format('ALTER INDEX %I.%I RENAME TO %I', tn.nspname, {twin} || c.oid, c.relname)
       || coalesce(format('; COMMENT ON INDEX %I.%I IS %L', tn.nspname, c.relname,
                             obj_description(c.oid, 'pg_class')), '') AS finish
FROM {index_from} WHERE i.indrelid = {oid}
UNION ALL
SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, {twin},
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), NULL
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
WHERE c.oid = {oid} AND a.grantee <> c.relowner
UNION ALL
SELECT NULL, format('COMMENT ON MATERIALIZED VIEW %I.%I IS %L', n.nspname, c.relname, obj_description(c.oid, 'pg_class'))
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = {oid} AND obj_description(c.oid, 'pg_class') IS NOT NULL
UNION ALL
SELECT NULL, format('ALTER MATERIALIZED VIEW %I.%I OWNER TO %I', n.nspname, c.relname, pg_get_userbyid(c.relowner))
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = {oid} AND pg_get_userbyid(c.relowner) <> current_user
"""


def _query(text: str, **values: sql.Composable) -> sql.Composed:
    """One of the queries above, with its values and the expressions that several of them share."""
    head = sql.SQL(INDEX_HEAD)
    return sql.SQL(text).format(
        view_definition=sql.SQL(VIEW_DEFINITION),
        index_head=head,
        index_tail=sql.SQL(INDEX_TAIL).format(index_head=head),
        index_state=sql.SQL(INDEX_STATE),
        index_from=sql.SQL(INDEX_FROM),
        **values,
    )


@dataclass(frozen=True)
class Script:
    """SQL with a name for messages, usually that of the file."""

    name: str
    sql: str


@dataclass(frozen=True)
class Change:
    """One object that a script defines. before and after: canonical text, None where there is no such object."""

    script: str
    object: str
    kind: str
    before: str | None
    after: str | None

    @property
    def result(self) -> str:
        if self.before == self.after:
            return UNCHANGED
        if self.before is None:
            return CREATED
        return DROPPED if self.after is None else REPLACED


def install(session: Session, scripts: Sequence[Script], check: bool) -> list[Change]:
    """Apply the scripts in one transaction, and say of each object what became of it; with ``check``, what would.

    Raises OptionError (a script that cannot be handled), SqlError, Contended; nothing is changed then.
    """
    return with_lock_retries(session, lambda: _transaction(session, scripts, check), lambda: float("inf"))


def _transaction(session: Session, scripts: Sequence[Script], check: bool) -> list[Change]:
    try:
        session.execute(BEGIN)
        changes = [change for script in scripts for change in _located(session, script, check)]
        changed = any(change.result != UNCHANGED for change in changes)
        session.execute("COMMIT" if changed and not check else "ROLLBACK")
    except BaseException:
        if session.alive:
            session.execute("ROLLBACK")
        raise
    return changes


def _located(session: Session, script: Script, check: bool) -> list[Change]:
    """Install one script; errors say in which file and line."""
    try:
        return _Installation(session, script, check).install()
    except OptionError as error:
        raise OptionError([f"{script.name}: {error}"]) from None
    except Contended as error:
        raise Contended(f"{script.name}: {error}") from None
    except SqlError as error:
        line = line_of(script.sql, error)
        where = f"{script.name}:{line}" if line else script.name
        raise SqlError(f"{where}: {error}", error.sqlstate) from None


def line_of(text: str, error: SqlError) -> int:
    """The line of the script, from 1, that the server points at; 0 when it does not, or points elsewhere.

    SQL made from a script has its lines, though not always its characters; SQL that is a part of it is looked for.
    """
    if not error.position or not error.query:
        return 0
    lines = error.query.count("\n", 0, error.position - 1)
    if error.query.count("\n") == text.count("\n"):
        return lines + 1
    start = text.find(error.query)
    return text.count("\n", 0, start) + lines + 1 if start >= 0 else 0


@dataclass(frozen=True)
class Definition:
    """A script that begins with a CREATE without OR REPLACE, cut so that it can be run under other names.

    head, middle and body are the script's text around the name and, of an index, the table's name; rest follows the
    semicolon. populate: a materialized view is to be filled.
    """

    kind: str
    name: Name
    table: str
    head: str
    middle: str
    body: str
    rest: str
    populate: bool = True

    def text(self, name: str = "", table: str = "", populate: bool = True) -> str:
        """The CREATE statement, under another name and on another table if they are given, quoted for SQL."""
        tail = "" if self.kind == "index" or (populate and self.populate) else " WITH NO DATA"
        return self.head + (name or _quoted(self.name)) + self.middle + (table or self.table) + self.body + tail

    @property
    def rest_in_place(self) -> str:
        """What follows the statement, on the lines where it stands in the script."""
        return "\n" * self.text().count("\n") + self.rest


def _quoted(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (name.schema, name.name) if part is not None)


class _Installation:
    """One script being installed in the transaction that is open."""

    def __init__(self, session: Session, script: Script, check: bool) -> None:
        self.session, self.script, self.check = session, script, check

    def install(self) -> list[Change]:
        definition = read_definition(self.script.sql)
        if definition is None:
            return self.replace(self.script.sql, self.script.sql)
        if definition.kind == "index":
            return self.index(definition)
        return self.view(definition)

    def replace(self, trial: str, final: str) -> list[Change]:
        """Scripts of statements that can be repeated. trial: what is tried out, final: what is then run."""
        if not any(True for _token in tokens(trial)):
            return []
        number = self.session.row(TRY)["number"]
        self.run(trial)
        after = self.describe([])
        changes = compare(self.script.name, self.describe(after, number), after)
        if not changes:
            raise OptionError(
                ["it defines no function, view, index, trigger, comment or privilege, so there is nothing to compare"]
            )
        if any(change.result != UNCHANGED for change in changes):
            self.keep(self.block(final))
        return changes

    def describe(self, also: list[dict[str, Any]], ended: int | None = None) -> list[dict[str, Any]]:
        """The objects touched by the trial under way.

        ended: the number from TRY ends the trial; then the objects as they were before it, and those in ``also``.
        """
        pairs = [(row["classid"], row["objid"]) for row in also] or [(0, 0)]
        bound = "number BETWEEN {} AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1"
        query = _query(
            ("" if ended is None else BACK) + CANONICAL + DESCRIBE,
            mark=sql.SQL("xmin" if ended is None else "xmax"),
            status=sql.Literal("in progress" if ended is None else "aborted"),
            bound=sql.SQL("true") if ended is None else sql.SQL(bound).format(sql.Literal(ended)),
            also=sql.SQL(", ").join(
                sql.SQL("({}::oid, {}::oid)").format(sql.Literal(c), sql.Literal(o)) for c, o in pairs
            ),
        )
        return self.session.rows(query)

    def run(self, text: str) -> None:
        """Run a script, or a part of it, as a trial."""
        self.session.execute(self.block(text))

    def keep(self, *statements: sql.Composable) -> None:
        """Run statements so that they stay."""
        self.session.execute(sql.SQL(KEEP).format(sql.SQL("; ").join(statements)))

    def block(self, text: str) -> sql.Composed:
        """A script, or a part of it, inside a function. It keeps the number of the script's lines, see line_of."""
        missing = self.script.sql.count("\n") - text.count("\n")
        encoded = base64.b64encode((text + "\n" * missing).encode()).decode()
        return sql.SQL(RUN).format(sql.Literal(encoded))

    def view(self, definition: Definition) -> list[Change]:
        """A materialized view, and what the script says after it."""
        place = self.session.row(
            sql.SQL(BACK + VIEW_PLACE).format(
                schema=sql.Literal(definition.name.schema), name=sql.Literal(definition.name.name)
            )
        )
        schema, name, oid = place["schema_name"], definition.name.name, place["oid"]
        if oid is None:
            empty = definition.text(populate=False) + ";" + definition.rest
            return self.replace(empty, empty if self.check else self.script.sql)
        if place["kind"] != "m":
            raise OptionError(
                [f"there is another object with the name {display(schema, name)}, which is no materialized view"]
            )
        twin = sql.Identifier(schema, TWIN)
        self.session.row(TRY)
        self.run(definition.text(name=self.session.text(twin), populate=False))
        wanted = self.definition(CANONICAL + VIEW_TEXT, self.session.text(twin))["definition"]
        found = self.definition(BACK + CANONICAL + VIEW_TEXT, str(oid))["definition"]
        change = Change(self.script.name, display(schema, name), "materialized view", found + "\n", wanted + "\n")
        if change.result == UNCHANGED:
            return self.repeat(definition, change)
        self.refuse_dependents(change, oid)
        if not self.check:
            self.swap_view(definition, schema, oid)
        return [change]

    def repeat(self, definition: Definition, change: Change) -> list[Change]:
        """What the script says after a definition that is as wanted; the object is listed once."""
        others = self.replace(definition.rest_in_place, definition.rest_in_place)
        same = [other for other in others if (other.kind, other.object) == (change.kind, change.object)]
        return (same or [change]) + [other for other in others if other not in same]

    def definition(self, query: str, what: str) -> dict[str, Any]:
        return self.session.row(_query(query, what=sql.Literal(what)))

    def refuse_dependents(self, change: Change, oid: int) -> None:
        rows = self.session.rows(sql.SQL(DEPENDENTS).format(oid=sql.Literal(oid)))
        if rows:
            objects = ", ".join(row["object"] for row in rows)
            raise OptionError([f"{change.object} has another definition and has to be made anew, but these depend on it: "
                               f"{objects}. Drop them first, and create them again afterwards"])  # fmt: skip

    def swap_view(self, definition: Definition, schema: str, oid: int) -> None:
        """Build beside the old view, which is locked only from its DROP to the end of the transaction."""
        old, new = sql.Identifier(schema, definition.name.name), sql.Identifier(schema, TWIN)
        query = _query(BACK + CANONICAL + HERITAGE, oid=sql.Literal(oid), twin=sql.Literal(TWIN))
        heritage = self.session.rows(query)
        self.keep(
            self.block(definition.text(name=self.session.text(new))),
            *(sql.SQL(row["build"]) for row in heritage if row["build"]),
            sql.SQL("DROP MATERIALIZED VIEW {}; ALTER MATERIALIZED VIEW {} RENAME TO {}").format(
                old, new, sql.Identifier(definition.name.name)
            ),
            *(sql.SQL(row["finish"]) for row in heritage if row["finish"]),
            self.block(definition.rest_in_place),
        )

    def index(self, definition: Definition) -> list[Change]:
        """An index, and what the script says after it."""
        query = sql.SQL(BACK + INDEX_PLACE).format(
            name=sql.Literal(definition.name.name), table=sql.Literal(definition.table)
        )
        places = self.session.rows(query)
        if not places:
            self.run(self.script.sql)  # the server's message says what is wrong with the table
            raise OptionError([f"there is no table {definition.table}"])
        place = places[0]
        change = self.compare_index(definition, place)
        if change.result == UNCHANGED:
            return self.repeat(definition, change)
        if not self.check:
            self.build_index(definition, place)
        return [change]

    def compare_index(self, definition: Definition, place: dict[str, Any]) -> Change:
        """The index as it is, and as the server prints it on an empty twin of its table."""
        schema, name = place["schema_name"], definition.name.name
        if place["oid"] is not None and not (place["kind"] == "i" and place["same_table"]):
            raise OptionError(
                [f"there is another object with the name {display(schema, name)}: it is no index of this table"]
            )
        source, twin = sql.Identifier(schema, place["table_name"]), sql.Identifier(schema, TWIN)
        self.session.row(TRY)
        self.session.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(twin, source))
        self.run(
            definition.text(name=self.session.text(sql.Identifier(TWIN + " index")), table=self.session.text(twin))
        )
        rows = [self.definition(CANONICAL + INDEX_TEXT, self.session.text(sql.Identifier(schema, TWIN + " index")))]
        if place["oid"] is not None:
            rows.append(self.definition(BACK + CANONICAL + INDEX_TEXT, str(place["oid"])))
        where = f"INDEX {quote(name)} ON {display(schema, place['table_name'])} "
        wanted, found = ([f"CREATE {row['uniqueness']}{where}{row['definition']}\n" for row in rows] + [None])[:2]
        return Change(self.script.name, display(schema, name), "index", found, wanted)

    def build_index(self, definition: Definition, place: dict[str, Any]) -> None:
        """Build under another name, so that queries keep the old index until the last moment."""
        if place["oid"] is None:
            self.keep(self.block(self.script.sql))
            return
        schema, name, new = place["schema_name"], definition.name.name, TWIN + " index"
        self.keep(
            self.block(definition.text(name=self.session.text(sql.Identifier(new)))),
            sql.SQL("DROP INDEX {}; ALTER INDEX {} RENAME TO {}").format(
                sql.Identifier(schema, name), sql.Identifier(schema, new), sql.Identifier(name)
            ),
            self.block(definition.rest_in_place),
        )


def compare(script: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Change]:
    """Objects as they were and as they would be, from rows of DESCRIBE. Raises OptionError for what cannot be compared."""
    old, new = ({(row["kind"], row["object"]): row for row in rows} for rows in (before, after))
    changes = []
    for kind, name in [*new, *(key for key in old if key not in new)]:
        was, will = old.get((kind, name)), new.get((kind, name))
        definitions = [row["definition"] if row else None for row in (was, will)]
        table_changes = kind.endswith("table") and definitions[0] != definitions[1]
        if definitions == [None, None] or table_changes:
            raise OptionError([f"{name}: objects of this kind cannot be defined here; use a migration"])
        texts = [canonical(row) if row else None for row in (was, will)]
        changes.append(Change(script, name, kind, *texts))
    return changes


def canonical(row: dict[str, Any]) -> str:
    """All of an object that is compared, as text."""
    lines = [row["definition"].rstrip()]
    for what in ("owner", "privileges", "comment"):
        if row[what]:
            lines.append(f"-- {what}: {row[what]}")
    return "\n".join(lines) + "\n"


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A word, quoted name, string or sign of SQL, with its place."""

    kind: str
    text: str
    start: int
    end: int

    def says(self, word: str) -> bool:
        return self.kind in ("word", "other") and self.text.lower() == word


def tokens(text: str) -> Iterator[Token]:
    """The tokens of SQL without comments and white space: as much as it takes to find where a statement ends."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup not in ("space", None):
            kind = "string" if match["string"] is not None else str(match.lastgroup)
            yield Token(kind, match[0], match.start(), match.end())


class _Reader:
    """Goes through tokens from the left."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.next = 0

    def take(self, *words: str) -> bool:
        """Go past these words if they come next."""
        ahead = self.tokens[self.next : self.next + len(words)]
        found = len(ahead) == len(words) and all(token.says(word) for token, word in zip(ahead, words))
        self.next += len(words) * found
        return found

    def name(self) -> tuple[Name, int, int] | None:
        """Go past ``name`` or ``schema.name``: the name and where it stands."""
        first, parts = self.next, []
        while self.next < len(self.tokens) and self.tokens[self.next].kind in ("word", "quoted"):
            parts.append(_literal(self.tokens[self.next]))
            self.next += 1
            if not self.take("."):
                break
        if not 1 <= len(parts) <= 2:
            return None
        name = Name(parts[0] if len(parts) == 2 else None, parts[-1])
        return name, self.tokens[first].start, self.tokens[self.next - 1].end


def _literal(token: Token) -> str:
    """The name that a token means: the server folds ASCII letters that are not quoted."""
    if token.kind == "quoted":
        return token.text[1:-1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in token.text)


def read_definition(text: str) -> Definition | None:
    """The materialized view or index that a script begins with, or None. Raises OptionError."""
    reader = _Reader(text)
    if reader.take("create", "materialized", "view"):
        kind = "materialized view"
    elif reader.take("create", "unique", "index") or reader.take("create", "index"):
        kind = "index"
    else:
        return None
    if reader.take("concurrently"):
        raise OptionError(["CONCURRENTLY cannot run in the transaction that compares and installs: leave it out"])
    reader.take("if", "not", "exists")
    named = None if kind == "index" and reader.take("on") else reader.name()
    if named is None:
        raise OptionError([f"the {kind} needs a name"])
    name, start, end = named
    if kind == "materialized view":
        return _cut(text, reader, kind, name, (start, end, end, end))
    if not reader.take("on"):
        raise OptionError(["an index is written CREATE INDEX name ON table (columns)"])
    reader.take("only")
    table = reader.name()
    if table is None:
        raise OptionError(["an index is written CREATE INDEX name ON table (columns)"])
    return _cut(text, reader, kind, name, (start, end, table[1], table[2]))


def _cut(text: str, reader: _Reader, kind: str, name: Name, places: tuple[int, int, int, int]) -> Definition:
    """places: where the name starts and ends, where the table's name starts and ends."""
    start, end, table, table_end = places
    following = [token for token in reader.tokens if token.start >= table_end]
    statement = following[: next((i for i, token in enumerate(following) if token.says(";")), len(following))]
    stop = following[len(statement)].start if len(statement) < len(following) else len(text)
    body, populate = text[table_end:stop], True
    if kind == "materialized view":
        words = [token.text.lower() for token in statement[-3:]]
        if words == ["with", "no", "data"] or words[-2:] == ["with", "data"]:
            populate = words[-2] != "no"
            body = text[table_end : statement[-2 if populate else -3].start]
        elif len(statement) and stop == len(text):
            body = text[table_end : statement[-1].end]  # not into a comment that no line end closes
    return Definition(
        kind, name, text[table:table_end], text[:start], text[end:table], body, text[stop + 1 :], populate
    )
