# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where in the scripts an error or a warning belongs that the server does not place."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .._errors import Contended, MaintenanceError, OptionError, SqlError
from .._postgres.driver import sql
from .._postgres.session import Session
from .._postgres.sqlstates import QUERY_CANCELED
from .messages import dependent, hint
from .scripts import Script, marked

_ABOUT = re.compile(r"/\* of (.*?) \*/")
# What outcome_of() runs, runs as scripts do; but nobody is kept waiting for the sake of a message.
_SEARCH = """
SELECT pg_catalog.set_config('lock_timeout', '100ms', true), pg_catalog.set_config('client_min_messages', 'warning', true),
       pg_catalog.set_config('search_path', {path}, true);
SAVEPOINT one
"""


@dataclass(frozen=True)
class Places:
    """The scripts of a call, and a session in which they can be tried out."""

    session: Session
    scripts: Sequence[Script]

    def explained(self, error: SqlError | Contended) -> MaintenanceError:
        """The error with the file and the line, or the object of ours, that it is about."""
        number = marked(getattr(error, "query", ""), error.context)
        about = _ABOUT.search(error.context)
        if number is not None and about is not None:
            text = f"{self.scripts[number].name}: {about[1]}: {error}"
            return Contended(text, error.context) if isinstance(error, Contended) else SqlError(text, error.sqlstate)
        if isinstance(error, Contended):
            return error if number is None else Contended(f"{self.scripts[number].name}: {error}", error.context)
        line = 0 if number is None else self.scripts[number].line_of(error)
        if not line and error.sqlstate != QUERY_CANCELED:
            number, line = self.search(number, lambda failure, _warnings: failure == error.sqlstate)
        if number is None:
            return error
        return SqlError(
            f"{self.place(number, line)}: {error}{hint(error)}{dependent(error, self.scripts[number])}",
            error.sqlstate,
        )

    def place(self, number: int, line: int) -> str:
        """Script and line, for people."""
        return f"{self.scripts[number].name}:{line}" if line else self.scripts[number].name

    def search(self, number: int | None, meant: Callable[[str, list[str]], bool]) -> tuple[int | None, int]:
        """Where the server does not say which statement it means: the first one that fails or warns in the same way, alone.

        All statements are run one by one and undone; a wrong split would produce a different SQLSTATE.
        """
        try:
            self.session.execute("BEGIN", alone=True)
            path = sql.Literal(self.session.server.path)
            self.session.execute(sql.SQL(_SEARCH).format(path=path))
            for n, script in enumerate(self.scripts):
                for statement in script.statements:
                    if meant(*self.outcome_of(statement.text)) and number in (None, n):
                        return n, statement.line
        except (SqlError, Contended, OptionError):
            pass  # the error that is to be explained counts
        finally:
            if self.session.alive:
                self.session.execute("ROLLBACK", alone=True)
        return number, 0

    def outcome_of(self, text: str) -> tuple[str, list[str]]:
        """The SQLSTATE of the error that a statement of a script ends with, "" without, and warnings."""
        block = "DO $$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode({}, 'base64'), 'UTF8'); END $$"
        encoded = base64.b64encode(text.encode()).decode()
        try:
            self.session.execute(sql.SQL(block + "; SAVEPOINT one").format(sql.Literal(encoded)))
        except SqlError as error:
            self.session.execute("ROLLBACK TO SAVEPOINT one")
            return error.sqlstate, []
        return "", self.session.notices
