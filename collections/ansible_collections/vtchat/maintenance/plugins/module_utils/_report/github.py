# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""Results for GitHub Actions: annotations, and Markdown for the job's summary. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .._clean import clean
from .._result import CRITICAL, FAILED, WARNING
from . import model
from .model import LOUD, WARN, RunResult, Runs
from .text import heading

SUMMARY_LIMIT = 1024 * 1024  # bytes; GitHub drops a step summary that is larger
_MARKDOWN = re.compile(r"[&<>|`\\*\[\]~#!$]|(?<![^\W_])_|_(?![^\W_])")
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


def markdown_text(value: Any) -> str:
    """A text as Markdown and HTML show it literally, in a table cell too: what could act becomes an entity."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found.group())};", clean(value))


def markdown(runs: Runs, limit: int = SUMMARY_LIMIT) -> str:
    """All runs as GitHub Markdown of at most ``limit`` bytes (UTF-8); says how many targets did not fit."""
    parts = [f"### PostgreSQL maintenance\n\n{markdown_text(model.summed(runs).text)}\n"]
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
        parts.append(f"\n{model.count_of(dropped, 'more target')} did not fit; the log shows them.\n")
    text = "".join(parts)
    return text if len(text.encode()) <= limit else ""


def _markdown_head(host: str, result: RunResult) -> str:
    message = model.message(result)
    text = f"\n**{markdown_text(heading(host, result))}**\n"
    if message:
        text += f"\n{markdown_text(message)}\n"
    if model.rows(result):
        text += (
            "\n| Outcome | Operation | Target | Changed | Time | Reason |\n| --- | --- | --- | ---: | ---: | --- |\n"
        )
    return text


def _markdown_rows(result: RunResult) -> Iterable[str]:
    for row in model.rows(result):
        outcome = f"**{markdown_text(row.outcome)}**" if row.outcome in LOUD else markdown_text(row.outcome)
        cells = [markdown_text(cell) for cell in (row.operation, row.target, row.amount, row.time, row.reason)]
        yield f"| {' | '.join([outcome, *cells])} |\n"
