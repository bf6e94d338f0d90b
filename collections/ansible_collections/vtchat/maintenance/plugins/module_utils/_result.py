# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a module answers: one envelope, one builder of entries, for databases and services alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# What can become of one target in one run. PLANNED stands only in check mode, ABANDONED only in the history.
PLANNED = "planned"
DONE = "done"
UNCHANGED = "unchanged"
SKIPPED = "skipped"
CONTENDED = "contended"
DEFERRED = "deferred"
ABANDONED = "abandoned"
FAILED = "failed"
# In the order in which reports count them.
OUTCOMES = (PLANNED, DONE, UNCHANGED, SKIPPED, CONTENDED, DEFERRED, ABANDONED, FAILED)

# How a run ended; ABANDONED, SKIPPED and FAILED are words of both.
OK = "ok"
PARTIAL = "partial"

# How bad a finding is, from the least on: it is well, it could not be seen, and two degrees of bad.
INFO = "info"
UNKNOWN = "unknown"
WARNING = "warning"
CRITICAL = "critical"
LEVELS = (INFO, UNKNOWN, WARNING, CRITICAL)

# So many failures are told in the message; the others stand in the entries.
TOLD_FAILURES = 3


def entry(
    operation: str,
    target: str,
    outcome: str,
    reason: str,
    *,
    changed: bool = False,
    step: int = 1,
    kind: str = "",
    rows: int | None = None,
    seconds: float = 0.0,
    numbers: Mapping[str, Any] | None = None,
    statements: Iterable[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """One entry of ``actions``: what became of one target. The only place where such an entry is made.

    operation   what was to be done: "purge", "create", "health"
    kind        what the target is, where one module deals with several kinds: "function", "secret", "machine"
    rows        rows affected, None where rows mean nothing
    seconds     how long it took
    numbers     what decided and what was measured, JSON-ready
    statements  the SQL for people
    more        what only this module tells of its targets
    """
    return {
        "step": step,
        "operation": operation,
        "kind": kind,
        "target": target,
        "outcome": outcome,
        "reason": reason,
        "changed": changed,
        "rows": rows,
        "seconds": round(seconds, 3),
        "numbers": dict(numbers or {}),
        "statements": list(statements),
        **more,
    }


@dataclass(frozen=True)
class Finding:
    """Something that was measured and is worth knowing. Neither done nor failed: whoever asked decides what it means.

    check      what was looked at, such as "wraparound"
    subject    what it is about: a table, a role, the whole database
    level      INFO, UNKNOWN, WARNING or CRITICAL
    message    one sentence for people
    value      what was measured, JSON-ready
    threshold  what it was compared with; None where nothing was
    evidence   what else was seen, JSON-ready
    advice     what to do about it, with the SQL
    meaning    why it matters
    group      what it is told together with, "" where it stands for itself
    keep       whether the history keeps it
    """

    check: str
    subject: str
    level: str
    message: str
    value: Any = None
    threshold: Any = None
    evidence: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    meaning: str = ""
    group: str = ""
    keep: bool = True

    def as_dict(self) -> dict[str, Any]:
        """One entry of ``findings``."""
        told = asdict(self)
        del told["keep"]
        return told


@dataclass
class Result:
    """What one module did or, in check mode, would do; ``as_dict`` is what it returns.

    plan      name of the plan, or of the module, for people
    server    what was spoken to: host, database, version, provider; or the service and its target
    status    OK, PARTIAL, FAILED, SKIPPED or ABANDONED; empty until the entries have decided it
    message   empty until the entries have decided it
    seconds   duration, connecting included
    turns     round trips: statements to a server after connecting, or requests to a service
    actions   made by ``entry``
    findings  made by ``Finding.as_dict``
    diff      for --diff
    more      what only this module returns
    """

    plan: str
    check: bool
    server: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    message: str = ""
    seconds: float = 0.0
    turns: int = 0
    actions: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, int]:
        """How many targets had which outcome."""
        return dict(Counter(action["outcome"] for action in self.actions))

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The entries of what failed."""
        return [action for action in self.actions if action["outcome"] == FAILED]

    def conclude(self) -> None:
        """Status and message by the entries, where nothing has decided them before."""
        totals = self.totals
        if not self.status:
            late = totals.get(CONTENDED) or totals.get(DEFERRED)
            self.status = FAILED if totals.get(FAILED) else PARTIAL if late else OK
        if not self.message:
            counted = ", ".join(f"{count} {outcome}" for outcome, count in totals.items())
            self.message = f"{self.plan}: {counted or 'nothing to do'}{told(self.failures)}"

    def as_dict(self) -> dict[str, Any]:
        """The result of the module."""
        self.conclude()
        result = {
            "changed": any(action["changed"] for action in self.actions),
            "msg": self.message,
            "status": self.status,
            "plan": self.plan,
            "check_mode": self.check,
            "seconds": round(self.seconds, 3),
            "server": self.server,
            "actions": self.actions,
            "totals": self.totals,
            "turns": self.turns,
            "findings": self.findings,
            "warnings": self.warnings,
            "diff": self.diff,
            **self.more,
        }
        return {**result, "failed": True} if self.status == FAILED else result


def told(failures: list[dict[str, Any]]) -> str:
    """The failures as sentences to append: the first ones in full, how many more there are. One reason is told once."""
    reasons: dict[str, list[str]] = {}
    for one in failures:
        reasons.setdefault(one["reason"], []).append(f"{one['operation']} {one['target']}")
    shown = list(reasons.items())[:TOLD_FAILURES]
    text = "".join(f". {', '.join(targets)}: {reason}" for reason, targets in shown)
    left = len(failures) - sum(len(targets) for _reason, targets in shown)
    return text + (f". {left} more failed" if left > 0 else "")


def failure(plan: str, message: str, errors: Iterable[str] = ()) -> dict[str, Any]:
    """The result of what touched nothing, in the form of one that did. errors: every fault of the options."""
    result = {"failed": True, "changed": False, "msg": message, "status": FAILED, "plan": plan, "actions": []}
    return {**result, "errors": list(errors)} if errors else result
