# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for an application with maintenance endpoints, with the contract of VTChat's: what it answers, and to whom."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from tests.doubles.service import Reply, Request, Service

HOURLY = "/api/cron/database-maintenance"
WEEKLY = "/api/cron/weekly-maintenance"
HEALTH = "/api/health"
PAGE = "<!DOCTYPE html><html><body>Sign in to continue</body></html>"


class Application(Service):
    """The application. ``done`` counts the maintenance runs, by path."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.done: dict[str, int] = {HOURLY: 0, WEEKLY: 0}
        self.health: dict[str, Any] = {
            "healthy": True,
            "issues": [],
            "stats": {"dead_tuples": 12, "expired_sessions": 0},
        }
        self.status = "healthy"
        super().__init__()

    def handle(self, request: Request) -> Reply:
        if request.path == HEALTH and request.method == "GET":
            if "authorization" in request.headers:
                return self.violation("the token was sent to the health endpoint, which needs none")
            return Reply(200, {"status": self.status, "timestamp": _now(), "service": "vtchat"})
        if request.path not in self.done:
            return self.violation(f"there is no {request.method} {request.path}", 404)
        if request.method == "GET":
            return Reply(200, {"message": "maintenance endpoint", "method": "POST", "auth": "Bearer token required"})
        if request.method != "POST":
            return self.violation(f"{request.method} is not for this endpoint", 405)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, {"error": "Unauthorized"})
        self.done[request.path] += 1
        more = {"type": "weekly"} if request.path == WEEKLY else {}
        return Reply(200, {"success": True, "timestamp": _now(), **more, "health": self.health})

    def fail_maintenance(self, times: int = 1) -> None:
        """The answer of an application whose database said no."""
        body = {"success": False, "error": "Maintenance failed", "timestamp": _now()}
        self.fail(500, body, method="POST", times=times)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
