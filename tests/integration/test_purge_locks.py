# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge says who is in its way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import reader
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pages, walks, work
from tests.runs import holding, only, until
from tests.servers import Database
from tests.trees import PARENTS, ids, purge

CHILD = """
CREATE TABLE {0} (id int PRIMARY KEY, t int REFERENCES t ON DELETE {1});
INSERT INTO {0} SELECT id, id FROM ONLY t WHERE id > 20;
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for longer than is needed to see him."""
    monkeypatch.setattr(reader, "LIGHT", 0.03)
    for where, name in ((pages, "ROW"), (pages, "HELD"), (walks, "ROW"), (work, "ROW")):
        monkeypatch.setattr(where, name, 0.03)


@pytest.mark.parametrize("order", ["index", "heap"])
def test_who_has_locked_a_table_that_a_purge_needs(database: Database, order: str) -> None:
    """The table, a part of it, or one whose rows refer to it; before the first row or when it is under way."""
    database.sql(PARENTS)
    database.sql("CREATE TABLE part () INHERITS (t); INSERT INTO part VALUES (30, now() - interval '1 hour')")
    for child, action in (("c", "CASCADE"), ("d", "NO ACTION")):
        database.sql(CHILD.format(child, action))
    cases = [
        ("LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "AccessExclusiveLock on public.t"),
        ("LOCK TABLE part IN ACCESS EXCLUSIVE MODE", "AccessExclusiveLock on public.part"),
        ("LOCK TABLE ONLY t IN SHARE MODE", "ShareLock on public.t"),
        ("LOCK TABLE c IN SHARE ROW EXCLUSIVE MODE", "ShareRowExclusiveLock on public.c"),
        ("LOCK TABLE d IN EXCLUSIVE MODE", "ExclusiveLock on public.d"),
    ]
    for statement, lock in cases:
        with holding(database, statement) as holder:
            found = only(purge(database, order=order))
            assert (found["outcome"], found["rows"] or 0) == ("contended", 0), (statement, found)
            pid = holder.info.backend_pid
            assert f"session {pid} (postgres, idle in transaction) holds {lock}" in found["reason"], (statement, found)
    assert len(ids(database)) == 26


def test_who_waits_to_lock_the_table_and_for_whom(database: Database) -> None:
    """A migration waits for a report, and we behind it."""
    database.sql(PARENTS)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
    with holding(database, "SELECT FROM t") as reader_, ThreadPoolExecutor(1) as thread, holding(database) as migration:
        pids = [one.info.backend_pid for one in (migration, reader_)]
        running = thread.submit(migration.cursor().execute, "ALTER TABLE t ADD word text")
        until(lambda: database.value(waiting))
        found = only(purge(database))
        reader_.rollback()
        running.result(60)
    assert found["outcome"] == "contended", found
    told = (
        "session {} (postgres, active) waits for AccessExclusiveLock on public.t, behind session {} (postgres, idle in "
    )
    assert told.format(*pids) in found["reason"], found


@pytest.mark.parametrize("divided", [False, True])
def test_who_has_locked_the_rows_that_are_left(database: Database, divided: bool) -> None:
    """Each by his name, those that only look at other rows by none; and many are not all told."""
    database.sql("CREATE TABLE t (id int, at timestamptz)" + (" PARTITION BY LIST (id)" if divided else ""))
    if divided:
        database.sql("CREATE TABLE p PARTITION OF t FOR VALUES IN (1, 2, 3); CREATE TABLE q PARTITION OF t DEFAULT")
    database.sql(
        "INSERT INTO t SELECT n, '2000-01-01' FROM generate_series(1, 9) AS n; INSERT INTO t VALUES (10, 'infinity')"
    )
    with ExitStack() as stack:
        lockers = [
            stack.enter_context(holding(database, f"SELECT FROM t WHERE id = {n} FOR UPDATE")) for n in (2, 4, 6, 8)
        ]
        other = stack.enter_context(holding(database, "UPDATE t SET at = 'infinity' WHERE id = 10", "SELECT FROM t"))
        found = only(purge(database))
        assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 5, 4), found
        told = [one.info.backend_pid for one in lockers if f"session {one.info.backend_pid} (" in found["reason"]]
        assert len(told) == 3, found
        assert found["reason"].endswith("(postgres, idle in transaction) and 1 more)"), found
        assert str(other.info.backend_pid) not in found["reason"]
    assert only(purge(database))["rows"] == 4


@pytest.mark.parametrize("divided", [False, True])
def test_who_has_locked_a_row_together_with_others(database: Database, divided: bool) -> None:
    """Foreign keys do that. Of a row stands there the number of a list, which may be that of a transaction as well."""
    database.sql("CREATE TABLE t (id int, at timestamptz)" + (" PARTITION BY LIST (id)" if divided else ""))
    if divided:
        database.sql("CREATE TABLE p PARTITION OF t DEFAULT")
    database.sql("INSERT INTO t SELECT n, '2000-01-01' FROM generate_series(1, 3) AS n")
    with ExitStack() as stack:
        locks = ("FOR SHARE", "FOR KEY SHARE", "FOR KEY SHARE")
        lockers = [stack.enter_context(holding(database, f"SELECT FROM t WHERE id = 2 {lock}")) for lock in locks]
        gone = lockers.pop()
        gone.rollback()
        found = only(purge(database))
        assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 2, 1), found
        assert found["reason"].count("session ") == 2, found
        for one in lockers:
            assert f"session {one.info.backend_pid} (postgres, idle in transaction)" in found["reason"], found
    assert only(purge(database))["rows"] == 1
