# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The result of a run as text: lines for a terminal or log, annotations and Markdown for GitHub Actions. Pure.

Names and reasons come from databases, so every text passes ``clean`` before it is shown: nothing in a database can
add a line, move the cursor, or speak to the program that reads the log.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from . import _units
from ._clean import clean

RunResult = Mapping[str, Any]
# (host, result) in the order in which the runs ended
Runs = Sequence[tuple[str, RunResult]]

# Fixed order in every list of totals; these three are said even when they are zero.
OUTCOMES = ("planned", "done", "unchanged", "skipped", "contended", "deferred", "abandoned", "failed")
ALWAYS = ("done", "unchanged", "failed")
# Capital letters: they must be seen in a log without colours as well.
LOUD = ("contended", "deferred", "abandoned", "failed")
WARN = ("contended", "deferred")

SUMMARY_LIMIT = 1024 * 1024  # bytes; GitHub drops a step summary that is larger
_INDENT = "  "
_GAP = "  "
_MARKDOWN = re.compile(r"[&<>|`\\*\[\]~#!$]|(?<![^\W_])_|_(?![^\W_])")
_TARGET_MIN = 12  # columns; the name gets at least this, however wide the numbers are


class Line(NamedTuple):
    """One line of output. kind: outcome or status that gives it its colour, "" for none."""

    text: str
    kind: str = ""


def width(text: str) -> int:
    """Columns that a terminal needs: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int, right: bool = False) -> str:
    """The text filled with spaces to so many columns; right: aligned to the right."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space


def wrap(text: str, columns: int, hanging: int = 0) -> list[str]:
    """Lines of at most so many columns, all but the first one ``hanging`` less. Broken at spaces where possible."""
    lines: list[str] = []
    line = ""
    for word in re.split(r"[ \u3000]+", text.strip()):
        room = columns - hanging if lines else columns
        if line and width(line) + 1 + width(word) <= room:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, columns - hanging)
        lines.extend(full)
    return [*lines, line] if line else lines


def _pieces(word: str, columns: int) -> list[str]:
    pieces = [""]
    used = 0
    for position, character in enumerate(word):
        needed = _columns(character)
        if used and used + needed > columns:
            # A line must not start with "::" (see clean): then the character before it starts the line.
            back = 1 if word[position : position + 2] == "::" and len(pieces[-1]) > 1 else 0
            carry = pieces[-1][len(pieces[-1]) - back :]
            pieces[-1] = pieces[-1][: len(pieces[-1]) - back]
            pieces.append(carry)
            used = width(carry)
        pieces[-1] += character
        used += needed
    return pieces


# --- one run as lines


class _Row(NamedTuple):
    outcome: str
    operation: str
    target: str
    amount: str
    time: str
    reason: str
    statements: tuple[str, ...]


def progress_line(target: str, rows: int, seconds: float) -> str:
    """One line about an action that is still at work: rows so far, rate, time."""
    parts = [f"{_units.rows(rows)} so far", _units.duration(seconds), _units.rate(rows, seconds)]
    return f"{_INDENT}{clean(target)}: {', '.join(part for part in parts if part)}"


def run_lines(host: str, result: RunResult, columns: int = 79, verbose: bool = False) -> list[Line]:
    """A run for people: a heading, and per target a line with its reason beside or below. verbose: SQL, round trips.

    No line is wider than ``columns`` (at least 60).
    """
    columns = max(60, columns)
    lines = _hanging(heading(host, result, verbose), columns, 0, 4, _status(result))
    message = _message(result)
    if message:
        lines += _hanging(message, columns, 2, 2, _status(result))
    rows = [_row(action) for action in actions(result)]
    return lines + _table(rows, columns, verbose) if rows else lines


def heading(host: str, result: RunResult, verbose: bool = False) -> str:
    """Which plan ran where, how it ended, and in what time, in one sentence."""
    server = result.get("server")
    server = server if isinstance(server, Mapping) else {}
    where = [str(server["database"])] if server.get("database") else []
    if server.get("version"):
        where.append(f"PostgreSQL {server['version']}")
    if server.get("provider") not in (None, "", "postgresql"):
        where.append(str(server["provider"]))
    end = str(result.get("status") or "?")
    if result.get("check_mode"):
        end = "check mode, nothing was changed" if end == "ok" else f"{end} (check mode, nothing was changed)"
    time = _time(result.get("seconds"))
    turns: Any = result.get("turns")
    tail = [f"in {time}"] if time and not result.get("check_mode") else []
    if where:
        tail.append(f"({', '.join(where)})")
    if verbose and _is_int(turns):
        tail.append(f"with {_units.count(turns)} round trips")
    return clean(" ".join([f"{result.get('plan') or 'maintenance'} on {host}: {end}", *tail]))


