# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a check of a database is. Pure.

A check measures subjects, such as tables or plans, and has two thresholds. Each file here has the checks of one group;
``registry`` asks all of them at once, and ``judge`` makes findings of what they have measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from .._postgres.server import Server
from .._result import CRITICAL, INFO, WARNING

# In the order in which groups that are equally bad are told.
GROUPS = {
    "wraparound": "Transaction IDs and multixacts",
    "server": "The server",
    "sessions": "Sessions and locks",
    "replication": "Replication and archiving",
    "vacuum": "Vacuum and statistics",
    "tables": "Tables, constraints, sequences, materialized views",
    "indexes": "Indexes",
    "storage": "Size and bloat",
    "maintenance": "The maintenance itself",
}

# SQL: whether the role sees what other roles' sessions do, and the settings and statistics that not everybody may see.
SEES_ALL = "pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
MONITOR = "pg_monitor"

# Bytes. In smaller tables and indexes neither copies nor bloat are anybody's trouble: PgHero and pgdoctor begin at 10 MB,
# pgx_scripts at 9 MB. As the last VACUUM, ANALYZE or CREATE INDEX has counted the pages.
LARGE = 10 << 20
IS_LARGE = f"""
EXISTS (SELECT FROM pg_class WHERE relkind = 'p' OR relkind IN ('r', 'm', 'i')
        AND relpages >= {LARGE} / current_setting('block_size')::int)
"""
NOTHING = "SELECT 1 WHERE false"


@dataclass(frozen=True)
class Thresholds:
    """From which value on it is bad; None: never. The higher the value, the worse; with ``below`` the lower."""

    warning: float | None = None
    critical: float | None = None
    below: bool = False

    def level(self, value: float) -> str:
        """INFO, WARNING or CRITICAL."""
        if self._reached(self.critical, value):
            return CRITICAL
        return WARNING if self._reached(self.warning, value) else INFO

    def with_those(self, said: Mapping[str, float | None]) -> Thresholds:
        """These, but for what is said of "warning" and "critical"."""
        return Thresholds(said.get(WARNING, self.warning), said.get(CRITICAL, self.critical), self.below)

    def passed(self, value: float) -> float | None:
        """The threshold that the value has reached; the nearest one if it has reached none."""
        reached = [one for one in (self.critical, self.warning) if one is not None and self._reached(one, value)]
        known = [one for one in (self.warning, self.critical) if one is not None]
        return reached[0] if reached else known[0] if known else None

    def badness(self, value: float) -> float:
        """A number that is the higher the worse the value is."""
        return -value if self.below else value

    def _reached(self, limit: float | None, value: float) -> bool:
        return limit is not None and (value <= limit if self.below else value >= limit)


@dataclass(frozen=True)
class Sample:
    """What was measured of one subject.

    value       in the unit of the check; None where the role may not see it, and ``message`` says so
    message     one sentence, without the subject
    advice      what to do about this subject, where that is not what the check says
    thresholds  its own, where one number does not fit all subjects
    """

    subject: str
    value: float | None
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    thresholds: Thresholds | None = None


@dataclass(frozen=True)
class Asked:
    """What whoever asks knows.

    plans    the plans that are to run, with their schedules; None: those that the history has
    history  why the history cannot be read, "" if it can
    earlier  whether the findings of earlier runs can be read
    size_limit  bytes that the database may have, 0 where nobody has said it
    running  the plan that is under way
    large    whether there is any relation of LARGE bytes or more, or a partitioned table, whose parts count together
    waiting  tables, each with a SELECT of (target, waiting, hidden): its expired rows, or why they cannot be counted
    """

    server: Server
    plans: Mapping[str, Mapping[str, str]] | None = None
    history: str = ""
    earlier: bool = False
    size_limit: int = 0
    waiting: tuple[tuple[str, str], ...] = ()
    running: str = ""
    large: bool = True

    @property
    def database(self) -> str:
        """The database that is looked at."""
        return self.server.database


Samples = Callable[[Sequence[Mapping[str, Any]], Asked], Sequence[Sample]]
Query = Union[str, Callable[[Asked], str]]


@dataclass(frozen=True)
class Check:
    """One check.

    id          in kebab-case, as it is called in findings and options
    group       one of GROUPS
    title       what it is about, for people
    unit        of the value
    thresholds  defaults
    source      where they come from
    meaning     why it matters
    remedy      what to do
    samples     what the rows say
    query       rows as one SELECT, asked together with those of the other checks; "" where ``of`` says whose rows it reads
    of          the check whose rows it reads as well
    history     whether it reads the history of the maintenance
    right       what has to be granted to see it, such as membership in a role; "" if everybody may
    trend       whether the history keeps what it measures of what is well, too
    since       server_version_num from which on there is something to see
    """

    id: str
    group: str
    title: str
    unit: str
    thresholds: Thresholds
    source: str
    meaning: str
    remedy: str
    samples: Samples
    query: Query = ""
    of: str = ""
    history: bool = False
    right: str = ""
    trend: bool = False
    since: int = 0
