# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about one database: read where the module report reads, made and written on the machine that runs Ansible."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import prepared
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan_check
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._pages.report import KEYS, PLAN
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import SKIPPED, Result
from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _pages
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._database import DatabaseAction

LOADED = prepared("report")

NOT_ASKED = (
    "the report reads the database itself, and with transport endpoint only the application reaches it, unless "
    "maintenance_dsn is a connection that may be used for this"
)

# The role gives each of its variables, which have its name before them, to the option of that name.
ROLE = "report"


class ActionModule(DatabaseAction):
    """Reads, and writes the page."""

    def _answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._answered(task_vars)
        except OptionError as error:
            role = getattr(self._task, "_role", None)
            if role is None or role.get_name() != ROLE:
                raise
            raise OptionError([self._as_typed(fault) for fault in error.errors]) from None

    def _as_typed(self, fault: str) -> str:
        """A fault in an option, with the variable of the role that it came from."""
        named = [option for option in self._task.args if re.match(rf"(argument |value of )?'?{option}\b", fault)]
        return f"{fault} ({ROLE}_{named[0]})" if named else fault

    def _answered(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = dict(self._task.args)
        arguments |= _of_plans(arguments.pop("plans", None) or {}, "steps" in arguments)
        arguments.setdefault("title", str(task_vars.get("inventory_hostname") or ""))
        if arguments.get("transport") == "endpoint" and not arguments.get("dsn"):
            skipped = Result(PLAN, self._task.check_mode, status=SKIPPED, message=NOT_ASKED)
            return {**skipped.as_dict(), "page": _pages.not_asked(arguments["title"], NOT_ASKED)}
        if arguments.get("dest") == "":
            raise OptionError(["dest: it is empty: name a folder, or leave it out to have the report returned"])
        result = self._perform("report", arguments, task_vars)
        if "dest" in arguments and "report" in result:
            folder = self._loader.path_dwim(str(arguments["dest"]))
            # Hosts may share a title.
            host = str(task_vars.get("inventory_hostname") or "")
            file = arguments.get("name") or _pages.file_name(host)
            links = _pages.TO_OVERVIEW if boolean(arguments.get("overview", False)) else {}
            path = os.path.join(folder, f"{file}.html")
            result |= _pages.written(result.pop("report"), path, links, result, self._task.check_mode)
        return result


def _of_plans(plans: Mapping[str, Any], has_steps: bool) -> dict[str, Any]:
    """What is to be asked as the plans ask it, and when they run. Raises OptionError with all that is wrong with them."""
    checked = plan_check.plan_info({"plans": plans, "name": "health", "transport": "direct", "label": "plans"})
    if checked.get("failed"):
        raise OptionError(checked["errors"])
    of_health = [step for step in checked["plan"]["steps"] if "health_info" in step]
    of_indexes = [step for step in checked["steps"] if "index_info" in step]
    steps = [*(of_health or [{"health_info": {}}])[:1], *(of_indexes or [{"index_info": {}}])[:1]]
    known = {name: {key: plan[key] for key in KEYS if plan.get(key) is not None} for name, plan in plans.items()}
    return {"plans": known, **({} if has_steps else {"steps": steps})}
