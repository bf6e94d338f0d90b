# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The one family of exceptions that leaves the engine. The edges translate it, once."""

from __future__ import annotations


class MaintenanceError(Exception):
    """Something stopped the work, and the message says what and what to do about it."""


class OptionError(MaintenanceError):
    """An option is wrong; nothing was touched. ``errors`` holds every fault found, not just the first."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class ConnectError(MaintenanceError):
    """There is no connection, or not one that maintenance may run on (standby, transaction pooler)."""


class Contended(MaintenanceError):
    """Somebody else holds what we need; another run may get it. Not a failure.

    ``context`` as in SqlError; ``sqlstate``: one of those that mean this, "" where we have seen it ourselves.
    """

    def __init__(self, message: str, context: str = "", sqlstate: str = "") -> None:
        super().__init__(message)
        self.context = context
        self.sqlstate = sqlstate


class SqlError(MaintenanceError):
    """The server refused a statement. ``sqlstate`` is its five-character code ("" if the connection died).

    position  character of the statement that the server points at, from 1; 0 when it does not
    query     the text that position counts in, when that is not the statement itself but SQL run by a function
    context   the functions and statements under way, as the server lists them
    """

    def __init__(self, message: str, sqlstate: str = "", position: int = 0, query: str = "", context: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.position = position
        self.query = query
        self.context = context
