# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the database says now: its health, and which indexes can be done without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._clean import clean
from .._engine.execute import unexpected
from .._engine.history import History
from .._engine.plan import Step
from .._errors import MaintenanceError
from .._operations import Context, Verdict
from .._postgres.session import Session
from .._result import INFO, LEVELS, Finding

HEALTH, INDEXES = "health_info", "index_info"
DROP, UNDO = "drop.sql", "undo.sql"
# What says how long something lasts, and what is air.
FORECASTS = ("wraparound-forecast", "database-forecast", "database-growth")
BLOAT = {"table-bloat": "table", "index-bloat": "index", "bloated-index": "index"}


@dataclass
class Present:
    """Asks the operations that only read, as a run would, and records nothing."""

    session: Session
    history: History
    seconds_left: Callable[[], float]
    files: dict[str, str] = field(default_factory=dict)

    def health(self, step: Step | None) -> dict[str, Any]:
        """The section about health."""
        found, message, why = self._asked(step)
        worst = max((one["level"] for one in found), key=LEVELS.index, default="")
        return {"status": worst, "why": why, "message": message, "findings": found}

    def indexes(self, step: Step | None) -> dict[str, Any]:
        """The section about indexes, with both scripts."""
        if step is not None:
            step = replace(step, options=replace(step.options, drop=DROP, undo=UNDO))
        found, message, why = self._asked(step)
        told = [one for one in found if one["level"] != INFO or "bytes" in one["evidence"]]
        scripts = {"drop": self.files.get(DROP, ""), "undo": self.files.get(UNDO, "")} if self._drops(found) else {}
        return {"why": why, "message": message, "findings": told, "drop": "", "undo": "", **scripts}

    @staticmethod
    def _drops(found: Sequence[Mapping[str, Any]]) -> bool:
        return any("drop" in one["evidence"] for one in found)

    def _asked(self, step: Step | None) -> tuple[list[dict[str, Any]], str, str]:
        """Findings, what they come to, and why there are none."""
        if step is None:
            return [], "", "it was not asked for"
        context = Context(
            check=True,
            state={
                target: memory.value for (name, target), memory in self.history.memory.items() if name == step.operation
            },
            seconds_left=self.seconds_left,
            write=self.files.__setitem__,
            history=not self.history.note,
            history_note=self.history.note,
            earlier=self.history.tells_findings,
        )
        try:
            facts = step.does.facts(self.session, step.options, context)
            decided = step.does.decide(facts, step.options, context)
        except MaintenanceError as error:
            return [], "", str(error)
        except Exception as error:  # a fault of ours: the page has the rest
            return [], "", unexpected(self.session, error)
        message = "; ".join(one.reason for one in decided if isinstance(one, Verdict))
        return [one.as_dict() for one in decided if isinstance(one, Finding)], message, ""


def growth(health: Mapping[str, Any], indexes: Mapping[str, Any]) -> dict[str, Any]:
    """What findings say of how long there is room, and of what is air. Pure."""
    found = health["findings"]
    limits = [one["evidence"].get("limit") for one in found if one["check"] == "database-size"]
    forecast = [
        {"what": one["check"], "subject": one["subject"], "text": one["message"], "level": one["level"],
         "days": one["value"] if one["check"] != "database-growth" else None}
        for one in found if one["check"] in FORECASTS
    ]  # fmt: skip
    bloat = [
        _bloat(one) for one in [*found, *indexes["findings"]] if one["check"] in BLOAT and one["value"] is not None
    ]
    once = {(one["kind"], one["name"]): one for one in reversed(bloat)}
    return {
        "forecast": forecast,
        "limit": next((limit for limit in limits if limit), None),
        "bloat": sorted(once.values(), key=lambda one: (-(one["waste"] or 0), one["name"])),
    }


def _bloat(one: Mapping[str, Any]) -> dict[str, Any]:
    evidence = one["evidence"]
    size, needed = evidence.get("bytes"), evidence.get("needed", evidence.get("fresh_bytes"))
    percent = 100 * evidence["bloat"] if one["check"] == "bloated-index" else one["value"]
    method = [str(evidence[key]) for key in ("method", "confidence") if evidence.get(key)]
    return {
        "kind": BLOAT[one["check"]],
        "name": clean(one["subject"]),
        "percent": round(percent, 1),
        "bytes": size,
        "waste": round(size - needed) if size is not None and needed is not None else None,
        "method": f"{method[0]}, {method[1]} confidence" if len(method) == 2 else "".join(method),
        "level": one["level"],
    }
