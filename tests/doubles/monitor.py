# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for a monitor that notices silence, with the contract of healthchecks.io: GET, HEAD or POST, and a plain OK."""

from __future__ import annotations

from tests.doubles.service import Reply, Request, Service

KEY = "PINGzq7-0123456789abcdef"


class Monitor(Service):
    """The monitor. Its checks are below a key that nobody else is to know."""

    def handle(self, request: Request) -> Reply:
        if request.method not in ("GET", "HEAD", "POST"):
            return self.violation(f"{request.method} is no sign of life", 405)
        if not request.path.startswith(f"/{KEY}/"):
            return Reply(404, "not found", {"Content-Type": "text/plain"})
        return Reply(200, "OK", {"Content-Type": "text/plain; charset=utf-8"})

    def heard(self) -> list[str]:
        """The signs in their order: the names of the checks, with what comes after them."""
        return [request.path.removeprefix(f"/{KEY}/") for request in self.requests]
