# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Deleting rows that are kept elsewhere: in a table, by the same transaction, or in files that are on the disk before it commits.

The statements run under the search_path that the user has: everything of ours in them is qualified.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...._errors import MaintenanceError, SqlError
from ...._postgres.driver import sql
from ...._postgres.session import Session
from .facts import Target
from .files import Chunk, Folder

INTO_TABLE = """
WITH {picked}gone AS ({delete} RETURNING {columns}), kept AS (
    INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM gone RETURNING tableoid AS part, ctid AS place
)
SELECT {of_picked}(SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT pg_catalog.count(*) FROM kept) AS kept,
       {places}{look}
"""
PICKED = "picked AS MATERIALIZED ({pick}), "
OF_PICKED = """(SELECT pg_catalog.count(*) FROM picked) AS picked,
       (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last, """
KEPT_PLACES = """(SELECT pg_catalog.array_agg(part)::pg_catalog.text FROM kept) AS parts,
       (SELECT pg_catalog.array_agg(place)::pg_catalog.text FROM kept) AS places"""
# Where triggers might take rows out again: those that wait for the end of the transaction first.
STILL_THERE = """
SET CONSTRAINTS ALL IMMEDIATE;
SELECT pg_catalog.count(*) AS there FROM {target} AS a WHERE (a.tableoid, a.ctid) OPERATOR(pg_catalog.=) ANY (
    SELECT p.part, p.place FROM pg_catalog.unnest({parts}::pg_catalog.oid[], {places}::pg_catalog.tid[]) AS p (part, place))
"""

# COPY sends rows and nothing else. So they are picked before it, and stay locked in between.
PICK = """
WITH picked AS MATERIALIZED ({pick})
SELECT pg_catalog.count(*) AS picked, pg_catalog.max(value)::pg_catalog.text AS last,
       pg_catalog.array_agg(part)::pg_catalog.text AS parts, pg_catalog.array_agg(place)::pg_catalog.text AS places,
       pg_catalog.pg_current_xact_id()::pg_catalog.text AS transaction
FROM picked
"""
NO_PICK = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text AS transaction"
COPY = "COPY ({picked}{delete} RETURNING {columns}) TO STDOUT (FORMAT text)"
PICKED_BEFORE = """WITH picked (part, place) AS MATERIALIZED (
    SELECT p.part, p.place FROM pg_catalog.unnest({parts}::pg_catalog.oid[], {places}::pg_catalog.tid[]) AS p (part, place)) """


