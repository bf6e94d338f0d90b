# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Results for GitHub Actions: annotations, and Markdown for the job's summary, the worst first. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .._clean import clean
from .._result import (
    ABANDONED,
    CONTENDED,
    CRITICAL,
    DEFERRED,
    DONE,
    FAILED,
    INFO,
    PARTIAL,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    UNKNOWN,
    WARNING,
)
from . import model
from .differences import blocks
from .model import LOUD, WARN, Row, RunResult, Runs
from .text import heading
from .trend import trend

SUMMARY_LIMIT = 1024 * 1024  # bytes; GitHub drops a step summary that is larger
_MARKDOWN = re.compile(r"[&<>|`\\*\[\]~#!$]|(?<![^\W_])_|_(?![^\W_])")
# What GitHub makes a link or a picture of, whatever Markdown says: people, issues, addresses, emoji. After each of these
# characters comes a space without width.
_LINKED = re.compile(r"@(?=[\w-])|#(?=\d)|:(?=//|[\w+-]+:)|(?<=\bwww)\.(?=\w)")
# The worst first; within one of them as it happened.
_ORDER = (FAILED, CRITICAL, ABANDONED, WARNING, CONTENDED, DEFERRED, UNKNOWN, PLANNED, DONE, SKIPPED, UNCHANGED, INFO)
MOST_WARNINGS = 20  # of a run, in the summary
NOTES = 400  # bytes for what did not fit
_LEVELS = {FAILED: "error", **dict.fromkeys(WARN, "warning"), CRITICAL: "error", WARNING: "warning"}


def annotation(level: str, title: str, message: str) -> str:
    """A workflow command. level: warning or error. Escaped as the runner unescapes it."""
    return f"::{level} title={_command(clean(title), in_property=True)}::{_command(clean(message))}"


def _command(text: str, in_property: bool = False) -> str:
    # The percent sign first: it is the escape character itself.
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    for plain, escaped in pairs + ([(":", "%3A"), (",", "%2C")] if in_property else []):
        text = text.replace(plain, escaped)
    return text


def stopped(token: str) -> str:
    """The command after which the runner takes all that is printed for text, until it finds obeyed(token)."""
    return f"::stop-commands::{token}"


def obeyed(token: str) -> str:
    """The command after which the runner looks for commands again."""
    return f"::{token}::"


def outputs(results: Sequence[RunResult]) -> str:
    """Outputs of a step: the plans that have run, whatever has come of them. A name that is more than one word is left out."""
    ran = [str(one.get("plan")) for one in results if one.get("status") != SKIPPED]
    names = dict.fromkeys(name for name in ran if re.fullmatch(r"[\w.-]+", name, re.ASCII))
    return f"plans={' '.join(names)}\n"


def commands(host: str, result: RunResult) -> list[tuple[str, str]]:
    """(level, workflow command) for what needs a look: failed, contended and deferred targets, findings, warnings."""
    found: list[tuple[str, str]] = []
    for row in model.rows(result):
        level = _LEVELS.get(row.outcome, "")
        if level:
            title = f"{row.operation} {row.outcome}: {row.target} on {host}"
            found.append((level, annotation(level, title, row.reason or row.outcome)))
    message = model.message(result)
    if message and model.status(result) == FAILED:
        found.append(("error", annotation("error", f"{result.get('plan')} failed on {host}", message)))
    warnings = result.get("warnings")
    for warning in warnings if isinstance(warnings, (list, tuple)) else []:
        found.append(("warning", annotation("warning", f"{result.get('plan')} on {host}", str(warning))))
    return found


def more(level: str, number: int) -> str:
    """The annotation in the place of those that GitHub would not show any more."""
    return annotation(
        level, f"{model.count_of(number, f'more {level}')}", "they are in the summary and in the log of this job"
    )


class Failure(NamedTuple):
    """A task that failed and is no run: a variable that is missing, a host that cannot be reached."""

    host: str
    task: str
    message: str


def failed(failure: Failure) -> tuple[str, str]:
    """(level, workflow command) for such a task."""
    return "error", annotation("error", f"{failure.task} failed on {failure.host}", failure.message)


def markdown_text(value: Any) -> str:
    """A text as Markdown and HTML show it literally, in a table cell too: what could act becomes an entity, and links nothing."""
    broken = _LINKED.sub(lambda found: f"{found.group()}\u200b", clean(value))
    return _MARKDOWN.sub(lambda found: f"&#{ord(found.group())};", broken)


