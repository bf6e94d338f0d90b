# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's protocol by hand, for what no driver lets one do: messages without their Sync, and a Sync without messages."""

from __future__ import annotations

import socket
import struct
from typing import Any

PROTOCOL = 196608  # 3.0
SYNC, FLUSH, EXECUTE_ALL = b"S", b"H", b"\0\0\0\0\0"


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message of the frontend (PostgreSQL documentation, "Message Formats")."""
    return kind + struct.pack("!i", len(body) + 4) + body


class RawClient:
    """One session through a server's socket, as a user who needs no password."""

    def __init__(self, server: Any, database: str, user: str = "postgres", replication: bool = False) -> None:
        postmaster = server.postmaster
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(f"{postmaster.socket_directory}/.s.PGSQL.{postmaster.port}")
        more = "replication\0true\0" if replication else ""
        words = f"user\0{user}\0database\0{database}\0{more}\0".encode()
        self._socket.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL) + words)
        started = self.until(b"Z")
        self.pid: int = next(struct.unpack("!i", body[:4])[0] for kind, body in started if kind == b"K")

    def send(self, *messages: bytes) -> None:
        """Send these messages at once."""
        self._socket.sendall(b"".join(messages))

    def until(self, *kinds: bytes) -> list[tuple[bytes, bytes]]:
        """Messages of the server up to the first of one of these kinds."""
        found: list[tuple[bytes, bytes]] = []
        while not found or found[-1][0] not in kinds:
            kind, length = struct.unpack("!ci", self._exactly(5))
            found.append((kind, self._exactly(length - 4)))
        return found

    def query(self, text: str) -> list[tuple[bytes, bytes]]:
        """A simple query, to its end. Raises AssertionError when the server says that it failed."""
        self.send(message(b"Q", text.encode() + b"\0"))
        return self._good(self.until(b"Z"))

    def extended(self, *texts: str, end: bytes = SYNC) -> None:
        """Statements by Parse, Bind and Execute in one pipeline, with a Sync or a Flush (or nothing) after the last."""
        parts = []
        for text in texts:
            parts.append(message(b"P", b"\0" + text.encode() + b"\0\0\0"))
            parts += [message(b"B", b"\0\0\0\0\0\0\0\0"), message(b"E", EXECUTE_ALL)]
        self.send(*parts, message(end) if end else b"")
        if end == SYNC:
            self._good(self.until(b"Z"))
        elif end == FLUSH:
            for _text in texts:
                self._good(self.until(b"C", b"E", b"I"))

    def parse(self, text: str) -> None:
        """Only parse a statement, then Sync."""
        self.send(message(b"P", b"\0" + text.encode() + b"\0\0\0"), message(SYNC))
        self._good(self.until(b"Z"))

    def fail(self) -> None:
        """A statement that fails, and no Sync after it: the session waits for one, outside any transaction."""
        self.send(message(b"P", b"\0SELECT nothing_of_this_name\0\0\0"), message(FLUSH))
        self.until(b"E")

    def stand_by(self, start: str, xmin: int, slot: str = "") -> None:
        """As a standby with hot_standby_feedback: stream from there on, and need transactions from ``xmin`` on."""
        slot = f"SLOT {slot} " if slot else ""
        self.send(message(b"Q", f"START_REPLICATION {slot}PHYSICAL {start}\0".encode()))
        self._good(self.until(b"W", b"E"))
        self.send(message(b"d", b"h" + struct.pack("!qIIII", 0, xmin, 0, 0, 0)))

    def sync(self) -> None:
        """A Sync without a statement: the session becomes idle anew."""
        self.send(message(SYNC))
        self.until(b"Z")

    def close(self) -> None:
        self._socket.close()

    def _good(self, found: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        errors = [body for kind, body in found if kind == b"E"]
        assert not errors, errors
        return found

    def _exactly(self, length: int) -> bytes:
        parts = b""
        while len(parts) < length:
            part = self._socket.recv(length - len(parts))
            assert part, "the server has closed the connection"
            parts += part
        return parts
