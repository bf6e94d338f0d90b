# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How far long statements are: a session of its own looks, now and then, what the server tells of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._errors import MaintenanceError
from .._postgres.session import Session

# What is worked on, what is to be said of it, and for how many seconds it has been at work.
Progress = Callable[[str, str, float], None]
Look = Callable[[Session], str]

INTERVAL = 1.0  # seconds between two looks; what is done sooner is not looked at


def nobody(target: str, said: str, seconds: float) -> None:
    """For callers whose output nobody sees before the end."""


class Observer:
    """Looks only where somebody sees it, and opens its session when there is something to look at."""

    def __init__(self, open_one: Callable[[], Session], progress: Progress) -> None:
        self._open_one = open_one
        self.progress = progress
        self._watched: dict[str, tuple[Look, float]] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def observe(self, target: str, look: Look) -> Iterator[None]:
        """While the block runs, tell what ``look`` says of it; an empty text tells nothing."""
        if self.progress is nobody:
            yield
            return
        self._watched[target] = (look, time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._go, name="vtchat.maintenance observer", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._watched.pop(target, None)

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _go(self) -> None:
        """Until the run is over, or the server does not let us look."""
        session: Session | None = None
        try:
            while not self._over.wait(INTERVAL):
                for target, (look, began) in list(self._watched.items()):
                    seconds = time.monotonic() - began
                    if seconds >= INTERVAL and not self._over.is_set():
                        session = session or self._open_one()
                        self._tell(target, look(session), seconds)
        except MaintenanceError:
            pass  # it is only for looking at
        finally:
            if session is not None:
                session.close()

    def _tell(self, target: str, said: str, seconds: float) -> None:
        if said and target in self._watched:
            self.progress(target, said, seconds)
