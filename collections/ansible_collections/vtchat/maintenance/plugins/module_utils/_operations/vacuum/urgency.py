# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is known of a table and of its server, and what autovacuum makes of it: data and formulas, no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._postgres.capabilities import CAPPED_AUTOVACUUM

# 1.05: VACUUM never goes into failsafe mode below this share of the limits that force a freeze (vacuum_xid_failsafe_check).
FAILSAFE_FACTOR = 1.05

# Rows of large tables are an estimate from a sample: so far below it a count explains it all the same.
ESTIMATE = 0.8


@dataclass(frozen=True)
class Settings:
    """Settings of the server, in its own units (pg_settings.setting), and what is true of all its tables.

    version        server_version_num
    counts         whether the server counts changes (track_counts)
    owns_database  whether the role may maintain whatever is in the database
    reset          when the counters began, as text for people; "" where that is not known
    english        its messages are in English, so that what it tells can be told from what it warns of
    lost           they began later than the database: somebody has reset them, or the server has crashed
    now            the server's clock, in microseconds since 1970
    next_xid       the next transaction id, in 64 bits
    """

    version: int
    numbers: Mapping[str, float]
    counts: bool = True
    reset: str = ""
    lost: bool = False
    english: bool = False
    now: int = 0
    next_xid: int = 0

    def of(self, name: str, reloptions: Mapping[str, str] | None = None) -> float:
        """A setting, as a table has it where it has its own. -1 where this version has none of the name."""
        own = (reloptions or {}).get(name)
        return float(own) if own is not None else self.numbers.get(name, -1.0)


@dataclass(frozen=True)
class Heap:
    """A table, or the TOAST table of one. Rows are the server's counts, ages are in transactions, moments in microseconds.

    rows            as estimated by the last VACUUM or ANALYZE; None before the first
    visible_pages   pages that are all-visible, as the last VACUUM or ANALYZE found them; frozen_pages: likewise, from 18 on
    dead            dead rows; after a VACUUM those that it could not remove
    inserted        rows inserted since the last VACUUM; added: since the counters began
    modified        rows inserted, updated or deleted since the last ANALYZE
    age             of the oldest transaction id in it; multixact_age: likewise, and which it is. None where it has none
    bytes           with TOAST, None where it is not known
    reloptions      its own, and those of its table where a TOAST table has none
    """

    oid: int
    rows: int | None = 0
    pages: int = 0
    visible_pages: int = 0
    frozen_pages: int | None = None
    dead: int = 0
    inserted: int = 0
    added: int = 0
    modified: int = 0
    last_vacuum: int | None = None
    last_autovacuum: int | None = None
    last_analyze: int | None = None
    last_autoanalyze: int | None = None
    age: int | None = None
    multixact_age: int | None = None
    oldest_multixact: int | None = None
    bytes: int | None = None
    reloptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def vacuumed(self) -> int | None:
        """When it was last vacuumed, by whomever; None where nobody has counted it."""
        return max((moment for moment in (self.last_vacuum, self.last_autovacuum) if moment is not None), default=None)

    @property
    def analyzed(self) -> int | None:
        """When it was last analyzed, likewise."""
        return max(
            (moment for moment in (self.last_analyze, self.last_autoanalyze) if moment is not None), default=None
        )

    @property
    def uncounted(self) -> bool:
        """Whether it has rows from before the counters began, so that all its counts may be too small."""
        return self.vacuumed is None and ESTIMATE * (self.rows or 0) > self.added

    @property
    def unknown(self) -> bool:
        """Whether it has something in it, and neither counts nor estimates say what."""
        return bool(self.bytes) and self.rows is None and not self.added

    @property
    def loaded(self) -> bool:
        """Whether it was never vacuumed. What a restore says of visible pages was true somewhere else."""
        return self.vacuumed is None and not (self.uncounted and self.visible_pages)

    @property
    def visible_share(self) -> float | None:
        """Share of its pages that are all-visible; None where it has none."""
        return min(1.0, self.visible_pages / self.pages) if self.pages else None

    @property
    def frozen_share(self) -> float | None:
        """Share of its pages that are all-frozen; None before 18, where nobody says."""
        return min(1.0, self.frozen_pages / self.pages) if self.pages and self.frozen_pages is not None else None


@dataclass(frozen=True)
class Waits:
    """What autovacuum waits for before it vacuums a table: it acts above these. None: never for that reason."""

    dead: float
    inserted: float | None
    age: float
    multixact_age: float


def waits(heap: Heap, settings: Settings) -> Waits:
    """As relation_needs_vacanalyze() reckons it (src/backend/postmaster/autovacuum.c), with the table's own options."""
    own, rows = heap.reloptions, max(0, heap.rows or 0)

    def of(name: str) -> float:
        return settings.of(f"autovacuum_{name}", own)

    dead = of("vacuum_threshold") + of("vacuum_scale_factor") * rows
    most = of("vacuum_max_threshold") if settings.version >= CAPPED_AUTOVACUUM.since else -1.0
    dead = min(dead, most) if most >= 0 else dead
    base, inserted = of("vacuum_insert_threshold"), None
    if base >= 0:
        unfrozen = 1.0 - (heap.frozen_share or 0.0)  # from 18 on; before, nobody knows and all rows count
        inserted = base + of("vacuum_insert_scale_factor") * rows * unfrozen
    return Waits(
        dead, inserted, _least(settings, own, "freeze_max_age"), _least(settings, own, "multixact_freeze_max_age")
    )


def _least(settings: Settings, own: Mapping[str, str], name: str) -> float:
    """A limit that a table can only lower."""
    least = settings.of(f"autovacuum_{name}")
    return min(least, settings.of(f"autovacuum_{name}", own))


def failsafe(heap: Heap, settings: Settings) -> bool:
    """Whether a VACUUM of it goes into failsafe mode: it is that near to running out of transaction or multixact ids."""
    age = max(settings.of("vacuum_failsafe_age"), FAILSAFE_FACTOR * settings.of("autovacuum_freeze_max_age"))
    multixact_age = max(
        settings.of("vacuum_multixact_failsafe_age"),
        FAILSAFE_FACTOR * settings.of("autovacuum_multixact_freeze_max_age"),
    )
    return (heap.age or 0) > age or (heap.multixact_age or 0) > multixact_age


def pace(heap: Heap, settings: Settings, jobs: int) -> tuple[float, int]:
    """Milliseconds of delay, and the cost after which it comes, at which autovacuum would work on that table.

    Several at once share the limit, as autovacuum's workers do.
    """
    delay = settings.of("autovacuum_vacuum_cost_delay", heap.reloptions)
    limit = settings.of("autovacuum_vacuum_cost_limit", heap.reloptions)
    delay = delay if delay >= 0 else settings.of("vacuum_cost_delay")
    limit = limit if limit > 0 else settings.of("vacuum_cost_limit")
    return max(0.0, delay), max(1, int(limit) // jobs)
