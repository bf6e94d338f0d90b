# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line and an exit code for a monitoring system. The line is made in _report.nagios."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nagios
type: stdout
short_description: One line and an exit code, as Nagios, Icinga and Checkmk want them
version_added: 1.0.0
description:
  - Prints one line about all tasks of this collection, and nothing else, in the form of the Monitoring Plugins Guidelines, with
    performance data. So a playbook that looks at a database is a check for any system that runs such plugins.
  - C(ansible-playbook) exits with 0 if all is well, 1 for a warning, 2 for what is critical or a run that has failed, and 3 where
    that is unknown, because a host cannot be reached, options are wrong, another task has failed, or nothing was looked at.
    The worst counts; what is unknown is better than a warning.
  - What is contended, deferred or skipped is well. A level that C(fail_on) lets pass is told all the same.
  - A playbook that Ansible itself cannot read ends before this is loaded, with Ansible's own exit code and message.
  - P(vtchat.maintenance.summary#callback) may be enabled as well. It shows nothing then, and writes its files.
requirements:
  - set as stdout in the configuration
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
commands.cfg: |
  define command {
    command_name  check_database
    command_line  ANSIBLE_STDOUT_CALLBACK=vtchat.maintenance.nagios ansible-playbook -i production playbooks/health.yml
  }
"""

import atexit
import os
import sys
from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase

from ansible_collections.vtchat.maintenance.plugins.module_utils._report import nagios

_OURS = "vtchat.maintenance."
_RUN = ("actions", "status", "plan")


class CallbackModule(CallbackBase):
    """Collects results, prints the line, and ends the process with its code."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "vtchat.maintenance.nagios"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runs: list[tuple[str, Mapping[str, Any]]] = []
        self._problems: list[tuple[str, str]] = []
        self._pid = os.getpid()
        self._told = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """The playbook begins. However it ends, there is a line and a code."""
        atexit.register(self._end)

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded."""
        self._take(result, failed=False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        self._take(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host cannot be reached."""
        self._take(result, failed=True)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """One item of a loop succeeded."""
        self._take(result, failed=False)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """One item of a loop failed."""
        task = result.task if hasattr(result, "task") else result._task
        self._take(result, failed=not task.ignore_errors)

    def _take(self, event: Any, failed: bool) -> None:
        # ansible-core 2.18 has only the underscored names; 2.23 removes those that are underscored.
        result = event.result if hasattr(event, "result") else event._result
        task = event.task if hasattr(event, "task") else event._task
        host = (event.host if hasattr(event, "host") else event._host).get_name()
        hidden = "censored" in result or result.get("_ansible_no_log")
        if not hidden and all(key in result for key in _RUN) and _action(task).startswith(_OURS):
            self._runs.append((host, result))
        elif failed and not result.get("results"):  # a loop has told of its items
            said = "its result is hidden (no_log)" if hidden else str(result.get("msg") or "failed")
            self._problems.append((host, f"{task.get_name()}: {said}"))

    def _end(self) -> None:
        """Ansible has a code of its own, and no way to give it another: what is to be done at the end is done here."""
        if os.getpid() != self._pid or self._told:
            return
        self._told = True
        code, line = nagios.line(self._runs, self._problems)
        self._display.display(line)
        atexit.unregister(self._end)
        atexit._run_exitfuncs()  # such as those that remove temporary files
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _action(task: Any) -> str:
    return str(getattr(task, "resolved_action", None) or getattr(task, "action", ""))
