# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan by one task, whatever the transport. A worker for each host costs more than most that is done in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import PERFORMERS, prepared
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import due, hours, plan_check
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.listener import listener
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import FAILED, SKIPPED, Result
from ansible_collections.vtchat.maintenance.plugins.module_utils._schedule import read_schedule
from ansible_collections.vtchat.maintenance.plugins.module_utils._window import read_window
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._database import DatabaseAction

LOADED = prepared("run")

# Options that the task does not have come from variables: a template for each option is compiled anew in each worker.
PREFIX = "maintenance_"
CONNECTION = ("dsn", "tls", "connect_deadline", "role", "pooler", "history", "window", "due", "ping_url")
ENDPOINT = ("endpoint_url", "endpoint_token")
OPTIONS = ("plan", "plans", "transport", *CONNECTION, *ENDPOINT)


class ActionModule(DatabaseAction):
    """Chooses the plan, then does what run or endpoint does."""

    def _answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in self._task.args if name not in OPTIONS]
        if unknown:
            raise OptionError([f"unsupported option {name}; there are {', '.join(OPTIONS)}" for name in unknown])
        name = self._plan(task_vars)
        transport = self._option("transport", task_vars) or "direct"
        if transport not in ("direct", "endpoint"):
            raise OptionError([f"{self._called('transport')}: it must be direct or endpoint, and it is {transport}"])
        label, plans = self._called("plans"), self._option("plans", task_vars)
        if transport == "endpoint" and name in plan_check.BUILT_IN and name not in (plans or ()):
            return self._health_by_endpoint(name, plans, task_vars)
        checked = plan_check.plan_info({"plans": plans, "name": name, "transport": transport, "label": label})
        if checked.get("failed"):
            raise OptionError(checked["errors"])
        plan = {"plan": name, **checked["plan"]}
        if transport == "endpoint":
            return self._by_endpoint(plan, task_vars)
        plan.pop("endpoint", None)
        given = {option: self._option(option, task_vars) for option in CONNECTION}
        given["window"] = plan.pop("window", given["window"])
        if not given["dsn"]:
            raise OptionError([f"{self._called('dsn')} is required for {self._called('transport')}=direct"])
        try:
            return self._perform("run", {**plan, **_stated(given)}, task_vars)
        except OptionError as error:
            raise OptionError([self._placed(fault, f"{label}.{name}.") for fault in error.errors]) from None

    def _health_by_endpoint(self, plan: str, plans: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the application says of its health, where one of the plans knows whom to ask."""
        plans = plans or {}
        checked = plan_check.plan_info(
            {"plans": plans, "name": None, "transport": "endpoint", "label": self._called("plans")}
        )
        if checked.get("failed"):
            raise OptionError(checked["errors"])
        endpoints = [one.get("endpoint") or {} for one in plans.values()]
        paths = [one["health"] for one in endpoints if one.get("health")]
        if not paths:
            message = (
                f"the plan {plan} looks at the database itself, and only the application reaches that "
                f"({self._called('transport')}=endpoint); none of the plans has endpoint.health: nothing was done"
            )
            return Result(plan, self._task.check_mode, status=SKIPPED, message=message).as_dict()
        url = self._option(ENDPOINT[0], task_vars)
        if not url:
            raise OptionError([f"{self._called(ENDPOINT[0])} is required for {self._called('transport')}=endpoint"])
        return self._module("endpoint", {"plan": plan, "health_url": str(url).rstrip("/") + paths[0]}, task_vars)

    def _by_endpoint(self, plan: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The application does its own maintenance."""
        url, token = (self._option(option, task_vars) for option in ENDPOINT)
        missing = [option for option, value in zip(ENDPOINT, (url, token), strict=True) if not value]
        if missing:
            raise OptionError(
                [f"{self._called(option)} is required for {self._called('transport')}=endpoint" for option in missing]
            )
        budget, closed = self._within_window(plan, task_vars)
        warning, skipped = ("", closed) if closed else self._due(plan, task_vars)
        if skipped:
            return skipped
        ping_url = str(self._option("ping_url", task_vars) or "")
        listener(ping_url, plan["plan"], self._called("ping_url"))
        application, endpoint = str(url).rstrip("/"), plan["endpoint"]
        health = endpoint.get("health")
        arguments = {
            "plan": plan["plan"],
            "budget": budget,
            "url": application + endpoint["path"],
            "health_url": application + health if health else None,
            "repeat": endpoint.get("repeat"),
            "token": token,
        }
        ping = listener("" if self._task.check_mode else ping_url, plan["plan"])
        ping.start()
        result = self._module("endpoint", _stated(arguments), task_vars)
        ping.end(str(result.get("status") or FAILED))
        warnings = [*(result.get("warnings") or []), *([warning] if warning else []), *ping.warnings]
        rule = {key: plan[key] for key in ("every", "at") if plan.get(key) is not None}
        result |= {"warnings": warnings} if warnings else {}
        return result | ({"schedule": rule} if rule and "schedule" in result else {})

    def _due(self, plan: Mapping[str, Any], task_vars: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """What to warn of, and the result where the plan is not due. An application tells nothing about earlier runs."""
        given = self._option("due", task_vars) or due.ALWAYS
        if given not in due.DUE:
            raise OptionError([f"{self._called('due')}: it must be {' or '.join(due.DUE)}, and it is {given}"])
        schedule = read_schedule(plan, [])
        if given == due.ALWAYS or schedule is None:
            return "", {}
        found = due.decide_without(schedule, datetime.now(timezone.utc), "transport: endpoint")
        warning = f"{plan['plan']}: {found.warning}."
        return warning, {} if found.is_due else due.skipped(
            plan["plan"], self._task.check_mode, found, [warning]
        ).as_dict()

    def _within_window(self, plan: Mapping[str, Any], task_vars: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The budget that the window leaves, and the result where it is not open."""
        faults: list[str] = []
        given = plan.get("window", self._option("window", task_vars))
        plan_check.window_shape(self._called("window"), given, faults)
        window = read_window(given, faults, self._called("window")) if not faults else None
        if faults:
            raise OptionError(faults)
        now, budget = datetime.now(timezone.utc), plan.get("budget")
        if window and not window.is_open(now):
            return budget, hours.skipped(plan["plan"], self._task.check_mode, window, now).as_dict()
        default = PERFORMERS["run"].SPEC.options["budget"]["default"]
        return hours.seconds(float(budget or default), window, now) if window else budget, {}

    def _option(self, name: str, task_vars: Mapping[str, Any]) -> Any:
        """The option of the task, or the variable that stands for it. None where there is neither."""
        if name in self._task.args:
            return self._task.args[name]
        value = task_vars.get(PREFIX + name)
        plain = isinstance(value, (bool, int, float)) or (isinstance(value, str) and "{" not in value)
        return value if plain else self._templar.template(value)

    def _plan(self, task_vars: dict[str, Any]) -> str:
        return str(self._option("plan", task_vars) or "hourly")

    def _placed(self, fault: str, steps: str) -> str:
        """A fault in the options of run, with what the user has written: the path of the step, the variable."""
        if fault.startswith("steps"):
            return steps + fault
        named = [self._called(option) for option in CONNECTION if re.search(rf"\b{option}\b", fault)]
        return f"{fault} ({', '.join(named)})" if named else fault

    def _called(self, name: str) -> str:
        """What messages call an option: as the user knows it."""
        return name if name in self._task.args else PREFIX + name


def _stated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that nobody has set: for them the module has defaults."""
    return {name: value for name, value in options.items() if value not in (None, "", {})}
