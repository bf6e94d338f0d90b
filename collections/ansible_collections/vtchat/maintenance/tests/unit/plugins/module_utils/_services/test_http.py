# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client repeats, how long it waits, and what it never says or sends."""

from __future__ import annotations

import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import hide
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import http
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.http import (
    Client,
    HttpError,
    Network,
    Waiting,
)

TOKEN = "a-token-that-nobody-sees"
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
MIDNIGHT = 1767225600
IMPATIENT = Waiting(sleep=lambda _seconds: None)


class Reply:
    """What urllib hands out."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status = status
        self.headers = Message()
        for name, value in headers.items():
            self.headers[name.replace("_", "-")] = value
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.stream = io.BytesIO(raw)

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def getcode(self) -> int:
        return self.status

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(size)


class Service:
    """Plays what it was given, one after the other, and keeps what it was sent."""

    def __init__(self, *script: Reply | Exception) -> None:
        self.script = list(script)
        self.sent: list[dict[str, Any]] = []
        self.waits: list[float] = []
        self.now = 0.0

    def send(self, url: str, **options: Any) -> Reply:
        self.sent.append({"url": url, **options})
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if step.status >= 300:
            raise HTTPError(url, step.status, "", step.headers, step.stream)
        return step

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def client(self, url: str = "https://api.example.com/base/", **options: Any) -> Client:
        return Client(
            url,
            authorization=f"Bearer {TOKEN}",
            send=self.send,
            waiting=Waiting(lambda: self.now, self.sleep),
            **options,
        )


REFUSED = URLError(ConnectionRefusedError())
LOST = RemoteDisconnected("closed")
UNTRUSTED = ssl.SSLCertVerificationError()
UNTRUSTED.verify_message = "self-signed certificate"
TIMEOUT = URLError(socket.timeout())
DONE = (200, {"ok": True})


def done() -> Reply:
    return Reply(*DONE)


def test_what_is_sent() -> None:
    service = Service(done())
    answer = service.client().request("POST", http.join("a/b", "ü"), body={"x": "é"}, query={"page": 2})
    assert answer.body == {"ok": True}
    sent = service.sent[0]
    assert sent["url"] == "https://api.example.com/base/a%2Fb/%C3%BC?page=2"
    assert json.loads(sent["data"]) == {"x": "é"}
    assert sent["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert (sent["follow_redirects"], sent["use_netrc"], sent["use_proxy"]) == ("none", False, True)


def test_on_loopback_no_proxy_gets_the_token() -> None:
    service = Service(done())
    service.client("http://127.0.0.1:8080").request("GET", "/")
    assert service.sent[0]["use_proxy"] is False


@pytest.mark.parametrize(
    ("method", "repeat", "fault", "calls"),
    [
        ("GET", None, Reply(502), 2),
        ("GET", None, LOST, 2),
        ("PUT", None, TIMEOUT, 2),
        ("DELETE", None, Reply(503), 2),
        ("POST", None, Reply(502), 1),
        ("POST", None, LOST, 1),
        ("POST", None, REFUSED, 2),
        ("POST", True, LOST, 2),
        ("PATCH", None, TIMEOUT, 1),
        ("PATCH", True, Reply(500), 2),
        ("POST", None, Reply(429, None, Retry_After="1"), 2),
        ("GET", None, Reply(404), 1),
        ("GET", None, Reply(403), 1),
        ("GET", None, URLError(UNTRUSTED), 1),
    ],
)
def test_what_is_repeated(method: str, repeat: bool | None, fault: Any, calls: int) -> None:
    service = Service(fault, done())
    try:
        assert service.client().request(method, "/", repeat=repeat).attempts == 2
    except HttpError:
        assert calls == 1
    assert len(service.sent) == calls


@pytest.mark.parametrize(
    ("status", "headers", "body", "seconds"),
    [
        (429, {"Retry_After": "17"}, None, 17),
        (503, {"Retry_After": "17"}, None, 17),
        (403, {"Retry_After": "17"}, None, 17),
        (429, {"Retry_After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": DATE}, None, 30),
        (403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": str(MIDNIGHT + 40), "Date": DATE}, None, 41),
        (403, {}, {"message": "You have exceeded a secondary rate limit."}, 60),
        (429, {}, None, 60),
    ],
)
def test_the_service_says_how_long_to_wait(status: int, headers: dict[str, str], body: Any, seconds: float) -> None:
    service = Service(Reply(status, body, **headers), done())
    client = service.client()
    client.request("GET", "/")
    assert service.waits == [seconds]
    assert f"waited {seconds} s" in client.warnings[0]


def test_waiting_grows_and_ends_within_the_patience() -> None:
    service = Service(*[Reply(500) for _ in range(9)])
    with pytest.raises(HttpError):
        service.client().request("GET", "/")
    assert len(service.sent) == http.ATTEMPTS
    assert all(later > earlier for earlier, later in zip(service.waits, service.waits[1:]))

    service = Service(*[Reply(500) for _ in range(9)])
    with pytest.raises(HttpError):
        service.client(network=Network(patience=2)).request("GET", "/")
    assert sum(service.waits) <= 2

    service = Service(Reply(429, None, Retry_After="3600"), done())
    with pytest.raises(HttpError, match="come back in 3600 s") as caught:
        service.client().request("GET", "/")
    assert caught.value.limited
    assert service.waits == []


def test_a_write_without_an_answer_is_called_uncertain() -> None:
    for fault, uncertain in ((LOST, True), (Reply(502), True), (Reply(422), False)):
        with pytest.raises(HttpError) as caught:
            Service(fault).client().request("POST", "/")
        assert caught.value.uncertain is uncertain
        assert ("may have been carried out" in str(caught.value)) is uncertain


def test_a_redirect_is_an_error_and_not_followed() -> None:
    service = Service(Reply(302, None, Location="https://elsewhere.example.com/"), done())
    with pytest.raises(HttpError, match="moved"):
        service.client().request("GET", "/")
    assert len(service.sent) == 1


def test_a_page_of_html_is_told_even_with_200() -> None:
    with pytest.raises(HttpError, match="not JSON"):
        Service(Reply(200, b"<html>sign in</html>")).client().request("POST", "/")


def test_no_secret_is_in_a_message_even_where_it_is_cut() -> None:
    secret = "s3cret-" * 20
    for padding in range(0, 300, 7):
        body = {"message": "x" * padding + secret, "errors": [{"message": TOKEN}]}
        with pytest.raises(HttpError) as caught:
            Service(Reply(422, body)).client(hidden=hide([secret])).request("PUT", "/")
        assert "s3cret" not in str(caught.value) + caught.value.detail
        assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "ftp://example.com",
        "https://",
        "https://user@example.com",
        "https://example.com?x=1",
        "x",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(OptionError, match="api_url"):
        Service().client(url)


@pytest.mark.parametrize("token", ["", "two\nlines", "ümlaut", " "])
def test_tokens_that_are_refused(token: str) -> None:
    with pytest.raises(OptionError, match="token"):
        Client("https://api.example.com", authorization=f"Bearer {token}")


def test_the_trusted_roots_are_loaded_once_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str | None] = []

    def context(cafile: str | None) -> ssl.SSLContext:
        made.append(cafile)
        return ssl.create_default_context()

    monkeypatch.setattr(http, "make_context", context)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
    client = Client(url, authorization=f"Bearer {TOKEN}", waiting=IMPATIENT)
    for _ in range(2):
        with pytest.raises(HttpError, match="refused"):
            client.request("GET", "/")
    assert client.requests == 2 * http.ATTEMPTS
    assert made == [None]


def listening(answer: bytes) -> Iterator[int]:
    """A port on loopback that gives this answer to whatever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    with connection, suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


