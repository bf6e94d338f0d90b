# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the history tells: when maintenance ran, what it did, and how the database has grown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone, tzinfo
from typing import Any

from .._alerts.decide import read_known
from .._checks.maintenance import lateness
from .._engine.execute import unexpected
from .._engine.history import History
from .._operations import reading
from .._postgres.session import Session
from .._report.model import count_of
from .._schedule import Schedule, read_schedule
from . import queries
from .expected import filled, missed

STATUSES = ("ok", "partial", "failed", "abandoned", "skipped", "running")
DAY = 86400.0
WEEK = 7 * DAY


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
    zone_data: tzinfo
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
            except (
                Exception
            ) as error:  # what somebody has written there by hand, or a fault of ours: the page has the rest
                self.notes.append(f"Of the history, {name} cannot be read: {unexpected(self.session, error)}")
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
        """Those that are to run first, as the inventory has them; of the others those that ran in these days."""
        return [*self.plans, *(name for name, row in known.items() if name not in self.plans and row["runs"])]

    def _plan(
        self,
        name: str,
        row: Mapping[str, Any] | None,
        totals: Mapping[str, Any] | None,
        days: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        said = self.plans.get(name, {})
        row = row or {}
        schedule = _schedule(said, row)
        overdue = None
        if schedule is not None and row.get("good_at") is not None:
            good, now = (datetime.fromtimestamp(at, timezone.utc) for at in (row["good_at"], self.clock["now"]))
            late, patience = lateness(schedule, good, now)
            overdue = late if late >= patience else None
        empty = {"runs": 0, "statuses": {}, "median": None, "p95": None, "longest": None}
        first = date.fromisoformat(self.clock["first_day"])
        told = filled(days, row.get("began") or [], self.clock["now"], self.zone_data, first)
        lacking, due = missed(told)
        return {
            "name": name,
            "schedule": str(schedule) if schedule else "",
            "budget": said.get("budget") or row.get("budget"),
            "good": row.get("good") or 0,
            "ended": row.get("ended") or 0,
            "success": row["good"] / row["ended"] if row.get("ended") else None,
            "last": row.get("last"),
            "last_status": row.get("last_status") or "",
            "last_good": row.get("last_good"),
            "overdue": overdue,
            "missed": lacking,
            "expected": due,
            **(totals or empty),
            "days": told,
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
        notes = {
            "coming": "{} after now, and so was written while the clock of the server was wrong: what is told here leaves it out",
            "endless": "{} without an end that a calendar knows: what is told here leaves out such runs",
            "backwards": "{} and ended before that: the clock of the server was set back, and how long it took is left out",
            "open": "{} more than a day ago without an end: what is dead, the next run of a plan says",
        }
        self.notes += [
            text.format(f"{count_of(row[key], 'run')} began") + "." for key, text in notes.items() if row[key]
        ]
        if not row["runs"]:
            self.notes.append("The history has no run in these days.")
        return int(row["generated"])

    def _tables(self) -> list[dict[str, Any]]:
        rows = [{**row, "week": a_week(row["history"] or [])} for row in self._rows(queries.TABLES)]
        return [{**row, "history": [[day, size] for day, size, _at in row["history"] or []]} for row in rows]


def _schedule(said: Mapping[str, Any], row: Mapping[str, Any]) -> Schedule | None:
    """As the inventory has it, or else the latest run."""
    known = row.get("schedule")
    given = said if said.get("every") or said.get("at") else known if isinstance(known, Mapping) else {}
    return read_schedule(given, [])


def a_week(history: Sequence[Sequence[Any]]) -> int | None:
    """Bytes that something grows by in a week, by its [day, bytes, seconds since 1970] of the last week at least.

    None where that would be told from less than a day.
    """
    if not history:
        return None
    _day, last, now = history[-1]
    _day, before, then = next((one for one in reversed(history) if now - one[2] >= WEEK), history[0])
    return round((int(last) - int(before)) / (now - then) * WEEK) if now - then >= DAY else None
