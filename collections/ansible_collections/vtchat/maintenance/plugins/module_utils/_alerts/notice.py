# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is told of a condition, in words that are the same in all channels. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from .. import _units
from .._errors import MaintenanceError
from .._result import INFO
from .decide import BETTER, RAISE, RECOVER, REMIND, WORSE, Known, Record

_OPENINGS = {RAISE: "", WORSE: "now ", REMIND: "still ", BETTER: "now only ", RECOVER: "well again"}


@dataclass(frozen=True)
class Notice:
    """A condition for people.

    verb   what has happened, one of those of decide
    known  how it is
    now    seconds since 1970
    link   where more is to be read; ""
    """

    verb: str
    known: Known
    now: float
    link: str = ""

    @property
    def level(self) -> str:
        return self.known.level

    @property
    def title(self) -> str:
        """ "still critical: expired-rows on production" """
        return f"{self.state}: {self.known.check} on {self.known.name}"

    @property
    def state(self) -> str:
        """ "still critical" """
        return _OPENINGS.get(self.verb, "") + ("" if self.verb == RECOVER else self.level)

    @property
    def lines(self) -> list[str]:
        """One line a subject, then what to do about it."""
        facts = () if self.level == INFO else self.known.facts
        lines = [f"{fact.level}: {fact.subject}: {fact.message}" for fact in facts]
        if lines and self.known.more:
            lines.append(f"and {_units.count(self.known.more)} more")
        advice = dict.fromkeys(fact.advice for fact in facts if fact.advice)
        return lines + [f"to do: {text}" for text in advice]

    @property
    def since(self) -> str:
        """Since when it is bad, or for how long it was."""
        if not self.known.since:
            return ""
        lasted = _units.duration(max(0.0, self.now - self.known.since))
        return f"after {lasted}" if self.level == INFO else f"since {moment(self.known.since)}"

    def text(self, longest: int, escaped: Callable[[str], str] = str) -> str:
        """The lines, as a channel wants their characters, in not more than so many UTF-16 units."""
        return shortened("\n".join(escaped(line) for line in self.lines), longest)


@dataclass(frozen=True)
class Told:
    """What came of telling: words for people, what the channel calls it now, and whether anything was sent."""

    words: str
    ref: int = 0
    sent: bool = True


class NotTold(MaintenanceError):
    """A channel could not be told. ``down``: whatever stopped this would stop all others, so that they need not be tried."""

    def __init__(self, message: str, down: bool) -> None:
        super().__init__(message)
        self.down = down


class Channel(Protocol):
    """A way to tell people.

    name   what the memory calls it; holds nothing secret
    label  for people
    edits  whether it can change what it has told before
    """

    name: str
    label: str
    edits: bool

    def remembered(self) -> list[Known]:
        """What the channel itself remembers of what it was told. Raises MaintenanceError."""

    def recall(self, key: str) -> Known | None:
        """What it remembers of a condition that is not ``remembered``: it was over, or put away. Raises MaintenanceError."""

    def outdated(self, notice: Notice) -> bool:
        """Whether what it has told before reads differently now."""

    def tell(self, notice: Notice, record: Record | None, remind: float) -> Told:
        """Tell; remind: seconds within which what comes again is the same as before. Raises NotTold."""


class OneWay:
    """What channels have in common that answer nothing which could be read again: what was sent stays as it is."""

    edits = False

    def remembered(self) -> list[Known]:
        """Nothing."""
        return []

    def recall(self, key: str) -> Known | None:
        """Nothing, likewise."""
        return None

    def outdated(self, notice: Notice) -> bool:
        """Never."""
        return False


def moment(seconds: float) -> str:
    """A moment for people."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def shortened(text: str, longest: int) -> str:
    """The text in at most so many UTF-16 units, as services that are written in JavaScript count."""
    if _units_of(text) <= longest:
        return text
    raw = text.encode("utf-16-le", "replace")[: 2 * (longest - 2)]
    return raw.decode("utf-16-le", "ignore") + " …"


def _units_of(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def as_data(notice: Notice) -> dict[str, Any]:
    """For programs."""
    known = notice.known
    return {
        "version": 1,
        "event": notice.verb,
        "key": known.key,
        "name": known.name,
        "check": known.check,
        "level": known.level,
        "title": notice.title,
        "since": moment(known.since) if known.since else None,
        "findings": [fact.as_dict() for fact in known.facts] if known.level != INFO else [],
        "more": known.more if known.level != INFO else 0,
        "link": notice.link or None,
    }
