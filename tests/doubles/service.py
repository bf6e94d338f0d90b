# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the small servers of the tests have in common: a thread on loopback, a record of requests, and faults to order."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Kinds of faults. BEFORE: the request is not carried out. AFTER: it is, and the client is not told.
STATUS = "status"  # BEFORE: answer with a status
CUT = "cut"  # BEFORE: close the connection without a word
CUT_AFTER = "cut after"  # AFTER
SILENCE = "silence"  # BEFORE: say nothing until the client goes away
SILENCE_AFTER = "silence after"  # AFTER
TRICKLE = "trickle"  # BEFORE: begin an answer, and never get to the end of it


@dataclass(frozen=True)
class Request:
    """What a client sent; header names in lower case. ``body`` is read as JSON, None when there was none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: Any = None


@dataclass(frozen=True)
class Reply:
    """What the client gets. A str or bytes body goes as it is, anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match."""

    kind: str
    reply: Reply
    method: str
    path: str
    times: int


class Service:
    """A server. Subclasses answer in ``handle``; what a client must never do goes through ``violation``."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        # Seconds that a client of these tests paused for; none of them is waited for.
        self.pauses: list[float] = []
        self.violations: list[str] = []
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.service = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop, and fail the test if a client did what it must not."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        assert not self.violations, self.violations

    def fail(
        self,
        status: int = 0,
        body: Any = None,
        *,
        kind: str = "",
        method: str = "",
        path: str = "",
        times: int = 1,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Order a fault. ``path``: the end of the path that is to fail; "" for all."""
        self._faults.append(Fault(kind or STATUS, Reply(status, body, headers or {}), method, path, times))

    def handle(self, request: Request) -> Reply:
        """The answer to a request. Called by one thread at a time."""
        raise NotImplementedError

    def decorate(self, request: Request, reply: Reply) -> Reply:
        """The answer as it leaves; faults come through here too."""
        return reply

    def violation(self, text: str, status: int = 400) -> Reply:
        """The client did what it must not: the test fails at the end, whatever the client makes of the answer."""
        self.violations.append(text)
        return Reply(status, {"error": text})

    def seen(self, method: str = "", path: str = "") -> list[Request]:
        """The requests with this method whose path ends like this."""
        return [one for one in self.requests if one.method == (method or one.method) and one.path.endswith(path)]

    def _fault(self, request: Request) -> Fault | None:
        for fault in self._faults:
            same = request.method == (fault.method or request.method) and request.path.endswith(fault.path)
            if fault.times > 0 and same:
                fault.times -= 1
                return fault
        return None

    def _answer(self, request: Request) -> Reply | None:
        """What to send; None to close the connection without a word."""
        with self._lock:
            self.requests.append(request)
            fault = self._fault(request)
            carried_out = fault is None or fault.kind in (CUT_AFTER, SILENCE_AFTER)
            reply = self.decorate(request, self.handle(request) if carried_out or fault is None else fault.reply)
        if fault is not None and fault.kind in (SILENCE, SILENCE_AFTER):
            self._closing.wait(60)
        if fault is not None and fault.kind == TRICKLE:
            return Reply(200, TRICKLE)
        return None if fault is not None and fault.kind != STATUS else reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: Service

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests; a broken double is not."""
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.service.violations.append(f"the double itself failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        reply = self.server.service._answer(Request(self.command, parts.path, query, headers, raw, body))
        if reply is not None and reply.body == TRICKLE:
            self._trickle()
        elif reply is not None:
            self._send(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815 - names of the base class

    def _trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.service._closing.wait(0.05):
            self.wfile.write(b" ")

    def _send(self, reply: Reply) -> None:
        content = reply.body
        if isinstance(content, str):
            content = content.encode("utf-8")
        elif not isinstance(content, bytes):
            content = b"" if content is None else json.dumps(content).encode("utf-8")
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
