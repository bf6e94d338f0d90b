# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How what a check has measured becomes findings, by its thresholds and by what the user says of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from .._postgres.names import quote
from .._result import CRITICAL, INFO, LEVELS, UNKNOWN, WARNING, Finding
from .._units import count
from . import Asked, Check, Sample, Thresholds

MOST_FINDINGS = 20  # subjects of one check that are told one by one, the worst first


@dataclass(frozen=True)
class Limits:
    """The user's thresholds of one check, and those of the subjects that a pattern fits, of which the first counts."""

    all: Thresholds | None = None
    objects: tuple[tuple[str, Thresholds], ...] = ()

    def of(self, subject: str) -> Thresholds | None:
        """What the user says of this subject."""
        return next((limits for pattern, limits in self.objects if fnmatchcase(subject, pattern)), self.all)


@dataclass(frozen=True)
class Ignored:
    """What the user knows of and does not want to be told again until a moment, which has a time zone; and why."""

    check: str
    object: str
    reason: str
    until: datetime

    def fits(self, check: str, subject: str) -> bool:
        """Whether it is about this finding."""
        return fnmatchcase(check, self.check) and fnmatchcase(subject, self.object)


@dataclass(frozen=True)
class Judge:
    """Makes findings. limits: by check. now: by the server's clock."""

    asked: Asked
    now: datetime
    limits: dict[str, Limits] = field(default_factory=dict)
    ignored: Sequence[Ignored] = ()

    def unknown(self, check: Check, why: str) -> list[Finding]:
        """It could not be asked."""
        return [replace(self._base(check, self.asked.database), level=UNKNOWN, keep=True, message=why)]

    def absent(self, check: Check) -> list[Finding]:
        """The server is too old to have it."""
        return [
            replace(
                self._base(check, self.asked.database),
                message=f"{check.title}: PostgreSQL {check.since // 10000} is the first to have it",
            )
        ]

    def findings(self, check: Check, samples: Sequence[Sample]) -> list[Finding]:
        """What is bad, the worst first, and what cannot be seen; or that all is well, as one finding."""
        measured = [self._judged(check, one) for one in samples if one.value is not None]
        measured.sort(key=lambda one: (-LEVELS.index(one.finding.level), -one.badness, one.finding.subject))
        hidden = [one for one in samples if one.value is None]
        loud = [one.finding for one in measured if one.finding.level != INFO]
        quiet = [one.finding for one in measured if one.finding.level == INFO]
        silenced = [one for one in quiet if "ignored" in one.evidence]
        found = [*loud[:MOST_FINDINGS], *self._more(check, loud[MOST_FINDINGS:])]
        found += [self._hidden(check, one, len(hidden) - 1) for one in hidden[:1]]
        found += silenced[:MOST_FINDINGS]
        if found:
            return found
        if quiet:
            return quiet[:1]
        return [replace(self._base(check, self.asked.database), message=f"{check.title}: nothing to look at")]

    def _judged(self, check: Check, sample: Sample) -> _Judged:
        user = self.limits[check.id].of(sample.subject) if check.id in self.limits else None
        limits = user or sample.thresholds or check.thresholds
        value = sample.value or 0.0
        level = limits.level(value)
        found = replace(
            self._base(check, sample.subject),
            level=level,
            keep=check.trend or level != INFO,
            message=sample.message,
            value=value,
            threshold=limits.passed(value),
            evidence={"unit": check.unit, **sample.evidence},
            advice="" if level == INFO else sample.advice or check.remedy,
            meaning="" if level == INFO else check.meaning,
        )
        return _Judged(found if level == INFO else self._silenced(found), limits.badness(value))

    def _silenced(self, found: Finding) -> Finding:
        """The finding as the user wants to be told of it."""
        fitting = [one for one in self.ignored if one.fits(found.check, found.subject)]
        if not fitting:
            return found
        said = max(fitting, key=lambda one: one.until)
        until = (said.until - timedelta(seconds=1)).strftime("%Y-%m-%d")  # it is the end of that day
        if said.until <= self.now:
            return replace(found, message=f"{found.message} (ignored until {until}, which is over: {said.reason})")
        evidence = {**found.evidence, "ignored": {"until": until, "reason": said.reason, "level": found.level}}
        message = f"{found.message} (ignored until {until}: {said.reason})"
        return replace(found, level=INFO, message=message, evidence=evidence, advice="", meaning="")

    def _hidden(self, check: Check, sample: Sample, others: int) -> Finding:
        user = quote(self.asked.server.user)
        advice = sample.advice or (f"GRANT {check.right} TO {user};" if check.right else "")
        base = self._base(check, sample.subject)
        message = sample.message + (f"; so it is with {count(others)} more" if others else "")
        return replace(base, level=UNKNOWN, keep=True, message=message, advice=advice)

    def _more(self, check: Check, left: Sequence[Finding]) -> list[Finding]:
        if not left:
            return []
        worst = CRITICAL if any(one.level == CRITICAL for one in left) else WARNING
        base = self._base(check, f"{count(len(left))} more")
        return [replace(base, level=worst, message="likewise", evidence={"more": len(left)}, keep=True)]

    def _base(self, check: Check, subject: str) -> Finding:
        return Finding(check.id, subject, INFO, "", group=check.group, keep=check.trend)


class _Judged(NamedTuple):
    finding: Finding
    badness: float
