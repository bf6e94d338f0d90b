# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a new partition is made like: the newest one, with its own partitions, storage, owner and grants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...._postgres.capabilities import MEMBERSHIP_OPTIONS
from ...._postgres.driver import sql
from ...._postgres.names import MAX_NAME_BYTES, display, qualified, quote
from ...._postgres.session import Session
from . import naming
from .coming import Coming, names

# The newest partition and all below it, parents first.
MODEL = """
WITH RECURSIVE p (relid, parent, level) AS (
    SELECT {newest}::oid, 0::oid, 0
    UNION ALL SELECT i.inhrelid, i.inhparent, p.level + 1 FROM p JOIN pg_inherits AS i ON i.inhparent = p.relid
)
SELECT c.oid::bigint AS oid, p.parent::bigint AS parent, p.level, n.nspname::text AS schema,
       c.relname::text AS name, c.relkind::text AS kind, c.relpersistence = 'u' AS unlogged,
       pg_get_expr(c.relpartbound, 0) AS bound, pg_get_partkeydef(c.oid) AS divided_by,
       (SELECT amname::text FROM pg_am WHERE oid = c.relam AND amname <> 'heap') AS access_method,
       (SELECT spcname::text FROM pg_tablespace WHERE oid = c.reltablespace) AS tablespace,
       coalesce(c.reloptions, '{{}}') || coalesce((SELECT array_agg('toast.' || option) FROM pg_class AS x, unnest(x.reloptions)
            AS option WHERE x.oid = c.reltoastrelid), '{{}}') AS storage,
       CASE WHEN pg_get_userbyid(c.relowner) <> current_user THEN pg_get_userbyid(c.relowner)::text END AS owner,
       pg_has_role(c.relowner, {act_as}) AS becomes, c.relreplident::text AS identity,
       (SELECT x.root FROM pg_index AS i CROSS JOIN LATERAL (
            SELECT a.relid::bigint AS root FROM pg_partition_ancestors(i.indexrelid) WITH ORDINALITY AS a (relid, n)
            ORDER BY n DESC LIMIT 1) AS x JOIN pg_index AS top ON top.indexrelid = x.root
        WHERE i.indrelid = c.oid AND i.indisreplident AND top.indrelid NOT IN (SELECT relid FROM p)) AS identity_index,
       c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced,
       (SELECT jsonb_agg(jsonb_build_object('name', y.polname, 'permissive', y.polpermissive, 'command', y.polcmd,
                    'roles', (SELECT array_agg(CASE WHEN r <> 0 THEN pg_get_userbyid(r) END) FROM unnest(y.polroles) AS r),
                    'using', pg_get_expr(y.polqual, y.polrelid), 'check', pg_get_expr(y.polwithcheck, y.polrelid))
                ORDER BY y.polname)
        FROM pg_policy AS y WHERE y.polrelid = c.oid) AS policies,
       (SELECT jsonb_agg(jsonb_build_object('privilege', a.privilege_type, 'grantable', a.is_grantable, 'column', a.column,
                    'role', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END) ORDER BY a.column NULLS FIRST,
                    a.privilege_type, a.grantee)
        FROM (SELECT x.*, NULL::text AS column FROM aclexplode(c.relacl) AS x
              UNION ALL SELECT x.*, t.attname::text FROM pg_attribute AS t, aclexplode(t.attacl) AS x
              WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped) AS a
        WHERE a.grantee <> c.relowner) AS grants
FROM p JOIN pg_class AS c ON c.oid = p.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY p.level, p.relid
"""
# What is not said is to mean the same as for the model, whatever the role is set to.
PLAIN = """
SELECT pg_catalog.set_config('default_tablespace', '', true), pg_catalog.set_config('default_table_access_method', 'heap', true);
"""
# Beside a DEFAULT partition ATTACH locks that first, and then the tables that refer to it. Transactions that write to those and
# read the table would be waited for while they wait for DEFAULT, so the others are locked before it.
FIRST = "LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE;\n"
# What ATTACH wants to find there; indexes and foreign keys it makes itself, and an identity is the parent's.
LIKE = (
    "{persistence} {name} (LIKE {parent} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING STORAGE "
    "INCLUDING COMPRESSION)"
)
# REPLICA IDENTITY USING INDEX: the server chooses the name of the index that follows from one of the table's, {root}.
IDENTITY = """SELECT pg_catalog.set_config('vtchat_maintenance.partition', {table}, true);
DO $$DECLARE
    made pg_catalog.regclass := pg_catalog.current_setting('vtchat_maintenance.partition')::pg_catalog.regclass;
    chosen pg_catalog.name;
BEGIN
    SELECT c.relname INTO STRICT chosen FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    WHERE i.indrelid OPERATOR(pg_catalog.=) made AND EXISTS (
        SELECT FROM pg_catalog.pg_partition_ancestors(i.indexrelid) AS a (relid) WHERE a.relid OPERATOR(pg_catalog.=) {root});
    EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', made, chosen);
END$$"""
_PARAMETER = re.compile(r"((?:toast\.)?[a-z_][a-z0-9_]*)=(.*)", re.DOTALL)
_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
_EXPRESSION = re.compile(r"\(.*\(")
_PRIVILEGE = re.compile(r"[A-Z ]+")


