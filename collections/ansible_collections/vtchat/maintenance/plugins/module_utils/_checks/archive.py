# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether WAL is archived where it shall be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .._units import count, duration
from . import Asked, Sample, Thresholds

# While archiving fails, the first file that waits is one too many; check_postgres calls 15 of them critical.
FAILING = Thresholds(1, 15)

# redo: the file that the last checkpoint began in; the server cannot have been started after it. A standby archives with "always"
# only, and then what its primary does as well.
ARCHIVER = """
SELECT archived_count AS archived, failed_count AS failed, last_archived_wal AS last,
       last_failed_time IS NOT NULL AND last_failed_time >= coalesce(last_archived_time, '-infinity') AS fails,
       extract(epoch FROM clock_timestamp() - last_archived_time)::float8 AS seconds, last_failed_wal AS first,
       pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS current,
       (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS segment,
       (SELECT redo_wal_file FROM pg_catalog.pg_control_checkpoint()) AS redo,
       (SELECT bool_or(setting NOT IN ('', '(disabled)')) FROM pg_catalog.pg_settings
        WHERE name IN ('archive_command', 'archive_library')) AS set
FROM pg_catalog.pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
"""
NONE = "SELECT 1 WHERE false"

_FILE = re.compile(r"[0-9A-F]{24}")


def archive_query(asked: Asked) -> str:
    """What the archiver has done."""
    return NONE if asked.server.in_recovery else ARCHIVER


def archive(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """WAL files that are complete and not in the archive."""
    return [_sample(row, asked) for row in found] or [
        Sample(asked.database, 0, "WAL is not archived here: archive_mode is off, or this is a standby")
    ]


def _sample(row: Mapping[str, Any], asked: Asked) -> Sample:
    waiting = _waiting(row)
    evidence = {"archived": row["archived"], "failed": row["failed"], "last": row["last"]}
    files = f"{count(waiting)} file{'' if waiting == 1 else 's'} of WAL"
    if row["fails"]:
        since = f"{duration(row['seconds'])} ago" if row["seconds"] is not None else "never"
        said = f"archiving fails, for {row['first']} at present; it last succeeded {since}, and {files} wait"
        return Sample(asked.database, max(1, waiting), said, evidence, "", FAILING)
    if row["set"] is False:
        said = f"archive_mode is on, and neither archive_command nor archive_library is set: {files} wait"
        advice = "set archive_command or archive_library, or turn archive_mode off"
        return Sample(asked.database, max(1, waiting), said, evidence, advice, FAILING)
    if row["last"] is None and waiting > 1:
        said = f"nothing has ever been archived since the counters began, and {files} at least wait"
        return Sample(asked.database, waiting, said, evidence, "", FAILING)
    return Sample(asked.database, waiting, f"{files} not yet archived", evidence)


def _waiting(row: Mapping[str, Any]) -> int:
    """By their numbers: the one that fails is the first. Where nothing has been archived yet, since the last checkpoint."""
    last, current = _number(row["last"], row["segment"]), _number(row["current"], row["segment"])
    first = _number(row["first"], row["segment"]) if row["fails"] else None
    if first is not None and current is not None:
        return max(0, current - first)
    if last is not None and current is not None:
        return max(0, current - last - 1)
    redo = _number(row["redo"], row["segment"])
    return max(0, current - redo) if redo is not None and current is not None else 0


def _number(name: str | None, segment: int) -> int | None:
    """The number of a WAL file: its name is timeline, upper and lower part, eight hexadecimal digits each."""
    if not name or not _FILE.match(name):
        return None
    per_part = 2**32 // max(1, segment)
    return int(name[8:16], 16) * per_part + int(name[16:24], 16)
