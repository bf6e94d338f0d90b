# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the action plugins of the database modules have in common: where nothing forbids it, the work is done in this process.

A module costs an interpreter, an archive and two imports for each task and host; the database is far away anyway, and
reached from here as well as from a module that runs here. Same options, same code, same result as the module.

Each of these modules has an action plugin of its own name. Ansible's strategies look at the class of such a plugin (for
BYPASS_HOST_LOOP) before they fork a worker for each host, so that it is compiled and imported once; a plugin that
meta/runtime.yml redirects to is looked up in the workers only, and was imported anew for each task of each host.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.text import progress_line
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import FAILED, failure
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._files import replace
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._live import Progress

# Seconds between two lines of one host: the first comes soon, and a long purge does not fill the log.
FIRST_PROGRESS, LAST_PROGRESS = 5.0, 60.0

# What most inventories say of hosts that are this machine. Known by sight: the first template costs a worker 3 ms.
THIS_PYTHON = "{{ ansible_playbook_python }}"

display = Display()


class DatabaseAction(ActionBase):
    """Validates all options at once, then works here or hands over to the module."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        # A worker shares the memory of the process that forked it until it writes there, and looking for garbage writes.
        gc.freeze()
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._answer(task_vars or {}))
        except OptionError as error:
            result.update(failure(self._plan(task_vars or {}), str(error), error.errors))
        return result

    def _plan(self, task_vars: dict[str, Any]) -> str:
        """The name that a failed result has."""
        return str(self._task.args.get("plan") or self._name)

    @property
    def _name(self) -> str:
        """The module's name."""
        return str(self._task.action).rpartition(".")[2]

    def _answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What is to be returned. Raises OptionError."""
        return self._perform(self._name, dict(self._task.args), task_vars)

    def _perform(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module of that name returns, here or as a module of its own. Raises OptionError."""
        arguments = _edge.PERFORMERS[name].with_files(arguments, self._content)
        request = _edge.validated(name, arguments)
        if self._works_here(task_vars):
            return self._with_written(_edge.perform(request, self._task.check_mode, self._progress(task_vars)))
        return self._with_written(self._module(name, arguments, task_vars))

    def _with_written(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result, with the names of the files that it was asked for; they are written here, wherever the work was done."""
        files = result.pop("files", None) or {}
        for path, text in files.items():
            try:
                result["changed"] |= self._write(self._loader.path_dwim(path), text)
            except OSError as error:
                faults = f"cannot write {path}: {error.strerror or error}"
                result.update(failed=True, status=FAILED, msg=f"{faults}. {result.get('msg', '')}")
        return {**result, "files": list(files)} if files else result

    def _write(self, path: str, text: str) -> bool:
        """Whether the file is, or in check mode would be, another one now."""
        try:
            with open(path, encoding="utf-8") as file:
                same = file.read() == text
        except (FileNotFoundError, UnicodeDecodeError):
            same = False
        if not same and not self._task.check_mode:
            replace(text, path)
        return not same

    def _content(self, path: str) -> bytes:
        """A file of the controller: beside the playbook, in files/ or in the role's files/. May be encrypted."""
        try:
            found = self._loader.get_real_file(self._find_needle("files", path))
            with open(found, "rb") as file:
                return file.read()
        except (AnsibleError, OSError) as error:
            raise OptionError([f"src: cannot read {path}: {error}"]) from None

    def _module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module of that name returns, in a process of its own."""
        result: dict[str, Any] = self._execute_module(
            module_name=f"vtchat.maintenance.{name}",
            module_args=arguments,
            task_vars=task_vars,
            wrap_async=self._task.async_val,
        )
        return result

    def _works_here(self, task_vars: dict[str, Any]) -> bool:
        """Whether a module would run on this machine, as this user, with this interpreter and in this environment."""
        interpreter = task_vars.get("ansible_python_interpreter") or C.config.get_config_value("INTERPRETER_PYTHON")
        if interpreter == THIS_PYTHON:
            interpreter = task_vars.get("ansible_playbook_python")
        return (
            self._connection.transport == "local"
            and not self._play_context.become
            and not self._task.async_val
            and not any(self._task.environment or [])
            and self._templar.template(interpreter) in (sys.executable, "auto", "auto_silent")
        )

    def _progress(self, task_vars: dict[str, Any]) -> Any:
        """A line now and then about work that takes long."""
        shown, interval = time.monotonic(), FIRST_PROGRESS
        host = task_vars.get("inventory_hostname", "")

        def show(target: str, said: str, seconds: float) -> None:
            nonlocal shown, interval
            if time.monotonic() - shown >= interval:
                shown, interval = time.monotonic(), min(interval * 1.5, LAST_PROGRESS)
                display.display(Progress(f"[{host}] {progress_line(target, said, seconds).strip()}"))

        return show
