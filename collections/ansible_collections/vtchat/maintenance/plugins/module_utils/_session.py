# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""One connection to one database: opened within a deadline, refused where maintenance must not run, autocommit."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Union

from . import _dsn
from ._driver import extensions, psycopg2, sql
from ._errors import ConnectError, Contended, MaintenanceError, OptionError, SqlError
from ._server import FACTS, ROLE, Server

Query = Union[str, "sql.Composable"]
Params = Union[Mapping[str, Any], Sequence[Any], None]

LOCK_NOT_AVAILABLE = "55P03"
READ_LOCK_TIMEOUT = 1.0  # seconds: a catalog read that waits longer sits behind an ACCESS EXCLUSIVE lock

# Waiting helps against these only; a wrong password must not be tried again (accounts get locked). Texts of libpq and
# of the server, which gives no code to a driver before a session exists.
_WORTH_WAITING = (
    "starting up",
    "not yet accepting connections",
    "recovery",
    "shutting down",
    "connection refused",
    "no such file or directory",
    "timeout expired",
    "timed out",
    "server closed the connection unexpectedly",
    "too many clients",
    "remaining connection slots",
    "endpoint is disabled",
    "could not connect to compute",
    "control plane request failed",
)


@dataclass(frozen=True)
class ConnectionOptions:
    """The connection options that all database modules share.

    connect_deadline  seconds for all attempts together
    pooler            refuse | direct | allow
    """

    dsn: str = field(default="", repr=False)
    tls: str = "require"
    connect_deadline: float = 30.0
    role: str = ""
    pooler: str = "refuse"


class Session:
    """A connection in autocommit: no transaction stays open while nobody looks."""

    def __init__(self, connection: extensions.connection, dsn: _dsn.Dsn) -> None:
        self._connection = connection
        self._dsn = dsn
        self._settings: dict[str, str] = {}
        self._watched = False
        self.turns = 0
        self.server: Server  # from read_facts(), which is the first thing done
        # Behind a transaction pooler that was allowed: nothing that outlives a statement may be set or locked.
        self.shared = False
        self._own_pid = connection.info.backend_pid

    def read_facts(self, application: str, statement_timeout: float, read_only: bool, role: str = "") -> Server:
        """Take on the role, read the facts and set this session's limits: one round trip, with a role two.

        Nothing is set in a backend that is not known to be ours alone (behind_proxy).
        """
        self._settings = {
            "statement_timeout": _milliseconds(statement_timeout),
            "lock_timeout": _milliseconds(READ_LOCK_TIMEOUT),
        }
        own = {"own_pid": self._own_pid, "role": role}
        started = {"backend_start": self.row(ROLE, own)["backend_start"]} if role else {}
        read = {"application": application[:63], "read_only": "on" if read_only else "off"}
        row = self.row(FACTS, {**self._settings, **read, **own})
        self.server = Server.from_row({**row, **started}, host=self._connection.info.host or "")
        return self.server

    def rows(self, query: Query, params: Params = None) -> list[dict[str, Any]]:
        """All rows as dictionaries. Raises Contended or SqlError."""
        with closing(self._run(query, params)) as cursor:
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def row(self, query: Query, params: Params = None) -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows(query, params)
        return row

    def execute(self, query: Query, params: Params = None) -> int:
        """Run a statement that returns nothing; the number of rows it affected (-1 where that means nothing)."""
        with closing(self._run(query, params)) as cursor:
            return cursor.rowcount

    def set(self, statement_timeout: float | None = None, lock_timeout: float | None = None) -> None:
        """Change the limits of this session, in seconds; costs a turn only when something changes."""
        wanted = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
        changes = {name: _milliseconds(value) for name, value in wanted.items() if value is not None}
        changes = {name: value for name, value in changes.items() if self._settings.get(name) != value}
        if changes and not self.shared:
            calls = [
                sql.SQL("set_config({}, {}, false)").format(sql.Literal(k), sql.Literal(v)) for k, v in changes.items()
            ]
            self.row(sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)))
            self._settings.update(changes)

    def end_with_client(self) -> None:
        """Have the server give up a statement soon after this process died, where its platform can tell that it did."""
        if not self._watched and not self.shared:
            self._watched = True
            with suppress(SqlError):  # fixed at 0 on some platforms and at some providers
                self.execute("SET client_connection_check_interval = '5s'")

    def text(self, query: Query) -> str:
        """A query as text, for people."""
        return query if isinstance(query, str) else query.as_string(self._connection)

    def scrub(self, text: str) -> str:
        """A text without the secrets of this connection."""
        return self._dsn.scrub(text)

    @property
    def alive(self) -> bool:
        return not self._connection.closed

    def close(self) -> None:
        self._connection.close()

    def behind_proxy(self) -> bool:
        """Whether something between us and the server answers with a backend of its own choice."""
        return self.server.backend_pid != self._own_pid

    def own(self) -> None:
        """Take it as proved that the proxy keeps its backend for this connection."""
        self._own_pid = self.server.backend_pid

    def _run(self, query: Query, params: Params) -> extensions.cursor:
        self.turns += 1
        try:
            cursor = self._connection.cursor()
            cursor.execute(query, params)
        except psycopg2.Error as error:
            raise self._translate(error) from None
        return cursor

    def _translate(self, error: psycopg2.Error) -> MaintenanceError:
        primary = error.diag.message_primary or " ".join(str(error).split())
        details = [text for text in (error.diag.message_detail, error.diag.message_hint) if text]
        message = self.scrub(". ".join([primary, *details]))
        if error.pgcode == LOCK_NOT_AVAILABLE:
            return Contended(message, error.diag.context or "")
        position = int(error.diag.internal_position or error.diag.statement_position or 0)
        return SqlError(
            message, error.pgcode or "", position, error.diag.internal_query or "", error.diag.context or ""
        )


