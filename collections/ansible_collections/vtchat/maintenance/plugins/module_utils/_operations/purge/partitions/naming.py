# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Names of partitions to come: as those that are there have them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...._postgres.names import MAX_NAME_BYTES
from .calendar import DAY, Step, moment_of

# What names say of a lower bound, from the finest on. Between the parts anything may stand that is no digit.
_FORMS: tuple[tuple[str, ...], ...] = (
    ("%Y", "%m", "%d", "%H", "%M", "%S"),
    ("%Y", "%m", "%d", "%H", "%M"),
    ("%Y", "%m", "%d", "%H"),
    ("%Y", "%m", "%d"),
    ("%G", "%V"),
    ("%Y", "%j"),
    ("%Y", "%m"),
    ("%Y", "QUARTER"),
    ("%Y",),
)


@dataclass(frozen=True)
class Scheme:
    """A name: text around the parts of the lower bound. number: the bound itself stands there, as a number."""

    pieces: tuple[str, ...]
    parts: tuple[str, ...] = ()
    number: bool = False

    def name(self, at: int, number: str) -> str:
        """The name of a partition that begins there; number: its lower bound as an integer."""
        moment = moment_of(at)
        values = [number] if self.number else [_written(moment, part) for part in self.parts]
        return "".join(text + value for text, value in zip(self.pieces, [*values, ""]))


def _written(moment: datetime, part: str) -> str:
    if part == "QUARTER":
        return str((moment.month + 2) // 3)
    return f"{moment.year:04}" if part == "%Y" else moment.strftime(part)


def follow(known: Sequence[tuple[str, int, str]], step: Step) -> Scheme | None:
    """The scheme of these partitions, None if they follow none. known: name, lower bound, that as a number; the newest last."""
    newest = known[-1:]
    for scheme in _schemes(*newest[0]) if newest else ():
        if all(scheme.name(at, number) == name for name, at, number in known) and _tells_apart(scheme, newest[0], step):
            return scheme
    return None


def _schemes(name: str, at: int, number: str) -> Iterator[Scheme]:
    """How this name may have been made."""
    for parts in _FORMS:
        values = [re.escape(_written(moment_of(at), part)) for part in parts]
        # The last place in the name: a table may be called log_2024 itself.
        pattern = r"(.*?)" + r"(\D{0,4}?)".join(values) + r"((?!\d).*)"
        starts = range(len(name), -1, -1)
        for start in starts:
            found = re.fullmatch(pattern, name[start:])
            if found and not found[1] and not (start and name[start - 1].isdigit()):
                first, *others = found.groups()
                yield Scheme((name[:start] + first, *others), parts)
                break
    found = re.fullmatch(rf"(.*?){re.escape(number)}((?!\d).*)", name) if number else None
    if found and not (found[1] and found[1][-1].isdigit()):
        yield Scheme((found[1], found[2]), number=True)


def _tells_apart(scheme: Scheme, newest: tuple[str, int, str], step: Step) -> bool:
    """Whether the next partitions have names of their own by it."""
    name, at, _number = newest
    following = [step.after(at, count) for count in range(1, 5)]
    names = {scheme.name(one, str(one)) for one in following} | {name}
    return scheme.number or len(names) == 5


def plain(table: str, step: Step) -> Scheme:
    """The scheme where the names that are there follow none: ``table_pYYYYMMDD``, with the time where days are divided."""
    parts = ("%Y", "%m", "%d") if step.months or step.days or step.micros % DAY == 0 else _FORMS[0]
    end = "_" if len(parts) > 3 else ""
    room = MAX_NAME_BYTES - len("_p20240101") - (len("_000000") if end else 0)
    base = table.encode()[:room].decode(errors="ignore")
    return Scheme((f"{base}_p", *["", "", end, "", "", ""][: len(parts)], ""), parts)


def free(name: str, taken: Collection[str]) -> str:
    """The name, or one like it that nothing has yet; never longer than the server allows."""
    number, wanted = 1, name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    while wanted in taken:
        number += 1
        ending = f"_{number}"
        wanted = name.encode()[: MAX_NAME_BYTES - len(ending)].decode(errors="ignore") + ending
    return wanted
