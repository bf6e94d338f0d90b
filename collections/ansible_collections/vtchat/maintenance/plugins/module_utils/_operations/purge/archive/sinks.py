# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Deleting rows that are kept elsewhere: in a table, by the same transaction, or in files that are on the disk before it commits.

The statements run under the search_path that the user has: everything of ours in them is qualified.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from ...._errors import MaintenanceError, SqlError
from ...._postgres.driver import sql
from ...._postgres.session import Session
from ..statements import LAST, Batch, Refusal
from .facts import Target
from .files import Chunk, Folder

INTO_TABLE = """
{picked}gone AS ({delete} RETURNING {columns}), kept AS (
    INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM gone RETURNING {returned}
)
SELECT {of_picked}(SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT pg_catalog.count(*) FROM kept) AS kept,
       {places}{look}
"""
PICKED = "WITH picked AS MATERIALIZED ({pick}), "
OF_PICKED = "(SELECT pg_catalog.count(*) FROM picked) AS picked, {last}, "
KEPT_PLACES = """(SELECT pg_catalog.array_agg(part)::pg_catalog.text FROM kept) AS parts,
       (SELECT pg_catalog.array_agg(place)::pg_catalog.text FROM kept) AS places"""
# Where triggers might take rows out again: those that wait for the end of the transaction first.
STILL_THERE = """
SET CONSTRAINTS ALL IMMEDIATE;
SELECT pg_catalog.count(*) AS there FROM {target} AS a WHERE (a.tableoid, a.ctid) OPERATOR(pg_catalog.=) ANY (
    SELECT p.part, p.place FROM ROWS FROM (
        pg_catalog.unnest({parts}::pg_catalog.oid[]), pg_catalog.unnest({places}::pg_catalog.tid[])) AS p (part, place))
"""

# COPY sends rows and nothing else. So they are picked before it, and stay locked in between.
PICK = """
WITH picked AS MATERIALIZED ({pick})
SELECT pg_catalog.count(*) AS picked, {last}, pg_catalog.array_agg(part)::pg_catalog.text AS parts,
       pg_catalog.array_agg(place)::pg_catalog.text AS places, pg_catalog.pg_current_xact_id()::pg_catalog.text AS transaction
FROM picked
"""
NO_PICK = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text AS transaction"
# In the encoding of the database: not all that is there can be said in another one.
COPY = "COPY ({picked}{delete} RETURNING {columns}) TO STDOUT (FORMAT text, ENCODING {encoding})"
PICKED_BEFORE = """WITH picked (part, place) AS MATERIALIZED (
    SELECT p.part, p.place FROM ROWS FROM (
        pg_catalog.unnest({parts}::pg_catalog.oid[]), pg_catalog.unnest({places}::pg_catalog.tid[])) AS p (part, place)) """


class Store(Protocol):
    """What keeps rows in a transaction that others have begun and end. Each raises MaintenanceError."""

    def delete(self, session: Session, picked: sql.Composable, delete: sql.Composable) -> int:
        """Delete the rows of the CTE ``picked`` and keep them; how many."""

    def keep(self, number: str) -> None:
        """Before COMMIT of the transaction with that number."""

    def withdraw(self) -> None:
        """After ROLLBACK."""

    def confirm(self) -> None:
        """After COMMIT."""

    def doubt(self) -> list[str]:
        """After COMMIT that was not answered: the files that have the rows."""

    def close(self) -> dict[str, Any]:
        """Nothing more comes; what the result says of it."""


