# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The server itself: its release, its settings, its counters, and what it knows of damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from .._postgres.capabilities import DATABASE_COLLATION_VERSION
from .._postgres.names import quote
from .._units import count, duration, size
from . import Asked, Check, Sample, Thresholds, releases

HOUR, DAY = 3600.0, 86400.0
GIB = 2**30
NEVER = Thresholds()

# Counters say little before. The restore of a database needs much in few transactions.
LEAST_BLOCKS = 1_000_000  # accesses to blocks, 8 GB
LEAST_TRANSACTIONS = 10_000
LEAST_TEMPORARY = GIB
WEEK = 7 * DAY
# Days in which a release that gets no fixes any more is not yet a fault of its own: an upgrade takes time.
GRACE = 90

# seconds: since the counters began. A crash resets those of all databases; before 15 a database has its own beginning from the
# start. Failures in what is shared belong to no database.
COUNTERS = """
SELECT own.blks_hit AS hit, own.blks_read AS read, own.xact_commit + own.xact_rollback AS transactions,
       own.temp_files, own.temp_bytes::bigint AS temp_bytes,
       own.checksum_failures AS failures, shared.checksum_failures AS shared_failures,
       extract(epoch FROM clock_timestamp()
               - greatest(own.stats_reset, pg_catalog.pg_stat_get_bgwriter_stat_reset_time()))::float8 AS seconds,
       current_setting('data_checksums') AS checksums
FROM pg_catalog.pg_stat_database AS own LEFT JOIN pg_catalog.pg_stat_database AS shared ON shared.datid = 0
WHERE own.datname = current_database()
"""

# Versions of collations that columns, indexes or other objects of this database use, and of the database's own.
COLLATIONS = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, l.collname) AS name, l.collversion AS was,
       pg_catalog.pg_collation_actual_version(l.oid) AS now
