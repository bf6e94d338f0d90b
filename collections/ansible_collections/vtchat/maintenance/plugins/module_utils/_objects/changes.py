# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What scripts change: objects before and after, as the program on the server has described them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .definitions import MATERIALIZED_VIEW

CREATE, REPLACE, DROP, KEEP = "create", "replace", "drop", "keep"
# What is compared besides the definition, by the column of a description, and in words.
_PROPERTIES = {
    "definition": "definition",
    "settings": "definition",
    "owner": "owner",
    "privileges": "privileges",
    "comments": "comment",
    "labels": "security label",
}


@dataclass(frozen=True)
class Change:
    """One object that a script defines. before and after: canonical text, None where there is no such object.

    drift        what it has that no script asks for
    step         the part of the call, from 0, that it is about
    differences  what of it is different, in words
    """

    script: str
    object: str
    kind: str
    before: str | None
    after: str | None
    drift: list[str] = field(default_factory=list)
    step: int = 0
    differences: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """What is to be done about it."""
        if self.before == self.after:
            return KEEP
        if self.before is None:
            return CREATE
        return DROP if self.after is None else REPLACE

    @property
    def reason(self) -> str:
        """Why that is to be done."""
        if self.operation == REPLACE and self.differences:
            names = list(dict.fromkeys(self.differences))
            return (
                f"its {' and '.join(names)} {'is' if len(names) == 1 and names[0] != 'privileges' else 'are'} different"
            )
        return {
            KEEP: "it is as it should be",
            CREATE: f"there is no {self.kind} of that name",
            REPLACE: "it is different",
            DROP: "the script drops it" if self.script else "an interrupted installation has left it behind",
        }[self.operation]

    @property
    def difference(self) -> dict[str, str]:
        """For --diff."""
        header = f"{self.kind} {self.object}"
        return {
            "before_header": header,
            "after_header": f"{header} ({self.script})" if self.script else header,
            "before": self.before or "",
            "after": self.after or "",
        }


def left_behind(name: str) -> Change:
    """A materialized view that an interrupted installation has built, and that is removed."""
    return Change("", name, MATERIALIZED_VIEW, "-- left by an interrupted installation\n", None)


def compare(
    script: str, pairs: list[dict[str, Any]], drift: dict[tuple[str, str], list[str]] | None = None
) -> list[Change]:
    """Objects as they were and as they would be, from rows of the query that describes objects."""
    changes = []
    for pair in pairs:
        was, will = pair["before"], pair["after"]
        row = will or was
        kind, name = row["kind"], row["object"]
        before, after = (canonical(one) if one else None for one in (was, will))
        extra = list((drift or {}).get((kind, name), []))
        changes.append(Change(script, name, kind, before, after, extra, pair.get("at", 0), _differences(was, will)))
    return changes


def _differences(was: Mapping[str, Any] | None, will: Mapping[str, Any] | None) -> tuple[str, ...]:
    if was is None or will is None:
        return ()
    return tuple(word for column, word in _PROPERTIES.items() if was.get(column) != will.get(column))


def settled(changes: list[Change]) -> list[Change]:
    """What several parts change in turn, and leave as it was, is unchanged."""
    found: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        found.setdefault((change.kind, change.object), []).append(change)
    alike = {key for key, several in found.items() if several[0].before == several[-1].after}
    return [
        replace(
            change,
            before=found[change.kind, change.object][0].before,
            after=found[change.kind, change.object][0].before,
        )
        if (change.kind, change.object) in alike
        else change
        for change in changes
    ]


def canonical(row: dict[str, Any]) -> str:
    """All of an object that is compared, as text."""
    lines = [
        (row["definition"] or row["kind"]).rstrip(),
        *(f"-- {line}" for line in (row.get("settings") or "").splitlines()),
    ]
    if row["owner"]:
        lines.append(f"-- owner: {row['owner']}")
    for what, label in (("privileges", "privileges"), ("comments", "comment"), ("labels", "security label")):
        if row.get(what):
            lines.append(f"-- {label}: " + (", " if what == "privileges" else "\n-- ").join(row[what]))
    return "\n".join(lines) + "\n"


def drifts(present: list[dict[str, Any]], asked: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """By kind and name: privileges and comments that an object has and no script gives it."""
    wanted = {(row["kind"], row["object"]): row for row in asked}
    found = {}
    for row in present:
        key = (row["kind"], row["object"])
        if key not in wanted:
            continue
        extra = []
        for what, one in (("privileges", "privilege"), ("comments", "comment")):
            known = wanted[key][what] or []
            extra += [f"{one} {text}" for text in row[what] or [] if not _covered(text, known, one)]
        found[key] = extra
    return found


def _covered(text: str, known: list[str], what: str) -> bool:
    """Whether a privilege or comment is asked for; a comment with another text is a change and not drift."""
    if what == "privilege":
        return text in known
    column = text.partition(": ")[0] if ": " in text else ""
    return any((other.partition(": ")[0] if ": " in other else "") == column for other in known) or text in known
