# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking services in tests: in this process, without waiting, and never with a secret in the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest
from ansible.module_utils import basic

from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import Hidden
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Result
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.http import Waiting
from ansible_collections.vtchat.maintenance.plugins.module_utils._spec import Spec


class Performer(Protocol):
    """A file that performs the module of a service, with its last parameter."""

    SPEC: Spec

    def hidden(self, parameters: Mapping[str, Any]) -> Hidden: ...

    def read(self, parameters: Mapping[str, Any], hidden: Hidden) -> Any: ...

    def perform(self, request: Any, check: bool, waiting: Waiting) -> Result: ...


def impatient(pauses: list[float] | None = None, clock: Callable[[], float] = time.monotonic) -> Waiting:
    """No pause is waited for; the seconds are kept in the list."""
    kept = [] if pauses is None else pauses
    return Waiting(clock, kept.append)


def answer(service: Performer, check: bool = False, waiting: Waiting | None = None, **options: Any) -> dict[str, Any]:
    """What the module returns, with the defaults of options that are not given. Raises what the module makes a failure of."""
    parameters = {**{name: spec.get("default") for name, spec in service.SPEC.options.items()}, **options}
    hidden = service.hidden(parameters)
    result = service.perform(service.read(parameters, hidden), check, waiting or impatient()).as_dict()
    shown = json.dumps(result, ensure_ascii=False)
    assert [text for text in hidden.everywhere if len(text) > 7 and text in shown] == []
    return result


def failed(result: Mapping[str, Any]) -> bool:
    """Whether the task fails."""
    return bool(result.get("failed"))


def verdicts(result: Mapping[str, Any], kind: str = "") -> dict[str, tuple[str, str]]:
    """Operation and outcome of each target, or of those of one kind."""
    actions = [action for action in result["actions"] if not kind or action["kind"] == kind]
    return {action["target"]: (action["operation"], action["outcome"]) for action in actions}


def reason(result: Mapping[str, Any], target: str) -> str:
    """Why a target got its outcome."""
    return str(next(action["reason"] for action in result["actions"] if action["target"] == target))


def printed(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **options: Any
) -> str:
    """All that a module prints with these options: its result, and what Ansible adds where it is asked to say much."""
    asked = {"_ansible_check_mode": False, "_ansible_diff": True, "_ansible_verbosity": 4}
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(basic, "_load_params", lambda: {**asked, **options})
    # Tracebacks repeat the source, which is this test.
    monkeypatch.setattr(basic, "_PARSED_MODULE_ARGS", {"_ansible_tracebacks_for": []}, raising=False)
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    return shown.out + shown.err
