# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How far a VACUUM is, as the server tells another session."""

from __future__ import annotations

from ..._postgres.capabilities import INDEX_PROGRESS
from ..._postgres.driver import sql
from ..._postgres.session import Session
from ..._units import count

# One row while the backend is at it. The names of the phases are the server's, in English whatever its language is. TOAST: its
# table is vacuumed after its main table, by the same backend.
PROGRESS = """
SELECT p.phase, p.heap_blks_total AS pages, p.heap_blks_scanned AS scanned, p.heap_blks_vacuumed AS vacuumed,
       p.index_vacuum_count AS rounds, {indexes} AS indexes, {indexes_done} AS indexes_done,
       coalesce((SELECT c.relkind = 't' FROM pg_catalog.pg_class AS c WHERE c.oid = p.relid), false) AS toast
FROM pg_catalog.pg_stat_progress_vacuum AS p WHERE p.pid = {pid}
UNION ALL
SELECT 'analyzing', a.sample_blks_total, a.sample_blks_scanned, NULL, NULL, NULL, NULL, false
FROM pg_catalog.pg_stat_progress_analyze AS a WHERE a.pid = {pid}
"""


def look(session: Session, pid: int) -> str:
    """What the backend is doing, for people; "" where it does nothing, or the server does not tell us."""
    known = session.server.has(INDEX_PROGRESS)
    query = sql.SQL(PROGRESS).format(
        pid=sql.Literal(pid),
        indexes=sql.SQL("p.indexes_total" if known else "NULL::bigint"),
        indexes_done=sql.SQL("p.indexes_processed" if known else "NULL::bigint"),
    )
    for row in session.rows(query):
        if row["phase"]:
            where = " of its TOAST table" if row["toast"] else ""
            parts = [f"{row['phase']}{where}"]
            done = row["vacuumed"] if row["phase"] == "vacuuming heap" else row["scanned"]
            if row["pages"] and "index" not in row["phase"]:
                parts.append(f"{min(1.0, (done or 0) / row['pages']):.0%} of {count(row['pages'])} pages")
            if row["indexes"]:
                parts.append(f"{row['indexes_done']} of {row['indexes']} indexes")
            parts += [f"round {row['rounds'] + 1}"] if row["rounds"] else []
            return ", ".join(parts)
    return ""
