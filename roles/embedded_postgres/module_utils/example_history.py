# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fills the history of the embedded database with an invented quarter, and of no other database."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg2
from psycopg2.extras import RealDictCursor

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import KEYS
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import VERSION
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError

from . import example_facts, example_rows
from .embedded_load import COMMENT
from .example_runs import runs
from .example_world import World

TABLES = "maintenance.run, maintenance.action, maintenance.finding, maintenance.sample, maintenance.counter"
WHERE = """
SELECT current_setting('data_directory') AS data, shobj_description(d.oid, 'pg_database') AS comment,
       obj_description(to_regclass('maintenance.run'), 'pg_class') AS history
FROM pg_database AS d WHERE d.datname = current_database()
"""
LOCK = "SELECT pg_try_advisory_lock(%(key1)s, %(key2)s) AS locked"


class ExampleError(Exception):
    """Nothing was written; the message says why, and what to do."""


class Embedded(Protocol):
    """The server that the role has started."""

    home: Path
    data: Path

    @property
    def version(self) -> str:
        """Its version, "" where the directory is not ours."""

    def dsn(self, database: str) -> str:
        """How it is reached."""


def fill(server: Embedded, database: str, plans: Mapping[str, Any], check: bool) -> dict[str, int]:
    """Write the runs, and how many there are and were. check: write nothing.

    Raises ExampleError, ServerError where it does not run.
    """
    if not server.version:
        raise ExampleError(f"{server.home} was not made by embedded_postgres: nothing was touched.")
    dsn = server.dsn(database)
    try:
        with closing(psycopg2.connect(dsn, cursor_factory=RealDictCursor)) as connection:
            with connection.cursor() as cursor:
                _refuse_others(cursor, server, database)
                found = _fill(cursor, dsn, plans, check)
            connection.commit()
            connection.autocommit = True
            if not check:  # so that sizes are known, and what reads the history finds its way
                with connection.cursor() as cursor:
                    cursor.execute(f"VACUUM (ANALYZE) {TABLES}")
            return found
    except psycopg2.Error as error:
        raise ExampleError(f"Nothing was written: {str(error).strip()}") from error


def _refuse_others(cursor: Any, server: Embedded, database: str) -> None:
    """Raise ExampleError unless this is the database of the demo, with a history of this release, and no run is under way."""
    cursor.execute(WHERE)
    found = cursor.fetchone()
    if Path(found["data"]).resolve() != server.data.resolve():
        raise ExampleError(f"The server that answers has its files in {found['data']}, not in {server.data}.")
    if not (found["comment"] or "").startswith(COMMENT):
        raise ExampleError(f"The database {database} was not loaded by embedded_postgres: nothing was touched.")
    if found["history"] != f"vtchat.maintenance history, version {VERSION}":
        raise ExampleError(
            f"There is no history of version {VERSION} in the database {database}: run `make hourly` first."
        )
    cursor.execute(LOCK, KEYS)
    if not cursor.fetchone()["locked"]:
        raise ExampleError("A run is under way in this database: try again when it has ended.")


def _fill(cursor: Any, dsn: str, plans: Mapping[str, Any], check: bool) -> dict[str, int]:
    demo = example_facts.read(cursor, example_rows.HOST, dsn)
    try:
        wanted = example_facts.plans(plans, demo.server.now)
    except OptionError as error:
        raise ExampleError(f"maintenance_plans: {error}") from error
    made = runs(demo, wanted, World(demo.server.now))
    replaced = example_rows.there_are(cursor)
    if not check:
        example_rows.remove(cursor)
        example_rows.write(cursor, demo, made)
    return {"runs": len(made), "replaced": replaced}
