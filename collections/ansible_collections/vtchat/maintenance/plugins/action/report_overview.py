# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about all databases of a play, made of what the module report has returned for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import OK, failure
from ansible_collections.vtchat.maintenance.plugins.module_utils._window import read_zone
from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _pages
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._faults import plain

NAME = "report_overview"
ARGUMENT_SPEC: dict[str, Any] = {
    "dest": {"type": "path", "required": True},
    "results": {"type": "dict", "required": True},
    "timezone": {"type": "str", "default": "UTC"},
}
NOTHING = "nothing is known of it: no report of it was made"


class ActionModule(ActionBase):
    """Writes the page."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            return {**result, **self._written()}
        except OptionError as error:
            return {**result, **failure(NAME, str(error), error.errors)}

    def _written(self) -> dict[str, Any]:
        checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate(dict(self._task.args))
        if checked.error_messages:
            raise OptionError(checked.error_messages)
        given = checked.validated_parameters
        faults: list[str] = []
        zone = read_zone(given["timezone"], faults, "timezone")
        if faults:
            raise OptionError(faults)
        pages = [_glance(str(host), found) for host, found in given["results"].items()]
        # Where nothing could be asked, there is no clock but that of this machine.
        now = f"{datetime.now(zone):%Y-%m-%d %H:%M}"
        made = max((str(one["generated_at"]) for one in pages if one.get("generated_at")), default=now)
        path = os.path.join(self._loader.path_dwim(given["dest"]), f"{_pages.INDEX}.html")
        told = _pages.put_overview(pages, path, made, given["timezone"], self._task.check_mode)
        more = {
            "status": OK,
            "plan": NAME,
            "check_mode": self._task.check_mode,
            "server": {},
            "findings": [],
            "warnings": [],
        }
        return {"msg": f"{NAME}: {len(pages)} databases", **more, **told}


def _glance(host: str, found: Any) -> Mapping[str, Any]:
    """What a result says at a glance; of one that failed before anything was asked, why."""
    result = found if isinstance(found, Mapping) else {}
    page = result.get("page")
    if isinstance(page, Mapping):
        return page
    from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance

    why = plain(result.get("msg") or NOTHING)
    seen: dict[str, Any] = glance({"title": host, "unreachable": why}, "")
    return seen
