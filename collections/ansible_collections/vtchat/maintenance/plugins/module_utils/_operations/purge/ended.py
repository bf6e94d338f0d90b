# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What became of a purge, however it ended."""

from __future__ import annotations

from ..._errors import Contended, MaintenanceError, SqlError
from ..._postgres.sqlstates import QUERY_CANCELED, REFERRED
from ..._result import CONTENDED, DEFERRED, DONE, FAILED, UNCHANGED
from ..._units import duration
from ..._units import rows as told_rows
from .. import Action, Context, Outcome
from . import locks
from .pace import REPLICAS
from .refused import MOST_IN_LINE
from .statements import Purge, Refusal
from .walks import walk
from .work import MOST_COUNTED, Late, Work

WAY_OUT = "set keep_referenced: true, name the table in with, or exclude such rows with where"


def walked(work: Work, action: Action[Purge], context: Context, start: int) -> Outcome:
    """Walk. start: the page at which to begin."""
    try:
        return _finished(work, action, walk(work, start))
    except Late:
        return _stopped(work, DEFERRED, _late(work))
    except Contended as error:
        known = locks.explained(work.session, error, work.purge.oid)
        return _stopped(work, CONTENDED, f"stopped after {work.rows} rows: {known}")
    except Refusal as error:
        work.go_round()
        return _too_many(work, error)
    except SqlError as error:
        if error.sqlstate == QUERY_CANCELED and context.seconds_left() < 1:
            return _stopped(work, DEFERRED, _late(work))
        work.go_round()
        return _stopped(work, FAILED, f"stopped after {work.rows} rows: {_told(error)}")
    except MaintenanceError as error:  # the archive cannot take them
        return _stopped(work, FAILED, f"stopped after {work.rows} rows: {error}")


def _late(work: Work) -> str:
    waited = work.pace.paused.get(REPLICAS, 0.0)
    for_replicas = f", {duration(waited)} of which it waited for replicas" if waited >= 1 else ""
    return f"out of time after {work.rows} rows{for_replicas}; the next run continues"


def _told(error: SqlError | Refusal) -> str:
    """An error with what to do about it, where that is known."""
    return str(error).rstrip(".") + (f"; {WAY_OUT}" if error.sqlstate in REFERRED else "")


def _stopped(work: Work, status: str, reason: str) -> Outcome:
    """What became of a walk that did not come to its end. That rows cannot go is a failure, whatever else has happened."""
    if work.refusal:
        number = len(work.refused)
        what = f"{told_rows(number)} cannot go" if number else "rows stay, to which others refer"
        return work.outcome(FAILED, f"{reason}; {what}: {_told(work.refusal)}")
    return work.outcome(status, reason)


def _too_many(work: Work, error: Refusal) -> Outcome:
    """What became of a walk that met with too many rows that cannot go, or with an error even without rows."""
    number = len(work.refused)
    in_line = " one after the other" if work.in_line >= MOST_IN_LINE else ""
    what = f"{told_rows(number)}{in_line} cannot go: " if number else ""
    return work.outcome(FAILED, f"stopped after {work.rows} rows: {what}{_told(work.refusal or error)}")


def _finished(work: Work, action: Action[Purge], left: int) -> Outcome:
    """What became of a walk that came to its end."""
    kept, refused = 0, len(work.refused)
    if work.purge.held:
        kept = work.numbers["kept"] = work.kept()
    if left or work.full:
        work.numbers["left"] = left
    bad = refused or (kept and not work.purge.holds)
    said = f"{action.reason}{_left(work, left)}{_kept(work, kept)}"
    if work.purge.sweep and not bad and not left:
        since = work.earlier.get("since") if work.read_before else None
        work.state = {**work.purge.sweep.state, **({"swept": since} if since else {})}
        said += f"; no index serves, and from tomorrow on that is a failure: {work.purge.sweep.way_out}"
    if not work.rows and not bad and not left and not work.full:
        return work.outcome(UNCHANGED, f"no row: {said}")
    if work.refused and work.refusal:
        said += f"; {told_rows(refused)} cannot go: {_told(work.refusal)}"
    return work.outcome(FAILED if bad else DONE, said)


def _left(work: Work, left: int) -> str:
    """The end of a sentence about rows that are left, "" without any."""
    number = f"{MOST_COUNTED}+ rows" if left > MOST_COUNTED else told_rows(left)
    if work.full:
        return f"; stopped at max_rows{f', {number} left' if left else ''}"
    if not left:
        return ""
    why = f"locked by others{' or kept by a trigger' if work.purge.triggers else ''}"
    if work.keep and work.keep.picks:
        why = f"they, or rows that refer to them, are {why}, or referred to by rows that stay"
    lockers = locks.of_rows(work.session, work.purge.oid, work.lockers)
    return f"; {number} left, {why}{f' ({lockers})' if lockers else ''}"


def _kept(work: Work, kept: int) -> str:
    """The same of rows to which others refer, with the error that has shown it, where none was expected."""
    if kept and not work.purge.holds and work.refusal and not work.refused:
        return f"{kept_rows(kept)}: {_told(work.refusal)}"
    return kept_rows(kept, work.purge.holds)


def kept_rows(number: int | None, meant: bool = True) -> str:
    """The end of a sentence about rows that stay because others refer to them, "" without any."""
    shown = f"{MOST_COUNTED}+" if (number or 0) > MOST_COUNTED else number
    stay = "row stays" if number == 1 else "rows stay"
    return f"; {shown} {stay}, to which others refer{'' if meant else f': {WAY_OUT}'}" if number else ""