def actions(result: RunResult) -> list[Mapping[str, Any]]:
    """The actions of a result; whatever is not one is left out."""
    found = result.get("actions")
    return [action for action in found if isinstance(action, Mapping)] if isinstance(found, (list, tuple)) else []


def _status(result: RunResult) -> str:
    return str(result.get("status") or "")


def _message(result: RunResult) -> str:
    """The run's own message, where no line of the table says it: skipped, or failed before any target did."""
    failed = any(action.get("outcome") == "failed" for action in actions(result))
    wanted = _status(result) == "skipped" or (_status(result) == "failed" and not failed)
    return clean(result.get("msg") or "") if wanted else ""


def _row(action: Mapping[str, Any]) -> _Row:
    outcome = clean(action.get("outcome") or "?")
    found = action.get("statements")
    statements = found if isinstance(found, (list, tuple)) else []
    return _Row(
        outcome=outcome,
        operation=clean(action.get("operation") or ""),
        target=clean(action.get("target") or ""),
        amount=amount(action),
        time=_time(action.get("seconds")),
        reason=clean(action.get("reason") or ""),
        statements=tuple(clean(" ".join(str(text).split())) for text in statements),
    )


def amount(action: Mapping[str, Any]) -> str:
    """Rows, or bytes where there are no rows: ``bytes_after`` less ``bytes_before``, or ``bytes``, of the numbers."""
    rows: Any = action.get("rows")
    if _is_int(rows) and (rows or action.get("outcome") == "done"):
        return _units.rows(rows)
    numbers = action.get("numbers")
    numbers = numbers if isinstance(numbers, Mapping) else {}
    sizes: list[Any] = [numbers.get(key) for key in ("bytes_before", "bytes_after", "bytes")]
    before, after, plain = sizes
    if _is_int(before) and _is_int(after):
        return _units.size(after - before, signed=True) if after != before else ""
    return _units.size(plain) if _is_int(plain) and plain else ""


def _time(seconds: Any) -> str:
    known = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0
    return _units.duration(seconds) if known else ""


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _table(rows: Sequence[_Row], columns: int, verbose: bool) -> list[Line]:
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
    beside = not verbose and all(full + width(row.reason) <= columns and width(row.target) <= room for row in rows)
    lines: list[Line] = []
    for row in rows:
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


# --- all runs of a playbook


def totals(runs: Runs) -> dict[str, int]:
    """How many targets had which outcome, over all runs; only outcomes that occurred."""
    found: dict[str, int] = {}
    for _host, result in runs:
        for action in actions(result):
            outcome = str(action.get("outcome") or "?")
            found[outcome] = found.get(outcome, 0) + 1
    return found


def totals_line(runs: Runs) -> Line:
    """Databases, outcomes and purged rows of the whole playbook in one sentence."""
    check = bool(runs) and all(result.get("check_mode") for _host, result in runs)
    named = {(host, _database(result)) for host, result in runs if _database(result)}
    # A run that never reached its server does not know the database's name.
    unnamed = {host for host, _result in runs} - {host for host, _name in named}
    databases = _count_of(len(named) + len(unnamed), "database")
    found = totals(runs)
    shown = [name for name in OUTCOMES if found.get(name) or (name in ALWAYS and not (check and name == "done"))]
    text = ", ".join(f"{_units.count(found.get(name, 0))} {name}" for name in shown)
    text = f"{databases}{' in check mode' if check else ''}: {text}"
    purged = [action for _host, result in runs for action in actions(result) if _purged(action)]
    rows = sum(action["rows"] for action in purged)
    if rows:
        time = _time(sum(_seconds(action) for action in purged))
        text += f"; {_units.rows(rows)} purged" + (f" in {time}" if time else "")
    statuses = [_status(result) for _host, result in runs]
    if "skipped" in statuses:
        text += f"; {_count_of(statuses.count('skipped'), 'run')} skipped"
    # Failed runs whose failure no target shows.
    broken = sum(1 for _host, result in runs if _status(result) == "failed" and _message(result))
    if broken:
        text += f"; {_count_of(broken, 'run')} broke off"
    if check:
        text += "; nothing was changed"
    return Line(text, "failed" if "failed" in statuses or found.get("failed") else _worst(found, statuses))


