# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What differs between versions of PostgreSQL, and which extensions help: one table, with what to say where it is missing."""

from __future__ import annotations

from dataclasses import dataclass

OLDEST = 140000  # server_version_num of the oldest PostgreSQL that is supported


@dataclass(frozen=True)
class Feature:
    """Something that the server has from a version on. since: server_version_num; what: as a sentence goes on after "has no"."""

    since: int
    what: str

    @property
    def missing(self) -> str:
        """What to say where it is missing."""
        return f"PostgreSQL before {self.since // 10000} has no {self.what}"


@dataclass(frozen=True)
class Extension:
    """Something that CREATE EXTENSION brings. what: what it is needed for."""

    name: str
    what: str

    @property
    def missing(self) -> str:
        """What to say where it is missing."""
        return f"the extension {self.name} is not there, which {self.what}: CREATE EXTENSION {self.name}"


# pg_stat_force_next_flush(): counters of our own session are in the views at once; before 15 a collector had them first.
FLUSHED_STATISTICS = Feature(150000, "pg_stat_force_next_flush()")
# The database's own collation has a version (pg_database.datcollversion), as others have in pg_collation.
DATABASE_COLLATION_VERSION = Feature(150000, "version of the database's collation")
# Memberships have options, WITH INHERIT and SET, and CREATEROLE reaches only roles that one has ADMIN OPTION on.
MEMBERSHIP_OPTIONS = Feature(160000, "options of memberships")
MAINTAIN = Feature(170000, "privilege MAINTAIN")
# ANALYZE, REFRESH, CREATE INDEX and the like run with search_path = pg_catalog, pg_temp.
RESTRICTED_PATH = Feature(170000, "search_path of its own for maintenance commands")
TRANSACTION_TIMEOUT = Feature(170000, "transaction_timeout")
# VACUUM (BUFFER_USAGE_LIMIT); and the last of several can do for all what each would do for itself.
BUFFER_USAGE_LIMIT = Feature(160000, "BUFFER_USAGE_LIMIT of VACUUM")
DATABASE_STATISTICS = Feature(160000, "VACUUM (ONLY_DATABASE_STATS)")
INDEX_PROGRESS = Feature(170000, "progress of indexes in VACUUM")
# ANALYZE of a table includes those that inherit from it, as it always did with partitions.
INHERITED_ANALYZE = Feature(180000, "ANALYZE that goes on to the tables that inherit")
INHERITED_VACUUM = Feature(180000, "VACUUM that goes on to the tables that inherit")
CAPPED_AUTOVACUUM = Feature(180000, "autovacuum_vacuum_max_threshold")
REPACK = Feature(190000, "REPACK")
SKIP_SCAN = Feature(180000, "skip scan of B-trees")
FROZEN_PAGES = Feature(180000, "count of frozen pages")
# INSERT ... ON CONFLICT goes on while a unique index is rebuilt concurrently; before, it fails now and then.
UPSERTS_BESIDE_REBUILDS = Feature(190000, "rebuild of unique indexes beside INSERT ... ON CONFLICT")
# The members of multixacts are counted in 64 bits, and do not run out.
WIDE_MULTIXACT_OFFSETS = Feature(190000, "64 bits for members of multixacts")
# bt_index_check(index, heapallindexed, checkunique).
CHECKS_UNIQUE = Feature(170000, "check of uniqueness in amcheck")

PGSTATTUPLE = Extension("pgstattuple", "measures bloat")
AMCHECK = Extension("amcheck", "checks tables and indexes for corruption")
