# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Rights: what they are on, who holds them, and the statements that give and take them.

A right counts as held if it is effective, be it through PUBLIC or through another role. ``direct`` is narrower: what remains
when everything that was given to the role beyond its needs is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .._postgres.driver import sql
from .._postgres.names import display, qualified, quote
from .._postgres.session import Query, Session
from . import scram
from .queries import ITERATIONS

EXISTS = "exists"  # what a role or schema must do first
# On what basis it was decided about the password: none was given; it was compared with the verifier; only a new role gets
# one, and this one exists; the verifier may not be read; the role is new.
NONE, VERIFIER, ON_CREATE, NOT_READABLE, CREATED = "none", "verifier", "on_create", "not_readable", "created"
STARS = "'********'"  # stands for a verifier in everything that is shown


@dataclass(frozen=True)
class Statement:
    """SQL without a secret in it."""

    shown: str

    def text(self) -> str:
        """For people."""
        return self.shown

    def query(self, session: Session) -> Query:
        """For the server."""
        return self.shown


@dataclass(frozen=True)
class SetPassword(Statement):
    """ALTER ROLE … PASSWORD: people see stars, and the server gets a verifier that is made when it is sent."""

    role: str
    password: str = field(repr=False)

    def query(self, session: Session) -> Query:
        """With a verifier of as many iterations as the server uses itself."""
        verifier = scram.verifier(self.password, session.row(ITERATIONS)["iterations"])
        return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.role), sql.Literal(verifier))


@dataclass(frozen=True)
class Key:
    """What a right is, and on what.

    kind       TABLE, SEQUENCE, COLUMN, SCHEMA, DATABASE, ROUTINE or ROLE
    part       the column, or a routine's arguments
    privilege  the word of GRANT; for a role MEMBER, an attribute, or EXISTS
    """

    kind: str
    schema: str
    name: str
    part: str
    privilege: str

    @property
    def target(self) -> str:
        """The object, for people."""
        return display(self.schema, self.name) if self.schema else f"{self.kind.lower()} {quote(self.name)}"

    @property
    def is_membership(self) -> bool:
        return self.privilege == "MEMBER"

    def grantable(self) -> sql.Composed:
        """``SELECT ON TABLE …``: the right as it stands in GRANT and REVOKE."""
        on = {
            "TABLE": "{what} ON TABLE {object}",
            "SEQUENCE": "{what} ON SEQUENCE {object}",
            "COLUMN": "{what} ({column}) ON TABLE {object}",
            "SCHEMA": "{what} ON SCHEMA {object}",
            "DATABASE": "{what} ON DATABASE {object}",
            "ROUTINE": "{what} ON ROUTINE {object}({arguments})",
            "ROLE": "{object}",
        }[self.kind]
        # Privileges and arguments are words of the server, not of a user.
        return sql.SQL(on).format(
            what=sql.SQL(self.privilege),
            object=qualified(self.schema, self.name) if self.schema else sql.Identifier(self.name),
            column=sql.Identifier(self.part),
            arguments=sql.SQL(self.part),
        )


@dataclass(frozen=True)
class Right:
    """One right that the role needs.

    statement  what gives it
    may        whether the present role may run that; otherwise, giver says who may, or fault why nobody should
    """

    key: Key
    statement: Statement
    held: bool
    direct: bool
    may: bool
    giver: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        if self.key.is_membership:
            return "membership"
        return f"{self.key.privilege} ({quote(self.key.part)})" if self.key.kind == "COLUMN" else self.key.privilege


@dataclass(frozen=True)
class Extra:
    """A right beyond the needs. revoke: what takes it away; grantor: who gave it."""

    key: Key
    grant: Statement
    revoke: Statement
    may: bool
    grantor: str = ""


@dataclass(frozen=True)
class Facts:
    """What decide() needs. basis: what tells whether the password is right; other: what cannot be taken away here."""

    admin: str
    rights: Sequence[Right] = ()
    extras: Sequence[Extra] = ()
    other: Sequence[str] = ()
    faults: Sequence[tuple[str, str]] = ()
    basis: str = NONE
    owners: Sequence[str] = ()


@dataclass(frozen=True)
class Options:
    """What the role is to be. password: None where it is left alone; connection_limit: likewise."""

    name: str
    password: str | None = field(default=None, repr=False)
    on_create: bool = False
    read_all_stats: bool = True
    connection_limit: int | None = None
    exclusive: bool = False
