# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who listens for signs of life of a run. Without an address nobody does, and nothing is loaded for it."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """A monitor that notices silence. ``warnings`` says which signs it has not heard."""

    warnings: list[str]

    def start(self) -> None:
        """The run has begun."""

    def end(self, status: str) -> None:
        """The run has ended like that."""


class Nobody:
    """Nobody listens."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self) -> None:
        """Nothing."""

    def end(self, status: str) -> None:
        """Nothing."""


def listener(url: str, plan: str, option: str = "ping_url") -> Listener:
    """Who listens at an address. Raises OptionError for one that cannot be used."""
    if not url:
        return Nobody()
    from .._services.ping import Ping  # and with it a client for HTTP

    return Ping(url, plan, option)
