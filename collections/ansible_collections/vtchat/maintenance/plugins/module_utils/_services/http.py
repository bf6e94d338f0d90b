# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A small client for JSON over HTTPS, with a token that goes to one place only and is never shown.

    client = Client("https://api.example.com", authorization="Bearer " + token, secrets=[token])
    answer = client.request("GET", join("v1", "apps", app, "secrets"), query={"page": 2})
    answer.status, answer.headers["x-request-id"], answer.body

- Any answer that is not 2xx and not in ``expect`` is an HttpError, and so is silence. Its message is fit for people and free of
  everything in ``secrets``.
- GET, HEAD, PUT and DELETE are repeated after lost connections and 5xx; POST and PATCH only if the caller says
  ``repeat=True``, which means: doing it twice does no harm. A refusal for the sake of a rate limit did nothing, and a connection
  that was never made sent nothing: both are repeated with every method.
- Waiting follows Retry-After, then X-RateLimit-Reset (by the server's own clock), then doubling steps with jitter. A wait that
  would pass ``patience`` (seconds for one request with all its repetitions) is not begun: the error says when to come back.
- Redirects are not followed, .netrc is not read, plain HTTP is for loopback only, and then no proxy is used.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import math
import random
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from ansible.module_utils.urls import Request, make_context

from .._clean import clean
from .._errors import MaintenanceError, OptionError
from .http_faults import BROKEN, check_roots, explained

MASK = "********"
REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
ATTEMPTS = 5
LONGEST_WORDS = 300
LARGEST_ANSWER = 8 * 1024 * 1024
# What GitHub asks of clients that are told of a secondary limit without a time.
UNKNOWN_LIMIT_SECONDS = 60.0


class HttpError(MaintenanceError):
    """A request that failed.

    status     of the answer; 0 when there was none
    headers    of the answer, names in lower case
    body       of the answer, read as JSON; None when it was not JSON
    detail     the service's own words, without our frame around them
    limited    whether it was refused for the sake of a rate limit
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


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and the body read as JSON, None if empty. ``attempts`` counts the requests made."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    attempts: int = 1


@dataclass(frozen=True)
class _Try:
    """How one attempt ended: an answer, or a fault without one."""

    answer: Answer | None = None
    html: bool = False
    fault: str = ""
    sent: bool = True
    lasting: bool = False


def join(*parts: str) -> str:
    """A path of these parts, each percent-encoded as a whole: a slash inside a name stays inside.

    Raises MaintenanceError for "." and "..", which every server and proxy takes for another path, encoded or not.
    """
    if {"", ".", ".."} & set(parts):
        raise MaintenanceError("a name that is empty, . or .. cannot be part of an address")
    return "/" + "/".join(quote(part, safe="") for part in parts)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text without these strings."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Client:
    """One service, one token. ``calls`` counts the requests that were made; ``warnings`` says what it waited for."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: str = "",
        secrets: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        agent: str = "vtchat.maintenance",
        timeout: float = 30,
        patience: float = 120,
        deadline: float | None = None,
        ca_path: str | None = None,
        option: str = "api_url",
        send: Callable[..., Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OptionError for a URL or token that cannot be used.

        authorization  "" for a service that is asked without a token
        timeout        seconds of silence that end an attempt
        deadline       seconds from now at which everything ends, in the middle of an attempt too; None: never
        option         what the caller's user calls the base URL
        """
        self.base_url = base_url.rstrip("/")
        self._loopback = _check_url(self.base_url, option)
        check_roots(ca_path)
        self._headers = {"Accept": "application/json", **(headers or {})}
        if authorization:
            _check_header(authorization)
            self._headers["Authorization"] = authorization
        self._secrets = {*filter(None, secrets), authorization, authorization.partition(" ")[2]}
        self._agent = agent
        self._timeout, self._patience, self._ca_path = timeout, patience, ca_path
        self._send, self._sleep, self._clock = send or self._open, sleep, clock
        self._tls: ssl.SSLContext | None = None
        self._until = math.inf if deadline is None else clock() + deadline
        self.calls = 0
        self.warnings: list[str] = []

    def hide(self, *secrets: str) -> None:
        """From now on these strings are taken out of every message too."""
        self._secrets.update(filter(None, secrets))

    def scrub(self, text: str) -> str:
        return scrub(text, self._secrets)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        expect: Iterable[int] = (),
        repeat: bool | None = None,
    ) -> Answer:
        """The answer, if it is 2xx or its status is in ``expect``. ``path`` is already encoded (see join). Raises HttpError."""
        repeatable = method in REPEATABLE if repeat is None else repeat
        url = self.base_url + path + ("?" + urlencode(query) if query else "")
        until = min(self._clock() + self._patience, self._until)
        uncertain = False
        for attempt in range(1, ATTEMPTS + 1):
            tried = self._once(method, url, body)
            uncertain = uncertain or (method != "GET" and _may_have_worked(tried))
            answer = tried.answer
            if answer is not None and not tried.html and (answer.status // 100 == 2 or answer.status in set(expect)):
                return Answer(answer.status, answer.headers, answer.body, attempt)
            wait = _wait(tried, attempt, repeatable)
            if wait is None or attempt == ATTEMPTS or self._clock() + wait > until:
                break
            if wait >= 5:
                self.warnings.append(
                    self.scrub(f"waited {wait:.0f} s before repeating {method} {path}: ") + self._said(tried)
                )
            self._sleep(wait)
        raise self._error(method, path, tried, uncertain, wait)

    def _once(self, method: str, url: str, body: Any) -> _Try:
        timeout = min(self._timeout, self._until - self._clock())
        if timeout <= 0:
            return _Try(fault="no time is left", sent=False, lasting=True)
        self.calls += 1
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

    def _silence(self, error: Exception) -> _Try:
        """Why there was no answer. Through a proxy it may be the proxy that is meant."""
        parts = urlsplit(self.base_url)
        proxied = not self._loopback and parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")
        fault, sent, lasting = explained(error)
        by_proxy = f"; requests go through the proxy that {parts.scheme}_proxy names" if proxied else ""
        return _Try(fault=fault + by_proxy, sent=sent, lasting=lasting)

    def _open(self, url: str, *, method: str, **options: Any) -> Any:
        # One context for all requests: loading the roots takes a hundred times as long as a request on loopback.
        if self._tls is None:
            plain = self.base_url.startswith("http:")
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else make_context(cafile=self._ca_path)
        return Request(context=self._tls).open(method, url, **options)

    def _read(self, status: int, response: Any) -> _Try:
        headers = {name.lower(): value for name, value in response.headers.items()}
        # Piece by piece: an answer that trickles in for ever never counts as silence.
        read = getattr(response, "read1", response.read)
        raw = b""
        try:
            while len(raw) <= LARGEST_ANSWER:
                piece = read(65536)
                raw += piece
                if not piece:
                    return (
                        _parsed(status, headers, raw) if _complete(headers, raw) else _Try(fault="the answer broke off")
                    )
                if self._clock() > self._until:
                    return _Try(fault="no complete answer in time")
        except BROKEN as error:
            return self._silence(error)
        return _Try(fault="the answer is larger than any this service gives", lasting=True)

    def _said(self, tried: _Try) -> str:
        """Why it failed. Cut only after it was scrubbed: half a secret is not recognised any more."""
        words = clean(self.scrub(_why(tried)))
        return words if len(words) <= LONGEST_WORDS else words[:LONGEST_WORDS] + " …"

    def _error(self, method: str, path: str, tried: _Try, uncertain: bool, wait: float | None) -> HttpError:
        answer = tried.answer
        detail = self._said(tried)
        message = f"{method} {path}: {detail}"
        if wait is not None and wait > self._patience:
            message += f"; come back in {wait:.0f} s"
        if uncertain:
            message += "; it may have been carried out all the same"
        error = HttpError(
            self.scrub(message), status=answer.status if answer else 0, detail=detail, uncertain=uncertain
        )
        if answer is not None:
            error.headers, error.body, error.limited = answer.headers, answer.body, _is_limit(answer)
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


def _complete(headers: Mapping[str, str], raw: bytes) -> bool:
    """Whether all that was announced has come; the length of what was compressed says nothing."""
    announced = headers.get("content-length", "")
    return not _is_number(announced) or "content-encoding" in headers or len(raw) >= int(announced)


def _parsed(status: int, headers: dict[str, str], raw: bytes) -> _Try:
    if not raw.strip():
        return _Try(Answer(status, headers))
    try:
        return _Try(Answer(status, headers, json.loads(raw.decode("utf-8"))))
    except (ValueError, RecursionError):
        return _Try(Answer(status, headers), html=True)


def _may_have_worked(tried: _Try) -> bool:
    if tried.answer is None:
        return tried.sent
    return tried.answer.status >= 500 or (tried.html and tried.answer.status // 100 == 2)


def _wait(tried: _Try, attempt: int, repeatable: bool) -> float | None:
    """Seconds to wait before the request is made again; None if it must not be."""
    backoff = 0.5 * 2.0 ** (attempt - 1) * (0.75 + random.random() / 2)  # noqa: S311 - jitter, not a secret
    answer = tried.answer
    if answer is None:
        again = not tried.lasting and (repeatable or not tried.sent)
        return backoff if again else None
    if _is_limit(answer):
        asked = _asked(answer.headers)
        return max(backoff, UNKNOWN_LIMIT_SECONDS if asked is None else asked)
    if answer.status in (500, 502, 503, 504, 408) and repeatable:
        return max(backoff, _asked(answer.headers) or 0.0)
    return None


def _is_limit(answer: Answer) -> bool:
    if answer.status == 429:
        return True
    if answer.status != 403:
        return False
    named = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
    return named or "rate limit" in _words(answer.body).lower()


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that the service asks us to wait; None when it does not say."""
    now = _date(headers.get("date", ""))
    now = time.time() if now is None else now
    after = headers.get("retry-after", "").strip()
    if _is_number(after):
        return float(after)
    moment = _date(after)
    if moment is None and headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "").strip()
        moment = float(reset) + 1 if _is_number(reset) else None
    return None if moment is None else max(0.0, moment - now)


def _is_number(text: str) -> bool:
    """Digits of ASCII only, and not more than any time or length has; headers may hold others."""
    return text.isascii() and text.isdigit() and len(text) < 16


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _why(tried: _Try) -> str:
    answer = tried.answer
    if answer is None:
        return tried.fault
    if 300 <= answer.status < 400:
        return f"{answer.status}: what was asked for has moved, and the token is not sent after it"
    if tried.html:
        return f"{answer.status} with something that is not JSON; is this the address of the service?"
    return f"{answer.status} {_words(answer.body)}".strip()


def _words(body: Any) -> str:
    """The service's own words."""
    if not isinstance(body, Mapping):
        return ""
    words = [body.get(key) for key in ("message", "error", "details")]
    errors = body.get("errors")
    words += (
        [one.get("message") if isinstance(one, Mapping) else one for one in errors] if isinstance(errors, list) else []
    )
    return ": ".join(word for word in words if isinstance(word, str) and word)
