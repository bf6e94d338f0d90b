# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is remembered of an index from one run to the next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..._postgres import bloat

# Where the fewest bytes per row are from: a rebuild of ours, a measurement, or nothing but having been seen.
REBUILT, MEASURED, SEEN = "rebuilt", "measured", "seen"
NEWS = 0.01  # share by which a ratio must be better to be worth writing down
MOST_SKIPPED = 32  # runs

# Of what a rebuild was said to win, the share that it must win for its method to be believed again.
BELIEVED = 0.5
DOUBT = 8  # runs for which a method that was wrong is not believed


@dataclass(frozen=True)
class Memory:
    """What the history keeps for an index.

    file        pg_class.relfilenode of what this is about; another one was built by somebody else
    best        fewest bytes per row that it ever had, None where nobody knows; basis: where that is from
    doubted     methods that were wrong about it -> runs for which they are not believed
    collations  collation -> version under which we have rebuilt it
    failures    rebuilds that have failed in a row; failed: why the last one did; skip: runs that still leave it out
    rate        bytes of the old index that were rebuilt in a second, None before the first time
    """

    file: int = 0
    best: float | None = None
    basis: str = SEEN
    doubted: dict[str, int] = field(default_factory=dict)
    collations: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    failed: str = ""
    skip: int = 0
    rate: float | None = None

    @classmethod
    def read(cls, value: Mapping[str, Any] | None, file: int) -> Memory:
        """From what the history has kept, for the index as it is now."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value} if value else {}
        memory = cls(**known)
        return memory if memory.file == file else replace(memory, file=file, best=None, basis=SEEN, doubted={})

    def state(self) -> dict[str, Any]:
        """For the history; never empty, which would mean that nothing is to be written."""
        return asdict(self)

    def older(self) -> Memory:
        """A run later."""
        return replace(self, doubted={method: left - 1 for method, left in self.doubted.items() if left > 1})

    def seen(self, ratio: float, basis: str = SEEN) -> Memory:
        """With bytes per row that were seen, if they are fewer than ever."""
        if self.best is not None and ratio > self.best * (1 - NEWS):
            return self
        return replace(self, best=ratio, basis=basis)

    def rebuilt(self, file: int, ratio: float | None, collations: dict[str, str], rate: float | None) -> Memory:
        """After a rebuild: everything else is of the old file. What was wrong about it stays doubted."""
        return replace(self, file=file, best=ratio, basis=REBUILT, collations=collations, failures=0, failed="", skip=0,
                       rate=rate or self.rate)  # fmt: skip

    def after_failure(self, why: str) -> Memory:
        """One more; from the second in a row on, runs are left out: 2, 4, 8 and so on."""
        failures = self.failures + 1
        skip = 0 if failures < 2 else min(MOST_SKIPPED, 2 ** (failures - 1))
        return replace(self, failures=failures, failed=why, skip=skip)

    def skipped(self) -> Memory:
        """One of the runs that leave it out is over."""
        return replace(self, skip=max(0, self.skip - 1))

    def judged(self, predicted: bloat.Bloat, after: int) -> Memory:
        """What its method is worth here, by what the rebuild has won."""
        others = {method: left for method, left in self.doubted.items() if method != predicted.method}
        wrong = predicted.bytes - after < predicted.gain * BELIEVED
        return replace(self, doubted={**others, predicted.method: DOUBT} if wrong else others)
