# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Who is to be told what: a condition as it is, against what each channel was told last. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._result import INFO
from .conditions import RANK, Condition, Fact

# What a channel is told of a condition.
RAISE = "raised"
WORSE = "worse"
REMIND = "reminder"
BETTER = "better"  # and not well: without a new message
REFRESH = "refreshed"  # other words for the same: without a new message
RECOVER = "recovered"
KEEP = "kept"
# Seconds since 1970, in the year 5138.
LAST_MOMENT = 1e11
# For these a channel has to be able to change what it has told before.
QUIET = (BETTER, REFRESH)


@dataclass(frozen=True)
class Record:
    """What a channel was told last of a condition: the level, when (seconds since 1970), and what the channel calls it."""

    level: str = INFO
    told: float = 0.0
    ref: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"level": self.level, "told": self.told, "ref": self.ref}


@dataclass(frozen=True)
class Known:
    """What is remembered of a condition.

    since     when it became bad, in seconds since 1970; or, where it is well, when it had become so before that
    facts     what was told of it, for a channel that could not be told then
    channels  by the name of a channel, what it was told
    """

    name: str
    check: str
    level: str = INFO
    since: float = 0.0
    facts: tuple[Fact, ...] = ()
    more: int = 0
    channels: Mapping[str, Record] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.name}/{self.check}"

    def as_dict(self) -> dict[str, Any]:
        """As it is remembered."""
        return {
            "name": self.name,
            "check": self.check,
            "level": self.level,
            "since": self.since,
            "facts": [fact.as_dict() for fact in self.facts],
            "more": self.more,
            "channels": {name: record.as_dict() for name, record in self.channels.items()},
        }


def read_known(value: Any) -> Known | None:
    """What somebody has remembered, None for what is none of ours: it may have been in anybody's hands."""
    try:
        facts = tuple(
            Fact(*(str(one[key]) for key in ("subject", "level", "message", "advice"))) for one in value["facts"]
        )
        channels = {str(name): _record(one) for name, one in value["channels"].items()}
        name, check, level = (str(value[key]) for key in ("name", "check", "level"))
        known = Known(name, check, level, _seconds(value["since"]), facts, abs(int(value["more"])), channels)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    levels = {known.level, *(fact.level for fact in facts), *(record.level for record in channels.values())}
    return known if levels <= set(RANK) else None


def _record(value: Any) -> Record:
    return Record(str(value["level"]), _seconds(value["told"]), abs(int(value["ref"])))


def _seconds(value: Any) -> float:
    """A moment that a calendar knows. Raises ValueError."""
    seconds = float(value)
    if not 0 <= seconds < LAST_MOMENT:  # nan is not, either
        raise ValueError
    return seconds


def merged(one: Known | None, other: Known) -> Known:
    """Two memories of one condition as one: of each channel, what it was told last."""
    if one is None:
        return other
    channels = dict(one.channels)
    for name, record in other.channels.items():
        mine = channels.get(name)
        if mine is None or record.told > mine.told:
            channels[name] = record
    return replace(one, channels=channels)


def now_known(known: Known | None, condition: Condition, now: float) -> Known:
    """How it is now: by what was found, and by what was known. A check that could not look at all makes nothing better."""
    known = known or Known(condition.name, condition.check)
    if not condition.sure and RANK[condition.level] < RANK[known.level]:
        return known
    since = known.since if known.level != INFO or not condition.bad else now
    # Facts of what is over are kept no longer than the channels need them.
    return replace(known, level=condition.level, since=since, facts=condition.facts, more=condition.more)


def decide(level: str, record: Record | None, seen: bool, now: float, remind: float) -> str:
    """What a channel is to be told of a condition of this level.

    seen    whether a check has looked at it now: nobody is reminded of what nothing looks at any more
    remind  seconds after which it is told again
    """
    told = record or Record()
    bad, before = RANK[level], RANK[told.level]
    if not before:
        return RAISE if bad else KEEP
    if not bad:
        return RECOVER
    if bad > before:
        return WORSE
    if seen and now - told.told >= remind:
        return REMIND
    return BETTER if bad < before else KEEP


def after(verb: str, record: Record | None, level: str, now: float, ref: int) -> Record:
    """What a channel knows once it was told."""
    if verb == KEEP and record is not None:
        return record
    if verb in QUIET and record is not None:
        return replace(record, level=level, ref=ref or record.ref)
    return Record(level, now, ref)
