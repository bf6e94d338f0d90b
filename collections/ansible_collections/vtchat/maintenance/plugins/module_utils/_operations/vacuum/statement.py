# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is sent for one table: the statement, and the settings under which it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._postgres.capabilities import DATABASE_STATISTICS, INHERITED_VACUUM
from ..._postgres.horizon import Horizon
from .facts import Table
from .judge import FAILSAFE, Case, Judgement, goes_into_failsafe, least_dead
from .options import ALWAYS, AUTO, FAST, ON, Options
from .urgency import Settings, pace, waits

ONLY_DATABASE_STATISTICS = "VACUUM (ONLY_DATABASE_STATS)"


@dataclass(frozen=True)
class Work:
    """One table that is to be vacuumed.

    command     the statement but for the name, which may be another by then
    analyze     whether it analyzes as well
    settings    of the session while it runs
    failsafe    it will go into failsafe mode
    leftover    it has been in it, and its indexes are left alone once more
    freeze      it is due by its age: freeze_ages are those, of ids, that it may have afterwards
    frozen      every row is frozen (FREEZE)
    reasons_stay  it is due even if somebody else has vacuumed it meanwhile
    least_dead  dead rows from which on it is due
    decided     when the facts were read, in microseconds since 1970; horizon: who held it back then
    """

    table: Table
    command: str
    analyze: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    failsafe: bool = False
    leftover: bool = False
    freeze: bool = False
    freeze_ages: tuple[float, float] = (float("inf"), float("inf"))
    frozen: bool = False
    reasons_stay: bool = False
    least_dead: int = 0
    decided: int = 0
    horizon: Horizon = field(default_factory=lambda: Horizon(0))
    process_toast: bool = True
    counts: bool = True


@dataclass(frozen=True)
class DatabaseStatistics:
    """What every VACUUM does for the whole database when it ends, once for several."""


def work(case: Case, judgement: Judgement, jobs: int, few: bool = True) -> Work:
    """For a table that is due. jobs: how many are vacuumed at once; few: there are so few that the server may tell of each."""
    options, heap, thresholds = case.options, case.table.heap, case.thresholds
    analyze = options.analyze == ALWAYS or (options.analyze == AUTO and judgement.analyze and not case.table.child)
    limits = waits(heap, case.settings)
    ages = (thresholds.freeze_age_factor * limits.age, thresholds.freeze_age_factor * limits.multixact_age)
    return Work(
        table=case.table,
        command=command(case, judgement, analyze, jobs, few),
        analyze=analyze,
        settings=_settings(case, judgement, jobs, ages),
        failsafe=goes_into_failsafe(case),
        leftover=bool(case.memory.get(FAILSAFE)) and not judgement.indexes,
        freeze=judgement.freeze,
        freeze_ages=ages,
        frozen=options.freeze,
        reasons_stay=judgement.freeze or judgement.indexes or options.freeze,
        least_dead=least_dead(heap, case.settings, thresholds),
        decided=case.settings.now,
        horizon=case.horizon,
        process_toast=options.process_toast,
        counts=case.settings.counts,
    )


def command(case: Case, judgement: Judgement, analyze: bool, jobs: int, few: bool) -> str:
    """The statement but for the name; there is no text of others in it. What is left out is as the table or the server is set."""
    options, version = case.options, case.settings.version
    parts = ["SKIP_LOCKED", "VERBOSE"] if case.settings.english and few else ["SKIP_LOCKED"]
    parts.append(f"TRUNCATE {'TRUE' if options.truncate else 'FALSE'}")
    parts += ["FREEZE"] if options.freeze else []
    parts += ["ANALYZE"] if analyze else []
    if judgement.indexes and options.index_cleanup == AUTO:
        parts.append("INDEX_CLEANUP ON")
    elif options.index_cleanup != AUTO:
        parts.append(f"INDEX_CLEANUP {'ON' if options.index_cleanup == ON else 'OFF'}")
    parts += [] if options.process_toast else ["PROCESS_TOAST FALSE"]
    workers = _workers(options, case.settings, jobs)
    parts += [] if workers is None else [f"PARALLEL {workers}"]
    if options.buffer_usage_limit is not None:
        parts.append(f"BUFFER_USAGE_LIMIT {options.buffer_usage_limit // 1024}")
    parts += ["SKIP_DATABASE_STATS"] if jobs > 1 and version >= DATABASE_STATISTICS.since else []
    only = " ONLY" if case.table.parent and version >= INHERITED_VACUUM.since else ""
    return f"VACUUM ({', '.join(parts)}){only}"


def _workers(options: Options, settings: Settings, jobs: int) -> int | None:
    """Parallel workers of one VACUUM: all together ask for no more than the server has. None: the server decides."""
    each = int(settings.of("max_parallel_workers")) // jobs
    if options.parallel is not None:
        return min(options.parallel, each)
    most = int(settings.of("max_parallel_maintenance_workers"))
    return each if jobs > 1 and most > each else None


def _settings(case: Case, judgement: Judgement, jobs: int, ages: tuple[float, float]) -> dict[str, str]:
    """A VACUUM by hand has no delay unless somebody sets one, and reads the whole table by limits that are not the table's."""
    delay, limit = (0.0, 0) if case.options.pace == FAST else pace(case.table.heap, case.settings, jobs)
    found = {} if delay == case.settings.of("vacuum_cost_delay") else {"vacuum_cost_delay": f"{delay:g}"}
    if delay and limit != case.settings.of("vacuum_cost_limit"):
        found["vacuum_cost_limit"] = str(limit)
    if judgement.freeze:
        for name, age in (("freeze", ages[0]), ("multixact_freeze", ages[1])):
            least = min(case.settings.of(f"vacuum_{name}_min_age"), age / 2)  # so that it is not due again at once
            found[f"vacuum_{name}_table_age"] = "0"
            found[f"vacuum_{name}_min_age"] = str(int(least))
    return found
