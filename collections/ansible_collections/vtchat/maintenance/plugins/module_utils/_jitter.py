# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Waiting times that differ from one client to the next."""

from __future__ import annotations

import random


def jittered(seconds: float) -> float:
    """Three to five quarters of it: many clients that were refused together do not come back together."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - it spreads load; nobody gains by guessing it
