# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""One connection in autocommit: what is ours runs under our own search_path, what is the user's under the one they had."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Protocol, Union

from .._errors import Contended, MaintenanceError, SqlError
from . import dsn as _dsn
from .capabilities import TRANSACTION_TIMEOUT
from .driver import extensions, last_words, psycopg2, sql
from .server import AS_THEY_ARE, ENTER, ENTER_17, FACTS, OURS, ROLE, SET_ASIDE, Server
from .sqlstates import CONTENDED

Query = Union[str, "sql.Composable"]
Params = Union[Mapping[str, Any], Sequence[Any], None]


FIGURES = "INFO:"  # what a statement was asked to tell (VERBOSE), where the server speaks English
WORDLESS = "no message from the libpq"  # of psycopg2, where a connection ends in the middle of a COPY
# Only where it was changed: to set it takes the rights of a superuser, who may have lent them to a trigger.
ORIGIN = """SELECT CASE WHEN pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) {0}
THEN pg_catalog.set_config('session_replication_role', {0}, false) END;
"""
MOST_HEARD = 5  # warnings of one action: a trigger may have one for each row
READ_LOCK_TIMEOUT = 1.0  # seconds: a catalog read that waits longer sits behind an ACCESS EXCLUSIVE lock


# Errors whose detail is a whole row, in whatever language: NOT NULL, CHECK and the check option of a view.
_OF_ROW = ("23502", "23514", "44000")
# "Key (a, b)=(1, 2) already exists."
_OF_KEY = re.compile(r"(\) ?= ?\()(.{8}).{5,}\)", re.DOTALL)


class Writes(Protocol):
    """What rows can be written into. An exception in it would leave the connection in the middle of COPY."""

    def write(self, data: bytes) -> int:
        """Take some of them."""


