# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Telling by a webhook: one POST for each message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._errors import OptionError
from .._masking import Hidden, hide
from .._services.http import Client, HttpError, Network
from .conditions import digest
from .decide import Record
from .formats import FORMATS
from .notice import Notice, NotTold, OneWay, Told

# With these a message is refused for what is in it; everything else stands in the way of all.
ONE_MESSAGE = (400, 413, 422)
HIDDEN_PATH = 8  # a shorter path is no secret: masking it would mask ordinary words


class Webhook(OneWay):
    """The address is the secret of most services: neither messages nor the memory hold it."""

    def __init__(self, options: Mapping[str, Any], network: Network, hidden: Hidden) -> None:
        """Raises OptionError."""
        url, headers = options["url"].strip(), options["headers"] or {}
        parts = _parts(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._format = FORMATS[options["format"]]
        base = f"{parts.scheme}://{parts.netloc}"
        self._client = Client(base, hidden=hidden, headers=_headers(headers), network=network, option="webhook.url")
        self.name = f"webhook:{digest(url)[:12]}"
        self.label = f"{options['format']} webhook at {parts.hostname}"

    def tell(self, notice: Notice, record: Record | None, remind: float) -> Told:
        """Send it. Raises NotTold."""
        try:
            self._client.request("POST", self._path, body=self._format(notice), any_answer=True)
        except HttpError as error:
            raise NotTold(error.detail, error.status not in ONE_MESSAGE) from None
        return Told(f"told: {notice.title}")


def hidden(options: Mapping[str, Any]) -> Hidden:
    """What no message may show of these options, whatever is in them."""
    url = str(options.get("url") or "").strip()
    headers = options.get("headers")
    # Words like "production" are values of headers as well, and stand in messages.
    values = [str(value) for value in headers.values() if value] if isinstance(headers, Mapping) else []
    secrets = [url] if url else []
    try:
        parts = urlsplit(url)
    except ValueError:
        return hide(secrets, passwords=values)
    secrets += [text for text in (parts.path, parts.query, f"{parts.path}?{parts.query}") if len(text) >= HIDDEN_PATH]
    return hide(secrets, passwords=values)


def _parts(url: str) -> Any:
    try:
        parts = urlsplit(url)
        if parts.scheme and parts.hostname and url.isascii() and url.isprintable() and " " not in url:
            return parts
    except ValueError:
        pass
    raise OptionError(["webhook.url: it must be an address such as https://host/path, with nothing left to be encoded"])


def _headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise OptionError(["webhook.headers: it must be a mapping of names to values"])
    headers = {str(name): str(value) for name, value in given.items()}
    for name, value in headers.items():
        if not name.isascii() or not name.replace("-", "").isalnum() or not (value.isascii() and value.isprintable()):
            raise OptionError(
                ["webhook.headers: names have letters, digits and hyphens; values are ASCII without line breaks"]
            )
    return headers
