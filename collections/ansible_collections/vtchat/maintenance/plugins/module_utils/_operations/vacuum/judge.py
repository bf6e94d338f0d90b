# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether one table is due, and why: pure, over what is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..._postgres.horizon import Horizon
from ..._postgres.statistics import analyze_threshold
from ..._units import count, rows
from .. import Effect
from .facts import Table
from .options import OFF, Options, Thresholds
from .urgency import Heap, Settings, failsafe, waits

LEAST_PAGES = 1000  # 8 MB: index-only scans of less are fast anyway
ALL_FROZEN = 0.95  # share of pages; the last ones are being written to
LEAST_GAIN = 0.05  # share of the limit that a freeze must win, where somebody holds it back
SAME_PASS = 600 * 1_000_000  # microseconds: an ANALYZE within them has come with the VACUUM before it

# What is remembered of a table, for the next run.
HORIZON = "horizon"  # transaction id in 64 bits: what had died from it on could not be removed
FAILSAFE = "failsafe"  # whether it went into failsafe mode, and its indexes were left alone
AT = "at"  # when it was, as last_vacuum says it
VISIBLE = "visible"  # pages that were all-visible after it
FROZEN = "frozen"  # when VACUUM (FREEZE) was done, as last_vacuum says it
MULTIXACT = "multixact"  # the oldest multixact id that was left


@dataclass(frozen=True)
class Judgement:
    """What becomes of one table.

    reason    why it is due; where it is not, why not
    due       whether it is
    vain      why a VACUUM would gain nothing, "" where it would
    freeze    it is due by its age, so that all of its pages have to be read
    indexes   its indexes have to be cleaned up, however little there is to do
    analyze   its statistics are due as well
    nearness  age as a share of what forces autovacuum to freeze it
    wasted    share of its rows that are dead
    """

    reason: str
    due: bool = False
    vain: str = ""
    freeze: bool = False
    indexes: bool = False
    analyze: bool = False
    nearness: float = 0.0
    wasted: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """All that is looked at to judge one table. memory: what the last VACUUM of ours has left in its state."""

    table: Table
    settings: Settings
    horizon: Horizon
    options: Options
    memory: Mapping[str, Any] = field(default_factory=dict)
    coming: Effect = field(default_factory=Effect)

    @property
    def thresholds(self) -> Thresholds:
        """Those of this table."""
        return self.options.of(self.table.names)

    @property
    def heap(self) -> Heap:
        """The table as it will be after the earlier steps of the plan. What is not counted is not believed either."""
        heap = self.table.heap
        if not self.settings.counts:
            return replace(heap, dead=0, inserted=0, added=0, modified=0)
        if self.coming.rewritten:
            return replace(heap, dead=0)
        rows = self.coming.rows or 0
        return replace(heap, dead=heap.dead + rows, modified=heap.modified + rows) if rows else heap

    @property
    def toast(self) -> Heap | None:
        """Its TOAST table, where that is meant as well."""
        toast = self.table.toast if self.options.process_toast else None
        return replace(toast, dead=0, inserted=0, added=0) if toast and not self.settings.counts else toast

    def kept(self, heap: Heap) -> bool:
        """Whether all of its dead rows are newer than the horizon: they have died since a VACUUM that was held back by it."""
        known = self.memory.get(HORIZON)
        same = known is not None and self.horizon.xid <= known
        return self.horizon.held and (same or self.horizon.older_than(heap.vacuumed))


@dataclass(frozen=True)
class Reason:
    """Something that makes a table due; see Judgement."""

    text: str
    vain: str = ""
    freeze: bool = False
    indexes: bool = False