def _milliseconds(seconds: float) -> str:
    """A limit as the server wants it; never 0, which would mean no limit, unless there is none."""
    return "0" if seconds == float("inf") else str(min(max(1, round(seconds * 1000)), 2**31 - 1))


def open_session(
    options: ConnectionOptions, application: str, statement_timeout: float = float("inf"), read_only: bool = False
) -> Session:
    """Connect, read the facts, and refuse a standby or a transaction pooler. Raises OptionError or ConnectError."""
    dsn = _choose_host(_dsn.parse(options.dsn, options.tls), options.pooler)
    session = Session(_connect(dsn, options.connect_deadline), dsn)
    try:
        session.read_facts(application, statement_timeout, read_only, options.role)
        _refuse_unsuitable(session)
        if session.behind_proxy():
            _look_behind(session, dsn, options)
            session.read_facts(application, statement_timeout, read_only, options.role)
    except SqlError as error:
        session.close()
        raise ConnectError(f"connected, but {error}") from None
    except BaseException:
        session.close()
        raise
    return session


def _choose_host(dsn: _dsn.Dsn, pooler: str) -> _dsn.Dsn:
    """On Neon the pooler is the same host with -pooler at the end of its first label."""
    label, dot, domain = dsn.host.partition(".")
    if not label.endswith("-pooler") or pooler == "allow":
        return dsn
    direct = label[: -len("-pooler")] + dot + domain
    if pooler == "direct":
        return dsn.with_host(direct)
    raise OptionError([
        f"dsn: {dsn.host} is a transaction pooler, where locks and time limits do not hold: use the direct host {direct}, "
        "or set pooler: direct to have that done here"
    ])  # fmt: skip


