# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Create a database and load SQL files into it, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import sql

COMMENT = "Loaded by embedded_postgres, files "
LOCK = 0x76746368  # one load at a time; any number that nobody else uses on this server
READ_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


class LoadError(Exception):
    """The SQL files cannot be loaded; the database holds none of them."""


def digest(files: list[Path]) -> str:
    """Twelve hexadecimal digits that change with the files' names or content."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:12]


def load(
    admin_dsn: str, database: str, files: list[Path], settings: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Return whether anything was loaded, and a warning ("" if none).

    All files run in one transaction that also leaves the mark (the database's comment), so a load that was interrupted
    is repeated from scratch. ``settings`` are visible to the files through current_setting().
    """
    if not files:
        raise LoadError("There are no SQL files to load.")
    wanted = COMMENT + digest(files)
    with closing(psycopg2.connect(admin_dsn)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(READ_COMMENT, [database])
        row = cursor.fetchone()
        if not (row and row[0]):
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            cursor.execute(READ_COMMENT, [database])
            row = cursor.fetchone()
        if row and row[0]:
            return False, "" if row[0] == wanted else _outdated(database)
        if row is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        _load_files(admin_dsn, database, files, settings or {}, wanted)
    return True, ""


def _outdated(database: str) -> str:
    return (
        f"The SQL files changed since they were loaded into the database {database}, which stays as it is; "
        "remove the server (embedded_postgres_state=absent) to have them loaded again."
    )


def _load_files(admin_dsn: str, database: str, files: list[Path], settings: Mapping[str, str], mark: str) -> None:
    with closing(psycopg2.connect(admin_dsn, dbname=database)) as connection, connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        for path in files:
            try:
                cursor.execute(path.read_text(encoding="utf-8"))
            except psycopg2.Error as error:
                raise LoadError(f"{path.name} failed in the database {database}: {str(error).strip()}") from error
        cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(mark)))
        connection.commit()
