# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The only place that imports the driver, so that a missing one is a message and not a traceback.

Import ``psycopg2``, ``sql`` and ``extensions`` from here, and use them in functions only, never while a file is loaded.
"""

from __future__ import annotations

import traceback
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

__all__ = ["IMPORT_ERROR", "extensions", "psycopg2", "sql"]
