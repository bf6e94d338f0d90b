# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Files of the machine that runs Ansible."""

from __future__ import annotations

import os
import re
import tempfile


def replace(text: str, path: str, mode: int = 0o600) -> None:
    """Put a text into a file, which is the old or the new one as a whole. Raises OSError."""
    directory, name = os.path.split(os.path.abspath(path))
    _remove_leftovers(directory, name)
    # mkstemp creates with mode 0600; in the same directory, because only there a rename is atomic.
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.{os.getpid()}.", suffix=".tmp", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(handle, mode)
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _remove_leftovers(directory: str, name: str) -> None:
    """Files of runs that were killed while they wrote: their names tell the process, which is no more."""
    for found in os.listdir(directory):
        written_by = re.fullmatch(rf"\.{re.escape(name)}\.(\d{{1,9}})\.[a-z0-9_]{{8}}\.tmp", found)
        if written_by:
            try:
                os.kill(int(written_by[1]), 0)
            except ProcessLookupError:
                os.unlink(os.path.join(directory, found))
            except PermissionError:
                continue  # it lives, and is somebody else's
