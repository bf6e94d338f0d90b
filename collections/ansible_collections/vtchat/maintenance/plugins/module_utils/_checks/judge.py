# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How what a check has measured becomes findings, by its thresholds and by what the user says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """What the user says of one check, by level, and of the subjects that a pattern fits, of which the first counts."""

    all: Mapping[str, float | None] = field(default_factory=dict)
    objects: tuple[tuple[str, Mapping[str, float | None]], ...] = ()

    def of(self, subject: str, own: Thresholds) -> Thresholds:
        """Those of this subject. What the user does not say stays as it is."""
        special: Mapping[str, float | None] = next((said for name, said in self.objects if _fits(subject, name)), {})
        return own.with_those({**self.all, **special})


@dataclass(frozen=True)
class Ignored:
    """What the user knows of and does not want to be told again until a moment, which has a time zone; and why."""

    check: str
    object: str
    reason: str
    until: datetime

    def fits(self, check: str, subject: str) -> bool:
        """Whether it is about this finding."""
        return check == self.check and _fits(subject, self.object)


def _fits(subject: str, pattern: str) -> bool:
    """Whether it is this one, or has a name like it. A name may have the marks of a pattern in it."""
    return subject == pattern or fnmatchcase(subject, pattern)


@dataclass(frozen=True)
class Judge:
    """Makes findings. limits: by check. now: by the server's clock."""

    asked: Asked
    now: datetime
    limits: dict[str, Limits] = field(default_factory=dict)
    ignored: Sequence[Ignored] = ()

    def unknown(self, check: Check, why: str) -> list[Finding]:
        """It could not be asked."""
        found = replace(self._base(check, self.asked.database), level=UNKNOWN, keep=True, message=why)
        return [self._silenced(found)]

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
        hidden = [self._hidden(check, one) for one in samples if one.value is None]
        unseen = [one for one in hidden if one.level == UNKNOWN]
        loud = [one.finding for one in measured if one.finding.level != INFO]
        quiet = [one.finding for one in measured if one.finding.level == INFO]
        silenced = [one for one in [*quiet, *hidden] if "ignored" in one.evidence]
        found = [*loud[:MOST_FINDINGS], *self._more(check, loud[MOST_FINDINGS:])]
        found += [self._for_all(one, len(unseen) - 1) for one in unseen[:1]]
        found += silenced[:MOST_FINDINGS]
        if found:
            return found
        if quiet:
            return quiet[:1]
        return [replace(self._base(check, self.asked.database), message=f"{check.title}: nothing to look at")]

    def _judged(self, check: Check, sample: Sample) -> _Judged:
        below = check.thresholds.below  # of one that never is bad nobody says it
        limits = replace(sample.thresholds or check.thresholds, below=below)
        if check.id in self.limits:
            limits = self.limits[check.id].of(sample.subject, limits)
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

    def _hidden(self, check: Check, sample: Sample) -> Finding:
        user = quote(self.asked.server.user)
        advice = sample.advice or (f"GRANT {check.right} TO {user};" if check.right else "")
        base = self._base(check, sample.subject)
        return self._silenced(replace(base, level=UNKNOWN, keep=True, message=sample.message, advice=advice))

    def _for_all(self, found: Finding, others: int) -> Finding:
        return replace(found, message=f"{found.message}; so it is with {count(others)} more") if others else found

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
