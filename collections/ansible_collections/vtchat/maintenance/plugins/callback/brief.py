# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Ansible's default output, with failed maintenance runs told in one line
version_added: 1.0.0
description:
  - The same as P(ansible.builtin.default#callback), except that the result of a failed run is not dumped whole. Its message is
    shown, and P(vtchat.maintenance.summary#callback), which should be enabled beside it, shows what became of each target.
  - With C(-v) the whole result is shown as usual.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in the configuration
author:
  - The vtchat.maintenance authors (@vtchat)
"""

from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

_MARKER = ("actions", "status", "plan", "msg")


class CallbackModule(Default):
    """Ansible's default callback with a shorter dump of our results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "vtchat.maintenance.brief"

    def _dump_results(self, result: Any, *args: Any, **kwargs: Any) -> str:
        if self._display.verbosity == 0 and all(key in result for key in _MARKER):
            result = {"msg": result["msg"]}
        dumped: str = super()._dump_results(result, *args, **kwargs)
        return dumped
