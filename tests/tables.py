# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables with dead rows, and vacuuming them, for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Action, Context, Outcome, vacuum
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session
from tests.runs import perform, until
from tests.servers import Database

CROWD = 5000  # tables
MAKE_CROWD = f"""
DO $$BEGIN FOR n IN 1 .. {CROWD} LOOP
    EXECUTE format('CREATE TABLE many.t_%s (id int PRIMARY KEY, note text)', n);
    IF n % 1000 = 0 THEN COMMIT; END IF;
END LOOP; END$$"""
FRESH = "SELECT pg_stat_force_next_flush()"


def write(database: Database, *statements: str) -> None:
    """Change rows, each in a transaction of its own; what was counted is visible when this returns."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        if connection.info.server_version >= 150000:
            cursor.execute(FRESH)
            cursor.execute("SELECT 1")


def today(database: Database, zone: str) -> Any:
    """The date there. Where it ends within a minute the next one, when it has come: a test goes on on the same day."""
    (found,) = database.sql("SELECT ((now() + interval '1 minute') AT TIME ZONE %s)::date", [zone])[0]
    until(lambda: database.value("SELECT (now() AT TIME ZONE %s)::date >= %s", [zone, found]), 100)
    return found


def flushed(database: Database) -> None:
    """Commits are written at once from now on. No page is all-visible before that, and others' commits count for it as well."""
    database.sql(SQL("ALTER DATABASE {} SET synchronous_commit = on").format(Identifier(database.name)))


def make(database: Database, name: str = "public.t", rows: int = 10_000, dead: int = 0, more: str = "") -> None:
    """A table, its first rows dead. more: what comes after its columns."""
    flushed(database)
    write(
        database,
        f"CREATE TABLE {name} (id int PRIMARY KEY, note text) {more}",
        f"INSERT INTO {name} SELECT i, 'note ' || i % 7 FROM generate_series(1, {rows}) AS i",
        f"DELETE FROM {name} WHERE id <= {dead}",
    )


def run(
    database: Database, *tables: str, check: bool = False, user: str = "postgres", **options: Any
) -> dict[str, Any]:
    """What the module returns, without any delay."""
    given = {"pace": "fast", **options}
    if tables:
        given["tables"] = list(tables)
    return perform("vacuum", database.dsn_as(user), check=check, **given)


def told(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Target, outcome and reason of each action."""
    return [(one["target"], one["outcome"], one["reason"]) for one in result["actions"]]


@contextmanager
def opened(database: Database, user: str = "postgres") -> Iterator[Session]:
    """A session of ours."""
    with closing(open_session(ConnectionOptions.read(database.dsn_as(user)), "test")) as session:
        yield session


def decided(session: Session, *tables: str, **options: Any) -> list[Any]:
    """What is to be done with these tables."""
    read = vacuum.read({"tables": list(tables), "pace": "fast", **options})
    context = Context(check=False)
    return list(vacuum.decide(vacuum.facts(session, read, context), read, context))


def executed(session: Session, action: Any) -> Outcome:
    """What becomes of it."""
    assert isinstance(action, Action), action
    return vacuum.execute(session, action, Context(check=False))


@contextmanager
def held(database: Database, *statements: str) -> Iterator[int]:
    """A transaction that stays open after these statements; its process."""
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        for statement in statements:
            cursor.execute(statement)
        yield other.info.backend_pid
        cursor.execute("ROLLBACK")  # a session that is only closed keeps its locks for a moment


def vacuuming(database: Database, pid: int) -> None:
    """Wait until that process is at a VACUUM."""
    until(lambda: database.value("SELECT count(*) FROM pg_stat_progress_vacuum WHERE pid = %s", [pid]) == 1)


def processor_seconds(pid: int) -> float:
    """Processor time that another process has used so far; 0 where there is no /proc to tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deciding(database: Database, name: str, **options: Any) -> tuple[list[Any], float, int]:
    """What an operation decides, the processor time that it takes here and in the server, and its turns.

    Time on the clock says more of what else a machine is doing.
    """
    (step,) = _edge.validated(name, {"dsn": database.dsn, **options}).wanted.steps
    with opened(database) as session:
        pid, turns, context = session.server.backend_pid, session.round_trips, Context(check=True)
        began = time.process_time() + processor_seconds(pid)
        found = list(step.does.decide(step.does.facts(session, step.options, context), step.options, context))
        return found, time.process_time() + processor_seconds(pid) - began, session.round_trips - turns
