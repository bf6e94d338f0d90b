# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of health_info: which checks, with which thresholds, and what is known and ignored for a while."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..._errors import OptionError
from ..._result import CRITICAL, WARNING
from ..._schedule import read_schedule
from ..._spec import Spec
from .. import OPERATIONS

if TYPE_CHECKING:
    from ..._checks import Check, Thresholds
    from ..._checks.judge import Ignored, Limits
    from ..purge.options import Options as Purge

NEVER = "never"
OBJECTS = "objects"
PURGE = "purge"
LEVELS = (WARNING, CRITICAL)
SPEC = Spec({
    "fail_on": {"type": "str", "choices": [NEVER, CRITICAL, WARNING], "default": CRITICAL},
    "checks": {"type": "list", "elements": "str"},
    "thresholds": {"type": "dict"},
    "ignore": {"type": "list", "elements": "dict"},
    "size_limit": {"type": "bytes"},
    "plans": {"type": "dict"},
})  # fmt: skip
IGNORE_KEYS = ("check", "object", "reason", "until")
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)([T ][0-9:.+Z-]+)?")  # a moment counts as its day
LAST_DAY = date.max - timedelta(days=1)  # Python knows no day after the last one


@dataclass(frozen=True)
class Options:
    """What is wanted.

    fail_on  the level that fails the run
    checks   ids and groups; empty: all
    limits   the user's thresholds, by check
    ignored  what is not to be told for a while
    plans    schedules by name, None for those of the history
    purges   what the plans purge
    size_limit  bytes that the database may have, 0 where nobody has said it
    """

    fail_on: str = CRITICAL
    checks: Sequence[str] = ()
    limits: Mapping[str, Limits] = field(default_factory=dict)
    ignored: Sequence[Ignored] = ()
    plans: Mapping[str, Mapping[str, str]] | None = None
    size_limit: int = 0
    purges: Sequence[Purge] = ()

    def chosen(self) -> list[Check]:
        """The checks that are wanted, in the order of the registry."""
        from ..._checks.registry import CHECKS

        return [check for check in CHECKS if not self.checks or {check.id, check.group} & set(self.checks)]


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError."""
    faults: list[str] = []
    options = Options(
        given.get("fail_on") or CRITICAL,
        _read_checks(given.get("checks") or [], faults),
        _read_thresholds(given.get("thresholds") or {}, faults),
        _read_ignored(given.get("ignore") or [], faults),
        _read_plans(given.get("plans"), faults),
        given.get("size_limit") or 0,
        _read_purges(given.get("plans"), faults),
    )
    if options.size_limit < 0:
        faults.append("size_limit: it must be above 0")
    if faults:
        raise OptionError(faults)
    return options


def _read_checks(given: Sequence[str], faults: list[str]) -> Sequence[str]:
    if not given:
        return ()
    from ..._checks import GROUPS
    from ..._checks.registry import BY_ID

    faults += [f"checks: {_no_such(name, [*BY_ID, *GROUPS])}" for name in given if name not in {*BY_ID, *GROUPS}]
    return tuple(given)


def _no_such(name: object, known: Sequence[str]) -> str:
    import difflib  # in runs without a fault it would be loaded for nothing

    near = difflib.get_close_matches(str(name), known, 1, 0.6)
    return f"there is no check {name}" + (f", did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")


def _read_thresholds(given: Mapping[str, Any], faults: list[str]) -> dict[str, Limits]:
    if not given:
        return {}
    from ..._checks.judge import Limits
    from ..._checks.registry import BY_ID

    read = {}
    for name, limits in given.items():
        where = f"thresholds.{name}"
        if name not in BY_ID:
            faults.append(f"{where}: {_no_such(name, list(BY_ID))}")
            continue
        own = BY_ID[name].thresholds
        shape = isinstance(limits, Mapping)
        objects = limits.get(OBJECTS) or {} if shape else {}
        if not shape or set(limits) - {*LEVELS, OBJECTS} or not isinstance(objects, Mapping):
            faults.append(
                f"{where}: it must be a mapping of warning, critical and objects, as {{warning: 5, critical: null, "
                f"objects: {{public.events: {{warning: 50}}}}}}"
            )
            continue
        everywhere = {key: limits[key] for key in LEVELS if key in limits}
        general = _read_limits(where, everywhere, own, faults)
        special = [
            (str(pattern), _read_limits(f"{where}.{OBJECTS}.{pattern}", one, own.with_those(general), faults))
            for pattern, one in objects.items()
        ]
        read[name] = Limits(general, tuple(special))
    return read


def _read_limits(where: str, given: object, own: Thresholds, faults: list[str]) -> dict[str, float | None]:
    """The thresholds that are given. own: what the others are."""
    if not isinstance(given, Mapping) or set(given) - set(LEVELS):
        faults.append(f"{where}: it must be a mapping of warning and critical, as {{warning: 5, critical: null}}")
        return {}
    read = {key: _read_number(f"{where}.{key}", value, faults) for key, value in given.items()}
    whole = own.with_those(read)
    warning, critical = read.get(WARNING), whole.critical
    if warning is not None and critical is not None and whole.badness(warning) > whole.badness(critical):
        hint = "" if CRITICAL in read else ", which is the default: say critical as well, or null for never"
        faults.append(f"{where}: {warning:g} is worse than {critical:g}{hint}: as a warning it would never be told")
    return read


def _read_number(where: str, given: object, faults: list[str]) -> float | None:
    """A template makes a text of a number."""
    if given is None:
        return None
    with suppress(ValueError, OverflowError):
        number = float(given) if isinstance(given, (int, float, str)) and not isinstance(given, bool) else math.nan
        if math.isfinite(number):
            return number
    faults.append(f"{where}: it must be a number, or null for never")
    return None


def _read_ignored(given: Sequence[Mapping[str, Any]], faults: list[str]) -> Sequence[Ignored]:
    if not given:
        return ()
    from ..._checks.judge import Ignored
    from ..._checks.registry import BY_ID

    read = []
    for number, one in enumerate(given, 1):
        where = f"ignore[{number}]"
        before = len(faults)
        faults += [
            f"{where}: there is no {key}; there are {', '.join(IGNORE_KEYS)}" for key in one if key not in IGNORE_KEYS
        ]
        check, reason = str(one.get("check") or ""), str(one.get("reason") or "").strip()
        if check not in BY_ID:
            faults.append(f"{where}.check: {_no_such(check, list(BY_ID)) if check else 'say which check'}")
        if not reason:
            faults.append(f"{where}.reason: say why, for whoever reads it next year")
        until = _read_until(f"{where}.until", one.get("until"), faults)
        if until and len(faults) == before:
            read.append(Ignored(check, str(one.get("object") or "*"), reason, until))
    return tuple(read)


def _read_until(where: str, given: object, faults: list[str]) -> datetime | None:
    """The end of a day in UTC."""
    said = _DAY.fullmatch(str(given).strip())
    try:
        day = date.fromisoformat(said[1] if said else "")
    except ValueError:
        faults.append(f"{where}: say until which day, as 2027-03-31")
        return None
    return datetime.combine(min(day, LAST_DAY) + timedelta(days=1), time(), timezone.utc)


def _read_plans(given: Mapping[str, Any] | None, faults: list[str]) -> dict[str, Mapping[str, str]] | None:
    """The schedules."""
    if given is None:
        return None
    read: dict[str, Mapping[str, str]] = {}
    for name, plan in given.items():
        if isinstance(plan, Mapping):
            read[str(name)] = {key: value for key, value in plan.items() if key != PURGE}
            read_schedule(read[str(name)], faults, f"plans.{name}.")
        else:
            faults.append(f"plans.{name}: it must be a mapping with every or at")
    return read


def _read_purges(given: Mapping[str, Any] | None, faults: list[str]) -> tuple[Purge, ...]:
    """What the plans purge, each once. Options that the step itself would refuse are its own fault, and told by its plan."""
    read = []
    for name, plan in (given or {}).items():
        steps = plan.get(PURGE) or [] if isinstance(plan, Mapping) else []
        if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
            faults.append(f"plans.{name}.{PURGE}: it must be a list of the options of its steps purge")
            continue
        for step in steps:
            creates_only = step.get("premake") is not None and not step.get("partitions")
            with suppress(OptionError):
                read += [] if creates_only else [OPERATIONS[PURGE].read(_counted(step))]
    return tuple(dict.fromkeys(read))


def _counted(step: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a step purge that say which rows have expired and are to go. Plans have not been converted yet.

    Raises OptionError.
    """
    if step.get("table") is None:
        raise OptionError(["table: is missing"])
    options = OPERATIONS[PURGE].SPEC.options
    clocks = options["conditions"]["options"]
    many = step.get("conditions")
    conditions = [one for one in many if isinstance(one, Mapping)] if isinstance(many, list) else None
    keeps = str(step.get("keep_referenced")).lower() in ("true", "yes", "on", "y", "t", "1")
    return {
        **_defaults(options),
        "column": "" if conditions is None else None,
        **_texts(step, {"table": options["table"], "partitions": options["partitions"], **clocks}),
        "conditions": None
        if conditions is None
        else [{**_defaults(clocks), **_texts(one, clocks)} for one in conditions],
        "keep_referenced": keeps,
    }


def _defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    return {option: how.get("default") for option, how in options.items()}


def _texts(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Those of the options that are given. Raises OptionError for a word that is none of the choices."""
    texts = {name: str(given[name]) for name in options if given.get(name) is not None}
    wrong = [name for name, text in texts.items() if text not in options[name].get("choices", (text,))]
    if wrong:
        raise OptionError([f"{name}: there is no such choice" for name in wrong])
    return texts
