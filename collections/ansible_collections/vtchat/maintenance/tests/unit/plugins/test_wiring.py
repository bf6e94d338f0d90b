# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be said in several places is said in all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.plan import OPERATIONS

COLLECTION = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
UTILITIES = sorted((COLLECTION / "plugins/module_utils").rglob("*.py"))
RUNTIME: dict[str, Any] = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8"))

# Layers from the bottom up: a file imports from its own layer or from those below. First the database, then services.
LAYERS = (
    {
        "_errors",
        "_action",
        "_driver",
        "_units",
        "_covered",
        "_scram",
        "_watch",
        "_probe",
        "_dsn_kinds",
        "_clean",
        "_advice",
    }
    | {"_objects_catalog", "_objects_program"},
    {"_sql", "_dsn", "_http", "_http_faults", "_scripts", "_objects_describe"},
    {"_server", "_index_definition", "_secrets", "_history_tables", "_restricted_path", "_statements", "_objects_sql"},
    {"_session", "_github", "_fly"},
    {"_connect"},
    {"_catalog", "_policy", "_history", "_sessions", "_fingerprint_sql", "_definition", "_fingerprint"},
    {"_index", "_index_steps", "_index_build", "_rights_facts", "_fly_deploy", "_purge", "_purge_batches"},
    {"_operations"},
    {"_plan"},
    {"_engine", "_rights", "_objects", "_sql_object"},
    {"_report", "_endpoint", "_fly_secrets", "_github_secrets", "_shared_secrets"},
    {"_module", "_plan_check"},
    {"_edge"},
)
# Services are asked through Ansible's own HTTP client, so that its proxies and certificates apply.
KNOWS_ANSIBLE = {"_edge", "_http", "_module"}


def imported(path: Path) -> set[str]:
    """The private modules of the collection that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            found = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            names |= {name for name in found if name.startswith("_")}
    return names


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


@pytest.mark.parametrize("path", UTILITIES, ids=lambda path: path.stem)
def test_imports_point_down(path: Path) -> None:
    own = "_operations" if path.parent.name == "_operations" else path.stem
    rank = next((number for number, layer in enumerate(LAYERS) if own in layer), None)
    assert rank is not None or own == "__init__", f"give {own} a place in LAYERS"
    allowed = set().union(*LAYERS[: (rank or 0) + 1])
    assert imported(path) - {"_operations"} <= allowed
    operations = next(number for number, layer in enumerate(LAYERS) if "_operations" in layer)
    assert "_operations" not in imported(path) or (rank or 0) >= operations


@pytest.mark.parametrize("path", UTILITIES, ids=lambda path: path.stem)
def test_only_the_edge_knows_ansible(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    knows = any(name.split(".")[0] == "ansible" for name in modules)
    assert knows == (path.stem in KNOWS_ANSIBLE)


def test_the_collection_tells_a_builder_of_images_what_it_needs() -> None:
    built = yaml.safe_load((COLLECTION / "meta/execution-environment.yml").read_text(encoding="utf-8"))
    assert built["version"] == 3
    assert (COLLECTION / built["dependencies"]["python"]).is_file()


def test_the_readme_says_how_to_enable_the_callbacks() -> None:
    readme = (COLLECTION / "README.md").read_text(encoding="utf-8")
    for path in (COLLECTION / "plugins/callback").glob("*.py"):
        assert re.search(rf"_(?:enabled|callback) = vtchat\.maintenance\.{path.stem}$", readme, re.MULTILINE), path.stem
