# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module alerts: tell people what has changed, and nobody twice.

Whatever a channel does, nothing fails: what it could not be told it is told next time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._engine.history import NOT_WANTED
from .._errors import Contended, MaintenanceError
from .._module import unexpected
from .._postgres.connect import ConnectionOptions
from .._result import DEFERRED, DONE, INFO, PLANNED, SKIPPED, UNCHANGED, Result, entry
from .conditions import RANK, UNREACHABLE, Condition, conditions
from .decide import BETTER, KEEP, QUIET, REFRESH, Known, Record, after, decide, merged, now_known
from .memory import Memory, remembering
from .notice import Channel, Notice, NotTold, moment
from .options import SPEC, Wanted, read_wanted

__all__ = ["SPEC", "perform", "read", "with_files"]

NOBODY = "no channels are given, so nobody is told"


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


def read(parameters: Mapping[str, Any]) -> Wanted:
    """The options. Raises OptionError."""
    return read_wanted(parameters)


def perform(
    connection: ConnectionOptions, wanted: Wanted, check: bool, progress: Callable[[str, str, float], None]
) -> Result:
    """Tell those who do not know yet."""
    began = time.monotonic()
    hidden = wanted.hidden | connection.dsn.hidden
    found = conditions(wanted.results, wanted.name, _database(connection), hidden)
    result = Result("alerts", check)
    if not wanted.channels:
        result.status, result.message = SKIPPED, f"alerts: {NOBODY}{_counted(found)}"
        return result
    try:
        with remembering(connection, _without(wanted, found), check) as memory:
            teller = Teller(wanted, check, memory, found)
            teller.tell()
            result.server, result.actions, result.diff = memory.server, teller.actions, teller.diff
            result.warnings += teller.silent()
    except Contended as error:
        result.warnings.append(f"nobody is told of anything now, the next time does it: {error}")
        return result
    if memory.note:
        result.warnings.append(f"what is told now is not remembered, and may be told again: {memory.note}")
    result.turns, result.seconds = memory.turns, time.monotonic() - began
    result.warnings = [hidden.scrub(warning) for warning in result.warnings]
    return result


def _database(connection: ConnectionOptions) -> str:
    """The name that the server would say, of a database that cannot be asked: that of the user where nobody names another."""
    named = connection.dsn.keywords.get
    return named("dbname") or os.environ.get("PGDATABASE") or named("user") or os.environ.get("PGUSER") or ""


def _without(wanted: Wanted, found: Sequence[Condition]) -> str:
    """Why no database is asked what it remembers; "" where one is."""
    reached = [one.bad for one in found if one.check == UNREACHABLE]
    if reached and all(reached):  # somebody has tried already, and waited for it
        return "the database was not reached"
    return "" if wanted.history else NOT_WANTED


def _told_bad(known: Known, channel: Channel) -> bool:
    return RANK[known.channels.get(channel.name, Record()).level] > 0


def _counted(found: Sequence[Condition]) -> str:
    bad = [one.key for one in found if one.bad]
    return f" of {', '.join(bad)}" if bad else ""


