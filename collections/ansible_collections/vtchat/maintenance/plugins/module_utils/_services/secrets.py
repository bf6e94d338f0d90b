# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Secrets on a platform that takes values and never gives them back: names, fingerprints, and what is to be done.

Whether such a secret already has the wanted value can only be judged, on one of three bases:

fingerprint  A keyed fingerprint of the value is kept beside the platform's own mark of its last change (the stamp). Both must
             match; then we wrote this value, and nobody has written since.
presence     There is a secret of that name. Its value is not looked at.
always       Nothing is believed, every value is written.

``decide`` is pure: what is wanted and what is known goes in, one Change for each name comes out.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from .._errors import MaintenanceError, OptionError

FORMAT = "v1"
BASES = ("fingerprint", "presence", "always")
KEY_BYTES = 32


@dataclass(frozen=True)
class Rules:
    """What a platform takes. Names are compared in upper case where ``fold`` says so."""

    value_bytes: int
    pattern: str = r"[A-Za-z_][A-Za-z0-9_]*"
    said: str = "letters, digits and _, not beginning with a digit"
    reserved: tuple[str, ...] = ()
    fold: bool = True


@dataclass(frozen=True)
class Place:
    """Where a secret lives; part of its fingerprint, so that none can be carried over to another place."""

    platform: str
    target: str
    scope: str


@dataclass(frozen=True)
class Record:
    """What is kept of a secret after it was written. No value can be computed from it without the key."""

    key_id: str
    mac: str
    stamp: str

    def text(self) -> str:
        return ":".join((FORMAT, self.key_id, self.mac, self.stamp))


@dataclass(frozen=True)
class Judge:
    """The basis of every verdict, with the operator's key where it needs one."""

    basis: str
    place: Place
    key: str = ""

    def record(self, name: str, value: str, stamp: str) -> Record:
        return Record(key_id(self.key), fingerprint(self.key, self.place, name, value), stamp)


@dataclass(frozen=True)
class Change:
    """What is to be done about one name. ``verb``: create, update, delete or keep."""

    name: str
    verb: str
    reason: str


def judge(basis: str | None, key: str | None, place: Place) -> Judge:
    """The basis that was asked for; without one, fingerprint when there is a key and always when not. Raises OptionError."""
    basis = basis or ("fingerprint" if key else "always")
    if basis != "fingerprint":
        return Judge(basis, place)
    if len((key or "").encode("utf-8", "surrogateescape")) < KEY_BYTES:
        raise OptionError([f"fingerprint_key: the basis fingerprint needs a key of at least {KEY_BYTES} bytes"])
    return Judge(basis, place, key or "")


def checked(option: str, given: Any, rules: Rules) -> tuple[dict[str, str], list[str]]:
    """Names and values of a mapping as the platform stores them, and every fault. No fault repeats a value or a faulty name."""
    if given is None:
        return {}, []
    if not isinstance(given, Mapping):
        return {}, [f"{option}: it must be a mapping of names to values"]
    names, faults = checked_names(option, list(given), rules)
    values = dict(zip(names, given.values())) if not faults else {}
    for name, value in values.items():
        faults += [f"{option}: {name}: {fault}" for fault in _value_faults(value, rules)]
    return values, faults


def checked_names(option: str, given: Any, rules: Rules) -> tuple[list[str], list[str]]:
    """The names of a list or mapping as the platform stores them, and every fault."""
    if given is None:
        return [], []
    if not isinstance(given, (list, Mapping)):
        return [], [f"{option}: it must be a list of names"]
    names: list[str] = []
    faults = []
    for number, name in enumerate(given, 1):
        which = f"{option}: name {number}"
        if not isinstance(name, str) or not re.fullmatch(rules.pattern, name, re.ASCII):
            faults.append(f"{which}: a name consists of {rules.said}")
            continue
        stored = name.upper() if rules.fold else name
        if stored.startswith(rules.reserved):
            faults.append(f"{which}: it begins with {' or '.join(rules.reserved)}, which is reserved")
        if stored in names:
            faults.append(
                f"{which}: {stored} is there twice{', upper and lower case being the same' if rules.fold else ''}"
            )
        names.append(stored)
    return names, faults


def misplaced(given: Any, rules: Rules) -> list[str]:
    """Texts that stand where names should and are none: they may be values, and are treated like those."""
    given = list(given) if isinstance(given, (list, Mapping)) else []
    return [str(name) for name in given if not re.fullmatch(rules.pattern, str(name), re.ASCII)]


