# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy in front of a PostgreSQL server that counts the turns of the wire."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import Any

# Codes in the place of the protocol's version (PostgreSQL documentation, "Message Formats").
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
READY, QUERY, TERMINATE = b"Z", b"Q", b"X"


class Wire:
    """What clients of one proxy have sent.

    turns  the first message of each turn, in order: the text of a simple query, else the type of the message. A turn
           begins when a client that has been told ReadyForQuery sends something; start-up, authentication and
           Terminate are none
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.turns: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def dsn(self, database: str, user: str) -> str:
        """Keyword connection string through the proxy, as a user who needs no password on the server's socket."""
        return f"host=127.0.0.1 hostaddr='' port={self.port} user='{user}' dbname='{database}'"

    def close(self) -> None:
        """Accept no more; open connections end with their client."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would leave accept() waiting
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=_Connection(self, client).serve, daemon=True).start()


class _Connection:
    """One client and its connection to the server. What a reader sees is noted before it is passed on."""

    def __init__(self, wire: Wire, client: socket.socket) -> None:
        self.wire, self.client = wire, client
        self.server = socket.socket(socket.AF_UNIX)
        self.ready = False

    def serve(self) -> None:
        with closing(self.client), closing(self.server), suppress(OSError, EOFError):
            self.server.connect(self.wire.server)
            self.server.sendall(self._startup())
            back = Thread(target=self._pump, args=(self.server, self.client, self._from_server), daemon=True)
            back.start()
            self._pump(self.client, self.server, self._from_client)
            back.join()

    def _startup(self) -> bytes:
        """The start-up message. Encryption is declined: the proxy has to read along."""
        while True:
            header = _exactly(self.client, 8)
            length, code = struct.unpack("!ii", header)
            if code not in (SSL_REQUEST, GSS_REQUEST):
                return header + _exactly(self.client, length - 8)
            self.client.sendall(b"N")

    def _pump(self, source: socket.socket, target: socket.socket, note: Callable[[bytes, bytes], None]) -> None:
        """Pass messages on until one side closes, then close that direction."""
        with suppress(OSError, EOFError):
            while True:
                header = _exactly(source, 5)
                body = _exactly(source, struct.unpack("!i", header[1:])[0] - 4)
                note(header[:1], body)
                target.sendall(header + body)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _from_server(self, kind: bytes, body: bytes) -> None:
        if kind == READY:
            self.ready = True

    def _from_client(self, kind: bytes, body: bytes) -> None:
        if self.ready and kind != TERMINATE:
            self.wire.turns.append(body.rstrip(b"\0").decode("utf-8", "replace") if kind == QUERY else kind.decode())
        self.ready = False


def _exactly(source: socket.socket, length: int) -> bytes:
    """That many bytes. Raises EOFError when the other side closes first."""
    parts = []
    while length:
        part = source.recv(length)
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


@contextmanager
def counted(server: Any) -> Iterator[Wire]:
    """A proxy in front of a server of tests.servers."""
    postmaster = server.postmaster
    wire = Wire(f"{postmaster.socket_directory}/.s.PGSQL.{postmaster.port}")
    try:
        yield wire
    finally:
        wire.close()
