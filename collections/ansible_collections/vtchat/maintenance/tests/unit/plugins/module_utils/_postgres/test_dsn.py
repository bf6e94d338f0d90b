# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection string: what libpq gets, and that no message repeats it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import MASK
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import dsn as _dsn

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
    dsn = parse("host=h password=1one1 sslpassword=2two2")
    assert dsn.scrub("1one1 2two2") == "******** ********"


def test_password_of_the_environment_is_scrubbed_where_it_is_used() -> None:
    assert parse("dbname=d", PGPASSWORD="Pa55word").scrub("Pa55word") == MASK


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


GOOD = "postgresql://user:Pa55w%40rd@db.example.com/app"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'"{GOOD}"', "begins with a quotation mark"),
        (f"'{GOOD}'", "begins with a quotation mark"),
        (f"\u2018{GOOD}\u2019", "begins with a quotation mark"),
        (f'{GOOD}"', "ends with a quotation mark"),
        (f"DATABASE_URL={GOOD}", "name of a variable"),
        (f'export DATABASE_URL="{GOOD}"', "name of a variable"),
        (f"database_url = jdbc:{GOOD}", "name of a variable"),
        (f"psql '{GOOD}'", "it is a command"),
        (f"jdbc:{GOOD}", "leave out jdbc:"),
        ("jdbc:postgresql://db.example.com/app?user=u&password=Pa55w", "leave out jdbc:"),
        (GOOD.replace("postgresql", "postgresql+psycopg2"), "leave out the driver"),
        (GOOD.replace("postgresql", "postgresql+asyncpg"), "leave out the driver"),
        ("prisma://accelerate.prisma-data.net/?api_key=Pa55w", "Prisma's proxy"),
        ("prisma+postgres://accelerate.prisma-data.net/?api_key=Pa55w", "Prisma's proxy"),
        (GOOD.replace("postgresql", "https"), "a web page"),
        (GOOD.replace("postgresql", "mysql"), "must begin with postgresql://"),
        (GOOD.replace("//", "/"), "both slashes"),
        (GOOD.partition(":")[2], "the beginning is missing"),
        (GOOD.partition("//")[2], "the beginning is missing"),
        ("$DATABASE_URL", "placeholder"),
        ("${{ secrets.DATABASE_URL }}", "placeholder"),
        ("Host=db.example.com;Username=u;Password=Pa55w;Database=d", ".NET"),
        (GOOD.replace("app", "a\npp"), "line break"),
        ("\ufeff" + GOOD, "invisible"),
        (GOOD + "\0", "NUL"),
    ],
)
def test_strings_of_another_kind_are_told_for_what_they_are(text: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "Pa55" not in str(caught.value)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [GOOD + "\n", GOOD + "\r\n", f" \t{GOOD}\n\n", "host=h\nuser=u\n", "host=h password=a;b=c"]
)
def test_what_surrounds_a_string_does_no_harm(text: str) -> None:
    assert parse(text).keywords["host"] in ("db.example.com", "h")


def test_all_unknown_parameters_are_told_at_once_with_what_replaces_them() -> None:
    with pytest.raises(OptionError) as caught:
        parse(f"{GOOD}?schema=public&pgbouncer=true&connection_limit=5&sslaccept=strict&sslmod=require&Pa55=Pa55")
    assert len(caught.value.errors) == 6
    message = str(caught.value)
    for said in ("schema.table", "pooler: direct", "connection_limit", "sslmode=verify-full", "did you mean sslmode"):
        assert said in message
    assert "Pa55" not in message


@pytest.mark.parametrize("word", ["postgres", "sessions", "Admin", "5432", "users2024", "VTCHAT"])
def test_a_password_that_is_a_word_masks_no_names(word: str) -> None:
    dsn = parse(f"postgresql://{word}:{word}@db.example.com:5432/app")
    said = (
        f'permission denied for table {word}, role "{word}", port 5432, public.{word}: password authentication failed'
    )
    assert dsn.scrub(said) == said
    for place in (
        f"password={word}",
        f"password = '{word}'",
        f'"password": "{word}"',
        f"PASSWORD '{word}'",
        f"PGPASSWORD={word} x",
    ):
        assert word not in dsn.scrub(place).replace(MASK, ""), place
    assert dsn.scrub(f"postgresql://u:{word}@h/d") == f"postgresql://u:{MASK}@h/d"


def test_a_password_that_is_public_by_another_name_is_masked_where_passwords_stand() -> None:
    dsn = parse("host=h user=App-User!7x password=App-User!7x")
    assert dsn.scrub('role "App-User!7x"') == 'role "App-User!7x"'
    assert dsn.scrub("password=App-User!7x") == f"password={MASK}"


@pytest.mark.parametrize("password", ["Pa55word", "correcthorsebatterystaple", "x7k-", "aB3dE9", "npg_4fG7hJ2k"])
def test_every_other_password_is_masked_everywhere(password: str) -> None:
    assert parse(f"host=h password={password}").scrub(f"it says {password}.") == f"it says {MASK}."


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("postgres://u:p@vtchat-db.flycast:5432/d?sslmode=disable", "disable"),
        ("postgres://u:p@top1.nearest.of.vtchat-db.internal/d?sslmode=disable", "disable"),
        ("postgres://u:p@[fdaa:0:1::3]/d", "prefer"),
        ("postgres://u:p@10.1.2.3,192.168.0.4/d?sslmode=require", "require"),
        ("postgres://u:p@172.31.255.255/d?sslmode=disable", "disable"),
        ("postgres://u:p@localhost/d?sslmode=disable", "disable"),
    ],
)
def test_tls_private(text: str, mode: str) -> None:
    dsn = parse(text, "private")
    assert (dsn.keywords["sslmode"], dsn.private) == (mode, True)
    strict = parse(text)
    assert strict.private is False
    assert "localhost" in text or strict.keywords["sslmode"] == "require"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("postgres://u:p@db.example.com/d?sslmode=disable", {}),
        ("postgres://u:p@172.32.0.1/d", {}),
        ("postgres://u:p@8.8.8.8/d", {}),
        ("postgres://u:p@[2001:db8::1]/d", {}),
        ("postgres://u:p@a.internal,db.example.com/d", {}),
        ("postgres://u:p@a.internal.example.com/d", {}),
        ("postgres://u:p@notinternal/d", {}),
        ("host=a.internal hostaddr=8.8.8.8", {}),
        ("dbname=d", {"PGHOST": "a.internal"}),
    ],
)
def test_tls_private_is_for_private_hosts_that_are_stated(text: str, environ: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="tls: private"):
        _dsn.parse(text, "private", environ)
