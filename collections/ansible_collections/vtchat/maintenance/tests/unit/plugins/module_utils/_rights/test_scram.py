# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifiers by known answers. That the server makes the same of each password is tested in the integration tests."""

from __future__ import annotations

import base64

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._rights import scram

# The exchange of RFC 7677, section 3, gives the salt and, through the server's signature, the server's key.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_7677 = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_known_answer() -> None:
    assert scram.verifier("pencil", 4096, SALT) == RFC_7677
    assert scram.matches("pencil", RFC_7677)
    assert not scram.matches("Pencil", RFC_7677)


def test_salt_is_new_each_time() -> None:
    first, second = scram.verifier("pencil"), scram.verifier("pencil")
    assert first != second
    assert scram.matches("pencil", first)
    assert scram.matches("pencil", second)


def test_stored_iterations_count() -> None:
    stored = scram.verifier("pencil", 7)
    assert stored.startswith("SCRAM-SHA-256$7:")
    assert scram.matches("pencil", stored)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "md5" + "0" * 32,
        "pencil",
        RFC_7677 + "x",
        RFC_7677.replace("$4096:", "$0:"),
        RFC_7677.replace("W22Z", "W2=Z"),
        RFC_7677.replace("WG5d", "XG5d"),
        RFC_7677.replace(":wfPL", ":xfPL"),
    ],
)
def test_what_does_not_match(stored: str | None) -> None:
    assert not scram.matches("pencil", stored)


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("user name", "user name"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("I\u00adX", "IX"),
        ("x\u00a0y", "x y"),
        ("x\u200by", "x y"),
        ("e\u0301", "\u00e9"),
        ("\u0627\u0628", "\u0627\u0628"),
        # As they are: RFC 4013 forbids them
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u0627a\u0628\ufb01", "\u0627a\u0628\ufb01"),
        ("\u0007", "\u0007"),
        ("\ufb01\u0007", "\ufb01\u0007"),
        ("\ufb01\ue000", "\ufb01\ue000"),
        ("\u00ad", "\u00ad"),
        ("\ufb01\U0001f600", "\ufb01\U0001f600"),
    ],
)
def test_saslprep(password: str, prepared: str) -> None:
    assert scram.prepared(password) == prepared.encode()
