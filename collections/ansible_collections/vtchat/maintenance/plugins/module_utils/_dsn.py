# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The connection string: read by us, because libpq's own messages repeat what they could not read, passwords included."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, quote_plus, unquote

from ._driver import extensions, psycopg2
from ._errors import OptionError

MASK = "********"
_SECRET_KEYWORDS = ("password", "sslpassword", "oauth_client_secret")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Strength of sslmode, weakest first (libpq, "SSL Mode Descriptions").
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Where operating systems keep their trusted roots, for a libpq whose own OpenSSL looks elsewhere.
_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, repr=False)
class Dsn:
    """Keywords for libpq, and the strings that must never be shown."""

    keywords: dict[str, str]
    secrets: frozenset[str]

    @property
    def host(self) -> str:
        """Where the connection goes, for people; empty when libpq's own settings decide."""
        return self.keywords.get("host", "")

    def scrub(self, text: str) -> str:
        """The text without any form of a secret in it."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def with_host(self, host: str) -> Dsn:
        """The same connection to another host."""
        return replace(self, keywords={**self.keywords, "host": host})


def parse(text: str, tls: str = "require", environ: Mapping[str, str] = os.environ) -> Dsn:
    """Read a URL or keyword string; an empty one leaves everything to libpq's environment and service file.

    ``tls`` is the least sslmode off loopback: a weaker one is raised to it. Raises OptionError, whose message never
    repeats any part of the string.
    """
    is_url = re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*://", text)
    keywords = _from_url(text.strip()) if is_url else _from_keywords(text)
    secrets = _forms_of_secrets(keywords, text)
    if "host" in keywords or "hostaddr" in keywords:
        # A string that says where to go is not to be redirected by PGHOSTADDR, PGPORT or PGSERVICE in the environment.
        keywords = {"hostaddr": "", "port": "5432", **keywords}
    elif environ.get("PGPASSWORD"):
        secrets |= _forms_of_secrets({"password": environ["PGPASSWORD"]}, "")
    return Dsn(_with_tls(keywords, tls, environ), secrets)


def is_local(host: str) -> bool:
    """Whether a host (or list of hosts) is this machine: a socket directory, localhost or a loopback address."""
    return all(_is_local(one) for one in host.split(","))


def _is_local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_tls(keywords: dict[str, str], least: str, environ: Mapping[str, str]) -> dict[str, str]:
    host = keywords.get("hostaddr") or keywords.get("host") or environ.get("PGHOSTADDR") or environ.get("PGHOST") or ""
    if is_local(host):
        return keywords
    given = keywords.get("sslmode") or environ.get("PGSSLMODE") or least
    if given not in _SSL_MODES:
        raise OptionError([f"dsn: sslmode must be one of {', '.join(_SSL_MODES)}"])
    mode = max(given, least, key=_SSL_MODES.index)
    keywords = {**keywords, "sslmode": mode}
    if mode.startswith("verify-") and keywords.get("sslrootcert", "system") == "system":
        keywords["sslrootcert"] = _system_roots(environ)
    return keywords


def _system_roots(environ: Mapping[str, str]) -> str:
    import ssl  # takes longer to load than all the rest of this file

    candidates = (environ.get("PGSSLROOTCERT"), ssl.get_default_verify_paths().cafile, *_ROOTS)
    return next((path for path in candidates if path and os.path.exists(path)), "system")


def _from_keywords(text: str) -> dict[str, str]:
    try:
        return dict(extensions.parse_dsn(text)) if text.strip() else {}
    except (psycopg2.Error, UnicodeError):
        raise OptionError(
            [
                "dsn: it is neither a URL (postgresql://user:password@host/database) nor a keyword string (host=… dbname=… "
                "user=…); a value with a space, quote or backslash in it is written in single quotes, with a backslash before "
                "each quote and backslash. The value itself is not repeated here, it may hold a password"
            ]
        ) from None


def _from_url(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("postgresql", "postgres"):
        raise OptionError(["dsn: the URL must begin with postgresql:// or postgres://"])
    if _BAD_PERCENT.search(rest) or "%00" in rest:
        raise OptionError(["dsn: a % is not followed by two hexadecimal digits: write a % in a password as %25"])
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority):].partition("?")  # fmt: skip
    user_part, at, host_part = authority.rpartition("@")
    if "@" in user_part or (not at and "@" in path + query):
        raise OptionError(["dsn: the user name or the password holds a character that must be written in its "
                           "percent-encoded form: @ as %40, / as %2F, ? as %3F, : as %3A"])  # fmt: skip
    keywords: dict[str, str] = {}
    user, _colon, password = user_part.partition(":")
    for keyword, value in (("user", user), ("password", password), ("dbname", path.lstrip("/"))):
        if value:
            keywords[keyword] = _decode(value)
    keywords.update(_hosts(host_part))
    keywords.update(_url_parameters(query))
    return keywords


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise OptionError(["dsn: a percent-encoded character is not valid UTF-8"]) from None


def _hosts(text: str) -> dict[str, str]:
    hosts, ports = [], []
    for one in text.split(",") if text else []:
        match = re.match(r"^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$", one)
        if match is None or not (match[2] or "5432").isdigit() or not 0 < int(match[2] or "5432") < 65536:
            raise OptionError(["dsn: after the host there can only be :port, a number from 1 to 65535; if the user name "
                               "or the password holds one of @ : / ? it must be percent-encoded"])  # fmt: skip
        hosts.append(_decode(match[1].strip("[]")))
        ports.append(match[2] or "5432")
    return {"host": ",".join(hosts), "port": ",".join(ports)} if any(hosts) else {}


def _url_parameters(query: str) -> dict[str, str]:
    keywords: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        keyword, equals, value = pair.partition("=")
        if keyword == "ssl" and value == "true":
            keyword, value = "sslmode", "require"
        if not equals or not re.match(r"^[a-z_]+$", keyword) or not _is_libpq_keyword(keyword):
            name = f"the parameter {keyword}" if re.match(r"^[A-Za-z_]{1,40}$", keyword) else "a parameter after the ?"
            raise OptionError([f"dsn: {name} is not one of libpq's connection parameters; take it out"])
        keywords[keyword] = _decode(value)
    return keywords


def _is_libpq_keyword(keyword: str) -> bool:
    try:
        extensions.parse_dsn(f"{keyword}=''")
    except psycopg2.Error:
        return False
    return True


def _forms_of_secrets(keywords: Mapping[str, str], text: str) -> frozenset[str]:
    """Every spelling in which a secret could come back in a message. Under three characters nothing can be told apart."""
    forms = set()
    for keyword in _SECRET_KEYWORDS:
        value = keywords.get(keyword, "")
        forms |= {
            value,
            quote(value, safe=""),
            quote(value),
            quote_plus(value),
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
        }
    if any(keywords.get(keyword) for keyword in _SECRET_KEYWORDS):
        forms.add(text.strip())
        user_part = text.partition("://")[2].rpartition("@")[0]
        forms.add(user_part.partition(":")[2])
    return frozenset(form for form in forms if len(form) > 2)
