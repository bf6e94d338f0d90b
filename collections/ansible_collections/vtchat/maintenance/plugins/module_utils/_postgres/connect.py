# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Opening a session: within a deadline, and refused where maintenance must not run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from .._errors import ConnectError, OptionError, SqlError
from .._jitter import jittered
from . import dsn as _dsn
from . import probe
from .capabilities import OLDEST
from .driver import extensions, psycopg2
from .names import MAX_NAME_BYTES, quote
from .server import Server
from .session import Session

# Waiting helps against these only; a wrong password must not be tried again (accounts get locked). Texts of libpq and
# of the server, which gives no code to a driver before a session exists. In another language, the server is asked (_probe).
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
    "too many connections for",
    "remaining connection slots",
    "endpoint is disabled",
    "could not connect to compute",
    "control plane request failed",
)


@dataclass(frozen=True)
class ConnectionOptions:
    """The connection options that all database modules share, read.

    dsn               where to go; without the driver, nowhere
    connect_deadline  seconds for all attempts together
    pooler            refuse | direct | allow
    """

    dsn: _dsn.Dsn = field(default=_dsn.NOWHERE, repr=False)
    connect_deadline: float = 30.0
    role: str = ""
    pooler: str = "refuse"

    @classmethod
    def read(
        cls, dsn: str, tls: str = "require", connect_deadline: float = 30.0, role: str = "", pooler: str = "refuse"
    ) -> ConnectionOptions:
        """From what the user wrote. Raises OptionError with everything that can be seen to be wrong without connecting."""
        faults = []
        if len(role.encode()) > MAX_NAME_BYTES:
            faults.append(f"role: {role!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
        parsed = _dsn.NOWHERE
        try:
            parsed = _choose_host(_dsn.parse(dsn, tls), pooler)
        except OptionError as error:
            faults += error.errors
        if connect_deadline < 0:
            faults.append("connect_deadline: must not be negative")
        if faults:
            raise OptionError(faults)
        return cls(parsed, connect_deadline, role, pooler)


def open_session(
    options: ConnectionOptions,
    application: str,
    statement_timeout: float = float("inf"),
    read_only: bool = False,
    writes: bool = True,
    standby: bool = False,
) -> Session:
    """Connect, read the facts, and refuse a standby or a transaction pooler. Raises ConnectError.

    read_only: this session must not write. writes: what it prepares or does is writing; False where it only looks.
    standby: a server in recovery will do, as nothing is written.
    """
    dsn = options.dsn
    connection, retries = _connect(dsn, options.connect_deadline)
    session = Session(connection, dsn)
    session.retries = retries
    try:
        session.read_facts(application, statement_timeout, read_only, options.role)
        _refuse_unsuitable(session, dsn, writes, standby)
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


def _refuse_unsuitable(session: Session, dsn: _dsn.Dsn, writes: bool, standby: bool) -> None:
    if session.server.version_num < OLDEST:
        raise ConnectError(f"the server is PostgreSQL {session.server.version}; 14 is the oldest that is supported")
    if session.server.in_recovery and not standby:
        raise ConnectError("the server is a standby (in recovery), which is read-only: connect to the primary. With several "
                           "hosts in the dsn, target_session_attrs=read-write finds it")  # fmt: skip
    if writes:
        _refuse_settings(session.server)
    host = session.server.host
    if not _dsn.is_local(host) and not session.encrypted and not dsn.private:
        raise ConnectError(
            f"the connection to {host} is not encrypted: add sslmode=require to the dsn or the service file"
        )


def _refuse_settings(server: Server) -> None:
    """Settings of the database or role that say that this must not be done, or would make it wrong."""
    user, database = quote(server.user), quote(server.database)
    if server.read_only:
        raise ConnectError(
            f"database {database} or role {user} is set to read-only transactions (default_transaction_read_only), so nothing "
            f"is written: ALTER DATABASE {database} RESET default_transaction_read_only, or the same with ALTER ROLE {user}"
        )
    if server.replication_role != "origin":
        raise ConnectError(
            f"session_replication_role is {server.replication_role} here, so foreign keys and triggers would be passed by: "
            f"ALTER ROLE {user} RESET session_replication_role, or connect as a role without it"
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


def _connect(dsn: _dsn.Dsn, deadline: float) -> tuple[extensions.connection, int]:
    """Connect, waiting for a server that is still waking up until the deadline; and how many attempts had failed before."""
    end = time.monotonic() + deadline
    for failed, pause in enumerate(_pauses()):
        try:
            return _open(dsn, end - time.monotonic()), failed
        except (psycopg2.Error, UnicodeError) as error:
            message = " ".join(dsn.scrub(str(error)).split())
        left = end - time.monotonic()
        if not _worth_waiting(message) and not probe.passing(dsn.keywords, left):
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
        yield jittered(pause)
        pause = min(pause * 2, 5.0)