FROM (SELECT DISTINCT refobjid AS oid FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_collation'::regclass) AS used
JOIN pg_catalog.pg_collation AS l ON l.oid = used.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace
WHERE l.collversion IS NOT NULL
"""
OF_DATABASE = """
UNION ALL
SELECT NULL, datcollversion, pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database
WHERE datname = current_database() AND datcollversion IS NOT NULL
"""

PENDING = """
SELECT name, setting, 'the server goes on with ' || setting || ' until it is restarted' AS said
FROM pg_catalog.pg_settings WHERE pending_restart
"""
# Only superusers may look into the files; who may not must not even ask.
FILE_ERRORS = """
UNION ALL
SELECT coalesce(f.name, '(line)'), NULL, pg_catalog.format('%%s (line %%s of %%s)', f.error, f.sourceline, f.sourcefile)
FROM pg_catalog.pg_file_settings AS f LEFT JOIN pg_catalog.pg_settings AS s ON s.name = f.name
WHERE f.error IS NOT NULL AND NOT coalesce(s.pending_restart, false)
"""

SETTINGS = """
SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN (
    'fsync', 'full_page_writes', 'zero_damaged_pages', 'ignore_checksum_failure', 'track_counts', 'track_activities')
"""
# What each of them must not be, and what comes of it.
LOSES = {
    "fsync": ("off", "a crash of the machine can destroy the whole database"),
    "full_page_writes": ("off", "a crash of the machine can leave pages that are written by half"),
    "zero_damaged_pages": ("on", "pages that are damaged are emptied, without a word to whoever reads them"),
    "ignore_checksum_failure": ("on", "damaged pages are passed on as if they were well"),
}
BLINDS = {
    "track_counts": ("off", "autovacuum does not work, and neither does what goes by its counters"),
    "track_activities": ("off", "nobody sees what sessions do, and for how long"),
}


def cache_hit(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Per cent of blocks that were found in shared buffers."""
    told = []
    for row in found:
        blocks = row["hit"] + row["read"]
        value = round(100 * row["hit"] / blocks, 1) if blocks else 100
        said = f"{value} % of {count(blocks)} accesses to blocks were served from shared buffers"
        few = blocks < LEAST_BLOCKS or row["transactions"] < LEAST_TRANSACTIONS
        said += ", which are too few to say much" if few else ""
        told.append(Sample(asked.database, value, said, {"blocks": blocks}, "", NEVER if few else None))
    return told


def _files(number: int) -> str:
    return f"{count(number)} file{'' if number == 1 else 's'}"


def temporary_files(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Bytes a day since the counters began."""
    told = []
    for row in found:
        seconds = row["seconds"] or 0.0
        rate = round(row["temp_bytes"] / max(seconds, HOUR) * DAY)
        said = f"{size(row['temp_bytes'])} in {_files(row['temp_files'])} in {duration(seconds)}: {size(rate)} a day"
        few = seconds < DAY or row["temp_bytes"] < LEAST_TEMPORARY or row["transactions"] < LEAST_TRANSACTIONS
        evidence = {"bytes": row["temp_bytes"], "files": row["temp_files"]}
        told.append(Sample(asked.database, rate, said, evidence, "", NEVER if few else None))
    return told


def checksum_failures(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Pages that did not fit their checksums."""
    told = []
    for row in found:
        if row["checksums"] != "on":
            return [Sample(asked.database, 0, "data checksums are off: damage of pages is not noticed")]
        for subject, number in ((asked.database, row["failures"]), ("(shared)", row["shared_failures"])):
            pages = number or 0
            one = pages == 1
            said = f"{count(pages)} {'page' if one else 'pages'} did not fit {'its checksum' if one else 'their checksums'}"
            told.append(Sample(subject, pages, said))
    return told


def checksums_off(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """1 where there are none."""
    off = any(row["checksums"] != "on" for row in found)
    return [Sample(asked.database, int(off), f"data checksums are {'off' if off else 'on'}")]


def statistics_age(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Days since the counters began."""
    told = []
    for row in found:
        seconds = row["seconds"] or 0.0
        little = ", and say little before a week is over" if seconds < WEEK else ""
        told.append(
            Sample(asked.database, round(seconds / DAY, 2), f"the counters began {duration(seconds)} ago{little}")
        )
    return told


def _collations(asked: Asked) -> str:
    return COLLATIONS + (OF_DATABASE if asked.server.has(DATABASE_COLLATION_VERSION) else "")


def collation_version(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Each collation whose rules are of another version now is one."""
    told = []
    for row in found:
        if row["now"] is not None and row["was"] != row["now"]:
            said = f"its rules were of version {row['was']} when it was made, and are of {row['now']} now"
            evidence = {"was": row["was"], "now": row["now"]}
            database = quote(asked.database)
            advice = f"REINDEX DATABASE CONCURRENTLY {database}; ALTER DATABASE {database} REFRESH COLLATION VERSION;"
            if row["name"] is not None:
                advice = f"rebuild the indexes that use it, then ALTER COLLATION {row['name']} REFRESH VERSION;"
            told.append(Sample(row["name"] or asked.database, 1, said, evidence, advice))
    return told or [Sample(asked.database, 0, f"{count(len(found))} versions of collations are as they were")]


def _pending(asked: Asked) -> str:
    return PENDING + (FILE_ERRORS if asked.server.user in asked.server.superusers else "")


def pending_restart(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Each setting is one."""
    return [Sample(row["name"], 1, row["said"], {"setting": row["setting"]}) for row in found] or [
        Sample(asked.database, 0, "no setting waits for a restart")
    ]


def _version(asked: Asked) -> str:
    """The server's day, and which of the known faults are about something that the database has."""
    faults = releases.faults_of(asked.server.version_num)
    exposed = ", ".join(fault.exposed.replace("%", "%%") for fault in faults)
    return f"SELECT clock_timestamp()::date::text AS today, ARRAY[{exposed}]::boolean[] AS exposed"


def version(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Reasons to update."""
    server = asked.server
    major = server.version_num // 10000
    told = []
    for row in found:
        faults = [fault for fault, exposed in zip(releases.faults_of(server.version_num), row["exposed"]) if exposed]
        reasons = [fault.what for fault in faults]
        advice = f"update to the newest {major}.x" if faults else ""
        advice += "".join(f"; then {after}" for after in dict.fromkeys(fault.after for fault in faults) if after)
        old = releases.days_without_fixes(server.version_num, date.fromisoformat(row["today"]))
        if old:
            advice = f"upgrade to a newer major release{'; until then ' + advice if advice else ''}"
        said = "; ".join(reasons) or "no fault is known that damages what this database has"
        said += f"; there are no fixes since {releases.LAST_FIXES[major]}" if old else ""
        value = len(reasons) + (old >= GRACE)
        evidence = {"reasons": reasons, "days_without_fixes": old}
        told.append(Sample(asked.database, value, f"PostgreSQL {server.version}: {said}", evidence, advice))
    return told


def _settings(found: Sequence[Mapping[str, Any]], wrong: Mapping[str, tuple[str, str]]) -> list[Sample]:
    """Each setting that is as it must not be is one."""
    return [
        Sample(row["name"], 1, f"it is {row['setting']}: {wrong[row['name']][1]}")
        for row in found
        if row["name"] in wrong and row["setting"] == wrong[row["name"]][0]
    ]


def durability(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """What can lose data that were committed, or pages. synchronous_commit is left to the user: it loses the last moment only.

    What a provider has set it answers for: its storage may do what the setting does.
    """
    told = _settings(found, LOSES)
    if asked.server.provider != "postgresql":
        but = f", unless the storage of {asked.server.provider} sees to it"
        told = [replace(one, message=one.message + but, thresholds=NEVER) for one in told]
    return told or [Sample(asked.database, 0, "no setting gives up data that are committed")]


def tracking(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """What makes the server blind."""
    well = "the server counts what is changed, and shows what sessions do"
    return _settings(found, BLINDS) or [Sample(asked.database, 0, well)]


CHECKS = (
    Check(
        "pg-version",
        "server",
        "Known faults of this release",
        "faults",
        Thresholds(1),
        "the release notes of PostgreSQL, of faults of what this database has; and 90 days without fixes for a major release",
        "Data or indexes can be damaged without a word, and nothing but an update helps.",
        "update the server",
        version,
        query=_version,
    ),
    Check(
        "durability-settings",
        "server",
        "Settings that can lose data",
        "settings",
        Thresholds(critical=1),
        "the documentation of PostgreSQL; at providers that have storage of their own it is not judged",
        "What was committed may be gone, or the whole database, after the next crash.",
        "set it right in the configuration of the server; after fsync was off, check what is there",
        durability,
        query=SETTINGS,
    ),
    Check(
        "checksum-failures",
        "server",
        "Pages that do not fit their checksums",
        "pages",
        Thresholds(critical=1),
        "as check_pgactivity and pgMonitor: each is one too many",
        "What is on the disk is not what was written: the disk, the memory or the system is at fault.",
        "look in the log for which; restore from a backup, on other hardware, before the old ones are gone",
        checksum_failures,
        of="cache-hit",
    ),
    Check(
        "collation-version",
        "server",
        "Collations whose rules have changed",
        "collations",
        Thresholds(1),
        "each is one too many",
        "Indexes are in the old order: rows may not be found, and unique ones may be there twice.",
        "rebuild the indexes that use it, then ALTER COLLATION ... REFRESH VERSION",
        collation_version,
        query=_collations,
    ),
    Check(
        "track-counts",
        "server",
        "Settings that make the server blind",
        "settings",
        Thresholds(1),
        "the documentation of PostgreSQL",
        "Nobody can tell what has to be done, autovacuum least of all.",
        "set it to on in the configuration of the server",
        tracking,
        of="durability-settings",
    ),
    Check(
        "pending-restart",
        "server",
        "Settings that wait for a restart",
        "settings",
        Thresholds(1),
        "each is one too many",
        "The server does not run as its configuration says, and the next restart will change it, whenever that is.",
        "restart the server when it suits, or take the change back; mend what the file has wrong",
        pending_restart,
        query=_pending,
    ),
    Check(
        "cache-hit",
        "server",
        "Blocks that were found in shared buffers",
        "percent",
        Thresholds(90, below=True),
        "others warn below 94 to 99 %, which large reports make. From a million accesses and ten thousand transactions on",
        "What is not found there is read from the disk, or from the cache of the system at best.",
        "look for queries that read whole tables; raise shared_buffers where it is small",
        cache_hit,
        query=COUNTERS,
    ),
    Check(
        "temporary-files",
        "server",
        "Temporary files of queries",
        "bytes a day",
        Thresholds(100 * GIB),
        "no tool has a default; it keeps a disk busy for minutes each day. From a GiB, a day and ten thousand transactions on",
        "Sorts and hashes that do not fit into work_mem go over the disk, and may fill it.",
        "find the queries with log_temp_files, and raise work_mem for them",
        temporary_files,
        of="cache-hit",
    ),
    Check(
        "checksums-off",
        "server",
        "Data checksums",
        "off",
        NEVER,
        "never by itself: before 18 they are off by default, and storage may have its own; {warning: 1} asks for them",
        "Without them the server does not notice that the disk has changed what was written.",
        "pg_checksums --enable while the server is stopped",
        checksums_off,
        of="cache-hit",
    ),
    Check(
        "statistics-age",
        "server",
        "Age of the counters",
        "days",
        Thresholds(below=True),
        "never by itself: counters that are young are a fact for other checks, not an illness",
        "A crash or somebody resets them; what goes by them, such as indexes that nobody uses, is worth little then.",
        "wait",
        statistics_age,
        of="cache-hit",
    ),
)