class _Page:
    """Markdown of at most so many bytes (UTF-8). What did not fit is counted by its noun."""

    def __init__(self, limit: int) -> None:
        self._left = limit - NOTES
        self._parts: list[str] = []
        self.dropped: dict[str, int] = {}

    def add(self, text: str, noun: str = "") -> bool:
        """Add a part that is whole or not there. After the first that did not fit, nothing with a noun is added any more."""
        needed = len(text.encode("utf-8", "backslashreplace"))
        if needed > self._left or (noun and noun in self.dropped):
            self.dropped[noun] = self.dropped.get(noun, 0) + 1
            return False
        self._parts.append(text)
        self._left -= needed
        return True

    def fold(self, title: str, parts: Sequence[str], noun: str) -> None:
        """Parts behind a title that opens them. The fold ends, whatever of it did not fit."""
        begin, end = f"\n<details><summary>{title}</summary>\n", "\n</details>\n"
        if len((begin + end).encode("utf-8", "backslashreplace")) > self._left:
            self.dropped[noun] = self.dropped.get(noun, 0) + len(parts)
            return
        self._left -= len(end)
        self.add(begin)
        for part in parts:
            self.add(f"\n{part}", noun)
        self._parts.append(end)

    def text(self) -> str:
        """All of it, with what did not fit."""
        told = [model.count_of(number, f"more {noun}") for noun, number in self.dropped.items() if noun]
        note = f"\n{' and '.join(told)} did not fit; the log shows them.\n" if told else ""
        return "".join(self._parts) + note


def markdown(runs: Runs, limit: int = SUMMARY_LIMIT, link: str = "", failures: Sequence[Failure] = ()) -> str:
    """All runs as GitHub Markdown of at most ``limit`` bytes (UTF-8), the worst first; says how much did not fit."""
    page = _Page(limit)
    title = f"[PostgreSQL maintenance]({link})" if link else "PostgreSQL maintenance"
    if not page.add("\n\n".join([f"### {title}", *([markdown_text(model.summed(runs).text)] if runs else [])]) + "\n"):
        return ""
    for one in failures:
        text = f"{one.task} on {one.host}: {one.message}"
        page.add(f"\n**{markdown_text(FAILED)}** {markdown_text(text)}\n", "failure")
    ordered = sorted(runs, key=lambda run: _rank(run[1]))
    for host, result in ordered:
        rows = sorted(model.rows(result), key=lambda row: _position(row.outcome))
        page.add(_markdown_head(host, result, bool(rows) and not page.dropped), "run")
        for row in rows:
            page.add(_markdown_row(row), "target")
    for host, result in ordered:
        found = list(blocks(result))
        if found:
            title = f"{model.count_of(len(found), 'difference')}: {result.get('plan')} on {host}"
            page.fold(markdown_text(title), found, "difference")
    return page.text()


def _position(outcome: str) -> int:
    return _ORDER.index(outcome) if outcome in _ORDER else len(_ORDER)


def _rank(result: RunResult) -> int:
    """How bad a run is, by its status and by the worst of its targets and findings. What was skipped comes last."""
    status = {PARTIAL: DEFERRED}.get(model.status(result), model.status(result))
    if status == SKIPPED:
        return _position(status)
    bad = [row.outcome for row in model.rows(result) if row.outcome in LOUD]
    bad += [status] if status in LOUD else [WARNING] if result.get("warnings") else []
    return min(map(_position, bad), default=_position(DONE))


def _markdown_head(host: str, result: RunResult, table: bool) -> str:
    paragraphs = [f"**{markdown_text(heading(host, result))}**"]
    due = result.get("due") if model.status(result) != SKIPPED else ""
    paragraphs += [
        markdown_text(text) for text in (model.message(result), due and f"due: {due}", trend(result)) if text
    ]
    warnings = result.get("warnings")
    told = [markdown_text(warning) for warning in (warnings if isinstance(warnings, (list, tuple)) else [])]
    rest = (
        [f"{model.count_of(len(told) - MOST_WARNINGS, 'more warning')} in the log"] if len(told) > MOST_WARNINGS else []
    )
    if told:
        paragraphs.append("\n".join(f"- {warning}" for warning in [*told[:MOST_WARNINGS], *rest]))
    if table:
        header = ("Outcome", "Operation", "Target", "Changed", "Time", "Reason")
        paragraphs.append(f"| {' | '.join(header)} |\n| --- | --- | --- | ---: | ---: | --- |")
    return "\n" + "\n\n".join(paragraphs) + "\n"


def _markdown_row(row: Row) -> str:
    outcome = f"**{markdown_text(row.outcome)}**" if row.outcome in LOUD else markdown_text(row.outcome)
    cells = [markdown_text(cell) for cell in (row.operation, row.target, row.amount, row.time, row.reason)]
    return f"| {' | '.join([outcome, *cells])} |\n"
