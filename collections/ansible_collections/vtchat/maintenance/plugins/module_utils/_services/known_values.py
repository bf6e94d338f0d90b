# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Values that a platform takes and never gives back: what is known of them, and what is to be done.

Whether such a secret already has the wanted value can only be judged, on one of three bases:

fingerprint  A keyed fingerprint of the value is kept beside the platform's own mark of its last change (the stamp). Both must
             match; then we wrote this value, and nobody has written since.
presence     There is a secret of that name. Its value is not looked at.
always       Nothing is believed, every value is written.

``decide_values`` is pure: what is wanted and what is known goes in, one Change for each name comes out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import OptionError

FORMAT = "v1"
KEY_BYTES = 32


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


@dataclass(frozen=True, repr=False)
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


def decide_values(
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
