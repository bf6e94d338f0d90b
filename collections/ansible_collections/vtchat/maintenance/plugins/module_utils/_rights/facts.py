# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The rights that a role has, those that steps need, and whether the present role may give or take them.

A right counts as had when it has its effect, be it through PUBLIC or through another role. ``direct`` is narrower: what
remains when everything that was given to the role beyond its needs is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._engine.history import COMMENT as HISTORY_COMMENT
from .._engine.history_tables import SCHEMA as HISTORY
from .._operations import Need
from .._postgres import catalog
from .._postgres.driver import sql
from .._postgres.names import display, qualified, quote
from .._postgres.session import Session
from . import scram

STATISTICS = "pg_read_all_stats"
MONITOR = "pg_monitor"
# What tells whether the password is right: it was compared, nothing but its absence counts, nobody may look, it is new.
NONE, VERIFIER, ON_CREATE, NOT_READABLE, CREATED = "none", "verifier", "on_create", "not_readable", "created"
EXISTS = "exists"  # what a role or schema must do first
STARS = "'********'"  # stands for a verifier in everything that is shown
ATTRIBUTES = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")

ROLE = """
SELECT r.oid::bigint AS oid, r.rolcanlogin AS login, r.rolinherit AS inherit, r.rolsuper AS superuser, r.rolcreatedb AS createdb,
       r.rolcreaterole AS createrole, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
       r.rolconnlimit AS connection_limit, me.rolsuper AS admin_super, me.rolcreaterole AS admin_creates,
       me.rolbypassrls AS admin_bypassrls,
       coalesce(pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'), false) AS admin_of,
       coalesce(pg_catalog.pg_has_role(r.oid, {act_as}), false) AS admin_acts_as,
       coalesce(pg_catalog.pg_has_role(r.oid, me.oid, 'MEMBER'), false) AS member_of_admin,
       pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS sees_verifiers
FROM pg_catalog.pg_roles AS me LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = {role}
WHERE me.rolname = current_user
"""

STORED = "SELECT rolpassword AS stored FROM pg_catalog.pg_authid WHERE oid = {oid}"

ITERATIONS = "SELECT coalesce(current_setting('scram_iterations', true), '4096')::int AS iterations"

# One row per relation: those named, and the parts of partitioned tables. The oid 0 stands for a role that does not
# exist yet, which has what PUBLIC has.
RELATIONS = """
WITH RECURSIVE {targets},
tree (position, oid) AS (
    SELECT position, oid FROM target WHERE oid IS NOT NULL
    UNION
    SELECT t.position, i.inhrelid FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind IN ('p', 'I')
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT w.position, w.oid IS NULL AS missing, c.oid IS NOT DISTINCT FROM w.oid AS root, c.oid::bigint AS oid,
       n.nspname::text AS schema_name, c.relname::text AS name, c.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, w.may_maintain, c.relrowsecurity AS row_security,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
       ARRAY(SELECT p FROM unnest({privileges}) AS p WHERE pg_catalog.has_table_privilege({oid}::oid, c.oid, p)) AS had,
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS a
             WHERE a.grantee IN (0, {oid})) AS direct,
       ARRAY(SELECT p FROM unnest({privileges}) AS p
             WHERE pg_catalog.has_table_privilege(c.oid, p || ' WITH GRANT OPTION')) AS grantable,
       pg_catalog.has_any_column_privilege({oid}::oid, c.oid, 'UPDATE') AS updates,
       EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) AS a
               WHERE a.grantee = {oid} AND a.privilege_type = 'UPDATE') AS updates_table,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a, LATERAL pg_catalog.aclexplode(a.attacl) AS e
             WHERE a.attrelid = c.oid AND e.grantee IN (0, {oid}) AND e.privilege_type = 'UPDATE') AS updates_columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM target AS w LEFT JOIN tree AS t ON t.position = w.position LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY w.position, root DESC, n.nspname, c.relname
"""

