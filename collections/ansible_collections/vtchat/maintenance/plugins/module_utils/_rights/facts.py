# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The rights that steps need, whether a role holds them, and whether the present role may give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._engine.history import COMMENT as HISTORY_COMMENT
from .._engine.history_tables import SCHEMA as HISTORY
from .._engine.history_tables import tables
from .._operations import Need
from .._postgres import catalog
from .._postgres.capabilities import MAINTAIN, MEMBERSHIP_OPTIONS
from .._postgres.driver import sql
from .._postgres.names import display, quote
from .._postgres.selection import Selection, by_pattern
from .._postgres.session import Session
from . import scram
from .extras import read_extras
from .model import (
    CREATED,
    EXISTS,
    NONE,
    NOT_READABLE,
    ON_CREATE,
    STARS,
    VERIFIER,
    Facts,
    Key,
    Options,
    Right,
    SetPassword,
    Statement,
)
from .queries import CHOSEN, FUNCTIONS, HOLDERS, MEMBERSHIPS, PLACES, RELATIONS, ROLE, STORED

STATISTICS = "pg_read_all_stats"
MONITOR = "pg_monitor"
MAINTAINS_ALL = "pg_maintain"
MEASURING = "pg_stat_scan_tables"  # pgstattuple may be called by it; pg_monitor includes it
PREDEFINED = (STATISTICS, MONITOR, MAINTAINS_ALL, MEASURING)
CREATOR = "a superuser, or a role with CREATEROLE"


def read(session: Session, options: Options, needs: Sequence[Need]) -> Facts:
    """At most seven round trips, and one for each step that has patterns."""
    return _Reader(session, options).read(needs)