def judge(case: Case) -> Judgement:
    """The most urgent reason is told. It is in vain only if all are."""
    if case.coming.gone:
        return Judgement("an earlier step of this plan drops it")
    heap, toast = case.heap, case.toast
    found = [*_leftover(case), *_old(case, heap, ""), *(_old(case, toast, "its TOAST table: ") if toast else ())]
    found += [*_dead(case, heap, ""), *(_dead(case, toast, "its TOAST table has ") if toast else ())]
    found += [*_inserted(case, heap), *_hidden(case, heap), *_unfrozen(case, heap)]
    numbers = _numbers(case, heap, toast)
    if not found:
        return Judgement(_why_not(case, heap), numbers=numbers)
    useful = [reason for reason in found if not reason.vain] or found
    return Judgement(
        useful[0].text,
        True,
        useful[0].vain,
        any(reason.freeze for reason in useful),
        any(reason.indexes for reason in useful),
        heap.modified >= analyze_threshold(heap.rows or 0) and case.settings.counts,
        _nearness(case, heap, toast),
        _wasted(heap, toast),
        numbers,
    )


def least_dead(heap: Heap, settings: Settings, thresholds: Thresholds) -> int:
    """Dead rows from which on a table is due."""
    return max(thresholds.min_dead_rows, math.floor(thresholds.threshold_factor * waits(heap, settings).dead) + 1)


def least_inserted(heap: Heap, settings: Settings, thresholds: Thresholds) -> int | None:
    """Inserted rows, likewise; None where autovacuum does not wait for any."""
    inserted = waits(heap, settings).inserted
    if inserted is None:
        return None
    return max(thresholds.min_dead_rows, math.floor(thresholds.threshold_factor * inserted) + 1)


def _leftover(case: Case) -> list[Reason]:
    if not case.memory.get(FAILSAFE) or case.options.index_cleanup == OFF:
        return []
    return [Reason("its last vacuum went into failsafe mode and left its indexes alone", indexes=True)]


def _old(case: Case, heap: Heap, where: str) -> list[Reason]:
    """The oldest ids in it come near to the age at which autovacuum is forced to freeze them."""
    limits, factor = waits(heap, case.settings), case.thresholds.freeze_age_factor
    found = []
    if heap.age is not None and heap.age >= factor * limits.age:
        gain = heap.age - case.horizon.age
        held = case.horizon.held and gain < LEAST_GAIN * limits.age
        text = (
            f"{where}its oldest transaction id is {count(heap.age)} old (threshold {count(round(factor * limits.age))})"
        )
        found.append(
            Reason(text, f"it cannot be frozen further: {case.horizon.holder} still needs it" if held else "", True)
        )
    if heap.multixact_age is not None and heap.multixact_age >= factor * limits.multixact_age:
        tried = case.memory.get(MULTIXACT) == heap.oldest_multixact and case.kept(heap)
        limit = count(round(factor * limits.multixact_age))
        text = f"{where}its oldest multixact id is {count(heap.multixact_age)} old (threshold {limit})"
        found.append(
            Reason(text, f"a vacuum has not advanced it: {case.horizon.holder} may need it" if tried else "", True)
        )
    return found


def _dead(case: Case, heap: Heap, where: str) -> list[Reason]:
    least = least_dead(heap, case.settings, case.thresholds)
    if heap.dead < least:
        return []
    vain = f"none of them can go: {case.horizon.holder} may still see them" if case.kept(heap) else ""
    return [Reason(f"{where}{_dead_rows(heap.dead)} (threshold {count(least)})", vain)]


def _inserted(case: Case, heap: Heap) -> list[Reason]:
    least = least_inserted(heap, case.settings, case.thresholds)
    if least is None or heap.inserted < least or (heap.loaded and not case.options.loaded):
        return []
    return [Reason(f"{rows(heap.inserted)} inserted since the last vacuum (threshold {count(least)})")]


def _hidden(case: Case, heap: Heap) -> list[Reason]:
    """Too many pages are not all-visible, though they once were. What the last VACUUM itself has left the next one leaves too."""
    share = heap.visible_share
    if heap.pages < LEAST_PAGES or heap.loaded or share is None or share >= case.thresholds.visible_share:
        return []
    known, vacuumed = case.memory.get(VISIBLE), heap.vacuumed
    if known is not None and case.memory.get(AT) == vacuumed:  # nobody else has vacuumed it since
        left = heap.visible_pages >= known
    else:
        left = vacuumed is not None and (heap.analyzed is None or heap.analyzed < vacuumed + SAME_PASS)
    unchanged = case.settings.counts and vacuumed is not None and not heap.dead and not heap.inserted
    if left or unchanged or case.kept(heap):
        return []
    return [
        Reason(f"{_percent(share)} of its pages are all-visible (threshold {_percent(case.thresholds.visible_share)})")
    ]


