# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The only place that imports the driver, so that a missing one is a message and not a traceback.

Import ``psycopg2``, ``sql`` and ``extensions`` from here, and use them in functions only, never while a file is loaded.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

IMPORT_ERROR: str | None = None

if TYPE_CHECKING:
    import psycopg2
    from psycopg2 import extensions, sql
else:
    try:
        import psycopg2
        from psycopg2 import extensions, sql
    except ImportError:
        IMPORT_ERROR = traceback.format_exc()
        psycopg2 = extensions = sql = None


class Text:
    """A text as a constant that means the same whatever standard_conforming_strings is.

    The driver decides about backslashes once, when it connects, and libpq anew with each report of the setting. Where a role has
    it off and we turn it on, the two differ, and a text with a backslash before a quotation mark would end too early.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._encoding = "utf-8"

    def prepare(self, connection: extensions.connection) -> None:
        self._encoding = extensions.encodings[connection.encoding]

    def getquoted(self) -> bytes:
        if "\0" in self._text:
            raise ValueError("A string literal cannot contain NUL (0x00) characters.")
        quoted = self._text.replace("'", "''")
        quoted = " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
        return quoted.encode(self._encoding)


if IMPORT_ERROR is None:
    extensions.register_adapter(str, Text)

__all__ = ["IMPORT_ERROR", "extensions", "last_words", "psycopg2", "sql"]


def last_words(connection: extensions.connection) -> str:
    """What the server said before it closed a connection, such as ``terminating connection due to transaction timeout``.

    libpq keeps it (PQerrorMessage), but the driver shows only the last of several results, which is that the connection was
    closed. "" where the driver does not let us at its libpq.
    """
    import ctypes  # takes a moment to load, and is hardly ever needed

    with suppress(AttributeError, OSError, TypeError, ValueError):
        function = ctypes.CDLL(psycopg2._psycopg.__file__).PQerrorMessage
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        lines = (function(connection.pgconn_ptr) or b"").decode("utf-8", "replace").splitlines()
        if len(lines) > 1 and ":  " in lines[0]:
            return lines[0].partition(":  ")[2]
    return ""