class _Reader:
    """Collects rights and faults of one role."""

    def __init__(self, session: Session, options: Options) -> None:
        self.session, self.options = session, options
        self.name = options.name
        self.has_options = session.server.has(MEMBERSHIP_OPTIONS)
        # Maintenance can be granted without ownership.
        self.has_maintain = session.server.has(MAINTAIN)
        self.act_as = sql.Literal("SET" if self.has_options else "MEMBER")
        self.row = session.row(sql.SQL(ROLE).format(role=sql.Literal(self.name), act_as=self.act_as))
        self.oid = sql.Literal(self.row["oid"] or 0)
        self.exists = self.row["oid"] is not None
        self.rights: dict[Key, Right] = {}
        self.faults: list[tuple[str, str]] = []
        self.basis = NONE
        self.memberships: list[str] = []
        self.becomes: set[str] = set()  # those of them that the role must be able to become
        self.measures = False
        self.schemas: set[str] = set()  # of what is not named one by one
        self.called: dict[str, set[str]] = {}  # extension -> names of its functions

    def read(self, needs: Sequence[Need]) -> Facts:
        """All of it."""
        needs = self._named(needs)
        self._role()
        if self.options.password is not None:
            self._password(self.options.password)
        self._functions()
        relations = self._relations(needs)
        self._places(relations, needs)
        for need, row in relations:
            self._needs(need, row)
        self._memberships()
        needed = {key: key.is_membership and key.name in self.becomes for key in self.rights}
        extras, other = read_extras(self.session, self.name, self.row, needed, self._may_alter)
        owners = [name for name in self.memberships if name not in PREDEFINED]
        admin, rights = self.session.server.user, list(self.rights.values())
        return Facts(admin, rights, extras, other, self.faults, self.basis, owners)

    def _add(  # noqa: PLR0917 - the parts of a Right in their order
        self, key: Key, statement: Statement, held: bool, direct: bool, may: bool, giver: str, fault: str = ""
    ) -> None:
        self.rights.setdefault(key, Right(key, statement, held, direct, may or self.row["admin_super"], giver, fault))

    def _statement(self, composed: sql.Composable) -> Statement:
        return Statement(self.session.text(composed))

    def _me(self, privilege: str) -> Key:
        return Key("ROLE", "", self.name, "", privilege)

    def _alter(self, words: sql.Composable) -> sql.Composed:
        return sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(self.name), words)

    def _grant(self, key: Key, held: bool, direct: bool, may: bool, giver: str) -> None:
        grant = sql.SQL("GRANT {} TO {}").format(key.grantable(), sql.Identifier(self.name))
        self._add(key, self._statement(grant), held, direct, may, giver)

    @property
    def _may_alter(self) -> bool:
        row = self.row
        over = row["admin_of"] if self.has_options else not row["superuser"]
        return bool(row["admin_creates"] and (over or not self.exists))

    def _role(self) -> None:
        """That it exists, may log in, and uses what it is given."""
        row = self.row
        giver = CREATOR + (" and ADMIN OPTION on it" if self.has_options and self.exists else "")
        create = self._statement(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(self.name)))
        self._add(self._me(EXISTS), create, self.exists, self.exists, row["admin_creates"], CREATOR)
        words = {"LOGIN": row["login"]} if self.has_options else {"LOGIN": row["login"], "INHERIT": row["inherit"]}
        for word in [word for word, held in words.items() if held is False]:
            statement = self._statement(self._alter(sql.SQL(word)))
            self._add(self._me(word), statement, False, False, self._may_alter, giver)
        limit = self.options.connection_limit
        if limit is not None:
            held = (row["connection_limit"] if self.exists else -1) == limit
            statement = self._statement(self._alter(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(limit))))
            self._add(self._me(f"CONNECTION LIMIT {limit}"), statement, held, held, self._may_alter, giver)

    def _password(self, password: str) -> None:
        """Compared with the stored verifier, where that may be read."""
        held = self.exists and self.options.on_create
        self.basis = ON_CREATE if self.exists else CREATED
        if self.exists and not held and self.row["sees_verifiers"]:
            stored = self.session.row(sql.SQL(STORED).format(oid=self.oid))["stored"]
            held, self.basis = scram.matches(password, stored), VERIFIER
        elif self.exists and not held:
            self.basis = NOT_READABLE
        fault = ""
        if self.session.server.provider == "neon":
            fault = ("Neon takes only passwords in plain text, which never stand in SQL here: leave password out, and set it "
                     "once with ALTER ROLE over an encrypted connection")  # fmt: skip
        shown = self.session.text(self._alter(sql.SQL("PASSWORD " + STARS)))
        statement = SetPassword(shown, self.name, password)
        giver = f"{CREATOR} and, from 16, ADMIN OPTION on it"
        self._add(self._me("PASSWORD"), statement, held, held, self._may_alter, giver, fault)

    def _named(self, needs: Sequence[Need]) -> list[Need]:
        """Needs of what patterns choose become needs of what there is now; or of everything, where that can be given."""
        found = self._holders([need.name for need in needs if need.need == "holders"])
        for need in needs:
            if need.need == "measure":
                self.measures = True
            elif need.need == "execute":
                self.called.setdefault(need.extension, set()).add(need.name)
            elif need.need == "holders":
                continue
            elif need.patterns is None:
                found.append(need)
            else:
                found += self._chosen(need, need.patterns)
        return found

    def _holders(self, names: Sequence[str]) -> list[Need]:
        """What must be read to see who refers to rows of these tables, by name."""
        if not names:
            return []
        rows = self.session.rows(sql.SQL(HOLDERS).format(targets=catalog.targets(self.session.server, list(names))))
        return [Need(display(row["schema_name"], row["name"]), "read", "rp") for row in rows]

    def _chosen(self, need: Need, patterns: Selection) -> list[Need]:
        """What patterns choose now, by name; nothing where everything can be given at once."""
        cte = by_pattern(patterns, need.kinds + "p", partitions=True)
        rows = self.session.rows(sql.SQL(CHOSEN).format(by_pattern=cte))
        if self._everything(need, patterns):
            self.schemas |= {row["schema_name"] for row in rows}
            return []
        return [replace(need, name=display(row["schema_name"], row["name"]), patterns=None) for row in rows]

    def _everything(self, need: Need, patterns: Selection) -> bool:
        """Whether MAINTAIN on all that there is and will be is meant, and the present role may give that."""
        meant = "*" in patterns.include and not patterns.exclude and need.need == "maintain" and self.has_maintain
        if not meant:
            return False
        query = sql.SQL(MEMBERSHIPS).format(
            oid=self.oid, names=sql.Literal([MAINTAINS_ALL]), act_as=self.act_as, inherit=sql.Literal(True)
        )
        row = self.session.row(query)
        if not (row["direct"] or self._may_give(row)):
            return False
        if MAINTAINS_ALL not in self.memberships:
            self.memberships.append(MAINTAINS_ALL)
        return True

    def _functions(self) -> None:
        """EXECUTE on functions of extensions. Which of them there are depends on the version of the extension."""
        for extension, names in self.called.items():
            if extension not in self.session.server.extensions:
                self.faults.append(
                    (f"extension {quote(extension)}", f"it is not there: CREATE EXTENSION {quote(extension)}")
                )
                continue
            query = sql.SQL(FUNCTIONS).format(
                oid=self.oid, extension=sql.Literal(extension), names=sql.Literal(sorted(names))
            )
            for row in self.session.rows(query):
                key = Key("ROUTINE", row["schema_name"], row["name"], row["types"], "EXECUTE")
                self._grant(key, row["held"], row["direct"], row["grantable"], row["owner"])
                self.schemas.add(row["schema_name"])

    def _relations(self, needs: Sequence[Need]) -> list[tuple[Need, dict[str, Any]]]:
        """Each need with the relations it is about, after those of the wrong kind and those that do not exist are out."""
        if not needs:
            return []
        privileges = ["SELECT", "INSERT", "UPDATE", "DELETE"] + (["MAINTAIN"] if self.has_maintain else [])
        rows = self.session.rows(
            sql.SQL(RELATIONS).format(
                targets=catalog.targets(self.session.server, [need.name for need in needs]),
                privileges=sql.Literal(privileges),
                oid=self.oid,
            )
        )
        found = []
        for row in rows:
            need = needs[row["position"]]
            fault = self._fault(need, row)
            if fault:
                self.faults.append((need.name, fault))
            elif not row["missing"] and (row["root"] or need.need in ("maintain", "own")):
                found.append((need, row))
        return found

    def _fault(self, need: Need, row: dict[str, Any]) -> str:
        if row["missing"]:
            optional = need.need == "history" or "i" in need.kinds
            return "" if optional else str(catalog.not_found(self.session, need.name, need.kinds))
        if row["root"] and row["kind"] not in need.kinds:
            return str(catalog.wrong_kind(catalog.relation(row), catalog.KINDS[need.kinds[0]]))
        if need.need == "history" and row["name"] == "run" and not (row["comment"] or "").startswith(HISTORY_COMMENT):
            return f"schema {HISTORY} has a table run that is not ours: set history: false"
        if need.column and need.column not in row["columns"]:
            return f"there is no column {quote(need.column)}"
        return ""

    def _places(self, relations: list[tuple[Need, dict[str, Any]]], needs: Sequence[Need]) -> None:
        """The database, the schemas, and a place for the history."""
        schemas = self.schemas | {row["schema_name"] for _need, row in relations}
        history = any(need.need == "history" for need in needs)
        query = sql.SQL(PLACES).format(
            oid=self.oid,
            schemas=sql.Literal(sorted(schemas | ({HISTORY} if history else set()))),
            owners=sql.Literal(sorted({row["owner"] for _need, row in relations})),
        )
        places = {(row["kind"], row["name"]): row for row in self.session.rows(query)}
        found = [row for need, row in relations if need.need == "history"]
        # Whoever owns them brings them to their next version.
        makes_tables = len(found) < len(tables(1)) or any(row["owner"] == self.name for row in found)
        creates = {HISTORY} if history and makes_tables else set()
        self._place(places["DATABASE", self.session.server.database], "CONNECT")
        if history and ("SCHEMA", HISTORY) not in places:
            owners = {row["owner"] for need, row in relations if need.need in ("maintain", "own")}
            needs_owner = not self.has_maintain or any(need.need == "own" for need, _row in relations)
            self._history_schema(needs_owner and self.session.server.user in owners)
        for (kind, name), row in sorted(places.items()):
            if kind == "SCHEMA":
                self._place(row, "USAGE")
                if name in creates:
                    self._place(row, "CREATE")
        for need, row in relations:
            place = places["SCHEMA", row["schema_name"]]
            if need.creates and row["root"] and row["owner"] not in place["creators"]:
                self._place(place, "CREATE")

    def _place(self, row: dict[str, Any], what: str) -> None:
        key = Key(row["kind"], "", row["name"], "", what)
        self._grant(key, what in row["held"], what in row["direct"], what in row["grantable"], row["owner"])

    def _history_schema(self, member: bool) -> None:
        """Made for the role and not by it: it need not be able to create schemas. member: it will be one of the present role.

        A role uses no history in a schema of somebody whose code it may not run, so the schema is its own, unless the present
        role may own it. To give it away one must be able to act as the role, which who creates roles may grant to themselves.
        """
        may, giver = self.session.server.may_create_schema, "the owner of the database"
        key = Key("SCHEMA", "", HISTORY, "", EXISTS)
        create = sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(HISTORY))
        if self.row["admin_super"] or member or self.row["member_of_admin"]:
            self._add(key, self._statement(create), False, False, may, giver)
            for what in ("USAGE", "CREATE"):
                self._grant(Key("SCHEMA", "", HISTORY, "", what), False, False, may, giver)
            return
        role, options = sql.Identifier(self.name), sql.SQL(" WITH INHERIT FALSE, SET TRUE" if self.has_options else "")
        create = sql.SQL("{} AUTHORIZATION {}").format(create, role)
        if not self.row["admin_acts_as"]:
            act = "GRANT {role} TO CURRENT_USER{options}; {create}; REVOKE {role} FROM CURRENT_USER"
            create = sql.SQL(act).format(role=role, options=options, create=create)
            may = may and self._may_alter
        self._add(key, self._statement(create), False, False, may, giver)

    def _needs(self, need: Need, row: dict[str, Any]) -> None:
        """The rights on one relation."""
        owner = row["owner"]
        if need.need == "rows":
            self._table(row, "SELECT", "DELETE")
            # Rows are locked before they are deleted, which takes UPDATE on any column; on all of them it would also
            # allow to give a row to somebody else.
            # A REVOKE on the table takes it from the columns as well.
            direct = owner == self.name or (need.column in row["updates_columns"] and not row["updates_table"])
            key = Key("COLUMN", row["schema_name"], row["name"], need.column, "UPDATE")
            self._grant(key, row["updates"], direct, "UPDATE" in row["grantable"], owner)
            if row["row_security"] and owner != self.name:
                self._bypass_row_security(row["name"])
        elif need.need in ("referring", "read"):
            self._table(row, *(("SELECT",) if need.need == "read" else ("SELECT", "UPDATE", "DELETE")))
            if row["row_security"] and owner != self.name:
                self._bypass_row_security(row["name"])
        elif need.need == "insert":
            self._table(row, "INSERT")
        elif need.need == "history":
            self._table(row, "SELECT", "INSERT", "UPDATE", "DELETE")
        elif need.need == "maintain" and self.has_maintain:
            self._table(row, "MAINTAIN")
        elif owner != self.name:
            self.memberships += [] if owner in self.memberships else [owner]
            self.becomes |= {owner} if need.becomes and self.has_options else set()

    def _table(self, row: dict[str, Any], *privileges: str) -> None:
        for what in privileges:
            key = Key("TABLE", row["schema_name"], row["name"], "", what)
            self._grant(key, what in row["held"], what in row["direct"], what in row["grantable"], row["owner"])

    def _bypass_row_security(self, table: str) -> None:
        held = bool(self.row["bypassrls"])
        may = self.has_options and self._may_alter and self.row["admin_bypassrls"]
        giver = f"a superuser, because {quote(table)} has row-level security"
        statement = self._statement(self._alter(sql.SQL("BYPASSRLS")))
        self._add(self._me("BYPASSRLS"), statement, held or bool(self.row["superuser"]), held, may, giver)

    def _memberships(self) -> None:
        """Membership in owners, and in the role that sees the activity of others."""
        names = [*self.memberships, STATISTICS, MONITOR, MEASURING]
        inherit = sql.Literal(self.row["inherit"] is not False)
        query = sql.SQL(MEMBERSHIPS).format(oid=self.oid, names=sql.Literal(names), inherit=inherit, act_as=self.act_as)
        found = {row["name"]: row for row in self.session.rows(query)}
        if self.options.read_all_stats:
            plain, monitor = found[STATISTICS], found[MONITOR]
            # Providers give their customers the right to give away pg_monitor, which includes it, but not it alone.
            choice = MONITOR if self._may_give(monitor) and not self._may_give(plain) else STATISTICS
            if monitor["direct"] and not plain["direct"] and not self._may_give(plain):
                choice = MONITOR
            self.memberships.append(choice)
        if self.measures and MONITOR not in self.memberships:
            measuring = found[MEASURING]
            self.memberships += [MEASURING] if measuring["direct"] or self._may_give(measuring) else []
        for name in self.memberships:
            self._member(found[name])

    def _may_give(self, row: dict[str, Any]) -> bool:
        plain = not self.has_options and self.row["admin_creates"] and not row["superuser"]
        return bool(row["admin_of"] or plain or self.row["admin_super"])

    def _member(self, row: dict[str, Any]) -> None:
        becomes = row["name"] in self.becomes
        options = sql.SQL(f" WITH INHERIT TRUE, SET {becomes}".upper() if self.has_options else "")
        key, owner = Key("ROLE", "", row["name"], "", "MEMBER"), quote(row["name"])
        grant = sql.SQL("GRANT {} TO {}{}").format(key.grantable(), sql.Identifier(self.name), options)
        fault = ""
        if row["superuser"]:
            fault = (f"membership in {owner} would make it a superuser: give the objects an owner of their own, or, from "
                     "PostgreSQL 17, do without ownership")  # fmt: skip
        elif row["circular"]:
            fault = f"{owner} is itself a member of {quote(self.name)}: let another role create {quote(self.name)}"
        giver = f"a superuser, or a role with {'ADMIN OPTION on ' + owner if self.has_options else 'CREATEROLE'}"
        held, direct = (row[name] and (row["becomes"] or not becomes) for name in ("held", "direct"))
        self._add(key, self._statement(grant), held, direct, self._may_give(row), giver, fault)
