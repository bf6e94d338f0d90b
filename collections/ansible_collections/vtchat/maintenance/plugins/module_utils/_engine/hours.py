# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the window of a plan means for a run that is asked for at some moment. Pure."""

from __future__ import annotations

from datetime import datetime

from .._result import SKIPPED, Result
from .._window import Window


def skipped(plan: str, check: bool, window: Window, now: datetime) -> Result:
    """The result of a run outside of its window. Nobody was connected to."""
    message = f"outside of its window ({window}): nothing was done; it opens at {window.told(window.opens(now))}"
    return Result(plan, check, status=SKIPPED, message=message, more={"run_id": None, "budget": 0.0})


def seconds(budget: float, window: Window | None, now: datetime) -> float:
    """What a run that begins now may take: no more than its window has left."""
    return min(budget, (window.closes(now) - now).total_seconds()) if window else budget
