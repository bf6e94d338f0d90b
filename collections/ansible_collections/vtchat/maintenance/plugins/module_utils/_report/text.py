# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Results as lines for a terminal or a log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _units
from .._clean import clean
from . import model
from .findings import Told, groups
from .layout import pad, width, wrap
from .model import LOUD, Row, RunResult, Runs

_INDENT = "  "
_GAP = "  "
_TARGET_MIN = 12  # columns; the name gets at least this, however wide the numbers are


class Line(NamedTuple):
    """One line of output. kind: outcome or status that gives it its colour, "" for none."""

    text: str
    kind: str = ""


def progress_line(target: str, said: str, seconds: float) -> str:
    """One line about an action that is still at work: how far it is, and for how long it has been."""
    return f"{_INDENT}{clean(target)}: {clean(said)}, {_units.duration(seconds)}"


def run_lines(host: str, result: RunResult, columns: int = 79, verbose: bool = False) -> list[Line]:
    """A run for people: a heading, and per target a line with its reason, beside it where most fit. verbose: SQL, round trips.

    No line is wider than ``columns`` (at least 60).
    """
    columns = max(60, columns)
    lines = _hanging(heading(host, result, verbose), columns, 0, 4, model.status(result))
    message = model.message(result)
    if message:
        lines += _hanging(message, columns, 2, 2, model.status(result))
    found = model.told(result, verbose)
    rows = [*model.targets(result, verbose), *(model.of_finding(one) for one in found if not one.group)]
    lines += _table(rows, columns, verbose) if rows else []
    for group, entries in groups(one for one in found if one.group):
        lines += _group(group, entries, columns)
    return lines


def _group(name: str, entries: Sequence[Told], columns: int) -> list[Line]:
    """What was found of one group: a line a check, why it matters, and what to do."""
    lines = [Line(f"{_INDENT}{name}")]
    left = 2 * len(_INDENT)
    start = left + len("CRITICAL") + len(_GAP)
    for one in entries:
        word = one.level.upper() if one.level in LOUD else one.level
        lines += _labelled(
            left, pad(word, len("CRITICAL")), f"{one.check} {one.subject}: {one.message}", columns, one.level
        )
        for label, text in (("also", one.others), ("why", one.why), ("do", one.do)):
            lines += _labelled(start, pad(label, len("also")), text, columns) if text else []
    return lines


def _labelled(left: int, label: str, text: str, columns: int, kind: str = "") -> list[Line]:
    """The text beside its label, all of its lines below the first."""
    start = left + width(label) + len(_GAP)
    pieces = wrap(text, columns - start)
    heads = [" " * left + label + _GAP, *([" " * start] * (len(pieces) - 1))]
    return [Line(head + piece, kind) for head, piece in zip(heads, pieces)]


def heading(host: str, result: RunResult, verbose: bool = False) -> str:
    """Which plan ran where, how it ended, and in what time, in one sentence."""
    end = str(result.get("status") or "?")
    if result.get("check_mode"):
        end = "check mode, nothing was changed" if end == "ok" else f"{end} (check mode, nothing was changed)"
    time = model.time(result.get("seconds"))
    turns: Any = result.get("turns")
    tail = [f"in {time}"] if time and not result.get("check_mode") else []
    where = _where(result)
    if where:
        tail.append(f"({where})")
    if verbose and model.is_int(turns):
        tail.append(f"with {model.count_of(turns, 'round trip' if model.subject(result) == 'database' else 'request')}")
    return clean(" ".join([f"{result.get('plan') or 'maintenance'} on {host}: {end}", *tail]))


def _where(result: RunResult) -> str:
    """Database, version and provider; or the service and what of it."""
    server = model.server(result)
    provider, target = (str(server.get(key) or "") for key in ("provider", "target"))
    if target:
        return f"{server.get('host') or ''}{target}" if target.startswith("/") else f"{provider}: {target}"
    where = [str(server["database"])] if server.get("database") else []
    if server.get("version"):
        where.append(f"PostgreSQL {server['version']}")
    if provider not in ("", "postgresql"):
        where.append(provider)
    return ", ".join(where)


def totals_lines(runs: Runs, columns: int = 79, lost: int = 0) -> list[Line]:
    """The sentence of the totals, wrapped. lost: hosts that failed without a run."""
    text, kind = model.summed(runs, lost)
    return _hanging(clean(text), max(60, columns), 0, 2, kind)


def _table(rows: Sequence[Row], columns: int, verbose: bool) -> list[Line]:
    outcome, operation, amounts, times = (
        max(width(cell) for cell in cells)
        for cells in zip(*((row.outcome, row.operation, row.amount, row.time) for row in rows))
    )
    outcome = max(outcome, 9)  # "unchanged" and "contended": the same place in the tables of all hosts
    start = len(_INDENT) + outcome + len(_GAP)
    left = start + operation + len(_GAP)
    numbers = sum(len(_GAP) + column for column in (amounts, times) if column)
    room = max(_TARGET_MIN, columns - left - numbers)
    # A name that does not fit breaks only its own line; it does not push the numbers of the others away.
    target = max([width(row.target) for row in rows if width(row.target) <= room], default=room)
    full = left + target + numbers + len(_GAP)
    fitting = [full + width(row.reason) <= columns and width(row.target) <= room for row in rows]
    # Below for all but a few would be a table with two faces.
    mostly = not verbose and sum(fitting) * 2 > len(rows)
    lines: list[Line] = []
    for row, fits in zip(rows, fitting):
        beside = mostly and fits
        word = row.outcome.upper() if row.outcome in LOUD else row.outcome
        first = f"{_INDENT}{pad(word, outcome)}{_GAP}{pad(row.operation, operation)}{_GAP}"
        cells = [pad(cell, size, right=True) for cell, size in ((row.amount, amounts), (row.time, times)) if size]
        if beside:
            cells.append(row.reason)
        texts = _named(first, row.target, cells, target=target, room=room, columns=columns)
        lines += [Line(text, row.outcome) for text in texts]
        if row.reason and not beside:
            lines += _hanging(row.reason, columns, start, start, row.outcome)
        if verbose:
            for statement in row.statements:
                lines += _hanging(f"SQL: {statement}", columns, start, start + 5, "")
    return lines


def _named(first: str, name: str, cells: Sequence[str], *, target: int, room: int, columns: int) -> list[str]:
    """The line of one target; a name wider than its column has lines of its own, and the numbers follow below it."""
    left = width(first)
    if width(name) <= room:
        return [_GAP.join([first + pad(name, target), *cells]).rstrip()]
    pieces = wrap(name, max(_TARGET_MIN, columns - left))
    lines = [(first if index == 0 else " " * left) + piece for index, piece in enumerate(pieces)]
    # Beside the end of the name where that leaves room, else on a line of their own.
    last = lines.pop() if width(pieces[-1]) <= target else ""
    below = _GAP.join([pad(last, left + target), *cells]).rstrip()
    return [*lines, below] if below else lines


def _hanging(text: str, columns: int, first: int, rest: int, kind: str) -> list[Line]:
    """The text wrapped: the first line indented by ``first`` columns, the others by ``rest``, which is not less."""
    pieces = wrap(text, columns - first, rest - first)
    return [Line(" " * (first if index == 0 else rest) + piece, kind) for index, piece in enumerate(pieces)]