PLACES = """
SELECT 'SCHEMA' AS kind, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
       ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'CREATE']) AS p
             WHERE pg_catalog.has_schema_privilege({oid}::oid, n.oid, p)) AS had,
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
             WHERE a.grantee IN (0, {oid})) AS direct,
       ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'CREATE']) AS p
             WHERE pg_catalog.has_schema_privilege(n.oid, p || ' WITH GRANT OPTION')) AS grantable,
       ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY ({owners})
             AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')) AS creators
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ANY ({schemas})
UNION ALL
SELECT 'DATABASE', d.datname::text, pg_catalog.pg_get_userbyid(d.datdba)::text,
       ARRAY(SELECT p FROM unnest(ARRAY['CONNECT']) AS p WHERE pg_catalog.has_database_privilege({oid}::oid, d.oid, p)),
       ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
             WHERE a.grantee IN (0, {oid})),
       ARRAY(SELECT p FROM unnest(ARRAY['CONNECT']) AS p
             WHERE pg_catalog.has_database_privilege(d.oid, p || ' WITH GRANT OPTION')), '{{}}'
FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""

MEMBERSHIPS = """
SELECT g.rolname::text AS name, g.rolsuper AS superuser, {oid} <> 0 AND pg_catalog.pg_has_role({oid}::oid, g.oid, 'USAGE') AS had,
       EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m WHERE m.roleid = g.oid AND m.member = {oid}
               AND coalesce((to_jsonb(m) ->> 'inherit_option')::bool, {inherit})) AS direct,
       pg_catalog.pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION') AS admin_of,
       {oid} <> 0 AND NOT g.rolsuper AND pg_catalog.pg_has_role(g.oid, {oid}::oid, 'MEMBER') AS circular
FROM pg_catalog.pg_roles AS g WHERE g.rolname = ANY ({names})
"""

# Everything that was given to the role itself in this database, and the roles it is a member of. regular: whether
# a plain REVOKE by the owner takes it away, which is not so for what somebody with the grant option gave.
GIVEN = """
SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, n.nspname::text AS schema, c.relname::text AS name,
       '' AS part, a.privilege_type AS privilege, a.is_grantable AS option,
       pg_catalog.pg_get_userbyid(a.grantor)::text AS grantor,
       a.grantor = c.relowner AND pg_catalog.pg_has_role(c.relowner, 'USAGE') AS may
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
     LATERAL pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee = {oid} AND c.relowner <> {oid}
UNION ALL
SELECT 'COLUMN', n.nspname, c.relname, t.attname, a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = c.relowner AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_attribute AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
     LATERAL pg_catalog.aclexplode(t.attacl) AS a WHERE a.grantee = {oid} AND c.relowner <> {oid}
UNION ALL
SELECT 'SCHEMA', '', n.nspname, '', a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = n.nspowner AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
FROM pg_catalog.pg_namespace AS n, LATERAL pg_catalog.aclexplode(n.nspacl) AS a WHERE a.grantee = {oid} AND n.nspowner <> {oid}
UNION ALL
SELECT 'DATABASE', '', d.datname, '', a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(a.grantor),
       a.grantor = d.datdba AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
FROM pg_catalog.pg_database AS d, LATERAL pg_catalog.aclexplode(d.datacl) AS a
WHERE d.datname = pg_catalog.current_database() AND a.grantee = {oid} AND d.datdba <> {oid}
UNION ALL
SELECT 'ROUTINE', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), a.privilege_type, a.is_grantable,
       pg_catalog.pg_get_userbyid(a.grantor), a.grantor = p.proowner AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace,
     LATERAL pg_catalog.aclexplode(p.proacl) AS a WHERE a.grantee = {oid} AND p.proowner <> {oid}
UNION ALL
SELECT 'ROLE', '', g.rolname, coalesce(to_jsonb(m) ->> 'set_option', ''), 'MEMBER', m.admin_option,
       pg_catalog.pg_get_userbyid(m.grantor), CASE WHEN current_setting('server_version_num')::int >= 160000
           THEN pg_catalog.pg_has_role(m.grantor, 'USAGE') ELSE pg_catalog.pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION')
               OR (NOT g.rolsuper AND (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user)) END
FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid WHERE m.member = {oid}
ORDER BY 1, 2, 3, 4, 5, 7
"""

# What it owns outside the history, and what it was given of kinds that nothing here needs.
OTHER = """
SELECT CASE d.deptype WHEN 'o' THEN 'owns ' WHEN 'r' THEN 'is named by ' ELSE 'has privileges on ' END
       || pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS what
FROM pg_catalog.pg_shdepend AS d
LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = {oid} AND d.deptype IN ('o', 'a', 'r')
AND (d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
     OR d.dbid = 0 AND d.deptype = 'o' AND d.classid = 'pg_catalog.pg_database'::regclass
     AND d.objid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
AND NOT (d.deptype = 'a' AND d.classid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_namespace'::regclass,
                                           'pg_catalog.pg_proc'::regclass))
