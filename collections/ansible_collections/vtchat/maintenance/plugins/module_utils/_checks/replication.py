# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Standbys, slots, the archive, and what logical replication publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._postgres.names import display, quote
from .._units import duration, size
from . import MONITOR, Asked, Check, Sample, Thresholds
from .archive import archive, archive_query

MIB, GIB = 2**20, 2**30

# Where max_slot_wal_keep_size sets no limit.
SLOT_LIMIT = 10 * GIB

# Who gets WAL from this server; of a standby what it has received itself. Base backups are none.
STANDBYS = """
SELECT pid, application_name AS name, host(client_addr) AS client, state, sync_state,
       pg_catalog.pg_wal_lsn_diff({here}, replay_lsn)::bigint AS bytes, extract(epoch FROM replay_lag)::float8 AS seconds,
       {own} AS own
FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'
"""
PRIMARY = STANDBYS.format(here="pg_catalog.pg_current_wal_lsn()", own="NULL::jsonb")

# What a standby knows of itself. Without a connection to its primary nothing comes; one that replays an archive only has none.
# Whether it shall have one may be hidden.
OWN = """
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::bigint AS bytes,
       extract(epoch FROM clock_timestamp()
               - coalesce(pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.pg_postmaster_start_time()))::float8 AS seconds,
       EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) AS connected,
       pg_catalog.pg_last_wal_receive_lsn() IS NOT NULL
           OR (SELECT setting <> '' FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo') AS streams,
       pg_catalog.pg_is_wal_replay_paused() AS paused,
       (SELECT setting::bigint / 1000.0 FROM pg_catalog.pg_settings WHERE name = 'recovery_min_apply_delay') AS wanted
"""
STANDBY = f"""
{STANDBYS.format(here="pg_catalog.pg_last_wal_replay_lsn()", own="NULL::jsonb")}
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, (SELECT to_jsonb(o) FROM ({OWN}) AS o)
"""  # noqa: S608 - made of constants

SLOTS = """
SELECT slot_name::text AS name, slot_type AS type, database::text, active, active_pid AS pid, wal_status AS status,
       pg_catalog.pg_wal_lsn_diff({here}, restart_lsn)::bigint AS bytes, to_jsonb(s) ->> 'invalidation_reason' AS reason,
       extract(epoch FROM clock_timestamp() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8 AS seconds,
       (SELECT CASE WHEN setting <> '-1' THEN setting::bigint * 1048576 END FROM pg_catalog.pg_settings
        WHERE name = 'max_slot_wal_keep_size') AS keeps
FROM pg_catalog.pg_replication_slots AS s WHERE NOT temporary
"""

# Tables, partitions among them, that a publication publishes changes of and whose changed rows nobody could find again. The view
# pg_publication_tables and pg_partition_tree() would lock them.
PUBLISHED = """
WITH published AS (
    SELECT c.oid, c.relkind, p.pubname, p.pubupdate, p.pubdelete FROM pg_catalog.pg_publication AS p
    JOIN pg_catalog.pg_class AS c ON c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
    AND (p.puballtables
         OR c.oid IN (SELECT r.prrelid FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid){schemas})
    WHERE p.pubupdate OR p.pubdelete
), stored AS (
    SELECT coalesce(l.relid, p.oid) AS oid, p.pubname, p.pubupdate, p.pubdelete FROM published AS p
    LEFT JOIN LATERAL (
        WITH RECURSIVE part (oid) AS (
            SELECT p.oid UNION ALL SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent = part.oid)
        SELECT part.oid AS relid FROM part JOIN pg_catalog.pg_class AS c USING (oid)
        WHERE p.relkind = 'p' AND c.relkind <> 'p') AS l ON true
)
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relreplident AS identity,
       array_agg(DISTINCT s.pubname::text) AS publications, bool_or(s.pubupdate) AS updates, bool_or(s.pubdelete) AS deletes
FROM stored AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
    AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
GROUP BY 1, 2, 3
"""


