# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What health_info says of a database, in the forms in which tests compare it."""

from __future__ import annotations

from typing import Any

from tests.runs import perform
from tests.servers import Database

# Which faults the releases of the tests' servers have changes with the time.
SERVER = [{"check": "pg-version", "object": "*", "reason": "a server of the tests", "until": "2999-12-31"}]


def look(
    database: Database, dsn: str = "", ignore: list[dict[str, Any]] | None = None, **options: Any
) -> dict[str, Any]:
    """The result of health_info, without what is true of each server of the tests."""
    return perform("health_info", dsn or database.dsn, ignore=[*SERVER, *(ignore or [])], **options)


def levels(result: dict[str, Any]) -> dict[str, str]:
    """check -> level of its worst finding."""
    return {one["check"]: one["level"] for one in reversed(result["findings"])}


def bad(result: dict[str, Any]) -> dict[str, str]:
    """The same of those that are a warning or critical: a sick database has its own, and no other."""
    return {check: level for check, level in levels(result).items() if level not in ("info", "unknown")}


def of(result: dict[str, Any], check: str) -> list[dict[str, Any]]:
    """The findings of one check."""
    return [one for one in result["findings"] if one["check"] == check]
