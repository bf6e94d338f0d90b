# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The embedded server: every way of starting, stopping and finding it, and the demo's data."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from roles.embedded_postgres.module_utils import embedded_server
from roles.embedded_postgres.module_utils.embedded_load import LoadError, load
from roles.embedded_postgres.module_utils.embedded_server import EmbeddedServer, Place, ServerError, place
from tests.servers import REPOSITORY, Database, PrivateServer, Server, Servers

START = """
import json, sys
from pathlib import Path
from roles.embedded_postgres.module_utils.embedded_server import Account, EmbeddedServer, Place
home, binaries, account = json.loads(sys.argv[1])
server = EmbeddedServer(Place(Path(home), Path(binaries), Account(*account) if account else None))
print(json.dumps([server.start(), server.running().pid]))
"""


@pytest.fixture
def embedded(servers: Servers) -> Iterator[EmbeddedServer]:
    """A server that is not started; removed afterwards."""
    home = Path(tempfile.mkdtemp(dir=servers.directory))
    home.chmod(0o711)
    server = EmbeddedServer(Place(home / "home", servers.binaries(), servers.account))
    yield server
    server.remove()
    shutil.rmtree(home)


def answer(server: EmbeddedServer, query: str) -> Any:
    """The one value that the server answers."""
    with closing(psycopg2.connect(server.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        [value] = cursor.fetchone() or [None]
        return value


def pid(server: EmbeddedServer) -> int:
    postmaster = server.running()
    assert postmaster
    return postmaster.pid


def test_start_twice_stop_twice(embedded: EmbeddedServer) -> None:
    assert embedded.start() is True
    first = pid(embedded)
    assert embedded.start() is False
    assert pid(embedded) == first
    assert answer(embedded, "SHOW server_version").startswith(embedded.version + " ") or answer(
        embedded, "SHOW server_version"
    ) == embedded.version  # fmt: skip
    assert embedded.stop() is True
    assert embedded.running() is None
    assert embedded.stop() is False
    assert embedded.start() is True
    assert embedded.remove() is True
    assert embedded.remove() is False
    assert list(embedded.home.parent.iterdir()) == []


def test_running_is_found_without_a_process_or_a_lock(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start()
    for name in ("run", "Popen"):
        monkeypatch.setattr(embedded_server.subprocess, name, lambda *_a, **_k: pytest.fail("started a process"))
    monkeypatch.setattr(embedded_server.fcntl, "flock", lambda *_: pytest.fail("took the lock"))
    assert embedded.start() is False


def test_settings_and_modes(embedded: EmbeddedServer) -> None:
    embedded.start()
    wanted = {"listen_addresses": "", "track_counts": "on", "server_encoding": "UTF8", "fsync": "on"}
    wanted |= {"unix_socket_permissions": "0700"}
    assert {name: answer(embedded, f"SHOW {name}") for name in wanted} == wanted
    assert answer(embedded, "SHOW timezone") == "UTC"
    assert answer(embedded, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") in ("C.UTF-8", "C")
    for path in (embedded.home, embedded.data):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    owner = embedded.place.account.uid if embedded.place.account else os.geteuid()
    assert {path.stat().st_uid for path in (embedded.home, embedded.data, embedded.log)} == {owner}


def test_environment_does_not_redirect(embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.start()
    for variable in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "DATABASE_URL"):
        monkeypatch.setenv(variable, "127.0.0.9" if variable == "PGHOSTADDR" else "1")
    assert answer(embedded, "SHOW data_directory") == str(embedded.data)
    assert answer(embedded, "SELECT current_user || '@' || current_database()") == "postgres@postgres"


def test_service_file_does_not_redirect(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded.start()
    (tmp_path / "services").write_text("[other]\nhost=/nowhere\nport=1\nuser=other\ndbname=other\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "other")
    assert answer(embedded, "SHOW data_directory") == str(embedded.data)


def test_environment_of_the_caller_stays_out_of_the_server(
    embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TZ": "Asia/Ho_Chi_Minh", "LC_ALL": "xx_XX", "PGDATA": "/nowhere", "PGPORT": "1"}.items():
        monkeypatch.setenv(name, value)
    embedded.start()
    assert answer(embedded, "SHOW timezone") == "UTC"
    assert answer(embedded, "SHOW port") == "5432"
    with closing(psycopg2.connect(embedded.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE e (line text); COPY e FROM PROGRAM 'env'; SELECT line FROM e")
        names = {line.split("=")[0] for (line,) in cursor.fetchall()}
    assert not names & {"HOME", "PGPORT", "PYTEST_CURRENT_TEST"}


def test_kill_9(embedded: EmbeddedServer) -> None:
    embedded.start()
    postmaster = embedded.running()
    assert postmaster
    os.kill(postmaster.pid, signal.SIGKILL)
    assert embedded.wait_until_gone(postmaster)
    assert embedded.start() is True
    assert pid(embedded) != postmaster.pid


@pytest.mark.parametrize("alive", [True, False])
def test_stale_lock_files(embedded: EmbeddedServer, alive: bool) -> None:
    """As after a restart of the machine: the number belongs to another program of the same user, or to none."""
    embedded.start()
    paths = [embedded.data / "postmaster.pid", embedded.home / ".s.PGSQL.5432.lock"]
    contents = [path.read_text().splitlines(keepends=True) for path in paths]
    embedded.stop()
    account = embedded.place.account
    identity = {"user": account.uid, "group": account.gid} if account else {}
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, **identity) as other:  # type: ignore[call-overload]
        if not alive:
            other.communicate()
        for path, content in zip(paths, contents):
            path.write_text("".join([f"{other.pid}\n", *content[1:]]))
        assert embedded.running() is None
        assert embedded.start() is True
        assert other.poll() is (None if alive else 0)  # and it was left alone


@pytest.mark.parametrize("content", ["", "12", "nonsense\n" * 8])
def test_damaged_pid_file(embedded: EmbeddedServer, content: str) -> None:
    embedded.start()
    embedded.stop()
    (embedded.data / "postmaster.pid").write_text(content)
    assert embedded.start() is True


def test_lost_socket(embedded: EmbeddedServer) -> None:
    """Something cleaned the socket away: that server is replaced, not doubled."""
    embedded.start()
    before = pid(embedded)
    (embedded.home / ".s.PGSQL.5432").unlink()
    assert embedded.start() is True
    assert pid(embedded) != before


def test_interrupted_initdb(embedded: EmbeddedServer) -> None:
    embedded.start()
    embedded.stop()
    embedded.data.rename(embedded.home / "data.new-interrupted")
    (embedded.home / "data.new-interrupted" / "PG_VERSION").unlink()
    assert embedded.start() is True
    assert not list(embedded.home.glob("data.new-*"))


def test_starts_at_once(embedded: EmbeddedServer) -> None:
    account = embedded.place.account
    argument = [str(embedded.home), str(embedded.place.binaries)]
    identity = [account.uid, account.gid, account.name] if account else None
    command = [sys.executable, "-c", START, json.dumps([*argument, identity])]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(4)]
    results = [json.loads(process.communicate(timeout=200)[0]) for process in running]
    assert sorted(started for started, _ in results) == [False, False, False, True]
    assert {found for _, found in results} == {pid(embedded)}
    assert [path.name for path in embedded.home.parent.iterdir()] == ["home"]


def test_log_starts_anew(embedded: EmbeddedServer) -> None:
    for _ in range(3):
        embedded.start()
        embedded.stop()
    assert embedded.log.read_text().count("starting PostgreSQL") == 1
    assert len(list(embedded.home.glob("server.log*"))) == 2


def test_long_path(servers: Servers, embedded: EmbeddedServer) -> None:
    parent = embedded.home.parent / ("Đường dẫn dài " + "x" * 120)
    parent.mkdir()
    parent.chmod(0o711)
    server = EmbeddedServer(Place(parent / 'it\'s "a" $HOME with; signs', servers.binaries(), servers.account))
    server.start()
    postmaster = server.running()
    assert postmaster
    directory = Path(postmaster.socket_directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert answer(server, "SHOW data_directory") == str(server.data)
    assert server.start() is False
    assert server.stop() is True
    assert not directory.exists()
    assert server.start() is True
    assert server.remove() is True
    assert list(parent.iterdir()) == []


def test_path_with_signs(servers: Servers, embedded: EmbeddedServer) -> None:
    server = EmbeddedServer(Place(embedded.home.parent / "a 'b' \"c\", $d", servers.binaries(), servers.account))
    server.start()
    assert server.start() is False
    assert answer(server, "SELECT 1") == 1
    assert server.remove() is True


@pytest.mark.parametrize(
    "kind", ["empty", "a cluster of somebody else", "a file", "a broken link", "a marker of others"]
)
@pytest.mark.parametrize("method", ["start", "stop", "remove"])
def test_foreign_directory(embedded: EmbeddedServer, kind: str, method: str) -> None:
    if kind == "a file":
        embedded.home.write_text("mine")
    elif kind == "a broken link":
        embedded.home.symlink_to("nowhere")
    else:
        embedded.home.mkdir()
    if kind == "a cluster of somebody else":
        (embedded.home / "PG_VERSION").write_text("18\n")
    if kind == "a marker of others":
        (embedded.home / embedded_server.MARKER).write_text("[]")
    before = sorted(embedded.home.parent.rglob("*"))
    with pytest.raises(ServerError, match="nothing was touched"):
        getattr(embedded, method)()
    assert sorted(embedded.home.parent.rglob("*")) == before
    if embedded.home.is_dir():
        shutil.rmtree(embedded.home)
    else:
        embedded.home.unlink()


def test_no_parent(servers: Servers) -> None:
    server = EmbeddedServer(Place(servers.directory / "missing" / "home", servers.binaries(), servers.account))
    with pytest.raises(ServerError, match=r"Cannot make a directory in .*missing: No such file"):
        server.start()


def test_other_major_version(embedded: EmbeddedServer) -> None:
    embedded.start()
    embedded.stop()
    version = embedded.data / "PG_VERSION"
    content = version.read_text()
    version.write_text("17\n")
    with pytest.raises(ServerError, match=r"made by PostgreSQL 17, the installed binaries are 18\..*make stop"):
        embedded.start()
    version.write_text(content)
    assert embedded.start() is True


def test_wrong_setting_shows_the_log(embedded: EmbeddedServer) -> None:
    embedded.settings["shared_buffers"] = "nonsense"
    with pytest.raises(ServerError, match="invalid value for parameter"):
        embedded.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
def test_root_out_of_reach(servers: Servers, tmp_path: Path) -> None:
    """A checkout that nobody cannot enter: data and binaries are elsewhere, and no mode of the checkout changes."""
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o700)
    before = [(path, path.stat().st_mode) for path in (checkout, *checkout.parents)]
    where = place(checkout / ".embedded", checkout, embedded_server.find_binaries(), servers.directory / "system")
    server = EmbeddedServer(where)
    try:
        assert server.start() is True
        assert where.system
        assert "nobody" in where.note
        assert str(where.home.parent) in where.note
        assert answer(server, "SELECT 1") == 1
        again = place(checkout / ".embedded", checkout, embedded_server.find_binaries(), servers.directory / "system")
        assert EmbeddedServer(again).start() is False
        assert [(path, path.stat().st_mode) for path in (checkout, *checkout.parents)] == before
        assert not (checkout / ".embedded").exists()
    finally:
        assert server.remove() is True
    assert not (servers.directory / "system").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
def test_root_runs_it_as_the_owner_of_the_checkout(embedded: EmbeddedServer, servers: Servers) -> None:
    checkout = embedded.home.parent
    daemon = pwd.getpwnam("daemon")
    os.chown(checkout, daemon.pw_uid, daemon.pw_gid)
    where = place(checkout / ".embedded", checkout, servers.binaries())
    server = EmbeddedServer(where)
    groups = os.getgroups()
    os.setgroups([0, 4])  # root's groups must not come along
    server.start()
    os.setgroups(groups)
    assert where.account
    assert where.account.uid == daemon.pw_uid
    assert Path(f"/proc/{pid(server)}").stat().st_uid == daemon.pw_uid
    assert Path(f"/proc/{pid(server)}/status").read_text().split("Groups:")[1].split("\n")[0].strip() == ""
    server.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_ordinary_user(embedded: EmbeddedServer, servers: Servers) -> None:
    """The same code as nobody: its own directory, no account to change to."""
    nobody = pwd.getpwnam("nobody")
    directory = embedded.home.parent
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    source = directory / "embedded_server.py"
    shutil.copy(embedded_server.__file__, source)
    os.chown(source, nobody.pw_uid, nobody.pw_gid)
    code = START.replace("from roles.embedded_postgres.module_utils.embedded_server", "from embedded_server")
    code += "assert server.remove()\n"
    argument = json.dumps([str(directory / "own"), str(servers.binaries()), None])
    interpreter = next((path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists()), sys.executable)
    done = subprocess.run(
        [interpreter, "-c", code, argument], cwd=directory, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
        env={"HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] is True
    assert not (directory / "own").exists()


# Loading


def write(directory: Path, **files: str) -> list[Path]:
    for name, text in files.items():
        (directory / f"{name}.sql").write_text(text)
    return sorted(directory.glob("*.sql"))


def test_load_once_and_warn_of_changes(private_server: PrivateServer, tmp_path: Path) -> None:
    files = write(tmp_path, a="CREATE TABLE t (x int);", b="INSERT INTO t VALUES (1);")
    assert load(private_server.dsn(), "demo", files) == (True, "")
    assert load(private_server.dsn(), "demo", files) == (False, "")
    changed, warning = load(private_server.dsn(), "demo", write(tmp_path, c="INSERT INTO t VALUES (2);"))
    assert not changed
    assert "files changed" in warning
    assert Database(private_server, "demo").sql("SELECT * FROM t") == [(1,)]


def test_failed_load_leaves_nothing_and_is_repeated(private_server: PrivateServer, tmp_path: Path) -> None:
    files = write(tmp_path, a="CREATE TABLE t (x int);", b="INSERT INTO t VALUES (1/0);")
    with pytest.raises(LoadError, match=r"b\.sql failed in the database demo: division by zero"):
        load(private_server.dsn(), "demo", files)
    assert Database(private_server, "demo").sql("SELECT 1 FROM pg_class WHERE relname = 't'") == []
    assert load(private_server.dsn(), "demo", write(tmp_path, b="INSERT INTO t VALUES (1);")) == (True, "")


# The demo's data


def test_tables_and_times(vtchat_database: Database) -> None:
    tables = vtchat_database.sql(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    assert {name for (name,) in tables} == {
        "users", "sessions", "accounts", "verifications", "user_subscriptions", "feedback", "provider_usage",
        "vtplus_usage", "user_rate_limits", "quota_configs", "resources",
    }  # fmt: skip
    zoned = (
        "SELECT attrelid::regclass FROM pg_attribute WHERE atttypid = 'timestamptz'::regtype AND attrelid = ANY (%s)"
    )
    oids = [
        oid for (oid,) in vtchat_database.sql("SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    ]
    assert vtchat_database.sql(zoned, [oids]) == []
    empty = [name for (name,) in tables if not vtchat_database.value(f"SELECT EXISTS (SELECT FROM {name})")]
    assert empty == []


def test_sessions(vtchat_database: Database) -> None:
    expired = vtchat_database.value("SELECT count(*) FROM sessions WHERE expires_at <= now() AT TIME ZONE 'UTC'")
    assert 3000 <= expired < 3100  # the next of them an hour after they were loaded
    assert vtchat_database.value("SELECT count(*) FROM sessions") == 9000
    near = "SELECT count(*) FROM sessions WHERE abs(extract(epoch FROM expires_at - now() AT TIME ZONE 'UTC')) < 25200"
    assert vtchat_database.value(near) > 0  # a comparison in the wrong zone shows


def test_subscriptions(vtchat_database: Database) -> None:
    several = "SELECT count(*) FROM (SELECT FROM user_subscriptions GROUP BY user_id HAVING count(*) > 1) AS several"
    assert vtchat_database.value(several) == 400
    none = "SELECT count(*) FROM users WHERE id NOT IN (SELECT user_id FROM user_subscriptions)"
    assert vtchat_database.value(none) == 800
    found = dict(vtchat_database.sql("SELECT status, count(*) FROM user_subscriptions GROUP BY status"))
    assert {"active", "canceled", "cancelled", "expired", "past_due", "trialing"} == set(found)
    assert dict(vtchat_database.sql("SELECT plan, 1 FROM user_subscriptions")) == {"vt_base": 1, "vt_plus": 1}


def test_nulls_and_unicode(vtchat_database: Database) -> None:
    names = " ".join(name for (name,) in vtchat_database.sql("SELECT name FROM users"))
    assert all(part in names for part in ("Nguyễn", "😀", "محمد", "'"))
    nulls = (
        "SELECT count(*) FILTER (WHERE normalized_email IS NULL), count(*) FILTER (WHERE plan_slug IS NULL) FROM users"
    )
    assert all(count > 0 for count in vtchat_database.sql(nulls)[0])


def test_indexes_and_keys(vtchat_database: Database) -> None:
    indexes = dict(
        vtchat_database.sql(
            "SELECT indrelid::regclass::text, count(*) FROM pg_index WHERE indrelid >= 16384 GROUP BY 1"
        )
    )
    assert indexes["users"] == 8
    assert indexes["sessions"] == 7
    assert indexes["user_subscriptions"] == 1
    assert vtchat_database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'c'") == 8


def test_every_load_gives_the_same_rows(private_server: PrivateServer, vtchat_database: Database) -> None:
    other = Database(private_server, private_server.vtchat_template())
    for query in (
        "SELECT md5(string_agg(u.id || name || coalesce(plan_slug, '-'), ',' ORDER BY u.id)) FROM users AS u",
        "SELECT md5(string_agg(id || user_id || coalesce(token, '-'), ',' ORDER BY id)) FROM sessions",
        "SELECT md5(string_agg(id || plan || status, ',' ORDER BY id)) FROM user_subscriptions",
    ):
        assert other.value(query) == vtchat_database.value(query)


# The fixtures


def test_fixtures(database: Database) -> None:
    assert database.sql("SELECT current_database()") == [(database.name,)]
    role = database.role("it's", password="s3cret")
    with closing(psycopg2.connect(database.tcp_dsn(role, "s3cret"))) as connection:
        assert connection.info.user == role
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(database.tcp_dsn(role, "wrong"))
    assert (database.server.bin / "psql").exists()


def test_crash_and_restart(private_server: PrivateServer) -> None:
    private_server.crash()
    private_server.start()
    private_server.restart(timezone="Asia/Ho_Chi_Minh")
    assert private_server.sql("SHOW timezone") == [("Asia/Ho_Chi_Minh",)]


def test_postgres15(postgres15: Server) -> None:
    assert postgres15.embedded.version.startswith("15.")
