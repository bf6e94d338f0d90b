# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the history tells: when maintenance ran, what it did, and how the database has grown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any

from .._alerts.decide import read_known
from .._checks.maintenance import lateness
from .._engine.history import History
from .._errors import MaintenanceError
from .._operations import reading
from .._postgres.session import Session
from .._schedule import read_schedule
from . import queries

STATUSES = ("ok", "partial", "failed", "abandoned", "skipped", "running")
WEEK = 7


@dataclass
class Past:
    """Reads the history, part by part: what one part cannot be read for does not keep the others away.

    clock  the row of queries.CLOCK
    notes  what is missing, and why
    """

    session: Session
    history: History
    clock: Mapping[str, Any]
    zone: str
    plans: Mapping[str, Mapping[str, Any]]
    notes: list[str] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        """The sections of the page that the history fills."""
        found: dict[str, Any] = {"plans": [], "operations": [], "work": [], "undone": {"entries": [], "more": 0},
                                 "alerts": [], "runs": [], "who": [], "generated_runs": 0, "database": [],
                                 "tables": []}  # fmt: skip
        if not self.history.readable:
            return found
        parts: dict[str, Callable[[], Any]] = {
            "plans": self._plans,
            "operations": lambda: self._rows(queries.OPERATIONS),
            "work": lambda: self._rows(queries.WORK),
            "undone": self._undone,
            "alerts": self._alerts,
            "runs": lambda: self._rows(queries.RUNS),
            "who": lambda: self._rows(queries.WHO),
            "generated_runs": self._odd,
        }
        if queries.keeps_sizes(self.history.version):
            parts |= {"database": lambda: self._rows(queries.SIZES), "tables": self._tables}
        else:
            self.notes.append(
                "The history keeps no sizes yet: the next run or provisioning brings it to a version that does."
            )
        for name, read in parts.items():
            try:
                found[name] = read()
            except MaintenanceError as error:
                self.notes.append(f"Of the history, {name} cannot be read: {error}")
        return found

    def _rows(self, query: str) -> list[dict[str, Any]]:
        text = queries.with_columns(query, self.history.version)
        parameters = {"zone": self.zone, "since": self.clock["since"], "reading": reading()}
        return [dict(row) for row in self.session.rows(text, parameters)]

    def _plans(self) -> list[dict[str, Any]]:
        days: dict[str, list[dict[str, Any]]] = {}
        totals: dict[str, dict[str, Any]] = {}
        for row in self._rows(queries.DAYS):
            told = {"statuses": {name: row[name] for name in STATUSES if row[name]}}
            told |= {name: row[name] for name in ("runs", "median", "p95", "longest")}
            if row["day"] is None:
                totals[row["plan"]] = told
            else:
                days.setdefault(row["plan"], []).append({"day": row["day"], **told})
        known = {row["plan"]: row for row in self._rows(queries.plans(self.history.version))}
        return [self._plan(name, known.get(name), totals.get(name), days.get(name, [])) for name in self._names(known)]

    def _names(self, known: Mapping[str, Any]) -> list[str]:
        """Those that are to run first, as the inventory has them."""
        return [*self.plans, *(name for name in known if name not in self.plans)]

    def _plan(
        self,
        name: str,
        row: Mapping[str, Any] | None,
        totals: Mapping[str, Any] | None,
        days: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        said = self.plans.get(name, {})
        row = row or {}
        schedule = read_schedule(said if said.get("every") or said.get("at") else row.get("schedule") or {}, [])
        overdue = None
        if schedule is not None and row.get("good_at") is not None:
            good, now = (datetime.fromtimestamp(at, timezone.utc) for at in (row["good_at"], self.clock["now"]))
            late, patience = lateness(schedule, good, now)
            overdue = late if late >= patience else None
        empty = {"runs": 0, "statuses": {}, "median": None, "p95": None, "longest": None}
        return {
            "name": name,
            "schedule": str(schedule) if schedule else "",
            "budget": said.get("budget") or row.get("budget"),
            "success": row["good"] / row["ended"] if row.get("ended") else None,
            "last": row.get("last"),
            "last_status": row.get("last_status") or "",
            "last_good": row.get("last_good"),
            "overdue": overdue,
            **(totals or empty),
            "days": list(days),
        }

    def _undone(self) -> dict[str, Any]:
        rows = self._rows(queries.UNDONE)
        kinds = rows[0]["kinds"] if rows else 0
        entries = [{key: value for key, value in row.items() if key != "kinds"} for row in rows]
        return {"entries": entries, "more": kinds - len(rows)}

    def _alerts(self) -> list[dict[str, Any]]:
        told = []
        for row in self._rows(queries.ALERTS):
            known = read_known(row["value"])
            if known is not None:
                facts = "; ".join(f"{fact.subject}: {fact.message}" for fact in known.facts)
                told.append({"name": f"{known.check} on {known.name}", "level": known.level, "since": row["since"],
                             "told": ", ".join(sorted(known.channels)),
                             "text": facts})  # fmt: skip
        return told

    def _odd(self) -> int:
        """How many runs are a generated example. What the page has to explain is noted."""
        (row,) = self._rows(queries.ODD)
        if row["jumped"]:
            self.notes.append(f"{row['jumped']} runs began after now or ended before they began, by the clock of the server "
                              "then: it was set back. Their durations are left out.")  # fmt: skip
        if row["open"]:
            self.notes.append(f"{row['open']} runs began more than a day ago and have no end: if they are dead, the next run "
                              "of a plan says so.")  # fmt: skip
        if not row["runs"]:
            self.notes.append("The history has no run in these days.")
        return int(row["generated"])

    def _tables(self) -> list[dict[str, Any]]:
        return [{**row, "week": a_week(row["history"] or [])} for row in self._rows(queries.TABLES)]


def a_week(history: Sequence[Sequence[Any]]) -> int | None:
    """Bytes that something grows by in a week, by its [day, bytes] of the last week at least; None after a single day."""
    if len(history) < 2:
        return None
    last_day, last = date.fromisoformat(history[-1][0]), int(history[-1][1])
    day, before = next(((day, size) for day, size in reversed(history) if _days(day, last_day) >= WEEK), history[0])
    return round((last - int(before)) / max(1, _days(day, last_day)) * WEEK)


def _days(day: str, last: date) -> int:
    return (last - date.fromisoformat(day)).days