def _unfrozen(case: Case, heap: Heap) -> list[Reason]:
    """On demand: rows that are not frozen yet."""
    if not case.options.freeze or not (heap.rows or heap.added or heap.pages):
        return []
    few = heap.dead + heap.inserted < max(1, case.thresholds.min_dead_rows)
    done = heap.last_vacuum is not None and case.memory.get(FROZEN) == heap.last_vacuum and few
    frozen = heap.frozen_share
    if done or (frozen is not None and frozen >= ALL_FROZEN) or case.kept(heap):
        return []
    return [Reason("its rows are to be frozen" if frozen is None else f"{_percent(frozen)} of its pages are frozen")]


def _nearness(case: Case, heap: Heap, toast: Heap | None) -> float:
    """Age as a share of what forces autovacuum to act, of the older one of a table and its TOAST table."""
    shares = [0.0]
    for one in (heap, toast):
        if one is not None:
            limits = waits(one, case.settings)
            shares += [(one.age or 0) / limits.age, (one.multixact_age or 0) / limits.multixact_age]
    return max(shares)


def _wasted(heap: Heap, toast: Heap | None) -> float:
    both = [one for one in (heap, toast) if one is not None]
    dead = sum(one.dead for one in both)
    live = sum(max(0, one.added - one.dead) if one.rows is None else one.rows for one in both)
    return dead / max(1, dead + live)


def _why_not(case: Case, heap: Heap) -> str:
    """What was found where nothing is due: the number that is nearest to its threshold."""
    least, most = least_dead(heap, case.settings, case.thresholds), least_inserted(heap, case.settings, case.thresholds)
    if not case.settings.counts:
        return "its changes are not counted, and neither its pages nor its age give a reason"
    if heap.loaded and most is not None and heap.inserted >= most:
        return f"only loaded so far: {rows(heap.inserted)} inserted, and never vacuumed"
    if most is not None and not heap.loaded and heap.inserted / most > heap.dead / least:
        return f"{rows(heap.inserted)} inserted since the last vacuum, below the threshold of {count(most)}"
    since = " counted since the statistics were reset" if heap.uncounted else ""
    return f"{_dead_rows(heap.dead)}{since}, below the threshold of {count(least)}"


def _numbers(case: Case, heap: Heap, toast: Heap | None) -> dict[str, Any]:
    """What decided, JSON-ready; without what is not known."""
    limits = waits(heap, case.settings)
    numbers: dict[str, Any] = {
        "bytes": case.table.bytes,
        "dead_threshold": least_dead(heap, case.settings, case.thresholds),
        "inserted_threshold": least_inserted(heap, case.settings, case.thresholds),
        "freeze_limit": round(limits.age),
        "multixact_limit": round(limits.multixact_age),
        **measured(heap, toast),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def measured(heap: Heap, toast: Heap | None) -> dict[str, Any]:
    """What a VACUUM changes, JSON-ready: before it, or with other names after it."""
    return {
        "rows": heap.rows,
        "dead": heap.dead,
        "inserted": heap.inserted,
        "pages": heap.pages,
        "visible_share": _rounded(heap.visible_share),
        "frozen_share": _rounded(heap.frozen_share),
        "freeze_age": heap.age,
        "multixact_age": heap.multixact_age,
        "toast_dead": toast.dead if toast else None,
        "toast_freeze_age": toast.age if toast else None,
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _percent(share: float) -> str:
    """Rounded down: what is below a threshold does not look like it."""
    return f"{math.floor(share * 100 + 1e-9)}%"


def _dead_rows(number: int) -> str:
    return f"{count(number)} dead row" if number == 1 else f"{count(number)} dead rows"


def goes_into_failsafe(case: Case) -> bool:
    """Whether a VACUUM of it will leave the indexes alone, because ids are about to run out."""
    return any(failsafe(one, case.settings) for one in (case.table.heap, case.table.toast) if one is not None)