@dataclass
class Teller:
    """Goes through all conditions, and for each through all channels."""

    wanted: Wanted
    check: bool
    memory: Memory
    found: Sequence[Condition]
    actions: list[dict[str, Any]] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    down: dict[str, str] = field(default_factory=dict)

    def tell(self) -> None:
        """Tell, and remember what was told even if something stops it halfway."""
        seen = {one.key: one for one in self.found}
        names = {one.name for one in self.found}
        known = self._remembered(seen, names)
        keys = [*seen, *(key for key in known if key not in seen)]
        changed: dict[str, Known] = {}
        try:
            for key in keys:
                before = known.get(key)
                now = now_known(before, seen[key], self.memory.now) if key in seen else known[key]
                after_all = self._told(now, key in seen)
                if after_all != self.memory.known.get(key) and (before or after_all.level != INFO):
                    changed[key] = after_all
        finally:
            self.memory.keep(changed.values())

    def silent(self) -> list[str]:
        """Which channels are down that were to be told nothing: nobody would notice until it matters."""
        late = {one["channel"] for one in self.actions if one["outcome"] == DEFERRED}
        return [f"{channel.label}: {self.down[channel.name]}" for channel in self.wanted.channels
                if channel.name in self.down and channel.label not in late]  # fmt: skip

    def _remembered(self, seen: Mapping[str, Condition], names: Collection[str]) -> dict[str, Known]:
        """What the database and the channels remember of these, as one."""
        known = {key: one for key, one in self.memory.known.items() if one.name in names}
        for channel in self.wanted.channels:
            try:
                for one in channel.remembered():
                    if one.name in names:
                        known[one.key] = merged(known.get(one.key), one)
                bad = {key for key, one in seen.items() if one.bad}
                for key in sorted(bad | {key for key, one in known.items() if _told_bad(one, channel)}):
                    found = channel.recall(key)
                    if found:
                        known[key] = merged(known.get(key), found)
            except MaintenanceError as error:
                self.down[channel.name] = str(error)
        return known

    def _told(self, known: Known, seen: bool) -> Known:
        """Tell all channels of one condition. Those that keep a copy of what is known come last."""
        for channel in sorted(self.wanted.channels, key=lambda one: one.edits):
            record = self._tell(channel, known, seen)
            if record is not None:
                known = replace(known, channels={**known.channels, channel.name: record})
        return known

    def _tell(self, channel: Channel, known: Known, seen: bool) -> Record | None:
        """Tell one channel; what it was told last, None where that is nothing."""
        record = known.channels.get(channel.name)
        try:
            verb = decide(known.level, record, seen, self.memory.now, self.wanted.remind)
            now = after(verb, record, known.level, self.memory.now, record.ref if record else 0)
            notice = self._notice(verb, known, channel, now)
            if verb == KEEP and seen and channel.name not in self.down and channel.outdated(notice):
                verb, notice = REFRESH, replace(notice, verb=REFRESH)
            return self._carried_out(channel, notice, record, now)
        except NotTold as error:
            if error.down:
                self.down[channel.name] = str(error)
            self._note(channel, known.key, DEFERRED, f"not told: {error}")
        except MaintenanceError as error:
            self.down[channel.name] = str(error)
            self._note(channel, known.key, DEFERRED, f"not told: {error}")
        except Exception as error:  # a fault of ours in one channel must not keep the others from being told
            self._note(channel, known.key, DEFERRED, f"not told: {unexpected(error)}")
        return record

    def _notice(self, verb: str, known: Known, channel: Channel, now: Record) -> Notice:
        """The condition as this channel is to keep it, with what the channel itself is told."""
        kept = replace(known, channels={**known.channels, channel.name: now})
        return Notice(verb, kept, self.memory.now, self.wanted.link)

    def _carried_out(self, channel: Channel, notice: Notice, record: Record | None, now: Record) -> Record | None:
        verb, key = notice.verb, notice.known.key
        if verb == KEEP or (verb in QUIET and not channel.edits):
            if RANK[notice.level] and record is not None:
                self._note(channel, key, UNCHANGED, f"{notice.level} {notice.since}, told {moment(record.told)}")
            return now if verb == BETTER else record
        if channel.name in self.down:
            raise NotTold(self.down[channel.name], down=True)
        if self.check:
            self._note(channel, key, PLANNED, f"would be {'told' if verb not in QUIET else 'edited'}: {notice.title}")
        else:
            told = channel.tell(notice, record, self.wanted.remind)
            now = after(verb, record, notice.level, self.memory.now, told.ref)
            self._note(channel, key, DONE if told.sent else UNCHANGED, told.words)
            if not told.sent:
                return now
        self.diff.append({"before_header": key, "after_header": f"{key}: {channel.label}", "before": "",
                          "after": "\n".join([notice.title, *notice.lines]) + "\n"})  # fmt: skip
        return now

    def _note(self, channel: Channel, key: str, outcome: str, text: str) -> None:
        self.actions.append(entry("alert", key, outcome, f"{channel.label}: {text}", changed=outcome in (DONE, PLANNED),
                                  channel=channel.label))  # fmt: skip
