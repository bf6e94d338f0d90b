# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Plans as people write them: everything that is wrong with their shape, with the path to it, before anything connects.

What is inside a step is looked at by whoever does it. This file needs little else of ours: it is loaded in each run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._schedule import read_schedule
from .._window import read_window

ARGUMENT_SPEC: dict[str, Any] = {
    "plans": {"type": "raw", "required": True},
    "name": {"type": "str"},
    "transport": {"type": "str", "choices": ["direct", "endpoint"], "default": "direct"},
    "label": {"type": "str", "default": "plans"},
}
KEYS = ("steps", "budget", "on_error", "window", "every", "at", "endpoint")
WINDOW_KEYS = ("not_before", "not_after", "timezone")
ENDPOINT_KEYS = ("path", "health", "repeat")
ON_ERROR = ("continue", "stop")
# Plans that are there without being written.
BUILT_IN: dict[str, Any] = {"health": {"steps": [{"health_info": {}}]}}


def plan_info(given: Mapping[str, Any]) -> dict[str, Any]:
    """The result of the module of that name: one plan, and the steps of all; or every fault of every plan."""
    plans, name, option = given["plans"], given["name"], given["label"]
    if name in BUILT_IN and isinstance(plans, Mapping):
        plans = {**BUILT_IN, **plans}
    faults = _faults(plans, name, option, given["transport"])
    if faults:
        return {"failed": True, "changed": False, "msg": "; ".join(faults), "errors": faults}
    steps = [step for plan in plans.values() for step in plan.get("steps") or ()]
    return {"changed": False, "plan": _informed(plans[name], plans) if name is not None else {}, "steps": steps}


def _informed(plan: Mapping[str, Any], plans: Mapping[str, Any]) -> dict[str, Any]:
    """The plan. Its step health_info is told which plans are to run, when, and what they purge, unless it says so itself."""
    schedules: dict[str, dict[str, Any]] = {
        name: {key: one[key] for key in ("every", "at") if one.get(key) is not None} for name, one in plans.items()
    }
    for name, one in plans.items():
        purges = [step["purge"] for step in one.get("steps") or () if step.get("purge")]
        if schedules[name] and purges:
            schedules[name]["purge"] = purges
    known = {"plans": {name: schedule for name, schedule in schedules.items() if schedule}}
    if not known["plans"] or not any("health_info" in step for step in plan.get("steps") or ()):
        return dict(plan)
    return {**plan, "steps": [_told(step, known) for step in plan["steps"]]}


def _told(step: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    given = step.get("health_info") or {}
    if "health_info" not in step or not isinstance(given, Mapping):
        return step
    return {**step, "health_info": {**known, **given}}


def _faults(plans: Any, name: str | None, option: str, transport: str) -> list[str]:
    if not isinstance(plans, Mapping):
        return [f"{option}: {_must_be('a mapping of names to plans', plans)}"]
    faults: list[str] = []
    if name is not None and name not in plans:
        faults.append(f"{option}: there is no plan {name}{near(name, plans)}; {_there_are(plans)}")
    for other, plan in plans.items():
        faults += _plan_faults(f"{option}.{other}", plan)
    needed = "endpoint" if transport == "endpoint" else "steps"
    if not faults and name is not None and not plans[name].get(needed):
        faults.append(
            f"{option}.{name}: the plan {name} has no {needed}, which maintenance_transport={transport} needs"
        )
    return faults


def _plan_faults(where: str, plan: Any) -> list[str]:
    if not isinstance(plan, Mapping):
        return [f"{where}: {_must_be('a mapping with steps', plan)}"]
    faults = _unknown(where, plan, KEYS)
    steps, budget, endpoint = plan.get("steps"), plan.get("budget"), plan.get("endpoint")
    if steps is not None and not isinstance(steps, list):
        faults.append(f"{where}.steps: {_must_be('a list, with a hyphen before each step', steps)}")
    else:
        faults += [
            f"{where}.steps[{number}]: {_must_be('one operation with its options, such as purge: {table: …}', step)}"
            for number, step in enumerate(steps or (), 1)
            if not isinstance(step, Mapping)
        ]
    if budget is not None and not _is_seconds(budget):
        faults.append(f"{where}.budget: {_must_be('a number of seconds above 0', budget)}")
    if plan.get("on_error", ON_ERROR[0]) not in ON_ERROR:
        faults.append(f"{where}.on_error: it must be {' or '.join(ON_ERROR)}")
    read_schedule(plan, faults, f"{where}.")
    if window_shape(f"{where}.window", plan.get("window"), faults):
        read_window(plan["window"], faults, f"{where}.window")
    return faults + (_endpoint_faults(f"{where}.endpoint", endpoint) if endpoint is not None else [])


def window_shape(where: str, given: Any, faults: list[str]) -> bool:
    """Whether there is a window that can be read. What is wrong with its shape is added to ``faults``."""
    before = len(faults)
    if given is None or given == {}:
        return False
    if not isinstance(given, Mapping):
        faults.append(f"{where}: {_must_be('a mapping with not_before and not_after', given)}")
        return False
    faults += _unknown(where, given, WINDOW_KEYS)
    faults += [f"{where}: {key} is missing" for key in WINDOW_KEYS[:2] if given.get(key) is None]
    faults += [
        f"{where}.{key}: {_must_be('text in quotes', given[key])}"
        for key in WINDOW_KEYS
        if given.get(key) is not None and not isinstance(given[key], str)
    ]
    return len(faults) == before


def _endpoint_faults(where: str, endpoint: Any) -> list[str]:
    if not isinstance(endpoint, Mapping):
        return [f"{where}: {_must_be('a mapping with a path', endpoint)}"]
    faults = _unknown(where, endpoint, ENDPOINT_KEYS)
    for key in ("path", "health"):
        value = endpoint.get(key)
        if (value is not None or (key == "path" and not faults)) and not (
            isinstance(value, str) and value.startswith("/")
        ):
            faults.append(f"{where}.{key}: {_must_be('a path that begins with /', value)}")
    if not isinstance(endpoint.get("repeat", False), bool):
        faults.append(f"{where}.repeat: {_must_be('true or false', endpoint['repeat'])}")
    return faults


def _unknown(where: str, given: Mapping[Any, Any], known: Iterable[str]) -> list[str]:
    return [
        f"{where}: there is no {name}{near(str(name), known)}; {_there_are(known)}"
        for name in given
        if name not in known
    ]


def near(name: str, known: Iterable[Any]) -> str:
    """The known name that was probably meant, in a form to append."""
    import difflib  # in runs without a fault it would be loaded for nothing

    found = difflib.get_close_matches(name.lower(), [str(one) for one in known], 1, 0.6)
    return f", did you mean {found[0]}?" if found else ""


def _there_are(known: Iterable[Any]) -> str:
    return f"there are {', '.join(map(str, known))}" if list(known) else "there are none"


def _must_be(what: str, given: Any) -> str:
    """The shape that is wanted and the one that came, without the value."""
    kinds = (
        (Mapping, "a mapping"),
        (list, "a list"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
    )
    came = next((name for kind, name in kinds if isinstance(given, kind)), "nothing")
    return f"it must be {what}, and it is {came}"


def _is_seconds(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) > 0
    except (TypeError, ValueError):
        return False