class IntoTable:
    """Rows go to another table."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.columns = sql.SQL(", ").join(map(sql.Identifier, target.columns))

    def batch(
        self, session: Session, pick: sql.Composable | None, delete: sql.Composable, look: sql.Composable
    ) -> dict[str, Any]:
        """Delete and keep, both or neither. Raises Contended, SqlError or MaintenanceError, and then nothing was done."""
        try:
            (row,) = session.begin(self._statement(pick, delete, look), users_path=True)
            self._verify(session, row)
            session.commit()
        except MaintenanceError:
            with suppress(SqlError):
                session.leave_transaction()
            raise
        return row

    def close(self) -> dict[str, Any]:
        """What the result says of it."""
        return {"table": self.target.shown}

    def _statement(
        self, pick: sql.Composable | None, delete: sql.Composable, look: sql.Composable
    ) -> sql.Composed:
        return sql.SQL(INTO_TABLE).format(
            picked=sql.SQL(PICKED).format(pick=pick) if pick else sql.SQL(""),
            of_picked=sql.SQL(OF_PICKED if pick else ""),
            delete=delete,
            target=self.target.table,
            columns=self.columns,
            places=sql.SQL(KEPT_PLACES if self.target.watched else "NULL AS places"),
            look=look,
        )

    def _verify(self, session: Session, row: dict[str, Any]) -> None:
        """That all rows have arrived. Raises MaintenanceError."""
        arrived = row["kept"]
        if self.target.watched and arrived and arrived == row["gone"]:
            query = sql.SQL(STILL_THERE).format(
                target=self.target.table, parts=sql.Literal(row["parts"]), places=sql.Literal(row["places"])
            )
            arrived = session.row(query, users_path=True)["there"]
        if arrived != row["gone"]:
            raise MaintenanceError(
                f"only {arrived} of {row['gone']} rows arrived in {self.target.shown}, so none was deleted: look at the "
                "triggers there"
            )


class IntoFiles:
    """Rows go to files on this machine."""

    def __init__(self, folder: Folder, columns: list[str]) -> None:
        self.folder = folder
        self.columns = sql.SQL(", ").join(map(sql.Identifier, columns))
        self.numbers: dict[str, Any] = {"files": 0, "bytes": 0}

    def batch(
        self, session: Session, pick: sql.Composable | None, delete: sql.Composable, look: sql.Composable
    ) -> dict[str, Any]:
        """Delete what a file on the disk has. Raises Contended, SqlError or MaintenanceError.

        Then nothing was deleted, unless the connection was lost while COMMIT was under way: the file says so by its name.
        """
        chunk = self._open()
        try:
            row = self._copied(session, chunk, pick, delete, look)
            self._keep(chunk, row)
        except BaseException:
            with suppress(SqlError):
                session.leave_transaction()
            self.folder.withdraw(chunk)
            raise
        self._commit(session, chunk)
        return row

    def close(self) -> dict[str, Any]:
        """What the result says of it."""
        path = self.folder.path
        self.folder.end()
        return {"directory": str(path or self.folder.parent), **self.numbers}

    def _open(self) -> Chunk:
        try:
            return self.folder.open()
        except OSError as error:
            raise self._fault(error) from None

    def _copied(
        self,
        session: Session,
        chunk: Chunk,
        pick: sql.Composable | None,
        delete: sql.Composable,
        look: sql.Composable,
    ) -> dict[str, Any]:
        """What was deleted in a transaction that is still open, and written but not yet on the disk."""
        query = sql.SQL(PICK).format(pick=pick) if pick else sql.SQL(NO_PICK)
        (row,) = session.begin(query, users_path=True)
        row["gone"] = 0
        if pick and not row["picked"]:
            return row
        picked = sql.SQL("")
        if pick:
            places = {name: sql.Literal(row[name]) for name in ("parts", "places")}
            picked = sql.SQL(PICKED_BEFORE).format(**places)
        copy = sql.SQL(COPY).format(picked=picked, delete=delete, columns=self.columns)
        row["gone"] = session.copy(copy, chunk, users_path=True)
        if row["gone"] != chunk.rows:
            raise MaintenanceError(f"the server sent {chunk.rows} rows and deleted {row['gone']}, so none was deleted")
        if look.as_string(None):
            row.update(session.row(sql.SQL("SELECT NULL AS places{}").format(look), users_path=True))
        return row

    def _keep(self, chunk: Chunk, row: dict[str, Any]) -> None:
        try:
            if row["gone"]:
                self.folder.keep(chunk, row["transaction"])
            else:
                chunk.discard()
        except OSError as error:
            raise self._fault(error) from None

    def _commit(self, session: Session, chunk: Chunk) -> None:
        """COMMIT, and what is known afterwards. After an interruption nothing is, and the name of the file says that."""
        try:
            session.commit()
        except MaintenanceError as error:
            if session.alive:
                self.folder.withdraw(chunk)
                raise
            if chunk.rows:
                self.numbers["in_doubt"] = str(chunk.doubtful)
                raise MaintenanceError(
                    f"{error}; whether the last {chunk.rows} rows are deleted is in doubt: they are in {chunk.doubtful}, "
                    "and the next run finds out"
                ) from None
            raise
        if chunk.rows:
            self.folder.confirm(chunk)
            self.numbers["files"] += 1
            self.numbers["bytes"] += chunk.bytes

    def _fault(self, error: OSError) -> MaintenanceError:
        where = self.folder.path or self.folder.parent
        return MaintenanceError(f"archive.directory: {error.strerror or error} ({where}); nothing of the batch was deleted")
