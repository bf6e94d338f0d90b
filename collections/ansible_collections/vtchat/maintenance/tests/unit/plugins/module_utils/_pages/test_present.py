# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What findings say of room and of air."""

from __future__ import annotations

from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.present import growth
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Finding

EMPTY: dict[str, Any] = {"findings": []}


def found(*findings: Finding) -> dict[str, Any]:
    return {"findings": [one.as_dict() for one in findings]}


def test_bloat() -> None:
    table = Finding("table-bloat", "public.t", "warning", "", 60.0, evidence={
        "bytes": 1000, "needed": 400, "method": "estimate", "confidence": "low"})  # fmt: skip
    unseen = Finding("table-bloat", "public.u", "unknown", "hidden")
    index = Finding("bloated-index", "public.i", "warning", "", 700, evidence={
        "bytes": 1000, "fresh_bytes": 250, "bloat": 0.75, "confidence": "medium"})  # fmt: skip
    twice = Finding("index-bloat", "public.i", "info", "", 74.0, evidence={"bytes": 1000})
    assert growth(found(table, unseen, twice), found(index))["bloat"] == [
        {"kind": "table", "name": "public.t", "percent": 60.0, "bytes": 1000, "waste": 600,
         "method": "estimate, low confidence", "level": "warning"},
        {"kind": "index", "name": "public.i", "percent": 74.0, "bytes": 1000, "waste": None, "method": "", "level": "info"},
    ]  # fmt: skip
    (alone,) = growth(EMPTY, found(index))["bloat"]
    assert (alone["percent"], alone["waste"], alone["method"]) == (75.0, 750, "medium")


def test_forecast_and_limit() -> None:
    size = Finding("database-size", "db", "info", "", 5, evidence={"limit": 100})
    full = Finding("database-forecast", "db", "warning", "in 12 d", 12.0)
    grows = Finding("database-growth", "db", "info", "1 GiB a week", 3.0)
    told = growth(found(size, full, grows), EMPTY)
    assert told["limit"] == 100
    assert [(one["what"], one["days"]) for one in told["forecast"]] == [
        ("database-forecast", 12.0),
        ("database-growth", None),
    ]
    assert growth(EMPTY, EMPTY) == {"forecast": [], "limit": None, "bloat": []}
