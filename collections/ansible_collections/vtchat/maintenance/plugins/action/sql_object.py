# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loaded by Ansible before it forks its workers, with everything that the module sql_object needs (plugin_utils/_database)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import OPERATIONS
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import sql_object
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._database import DatabaseAction

LOADED = OPERATIONS["index"]


class ActionModule(DatabaseAction):
    """Does what the module sql_object does, with the files of the controller."""

    def _answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = sql_object.with_files_read(dict(self._task.args), self._text_of)
        return self._perform("sql_object", arguments, task_vars)

    def _text_of(self, path: str) -> str:
        """The text of a file of the controller: beside the playbook, in files/ or in the role's files/. May be encrypted."""
        try:
            found = self._loader.get_real_file(self._find_needle("files", path))
            with open(found, "rb") as file:
                decoded: str = sql_object.decoded(path, file.read())
                return decoded
        except (AnsibleError, OSError) as error:
            raise OptionError([f"src: cannot read {path}: {error}"]) from None
