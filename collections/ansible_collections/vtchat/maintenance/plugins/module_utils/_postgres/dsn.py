# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The connection string: read by us, because libpq's own messages repeat what they could not read, passwords included."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import unquote

from .._errors import OptionError
from .._hosts import is_loopback
from .._masking import Hidden, hide
from .driver import extensions, psycopg2
from .dsn_kinds import unknown_parameter, wrong_kind

_SECRET_KEYWORDS = ("password", "sslpassword", "oauth_client_secret")
_PRIVATE_DOMAINS = (".internal", ".flycast")
# RFC 1918 and RFC 4193.
_PRIVATE_NETWORKS = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_HOST_NAME = re.compile(r"[\w.-]+")
# One pair of a keyword string, as libpq splits it.
_PAIR = re.compile(r"\s*([^\s=]+)\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", re.DOTALL)
_AMBIGUOUS = (
    "dsn: the user name or the password holds a character that must be written in its percent-encoded form, so that it can be "
    "read in two ways: @ as %40, / as %2F, ? as %3F, : as %3A"
)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Strength of sslmode, weakest first (libpq, "SSL Mode Descriptions").
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Where operating systems keep their trusted roots, for a libpq whose own OpenSSL looks elsewhere.
_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, repr=False)
class Dsn:
    """Keywords for libpq, and what must never be shown of them.

    private    tls: private was chosen, and all hosts are of a private network
    strings    secret as a whole: the string that was read
    passwords  the secrets in it; they may be ordinary words
    """

    keywords: dict[str, str]
    private: bool = False
    strings: tuple[str, ...] = ()
    passwords: tuple[str, ...] = ()

    @cached_property
    def hidden(self) -> Hidden:
        """What must never be shown. Made when it is first asked for: that takes longer than reading the string."""
        public = {value for keyword, value in self.keywords.items() if keyword not in _SECRET_KEYWORDS}
        return hide(self.strings, self.passwords, public)

    @property
    def host(self) -> str:
        """Where the connection goes, for people; empty when libpq's own settings decide."""
        return self.keywords.get("host", "")

    @property
    def secrets(self) -> frozenset[str]:
        """What is masked wherever it stands."""
        return self.hidden.everywhere

    def scrub(self, text: str) -> str:
        """The text without any form of a secret in it."""
        return self.hidden.scrub(text)

    def with_host(self, host: str) -> Dsn:
        """The same connection to another host."""
        return replace(self, keywords={**self.keywords, "host": host})


# Where nothing has been read.
NOWHERE = Dsn({})


def parse(text: str, tls: str = "require", environ: Mapping[str, str] = os.environ) -> Dsn:
    """Read a URL or keyword string; an empty one leaves everything to libpq's environment and service file.

    ``tls`` is the least sslmode off loopback: a weaker one is raised to it; "private" takes any, for private hosts only.
    Raises OptionError, whose message never repeats any part of the string. A string that can be read in two ways is refused:
    one of them may make a piece of the password a host, and that would be shown and asked of the DNS.
    """
    wrong = wrong_kind(text)
    if wrong:
        raise OptionError([f"dsn: {wrong}"])
    keywords = _from_url(text.strip()) if "://" in text.partition("=")[0] else _from_keywords(text)
    _check_hosts(keywords)
    passwords = [keywords[keyword] for keyword in _SECRET_KEYWORDS if keywords.get(keyword)]
    strings = (text,) if passwords else ()
    if "host" in keywords or "hostaddr" in keywords:
        # A string that says where to go is not to be redirected by PGHOSTADDR, PGPORT or PGSERVICE in the environment.
        keywords = {"hostaddr": "", "port": "5432", **keywords}
    elif environ.get("PGPASSWORD"):
        passwords.append(environ["PGPASSWORD"])
    named = bool(keywords.get("host") or keywords.get("hostaddr"))
    return Dsn(_with_tls(keywords, tls, environ), tls == "private" and named, strings, tuple(passwords))


def is_local(host: str) -> bool:
    """Whether a host (or list of hosts) is this machine: a socket directory, localhost or a loopback address."""
    return all(_is_local(one) for one in host.split(","))