AND c.relnamespace IS DISTINCT FROM (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {history})
AND NOT (d.classid = 'pg_catalog.pg_namespace'::regclass
         AND d.objid = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {history}))
ORDER BY 1
"""

Key = tuple[str, str, str, str, str]  # kind, schema, name, column or arguments, privilege


@dataclass(frozen=True)
class Right:
    """One right that the role needs.

    statement  what gives it; stars stand for a password
    may        whether the present role may run that; otherwise, giver says who may, or fault why nobody should
    """

    key: Key
    target: str
    statement: str
    had: bool
    direct: bool
    may: bool
    giver: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        kind, _schema, _name, part, privilege = self.key
        if privilege == "MEMBER":
            return "membership"
        return f"{privilege} ({quote(part)})" if kind == "COLUMN" else privilege


@dataclass(frozen=True)
class Extra:
    """A right beyond the needs. revoke: what takes it away; grantor: who gave it."""

    key: Key
    target: str
    grant: str
    revoke: str
    may: bool
    grantor: str = ""


@dataclass(frozen=True)
class Facts:
    """What decide() needs. basis: what tells whether the password is right; other: what cannot be taken away here."""

    admin: str
    rights: list[Right] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    basis: str = NONE
    owners: list[str] = field(default_factory=list)


def privilege(key: Key) -> sql.Composed:
    """``SELECT ON TABLE …``: a right as it stands in GRANT and REVOKE."""
    kind, schema, name, part, what = key
    on = {
        "TABLE": "{what} ON TABLE {object}",
        "SEQUENCE": "{what} ON SEQUENCE {object}",
        "COLUMN": "{what} ({column}) ON TABLE {object}",
        "SCHEMA": "{what} ON SCHEMA {object}",
        "DATABASE": "{what} ON DATABASE {object}",
        "ROUTINE": "{what} ON ROUTINE {object}({arguments})",
        "ROLE": "{object}",
    }[kind]
    # Privileges and arguments are words of the server, not of a user.
    return sql.SQL(on).format(
        what=sql.SQL(what),
        object=qualified(schema, name) if schema else sql.Identifier(name),
        column=sql.Identifier(part),
        arguments=sql.SQL(part),
    )


def read(session: Session, options: dict[str, Any], wants: Sequence[Need]) -> Facts:
    """At most seven turns."""
    return _Reader(session, options).read(wants)


class _Reader:
    """Collects rights, faults and extras of one role."""

    def __init__(self, session: Session, options: dict[str, Any]) -> None:
        self.session, self.options = session, options
        self.name: str = options["name"]
        self.new = session.server.version_num >= 160000
        act_as = sql.Literal("SET" if self.new else "MEMBER")
        self.row = session.row(sql.SQL(ROLE).format(role=sql.Literal(self.name), act_as=act_as))
        self.oid = sql.Literal(self.row["oid"] or 0)
        self.exists = self.row["oid"] is not None
        self.rights: dict[Key, Right] = {}
        self.faults: list[tuple[str, str]] = []
        self.basis = NONE
        self.memberships: list[str] = []

    def read(self, wants: Sequence[Need]) -> Facts:
        self._role()
        if self.options["password"] is not None:
            self._password()
        relations = self._relations(wants)
        self._places(relations, wants)
        for want, row in relations:
            self._needs(want, row)
        self._memberships()
        extras, other = self._extras() if self.exists else ([], [])
        return Facts(self.session.server.user, list(self.rights.values()), extras, other, self.faults, self.basis,
                     [name for name in self.memberships if name not in (STATISTICS, MONITOR)])  # fmt: skip

    def _add(  # noqa: PLR0917 - the parts of a Right in their order
        self, key: Key, statement: sql.Composed, had: bool, direct: bool, may: bool, giver: str, fault: str = ""
    ) -> None:
        kind, schema, name = key[:3]
        target = display(schema, name) if schema else f"{kind.lower()} {quote(name)}"
        text = self.session.text(statement)
        self.rights.setdefault(key, Right(key, target, text, had, direct, may or self.row["admin_super"], giver, fault))

    def _alter(self, words: sql.Composable) -> sql.Composed:
        return sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(self.name), words)

    def _grant(self, key: Key, had: bool, direct: bool, may: bool, giver: str) -> None:
        statement = sql.SQL("GRANT {} TO {}").format(privilege(key), sql.Identifier(self.name))
        self._add(key, statement, had, direct, may, giver)

    @property
    def new_maintain(self) -> bool:
        """Whether maintenance can be granted without ownership."""
        return self.session.server.version_num >= 170000

    @property
    def _may_alter(self) -> bool:
        row = self.row
        over = row["admin_of"] if self.new else not row["superuser"]
        return bool(row["admin_creates"] and (over or not self.exists))

    def _role(self) -> None:
        """That it exists, may log in, and uses what it is given."""
        row, me = self.row, ("ROLE", "", self.name, "")
        giver = f"a superuser, or a role with CREATEROLE{' and ADMIN OPTION on it' if self.new and self.exists else ''}"
        create = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(self.name))
        self._add(
            (*me, EXISTS),
            create,
            self.exists,
            self.exists,
            row["admin_creates"],
            "a superuser, or a role with CREATEROLE",
        )
        words = {"LOGIN": row["login"]} if self.new else {"LOGIN": row["login"], "INHERIT": row["inherit"]}
        for word in [word for word, had in words.items() if had is False]:
            self._add((*me, word), self._alter(sql.SQL(word)), False, False, self._may_alter, giver)
        limit = self.options["connection_limit"]
        if limit is not None:
            had = (row["connection_limit"] if self.exists else -1) == limit
            words_limit = sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(limit))
            self._add((*me, f"CONNECTION LIMIT {limit}"), self._alter(words_limit), had, had, self._may_alter, giver)

    def _password(self) -> None:
        """Compared with the stored verifier, where that may be read."""
        row, exists = self.row, self.exists
        had = exists and self.options["update_password"] == ON_CREATE
        self.basis = CREATED if not exists else ON_CREATE
        if exists and not had and row["sees_verifiers"]:
            stored = self.session.row(sql.SQL(STORED).format(oid=self.oid))["stored"]
            had, self.basis = scram.matches(self.options["password"], stored), VERIFIER
        elif exists and not had:
            self.basis = NOT_READABLE
        fault = ""
        if self.session.server.provider == "neon":
            fault = ("Neon takes only passwords in plain text, which never stand in SQL here: leave password out, and set it "
                     "once with ALTER ROLE over an encrypted connection")  # fmt: skip
        self._add(("ROLE", "", self.name, "", "PASSWORD"), self._alter(sql.SQL("PASSWORD " + STARS)), had, had,
                  self._may_alter, "a superuser, or a role with CREATEROLE and, from 16, ADMIN OPTION on it", fault)  # fmt: skip

    def _relations(self, wants: Sequence[Need]) -> list[tuple[Need, dict[str, Any]]]:
        """Each want with the relations it is about, after those of the wrong kind and those that do not exist are out."""
        if not wants:
            return []
        privileges = ["SELECT", "INSERT", "UPDATE", "DELETE"]
        if self.new_maintain:
            privileges.append("MAINTAIN")
        rows = self.session.rows(
            sql.SQL(RELATIONS).format(
                targets=catalog.targets(self.session.server, [want.name for want in wants]),
                privileges=sql.Literal(privileges),
                oid=self.oid,
            )
        )
        found = []
        for row in rows:
            want = wants[row["position"]]
            fault = self._fault(want, row)
            if fault:
                self.faults.append((want.name, fault))
            elif not row["missing"] and (row["root"] or want.need in ("maintain", "own")):
                found.append((want, row))
        return found

    def _fault(self, want: Need, row: dict[str, Any]) -> str:
        if row["missing"]:
            optional = want.need == "history" or "i" in want.kinds
            return "" if optional else str(catalog.not_found(self.session, want.name, want.kinds))
        if row["root"] and row["kind"] not in want.kinds:
            return str(catalog.wrong_kind(catalog.relation(row), catalog.KINDS[want.kinds[0]]))
        if want.need == "history" and row["name"] == "run" and not (row["comment"] or "").startswith(HISTORY_COMMENT):
            return f"schema {HISTORY} has a table run that is not ours: set history: false"
        if want.column and want.column not in row["columns"]:
            return f"there is no column {quote(want.column)}"
        return ""

    def _places(self, relations: list[tuple[Need, dict[str, Any]]], wants: Sequence[Need]) -> None:
        """The database, the schemas, and a place for the history."""
        schemas = {row["schema_name"] for _want, row in relations}
        history = any(want.need == "history" for want in wants)
        query = sql.SQL(PLACES).format(
            oid=self.oid,
            schemas=sql.Literal(sorted(schemas | ({HISTORY} if history else set()))),
            owners=sql.Literal(sorted({row["owner"] for _want, row in relations})),
        )
        places = {(row["kind"], row["name"]): row for row in self.session.rows(query)}
        tables = [row for want, row in relations if want.need == "history"]
        # Its next version will have to change them.
        creates = {HISTORY} if history and (len(tables) < 3 or any(t["owner"] == self.name for t in tables)) else set()
        self._place(places["DATABASE", self.session.server.database], "CONNECT")
        if history and ("SCHEMA", HISTORY) not in places:
            owners = {row["owner"] for want, row in relations if want.need in ("maintain", "own")}
            needs_owner = not self.new_maintain or any(want.need == "own" for want, _row in relations)
            self._history_schema(needs_owner and self.session.server.user in owners)
        for (kind, name), row in sorted(places.items()):
            if kind == "SCHEMA":
                self._place(row, "USAGE")
                if name in creates:
                    self._place(row, "CREATE")
        for want, row in relations:
            if want.creates and row["root"]:
                place = places["SCHEMA", row["schema_name"]]
                if row["owner"] not in place["creators"]:
                    self._place(place, "CREATE")

    def _place(self, row: dict[str, Any], what: str) -> None:
        key = (row["kind"], "", row["name"], "", what)
        self._grant(key, what in row["had"], what in row["direct"], what in row["grantable"], row["owner"])

    def _history_schema(self, member: bool) -> None:
        """Made for the role and not by it: it need not be able to create schemas. member: it will be one of the present role.

        A role uses no history in a schema of somebody whose code it may not run, so the schema is its own, unless the present
        role may own it. To give it away one must be able to act as the role, which who creates roles may grant to themselves.
        """
        may, giver = self.session.server.may_create_schema, "the owner of the database"
        key = ("SCHEMA", "", HISTORY, "", EXISTS)
        if self.row["admin_super"] or member or self.row["member_of_admin"]:
            self._add(key, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(HISTORY)), False, False, may, giver)
            for what in ("USAGE", "CREATE"):
                self._grant(("SCHEMA", "", HISTORY, "", what), False, False, may, giver)
            return
        role, options = sql.Identifier(self.name), sql.SQL(" WITH INHERIT FALSE, SET TRUE" if self.new else "")
        create = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(HISTORY), role)
        if not self.row["admin_acts_as"]:
            act = "GRANT {role} TO CURRENT_USER{options}; {create}; REVOKE {role} FROM CURRENT_USER"
            create = sql.SQL(act).format(role=role, options=options, create=create)
            may = may and self._may_alter
        self._add(key, create, False, False, may, giver)

    def _needs(self, want: Need, row: dict[str, Any]) -> None:
        """The rights on one relation."""
        schema, name, owner = row["schema_name"], row["name"], row["owner"]

        def table(what: str) -> None:
            self._grant(
                ("TABLE", schema, name, "", what),
                what in row["had"],
                what in row["direct"],
                what in row["grantable"],
                owner,
            )

        if want.need == "rows":
            table("SELECT")
            table("DELETE")
            # Rows are locked before they are deleted, which takes UPDATE on any column; on all of them it would also
            # allow to give a row to somebody else.
            # A REVOKE on the table takes it from the columns as well.
            direct = owner == self.name or (want.column in row["updates_columns"] and not row["updates_table"])
            key = ("COLUMN", schema, name, want.column, "UPDATE")
            self._grant(key, row["updates"], direct, "UPDATE" in row["grantable"], owner)
            if row["row_security"] and owner != self.name:
                self._bypass_row_security(name)
        elif want.need == "history":
            for what in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                table(what)
        elif want.need == "maintain" and self.new_maintain:
            table("MAINTAIN")
        elif owner != self.name and owner not in self.memberships:
            self.memberships.append(owner)

    def _bypass_row_security(self, table: str) -> None:
        had = bool(self.row["bypassrls"])
        may = self.new and self._may_alter and self.row["admin_bypassrls"]
        key = ("ROLE", "", self.name, "", "BYPASSRLS")
        giver = f"a superuser, because {quote(table)} has row-level security"
        self._add(key, self._alter(sql.SQL("BYPASSRLS")), had or bool(self.row["superuser"]), had, may, giver)

    def _memberships(self) -> None:
        """Membership in owners, and in the role that sees the activity of others."""
        names = [*self.memberships, STATISTICS, MONITOR]
        inherit = sql.Literal(self.row["inherit"] is not False)
        query = sql.SQL(MEMBERSHIPS).format(oid=self.oid, names=sql.Literal(names), inherit=inherit)
        found = {row["name"]: row for row in self.session.rows(query)}
        if self.options["read_all_stats"]:
            plain, monitor = found[STATISTICS], found[MONITOR]
            # Providers give their customers the right to give away pg_monitor, which includes it, but not it alone.
            choice = MONITOR if self._may_give(monitor) and not self._may_give(plain) else STATISTICS
            if monitor["direct"] and not plain["direct"] and not self._may_give(plain):
                choice = MONITOR
            self.memberships.append(choice)
        for name in self.memberships:
            self._member(found[name])

    def _may_give(self, row: dict[str, Any]) -> bool:
        plain = not self.new and self.row["admin_creates"] and not row["superuser"]
        return bool(row["admin_of"] or plain or self.row["admin_super"])

    def _member(self, row: dict[str, Any]) -> None:
        options = sql.SQL(" WITH INHERIT TRUE, SET FALSE") if self.new else sql.SQL("")
        key = ("ROLE", "", row["name"], "", "MEMBER")
        statement = sql.SQL("GRANT {} TO {}{}").format(privilege(key), sql.Identifier(self.name), options)
        fault = ""
        owner = quote(row["name"])
        if row["superuser"]:
            fault = (f"membership in {owner} would make it a superuser: give the objects an owner of their own, or, from "
                     "PostgreSQL 17, do without ownership")  # fmt: skip
        elif row["circular"]:
            fault = f"{owner} is itself a member of {quote(self.name)}: let another role create {quote(self.name)}"
        giver = f"a superuser, or a role with {'ADMIN OPTION on ' + owner if self.new else 'CREATEROLE'}"
        self._add(key, statement, row["had"], row["direct"], self._may_give(row), giver, fault)

    def _extras(self) -> tuple[list[Extra], list[str]]:
        """What the role was given beyond its needs."""
        extras = []
        for word in ATTRIBUTES:
            key = ("ROLE", "", self.name, "", word)
            if self.row[word.lower()] and key not in self.rights:
                no = self.session.text(self._alter(sql.SQL("NO" + word)))
                may = self.row["admin_super"] or (self._may_alter and word in ("CREATEDB", "CREATEROLE"))
                extras.append(
                    Extra(key, f"role {quote(self.name)}", self.session.text(self._alter(sql.SQL(word))), no, may)
                )
        for row in self.session.rows(sql.SQL(GIVEN).format(oid=self.oid)):
            extras += self._extra(row)
        other = self.session.rows(sql.SQL(OTHER).format(oid=self.oid, history=sql.Literal(HISTORY)))
        return extras, [row["what"] for row in other]

    def _extra(self, row: dict[str, Any]) -> list[Extra]:
        """Nothing for what is needed, except for the right to pass it on or, from 16, to act as the other role."""
        member = row["kind"] == "ROLE"
        key = (row["kind"], row["schema"], row["name"], "" if member else row["part"], row["privilege"])
        options = ["ADMIN" if member else "GRANT"] if row["option"] else []
        options += ["SET"] if member and row["part"] == "true" else []
        if key in self.rights:
            return [self._revocation(key, row, option) for option in options]
        return [self._revocation(key, row, "")]

    def _revocation(self, key: Key, row: dict[str, Any], option: str) -> Extra:
        role, what = sql.Identifier(self.name), privilege(key)
        member = key[0] == "ROLE"
        by = sql.SQL(" GRANTED BY {}").format(sql.Identifier(row["grantor"])) if member and self.new else sql.SQL("")
        first = sql.SQL("{} OPTION FOR ").format(sql.SQL(option)) if option else sql.SQL("")
        grant = sql.SQL("GRANT {} TO {}{}").format(
            what, role, sql.SQL(f" WITH {option} OPTION") if option else sql.SQL("")
        )
        revoke = sql.SQL("REVOKE {}{} FROM {}{}").format(first, what, role, by)
        target = display(key[1], key[2]) if key[1] else f"{key[0].lower()} {quote(key[2])}"
        return Extra(key, target, self.session.text(grant), self.session.text(revoke), row["may"], row["grantor"])
