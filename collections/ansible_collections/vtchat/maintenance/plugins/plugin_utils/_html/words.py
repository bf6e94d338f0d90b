# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Words, symbols and numbers of a page, and texts of strangers made fit for it. Pure.

A text that may come from a database reaches a template as an ordinary string. There, control and format characters are made
visible (``finalize``), markup is escaped (by jinja2), and letters that run from right to left are isolated so that they move
nothing beside them (``words``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from ansible_collections.vtchat.maintenance.plugins.module_utils import _units
from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import visible

NOT_KNOWN = "not known"
NBSP = "\u00a0"
# First strong and pop directional isolate: <bdi> where no element can stand.
FSI, PDI = "\u2068", "\u2069"


class Word(NamedTuple):
    """How a level, status or outcome is shown. symbol: tells it apart without colour. tone, css: classes of the style."""

    word: str
    symbol: str
    tone: str
    css: str


def _words(**known: tuple[str, str, str]) -> dict[str, Word]:
    return {found: Word(*how, found) for found, how in known.items()}


LEVELS = _words(
    critical=("critical", "✕", "bad"),
    warning=("warning", "▲", "warn"),
    unknown=("not known", "?", "dim"),
    info=("well", "✓", "good"),
    note=("note", "·", "calm"),
    aside=("not asked", "○", "dim"),
)
STATUSES = _words(
    ok=("ok", "✓", "good"),
    partial=("partial", "◐", "warn"),
    failed=("failed", "✕", "bad"),
    abandoned=("abandoned", "⊘", "bad"),
    skipped=("skipped", "↷", "dim"),
    running=("running", "…", "dim"),
    missed=("missed", "◌", "warn"),
)
OUTCOMES = _words(
    done=("done", "✓", "good"),
    unchanged=("unchanged", "=", "calm"),
    planned=("planned", "…", "dim"),
    skipped=("skipped", "↷", "dim"),
    contended=("contended", "⇄", "warn"),
    deferred=("deferred", "◷", "warn"),
    abandoned=("abandoned", "⊘", "bad"),
    failed=("failed", "✕", "bad"),
)
ALL = {**LEVELS, **OUTCOMES, **STATUSES}


# By tone, as the light style has them: of drawings where a reader of mails has taken the style away.
FILLS = {"good": "#4ba566", "calm": "#8fb0d1", "dim": "#9aa4b0", "warn": "#e0a11b", "bad": "#d0303f"}


def fill(found: Any) -> str:
    """The colour of a level, status or outcome without any style; of none, that of a day without a run."""
    return FILLS[word(found).tone] if found else "#e6e9ee"


def word(found: Any) -> Word:
    """How a level, status or outcome is shown; one that nobody knows as it is."""
    return ALL.get(str(found)) or Word(str(found) if found else NOT_KNOWN, "?", "dim", "other")


def finalize(value: Any) -> Any:
    """Whatever a template prints. Markup is what the templates themselves have made."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return NOT_KNOWN
    return seen(value)


def seen(value: Any) -> str:
    """The text on one line without control, format and separator characters; they are shown as escapes."""
    found = str(value)
    return found if found.isascii() and found.isprintable() else visible(found)


def words(value: Any) -> Markup:
    """A text whose letters from right to left are isolated."""
    return Markup("").join(
        Markup("<bdi>{}</bdi>").format(part) if rtl else escape(part) for part, rtl in _runs(seen(value))
    )


def name(value: Any) -> Markup:
    """The name of an object of a database: isolated as a whole, and broken where its words end, if it has to be."""
    parts = re.split("(?<=[a-z0-9][._])(?=[a-z0-9])", seen(value))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(parts))


def lines(value: Any) -> Markup:
    """A text of several lines, such as a script; each line isolated."""
    found = str(value).replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return Markup("\n").join(words(line) for line in found)


def plain(value: Any) -> Markup:
    """The same as ``words`` where no element may stand: in the title of a chart."""
    return Markup("").join(
        Markup("{}{}{}").format(FSI, part, PDI) if rtl else escape(part) for part, rtl in _runs(seen(value))
    )


def _runs(found: str) -> list[tuple[str, bool]]:
    """The text in parts, each with whether it runs from right to left. What is between two such letters belongs to them."""
    if found.isascii():
        return [(found, False)]
    parts: list[tuple[str, bool]] = []
    start = last = -1
    done = 0
    for place, character in enumerate(found):
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL", "AN"):
            start = place if start < 0 else start
            last = place
        elif direction == "L" and start >= 0:
            parts += [(found[done:start], False), (found[start : last + 1], True)]
            done, start = last + 1, -1
    if start >= 0:
        parts += [(found[done:start], False), (found[start : last + 1], True)]
        done = last + 1
    return [(part, rtl) for part, rtl in [*parts, (found[done:], False)] if part]


def size(value: float | None, signed: bool = False) -> str:
    """Bytes."""
    return NOT_KNOWN if value is None else _units.size(round(value), signed)


def count(value: float | None, singular: str = "", plural: str = "") -> str:
    """A number with its noun: "1 run", "12 runs"."""
    if value is None:
        return NOT_KNOWN
    noun = singular if round(value) == 1 else plural or (f"{singular}s" if singular else "")
    return f"{_units.count(round(value))} {noun}".rstrip()


def duration(value: float | None) -> str:
    """Seconds."""
    return NOT_KNOWN if value is None else _units.duration(value) or NOT_KNOWN


def percent(value: float | None) -> str:
    """A share of 1 as percent, rounded so that neither 0 % nor 100 % is said of what is not."""
    if value is None:
        return NOT_KNOWN
    shown = 100 * value
    if 0 < shown < 0.1:
        return f"<0.1{NBSP}%"
    if 99.9 < shown < 100:
        return f">99.9{NBSP}%"
    return f"{shown:.1f}".removesuffix(".0") + f"{NBSP}%"


BEST_FIRST = (
    "ok", "done", "partial", "unchanged", "planned", "contended", "deferred", "skipped", "running", "missed", "abandoned",
    "failed",
)  # fmt: skip


def listed(found: dict[str, int]) -> str:
    """ "23 ok, 1 failed": the worst last."""
    known = sorted(found, key=lambda one: BEST_FIRST.index(one) if one in BEST_FIRST else len(BEST_FIRST))
    return ", ".join(f"{_units.count(found[one])} {word(one).word}" for one in known)


def symbols() -> str:
    """The rules of the style that put the symbol before each word. A screen reader need not say them: the word is there."""
    rules = []
    for found in [*ALL.values(), word("")]:
        look = f"color:var(--{found.tone});background:var(--{found.tone}-bg)"
        rules.append(
            f'.t.{found.css}{{{look}}}.t.{found.css}::before{{content:"{found.symbol}";content:"{found.symbol}"/""}}'
        )
    return "\n".join(rules)
