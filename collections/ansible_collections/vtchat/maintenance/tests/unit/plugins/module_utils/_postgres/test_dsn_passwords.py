# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords of every printable character: no piece of one is shown, and none is taken for a host."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import dsn as _dsn

PRINTABLE = string.printable.strip() + " üß€日"
SEPARATORS = ("@", "/", "?", ":", "#", "&", "=", "%", "%2F", "%40", ",", "[", "]", "'", '"', "\\", " ", "://", "@/", "::",
              " host=", "&host=", "?host=")  # fmt: skip
# Not closed by chance: nobody listens on port 1.
HOST, PORT = "127.0.0.1", "1"
CASES = 600


def passwords() -> Iterator[str]:
    """The same ones in each run: by separators between pieces that no message has, and at random."""
    chance = random.Random(7)  # noqa: S311 - the same passwords each time
    for first in SEPARATORS:
        for second in SEPARATORS:
            yield f"Zq7x{first}Vk9w{second}Jf3y"
            yield f"{first}Zq7xVk9w{second}"
    for _ in range(CASES):
        pieces = ["".join(chance.choices("ZQXVKJ789", k=chance.randint(1, 7))) for _ in range(chance.randint(1, 4))]
        yield "".join(piece + chance.choice(SEPARATORS) for piece in pieces)
        yield "".join(chance.choices(PRINTABLE, k=chance.randint(4, 24)))


def spellings(password: str) -> Iterator[str]:
    """The connection strings that people make of a password, rightly and wrongly."""
    for spelt in (password, quote(password, safe=""), quote(password), "".join(f"%{b:02x}" for b in password.encode())):
        yield f"postgresql://user:{spelt}@{HOST}:{PORT}/database"
        yield f"postgresql://user:{spelt}@{HOST}:{PORT}"
        yield f"postgresql://user%3A{spelt}@{HOST}:{PORT}/database"
        yield f"postgresql://{HOST}:{PORT}/database?user=user&password={spelt}&connect_timeout=2"
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    yield f"host={HOST} port={PORT} dbname=database user=user password='{quoted}'"
    yield f"host={HOST} port={PORT} dbname=database user=user password={password}"
    yield f"password={password} host={HOST} port={PORT} dbname=database user=user"


def shown(password: str, text: str) -> str:
    """A piece of at least four characters of a password, as it is or decoded, that a text has."""
    for form in {password, unquote(password), quote(password, safe="")}:
        for start in range(len(form) - 3):
            piece = form[start : start + 4]
            # Pieces of separators alone, such as "%2F%", are in our own advice.
            if piece in text and any(character in "ZQXVKJqxVkwJfy789" for character in piece):
                return piece
    return ""


def test_no_piece_of_a_password_is_a_host_or_in_a_message() -> None:
    refused = read = 0
    for password in passwords():
        for dsn in spellings(password):
            try:
                keywords, said = _dsn.parse(dsn, "require", {}).keywords, ""
            except OptionError as error:
                keywords, said = {}, str(error)
            refused, read = refused + bool(said), read + bool(keywords)
            # A backslash may take the space before host= into the password: then no host is named.
            assert keywords.get("host") in (HOST, None), dsn
            assert keywords.get("port") in (PORT, None), dsn
            rest = {key: value for key, value in keywords.items() if key not in ("password", "host", "port")}
            assert not shown(password, said + json.dumps(rest, ensure_ascii=False)), dsn
    assert min(refused, read) > 3000


def test_nor_in_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through to the attempt to connect, every seventh."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    options = {"table": "t", "column": "at", "connect_deadline": 0}
    tried = 0
    for number, password in enumerate(passwords()):
        for dsn in list(spellings(password))[number % 7 :: 7]:
            try:
                result = _edge.perform(_edge.validated("purge", {"dsn": dsn, **options}), check=True)
            except OptionError:
                continue
            tried += 1
            said = json.dumps(result, ensure_ascii=False)
            assert "cannot connect" in said
            assert not shown(password, said), (dsn, result)
    assert tried > 300
    assert "Zq7x" not in Path("/proc/self/cmdline").read_text("utf-8") if Path("/proc").exists() else True


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:Zq7x@Vk9w/Jf3y@h/d",
        "postgresql://u:Zq7x@Vk9w?Jf3y@h/d",
        "postgresql://u:Zq7x/Vk9w@h/d",
        "postgresql://u:Zq7x?Vk9w@h/d",
        "postgresql://u:Zq7x@h/d?application_name=a@Vk9w",
        "postgresql://u%3AZq7x@h/d",
        "postgresql://u%3AZq7x%40h/d",
        "postgresql://u:Zq7x@Vk9w%40h/d",
        "postgresql://u:Zq7x@%40Vk9w/d",
        "postgresql://u:Zq7x@Vk9 w/d",
        "postgresql://h/d?password=a&host=Zq7x",
        "postgresql:///d?host=a&password=b&host=Zq7x",
        "postgresql://u:Zq7x@h/d?hostaddr=Vk9w",
        "host=h password=Zq7x host=Vk9w",
        "host=h password=Zq7x dbname=d dbname=Vk9w",
        "host='Zq7x Vk9w' password=x",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_unread(dsn: str) -> None:
    with pytest.raises(OptionError) as caught:
        _dsn.parse(dsn, "require", {})
    assert not any(piece in str(caught.value) for piece in ("Zq7x", "Vk9", "Jf3y"))
