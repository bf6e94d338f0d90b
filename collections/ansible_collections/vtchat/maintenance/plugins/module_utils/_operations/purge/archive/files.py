# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Rows in files: compressed COPY text, a manifest, and the script that puts the rows back. Knows no database.

One folder for each run and table, one file for each transaction. The name of a file says what is known of its transaction:

``000001.copy.gz.tmp``        is being written: its transaction has not been committed
``000001.copy.gz.in-doubt``   is complete and on the disk; COMMIT has been sent, or is about to be
``000001.copy.gz``            is committed: its rows are in no table any more

A process that dies at any point leaves one of them. ``settle`` tells them apart later, by the status of the transaction.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

FORMAT = 1
MANIFEST, RESTORE = "manifest.json", "restore.sql"
DATA, DOUBT, TEMPORARY = ".copy.gz", ".in-doubt", ".tmp"
MOST_FILES = 1000  # in one folder: its manifest is written anew with each of them
LEVEL = 3  # of compression: locks are held meanwhile
BUFFER = 1 << 18  # bytes
GZIP = 16 + zlib.MAX_WBITS  # zlib's word for a gzip header, without a time in it
COMMITTED, ABORTED = "committed", "aborted"  # as pg_xact_status() says


class Chunk:
    """One file while it is written.

    write() never raises: the driver would stop in the middle of COPY. What went wrong is raised by close().
    """

    def __init__(self, path: Path) -> None:
        """Make the file. path: its name in the end. Raises OSError."""
        self.path = path
        self.temporary = path.with_name(path.name + TEMPORARY)
        self.doubtful = path.with_name(path.name + DOUBT)
        self.rows = self.bytes = 0
        self.digest = hashlib.sha256()
        self._error: OSError | None = None
        self._buffer = bytearray()
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._handle = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> int:
        """Take some of the text. A line is a row, for COPY writes a line break inside of a value as backslash and n."""
        self.rows += data.count(b"\n")
        self._buffer += data
        if len(self._buffer) >= BUFFER:
            self._put(self._compressor.compress(bytes(self._buffer)))
            self._buffer.clear()
        return len(data)

    def close(self) -> None:
        """Complete the file, and wait until it is on the disk. Raises OSError."""
        self._put(self._compressor.compress(bytes(self._buffer)) + self._compressor.flush())
        try:
            if self._error:
                raise self._error
            os.fsync(self._handle)
        finally:
            self._shut()

    def discard(self) -> None:
        """Remove it: its transaction was rolled back. What cannot be removed has a name that says so."""
        self._shut()
        for path in (self.temporary, self.doubtful):
            with suppress(OSError):
                path.unlink()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._error:
            try:
                written = os.write(self._handle, view)
            except OSError as error:
                self._error = error
                return
            self.digest.update(view[:written])
            self.bytes += written
            view = view[written:]

    def _shut(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


class Folder:
    """The files of one table and run. It is made with the first of them, and locked as long as this process lives."""

    def __init__(self, parent: Path, facts: Mapping[str, Any], script: str) -> None:
        """parent: the place of the table; facts: what the manifest says besides files; script: that puts the rows back."""
        self.parent, self.facts, self.script = parent, dict(facts), script
        self.files: list[dict[str, Any]] = []
        self.path: Path | None = None
        self._number = 0
        self._lock = -1

    def open(self) -> Chunk:
        """The next file, in another folder where this one has many. Raises OSError."""
        if self._number >= MOST_FILES:
            self.end()
            self.files, self._number = [], 0
            self.facts.pop("started", None), self.facts.pop("ended", None)
        if self.path is None:
            self._make()
        self._number += 1
        return Chunk(self._place / f"{self._number:06}{DATA}")

    def keep(self, chunk: Chunk, transaction: str) -> None:
        """Before COMMIT: whatever happens from now on, the rows are in the file, and it says so. Raises OSError."""
        chunk.close()
        os.rename(chunk.temporary, chunk.doubtful)
        self.files.append(
            {
                "name": chunk.path.name,
                "rows": chunk.rows,
                "bytes": chunk.bytes,
                "sha256": chunk.digest.hexdigest(),
                "transaction": transaction,
            }
        )
        self._write_manifest()

    def confirm(self, chunk: Chunk) -> None:
        """After COMMIT. Where the name cannot be changed any more, the next run does it."""
        with suppress(OSError):
            os.rename(chunk.doubtful, chunk.path)

    def withdraw(self, chunk: Chunk) -> None:
        """After ROLLBACK."""
        chunk.discard()
        if self.files and self.files[-1]["name"] == chunk.path.name:
            self.files.pop()
            with suppress(OSError):  # it names a file too many, of which the name says that it is gone
                self._write_manifest()

    def end(self) -> None:
        """Nothing more comes. A folder without rows is removed. What cannot be written any more was not needed."""
        if self.path is None:
            return
        with suppress(OSError):
            if self.files:
                self.facts["ended"] = now()
                self._write_manifest()
            else:
                _remove(self.path)
        os.close(self._lock)
        self.path = None

    @property
    def _place(self) -> Path:
        if self.path is None:
            raise RuntimeError("the folder is not open")
        return self.path

    def _make(self) -> None:
        make_folders(self.parent)
        self.facts.setdefault("started", now())
        name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.path = self.parent / name
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks: leftovers stay there until somebody removes them
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_atomically(self.path / RESTORE, self.script)
        self._write_manifest()
        sync(self.parent)

    def _write_manifest(self) -> None:
        write_manifest(self._place, {**self.facts, "files": self.files})


def place(directory: str, *names: str) -> Path:
    """Where the files of a table are: a folder for each of its names, in which what could lead elsewhere is written %2F."""
    parts = [quote(name, safe=" -_+=@,") for name in names]
    return Path(directory, *(f"%2E{part[1:]}" if part.startswith(".") else part for part in parts))


def make_folders(path: Path) -> None:
    """A folder and those above it that are missing, for our eyes only, each on the disk before the next. Raises OSError."""
    if not path.is_dir():
        make_folders(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not on every file system
            raise
    finally:
        os.close(handle)


def write_manifest(folder: Path, told: dict[str, Any]) -> None:
    """Put the manifest in the place of the one before, with the sum of the rows. Raises OSError."""
    told = {"format": FORMAT, "ended": None, **told, "rows": sum(file["rows"] for file in told["files"])}
    write_atomically(folder / MANIFEST, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """A file that is the old or the new one as a whole, and on the disk with its name. Raises OSError."""
    beside = path.with_name(path.name + TEMPORARY)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync(path.parent)


def settle(parent: Path, status: Callable[[dict[str, Any], str], str | None]) -> dict[str, int]:
    """What earlier runs of this table have left is told apart; how many files were committed, aborted and still in doubt.

    status(manifest, transaction) says what became of a transaction, None where nobody knows. Runs that still live are left
    alone. Raises OSError.
    """
    found = {COMMITTED: 0, ABORTED: 0, "in_doubt": 0}
    for folder in sorted(parent.glob("*/")):
        if any(folder.glob(f"*{DATA}.*")):
            with _abandoned(folder) as abandoned:
                if abandoned:
                    _settle_folder(folder, status, found)
    return found


def doubtful(parent: Path) -> bool:
    """Whether an earlier run of this table has left something to settle()."""
    return any(parent.glob(f"*/*{DATA}.*"))


def _settle_folder(folder: Path, status: Callable[[dict[str, Any], str], str | None], found: dict[str, int]) -> None:
    for rest in folder.glob(f"*{TEMPORARY}"):
        rest.unlink()
    manifest = _manifest(folder)
    transactions = {str(file["name"]): str(file["transaction"]) for file in manifest.get("files", [])}
    for path in sorted(folder.glob(f"*{DATA}{DOUBT}")):
        name = path.name[: -len(DOUBT)]
        # Without an entry COMMIT was never sent, and the server has rolled back when it missed us.
        became = status(manifest, transactions[name]) if name in transactions else ABORTED if manifest else None
        found[became if became in (COMMITTED, ABORTED) else "in_doubt"] += 1
        if became == COMMITTED:
            path.rename(folder / name)
        elif became == ABORTED:
            path.unlink()
            manifest["files"] = [file for file in manifest["files"] if file["name"] != name]
            write_manifest(folder, manifest)
    sync(folder)
    if manifest and not manifest["files"] and not any(folder.glob(f"*{DATA}*")):
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder without rows."""
    for name in (MANIFEST, RESTORE):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says, nothing where it is of no use."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if isinstance(told, dict) and told.get("format") == FORMAT and all(map(_entry, told["files"])):
            return told
    return {}


def _entry(told: object) -> bool:
    """Whether it is what a manifest says of a file: somebody may have written into it."""
    return isinstance(told, dict) and told.keys() >= {"name", "rows", "transaction"} and isinstance(told["rows"], int)


@contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether the run that wrote there is over; nobody else looks meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def fault(directory: str, *names: str) -> str:
    """Why nothing can be written to a directory, or nothing. Nothing is made to find that out."""
    try:
        top = os.stat(directory).st_mode
    except FileNotFoundError:
        return (
            f"archive.directory: {directory} does not exist on this machine: make it, for the user that runs this alone"
        )
    except OSError as error:  # such as: above it is something that this user may not enter
        why = f"{error.strerror or error} ({directory})"
        return f"archive.directory: {why}, for user number {os.geteuid()}: name another directory"
    if not stat.S_ISDIR(top):
        return f"archive.directory: {directory} is a file: name a directory"
    there = place(directory, *names)
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        return f"archive.directory: {there} is a file, and a directory is needed there: name another directory"
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return f"archive.directory: the file system of {there} is read-only: name another directory"
    if not os.access(there, os.W_OK | os.X_OK | os.R_OK):
        return f"archive.directory: user number {os.geteuid()} may not write into {there}: let it, or name another directory"
    return ""


def now() -> str:
    """The time by the clock of this machine, in ISO format."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
