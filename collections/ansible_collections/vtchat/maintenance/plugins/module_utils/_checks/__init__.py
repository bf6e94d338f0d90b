# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a check of a database is, and how what it has measured becomes findings. Pure.

A check measures subjects, such as tables or plans, and has two thresholds. Each file here has the checks of one subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._result import CRITICAL, INFO, UNKNOWN, WARNING, Finding
from .._units import count

MOST_FINDINGS = 20  # subjects of one check that are told one by one, the worst first


@dataclass(frozen=True)
class Thresholds:
    """From which value on it is bad; None: never. The higher the value, the worse."""

    warning: float | None = None
    critical: float | None = None

    def level(self, value: float) -> str:
        """INFO, WARNING or CRITICAL."""
        if self.critical is not None and value >= self.critical:
            return CRITICAL
        return WARNING if self.warning is not None and value >= self.warning else INFO

    def passed(self, value: float) -> float | None:
        """The threshold that the value has reached; the nearest one if it has reached none."""
        reached = [one for one in (self.critical, self.warning) if one is not None and value >= one]
        known = [one for one in (self.warning, self.critical) if one is not None]
        return reached[0] if reached else known[0] if known else None


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
class Check:
    """One check.

    id          in kebab-case, as it is called in findings and options
    title       what it is about, for people
    unit        of the value
    thresholds  defaults
    source      where they come from
    remedy      what to do
    query       rows as one SELECT, asked together with those of the other checks; "" where ``of`` says whose rows it reads
    samples     what the rows say
    of          the check whose rows it reads as well
    history     whether it reads the history of the maintenance
    """

    id: str
    title: str
    unit: str
    thresholds: Thresholds
    source: str
    remedy: str
    samples: Callable[[Sequence[Mapping[str, Any]], Asked], Sequence[Sample]]
    query: str = ""
    of: str = ""
    history: bool = False


@dataclass(frozen=True)
class Asked:
    """What whoever asks knows. plans: the plans that are to run, with their schedules; None: those that the history has."""

    database: str
    plans: Mapping[str, Mapping[str, str]] | None = None


def findings(check: Check, samples: Sequence[Sample], thresholds: Thresholds | None, database: str) -> list[Finding]:
    """What is bad, the worst first; or that all is well, or cannot be seen, as one finding. thresholds: the user's."""
    measured = [sample for sample in samples if sample.value is not None]
    judged = [(_of(check, sample, thresholds), sample) for sample in measured]
    bad = [(limits, one) for limits, one in judged if limits.level(one.value or 0.0) != INFO]
    bad.sort(
        key=lambda pair: (pair[0].level(pair[1].value or 0.0) != CRITICAL, -(pair[1].value or 0.0), pair[1].subject)
    )
    if bad:
        found = [_finding(check, one, limits) for limits, one in bad[:MOST_FINDINGS]]
        return [*found, *_more(check, bad[MOST_FINDINGS:], database)]
    hidden = [sample for sample in samples if sample.value is None]
    if hidden:
        return [Finding(check.id, one.subject, UNKNOWN, one.message, advice=one.advice) for one in hidden[:1]]
    if not measured:
        return [Finding(check.id, database, INFO, f"{check.title}: nothing to look at")]
    limits, worst = max(judged, key=lambda pair: pair[1].value or 0.0)
    return [replace(_finding(check, worst, limits), level=INFO, advice="")]


def _of(check: Check, sample: Sample, thresholds: Thresholds | None) -> Thresholds:
    return thresholds or sample.thresholds or check.thresholds


def _finding(check: Check, sample: Sample, limits: Thresholds) -> Finding:
    value = sample.value or 0.0
    evidence = {"unit": check.unit, **sample.evidence}
    advice = sample.advice or check.remedy
    return Finding(
        check.id, sample.subject, limits.level(value), sample.message, value, limits.passed(value), evidence, advice
    )


def _more(check: Check, left: Sequence[tuple[Thresholds, Sample]], database: str) -> list[Finding]:
    if not left:
        return []
    worst = CRITICAL if any(limits.level(one.value or 0.0) == CRITICAL for limits, one in left) else WARNING
    return [Finding(check.id, f"{count(len(left))} more", worst, "likewise", evidence={"database": database})]
