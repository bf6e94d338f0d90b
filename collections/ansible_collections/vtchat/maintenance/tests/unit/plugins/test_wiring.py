# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be said in several places is said in all of them."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import NAMES, OPERATIONS, READING
from ansible_collections.vtchat.maintenance.tests.unit.plugins.layers import LAYERS, file_of, imports, package, picture

COLLECTION = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
ROOT = COLLECTION / "plugins/module_utils"
UTILITIES = sorted(ROOT.rglob("*.py"))
ARCHITECTURE = COLLECTION.parents[3] / "docs/architecture.md"
RUNTIME: dict[str, Any] = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8"))

# Services are asked through Ansible's own HTTP client, so that its proxies and certificates apply, and their options may come
# from the environment.
KNOWS_ANSIBLE = {"_edge.py", "_module.py", "_services/http.py", "_services/options.py"}


def relative(path: Path) -> str:
    """A file of module_utils, for people."""
    return path.relative_to(ROOT).as_posix()


def documentation_of(name: str) -> str:
    """The text of DOCUMENTATION of a module."""
    tree = ast.parse((COLLECTION / f"plugins/modules/{name}.py").read_text(encoding="utf-8"))
    (text,) = [node.value.value for node in tree.body if isinstance(node, ast.Assign)
               and ast.unparse(node.targets[0]) == "DOCUMENTATION" and isinstance(node.value, ast.Constant)]  # fmt: skip
    return str(text)


def fragment_options(name: str) -> dict[str, Any]:
    """The options that a documentation fragment adds."""
    _namespace, _collection, file, *part = name.split(".")
    module = import_module(f"ansible_collections.vtchat.maintenance.plugins.doc_fragments.{file}")
    text = getattr(module.ModuleDocFragment, part[0].upper() if part else "DOCUMENTATION")
    options: dict[str, Any] = yaml.safe_load(text).get("options") or {}
    return options


def rank(path: Path) -> int:
    """The layer of a file, from the top."""
    name = package(path, ROOT)
    found = [number for number, layer in enumerate(LAYERS) if name in layer]
    return found[0] if found else len(LAYERS)


def only_for_the_type_checker(path: Path) -> set[str]:
    """The names that a file imports for the archive of a module and for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {alias.name for block in blocks for node in ast.walk(block) if isinstance(node, ast.ImportFrom)
            for alias in node.names}  # fmt: skip


def checked(path: Path) -> str:
    """What a file hands to the type checker as an example of its protocol."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (found,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_CHECKED"
    ]
    assert found.value is not None
    return ast.unparse(found.value)


def test_every_operation_in_the_folder_is_on_the_list_packed_and_type_checked() -> None:
    folder = ROOT / "_operations"
    there = {path.stem for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert there == set(NAMES) == only_for_the_type_checker(folder / "__init__.py")
    assert checked(folder / "__init__.py") == f"({', '.join(sorted(NAMES))})"
    assert list(NAMES) == sorted(NAMES)
    assert list(READING) == [name for name in NAMES if OPERATIONS[name].READ_ONLY]


def test_every_performer_is_packed_and_type_checked() -> None:
    files = {name.rpartition(".")[2] for name in _edge._FILES.values()}
    assert files | {"OneStep"} == only_for_the_type_checker(ROOT / "_edge.py")
    assert all(name in checked(ROOT / "_edge.py") for name in files)


@pytest.mark.parametrize("name", sorted(_edge.PERFORMERS))
def test_every_database_module_is_documented_routed_and_in_the_action_group(name: str) -> None:
    assert name in MODULES
    assert name in RUNTIME["action_groups"]["all"]
    assert (COLLECTION / f"plugins/action/{name}.py").is_file()


def test_every_module_that_goes_through_the_edge_has_a_performer() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in (COLLECTION / "plugins/modules").glob("*.py")}
    assert {name for name, text in files.items() if "module_utils._edge" in text} == set(_edge.PERFORMERS)


@pytest.mark.parametrize("name", sorted(_edge.PERFORMERS))
def test_the_documentation_has_the_options_that_the_module_takes(name: str) -> None:
    documentation = yaml.safe_load(documentation_of(name))
    options = dict(documentation["options"])
    for fragment in documentation.get("extends_documentation_fragment", []):
        options |= fragment_options(fragment)
    assert set(options) == set(_edge.spec(name).options)
    for option, how in _edge.spec(name).options.items():
        assert options[option].get("type", "str") == how.get("type", "str"), option
        assert options[option].get("choices") == how.get("choices"), option
        assert options[option].get("default") == how.get("default"), option
        assert options[option].get("required", False) == how.get("required", False), option


def test_every_operation_is_named_where_people_choose_one() -> None:
    for text in (documentation_of("run"), documentation_of("maintainer")):
        assert [name for name in NAMES if not re.search(rf"\b{name}\b", text)] == []


def test_no_plugin_stands_for_what_does_not_exist() -> None:
    assert set(RUNTIME["action_groups"]["all"]) <= set(MODULES)
    assert {path.stem for path in (COLLECTION / "plugins/action").glob("*.py")} <= set(MODULES)


def test_nothing_is_redirected() -> None:
    """What is redirected to is looked up in the workers only, and imported anew for each task of each host."""
    assert "plugin_routing" not in RUNTIME


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
