# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Files of the machine that runs Ansible."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Seconds. Whoever has the file holds it for as long as it takes to write it.
PATIENCE = 10.0
_ELSE = "name another file"


def replace(text: str, path: str, mode: int = 0o600) -> None:
    """Put a text into a file, which is the old or the new one as a whole. Raises OSError."""
    _check(path)
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


def update(made: Callable[[str], str], path: str, mode: int = 0o600) -> None:
    """Put into a file what ``made`` makes of the text that it has; nobody else does meanwhile. Raises OSError."""
    _check(path)
    with _held(os.path.dirname(os.path.abspath(path))):
        replace(made(_text(path)), path, mode)


def _check(path: str) -> None:
    """Refuse what would be lost or cannot be: a pipe, a device or a link would become a file."""
    place = os.path.abspath(path)
    directory = os.path.dirname(place)
    if not os.path.isdir(directory):
        there = os.path.lexists(directory)
        raise OSError(
            f"{directory} is {'no directory' if there else 'not there'}: {_ELSE if there else f'make it, or {_ELSE}'}"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(f"whoever runs the playbook may not write to {directory}: let them, or {_ELSE}")
    with suppress(FileNotFoundError):
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(
                f"it is a symbolic link, which would be replaced: name the file that is meant, {os.path.realpath(place)}"
            )
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no file that can be replaced, such as a pipe or a device"
            raise OSError(f"it is {kind}: {_ELSE}")


def fault(error: OSError, path: str) -> str:
    """Why a file cannot be written, as the end of a sentence: what is in the way, where that can be seen."""
    if error.errno is None:  # refused here, with the reason
        return str(error)
    there = os.path.abspath(path)
    if os.path.isdir(there):
        return f"{there} is a folder"
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if there != os.path.abspath(path) and not os.path.isdir(there):
        return f"{there} is a file, and a folder is needed there"
    folder = there if os.path.isdir(there) else os.path.dirname(there)
    known = {
        errno.EACCES: f"the user with the number {os.geteuid()} may not write into {folder}",
        errno.EPERM: f"the user with the number {os.geteuid()} may not write into {folder}",
        errno.EROFS: f"the file system of {folder} is read-only",
        errno.ENOSPC: f"the file system of {folder} is full",
        errno.EDQUOT: f"the quota of the user with the number {os.geteuid()} is used up in {folder}",
    }
    return known.get(error.errno or 0, f"{error.strerror or error} ({folder})")


@contextmanager
def _held(directory: str) -> Iterator[None]:
    """Keep others out who update a file there. A file system without locks has none, and nobody is waited for without end."""
    handle, end = os.open(directory, os.O_RDONLY), time.monotonic() + PATIENCE
    try:
        while not _locked(handle) and time.monotonic() < end:
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _text(path: str) -> str:
    """What is in it; nothing where there is none. What cannot be read is not replaced."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise OSError(f"what is in it is no text, and would be lost: {_ELSE}, or remove it") from None
    except PermissionError:
        raise OSError(f"whoever runs the playbook may not read what is in it: let them, or {_ELSE}") from None


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
