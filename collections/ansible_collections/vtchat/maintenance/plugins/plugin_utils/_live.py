# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A line at the bottom of a terminal that says what is being worked on, and leaves no trace."""

from __future__ import annotations

import atexit
import os
import sys
from threading import RLock
from typing import Any

from ansible import constants

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import clean
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.layout import width

ERASE = "\r\x1b[K"


class Progress(str):
    """A line about work that takes long: of passing interest where there is a live line, a line like others in a log."""


def wanted() -> bool:
    """Whether there is a terminal that understands escape codes, and nobody has asked for none."""
    refused = constants.ANSIBLE_NOCOLOR or os.environ.get("NO_COLOR") or os.environ.get("CI")
    return sys.stdout.isatty() and (os.environ.get("TERM") or "dumb") != "dumb" and not refused


class LiveLine:
    """Steps aside for everything that Ansible displays: all of it goes through one method of its one Display."""

    def __init__(self, display: Any) -> None:
        self.columns = display.columns
        self.text = ""
        self._process = os.getpid()
        self._lock = RLock()  # what workers say is shown by a thread of its own
        self._display = display.display
        display.display = self._show_others
        atexit.register(self.clear)

    def say(self, text: str) -> None:
        """Show this until something else is said. Empty: nothing."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if text != self.text:
                self.text = text
                self._draw()

    def clear(self) -> None:
        """Say nothing more."""
        self.say("")

    def _show_others(self, msg: Any, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self._process:  # a worker, whose lines Ansible sends to the process that forked it
            return self._display(msg, *args, **kwargs)
        if isinstance(msg, Progress):
            self.say(msg)
            return None
        with self._lock:
            if self.text:
                sys.stdout.write(ERASE)
                sys.stdout.flush()
            try:
                return self._display(msg, *args, **kwargs)
            finally:
                if self.text:
                    self._draw()

    def _draw(self) -> None:
        text = clean(self.text)
        while text and width(text) >= self.columns:
            text = text[:-1]
        sys.stdout.write(f"{ERASE}{text}")
        sys.stdout.flush()