def _value_faults(value: Any, rules: Rules) -> list[str]:
    if not isinstance(value, str):
        return [f"the value must be text, and it is {type(value).__name__}: write it in quotes, or check the lookup"]
    if not value:
        return ["the value is empty; most often a variable is not set where it is read from"]
    if "\0" in value:
        return ["no environment variable can hold a null byte"]
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return ["the value is not text in UTF-8"]
    return [f"the value has {size} bytes, the limit is {rules.value_bytes}"] if size > rules.value_bytes else []


def texts(given: Any) -> list[str]:
    """All texts inside an option, whatever its shape; the names of a mapping are none."""
    if isinstance(given, Mapping):
        return [text for value in given.values() for text in texts(value)]
    if isinstance(given, (list, tuple)):
        return [text for value in given for text in texts(value)]
    return [] if given is None or isinstance(given, bool) else [str(given)]


def forms(value: str) -> set[str]:
    """Every spelling in which a value, or the password in a URL, may come back. Under three characters nothing can be told."""
    parts = {value, value.strip()}
    user_part = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", value).rpartition("@")[0] if "://" in value else ""
    password = user_part.partition(":")[2]
    if password:
        parts |= {user_part, password, unquote(password)}
    spelt: set[str] = {value}
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        spelt |= {part, quote(raw, safe=""), quote(raw), quote_plus(raw), unquote(part), repr(part)[1:-1]}
        spelt |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], raw.hex()}
        spelt |= {base64.b64encode(raw).decode("ascii"), base64.urlsafe_b64encode(raw).decode("ascii")}
        spelt |= {line for line in part.splitlines() if len(line) > 7}
    return {form for form in spelt if len(form) > 2 or (form and form == value)}


def key_id(key: str) -> str:
    """Tells one key from another, and nothing else about it."""
    return _mac(key, ["key id"]).hex()[:8]


def fingerprint(key: str, place: Place, name: str, value: str) -> str:
    """HMAC-SHA256 over the format, the place, the name and the value, in base64."""
    mac = _mac(key, [FORMAT, place.platform, place.target, place.scope, name, value])
    return base64.urlsafe_b64encode(mac).decode("ascii")


def _mac(key: str, fields: list[str]) -> bytes:
    # Each field carries its length, so that no two lists of fields are the same bytes.
    raw = [one.encode("utf-8", "surrogateescape") for one in fields]
    message = b"".join(len(one).to_bytes(8, "big") + one for one in raw)
    return hmac.new(key.encode("utf-8", "surrogateescape"), message, hashlib.sha256).digest()


def read_record(text: str) -> Record | None:
    """A record from its text; None if it is not one, or of a format that we do not know."""
    parts = text.split(":", 3)
    return Record(*parts[1:]) if len(parts) == 4 and parts[0] == FORMAT else None


def decide(
    wanted: Mapping[str, str],
    known: Mapping[str, str],
    records: Mapping[str, Record | None],
    judge: Judge,
    rewrite: Mapping[str, str] | None = None,
) -> list[Change]:
    """What to do for each wanted name.

    known    name -> stamp of every secret that the platform has
    records  name -> what was kept when we last wrote it
    rewrite  name -> reason to write it in any case
    """
    return [_change(name, value, known, records, judge, rewrite or {}) for name, value in wanted.items()]


def _change(
    name: str,
    value: str,
    known: Mapping[str, str],
    records: Mapping[str, Record | None],
    judge: Judge,
    rewrite: Mapping[str, str],
) -> Change:
    if name not in known:
        return Change(name, "create", "it is not there yet")
    if name in rewrite:
        return Change(name, "update", rewrite[name])
    if judge.basis == "presence":
        return Change(name, "keep", "there is one of that name; its value was not compared")
    if judge.basis == "always":
        return Change(name, "update", "its value cannot be read, and the basis is to write it always")
    fault = _difference(records.get(name), judge.record(name, value, known[name]))
    if fault:
        return Change(name, "update", fault)
    return Change(name, "keep", "the value is the one written last, and nobody has written since")


def _difference(kept: Record | None, now: Record) -> str:
    if kept is None:
        return "no fingerprint of it is kept"
    if kept.key_id != now.key_id:
        return "its fingerprint was made with another key"
    if not hmac.compare_digest(kept.mac.encode("utf-8", "surrogatepass"), now.mac.encode("utf-8")):
        return "the value is another one"
    if kept.stamp != now.stamp:
        return (
            "it was written after its fingerprint was kept: by somebody else (drift), by a run without the key, or by one "
            "that did not end"
        )
    return ""


def removals(names: Iterable[str], known: Mapping[str, Any], reason: str) -> list[Change]:
    """What to do so that none of the names is there."""
    return [
        Change(name, "delete", reason) if name in known else Change(name, "keep", "it is not there") for name in names
    ]


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
