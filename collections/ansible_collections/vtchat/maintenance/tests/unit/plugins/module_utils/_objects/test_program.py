# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the program for the server is composed. What it does is tested on servers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import program
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.program import macros

LONGEST = 60  # lines that a person can take in
PACKAGES = Path(program.__file__).parent.parent.parent
PARTS = {**program.FRAGMENTS, "WHOLE": program.WHOLE}


def test_every_fragment_is_used_and_every_part_is_known() -> None:
    used = {
        name.partition(": ")[0] for text in PARTS.values() for name in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)
    }
    assert used == {*program.FRAGMENTS, *macros.MACROS}
    assert "{{" not in program.PROGRAM
    assert "{argument}" not in program.PROGRAM


def test_every_variable_is_declared_and_used() -> None:
    declared = re.findall(
        r"(\w+) (?:constant )?(?:jsonb|text|boolean|oid|bigint|float|int|timestamptz)\b", program.DECLARATIONS
    )
    assert len(declared) == len(set(declared)) > 50
    body = program.PROGRAM.partition("BEGIN")[2]
    assert [name for name in declared if len(re.findall(rf"\b{name}\b", body)) < 2 and name != "users_role"] == []


@pytest.mark.parametrize("package", ["_objects", "_rights"])
def test_no_constant_is_longer_than_a_function_may_be(package: str) -> None:
    too_long = []
    for path in sorted((PACKAGES / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and (node.end_lineno or 0) - node.lineno >= LONGEST:
                too_long.append((path.name, ast.unparse(node.targets[0])))
    assert too_long == []
