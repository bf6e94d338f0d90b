# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Pages as files: what they are called, and what a result says of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import clean
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.model import count_of
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import DONE, FAILED, PLANNED, entry
from ansible_collections.vtchat.maintenance.plugins.module_utils._units import size
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._files import fault, replace

INDEX = "index"
TO_OVERVIEW = {"All databases": f"{INDEX}.html"}
# Readable for others, as a web server is one of them. Who may not see names of tables must not get the file.
MODE = 0o644


def file_name(title: str) -> str:
    """A name of a file for any text, without its ending: the text itself where every file system takes it."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", title) and title != INDEX:
        return title
    plain = re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-.")[:80]
    return f"{plain or 'database'}-{sha256(title.encode()).hexdigest()[:8]}"


def written(
    report: Mapping[str, Any], path: str, links: Mapping[str, str], result: Mapping[str, Any], check: bool
) -> dict[str, Any]:
    """Write the page of a report; what the result is to say of it. links: to other pages, by their text."""
    from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance, page

    file = os.path.basename(path)
    runs = sum(plan["runs"] for plan in report["plans"])
    what = f"{count_of(runs, 'run')} in {count_of(report['days'], 'day')}"
    what = "it cannot be reached" if report["unreachable"] else what
    told = _put(page(report, links), path, what, check)
    failed = result.get("failed") or told.get("failed")
    seen = {key: report[key] for key in ("generated_at", "timezone")} | glance(report, file)
    return {**told, "page": seen, **({"failed": True, "status": FAILED} if failed else {})}


def not_asked(title: str, why: str) -> dict[str, Any]:
    """What an overview needs of a database that nobody has asked."""
    from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance

    return glance({"title": title, "not_asked": why}, "")


def put_overview(
    databases: list[Mapping[str, Any]], path: str, generated_at: str, zone: str, check: bool
) -> dict[str, Any]:
    """Write the page about all of them; the result."""
    from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import overview

    return _put(overview(databases, generated_at, zone), path, count_of(len(databases), "database"), check)


def _put(text: str, path: str, what: str, check: bool) -> dict[str, Any]:
    shown = _shown(path)
    reason = f"{what}, {size(len(text.encode()))}"
    try:
        if not check:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace(text, path, MODE)
    except OSError as error:
        why = f"{clean(fault(error, path))}: choose another folder with dest (report_dest)"
        message, failed = f"cannot write {shown}: {why}", entry("report", shown, FAILED, f"cannot be written: {why}")
        return {
            "failed": True,
            "changed": False,
            "msg": message,
            "files": [],
            "actions": [failed],
            "totals": {FAILED: 1},
        }
    outcome = PLANNED if check else DONE
    told = entry("report", shown, outcome, reason, changed=True)
    return {"changed": True, "files": [path], "actions": [told], "totals": {outcome: 1}}


def _shown(path: str) -> str:
    """The path for people: from here, where it is below."""
    near = os.path.relpath(path)
    return clean(path if near.startswith(os.pardir) else near)
