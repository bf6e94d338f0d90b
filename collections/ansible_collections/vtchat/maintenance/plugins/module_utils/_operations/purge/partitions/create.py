# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Creating one partition: all of it in one transaction, so that nothing is left of one that fails."""

from __future__ import annotations

from ...._errors import Contended, SqlError
from ...._postgres.driver import sql
from ...._postgres.policy import BLOCKING
from ...._postgres.session import Session
from ...._postgres.sqlstates import CHECK_VIOLATION, DUPLICATE_TABLE, INVALID_OBJECT_DEFINITION, QUERY_CANCELED
from ...._result import CONTENDED, DEFERRED, DONE, FAILED, UNCHANGED
from ... import Context, Outcome
from .actions import Creation

CREATED = """
SELECT pg_get_expr(c.relpartbound, 0) AS bounds FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_inherits AS i ON i.inhrelid = c.oid WHERE n.nspname = {schema} AND c.relname = {name} AND i.inhparent = {parent}
"""

# Whether somebody has created partitions since.
OTHERS = (
    "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = {parent} AND inhrelid <> ALL ({known}::oid[])) AS new"
)


def execute(session: Session, todo: Creation, context: Context) -> Outcome:
    """Create it, and verify that it is there."""
    coming = todo.coming

    # The server reads all of DEFAULT while nobody else can: not longer than anybody may be blocked. Waiting for it ends before.
    limit = BLOCKING if todo.default else float("inf")
    wait = min(todo.wait, limit / 2)
    try:
        todo.patience.briefly(session, todo.script.query, context, wait, limit=limit, users_path=todo.script.users_path)
    except SqlError as error:
        if not session.alive:
            raise
        return _refused(session, todo, error, context)
    except Contended as error:
        return Outcome(CONTENDED, f"{error}; the next run tries again")
    query = sql.SQL(CREATED).format(
        schema=sql.Literal(coming.schema), name=sql.Literal(coming.name), parent=sql.Literal(todo.parent.oid)
    )
    rows = session.rows(query)
    if not rows:
        return Outcome(FAILED, "the server reported success, but it is no partition", changed=True)
    return Outcome(DONE, changed=True, numbers={"bounds": rows[0]["bounds"].removeprefix("FOR VALUES ")})


def _refused(session: Session, todo: Creation, error: SqlError, context: Context) -> Outcome:
    if error.sqlstate == INVALID_OBJECT_DEFINITION:
        query = sql.SQL(OTHERS).format(parent=sql.Literal(todo.parent.oid), known=sql.Literal(list(todo.known)))
        if session.row(query)["new"]:
            return Outcome(UNCHANGED, f"somebody has created it meanwhile ({error})")
    if error.sqlstate == DUPLICATE_TABLE:
        return Outcome(CONTENDED, f"{error}: the next run takes another name")
    if error.sqlstate == CHECK_VIOLATION and todo.default:
        return Outcome(
            FAILED, f"rows have come to the DEFAULT partition that belong into it; the next run says how many ({error})"
        )
    if error.sqlstate == QUERY_CANCELED and context.seconds_left() < 1:
        return Outcome(DEFERRED, "the budget ended before it was created; it comes first next time")
    if error.sqlstate == QUERY_CANCELED and todo.default:
        return Outcome(
            FAILED,
            f"the server reads all of the DEFAULT partition for it, which takes longer than {BLOCKING:g} s and blocks its "
            "readers: give DEFAULT a CHECK constraint that excludes the new range (ADD CONSTRAINT ... NOT VALID, then VALIDATE)",
        )
    return Outcome(FAILED, str(error))
