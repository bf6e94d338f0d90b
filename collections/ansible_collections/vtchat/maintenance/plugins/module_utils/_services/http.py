# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A small client for JSON over HTTPS, with a token that goes to one place only and is never shown.

    client = Client("https://api.example.com", authorization="Bearer " + token, hidden=hide([token]))
    answer = client.request("GET", join("v1", "apps", app, "secrets"), query={"page": 2})
    answer.status, answer.headers["x-request-id"], answer.body

- Any answer that is not 2xx and not in ``expect`` is an HttpError, and so is silence. Its message is fit for people and free of
  every spelling of what is ``hidden``.
- GET, HEAD, PUT and DELETE are repeated after lost connections and 5xx; POST and PATCH only if the caller says
  ``repeat=True``, which means: doing it twice does no harm. A refusal because of a rate limit did nothing, and a connection
  that was never made sent nothing: both are repeated with every method.
- Waiting follows Retry-After, then X-RateLimit-Reset (by the server's own clock), then doubling steps with jitter. A wait that
  would pass ``patience`` (seconds for one request with all its repetitions) is not begun: the error says when to come back.
- Redirects are not followed, .netrc is not read, plain HTTP is for loopback only, and then no proxy is used.
"""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from ansible.module_utils.urls import Request, make_context

from .._clean import clean
from .._errors import MaintenanceError, OptionError
from .._hosts import is_loopback
from .._masking import NOTHING, Hidden, hide
from .http_answers import Answer, Attempt, parsed
from .http_faults import BROKEN, check_roots, explained

REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
ATTEMPTS = 5
LONGEST_WORDS = 300
LARGEST_ANSWER = 8 * 1024 * 1024


@dataclass(frozen=True)
class Waiting:
    """How time passes: ``clock`` in seconds from any point, and how to ``sleep`` for so many."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


REAL_TIME = Waiting()


@dataclass(frozen=True)
class Network:
    """How a service is reached.

    ca_path   file of certificates to trust; empty: those of the system
    timeout   seconds of silence that end an attempt
    patience  seconds for one request with all its repetitions
    deadline  seconds from now at which everything ends, in the middle of an attempt too; None: never
    """

    ca_path: str = ""
    timeout: float = 30
    patience: float = 120
    deadline: float | None = None


PLAIN = Network()


class HttpError(MaintenanceError):
    """A request that failed.

    status     of the answer; 0 when there was none
    headers    of the answer, names in lower case
    body       of the answer, read as JSON; None when it was not JSON
    detail     the service's own words, without our frame around them
    limited    whether it was refused because of a rate limit
    uncertain  whether a write may have been carried out all the same
    """

    def __init__(self, message: str, *, status: int = 0, detail: str = "", uncertain: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.uncertain = uncertain
        self.limited = False
        self.headers: dict[str, str] = {}
        self.body: Any = None


def join(*parts: str) -> str:
    """A path of these parts, each percent-encoded as a whole: a slash inside a name stays inside.

    Raises MaintenanceError for "." and "..", which every server and proxy takes for another path, encoded or not.
    """
    if {"", ".", ".."} & set(parts):
        raise MaintenanceError("a name that is empty, . or .. cannot be part of an address")
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """One service, one token. ``requests`` counts those that were made; ``warnings`` says what it waited for."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: str = "",
        hidden: Hidden = NOTHING,
        headers: Mapping[str, str] | None = None,
        agent: str = "vtchat.maintenance",
        network: Network = PLAIN,
        option: str = "api_url",
        waiting: Waiting = REAL_TIME,
        send: Callable[..., Any] | None = None,
    ) -> None:
        """Raises OptionError for a URL or token that cannot be used.

        authorization  "" for a service that is asked without a token
        hidden         what no message may show, beside the token
        option         what the caller's user calls the base URL
        send           in place of Ansible's way to open a URL
        """
        self.base_url = base_url.rstrip("/")
        self._loopback = _check_url(self.base_url, option)
        self._network = network
        check_roots(self._network.ca_path)
        self._headers = {"Accept": "application/json", **(headers or {})}
        if authorization:
            _check_header(authorization)
            self._headers["Authorization"] = authorization
        self._hidden = hidden | hide([authorization.partition(" ")[2]])
        self._agent = agent
        self._send, self._waiting = send or self._open, waiting
        self._tls: ssl.SSLContext | None = None
        deadline = self._network.deadline
        self._until = math.inf if deadline is None else waiting.clock() + deadline
        self.requests = 0
        self.warnings: list[str] = []

    def scrub(self, text: str) -> str:
        """The text without any spelling of a secret."""
        return self._hidden.scrub(text)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        expect: Iterable[int] = (),
        repeat: bool | None = None,
        any_answer: bool = False,
    ) -> Answer:
        """The answer, if it is 2xx or its status is in ``expect``. ``path`` is already encoded (see join). Raises HttpError.

        any_answer: the body may be no JSON, and is None then.
        """
        repeatable = method in REPEATABLE if repeat is None else repeat
        url = self.base_url + path + ("?" + urlencode(query) if query else "")
        until = min(self._waiting.clock() + self._network.patience, self._until)
        uncertain = False
        for number in range(1, ATTEMPTS + 1):
            tried = self._once(method, url, body)
            uncertain = uncertain or (method != "GET" and tried.may_have_worked)
            answer = tried.answer
            if (
                answer is not None
                and (any_answer or not tried.not_json)
                and (answer.status // 100 == 2 or answer.status in set(expect))
            ):
                return Answer(answer.status, answer.headers, answer.body, number)
            pause = tried.pause(number, repeatable)
            if pause is None or number == ATTEMPTS or self._waiting.clock() + pause > until:
                break
            if pause >= 5:
                waited = self.scrub(f"waited {pause:.0f} s before repeating {method} {path}: ")
                self.warnings.append(waited + self._message(tried))
            self._waiting.sleep(pause)
        raise self._error(method, path, tried, uncertain, pause)

    def _once(self, method: str, url: str, body: Any) -> Attempt:
        timeout = min(self._network.timeout, self._until - self._waiting.clock())
        if timeout <= 0:
            return Attempt(fault="no time is left", sent=False, permanent=True)
        self.requests += 1
        data = None if body is None else json.dumps(body).encode("utf-8")
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        try:
            with self._send(
                url,
                method=method,
                data=data,
                headers=headers,
                timeout=timeout,
                http_agent=self._agent,
                follow_redirects="none",
                use_proxy=not self._loopback,
                use_netrc=False,
            ) as response:
                return self._read(response.getcode(), response)
        except HTTPError as error:
            with error:
                return self._read(error.code, error)
        except BROKEN as error:
            return self._silence(error)

    def _silence(self, error: Exception) -> Attempt:
        """Why there was no answer. Through a proxy it may be the proxy that is meant."""
        parts = urlsplit(self.base_url)
        proxied = not self._loopback and parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")
        fault, sent, permanent = explained(error)
        by_proxy = f"; requests go through the proxy that {parts.scheme}_proxy names" if proxied else ""
        return Attempt(fault=fault + by_proxy, sent=sent, permanent=permanent)

    def _open(self, url: str, *, method: str, **options: Any) -> Any:
        # One context for all requests: loading the roots takes a hundred times as long as a request on loopback.
        if self._tls is None:
            plain = self.base_url.startswith("http:")
            self._tls = (
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else make_context(cafile=self._network.ca_path or None)
            )
        return Request(context=self._tls).open(method, url, **options)

    def _read(self, status: int, response: Any) -> Attempt:
        headers = {name.lower(): value for name, value in response.headers.items()}
        # Piece by piece: an answer that trickles in for ever never counts as silence.
        read = getattr(response, "read1", response.read)
        raw = b""
        try:
            while len(raw) <= LARGEST_ANSWER:
                piece = read(65536)
                raw += piece
                if not piece:
                    return parsed(status, headers, raw)
                if self._waiting.clock() > self._until:
                    return Attempt(fault="no complete answer in time")
        except BROKEN as error:
            return self._silence(error)
        return Attempt(fault="the answer is larger than any this service gives", permanent=True)

    def _message(self, tried: Attempt) -> str:
        """Why it failed. Cut only after it was scrubbed: half a secret is not recognised any more."""
        words = clean(self.scrub(tried.reason))
        return words if len(words) <= LONGEST_WORDS else words[:LONGEST_WORDS] + " …"

    def _error(self, method: str, path: str, tried: Attempt, uncertain: bool, pause: float | None) -> HttpError:
        answer = tried.answer
        detail = self._message(tried)
        message = f"{method} {path}: {detail}"
        if pause is not None and pause > self._network.patience:
            message += f"; come back in {pause:.0f} s"
        if uncertain:
            message += "; it may have been carried out all the same"
        error = HttpError(
            self.scrub(message), status=answer.status if answer else 0, detail=detail, uncertain=uncertain
        )
        if answer is not None:
            error.headers, error.body, error.limited = answer.headers, answer.body, answer.limited
        return error


def _check_url(url: str, option: str) -> bool:
    """Whether the host is loopback. Raises OptionError."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise OptionError([f"{option}: it is not a URL"]) from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query or parts.fragment:
        raise OptionError([f"{option}: it must have the form https://host/path, without user, query and fragment"])
    loopback = is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise OptionError([f"{option}: it must begin with https://, because the token would travel readable"])
    return loopback


def _check_header(value: str) -> None:
    if not value.isascii() or not value.isprintable() or not value.partition(" ")[2].strip():
        raise OptionError(["token: it is empty or holds a character that no token has, such as a line break"])
