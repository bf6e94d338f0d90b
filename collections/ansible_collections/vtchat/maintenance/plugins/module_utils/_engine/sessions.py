# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Several sessions of one run: work is shared out among them, under one budget and one watch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from .._errors import MaintenanceError
from .._postgres.session import Session

Item = TypeVar("Item")

# Connections that an ordinary role can still get. Of other roles' sessions may be hidden what they are, so each that belongs to a
# role counts.
SPARE = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0)
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity
          WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend')::int AS spare
"""


class Sessions:
    """The first session of a run, and others that are opened when there is work for them. ``open_one`` opens another.

    ``note`` says why there are fewer than were wanted.
    """

    def __init__(self, first: Session, open_one: Callable[[], Session]) -> None:
        self._open_one = open_one
        self._all = [first]
        self._lost: list[Session] = []  # what they did counts all the same
        self._lock = threading.Lock()
        self.note = ""

    @property
    def first(self) -> Session:
        """The session that has the run lock, and writes what is about the whole run."""
        return self._all[0]

    def cancel(self) -> None:
        """Cancel what runs in any of them. For another thread."""
        with self._lock:
            sessions = list(self._all)
        for session in sessions:
            session.cancel()

    def close(self) -> None:
        """Close all but the first, which belongs to whoever opened it."""
        with self._lock:
            others, self._all = self._all[1:], self._all[:1]
        for session in others:
            session.close()

    @property
    def round_trips(self) -> int:
        """Of all of them together."""
        return sum(session.round_trips for session in (*self._all, *self._lost))

    @property
    def retries(self) -> int:
        """Attempts after the first ones, of all of them together."""
        return sum(session.retries for session in (*self._all, *self._lost))

    def each(self, items: Iterable[Item], jobs: int, work: Callable[[Session, Item], None]) -> list[Item]:
        """Call ``work`` for each item in its order, up to ``jobs`` at once, each over a session of its own.

        What is left when all these sessions are lost is returned. An exception ends the work: what has begun is finished, and
        it is raised here.
        """
        waiting = deque(items)
        sessions = self._some(min(jobs, len(waiting)))
        failures: list[BaseException] = []

        def go_on(session: Session) -> None:
            while session.alive and not failures:
                try:
                    item = waiting.popleft()
                except IndexError:  # there are no more, or another session was quicker
                    return
                try:
                    work(session, item)
                except BaseException as error:  # raised again below, in the thread that waits for it
                    failures.append(error)

        threads = [threading.Thread(target=go_on, args=(session,), daemon=True) for session in sessions[1:]]
        for thread in threads:
            thread.start()
        go_on(sessions[0])
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return list(waiting)

    def _some(self, number: int) -> list[Session]:
        """So many sessions that live, or as many as the server can spare: half of what it has left stays for the application."""
        self._lost += [session for session in self._all[1:] if not session.alive]
        self._all = [self._all[0], *(session for session in self._all[1:] if session.alive)]
        more = number - len(self._all)
        spare = max(0, self.first.row(SPARE)["spare"]) if more > 0 else 0
        if more > spare // 2:
            found = len(self._all) + spare // 2
            self.note = f"only {found} of {number} sessions (jobs): the server has {spare} connections left"
            number = found
        while len(self._all) < number:
            try:
                session = self._open_one()
            except MaintenanceError as error:
                self.note = f"only {len(self._all)} of {number} sessions (jobs) could be opened: {error}"
                break
            with self._lock:
                self._all.append(session)
        return self._all[: max(1, number)]
