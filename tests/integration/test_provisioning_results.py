# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sql_object and maintainer return is what their documentation says, in the one form that all modules have."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Result, entry
from ansible_collections.vtchat.maintenance.plugins.modules import maintainer, sql_object
from tests.objects import FUNCTION, VIEW
from tests.runs import perform
from tests.servers import Database

# What Ansible documents for all modules.
ANSIBLES = {"changed", "failed", "msg", "warnings", "diff"}
ENTRY = set(entry("operation", "target", "done", "reason"))
GIVEN: dict[str, tuple[Any, dict[str, Any], set[str]]] = {
    "sql_object": (sql_object, {"scripts": [{"sql": FUNCTION + VIEW}], "history": True}, {"script", "drift"}),
    "maintainer": (maintainer, {"name": "somebody_documented", "steps": [{"analyze": {"tables": ["item"]}}]}, set()),
}


@pytest.mark.parametrize("name", GIVEN)
def test_results_are_as_documented(items: Database, name: str) -> None:
    module, options, more = GIVEN[name]
    documented = yaml.safe_load(module.RETURN)
    entries = documented["actions"]["contains"]
    result = perform(name, items.dsn, True, **options)
    assert set(result) - ANSIBLES == set(documented) - ANSIBLES - {"errors"}
    assert set(Result(name, check=True).as_dict()) <= set(result)
    assert result["actions"]
    for one in result["actions"]:
        assert set(one) == set(entries) == ENTRY | more
    assert all(entries[key]["returned"] == "always" for key in entries)
