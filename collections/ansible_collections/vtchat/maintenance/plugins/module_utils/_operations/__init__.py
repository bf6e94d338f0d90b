# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the operations decide and what became of it: the vocabulary between operations and engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from .._result import DONE


@dataclass(frozen=True)
class Action:
    """One decision about one target.

    operation   name of the operation, such as "purge"
    target      the object's name, schema-qualified and quoted where SQL needs it, for people
    reason      why this was decided, one short sentence without the target's name
    verdict     None: to be executed. Otherwise an outcome (UNCHANGED, SKIPPED, CONTENDED, FAILED), already final.
    numbers     what decided, JSON-ready (rows, thresholds, sizes in bytes, durations in seconds)
    statements  the SQL that execute() will send, as text for people; batches are listed once
    affects     table oid -> rows that the action changes there (-1: not known), for the steps after it in check mode
    plan        whatever execute() needs from decide(); never printed, never stored
    """

    operation: str
    target: str
    reason: str
    verdict: str | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    affects: dict[int, int] = field(default_factory=dict)
    plan: Any = None


@dataclass
class Outcome:
    """What became of one action.

    status   DONE, CONTENDED, DEFERRED or FAILED
    reason   replaces the action's reason when set
    changed  whether data, structure or statistics changed
    rows     rows affected, None where rows mean nothing
    numbers  measured afterwards, JSON-ready; merged over the action's numbers
    state    to be kept for the next run under (operation, target); None keeps what is stored
    """

    status: str = DONE
    reason: str = ""
    changed: bool = False
    rows: int | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None


@dataclass
class Context:
    """What the engine lends an operation while it decides and executes.

    check        check mode: decide only
    state        target -> what Outcome.state stored for this operation last time
    forecast     table oid -> rows that earlier steps of this plan are about to change (check mode only; in a real
                 run they have changed already). -1 where the number is not known.
    seconds_left seconds of the budget that are left now
    progress     called as progress(target, rows so far, seconds so far) by long actions; cheap to call often
    history      whether state will be remembered; False says why through history_note
    """

    check: bool
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    forecast: dict[int, int] = field(default_factory=dict)
    seconds_left: Callable[[], float] = lambda: float("inf")
    progress: Callable[[str, int, float], None] = lambda target, rows, seconds: None
    history: bool = True
    history_note: str = ""
