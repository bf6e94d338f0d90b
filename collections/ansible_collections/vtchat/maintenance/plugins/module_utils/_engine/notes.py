# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a run tells beside its actions: why nothing was done, and what it has to do without."""

from __future__ import annotations

from collections.abc import Iterator

from .._result import DEFERRED, Result
from .history import NONE_YET, NOT_WANTED, History
from .plan import Plan


def held(history: History) -> str:
    """The message of a run that was kept away by another one."""
    holder = history.holder or {}
    who = f"session {holder['pid']} of {holder.get('user') or 'another role'}" if "pid" in holder else "another session"
    since = f" since {holder['since']}" if holder.get("since") else ""
    client = f", from {holder['client']}" if holder.get("client") else ""
    return f"another run has held the lock{since}: {who}{client}; nothing was done"


def warnings(history: History, plan: Plan, result: Result, check: bool) -> Iterator[str]:
    """What is worth knowing about the history that a run had."""
    if history.note and history.note not in (NOT_WANTED, NONE_YET):
        yield (f"No history: {history.note}. Lost without it: skipping of refreshes that are not needed, predicted "
               "durations, and the record of what was done.")  # fmt: skip
    if history.limited and (result.findings or DEFERRED in result.totals or plan.schedule):
        yield f"History: {history.limited}."
    if history.interrupted:
        yield f"History: {history.interrupted}."
    for run in history.abandoned:
        at = f" in {run['at']}" if run["at"] else ""
        why = "its process died, or its end could not be recorded"
        yield f"Run {run['run_id']} ({run['plan']}, {run['started']}) was abandoned{at}: {why}."
    if check and history.holder:
        yield f"A run is under way (session {history.holder.get('pid')}): what is predicted here may change."
