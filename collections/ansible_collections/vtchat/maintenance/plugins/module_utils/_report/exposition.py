# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Metrics as a text that is OpenMetrics 1.0 and Prometheus' own format at once, and what such a text says. Pure.

A counter is declared by its name without ``_total``, as OpenMetrics wants it. To a parser of Prometheus' own format that is the
name of nothing, so that the samples are counters without a type there; rates of them are the same. The other way round, a parser
of OpenMetrics refuses the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import isfinite

Labels = tuple[tuple[str, str], ...]
Samples = dict[Labels, float]
Families = dict[str, Samples]

COUNTER = "_total"
END = "# EOF\n"
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_LINE = re.compile(r"([a-z_]+)\{(.+)\} ([0-9eE.+-]+)")
_COMMENT = re.compile("# (?:HELP|TYPE) ([a-z_]+) ")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_ESCAPED = {after: before for before, after in _ESCAPES.items()}


def write(families: Mapping[str, Mapping[Labels, float]], helps: Mapping[str, str]) -> str:
    """The text of the families that have samples, in the order of their helps."""
    return "".join(_family(name, families.get(name, {}), text) for name, text in helps.items()) + END


def _family(name: str, samples: Mapping[Labels, float], text: str) -> str:
    if not samples:
        return ""
    family, kind = (name[: -len(COUNTER)], "counter") if name.endswith(COUNTER) else (name, "gauge")
    lines = [f"# HELP {family} {text}", f"# TYPE {family} {kind}"]
    for labels, value in samples.items():
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{told}}} {_number(value)}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def read(text: str) -> Families:
    """The samples of a text that ``write`` has made, by name. Whatever else stands there is passed over."""
    families: Families = {}
    for line in text.split("\n"):
        found = _LINE.fullmatch(line)
        labels = _labels(found[2]) if found else ()
        value = _value(found[3]) if found else None
        if found and labels and value is not None:
            families.setdefault(found[1], {})[labels] = value
    return families


def stranger(text: str, names: Collection[str], label: str) -> str:
    """The first line that ``write`` has not made of metrics of such names with that label; empty where there is none."""
    families = {name.removesuffix(COUNTER) for name in names}
    for line in text.split("\n"):
        found, comment = _LINE.fullmatch(line), _COMMENT.match(line)
        ours = found and found[1] in names and label in dict(_labels(found[2])) and _value(found[3]) is not None
        if line and f"{line}\n" != END and not ours and not (comment and comment[1] in families):
            return line
    return ""


def _labels(text: str) -> Labels:
    """The labels, none where something else is between them."""
    found, position = [], 0
    while position < len(text):
        one = _LABEL.match(text, position)
        if one is None:
            return ()
        found.append((one[1], re.sub(r"\\.", lambda pair: _ESCAPED[pair[0]], one[2])))
        position = one.end()
    return tuple(found) if len(dict(found)) == len(found) else ()


def _value(text: str) -> float | None:
    try:
        value = float(text) if re.search("[.eE]", text) else int(text)
        return value if isfinite(value) else None
    except (ValueError, OverflowError):
        return None