def _is_local(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(host)


def _with_tls(keywords: dict[str, str], least: str, environ: Mapping[str, str]) -> dict[str, str]:
    host = keywords.get("hostaddr") or keywords.get("host") or environ.get("PGHOSTADDR") or environ.get("PGHOST") or ""
    if is_local(host):
        return keywords
    if least == "private":
        public = _public_hosts(keywords)
        if public or not (keywords.get("hostaddr") or keywords.get("host")):
            domains = " or ".join(_PRIVATE_DOMAINS)
            raise OptionError([f"tls: private is for hosts that the dsn names, by a private address or a name that ends in "
                               f"{domains}; {', '.join(public) or 'no host'} is none: use require or verify-full"])  # fmt: skip
        least = "disable"
        environ = {"PGSSLMODE": "prefer", **environ}
    given = keywords.get("sslmode") or environ.get("PGSSLMODE") or least
    if given not in _SSL_MODES:
        raise OptionError([f"dsn: sslmode must be one of {', '.join(_SSL_MODES)}"])
    mode = max(given, least, key=_SSL_MODES.index)
    keywords = {**keywords, "sslmode": mode}
    if mode.startswith("verify-") and keywords.get("sslrootcert", "system") == "system":
        keywords["sslrootcert"] = _system_roots(environ)
    return keywords


def _public_hosts(keywords: Mapping[str, str]) -> list[str]:
    """The hosts that are not of a private network by their very name or address. Both count where host and hostaddr are given."""
    named = ",".join(keywords.get(keyword, "") for keyword in ("host", "hostaddr"))
    return [one for one in named.split(",") if one and not _is_local(one) and not _is_private(one)]


def _is_private(host: str) -> bool:
    """By address, or by a top-level domain that exists in private networks only."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".").endswith(_PRIVATE_DOMAINS)
    return any(address.version == network.version and address in network for network in _PRIVATE_NETWORKS)


def _system_roots(environ: Mapping[str, str]) -> str:
    import ssl  # takes longer to load than all the rest of this file

    candidates = (environ.get("PGSSLROOTCERT"), ssl.get_default_verify_paths().cafile, *_ROOTS)
    return next((path for path in candidates if path and os.path.exists(path)), "system")


def _from_keywords(text: str) -> dict[str, str]:
    try:
        keywords = dict(extensions.parse_dsn(text)) if text.strip() else {}
    except (psycopg2.Error, UnicodeError):
        raise OptionError(
            [
                "dsn: it is neither a URL (postgresql://user:password@host/database) nor a keyword string (host=… dbname=… "
                "user=…); a value with a space, quote or backslash in it is written in single quotes, with a backslash before "
                "each quote and backslash. The value itself is not repeated here, it may hold a password"
            ]
        ) from None
    _refuse_twice(
        [match[1] for match in _PAIR.finditer(text)], "a password with a space in it is written in single quotes"
    )
    return keywords


def _refuse_twice(names: list[str], hint: str) -> None:
    if len(set(names)) < len(names):
        raise OptionError([f"dsn: a keyword is there twice, so it can be read in two ways; {hint}"])


def _from_url(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("postgresql", "postgres"):
        raise OptionError(["dsn: the URL must begin with postgresql:// or postgres://"])
    if _BAD_PERCENT.search(rest) or "%00" in rest:
        raise OptionError(["dsn: a % is not followed by two hexadecimal digits: write a % in a password as %25"])
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority):].partition("?")  # fmt: skip
    user_part, at, host_part = authority.rpartition("@")
    # The shape of the whole: a second @ anywhere, and either of them may be the one before the host.
    if rest.count("@") > len(at):
        raise OptionError([_AMBIGUOUS])
    keywords: dict[str, str] = {}
    user, _colon, password = user_part.partition(":")
    if ":" in _decode(user):
        raise OptionError(["dsn: the colon between user name and password must not be percent-encoded; a user name with a colon "
                           "can be given in a keyword string"])  # fmt: skip
    for keyword, value in (("user", user), ("password", password), ("dbname", path.lstrip("/"))):
        if value:
            keywords[keyword] = _decode(value)
    keywords.update(_hosts(host_part))
    parameters = _url_parameters(query)
    _refuse_twice([*keywords, *parameters], "an & in a password is written as %26")
    return {**keywords, **parameters}


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
        if hosts[-1].startswith("@"):
            raise OptionError([_AMBIGUOUS])
        ports.append(match[2] or "5432")
    return {"host": ",".join(hosts), "port": ",".join(ports)} if any(hosts) else {}


def _check_hosts(keywords: Mapping[str, str]) -> None:
    """What cannot be a host is a piece of something else, most likely of a password. Raises OptionError."""
    for one in keywords.get("host", "").split(","):
        if one and not one.startswith(("/", "@")) and not _HOST_NAME.fullmatch(one) and not _is_address(one):
            raise OptionError([f"dsn: what stands in the place of the host is none. {_AMBIGUOUS.partition(': ')[2]}"])
    if not all(_is_address(one) for one in keywords.get("hostaddr", "").split(",") if one):
        raise OptionError(["dsn: hostaddr must be an IP address"])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _url_parameters(query: str) -> dict[str, str]:
    keywords: dict[str, str] = {}
    faults, names = [], []
    for number, pair in enumerate(filter(None, query.split("&")), 1):
        keyword, equals, value = pair.partition("=")
        if keyword == "ssl" and value == "true":
            keyword, value = "sslmode", "require"
        if not equals or not re.match(r"^[a-z_]+$", keyword) or not _is_libpq_keyword(keyword):
            faults.append(f"dsn: {unknown_parameter(keyword, number)}")
        else:
            keywords[keyword] = _decode(value)
            names.append(pair.partition("=")[0])
    if faults:
        raise OptionError(faults)
    _refuse_twice(names, "an & in a password is written as %26")
    return keywords


def _is_libpq_keyword(keyword: str) -> bool:
    try:
        extensions.parse_dsn(f"{keyword}=''")
    except psycopg2.Error:
        return False
    return True