# From 15 on.
IN_SCHEMAS = """
         OR c.relnamespace IN (SELECT s.pnnspid FROM pg_catalog.pg_publication_namespace AS s WHERE s.pnpubid = p.oid)"""


def _published(asked: Asked) -> str:
    return PUBLISHED.format(schemas=IN_SCHEMAS if asked.server.version_num >= 150000 else "")


def _standbys(asked: Asked) -> str:
    return STANDBY if asked.server.in_recovery else PRIMARY


def _slots(asked: Asked) -> str:
    in_recovery = asked.server.in_recovery
    return SLOTS.format(here=f"pg_catalog.pg_{'last_wal_replay' if in_recovery else 'current_wal'}_lsn()")


def _others(found: Sequence[Mapping[str, Any]], asked: Asked) -> tuple[list[Mapping[str, Any]], list[Sample]]:
    """Those who get WAL from here and may be seen; and that some may not."""
    others = [row for row in found if row["own"] is None]
    seen = [row for row in others if row["state"] is not None]
    hidden = Sample(asked.database, None, "how far standbys are is hidden from this role")
    return seen, [hidden] if len(seen) < len(others) else []


def lag(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Bytes of WAL that are not replayed."""
    seen, told = _others(found, asked)
    for row in seen:
        where = f" at {row['client']}" if row["client"] else ""
        evidence = {"state": row["state"], "sync": row["sync_state"], "seconds": row["seconds"], "pid": row["pid"]}
        said = f"{row['state']}{where}: {size(row['bytes'] or 0)} behind" if row["bytes"] is not None else row["state"]
        told.append(Sample(f"standby {quote(row['name'] or '')}", max(0, row["bytes"] or 0), said, evidence))
    for own in (row["own"] for row in found if row["own"] is not None):
        bytes_behind = max(0, own["bytes"] or 0)
        paused = ", and replay is paused" if own["paused"] else ""
        said = f"this standby has {size(bytes_behind)} received and not replayed{paused}"
        told.append(Sample(asked.database, bytes_behind, said, {"paused": own["paused"]}))
    return told or [Sample(asked.database, 0, "there is no standby")]


def delay(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Seconds that a standby is behind. Where nothing is written there is none."""
    seen, told = _others(found, asked)
    for row in seen:
        seconds = round(row["seconds"] or 0, 1)
        said = f"what it replays was written {duration(seconds)} ago" if seconds else "it is as far as this server"
        told.append(Sample(f"standby {quote(row['name'] or '')}", seconds, said, {"pid": row["pid"]}))
    told += [_own_delay(row["own"], asked) for row in found if row["own"] is not None]
    return told or [Sample(asked.database, 0, "there is no standby")]


def _own_delay(own: Mapping[str, Any], asked: Asked) -> Sample:
    """Of a standby that has replayed all that came, only whether anything can come."""
    evidence = {"connected": own["connected"], "paused": own["paused"]}
    if own["streams"] is None and not own["connected"]:
        return Sample(
            asked.database, None, "whether this standby shall be connected to a primary is hidden from this role"
        )
    cut_off = own["streams"] and not own["connected"]
    if not cut_off and not own["bytes"]:
        return Sample(asked.database, 0, "this standby has replayed all that it has received", evidence)
    seconds = round(max(0, own["seconds"] - float(own["wanted"] or 0)), 1)
    why = (
        "it is not connected to its primary" if cut_off else "replay is paused" if own["paused"] else "replay is behind"
    )
    said = f"{why}; the last transaction that this standby has replayed is of {duration(own['seconds'])} ago"
    return Sample(asked.database, seconds, said, evidence)


def slots(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Per cent of the WAL that a slot may keep; 100 also where it has lost some."""
    return [_slot(row) for row in found] or [Sample(asked.database, 0, "there is no replication slot")]


def _slot(row: Mapping[str, Any]) -> Sample:
    limit = row["keeps"] or SLOT_LIMIT
    kept = max(0, row["bytes"] or 0)
    lost = row["status"] == "lost" or row["reason"] is not None
    if row["active"]:
        use = f"used by process {row['pid']}"
    else:
        use = f"used by nobody for {duration(row['seconds'])}" if row["seconds"] is not None else "used by nobody"
    if lost:
        said = f"{use}; WAL that it needs is gone{' (' + row['reason'] + ')' if row['reason'] else ''}"
    else:
        of = "max_slot_wal_keep_size" if row["keeps"] else "there is no limit, so of"
        said = f"{use}; it keeps {size(kept)} of WAL ({of} {size(limit)})"
    names = ("type", "database", "active", "status", "reason")
    evidence = {
        "kept_bytes": kept,
        "limited": row["keeps"] is not None,
        **{n: row[n] for n in names if row[n] is not None},
    }
    value = max(100, 100 * kept // max(1, limit)) if lost else 100 * kept // max(1, limit)
    name = row["name"]  # lower-case letters, digits and underscores only
    advice = f"have its consumer go on, or, if nobody needs it: SELECT pg_catalog.pg_drop_replication_slot('{name}');"
    return Sample(f"slot {name}", value, said, evidence, advice)


def published(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Each table is one."""
    told = []
    for row in found:
        table = display(row["schema"], row["name"])
        what = " and ".join(
            word for word, published in (("UPDATE", row["updates"]), ("DELETE", row["deletes"])) if published
        )
        names = ", ".join(quote(name) for name in row["publications"])
        why = "its replica identity is NOTHING" if row["identity"] == "n" else "it has no replica identity"
        said = f"{why}, and {names} publishes each {what} of it: they fail"
        advice = f"ALTER TABLE {table} ADD PRIMARY KEY (...); or ALTER TABLE {table} REPLICA IDENTITY FULL;"
        told.append(Sample(table, 1, said, {"publications": row["publications"]}, advice))
    return told or [
        Sample(asked.database, 0, "every published table has what identifies its rows, or nothing is published")
    ]


CHECKS = (
    Check(
        "replication-lag",
        "replication",
        "WAL that standbys have not replayed",
        "bytes",
        Thresholds(100 * MIB, GIB),
        "pgMonitor calls 100 MB critical; a load of data makes as much for a moment",
        "A standby that is behind answers with old data, and loses what it has not got when the primary is lost.",
        "look whether the standby is at work, and whether its disk and the network are fast enough",
        lag,
        query=_standbys,
        right=MONITOR,
    ),
    Check(
        "replication-delay",
        "replication",
        "Seconds that standbys are behind",
        "seconds",
        Thresholds(300, 3600),
        "CloudNativePG warns of 300 s, the mixin of postgres_exporter of an hour",
        "A standby that is behind answers with old data, and loses what it has not got when the primary is lost.",
        "look whether the standby is connected, whether replay is paused, and whether a query there holds it up",
        delay,
        of="replication-lag",
        right=MONITOR,
    ),
    Check(
        "replication-slots",
        "replication",
        "WAL that replication slots keep",
        "percent",
        Thresholds(50, 90),
        "of max_slot_wal_keep_size, or of 10 GiB where it is not set: pgdoctor fails at 5 GB, pgFirstAid warns at 90 %",
        "A slot that nobody reads keeps WAL until the disk is full; one that has lost WAL must be made anew.",
        "have its consumer go on, or drop it",
        slots,
        query=_slots,
    ),
    Check(
        "archiver",
        "replication",
        "WAL files that are not archived",
        "files",
        Thresholds(64, 256),
        "check_postgres warns of 10 files, which a load of data makes in a moment; while archiving fails, from the first on",
        "What is not archived cannot be restored, and is kept until the disk is full.",
        "look at the log of the server for why archive_command or archive_library fails",
        archive,
        query=archive_query,
    ),
    Check(
        "published-tables-without-identity",
        "replication",
        "Published tables without replica identity",
        "tables",
        Thresholds(1),
        "each is one too many",
        "UPDATE and DELETE on such a table are refused as long as it is published.",
        "give it a primary key, or a replica identity",
        published,
        query=_published,
    ),
)
