# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be said in several places is said in all of them."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import OPERATIONS
from ansible_collections.vtchat.maintenance.tests.unit.plugins.layers import LAYERS, file_of, imports, package, picture

COLLECTION = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
ROOT = COLLECTION / "plugins/module_utils"
UTILITIES = sorted(ROOT.rglob("*.py"))
ARCHITECTURE = COLLECTION.parents[3] / "docs/architecture.md"
RUNTIME: dict[str, Any] = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8"))

# Services are asked through Ansible's own HTTP client, so that its proxies and certificates apply.
KNOWS_ANSIBLE = {"_edge.py", "_module.py", "_services/http.py"}


def relative(path: Path) -> str:
    """A file of module_utils, for people."""
    return path.relative_to(ROOT).as_posix()


def rank(path: Path) -> int:
    """The layer of a file, from the top."""
    name = package(path, ROOT)
    found = [number for number, layer in enumerate(LAYERS) if name in layer]
    return found[0] if found else len(LAYERS)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_has_a_module_and_its_parts(name: str) -> None:
    operation = OPERATIONS[name]
    assert name in MODULES
    for part in ("ARGUMENT_SPEC", "NAME_OPTIONS", "facts", "decide", "execute"):
        assert hasattr(operation, part), part
    assert set(operation.NAME_OPTIONS) <= set(operation.ARGUMENT_SPEC)


@pytest.mark.parametrize("name", [*sorted(OPERATIONS), "run", "history_info"])
def test_every_database_module_is_in_the_action_group_and_routed(name: str) -> None:
    assert name in RUNTIME["action_groups"]["all"]
    assert RUNTIME["plugin_routing"]["modules"][name] == {"action_plugin": "vtchat.maintenance.database"}


def test_nothing_is_routed_that_does_not_exist() -> None:
    assert set(RUNTIME["plugin_routing"]["modules"]) <= set(MODULES)
    assert set(RUNTIME["action_groups"]["all"]) <= set(MODULES)


@pytest.mark.parametrize("path", UTILITIES, ids=relative)
def test_imports_point_down(path: Path) -> None:
    own = rank(path)
    for dotted in imports(path, ROOT):
        other = file_of(dotted, ROOT)
        assert other is not None, dotted
        assert package(other, ROOT) == package(path, ROOT) or rank(other) > own, (
            f"{relative(path)} -> {'.'.join(dotted)}"
        )


def test_no_imports_go_in_a_circle() -> None:
    arrows = {path: {file_of(dotted, ROOT) for dotted in imports(path, ROOT)} - {path} for path in UTILITIES}
    TopologicalSorter(arrows).prepare()  # raises CycleError with the circle


def test_the_picture_in_the_documentation_is_the_truth() -> None:
    names = {package(path, ROOT) for path in UTILITIES} - {"__init__"}
    assert names == {name for layer in LAYERS for name in layer}
    assert f"```\n{picture()}```" in ARCHITECTURE.read_text(encoding="utf-8"), f"the picture is now:\n\n{picture()}"


@pytest.mark.parametrize("path", UTILITIES, ids=relative)
def test_only_the_edge_knows_ansible(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    knows = any(name.split(".")[0] == "ansible" for name in modules)
    assert knows == (relative(path) in KNOWS_ANSIBLE)


def test_the_collection_tells_a_builder_of_images_what_it_needs() -> None:
    built = yaml.safe_load((COLLECTION / "meta/execution-environment.yml").read_text(encoding="utf-8"))
    assert built["version"] == 3
    assert (COLLECTION / built["dependencies"]["python"]).is_file()


def test_the_readme_says_how_to_enable_the_callbacks() -> None:
    readme = (COLLECTION / "README.md").read_text(encoding="utf-8")
    for path in (COLLECTION / "plugins/callback").glob("*.py"):
        assert re.search(rf"_(?:enabled|callback) = vtchat\.maintenance\.{path.stem}$", readme, re.MULTILINE), path.stem