class Session:
    """A connection in autocommit: no transaction stays open while nobody looks.

    Statements run under the search_path ``pg_catalog, pg_temp``, so that an unqualified name, function or operator can only
    mean one of the server's own. What belongs to the user, such as a predicate or what a trigger does, runs under the path
    that the database and the role are set to, where that is asked for with ``users_path``: such a statement must qualify
    everything of ours, operators included.
    """

    def __init__(self, connection: extensions.connection, dsn: _dsn.Dsn) -> None:
        self._connection = connection
        self._dsn = dsn
        self._settings: dict[str, str] = {}
        self._kept: dict[str, str] = {}  # what read_facts() has set
        self._foreign = False  # code of others has run since, which may have changed settings of the session
        self._watched = False
        self.round_trips = 0
        self.retries = 0  # attempts after the first ones: to connect, and at what has waited for a lock in vain
        self._heard: list[str] = []
        self._ahead: tuple[tuple[object, ...], bytes] = ((), b"")  # what _before() has made last, and of what
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
        enter = ENTER_17 if self._connection.info.server_version >= TRANSACTION_TIMEOUT.since else ENTER
        started = {"backend_start": self._only(enter + ROLE, own)["backend_start"]} if role else {}
        settings = {
            **SET_ASIDE,
            **self._settings,
            "application_name": application[:63],
            "default_transaction_read_only": "on" if read_only else "off",
        }
        row = self._only(enter + FACTS, {**own, "settings": json.dumps(settings), "as_they_are": AS_THEY_ARE})
        self.server = Server.from_row({**row, **started}, host=self._connection.info.host or "")
        # The driver relies on the last two, and has set the first of them.
        encoding = {"DateStyle": "ISO", "client_encoding": self._connection.encoding}
        self._kept = {**row["as_they_are"], **self._known(settings), **encoding}
        self._ahead = ((), b"")
        return self.server

    def rows(
        self, query: Query, params: Params = None, users_path: bool = False, alone: bool = False
    ) -> list[dict[str, Any]]:
        """All rows as dictionaries, those of the last statement if there are several. Raises Contended or SqlError.

        users_path: in a transaction of its own, under the search_path that the user has. alone: see execute().
        """
        return _dictionaries(self._send(query, params, users_path, alone))

    def row(self, query: Query, params: Params = None, users_path: bool = False, alone: bool = False) -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows(query, params, users_path, alone)
        return row

    def execute(self, query: Query, params: Params = None, users_path: bool = False, alone: bool = False) -> int:
        """Run a statement that returns nothing; the number of rows it affected (-1 where that means nothing).

        alone: it cannot share a message with another (VACUUM, CONCURRENTLY, BEGIN, COMMIT, ROLLBACK); behind a pooler that
        was allowed it must not depend on the search_path then.
        """
        with closing(self._send(query, params, users_path, alone)) as cursor:
            return cursor.rowcount

    def begin(self, query: Query = "SELECT", users_path: bool = False) -> list[dict[str, Any]]:
        """Begin a transaction; the rows of a first statement in it, in the same round trip. Raises Contended or SqlError.

        It ends with commit() or leave_transaction().
        """
        message = b"BEGIN;\n" + self._before(users_path) + self._mogrified(query, None)
        self._foreign = self._foreign or users_path
        return _dictionaries(self._run(message))

    def copy(self, query: Query, file: Writes, users_path: bool = False) -> int:
        """Write what ``COPY ... TO STDOUT`` sends into a file, and return the number of rows. Raises Contended or SqlError."""
        message = self._before(users_path) + self._mogrified(query, None)
        self._foreign = self._foreign or users_path
        with closing(self._run(message, into=file)) as cursor:
            return cursor.rowcount

    def commit(self) -> None:
        """COMMIT. Raises Contended or SqlError; where ``alive`` is false then, nobody knows yet whether it was done."""
        with closing(self._run("COMMIT")) as cursor:
            if cursor.statusmessage != "COMMIT":
                raise SqlError("the transaction had failed before it was committed, and was rolled back")

    @contextmanager
    def users_path(self) -> Iterator[None]:
        """For statements that cannot share a message: all in this block runs under the search_path that the user has."""
        if (
            self.shared
        ):  # it would stay with the pool's connection, and is what statements that go alone have there anyway
            yield
            return
        self._set_again()
        self._set_path(self.server.path)
        try:
            yield
        finally:
            self._foreign = True  # event triggers may have run
            self._take_back_path()

    def set(self, statement_timeout: float | None = None, lock_timeout: float | None = None) -> None:
        """Change the limits of this session, in seconds; costs a round trip only when something changes."""
        wanted = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
        changes = {name: _milliseconds(value) for name, value in wanted.items() if value is not None}
        changes = {name: value for name, value in changes.items() if self._settings.get(name) != value}
        if changes:
            if not self.shared:
                self.execute(_set_config(changes, "false"))
            self._settings.update(changes)

    def rows_and_set(self, query: Query, statement_timeout: float) -> list[dict[str, Any]]:
        """All rows; and another limit for what comes after it, in the same round trip. Raises Contended or SqlError."""
        wanted = {"statement_timeout": _milliseconds(statement_timeout)}
        if self.shared or self._settings["statement_timeout"] == wanted["statement_timeout"]:
            return self.rows(query)
        found = self.rows(sql.Composed([_set_config(wanted, "false"), sql.SQL(self.text(query))]))
        self._settings.update(wanted)
        return found

    def as_left(self, names: Sequence[str]) -> dict[str, str]:
        """Settings as the last statement has left them, before the next one of ours sets them back."""
        calls = [
            sql.SQL("pg_catalog.current_setting({}) AS {}").format(sql.Literal(name), sql.Identifier(name))
            for name in names
        ]
        return self._only(sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)), None)

    def end_with_client(self) -> None:
        """Have the server give up a statement soon after this process died, where its platform can tell that it did."""
        if not self._watched and not self.shared:
            self._watched = True
            with suppress(SqlError):  # fixed at 0 on some platforms and at some providers
                self.execute("SET client_connection_check_interval = '5s'")

    def leave_transaction(self) -> None:
        """Roll back what somebody has left open."""
        if self.alive and self._connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
            self._run("ROLLBACK").close()

    def cancel(self) -> None:
        """Have the server cancel the statement that runs now. For another thread; does nothing when none runs."""
        with suppress(psycopg2.Error):
            self._connection.cancel()

    @property
    def notices(self) -> list[str]:
        """What the server said during the last statement, such as ``WARNING:  no privileges were granted for "t"``."""
        return [self.scrub(text.strip()) for text in self._connection.notices]

    def listen(self) -> list[str]:
        """A list that fills with what the server warns of from now on, such as a statement that it did only in part."""
        self._heard = []
        return self._heard

    def text(self, query: Query) -> str:
        """A query as text, for people."""
        return query if isinstance(query, str) else query.as_string(self._connection)

    def scrub(self, text: str) -> str:
        """A text without the secrets of this connection."""
        return self._dsn.scrub(text)

    @property
    def alive(self) -> bool:
        return not self._connection.closed

    @property
    def private(self) -> bool:
        """Whether the user has said that the server is in a network of their own (tls: private)."""
        return self._dsn.private

    @property
    def encrypted(self) -> bool:
        return bool(self._connection.info.ssl_in_use)

    def close(self) -> None:
        self._connection.close()

    def behind_proxy(self) -> bool:
        """Whether something between us and the server answers with a backend of its own choice."""
        return self.server.backend_pid != self._own_pid

    @property
    def inherited(self) -> bool:
        """Whether the backend may have served somebody else before us: a proxy handed it over."""
        return bool(self._connection.info.backend_pid != self.server.backend_pid)

    def own(self) -> None:
        """Take it as proved that the proxy keeps its backend for this connection."""
        self._own_pid = self.server.backend_pid

    def _send(self, query: Query, params: Params, users_path: bool, alone: bool) -> extensions.cursor:
        """Run a statement. Where it is not our own path that is set, it is set for this message alone."""
        if alone:
            self._set_again()
            return self._run(self._mogrified(query, params))
        message = self._before(users_path) + self._mogrified(query, params)
        self._foreign = self._foreign or users_path
        cursor = self._run(message)
        self._foreign = users_path
        return cursor

    def _before(self, users_path: bool) -> bytes:
        """What sets settings in the same message: those that code of others may have changed, and the path for it alone."""
        needed = (self._foreign, self.shared, users_path, *self._settings.values())
        if needed != self._ahead[0]:  # a batch of rows is often shorter than to write this
            self._ahead = (needed, self._settings_ahead(users_path))
        return self._ahead[1]

    def _settings_ahead(self, users_path: bool) -> bytes:
        before = b""
        if self._foreign and not self.shared:
            origin = sql.SQL(ORIGIN).format(sql.Literal(self.server.replication_role))
            before = self._mogrified(_set_config({**self._kept, **self._settings}, "false") + origin, None)
        if users_path or self.shared:
            # A statement's own limit of time counts from the beginning of the message, and cannot be set in it.
            limits = {"lock_timeout": self._settings["lock_timeout"]}
            settings = {**self._known(SET_ASIDE), **limits} if self.shared else {}
            path = {"search_path": self.server.path if users_path else OURS}
            before += self._mogrified(_set_config({**settings, **path}, "true"), None)
        return before

    def _set_again(self) -> None:
        """The same before a statement that cannot share a message. What has failed can only be rolled back."""
        failed = self._connection.info.transaction_status == extensions.TRANSACTION_STATUS_INERROR
        if self._foreign and not self.shared and not failed:
            self.execute("SELECT")

    def _known(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Those that this version has."""
        old = not self.server.has(TRANSACTION_TIMEOUT)
        return {name: value for name, value in settings.items() if not (old and name == "transaction_timeout")}

    def _mogrified(self, query: Query, params: Params) -> bytes:
        with closing(self._connection.cursor()) as cursor:
            return bytes(cursor.mogrify(query, params))

    def _take_back_path(self) -> None:
        """Nothing of ours may run under another path: without ours there is no connection any more."""
        if self.alive:
            try:
                self._set_path(OURS)
            except BaseException:
                self.close()
                raise

    def _set_path(self, path: str) -> None:
        self._run(sql.SQL("SELECT pg_catalog.set_config('search_path', {}, false)").format(sql.Literal(path))).close()

    def _only(self, query: Query, params: Params) -> dict[str, Any]:
        (row,) = _dictionaries(self._run(query, params))
        return row

    def _run(self, query: Query | bytes, params: Params = None, into: Writes | None = None) -> extensions.cursor:
        self.round_trips += 1
        del self._connection.notices[:]
        try:
            cursor = self._connection.cursor()
            if into is None:
                cursor.execute(query, params)
            else:
                cursor.copy_expert(query, into)
        except psycopg2.Error as error:
            raise self._translate(error) from None
        finally:
            warnings = [text for text in self.notices if not text.startswith(FIGURES)]
            self._heard += warnings[: MOST_HEARD - len(self._heard)]
        return cursor

    def _translate(self, error: psycopg2.Error) -> MaintenanceError:
        primary = error.diag.message_primary or " ".join(str(error).split())
        if not error.diag.message_primary and WORDLESS in primary:
            primary = "the server closed the connection without a word"
        detail = _discreet(error.diag.message_detail or "", error.pgcode or "")
        details = [text for text in (detail, error.diag.message_hint) if text]
        if not self.alive and not error.diag.message_primary:
            words = last_words(self._connection)
            primary = f"{words}; {primary}" if words else primary
        message = self.scrub(". ".join([primary, *details]))
        if error.pgcode in CONTENDED:
            return Contended(message, error.diag.context or "", error.pgcode)
        position = int(error.diag.internal_position or error.diag.statement_position or 0)
        return SqlError(
            message, error.pgcode or "", position, error.diag.internal_query or "", error.diag.context or ""
        )


def _dictionaries(cursor: extensions.cursor) -> list[dict[str, Any]]:
    """The rows of a statement that was run."""
    with closing(cursor):
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def _discreet(detail: str, sqlstate: str) -> str:
    """The detail of an error without what stands in a row, which may be somebody's session; of a key its beginning."""
    if sqlstate in _OF_ROW:
        return ""
    return _OF_KEY.sub(lambda found: found[1] + found[2] + "...)", detail)


def _set_config(settings: Mapping[str, str], local: str) -> sql.Composed:
    """A statement that sets them, for its transaction or for the session; nothing in it is looked up in the path."""
    calls = [
        sql.SQL("pg_catalog.set_config({}, {}, {})").format(sql.Literal(name), sql.Literal(value), sql.SQL(local))
        for name, value in settings.items()
    ]
    return sql.SQL("SELECT {};\n").format(sql.SQL(", ").join(calls))


def _milliseconds(seconds: float) -> str:
    """A limit as the server wants it; never 0, which would mean no limit, unless there is none."""
    return "0" if seconds == float("inf") else str(min(max(1, round(seconds * 1000)), 2**31 - 1))