@dataclass(frozen=True)
class Model:
    """rows: as MODEL tells them, the partition itself first; empty where there is none yet. fault: why none can be made.

    taken: names in the schemas of its own partitions. owner: whose it is to be, where that is not the present role.
    """

    rows: tuple[dict[str, Any], ...] = ()
    taken: frozenset[str] = frozenset()
    owner: str | None = None
    fault: str = ""


def read(session: Session, newest: int | None, key: str, owner: str) -> Model:
    """What is to be copied, from the owner of the table where there is nothing else.

    key: the column of time, which nothing below may be divided by once more.
    """
    if newest is None:
        return Model(owner=owner if owner != session.server.user else None)
    act_as = sql.Literal("SET" if session.server.has(MEMBERSHIP_OPTIONS) else "MEMBER")
    rows = session.rows(sql.SQL(MODEL).format(newest=sql.Literal(newest), act_as=act_as))
    foreign = [row["name"] for row in rows if row["kind"] == "f"]
    if foreign:
        return Model(
            fault=f"the newest partition has a foreign table in it ({foreign[0]}), which cannot be made like it: create the next "
            "one by hand"
        )
    column = re.compile(rf"RANGE \(.*(?<!\w){re.escape(quote(key))}(?!\w)")
    if any(column.match(row["divided_by"] or "") for row in rows):
        return Model(
            fault=f"the newest partition is divided by {key} once more, so that the bounds below it are its own: create the next "
            "one by hand"
        )
    schemas = {row["schema"] for row in rows[1:]}
    return Model(tuple(rows), frozenset(name for schema in schemas for name in names(session, schema)))


def statements(model: Model, parent: sql.Composable, coming: Coming) -> list[sql.Composed]:
    """What creates it, all of one transaction.

    It is attached before it is divided: what is created below it then inherits all that ATTACH has brought, an identity
    included, which ATTACH itself gives to the uppermost one only.
    """
    top = qualified(coming.schema, coming.name)
    first = model.rows[0] if model.rows else {}
    persistence = sql.SQL("CREATE UNLOGGED TABLE" if first.get("unlogged") else "CREATE TABLE")
    attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        parent, top, sql.Literal(coming.lower), sql.Literal(coming.upper)
    )
    return [
        sql.SQL(LIKE).format(persistence=persistence, name=top, parent=parent) + _storage(first),
        *_belongings(first, top),
        attach,
        *_identity(first, (coming.schema, coming.name)),
        *_divided(model, coming),
    ]


def _divided(model: Model, coming: Coming) -> list[sql.Composed]:
    """Its own partitions; and whose all of it is, at last."""
    own = sql.SQL("ALTER TABLE {} OWNER TO {}")
    if not model.rows:
        top = qualified(coming.schema, coming.name)
        return [own.format(top, sql.Identifier(model.owner))] if model.owner else []
    first, made = model.rows[0], []
    made_names, taken = {first["oid"]: (coming.schema, coming.name)}, {*model.taken, coming.name}
    for row in model.rows[1:]:
        made_names[row["oid"]] = row["schema"], _below(row, first["name"], coming.name, taken)
        below, above = qualified(*made_names[row["oid"]]), qualified(*made_names[row["parent"]])
        create = sql.SQL("CREATE UNLOGGED TABLE" if row["unlogged"] else "CREATE TABLE")
        head = sql.SQL("{} {} PARTITION OF {} {}").format(create, below, above, sql.SQL(row["bound"]))
        made += [head + _storage(row), *_belongings(row, below), *_identity(row, made_names[row["oid"]])]
    return made + [
        own.format(qualified(*made_names[row["oid"]]), sql.Identifier(row["owner"]))
        for row in model.rows
        if row["owner"]
    ]


def _below(row: dict[str, Any], model: str, name: str, taken: set[str]) -> str:
    """The name of a partition of a partition: as that of the model, with the new name in the place of the old one."""
    ending = row["name"][len(model) :] if row["name"].startswith(model) else f"_{row['name']}"
    cut = name.encode()[: max(1, MAX_NAME_BYTES - len(ending.encode()))].decode(errors="ignore")
    wanted = naming.free(cut + ending, taken)
    taken.add(wanted)
    return wanted