class IntoTable:
    """Rows go to another table."""

    picks, room = False, 0

    def __init__(self, target: Target) -> None:
        self.target = target
        self.columns = sql.SQL(", ").join(map(sql.Identifier, target.columns))

    def batch(self, session: Session, batch: Batch, look: str) -> dict[str, Any]:
        """Delete and keep, both or neither. Raises Contended, SqlError or Refusal, and then nothing was done."""
        try:
            began = time.monotonic()
            picked = sql.SQL(PICKED).format(pick=batch.pick) if batch.pick else sql.SQL("WITH ")
            of_picked = sql.SQL(OF_PICKED).format(last=sql.SQL(LAST)) if batch.pick else None
            (row,) = session.begin(self._statement(picked, batch.delete, of_picked, look), users_path=True)
            self._verify(session, row)
            row["inside"] = time.monotonic() - began
            session.commit()
        except MaintenanceError:
            with suppress(SqlError):
                session.leave_transaction()
            raise
        return row

    def delete(self, session: Session, picked: sql.Composable, delete: sql.Composable) -> int:
        """DELETE, in a transaction: both or neither, whatever becomes of it. Raises MaintenanceError."""
        row = session.row(self._statement(picked + sql.SQL(", "), delete), users_path=True)
        self._verify(session, row)
        return int(row["gone"])

    def keep(self, number: str) -> None:
        """Before COMMIT, which is about the archive as well."""

    def withdraw(self) -> None:
        """After ROLLBACK, likewise."""

    def confirm(self) -> None:
        """After COMMIT, likewise."""

    def doubt(self) -> list[str]:
        """After COMMIT that was not answered: the rows are in one of both tables."""
        return []

    def close(self) -> dict[str, Any]:
        """What the result says of it."""
        return {"archive": {"table": self.target.shown}}

    def _statement(
        self,
        picked: sql.Composable,
        delete: sql.Composable,
        of_picked: sql.Composable | None = None,
        look: str = "",
    ) -> sql.Composed:
        return sql.SQL(INTO_TABLE).format(
            picked=picked,
            of_picked=of_picked or sql.SQL(""),
            delete=delete,
            target=self.target.table,
            columns=self.columns,
            # A place may be asked for only by who may read the table.
            returned=sql.SQL("tableoid AS part, ctid AS place" if self.target.watched else "1"),
            places=sql.SQL(KEPT_PLACES if self.target.watched else "NULL AS places"),
            look=sql.SQL(look),
        )

    def _verify(self, session: Session, row: dict[str, Any]) -> None:
        """That all rows have arrived. Raises Refusal."""
        arrived = row["kept"]
        if self.target.watched and arrived and arrived == row["gone"]:
            query = sql.SQL(STILL_THERE).format(
                target=self.target.table, parts=sql.Literal(row["parts"]), places=sql.Literal(row["places"])
            )
            arrived = session.row(query, users_path=True)["there"]
        if arrived != row["gone"]:
            raise Refusal(
                f"only {arrived} of {row['gone']} rows arrived in {self.target.shown}, so none was deleted: look at the "
                "triggers there"
            )