def totals_lines(runs: Runs, columns: int = 79) -> list[Line]:
    """The sentence of the totals, wrapped."""
    line = totals_line(runs)
    return _hanging(clean(line.text), max(60, columns), 0, 2, line.kind)


def _worst(found: Mapping[str, int], statuses: Sequence[str]) -> str:
    if "partial" in statuses or any(found.get(name) for name in WARN):
        return "deferred"
    return "done" if found.get("done") or found.get("planned") else "unchanged"


def _database(result: RunResult) -> str:
    server = result.get("server")
    return str(server.get("database") or "") if isinstance(server, Mapping) else ""


def _count_of(number: int, noun: str) -> str:
    return f"{_units.count(number)} {noun}" if number == 1 else f"{_units.count(number)} {noun}s"


def _purged(action: Mapping[str, Any]) -> bool:
    changed = action.get("outcome") not in ("planned", "unchanged", "skipped")
    return action.get("operation") == "purge" and changed and _is_int(action.get("rows"))


def _seconds(action: Mapping[str, Any]) -> float:
    seconds = action.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else 0.0


# --- GitHub Actions


def annotation(level: str, title: str, message: str) -> str:
    """A workflow command. level: warning or error. Escaped as the runner unescapes it."""
    return f"::{level} title={_command(clean(title), in_property=True)}::{_command(clean(message))}"


def _command(text: str, in_property: bool = False) -> str:
    # The percent sign first: it is the escape character itself.
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    for plain, escaped in pairs + ([(":", "%3A"), (",", "%2C")] if in_property else []):
        text = text.replace(plain, escaped)
    return text


def github_annotations(host: str, result: RunResult) -> list[tuple[str, str]]:
    """(level, command) for what somebody should look at: failed, contended and deferred targets, and warnings."""
    found: list[tuple[str, str]] = []
    for action in actions(result):
        outcome = str(action.get("outcome"))
        level = "error" if outcome == "failed" else "warning" if outcome in WARN else ""
        if level:
            title = f"{action.get('operation')} {outcome}: {action.get('target')} on {host}"
            found.append((level, annotation(level, title, str(action.get("reason") or outcome))))
    message = _message(result)
    if message and _status(result) == "failed":
        found.append(("error", annotation("error", f"{result.get('plan')} failed on {host}", message)))
    warnings = result.get("warnings")
    for warning in warnings if isinstance(warnings, (list, tuple)) else []:
        found.append(("warning", annotation("warning", f"{result.get('plan')} on {host}", str(warning))))
    return found


def markdown_text(value: Any) -> str:
    """A text as Markdown and HTML show it literally, in a table cell too: what could act becomes an entity."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found.group())};", clean(value))


def markdown(runs: Runs, limit: int = SUMMARY_LIMIT) -> str:
    """All runs as GitHub Markdown of at most ``limit`` bytes (UTF-8); says how many targets did not fit."""
    parts = [f"### PostgreSQL maintenance\n\n{markdown_text(totals_line(runs).text)}\n"]
    left = limit - len(parts[0].encode()) - 200  # for the note
    dropped = 0
    for host, result in runs:
        block = _markdown_head(host, result)
        for text in [block, *_markdown_rows(result)]:
            needed = len(text.encode())
            if dropped or needed > left:
                dropped += text is not block
                left = 0
                continue
            parts.append(text)
            left -= needed
    if dropped:
        parts.append(f"\n{_count_of(dropped, 'more target')} did not fit; the log shows them.\n")
    text = "".join(parts)
    return text if len(text.encode()) <= limit else ""


def _markdown_head(host: str, result: RunResult) -> str:
    message = _message(result)
    text = f"\n**{markdown_text(heading(host, result))}**\n"
    if message:
        text += f"\n{markdown_text(message)}\n"
    if actions(result):
        text += (
            "\n| Outcome | Operation | Target | Changed | Time | Reason |\n| --- | --- | --- | ---: | ---: | --- |\n"
        )
    return text


def _markdown_rows(result: RunResult) -> Iterable[str]:
    for row in map(_row, actions(result)):
        outcome = f"**{markdown_text(row.outcome)}**" if row.outcome in LOUD else markdown_text(row.outcome)
        cells = [markdown_text(cell) for cell in (row.operation, row.target, row.amount, row.time, row.reason)]
        yield f"| {' | '.join([outcome, *cells])} |\n"
