# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The file of metrics, on the machine that runs Ansible."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import clean
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import metrics
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.model import Runs
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._files import update


def write(runs: Runs, ended: Sequence[float], bloat: bool, path: str) -> None:
    """Add the runs to what is there, as metrics.document does it, for everybody to read. Raises OSError, also where others have
    written something into the file, which would be lost."""
    update(partial(_made, runs, ended, bloat), path, mode=0o644)


def _made(runs: Runs, ended: Sequence[float], bloat: bool, earlier: str) -> str:
    line = metrics.stranger(earlier)
    if line:
        raise OSError(
            f"somebody else has written to it, for there is the line {clean(line)[:100]!r}: "
            "name another file, or remove this one if nobody needs it"
        )
    return metrics.document(runs, ended, earlier, bloat)
