# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, 5803), so that no password ever stands in SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

ITERATIONS = 4096
SALT_BYTES = 16

_FORM = re.compile(r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def verifier(password: str, iterations: int = ITERATIONS, salt: bytes | None = None) -> str:
    """``SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey``, with a new salt unless one is given."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server_key = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def matches(password: str, stored: str | None) -> bool:
    """Whether a stored verifier was made of this password. False for none and for other kinds, such as MD5."""
    found = _FORM.fullmatch(stored or "")
    if stored is None or found is None or int(found[1]) < 1:
        return False
    try:
        salt = base64.b64decode(found[2], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(verifier(password, int(found[1]), salt), stored)


def prepared(password: str) -> bytes:
    """What PostgreSQL hashes: the password after SASLprep (RFC 4013), or as it is where SASLprep does not allow it."""
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii():
        return raw
    # U+200B is in both tables of the RFC; PostgreSQL makes it a space.
    spaced = "".join(" " if stringprep.in_table_c12(c) else c for c in password)
    text = unicodedata.normalize("NFKC", "".join(c for c in spaced if not stringprep.in_table_b1(c)))
    if not text or any(table(c) for c in text for table in _PROHIBITED) or not _one_direction(text):
        return raw
    return text.encode()


def _one_direction(text: str) -> bool:
    """RFC 3454, section 6: text from right to left begins and ends so, and has nothing from left to right."""
    right = [stringprep.in_table_d1(c) for c in text]
    return not any(right) or (right[0] and right[-1] and not any(map(stringprep.in_table_d2, text)))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