def _storage(row: dict[str, Any]) -> sql.Composed:
    """What stands behind the columns: how it is divided and where it is kept."""
    parts: list[sql.Composable] = []
    if row.get("divided_by"):
        parts.append(sql.SQL(" PARTITION BY {}").format(sql.SQL(row["divided_by"])))
    elif row.get("access_method"):
        parts.append(sql.SQL(" USING {}").format(sql.Identifier(row["access_method"])))
    pairs = [found.groups() for option in row.get("storage") or () if (found := _PARAMETER.fullmatch(option))]
    if pairs:
        each = [sql.SQL("{} = {}").format(sql.SQL(name), sql.Literal(value)) for name, value in pairs]
        parts.append(sql.SQL(" WITH ({})").format(sql.SQL(", ").join(each)))
    if row.get("tablespace"):
        parts.append(sql.SQL(" TABLESPACE {}").format(sql.Identifier(row["tablespace"])))
    return sql.Composed(parts)


def _belongings(row: dict[str, Any], name: sql.Composable) -> list[sql.Composed]:
    """Grants and row-level security."""
    made = [
        sql.SQL("ALTER TABLE {} " + words).format(name)
        for what, words in (
            ("row_security", "ENABLE ROW LEVEL SECURITY"),
            ("forced", "FORCE ROW LEVEL SECURITY"),
        )
        if row.get(what)
    ]
    made += [_policy(policy, name) for policy in row.get("policies") or ()]
    for grant in row.get("grants") or ():
        column = sql.SQL(" ({})").format(sql.Identifier(grant["column"])) if grant["column"] else sql.SQL("")
        if not _PRIVILEGE.fullmatch(grant["privilege"]):
            continue
        made.append(
            sql.SQL("GRANT {}{} ON TABLE {} TO {}{}").format(
                sql.SQL(grant["privilege"]),
                column,
                name,
                sql.Identifier(grant["role"]) if grant["role"] else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grant["grantable"] else ""),
            )
        )
    return made


def _identity(row: dict[str, Any], name: tuple[str, str]) -> list[sql.Composed]:
    """What logical replication sends of old rows: without it the server may refuse to change any. Indexes must be there."""
    if row.get("identity") == "i" and row["identity_index"]:
        return [sql.SQL(IDENTITY).format(table=sql.Literal(display(*name)), root=sql.Literal(row["identity_index"]))]
    # An index that only the newest one has is not made.
    words = {"f": "FULL", "n": "NOTHING", "i": "FULL"}.get(row.get("identity", "d"))
    return [sql.SQL("ALTER TABLE {} REPLICA IDENTITY " + words).format(qualified(*name))] if words else []


def _policy(policy: dict[str, Any], name: sql.Composable) -> sql.Composed:
    """CREATE POLICY: whoever reads the partition itself sees no more of it than of the others."""
    roles = [sql.Identifier(role) if role else sql.SQL("PUBLIC") for role in policy["roles"]]
    made = sql.SQL("CREATE POLICY {} ON {} AS {} FOR {} TO {}").format(
        sql.Identifier(policy["name"]),
        name,
        sql.SQL("PERMISSIVE" if policy["permissive"] else "RESTRICTIVE"),
        sql.SQL(_COMMANDS[policy["command"]]),
        sql.SQL(", ").join(roles),
    )
    for words, expression in ((" USING ({})", policy["using"]), (" WITH CHECK ({})", policy["check"])):
        made += sql.SQL(words).format(sql.SQL(expression)) if expression else sql.SQL("")
    return made


@dataclass(frozen=True)
class Script:
    """What creates a partition: one message, which is one transaction; and its statements for people.

    users_path  whether it may run under the path of the user, as their event triggers expect: not where there are expressions
                in it that were printed under ours
    """

    query: sql.Composed
    texts: tuple[str, ...]
    users_path: bool = True


def script(
    session: Session, model: Model, parent: sql.Composable, coming: Coming, referring: Sequence[str] = ()
) -> Script:
    """The statements for one partition. referring: what is locked first."""
    parts = statements(model, parent, coming)
    first = sql.Composed([sql.SQL(FIRST).format(sql.SQL(table)) for table in referring])
    texts = tuple(session.text(part).rstrip(";\n") for part in (*first.seq, *parts))
    return Script(sql.SQL(PLAIN) + first + sql.SQL(";\n").join(parts), texts, not any(map(_printed, model.rows)))


def _printed(row: dict[str, Any]) -> bool:
    """Whether there are operators or functions in what is copied of it as text."""
    return bool(row["policies"]) or bool(_EXPRESSION.search(row["divided_by"] or ""))
