# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Ansible's default output, with each failure told once, and nothing of plays that the summary tells
version_added: 1.0.0
description:
  - The same as P(ansible.builtin.default#callback), except that a failure is told once. Its context in the source is left out,
    and so is everything of its result but the message.
  - Where P(vtchat.maintenance.summary#callback) is enabled, that tells the message of a failed run, with what became of each
    target.
  - Of the plays in O(quiet_playbooks) only the lines of the summary are shown, warnings, differences, and what fails that the
    summary does not know. Tasks of other modules than those of this collection are shown in these plays as well.
  - In a terminal a line at the bottom says what is being worked on, and goes away afterwards. There is none where E(TERM) is
    V(dumb), or E(NO_COLOR) or E(CI) is set.
  - With C(-v) everything is shown as usual.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  quiet_playbooks:
    description: Folders. The plays in them are told by the summary alone.
    type: pathlist
    default: []
    ini:
      - section: callback_vtchat_maintenance_brief
        key: quiet_playbooks
  quiet_modules:
    description: Modules that these plays use besides those of this collection, and whose results nobody needs to see.
    type: list
    elements: str
    default: []
    ini:
      - section: callback_vtchat_maintenance_brief
        key: quiet_modules
requirements:
  - set as stdout in the configuration
author:
  - The vtchat.maintenance authors (@vtchat)
"""

import os
from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._faults import plain
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._live import LiveLine, wanted

_RUN = ("actions", "status", "plan", "msg")
_OURS = "vtchat.maintenance."
# Their results are the expressions that were looked at, which are in the playbook.
_SPOKEN = ("ansible.builtin.assert", "ansible.builtin.fail", "ansible.builtin.validate_argument_spec")
# What a quiet play needs besides our modules, and what nobody needs to see unless it fails.
_SILENT = (
    "ansible.builtin.assert",
    "ansible.builtin.import_role",
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.meta",
    "ansible.builtin.set_fact",
    "ansible.builtin.validate_argument_spec",
    "meta",
)


class CallbackModule(Default):
    """Ansible's default callback with a shorter account of failures, and of plays that the summary tells."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "vtchat.maintenance.brief"

    def __init__(self) -> None:
        super().__init__()
        self._short = False
        self._quiet_play = False
        self._unannounced: Any = None  # the play, as long as nothing of it was shown
        self._starting_quietly = False
        self._announced = False
        self._live: LiveLine | None = None
        self._working: dict[str, str] = {}

    # --- what is shown of a play

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """The playbook starts."""
        super().v2_playbook_on_start(playbook)
        if self._display.verbosity == 0 and self._summary_tells() and wanted():
            self._live = LiveLine(self._display)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play starts."""
        self._rest()
        self._quiet_play = self._display.verbosity == 0 and self._summary_tells() and self._is_ours(play)
        if self._quiet_play:
            self._play, self._unannounced = play, play
        else:
            self._announce(play)

    def _announce(self, play: Any) -> None:
        self._unannounced, self._announced = None, True
        super().v2_playbook_on_play_start(play)

    def _print_task_banner(self, task: Any) -> None:
        if self._starting_quietly:
            return
        if self._unannounced is not None:
            self._announce(self._unannounced)
        super()._print_task_banner(task)

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        self._rest()
        self._starting_quietly = self._is_quiet(task)
        super()._task_start(task, prefix)
        self._starting_quietly = False

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play has no hosts."""
        if not self._quiet_play:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """All hosts have failed."""
        if not self._quiet_play:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Tasks were included."""
        if not self._quiet_play:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The playbook ended."""
        self._rest()
        if self._announced:
            super().v2_playbook_on_stats(stats)

    def _summary_tells(self) -> bool:
        return f"{_OURS}summary" in constants.CALLBACKS_ENABLED

    def _is_ours(self, play: Any) -> bool:
        """Whether the play stands in one of the quiet folders."""
        path = os.path.realpath(play.get_path().rpartition(":")[0])
        folders = [os.path.realpath(folder) for folder in self.get_option("quiet_playbooks") or ()]
        return any(path.startswith(os.path.join(folder, "")) for folder in folders)

    def _is_quiet(self, task: Any) -> bool:
        """Whether nothing is to be shown of a task unless it fails."""
        action = str(task.action)
        return self._quiet_play and (
            action.startswith(_OURS) or action in _SILENT or action in self.get_option("quiet_modules")
        )

    # --- what is shown of results

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host begins with a task."""
        super().v2_runner_on_start(host, task)
        if self._live and self._is_quiet(task) and str(task.action) not in _SILENT:
            self._working[host.get_name()] = task.get_name().rpartition(" : ")[2]
            self._say()

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded."""
        if not self._kept_quiet(result):
            super().v2_runner_on_ok(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was skipped."""
        if not self._kept_quiet(result):
            super().v2_runner_on_skipped(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host cannot be reached."""
        self._finished(result)
        super().v2_runner_on_unreachable(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        if self._told_below(result) and self._kept_quiet(result):
            return
        self._finished(result)
        self._begin(result)
        super().v2_runner_on_failed(result, ignore_errors)
        self._short = False

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """One item of a loop succeeded."""
        if not self._kept_quiet(result, item=True):
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """One item of a loop was skipped."""
        if not self._kept_quiet(result, item=True):
            super().v2_runner_item_on_skipped(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """One item of a loop failed."""
        if self._told_below(result) and self._kept_quiet(result, item=True):
            return
        self._begin(result)
        super().v2_runner_item_on_failed(result)
        self._short = False

    def v2_on_file_diff(self, result: Any) -> None:
        """What a task changed, line by line."""
        if not self._is_quiet(_task(result)):
            super().v2_on_file_diff(result)
            return
        found = _result(result)
        for one in found["results"] if _task(result).loop and "results" in found else [found]:
            difference = self._get_diff(one["diff"]) if one.get("diff") and one.get("changed") else ""
            if difference:
                self._display.display(difference)

    def _kept_quiet(self, event: Any, item: bool = False) -> bool:
        """Whether nothing is to be shown of this result but its warnings, which are shown then."""
        if not self._is_quiet(_task(event)):
            return False
        if not item:
            self._finished(event)
        self._handle_warnings(_result(event))
        return True

    def _begin(self, event: Any) -> None:
        if self._display.verbosity > 0:
            return
        name = str(getattr(_task(event), "resolved_action", None) or getattr(_task(event), "action", ""))
        self._short = name.startswith(_OURS) or name in _SPOKEN
        if _result(event).get("msg"):
            # The same message once more, with the lines of the playbook around it.
            _result(event).pop("exception", None)

    def _told_below(self, event: Any) -> bool:
        """Whether the summary tells what failed: a run, or of a loop each item that did."""
        result = _result(event)
        found = result.get("results") if _task(event).loop else None
        failed = [one for one in found or () if isinstance(one, Mapping) and one.get("failed")] or [result]
        return self._summary_tells() and all(_is_run(one) for one in failed)

    def _dump_results(self, result: Any, *args: Any, **kwargs: Any) -> str:
        if self._short and _is_run(result) and self._summary_tells():
            return "told below"
        if self._display.verbosity == 0 and isinstance(result, Mapping) and isinstance(result.get("msg"), str):
            result = {**result, "msg": plain(result["msg"])}
        if self._short and "msg" in result:
            result = {"msg": result["msg"]}
        dumped: str = super()._dump_results(result, *args, **kwargs)
        return dumped

    # --- the line at the bottom of a terminal

    def _finished(self, event: Any) -> None:
        self._working.pop(_host(event).get_name(), None)
        self._say()

    def _rest(self) -> None:
        self._working.clear()
        self._say()

    def _say(self) -> None:
        if self._live is None:
            return
        hosts = list(self._working)
        others = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
        self._live.say(f"{self._working[hosts[-1]]} on {', '.join(hosts[:3])}{others} …" if hosts else "")


# ansible-core 2.18 has only the underscored names; 2.23 removes those that are underscored.


def _result(event: Any) -> Any:
    return event.result if hasattr(event, "result") else event._result


def _task(event: Any) -> Any:
    return event.task if hasattr(event, "task") else event._task


def _host(event: Any) -> Any:
    return event.host if hasattr(event, "host") else event._host


def _is_run(result: Any) -> bool:
    return isinstance(result, Mapping) and all(key in result for key in _RUN)
