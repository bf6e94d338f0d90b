# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Why there was no answer, in words that say what to do about it."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import zlib
from http.client import BadStatusLine, HTTPException
from urllib.error import URLError

from .._errors import OptionError

# What breaks a connection or an answer; ValueError and EOFError come from names of hosts and from compressed answers.
BROKEN = (OSError, HTTPException, EOFError, ValueError, zlib.error)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
# What OpenSSL says of an answer that is not TLS.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE",
            "HTTPS_PROXY_REQUEST")  # fmt: skip

# What is told of an attempt: the fault, whether the request may have been sent, and whether another attempt would end alike.
Explained = tuple[str, bool, bool]


def check_roots(ca_path: str) -> None:
    """Raises OptionError for a file that holds no certificates, before anything is sent."""
    if not ca_path:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_path)
    except ssl.SSLError:
        raise OptionError([f"ca_path: {ca_path} holds no certificate in PEM format"]) from None
    except OSError as error:
        raise OptionError([f"ca_path: cannot read {ca_path}: {error.strerror}"]) from None


def explained(error: Exception) -> Explained:
    """What one of BROKEN means."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLError):
        return _tls(reason)
    if isinstance(reason, OSError) and "Tunnel connection failed" in str(reason):
        return _proxy(str(reason))
    if isinstance(reason, BadStatusLine) and not isinstance(reason, ConnectionError):
        return "the other side does not speak HTTP: is it the right port, and not https?", True, False
    if isinstance(reason, ValueError) and not isinstance(reason, HTTPException):
        return "the name of the host, or the proxy in the environment, is none", False, True
    if isinstance(reason, OSError):
        return _network(reason)
    return f"the connection was lost ({type(reason).__name__})", True, False


def _tls(reason: ssl.SSLError) -> Explained:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message}", False, True
    if reason.reason in _NOT_TLS:
        return "the other side does not speak TLS: is it the right port, and https?", False, True
    return f"TLS failed: {str(reason.reason or reason.strerror).replace('_', ' ').lower()}", True, False


def _proxy(message: str) -> Explained:
    status = re.search(r"failed: (\d{3})", message)
    if status and status[1] == "407":
        return "the proxy asks for authentication (407): give https_proxy a user name and a password", False, True
    which = status[1] if status else "without a status"
    return f"the proxy does not let the connection through ({which})", False, which < "500"


def _network(reason: OSError) -> Explained:
    if isinstance(reason, socket.gaierror):
        return "the name of the host is not known", False, False
    if isinstance(reason, ConnectionRefusedError):
        return "the connection was refused", False, False
    if isinstance(reason, (socket.timeout, TimeoutError)):
        return "no answer in time", True, False
    if reason.errno in _UNREACHABLE:
        return f"the host cannot be reached: {reason.strerror}", False, False
    return f"the connection was lost ({reason.strerror or type(reason).__name__})", True, False
