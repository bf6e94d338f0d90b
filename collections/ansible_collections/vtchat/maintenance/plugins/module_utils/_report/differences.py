# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.


"""What --diff shows, as Markdown: one block for each object, in which everything is literal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .._clean import visible
from .model import RunResult

# A definition longer than that is compared as one piece: comparing line by line takes time with the square of their number.
MOST_LINES = 5000


def blocks(result: RunResult) -> Iterator[str]:
    """The differences of a result, one block each; none for what is the same before and after."""
    found = result.get("diff")
    for one in found if isinstance(found, (list, tuple)) else [found]:
        if isinstance(one, Mapping):
            lines = list(_lines(one))
            if lines:
                yield fenced("\n".join(lines), "diff")


def fenced(text: str, language: str = "") -> str:
    """A block of code. Its fence is longer than any run of backticks in the text, so that the text cannot end it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    before, after = (_text(one.get(key)) for key in ("before", "after"))
    first, second = (visible(one.get(f"{key}_header") or key) for key in ("before", "after"))
    if max(len(before), len(after)) > MOST_LINES:
        yield from (f"--- {first}", f"+++ {second}", *(f"-{line}" for line in before), *(f"+{line}" for line in after))
        return
    import difflib  # where there is something to compare

    yield from difflib.unified_diff(before, after, first, second, lineterm="")


def _text(value: Any) -> list[str]:
    """The lines of a text, with whatever could move a cursor made visible."""
    return [visible(line.replace("\t", "    ")) for line in str(value).split("\n")] if value else []