def _refuse_unsuitable(session: Session) -> None:
    if session.server.version_num < 140000:
        raise ConnectError(f"the server is PostgreSQL {session.server.version}; 14 is the oldest that is supported")
    if session.server.in_recovery:
        raise ConnectError("the server is a standby (in recovery), which is read-only: connect to the primary. With several "
                           "hosts in the dsn, target_session_attrs=read-write finds it")  # fmt: skip
    host = session.server.host
    if not _dsn.is_local(host) and not session._connection.info.ssl_in_use and not session._dsn.private:
        raise ConnectError(
            f"the connection to {host} is not encrypted: add sslmode=require to the dsn or the service file"
        )


def _look_behind(session: Session, dsn: _dsn.Dsn, options: ConnectionOptions) -> None:
    """Behind a proxy: whether the backend is ours alone. Raises ConnectError where it must be and is not."""
    if not _shares_backends(session, dsn):
        session.own()
    elif options.pooler != "allow":
        raise ConnectError("there is a transaction pooler in front of the server, where locks and time limits do not hold: "
                           "connect to the server itself (or to a pool in session mode)")  # fmt: skip
    elif options.role:
        raise ConnectError("role cannot be used behind a transaction pooler: it would stay with the pool's connection")
    else:
        session.shared = True


def _shares_backends(session: Session, dsn: _dsn.Dsn) -> bool:
    """Whether two connections that are open at once are served by one backend: the proof of transaction pooling.

    The process id in the protocol's BackendKeyData differs from pg_backend_pid() behind every proxy; a proxy that gives
    each connection its own backend is harmless. A busy pool may give each of two statements another backend, which
    proves the same.
    """
    pid = "SELECT pg_catalog.pg_backend_pid() AS pid"
    seen = {session.server.backend_pid}
    try:
        with closing(_open(dsn, timeout=5)) as other:
            for _round in range(3):
                with other.cursor() as cursor:
                    cursor.execute(pid)
                    if cursor.fetchall()[0][0] in seen:
                        return True
                seen.add(session.row(pid)["pid"])
                if len(seen) > 1:
                    return True
    except psycopg2.Error:
        return False  # a pool with one place, taken by us, is in session mode
    return False


def _open(dsn: _dsn.Dsn, timeout: float) -> extensions.connection:
    keywords: dict[str, Any] = {
        "connect_timeout": max(2, round(timeout)),
        "client_encoding": "UTF8",
        "keepalives_idle": 60,
        "tcp_user_timeout": 120_000,
        **dsn.keywords,
    }
    with _environment_without("PGSERVICE" if dsn.host else ""):
        connection: extensions.connection = psycopg2.connect("", **keywords)
    connection.autocommit = True
    return connection


@contextmanager
def _environment_without(name: str) -> Iterator[None]:
    """Hide a variable from libpq: a PGSERVICE that is not defined fails even a connection that needs no service."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def _connect(dsn: _dsn.Dsn, deadline: float) -> extensions.connection:
    """Connect, waiting for a server that is still waking up until the deadline."""
    end = time.monotonic() + deadline
    for pause in _pauses():
        try:
            return _open(dsn, end - time.monotonic())
        except (psycopg2.Error, UnicodeError) as error:
            message = " ".join(dsn.scrub(str(error)).split())
        left = end - time.monotonic()
        if not _worth_waiting(message):
            raise ConnectError(f"cannot connect: {message}")
        if left < pause:
            raise ConnectError(f"cannot connect within {deadline:g} s (connect_deadline): {message}")
        time.sleep(pause)  # nothing tells when a server has woken up: it has to be asked again
    raise AssertionError("the pauses never end")


def _worth_waiting(message: str) -> bool:
    """Whether it may work in a moment. Names stand in quotes, and are not what the server says about its state."""
    words = re.sub(r'"[^"]*"', "", message).lower()
    return any(text in words for text in _WORTH_WAITING)


def _pauses() -> Iterator[float]:
    """Seconds to wait between attempts: doubling from 0.1 to 5, with jitter so that many clients do not come together."""
    pause = 0.1
    while True:
        yield pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret depends on it  # no secret depends on it
        pause = min(pause * 2, 5.0)
