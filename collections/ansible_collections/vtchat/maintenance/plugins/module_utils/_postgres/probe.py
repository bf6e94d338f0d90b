# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Asking a server by its protocol why it takes no connections now.

The driver gives no SQLSTATE of a connection that failed, only a text, which is in the language of the server. Before it asks who
is there, a server that starts up, shuts down or is full says so to everybody, with the code. Nothing of the user's is sent.

Source: PostgreSQL documentation, "Message Flow" and "Message Formats".
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from contextlib import closing

CANNOT_CONNECT_NOW, TOO_MANY_CONNECTIONS = "57P03", "53300"
PROTOCOL, SSL_REQUEST = 196608, 80877103
LONGEST = 2.0  # seconds for one server


def passing(keywords: Mapping[str, str], seconds: float) -> bool:
    """Whether one of the servers of a connection string says that it takes no connections for now."""
    hosts = (keywords.get("hostaddr") or keywords.get("host") or "").split(",")
    ports = (keywords.get("port") or "5432").split(",")
    encrypted = keywords.get("sslmode", "prefer") not in ("disable", "allow")
    for number, host in enumerate(hosts):
        port = ports[number] if len(ports) == len(hosts) else ports[0]
        if host and port.isdigit() and _refusal(host, int(port), encrypted, min(seconds, LONGEST)):
            return True
    return False


def _refusal(host: str, port: int, encrypted: bool, seconds: float) -> bool:
    try:
        with closing(_connected(host, port, seconds)) as plain:
            connection = _encrypted(plain) if encrypted and not host.startswith("/") else plain
            body = struct.pack("!i", PROTOCOL) + b"user\0vtchat.maintenance\0\0"
            connection.sendall(struct.pack("!i", len(body) + 4) + body)
            return sqlstate(connection.recv(4096)) in (CANNOT_CONNECT_NOW, TOO_MANY_CONNECTIONS)
    except (OSError, ValueError):
        return False


def sqlstate(answer: bytes) -> str:
    """The code in an ErrorResponse, "" in any other answer."""
    fields = answer[5:].split(b"\0") if answer[:1] == b"E" else []
    return next((field[1:].decode("ascii", "replace") for field in fields if field[:1] == b"C"), "")


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=seconds)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    connection.connect(f"{host}/.s.PGSQL.{port}")
    return connection


def _encrypted(plain: socket.socket) -> socket.socket:
    """The connection with TLS, if the server offers it. Who answers does not matter: it is only asked whether it is busy."""
    import ssl

    plain.sendall(struct.pack("!ii", 8, SSL_REQUEST))
    if plain.recv(1) != b"S":
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)
