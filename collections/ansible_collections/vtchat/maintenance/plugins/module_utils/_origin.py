# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What this is, and where it runs: for the history, so that a reader years later knows what has written it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

# Of this collection; a test compares it with galaxy.yml, which modules do not have with them.
COLLECTION = "1.0.0"
LONGEST = 255  # bytes of a host name


def run_link(environment: Mapping[str, str]) -> str:
    """Address of the page of this run of a workflow; "" where the environment does not tell."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (environment.get(name, "") for name in names)
    known = (
        re.fullmatch(r"https?://[A-Za-z0-9.:-]+", server)
        and re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", repository)
        and re.fullmatch(r"[0-9]+", number)
    )
    return f"{server}/{repository}/actions/runs/{number}" if known else ""


def host() -> str:
    """The run of a workflow, as its address; otherwise the name of the machine, as far as it has one."""
    return run_link(os.environ) or socket.gethostname()[:LONGEST]
