# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection string: what libpq gets, and that no message repeats it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _dsn
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError

SECRET = "Pa55'w\"o%r@d/#?:ü &x"
NO_ENVIRONMENT: dict[str, str] = {}


def parse(text: str, tls: str = "require", **environ: str) -> _dsn.Dsn:
    return _dsn.parse(text, tls, environ)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("postgresql://u:p%40ss@h/d", {"user": "u", "password": "p@ss", "host": "h", "port": "5432", "dbname": "d"}),
        ("postgres://h", {"host": "h", "port": "5432"}),
        ("POSTGRESQL://h:6543", {"host": "h", "port": "6543"}),
        (" postgresql://h/d \n", {"host": "h", "dbname": "d"}),
        ("postgresql://a:1,b/d", {"host": "a,b", "port": "1,5432"}),
        ("postgresql://[::1]:7/d", {"host": "::1", "port": "7"}),
        ("postgresql:///d?host=%2Fvar%2Frun&port=5433", {"host": "/var/run", "port": "5433", "dbname": "d"}),
        ("postgresql://h/d?ssl=true", {"sslmode": "require"}),
        ("postgresql://u:a%2Bb+c@h/d", {"password": "a+b+c"}),
        ("postgresql://u:@h/d", {"user": "u"}),
        ("postgresql://h/d?options=-c%20geqo%3Doff&application_name=x", {"options": "-c geqo=off"}),
        ("host=h dbname=d password='a b\\'c'", {"host": "h", "dbname": "d", "password": "a b'c"}),
        ("dbname=d", {"dbname": "d"}),
    ],
)
def test_keywords(text: str, wanted: dict[str, str]) -> None:
    keywords = parse(text).keywords
    assert {key: keywords.get(key) for key in wanted} == wanted


def test_without_a_string_libpq_decides() -> None:
    assert parse("").keywords == {}
    assert parse("  ").keywords == {}


def test_a_named_host_is_not_redirected_by_the_environment() -> None:
    keywords = parse("postgresql://h/d", PGHOST="evil", PGHOSTADDR="10.0.0.1", PGPORT="1").keywords
    assert (keywords["host"], keywords["hostaddr"], keywords["port"]) == ("h", "", "5432")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"mysql://u:{SECRET}@h/d", "postgresql://"),
        (f"postgresql://u:{SECRET}@h/d", "%25"),
        ("postgresql://u:Pa55w@rd@h/d", "%40"),
        ("postgresql://u:Pa55w/rd@h/d", "%2F"),
        ("postgresql://u:Pa55w?rd@h/d", "%3F"),
        ("postgresql://u:Pa55w%zz@h/d", "%25"),
        ("postgresql://u:Pa55w%00@h/d", "%"),
        ("postgresql://u:Pa55w%ff@h/d", "UTF-8"),
        ("postgresql://u:Pa55w:rd@h:x/d", "port"),
        ("postgresql://u:Pa55w@h:0/d", "port"),
        ("postgresql://u:Pa55w@h:65536/d", "port"),
        ("postgresql://u:Pa55w@h/d?sslmod=require", "sslmod"),
        ("postgresql://u:Pa55w@h/d?Pa55w", "parameter"),
        ("postgresql://u:Pa55w@h/d?sslmode=Pa55w", "sslmode"),
        ("Pa55w", "keyword"),
        ("password=Pa55w rd host", "keyword"),
        ("host=h passwort=Pa55w", "keyword"),
        ("password='Pa55w", "keyword"),
    ],
)
def test_faults_are_told_without_repeating_the_string(text: str, hint: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    message = str(caught.value)
    assert hint in message
    assert "Pa55" not in message
    assert "rd" not in message.replace("word", "")


@pytest.mark.parametrize("encoded", [quote(SECRET, safe=""), "".join(f"%{byte:02x}" for byte in SECRET.encode())])
def test_no_form_of_a_password_survives(encoded: str) -> None:
    url = f"postgresql://u:{encoded}@h/d"
    dsn = parse(url)
    assert dsn.keywords["password"] == SECRET
    for form in (SECRET, encoded, quote(SECRET, safe=""), quote(SECRET), url):
        assert dsn.scrub(f"cannot connect: {form}!") in (
            "cannot connect: ********!",
            "cannot connect: postgresql://u:********@h/d!",
        )
    assert SECRET not in repr(dsn)
    assert encoded not in repr(dsn)


def test_every_secret_keyword_is_scrubbed() -> None:
    dsn = parse("host=h password=one11 sslpassword=two22")
    assert dsn.scrub("one11 two22") == "******** ********"


def test_password_of_the_environment_is_scrubbed_where_it_is_used() -> None:
    assert parse("dbname=d", PGPASSWORD="Pa55word").scrub("Pa55word") == _dsn.MASK


@pytest.mark.parametrize(
    ("text", "tls", "environ", "mode"),
    [
        ("postgresql://db.example.com/d", "require", {}, "require"),
        ("postgresql://db.example.com/d", "verify-full", {}, "verify-full"),
        ("postgresql://db.example.com/d?sslmode=disable", "require", {}, "require"),
        ("postgresql://db.example.com/d?sslmode=prefer", "require", {}, "require"),
        ("postgresql://db.example.com/d?sslmode=verify-ca", "require", {}, "verify-ca"),
        ("postgresql://db.example.com/d?sslmode=require", "verify-full", {}, "verify-full"),
        ("postgresql://db.example.com/d", "require", {"PGSSLMODE": "disable"}, "require"),
        ("postgresql://db.example.com/d", "require", {"PGSSLMODE": "verify-full"}, "verify-full"),
        ("host=localhost hostaddr=192.0.2.1", "require", {}, "require"),
        ("host=localhost,192.0.2.1", "require", {}, "require"),
        ("dbname=d", "require", {"PGHOST": "db.example.com"}, "require"),
        ("postgresql://localhost/d", "require", {}, None),
        ("postgresql://127.0.0.1/d?sslmode=disable", "verify-full", {}, "disable"),
        ("postgresql://[::1]/d", "require", {}, None),
        ("host=/var/run/postgresql", "verify-full", {}, None),
        ("", "verify-full", {}, None),
        ("postgresql://localhost.example.com/d", "require", {}, "require"),
        ("postgresql://127.0.0.1.example.com/d", "require", {}, "require"),
    ],
)
def test_tls_off_loopback(text: str, tls: str, environ: dict[str, str], mode: str | None) -> None:
    assert _dsn.parse(text, tls, environ).keywords.get("sslmode") == mode


def test_system_roots_or_those_given(tmp_path: Any) -> None:
    url = "postgresql://db.example.com/d"
    roots = tmp_path / "roots.pem"
    roots.touch()
    assert _dsn.parse(url, "verify-full", {"PGSSLROOTCERT": str(roots)}).keywords["sslrootcert"] == str(roots)
    assert _dsn.parse(f"{url}?sslrootcert=/mine.pem", "verify-full", {}).keywords["sslrootcert"] == "/mine.pem"
    assert "sslrootcert" not in _dsn.parse(url, "require", {}).keywords
