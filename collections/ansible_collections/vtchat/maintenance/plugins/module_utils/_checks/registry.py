# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""All checks, and how they are asked: one statement, which reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._postgres.session import Session
from .._result import UNKNOWN, Finding
from . import Asked, Check, Thresholds, findings, indexes, maintenance, server, wraparound

CHECKS: tuple[Check, ...] = (*maintenance.CHECKS, *wraparound.CHECKS, *server.CHECKS, *indexes.CHECKS)
BY_ID = {check.id: check for check in CHECKS}


def ask(
    session: Session, asked: Asked, thresholds: Mapping[str, Thresholds], history: str, reading: Sequence[str]
) -> list[Finding]:
    """What all checks have found, in one round trip. history: why it cannot be read, "" if it can; reading: operations that only
    read. Raises SqlError, Contended."""
    seen = [check for check in CHECKS if not (check.history and history)]
    queries = {check.id: check.query for check in seen if check.query}
    rows = "'{}', (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({}) AS x)"
    parts = (rows.format(name, query) for name, query in queries.items())
    found = session.row(f"SELECT jsonb_build_object({', '.join(parts)}) AS found", {"reading": list(reading)})["found"]
    told: list[Finding] = []
    for check in CHECKS:
        if check in seen:
            samples = check.samples(found[check.of or check.id], asked)
            told += findings(check, samples, thresholds.get(check.id), asked.database)
        else:
            told.append(Finding(check.id, asked.database, UNKNOWN, f"{check.title}: {history}"))
    return told
