# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The file in which records of secrets are kept on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .._errors import MaintenanceError
from .known_values import Place, Record, read_record


class FileRecords:
    """Records in a local file that only its owner can read, one JSON object from place and name to record."""

    def __init__(self, path: str, place: Place) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._prefix = json.dumps([place.platform, place.target, place.scope])[1:-1] + ", "

    def load(self) -> dict[str, Record | None]:
        """Name -> record of this place. Raises MaintenanceError when the file cannot be trusted or read."""
        self._need_folder()
        length = len(self._prefix)
        return {key[length:]: read_record(text) for key, text in self._read().items() if key.startswith(self._prefix)}

    def save(self, name: str, record: Record | None) -> None:
        """Keep a record, or forget it when it is None. Others may write the same file at the same time."""
        with self._locked():
            texts = self._read()
            texts.pop(self._prefix + name, None)
            if record is not None:
                texts[self._prefix + name] = record.text()
            self._write(texts)

    def _need_folder(self) -> None:
        """Before a secret is written, not after: without the file every run would write it again."""
        folder = os.path.dirname(self._path)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise MaintenanceError(f"fingerprint_file: nothing can be written in {folder}")

    def _read(self) -> dict[str, str]:
        try:
            with open(self._path, encoding="utf-8") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise MaintenanceError(f"fingerprint_file: others may open {self._path}: chmod 600 it first")
                texts = json.load(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise MaintenanceError(f"fingerprint_file: cannot read {self._path}: {type(error).__name__}") from None
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise MaintenanceError(f"fingerprint_file: {self._path} is not a file of fingerprints")
        return texts

    def _write(self, texts: Mapping[str, str]) -> None:
        # A file beside it that takes its place: a crash leaves either the old one or the new one, never half of it.
        try:
            folder, name = os.path.split(self._path)
            self._remove_leftovers(folder, name)
            handle, beside = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    json.dump(texts, file, indent=1, sort_keys=True)
                    file.write("\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, self._path)
            except BaseException:
                os.unlink(beside)
                raise
        except OSError as error:
            raise MaintenanceError(f"fingerprint_file: cannot write {self._path}: {error.strerror}") from None

    @staticmethod
    def _remove_leftovers(folder: str, name: str) -> None:
        """Files of runs that were killed while they wrote. Nobody else writes one now: the folder is locked."""
        for found in os.listdir(folder):
            if re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}\.tmp", found):
                os.unlink(os.path.join(folder, found))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            directory = os.open(os.path.dirname(self._path), os.O_RDONLY)
        except OSError as error:
            raise MaintenanceError(f"fingerprint_file: cannot open its folder: {error.strerror}") from None
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)
