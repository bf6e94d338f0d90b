# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Why an expired partition cannot go: looked at before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...._errors import Contended, SqlError
from ...._postgres.driver import sql
from ...._postgres.names import quote
from ...._postgres.policy import BLOCKING, LIGHT
from ...._postgres.session import Session
from ...._postgres.sqlstates import QUERY_CANCELED
from . import queries
from .refusals import owner_fault
from .table import Partition


@dataclass(frozen=True)
class Obstacle:
    """Why a partition stays. passing: the next run may find it gone."""

    reason: str
    passing: bool = False


# As the server itself looks before a partition goes.
REFERS = "SELECT EXISTS (SELECT FROM {referred} AS p JOIN {table} AS r ON {equal}) AS refers"


def sizes(session: Session, parts: Sequence[Partition]) -> dict[int, tuple[int, int | None]]:
    """By oid: bytes with indexes and TOAST, and rows as far as they were ever counted."""
    if not parts:
        return {}
    oids = sql.Literal([one.oid for one in parts])
    rows = session.rows(sql.SQL(queries.SIZE_LEFT).format(oids=oids)) + session.rows(
        sql.SQL(queries.SIZES).format(oids=oids)
    )
    return {row["oid"]: (row["bytes"], row["rows"]) for row in rows}


def look(session: Session, parts: Sequence[Partition], drop: bool, seconds: float) -> dict[int, Obstacle]:
    """By oid, of those that cannot go: why. seconds: what is left of the budget."""
    if not parts:
        return {}
    found: dict[int, Obstacle] = {}
    for one in parts:
        if not one.may_alter:
            what = "it can be detached" + (" and dropped" if drop else "")
            found[one.oid] = Obstacle(owner_fault(session.server, one.owner, what))
        elif one.kind == "f" and drop:
            found[one.oid] = Obstacle("it is a foreign table: set partitions: detach, and drop it where its rows are")
    oids = sql.Literal([one.oid for one in parts])
    if drop:
        for row in session.rows(sql.SQL(queries.DEPENDENT).format(oids=oids)):
            needed = ", ".join(row["needed_by"])
            reason = f"other objects need it: {needed}: drop or redefine them first, or set partitions: detach"
            found.setdefault(row["oid"], Obstacle(reason))
    for row in session.rows(sql.SQL(queries.REFERRED).format(oids=oids)):
        if row["oid"] not in found and row["readable"]:
            obstacle = _referred(session, row, seconds)
            if obstacle:
                found[row["oid"]] = obstacle
    return found


def _referred(session: Session, row: dict[str, Any], seconds: float) -> Obstacle | None:
    """Why a foreign key keeps a partition, None if no row refers to it.

    The server looks once more while it detaches, and writes to the other table wait meanwhile: it must not take long.
    """
    name, table = quote(row["constraint"]), row["table"]
    query = sql.SQL(REFERS).format(referred=sql.SQL(row["referred"]), table=sql.SQL(table), equal=sql.SQL(row["equal"]))
    session.set(statement_timeout=min(BLOCKING, max(0.001, seconds)), lock_timeout=LIGHT)
    try:
        refers = session.row(query)["refers"]
    except SqlError as error:
        if error.sqlstate != QUERY_CANCELED:
            raise
        reason = (
            f"whether rows of {table} refer to it ({name}) takes longer than {BLOCKING:g} s to find out, and writes there would "
            f"wait meanwhile: CREATE INDEX CONCURRENTLY ON {table} ({row['columns']}), or drop the constraint"
        )
        return Obstacle(reason)
    except Contended:
        return Obstacle(f"{table}, which refers to it ({name}), is locked", passing=True)
    finally:
        session.set(statement_timeout=max(0.001, seconds))
    if not refers:
        return None
    return Obstacle(f"rows of {table} refer to it ({name}): purge those first, or drop the constraint")
