# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Noticing that nobody waits for the result any more.

``ansible-playbook`` that is killed, or whose terminal hangs up, leaves its workers behind: they would go on to the end of the
plan, with nobody there to see it or to stop it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

INTERVAL = 0.5  # seconds between two looks


class Waiting:
    """Who waited for this process when it was made: its parent, and the parent of the worker of Ansible that it is below.

    A module is started by a worker, which is the leader of its session and does not end when its own parent does.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._worker = self._worker_above()
        self._controller = _parent_of(self._worker) if self._worker else 0

    def gone(self) -> bool:
        """Whether one of them is not there any more."""
        if os.getppid() != self._parent:
            return True
        return bool(self._controller) and _parent_of(self._worker) != self._controller

    @staticmethod
    def _worker_above() -> int:
        """Process id of the worker whose session this is, 0 if there is none or the platform has no /proc."""
        leader = os.getsid(0)
        if leader == os.getpid():
            return 0
        with suppress(OSError), open(f"/proc/{leader}/cmdline", "rb") as file:
            return leader if b"ansible" in file.read() else 0
        return 0


def _parent_of(pid: int) -> int:
    """0 for a process that is not there."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(
            file.read().rpartition(b")")[2].split()[1]
        )  # the name of a program may have brackets and spaces in it
    return 0


class Watch:
    """Looks for those who wait while its block runs.

    When they are gone, ``ended`` is called, and ``cancel`` if something is at work.
    """

    def __init__(self, ended: Callable[[], None], cancel: Callable[[], None], waiting: Waiting | None = None) -> None:
        self._gone = False
        self._ended, self._cancel = ended, cancel
        self._waiting = waiting or Waiting()
        self._over = threading.Event()
        self._working = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, name="vtchat.maintenance watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def gone(self) -> bool:
        """Whether nobody waits any more."""
        return self._gone

    def work(self) -> _Work:
        """A block whose statements may be cancelled; what is between two blocks, such as the history, is not."""
        return _Work(self)

    def _look(self) -> None:
        while not self._over.wait(INTERVAL):
            if self._waiting.gone():
                self._ended()
                with self._lock:
                    self._gone = True
                    if self._working:
                        self._cancel()
                return


class _Work:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        with self._watch._lock:
            self._watch._working += 1

    def __exit__(self, *_error: object) -> None:
        with self._watch._lock:
            self._watch._working -= 1
