# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How standbys use the indexes: an index that nobody reads here may be what all reports there go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from ..._checks.review import queries as review
from ..._checks.review.unused import Usage
from ..._errors import Contended, MaintenanceError, SqlError
from ..._postgres.connect import open_session
from ..._postgres.driver import sql
from ..._postgres.session import Session
from . import queries
from .options import Options, connection

DEADLINE = 10.0  # seconds for connecting to one of them
PATIENCE = 30.0  # seconds for what is asked there


def elsewhere(
    session: Session, options: Options, oids: Sequence[int], seconds_left: float
) -> tuple[list[dict[int, Usage]], list[str]]:
    """The usage of each standby by the index's oid, and why that of others is not known. Raises SqlError when ours is lost."""
    found: list[dict[int, Usage]] = []
    faults: list[str] = []
    primary = not session.server.in_recovery
    try:
        place = session.row(queries.PLACE) if options.replicas else {}
    except (SqlError, Contended) as error:
        if not session.alive:
            raise
        return [], [f"it cannot be told which servers are standbys of this one: {error}"]
    for number, text in enumerate(options.replicas, 1):
        try:
            wanted = connection(text, session.private, max(0.0, min(DEADLINE, seconds_left)))
            with closing(
                open_session(
                    wanted, "vtchat.maintenance index_info", PATIENCE, read_only=True, writes=False, standby=True
                )
            ) as other:
                fault = _differs(place, other)
                if fault:
                    faults.append(f"replicas[{number}]: {fault}")
                    continue
                found.append(_usage(other, oids))
                primary = primary or not other.server.in_recovery
        except MaintenanceError as error:
            faults.append(f"replicas[{number}]: {error}")
    if not primary:
        faults.append("this is a standby, and the primary is not among replicas")
    return found, faults


def _differs(place: Mapping[str, Any], other: Session) -> str:
    """Why a server has not the same indexes, "" if it has."""
    there = other.row(queries.PLACE)
    if there["system"] != place["system"]:
        return "it is no standby of this server: it has another system identifier"
    if there["database"] != place["database"]:
        return f"it is the database {other.server.database}, another one than here"
    return ""


def _usage(other: Session, oids: Sequence[int]) -> dict[int, Usage]:
    last = "extract(epoch FROM pg_catalog.pg_stat_get_lastscan(x.oid))::float8"
    query = sql.SQL(queries.COUNTED).format(
        last_scan=sql.SQL(last if other.server.version_num >= review.LAST_SCAN else "NULL::float8"),
        oids=sql.Literal(list(oids)),
        began=sql.SQL(review.BEGAN),
    )
    row = other.row(query)
    began = row["began"]
    return {int(oid): Usage(scans, used, began["began"], began["now"]) for oid, (scans, used) in row["counted"].items()}
