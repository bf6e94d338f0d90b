# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Signs of life for a monitor that notices silence, in the manner of healthchecks.io: the address itself means success, and
with ``/start`` or ``/fail`` at the end of its path that a run has begun or has failed.

The address is a secret: whoever knows it can say that all is well. No message repeats any part of it but the host. A monitor
that is down costs a warning and a few seconds, and never the maintenance.
"""

from __future__ import annotations

import threading
from urllib.parse import quote, urlsplit

from .._errors import MaintenanceError, OptionError
from .._masking import hide
from .._result import ABANDONED, FAILED, OK, PARTIAL
from .http import Client, HttpError, Network

START, SUCCESS, FAIL = "/start", "", "/fail"
_END = {OK: SUCCESS, PARTIAL: SUCCESS, FAILED: FAIL, ABANDONED: FAIL}
_CALLED = {START: "begun", SUCCESS: "succeeded", FAIL: "failed"}
SILENCE, PATIENCE = 3.0, 4.0  # seconds of silence that end an attempt; for all attempts of one sign
SHORTEST = 8  # characters of a part of the address that may be a secret; "ping" is none
LONGEST = 5.0  # seconds that anybody waits for one sign, whatever the system does meanwhile


class Ping:
    """Signs of life of one run. ``warnings`` says which of them nobody has heard."""

    def __init__(self, url: str, plan: str, option: str = "ping_url") -> None:
        """Raises OptionError for an address that cannot be used. ``{plan}`` in it becomes the name of the plan."""
        self.warnings: list[str] = []
        self._base, self._path, self._query = _parts(url.replace("{plan}", quote(plan, safe="")), option)
        self._plan = plan
        self._sending: threading.Thread | None = None
        self._sign = START  # which one that is

    def start(self) -> None:
        """The run has begun. Nobody waits for that now."""
        self._send(START)

    def end(self, status: str) -> None:
        """The run has ended like that. Of one that had nothing to do nothing is said."""
        self._wait()
        if status in _END:
            self._send(_END[status])
            self._wait()

    def _send(self, sign: str) -> None:
        # A name that is looked up cannot be given up; a thread that does it can.
        self._sign, self._sending = sign, threading.Thread(target=self._try, args=(sign,), daemon=True)
        self._sending.start()

    def _wait(self) -> None:
        if self._sending is not None:
            self._sending.join(LONGEST)
            if self._sending.is_alive():
                self._unheard(self._sign, f"no answer within {LONGEST:g} s")
            self._sending = None

    def _try(self, sign: str) -> None:
        path = self._path.rstrip("/") + sign if sign else self._path
        network = Network(timeout=SILENCE, patience=PATIENCE, deadline=PATIENCE)
        try:
            hidden = hide(text for text in (*self._path.split("/"), self._query) if len(text) >= SHORTEST)
            client = Client(self._base, network=network, hidden=hidden)
            client.request("GET", path + self._query, any_answer=True)
        except HttpError as error:
            self._unheard(sign, error.detail)
        except MaintenanceError as error:
            self._unheard(sign, str(error))

    def _unheard(self, sign: str, why: str) -> None:
        self.warnings.append(
            f"ping_url: {self._base} was not told that {self._plan} has {_CALLED[sign]}: {why}. The run itself is not concerned."
        )


def _parts(url: str, option: str) -> tuple[str, str, str]:
    """Scheme and host, the path, and the query with its question mark. Raises OptionError, without any part of the address."""
    if not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise OptionError([f"{option}: it is not a URL of the form https://host/path"])
    if "{" in url or "}" in url:
        raise OptionError([f"{option}: braces mean something as {{plan}} only, which becomes the name of the plan"])
    try:
        parts = urlsplit(url)
    except ValueError:
        raise OptionError([f"{option}: it is not a URL of the form https://host/path"]) from None
    base = f"{parts.scheme}://{parts.netloc}"
    Client(base, option=option)
    return base, parts.path, f"?{parts.query}" if parts.query else ""
