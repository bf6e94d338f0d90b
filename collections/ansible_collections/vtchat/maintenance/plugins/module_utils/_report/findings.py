# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What was found, as people read it: one entry a check, the worst first, grouped by what it is about. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from .. import _units
from .._clean import clean
from .._result import CRITICAL, LEVELS, UNKNOWN, WARNING

MOST_NAMED = 3  # further subjects of a check, by name

# By the unit of a value.
_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes": lambda value: _units.size(round(value)),
    "seconds": _units.duration,
    "hours": lambda value: _units.duration(3600 * value),
    "days": lambda value: _units.duration(86400 * value),
    "bytes a day": lambda value: f"{_units.size(round(value))} a day",
    "percent a week": lambda value: f"{value:g} % a week",
    "percent": lambda value: f"{value:g} %",
}


class Told(NamedTuple):
    """One check. All texts are clean. others: what else it is about, "" for nothing more; do: "" where nothing is advised."""

    level: str
    check: str
    group: str
    subject: str
    message: str
    others: str = ""
    why: str = ""
    do: str = ""


def told(findings: Sequence[Mapping[str, Any]], levels: Sequence[str], verbose: bool) -> list[Told]:
    """One entry a check, or with verbose one a finding; groups together, each where its worst stands."""
    shown = [one for one in findings if one.get("level") in levels]
    each = [[one] for one in shown] if verbose else _by_check(shown)
    entries = [_entry(one) for one in each]
    entries = entries if verbose else _together(entries)
    place = {
        group: min(_badness(one) for one in entries if one.group == group) for group in {one.group for one in entries}
    }
    order = list(dict.fromkeys(one.group for one in entries))
    return sorted(entries, key=lambda one: (place[one.group], order.index(one.group), _badness(one)))


def groups(entries: Iterable[Told]) -> list[tuple[str, list[Told]]]:
    """The entries group by group."""
    return [(group, list(found)) for group, found in groupby(entries, key=lambda one: one.group)]


def _badness(one: Told) -> int:
    return -LEVELS.index(one.level)


def _by_check(findings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Those of one check and level, in their order: the worst first."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in findings:
        found.setdefault((str(one.get("check")), str(one.get("level"))), []).append(one)
    return list(found.values())


def _entry(found: Sequence[Mapping[str, Any]]) -> Told:
    first = found[0]
    texts = {key: clean(first.get(key) or "") for key in ("check", "group", "subject", "message", "meaning", "advice")}
    limit = _limit(first)
    message = f"{texts['message']} ({limit})" if limit else texts["message"]
    return Told(
        str(first["level"]), texts["check"], texts["group"], texts["subject"], message, _others(found[1:]), texts["meaning"],
        texts["advice"],
    )  # fmt: skip


def _others(found: Sequence[Mapping[str, Any]]) -> str:
    """ "public.a, public.b, public.c and 12 more" """
    beyond = sum(_more(one) for one in found)
    names = [clean(one.get("subject") or "") for one in found if not _more(one)]
    beyond += len(names[MOST_NAMED:])
    named = ", ".join(names[:MOST_NAMED])
    return (
        f"{named} and {_units.count(beyond)} more"
        if named and beyond
        else named or (f"{beyond} more" if beyond else "")
    )


def _more(one: Mapping[str, Any]) -> int:
    """How many subjects an entry stands for that tells how many there are besides; 0 for one that is about a subject."""
    evidence = one.get("evidence")
    number = evidence.get("more") if isinstance(evidence, Mapping) else 0
    return number if isinstance(number, int) else 0


def _limit(one: Mapping[str, Any]) -> str:
    """ "critical from 95 %"; nothing where there is no number that says something."""
    value, limit, evidence = one.get("value"), one.get("threshold"), one.get("evidence")
    known = all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in (value, limit))
    bad = one.get("level") in (WARNING, CRITICAL) and limit != 1
    if not known or not bad or not isinstance(evidence, Mapping) or not evidence.get("unit"):
        return ""
    text = number(float(limit or 0), str(evidence["unit"]))
    reached = float(value or 0) >= float(limit or 0)
    return f"{clean(one.get('level') or '')} {'from' if reached else 'up to'} {text}" if text else ""


def number(value: float, unit: str) -> str:
    """A value or threshold in its unit, for people."""
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    return f"{_units.count(round(value))} {unit}"


def _together(entries: Sequence[Told]) -> list[Told]:
    """Checks of a group that cannot be seen for one and the same reason are told once."""
    kept: dict[tuple[str, ...], Told] = {}
    for one in entries:
        alike = one.level == UNKNOWN and not one.others
        key = (one.group, one.message, one.do) if alike else (one.check, one.level, one.subject, one.message)
        first = kept.get(key)
        if first is None or not alike:
            kept[key] = one
        else:
            kept[key] = first._replace(check=f"{first.check}, {one.check}")
    return list(kept.values())
