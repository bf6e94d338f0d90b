# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What helps when a function does not find what it needs: from 17 on, the server runs maintenance under a path of its own.

Source: release notes of PostgreSQL 17, "Change functions to use a safe search_path during maintenance operations".
"""

from __future__ import annotations

import re

from .._errors import SqlError
from .capabilities import RESTRICTED_PATH
from .server import Server
from .sqlstates import INVALID_SCHEMA_NAME, UNDEFINED_FUNCTION, UNDEFINED_OBJECT, UNDEFINED_TABLE

NOT_FOUND = (UNDEFINED_FUNCTION, UNDEFINED_TABLE, UNDEFINED_OBJECT, INVALID_SCHEMA_NAME)
# As the server names it in the context of an error: SQL function "f" during inlining, PL/pgSQL function s.f(integer) line 1
_FUNCTION = re.compile(r"""function\ (?:"((?:[^"]|"")+)"|((?:[^\s"(]|"[^"]*")+(?:\([^)]*\))?))""", re.VERBOSE)


def advice(error: SqlError, server: Server) -> str:
    """How to mend the function that an error comes from, "" where it is about something else."""
    if not server.has(RESTRICTED_PATH) or error.sqlstate not in NOT_FOUND:
        return ""
    found = _FUNCTION.search(error.context)
    if found is None:
        return ""
    name = found[1] or found[2]
    return (
        f"; from PostgreSQL 17 on maintenance runs with search_path = pg_catalog, pg_temp: write what the function {name} uses "
        f"with its schema, or ALTER FUNCTION {name} SET search_path = {server.path}"
    )