plain = contextmanager(listening)


def fault(url: str, **options: Any) -> str:
    with pytest.raises(HttpError) as caught:
        Client(url, authorization=f"Bearer {TOKEN}", waiting=IMPATIENT, **options).request("POST", "/")
    assert "OSError" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_answer_is_told_by_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with plain(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "does not speak TLS" in fault(f"https://127.0.0.1:{port}")
    with plain(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert "does not speak HTTP" in fault(f"http://127.0.0.1:{port}")
        assert "does not speak TLS" in fault(f"https://localhost:{port}")
    with plain(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot compressed") as port:
        assert "connection was lost" in fault(f"http://127.0.0.1:{port}")
    with plain(b"HTTP/1.1 429 Slow\r\nRetry-After: \xb2\r\nContent-Length: \xb2\r\n\r\n") as port:
        assert "429" in fault(f"http://127.0.0.1:{port}", network=Network(patience=0))
    assert "name of the host is not known" in fault("https://no-such-host.invalid")
    assert "is none" in fault(f"https://{'a' * 64}.example.com")


def test_a_proxy_is_told_apart_from_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for status, said in (
        (407, "the proxy asks for authentication"),
        (403, "does not let the connection through (403)"),
    ):
        with plain(b"HTTP/1.1 %d No\r\n\r\n" % status) as port:
            monkeypatch.setenv("https_proxy", f"http://user:PASSzq7@127.0.0.1:{port}")
            message = fault("https://service.example.com")
        assert said in message
        assert "https_proxy" in message
        assert "zq7" not in message
    monkeypatch.setenv("https_proxy", "http://")
    assert "proxy" in fault("https://service.example.com")


def test_a_file_of_certificates_is_looked_at_before_anything_is_sent(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path, said in ((tmp_path / "missing.pem", "No such file"), (tmp_path, "ca_path"), (empty, "no certificate")):
        with pytest.raises(OptionError, match="ca_path") as caught:
            Client("https://example.com", network=Network(str(path)))
        assert said in str(caught.value)


@pytest.mark.parametrize("part", [".", "..", ""])
def test_a_path_does_not_climb(part: str) -> None:
    with pytest.raises(MaintenanceError):
        http.join("orgs", part, "secrets")


def test_what_a_service_says_cannot_speak_to_a_terminal() -> None:
    with pytest.raises(HttpError) as caught:
        Service(Reply(422, {"message": "\x1b[2J\r\n::error::x"})).client().request("PUT", "/")
    assert str(caught.value).isprintable()
