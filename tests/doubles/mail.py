# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mail server for tests, by aiosmtpd: in the open on loopback, with STARTTLS or TLS, with a password or without."""

from __future__ import annotations

import ssl
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.doubles.certificate import certificate

USER, PASSWORD = "maintenance", "PASSzq7-of-the-mail-server"


class MailServer:
    """``messages``: what came; ``certificate``: to be trusted; ``refuses``: recipients that it does not know."""

    def __init__(self, directory: Path, tls: str = "none", login: bool = False) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.logins = 0
        self.refuses: set[str] = set()
        self.certificate, key = certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        # With TLS from the first byte aiosmtpd does not know that it is encrypted, and warns.
        options: dict[str, Any] = {"authenticator": self._authenticated, "auth_required": login and tls == "starttls"}
        options |= {"tls_context": context, "require_starttls": True} if tls == "starttls" else {}
        options |= {"auth_require_tls": tls == "starttls"}
        self._controller = _Controller(
            self,
            hostname="127.0.0.1",
            port=0,
            ready_timeout=120,
            ssl_context=context if tls == "tls" else None,
            **options,
        )
        self._controller.start()
        self.port = self._controller.port

    def close(self) -> None:
        self._controller.stop()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        return "250 taken"

    def _authenticated(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login, data.password)
        self.logins += 1
        return AuthResult(success=given == (USER.encode(), PASSWORD.encode()), handled=False)


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Not by the port that it was given, which is 0."""
        self.port = getattr(self.server, "sockets")[0].getsockname()[1]  # noqa: B009 - the type checker knows no sockets
        super()._trigger_server()

    def factory(self) -> SMTP:
        return SMTP(self.handler, **self.SMTP_kwargs)
