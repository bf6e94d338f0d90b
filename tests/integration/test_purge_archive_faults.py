# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with an archive in files: full disks, lost answers and dead processes lose no row."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.archives import documented, folders, purge, restore, rows, shell
from tests.runs import REPOSITORY, only, until
from tests.servers import Database, PrivateServer

# Faults of directories, and of their disks


def test_directories_that_do_not_serve(database: Database, tmp_path: Path) -> None:
    """Seen before anything is touched; /proc only when it is tried, where a superuser of the system runs this."""
    (tmp_path / "file").write_text("")
    database.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01')")
    for directory, told in ((tmp_path / "missing", "does not exist"), (tmp_path / "file", "is a file")):
        for check in (True, False):
            action = only(purge(database, check, archive={"directory": str(directory)}))
            assert (action["outcome"], told in action["reason"]) == ("failed", True), action["reason"]
    action = only(purge(database, archive={"directory": "/proc"}))
    assert (action["outcome"], "archive.directory" in action["reason"]) == ("failed", True), action["reason"]
    assert len(rows(database)) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond that size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(database: Database, tmp_path: Path) -> None:
    """The first batch fits, the next one does not."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, s text)")
    database.sql(
        "INSERT INTO t SELECT n, now() - interval '1 year' + n * interval '1 minute', "
        "CASE WHEN n > 1000 THEN (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 200) AS m) END "
        "FROM generate_series(1, 1200) AS n"
    )
    before = rows(database)
    with full_disk(1 << 19):
        action = only(purge(database, order="index", archive={"directory": str(tmp_path)}))
    assert (action["outcome"], action["rows"]) == ("failed", 1000), action["reason"]
    assert "File too large" in action["reason"]
    assert database.value("SELECT min(id) FROM t") == 1001
    assert only(purge(database, archive={"directory": str(tmp_path)}))["rows"] == 200
    restore(database, tmp_path)
    assert rows(database) == before


# COMMIT whose answer nobody hears

# COMMIT waits for a lock that the test holds.
SLOW_COMMIT = """
CREATE TABLE t (id int, at timestamptz); CREATE INDEX ON t (at);
INSERT INTO t SELECT n / 2, '2000-01-01' FROM generate_series(1, 20) AS n;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
"""
COMMITTING = """
SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'advisory' AND datname = current_database()
"""


# A backend that is terminated in COMMIT rolls back.
@pytest.mark.parametrize(("dies", "becomes"), [("client", "committed"), ("client", "aborted"), ("server", "aborted")])
def test_an_answer_that_is_lost(database: Database, tmp_path: Path, dies: str, becomes: str) -> None:
    database.sql(SLOW_COMMIT)
    before = rows(database)
    archive = {"directory": str(tmp_path)}  # one page is one batch
    with closing(database.connect()) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        if dies == "client":
            options = f"table='t', column='at', order='heap', archive={archive}"
            # Without a server that looks by itself, now and then, whether the client is still there.
            module = "ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session"
            program = (
                f"from tests.runs import perform; from {module} import Session; Session.end_with_client = lambda self: None; "
                f"perform('purge', {database.dsn!r}, {options})"
            )
            path = f"{REPOSITORY}:{REPOSITORY / 'collections'}"
            with subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": path}) as process:
                [(pid,)] = until(lambda: database.sql(COMMITTING) or process.poll() is not None)
                process.send_signal(signal.SIGKILL)
            if becomes == "aborted":
                database.sql("SELECT pg_terminate_backend(%s)", [pid])
        else:
            with ThreadPoolExecutor(1) as thread:
                running = thread.submit(purge, database, order="heap", archive=archive)
                [(pid,)] = until(lambda: database.sql(COMMITTING) or running.done())
                database.sql("SELECT pg_terminate_backend(%s)", [pid])
                action = only(running.result(200))
            assert (action["outcome"], action["rows"]) == ("failed", 0)
            assert "in doubt" in action["reason"]
            assert action["numbers"]["archive"]["in_doubt"] in action["reason"]
    until(lambda: not database.sql("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]))
    (doubtful,) = tmp_path.rglob("*.in-doubt")
    # The documented way for somebody who cannot wait for the next run.
    transaction = json.loads((doubtful.parent / "manifest.json").read_text())["files"][0]["transaction"]
    until(lambda: database.value("SELECT pg_xact_status(%s::xid8)", [transaction]) == becomes)
    assert len(rows(database)) == (0 if becomes == "committed" else 20)
    shell(database, doubtful.parent, documented("*.in-doubt"))
    assert rows(database) == before
    action = only(purge(database, order="heap", archive=archive))
    assert action["numbers"]["archive"][f"files_{becomes}"] == 1, action
    assert action["rows"] == 20
    assert not list(tmp_path.rglob("*.in-doubt"))
    for _again in range(2):
        restore(database, tmp_path)
        assert rows(database) == before


# The row with the number 9 waits for a lock that the test holds; rows before it, of the same batch, are on their way then.
SLOW_ROW = """
CREATE TABLE t (id int, at timestamptz, s text); CREATE INDEX ON t (at);
INSERT INTO t SELECT n, '2000-01-01'::timestamptz + n * interval '1 s', repeat('x', 100000) FROM generate_series(1, 15) AS n;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF OLD.id = 9 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN OLD; END $$;
CREATE TRIGGER wait BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION wait();
"""
SENDING = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'advisory' AND datname = current_database()"


def test_a_server_that_dies_while_it_sends(private_server: PrivateServer, tmp_path: Path) -> None:
    """Nothing was deleted, nothing is left of the file, and the reason says what has happened."""
    archive = {"directory": str(tmp_path)}
    database = private_server.create_database()
    database.sql(SLOW_ROW)
    before = rows(database)
    database.sql("CHECKPOINT")
    with closing(database.connect()) as holder, ThreadPoolExecutor(1) as thread:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        running = thread.submit(purge, database, archive=archive)
        until(lambda: database.sql(SENDING))
        private_server.crash()
        action = only(running.result(200))
    assert (action["outcome"], action["rows"]) == ("failed", 0), action["reason"]
    assert "the server closed the connection" in action["reason"], action["reason"]
    private_server.start()
    database.close_connection()
    assert rows(database) == before
    assert not list(tmp_path.rglob("*.gz*"))
    assert only(purge(database, archive=archive))["rows"] == 15
    restore(database, tmp_path)
    assert rows(database) == before


def test_a_doubt_about_another_server_is_left(database: Database, tmp_path: Path) -> None:
    """Numbers of transactions begin anew there, so that they say nothing."""
    database.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2000-01-01')")
    archive = {"directory": str(tmp_path)}
    assert only(purge(database, archive=archive))["rows"] == 1
    (folder,) = folders(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("system_identifier", "timeline"):
        other = {**manifest, "server": {**manifest["server"], name: "0"}}
        (folder / "manifest.json").write_text(json.dumps(other))
        for path in folder.glob("*.copy.gz"):
            path.rename(f"{path}.in-doubt")
        assert only(purge(database, archive=archive))["numbers"]["archive"]["files_in_doubt"] == 1
        assert len(list(folder.glob("*.in-doubt"))) == 1


def test_a_server_that_does_not_say_who_it_is(database: Database, tmp_path: Path) -> None:
    """Providers may refuse that: rows are archived all the same, and what is in doubt stays in doubt."""
    role = database.role("purger")
    database.sql(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; CREATE TABLE t (id int, at timestamptz);"
        f"CREATE TABLE kept (LIKE t); GRANT ALL ON t, kept TO {role}"
    )
    archive: dict[str, str] = {}
    for archive in ({"table": "kept"}, {"directory": str(tmp_path)}):
        database.sql("INSERT INTO t VALUES (1, '2000-01-01')")
        assert only(purge(database, user=role, archive=archive))["rows"] == 1, archive
    (folder,) = folders(tmp_path)
    (file,) = folder.glob("*.copy.gz")
    file.rename(f"{file}.in-doubt")
    assert only(purge(database, user=role, archive=archive))["numbers"]["archive"]["files_in_doubt"] == 1
    assert len(list(folder.glob("*.in-doubt"))) == 1