class IntoFiles:
    """Rows go to files on this machine.

    encoding  of the database
    settings  what triggers of the table might change, by which values are written
    chunk     the file of the transaction that is under way
    """

    picks, room = False, 0

    def __init__(self, folder: Folder, columns: list[str], encoding: str, settings: Mapping[str, str]) -> None:
        self.folder, self.encoding, self.settings = folder, sql.Literal(encoding), settings
        self.columns = sql.SQL(", ").join(map(sql.Identifier, columns))
        self.numbers: dict[str, Any] = {"files": 0, "bytes": 0}
        self.chunk: Chunk | None = None

    def batch(self, session: Session, batch: Batch, look: str) -> dict[str, Any]:
        """Delete what a file on the disk has. Raises Contended, SqlError or MaintenanceError.

        Then nothing was deleted, unless the connection was lost while COMMIT was under way: the file says so by its name.
        """
        began = time.monotonic()
        query = sql.SQL(PICK).format(pick=batch.pick, last=sql.SQL(LAST)) if batch.pick else sql.SQL(NO_PICK)
        with transaction(session, [self], query) as row:
            row["gone"] = 0
            if not batch.pick or row["picked"]:
                row["gone"] = self.delete(session, picked_before(row) if batch.pick else sql.SQL(""), batch.delete)
            if look:
                # Under the user's path, which is that of COMMIT then: triggers may have waited for that.
                row.update(session.row("SELECT" + look.lstrip(","), users_path=True))
            row["inside"] = time.monotonic() - began
        return row

    def delete(self, session: Session, picked: sql.Composable, delete: sql.Composable) -> int:
        """DELETE, in a transaction: the rows are written, and not yet on the disk. Raises MaintenanceError."""
        try:
            self.chunk = self.chunk or self.folder.open()
        except OSError as error:
            raise self._fault(error) from None
        before = self.chunk.rows
        copy = sql.SQL(COPY).format(picked=picked, delete=delete, columns=self.columns, encoding=self.encoding)
        gone = session.copy(copy, self.chunk, users_path=True)
        if gone != self.chunk.rows - before:
            raise MaintenanceError(
                f"the server deleted {gone} rows and sent {self.chunk.rows - before}, so none was deleted"
            )
        self._verify(session)
        return gone

    def _verify(self, session: Session) -> None:
        """That all rows were written as the script reads them. Raises MaintenanceError."""
        now = session.as_left(list(self.settings)) if self.settings else {}
        changed = [name for name, value in now.items() if value != self.settings[name]]
        if changed:
            raise MaintenanceError(
                f"a trigger changes {', '.join(changed)}, by which rows are written, so none was deleted: have its function set "
                "that back, such as with CREATE FUNCTION ... SET"
            )

    def keep(self, number: str) -> None:
        """Before COMMIT of the transaction with that number. Raises MaintenanceError."""
        if self.chunk and not self.chunk.rows:
            self.withdraw()
        if self.chunk:
            try:
                self.folder.keep(self.chunk, number)
            except OSError as error:
                raise self._fault(error) from None

    def withdraw(self) -> None:
        """After ROLLBACK."""
        if self.chunk:
            self.folder.withdraw(self.chunk)
            self.chunk = None

    def confirm(self) -> None:
        """After COMMIT."""
        if self.chunk:
            self.folder.confirm(self.chunk)
            self.numbers["files"] += 1
            self.numbers["bytes"] += self.chunk.bytes
            self.chunk = None

    def doubt(self) -> list[str]:
        """After COMMIT that was not answered: the file that has the rows."""
        if not self.chunk:
            return []
        self.numbers["in_doubt"] = str(self.chunk.doubtful)
        return [str(self.chunk.doubtful)]

    def close(self) -> dict[str, Any]:
        """What the result says of it."""
        path = self.folder.path if self.folder.files else self.folder.parent
        self.folder.end()
        return {"archive": {"directory": str(path), **self.numbers}}

    def _fault(self, error: OSError) -> MaintenanceError:
        where = self.folder.path or self.folder.parent
        return MaintenanceError(
            f"archive.directory: {error.strerror or error} ({where}): make room there, or name another directory; nothing of the "
            "batch was deleted"
        )


def picked_before(row: dict[str, Any]) -> sql.Composed:
    """The CTE ``picked`` of rows that an earlier statement of the transaction has locked."""
    return sql.SQL(PICKED_BEFORE).format(**{name: sql.Literal(row[name] or "{}") for name in ("parts", "places")})


@contextmanager
def transaction(session: Session, stores: Sequence[Store], first: sql.Composable) -> Iterator[dict[str, Any]]:
    """A transaction that is committed when all that it deletes is on the disk. first: its first query, of which it gives the row.

    Raises MaintenanceError: nothing was deleted, or a file is in doubt, and the message says so.
    """
    try:
        (row,) = session.begin(first, users_path=True)
        yield row
        for store in stores:
            store.keep(row["transaction"])
    except BaseException:  # an interruption too: nothing stays open, no file stays; raised again
        with suppress(SqlError):
            session.leave_transaction()
        for store in stores:
            store.withdraw()
        raise
    _commit(session, stores)


def _commit(session: Session, stores: Sequence[Store]) -> None:
    """COMMIT, and what is known afterwards. After an interruption nothing is, and the names of the files say that."""
    try:
        session.commit()
    except MaintenanceError as error:
        if session.alive:
            for store in stores:
                store.withdraw()
            raise
        files = [file for store in stores for file in store.doubt()]
        if files:
            raise MaintenanceError(
                f"{error}; whether the rows of the last batch are deleted is in doubt: they are in {' and '.join(files)}, "
                "and the next run finds out"
            ) from None
        raise
    for store in stores:
        store.confirm()
