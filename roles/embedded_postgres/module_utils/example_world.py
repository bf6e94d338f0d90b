# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An invented quarter: how much goes on at each hour, how the database grows, and what went wrong.

Everything comes from one seed, so that the same database at the same time has the same past.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from enum import Enum

from .example_facts import DAYS

SEED = 1996
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

BEND = 0.66  # share of the quarter after which the database grows faster
BUSIEST = 14  # o'clock in UTC


class Event(Enum):
    """What went wrong in a run."""

    LOCKED = "a deploy held locks"
    OUT_OF_TIME = "the budget ended"
    DISK_FULL = "a refresh failed"
    KILLED = "its process died"


# Days before now, and the hour (UTC) of that day.
EVENTS = {
    (61, 14): Event.LOCKED,
    (49, 9): Event.OUT_OF_TIME,
    (33, 15): Event.DISK_FULL,
    (33, 16): Event.DISK_FULL,
    (19, 11): Event.KILLED,
}
UNREACHABLE = ((72, 22), (71, 4))  # from, until: no run could connect
SLOW = ((53, 0), (46, 0))
HELD = ((53, 0), (39, 0))  # a transaction that somebody has forgotten keeps dead rows
MISSED = 0.015  # share of the triggers that never came


class World:
    """What was going on at a moment."""

    def __init__(self, now: datetime, seed: int = SEED) -> None:
        self.now = now
        self.hour = now.replace(minute=0, second=0, microsecond=0)
        self.chance = random.Random(seed)  # noqa: S311 - nothing is kept secret with it
        self._ways: dict[str, tuple[float, float]] = {}

    def event(self, moment: datetime) -> Event | None:
        """What went wrong in the run of that hour."""
        return EVENTS.get(self._place(moment))

    def unreachable(self, moment: datetime) -> bool:
        """Whether the database could not be reached."""
        return self._within(moment, UNREACHABLE)

    def held(self, moment: datetime) -> bool:
        """Whether somebody keeps dead rows from being removed."""
        return self._within(moment, HELD)

    def missed(self, moment: datetime) -> bool:
        """Whether a trigger never came."""
        return self.chance.random() < MISSED and not self.event(moment)

    def started(self, moment: datetime) -> datetime:
        """When a run began that was to begin at that moment: triggers come late, now and then by minutes."""
        late = self.chance.expovariate(1 / 70) + 15
        return moment + timedelta(seconds=min(late, 540), microseconds=self.chance.randrange(1_000_000))

    def traffic(self, moment: datetime) -> float:
        """How much goes on, 1 on average by now: more by day, less at weekends, more from month to month."""
        clock = moment.hour + moment.minute / 60
        daily = 1 + 0.85 * math.cos((clock - BUSIEST) / 12 * math.pi)
        weekly = 0.62 if moment.weekday() >= 5 else 1.12
        return daily * weekly * (0.55 + 0.45 * self.progress(moment)) * self.noise(0.18)

    def quiet(self, moment: datetime) -> bool:
        """Whether nobody has changed anything that hour: at night, sometimes."""
        asleep = moment.hour >= 22 or moment.hour < 6
        return asleep and self.chance.random() < (0.75 if moment.weekday() >= 5 else 0.55)

    def growth(self, moment: datetime, name: str) -> float:
        """Size of something at that moment as a share of its size now: each from another size on, and in a way of its own."""
        if name not in self._ways:
            own = random.Random(f"{SEED} {name}")  # noqa: S311
            self._ways[name] = own.uniform(0.3, 0.7), own.uniform(0.7, 1.7)
        before, bend = self._ways[name]
        progress = self.progress(moment)
        ripple = 0.02 * (1 - progress) * math.sin((self.hour - moment) / DAY * (0.4 + before))
        return before + (1 - before) * progress**bend + ripple

    def used(self, moment: datetime, number: int) -> int:
        """What a counter that is at a number now was at that moment."""
        return max(min(number, 3), round(number * (0.06 + 0.94 * self.progress(moment))))

    def slowness(self, moment: datetime) -> float:
        """How much longer everything took: for a week the disk was busy with something else."""
        if not self._within(moment, SLOW):
            return self.noise(0.16)
        first, last = (self._moment(place) for place in SLOW)
        share = (moment - first) / (last - first)
        return (2.5 + 7 * math.sin(share * math.pi)) * self.noise(0.35)

    def noise(self, spread: float) -> float:
        """A factor around 1."""
        return self.chance.lognormvariate(0, spread)

    def progress(self, moment: datetime) -> float:
        """From 0 at the beginning to 1 now: slowly at first, then faster."""
        share = min(1.0, max(0.0, 1 - (self.hour - moment) / (DAYS * DAY)))
        return 0.38 * share / BEND if share < BEND else 0.38 + 0.62 * (share - BEND) / (1 - BEND)

    def _place(self, moment: datetime) -> tuple[int, int]:
        return (self.now.date() - moment.date()).days, moment.hour

    def _moment(self, place: tuple[int, int]) -> datetime:
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - place[0] * DAY + place[1] * HOUR

    def _within(self, moment: datetime, span: tuple[tuple[int, int], tuple[int, int]]) -> bool:
        return self._moment(span[0]) <= moment < self._moment(span[1])
