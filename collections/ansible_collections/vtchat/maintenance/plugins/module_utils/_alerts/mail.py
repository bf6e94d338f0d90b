# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Telling by e-mail, with smtplib and email of the standard library (docs/decisions/0017)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from datetime import datetime, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from .._clean import clean
from .._errors import OptionError
from .._hosts import is_loopback
from .._masking import Hidden
from .._services.http import Network
from .conditions import digest
from .decide import Record
from .notice import Notice, NotTold, OneWay, Told

PORTS = {"starttls": 587, "tls": 465, "none": 25}
LONGEST_SUBJECT = 180


class Mail(OneWay):
    """One message for each notice, to all recipients, over a connection of its own."""

    def __init__(self, options: Mapping[str, Any], network: Network, hidden: Hidden) -> None:
        """Raises OptionError with every fault."""
        faults = _faults(options)
        if faults:
            raise OptionError(faults)
        self._options = options
        self._network = network
        self._hidden = hidden
        self._port = options["port"] or PORTS[options["tls"]]
        self._to = _addresses(options["to"])
        self.name = f"mail:{digest(' '.join([options['host'], *sorted(self._to)]))[:12]}"
        self.label = f"mail to {self._to[0]}" + (f" and {len(self._to) - 1} more" if len(self._to) > 1 else "")

    def tell(self, notice: Notice, record: Record | None, remind: float) -> Told:
        """Send it. Raises NotTold."""
        message = written(notice, self._options["from"].strip(), self._to)
        try:
            with self._connected() as server:
                if self._options["username"]:
                    server.login(self._options["username"], self._options["password"])
                refused = server.send_message(message)
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            raise NotTold(self._hidden.scrub(f"{self._options['host']}: {_explained(error)}"), down=True) from None
        if refused:
            return Told(f"told, but not {clean(', '.join(sorted(refused)))}, whom the server refused: {notice.title}")
        return Told(f"told: {notice.title}")

    def _connected(self) -> smtplib.SMTP:
        host, timeout = self._options["host"], self._network.timeout
        context = ssl.create_default_context(cafile=self._network.ca_path or None)
        if self._options["tls"] == "tls":
            return smtplib.SMTP_SSL(host, self._port, timeout=timeout, context=context)
        server = smtplib.SMTP(host, self._port, timeout=timeout)
        try:
            if self._options["tls"] == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server


def written(notice: Notice, sender: str, to: list[str]) -> EmailMessage:
    """The message. All of one incident are one thread, and no program answers them."""
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    subject = notice.title
    message["Subject"] = subject if len(subject) <= LONGEST_SUBJECT else subject[:LONGEST_SUBJECT] + " …"
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.now, timezone.utc))
    thread = digest(f"{notice.known.key} {notice.known.since}")
    message["Message-ID"] = f"<{thread}.{digest(f'{notice.verb} {notice.now}')[:12]}@vtchat-maintenance.invalid>"
    message["References"] = f"<{thread}@vtchat-maintenance.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    parts = [notice.title, notice.since, "", *notice.lines, "", notice.link]
    message.set_content("\n".join(parts).strip() + "\n")
    return message


def _faults(options: Mapping[str, Any]) -> list[str]:
    faults = []
    to = _addresses(options["to"])
    for option, addresses in (("from", [options["from"]]), ("to", to)):
        faults += [f"mail.{option}: {clean(one)} is not an address such as team@example.com"
                   for one in addresses if not _is_address(one.strip())]  # fmt: skip
    faults += [] if to else ["mail.to: there are no addresses"]
    if bool(options["username"]) != bool(options["password"]):
        faults.append("mail.username: it and password need each other")
    if options["tls"] == "none" and not is_loopback(options["host"]):
        faults.append("mail.tls: none is for a server on this machine; others would read the message and the password")
    if options["port"] is not None and not 0 < options["port"] < 65536:
        faults.append("mail.port: it is a number from 1 to 65535")
    return faults


def _addresses(given: list[str]) -> list[str]:
    """Those of a list that may have been made of a text with commas."""
    return [address.strip() for address in given if address.strip()]


def _is_address(text: str) -> bool:
    """One address alone, in ASCII, without a name before it."""
    try:
        return text.isascii() and text.isprintable() and " " not in text and bool(Address(addr_spec=text).domain)
    except (ValueError, IndexError):
        return False


def _explained(error: Exception) -> str:
    """The server's words, or why there are none."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()))
        return f"it refuses all recipients: {code} {_words(words)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_words(error.smtp_error)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, (TimeoutError, smtplib.SMTPServerDisconnected)):
        return "no answer in time, or it hung up"
    return clean(getattr(error, "strerror", None) or error or type(error).__name__)


def _words(text: Any) -> str:
    return clean(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)[:200]
