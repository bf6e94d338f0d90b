# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Ansible's default output, with each failure told once
version_added: 1.0.0
description:
  - The same as P(ansible.builtin.default#callback), except that a failure is told once. Its context in the source is left out,
    and so is everything of its result but the message.
  - Where P(vtchat.maintenance.summary#callback) is enabled, that tells the message of a failed run, with what became of each
    target.
  - With C(-v) everything is shown as usual.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in the configuration
author:
  - The vtchat.maintenance authors (@vtchat)
"""

from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default

_RUN = ("actions", "status", "plan", "msg")
_OURS = "vtchat.maintenance."
# Their results are the expressions that were looked at, which are in the playbook.
_SPOKEN = ("ansible.builtin.assert", "ansible.builtin.fail", "ansible.builtin.validate_argument_spec")


class CallbackModule(Default):
    """Ansible's default callback with a shorter account of failures."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "vtchat.maintenance.brief"
    _short = False

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        self._begin(result)
        super().v2_runner_on_failed(result, ignore_errors)
        self._short = False

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """One item of a loop failed."""
        self._begin(result)
        super().v2_runner_item_on_failed(result)
        self._short = False

    def _begin(self, event: Any) -> None:
        if self._display.verbosity > 0:
            return
        # ansible-core 2.18 has only the underscored names; 2.23 removes those that are underscored.
        result = event.result if hasattr(event, "result") else event._result
        task = event.task if hasattr(event, "task") else event._task
        name = str(getattr(task, "resolved_action", None) or getattr(task, "action", ""))
        self._short = name.startswith(_OURS) or name in _SPOKEN
        if result.get("msg"):
            # The same message once more, with the lines of the playbook around it.
            result.pop("exception", None)

    def _dump_results(self, result: Any, *args: Any, **kwargs: Any) -> str:
        if self._short and all(key in result for key in _RUN) and f"{_OURS}summary" in constants.CALLBACKS_ENABLED:
            return "told below"
        if self._short and "msg" in result:
            result = {"msg": result["msg"]}
        dumped: str = super()._dump_results(result, *args, **kwargs)
        return dumped
