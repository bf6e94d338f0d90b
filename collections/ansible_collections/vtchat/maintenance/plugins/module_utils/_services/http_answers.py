# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What came of one request: an answer or a fault, whether it may have worked, and how long to wait before it is made again."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._jitter import jittered

# What GitHub asks of clients that are told of a secondary limit without a time.
UNKNOWN_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and the body read as JSON, None if empty. ``attempts`` counts the requests made."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    attempts: int = 1

    @property
    def limited(self) -> bool:
        """Whether the request was refused because of a rate limit."""
        if self.status == 429:
            return True
        if self.status != 403:
            return False
        named = "retry-after" in self.headers or self.headers.get("x-ratelimit-remaining") == "0"
        return named or "rate limit" in _words(self.body).lower()


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended: an answer, or a fault without one.

    not_json   there was a body, and it was no JSON
    fault      why there was no answer
    sent       whether the request may have been sent
    permanent  whether another attempt would end alike
    """

    answer: Answer | None = None
    not_json: bool = False
    fault: str = ""
    sent: bool = True
    permanent: bool = False

    @property
    def may_have_worked(self) -> bool:
        """Whether the service may have done what it was asked to."""
        if self.answer is None:
            return self.sent
        return self.answer.status >= 500 or (self.not_json and self.answer.status // 100 == 2)

    @property
    def reason(self) -> str:
        """Why it failed, with the service's own words."""
        if self.answer is None:
            return self.fault
        status = self.answer.status
        if 300 <= status < 400:
            return f"{status}: what was asked for has moved, and the token is not sent after it"
        if self.not_json:
            return f"{status} with something that is not JSON; is this the address of the service?"
        return f"{status} {_words(self.answer.body)}".strip()

    def pause(self, number: int, repeatable: bool) -> float | None:
        """Seconds to wait before attempt ``number`` is followed by another; None if it must not be."""
        backoff = jittered(0.5 * 2.0 ** (number - 1))
        answer = self.answer
        if answer is None:
            again = not self.permanent and (repeatable or not self.sent)
            return backoff if again else None
        if answer.limited:
            asked = _asked(answer.headers)
            return max(backoff, UNKNOWN_LIMIT_SECONDS if asked is None else asked)
        if answer.status in (500, 502, 503, 504, 408) and repeatable:
            return max(backoff, _asked(answer.headers) or 0.0)
        return None


def parsed(status: int, headers: dict[str, str], raw: bytes) -> Attempt:
    """The attempt that ended with this answer."""
    if not _complete(headers, raw):
        return Attempt(fault="the answer broke off")
    if not raw.strip():
        return Attempt(Answer(status, headers))
    try:
        return Attempt(Answer(status, headers, json.loads(raw.decode("utf-8"))))
    except (ValueError, RecursionError):
        return Attempt(Answer(status, headers), not_json=True)


def _complete(headers: Mapping[str, str], raw: bytes) -> bool:
    """Whether all that was announced has come; the length of what was compressed says nothing."""
    announced = headers.get("content-length", "")
    return not _is_number(announced) or "content-encoding" in headers or len(raw) >= int(announced)


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
