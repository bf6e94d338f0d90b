# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a role was given beyond its needs, and what takes it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._engine.history_tables import SCHEMA as HISTORY
from .._postgres.capabilities import MEMBERSHIP_OPTIONS
from .._postgres.driver import sql
from .._postgres.session import Session
from .model import Extra, Key, Statement
from .queries import GIVEN, OTHER

ATTRIBUTES = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")


def read_extras(
    session: Session, role: str, row: Mapping[str, Any], needed: Mapping[Key, bool], may_alter: bool
) -> tuple[list[Extra], list[str]]:
    """The rights, and what cannot be taken away here.

    row: from the query ROLE; needed: what is needed, and whether that is to become another role; may_alter: the present role
    may alter it.
    """
    if row["oid"] is None:
        return [], []  # it does not exist
    extras = [
        _attribute(session, role, word, row["admin_super"] or (may_alter and word in ("CREATEDB", "CREATEROLE")))
        for word in ATTRIBUTES
        if row[word.lower()] and Key("ROLE", "", role, "", word) not in needed
    ]
    oid = sql.Literal(row["oid"])
    for given in session.rows(sql.SQL(GIVEN).format(oid=oid)):
        extras += _given(session, role, given, needed)
    other = session.rows(sql.SQL(OTHER).format(oid=oid, history=sql.Literal(HISTORY)))
    return extras, [found["what"] for found in other]


def _attribute(session: Session, role: str, word: str, may: bool) -> Extra:
    def alter(what: str) -> Statement:
        return Statement(session.text(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(what))))

    return Extra(Key("ROLE", "", role, "", word), alter(word), alter(f"NO{word}"), may)


def _given(session: Session, role: str, row: dict[str, Any], needed: Mapping[Key, bool]) -> list[Extra]:
    """Nothing for what is needed, except for the right to pass it on or, from 16, to act as the other role."""
    member = row["kind"] == "ROLE"
    key = Key(row["kind"], row["schema"], row["name"], "" if member else row["part"], row["privilege"])
    options = ["ADMIN" if member else "GRANT"] if row["option"] else []
    options += ["SET"] if member and row["part"] == "true" and not needed.get(key) else []
    return [_revocation(session, role, key, row, option) for option in (options if key in needed else [""])]


def _revocation(session: Session, role: str, key: Key, row: dict[str, Any], option: str) -> Extra:
    """option: what alone is to be taken away; "" for all of it."""
    who, what = sql.Identifier(role), key.grantable()
    by: sql.Composable = sql.SQL("")
    first, last = by, by
    if key.kind == "ROLE" and session.server.has(MEMBERSHIP_OPTIONS):
        by = sql.SQL(" GRANTED BY {}").format(sql.Identifier(row["grantor"]))
    if option:
        first, last = sql.SQL(f"{option} OPTION FOR "), sql.SQL(f" WITH {option} OPTION")
    grant = session.text(sql.SQL("GRANT {} TO {}{}").format(what, who, last))
    revoke = session.text(sql.SQL("REVOKE {}{} FROM {}{}").format(first, what, who, by))
    return Extra(key, Statement(grant), Statement(revoke), row["may"], row["grantor"])
